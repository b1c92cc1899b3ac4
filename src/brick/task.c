/* Work that may block, on threads of its own: one thread a task, and the result back on the control loop. */
#include <signal.h>

#include "brick/server.h"

#ifdef __SANITIZE_ADDRESS__
#define STACK_SIZE (8 * MIB)
#else
#define STACK_SIZE MIB
#endif

struct task {
        struct process *process;
        void (*fn)(void *arg);
        void (*done)(void *arg);
        void *arg;
};

struct thread_start_arg {
        char name[16];
        void *(*fn)(void *arg);
        void *arg;
};

static void *thread_main(void *arg)
{
        struct thread_start_arg start = *(struct thread_start_arg *)arg;
        free(arg);
        (void)pthread_setname_np(pthread_self(), start.name);
        return start.fn(start.arg);
}

static int start_with(int detach_state, const char *name, void *(*fn)(void *arg), void *arg, pthread_t *ret)
{
        _cleanup_free_ struct thread_start_arg *start = calloc(1, sizeof *start);
        if (!start)
                return -ENOMEM;
        memcpy(start->name, name, MIN(strlen(name), sizeof start->name - 1));
        start->fn = fn;
        start->arg = arg;
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, detach_state);
        pthread_attr_setstacksize(&attr, STACK_SIZE);
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(ret, &attr, thread_main, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        if (r == 0)
                TAKE_PTR(start);
        return -r;
}

int thread_start(const char *name, void *(*fn)(void *arg), void *arg)
{
        pthread_t thread;
        return start_with(PTHREAD_CREATE_DETACHED, name, fn, arg, &thread);
}

int thread_start_joinable(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *ret)
{
        return start_with(PTHREAD_CREATE_JOINABLE, name, fn, arg, ret);
}

static void task_over(void *arg)
{
        struct task *t = arg;
        struct process *p = t->process;
        t->done(t->arg);
        free(t);
        atomic_fetch_sub(&p->live_tasks, 1);
        process_check_stopped(p);
}

static void *task_main(void *arg)
{
        struct task *t = arg;
        struct loop *loop = t->process->loop;
        t->fn(t->arg);
        while (loop_post(loop, task_over, t) < 0)
                (void)usleep(1000);
        return NULL;
}

int task_start(struct process *p, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
        _cleanup_free_ struct task *t = malloc(sizeof *t);
        if (!t)
                return -ENOMEM;
        *t = (struct task){.process = p, .fn = fn, .done = done, .arg = arg};
        int r = thread_start("task", task_main, t);
        if (r < 0)
                return r;
        atomic_fetch_add(&p->live_tasks, 1);
        TAKE_PTR(t);
        return 0;
}
