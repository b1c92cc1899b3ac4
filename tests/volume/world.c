/* Clients of a simulated cluster, and its layouts (world.h). */
#include "world.h"

#define CLOSE_TIMEOUT (60 * NS_PER_SEC)

static const struct sim_link good_link = {.delay_min = 50 * NS_PER_USEC, .delay_max = 200 * NS_PER_USEC};

/* ---- the volfile ----------------------------------------------------------------------------------------------- */

struct text {
        char *at, *end;
};

static void add(struct text *t, const char *format, ...) _printf_(2, 3);
static void add(struct text *t, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(t->at, (size_t)(t->end - t->at), format, ap);
        va_end(ap);
        assert_true(n >= 0 && n < t->end - t->at);
        t->at += n;
}

static const char *or_nothing(const char *s)
{
        return s ? s : "";
}

static void add_clients(struct text *t, const struct world *w)
{
        for (unsigned k = 0; k < w->used; k++)
                add(t,
                    "volume " WORLD_VOLUME "-client-%u\n    type protocol/client\n    option remote-host %s\n"
                    "    option remote-subvolume " WORLD_BRICK_PATH "\n    option transport-type tcp\n"
                    "    option transport.address-family inet\n%send-volume\n\n",
                    k, w->bricks[k].address, or_nothing(w->config.client_options));
}

static void add_replicate(struct text *t, const struct world *w, unsigned set)
{
        char id[GFID_TEXT_LEN + 1];
        unsigned k = set * w->copies;
        add(t, "volume " WORLD_VOLUME "-replicate-%u\n    type cluster/replicate\n", set);
        const char *more = or_nothing(w->config.replicate_options);
        if (!strstr(more, "use-anonymous-inode"))
                add(t, "    option use-anonymous-inode yes\n");
        if (!strstr(more, "granular-entry-heal"))
                add(t, "    option granular-entry-heal on\n");
        if (w->config.layout == WORLD_ARBITER)
                add(t, "    option arbiter-count 1\n");
        add(t, "    option volume-id %s\n", gfid_format(&w->volume_id, id));
        add(t, "    option afr-pending-xattr ");
        for (unsigned i = 0; i < w->copies; i++)
                add(t, "%s" WORLD_VOLUME "-client-%u", i > 0 ? "," : "", k + i);
        add(t, "\n%s    subvolumes", more);
        for (unsigned i = 0; i < w->copies; i++)
                add(t, " " WORLD_VOLUME "-client-%u", k + i);
        add(t, "\nend-volume\n\n");
}

static void add_distribute(struct text *t, const struct world *w, const char *kind, unsigned n)
{
        add(t, "volume " WORLD_VOLUME "-dht\n    type cluster/distribute\n    option lock-migration off\n");
        add(t, "    option force-migration off\n%s    subvolumes", or_nothing(w->config.distribute_options));
        for (unsigned k = 0; k < n; k++)
                add(t, " " WORLD_VOLUME "-%s-%u", kind, k);
        add(t, "\nend-volume\n\n");
}

/* The sections that decide where things are; returns the name of the uppermost. */
static const char *add_cluster(struct text *t, const struct world *w)
{
        bool replicated = w->config.layout >= WORLD_REP3;
        unsigned sets = replicated ? w->used / w->copies : w->used;
        for (unsigned k = 0; replicated && k < sets; k++)
                add_replicate(t, w, k);
        if (sets > 1 || w->config.distribute_one) {
                add_distribute(t, w, replicated ? "replicate" : "client", sets);
                return WORLD_VOLUME "-dht";
        }
        return replicated ? WORLD_VOLUME "-replicate-0" : WORLD_VOLUME "-client-0";
}

static void add_on_top(struct text *t, const char *sections, const char *below)
{
        const char *mark = strstr(sections, "%s");
        assert_non_null(mark);
        add(t, "%.*s%s%s", (int)(mark - sections), sections, below, mark + 2);
}

