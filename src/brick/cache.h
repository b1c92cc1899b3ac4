/* What inode.c, xattr.c and handle.c offer to the files beside them, beyond internal.h.
 *
 * inode.lock is recursive: functions here and in internal.h that need it take it themselves, also when a caller already
 * holds it around a larger step. inode_table.lock is a leaf, so inode_get() and its kin may be called at any time.
 */
#pragma once

#include "brick/internal.h"

/* ---- inode.c ------------------------------------------------------------------------------------------------------- */

/* Frees all unreferenced inodes; at closing, that is all. */
void inode_table_empty(struct brick *b);
/* The cached descriptor of a directory, or -EBADF. Valid while the caller's reference lasts. */
int inode_dirfd(struct brick *b, struct inode *i);
/* Caches FD (taken over); if there is one already, that one stays. Result: the cached descriptor. */
int inode_keep_dirfd(struct brick *b, struct inode *i, int fd);
/* CLOCK_MONOTONIC_COARSE ns at which the object's handle was last seen or made by a look-up; 0 = never. */
uint64_t inode_handle_checked(struct inode *i);
void inode_set_handle_checked(struct inode *i, uint64_t when);
/* Fills inodes, fds and their bytes. */
void inode_table_count(struct brick *b, struct brick_stats *s);

/* ---- xattr.c ------------------------------------------------------------------------------------------------------- */

/* Is there a snapshot that matches ST? */
bool xattr_is_current(struct inode *inode, const struct stat *st);
/* One attribute by way of the snapshot, which is read if there is no current one: its length, or -ENODATA, -ERANGE. */
ssize_t xattr_get(struct brick *b, struct inode *inode, const struct place *at, const struct stat *st, const char *name,
                  void *buf, size_t size);
/* The same without a fresh stat, for read-modify-write under inode.lock: the snapshot as it is, else the disk. */
ssize_t xattr_get_held(struct brick *b, struct inode *inode, const struct place *at, const char *name, void *buf,
                       size_t size);
/* The N pairs are all attributes of a new object whose stat after the last of them is ST. */
void xattr_seed(struct inode *inode, const struct stat *st, const struct xattr_pair *v, uint32_t n);

/* ---- handle.c ------------------------------------------------------------------------------------------------------ */

/* Does the directory's handle say (PARENT, NAME)? */
bool handle_dir_is(struct brick *b, const struct gfid *g, const struct gfid *parent, const char *name);
/* Does a handle of G exist, and of what? -ENOENT. Handles of directories show as symbolic links with one link. */
int handle_stat(struct brick *b, const struct gfid *g, struct stat *ret);
static inline bool handle_stat_is_dir(const struct stat *st)
{
        return S_ISLNK(st->st_mode) && st->st_nlink == 1;
}
/* A file brought back from .glusterfs/unlink under its handle (brick.md §14.4). */
int handle_unpark(struct brick *b, const struct gfid *g);
/* Removes the handle of G if the object it stands for is gone; parks it if the file is still open. */
void handle_drop_dangling(struct brick *b, struct inode *inode);
/* trusted.gfid at PLACE. -ENODATA: none; -EUCLEAN: it is not 16 bytes. */
int gfid_read(struct brick *b, const struct place *at, struct gfid *ret);

/* Coarse clocks that cost no system call. */
uint64_t coarse_now(void);
