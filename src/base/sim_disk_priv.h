/* Inside of the simulated disk; included by sim_disk*.c only.
 *
 * State is a tree of inodes as programs see it now, plus what a power cut may take back:
 *   - the metadata log: for each transaction (one effect) the before-images of what it changed, oldest first. A power
 * cut undoes transactions from the newest back to a point chosen at or after the durable one;
 *   - in each dirty page, beside its contents, the contents the medium has.
 * A change goes: find and check, txn_begin(), log_*() the before-images, change. From txn_begin() on nothing can fail.
 *
 * This is a test instrument: when memory is exhausted it aborts.
 */
#pragma once

#include <limits.h>
#include <pthread.h>

#include "base/sim_disk.h"

#define SIM_PAGE 4096u
#define SIM_NAME_MAX 255u
#define SIM_LINK_MAX 65000u                    /* hard links of one file */
#define SIM_SYMLINK_MAX 40                     /* links followed in one look-up */
#define SIM_FILE_MAX (0xffffffffll * SIM_PAGE) /* bytes in one file */
#define SIM_FD_BASE 1000000                    /* far from descriptors of the kernel: mixing them up fails */
#define SIM_FD_MAX 65536u
#define SIM_XATTR_NAME_MAX 255u
#define SIM_XATTR_SIZE_MAX 65536u
#define SIM_LOG_TXNS_MAX 4096u /* beyond it, or beyond so many bytes, the journal commits its oldest half by itself */
#define SIM_LOG_BYTES_MAX (64u * MIB)

enum sim_content_kind {
        SIM_HOLE,      /* reads as zeros */
        SIM_UNWRITTEN, /* space is taken, reads as zeros */
        SIM_DATA,
};

struct sim_content {
        enum sim_content_kind kind;
        uint8_t *bytes; /* SIM_PAGE of them when SIM_DATA, else NULL */
};

/* A page is in its file's array when it takes space: `now` is never SIM_HOLE. */
struct sim_page {
        uint64_t index;
        bool dirty;                /* `medium` differs from `now`; else it is SIM_HOLE and means nothing */
        struct sim_content now;    /* what programs see */
        struct sim_content medium; /* what the platter has */
};

struct sim_xattr {
        struct sim_xattr *next;
        size_t size;
        uint8_t *value;
        char name[];
};

/* The part of an inode that a transaction's before-image copies. */
struct sim_attr {
        mode_t mode;
        uid_t uid;
        gid_t gid;
        dev_t rdev;
        uint32_t nlink;
        int64_t size; /* regular files only */
        struct timespec atime, mtime, ctime;
        struct sim_inode *parent; /* directories only; holds a reference */
};

struct sim_inode {
        struct sim_inode *all_next, *all_prev; /* every inode in memory, in order of creation */
        uint64_t ino;
        unsigned refs; /* entries, descriptors, log records, parent pointers */
        unsigned opens;
        uint64_t charged; /* bytes of the capacity it takes; 0 once it has neither name nor descriptor */
        struct sim_attr a;
        char *target; /* symbolic links */
        struct sim_xattr *xattrs;
        uint64_t logged;      /* the latest transaction that changed it */
        uint64_t logged_data; /* the latest one that fdatasync() must make durable */

        struct sim_page **pages; /* by index */
        size_t n_pages, cap_pages;

        struct sim_entry **entries; /* by cookie; "." and ".." are not in it */
        size_t n_entries, cap_entries;
        uint64_t next_cookie;
};

struct sim_entry {
        struct sim_entry *hash_next;
        struct sim_inode *dir; /* no reference: an entry dies with its directory */
        struct sim_inode *child;
        uint64_t cookie; /* d_off: the position after this entry */
        uint8_t len;
        char name[];
};

struct sim_fd {
        struct sim_inode *inode;
        int flags;
        off_t pos;
};

enum sim_undo_kind { SIM_UNDO_ATTR, SIM_UNDO_ENTRY, SIM_UNDO_XATTR, SIM_UNDO_PAGE };

/* One before-image. */
struct sim_undo {
        struct sim_undo *next, *prev;
        uint64_t txn;
        enum sim_undo_kind kind;
        size_t bytes;
        struct sim_inode *inode; /* what changed; holds a reference */
        union {
                struct sim_attr attr;
                struct {
                        struct sim_inode *child; /* NULL: there was no such entry; holds a reference */
                        uint64_t cookie;
                        char *name;
                } entry;
                struct {
                        char *name;
                        struct sim_xattr *value; /* NULL: there was none */
                } xattr;
                struct {
                        uint64_t index;
                        struct sim_page *page; /* NULL: there was a hole */
                } page;
        };
};

