/* Healing in a simulated cluster, for tests: on a fibre of a client, by path. The replica set is the client's whole
 * volume. */
#pragma once

#include "afr_calls.h"

#include "volume/afr_heal.h"

static inline struct afr *heal_set(struct world_client *c)
{
        return afr_of(volume_top(c->volume));
}

/* Until client C is connected to all bricks that run. */
void heal_wait_up(struct world *w, unsigned client);
/* A brick away, and back so that CLIENT sees it. */
void heal_brick_down(struct world *w, unsigned brick);
void heal_brick_up(struct world *w, unsigned brick);

struct gfid heal_gfid(struct world *w, unsigned brick, const char *path);
/* afr_heal() by client CLIENT of what is at PATH on brick BRICK. REPORT may be NULL. */
int heal_path(struct world *w, unsigned client, unsigned brick, const char *path, struct afr_heal_report *report);
/* The same without waiting for the end: DONE tells. */
struct heal_begun {
        struct gfid gfid;
        struct afr_heal_report report;
        int result;
        bool done;
};
void heal_begin(struct world *w, unsigned client, unsigned brick, const char *path, struct heal_begun *b);

/* Everything that an index of any brick names, again and again until nothing is left or nothing changes: the last
 * error. */
int heal_all(struct world *w, unsigned client);
/* Removes what is not needed any more: what was moved aside, names noted for nobody. */
void heal_sweep(struct world *w, unsigned client);
/* Names in an index of brick BRICK: "xattrop", "dirty". */
unsigned heal_index_count(struct world *w, unsigned brick, const char *which);

/* All bricks have the same names, types, modes, gfids and content below the root, nothing is pending or in an index,
 * and nothing is left aside. */
void assert_healed(struct world *w);
/* The same without what is noted of changed names, which a crash may leave behind where nothing is pending: it names
 * more to look at than has to be. TIMES_TOO: where one copy has times of its own all have; a creation that a crash broke
 * off may have made an object without. */
void assert_equal_copies(struct world *w, bool times_too);

/* N bytes that depend on SEED, at OFFSET of a file. */
void pattern(uint8_t *data, size_t n, uint64_t offset, uint64_t seed);
/* Writes N bytes of pattern at OFFSET in pieces. */
void write_pattern(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, size_t n,
                   uint64_t seed);
/* Sets a counter on disk: "1,0,0" about CHILD (-1: dirty). */
void set_counter(struct world *w, unsigned brick, const char *path, int child, int32_t data, int32_t metadata,
                 int32_t entry);
/* Makes [0, n) of the file of that name, closed. */
void make_file(struct fibre *self, struct world_client *c, const char *name, size_t n, uint64_t seed);
