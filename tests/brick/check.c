/* Walks the brick twice: the names, then the handles (check.h). Works on any struct disk. The program's own checker
 * (brick/checker.h), which is written from the same rules by other means, has to agree.
 */
#include "check.h"

#include "brick/checker.h"

#include <stdarg.h>
#include <stdio.h>
#include <xxhash.h>
#include <inttypes.h>

struct name_of {
        ino_t ino;
        struct gfid parent;
        char name[NAME_LIMIT + 1];
};

struct check {
        struct disk *d;
        int root, flags, bad;
        struct name_of *names;
        size_t n, cap;
};

static void _printf_(2, 3) complain(struct check *c, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        fprintf(stderr, "brick check: ");
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        c->bad++;
}

static void note_name(struct check *c, ino_t ino, const struct gfid *parent, const char *name)
{
        if (c->n == c->cap) {
                c->cap = c->cap ? c->cap * 2 : 64;
                c->names = reallocarray(c->names, c->cap, sizeof *c->names);
                if (!c->names)
                        abort();
        }
        struct name_of *at = &c->names[c->n++];
        at->ino = ino;
        at->parent = *parent;
        snprintf(at->name, sizeof at->name, "%s", name);
}

static bool read_gfid(struct check *c, int dirfd, const char *path, struct gfid *ret)
{
        return disk_getxattr(c->d, dirfd, path, "trusted.gfid", ret->b, 16) == 16;
}

static void handle_of(const struct gfid *g, char buf[64])
{
        char t[GFID_TEXT_LEN + 1];
        gfid_format(g, t);
        snprintf(buf, 64, ".glusterfs/%.2s/%.2s/%s", t, t + 2, t);
}

/* Calls FN for each entry but the dots. */
static void each(struct check *c, int fd, void (*fn)(struct check *c, int fd, const char *name, void *arg), void *arg)
{
        _Alignas(struct disk_dirent) uint8_t data[4096];
        ssize_t n;
        while ((n = disk_getdents(c->d, fd, data, sizeof data)) > 0) {
                for (ssize_t at = 0; at < n;) {
                        const struct disk_dirent *e = (const void *)(data + at);
                        at += e->d_reclen;
                        if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                                fn(c, fd, e->d_name, arg);
                }
        }
        if (n < 0)
                complain(c, "getdents: %s", strerror((int)-n));
}

