/* Locks and marks of transactions: taking them, settling, giving them back (replicate.md §6; afr.h).
 *
 *      know the object → lock, and mark dirty where that is granted → quorum of locks → quorum of marks → ...
 *      ... → sync data that bricks may lose → blame those that failed, take the dirty marks back, unlock
 *
 * Lock and mark go in one message, as do post-op and unlock (afr_chain.c). The sync has a round trip of its own: who failed
 * to sync must be blamed by the others in the very change that takes their dirty marks back.
 *
 * Failures are counted by class of change (struct afr_part): a copy that missed a write is not blamed for its attributes.
 */
#include "volume/afr.h"

#include "volume/afr_be.h"

#include <stdio.h>
#include <sys/stat.h>

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

struct request afr_batch_request(const struct afr_batch *b, struct arena *arena)
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
static void read_blame(struct afr_batch *b, enum afr_class class, const struct afr_mark *mark,
                       const struct afr_copy copies[])
{
        const struct afr *a = b->afr;
        struct afr_part *p = &b->part[class];
        for (unsigned j = 0; j < a->n; j++) {
                AFR_EACH(i, b->members & ~AFR_BIT(j))
                {
                        if (copies[i].pending[j][class] == 0)
                                p->blamed &= ~AFR_BIT(j);
                }
        }
        struct afr_inode *inode = afr_inode(b->afr, mark->inode);
        if (!inode)
                return;
        afr_set accused = afr_accused(copies, a->n, class), before = inode->verdict.accused[class];
        if (before & ~accused & b->members)
                inode->known = false; /* somebody was healed */
        if (class == AFR_ENTRY && is_split(a, inode))
                return;
        afr_distrust(inode, accused & ~before, class);
        p->good &= ~accused;
}

static void read_counters(struct afr_batch *b, const struct afr_mark *mark, const struct afr_answers *x)
{
        const struct afr *a = b->afr;
        static const struct iatt none;
        struct afr_copy copies[AFR_CHILDREN_MAX];
        for (unsigned i = 0; i < a->n; i++) {
                copies[i] = (struct afr_copy){.result = -ENOTCONN};
                if (b->members & AFR_BIT(i))
                        afr_copy_read(a->pending, a->n, 0, &none, counters_of(x, i), &copies[i]);
        }
        read_blame(b, b->class, mark, copies);
        if (b->class == AFR_DATA)
                read_blame(b, AFR_METADATA, mark, copies);
}

/* The object of mark K was marked before: a second name in the same directory, which counts once. */
static bool again(const struct afr_batch *b, unsigned k)
{
        return k > 0 && b->marks[k].inode == b->marks[0].inode;
}

static struct afr_tally mark_tally(const struct afr_batch *b, unsigned k, int32_t amount)
{
        struct afr_tally x = {.gfid = b->marks[k].inode->gfid, .file = b->file, .name = b->marks[k].name};
        x.dirty[b->class] = again(b, k) ? 0 : amount;
        return x;
}

const void *afr_batch_mark_request(const struct afr_batch *b, struct arena *arena, unsigned k, bool undo, enum fop *ret)
{
        struct afr_tally x = mark_tally(b, k, undo ? -1 : 1);
        const void *q = NULL;
        x.key = b->afr->options.granular && !undo ? "glusterfs.xattrop-entry-create" : NULL;
        return build_xattrop(b->afr, arena, &x, ret, &q) < 0 ? NULL : q;
}

/* Counters are told by every answer to a mark: by all members' together, who is behind. */
static void take_marks(struct afr_batch *b, unsigned k, const struct afr_answers *x)
{
        b->members &= x->ok;
        read_counters(b, &b->marks[k], x);
}

static void merge_answers(struct afr_answers *x, const struct afr_answers *more)
{
        AFR_EACH(i, more->asked)
        {
                x->fop = more->fop;
                x->rep[i] = more->rep[i];
                x->result[i] = more->result[i];
        }
        x->asked |= more->asked;
        x->ok |= more->ok;
}

