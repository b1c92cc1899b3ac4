/* What replicated operations leave on disk, with all bricks and without some (replicate.md §2 "Observed", §4, §6). */
#include "afr_calls.h"

#include <fcntl.h>

static void open_world(struct world *w, enum world_layout layout, uint64_t seed)
{
        world_open(w, &(struct world_config){.layout = layout, .seed = seed});
}

/* ---- all is well ------------------------------------------------------------------------------------------------- */

static void tour(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vfile *f = NULL;
        struct vnode *i = NULL, *d = NULL;
        struct iatt stat;
        char data[16] = "";
        assert_int_equal(call_create(self, c, NULL, "file", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "hello", 5), 5);
        assert_int_equal(call_write(self, c, f, 5, " world", 6), 6);
        assert_int_equal(call_read(self, c, f, 0, data, sizeof data), 11);
        assert_memory_equal(data, "hello world", 11);
        assert_int_equal(call_fstat(self, c, f, &stat), 0);
        assert_int_equal(stat.size, 11);
        assert_int_equal(call_fsync(self, c, f), 0);
        assert_int_equal(call_ftruncate(self, c, f, 8), 0);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_lookup(self, c, NULL, "file", &i), 0);
        assert_int_equal(call_chmod(self, c, i, 0600), 0);
        assert_int_equal(call_setxattr(self, c, i, "user.colour", "blue"), 0);
        assert_int_equal(call_getxattr(self, c, i, "user.colour", data, sizeof data), 0);
        assert_string_equal(data, "blue");
        assert_int_equal(call_setxattr(self, c, i, "trusted.afr.dirty", "x"), -EPERM);
        assert_int_equal(call_getxattr(self, c, i, "trusted.afr.dirty", data, sizeof data), -ENODATA);
        assert_int_equal(call_stat(self, c, i, &stat), 0);
        assert_int_equal(stat.mode & 07777, 0600);
        vnode_unref(i);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), -EEXIST);
        assert_int_equal(call_lookup(self, c, NULL, "dir", &d), 0);
        assert_int_equal(call_symlink(self, c, d, "link", "target"), 0);
        assert_int_equal(call_mknod(self, c, d, "fifo", S_IFIFO | 0600), 0);
        assert_int_equal(call_list(self, c, d), 2);
        assert_int_equal(call_rmdir(self, c, NULL, "dir"), -ENOTEMPTY);
        assert_int_equal(call_rename(self, c, d, "fifo", NULL, "pipe"), 0);
        assert_int_equal(call_unlink(self, c, d, "link"), 0);
        assert_int_equal(call_unlink(self, c, d, "link"), -ENOENT);
        vnode_unref(d);
        assert_int_equal(call_rmdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_list(self, c, NULL), 2);
}

static void nothing_is_pending_when_all_is_well(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned k = 0; k < 2; k++) {
                open_world(&w, k ? WORLD_ARBITER : WORLD_REP3, 11 + k);
                world_run(&w, 0, tour, NULL);
                world_pass(&w, 3 * NS_PER_SEC);
                assert_clean(&w, "/");
                assert_clean(&w, "/file");
                assert_clean(&w, "/pipe");
                assert_identical(&w, "/file");
                world_close(&w);
        }
}

/* ---- one brick is down ------------------------------------------------------------------------------------------- */

static void make_old(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vfile *f = NULL;
        assert_int_equal(call_create(self, c, NULL, "old", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "0123456789", 10), 10);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_create(self, c, NULL, "mode", 0, &f), 0);
        assert_int_equal(call_close(self, c, f), 0);
}

static void change_without_one(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vfile *f = NULL;
        struct vnode *i = NULL;
        assert_int_equal(call_open(self, c, NULL, "old", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 10, "more", 4), 4);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_lookup(self, c, NULL, "mode", &i), 0);
        assert_int_equal(call_chmod(self, c, i, 0600), 0);
        vnode_unref(i);
        assert_int_equal(call_create(self, c, NULL, "new", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "data", 4), 4);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_mknod(self, c, NULL, "fifo", S_IFIFO | 0600), 0);
        assert_int_equal(call_symlink(self, c, NULL, "link", "target"), 0);
}

