/* Client and self-heal volfiles. Bricks are in generate_brick.c, the machinery in graph.c.
 *
 * What stands where was recorded from a stock daemon (tests/data/volfile); the unit test compares byte for byte.
 * From the bottom of a client's graph: one protocol/client per brick, one cluster section per replica or disperse set,
 * distribute over these, then the stack `client_layers`, io-stats on top.
 */
#include "volfile/graph.h"

#include <ctype.h>

static const struct fixed_option fixed[] = {
        {"protocol/client", "ping-timeout", "=network.ping-timeout"},
        {"protocol/client", "remote-host", "%h"},
        {"protocol/client", "remote-subvolume", "%p"},
        {"protocol/client", "transport-type", "%t"},
        {"protocol/client", "transport.address-family", "?transport.address-family"},
        {"protocol/client", "username", "%u", IF_CREDENTIALS},
        {"protocol/client", "password", "%w", IF_CREDENTIALS},
        {"protocol/client", "transport.socket.ssl-enabled", "?client.ssl"},
        {"cluster/replicate", "volume-id", "%i"},
        {"cluster/replicate", "arbiter-count", "%a", IF_ARBITER},
        {"cluster/replicate", "iam-self-heal-daemon", "yes", IF_SHD, AFTER_TABLE},
        {"cluster/disperse", "redundancy", "%r"},
        {"cluster/disperse", "iam-self-heal-daemon", "yes", IF_SHD, AFTER_TABLE},
        {"features/cdc", "mode", "client"},
};

static const struct layer client_layers[] = {
        {"cloudsync", "features/cloudsync", "features.cloudsync"},
        {"shard", "features/shard", "features.shard"},
        {"utime", "features/utime", "features.ctime"},
        {"cdc", "features/cdc", "network.compression"},
        {"write-behind", "performance/write-behind", "performance.write-behind"},
        {"read-ahead", "performance/read-ahead", "performance.read-ahead"},
        {"readdir-ahead", "performance/readdir-ahead", "performance.readdir-ahead"},
        {"io-cache", "performance/io-cache", "performance.io-cache"},
        {"open-behind", "performance/open-behind", "performance.open-behind"},
        {"quick-read", "performance/quick-read", "performance.quick-read"},
        {"nl-cache", "performance/nl-cache", "performance.nl-cache"},
        {"md-cache", "performance/md-cache", "performance.stat-prefetch"},
        {"io-threads", "performance/io-threads", "performance.client-io-threads"},
};

static void draft_section(struct graph *g, const char *type)
{
        draft_fixed(g, fixed, ELEMENTSOF(fixed), type, BEFORE_TABLE);
        if (streq(type, "protocol/client"))
                draft_switches(g, "rpc-transport/socket");
        draft_table(g, type);
        draft_fixed(g, fixed, ELEMENTSOF(fixed), type, AFTER_TABLE);
}

/* The protocol/client sections, one per brick; CHILDREN has room for them. */
static void add_clients(struct graph *g, struct volfile_section **children)
{
        const struct volume_spec *spec = g->spec;
        for (size_t i = 0; i < spec->n_bricks && g->error == 0; i++) {
                g->brick = &spec->bricks[i];
                draft_section(g, "protocol/client");
                const char *name = g->brick->id ? g->brick->id : graph_text(g, "%s-client-%zu", spec->name, i);
                children[i] = graph_section(g, name, "protocol/client", children, 0);
        }
        g->brick = NULL;
}

static const char *join_names(struct graph *g, struct volfile_section *const *sections, size_t n)
{
        const char *joined = NULL;
        for (size_t i = 0; i < n && g->error == 0; i++)
                joined = graph_text(g, "%s%s%s", joined ? joined : "", joined ? "," : "", sections[i]->name);
        return joined;
}

/* Replaces the CHILDREN of each set by the set's section. Returns the number of sets. */
static size_t add_sets(struct graph *g, struct volfile_section **children)
{
        const struct volume_spec *spec = g->spec;
        if (spec->type == VOLUME_DISTRIBUTE)
                return spec->n_bricks;
        const char *kind = spec->type == VOLUME_REPLICATE ? "replicate" : "disperse";
        const char *type = graph_text(g, "cluster/%s", kind);
        size_t sets = spec->n_bricks / spec->set_size;
        for (size_t i = 0; i < sets && g->error == 0; i++) {
                struct volfile_section **members = children + i * spec->set_size;
                if (spec->type == VOLUME_REPLICATE)
                        draft_put(g, "afr-pending-xattr", join_names(g, members, spec->set_size));
                draft_section(g, type);
                children[i] = graph_section(g, graph_text(g, "%s-%s-%zu", spec->name, kind, i), type, members,
                                            spec->set_size);
        }
        return sets;
}

