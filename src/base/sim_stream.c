/* Listeners and connections of the simulator.
 *
 *      end[0] client ── pipe ──▶ inbox of end[1]
 *      end[1] server ── pipe ──▶ inbox of end[0]
 *
 * A pipe is a queue of chunks on the way: bytes, and what else crosses a link (the request to connect and its answer,
 * the end of the stream, a reset), strictly in order. Each chunk draws its delay when it is sent. The first chunk of a
 * pipe has a timer in the world's `crossing` heap; while the link is cut, that timer is not running and everything
 * waits.
 *
 * A connection lives until both its ends are freed by the program. Ends with something to tell are on their node's
 * ready list: end_update() is called after every change that can matter. No callback is made except by
 * sim_streams_dispatch() and, for accepting, sim_chunk_arrive(); after a callback neither touches the connection again.
 *
 * Above 600 lines: pipes, ends and listeners are one state machine.
 */
#include "base/sim_internal.h"

#include <assert.h>
#include <netinet/in.h>
#include <sys/un.h>

#define WINDOW (256 * KIB) /* bytes on the way and unread in one direction */
#define PARTIAL_ONE_IN 8   /* writes that take only a part */
#define FIRST_PORT 49152

enum chunk_kind { CHUNK_CONNECT, CHUNK_ACCEPTED, CHUNK_REFUSED, CHUNK_DATA, CHUNK_END, CHUNK_RESET };

struct chunk {
        struct chunk *next;
        uint64_t due;
        enum chunk_kind kind;
        size_t len;
        uint8_t data[];
};

enum end_state { END_ABSENT, END_CONNECTING, END_OPEN, END_DEAD };

struct sim_end {
        struct stream base;
        struct sim_conn *conn;
        struct sim_node *node;
        enum end_state state; /* END_ABSENT: not accepted yet, or freed. END_DEAD: its node crashed */
        struct address peer;

        /* out */
        struct timer crossing;
        struct chunk *chunks, **chunks_tail;
        size_t on_the_way; /* bytes */
        uint64_t last_due;

        /* in */
        struct chunk *inbox, **inbox_tail; /* arrived */
        size_t unread, first_read;         /* bytes in the inbox; bytes of its first chunk that were read before */
        bool at_end;
        int error; /* 0 or -errno: broken */

        unsigned watched;
        bool hangup_told;
        bool is_ready;
        struct sim_end *ready_next, *ready_prev;
};

struct sim_conn {
        struct sim_conn *next, *prev;
        struct sim *sim;
        uint64_t id;
        struct address to;
        struct sim_end end[2];
};

struct sim_listener {
        struct sim_listener *next;
        struct sim_node *node; /* NULL: it crashed */
        struct address at;
        accept_fn fn;
        void *arg;
};

static struct sim_end *end_of(struct stream *s)
{
        return CONTAINER_OF(s, struct sim_end, base);
}

static struct sim_end *end_peer(struct sim_end *e)
{
        return e == &e->conn->end[0] ? &e->conn->end[1] : &e->conn->end[0];
}

static const struct sim_link *conn_link(const struct sim_conn *c)
{
        return sim_link_get(c->sim, c->end[0].node, c->end[1].node);
}

/* ---- readiness ----------------------------------------------------------------------------------------------------
 */

/* Bytes that E may still send. */
static size_t end_room(struct sim_end *e)
{
        size_t used = e->on_the_way + end_peer(e)->unread;
        return used < WINDOW ? WINDOW - used : 0;
}

/* What E's owner is to be told now; 0: nothing. */
static unsigned end_events(struct sim_end *e)
{
        if (!e->base.on_event || (e->state != END_OPEN && e->state != END_CONNECTING))
                return 0;
        bool gone = e->at_end || e->error != 0;
        unsigned events = 0;
        if (gone || e->unread > 0)
                events |= STREAM_READABLE;
        if (gone || (e->state == END_OPEN && end_room(e) > 0))
                events |= STREAM_WRITABLE;
        events &= e->watched;
        if (gone && (events != 0 || !e->hangup_told))
                events |= STREAM_HANGUP;
        return events;
}

