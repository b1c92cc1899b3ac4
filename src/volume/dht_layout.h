/* The layout of a directory: which sub-volume takes names of which hashes (distribute.md §4, §5).
 *
 * Each sub-volume's copy of the directory has its own range on disk, in the attribute `trusted.glusterfs.dht`: commit hash,
 * type, first and last hash. A client asks all of them and merges. What is wrong with the result is counted, and healed by
 * dht_heal.c. Everything here is arithmetic: no calls, no waiting. Any thread.
 */
#pragma once

#include "base/util.h"

#define LAYOUT_DISK_SIZE 16u
#define LAYOUT_COMMIT_INVALID 1u /* the directory changed since: who misses a name must look everywhere */
#define LAYOUT_TYPE_HASH 0u
#define LAYOUT_TYPE_USER 1u      /* made by hand: never rewritten */
#define LAYOUT_NO_ATTRIBUTE (-1) /* `error` of a copy without the attribute */

/* One sub-volume's part. */
struct layout_range {
        int error; /* 0, LAYOUT_NO_ATTRIBUTE, or the positive errno of the look-up */
        uint32_t commit, type;
        uint32_t start, stop; /* both inclusive; 0-0: takes no names */
};

struct layout {
        uint32_t commit; /* what all have, or LAYOUT_COMMIT_INVALID */
        unsigned n;      /* sub-volumes of the volume */
        struct layout_range ranges[]; /* in the order of the children */
};

struct layout_health {
        unsigned missing;   /* no directory */
        unsigned bare;      /* a directory without the attribute */
        unsigned down;      /* could not be asked */
        unsigned misc;      /* other errors */
        unsigned holes, overlaps;
};

/* All ranges are "no answer yet": misc errors. NULL: out of memory. */
struct layout *layout_new(unsigned n);
struct layout *layout_dup(const struct layout *l);
struct layout *layout_free(struct layout *l);
DEFINE_CLEANUP(struct layout *, layout_free)

/* LEN bytes as they are on disk; anything but LAYOUT_DISK_SIZE bytes counts as no attribute. */
struct layout_range layout_range_decode(const uint8_t *data, size_t len);
void layout_range_encode(const struct layout_range *r, uint8_t ret[static LAYOUT_DISK_SIZE]);
static inline bool layout_range_takes_names(const struct layout_range *r)
{
        return r->error == 0 && (r->start != 0 || r->stop != 0);
}

/* Sets `commit` from the ranges. */
void layout_settle(struct layout *l);
struct layout_health layout_check(const struct layout *l);
/* The child that takes HASH; -ENOENT: a hole. */
int layout_search(const struct layout *l, uint32_t hash);
/* Do both say the same of every sub-volume? */
bool layout_equal(const struct layout *a, const struct layout *b);

/* What a new layout is made from (§5). */
struct layout_plan {
        unsigned n;
        const unsigned *by_name; /* the children in the order of their names */
        const bool *eligible;    /* by child: takes names */
        const uint64_t *weights; /* by child; NULL or one of those eligible 0: all the same */
        unsigned spread;         /* at most so many take part; 0: all */
        uint32_t start_hash;     /* of the directory's path or gfid: where the first range goes */
        uint32_t commit, type;
        const struct layout *old; /* ranges are dealt so that as much as possible stays where it is; NULL: no matter */
};
/* -ENOSPC: nobody is eligible. */
int layout_compute(const struct layout_plan *plan, struct layout *ret);
