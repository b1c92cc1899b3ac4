/* The virtual directories in which clients see the index (index.h; spec: brick.md §12.4).
 *
 * Three gfids, random per start, stand for the directories of .glusterfs/indices. A directory in entry-changes, which
 * holds the names noted for directory G, is known to clients as G combined with a random mask: so its virtual gfid needs
 * no table and is valid until the next start. The mask turns a random gfid (version 4) into one of version 14, so gfids
 * of the usual kind are told apart without looking at the disk. Nothing here is an object: all other calls on these gfids
 * find nothing. Any thread; holds no locks itself.
 */
#include "brick/index.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/random.h>

#include "brick/cache.h"
#include "brick/listing.h"

#define IATT_INDEX 0x6ffu /* all but inode number, btime and gfid */

/* ---- which is it? -------------------------------------------------------------------------------------------------- */

static unsigned version(const struct gfid *g)
{
        return g->b[6] >> 4;
}

/* Its own inverse. */
static struct gfid masked(const struct gfid *g, const struct gfid *mask)
{
        struct gfid m;
        for (unsigned k = 0; k < sizeof m.b; k++)
                m.b[k] = g->b[k] ^ mask->b[k];
        return m;
}

static bool is_class_gfid(const struct index *x, const struct gfid *g, struct index_dir *ret)
{
        for (unsigned k = 0; k < INDEX_CLASSES; k++) {
                if (!gfid_equal(g, &x->gfids[k]))
                        continue;
                *ret = (struct index_dir){.class = k, .gfid = *g};
                return true;
        }
        return false;
}

static void dir_path(const struct index_dir *d, const char *name, char buf[static INDEX_PATH_MAX])
{
        char text[GFID_TEXT_LEN + 1];
        const char *sub = d->is_sub ? gfid_format(&d->of, text) : "";
        (void)snprintf(buf, INDEX_PATH_MAX, ".glusterfs/indices/%s%s%s%s%s", index_class_names[d->class], *sub ? "/" : "",
                       sub, *name ? "/" : "", name);
}

static int dir_stat(struct brick *b, const struct index_dir *d, const char *name, struct stat *ret)
{
        char path[INDEX_PATH_MAX];
        dir_path(d, name, path);
        return disk_stat(b->disk, b->root_fd, path, ret);
}

bool index_find(struct op *op, const struct gfid *g, struct index_dir *ret)
{
        const struct index *x = op->brick->index;
        struct stat st;
        if (!gfid_is_null(&op->session->subdir_root))
                return false; /* what others have pending is nothing to a part of the volume */
        if (is_class_gfid(x, g, ret))
                return true;
        if (version(g) == 4 || version(g) == 0)
                return false;
        struct index_dir d = {
                .class = INDEX_ENTRY_CHANGES, .gfid = *g, .is_sub = true, .of = masked(g, &x->mask)};
        if (dir_stat(op->brick, &d, "", &st) < 0 || !S_ISDIR(st.st_mode))
                return false;
        *ret = d;
        return true;
}

/* The directory that a descriptor stands for, whether it still exists or not. */
static struct index_dir dir_of_fd(const struct index *x, const struct open_fd *of)
{
        struct index_dir d = {.class = INDEX_ENTRY_CHANGES, .gfid = of->inode->gfid, .is_sub = true};
        if (!is_class_gfid(x, &of->inode->gfid, &d))
                d.of = masked(&of->inode->gfid, &x->mask);
        return d;
}

/* The directories belong to root alone. */
static int may_use(const struct op *op)
{
        return op->caller.uid == 0 || op_internal(op) ? 0 : -EACCES;
}

/* NAME as a gfid, in its canonical form only: others are not entries. */
static bool name_is_gfid(const char *name, struct gfid *ret)
{
        char text[GFID_TEXT_LEN + 1];
        return gfid_parse(name, strlen(name), ret) == 0 && streq(gfid_format(ret, text), name);
}

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

static struct iatt index_iatt(const struct stat *st, const struct gfid *g)
{
        struct iatt i;
        attr_of_stat(st, g, &i);
        i.flags = IATT_INDEX;
        i.ino = UINT64_MAX;
        i.nlink = (uint32_t)st->st_nlink;
        return i;
}

static int dir_iatt(struct op *op, const struct index_dir *d, struct iatt *ret)
{
        struct stat st;
        int r = dir_stat(op->brick, d, "", &st);
        if (r == 0)
                *ret = index_iatt(&st, &d->gfid);
        return r;
}

