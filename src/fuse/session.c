/* The session: reads what the kernel sends and starts a fibre for each request.
 *
 * Relies on: the descriptor is non-blocking and gives whole messages. One message is read into one buffer of the
 * largest size; small ones are copied into their request's arena, a large one keeps the buffer and the reader takes
 * another. The header is read to just before a page boundary such that the data of a WRITE begins on it:
 *
 *      buffer │ … in_header │ write_in ┃ data, max_write bytes … │
 *               80 bytes in front      ┃ page boundary
 *
 * Invariants: a request is in `calls` from when it is read until its function returned. Reading stops while in_flight
 * (or the number of large messages held) is at its limit, so memory is bounded; SETLKW is counted apart, since the
 * requests that end it must be read. FORGET and INTERRUPT are done by the reader itself.
 *
 * Thread: the loop's.
 *
 * Above 600 lines: a request's life from the read to its end, which share counters and limits.
 */
#include "fuse/internal.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#define READ_BATCH_MAX 16u  /* messages taken per turn of the loop */
#define READ_PROBE_EVERY 8u /* turns with one message until it is tried whether there are two */
#define FRONT 4096u         /* of a buffer, where the header of a large message ends; see above */
#define FRONT_USED (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define SMALL_MAX (32 * KIB) /* messages up to this size are copied */
#define CALL_POOL_MAX 64u
#define EARLY_PATIENCE 32u
#define TRIM_AFTER (5 * NS_PER_SEC)
#define ARENA_EXTRA (8 * MIB) /* of a request's arena, for whatever its answer needs */

static void session_event(struct stream *stream, unsigned events, void *arg);

/* ---- read buffers --------------------------------------------------------------------------------------------- */

