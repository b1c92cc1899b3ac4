/* A file system served to the kernel through /dev/fuse, on the loop.
 *
 *      fuse_mount()              (fuse/mount.h) gives the descriptor
 *      fuse_session_new()        reads requests from it, each runs as a fibre of its own:
 *
 *              static void op_getattr(struct fibre *self, struct fuse_request *rq)
 *              {
 *                      const struct fuse_getattr_in *in = rq->in.getattr;
 *                      struct fuse_attr attr;
 *                      int r = file_stat(self, rq->node, &attr);          (may wait)
 *                      if (r < 0)
 *                              fuse_reply_error(rq, r);
 *                      else
 *                              fuse_reply_attr(rq, &attr, NS_PER_SEC);
 *              }
 *
 *      fuse_session_free()       after on_end, or after a forced unmount
 *
 * Requests arrive decoded and checked by the table in fuse/operation.h: the fixed part is in `rq->in`, names have no
 * '/' and are neither empty nor too long ("." and ".." only in LOOKUP), data lies in full within the message. Every
 * request is answered exactly once, by one of fuse_reply_…(), in any order; the function may go on afterwards, `rq`
 * stays valid until it returns. One that returns without an answer is answered EIO, and logged.
 *
 * Errors: negative errno everywhere. -ENOSYS is never passed on to the kernel, which would stop asking for the life of
 * the mount; it becomes EOPNOTSUPP. Functions that are NULL are answered as the table says.
 *
 * Thread: the loop's, everything. Notifications are written by threads of the session.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/fibre.h"
#include "fuse/operation.h"

struct fuse_session;

/* ---- a request ------------------------------------------------------------------------------------------------ */

struct fuse_request {
        struct fuse_session *session;
        void *arg;         /* of the session's configuration */
        uint32_t opcode;   /* FUSE_… */
        uint64_t unique;   /* the kernel's number of it */
        uint64_t node;     /* what it is about; FUSE_ROOT_ID is the root */
        uint32_t uid, gid; /* who asks */
        uint32_t pid;      /* of the thread that asks, as our pid namespace sees it; 0: it does not, or no process */
        union fuse_in in;  /* the fixed part, by operation */
        /* name: LOOKUP, creations, removals, LINK, xattrs; RENAME: the old one; SYMLINK: the link's own.
         * new_name: RENAME's; SYMLINK: the target (which may hold '/'). NULL where there is none. */
        const char *name, *new_name;
        const uint8_t *data; /* WRITE, SETXATTR, IOCTL; WRITE's data is page aligned if it is large */
        size_t size;         /* of data */
        struct arena *arena; /* for whatever the answer needs; emptied when the function has returned */
        /* Set: a signal arrived, or the mount ended. Answer -EINTR if nothing was done. */
        struct fibre_event interrupted;
};

/* The operation's name, for logs: "GETATTR"; "?" for an opcode that is not in the table. */
const char *fuse_operation_name(uint32_t opcode);
/* "GETATTR unique 42 node 7 uid 0 gid 0 pid 99 …" with names cut to what fits; returns TEXT. */
#define FUSE_REQUEST_TEXT_MAX 512
const char *fuse_request_format(const struct fuse_request *rq, char text[static FUSE_REQUEST_TEXT_MAX]);

/* The supplementary groups of the process that asks, from /proc; remembered per pid, uid and gid for `groups_timeout`.
 * Returns how many, 0 when the process is gone or invisible; *ret is in the request's arena. More than FUSE_GROUPS_MAX
 * are cut. Takes some 20 microseconds, does not wait. */
#define FUSE_GROUPS_MAX 1024
size_t fuse_request_groups(struct fuse_request *rq, const uint32_t **ret);

/* ---- answers -------------------------------------------------------------------------------------------------- */

/* All return 0, or -errno when the kernel did not take the answer. -ENOENT: it had given up on the request (abort): a
 * look-up count, open file or lock that the answer would have handed over is not the kernel's and has to be taken back.
 * -EINVAL: the answer was larger than what was asked for; the kernel got EIO instead. -EALREADY: it had been answered.
 */

/* What the kernel learns about a name. Timeouts in ns. */
struct fuse_entry {
        uint64_t node; /* 0 in a LOOKUP's answer: there is nothing, and that holds for entry_timeout */
        uint64_t generation;
        uint64_t entry_timeout; /* for the name */
        uint64_t attr_timeout;  /* for the attributes */
        struct fuse_attr attr;
};

