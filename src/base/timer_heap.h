/* Timers ordered by (due, start order): an intrusive pairing heap, so that starting one cannot fail.
 *
 * For implementations of struct loop. Start and next: O(1); stop: O(log n) amortised. Not thread safe.
 */
#pragma once

#include "base/loop.h"

struct timer_heap {
        struct timer *root;
        uint64_t last_seq; /* given to the most recent timer_heap_add */
};

/* Adds T (not in any heap) with its `due`; sets its `seq`. */
void timer_heap_add(struct timer_heap *h, struct timer *t);
/* Takes T, which is in H, out of it. */
void timer_heap_remove(struct timer_heap *h, struct timer *t);
/* The timer that is due first, still in H; NULL when H is empty. */
static inline struct timer *timer_heap_first(const struct timer_heap *h)
{
        return h->root;
}
/* Leaves every timer of H idle. */
void timer_heap_clear(struct timer_heap *h);
