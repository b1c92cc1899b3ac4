/* Connections that have no brick yet: accepted, and served on the control loop until SETVOLUME names a brick; then
 * handed to one of its lanes, round robin. A connection that has not got that far after GREETING_SECONDS is closed.
 * Control loop only.
 */
#include <fcntl.h>

#include "base/log.h"
#include "brick/lane.h"

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
        int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
        c->stream = stream_free(c->stream);
        c->fd = fd;
        export_add_conn(x, c);
        struct lane *l = fd >= 0 ? lane_for(x) : NULL;
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
        size_t size;
        uint8_t *at = record_reader_space(&c->in, READ_SIZE, &size);
        if (!at)
                return false;
        ssize_t n = stream_readv(c->stream, &(struct iovec){at, size}, 1);
        if (n == -EAGAIN || n == -EINTR)
                return true;
        if (n > 0)
                record_reader_filled(&c->in, (size_t)n);
        return n > 0;
}

static void greeter_event(struct stream *s, unsigned events, void *arg)
{
        struct conn *c = arg;
        struct export *x = NULL;
        if (!greeter_read(c) || !greeter_records(c, &x)) {
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
        c->export_next = p->greeting;
        if (p->greeting)
                p->greeting->export_prev = c;
        p->greeting = c;
        timer_start(p->loop, &c->greeting, GREETING_SECONDS * NS_PER_SEC, greeting_over);
        stream_watch(s, STREAM_READABLE, greeter_event, c);
}
