/* What a user of a volume does, by path: every component is looked up, as a kernel with cold caches would.
 *
 * Results are 0 or -errno (reading: bytes). Everything runs on a fibre of the client. Paths begin with '/', the root is "/".
 */
#pragma once

#include "world.h"

#define FILES_ARENA (16 * MIB)

/* The object at PATH, with a reference; NULL and -errno in *RET_ERROR (may be NULL). */
struct vnode *files_find(struct fibre *self, struct world_client *c, const char *path, int *ret_error);
int files_stat(struct fibre *self, struct world_client *c, const char *path, struct iatt *ret);
int files_lookup(struct fibre *self, struct world_client *c, const char *path, struct iatt *ret);

/* Makes and closes a file; with TEXT in it unless that is NULL. -EEXIST if there is one. */
int files_create(struct fibre *self, struct world_client *c, const char *path, const char *text);
int files_mknod(struct fibre *self, struct world_client *c, const char *path, uint32_t mode);
int files_mkdir(struct fibre *self, struct world_client *c, const char *path);
int files_symlink(struct fibre *self, struct world_client *c, const char *target, const char *path);
int files_link(struct fibre *self, struct world_client *c, const char *from, const char *to);
int files_unlink(struct fibre *self, struct world_client *c, const char *path);
int files_rmdir(struct fibre *self, struct world_client *c, const char *path);
int files_rename(struct fibre *self, struct world_client *c, const char *from, const char *to);

/* Open files. NULL: -errno in *RET_ERROR. */
struct vfile *files_open(struct fibre *self, struct world_client *c, const char *path, uint32_t flags, int *ret_error);
int files_write_at(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, const char *text);
int files_read_at(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, char *to, uint32_t size);
int files_fsync(struct fibre *self, struct world_client *c, struct vfile *f);
int files_flush(struct fibre *self, struct world_client *c, struct vfile *f);
int files_fallocate(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, uint64_t size);
int files_ftruncate(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t size);
/* A whole small file, with a NUL behind it. */
int files_read(struct fibre *self, struct world_client *c, const char *path, char *to, uint32_t size);
int files_write(struct fibre *self, struct world_client *c, const char *path, const char *text);
int files_truncate(struct fibre *self, struct world_client *c, const char *path, uint64_t size);

int files_chmod(struct fibre *self, struct world_client *c, const char *path, uint32_t mode);
int files_chown(struct fibre *self, struct world_client *c, const char *path, uint32_t uid, uint32_t gid);
/* Access and change time, seconds. */
int files_utimens(struct fibre *self, struct world_client *c, const char *path, int64_t time);
/* The target as text. */
int files_readlink(struct fibre *self, struct world_client *c, const char *path, char *to, size_t size);
int files_setxattr(struct fibre *self, struct world_client *c, const char *path, const char *name, const char *value);
int files_removexattr(struct fibre *self, struct world_client *c, const char *path, const char *name);
/* The value as text. */
int files_getxattr(struct fibre *self, struct world_client *c, const char *path, const char *name, char *to, size_t size);
int files_statfs(struct fibre *self, struct world_client *c, struct statfs *ret);

#define FILES_NAMES_MAX 512
struct files_names {
        unsigned n;
        char v[FILES_NAMES_MAX][64];
};
/* All names but "." and "..", in the order of the listing, by requests of SIZE bytes. */
int files_list(struct fibre *self, struct world_client *c, const char *path, uint32_t size, struct files_names *ret);
bool files_names_has(const struct files_names *names, const char *name);