static void counters_are_those_that_stock_leaves(void **state)
{
        static struct world w;
        (void)state;
        open_world(&w, WORLD_REP3, 21);
        world_run(&w, 0, make_old, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        world_brick_stop(&w.bricks[1]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, change_without_one, NULL);
        world_pass(&w, 3 * NS_PER_SEC);
        for (unsigned b = 0; b < 3; b += 2) {
                assert_counter(&w, b, "/old", 1, "1,0,0");
                assert_counter(&w, b, "/mode", 1, "0,1,0");
                assert_counter(&w, b, "/new", 1, "2,1,0");
                assert_counter(&w, b, "/dir", 1, "1,1,1");
                assert_counter(&w, b, "/fifo", 1, "0,1,0");
                assert_counter(&w, b, "/link", 1, "0,0,0");
                assert_counter(&w, b, "/", 1, "0,0,4");
                static const char *const paths[] = {"/", "/old", "/mode", "/new", "/dir", "/fifo", "/link"};
                for (size_t k = 0; k < ELEMENTSOF(paths); k++) {
                        assert_counter(&w, b, paths[k], 0, "0,0,0");
                        assert_counter(&w, b, paths[k], 2, "0,0,0");
                        assert_counter(&w, b, paths[k], -1, "0,0,0");
                }
        }
        world_close(&w);
}

static void rename_old(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_rename(self, c, NULL, "old", NULL, "moved"), 0);
}

static void a_rename_counts_once_and_lists_both_names(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 22});
        world_run(&w, 0, make_old, NULL);
        world_brick_stop(&w.bricks[1]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, rename_old, NULL);
        static const char names[] = "/.glusterfs/indices/entry-changes/00000000-0000-0000-0000-000000000001/";
        for (unsigned b = 0; b < 3; b += 2) {
                char path[128];
                assert_counter(&w, b, "/", 1, "0,0,1");
                (void)snprintf(path, sizeof path, "%sold", names);
                assert_true(world_exists(&w.bricks[b], path));
                (void)snprintf(path, sizeof path, "%smoved", names);
                assert_true(world_exists(&w.bricks[b], path));
        }
        world_close(&w);
}

/* ---- quorum ------------------------------------------------------------------------------------------------------ */

static void everything_fails(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = arg, *other = NULL;
        struct vnode *i = NULL;
        struct statfs fs;
        char data[8];
        assert_int_equal(call_lookup(self, c, NULL, "old", &i), -ENOTCONN);
        assert_int_equal(call_write(self, c, f, 0, "x", 1), -ENOTCONN);
        assert_int_equal(call_read(self, c, f, 0, data, 1), -ENOTCONN);
        assert_int_equal(call_fsync(self, c, f), -ENOTCONN);
        assert_int_equal(call_chmod(self, c, f->inode, 0777), -ENOTCONN);
        assert_int_equal(call_create(self, c, NULL, "other", 0, &other), -ENOTCONN);
        assert_int_equal(call_mkdir(self, c, NULL, "other"), -ENOTCONN);
        assert_int_equal(call_unlink(self, c, NULL, "old"), -ENOTCONN);
        assert_int_equal(call_list(self, c, NULL), -ENOTCONN);
        assert_int_equal(call_statfs(self, c, &fs), -ENOTCONN);
        assert_int_equal(call_lk(self, c, f, false, 1, 1), -ENOTCONN);
        vfile_unref(f);
}

static void open_old(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(call_open(self, c, NULL, "old", 0, arg), 0);
}

static void without_quorum_nothing_happens(void **state)
{
        static struct world w;
        struct vfile *f = NULL;
        (void)state;
        open_world(&w, WORLD_REP3, 31);
        world_run(&w, 0, make_old, NULL);
        world_run(&w, 0, open_old, &f);
        world_pass(&w, 2 * NS_PER_SEC);
        world_brick_stop(&w.bricks[0]);
        world_brick_stop(&w.bricks[1]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, everything_fails, f);
        world_pass(&w, 3 * NS_PER_SEC);
        assert_clean(&w, "/");
        assert_clean(&w, "/old");
        assert_identical(&w, "/old");
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_is_pending_when_all_is_well),
                cmocka_unit_test(counters_are_those_that_stock_leaves),
                cmocka_unit_test(a_rename_counts_once_and_lists_both_names),
                cmocka_unit_test(without_quorum_nothing_happens),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
