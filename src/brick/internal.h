/* What the files of the brick layer share: the brick object, sessions, inodes, requests.
 *
 * Locking order: entry locks  <  dir_moves  <  inode.lock (two inodes: by gfid)  <  session.lock  <  leaf locks inside modules; the inode
 * table's lock is a leaf. inode.lock is recursive: functions that need it take it, also inside a larger step of a caller.
 * inode.lock serialises what must be atomic per object: xattrop, mdata, write-update-atomic, link counting, the xattr
 * snapshot. Creation and removal of a name are additionally serialised per (parent gfid, name) by entry_lock().
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "brick/brick.h"
#include "brick/meter.h"
#include "brick/xdata.h"
#include "proto/disk_attr.h"
#include "proto/fop.h"

/* ---- inodes (inode.c) ---------------------------------------------------------------------------------------------- */

/* The extended attributes of an object as last read, valid while the object's (st_ino, st_ctim) are unchanged. */
struct xattr_snapshot;
struct lock_table;
struct index;
struct lock_session;

struct inode {
        struct gfid gfid;
        struct inode *gfid_next, *ino_next; /* hash chains of the table */
        struct inode *lru_prev, *lru_next;  /* while refs == 0 */
        uint32_t refs;                      /* under inode_table.lock */
        _Atomic mode_t type;                /* S_IFMT bits; 0 = not known yet */
        _Atomic ino_t ino;                  /* backing inode number; 0 = not known yet */

        pthread_mutex_t lock;
        int dirfd;                  /* directories: open descriptor of the directory itself, or -EBADF */
        atomic_bool unlinked;       /* the last name is gone; the file lives in .glusterfs/unlink */
        atomic_uint fd_count;       /* open descriptors of all clients */
        uint8_t index_known;        /* entries of the index that are known to exist or not; under lock */
        atomic_uint generation;     /* changes when the handle is made for another object; written under lock */
        struct xattr_snapshot *xattrs;
        struct gfid inside; /* confine.c: below this directory, as long as brick.moves is `inside_at`; under lock */
        uint64_t inside_at;
        atomic_uint xattr_bytes; /* of memory for it */
        _Atomic(struct lock_table *) locks; /* owned by lock.c; NULL = no lock was ever taken */
};

struct inode_table;
int inode_table_new(struct brick *b, uint32_t lru_limit, struct inode_table **ret);
struct inode_table *inode_table_free(struct inode_table *t);

/* A reference to the inode object of GFID, made if it is new (that says nothing about the disk). NULL: no memory. */
struct inode *inode_get(struct brick *b, const struct gfid *gfid);
/* Only if it is known already. */
struct inode *inode_find(struct brick *b, const struct gfid *gfid);
/* Finds by backing inode number, to spare reading trusted.gfid. The caller compares the snapshot's ctime. */
struct inode *inode_find_ino(struct brick *b, ino_t ino);
void inode_set_ino(struct brick *b, struct inode *i, ino_t ino, mode_t type);
struct inode *inode_ref(struct inode *i);
struct inode *inode_unref(struct brick *b, struct inode *i);
/* The object is gone from the disk: forget caches, close the dirfd once unreferenced. */
void inode_forget(struct brick *b, struct inode *i);

/* ---- the brick ------------------------------------------------------------------------------------------------------ */

#define BRICK_ENTRY_LOCKS 256

struct brick {
        struct disk *disk;
        char *path, *volume, *hostname;
        struct gfid volume_id, node_uuid;
        _Atomic(const struct brick_options *) options; /* never changed, but replaced: brick.c */
        struct options_copy *copies;                   /* all there were, under lock */
        int root_fd;
        dev_t dev;
        ino_t root_ino, dotgluster_ino;
        struct inode_table *inodes;
        pthread_mutex_t entry_locks[BRICK_ENTRY_LOCKS]; /* by hash of (parent gfid, name) */
        pthread_mutex_t lock;       /* sessions list, maintenance */
        pthread_rwlock_t dir_moves; /* read: a directory is being renamed; write: none is (object.c) */
        struct session *sessions;
        atomic_uint_fast64_t moves; /* names and handles that were given or taken: brick_names_changed() */
        atomic_bool full;           /* the space reserve is reached (brick.md §16.2) */
        struct index *index; /* of pending work (index.h) */
        uint64_t next_reserve_check, next_purge, next_health;
        struct meter meter;
        struct inode *root;         /* referenced while the brick is open */
        bool bare_creations;        /* the file system gives new objects no attributes of its own (security labels) */
        uid_t uid;                  /* of the process: what new objects belong to */
        gid_t gid;
        struct group_cache *groups; /* server.manage-gids (groups.c) */
        atomic_bool no_new_locks;   /* graceful stop (brick.h) */
        struct upcall_table *upcalls;
        struct barrier *barrier;
        uint64_t lock_secret;       /* random: what lockinfo numbers are made with */
};

