/* Fibres: stacks, scheduling, waits.
 *
 * Each loop has one `struct fibre_set`: its scheduler. fibre_run_ready() is called by the loop from its own stack
 * ("main"), switches to each runnable fibre, and gets control back when that fibre suspends, yields or finishes. Fibres
 * never switch to each other directly.
 *
 * A stack is one mapping: guard pages, stack, and at its top the `struct fibre` itself. Finished fibres go to a pool
 * with their stack. Invariants: a fibre is on the ready list exactly while its state is FIBRE_READY; live fibres are on
 * the live list; `woken` remembers a wake until the suspension it ends. Everything runs on the thread of the loop.
 */
#include "base/fibre.h"
#include "base/fibre_context.h"
#include "base/log.h"

#include <assert.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBRE_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define FIBRE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBRE_ASAN 1
#elif __has_feature(thread_sanitizer)
#define FIBRE_TSAN 1
#endif
#endif

#ifdef FIBRE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef FIBRE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define FIBRE_GUARD_SIZE (16 * KIB) /* or one page, where pages are larger */
#define FIBRE_POOL_MAX 256
#define FIBRE_MEASURE_EVERY 32 /* uses of a stack between two measurements of its depth */

enum fibre_state { FIBRE_READY, FIBRE_RUNNING, FIBRE_SUSPENDED, FIBRE_FINISHED };

struct fibre {
        struct fibre_context context;
        struct fibre_set *set;
        const char *name;
        fibre_fn fn;
        void *arg;
        struct fibre_group *group; /* NULL: none */
        enum fibre_state state;
        bool woken;
        uint32_t uses;             /* of the stack */
        struct fibre *next, *prev; /* ready list; pool (next only) */
        struct fibre *live_next, *live_prev;
        struct fibre *queue_next; /* fibre_mutex */
        char *map;                /* start of the mapping */
        char *stack;              /* lowest usable byte; the stack ends below this struct */
#ifdef FIBRE_ASAN
        void *fake_stack;
#endif
#ifdef FIBRE_TSAN
        void *tsan;
#endif
};

struct fibre_list {
        struct fibre *head, *tail;
        uint32_t n;
};

struct fibre_set {
        struct loop *loop;
        struct fibre_context main;
        struct fibre *current; /* NULL: main runs */
        struct fibre_list ready;
        struct fibre_list batch; /* what the running fibre_run_ready() has still to run */
        struct fibre *live;
        struct fibre *pool;
        uint32_t limit;
        bool abandoned; /* fibre_set_abandon(): nothing of it runs again */
        struct fibre_stats stats;
#ifdef FIBRE_ASAN
        const void *main_stack;
        size_t main_stack_size;
#endif
#ifdef FIBRE_TSAN
        void *main_tsan;
#endif
};

/* ---- switching ----------------------------------------------------------------------------------------------------
 */

static size_t fibre_stack_size(const struct fibre *f)
{
        return (size_t)((const char *)f - f->stack);
}

/* From main to F, until F gives control back. */
static void fibre_enter(struct fibre_set *set, struct fibre *f)
{
        set->current = f;
        set->stats.switches++;
        f->state = FIBRE_RUNNING;
#ifdef FIBRE_ASAN
        void *fake_stack = NULL;
        __sanitizer_start_switch_fiber(&fake_stack, f->stack, fibre_stack_size(f));
#endif
#ifdef FIBRE_TSAN
        set->main_tsan = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(f->tsan, 0);
#endif
        fibre_context_switch(&set->main, &f->context);
#ifdef FIBRE_ASAN
        __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
        set->current = NULL;
}

/* From the running fibre SELF to main. Returns when main enters SELF again. */
static void fibre_leave(struct fibre *self)
{
        struct fibre_set *set = self->set;
#ifdef FIBRE_ASAN
        __sanitizer_start_switch_fiber(self->state == FIBRE_FINISHED ? NULL : &self->fake_stack, set->main_stack,
                                       set->main_stack_size);
#endif
#ifdef FIBRE_TSAN
        __tsan_switch_to_fiber(set->main_tsan, 0);
#endif
        fibre_context_switch(&self->context, &set->main);
#ifdef FIBRE_ASAN
        __sanitizer_finish_switch_fiber(self->fake_stack, &set->main_stack, &set->main_stack_size);
#endif
}

