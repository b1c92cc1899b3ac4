/* Locks that bind those who do not ask for them (spec: brick.md §13.7; docs/formats/locks.md). */
#pragma once

#include "brick/internal.h"

#define XATTR_ENFORCE_MANDATORY_LOCK "trusted.glusterfs.enforce-mandatory-lock"

/* May bytes from OFFSET, LEN of them (0 = to infinity), be read or (CHANGE) changed through IO? 0; OP_PARKED: the call was
 * parked; -EAGAIN: a lock is in the way and the descriptor does not wait; -EBUSY or -EAGAIN: locks are enforced and the
 * caller has none. */
int mandatory_check(struct op *op, const struct io_fd *io, bool change, uint64_t offset, uint64_t len);
/* The same for O by its path, which never waits: truncation, and opening with O_TRUNC at OFFSET 0. */
int mandatory_check_truncate(struct op *op, struct object *o, uint64_t offset);
/* 1: locks of INODE are enforced, so that a new lock takes conflicting ones away. 0, -errno. */
int mandatory_enforced(struct op *op, struct inode *inode);
/* May XATTR_ENFORCE_MANDATORY_LOCK be set and removed? 0, -EINVAL. */
int mandatory_attribute_check(const struct op *op);
