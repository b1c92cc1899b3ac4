/* Inside the volume layer: one brick, as a client sees it (protocol/client; spec: wire.md §5, §6).
 *
 * remote.c       the layer: its options, its operations
 * remote_call.c  an operation on its way: waiting for the brick, descriptor, call, result
 * remote_chain.c  several operations in one message (docs/formats/chain.md)
 * remote_settle.c  whether a change of names whose answer was lost was done
 * remote_link.c  the connection: found, made, kept, made again for ever
 * remote_fd.c    open files: their numbers at the brick, opened again, with their locks, when the connection is back
 * remote_lock.c  POSIX locks that are held, for asking again
 * remote_told.c  what the brick tells without having been asked
 * remote_local.c files that the brick, being on this machine, lends for reading
 *
 * Invariants: `base.up` is true exactly while operations are sent: the handshake is done, files are open again and the
 * brick says that its storage works. A descriptor number is good only in the session (connection) that it is from.
 * Thread: the loop's.
 */
#pragma once

#include "rpc/client.h"
#include "rpc/tls_stream.h"
#include "volume/lock_list.h"
#include "volume/remote_local.h"
#include "volume/state.h"

#define REMOTE_IN_FLIGHT_MAX 256 /* requests at one brick without an answer, locks not counted: they wait for others   \
                                  */
#define REMOTE_PORT_MANAGEMENT 24007
#define REMOTE_INSTANCE_MAX 128

struct remote_options {
        const char *host, *path;              /* in `strings` */
        uint16_t port;                        /* 0: ask the management daemon */
        int family;                           /* AF_* of host names */
        uint64_t ping_timeout, frame_timeout; /* ns */
        bool send_gids, strict_locks, filter_direct, bind_insecure, local_reads;
        bool cache_invalidation; /* the brick is asked to tell what changes, where it understands that */
        bool chain; /* several operations in one message, where the brick understands that */
        bool tls;
        struct tls_settings tls_settings;
};

/* An open file at this brick; the slot of a vfile. */
struct remote_fd {
        struct remote *remote;
        struct remote_fd *next, **at; /* in remote->fds */
        struct gfid gfid;
        uint32_t flags;
        bool directory;
        unsigned refs;    /* the vfile's, and of who opens it again */
        bool released;    /* the vfile is gone */
        uint64_t session; /* that NUMBER is from; 0: none */
        int64_t number;
        int error;      /* it cannot be used any more: what is answered instead */
        uint64_t tried; /* the session in which it was last tried to open it again */
        struct fibre_mutex opening;
        struct held_locks locks; /* POSIX locks held through it */
        bool lock_asked; /* a POSIX lock was asked for through it: the brick may have one */
        bool carried;   /* the graph was replaced above it: the next who opens it finds it open */
        struct remote_loan loan;
};

/* Waits for its turn. */
struct remote_turn {
        struct fibre_event event;
        struct remote_turn *next;
};

struct remote {
        struct subvolume base;
        const struct volfile_section *section;
        struct arena strings; /* its names: they outlive the volfile it was built from */
        struct remote_options options;
        struct tls_source tls;
        bool patient; /* operations wait through an outage: nobody above could do without this brick */

        struct rpc_client *client; /* during the handshake too; NULL: none */
        uint64_t session;          /* counts connections whose handshake succeeded */
        bool storage_up;                    /* as the brick said */
        bool chains;                        /* it understands them */
        bool index_watched, index_pending;  /* it tells about its index of pending work, and what it told last */
        unsigned index_told;                /* how often */
        uint32_t watch_seconds;             /* after an answer it tells for so long what changes; 0: it does not */
        bool replicated;                    /* others have the same data, and may be changed without it */
        bool settled;                       /* descriptors are open again */
        char instance[REMOTE_INSTANCE_MAX]; /* what the brick's process calls itself */
        uint64_t instances;                 /* how many it has had */
        char volume_id[GFID_TEXT_LEN + 1];
        struct error reason; /* why it is not connected */
        bool refused;        /* the brick does not want this client, and will not */

        bool running, closing;     /* the fibre that connects */
        struct fibre_event *pause; /* that it waits for */

        struct remote_fd *fds;
        struct remote_local local;
        unsigned in_flight;
        struct remote_turn *turns, **turns_tail;
};

static inline struct remote *remote_of(struct subvolume *v)
{
        return CONTAINER_OF(v, struct remote, base);
}

/* ---- remote.c: for volume.c ------------------------------------------------------------------------------------ */

/* Begins to connect. -EAGAIN, -ENOMEM: no fibre. */
int remote_start(struct subvolume *v);
/* Disconnects, and waits until the fibre that connects has ended. */
void remote_stop(struct fibre *self, struct subvolume *v);
/* A sentence: why it is not connected. */
const char *remote_reason(const struct subvolume *v);
/* It is connected, or an attempt has failed. */
bool remote_tried(const struct subvolume *v);
bool remote_refused(const struct subvolume *v);
/* Whether V, which is connected or tries to be, is the brick of SECTION. */
bool remote_is_at(const struct subvolume *v, const struct volfile_section *section);
/* V is in its place in another graph: SECTION lives as long as that, and all layers above are known. Open files are carried.
 * A fresh one, too. */
void remote_settle_in(struct subvolume *v, const struct volfile_section *section);

/* ---- remote_call.c --------------------------------------------------------------------------------------------- */

/* The operation FOP as subvolume_ops have it. */
int remote_call(struct fibre *self, struct remote *m, enum fop fop, struct request *r, const void *req, void *rep);

