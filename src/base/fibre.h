/* Fibres: straight-line code that waits.
 *
 * A fibre is a stackful coroutine scheduled by one loop. A function that may suspend takes the running fibre as its first
 * parameter, so "this may wait here" is visible in every signature and there is no hidden current object.
 *
 * Stacks come from a pool, are FIBRE_STACK_SIZE bytes with a guard page below, and are reused. fibre_limit() bounds how
 * many exist. Switches: hand-written for x86-64 and aarch64 (fibre_switch_*.S), ucontext elsewhere or with
 * -Dportable_fibres=true; AddressSanitizer and ThreadSanitizer are told about each switch.
 *
 * Rules: no blocking system call on a fibre (the stall detector fails tests); no pthread lock held across a suspension.
 */
#pragma once

#include "base/loop.h"

/* AddressSanitizer puts red zones around every local variable: frames grow several times. */
#if defined(__SANITIZE_ADDRESS__)
#define FIBRE_STACK_SIZE (256 * KIB)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBRE_STACK_SIZE (256 * KIB)
#endif
#endif
#ifndef FIBRE_STACK_SIZE
#define FIBRE_STACK_SIZE (64 * KIB)
#endif
#define FIBRE_LIMIT_DEFAULT 16384

struct fibre;
typedef void (*fibre_fn)(struct fibre *self, void *arg);

/* Starts fn(self, arg) on LOOP after the current callback or fibre yields. NAME is kept by reference (logs, stalls).
 * -EAGAIN at the limit, -ENOMEM. */
int fibre_start(struct loop *loop, const char *name, fibre_fn fn, void *arg);

struct loop *fibre_loop(const struct fibre *self);
const char *fibre_name(const struct fibre *f);

/* Suspends until fibre_wake(). A wake that came earlier is not lost: the call returns at once. So a wake may belong to an
 * earlier wait: call this in a loop that looks at the condition, or use the waits below, which do. */
void fibre_suspend(struct fibre *self);
/* Makes F runnable. Same thread as its loop (use loop_post from others). Waking a runnable fibre is harmless. */
void fibre_wake(struct fibre *f);
/* Lets everything else that is runnable go first. */
void fibre_yield(struct fibre *self);
/* Sleeps DELAY ns of loop time. */
void fibre_sleep(struct fibre *self, uint64_t delay);

/* ---- waiting for a condition with a time limit -------------------------------------------------------------------- */

/* Embedded where something can happen once: a reply, a connection. Zero-initialised = not yet. */
struct fibre_event {
        bool done;
        struct fibre *waiter; /* at most one */
};
void fibre_event_set(struct fibre_event *e);
/* 0 when set, -ETIMEDOUT after TIMEOUT ns (UINT64_MAX: never). */
int fibre_event_wait(struct fibre *self, struct fibre_event *e, uint64_t timeout);

/* ---- fan-out ------------------------------------------------------------------------------------------------------ */

/* Counts running helpers; one waiter. Zero-initialised = empty. */
struct fibre_group {
        unsigned running;
        unsigned finished;
        unsigned wanted; /* finished count the waiter waits for */
        struct fibre *waiter;
};
/* Starts fn as a member of G. The group must outlive its members. */
int fibre_group_start(struct loop *loop, struct fibre_group *g, const char *name, fibre_fn fn, void *arg);
/* Waits until N members have finished in all (quorum) or none is running. */
void fibre_group_wait(struct fibre *self, struct fibre_group *g, unsigned n);
void fibre_group_wait_all(struct fibre *self, struct fibre_group *g);

/* ---- mutual exclusion between fibres of one loop, first come first served ------------------------------------------- */

struct fibre_mutex {
        struct fibre *holder;
        struct fibre *queue_head, *queue_tail; /* linked through the fibres */
};
void fibre_mutex_lock(struct fibre *self, struct fibre_mutex *m);
void fibre_mutex_unlock(struct fibre *self, struct fibre_mutex *m);

/* ---- limits and figures --------------------------------------------------------------------------------------------- */

struct fibre_stats {
        uint32_t live;
        uint32_t peak;
        uint32_t pooled;           /* stacks kept for reuse */
        uint64_t switches;
        size_t stack_high_water;   /* deepest use seen, bytes; measured when a stack is returned to the pool for the first
                                    * time and every 32nd time after, and then covers all its uses since */
};
void fibre_set_limit(struct loop *loop, uint32_t max_live);
void fibre_get_stats(const struct loop *loop, struct fibre_stats *ret);

/* ---- for implementations of struct loop ------------------------------------------------------------------------------ */

/* Runs every runnable fibre once; true if some fibre is still runnable. PICK chooses the next among N runnable ones
 * (NULL: first in, first out): the simulator's seeded order. */
bool fibre_run_ready(struct loop *loop, uint32_t (*pick)(void *arg, uint32_t n), void *arg);
/* True if a fibre of LOOP can run. */
bool fibre_any_ready(const struct loop *loop);
/* Frees all stacks. Fibres that never finished are an error of the program: logs and returns how many there were. Not
 * from a fibre of LOOP. */
unsigned fibre_set_free(struct loop *loop);
/* Takes the fibres off LOOP as a crash does: none of them ever runs again (the calling one, if any, up to its next
 * suspension), waking them does nothing. Returns them for fibre_set_discard(), NULL if there were none. */
struct fibre_set *fibre_set_abandon(struct loop *loop);
/* Frees what fibre_set_abandon() returned; nothing may refer to these fibres any more. Returns NULL. Under
 * AddressSanitizer the stacks are kept, so that what only they own does not count as leaked. */
struct fibre_set *fibre_set_discard(struct fibre_set *set);
