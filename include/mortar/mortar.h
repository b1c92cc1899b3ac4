/* libmortar: a mortar or GlusterFS volume in a program, without a mount.
 *
 *      struct mortar_volume *v;
 *      struct mortar_error e;
 *      const struct mortar_volume_options o = {.size = sizeof o, .servers = "node1,node2", .volume = "gv0"};
 *      if (mortar_volume_open(&o, &v, &e) < 0)
 *              errx(1, "%s", e.text);
 *      struct mortar_user *me = mortar_volume_user(v);
 *      struct mortar_file *f;
 *      int r = mortar_file_open(me, "/notes", O_RDWR | O_CREAT, 0644, &f);
 *      ...
 *      mortar_volume_close(v);
 *
 * Link with -lmortar (pkg-config mortar). The guide is docs/guide/library.md, a whole program examples/mortar-copy.c.
 *
 * RESULTS. Functions return a number >= 0, or a negative errno; `errno` itself is left alone. What goes out through a
 * parameter `ret_…` belongs to the caller and is written only on success. Besides what POSIX says of the call of the
 * same name: -ENOTCONN no brick that could answer came back within `outage_wait`; -EIO a descriptor whose locks
 * somebody else got during an outage, or copies that contradict each other; -EROFS too few copies to change
 * anything; -EDEADLK a call that waits was made from a callback of this library.
 *
 * THREADS. A volume has a thread of its own, which does everything; the functions hand their work to it and wait. They
 * may be called from any thread, at the same time, also with the same handles; only a `…_free` or `…_close` of a handle
 * must come after all other calls with it have returned. All signals are blocked in the library's threads. After
 * fork(2) the child must not use handles of the parent. Callbacks of the _async functions run on the volume's thread,
 * on a stack of some 50 KiB, and must not wait: they hand on what there is to do.
 *
 * PATHS begin at the root of the volume, with or without a slash. Symbolic links are followed, 40 of them at most
 * (ELOOP), absolute ones from the root of the volume. A path has at most 4,095 bytes, a name in it 255
 * (ENAMETOOLONG). Nothing is remembered of names: every call asks the bricks and sees what other clients did before it.
 *
 * DATA is with the bricks when a write returns, on their disks when a sync returns. Sizes and offsets are bytes.
 * Modes are taken as they are: there is no umask.
 *
 * STABILITY. Symbols of one soname (libmortar.so.0) keep what they do; structures that can grow begin with their size.
 */
#ifndef MORTAR_MORTAR_H
#define MORTAR_MORTAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <fcntl.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORTAR_API __attribute__((visibility("default")))

struct mortar_volume; /* an open volume */
struct mortar_user;   /* in whose name calls are made */
struct mortar_file;   /* an open regular file */
struct mortar_dir;    /* an open directory */

/* ---- volumes ---------------------------------------------------------------------------------------------------- */

/* A failure with a sentence for people. */
struct mortar_error {
        int code;        /* what the function returned */
        char text[1024]; /* ends with NUL; which server, which brick, why */
};

/* How to open a volume. Set what is wanted and `size`; zero means the default. Strings need not outlive the call. */
struct mortar_volume_options {
        size_t size;         /* sizeof(struct mortar_volume_options) */
        const char *servers; /* "node1,node2:24008,[2001:db8::1]": asked for the volfile in turn; at most 32 */
        const char *volume;  /* its name; for logs only if `volfile` is given */
        const char *volfile; /* a file to read instead of asking servers */
        const char *subdir;  /* use this directory of the volume as its root, "/some/dir" */
        uint32_t open_timeout; /* seconds mortar_volume_open() may take; default 30 */
        /* Seconds that calls wait for bricks to come back before they fail with -ENOTCONN; default 30.
         * MORTAR_NO_WAIT: not at all. */
        uint32_t outage_wait;
        uint32_t inodes; /* how many objects it remembers; default 65,536 */
};
#define MORTAR_NO_WAIT UINT32_MAX

/* Opens a volume: gets its volfile, connects to its bricks, waits until it can be used. ERR may be NULL.
 * -EINVAL: options that contradict each other; -ENOENT: no such volume; -ETIMEDOUT, -ECONNREFUSED, …: no server or
 * too few bricks answer; -EACCES: they refuse this client; -EOPNOTSUPP: the volume uses a feature this library does
 * not have. */
MORTAR_API int mortar_volume_open(const struct mortar_volume_options *options, struct mortar_volume **ret_volume,
                                  struct mortar_error *err);
/* Finishes what is under way, disconnects and frees. -EBUSY, and nothing is done: files, directories or users of it are
 * still there, or calls under way. */
MORTAR_API int mortar_volume_close(struct mortar_volume *volume);

