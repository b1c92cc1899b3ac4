/* The healer as a daemon: when it crawls, which bricks it takes for its own, what options and operators tell it. */
#include "heal_calls.h"

#include <fcntl.h>

#include "base/log.h"
#include "heal/healer.h"

#define BEHIND 1u

static struct world w;
static struct healer *healer;
static struct volfile *volfile;
static char host[64]; /* that this machine is said to be */

int __wrap_gethostname(char *name, size_t size);
int __wrap_gethostname(char *name, size_t size)
{
        (void)snprintf(name, size, "%s", host);
        return 0;
}

static struct volfile *parsed(const char *text)
{
        struct error err = {0};
        struct volfile *v = NULL;
        if (volfile_parse(text, strlen(text), &v, &err) < 0)
                fail_msg("%s", err.text);
        return v;
}

static void open_healer(uint64_t seed, const char *options, const struct healer_config *want)
{
        struct error err = {0};
        struct healer_config config = *want;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = seed, .replicate_options = options});
        volfile = parsed(w.volfile);
        config.loop = sim_node_loop(w.clients[0].node);
        config.name = WORLD_VOLUME;
        config.volume = w.clients[0].volume;
        config.volfile = volfile;
        assert_int_equal(healer_new(&config, &healer, &err), 0);
}

static void stop(struct fibre *self, struct world_client *c, void *arg)
{
        (void)c;
        (void)arg;
        healer_stop(self, healer);
}

static void end(void)
{
        if (healer->running > 0)
                world_run(&w, 0, stop, NULL);
        healer = healer_free(healer);
        volfile = volfile_free(volfile);
        world_close(&w);
}

static void make_one(struct fibre *self, struct world_client *c, void *arg)
{
        make_file(self, c, arg, 300000, 1);
}

static void missing(char *name)
{
        heal_brick_down(&w, BEHIND);
        world_run(&w, 0, make_one, name);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, BEHIND);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void there_must_be_replicas(void **state)
{
        struct error err = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST2, .seed = 1});
        volfile = parsed(w.volfile);
        const struct healer_config config = {.loop = sim_node_loop(w.clients[0].node),
                                             .name = WORLD_VOLUME,
                                             .volume = w.clients[0].volume,
                                             .volfile = volfile};
        assert_int_equal(healer_new(&config, &healer, &err), -EINVAL);
        assert_non_null(strstr(err.text, "no replica sets"));
        assert_null(healer);
        volfile = volfile_free(volfile);
        world_close(&w);
}

static void options_of_the_volume_count(void **state)
{
        static const struct {
                const char *options;
                uint64_t interval; /* s */
                unsigned parallel;
        } cases[] = {
                {NULL, 600, HEALER_PARALLEL_DEFAULT},
                {"    option heal-timeout 77\n    option shd-max-threads 9\n", 77, 9},
                {"    option shd-max-threads 1000\n", 600, HEALER_PARALLEL_MAX},
        };
        (void)state;
        for (unsigned k = 0; k < ELEMENTSOF(cases); k++) {
                open_healer(2, cases[k].options, &(struct healer_config){.all_bricks = true});
                assert_int_equal(healer->interval, cases[k].interval * NS_PER_SEC);
                assert_int_equal(healer->parallel, cases[k].parallel);
                end();
        }
        open_healer(2, cases[1].options, &(struct healer_config){.interval = 5 * NS_PER_SEC, .parallel = 3});
        assert_int_equal(healer->interval, 5 * NS_PER_SEC);
        assert_int_equal(healer->parallel, 3);
        end();
}

/* The volfile with one more line in its replicate section. */
static struct volfile *with_option(const char *line)
{
        char text[sizeof w.volfile + 256];
        const char *at = strstr(w.volfile, "    type cluster/replicate\n");
        assert_non_null(at);
        at += strlen("    type cluster/replicate\n");
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - w.volfile), w.volfile, line, at);
        return parsed(text);
}

static void reload(const char *line)
{
        struct volfile *new = with_option(line);
        healer_reload(healer, new);
        volfile_free(volfile);
        volfile = new;
}

static void an_operator_can_disable_it(void **state)
{
        (void)state;
        open_healer(3, NULL, &(struct healer_config){.all_bricks = true});
        const struct heal_set *s = &healer->sets[0];
        reload("    option self-heal-daemon off\n");
        assert_int_equal(healer_start(healer), 0);
        missing((char[]){"one"});
        world_pass(&w, 3600 * NS_PER_SEC);
        assert_int_equal(s->crawls, 0);
        assert_false(world_exists(&w.bricks[BEHIND], "/one"));
        healer_ask(healer, HEAL_INDEX);
        world_pass(&w, 60 * NS_PER_SEC);
        assert_int_equal(s->crawls, 1);
        assert_healed(&w);
        missing((char[]){"two"});
        world_pass(&w, 3600 * NS_PER_SEC);
        assert_int_equal(s->crawls, 1);
        reload("    option self-heal-daemon on\n    option heal-timeout 100\n");
        world_pass(&w, 60 * NS_PER_SEC);
        assert_true(s->crawls > 1);
        assert_healed(&w);
        uint64_t before = s->crawls;
        world_pass(&w, 1000 * NS_PER_SEC);
        assert_in_range(s->crawls - before, 9, 10);
        reload("    option heal-timeout soon\n    option self-heal-daemon perhaps\n"); /* what is no number, no answer */
        assert_int_equal(healer->interval, HEALER_INTERVAL_DEFAULT);
        before = s->crawls;
        world_pass(&w, 700 * NS_PER_SEC);
        assert_in_range(s->crawls - before, 1, 2);
        end();
}

/* ---- when -------------------------------------------------------------------------------------------------------- */

