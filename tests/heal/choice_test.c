/* Split-brains decided by an operator (heal/choice.h). */
#include "heal_calls.h"

#include <fcntl.h>
#include <jansson.h>

#include "heal/choice.h"

#define BRICK(n) "198.18.0." #n ":" WORLD_BRICK_PATH

static struct world w;
static struct healer *healer;
static struct volfile *volfile;

static void open_split_world(uint64_t seed)
{
        struct error err = {0};
        world_open(&w, &(struct world_config){.layout = WORLD_REP3,
                                              .clients = 1,
                                              .seed = seed,
                                              .replicate_options = "    option quorum-type none\n"});
        assert_int_equal(volfile_parse(w.volfile, strlen(w.volfile), &volfile, &err), 0);
        const struct healer_config config = {.loop = sim_node_loop(w.clients[0].node),
                                             .name = WORLD_VOLUME,
                                             .volume = w.clients[0].volume,
                                             .volfile = volfile,
                                             .all_bricks = true};
        assert_int_equal(healer_new(&config, &healer, &err), 0);
}

static void close_split_world(void)
{
        healer = healer_free(healer);
        volfile = volfile_free(volfile);
        world_close(&w);
}

struct wish {
        struct heal_choice choice;
        struct buf out;
};

static void run_choice(struct fibre *self, struct world_client *c, void *arg)
{
        struct wish *x = arg;
        (void)c;
        assert_int_equal(choice_run(self, healer, &x->choice, &x->out), 0);
}

/* The number of objects that were healed. */
static unsigned choose(enum heal_policy policy, const char *brick, const char *file, int result, const char *says)
{
        struct wish x = {.choice = {policy, brick, file}, .out = BUF_INIT(MIB)};
        world_run(&w, 0, run_choice, &x);
        json_t *o = json_loads(buf_cstr(&x.out), 0, NULL);
        assert_non_null(o);
        assert_string_equal(json_string_value(json_object_get(o, "text")), says);
        assert_int_equal(json_integer_value(json_object_get(o, "result")), result);
        unsigned healed = (unsigned)json_integer_value(json_object_get(o, "healed"));
        json_decref(o);
        buf_done(&x.out);
        return healed;
}

static off_t size_on(unsigned brick, const char *path)
{
        struct stat st;
        assert_int_equal(disk_stat(world_disk(&w.bricks[brick]), AT_FDCWD, path, &st), 0);
        return st.st_size;
}

/* ---- what is split ----------------------------------------------------------------------------------------------- */

struct version {
        size_t n;
        uint64_t seed;
};

static void make_base(struct fibre *self, struct world_client *c, void *arg)
{
        struct vnode *dir = NULL;
        (void)arg;
        make_file(self, c, "one", 100, 1);
        make_file(self, c, "two", 100, 2);
        make_file(self, c, "fine", 100, 3);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "dir", &dir), 0);
        assert_int_equal(call_mknod(self, c, dir, "below", S_IFREG | 0600), 0);
        vnode_unref(dir);
}

static void write_version(struct fibre *self, struct world_client *c, void *arg)
{
        static const char *const names[] = {"one", "two"};
        const struct version *v = arg;
        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                struct vfile *f = NULL;
                assert_int_equal(call_open(self, c, NULL, names[k], 0, &f), 0);
                write_pattern(self, c, f, 0, v->n, v->seed);
                assert_int_equal(call_close(self, c, f), 0);
        }
}

