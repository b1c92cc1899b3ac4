/* Which extended attributes are the volume's own: front ends neither show nor change them. Pure functions, any
 * thread. */
#pragma once

#include "base/util.h"

/* Layout, pending counters, gfid, times: what the volume keeps itself by. */
bool xattr_name_is_internal(const char *name);
/* Of these, the ones that layers and bricks make up when somebody asks: they may be read. */
bool xattr_name_is_virtual(const char *name);
