/* An RPC client connection for fibres.
 *
 * A call is a struct on the stack of the fibre that waits for it, found by xid through a small hash. Whoever ends it —
 * reply, loss of the connection, rpc_client_free — takes it out of the hash, fills in the result and sets its event;
 * only a call that ran out of time takes itself out. So a fibre that was woken with a result never looks at the client
 * again, which may be gone.
 *
 * Large data is sent from where the caller has it; a call that ends before it was sent withdraws it from the link.
 *
 * Replies are copied into the caller's arena, since the receive buffer belongs to the next record; with large ones the
 * arena takes the buffer over.
 *
 * Thread: the loop's.
 */
#include "rpc/client.h"

#include "proto/handshake.h"
#include "rpc/link.h"

#define CONNECT_TIMEOUT (10 * NS_PER_SEC)
#define CALL_TIMEOUT (1800 * NS_PER_SEC)
#define FIRST_XID 2           /* as stock counts */
#define OUTPUT_HIGH (8 * MIB) /* unsent bytes at which further calls wait */
#define CALL_BUCKETS 256
#define PAYLOAD_MIN (16 * KIB) /* from here on data is not copied */
#define CANCEL_INTERVAL (100 * NS_PER_MSEC)

/* One unanswered call. */
struct pending {
        struct pending *next; /* in its bucket, or among those waiting for room */
        uint32_t xid;
        bool ended;
        int error; /* or 0 and… */
        struct slice results;
        struct arena *arena;
        const bool *cancelled; /* NULL: never */
        struct fibre_event event;
        struct rpc_payload payload; /* what ends the request, when it is large */
};

struct rpc_client {
        struct loop *loop;
        struct rpc_client_config config;
        struct rpc_link link;
        struct fibre_event connected;
        int connect_error;

        struct pending *calls[CALL_BUCKETS];
        unsigned call_count;
        uint32_t next_xid;
        struct pending *waiting; /* for room in the output, unordered; each takes itself out when it runs */

        struct timer ping;     /* running = a ping cycle runs */
        uint32_t ping_xid;     /* 0 = the last ping was answered */
        uint64_t last_traffic; /* loop_now() of the last byte either way */

        struct timer fail; /* loses the connection from the loop */
        int fail_error;
        bool lost;
        bool dispatching;
        bool freed; /* during a dispatch: memory goes at its end */
};

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static struct pending **call_bucket(struct rpc_client *c, uint32_t xid)
{
        return &c->calls[xid % CALL_BUCKETS];
}

static void call_insert(struct rpc_client *c, struct pending *p)
{
        struct pending **head = call_bucket(c, p->xid);
        p->next = *head;
        *head = p;
        c->call_count++;
}

static struct pending *call_take(struct rpc_client *c, uint32_t xid)
{
        for (struct pending **at = call_bucket(c, xid); *at; at = &(*at)->next) {
                struct pending *p = *at;
                if (p->xid != xid)
                        continue;
                *at = p->next;
                c->call_count--;
                return p;
        }
        return NULL;
}

static void call_end(struct pending *p, int error)
{
        p->error = error;
        p->ended = true;
        fibre_event_set(&p->event);
}

static void calls_fail(struct rpc_client *c, int error)
{
        for (unsigned i = 0; i < CALL_BUCKETS; i++) {
                while (c->calls[i])
                        call_end(call_take(c, c->calls[i]->xid), error);
        }
        while (c->waiting) {
                struct pending *p = c->waiting;
                c->waiting = p->next;
                call_end(p, error);
        }
}

/* Large results stay where they were received. */
static bool call_take_over(struct rpc_client *c, struct pending *p, struct slice results)
{
        size_t size;
        void *memory = record_reader_detach(&c->link.in, results, &size);
        if (!memory)
                return false;
        int r = arena_adopt(p->arena, memory, size);
        if (r < 0)
                free(memory);
        p->results = results;
        call_end(p, r);
        return true;
}

static void call_reply(struct rpc_client *c, const struct rpc_reply *reply)
{
        struct pending *p = call_take(c, reply->xid);
        if (!p)
                return; /* it ran out of time */
        rpc_link_withdraw(&c->link, &p->payload);
        if (reply->status != RPC_SUCCESS) {
                call_end(p, -EPROTO);
                return;
        }
        if (call_take_over(c, p, reply->results))
                return;
        uint8_t *copy = arena_alloc_uninitialised(p->arena, reply->results.len);
        if (copy && reply->results.len > 0)
                memcpy(copy, reply->results.data, reply->results.len);
        p->results = (struct slice){.data = copy, .len = reply->results.len};
        call_end(p, copy ? 0 : -ENOMEM);
}

