/* From volfiles to layers: what is built, passed by and refused; slots and leaves (spec: wire.md §8.4). */
#include "world.h"

#include <malloc.h>

#include "volume/graph.h"
#include "volume/remote.h"

#define CLIENT(name, host)                                                                                             \
        "volume " name "\n type protocol/client\n option remote-host " host                                            \
        "\n option remote-subvolume /b\n option transport-type tcp\nend-volume\n"

static struct sim *sim;
static struct sim_node *node;

/* ---- opening --------------------------------------------------------------------------------------------------- */

struct opening {
        const char *text;
        size_t len;
        void (*look)(struct volume *vol);
        const char *reload; /* another volfile, loaded after LOOK */
        int result, reloaded;
        struct error err;
        bool done;
};

static int reload(struct fibre *self, struct volume *vol, struct opening *o)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        assert_int_equal(volfile_parse(o->reload, strlen(o->reload), &v, &o->err), 0);
        return volume_reload(self, vol, v, &o->err);
}

static void open_it(struct fibre *self, void *arg)
{
        struct opening *o = arg;
        _cleanup_volfile_ struct volfile *v = NULL;
        struct volume *vol = NULL;
        if (volfile_parse(o->text, o->len, &v, &o->err) < 0)
                fail_msg("%s", o->err.text);
        const struct volume_config config = {.loop = sim_node_loop(node), .name = "vol", .volfile = v};
        o->result = volume_open(&config, &vol, &o->err);
        if (o->result == 0 && o->look)
                o->look(vol);
        if (o->result == 0 && o->reload)
                o->reloaded = reload(self, vol, o);
        volume_close(self, vol);
        o->done = true;
}

static bool is_done(void *arg)
{
        return ((struct opening *)arg)->done;
}

static void run_opening(struct opening *o)
{
        if (o->len == 0)
                o->len = strlen(o->text);
        assert_int_equal(fibre_start(sim_node_loop(node), "open", open_it, o), 0);
        assert_int_equal(sim_run(sim, sim_now(sim) + 60 * NS_PER_SEC, is_done, o), 0);
}

static void expect_open(const char *text, void (*look)(struct volume *vol))
{
        struct opening o = {.text = text, .look = look};
        run_opening(&o);
        if (o.result < 0)
                fail_msg("%s", o.err.text);
}

static void expect_refused(const char *text, int result, const char *word)
{
        struct opening o = {.text = text};
        run_opening(&o);
        assert_int_equal(o.result, result);
        if (!strstr(o.err.text, word))
                fail_msg("'%s' is not in: %s", word, o.err.text);
}

/* ---- translators that are not there ---------------------------------------------------------------------------- */

/* Each is refused with its name, its section's, and what to do. */
static void a_translator_is_refused(void **state)
{
        const char *type = *state;
        char text[1024];
        (void)snprintf(text, sizeof text,
                       CLIENT("c0", "10.0.0.1") "volume odd\n type %s\n subvolumes c0\nend-volume\n"
                                                "volume top\n type debug/io-stats\n subvolumes odd\nend-volume\n",
                       type);
        expect_refused(text, -EOPNOTSUPP, type);
        expect_refused(text, -EOPNOTSUPP, "section odd");
        expect_refused(text, -EOPNOTSUPP, "Use the stock client");
}

#define REFUSED(X)                                                                                                     \
        X("features/shard")                                                                                            \
        X("cluster/disperse")                                                                                          \
        X("cluster/nufa") X("cluster/switch") X("cluster/stripe") X("cluster/thin-arbiter") X("features/cdc")          \
                X("encryption/crypt") X("features/cloudsync") X("features/worm") X("features/gfid-access")             \
                        X("features/quota") X("features/trash") X("features/locks") X("storage/posix")                 \
                                X("debug/error-gen") X("debug/delay-gen") X("performance/unheard-of") X("meta")        \
                                        X("protocol/server")

static void shard_says_what_would_happen(void **state)
{
        (void)state;
        expect_refused(CLIENT("c0", "10.0.0.1") "volume s\n type features/shard\n subvolumes c0\nend-volume\n",
                       -EOPNOTSUPP, "corrupted");
}