/* As a brick does that notes a change. */
static void put_into_index(unsigned brick, const char *path)
{
        char id[GFID_TEXT_LEN + 1], entry[128];
        struct gfid g = heal_gfid(&w, 0, path);
        struct disk *d = world_disk(&w.bricks[brick]);
        (void)snprintf(entry, sizeof entry, WORLD_BRICK_PATH "/.glusterfs/indices/xattrop/%s", gfid_format(&g, id));
        int fd = disk_open(d, AT_FDCWD, entry, O_CREAT | O_WRONLY, 0);
        assert_true(fd >= 0);
        (void)disk_close(d, fd);
}

/* What can not be healed is tried again after 2, 4, 8 ... seconds, up to the interval. */
static void it_tries_again_less_and_less_often(void **state)
{
        (void)state;
        open_healer(4, "    option quorum-type none\n",
                    &(struct healer_config){.all_bricks = true, .interval = 100 * NS_PER_SEC});
        const struct heal_set *s = &healer->sets[0];
        world_run(&w, 0, make_one, (char[]){"split"});
        world_pass(&w, 2 * NS_PER_SEC);
        for (unsigned b = 0; b < 3; b++) {
                heal_brick_down(&w, b);
                set_counter(&w, b, "/split", (int)(b + 1) % 3, 1, 0, 0);
                put_into_index(b, "/split");
        }
        for (unsigned b = 0; b < 3; b++)
                heal_brick_up(&w, b);
        healer_ask(healer, HEAL_FULL);
        assert_int_equal(healer_start(healer), 0);
        world_pass(&w, 1000 * NS_PER_SEC);
        assert_int_equal(s->backoff, 100 * NS_PER_SEC);
        assert_true(s->left_split_brain > 0 && s->last_error.error == -EIO);
        assert_in_range(s->crawls, 10, 25);
        uint64_t before = s->crawls;
        for (unsigned b = 0; b < 3; b++)
                set_counter(&w, b, "/split", (int)(b + 1) % 3, 0, 0, 0);
        world_pass(&w, 100 * NS_PER_SEC);
        assert_true(s->crawls > before);
        assert_int_equal(s->left, 0);
        assert_true(s->backoff < 100 * NS_PER_SEC);
        end();
}

static bool is_pausing(void *arg)
{
        const struct heal_set *s = arg;
        return s->n_current > 0 && s->totals.bytes > 0;
}

/* Also one that waits, because so much may be written per second only. */
static void it_ends_at_once(void **state)
{
        (void)state;
        open_healer(5, "    option data-self-heal-window-size 1\n", &(struct healer_config){.all_bricks = true, .rate = 1000});
        missing((char[]){"slow"});
        assert_int_equal(healer_start(healer), 0);
        world_until(&w, is_pausing, &healer->sets[0]);
        world_run(&w, 0, stop, NULL);
        assert_int_equal(healer->running, 0);
        assert_int_equal(healer->sets[0].n_current, 0);
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        end();
}

/* ---- whose bricks ------------------------------------------------------------------------------------------------ */

static void find(struct fibre *self, struct world_client *c, void *arg)
{
        (void)c;
        (void)arg;
        assert_int_equal(crawl_find_local(self, &healer->sets[0]), 0);
}

static void a_brick_of_this_host_is_ours(void **state)
{
        (void)state;
        open_healer(6, NULL, &(struct healer_config){0});
        const struct heal_set *s = &healer->sets[0];
        for (unsigned b = 0; b < 3; b++) {
                (void)snprintf(host, sizeof host, "brick%u", b);
                world_run(&w, 0, find, NULL);
                assert_int_equal(s->local, AFR_BIT(b));
                assert_int_equal(s->afr->local, b);
        }
        (void)snprintf(host, sizeof host, "brick"); /* not the beginning of a name */
        world_run(&w, 0, find, NULL);
        assert_int_equal(s->local, 0);
        assert_int_equal(s->afr->local, AFR_NO_CHILD);
        end();
}

/* Only what the own bricks have noted is looked at. */
static void a_crawl_looks_at_the_own_bricks_only(void **state)
{
        (void)state;
        open_healer(7, NULL, &(struct healer_config){0});
        missing((char[]){"one"});
        (void)snprintf(host, sizeof host, "brick%u", BEHIND); /* which has noted nothing */
        assert_int_equal(healer_start(healer), 0);
        world_pass(&w, 20 * NS_PER_SEC);
        assert_true(healer->sets[0].crawls > 0);
        assert_false(world_exists(&w.bricks[BEHIND], "/one"));
        (void)snprintf(host, sizeof host, "brick2");
        healer_ask(healer, HEAL_INDEX);
        world_pass(&w, 20 * NS_PER_SEC);
        assert_equal_copies(&w, true);
        end();
}

static void a_brick_that_says_another_node_is_not_ours(void **state)
{
        (void)state;
        open_healer(8, NULL, &(struct healer_config){.node_uuid = "11111111-2222-4333-8444-555555555555"});
        world_run(&w, 0, find, NULL);
        assert_int_equal(healer->sets[0].local, 0);
        end();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(there_must_be_replicas),
                cmocka_unit_test(options_of_the_volume_count),
                cmocka_unit_test(an_operator_can_disable_it),
                cmocka_unit_test(it_tries_again_less_and_less_often),
                cmocka_unit_test(it_ends_at_once),
                cmocka_unit_test(a_brick_of_this_host_is_ours),
                cmocka_unit_test(a_crawl_looks_at_the_own_bricks_only),
                cmocka_unit_test(a_brick_that_says_another_node_is_not_ours),
        };
        log_set_level(LOG_LEVEL_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
