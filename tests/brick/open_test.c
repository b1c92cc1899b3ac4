/* Opening a brick: checks, what it creates, what it refuses (spec: brick.md §2). */
#include "harness.h"

static int reopen(struct harness *h, struct error *e)
{
        const struct brick_config config = {
                .path = h->path, .volume = "test", .volume_id = h->volume_id, .options = h->options};
        h->brick = brick_close(h->brick);
        return brick_open(h->disk, &config, &h->brick, e);
}

static void setup(struct harness *h, void **state)
{
        if (*state)
                harness_sim(h, 1);
        else
                harness_posix(h);
}

static mode_t mode_of(struct harness *h, const char *path)
{
        struct stat st;
        assert_int_equal(disk_stat(h->disk, AT_FDCWD, path, &st), 0);
        return st.st_mode;
}

static void opening_makes_the_tree(void **state)
{
        struct harness h;
        char buf[64];
        setup(&h, state);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs")), S_IFDIR | 0600);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs/00")), S_IFDIR | 0700);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs/ff")), S_IFDIR | 0700);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs/unlink")), S_IFDIR | 0600);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs/landfill")), S_IFDIR | 0755);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs/indices/entry-changes")), S_IFDIR | 0600);
        assert_int_equal(mode_of(&h, on_disk(&h, ".glusterfs/health_check")), S_IFREG | 0644);
        struct gfid root = GFID_ROOT, g;
        ssize_t n = disk_readlink(h.disk, AT_FDCWD, handle_on_disk(&h, &root), buf, sizeof buf);
        assert_int_equal(n, 8);
        assert_memory_equal(buf, "../../..", 8);
        assert_int_equal(disk_getxattr(h.disk, AT_FDCWD, h.path, "trusted.gfid", g.b, 16), 16);
        assert_true(gfid_is_root(&g));
        struct stat st;
        assert_int_equal(disk_stat(h.disk, AT_FDCWD, on_disk(&h, ".glusterfs/health_check"), &st), 0);
        assert_int_equal(st.st_size, 25);
        harness_close(&h);
}

static void foreign_directories_are_refused(void **state)
{
        struct harness h;
        struct error e = {0};
        setup(&h, state);
        h.volume_id.b[0] ^= 1;
        assert_int_equal(reopen(&h, &e), -ESTALE);
        h.volume_id.b[0] ^= 1;
        assert_non_null(strstr(e.text, "another volume"));

        struct gfid other = {.b = {7}};
        assert_int_equal(disk_setxattr(h.disk, AT_FDCWD, h.path, "trusted.gfid", other.b, 16, 0), 0);
        assert_int_equal(reopen(&h, &e), -ESTALE);
        assert_int_equal(disk_setxattr(h.disk, AT_FDCWD, h.path, "trusted.gfid", other.b, 8, 0), 0);
        assert_int_equal(reopen(&h, &e), -ESTALE);
        other = GFID_ROOT;
        assert_int_equal(disk_setxattr(h.disk, AT_FDCWD, h.path, "trusted.gfid", other.b, 16, 0), 0);
        assert_int_equal(reopen(&h, &e), 0);

        assert_int_equal(disk_removexattr(h.disk, AT_FDCWD, h.path, "trusted.glusterfs.volume-id"), 0);
        assert_int_equal(reopen(&h, &e), -ENODATA);
        assert_int_equal(disk_setxattr(h.disk, AT_FDCWD, h.path, "trusted.glusterfs.volume-id", "short", 5, 0), 0);
        assert_int_equal(reopen(&h, &e), -ESTALE);
        assert_true(strlen(e.text) > 20);
        const struct brick_config nowhere = {.path = "/nowhere/at/all", .volume = "test", .options = h.options};
        assert_int_equal(brick_open(h.disk, &nowhere, &h.brick, &e), -ENOENT);
        h.skip_check = true;
        harness_close(&h);
}

static void foreign_root_handle_is_refused(void **state)
{
        struct harness h;
        struct error e = {0};
        struct gfid root = GFID_ROOT;
        setup(&h, state);
        h.skip_check = true;
        assert_int_equal(disk_unlink(h.disk, AT_FDCWD, handle_on_disk(&h, &root), 0), 0);
        assert_int_equal(disk_symlink(h.disk, "../..", AT_FDCWD, handle_on_disk(&h, &root)), 0);
        assert_int_equal(reopen(&h, &e), -ESTALE);
        harness_close(&h);
}

static void missing_parts_are_completed_and_unlink_is_emptied(void **state)
{
        struct harness h;
        struct error e = {0};
        setup(&h, state);
        assert_int_equal(disk_unlink(h.disk, AT_FDCWD, on_disk(&h, ".glusterfs/7f"), AT_REMOVEDIR), 0);
        assert_int_equal(disk_mknod(h.disk, AT_FDCWD, on_disk(&h, ".glusterfs/unlink/x"), S_IFREG | 0600, 0), 0);
        assert_int_equal(disk_mkdir(h.disk, AT_FDCWD, on_disk(&h, ".glusterfs/unlink/dir"), 0700), 0);
        assert_int_equal(reopen(&h, &e), 0);
        assert_true(exists_on_disk(&h, on_disk(&h, ".glusterfs/7f")));
        assert_false(exists_on_disk(&h, on_disk(&h, ".glusterfs/unlink/x")));
        assert_false(exists_on_disk(&h, on_disk(&h, ".glusterfs/unlink/dir")));
        harness_close(&h);
}

