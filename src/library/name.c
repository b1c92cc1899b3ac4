/* Making, removing, renaming (client.h). New objects' gfids are chosen here. */
#include "library/client.h"

/* ---- making ----------------------------------------------------------------------------------------------------- */

/* What all creations have in common: a new inode with its gfid, asked for in XDATA. */
static int begin_creation(struct job *j, struct place *p, uint32_t type, struct dict *xdata, struct vnode **ret)
{
        uint8_t random[16];
        if (p->inode || !p->parent)
                return -EEXIST;
        loop_random(j->client->loop, random, sizeof random);
        const struct gfid gfid = gfid_from_random(random);
        *ret = vnode_new(j->client->volume, &gfid, type);
        if (!*ret)
                return -ENOMEM;
        j->r.inode = *ret;
        j->r.parent = p->parent;
        return dict_add_gfid(xdata, &j->arena, "gfid-req", &gfid);
}

static ssize_t made(int r, struct vnode *inode, const struct iatt *stat)
{
        if (r >= 0 && stat_is_usable(stat))
                vnode_unref(vnode_link(inode, stat));
        return r < 0 ? r : 0;
}

static ssize_t mkdir_place(struct job *j, struct place *p)
{
        _cleanup_vnode_ struct vnode *inode = NULL;
        struct mkdir_fop_req req = {.mode = j->mode & 07777u, .bname = str_of(p->name)};
        struct mkdir_fop_rep rep = {0};
        int r = begin_creation(j, p, S_IFDIR, &req.xdata, &inode);
        if (r < 0)
                return r;
        req.pargfid = p->parent->gfid;
        r = subvolume_mkdir(j->self, job_top(j, FOP_MKDIR), &j->r, &req, &rep);
        return made(r, inode, &rep.stat);
}

ssize_t op_mkdir(struct job *j)
{
        return place_do(j, false, mkdir_place);
}

static ssize_t mknod_place(struct job *j, struct place *p)
{
        _cleanup_vnode_ struct vnode *inode = NULL;
        struct mknod_fop_req req = {.mode = j->mode, .dev = j->offset, .bname = str_of(p->name)};
        struct mknod_fop_rep rep = {0};
        if (p->slash)
                return p->inode ? -EEXIST : -ENOENT;
        int r = begin_creation(j, p, j->mode & S_IFMT, &req.xdata, &inode);
        if (r < 0)
                return r;
        req.pargfid = p->parent->gfid;
        r = subvolume_mknod(j->self, job_top(j, FOP_MKNOD), &j->r, &req, &rep);
        return made(r, inode, &rep.stat);
}

ssize_t op_mknod(struct job *j)
{
        switch (j->mode & S_IFMT) {
        case 0:
                j->mode |= S_IFREG;
                break;
        case S_IFREG:
        case S_IFIFO:
        case S_IFSOCK:
        case S_IFCHR:
        case S_IFBLK:
                break;
        default:
                return -EINVAL;
        }
        return place_do(j, false, mknod_place);
}

static ssize_t symlink_place(struct job *j, struct place *p)
{
        _cleanup_vnode_ struct vnode *inode = NULL;
        struct symlink_fop_req req = {.bname = str_of(p->name), .linkname = str_of(j->name)};
        struct symlink_fop_rep rep = {0};
        if (p->slash)
                return p->inode ? -EEXIST : -ENOENT;
        int r = begin_creation(j, p, S_IFLNK, &req.xdata, &inode);
        if (r < 0)
                return r;
        req.pargfid = p->parent->gfid;
        r = subvolume_symlink(j->self, job_top(j, FOP_SYMLINK), &j->r, &req, &rep);
        return made(r, inode, &rep.stat);
}

ssize_t op_symlink(struct job *j)
{
        size_t length = strlen(j->name);
        if (length == 0 || length > PATH_LIMIT)
                return length == 0 ? -ENOENT : -ENAMETOOLONG;
        return place_do(j, false, symlink_place);
}