/* Whose names are in it: a directory's, or what any gfid stands for. */
static int answer_type(struct op *op, const struct index_dir *d)
{
        if (!op->xdata.index_type.present || d->is_sub)
                return 0;
        return dict_add_uint(&op->reply, op->arena, "glusterfs.index-ia-type-get-rsp",
                             d->class == INDEX_ENTRY_CHANGES ? 2 : 1);
}

static int random_gfid(struct gfid *ret)
{
        uint8_t raw[sizeof ret->b];
        if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
                return -EIO;
        *ret = gfid_from_random(raw);
        return 0;
}

/* Of an entry of D: a gfid, or what may be the name of a directory's entry. */
static bool name_is_possible(const struct index_dir *d, const char *name, struct gfid *ret)
{
        if (!d->is_sub)
                return name_is_gfid(name, ret);
        return *name && !strchr(name, '/') && !streq(name, ".") && !streq(name, "..") && strlen(name) <= NAME_LIMIT;
}

static int lookup_name(struct op *op, const struct index_dir *d, const char *name, struct lookup_fop_rep *rep)
{
        struct stat st;
        struct gfid g;
        if (!name_is_possible(d, name, &g))
                return -ENOENT;
        int r = dir_stat(op->brick, d, name, &st);
        if (r < 0)
                return r;
        if (!d->is_sub && S_ISDIR(st.st_mode))
                g = masked(&g, &op->brick->index->mask);
        else
                r = random_gfid(&g);
        if (r == 0)
                rep->prestat = index_iatt(&st, &g);
        return r;
}

int index_lookup(struct op *op, const struct index_dir *d, const char *name, struct lookup_fop_rep *rep)
{
        if (*name)
                return lookup_name(op, d, name, rep);
        int r = dir_iatt(op, d, &rep->prestat);
        return r < 0 ? r : answer_type(op, d);
}

/* ---- listing ------------------------------------------------------------------------------------------------------- */

