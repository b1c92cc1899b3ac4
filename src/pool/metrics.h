/* What this node's brick processes count (brick/metrics.h), gathered for whoever asks. Loop thread. */
#pragma once

#include <jansson.h>

#include "pool/pool.h"

/* {"host", "processes": [{"pid", "connections", "resident_bytes"}…], "bricks": [{"path", "volume", …}…]}: the bricks of
 * all processes, and with only "up" of 0 those of started volumes that nobody serves. A process that does not answer
 * within some seconds is left out. */
int metrics_collect(struct fibre *self, struct pool *p, json_t **ret, struct error *e);
