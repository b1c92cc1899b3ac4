/* What a brick counts: one table, from which the machine output, its text for Prometheus and the guide's list come. */
#pragma once

#include <stdint.h>

enum metric_kind {
        METRIC_GAUGE,
        METRIC_COUNTER,
        METRIC_FOP_COUNTER,   /* one number for each fop */
        METRIC_FOP_HISTOGRAM, /* of seconds, for each fop */
};

/* M(key in the machine output, kind, name in Prometheus, help) */
#define BRICK_METRICS(M)                                                                                               \
        M(up, GAUGE, "mortar_brick_up", "1 while the brick is served, 0 while it is not")                              \
        M(connections, GAUGE, "mortar_brick_connections", "Connections of clients")                                    \
        M(fds, GAUGE, "mortar_brick_descriptors", "Files and directories that clients have open")                      \
        M(inodes, GAUGE, "mortar_brick_inodes", "Objects that are remembered")                                         \
        M(locks, GAUGE, "mortar_brick_locks_held", "Locks that clients hold")                                          \
        M(locks_waiting, GAUGE, "mortar_brick_locks_waiting", "Requests that wait for a lock")                         \
        M(in_flight, GAUGE, "mortar_brick_requests_in_flight", "Requests that are being worked on")                    \
        M(watches, GAUGE, "mortar_brick_watches", "Objects whose changes a client is told about, for each client")     \
        M(inode_bytes, GAUGE, "mortar_brick_inode_bytes", "Memory of the remembered objects")                          \
        M(xattr_bytes, GAUGE, "mortar_brick_xattr_bytes", "Memory of remembered extended attributes")                  \
        M(watch_bytes, GAUGE, "mortar_brick_watch_bytes", "Memory of the watches")                                     \
        M(operations, FOP_COUNTER, "mortar_brick_operations_total", "Requests that came in")                           \
        M(errors, FOP_COUNTER, "mortar_brick_errors_total", "Requests that were answered with an error")               \
        M(latency, FOP_HISTOGRAM, "mortar_brick_request_seconds",                                                      \
          "Time from decoding a request to its answer, without what waits for a lock or the barrier")

/* Bounds of the histograms' buckets: 16 µs, each four times the one before; the last has none. */
#define METRIC_BUCKETS 12u
static inline uint64_t metric_bucket_bound_us(unsigned bucket)
{
        return UINT64_C(16) << (2 * bucket);
}
