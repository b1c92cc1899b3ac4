/* Connections: output, limits, references (conn.h). Any thread, as said there.
 *
 * Output goes to the socket at once if nothing waits before it; the rest is kept and sent when the socket takes more.
 * With TLS it is encrypted into `out` first and sent from there, so what is kept is always as it goes to the socket. A
 * connection that does not read is not read from beyond unread_limit(), and given up at CONN_OUTPUT_MAX.
 * Flags that decide whether it is read (`stalled`, `armed`) change under `lock` only; what they depend on are atomics,
 * and whoever lowers one of those looks at `stalled` afterwards, so no wake-up is lost.
 */
#include "brick/conn.h"

#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "brick/lane.h"
#include "brick/lender.h"
#include "brick/transport.h"
#include "brick/unread.h"
#include "proto/handshake.h"

#define GREETING_RECORD_LIMIT (64 * KIB) /* a SETVOLUME is a few KiB */
#define REPLY_MAX MIB
#define OUTPUT_KEPT (16 * KIB)

struct welcome *welcome_free(struct welcome *w)
{
        if (w) {
                free(w->client_uid);
                free(w->subdir);
                free(w->process_name);
                free(w->client_version);
                free(w);
        }
        return NULL;
}

/* ---- lifetime ---------------------------------------------------------------------------------------------------- */

static void conn_set_peer(struct conn *c)
{
        struct address a;
        char text[ADDRESS_TEXT_MAX];
        if (stream_peer(c->stream, &a) < 0)
                return;
        c->peer_port = address_port(&a);
        (void)snprintf(c->peer, sizeof c->peer, "%s", address_format(&a, text));
        char *end = strrchr(c->peer, ':');
        if (end)
                *end = '\0';
        size_t len = strlen(c->peer);
        if (c->peer[0] == '[' && len > 2 && c->peer[len - 1] == ']') {
                c->peer[len - 1] = '\0';
                memmove(c->peer, c->peer + 1, len - 1);
        }
}

struct conn *conn_new(struct process *p, struct stream *stream)
{
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
                return NULL;
        c->process = p;
        c->stream = stream;
        c->fd = stream_fd(stream);
        c->resumed_tail = &c->resumed;
        atomic_init(&c->refs, 1);
        pthread_mutex_init(&c->lock, NULL);
        record_reader_init(&c->in, GREETING_RECORD_LIMIT);
        c->out = BUF_INIT(CONN_OUTPUT_MAX);
        conn_set_peer(c);
        atomic_fetch_add(&p->conn_count, 1);
        return c;
}

int conn_leave_loop(struct conn *c)
{
        int fd = c->own_fd ? c->fd : fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
        int r = fd < 0 ? -errno : 0;
        c->stream = stream_free(c->stream);
        c->fd = fd;
        c->own_fd = true;
        return r;
}

struct conn *conn_ref(struct conn *c)
{
        atomic_fetch_add(&c->refs, 1);
        return c;
}

static void conn_free(struct conn *c)
{
        struct process *p = c->process;
        session_close(atomic_load(&c->session));
        if (c->export) /* before its descriptor is closed: the control loop shuts down what is in the export's list */
                export_remove_conn(c->export, c);
        lender_forget(c);
        stream_free(c->stream);
        if (c->own_fd)
                close_fd(c->fd);
        tls_session_free(c->tls);
        record_reader_done(&c->in);
        (void)unfinished_set(c, 0);
        unread_set(c, 0);
        buf_done(&c->out);
        welcome_free(c->welcome);
        free(c->subdir);
        pthread_mutex_destroy(&c->lock);
        free(c);
        atomic_fetch_sub(&p->conn_count, 1);
}

struct conn *conn_unref(struct conn *c)
{
        if (c && atomic_fetch_sub(&c->refs, 1) == 1)
                conn_free(c);
        return NULL;
}

/* ---- parked calls ------------------------------------------------------------------------------------------------- */

struct resumed {
        struct resumed *next;
        struct parked_call *call;
};

/* A reference, unless the last one is gone and the session is being closed. */
static bool conn_try_ref(struct conn *c)
{
        unsigned refs = atomic_load(&c->refs);
        while (refs > 0)
                if (atomic_compare_exchange_weak(&c->refs, &refs, refs + 1))
                        return true;
        return false;
}

