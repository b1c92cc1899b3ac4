/* FUSE over io_uring.
 *
 * The kernel has a queue of entries per processor. An entry is memory for one request: headers and payload. REGISTER
 * hands it to the kernel; its completion says that a request lies in it; COMMIT_AND_FETCH gives the answer back, in the
 * same memory, and the entry with it. One ring serves all queues, watched by the loop. What the kernel never sends this
 * way - INIT, FORGET, INTERRUPT - and notifications go by /dev/fuse as ever.
 *
 * A request is put together in the session's read buffer as it would have been read, so everything behind that is the
 * same, and data outlives the answer (write-behind relies on it).
 *
 * Invariants: an entry belongs to the kernel (BLANK was never handed over) unless it is BUSY: then its request is in
 * `busy`, until it is answered. A queue without an entry for the kernel gets another one, up to ENTRIES_MAX; of these
 * some never hold a request that waits for a lock, since what ends the wait may come by the same queue.
 *
 * Relies on: the ring is used by the thread that made it (IORING_SETUP_SINGLE_ISSUER). The kernel copies a request into
 * its entry on this thread, at its next system call or by interrupting its wait, and the ring's descriptor is readable
 * then. (With IORING_SETUP_DEFER_TASKRUN it is not: Linux 6.18.)
 * Thread: the loop's. Spec: Linux, Documentation/filesystems/fuse-io-uring.rst, include/uapi/linux/fuse.h.
 */
#include "fuse/uring.h"

#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "fuse/internal.h"

#define ENTRIES_FIRST 4u /* of a queue */
#define ENTRIES_MAX 32u
#define WAITING_MAX 24u /* of them, those that may wait for locks */
#define QUEUES_MAX 4096u
#define BUCKETS 256u
#define RETRY_TIME (10 * NS_PER_MSEC)

enum entry_state { BLANK, WITH_KERNEL, BUSY, DEAD };

struct entry {
        struct fuse_uring_req_header *headers; /* begins a mapping, payload follows on the next page */
        uint8_t *payload;
        struct iovec iov[2];
        struct entry *next; /* in `busy` */
        uint64_t unique, commit;
        uint32_t queue;
        enum entry_state state;
        bool waits;
};

struct queue {
        struct entry *entries[ENTRIES_MAX];
        unsigned n, idle, waiting;
};

struct uring {
        struct fuse_session *s;
        int fd;
        uint32_t payload;
        size_t page;
        struct stream *watch;
        bool stopped;
        void *rings; /* both, one mapping */
        size_t rings_size;
        uint8_t *sqes;
        size_t sqes_size;
        uint32_t *sq_head, *sq_tail, *sq_array, sq_mask, sq_entries;
        uint32_t *cq_head, *cq_tail, cq_mask;
        struct io_uring_cqe *cqes;
        uint32_t unsubmitted;
        struct timer again;
        struct entry *busy[BUCKETS];
        unsigned n_queues;
        struct queue queues[];
};

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

static void enter_again(struct timer *t);

/* Submits what is there; -errno: not all of it was taken, and that is tried again. */
static int enter(struct uring *u)
{
        for (;;) {
                long r = syscall(SYS_io_uring_enter, u->fd, u->unsubmitted, 0, 0u, NULL, 0);
                if (r >= 0) {
                        u->unsubmitted -= (uint32_t)r;
                        return 0;
                }
                if (errno == EINTR)
                        continue;
                int error = -errno;
                timer_start(u->s->loop, &u->again, RETRY_TIME, enter_again);
                return error;
        }
}

static void enter_again(struct timer *t)
{
        (void)enter(CONTAINER_OF(t, struct uring, again));
}