int fuse_reply_ok(struct fuse_request *rq);
/* ERROR: negative errno. */
int fuse_reply_error(struct fuse_request *rq, int error);
/* LOOKUP, MKNOD, MKDIR, SYMLINK, LINK. Counts one look-up of the node, which FORGET takes back. */
int fuse_reply_entry(struct fuse_request *rq, const struct fuse_entry *e);
/* LOOKUP: no such name, and that may be remembered for TIMEOUT ns (0: not at all). */
int fuse_reply_negative(struct fuse_request *rq, uint64_t timeout);
/* CREATE, TMPFILE. OPEN_FLAGS: FOPEN_…. Counts one look-up. */
int fuse_reply_created(struct fuse_request *rq, const struct fuse_entry *e, uint64_t fh, uint32_t open_flags);
/* GETATTR, SETATTR. */
int fuse_reply_attr(struct fuse_request *rq, const struct fuse_attr *attr, uint64_t timeout);
/* STATX. */
int fuse_reply_statx(struct fuse_request *rq, const struct fuse_statx *st, uint64_t timeout);
/* OPEN, OPENDIR. */
int fuse_reply_opened(struct fuse_request *rq, uint64_t fh, uint32_t open_flags);
/* WRITE, COPY_FILE_RANGE: bytes done. */
int fuse_reply_written(struct fuse_request *rq, size_t n);
/* READ (fewer bytes than asked for: end of file), READLINK (no NUL). N at most fuse_reply_max(). */
int fuse_reply_data(struct fuse_request *rq, const void *data, size_t n);
#define FUSE_REPLY_IOV_MAX 64
int fuse_reply_iov(struct fuse_request *rq, const struct iovec *iov, int n);
size_t fuse_reply_max(const struct fuse_request *rq);
/* GETXATTR, LISTXATTR: the whole value or list; answers with its size when that was asked for, ERANGE when it does not
 * fit, E2BIG when it is larger than the kernel takes. */
int fuse_reply_xattr(struct fuse_request *rq, const void *value, size_t n);
int fuse_reply_statfs(struct fuse_request *rq, const struct fuse_kstatfs *st);
/* GETLK. */
int fuse_reply_lock(struct fuse_request *rq, const struct fuse_file_lock *lk);
/* LSEEK. */
int fuse_reply_offset(struct fuse_request *rq, uint64_t offset);
int fuse_reply_poll(struct fuse_request *rq, uint32_t revents);
int fuse_reply_bmap(struct fuse_request *rq, uint64_t block);
bool fuse_replied(const struct fuse_request *rq);

/* Directory entries, for READDIR and READDIRPLUS:
 *
 *      struct fuse_dir dir;
 *      fuse_dir_begin(&dir, rq);
 *      while (more && fuse_dir_add(&dir, name, length, ino, S_IFREG, next_offset, &entry) == 0) …
 *      fuse_reply_dir(rq, &dir);
 *
 * An empty answer is the end of the directory. If fuse_reply_dir() fails, no look-up was counted. */
struct fuse_dir {
        uint8_t *data;
        size_t len, max;
        bool plus;
};
/* Takes the buffer from the request's arena. -ENOMEM. */
int fuse_dir_begin(struct fuse_dir *d, struct fuse_request *rq);
/* TYPE: S_IF… or the whole mode. NEXT: offset to go on from, not 0. READDIRPLUS: ENTRY counts one look-up of its node;
 * NULL, or node 0, only tells the name ("." and ".." must be so); READDIR does not look at it. -ENOSPC: it does not
 * fit, the entry was not added; -EINVAL: not a name. */
int fuse_dir_add(struct fuse_dir *d, const char *name, size_t length, uint64_t ino, uint32_t type, uint64_t next,
                 const struct fuse_entry *entry);
int fuse_reply_dir(struct fuse_request *rq, const struct fuse_dir *d);

/* ---- the file system ------------------------------------------------------------------------------------------ */

