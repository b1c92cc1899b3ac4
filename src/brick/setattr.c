/* SETATTR, FSETATTR (spec: brick.md §8.15, §4.3, §15.1).
 *
 * Order: owner, mode, times on the file system, then the mdata attribute. Changing the owner clears the set-id bits
 * (the kernel does it for root too), so a mode in the same request comes after and wins. Unlike stock's, SETATTR also works
 * on open files without names: clients send it for fchmod(2), fchown(2) and futimens(2). Any thread, without inode.lock.
 */
#include "brick/internal.h"

#define VALID_OWNER (SETATTR_UID | SETATTR_GID)
#define VALID_TIMES (SETATTR_ATIME | SETATTR_MTIME)

/* ---- permissions (by path only: a descriptor is its own permission) -------------------------------------------- */

static int check_owner_change(const struct op *op, const struct object *o, const struct iatt *want, int valid)
{
        bool owner = perm_is_owner(op, &o->st);
        if ((valid & SETATTR_UID) && !(owner && want->uid == o->st.st_uid))
                return -EPERM;
        if ((valid & SETATTR_GID) && !(owner && (want->gid == o->st.st_gid || perm_in_group(op, want->gid))))
                return -EPERM;
        return 0;
}

/* Masks for the type; by descriptor those of files count for directories too. */
static mode_t masked_mode(const struct brick_options *opt, mode_t type, bool by_fd, mode_t mode)
{
        bool dir = S_ISDIR(type) && !by_fd;
        mode_t mask = dir ? opt->create_directory_mask : opt->create_mask;
        mode_t force = dir ? opt->force_directory_mode : opt->force_create_mode;
        return (mode & 07000) | (((mode & mask) | force) & 0777);
}

/* What a client's kernel sends before somebody else than the owner writes: the set-id bits go, the rest stays. Stock
 * refuses it, and with it the write. */
static bool only_drops_privileges(const struct op *op, const struct object *o, mode_t want)
{
        const mode_t set_id = S_ISUID | S_ISGID, have = o->st.st_mode & 07777;
        mode_t dropped = have & ~want;
        return S_ISREG(o->st.st_mode) && !(want & 07777 & ~have) && dropped && !(dropped & ~set_id) &&
               masked_mode(op->brick->options, S_IFREG, false, want & 07777) == (want & 07777);
}

static int check_mode_change(struct op *op, struct object *o, mode_t want)
{
        if (perm_is_owner(op, &o->st))
                return 0;
        return only_drops_privileges(op, o, want) && perm_check(op, o, PERM_WRITE) == 0 ? 0 : -EPERM;
}

static int setattr_check(struct op *op, struct object *o, const struct iatt *want, int valid)
{
        if (!op->brick->options->acl || op->caller.uid == 0)
                return 0;
        int r = check_owner_change(op, o, want, valid);
        if (r < 0)
                return r;
        if (valid & SETATTR_MODE)
                r = check_mode_change(op, o, want->mode);
        if (r < 0)
                return r;
        bool times = valid & (VALID_TIMES | SETATTR_CTIME);
        return times && !perm_is_owner(op, &o->st) ? perm_check(op, o, PERM_WRITE) : 0;
}

/* ---- effects --------------------------------------------------------------------------------------------------- */

static int apply_owner(struct op *op, const struct object *o, const struct iatt *want, int valid)
{
        if (valid != 0 && !(valid & VALID_OWNER))
                return 0;
        uid_t uid = valid & SETATTR_UID ? want->uid : (uid_t)-1;
        gid_t gid = valid & SETATTR_GID ? want->gid : (gid_t)-1;
        return disk_chown(op->brick->disk, o->at.dirfd, o->at.path, uid, gid);
}