/* A command about E, on its way when this returns. */
static int command(struct uring *u, struct entry *e, uint32_t op)
{
        uint32_t tail = *u->sq_tail;
        if (tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE) >= u->sq_entries)
                return -EBUSY;
        uint32_t index = tail & u->sq_mask;
        uint8_t *at = u->sqes + (size_t)index * 2 * sizeof(struct io_uring_sqe);
        struct io_uring_sqe sqe = {.opcode = IORING_OP_URING_CMD,
                                   .fd = u->s->fd,
                                   .addr = (uint64_t)(uintptr_t)e->iov,
                                   .len = ELEMENTSOF(e->iov),
                                   .user_data = (uint64_t)(uintptr_t)e};
        sqe.cmd_op = op;
        struct fuse_uring_cmd_req req = {.commit_id = e->commit, .qid = (uint16_t)e->queue};
        memset(at, 0, 2 * sizeof sqe);
        memcpy(at, &sqe, offsetof(struct io_uring_sqe, cmd));
        memcpy(at + offsetof(struct io_uring_sqe, cmd), &req, sizeof req);
        u->sq_array[index] = index;
        __atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
        u->unsubmitted++;
        return enter(u);
}

static int ring_map(struct uring *u, const struct io_uring_params *p)
{
        size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
        size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
        u->rings_size = MAX(sq, cq);
        u->sqes_size = p->sq_entries * 2 * sizeof(struct io_uring_sqe);
        if (!(p->features & IORING_FEAT_SINGLE_MMAP))
                return -EOPNOTSUPP;
        uint8_t *rings = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
                              (off_t)IORING_OFF_SQ_RING);
        if (rings == MAP_FAILED)
                return -errno;
        u->rings = rings;
        uint8_t *sqes = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
                             (off_t)IORING_OFF_SQES);
        if (sqes == MAP_FAILED)
                return -errno;
        u->sqes = sqes;
        u->sq_entries = p->sq_entries;
        u->sq_head = (uint32_t *)(void *)(rings + p->sq_off.head);
        u->sq_tail = (uint32_t *)(void *)(rings + p->sq_off.tail);
        u->sq_mask = *(uint32_t *)(void *)(rings + p->sq_off.ring_mask);
        u->sq_array = (uint32_t *)(void *)(rings + p->sq_off.array);
        u->cq_head = (uint32_t *)(void *)(rings + p->cq_off.head);
        u->cq_tail = (uint32_t *)(void *)(rings + p->cq_off.tail);
        u->cq_mask = *(uint32_t *)(void *)(rings + p->cq_off.ring_mask);
        u->cqes = (struct io_uring_cqe *)(void *)(rings + p->cq_off.cqes);
        return 0;
}

