/* The bridge's life: made before the volume, opened on its root, given to a session (bridge.h).
 *
 * Relies on: volume.h, fuse.h. The root's node exists from bridge_open_root() to the end, whatever the kernel forgets.
 */
#include "mount/bridge_state.h"

#include <sys/stat.h>

static void op_forget(struct fuse_session *s, uint64_t id, uint64_t count, void *arg)
{
        struct bridge *b = arg;
        struct node *n = node_find(&b->nodes, id);
        if (!n)
                return;
        node_forget(&b->nodes, n, count);
        node_unref(&b->nodes, n);
}

#define BRIDGE_MEMBER_(name) .name = bridge_op_##name,
static const struct fuse_ops operations = {BRIDGE_OPERATIONS(BRIDGE_MEMBER_).forget = op_forget};

const struct fuse_ops *bridge_operations(void)
{
        return &operations;
}

/* FUSE_ATOMIC_O_TRUNC is not among them: an open that truncates is two operations for the volume as well, and as
 * two the kernel does the second with its own locks held. */
uint64_t bridge_choices(const struct bridge *b)
{
        uint64_t choices = FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_DONT_MASK | FUSE_HANDLE_KILLPRIV_V2 |
                           FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_AUTO_INVAL_DATA |
                           FUSE_DIRECT_IO_ALLOW_MMAP;
        return choices | (b->config.acl ? FUSE_POSIX_ACL : 0);
}

int bridge_new(const struct bridge_config *config, struct bridge **ret)
{
        struct bridge *b = calloc(1, sizeof *b);
        if (!b || node_table_init(&b->nodes) < 0) {
                free(b);
                return -ENOMEM;
        }
        b->config = *config;
        if (b->config.statfs_timeout == 0)
                b->config.statfs_timeout = BRIDGE_STATFS_TIMEOUT;
        *ret = b;
        return 0;
}

void bridge_close(struct bridge *b)
{
        if (!b || b->closed)
                return;
        b->closed = true;
        timer_stop(&b->evict_timer);
        open_again_done(b);
        file_table_done(b);
        node_table_done(&b->nodes);
}

struct bridge *bridge_free(struct bridge *b)
{
        bridge_close(b);
        free(b);
        return NULL;
}

void *bridge_owner(const struct bridge *b)
{
        return b->config.owner;
}

void bridge_set_invalidation(struct bridge *b, uint64_t timeout)
{
        b->invalidation_timeout = timeout;
}

void bridge_set_write_behind(struct bridge *b, uint64_t file_max)
{
        b->behind.file_max = file_max;
}

void bridge_settle(struct fibre *self, struct bridge *b)
{
        write_behind_settle_all(self, b);
        fibre_group_wait_all(self, &b->late);
}

void bridge_serve(struct bridge *b, struct fuse_session *s)
{
        b->session = s;
        if (!s)
                timer_stop(&b->evict_timer);
}

void bridge_get_stats(const struct bridge *b, struct bridge_stats *ret)
{
        *ret = b->stats;
        ret->nodes = b->nodes.n_nodes;
        ret->files = b->files.open;
}

/* ---- the root ---------------------------------------------------------------------------------------------------- */

static int lookup_root(struct fibre *self, struct bridge *b, struct vnode *root, struct arena *arena,
                       struct fibre_event *cancel, struct iatt *ret_stat)
{
        struct request r = {.arena = arena, .inode = root, .cancel = cancel};
        struct lookup_fop_req req = {.gfid = GFID_ROOT, .bname = STR("")};
        struct lookup_fop_rep rep = {0};
        r.cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        r.cred.pid = b->config.client_pid;
        int result = dict_add_gfid(&req.xdata, arena, "gfid-req", &GFID_ROOT);
        if (result == 0)
                result = subvolume_lookup(self, volume_entry(b->volume), &r, &req, &rep);
        if (result >= 0)
                *ret_stat = rep.prestat;
        return result;
}

int bridge_open_root(struct fibre *self, struct bridge *b, struct volume *vol, uint64_t timeout, struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(4 * MIB);
        struct iatt stat;
        b->volume = vol;
        cache_count_bricks(b);
        _cleanup_vnode_ struct vnode *root = vnode_new(vol, &GFID_ROOT, S_IFDIR);
        if (!root)
                return error_set(err, -ENOMEM, "out of memory");
        struct deadline d;
        int r = lookup_root(self, b, root, &arena, deadline_start(&d, b->config.loop, timeout), &stat);
        timer_stop(&d.timer);
        if (r == -EINTR)
                return error_set(err, -ETIMEDOUT,
                                 "The bricks are connected, but do not answer for the root of the volume");
        if (r < 0)
                return error_set(err, r, "The root of the volume cannot be looked up: %s", strerror(-r));
        if (!S_ISDIR(stat.mode))
                return error_set(err, -ENOTDIR, "The root of the volume is not a directory");
        stat.gfid = GFID_ROOT;
        _cleanup_vnode_ struct vnode *linked = vnode_link(root, &stat);
        struct node *n = node_get(&b->nodes, linked, FUSE_ROOT_ID);
        return n ? 0 : error_set(err, -ENOMEM, "out of memory"); /* the reference stays with the bridge */
}
