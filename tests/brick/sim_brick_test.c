/* A cluster in one process: bricks, sessions and rpc connections as they ship, on simulated disks, network and time.
 *
 * Clients work at random, each in its own directory, while links are slow, cut, lossy and reset, and nodes die, in the
 * middle of operations too, and lose what was not synced. Each client compares what it gets with its model. After every
 * round nothing may be left open, and the layout on the disks must be whole (spec: brick.md §21).
 *
 * MORTAR_SEEDS=n: how many runs; MORTAR_SEED=n: that one only. The same seed gives the same run.
 */
#include "check.h"
#include "sim_client.h"

#define SEEDS_DEFAULT 60
#define SERVERS 2
#define CLIENTS 3
#define ROUNDS 3
#define STRIKES 12 /* a round */
#define PATIENCE (120 * NS_PER_SEC)

struct world {
        struct sim *sim;
        struct sim_server servers[SERVERS];
        unsigned n_servers;
        struct sim_client clients[CLIENTS];
        unsigned n_clients;
        unsigned changes, looks, crashes, power_cuts;
};

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static const struct sim_link good_link = {.delay_min = 50 * NS_PER_USEC, .delay_max = 200 * NS_PER_USEC};

static uint64_t draw(struct world *w, uint64_t bound)
{
        return sim_random(w->sim, bound);
}

static void crash(struct world *w, struct sim_server *s)
{
        sim_server_crash(s, draw(w, 2) == 0);
        if (draw(w, 2))
                sim_server_start(s);
}

static void strike_link(struct world *w, struct sim_client *c)
{
        struct sim_link link = good_link;
        switch (draw(w, 4)) {
        case 0:
                link.cut = true;
                break;
        case 1:
                link.drop_per_million = 5000;
                break;
        case 2:
                link.delay_max = 5 * NS_PER_MSEC;
                break;
        default:
                break;
        }
        sim_link_set(w->sim, c->node, c->server->node, &link);
}

