/* FALLOCATE, DISCARD, ZEROFILL, SEEK, COPY_FILE_RANGE, RCHECKSUM (spec: brick.md §8.16–8.18, §8.20).
 *
 * The three that change allocation are one path with three descriptions. Where the file system cannot zero a range,
 * zeros are written. Amounts one request may cost are bounded by the constants below. Any thread.
 */
#include <openssl/evp.h>

#include "brick/checksum.h"
#include "brick/mandatory.h"
#include "brick/io.h"

#define COPY_MAX (256 * MIB)     /* one COPY_FILE_RANGE; the answer says how much was done */
#define ZERO_WRITE_MAX (1 * GIB) /* what ZEROFILL writes where it cannot deallocate */
#define ZERO_CHUNK (256 * KIB)
#define RCHECKSUM_MAX (16 * MIB)

/* ---- allocation ------------------------------------------------------------------------------------------------ */

struct alloc_request {
        uint64_t offset, size;
        int mode;  /* FALLOC_FL_* */
        bool zero; /* reads as zeros afterwards; exempt from the reserve inside the file */
};

static int write_zeros(struct disk *disk, int fd, uint64_t offset, uint64_t size)
{
        if (size > ZERO_WRITE_MAX)
                return -EOPNOTSUPP;
        _cleanup_free_ void *zeros = calloc(1, ZERO_CHUNK);
        if (!zeros)
                return -ENOMEM;
        while (size > 0) {
                struct iovec iov = {zeros, MIN(size, (uint64_t)ZERO_CHUNK)};
                ssize_t n = disk_pwritev(disk, fd, &iov, 1, (off_t)offset);
                if (n <= 0)
                        return n < 0 ? (int)n : -EIO;
                offset += (uint64_t)n;
                size -= (uint64_t)n;
        }
        return 0;
}

/* Zeros without blocks where that is possible: the bytes read the same, and no time goes into writing them. */
static int zero_range(struct disk *disk, int fd, const struct alloc_request *a)
{
        int r = disk_fallocate(disk, fd, FALLOC_FL_ZERO_RANGE, (off_t)a->offset, (off_t)a->size);
        if (r != -EOPNOTSUPP && r != -ENOSYS)
                return r;
        return write_zeros(disk, fd, a->offset, a->size);
}

static int alloc_run(struct op *op, const struct io_fd *io, const struct alloc_request *a)
{
        struct disk *disk = op->brick->disk;
        if (!a->zero)
                return disk_fallocate(disk, io->fd, a->mode, (off_t)a->offset, (off_t)a->size);
        int r = zero_range(disk, io->fd, a);
        if (r == 0 && io->of && (io->of->flags & O_DSYNC))
                r = disk_sync(disk, io->fd, false);
        return r;
}

static int alloc_check(struct op *op, const struct io_fd *io, const struct alloc_request *a, const struct stat *st)
{
        int r = io_check_file(op, io, st);
        if (r == 0)
                r = read_only_check(op);
        if (r < 0 || (a->zero && io_inside(st, a->offset, a->size)))
                return r;
        return space_check(op);
}

static int alloc_step(struct op *op, const struct io_fd *io, const struct alloc_request *a, struct iatt *ret_before,
                      struct iatt *ret_after)
{
        struct stat before;
        int r = attr_iatt_fd(op, io, ret_before, &before);
        if (r == 0)
                r = alloc_check(op, io, a, &before);
        if (r == 0)
                r = alloc_run(op, io, a);
        return r < 0 ? r : io_changed(op, io, &before, ret_after);
}

static int alloc_open(struct op *op, const struct io_fd *io, const struct alloc_request *a, struct iatt *ret_before,
                      struct iatt *ret_after)
{
        struct entry_guard guard;
        io_lock(op, io->inode, op->xdata.write_update_atomic.present, &guard);
        int r = alloc_step(op, io, a, ret_before, ret_after);
        io_unlock(&guard);
        return r < 0 ? r : fill_lock_counts(op, io->inode, &op->reply);
}

