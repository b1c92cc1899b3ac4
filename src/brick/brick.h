/* A brick: one directory served to clients (spec: brick.md).
 *
 * Public face of the layer. A brick is opened over a `struct disk` and is then called by any number of threads at once, or
 * by the one thread of a simulation: nothing here knows about sockets or threads of its own. Sessions are clients'
 * connections; their answers go out through the session's `send`.
 */
#pragma once

#include "base/disk.h"
#include "base/error.h"
#include "brick/metrics.h"
#include "brick/options.h"
#include "rpc/header.h"

struct brick;
struct session;
struct parked_call;
struct local_loan;

struct brick_config {
        const char *path;        /* absolute; also the remote-subvolume name */
        const char *volume;      /* name, for logs */
        struct gfid volume_id;   /* must equal trusted.glusterfs.volume-id of the directory */
        const char *hostname;    /* in pathinfo; NULL or "": the machine's */
        struct gfid node_uuid;   /* null: node-uuid answers ENODATA */
        struct brick_options options;
};

/* Opens: checks volume-id, root gfid and xattr support, completes .glusterfs, empties .glusterfs/unlink (brick.md §2, §21).
 * The disk must outlive the brick. Errors with a sentence: -ENOENT no such directory, -ENODATA no volume-id, -ESTALE another
 * volume's id or a foreign root gfid, -EOPNOTSUPP no trusted xattrs. */
int brick_open(struct disk *disk, const struct brick_config *config, struct brick **ret, struct error *e);
/* Every session must be closed before. */
struct brick *brick_close(struct brick *b);
DEFINE_CLEANUP(struct brick *, brick_close)

const char *brick_path(const struct brick *b);
const struct gfid *brick_volume_id(const struct brick *b);
/* Replaces the options that may change while serving. -ENOMEM. */
int brick_reconfigure(struct brick *b, const struct brick_options *options);

/* Maintenance, a few times a second from one thread that may block: re-evaluates the space reserve (every 5 s of NOW_NS)
 * and checks health. -EIO: the storage failed and the brick must be taken down. Other errors are for the log: they may
 * pass. */
int brick_maintain(struct brick *b, uint64_t now_ns, struct error *e);
/* Removes some of what is in .glusterfs/landfill, when it is due. That may take long on a slow disk; one thread at a time,
 * not necessarily that of brick_maintain(). */
void brick_purge(struct brick *b, uint64_t now_ns);

struct brick_stats {
        uint64_t ops, errors;
        uint64_t by_fop[64], errors_by_fop[64];
        uint64_t nanoseconds[64];                 /* in all */
        uint64_t latency[64][METRIC_BUCKETS];     /* requests in each bucket (metrics.h) */
        uint64_t inode_bytes, xattr_bytes, watch_bytes;
        uint32_t in_flight, watches;
        uint32_t sessions, fds, inodes;
        uint32_t locks, locks_waiting; /* of all kinds and clients: held, and requests that wait for one */
};
void brick_get_stats(struct brick *b, struct brick_stats *ret);

/* ---- graceful stop: the brick's part ------------------------------------------------------------------------------- */

/* From now on every request for a lock is refused with -ENOTCONN, those that wait are answered so, and holders of inode
 * and entry locks are told of contention, so that they finish what they do under them and let go. Unlocking and all other
 * operations go on. ENOTCONN is what clients take for a brick that is down: replicate and disperse go on with the others.
 * May be called again to remind the holders. It is not undone. Any thread; does not block. */
void brick_refuse_new_locks(struct brick *b);
/* Inode and entry locks that clients hold now; when there are none, no client is in the middle of a transaction. */
uint32_t brick_held_locks(struct brick *b);

/* ---- sessions ----------------------------------------------------------------------------------------------------- */

struct session_config {
        const char *client_uid;  /* process-uuid of the handshake: copied */
        const char *subdir;      /* sub-directory mount, absolute inside the volume; NULL or "/" = whole volume */
        bool trusted;            /* valid user name and password */
        uint32_t op_version;
        /* Sends one record (mark included) that consists of the given pieces; they may be reused after it returns. Any
         * thread. Must not block and must not call back into the session. */
        void (*send)(void *conn, const struct iovec *iov, int n);
        /* A call that was parked (a removal that waited for locks) can be served: the callee sees to it that
         * session_resume() is called soon on a thread that may block, before the session is closed. Any thread; must not
         * block, nor call session_resume() itself. False: the connection is over. NULL: nothing is ever parked. */
        bool (*resume)(void *conn, struct parked_call *p);
        /* Gives the client the descriptor FD, which stays the caller's, if it is on this machine and wants such. Any thread;
         * must not block. NULL: nothing is ever lent. */
        void (*lend)(void *conn, const struct local_loan *loan, int fd);
        void *conn;
};

/* -ENOENT: the sub-directory does not exist. */
int session_open(struct brick *b, const struct session_config *config, struct session **ret);
/* Releases the client's descriptors and locks at once. No request of this session may still be running; parked ones
 * (lock waiters) are cancelled without an answer. `send` is not called afterwards. */
struct session *session_close(struct session *s);
DEFINE_CLEANUP(struct session *, session_close)

struct brick *session_brick(const struct session *s);

/* Handles one call of the fop program and sends its answer, now or (lock waiters) later from the thread that grants.
 * ARENA is reset by the callee's caller. Any thread; calls of one session may run at the same time. */
void session_serve(struct session *s, const struct rpc_call *call, struct arena *arena);

/* Serves a parked call again from its beginning, or forgets it without an answer. As session_serve(). */
void session_resume(struct parked_call *p, struct arena *arena);
void session_forget(struct parked_call *p);

/* True if the procedure may take long by nature (fsync, large copies): drivers let another thread read meanwhile. */
bool session_call_is_slow(const struct rpc_call *call);
/* Bytes the answer may have beyond a few KiB, as far as the request says: drivers limit how much they ask for at once. */
uint32_t session_call_answer_size(const struct rpc_call *call);