/* Where the library writes what an operator should know (lost and regained bricks, with reasons), for all volumes of
 * the process: lines to the descriptor FD, from LEVEL on: 0 errors only, 1 warnings, 2 notices, 3 all, 4 debugging.
 * Default: errors to descriptor 2. -EINVAL. */
MORTAR_API int mortar_log_direct(int fd, int level);
/* The version of the library, "0.1.0". */
MORTAR_API const char *mortar_version_text(void);

/* ---- users ------------------------------------------------------------------------------------------------------ */

/* Calls are made in somebody's name: the bricks check permissions for that user, and what is made belongs to it. */

/* The user the process had when the volume was opened: effective uid and gid, supplementary groups. Belongs to the
 * volume. */
MORTAR_API struct mortar_user *mortar_volume_user(struct mortar_volume *volume);
/* Another user. At most 93 GROUPS count; more are -EINVAL. The bricks trust this client as they trust any mount. */
MORTAR_API int mortar_user_new(struct mortar_volume *volume, uid_t uid, gid_t gid, size_t n_groups, const gid_t *groups,
                               struct mortar_user **ret_user);
/* Files and directories that it opened stay usable. NULL and the volume's own user are fine: nothing happens. */
MORTAR_API void mortar_user_free(struct mortar_user *user);

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* Each as the POSIX call of its name. A last symbolic link is followed by those marked (f), else it is what is
 * meant. */
MORTAR_API int mortar_path_stat(struct mortar_user *user, const char *path, struct stat *ret_stat);  /* (f) */
MORTAR_API int mortar_path_lstat(struct mortar_user *user, const char *path, struct stat *ret_stat);
MORTAR_API int mortar_path_access(struct mortar_user *user, const char *path, int mode);            /* (f) R_OK … */
MORTAR_API int mortar_path_mkdir(struct mortar_user *user, const char *path, mode_t mode);
MORTAR_API int mortar_path_rmdir(struct mortar_user *user, const char *path);
MORTAR_API int mortar_path_unlink(struct mortar_user *user, const char *path);
/* Replaces what has the new name, as rename(2). */
MORTAR_API int mortar_path_rename(struct mortar_user *user, const char *path, const char *new_path);
/* A second name of the object at PATH, which may be a symbolic link. */
MORTAR_API int mortar_path_link(struct mortar_user *user, const char *path, const char *new_path);
/* TARGET is kept as it is. */
MORTAR_API int mortar_path_symlink(struct mortar_user *user, const char *target, const char *path);
/* Bytes of the target, without a NUL, at most SIZE. */
MORTAR_API ssize_t mortar_path_readlink(struct mortar_user *user, const char *path, char *buf, size_t size);
/* FIFOs, sockets, devices and empty files: S_IFIFO and so on in MODE; DEVICE as of makedev(3). */
MORTAR_API int mortar_path_mknod(struct mortar_user *user, const char *path, mode_t mode, dev_t device);
MORTAR_API int mortar_path_truncate(struct mortar_user *user, const char *path, off_t size);          /* (f) */
MORTAR_API int mortar_path_chmod(struct mortar_user *user, const char *path, mode_t mode);            /* (f) */
/* (uid_t)-1 and (gid_t)-1 leave it as it is. Takes setuid and setgid bits away. */
MORTAR_API int mortar_path_chown(struct mortar_user *user, const char *path, uid_t uid, gid_t gid);   /* (f) */
MORTAR_API int mortar_path_lchown(struct mortar_user *user, const char *path, uid_t uid, gid_t gid);
/* Access and modification time; tv_nsec may be UTIME_NOW or UTIME_OMIT. TIMES NULL: now. */
MORTAR_API int mortar_path_utimens(struct mortar_user *user, const char *path, /* (f) */
                                   const struct timespec times[2]);
/* Sizes of the volume. Answered within 5 s, else -ENOTCONN. */
MORTAR_API int mortar_path_statvfs(struct mortar_user *user, const char *path, struct statvfs *ret);  /* (f) */

/* ---- extended attributes, (f) ----------------------------------------------------------------------------------- */

/* Bytes of the value. SIZE 0: only that number; -ERANGE: more than SIZE. -ENODATA: none of that name. The attributes by
 * which the volume keeps itself are not shown and cannot be changed (-EPERM). */
MORTAR_API ssize_t mortar_path_getxattr(struct mortar_user *user, const char *path, const char *name, void *value,
                                        size_t size);
