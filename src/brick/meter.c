/* Counters and histograms (meter.h): relaxed atomics, read while they change. */
#include "brick/meter.h"

#include <time.h>

static uint64_t now_ns(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void add(atomic_uint_fast64_t *counter, uint64_t n)
{
        atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t value(atomic_uint_fast64_t *counter)
{
        return atomic_load_explicit(counter, memory_order_relaxed);
}

void meter_arrived(struct meter *m, unsigned fop)
{
        add(&m->fops[fop].operations, 1);
}

uint64_t meter_begin(struct meter *m)
{
        atomic_fetch_add_explicit(&m->in_flight, 1, memory_order_relaxed);
        return now_ns();
}

static unsigned bucket_of(uint64_t ns)
{
        unsigned k = 0;
        while (k < METRIC_BUCKETS - 1 && ns > metric_bucket_bound_us(k) * NS_PER_USEC)
                k++;
        return k;
}

void meter_end(struct meter *m, unsigned fop, uint64_t began, bool parked)
{
        atomic_fetch_sub_explicit(&m->in_flight, 1, memory_order_relaxed);
        if (parked)
                return;
        uint64_t took = now_ns() - began;
        add(&m->fops[fop].nanoseconds, took);
        add(&m->fops[fop].buckets[bucket_of(took)], 1);
}

void meter_error(struct meter *m, unsigned fop)
{
        add(&m->fops[fop].errors, 1);
}

void meter_read(struct meter *m, struct brick_stats *ret)
{
        ret->in_flight = atomic_load_explicit(&m->in_flight, memory_order_relaxed);
        for (unsigned f = 0; f < METER_FOPS; f++) {
                ret->by_fop[f] = value(&m->fops[f].operations);
                ret->errors_by_fop[f] = value(&m->fops[f].errors);
                ret->nanoseconds[f] = value(&m->fops[f].nanoseconds);
                ret->ops += ret->by_fop[f];
                ret->errors += ret->errors_by_fop[f];
                for (unsigned k = 0; k < METRIC_BUCKETS; k++)
                        ret->latency[f][k] = value(&m->fops[f].buckets[k]);
        }
}