/* Puts E on its node's ready list or takes it off. */
static void end_update(struct sim_end *e)
{
        bool ready = end_events(e) != 0;
        struct sim_node *n = e->node;
        if (ready == e->is_ready)
                return;
        e->is_ready = ready;
        if (ready) {
                e->ready_prev = NULL;
                e->ready_next = n->ready;
                if (n->ready)
                        n->ready->ready_prev = e;
                n->ready = e;
                n->n_ready++;
                return;
        }
        if (e->ready_prev)
                e->ready_prev->ready_next = e->ready_next;
        else
                n->ready = e->ready_next;
        if (e->ready_next)
                e->ready_next->ready_prev = e->ready_prev;
        n->n_ready--;
}

void sim_streams_dispatch(struct sim_node *n)
{
        struct sim_end *e = n->ready;
        for (uint64_t i = sim_random(n->sim, n->n_ready); i > 0; i--)
                e = e->ready_next;
        unsigned events = end_events(e);
        if (events & STREAM_HANGUP)
                e->hangup_told = true;
        end_update(e);
        sim_trace(n->sim, SIM_TRACE_STREAM, e->conn->id * 2 + (e == &e->conn->end[1]), events);
        e->base.on_event(&e->base, events, e->base.arg);
}

/* ---- pipes --------------------------------------------------------------------------------------------------------
 */

static void pipe_stop(struct sim_end *e)
{
        if (e->crossing.loop)
                timer_heap_remove(&e->conn->sim->crossing, &e->crossing);
        e->crossing.loop = NULL;
}

/* Runs the timer of the first chunk that E has on the way, unless the link is cut. */
static void pipe_arm(struct sim_end *e)
{
        struct sim *s = e->conn->sim;
        if (e->crossing.loop || !e->chunks || conn_link(e->conn)->cut)
                return;
        e->crossing.due = MAX(e->chunks->due, s->now);
        e->crossing.loop = &e->node->loop;
        timer_heap_add(&s->crossing, &e->crossing);
}

static uint64_t pipe_delay(struct sim_end *e)
{
        const struct sim_link *link = conn_link(e->conn);
        return link->delay_min + sim_random(e->conn->sim, link->delay_max - link->delay_min + 1);
}

/* Sends a chunk of LEN bytes, to be filled in by the caller. */
static struct chunk *pipe_send(struct sim_end *e, enum chunk_kind kind, size_t len)
{
        struct chunk *c = sim_calloc(sizeof *c + len);
        *c = (struct chunk){.kind = kind, .len = len};
        e->last_due = c->due = MAX(e->last_due, e->conn->sim->now + pipe_delay(e));
        *e->chunks_tail = c;
        e->chunks_tail = &c->next;
        e->on_the_way += len;
        pipe_arm(e);
        return c;
}

static struct chunk *pipe_take(struct sim_end *e)
{
        struct chunk *c = e->chunks;
        e->chunks = c->next;
        if (!e->chunks)
                e->chunks_tail = &e->chunks;
        e->on_the_way -= c->len;
        return c;
}

/* Loses all that E has on the way behind the first KEEP chunks. */
static void pipe_truncate(struct sim_end *e, uint64_t keep)
{
        struct chunk **at = &e->chunks;
        for (; *at && keep > 0; keep--)
                at = &(*at)->next;
        e->chunks_tail = at;
        while (*at) {
                struct chunk *c = *at;
                *at = c->next;
                e->on_the_way -= c->len;
                free(c);
        }
        if (!e->chunks)
                pipe_stop(e);
}

static uint64_t pipe_count(const struct sim_end *e)
{
        uint64_t n = 0;
        for (const struct chunk *c = e->chunks; c; c = c->next)
                n++;
        return n;
}

/* ---- life and death of connections --------------------------------------------------------------------------------
 */

static void end_init(struct sim_conn *c, int side, struct sim_node *node, const struct stream_ops *ops)
{
        struct sim_end *e = &c->end[side];
        e->base = (struct stream){.ops = ops, .loop = &node->loop};
        e->conn = c;
        e->node = node;
        e->chunks_tail = &e->chunks;
        e->inbox_tail = &e->inbox;
}

static void inbox_shift(struct sim_end *e)
{
        struct chunk *c = e->inbox;
        e->inbox = c->next;
        if (!e->inbox)
                e->inbox_tail = &e->inbox;
        e->first_read = 0;
        free(c);
}

static void inbox_drop(struct sim_end *e)
{
        while (e->inbox)
                inbox_shift(e);
        e->unread = 0;
}

