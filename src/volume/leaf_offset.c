/* See leaf_offset.h. Bit 62 tells the two forms apart: offset times bricks plus number of the brick, and, for offsets
 * that have no room for that, half the offset with the number in place of its low bits. */
#include "volume/leaf_offset.h"

#include <stdbool.h>

#define HUGE_FORM (1ull << 62)

static unsigned bits_for(unsigned leaves)
{
        unsigned bits = 0;
        while ((1ull << bits) < leaves)
                bits++;
        return bits;
}

static bool stands_for_itself(uint64_t offset, unsigned leaves)
{
        return leaves <= 1 || offset == 0 || offset == UINT64_MAX;
}

uint64_t leaf_offset_up(uint64_t offset, unsigned leaf, unsigned leaves)
{
        if (stands_for_itself(offset, leaves))
                return offset;
        unsigned bits = bits_for(leaves);
        uint64_t low = (1ull << bits) - 1, too_large = ~((uint64_t)INT64_MAX >> (bits + 1));
        if (offset & too_large)
                return HUGE_FORM | ((offset >> 1) & ~low) | leaf;
        return offset * leaves + leaf;
}

uint64_t leaf_offset_down(uint64_t shown, unsigned leaves)
{
        if (stands_for_itself(shown, leaves))
                return shown;
        uint64_t low = (1ull << bits_for(leaves)) - 1;
        if (shown & HUGE_FORM)
                return (shown & ~(HUGE_FORM | low)) << 1;
        return shown / leaves;
}

int leaf_offset_owner(uint64_t shown, unsigned leaves)
{
        if (shown == UINT64_MAX)
                return -1;
        if (shown == 0 || leaves <= 1)
                return 0;
        if (shown & HUGE_FORM)
                return (int)(shown & ((1ull << bits_for(leaves)) - 1));
        return (int)(shown % leaves);
}
