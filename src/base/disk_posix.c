/* struct disk on the kernel: every call is one system call, except disk_truncate() and disk_chmod() with a path.
 *
 * Linux has no xattr, truncate or link call that takes (dirfd, path) on every kernel we run on, so those go through
 * "/proc/self/fd/N/path": the kernel jumps to the open directory and walks the rest, also when N is an O_PATH
 * descriptor. A descriptor that is not open answers -ENOENT there, where the *at() calls answer -EBADF.
 *
 * Relies on a mounted /proc. Keeps no state; any thread. The process's umask applies to modes of new objects.
 */
#include "base/disk.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/xattr.h>

/* "/proc/self/fd/" + the longest int + "/" */
#define FD_PREFIX_MAX 32

struct fd_path {
        char text[FD_PREFIX_MAX + PATH_MAX];
};

static long result(long r)
{
        return r < 0 ? -errno : r;
}

/* A path the plain (not *at) system calls understand: PATH itself where it needs no directory, else through /proc. */
static const char *fd_path(struct fd_path *buf, int dirfd, const char *path)
{
        if (path[0] == '/' || dirfd == AT_FDCWD)
                return path;
        (void)snprintf(buf->text, sizeof buf->text, "/proc/self/fd/%d%s%s", dirfd, path[0] ? "/" : "", path);
        return buf->text;
}

static int posix_open(struct disk *d, int dirfd, const char *path, int flags, mode_t mode)
{
        return (int)result(openat(dirfd, path, flags | O_CLOEXEC, mode));
}

static int posix_close(struct disk *d, int fd)
{
        return (int)result(close(fd));
}

static int posix_stat(struct disk *d, int dirfd, const char *path, struct stat *ret)
{
        struct stat st;
        if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
                return -errno;
        *ret = st;
        return 0;
}

static int posix_mkdir(struct disk *d, int dirfd, const char *path, mode_t mode)
{
        return (int)result(mkdirat(dirfd, path, mode));
}

static int posix_mknod(struct disk *d, int dirfd, const char *path, mode_t mode, dev_t dev)
{
        return (int)result(mknodat(dirfd, path, mode, dev));
}

static int posix_symlink(struct disk *d, const char *target, int dirfd, const char *path)
{
        return (int)result(symlinkat(target, dirfd, path));
}

/* AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH; following the magic link in /proc needs nothing. */
static int posix_link(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath)
{
        if (oldpath[0])
                return (int)result(linkat(olddir, oldpath, newdir, newpath, 0));
        struct fd_path buf;
        return (int)result(linkat(AT_FDCWD, fd_path(&buf, olddir, ""), newdir, newpath, AT_SYMLINK_FOLLOW));
}

static int posix_unlink(struct disk *d, int dirfd, const char *path, int flags)
{
        return (int)result(unlinkat(dirfd, path, flags));
}

static int posix_rename(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath,
                        unsigned flags)
{
        return (int)result(renameat2(olddir, oldpath, newdir, newpath, flags));
}

static ssize_t posix_readlink(struct disk *d, int dirfd, const char *path, char *buf, size_t size)
{
        return result(readlinkat(dirfd, path, buf, size));
}