/* Bricks 0 and 1 were each alone for a while: FIRST and SECOND were done then. */
static void split(void (*fn)(struct fibre *self, struct world_client *c, void *arg), void *first, void *second)
{
        world_run(&w, 0, make_base, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_down(&w, 1);
        heal_brick_down(&w, 2);
        world_run(&w, 0, fn, first);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_down(&w, 0);
        heal_brick_up(&w, 1);
        world_run(&w, 0, fn, second);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, 0);
        heal_brick_up(&w, 2);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void content_is_decided_by_size_time_or_brick(void **state)
{
        struct version small = {2000, 5}, big = {70000, 6};
        (void)state;
        open_split_world(1);
        split(write_version, &small, &big);
        assert_int_equal(choose(POLICY_BIGGER_FILE, NULL, "/one", 0, "Healed /one"), 1);
        for (unsigned b = 0; b < 3; b++)
                assert_int_equal(size_on(b, WORLD_BRICK_PATH "/one"), 70000);
        assert_int_equal(choose(POLICY_BIGGER_FILE, NULL, "/one", EINVAL, "Healing /one failed: File not in split-brain"), 0);
        assert_int_equal(choose(POLICY_SOURCE_BRICK, BRICK(1), "//two/", 0, "Healed //two/"), 1);
        assert_int_equal(size_on(1, WORLD_BRICK_PATH "/two"), 2000);
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        close_split_world();

        open_split_world(2);
        split(write_version, &big, &small);
        assert_int_equal(choose(POLICY_LATEST_MTIME, NULL, "/one", 0, "Healed /one"), 1);
        assert_int_equal(size_on(0, WORLD_BRICK_PATH "/one"), 2000);
        assert_int_equal(choose(POLICY_SOURCE_BRICK, BRICK(1), NULL, 0, ""), 1);
        assert_int_equal(size_on(1, WORLD_BRICK_PATH "/two"), 70000);
        assert_int_equal(choose(POLICY_SOURCE_BRICK, BRICK(1), NULL, 0, ""), 0);
        assert_healed(&w);
        close_split_world();
}

static void what_does_not_decide_says_so(void **state)
{
        struct version one = {5000, 5}, other = {5000, 6};
        (void)state;
        open_split_world(3);
        split(write_version, &one, &other);
        (void)choose(POLICY_BIGGER_FILE, NULL, "/one", EIO, "Healing /one failed: No bigger file");
        (void)choose(POLICY_BIGGER_FILE, NULL, "/nosuch", ENOENT, "Lookup failed on /nosuch:No such file or directory");
        (void)choose(POLICY_BIGGER_FILE, NULL, "/dir/nosuch/f", ENOENT,
                     "Lookup failed on /dir/nosuch/f:No such file or directory");
        (void)choose(POLICY_BIGGER_FILE, NULL, "/fine", EINVAL, "Healing /fine failed: File not in split-brain");
        (void)choose(POLICY_BIGGER_FILE, NULL, "/dir/below", EINVAL, "Healing /dir/below failed: File not in split-brain");
        (void)choose(POLICY_SOURCE_BRICK, "198.18.0.9:/brick", "/one", ENODEV,
                     "\"198.18.0.9:/brick\"- No such brick available in the volume");
        assert_int_equal(size_on(0, WORLD_BRICK_PATH "/one"), 5000);
        heal_brick_down(&w, 2);
        (void)choose(POLICY_SOURCE_BRICK, BRICK(1), "gfid:00000000-0000-0000-0000-000000000001", ENOTCONN,
                     "Healing gfid:00000000-0000-0000-0000-000000000001 failed: vol-client-2 is not connected, and heals need "
                     "all copies");
        heal_brick_up(&w, 2);
        close_split_world();
}

static void make_same(struct fibre *self, struct world_client *c, void *arg)
{
        const struct version *v = arg;
        make_file(self, c, "same", v->n, v->seed);
}

static void a_name_of_two_objects_is_decided(void **state)
{
        static const struct {
                enum heal_policy policy;
                const char *brick;
                off_t size;
        } rows[] = {{POLICY_BIGGER_FILE, NULL, 9000},
                    {POLICY_LATEST_MTIME, NULL, 300},
                    {POLICY_SOURCE_BRICK, BRICK(1), 9000},
                    {POLICY_SOURCE_BRICK, BRICK(2), 300}};
        struct version first = {9000, 5}, second = {300, 6};
        (void)state;
        for (unsigned k = 0; k < ELEMENTSOF(rows); k++) {
                open_split_world(10 + k);
                split(make_same, &first, &second);
                (void)choose(rows[k].policy, rows[k].brick, "/same", 0, "GFID split-brain resolved for file /same");
                assert_int_equal(heal_all(&w, 0), 0);
                for (unsigned b = 0; b < 3; b++)
                        assert_int_equal(size_on(b, WORLD_BRICK_PATH "/same"), rows[k].size);
                assert_healed(&w);
                close_split_world();
        }
}

static void attributes_need_a_brick(void **state)
{
        struct stat st;
        (void)state;
        open_split_world(20);
        world_run(&w, 0, make_base, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        for (unsigned b = 0; b < 3; b++)
                set_counter(&w, b, "/one", (int)(b + 1) % 3, 0, 1, 0);
        assert_int_equal(disk_chmod(world_disk(&w.bricks[2]), AT_FDCWD, WORLD_BRICK_PATH "/one", 0700), 0);
        heal_brick_down(&w, 2);
        heal_brick_up(&w, 2);
        (void)choose(POLICY_BIGGER_FILE, NULL, "/one", EIO,
                     "Healing /one failed: Use source-brick option to heal metadata split-brain");
        (void)choose(POLICY_SOURCE_BRICK, BRICK(3), "/one", 0, "Healed /one");
        assert_int_equal(disk_stat(world_disk(&w.bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/one", &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_healed(&w);
        close_split_world();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(content_is_decided_by_size_time_or_brick),
                cmocka_unit_test(what_does_not_decide_says_so),
                cmocka_unit_test(a_name_of_two_objects_is_decided),
                cmocka_unit_test(attributes_need_a_brick),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
