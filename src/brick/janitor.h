/* Deleting what nobody can reach any more: open-unlinked files of an earlier run, and subtrees in the landfill. */
#pragma once

#include "brick/internal.h"

/* Removes everything in .glusterfs/unlink (brick.md §14.4). */
int janitor_empty_unlink(struct brick *b);
/* Deletes a bounded part of .glusterfs/landfill (brick.md §8.8). 1: it got something done and more is left. Never
 * fails: what cannot be deleted is tried again some other time. */
int janitor_purge(struct brick *b);
