/* Heals that look-ups do: names and metadata (replicate.md §10.4, §10.6), and what is put together from all copies
 * (§8). */
#include "afr_calls.h"

#include <fcntl.h>

#include "base/log.h"

static void make_things(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        struct vnode *d = NULL;
        (void)arg;
        assert_int_equal(call_create(self, c, NULL, "file", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "hello", 5), 5);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "dir", &d), 0);
        assert_int_equal(call_create(self, c, d, "inside", 0, &f), 0);
        assert_int_equal(call_close(self, c, f), 0);
        vnode_unref(d);
}

static void set_down(struct world *w, unsigned brick, bool down)
{
        if (down)
                world_brick_stop(&w->bricks[brick]);
        else
                world_brick_start(&w->bricks[brick]);
        world_pass(w, 5 * NS_PER_SEC);
}

static void look(struct fibre *self, struct world_client *c, const char *name, int expected)
{
        struct vnode *i = NULL;
        assert_int_equal(call_lookup(self, c, NULL, name, &i), expected);
        vnode_unref(i);
}

static mode_t mode_at(struct world *w, unsigned brick, const char *path)
{
        struct stat st;
        char full[64];
        (void)snprintf(full, sizeof full, WORLD_BRICK_PATH "%s", path);
        return disk_stat(world_disk(&w->bricks[brick]), AT_FDCWD, full, &st) < 0 ? 0 : st.st_mode;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void make_more(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_create(self, c, NULL, "new", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "data", 4), 4);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_symlink(self, c, NULL, "link", "target"), 0);
        assert_int_equal(call_mkdir(self, c, NULL, "newdir"), 0);
        assert_int_equal(call_mknod(self, c, NULL, "fifo", S_IFIFO | 0640), 0);
}

static void look_at_more(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        char data[8] = "";
        (void)arg;
        look(self, c, "new", 0);
        look(self, c, "link", 0);
        look(self, c, "newdir", 0);
        look(self, c, "fifo", 0);
        assert_int_equal(call_open(self, c, NULL, "new", 0, &f), 0);
        assert_int_equal(call_read(self, c, f, 0, data, sizeof data), 4);
        assert_memory_equal(data, "data", 4);
        assert_int_equal(call_close(self, c, f), 0);
}

static void missing_names_are_made(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 1});
        world_run(&w, 0, make_things, NULL);
        set_down(&w, 1, true);
        world_run(&w, 0, make_more, NULL);
        set_down(&w, 1, false);
        assert_false(world_exists(&w.bricks[1], "/new"));
        world_run(&w, 0, look_at_more, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_int_equal(mode_at(&w, 1, "/new"), mode_at(&w, 0, "/new"));
        assert_int_equal(mode_at(&w, 1, "/newdir"), mode_at(&w, 0, "/newdir"));
        assert_int_equal(mode_at(&w, 1, "/fifo"), mode_at(&w, 0, "/fifo"));
        assert_true(S_ISLNK(mode_at(&w, 1, "/link")));
        /* marked again before it was made; its metadata were healed then, its content is the heal program's */
        assert_counter(&w, 0, "/new", 1, "3,0,0");
        assert_counter(&w, 2, "/new", 1, "3,0,0");
        assert_counter(&w, 0, "/newdir", 1, "2,0,2");
        assert_counter(&w, 0, "/fifo", 1, "0,0,0");
        assert_counter(&w, 0, "/", 1, "0,0,4");
        world_close(&w);
}

static void remove_things(struct fibre *self, struct world_client *c, void *arg)
{
        struct vnode *d = NULL;
        (void)arg;
        assert_int_equal(call_unlink(self, c, NULL, "file"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "dir", &d), 0);
        assert_int_equal(call_unlink(self, c, d, "inside"), 0);
        vnode_unref(d);
        assert_int_equal(call_rmdir(self, c, NULL, "dir"), 0);
}

static void look_for_removed(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        look(self, c, "file", -ENOENT);
        look(self, c, "dir", -ENOENT);
        look(self, c, ".glusterfs-anonymous-inode-00000000-0000-0000-0000-000000000000", -ENOENT);
}

static void removed_names_stay_removed(void **state)
{
        static struct world w;
        char id[GFID_TEXT_LEN + 1], path[128];
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 2});
        world_run(&w, 0, make_things, NULL);
        set_down(&w, 1, true);
        world_run(&w, 0, remove_things, NULL);
        set_down(&w, 1, false);
        assert_true(world_exists(&w.bricks[1], "/dir/inside"));
        world_run(&w, 0, look_for_removed, NULL);
        assert_false(world_exists(&w.bricks[1], "/file"));
        assert_false(world_exists(&w.bricks[1], "/dir"));
        (void)snprintf(path, sizeof path, "/.glusterfs-anonymous-inode-%s", gfid_format(&w.volume_id, id));
        assert_true(world_exists(&w.bricks[1], path)); /* with content: moved aside, not destroyed */
        world_close(&w);
}

