/* Locks and dirty marks that stay with an inode from one data or metadata transaction to the next (replicate.md §6.5,
 * §6.6; afr.h).
 *
 * An inode has at most one batch of data and one of metadata; bricks keep their locks apart. While it is open,
 * transactions join it: those that do not overlap run in parallel, others one after the other in the order of their
 * arrival, which is then the order on all copies. It closes when somebody else waits for the lock, a child comes or
 * goes, a copy failed, the application closes or the time is over; the last user gone, a fibre settles it. Whoever comes
 * meanwhile waits and opens the next one.
 *
 * A batch of data that has the lock of metadata too (it covers it) takes changes of metadata as well, without a mark of
 * their own, as long as all copies take part: that is when they would not be marked by themselves either. No batch of
 * metadata is there beside it, so two locks of ours are never in each other's way.
 *
 * States: OPENING (its first user locks and marks) → OPEN → CLOSING → SETTLED (out of the inode; waiters read the
 * result). Invariant: what must not be acknowledged before blame is on disk waits for SETTLED.
 */
#include "volume/afr.h"

#include <fcntl.h>

#define SETTLE_ARENA (256 * KIB)
#define KEPT_MAX 1024u /* batches that wait for the next one without need */
#define RETRY_DELAY (10 * NS_PER_MSEC)

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

static bool overlap(const struct afr_range *x, const struct afr_range *y)
{
        return x->start < y->end && y->start < x->end;
}

static void range_add(struct afr_batch *b, struct afr_range *x)
{
        struct afr_range **at = &b->ranges;
        while (*at)
                at = &(*at)->next;
        x->next = NULL;
        *at = x;
}

static void range_remove(struct afr_batch *b, struct afr_range *x)
{
        struct afr_range **at = &b->ranges;
        while (*at && *at != x)
                at = &(*at)->next;
        if (*at)
                *at = x->next;
}

/* Nothing that came earlier is in the way of X. */
static bool range_is_free(const struct afr_batch *b, const struct afr_range *x)
{
        for (const struct afr_range *y = b->ranges; y && y != x; y = y->next) {
                if (overlap(x, y))
                        return false;
        }
        return true;
}

/* ---- settling ---------------------------------------------------------------------------------------------------- */

static void list_add(struct afr *a, struct afr_batch *b)
{
        b->next = a->batches;
        a->batches = b;
        a->n_batches++;
}

static void list_remove(struct afr *a, struct afr_batch *b)
{
        struct afr_batch **at = &a->batches;
        while (*at && *at != b)
                at = &(*at)->next;
        if (*at) {
                *at = b->next;
                a->n_batches--;
        }
        if (!a->batches && a->background == 0 && a->idle)
                fibre_event_set(a->idle);
}

/* Out of the inode; whoever waits for it goes on. */
static void finish(struct afr_batch *b)
{
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        b->state = AFR_BATCH_SETTLED;
        x->batch[b->class] = NULL;
        list_remove(b->afr, b);
        afr_wake_all(&x->waiting);
        afr_batch_unref(b);
}

static void settle_fibre(struct fibre *self, void *arg)
{
        struct afr_batch *b = arg;
        struct afr *a = b->afr;
        struct arena arena = ARENA_INIT(SETTLE_ARENA);
        (void)afr_batch_settle(self, b, &arena);
        afr_batch_unlock(self, b, &arena);
        arena_done(&arena);
        finish(b);
        afr_background_done(a);
}

static void settle_start(struct timer *timer)
{
        struct afr_batch *b = CONTAINER_OF(timer, struct afr_batch, delay);
        if (afr_background(b->afr, "settle", settle_fibre, b) < 0)
                timer_start(afr_loop(b->afr), &b->delay, RETRY_DELAY, settle_start);
}

void afr_eager_close(struct afr_batch *b)
{
        if (b->state != AFR_BATCH_OPEN)
                return;
        b->state = AFR_BATCH_CLOSING;
        timer_stop(&b->delay);
        if (b->users == 0)
                settle_start(&b->delay);
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        afr_wake_all(&x->waiting); /* those who wait for a range go and wait for the next batch */
}

static void time_is_over(struct timer *timer)
{
        afr_eager_close(CONTAINER_OF(timer, struct afr_batch, delay));
}