/* ---- graphs ---------------------------------------------------------------------------------------------------- */

static void look_at_one(struct volume *vol)
{
        struct subvolume *top = volume_top(vol);
        assert_string_equal(top->name, "c0");
        assert_ptr_equal(top->volume, vol);
        assert_null(top->parent);
        assert_int_equal(volume_slots(vol), 1);
        assert_int_equal(top->slot, 0);
        assert_int_equal(top->n_leaves, 1);
        assert_true(vol->utime);
        assert_false(vol->atime);
}

static void what_only_speeds_up_is_passed_by(void **state)
{
        (void)state;
        expect_open(
                CLIENT("c0",
                       "10.0.0.1") "volume u\n type features/utime\n option noatime on\n subvolumes c0\nend-volume\n"
                                   "volume wb\n type performance/write-behind\n subvolumes u\nend-volume\n"
                                   "volume md\n type performance/md-cache\n subvolumes wb\nend-volume\n"
                                   "volume io\n type debug/io-stats\n subvolumes md\nend-volume\n",
                look_at_one);
}

static void look_at_snapshots(struct volume *vol)
{
        assert_string_equal(volume_top(vol)->name, "c0");
        assert_int_equal(volume_slots(vol), 1);
        assert_false(vol->utime);
}

static void the_first_of_a_snapview_counts(void **state)
{
        (void)state;
        expect_open(CLIENT("c0", "10.0.0.1") CLIENT(
                            "snapd",
                            "10.0.0.1") "volume sv\n type features/snapview-client\n subvolumes c0 snapd\nend-volume\n",
                    look_at_snapshots);
}

static void impossible_graphs_are_refused(void **state)
{
        (void)state;
        expect_refused(CLIENT("c0", "10.0.0.1") CLIENT(
                               "c1", "10.0.0.2") "volume io\n type debug/io-stats\n subvolumes c0 c1\nend-volume\n",
                       -EINVAL, "io");
        expect_refused("volume u\n type features/utime\nend-volume\n", -EINVAL, "u");
        expect_refused(CLIENT("c0", "10.0.0.1") "volume c1\n type protocol/client\n option remote-host h\n option "
                                                "remote-subvolume /b\n subvolumes c0\n"
                                                "end-volume\n",
                       -EINVAL, "c1");
        expect_refused("volume c\n type protocol/client\n option remote-host h\nend-volume\n", -EINVAL, "c");
        expect_refused("volume c\n type protocol/client\n option remote-host h\n option remote-subvolume /b\n"
                       " option transport-type rdma\nend-volume\n",
                       -EOPNOTSUPP, "rdma");
        expect_refused("volume c\n type protocol/client\n option remote-host h\n option remote-subvolume /b\n"
                       " option remote-port 70000\nend-volume\n",
                       -EINVAL, "70000");
        expect_refused("volume c\n type protocol/client\n option remote-host h\n option remote-subvolume /b\n"
                       " option transport.socket.ssl-enabled on\n"
                       " option transport.socket.ssl-own-cert /nonexistent\nend-volume\n",
                       -ENOENT, "/nonexistent");
}

static void need(const char *type)
{
        if (!graph_knows(type))
                skip();
}

static void look_at_2x3(struct volume *vol)
{
        struct subvolume *top = volume_top(vol);
        assert_int_equal(top->n_children, 2);
        assert_int_equal(top->n_leaves, 6);
        assert_int_equal(top->slot, 0);
        assert_int_equal(volume_slots(vol), 9);
        unsigned leaf = 0;
        for (unsigned k = 0; k < 2; k++) {
                struct subvolume *set = top->children[k];
                assert_ptr_equal(set->parent, top);
                assert_int_equal(set->leaf_first, 3 * k);
                assert_int_equal(set->n_leaves, 3);
                for (unsigned c = 0; c < 3; c++) {
                        assert_int_equal(set->children[c]->leaf_first, leaf++);
                        assert_int_equal(set->children[c]->n_leaves, 1);
                        assert_ptr_equal(vol->by_slot[set->children[c]->slot], set->children[c]);
                }
        }
}

