/* How fast a heal goes on: it leaves bricks to clients when they are busy.
 *
 * A step of a heal that copies data costs a certain time per byte; what it costs while nobody else asks for anything is
 * learned. Steps that cost several times as much are followed by a pause: half of what a busy brick does is for clients.
 * Pure functions; time is the caller's.
 */
#pragma once

#include "base/util.h"

/* What a byte costs at best, in ns / 1024: of steps that only compare, and of those that write. */
struct pace_learned {
        uint64_t best[2];
};

/* The step under way of one object. */
struct pace {
        uint64_t began, looked, written; /* when the last one ended; bytes by then */
};

/* A step ended at NOW; LOOKED and WRITTEN bytes of the object in all. How long to pause, ns. */
uint64_t pace_step(struct pace_learned *l, struct pace *p, uint64_t now, uint64_t looked, uint64_t written);
