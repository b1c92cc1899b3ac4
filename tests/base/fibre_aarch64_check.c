/* A self-contained check of fibres for emulated processors (fibre_aarch64.sh): no test library. Aborts on failure. */
#include "base/fibre.h"

#include <stdio.h>

#define FIBRES 200

static unsigned finished;
static double results[2][FIBRES];

static void require(bool condition, const char *what)
{
        if (condition)
                return;
        fprintf(stderr, "failed: %s\n", what);
        abort();
}

struct job {
        int index;
        bool yielding;
};

/* Keeps many integer and floating point values alive across switches. */
static void work(struct fibre *self, void *arg)
{
        const struct job *job = arg;
        double d[8];
        uint64_t v[12];
        for (int i = 0; i < 8; i++)
                d[i] = job->index + i * 0.5;
        for (int i = 0; i < 12; i++)
                v[i] = (uint64_t)(job->index * 31 + i);
        for (int round = 0; round < 50; round++) {
                for (int i = 0; i < 8; i++)
                        d[i] = d[i] * 1.01 + d[(i + 1) % 8];
                for (int i = 0; i < 12; i++)
                        v[i] = v[i] * 6364136223846793005ull + v[(i + 1) % 12];
                if (job->yielding)
                        fibre_yield(self);
        }
        double sum = 0;
        for (int i = 0; i < 8; i++)
                sum += d[i];
        for (int i = 0; i < 12; i++)
                sum += (double)(v[i] % 1000);
        results[job->yielding][job->index] = sum;
        require((uintptr_t)__builtin_frame_address(0) % 16 == 0, "stack alignment");
        finished++;
}

static void everything(struct fibre *self, void *arg)
{
        static struct job jobs[2][FIBRES];
        struct loop *loop = fibre_loop(self);
        for (int yielding = 0; yielding < 2; yielding++) {
                struct fibre_group g = {0};
                for (int i = 0; i < FIBRES; i++) {
                        jobs[yielding][i] = (struct job){i, yielding == 1};
                        require(fibre_group_start(loop, &g, "work", work, &jobs[yielding][i]) == 0, "start");
                }
                fibre_group_wait_all(self, &g);
        }
        struct fibre_event never = {0};
        require(fibre_event_wait(self, &never, NS_PER_MSEC) == -ETIMEDOUT, "time limit");
        loop_stop(loop);
}

int main(void)
{
        struct loop *loop;
        require(loop_epoll_new(&loop) == 0, "loop");
        loop_set_stall_limit(loop, 0, false);
        require(fibre_start(loop, "everything", everything, NULL) == 0, "start");
        require(loop_run(loop) == 0, "run");
        require(finished == 2 * FIBRES, "all finished");
        require(memcmp(results[0], results[1], sizeof results[0]) == 0, "registers survive switches");
        struct fibre_stats stats;
        fibre_get_stats(loop, &stats);
        require(stats.live == 0 && stats.stack_high_water > 0, "figures");
        loop_free(loop);
        puts("fibres work");
        return 0;
}
