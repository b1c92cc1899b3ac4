/* Lanes (lane.h): leader and followers.
 *
 *   - `leader` is the one thread that waits on the epoll set, reads connections and takes records out of them
 *   - a worker that is not the leader is running a request (`running`), waits (`idle`), or has just been told to stop
 *     waiting (`tokens`)
 *   - the leader changes under `lock`. Who takes over from a busy leader first moves `watched.serving` on: exactly one
 * of the leader's end and the take-over succeeds, without a lock in the fast case
 *   - a worker that lost the lead keeps the buffer its record lies in; the connection goes on with a new one
 *   - a connection with something to do that epoll will not report (records already read, a session to open) is in the
 *     pending list
 *
 * Runs on: its workers; lane_new/add/stop and everything named doze on the control loop. Order: lane.lock < conn.lock.
 * Above 600 lines because the leader's rules only make sense together.
 */
#include "brick/lane.h"

#include <assert.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/log.h"
#include "brick/lender.h"
#include "brick/transport.h"
#include "brick/unread.h"
#include "proto/chain.h"

#define IDLE_SECONDS 10
#define RETRY_DELAY (100 * NS_PER_MSEC)
#define ARENA_MAX (64 * MIB)
#define READ_FIRST (160 * KIB) /* a stock write of 128 KiB with its header arrives in one read */
#define READ_MORE (16 * KIB)
#define READ_STEP MIB /* memory for a large record grows as its bytes come, not as they are announced */
#define SPARE_MAX MIB /* read buffer that a worker keeps between connections */

struct job {
        struct job *next;
        struct conn *conn; /* referenced */
        enum { JOB_CALL, JOB_RESUME, JOB_WELCOME, JOB_END } kind; /* JOB_END: the last reference */
        struct parked_call *parked;
        struct welcome *welcome;
        size_t promised;   /* when it runs */
        uint32_t len;
        uint8_t record[];
};

struct worker {
        struct lane *lane;
        struct arena arena;
        struct buf spare;  /* the read buffer while no connection holds it */
        struct buf cipher; /* what was read and is to be decrypted */
        struct conn *conn; /* whose request runs; NULL: something else that may take long */
        uint64_t serving;
        size_t promised;               /* of that request, to conn->promised */
        struct record_reader detached; /* after losing the lead: where the request's record lies */
};

struct lane {
        struct export *export; /* referenced */
        struct watched watched;
        int epoll_fd, wake_fd;
        atomic_uint conns; /* open ones */
        atomic_bool stopping;
        atomic_bool has_pending;
        atomic_uint running;

        pthread_mutex_t lock; /* the rest */
        pthread_cond_t follow;
        struct worker *leader;
        unsigned threads, idle, tokens;
        struct job *queue, **queue_tail;
        struct conn *pending, **pending_tail;
        bool awake; /* has threads, or is about to */
        bool doze_posted;

        struct stream *doze; /* control loop: watches epoll_fd while there are no threads */
        struct timer retry;  /* control loop: runs instead while none can be started */
};

enum verdict { LED, DEMOTED, CLOSED, IDLED };

static void *worker_main(void *arg);
static void lane_doze(void *arg);

static struct watchdog *lane_watchdog(const struct lane *l)
{
        return l->export->process->watchdog;
}

