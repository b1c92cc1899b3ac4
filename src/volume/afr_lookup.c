/* Look-ups: all copies are asked, one answer is given (replicate.md §5.4).
 *
 * One copy is enough to look again at an object whose copies were compared before, while every brick is there and has
 * promised to tell when something becomes pending, and none has: whoever changes the object meanwhile changes all copies,
 * or leaves a mark. What the answer says must be what is known; names that are not there, or not that object's any more,
 * and objects on which somebody is at work are looked at on all copies.
 *
 * The copies are asked at once, but answer one after the other: what somebody changes meanwhile is found on some as it was
 * and on others as it is. If enough of them say the same, that is the answer. If not, they are asked again under a lock of
 * the name, as a change takes it: then they agree, or really differ, and the name is healed.
 *
 * The answer comes from a copy that may be read, and about names from one whose directory misses no change. Every
 * look-up also tells how the copies of the object stand to each other: that is remembered in its inode, and metadata
 * that differ are healed in the background, names that differ at once.
 */
#include "volume/afr.h"

#include <sys/stat.h>

/* One look-up on its way. */
struct question {
        struct afr *afr;
        struct request *request;
        struct lookup_fop_req *req;
        const struct lookup_fop_req *wanted; /* as the caller gave it */
        struct afr_answers answers;
        struct afr_copy *copies;
        afr_set clean_parents; /* children whose copy of the directory misses no name */
        bool locked;           /* somebody is at work on this name */
        uint32_t changes;
};

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void drop_gfid_req(struct dict *xdata)
{
        uint32_t kept = 0;
        for (uint32_t k = 0; k < xdata->count; k++) {
                if (!str_is(xdata->pairs[k].key, "gfid-req"))
                        xdata->pairs[kept++] = xdata->pairs[k];
        }
        xdata->count = kept;
}

static int prepare(struct question *q, const struct lookup_fop_req *req)
{
        q->wanted = req;
        q->req = afr_req_copy(q->request->arena, FOP_LOOKUP, req);
        if (!q->req)
                return -ENOMEM;
        if (req->bname.len > 0)
                drop_gfid_req(&q->req->xdata); /* assigning one is a heal */
        return afr_ask_counters(q->afr, q->request->arena, &q->req->xdata);
}

/* The inode that others use for what was found. */
static struct vnode *known_inode(const struct question *q, const struct gfid *gfid)
{
        struct vnode *i = vnode_find(q->afr->base.volume, gfid);
        return i ? i : vnode_ref(q->request->inode);
}

static int ask(struct fibre *self, struct question *q, afr_set on)
{
        struct afr *a = q->afr;
        struct afr_inode *x = afr_inode(a, q->request->inode);
        q->changes = x ? x->changes : 0;
        afr_ask(self, a, q->request, FOP_LOOKUP, q->req, on, &q->answers);
        q->copies = afr_copies(a, q->request->arena, &q->answers);
        if (!q->copies)
                return -ENOMEM;
        q->locked = false;
        AFR_EACH(i, q->answers.ok)
        {
                q->locked = q->locked || q->copies[i].parent_entrylks > 0;
        }
        return 0;
}

static afr_set absent(const struct question *q)
{
        afr_set s = 0;
        AFR_EACH(i, q->answers.asked)
        {
                if (q->answers.result[i] == -ENOENT)
                        s |= AFR_BIT(i);
        }
        return s;
}

/* Some have the name and others not, or what they have is not the same. */
static bool disagree(const struct question *q)
{
        afr_set ok = q->answers.ok;
        if (!ok)
                return false;
        unsigned first = afr_next(ok, 0);
        AFR_EACH(i, ok)
        {
                if (!gfid_equal(&q->copies[i].gfid, &q->copies[first].gfid) ||
                    q->copies[i].type != q->copies[first].type)
                        return true;
        }
        return absent(q) || gfid_is_null(&q->copies[first].gfid);
}

/* Those of SET that have the same object as child I. */
static afr_set same_as(const struct question *q, unsigned i, afr_set set)
{
        afr_set same = 0;
        AFR_EACH(k, set)
        {
                if (gfid_equal(&q->copies[k].gfid, &q->copies[i].gfid) && q->copies[k].type == q->copies[i].type)
                        same |= AFR_BIT(k);
        }
        return same;
}

/* A child of SET whose object enough copies have; AFR_NO_CHILD: there is none. */
static unsigned agreed(const struct question *q, afr_set set)
{
        AFR_EACH(i, set)
        {
                if (afr_quorum(q->afr, same_as(q, i, q->answers.ok)))
                        return i;
        }
        return AFR_NO_CHILD;
}

