/* Healing the names of directories (replicate.md §10.5, §10.6), and all that is below them. */
#include "heal_calls.h"

#include <fcntl.h>

static struct world w;

static void open_world(enum world_layout layout, unsigned clients, uint64_t seed, const char *options)
{
        world_open(&w, &(struct world_config){
                               .layout = layout, .clients = clients, .seed = seed, .replicate_options = options});
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static struct vnode *look_up(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name)
{
        struct vnode *i = NULL;
        assert_int_equal(call_lookup(self, c, dir, name, &i), 0);
        return i;
}

static int link_to(struct fibre *self, struct world_client *c, struct vnode *i, struct vnode *dir, const char *name)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct request r = world_request(c, &a);
        struct link_fop_req req = {.oldgfid = i->gfid, .newgfid = dir->gfid, .newbname = str_of(name)};
        struct link_fop_rep rep;
        r.inode = i;
        r.new_parent = dir;
        return subvolume_link(self, volume_top(c->volume), &r, &req, &rep);
}

/* What is there before: a/ (1 2 3 sub/(x y) gone/(z deep/(q))), b/, files of several kinds. */
static void make_tree(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_mkdir(self, c, NULL, "a"), 0);
        assert_int_equal(call_mkdir(self, c, NULL, "b"), 0);
        struct vnode *a = look_up(self, c, NULL, "a");
        assert_int_equal(call_mkdir(self, c, a, "sub"), 0);
        assert_int_equal(call_mkdir(self, c, a, "gone"), 0);
        struct vnode *sub = look_up(self, c, a, "sub"), *gone = look_up(self, c, a, "gone");
        assert_int_equal(call_mkdir(self, c, gone, "deep"), 0);
        struct vnode *deep = look_up(self, c, gone, "deep");
        assert_int_equal(call_mknod(self, c, a, "1", S_IFREG | 0644), 0);
        assert_int_equal(call_mknod(self, c, a, "2", S_IFREG | 0644), 0);
        assert_int_equal(call_mknod(self, c, a, "3", S_IFIFO | 0600), 0);
        assert_int_equal(call_mknod(self, c, sub, "x", S_IFREG | 0644), 0);
        assert_int_equal(call_symlink(self, c, sub, "y", "nowhere"), 0);
        assert_int_equal(call_mknod(self, c, gone, "z", S_IFREG | 0644), 0);
        assert_int_equal(call_mknod(self, c, deep, "q", S_IFREG | 0644), 0);
        make_file(self, c, "old", 1000, 1);
        make_file(self, c, "replaced", 2000, 2);
        vnode_unref(deep);
        vnode_unref(gone);
        vnode_unref(sub);
        vnode_unref(a);
}

/* Everything that can happen to names. */
static void change_tree(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vnode *a = look_up(self, c, NULL, "a"), *b = look_up(self, c, NULL, "b");
        struct vnode *gone = look_up(self, c, a, "gone"), *deep = look_up(self, c, gone, "deep");
        struct vnode *old = look_up(self, c, NULL, "old");
        assert_int_equal(call_unlink(self, c, a, "1"), 0);
        assert_int_equal(call_rename(self, c, a, "2", b, "two"), 0);
        assert_int_equal(call_rename(self, c, a, "sub", b, "sub"), 0);
        assert_int_equal(call_unlink(self, c, deep, "q"), 0);
        assert_int_equal(call_rmdir(self, c, gone, "deep"), 0);
        assert_int_equal(call_rename(self, c, gone, "z", NULL, "z"), 0);
        assert_int_equal(call_rmdir(self, c, a, "gone"), 0);
        assert_int_equal(call_mkdir(self, c, a, "new"), 0);
        struct vnode *new = look_up(self, c, a, "new");
        assert_int_equal(call_mkdir(self, c, new, "er"), 0);
        assert_int_equal(call_symlink(self, c, new, "link", "old"), 0);
        assert_int_equal(call_mknod(self, c, new, "pipe", S_IFIFO | 0640), 0);
        assert_int_equal(call_mknod(self, c, new, "device", S_IFCHR | 0600), 0);
        assert_int_equal(link_to(self, c, old, new, (char[]){"second"}), 0);
        assert_int_equal(call_unlink(self, c, NULL, "replaced"), 0);
        make_file(self, c, "replaced", 300000, 3);
        make_file(self, c, "fresh", 10, 4);
        assert_int_equal(call_chmod(self, c, new, 01777), 0);
        assert_int_equal(call_setxattr(self, c, new, "user.colour", "green"), 0);
        vnode_unref(new);
        vnode_unref(old);
        vnode_unref(deep);
        vnode_unref(gone);
        vnode_unref(b);
        vnode_unref(a);
}

