/* The event loop: everything that waits.
 *
 * This is one of the three seams of the project (docs/architecture.md): time, randomness, timers, connections and deferred
 * work are reached only through `struct loop`. `loop_epoll_new` (loop_epoll.c) is the real one; `sim_node_loop`
 * (base/sim.h) gives one node of a simulated cluster, with virtual time, seeded order and links that drop, delay and cut.
 *
 * Thread context: a loop and all its objects belong to the thread that runs it. Only loop_post() may be called from others.
 * No callback may block. A callback that keeps the loop longer than the stall limit is reported, and fails tests.
 */
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/util.h"

struct loop;
struct fibre_set;

/* ---- addresses ---------------------------------------------------------------------------------------------------- */

/* A numeric address: unix path, IPv4 or IPv6 with port. Names are resolved elsewhere: resolving blocks. */
struct address {
        struct sockaddr_storage sa;
        socklen_t len;
};

/* "unix:/path", "192.0.2.1:24007", "[::1]:24007", "*:24007" (any, both families). -EINVAL if it is none of these.
 * Simulated nodes have IPv4 addresses: sim_address() in base/sim.h. */
int address_parse(const char *text, struct address *ret);
#define ADDRESS_TEXT_MAX 128
const char *address_format(const struct address *a, char buf[static ADDRESS_TEXT_MAX]);
uint16_t address_port(const struct address *a);

/* ---- timers ------------------------------------------------------------------------------------------------------- */

/* Embedded in the object that waits. Zero-initialised = idle. Fires once. */
struct timer {
        uint64_t due; /* loop_now() ns */
        void (*fn)(struct timer *);
        struct loop *loop; /* NULL while idle */
        uint64_t seq;      /* start order: equal due times fire in it */
        struct timer *child, *next, *prev; /* owned by the loop (base/timer_heap.h) */
};

/* (Re)starts T to fire DELAY ns from now (UINT64_MAX: never). Cannot fail: timers are linked, nothing is allocated. */
void timer_start(struct loop *loop, struct timer *t, uint64_t delay, void (*fn)(struct timer *));
/* Stops T if it is running; idle is fine. */
void timer_stop(struct timer *t);
static inline bool timer_running(const struct timer *t)
{
        return t->loop != NULL;
}

/* ---- streams ------------------------------------------------------------------------------------------------------ */

#define STREAM_READABLE 1u /* data, end of stream or an error can be read */
#define STREAM_WRITABLE 2u /* writev will take something; also: an outgoing connection is established */
/* The peer closed or the connection broke. Always reported, never asked for. Bytes that came before it may still be
 * unread: who wants them reads to the end (0 or -errno) first. With nothing else asked for it is reported once. */
#define STREAM_HANGUP 4u

struct stream;
typedef void (*stream_event_fn)(struct stream *s, unsigned events, void *arg);

struct stream_ops {
        ssize_t (*readv)(struct stream *s, const struct iovec *iov, int n);
        ssize_t (*writev)(struct stream *s, const struct iovec *iov, int n);
        void (*watch)(struct stream *s, unsigned events);
        int (*fd)(const struct stream *s);
        int (*peer)(const struct stream *s, struct address *ret);
        void (*free)(struct stream *s);
};

/* A connected byte stream: TCP, unix, simulated; later TLS over one of these. Implementations embed it first. */
struct stream {
        const struct stream_ops *ops;
        struct loop *loop;
        stream_event_fn on_event;
        void *arg;
};

/* Bytes read, 0 at end of stream, -EAGAIN when nothing is there, other -errno. Never blocks. */
static inline ssize_t stream_readv(struct stream *s, const struct iovec *iov, int n)
{
        return s->ops->readv(s, iov, n);
}

/* Bytes taken (may be fewer than given), -EAGAIN when full, other -errno (-EPIPE without a signal). Never blocks. */
static inline ssize_t stream_writev(struct stream *s, const struct iovec *iov, int n)
{
        return s->ops->writev(s, iov, n);
}

/* Sets who is told and about what (level-triggered). events 0 = only STREAM_HANGUP. Before the first call nobody is. */
static inline void stream_watch(struct stream *s, unsigned events, stream_event_fn fn, void *arg)
{
        s->on_event = fn;
        s->arg = arg;
        s->ops->watch(s, events);
}

/* The descriptor below, for handing a connection to a worker thread; -ENOTSUP in the simulator. Still owned by S. */
static inline int stream_fd(const struct stream *s)
{
        return s->ops->fd(s);
}

static inline int stream_peer(const struct stream *s, struct address *ret)
{
        return s->ops->peer(s, ret);
}

/* Closes. No callback follows, not even from the one that is running. Returns NULL. */
static inline struct stream *stream_free(struct stream *s)
{
        if (s)
                s->ops->free(s);
        return NULL;
}
DEFINE_CLEANUP(struct stream *, stream_free)

