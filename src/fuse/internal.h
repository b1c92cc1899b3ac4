/* What the parts of the layer share: the session's state, a request with what the layer keeps of it.
 *
 * Who does what: session.c reads and starts requests, init.c negotiates, operation.c decodes, reply.c and directory.c
 * answer, notify.c writes notifications, groups.c asks /proc, uring.c is the other way between kernel and session.
 */
#pragma once

#include "fuse/fuse.h"
#include "fuse/uring.h"

#include <stdatomic.h>

#define FUSE_LANES 4           /* notification threads */
#define FUSE_CALL_BUCKETS 1024 /* of requests under way, by their unique number */
#define FUSE_EARLY_MAX 64      /* interrupts whose request was not there */
#define FUSE_OPCODES 64        /* counters by opcode */

/* ---- operations (operation.c) --------------------------------------------------------------------------------- */

enum operation_names { NAMES_NONE, NAMES_NAME, NAMES_DOTS, NAMES_NAMES, NAMES_LINK, NAMES_WORD };
enum operation_data { DATA_NONE, DATA_VALUE, DATA_REST };

struct operation {
        const char *name;  /* "GETATTR" */
        const char *fibre; /* "fuse GETATTR": what a stall report says */
        uint32_t opcode;
        uint16_t fixed; /* bytes of the fixed part */
        uint8_t minor;
        enum operation_names names;
        enum operation_data data;
        int missing;     /* positive errno */
        uint16_t member; /* offset in struct fuse_ops */
};

typedef void (*operation_fn)(struct fibre *self, struct fuse_request *rq);

/* NULL: not in the table. */
const struct operation *operation_find(uint32_t opcode);
/* The file system's function for it, or NULL. */
operation_fn operation_function(const struct operation *op, const struct fuse_ops *ops);
/* Sets in, names and data of RQ from the N bytes behind the header, which stay where they are and are aligned for any
 * type. FLAGS: of the protocol. -EINVAL: malformed; -ENAMETOOLONG; -ENOMEM. */
int operation_decode(const struct operation *op, uint64_t flags, const uint8_t *body, size_t n,
                     struct fuse_request *rq);

/* ---- a request under way -------------------------------------------------------------------------------------- */

struct fuse_call {
        struct fuse_request rq; /* what the file system sees */
        const struct operation *op;
        operation_fn fn;
        struct arena arena;
        uint8_t *large;   /* the read buffer it lies in; NULL: in the arena */
        size_t reply_max; /* payload that the kernel has room for */
        bool waiting;     /* SETLKW: counted apart */
        bool replied;
        struct fuse_call *hash_next;
        struct fuse_call *next; /* in the pool */
};

/* ---- the session ---------------------------------------------------------------------------------------------- */

struct notify_lane;
struct groups_entry;

struct fuse_session {
        struct fuse_session_config config; /* defaults filled in */
        struct loop *loop;
        int fd;
        struct stream *device; /* NULL once reading has ended */
        bool initialised, ended, closing, paused;
        struct uring *uring; /* NULL: everything goes by the device */
        struct fuse_protocol protocol;
        unsigned batch, batch_single; /* messages to take per turn; turns that took one */

        size_t buffer_size; /* of a read buffer, with the room in front */
        uint8_t *buffer;    /* the one that is read into */
        uint8_t *spare[8];  /* empty ones */
        unsigned n_spare;
        struct timer trim; /* frees the spare ones when no large request has come for a while */

        struct fuse_call *calls[FUSE_CALL_BUCKETS];
        struct fuse_call *pool;
        unsigned n_pool;
        struct fibre_event idle; /* closing, and the last request is done */

        struct early_interrupt {
                uint64_t unique, target; /* the INTERRUPT's own number, its request's; target 0: free */
                unsigned patience;       /* requests to be read before the kernel is told to try again */
        } early[FUSE_EARLY_MAX];
        unsigned n_early;

        struct groups_entry *groups;
        struct notify_lane *lanes[FUSE_LANES]; /* NULL: no notification yet */
        /* Written by the lanes' threads. */
        atomic_uint notify_queued;
        atomic_ullong notify_done, notify_failed;

        uint64_t notify_dropped;
        struct fuse_stats stats;
        uint64_t counts[FUSE_OPCODES];
};

/* ---- session.c ------------------------------------------------------------------------------------------------ */
void session_end(struct fuse_session *s, int reason);
/* Whether another request may be taken. False: reading stops until there is room. */
bool session_has_room(struct fuse_session *s);
/* Where a message is put such that data behind its first FRONT bytes begins on a page; then it is dealt with. */
uint8_t *session_message_place(struct fuse_session *s, size_t front);
void session_message(struct fuse_session *s, const uint8_t *message, size_t n);

/* ---- init.c --------------------------------------------------------------------------------------------------- */
/* Fills CONFIG's defaults. -EINVAL. */
int init_configure(struct fuse_session_config *config);
/* Answers the kernel's INIT (UNIQUE, N bytes of BODY). 1: agreed; 0: another INIT will follow; -EPROTO. */
int init_negotiate(struct fuse_session *s, uint64_t unique, const uint8_t *body, size_t n);

/* ---- reply.c -------------------------------------------------------------------------------------------------- */
/* Writes an answer without a request's bookkeeping. ERROR: 0 or negative errno, as the kernel may see it. */
int reply_write(struct fuse_session *s, uint64_t unique, int error, const void *payload, size_t n);
/* Answers a request that never reached the file system. */
void reply_refuse(struct fuse_session *s, uint64_t unique, int error);
/* What the kernel has room for in the answer to RQ. */
size_t reply_room(const struct fuse_request *rq);
void entry_encode(const struct fuse_entry *e, struct fuse_entry_out *ret);
static inline struct fuse_call *call_of(const struct fuse_request *rq)
{
        return CONTAINER_OF(rq, struct fuse_call, rq);
}

/* ---- notify.c ------------------------------------------------------------------------------------------------- */
/* Waits for the threads to finish; what is queued is dropped. */
void notify_stop(struct fibre *self, struct fuse_session *s);

/* ---- groups.c ------------------------------------------------------------------------------------------------- */
void groups_free(struct fuse_session *s);