/* Somebody is changing the name, and enough copies say the same of it all the same: either state may be told. */
static bool is_told(const struct question *q)
{
        return q->locked && (afr_quorum(q->afr, absent(q)) || agreed(q, q->answers.ok) != AFR_NO_CHILD);
}

/* ---- one copy ---------------------------------------------------------------------------------------------------- */

/* Somebody is at work on it, or it has missed something. */
static bool is_restless(const struct afr *a, const struct afr_copy *c)
{
        bool any = c->bad || c->parent_entrylks > 0;
        for (unsigned k = 0; k < AFR_CLASSES; k++) {
                any = any || c->dirty[k];
                for (unsigned j = 0; j < a->n; j++)
                        any = any || c->pending[j][k];
        }
        return any;
}

/* The copy to ask about the object, which is known, under its name. */
static unsigned single_copy(struct question *q)
{
        struct afr *a = q->afr;
        struct vnode *i = q->request->inode, *parent = q->request->parent;
        if (gfid_is_null(&i->gfid) || !afr_is_equal(a, i))
                return AFR_NO_CHILD;
        if (q->req->bname.len > 0 && (!parent || !afr_is_equal(a, parent)))
                return AFR_NO_CHILD;
        return afr_read_child(a, q->req->bname.len > 0 ? parent : i, AFR_METADATA, &q->request->cred, a->all);
}

/* True: REP is the answer. False: all are to be asked. */
static bool ask_one(struct fibre *self, struct question *q, struct lookup_fop_rep *rep)
{
        struct afr *a = q->afr;
        struct vnode *i = q->request->inode;
        unsigned child = single_copy(q);
        if (child == AFR_NO_CHILD)
                return false;
        afr_ask(self, a, q->request, FOP_LOOKUP, q->req, AFR_BIT(child), &q->answers);
        q->copies = q->answers.ok ? afr_copies(a, q->request->arena, &q->answers) : NULL;
        if (!q->copies || !gfid_equal(&q->copies[child].gfid, &i->gfid) || is_restless(a, &q->copies[child]))
                return false;
        if (!afr_is_equal(a, i)) /* it was heard meanwhile that it may not be */
                return false;
        (void)afr_take(&q->answers, child, rep);
        return true;
}

/* Objects without a name: not while they are made or removed. */
static int ask_once(struct fibre *self, struct question *q)
{
        unsigned looks = 0;
        int result = ask(self, q, afr_up(q->afr));
        while (result == 0 && q->req->bname.len == 0 && afr_is_passing(self, q->afr, &q->answers, &looks))
                result = ask(self, q, afr_up(q->afr));
        return result;
}

/* ---- nobody changes the name meanwhile --------------------------------------------------------------------------- */

/* While the name is locked on those of ON. They are made to agree, if all are there. */
static int ask_held(struct fibre *self, struct question *q, afr_set on)
{
        struct request *r = q->request;
        struct gfid wanted, *gfid_req = dict_get_gfid(&q->wanted->xdata, "gfid-req", &wanted) == 0 ? &wanted : NULL;
        int result = ask(self, q, on);
        if (result == 0 && on == q->afr->all && disagree(q) &&
            afr_heal_name_held(self, q->afr, r, r->parent, q->wanted->bname.s, gfid_req) == 0)
                result = ask(self, q, on);
        q->locked = false; /* by this look-up, which changes nothing */
        return result;
}

/* 0 also if the name could not be locked: then the answers are those that were there before. */
static int ask_locked(struct fibre *self, struct question *q)
{
        struct afr *a = q->afr;
        struct request *r = q->request;
        struct afr_locks locks = {.class = AFR_ENTRY};
        afr_set on = 0;
        afr_locks_add(&locks, &r->parent->gfid, q->wanted->bname.s);
        int result = afr_lock(self, a, r, NULL, &locks, afr_up(a), &on);
        if (result == -ENOENT || result == -ESTALE)
                return -ENOENT; /* the directory is gone */
        if (result < 0)
                return result == -ENOMEM ? result : 0;
        result = ask_held(self, q, on);
        afr_unlock(self, a, r, NULL, &locks);
        return result;
}

/* ---- answering --------------------------------------------------------------------------------------------------- */

/* Nobody has it. That a name is not there is told only by enough copies. */
static int nothing_found(const struct question *q)
{
        afr_set heard = 0;
        AFR_EACH(i, q->answers.asked)
        {
                if (q->answers.result[i] != -ENOTCONN)
                        heard |= AFR_BIT(i);
        }
        return afr_quorum(q->afr, heard) ? afr_final_error(&q->answers, heard) : -ENOTCONN;
}