static void make_volfile(struct world *w)
{
        struct text t = {w->volfile, w->volfile + sizeof w->volfile};
        add_clients(&t, w);
        const char *below = add_cluster(&t, w);
        if (!w->config.no_utime) {
                add(&t, "volume " WORLD_VOLUME "-utime\n    type features/utime\n    option noatime on\n");
                add(&t, "    subvolumes %s\nend-volume\n\n", below);
                below = WORLD_VOLUME "-utime";
        }
        add(&t, "volume " WORLD_VOLUME "\n    type debug/io-stats\n    subvolumes %s\nend-volume\n", below);
        if (w->config.on_top)
                add_on_top(&t, w->config.on_top, WORLD_VOLUME);
}

void world_use(struct world *w, unsigned bricks, unsigned copies)
{
        w->used = bricks;
        w->copies = copies;
        make_volfile(w);
}

/* ---- clients --------------------------------------------------------------------------------------------------- */

struct started {
        struct world_client *client;
        world_fn fn;
        void *arg;
};

static void run_started(struct fibre *self, void *arg)
{
        struct started s = *(struct started *)arg;
        free(arg);
        s.fn(self, s.client, s.arg);
        s.client->running--;
}

void world_start(struct world *w, unsigned client, world_fn fn, void *arg)
{
        struct world_client *c = &w->clients[client];
        struct started *s = calloc(1, sizeof *s);
        assert_non_null(s);
        *s = (struct started){c, fn, arg};
        c->running++;
        assert_int_equal(fibre_start(sim_node_loop(c->node), "test", run_started, s), 0);
}

struct ending {
        world_fn fn;
        void *arg;
        bool done;
};

static void run_to_end(struct fibre *self, struct world_client *c, void *arg)
{
        struct ending *e = arg;
        e->fn(self, c, e->arg);
        e->done = true;
}

static bool has_ended(void *arg)
{
        return ((struct ending *)arg)->done;
}

void world_until(struct world *w, bool (*done)(void *arg), void *arg)
{
        int r = sim_run(w->sim, sim_now(w->sim) + WORLD_PATIENCE, done, arg);
        if (r < 0)
                fail_msg("what is waited for does not happen: %s", strerror(-r));
}

void world_run(struct world *w, unsigned client, world_fn fn, void *arg)
{
        struct ending e = {.fn = fn, .arg = arg};
        world_start(w, client, run_to_end, &e);
        world_until(w, has_ended, &e);
}

static bool none_runs(void *arg)
{
        const struct world *w = arg;
        for (unsigned k = 0; k < w->n_clients; k++)
                if (w->clients[k].running > 0)
                        return false;
        return true;
}

void world_wait(struct world *w)
{
        world_until(w, none_runs, w);
}

static bool never(void *arg)
{
        (void)arg;
        return false;
}

void world_pass(struct world *w, uint64_t time)
{
        (void)sim_run(w->sim, sim_now(w->sim) + time, never, NULL);
}

int world_mount(struct fibre *self, struct world_client *c, uint64_t timeout, struct error *err)
{
        const struct world_config *wc = &c->world->config;
        _cleanup_volfile_ struct volfile *volfile = NULL;
        int r = volfile_parse(c->world->volfile, strlen(c->world->volfile), &volfile, err);
        if (r < 0)
                return r;
        const struct volume_config config = {
                .loop = sim_node_loop(c->node),
                .name = WORLD_VOLUME,
                .volfile = volfile,
                .process_uuid = c->uuid,
                .subdir = wc->subdir,
                .pid = wc->pid,
                .outage_wait = wc->outage_wait,
                .on_event = wc->on_event,
                .arg = wc->event_arg,
        };
        r = volume_open(&config, &c->volume, err);
        if (r == 0)
                r = volume_wait_up(self, c->volume, timeout, err);
        if (r < 0 && c->volume)
                world_unmount(self, c);
        return r;
}

void world_unmount(struct fibre *self, struct world_client *c)
{
        c->volume = volume_close(self, c->volume);
}

static void mount_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct error err = {0};
        (void)arg;
        if (world_mount(self, c, CLOSE_TIMEOUT, &err) < 0)
                fail_msg("%s", err.text);
}

static void unmount_it(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        world_unmount(self, c);
}

/* Volumes of machines that stopped: nobody can close them, and what they own is reachable from here. */
static struct volume *lost_volumes[256];
static unsigned n_lost_volumes;