/* Whoever gives an object a name or a handle, or takes one, says so: under its inode.lock, after the change. What was found
 * out about links or about where objects are is true while the number of moves is the same. */
static inline void brick_names_changed(struct brick *b)
{
        atomic_fetch_add(&b->moves, 1);
}

struct object;

/* ---- sessions and their descriptors (session.c, fd.c) ------------------------------------------------------------------ */

struct open_fd {
        atomic_uint refs;
        struct inode *inode; /* referenced */
        int fd;              /* of the disk */
        ino_t ino;           /* backing inode number of FD */
        int flags;           /* as opened */
        bool is_dir;
        bool is_index; /* a directory of the index: can only be listed */
        pthread_mutex_t dir_lock; /* readdir on one descriptor is serialised */
        int64_t dir_pos;          /* where the next getdents continues */
};

struct session {
        struct brick *brick;
        struct session *next, *prev;
        char *client_uid;
        bool trusted;
        uint32_t op_version;
        struct gfid subdir_root; /* null: whole volume */
        void (*send)(void *conn, const struct iovec *iov, int n);
        bool (*resume)(void *conn, struct parked_call *p);
        void (*lend)(void *conn, const struct local_loan *loan, int fd);
        void *conn;
        pthread_mutex_t lock; /* the fd table */
        struct open_fd **fds;
        uint32_t fd_cap, fd_max;
        uint32_t fd_low; /* no number below is free */
        _Atomic(struct lock_session *) locks; /* owned by lock.c; NULL = no lock was ever asked for */
        struct upcall_session *upcalls;       /* owned by upcall.c; NULL = watches nothing */
        struct index_watch *index_watch;      /* owned by index_watch.c; NULL = is not told */
};

#define SESSION_FDS_MAX 65536

/* How many descriptors a client may have: not all of the process's, which others need as well. */
uint32_t session_fd_limit(void);
/* Stores OF (taking over the caller's reference) under the lowest free number. -EMFILE at session.fd_max. */
int session_fd_add(struct session *s, struct open_fd *of, int64_t *ret);
/* A reference to descriptor NUMBER; NULL = unknown. */
struct open_fd *session_fd_get(struct session *s, int64_t number);
/* Takes NUMBER out of the table; the reference goes to the caller. NULL = unknown. */
struct open_fd *session_fd_take(struct session *s, int64_t number);
/* Makes a descriptor object around FD (owned afterwards), which is that of O, and counts it on O's inode. */
int open_fd_new(struct brick *b, const struct object *o, int fd, int flags, struct open_fd **ret);
/* Opens O with DISK_FLAGS and makes its descriptor object; a removal of O's last name comes before or after both. */
int open_fd_open(struct brick *b, const struct object *o, int disk_flags, int flags, struct open_fd **ret);
/* The last one closes; of an open-unlinked file, removes it (brick.md §14.4). */
struct open_fd *open_fd_unref(struct brick *b, struct open_fd *of);

/* ---- one request ------------------------------------------------------------------------------------------------------ */

struct caller { /* after squashing (brick.md §15.4) */
        uint32_t uid, gid;
        int32_t pid;
        uint32_t group_count;
        const uint32_t *groups;
};

/* Whose name a request took away, for those who are told (upcall.h). */
struct op_victim {
        struct gfid gfid; /* null: nobody's */
        bool gone;        /* that was the last name, and nobody has the object open */
};

struct op {
        struct brick *brick;
        struct session *session;
        uint32_t xid;
        enum fop fop;
        struct caller caller;
        const struct rpc_call *call; /* as it came, in case it has to be parked; NULL in tests of handlers */
        const struct rpc_cred *cred; /* times and their flags, lock owner */
        struct xdata xdata;          /* the request's known keys, typed; the others as pairs */
        struct dict reply;           /* xdata of the answer, being built; NULL dict if it stays empty */
        struct arena *arena;
        struct op_victim victim;
        uint64_t changes; /* that clients were told of when it began (upcall.h) */
        bool held_back; /* the answer waits for the barrier (barrier.h) */
        struct chain_run *chain; /* that it is a step of (chain.h); NULL: it is a call of its own */
};

