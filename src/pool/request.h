/* A volume as a request describes it. Loop thread or any other; no locking. */
#pragma once

#include "base/loop.h"
#include "pool/volume.h"

/* The volume that ARGS of volume-create and record-define mean: volume, bricks, and for other types than distribute
 * type
 * ("replicate", "disperse"), set_size, arbiter_count, redundancy. With a fresh id, fresh credentials and the options of
 * a new volume (spec: cli.md §5.4); nothing about its bricks' directories is looked at. -errno with stock's text. */
int volume_of_request(struct loop *loop, const json_t *args, struct volume **ret, struct error *e);
