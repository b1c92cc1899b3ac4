/* The invariants of a brick at rest (spec: brick.md §21): run after every test and after every simulated crash. */
#pragma once

#include "base/disk.h"

enum {
        CHECK_CRASHED = 1, /* a crash may have left names without gfid or handle, and files in .glusterfs/unlink */
        CHECK_NO_GFID2PATH = 2,
        CHECK_UNLINK_LEFT = 4, /* a deletion that failed waits for the next start */
        CHECK_ANY_CLIENT = 16, /* clients stored attributes of any shape, and replayed renames of directories */
        CHECK_PENDING = 8,     /* also: changelog attributes were only changed by XATTROP, so the index knows them */
};

/* The number of violations; each is printed to standard error. */
int check_brick(struct disk *d, const char *path, int flags);
