/* Accounts what is unread (unread.h). The sum is an atomic of the process; who is disconnected is chosen on the control loop,
 * which looks at all connections only while there is too much.
 */
#include "brick/unread.h"

#include "base/log.h"
#include "brick/cache.h"

void unread_progress(struct conn *c)
{
        atomic_store(&c->taken_at, coarse_now());
}

void unread_set(struct conn *c, size_t n)
{
        size_t before = atomic_exchange(&c->unsent, n);
        if (before == 0 && n > 0)
                unread_progress(c);
        atomic_fetch_add(&c->process->unread, n - before); /* wraps around when there is less */
}

size_t unread_limit(const struct conn *c)
{
        return atomic_load(&c->process->unread) < UNREAD_ALL_HIGH ? CONN_OUTPUT_HIGH : CONN_OUTPUT_LOW;
}

bool unread_is_full(const struct conn *c)
{
        return atomic_load(&c->process->unread) > UNREAD_ALL_MAX;
}

bool unfinished_set(struct conn *c, size_t n)
{
        bool grows = n > c->unfinished;
        uint64_t all = atomic_fetch_add(&c->process->unfinished, n - c->unfinished) + (n - c->unfinished);
        c->unfinished = n;
        if (!grows || n <= CONN_INPUT_LOW || all <= UNFINISHED_ALL_MAX)
                return true;
        log_warning("clients", "A client with an unfinished request of %zu bytes was disconnected: all clients together have "
                    "begun requests of %llu MiB.", n, (unsigned long long)(UNFINISHED_ALL_MAX / MIB));
        return false;
}

/* Under the export's lock. */
static unsigned drop_stuck(struct export *x, uint64_t since)
{
        unsigned dropped = 0;
        for (struct conn *c = x->conns; c; c = c->export_next) {
                if (atomic_load(&c->unsent) == 0 || atomic_load(&c->taken_at) > since || atomic_load(&c->closed))
                        continue;
                conn_shutdown(c);
                dropped++;
        }
        return dropped;
}

static void look(struct timer *t)
{
        struct process *p = CONTAINER_OF(t, struct process, unread_timer);
        uint64_t now = coarse_now();
        unsigned dropped = 0;
        for (struct export *x = p->exports; x && atomic_load(&p->unread) > UNREAD_ALL_HIGH; x = x->next) {
                pthread_mutex_lock(&x->lock);
                dropped += drop_stuck(x, now - MIN(now, UNREAD_SECONDS * NS_PER_SEC));
                pthread_mutex_unlock(&x->lock);
        }
        if (dropped > 0)
                log_warning("clients", "%u clients that had read nothing for %d seconds were disconnected: %llu MiB of answers "
                            "were waiting for them and others.", dropped, UNREAD_SECONDS,
                            (unsigned long long)(UNREAD_ALL_HIGH / MIB));
        unread_watch(p);
}

void unread_watch(struct process *p)
{
        timer_start(p->loop, &p->unread_timer, NS_PER_SEC, look);
}