static int alloc_fd(struct op *op, const struct gfid *gfid, int64_t number, const struct alloc_request *a,
                    struct iatt *ret_before, struct iatt *ret_after)
{
        if (a->size == 0 || io_check_range(a->offset, a->size) < 0)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, gfid, number, O_RDWR, &io);
        if (r < 0)
                return r;
        if (op->fop != FOP_FALLOCATE)
                r = mandatory_check(op, &io, true, a->offset, a->size);
        if (r == 0)
                r = alloc_open(op, &io, a, ret_before, ret_after);
        io_fd_done(op->brick, &io);
        return r;
}

int fop_fallocate(struct op *op, const struct fallocate_fop_req *req, struct fallocate_fop_rep *rep)
{
        struct alloc_request a = {
                .offset = req->offset, .size = req->size, .mode = req->flags ? FALLOC_FL_KEEP_SIZE : 0};
        int r = space_refresh(op->brick);
        if (r < 0)
                return r;
        return alloc_fd(op, &req->gfid, req->fd, &a, &rep->prestat, &rep->poststat);
}

/* A reserve that is reached refuses DISCARD too, as stock does. */
int fop_discard(struct op *op, const struct discard_fop_req *req, struct discard_fop_rep *rep)
{
        struct alloc_request a = {
                .offset = req->offset, .size = req->size, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
        return alloc_fd(op, &req->gfid, req->fd, &a, &rep->prestat, &rep->poststat);
}

int fop_zerofill(struct op *op, const struct zerofill_fop_req *req, struct zerofill_fop_rep *rep)
{
        struct alloc_request a = {.offset = req->offset, .size = req->size, .zero = true};
        return alloc_fd(op, &req->gfid, req->fd, &a, &rep->prestat, &rep->poststat);
}

/* ---- SEEK ------------------------------------------------------------------------------------------------------ */

int fop_seek(struct op *op, const struct seek_fop_req *req, struct seek_fop_rep *rep)
{
        if (req->what != 0 && req->what != 1)
                return -ENOTSUP;
        if (req->offset > INT64_MAX)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        off_t at = -EINVAL;
        if (!(io.of && io.of->is_dir)) /* whose position READDIR relies on */
                at = disk_lseek(op->brick->disk, io.fd, (off_t)req->offset, req->what == 0 ? SEEK_DATA : SEEK_HOLE);
        r = at < 0 ? (int)at : fill_lock_counts(op, io.inode, &op->reply);
        if (r == 0)
                rep->offset = (uint64_t)at;
        io_fd_done(op->brick, &io);
        return r;
}

/* ---- COPY_FILE_RANGE ------------------------------------------------------------------------------------------- */

static void touch_copy(struct op *op, const struct io_fd *io, uint32_t times)
{
        struct place at = io_place(io);
        if (times)
                (void)attr_touch(op, io->inode, &at, times); /* as with WRITE */
}

static int copy_check(struct op *op, const struct io_fd *out, const struct stat *before)
{
        int r = io_check_file(op, out, before);
        if (r == 0)
                r = read_only_check(op);
        return r < 0 ? r : space_check(op);
}

/* The answer's three iatts are the source, and the destination before and after. */
static int copy_step(struct op *op, const struct io_fd *in, const struct io_fd *out,
                     const struct copy_file_range_fop_req *req, struct copy_file_range_fop_rep *rep)
{
        struct stat before, source;
        int r = attr_iatt_fd(op, in, &rep->stat, &source);
        if (r == 0)
                r = io_check_file(op, in, &source);
        if (r == 0)
                r = attr_iatt_fd(op, out, &rep->preparent, &before);
        if (r == 0)
                r = copy_check(op, out, &before);
        if (r < 0)
                return r;
        size_t len = MIN((size_t)req->size, (size_t)COPY_MAX);
        ssize_t n = disk_copy(op->brick->disk, in->fd, (off_t)req->off_in, out->fd, (off_t)req->off_out, len);
        if (n < 0)
                return (int)n;

        uint32_t times = attr_object_times(op);
        struct place at = io_place(out);
        touch_copy(op, in, times & TIMES_ATIME);
        touch_copy(op, out, times & (TIMES_CTIME | TIMES_MTIME));
        r = io_drop_privileges(op, &at, before.st_mode);
        if (r == 0)
                r = attr_iatt_fd(op, out, &rep->postparent, NULL);
        if (r == 0)
                r = attr_iatt_fd(op, in, &rep->stat, NULL);
        if (r == 0)
                rep->op_ret = (int32_t)n;
        return r;
}

static int copy_fds(struct op *op, const struct io_fd *in, const struct io_fd *out,
                    const struct copy_file_range_fop_req *req, struct copy_file_range_fop_rep *rep)
{
        struct entry_guard guard;
        io_lock(op, out->inode, op->xdata.write_update_atomic.present, &guard);
        int r = copy_step(op, in, out, req, rep);
        io_unlock(&guard);
        return r < 0 ? r : fill_lock_counts(op, out->inode, &op->reply);
}

int fop_copy_file_range(struct op *op, const struct copy_file_range_fop_req *req, struct copy_file_range_fop_rep *rep)
{
        if (req->flag != 0 || io_check_range(req->off_in, req->size) < 0 || io_check_range(req->off_out, req->size) < 0)
                return -EINVAL;
        struct brick *b = op->brick;
        struct io_fd in, out;
        int r = io_fd_get(op, &req->gfid1, req->fd_in, O_RDONLY, &in);
        if (r < 0)
                return r;
        r = io_fd_get(op, &req->gfid2, req->fd_out, O_RDWR, &out);
        if (r == 0) {
                r = copy_fds(op, &in, &out, req, rep);
                io_fd_done(b, &out);
        }
        io_fd_done(b, &in);
        return r;
}

/* ---- RCHECKSUM ------------------------------------------------------------------------------------------------- */

#define STRONG_SIZE 32u /* SHA-256; MD5 fills the first half */

static bool all_zero(const uint8_t *p, size_t n)
{
        return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int strong_checksum(bool fips, const void *data, size_t n, uint8_t ret[static EVP_MAX_MD_SIZE])
{
        return EVP_Digest(data, n, ret, NULL, fips ? EVP_sha256() : EVP_md5(), NULL) == 1 ? 0 : -EIO;
}

static int rchecksum_answer(struct op *op, const uint8_t *data, size_t n, struct rchecksum_fop_rep *rep)
{
        bool fips = op->brick->options->fips_rchecksum;
        uint8_t *strong = arena_alloc(op->arena, EVP_MAX_MD_SIZE);
        if (!strong)
                return -ENOMEM;
        int r = strong_checksum(fips, data, n, strong);
        if (r < 0)
                return r;
        rep->flags = 1;
        rep->weak_checksum = checksum_weak(data, n);
        rep->strong_checksum = (struct slice){strong, STRONG_SIZE};
        if (fips)
                r = dict_add_int(&op->reply, op->arena, "fips-mode-rchecksum", 1);
        if (r == 0 && op->xdata.check_zero_filled.present)
                r = dict_add_uint(&op->reply, op->arena, "buf-has-zeroes", all_zero(data, n));
        return r;
}

static int rchecksum_open(struct op *op, const struct io_fd *io, const struct rchecksum_fop_req *req,
                          struct rchecksum_fop_rep *rep)
{
        uint8_t *data = arena_alloc_uninitialised(op->arena, req->len ? req->len : 1);
        if (!data)
                return -ENOMEM;
        struct iovec iov = {data, req->len};
        ssize_t n = req->len ? disk_preadv(op->brick->disk, io->fd, &iov, 1, (off_t)req->offset) : 0;
        if (n < 0)
                return (int)n;
        int r = rchecksum_answer(op, data, (size_t)n, rep);
        return r < 0 ? r : fill_lock_counts(op, io->inode, &op->reply);
}

int fop_rchecksum(struct op *op, const struct rchecksum_fop_req *req, struct rchecksum_fop_rep *rep)
{
        if (req->len > RCHECKSUM_MAX || io_check_range(req->offset, req->len) < 0)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        r = rchecksum_open(op, &io, req, rep);
        io_fd_done(op->brick, &io);
        return r;
}
