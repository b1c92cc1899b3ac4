/* A volume as a whole: times that operations change, offsets of directories, fetching volfiles, states. */
#include "world.h"

#include "proto/handshake.h"
#include "volume/fetch.h"
#include "volume/leaf_offset.h"
#include "volume/remote.h"

/* ---- times ----------------------------------------------------------------------------------------------------- */

struct stamped {
        enum fop fop;
        uint32_t flags;
};

static void expect_stamps(struct volume *vol, const struct stamped *s, size_t n)
{
        for (size_t k = 0; k < n; k++) {
                struct rpc_cred cred = {0};
                volume_stamp(vol, &cred, s[k].fop);
                assert_int_equal(cred.flags, s[k].flags);
                assert_true(cred.time.sec > 0);
        }
}

/* As stock clients say it (brick.md §4.2). */
static void operations_say_which_times_they_change(void **state)
{
        static struct world w;
        static const struct stamped stamps[] = {
                {FOP_CREATE, 0x1f},   {FOP_MKNOD, 0x1f},     {FOP_MKDIR, 0x1f},     {FOP_SYMLINK, 0x1f},
                {FOP_UNLINK, 0x19},   {FOP_RMDIR, 0x19},     {FOP_LINK, 0x19},      {FOP_RENAME, 0x19},
                {FOP_WRITE, 0x03},    {FOP_TRUNCATE, 0x03},  {FOP_FTRUNCATE, 0x03}, {FOP_SETXATTR, 0x01},
                {FOP_REMOVEXATTR, 1}, {FOP_FALLOCATE, 0x06}, {FOP_ZEROFILL, 0x06},  {FOP_SETATTR, 0x01},
                {FOP_READ, 0},        {FOP_OPEN, 0},         {FOP_LOOKUP, 0},       {FOP_FLUSH, 0}};
        struct rpc_cred cred = {.flags = 77};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 1});
        expect_stamps(w.clients[0].volume, stamps, ELEMENTSOF(stamps));
        world_close(&w);
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 1, .no_utime = true});
        volume_stamp(w.clients[0].volume, &cred, FOP_CREATE);
        assert_int_equal(cred.flags, 77);
        world_close(&w);
}

/* ---- offsets --------------------------------------------------------------------------------------------------- */

static void offsets_are_those_of_the_vectors(void **state)
{
        char line[256];
        unsigned leaves, leaf, n = 0;
        unsigned long long brick, shown;
        int owner;
        FILE *f = fopen(VOLUME_DATA "/d_off.tsv", "r");
        (void)state;
        assert_non_null(f);
        while (fgets(line, sizeof line, f)) {
                if (sscanf(line, "%u %u %llx %llx %d", &leaves, &leaf, &brick, &shown, &owner) != 5)
                        continue;
                n++;
                assert_true(leaf_offset_up(brick, leaf, leaves) == shown);
                assert_int_equal(leaf_offset_owner(shown, leaves), owner);
                assert_true(leaf_offset_down(shown, leaves) <= brick);
                if (leaves == 1 || !(shown & 1ull << 62))
                        assert_true(leaf_offset_down(shown, leaves) == brick);
        }
        (void)fclose(f);
        assert_int_equal(n, 55);
}

/* ---- volfiles -------------------------------------------------------------------------------------------------- */

static struct fetch *fetch;
static unsigned changes;

static void note_change(struct fetch *f, void *arg)
{
        (void)f;
        (void)arg;
        changes++;
}

struct fetching {
        const struct fetch_server *servers;
        unsigned n;
        const char *key;
        int result;
        struct error err;
        struct buf text;
};

static void fetch_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct fetching *g = arg;
        const struct fetch_config config = {.servers = g->servers,
                                            .n_servers = g->n,
                                            .key = g->key,
                                            .timeout = 2 * NS_PER_SEC,
                                            .on_change = note_change};
        if (!fetch)
                assert_int_equal(fetch_new(sim_node_loop(c->node), &config, &fetch), 0);
        g->result = fetch_volfile(self, fetch, &g->text, &g->err);
}

static void free_it(struct fibre *self, struct world_client *c, void *arg)
{
        (void)c;
        (void)arg;
        fetch = fetch_free(self, fetch);
}