/* One function per operation. The answer that each owes stands above; those not named there: fuse_reply_ok().
 * What the protocol leaves open:
 *
 *  lookup     "." and ".." come with FUSE_EXPORT_SUPPORT: a file handle is resolved. `node` may then be one that was
 *             forgotten long ago: look node numbers up in a table (ESTALE), never use them as addresses.
 *  setattr    FATTR_KILL_SUIDGID in `valid`, as FUSE_OPEN_KILL_SUIDGID of open and create and FUSE_WRITE_KILL_SUIDGID:
 *             the caller has no CAP_FSETID, so drop setuid and (of a group-executable file) setgid with the change.
 *             A change of owner drops them, of what is no directory, whoever makes it; writes, truncations and changes
 *             of owner drop security.capability. Only with FUSE_HANDLE_KILLPRIV_V2: before 7.33 the kernel asks for
 *             attributes and sends SETATTR and REMOVEXATTR by itself.
 *  open       O_TRUNC in `flags` only with FUSE_ATOMIC_O_TRUNC: then truncate.
 *  create     opens too. `mode` is masked by the caller's umask, unless FUSE_DONT_MASK was negotiated; mknod and mkdir
 *             likewise.
 *  flush      close() of one descriptor: drop `lock_owner`'s POSIX locks on the file.
 *  release    the last one. FUSE_RELEASE_FLOCK_UNLOCK: drop `lock_owner`'s flock.
 *  setlk(w)   FUSE_LK_FLOCK in lk_flags: flock. `lk.type` F_UNLCK unlocks. `lk.end` is the last byte, INT64_MAX: to the
 *             end of file. setlkw waits, and does not count to `in_flight_max`.
 *  rename     RENAME2 without flags: a file system that has only rename2 gets both as RENAME2.
 *  copy_file_range  serves COPY_FILE_RANGE_64 too.
 */
struct fuse_ops {
#define FUSE_OP_MEMBER_(NAME, name, in, names, data, minor, missing)                                                   \
        void (*name)(struct fibre * self, struct fuse_request * rq);
        FUSE_OPERATIONS(FUSE_OP_MEMBER_)
#undef FUSE_OP_MEMBER_
        /* The kernel gives back N look-ups of NODE. Called by the reader, in the order of the kernel: must not wait. */
        void (*forget)(struct fuse_session *s, uint64_t node, uint64_t n, void *arg);
};

/* ---- the session ---------------------------------------------------------------------------------------------- */

/* INIT flags that a file system chooses; the others that this layer knows are always or never negotiated (init.c has
 * the table: never FUSE_WRITEBACK_CACHE, never pass-through, never opens without a message). */
#define FUSE_CHOICES                                                                                                   \
        (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_DONT_MASK |            \
         FUSE_AUTO_INVAL_DATA | FUSE_EXPLICIT_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |               \
         FUSE_POSIX_ACL | FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_DIRECT_IO_ALLOW_MMAP |            \
         FUSE_OVER_IO_URING)
/* FUSE_POSIX_ACL: the kernel checks permissions by ACLs and mode (as with default_permissions) and reads
 * system.posix_acl_*; needs FUSE_DONT_MASK for default ACLs to work. FUSE_EXPLICIT_INVAL_DATA and FUSE_AUTO_INVAL_DATA
 * exclude each other: pages go only by notification, or also when mtime or size changed.
 * FUSE_OVER_IO_URING: by rings, if the kernel has them; otherwise a warning says why not. */
#define FUSE_CHOICES_DEFAULT                                                                                           \
        (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_AUTO_INVAL_DATA |      \
         FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_HANDLE_KILLPRIV_V2)

/* What was agreed with the kernel. */
struct fuse_protocol {
        uint32_t minor;                    /* both sides speak 7.MINOR */
        uint64_t flags;                    /* FUSE_… INIT flags in force */
        uint32_t max_write, max_readahead; /* bytes */
};

