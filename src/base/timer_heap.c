/* The pairing heap of timers (timer_heap.h), and timer_start/timer_stop of base/loop.h on top of the loop's own heap.
 *
 * Shape: a node's children form a list through `next`; `prev` is the previous child, or the parent for the first child.
 * The root has neither. Invariant: a node is not before its parent. Runs on the loop's thread.
 */
#include "base/timer_heap.h"

static bool timer_before(const struct timer *a, const struct timer *b)
{
        return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

/* Joins two roots (either may be NULL): the later one becomes the first child of the earlier one. */
static struct timer *timer_join(struct timer *a, struct timer *b)
{
        if (!a || !b)
                return a ? a : b;
        if (timer_before(b, a)) {
                struct timer *swap = a;
                a = b;
                b = swap;
        }
        b->prev = a;
        b->next = a->child;
        if (b->next)
                b->next->prev = b;
        a->child = b;
        return a;
}

/* Makes one heap of a list of siblings: joins them in pairs, then the pairs from the last to the first. */
static struct timer *timer_join_list(struct timer *list)
{
        struct timer *pairs = NULL;
        while (list) {
                struct timer *a = list;
                struct timer *b = a->next;
                list = b ? b->next : NULL;
                a->next = a->prev = NULL;
                if (b)
                        b->next = b->prev = NULL;
                a = timer_join(a, b);
                a->next = pairs;
                pairs = a;
        }

        struct timer *root = NULL;
        while (pairs) {
                struct timer *a = pairs;
                pairs = a->next;
                a->next = NULL;
                root = timer_join(root, a);
        }
        return root;
}

void timer_heap_add(struct timer_heap *h, struct timer *t)
{
        t->seq = ++h->last_seq;
        t->child = t->next = t->prev = NULL;
        h->root = timer_join(h->root, t);
}

void timer_heap_remove(struct timer_heap *h, struct timer *t)
{
        if (t == h->root) {
                h->root = timer_join_list(t->child);
        } else {
                if (t->prev->child == t)
                        t->prev->child = t->next;
                else
                        t->prev->next = t->next;
                if (t->next)
                        t->next->prev = t->prev;
                h->root = timer_join(h->root, timer_join_list(t->child));
        }
        t->child = t->next = t->prev = NULL;
}

void timer_heap_clear(struct timer_heap *h)
{
        while (h->root) {
                struct timer *t = h->root;
                timer_heap_remove(h, t);
                t->loop = NULL;
        }
}

void timer_start(struct loop *loop, struct timer *t, uint64_t delay, void (*fn)(struct timer *))
{
        timer_stop(t);
        uint64_t now = loop_now(loop);
        t->due = delay > UINT64_MAX - now ? UINT64_MAX : now + delay;
        t->fn = fn;
        t->loop = loop;
        loop->ops->timer_start(loop, t);
}

void timer_stop(struct timer *t)
{
        if (!t->loop)
                return;
        t->loop->ops->timer_stop(t->loop, t);
        t->loop = NULL;
}
