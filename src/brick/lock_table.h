/* Locks of objects, connections and calls that wait: what lock.c, lock_admin.c, lock_park.c and mandatory.c share.
 *
 *   lock_table    one per object that ever had a lock: mutex, set, holds, parked calls; freed with the inode
 *   lock_session  one per session that ever asked: its holds, and how many messages are on their way to it
 *   lock_hold     a session on a table while it has a lock or a parked call there; keeps a reference to the inode
 *   lock_step     one change of one object's locks: between begin and end the table is locked; what has to be sent is
 *                 collected meanwhile and goes out after the table is unlocked
 *
 * Whoever waits is answered by the thread whose step lets it go. Each message pins its session, and the end of a
 * session waits for the pins, so `send` and `resume` are never called on a closed session; neither blocks.
 * Order: table mutex < lock_session mutex < inode table; a brick's session list comes before all of them. Tables are
 * locked under entry locks, never under inode.lock.
 */
#pragma once

#include "brick/internal.h"
#include "brick/lock_set.h"

#define LOCKS_PER_SESSION 65536            /* held and waited for, on all objects */
#define LOCK_WAITS_PER_SESSION 16384       /* waited for, calls that are parked included */
#define PARKED_BYTES_PER_SESSION (8 * MIB) /* of calls that are parked */

struct parked_call;
struct parked_fop;

struct lock_hold {
        struct lock_client client; /* first: the set knows a hold by this */
        struct lock_session *session;
        struct lock_table *table;
        struct inode *inode; /* referenced */
        uint32_t parked;     /* calls in the table's list */
        bool released;       /* under the session's mutex: the end of the session has come by */
        struct lock_hold *table_prev, *table_next;
        struct lock_hold *session_prev, *session_next;
};

struct lock_table {
        pthread_mutex_t mutex;
        struct lock_set set;
        struct lock_hold *holds;
        struct parked_fop *parked, **parked_tail; /* oldest first */
};

struct lock_session {
        struct session *session;
        struct lock_totals totals;
        atomic_uint callback_xid;
        atomic_size_t parked_bytes;
        pthread_mutex_t mutex;
        pthread_cond_t unpinned;
        uint32_t pins;
        struct lock_hold *holds;
};

/* The existing table, or NULL. */
static inline struct lock_table *lock_table_of(struct inode *i)
{
        return atomic_load(&i->locks);
}
/* Found or made. NULL: no memory. */
struct lock_table *lock_table_get(struct inode *i);
struct lock_session *lock_session_get(struct session *s);

/* Under the table's mutex. NULL: the session has nothing there. */
struct lock_hold *lock_hold_find(struct lock_table *t, const struct lock_session *ls);
/* Found or made; an empty one goes at the end of the step. NULL: no memory. */
struct lock_hold *lock_hold_get(struct lock_table *t, struct lock_session *ls, struct inode *inode);

/* ---- one change -------------------------------------------------------------------------------------------------- */

/* A message on its way, or the answer of a call in case it has to wait (cookie of its lock). */
struct delivery {
        struct delivery *next;
        struct lock_session *to; /* pinned while in a step */
        enum { DELIVER_ANSWER, DELIVER_CALLBACK, DELIVER_RESUME } kind;
        struct parked parked;
        int error;
        struct flock_range flock;   /* of an answer to LK */
        struct buf record;          /* a callback */
        struct parked_call *resume; /* a call to serve again; of an answer: the rest of its chain, instead of it */
        uint8_t owner[];
};
/* The answer to OP; FLOCK (may be NULL) is copied. NULL: no memory. */
struct delivery *delivery_new_answer(struct op *op, const struct flock_range *flock);
struct delivery *delivery_free(struct delivery *d);
DEFINE_CLEANUP(struct delivery *, delivery_free)

struct lock_step {
        struct brick *brick;
        struct inode *inode; /* the caller's reference */
        struct lock_table *table;
        struct lock_events ev;
        const struct lock_session *silent; /* is being closed: gets nothing */
        bool urgent;                       /* holders are told of contention even if they were lately */
        struct delivery *head, **tail;
};

/* T is the table of INODE. Locks it. */
void lock_step_begin(struct lock_step *st, struct brick *b, struct inode *inode, struct lock_table *t);
/* Lets parked calls go that may, frees empty holds, unlocks, sends. */
void lock_step_end(struct lock_step *st);
/* D goes to TO when the step ends; it is freed then. */
void lock_step_add(struct lock_step *st, struct lock_session *to, struct delivery *d);

/* ---- calls that wait (lock_park.c) ------------------------------------------------------------------------------- */

/* Under the table's mutex, at the end of a step. */
void park_scan(struct lock_step *st);
/* The session of H ends: what it has parked here goes, except calls that are just being handed to it. */
void park_hold_gone(struct lock_step *st, struct lock_hold *h);
