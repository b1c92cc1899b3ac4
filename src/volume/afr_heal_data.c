/* Heals the content of a file (replicate.md §10.3; afr_heal.h).
 *
 *      one healer at a time → whole file locked: look, choose the source, give sinks its size → window by window, each
 * under a lock of its range: copy what differs → fsync, whole file locked again: look again, times, take counters back
 *
 * Between windows others read and write: their writes go to all copies, sinks too, so what was copied stays right. A
 * source that misses one of these is blamed by then, and what was copied from it since is not trusted: no counter is
 * taken back.
 *
 * The blocks of a window are worked on in parallel, each by a fibre with an arena of its own.
 */
#include "volume/afr_heal.h"

#include <stdio.h>
#include <sys/stat.h>

#define BLOCK (128 * KIB)
#define BLOCK_ARENA (8 * MIB) /* an answer may come with the whole buffer that it was received in */
#define SEEK_DATA_ON_WIRE 0

struct data_heal {
        struct afr *afr;
        struct request *request;
        const struct gfid *gfid;
        struct afr_heal_report *report;
        struct afr_guard guard;
        const struct afr_copy *copies; /* under the first lock */
        unsigned source;
        afr_set sinks;  /* that get data: not the arbiter */
        afr_set failed; /* of them */
        int error;      /* of the last that failed */
        uint64_t size;
        bool diff, sparse;
};

static int call(struct fibre *self, struct data_heal *h, enum fop fop, const void *req, unsigned child,
                const void **ret_rep)
{
        return afr_heal_call(self, h->afr, h->request, fop, req, child, ret_rep);
}

static void sink_failed(struct data_heal *h, unsigned sink, int error)
{
        h->failed |= AFR_BIT(sink);
        h->error = error;
}

/* ---- direction --------------------------------------------------------------------------------------------------- */

static afr_set data_copies(const struct afr *a)
{
        return a->all & ~afr_arbiter_set(a);
}

static bool all_empty(const struct data_heal *h)
{
        AFR_EACH (i, h->afr->all) {
                if (h->copies[i].size > 0)
                        return false;
        }
        return true;
}

static uint64_t nanoseconds(struct iatt_time t)
{
        return (uint64_t)t.sec * NS_PER_SEC + t.nsec;
}

enum merit { MERIT_SIZE, MERIT_WITNESS, MERIT_CTIME, MERIT_MTIME };

static uint64_t merit(const struct data_heal *h, const struct afr_direction *d, unsigned i, enum merit by)
{
        switch (by) {
        case MERIT_SIZE:
                return h->copies[i].size;
        case MERIT_WITNESS:
                return d->witness[i];
        case MERIT_CTIME:
                return nanoseconds(h->copies[i].stat->ctime);
        default:
                return nanoseconds(h->copies[i].stat->mtime);
        }
}

/* Those of SET with the highest merit. */
static afr_set best(const struct data_heal *h, const struct afr_direction *d, afr_set set, enum merit by)
{
        uint64_t highest = 0;
        afr_set s = 0;
        AFR_EACH (i, set) {
                highest = MAX(highest, merit(h, d, i, by));
        }
        AFR_EACH (i, set) {
                if (merit(h, d, i, by) == highest)
                        s |= AFR_BIT(i);
        }
        return s;
}

/* No copy of SET blames another: they are the same. */
static bool agree(const struct data_heal *h, afr_set set)
{
        AFR_EACH (i, set) {
                AFR_EACH (j, set) {
                        if (h->copies[i].pending[j][AFR_DATA] != 0)
                                return false;
                }
        }
        return true;
}

/* The operator's choice: one copy, if it decides. */
static unsigned preferred(const struct data_heal *h, const struct afr_direction *d)
{
        const struct afr_heal_report *report = h->report;
        afr_set set = data_copies(h->afr);
        if (report->prefer == AFR_PREFER_SOURCE)
                return set & AFR_BIT(report->preferred_child) ? report->preferred_child : AFR_NO_CHILD;
        afr_set top = best(h, d, set, report->prefer == AFR_PREFER_BIGGEST ? MERIT_SIZE : MERIT_MTIME);
        return top == set || !agree(h, top) ? AFR_NO_CHILD : afr_next(top, 0);
}