static void prepared(enum world_layout layout, unsigned clients, uint64_t seed, const char *options)
{
        open_world(layout, clients, seed, options);
        world_run(&w, 0, make_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_healed(&w);
}

static void missing(unsigned brick)
{
        heal_brick_down(&w, brick);
        world_run(&w, 0, change_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, brick);
}

/* ---- a copy is behind -------------------------------------------------------------------------------------------- */

static void names_that_a_brick_missed_are_healed(void **state)
{
        static const char *const options[] = {NULL, "    option granular-entry-heal off\n",
                                              "    option optimistic-change-log off\n"};
        (void)state;
        for (unsigned o = 0; o < ELEMENTSOF(options); o++) {
                for (unsigned brick = 0; brick < 3; brick++) {
                        prepared(brick == 1 ? WORLD_ARBITER : WORLD_REP3, 1, 10 * o + brick, options[o]);
                        missing(o == 0 && brick == 1 ? 2 : brick);
                        assert_int_equal(heal_all(&w, 0), 0);
                        assert_healed(&w);
                        assert_true(world_exists(&w.bricks[brick], "/a/new/second"));
                        assert_false(world_exists(&w.bricks[brick], "/a/gone"));
                        world_close(&w);
                }
        }
}

static void one_directory_at_a_time(void **state)
{
        struct afr_heal_report report = {0};
        (void)state;
        prepared(WORLD_REP3, 1, 50, NULL);
        missing(1);
        assert_int_equal(heal_path(&w, 0, 0, "/a", NULL), 0);
        assert_counter(&w, 0, "/a", 1, "0,0,0");
        assert_counter(&w, 0, "/a/new", 1, "2,3,7");
        assert_int_equal(heal_path(&w, 0, 0, "/a/new", &report), 0);
        assert_true(report.healed[AFR_ENTRY] && report.healed[AFR_METADATA]);
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        world_close(&w);
}

/* What was made and not synced is on two disks only after all lost power, and nobody blames the third. */
static void make_and_stop(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        struct vnode *d = NULL;
        (void)arg;
        assert_int_equal(call_mkdir(self, c, NULL, "new"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "new", &d), 0);
        assert_int_equal(call_create(self, c, d, "file", 0, &f), 0);
        write_pattern(self, c, f, 0, 5000, 3);
        vfile_unref(f);
        vnode_unref(d);
}

static void what_a_power_cut_left_on_some_is_healed(void **state)
{
        unsigned missing = 0;
        (void)state;
        for (uint64_t seed = 0; seed < 30; seed++) {
                struct world_brick *b = &w.bricks[seed % 3];
                open_world(WORLD_REP3, 2, 60 + seed, NULL);
                world_brick_sync(b);
                world_run(&w, 0, make_and_stop, NULL);
                world_client_crash(&w.clients[0]);
                world_brick_crash(b, true);
                world_brick_start(b);
                missing += !world_exists(b, "/new/file");
                world_pass(&w, 2 * NS_PER_SEC);
                heal_wait_up(&w, 1);
                assert_int_equal(heal_all(&w, 1), 0);
                assert_true(world_exists(b, "/new/file"));
                assert_equal_copies(&w, false); /* a creation that was lost in part has no times */
                world_close(&w);
        }
        assert_true(missing >= 3);
}

static void make_many(struct fibre *self, struct world_client *c, void *arg)
{
        char name[16];
        (void)arg;
        for (unsigned k = 0; k < 200; k++) {
                (void)snprintf(name, sizeof name, "many%u", k);
                assert_int_equal(call_mknod(self, c, NULL, name, S_IFREG | 0600), 0);
        }
}

static void make_one_more(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(call_mknod(self, c, NULL, arg, S_IFREG | 0600), 0);
}

static void the_record_saves_looking_at_all_names(void **state)
{
        struct afr_heal_report report = {0};
        (void)state;
        open_world(WORLD_REP3, 1, 51, NULL);
        world_run(&w, 0, make_many, NULL);
        heal_brick_down(&w, 2);
        world_run(&w, 0, make_one_more, (char[]){"one"});
        heal_brick_up(&w, 2);
        assert_int_equal(heal_path(&w, 0, 0, "/", &report), 0);
        assert_int_equal(report.names_done, 2); /* of both good copies */
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        world_close(&w);
}

/* ---- nobody knows better ----------------------------------------------------------------------------------------- */

static void remove_on_disk(unsigned brick, const char *name)
{
        char path[128], handle[128], text[GFID_TEXT_LEN + 1];
        struct gfid g = heal_gfid(&w, brick, name);
        (void)snprintf(path, sizeof path, WORLD_BRICK_PATH "%s", name);
        gfid_format(&g, text);
        (void)snprintf(handle, sizeof handle, WORLD_BRICK_PATH "/.glusterfs/%.2s/%.2s/%s", text, text + 2, text);
        assert_int_equal(disk_unlink(world_disk(&w.bricks[brick]), AT_FDCWD, path, 0), 0);
        assert_int_equal(disk_unlink(world_disk(&w.bricks[brick]), AT_FDCWD, handle, 0), 0);
}

static void all_of_it_is_kept_when_nobody_knows_better(void **state)
{
        (void)state;
        prepared(WORLD_REP3, 1, 52, NULL);
        heal_brick_down(&w, 0); /* its names are looked at when it is back */
        heal_brick_down(&w, 1);
        heal_brick_down(&w, 2);
        remove_on_disk(0, "/a/1");
        remove_on_disk(1, "/a/2");
        remove_on_disk(2, "/a/2");
        set_counter(&w, 1, "/a", -1, 0, 0, 1);
        heal_brick_up(&w, 0);
        heal_brick_up(&w, 1);
        heal_brick_up(&w, 2);
        assert_int_equal(heal_path(&w, 0, 0, "/a", NULL), 0);
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        assert_true(world_exists(&w.bricks[1], "/a/1") && world_exists(&w.bricks[1], "/a/2"));
        world_close(&w);
}

/* Each of two copies was alone for a while. */
static void remove_old(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_unlink(self, c, NULL, "old"), 0);
}

