/* Distribute: what options change, what users may not see, sums over all sub-volumes, and one sub-volume alone. */
#include "dht_look.h"

static void look_at_root(struct fibre *self, struct world_client *c, void *arg)
{
        struct iatt st;
        (void)arg;
        assert_int_equal(files_lookup(self, c, "/", &st), 0);
}

static void begin(struct world *w, const char *options)
{
        world_open(w, &(struct world_config){.layout = WORLD_DIST4, .seed = 1, .distribute_options = options});
        world_run(w, 0, look_at_root, NULL);
}

static unsigned data_on(struct world *w, const char *path)
{
        for (unsigned b = 0; b < w->n_bricks; b++)
                if (look_kind(w, b, path) == LOOK_DATA)
                        return b;
        fail_msg("%s is nowhere", path);
        return 0;
}

/* ---- one sub-volume ------------------------------------------------------------------------------------------------------------- */

static void use_one(struct fibre *self, struct world_client *c, void *arg)
{
        struct files_names *names = calloc(1, sizeof *names);
        char text[64];
        (void)arg;
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
        assert_int_equal(files_create(self, c, "/d/a", "text"), 0);
        assert_int_equal(files_rename(self, c, "/d/a", "/d/b"), 0);
        assert_int_equal(files_read(self, c, "/d/b", text, sizeof text), 4);
        assert_int_equal(files_list(self, c, "/d", 4096, names), 0);
        assert_int_equal(names->n, 1);
        assert_int_equal(files_setxattr(self, c, "/d", DHT_KEY, "x"), -EPERM);
        assert_int_equal(files_getxattr(self, c, "/d", DHT_KEY, text, sizeof text), -EOPNOTSUPP);
        assert_int_equal(files_removexattr(self, c, "/d", DHT_KEY), -EPERM);
        free(names);
}

static void test_one(void **state)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .distribute_one = true, .seed = 1});
        world_run(&w, 0, use_one, NULL);
        struct layout_range r = look_range(&w, 0, "/d");
        assert_int_equal(r.error, 0);
        assert_int_equal(r.commit, 0);
        assert_int_equal(r.start, 0);
        assert_int_equal(r.stop, UINT32_MAX);
        assert_true(world_xattr(&w.bricks[0], "/d", DHT_KEY_MDS, NULL, 0) < 0);
        assert_true(world_xattr(&w.bricks[0], "/", DHT_KEY, NULL, 0) < 0);
        for (unsigned fop = 0; fop < FOP_MAX; fop++)
                assert_true(w.bricks[0].calls[fop] == 0 || (fop != FOP_INODELK && fop != FOP_ENTRYLK));
        world_close(&w);
}

/* ---- attributes ------------------------------------------------------------------------------------------------------------------- */

static void use_attributes(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        char text[4096], name[64], question[128], want[64];
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
        assert_int_equal(files_create(self, c, "/d/f", NULL), 0);
        for (unsigned k = 0; k < 2; k++) {
                const char *path = k ? "/d/f" : "/d";
                assert_int_equal(files_setxattr(self, c, path, DHT_KEY_LINKTO, "x"), -EPERM);
                assert_int_equal(files_removexattr(self, c, path, DHT_KEY_MDS), -EPERM);
                assert_int_equal(files_getxattr(self, c, path, DHT_KEY, text, sizeof text), -EOPNOTSUPP);
                assert_int_equal(files_setxattr(self, c, path, "user.a", "b"), 0);
                assert_int_equal(files_getxattr(self, c, path, "user.a", text, sizeof text), 0);
                assert_string_equal(text, "b");
                assert_true(files_getxattr(self, c, path, "", text, sizeof text) >= 0);
                assert_non_null(strstr(text, "user.a"));
                assert_null(strstr(text, "dht"));
                assert_int_equal(files_removexattr(self, c, path, "user.a"), 0);
                assert_int_equal(files_getxattr(self, c, path, "user.a", text, sizeof text), -ENODATA);
        }
        assert_int_equal(files_getxattr(self, c, "/d", "trusted.glusterfs.pathinfo", text, sizeof text), 0);
        assert_non_null(strstr(text, "((<DISTRIBUTE:vol-dht> <POSIX(/brick):"));
        assert_non_null(strstr(text, "(vol-dht-layout (vol-client-"));
        assert_int_equal(files_getxattr(self, c, "/d/f", "trusted.glusterfs.pathinfo", text, sizeof text), 0);
        assert_non_null(strstr(text, "(<DISTRIBUTE:vol-dht> <POSIX(/brick):"));
        (void)snprintf(question, sizeof question, "dht.file.hashed-subvol.%s", look_name(w, "/d", "x", 3, name));
        assert_int_equal(files_getxattr(self, c, "/d", question, text, sizeof text), 0);
        assert_string_equal(text, "vol-client-3");
        (void)snprintf(want, sizeof want, "vol-client-%u", data_on(w, "/d/f"));
        assert_int_equal(files_getxattr(self, c, "/d/f", "trusted.distribute.linkinfo", text, sizeof text), 0);
        assert_string_equal(text, want);
}

