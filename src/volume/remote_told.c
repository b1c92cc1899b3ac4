/* What a brick tells without having been asked (remote.h; spec: wire.md §4.5). Nothing here is answered.
 *
 * Thread: the loop's, from the connection: must not wait.
 */
#include "volume/remote.h"

#include "base/log.h"
#include "proto/chain.h"
#include "proto/handshake.h"

#define TOLD_ARENA_MAX MIB

static void tell_changed(struct remote *m, const struct gfid *gfid, uint32_t flags, const struct iatt *stat)
{
        subvolume_tell(&m->base, &(struct subvolume_event){
                                         .kind = SUBVOLUME_INVALIDATE, .gfid = *gfid, .flags = flags, .stat = stat});
}

static const struct iatt *stat_if_any(const struct iatt *stat)
{
        return gfid_is_null(&stat->gfid) ? NULL : stat;
}

/* The object, and the directories in which it had or got a name. */
static void told_invalidation(struct remote *m, struct xdr_reader *in, struct arena *a)
{
        struct cache_invalidation_cbk c;
        struct gfid gfid;
        if (msg_decode(&cache_invalidation_cbk_desc, in, a, &c) < 0 || gfid_parse(c.gfid.s, c.gfid.len, &gfid) < 0)
                return;
        remote_local_expire(m, &gfid);
        tell_changed(m, &gfid, c.flags, stat_if_any(&c.stat));
        if (stat_if_any(&c.parent_stat))
                tell_changed(m, &c.parent_stat.gfid, c.flags, &c.parent_stat);
        if (stat_if_any(&c.oldparent_stat))
                tell_changed(m, &c.oldparent_stat.gfid, c.flags, &c.oldparent_stat);
}

static void told_inode_contention(struct remote *m, struct xdr_reader *in, struct arena *a)
{
        struct inodelk_contention_cbk c;
        if (msg_decode(&inodelk_contention_cbk_desc, in, a, &c) < 0)
                return;
        remote_local_expire(m, &c.gfid);
        subvolume_tell(&m->base, &(struct subvolume_event){
                                         .kind = SUBVOLUME_INODELK_CONTENTION, .gfid = c.gfid, .domain = c.domain});
}

static void told_entry_contention(struct remote *m, struct xdr_reader *in, struct arena *a)
{
        struct entrylk_contention_cbk c;
        if (msg_decode(&entrylk_contention_cbk_desc, in, a, &c) == 0)
                subvolume_tell(&m->base, &(struct subvolume_event){.kind = SUBVOLUME_ENTRYLK_CONTENTION,
                                                                   .gfid = c.gfid,
                                                                   .domain = c.domain,
                                                                   .name = c.name});
}

static void told_storage(struct remote *m, bool up)
{
        if (m->storage_up != up)
                log_notice(m->base.name, "brick %s:%s says that its storage is %s", m->options.host, m->options.path,
                           up ? "usable again" : "down");
        m->storage_up = up;
        remote_update_up(m);
}

static void told_index(struct remote *m, struct xdr_reader *in, struct arena *a)
{
        struct chain_index_cbk c;
        if (msg_decode(&chain_index_cbk_desc, in, a, &c) < 0)
                return;
        m->index_pending = c.pending != 0;
        m->index_told++;
        remote_update_tells(m);
        if (m->base.up)
                remote_tell_index(m);
}

void remote_told(struct remote *m, const struct rpc_call *call)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(TOLD_ARENA_MAX);
        struct xdr_reader in = xdr_reader_of(call->args.data, call->args.len);
        if (call->prog == CHAIN_PROGRAM && call->vers == CHAIN_VERSION && call->proc == CHAIN_INDEX_CHANGED)
                told_index(m, &in, &arena);
        if (call->prog != CALLBACK_PROGRAM || call->vers != CALLBACK_VERSION)
                return;
        switch (call->proc) {
        case CALLBACK_CACHE_INVALIDATION:
                told_invalidation(m, &in, &arena);
                return;
        case CALLBACK_INODELK_CONTENTION:
                told_inode_contention(m, &in, &arena);
                return;
        case CALLBACK_ENTRYLK_CONTENTION:
                told_entry_contention(m, &in, &arena);
                return;
        case CALLBACK_CHILD_UP:
                told_storage(m, true);
                return;
        case CALLBACK_CHILD_DOWN:
                told_storage(m, false);
                return;
        default:
                log_debug(m->base.name, "brick %s:%s sent callback %u, which is of no use here", m->options.host,
                          m->options.path, call->proc);
        }
}
