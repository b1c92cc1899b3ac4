/* The thread for work that may block (pool/blocking.h).
 *
 * A job lives on the stack of the fibre that waits for it. It is linked into the queue under the lock, run by the
 * thread, and handed back to the loop by loop_post(); from then on only the loop thread touches it.
 */
#include "pool/blocking.h"

#include <pthread.h>
#include <signal.h>

struct job {
        void (*fn)(void *arg);
        void *arg;
        struct loop *loop;
        struct fibre_event done;
        struct job *next;
};

struct blocking {
        struct loop *loop;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct job *first, *last;
        bool stop;
};

static void job_finished(void *arg)
{
        struct job *job = arg;
        fibre_event_set(&job->done);
}

/* The next job, NULL when the thread is to end. */
static struct job *next_job(struct blocking *b)
{
        pthread_mutex_lock(&b->lock);
        while (!b->first && !b->stop)
                pthread_cond_wait(&b->changed, &b->lock);
        struct job *job = b->first;
        if (job) {
                b->first = job->next;
                if (!b->first)
                        b->last = NULL;
        }
        pthread_mutex_unlock(&b->lock);
        return job;
}

static void *thread_main(void *arg)
{
        struct blocking *b = arg;
        struct job *job;
        while ((job = next_job(b))) {
                job->fn(job->arg);
                while (loop_post(b->loop, job_finished, job) < 0)
                        usleep(10000);
        }
        return NULL;
}

int blocking_new(struct loop *loop, struct blocking **ret)
{
        struct blocking *b = calloc(1, sizeof *b);
        if (!b)
                return -ENOMEM;
        b->loop = loop;
        pthread_mutex_init(&b->lock, NULL);
        pthread_cond_init(&b->changed, NULL);

        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        int r = pthread_create(&b->thread, NULL, thread_main, b);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r != 0) {
                free(b);
                return -r;
        }
        *ret = b;
        return 0;
}

struct blocking *blocking_free(struct blocking *b)
{
        if (!b)
                return NULL;
        pthread_mutex_lock(&b->lock);
        b->stop = true;
        pthread_cond_signal(&b->changed);
        pthread_mutex_unlock(&b->lock);
        pthread_join(b->thread, NULL);
        pthread_mutex_destroy(&b->lock);
        pthread_cond_destroy(&b->changed);
        free(b);
        return NULL;
}

void blocking_run(struct fibre *self, struct blocking *b, void (*fn)(void *arg), void *arg)
{
        struct job job = {.fn = fn, .arg = arg, .loop = b->loop};
        pthread_mutex_lock(&b->lock);
        if (b->last)
                b->last->next = &job;
        else
                b->first = &job;
        b->last = &job;
        pthread_cond_signal(&b->changed);
        pthread_mutex_unlock(&b->lock);
        (void)fibre_event_wait(self, &job.done, UINT64_MAX);
}
