/* What heals of this layer share; afr_heal_name.c, afr_heal_meta.c and the heal program use it (replicate.md §10).
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/afr.h"

/* A request with the rights and the number of an internal healer. */
void afr_heal_request(const struct request *from, struct request *ret);
/* One operation on one child. In RET_REP (may be NULL) its answer. */
int afr_heal_call(struct fibre *self, struct afr *a, struct request *r, enum fop fop, const void *req, unsigned child,
                  const void **ret_rep);
/* What all children say about the object with this gfid: n copies. -ENOTCONN: one does not answer. */
int afr_heal_inspect(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                     struct afr_copy **ret);
/* Subtracts on the children of ON exactly what COPIES say they had: counters of CLASS about the children of FORGIVEN,
 * and their dirty counters. -ENOTCONN: not everywhere. */
int afr_heal_undo(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, enum afr_class class,
                  const struct afr_copy copies[], afr_set on, afr_set forgiven);
/* Whether a heal leaves an xattr alone. */
bool afr_heal_ignores(struct str name);