/* Handlers return 0, a negative errno (the dispatcher then sends op_ret -1 with a zeroed body and op->reply), or OP_PARKED:
 * the answer will be sent by lock_table.c through op_answer_parked(), or the call will be served again (guard.h). */
#define OP_PARKED 1

/* fop_NAME(op, request, zeroed reply) for every fop; table in dispatch.c. */
#define FOP_HANDLER_(number, NAME, name)                                                                               \
        int fop_##name(struct op *op, const struct name##_fop_req *req, struct name##_fop_rep *rep);
FOPS(FOP_HANDLER_)

static inline bool op_internal(const struct op *op)
{
        return op->caller.pid < 0;
}

/* INODE may be NULL. Counts only if the request succeeds. */
static inline void op_set_victim(struct op *op, const struct inode *inode, bool gone)
{
        if (inode)
                op->victim = (struct op_victim){inode->gfid, gone};
}

/* ---- objects on disk (object.c) ---------------------------------------------------------------------------------------- */

/* Where something is: PATH relative to DIRFD, or DIRFD itself when PATH is "". INO says which object was seen there:
 * one gfid may stand for two, when a file was deleted and made again while somebody has the first one open. */
struct place {
        int dirfd;
        ino_t ino; /* backing inode number; 0 = not known */
        char path[NAME_LIMIT + 1];
};

struct object {
        struct inode *inode; /* referenced; object_done() releases it */
        struct place at;
        struct stat st;      /* valid after every successful resolve */
        unsigned generation; /* of the inode, before the stat */
        uint64_t moves;      /* of the brick, before the stat of an entry */
};

void object_done(struct brick *b, struct object *o);

/* By gfid (brick.md §6). -ESTALE: no handle. -ENOENT: open-unlinked. Dangling handles are removed and count as absent. */
int object_by_gfid(struct op *op, const struct gfid *gfid, struct object *ret);
/* The same for fops that also work on open-unlinked files. */
int object_by_gfid_any(struct op *op, const struct gfid *gfid, struct object *ret);
/* A directory for an entry operation: -ESTALE unknown, -EPERM not a directory. */
int object_parent(struct op *op, const struct gfid *gfid, struct object *ret);
/* The entry NAME of PARENT: checks the name (brick.md §6: '/', length, .glusterfs in the root, "..": the errno to answer),
 * stats it, finds its gfid (healing a missing handle; a missing gfid only when HEAL_GFID is not NULL). -ENOENT absent.
 * On -ENODATA (no gfid) ret->st and ret->at are valid and ret->inode is NULL. */
int object_entry(struct op *op, const struct object *parent, const char *name, const struct gfid *heal_gfid,
                 struct object *ret);
int entry_name_check(const struct brick *b, const struct object *parent, const char *name);
/* Stats O again. */
int object_restat(struct op *op, struct object *o);
/* Opens O, a directory or a regular file (-EINVAL: anything else), by its handle. Result: a descriptor of the disk.
 * -ESTALE: O is not the object of its gfid any more. Devices, FIFOs and what symbolic links point to are never opened,
 * also when they take O's place meanwhile. FLAGS: O_CREAT and O_EXCL count for nothing. */
int object_open(struct brick *b, const struct object *o, int flags);

/* An open disk descriptor for I/O by (gfid, fd number): from the session's table, or opened for FD_ANONYMOUS. */
struct io_fd {
        struct open_fd *of;  /* referenced, or NULL for an anonymous one */
        struct inode *inode; /* referenced */
        int fd;
        ino_t ino; /* backing inode number of FD */
        bool close_fd;
};
static inline struct place io_place(const struct io_fd *io)
{
        return (struct place){.dirfd = io->fd, .ino = io->ino};
}
/* FLAGS: how an anonymous descriptor is opened. -EBADF unknown number, -ENOENT anonymous and no such file. */
int io_fd_get(struct op *op, const struct gfid *gfid, int64_t number, int flags, struct io_fd *ret);
void io_fd_done(struct brick *b, struct io_fd *io);

/* Serialises creation and removal of one name, or two (rename): locks are taken in a fixed order. */
struct entry_guard {
        pthread_mutex_t *a, *b;
};
void entry_lock(struct brick *b, const struct gfid *parent, const char *name, struct entry_guard *ret);
void entry_lock2(struct brick *b, const struct gfid *p1, const char *n1, const struct gfid *p2, const char *n2,
                 struct entry_guard *ret);
void entry_unlock(struct entry_guard *g);

/* ---- handles (handle.c; brick.md §2.3) ------------------------------------------------------------------------------------ */