static void test_attributes(void **state)
{
        struct world w;
        begin(&w, NULL);
        world_run(&w, 0, use_attributes, &w);
        world_close(&w);
}

static void use_statfs(struct fibre *self, struct world_client *c, void *arg)
{
        struct statfs *s = arg;
        assert_int_equal(files_statfs(self, c, s), 0);
}

static void test_statfs(void **state)
{
        struct world w;
        struct statfs all = {0}, three = {0};
        begin(&w, NULL);
        world_run(&w, 0, use_statfs, &all);
        uint64_t bytes = all.blocks * all.frsize;
        assert_true(bytes >= 4 * GIB - 64 * KIB && bytes <= 4 * GIB);
        world_brick_stop(&w.bricks[0]);
        look_wait_down(&w, 0);
        world_run(&w, 0, use_statfs, &three);
        assert_int_equal(three.blocks * three.frsize * 4, bytes * 3);
        world_brick_start(&w.bricks[0]);
        look_wait_up(&w);
        world_close(&w);
}

/* ---- where files go ---------------------------------------------------------------------------------------------------------------- */

static void create_on_all(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        char name[64], path[80];
        for (unsigned b = 0; b < 4; b++) {
                if (look_range(w, b, "/").stop == 0)
                        continue;
                (void)snprintf(path, sizeof path, "/%s", look_name(w, "/", "file", b, name));
                assert_int_equal(files_create(self, c, path, "text"), 0);
        }
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
}

/* One that is leaving takes no new files and no names of new directories. */
static void test_leaving(void **state)
{
        struct world w;
        char name[64], path[80];
        begin(&w, NULL);
        struct layout_range ranges[4];
        for (unsigned b = 0; b < 4; b++)
                ranges[b] = look_range(&w, b, "/");
        world_close(&w);
        begin(&w, "    option decommissioned-bricks vol-client-9,vol-client-1\n");
        assert_int_equal(look_range(&w, 1, "/").stop, 0);
        assert_int_not_equal(ranges[1].stop, 0);
        world_run(&w, 0, create_on_all, &w);
        for (unsigned b = 0; b < 4; b++) {
                if (b == 1)
                        continue;
                (void)snprintf(path, sizeof path, "/%s", look_name(&w, "/", "file", b, name));
                look_file(&w, path, b, b);
        }
        assert_int_equal(look_range(&w, 1, "/d").stop, 0);
        look_whole(&w, "/d");
        world_close(&w);
}

struct fill {
        struct world *w;
        char name[64], path[80];
};

static void fill_brick(struct fibre *self, struct world_client *c, void *arg)
{
        struct fill *f = arg;
        char *text = malloc(MIB + 1);
        memset(text, 'x', MIB);
        text[MIB] = '\0';
        (void)snprintf(f->path, sizeof f->path, "/%s", look_name(f->w, "/", "large", 1, f->name));
        assert_int_equal(files_create(self, c, f->path, NULL), 0);
        struct vfile *file = files_open(self, c, f->path, O_RDWR, NULL);
        for (unsigned i = 0; i < 24; i++)
                assert_int_equal(files_write_at(self, c, file, i * MIB, text), MIB);
        vfile_unref(file);
        free(text);
}

static void create_when_full(struct fibre *self, struct world_client *c, void *arg)
{
        struct fill *f = arg;
        (void)snprintf(f->path, sizeof f->path, "/%s", look_name(f->w, "/", "small", 1, f->name));
        assert_int_equal(files_create(self, c, f->path, "text"), 0);
        unsigned data = data_on(f->w, f->path);
        assert_int_not_equal(data, 1);
        look_file(f->w, f->path, 1, data);
        assert_int_equal(files_create(self, c, f->path, "text"), -EEXIST);
        assert_int_equal(files_unlink(self, c, f->path), 0);
        look_gone(f->w, f->path);
}

static void test_full(void **state)
{
        struct world w;
        struct fill f = {.w = &w};
        begin(&w, "    option min-free-disk 98%\n");
        world_run(&w, 0, fill_brick, &f);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, create_when_full, &f);
        world_close(&w);
}

