/* Locks seen from outside the lock requests (spec: brick.md §13.8): clearing, handing over, asking. */
#pragma once

#include "brick/internal.h"

/* Is NAME one of glusterfs.clrlk.* or, through a descriptor, glusterfs.intrlk.*? */
bool lock_clear_is(const char *name, bool by_fd);
/* Does it; TEXT: the answer, in OP's arena. -EINVAL: bad syntax. -EPERM: clrlk needs root. */
int lock_clear(struct op *op, struct inode *inode, const char *name, const char **ret_text);

/* Who holds inode and entry locks of the object: the clients' names, each once, separated by blanks. "": nobody. For healers,
 * who tell it to operators. */
#define XATTR_LOCK_HOLDERS "mortar.lock-holders"
int lock_holders(struct op *op, struct inode *inode, const char **ret_text);

#define XATTR_LOCKINFO "trusted.glusterfs.lockinfo"
/* What another descriptor needs to take over the posix locks held through OF; empty: there are none. */
int lockinfo_get(struct op *op, struct open_fd *of, struct slice *ret);
/* Takes over to OF what VALUE describes. -EINVAL: it is not of that form. */
int lockinfo_set(struct op *op, struct open_fd *of, struct slice value);
