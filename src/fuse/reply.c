/* Answers: one write each, by the way that the request came, never more than the kernel has room for.
 *
 * Relies on: a write to /dev/fuse never blocks. Invariant: a request is answered once; what the file system says is
 * brought into what the kernel accepts (errno range, no ENOSYS, sizes), so an answer is never lost for its form.
 * Thread: the loop's.
 */
#include "fuse/internal.h"

#include "base/log.h"

#include <linux/limits.h>
#include <sys/uio.h>

#define ERRNO_LIMIT 512 /* the kernel refuses answers with more */
#define XATTR_MAX 65536u

/* 0, -ENOENT: the kernel does not wait for it any more; other -errno. */
static int device_write(struct fuse_session *s, uint64_t unique, const struct iovec *iov, int n)
{
        ssize_t r;
        if (s->uring && uring_answer(s->uring, unique, iov, n))
                return 0;
        do
                r = writev(s->fd, iov, n);
        while (r < 0 && errno == EINTR);
        if (r >= 0)
                return 0;
        switch (errno) {
        case ENOENT:
        case ENODEV: /* unmounted */
        case ECONNABORTED:
        case EPIPE: /* tests: a socket */
        case ECONNRESET:
                s->stats.gone++;
                return -ENOENT;
        default:
                return -errno;
        }
}

int reply_write(struct fuse_session *s, uint64_t unique, int error, const void *payload, size_t n)
{
        struct fuse_out_header h = {.len = (uint32_t)(sizeof h + n), .error = error, .unique = unique};
        struct iovec iov[2] = {{&h, sizeof h}, {(void *)payload, n}};
        return device_write(s, unique, iov, n > 0 ? 2 : 1);
}

void reply_refuse(struct fuse_session *s, uint64_t unique, int error)
{
        s->stats.refused++;
        (void)reply_write(s, unique, error, NULL, 0);
}

/* The answer to RQ; whatever happens, it has been answered then. */
static int call_reply(struct fuse_request *rq, int error, struct iovec *iov, int n)
{
        struct fuse_call *c = call_of(rq);
        if (c->replied)
                return -EALREADY;
        c->replied = true;
        if (error < 0)
                rq->session->stats.errors++;
        size_t size = 0;
        for (int i = 1; i < n; i++)
                size += iov[i].iov_len;
        struct fuse_out_header h = {.len = (uint32_t)(sizeof h + size), .error = error, .unique = rq->unique};
        iov[0] = (struct iovec){&h, sizeof h};
        int r = device_write(rq->session, rq->unique, iov, n);
        if (r < 0 && r != -ENOENT)
                log_error("fuse", "the kernel refused the answer to %s (%zu bytes, error %d): %s", c->op->name, size,
                          error, strerror(-r));
        return r;
}

static int reply_payload(struct fuse_request *rq, const void *payload, size_t n)
{
        struct iovec iov[2] = {[1] = {(void *)payload, n}};
        return call_reply(rq, 0, iov, 2);
}

/* An answer that cannot be given. */
static int reply_too_large(struct fuse_request *rq, size_t n)
{
        log_error("fuse", "the answer to %s has %zu bytes, the kernel has room for %zu: answered EIO",
                  fuse_operation_name(rq->opcode), n, fuse_reply_max(rq));
        int r = fuse_reply_error(rq, -EIO);
        return r < 0 ? r : -EINVAL;
}

bool fuse_replied(const struct fuse_request *rq)
{
        return call_of(rq)->replied;
}

size_t fuse_reply_max(const struct fuse_request *rq)
{
        return call_of(rq)->reply_max;
}

size_t reply_room(const struct fuse_request *rq)
{
        switch (rq->opcode) {
        case FUSE_READ:
        case FUSE_READDIR:
        case FUSE_READDIRPLUS:
                return rq->in.read->size;
        case FUSE_READLINK:
                return PATH_MAX - 1;
        case FUSE_GETXATTR:
        case FUSE_LISTXATTR:
                return rq->in.getxattr->size;
        default:
                return 0;
        }
}

int fuse_reply_ok(struct fuse_request *rq)
{
        struct iovec iov[1];
        return call_reply(rq, 0, iov, 1);
}

int fuse_reply_error(struct fuse_request *rq, int error)
{
        if (error >= 0 || error <= -ERRNO_LIMIT)
                error = -EIO;
        if (error == -ENOSYS)
                error = -EOPNOTSUPP;
        struct iovec iov[1];
        return call_reply(rq, error, iov, 1);
}

/* ---- entries and attributes ----------------------------------------------------------------------------------- */

void entry_encode(const struct fuse_entry *e, struct fuse_entry_out *ret)
{
        *ret = (struct fuse_entry_out){
                .nodeid = e->node,
                .generation = e->generation,
                .entry_valid = e->entry_timeout / NS_PER_SEC,
                .entry_valid_nsec = (uint32_t)(e->entry_timeout % NS_PER_SEC),
                .attr_valid = e->attr_timeout / NS_PER_SEC,
                .attr_valid_nsec = (uint32_t)(e->attr_timeout % NS_PER_SEC),
                .attr = e->attr,
        };
}