#define HANDLE_PATH_MAX 64 /* ".glusterfs/xx/yy/<gfid>" and a NUL */
void handle_path(const struct gfid *g, char buf[static HANDLE_PATH_MAX]);
void handle_unlink_path(const struct gfid *g, char buf[static HANDLE_PATH_MAX]);
/* Makes the handle of the object at AT. -EEXIST: it exists and is another object. */
int handle_create(struct brick *b, const struct gfid *g, const struct place *at, const struct stat *st,
                  const struct gfid *parent, const char *name);
/* A directory's handle now says (PARENT, NAME); atomically. */
int handle_move_dir(struct brick *b, const struct gfid *g, const struct gfid *parent, const char *name);
int handle_remove(struct brick *b, const struct gfid *g);
/* Last name of an open file: the handle moves to .glusterfs/unlink. */
int handle_park(struct brick *b, const struct gfid *g);
/* Where a directory's handle points. -EINVAL malformed. */
int handle_read_dir(struct brick *b, const struct gfid *g, struct gfid *ret_parent, char ret_name[static NAME_LIMIT + 1]);
/* An open descriptor of directory G, through as many parents as needed (no depth limit); cached in the inode. The
 * descriptor belongs to the inode and stays open while the inode is referenced. */
int handle_open_dir(struct brick *b, struct inode *dir, int *ret_fd);

/* ---- attributes (attr.c; brick.md §4, §7) ---------------------------------------------------------------------------------- */

/* The iatt of O for this session's client, times from mdata when there is one; root and sub-directory rules applied. */
int attr_iatt(struct op *op, struct object *o, struct iatt *ret);
/* The same for an open descriptor. Fills *ret_st too if not NULL. */
int attr_iatt_fd(struct op *op, const struct io_fd *io, struct iatt *ret, struct stat *ret_st);
/* Updates the mdata of an object by the request's time for the flags in WHICH (TIMES_CTIME|…, already selected from the
 * credential by the caller through attr_object_times()/attr_parent_times()). */
int attr_touch(struct op *op, struct inode *inode, const struct place *at, uint32_t which);
uint32_t attr_object_times(const struct op *op); /* credential flags for the object: CTIME|MTIME|ATIME */
uint32_t attr_parent_times(const struct op *op); /* for a parent, shifted down to the same bits */
/* setattr's explicit times (brick.md §4.3). */
int attr_set_times(struct op *op, struct inode *inode, const struct place *at, const struct iatt *want, int valid);
/* set-ctime-mdata / trusted.glusterfs.mdata from a client: merged (brick.md §4.5). */
int attr_merge_mdata(struct op *op, struct inode *inode, const struct place *at, const struct mdata *m, bool create);
struct gfid attr_gfid_from_client(const struct op *op, const struct gfid *g); /* sub-directory root mapping, inbound */

/* ---- xattr snapshots (xattr.c) ---------------------------------------------------------------------------------------------- */

struct xattr_pair {
        const char *name;
        const uint8_t *value;
        uint32_t len;
};
struct xattr_view {
        const struct xattr_pair *v;
        uint32_t n;
};
/* All xattrs of the object whose fresh stat is ST: from the snapshot when (st_ino, st_ctim) still match, else read (one
 * listing, then each value) and kept if small. The view is copied into ARENA. */
int xattr_view(struct brick *b, struct inode *inode, const struct place *at, const struct stat *st, struct arena *arena,
               struct xattr_view *ret);
const struct xattr_pair *xattr_view_find(const struct xattr_view *v, const char *name);
/* Drops the snapshot: call under inode.lock right after changing an xattr by other means than xattr_set/remove. */
void xattr_invalidate(struct inode *inode);
int xattr_set(struct brick *b, struct inode *inode, const struct place *at, const char *name, const void *value,
              size_t len, int flags);
int xattr_remove(struct brick *b, struct inode *inode, const struct place *at, const char *name);

/* ---- answers' xdata (fill.c; brick.md §9) ------------------------------------------------------------------------------------- */

/* Adds to DICT what the request's keys ask about object O (path-based keys too unless BY_FD). */
int fill_xdata(struct op *op, struct object *o, bool by_fd, struct dict *dict);

/* ---- permissions (perm.c; brick.md §15) ------------------------------------------------------------------------------------------ */

#define PERM_READ 4
#define PERM_WRITE 2
#define PERM_EXEC 1
/* 0 or -EACCES: mode bits or ACL. Root and (ACL checks) internal pids pass. */
int perm_check(struct op *op, struct object *o, unsigned want);
/* w+x on PARENT (or WANT), and for removal the sticky rule with VICTIM (may be NULL). */
int perm_check_entry(struct op *op, struct object *parent, unsigned want, struct object *victim);
bool perm_is_owner(const struct op *op, const struct stat *st);
bool perm_in_group(const struct op *op, gid_t gid);