/* The copies that have the object which is the answer. 0 in RET never; -errno: there is no such. */
static int same_object(const struct question *q, afr_set *ret)
{
        afr_set ok = q->answers.ok, clean = q->clean_parents;
        if (!(clean & (ok | absent(q))))
                return -ENOTCONN; /* only copies of the directory that miss something tell, and not the same */
        if (!(ok & clean))
                return -ENOENT;
        if (q->locked && absent(q) && !afr_quorum(q->afr, ok))
                return -ENOENT;
        unsigned chosen = q->locked ? agreed(q, ok & clean) : AFR_NO_CHILD;
        if (chosen == AFR_NO_CHILD)
                chosen = afr_next(ok & clean, 0);
        bool sure = AFR_BIT(chosen) & clean;
        AFR_EACH(i, ok)
        {
                if (gfid_equal(&q->copies[i].gfid, &q->copies[chosen].gfid) &&
                    q->copies[i].type == q->copies[chosen].type)
                        continue;
                bool behind = sure && !(AFR_BIT(i) & clean);
                if (!behind && !q->locked)
                        return -EIO;
                ok &= ~AFR_BIT(i);
        }
        *ret = ok;
        return 0;
}

/* The copy whose answer is given, out of OK. */
static int answering_child(struct question *q, struct vnode *i, afr_set ok, unsigned *ret)
{
        struct afr *a = q->afr;
        struct afr_verdict verdict;
        struct afr_copy *copies = q->copies;
        for (unsigned k = 0; k < a->n; k++) {
                if (!(ok & AFR_BIT(k)))
                        copies[k].result = copies[k].result < 0 ? copies[k].result : -ESTALE;
        }
        if (!afr_quorum(a, ok))
                return -ENOTCONN; /* those that know better may be away */
        afr_judge(copies, a->n, a->arbiter, &verdict);
        afr_learn_from(a, i, q->changes, &q->answers, &verdict);
        unsigned child = afr_read_child(a, i, AFR_METADATA, &q->request->cred, ok);
        if (child == AFR_NO_CHILD && verdict.unreadable == -EIO)
                child = afr_next(ok & ~afr_arbiter_set(a), 0); /* split-brain: it can be looked at, not read */
        if (child >= a->n)
                return -ENOTCONN;
        if (ok == a->all && !copies[child].bad && (verdict.accused[AFR_METADATA] || afr_metadata_differs(a, copies)))
                afr_heal_metadata_later(a, i, &copies[child].gfid, copies[child].type);
        *ret = child;
        return 0;
}

static int answer(struct question *q, struct lookup_fop_rep *rep)
{
        afr_set ok = 0;
        bool gone = q->req->bname.len == 0 && afr_is_gone(q->afr, &q->answers);
        int result = q->answers.ok && !gone ? same_object(q, &ok) : nothing_found(q);
        if (result < 0)
                return afr_fail(FOP_LOOKUP, rep, result);
        const struct gfid *gfid = &q->copies[afr_next(ok, 0)].gfid;
        const struct gfid *expected = &q->request->inode->gfid;
        if (!gfid_is_null(expected) && !gfid_equal(expected, gfid))
                return afr_fail(FOP_LOOKUP, rep, -ESTALE);
        _cleanup_vnode_ struct vnode *i = known_inode(q, gfid);
        if (i != q->request->inode)
                q->changes = afr_inode(q->afr, i) ? afr_inode(q->afr, i)->changes : 0;
        unsigned child = 0;
        result = answering_child(q, i, ok, &child);
        return result < 0 ? afr_fail(FOP_LOOKUP, rep, result) : afr_take(&q->answers, child, rep);
}

static afr_set clean_parents(struct fibre *self, const struct question *q)
{
        struct afr *a = q->afr;
        struct vnode *parent = q->request->parent;
        if (!parent || afr_refresh(self, a, q->request, parent, NULL) < 0)
                return a->all;
        const struct afr_inode *x = afr_inode(a, parent);
        if (!x || x->verdict.accused[AFR_ENTRY] == a->all)
                return a->all; /* no copy is better than another */
        return a->all & ~x->verdict.accused[AFR_ENTRY];
}

int afr_lookup(struct fibre *self, struct subvolume *v, struct request *r, const struct lookup_fop_req *req,
               struct lookup_fop_rep *rep)
{
        struct question q = {.afr = afr_of(v), .request = r, .clean_parents = afr_of(v)->all};
        int result = r->inode ? afr_ready(self, q.afr, r) : -EINVAL;
        if (result == 0)
                result = prepare(&q, req);
        if (result == 0 && ask_one(self, &q, rep))
                return 0;
        if (result == 0)
                result = ask_once(self, &q);
        if (result == 0 && req->bname.len > 0 && disagree(&q)) {
                if (r->parent && !is_told(&q))
                        result = ask_locked(self, &q);
                q.clean_parents = clean_parents(self, &q);
        }
        return result < 0 ? afr_fail(FOP_LOOKUP, rep, result) : answer(&q, rep);
}
