/* Maintenance of bricks: space reserve and health (brick_maintain), landfill (brick_purge), once a second for each.
 *
 * A timer of the control loop queues the bricks, one thread works through them. If that thread is stuck in one brick
 * for STUCK_SECONDS it is left to it and another thread takes the rest: a hung disk costs one thread and delays nobody.
 * A brick whose storage fails, or whose check takes longer than its health-check-timeout, is taken down.
 */
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "brick/server.h"

#define EVERY (1 * NS_PER_SEC)
#define STUCK_SECONDS 2

struct caretaker {                 /* one thread */
        struct maintenance *owner; /* NULL: the process has moved on */
        uint64_t busy_since;       /* 0: waits */
};

struct maintenance {
        struct process *process;
        struct timer timer;   /* control loop */
        pthread_mutex_t lock; /* the rest */
        unsigned refs;        /* the process's and the threads' */
        pthread_cond_t wake;
        struct caretaker *current;
        struct export **queue; /* in use and referenced; first come, first served */
        size_t queued, room;
};

struct failure {
        struct export *export; /* referenced */
        struct error error;
};

static uint64_t now_ns(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* On the control loop. */
static void failure_seen(void *arg)
{
        struct failure *f = arg;
        export_take_down(f->export, f->error.text);
        export_unref(f->export);
        free(f);
}

static void export_unref_posted(void *arg)
{
        export_unref(arg);
}

/* The last reference may free, which belongs on the control loop. */
static void unref_on_loop(struct export *x)
{
        struct loop *loop = x->process->loop;
        while (loop_post(loop, export_unref_posted, x) < 0)
                (void)usleep(1000);
}

static void report(struct export *x, const struct error *e)
{
        struct failure *f = malloc(sizeof *f);
        if (!f)
                return; /* the next check finds it again */
        *f = (struct failure){.export = export_ref(x), .error = *e};
        if (loop_post(x->process->loop, failure_seen, f) == 0)
                return;
        unref_on_loop(x);
        free(f);
}

static void maintain(struct export *x)
{
        struct error e = {0};
        uint64_t now = now_ns();
        export_using(x, now);
        int r = brick_maintain(x->brick, now, &e);
        if (r == -EIO)
                report(x, &e);
        else if (r < 0)
                log_warning("maintenance", "Brick %s: %s", brick_path(x->brick), *e.text ? e.text : strerror(-r));
        bool purge = r != -EIO && export_use_landfill(x);
        export_unuse(x); /* the check is over: what follows may take its time */
        if (purge) {
                brick_purge(x->brick, now);
                export_unuse_landfill(x);
        }
        unref_on_loop(x);
}

/* Under the lock. NULL: this thread is not wanted any more. */
static struct export *caretaker_next(struct caretaker *t)
{
        while (t->owner && t->owner->queued == 0)
                pthread_cond_wait(&t->owner->wake, &t->owner->lock);
        struct maintenance *m = t->owner;
        if (!m)
                return NULL;
        struct export *x = m->queue[0];
        memmove(m->queue, m->queue + 1, --m->queued * sizeof(struct export *));
        return x;
}

/* Under the lock, which it releases. */
static void maintenance_unref(struct maintenance *m)
{
        bool last = --m->refs == 0;
        pthread_mutex_unlock(&m->lock);
        if (!last)
                return;
        pthread_mutex_destroy(&m->lock);
        pthread_cond_destroy(&m->wake);
        free(m->queue);
        free(m);
}

static void *caretaker_main(void *arg)
{
        struct caretaker *t = arg;
        struct maintenance *m = t->owner;
        pthread_mutex_lock(&m->lock);
        struct export *x;
        while (t->owner && (x = caretaker_next(t)) != NULL) {
                t->busy_since = now_ns();
                pthread_mutex_unlock(&m->lock);
                maintain(x);
                pthread_mutex_lock(&m->lock);
                t->busy_since = 0;
        }
        maintenance_unref(m);
        free(t);
        return NULL;
}

/* Under the lock: replaces a thread that is stuck. */
static void check_caretaker(struct maintenance *m, uint64_t now)
{
        struct caretaker *t = m->current;
        if (t && t->busy_since > 0 && now - t->busy_since > STUCK_SECONDS * NS_PER_SEC) {
                t->owner = NULL;
                m->current = t = NULL;
        }
        if (t || m->queued == 0)
                return;
        t = calloc(1, sizeof *t);
        if (!t)
                return;
        t->owner = m;
        if (thread_start("maintenance", caretaker_main, t) < 0) {
                free(t);
                return;
        }
        m->current = t;
        m->refs++;
}

static bool queue_room(struct maintenance *m)
{
        if (m->queued < m->room)
                return true;
        size_t room = m->room ? 2 * m->room : 16;
        struct export **queue = reallocarray(m->queue, room, sizeof *queue);
        if (!queue)
                return false;
        m->queue = queue;
        m->room = room;
        return true;
}

/* True: the check of X runs for longer than its options allow. */
static bool check_is_late(struct export *x, uint64_t now)
{
        uint64_t limit = x->config.options.health_check_timeout * NS_PER_SEC;
        pthread_mutex_lock(&x->lock);
        uint64_t since = x->maintained_since;
        pthread_mutex_unlock(&x->lock);
        return since > 0 && limit > 0 && x->config.options.health_check_interval > 0 && now - since > limit;
}

static void visit(struct maintenance *m, struct export *x, uint64_t now)
{
        char text[ERROR_TEXT_MAX];
        if (check_is_late(x, now)) {
                (void)snprintf(text, sizeof text,
                               "Brick %.900s: the storage has not answered for more than %u seconds.", x->config.path,
                               x->config.options.health_check_timeout);
                export_take_down(x, text);
                return;
        }
        pthread_mutex_lock(&m->lock);
        if (queue_room(m) && export_use(x))
                m->queue[m->queued++] = export_ref(x);
        pthread_mutex_unlock(&m->lock);
}

static void on_timer(struct timer *timer)
{
        struct maintenance *m = CONTAINER_OF(timer, struct maintenance, timer);
        uint64_t now = now_ns();
        for (struct export *x = m->process->exports, *next; x; x = next) {
                next = x->next;
                if (x->state == EXPORT_UP)
                        visit(m, x, now);
        }
        pthread_mutex_lock(&m->lock);
        check_caretaker(m, now);
        pthread_cond_signal(&m->wake);
        pthread_mutex_unlock(&m->lock);
        timer_start(m->process->loop, &m->timer, EVERY, on_timer);
}

int maintenance_new(struct process *p, struct maintenance **ret)
{
        struct maintenance *m = calloc(1, sizeof *m);
        if (!m)
                return -ENOMEM;
        m->process = p;
        m->refs = 1;
        pthread_mutex_init(&m->lock, NULL);
        pthread_cond_init(&m->wake, NULL);
        timer_start(p->loop, &m->timer, EVERY, on_timer);
        *ret = m;
        return 0;
}

struct maintenance *maintenance_free(struct maintenance *m)
{
        if (!m)
                return NULL;
        timer_stop(&m->timer);
        pthread_mutex_lock(&m->lock);
        while (m->queued > 0) {
                struct export *x = m->queue[--m->queued];
                export_unuse(x);
                export_unref(x);
        }
        if (m->current)
                m->current->owner = NULL;
        m->current = NULL;
        pthread_cond_broadcast(&m->wake);
        maintenance_unref(m);
        return NULL;
}
