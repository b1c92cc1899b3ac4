/* Operations that change the content of a file (replicate.md §6.2, §6.8, §7).
 */
#include "volume/afr.h"

#include <fcntl.h>

static struct afr_range range_of(uint64_t start, uint64_t len)
{
        bool endless = len > UINT64_MAX - start;
        return (struct afr_range){.start = start, .end = endless ? UINT64_MAX : start + len};
}

static int data_transaction(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req,
                            void *rep, struct afr_range range)
{
        struct afr_transaction t = {.fop = fop, .class = AFR_DATA, .request = r, .rep = rep, .range = range};
        t.req = afr_with_question(a, r->arena, fop, req, AFR_DATA);
        return t.req ? afr_transact(self, a, &t) : afr_fail(fop, rep, -ENOMEM);
}

/* What the arbiter, which keeps no data, gets in its place. */
static const void *token_write(struct arena *arena, const struct write_fop_req *req)
{
        static const uint8_t token = 0xff;
        struct write_fop_req *q = arena_alloc(arena, sizeof *q);
        if (!q)
                return NULL;
        *q = *req;
        q->size = 1;
        q->data = (struct slice){&token, 1};
        return q;
}

static bool appends(const struct request *r, const struct write_fop_req *req)
{
        return (req->flag & O_APPEND) || (r->file && (r->file->flags & O_APPEND));
}

int afr_write(struct fibre *self, struct subvolume *v, struct request *r, const struct write_fop_req *req,
              struct write_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        struct afr_transaction t = {.fop = FOP_WRITE, .class = AFR_DATA, .request = r, .rep = rep};
        t.range = appends(r, req) ? afr_whole_file : range_of(req->offset, req->data.len);
        struct write_fop_req *q = afr_with_question(a, r->arena, FOP_WRITE, req, AFR_DATA);
        if (!q || dict_add_uint(&q->xdata, r->arena, "glusterfs.write-is-append", 0) < 0)
                return afr_fail(FOP_WRITE, rep, -ENOMEM);
        t.req = q;
        if (a->arbiter != AFR_NO_CHILD && req->data.len > 0) {
                t.arbiter_req = token_write(r->arena, q);
                if (!t.arbiter_req)
                        return afr_fail(FOP_WRITE, rep, -ENOMEM);
        }
        return afr_transact(self, a, &t);
}

int afr_truncate(struct fibre *self, struct subvolume *v, struct request *r, const struct truncate_fop_req *req,
                 struct truncate_fop_rep *rep)
{
        return data_transaction(self, afr_of(v), FOP_TRUNCATE, r, req, rep, afr_whole_file);
}

int afr_ftruncate(struct fibre *self, struct subvolume *v, struct request *r, const struct ftruncate_fop_req *req,
                  struct ftruncate_fop_rep *rep)
{
        return data_transaction(self, afr_of(v), FOP_FTRUNCATE, r, req, rep, afr_whole_file);
}

int afr_fallocate(struct fibre *self, struct subvolume *v, struct request *r, const struct fallocate_fop_req *req,
                  struct fallocate_fop_rep *rep)
{
        return data_transaction(self, afr_of(v), FOP_FALLOCATE, r, req, rep, range_of(req->offset, req->size));
}

int afr_discard(struct fibre *self, struct subvolume *v, struct request *r, const struct discard_fop_req *req,
                struct discard_fop_rep *rep)
{
        return data_transaction(self, afr_of(v), FOP_DISCARD, r, req, rep, range_of(req->offset, req->size));
}

int afr_zerofill(struct fibre *self, struct subvolume *v, struct request *r, const struct zerofill_fop_req *req,
                 struct zerofill_fop_rep *rep)
{
        return data_transaction(self, afr_of(v), FOP_ZEROFILL, r, req, rep, range_of(req->offset, req->size));
}

/* ---- fsync ------------------------------------------------------------------------------------------------------- */

/* Whether the copies of MISSED are known to be behind anyway, so that their failure to sync tells nothing new. */
static bool known_behind(const struct afr *a, const struct afr_inode *x, afr_set missed)
{
        return x->known && x->generation == a->base.generation && !(missed & ~x->verdict.accused[AFR_DATA]);
}

/* Nothing of ours is under way: asks all, and is content when all that matter say yes. 1: somebody must be blamed. */
static int sync_plainly(struct fibre *self, struct afr *a, struct request *r, const struct fsync_fop_req *req,
                        struct fsync_fop_rep *rep)
{
        int result = afr_know(self, a, r, r->inode, r->file);
        if (result < 0)
                return afr_fail(FOP_FSYNC, rep, result);
        struct afr_answers answers;
        afr_ask(self, a, r, FOP_FSYNC, req, afr_file_on(self, a, r, r->file), &answers);
        struct afr_inode *x = afr_inode(a, r->inode);
        if (!afr_quorum(a, answers.ok) || !known_behind(a, x, a->all & ~answers.ok))
                return 1;
        unsigned child = afr_read_child(a, r->inode, AFR_DATA, &r->cred, answers.ok);
        return child == AFR_NO_CHILD ? 1 : afr_take(&answers, child, rep);
}

int afr_fsync(struct fibre *self, struct subvolume *v, struct request *r, const struct fsync_fop_req *req,
              struct fsync_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        struct afr_inode *x = afr_inode(a, r->inode);
        if (!x)
                return afr_fail(FOP_FSYNC, rep, -ENOMEM);
        if (x->batch[AFR_DATA] && x->batch[AFR_DATA]->state == AFR_BATCH_CLOSING)
                afr_eager_settle_inode(self, a, r->inode);
        int result = afr_ready(self, a, r);
        if (result < 0)
                return afr_fail(FOP_FSYNC, rep, result);
        if (!x->batch[AFR_DATA]) {
                result = sync_plainly(self, a, r, req, rep);
                if (result <= 0)
                        return result;
        }
        return data_transaction(self, a, FOP_FSYNC, r, req, rep, (struct afr_range){0});
}