/* ---- loss -------------------------------------------------------------------------------------------------------- */

static void client_close(struct rpc_client *c)
{
        c->lost = true;
        timer_stop(&c->ping);
        timer_stop(&c->fail);
        rpc_link_done(&c->link);
        calls_fail(c, -ENOTCONN);
}

/* From the loop only: the owner may free the client in on_disconnect. */
static void client_lose(struct rpc_client *c, int error)
{
        if (c->lost)
                return;
        client_close(c);
        if (c->config.on_disconnect)
                c->config.on_disconnect(c, error, c->config.arg);
}

static void client_fail(struct timer *t)
{
        struct rpc_client *c = CONTAINER_OF(t, struct rpc_client, fail);
        client_lose(c, c->fail_error);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static void client_event(struct stream *stream, unsigned events, void *arg);

static void client_watch(struct rpc_client *c)
{
        unsigned writable = rpc_link_unsent(&c->link) > 0 ? STREAM_WRITABLE : 0;
        stream_watch(c->link.stream, STREAM_READABLE | writable, client_event, c);
}

static void client_flush(struct rpc_client *c)
{
        size_t before = rpc_link_unsent(&c->link);
        int r = rpc_link_flush(&c->link);
        if (r < 0) {
                c->fail_error = r;
                timer_start(c->loop, &c->fail, 0, client_fail);
                return;
        }
        if (rpc_link_unsent(&c->link) < before)
                c->last_traffic = loop_now(c->loop);
        for (struct pending *p = c->waiting; p && rpc_link_unsent(&c->link) < OUTPUT_HIGH; p = p->next)
                fibre_event_set(&p->event);
        client_watch(c);
}

static void default_cred(struct rpc_cred *cred)
{
        cred->flavour = RPC_AUTH_GLUSTERFS_V2;
        cred->owner_len = 4;
}

/* The payload of REQ if it is worth sending from where it is, else NULL. */
static const struct slice *large_payload(const struct msg_desc *desc, const void *req)
{
        const struct msg_field *last = desc && desc->field_count > 0 ? &desc->fields[desc->field_count - 1] : NULL;
        if (!last || last->kind != MSG_payload)
                return NULL;
        const struct slice *payload = (const void *)((const uint8_t *)req + last->offset);
        return payload->data && payload->len >= PAYLOAD_MIN ? payload : NULL;
}

/* Sends the call with what REQ's last field says left where it is. */
static int client_send_large(struct rpc_client *c, struct rpc_call *call, const struct msg_desc *desc, const void *req,
                             struct rpc_payload *payload)
{
        _Alignas(max_align_t) uint8_t copy[MSG_SIZE_MAX];
        size_t begin = rpc_link_begin(&c->link);
        memcpy(copy, req, desc->size);
        memset(copy + desc->fields[desc->field_count - 1].offset, 0, sizeof(struct slice));
        rpc_call_encode(&c->link.out, call);
        msg_encode(desc, copy, &c->link.out);
        return rpc_link_commit_payload(&c->link, begin, payload);
}

static int client_send(struct rpc_client *c, struct rpc_call *call, const struct msg_desc *desc, const void *req)
{
        size_t begin = rpc_link_begin(&c->link);
        rpc_call_encode(&c->link.out, call);
        if (desc)
                msg_encode(desc, req, &c->link.out);
        return rpc_link_commit(&c->link, begin);
}

static uint32_t client_xid(struct rpc_client *c)
{
        uint32_t xid = c->next_xid++;
        if (c->next_xid == 0)
                c->next_xid = FIRST_XID;
        return xid;
}

/* ---- ping -------------------------------------------------------------------------------------------------------- */

static void ping_due(struct timer *t);

/* Sends a ping; its answer or silence decides when the timer has fired. */
static void ping_send(struct rpc_client *c)
{
        struct rpc_call call = {.xid = client_xid(c), .prog = DUMP_PROGRAM, .vers = DUMP_VERSION, .proc = DUMP_PING};
        default_cred(&call.cred);
        if (client_send(c, &call, NULL, NULL) == 0)
                c->ping_xid = call.xid;
        timer_start(c->loop, &c->ping, c->config.ping_timeout, ping_due);
}

static void ping_due(struct timer *t)
{
        struct rpc_client *c = CONTAINER_OF(t, struct rpc_client, ping);
        uint64_t silent = loop_now(c->loop) - c->last_traffic;
        if (c->ping_xid != 0 && silent >= c->config.ping_timeout) {
                client_lose(c, -ETIMEDOUT);
                return;
        }
        if (c->ping_xid != 0) {
                timer_start(c->loop, &c->ping, c->config.ping_timeout - silent, ping_due);
                return;
        }
        if (c->call_count == 0)
                return;
        ping_send(c);
        client_flush(c);
}

static void ping_answered(struct rpc_client *c)
{
        c->ping_xid = 0;
        timer_start(c->loop, &c->ping, c->config.ping_timeout, ping_due);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static int client_callback(struct rpc_client *c, struct slice record)
{
        struct rpc_call call;
        enum rpc_status status;
        int r = rpc_call_decode(record, &call, &status);
        if (r < 0)
                return r;
        if (c->config.on_callback)
                c->config.on_callback(c, &call, c->config.arg);
        return 0;
}

static int client_record(struct rpc_client *c, struct slice record)
{
        int direction = rpc_direction(record);
        if (direction == RPC_CALL)
                return client_callback(c, record);
        struct rpc_reply reply;
        int r = direction < 0 ? direction : rpc_reply_decode(record, &reply);
        if (r < 0)
                return r;
        if (c->ping_xid != 0 && reply.xid == c->ping_xid)
                ping_answered(c);
        else
                call_reply(c, &reply);
        return 0;
}

/* 0: more bytes are needed. -errno: the connection is of no use. */
static int client_records(struct rpc_client *c)
{
        while (!c->lost) {
                struct slice record;
                int r = record_reader_next(&c->link.in, &record, NULL);
                if (r <= 0)
                        return r;
                r = client_record(c, record);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void client_read(struct rpc_client *c, unsigned events)
{
        if (!c->link.eof && rpc_link_read(&c->link, events))
                c->last_traffic = loop_now(c->loop);
        c->dispatching = true;
        int r = client_records(c);
        if (r == 0 && !c->lost && c->link.eof)
                r = c->link.error ? c->link.error : -ECONNRESET;
        if (r < 0)
                client_lose(c, r);
        c->dispatching = false;
        if (c->freed)
                free(c);
}

static void client_event(struct stream *stream, unsigned events, void *arg)
{
        struct rpc_client *c = arg;
        if (events & STREAM_WRITABLE)
                client_flush(c);
        if (events & (STREAM_READABLE | STREAM_HANGUP))
                client_read(c, events);
        (void)stream;
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static void client_connected(struct stream *stream, unsigned events, void *arg)
{
        struct rpc_client *c = arg;
        if (!c->link.eof)
                (void)rpc_link_read(&c->link, events);
        if (c->link.eof)
                c->connect_error = c->link.error ? c->link.error : -ECONNRESET;
        stream_watch(stream, 0, client_connected, c);
        fibre_event_set(&c->connected);
}

static int client_wait_connected(struct fibre *self, struct rpc_client *c)
{
        uint64_t timeout = c->config.connect_timeout ? c->config.connect_timeout : CONNECT_TIMEOUT;
        uint64_t deadline = loop_now(c->loop) + timeout, interval = c->config.cancelled ? CANCEL_INTERVAL : timeout;
        stream_watch(c->link.stream, STREAM_WRITABLE, client_connected, c);
        while (!c->connected.done) {
                uint64_t now = loop_now(c->loop);
                if (c->config.cancelled && *c->config.cancelled)
                        return -ECANCELED;
                if (now >= deadline)
                        return -ETIMEDOUT;
                (void)fibre_event_wait(self, &c->connected, MIN(interval, deadline - now));
        }
        return c->connect_error;
}

int rpc_client_connect(struct fibre *self, const struct rpc_client_config *config, struct rpc_client **ret)
{
        _cleanup_(rpc_client_freep) struct rpc_client *c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->loop = fibre_loop(self);
        c->config = *config;
        c->next_xid = FIRST_XID;
        c->last_traffic = loop_now(c->loop);
        rpc_link_init(&c->link, NULL, RECORD_LIMIT, OUTPUT_HIGH + RECORD_LIMIT);
        int r = loop_connect(c->loop, &config->to, config->from, &c->link.stream);
        if (r == 0 && config->wrap)
                r = config->wrap(c->link.stream, config->arg, &c->link.stream);
        if (r < 0)
                return r;
        r = client_wait_connected(self, c);
        if (r < 0)
                return r;
        client_watch(c);
        *ret = TAKE_PTR(c);
        return 0;
}

struct rpc_client *rpc_client_free(struct rpc_client *c)
{
        if (!c)
                return NULL;
        if (!c->lost)
                client_close(c);
        if (c->dispatching)
                c->freed = true;
        else
                free(c);
        return NULL;
}

/* ---- calling ----------------------------------------------------------------------------------------------------- */

static void waiting_remove(struct rpc_client *c, struct pending *p)
{
        for (struct pending **at = &c->waiting; *at; at = &(*at)->next) {
                if (*at == p) {
                        *at = p->next;
                        return;
                }
        }
}

/* Until the output has room. The client is alive when this returns 0. */
static int call_wait_room(struct fibre *self, struct rpc_client *c, struct pending *p, uint64_t deadline)
{
        while (rpc_link_unsent(&c->link) >= OUTPUT_HIGH) {
                uint64_t now = loop_now(c->loop);
                p->event = (struct fibre_event){0};
                p->next = c->waiting;
                c->waiting = p;
                int r = fibre_event_wait(self, &p->event, deadline > now ? deadline - now : 0);
                if (p->ended)
                        return p->error;
                waiting_remove(c, p);
                if (r < 0 && !p->event.done)
                        return r;
        }
        p->event = (struct fibre_event){0};
        return 0;
}

/* The client is alive as long as the call has not ended. */
static int call_wait_reply(struct fibre *self, struct rpc_client *c, struct pending *p, uint64_t deadline)
{
        int r = 0;
        while (r == 0) {
                uint64_t now = loop_now(c->loop), left = deadline > now ? deadline - now : 0;
                (void)fibre_event_wait(self, &p->event, p->cancelled ? MIN(left, CANCEL_INTERVAL) : left);
                if (p->ended)
                        return p->error;
                if (p->cancelled && *p->cancelled)
                        r = -EINTR;
                else if (loop_now(c->loop) >= deadline)
                        r = -ETIMEDOUT;
        }
        (void)call_take(c, p->xid);
        rpc_link_withdraw(&c->link, &p->payload);
        return r;
}

static int call_decode(const struct pending *p, const struct msg_desc *desc, void *rep, struct arena *a)
{
        if (!desc)
                return 0;
        struct xdr_reader reader = xdr_reader_of(p->results.data, p->results.len);
        int r = msg_decode(desc, &reader, a, rep);
        return r == -ENOMEM ? r : r < 0 ? -EBADMSG : 0;
}

static int call_submit(struct rpc_client *c, struct rpc_call *call, const struct msg_desc *desc, const void *req,
                       struct pending *p)
{
        p->xid = call->xid = client_xid(c);
        const struct slice *large = large_payload(desc, req);
        if (large)
                p->payload = (struct rpc_payload){.bytes = *large};
        int r = large ? client_send_large(c, call, desc, req, &p->payload) : client_send(c, call, desc, req);
        if (r < 0)
                return r;
        call_insert(c, p);
        if (c->config.ping_timeout > 0 && !timer_running(&c->ping))
                ping_send(c);
        client_flush(c);
        return 0;
}

int rpc_client_call(struct fibre *self, struct rpc_client *c, uint32_t prog, uint32_t vers, uint32_t proc,
                    const struct rpc_cred *cred, const struct msg_desc *req_desc, const void *req,
                    const struct msg_desc *rep_desc, void *rep, struct arena *a)
{
        return rpc_client_call_cancellable(self, c, prog, vers, proc, cred, req_desc, req, rep_desc, rep, a, NULL);
}

int rpc_client_call_cancellable(struct fibre *self, struct rpc_client *c, uint32_t prog, uint32_t vers, uint32_t proc,
                                const struct rpc_cred *cred, const struct msg_desc *req_desc, const void *req,
                                const struct msg_desc *rep_desc, void *rep, struct arena *a, const bool *cancelled)
{
        if (c->lost)
                return -ENOTCONN;
        uint64_t deadline = loop_now(c->loop) + (c->config.call_timeout ? c->config.call_timeout : CALL_TIMEOUT);
        struct pending p = {.arena = a, .cancelled = cancelled};
        int r = call_wait_room(self, c, &p, deadline);
        if (r < 0)
                return r;

        struct rpc_call call = {.prog = prog, .vers = vers, .proc = proc};
        if (cred)
                call.cred = *cred;
        else
                default_cred(&call.cred);
        r = call_submit(c, &call, req_desc, req, &p);
        if (r < 0)
                return r;
        r = call_wait_reply(self, c, &p, deadline);
        return r < 0 ? r : call_decode(&p, rep_desc, rep, a);
}

int rpc_client_send(struct rpc_client *c, uint32_t prog, uint32_t vers, uint32_t proc, const struct rpc_cred *cred,
                    const struct msg_desc *req_desc, const void *req)
{
        if (c->lost)
                return -ENOTCONN;
        struct rpc_call call = {.xid = client_xid(c), .prog = prog, .vers = vers, .proc = proc};
        if (cred)
                call.cred = *cred;
        else
                default_cred(&call.cred);
        int r = client_send(c, &call, req_desc, req);
        if (r == 0)
                client_flush(c);
        return r;
}

unsigned rpc_client_outstanding(const struct rpc_client *c)
{
        return c->call_count;
}