static int dir_open(struct brick *b, const struct index_dir *d)
{
        char path[INDEX_PATH_MAX];
        dir_path(d, "", path);
        return disk_open(b->disk, b->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

static int make_fd(struct op *op, struct inode *inode, int fd, struct open_fd **ret)
{
        struct object o = {.inode = inode};
        int r = disk_stat(op->brick->disk, fd, "", &o.st);
        if (r == 0)
                r = open_fd_new(op->brick, &o, fd, O_RDONLY | O_DIRECTORY, ret);
        if (r == 0)
                (*ret)->is_index = true;
        return r;
}

static int answer_fd(struct op *op, struct open_fd *of, int64_t *ret)
{
        int r = session_fd_add(op->session, of, ret);
        if (r < 0)
                open_fd_unref(op->brick, of);
        return r;
}

int index_opendir(struct op *op, const struct index_dir *d, struct opendir_fop_rep *rep)
{
        struct brick *b = op->brick;
        struct open_fd *of;
        int r = may_use(op);
        if (r < 0)
                return r;
        int fd = dir_open(b, d);
        if (fd < 0)
                return fd;
        struct inode *inode = inode_get(b, &d->gfid);
        r = inode ? make_fd(op, inode, fd, &of) : -ENOMEM;
        if (r < 0)
                disk_close(b->disk, fd);
        if (inode)
                inode_unref(b, inode);
        return r < 0 ? r : answer_fd(op, of, &rep->fd);
}

struct view {
        struct brick *brick;
        const struct index_dir *dir;
};

/* Base files are not entries; those of earlier runs that nothing uses any more go now. */
static bool entry_hidden(void *arg, const char *name)
{
        struct view *v = arg;
        struct gfid id;
        if (v->dir->is_sub || !index_is_base(v->dir->class, name, &id))
                return false;
        index_drop_base(v->brick, v->dir->class, &id);
        return true;
}

/* DT_UNKNOWN: no gfid, or there is no such object. */
static uint8_t type_of_object(struct brick *b, const char *name)
{
        struct gfid g;
        struct stat st;
        if (!name_is_gfid(name, &g) || handle_stat(b, &g, &st) < 0)
                return DT_UNKNOWN;
        return handle_stat_is_dir(&st) ? DT_DIR : (uint8_t)IFTODT(st.st_mode);
}

static void set_types(struct op *op, const struct index_dir *d, struct dirent_list *l)
{
        bool wanted = op->xdata.get_gfid_type.present && !d->is_sub;
        for (uint32_t k = 0; k < l->n; k++)
                l->v[k].type = wanted ? type_of_object(op->brick, l->v[k].name.s) : DT_UNKNOWN;
}

static void note_entries(struct op *op, const struct index_dir *d, const struct dirent_list *l)
{
        struct gfid g;
        for (uint32_t k = 0; k < l->n && !d->is_sub && d->class != INDEX_ENTRY_CHANGES; k++)
                if (name_is_gfid(l->v[k].name.s, &g))
                        index_seen(op->brick, d->class, &g);
}

static int list_dir(struct op *op, const struct index_dir *d, struct io_fd *io, const struct readdir_fop_req *req,
                    struct readdir_fop_rep *rep)
{
        struct view v = {.brick = op->brick, .dir = d};
        bool eof;
        int r = list_names_of(op, io, req->offset, req->size, entry_hidden, &v, &rep->reply, &eof);
        if (r < 0)
                return r;
        if (d->class == INDEX_XATTROP && req->offset == 0)
                index_doubt(op->brick);
        note_entries(op, d, &rep->reply);
        set_types(op, d, &rep->reply);
        rep->op_ret = (int32_t)rep->reply.n;
        rep->op_errno = eof ? ENOENT : 0;
        return 0;
}

static int list_anonymous(struct op *op, const struct index_dir *d, const struct readdir_fop_req *req,
                          struct readdir_fop_rep *rep)
{
        struct brick *b = op->brick;
        int fd = dir_open(b, d);
        if (fd < 0)
                return fd;
        struct inode *inode = inode_get(b, &d->gfid);
        struct io_fd io = {.inode = inode, .fd = fd};
        int r = inode ? list_dir(op, d, &io, req, rep) : -ENOMEM;
        disk_close(b->disk, fd);
        if (inode)
                inode_unref(b, inode);
        return r;
}

static int list_number(struct op *op, const struct readdir_fop_req *req, struct readdir_fop_rep *rep)
{
        struct open_fd *of = session_fd_get(op->session, req->fd);
        if (!of)
                return -EBADF;
        struct io_fd io = {.of = of, .inode = of->inode, .fd = of->fd, .ino = of->ino};
        struct index_dir d = dir_of_fd(op->brick->index, of);
        int r = of->is_index ? list_dir(op, &d, &io, req, rep) : -EBADF;
        open_fd_unref(op->brick, of);
        return r;
}

int index_readdir(struct op *op, const struct index_dir *d, const struct readdir_fop_req *req,
                  struct readdir_fop_rep *rep)
{
        int r = may_use(op);
        if (r < 0)
                return r;
        return req->fd == FD_ANONYMOUS ? list_anonymous(op, d, req, rep) : list_number(op, req, rep);
}

/* ---- removing ------------------------------------------------------------------------------------------------------ */

/* One name noted for a directory. */
static int unlink_name(struct op *op, const struct index_dir *d, const char *name)
{
        char path[INDEX_PATH_MAX];
        dir_path(d, name, path);
        return disk_unlink(op->brick->disk, op->brick->root_fd, path, 0);
}

static int unlink_entry(struct op *op, const struct index_dir *d, const char *name)
{
        struct gfid g;
        int r = may_use(op);
        if (r == 0 && !name_is_possible(d, name, &g))
                r = -EINVAL;
        if (r == 0)
                r = d->is_sub ? unlink_name(op, d, name) : index_remove(op->brick, d->class, &g);
        return r == -EISDIR ? -EPERM : r;
}

int index_unlink(struct op *op, const struct index_dir *d, const char *name, struct unlink_fop_rep *rep)
{
        int r = dir_iatt(op, d, &rep->prestat);
        if (r == 0)
                r = unlink_entry(op, d, name);
        return r < 0 ? r : dir_iatt(op, d, &rep->poststat);
}

static int rmdir_entry(struct op *op, const struct index_dir *d, const char *name, bool whole)
{
        struct stat st;
        struct gfid g;
        int r = may_use(op);
        if (r == 0 && !name_is_possible(d, name, &g))
                r = -EINVAL;
        if (r < 0)
                return r;
        if (!d->is_sub && d->class == INDEX_ENTRY_CHANGES)
                return index_remove_names(op->brick, &g, whole);
        r = dir_stat(op->brick, d, name, &st);
        return r < 0 ? r : -ENOTDIR;
}

int index_rmdir(struct op *op, const struct index_dir *d, const char *name, bool whole, struct rmdir_fop_rep *rep)
{
        int r = dir_iatt(op, d, &rep->prestat);
        if (r == 0)
                r = rmdir_entry(op, d, name, whole);
        return r < 0 ? r : dir_iatt(op, d, &rep->poststat);
}
