/* The transaction: everything that changes copies goes through afr_transact() (replicate.md §6; afr.h).
 *
 *      quorum of those that are up → lock → quorum of locks → mark dirty → quorum of marks →
 *      the operation on the members → who failed? → blame them on disk, take the dirty marks back → unlock → answer
 *
 * Locks and marks are a `struct afr_batch` (afr_batch.c). One of an entry transaction serves it alone; those of data and
 * metadata transactions stay in the inode for the next one (afr_eager.c).
 *
 * Invariants, for every return:
 *   - nothing was sent to a brick whose lock was not granted, or whose connection went since (its lock went with it);
 *   - success is reported only after every copy that missed the change is blamed on disk by those that have it;
 *   - when less than the quorum has the change, nobody is blamed and the dirty marks stay for the healer.
 */
#include "volume/afr.h"

#include <fcntl.h>

#define SETTLE_ARENA (256 * KIB)

const struct afr_range afr_whole_file = {.start = 0, .end = UINT64_MAX};

void *afr_with_question(const struct afr *a, struct arena *arena, enum fop fop, const void *req, enum afr_class class)
{
        void *copy = afr_req_copy(arena, fop, req);
        const char *suffix = class == AFR_METADATA ? AFR_METADATA_SUFFIX : "";
        const char *domain = arena_printf(arena, "%s%s", a->base.name, suffix);
        if (!copy || !domain ||
            dict_add_str(afr_req_xdata(fop, copy), arena, "glusterfs.inodelk-dom-count", domain) < 0)
                return NULL;
        return copy;
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

static struct afr_part *part_of(const struct afr_transaction *t)
{
        return &t->batch->part[t->class];
}

/* All that were asked answered the same errno: it is the file system's answer, not a failure of copies. */
static bool is_symmetric(const struct afr_transaction *t)
{
        int error = 0;
        AFR_EACH(i, t->answers.asked)
        {
                if (t->answers.result[i] >= 0 || t->answers.result[i] == -ENOTCONN)
                        return false;
                if (error && t->answers.result[i] != error)
                        return false;
                error = t->answers.result[i];
        }
        return error != 0;
}

/* CREATE opens what is there already. Copies that made a new file while the good ones had one do not have the same. */
static afr_set same_object(struct afr_transaction *t, afr_set ok)
{
        struct afr_batch *b = t->batch;
        afr_set good = ok & part_of(t)->good ? ok & part_of(t)->good : ok;
        if (!good)
                return ok;
        const struct gfid *gfid = &((const struct create_fop_rep *)t->answers.rep[afr_next(good, 0)])->stat.gfid;
        if (!gfid_equal(gfid, &b->created))
                b->created_type = 0;
        AFR_EACH(i, ok)
        {
                if (!gfid_equal(gfid, &((const struct create_fop_rep *)t->answers.rep[i])->stat.gfid))
                        ok &= ~AFR_BIT(i);
        }
        return ok;
}

/* A directory that is not empty on one copy only is not a change that this copy missed. */
static afr_set without_full_directories(const struct afr_transaction *t, afr_set failed)
{
        AFR_EACH(i, t->fop == FOP_RMDIR ? failed & t->answers.asked : 0)
        {
                if (t->answers.result[i] == -ENOTEMPTY)
                        failed &= ~AFR_BIT(i);
        }
        return failed;
}

/* A name that is to go, and that a copy did not have because it missed its making: it is gone there. */
static afr_set already_gone(const struct afr_transaction *t, afr_set ok)
{
        bool removal = t->fop == FOP_UNLINK || t->fop == FOP_RMDIR;
        afr_set good = part_of(t)->good;
        AFR_EACH(i, removal && (ok & good) ? t->answers.asked & ~ok & ~good : 0)
        {
                if (t->answers.result[i] == -ENOENT)
                        ok |= AFR_BIT(i);
        }
        return ok;
}

/* Why too few have the change: what good copies say, not those that miss more anyway. */
static int failure(const struct afr_transaction *t, afr_set failed)
{
        afr_set good = part_of(t)->good;
        if (good & t->ok && !(good & failed))
                return -ENOTCONN;
        return afr_final_error(&t->answers, good & failed ? good & failed : failed);
}

static void give_up(struct afr_transaction *t, int error)
{
        part_of(t)->broken = true;
        if (t->ok)
                part_of(t)->changed = true;
        t->result = error;
}

static bool was_append(const struct afr_transaction *t)
{
        AFR_EACH(i, t->ok)
        {
                int64_t append;
                if (dict_get_int(afr_rep_xdata(t->fop, t->answers.rep[i]), "glusterfs.write-is-append", &append) < 0 ||
                    !append)
                        return false;
        }
        return true;
}

/* Some copy was longer before. */
static bool has_shrunk(const struct afr_transaction *t)
{
        bool shrunk = false;
        AFR_EACH(i, t->ok & t->answers.ok)
        {
                const void *rep = t->answers.rep[i];
                if (t->fop == FOP_TRUNCATE)
                        shrunk |= ((const struct truncate_fop_rep *)rep)->prestat.size >
                                  ((const struct truncate_fop_rep *)rep)->poststat.size;
                if (t->fop == FOP_FTRUNCATE)
                        shrunk |= ((const struct ftruncate_fop_rep *)rep)->prestat.size >
                                  ((const struct ftruncate_fop_rep *)rep)->poststat.size;
        }
        return shrunk;
}

/* A crash of a brick may undo it, and that does not show in the size, or as the longer copy, which is believed. */
static bool is_unstable(const struct afr_transaction *t)
{
        if (t->fop == FOP_DISCARD || t->fop == FOP_ZEROFILL || has_shrunk(t))
                return true;
        return t->fop == FOP_WRITE && !(((const struct write_fop_req *)t->req)->flag & (O_SYNC | O_DSYNC)) &&
               !was_append(t);
}

static void note_durability(struct afr_transaction *t)
{
        struct afr_batch *b = t->batch;
        if (is_unstable(t)) {
                b->unstable = true;
                b->writes++;
        }
        if (t->fop == FOP_FSYNC && t->writes == b->writes)
                b->unstable = false;
}

/* Who has the change, who missed it, and what the answer is. */
static void classify(struct afr *a, struct afr_transaction *t)
{
        struct afr_batch *b = t->batch;
        struct afr_part *p = part_of(t);
        t->ok = t->answers.ok & ~afr_batch_lost(b);
        if (t->fop == FOP_WRITE)
                t->ok = afr_complete(t->answers.result, t->ok, afr_arbiter_set(a));
        if (is_symmetric(t)) {
                t->result = afr_final_error(&t->answers, t->answers.asked);
                return;
        }
        if (t->fop == FOP_CREATE)
                t->ok = same_object(t, t->ok);
        t->ok = already_gone(t, t->ok) & ~afr_batch_lost(b);
        afr_set failed = b->members & ~t->ok;
        if (!afr_quorum(a, t->ok)) {
                give_up(t, failure(t, failed));
                return;
        }
        if (p->good && !(p->good & t->ok)) {
                give_up(t, afr_final_error(&t->answers, p->good));
                return;
        }
        failed = without_full_directories(t, failed);
        if (t->fop != FOP_FSYNC || failed)
                p->changed = true;
        p->failed |= failed;
        p->good &= ~failed;
        note_durability(t);
        t->result = 0;
        AFR_EACH(i, t->ok & t->answers.ok & ~afr_arbiter_set(a))
        {
                t->result = MAX(t->result, t->answers.result[i]);
        }
}

/* The copy whose answer the caller gets. */
static unsigned answering_child(struct afr *a, const struct afr_transaction *t, afr_set ok)
{
        ok &= t->answers.ok & ~afr_arbiter_set(a);
        afr_set good = ok & part_of(t)->good ? ok & part_of(t)->good : ok;
        struct vnode *i = t->request->inode;
        unsigned read = i ? afr_read_child(a, i, t->class, &t->request->cred, good) : AFR_NO_CHILD;
        return read != AFR_NO_CHILD ? read : afr_next(good, 0);
}

static void answer(struct afr *a, struct afr_transaction *t)
{
        struct fop_result {
                int32_t op_ret, op_errno;
        };
        afr_set from = t->result >= 0 ? t->ok : 0;
        unsigned child = from ? answering_child(a, t, from) : AFR_CHILDREN_MAX;
        AFR_EACH(i, t->result < 0 ? t->answers.asked : 0)
        {
                if (t->answers.result[i] == t->result && child == AFR_CHILDREN_MAX)
                        child = i;
        }
        struct fop_result *head = t->rep;
        if (child < AFR_CHILDREN_MAX && t->answers.rep[child])
                (void)afr_take(&t->answers, child, t->rep);
        else
                (void)afr_fail(t->fop, t->rep, t->result);
        head->op_ret = t->result < 0 ? -1 : t->result;
        if (t->result < 0)
                head->op_errno = -t->result;
}

/* The operation, and in the same message lock and mark of the object that it makes: nobody else knows it yet. */
static void ask_fused(struct fibre *self, struct afr *a, struct request *op, struct afr_transaction *t)
{
        struct afr_batch *f = t->fresh;
        struct request ours, counts;
        struct afr_chains x;
        enum fop mark_fop = FOP_NULL;
        const void *mark = afr_batch_mark_request(f, op->arena, 0, false, &mark_fop);
        afr_set asked = t->answers.asked;
        memcpy(f->connects, a->connects, sizeof f->connects);
        f->locks.owner = ++a->owners;
        f->locks.domain = a->base.name;
        afr_internal_request(op, f->locks.owner, &ours);
        afr_internal_request(op, 0, &counts);
        ours.file = counts.file = NULL;
        afr_chains_init(&x, a, op->arena);
        AFR_EACH(i, asked)
        {
                struct afr_chain *c = afr_chain_new(&x, i);
                afr_chain_add(&x, c, t->fop, op, t->answers.req[i], AFR_STEP_OPERATION, 0);
                afr_lock_add(&x, c, &ours, &f->locks);
                afr_chain_add(&x, c, mark_fop, &counts, mark, AFR_STEP_MARK, 0);
        }
        if (afr_chains_run(self, &x) < 0) {
                AFR_EACH(i, asked)
                {
                        t->answers.result[i] = -ENOMEM;
                }
                return;
        }
        afr_chains_answers(&x, AFR_STEP_OPERATION, 0, &t->answers);
        afr_chains_answers(&x, AFR_STEP_MARK, 0, &t->fresh_marks);
        f->members = a->all;
        for (unsigned k = 0; k < f->locks.n; k++) {
                struct afr_answers locked = {0};
                afr_chains_answers(&x, AFR_STEP_LOCK, k, &locked);
                f->locks.held[k] = locked.ok;
                f->members &= locked.ok;
        }
        f->part[AFR_DATA].dirty = t->fresh_marks.ok;
}

static void perform(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        struct request op = *t->request;
        op.cancel = NULL; /* what some copies have and others not must be settled */
        struct afr_batch *b = t->batch;
        afr_set on = afr_file_on(self, a, t->request, t->class == AFR_ENTRY ? NULL : op.file);
        t->answers = (struct afr_answers){.fop = t->fop,
                                          .asked = b->members & ~part_of(t)->failed & ~afr_batch_lost(b) & on};
        t->writes = b->writes;
        AFR_EACH(i, t->answers.asked)
        {
                t->answers.req[i] = i == a->arbiter && t->arbiter_req ? t->arbiter_req : t->req;
        }
        if (t->fresh && t->answers.asked == a->all)
                ask_fused(self, a, &op, t);
        else
                afr_ask_each(self, a, &op, &t->answers);
}

/* ---- transactions with a batch of their own ---------------------------------------------------------------------- */

static void unlock_fibre(struct fibre *self, void *arg)
{
        struct afr_batch *b = arg;
        struct afr *a = b->afr;
        struct arena arena = ARENA_INIT(SETTLE_ARENA);
        afr_batch_unlock(self, b, &arena);
        arena_done(&arena);
        afr_batch_unref(b);
        afr_background_done(a);
}

/* Nobody waits for the locks to go. Uses up B. */
static void unlock_later(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        if (!afr_locks_held(&b->locks)) {
                afr_batch_unref(b);
                return;
        }
        if (afr_background(b->afr, "unlock", unlock_fibre, b) == 0)
                return;
        afr_batch_unlock(self, b, arena);
        afr_batch_unref(b);
}

static int enter(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        if (t->class != AFR_ENTRY)
                return afr_eager_enter(self, a, t);
        int result = afr_batch_open(self, t->batch, t->request->arena);
        if (result < 0)
                t->batch = afr_batch_unref(t->batch);
        return result;
}

static void leave(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        if (t->class != AFR_ENTRY) {
                afr_eager_leave(self, a, t);
                return;
        }
        int settled = afr_batch_settle(self, t->batch, t->request->arena);
        if (settled < 0 && t->result >= 0)
                t->result = settled;
}

int afr_transact(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        int result = afr_ready(self, a, t->request);
        if (result == 0)
                result = enter(self, a, t);
        else
                t->batch = afr_batch_unref(t->batch);
        if (result < 0)
                return afr_fail(t->fop, t->rep, result);
        perform(self, a, t);
        classify(a, t);
        leave(self, a, t);
        answer(a, t);
        if (t->class != AFR_ENTRY)
                t->batch = afr_batch_unref(t->batch);
        else
                unlock_later(self, TAKE_PTR(t->batch), t->request->arena);
        return t->result;
}