static ssize_t readlink_place(struct job *j, struct place *p)
{
        struct readlink_fop_req req = {.gfid = p->inode->gfid, .size = PATH_LIMIT};
        struct readlink_fop_rep rep = {0};
        if (!S_ISLNK(p->stat.mode))
                return -EINVAL;
        int r = subvolume_readlink(j->self, job_top(j, FOP_READLINK), &j->r, &req, &rep);
        if (r < 0)
                return r;
        size_t n = MIN(j->size, (size_t)rep.path.len);
        memcpy(j->buf, rep.path.s, n);
        return (ssize_t)n;
}

ssize_t op_readlink(struct job *j)
{
        return place_do_there(j, false, readlink_place);
}

/* ---- a second name ---------------------------------------------------------------------------------------------- */

static ssize_t link_place(struct job *j, struct place *p)
{
        _cleanup_place_ struct place to = {0};
        if (S_ISDIR(p->stat.mode))
                return -EPERM;
        int r = place_find(j, j->new_path, false, &to);
        if (r < 0)
                return r;
        if (to.inode || !to.parent)
                return -EEXIST;
        if (to.slash)
                return -ENOENT;
        struct link_fop_req req = {
                .oldgfid = p->inode->gfid, .newgfid = to.parent->gfid, .newbname = str_of(to.name)};
        struct link_fop_rep rep = {0};
        j->r.inode = p->inode;
        j->r.parent = j->r.new_parent = to.parent;
        r = subvolume_link(j->self, job_top(j, FOP_LINK), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_link(struct job *j)
{
        return place_do_there(j, false, link_place);
}

/* ---- removing --------------------------------------------------------------------------------------------------- */

static ssize_t unlink_place(struct job *j, struct place *p)
{
        struct unlink_fop_rep rep = {0};
        if (S_ISDIR(p->stat.mode) || !p->parent)
                return -EISDIR;
        struct unlink_fop_req req = {.pargfid = p->parent->gfid, .bname = str_of(p->name)};
        j->r.parent = p->parent;
        int r = subvolume_unlink(j->self, job_top(j, FOP_UNLINK), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_unlink(struct job *j)
{
        return place_do_there(j, false, unlink_place);
}

static ssize_t rmdir_place(struct job *j, struct place *p)
{
        struct rmdir_fop_rep rep = {0};
        if (!p->parent)
                return -EBUSY;
        if (!S_ISDIR(p->stat.mode))
                return -ENOTDIR;
        struct rmdir_fop_req req = {.pargfid = p->parent->gfid, .bname = str_of(p->name)};
        j->r.parent = p->parent;
        int r = subvolume_rmdir(j->self, job_top(j, FOP_RMDIR), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_rmdir(struct job *j)
{
        return place_do_there(j, false, rmdir_place);
}

/* ---- renaming --------------------------------------------------------------------------------------------------- */

/* What rename(2) says before anything is done: 1 go on, 0 nothing is to be done. */
static int check_renaming(const struct place *from, const struct place *to)
{
        bool directory = S_ISDIR(from->stat.mode);
        if (!to->parent)
                return -EBUSY;
        if (to->inode == from->inode)
                return 0;
        if (!to->inode)
                return to->slash && !directory ? -ENOTDIR : 1;
        if (directory != S_ISDIR(to->stat.mode))
                return directory ? -ENOTDIR : -EISDIR;
        return 1;
}

static ssize_t rename_place(struct job *j, struct place *from)
{
        _cleanup_place_ struct place to = {0};
        if (!from->parent)
                return -EBUSY;
        j->not_below = S_ISDIR(from->stat.mode) ? from->inode : NULL;
        int r = place_find(j, j->new_path, false, &to);
        j->not_below = NULL;
        if (r == 0)
                r = check_renaming(from, &to);
        if (r <= 0)
                return r;
        struct rename_fop_req req = {.oldgfid = from->parent->gfid,
                                     .newgfid = to.parent->gfid,
                                     .oldbname = str_of(from->name),
                                     .newbname = str_of(to.name)};
        struct rename_fop_rep rep = {0};
        j->r.inode = from->inode;
        j->r.parent = from->parent;
        j->r.new_inode = to.inode;
        j->r.new_parent = to.parent;
        r = subvolume_rename(j->self, job_top(j, FOP_RENAME), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_rename(struct job *j)
{
        return place_do_there(j, false, rename_place);
}
