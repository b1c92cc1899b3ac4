/* Reading and writing streams on fibres, as small as tests need it. One waiting fibre per stream. */
#pragma once

#include "base/fibre.h"

struct pipe_end {
        struct stream *stream;
        struct fibre *fibre;
        unsigned events;
};

static inline void end_event(struct stream *s, unsigned events, void *arg)
{
        struct pipe_end *e = arg;
        e->events |= events;
        stream_watch(s, 0, end_event, e);
        fibre_wake(e->fibre);
}

static inline unsigned end_wait(struct fibre *self, struct pipe_end *e, unsigned events)
{
        e->fibre = self;
        e->events = 0;
        stream_watch(e->stream, events, end_event, e);
        while (!e->events)
                fibre_suspend(self);
        return e->events;
}

static inline ssize_t end_read(struct fibre *self, struct pipe_end *e, void *to, size_t n)
{
        for (;;) {
                ssize_t r = stream_readv(e->stream, &(struct iovec){to, n}, 1);
                if (r != -EAGAIN)
                        return r;
                (void)end_wait(self, e, STREAM_READABLE);
        }
}

static inline int end_read_all(struct fibre *self, struct pipe_end *e, void *to, size_t n)
{
        for (size_t done = 0; done < n;) {
                ssize_t r = end_read(self, e, (char *)to + done, n - done);
                if (r <= 0)
                        return r < 0 ? (int)r : -EPIPE;
                done += (size_t)r;
        }
        return 0;
}

static inline int end_write_all(struct fibre *self, struct pipe_end *e, const void *from, size_t n)
{
        for (size_t done = 0; done < n;) {
                ssize_t r = stream_writev(e->stream, &(struct iovec){(char *)from + done, n - done}, 1);
                if (r == -EAGAIN)
                        (void)end_wait(self, e, STREAM_WRITABLE);
                else if (r < 0)
                        return (int)r;
                else
                        done += (size_t)r;
        }
        return 0;
}

static inline int end_connect(struct fibre *self, const struct address *to, struct pipe_end *ret)
{
        *ret = (struct pipe_end){0};
        int r = loop_connect(fibre_loop(self), to, NULL, &ret->stream);
        if (r < 0)
                return r;
        if (!(end_wait(self, ret, STREAM_WRITABLE) & STREAM_HANGUP))
                return 0;
        char c;
        r = (int)stream_readv(ret->stream, &(struct iovec){&c, 1}, 1);
        ret->stream = stream_free(ret->stream);
        return r;
}
