/* Everything that touches a disk: one table of system calls.
 *
 * The second seam (docs/architecture.md). Code with effects on files calls disk_*() only. disk_posix_new() is the
 * kernel; sim_disk_new() (base/sim_disk.h) is a file system in memory that knows what was synced, loses the rest at a
 * power cut, and can make the n-th effect fail or be the last one.
 *
 * All calls: negative errno on failure (never -1/errno), results >= 0. A path of "" with AT_EMPTY_PATH (implied for the
 * xattr calls) means DIRFD itself. Symbolic links in the last component are never followed unless said. Any thread.
 */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "base/util.h"

struct disk;

/* One raw directory entry of disk_getdents(): layout of linux_dirent64 (man 2 getdents64). */
struct disk_dirent {
        uint64_t d_ino;
        int64_t d_off;
        uint16_t d_reclen;
        uint8_t d_type;
        char d_name[];
};

struct disk_ops {
        int (*open)(struct disk *, int dirfd, const char *path, int flags, mode_t mode);
        int (*close)(struct disk *, int fd);
        int (*stat)(struct disk *, int dirfd, const char *path, struct stat *ret);
        int (*mkdir)(struct disk *, int dirfd, const char *path, mode_t mode);
        int (*mknod)(struct disk *, int dirfd, const char *path, mode_t mode, dev_t dev);
        int (*symlink)(struct disk *, const char *target, int dirfd, const char *path);
        int (*link)(struct disk *, int olddir, const char *oldpath, int newdir, const char *newpath);
        int (*unlink)(struct disk *, int dirfd, const char *path, int flags);
        int (*rename)(struct disk *, int olddir, const char *oldpath, int newdir, const char *newpath, unsigned flags);
        ssize_t (*readlink)(struct disk *, int dirfd, const char *path, char *buf, size_t size);
        int (*chown)(struct disk *, int dirfd, const char *path, uid_t uid, gid_t gid);
        int (*chmod)(struct disk *, int dirfd, const char *path, mode_t mode);
        int (*utimens)(struct disk *, int dirfd, const char *path, const struct timespec ts[2]);
        int (*truncate)(struct disk *, int dirfd, const char *path, off_t size);
        ssize_t (*getxattr)(struct disk *, int dirfd, const char *path, const char *name, void *buf, size_t size);
        ssize_t (*listxattr)(struct disk *, int dirfd, const char *path, char *buf, size_t size);
        int (*setxattr)(struct disk *, int dirfd, const char *path, const char *name, const void *val, size_t size,
                        int flags);
        int (*removexattr)(struct disk *, int dirfd, const char *path, const char *name);
        ssize_t (*preadv)(struct disk *, int fd, const struct iovec *iov, int n, off_t off);
        ssize_t (*pwritev)(struct disk *, int fd, const struct iovec *iov, int n, off_t off);
        int (*ftruncate)(struct disk *, int fd, off_t size);
        int (*fallocate)(struct disk *, int fd, int mode, off_t off, off_t len);
        int (*sync)(struct disk *, int fd, bool data_only);
        off_t (*lseek)(struct disk *, int fd, off_t off, int whence);
        ssize_t (*getdents)(struct disk *, int fd, void *buf, size_t size);
        ssize_t (*copy)(struct disk *, int fd_in, off_t off_in, int fd_out, off_t off_out, size_t len);
        int (*statvfs)(struct disk *, int fd, struct statvfs *ret);
        void (*now)(struct disk *, struct timespec *ret_from, struct timespec *ret_to);
        void (*free)(struct disk *);
};

struct disk {
        const struct disk_ops *ops;
};

int disk_posix_new(struct disk **ret);

static inline struct disk *disk_free(struct disk *d)
{
        if (d)
                d->ops->free(d);
        return NULL;
}
DEFINE_CLEANUP(struct disk *, disk_free)

