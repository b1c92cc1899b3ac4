/* Asks a brick about its index of pending work and prints what it answers, one line per question (spec: brick.md §12):
 *
 *      index_probe HOST PORT BRICK DIRECTORY afr|ec
 *
 * DIRECTORY is the brick's; what the index looks like on the disk is part of the transcript. Random names are replaced
 * by words (V0 V1 V2 the virtual directories, F a file, D a directory, R a random gfid, base a base file), so that the
 * transcripts of two servers can be compared line by line. The brick must be new.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "support/brick_client.h"

static struct brick_client c;
static struct arena args = ARENA_INIT(MIB);
static const char *dir;
static bool ec;
static const struct gfid root = GFID_ROOT;
static struct gfid virt[3], files[14], dirs[4];

static const char *const virtual_names[] = {"glusterfs.xattrop_index_gfid", "glusterfs.xattrop_dirty_gfid",
                                            "glusterfs.xattrop_entry_changes_gfid"};
static const char *const subdirs[] = {"xattrop", "dirty", "entry-changes"};

/* ---- words for random names ------------------------------------------------------------------------------------ */

static struct gfid known(uint32_t kind, uint32_t n)
{
        return (struct gfid){.b = {0xc0, (uint8_t)kind, [6] = 0x40, [8] = 0x80, [15] = (uint8_t)n}};
}

static const char *gfid_word(const struct gfid *g)
{
        static char buf[4][16];
        static unsigned next;
        char *s = buf[next++ % 4];
        if (gfid_is_null(g))
                return "null";
        if (gfid_is_root(g))
                return "root";
        for (unsigned i = 0; i < 3; i++)
                if (gfid_equal(g, &virt[i]) && snprintf(s, 16, "V%u", i) > 0)
                        return s;
        for (unsigned i = 0; i < ELEMENTSOF(files); i++)
                if (gfid_equal(g, &files[i]) && snprintf(s, 16, "F%u", i) > 0)
                        return s;
        for (unsigned i = 0; i < ELEMENTSOF(dirs); i++)
                if (gfid_equal(g, &dirs[i]) && snprintf(s, 16, "D%u", i) > 0)
                        return s;
        return "R";
}

static const char *name_word(const char *name)
{
        static char word[300];
        struct gfid g;
        size_t len = strlen(name);
        if (gfid_parse(name, len, &g) == 0)
                return gfid_word(&g);
        if (len > GFID_TEXT_LEN && name[len - GFID_TEXT_LEN - 1] == '-' &&
            gfid_parse(name + len - GFID_TEXT_LEN, GFID_TEXT_LEN, &g) == 0) {
                (void)snprintf(word, sizeof word, "%.*s-base", (int)(len - GFID_TEXT_LEN - 1), name);
                return word;
        }
        return len > 40 ? "long" : name;
}

static const char *gfid_text(const struct gfid *g)
{
        static char text[4][GFID_TEXT_LEN + 1];
        static unsigned next;
        return gfid_format(g, text[next++ % 4]);
}

/* ---- what is on the disk --------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
        return strcmp(a, b);
}

static void show_dir(const char *path, const char *label)
{
        static char words[64][300];
        unsigned n = 0;
        DIR *d = opendir(path);
        printf(" %s{", label);
        for (struct dirent *e; d && n < ELEMENTSOF(words) && (e = readdir(d));) {
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                struct stat st;
                char at[1024];
                (void)snprintf(at, sizeof at, "%s/%s", path, e->d_name);
                if (lstat(at, &st) < 0)
                        continue;
                (void)snprintf(words[n++], sizeof words[0], "%s:%o:%u", name_word(e->d_name), st.st_mode,
                               S_ISDIR(st.st_mode) ? 0 : st.st_nlink > 1 ? 2 : 1); /* how many: landfills count */
        }
        qsort(words, n, sizeof words[0], by_text);
        for (unsigned i = 0; i < n; i++)
                printf("%s%s", i ? " " : "", words[i]);
        printf("}");
        if (d)
                (void)closedir(d);
}

