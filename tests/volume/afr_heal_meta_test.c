/* Healing attributes of objects as a whole heal does it (replicate.md §10.4), and what is told of them. */
#include "heal_calls.h"

#include <fcntl.h>

static struct world w;

static void open_world(enum world_layout layout, uint64_t seed, const char *options)
{
        world_open(&w, &(struct world_config){.layout = layout, .seed = seed, .replicate_options = options});
}

static struct vnode *look_up(struct fibre *self, struct world_client *c, const char *name)
{
        struct vnode *i = NULL;
        assert_int_equal(call_lookup(self, c, NULL, name, &i), 0);
        return i;
}

static void make_objects(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        make_file(self, c, "file", 5000, 1);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_mknod(self, c, NULL, "fifo", S_IFIFO | 0600), 0);
        struct vnode *file = look_up(self, c, "file");
        assert_int_equal(call_setxattr(self, c, file, "user.old", "1"), 0);
        assert_int_equal(call_setxattr(self, c, file, "user.same", "2"), 0);
        vnode_unref(file);
}

static int remove_xattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct request r = world_request(c, &a);
        struct removexattr_fop_req req = {.gfid = i->gfid, .name = str_of(name)};
        struct removexattr_fop_rep rep;
        r.inode = i;
        return subvolume_removexattr(self, volume_top(c->volume), &r, &req, &rep);
}

static void change_attributes(struct fibre *self, struct world_client *c, void *arg)
{
        static const char *const names[] = {"file", "dir", "fifo"};
        (void)arg;
        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                struct vnode *i = look_up(self, c, names[k]);
                assert_int_equal(call_chmod(self, c, i, 0751), 0);
                if (k < 2)
                        assert_int_equal(call_setxattr(self, c, i, "user.new", "3"), 0);
                if (k == 0)
                        assert_int_equal(remove_xattr(self, c, i, "user.old"), 0);
                vnode_unref(i);
        }
}

static void missing(unsigned brick)
{
        heal_brick_down(&w, brick);
        world_run(&w, 0, change_attributes, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, brick);
}

static ssize_t value_on(unsigned brick, const char *path, const char *name)
{
        char value[16];
        return world_xattr(&w.bricks[brick], path, name, value, sizeof value);
}

static void attributes_that_a_brick_missed_are_healed(void **state)
{
        (void)state;
        for (unsigned brick = 0; brick < 3; brick++) {
                open_world(brick == 2 ? WORLD_ARBITER : WORLD_REP3, brick + 1, NULL);
                world_run(&w, 0, make_objects, NULL);
                missing(brick);
                struct afr_heal_report report = {0};
                assert_int_equal(heal_path(&w, 0, 0, "/file", &report), 0);
                assert_true(report.healed[AFR_METADATA] && !report.healed[AFR_DATA]);
                assert_int_equal(heal_all(&w, 0), 0);
                assert_healed(&w);
                assert_true(value_on(brick, "/file", "user.new") > 0 && value_on(brick, "/file", "user.same") > 0);
                assert_int_equal(value_on(brick, "/file", "user.old"), -ENODATA);
                assert_true(value_on(brick, "/dir", "user.new") > 0);
                world_close(&w);
        }
}

static void differences_that_nobody_noted_are_healed(void **state)
{
        struct stat st;
        (void)state;
        open_world(WORLD_REP3, 5, NULL);
        world_run(&w, 0, make_objects, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_int_equal(disk_chmod(world_disk(&w.bricks[1]), AT_FDCWD, WORLD_BRICK_PATH "/fifo", 0777), 0);
        heal_brick_down(&w, 1); /* what it remembers of attributes goes */
        heal_brick_up(&w, 1);
        assert_int_equal(heal_path(&w, 0, 0, "/fifo", NULL), 0);
        assert_int_equal(disk_stat(world_disk(&w.bricks[1]), AT_FDCWD, WORLD_BRICK_PATH "/fifo", &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_healed(&w);
        world_close(&w);
}

/* Each copy blames the next. */
static void split(const char *path)
{
        for (unsigned b = 0; b < 3; b++)
                set_counter(&w, b, path, (int)(b + 1) % 3, 0, 1, 0);
}

static void look(struct fibre *self, struct world_client *c, void *arg)
{
        struct gfid g = heal_gfid(&w, 0, "/file");
        assert_int_equal(afr_heal_look(self, heal_set(c), &g, arg), 0);
}

static void split_brain_is_healed_if_there_is_no_difference(void **state)
{
        enum afr_heal_state found = AFR_SPLIT_BRAIN;
        struct afr_heal_report report = {0}, wish = {.prefer = AFR_PREFER_SOURCE, .preferred_child = 2};
        struct stat st;
        (void)state;
        open_world(WORLD_REP3, 6, NULL);
        world_run(&w, 0, make_objects, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        split("/file");
        world_run(&w, 0, look, &found);
        assert_int_equal(found, AFR_HEAL_PENDING);
        assert_int_equal(heal_path(&w, 0, 0, "/file", NULL), 0);
        world_run(&w, 0, look, &found);
        assert_int_equal(found, AFR_HEALTHY);
        assert_healed(&w);

        split("/file");
        assert_int_equal(disk_chmod(world_disk(&w.bricks[2]), AT_FDCWD, WORLD_BRICK_PATH "/file", 0700), 0);
        heal_brick_down(&w, 2);
        heal_brick_up(&w, 2);
        world_run(&w, 0, look, &found);
        assert_int_equal(found, AFR_SPLIT_BRAIN);
        assert_int_equal(heal_path(&w, 0, 0, "/file", &report), -EIO);
        assert_string_equal(report.why, "metadata split-brain");
        assert_int_equal(heal_path(&w, 0, 0, "/file", &wish), 0);
        assert_int_equal(disk_stat(world_disk(&w.bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/file", &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_healed(&w);
        world_close(&w);
}

static void the_newest_wins_where_that_is_the_policy(void **state)
{
        (void)state;
        open_world(WORLD_REP3, 7, "    option favorite-child-policy mtime\n");
        world_run(&w, 0, make_objects, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        split("/dir");
        assert_int_equal(disk_chmod(world_disk(&w.bricks[1]), AT_FDCWD, WORLD_BRICK_PATH "/dir", 0700), 0);
        heal_brick_down(&w, 1);
        heal_brick_up(&w, 1);
        assert_int_equal(heal_path(&w, 0, 0, "/dir", NULL), 0);
        assert_healed(&w);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(attributes_that_a_brick_missed_are_healed),
                cmocka_unit_test(differences_that_nobody_noted_are_healed),
                cmocka_unit_test(split_brain_is_healed_if_there_is_no_difference),
                cmocka_unit_test(the_newest_wins_where_that_is_the_policy),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
