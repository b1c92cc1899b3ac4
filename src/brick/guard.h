/* Calls that wait for locks without being lock requests: they are parked and served again (spec: brick.md §13.5, §13.7).
 *
 * A handler that must wait gives up everything it holds and returns OP_PARKED; a copy of the call waits in the object's
 * lock table, without a thread, until the locks in its way are gone. Then it is served again from the beginning: what
 * it finds may be different by then. It is forgotten when its client goes.
 */
#pragma once

#include "brick/internal.h"

struct lock_table;

/* A removal in progress. */
struct removal {
        struct inode *inode; /* referenced; NULL: nothing is to be ended */
        struct lock_table *table;
};

/* Before the last step of unlink, rmdir and rename: VICTIM (may be NULL) loses a name. While another client holds an inode
 * lock on it, the call is parked and the holders are told: OP_PARKED. 0: go on, and call removal_end() when it is done;
 * meanwhile no further client is granted an inode lock. -ENOMEM, -ENOLCK (too many calls of this client wait). */
int removal_begin(struct op *op, struct inode *victim, struct removal *ret);
void removal_end(struct op *op, struct removal *r);

/* ---- calls that wait ---- */

/* Embedded first by what waits: a call (lock_park.c), the rest of a chain (chain.c). */
struct parked_call {
        void (*serve)(struct parked_call *p, struct arena *arena); /* goes on; frees it */
        void (*forget)(struct parked_call *p);                     /* frees it */
};