static void lane_poke(struct lane *l)
{
        ssize_t ignored = write(l->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
        (void)ignored;
}

/* ---- threads; under the lock ------------------------------------------------------------------------------------- */

static bool lane_has_idle(const struct lane *l)
{
        return l->idle > l->tokens;
}

/* Gets one more thread going, from the idle ones or a new one. */
static bool lane_call_worker(struct lane *l)
{
        if (lane_has_idle(l)) {
                l->tokens++;
                pthread_cond_signal(&l->follow);
                return true;
        }
        if (l->threads >= LANE_WORKERS || thread_start("lane", worker_main, l) < 0)
                return false;
        l->threads++;
        l->awake = true;
        return true;
}

static void pending_push_locked(struct lane *l, struct conn *c)
{
        if (c->pending)
                return;
        c->pending = true;
        c->pending_next = NULL;
        *l->pending_tail = conn_ref(c);
        l->pending_tail = &c->pending_next;
        atomic_store(&l->has_pending, true);
}

static struct conn *pending_pop(struct lane *l)
{
        if (!atomic_load(&l->has_pending))
                return NULL;
        pthread_mutex_lock(&l->lock);
        struct conn *c = l->pending;
        if (c) {
                l->pending = c->pending_next;
                c->pending = false;
        }
        if (!l->pending) {
                l->pending_tail = &l->pending;
                atomic_store(&l->has_pending, false);
        }
        pthread_mutex_unlock(&l->lock);
        return c;
}

static void pending_push(struct lane *l, struct conn *c)
{
        pthread_mutex_lock(&l->lock);
        pending_push_locked(l, c);
        pthread_mutex_unlock(&l->lock);
        lane_poke(l);
}

/* ---- read buffers ------------------------------------------------------------------------------------------------ */

/* A new reader with the unconsumed bytes of OLD. */
static struct record_reader reader_split(const struct record_reader *old, size_t limit)
{
        struct record_reader fresh;
        record_reader_init(&fresh, limit);
        if (old->in.len > old->start)
                (void)buf_append(&fresh.in, old->in.data + old->start, old->in.len - old->start);
        return fresh;
}

static void spare_put(struct worker *w, struct buf *b)
{
        if (!w->spare.data && b->cap <= SPARE_MAX) {
                w->spare = *b;
                w->spare.len = 0;
                w->spare.error = 0;
                *b = BUF_INIT(b->max);
        } else {
                buf_done(b);
        }
}

static void reader_lend(struct worker *w, struct conn *c)
{
        if (c->in.in.data || !w->spare.data)
                return;
        size_t max = c->in.in.max;
        c->in.in = w->spare;
        w->spare = BUF_INIT(SPARE_MAX);
        c->in.in.max = max;
}

/* An idle connection keeps no buffer, an unfinished record not much more than its bytes. */
static void reader_leave(struct worker *w, struct conn *c)
{
        struct record_reader *r = &c->in;
        size_t left = r->in.len - r->start;
        if (!r->joining && r->joined.data)
                buf_done(&r->joined);
        if (!r->in.data || (left > 0 && r->in.cap <= 4 * left + 4 * KIB))
                return;
        struct buf big = r->in;
        r->in = BUF_INIT(big.max);
        if (left > 0 && buf_append(&r->in, big.data + r->start, left) < 0)
                conn_shutdown(c);
        r->start = 0;
        spare_put(w, &big);
}

/* ---- running something that may take long ------------------------------------------------------------------------ */

/* Takes the lead from W, which is at its request. Under the lock; somebody else has been called. */
static void lane_depose(struct lane *l, struct worker *w)
{
        struct conn *c = w->conn;
        if (c) {
                conn_ref(c);
                atomic_fetch_add(&c->outstanding, 1);
                w->detached = c->in;
                c->in = reader_split(&w->detached, RECORD_LIMIT);
                c->missing = 0;
                if (c->in.in.error)
                        conn_shutdown(c);
                if (c->in.in.len > 0 || atomic_load(&c->unwatched) || conn_has_resumed(c))
                        pending_push_locked(l, c);
        }
        l->leader = NULL;
        atomic_fetch_add(&l->running, 1);
}

/* Watchdog thread. */
static void lane_slow(struct watched *x, uint64_t serving)
{
        struct lane *l = CONTAINER_OF(x, struct lane, watched);
        pthread_mutex_lock(&l->lock);
        if (atomic_load(&x->serving) == serving && lane_call_worker(l) && watched_end(x, serving))
                lane_depose(l, l->leader);
        pthread_mutex_unlock(&l->lock);
}

static void leader_begin(struct worker *w, struct conn *c, size_t promised)
{
        w->conn = c;
        w->promised = promised;
        if (promised > 0)
                atomic_fetch_add(&c->promised, promised);
        w->serving = watched_begin(lane_watchdog(w->lane), &w->lane->watched);
}

/* Lets somebody else lead before a request that will take long. Without a thread to spare W stays the leader. */
static void leader_hand_over(struct worker *w)
{
        struct lane *l = w->lane;
        pthread_mutex_lock(&l->lock);
        if (l->leader == w && lane_call_worker(l) && watched_end(&l->watched, w->serving))
                lane_depose(l, w);
        pthread_mutex_unlock(&l->lock);
}

/* Something that ran beside the leader is done. */
static void lane_ran(struct lane *l)
{
        atomic_fetch_sub(&l->running, 1);
        if (atomic_load(&l->stopping))
                lane_poke(l);
}

/* A request of C that ran beside the leader is done. */
static void request_over(struct lane *l, struct conn *c, size_t promised)
{
        atomic_fetch_sub(&c->outstanding, 1);
        atomic_fetch_sub(&c->promised, promised);
        if (conn_resume(c))
                pending_push(l, c);
        conn_unref(c);
}

/* LED: W still leads. DEMOTED: it does not, and has put everything in order. */
static enum verdict leader_end(struct worker *w)
{
        struct lane *l = w->lane;
        if (watched_end(&l->watched, w->serving)) {
                if (w->promised > 0)
                        atomic_fetch_sub(&w->conn->promised, w->promised);
                return LED;
        }
        pthread_mutex_lock(&l->lock); /* who took over may still be at it */
        assert(l->leader != w);
        pthread_mutex_unlock(&l->lock);
        if (w->conn) {
                spare_put(w, &w->detached.in);
                record_reader_done(&w->detached);
                request_over(l, w->conn, w->promised);
        }
        lane_ran(l);
        return DEMOTED;
}

/* Nobody is left who could take the lead: the leader must not do what may block. */
static bool all_are_busy(struct lane *l)
{
        return atomic_load(&l->running) >= LANE_WORKERS - 1;
}

/* Keeps J for the next worker that is free. */
static void lane_queue(struct lane *l, struct job *j)
{
        pthread_mutex_lock(&l->lock);
        *l->queue_tail = j;
        l->queue_tail = &j->next;
        if (lane_has_idle(l))
                (void)lane_call_worker(l);
        pthread_mutex_unlock(&l->lock);
}

/* Gives up a reference as leader: the last one closes files, which may block. */
static enum verdict leader_unref(struct worker *w, struct conn *c)
{
        struct job *j = all_are_busy(w->lane) && atomic_load(&c->refs) == 1 ? malloc(sizeof *j) : NULL;
        if (j) {
                *j = (struct job){.conn = c, .kind = JOB_END};
                lane_queue(w->lane, j);
                return LED;
        }
        leader_begin(w, NULL, 0);
        conn_unref(c);
        return leader_end(w);
}

static enum verdict leader_close(struct worker *w, struct conn *c)
{
        struct lane *l = w->lane;
        conn_mark_closed(c);
        (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
        record_reader_done(&c->in);
        record_reader_init(&c->in, RECORD_LIMIT);
        atomic_fetch_sub(&l->conns, 1);
        return leader_unref(w, c);
}

/* ---- calls
 * --------------------------------------------------------------------------------------------------------------------------
 */

/* For the brick, and not for the process around it. */
static bool is_fop(const struct rpc_call *call)
{
        return (call->prog == FOP_PROGRAM && call->vers == FOP_VERSION) ||
               (call->prog == CHAIN_PROGRAM && call->vers == CHAIN_VERSION);
}

static enum verdict leader_queue(struct worker *w, struct conn *c, struct slice record, size_t promised)
{
        struct job *j = malloc(sizeof *j + record.len);
        if (!j)
                return CLOSED;
        *j = (struct job){.conn = conn_ref(c), .promised = promised, .len = record.len};
        memcpy(j->record, record.data, record.len);
        atomic_fetch_add(&c->outstanding, 1);
        atomic_fetch_add(&c->queued, record.len);
        atomic_fetch_add(&c->promised, promised);
        lane_queue(w->lane, j);
        return LED;
}

static enum verdict leader_serve(struct worker *w, struct conn *c, const struct rpc_call *call)
{
        leader_begin(w, c, session_call_answer_size(call));
        if (session_call_is_slow(call))
                leader_hand_over(w);
        session_serve(atomic_load(&c->session), call, &w->arena);
        arena_reset(&w->arena);
        return leader_end(w);
}

static void serve_small(struct worker *w, struct conn *c, const struct rpc_call *call)
{
        if (is_fop(call))
                conn_reply(c, call->xid, RPC_GARBAGE_ARGS, NULL, NULL);
        else
                handshake_serve(c, call, &w->arena, NULL);
        arena_reset(&w->arena);
}

static enum verdict leader_record(struct worker *w, struct conn *c, struct slice record)
{
        int direction = rpc_direction(record);
        if (direction < 0)
                return CLOSED;
        if (direction == RPC_REPLY)
                return LED; /* nothing was asked */
        struct rpc_call call;
        enum rpc_status status;
        if (rpc_call_decode(record, &call, &status) < 0) {
                if (status == RPC_SUCCESS)
                        return CLOSED;
                conn_reply(c, call.xid, status, NULL, NULL);
                return LED;
        }
        if (!is_fop(&call) || !atomic_load(&c->session)) {
                serve_small(w, c, &call);
                return LED;
        }
        if (all_are_busy(w->lane))
                return leader_queue(w, c, record, session_call_answer_size(&call));
        return leader_serve(w, c, &call);
}

/* Opens the session that SETVOLUME asked for; takes ASKED. */
static void welcome_run(struct worker *w, struct conn *c, struct welcome *asked)
{
        _cleanup_(welcome_freep) struct welcome *welcome = asked;
        const struct session_config config = {
                .client_uid = welcome->client_uid,
                .subdir = welcome->subdir,
                .trusted = welcome->trusted,
                .op_version = welcome->op_version,
                .send = conn_send,
                .resume = conn_resume_call,
                .lend = lender_lend,
                .conn = c,
        };
        struct session *s = NULL;
        int r = session_open(c->export->brick, &config, &s);
        atomic_store(&c->session, s);
        handshake_finish(c, welcome, r, &w->arena);
        arena_reset(&w->arena);
}

/* Serves a call that was parked; for nobody if the client has gone. */
static void resume_run(struct worker *w, struct conn *c, struct parked_call *p)
{
        if (atomic_load(&c->closed))
                session_forget(p);
        else
                session_resume(p, &w->arena);
        arena_reset(&w->arena);
}

static void job_run(struct worker *w, struct job *j)
{
        struct conn *c = j->conn;
        struct rpc_call call;
        enum rpc_status status;
        size_t promised = j->promised;
        if (j->kind != JOB_CALL) {
                if (j->kind == JOB_WELCOME)
                        welcome_run(w, c, TAKE_PTR(j->welcome));
                else if (j->kind == JOB_RESUME)
                        resume_run(w, c, j->parked);
                free(j);
                conn_unref(c);
                return;
        }
        if (rpc_call_decode((struct slice){j->record, j->len}, &call, &status) == 0)
                session_serve(atomic_load(&c->session), &call, &w->arena);
        arena_reset(&w->arena);
        atomic_fetch_sub(&c->queued, j->len);
        free(j);
        request_over(w->lane, c, promised);
}

/* ---- connections, as leader -------------------------------------------------------------------------------------- */

/* Takes records out of what was read, as far as limits allow. */
static enum verdict leader_records(struct worker *w, struct conn *c)
{
        while (conn_may_read(c)) {
                struct slice record;
                int r = record_reader_next(&c->in, &record, &c->missing);
                if (r < 0)
                        return CLOSED;
                if (r == 0)
                        break;
                enum verdict v = leader_record(w, c, record);
                if (v != LED)
                        return v; /* DEMOTED: C->in is somebody else's now */
        }
        reader_leave(w, c);
        return unfinished_set(c, c->in.in.cap + c->in.joined.cap) ? LED : CLOSED;
}

/* One read; its records. */
static enum verdict leader_read(struct worker *w, struct conn *c)
{
        bool fresh = c->in.in.len == c->in.start;
        size_t want = fresh ? READ_FIRST : MIN(MAX(c->missing, (size_t)READ_MORE), (size_t)READ_STEP);
        reader_lend(w, c);
        ssize_t n = transport_read(c, want, &w->cipher);
        if (n <= 0 && n != -EAGAIN && n != -EINTR)
                return CLOSED;
        return leader_records(w, c);
}

/* Only a sub-directory has to be looked for on the disk. */
static enum verdict leader_welcome(struct worker *w, struct conn *c)
{
        struct job *j = all_are_busy(w->lane) && *c->welcome->subdir ? malloc(sizeof *j) : NULL;
        if (j) {
                *j = (struct job){.conn = conn_ref(c), .kind = JOB_WELCOME, .welcome = TAKE_PTR(c->welcome)};
                lane_queue(w->lane, j);
                return LED;
        }
        leader_begin(w, c, 0);
        welcome_run(w, c, TAKE_PTR(c->welcome));
        return leader_end(w);
}

/* Parked calls of C that may go on. */
static enum verdict leader_resumed(struct worker *w, struct conn *c)
{
        enum verdict v = LED;
        struct parked_call *p;
        while (v == LED && (p = conn_take_resumed(c)) != NULL) {
                struct job *j = all_are_busy(w->lane) ? malloc(sizeof *j) : NULL;
                if (j) {
                        *j = (struct job){.conn = conn_ref(c), .kind = JOB_RESUME, .parked = p};
                        lane_queue(w->lane, j);
                        continue;
                }
                leader_begin(w, c, 0);
                resume_run(w, c, p);
                v = leader_end(w);
        }
        return v;
}

/* Sees to C whatever epoll says about it. */
static enum verdict leader_pending(struct worker *w, struct conn *c)
{
        bool open = !atomic_load(&c->closed);
        enum verdict v = open && c->welcome ? leader_welcome(w, c) : LED;
        if (v == LED)
                v = leader_resumed(w, c);
        if (v == LED && atomic_exchange(&c->unwatched, false))
                v = CLOSED;
        else if (open && v == LED)
                v = leader_records(w, c);
        if (v == CLOSED)
                v = leader_close(w, c);
        if (v == LED)
                return leader_unref(w, c);
        conn_unref(c);
        return v;
}

static enum verdict leader_event(struct worker *w, struct conn *c, uint32_t events)
{
        if (events & EPOLLOUT) {
                conn_flush(c);
                if (conn_resume(c))
                        pending_push(w->lane, c);
        }
        enum verdict v = LED;
        if (events & (EPOLLERR | EPOLLHUP))
                v = CLOSED;
        else if (events & EPOLLIN)
                v = leader_read(w, c);
        else if (events & EPOLLRDHUP)
                v = CLOSED;
        return v == CLOSED ? leader_close(w, c) : v;
}

static void wake_drain(struct lane *l)
{
        uint64_t count;
        ssize_t ignored = read(l->wake_fd, &count, sizeof count);
        (void)ignored;
}

static bool lane_is_over(const struct lane *l)
{
        return atomic_load(&l->stopping) && atomic_load(&l->conns) == 0 && atomic_load(&l->running) == 0;
}

/* Leads until another thread does, or there is nothing to do for a while. */
static enum verdict worker_lead(struct worker *w)
{
        struct lane *l = w->lane;
        for (;;) {
                enum verdict v = LED;
                struct epoll_event event;
                struct conn *c = pending_pop(l);
                if (c) {
                        v = leader_pending(w, c);
                } else if (lane_is_over(l)) {
                        return IDLED;
                } else {
                        int n = epoll_wait(l->epoll_fd, &event, 1, IDLE_SECONDS * 1000);
                        if (n == 0)
                                return IDLED;
                        if (n > 0 && event.data.ptr == l)
                                wake_drain(l);
                        else if (n > 0)
                                v = leader_event(w, event.data.ptr, event.events);
                }
                if (v == DEMOTED)
                        return DEMOTED;
        }
}

/* ---- the life of a worker; under the lock ------------------------------------------------------------------------ */

/* False: end the thread. */
static bool step_lead(struct lane *l, struct worker *w)
{
        l->leader = w;
        pthread_mutex_unlock(&l->lock);
        enum verdict v = worker_lead(w);
        pthread_mutex_lock(&l->lock);
        if (v == DEMOTED)
                return true;
        l->leader = NULL;
        /* As long as a request runs, somebody has to listen; the same if work came in between. */
        if (atomic_load(&l->running) > 0 || l->pending || l->queue)
                return true;
        if (lane_has_idle(l))
                (void)lane_call_worker(l);
        return false;
}

static void step_job(struct lane *l, struct worker *w)
{
        struct job *j = l->queue;
        l->queue = j->next;
        if (!l->queue)
                l->queue_tail = &l->queue;
        atomic_fetch_add(&l->running, 1);
        pthread_mutex_unlock(&l->lock);
        job_run(w, j);
        lane_ran(l);
        pthread_mutex_lock(&l->lock);
}

/* False: nothing came for IDLE_SECONDS. */
static bool step_follow(struct lane *l)
{
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_SECONDS;
        l->idle++;
        int r = 0;
        while (r == 0 && l->tokens == 0)
                r = pthread_cond_timedwait(&l->follow, &l->lock, &until);
        l->idle--;
        if (l->tokens == 0)
                return false;
        l->tokens--;
        return true;
}

static bool worker_step(struct lane *l, struct worker *w)
{
        if (!l->leader)
                return step_lead(l, w);
        if (l->queue) {
                step_job(l, w);
                return true;
        }
        return step_follow(l) || !l->leader || l->queue;
}

/* Under the lock. True: this was the last thread and the control loop is to be told. */
static bool worker_leaves(struct lane *l)
{
        l->threads--;
        if (l->threads > 0)
                return false;
        l->awake = false;
        bool post = !l->doze_posted;
        l->doze_posted = true;
        return post;
}

static void *worker_main(void *arg)
{
        struct lane *l = arg;
        struct worker w = {.lane = l, .arena = ARENA_INIT(ARENA_MAX), .spare = BUF_INIT(SPARE_MAX),
                           .cipher = BUF_INIT(SPARE_MAX)};
        struct loop *loop = l->export->process->loop;
        pthread_mutex_lock(&l->lock);
        while (worker_step(l, &w))
                ;
        bool tell = worker_leaves(l);
        pthread_mutex_unlock(&l->lock);
        /* L may be gone from here on, unless it waits for this. */
        while (tell && loop_post(loop, lane_doze, l) < 0)
                (void)usleep(1000);
        arena_done(&w.arena);
        buf_done(&w.spare);
        buf_done(&w.cipher);
        return NULL;
}

/* ---- the control loop's side ------------------------------------------------------------------------------------- */

static void lane_free(struct lane *l)
{
        struct export *x = l->export;
        if (l->watched.slow)
                watchdog_remove(lane_watchdog(l), &l->watched);
        for (size_t i = 0; i < ELEMENTSOF(x->lanes); i++)
                if (x->lanes[i] == l)
                        x->lanes[i] = NULL;
        stream_free(l->doze);
        timer_stop(&l->retry);
        close_fd(l->epoll_fd);
        close_fd(l->wake_fd);
        pthread_mutex_destroy(&l->lock);
        pthread_cond_destroy(&l->follow);
        free(l);
        export_unref(x);
}

/* Gets a thread going if there is none. */
static int lane_wake(struct lane *l)
{
        l->doze = stream_free(l->doze);
        pthread_mutex_lock(&l->lock);
        bool ok = l->awake || lane_call_worker(l);
        pthread_mutex_unlock(&l->lock);
        return ok ? 0 : -EAGAIN;
}

static void lane_retry(struct timer *t);

/* The same; without a thread it tries again later. */
static void lane_keep_awake(struct lane *l)
{
        if (lane_wake(l) == 0)
                return;
        log_error("lane", "No thread can be started for brick %s: its clients wait.", l->export->config.path);
        timer_start(l->export->process->loop, &l->retry, RETRY_DELAY, lane_retry);
}

static void lane_retry(struct timer *t)
{
        lane_keep_awake(CONTAINER_OF(t, struct lane, retry));
}

static void doze_event(struct stream *s, unsigned events, void *arg)
{
        lane_keep_awake(arg);
}

/* The last thread has ended. */
static void lane_doze(void *arg)
{
        struct lane *l = arg;
        pthread_mutex_lock(&l->lock);
        l->doze_posted = false;
        bool awake = l->awake, over = atomic_load(&l->conns) == 0 && !l->pending;
        pthread_mutex_unlock(&l->lock);
        if (awake || l->doze || timer_running(&l->retry))
                return;
        if (over) {
                lane_free(l);
                return;
        }
        int r = loop_watch_fd(l->export->process->loop, l->epoll_fd, STREAM_READABLE, doze_event, l, &l->doze);
        if (r < 0)
                lane_keep_awake(l); /* a thread that has nothing to do is better than nobody who listens */
}

static int lane_open(struct lane *l)
{
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (l->epoll_fd < 0)
                return -errno;
        l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->wake_fd < 0)
                return -errno;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = l};
        return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &e) < 0 ? -errno : 0;
}

