/* Between the kernel and the volume: every FUSE operation as operations of the volume's top.
 *
 *      bridge_new()             before the volume is opened: its events go to bridge_event()
 *      bridge_open_root()       the volume answers: the root is looked up
 *      bridge_serve()           a session with bridge_operations() and the bridge as `arg`
 *      bridge_close()           after the session was freed, before the volume is closed
 *      bridge_free()
 *
 * Rules that are the same for all operations stand in bridge_state.h. Thread: the loop's.
 */
#pragma once

#include "fuse/fuse.h"
#include "volume/volume.h"

struct bridge;

enum bridge_direct_io { BRIDGE_DIRECT_AUTO, BRIDGE_DIRECT_ALWAYS, BRIDGE_DIRECT_NEVER };

struct bridge_config {
        struct loop *loop;
        void *owner;     /* for bridge_owner() */
        bool acl;        /* POSIX ACLs; without it they are refused */
        bool selinux;    /* security.selinux is passed on */
        bool ino32;      /* inode numbers are folded to 32 bits */
        bool keep_cache; /* pages outlive the last close */
        bool read_only;
        enum bridge_direct_io direct_io;
        int32_t client_pid; /* instead of the caller's; 0: the caller's */
        /* How long the kernel may believe what it is told, ns; UINT64_MAX: BRIDGE_TIMEOUT, or longer while bricks tell
         * of changes. */
        uint64_t attribute_timeout, entry_timeout, negative_timeout;
        uint64_t statfs_timeout; /* an answer to statfs takes no longer; 0: BRIDGE_STATFS_TIMEOUT */
        uint32_t nodes_max;      /* objects the kernel remembers before it is asked to forget some; 0: any number */
};

#define BRIDGE_TIMEOUT NS_PER_SEC
#define BRIDGE_STATFS_TIMEOUT (5 * NS_PER_SEC)

/* -ENOMEM. CONFIG need not outlive the call. */
int bridge_new(const struct bridge_config *config, struct bridge **ret);
/* Gives back every open file and inode, before the volume is closed. Events are ignored from then on. NULL is fine. */
void bridge_close(struct bridge *b);
/* After the volume was closed. NULL is fine; returns NULL. */
struct bridge *bridge_free(struct bridge *b);

/* For volume_config.on_event, with the bridge as ARG. */
void bridge_event(struct volume *vol, const struct subvolume_event *e, void *arg);
/* The volume has another graph: bricks that are away are counted anew. */
void bridge_graph_changed(struct bridge *b);
/* Bricks tell of changes: what they tell may be believed for TIMEOUT ns (0: they do not). From the volfile. */
void bridge_set_invalidation(struct bridge *b, uint64_t timeout);

/* Writes are answered before the bricks have them, so many bytes of a file at most; 0: they are not. From the volfile. */
void bridge_set_write_behind(struct bridge *b, uint64_t file_max);
/* After the session was freed, before bridge_close(): waits for what was answered and is not with the bricks. */
void bridge_settle(struct fibre *self, struct bridge *b);

/* Looks the root up, for TIMEOUT ns at most: 0, or -errno with a sentence. The volume is used from now on, and to be
 * closed by the caller after bridge_close(). */
int bridge_open_root(struct fibre *self, struct bridge *b, struct volume *vol, uint64_t timeout, struct error *err);

void *bridge_owner(const struct bridge *b);
/* For the session's configuration. */
const struct fuse_ops *bridge_operations(void);
uint64_t bridge_choices(const struct bridge *b);
/* Notifications go to S; NULL: no longer. */
void bridge_serve(struct bridge *b, struct fuse_session *s);

struct bridge_stats {
        uint32_t nodes;         /* the kernel knows */
        uint32_t files;         /* open */
        uint64_t evictions;     /* objects that the kernel was asked to forget */
        uint64_t invalidations; /* told by bricks */
};
void bridge_get_stats(const struct bridge *b, struct bridge_stats *ret);
