/* A sub-volume: a brick, a replica set, a distribute layer or the whole volume, as whoever is above sees it.
 *
 * Every layer of the client is a `struct subvolume` with one function per file operation. The functions take the
 * protocol's own structures (proto/fop.h), so the layer that speaks to a brick only sends what it is given, and a layer
 * above changes a request or merges answers field by field. An operation is one function that a reader follows from top to
 * bottom; where it needs several bricks it uses subvolume_fan_out().
 *
 * What the structures do not say is in `struct request`: who asks, and which objects of this client are meant. Layers keep
 * what they know about an object in the inode, in a slot of their own (vnode.h).
 *
 * Results: >= 0 the operation's op_ret (bytes of a read or write, else 0), or -errno. An answer that came from a brick
 * fills REP also when it says failure (its xdata may matter); without any answer REP is zeroed. Slices in REP live in the
 * request's arena. The remote descriptor in fd requests is filled in by the lowest layer: others leave it alone.
 *
 * Thread: the loop's. Everything that takes SELF may wait.
 */
#pragma once

#include "base/fibre.h"
#include "proto/fop.h"
#include "rpc/header.h"

struct error;
struct subvolume;
struct volfile_section;
struct volume;
struct vnode;
struct vfile;

/* One operation on its way down. Layers that act on their own behalf copy it and change the copy. */
struct request {
        struct rpc_cred cred; /* who asks; lock owner; which times change */
        struct arena *arena;  /* answers live here */
        /* The objects: `inode` is what the operation is about: the one found, made, removed, renamed, linked. A new object
         * has an inode with its gfid chosen and not yet in the table. `parent` is the directory of its name. RENAME and
         * LINK: `new_parent` that of the new name, RENAME: `new_inode` what has that name (NULL: nothing). */
        struct vnode *inode, *parent, *new_inode, *new_parent;
        struct vfile *file;           /* operations on open files and directories */
        struct fibre_event *cancel;  /* set: the caller gave up, -EINTR wherever nothing was changed. NULL: never */
        const bool *give_up;         /* true: the same, for another reason than the caller's. NULL: never */
};

/* The operations of a client, of those in FOPS (proto/fop.h). */
#define SUBVOLUME_FOPS(X)                                                                                              \
        X(LOOKUP, lookup) X(STAT, stat) X(FSTAT, fstat) X(ACCESS, access) X(READLINK, readlink)                        \
        X(MKNOD, mknod) X(MKDIR, mkdir) X(SYMLINK, symlink) X(CREATE, create) X(LINK, link)                            \
        X(UNLINK, unlink) X(RMDIR, rmdir) X(RENAME, rename)                                                            \
        X(OPEN, open) X(OPENDIR, opendir) X(READ, read) X(WRITE, write) X(FLUSH, flush) X(FSYNC, fsync)                \
        X(FSYNCDIR, fsyncdir) X(READDIR, readdir) X(READDIRP, readdirp) X(STATFS, statfs)                              \
        X(TRUNCATE, truncate) X(FTRUNCATE, ftruncate) X(FALLOCATE, fallocate) X(DISCARD, discard)                      \
        X(ZEROFILL, zerofill) X(SEEK, seek) X(RCHECKSUM, rchecksum)                                                    \
        X(SETATTR, setattr) X(FSETATTR, fsetattr)                                                                      \
        X(GETXATTR, getxattr) X(FGETXATTR, fgetxattr) X(SETXATTR, setxattr) X(FSETXATTR, fsetxattr)                    \
        X(REMOVEXATTR, removexattr) X(FREMOVEXATTR, fremovexattr) X(XATTROP, xattrop) X(FXATTROP, fxattrop)            \
        X(LK, lk) X(INODELK, inodelk) X(FINODELK, finodelk) X(ENTRYLK, entrylk) X(FENTRYLK, fentrylk)

/* ---- events from below --------------------------------------------------------------------------------------------- */

enum subvolume_event_kind {
        SUBVOLUME_UP,       /* the child can be used (again): descriptors are open there again */
        SUBVOLUME_DOWN,     /* it cannot: what was cached from it is to be dropped or time-boxed */
        SUBVOLUME_INVALIDATE, /* a brick says that an object changed by another client (wire.md §7) */
        SUBVOLUME_INODELK_CONTENTION, /* somebody waits for an inode lock of ours */
        SUBVOLUME_ENTRYLK_CONTENTION,
        SUBVOLUME_BRICK_UP, /* one of them; told to the volume's owner past the layers, which may still be up without it */
        SUBVOLUME_BRICK_DOWN,
        SUBVOLUME_BRICK_TELLS, /* `tells` of one has changed; told like BRICK_UP */
        SUBVOLUME_INDEX, /* a brick that tells says whether its index of pending work has entries (flags 1) or none (0) */
};
struct subvolume_event {
        enum subvolume_event_kind kind;
        struct gfid gfid;    /* of those that are about an object */
        uint32_t flags;      /* INVALIDATE: what changed, as in the callback */
        const struct iatt *stat; /* INVALIDATE: attributes, or NULL */
        struct str domain;   /* contention; in the record of the event */
        struct str name;     /* entry lock contention */
};

/* ---- chains -------------------------------------------------------------------------------------------------------- */