/* Moves up to LEN bytes from the inbox of E to TO. */
static size_t inbox_read(struct sim_end *e, uint8_t *to, size_t len)
{
        size_t done = 0;
        while (e->inbox && done < len) {
                size_t take = MIN(len - done, e->inbox->len - e->first_read);
                memcpy(to + done, e->inbox->data + e->first_read, take);
                done += take;
                e->first_read += take;
                if (e->first_read == e->inbox->len)
                        inbox_shift(e);
        }
        e->unread -= done;
        return done;
}

static void conn_free(struct sim_conn *c)
{
        for (int side = 0; side < 2; side++) {
                pipe_truncate(&c->end[side], 0);
                inbox_drop(&c->end[side]);
        }
        if (c->prev)
                c->prev->next = c->next;
        else
                c->sim->conns = c->next;
        if (c->next)
                c->next->prev = c->prev;
        free(c);
}

/* Breaks C: nothing crosses any more, both ends see ERROR. */
static void conn_break(struct sim_conn *c, int error)
{
        for (int side = 0; side < 2; side++) {
                struct sim_end *e = &c->end[side];
                pipe_truncate(e, 0);
                if (e->error == 0)
                        e->error = error;
                end_update(e);
        }
}

static bool conn_is_between(const struct sim_conn *c, const struct sim_node *a, const struct sim_node *b)
{
        const struct sim_node *x = c->end[0].node, *y = c->end[1].node;
        return (x == a && y == b) || (x == b && y == a);
}

void sim_conns_resume(struct sim *s, const struct sim_node *a, const struct sim_node *b)
{
        for (struct sim_conn *c = s->conns; c; c = c->next) {
                for (int side = 0; conn_is_between(c, a, b) && side < 2; side++) {
                        struct sim_end *e = &c->end[side];
                        if (e->chunks && !e->crossing.loop)
                                e->chunks->due = MAX(e->chunks->due, s->now + pipe_delay(e));
                        pipe_arm(e);
                }
        }
}

void sim_conns_reset(struct sim *s, const struct sim_node *a, const struct sim_node *b)
{
        for (struct sim_conn *c = s->conns; c; c = c->next)
                if (conn_is_between(c, a, b))
                        conn_break(c, -ECONNRESET);
}

/* The node of E is gone. Of what it had sent, the peer gets a part chosen by the seed, then a reset. */
static void end_crash(struct sim_end *e)
{
        if (e->state != END_ABSENT)
                e->state = END_DEAD;
        end_update(e);
        pipe_truncate(end_peer(e), 0);
        if (e->error == 0) {
                pipe_truncate(e, sim_random(e->conn->sim, pipe_count(e) + 1));
                (void)pipe_send(e, CHUNK_RESET, 0);
        }
}

void sim_conns_crash(struct sim_node *n)
{
        for (struct sim_conn *c = n->sim->conns; c; c = c->next)
                for (int side = 0; side < 2; side++)
                        if (c->end[side].node == n)
                                end_crash(&c->end[side]);
        while (n->listeners) {
                struct sim_listener *l = n->listeners;
                n->listeners = l->next;
                l->node = NULL;
        }
}

unsigned sim_conns_left(const struct sim *s)
{
        unsigned n = 0;
        for (const struct sim_conn *c = s->conns; c; c = c->next)
                n += (c->end[0].state != END_ABSENT) + (c->end[1].state != END_ABSENT);
        return n;
}

/* ---- arrival ------------------------------------------------------------------------------------------------------
 */

static bool listener_matches(const struct sim_listener *l, const struct address *to)
{
        bool is_unix = to->sa.ss_family == AF_UNIX;
        if (is_unix != (l->at.sa.ss_family == AF_UNIX))
                return false;
        if (is_unix)
                return streq(((const struct sockaddr_un *)&l->at.sa)->sun_path,
                             ((const struct sockaddr_un *)&to->sa)->sun_path);
        return address_port(&l->at) == address_port(to);
}

static struct sim_listener *listener_find(const struct sim_node *n, const struct address *to)
{
        for (struct sim_listener *l = n->up ? n->listeners : NULL; l; l = l->next)
                if (listener_matches(l, to))
                        return l;
        return NULL;
}

static void arrive_connect(struct sim_end *server)
{
        struct sim_listener *l = listener_find(server->node, &server->conn->to);
        if (!l) {
                (void)pipe_send(server, CHUNK_REFUSED, 0);
                return;
        }
        server->state = END_OPEN;
        (void)pipe_send(server, CHUNK_ACCEPTED, 0);
        l->fn((struct listener *)l, &server->base, l->arg);
}