static int choose_in_split_brain(struct data_heal *h, const struct afr_direction *d)
{
        if (all_empty(h))
                h->source = afr_next(data_copies(h->afr), 0);
        else if (h->report->prefer != AFR_PREFER_NONE)
                h->source = preferred(h, d);
        else
                h->source = afr_heal_favorite(h->afr, h->copies);
        if (h->source == AFR_NO_CHILD)
                return afr_heal_why(h->report, -EIO, "data split-brain");
        h->sinks = data_copies(h->afr) & ~AFR_BIT(h->source);
        return 0;
}

/* Sources that differ, or of which one has seen an operation that was not finished: one of them counts. */
static afr_set narrow(const struct data_heal *h, const struct afr_direction *d, afr_set sources)
{
        bool differ = best(h, d, sources, MERIT_SIZE) != sources;
        AFR_EACH (i, d->sources) {
                differ |= d->witness[i] != 0;
        }
        if (!differ)
                return sources;
        sources = best(h, d, sources, MERIT_SIZE);
        sources = best(h, d, sources, MERIT_WITNESS);
        sources = best(h, d, sources, MERIT_CTIME);
        return AFR_BIT(afr_next(sources, 0));
}

static int choose(struct data_heal *h)
{
        struct afr *a = h->afr;
        struct afr_direction d;
        afr_direction(h->copies, a->n, a->all, AFR_DATA, a->n / 2 + 1, &d);
        if (!d.sources || d.sinks == a->all)
                return choose_in_split_brain(h, &d);
        if (h->report->prefer != AFR_PREFER_NONE)
                return afr_heal_why(h->report, -EIO, "File not in split-brain");
        afr_set sources = d.sources & data_copies(a);
        if (!sources && !all_empty(h))
                return afr_heal_why(h->report, -EIO, "only the arbiter knows what is right, and it has no data");
        if (!sources)
                sources = data_copies(a);
        sources = narrow(h, &d, sources);
        bool local = a->local != AFR_NO_CHILD && (sources & AFR_BIT(a->local));
        h->source = local ? a->local : afr_next(sources, 0);
        h->sinks = data_copies(a) & ~sources;
        return 0;
}

/* ---- a block ----------------------------------------------------------------------------------------------------- */

struct window;

struct block {
        struct window *window;
        uint64_t offset;
        uint32_t len;
};

struct window {
        struct data_heal *heal;
        struct fibre_group group;
        int error; /* of the source */
};

struct block_work {
        struct data_heal *heal;
        struct request request;
        uint64_t offset;
        uint32_t len;
        afr_set sinks;
};

