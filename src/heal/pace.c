/* How fast a heal goes on (heal/pace.h). */
#include "heal/pace.h"

#define STEP_MIN (64 * KIB) /* smaller ones say nothing */
#define BUSY 4              /* times as slow as at best */
#define PAUSE_MAX (500 * NS_PER_MSEC)
#define FORGET 256 /* what was best is forgotten slowly: the disk may have been replaced */

uint64_t pace_step(struct pace_learned *l, struct pace *p, uint64_t now, uint64_t looked, uint64_t written)
{
        uint64_t bytes = looked - p->looked, time = now - p->began;
        unsigned kind = written > p->written;
        bool first = p->began == 0;
        *p = (struct pace){.began = now, .looked = looked, .written = written};
        if (first || bytes < STEP_MIN)
                return 0;
        uint64_t cost = time * KIB / bytes, *best = &l->best[kind];
        if (*best == 0 || cost < *best) {
                *best = MAX(cost, (uint64_t)1);
                return 0;
        }
        uint64_t before = *best;
        *best += *best / FORGET + 1;
        return cost > BUSY * before ? MIN(time, PAUSE_MAX) : 0;
}
