/* Pictures of a brick (tree.h). */
#include "tree.h"

#include <dirent.h>
#include <xxhash.h>

#define FRESH_MARK 0xfe /* first byte of the gfids that are offered to nameless objects */
#define READ_SIZE (64 * KIB)

struct walk {
        struct client *c;
        struct tree *tree; /* NULL: remove everything */
        uint32_t fresh;
};

static struct gfid fresh_gfid(struct walk *w)
{
        struct gfid g = {.b = {FRESH_MARK, [6] = 0x40, [8] = 0x80}};
        uint32_t n = ++w->fresh;
        g.b[1] = (uint8_t)(n * 37);
        g.b[14] = (uint8_t)(n >> 8);
        g.b[15] = (uint8_t)n;
        return g;
}

/* ---- one object -------------------------------------------------------------------------------------------------- */

static uint64_t content_of_file(struct client *c, const struct gfid *g)
{
        struct read_fop_rep rep;
        const struct read_fop_req req = {.gfid = *g, .fd = FD_ANONYMOUS, .size = READ_SIZE};
        assert_int_equal(CALL(c, READ, &req, &rep), 0);
        return XXH64(rep.data.data, rep.data.len, 0);
}

static uint64_t content_of_link(struct client *c, const struct gfid *g)
{
        struct readlink_fop_rep rep;
        const struct readlink_fop_req req = {.gfid = *g, .size = PATH_LIMIT};
        assert_int_equal(CALL(c, READLINK, &req, &rep), 0);
        return XXH64(rep.path.s, rep.path.len, 0);
}

/* In any order. */
static uint64_t attrs_of(struct client *c, const struct gfid *g)
{
        struct getxattr_fop_rep rep;
        const struct getxattr_fop_req req = {.gfid = *g, .name = STR("")};
        uint64_t sum = 0;
        assert_int_equal(CALL(c, GETXATTR, &req, &rep), 0);
        for (uint32_t k = 0; k < rep.dict.count; k++) {
                const struct dict_pair *p = &rep.dict.pairs[k];
                struct slice bytes;
                assert_int_equal(dict_value_bytes(&p->value, &c->reply_arena, &bytes), 0);
                sum += XXH64(bytes.data, bytes.len, XXH64(p->key.s, p->key.len, 0));
        }
        return sum;
}

