/* Between afr_metadata.c and afr_xattr.c. */
#pragma once

#include "volume/afr.h"

/* A change of attributes or xattrs on all copies. */
int afr_metadata_transaction(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req,
                             void *rep);
