/* Prints what fibres cost on this machine: a switch (one way), start plus finish, and a wake-up through the scheduler.
 */
#include "base/fibre.h"
#include "base/fibre_context.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS 5000000

static uint64_t clock_now(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void report(const char *what, uint64_t began, uint64_t n)
{
        printf("%-28s %7.1f ns\n", what, (double)(clock_now() - began) / (double)n);
}

static struct fibre_context main_context, other_context;

static void bounce(void *arg)
{
        for (;;)
                fibre_context_switch(&other_context, &main_context);
}

static void bench_switch(void)
{
        static _Alignas(64) char stack[64 * KIB];
        fibre_context_init(&other_context, stack, sizeof stack, bounce, NULL);
        uint64_t began = clock_now();
        for (int i = 0; i < ROUNDS; i++)
                fibre_context_switch(&main_context, &other_context);
        report("context switch", began, 2ull * ROUNDS);
}

static void yield_often(struct fibre *self, void *arg)
{
        for (int i = 0; i < ROUNDS / 10; i++)
                fibre_yield(self);
}

static void nothing(struct fibre *self, void *arg)
{
}

static void run_all(struct loop *loop)
{
        while (fibre_run_ready(loop, NULL, NULL))
                ;
}

int main(void)
{
        struct loop *loop;
        if (loop_epoll_new(&loop) < 0)
                return 1;
        loop_set_stall_limit(loop, 0, false);
        bench_switch();

        for (int i = 0; i < 10; i++)
                (void)fibre_start(loop, "yield", yield_often, NULL);
        uint64_t began = clock_now();
        run_all(loop);
        report("yield and resume", began, ROUNDS);

        began = clock_now();
        for (int i = 0; i < ROUNDS / 10; i++) {
                (void)fibre_start(loop, "nothing", nothing, NULL);
                run_all(loop);
        }
        report("start and finish", began, ROUNDS / 10);
        loop_free(loop);
        return 0;
}