struct fuse_session_config {
        struct loop *loop;
        const struct fuse_ops *ops;    /* kept by reference */
        void *arg;                     /* for the functions */
        uint64_t choices;              /* of FUSE_CHOICES; 0 means none: say FUSE_CHOICES_DEFAULT */
        uint32_t max_write;            /* bytes; 0: 1 MiB. 4 KiB to 1 MiB */
        uint32_t max_readahead;        /* bytes; 0: what the kernel proposes */
        uint16_t max_background;       /* asynchronous requests that the kernel sends at once; 0: 64 */
        uint16_t congestion_threshold; /* 0: three quarters of that */
        /* Requests under way before reading stops; 0: 1024. While it does, interrupts are not read either: a request that
         * waits for something must end by itself in time. */
        uint32_t in_flight_max;
        uint32_t waiting_max;          /* SETLKW under way, beyond which ENOLCK; 0: 4096 */
        uint32_t large_max;            /* requests larger than 32 KiB held at once before reading stops; 0: 128 */
        uint32_t notify_max;           /* queued notifications; 0: 16384 */
        uint64_t groups_timeout;       /* ns that a process's groups are remembered; 0: 1 s */
        /* Behave as with a kernel of protocol 7.MINOR_MAX: no flag and no operation that came later. 0: no limit. */
        uint32_t minor_max;
        /* The kernel's INIT was answered: requests follow. NULL: nobody wants to know. */
        void (*on_init)(struct fuse_session *s, const struct fuse_protocol *p, void *arg);
        /* No further request comes; those under way are interrupted. Once, not from within fuse_session_new or _free.
         * REASON 0: unmounted; -ECONNABORTED: aborted; -EPROTO: the kernel is older than 7.31 or speaks nonsense; other
         * -errno: the device failed. */
        void (*on_end)(struct fuse_session *s, int reason, void *arg);
};

/* Serves FD, which is the session's from success on (and non-blocking). Tests: one end of a SOCK_SEQPACKET pair. CONFIG
 * need not outlive the call. -EINVAL: choices or sizes that cannot be. */
int fuse_session_new(const struct fuse_session_config *config, int fd, struct fuse_session **ret);
/* Stops reading, interrupts what is under way, waits until it is done, closes the device. NULL is fine; returns NULL.
 * While the file system is still mounted, processes that use it hang until the close: unmount first. */
struct fuse_session *fuse_session_free(struct fibre *self, struct fuse_session *s);

/* NULL before on_init. */
const struct fuse_protocol *fuse_session_protocol(const struct fuse_session *s);
struct loop *fuse_session_loop(const struct fuse_session *s);

struct fuse_stats {
        uint64_t requests;         /* read, without forgets and interrupts */
        uint64_t forgets;          /* nodes */
        uint64_t interrupts;       /* all */
        uint64_t interrupts_early; /* of these: their request was not there (yet, or any more) */
        uint64_t errors;           /* answers that said failure */
        uint64_t refused; /* requests that were answered without the file system: malformed, unknown, beyond a limit */
        uint64_t gone;    /* answers that the kernel did not want any more */
        uint64_t stops;   /* times that reading stopped at a limit */
        uint64_t notifications, notifications_dropped, notifications_failed;
        uint32_t in_flight, in_flight_peak; /* without those waiting for a lock */
        uint32_t waiting;                   /* SETLKW */
        uint32_t large;                     /* large requests held */
        uint32_t notify_queued;
};
void fuse_session_stats(const struct fuse_session *s, struct fuse_stats *ret);
/* Requests read of one opcode. */
uint64_t fuse_session_count(const struct fuse_session *s, uint32_t opcode);

/* ---- notifications -------------------------------------------------------------------------------------------- */

/* Tell the kernel to drop or change what it has cached. Queued and written by threads, since the kernel may block the
 * writer until requests that it has sent are answered; those about one node (or parent) keep their order. Never wait.
 * 0: queued; -ENOTCONN: before INIT or after the end; -ENOBUFS: the queue is full, nothing was queued, counted. That
 * the kernel does not know the node, or anything else that it answers, is no error. A notification equal to one that is
 * still queued is not queued twice. */

/* Attributes of NODE, and its pages from OFFSET on: LENGTH bytes, 0 up to the end, OFFSET < 0 none. */
int fuse_notify_inval_inode(struct fuse_session *s, uint64_t node, int64_t offset, int64_t length);
/* The name in directory PARENT. FLAGS: 0, or FUSE_EXPIRE_ONLY (only look it up again; before 7.38 the same as 0). */
int fuse_notify_inval_entry(struct fuse_session *s, uint64_t parent, const char *name, size_t length, uint32_t flags);
/* The name was removed by somebody else, and was CHILD: inotify watchers hear of it. */
int fuse_notify_delete(struct fuse_session *s, uint64_t parent, uint64_t child, const char *name, size_t length);
/* Waits until the kernel was told what was queued about NODE before. -ETIMEDOUT: it does not take it (5 s); -ENOTCONN. */
int fuse_notify_wait(struct fibre *self, struct fuse_session *s, uint64_t node);
/* Puts data (at most max_write bytes, copied) into the kernel's cache of NODE. */
int fuse_notify_store(struct fuse_session *s, uint64_t node, uint64_t offset, const void *data, size_t n);
