/* A state directory and some file systems on a simulated disk, for tests of the pool layer.
 *
 *     /state          of mortard
 *     /data, /data2   two file systems (st_dev 100, 200); "/" is st_dev 1
 */
#pragma once

#include "base/sim_disk.h"
#include "pool/change.h"

struct world {
        struct sim_disk *sim;
        struct disk *disk;
        struct store *store;
        struct volume_set volumes;
        struct change change;
};

void world_init(struct world *w, uint64_t seed);
void world_done(struct world *w);

/* What mortard does at its start: opens the store, loads, finishes or undoes. */
void world_boot(struct world *w);
/* Forgets what is in memory. */
void world_halt(struct world *w);

/* "host:/path" bricks, NULL ends. Host "here" is local. */
struct volume *world_volume(const char *name, ...) __attribute__((sentinel));
bool world_exists(struct world *w, const char *path);
bool world_marked(struct world *w, const char *path, const struct gfid *id);
