/* Connections that have no brick yet: accepted, and served on the control loop until SETVOLUME names a brick; then
 * handed to one of its lanes, round robin. A connection that has not got that far after GREETING_SECONDS is closed.
 * The first byte says whether the client speaks TLS: then the doorman has the connection until the handshake is done.
 * Control loop only.
 */
#include "base/log.h"
#include "brick/doorman.h"
#include "brick/lane.h"
#include "brick/transport.h"

#define GREETING_SECONDS 120
#define READ_SIZE (4 * KIB)

static void greeter_unlink(struct conn *c)
{
        if (c->export_prev)
                c->export_prev->export_next = c->export_next;
        else
                c->process->greeting = c->export_next;
        if (c->export_next)
                c->export_next->export_prev = c->export_prev;
        c->export_prev = c->export_next = NULL;
        timer_stop(&c->greeting);
}

static void greeter_close(struct conn *c)
{
        greeter_unlink(c);
        conn_unref(c);
}

void greeter_close_all(struct process *p)
{
        while (p->greeting)
                greeter_close(p->greeting);
}

static void greeting_over(struct timer *t)
{
        greeter_close(CONTAINER_OF(t, struct conn, greeting));
}

static struct lane *lane_for(struct export *x)
{
        struct lane **at = &x->lanes[x->next_lane++ % x->process->lanes_per_brick];
        if (!*at) {
                int r = lane_new(x, at);
                if (r < 0)
                        log_error("greeter", "Brick %s cannot take another client: %s.", x->config.path, strerror(-r));
        }
        return *at;
}

/* C leaves the control loop for a lane of X. */
static void greeter_hand_over(struct conn *c, struct export *x)
{
        greeter_unlink(c);
        int r = conn_leave_loop(c);
        export_add_conn(x, c);
        struct lane *l = r == 0 ? lane_for(x) : NULL;
        if (!l || lane_add(l, c) < 0)
                conn_unref(c);
}

/* One record. False: close. *RET_EXPORT: the brick it may use from now on. */
static bool greeter_record(struct conn *c, struct slice record, struct export **ret_export)
{
        struct rpc_call call;
        enum rpc_status status;
        int direction = rpc_direction(record);
        if (direction < 0)
                return false;
        if (direction == RPC_REPLY)
                return true;
        if (rpc_call_decode(record, &call, &status) < 0) {
                if (status != RPC_SUCCESS)
                        conn_reply(c, call.xid, status, NULL, NULL);
                return status != RPC_SUCCESS;
        }
        handshake_serve(c, &call, &c->process->arena, ret_export);
        arena_reset(&c->process->arena);
        return true;
}

/* False: close. */
static bool greeter_records(struct conn *c, struct export **ret_export)
{
        struct slice record;
        int r;
        while (!*ret_export && (r = record_reader_next(&c->in, &record, &c->missing)) != 0)
                if (r < 0 || !greeter_record(c, record, ret_export))
                        return false;
        return true;
}

static bool greeter_read(struct conn *c)
{
        _cleanup_buf_ struct buf scratch = BUF_INIT(READ_SIZE);
        ssize_t n = transport_read(c, READ_SIZE, &scratch);
        return n > 0 || n == -EAGAIN || n == -EINTR;
}

/* Looks at the first byte of a connection. */
static bool greeter_finds_tls(struct conn *c)
{
        if (c->sniffed || c->in.in.len == c->in.start)
                return false;
        c->sniffed = true;
        return c->in.in.data[c->in.start] == TLS_FIRST_BYTE;
}

static void greeter_to_doorman(struct conn *c)
{
        struct process *p = c->process;
        if (!p->doorman)
                log_warning("greeter", "The client at %s speaks TLS, but no brick served here has it on: it is turned "
                            "away. Set server.ssl on, or client.ssl off.", c->peer);
        greeter_unlink(c);
        if (p->doorman && conn_leave_loop(c) == 0)
                doorman_admit(p->doorman, c);
        else
                conn_unref(c);
}

/* Deals with what was read. */
static void greeter_go_on(struct conn *c)
{
        struct export *x = NULL;
        if (!greeter_records(c, &x)) {
                greeter_close(c);
                return;
        }
        if (x) {
                greeter_hand_over(c, x);
                return;
        }
        if (c->in.in.len == c->in.start && !c->in.joining) { /* an idle connection keeps no buffer */
                size_t limit = c->in.limit;
                record_reader_done(&c->in);
                record_reader_init(&c->in, limit);
        }
}

static void greeter_event(struct stream *s, unsigned events, void *arg)
{
        struct conn *c = arg;
        if (!greeter_read(c))
                greeter_close(c);
        else if (greeter_finds_tls(c))
                greeter_to_doorman(c);
        else
                greeter_go_on(c);
}

static void greeter_link(struct conn *c)
{
        struct process *p = c->process;
        c->export_next = p->greeting;
        if (p->greeting)
                p->greeting->export_prev = c;
        p->greeting = c;
        timer_start(p->loop, &c->greeting, GREETING_SECONDS * NS_PER_SEC, greeting_over);
}

void greeter_return(struct conn *c)
{
        struct process *p = c->process;
        int r = p->stopping ? -ESHUTDOWN
                            : loop_watch_fd(p->loop, c->fd, STREAM_READABLE, greeter_event, c, &c->stream);
        if (r < 0) {
                conn_unref(c);
                return;
        }
        greeter_link(c);
        greeter_go_on(c);
}

void greeter_accept(struct listener *l, struct stream *s, void *arg)
{
        struct process *p = arg;
        bool room = atomic_load(&p->conn_count) < p->conn_max;
        if (!room)
                log_warning("greeter", "A client was turned away: there are %u connections, and no more are allowed.",
                            p->conn_max);
        struct conn *c = room ? conn_new(p, s) : NULL;
        if (!c) {
                stream_free(s);
                return;
        }
        greeter_link(c);
        stream_watch(s, STREAM_READABLE, greeter_event, c);
}
