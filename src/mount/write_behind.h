/* Writes that are answered before the bricks have them.
 *
 * What write(2) hands over is kept as pieces in the order of arrival, and goes to the volume at once, in parallel where
 * pieces do not overlap. While something of a file is on its way, small writes that touch the one before are merged
 * with it, up to WRITE_PIECE_MAX. Bounded per file and per mount: who comes when all is taken waits.
 *
 * What was answered is lost only with this process, or if the bricks refuse it: the next write, fsync or close of every
 * file of the object that was open then says so, once, and writes are not answered early any more until one succeeded.
 *
 * Whoever looks at data or size of an object, changes it by another way, or lets others in (locks, close) settles it
 * first. Thread: the loop's.
 */
#pragma once

#include "base/fibre.h"

struct bridge;
struct call;
struct node;
struct open_file;

#define WRITE_PIECE_MAX (1 * MIB)         /* one message to a brick: as much as the kernel hands over at once */
#define WRITE_BEHIND_FILE_MAX (8 * MIB)   /* of a file, unless the volume's options say otherwise */
#define WRITE_BEHIND_MOUNT_MAX (32 * MIB) /* of all files */

struct write_piece;
struct write_waiter;

/* What a node has under way. */
struct write_queue {
        struct write_piece *first, *last; /* in order of arrival, those on their way included */
        struct write_waiter *waiters;
        uint64_t bytes;
        uint32_t on_way; /* pieces at the volume */
        uint32_t failures;
        int error;    /* of the last failure */
        bool careful; /* the last write failed: none is answered early */
};

/* Of the mount. */
struct write_behind {
        uint64_t file_max; /* bytes; 0: every write goes through */
        uint64_t bytes;
        uint32_t pieces;
        uint64_t sequence;
        struct write_waiter *waiters;
};

/* Takes the write that C is about and answers it: true. False: it must go to the volume before it is answered, and
 * nothing was done. A write that finds a failure to report is answered with that. Uses up the time of the call: large
 * data stays where the kernel's request put it, and the call returns when the bricks have it. */
bool write_behind_take(struct call *c);
/* The outcome of a write that went through. */
void write_behind_went_through(struct call *c, int result);

/* Until what was written to N before the call is with the bricks or has failed; _from: only what is behind OFFSET. 0,
 * or -EINTR when C's caller gave up. */
int write_behind_settle(struct call *c, struct node *n);
int write_behind_settle_from(struct call *c, struct node *n, uint64_t offset);
/* The same for everything of the mount, with nobody asking. */
void write_behind_settle_all(struct fibre *self, struct bridge *b);
/* A failure that C's open file was not told of yet: that, and it is told. 0: none. */
int write_behind_error(struct call *c);
bool write_behind_is_idle(const struct node *n);