int fuse_reply_entry(struct fuse_request *rq, const struct fuse_entry *e)
{
        struct fuse_entry_out out;
        entry_encode(e, &out);
        return reply_payload(rq, &out, sizeof out);
}

int fuse_reply_negative(struct fuse_request *rq, uint64_t timeout)
{
        if (timeout == 0)
                return fuse_reply_error(rq, -ENOENT);
        return fuse_reply_entry(rq, &(struct fuse_entry){.entry_timeout = timeout});
}

int fuse_reply_created(struct fuse_request *rq, const struct fuse_entry *e, uint64_t fh, uint32_t open_flags)
{
        struct {
                struct fuse_entry_out entry;
                struct fuse_open_out open;
        } out = {.open = {.fh = fh, .open_flags = open_flags}};
        entry_encode(e, &out.entry);
        return reply_payload(rq, &out, sizeof out);
}

int fuse_reply_attr(struct fuse_request *rq, const struct fuse_attr *attr, uint64_t timeout)
{
        struct fuse_attr_out out = {
                .attr_valid = timeout / NS_PER_SEC,
                .attr_valid_nsec = (uint32_t)(timeout % NS_PER_SEC),
                .attr = *attr,
        };
        return reply_payload(rq, &out, sizeof out);
}

int fuse_reply_statx(struct fuse_request *rq, const struct fuse_statx *st, uint64_t timeout)
{
        struct fuse_statx_out out = {
                .attr_valid = timeout / NS_PER_SEC,
                .attr_valid_nsec = (uint32_t)(timeout % NS_PER_SEC),
                .stat = *st,
        };
        return reply_payload(rq, &out, sizeof out);
}

/* ---- the others ----------------------------------------------------------------------------------------------- */

int fuse_reply_opened(struct fuse_request *rq, uint64_t fh, uint32_t open_flags)
{
        struct fuse_open_out out = {.fh = fh, .open_flags = open_flags};
        return reply_payload(rq, &out, sizeof out);
}

int fuse_reply_written(struct fuse_request *rq, size_t n)
{
        if (rq->opcode == FUSE_COPY_FILE_RANGE_64)
                return reply_payload(rq, &(struct fuse_copy_file_range_out){n},
                                     sizeof(struct fuse_copy_file_range_out));
        struct fuse_write_out out = {.size = (uint32_t)MIN(n, (size_t)UINT32_MAX)};
        return reply_payload(rq, &out, sizeof out);
}

int fuse_reply_iov(struct fuse_request *rq, const struct iovec *data, int n)
{
        struct iovec iov[1 + FUSE_REPLY_IOV_MAX];
        size_t size = 0;
        for (int i = 0; i < n && i < FUSE_REPLY_IOV_MAX; i++) {
                iov[1 + i] = data[i];
                size += data[i].iov_len;
        }
        if (n < 0 || n > FUSE_REPLY_IOV_MAX || size > fuse_reply_max(rq))
                return reply_too_large(rq, size);
        return call_reply(rq, 0, iov, 1 + n);
}

int fuse_reply_data(struct fuse_request *rq, const void *data, size_t n)
{
        return fuse_reply_iov(rq, &(struct iovec){(void *)data, n}, 1);
}

int fuse_reply_xattr(struct fuse_request *rq, const void *value, size_t n)
{
        if (n > XATTR_MAX)
                return fuse_reply_error(rq, -E2BIG);
        if (fuse_reply_max(rq) == 0)
                return reply_payload(rq, &(struct fuse_getxattr_out){.size = (uint32_t)n},
                                     sizeof(struct fuse_getxattr_out));
        if (n > fuse_reply_max(rq))
                return fuse_reply_error(rq, -ERANGE);
        return fuse_reply_data(rq, value, n);
}

int fuse_reply_statfs(struct fuse_request *rq, const struct fuse_kstatfs *st)
{
        return reply_payload(rq, &(struct fuse_statfs_out){*st}, sizeof(struct fuse_statfs_out));
}

int fuse_reply_lock(struct fuse_request *rq, const struct fuse_file_lock *lk)
{
        return reply_payload(rq, &(struct fuse_lk_out){*lk}, sizeof(struct fuse_lk_out));
}

int fuse_reply_offset(struct fuse_request *rq, uint64_t offset)
{
        return reply_payload(rq, &(struct fuse_lseek_out){offset}, sizeof(struct fuse_lseek_out));
}

int fuse_reply_poll(struct fuse_request *rq, uint32_t revents)
{
        return reply_payload(rq, &(struct fuse_poll_out){.revents = revents}, sizeof(struct fuse_poll_out));
}

int fuse_reply_bmap(struct fuse_request *rq, uint64_t block)
{
        return reply_payload(rq, &(struct fuse_bmap_out){block}, sizeof(struct fuse_bmap_out));
}