static bool is_zero(const uint8_t *data, size_t n)
{
        return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

static bool same_checksum(const struct rchecksum_fop_rep *x, const struct rchecksum_fop_rep *y)
{
        return x->flags == y->flags && x->weak_checksum == y->weak_checksum &&
               x->strong_checksum.len == y->strong_checksum.len &&
               memcmp(x->strong_checksum.data, y->strong_checksum.data, x->strong_checksum.len) == 0;
}

/* Leaves only the sinks that differ. */
static int compare_block(struct fibre *self, struct block_work *w)
{
        struct data_heal *h = w->heal;
        struct afr_answers x;
        const struct rchecksum_fop_req q = {.gfid = *h->gfid, .offset = w->offset, .len = w->len};
        afr_ask(self, h->afr, &w->request, FOP_RCHECKSUM, &q, w->sinks | AFR_BIT(h->source), &x);
        if (!(x.ok & AFR_BIT(h->source)))
                return x.result[h->source];
        AFR_EACH (i, w->sinks) {
                if (!(x.ok & AFR_BIT(i)))
                        sink_failed(h, i, x.result[i]);
                else if (!same_checksum(x.rep[i], x.rep[h->source]))
                        continue;
                w->sinks &= ~AFR_BIT(i);
        }
        return 0;
}

/* Zeros need not be written where a sink has nothing, and make a hole where the source has one. */
static void write_zeros(struct fibre *self, struct block_work *w, uint32_t len)
{
        struct data_heal *h = w->heal;
        struct afr_answers x;
        AFR_EACH (i, w->sinks) {
                if (h->copies[i].size <= w->offset)
                        w->sinks &= ~AFR_BIT(i);
        }
        if (!h->sparse || !w->sinks)
                return;
        const struct discard_fop_req q = {.gfid = *h->gfid, .offset = w->offset, .size = len};
        afr_ask(self, h->afr, &w->request, FOP_DISCARD, &q, w->sinks, &x);
        w->sinks &= ~x.ok; /* the others get zeros */
}

static void write_block(struct fibre *self, struct block_work *w, struct slice data)
{
        struct data_heal *h = w->heal;
        struct afr_answers x;
        const struct write_fop_req q = {.gfid = *h->gfid, .offset = w->offset, .size = data.len, .data = data};
        afr_ask(self, h->afr, &w->request, FOP_WRITE, &q, w->sinks, &x);
        AFR_EACH (i, w->sinks) {
                if (x.result[i] != (int)data.len)
                        sink_failed(h, i, x.result[i] < 0 ? x.result[i] : -EIO);
                else
                        h->report->bytes_written += data.len;
        }
}

static int heal_block(struct fibre *self, struct block_work *w)
{
        struct data_heal *h = w->heal;
        struct afr_answers x;
        int result = h->diff ? compare_block(self, w) : 0;
        if (result < 0 || !w->sinks)
                return result;
        const struct read_fop_req q = {.gfid = *h->gfid, .offset = w->offset, .size = w->len};
        afr_ask(self, h->afr, &w->request, FOP_READ, &q, AFR_BIT(h->source), &x);
        result = x.result[h->source];
        if (result <= 0)
                return result; /* 0: cut short meanwhile, on sinks too */
        const struct read_fop_rep *rep = x.rep[h->source];
        if (rep->data.len < (uint32_t)result)
                return -EIO;
        struct slice data = {rep->data.data, (uint32_t)result};
        if (is_zero(data.data, data.len))
                write_zeros(self, w, data.len);
        if (w->sinks)
                write_block(self, w, data);
        return 0;
}

static void block_fibre(struct fibre *self, void *arg)
{
        struct block *b = arg;
        struct data_heal *h = b->window->heal;
        struct arena arena = ARENA_INIT(BLOCK_ARENA);
        struct block_work w = {.heal = h, .request = *h->request, .offset = b->offset, .len = b->len};
        w.request.arena = &arena;
        w.sinks = h->sinks & ~h->failed;
        int result = w.sinks ? heal_block(self, &w) : 0;
        if (result < 0)
                b->window->error = result;
        arena_done(&arena);
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* Locks a part of the file, or all of it (LENGTH 0), on all copies. */
static int lock_range(struct fibre *self, struct data_heal *h, uint64_t start, uint64_t length, struct afr_locks *l)
{
        struct afr *a = h->afr;
        afr_set locked = 0;
        *l = (struct afr_locks){.class = AFR_DATA, .start = start, .length = length};
        afr_locks_add(l, h->gfid, "");
        int result = afr_lock(self, a, h->request, NULL, l, a->all, &locked);
        if (result < 0)
                return result;
        if (locked == a->all && !afr_guard_lost(a, &h->guard))
                return 0;
        afr_unlock(self, a, h->request, NULL, l);
        return afr_heal_why(h->report, -ENOTCONN, "a connection was lost");
}

static void unlock(struct fibre *self, struct data_heal *h, struct afr_locks *l)
{
        afr_unlock(self, h->afr, h->request, NULL, l);
}

static int heal_blocks(struct fibre *self, struct data_heal *h, uint64_t start, uint64_t end)
{
        struct window w = {.heal = h};
        size_t n = (size_t)((end - start + BLOCK - 1) / BLOCK);
        struct block *blocks = calloc(n, sizeof *blocks);
        if (!blocks)
                return -ENOMEM;
        for (size_t k = 0; k < n; k++) {
                uint64_t at = start + k * BLOCK;
                blocks[k] = (struct block){&w, at, (uint32_t)MIN((uint64_t)BLOCK, end - at)};
                int started = fibre_group_start(fibre_loop(self), &w.group, "heal data", block_fibre, &blocks[k]);
                if (started < 0)
                        w.error = started;
        }
        fibre_group_wait_all(self, &w.group);
        free(blocks);
        return w.error;
}

static int heal_window(struct fibre *self, struct data_heal *h, uint64_t start, uint64_t end)
{
        struct afr_locks locks;
        int result = lock_range(self, h, start, end - start, &locks);
        if (result < 0)
                return result;
        result = heal_blocks(self, h, start, end);
        unlock(self, h, &locks);
        if (result < 0)
                return afr_heal_why(h->report, result, "reading from %s: %s", h->afr->base.children[h->source]->name,
                                    strerror(-result));
        if (afr_guard_lost(h->afr, &h->guard))
                return afr_heal_why(h->report, -ENOTCONN, "a connection was lost");
        return h->sinks & ~h->failed ? 0 : h->error;
}

/* Where data follows at OFFSET or later, when all sinks have nothing from there on that would have to be removed. */
static uint64_t skip_hole(struct fibre *self, struct data_heal *h, uint64_t offset)
{
        const void *rep = NULL;
        if (!h->sparse)
                return offset;
        AFR_EACH (i, h->sinks & ~h->failed) {
                if (h->copies[i].size > offset)
                        return offset;
        }
        const struct seek_fop_req q = {.gfid = *h->gfid, .offset = offset, .what = SEEK_DATA_ON_WIRE};
        int result = call(self, h, FOP_SEEK, &q, h->source, &rep);
        if (result == -ENXIO)
                return h->size;
        uint64_t at = result < 0 ? offset : ((const struct seek_fop_rep *)rep)->offset;
        return MAX(offset, MIN(at - at % BLOCK, h->size));
}

static void tell(struct fibre *self, struct data_heal *h, uint64_t done)
{
        h->report->bytes_done = done;
        if (h->report->on_progress)
                h->report->on_progress(self, h->report);
}

static int heal_content(struct fibre *self, struct data_heal *h)
{
        uint64_t step = (h->sparse ? 1 : h->afr->options.window) * BLOCK;
        struct request *outer = h->request;
        int result = 0;
        h->report->bytes = h->size;
        for (uint64_t at = 0; result == 0 && at < h->size;) {
                _cleanup_arena_ struct arena arena = ARENA_INIT(AFR_HEAL_ARENA);
                struct request r = *outer;
                r.arena = &arena;
                h->request = &r;
                at = skip_hole(self, h, at);
                uint64_t end = MIN(at + step, h->size);
                if (at < end)
                        result = heal_window(self, h, at, end);
                at = end;
                tell(self, h, at);
                h->request = outer;
                if (result == 0 && h->report->give_up && at < h->size)
                        result = afr_heal_why(h->report, -EINTR, "it was told to stop");
        }
        return result;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static void set_sizes(struct fibre *self, struct data_heal *h)
{
        struct afr_answers x;
        const struct truncate_fop_req q = {.gfid = *h->gfid, .offset = h->size};
        afr_set set = 0;
        AFR_EACH (i, h->sinks) {
                if (h->copies[i].size != h->size)
                        set |= AFR_BIT(i);
        }
        if (!set)
                return;
        afr_ask(self, h->afr, h->request, FOP_TRUNCATE, &q, set, &x);
        AFR_EACH (i, set & ~x.ok) {
                sink_failed(h, i, x.result[i]);
        }
}

static int prepare(struct fibre *self, struct data_heal *h)
{
        struct afr *a = h->afr;
        struct afr_copy *copies;
        int result = afr_heal_inspect(self, a, h->request, h->gfid, &copies);
        if (result < 0)
                return result;
        h->copies = copies;
        result = choose(h);
        if (result < 0)
                return result;
        const struct iatt *stat = copies[h->source].stat;
        h->size = stat->size;
        h->sparse = stat->blocks * 512 < stat->size;
        h->diff = a->options.algorithm == AFR_ALGORITHM_DIFF;
        AFR_EACH (i, h->sinks) {
                h->diff |= copies[i].size > 0 && a->options.algorithm == AFR_ALGORITHM_BY_CONTENT;
        }
        set_sizes(self, h);
        return 0;
}

static void make_durable(struct fibre *self, struct data_heal *h)
{
        struct afr_answers x;
        const struct fsync_fop_req q = {.gfid = *h->gfid};
        afr_set set = h->sinks & ~h->failed;
        if (!set || !h->afr->options.ensure_durability)
                return;
        afr_ask(self, h->afr, h->request, FOP_FSYNC, &q, set, &x);
        AFR_EACH (i, set & ~x.ok) {
                sink_failed(h, i, x.result[i]);
        }
}

static void set_times(struct fibre *self, struct data_heal *h, const struct iatt *stat)
{
        struct afr_answers x;
        const struct setattr_fop_req q = {.gfid = *h->gfid, .stbuf = *stat, .valid = SETATTR_ATIME | SETATTR_MTIME};
        afr_set set = h->sinks & ~h->failed;
        if (set)
                afr_ask(self, h->afr, h->request, FOP_SETATTR, &q, set, &x);
}

/* Whether somebody has found out since that the source is behind. */
static bool source_is_blamed(const struct data_heal *h, const struct afr_copy now[])
{
        for (unsigned i = 0; i < h->afr->n; i++) {
                if (now[i].pending[h->source][AFR_DATA] != h->copies[i].pending[h->source][AFR_DATA])
                        return true;
        }
        return false;
}

/* A sink whose file was removed and made anew meanwhile, by another heal, is not what was copied to. */
static bool is_other_file(const struct data_heal *h, const struct afr_copy now[])
{
        AFR_EACH (i, h->sinks & ~h->failed) {
                if (now[i].size != now[h->source].size)
                        return true;
        }
        return false;
}

static int finish_locked(struct fibre *self, struct data_heal *h)
{
        struct afr *a = h->afr;
        struct afr_copy *now;
        int result = afr_heal_inspect(self, a, h->request, h->gfid, &now);
        if (result < 0)
                return result;
        if (source_is_blamed(h, now))
                return afr_heal_why(h->report, -EAGAIN, "%s missed a change while it was copied from",
                                    a->base.children[h->source]->name);
        if (is_other_file(h, now))
                return afr_heal_why(h->report, -EAGAIN, "the file changed its size on one copy only");
        set_times(self, h, now[h->source].stat);
        const struct afr_undo undo = {.gfid = h->gfid,
                                      .classes = 1u << AFR_DATA,
                                      .copies = h->copies,
                                      .on = a->all,
                                      .forgiven = a->all & ~h->failed,
                                      .failed = h->failed};
        result = afr_heal_undo(self, a, h->request, &undo);
        return h->failed ? h->error : result;
}

static int finish(struct fibre *self, struct data_heal *h)
{
        struct afr_locks locks;
        make_durable(self, h);
        int result = lock_range(self, h, 0, 0, &locks);
        if (result < 0)
                return result;
        result = finish_locked(self, h);
        unlock(self, h, &locks);
        return result;
}

static int heal_alone(struct fibre *self, struct data_heal *h)
{
        struct afr_locks locks;
        int result = lock_range(self, h, 0, 0, &locks);
        if (result < 0)
                return result;
        result = prepare(self, h);
        unlock(self, h, &locks);
        if (result == 0 && (h->sinks & ~h->failed))
                result = heal_content(self, h);
        return result < 0 ? result : finish(self, h);
}

int afr_heal_data(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                  struct afr_heal_report *report)
{
        struct data_heal h = {.afr = a, .request = r, .gfid = gfid, .report = report};
        struct afr_heal_turn turn = {.class = AFR_DATA};
        afr_guard_set(a, &h.guard);
        int result = afr_heal_turn_take(self, a, r, gfid, &turn, report);
        if (result < 0)
                return result;
        result = heal_alone(self, &h);
        afr_unlock(self, a, r, NULL, &turn.locks);
        return result;
}