/* Mode, gid and ACLs of a new object (brick.md §8.2, §15.2). */
struct perm_new {
        mode_t mode;
        uid_t uid;
        gid_t gid;
        struct slice access_acl;  /* empty: none */
        struct slice default_acl;
};
int perm_inherit(struct op *op, struct object *parent, mode_t type, mode_t mode, mode_t umask, struct perm_new *ret);
/* ACL text form (brick.md §15.3). */
int acl_to_text(const void *acl, size_t len, struct arena *a, char **ret);
int acl_from_text(const char *text, struct arena *a, struct slice *ret);

/* -ENOSPC while the reserve is reached and the caller is not exempt (brick.md §16.2). */
int space_check(struct op *op);
/* -EROFS on a read-only volume for ordinary clients. */
int read_only_check(struct op *op);

/* ---- locks (lock.c; brick.md §13) ---------------------------------------------------------------------------------------------------- */

/* Releases everything the session holds or waits for. */
void lock_session_gone(struct session *s);
/* Posix locks taken through OF or by OWNER on its inode (flush, release). OWNER empty: all through OF. */
void lock_flush(struct op *op, struct inode *inode, struct open_fd *of, struct slice owner);
void lock_fd_released(struct session *s, struct open_fd *of);
void lock_table_free(struct lock_table *t);
/* Counts for answers (brick.md §13.9). DOMAIN NULL = all. */
uint32_t lock_count_inode(struct inode *inode, const char *domain);
uint32_t lock_count_entry(struct inode *inode);
uint32_t lock_count_posix(struct inode *inode);
bool lock_has_entry(struct inode *inode, const char *name);
/* Adds to RET what a session holds and waits for. */
void lock_stats_session(const struct session *s, struct brick_stats *ret);

/* Sends the answer of a parked lock request: op_ret 0 or -1/ERROR; FLOCK for LK. */
struct parked {
        struct session *session;
        uint32_t xid;
        enum fop fop;
};
void op_answer_parked(const struct parked *p, int error, const struct flock_range *flock);

/* ---- shared by handlers (fd.c, fill.c, index.c, space.c, path.c) ----------------------------------------------------------------------- */

/* Makes *RET stand for IO's object with ST, borrowing IO's references: no object_done(). */
void object_of_io(const struct io_fd *io, const struct stat *st, struct object *ret);

/* Adds the lock counts that the request asks about INODE (brick.md §13.9); for answers without fill_xdata(). */
int fill_lock_counts(struct op *op, struct inode *inode, struct dict *dict);
/* The same for open-fd-count and open-active-fd-count. */
int fill_fd_counts(struct op *op, struct inode *inode, struct dict *dict);
/* glusterfs.parent-entrylk: is there an entry lock on NAME in PARENT (look-ups by name, READDIRP). */
int fill_parent_lock(struct op *op, struct inode *parent, const char *name, struct dict *dict);
/* The text of the object's ACL (DEFAULT_ACL: of its default ACL); "" when a directory has no default ACL. -ENODATA: an
 * object of this kind has none. */
int acl_text_of(struct op *op, struct object *o, bool default_acl, char **ret);

/* Is there pending work in the index of this brick (brick.md §12.5)? */
bool index_pending(struct brick *b);
/* Answers the virtual names of the index (brick.md §12.4). -ENOENT: not such a name. */
int index_getxattr(struct op *op, const char *name, struct dict *dict);

/* Evaluates the reserve now. */
int space_refresh(struct brick *b);
uint64_t space_reserved_blocks(const struct brick *b, const struct statvfs *v);

/* The path of directory G inside the brick, "/" for the root (the sub-directory of OP's session unless WHOLE). -ENOENT. */
int path_of_dir(struct op *op, const struct gfid *g, bool whole, char **ret);
/* The path of an object: directories by their handles, others by their first gfid2path name that fits. -ENOENT. */
int path_of_object(struct op *op, struct object *o, bool whole, char **ret);
/* The path that a gfid2path attribute P stands for. -ENOENT: it is not one, or its directory is gone. */
int path_of_name(struct op *op, const struct xattr_pair *p, bool whole, char **ret);
/* -EIO: a scrubber has marked the file as corrupted (brick.md §19.6). */
int bad_file_check(struct op *op, struct object *o);