/* While one brick is away nobody can heal: good copies of the directory tell. */
static void look_without_heal(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        look(self, c, "file", -ENOENT);
}

static void stale_names_are_not_believed(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 3});
        world_run(&w, 0, make_things, NULL);
        set_down(&w, 1, true);
        world_run(&w, 0, remove_things, NULL);
        set_down(&w, 1, false);
        set_down(&w, 2, true);
        world_run(&w, 0, look_without_heal, NULL);
        assert_true(world_exists(&w.bricks[1], "/file"));
        world_close(&w);
}

/* ---- two objects of one name ------------------------------------------------------------------------------------- */

static void make_twin(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_mkdir(self, c, NULL, "twin"), 0);
}

static void look_at_twins(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        look(self, c, "twin", -EIO);
}

static void two_objects_of_one_name(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_REP3, .seed = 4, .replicate_options = "    option quorum-type none\n"});
        world_run(&w, 0, make_things, NULL);
        set_down(&w, 1, true);
        set_down(&w, 2, true);
        world_run(&w, 0, make_twin, NULL);
        set_down(&w, 1, false);
        set_down(&w, 2, false);
        /* as if each had been away for the others: all are blamed, and blame */
        assert_counter(&w, 0, "/", 1, "0,0,1");
        set_down(&w, 0, true);
        const uint8_t one[12] = {[11] = 1};
        for (unsigned b = 1; b < 3; b++) {
                assert_int_equal(disk_mkdir(world_disk(&w.bricks[b]), AT_FDCWD, WORLD_BRICK_PATH "/twin", 0755), 0);
                assert_int_equal(disk_setxattr(world_disk(&w.bricks[b]), AT_FDCWD, WORLD_BRICK_PATH,
                                               "trusted.afr.vol-client-0", one, sizeof one, 0),
                                 0);
                assert_int_equal(disk_setxattr(world_disk(&w.bricks[b]), AT_FDCWD, WORLD_BRICK_PATH,
                                               b == 1 ? "trusted.afr.vol-client-2" : "trusted.afr.vol-client-1", one,
                                               sizeof one, 0),
                                 0);
                assert_int_equal(disk_setxattr(world_disk(&w.bricks[b]), AT_FDCWD, WORLD_BRICK_PATH "/twin",
                                               "trusted.gfid", "0123456789abcdef", 16, 0),
                                 0);
        }
        set_down(&w, 0, false);
        world_run(&w, 0, look_at_twins, NULL);
        world_close(&w);
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static void change_metadata(struct fibre *self, struct world_client *c, void *arg)
{
        struct vnode *i = NULL;
        (void)arg;
        assert_int_equal(call_lookup(self, c, NULL, "file", &i), 0);
        assert_int_equal(call_chmod(self, c, i, 0604), 0);
        assert_int_equal(call_setxattr(self, c, i, "user.colour", "blue"), 0);
        vnode_unref(i);
}

static void look_at_file(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        look(self, c, "file", 0);
}

static void metadata_are_healed(void **state)
{
        static struct world w;
        char value[8];
        (void)state;
        for (unsigned k = 0; k < 2; k++) {
                world_open(&w, &(struct world_config){.layout = k ? WORLD_ARBITER : WORLD_REP3, .seed = 5});
                world_run(&w, 0, make_things, NULL);
                set_down(&w, 1, true);
                world_run(&w, 0, change_metadata, NULL);
                assert_counter(&w, 0, "/file", 1, "0,1,0"); /* of both changes: they were settled once */
                set_down(&w, 1, false);
                world_run(&w, 0, look_at_file, NULL);
                world_pass(&w, NS_PER_SEC);
                assert_int_equal(mode_at(&w, 1, "/file") & 07777, 0604);
                assert_int_equal(world_xattr(&w.bricks[1], "/file", "user.colour", value, sizeof value), 4);
                assert_clean(&w, "/file");
                world_close(&w);
        }
}