void afr_eager_close_inode(struct afr *a, struct vnode *i)
{
        struct afr_inode *x = *vnode_slot(i, &a->base);
        for (unsigned k = 0; x && k < AFR_KEPT; k++) {
                if (x->batch[k])
                        afr_eager_close(x->batch[k]);
        }
}

void afr_eager_settle_inode(struct fibre *self, struct afr *a, struct vnode *i)
{
        struct afr_inode *x = *vnode_slot(i, &a->base);
        for (unsigned k = 0; x && k < AFR_KEPT; k++) {
                struct afr_batch *b = x->batch[k];
                if (!b)
                        continue;
                b->refs++;
                while (b->state != AFR_BATCH_SETTLED) {
                        afr_eager_close(b);
                        afr_wait(self, &x->waiting);
                }
                afr_batch_unref(b);
        }
}

void afr_eager_close_all(struct afr *a)
{
        struct afr_batch *next;
        for (struct afr_batch *b = a->batches; b; b = next) {
                next = b->next;
                afr_eager_close(b);
        }
}

void afr_eager_close_gfid(struct afr *a, const struct gfid *gfid, bool metadata)
{
        struct afr_batch *next;
        for (struct afr_batch *b = a->batches; b; b = next) {
                next = b->next;
                if ((!metadata || b->covers || b->class == AFR_METADATA) && gfid_equal(&b->marks[0].inode->gfid, gfid))
                        afr_eager_close(b);
        }
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

bool afr_eager_covers(const struct afr *a, const struct request *r)
{
        if (!r->file || !a->options.eager_lock || a->options.post_op_delay == 0 || !a->options.optimistic)
                return false;
        for (unsigned i = 0; i < a->n; i++) {
                if (!a->base.children[i]->chains || !a->base.children[i]->up)
                        return false;
        }
        return true;
}

static int open_new(struct fibre *self, struct afr *a, struct afr_transaction *t, struct afr_inode *x)
{
        struct vnode *i = t->request->inode;
        struct afr_batch *b = afr_batch_new(a, t->class, t->request, t->request->file);
        if (!b)
                return -ENOMEM;
        afr_batch_mark(b, i, "");
        afr_locks_add(&b->locks, &i->gfid, "");
        b->covers = t->class == AFR_DATA && !x->batch[AFR_METADATA] && afr_eager_covers(a, t->request);
        if (b->covers)
                afr_locks_add_metadata(&b->locks, &i->gfid);
        list_add(a, b);
        x->batch[t->class] = b;
        int result = afr_batch_open(self, b, t->request->arena);
        if (result < 0) {
                finish(b);
                return result;
        }
        b->state = AFR_BATCH_OPEN;
        if (b->members & ~afr_up(a))
                afr_eager_close(b);
        afr_wake_all(&x->waiting);
        return 0;
}

/* Whether transactions of CLASS may be performed under B. */
static bool takes(const struct afr_batch *b, enum afr_class class)
{
        const struct afr *a = b->afr;
        if (b->class == class)
                return true;
        return b->covers && class == AFR_METADATA && a->options.optimistic && b->members == a->all &&
               !afr_batch_lost(b) && b->part[AFR_METADATA].good && !b->part[AFR_METADATA].broken;
}

/* The batch that transactions of CLASS join, or wait for. */
static struct afr_batch *batch_for(const struct afr_inode *x, enum afr_class class)
{
        struct afr_batch *data = x->batch[AFR_DATA];
        return data && data->covers ? data : x->batch[class];
}

/* Waits until nothing that came earlier is in the way. False: the batch closed first. */
static bool join(struct fibre *self, struct afr_transaction *t, struct afr_inode *x, struct afr_batch *b)
{
        b->refs++;
        range_add(b, &t->range);
        while (b->state == AFR_BATCH_OPEN && !range_is_free(b, &t->range))
                afr_wait(self, &x->waiting);
        if (b->state != AFR_BATCH_OPEN) {
                range_remove(b, &t->range);
                afr_batch_unref(b);
                return false;
        }
        timer_stop(&b->delay);
        b->users++;
        t->batch = b;
        return true;
}

/* ---- files that were just made ----------------------------------------------------------------------------------- */

/* Two locks in each brick and a mark for nothing cost more than they save: most files that are made must be written. */
static void note_write(struct afr *a, struct vfile *f)
{
        struct afr_file *x = f ? afr_file(a, f) : NULL;
        if (!x || !x->fresh)
                return;
        x->fresh = false;
        a->write_hope = MIN(a->write_hope + 2, AFR_WRITE_HOPE);
}

bool afr_eager_expects_write(const struct afr *a, const struct request *r)
{
        if (!r->inode || a->write_hope < 0 || a->n_batches >= KEPT_MAX || !afr_eager_covers(a, r))
                return false;
        return (r->file->flags & O_ACCMODE) != O_RDONLY;
}

void afr_eager_adopt(struct fibre *self, struct afr *a, struct afr_batch *b, struct vfile *file, bool keep)
{
        struct afr_inode *x = afr_inode(a, b->marks[0].inode);
        if (!x || x->batch[AFR_DATA] || x->batch[AFR_METADATA]) { /* somebody has found the object already */
                struct arena arena = ARENA_INIT(SETTLE_ARENA);
                (void)afr_batch_settle(self, b, &arena);
                afr_batch_unlock(self, b, &arena);
                arena_done(&arena);
                afr_batch_unref(b);
                return;
        }
        list_add(a, b);
        x->batch[AFR_DATA] = b;
        b->state = AFR_BATCH_OPEN;
        if (keep)
                b->file = vfile_ref(file);
        if (keep && !afr_batch_lost(b) && !(b->members & ~afr_up(a)))
                timer_start(afr_loop(a), &b->delay, a->options.post_op_delay, time_is_over);
        else
                afr_eager_close(b);
}

/* ---- entering ---------------------------------------------------------------------------------------------------- */

int afr_eager_enter(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        struct afr_inode *x = afr_inode(a, t->request->inode);
        if (!x)
                return -ENOMEM;
        if (t->class == AFR_DATA)
                note_write(a, t->request->file);
        for (;;) {
                if (!batch_for(x, t->class)) {
                        int result = open_new(self, a, t, x);
                        if (result < 0)
                                return result;
                }
                struct afr_batch *b = batch_for(x, t->class);
                if (b && b->state == AFR_BATCH_OPEN && takes(b, t->class)) {
                        if (join(self, t, x, b))
                                return 0;
                        continue;
                }
                if (b)
                        afr_eager_close(b);
                if (b && b == batch_for(x, t->class))
                        afr_wait(self, &x->waiting);
        }
}

/* ---- leaving ----------------------------------------------------------------------------------------------------- */

/* Somebody else waits for the lock, as an answer under it told. */
static bool is_contended(const struct afr_transaction *t)
{
        AFR_EACH(i, t->answers.ok)
        {
                int64_t n;
                if (dict_get_int(afr_rep_xdata(t->fop, t->answers.rep[i]), "glusterfs.inodelk-count", &n) == 0 && n > 1)
                        return true;
        }
        return false;
}

static bool is_broken(const struct afr_batch *b)
{
        return b->part[AFR_DATA].broken || b->part[AFR_METADATA].broken;
}

static bool may_stay(const struct afr *a, const struct afr_transaction *t)
{
        const struct afr_batch *b = t->batch;
        if (!a->options.eager_lock || a->options.post_op_delay == 0 || is_broken(b) || is_contended(t))
                return false;
        if (b->class == AFR_METADATA)
                return a->n_batches <= KEPT_MAX;
        return b->file && (t->request->file || t->class == AFR_METADATA);
}

void afr_eager_leave(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        struct afr_batch *b = t->batch;
        const struct afr_part *p = &b->part[t->class];
        struct afr_inode *x = afr_inode(a, t->request->inode);
        bool must_settle = t->result >= 0 && (a->all & ~t->ok & ~p->blamed);
        if (must_settle || !may_stay(a, t))
                afr_eager_close(b);
        range_remove(b, &t->range);
        b->users--;
        if (b->users == 0 && b->state == AFR_BATCH_OPEN)
                timer_start(afr_loop(a), &b->delay, a->options.post_op_delay, time_is_over);
        else if (b->users == 0)
                settle_start(&b->delay);
        afr_wake_all(&x->waiting);
        while (must_settle && b->state != AFR_BATCH_SETTLED)
                afr_wait(self, &x->waiting);
        if (must_settle && p->result < 0)
                t->result = p->result;
}