static void take_object(struct walk *w, const char *path, const struct iatt *i)
{
        assert_true(w->tree->n < TREE_MAX);
        struct tree_object *o = &w->tree->v[w->tree->n++];
        *o = (struct tree_object){.mode = i->mode,
                                  .uid = i->uid,
                                  .gid = i->gid,
                                  .links = i->nlink,
                                  .size = S_ISDIR(i->mode) ? 0 : i->size,
                                  .attrs = attrs_of(w->c, &i->gfid)};
        snprintf(o->path, sizeof o->path, "%s", path);
        if (i->gfid.b[0] != FRESH_MARK)
                o->gfid = i->gfid;
        if (S_ISREG(i->mode))
                o->content = content_of_file(w->c, &i->gfid);
        else if (S_ISLNK(i->mode))
                o->content = content_of_link(w->c, &i->gfid);
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

static void walk_dir(struct walk *w, const struct gfid *dir, const char *path);

static void remove_object(struct walk *w, const struct gfid *dir, const char *name, mode_t mode)
{
        int r = S_ISDIR(mode) ? try_rmdir(w->c, dir, name) : try_unlink(w->c, dir, name);
        if (r != 0)
                fail_msg("removing %s: %s", name, strerror(-r));
}

static void walk_entry(struct walk *w, const struct gfid *dir, const char *path, const char *name)
{
        char below[128];
        struct lookup_fop_rep rep;
        struct gfid fresh = fresh_gfid(w);
        const struct lookup_fop_req req = {
                .pargfid = *dir, .bname = str_of(name), .xdata = client_gfid_req(w->c, &fresh)};
        int r = CALL(w->c, LOOKUP, &req, &rep);
        if (r != 0)
                fail_msg("look-up of %s/%s: %s", path, name, strerror(-r));
        struct iatt i = rep.prestat;
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", name);
        if (w->tree)
                take_object(w, below, &i);
        if (S_ISDIR(i.mode))
                walk_dir(w, &i.gfid, below);
        if (!w->tree)
                remove_object(w, dir, name, i.mode);
}

/* Directories of tests are small: one answer has all names. */
static void walk_dir(struct walk *w, const struct gfid *dir, const char *path)
{
        struct readdir_fop_rep rep;
        const struct readdir_fop_req req = {.gfid = *dir, .fd = FD_ANONYMOUS, .size = 32 * KIB};
        assert_int_equal(CALL(w->c, READDIR, &req, &rep), 0);
        assert_int_equal(rep.op_errno, ENOENT);
        for (uint32_t k = 0; k < rep.reply.n; k++) {
                const char *name = rep.reply.v[k].name.s;
                if (!streq(name, ".") && !streq(name, ".."))
                        walk_entry(w, dir, path, name);
        }
}

static void walk_all(struct harness *h, struct tree *tree)
{
        struct gfid root = GFID_ROOT;
        struct walk w = {.c = client_open(h), .tree = tree};
        walk_dir(&w, &root, "");
        client_close(w.c);
}

static int by_path(const void *a, const void *b)
{
        return strcmp(((const struct tree_object *)a)->path, ((const struct tree_object *)b)->path);
}

void tree_take(struct harness *h, struct tree *ret)
{
        ret->n = 0;
        walk_all(h, ret);
        qsort(ret->v, ret->n, sizeof ret->v[0], by_path);
}

void tree_remove(struct harness *h)
{
        walk_all(h, NULL);
}

/* ---- what is left below .glusterfs
 * ----------------------------------------------------------------------------------- */

static unsigned each_name(struct harness *h, const char *path, unsigned (*fn)(struct harness *h, const char *path))
{
        _Alignas(struct disk_dirent) uint8_t data[4096];
        unsigned sum = 0;
        ssize_t n;
        int fd = disk_open(h->disk, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
                return 0;
        while ((n = disk_getdents(h->disk, fd, data, sizeof data)) > 0) {
                for (ssize_t at = 0; at < n;) {
                        const struct disk_dirent *e = (const void *)(data + at);
                        char below[256];
                        at += e->d_reclen;
                        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
                        if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                                sum += fn(h, below);
                }
        }
        disk_close(h->disk, fd);
        return sum;
}

static unsigned leftover(struct harness *h, const char *path)
{
        struct gfid root = GFID_ROOT;
        if (streq(path, handle_on_disk(h, &root)))
                return 0;
        fprintf(stderr, "left over: %s\n", path);
        return 1;
}

static unsigned leftovers_below(struct harness *h, const char *path)
{
        return each_name(h, path, leftover);
}

static unsigned leftovers_at_top(struct harness *h, const char *path)
{
        const char *name = strrchr(path, '/') + 1;
        if (streq(name, "unlink") || streq(name, "landfill"))
                return leftovers_below(h, path);
        return strlen(name) == 2 ? each_name(h, path, leftovers_below) : 0;
}

unsigned tree_leftovers(struct harness *h)
{
        return each_name(h, on_disk(h, ".glusterfs"), leftovers_at_top);
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static int compare_object(const struct tree_object *a, const struct tree_object *b)
{
        int bits = 0;
        if (!gfid_equal(&a->gfid, &b->gfid))
                bits |= TREE_GFID;
        if ((a->mode & S_IFMT) != (b->mode & S_IFMT))
                bits |= TREE_TYPE;
        if ((a->mode & 07777) != (b->mode & 07777))
                bits |= TREE_MODE;
        if (a->uid != b->uid || a->gid != b->gid)
                bits |= TREE_OWNER;
        if (a->links != b->links)
                bits |= TREE_LINKS;
        if (a->size != b->size)
                bits |= TREE_SIZE;
        if (a->content != b->content)
                bits |= TREE_CONTENT;
        if (a->attrs != b->attrs)
                bits |= TREE_ATTRS;
        return bits;
}

int tree_compare(const struct tree *a, const struct tree *b, const char *loose, int mask)
{
        int bits = 0;
        if (a->n != b->n)
                return TREE_NAMES;
        for (size_t k = 0; k < a->n; k++) {
                if (!streq(a->v[k].path, b->v[k].path))
                        return bits | TREE_NAMES;
                int differ = compare_object(&a->v[k], &b->v[k]);
                bits |= loose && starts_with(a->v[k].path, loose) ? differ & ~mask : differ;
        }
        return bits;
}

const struct tree_object *tree_find(const struct tree *t, const char *path)
{
        for (size_t k = 0; k < t->n; k++)
                if (streq(t->v[k].path, path))
                        return &t->v[k];
        return NULL;
}

void tree_print(FILE *out, const struct tree *t, const struct tree *other)
{
        char g[GFID_TEXT_LEN + 1];
        for (size_t k = 0; k < t->n; k++) {
                const struct tree_object *o = &t->v[k], *same = tree_find(other, o->path);
                if (same && compare_object(o, same) == 0)
                        continue;
                fprintf(out, "    %-20s %s %06o %u:%u links %u size %llu content %016llx attrs %016llx\n", o->path,
                        gfid_format(&o->gfid, g), o->mode, o->uid, o->gid, o->links, (unsigned long long)o->size,
                        (unsigned long long)o->content, (unsigned long long)o->attrs);
        }
}
