/* Lock requests of a client under test in short form. Each gives 0, -errno or CLIENT_PARKED. */
#pragma once

#include "harness.h"

enum { LK_READ, LK_WRITE, LK_UNLOCK };
enum { LK_GET, LK_TRY, LK_WAIT };

/* The lock owner of the client's next calls. */
void as_owner(struct client *c, const char *owner);
/* LEN 0: to infinity. FD_ANONYMOUS: by gfid. */
int inodelk(struct client *c, const struct gfid *g, int cmd, uint32_t type, uint64_t start, uint64_t len,
            const char *domain);
int finodelk(struct client *c, const struct gfid *g, int64_t fd, int cmd, uint32_t type, uint64_t start, uint64_t len,
             const char *domain);
/* CMD: 0 waits, 1 unlocks, 2 does not wait. NAME NULL: the whole directory. */
int entrylk(struct client *c, const struct gfid *g, int cmd, uint32_t type, const char *name, const char *domain);
/* RET_FLOCK may be NULL. FLAGS: glusterfs.lk.lkmode, 0 = none. */
int lk(struct client *c, const struct gfid *g, int64_t fd, int cmd, uint32_t type, uint64_t start, uint64_t len,
       uint32_t flags, struct flock_range *ret_flock);
int flush(struct client *c, const struct gfid *g, int64_t fd);
/* The text answered for NAME by path or (FD not negative) through a descriptor; "" if there is none. */
int getxattr_text(struct client *c, const struct gfid *g, int64_t fd, const char *name, char buf[static 4096]);