/* Raises the dirty counters where FOLLOW has not; who does not answer is no member. */
static void mark_dirty(struct fibre *self, struct afr_batch *b, struct request *r, const struct afr_follow *follow)
{
        struct afr_part *p = &b->part[b->class];
        p->blamed = b->afr->all;
        if (b->class == AFR_DATA)
                b->part[AFR_METADATA].blamed = b->afr->all;
        for (unsigned k = 0; k < b->n_marks; k++) {
                struct afr_answers answers = follow ? follow->answers[k] : (struct afr_answers){0};
                afr_set rest = b->members & ~answers.ok;
                struct afr_answers more = {0};
                const void *q = rest ? afr_batch_mark_request(b, r->arena, k, false, &more.fop) : NULL;
                if (q) {
                        struct request ours;
                        afr_internal_request(r, 0, &ours);
                        ours.file = b->file;
                        afr_ask(self, b->afr, &ours, more.fop, q, rest, &more);
                }
                merge_answers(&answers, &more);
                take_marks(b, k, &answers);
        }
        p->dirty = b->members;
        p->good &= b->members;
        b->part[AFR_METADATA].good &= b->members;
}

/* Members whose copy of the (first) object misses nothing of CLASS, as far as is known. */
static afr_set good_copies(const struct afr_batch *b, enum afr_class class)
{
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        if (!x)
                return 0;
        if (class != AFR_ENTRY)
                return b->members & afr_readable(x, class);
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
        if (b->part[b->class].good)
                return 0;
        x->known = false; /* maybe it was healed: the next one asks again */
        return b->class == AFR_ENTRY ? -ENOTCONN : x->verdict.unreadable;
}

/* Whether what is done on MEMBERS only must be seen on disk when we cannot finish it [6.2-6.4]. */
static bool needs_mark(const struct afr_batch *b, afr_set members)
{
        return b->class == AFR_DATA || !b->afr->options.optimistic || members != b->afr->all;
}

static void find_good(struct afr_batch *b)
{
        b->part[b->class].good = good_copies(b, b->class);
        if (b->class == AFR_DATA)
                b->part[AFR_METADATA].good = good_copies(b, AFR_METADATA);
}

/* Sizes that differ while others may write are looked at again: we have the lock, and nobody else writes now. */
static int compare_sizes(struct fibre *self, struct afr_batch *b, struct request *r)
{
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        if (b->class != AFR_DATA || !x || !x->verdict.shorter)
                return 0;
        int result = afr_refresh(self, b->afr, r, b->marks[0].inode, b->file);
        x->verdict.readable[AFR_DATA] &= ~x->verdict.shorter;
        return result;
}

/* A machine that lost power takes back what was appended lately, which only shows in the size: until the next append
 * makes all sizes equal, with a hole in that copy. So copies that are shorter are blamed on disk before anything is sent. */
static void blame_shorter(struct fibre *self, struct afr_batch *b, struct request *r)
{
        struct afr_inode *x = afr_inode(b->afr, b->marks[0].inode);
        afr_set behind = x && b->class == AFR_DATA ? x->verdict.shorter & b->members : 0;
        if (!behind || !b->part[AFR_DATA].good)
                return;
        struct afr_tally blame = {.gfid = b->marks[0].inode->gfid, .file = b->file, .blamed = behind};
        blame.amount[AFR_DATA] = 1;
        afr_set know = b->members & ~behind & ~x->verdict.accused[AFR_DATA];
        struct afr_answers answers;
        afr_tally(self, b->afr, r, &blame, know, &answers);
        b->members &= ~(know & ~answers.ok);
        afr_distrust(x, behind, AFR_DATA);
}