static void strike(struct world *w)
{
        struct sim_server *s = &w->servers[draw(w, w->n_servers)];
        struct sim_client *c = &w->clients[draw(w, w->n_clients)];
        if (!s->brick) {
                sim_server_start(s);
                return;
        }
        switch (draw(w, 8)) {
        case 0:
                crash(w, s);
                break;
        case 1:
        case 2:
                sim_server_doom(s, 1 + draw(w, 40));
                break;
        case 3:
                sim_reset(w->sim, c->node, c->server->node);
                break;
        case 4:
                sim_client_crash(c);
                break;
        default:
                strike_link(w, c);
        }
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static bool someone_died(void *arg)
{
        struct world *w = arg;
        for (unsigned k = 0; k < w->n_servers; k++)
                if (w->servers[k].brick && sim_server_is_dead(&w->servers[k]))
                        return true;
        return false;
}

static bool all_idle(void *arg)
{
        struct world *w = arg;
        for (unsigned k = 0; k < w->n_clients; k++)
                if (!w->clients[k].idle || sim_server_sessions(w->clients[k].server, &w->clients[k].self) > 0)
                        return false;
        return true;
}

static void run_for(struct world *w, uint64_t time)
{
        uint64_t end = sim_now(w->sim) + time;
        while (sim_now(w->sim) < end) {
                int r = sim_run(w->sim, end, someone_died, w);
                if (r == -ENODATA)
                        fail_msg("nothing happens any more");
                for (unsigned k = 0; r == 0 && k < w->n_servers; k++)
                        if (w->servers[k].brick && sim_server_is_dead(&w->servers[k]))
                                crash(w, &w->servers[k]);
        }
}

static void set_pause(struct world *w, bool pause)
{
        for (unsigned k = 0; k < w->n_clients; k++) {
                w->clients[k].pause = pause;
                w->clients[k].idle = false;
        }
}

/* Everything works again; clients finish what they do and look at what is there. */
static void calm_down(struct world *w)
{
        for (unsigned k = 0; k < w->n_servers; k++) {
                sim_server_doom(&w->servers[k], 0);
                if (!w->servers[k].brick)
                        sim_server_start(&w->servers[k]);
        }
        for (unsigned k = 0; k < w->n_clients; k++)
                sim_link_set(w->sim, w->clients[k].node, w->clients[k].server->node, &good_link);
        set_pause(w, true);
        int r = sim_run(w->sim, sim_now(w->sim) + PATIENCE, all_idle, w);
        if (r != 0)
                fail_msg("clients do not come to rest: %s", strerror(-r));
}

static void inspect(struct sim_server *s)
{
        sim_server_stop(s);
        assert_int_equal(check_brick(sim_disk_ops(s->disk), SIM_SERVER_PATH, CHECK_PENDING), 0);
        sim_server_start(s);
}

static void play_round(struct world *w)
{
        set_pause(w, false);
        for (unsigned k = 0; k < STRIKES; k++) {
                run_for(w, 1 + draw(w, 40 * NS_PER_MSEC));
                strike(w);
        }
        calm_down(w);
        for (unsigned k = 0; k < w->n_servers; k++)
                inspect(&w->servers[k]);
}

static void world_open(struct world *w, uint64_t seed)
{
        static const char *const names[SERVERS] = {"server0", "server1"};
        *w = (struct world){0};
        assert_int_equal(sim_new(seed, &w->sim), 0);
        w->n_servers = 1 + (unsigned)draw(w, SERVERS);
        w->n_clients = 2 + (unsigned)draw(w, CLIENTS - 1);
        for (unsigned k = 0; k < w->n_servers; k++)
                sim_server_init(&w->servers[k], w->sim, names[k], seed * SERVERS + k);
        for (unsigned k = 0; k < w->n_clients; k++) {
                unsigned s = k % w->n_servers;
                sim_client_init(&w->clients[k], w->sim, k, &w->servers[s], names[s]);
                w->clients[k].others = w->clients;
                w->clients[k].n_others = w->n_clients;
                sim_client_make_dir(&w->clients[k]);
        }
        for (unsigned k = 0; k < w->n_servers; k++)
                sim_server_sync(&w->servers[k]);
        for (unsigned k = 0; k < w->n_clients; k++)
                sim_client_start(&w->clients[k]);
}

static uint64_t world_close(struct world *w)
{
        for (unsigned k = 0; k < w->n_clients; k++) {
                w->changes += w->clients[k].changes;
                w->looks += w->clients[k].looks;
                sim_client_done(&w->clients[k]);
        }
        for (unsigned k = 0; k < w->n_servers; k++) {
                w->crashes += w->servers[k].crashes;
                w->power_cuts += w->servers[k].power_cuts;
                sim_server_done(&w->servers[k]);
        }
        uint64_t hash = sim_trace_hash(w->sim);
        sim_free(w->sim);
        return hash;
}

/* The whole run of one seed; the sums are those of all runs. */
static uint64_t play(uint64_t seed, struct world *sums)
{
        static struct world w;
        print_message("seed %llu\n", (unsigned long long)seed);
        world_open(&w, seed);
        for (unsigned round = 0; round < ROUNDS; round++)
                play_round(&w);
        uint64_t hash = world_close(&w);
        sums->changes += w.changes;
        sums->looks += w.looks;
        sums->crashes += w.crashes;
        sums->power_cuts += w.power_cuts;
        return hash;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
        const char *text = getenv(name);
        return text ? strtoull(text, NULL, 0) : otherwise;
}

static void faults_leave_nothing_but_what_was_promised(void **state)
{
        static struct world sums;
        uint64_t only = number_from("MORTAR_SEED", 0), seeds = number_from("MORTAR_SEEDS", SEEDS_DEFAULT);
        (void)state;
        for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++)
                (void)play(seed, &sums);
        print_message("%u changes, %u crashes, %u power cuts, %u comparisons after faults\n", sums.changes,
                      sums.crashes, sums.power_cuts, sums.looks);
        assert_true(only || (sums.changes > 100 * seeds && sums.crashes > 2 * seeds && sums.power_cuts > 0));
}

static void equal_seeds_are_equal_runs(void **state)
{
        static struct world sums;
        (void)state;
        for (uint64_t seed = 1; seed <= 2; seed++)
                assert_true(play(seed, &sums) == play(seed, &sums));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(equal_seeds_are_equal_runs),
                cmocka_unit_test(faults_leave_nothing_but_what_was_promised),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