/* Takes C over. */
static void arrive_data(struct sim_end *e, struct chunk *c)
{
        if (e->state != END_OPEN || e->error != 0) {
                free(c);
                return;
        }
        c->next = NULL;
        *e->inbox_tail = c;
        e->inbox_tail = &c->next;
        e->unread += c->len;
}

static void chunk_apply(struct sim_end *e, enum chunk_kind kind)
{
        switch (kind) {
        case CHUNK_CONNECT:
                return arrive_connect(e); /* calls the program: E may be gone */
        case CHUNK_ACCEPTED:
                e->state = e->state == END_CONNECTING ? END_OPEN : e->state;
                break;
        case CHUNK_REFUSED:
                e->error = -ECONNREFUSED;
                break;
        case CHUNK_DATA: /* in the inbox */
                break;
        case CHUNK_END:
                e->at_end = true;
                break;
        case CHUNK_RESET:
                e->error = e->error ? e->error : -ECONNRESET;
                break;
        }
        struct sim_end *sender = end_peer(e);
        end_update(e);
        end_update(sender);
}

void sim_chunk_arrive(struct sim *s)
{
        struct sim_end *from = CONTAINER_OF(timer_heap_first(&s->crossing), struct sim_end, crossing);
        struct sim_conn *conn = from->conn;
        const struct sim_link *link = conn_link(conn);
        pipe_stop(from);
        if (link->cut)
                return;
        if (link->drop_per_million > 0 && sim_random(s, 1000000) < link->drop_per_million) {
                conn_break(conn, -ECONNRESET);
                return;
        }
        struct chunk *c = pipe_take(from);
        enum chunk_kind kind = c->kind;
        pipe_arm(from);
        sim_trace(s, SIM_TRACE_CHUNK, conn->id * 2 + (from == &conn->end[1]),
                  (uint64_t)kind ^ sim_digest(c->data, c->len));
        if (kind == CHUNK_DATA)
                arrive_data(end_peer(from), c);
        else
                free(c);
        chunk_apply(end_peer(from), kind);
}

/* ---- streams ------------------------------------------------------------------------------------------------------
 */

static ssize_t sim_readv(struct stream *base, const struct iovec *iov, int n)
{
        struct sim_end *e = end_of(base);
        if (e->state == END_DEAD)
                return -ECONNRESET;
        size_t done = 0;
        for (int i = 0; i < n; i++)
                done += inbox_read(e, iov[i].iov_base, iov[i].iov_len);
        if (done == 0 && e->at_end)
                return 0;
        if (done == 0)
                return e->error ? e->error : -EAGAIN;
        end_update(e);
        end_update(end_peer(e));
        return (ssize_t)done;
}

static ssize_t sim_writev(struct stream *base, const struct iovec *iov, int n)
{
        struct sim_end *e = end_of(base);
        if (e->state == END_DEAD || e->at_end || e->error != 0)
                return -EPIPE;
        size_t total = 0;
        for (int i = 0; i < n; i++)
                total += iov[i].iov_len;
        size_t len = MIN(total, end_room(e));
        if (total == 0)
                return 0;
        if (len == 0 || e->state == END_CONNECTING)
                return -EAGAIN;
        if (sim_random(e->conn->sim, PARTIAL_ONE_IN) == 0)
                len = 1 + sim_random(e->conn->sim, len);

        struct chunk *c = pipe_send(e, CHUNK_DATA, len);
        size_t at = 0;
        for (int i = 0; i < n && at < len; i++) {
                size_t take = MIN(iov[i].iov_len, len - at);
                if (take > 0)
                        memcpy(c->data + at, iov[i].iov_base, take);
                at += take;
        }
        end_update(e);
        return (ssize_t)len;
}

static void sim_watch(struct stream *base, unsigned events)
{
        struct sim_end *e = end_of(base);
        e->watched = events;
        end_update(e);
}

static int sim_fd(const struct stream *base)
{
        return -ENOTSUP;
}

static int sim_peer(const struct stream *base, struct address *ret)
{
        const struct sim_end *e = CONTAINER_OF(base, const struct sim_end, base);
        if (e->state == END_CONNECTING || e->error != 0)
                return -ENOTCONN;
        *ret = e->peer;
        return 0;
}

