/* Several clients create, rename, link, unlink, make and remove directories in the same few places, at random and at the same
 * time. Afterwards every name is there once, pointers point to what they say, all copies of a directory agree, no file was
 * lost, and none has two names that it was not given.
 *
 * MORTAR_SEED runs one seed only.
 */
#include "dht_look.h"

#include "volume/graph.h"

#include <dirent.h>

#define SEEDS 24
#define STEPS 120
#define NAMES 6

static const char *const dirs[] = {"", "/a", "/b"};

struct run {
        struct world *w;
        bool faults; /* bricks come and go */
        unsigned created, removed, renamed, next;
        unsigned operations, successes;
};

/* What concurrent changes may lead to; anything else is an error. */
static int allowed(const struct run *run, int result)
{
        switch (result) {
        case -ENOTCONN:
        case -EIO:
                if (run->faults)
                        return result;
                fail_msg("unexpected result: %s", strerror(-result));
                return result;
        case 0:
        case -ENOENT:
        case -EEXIST:
        case -ENOTEMPTY:
        case -ESTALE:
        case -EISDIR:
        case -ENOTDIR:
                return result;
        default:
                fail_msg("unexpected result: %s", strerror(-result));
                return result;
        }
}

/* With MORTAR_TRACE: every operation, when it begins and ends. */
static void trace(struct world_client *c, const char *what, const char *a, const char *b, int result)
{
        if (getenv("MORTAR_TRACE"))
                print_message("%8llu client%u %s %s %s %s\n", (unsigned long long)(sim_now(c->world->sim) / NS_PER_USEC), c->index,
                              what, a, b, result == 1 ? "..." : strerror(-result));
}

#define TRACED(what, b, call)                                                                                          \
        ({                                                                                                             \
                trace(c, what, a, b, 1);                                                                               \
                int traced_ = (call);                                                                                  \
                trace(c, what, a, b, traced_);                                                                         \
                allowed(run, traced_);                                                                                      \
        })

static const char *any_path(struct run *run, char to[static 64])
{
        const char *dir = dirs[sim_random(run->w->sim, ELEMENTSOF(dirs))];
        (void)snprintf(to, 64, "%s/n%u", dir, (unsigned)sim_random(run->w->sim, NAMES));
        return to;
}

static int step(struct fibre *self, struct world_client *c, struct run *run)
{
        char a[64], b[64], text[64];
        struct iatt st;
        int result;
        any_path(run, a);
        any_path(run, b);
        switch (sim_random(run->w->sim, 12)) {
        case 0:
        case 1:
        case 2:
                (void)snprintf(text, sizeof text, "text %u", run->next++);
                result = TRACED("create", text, files_create(self, c, a, text));
                run->created += result == 0;
                return result;
        case 3:
        case 4:
                result = TRACED("unlink", "", files_unlink(self, c, a));
                run->removed += result == 0;
                return result;
        case 5:
        case 6:
        case 7:
                if (streq(a, b))
                        return 0;
                result = TRACED("rename", b, files_rename(self, c, a, b));
                run->renamed += result == 0;
                return result;
        case 8:
                return TRACED("mkdir", "", files_mkdir(self, c, a));
        case 9:
                return TRACED("rmdir", "", files_rmdir(self, c, a));
        default:
                return TRACED("stat", "", files_stat(self, c, a, &st));
        }
}

static void work(struct fibre *self, struct world_client *c, void *arg)
{
        struct run *run = arg;
        for (unsigned i = 0; i < STEPS; i++) {
                run->operations++;
                run->successes += step(self, c, run) == 0;
        }
}

static void prepare(struct fibre *self, struct world_client *c, void *arg)
{
        struct iatt st;
        (void)arg;
        assert_int_equal(files_lookup(self, c, "/", &st), 0);
        for (unsigned i = 1; i < ELEMENTSOF(dirs); i++)
                assert_int_equal(files_mkdir(self, c, dirs[i]), 0);
}

/* ---- afterwards ----------------------------------------------------------------------------------------------------------------- */

struct census {
        unsigned files;
        bool seen[4096]; /* by text */
};

static void check_text(struct fibre *self, struct world_client *c, const char *path, struct census *census)
{
        char text[64];
        unsigned number;
        assert_true(files_read(self, c, path, text, sizeof text) > 0);
        assert_int_equal(sscanf(text, "text %u", &number), 1);
        assert_true(number < ELEMENTSOF(census->seen));
        if (census->seen[number])
                fail_msg("%s has a text that another file has, too", path);
        census->seen[number] = true;
        census->files++;
}

static void check_name(struct fibre *self, struct world_client *c, const char *dir, const char *name,
                       struct census *census)
{
        struct world *w = c->world;
        unsigned hashed = look_hashed(w, *dir ? dir : "/", name), count[4] = {0};
        int data = -1;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", dir, name);
        for (unsigned b = 0; b < w->n_bricks; b++) {
                enum look_kind kind = look_kind(w, b, path);
                count[kind]++;
                if (kind == LOOK_DATA)
                        data = (int)b;
        }
        if (count[LOOK_DIRECTORY] > 0) {
                look_whole(w, path);
                return;
        }
        if (count[LOOK_DATA] == 0 && count[LOOK_LINKTO] == 0)
                return;
        if (count[LOOK_DATA] != 1)
                fail_msg("%s is on %u bricks, with %u pointers", path, count[LOOK_DATA], count[LOOK_LINKTO]);
        look_file(w, path, hashed, (unsigned)data);
        check_text(self, c, path, census);
}