struct sim_disk {
        struct disk disk;
        pthread_mutex_t lock;
        uint64_t random;
        uint64_t capacity, used;
        bool ordered;
        uint64_t clock; /* ns */
        uint64_t next_ino;
        struct sim_inode *root;
        struct sim_inode *all_first, *all_last;

        struct sim_entry **hash;
        size_t hash_size, hash_count;

        struct sim_fd **fds;
        unsigned next_fd, n_open;

        struct sim_undo *log_first, *log_last;
        uint64_t txn;     /* the latest transaction */
        uint64_t durable; /* transactions up to here survive a power cut; the log starts after it */
        uint64_t log_bytes;

        uint64_t effects, fail_at, stop_at;
        int fail_error;
        bool fired, stop_pending, stopped;
};

extern const struct disk_ops sim_disk_table;

/* Every call of the table holds the lock from enter to leave; the effect that was to be the last one stops the disk
 * when it leaves. */
struct sim_disk *sim_enter(struct disk *disk);
void sim_leave(struct sim_disk **d);

/* sim_disk_tree.c: memory, inodes, entries, descriptors, paths */
void *sim_alloc(size_t size);
void *sim_realloc(void *p, size_t size);
void *sim_copy(const void *p, size_t size);
uint64_t sim_random_next(struct sim_disk *d);
struct timespec sim_now_ts(const struct sim_disk *d);

struct sim_inode *sim_inode_new(struct sim_disk *d);
struct sim_inode *sim_inode_ref(struct sim_inode *i);
void sim_inode_unref(struct sim_disk *d, struct sim_inode *i);
void sim_inode_drop(struct sim_disk *d, struct sim_inode *i); /* releases the memory, whatever points to it */
/* Gives back the space of an inode that has neither name nor descriptor. */
void sim_inode_settle(struct sim_disk *d, struct sim_inode *i);
bool sim_has_room(const struct sim_disk *d, uint64_t bytes);
void sim_charge(struct sim_disk *d, struct sim_inode *i, int64_t bytes);
uint64_t sim_inode_cost(const struct sim_inode *i);

struct sim_entry *sim_entry_find(struct sim_disk *d, const struct sim_inode *dir, const char *name, size_t len);
/* Makes NAME in DIR mean CHILD (NULL: nothing). A new entry gets COOKIE, 0 = the next one. */
void sim_entry_put(struct sim_disk *d, struct sim_inode *dir, const char *name, size_t len, struct sim_inode *child,
                   uint64_t cookie);

/* The descriptor, or NULL when it is not open. _usable also refuses O_PATH. */
struct sim_fd *sim_fd_get(struct sim_disk *d, int fd);
struct sim_fd *sim_fd_usable(struct sim_disk *d, int fd);
int sim_fd_new(struct sim_disk *d, struct sim_inode *i, int flags);
void sim_fd_close(struct sim_disk *d, int fd);
void sim_fd_close_all(struct sim_disk *d);

enum sim_last { SIM_LAST_NAME, SIM_LAST_DOT, SIM_LAST_DOTDOT, SIM_LAST_ROOT };

/* A path up to, not including, its last component. NAME points into the path or into a link's target. */
struct sim_walk {
        struct sim_inode *dir;
        const char *name;
        size_t len;
        enum sim_last last;
        bool slash; /* something like "name/" */
        int links;  /* symbolic links followed so far */
};

int sim_walk_parent(struct sim_disk *d, int dirfd, const char *path, struct sim_walk *ret);
/* Continues W into the symbolic link LINK: W then stands before the last component of its target. */
int sim_walk_link(struct sim_disk *d, struct sim_walk *w, const struct sim_inode *link);
/* What the last component of W is; -ENOENT, -ENAMETOOLONG. Does not follow it. */
int sim_walk_last(struct sim_disk *d, const struct sim_walk *w, struct sim_inode **ret);

#define SIM_FOLLOW 1u       /* follow the last component */
#define SIM_EMPTY 2u        /* "" is the descriptor itself, O_PATH or not */
#define SIM_EMPTY_OPENED 4u /* "" is the descriptor itself; -EBADF when it is O_PATH */
int sim_lookup(struct sim_disk *d, int dirfd, const char *path, unsigned how, struct sim_inode **ret);

