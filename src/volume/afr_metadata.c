/* Operations that change attributes and extended attributes (replicate.md §6.3, §6.8). What they may set is decided in
 * afr_xattr.c.
 */
#include "volume/afr.h"

#include "volume/afr_xattr.h"

int afr_metadata_transaction(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req,
                             void *rep)
{
        struct afr_transaction t = {.fop = fop, .class = AFR_METADATA, .request = r, .rep = rep};
        t.range = afr_whole_file; /* what it sets, writes may change too: one order on all copies */
        t.req = afr_with_question(a, r->arena, fop, req, AFR_METADATA);
        return t.req ? afr_transact(self, a, &t) : afr_fail(fop, rep, -ENOMEM);
}

#define METADATA_OP_(name, NAME)                                                                                       \
        int afr_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep)                                                                     \
        {                                                                                                              \
                return afr_metadata_transaction(self, afr_of(v), FOP_##NAME, r, req, rep);                             \
        }
METADATA_OP_(setattr, SETATTR)
METADATA_OP_(fsetattr, FSETATTR)
METADATA_OP_(xattrop, XATTROP)
METADATA_OP_(fxattrop, FXATTROP)
