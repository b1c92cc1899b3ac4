/* Graceful stop of one brick (brick/drain.h): a timer that looks whether the next step is due.
 *
 * Relies on brick_refuse_new_locks() for what clients are told, and on `export.quiet`, at which lanes stop reading.
 * Invariant: a drain exists only while its export is listed and not closing; export_detach() frees it.
 */
#include "brick/drain.h"

#include "base/log.h"
#include "brick/lane.h"

#define LOOK_AGAIN (10 * NS_PER_MSEC)
#define REMIND_AFTER NS_PER_SEC /* holders that did not let go are told again */
#define IDLE_LOOKS 2            /* a request between being read and being begun is not seen: look again */

struct drain {
        struct export *export;
        struct timer timer;
        uint64_t since, deadline, remind_at;
        bool detach; /* else wait for drain_detach() with no locks held */
        unsigned idle_looks;
};

static bool is_answered(struct export *x)
{
        bool answered = true;
        for (size_t i = 0; i < ELEMENTSOF(x->lanes); i++)
                answered = answered && (!x->lanes[i] || lane_is_idle(x->lanes[i]));
        pthread_mutex_lock(&x->lock);
        for (const struct conn *c = x->conns; c && answered; c = c->export_next)
                answered = atomic_load(&c->unsent) == 0;
        pthread_mutex_unlock(&x->lock);
        return answered;
}

static void remind(struct drain *d, uint64_t now)
{
        if (now < d->remind_at)
                return;
        d->remind_at = now + REMIND_AFTER;
        brick_refuse_new_locks(d->export->brick);
}

/* What keeps the brick; true: nothing. */
static bool is_drained(struct drain *d, uint64_t now)
{
        struct export *x = d->export;
        if (brick_held_locks(x->brick) > 0) {
                remind(d, now);
                return false;
        }
        if (!d->detach)
                return false;
        atomic_store(&x->quiet, true);
        d->idle_looks = is_answered(x) ? d->idle_looks + 1 : 0;
        return d->idle_looks >= IDLE_LOOKS;
}

static void look(struct timer *t)
{
        struct drain *d = CONTAINER_OF(t, struct drain, timer);
        struct export *x = d->export;
        uint64_t now = loop_now(x->process->loop);
        bool late = now >= d->deadline;
        if (!late && x->state == EXPORT_UP && !is_drained(d, now)) {
                timer_start(x->process->loop, &d->timer, LOOK_AGAIN, look);
                return;
        }
        if (late)
                log_warning("export",
                            "Brick %s is not drained after %u seconds, clients hold %u locks on it: they are "
                            "disconnected.",
                            x->config.path, x->process->config->drain_limit, brick_held_locks(x->brick));
        else
                log_info("export", "Brick %s is drained after %u ms.", x->config.path,
                         (unsigned)((now - d->since) / NS_PER_MSEC));
        export_detach(x, NULL, NULL);
}

static struct drain *drain_new(struct export *x)
{
        struct drain *d = calloc(1, sizeof *d);
        if (!d)
                return NULL;
        uint64_t now = loop_now(x->process->loop), limit = x->process->config->drain_limit * NS_PER_SEC;
        *d = (struct drain){.export = x, .since = now, .deadline = now + limit, .remind_at = now + REMIND_AFTER};
        x->drain = d;
        brick_refuse_new_locks(x->brick);
        return d;
}

void drain_start(struct export *x)
{
        if (x->state != EXPORT_UP || x->drain || x->process->config->drain_limit == 0)
                return;
        struct drain *d = drain_new(x);
        if (d)
                timer_start(x->process->loop, &d->timer, 0, look);
}

void drain_detach(struct export *x, export_done_fn done, void *arg)
{
        drain_start(x);
        if (!x->drain) {
                export_detach(x, done, arg);
                return;
        }
        if (done && export_wait_closed(x, done, arg) < 0)
                return;
        x->drain->detach = true;
}

struct drain *drain_free(struct drain *d)
{
        if (d)
                timer_stop(&d->timer);
        free(d);
        return NULL;
}
