/* Operations that change nothing: which copy answers, and who is asked when it does not (replicate.md §5.5; afr.h).
 */
#include "volume/afr.h"

#include <sys/stat.h>

/* ---- the copy to read -------------------------------------------------------------------------------------------- */

static unsigned least_busy(const struct afr *a, afr_set among)
{
        unsigned best = afr_next(among, 0);
        AFR_EACH(i, among)
        {
                if (a->reading[i] < a->reading[best])
                        best = i;
        }
        return best;
}

static unsigned by_hash(const struct afr *a, const struct gfid *gfid, const struct rpc_cred *cred)
{
        uint8_t data[20];
        memcpy(data, gfid->b, sizeof gfid->b);
        memcpy(data + 16, &cred->pid, 4);
        return afr_hash(data, a->options.read_hash_mode == 2 ? 20 : 16) % a->n;
}

/* The one on this machine: first of all one that can be read without asking its brick. */
static unsigned nearest(const struct afr *a, afr_set among)
{
        AFR_EACH(i, among)
        {
                if (a->base.children[i]->near)
                        return i;
        }
        return a->local != AFR_NO_CHILD && (among & AFR_BIT(a->local)) ? a->local : AFR_NO_CHILD;
}

static unsigned prefer(const struct afr *a, struct vnode *i, const struct rpc_cred *cred, afr_set among)
{
        const struct afr_options *o = &a->options;
        if (o->read_child >= 0 && (among & AFR_BIT((unsigned)o->read_child)))
                return (unsigned)o->read_child;
        unsigned near = o->choose_local ? nearest(a, among) : AFR_NO_CHILD;
        if (near != AFR_NO_CHILD)
                return near;
        if (o->read_hash_mode >= 3)
                return least_busy(a, among);
        unsigned hashed = o->read_hash_mode == 0 ? 0 : by_hash(a, &i->gfid, cred);
        return among & AFR_BIT(hashed) ? hashed : afr_next(among, 0);
}

/* The copy that an operator told this client to read in spite of split-brain. */
static unsigned chosen(const struct afr *a, struct afr_inode *x, afr_set among)
{
        if (x->choice != AFR_NO_CHILD && loop_now(afr_loop(a)) >= x->choice_until)
                x->choice = AFR_NO_CHILD;
        return x->choice != AFR_NO_CHILD && (among & AFR_BIT(x->choice)) ? x->choice : AFR_NO_CHILD;
}

unsigned afr_read_child(struct afr *a, struct vnode *i, enum afr_class class, const struct rpc_cred *cred,
                        afr_set among)
{
        struct afr_inode *x = afr_inode(a, i);
        if (!x)
                return AFR_NO_CHILD;
        enum afr_class content = afr_content_class(i);
        afr_set data = afr_readable(x, content), metadata = afr_readable(x, AFR_METADATA);
        if (!data || !metadata)
                return chosen(a, x, among);
        afr_set candidates = data & metadata;
        if (!candidates)
                candidates = class == AFR_METADATA ? metadata : data;
        candidates &= among;
        return candidates ? prefer(a, i, cred, candidates) : AFR_NO_CHILD;
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

/* Answers that another copy would give as well. */
static bool is_final(int result)
{
        switch (result) {
        case -ENODATA:
        case -EOPNOTSUPP:
        case -ERANGE:
        case -ENAMETOOLONG:
        case -EACCES:
        case -EPERM:
        case -EINTR:
        case -EINVAL:
        case -ENXIO:
        case -EAGAIN:
                return true;
        default:
                return result >= 0;
        }
}

static int read_from(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req, void *rep,
                     unsigned child)
{
        a->reading[child]++;
        int result = subvolume_call(self, a->base.children[child], fop, r, req, rep);
        a->reading[child]--;
        return result;
}

static int unreadable(struct afr *a, struct vnode *i, afr_set on)
{
        struct afr_inode *x = afr_inode(a, i);
        if (!x)
                return -ENOMEM;
        if (!(on & x->verdict.answered))
                return -ENOTCONN;
        enum afr_class content = afr_content_class(i);
        if (afr_readable(x, content) && afr_readable(x, AFR_METADATA))
                return -ENOTCONN;
        x->known = false; /* maybe it is healed by now: the next one asks again */
        return x->verdict.unreadable;
}

/* Nothing may be read as far as is known. It may be healed by now, so that is found out first. A split-brain can be looked at:
 * as in a look-up, attributes are those of the first copy. AFR_NO_CHILD: nothing. */
static unsigned second_look(struct fibre *self, struct afr *a, enum fop fop, enum afr_class class, struct request *r,
                            afr_set on)
{
        const struct afr_inode *x = afr_inode(a, r->inode);
        if (!x || afr_refresh(self, a, r, r->inode, r->file) < 0)
                return AFR_NO_CHILD;
        unsigned child = afr_read_child(a, r->inode, class, &r->cred, on);
        afr_set copies = on & x->verdict.answered & ~afr_arbiter_set(a);
        if (child == AFR_NO_CHILD && fop == FOP_STAT && x->verdict.unreadable == -EIO && copies)
                return afr_next(copies, 0);
        return child;
}

int afr_read_any(struct fibre *self, struct afr *a, enum fop fop, enum afr_class class, struct request *r,
                 const void *req, void *rep)
{
        struct vnode *i = r->inode;
        int result = afr_ready(self, a, r);
        if (result == 0)
                result = afr_know(self, a, r, i, r->file);
        if (result < 0)
                return afr_fail(fop, rep, result);
        afr_set on = afr_file_on(self, a, r, r->file), tried = 0;
        bool refreshed = false;
        for (;;) {
                unsigned child = afr_read_child(a, i, class, &r->cred, on & ~tried);
                if (child == AFR_NO_CHILD && !tried)
                        child = second_look(self, a, fop, class, r, on);
                if (child == AFR_NO_CHILD && !tried)
                        return afr_fail(fop, rep, unreadable(a, i, on));
                if (child == AFR_NO_CHILD)
                        return result;
                result = read_from(self, a, fop, r, req, rep, child);
                if (is_final(result))
                        return result;
                tried |= AFR_BIT(child);
                if (!refreshed && afr_refresh(self, a, r, i, r->file) < 0)
                        return result;
                refreshed = true;
                on = afr_up(a) & on;
        }
}

/* ---- plain ones -------------------------------------------------------------------------------------------------- */

#define READ_OP_(name, NAME, class)                                                                                    \
        int afr_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep)                                                                     \
        {                                                                                                              \
                return afr_read_any(self, afr_of(v), FOP_##NAME, class, r, req, rep);                                  \
        }
READ_OP_(stat, STAT, AFR_METADATA)
READ_OP_(fstat, FSTAT, AFR_METADATA)
READ_OP_(access, ACCESS, AFR_METADATA)
READ_OP_(readlink, READLINK, AFR_METADATA)
READ_OP_(read, READ, AFR_DATA)
READ_OP_(seek, SEEK, AFR_DATA)
READ_OP_(rchecksum, RCHECKSUM, AFR_DATA)