#define SET(name, a, b, c)                                                                                             \
        "volume " name "\n type cluster/replicate\n option afr-pending-xattr " a "," b "," c "\n subvolumes " a " " b  \
        " " c "\nend-volume\n"
#define CLIENTS6                                                                                                       \
        CLIENT("c0", "10.0.0.1")                                                                                       \
        CLIENT("c1", "10.0.0.2")                                                                                       \
        CLIENT("c2", "10.0.0.3") CLIENT("c3", "10.0.0.4") CLIENT("c4", "10.0.0.5") CLIENT("c5", "10.0.0.6")

static void leaves_are_numbered_in_order(void **state)
{
        (void)state;
        need("cluster/distribute");
        need("cluster/replicate");
        expect_open(CLIENTS6 SET("r0", "c0", "c1", "c2")
                            SET("r1", "c3", "c4",
                                "c5") "volume d\n type cluster/distribute\n subvolumes r0 r1\nend-volume\n",
                    look_at_2x3);
}

static void a_section_has_one_parent(void **state)
{
        (void)state;
        need("cluster/distribute");
        expect_refused(CLIENT("c0", "10.0.0.1") "volume d\n type cluster/distribute\n subvolumes c0 c0\nend-volume\n",
                       -EINVAL, "");
}

static void a_thin_arbiter_is_refused(void **state)
{
        (void)state;
        need("cluster/replicate");
        expect_refused(CLIENT("c0", "10.0.0.1") CLIENT(
                               "c1", "10.0.0.2") "volume r\n type cluster/replicate\n option thin-arbiter h:/ta\n"
                                                 " option afr-pending-xattr c0,c1\n subvolumes c0 c1\nend-volume\n",
                       -EOPNOTSUPP, "thin-arbiter");
}

/* ---- recorded volfiles ----------------------------------------------------------------------------------------- */

static size_t read_recorded(const char *layout, const char *file, char *text, size_t size)
{
        char path[512];
        (void)snprintf(path, sizeof path, "%s/layouts/%s/%s", VOLFILE_DATA, layout, file);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(text, 1, size - 1, f);
        (void)fclose(f);
        text[n] = '\0';
        return n;
}

static void recorded_volfiles_open_or_name_what_is_missing(void **state)
{
        static const struct {
                const char *layout, *refused; /* NULL: all that it needs are distribute and replicate */
        } cases[] = {{"one"},
                     {"one-bare"},
                     {"dist"},
                     {"rep3"},
                     {"arb"},
                     {"dr"},
                     {"dr-parallel"},
                     {"dist-nufa", "cluster/nufa"},
                     {"disp", "cluster/disperse"},
                     {"dist-switch", "cluster/switch"}};
        static char text[65536];
        bool whole = graph_knows("cluster/distribute") && graph_knows("cluster/replicate");
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                struct opening o = {.text = text,
                                    .len = read_recorded(cases[k].layout, "client.vol", text, sizeof text)};
                run_opening(&o);
                if (!cases[k].refused && whole && o.result < 0)
                        fail_msg("%s: %s", cases[k].layout, o.err.text);
                if (cases[k].refused && whole) {
                        assert_int_equal(o.result, -EOPNOTSUPP);
                        assert_non_null(strstr(o.err.text, cases[k].refused));
                }
                assert_true(whole || o.result == -EOPNOTSUPP);
        }
}

/* ---- another volfile ------------------------------------------------------------------------------------------- */

static void expect_reload(const char *text, const char *other, int result, const char *word)
{
        struct opening o = {.text = text, .reload = other};
        run_opening(&o);
        assert_int_equal(o.result, 0);
        assert_int_equal(o.reloaded, result);
        if (result < 0 && !strstr(o.err.text, word))
                fail_msg("'%s' is not in: %s", word, o.err.text);
}

