/* A file system in memory on the fuse layer: for tests. One per process, one mount.
 *
 * It keeps POSIX semantics where the layer must carry them (holes, open files without names, locks, set-id bits,
 * times), so that the POSIX tour gives on it what it gives on tmpfs. Permissions are the kernel's
 * (default_permissions); no ACLs.
 *
 * What tests ask of it goes through xattrs of the root: reading user.memfs.groups gives the caller's groups, .stats
 * figures, .protocol what was negotiated; setting .delay (ns, of every further request), .uncached,
 * .inval (node number), .expire (a name in the root) act.
 */
#pragma once

#include "fuse/fuse.h"

struct memfs;

struct memfs *memfs_new(struct loop *loop);
struct memfs *memfs_free(struct memfs *fs);
extern const struct fuse_ops memfs_ops; /* their arg is the struct memfs */