static int apply_mode(struct op *op, const struct object *o, const struct iatt *want, int valid, bool by_fd)
{
        if (!(valid & SETATTR_MODE) || S_ISLNK(o->st.st_mode))
                return 0;
        mode_t mode = masked_mode(op->brick->options, o->st.st_mode, by_fd, want->mode & 07777);
        gid_t gid = valid & SETATTR_GID ? want->gid : o->st.st_gid;
        if (op->brick->options->acl && op->caller.uid != 0 && !perm_in_group(op, gid))
                mode &= ~(mode_t)S_ISGID;
        return disk_chmod(op->brick->disk, o->at.dirfd, o->at.path, mode);
}

static struct timespec time_or_keep(const struct iatt_time *t, bool given)
{
        return given ? (struct timespec){.tv_sec = t->sec, .tv_nsec = t->nsec}
                     : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int apply_times(struct op *op, const struct object *o, const struct iatt *want, int valid)
{
        if (!(valid & VALID_TIMES))
                return 0;
        const struct timespec ts[2] = {
                time_or_keep(&want->atime, valid & SETATTR_ATIME),
                time_or_keep(&want->mtime, valid & SETATTR_MTIME),
        };
        return disk_utimens(op->brick->disk, o->at.dirfd, o->at.path, ts);
}

static int apply_mdata(struct op *op, const struct object *o, const struct iatt *want, int valid)
{
        int r = 0;
        if (valid & (VALID_TIMES | SETATTR_CTIME))
                r = attr_set_times(op, o->inode, &o->at, want, valid);
        uint32_t times = attr_object_times(op);
        if (r == 0 && times && (valid == 0 || (valid & (SETATTR_MODE | VALID_OWNER))))
                (void)attr_touch(op, o->inode, &o->at, times); /* as with WRITE */
        return r;
}

static int apply_all(struct op *op, const struct object *o, const struct iatt *want, int valid, bool by_fd)
{
        int r = apply_owner(op, o, want, valid);
        if (r == 0)
                r = apply_mode(op, o, want, valid, by_fd);
        if (r == 0)
                r = apply_times(op, o, want, valid);
        return r < 0 ? r : apply_mdata(op, o, want, valid);
}

/* Larger numbers have a meaning of their own in utimensat(2). */
static bool nanoseconds_valid(const struct iatt *want, int valid)
{
        return !((valid & SETATTR_ATIME) && want->atime.nsec >= NS_PER_SEC) &&
               !((valid & SETATTR_MTIME) && want->mtime.nsec >= NS_PER_SEC) &&
               !((valid & SETATTR_CTIME) && want->ctime.nsec >= NS_PER_SEC);
}

static int setattr_object(struct op *op, struct object *o, const struct iatt *want, int valid, bool by_fd,
                          struct iatt *ret_before, struct iatt *ret_after)
{
        int r = nanoseconds_valid(want, valid) ? read_only_check(op) : -EINVAL;
        if (r == 0 && !by_fd)
                r = setattr_check(op, o, want, valid);
        if (r == 0)
                r = attr_iatt(op, o, ret_before);
        if (r == 0)
                r = apply_all(op, o, want, valid, by_fd);
        if (r == 0)
                r = object_restat(op, o);
        if (r == 0)
                r = attr_iatt(op, o, ret_after);
        return r < 0 ? r : fill_xdata(op, o, by_fd, &op->reply);
}

int fop_setattr(struct op *op, const struct setattr_fop_req *req, struct setattr_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid_any(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = setattr_object(op, &o, &req->stbuf, req->valid, false, &rep->prestat, &rep->poststat);
        object_done(op->brick, &o);
        return r;
}

int fop_fsetattr(struct op *op, const struct fsetattr_fop_req *req, struct fsetattr_fop_rep *rep)
{
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct object o = {.inode = io.inode, .at = io_place(&io)};
        r = object_restat(op, &o);
        if (r == 0)
                r = setattr_object(op, &o, &req->stbuf, req->valid, true, &rep->prestat, &rep->poststat);
        io_fd_done(op->brick, &io);
        return r;
}
