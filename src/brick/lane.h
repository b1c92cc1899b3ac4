/* Lanes: the threads that run a brick's requests (design: leader and followers).
 *
 * A lane is an epoll set with some connections of one brick and up to LANE_WORKERS threads. One of them, the leader,
 * waits, reads and runs a request to completion itself: no hand-over in the fast case. When a request takes longer than
 * about a millisecond, the watchdog makes a follower the leader, so everything else on the lane, also of the same
 * connection, goes on; the slow thread becomes a follower when it is done. Requests that are slow by nature hand over
 * before they start. With all threads busy the leader only reads, answers the small programs and queues calls.
 *
 * Threads are started when there is something to do and end after ten idle seconds; the control loop then watches the
 * epoll set itself. A lane without connections is freed at that point.
 */
#pragma once

#include "brick/server.h"

#define LANE_WORKERS 16

/* Control loop. -errno; the lane holds a reference to X. */
int lane_new(struct export *x, struct lane **ret);
/* Takes over the open-reference of C, which is in no other epoll set, and C->in with what was read. Control loop. */
int lane_add(struct lane *l, struct conn *c);
/* Tells the epoll set what C waits for (EPOLL… bits); KNOWN: it is in the set already. Under C->lock. */
int lane_watch(struct lane *l, struct conn *c, uint32_t events, bool known);
/* C, whose reference is taken over, has resumed calls. Control loop, while C was open. */
void lane_resume(struct lane *l, struct conn *c);
/* The brick closes: threads of L end as soon as they can. Control loop. */
void lane_stop(struct lane *l);
/* No request runs or waits for a thread; one that was just read may be missed. Any thread. */
bool lane_is_idle(struct lane *l);

/* ---- watchdog.c -------------------------------------------------------------------------------------------------- */

int watchdog_new(struct watchdog **ret);
struct watchdog *watchdog_free(struct watchdog *w);

/* Embedded in a lane: what it is doing, for the watchdog. */
struct watched {
        atomic_uint_fast64_t serving; /* (number << 1) | busy; written by the leader, and by who takes over from it */
        uint64_t seen;                /* by the watchdog at its last tick */
        struct watched *prev, *next;
        /* SERVING did not move for a whole tick: take over if it still is that. */
        void (*slow)(struct watched *w, uint64_t serving);
};
void watchdog_add(struct watchdog *w, struct watched *x);
void watchdog_remove(struct watchdog *w, struct watched *x);
/* Around a request; SERVING is what watched_begin() gave. watched_end() false: somebody took over meanwhile. */
uint64_t watched_begin(struct watchdog *w, struct watched *x);
bool watched_end(struct watched *x, uint64_t serving);
