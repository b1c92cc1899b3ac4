/* POSIX locks that a client holds through an open file, as far as they must be asked for again: by the brick's connection
 * when it is back (remote_lock.c), by the volume on bricks that came with another graph (replace.c).
 *
 * A lock belongs to an owner and an object. An owner's locks on one object never overlap, so whoever keeps lists takes a
 * range out of all lists of the object before it is added to one. Thread: the loop's.
 */
#pragma once

#include "proto/fop.h"
#include "rpc/header.h"

/* LK: commands and types on the wire (wire.md §3.7). */
enum { LK_COMMAND_GET = 0, LK_COMMAND_SET = 1, LK_COMMAND_WAIT = 2 };
enum { LK_TYPE_READ = 0, LK_TYPE_WRITE = 1, LK_TYPE_UNLOCK = 2 };

#define LOCK_END UINT64_MAX /* to the end of the file, wherever that is */

struct held_lock {
        struct held_lock *next;
        uint32_t type;
        uint64_t first, last; /* bytes */
        int32_t pid;
        uint32_t uid, gid;
        uint32_t flock_pid;
        uint32_t owner_len;
        uint8_t owner[];
};

struct held_locks {
        struct held_lock *head;
        bool incomplete; /* there was no memory for some */
};

static inline bool lock_list_is_empty(const struct held_locks *l)
{
        return !l->head && !l->incomplete;
}
/* The last byte that REQ is about. */
uint64_t lock_last(const struct lk_fop_req *req);
/* Takes FIRST..LAST out of the locks of CRED's owner. */
void lock_list_subtract(struct held_locks *l, const struct rpc_cred *cred, uint64_t first, uint64_t last);
/* What REQ asked for is held. */
void lock_list_add(struct held_locks *l, const struct rpc_cred *cred, const struct lk_fop_req *req);
/* Forgets those of CRED's owner; NULL: all. */
void lock_list_drop(struct held_locks *l, const struct rpc_cred *cred);

/* Asks for a lock again, without waiting for it: RET_REQ refers to RET_CRED. The descriptor is left to the caller. */
void lock_again(const struct held_lock *l, const struct gfid *gfid, struct rpc_cred *ret_cred, struct lk_fop_req *ret_req);
