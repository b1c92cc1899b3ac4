/* RPC server connections on a loop.
 *
 * A connection reads while it may: fewer unanswered calls than `outstanding`, fewer unsent bytes than `output`. What
 * was read but not dispatched waits in the link; so do calls beyond CALLS_A_TURN. Answers given during a dispatch are
 * sent together at its end; later ones at once.
 *
 * Lifetime: a connection holds one reference while it is open and one for each unanswered call. So an answer that comes
 * after the end finds its connection and is dropped, and the last one frees it. Errors found while answering close the
 * connection from the loop (`kick`), never under the handler's feet.
 *
 * Thread: the loop's.
 */
#include "rpc/server.h"

#include <assert.h>

#include "rpc/link.h"
#include "rpc/tls_session.h"

#define OUTPUT_DEFAULT (8 * MIB)
#define OUTSTANDING_DEFAULT 64
#define CONNECTIONS_DEFAULT 4096
#define CALLS_A_TURN 64 /* of one connection, before others have theirs */

struct rpc_server_conn {
        struct rpc_server *server; /* NULL once closed */
        struct rpc_server_conn *prev, *next;
        struct rpc_link link;
        struct timer kick; /* go on dispatching, or close */
        uint32_t outstanding;
        uint32_t callback_xid;
        bool dispatching;
        bool backlog; /* CALLS_A_TURN were served, more may be there: `kick` goes on before anything is read */
        bool broken;  /* to be closed by `kick` */
        void *data;
};

struct rpc_server {
        struct loop *loop;
        struct listener *listener;
        struct rpc_server_handler handler;
        struct rpc_server_limits limits;
        void *arg;
        struct rpc_server_conn *conns;
        uint32_t conn_count;
};

static void conn_event(struct stream *stream, unsigned events, void *arg);
static void conn_kick(struct timer *t);

/* ---- lifetime ---------------------------------------------------------------------------------------------------- */

static void conn_unref(struct rpc_server_conn *c)
{
        if (!c->server && c->outstanding == 0 && !c->dispatching)
                free(c);
}

static void conn_unlink(struct rpc_server_conn *c)
{
        struct rpc_server *s = c->server;
        if (c->prev)
                c->prev->next = c->next;
        else
                s->conns = c->next;
        if (c->next)
                c->next->prev = c->prev;
        s->conn_count--;
}

void rpc_conn_close(struct rpc_server_conn *c)
{
        struct rpc_server *s = c->server;
        if (!s)
                return;
        timer_stop(&c->kick);
        rpc_link_done(&c->link);
        conn_unlink(c);
        c->server = NULL;
        c->outstanding++;
        if (s->handler.on_close)
                s->handler.on_close(c, s->arg);
        c->outstanding--;
        conn_unref(c);
}

/* ---- reading and writing ----------------------------------------------------------------------------------------- */

static bool conn_may_read(const struct rpc_server_conn *c)
{
        return !c->broken && c->outstanding < c->server->limits.outstanding &&
               rpc_link_unsent(&c->link) < c->server->limits.output;
}

static void conn_watch(struct rpc_server_conn *c)
{
        unsigned events = 0;
        if (conn_may_read(c) && !c->link.eof && !c->backlog)
                events |= STREAM_READABLE;
        if (rpc_link_unsent(&c->link) > 0)
                events |= STREAM_WRITABLE;
        stream_watch(c->link.stream, events, conn_event, c);
}

static void conn_reject_bad(struct rpc_server_conn *c, uint32_t xid, enum rpc_status status)
{
        c->outstanding++;
        rpc_conn_reject(c, xid, status);
}

/* One record. False: the connection is of no use any more. */
static bool conn_record(struct rpc_server_conn *c, struct slice record)
{
        int direction = rpc_direction(record);
        if (direction < 0)
                return false;
        if (direction == RPC_REPLY)
                return true; /* nothing was asked */

        struct rpc_call call;
        enum rpc_status status;
        if (rpc_call_decode(record, &call, &status) < 0) {
                if (status == RPC_SUCCESS)
                        return false;
                conn_reject_bad(c, call.xid, status);
                return true;
        }
        c->outstanding++;
        c->server->handler.on_call(c, &call, c->server->arg);
        return true;
}

/* What came is no record. */
static bool conn_garbage(struct rpc_server_conn *c)
{
        const struct record_reader *in = &c->link.in;
        bool tls = in->in.len > in->start && in->in.data[in->start] == TLS_FIRST_BYTE;
        if (tls && c->server->handler.on_tls)
                c->server->handler.on_tls(c, c->server->arg);
        return false;
}

