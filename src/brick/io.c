/* READ, WRITE, FSYNC, TRUNCATE, FTRUNCATE (spec: brick.md §8.11–8.14).
 *
 * System calls in the common case: READ preadv + fstat; WRITE fstat + pwritev + the mdata attribute + fstat. Read data
 * goes from an arena buffer to the socket without a copy. Requests that want before, write and after as one step hold
 * the object's write lock, which is the entry lock of (gfid, ""): it comes before inode.lock. Any thread.
 */
#include "brick/io.h"
#include "brick/cache.h"
#include "brick/local_read.h"
#include "brick/mandatory.h"
#include "brick/names.h"

int bad_file_check(struct op *op, struct object *o)
{
        char mark[16];
        if (!S_ISREG(o->st.st_mode))
                return 0;
        ssize_t n = xattr_get(op->brick, o->inode, &o->at, &o->st, XATTR_BAD_FILE, mark, sizeof mark);
        if (n == -ENODATA)
                return 0;
        return n >= 0 || n == -ERANGE ? -EIO : (int)n;
}

int io_check_range(uint64_t offset, uint64_t len)
{
        return offset > INT64_MAX || len > INT64_MAX - offset ? -EINVAL : 0;
}

int io_check_file(struct op *op, const struct io_fd *io, const struct stat *st)
{
        if (S_ISDIR(st->st_mode))
                return -EISDIR;
        if (!S_ISREG(st->st_mode))
                return -EINVAL;
        if (io->of) /* looked at when it was opened */
                return 0;
        struct object o;
        object_of_io(io, st, &o);
        return bad_file_check(op, &o);
}

bool io_inside(const struct stat *st, uint64_t offset, uint64_t len)
{
        bool sparse = (uint64_t)st->st_blocks * 512 < (uint64_t)st->st_size;
        return !sparse && offset + len <= (uint64_t)st->st_size;
}

