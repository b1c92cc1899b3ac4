/* The real loop: epoll, one thread.
 *
 * One turn: timers that are due, posted calls, every runnable fibre once, then wait for descriptors and dispatch them.
 * Interest in a descriptor is kept in `struct watch` and told to the kernel only before the next wait ("dirty" list),
 * so that a stream which is watched and unwatched within one turn costs no system call. A watch that is freed goes to
 * the "dead" list and is released at the end of the turn: events of the same batch that still name it are skipped.
 *
 * Relies on: timer_heap.h, fibre.h (for running fibres), log.h (stalls, and nothing else). Everything runs on the
 * loop's thread, except epoll_post(), which any thread may call: `post_lock` guards the queue and `asleep`.
 *
 * Above 600 lines: streams, listeners and the loop share `struct watch` and its life cycle.
 */
#include "base/fibre.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/timer_heap.h"

#include <assert.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define LISTEN_BACKLOG 1024
#define ACCEPT_BATCH 64                  /* connections taken per listener and turn */
#define ACCEPT_RETRY (100 * NS_PER_MSEC) /* after running out of descriptors or memory */
#define EVENT_BATCH 64
#define STALL_LIMIT_DEFAULT (100 * NS_PER_MSEC)
#define KEEPALIVE_IDLE_SECONDS 20
#define KEEPALIVE_INTERVAL_SECONDS 2
#define KEEPALIVE_COUNT 9

struct post {
        struct post *next;
        post_fn fn;
        void *arg;
};

struct epoll_loop;

/* A descriptor the kernel may report on. */
struct watch {
        int fd;
        uint32_t wanted; /* EPOLL… bits to be told to the kernel; 0 = take it out */
        uint32_t armed;  /* what the kernel was told; 0 = not in the epoll set */
        bool dirty, dead;
        struct watch *next_dirty, *next_dead;
        void *owner; /* the allocation this is part of */
        void (*dispatch)(struct watch *w, uint32_t events);
        struct epoll_loop *loop;
};

struct epoll_loop {
        struct loop base;
        int epoll_fd;
        struct watch wake; /* eventfd: posted work */
        uint64_t now;      /* while running; the clock is read at every use otherwise */
        bool running, stopped;
        bool no_pwait2; /* the kernel or a sandbox refused epoll_pwait2 */
        struct timer_heap timers;
        struct watch *dirty, *dead;

        pthread_mutex_t post_lock;
        struct post *posts, **posts_tail;
        bool asleep; /* about to wait: a poster must write to the eventfd */

        uint64_t stall_limit, stalls;
        bool abort_on_stall;
};

struct epoll_stream {
        struct stream base;
        struct watch watch;
        unsigned events; /* STREAM_… asked for */
        bool hung;       /* a hang-up was reported */
        bool watch_only; /* the descriptor is somebody else's */
};

struct epoll_listener {
        struct watch watch;
        accept_fn fn;
        void *arg;
        struct timer retry;
        struct address at; /* unix only: the path to remove, if it still is dev/ino */
        dev_t dev;
        ino_t ino;
};

static const struct loop_ops epoll_loop_ops;
static const struct stream_ops epoll_stream_ops;

static struct epoll_loop *epoll_loop(struct loop *l)
{
        assert(l->ops == &epoll_loop_ops);
        return CONTAINER_OF(l, struct epoll_loop, base);
}