/* Something else was begun in the directory and never ended: that does not bring back what was removed. */
static void what_was_begun_revives_nothing(void **state)
{
        (void)state;
        prepared(WORLD_REP3, 1, 21, NULL);
        heal_brick_down(&w, 2);
        world_run(&w, 0, remove_old, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        set_counter(&w, 0, "/", -1, 0, 0, 1);
        set_counter(&w, 1, "/", -1, 0, 0, 1);
        heal_brick_up(&w, 2);
        assert_int_equal(heal_all(&w, 0), 0);
        assert_false(world_exists(&w.bricks[2], "/old"));
        assert_healed(&w);
        world_close(&w);
}

static void split_directory(const char *policy)
{
        open_world(WORLD_REP3, 1, 53, policy);
        heal_brick_down(&w, 1);
        heal_brick_down(&w, 2);
        world_run(&w, 0, make_one_more, (char[]){"same"});
        world_run(&w, 0, make_one_more, (char[]){"first"});
        heal_brick_down(&w, 0);
        heal_brick_up(&w, 1);
        world_run(&w, 0, make_one_more, (char[]){"same"});
        world_run(&w, 0, make_one_more, (char[]){"second"});
        heal_brick_up(&w, 0);
        heal_brick_up(&w, 2);
}

static void two_objects_of_one_name_are_left_to_the_operator(void **state)
{
        struct afr_heal_report report = {0};
        (void)state;
        split_directory("    option quorum-type none\n");
        assert_int_equal(heal_path(&w, 0, 0, "/", &report), -EIO);
        assert_non_null(strstr(report.why, "name 'same'"));
        assert_true(world_exists(&w.bricks[2], "/first") && world_exists(&w.bricks[2], "/second"));
        assert_false(world_exists(&w.bricks[2], "/same"));
        assert_counter(&w, 0, "/", 1, "0,0,2");
        world_close(&w);
        split_directory("    option quorum-type none\n    option favorite-child-policy ctime\n");
        assert_int_equal(heal_path(&w, 0, 0, "/", NULL), 0);
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        world_close(&w);
}

/* ---- what a brick that stopped left ------------------------------------------------------------------------------ */

static void rename_old(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_rename(self, c, NULL, "old", NULL, "moved"), 0);
}