/* Hands out the records that are there, as far as limits allow. False: close. */
static bool conn_dispatch(struct rpc_server_conn *c)
{
        c->backlog = false;
        for (unsigned n = 0; c->server && conn_may_read(c); n++) {
                struct slice record;
                if (n == CALLS_A_TURN) {
                        c->backlog = true;
                        break;
                }
                int r = record_reader_next(&c->link.in, &record, NULL);
                if (r == 0)
                        return !c->link.eof;
                if (r < 0)
                        return conn_garbage(c);
                if (!conn_record(c, record))
                        return false;
        }
        return true;
}

/* Reads, dispatches, sends; then waits for what is possible next. */
static void conn_turn(struct rpc_server_conn *c, unsigned events)
{
        c->dispatching = true;
        if (events & STREAM_HANGUP)
                c->link.hangup = true;
        if (events && conn_may_read(c) && !c->link.eof && !c->backlog)
                (void)rpc_link_read(&c->link, events);
        bool good = conn_dispatch(c);
        c->dispatching = false;
        if (!c->server) {
                conn_unref(c);
                return;
        }
        size_t before = rpc_link_unsent(&c->link);
        /* Calls that came before a hang-up are served while limits allow. */
        bool gone = (events & STREAM_HANGUP) && !conn_may_read(c);
        if (!good || gone || c->broken || rpc_link_flush(&c->link) < 0) {
                rpc_conn_close(c);
                return;
        }
        conn_watch(c);
        /* Sending made room: records may wait that nothing else will announce. */
        if (c->backlog || (before >= c->server->limits.output && conn_may_read(c)))
                timer_start(c->server->loop, &c->kick, 0, conn_kick);
}

static void conn_kick(struct timer *t)
{
        struct rpc_server_conn *c = CONTAINER_OF(t, struct rpc_server_conn, kick);
        conn_turn(c, 0);
}

static void conn_event(struct stream *stream, unsigned events, void *arg)
{
        struct rpc_server_conn *c = arg;
        conn_turn(c, events & (STREAM_READABLE | STREAM_HANGUP));
        (void)stream;
}