static int ring_open(struct uring *u)
{
        struct io_uring_params p = {.flags = IORING_SETUP_SQE128 | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                                             IORING_SETUP_SINGLE_ISSUER,
                                    .cq_entries = u->n_queues * ENTRIES_MAX * 2};
        long fd = syscall(SYS_io_uring_setup, 64u, &p);
        if (fd < 0)
                return -errno;
        u->fd = (int)fd;
        return ring_map(u, &p);
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static struct entry *entry_new(struct uring *u, uint32_t queue)
{
        struct queue *q = &u->queues[queue];
        struct entry *e = q->n < ENTRIES_MAX ? calloc(1, sizeof *e) : NULL;
        if (!e)
                return NULL;
        uint8_t *memory = mmap(NULL, u->page + u->payload, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
                free(e);
                return NULL;
        }
        e->headers = (struct fuse_uring_req_header *)(void *)memory;
        e->payload = memory + u->page;
        e->iov[0] = (struct iovec){e->headers, sizeof *e->headers};
        e->iov[1] = (struct iovec){e->payload, u->payload};
        e->queue = queue;
        q->entries[q->n++] = e;
        return e;
}

static struct entry *entry_free(struct uring *u, struct entry *e)
{
        if (e->state != WITH_KERNEL)
                (void)munmap(e->headers, u->page + u->payload);
        free(e);
        return NULL;
}

static int entry_register(struct uring *u, struct entry *e)
{
        e->state = WITH_KERNEL;
        u->queues[e->queue].idle++;
        return command(u, e, FUSE_IO_URING_CMD_REGISTER);
}

static struct entry **busy_place(struct uring *u, uint64_t unique)
{
        struct entry **at = &u->busy[(unique >> 1) % BUCKETS];
        while (*at && (*at)->unique != unique)
                at = &(*at)->next;
        return at;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* The request in E as one message that ends at the place where a read one would. 0: it cannot be. */
static size_t put_together(struct uring *u, const struct entry *e, const uint8_t **ret)
{
        struct fuse_in_header h;
        const size_t before = sizeof h + sizeof e->headers->op_in;
        memcpy(&h, e->headers->in_out, sizeof h);
        uint32_t payload = e->headers->ring_ent_in_out.payload_sz;
        if (payload > u->payload || h.len < sizeof h + payload || h.len - payload > before)
                return 0;
        size_t front = h.len - payload;
        uint8_t *at = session_message_place(u->s, front);
        memcpy(at, &h, sizeof h);
        memcpy(at + sizeof h, e->headers->op_in, front - sizeof h);
        memcpy(at + front, e->payload, payload);
        *ret = at;
        return h.len;
}

static void request_in(struct uring *u, struct entry *e)
{
        struct queue *q = &u->queues[e->queue];
        struct fuse_in_header h;
        const uint8_t *message;
        memcpy(&h, e->headers->in_out, sizeof h);
        q->idle--;
        e->state = BUSY;
        e->unique = h.unique;
        e->commit = e->headers->ring_ent_in_out.commit_id;
        e->next = NULL;
        *busy_place(u, h.unique) = e;
        struct entry *more = q->idle == 0 ? entry_new(u, e->queue) : NULL;
        if (more)
                (void)entry_register(u, more);
        size_t n = put_together(u, e, &message);
        if (n > 0) {
                session_message(u->s, message, n);
                return;
        }
        log_error("fuse", "a request of %u bytes came by the ring with %u of payload: refused", h.len,
                  e->headers->ring_ent_in_out.payload_sz);
        reply_refuse(u->s, h.unique, -EIO);
}

static void completed(struct uring *u, struct entry *e, int32_t result)
{
        if (result == 0 && e->state == WITH_KERNEL && !u->stopped) {
                request_in(u, e);
                return;
        }
        if (e->state == WITH_KERNEL)
                u->queues[e->queue].idle--;
        e->state = DEAD;
        if (result != -ENOTCONN && !u->stopped) /* that is what all of them say at the end */
                log_error("fuse", "the kernel gave an entry of the ring back: %s", strerror(-result));
}

static void reap(struct uring *u)
{
        uint32_t head = *u->cq_head;
        while (head != __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE) && (u->stopped || session_has_room(u->s))) {
                const struct io_uring_cqe cqe = u->cqes[head & u->cq_mask];
                __atomic_store_n(u->cq_head, ++head, __ATOMIC_RELEASE);
                completed(u, (struct entry *)(uintptr_t)cqe.user_data, cqe.res);
        }
}

static void ring_event(struct stream *stream, unsigned events, void *arg)
{
        struct uring *u = arg;
        reap(u);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void answer_set(const struct uring *u, struct entry *e, const struct iovec *iov, int n)
{
        struct fuse_out_header h;
        size_t size = 0;
        memcpy(&h, iov[0].iov_base, sizeof h);
        for (int i = 1; i < n && h.error == 0; i++) {
                if (iov[i].iov_len > u->payload - size) {
                        h.error = -EIO;
                        size = 0;
                        break;
                }
                if (iov[i].iov_len > 0)
                        memcpy(e->payload + size, iov[i].iov_base, iov[i].iov_len);
                size += iov[i].iov_len;
        }
        h.len = (uint32_t)(sizeof h + size);
        memcpy(e->headers->in_out, &h, sizeof h);
        e->headers->ring_ent_in_out.payload_sz = (uint32_t)size;
}

bool uring_answer(struct uring *u, uint64_t unique, const struct iovec *iov, int n)
{
        struct entry **at = busy_place(u, unique), *e = *at;
        if (!e)
                return false;
        struct queue *q = &u->queues[e->queue];
        *at = e->next;
        q->waiting -= e->waits;
        e->waits = false;
        answer_set(u, e, iov, n);
        e->state = WITH_KERNEL;
        q->idle++;
        int r = command(u, e, FUSE_IO_URING_CMD_COMMIT_AND_FETCH);
        if (r < 0)
                log_error("fuse", "an answer could not be given to the ring: %s", strerror(-r));
        return true;
}

bool uring_may_wait(struct uring *u, uint64_t unique)
{
        struct entry *e = *busy_place(u, unique);
        if (!e)
                return true;
        struct queue *q = &u->queues[e->queue];
        if (q->waiting >= WAITING_MAX)
                return false;
        q->waiting++;
        e->waits = true;
        return true;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* How many processors there can ever be ("0-3,8-11"): the kernel has that many queues. 0: not known. */
static unsigned possible_processors(void)
{
        unsigned first, last, n = 0;
        FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
        if (!f)
                return 0;
        while (n <= QUEUES_MAX && fscanf(f, "%u", &first) == 1) {
                if (fscanf(f, "-%u", &last) != 1)
                        last = first;
                n += last < first || last - first >= QUEUES_MAX ? QUEUES_MAX + 1 : last - first + 1;
                if (fscanf(f, ",") == EOF)
                        break;
        }
        (void)fclose(f);
        return n <= QUEUES_MAX ? n : 0;
}

int uring_new(struct fuse_session *s, uint32_t payload, struct uring **ret)
{
        unsigned n = possible_processors();
        if (n == 0)
                return -ENODEV;
        struct uring *u = calloc(1, sizeof *u + n * sizeof u->queues[0]);
        if (!u)
                return -ENOMEM;
        u->s = s;
        u->fd = -EBADF;
        u->page = (size_t)sysconf(_SC_PAGESIZE);
        u->payload = (payload + (uint32_t)u->page - 1) / (uint32_t)u->page * (uint32_t)u->page;
        u->n_queues = n;
        int r = ring_open(u);
        for (unsigned i = 0; r == 0 && i < n * ENTRIES_FIRST; i++)
                if (!entry_new(u, i / ENTRIES_FIRST))
                        r = -ENOMEM;
        if (r == 0)
                r = loop_watch_fd(s->loop, u->fd, STREAM_READABLE, ring_event, u, &u->watch);
        if (r < 0) {
                (void)uring_free(u);
                return r;
        }
        *ret = u;
        return 0;
}

int uring_start(struct uring *u)
{
        int r = 0;
        for (unsigned i = 0; r == 0 && i < u->n_queues * ENTRIES_FIRST; i++)
                r = entry_register(u, u->queues[i / ENTRIES_FIRST].entries[i % ENTRIES_FIRST]);
        return r;
}

void uring_watch(struct uring *u, bool on)
{
        if (u->watch)
                stream_watch(u->watch, on ? STREAM_READABLE : 0, ring_event, u);
}

void uring_stop(struct uring *u)
{
        u->stopped = true;
        u->watch = stream_free(u->watch);
}

/* What the kernel has still may be written into until it has let go of the ring, which it does by and by: that memory is
 * left alone. (It has none after an unmount, only if the file system is still there.) */
struct uring *uring_free(struct uring *u)
{
        if (!u)
                return NULL;
        uring_stop(u);
        timer_stop(&u->again);
        if (u->cqes)
                reap(u);
        if (u->sqes)
                (void)munmap(u->sqes, u->sqes_size);
        if (u->rings)
                (void)munmap(u->rings, u->rings_size);
        if (u->fd >= 0)
                (void)close_fd(u->fd);
        for (unsigned i = 0; i < u->n_queues; i++)
                while (u->queues[i].n > 0)
                        (void)entry_free(u, u->queues[i].entries[--u->queues[i].n]);
        free(u);
        return NULL;
}