/* ---- the loop ----------------------------------------------------------------------------------------------------- */

struct listener;
/* A connection was accepted; S belongs to the callee. */
typedef void (*accept_fn)(struct listener *l, struct stream *s, void *arg);
typedef void (*post_fn)(void *arg);

struct loop_ops {
        uint64_t (*now)(struct loop *);
        uint64_t (*realtime)(struct loop *);
        void (*random)(struct loop *, void *buf, size_t n);
        int (*post)(struct loop *, post_fn fn, void *arg);
        int (*listen)(struct loop *, const struct address *, accept_fn, void *arg, struct listener **ret);
        int (*listener_address)(struct listener *, struct address *ret);
        void (*listener_free)(struct listener *);
        int (*connect)(struct loop *, const struct address *to, const struct address *from, struct stream **ret);
        int (*watch_fd)(struct loop *, int fd, unsigned events, stream_event_fn fn, void *arg, struct stream **ret);
        int (*run)(struct loop *);
        void (*stop)(struct loop *);
        void (*free)(struct loop *);
        void (*timer_start)(struct loop *, struct timer *);
        void (*timer_stop)(struct loop *, struct timer *);
        void (*fibre_ran)(struct loop *, const char *name); /* a slice of the fibre NAME ended (base/fibre.c calls it) */
};

struct loop {
        const struct loop_ops *ops;
        struct fibre_set *fibres; /* base/fibre.h; made at the first fibre_start */
};

/* A new epoll loop for the calling thread. */
int loop_epoll_new(struct loop **ret);

/* Monotonic time in ns, constant during one callback. */
static inline uint64_t loop_now(struct loop *l)
{
        return l->ops->now(l);
}
/* Wall clock, ns since 1970. */
static inline uint64_t loop_realtime(struct loop *l)
{
        return l->ops->realtime(l);
}
/* Random bytes: from the kernel, or from the simulation's seed. */
static inline void loop_random(struct loop *l, void *buf, size_t n)
{
        l->ops->random(l, buf, n);
}
/* Runs fn(arg) on the loop soon, after the current callback. The only call allowed from other threads. -ENOMEM. */
static inline int loop_post(struct loop *l, post_fn fn, void *arg)
{
        return l->ops->post(l, fn, arg);
}
/* Listens at ADDRESS (port 0: any). -EADDRINUSE, -EACCES, … A stale unix socket without a listener is replaced. */
static inline int loop_listen(struct loop *l, const struct address *at, accept_fn fn, void *arg, struct listener **ret)
{
        return l->ops->listen(l, at, fn, arg, ret);
}
static inline int listener_address(struct loop *l, struct listener *li, struct address *ret)
{
        return l->ops->listener_address(li, ret);
}
static inline struct listener *listener_free(struct loop *l, struct listener *li)
{
        if (li)
                l->ops->listener_free(li);
        return NULL;
}
/* Begins to connect; FROM (NULL: any) is the local address. Success or failure is seen as the first STREAM_WRITABLE
 * (readv then tells -errno) or STREAM_HANGUP event. An error returned here is immediate and leaves nothing. */
static inline int loop_connect(struct loop *l, const struct address *to, const struct address *from, struct stream **ret)
{
        return l->ops->connect(l, to, from, ret);
}
/* Watches a foreign descriptor (signalfd, eventfd, pidfd, inotify). The stream only watches: freeing it does not close FD.
 * -ENOTSUP in the simulator. */
static inline int loop_watch_fd(struct loop *l, int fd, unsigned events, stream_event_fn fn, void *arg,
                                struct stream **ret)
{
        return l->ops->watch_fd(l, fd, events, fn, arg, ret);
}
/* Runs until loop_stop(); a stop that came before is honoured. -ENOTSUP in the simulator: there sim_run() drives. */
static inline int loop_run(struct loop *l)
{
        return l->ops->run(l);
}
static inline void loop_stop(struct loop *l)
{
        l->ops->stop(l);
}
/* Frees the loop. Streams and listeners must be gone; running timers become idle, posted work is dropped. Fibres that
 * have not finished are an error of the program: they are logged and their stacks freed. */
static inline struct loop *loop_free(struct loop *l)
{
        if (l)
                l->ops->free(l);
        return NULL;
}
DEFINE_CLEANUP(struct loop *, loop_free)

/* ---- stall detector ----------------------------------------------------------------------------------------------- */

/* A callback or fibre slice of the epoll loop that runs longer than LIMIT ns counts as a stall: logged with the name of
 * what ran, counted, and with ABORT set (tests) the program aborts. 0 = off. Default 100 ms, no abort. */
void loop_set_stall_limit(struct loop *l, uint64_t limit, bool abort_on_stall);
uint64_t loop_stalls(const struct loop *l);