static void show_disk(const char *label)
{
        char path[1024];
        printf("%s disk =", label);
        for (unsigned i = 0; i < 3; i++) {
                (void)snprintf(path, sizeof path, "%s/.glusterfs/indices/%s", dir, subdirs[i]);
                show_dir(path, subdirs[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
                (void)snprintf(path, sizeof path, "%s/.glusterfs/indices/entry-changes/%s", dir, gfid_text(&dirs[i]));
                if (access(path, F_OK) == 0)
                        show_dir(path, gfid_word(&dirs[i]));
        }
        printf("\n");
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

static void show_value(const struct dict_value *v)
{
        struct slice b;
        struct gfid g;
        if (v->type == DICT_IATT || dict_value_bytes(v, &args, &b) < 0) {
                printf("t%d", (int)v->type);
                return;
        }
        printf("t%d:", (int)v->type);
        if (b.len == 16 && memcpy(g.b, b.data, 16)) {
                printf("%s", gfid_word(&g));
                return;
        }
        for (uint32_t i = 0; i < b.len && i < 40; i++)
                printf("%02x", b.data[i]);
}

static void show_dict(const char *label, const struct dict *d)
{
        printf(" %s{", label); /* clients do not tell an empty dict from none */
        for (uint32_t i = 0; i < d->count; i++) {
                printf("%s%s=", i ? " " : "", d->pairs[i].key.s);
                show_value(&d->pairs[i].value);
        }
        printf("}");
}

static void show_iatt(const char *label, const struct iatt *i)
{
        if (i->mode == 0 && gfid_is_null(&i->gfid) && i->ino == 0) {
                printf(" %s -", label);
                return;
        }
        printf(" %s(%s mode %o flags %llx ino %s nlink %u size %s uid %u times %d)", label, gfid_word(&i->gfid), i->mode,
               (unsigned long long)i->flags,
               i->ino == UINT64_MAX ? "max" : i->ino == gfid_ino(&i->gfid) ? "gfid" : "other",
               S_ISDIR(i->mode) ? i->nlink : i->nlink, S_ISDIR(i->mode) ? "dir" : i->size ? "some" : "0", i->uid,
               i->mtime.sec > 1000000000);
}

#define RESULT(label, r, rep)                                                                                          \
        do {                                                                                                           \
                printf("%s = ", label);                                                                                \
                if ((r) < 0)                                                                                           \
                        printf("rpc %s", strerror(-(r)));                                                              \
                else if ((rep)->op_ret < 0)                                                                            \
                        printf("%s", strerror((rep)->op_errno));                                                       \
                else                                                                                                   \
                        printf("%d", (rep)->op_ret);                                                                   \
        } while (0)

#define OK(r, rep) ((r) == 0 && (rep)->op_ret >= 0)

/* ---- calls ----------------------------------------------------------------------------------------------------- */

static struct dict xdata; /* of the next call */

static void ask(const char *key, const char *text)
{
        if (text)
                (void)dict_add_str(&xdata, &args, key, text);
        else
                (void)dict_add_int(&xdata, &args, key, 1);
}

static int call(enum fop fop, const void *req, void *rep)
{
        int r = brick_client_fop(&c, fop, req, rep);
        xdata = DICT_NULL;
        return r;
}

static void get(const char *label, struct gfid g, const char *name)
{
        struct getxattr_fop_req req = {.gfid = g, .namelen = (uint32_t)strlen(name), .name = str_of(name), .xdata = xdata};
        struct getxattr_fop_rep rep;
        int r = call(FOP_GETXATTR, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                show_dict("dict", &rep.dict);
                show_dict("xdata", &rep.xdata);
        }
        printf("\n");
}

static void get_by_fd(const char *label, struct gfid g, int64_t fd, const char *name)
{
        struct fgetxattr_fop_req req = {
                .gfid = g, .fd = fd, .namelen = (uint32_t)strlen(name), .name = str_of(name), .xdata = xdata};
        struct fgetxattr_fop_rep rep;
        int r = call(FOP_FGETXATTR, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep))
                show_dict("dict", &rep.dict);
        printf("\n");
}

static struct gfid lookup(const char *label, struct gfid g, struct gfid parent, const char *name)
{
        struct lookup_fop_req req = {.gfid = g, .pargfid = parent, .bname = str_of(name), .xdata = xdata};
        struct lookup_fop_rep rep;
        int r = call(FOP_LOOKUP, &req, &rep);
        RESULT(label, r, &rep);
        if (r == 0) {
                show_iatt("stat", &rep.prestat);
                show_iatt("parent", &rep.poststat);
                if (rep.op_ret >= 0)
                        show_dict("xdata", &rep.xdata);
        }
        printf("\n");
        return OK(r, &rep) ? rep.prestat.gfid : (struct gfid){0};
}

static void lookup_brief(const char *label, struct gfid g)
{
        struct lookup_fop_req req = {.gfid = g, .xdata = xdata};
        struct lookup_fop_rep rep;
        int r = call(FOP_LOOKUP, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep))
                show_dict("xdata", &rep.xdata);
        printf("\n");
}

static void fstat_of(const char *label, struct gfid g, int64_t fd)
{
        struct fstat_fop_req req = {.gfid = g, .fd = fd, .xdata = xdata};
        struct fstat_fop_rep rep;
        int r = call(FOP_FSTAT, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                printf(" %s", gfid_word(&rep.stat.gfid));
                show_dict("xdata", &rep.xdata);
        }
        printf("\n");
}

static void stat_of(const char *label, struct gfid g)
{
        struct stat_fop_req req = {.gfid = g, .xdata = xdata};
        struct stat_fop_rep rep;
        int r = call(FOP_STAT, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                printf(" %s", gfid_word(&rep.stat.gfid));
                show_dict("xdata", &rep.xdata);
        }
        printf("\n");
}

static int64_t open_dir(const char *label, struct gfid g)
{
        struct opendir_fop_req req = {.gfid = g, .xdata = xdata};
        struct opendir_fop_rep rep;
        int r = call(FOP_OPENDIR, &req, &rep);
        RESULT(label, r, &rep);
        printf("\n");
        return OK(r, &rep) ? rep.fd : -1;
}

static void close_dir(struct gfid g, int64_t fd)
{
        struct releasedir_fop_req req = {.gfid = g, .fd = fd};
        struct releasedir_fop_rep rep;
        int r = call(FOP_RELEASEDIR, &req, &rep);
        RESULT("releasedir", r, &rep);
        printf("\n");
}

static void show_names(const struct dirent_list *l, bool plus)
{
        static char words[64][300];
        unsigned n = 0;
        for (; n < l->n && n < ELEMENTSOF(words); n++)
                (void)snprintf(words[n], sizeof words[0], "%s:%u%s%s", name_word(l->v[n].name.s), l->v[n].type,
                               plus ? ":" : "", plus ? gfid_word(&l->v[n].stat.gfid) : "");
        qsort(words, n, sizeof words[0], by_text);
        printf(" {");
        for (unsigned i = 0; i < n; i++)
                printf("%s%s", i ? " " : "", words[i]);
        printf("}");
}

static void list(const char *label, struct gfid g, int64_t fd, uint32_t size)
{
        struct readdir_fop_req req = {.gfid = g, .fd = fd, .size = size, .xdata = xdata};
        struct readdir_fop_rep rep;
        int r = call(FOP_READDIR, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                printf(" end %d", rep.op_errno == ENOENT);
                show_names(&rep.reply, false);
        }
        printf("\n");
}

/* One name at a time, each call continuing where the last one ended. */
static void walk(const char *label, struct gfid g, int64_t fd)
{
        static struct dirent_entry all[64];
        struct dirent_list l = {.v = all};
        uint64_t offset = 0;
        for (;;) {
                struct readdir_fop_req req = {.gfid = g, .fd = fd, .offset = offset, .size = 260};
                struct readdir_fop_rep rep;
                int r = call(FOP_READDIR, &req, &rep);
                if (r < 0 || rep.op_ret <= 0 || l.n == ELEMENTSOF(all))
                        break;
                for (uint32_t i = 0; i < rep.reply.n && l.n < ELEMENTSOF(all); i++) {
                        all[l.n] = rep.reply.v[i];
                        all[l.n++].name.s = arena_strndup(&args, rep.reply.v[i].name.s, rep.reply.v[i].name.len);
                        offset = rep.reply.v[i].off;
                }
        }
        printf("%s =", label);
        show_names(&l, false);
        printf("\n");
}

static void list_plus(const char *label, struct gfid g, int64_t fd)
{
        struct readdirp_fop_req req = {.gfid = g, .fd = fd, .size = 4096, .xdata = xdata};
        struct readdirp_fop_rep rep;
        int r = call(FOP_READDIRP, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                printf(" end %d", rep.op_errno == ENOENT);
                show_names(&rep.reply, true);
        }
        printf("\n");
}

static void remove_name(const char *label, struct gfid parent, const char *name)
{
        struct unlink_fop_req req = {.pargfid = parent, .bname = str_of(name), .xdata = xdata};
        struct unlink_fop_rep rep;
        int r = call(FOP_UNLINK, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                show_iatt("pre", &rep.prestat);
                show_iatt("post", &rep.poststat);
                show_dict("xdata", &rep.xdata);
        }
        printf("\n");
}

static void remove_dir(const char *label, struct gfid parent, const char *name, int flags)
{
        struct rmdir_fop_req req = {.pargfid = parent, .xflags = flags, .bname = str_of(name), .xdata = xdata};
        struct rmdir_fop_rep rep;
        int r = call(FOP_RMDIR, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                show_iatt("pre", &rep.prestat);
                show_iatt("post", &rep.poststat);
        }
        printf("\n");
}

/* ---- changes --------------------------------------------------------------------------------------------------- */

struct pair {
        const char *key;
        int value[3];
};

static struct dict arrays(const struct pair *p, unsigned n, bool wide)
{
        struct dict d = {0};
        for (unsigned i = 0; i < n; i++) {
                uint8_t *b = arena_alloc(&args, 24);
                unsigned count = wide ? 2 : 3, step = wide ? 8 : 4;
                for (unsigned k = 0; k < count; k++)
                        for (unsigned at = 0; at < step; at++)
                                b[k * step + at] = at + 4 < step
                                                           ? (p[i].value[k] < 0 ? 0xff : 0)
                                                           : (uint8_t)((uint32_t)p[i].value[k] >> (8 * (step - 1 - at)));
                (void)dict_add_ptr(&d, &args, p[i].key, b, count * step);
        }
        return d;
}

static void change(const char *label, struct gfid g, uint32_t kind, const struct pair *p, unsigned n)
{
        struct xattrop_fop_req req = {.gfid = g, .flags = kind, .dict = arrays(p, n, kind == 1 || kind == 6), .xdata = xdata};
        struct xattrop_fop_rep rep;
        int r = call(FOP_XATTROP, &req, &rep);
        RESULT(label, r, &rep);
        if (OK(r, &rep)) {
                show_dict("dict", &rep.dict);
                show_dict("xdata", &rep.xdata);
        }
        printf("\n");
        show_disk(label);
}

static void change_by_fd(const char *label, struct gfid g, int64_t fd, uint32_t kind, const struct pair *p, unsigned n)
{
        struct fxattrop_fop_req req = {.gfid = g, .fd = fd, .flags = kind, .dict = arrays(p, n, kind == 1 || kind == 6), .xdata = xdata};
        struct fxattrop_fop_rep rep;
        int r = call(FOP_FXATTROP, &req, &rep);
        RESULT(label, r, &rep);
        printf("\n");
        show_disk(label);
}

#define DIRTY(a, b, e) {"trusted.afr.dirty", {a, b, e}}
#define PENDING(a, b, e) {"trusted.afr.rep3-client-1", {a, b, e}}
#define OTHER(a, b, e) {"trusted.afr.rep3-client-2", {a, b, e}}
#define CHANGE(label, g, kind, ...)                                                                                    \
        change(label, g, kind, (const struct pair[]){__VA_ARGS__},                                                     \
               sizeof((const struct pair[]){__VA_ARGS__}) / sizeof(struct pair))
#define CHANGE_FD(label, g, fd, kind, ...)                                                                             \
        change_by_fd(label, g, fd, kind, (const struct pair[]){__VA_ARGS__},                                           \
                     sizeof((const struct pair[]){__VA_ARGS__}) / sizeof(struct pair))

static void name_change(const char *label, struct gfid g, const char *key, const char *name, int value)
{
        ask(key, name);
        CHANGE(label, g, 0, DIRTY(0, 0, value), PENDING(0, 0, 0));
}

/* ---- the scene ------------------------------------------------------------------------------------------------- */

static void make(void)
{
        for (unsigned i = 0; i < ELEMENTSOF(files); i++) {
                char name[8];
                struct mknod_fop_rep rep;
                files[i] = known(1, i);
                (void)snprintf(name, sizeof name, "f%u", i);
                struct mknod_fop_req req = {.pargfid = root, .mode = S_IFREG | 0644, .bname = str_of(name)};
                (void)dict_add_gfid(&req.xdata, &args, "gfid-req", &files[i]);
                int r = call(FOP_MKNOD, &req, &rep);
                RESULT("mknod", r, &rep);
                printf("\n");
        }
        for (unsigned i = 0; i < ELEMENTSOF(dirs); i++) {
                char name[8];
                struct mkdir_fop_rep rep;
                dirs[i] = known(2, i);
                (void)snprintf(name, sizeof name, "d%u", i);
                struct mkdir_fop_req req = {.pargfid = root, .mode = 0755, .bname = str_of(name)};
                (void)dict_add_gfid(&req.xdata, &args, "gfid-req", &dirs[i]);
                int r = call(FOP_MKDIR, &req, &rep);
                RESULT("mkdir", r, &rep);
                printf("\n");
        }
}

static void find_virtual(void)
{
        for (unsigned i = 0; i < 3; i++) {
                struct getxattr_fop_req req = {
                        .gfid = root, .namelen = (uint32_t)strlen(virtual_names[i]), .name = str_of(virtual_names[i])};
                struct getxattr_fop_rep rep;
                int r = call(FOP_GETXATTR, &req, &rep);
                struct gfid g = {0};
                if (OK(r, &rep))
                        (void)dict_get_gfid(&rep.dict, virtual_names[i], &g);
                virt[i] = g;
                printf("virtual %u version %d = ", i, g.b[6] >> 4);
                RESULT("", r, &rep);
                printf("\n");
        }
}

/* ---- the questions --------------------------------------------------------------------------------------------- */

static void names(void)
{
        for (unsigned i = 0; i < 3; i++) {
                get("getxattr root", root, virtual_names[i]);
                get("getxattr file", files[0], virtual_names[i]);
                get("getxattr unknown", known(9, 9), virtual_names[i]);
                get_by_fd("fgetxattr root", root, FD_ANONYMOUS, virtual_names[i]);
        }
        get("getxattr", root, "glusterfs.xattrop_index_count");
        get("getxattr", root, "glusterfs.xattrop_dirty_count");
        get("getxattr", root, "glusterfs.xattrop_entry_changes_count");
        get("getxattr", root, "glusterfs.xattrop_nothing");
        ask("glusterfs.xattrop_index_gfid", NULL);
        lookup_brief("lookup with virtual key", root);
        ask("glusterfs.xattrop_index_count", NULL);
        lookup_brief("lookup with count key", root);
}

static void ask_link_count(void)
{
        ask("link-count", "glusterfs.xattrop_index_count");
}

static void pending_counts(const char *label)
{
        printf("-- counts %s\n", label);
        get("count", root, "glusterfs.xattrop_index_count");
        get("count", root, "glusterfs.xattrop_dirty_count");
        ask_link_count();
        lookup_brief("link-count by lookup", root);
        ask_link_count();
        fstat_of("link-count by fstat", files[0], FD_ANONYMOUS);
        ask_link_count();
        stat_of("link-count by stat", files[0]);
        ask("link-count", "something-else");
        lookup_brief("link-count of something else", root);
        ask("link-count", NULL);
        lookup_brief("link-count without name", root);
}

static void afr_changes(void)
{
        struct gfid f = files[0];
        CHANGE("read", f, 0, DIRTY(0, 0, 0), PENDING(0, 0, 0));
        CHANGE("+dirty", f, 0, DIRTY(1, 0, 0));
        pending_counts("dirty only");
        CHANGE("-dirty +pending", f, 0, DIRTY(-1, 0, 0), PENDING(1, 0, 0));
        pending_counts("pending");
        CHANGE("read again", f, 0, DIRTY(0, 0, 0), PENDING(0, 0, 0));
        CHANGE("another key", f, 0, OTHER(0, 0, 0));
        CHANGE("read pending", f, 0, PENDING(0, 0, 0));
        CHANGE("-pending", f, 0, PENDING(-1, 0, 0));
        pending_counts("nothing");
        CHANGE("get and set", f, 4, PENDING(1, 0, 0));
        CHANGE("read after get and set", f, 0, PENDING(0, 0, 0));
        CHANGE("get and set zero", f, 4, PENDING(0, 0, 0));
        CHANGE("back", f, 0, PENDING(0, 0, 0));
        CHANGE("with default", files[4], 6, {"trusted.afr.rep3-client-9", {1, 0, 0}});
        CHANGE("wide pending", files[5], 1, {"trusted.afr.rep3-client-3", {1, 0, 0}});
        CHANGE("wide dirty", files[6], 1, {"trusted.afr.dirty2", {1, 0, 0}});
        CHANGE("wide pending and dirty", files[7], 1, {"trusted.afr.dirty2", {1, 0, 0}}, {"trusted.afr.rep3-client-3", {1, 0, 0}});
        CHANGE("wide ec", files[8], 1, {"trusted.ec.dirty", {1, 0, 0}});
        CHANGE("narrow ec", files[9], 0, {"trusted.ec.dirty", {1, 0, 0}});
        CHANGE("prefix", files[10], 0, {"trusted.afr.rep3-", {1, 0, 0}});
        CHANGE("not quite", files[10], 0, {"trusted.afr.rep3", {1, 0, 0}});
        CHANGE("wide back", files[5], 1, {"trusted.afr.rep3-client-3", {-1, 0, 0}});
        CHANGE("narrow ec back", files[9], 0, {"trusted.ec.dirty", {-1, 0, 0}});
        CHANGE("prefix back", files[10], 0, {"trusted.afr.rep3-", {-1, 0, 0}});
        CHANGE("pending wide back", files[7], 1, {"trusted.afr.rep3-client-3", {-1, 0, 0}});
        CHANGE("longer names", f, 0, {"trusted.afr.dirty-more", {1, 0, 0}});
        CHANGE("another volume", f, 0, {"trusted.afr.rep4-client-1", {1, 0, 0}});
        CHANGE("pending", files[1], 0, PENDING(1, 0, 0));
        CHANGE("-pending", files[1], 0, PENDING(-1, 0, 0));
        struct fxattrop_fop_req by_fd = {.gfid = files[1], .fd = FD_ANONYMOUS, .flags = 0};
        struct fxattrop_fop_rep rep;
        (void)dict_add_ptr(&by_fd.dict, &args, "trusted.afr.rep3-client-1", "\0\0\0\1", 4);
        int r = call(FOP_FXATTROP, &by_fd, &rep);
        RESULT("too short a value", r, &rep);
        printf("\n");
        show_disk("too short a value");
        CHANGE("cleans up", files[1], 0, PENDING(0, 0, 0));
        CHANGE_FD("by fd", f, FD_ANONYMOUS, 0, DIRTY(1, 0, 0), PENDING(0, 2, 0));
        CHANGE_FD("by fd back", f, FD_ANONYMOUS, 0, DIRTY(-1, 0, 0), PENDING(0, -2, 0));
        CHANGE("directory", dirs[0], 0, DIRTY(0, 0, 1), PENDING(0, 0, 1));
        CHANGE("directory back", dirs[0], 0, DIRTY(0, 0, -1), PENDING(0, 0, -1));
        CHANGE("root", root, 0, DIRTY(0, 0, 1));
        CHANGE("root back", root, 0, DIRTY(0, 0, -1));
        CHANGE("no such object", known(9, 1), 0, DIRTY(0, 0, 1));
        CHANGE("no such operation", f, 2, DIRTY(0, 0, 1));
        CHANGE("dirty before a removed entry", f, 0, DIRTY(1, 0, 0));
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/.glusterfs/indices/dirty/%s", dir, gfid_text(&f));
        (void)unlink(path);
        CHANGE("read makes it again", f, 0, DIRTY(0, 0, 0));
        (void)unlink(path);
        CHANGE("back without entry", f, 0, DIRTY(-1, 0, 0));
}

static void ec_changes(void)
{
        struct gfid f = files[0];
        CHANGE("read", f, 1, {"trusted.ec.dirty", {0, 0}});
        CHANGE("+dirty", f, 1, {"trusted.ec.dirty", {1, 0}});
        pending_counts("dirty");
        CHANGE("version", f, 1, {"trusted.ec.version", {1, 1}});
        CHANGE("-dirty +version", f, 1, {"trusted.ec.version", {1, 1}}, {"trusted.ec.dirty", {-1, 0}});
        pending_counts("nothing");
        CHANGE("narrow", f, 0, {"trusted.ec.dirty", {0, 1, 0}});
        CHANGE("metadata", f, 1, {"trusted.ec.dirty", {0, 1}});
        CHANGE("metadata back", f, 1, {"trusted.ec.dirty", {0, -1}});
        CHANGE("narrow afr", f, 0, DIRTY(0, 1, 0));
        CHANGE("pending of replicate", files[3], 0, {"trusted.afr.disp-client-0", {0, 1, 0}});
        CHANGE("wide pending of replicate", files[4], 1, {"trusted.afr.disp-client-0", {0, 1, 0}});
        CHANGE("dirty and narrow", files[5], 0, {"trusted.ec.dirty", {1, 0, 0}});
        CHANGE("with default", files[1], 6, {"trusted.ec.dirty", {1, 0}});
        CHANGE("longer name", files[2], 1, {"trusted.ec.dirtymore", {1, 0}});
}

static void entry_changes(void)
{
        struct gfid d = dirs[0];
        static const char make_key[] = "glusterfs.xattrop-entry-create", drop_key[] = "glusterfs.xattrop-entry-delete";
        name_change("entry-create", d, make_key, "one", 1);
        name_change("entry-create again", d, make_key, "one", 0);
        name_change("entry-create two", d, make_key, "two", 0);
        name_change("entry-create slash", d, make_key, "a/b", 0);
        name_change("entry-create up", d, make_key, "../x", 0);
        name_change("entry-create empty", d, make_key, "", 0);
        name_change("entry-create dot", d, make_key, ".", 0);
        name_change("entry-create dots", d, make_key, "..", 0);
        char name[300];
        memset(name, 'n', sizeof name);
        name[255] = '\0';
        name_change("entry-create 255", d, make_key, name, 0);
        name_change("entry-delete 255", d, drop_key, name, 0);
        memset(name, 'n', 299);
        name[256] = '\0';
        name_change("entry-create 256", d, make_key, name, 0);
        name_change("entry-delete 256", d, drop_key, name, 0);
        name_change("entry-delete on a file", files[0], drop_key, "one", 0);
        name_change("entry-delete", d, drop_key, "two", 0);
        name_change("entry-delete again", d, drop_key, "two", 0);
        name_change("entry-delete slash", d, drop_key, "a/b", 0);
        name_change("entry-delete dots", d, drop_key, "..", 0);
        name_change("entry-delete empty", d, drop_key, "", 0);
        name_change("entry-delete elsewhere", dirs[2], drop_key, "two", 0);
        ask(make_key, "both");
        name_change("both", d, drop_key, "both", 0);
        ask(make_key, "alone");
        CHANGE("unwatched key", d, 0, {"trusted.other", {0, 0, 0}});
        ask(make_key, "alone2");
        CHANGE("no key", d, 0);
        ask(make_key, "alone3");
        CHANGE("get and set", d, 4, {"trusted.other", {0, 0, 0}});
        ask(make_key, "alone4");
        CHANGE("wide", d, 1, {"trusted.other2", {0, 0, 0}});
        ask(drop_key, "alone");
        CHANGE("unwatched key", d, 0, {"trusted.other", {0, 0, 0}});
        ask(make_key, "other");
        CHANGE("second directory", dirs[1], 0, PENDING(0, 0, 1));
        ask(make_key, "by fd");
        CHANGE_FD("by fd", dirs[1], FD_ANONYMOUS, 0, PENDING(0, 0, 1));
}

static void purges(void)
{
        struct gfid d = dirs[1];
        static const char key[] = "glusterfs.xattrop-purge-index";
        ask(key, NULL);
        CHANGE("purge while pending", d, 0, PENDING(0, 0, -1));
        ask(key, NULL);
        CHANGE("purge of non-empty", d, 0, PENDING(0, 0, -1));
        ask(key, NULL);
        CHANGE("purge again", d, 0, PENDING(0, 0, 0));
        ask("glusterfs.xattrop-entry-create", "x");
        CHANGE("again a name", d, 0, PENDING(0, 0, 1));
        ask("glusterfs.xattrop-entry-delete", "x");
        ask(key, NULL);
        CHANGE("purge of empty", d, 0, PENDING(0, 0, -1));
        ask(key, NULL);
        CHANGE("purge by dirty only", dirs[0], 0, DIRTY(0, 0, 0));
        ask(key, NULL);
        CHANGE("purge of a file", files[0], 0, PENDING(0, 0, 0));
        ask("glusterfs.xattrop-entry-create", "x");
        CHANGE("again a name", d, 0, PENDING(0, 0, 1));
        (void)dict_add_int(&xdata, &args, key, 0);
        CHANGE("purge zero", d, 0, PENDING(0, 0, -1));
        ask("glusterfs.xattrop-entry-create", "x");
        CHANGE("again a name, dirty", d, 0, DIRTY(0, 0, 1), PENDING(0, 0, 1));
        ask(key, NULL);
        CHANGE("purge, still dirty", d, 0, DIRTY(0, 0, 0), PENDING(0, 0, -1));
        CHANGE("no longer dirty", d, 0, DIRTY(0, 0, -1));
}

static void virtual_lookups(void)
{
        static const char type_key[] = "glusterfs.index-ia-type-get-req";
        struct gfid null = {0};
        for (unsigned i = 0; i < 3; i++) {
                lookup("lookup virtual", virt[i], null, "");
                ask(type_key, NULL);
                lookup("lookup virtual with type", virt[i], null, "");
                ask_link_count();
                lookup("lookup virtual with link-count", virt[i], null, "");
                ask("trusted.gfid", NULL);
                ask("list-xattr", NULL);
                ask("glusterfs.inodelk-count", NULL);
                lookup("lookup virtual with keys", virt[i], null, "");
                lookup("lookup F0 below", null, virt[i], gfid_text(&files[0]));
                lookup("lookup D0 below", null, virt[i], gfid_text(&dirs[0]));
                lookup("lookup absent below", null, virt[i], gfid_text(&files[3]));
                lookup("lookup name below", null, virt[i], "name");
                lookup("lookup upper-case below", null, virt[i], "C0010000-0000-4000-8000-00000000000F");
                stat_of("stat virtual", virt[i]);
                get("getxattr of virtual", virt[i], "trusted.gfid");
                get("getxattr of virtual, list", virt[i], "");
                get("getxattr of virtual, virtual", virt[i], virtual_names[0]);
                get("getxattr of virtual, count", virt[i], "glusterfs.xattrop_index_count");
        }
        ask(type_key, NULL);
        lookup("lookup root with type", root, null, "");
        ask(type_key, NULL);
        lookup("lookup below with type", null, virt[2], gfid_text(&dirs[0]));
}

static void other_calls(void)
{
        for (unsigned i = 0; i < 3; i++) {
                struct gfid v = virt[i], g = known(8, i);
                struct mkdir_fop_req mkdir = {.pargfid = v, .mode = 0755, .bname = STR("new")};
                struct mkdir_fop_rep mkdir_rep;
                (void)dict_add_gfid(&mkdir.xdata, &args, "gfid-req", &g);
                int r = call(FOP_MKDIR, &mkdir, &mkdir_rep);
                RESULT("mkdir below", r, &mkdir_rep);
                struct mknod_fop_req mknod = {.pargfid = v, .mode = S_IFREG | 0755, .bname = STR("new"), .xdata = mkdir.xdata};
                struct mknod_fop_rep mknod_rep;
                r = call(FOP_MKNOD, &mknod, &mknod_rep);
                RESULT(" mknod below", r, &mknod_rep);
                struct setattr_fop_req setattr = {.gfid = v, .valid = SETATTR_MODE, .stbuf = {.mode = 0755}};
                struct setattr_fop_rep setattr_rep;
                r = call(FOP_SETATTR, &setattr, &setattr_rep);
                RESULT(" setattr", r, &setattr_rep);
                struct open_fop_req open = {.gfid = v};
                struct open_fop_rep open_rep;
                r = call(FOP_OPEN, &open, &open_rep);
                RESULT(" open", r, &open_rep);
                struct access_fop_req access = {.gfid = v, .mask = 4};
                struct access_fop_rep access_rep;
                r = call(FOP_ACCESS, &access, &access_rep);
                RESULT(" access", r, &access_rep);
                struct rename_fop_req rename = {.oldgfid = v, .newgfid = v, .oldbname = STR("a"), .newbname = STR("b")};
                struct rename_fop_rep rename_rep;
                r = call(FOP_RENAME, &rename, &rename_rep);
                RESULT(" rename", r, &rename_rep);
                struct statfs_fop_req statfs = {.gfid = v};
                struct statfs_fop_rep statfs_rep;
                r = call(FOP_STATFS, &statfs, &statfs_rep);
                RESULT(" statfs", r, &statfs_rep);
                struct setxattr_fop_req setxattr = {.gfid = v, .dict = arrays((const struct pair[]){{"trusted.x", {1}}}, 1, false)};
                struct setxattr_fop_rep setxattr_rep;
                r = call(FOP_SETXATTR, &setxattr, &setxattr_rep);
                RESULT(" setxattr", r, &setxattr_rep);
                struct xattrop_fop_req xattrop = {.gfid = v, .dict = setxattr.dict};
                struct xattrop_fop_rep xattrop_rep;
                r = call(FOP_XATTROP, &xattrop, &xattrop_rep);
                RESULT(" xattrop", r, &xattrop_rep);
                struct entrylk_fop_req entrylk = {.gfid = v, .cmd = 1, .type = 1, .volume = STR("dom"), .namelen = 1, .name = STR("n")};
                struct entrylk_fop_rep entrylk_rep;
                r = call(FOP_ENTRYLK, &entrylk, &entrylk_rep);
                RESULT(" entrylk", r, &entrylk_rep);
                printf("\n");
        }
}

static void listings(void)
{
        for (unsigned i = 0; i < 3; i++) {
                struct gfid v = virt[i];
                int64_t fd = open_dir("opendir", v);
                list("readdir", v, fd, 4096);
                list("readdir again", v, fd, 4096);
                list("readdir anonymous", v, FD_ANONYMOUS, 4096);
                list("readdir small", v, FD_ANONYMOUS, 200);
                walk("walk", v, fd);
                walk("walk anonymous", v, FD_ANONYMOUS);
                ask("get-gfid-type", NULL);
                list("readdir with type", v, fd, 4096);
                ask("get-gfid-type", NULL);
                list("readdir anonymous with type", v, FD_ANONYMOUS, 4096);
                list_plus("readdirp anonymous", v, FD_ANONYMOUS);
                list_plus("readdirp", v, fd);
                fstat_of("fstat", v, fd);
                fstat_of("fstat anonymous", v, FD_ANONYMOUS);
                get_by_fd("fgetxattr", v, fd, "trusted.gfid");
                struct fsyncdir_fop_req sync = {.gfid = v, .fd = fd};
                struct fsyncdir_fop_rep sync_rep;
                int r = call(FOP_FSYNCDIR, &sync, &sync_rep);
                RESULT("fsyncdir", r, &sync_rep);
                printf("\n");
                struct flush_fop_req flush = {.gfid = v, .fd = fd};
                struct flush_fop_rep flush_rep;
                r = call(FOP_FLUSH, &flush, &flush_rep);
                RESULT("flush", r, &flush_rep);
                printf("\n");
                close_dir(v, fd);
                list("readdir closed", v, fd, 4096);
        }
        open_dir("opendir unknown", known(9, 3));
        list("readdir unknown", known(9, 3), FD_ANONYMOUS, 4096);
        show_disk("after listings");
}

static void subdirectories(void)
{
        struct gfid null = {0}, none = known(9, 4);
        struct gfid g = lookup("lookup D0 in entry-changes", null, virt[2], gfid_text(&dirs[0]));
        struct gfid h = lookup("lookup D0 again", null, virt[2], gfid_text(&dirs[0]));
        printf("the same = %d\n", gfid_equal(&g, &h));
        for (unsigned i = 0; i < 2; i++) {
                struct gfid s = i ? h : g;
                printf("-- gfid %u\n", i);
                lookup("lookup by it", s, null, "");
                ask("glusterfs.index-ia-type-get-req", NULL);
                lookup("lookup by it with type", s, null, "");
                lookup("lookup name", null, s, "one");
                lookup("lookup absent", null, s, "absent");
                stat_of("stat", s);
                int64_t fd = open_dir("opendir", s);
                list("readdir", s, fd, 4096);
                list("readdir anonymous", s, FD_ANONYMOUS, 4096);
                ask("get-gfid-type", NULL);
                list("readdir with type", s, FD_ANONYMOUS, 4096);
                list_plus("readdirp", s, fd);
                walk("walk", s, fd);
                get("getxattr", s, "trusted.gfid");
                remove_name("unlink absent", s, "absent");
                close_dir(s, fd);
        }
        struct gfid e = lookup("lookup name", null, g, "one");
        lookup("lookup by gfid of a name", e, null, "");
        stat_of("stat by gfid of a name", e);
        open_dir("opendir gfid of a name", e);
        remove_name("unlink name", h, "one");
        show_disk("unlinked");
        remove_dir("rmdir name", h, "x", 0);
        e = lookup("lookup F0 in xattrop", null, virt[0], gfid_text(&files[0]));
        lookup("lookup by its gfid", e, null, "");
        lookup("random gfid", none, null, "");
}

static void removals(void)
{
        CHANGE("F0", files[0], 0, DIRTY(1, 0, 0), PENDING(1, 0, 0));
        CHANGE("F1", files[1], 0, DIRTY(1, 0, 0), PENDING(1, 0, 0));
        remove_name("unlink F0", virt[0], gfid_text(&files[0]));
        remove_name("unlink F0 again", virt[0], gfid_text(&files[0]));
        remove_name("unlink dirty F0", virt[1], gfid_text(&files[0]));
        remove_name("unlink name", virt[0], "name");
        remove_dir("rmdir absent", virt[2], gfid_text(&files[1]), 0);
        remove_dir("rmdir absent, whole", virt[2], gfid_text(&files[1]), 1);
        remove_dir("rmdir name", virt[2], "name", 0);
        show_disk("unlinked");
        pending_counts("one left");
        ask("glusterfs.xattrop-entry-create", "kept");
        CHANGE("names", dirs[0], 0, PENDING(0, 0, 1));
        remove_dir("rmdir non-empty", virt[2], gfid_text(&dirs[0]), 0);
        show_disk("rmdir non-empty");
        ask("glusterfs.xattrop-entry-create", "kept");
        CHANGE("names", dirs[2], 0, PENDING(0, 0, 0));
        remove_dir("rmdir whole", virt[2], gfid_text(&dirs[2]), 1);
        show_disk("rmdir whole");
        ask("glusterfs.xattrop-entry-create", "kept");
        CHANGE("names", dirs[3], 0, PENDING(0, 0, 0));
        struct gfid sub = lookup("lookup", (struct gfid){0}, virt[2], gfid_text(&dirs[3]));
        remove_name("unlink in entry-changes", virt[2], gfid_text(&dirs[3]));
        remove_dir("rmdir of a name", sub, "kept", 0);
        remove_name("unlink the name", sub, "kept");
        remove_dir("rmdir emptied", virt[2], gfid_text(&dirs[3]), 1);
        show_disk("rmdir emptied");
        ask("glusterfs.xattrop-entry-create", "x");
        ask("glusterfs.xattrop-entry-delete", "x");
        CHANGE("empty directory", dirs[1], 0, PENDING(0, 0, 0));
        remove_dir("rmdir empty", virt[2], gfid_text(&dirs[1]), 0);
        CHANGE("no more", dirs[0], 0, DIRTY(0, 0, 0), PENDING(0, 0, -1));
        remove_name("unlink F1", virt[0], gfid_text(&files[1]));
        remove_name("unlink dirty F1", virt[1], gfid_text(&files[1]));
        pending_counts("nothing left");
}

/* Base files that earlier runs left, one of them still in use. */
static void old_base_files(void)
{
        char path[1024], entry[1024];
        struct gfid a = known(7, 1), b = known(7, 2), n = files[2];
        for (unsigned i = 0; i < 3; i++) {
                (void)snprintf(path, sizeof path, "%s/.glusterfs/indices/%s/%s-%s", dir, subdirs[i], subdirs[i], gfid_text(&a));
                if (i < 2) /* stock forgets those of entry-changes */
                        (void)mknod(path, S_IFREG, 0);
                (void)snprintf(path, sizeof path, "%s/.glusterfs/indices/%s/%s-%s", dir, subdirs[i], subdirs[i], gfid_text(&b));
                (void)mknod(path, S_IFREG, 0);
                (void)snprintf(entry, sizeof entry, "%s/.glusterfs/indices/%s/%s", dir, subdirs[i], gfid_text(&n));
                (void)link(path, entry);
        }
        show_disk("old base files");
        for (unsigned i = 0; i < 3; i++)
                list("readdir", virt[i], FD_ANONYMOUS, 4096);
        show_disk("after readdir");
        get("count", root, "glusterfs.xattrop_index_count");
        get("count", root, "glusterfs.xattrop_dirty_count");
        ask("get-gfid-type", NULL);
        list("readdir with type", virt[0], FD_ANONYMOUS, 4096);
        CHANGE("an old entry", files[2], 0, DIRTY(0, 0, 0), PENDING(1, 0, 0));
        CHANGE("an old entry goes", files[2], 0, DIRTY(0, 0, 0), PENDING(-1, 0, 0));
        for (unsigned i = 0; i < 3; i++)
                list("readdir", virt[i], FD_ANONYMOUS, 4096);
        show_disk("after readdir");
}

/* An entry of an object that is gone. */
static void stale_entries(void)
{
        struct unlink_fop_req req = {.pargfid = root, .bname = STR("f3")};
        struct unlink_fop_rep rep;
        CHANGE("pending", files[3], 0, PENDING(1, 0, 0));
        int r = call(FOP_UNLINK, &req, &rep);
        RESULT("the file goes", r, &rep);
        printf("\n");
        show_disk("unlinked");
        ask("get-gfid-type", NULL);
        list("readdir with type", virt[0], FD_ANONYMOUS, 4096);
        CHANGE("xattrop of it", files[3], 0, PENDING(0, 0, 0));
        remove_name("unlink", virt[0], gfid_text(&files[3]));
        pending_counts("nothing left");
}

/* Requests that no client sends; last, because the answers differ. */
static void odd_requests(void)
{
        char path[1024];
        CHANGE("dirty", files[11], 0, DIRTY(1, 0, 0));
        (void)snprintf(path, sizeof path, "%s/.glusterfs/indices/dirty/%s", dir, gfid_text(&files[11]));
        (void)unlink(path);
        remove_name("unlink a removed entry", virt[1], gfid_text(&files[11]));
        remove_name("unlink a base file", virt[0], "xattrop-00000000-0000-4000-8000-000000000000");
        remove_name("unlink empty", virt[0], "");
        CHANGE("read makes it again", files[11], 0, DIRTY(0, 0, 0));
        name_change("entry-create on a file", files[12], "glusterfs.xattrop-entry-create", "one", 0);
        CHANGE("dirty directory", dirs[0], 0, DIRTY(0, 0, 1));
        remove_dir("rmdir in dirty", virt[1], gfid_text(&dirs[0]), 0);
}

static void section(const char *name, void (*questions)(void))
{
        printf("# %s\n", name);
        questions();
        arena_reset(&args);
        (void)fflush(stdout);
}

int main(int argc, char **argv)
{
        if (argc != 6) {
                fprintf(stderr, "usage: index_probe HOST PORT BRICK DIRECTORY afr|ec\n");
                return 2;
        }
        dir = argv[4];
        ec = streq(argv[5], "ec");
        xdata = DICT_NULL;
        int r = -EAGAIN; /* the port may be open before the brick is */
        for (int attempt = 0; r < 0 && attempt < 500; attempt++) {
                if (attempt > 0)
                        (void)usleep(20000);
                r = brick_client_open(&c, argv[1], (uint16_t)strtoul(argv[2], NULL, 10), argv[3]);
                if (r < 0)
                        brick_client_close(&c);
        }
        if (r < 0) {
                fprintf(stderr, "index_probe: %s\n", strerror(-r));
                return 1;
        }
        section("scene", make);
        section("virtual directories", find_virtual);
        show_disk("new brick");
        section("names", names);
        if (ec) {
                section("changes", ec_changes);
        } else {
                section("changes", afr_changes);
                section("entry changes", entry_changes);
                section("listings", listings);
                section("subdirectories", subdirectories);
                section("virtual look-ups", virtual_lookups);
                section("other calls", other_calls);
                section("purges", purges);
                section("removals", removals);
                section("old base files", old_base_files);
                section("stale entries", stale_entries);
                section("odd requests", odd_requests);
        }
        arena_done(&args);
        brick_client_close(&c);
        return 0;
}