/* openat(2): follows a symbolic link unless O_NOFOLLOW. O_CLOEXEC is added. With an absolute PATH, DIRFD is ignored. */
static inline int disk_open(struct disk *d, int dirfd, const char *path, int flags, mode_t mode)
{
        return d->ops->open(d, dirfd, path, flags, mode);
}
static inline int disk_close(struct disk *d, int fd)
{
        return d->ops->close(d, fd);
}
/* fstatat(2) with AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH; fills nanosecond times. */
static inline int disk_stat(struct disk *d, int dirfd, const char *path, struct stat *ret)
{
        return d->ops->stat(d, dirfd, path, ret);
}
static inline int disk_mkdir(struct disk *d, int dirfd, const char *path, mode_t mode)
{
        return d->ops->mkdir(d, dirfd, path, mode);
}
static inline int disk_mknod(struct disk *d, int dirfd, const char *path, mode_t mode, dev_t dev)
{
        return d->ops->mknod(d, dirfd, path, mode, dev);
}
static inline int disk_symlink(struct disk *d, const char *target, int dirfd, const char *path)
{
        return d->ops->symlink(d, target, dirfd, path);
}
/* Hard link; a symbolic link as OLDPATH is linked itself. OLDPATH "" = the inode of descriptor OLDDIR. */
static inline int disk_link(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath)
{
        return d->ops->link(d, olddir, oldpath, newdir, newpath);
}
/* unlinkat(2): flags 0 or AT_REMOVEDIR. */
static inline int disk_unlink(struct disk *d, int dirfd, const char *path, int flags)
{
        return d->ops->unlink(d, dirfd, path, flags);
}
/* renameat2(2): flags 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
static inline int disk_rename(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath,
                              unsigned flags)
{
        return d->ops->rename(d, olddir, oldpath, newdir, newpath, flags);
}
static inline ssize_t disk_readlink(struct disk *d, int dirfd, const char *path, char *buf, size_t size)
{
        return d->ops->readlink(d, dirfd, path, buf, size);
}
/* fchownat(2) with AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH; an id of -1 stays as it is. */
static inline int disk_chown(struct disk *d, int dirfd, const char *path, uid_t uid, gid_t gid)
{
        return d->ops->chown(d, dirfd, path, uid, gid);
}
/* Permission bits of anything but a symbolic link (-EOPNOTSUPP). PATH "" = DIRFD, which may not be O_PATH. */
static inline int disk_chmod(struct disk *d, int dirfd, const char *path, mode_t mode)
{
        return d->ops->chmod(d, dirfd, path, mode);
}
static inline int disk_utimens(struct disk *d, int dirfd, const char *path, const struct timespec ts[2])
{
        return d->ops->utimens(d, dirfd, path, ts);
}
/* Never opens the file itself, so devices and FIFOs are safe (-EINVAL). PATH "" = DIRFD, O_PATH or not. */
static inline int disk_truncate(struct disk *d, int dirfd, const char *path, off_t size)
{
        return d->ops->truncate(d, dirfd, path, size);
}
/* As lgetxattr(2), or fgetxattr(2) with PATH "" (then DIRFD may not be O_PATH): value size; -ERANGE when SIZE is too
 * small; SIZE 0 asks for the size. */
static inline ssize_t disk_getxattr(struct disk *d, int dirfd, const char *path, const char *name, void *buf,
                                    size_t size)
{
        return d->ops->getxattr(d, dirfd, path, name, buf, size);
}
static inline ssize_t disk_listxattr(struct disk *d, int dirfd, const char *path, char *buf, size_t size)
{
        return d->ops->listxattr(d, dirfd, path, buf, size);
}
static inline int disk_setxattr(struct disk *d, int dirfd, const char *path, const char *name, const void *val,
                                size_t size, int flags)
{
        return d->ops->setxattr(d, dirfd, path, name, val, size, flags);
}
static inline int disk_removexattr(struct disk *d, int dirfd, const char *path, const char *name)
{
        return d->ops->removexattr(d, dirfd, path, name);
}
static inline ssize_t disk_preadv(struct disk *d, int fd, const struct iovec *iov, int n, off_t off)
{
        return d->ops->preadv(d, fd, iov, n, off);
}
static inline ssize_t disk_pwritev(struct disk *d, int fd, const struct iovec *iov, int n, off_t off)
{
        return d->ops->pwritev(d, fd, iov, n, off);
}
static inline int disk_ftruncate(struct disk *d, int fd, off_t size)
{
        return d->ops->ftruncate(d, fd, size);
}
/* fallocate(2): mode is its FALLOC_FL_* bits. */
static inline int disk_fallocate(struct disk *d, int fd, int mode, off_t off, off_t len)
{
        return d->ops->fallocate(d, fd, mode, off, len);
}
/* fsync(2) or fdatasync(2); of a directory: its entries. */
static inline int disk_sync(struct disk *d, int fd, bool data_only)
{
        return d->ops->sync(d, fd, data_only);
}
static inline off_t disk_lseek(struct disk *d, int fd, off_t off, int whence)
{
        return d->ops->lseek(d, fd, off, whence);
}
/* Fills BUF with struct disk_dirent records from the descriptor's position; 0 at the end. */
static inline ssize_t disk_getdents(struct disk *d, int fd, void *buf, size_t size)
{
        return d->ops->getdents(d, fd, buf, size);
}
/* copy_file_range(2), one call. */
static inline ssize_t disk_copy(struct disk *d, int fd_in, off_t off_in, int fd_out, off_t off_out, size_t len)
{
        return d->ops->copy(d, fd_in, off_in, fd_out, off_out, len);
}
static inline int disk_statvfs(struct disk *d, int fd, struct statvfs *ret)
{
        return d->ops->statvfs(d, fd, ret);
}

/* The clock that stamps st_ctim is between *RET_FROM and *RET_TO now; either may be NULL. Costs no system call. */
static inline void disk_now(struct disk *d, struct timespec *ret_from, struct timespec *ret_to)
{
        d->ops->now(d, ret_from, ret_to);
}