static uint64_t clock_ns(clockid_t id)
{
        struct timespec ts;
        clock_gettime(id, &ts);
        return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ---- stall detector -----------------------------------------------------------------------------------------------
 */

/* What has just run on the loop, for its name in a stall report: a kind, and a fibre's name or a function's address. */
struct slice {
        const char *kind;
        const char *name;
        const void *fn;
};

static void stall_report(struct epoll_loop *l, const struct slice *s, uint64_t took)
{
        char where[256] = "";
        Dl_info info;
        if (!s->name && dladdr(s->fn, &info) && info.dli_fname)
                (void)snprintf(where, sizeof where, "%s %s+0x%zx", info.dli_sname ? info.dli_sname : "", info.dli_fname,
                               (size_t)((const char *)s->fn - (const char *)info.dli_fbase));
        l->stalls++;
        log_warning("loop", "%s %s held the event loop for %llu ms: everything else on it waited", s->kind,
                    s->name ? s->name : where, (unsigned long long)(took / NS_PER_MSEC));
        if (l->abort_on_stall)
                abort();
}

/* Ends a slice of work: moves the clock on and checks how long it took. */
static void slice_end(struct epoll_loop *l, const struct slice *s)
{
        uint64_t began = l->now;
        l->now = clock_ns(CLOCK_MONOTONIC);
        if (l->running && l->stall_limit > 0 && l->now - began > l->stall_limit)
                stall_report(l, s, l->now - began);
}

static void epoll_fibre_ran(struct loop *base, const char *name)
{
        slice_end(epoll_loop(base), &(struct slice){.kind = "fibre", .name = name});
}

void loop_set_stall_limit(struct loop *base, uint64_t limit, bool abort_on_stall)
{
        if (base->ops != &epoll_loop_ops)
                return;
        struct epoll_loop *l = epoll_loop(base);
        l->stall_limit = limit;
        l->abort_on_stall = abort_on_stall;
}

uint64_t loop_stalls(const struct loop *base)
{
        if (base->ops != &epoll_loop_ops)
                return 0;
        return CONTAINER_OF(base, const struct epoll_loop, base)->stalls;
}

/* ---- watches ------------------------------------------------------------------------------------------------------
 */

static void watch_set(struct watch *w, uint32_t wanted)
{
        w->wanted = wanted;
        if (w->dirty || w->wanted == w->armed)
                return;
        w->dirty = true;
        w->next_dirty = w->loop->dirty;
        w->loop->dirty = w;
}

/* Tells the kernel. */
static int watch_arm(struct watch *w)
{
        if (w->wanted == w->armed)
                return 0;
        struct epoll_event e = {.events = w->wanted, .data.ptr = w};
        int op = w->armed == 0 ? EPOLL_CTL_ADD : w->wanted == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
        if (epoll_ctl(w->loop->epoll_fd, op, w->fd, &e) < 0)
                return -errno;
        w->armed = w->wanted;
        return 0;
}

static void watches_flush(struct epoll_loop *l)
{
        while (l->dirty) {
                struct watch *w = l->dirty;
                l->dirty = w->next_dirty;
                w->dirty = false;
                if (!w->dead && watch_arm(w) < 0)
                        w->dispatch(w, EPOLLERR); /* the owner sees a hang-up: better than silence for ever */
        }
}

/* Takes W out of the kernel's set and out of use; its owner's memory is released when the turn ends. */
static void watch_kill(struct watch *w)
{
        if (w->armed)
                (void)epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
        w->armed = w->wanted = 0;
        w->dead = true;
        w->next_dead = w->loop->dead;
        w->loop->dead = w;
}

static void watches_reap(struct epoll_loop *l)
{
        watches_flush(l); /* nothing dead may stay on the dirty list */
        while (l->dead) {
                struct watch *w = l->dead;
                l->dead = w->next_dead;
                free(w->owner);
        }
}

/* ---- streams ------------------------------------------------------------------------------------------------------
 */

static struct epoll_stream *epoll_stream(struct stream *s)
{
        return CONTAINER_OF(s, struct epoll_stream, base);
}

static uint32_t stream_epoll_bits(const struct epoll_stream *s)
{
        uint32_t bits = s->hung ? 0 : EPOLLRDHUP;
        if (s->events & STREAM_READABLE)
                bits |= EPOLLIN;
        if (s->events & STREAM_WRITABLE)
                bits |= EPOLLOUT;
        return bits;
}

static void stream_dispatch(struct watch *w, uint32_t e)
{
        struct epoll_stream *s = CONTAINER_OF(w, struct epoll_stream, watch);
        unsigned events = 0;
        if (e & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
                events = STREAM_HANGUP | STREAM_READABLE;
                s->hung = true;
                watch_set(w, stream_epoll_bits(s));
        }
        if (e & EPOLLIN)
                events |= STREAM_READABLE;
        if (e & (EPOLLOUT | EPOLLERR | EPOLLHUP))
                events |= STREAM_WRITABLE;
        events &= s->events | STREAM_HANGUP;
        if (events == 0 || !s->base.on_event)
                return;

        stream_event_fn fn = s->base.on_event;
        fn(&s->base, events, s->base.arg);
        slice_end(w->loop, &(struct slice){.kind = "stream callback", .fn = (const void *)fn});
}

static ssize_t epoll_readv(struct stream *base, const struct iovec *iov, int n)
{
        ssize_t r = readv(epoll_stream(base)->watch.fd, iov, n);
        return r < 0 ? -errno : r;
}

static ssize_t epoll_writev(struct stream *base, const struct iovec *iov, int n)
{
        struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
        ssize_t r = sendmsg(epoll_stream(base)->watch.fd, &m, MSG_NOSIGNAL);
        return r < 0 ? -errno : r;
}

static void epoll_watch(struct stream *base, unsigned events)
{
        struct epoll_stream *s = epoll_stream(base);
        s->events = events & (STREAM_READABLE | STREAM_WRITABLE);
        watch_set(&s->watch, stream_epoll_bits(s));
}

static int epoll_fd(const struct stream *base)
{
        return CONTAINER_OF(base, const struct epoll_stream, base)->watch.fd;
}

/* An IPv4 peer of a socket for both families is told as IPv4. */
static void address_unmap(struct address *a)
{
        struct sockaddr_in6 in6;
        memcpy(&in6, &a->sa, sizeof in6);
        if (in6.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
                return;
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6.sin6_port};
        memcpy(&in.sin_addr, in6.sin6_addr.s6_addr + 12, sizeof in.sin_addr);
        *a = (struct address){.len = sizeof in};
        memcpy(&a->sa, &in, sizeof in);
}

static int epoll_peer(const struct stream *base, struct address *ret)
{
        struct address a = {.len = sizeof a.sa};
        if (getpeername(epoll_fd(base), (struct sockaddr *)&a.sa, &a.len) < 0)
                return -errno;
        address_unmap(&a);
        *ret = a;
        return 0;
}

static void epoll_stream_free(struct stream *base)
{
        struct epoll_stream *s = epoll_stream(base);
        base->on_event = NULL;
        watch_kill(&s->watch);
        if (!s->watch_only)
                (void)close_fd(s->watch.fd);
}

static const struct stream_ops epoll_stream_ops = {
        .readv = epoll_readv,
        .writev = epoll_writev,
        .watch = epoll_watch,
        .fd = epoll_fd,
        .peer = epoll_peer,
        .free = epoll_stream_free,
};

/* A stream over FD; takes FD over on success. */
static struct epoll_stream *epoll_stream_new(struct epoll_loop *l, int fd)
{
        struct epoll_stream *s = calloc(1, sizeof *s);
        if (!s)
                return NULL;
        s->base = (struct stream){.ops = &epoll_stream_ops, .loop = &l->base};
        s->watch = (struct watch){.fd = fd, .dispatch = stream_dispatch, .loop = l, .owner = s};
        return s;
}

static void socket_tune(int fd, int family)
{
        if (family == AF_UNIX)
                return;
        static const struct {
                int level, name, value;
        } options[] = {
                {IPPROTO_TCP, TCP_NODELAY, 1},
                {SOL_SOCKET, SO_KEEPALIVE, 1},
                {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS},
                {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS},
                {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        };
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

static int socket_bind_from(int fd, const struct address *from)
{
        int one = 1;
        if (address_port(from) == 0)
                (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        else
                (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        return bind(fd, (const struct sockaddr *)&from->sa, from->len) < 0 ? -errno : 0;
}

static int epoll_connect(struct loop *base, const struct address *to, const struct address *from, struct stream **ret)
{
        struct epoll_loop *l = epoll_loop(base);
        _cleanup_close_ int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        socket_tune(fd, to->sa.ss_family);
        int r = from ? socket_bind_from(fd, from) : 0;
        if (r < 0)
                return r;
        if (connect(fd, (const struct sockaddr *)&to->sa, to->len) < 0 && errno != EINPROGRESS)
                return -errno;
        struct epoll_stream *s = epoll_stream_new(l, fd);
        if (!s)
                return -ENOMEM;
        (void)TAKE_FD(fd);
        *ret = &s->base;
        return 0;
}

static int epoll_watch_fd(struct loop *base, int fd, unsigned events, stream_event_fn fn, void *arg,
                          struct stream **ret)
{
        struct epoll_loop *l = epoll_loop(base);
        struct epoll_stream *s = epoll_stream_new(l, fd);
        if (!s)
                return -ENOMEM;
        s->watch_only = true;
        stream_watch(&s->base, events, fn, arg);
        int r = watch_arm(&s->watch);
        if (r < 0) {
                epoll_stream_free(&s->base);
                return r;
        }
        *ret = &s->base;
        return 0;
}

/* ---- listeners ----------------------------------------------------------------------------------------------------
 */

static void listener_retry(struct timer *t)
{
        struct epoll_listener *li = CONTAINER_OF(t, struct epoll_listener, retry);
        watch_set(&li->watch, EPOLLIN);
}

/* Takes one connection. 0, -EAGAIN when there is none, other -errno when the process has run out of something. */
static int listener_accept(struct epoll_listener *li)
{
        struct epoll_loop *l = li->watch.loop;
        struct sockaddr_storage sa;
        socklen_t len = sizeof sa;
        _cleanup_close_ int fd = accept4(li->watch.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
                return errno == ECONNABORTED || errno == EINTR ? 0 : -errno;
        struct epoll_stream *s = epoll_stream_new(l, fd);
        if (!s)
                return -ENOMEM;
        socket_tune(TAKE_FD(fd), sa.ss_family);

        accept_fn fn = li->fn;
        fn((struct listener *)li, &s->base, li->arg);
        slice_end(l, &(struct slice){.kind = "accept callback", .fn = (const void *)fn});
        return 0;
}

static void listener_dispatch(struct watch *w, uint32_t events)
{
        struct epoll_listener *li = CONTAINER_OF(w, struct epoll_listener, watch);
        for (int i = 0; i < ACCEPT_BATCH && !w->dead; i++) {
                int r = listener_accept(li);
                if (r == -EAGAIN)
                        return;
                if (r == 0)
                        continue;
                log_error("loop", "cannot accept a connection: %s, trying again in 100 ms", strerror(-r));
                watch_set(w, 0);
                timer_start(&w->loop->base, &li->retry, ACCEPT_RETRY, listener_retry);
                return;
        }
}

/* Nobody answers at the socket file of PATH: a server that is gone left it. */
static bool unix_socket_is_stale(const struct address *at)
{
        const struct sockaddr_un *un = (const struct sockaddr_un *)&at->sa;
        struct stat st;
        if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return false;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        return fd >= 0 && connect(fd, (const struct sockaddr *)un, at->len) < 0 && errno == ECONNREFUSED;
}

static int listener_bind(int fd, const struct address *at)
{
        const struct sockaddr *sa = (const struct sockaddr *)&at->sa;
        int one = 1, zero = 0;
        if (at->sa.ss_family != AF_UNIX)
                (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (at->sa.ss_family == AF_INET6)
                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        if (bind(fd, sa, at->len) == 0)
                return 0;
        if (errno != EADDRINUSE || at->sa.ss_family != AF_UNIX)
                return -errno;
        if (!unix_socket_is_stale(at))
                return -EADDRINUSE;
        (void)unlink(((const struct sockaddr_un *)sa)->sun_path);
        return bind(fd, sa, at->len) < 0 ? -errno : 0;
}

/* A listening socket at AT. A host without IPv6 gets "*" as IPv4. */
static int listener_socket(const struct address *at, int *ret_fd)
{
        struct address at4;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at->sa;
        _cleanup_close_ int fd = socket(at->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 && errno == EAFNOSUPPORT && at->sa.ss_family == AF_INET6 &&
            IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
                struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6->sin6_port};
                at4 = (struct address){.len = sizeof in};
                memcpy(&at4.sa, &in, sizeof in);
                at = &at4;
                fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        }
        if (fd < 0)
                return -errno;
        int r = listener_bind(fd, at);
        if (r < 0)
                return r;
        if (listen(fd, LISTEN_BACKLOG) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Remembers which socket file is ours, so that a successor's is not removed. */
static void listener_remember_path(struct epoll_listener *li, const struct address *at)
{
        struct stat st;
        if (at->sa.ss_family != AF_UNIX || lstat(((const struct sockaddr_un *)&at->sa)->sun_path, &st) < 0)
                return;
        li->at = *at;
        li->dev = st.st_dev;
        li->ino = st.st_ino;
}

static int epoll_listen(struct loop *base, const struct address *at, accept_fn fn, void *arg, struct listener **ret)
{
        struct epoll_loop *l = epoll_loop(base);
        _cleanup_free_ struct epoll_listener *li = calloc(1, sizeof *li);
        if (!li)
                return -ENOMEM;
        _cleanup_close_ int fd = -EBADF;
        int r = listener_socket(at, &fd);
        if (r < 0)
                return r;
        li->watch = (struct watch){.fd = fd, .dispatch = listener_dispatch, .loop = l, .owner = li, .wanted = EPOLLIN};
        li->fn = fn;
        li->arg = arg;
        r = watch_arm(&li->watch);
        if (r < 0)
                return r;
        listener_remember_path(li, at);
        (void)TAKE_FD(fd);
        *ret = (struct listener *)TAKE_PTR(li);
        return 0;
}

static int epoll_listener_address(struct listener *base, struct address *ret)
{
        struct epoll_listener *li = (struct epoll_listener *)base;
        struct address a = {.len = sizeof a.sa};
        if (getsockname(li->watch.fd, (struct sockaddr *)&a.sa, &a.len) < 0)
                return -errno;
        *ret = a;
        return 0;
}

static void epoll_listener_free(struct listener *base)
{
        struct epoll_listener *li = (struct epoll_listener *)base;
        timer_stop(&li->retry);
        struct stat st;
        const char *path = ((const struct sockaddr_un *)&li->at.sa)->sun_path;
        if (li->at.len > 0 && lstat(path, &st) == 0 && st.st_dev == li->dev && st.st_ino == li->ino)
                (void)unlink(path);
        watch_kill(&li->watch);
        (void)close_fd(li->watch.fd);
}

/* ---- posted work --------------------------------------------------------------------------------------------------
 */

static int epoll_post(struct loop *base, post_fn fn, void *arg)
{
        struct epoll_loop *l = epoll_loop(base);
        struct post *p = malloc(sizeof *p);
        if (!p)
                return -ENOMEM;
        *p = (struct post){.fn = fn, .arg = arg};

        pthread_mutex_lock(&l->post_lock);
        *l->posts_tail = p;
        l->posts_tail = &p->next;
        bool wake = l->asleep;
        l->asleep = false;
        if (wake) { /* under the lock: once it has P, the loop may be freed */
                ssize_t ignored = write(l->wake.fd, &(uint64_t){1}, sizeof(uint64_t));
                (void)ignored;
        }
        pthread_mutex_unlock(&l->post_lock);
        return 0;
}

static struct post *posts_take(struct epoll_loop *l)
{
        pthread_mutex_lock(&l->post_lock);
        struct post *list = l->posts;
        l->posts = NULL;
        l->posts_tail = &l->posts;
        l->asleep = false;
        pthread_mutex_unlock(&l->post_lock);
        return list;
}

/* Puts calls that were not made back in front of the queue. */
static void posts_put_back(struct epoll_loop *l, struct post *list)
{
        pthread_mutex_lock(&l->post_lock);
        struct post **tail = &list;
        while (*tail)
                tail = &(*tail)->next;
        *tail = l->posts;
        if (!l->posts)
                l->posts_tail = tail;
        l->posts = list;
        pthread_mutex_unlock(&l->post_lock);
}

static void posts_run(struct epoll_loop *l)
{
        struct post *list = posts_take(l);
        while (list && !l->stopped) {
                struct post p = *list;
                free(list);
                list = p.next;
                p.fn(p.arg);
                slice_end(l, &(struct slice){.kind = "posted call", .fn = (const void *)p.fn});
        }
        if (list)
                posts_put_back(l, list);
}

/* True if there are none; posters then write to the eventfd. */
static bool posts_prepare_sleep(struct epoll_loop *l)
{
        pthread_mutex_lock(&l->post_lock);
        l->asleep = l->posts == NULL;
        bool r = l->asleep;
        pthread_mutex_unlock(&l->post_lock);
        return r;
}

static void posts_end_sleep(struct epoll_loop *l)
{
        pthread_mutex_lock(&l->post_lock);
        l->asleep = false;
        pthread_mutex_unlock(&l->post_lock);
}

static void wake_dispatch(struct watch *w, uint32_t events)
{
        uint64_t count;
        ssize_t ignored = read(w->fd, &count, sizeof count);
        (void)ignored;
}

/* ---- the loop -----------------------------------------------------------------------------------------------------
 */

static uint64_t epoll_now(struct loop *base)
{
        const struct epoll_loop *l = epoll_loop(base);
        return l->running ? l->now : clock_ns(CLOCK_MONOTONIC);
}

static uint64_t epoll_realtime(struct loop *l)
{
        return clock_ns(CLOCK_REALTIME);
}

static void epoll_random(struct loop *l, void *buf, size_t n)
{
        for (size_t done = 0; done < n;) {
                ssize_t r = getrandom((char *)buf + done, n - done, 0);
                if (r < 0 && errno != EINTR)
                        abort(); /* no kernel we run on does this */
                done += r > 0 ? (size_t)r : 0;
        }
}

static void epoll_timer_start(struct loop *l, struct timer *t)
{
        timer_heap_add(&epoll_loop(l)->timers, t);
}

static void epoll_timer_stop(struct loop *l, struct timer *t)
{
        timer_heap_remove(&epoll_loop(l)->timers, t);
}

/* Fires what is due at the start of the turn; timers started meanwhile wait for the next one. */
static void timers_run(struct epoll_loop *l)
{
        uint64_t now = l->now, last_seq = l->timers.last_seq;
        struct timer *t;
        while (!l->stopped && (t = timer_heap_first(&l->timers)) && t->due <= now && t->seq <= last_seq) {
                void (*fn)(struct timer *) = t->fn;
                timer_stop(t);
                fn(t);
                slice_end(l, &(struct slice){.kind = "timer callback", .fn = (const void *)fn});
        }
}

static uint64_t wait_limit(struct epoll_loop *l, bool fibres_ready)
{
        if (fibres_ready || l->stopped || !posts_prepare_sleep(l))
                return 0;
        const struct timer *t = timer_heap_first(&l->timers);
        if (!t || t->due == UINT64_MAX)
                return UINT64_MAX;
        return t->due > l->now ? t->due - l->now : 0;
}

/* epoll_wait with a limit in ns (UINT64_MAX: none); in whole milliseconds, rounded up, where the kernel has no better.
 */
static int wait_events(struct epoll_loop *l, struct epoll_event *events, uint64_t limit)
{
        if (!l->no_pwait2) {
                struct timespec ts = {.tv_sec = (time_t)(limit / NS_PER_SEC), .tv_nsec = (long)(limit % NS_PER_SEC)};
                int n = epoll_pwait2(l->epoll_fd, events, EVENT_BATCH, limit == UINT64_MAX ? NULL : &ts, NULL);
                if (n >= 0 || (errno != ENOSYS && errno != EPERM))
                        return n;
                l->no_pwait2 = true;
        }
        int ms = limit == UINT64_MAX ? -1 : (int)MIN((limit + NS_PER_MSEC - 1) / NS_PER_MSEC, (uint64_t)INT32_MAX);
        return epoll_wait(l->epoll_fd, events, EVENT_BATCH, ms);
}

static int events_run(struct epoll_loop *l, uint64_t limit)
{
        struct epoll_event events[EVENT_BATCH];
        int n = wait_events(l, events, limit);
        if (n < 0 && errno != EINTR)
                return -errno;
        posts_end_sleep(l);
        l->now = clock_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < n && !l->stopped; i++) {
                struct watch *w = events[i].data.ptr;
                if (!w->dead)
                        w->dispatch(w, events[i].events);
        }
        return 0;
}

static int epoll_run(struct loop *base)
{
        struct epoll_loop *l = epoll_loop(base);
        int r = 0;
        l->now = clock_ns(CLOCK_MONOTONIC);
        l->running = true;
        while (r == 0 && !l->stopped) {
                timers_run(l);
                posts_run(l);
                bool ready = fibre_run_ready(base, NULL, NULL);
                watches_reap(l);
                r = events_run(l, wait_limit(l, ready));
        }
        watches_reap(l);
        l->running = l->stopped = false;
        return r;
}

static void epoll_stop(struct loop *base)
{
        epoll_loop(base)->stopped = true;
}

static void epoll_loop_free(struct loop *base)
{
        struct epoll_loop *l = epoll_loop(base);
        timer_heap_clear(&l->timers); /* first: some of them live on fibres' stacks */
        (void)fibre_set_free(base);   /* logs what had not finished */
        watches_reap(l);
        for (struct post *p = posts_take(l), *next; p; p = next) {
                next = p->next;
                free(p);
        }
        pthread_mutex_destroy(&l->post_lock);
        (void)close_fd(l->wake.fd);
        (void)close_fd(l->epoll_fd);
        free(l);
}

static const struct loop_ops epoll_loop_ops = {
        .now = epoll_now,
        .realtime = epoll_realtime,
        .random = epoll_random,
        .post = epoll_post,
        .listen = epoll_listen,
        .listener_address = epoll_listener_address,
        .listener_free = epoll_listener_free,
        .connect = epoll_connect,
        .watch_fd = epoll_watch_fd,
        .run = epoll_run,
        .stop = epoll_stop,
        .free = epoll_loop_free,
        .timer_start = epoll_timer_start,
        .timer_stop = epoll_timer_stop,
        .fibre_ran = epoll_fibre_ran,
};

int loop_epoll_new(struct loop **ret)
{
        _cleanup_close_ int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (epoll_fd < 0)
                return -errno;
        _cleanup_close_ int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (wake_fd < 0)
                return -errno;
        _cleanup_free_ struct epoll_loop *l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;

        l->base.ops = &epoll_loop_ops;
        l->epoll_fd = epoll_fd;
        l->stall_limit = STALL_LIMIT_DEFAULT;
        l->posts_tail = &l->posts;
        l->wake = (struct watch){.fd = wake_fd, .wanted = EPOLLIN, .dispatch = wake_dispatch, .loop = l};
        int r = watch_arm(&l->wake);
        if (r < 0)
                return r;
        pthread_mutex_init(&l->post_lock, NULL);
        (void)TAKE_FD(epoll_fd);
        (void)TAKE_FD(wake_fd);
        *ret = &TAKE_PTR(l)->base;
        return 0;
}