/* With several sets, each gets its share of the memory for directory read-ahead. */
static void share_readdir_cache(struct graph *g, size_t sets)
{
        uint64_t bytes;
        const char *limit = graph_value(g, "performance.rda-cache-limit");
        if (sets > 1 && graph_is_on(g, "performance.readdir-ahead") && limit && option_size(limit, &bytes) >= 0)
                graph_overlay(g, "performance.rda-cache-limit",
                              graph_text(g, "%lluB", (unsigned long long)(bytes / sets)), true);
}

/* Directory read-ahead below distribution instead of above: over each set. */
static void add_parallel_readdir(struct graph *g, struct volfile_section **children, size_t sets)
{
        if (!graph_is_on(g, "performance.parallel-readdir"))
                return;
        share_readdir_cache(g, sets);
        for (size_t i = 0; i < sets && g->error == 0; i++) {
                draft_put(g, "performance.readdir-ahead", "on");
                draft_section(g, "performance/readdir-ahead");
                children[i] = graph_section(g, graph_text(g, "%s-readdir-ahead-%zu", g->spec->name, i),
                                            "performance/readdir-ahead", &children[i], 1);
        }
}

/* Names of the sets that remove-brick empties, which distribution must not use for new files. */
static const char *decommissioned(struct graph *g, struct volfile_section *const *sets, size_t n)
{
        const char *names = NULL;
        size_t set_size = g->spec->n_bricks / n;
        for (size_t i = 0; i < n && g->error == 0; i++)
                if (g->spec->bricks[i * set_size].decommissioned)
                        names = graph_text(g, "%s%s%s", names ? names : "", names ? " " : "", sets[i]->name);
        return names;
}

static const char *distribute_type(const struct graph *g)
{
        if (graph_is_on(g, "cluster.nufa"))
                return "cluster/nufa";
        return graph_is_on(g, "cluster.switch") ? "cluster/switch" : "cluster/distribute";
}

static void add_distribute(struct graph *g, struct volfile_section **children)
{
        size_t sets = add_sets(g, children);
        if (g->error < 0)
                return;
        const char *out_of_use = decommissioned(g, children, sets);
        add_parallel_readdir(g, children, sets);
        draft_put(g, "decommissioned-bricks", out_of_use);
        const char *type = distribute_type(g);
        draft_section(g, type);
        (void)graph_section(g, graph_text(g, "%s-dht", g->spec->name), type, children, sets);
}

static void add_client_layers(struct graph *g)
{
        for (const struct layer *l = client_layers; l < client_layers + ELEMENTSOF(client_layers); l++) {
                if (!graph_is_on(g, l->option_switch))
                        continue;
                if (streq(l->suffix, "readdir-ahead") && graph_is_on(g, "performance.parallel-readdir"))
                        continue;
                draft_section(g, l->type);
                (void)graph_section(g, graph_text(g, "%s-%s", g->spec->name, l->suffix), l->type, NULL, 0);
        }
}

/* Snapshots in a directory: a connection to the snapshot daemon of the server the volfile came from (so no
 * remote-host). */
static void add_snapshot_view(struct graph *g)
{
        if (!graph_is_on(g, "features.uss") || g->error < 0)
                return;
        const char *name = g->spec->name;
        struct volfile_section *volume = g->top;
        struct volume_brick daemon = {.path = graph_text(g, "snapd-%s", name)};
        g->brick = &daemon;
        draft_section(g, "protocol/client");
        g->brick = NULL;
        struct volfile_section *children[] = {volume, NULL};
        children[1] = graph_section(g, graph_text(g, "%s-snapd-client", name), "protocol/client", children, 0);
        draft_section(g, "features/snapview-client");
        (void)graph_section(g, graph_text(g, "%s-snapview-client", name), "features/snapview-client", children, 2);
}

static bool name_is_valid(const char *name)
{
        size_t len = name ? strlen(name) : 0;
        if (len == 0 || len > 256 || name[0] == '-')
                return false;
        for (const char *at = name; *at; at++)
                if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
                        return false;
        return true;
}