/* Locks that were granted, and everything that must be true before an operation is sent. */
static int open_locked(struct fibre *self, struct afr_batch *b, struct request *r, const struct afr_follow *follow)
{
        struct afr *a = b->afr;
        struct afr_part *p = &b->part[b->class];
        if (!afr_quorum(a, b->members))
                return -ENOTCONN;
        int result = know_marks(self, b, r);
        if (result == 0)
                result = compare_sizes(self, b, r);
        if (result < 0)
                return result;
        find_good(b);
        result = no_good_copy(b);
        if (result < 0)
                return result;
        if (needs_mark(b, b->members))
                mark_dirty(self, b, r, follow);
        blame_shorter(self, b, r);
        b->members &= ~afr_batch_lost(b);
        p->good &= b->members;
        if (!afr_quorum(a, b->members))
                return -ENOTCONN;
        return no_good_copy(b);
}

/* The marks that go with the locks. False: none, or out of memory; then they are set afterwards. */
static bool prepare_follow(const struct afr_batch *b, struct arena *arena, struct afr_follow *ret)
{
        *ret = (struct afr_follow){.n = b->n_marks, .file = b->file};
        for (unsigned k = 0; k < b->n_marks; k++) {
                ret->set[k] = afr_batch_mark_request(b, arena, k, false, &ret->fop);
                ret->undo[k] = afr_batch_mark_request(b, arena, k, true, &ret->fop);
                if (!ret->set[k] || !ret->undo[k])
                        return false;
        }
        return true;
}

static afr_set followed(const struct afr_follow *f)
{
        afr_set s = ~(afr_set)0;
        for (unsigned k = 0; k < f->n; k++)
                s &= f->answers[k].ok;
        return s;
}

int afr_batch_open(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        struct afr *a = b->afr;
        struct request r = afr_batch_request(b, arena);
        struct afr_follow follow;
        int result = know_marks(self, b, &r);
        if (result < 0)
                return result;
        afr_set on = afr_file_on(self, a, &r, b->file);
        if (!afr_quorum(a, on))
                return -ENOTCONN;
        memcpy(b->connects, a->connects, sizeof b->connects);
        bool follows = needs_mark(b, on) && prepare_follow(b, arena, &follow);
        b->locks.follow = follows ? &follow : NULL;
        result = afr_lock(self, a, &r, b->file, &b->locks, on, &b->members);
        b->locks.follow = NULL;
        if (result < 0)
                return result;
        if (follows)
                b->part[b->class].dirty = followed(&follow) & b->members; /* taken back, should it end here */
        b->members &= ~afr_batch_lost(b);
        result = open_locked(self, b, &r, follows ? &follow : NULL);
        if (result < 0) {
                (void)afr_batch_settle(self, b, arena);
                afr_batch_unlock(self, b, arena);
        }
        return result;
}

void afr_batch_take_marks(struct afr_batch *b, const struct afr_answers *x)
{
        find_good(b);
        b->part[AFR_DATA].blamed = b->part[AFR_METADATA].blamed = b->afr->all;
        take_marks(b, 0, x);
        b->part[AFR_DATA].good &= b->members;
        b->part[AFR_METADATA].good &= b->members;
}

