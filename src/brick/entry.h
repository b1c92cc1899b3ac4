/* What creating, linking, removing and renaming have in common: parents before and after, the removal of one name. */
#pragma once

#include "brick/cache.h"

/* The parent of a name that will be changed: found, NAME allowed (existing "." and ".." answer DOTS_ERROR), not read-only. */
int entry_parent(struct op *op, const struct gfid *gfid, const char *name, int dots_error, struct object *ret);
/* Its iatt as found. */
int entry_parent_before(struct op *op, struct object *parent, struct iatt *ret);
/* Its times by the request, and its iatt now. Lock counts of the parent go into the answer (brick.md §13.9). */
int entry_parent_after(struct op *op, struct object *parent, struct iatt *ret);

/* A regular file whose permission bits are exactly the sticky bit (brick.md §2.5). */
bool entry_is_linkto_mode(const struct stat *st);

/* Removes one name of a non-directory with its handle or its traces in the attributes (brick.md §8.7, steps 3-5). The caller
 * holds the name's entry lock. Afterwards O says where the object still is (handle or .glusterfs/unlink) with a fresh stat;
 * when it is gone, O has its last stat with no links. */
int entry_unlink(struct op *op, struct object *parent, struct object *o);
/* The same for an entry that stands in the way of a new one, if `force-replace` allows that and it is not a name of KEEP
 * (may be NULL): -EEXIST if not. */
int entry_replace(struct op *op, struct object *parent, const char *name, const struct inode *keep);

/* NAME in PARENT becomes another name of INODE, whose handle exists or is parked. Fills *RET (at: the new name), touches
 * nothing but names. The caller holds the name's entry lock. */
int entry_link(struct op *op, struct object *parent, const char *name, struct inode *inode, struct object *ret);