int io_drop_privileges(struct op *op, const struct place *at, mode_t mode)
{
        bool setgid = (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
        if (op->caller.uid == 0 || !S_ISREG(mode) || !((mode & S_ISUID) || setgid))
                return 0;
        mode_t kept = mode & 07777 & ~(mode_t)(S_ISUID | (setgid ? S_ISGID : 0));
        return disk_chmod(op->brick->disk, at->dirfd, at->path, kept);
}

void io_lock(struct op *op, const struct inode *inode, bool wanted, struct entry_guard *ret)
{
        *ret = (struct entry_guard){0};
        if (wanted)
                entry_lock(op->brick, &inode->gfid, "", ret);
}

void io_unlock(struct entry_guard *g)
{
        if (g->a)
                entry_unlock(g);
}

static void touch_io(struct op *op, const struct io_fd *io, uint32_t which)
{
        uint32_t times = attr_object_times(op) & which;
        struct place at = io_place(io);
        if (times)
                (void)attr_touch(op, io->inode, &at, times); /* the data is there: its times are not worth failing */
}

int io_changed(struct op *op, const struct io_fd *io, const struct stat *before, struct iatt *ret_after)
{
        struct place at = io_place(io);
        int r = io_drop_privileges(op, &at, before->st_mode);
        if (r < 0)
                return r;
        touch_io(op, io, UINT32_MAX);
        return attr_iatt_fd(op, io, ret_after, NULL);
}

/* ---- READ ------------------------------------------------------------------------------------------------------ */

static int read_open(struct op *op, const struct io_fd *io, const struct read_fop_req *req, struct read_fop_rep *rep)
{
        uint32_t size = MIN(req->size, (uint32_t)IO_READ_MAX);
        uint8_t *data = arena_alloc_uninitialised(op->arena, size);
        if (!data)
                return -ENOMEM;
        struct iovec iov = {data, size};
        ssize_t n = disk_preadv(op->brick->disk, io->fd, &iov, 1, (off_t)req->offset);
        if (n < 0)
                return (int)n;

        struct stat st;
        touch_io(op, io, TIMES_ATIME);
        int r = attr_iatt_fd(op, io, &rep->stat, &st);
        if (r == 0)
                r = io_check_file(op, io, &st);
        if (r < 0)
                return r;
        rep->op_ret = (int32_t)n;
        rep->op_errno = req->offset + (uint64_t)n >= (uint64_t)st.st_size ? ENOENT : 0;
        rep->size = (uint32_t)n;
        rep->data = (struct slice){data, (uint32_t)n};
        return fill_lock_counts(op, io->inode, &op->reply);
}

int fop_read(struct op *op, const struct read_fop_req *req, struct read_fop_rep *rep)
{
        if (req->size == 0 || io_check_range(req->offset, req->size) < 0)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        r = mandatory_check(op, &io, false, req->offset, req->size);
        if (r == 0)
                r = read_open(op, &io, req, rep);
        if (r == 0)
                local_read_lend(op, &io);
        io_fd_done(op->brick, &io);
        return r;
}

/* ---- WRITE ----------------------------------------------------------------------------------------------------- */

/* Rebalance's guard against overwriting what a client has written to the new copy (brick.md §8.12, 3). */
static int write_protection(struct op *op, const struct io_fd *io)
{
        const struct xdata *x = &op->xdata;
        struct brick *b = op->brick;
        struct place at = io_place(io);
        if (x->protect_writes.present) {
                struct slice v = x->protect_writes.value;
                return xattr_set(b, io->inode, &at, XATTR_PROTECT_WRITES, v.data, v.len, 0);
        }
        if (!x->avoid_overwrite.present)
                return 0;
        ssize_t n = disk_getxattr(b->disk, io->fd, "", XATTR_PROTECT_WRITES, NULL, 0);
        if (n == -ENODATA)
                return 0;
        return n < 0 ? (int)n : -EBUSY;
}

/* Then the kernel writes at the end, wherever the request says. */
static bool appends(const struct io_fd *io)
{
        return io->of && (io->of->flags & O_APPEND);
}

static int write_check(struct op *op, const struct io_fd *io, const struct write_fop_req *req, const struct stat *st)
{
        int r = io_check_file(op, io, st);
        if (r == 0)
                r = read_only_check(op);
        if (r == 0 && (appends(io) || !io_inside(st, req->offset, req->data.len)))
                r = space_check(op);
        if (r == 0)
                r = write_protection(op, io);
        return r;
}

static int fill_append(struct op *op, const struct io_fd *io, uint64_t offset, const struct stat *before)
{
        if (!op->xdata.write_is_append.present)
                return 0;
        bool append = offset == (uint64_t)before->st_size || appends(io);
        return dict_add_uint(&op->reply, op->arena, "glusterfs.write-is-append", append);
}

/* The descriptor itself may be synchronous already; the request's flag then asks for nothing more. */
static int write_sync(struct op *op, const struct io_fd *io, uint32_t flag)
{
        bool wanted = flag & (O_SYNC | O_DSYNC);
        bool done = io->of && (io->of->flags & O_DSYNC);
        return wanted && !done ? disk_sync(op->brick->disk, io->fd, (flag & O_SYNC) != O_SYNC) : 0;
}

/* From the state before to the state after, both in REP. */
static int write_step(struct op *op, const struct io_fd *io, const struct write_fop_req *req, struct write_fop_rep *rep)
{
        struct stat before;
        int r = attr_iatt_fd(op, io, &rep->prestat, &before);
        if (r == 0)
                r = write_check(op, io, req, &before);
        if (r < 0)
                return r;
        struct iovec iov = {(void *)(uintptr_t)req->data.data, req->data.len};
        ssize_t n = disk_pwritev(op->brick->disk, io->fd, &iov, 1, (off_t)req->offset);
        if (n < 0)
                return (int)n;
        r = write_sync(op, io, req->flag);
        if (r == 0)
                r = io_changed(op, io, &before, &rep->poststat);
        if (r < 0)
                return r;
        rep->op_ret = (int32_t)n;
        return fill_append(op, io, req->offset, &before);
}

static int write_open(struct op *op, const struct io_fd *io, const struct write_fop_req *req, struct write_fop_rep *rep)
{
        struct entry_guard guard;
        io_lock(op, io->inode, op->xdata.write_is_append.present || op->xdata.write_update_atomic.present, &guard);
        int r = write_step(op, io, req, rep);
        io_unlock(&guard);
        if (r == 0)
                r = fill_fd_counts(op, io->inode, &op->reply);
        if (r == 0)
                r = fill_lock_counts(op, io->inode, &op->reply);
        return r;
}

int fop_write(struct op *op, const struct write_fop_req *req, struct write_fop_rep *rep)
{
        if (io_check_range(req->offset, req->data.len) < 0 || req->data.len > INT32_MAX)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDWR, &io);
        if (r < 0)
                return r;
        r = mandatory_check(op, &io, true, req->offset, MAX(req->data.len, 1u));
        if (r == 0)
                r = write_open(op, &io, req, rep);
        io_fd_done(op->brick, &io);
        return r;
}