/* Brick 0 stopped when it was about to make "moved"; meanwhile another file, which it has, got that name. */
static void a_name_without_gfid_gives_way_to_the_object(void **state)
{
        (void)state;
        prepared(WORLD_REP3, 1, 22, NULL);
        heal_brick_down(&w, 0);
        struct disk *d = world_disk(&w.bricks[0]);
        assert_int_equal(disk_mknod(d, AT_FDCWD, WORLD_BRICK_PATH "/moved", S_IFREG | 0644, 0), 0);
        world_run(&w, 0, rename_old, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, 0);
        assert_int_equal(heal_all(&w, 0), 0);
        heal_sweep(&w, 0);
        assert_healed(&w);
        assert_false(world_exists(&w.bricks[0], "/old"));
        uint8_t data[1001], expected[1000];
        pattern(expected, sizeof expected, 0, 1);
        assert_int_equal(world_read(&w.bricks[0], "/moved", data, sizeof data), sizeof expected);
        assert_memory_equal(data, expected, sizeof expected);
        world_close(&w);
}

static void link_both(struct fibre *self, struct world_client *c, void *arg)
{
        struct vnode *a = look_up(self, c, NULL, "a"), *b = look_up(self, c, NULL, "b"), *i = look_up(self, c, a, "1");
        (void)arg;
        assert_int_equal(link_to(self, c, i, b, "one"), 0);
        vnode_unref(i);
        vnode_unref(b);
        vnode_unref(a);
}

static void remove_in(struct fibre *self, struct world_client *c, void *arg)
{
        const char *const *path = arg;
        struct vnode *d = look_up(self, c, NULL, path[0]);
        assert_int_equal(call_unlink(self, c, d, path[1]), 0);
        vnode_unref(d);
}

/* Each of its names was removed while another copy was away: the healer moves it aside on both. */
static void what_lost_its_names_one_by_one_goes(void **state)
{
        (void)state;
        prepared(WORLD_REP3, 1, 23, NULL);
        world_run(&w, 0, link_both, NULL);
        heal_brick_down(&w, 0);
        world_run(&w, 0, remove_in, (const char *[]){"a", "1"});
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, 0);
        heal_brick_down(&w, 2);
        world_run(&w, 0, remove_in, (const char *[]){"b", "one"});
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, 2);
        assert_int_equal(heal_all(&w, 0), 0);
        heal_sweep(&w, 0);
        assert_healed(&w);
        for (unsigned b = 0; b < 3; b++)
                assert_false(world_exists(&w.bricks[b], "/a/1") || world_exists(&w.bricks[b], "/b/one"));
        world_close(&w);
}

/* ---- a new brick ------------------------------------------------------------------------------------------------- */

