/* Writes that are answered before the bricks have them (write_behind.h).
 *
 * A piece is written by a fibre: that of its request if it is large, so that nothing is copied, else one of its own. It
 * holds node and open file. Invariants: pieces of a node are in its queue from the answer to the end of their write;
 * one that overlaps an earlier one does not start before that has ended, so the last write wins; data is added only to
 * the last piece and before it started; bytes and pieces of bridge and node count what is in queues.
 *
 * Thread: the loop's.
 */
#include "mount/write_behind.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "mount/bridge_state.h"

#define LARGE (256 * KIB)        /* from here on data is not copied */
#define BUFFER_MIN (16 * KIB)    /* of a piece that may grow */
#define ON_WAY_MAX 16u           /* pieces of a file at the volume */
#define TICK (100 * NS_PER_MSEC) /* how long giving up may go unnoticed */
#define ARENA_MAX (1 * MIB)      /* for the answers to one write */
#define THROUGH (O_APPEND | O_SYNC | O_DSYNC | O_DIRECT)

struct write_piece {
        struct write_piece *next;
        struct call call; /* who asked, the file */
        uint64_t sequence;
        uint64_t offset;
        const uint8_t *data;
        uint8_t *buffer; /* the data, if it is ours */
        size_t len, room;
        uint32_t flags;
        bool privileged; /* the caller may not keep setuid bits */
        bool started;
        struct fibre_event go; /* large ones: started */
};

struct write_waiter {
        struct write_waiter *next;
        struct fibre_event event;
};

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void wake_all(struct write_waiter **list)
{
        while (*list) {
                struct write_waiter *w = *list;
                *list = w->next;
                fibre_event_set(&w->event);
        }
}

/* Until something of LIST has moved, or a moment has passed. */
static void wait_for_change(struct fibre *self, struct write_waiter **list)
{
        struct write_waiter w = {.next = *list};
        *list = &w;
        (void)fibre_event_wait(self, &w.event, TICK);
        while (*list && *list != &w)
                list = &(*list)->next;
        if (*list)
                *list = w.next;
}

