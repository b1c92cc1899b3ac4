/* Counting requests of a brick (metrics.h). Any thread; no system call: the clock is read without one. */
#pragma once

#include <stdatomic.h>

#include "brick/brick.h"

#define METER_FOPS 64u

struct meter {
        atomic_uint in_flight;
        struct {
                atomic_uint_fast64_t operations, errors, nanoseconds;
                atomic_uint_fast64_t buckets[METRIC_BUCKETS];
        } fops[METER_FOPS];
};

/* A request came in. */
void meter_arrived(struct meter *m, unsigned fop);
/* It is worked on: once, and again when it was parked and goes on. The result is for meter_end(). */
uint64_t meter_begin(struct meter *m);
/* It was answered, or PARKED: then only no longer worked on. */
void meter_end(struct meter *m, unsigned fop, uint64_t began, bool parked);
void meter_error(struct meter *m, unsigned fop);
/* Fills what is counted here. */
void meter_read(struct meter *m, struct brick_stats *ret);
