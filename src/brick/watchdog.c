/* The watchdog: one thread of the process that looks every millisecond whether some lane is still at the request it was
 * at a millisecond ago.
 *
 * While nothing is busy it sleeps on a futex, and goes on ticking for some time after the last activity, so that a busy
 * process does not pay a wake-up per request. No wake-up is lost: it announces its sleep (`asleep`) before it looks at
 * all lanes once more, and a leader stores `serving` before it looks at `asleep`.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "brick/lane.h"

#define TICK_NS (1 * NS_PER_MSEC)
#define QUIET_TICKS 64 /* ticks without any request before it sleeps */

struct watchdog {
        pthread_mutex_t lock; /* the list; held during a tick, so a lane that was removed is not looked at any more */
        struct watched *first;
        atomic_uint asleep;
        atomic_bool stop;
        pthread_t thread;
};

static void futex_wait(atomic_uint *word, unsigned value)
{
        (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void watchdog_wake(struct watchdog *w)
{
        if (atomic_exchange(&w->asleep, 0) == 1)
                (void)syscall(SYS_futex, &w->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* True if anything happened since the last tick. */
static bool watched_tick(struct watched *x)
{
        uint64_t now = atomic_load(&x->serving);
        bool moved = now != x->seen;
        x->seen = now;
        if ((now & 1) == 0)
                return moved;
        if (!moved)
                x->slow(x, now);
        return true;
}

static bool watchdog_tick(struct watchdog *w)
{
        bool active = false;
        pthread_mutex_lock(&w->lock);
        for (struct watched *x = w->first; x; x = x->next)
                active |= watched_tick(x);
        pthread_mutex_unlock(&w->lock);
        return active;
}

static void *watchdog_main(void *arg)
{
        struct watchdog *w = arg;
        const struct timespec tick = {.tv_nsec = TICK_NS};
        unsigned quiet = 0;
        while (!atomic_load(&w->stop)) {
                (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
                quiet = watchdog_tick(w) ? 0 : quiet + 1;
                if (quiet < QUIET_TICKS)
                        continue;
                atomic_store(&w->asleep, 1);
                if (watchdog_tick(w) || atomic_load(&w->stop))
                        atomic_store(&w->asleep, 0);
                while (atomic_load(&w->asleep) == 1)
                        futex_wait(&w->asleep, 1);
                quiet = 0;
        }
        return NULL;
}

int watchdog_new(struct watchdog **ret)
{
        struct watchdog *w = calloc(1, sizeof *w);
        if (!w)
                return -ENOMEM;
        pthread_mutex_init(&w->lock, NULL);
        int r = pthread_create(&w->thread, NULL, watchdog_main, w);
        if (r != 0) {
                free(w);
                return -r;
        }
        (void)pthread_setname_np(w->thread, "watchdog");
        *ret = w;
        return 0;
}

struct watchdog *watchdog_free(struct watchdog *w)
{
        if (!w)
                return NULL;
        atomic_store(&w->stop, true);
        watchdog_wake(w);
        (void)pthread_join(w->thread, NULL);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
}

void watchdog_add(struct watchdog *w, struct watched *x)
{
        pthread_mutex_lock(&w->lock);
        x->prev = NULL;
        x->next = w->first;
        if (w->first)
                w->first->prev = x;
        w->first = x;
        pthread_mutex_unlock(&w->lock);
}

void watchdog_remove(struct watchdog *w, struct watched *x)
{
        pthread_mutex_lock(&w->lock);
        if (x->prev)
                x->prev->next = x->next;
        else
                w->first = x->next;
        if (x->next)
                x->next->prev = x->prev;
        pthread_mutex_unlock(&w->lock);
}

uint64_t watched_begin(struct watchdog *w, struct watched *x)
{
        uint64_t number = (atomic_load_explicit(&x->serving, memory_order_relaxed) >> 1) + 1;
        atomic_store(&x->serving, number << 1 | 1);
        if (atomic_load(&w->asleep) == 1)
                watchdog_wake(w);
        return number << 1 | 1;
}

bool watched_end(struct watched *x, uint64_t serving)
{
        uint_fast64_t expected = serving;
        return atomic_compare_exchange_strong(&x->serving, &expected, serving & ~1ull);
}
