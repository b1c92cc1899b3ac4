/* Where a full crawl of a set is, kept in a file: so that it is gone on with, and not begun again, after whoever does it
 * was ended or a brick went away.
 *
 * The file is replaced as a whole. One that is damaged, of another version or of another volume counts as none: the crawl
 * begins anew, which costs time and nothing else. It holds directories that are still to be looked through; if there are
 * more than POSITION_DIRECTORIES_MAX the file is left as it was: what it names includes all that is still to be done.
 *
 * Short files, written without waiting for the disk; thread: any.
 */
#pragma once

#include "base/error.h"
#include "proto/types.h"

#define POSITION_DIRECTORIES_MAX 65536u

struct position {
        uint64_t total, done, healed; /* objects so far */
        struct gfid *directories;     /* still to be looked through; the last one is the next */
        size_t n;
};
void position_done(struct position *p);

/* Whose it is: the replica set ("VOL-replicate-0"), and what tells its volume from others of the same name. */
struct position_owner {
        const char *dir, *set, *volume;
};

/* -errno. */
int position_save(const struct position_owner *o, const struct position *p);
/* 0; -ENOENT: there is none that can be used. */
int position_load(const struct position_owner *o, struct position *ret);
void position_remove(const struct position_owner *o);