/* ---- FSYNC ----------------------------------------------------------------------------------------------------- */

static int fsync_open(struct op *op, const struct io_fd *io, bool data_only, struct fsync_fop_rep *rep)
{
        int r = attr_iatt_fd(op, io, &rep->prestat, NULL);
        if (r == 0)
                r = disk_sync(op->brick->disk, io->fd, data_only);
        if (r == 0)
                r = attr_iatt_fd(op, io, &rep->poststat, NULL);
        return r < 0 ? r : fill_lock_counts(op, io->inode, &op->reply);
}

int fop_fsync(struct op *op, const struct fsync_fop_req *req, struct fsync_fop_rep *rep)
{
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        r = fsync_open(op, &io, req->data != 0, rep);
        io_fd_done(op->brick, &io);
        return r;
}

/* ---- truncation ------------------------------------------------------------------------------------------------ */

int io_truncate_check(struct op *op, struct object *o)
{
        if (S_ISDIR(o->st.st_mode))
                return -EISDIR;
        if (!S_ISREG(o->st.st_mode))
                return -EINVAL;
        int r = read_only_check(op);
        if (r == 0 && !(op->caller.pid == 1 && op->caller.uid == o->st.st_uid))
                r = perm_check(op, o, PERM_WRITE);
        return r < 0 ? r : bad_file_check(op, o);
}

static int truncate_object(struct op *op, struct object *o, uint64_t size, struct truncate_fop_rep *rep)
{
        int r = io_truncate_check(op, o);
        if (r == 0)
                r = attr_iatt(op, o, &rep->prestat);
        if (r == 0)
                r = disk_truncate(op->brick->disk, o->at.dirfd, o->at.path, (off_t)size);
        if (r == 0)
                r = io_drop_privileges(op, &o->at, o->st.st_mode);
        if (r < 0)
                return r;
        uint32_t times = attr_object_times(op);
        if (times)
                (void)attr_touch(op, o->inode, &o->at, times); /* as with WRITE */
        r = object_restat(op, o);
        if (r == 0)
                r = attr_iatt(op, o, &rep->poststat);
        return r < 0 ? r : fill_lock_counts(op, o->inode, &op->reply);
}

int fop_truncate(struct op *op, const struct truncate_fop_req *req, struct truncate_fop_rep *rep)
{
        if (req->offset > INT64_MAX)
                return -EINVAL;
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = mandatory_check_truncate(op, &o, req->offset);
        if (r == 0)
                r = truncate_object(op, &o, req->offset, rep);
        object_done(op->brick, &o);
        return r;
}

static int ftruncate_open(struct op *op, const struct io_fd *io, uint64_t size, struct ftruncate_fop_rep *rep)
{
        struct stat before;
        int r = attr_iatt_fd(op, io, &rep->prestat, &before);
        if (r == 0)
                r = io_check_file(op, io, &before);
        if (r == 0)
                r = read_only_check(op);
        if (r == 0)
                r = disk_ftruncate(op->brick->disk, io->fd, (off_t)size);
        if (r == 0)
                r = io_changed(op, io, &before, &rep->poststat);
        return r < 0 ? r : fill_lock_counts(op, io->inode, &op->reply);
}

int fop_ftruncate(struct op *op, const struct ftruncate_fop_req *req, struct ftruncate_fop_rep *rep)
{
        if (req->offset > INT64_MAX)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDWR, &io);
        if (r < 0)
                return r;
        r = mandatory_check(op, &io, true, req->offset, 0);
        if (r == 0)
                r = ftruncate_open(op, &io, req->offset, rep);
        io_fd_done(op->brick, &io);
        return r;
}