static int open_dir(struct check *c, int fd, const char *path)
{
        return disk_open(c->d, fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* ---- pending work -------------------------------------------------------------------------------------------------- */

static bool has_non_zero(struct check *c, int fd, const char *name, const char *attr)
{
        uint8_t value[64];
        ssize_t n = disk_getxattr(c->d, fd, name, attr, value, sizeof value);
        for (ssize_t k = 0; k < n; k++)
                if (value[k])
                        return true;
        return false;
}

/* Self-heal finds what is pending by the index alone. */
static void check_pending(struct check *c, int fd, const char *name, const struct gfid *g)
{
        static const char *const attrs[][2] = {
                {"trusted.afr.dirty", "dirty"}, {"trusted.afr.v-client-1", "xattrop"}, {"trusted.ec.dirty", "xattrop"}};
        for (size_t k = 0; k < ELEMENTSOF(attrs); k++) {
                char path[128], text[GFID_TEXT_LEN + 1];
                struct stat st;
                snprintf(path, sizeof path, ".glusterfs/indices/%s/%s", attrs[k][1], gfid_format(g, text));
                if (has_non_zero(c, fd, name, attrs[k][0]) && disk_stat(c->d, c->root, path, &st) < 0)
                        complain(c, "%s: %s is not zero, and there is no %s", name, attrs[k][0], path);
        }
}

/* ---- names --------------------------------------------------------------------------------------------------------- */

static void check_dir_handle(struct check *c, const struct gfid *g, const struct gfid *parent, const char *name)
{
        char path[64], want[512], have[512], t[GFID_TEXT_LEN + 1];
        handle_of(g, path);
        gfid_format(parent, t);
        snprintf(want, sizeof want, "../../%.2s/%.2s/%s/%s", t, t + 2, t, name);
        ssize_t n = disk_readlink(c->d, c->root, path, have, sizeof have - 1);
        if (n < 0) {
                if (!(c->flags & CHECK_CRASHED))
                        complain(c, "directory %s: handle %s: %s", name, path, strerror((int)-n));
                return;
        }
        have[n] = '\0';
        if (!streq(have, want) && !(c->flags & CHECK_CRASHED))
                complain(c, "directory %s: handle says %s, not %s", name, have, want);
}

static void check_file_handle(struct check *c, const struct gfid *g, const struct stat *st, const char *name)
{
        char path[64];
        struct stat h;
        handle_of(g, path);
        int r = disk_stat(c->d, c->root, path, &h);
        if (r < 0 && (c->flags & CHECK_CRASHED))
                return;
        if (r < 0)
                complain(c, "file %s: handle %s: %s", name, path, strerror(-r));
        else if (h.st_ino != st->st_ino)
                complain(c, "file %s: handle %s is another file", name, path);
}

static void walk(struct check *c, int fd, const struct gfid *self);

static void check_entry(struct check *c, int fd, const char *name, void *arg)
{
        const struct gfid *parent = arg;
        struct stat st;
        struct gfid g;
        if (gfid_is_root(parent) && streq(name, ".glusterfs"))
                return;
        int r = disk_stat(c->d, fd, name, &st);
        if (r < 0) {
                complain(c, "%s: %s", name, strerror(-r));
                return;
        }
        if (!read_gfid(c, fd, name, &g)) {
                if (!(c->flags & CHECK_CRASHED))
                        complain(c, "%s has no gfid", name);
                return;
        }
        if (c->flags & CHECK_PENDING)
                check_pending(c, fd, name, &g);
        if (!S_ISDIR(st.st_mode)) {
                note_name(c, st.st_ino, parent, name);
                check_file_handle(c, &g, &st, name);
                return;
        }
        check_dir_handle(c, &g, parent, name);
        int sub = open_dir(c, fd, name);
        if (sub < 0) {
                complain(c, "%s: %s", name, strerror(-sub));
                return;
        }
        walk(c, sub, &g);
        disk_close(c->d, sub);
}

static void walk(struct check *c, int fd, const struct gfid *self)
{
        struct gfid g = *self;
        each(c, fd, check_entry, &g);
}

/* ---- links and gfid2path ------------------------------------------------------------------------------------------- */

static size_t count_attrs(const char *list, ssize_t n)
{
        size_t count = 0;
        for (const char *p = list; p < list + n; p += strlen(p) + 1)
                count += starts_with(p, "trusted.gfid2path.");
        return count;
}

static void check_path_attr(struct check *c, const char *handle, const struct name_of *at)
{
        char value[400], have[400], key[64], t[GFID_TEXT_LEN + 1];
        int len = snprintf(value, sizeof value, "%s/%s", gfid_format(&at->parent, t), at->name);
        snprintf(key, sizeof key, "trusted.gfid2path.%016" PRIx64, (uint64_t)XXH64(value, (size_t)len, 0));
        ssize_t n = disk_getxattr(c->d, c->root, handle, key, have, sizeof have);
        if (n != len || memcmp(have, value, (size_t)len) != 0)
                complain(c, "%s: gfid2path of this name is missing or wrong", at->name);
}

/* All names of the file whose handle this is. */
static void check_names(struct check *c, const char *handle, const struct stat *st)
{
        size_t names = 0;
        bool paths = !(c->flags & (CHECK_NO_GFID2PATH | CHECK_CRASHED));
        for (size_t k = 0; k < c->n; k++) {
                if (c->names[k].ino != st->st_ino)
                        continue;
                names++;
                if (paths)
                        check_path_attr(c, handle, &c->names[k]);
        }
        if (names == 0)
                complain(c, "%s: a handle without a name", handle);
        if (names + 1 != st->st_nlink)
                complain(c, "%s: %zu names and %lu links", handle, names, (unsigned long)st->st_nlink);
        char list[65536];
        ssize_t n = paths ? disk_listxattr(c->d, c->root, handle, list, sizeof list) : 0;
        if (paths && (n < 0 || count_attrs(list, n) != names))
                complain(c, "%s: %zu names and another number of gfid2path attributes", handle, names);
}

/* ---- handles ------------------------------------------------------------------------------------------------------- */

/* Does the chain of handles from G reach the root, through directories that carry the right gfids? */
static bool leads_to_root(struct check *c, struct gfid g)
{
        for (int depth = 0; depth < 5000; depth++) {
                char path[64], target[512];
                if (gfid_is_root(&g))
                        return true;
                handle_of(&g, path);
                ssize_t n = disk_readlink(c->d, c->root, path, target, sizeof target - 1);
                if (n < 50 || gfid_parse(target + 12, GFID_TEXT_LEN, &g) < 0)
                        return false;
        }
        return false;
}

struct level {
        const char *a, *b;
};

static void check_handle(struct check *c, int fd, const char *name, void *arg)
{
        const struct level *l = arg;
        struct gfid g;
        struct stat st;
        char path[400];
        snprintf(path, sizeof path, ".glusterfs/%s/%s/%s", l->a, l->b, name);
        if (gfid_parse(name, strlen(name), &g) < 0 || strncmp(name, l->a, 2) != 0 || strncmp(name + 2, l->b, 2) != 0) {
                if (!(c->flags & CHECK_CRASHED))
                        complain(c, "%s does not belong there", path);
                return;
        }
        if (disk_stat(c->d, fd, name, &st) < 0 || S_ISDIR(st.st_mode))
                complain(c, "%s is not a handle", path);
        else if (!S_ISLNK(st.st_mode) || st.st_nlink > 1)
                check_names(c, path, &st);
        else if (!leads_to_root(c, g) && !(c->flags & CHECK_CRASHED))
                complain(c, "%s leads nowhere", path);
}

static void check_level2(struct check *c, int fd, const char *name, void *arg)
{
        struct level l = {arg, name};
        int sub = open_dir(c, fd, name);
        if (sub < 0) {
                complain(c, ".glusterfs/%s/%s: %s", l.a, name, strerror(-sub));
                return;
        }
        each(c, sub, check_handle, &l);
        disk_close(c->d, sub);
}

static void check_empty(struct check *c, int fd, const char *name, void *arg)
{
        complain(c, ".glusterfs/%s/%s was left behind", (const char *)arg, name);
}

static void check_top(struct check *c, int fd, const char *name, void *arg)
{
        char copy[3] = {name[0], name[1]};
        bool hash = strlen(name) == 2, unlinked = streq(name, "unlink");
        if (!hash && (!unlinked || (c->flags & (CHECK_CRASHED | CHECK_UNLINK_LEFT))))
                return;
        int sub = open_dir(c, fd, name);
        if (sub < 0) {
                complain(c, ".glusterfs/%s: %s", name, strerror(-sub));
                return;
        }
        each(c, sub, hash ? check_level2 : check_empty, hash ? (void *)copy : (void *)"unlink");
        disk_close(c->d, sub);
}

/* ---- the other checker --------------------------------------------------------------------------------------------- */

/* What a crash may leave, beyond notes. */
static bool from_crash(const struct finding *f)
{
        switch (f->class) {
        case FINDING_NO_HANDLE:
        case FINDING_WRONG_HANDLE:
        case FINDING_DANGLING:
        case FINDING_PATHS:
                return f->severity == FINDING_REPAIRABLE;
        default:
                return false;
        }
}

static void take_finding(void *arg, const struct finding *f)
{
        struct check *c = arg;
        if ((c->flags & CHECK_ANY_CLIENT) && (f->class == FINDING_ATTRIBUTE || f->class == FINDING_SAME_GFID))
                return;
        if (f->severity == FINDING_NOTE || ((c->flags & CHECK_CRASHED) && from_crash(f)) ||
            ((c->flags & CHECK_NO_GFID2PATH) && f->class == FINDING_PATHS))
                return;
        complain(c, "%s: %s: %s", finding_class_word(f->class), f->path, f->text);
}

static void ask_the_other(struct check *c, const char *path)
{
        const struct check_config config = {.report = take_finding, .arg = c};
        struct check_totals totals;
        struct error e;
        if (brick_check(c->d, path, &config, &totals, &e) < 0)
                complain(c, "%s", e.text);
}

int check_brick(struct disk *d, const char *path, int flags)
{
        struct check c = {.d = d, .flags = flags};
        c.root = disk_open(d, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        if (c.root < 0) {
                complain(&c, "%s: %s", path, strerror(-c.root));
                return c.bad;
        }
        struct gfid root = GFID_ROOT;
        int fd = open_dir(&c, c.root, ".");
        walk(&c, fd, &root);
        disk_close(d, fd);
        fd = open_dir(&c, c.root, ".glusterfs");
        if (fd >= 0) {
                each(&c, fd, check_top, NULL);
                disk_close(d, fd);
        } else {
                complain(&c, ".glusterfs: %s", strerror(-fd));
        }
        disk_close(d, c.root);
        ask_the_other(&c, path);
        free(c.names);
        return c.bad;
}
