/* The public functions (mortar/mortar.h): each says what is to be done, has it done on the volume's thread, and waits.
 * Thread: any. */
#include <limits.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "library/client.h"

const char *mortar_version_text(void)
{
        return MORTAR_VERSION;
}

/* ---- users ------------------------------------------------------------------------------------------------------ */

#define USER_GROUPS_MAX 93u /* what a message can tell (wire.md §1.5) */

struct mortar_user *mortar_volume_user(struct mortar_volume *volume)
{
        return volume_own_user(volume);
}

int mortar_user_new(struct mortar_volume *volume, uid_t uid, gid_t gid, size_t n_groups, const gid_t *groups,
                    struct mortar_user **ret_user)
{
        if (n_groups > USER_GROUPS_MAX)
                return -EINVAL;
        struct mortar_user *user = calloc(1, sizeof *user);
        if (!user)
                return -ENOMEM;
        user->volume = volume;
        user->identity = (struct identity){.uid = uid, .gid = gid, .n_groups = (uint32_t)n_groups};
        for (size_t i = 0; i < n_groups; i++)
                user->identity.groups[i] = groups[i];
        volume_hold(volume);
        *ret_user = user;
        return 0;
}

void mortar_user_free(struct mortar_user *user)
{
        if (!user || user == volume_own_user(user->volume))
                return;
        volume_release(user->volume);
        free(user);
}

/* ---- how a call is made ----------------------------------------------------------------------------------------- */

#define BY_USER(user, path_, operation, ...)                                                                           \
        job_run((user)->volume,                                                                                        \
                &(struct job){.op = (operation), .identity = &(user)->identity, .path = (path_), __VA_ARGS__})
#define ON_FILE(file_, operation, ...)                                                                                 \
        job_run((file_)->volume, &(struct job){.op = (operation), .file = (file_), __VA_ARGS__})

/* ---- names ------------------------------------------------------------------------------------------------------ */

int mortar_path_stat(struct mortar_user *user, const char *path, struct stat *ret_stat)
{
        return (int)BY_USER(user, path, op_stat, .ret = ret_stat);
}

int mortar_path_lstat(struct mortar_user *user, const char *path, struct stat *ret_stat)
{
        return (int)BY_USER(user, path, op_lstat, .ret = ret_stat);
}

int mortar_path_access(struct mortar_user *user, const char *path, int mode)
{
        return (int)BY_USER(user, path, op_access, .mode = (uint32_t)mode);
}

int mortar_path_mkdir(struct mortar_user *user, const char *path, mode_t mode)
{
        return (int)BY_USER(user, path, op_mkdir, .mode = mode);
}

int mortar_path_rmdir(struct mortar_user *user, const char *path)
{
        return (int)BY_USER(user, path, op_rmdir);
}

int mortar_path_unlink(struct mortar_user *user, const char *path)
{
        return (int)BY_USER(user, path, op_unlink);
}

int mortar_path_rename(struct mortar_user *user, const char *path, const char *new_path)
{
        return (int)BY_USER(user, path, op_rename, .new_path = new_path);
}

int mortar_path_link(struct mortar_user *user, const char *path, const char *new_path)
{
        return (int)BY_USER(user, path, op_link, .new_path = new_path);
}

int mortar_path_symlink(struct mortar_user *user, const char *target, const char *path)
{
        return (int)BY_USER(user, path, op_symlink, .name = target);
}

ssize_t mortar_path_readlink(struct mortar_user *user, const char *path, char *buf, size_t size)
{
        return BY_USER(user, path, op_readlink, .buf = buf, .size = size);
}

int mortar_path_mknod(struct mortar_user *user, const char *path, mode_t mode, dev_t device)
{
        uint64_t number = (uint64_t)major(device) << 32 | minor(device);
        return (int)BY_USER(user, path, op_mknod, .mode = mode, .offset = number);
}

int mortar_path_truncate(struct mortar_user *user, const char *path, off_t size)
{
        return (int)BY_USER(user, path, op_truncate, .offset = (uint64_t)size);
}

int mortar_path_chmod(struct mortar_user *user, const char *path, mode_t mode)
{
        return (int)BY_USER(user, path, op_chmod, .mode = mode);
}

int mortar_path_chown(struct mortar_user *user, const char *path, uid_t uid, gid_t gid)
{
        return (int)BY_USER(user, path, op_chown, .uid = uid, .gid = gid);
}

int mortar_path_lchown(struct mortar_user *user, const char *path, uid_t uid, gid_t gid)
{
        return (int)BY_USER(user, path, op_lchown, .uid = uid, .gid = gid);
}

int mortar_path_utimens(struct mortar_user *user, const char *path, const struct timespec times[2])
{
        return (int)BY_USER(user, path, op_utimens, .times = times);
}

int mortar_path_statvfs(struct mortar_user *user, const char *path, struct statvfs *ret)
{
        return (int)BY_USER(user, path, op_statvfs, .ret = ret);
}

/* ---- extended attributes ---------------------------------------------------------------------------------------- */

ssize_t mortar_path_getxattr(struct mortar_user *user, const char *path, const char *name, void *value, size_t size)
{
        return BY_USER(user, path, op_getxattr, .name = name, .buf = value, .size = size);
}

ssize_t mortar_path_listxattr(struct mortar_user *user, const char *path, char *list, size_t size)
{
        return BY_USER(user, path, op_listxattr, .buf = list, .size = size);
}

int mortar_path_setxattr(struct mortar_user *user, const char *path, const char *name, const void *value, size_t size,
                         int flags)
{
        return (int)BY_USER(user, path, op_setxattr, .name = name, .data = value, .size = size,
                            .flags = (uint32_t)flags);
}