static int posix_chown(struct disk *d, int dirfd, const char *path, uid_t uid, gid_t gid)
{
        return (int)result(fchownat(dirfd, path, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

/* fchmodat(2) follows a symbolic link; an O_PATH descriptor does not. */
static int posix_chmod(struct disk *d, int dirfd, const char *path, mode_t mode)
{
        struct fd_path buf;
        if (!path[0])
                return (int)result(fchmod(dirfd, mode));
        _cleanup_close_ int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return (int)result(chmod(fd_path(&buf, fd, ""), mode));
}

static int posix_utimens(struct disk *d, int dirfd, const char *path, const struct timespec ts[2])
{
        return (int)result(utimensat(dirfd, path, ts, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

/* truncate(2) follows a symbolic link and open(O_WRONLY) wakes devices; an O_PATH descriptor does neither. */
static int posix_truncate(struct disk *d, int dirfd, const char *path, off_t size)
{
        struct fd_path buf;
        if (!path[0])
                return (int)result(truncate(fd_path(&buf, dirfd, ""), size));
        _cleanup_close_ int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return (int)result(truncate(fd_path(&buf, fd, ""), size));
}

static ssize_t posix_getxattr(struct disk *d, int dirfd, const char *path, const char *name, void *buf, size_t size)
{
        struct fd_path at;
        if (!path[0])
                return result(fgetxattr(dirfd, name, buf, size));
        return result(lgetxattr(fd_path(&at, dirfd, path), name, buf, size));
}

static ssize_t posix_listxattr(struct disk *d, int dirfd, const char *path, char *buf, size_t size)
{
        struct fd_path at;
        if (!path[0])
                return result(flistxattr(dirfd, buf, size));
        return result(llistxattr(fd_path(&at, dirfd, path), buf, size));
}

static int posix_setxattr(struct disk *d, int dirfd, const char *path, const char *name, const void *val, size_t size,
                          int flags)
{
        struct fd_path at;
        if (!path[0])
                return (int)result(fsetxattr(dirfd, name, val, size, flags));
        return (int)result(lsetxattr(fd_path(&at, dirfd, path), name, val, size, flags));
}

static int posix_removexattr(struct disk *d, int dirfd, const char *path, const char *name)
{
        struct fd_path at;
        if (!path[0])
                return (int)result(fremovexattr(dirfd, name));
        return (int)result(lremovexattr(fd_path(&at, dirfd, path), name));
}

static ssize_t posix_preadv(struct disk *d, int fd, const struct iovec *iov, int n, off_t off)
{
        return result(preadv(fd, iov, n, off));
}

static ssize_t posix_pwritev(struct disk *d, int fd, const struct iovec *iov, int n, off_t off)
{
        return result(pwritev(fd, iov, n, off));
}

static int posix_ftruncate(struct disk *d, int fd, off_t size)
{
        return (int)result(ftruncate(fd, size));
}

static int posix_fallocate_range(struct disk *d, int fd, int mode, off_t off, off_t len)
{
        return (int)result(fallocate(fd, mode, off, len));
}

static int posix_sync(struct disk *d, int fd, bool data_only)
{
        return (int)result(data_only ? fdatasync(fd) : fsync(fd));
}

static off_t posix_lseek(struct disk *d, int fd, off_t off, int whence)
{
        return result(lseek(fd, off, whence));
}

_Static_assert(offsetof(struct disk_dirent, d_name) == offsetof(struct dirent64, d_name), "record layout");

static ssize_t posix_getdents(struct disk *d, int fd, void *buf, size_t size)
{
        return result(getdents64(fd, buf, MIN(size, (size_t)INT_MAX)));
}

static ssize_t posix_copy(struct disk *d, int fd_in, off_t off_in, int fd_out, off_t off_out, size_t len)
{
        return result(copy_file_range(fd_in, &off_in, fd_out, &off_out, len, 0));
}

static int posix_statvfs(struct disk *d, int fd, struct statvfs *ret)
{
        struct statvfs st;
        if (fstatvfs(fd, &st) < 0)
                return -errno;
        *ret = st;
        return 0;
}

static void posix_free(struct disk *d)
{
        free(d);
}

/* Stamps are taken from a clock that ticks, or from the exact one. */
static void posix_now(struct disk *d, struct timespec *ret_from, struct timespec *ret_to)
{
        (void)d;
        if (ret_from)
                clock_gettime(CLOCK_REALTIME_COARSE, ret_from);
        if (ret_to)
                clock_gettime(CLOCK_REALTIME, ret_to);
}

static const struct disk_ops posix_ops = {
        .open = posix_open,
        .close = posix_close,
        .stat = posix_stat,
        .mkdir = posix_mkdir,
        .mknod = posix_mknod,
        .symlink = posix_symlink,
        .link = posix_link,
        .unlink = posix_unlink,
        .rename = posix_rename,
        .readlink = posix_readlink,
        .chown = posix_chown,
        .chmod = posix_chmod,
        .utimens = posix_utimens,
        .truncate = posix_truncate,
        .getxattr = posix_getxattr,
        .listxattr = posix_listxattr,
        .setxattr = posix_setxattr,
        .removexattr = posix_removexattr,
        .preadv = posix_preadv,
        .pwritev = posix_pwritev,
        .ftruncate = posix_ftruncate,
        .fallocate = posix_fallocate_range,
        .sync = posix_sync,
        .lseek = posix_lseek,
        .getdents = posix_getdents,
        .copy = posix_copy,
        .statvfs = posix_statvfs,
        .now = posix_now,
        .free = posix_free,
};

int disk_posix_new(struct disk **ret)
{
        struct disk *d = malloc(sizeof *d);
        if (!d)
                return -ENOMEM;
        d->ops = &posix_ops;
        *ret = d;
        return 0;
}
