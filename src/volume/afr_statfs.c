/* statfs: the copy with the least room tells (replicate.md §8.6).
 */
#include "volume/afr.h"

int afr_statfs(struct fibre *self, struct subvolume *v, struct request *r, const struct statfs_fop_req *req,
               struct statfs_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        int result = afr_ready(self, a, r);
        if (result < 0)
                return afr_fail(FOP_STATFS, rep, result);
        struct afr_answers answers;
        afr_ask(self, a, r, FOP_STATFS, req, afr_up(a) & ~afr_arbiter_set(a), &answers);
        if (!answers.ok)
                return afr_fail(FOP_STATFS, rep, afr_final_error(&answers, answers.asked));
        unsigned least = afr_next(answers.ok, 0);
        AFR_EACH(i, answers.ok)
        {
                const struct statfs_fop_rep *x = answers.rep[i], *y = answers.rep[least];
                if (x->statfs.bavail * x->statfs.frsize < y->statfs.bavail * y->statfs.frsize)
                        least = i;
        }
        return afr_take(&answers, least, rep);
}