static bool gave_up(const struct call *c)
{
        return c->r.cancel && c->r.cancel->done;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static bool overlap(const struct write_piece *x, const struct write_piece *y)
{
        return x->offset < y->offset + y->len && y->offset < x->offset + x->len;
}

static bool same_caller(const struct rpc_cred *x, const struct rpc_cred *y)
{
        return x->uid == y->uid && x->gid == y->gid && x->group_count == y->group_count &&
               x->owner_len == y->owner_len && memcmp(x->owner, y->owner, x->owner_len) == 0 &&
               memcmp(x->groups, y->groups, x->group_count * sizeof x->groups[0]) == 0;
}

/* P for the write that C is about, in the queue. Its data is the request's. */
static void enqueue(struct write_piece *p, struct call *c)
{
        const struct fuse_write_in *in = c->rq->in.write;
        struct write_queue *q = &c->node->writes;
        *p = (struct write_piece){.call = *c,
                                  .sequence = ++c->b->behind.sequence,
                                  .offset = in->offset,
                                  .data = c->rq->data,
                                  .len = c->rq->size,
                                  .flags = in->flags,
                                  .privileged = in->write_flags & FUSE_WRITE_KILL_SUIDGID};
        p->call.node = node_ref(c->node);
        vfile_ref(c->r.file);
        p->call.rq = NULL;
        p->call.of = NULL;
        p->call.r.cancel = NULL;
        if (q->last)
                q->last->next = p;
        else
                q->first = p;
        q->last = p;
        c->b->behind.pieces++;
}

static void count(struct call *c, size_t n)
{
        c->node->writes.bytes += n;
        c->b->behind.bytes += n;
}

static void dequeue(struct write_piece *p)
{
        struct bridge *b = p->call.b;
        struct write_queue *q = &p->call.node->writes;
        struct write_piece **at = &q->first, *before = NULL;
        while (*at != p) {
                before = *at;
                at = &(*at)->next;
        }
        *at = p->next;
        if (q->last == p)
                q->last = before;
        q->bytes -= p->len;
        q->on_way--;
        b->behind.bytes -= p->len;
        b->behind.pieces--;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* All of P, which the volume may take in several turns. 0 or -errno; *RET is the file as it is then. */
static int write_all(struct fibre *self, struct write_piece *p, struct iatt *ret)
{
        struct call *c = &p->call;
        for (size_t done = 0; done < p->len;) {
                uint32_t n = (uint32_t)(p->len - done);
                struct write_fop_req req = {.gfid = c->node->inode->gfid,
                                            .offset = p->offset + done,
                                            .size = n,
                                            .flag = p->flags,
                                            .data = {p->data + done, n}};
                struct write_fop_rep rep = {0};
                int r = subvolume_write(self, call_top(c), &c->r, &req, &rep);
                if (r <= 0)
                        return r < 0 ? r : -EIO;
                done += MIN((uint32_t)r, n);
                *ret = rep.poststat;
        }
        return 0;
}

static void note_failure(struct write_queue *q, const struct call *c, int error)
{
        char gfid[GFID_TEXT_LEN + 1];
        q->error = error;
        q->failures++;
        q->careful = true;
        gfid_format(&c->node->inode->gfid, gfid);
        log_warning("mount",
                    "Data written to the file with gfid %s is lost: %s. Its next write, fsync or close says so.", gfid,
                    strerror(-error));
}

static void pump(struct bridge *b, struct write_queue *q, bool urgent);

/* Writes P, which has been started, and takes it out of the queue. */
static void carry_out(struct fibre *self, struct write_piece *p)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(ARENA_MAX);
        struct call *c = &p->call;
        struct write_queue *q = &c->node->writes;
        struct iatt stat = {0};
        c->self = self;
        c->r.arena = &arena;
        int r = write_all(self, p, &stat);
        cache_changed(c->b, c->node);
        if (r < 0)
                note_failure(q, c, r);
        else if (p->privileged && stat_is_usable(&stat))
                bridge_drop_privileges(c, c->node, stat.mode);
        dequeue(p);
        pump(c->b, q, false);
        wake_all(&q->waiters);
        wake_all(&c->b->behind.waiters);
        free(p->buffer);
        call_end(c);
}

static void piece_fibre(struct fibre *self, void *arg)
{
        struct write_piece *p = arg;
        carry_out(self, p);
        free(p);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static bool is_blocked(const struct write_queue *q, const struct write_piece *p)
{
        for (const struct write_piece *x = q->first; x != p; x = x->next)
                if (overlap(x, p))
                        return true;
        return false;
}

/* More may come to it, and there is something to wait for meanwhile. */
static bool may_grow(const struct write_queue *q, const struct write_piece *p)
{
        return p == q->last && p->buffer && p->len < WRITE_PIECE_MAX && q->on_way > 0;
}

static void start(struct bridge *b, struct write_queue *q, struct write_piece *p)
{
        if (p->buffer && fibre_start(b->config.loop, "write", piece_fibre, p) < 0)
                return; /* no fibre: whoever waits tries again */
        p->started = true;
        q->on_way++;
        if (!p->buffer)
                fibre_event_set(&p->go);
}

/* Starts what may start. URGENT: somebody waits for all of it. */
static void pump(struct bridge *b, struct write_queue *q, bool urgent)
{
        for (struct write_piece *p = q->first; p && q->on_way < ON_WAY_MAX; p = p->next)
                if (!p->started && (urgent || !may_grow(q, p)) && !is_blocked(q, p))
                        start(b, q, p);
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

static bool is_taken(const struct call *c)
{
        const struct bridge *b = c->b;
        const struct fuse_write_in *in = c->rq->in.write;
        bool may_be_privileged = c->node->mode == 0 || (c->node->mode & (S_ISUID | S_ISGID));
        return b->behind.file_max > 0 && b->config.direct_io != BRIDGE_DIRECT_ALWAYS && call_top(c)->up &&
               !c->node->writes.careful && !((c->r.file->flags | in->flags) & THROUGH) && c->rq->size > 0 &&
               c->rq->size <= WRITE_PIECE_MAX && !((in->write_flags & FUSE_WRITE_KILL_SUIDGID) && may_be_privileged);
}

static bool has_room(const struct bridge *b, const struct write_queue *q, size_t n)
{
        return (q->bytes == 0 || q->bytes + n <= b->behind.file_max) &&
               (b->behind.bytes == 0 || b->behind.bytes + n <= WRITE_BEHIND_MOUNT_MAX);
}

/* False: the caller gave up. */
static bool wait_for_room(struct call *c)
{
        struct write_queue *q = &c->node->writes;
        while (!has_room(c->b, q, c->rq->size)) {
                if (gave_up(c))
                        return false;
                pump(c->b, q, false);
                wait_for_change(c->self, q->bytes ? &q->waiters : &c->b->behind.waiters);
        }
        return true;
}

/* Room for data up to END (from the piece's beginning). */
static bool grow(struct write_piece *p, size_t end)
{
        if (end <= p->room)
                return true;
        size_t room = MAX(p->room * 2, end);
        uint8_t *buffer = realloc(p->buffer, MIN(room, (size_t)WRITE_PIECE_MAX));
        if (!buffer)
                return false;
        p->buffer = buffer;
        p->data = buffer;
        p->room = MIN(room, (size_t)WRITE_PIECE_MAX);
        return true;
}

/* Adds the write to the last piece, if it touches or overlaps it and nothing else tells them apart. */
static bool merge(struct call *c)
{
        const struct fuse_request *rq = c->rq;
        const struct fuse_write_in *in = rq->in.write;
        struct write_piece *p = c->node->writes.last;
        bool privileged = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
        if (!p || p->started || !p->buffer || p->call.r.file != c->r.file || p->flags != in->flags ||
            p->privileged != privileged || !same_caller(&p->call.r.cred, &c->r.cred))
                return false;
        if (in->offset < p->offset || in->offset > p->offset + p->len ||
            in->offset + rq->size > p->offset + WRITE_PIECE_MAX)
                return false;
        size_t at = (size_t)(in->offset - p->offset), end = at + rq->size;
        if (!grow(p, end))
                return false;
        memcpy(p->buffer + at, rq->data, rq->size);
        if (end > p->len) {
                count(c, end - p->len);
                p->len = end;
        }
        p->call.r.cred = c->r.cred; /* the time of the last write */
        return true;
}

/* A piece with a copy of the data. False: out of memory. */
static bool append_copy(struct call *c)
{
        size_t room = MAX(c->rq->size, (size_t)BUFFER_MIN);
        struct write_piece *p = malloc(sizeof *p);
        uint8_t *buffer = p ? malloc(room) : NULL;
        if (!buffer) {
                free(p);
                return false;
        }
        memcpy(buffer, c->rq->data, c->rq->size);
        enqueue(p, c);
        p->data = p->buffer = buffer;
        p->room = room;
        count(c, p->len);
        return true;
}

static void answer_written(struct call *c)
{
        cache_changed(c->b, c->node);
        c->of->written = true;
        (void)fuse_reply_written(c->rq, c->rq->size);
}

/* Large data is written from the request itself, by its fibre. */
static void carry_here(struct call *c)
{
        struct write_piece p;
        enqueue(&p, c);
        count(c, p.len);
        answer_written(c);
        pump(c->b, &c->node->writes, false);
        while (!p.started) {
                p.go = (struct fibre_event){0};
                (void)fibre_event_wait(c->self, &p.go, TICK);
                pump(c->b, &c->node->writes, false);
        }
        carry_out(c->self, &p);
}

bool write_behind_take(struct call *c)
{
        if (!is_taken(c))
                return false;
        int r = write_behind_error(c);
        if (r == 0 && !wait_for_room(c))
                r = -EINTR;
        if (r < 0) {
                (void)fuse_reply_error(c->rq, r);
                return true;
        }
        const struct fuse_write_in *in = c->rq->in.write;
        if (in->write_flags & FUSE_WRITE_LOCKOWNER)
                call_set_owner(c, in->lock_owner);
        call_stamp(c, FOP_WRITE);
        if (c->rq->size >= LARGE) {
                carry_here(c);
                return true;
        }
        if (!merge(c) && !append_copy(c))
                return false;
        answer_written(c);
        pump(c->b, &c->node->writes, false);
        return true;
}

void write_behind_went_through(struct call *c, int result)
{
        if (result >= 0)
                c->node->writes.careful = false;
}

/* ---- settling ---------------------------------------------------------------------------------------------------- */

bool write_behind_is_idle(const struct node *n)
{
        return n->writes.first == NULL;
}

static bool is_pending(const struct write_queue *q, uint64_t sequence, uint64_t offset)
{
        for (const struct write_piece *p = q->first; p && p->sequence <= sequence; p = p->next)
                if (p->offset + p->len > offset)
                        return true;
        return false;
}

int write_behind_settle_from(struct call *c, struct node *n, uint64_t offset)
{
        uint64_t sequence = c->b->behind.sequence;
        while (is_pending(&n->writes, sequence, offset)) {
                if (gave_up(c))
                        return -EINTR;
                pump(c->b, &n->writes, true);
                wait_for_change(c->self, &n->writes.waiters);
        }
        return 0;
}

int write_behind_settle(struct call *c, struct node *n)
{
        return write_behind_settle_from(c, n, 0);
}

void write_behind_settle_all(struct fibre *self, struct bridge *b)
{
        while (b->behind.pieces > 0)
                wait_for_change(self, &b->behind.waiters);
}

int write_behind_error(struct call *c)
{
        const struct write_queue *q = &c->node->writes;
        if (!c->of || c->of->failures_told == q->failures)
                return 0;
        c->of->failures_told = q->failures;
        return q->error;
}