static void remove_tree_on_disk(struct disk *d, const char *path)
{
        static const char marker[] = WORLD_BRICK_PATH;
        char *names = malloc(64 * KIB);
        assert_non_null(names);
        int fd = disk_open(d, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        ssize_t got = disk_getdents(d, fd, names, 64 * KIB);
        (void)disk_close(d, fd);
        for (ssize_t at = 0; at < got;) {
                const struct disk_dirent *e = (const void *)(names + at);
                char below[PATH_LIMIT + 1];
                struct stat st;
                at += e->d_reclen;
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                (void)snprintf(below, sizeof below, "%.3000s/%s", path, e->d_name);
                assert_int_equal(disk_stat(d, AT_FDCWD, below, &st), 0);
                if (S_ISDIR(st.st_mode))
                        remove_tree_on_disk(d, below);
                else
                        assert_int_equal(disk_unlink(d, AT_FDCWD, below, 0), 0);
        }
        free(names);
        if (!streq(path, marker))
                assert_int_equal(disk_unlink(d, AT_FDCWD, path, AT_REMOVEDIR), 0);
}

static void mark_new(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(afr_heal_mark_new(self, heal_set(c), *(unsigned *)arg), 0);
}

static void a_replaced_brick_gets_everything(void **state)
{
        static const char *const counters[] = {"trusted.afr.dirty", "trusted.afr.vol-client-0",
                                               "trusted.afr.vol-client-1", "trusted.afr.vol-client-2"};
        (void)state;
        for (unsigned brick = 0; brick < 3; brick++) {
                prepared(WORLD_REP3, 1, 54 + brick, NULL);
                world_run(&w, 0, change_tree, NULL);
                world_pass(&w, 2 * NS_PER_SEC);
                heal_brick_down(&w, brick);
                struct disk *d = world_disk(&w.bricks[brick]);
                remove_tree_on_disk(d, WORLD_BRICK_PATH);
                for (unsigned k = 0; k < ELEMENTSOF(counters); k++)
                        (void)disk_removexattr(d, AT_FDCWD, WORLD_BRICK_PATH, counters[k]);
                heal_brick_up(&w, brick);
                world_run(&w, 0, mark_new, &brick);
                assert_counter(&w, (brick + 1) % 3, "/", (int)brick, "1,1,1");
                assert_counter(&w, brick, "/", -1, "0,0,1");
                assert_int_equal(heal_all(&w, 0), 0);
                assert_healed(&w);
                assert_true(world_exists(&w.bricks[brick], "/b/sub/y"));
                world_close(&w);
        }
}

/* ---- others at the same time ------------------------------------------------------------------------------------- */

#define ROUNDS 150

static void make_and_remove(struct fibre *self, struct world_client *c, void *arg)
{
        uint64_t random = *(uint64_t *)arg;
        for (unsigned k = 0; k < ROUNDS; k++) {
                char name[16], other[16];
                random = random * 6364136223846793005u + 1442695040888963407u;
                (void)snprintf(name, sizeof name, "n%u", (unsigned)(random >> 40) % 12);
                (void)snprintf(other, sizeof other, "n%u", (unsigned)(random >> 50) % 12);
                /* Results do not matter: without looking names up first, as kernels do, copies may disagree about them.
                 */
                switch ((random >> 60) % 4) {
                case 0:
                        (void)call_unlink(self, c, NULL, name);
                        break;
                case 1:
                        (void)call_rename(self, c, NULL, name, NULL, other);
                        break;
                default:
                        (void)call_mknod(self, c, NULL, name, S_IFREG | 0600);
                        break;
                }
        }
}

static void names_are_healed_beside_others(void **state)
{
        static const char *const options[] = {NULL, "    option granular-entry-heal off\n",
                                              "    option metadata-self-heal off\n"};
        (void)state;
        for (uint64_t seed = 60; seed < 72; seed++) {
                struct heal_begun b = {0};
                open_world(WORLD_REP3, 2, seed, options[seed % 3]);
                heal_brick_down(&w, seed % 3);
                world_run(&w, 0, make_and_remove, &seed);
                heal_brick_up(&w, seed % 3);
                world_start(&w, 0, make_and_remove, &(uint64_t){seed + 1000});
                heal_begin(&w, 1, (seed + 1) % 3, "/", &b);
                world_wait(&w);
                assert_true(b.result == 0 || b.result == -EAGAIN);
                assert_int_equal(heal_all(&w, 1), 0);
                assert_healed(&w);
                world_close(&w);
        }
}

static void of_two_healers_one_gives_way(void **state)
{
        struct heal_begun a = {0}, b = {0};
        (void)state;
        prepared(WORLD_REP3, 2, 70, NULL);
        missing(1);
        heal_begin(&w, 0, 0, "/a", &a);
        heal_begin(&w, 1, 0, "/a", &b);
        world_wait(&w);
        assert_true((a.result == 0) + (b.result == 0) <= 1 && (a.result == -EBUSY || b.result == -EBUSY));
        assert_int_equal(heal_all(&w, 0), 0);
        assert_healed(&w);
        world_close(&w);
}

static void a_heal_that_was_broken_off_is_begun_again(void **state)
{
        (void)state;
        for (uint64_t ms = 1; ms < 30; ms += 3) {
                struct heal_begun b = {0};
                prepared(WORLD_REP3, 2, 80 + ms, NULL);
                missing(1);
                heal_begin(&w, 1, 0, ms % 2 ? "/a" : "/", &b);
                world_pass(&w, ms * NS_PER_MSEC / 2);
                world_client_crash(&w.clients[1]);
                world_pass(&w, 60 * NS_PER_SEC);
                assert_int_equal(heal_all(&w, 0), 0);
                assert_healed(&w);
                world_close(&w);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_that_a_brick_missed_are_healed),
                cmocka_unit_test(one_directory_at_a_time),
                cmocka_unit_test(what_a_power_cut_left_on_some_is_healed),
                cmocka_unit_test(the_record_saves_looking_at_all_names),
                cmocka_unit_test(all_of_it_is_kept_when_nobody_knows_better),
                cmocka_unit_test(what_was_begun_revives_nothing),
                cmocka_unit_test(two_objects_of_one_name_are_left_to_the_operator),
                cmocka_unit_test(a_name_without_gfid_gives_way_to_the_object),
                cmocka_unit_test(what_lost_its_names_one_by_one_goes),
                cmocka_unit_test(a_replaced_brick_gets_everything),
                cmocka_unit_test(names_are_healed_beside_others),
                cmocka_unit_test(of_two_healers_one_gives_way),
                cmocka_unit_test(a_heal_that_was_broken_off_is_begun_again),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