int volume_spec_check(const struct volume_spec *spec, struct error *err)
{
        if (!name_is_valid(spec->name))
                return error_set(err, -EINVAL, "\"%.256s\" is no name for a volume", spec->name ? spec->name : "");
        if (spec->type >= VOLUME_TYPE_MAX || spec->transport > TRANSPORT_TCP_RDMA || !spec->volume_id)
                return error_set(err, -EINVAL, "volume %s: type, transport or id missing", spec->name);
        size_t set_size = spec->type == VOLUME_DISTRIBUTE ? 1 : spec->set_size;
        if (spec->n_bricks == 0 || set_size == 0 || spec->n_bricks % set_size != 0)
                return error_set(err, -EINVAL, "volume %s: %zu bricks do not make sets of %zu", spec->name,
                                 spec->n_bricks, set_size);
        if (spec->arbiter_count > 1 || (spec->arbiter_count == 1 && (spec->type != VOLUME_REPLICATE || set_size < 3)))
                return error_set(err, -EINVAL, "volume %s: an arbiter needs replica sets of three", spec->name);
        if (spec->type == VOLUME_DISPERSE && (spec->redundancy == 0 || spec->redundancy * 2 >= set_size))
                return error_set(err, -EINVAL, "volume %s: redundancy %u does not fit sets of %zu", spec->name,
                                 spec->redundancy, set_size);
        for (size_t i = 0; i < spec->n_bricks; i++)
                if (!spec->bricks[i].host || !spec->bricks[i].path || spec->bricks[i].path[0] != '/')
                        return error_set(err, -EINVAL, "volume %s: brick %zu has no host or no absolute path",
                                         spec->name, i);
        return 0;
}

static bool credentials_missing(const struct volume_spec *spec)
{
        return !spec->username || !*spec->username || !spec->password || !*spec->password;
}

int generate_client(const struct volume_spec *spec, enum client_flavour flavour, struct buf *out, struct error *err)
{
        int r = volume_spec_check(spec, err);
        if (r < 0)
                return r;
        if (flavour == CLIENT_TRUSTED && credentials_missing(spec))
                return error_set(err, -EINVAL, "volume %s has no credentials for trusted clients", spec->name);
        _cleanup_free_ struct volfile_section **children = calloc(spec->n_bricks, sizeof *children);
        if (!children)
                return error_set(err, -ENOMEM, "out of memory");
        _cleanup_(graph_done) struct graph g;
        r = graph_init(&g, spec, SIDE_CLIENT, flavour == CLIENT_TRUSTED);
        if (r < 0)
                return error_set(err, r, "out of memory");

        graph_overlay(&g, "client.send-gids", graph_is_on(&g, "server.manage-gids") ? "false" : "true", true);
        if (graph_is_on(&g, "server.root-squash"))
                graph_overlay(&g, "performance.read-after-open", "yes", true);
        add_clients(&g, children);
        add_distribute(&g, children);
        add_client_layers(&g);
        add_snapshot_view(&g);
        draft_switches(&g, "debug/io-stats");
        draft_table(&g, "debug/io-stats");
        (void)graph_section(&g, spec->name, "debug/io-stats", NULL, 0);
        return graph_finish(&g, out, err);
}

static void overlay_for_healer(struct graph *g)
{
        graph_overlay(g, "cluster.background-self-heal-count", "0", true);
        graph_overlay(g, "cluster.metadata-self-heal", "on", true);
        graph_overlay(g, "cluster.data-self-heal", "on", true);
        graph_overlay(g, "cluster.entry-self-heal", "on", true);
        graph_overlay(g, "cluster.self-heal-daemon", "enable", false);
        graph_overlay(g, "cluster.disperse-self-heal-daemon", "enable", false);
}

int generate_shd(const struct volume_spec *spec, struct buf *out, struct error *err)
{
        int r = volume_spec_check(spec, err);
        if (r < 0)
                return r;
        if (spec->type == VOLUME_DISTRIBUTE)
                return error_set(err, -EINVAL, "volume %s has nothing to heal: it keeps one copy", spec->name);
        _cleanup_free_ struct volfile_section **children = calloc(spec->n_bricks, sizeof *children);
        if (!children)
                return error_set(err, -ENOMEM, "out of memory");
        _cleanup_(graph_done) struct graph g;
        r = graph_init(&g, spec, SIDE_SHD, !credentials_missing(spec));
        if (r < 0)
                return error_set(err, r, "out of memory");

        overlay_for_healer(&g);
        add_clients(&g, children);
        size_t sets = add_sets(&g, children);
        draft_switches(&g, "debug/io-stats");
        (void)graph_section(&g, spec->name, "debug/io-stats", children, sets);
        return graph_finish(&g, out, err);
}
