/* Paths by the pgfid attributes (ancestry.h): the directories that hold a name of a file are known, the names are looked for
 * in them by inode number.
 *
 * A file's directories are listed whole, which is as costly as it sounds; only quota's tools and people ask. A name that
 * is moved meanwhile may be missed. Any thread, no locks.
 */
#include "brick/ancestry.h"

#include "brick/names.h"

#define XATTR_PGFID "trusted.pgfid."
#define DEPTH_MAX 4096u
#define ENTRIES_MAX 65536u /* of one answer */
#define DIRENTS_SIZE (32 * KIB)

/* A name of the object in the directory PARENT. Not 0: enough, or an error. */
typedef int (*name_fn)(struct op *op, struct object *o, const struct gfid *parent, const char *name, void *arg);

static int names_in_listing(struct op *op, struct object *o, const struct gfid *parent, int fd, name_fn fn, void *arg)
{
        uint8_t *data = arena_alloc_uninitialised(op->arena, DIRENTS_SIZE);
        if (!data)
                return -ENOMEM;
        ssize_t n;
        while ((n = disk_getdents(op->brick->disk, fd, data, DIRENTS_SIZE)) > 0)
                for (ssize_t at = 0; at < n;) {
                        const struct disk_dirent *d = (const void *)(data + at);
                        int r = d->d_ino == o->st.st_ino ? fn(op, o, parent, d->d_name, arg) : 0;
                        if (r != 0)
                                return r;
                        at += d->d_reclen;
                }
        return (int)n;
}

/* A directory that is gone holds no name. */
static int names_in(struct op *op, struct object *o, const struct gfid *parent, name_fn fn, void *arg)
{
        struct object dir;
        int r = object_by_gfid(op, parent, &dir);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        int fd = S_ISDIR(dir.st.st_mode) ? object_open(op->brick, &dir, O_RDONLY | O_DIRECTORY) : -ENOTDIR;
        if (fd >= 0) {
                r = names_in_listing(op, o, parent, fd, fn, arg);
                disk_close(op->brick->disk, fd);
        }
        object_done(op->brick, &dir);
        return r;
}

static int each_name(struct op *op, struct object *o, name_fn fn, void *arg)
{
        struct xattr_view view;
        if (!op->brick->options->build_pgfid)
                return 0;
        int r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        for (uint32_t k = 0; r == 0 && k < view.n; k++) {
                const char *name = view.v[k].name;
                struct gfid parent;
                if (starts_with(name, XATTR_PGFID) &&
                    gfid_parse(name + strlen(XATTR_PGFID), strlen(name) - strlen(XATTR_PGFID), &parent) == 0)
                        r = names_in(op, o, &parent, fn, arg);
        }
        return r;
}

/* ---- as text ----------------------------------------------------------------------------------------------------- */

static int join_name(struct op *op, struct object *o, const struct gfid *parent, const char *name, void *arg)
{
        const char **all = arg;
        char *dir;
        int r = path_of_dir(op, parent, false, &dir);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        *all = arena_printf(op->arena, "%s%s%s/%s", *all ? *all : "", *all ? ":" : "", streq(dir, "/") ? "" : dir, name);
        return *all ? 0 : -ENOMEM;
}

int ancestry_paths(struct op *op, struct object *o, char **ret)
{
        if (S_ISDIR(o->st.st_mode))
                return path_of_dir(op, &o->inode->gfid, false, ret);
        char *all = NULL;
        int r = each_name(op, o, join_name, &all);
        if (r == 0 && !all)
                r = -ENOENT;
        if (r == 0)
                *ret = all;
        return r;
}

/* ---- as entries -------------------------------------------------------------------------------------------------- */

struct chain {
        struct dirent_entry *v;
        uint32_t n, cap;
};

static int chain_add(struct op *op, struct chain *c, const char *name, const struct iatt *stat)
{
        if (c->n == ENTRIES_MAX)
                return -E2BIG;
        if (c->n == c->cap) {
                uint32_t cap = c->cap ? c->cap * 2 : 16;
                struct dirent_entry *v = arena_alloc_array(op->arena, cap, sizeof *v);
                if (!v)
                        return -ENOMEM;
                if (c->n > 0)
                        memcpy(v, c->v, c->n * sizeof *v);
                c->v = v;
                c->cap = cap;
        }
        char *copy = arena_strndup(op->arena, name, strlen(name));
        if (!copy)
                return -ENOMEM;
        c->v[c->n++] = (struct dirent_entry){.ino = UINT64_MAX, .name = str_of(copy), .stat = *stat};
        return 0;
}

static int chain_add_dir(struct op *op, struct chain *c, const struct gfid *g, const char *name)
{
        struct object o;
        struct iatt stat;
        int r = object_by_gfid(op, g, &o);
        if (r < 0)
                return r;
        r = attr_iatt(op, &o, &stat);
        if (r == 0)
                r = chain_add(op, c, name, &stat);
        object_done(op->brick, &o);
        return r;
}

/* The directories from the root (of the mount) down to G: added upwards, then turned round. */
static int chain_to(struct op *op, struct chain *c, struct gfid g)
{
        uint32_t first = c->n;
        for (uint32_t depth = 0; depth < DEPTH_MAX; depth++) {
                char name[NAME_LIMIT + 1] = "/";
                struct gfid parent = {0};
                bool top = gfid_is_root(&g) || gfid_equal(&g, &op->session->subdir_root);
                int r = top ? 0 : handle_read_dir(op->brick, &g, &parent, name);
                if (r == 0)
                        r = chain_add_dir(op, c, &g, name);
                if (r < 0)
                        return r;
                if (!top) {
                        g = parent;
                        continue;
                }
                for (uint32_t a = first, b = c->n - 1; a < b; a++, b--) {
                        struct dirent_entry e = c->v[a];
                        c->v[a] = c->v[b];
                        c->v[b] = e;
                }
                return 0;
        }
        return -ELOOP;
}

static int chain_to_name(struct op *op, struct object *o, const struct gfid *parent, const char *name, void *arg)
{
        struct chain *c = arg;
        struct iatt stat;
        uint32_t before = c->n;
        int r = chain_to(op, c, *parent);
        if (r == -ENOENT || r == -ESTALE) { /* moved away or gone meanwhile */
                c->n = before;
                return 0;
        }
        if (r == 0)
                r = attr_iatt(op, o, &stat);
        return r < 0 ? r : chain_add(op, c, name, &stat);
}

int ancestry_list(struct op *op, const struct readdirp_fop_req *req, struct readdirp_fop_rep *rep)
{
        struct io_fd io;
        struct chain c = {0};
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct object o = {.inode = io.inode, .at = io_place(&io)};
        r = object_restat(op, &o);
        if (r == 0)
                r = S_ISDIR(o.st.st_mode) ? chain_to(op, &c, io.inode->gfid) : each_name(op, &o, chain_to_name, &c);
        io_fd_done(op->brick, &io);
        if (r < 0 || c.n == 0)
                return r < 0 ? r : -ENODATA;
        rep->reply = (struct dirent_list){c.v, c.n};
        rep->op_ret = (int32_t)c.n;
        return 0;
}