static void forget_resumed(void *arg)
{
        struct conn *c = arg;
        struct parked_call *p;
        while ((p = conn_take_resumed(c)) != NULL)
                session_forget(p);
        conn_unref(c);
}

static void nothing_left(void *arg)
{
        (void)arg;
}

/* Control loop: only here a lane that loses its last connection is freed, so that of an open one is there. */
static void resume_posted(void *arg)
{
        struct conn *c = arg;
        if (!atomic_load(&c->closed))
                lane_resume(c->lane, c);
        else if (task_start(c->process, forget_resumed, nothing_left, c) < 0)
                forget_resumed(c); /* the last reference goes here, on the control loop, rather than never */
}

bool conn_resume_call(void *conn, struct parked_call *p)
{
        struct conn *c = conn;
        struct resumed *r = malloc(sizeof *r);
        if (!r || !conn_try_ref(c)) {
                free(r);
                return false;
        }
        *r = (struct resumed){.call = p};
        pthread_mutex_lock(&c->lock);
        *c->resumed_tail = r;
        c->resumed_tail = &r->next;
        pthread_mutex_unlock(&c->lock);
        while (loop_post(c->process->loop, resume_posted, c) < 0)
                (void)usleep(1000);
        return true;
}

struct parked_call *conn_take_resumed(struct conn *c)
{
        pthread_mutex_lock(&c->lock);
        struct resumed *r = c->resumed;
        if (r) {
                c->resumed = r->next;
                if (!c->resumed)
                        c->resumed_tail = &c->resumed;
        }
        pthread_mutex_unlock(&c->lock);
        struct parked_call *p = r ? r->call : NULL;
        free(r);
        return p;
}

bool conn_has_resumed(struct conn *c)
{
        pthread_mutex_lock(&c->lock);
        bool has = c->resumed != NULL;
        pthread_mutex_unlock(&c->lock);
        return has;
}

/* ---- what the connection waits for ------------------------------------------------------------------------------- */

static bool below_limits(const struct conn *c)
{
        uint32_t limit = c->export ? atomic_load(&c->export->outstanding_limit) : 0;
        if (c->export && atomic_load(&c->export->quiet))
                return false;
        return (limit == 0 || atomic_load(&c->outstanding) < limit) && atomic_load(&c->queued) < CONN_QUEUED_HIGH &&
               atomic_load(&c->unsent) + atomic_load(&c->promised) < unread_limit(c);
}

/* Under the lock. */
static void arm_locked(struct conn *c)
{
        if (!c->lane || atomic_load(&c->closed))
                return;
        uint32_t want = EPOLLRDHUP;
        if (!c->stalled)
                want |= EPOLLIN;
        if (atomic_load(&c->unsent) > 0)
                want |= EPOLLOUT;
        if (want == c->armed)
                return;
        if (lane_watch(c->lane, c, want, c->armed != 0) < 0)
                atomic_store(&c->unwatched, true); /* only at the first time: it is in the pending list then */
        c->armed = want;
}

void conn_arm(struct conn *c)
{
        pthread_mutex_lock(&c->lock);
        arm_locked(c);
        pthread_mutex_unlock(&c->lock);
}

bool conn_may_read(struct conn *c)
{
        if (below_limits(c))
                return true;
        pthread_mutex_lock(&c->lock);
        c->stalled = !below_limits(c);
        arm_locked(c);
        bool stalled = c->stalled;
        pthread_mutex_unlock(&c->lock);
        return !stalled;
}

bool conn_resume(struct conn *c)
{
        pthread_mutex_lock(&c->lock);
        bool resumed = c->stalled && below_limits(c);
        if (resumed) {
                c->stalled = false;
                arm_locked(c);
        }
        pthread_mutex_unlock(&c->lock);
        return resumed;
}

void conn_mark_closed(struct conn *c)
{
        pthread_mutex_lock(&c->lock);
        atomic_store(&c->closed, true);
        pthread_mutex_unlock(&c->lock);
        conn_shutdown(c);
}

void conn_shutdown(struct conn *c)
{
        (void)shutdown(c->fd, SHUT_RDWR);
}