void world_client_crash(struct world_client *c)
{
        sim_node_crash(c->node);
        if (c->volume && n_lost_volumes < ELEMENTSOF(lost_volumes))
                lost_volumes[n_lost_volumes++] = c->volume;
        c->volume = NULL;
        c->running = 0;
        c->chosen = NULL;
        sim_node_restart(c->node);
}

struct request world_request(struct world_client *c, struct arena *a)
{
        struct request r = {.arena = a};
        r.cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        r.cred.pid = 100 + (int32_t)c->index;
        r.cred.owner_len = 4;
        r.cred.owner[0] = (uint8_t)(100 + c->index);
        return r;
}

struct gfid world_gfid(struct world_client *c)
{
        uint8_t random[16];
        loop_random(sim_node_loop(c->node), random, sizeof random);
        struct gfid g = gfid_from_random(random);
        if (c->chosen)
                *c->chosen = g;
        return g;
}

struct dict world_gfid_req(struct arena *a, const struct gfid *g)
{
        struct dict d = {0};
        assert_int_equal(dict_add_gfid(&d, a, "gfid-req", g), 0);
        return d;
}

static void client_init(struct world_client *c, struct world *w, unsigned index)
{
        *c = (struct world_client){.world = w, .index = index};
        (void)snprintf(c->name, sizeof c->name, "client%u", index % WORLD_CLIENTS_MAX);
        (void)snprintf(c->uuid, sizeof c->uuid, "CTX_ID:client%u-GRAPH_ID:0-PID:%u-HOST:client%u", index, 1000 + index,
                       index);
        assert_int_equal(sim_node_new(w->sim, c->name, &c->node), 0);
}

/* ---- links ----------------------------------------------------------------------------------------------------- */

void world_cut(struct world *w, unsigned client, unsigned brick, bool cut)
{
        struct sim_link link = good_link;
        link.cut = cut;
        sim_link_set(w->sim, w->clients[client].node, w->bricks[brick].node, &link);
}

void world_reset(struct world *w, unsigned client, unsigned brick)
{
        sim_reset(w->sim, w->clients[client].node, w->bricks[brick].node);
}

/* ---- all together ---------------------------------------------------------------------------------------------- */

static const uint8_t layout_bricks[] = {
        [WORLD_ONE] = 1, [WORLD_DIST2] = 2, [WORLD_DIST4] = 4, [WORLD_REP3] = 3, [WORLD_ARBITER] = 3, [WORLD_2X3] = 6};

void world_open(struct world *w, const struct world_config *config)
{
        *w = (struct world){.config = *config, .volume_id = {.b = {7, 7, 7, [6] = 0x40, [8] = 0x80, [15] = 7}}};
        assert_int_equal(sim_new(config->seed, &w->sim), 0);
        w->n_bricks = layout_bricks[config->layout];
        w->n_clients = config->clients ? config->clients : 1;
        for (unsigned k = 0; k < w->n_bricks; k++)
                world_brick_init(&w->bricks[k], w, k);
        for (unsigned k = 0; k < w->n_clients; k++)
                client_init(&w->clients[k], w, k);
        world_use(w, config->first_bricks ? config->first_bricks : w->n_bricks,
                  config->first_copies ? config->first_copies : 3);
        for (unsigned k = 0; !config->unmounted && k < w->n_clients; k++)
                world_run(w, k, mount_it, NULL);
}

static bool all_sessions_closed(void *arg)
{
        struct world *w = arg;
        struct brick_stats stats;
        for (unsigned k = 0; k < w->n_bricks; k++) {
                if (!w->bricks[k].brick)
                        continue;
                brick_get_stats(w->bricks[k].brick, &stats);
                if (stats.sessions > 0)
                        return false;
        }
        return true;
}

void world_close(struct world *w)
{
        world_wait(w);
        for (unsigned k = 0; k < w->n_clients; k++)
                world_run(w, k, unmount_it, NULL);
        for (unsigned k = 0; k < w->n_clients; k++)
                for (unsigned b = 0; b < w->n_bricks; b++)
                        sim_link_set(w->sim, w->clients[k].node, w->bricks[b].node, &good_link);
        world_until(w, all_sessions_closed, w);
        for (unsigned k = 0; k < w->n_bricks; k++)
                world_brick_done(&w->bricks[k]);
        sim_free(w->sim);
}