/* One operation of a chain. */
struct chain_step {
        enum fop fop;
        struct request *request; /* each has its own: who asks may differ from one to the next */
        const void *req;
        void *rep;
        int result; /* as of the operation alone; -ECANCELED: an earlier one failed, this one was not performed. All of a
                     * chain -ENOTCONN: the answer was lost, and what was performed is not known */
};
/* Several operations on V, one after the other, until one fails. To a brick that understands it they go as one message
 * (docs/formats/chain.md), to others one by one: what is done and answered is the same. An operation must not be in one
 * chain with the lock that protects it: it may only be sent once the quorum has the lock. A null gfid in a request
 * after a LOOKUP means what that found. */
void subvolume_chain(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n);
/* The same as so many operations. */
void subvolume_chain_one_by_one(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n);

/* ---- a layer ------------------------------------------------------------------------------------------------------- */

struct subvolume_ops {
#define SUBVOLUME_OP_(NAME, name)                                                                                      \
        int (*name)(struct fibre * self, struct subvolume * v, struct request * r, const struct name##_fop_req *req,   \
                    struct name##_fop_rep *rep);
        SUBVOLUME_FOPS(SUBVOLUME_OP_)
        /* The same for several, as subvolume_chain() says. NULL: one by one. */
        void (*chain)(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n);
        /* CHILD tells something. A layer that does not have this function passes it up. */
        void (*on_event)(struct subvolume *v, struct subvolume *child, const struct subvolume_event *e);
        /* The last reference to an inode or file with a slot of V is gone. May start fibres, must not wait. NULL: nothing
         * is kept. */
        void (*forget)(struct subvolume *v, struct vnode *i, void *slot);
        void (*release)(struct subvolume *v, struct vfile *f, void *slot);
        /* Finishes what is under way (delayed post-ops) before the graph goes. NULL: nothing. */
        void (*drain)(struct fibre *self, struct subvolume *v);
        /* The options of its section have changed: 0, or -EOPNOTSUPP with a sentence when that takes a new graph; then
         * nothing was changed. SECTION does not outlive the call. NULL: every change takes effect with the next mount. */
        int (*reconfigure)(struct subvolume *v, const struct volfile_section *section, struct error *err);
        void (*free)(struct subvolume *v);
};

/* Implementations embed it first. */
struct subvolume {
        const struct subvolume_ops *ops;
        const char *name; /* of its section: it is on disk in linkto files and lock domains */
        struct volume *volume;
        struct subvolume *parent; /* NULL at the top */
        struct subvolume **children;
        unsigned n_children;
        unsigned slot;                 /* number in the graph: index of its slots in inodes and files */
        unsigned leaf_first, n_leaves; /* protocol clients below it, in volfile order (distribute.md §9) */
        bool near;                     /* a brick on this machine, which lends its files for reading */
        bool up;                       /* it can serve: its layer decides (a brick: connected; a replica set: quorum) */
        bool chains;                   /* a chain is one message here, as long as it is up */
        uint32_t tells;                /* a brick: for so many seconds after an answer it tells what changes; 0: not */
        uint32_t generation;           /* grows with every change of a child's state */
};

/* An operation on V. */
#define SUBVOLUME_CALL_(NAME, name)                                                                                    \
        static inline int subvolume_##name(struct fibre *self, struct subvolume *v, struct request *r,                 \
                                           const struct name##_fop_req *req, struct name##_fop_rep *rep)               \
        {                                                                                                              \
                return v->ops->name(self, v, r, req, rep);                                                             \
        }
SUBVOLUME_FOPS(SUBVOLUME_CALL_)

/* The same by number: REQ and REP are the operation's structures. */
int subvolume_call(struct fibre *self, struct subvolume *v, enum fop fop, struct request *r, const void *req, void *rep);

/* Tells V's parent; at the top the volume's owner. */
void subvolume_tell(struct subvolume *v, const struct subvolume_event *e);
/* V, a brick, tells for SECONDS after an answer what others change; its volume's owner hears if that is news. */
void subvolume_set_tells(struct subvolume *v, uint32_t seconds);
/* Sets `up` and tells, if it changes anything. */
void subvolume_set_up(struct subvolume *v, bool up);

/* ---- several at once ------------------------------------------------------------------------------------------------ */

/* One answer of a fan-out. */
struct fan {
        struct subvolume *child;
        const void *req;
        void *rep;
        int result;
        bool done;
};
/* The same operation on N children in parallel, each with its own request and place for the answer; returns when all have
 * answered. One child is called directly. Failure to start a fibre is that child's -ENOMEM. */
void subvolume_fan_out(struct fibre *self, enum fop fop, struct request *r, struct fan *fans, unsigned n);

/* One chain of a fan-out. */
struct chain {
        struct subvolume *child;
        struct chain_step *steps;
        unsigned n;
};
/* N chains in parallel, each on its child; returns when all are done. Failure to start a fibre is the -ENOMEM of that
 * chain's first step. */
void subvolume_chain_fan_out(struct fibre *self, struct chain *chains, unsigned n);

/* The operation that a function gets by its name: `return fop_failed(rep, -EIO)` keeps REP and result in step. */
#define fop_failed(rep, error)                                                                                         \
        ({                                                                                                             \
                int fop_error_ = (error);                                                                              \
                (rep)->op_ret = -1;                                                                                    \
                (rep)->op_errno = -fop_error_;                                                                         \
                fop_error_;                                                                                            \
        })
