/* A record stream over one connection. See link.h.
 *
 * Invariant: sent <= out.len; sent bytes are dropped when all went or when they are more than half of the buffer, so
 * that moving costs no more than sending did.
 */
#include "rpc/link.h"

#define READ_SIZE (64 * KIB) /* least room offered to one read */
#define READS_A_TURN 8
#define OUTPUT_KEPT (16 * KIB) /* by a quiet connection: a mount asks its daemon for a volfile, and is quiet for months */

void rpc_link_init(struct rpc_link *l, struct stream *stream, size_t record, size_t output)
{
        *l = (struct rpc_link){.stream = stream, .out = BUF_INIT(output)};
        record_reader_init(&l->in, record);
}

void rpc_link_done(struct rpc_link *l)
{
        l->stream = stream_free(l->stream);
        record_reader_done(&l->in);
        buf_done(&l->out);
        l->sent = 0;
}

static void link_end(struct rpc_link *l, int error)
{
        l->eof = true;
        l->error = error;
}

/* One read. True if there may be more. */
static bool link_read_once(struct rpc_link *l, size_t *ret_got)
{
        struct iovec iov;
        size_t wanted = record_reader_wants(&l->in, READ_SIZE);
        iov.iov_base = record_reader_space(&l->in, wanted, &iov.iov_len);
        if (!iov.iov_base) {
                link_end(l, -ENOMEM);
                return false;
        }
        if (wanted != READ_SIZE)
                iov.iov_len = wanted;
        ssize_t n = stream_readv(l->stream, &iov, 1);
        if (n == -EAGAIN || n == -EINTR)
                return false;
        if (n <= 0) {
                link_end(l, (int)n);
                return false;
        }
        record_reader_filled(&l->in, (size_t)n);
        *ret_got += (size_t)n;
        return (size_t)n == iov.iov_len && !record_reader_ends(&l->in);
}

bool rpc_link_read(struct rpc_link *l, unsigned events)
{
        if (events & STREAM_HANGUP)
                l->hangup = true;
        size_t got = 0;
        for (int i = 0; i < READS_A_TURN && link_read_once(l, &got); i++)
                continue;
        if (got == 0 && l->hangup && !l->eof)
                link_end(l, -ECONNRESET);
        return got > 0;
}

static void link_drop_sent(struct rpc_link *l)
{
        if (l->sent == l->out.len)
                buf_reset(&l->out, OUTPUT_KEPT);
        else if (l->sent > l->out.len / 2)
                buf_consume(&l->out, l->sent);
        else
                return;
        l->sent = 0;
}

int rpc_link_flush(struct rpc_link *l)
{
        while (l->stream && rpc_link_unsent(l) > 0) {
                struct iovec iov = {.iov_base = l->out.data + l->sent, .iov_len = rpc_link_unsent(l)};
                ssize_t n = stream_writev(l->stream, &iov, 1);
                if (n == -EAGAIN || n == -EINTR)
                        break;
                if (n < 0)
                        return (int)n;
                l->sent += (size_t)n;
        }
        link_drop_sent(l);
        return 0;
}

size_t rpc_link_begin(struct rpc_link *l)
{
        return record_begin(&l->out);
}

int rpc_link_commit(struct rpc_link *l, size_t begin)
{
        record_end(&l->out, begin, 0);
        int error = l->out.error;
        if (error < 0) {
                l->out.len = begin;
                l->out.error = 0;
        }
        return error;
}