/* ---- lists --------------------------------------------------------------------------------------------------------
 */

static void list_append(struct fibre_list *list, struct fibre *f)
{
        f->next = NULL;
        f->prev = list->tail;
        if (list->tail)
                list->tail->next = f;
        else
                list->head = f;
        list->tail = f;
        list->n++;
}

static struct fibre *list_take(struct fibre_list *list, uint32_t index)
{
        struct fibre *f = list->head;
        while (index-- > 0)
                f = f->next;
        if (f->prev)
                f->prev->next = f->next;
        else
                list->head = f->next;
        if (f->next)
                f->next->prev = f->prev;
        else
                list->tail = f->prev;
        list->n--;
        return f;
}

static void fibre_make_ready(struct fibre *f)
{
        f->state = FIBRE_READY;
        list_append(&f->set->ready, f);
}

/* ---- stacks -------------------------------------------------------------------------------------------------------
 */

/* A new stack with its struct fibre; NULL without memory (or address space, or mappings). */
static struct fibre *fibre_map(void)
{
        size_t guard = MAX((size_t)FIBRE_GUARD_SIZE, (size_t)sysconf(_SC_PAGESIZE));
        char *map = mmap(NULL, guard + FIBRE_STACK_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED)
                return NULL;
        if (mprotect(map + guard, FIBRE_STACK_SIZE, PROT_READ | PROT_WRITE) < 0) {
                (void)munmap(map, guard + FIBRE_STACK_SIZE);
                return NULL;
        }
        size_t size = (sizeof(struct fibre) + 63) & ~(size_t)63;
        struct fibre *f = (struct fibre *)(void *)(map + guard + FIBRE_STACK_SIZE - size);
        f->map = map;
        f->stack = map + guard;
        return f;
}

static void fibre_unmap(struct fibre *f)
{
#ifdef FIBRE_ASAN
        __asan_unpoison_memory_region(f->stack, FIBRE_STACK_SIZE);
#endif
        (void)munmap(f->map, (size_t)(f->stack - f->map) + FIBRE_STACK_SIZE);
}

/* The deepest use of F's stack since it was mapped: whatever was written stays. */
#ifdef FIBRE_ASAN
__attribute__((no_sanitize_address))
#endif
static size_t
fibre_stack_depth(const struct fibre *f)
{
        const uint64_t *word = (const uint64_t *)(const void *)f->stack;
        const uint64_t *end = (const uint64_t *)(const void *)(f->stack + fibre_stack_size(f));
        while (word < end && *word == 0)
                word++;
        return (size_t)((const char *)end - (const char *)word);
}

/* Gives the stack of a finished fibre back. */
static void fibre_retire(struct fibre_set *set, struct fibre *f)
{
        if (f->live_prev)
                f->live_prev->live_next = f->live_next;
        else
                set->live = f->live_next;
        if (f->live_next)
                f->live_next->live_prev = f->live_prev;
        set->stats.live--;
#ifdef FIBRE_TSAN
        __tsan_destroy_fiber(f->tsan);
#endif
        if (f->uses++ % FIBRE_MEASURE_EVERY == 0)
                set->stats.stack_high_water = MAX(set->stats.stack_high_water, fibre_stack_depth(f));
        if (set->stats.pooled >= FIBRE_POOL_MAX) {
                fibre_unmap(f);
                return;
        }
#ifdef FIBRE_ASAN
        __asan_unpoison_memory_region(f->stack, fibre_stack_size(f));
#endif
        f->next = set->pool;
        set->pool = f;
        set->stats.pooled++;
}

/* A stack from the pool or a new one. */
static struct fibre *fibre_obtain(struct fibre_set *set)
{
        struct fibre *f = set->pool;
        if (!f)
                return fibre_map();
        set->pool = f->next;
        set->stats.pooled--;
        return f;
}

/* ---- the set ------------------------------------------------------------------------------------------------------
 */

static struct fibre_set *fibre_set_get(struct loop *loop)
{
        if (loop->fibres)
                return loop->fibres;
        struct fibre_set *set = calloc(1, sizeof *set);
        if (!set)
                return NULL;
        set->loop = loop;
        set->limit = FIBRE_LIMIT_DEFAULT;
        loop->fibres = set;
        return set;
}

