/* TLS over a stream. See tls_stream.h.
 *
 *      CONNECTING --> HANDSHAKE --> OPEN --> BROKEN
 *          \______________\_________________/
 *
 * Level-triggered like the streams below: what the session still holds is announced by the timer `again`, which runs
 * whenever a read stopped before the session was empty, and while BROKEN has not been read.
 * The owner may free the stream in its callback, so calling it is the last thing any function here does.
 */
#include "rpc/tls_stream.h"

#define TIMEOUT_DEFAULT (30 * NS_PER_SEC)
#define IN_SIZE (32 * KIB)
#define OUT_HIGH (64 * KIB)  /* unsent bytes at which nothing more is taken */
#define WRITE_MAX (128 * KIB) /* taken at a time */
#define OUT_MAX (MIB)
#define OUT_KEPT (4 * KIB)

enum state { CONNECTING, HANDSHAKE, OPEN, BROKEN };

struct tls_stream {
        struct stream base;
        struct stream *lower;
        struct tls_session *session;
        struct tls_stream_config config;
        enum state state;
        int error; /* with BROKEN; 0: the peer ended its side */
        unsigned events;
        bool hung; /* a hang-up was reported */
        uint8_t *in; /* what was fed last */
        struct buf out; /* unsent bytes begin at `sent` */
        size_t sent;
        struct timer deadline, again;
};

static struct tls_stream *tls_stream(struct stream *s)
{
        return CONTAINER_OF(s, struct tls_stream, base);
}

static size_t unsent(const struct tls_stream *s)
{
        return s->out.len - s->sent;
}

static void again(struct timer *t);
static void lower_event(struct stream *lower, unsigned events, void *arg);

static void watch_lower(struct tls_stream *s)
{
        unsigned events = 0;
        if (s->state == CONNECTING)
                events = STREAM_WRITABLE;
        if (s->state == HANDSHAKE || (s->state == OPEN && (s->events & STREAM_READABLE)))
                events |= STREAM_READABLE;
        if (s->state != BROKEN && (unsent(s) > 0 || (s->state == OPEN && (s->events & STREAM_WRITABLE))))
                events |= STREAM_WRITABLE;
        stream_watch(s->lower, events, lower_event, s);
}

/* ---- moving bytes ------------------------------------------------------------------------------------------------ */

static void drop_sent(struct tls_stream *s)
{
        if (s->sent == s->out.len)
                buf_reset(&s->out, OUT_KEPT);
        else if (s->sent > s->out.len / 2)
                buf_consume(&s->out, s->sent);
        else
                return;
        s->sent = 0;
}

static int flush(struct tls_stream *s)
{
        while (unsent(s) > 0) {
                struct iovec iov = {.iov_base = s->out.data + s->sent, .iov_len = unsent(s)};
                ssize_t n = stream_writev(s->lower, &iov, 1);
                if (n == -EAGAIN || n == -EINTR)
                        break;
                if (n < 0)
                        return (int)n;
                s->sent += (size_t)n;
        }
        drop_sent(s);
        return 0;
}

/* One read below, fed to the session. Bytes, 0 at the end, -EAGAIN, other -errno. */
static ssize_t fill(struct tls_stream *s)
{
        if (!s->in)
                s->in = malloc(IN_SIZE);
        if (!s->in)
                return -ENOMEM;
        struct iovec iov = {.iov_base = s->in, .iov_len = IN_SIZE};
        ssize_t n = stream_readv(s->lower, &iov, 1);
        if (n > 0) {
                tls_session_feed(s->session, s->in, (size_t)n);
                return n;
        }
        free(s->in); /* all of it was used up, else the session would not have asked for more */
        s->in = NULL;
        return n == -EINTR ? -EAGAIN : n;
}

static void broken(struct tls_stream *s, int error)
{
        s->state = BROKEN;
        s->error = error;
        timer_stop(&s->deadline);
        (void)flush(s); /* perhaps an alert */
        watch_lower(s);
        timer_start(s->base.loop, &s->again, 0, again);
}