int mortar_path_removexattr(struct mortar_user *user, const char *path, const char *name)
{
        return (int)BY_USER(user, path, op_removexattr, .name = name);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

int mortar_file_open(struct mortar_user *user, const char *path, int flags, mode_t mode, struct mortar_file **ret_file)
{
        return (int)BY_USER(user, path, op_open, .flags = (uint32_t)flags, .mode = mode, .ret = ret_file);
}

int mortar_file_close(struct mortar_file *file)
{
        return file ? (int)ON_FILE(file, op_close) : 0;
}

ssize_t mortar_file_read(struct mortar_file *file, void *buf, size_t size)
{
        return ON_FILE(file, op_read, .buf = buf, .size = MIN(size, (size_t)SSIZE_MAX));
}

ssize_t mortar_file_write(struct mortar_file *file, const void *buf, size_t size)
{
        return ON_FILE(file, op_write, .data = buf, .size = MIN(size, (size_t)SSIZE_MAX));
}

off_t mortar_file_seek(struct mortar_file *file, off_t offset, int whence)
{
        int64_t position;
        ssize_t r = ON_FILE(file, op_seek, .offset = (uint64_t)offset, .flags = (uint32_t)whence, .ret = &position);
        return r < 0 ? (off_t)r : (off_t)position;
}

ssize_t mortar_file_pread(struct mortar_file *file, void *buf, size_t size, off_t offset)
{
        return ON_FILE(file, op_pread, .buf = buf, .size = MIN(size, (size_t)SSIZE_MAX), .offset = (uint64_t)offset);
}

ssize_t mortar_file_pwrite(struct mortar_file *file, const void *buf, size_t size, off_t offset)
{
        return ON_FILE(file, op_pwrite, .data = buf, .size = MIN(size, (size_t)SSIZE_MAX), .offset = (uint64_t)offset);
}

int mortar_file_stat(struct mortar_file *file, struct stat *ret_stat)
{
        return (int)ON_FILE(file, op_fstat, .ret = ret_stat);
}

int mortar_file_truncate(struct mortar_file *file, off_t size)
{
        return (int)ON_FILE(file, op_ftruncate, .offset = (uint64_t)size);
}

int mortar_file_allocate(struct mortar_file *file, off_t offset, off_t size)
{
        if (offset < 0 || size < 0)
                return -EINVAL;
        return (int)ON_FILE(file, op_allocate, .offset = (uint64_t)offset, .size = (size_t)size);
}

int mortar_file_sync(struct mortar_file *file, int data_only)
{
        return (int)ON_FILE(file, op_sync, .flags = data_only != 0);
}

int mortar_file_lock(struct mortar_file *file, const struct flock *lock, int wait)
{
        struct flock copy = *lock;
        return (int)ON_FILE(file, op_lock, .lock = &copy, .flags = wait != 0);
}

int mortar_file_getlock(struct mortar_file *file, struct flock *lock)
{
        return (int)ON_FILE(file, op_getlock, .lock = lock);
}

/* ---- without waiting -------------------------------------------------------------------------------------------- */

static int begin(const struct job *model)
{
        struct job *j = malloc(sizeof *j);
        if (!j)
                return -ENOMEM;
        *j = *model;
        return job_begin(j->file->volume, j);
}

int mortar_file_pread_async(struct mortar_file *file, void *buf, size_t size, off_t offset, mortar_done_fn done,
                            void *arg)
{
        return begin(&(struct job){.op = op_pread,
                                   .file = file,
                                   .buf = buf,
                                   .size = MIN(size, (size_t)SSIZE_MAX),
                                   .offset = (uint64_t)offset,
                                   .fn = done,
                                   .arg = arg});
}

int mortar_file_pwrite_async(struct mortar_file *file, const void *buf, size_t size, off_t offset, mortar_done_fn done,
                             void *arg)
{
        return begin(&(struct job){.op = op_pwrite,
                                   .file = file,
                                   .data = buf,
                                   .size = MIN(size, (size_t)SSIZE_MAX),
                                   .offset = (uint64_t)offset,
                                   .fn = done,
                                   .arg = arg});
}

int mortar_file_sync_async(struct mortar_file *file, int data_only, mortar_done_fn done, void *arg)
{
        return begin(&(struct job){.op = op_sync, .file = file, .flags = data_only != 0, .fn = done, .arg = arg});
}

/* ---- directories ------------------------------------------------------------------------------------------------ */

static ssize_t on_dir(struct mortar_dir *dir, ssize_t (*op)(struct job *j))
{
        return job_run(dir_volume(dir), &(struct job){.op = op, .dir = dir, .identity = dir_identity(dir)});
}

int mortar_dir_open(struct mortar_user *user, const char *path, struct mortar_dir **ret_dir)
{
        return (int)BY_USER(user, path, op_dir_open, .ret = ret_dir);
}

int mortar_dir_read(struct mortar_dir *dir, struct mortar_entry *ret_entry)
{
        int r;
        dir_lock(dir);
        while ((r = dir_next(dir, ret_entry)) == -EAGAIN) {
                r = (int)on_dir(dir, op_dir_fetch);
                if (r < 0)
                        break;
        }
        dir_unlock(dir);
        return r;
}

int mortar_dir_seek(struct mortar_dir *dir, uint64_t position)
{
        dir_lock(dir);
        dir_seek(dir, position);
        dir_unlock(dir);
        return 0;
}

int mortar_dir_sync(struct mortar_dir *dir)
{
        return (int)on_dir(dir, op_dir_sync);
}

int mortar_dir_close(struct mortar_dir *dir)
{
        return dir ? (int)on_dir(dir, op_dir_close) : 0;
}
