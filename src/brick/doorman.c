/* TLS handshakes of clients. See doorman.h.
 *
 *   - `arrived`, `ready` and `fresh` are where the control loop and the doorman's thread meet, under `lock`; a post on
 *     the other's loop says that there is something
 *   - everything else belongs to the thread until it is joined
 *   - a connection is in exactly one of: `arrived`, the list of those that shake hands, `ready`; each holds its
 *     open-reference
 */
#include "brick/doorman.h"

#include "base/log.h"
#include "brick/server.h"
#include "brick/transport.h"

#define COMPONENT "doorman"
#define READ_SIZE (4 * KIB)

struct conn_queue {
        struct conn *first, **last;
};

struct doorman {
        struct process *process;
        struct loop *loop;
        pthread_t thread;

        struct tls_source source;
        unsigned rules; /* the number of SOURCE's settings */
        struct conn *oldest, *newest; /* shaking hands; export_next leads to newer ones */
        unsigned count;

        pthread_mutex_t lock;
        struct conn_queue arrived, ready; /* by pending_next */
        struct tls_settings fresh_settings;
        struct tls_context *fresh; /* to be used from now on */
        unsigned fresh_rules;      /* changes with the settings */
        bool stop;
};

/* ---- queues; under the lock -------------------------------------------------------------------------------------- */

static void queue_push(struct conn_queue *q, struct conn *c)
{
        c->pending_next = NULL;
        *q->last = c;
        q->last = &c->pending_next;
}

static struct conn *queue_pop(struct conn_queue *q)
{
        struct conn *c = q->first;
        if (!c)
                return NULL;
        q->first = c->pending_next;
        if (!q->first)
                q->last = &q->first;
        return c;
}

static void post(struct loop *loop, post_fn fn, void *arg)
{
        while (loop_post(loop, fn, arg) < 0)
                (void)usleep(1000);
}

/* ---- those that shake hands; the thread ---------------------------------------------------------------------------- */

static void list_add(struct doorman *d, struct conn *c)
{
        c->export_prev = d->newest;
        c->export_next = NULL;
        if (d->newest)
                d->newest->export_next = c;
        else
                d->oldest = c;
        d->newest = c;
        d->count++;
}

static void list_remove(struct doorman *d, struct conn *c)
{
        if (c->export_prev)
                c->export_prev->export_next = c->export_next;
        else
                d->oldest = c->export_next;
        if (c->export_next)
                c->export_next->export_prev = c->export_prev;
        else
                d->newest = c->export_prev;
        c->export_prev = c->export_next = NULL;
        d->count--;
        timer_stop(&c->greeting);
        c->stream = stream_free(c->stream);
}

static void turn_away(struct doorman *d, struct conn *c, const char *why)
{
        log_warning(COMPONENT, "The TLS client at %s was turned away: %s.", c->peer, why);
        list_remove(d, c);
        conn_unref(c);
}

static void handshake_late(struct timer *t)
{
        struct conn *c = CONTAINER_OF(t, struct conn, greeting);
        turn_away(c->process->doorman, c, "it did not finish the handshake in time");
}

static void handshake_done(struct doorman *d, struct conn *c)
{
        list_remove(d, c);
        log_debug(COMPONENT, "The client at %s speaks %s, certificate of '%s'.", c->peer, tls_session_cipher(c->tls),
                  tls_session_peer_name(c->tls));
        pthread_mutex_lock(&d->lock);
        queue_push(&d->ready, c);
        pthread_mutex_unlock(&d->lock);
        post(d->process->loop, doorman_let_in, d->process);
}

/* DATA came from the client. C may be gone afterwards. */
static void handshake_step(struct doorman *d, struct conn *c, const void *data, size_t len)
{
        pthread_mutex_lock(&c->lock);
        tls_session_feed(c->tls, data, len);
        int r = tls_session_handshake(c->tls);
        bool done = r == 0;
        if (done)
                r = transport_decrypt(c);
        pthread_mutex_unlock(&c->lock);
        conn_flush(c);
        if (r != -EAGAIN)
                turn_away(d, c, r == 0 ? "it ended the connection during the handshake" : tls_session_error(c->tls));
        else if (done)
                handshake_done(d, c);
}

static void handshake_event(struct stream *s, unsigned events, void *arg)
{
        struct conn *c = arg;
        uint8_t data[READ_SIZE];
        ssize_t n = read(c->fd, data, sizeof data);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0)
                turn_away(c->process->doorman, c, "it ended the connection during the handshake");
        else
                handshake_step(c->process->doorman, c, data, (size_t)n);
}

static int handshake_prepare(struct doorman *d, struct conn *c)
{
        int r = tls_session_new(d->source.context, TLS_SERVER, &c->out, &c->tls);
        if (r < 0)
                return r;
        c->tls_rules = d->rules;
        return loop_watch_fd(d->loop, c->fd, STREAM_READABLE, handshake_event, c, &c->stream);
}

