/* A volume, opened by a client: its graph, its inodes, its connections.
 *
 *      volume_open() builds the graph of the volfile and connects; volume_entry() takes operations (subvolume.h).
 *
 * The graph is built from the volfile and fails closed: a translator that this client does not have ends volume_open()
 * with one line that names it. Those that only make things faster, or count, are passed by (graph.c has the table).
 *
 * Thread: the loop's.
 */
#pragma once

#include "base/error.h"
#include "rpc/tls.h"
#include "volfile/volfile.h"
#include "volume/vnode.h"

#define VOLUME_VNODES_MAX 65536 /* kept without being referred to, unless configured */

struct volume_config {
        struct loop *loop;
        const char *name;      /* of the volume, for logs */
        const struct volfile *volfile;
        const char *process_uuid; /* names this client to bricks (wire.md §5.2); NULL: made here */
        const char *subdir;    /* mount only this directory; NULL: all */
        int32_t pid;           /* 0, or one of PID_* for internal clients */
        uint32_t vnodes_max;   /* 0: VOLUME_VNODES_MAX */
        uint64_t outage_wait;  /* ns that operations wait for bricks to come back; 0: not at all */
        struct tls_source *management_tls; /* for asking which port a brick has; NULL: plain. Outlives the volume */
        uint16_t management_port;          /* of the daemons that know; 0: 24007 */
        bool hears_changes; /* bricks of ours are asked to tell what others change; heard as SUBVOLUME_INVALIDATE */
        bool no_local_reads;               /* whatever the volfile says: every READ is sent to a brick */
        /* Something the layers did not handle themselves: invalidations, the whole volume up or down. May be NULL. */
        void (*on_event)(struct volume *vol, const struct subvolume_event *e, void *arg);
        void *arg;
};

/* Builds the graph and starts to connect; does not wait for bricks. CONFIG and the volfile need not outlive the call.
 * -EOPNOTSUPP: a translator or option this client does not have; -EINVAL: a graph that cannot be. With a sentence. */
int volume_open(const struct volume_config *config, struct volume **ret, struct error *err);
/* Waits until the volume can be used (`up` of its top): 0; -ETIMEDOUT, or -EACCES as soon as every brick has refused this
 * client for good, with the reasons that bricks gave; -ECANCELED: the volume is being closed. */
int volume_wait_up(struct fibre *self, struct volume *vol, uint64_t timeout, struct error *err);
/* The volfile was replaced by VOLFILE, which need not outlive the call: changes of options are applied in place.
 * -EOPNOTSUPP: it takes another graph. With a sentence; nothing was changed. */
int volume_reload(struct fibre *self, struct volume *vol, const struct volfile *volfile, struct error *err);
/* The same with another graph (replace.c): it is built and connected beside the one in force, and takes its place when no
 * operation is under way; those that come meanwhile wait for that. Open files and POSIX locks stay. Not for callers that use
 * layers below volume_entry(), and one at a time. -EOPNOTSUPP, -EINVAL: VOLFILE is refused; -ECANCELED: volume_keep_graph()
 * was called; -ENOMEM. With a sentence; nothing was changed. */
int volume_replace(struct fibre *self, struct volume *vol, const struct volfile *volfile, struct error *err);
/* The volume is about to be closed: a replacement that waits is given up. */
void volume_keep_graph(struct volume *vol);
/* Finishes what is under way, disconnects and frees. All files and inodes must have been given back. */
struct volume *volume_close(struct fibre *self, struct volume *vol);

/* Waits until some sub-volume comes or goes, or somebody says volume_poke(), at most TIMEOUT ns. May return early. */
void volume_wait_change(struct fibre *self, struct volume *vol, uint64_t timeout);
void volume_poke(struct volume *vol);

/* Figures for the log. */
void volume_report(const struct volume *vol);

/* What takes operations, whichever graph is in force. */
struct subvolume *volume_entry(struct volume *vol);
/* The top of the graph in force: for those who look at layers. */
struct subvolume *volume_top(struct volume *vol);
struct loop *volume_loop(const struct volume *vol);
const struct volume_config *volume_configuration(const struct volume *vol);
unsigned volume_slots(const struct volume *vol);

/* Times that an operation changes, and now, into a credential: what stock's utime translator does. Nothing when the
 * volfile has none. */
void volume_stamp(const struct volume *vol, struct rpc_cred *cred, enum fop fop);
