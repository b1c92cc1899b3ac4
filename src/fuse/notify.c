/* Notifications: written by threads, since the kernel may keep the writer waiting for locks that are held by processes
 * whose requests we have not answered (a directory's for inval_entry, pages' for inval_inode).
 *
 * A lane is a thread with a queue; what is about one node or parent goes to one lane, so it keeps its order, and a lane
 * that is held up holds up a quarter of the rest. Lanes are made when they are first needed.
 *
 * Invariants: `lock` guards a lane's queue, and is never held while the kernel is written to. A notification equal to a
 * queued one is dropped, unless data to be stored is queued in the same lane (order matters then). Queue and bytes are
 * bounded over all lanes. A lane whose thread does not end in time is left to it: `orphaned`, and its thread touches
 * nothing else then.
 *
 * Threads: the loop's queues; lane_main is the thread's.
 */
#include "fuse/internal.h"

#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#define NOTICE_BUCKETS 1024u
#define STORE_BYTES_MAX (64 * MIB)
#define STOP_PATIENCE (5 * NS_PER_SEC)
#define LANE_STACK (256 * KIB)
#define BARRIER_PATIENCE (5 * NS_PER_SEC)

/* Somebody waits until a lane has written what was queued before. */
struct barrier {
        struct fibre_event reached;
        struct loop *loop;
        bool abandoned; /* nobody waits any more */
};

struct notice {
        struct notice *next, *hash_next;
        struct barrier *barrier; /* no message: only tells that it is its turn */
        uint32_t hash;
        bool store;
        size_t len;
        uint8_t message[]; /* header and all */
};

struct notify_lane {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        struct notice *head, **tail;
        struct notice *buckets[NOTICE_BUCKETS];
        unsigned stores; /* queued */
        bool stop, orphaned;
        /* The thread's end, for the loop. */
        struct fibre_event gone;
        struct fuse_session *session;
        int fd;
};

static atomic_ullong store_bytes; /* of all sessions of the process: a bound on memory */

/* ---- the thread ----------------------------------------------------------------------------------------------- */

static void bucket_remove(struct notify_lane *lane, struct notice *n)
{
        struct notice **at = &lane->buckets[n->hash % NOTICE_BUCKETS];
        while (*at != n)
                at = &(*at)->hash_next;
        *at = n->hash_next;
}

/* Takes the first notice off the queue; NULL: it is empty. Under the lock. */
static struct notice *lane_take(struct notify_lane *lane)
{
        struct notice *n = lane->head;
        if (!n)
                return NULL;
        lane->head = n->next;
        if (!lane->head)
                lane->tail = &lane->head;
        bucket_remove(lane, n);
        if (n->store)
                lane->stores--;
        return n;
}

static void notice_free(struct notice *n)
{
        if (n->store)
                atomic_fetch_sub(&store_bytes, n->len);
        free(n);
}

/* On the loop. */
static void barrier_reached(void *arg)
{
        struct barrier *b = arg;
        if (b->abandoned)
                free(b);
        else
                fibre_event_set(&b->reached);
}

/* Writes N; the kernel may block it. True if it went well, or does not matter: the kernel does not know the object. */
static bool notice_write(int fd, const struct notice *n)
{
        for (;;) {
                if (write(fd, n->message, n->len) >= 0)
                        return true;
                if (errno == EAGAIN) { /* tests: a socket that is full */
                        struct pollfd p = {.fd = fd, .events = POLLOUT};
                        (void)poll(&p, 1, -1);
                } else if (errno != EINTR) {
                        break;
                }
        }
        return errno != EINVAL && errno != ENOMEM && errno != EIO && errno != ENOSYS && errno != EFAULT;
}

/* On the loop: the thread of LANE will not touch anything any more. */
static void lane_ended(void *arg)
{
        struct notify_lane *lane = arg;
        fibre_event_set(&lane->gone);
}

static void lane_free(struct notify_lane *lane)
{
        struct notice *n;
        while ((n = lane_take(lane)))
                notice_free(n);
        pthread_mutex_destroy(&lane->lock);
        pthread_cond_destroy(&lane->wake);
        free(lane);
}

static void lane_count(struct notify_lane *lane, bool ok)
{
        atomic_fetch_sub(&lane->session->notify_queued, 1);
        atomic_fetch_add(ok ? &lane->session->notify_done : &lane->session->notify_failed, 1);
}