static void handshake_begin(struct doorman *d, struct conn *c)
{
        struct record_reader first = c->in;
        record_reader_init(&c->in, first.limit);
        if (d->count >= DOORMAN_MAX)
                turn_away(d, d->oldest, "too many are in the middle of a handshake, and it for the longest time");
        list_add(d, c);
        timer_start(d->loop, &c->greeting, DOORMAN_SECONDS * NS_PER_SEC, handshake_late);
        int r = handshake_prepare(d, c);
        if (r < 0)
                turn_away(d, c, strerror(-r));
        else
                handshake_step(d, c, first.in.data + first.start, first.in.len - first.start);
        record_reader_done(&first);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void refresh_files(struct doorman *d)
{
        switch (tls_source_refresh(&d->source, loop_now(d->loop))) {
        case TLS_SOURCE_SAME:
                return;
        case TLS_SOURCE_READ_AGAIN:
                log_notice(COMPONENT, "The TLS files have changed and were read again.");
                if (*tls_context_warning(d->source.context))
                        log_warning(COMPONENT, "%s", tls_context_warning(d->source.context));
                return;
        case TLS_SOURCE_FAILED:
                log_error(COMPONENT, "The TLS files have changed and cannot be used; the former ones stay in use. %s",
                          d->source.error.text);
        }
}

static void look(void *arg)
{
        struct doorman *d = arg;
        pthread_mutex_lock(&d->lock);
        bool stop = d->stop;
        struct tls_context *fresh = TAKE_PTR(d->fresh);
        if (fresh) {
                tls_source_set(&d->source, &d->fresh_settings, fresh);
                d->rules = d->fresh_rules;
        }
        struct conn *c = stop ? NULL : queue_pop(&d->arrived);
        pthread_mutex_unlock(&d->lock);
        if (stop) {
                loop_stop(d->loop);
        } else if (c) {
                refresh_files(d);
                handshake_begin(d, c);
        }
}

static void *doorman_main(void *arg)
{
        struct doorman *d = arg;
        int r = loop_run(d->loop);
        if (r < 0)
                log_error(COMPONENT, "The event loop of TLS handshakes failed: %s.", strerror(-r));
        while (d->oldest) {
                struct conn *c = d->oldest;
                list_remove(d, c);
                conn_unref(c);
        }
        return NULL;
}

/* ---- the control loop's side ------------------------------------------------------------------------------------- */

int doorman_new(struct process *p, struct doorman **ret)
{
        struct doorman *d = calloc(1, sizeof *d);
        if (!d)
                return -ENOMEM;
        d->process = p;
        d->arrived.last = &d->arrived.first;
        d->ready.last = &d->ready.first;
        pthread_mutex_init(&d->lock, NULL);
        int r = loop_epoll_new(&d->loop);
        if (r == 0)
                r = thread_start_joinable("doorman", doorman_main, d, &d->thread);
        if (r < 0) {
                loop_free(d->loop);
                pthread_mutex_destroy(&d->lock);
                free(d);
                return r;
        }
        *ret = d;
        return 0;
}

static void queue_close(struct conn_queue *q)
{
        for (struct conn *c; (c = queue_pop(q));)
                conn_unref(c);
}

struct doorman *doorman_free(struct doorman *d)
{
        if (!d)
                return NULL;
        pthread_mutex_lock(&d->lock);
        d->stop = true;
        pthread_mutex_unlock(&d->lock);
        post(d->loop, look, d);
        (void)pthread_join(d->thread, NULL);
        queue_close(&d->arrived);
        queue_close(&d->ready);
        tls_source_done(&d->source);
        (void)tls_context_unref(d->fresh);
        loop_free(d->loop);
        pthread_mutex_destroy(&d->lock);
        free(d);
        return NULL;
}

void doorman_use(struct doorman *d, const struct tls_settings *settings, struct tls_context *context)
{
        pthread_mutex_lock(&d->lock);
        (void)tls_context_unref(d->fresh);
        d->fresh = context;
        if (!tls_settings_equal(&d->fresh_settings, settings))
                d->fresh_rules++;
        d->fresh_settings = *settings;
        pthread_mutex_unlock(&d->lock);
        post(d->loop, look, d);
}

bool doorman_believes(struct doorman *d, const struct conn *c)
{
        pthread_mutex_lock(&d->lock);
        bool same = c->tls_rules == d->fresh_rules;
        pthread_mutex_unlock(&d->lock);
        return same;
}

void doorman_admit(struct doorman *d, struct conn *c)
{
        pthread_mutex_lock(&d->lock);
        queue_push(&d->arrived, c);
        pthread_mutex_unlock(&d->lock);
        post(d->loop, look, d);
}

void doorman_let_in(void *arg)
{
        struct process *p = arg;
        struct doorman *d = p->doorman;
        struct conn *c = NULL;
        if (d) {
                pthread_mutex_lock(&d->lock);
                c = queue_pop(&d->ready);
                pthread_mutex_unlock(&d->lock);
        }
        if (c)
                greeter_return(c);
}