/* Ends a record written outside or inside a dispatch. RESUME: the loop has to look at the connection again. */
static void conn_written(struct rpc_server_conn *c, size_t begin, bool resume)
{
        if (rpc_link_commit(&c->link, begin) < 0)
                c->broken = true;
        if (c->dispatching)
                return;
        if (!c->broken && rpc_link_flush(&c->link) < 0)
                c->broken = true;
        if (c->broken || resume)
                timer_start(c->server->loop, &c->kick, 0, conn_kick);
        else
                conn_watch(c);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* One call fewer is unanswered. False: the connection is closed, and may be gone now. */
static bool conn_answered(struct rpc_server_conn *c, bool *ret_was_full)
{
        assert(c->outstanding > 0);
        c->outstanding--;
        if (!c->server) {
                conn_unref(c);
                return false;
        }
        *ret_was_full = c->outstanding + 1 >= c->server->limits.outstanding;
        return true;
}

static void conn_answer(struct rpc_server_conn *c, uint32_t xid, enum rpc_status status, const struct msg_desc *desc,
                        const void *msg)
{
        bool was_full;
        if (!conn_answered(c, &was_full))
                return;
        size_t begin = rpc_link_begin(&c->link);
        rpc_reply_encode(&c->link.out, xid, status);
        if (desc)
                msg_encode(desc, msg, &c->link.out);
        conn_written(c, begin, was_full);
}

void rpc_conn_reply(struct rpc_server_conn *c, uint32_t xid, const struct msg_desc *desc, const void *msg)
{
        conn_answer(c, xid, RPC_SUCCESS, desc, msg);
}

void rpc_conn_reject(struct rpc_server_conn *c, uint32_t xid, enum rpc_status status)
{
        conn_answer(c, xid, status, NULL, NULL);
}

/* Nobody waits for a callback, so nothing else slows the sender down. */
static void conn_called_back(struct rpc_server_conn *c, size_t begin)
{
        if (rpc_link_unsent(&c->link) > c->server->limits.output)
                c->broken = true;
        conn_written(c, begin, false);
}

void rpc_conn_callback(struct rpc_server_conn *c, uint32_t prog, uint32_t vers, uint32_t proc,
                       const struct msg_desc *desc, const void *msg)
{
        if (!c->server)
                return;
        struct rpc_call call = {.xid = c->callback_xid++, .prog = prog, .vers = vers, .proc = proc};
        size_t begin = rpc_link_begin(&c->link);
        rpc_call_encode(&c->link.out, &call);
        if (desc)
                msg_encode(desc, msg, &c->link.out);
        conn_called_back(c, begin);
}

static void conn_append(struct rpc_server_conn *c, const struct iovec *iov, int n)
{
        const uint8_t *first = iov[0].iov_base;
        buf_append(&c->link.out, first + RECORD_MARK_SIZE, iov[0].iov_len - RECORD_MARK_SIZE);
        for (int k = 1; k < n; k++)
                buf_append(&c->link.out, iov[k].iov_base, iov[k].iov_len);
}

void rpc_conn_send_record(struct rpc_server_conn *c, const struct iovec *iov, int n)
{
        assert(n > 0 && iov[0].iov_len >= RECORD_MARK_SIZE + 8 && iov[0].iov_len <= UINT32_MAX);
        const uint8_t *first = iov[0].iov_base;
        struct slice head = {.data = first + RECORD_MARK_SIZE, .len = (uint32_t)iov[0].iov_len - RECORD_MARK_SIZE};
        bool was_full, reply = rpc_direction(head) == RPC_REPLY;
        if (reply ? !conn_answered(c, &was_full) : !c->server)
                return;
        size_t begin = rpc_link_begin(&c->link);
        conn_append(c, iov, n);
        if (reply)
                conn_written(c, begin, was_full);
        else
                conn_called_back(c, begin);
}

int rpc_conn_peer(const struct rpc_server_conn *c, struct address *ret)
{
        return c->link.stream ? stream_peer(c->link.stream, ret) : -ENOTCONN;
}

int rpc_conn_fd(const struct rpc_server_conn *c)
{
        return c->link.stream ? stream_fd(c->link.stream) : -ENOTCONN;
}

void rpc_conn_set_data(struct rpc_server_conn *c, void *data)
{
        c->data = data;
}

void *rpc_conn_data(const struct rpc_server_conn *c)
{
        return c->data;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static void server_accept(struct listener *l, struct stream *accepted, void *arg)
{
        struct rpc_server *s = arg;
        struct stream *stream = accepted;
        struct rpc_server_conn *c = s->conn_count < s->limits.connections ? malloc(sizeof *c) : NULL;
        if (!c || (s->handler.wrap && s->handler.wrap(accepted, s->arg, &stream) < 0)) {
                free(c);
                stream_free(accepted);
                return;
        }
        *c = (struct rpc_server_conn){.server = s, .next = s->conns, .callback_xid = 1};
        if (s->conns)
                s->conns->prev = c;
        s->conns = c;
        s->conn_count++;
        rpc_link_init(&c->link, stream, s->limits.record, s->limits.output + RECORD_LIMIT);
        conn_watch(c);
        (void)l;
}

static struct rpc_server_limits limits_of(const struct rpc_server_limits *given)
{
        struct rpc_server_limits l = given ? *given : (struct rpc_server_limits){0};
        if (l.record == 0)
                l.record = RECORD_LIMIT;
        if (l.output == 0)
                l.output = OUTPUT_DEFAULT;
        if (l.outstanding == 0)
                l.outstanding = OUTSTANDING_DEFAULT;
        if (l.connections == 0)
                l.connections = CONNECTIONS_DEFAULT;
        return l;
}

int rpc_server_new(struct loop *loop, const struct address *at, const struct rpc_server_handler *handler,
                   const struct rpc_server_limits *limits, void *arg, struct rpc_server **ret)
{
        struct rpc_server *s = malloc(sizeof *s);
        if (!s)
                return -ENOMEM;
        *s = (struct rpc_server){.loop = loop, .handler = *handler, .limits = limits_of(limits), .arg = arg};
        int r = loop_listen(loop, at, server_accept, s, &s->listener);
        if (r < 0) {
                free(s);
                return r;
        }
        *ret = s;
        return 0;
}

struct rpc_server *rpc_server_free(struct rpc_server *s)
{
        if (!s)
                return NULL;
        s->listener = listener_free(s->loop, s->listener);
        while (s->conns)
                rpc_conn_close(s->conns);
        free(s);
        return NULL;
}

int rpc_server_address(struct rpc_server *s, struct address *ret)
{
        return listener_address(s->loop, s->listener, ret);
}

void rpc_server_each(struct rpc_server *s, void (*fn)(struct rpc_server_conn *c, void *arg), void *arg)
{
        struct rpc_server_conn *next;
        for (struct rpc_server_conn *c = s->conns; c; c = next) {
                next = c->next;
                fn(c, arg);
        }
}