static void *lane_main(void *arg)
{
        struct notify_lane *lane = arg;
        pthread_mutex_lock(&lane->lock);
        while (!lane->stop) {
                struct notice *n = lane_take(lane);
                if (!n) {
                        pthread_cond_wait(&lane->wake, &lane->lock);
                        continue;
                }
                pthread_mutex_unlock(&lane->lock);
                bool counts = !n->barrier;
                bool ok = counts ? notice_write(lane->fd, n) : loop_post(n->barrier->loop, barrier_reached, n->barrier) == 0;
                notice_free(n);
                pthread_mutex_lock(&lane->lock);
                if (counts && !lane->orphaned)
                        lane_count(lane, ok);
        }
        bool orphaned = lane->orphaned;
        if (!orphaned)
                (void)loop_post(lane->session->loop, lane_ended, lane);
        pthread_mutex_unlock(&lane->lock);
        if (orphaned)
                lane_free(lane);
        return NULL;
}

/* ---- the loop's side ------------------------------------------------------------------------------------------ */

static int lane_start(struct notify_lane *lane)
{
        sigset_t all, before;
        sigfillset(&all);
        pthread_attr_t attr;
        int r = pthread_attr_init(&attr);
        if (r != 0)
                return -r;
        (void)pthread_attr_setstacksize(&attr, MAX((size_t)LANE_STACK, (size_t)PTHREAD_STACK_MIN));
        pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the loop's thread */
        r = pthread_create(&lane->thread, &attr, lane_main, lane);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        return -r;
}

/* The lane for what is about NODE. */
static int lane_get(struct fuse_session *s, uint64_t node, struct notify_lane **ret)
{
        struct notify_lane **at = &s->lanes[(node * 0x9e3779b97f4a7c15ull >> 32) % FUSE_LANES];
        if (!*at) {
                struct notify_lane *lane = calloc(1, sizeof *lane);
                if (!lane)
                        return -ENOMEM;
                pthread_mutex_init(&lane->lock, NULL);
                pthread_cond_init(&lane->wake, NULL);
                lane->tail = &lane->head;
                lane->session = s;
                lane->fd = s->fd;
                int r = lane_start(lane);
                if (r < 0) {
                        lane_free(lane);
                        return r;
                }
                *at = lane;
        }
        *ret = *at;
        return 0;
}

static uint32_t message_hash(const uint8_t *p, size_t n)
{
        uint32_t h = 2166136261u;
        for (size_t i = 0; i < n; i++)
                h = (h ^ p[i]) * 16777619u;
        return h;
}

/* Under the lock. */
static bool lane_has(const struct notify_lane *lane, const struct notice *n)
{
        if (lane->stores > 0 || n->barrier)
                return false;
        const struct notice *at = lane->buckets[n->hash % NOTICE_BUCKETS];
        while (at && (at->barrier || at->len != n->len || memcmp(at->message, n->message, n->len) != 0))
                at = at->hash_next;
        return at != NULL;
}

/* Under the lock. */
static void lane_put(struct notify_lane *lane, struct notice *n)
{
        struct notice **bucket = &lane->buckets[n->hash % NOTICE_BUCKETS];
        n->hash_next = *bucket;
        *bucket = n;
        *lane->tail = n;
        lane->tail = &n->next;
        if (n->store)
                lane->stores++;
        pthread_cond_signal(&lane->wake);
}

/* Queues N, which is freed if it is not wanted. */
static int notice_queue(struct fuse_session *s, uint64_t node, struct notice *n)
{
        struct notify_lane *lane;
        int r = lane_get(s, node, &lane);
        if (r < 0) {
                notice_free(n);
                return r;
        }
        pthread_mutex_lock(&lane->lock);
        bool twice = lane_has(lane, n);
        if (!twice) {
                if (!n->barrier)
                        atomic_fetch_add(&s->notify_queued, 1);
                lane_put(lane, n);
        }
        pthread_mutex_unlock(&lane->lock);
        if (twice)
                notice_free(n);
        return 0;
}

/* A message of CODE: FIXED, then TAIL (a name with its NUL, or data). */
static int notify(struct fuse_session *s, int code, uint64_t node, const struct iovec *fixed, const struct iovec *tail)
{
        if (!s->initialised || s->ended)
                return -ENOTCONN;
        bool store = code == FUSE_NOTIFY_STORE;
        struct fuse_out_header h = {.error = code};
        size_t len = sizeof h + fixed->iov_len + tail->iov_len;
        h.len = (uint32_t)len;
        if (atomic_load(&s->notify_queued) >= s->config.notify_max ||
            (store && atomic_load(&store_bytes) + len > STORE_BYTES_MAX)) {
                s->notify_dropped++;
                return -ENOBUFS;
        }
        struct notice *n = malloc(sizeof *n + len);
        if (!n) {
                s->notify_dropped++;
                return -ENOBUFS;
        }
        *n = (struct notice){.store = store, .len = len};
        memcpy(n->message, &h, sizeof h);
        memcpy(n->message + sizeof h, fixed->iov_base, fixed->iov_len);
        if (tail->iov_len > 0)
                memcpy(n->message + sizeof h + fixed->iov_len, tail->iov_base, tail->iov_len);
        if (store)
                atomic_fetch_add(&store_bytes, len);
        else
                n->hash = message_hash(n->message, len);
        return notice_queue(s, node, n);
}

