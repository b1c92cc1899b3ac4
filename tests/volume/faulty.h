/* Faults between a replicate layer and its children, and in the memory of a client, one at a chosen moment: the n-th call
 * to a child is answered with an error or finds the connection reset; the n-th allocation fails.
 *
 * Memory: a program that uses this is linked with faulty_wrapped of meson.build. Allocations that count are those of arenas of
 * FAULTY_ARENA bytes (give it to requests), of the arena in which replicate settles, what it keeps about inodes, files and
 * transactions, and fibres. One set of faults per process.
 */
#pragma once

#include "world.h"

#define FAULTY_ARENA (2 * MIB + 4096)

enum fault { FAULT_NONE, FAULT_ERROR, FAULT_RESET, FAULT_MEMORY };

struct faults {
        enum fault kind;
        unsigned children; /* bits: calls to these count */
        enum fop only;     /* FOP_NULL: calls of any kind count */
        int error;         /* ERROR: -errno */
        unsigned nth;      /* 1: the first that counts */
        bool from_then_on; /* the later ones fail, too */
};

/* The replicate layer of a mounted client, whose children can fail from now on. */
struct subvolume *faulty_install(struct world *w, unsigned client);
void faulty_arm(const struct faults *f);
/* How many have failed since they were armed. */
unsigned faulty_disarm(void);
