/* Directory offsets of one brick among those of several (spec: distribute.md §9): made unique on the way up, undone on
 * the way down. Pure functions. */
#pragma once

#include <stdint.h>

/* What a client with LEAVES bricks shows for OFFSET of brick LEAF. */
uint64_t leaf_offset_up(uint64_t offset, unsigned leaf, unsigned leaves);
/* What the brick gave, or something before it: huge offsets lose their low bits. */
uint64_t leaf_offset_down(uint64_t shown, unsigned leaves);
/* The brick that a shown offset belongs to; -1: it is the end. */
int leaf_offset_owner(uint64_t shown, unsigned leaves);