/* Names, each with its NUL. */
MORTAR_API ssize_t mortar_path_listxattr(struct mortar_user *user, const char *path, char *list, size_t size);
/* FLAGS: 0, XATTR_CREATE (1), XATTR_REPLACE (2) of sys/xattr.h. At most 65,536 bytes: -E2BIG. */
MORTAR_API int mortar_path_setxattr(struct mortar_user *user, const char *path, const char *name, const void *value,
                                    size_t size, int flags);
MORTAR_API int mortar_path_removexattr(struct mortar_user *user, const char *path, const char *name);

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* FLAGS of open(2): access mode, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC, O_DIRECT, O_NOFOLLOW; others are
 * without effect. MODE counts with O_CREAT. -EISDIR: a directory (mortar_dir_open()); -ENXIO: no regular file. */
MORTAR_API int mortar_file_open(struct mortar_user *user, const char *path, int flags, mode_t mode,
                                struct mortar_file **ret_file);
/* Gives locks back and frees, also when it fails; the result tells what the bricks said. NULL is fine. */
MORTAR_API int mortar_file_close(struct mortar_file *file);

/* At the file's position, which goes on by what was done. Bytes, fewer than SIZE only at the end of the file (read),
 * when the disks are full or the connection went (write). 0: the end. */
MORTAR_API ssize_t mortar_file_read(struct mortar_file *file, void *buf, size_t size);
MORTAR_API ssize_t mortar_file_write(struct mortar_file *file, const void *buf, size_t size);
/* The new position; SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE. */
MORTAR_API off_t mortar_file_seek(struct mortar_file *file, off_t offset, int whence);
/* At OFFSET. A file opened with O_APPEND is written at its end all the same, as on Linux. */
MORTAR_API ssize_t mortar_file_pread(struct mortar_file *file, void *buf, size_t size, off_t offset);
MORTAR_API ssize_t mortar_file_pwrite(struct mortar_file *file, const void *buf, size_t size, off_t offset);

MORTAR_API int mortar_file_stat(struct mortar_file *file, struct stat *ret_stat);
MORTAR_API int mortar_file_truncate(struct mortar_file *file, off_t size);
MORTAR_API int mortar_file_allocate(struct mortar_file *file, off_t offset, off_t size); /* as posix_fallocate(3) */
/* All that was written is on the disks of the bricks that are needed. DATA_ONLY: as fdatasync(2). */
MORTAR_API int mortar_file_sync(struct mortar_file *file, int data_only);

/* Record locks as fcntl(2)'s with l_whence SEEK_SET, seen by all clients of the volume. They belong to this open
 * file (not to the process) and go with it. l_type F_RDLCK, F_WRLCK, F_UNLCK; l_len 0: to the end.
 * -EAGAIN: somebody has it, and WAIT is 0. */
MORTAR_API int mortar_file_lock(struct mortar_file *file, const struct flock *lock, int wait);
/* Whether LOCK could be had: l_type becomes F_UNLCK, or it becomes the lock that is in the way. */
MORTAR_API int mortar_file_getlock(struct mortar_file *file, struct flock *lock);

/* The same without waiting: DONE is called on the volume's thread with the result. BUF must stay until then, and
 * FILE must not be closed before. -ENOMEM: nothing was begun, and DONE will not be called. */
typedef void (*mortar_done_fn)(struct mortar_file *file, ssize_t result, void *arg);
MORTAR_API int mortar_file_pread_async(struct mortar_file *file, void *buf, size_t size, off_t offset,
                                       mortar_done_fn done, void *arg);
MORTAR_API int mortar_file_pwrite_async(struct mortar_file *file, const void *buf, size_t size, off_t offset,
                                        mortar_done_fn done, void *arg);
MORTAR_API int mortar_file_sync_async(struct mortar_file *file, int data_only, mortar_done_fn done, void *arg);

/* ---- directories ------------------------------------------------------------------------------------------------ */

struct mortar_entry {
        char name[256];   /* ends with NUL; "." and ".." are left out */
        uint64_t position; /* for mortar_dir_seek(): what comes after this entry */
        struct stat stat; /* as of lstat(2) */
};

MORTAR_API int mortar_dir_open(struct mortar_user *user, const char *path, struct mortar_dir **ret_dir);
/* 1: ENTRY is the next one; 0: there are no more. */
MORTAR_API int mortar_dir_read(struct mortar_dir *dir, struct mortar_entry *ret_entry);
/* Goes on behind the entry with that position; 0: from the beginning, afresh. */
MORTAR_API int mortar_dir_seek(struct mortar_dir *dir, uint64_t position);
/* Names made and removed in it are on the disks of the bricks. */
MORTAR_API int mortar_dir_sync(struct mortar_dir *dir);
/* NULL is fine. */
MORTAR_API int mortar_dir_close(struct mortar_dir *dir);

#ifdef __cplusplus
}
#endif

#endif