int lane_new(struct export *x, struct lane **ret)
{
        struct lane *l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        l->export = export_ref(x);
        l->epoll_fd = l->wake_fd = -EBADF;
        l->queue_tail = &l->queue;
        l->pending_tail = &l->pending;
        pthread_mutex_init(&l->lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&l->follow, &attr);
        pthread_condattr_destroy(&attr);
        int r = lane_open(l);
        if (r < 0) {
                lane_free(l);
                return r;
        }
        l->watched.slow = lane_slow;
        watchdog_add(lane_watchdog(l), &l->watched);
        *ret = l;
        return 0;
}

int lane_watch(struct lane *l, struct conn *c, uint32_t events, bool known)
{
        struct epoll_event e = {.events = events, .data.ptr = c};
        return epoll_ctl(l->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) < 0 ? -errno : 0;
}

int lane_add(struct lane *l, struct conn *c)
{
        struct record_reader fresh = reader_split(&c->in, RECORD_LIMIT);
        if (fresh.in.error) {
                int r = fresh.in.error;
                record_reader_done(&fresh);
                return r;
        }
        record_reader_done(&c->in);
        c->in = fresh;
        c->lane = l;
        atomic_fetch_add(&l->conns, 1);
        /* In one: a leader that closes C at its first event must find it in the list, and C may be gone afterwards. */
        pthread_mutex_lock(&l->lock);
        pending_push_locked(l, c);
        conn_arm(c);
        pthread_mutex_unlock(&l->lock);
        lane_poke(l);
        lane_keep_awake(l);
        return 0;
}

void lane_resume(struct lane *l, struct conn *c)
{
        pending_push(l, c);
        conn_unref(c);
}

void lane_stop(struct lane *l)
{
        atomic_store(&l->stopping, true);
        lane_poke(l);
        if (l->doze && atomic_load(&l->conns) > 0)
                lane_keep_awake(l);
        else if (l->doze)
                lane_free(l);
}

bool lane_is_idle(struct lane *l)
{
        if ((atomic_load(&l->watched.serving) & 1) != 0 || atomic_load(&l->running) > 0)
                return false;
        pthread_mutex_lock(&l->lock);
        bool idle = !l->queue && !l->pending;
        pthread_mutex_unlock(&l->lock);
        return idle;
}
