/* A record stream over one connection. See link.h.
 *
 * Large data is not copied into `out`: it is a payload, which stands in the stream where its record's other bytes in
 * `out` end. Invariants: payloads are in the order of their places, none lies before `sent`. sent <= out.len; sent
 * bytes are dropped when all went or when they are more than half of the buffer, so that moving costs no more than
 * sending did.
 */
#include "rpc/link.h"

#define READ_SIZE (64 * KIB) /* least room offered to one read */
#define READS_A_TURN 8
#define IOV_MAX_AT_ONCE 16
#define OUTPUT_KEPT                                                                                                    \
        (16 * KIB) /* by a quiet connection: a mount asks its daemon for a volfile, and is quiet for months */

void rpc_link_init(struct rpc_link *l, struct stream *stream, size_t record, size_t output)
{
        *l = (struct rpc_link){.stream = stream, .out = BUF_INIT(output)};
        record_reader_init(&l->in, record);
}

static void payload_pop(struct rpc_link *l)
{
        struct rpc_payload *p = l->payloads;
        l->payloads = p->next;
        p->queued = false;
        if (!p->owned)
                return;
        free(p->owned);
        free(p);
}

static void drop_payloads(struct rpc_link *l)
{
        while (l->payloads)
                payload_pop(l);
        l->payload_bytes = 0;
}

void rpc_link_done(struct rpc_link *l)
{
        drop_payloads(l);
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
        size_t sent = l->sent;
        if (l->sent == l->out.len)
                buf_reset(&l->out, OUTPUT_KEPT);
        else if (l->sent > l->out.len / 2)
                buf_consume(&l->out, l->sent);
        else
                return;
        l->dropped += sent;
        l->sent = 0;
}

/* Bytes of `out` up to the first payload, or all. */
static size_t link_stop(const struct rpc_link *l, const struct rpc_payload *p)
{
        return p ? (size_t)(p->at - l->dropped) : l->out.len;
}

static int link_gather(const struct rpc_link *l, struct iovec iov[static IOV_MAX_AT_ONCE])
{
        int n = 0;
        size_t from = l->sent;
        const struct rpc_payload *p = l->payloads;
        while (n + 1 < IOV_MAX_AT_ONCE) {
                size_t stop = link_stop(l, p);
                if (stop > from)
                        iov[n++] = (struct iovec){.iov_base = l->out.data + from, .iov_len = stop - from};
                from = stop;
                if (!p)
                        break;
                iov[n++] = (struct iovec){.iov_base = (uint8_t *)(uintptr_t)p->bytes.data + p->sent,
                                          .iov_len = p->bytes.len - p->sent};
                p = p->next;
        }
        return n;
}

/* N bytes more were sent. */
static void link_advance(struct rpc_link *l, size_t n)
{
        while (n > 0) {
                struct rpc_payload *p = l->payloads;
                size_t part = MIN(link_stop(l, p) - l->sent, n);
                l->sent += part;
                n -= part;
                if (n == 0)
                        break;
                part = MIN(p->bytes.len - p->sent, n);
                p->sent += part;
                l->payload_bytes -= part;
                n -= part;
                if (p->sent == p->bytes.len)
                        payload_pop(l);
        }
}

int rpc_link_flush(struct rpc_link *l)
{
        if (l->broken)
                return -ENOMEM;
        while (l->stream && rpc_link_unsent(l) > 0) {
                struct iovec iov[IOV_MAX_AT_ONCE];
                ssize_t n = stream_writev(l->stream, iov, link_gather(l, iov));
                if (n == -EAGAIN || n == -EINTR)
                        break;
                if (n < 0)
                        return (int)n;
                link_advance(l, (size_t)n);
        }
        link_drop_sent(l);
        return 0;
}

size_t rpc_link_begin(struct rpc_link *l)
{
        return record_begin(&l->out);
}

static int link_commit(struct rpc_link *l, size_t begin, size_t payload)
{
        record_end(&l->out, begin, payload);
        int error = l->out.error;
        if (error < 0) {
                l->out.len = begin;
                l->out.error = 0;
        }
        return error;
}

int rpc_link_commit(struct rpc_link *l, size_t begin)
{
        return link_commit(l, begin, 0);
}

int rpc_link_commit_payload(struct rpc_link *l, size_t begin, struct rpc_payload *p)
{
        int r = link_commit(l, begin, p->bytes.len);
        if (r < 0)
                return r;
        struct rpc_payload **at = &l->payloads;
        while (*at)
                at = &(*at)->next;
        *at = p;
        p->next = NULL;
        p->queued = true;
        p->at = l->dropped + l->out.len;
        l->payload_bytes += p->bytes.len;
        return 0;
}

void rpc_link_withdraw(struct rpc_link *l, struct rpc_payload *p)
{
        if (!p->queued)
                return;
        struct rpc_payload *own = malloc(sizeof *own);
        uint8_t *bytes = own ? malloc(p->bytes.len) : NULL;
        if (!bytes) {
                free(own);
                l->broken = true;
                drop_payloads(l);
                return;
        }
        memcpy(bytes, p->bytes.data, p->bytes.len);
        *own = *p;
        own->owned = bytes;
        own->bytes.data = bytes;
        p->queued = false;
        struct rpc_payload **at = &l->payloads;
        while (*at != p)
                at = &(*at)->next;
        *at = own;
}
