/* Inside the library: what calls work on, and how a call travels.
 *
 *      mortar.c      the public functions: each fills in a job and has it done
 *      volume.c      a volume's life: its thread, opening, reloading, closing          job.c     from the caller's
 * thread to a fibre
 *      path.c        paths to objects        name.c  making, removing, renaming        attr.c    attributes, sizes
 *      file.c        open files, data, locks dir.c   directories                       xattr.c   extended attributes
 *
 * An operation is a function op_…(job) on a fibre of the volume's loop, which finds its operands in the job and returns
 * what the public function returns. Tests run the same functions on the simulator's loops, without threads.
 *
 * Thread: the loop's, except where a function says otherwise.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "mortar/mortar.h"
#include "volume/volume.h"

#define STALE_TRIES 5 /* others may replace a name faster than it is looked at */

/* In whose name. */
struct identity {
        uint32_t uid, gid, n_groups;
        uint32_t groups[RPC_GROUPS_LIMIT];
};

struct client {
        struct loop *loop;
        struct volume *volume;
        struct vnode *root;
        uint64_t owners; /* the last lock owner given out */
};

struct mortar_user {
        struct mortar_volume *volume;
        struct identity identity;
};

struct mortar_file {
        struct mortar_volume *volume; /* whose handles are counted; NULL in tests */
        struct client *client;
        struct vfile *file;
        struct identity identity;
        uint64_t owner; /* of its locks */
        uint64_t position;
        struct fibre_mutex moving; /* one call that uses the position at a time */
        bool changed, locked;      /* since it was opened: the bricks are to be told of the end */
};

struct job {
        /* What is asked; each operation says what it uses. */
        ssize_t (*op)(struct job *j);
        struct client *client;
        const struct identity *identity;
        struct mortar_file *file;
        struct mortar_dir *dir;
        const char *path, *new_path, *name;
        uint32_t flags, mode, uid, gid;
        uint64_t offset;
        const void *data;
        void *buf;
        size_t size;
        const struct timespec *times;
        struct flock *lock;
        void *ret; /* where the answer goes, of the type that the operation says */
        /* While it runs. */
        struct fibre *self;
        struct arena arena;
        struct request r;
        struct vnode *not_below; /* a path that leads through it is -EINVAL */
        ssize_t result;
        /* How the caller hears of the end. */
        struct mortar_volume *volume;
        sem_t done;
        mortar_done_fn fn; /* NULL: somebody waits for `done` */
        void *arg;
        struct job *next;
};

/* ---- job.c ------------------------------------------------------------------------------------------------------ */

/* Does J on the volume's thread and waits. Any thread but that one. */
ssize_t job_run(struct mortar_volume *vol, struct job *j);
/* The same without waiting; J is a copy from malloc, which is freed. 0 or -ENOMEM, then J is freed, too. */
int job_begin(struct mortar_volume *vol, struct job *j);
/* Runs J on the fibre SELF to its end: what both come to. */
void job_perform(struct fibre *self, struct job *j);
/* Before each call of the volume: times of FOP; nothing else is left over from the call before. */
struct subvolume *job_top(struct job *j, enum fop fop);
void job_set_owner(struct job *j, uint64_t owner);
/* The job's request as root. */
struct request job_as_root(struct job *j, enum fop fop);

/* ---- path.c ----------------------------------------------------------------------------------------------------- */

/* What a path means. */
struct place {
        struct vnode *parent; /* NULL: the path ends at the root, or in "." or ".." */
        struct vnode *inode;  /* NULL: nothing of that name is there */
        struct iatt stat;     /* of the inode */
        bool slash;           /* the path says that it is a directory */
        char name[NAME_LIMIT + 1];
};

/* -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG: no such place; whether something is there, `inode` tells. */
int place_find(struct job *j, const char *path, bool follow, struct place *ret);
void place_done(struct place *p);
#define _cleanup_place_ _cleanup_(place_done)
/* FN with what is at j->path; once more if it is replaced meanwhile. */
ssize_t place_do(struct job *j, bool follow, ssize_t (*fn)(struct job *j, struct place *p));
/* The same if something is there: else -ENOENT. */
ssize_t place_do_there(struct job *j, bool follow, ssize_t (*fn)(struct job *j, struct place *p));
/* The root, looked up. */
int client_open(struct fibre *self, struct client *s, struct error *err);
void client_close(struct client *s);

