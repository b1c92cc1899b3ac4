/* The volfile of one brick: a stack of sections from the disk (storage/posix) to the network (protocol/server).
 *
 * The order is that of stock (brick.md 1); the section below protocol/server carries the brick's path as its name,
 * which is what clients ask for as remote-subvolume. The path of the marker's time stamp is stock's working directory.
 */
#include "volfile/graph.h"

static const struct fixed_option fixed[] = {
        {"storage/posix", "directory", "%p"},
        {"storage/posix", "volume-id", "%i"},
        {"storage/posix", "update-link-count-parent", "on", IF_TRASH},
        {"storage/posix", "fips-mode-rchecksum", "?storage.fips-mode-rchecksum"},
        {"storage/posix", "shared-brick-count", "%n"},
        {"features/trash", "trash-dir", "=features.trash-dir"},
        {"features/trash", "brick-path", "%p"},
        {"features/trash", "trash-internal-op", "=features.trash-internal-op"},
        {"features/changelog", "changelog-brick", "%p"},
        {"features/changelog", "changelog-dir", "%p/.glusterfs/changelogs"},
        {"features/changelog", "changelog-notification", "off"},
        {"features/bitrot-stub", "export", "%p"},
        {"features/bitrot-stub", "bitrot", "=features.bitrot"},
        {"features/read-only", "read-only", "=features.read-only"},
        {"features/marker", "volume-uuid", "%i"},
        {"features/marker", "timestamp-file", "/var/lib/glusterd/vols/%v/marker.tstamp"},
        {"features/marker", "quota-version", "%q"},
        {"features/index", "index-base", "%p/.glusterfs/indices"},
        {"features/index", "xattrop-dirty-watchlist", "trusted.afr.dirty", UNLESS_DISPERSE},
        {"features/index", "xattrop-pending-watchlist", "trusted.afr.%v-", UNLESS_DISPERSE},
        {"features/index", "xattrop64-watchlist", "trusted.ec.dirty", IF_DISPERSE},
        {"features/quota", "volume-uuid", "%v"},
        {"features/quota", "server-quota", "=features.quota"},
        {"features/cdc", "mode", "server"},
        {"features/sdfs", "pass-through", "false"},
        {"debug/io-stats", "unique-id", "%p"},
        {"debug/io-stats", "volume-id", "%i"},
};

/* protocol/server has the certificates' options between two groups of its own. */
static const struct fixed_option transport_options[] = {
        {"protocol/server", "transport-type", "%t"},
};

static const struct fixed_option server_options[] = {
        {"protocol/server", "transport.address-family", "?transport.address-family"},
        {"protocol/server", "auth.login.%p.allow", "%u"},
        {"protocol/server", "auth.login.%u.password", "%w"},
        {"protocol/server", "auth-path", "%p"},
        {"protocol/server", "auth.login.%p.ssl-allow", "?auth.ssl-allow"},
        {"protocol/server", "auth.addr.%p.allow", "=auth.allow"},
        {"protocol/server", "auth.addr.%p.reject", "?auth.reject"},
};

static const struct layer brick_layers[] = {
        {"posix", "storage/posix", NULL},
        {"arbiter", "features/arbiter", NULL},
        {"trash", "features/trash", NULL},
        {"changelog", "features/changelog", NULL},
        {"bitrot-stub", "features/bitrot-stub", NULL},
        {"access-control", "features/access-control", "features.acl"},
        {"locks", "features/locks", NULL},
        {"worm", "features/worm", NULL},
        {"read-only", "features/read-only", NULL},
        {"leases", "features/leases", NULL},
        {"upcall", "features/upcall", NULL},
        {"io-threads", "performance/io-threads", NULL},
        {"selinux", "features/selinux", NULL},
        {"marker", "features/marker", NULL},
        {"barrier", "features/barrier", NULL},
        {"index", "features/index", NULL},
        {"quota", "features/quota", NULL},
        {"cdc", "features/cdc", "network.compression"},
        {"namespace", "features/namespace", "features.tag-namespaces"},
        {"sdfs", "features/sdfs", "features.sdfs"},
};

static void draft_section(struct graph *g, const char *type)
{
        draft_fixed(g, fixed, ELEMENTSOF(fixed), type, BEFORE_TABLE);
        draft_switches(g, type);
        draft_table(g, type);
        draft_fixed(g, fixed, ELEMENTSOF(fixed), type, AFTER_TABLE);
}

static bool layer_wanted(const struct graph *g, const struct layer *l, bool arbiter)
{
        if (streq(l->suffix, "arbiter"))
                return arbiter;
        return !l->option_switch || graph_is_on(g, l->option_switch);
}

static void add_server(struct graph *g)
{
        draft_fixed(g, transport_options, ELEMENTSOF(transport_options), "protocol/server", BEFORE_TABLE);
        draft_switches(g, "rpc-transport/socket");
        draft_fixed(g, server_options, ELEMENTSOF(server_options), "protocol/server", BEFORE_TABLE);
        draft_table(g, "protocol/server");
        (void)graph_section(g, graph_text(g, "%s-server", g->spec->name), "protocol/server", NULL, 0);
}

int generate_brick(const struct volume_spec *spec, size_t brick, struct buf *out, struct error *err)
{
        int r = volume_spec_check(spec, err);
        if (r < 0)
                return r;
        if (brick >= spec->n_bricks)
                return error_set(err, -EINVAL, "volume %s has no brick number %zu", spec->name, brick);
        if (!spec->username || !spec->password)
                return error_set(err, -EINVAL, "volume %s has no credentials for trusted clients", spec->name);
        _cleanup_(graph_done) struct graph g;
        r = graph_init(&g, spec, SIDE_BRICK, true);
        if (r < 0)
                return error_set(err, r, "out of memory");

        g.brick = &spec->bricks[brick];
        bool arbiter = spec->arbiter_count > 0 && brick % spec->set_size == spec->set_size - 1;
        for (const struct layer *l = brick_layers; l < brick_layers + ELEMENTSOF(brick_layers); l++) {
                if (!layer_wanted(&g, l, arbiter))
                        continue;
                draft_section(&g, l->type);
                (void)graph_section(&g, graph_text(&g, "%s-%s", spec->name, l->suffix), l->type, NULL, 0);
        }
        draft_section(&g, "debug/io-stats");
        (void)graph_section(&g, g.brick->path, "debug/io-stats", NULL, 0);
        add_server(&g);
        return graph_finish(&g, out, err);
}
