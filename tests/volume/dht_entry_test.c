/* Distribute over four bricks: names (distribute.md §7, §8). */
#include "dht_look.h"

#define TEXT_MAX 64

/* ---- directories and layouts ------------------------------------------------------------------------------------------------ */

static void make_some(struct fibre *self, struct world_client *c, void *arg)
{
        struct iatt st;
        (void)arg;
        assert_int_equal(files_mkdir(self, c, "/dir1"), 0);
        assert_int_equal(files_mkdir(self, c, "/dir1"), -EEXIST);
        assert_int_equal(files_mkdir(self, c, "/dir1/sub"), 0);
        assert_int_equal(files_stat(self, c, "/dir1/sub", &st), 0);
        assert_true(S_ISDIR(st.mode));
        assert_int_equal(st.size, 4096);
}

static void test_mkdir(void **state)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .seed = 1});
        world_run(&w, 0, make_some, NULL);
        look_whole(&w, "/");
        look_whole(&w, "/dir1");
        look_whole(&w, "/dir1/sub");
        unsigned mds = 0;
        for (unsigned b = 0; b < 4; b++)
                mds += world_xattr(&w.bricks[b], "/dir1", DHT_KEY_MDS, NULL, 0) == 4;
        assert_int_equal(mds, 1);
        assert_int_equal(world_xattr(&w.bricks[look_hashed(&w, "/", "dir1")], "/dir1", DHT_KEY_MDS, NULL, 0), 4);
        assert_int_equal(look_range(&w, 0, "/").commit, 1);
        assert_int_equal(look_range(&w, 0, "/dir1").commit, 0);
        world_close(&w);
}

/* ---- files ---------------------------------------------------------------------------------------------------------------------- */

static void make_files(struct fibre *self, struct world_client *c, void *arg)
{
        char path[TEXT_MAX], text[TEXT_MAX];
        (void)arg;
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
        for (unsigned i = 0; i < 40; i++) {
                (void)snprintf(path, sizeof path, "/d/f%u", i);
                assert_int_equal(files_create(self, c, path, path), 0);
                assert_int_equal(files_create(self, c, path, path), -EEXIST);
        }
        assert_int_equal(files_symlink(self, c, "f0", "/d/link"), 0);
        assert_int_equal(files_mknod(self, c, "/d/node", 0600), 0);
        for (unsigned i = 0; i < 40; i++) {
                (void)snprintf(path, sizeof path, "/d/f%u", i);
                assert_int_equal(files_read(self, c, path, text, sizeof text), strlen(path));
                assert_string_equal(text, path);
        }
        assert_int_equal(files_read(self, c, "/d/none", text, sizeof text), -ENOENT);
}

static void list_and_remove(struct fibre *self, struct world_client *c, void *arg)
{
        struct files_names *names = calloc(1, sizeof *names);
        char path[TEXT_MAX];
        (void)arg;
        for (uint32_t size = 512; size <= 65536; size *= 128) {
                assert_int_equal(files_list(self, c, "/d", size, names), 0);
                assert_int_equal(names->n, 42);
                for (unsigned i = 0; i < 40; i++) {
                        (void)snprintf(path, sizeof path, "f%u", i);
                        assert_true(files_names_has(names, path));
                }
        }
        assert_int_equal(files_rmdir(self, c, "/d"), -ENOTEMPTY);
        for (unsigned i = 0; i < names->n; i++) {
                (void)snprintf(path, sizeof path, "/d/%s", names->v[i]);
                assert_int_equal(files_unlink(self, c, path), 0);
                assert_int_equal(files_unlink(self, c, path), -ENOENT);
        }
        assert_int_equal(files_rmdir(self, c, "/d"), 0);
        assert_int_equal(files_stat(self, c, "/d", &(struct iatt){0}), -ENOENT);
        free(names);
}

static void test_files(void **state)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .seed = 2, .clients = 2});
        world_run(&w, 0, make_files, NULL);
        for (unsigned i = 0; i < 40; i++) {
                char name[TEXT_MAX], path[TEXT_MAX + 4];
                (void)snprintf(name, sizeof name, "f%u", i);
                (void)snprintf(path, sizeof path, "/d/%s", name);
                for (unsigned b = 0; b < 4; b++)
                        assert_int_equal(world_exists(&w.bricks[b], path), b == look_hashed(&w, "/d", name));
        }
        world_run(&w, 1, list_and_remove, NULL);
        for (unsigned b = 0; b < 4; b++)
                assert_false(world_exists(&w.bricks[b], "/d"));
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mkdir),
                cmocka_unit_test(test_files),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