static void handshake_failed(struct tls_stream *s, int error, const char *why)
{
        struct address peer;
        char text[ADDRESS_TEXT_MAX] = "";
        if (s->config.on_failure) {
                if (stream_peer(s->lower, &peer) == 0)
                        (void)address_format(&peer, text);
                s->config.on_failure(text, why, s->config.arg);
        }
        broken(s, error);
}

static void handshake_late(struct timer *t)
{
        handshake_failed(CONTAINER_OF(t, struct tls_stream, deadline), -ETIMEDOUT,
                         "the peer did not finish the TLS handshake in time");
}

/* Goes on with the handshake as far as it can. */
static void shake_hands(struct tls_stream *s)
{
        int r = tls_session_handshake(s->session);
        while (r == -EAGAIN) {
                ssize_t n = fill(s);
                if (n == -EAGAIN)
                        break;
                if (n <= 0) {
                        handshake_failed(s, n < 0 ? (int)n : -ECONNRESET,
                                         s->state == CONNECTING ? "there is no connection"
                                                                : "the peer ended the connection during the handshake");
                        return;
                }
                r = tls_session_handshake(s->session);
        }
        int sent = flush(s);
        if (r < 0 && r != -EAGAIN) {
                handshake_failed(s, r, tls_session_error(s->session));
        } else if (sent < 0) {
                handshake_failed(s, sent, "the connection broke during the handshake");
        } else if (r == 0) {
                s->state = OPEN;
                timer_stop(&s->deadline);
                timer_start(s->base.loop, &s->again, 0, again); /* data may have come with the last message */
        } else {
                s->state = HANDSHAKE;
        }
}

/* ---- telling the owner ------------------------------------------------------------------------------------------- */

static void tell(struct tls_stream *s, unsigned events)
{
        events &= s->events | STREAM_HANGUP;
        if (events && s->base.on_event)
                s->base.on_event(&s->base, events, s->base.arg);
}

static void again(struct timer *t)
{
        struct tls_stream *s = CONTAINER_OF(t, struct tls_stream, again);
        unsigned events = STREAM_READABLE;
        if (s->state == BROKEN) {
                events |= STREAM_WRITABLE | (s->hung ? 0 : STREAM_HANGUP);
                s->hung = true;
        }
        tell(s, events);
}

