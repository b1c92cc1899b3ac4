/* The transaction: everything that changes copies goes through afr_transact() (replicate.md §6; afr.h).
 *
 *      quorum of those that are up → lock → quorum of locks → mark dirty → quorum of marks →
 *      the operation on the members → who failed? → blame them on disk, take the dirty marks back → unlock → answer
 *
 * Locks and marks are a `struct afr_batch`. One of a metadata or entry transaction serves it alone; those of data
 * transactions stay in the inode for the next one (afr_eager.c).
 *
 * Invariants, for every return:
 *   - nothing was sent to a brick whose lock was not granted, or whose connection went since (its lock went with it);
 *   - success is reported only after every copy that missed the change is blamed on disk by those that have it;
 *   - when less than the quorum has the change, nobody is blamed and the dirty marks stay for the healer.
 */
#include "volume/afr.h"

#include "volume/afr_be.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define SETTLE_ARENA (256 * KIB)

/* ---- batches ----------------------------------------------------------------------------------------------------- */

struct afr_batch *afr_batch_new(struct afr *a, enum afr_class class, const struct request *r, struct vfile *file)
{
        struct afr_batch *b = calloc(1, sizeof *b);
        if (!b)
                return NULL;
        *b = (struct afr_batch){.afr = a, .class = class, .refs = 1, .pid = r->cred.pid, .locks.class = class};
        b->file = file ? vfile_ref(file) : NULL;
        return b;
}

struct afr_batch *afr_batch_unref(struct afr_batch *b)
{
        if (!b || --b->refs > 0)
                return NULL;
        for (unsigned i = 0; i < b->n_marks; i++)
                vnode_unref(b->marks[i].inode);
        vfile_unref(b->file);
        free(b);
        return NULL;
}

void afr_batch_mark(struct afr_batch *b, struct vnode *i, const char *name)
{
        struct afr_mark *m = &b->marks[b->n_marks++];
        m->inode = vnode_ref(i);
        (void)snprintf(m->name, sizeof m->name, "%s", name);
}

afr_set afr_batch_lost(const struct afr_batch *b)
{
        afr_set lost = 0;
        AFR_EACH(i, b->members)
        {
                if (b->connects[i] != b->afr->connects[i])
                        lost |= AFR_BIT(i);
        }
        return lost;
}

/* A request on the batch's behalf. */
static struct request batch_request(const struct afr_batch *b, struct arena *arena)
{
        struct request r = {.arena = arena, .file = b->file};
        r.cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        r.cred.pid = MIN(b->pid, 0);
        return r;
}

/* ---- counters ---------------------------------------------------------------------------------------------------- */

static const uint8_t *counter_bytes(struct arena *arena, const int32_t amount[AFR_CLASSES], bool use)
{
        uint8_t *bytes = arena_alloc(arena, AFR_COUNTER_SIZE);
        for (unsigned c = 0; bytes && use && c < AFR_CLASSES; c++)
                afr_put_be32(bytes + (size_t)4 * c, (uint32_t)amount[c]);
        return bytes;
}

/* All counters, changed or not, so that the answer tells them all. The one that forgives comes last. */
static int counters_dict(const struct afr *a, struct arena *arena, const struct afr_tally *x, struct dict *ret)
{
        int r = 0;
        for (unsigned j = 0; j < a->n && r == 0; j++) {
                const uint8_t *bytes = counter_bytes(arena, x->amount, x->blamed & AFR_BIT(j));
                r = bytes ? dict_add_ptr(ret, arena, a->pending[j], bytes, AFR_COUNTER_SIZE) : -ENOMEM;
        }
        const uint8_t *dirty = r == 0 ? counter_bytes(arena, x->dirty, true) : NULL;
        return dirty ? dict_add_ptr(ret, arena, "trusted.afr.dirty", dirty, AFR_COUNTER_SIZE) : -ENOMEM;
}

static int build_xattrop(const struct afr *a, struct arena *arena, const struct afr_tally *x, enum fop *ret_fop,
                         const void **ret)
{
        struct dict counters = {0}, xdata = {0};
        int r = counters_dict(a, arena, x, &counters);
        if (r == 0 && x->key && x->name[0])
                r = dict_add_str(&xdata, arena, x->key, x->name);
        if (r < 0)
                return r;
        if (x->file) {
                struct fxattrop_fop_req *q = arena_alloc(arena, sizeof *q);
                if (!q)
                        return -ENOMEM;
                *q = (struct fxattrop_fop_req){.gfid = x->gfid, .dict = counters, .xdata = xdata};
                *ret_fop = FOP_FXATTROP;
                *ret = q;
                return 0;
        }
        struct xattrop_fop_req *q = arena_alloc(arena, sizeof *q);
        if (!q)
                return -ENOMEM;
        *q = (struct xattrop_fop_req){.gfid = x->gfid, .dict = counters, .xdata = xdata};
        *ret_fop = FOP_XATTROP;
        *ret = q;
        return 0;
}