static void a_failing_disk_fails_the_health_check(void **state)
{
        struct harness h;
        struct error e = {0};
        harness_sim(&h, 1);
        assert_int_equal(brick_maintain(h.brick, 1000 * NS_PER_SEC, &e), 0);
        sim_disk_fail_nth(h.sim, 1, EIO);
        assert_int_equal(brick_maintain(h.brick, 1010 * NS_PER_SEC, &e), 0); /* not due yet */
        assert_int_equal(brick_maintain(h.brick, 1031 * NS_PER_SEC, &e), -EIO);
        assert_non_null(strstr(e.text, "health"));
        sim_disk_faults_clear(h.sim);
        harness_close(&h);
}

/* What is wrong with the process, or too much on the disk, does not make a brick's storage broken. */
static void other_shortages_do_not_fail_the_health_check(void **state)
{
        static const int shortages[] = {ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EAGAIN, EINTR};
        struct harness h;
        uint64_t now = 1000 * NS_PER_SEC;
        harness_sim(&h, 1);
        for (size_t k = 0; k < ELEMENTSOF(shortages); k++)
                for (unsigned n = 1; n <= 2; n++) {
                        struct error e = {0};
                        sim_disk_fail_nth(h.sim, n, shortages[k]);
                        assert_int_not_equal(brick_maintain(h.brick, now += 31 * NS_PER_SEC, &e), -EIO);
                        assert_true(sim_disk_fault_fired(h.sim));
                        sim_disk_faults_clear(h.sim);
                        assert_int_equal(brick_maintain(h.brick, now += 31 * NS_PER_SEC, &e), 0);
                }
        harness_close(&h);
}

static void a_full_brick_opens(void **state)
{
        struct harness h;
        struct error e = {0};
        harness_sim(&h, 1);
        sim_disk_fail_nth(h.sim, 2, ENOSPC); /* the health check's write */
        assert_int_equal(reopen(&h, &e), 0);
        assert_true(sim_disk_fault_fired(h.sim));
        harness_close(&h);
}

static void options_are_set_by_name(void **state)
{
        struct brick_options o;
        struct error e = {0};
        brick_options_init(&o);
        assert_true(o.gfid2path && o.ctime && o.acl);
        assert_int_equal(o.max_hardlinks, 100);
        assert_int_equal(o.create_mask, 0777);
        assert_false(o.reserve.is_bytes);
        assert_true(o.reserve.percent == 1.0);
        assert_string_equal(o.gfid2path_separator, ":");
        assert_int_equal(brick_options_set(&o, "reserve", "10GB", &e), 0);
        assert_true(o.reserve.is_bytes && o.reserve.bytes == 10 * GIB);
        assert_int_equal(brick_options_set(&o, "reserve", "150", &e), 0);
        assert_true(o.reserve.is_bytes && o.reserve.bytes == 150);
        assert_int_equal(brick_options_set(&o, "reserve", "2.5%", &e), 0);
        assert_true(!o.reserve.is_bytes && o.reserve.percent == 2.5);
        assert_int_equal(brick_options_set(&o, "reserve", "-1", &e), -EINVAL);
        assert_int_equal(brick_options_set(&o, "reserve", "10XB", &e), -EINVAL);
        assert_int_equal(brick_options_set(&o, "create-mask", "0750", &e), 0);
        assert_int_equal(o.create_mask, 0750);
        assert_int_equal(brick_options_set(&o, "create-mask", "0888", &e), -EINVAL);
        assert_int_equal(o.create_mask, 0750);
        assert_int_equal(brick_options_set(&o, "ctime", "disable", &e), 0);
        assert_false(o.ctime);
        assert_int_equal(brick_options_set(&o, "ctime", "perhaps", &e), -EINVAL);
        assert_non_null(strstr(e.text, "perhaps"));
        assert_int_equal(brick_options_set(&o, "brick-uid", "-1", &e), 0);
        assert_int_equal(brick_options_set(&o, "max-hardlinks", "-1", &e), -EINVAL);
        assert_int_equal(brick_options_set(&o, "no-such-option", "1", &e), -ENOENT);
}

int main(void)
{
        static int simulated = 1;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(opening_makes_the_tree),
                cmocka_unit_test_prestate(opening_makes_the_tree, &simulated),
                cmocka_unit_test(foreign_directories_are_refused),
                cmocka_unit_test_prestate(foreign_directories_are_refused, &simulated),
                cmocka_unit_test(foreign_root_handle_is_refused),
                cmocka_unit_test(missing_parts_are_completed_and_unlink_is_emptied),
                cmocka_unit_test_prestate(missing_parts_are_completed_and_unlink_is_emptied, &simulated),
                cmocka_unit_test(a_failing_disk_fails_the_health_check),
                cmocka_unit_test(other_shortages_do_not_fail_the_health_check),
                cmocka_unit_test(a_full_brick_opens),
                cmocka_unit_test(options_are_set_by_name),
        };
        return cmocka_run_group_tests_name("brick/open", tests, NULL, NULL);
}