static void lower_event(struct stream *lower, unsigned events, void *arg)
{
        struct tls_stream *s = arg;
        if (s->state == CONNECTING || s->state == HANDSHAKE) {
                shake_hands(s);
                if (s->state == BROKEN)
                        return; /* `again` tells */
                if (s->state != OPEN && (events & STREAM_HANGUP)) {
                        handshake_failed(s, -ECONNRESET, "the peer ended the connection during the handshake");
                        return;
                }
                events &= STREAM_HANGUP;
                events |= STREAM_WRITABLE;
        } else if (events & STREAM_WRITABLE) {
                int r = flush(s);
                if (r < 0) {
                        broken(s, r);
                        return;
                }
        }
        watch_lower(s);
        if (s->state != OPEN || unsent(s) >= OUT_HIGH)
                events &= ~STREAM_WRITABLE;
        if (s->state != OPEN)
                return;
        if (events & STREAM_HANGUP)
                s->hung = true;
        tell(s, events);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

/* One piece; the caller comes again. */
static ssize_t read_some(struct tls_stream *s, void *to, size_t size)
{
        for (;;) {
                ssize_t n = tls_session_read(s->session, to, size);
                if (n != -EAGAIN)
                        return n;
                n = fill(s);
                if (n <= 0)
                        return n;
        }
}

static ssize_t tls_readv(struct stream *base, const struct iovec *iov, int n)
{
        struct tls_stream *s = tls_stream(base);
        size_t got = 0;
        ssize_t r = -EAGAIN;
        if (s->state == BROKEN)
                return s->error;
        if (s->state != OPEN)
                return -EAGAIN;
        for (int i = 0; i < n; i++) {
                for (size_t at = 0; at < iov[i].iov_len; at += (size_t)r, got += (size_t)r) {
                        r = read_some(s, (uint8_t *)iov[i].iov_base + at, iov[i].iov_len - at);
                        if (r <= 0)
                                goto stopped;
                }
        }
stopped:
        if (unsent(s) > 0 && r != 0 && flush(s) == 0) /* reading may have to answer */
                watch_lower(s);
        if (r == -EAGAIN)
                timer_stop(&s->again);
        else if (r > 0)
                timer_start(s->base.loop, &s->again, 0, again);
        else
                broken(s, (int)r);
        return got > 0 ? (ssize_t)got : r;
}

static ssize_t tls_writev(struct stream *base, const struct iovec *iov, int n)
{
        struct tls_stream *s = tls_stream(base);
        if (s->state == BROKEN)
                return s->error < 0 ? s->error : -EPIPE;
        if (s->state != OPEN)
                return -EAGAIN;
        int r = unsent(s) >= OUT_HIGH ? flush(s) : 0;
        if (r == 0 && unsent(s) >= OUT_HIGH)
                r = -EAGAIN;
        size_t taken = 0;
        for (int i = 0; r == 0 && i < n && taken < WRITE_MAX; i++) {
                struct iovec part = {iov[i].iov_base, MIN(iov[i].iov_len, (size_t)(WRITE_MAX - taken))};
                r = tls_session_write(s->session, &part, 1);
                if (r == 0)
                        taken += part.iov_len;
        }
        if (r == 0)
                r = flush(s);
        if (r == -EAGAIN) {
                watch_lower(s);
                return r;
        }
        if (r < 0) {
                broken(s, r);
                return r;
        }
        watch_lower(s);
        return (ssize_t)taken;
}

static void tls_watch(struct stream *base, unsigned events)
{
        struct tls_stream *s = tls_stream(base);
        s->events = events & (STREAM_READABLE | STREAM_WRITABLE);
        watch_lower(s);
        if (s->state == BROKEN && (s->events || !s->hung))
                timer_start(base->loop, &s->again, 0, again);
        else if (s->state == OPEN && s->in && (s->events & STREAM_READABLE))
                timer_start(base->loop, &s->again, 0, again);
}

/* The bytes of the descriptor are not the stream's: nobody else could use it. */
static int tls_fd(const struct stream *base)
{
        return -ENOTSUP;
}

static int tls_peer(const struct stream *base, struct address *ret)
{
        return stream_peer(CONTAINER_OF(base, const struct tls_stream, base)->lower, ret);
}

static void tls_free(struct stream *base)
{
        struct tls_stream *s = tls_stream(base);
        timer_stop(&s->deadline);
        timer_stop(&s->again);
        if (s->state == OPEN && s->session) {
                tls_session_end(s->session);
                (void)flush(s);
        }
        s->session = tls_session_free(s->session);
        s->lower = stream_free(s->lower);
        buf_done(&s->out);
        free(s->in);
        free(s);
}

static const struct stream_ops tls_stream_ops = {
        .readv = tls_readv,
        .writev = tls_writev,
        .watch = tls_watch,
        .fd = tls_fd,
        .peer = tls_peer,
        .free = tls_free,
};

int tls_stream_new(struct stream *lower, const struct tls_stream_config *config, struct stream **ret)
{
        struct tls_stream *s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->base = (struct stream){.ops = &tls_stream_ops, .loop = lower->loop};
        s->out = BUF_INIT(OUT_MAX);
        s->config = *config;
        int r = tls_session_new(config->context, config->side, &s->out, &s->session);
        if (r < 0) {
                free(s);
                return r;
        }
        s->lower = lower;
        s->state = config->side == TLS_CLIENT ? CONNECTING : HANDSHAKE;
        timer_start(lower->loop, &s->deadline, config->timeout ? config->timeout : TIMEOUT_DEFAULT, handshake_late);
        watch_lower(s);
        *ret = &s->base;
        return 0;
}