void afr_tally(struct fibre *self, struct afr *a, struct request *r, const struct afr_tally *x, afr_set on,
               struct afr_answers *ret)
{
        enum fop fop = FOP_XATTROP;
        const void *q = NULL;
        if (build_xattrop(a, r->arena, x, &fop, &q) < 0) {
                *ret = (struct afr_answers){.fop = fop};
                return;
        }
        struct request ours;
        afr_internal_request(r, 0, &ours);
        ours.file = x->file;
        afr_ask(self, a, &ours, fop, q, on, ret);
}

static const struct dict *counters_of(const struct afr_answers *x, unsigned i)
{
        if (x->fop == FOP_FXATTROP)
                return &((const struct fxattrop_fop_rep *)x->rep[i])->dict;
        return &((const struct xattrop_fop_rep *)x->rep[i])->dict;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* All copies of a directory accuse each other: what was added anywhere is merged by the healer, so all may go on. */
static bool is_split(const struct afr *a, const struct afr_inode *x)
{
        const struct afr_verdict *v = &x->verdict;
        return v->accused[AFR_ENTRY] == a->all && v->answered == a->all && v->readable[AFR_ENTRY];
}

/* What the members' own counters say, as the answers to the mark tell: who is blamed by all others, who is not at all.
 */
static void read_blame(struct afr_batch *b, const struct afr_mark *mark, const struct afr_answers *x)
{
        const struct afr *a = b->afr;
        static const struct iatt none;
        struct afr_copy copies[AFR_CHILDREN_MAX];
        for (unsigned i = 0; i < a->n; i++) {
                copies[i] = (struct afr_copy){.result = -ENOTCONN};
                if (b->members & AFR_BIT(i))
                        afr_copy_read(a->pending, a->n, 0, &none, counters_of(x, i), &copies[i]);
        }
        for (unsigned j = 0; j < a->n; j++) {
                AFR_EACH(i, b->members & ~AFR_BIT(j))
                {
                        if (copies[i].pending[j][b->class] == 0)
                                b->blamed &= ~AFR_BIT(j);
                }
        }
        struct afr_inode *inode = afr_inode(b->afr, mark->inode);
        if (!inode)
                return;
        afr_set accused = afr_accused(copies, a->n, b->class), before = inode->verdict.accused[b->class];
        if (before & ~accused & b->members)
                inode->known = false; /* somebody was healed */
        if (b->class == AFR_ENTRY && is_split(a, inode))
                return;
        afr_distrust(inode, accused & ~before, b->class);
        b->good &= ~accused;
}

/* The object of mark K was marked before: a second name in the same directory, which counts once. */
static bool again(const struct afr_batch *b, unsigned k)
{
        return k > 0 && b->marks[k].inode == b->marks[0].inode;
}

/* Raises the dirty counters; who does not answer is no member. */
static void mark_dirty(struct fibre *self, struct afr_batch *b, struct request *r)
{
        b->blamed = b->afr->all;
        for (unsigned k = 0; k < b->n_marks; k++) {
                struct afr_mark *m = &b->marks[k];
                struct afr_tally x = {.gfid = m->inode->gfid, .file = b->file};
                x.dirty[b->class] = !again(b, k);
                x.key = b->afr->options.granular ? "glusterfs.xattrop-entry-create" : NULL;
                x.name = m->name;
                struct afr_answers answers;
                afr_tally(self, b->afr, r, &x, b->members, &answers);
                b->members &= answers.ok;
                read_blame(b, m, &answers);
        }
        b->dirty = b->members;
        b->good &= b->members;
}

/* Members whose copy of the (first) object misses nothing, as far as is known. */
static afr_set good_copies(const struct afr_batch *b)
{
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        if (!x)
                return 0;
        if (b->class != AFR_ENTRY)
                return b->members & afr_readable(x, b->class);
        afr_set good = b->members;
        for (unsigned k = 0; k < b->n_marks; k++) { /* of both directories of a rename */
                x = afr_inode(b->afr, b->marks[k].inode);
                if (x && !is_split(b->afr, x))
                        good &= ~x->verdict.accused[AFR_ENTRY];
        }
        return good;
}

static int know_marks(struct fibre *self, struct afr_batch *b, struct request *r)
{
        int result = 0;
        for (unsigned k = 0; k < b->n_marks && result == 0; k++)
                result = afr_know(self, b->afr, r, b->marks[k].inode, b->class == AFR_ENTRY ? NULL : b->file);
        return result;
}

static int no_good_copy(const struct afr_batch *b)
{
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        if (!x)
                return -ENOMEM;
        if (b->good)
                return 0;
        x->known = false; /* maybe it was healed: the next one asks again */
        return b->class == AFR_ENTRY ? -ENOTCONN : x->verdict.unreadable;
}

/* Locks that were granted, and everything that must be true before an operation is sent. */
static int open_locked(struct fibre *self, struct afr_batch *b, struct request *r)
{
        struct afr *a = b->afr;
        if (!afr_quorum(a, b->members))
                return -ENOTCONN;
        int result = know_marks(self, b, r);
        if (result < 0)
                return result;
        b->good = good_copies(b);
        result = no_good_copy(b);
        if (result < 0)
                return result;
        if (b->class == AFR_DATA || !a->options.optimistic || b->members != a->all)
                mark_dirty(self, b, r);
        b->members &= ~afr_batch_lost(b);
        b->good &= b->members;
        if (!afr_quorum(a, b->members))
                return -ENOTCONN;
        return no_good_copy(b);
}

int afr_batch_open(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        struct afr *a = b->afr;
        struct request r = batch_request(b, arena);
        int result = know_marks(self, b, &r);
        if (result < 0)
                return result;
        afr_set on = afr_file_on(self, a, &r, b->file);
        if (!afr_quorum(a, on))
                return -ENOTCONN;
        memcpy(b->connects, a->connects, sizeof b->connects);
        result = afr_lock(self, a, &r, b->file, &b->locks, on, &b->members);
        if (result < 0)
                return result;
        b->members &= ~afr_batch_lost(b);
        result = open_locked(self, b, &r);
        if (result < 0) {
                (void)afr_batch_settle(self, b, arena);
                afr_batch_unlock(self, b, arena);
        }
        return result;
}

void afr_batch_unlock(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        struct request r = batch_request(b, arena);
        afr_unlock(self, b->afr, &r, b->file, &b->locks);
}

/* ---- settling ---------------------------------------------------------------------------------------------------- */

/* A new object is marked itself, so that the copy which the healer makes of it is filled. */
static void mark_created(struct fibre *self, struct afr_batch *b, struct request *r, afr_set have, afr_set miss)
{
        if (!b->created_type || b->created_type == S_IFLNK)
                return;
        struct afr_tally x = {.gfid = b->created, .blamed = miss};
        x.amount[AFR_METADATA] = 1;
        if (b->created_type == S_IFREG)
                x.amount[AFR_DATA] = 1;
        if (b->created_type == S_IFDIR) {
                x.amount[AFR_ENTRY] = 1;
                x.amount[AFR_DATA] = b->afr->options.granular;
        }
        struct afr_answers answers;
        afr_tally(self, b->afr, r, &x, have, &answers);
}

/* The copies of HAVE on which what was written is on disk. */
static afr_set sync_data(struct fibre *self, struct afr_batch *b, struct request *r, afr_set have)
{
        struct fsync_fop_req *q = arena_alloc(r->arena, sizeof *q);
        if (!q)
                return 0;
        *q = (struct fsync_fop_req){.gfid = b->marks[0].inode->gfid};
        if (dict_add_int(&q->xdata, r->arena, "batch-fsync", 1) < 0 ||
            dict_add_str(&q->xdata, r->arena, "glusterfs-internal-fop", "yes") < 0)
                return 0;
        struct afr_answers answers;
        afr_ask(self, b->afr, r, FOP_FSYNC, q, have, &answers);
        return answers.ok;
}

/* Blames MISS and takes the dirty marks back, on HAVE; returns where that is on disk now. */
static afr_set post_op(struct fibre *self, struct afr_batch *b, struct request *r, afr_set have, afr_set miss,
                       int32_t dirty)
{
        afr_set done = have;
        for (unsigned k = 0; k < b->n_marks; k++) {
                struct afr_mark *m = &b->marks[k];
                struct afr_tally x = {.gfid = m->inode->gfid, .file = b->file, .blamed = miss};
                x.amount[b->class] = !again(b, k);
                x.dirty[b->class] = again(b, k) ? 0 : dirty;
                x.name = m->name;
                if (b->afr->options.granular && miss)
                        x.key = "glusterfs.xattrop-entry-create";
                else if (b->afr->options.granular && b->changed)
                        x.key = "glusterfs.xattrop-entry-delete";
                struct afr_answers answers;
                afr_tally(self, b->afr, r, &x, have, &answers);
                done &= answers.ok;
        }
        return done;
}

static void distrust_marks(struct afr_batch *b, afr_set miss)
{
        for (unsigned k = 0; k < b->n_marks; k++) {
                struct afr_inode *x = afr_inode(b->afr, b->marks[k].inode);
                if (x)
                        afr_distrust(x, miss, b->class);
        }
}

int afr_batch_settle(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        struct afr *a = b->afr;
        struct request r = batch_request(b, arena);
        afr_set have = b->members & ~b->failed & ~afr_batch_lost(b);
        if (!b->changed && !b->broken) {
                if (b->dirty & have)
                        (void)post_op(self, b, &r, b->dirty & have, 0, -1);
                return 0;
        }
        if (b->class == AFR_DATA && b->unstable && a->options.ensure_durability && !b->broken)
                have &= sync_data(self, b, &r, have) & ~afr_batch_lost(b);
        bool only_bad = b->good && !(b->good & have); /* they must not blame the last that misses nothing */
        if (b->broken || only_bad || !afr_quorum(a, have)) {
                if (!b->dirty) /* it was skipped, as all seemed well: the healer must look */
                        (void)post_op(self, b, &r, b->members & ~afr_batch_lost(b), 0, 1);
                return -ENOTCONN;
        }
        afr_set miss = a->all & ~have;
        if (!miss && !b->dirty)
                return 0;
        distrust_marks(b, miss);
        if (miss)
                mark_created(self, b, &r, have, miss);
        afr_set done = post_op(self, b, &r, have, miss, b->dirty ? -1 : 0);
        return afr_quorum(a, done) ? 0 : -ENOTCONN;
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

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
        afr_set good = ok & b->good ? ok & b->good : ok;
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
        AFR_EACH(i, removal && (ok & t->batch->good) ? t->answers.asked & ~ok & ~t->batch->good : 0)
        {
                if (t->answers.result[i] == -ENOENT)
                        ok |= AFR_BIT(i);
        }
        return ok;
}

/* Why too few have the change: what good copies say, not those that miss more anyway. */
static int failure(const struct afr_transaction *t, afr_set failed)
{
        afr_set good = t->batch->good;
        if (good & t->ok && !(good & failed))
                return -ENOTCONN;
        return afr_final_error(&t->answers, good & failed ? good & failed : failed);
}

static void give_up(struct afr_transaction *t, int error)
{
        t->batch->broken = true;
        if (t->ok)
                t->batch->changed = true;
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

/* A crash of a brick may undo writes; of an append that shows in the size. */
static void note_durability(struct afr_transaction *t)
{
        struct afr_batch *b = t->batch;
        if (t->fop == FOP_WRITE && !(((const struct write_fop_req *)t->req)->flag & (O_SYNC | O_DSYNC)) &&
            !was_append(t)) {
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
        if (b->good && !(b->good & t->ok)) {
                give_up(t, afr_final_error(&t->answers, b->good));
                return;
        }
        failed = without_full_directories(t, failed);
        if (t->fop != FOP_FSYNC || failed)
                b->changed = true;
        b->failed |= failed;
        b->good &= ~failed;
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
        afr_set good = ok & t->batch->good ? ok & t->batch->good : ok;
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

static void perform(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        struct request op = *t->request;
        op.cancel = NULL; /* what some copies have and others not must be settled */
        struct afr_batch *b = t->batch;
        afr_set on = afr_file_on(self, a, t->request, t->class == AFR_ENTRY ? NULL : op.file);
        t->answers = (struct afr_answers){.fop = t->fop, .asked = b->members & ~b->failed & ~afr_batch_lost(b) & on};
        t->writes = b->writes;
        AFR_EACH(i, t->answers.asked)
        {
                t->answers.req[i] = i == a->arbiter && t->arbiter_req ? t->arbiter_req : t->req;
        }
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
        if (afr_background(b->afr, "unlock", unlock_fibre, b) == 0)
                return;
        afr_batch_unlock(self, b, arena);
        afr_batch_unref(b);
}

static int enter(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        if (t->class == AFR_DATA)
                return afr_eager_enter(self, a, t);
        int result = afr_batch_open(self, t->batch, t->request->arena);
        if (result < 0)
                t->batch = afr_batch_unref(t->batch);
        return result;
}

static void leave(struct fibre *self, struct afr *a, struct afr_transaction *t)
{
        if (t->class == AFR_DATA) {
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
        if (t->class == AFR_DATA)
                t->batch = afr_batch_unref(t->batch);
        else
                unlock_later(self, TAKE_PTR(t->batch), t->request->arena);
        return t->result;
}