bool fibre_any_ready(const struct loop *loop)
{
        return loop->fibres && loop->fibres->ready.n > 0;
}

bool fibre_run_ready(struct loop *loop, uint32_t (*pick)(void *arg, uint32_t n), void *arg)
{
        struct fibre_set *set = loop->fibres;
        if (!set || set->ready.n == 0)
                return false;
        assert(!set->current && set->batch.n == 0);
        set->batch = set->ready;
        set->ready = (struct fibre_list){0};
        while (set->batch.n > 0 && !set->abandoned) {
                struct fibre *f = list_take(&set->batch, pick ? pick(arg, set->batch.n) : 0);
                const char *name = f->name;
                fibre_enter(set, f);
                if (f->state == FIBRE_FINISHED)
                        fibre_retire(set, f);
                loop->ops->fibre_ran(loop, name);
        }
        return set->ready.n > 0 && !set->abandoned;
}

static void fibre_set_unmap(struct fibre_set *set)
{
        while (set->pool) {
                struct fibre *f = set->pool;
                set->pool = f->next;
                fibre_unmap(f);
        }
        while (set->live) {
                struct fibre *f = set->live;
                set->live = f->live_next;
#ifdef FIBRE_TSAN
                __tsan_destroy_fiber(f->tsan);
#endif
                fibre_unmap(f);
        }
        free(set);
}

unsigned fibre_set_free(struct loop *loop)
{
        struct fibre_set *set = TAKE_PTR(loop->fibres);
        if (!set)
                return 0;
        assert(!set->current);
        unsigned unfinished = set->stats.live;
        if (unfinished > 0)
                log_error("loop", "%u fibres had not finished when their loop was freed, one of them is '%s'",
                          unfinished, set->live->name);
        fibre_set_unmap(set);
        return unfinished;
}

struct fibre_set *fibre_set_abandon(struct loop *loop)
{
        struct fibre_set *set = TAKE_PTR(loop->fibres);
        if (set)
                set->abandoned = true;
        return set;
}

struct fibre_set *fibre_set_discard(struct fibre_set *set)
{
        if (!set)
                return NULL;
        assert(!set->current);
#ifdef FIBRE_ASAN
        for (struct fibre *f = set->live; f; f = f->live_next) {
                __asan_unpoison_memory_region(f->stack, FIBRE_STACK_SIZE);
                __lsan_register_root_region(f->stack, FIBRE_STACK_SIZE);
        }
        set->live = NULL;
#endif
        fibre_set_unmap(set);
        return NULL;
}

void fibre_set_limit(struct loop *loop, uint32_t max_live)
{
        struct fibre_set *set = fibre_set_get(loop);
        if (set)
                set->limit = max_live;
}

void fibre_get_stats(const struct loop *loop, struct fibre_stats *ret)
{
        *ret = loop->fibres ? loop->fibres->stats : (struct fibre_stats){0};
}

/* ---- one fibre ----------------------------------------------------------------------------------------------------
 */

static void fibre_group_leave(struct fibre_group *g);

/* The whole life of a fibre, on its own stack. */
static void fibre_main(void *arg)
{
        struct fibre *self = arg;
#ifdef FIBRE_ASAN
        __sanitizer_finish_switch_fiber(NULL, &self->set->main_stack, &self->set->main_stack_size);
#endif
        self->fn(self, self->arg);
        if (self->group)
                fibre_group_leave(self->group);
        self->state = FIBRE_FINISHED;
        fibre_leave(self);
        abort(); /* nobody enters a finished fibre */
}

static int fibre_start_in(struct loop *loop, struct fibre_group *g, const char *name, fibre_fn fn, void *arg)
{
        struct fibre_set *set = fibre_set_get(loop);
        if (!set)
                return -ENOMEM;
        if (set->stats.live >= set->limit)
                return -EAGAIN;
        struct fibre *f = fibre_obtain(set);
        if (!f)
                return -ENOMEM;

        *f = (struct fibre){.set = set,
                            .name = name,
                            .fn = fn,
                            .arg = arg,
                            .group = g,
                            .uses = f->uses,
                            .map = f->map,
                            .stack = f->stack};
#ifdef FIBRE_TSAN
        f->tsan = __tsan_create_fiber(0);
#endif
        fibre_context_init(&f->context, f->stack, fibre_stack_size(f), fibre_main, f);
        f->live_next = set->live;
        if (set->live)
                set->live->live_prev = f;
        set->live = f;
        set->stats.live++;
        set->stats.peak = MAX(set->stats.peak, set->stats.live);
        fibre_make_ready(f);
        return 0;
}