static void sim_stream_free(struct stream *base)
{
        struct sim_end *e = end_of(base);
        bool tell_peer = e->state != END_DEAD && !e->error;
        base->on_event = NULL;
        e->state = END_ABSENT;
        end_update(e);
        if (end_peer(e)->state == END_ABSENT) {
                conn_free(e->conn);
                return;
        }
        if (tell_peer)
                (void)pipe_send(e, CHUNK_END, 0);
        inbox_drop(e);
        end_update(end_peer(e));
}

static const struct stream_ops sim_stream_ops = {
        .readv = sim_readv,
        .writev = sim_writev,
        .watch = sim_watch,
        .fd = sim_fd,
        .peer = sim_peer,
        .free = sim_stream_free,
};

/* ---- connecting and listening -------------------------------------------------------------------------------------
 */

static void address_set_port(struct address *a, uint16_t port)
{
        /* the port is at the same place in both families */
        struct sockaddr_in in;
        memcpy(&in, &a->sa, sizeof in);
        in.sin_port = htons(port);
        memcpy(&a->sa, &in, sizeof in);
}

static uint16_t node_take_port(struct sim_node *n)
{
        uint16_t port = (uint16_t)(FIRST_PORT + n->next_port);
        n->next_port = (uint16_t)((n->next_port + 1) % (UINT16_MAX - FIRST_PORT));
        return port;
}

/* What the server will see as its peer. */
static void connect_source(struct sim_node *n, const struct address *to, const struct address *from,
                           struct address *ret)
{
        if (to->sa.ss_family == AF_UNIX) {
                *ret = (struct address){.sa.ss_family = AF_UNIX, .len = sizeof(sa_family_t)};
                return;
        }
        uint16_t port = from ? address_port(from) : 0;
        struct address own;
        sim_address_of(n, 0, &own);
        *ret = sim_node_at(n, to) == n ? *to : own; /* 127.0.0.1 talks to 127.0.0.1 */
        address_set_port(ret, port ? port : node_take_port(n));
}

int sim_connect(struct loop *loop, const struct address *to, const struct address *from, struct stream **ret)
{
        struct sim_node *n = CONTAINER_OF(loop, struct sim_node, loop);
        struct sim *s = n->sim;
        if (!n->up)
                return -ENETDOWN;
        struct sim_node *server = sim_node_at(n, to);
        if (!server)
                return -ENETUNREACH;
        if (to->sa.ss_family == AF_UNIX && !listener_find(n, to))
                return -ENOENT;
        struct sim_conn *c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->sim = s;
        c->id = s->next_conn_id++;
        c->to = *to;
        end_init(c, 0, n, &sim_stream_ops);
        end_init(c, 1, server, &sim_stream_ops);
        c->end[0].peer = *to;
        connect_source(n, to, from, &c->end[1].peer);
        c->next = s->conns;
        if (s->conns)
                s->conns->prev = c;
        s->conns = c;
        c->end[0].state = END_CONNECTING;
        (void)pipe_send(&c->end[0], CHUNK_CONNECT, 0);
        *ret = &c->end[0].base;
        return 0;
}

static int listener_choose_port(struct sim_node *n, struct address *at)
{
        for (int i = 0; i < UINT16_MAX - FIRST_PORT; i++) {
                address_set_port(at, node_take_port(n));
                if (!listener_find(n, at))
                        return 0;
        }
        return -EADDRINUSE;
}

int sim_listen(struct loop *loop, const struct address *at, accept_fn fn, void *arg, struct listener **ret)
{
        struct sim_node *n = CONTAINER_OF(loop, struct sim_node, loop);
        if (!n->up)
                return -ENETDOWN;
        if (sim_node_at(n, at) != n)
                return -EADDRNOTAVAIL;
        struct address where = *at;
        if (at->sa.ss_family != AF_UNIX && address_port(at) == 0) {
                int r = listener_choose_port(n, &where);
                if (r < 0)
                        return r;
        }
        if (listener_find(n, &where))
                return -EADDRINUSE;
        struct sim_listener *l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        *l = (struct sim_listener){.next = n->listeners, .node = n, .at = where, .fn = fn, .arg = arg};
        n->listeners = l;
        *ret = (struct listener *)l;
        return 0;
}

int sim_listener_address(struct listener *base, struct address *ret)
{
        *ret = ((struct sim_listener *)base)->at;
        return 0;
}

void sim_listener_free(struct listener *base)
{
        struct sim_listener *l = (struct sim_listener *)base;
        if (l->node) {
                struct sim_listener **at = &l->node->listeners;
                while (*at != l)
                        at = &(*at)->next;
                *at = l->next;
        }
        free(l);
}
