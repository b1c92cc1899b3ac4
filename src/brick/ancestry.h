/* The way to an object from the root, by all its names (spec: brick.md §8.19, §9, §10.3). */
#pragma once

#include "brick/internal.h"

/* All paths of O, joined by colons. -ENOENT: not known. Directories know theirs; of other objects the pgfid attributes do,
 * where `build-pgfid` is on. */
int ancestry_paths(struct op *op, struct object *o, char **ret);
/* READDIRP that asks for `glusterfs.ancestry.dentry`: the objects on those paths in place of entries. */
int ancestry_list(struct op *op, const struct readdirp_fop_req *req, struct readdirp_fop_rep *rep);