int fibre_start(struct loop *loop, const char *name, fibre_fn fn, void *arg)
{
        return fibre_start_in(loop, NULL, name, fn, arg);
}

struct loop *fibre_loop(const struct fibre *self)
{
        return self->set->loop;
}

const char *fibre_name(const struct fibre *f)
{
        return f->name;
}

void fibre_suspend(struct fibre *self)
{
        assert(self->set->current == self);
        if (!self->woken) {
                self->state = FIBRE_SUSPENDED;
                fibre_leave(self);
        }
        self->woken = false;
}

void fibre_wake(struct fibre *f)
{
        if (f->set->abandoned)
                return;
        assert(f->state != FIBRE_FINISHED);
        f->woken = true;
        if (f->state == FIBRE_SUSPENDED)
                fibre_make_ready(f);
}

void fibre_yield(struct fibre *self)
{
        assert(self->set->current == self);
        fibre_make_ready(self);
        fibre_leave(self);
}

/* ---- waits --------------------------------------------------------------------------------------------------------
 */

/* A timer that wakes a fibre. */
struct alarm {
        struct timer timer;
        struct fibre *fibre;
        bool rang;
};

static void alarm_ring(struct timer *t)
{
        struct alarm *a = CONTAINER_OF(t, struct alarm, timer);
        a->rang = true;
        fibre_wake(a->fibre);
}

void fibre_sleep(struct fibre *self, uint64_t delay)
{
        struct alarm a = {.fibre = self};
        timer_start(self->set->loop, &a.timer, delay, alarm_ring);
        while (!a.rang)
                fibre_suspend(self);
}

void fibre_event_set(struct fibre_event *e)
{
        e->done = true;
        if (e->waiter)
                fibre_wake(e->waiter);
}

int fibre_event_wait(struct fibre *self, struct fibre_event *e, uint64_t timeout)
{
        assert(!e->waiter);
        struct alarm a = {.fibre = self};
        if (!e->done && timeout != UINT64_MAX)
                timer_start(self->set->loop, &a.timer, timeout, alarm_ring);
        e->waiter = self;
        while (!e->done && !a.rang)
                fibre_suspend(self);
        e->waiter = NULL;
        timer_stop(&a.timer);
        return e->done ? 0 : -ETIMEDOUT;
}

int fibre_group_start(struct loop *loop, struct fibre_group *g, const char *name, fibre_fn fn, void *arg)
{
        int r = fibre_start_in(loop, g, name, fn, arg);
        if (r == 0)
                g->running++;
        return r;
}

static bool fibre_group_satisfied(const struct fibre_group *g)
{
        return g->running == 0 || g->finished >= g->wanted;
}

static void fibre_group_leave(struct fibre_group *g)
{
        g->running--;
        g->finished++;
        if (g->waiter && fibre_group_satisfied(g))
                fibre_wake(g->waiter);
}

void fibre_group_wait(struct fibre *self, struct fibre_group *g, unsigned n)
{
        assert(!g->waiter);
        g->wanted = n;
        g->waiter = self;
        while (!fibre_group_satisfied(g))
                fibre_suspend(self);
        g->waiter = NULL;
}

void fibre_group_wait_all(struct fibre *self, struct fibre_group *g)
{
        fibre_group_wait(self, g, UINT32_MAX);
}

void fibre_mutex_lock(struct fibre *self, struct fibre_mutex *m)
{
        assert(m->holder != self);
        if (!m->holder) {
                m->holder = self;
                return;
        }
        self->queue_next = NULL;
        if (m->queue_tail)
                m->queue_tail->queue_next = self;
        else
                m->queue_head = self;
        m->queue_tail = self;
        while (m->holder != self)
                fibre_suspend(self);
}

void fibre_mutex_unlock(struct fibre *self, struct fibre_mutex *m)
{
        assert(m->holder == self);
        m->holder = m->queue_head;
        if (!m->holder)
                return;
        m->queue_head = m->holder->queue_next;
        if (!m->queue_head)
                m->queue_tail = NULL;
        fibre_wake(m->holder);
}
