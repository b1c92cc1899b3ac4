/* Mounting and unmounting: mount(2) as root, fusermount3 otherwise.
 *
 * Both look at paths and run programs, so they block: call them before the loop runs, or from a thread of their own. A
 * mount is there, and stat() of it hangs, from fuse_mount() until a session serves the descriptor.
 */
#pragma once

#include "base/error.h"

struct fuse_mount_options {
        const char *source;       /* first column of the mount table, exactly so: "host:/volume" */
        const char *subtype;      /* the type becomes fuse.SUBTYPE; NULL: fuse */
        unsigned long flags;      /* MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_SYNCHRONOUS, … */
        bool allow_other;         /* other users than the mounting one */
        bool default_permissions; /* the kernel checks mode bits */
        uint32_t max_read;        /* bytes of a READ; 0: as the kernel likes */
        const char *extra; /* further options for the kernel, comma separated ("context=…"); NULL. As root only */
        const char *fusermount; /* program for other users than root; NULL: found in PATH */
        bool use_fusermount;    /* also as root: for tests */
};

/* Mounts at MOUNTPOINT, an existing directory. *ret is the descriptor for fuse_session_new(). -errno with a sentence.
 */
int fuse_mount(const struct fuse_mount_options *o, const char *mountpoint, int *ret, struct error *err);

enum {
        FUSE_UNMOUNT_LAZY = 1,  /* even if it is busy: gone from the tree now, for its users when they are done */
        FUSE_UNMOUNT_FORCE = 2, /* fails what is under way in the kernel first (root only) */
};
/* -EBUSY: somebody uses it. -EINVAL: not a mount point. */
int fuse_unmount(const char *mountpoint, unsigned flags, struct error *err);