static void metadata_that_differ_without_blame(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 6});
        world_run(&w, 0, make_things, NULL);
        assert_int_equal(
                disk_setxattr(world_disk(&w.bricks[2]), AT_FDCWD, WORLD_BRICK_PATH "/file", "user.odd", "x", 1, 0), 0);
        world_run(&w, 0, look_at_file, NULL);
        world_pass(&w, NS_PER_SEC);
        char value[8];
        assert_int_equal(world_xattr(&w.bricks[2], "/file", "user.odd", value, sizeof value), -ENODATA);
        assert_clean(&w, "/file");
        world_close(&w);
}

static void list_clean(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_listed(self, c, "file").mode & 07777, 0644);
}

static void list_stale(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct iatt stat = call_listed(self, c, "file");
        assert_true(gfid_is_null(&stat.gfid));
}

static void a_listing_has_no_stale_attributes(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3,
                                              .seed = 9,
                                              .replicate_options = "    option read-subvolume-index 1\n"});
        world_run(&w, 0, make_things, NULL);
        world_run(&w, 0, list_clean, NULL);
        set_down(&w, 1, true);
        world_run(&w, 0, change_metadata, NULL);
        set_down(&w, 1, false);
        world_run(&w, 0, list_stale, NULL);
        world_close(&w);
}

/* ---- put together from all --------------------------------------------------------------------------------------- */

static void ask_all(struct fibre *self, struct world_client *c, void *arg)
{
        struct vnode *i = NULL;
        struct statfs fs;
        char text[512] = "";
        (void)arg;
        assert_int_equal(call_lookup(self, c, NULL, "file", &i), 0);
        assert_int_equal(call_getxattr(self, c, i, "trusted.glusterfs.pathinfo", text, sizeof text), 0);
        assert_int_equal(strncmp(text, "(<REPLICATE:vol-replicate-0> <POSIX(/brick):", 44), 0);
        assert_int_equal(text[strlen(text) - 1], ')');
        assert_int_equal(call_getxattr(self, c, i, "replica.split-brain-status", text, sizeof text), 0);
        assert_string_equal(text, "The file is not under data or metadata split-brain");
        assert_int_equal(call_statfs(self, c, &fs), 0);
        assert_true(fs.blocks > 0);
        vnode_unref(i);
}

static void answers_of_all_copies(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 7});
        world_run(&w, 0, make_things, NULL);
        world_run(&w, 0, ask_all, NULL);
        world_close(&w);
}

/* ---- POSIX locks ------------------------------------------------------------------------------------------------- */

struct locker {
        struct vfile *f[2];
        bool got;
};

static void open_both(struct fibre *self, struct world_client *c, void *arg)
{
        struct locker *l = arg;
        assert_int_equal(call_open(self, c, NULL, "file", 0, &l->f[c->index]), 0);
}

static void lock_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct locker *l = arg;
        assert_int_equal(call_lk(self, c, l->f[c->index], false, 1, 1), 0);
}

static void lock_it_too(struct fibre *self, struct world_client *c, void *arg)
{
        struct locker *l = arg;
        assert_int_equal(call_lk(self, c, l->f[c->index], false, 1, 1), -EAGAIN);
        assert_int_equal(call_lk(self, c, l->f[c->index], true, 1, 1), 0);
        l->got = true;
}

static void unlock_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct locker *l = arg;
        assert_int_equal(call_lk(self, c, l->f[c->index], false, 2, 1), 0);
}

static void close_both(struct fibre *self, struct world_client *c, void *arg)
{
        struct locker *l = arg;
        assert_int_equal(call_close(self, c, l->f[c->index]), 0);
}

static void locks_exclude_each_other(void **state)
{
        static struct world w;
        struct locker l = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 8});
        world_run(&w, 0, make_things, NULL);
        world_run(&w, 0, open_both, &l);
        world_run(&w, 1, open_both, &l);
        world_run(&w, 0, lock_it, &l);
        world_start(&w, 1, lock_it_too, &l);
        world_pass(&w, NS_PER_SEC);
        assert_false(l.got);
        world_run(&w, 0, unlock_it, &l);
        world_wait(&w);
        assert_true(l.got);
        world_run(&w, 0, close_both, &l);
        world_run(&w, 1, close_both, &l);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(missing_names_are_made),
                cmocka_unit_test(removed_names_stay_removed),
                cmocka_unit_test(stale_names_are_not_believed),
                cmocka_unit_test(two_objects_of_one_name),
                cmocka_unit_test(metadata_are_healed),
                cmocka_unit_test(metadata_that_differ_without_blame),
                cmocka_unit_test(a_listing_has_no_stale_attributes),
                cmocka_unit_test(answers_of_all_copies),
                cmocka_unit_test(locks_exclude_each_other),
        };
        log_set_level(LOG_LEVEL_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
