/* Attributes: reading and changing them, permission questions, links' targets, the file system's sizes.
 *
 * The kernel checks permissions by mode bits (or ACLs, with that option); bricks check again, with ACLs. What the
 * kernel calls one change of attributes is a truncation and a SETATTR for the volume, in this order. A new owner takes
 * setuid and setgid bits away, which the kernel leaves to us.
 */
#include "mount/bridge_state.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static void answer_attr(struct call *c, int r, const struct iatt *stat)
{
        if (r >= 0 && !stat_is_usable(stat))
                r = -EIO;
        if (r < 0) {
                (void)fuse_reply_error(c->rq, call_node_error(r));
                return;
        }
        struct fuse_attr attr = attr_from(c->b, stat);
        c->node->mode = stat->mode;
        c->node->uid = stat->uid;
        cache_tell(c->b, c->node, stat, c->began);
        uint64_t timeout = cache_attr_timeout(c->b, c->node, c->began);
        cache_keep_attr(c->b, c->node, stat, timeout);
        (void)fuse_reply_attr(c->rq, &attr, timeout);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int stat_file(struct call *c, struct vfile *file, struct iatt *ret)
{
        struct request r = c->r;
        struct fstat_fop_req req = {.gfid = file->inode->gfid};
        struct fstat_fop_rep rep = {0};
        r.file = file;
        r.inode = file->inode;
        int result = subvolume_fstat(c->self, call_top(c), &r, &req, &rep);
        if (result >= 0)
                *ret = rep.stat;
        return result;
}

/* Through a file that somebody has open: its last name may be gone, or going on one copy after the other at the moment.
 * Otherwise by its gfid. */
static int stat_node(struct call *c, struct iatt *ret)
{
        struct vfile *open = c->node->inode->files;
        if (open && !open->directory) {
                open = vfile_ref(open);
                int r = stat_file(c, open, ret);
                vfile_unref(open);
                if (r >= 0 || r == -EINTR)
                        return r;
        }
        struct stat_fop_req req = {.gfid = c->node->inode->gfid};
        struct stat_fop_rep rep = {0};
        call_stamp(c, FOP_STAT);
        int r = subvolume_stat(c->self, call_top(c), &c->r, &req, &rep);
        if (r >= 0)
                *ret = rep.stat;
        return r;
}

/* What is known of a directory, answered: true. */
static bool answer_kept(struct call *c)
{
        struct iatt stat;
        uint64_t timeout;
        if (!cache_kept_attr(c->b, c->node, &stat, &timeout))
                return false;
        struct fuse_attr attr = attr_from(c->b, &stat);
        (void)fuse_reply_attr(c->rq, &attr, timeout);
        return true;
}

void bridge_op_getattr(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct iatt stat = {0};
        const struct fuse_getattr_in *in = rq->in.getattr;
        int r = call_begin(&c, self, rq);
        if (r == 0 && answer_kept(&c))
                return;
        if (r == 0)
                r = write_behind_settle(&c, c.node); /* the size is that of what was written */
        if (r == 0) {
                struct open_file *of = in->getattr_flags & FUSE_GETATTR_FH ? file_table_find(c.b, in->fh) : NULL;
                r = of && of->file ? stat_file(&c, of->file, &stat) : stat_node(&c, &stat);
        }
        if ((r == -ENOENT || r == -ESTALE) && c.node && open_content_stat(&c, &stat))
                r = 0;
        answer_attr(&c, r, &stat);
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int truncate_node(struct call *c, const struct fuse_setattr_in *in, struct iatt *ret)
{
        int r;
        if (in->valid & FATTR_LOCKOWNER)
                call_set_owner(c, in->lock_owner);
        if (c->r.file && (c->r.file->flags & O_ACCMODE) != O_RDONLY) {
                struct ftruncate_fop_req req = {.gfid = c->node->inode->gfid, .offset = in->size};
                struct ftruncate_fop_rep rep = {0};
                call_stamp(c, FOP_FTRUNCATE);
                r = subvolume_ftruncate(c->self, call_top(c), &c->r, &req, &rep);
                *ret = rep.poststat;
        } else {
                struct truncate_fop_req req = {.gfid = c->node->inode->gfid, .offset = in->size};
                struct truncate_fop_rep rep = {0};
                call_stamp(c, FOP_TRUNCATE);
                r = subvolume_truncate(c->self, call_top(c), &c->r, &req, &rep);
                *ret = rep.poststat;
        }
        cache_changed(c->b, c->node);
        return r;
}

static struct iatt_time time_of(struct bridge *b, bool now, uint64_t sec, uint32_t nsec)
{
        if (!now)
                return (struct iatt_time){.sec = (int64_t)sec, .nsec = nsec};
        uint64_t t = loop_realtime(b->config.loop);
        return (struct iatt_time){.sec = (int64_t)(t / NS_PER_SEC), .nsec = (uint32_t)(t % NS_PER_SEC)};
}

/* What SETATTR is to set, 0: nothing. */
static int32_t wanted_attributes(struct bridge *b, const struct fuse_setattr_in *in, struct iatt *ret)
{
        int32_t valid = 0;
        if (in->valid & FATTR_MODE)
                valid |= SETATTR_MODE;
        if (in->valid & FATTR_UID)
                valid |= SETATTR_UID;
        if (in->valid & FATTR_GID)
                valid |= SETATTR_GID;
        if (in->valid & FATTR_ATIME)
                valid |= SETATTR_ATIME | (in->valid & FATTR_ATIME_NOW ? SETATTR_ATIME_NOW : 0);
        if (in->valid & FATTR_MTIME)
                valid |= SETATTR_MTIME | (in->valid & FATTR_MTIME_NOW ? SETATTR_MTIME_NOW : 0);
        *ret = (struct iatt){.mode = in->mode, .uid = in->uid, .gid = in->gid};
        ret->atime = time_of(b, in->valid & FATTR_ATIME_NOW, in->atime, in->atimensec);
        ret->mtime = time_of(b, in->valid & FATTR_MTIME_NOW, in->mtime, in->mtimensec);
        return valid;
}

static int set_attributes(struct call *c, const struct iatt *wanted, int32_t valid, struct iatt *ret)
{
        int r;
        if (c->r.file) {
                struct fsetattr_fop_req req = {.gfid = c->node->inode->gfid, .stbuf = *wanted, .valid = valid};
                struct fsetattr_fop_rep rep = {0};
                call_stamp(c, FOP_FSETATTR);
                r = subvolume_fsetattr(c->self, call_top(c), &c->r, &req, &rep);
                *ret = rep.poststat;
        } else {
                struct setattr_fop_req req = {.gfid = c->node->inode->gfid, .stbuf = *wanted, .valid = valid};
                struct setattr_fop_rep rep = {0};
                call_stamp(c, FOP_SETATTR);
                r = subvolume_setattr(c->self, call_top(c), &c->r, &req, &rep);
                *ret = rep.poststat;
        }
        cache_changed(c->b, c->node);
        return r;
}

static int change_attributes(struct call *c, const struct fuse_setattr_in *in, struct iatt *ret)
{
        struct iatt wanted;
        int32_t valid = wanted_attributes(c->b, in, &wanted);
        int r = 0;
        if (in->valid & FATTR_SIZE)
                r = truncate_node(c, in, ret);
        if (r >= 0 && valid != 0)
                r = set_attributes(c, &wanted, valid, ret);
        if (valid != 0 && call_by_open_file(c, r))
                r = set_attributes(c, &wanted, valid, ret);
        if (r < 0)
                return r;
        bool chowned =
                ((in->valid & (FATTR_UID | FATTR_GID)) || valid == 0) && !(in->valid & (FATTR_MODE | FATTR_SIZE));
        if (((in->valid & FATTR_KILL_SUIDGID) || chowned) && S_ISREG(c->node->inode->type)) {
                bridge_drop_privileges(c, c->node, stat_is_usable(ret) ? ret->mode : c->node->mode);
                if (stat_is_usable(ret))
                        ret->mode = c->node->mode;
        }
        if (!stat_is_usable(ret) || (!(in->valid & FATTR_SIZE) && valid == 0))
                r = c->r.file ? stat_file(c, c->r.file, ret) : stat_node(c, ret);
        return r;
}

void bridge_op_setattr(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct iatt stat = {0};
        const struct fuse_setattr_in *in = rq->in.setattr;
        int r = call_begin(&c, self, rq);
        struct open_file *of = r == 0 && (in->valid & FATTR_FH) ? file_table_find(c.b, in->fh) : NULL;
        if (of && of->file)
                c.r.file = vfile_ref(of->file);
        if (r == 0)
                r = write_behind_settle(&c, c.node);
        if (r == 0)
                r = change_attributes(&c, in, &stat);
        if (r >= 0)
                cache_began_again(&c, c.node);
        answer_attr(&c, r, &stat);
}

/* The kernel looks at the mode again, before the write that changed it is answered. */
static void tell_mode(struct call *c, struct node *n)
{
        if (!c->b->session)
                return;
        (void)fuse_notify_inval_inode(c->b->session, n->id, -1, 0);
        (void)fuse_notify_wait(c->self, c->b->session, n->id);
}

void bridge_drop_privileges(struct call *c, struct node *n, uint32_t mode)
{
        bool had_some = n->mode == 0 || (n->mode & (S_ISUID | S_ISGID));
        uint32_t kept = mode & 07777u & ~(uint32_t)S_ISUID;
        if (mode & S_IXGRP)
                kept &= ~(uint32_t)S_ISGID;
        if (mode != 0)
                n->mode = mode;
        if (mode == 0 || kept == (mode & 07777u)) {
                if (had_some)
                        tell_mode(c, n); /* bricks took them away themselves */
                return;
        }
        struct request r = call_as_root(c, FOP_SETATTR);
        r.inode = n->inode;
        struct setattr_fop_req req = {.gfid = n->inode->gfid, .stbuf = {.mode = kept}, .valid = SETATTR_MODE};
        struct setattr_fop_rep rep = {0};
        if (subvolume_setattr(c->self, call_top(c), &r, &req, &rep) >= 0)
                n->mode = (mode & S_IFMT) | kept;
        cache_changed(c->b, n);
        tell_mode(c, n);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

void bridge_op_access(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = call_begin(&c, self, rq);
        if (r == 0) {
                struct access_fop_req req = {.gfid = c.node->inode->gfid,
                                             .mask = rq->in.access->mask & (R_OK | W_OK | X_OK)};
                struct access_fop_rep rep = {0};
                call_stamp(&c, FOP_ACCESS);
                r = subvolume_access(self, call_top(&c), &c.r, &req, &rep);
        }
        if (r < 0)
                (void)fuse_reply_error(rq, call_node_error(r));
        else
                (void)fuse_reply_ok(rq);
}

void bridge_op_readlink(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct readlink_fop_rep rep = {0};
        int r = call_begin(&c, self, rq);
        if (r == 0) {
                struct readlink_fop_req req = {.gfid = c.node->inode->gfid, .size = PATH_MAX};
                call_stamp(&c, FOP_READLINK);
                r = subvolume_readlink(self, call_top(&c), &c.r, &req, &rep);
        }
        if (r < 0)
                (void)fuse_reply_error(rq, call_node_error(r));
        else
                (void)fuse_reply_data(rq, rep.path.s, rep.path.len);
}

/* ---- the file system --------------------------------------------------------------------------------------------- */

/* Answered in time: who watches free space must not hang with the storage. */
static int statfs_in_time(struct call *c, struct statfs *ret)
{
        struct deadline d;
        struct statfs_fop_req req = {.gfid = c->node->inode->gfid};
        struct statfs_fop_rep rep = {0};
        call_stamp(c, FOP_STATFS);
        c->r.cancel = deadline_start(&d, c->b->config.loop, c->b->config.statfs_timeout);
        int r = subvolume_statfs(c->self, call_top(c), &c->r, &req, &rep);
        timer_stop(&d.timer);
        if (r >= 0)
                *ret = rep.statfs;
        return r == -EINTR && d.passed.done ? -ENOTCONN : r;
}

void bridge_op_statfs(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct statfs st = {0};
        int r = call_begin(&c, self, rq);
        if (r == 0)
                r = statfs_in_time(&c, &st);
        if (r < 0) {
                (void)fuse_reply_error(rq, call_node_error(r));
                return;
        }
        struct fuse_kstatfs k = {.blocks = st.blocks,
                                 .bfree = st.bfree,
                                 .bavail = st.bavail,
                                 .files = st.files,
                                 .ffree = st.ffree,
                                 .bsize = (uint32_t)st.bsize,
                                 .frsize = (uint32_t)(st.frsize ? st.frsize : st.bsize),
                                 .namelen = (uint32_t)st.namemax};
        (void)fuse_reply_statfs(rq, &k);
}