/* The same with a name. */
static int notify_name(struct fuse_session *s, int code, uint64_t parent, const struct iovec *fixed, const char *name,
                       size_t length)
{
        if (length == 0 || length > NAME_MAX || memchr(name, 0, length) || memchr(name, '/', length))
                return -EINVAL;
        char terminated[NAME_MAX + 1];
        memcpy(terminated, name, length);
        terminated[length] = 0;
        return notify(s, code, parent, fixed, &(struct iovec){terminated, length + 1});
}

int fuse_notify_inval_inode(struct fuse_session *s, uint64_t node, int64_t offset, int64_t length)
{
        struct fuse_notify_inval_inode_out out = {.ino = node, .off = offset, .len = length};
        return notify(s, FUSE_NOTIFY_INVAL_INODE, node, &(struct iovec){&out, sizeof out}, &(struct iovec){0});
}

int fuse_notify_inval_entry(struct fuse_session *s, uint64_t parent, const char *name, size_t length, uint32_t flags)
{
        if (!(s->protocol.flags & FUSE_HAS_EXPIRE_ONLY))
                flags = 0;
        struct fuse_notify_inval_entry_out out = {.parent = parent, .namelen = (uint32_t)length, .flags = flags};
        return notify_name(s, FUSE_NOTIFY_INVAL_ENTRY, parent, &(struct iovec){&out, sizeof out}, name, length);
}

int fuse_notify_delete(struct fuse_session *s, uint64_t parent, uint64_t child, const char *name, size_t length)
{
        struct fuse_notify_delete_out out = {.parent = parent, .child = child, .namelen = (uint32_t)length};
        return notify_name(s, FUSE_NOTIFY_DELETE, parent, &(struct iovec){&out, sizeof out}, name, length);
}

int fuse_notify_store(struct fuse_session *s, uint64_t node, uint64_t offset, const void *data, size_t n)
{
        if (n == 0 || n > s->config.max_write)
                return -EINVAL;
        struct fuse_notify_store_out out = {.nodeid = node, .offset = offset, .size = (uint32_t)n};
        return notify(s, FUSE_NOTIFY_STORE, node, &(struct iovec){&out, sizeof out}, &(struct iovec){(void *)data, n});
}

int fuse_notify_wait(struct fibre *self, struct fuse_session *s, uint64_t node)
{
        if (!s->initialised || s->ended)
                return -ENOTCONN;
        struct barrier *b = calloc(1, sizeof *b);
        struct notice *n = calloc(1, sizeof *n);
        if (!b || !n) {
                free(b);
                free(n);
                return -ENOMEM;
        }
        b->loop = s->loop;
        n->barrier = b;
        int r = notice_queue(s, node, n);
        if (r == 0)
                r = fibre_event_wait(self, &b->reached, BARRIER_PATIENCE);
        if (r == -ETIMEDOUT)
                b->abandoned = true;
        else
                free(b);
        return r;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static void lane_stop(struct notify_lane *lane)
{
        pthread_mutex_lock(&lane->lock);
        lane->stop = true;
        pthread_cond_signal(&lane->wake);
        pthread_mutex_unlock(&lane->lock);
}

/* Leaves the lane to its thread, unless that has just ended. */
static bool lane_orphan(struct notify_lane *lane)
{
        pthread_mutex_lock(&lane->lock);
        lane->orphaned = !lane->gone.done;
        pthread_mutex_unlock(&lane->lock);
        return lane->orphaned;
}

static void lane_join(struct fibre *self, struct notify_lane *lane)
{
        int r = fibre_event_wait(self, &lane->gone, STOP_PATIENCE);
        if (r < 0 && lane_orphan(lane)) {
                log_error("fuse", "a notification still waits in the kernel: the file system was not unmounted");
                (void)pthread_detach(lane->thread);
                return;
        }
        (void)pthread_join(lane->thread, NULL);
        lane_free(lane);
}

void notify_stop(struct fibre *self, struct fuse_session *s)
{
        for (size_t i = 0; i < FUSE_LANES; i++)
                if (s->lanes[i])
                        lane_stop(s->lanes[i]);
        for (size_t i = 0; i < FUSE_LANES; i++) {
                if (s->lanes[i])
                        lane_join(self, s->lanes[i]);
                s->lanes[i] = NULL;
        }
}
