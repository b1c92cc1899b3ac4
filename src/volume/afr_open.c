/* Open files: on which copies a file is open, opening it where it is not, closing (replicate.md §8.1).
 *
 * A file is opened by gfid on copies that were down when it was opened. Copies that refuse are left out of its
 * operations and asked again after a while. What this layer keeps open for a delayed post-op ends with flush.
 */
#include "volume/afr.h"

#include <fcntl.h>

#define RETRY_INTERVAL NS_PER_SEC

struct afr_file *afr_file(struct afr *a, struct vfile *f)
{
        void **slot = vfile_slot(f, &a->base);
        if (*slot)
                return *slot;
        struct afr_file *x = calloc(1, sizeof *x);
        if (!x)
                return NULL;
        x->read_child = AFR_NO_CHILD;
        *slot = x;
        return x;
}

void afr_release(struct subvolume *v, struct vfile *f, void *slot)
{
        (void)v;
        (void)f;
        free(slot);
}

/* ---- opening where it is not yet --------------------------------------------------------------------------------- */

static void open_on(struct fibre *self, struct afr *a, struct request *r, struct vfile *f, afr_set missing,
                    struct afr_answers *ret)
{
        struct request ours;
        afr_internal_request(r, 0, &ours);
        ours.inode = f->inode;
        ours.file = f;
        if (f->directory) {
                struct opendir_fop_req q = {.gfid = f->inode->gfid};
                afr_ask(self, a, &ours, FOP_OPENDIR, &q, missing, ret);
                return;
        }
        struct open_fop_req q = {.gfid = f->inode->gfid, .flags = f->flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC)};
        afr_ask(self, a, &ours, FOP_OPEN, &q, missing, ret);
}

afr_set afr_file_on(struct fibre *self, struct afr *a, struct request *r, struct vfile *f)
{
        if (!f)
                return afr_up(a);
        struct afr_file *x = afr_file(a, f);
        if (!x)
                return 0;
        if (!(afr_up(a) & ~x->opened) || loop_now(afr_loop(a)) < x->retry_at)
                return afr_up(a) & x->opened;
        fibre_mutex_lock(self, &x->opening);
        afr_set missing = afr_up(a) & ~x->opened;
        if (missing && loop_now(afr_loop(a)) >= x->retry_at) {
                struct afr_answers answers;
                open_on(self, a, r, f, missing, &answers);
                x->opened |= answers.ok;
                x->retry_at = missing & ~answers.ok ? loop_now(afr_loop(a)) + RETRY_INTERVAL : 0;
        }
        fibre_mutex_unlock(self, &x->opening);
        return afr_up(a) & x->opened;
}

/* ---- open, opendir ----------------------------------------------------------------------------------------------- */

/* Too few have opened it. Where that is no answer, as one that opened it and one that has it no more, the object is looked
 * at: perhaps it is just being removed. */
static int why_not_opened(struct fibre *self, struct afr *a, struct request *r, const struct afr_answers *x)
{
        int result = afr_refusal(a, x);
        if (result != -ENOTCONN || !r->inode || !(x->ok & afr_up(a)))
                return result;
        int now = afr_refresh(self, a, r, r->inode, NULL);
        return now == -ENOENT || now == -ESTALE ? -ESTALE : result;
}

/* Opens on all; in REP what a good copy answered. */
static int open_all(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req, void *rep)
{
        int result = afr_ready(self, a, r);
        if (result < 0)
                return afr_fail(fop, rep, result);
        struct afr_answers answers;
        afr_ask(self, a, r, fop, req, afr_up(a), &answers);
        struct afr_file *f = r->file ? afr_file(a, r->file) : NULL;
        if (f)
                f->opened |= answers.ok;
        if (!afr_quorum(a, answers.ok))
                return afr_fail(fop, rep, why_not_opened(self, a, r, &answers));
        return afr_take(&answers, afr_next(answers.ok, 0), rep);
}

int afr_open(struct fibre *self, struct subvolume *v, struct request *r, const struct open_fop_req *req,
             struct open_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        struct open_fop_req q = *req;
        q.flags &= ~(uint32_t)O_TRUNC;
        int result = open_all(self, a, FOP_OPEN, r, &q, rep);
        if (result < 0 || !(req->flags & O_TRUNC))
                return result;
        struct ftruncate_fop_req *cut = arena_alloc(r->arena, sizeof *cut);
        struct ftruncate_fop_rep *cut_rep = arena_alloc(r->arena, sizeof *cut_rep);
        if (!cut || !cut_rep)
                return afr_fail(FOP_OPEN, rep, -ENOMEM);
        *cut = (struct ftruncate_fop_req){.gfid = req->gfid};
        result = afr_ftruncate(self, v, r, cut, cut_rep);
        return result < 0 ? afr_fail(FOP_OPEN, rep, result) : 0;
}

/* A directory whose copies are equal is opened on the one that will be listed; elsewhere when that is needed. */
int afr_opendir(struct fibre *self, struct subvolume *v, struct request *r, const struct opendir_fop_req *req,
                struct opendir_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        struct afr_file *f = r->file ? afr_file(a, r->file) : NULL;
        unsigned child = f && r->inode && afr_is_equal(a, r->inode)
                                 ? afr_read_child(a, r->inode, AFR_ENTRY, &r->cred, afr_up(a))
                                 : AFR_NO_CHILD;
        int result = child == AFR_NO_CHILD ? -ENOTCONN : subvolume_opendir(self, a->base.children[child], r, req, rep);
        if (result < 0)
                return open_all(self, a, FOP_OPENDIR, r, req, rep);
        f->opened |= AFR_BIT(child);
        return result;
}

/* ---- flush, fsyncdir --------------------------------------------------------------------------------------------- */

/* To all; one success is enough. */
static int tell_all(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req, void *rep)
{
        int result = afr_ready(self, a, r);
        if (result < 0)
                return afr_fail(fop, rep, result);
        struct afr_answers answers;
        afr_ask(self, a, r, fop, req, afr_file_on(self, a, r, r->file), &answers);
        if (!answers.ok)
                return afr_fail(fop, rep, afr_final_error(&answers, answers.asked));
        return afr_take(&answers, afr_next(answers.ok, 0), rep);
}

int afr_flush(struct fibre *self, struct subvolume *v, struct request *r, const struct flush_fop_req *req,
              struct flush_fop_rep *rep)
{
        if (r->inode)
                afr_eager_close_inode(afr_of(v), r->inode);
        return tell_all(self, afr_of(v), FOP_FLUSH, r, req, rep);
}

int afr_fsyncdir(struct fibre *self, struct subvolume *v, struct request *r, const struct fsyncdir_fop_req *req,
                 struct fsyncdir_fop_rep *rep)
{
        return tell_all(self, afr_of(v), FOP_FSYNCDIR, r, req, rep);
}