static void volfiles_come_from_the_first_server_that_answers(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 2, .unmounted = true});
        const struct fetch_server servers[] = {{"198.18.0.77", 0}, {w.bricks[0].address, 1}, {w.bricks[0].address, 0}};
        struct fetching g = {.servers = servers, .n = 3, .key = "/vol", .text = BUF_INIT(MIB)};
        world_run(&w, 0, fetch_it, &g);
        assert_int_equal(g.result, 0);
        assert_string_equal(buf_cstr(&g.text), w.volfile);
        world_brick_tell_change(&w.bricks[0]);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(changes, 1);
        buf_done(&g.text);
        world_run(&w, 0, free_it, NULL);
        world_close(&w);
}

static void all_reasons_are_told(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 3, .unmounted = true});
        const struct fetch_server servers[] = {{w.bricks[0].address, 1}, {w.bricks[0].address, 2}};
        struct fetching g = {.servers = servers, .n = 2, .key = "/vol", .text = BUF_INIT(MIB)};
        world_run(&w, 0, fetch_it, &g);
        assert_int_equal(g.result, -ECONNREFUSED);
        assert_non_null(strstr(g.err.text, ":1: no connection"));
        assert_non_null(strstr(g.err.text, ":2: no connection"));
        world_run(&w, 0, free_it, NULL);
        const struct fetch_server good = {w.bricks[0].address, 0};
        g = (struct fetching){.servers = &good, .n = 1, .key = "/other", .text = BUF_INIT(MIB)};
        world_run(&w, 0, fetch_it, &g);
        assert_int_equal(g.result, -ENOENT);
        assert_non_null(strstr(g.err.text, "/other"));
        buf_done(&g.text);
        world_run(&w, 0, free_it, NULL);
        world_close(&w);
}

/* The daemon is restarted: it is connected again, and the owner told to look. */
static bool has_changed(void *arg)
{
        (void)arg;
        return changes > 0;
}

static void a_lost_daemon_is_found_again(void **state)
{
        static struct world w;
        (void)state;
        changes = 0;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 4, .unmounted = true});
        const struct fetch_server good = {w.bricks[0].address, 0};
        struct fetching g = {.servers = &good, .n = 1, .key = "/vol", .text = BUF_INIT(MIB)};
        world_run(&w, 0, fetch_it, &g);
        world_brick_crash(&w.bricks[0], false);
        world_pass(&w, 5 * NS_PER_SEC);
        assert_int_equal(changes, 0);
        world_brick_start(&w.bricks[0]);
        world_until(&w, has_changed, NULL);
        buf_reset(&g.text, 0);
        world_run(&w, 0, fetch_it, &g);
        assert_int_equal(g.result, 0);
        buf_done(&g.text);
        world_run(&w, 0, free_it, NULL);
        world_close(&w);
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

/* Bricks may tell of changes until their connections are gone: after the table of inodes. */
static void nothing_is_found_once_the_inodes_are_gone(void **state)
{
        static struct volume vol;
        const struct gfid gfid = {{7}};
        (void)state;
        assert_int_equal(vnode_table_init(&vol.inodes, 16), 0);
        assert_null(vnode_find(&vol, &gfid));
        assert_int_equal(vnode_table_done(&vol), 0);
        assert_null(vnode_find(&vol, &gfid));
}

/* ---- runs ------------------------------------------------------------------------------------------------------ */

static uint64_t trace_of(uint64_t seed)
{
        static struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = seed, .clients = 2});
        world_reset(&w, 0, 0);
        world_pass(&w, 10 * NS_PER_SEC);
        world_client_crash(&w.clients[1]);
        world_pass(&w, NS_PER_SEC);
        uint64_t hash = sim_trace_hash(w.sim);
        world_close(&w);
        return hash;
}

static void equal_seeds_are_equal_runs(void **state)
{
        (void)state;
        assert_true(trace_of(5) == trace_of(5));
        assert_true(trace_of(5) != trace_of(6));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(operations_say_which_times_they_change),
                cmocka_unit_test(offsets_are_those_of_the_vectors),
                cmocka_unit_test(volfiles_come_from_the_first_server_that_answers),
                cmocka_unit_test(all_reasons_are_told),
                cmocka_unit_test(a_lost_daemon_is_found_again),
                cmocka_unit_test(nothing_is_found_once_the_inodes_are_gone),
                cmocka_unit_test(equal_seeds_are_equal_runs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