void afr_batch_unlock(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        struct request r = afr_batch_request(b, arena);
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

/* What post_op() tells the brick about mark K. */
static const void *post_op_request(const struct afr_batch *b, struct arena *arena, enum afr_class class, unsigned k,
                                   afr_set miss, int32_t dirty, enum fop *ret)
{
        struct afr_tally x = {
                .gfid = b->marks[k].inode->gfid, .file = b->file, .blamed = miss, .name = b->marks[k].name};
        const void *q = NULL;
        x.amount[class] = !again(b, k);
        x.dirty[class] = again(b, k) ? 0 : dirty;
        if (b->afr->options.granular && miss)
                x.key = "glusterfs.xattrop-entry-create";
        else if (b->afr->options.granular && b->part[class].changed)
                x.key = "glusterfs.xattrop-entry-delete";
        return build_xattrop(b->afr, arena, &x, ret, &q) < 0 ? NULL : q;
}

/* Blames MISS and takes the dirty marks back, on HAVE; returns where that is on disk now. UNLOCK: there the locks are given
 * back after it. */
static afr_set post_op(struct fibre *self, struct afr_batch *b, struct request *r, enum afr_class class, afr_set have,
                       afr_set miss, int32_t dirty, bool unlock)
{
        struct afr *a = b->afr;
        enum fop fop = FOP_NULL;
        const void *requests[AFR_MARKS_MAX];
        struct request counts, ours;
        struct afr_chains x;
        afr_chains_init(&x, a, r->arena);
        afr_internal_request(r, 0, &counts);
        afr_internal_request(r, b->locks.owner, &ours);
        for (unsigned k = 0; k < b->n_marks; k++)
                requests[k] = post_op_request(b, r->arena, class, k, miss, dirty, &fop);
        AFR_EACH(i, have)
        {
                struct afr_chain *c = afr_chain_new(&x, i);
                for (unsigned k = 0; k < b->n_marks; k++)
                        afr_chain_add(&x, c, fop, &counts, requests[k], AFR_STEP_MARK, k);
                if (unlock)
                        afr_unlock_add(&x, c, &ours, b->file, &b->locks);
        }
        if (afr_chains_run(self, &x) < 0)
                return 0;
        afr_unlock_note(&x, &b->locks);
        afr_set done = have;
        for (unsigned k = 0; k < b->n_marks; k++) {
                struct afr_answers answers = {0};
                afr_chains_answers(&x, AFR_STEP_MARK, k, &answers);
                done &= answers.ok;
        }
        return done;
}

static void distrust_marks(struct afr_batch *b, enum afr_class class, afr_set miss)
{
        for (unsigned k = 0; k < b->n_marks; k++) {
                struct afr_inode *x = afr_inode(b->afr, b->marks[k].inode);
                if (x)
                        afr_distrust(x, miss, class);
        }
}

static int settle_part(struct fibre *self, struct afr_batch *b, struct request *r, enum afr_class class, bool unlock)
{
        struct afr *a = b->afr;
        const struct afr_part *p = &b->part[class];
        afr_set have = b->members & ~p->failed & ~afr_batch_lost(b);
        if (!p->changed && !p->broken) {
                if (p->dirty & have)
                        (void)post_op(self, b, r, class, p->dirty & have, 0, -1, unlock);
                return 0;
        }
        if (class == AFR_DATA && b->unstable && a->options.ensure_durability && !p->broken)
                have &= sync_data(self, b, r, have) & ~afr_batch_lost(b);
        bool only_bad = p->good && !(p->good & have); /* they must not blame the last that misses nothing */
        if (p->broken || only_bad || !afr_quorum(a, have)) {
                if (!p->dirty) /* it was skipped, as all seemed well: the healer must look */
                        (void)post_op(self, b, r, class, b->members & ~afr_batch_lost(b), 0, 1, unlock);
                return -ENOTCONN;
        }
        afr_set miss = a->all & ~have;
        if (!miss && !p->dirty)
                return 0;
        distrust_marks(b, class, miss);
        if (miss)
                mark_created(self, b, r, have, miss);
        afr_set done = post_op(self, b, r, class, have, miss, p->dirty ? -1 : 0, unlock);
        return afr_quorum(a, done) ? 0 : -ENOTCONN;
}

int afr_batch_settle(struct fibre *self, struct afr_batch *b, struct arena *arena)
{
        struct request r = afr_batch_request(b, arena);
        struct afr_part *own = &b->part[b->class], *other = &b->part[AFR_METADATA];
        if (b->class == AFR_DATA)
                other->result = settle_part(self, b, &r, AFR_METADATA, false);
        own->result = settle_part(self, b, &r, b->class, true);
        return own->result;
}

bool afr_batch_is_behind(const struct afr_batch *b)
{
        return (b->part[AFR_DATA].failed | b->part[AFR_METADATA].failed | b->part[AFR_ENTRY].failed) != 0;
}