/* One call of the fop program on the present connection: 0 and REP is filled, or -errno. *CANCELLED becoming true ends
 * the waiting with -EINTR; NULL: it does not end. */
int remote_send(struct fibre *self, struct remote *m, enum fop fop, const struct rpc_cred *cred, const void *req,
                void *rep, struct arena *arena, const bool *cancelled);
/* Whether the answer to a call that failed so may still be on its way: its outcome is not known. */
bool remote_was_lost(int error);

/* Parts of it, for remote_chain.c. A place among the requests under way: */
void remote_turn_take(struct fibre *self, struct remote *m);
void remote_turn_give(struct remote *m);
/* FOP may wait at the brick for other requests, and takes no such place. */
bool remote_fop_waits(enum fop fop);
/* The brick can be used: 0. Else -ENOTCONN, at once or after DEADLINE; -EINTR. */
int remote_wait(struct fibre *self, struct remote *m, const struct request *r, uint64_t deadline);
/* The caller as the brick is to see it. ROOM is for a changed copy. */
const struct rpc_cred *remote_cred(const struct remote *m, const struct rpc_cred *cred, struct rpc_cred *room);
/* REQ, a copy, as it is sent: flags, and the number of the request's file. -errno. */
int remote_prepare(struct fibre *self, struct remote *m, enum fop fop, const struct request *r, void *req);
/* What an answer that says success means for this layer: descriptors, locks, offsets. SESSION: in which it was sent. */
void remote_answered(struct remote *m, enum fop fop, struct request *r, const void *req, void *rep, uint64_t session);
/* What REP says: op_ret of reads and writes, 0, or -errno. */
int remote_result(enum fop fop, const void *rep);

/* ---- remote_chain.c -------------------------------------------------------------------------------------------- */

/* ops->chain. */
void remote_chain(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n);

/* ---- remote_settle.c ------------------------------------------------------------------------------------------- */

/* REQ was sent to a process that is gone, and not answered. *RET_AGAIN: it is to be sent again, as REQ is now. Else the
 * result, with REP; -ENOTCONN: it cannot be known. */
int remote_settle(struct fibre *self, struct remote *m, enum fop fop, struct request *r, void *req, void *rep,
                  bool *ret_again);

/* ---- remote_link.c --------------------------------------------------------------------------------------------- */

/* The fibre: connects, and connects again, until `closing`. */
void remote_run(struct fibre *self, void *arg);
/* Ends the connection; it is made again at once, or after a pause. */
void remote_disconnect(struct remote *m, int error);
void remote_update_up(struct remote *m);
/* Tells the volume's owner whether the brick tells what changes: not while its index has entries, for what a copy missed
 * it did not tell. */
void remote_update_tells(struct remote *m);
/* Tells the layers above what the brick told last about its index of pending work, if it tells at all. */
void remote_tell_index(struct remote *m);
/* Ends the pause of the fibre that connects. */
void remote_wake(struct remote *m);

/* ---- remote_fd.c ----------------------------------------------------------------------------------------------- */

/* F (NULL: nobody's) was opened at the brick with FLAGS as NUMBER in SESSION. What nobody remembers is given back. */
void remote_fd_opened(struct remote *m, struct vfile *f, const struct gfid *gfid, uint32_t flags, int64_t number,
                      uint64_t session);
/* F's number now; opens it again if it is from an earlier session. FD_ANONYMOUS: it is not open there. -errno. */
int remote_fd_number(struct fibre *self, struct remote *m, struct vfile *f, int64_t *ret);
/* Whether REQ asks to open what is open already, and was so before the graph was replaced: there is nothing to do. */
bool remote_fd_is_carried(struct remote *m, enum fop fop, const struct request *r, const void *req);
/* ops->release. */
void remote_fd_release(struct subvolume *v, struct vfile *f, void *slot);
/* Opens all again, with their locks. -ENOTCONN: the connection was lost meanwhile. */
int remote_fds_reopen(struct fibre *self, struct remote *m);

/* ---- remote_lock.c --------------------------------------------------------------------------------------------- */

/* A lock is about to be asked for through F. */
void remote_lock_asked(const struct remote *m, struct vfile *f);
/* The owner of CRED has the lock REQ asked for, or (unlocking) may have it no more. F is REQ's file. */
void remote_lock_changed(struct remote *m, struct vfile *f, const struct rpc_cred *cred, const struct lk_fop_req *req);
/* All locks of an owner were given back, as FLUSH does. */
void remote_locks_flushed(struct remote *m, struct vfile *f, const struct rpc_cred *cred);
/* Whether FLUSH of R's file would do nothing at the brick, which is one of ours: nobody has ever asked for a POSIX lock
 * through an open file of the object, and the descriptor is of this connection. */
bool remote_flush_is_empty(const struct remote *m, const struct request *r);
void remote_locks_forget(struct remote_fd *fd);
/* Asks for FD's locks again. -errno: somebody else has one; FD is of no use any more. -ENOTCONN: the connection is
 * lost. */
int remote_locks_regain(struct fibre *self, struct remote *m, struct remote_fd *fd);

/* Breaks off a lock request that waits at the brick when its caller gives up. */
struct remote_interrupt {
        struct remote *remote;
        struct request *request;
        const struct lk_fop_req *req; /* with the number of the descriptor */
        struct fibre_event over;
        struct fibre_group group;
};
void remote_interrupt_begin(struct fibre *self, struct remote_interrupt *i);
void remote_interrupt_end(struct fibre *self, struct remote_interrupt *i);

/* ---- remote_told.c --------------------------------------------------------------------------------------------- */

void remote_told(struct remote *m, const struct rpc_call *call);
