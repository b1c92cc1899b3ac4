/* The arbiter of a replica set: names, attributes and gfids are real, contents are not (spec: brick.md §18).
 *
 * What would change contents succeeds without touching the disk, so files stay empty, and their times stay those of the
 * last other change. The request is checked as on any brick; only the reserve does not count, since nothing is stored.
 * READ and SEEK answer ENOSYS, so that no client takes empty files for data. Everything else has its usual handler:
 * OPEN, CREATE, RCHECKSUM and COPY_FILE_RANGE deal with a file that happens to be empty. Any thread.
 */
#include "brick/arbiter.h"

#include "brick/io.h"

bool arbiter_answers(const struct op *op)
{
        if (!op->brick->options->arbiter)
                return false;
        switch (op->fop) {
        case FOP_READ:
        case FOP_SEEK:
        case FOP_WRITE:
        case FOP_TRUNCATE:
        case FOP_FTRUNCATE:
        case FOP_FALLOCATE:
        case FOP_DISCARD:
        case FOP_ZEROFILL:
                return true;
        default:
                return false;
        }
}

/* ---- contents are not here --------------------------------------------------------------------------------------- */

static int refuse(struct op *op, const struct gfid *gfid, int64_t number)
{
        struct io_fd io;
        int r = io_fd_get(op, gfid, number, O_RDONLY, &io);
        if (r < 0)
                return r;
        io_fd_done(op->brick, &io);
        return -ENOSYS;
}

/* ---- changes that only seem to happen ---------------------------------------------------------------------------- */

static bool opened_for_reading(const struct io_fd *io)
{
        return io->of && (io->of->flags & O_ACCMODE) == O_RDONLY;
}

/* NOT_WRITABLE: the errno when the descriptor was opened for reading. Set-id bits go here as on the bricks with data. */
static int absorb_open(struct op *op, const struct io_fd *io, int not_writable, struct iatt *ret_before,
                       struct iatt *ret_after)
{
        struct stat st;
        struct place at = io_place(io);
        int r = attr_iatt_fd(op, io, ret_before, &st);
        if (r == 0)
                r = io_check_file(op, io, &st);
        if (r == 0)
                r = read_only_check(op);
        if (r == 0 && opened_for_reading(io))
                r = not_writable;
        if (r == 0)
                r = io_drop_privileges(op, &at, st.st_mode);
        if (r < 0)
                return r;
        *ret_after = *ret_before;
        return fill_lock_counts(op, io->inode, &op->reply);
}

static int absorb_fd(struct op *op, const struct gfid *gfid, int64_t number, int not_writable, struct iatt *ret_before,
                     struct iatt *ret_after)
{
        struct io_fd io;
        int r = io_fd_get(op, gfid, number, O_RDWR, &io);
        if (r < 0)
                return r;
        r = absorb_open(op, &io, not_writable, ret_before, ret_after);
        io_fd_done(op->brick, &io);
        return r;
}

static int absorb_range(struct op *op, const struct gfid *gfid, int64_t number, uint64_t offset, uint64_t size,
                        struct iatt *ret_before, struct iatt *ret_after)
{
        if (size == 0 || io_check_range(offset, size) < 0)
                return -EINVAL;
        return absorb_fd(op, gfid, number, -EBADF, ret_before, ret_after);
}

static int write_open(struct op *op, const struct io_fd *io, uint32_t len, struct write_fop_rep *rep)
{
        int r = absorb_open(op, io, -EBADF, &rep->prestat, &rep->poststat);
        if (r == 0)
                r = fill_fd_counts(op, io->inode, &op->reply);
        if (r == 0 && op->xdata.write_is_append.present) /* where the file ends is for the others to know */
                r = dict_add_uint(&op->reply, op->arena, "glusterfs.write-is-append", 1);
        if (r == 0)
                rep->op_ret = (int32_t)len;
        return r;
}

static int arbiter_write(struct op *op, const struct write_fop_req *req, struct write_fop_rep *rep)
{
        if (io_check_range(req->offset, req->data.len) < 0 || req->data.len > INT32_MAX)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDWR, &io);
        if (r < 0)
                return r;
        r = write_open(op, &io, req->data.len, rep);
        io_fd_done(op->brick, &io);
        return r;
}

static int truncate_object(struct op *op, struct object *o, struct truncate_fop_rep *rep)
{
        int r = io_truncate_check(op, o);
        if (r == 0)
                r = attr_iatt(op, o, &rep->prestat);
        if (r == 0)
                r = io_drop_privileges(op, &o->at, o->st.st_mode);
        if (r < 0)
                return r;
        rep->poststat = rep->prestat;
        return fill_lock_counts(op, o->inode, &op->reply);
}

static int arbiter_truncate(struct op *op, const struct truncate_fop_req *req, struct truncate_fop_rep *rep)
{
        if (req->offset > INT64_MAX)
                return -EINVAL;
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = truncate_object(op, &o, rep);
        object_done(op->brick, &o);
        return r;
}

static int arbiter_ftruncate(struct op *op, const struct ftruncate_fop_req *req, struct ftruncate_fop_rep *rep)
{
        if (req->offset > INT64_MAX)
                return -EINVAL;
        return absorb_fd(op, &req->gfid, req->fd, -EINVAL, &rep->prestat, &rep->poststat);
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

static int arbiter_allocate(struct op *op, const void *request, void *reply)
{
        if (op->fop == FOP_FALLOCATE) {
                const struct fallocate_fop_req *req = request;
                struct fallocate_fop_rep *rep = reply;
                return absorb_range(op, &req->gfid, req->fd, req->offset, req->size, &rep->prestat, &rep->poststat);
        }
        if (op->fop == FOP_DISCARD) {
                const struct discard_fop_req *req = request;
                struct discard_fop_rep *rep = reply;
                return absorb_range(op, &req->gfid, req->fd, req->offset, req->size, &rep->prestat, &rep->poststat);
        }
        const struct zerofill_fop_req *req = request;
        struct zerofill_fop_rep *rep = reply;
        return absorb_range(op, &req->gfid, req->fd, req->offset, req->size, &rep->prestat, &rep->poststat);
}

int arbiter_handle(struct op *op, const void *request, void *reply)
{
        switch (op->fop) {
        case FOP_READ: {
                const struct read_fop_req *req = request;
                return refuse(op, &req->gfid, req->fd);
        }
        case FOP_SEEK: {
                const struct seek_fop_req *req = request;
                return refuse(op, &req->gfid, req->fd);
        }
        case FOP_WRITE:
                return arbiter_write(op, request, reply);
        case FOP_TRUNCATE:
                return arbiter_truncate(op, request, reply);
        case FOP_FTRUNCATE:
                return arbiter_ftruncate(op, request, reply);
        default:
                return arbiter_allocate(op, request, reply);
        }
}
