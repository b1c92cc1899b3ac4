/* What operations on open files share (io.c, alloc.c). Internal to the layer. */
#pragma once

#include "brick/internal.h"

/* The most one READ returns; a client that asks for more gets a short answer without the end-of-file mark. */
#define IO_READ_MAX (16 * MIB)

/* -EINVAL: OFFSET or its end lies beyond 2^63-1. */
int io_check_range(uint64_t offset, uint64_t len);
/* -EISDIR, -EINVAL: not a regular file. -EIO: an anonymous descriptor of a file marked bad. */
int io_check_file(struct op *op, const struct io_fd *io, const struct stat *st);
/* Lies entirely in what is allocated already: allowed while the space reserve is reached (brick.md §16.2). */
bool io_inside(const struct stat *st, uint64_t offset, uint64_t len);
/* What the kernel does when somebody else than root changes a file with MODE: no set-id bits survive. */
int io_drop_privileges(struct op *op, const struct place *at, mode_t mode);

/* May OP truncate O by its gfid? The NFS server (pid 1) does so for an owner who has just taken his own write permission
 * away. */
int io_truncate_check(struct op *op, struct object *o);

/* The object's write lock, if WANTED. io_unlock() on a lock not taken is nothing. */
void io_lock(struct op *op, const struct inode *inode, bool wanted, struct entry_guard *ret);
void io_unlock(struct entry_guard *g);

/* After a change of contents: privileges, times, the iatt to answer. */
int io_changed(struct op *op, const struct io_fd *io, const struct stat *before, struct iatt *ret_after);
