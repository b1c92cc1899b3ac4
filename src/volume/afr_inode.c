/* What the replica set knows of an object, and how it asks (replicate.md §5.1, §5.2; afr.h).
 *
 * A verdict stands for one generation of the set. What happens here in between makes it worse at once (afr_distrust),
 * and an answer to a question asked before that is not believed (`changes`).
 */
#include "volume/afr.h"

#include <stdlib.h>

/* An object that is just being made or removed is looked at so often again; the pauses before it double. */
#define PASSING_LOOKS 7
#define PASSING_PAUSE NS_PER_MSEC

struct afr_inode *afr_inode(struct afr *a, struct vnode *i)
{
        void **slot = vnode_slot(i, &a->base);
        if (*slot)
                return *slot;
        struct afr_inode *x = calloc(1, sizeof *x);
        if (!x)
                return NULL;
        x->choice = AFR_NO_CHILD;
        *slot = x;
        return x;
}

void afr_forget(struct subvolume *v, struct vnode *i, void *slot)
{
        (void)v;
        (void)i;
        free(slot);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

int afr_ask_counters(const struct afr *a, struct arena *arena, struct dict *xdata)
{
        int r = 0;
        for (unsigned i = 0; i < a->n && r == 0; i++)
                r = dict_add_uint(xdata, arena, a->pending[i], AFR_COUNTER_SIZE);
        if (r == 0)
                r = dict_add_uint(xdata, arena, "trusted.afr.dirty", AFR_COUNTER_SIZE);
        if (r == 0)
                r = dict_add_int(xdata, arena, "list-xattr", 1);
        if (r == 0)
                r = dict_add_str(xdata, arena, "glusterfs.inodelk-dom-count", a->base.name);
        if (r == 0)
                r = dict_add_uint(xdata, arena, "glusterfs.parent-entrylk", 0);
        if (r == 0)
                r = dict_add_str(xdata, arena, "link-count", "glusterfs.xattrop_index_count");
        return r;
}

static const struct iatt *object_of(const struct afr_answers *x, unsigned i)
{
        if (x->fop == FOP_FSTAT)
                return &((const struct fstat_fop_rep *)x->rep[i])->stat;
        return &((const struct lookup_fop_rep *)x->rep[i])->prestat;
}

static void note_index(struct afr *a, unsigned i, const struct dict *xdata)
{
        int64_t pending;
        if ((a->index_watched & AFR_BIT(i)) || dict_get_int(xdata, "link-count", &pending) < 0)
                return;
        a->index_known |= AFR_BIT(i);
        a->index_time[i] = loop_now(afr_loop(a));
        if (pending)
                a->index_pending |= AFR_BIT(i);
        else
                a->index_pending &= ~AFR_BIT(i);
}

struct afr_copy *afr_copies(struct afr *a, struct arena *arena, const struct afr_answers *x)
{
        struct afr_copy *copies = arena_alloc_array(arena, a->n, sizeof *copies);
        for (unsigned i = 0; copies && i < a->n; i++) {
                if (!(x->asked & AFR_BIT(i)) || !x->rep[i]) {
                        copies[i] = (struct afr_copy){.result = -ENOTCONN};
                        continue;
                }
                const struct dict *xdata = afr_rep_xdata(x->fop, x->rep[i]);
                afr_copy_read(a->pending, a->n, x->result[i], object_of(x, i), xdata, &copies[i]);
                if (x->result[i] >= 0)
                        note_index(a, i, xdata);
        }
        return copies;
}

static int ask_by_gfid(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, struct afr_answers *ret)
{
        struct lookup_fop_req *q = arena_alloc(r->arena, sizeof *q);
        if (!q)
                return -ENOMEM;
        *q = (struct lookup_fop_req){.gfid = i->gfid, .bname = STR("")};
        if (afr_ask_counters(a, r->arena, &q->xdata) < 0)
                return -ENOMEM;
        afr_ask(self, a, r, FOP_LOOKUP, q, afr_up(a), ret);
        return 0;
}

static int ask_by_file(struct fibre *self, struct afr *a, struct request *r, struct vfile *file,
                       struct afr_answers *ret)
{
        struct fstat_fop_req *q = arena_alloc(r->arena, sizeof *q);
        if (!q)
                return -ENOMEM;
        *q = (struct fstat_fop_req){.gfid = file->inode->gfid};
        if (afr_ask_counters(a, r->arena, &q->xdata) < 0)
                return -ENOMEM;
        afr_ask(self, a, r, FOP_FSTAT, q, afr_file_on(self, a, r, file), ret);
        return 0;
}

/* ---- is anything pending? ---------------------------------------------------------------------------------------- */

#define CLEAN_FOR NS_PER_SEC

bool afr_nothing_pending(const struct afr *a)
{
        if (afr_up(a) != a->all || (a->index_known & a->all) != a->all || a->index_pending)
                return false;
        uint64_t now = loop_now(afr_loop(a));
        for (unsigned i = 0; i < a->n; i++) {
                if (!(a->index_watched & AFR_BIT(i)) && now - a->index_time[i] > CLEAN_FOR)
                        return false;
        }
        return true;
}

bool afr_is_settled(const struct afr *a)
{
        return (a->index_watched & a->all) == a->all && afr_nothing_pending(a);
}

bool afr_is_behind(const struct afr_inode *x)
{
        bool behind = false;
        for (unsigned k = 0; k < AFR_KEPT; k++)
                behind = behind || (x->batch[k] && afr_batch_is_behind(x->batch[k]));
        return behind;
}

bool afr_is_equal(struct afr *a, struct vnode *i)
{
        const struct afr_inode *x = *vnode_slot(i, &a->base);
        if (!x || !x->known || x->generation != a->base.generation || !afr_is_settled(a))
                return false;
        afr_set accused = 0;
        for (unsigned c = 0; c < AFR_CLASSES; c++)
                accused |= x->verdict.accused[c];
        afr_set unreadable = a->all & ~afr_arbiter_set(a) & ~(afr_readable(x, AFR_METADATA) & afr_readable(x, AFR_DATA));
        return !accused && !unreadable && x->verdict.answered == a->all && !afr_is_behind(x);
}

/* ---- knowledge --------------------------------------------------------------------------------------------------- */

void afr_learn(struct afr *a, struct vnode *i, uint32_t changes, const struct afr_verdict *verdict)
{
        struct afr_inode *x = afr_inode(a, i);
        if (!x)
                return;
        struct afr_verdict old = x->verdict;
        x->verdict = *verdict;
        x->known = !verdict->provisional && x->changes == changes;
        x->generation = a->base.generation;
        for (unsigned c = 0; c < AFR_CLASSES && x->changes != changes; c++) {
                x->verdict.readable[c] &= ~old.accused[c]; /* learned after the question was asked */
                x->verdict.accused[c] |= old.accused[c];
        }
}

void afr_learn_from(struct afr *a, struct vnode *i, uint32_t changes, const struct afr_answers *x,
                    const struct afr_verdict *verdict)
{
        afr_learn(a, i, changes, verdict);
        struct afr_inode *known = *vnode_slot(i, &a->base);
        if (known && x->generation != a->base.generation)
                known->known = false;
}

static afr_set gone(const struct afr_answers *x)
{
        afr_set s = 0;
        AFR_EACH(i, x->asked)
        {
                if (x->result[i] == -ENOENT || x->result[i] == -ESTALE)
                        s |= AFR_BIT(i);
        }
        return s;
}

bool afr_is_gone(const struct afr *a, const struct afr_answers *x)
{
        return !afr_quorum(a, x->ok) && afr_quorum(a, gone(x));
}

bool afr_is_passing(struct fibre *self, const struct afr *a, const struct afr_answers *x, unsigned *looks)
{
        afr_set absent = gone(x);
        bool mixed = absent && !afr_quorum(a, x->ok) && !afr_quorum(a, absent) && afr_quorum(a, x->ok | absent);
        if (!mixed || *looks >= PASSING_LOOKS)
                return false;
        fibre_sleep(self, PASSING_PAUSE << (*looks)++);
        return true;
}

static int ask_about(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, struct vfile *file,
                     struct afr_answers *ret)
{
        int result;
        unsigned looks = 0;
        do
                result = file ? ask_by_file(self, a, r, file, ret) : ask_by_gfid(self, a, r, i, ret);
        while (result == 0 && afr_is_passing(self, a, ret, &looks));
        return result;
}

int afr_refresh(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, struct vfile *file)
{
        struct afr_inode *x = afr_inode(a, i);
        if (!x)
                return -ENOMEM;
        struct request ours;
        afr_internal_request(r, 0, &ours);
        ours.inode = i;
        ours.file = file;
        uint32_t changes = x->changes;
        struct afr_answers answers;
        int result = ask_about(self, a, &ours, i, file, &answers);
        if (result < 0)
                return result;
        if (!afr_quorum(a, answers.ok)) /* those that know better may be away */
                return afr_refusal(a, &answers);
        struct afr_copy *copies = afr_copies(a, r->arena, &answers);
        if (!copies)
                return -ENOMEM;
        struct afr_verdict verdict;
        afr_judge(copies, a->n, a->arbiter, &verdict);
        afr_learn_from(a, i, changes, &answers, &verdict);
        return 0;
}

int afr_know(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, struct vfile *file)
{
        struct afr_inode *x = afr_inode(a, i);
        if (!x)
                return -ENOMEM;
        if (x->known && x->generation == a->base.generation)
                return 0;
        return afr_refresh(self, a, r, i, file);
}

afr_set afr_readable(const struct afr_inode *x, enum afr_class class)
{
        afr_set s = x->verdict.readable[class];
        for (unsigned k = 0; k < AFR_KEPT; k++) {
                if (x->batch[k])
                        s &= ~x->batch[k]->part[class].failed;
        }
        return s;
}

void afr_doubt(struct afr *a, struct vnode *i)
{
        struct afr_inode *x = i ? *vnode_slot(i, &a->base) : NULL;
        if (x)
                x->known = false;
}

void afr_distrust(struct afr_inode *x, afr_set children, enum afr_class class)
{
        if (!(children & (x->verdict.readable[class] | ~x->verdict.accused[class])))
                return;
        x->verdict.readable[class] &= ~children;
        if (class == AFR_ENTRY)
                x->verdict.readable[AFR_DATA] &= ~children;
        x->verdict.accused[class] |= children;
        x->changes++;
}
