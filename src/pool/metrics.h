/* What this node's brick processes count (brick/metrics.h), gathered for whoever asks. Loop thread. */
#pragma once

#include <jansson.h>

#include "brick/metrics.h"
#include "pool/pool.h"

/* What the heal daemon counts for a volume: as BRICK_METRICS. */
#define HEAL_METRICS(M)                                                                                                \
        M(up, GAUGE, "mortar_heal_up", "1 while the heal daemon of this node looks after the volume")                  \
        M(pending, GAUGE, "mortar_heal_pending_entries", "Objects that the bricks of this node have noted for healing") \
        M(healing, GAUGE, "mortar_heal_healing_sets", "Replica sets that are being crawled")                           \
        M(waiting, GAUGE, "mortar_heal_waiting_sets", "Replica sets that wait for a brick")                            \
        M(healed, COUNTER, "mortar_heal_healed_objects_total", "Objects healed since the daemon was started")            \
        M(failed, COUNTER, "mortar_heal_failed_objects_total", "Failed attempts since the daemon was started")           \
        M(bytes, COUNTER, "mortar_heal_written_bytes_total", "Bytes written to bricks since the daemon was started")     \
        M(rate, GAUGE, "mortar_heal_bytes_per_second", "Bytes written per second by the crawl under way")              \
        M(last_crawl, GAUGE, "mortar_heal_last_crawl_timestamp_seconds", "When the last crawl ended")                  \
        M(split_brain, GAUGE, "mortar_heal_split_brain_objects", "Objects in split-brain that the last crawl found")

/* {"host", "processes": [{"pid", "connections", "resident_bytes"}…], "bricks": [{"path", "volume", …}…],
 * "heal": [{"volume", …}…]}: the bricks of
 * all processes, and with only "up" of 0 those of started volumes that nobody serves. A process that does not answer
 * within some seconds is left out. */
int metrics_collect(struct fibre *self, struct pool *p, json_t **ret, struct error *e);