static void make_directory(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
}

static void test_spread(void **state)
{
        struct world w;
        unsigned used = 0;
        begin(&w, "    option directory-layout-spread 2\n    option randomize-hash-range-by-gfid on\n");
        world_run(&w, 0, make_directory, NULL);
        for (unsigned b = 0; b < 4; b++)
                used += look_range(&w, b, "/d").stop != 0;
        assert_int_equal(used, 2);
        look_whole(&w, "/d");
        world_close(&w);
}

/* ---- looking everywhere or not -------------------------------------------------------------------------------------------------------- */

static void count_lookups(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        struct iatt st;
        assert_int_equal(files_lookup(self, c, "/d/none", &st), -ENOENT);
        for (unsigned b = 0; b < w->n_bricks; b++)
                w->bricks[b].calls[FOP_LOOKUP] = 0;
        assert_int_equal(files_lookup(self, c, "/d/none", &st), -ENOENT);
}

static unsigned lookups_of_nothing(const char *options)
{
        struct world w;
        unsigned n = 0;
        begin(&w, options);
        world_run(&w, 0, make_directory, NULL);
        world_run(&w, 0, count_lookups, &w);
        for (unsigned b = 0; b < w.n_bricks; b++)
                n += w.bricks[b].calls[FOP_LOOKUP];
        world_close(&w);
        return n;
}

/* Root and directory are asked for on all four, the latter after one has said what it is; then it is one for the name, or all
 * again. */
static void test_unhashed(void **state)
{
        assert_int_equal(lookups_of_nothing(NULL), 4 + 5 + 1);
        assert_int_equal(lookups_of_nothing("    option lookup-optimize off\n"), 4 + 5 + 1 + 4);
        assert_int_equal(lookups_of_nothing("    option lookup-optimize off\n    option lookup-unhashed off\n"), 4 + 5 + 1);
        assert_int_equal(lookups_of_nothing("    option lookup-unhashed auto\n"), 4 + 5 + 1);
}

/* ---- fix-layout, options while mounted --------------------------------------------------------------------------------------------------- */

static void deal_anew(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
        assert_int_equal(files_setxattr(self, c, "/d", "distribute.directory-spread-count", "3"), 0);
}

static void deal_to_all(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(files_setxattr(self, c, "/d", "distribute.fix.layout", "yes"), 0);
        assert_int_equal(files_create(self, c, "/d/f", "text"), 0);
        assert_int_equal(files_setxattr(self, c, "/d/f", "distribute.fix.layout", "yes"), -ENOTDIR);
}

static unsigned takers(struct world *w, const char *dir)
{
        unsigned n = 0;
        for (unsigned b = 0; b < w->n_bricks; b++)
                n += look_range(w, b, dir).stop != 0;
        return n;
}

static void test_fix_layout(void **state)
{
        struct world w;
        begin(&w, NULL);
        world_run(&w, 0, deal_anew, NULL);
        assert_int_equal(takers(&w, "/d"), 3);
        look_whole(&w, "/d");
        world_run(&w, 0, deal_to_all, NULL);
        assert_int_equal(takers(&w, "/d"), 4);
        look_whole(&w, "/d");
        world_close(&w);
}

static void test_wrong_options(void **state)
{
        static const char *const wrong[] = {"lookup-unhashed perhaps", "min-free-disk much", "min-free-inodes x",
                                            "directory-layout-spread -1", "extra-hash-regex (", "xattr-name trusted.mine",
                                            "weighted-rebalance maybe"};
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                char text[256];
                struct volfile *volfile;
                struct subvolume child = {.name = "a"}, *children[2] = {&child, &child}, *v;
                struct error e = {0};
                (void)snprintf(text, sizeof text, "volume a\n    type protocol/client\nend-volume\nvolume v-dht\n    type cluster/distribute\n    option %s\n    subvolumes a\nend-volume\n", wrong[i]);
                assert_int_equal(volfile_parse(text, strlen(text), &volfile, &e), 0);
                int r = dht_build(NULL, volfile_top(volfile), children, 2, &v, &e);
                assert_true(r == -EINVAL || r == -EOPNOTSUPP);
                assert_true(strlen(e.text) > 10);
                volfile_free(volfile);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one),     cmocka_unit_test(test_attributes), cmocka_unit_test(test_statfs),
                cmocka_unit_test(test_leaving), cmocka_unit_test(test_full),       cmocka_unit_test(test_spread),
                cmocka_unit_test(test_unhashed), cmocka_unit_test(test_fix_layout), cmocka_unit_test(test_wrong_options),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