ssize_t sim_op_getdents(struct disk *disk, int fd, void *buf, size_t size);

/* sim_disk_crash.c: effects, log, power cut */

/* Counts an effect and fails when it is the one that must. */
int sim_effect(struct sim_disk *d);
/* sim_effect() that opens a transaction and moves the clock. */
int sim_txn_begin(struct sim_disk *d);
void sim_log_attr(struct sim_disk *d, struct sim_inode *i);
void sim_log_entry(struct sim_disk *d, struct sim_inode *dir, const char *name, size_t len);
/* Takes VALUE (NULL: there was none). */
void sim_log_xattr(struct sim_disk *d, struct sim_inode *i, const char *name, struct sim_xattr *value);
/* Takes PAGE (NULL: there was a hole). */
void sim_log_page(struct sim_disk *d, struct sim_inode *i, uint64_t index, struct sim_page *page);
/* The current transaction matters to fdatasync() of I. */
void sim_log_data(struct sim_disk *d, struct sim_inode *i);
void sim_log_commit(struct sim_disk *d, uint64_t txn);
void sim_log_trim(struct sim_disk *d);
int sim_op_sync(struct disk *disk, int fd, bool data_only);

/* sim_disk_data.c: contents of files */
void sim_page_free(struct sim_page *p);
struct sim_page *sim_page_find(const struct sim_inode *i, uint64_t index);
void sim_page_put(struct sim_inode *i, struct sim_page *p);
struct sim_page *sim_page_take(struct sim_inode *i, uint64_t index);
void sim_data_synced(struct sim_inode *i);
/* What lies behind the offset FROM is on the medium. */
void sim_data_grown(struct sim_inode *i, int64_t from);
/* Each dirty page becomes what it is now or what the medium has. */
void sim_data_power_cut(struct sim_disk *d, struct sim_inode *i);
void sim_data_free(struct sim_inode *i);
/* Inside a transaction: the file is SIZE bytes long. */
void sim_data_resize(struct sim_disk *d, struct sim_inode *i, int64_t size);
/* Times of a change of contents; also forgets security.capability, as the kernel does. */
void sim_data_changed(struct sim_disk *d, struct sim_inode *i);

ssize_t sim_op_preadv(struct disk *disk, int fd, const struct iovec *iov, int n, off_t off);
ssize_t sim_op_pwritev(struct disk *disk, int fd, const struct iovec *iov, int n, off_t off);
int sim_op_truncate(struct disk *disk, int dirfd, const char *path, off_t size);
int sim_op_ftruncate(struct disk *disk, int fd, off_t size);
int sim_op_fallocate(struct disk *disk, int fd, int mode, off_t off, off_t len);
off_t sim_op_lseek(struct disk *disk, int fd, off_t off, int whence);
ssize_t sim_op_copy(struct disk *disk, int fd_in, off_t off_in, int fd_out, off_t off_out, size_t len);

/* sim_disk_attr.c: attributes and xattrs */
struct sim_xattr *sim_xattr_take(struct sim_inode *i, const char *name);
void sim_xattr_put(struct sim_inode *i, struct sim_xattr *x);
void sim_xattr_free_all(struct sim_inode *i);
void sim_xattr_forget_capability(struct sim_disk *d, struct sim_inode *i);

int sim_op_stat(struct disk *disk, int dirfd, const char *path, struct stat *ret);
int sim_op_chown(struct disk *disk, int dirfd, const char *path, uid_t uid, gid_t gid);
int sim_op_chmod(struct disk *disk, int dirfd, const char *path, mode_t mode);
int sim_op_utimens(struct disk *disk, int dirfd, const char *path, const struct timespec ts[2]);
ssize_t sim_op_getxattr(struct disk *disk, int dirfd, const char *path, const char *name, void *buf, size_t size);
ssize_t sim_op_listxattr(struct disk *disk, int dirfd, const char *path, char *buf, size_t size);
int sim_op_setxattr(struct disk *disk, int dirfd, const char *path, const char *name, const void *val, size_t size,
                    int flags);
int sim_op_removexattr(struct disk *disk, int dirfd, const char *path, const char *name);
int sim_op_statvfs(struct disk *disk, int fd, struct statvfs *ret);
