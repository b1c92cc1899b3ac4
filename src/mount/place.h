/* Where a volume is to be mounted: whether it may be, and what is mounted there.
 *
 * Looks at paths and /proc, so it blocks: not on the loop. Thread: any.
 */
#pragma once

#include <limits.h>

#include "base/error.h"

#define PLACE_TYPE "fuse.glusterfs"

/* Checks MOUNTPOINT and stores its real path. -errno with stock's words; *RET_EXIT is the helper's exit status then. */
int place_check(const char *mountpoint, char ret_path[static PATH_MAX], int *ret_exit, struct error *err);

/* The mount that is seen at PATH (a real path), from /proc/self/mountinfo. 0 with its number and whether it is one of
 * ours; -ENOENT: nothing is mounted exactly there. */
int place_mounted(const char *path, int *ret_id, bool *ret_ours);

/* Has the kernel read at least KIB ahead on the mount at PATH: 0; -errno where that cannot be set, as in a container. */
int place_read_ahead(const char *path, unsigned kib);