static void check_listing(struct fibre *self, struct world_client *c, const char *dir)
{
        struct files_names *names = calloc(1, sizeof *names);
        struct iatt st;
        char path[128];
        assert_int_equal(files_list(self, c, *dir ? dir : "/", 1024, names), 0);
        for (unsigned i = 0; i < NAMES; i++) {
                unsigned times = 0;
                (void)snprintf(path, sizeof path, "n%u", i);
                for (unsigned k = 0; k < names->n; k++)
                        times += streq(names->v[k], path);
                (void)snprintf(path, sizeof path, "%s/n%u", dir, i);
                assert_int_equal(times, files_lookup(self, c, path, &st) == 0);
        }
        free(names);
}

/* Looked up once more, which may repair what two unfinished operations left. */
static void look_at_all(struct fibre *self, struct world_client *c, void *arg)
{
        const struct run *run = arg;
        char path[128];
        struct iatt st;
        for (unsigned d = 0; d < ELEMENTSOF(dirs); d++) {
                for (unsigned i = 0; i < NAMES; i++) {
                        (void)snprintf(path, sizeof path, "%s/n%u", dirs[d], i);
                        (void)allowed(run, files_lookup(self, c, path, &st));
                }
        }
}

static void check_all(struct fibre *self, struct world_client *c, void *arg)
{
        struct run *run = arg;
        struct census *census = calloc(1, sizeof *census);
        char name[64];
        for (unsigned d = 0; d < ELEMENTSOF(dirs); d++) {
                for (unsigned i = 0; i < NAMES; i++) {
                        (void)snprintf(name, sizeof name, "n%u", i);
                        check_name(self, c, dirs[d], name, census);
                }
                check_listing(self, c, dirs[d]);
        }
        if (census->files + run->removed + run->renamed < run->created)
                fail_msg("%u files were created, %u removed, %u at most replaced, but only %u are left", run->created,
                         run->removed, run->renamed, census->files);
        free(census);
}

static void check_listings(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        for (unsigned d = 0; d < ELEMENTSOF(dirs); d++)
                check_listing(self, c, dirs[d]);
}

static void run_seed(uint64_t seed)
{
        struct world w;
        struct run run = {.w = &w};
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .clients = 3, .seed = seed});
        world_run(&w, 0, prepare, NULL);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_start(&w, c, work, &run);
        world_wait(&w);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_run(&w, c, look_at_all, &run);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_run(&w, c, check_all, &run);
        assert_true(run.successes * 4 > run.operations);
        world_close(&w);
}

static void run_sets(uint64_t seed);
static void test_random(void **state)
{
        const char *one = getenv("MORTAR_SEED");
        if (getenv("MORTAR_SETS")) {
                run_sets(strtoull(one, NULL, 0));
                return;
        }
        if (one) {
                run_seed(strtoull(one, NULL, 0));
                return;
        }
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                print_message("seed %llu\n", (unsigned long long)seed);
                run_seed(seed);
        }
}

/* Bricks die and come back meanwhile, and the locks that were held there are gone with them. Nobody waits for ever, nothing
 * stays locked or open, and the directories are whole again afterwards.
 */
static void run_with_faults(uint64_t seed)
{
        struct world w;
        struct run run = {.w = &w, .faults = true};
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .clients = 3, .seed = seed});
        world_run(&w, 0, prepare, NULL);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_start(&w, c, work, &run);
        for (unsigned k = 0; k < 12; k++) {
                struct world_brick *b = &w.bricks[sim_random(w.sim, 4)];
                world_pass(&w, sim_random(w.sim, 60 * NS_PER_MSEC));
                world_brick_crash(b, false);
                world_pass(&w, sim_random(w.sim, 60 * NS_PER_MSEC));
                world_brick_start(b);
        }
        world_wait(&w);
        look_wait_up(&w);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_run(&w, c, look_at_all, &run);
        for (unsigned d = 0; d < ELEMENTSOF(dirs); d++)
                look_whole(&w, *dirs[d] ? dirs[d] : "/");
        world_close(&w);
}

static void test_faults(void **state)
{
        for (uint64_t seed = 1; seed <= SEEDS / 2; seed++)
                run_with_faults(seed);
}

/* The same over replica sets: what clients see is one thing for all. */
static void run_sets(uint64_t seed)
{
        struct world w;
        struct run run = {.w = &w};
        world_open(&w, &(struct world_config){.layout = WORLD_2X3, .clients = 2, .seed = seed});
        world_run(&w, 0, prepare, NULL);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_start(&w, c, work, &run);
        world_wait(&w);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_run(&w, c, look_at_all, &run);
        for (unsigned c = 0; c < w.n_clients; c++)
                world_run(&w, c, check_listings, &run);
        world_close(&w);
}

static void test_sets(void **state)
{
        if (!graph_knows("cluster/replicate"))
                return;
        for (uint64_t seed = 1; seed <= SEEDS / 4; seed++)
                run_sets(seed);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_faults),
                                           cmocka_unit_test(test_sets)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
