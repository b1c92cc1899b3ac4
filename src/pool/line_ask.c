/* A line to a unix socket, and the answer (pool/line_ask.h). Loop thread, in a fibre. */
#include "pool/line_ask.h"

#include <stdio.h>

#include "base/loop.h"

#define PIECE (16 * KIB)

struct ask {
        struct fibre *self;
        struct stream *stream;
        struct fibre_event event;
        uint64_t deadline;
};

static void on_event(struct stream *s, unsigned events, void *arg)
{
        struct ask *a = arg;
        (void)s;
        (void)events;
        stream_watch(a->stream, 0, on_event, a);
        fibre_event_set(&a->event);
}

static int wait_for(struct ask *a, unsigned events)
{
        uint64_t now = loop_now(fibre_loop(a->self));
        a->event = (struct fibre_event){0};
        stream_watch(a->stream, events, on_event, a);
        return now < a->deadline ? fibre_event_wait(a->self, &a->event, a->deadline - now) : -ETIMEDOUT;
}

static int send_line(struct ask *a, const char *line)
{
        size_t len = strlen(line);
        while (len > 0) {
                int r = wait_for(a, STREAM_WRITABLE);
                if (r < 0)
                        return r;
                const struct iovec iov = {(void *)(uintptr_t)line, len};
                ssize_t n = stream_writev(a->stream, &iov, 1);
                if (n < 0 && n != -EAGAIN)
                        return (int)n;
                line += MAX(n, 0);
                len -= (size_t)MAX(n, 0);
        }
        return 0;
}

static int read_answer(struct ask *a, struct buf *out)
{
        for (;;) {
                uint8_t *at = buf_extend(out, PIECE);
                if (!at)
                        return out->error;
                const struct iovec iov = {at, PIECE};
                ssize_t n = stream_readv(a->stream, &iov, 1);
                out->len -= PIECE - (size_t)MAX(n, 0);
                if (n == 0)
                        return 0;
                if (n > 0)
                        continue;
                int r = n == -EAGAIN ? wait_for(a, STREAM_READABLE) : (int)n;
                if (r < 0)
                        return r;
        }
}

int line_ask(struct fibre *self, const char *path, const char *line, uint64_t timeout, struct buf *out)
{
        char text[ADDRESS_TEXT_MAX];
        struct address to;
        struct loop *loop = fibre_loop(self);
        struct ask a = {.self = self, .deadline = loop_now(loop) + timeout};
        int n = snprintf(text, sizeof text, "unix:%s", path);
        int r = n < (int)sizeof text ? address_parse(text, &to) : -ENAMETOOLONG;
        if (r == 0)
                r = loop_connect(loop, &to, NULL, &a.stream);
        if (r < 0)
                return r;
        r = send_line(&a, line);
        if (r == 0)
                r = read_answer(&a, out);
        a.stream = stream_free(a.stream);
        return r;
}