static uint8_t *buffer_get(struct fuse_session *s)
{
        if (s->n_spare > 0)
                return s->spare[--s->n_spare];
        void *p = mmap(NULL, s->buffer_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
}

static void buffer_free(struct fuse_session *s, uint8_t *buffer)
{
        if (buffer)
                (void)munmap(buffer, s->buffer_size);
}

static void buffers_trim(struct timer *t)
{
        struct fuse_session *s = CONTAINER_OF(t, struct fuse_session, trim);
        while (s->n_spare > 0)
                buffer_free(s, s->spare[--s->n_spare]);
}

static void buffer_put(struct fuse_session *s, uint8_t *buffer)
{
        if (s->n_spare == ELEMENTSOF(s->spare)) {
                buffer_free(s, buffer);
                return;
        }
        s->spare[s->n_spare++] = buffer;
        timer_start(s->loop, &s->trim, TRIM_AFTER, buffers_trim);
}

/* ---- requests under way --------------------------------------------------------------------------------------- */

static struct fuse_call **call_bucket(struct fuse_session *s, uint64_t unique)
{
        return &s->calls[(unique >> 1) % FUSE_CALL_BUCKETS]; /* the kernel counts in steps of two */
}

static struct fuse_call *call_find(struct fuse_session *s, uint64_t unique)
{
        struct fuse_call *c = *call_bucket(s, unique);
        while (c && c->rq.unique != unique)
                c = c->hash_next;
        return c;
}

static struct fuse_call *call_new(struct fuse_session *s, const struct fuse_in_header *h)
{
        struct fuse_call *c = s->pool;
        struct arena arena = ARENA_INIT(2 * (size_t)s->config.max_write + ARENA_EXTRA);
        if (c) {
                s->pool = c->next;
                s->n_pool--;
                arena = c->arena;
        } else {
                c = malloc(sizeof *c);
        }
        if (!c)
                return NULL;
        *c = (struct fuse_call){.arena = arena};
        c->rq = (struct fuse_request){
                .session = s,
                .arg = s->config.arg,
                .opcode = h->opcode,
                .unique = h->unique,
                .node = h->nodeid,
                .uid = h->uid,
                .gid = h->gid,
                .pid = h->pid,
                .arena = &c->arena,
        };
        return c;
}

static void call_free(struct fuse_session *s, struct fuse_call *c)
{
        if (c->large) {
                buffer_put(s, c->large);
                s->stats.large--;
        }
        if (s->n_pool >= CALL_POOL_MAX) {
                arena_done(&c->arena);
                free(c);
                return;
        }
        arena_reset(&c->arena);
        c->next = s->pool;
        s->pool = c;
        s->n_pool++;
}

static bool session_full(const struct fuse_session *s)
{
        return s->stats.in_flight >= s->config.in_flight_max || s->stats.large >= s->config.large_max;
}

static void session_pause(struct fuse_session *s)
{
        s->paused = true;
        s->stats.stops++;
        stream_watch(s->device, 0, session_event, s);
        if (s->uring)
                uring_watch(s->uring, false);
}

bool session_has_room(struct fuse_session *s)
{
        if (!session_full(s) || !s->device)
                return true;
        session_pause(s);
        return false;
}

static void session_resume(struct fuse_session *s)
{
        if (!s->paused || !s->device || session_full(s))
                return;
        s->paused = false;
        stream_watch(s->device, STREAM_READABLE, session_event, s);
        if (s->uring)
                uring_watch(s->uring, true);
}

static void call_enter(struct fuse_session *s, struct fuse_call *c)
{
        struct fuse_call **bucket = call_bucket(s, c->rq.unique);
        c->hash_next = *bucket;
        *bucket = c;
        if (c->waiting) {
                s->stats.waiting++;
                return;
        }
        s->stats.in_flight++;
        s->stats.in_flight_peak = MAX(s->stats.in_flight_peak, s->stats.in_flight);
}

static void call_leave(struct fuse_session *s, struct fuse_call *c)
{
        struct fuse_call **at = call_bucket(s, c->rq.unique);
        while (*at != c)
                at = &(*at)->hash_next;
        *at = c->hash_next;
        if (c->waiting)
                s->stats.waiting--;
        else
                s->stats.in_flight--;
        call_free(s, c);
        session_resume(s);
        if (s->closing && s->stats.in_flight + s->stats.waiting == 0)
                fibre_event_set(&s->idle);
}

static void call_run(struct fibre *self, void *arg)
{
        struct fuse_call *c = arg;
        c->fn(self, &c->rq);
        if (!c->replied) {
                char text[FUSE_REQUEST_TEXT_MAX];
                log_error("fuse", "%s was not answered by the file system: answered EIO",
                          fuse_request_format(&c->rq, text));
                (void)fuse_reply_error(&c->rq, -EIO);
        }
        call_leave(c->rq.session, c);
}

/* ---- interrupts ----------------------------------------------------------------------------------------------- */

/* An INTERRUPT whose request is not there: either it has been answered, then nobody waits for more; or the request is
 * yet to come, then it is interrupted when it is read. Kept for a number of requests, after which the kernel is told to
 * try again (it does so only if the request still is under way). */
static void interrupt_keep(struct fuse_session *s, uint64_t unique, uint64_t target)
{
        s->stats.interrupts_early++;
        for (size_t i = 0; i < ELEMENTSOF(s->early); i++) {
                if (s->early[i].target != 0)
                        continue;
                s->early[i] = (struct early_interrupt){unique, target, EARLY_PATIENCE};
                s->n_early++;
                return;
        }
        (void)reply_write(s, unique, -EAGAIN, NULL, 0);
}

static void interrupt_arrived(struct fuse_session *s, uint64_t unique, uint64_t target)
{
        s->stats.interrupts++;
        struct fuse_call *c = call_find(s, target);
        if (c)
                fibre_event_set(&c->rq.interrupted);
        else if (target != 0)
                interrupt_keep(s, unique, target);
}

/* A request was read: was it interrupted before? */
static bool interrupt_waits_for(struct fuse_session *s, uint64_t unique)
{
        bool found = false;
        for (size_t i = 0; i < ELEMENTSOF(s->early) && s->n_early > 0; i++) {
                struct early_interrupt *e = &s->early[i];
                if (e->target == 0)
                        continue;
                bool match = e->target == unique;
                if (!match && --e->patience > 0)
                        continue;
                if (!match)
                        (void)reply_write(s, e->unique, -EAGAIN, NULL, 0);
                found |= match;
                e->target = 0;
                s->n_early--;
        }
        return found;
}

static void session_interrupt_all(struct fuse_session *s)
{
        for (size_t i = 0; i < FUSE_CALL_BUCKETS; i++)
                for (struct fuse_call *c = s->calls[i]; c; c = c->hash_next)
                        fibre_event_set(&c->rq.interrupted);
}

/* ---- what the reader does itself ------------------------------------------------------------------------------ */

static void forget(struct fuse_session *s, uint64_t node, uint64_t n)
{
        s->stats.forgets++;
        if (s->config.ops->forget)
                s->config.ops->forget(s, node, n, s->config.arg);
}

/* FORGET has no answer, whatever is wrong with it. */
static void forget_arrived(struct fuse_session *s, uint64_t node, const uint8_t *body, size_t n)
{
        struct fuse_forget_in in;
        if (n != sizeof in) {
                s->stats.refused++;
                return;
        }
        memcpy(&in, body, sizeof in);
        forget(s, node, in.nlookup);
}

static void batch_forget_arrived(struct fuse_session *s, const uint8_t *body, size_t n)
{
        struct fuse_batch_forget_in in;
        struct fuse_forget_one one;
        if (n < sizeof in) {
                s->stats.refused++;
                return;
        }
        memcpy(&in, body, sizeof in);
        if ((n - sizeof in) / sizeof one != in.count || (n - sizeof in) % sizeof one != 0) {
                s->stats.refused++;
                return;
        }
        for (size_t i = 0; i < in.count; i++) {
                memcpy(&one, body + sizeof in + i * sizeof one, sizeof one);
                forget(s, one.nodeid, one.nlookup);
        }
}

static void interrupt_message(struct fuse_session *s, uint64_t unique, const uint8_t *body, size_t n)
{
        struct fuse_interrupt_in in;
        if (n != sizeof in) {
                s->stats.refused++;
                return;
        }
        memcpy(&in, body, sizeof in);
        interrupt_arrived(s, unique, in.unique);
}

static void init_arrived(struct fuse_session *s, uint64_t unique, const uint8_t *body, size_t n)
{
        if (s->initialised) {
                reply_refuse(s, unique, -EIO);
                return;
        }
        int r = init_negotiate(s, unique, body, n);
        if (r < 0) {
                session_end(s, r == -ENOENT ? 0 : r);
                return;
        }
        s->initialised = r > 0;
        r = s->initialised && s->uring ? uring_start(s->uring) : 0;
        if (r < 0) {
                log_error("fuse", "The ring that was agreed with the kernel cannot be filled: %s", strerror(-r));
                session_end(s, r);
                return;
        }
        if (s->initialised && s->config.on_init)
                s->config.on_init(s, &s->protocol, s->config.arg);
}

/* ---- starting a request --------------------------------------------------------------------------------------- */

/* Gives the message a place for the life of the request: MESSAGE lies in the read buffer. */
static const uint8_t *call_hold(struct fuse_session *s, struct fuse_call *c, const uint8_t *message, size_t n)
{
        if (n <= SMALL_MAX) {
                uint8_t *copy = arena_alloc_uninitialised(&c->arena, n);
                return copy ? memcpy(copy, message, n) : NULL;
        }
        uint8_t *next = buffer_get(s);
        if (!next)
                return NULL;
        c->large = s->buffer;
        s->buffer = next;
        s->stats.large++;
        return message;
}

/* RENAME for a file system that has one function for both. */
static int rename_to_rename2(struct fuse_call *c)
{
        struct fuse_rename2_in *in = arena_alloc(&c->arena, sizeof *in);
        if (!in)
                return -ENOMEM;
        in->newdir = c->rq.in.rename->newdir;
        c->rq.in.rename2 = in;
        c->rq.opcode = FUSE_RENAME2;
        return 0;
}

/* The function that serves OP. NULL: none. */
static operation_fn call_function(const struct operation *op, const struct fuse_ops *ops)
{
        operation_fn fn = operation_function(op, ops);
        if (fn)
                return fn;
        if (op->opcode == FUSE_RENAME)
                return ops->rename2;
        if (op->opcode == FUSE_COPY_FILE_RANGE_64)
                return ops->copy_file_range;
        return NULL;
}

/* Decodes MESSAGE into C and starts it; on failure C is the caller's still. */
static int call_start(struct fuse_session *s, struct fuse_call *c, const uint8_t *message, size_t n)
{
        message = call_hold(s, c, message, n);
        if (!message)
                return -ENOMEM;
        size_t header = sizeof(struct fuse_in_header);
        int r = operation_decode(c->op, s->protocol.flags, message + header, n - header, &c->rq);
        if (r < 0)
                return r;
        if (c->op->opcode == FUSE_RENAME && !s->config.ops->rename)
                r = rename_to_rename2(c);
        if (r < 0)
                return r;
        c->reply_max = reply_room(&c->rq);
        c->waiting = c->op->opcode == FUSE_SETLKW;
        if (c->waiting && s->stats.waiting >= s->config.waiting_max)
                return -ENOLCK;
        if (c->waiting && s->uring && !uring_may_wait(s->uring, c->rq.unique))
                return -ENOLCK;
        c->rq.interrupted.done = interrupt_waits_for(s, c->rq.unique);
        r = fibre_start(s->loop, c->op->fibre, call_run, c);
        if (r < 0)
                return -ENOMEM;
        call_enter(s, c);
        return 0;
}

static void request_arrived(struct fuse_session *s, const struct fuse_in_header *h, const uint8_t *message, size_t n)
{
        s->stats.requests++;
        if (h->opcode < FUSE_OPCODES)
                s->counts[h->opcode]++;
        const struct operation *op = operation_find(h->opcode);
        if (!op || !s->initialised) {
                reply_refuse(s, h->unique, s->initialised ? -ENOSYS : -EIO);
                return;
        }
        if (op->minor > s->protocol.minor) { /* it would not send that, were it as old as it is to be taken for */
                reply_refuse(s, h->unique, -ENOSYS);
                return;
        }
        operation_fn fn = call_function(op, s->config.ops);
        if (!fn) {
                reply_refuse(s, h->unique, -op->missing);
                return;
        }
        struct fuse_call *c = call_new(s, h);
        if (!c) {
                reply_refuse(s, h->unique, -ENOMEM);
                return;
        }
        c->op = op;
        c->fn = fn;
        int r = call_start(s, c, message, n);
        if (r == 0)
                return;
        if (r == -EINVAL)
                log_error("fuse", "a malformed %s of %zu bytes came from the kernel: refused", op->name, n);
        reply_refuse(s, h->unique, r);
        call_free(s, c);
}

/* ---- the reader ----------------------------------------------------------------------------------------------- */

void session_message(struct fuse_session *s, const uint8_t *message, size_t n)
{
        struct fuse_in_header h;
        if (n < sizeof h) {
                s->stats.refused++;
                return;
        }
        memcpy(&h, message, sizeof h);
        size_t extension = (size_t)h.total_extlen * 8; /* only with flags that are not negotiated */
        if (h.len != n || extension > n - sizeof h) {
                log_error("fuse", "a message of %zu bytes from the kernel says that it has %u: refused", n, h.len);
                reply_refuse(s, h.unique, -EIO);
                return;
        }
        const uint8_t *body = message + sizeof h;
        size_t size = n - sizeof h;
        switch (h.opcode) {
        case FUSE_INIT:
                init_arrived(s, h.unique, body, size);
                return;
        case FUSE_FORGET:
                forget_arrived(s, h.nodeid, body, size);
                return;
        case FUSE_BATCH_FORGET:
                batch_forget_arrived(s, body, size);
                return;
        case FUSE_INTERRUPT:
                interrupt_message(s, h.unique, body, size);
                return;
        case FUSE_NOTIFY_REPLY: /* of a notification that is never sent */
                s->stats.refused++;
                return;
        case FUSE_DESTROY:
                (void)reply_write(s, h.unique, 0, NULL, 0);
                session_end(s, 0);
                return;
        default:
                request_arrived(s, &h, message, n - extension);
        }
}

uint8_t *session_message_place(struct fuse_session *s, size_t front)
{
        return s->buffer + FRONT - front;
}

/* 1: a message was read and dealt with; 0: there is none; -errno: the device has ended (-ENODEV: unmounted). */
static int session_read(struct fuse_session *s)
{
        uint8_t *at = s->buffer + FRONT - FRONT_USED;
        ssize_t n = read(s->fd, at, s->buffer_size - (FRONT - FRONT_USED));
        if (n > 0) {
                session_message(s, at, (size_t)n);
                return 1;
        }
        if (n == 0)
                return -ENODEV; /* tests: a socket */
        if (errno == EAGAIN)
                return 0;
        if (errno == EINTR || errno == ENOENT) /* ENOENT: the request was interrupted before it was read */
                return 1;
        return -errno;
}

/* How much to take in the next turn, when N of s->batch were there. Who waits for each answer before he asks again must
 * not cost a read that finds nothing, every time; many who ask at once should not cost a wait each. */
static void batch_adapt(struct fuse_session *s, unsigned n)
{
        if (n < s->batch)
                s->batch = MAX(n, 1u);
        else if (s->batch > 1 || ++s->batch_single % READ_PROBE_EVERY == 0)
                s->batch = MIN(s->batch * 2, READ_BATCH_MAX);
}

static void session_event(struct stream *stream, unsigned events, void *arg)
{
        struct fuse_session *s = arg;
        bool hangup = events & STREAM_HANGUP;
        unsigned n = 0;
        for (; n < s->batch && s->device; n++) {
                if (session_full(s) && !hangup) {
                        session_pause(s);
                        return;
                }
                int r = session_read(s);
                if (r == 0)
                        break;
                if (r < 0)
                        session_end(s, r == -ENODEV ? 0 : r);
        }
        batch_adapt(s, n);
        if (s->device && hangup) { /* more before the end */
                s->paused = false;
                stream_watch(s->device, STREAM_READABLE, session_event, s);
        }
}

void session_end(struct fuse_session *s, int reason)
{
        if (s->ended)
                return;
        s->ended = true;
        s->device = stream_free(s->device);
        if (s->uring)
                uring_stop(s->uring);
        session_interrupt_all(s);
        if (s->config.on_end)
                s->config.on_end(s, reason, s->config.arg);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static int session_open(struct fuse_session *s, int fd)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        s->buffer_size = (FRONT + s->config.max_write + page - 1) / page * page;
        s->buffer_size = MAX(s->buffer_size, (size_t)FRONT + FUSE_MIN_READ_BUFFER);
        s->buffer = buffer_get(s);
        if (!s->buffer)
                return -ENOMEM;
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return loop_watch_fd(s->loop, fd, STREAM_READABLE, session_event, s, &s->device);
}

int fuse_session_new(const struct fuse_session_config *config, int fd, struct fuse_session **ret)
{
        struct fuse_session_config filled = *config;
        int r = init_configure(&filled);
        if (r < 0)
                return r;
        struct fuse_session *s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->config = filled;
        s->loop = filled.loop;
        s->fd = -EBADF;
        s->batch = 1;
        r = session_open(s, fd);
        if (r < 0) {
                buffer_free(s, s->buffer);
                free(s);
                return r;
        }
        s->fd = fd;
        *ret = s;
        return 0;
}

static void session_free_memory(struct fuse_session *s)
{
        timer_stop(&s->trim);
        buffers_trim(&s->trim);
        buffer_free(s, s->buffer);
        while (s->pool) {
                struct fuse_call *c = s->pool;
                s->pool = c->next;
                arena_done(&c->arena);
                free(c);
        }
        groups_free(s);
        free(s);
}

struct fuse_session *fuse_session_free(struct fibre *self, struct fuse_session *s)
{
        if (!s)
                return NULL;
        s->closing = true;
        s->ended = true;
        s->device = stream_free(s->device);
        if (s->uring)
                uring_stop(s->uring);
        session_interrupt_all(s);
        if (s->stats.in_flight + s->stats.waiting > 0)
                (void)fibre_event_wait(self, &s->idle, UINT64_MAX);
        notify_stop(self, s);
        s->uring = uring_free(s->uring);
        (void)close_fd(s->fd);
        session_free_memory(s);
        return NULL;
}

const struct fuse_protocol *fuse_session_protocol(const struct fuse_session *s)
{
        return s->initialised ? &s->protocol : NULL;
}

struct loop *fuse_session_loop(const struct fuse_session *s)
{
        return s->loop;
}

void fuse_session_stats(const struct fuse_session *s, struct fuse_stats *ret)
{
        *ret = s->stats;
        ret->notifications = atomic_load(&s->notify_done);
        ret->notifications_failed = atomic_load(&s->notify_failed);
        ret->notifications_dropped = s->notify_dropped;
        ret->notify_queued = atomic_load(&s->notify_queued);
}

uint64_t fuse_session_count(const struct fuse_session *s, uint32_t opcode)
{
        return opcode < FUSE_OPCODES ? s->counts[opcode] : 0;
}