static void options_change_in_place(void **state)
{
        (void)state;
        const char *plain = CLIENT("c0", "10.0.0.1");
        expect_reload(plain, plain, 0, "");
        expect_reload(plain,
                      "volume c0\n type protocol/client\n option remote-host 10.0.0.1\n option remote-subvolume /b\n"
                      " option ping-timeout 7\nend-volume\n"
                      "volume io\n type debug/io-stats\n subvolumes c0\nend-volume\n",
                      0, "");
        expect_reload(plain, CLIENT("c1", "10.0.0.1"), -EOPNOTSUPP, "c1");
        expect_reload(plain, CLIENT("c0", "10.0.0.9"), -EOPNOTSUPP, "10.0.0.9");
        expect_reload(plain, CLIENT("c0", "10.0.0.1") "volume s\n type features/shard\n subvolumes c0\nend-volume\n",
                      -EOPNOTSUPP, "features/shard");
}

static void refuse_a_change(struct volume *vol)
{
        struct request r = {.cred = {.pid = 7}};
        struct mkdir_fop_req req = {.bname = STR("d"), .xdata = DICT_NULL};
        struct mkdir_fop_rep rep;
        assert_int_equal(subvolume_mkdir(NULL, volume_top(vol), &r, &req, &rep), -EROFS);
        assert_int_equal(rep.op_errno, EROFS);
        struct open_fop_req open = {.flags = O_RDWR, .xdata = DICT_NULL};
        struct open_fop_rep opened;
        assert_int_equal(subvolume_open(NULL, volume_top(vol), &r, &open, &opened), -EROFS);
}

static void read_only_is_honoured(void **state)
{
        (void)state;
        expect_open(CLIENT("c0", "10.0.0.1") "volume ro\n type features/read-only\n option read-only on\n subvolumes "
                                             "c0\nend-volume\n",
                    refuse_a_change);
}

/* What is held after TIMES changes more. */
static size_t held_after(struct volume *vol, unsigned times)
{
        char text[1024];
        for (unsigned k = 0; k < times; k++) {
                _cleanup_volfile_ struct volfile *v = NULL;
                struct error err = {0};
                (void)snprintf(text, sizeof text,
                               CLIENT("c0", "10.0.0.1") "volume io\n type debug/io-stats\n option threads %u\n"
                                                        " subvolumes c0\nend-volume\n",
                               100 + k % 100);
                assert_int_equal(volfile_parse(text, strlen(text), &v, &err), 0);
                assert_int_equal(volume_reload(NULL, vol, v, &err), 0);
        }
        return mallinfo2().uordblks;
}

static void change_a_thousand_times(struct volume *vol)
{
        size_t before = held_after(vol, 20);
        assert_true(held_after(vol, 1000) <= before + 4 * KIB);
}

static void reloading_does_not_pile_up(void **state)
{
        (void)state;
        expect_open(CLIENT("c0", "10.0.0.1"), change_a_thousand_times);
}

static int setup(void **state)
{
        (void)state;
        return sim_new(1, &sim) < 0 || sim_node_new(sim, "client", &node) < 0;
}

static int teardown(void **state)
{
        (void)state;
        sim_free(sim);
        return 0;
}

#define REFUSED_TEST(type) {"refused: " type, a_translator_is_refused, NULL, NULL, (void *)type},

int main(void)
{
        const struct CMUnitTest tests[] = {
                REFUSED(REFUSED_TEST) cmocka_unit_test(shard_says_what_would_happen),
                cmocka_unit_test(what_only_speeds_up_is_passed_by),
                cmocka_unit_test(the_first_of_a_snapview_counts),
                cmocka_unit_test(impossible_graphs_are_refused),
                cmocka_unit_test(leaves_are_numbered_in_order),
                cmocka_unit_test(a_section_has_one_parent),
                cmocka_unit_test(a_thin_arbiter_is_refused),
                cmocka_unit_test(recorded_volfiles_open_or_name_what_is_missing),
                cmocka_unit_test(options_change_in_place),
                cmocka_unit_test(read_only_is_honoured),
                cmocka_unit_test(reloading_does_not_pile_up),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