/* ---- operations: what each uses --------------------------------------------------------------------------------- */

ssize_t op_stat(struct job *j);     /* path; ret: struct stat */
ssize_t op_lstat(struct job *j);
ssize_t op_access(struct job *j);   /* path, mode */
ssize_t op_statvfs(struct job *j);  /* path; ret: struct statvfs */
ssize_t op_chmod(struct job *j);    /* path, mode */
ssize_t op_chown(struct job *j);    /* path, uid, gid */
ssize_t op_lchown(struct job *j);
ssize_t op_utimens(struct job *j);  /* path, times (NULL: now) */
ssize_t op_truncate(struct job *j); /* path, offset */

ssize_t op_mkdir(struct job *j);    /* path, mode */
ssize_t op_mknod(struct job *j);    /* path, mode, offset: the device */
ssize_t op_symlink(struct job *j);  /* path, name: the target */
ssize_t op_readlink(struct job *j); /* path; buf, size */
ssize_t op_link(struct job *j);     /* path, new_path */
ssize_t op_rename(struct job *j);
ssize_t op_unlink(struct job *j);   /* path */
ssize_t op_rmdir(struct job *j);

ssize_t op_getxattr(struct job *j);    /* path, name; buf, size */
ssize_t op_listxattr(struct job *j);   /* path; buf, size */
ssize_t op_setxattr(struct job *j);    /* path, name, data, size, flags */
ssize_t op_removexattr(struct job *j); /* path, name */

ssize_t op_open(struct job *j);     /* path, flags, mode; ret: struct mortar_file * */
ssize_t op_close(struct job *j);    /* file, which is freed */
ssize_t op_read(struct job *j);     /* file; buf, size */
ssize_t op_write(struct job *j);    /* file, data, size */
ssize_t op_pread(struct job *j);    /* and offset */
ssize_t op_pwrite(struct job *j);
ssize_t op_seek(struct job *j);     /* file, offset, flags: whence; ret: int64_t */
ssize_t op_fstat(struct job *j);    /* file; ret: struct stat */
ssize_t op_ftruncate(struct job *j); /* file, offset */
ssize_t op_allocate(struct job *j); /* file, offset, size */
ssize_t op_sync(struct job *j);     /* file, flags: data only */
ssize_t op_lock(struct job *j);     /* file, lock, flags: wait */
ssize_t op_getlock(struct job *j);

ssize_t op_dir_open(struct job *j);  /* path; ret: struct mortar_dir * */
ssize_t op_dir_fetch(struct job *j); /* dir: the entries that come next */
ssize_t op_dir_sync(struct job *j);
ssize_t op_dir_close(struct job *j); /* dir, which is freed */

/* ---- attr.c ----------------------------------------------------------------------------------------------------- */

bool stat_is_usable(const struct iatt *stat);
void stat_from(const struct iatt *from, struct stat *ret);
/* Somebody without the right to keep them has changed I, whose mode now is STAT's: setuid and setgid bits go. */
void attr_drop_privileges(struct job *j, struct vnode *i, const struct iatt *stat);

/* ---- dir.c ------------------------------------------------------------------------------------------------------ */

/* 1: the next entry of those that were fetched; 0: the directory is at its end; -EAGAIN: op_dir_fetch() is needed. The
 * caller serialises. Any thread. */
int dir_next(struct mortar_dir *dir, struct mortar_entry *ret);
void dir_seek(struct mortar_dir *dir, uint64_t position);
struct mortar_volume *dir_volume(const struct mortar_dir *dir);
const struct identity *dir_identity(const struct mortar_dir *dir);
void dir_lock(struct mortar_dir *dir);
void dir_unlock(struct mortar_dir *dir);

/* ---- volume.c --------------------------------------------------------------------------------------------------- */

struct loop *volume_thread_loop(struct mortar_volume *vol);
struct client *volume_client(struct mortar_volume *vol);
bool volume_is_own_thread(const struct mortar_volume *vol);
struct mortar_user *volume_own_user(struct mortar_volume *vol);
/* Handles and calls: a volume that has any is not closed. Any thread. VOL may be NULL. */
void volume_hold(struct mortar_volume *vol);
void volume_release(struct mortar_volume *vol);
/* Whether another call may begin; it is said when it has ended. The loop's thread. */
bool volume_admit(struct mortar_volume *vol, struct job *j);
struct job *volume_dismiss(struct mortar_volume *vol);
