/* System calls, nearly, for tests of replicated volumes: one function each, on a fibre of a client, with an arena of
 * its own. Names are in the root unless a directory is given (NULL: the root). Results as the operation's: >= 0 or
 * -errno. */
#pragma once

#include "world.h"

/* In RET a referred-to inode, as a kernel would have it. */
int call_lookup(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, struct vnode **ret);
/* The name of an object that is known, as the kernel looks it up again: 0, and -ESTALE if it is another one now. */
int call_look_again(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, struct vnode *i);
/* O_RDWR. In RET an open file, referred to. FLAGS in addition. */
int call_create(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, uint32_t flags,
                struct vfile **ret);
int call_open(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, uint32_t flags,
              struct vfile **ret);
int call_write(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, const void *data,
               size_t n);
/* How much was there. */
int call_read(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, void *data, size_t n);
int call_fsync(struct fibre *self, struct world_client *c, struct vfile *f);
/* FLUSH, and the end of F. */
int call_close(struct fibre *self, struct world_client *c, struct vfile *f);
int call_ftruncate(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t size);
int call_fstat(struct fibre *self, struct world_client *c, struct vfile *f, struct iatt *ret);
int call_stat(struct fibre *self, struct world_client *c, struct vnode *i, struct iatt *ret);
int call_chmod(struct fibre *self, struct world_client *c, struct vnode *i, uint32_t mode);
int call_mkdir(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name);
int call_mknod(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, uint32_t mode);
int call_symlink(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, const char *target);
int call_unlink(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name);
int call_rmdir(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name);
int call_rename(struct fibre *self, struct world_client *c, struct vnode *from, const char *old, struct vnode *to,
                const char *new);
int call_setxattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name, const char *value);
int call_removexattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name);
/* The value as text into VALUE of SIZE bytes. */
int call_getxattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name, char *value,
                  size_t size);
/* POSIX lock of the whole file; OWNER is part of the lock's owner. TYPE 0 read, 1 write, 2 unlock. */
int call_lk(struct fibre *self, struct world_client *c, struct vfile *f, bool wait, uint32_t type, uint32_t owner);
/* Number of names in a directory, "." and ".." not counted. */
int call_list(struct fibre *self, struct world_client *c, struct vnode *dir);
/* The attributes that a listing of the root has for NAME; their gfid is null if it has none. */
struct iatt call_listed(struct fibre *self, struct world_client *c, const char *name);
int call_statfs(struct fibre *self, struct world_client *c, struct statfs *ret);

/* ---- what is on disk --------------------------------------------------------------------------------------------- */

/* "1,0,0" of the counter about child CHILD (-1: dirty) at brick BRICK; "0,0,0" also when there is none, "?" without
 * PATH. */
const char *disk_counter(struct world *w, unsigned brick, const char *path, int child, char text[static 40]);
#define assert_counter(w, brick, path, child, expected)                                                                \
        do {                                                                                                           \
                char text_[40];                                                                                        \
                assert_string_equal(disk_counter((w), (brick), (path), (child), text_), (expected));                   \
        } while (0)
/* Nothing pending or dirty about PATH on any brick that is there. */
void assert_clean(struct world *w, const char *path);
/* All bricks have the same content at PATH (the arbiter: an empty file). */
void assert_identical(struct world *w, const char *path);