/* ---- output
 * --------------------------------------------------------------------------------------------------------------------
 */

/* Nothing can be sent any more; the reader of the connection sees the shutdown and ends it. */
static void output_fail(struct conn *c)
{
        atomic_store(&c->closed, true);
        conn_shutdown(c);
}

/* Keeps what is left after the first SENT bytes. */
static void output_keep(struct conn *c, const struct iovec *iov, int n, size_t sent)
{
        for (int i = 0; i < n; i++) {
                size_t skip = MIN(sent, iov[i].iov_len);
                sent -= skip;
                if (skip < iov[i].iov_len)
                        (void)buf_append(&c->out, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip);
        }
        if (c->out.error || !c->lane || unread_is_full(c)) {
                output_fail(c);
                return;
        }
        unread_set(c, c->out.len - c->out_start);
        arm_locked(c);
}

static void flush_locked(struct conn *c)
{
        struct iovec iov = {c->out.data + c->out_start, c->out.len - c->out_start};
        ssize_t sent = iov.iov_len > 0 ? transport_send(c, &iov, 1) : 0;
        if (sent < 0) {
                output_fail(c);
                return;
        }
        c->out_start += (size_t)sent;
        if (sent > 0)
                unread_progress(c);
        if (c->out_start == c->out.len) {
                buf_reset(&c->out, OUTPUT_KEPT);
                c->out_start = 0;
        } else if (c->out_start > CONN_OUTPUT_HIGH / 4) {
                buf_consume(&c->out, c->out_start);
                c->out_start = 0;
        }
        unread_set(c, c->out.len - c->out_start);
        if (c->out.len == 0)
                buf_done(&c->out);
        else if (!c->lane)
                output_fail(c); /* nobody would send the rest */
        arm_locked(c);
}

static void send_plain(struct conn *c, const struct iovec *iov, int n)
{
        size_t total = 0;
        for (int i = 0; i < n; i++)
                total += iov[i].iov_len;
        ssize_t sent = atomic_load(&c->unsent) == 0 ? transport_send(c, iov, n) : 0;
        if (sent < 0)
                output_fail(c);
        else if ((size_t)sent < total)
                output_keep(c, iov, n, (size_t)sent);
}

static void send_encrypted(struct conn *c, const struct iovec *iov, int n)
{
        if (transport_encrypt(c, iov, n) < 0)
                output_fail(c);
        else if (atomic_load(&c->unsent) == 0)
                flush_locked(c);
        else
                unread_set(c, c->out.len - c->out_start);
}

void conn_send(void *conn, const struct iovec *iov, int n)
{
        struct conn *c = conn;
        pthread_mutex_lock(&c->lock);
        if (!atomic_load(&c->closed)) {
                if (c->tls)
                        send_encrypted(c, iov, n);
                else
                        send_plain(c, iov, n);
        }
        pthread_mutex_unlock(&c->lock);
}

void conn_flush(struct conn *c)
{
        pthread_mutex_lock(&c->lock);
        if (!atomic_load(&c->closed))
                flush_locked(c);
        pthread_mutex_unlock(&c->lock);
}

void conn_reply(struct conn *c, uint32_t xid, enum rpc_status status, const struct msg_desc *desc, const void *msg)
{
        _cleanup_buf_ struct buf b = BUF_INIT(REPLY_MAX);
        size_t begin = record_begin(&b);
        rpc_reply_encode(&b, xid, status);
        if (desc)
                msg_encode(desc, msg, &b);
        record_end(&b, begin, 0);
        if (b.error)
                conn_shutdown(c);
        else
                conn_send(c, &(struct iovec){b.data, b.len}, 1);
}

void conn_callback(struct conn *c, uint32_t proc)
{
        _cleanup_buf_ struct buf b = BUF_INIT(KIB);
        const struct rpc_call call = {.xid = 1, .prog = CALLBACK_PROGRAM, .vers = CALLBACK_VERSION, .proc = proc};
        size_t begin = record_begin(&b);
        rpc_call_encode(&b, &call);
        record_end(&b, begin, 0);
        if (!b.error)
                conn_send(c, &(struct iovec){b.data, b.len}, 1);
}
