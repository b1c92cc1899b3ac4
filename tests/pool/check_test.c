/* What must hold before a volume is created: every refusal with its text (cli.md §5.5, §6.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "pool/path.h"
#include "world.h"

#define ROOT_TEXT                                                                                                      \
        " is being created in the root partition. It is recommended that you don't use the system's root partition "   \
        "for"                                                                                                          \
        " storage backend. Or use 'force' at the end of the command if you want to override this behavior."
#define MOUNT_TEXT                                                                                                     \
        " is a mount point. Please create a sub-directory under the mount point and use that as the brick directory. " \
        "Or"                                                                                                           \
        " use 'force' at the end of the command if you want to override this behavior."
#define BUSY_TEXT " not available. Brick may be containing or be contained by an existing brick."

static struct world w;

static int setup(void **unused)
{
        (void)unused;
        world_init(&w, 1);
        struct volume *v = world_volume("old", "here:/data/old", NULL);
        assert_int_equal(change_create(&w.change, v, 0, NULL), 0);
        assert_int_equal(volume_set_put(&w.volumes, "old", v, NULL), 0);
        return 0;
}

static int teardown(void **unused)
{
        (void)unused;
        world_done(&w);
        return 0;
}

static void refused(struct volume *v, bool force, const char *text)
{
        struct error e = {0};
        uint64_t before = sim_disk_effects(w.sim);
        assert_true(check_create(&w.change.check, v, force ? CHECK_FORCE : 0, &e) < 0);
        assert_string_equal(e.text, text);
        assert_int_equal(sim_disk_effects(w.sim), before);
        volume_free(v);
}

static void accepted(struct volume *v, bool force)
{
        struct error e = {0};
        if (check_create(&w.change.check, v, force ? CHECK_FORCE : 0, &e) < 0)
                fail_msg("%s", e.text);
        volume_free(v);
}

static void test_accepts(void **unused)
{
        (void)unused;
        accepted(world_volume("v", "here:/data/x", "here:/data2/x", NULL), false);
        accepted(world_volume("v", "here:/x", NULL), true);
}

static void test_name_taken(void **unused)
{
        (void)unused;
        struct error why = {.code = -EINVAL, .text = "its record is damaged"};
        refused(world_volume("old", "here:/data/x", NULL), true, "Volume old already exists");
        assert_int_equal(volume_set_put(&w.volumes, "bad", NULL, &why), 0);
        refused(world_volume("bad", "here:/data/x", NULL), true,
                "Volume bad already exists, but its record is damaged");
}

static void test_lengths(void **unused)
{
        (void)unused;
        char name[400], word[600], text[900];
        memset(name, 'x', sizeof name);
        name[256] = '\0';
        (void)snprintf(word, sizeof word, "here:/data/%s", name);
        (void)snprintf(text, sizeof text, "brick path %s is too long.", word);
        refused(world_volume("v", word, NULL), true, text);
        name[245] = '\0';
        (void)snprintf(word, sizeof word, "here:/data/%s", name);
        (void)snprintf(text, sizeof text, "Volume file path for volume v and brick path %s is too long.", word);
        refused(world_volume("v", word, NULL), true, text);
        refused(world_volume("v", "here:/data/a\nb", NULL), true, "A brick path must not contain control characters");
}

static void test_hosts(void **unused)
{
        (void)unused;
        refused(world_volume("v", "here:/data/x", "there:/data/y", NULL), true,
                "Host there is not in 'Peer in Cluster' state");
}

static const char same_server[] =
        "Multiple bricks of a replicate volume are present on the same server. This setup is not optimal. Bricks "
        "should be"
        " on different nodes to have best fault tolerant configuration. Or use 'force' at the end of the command if you"
        " want to override this behavior. ";

static struct volume *replica_2(const char *a, const char *b, const char *c, const char *d)
{
        struct volume *v = world_volume("v", a, b, c, d, NULL);
        v->type = VOLUME_REPLICATE;
        v->set_size = 2;
        return v;
}

static void test_order(void **unused)
{
        (void)unused;
        struct error e = {0};
        refused(replica_2("here:/data/a", "here:/data/b", "here:/data/c", "x:/d"), false, same_server);
        accepted(replica_2("here:/data/a", "here:/data/b", "here:/data/c", "here:/data/d"), true);
        _cleanup_volume_ struct volume *good = replica_2("x:/a", "y:/a", "y:/b", "x:/b");
        assert_int_equal(check_define(&w.change.check, good, false, &e), 0);
        _cleanup_volume_ struct volume *bad = replica_2("x:/a", "y:/a", "y:/b", "y:/c");
        assert_int_equal(check_define(&w.change.check, bad, false, &e), -EINVAL);
        assert_string_equal(e.text, same_server);
        assert_int_equal(check_define(&w.change.check, bad, true, &e), 0);
}

/* Of an imported volume, only what is here counts; other nodes' paths are theirs. */
static void test_imported(void **unused)
{
        (void)unused;
        struct error e = {0};
        struct volume *v = world_volume("far", "there:/data/x", "here:/data/y", NULL);
        assert_int_equal(change_create(&w.change, v, CHECK_IMPORTED, &e), 0);
        assert_int_equal(volume_set_put(&w.volumes, "far", v, NULL), 0);
        assert_false(v->bricks[0].local);
        assert_true(v->bricks[1].local);
        assert_false(world_exists(&w, "/data/x"));
        assert_true(world_marked(&w, "/data/y", &v->id));
        assert_int_equal(check_start(&w.change.check, v, &e), 0);
        accepted(world_volume("w", "here:/data/x", NULL), false);
        struct volume *again = volume_copy(v);
        volume_set_remove(&w.volumes, "far");
        assert_int_equal(check_create(&w.change.check, again, CHECK_IMPORTED, &e), 0);
        again->id.b[0]++;
        assert_int_equal(check_create(&w.change.check, again, CHECK_IMPORTED, &e), -EEXIST);
        assert_string_equal(e.text, "/data/y is already part of a volume");
        volume_free(again);
}

static void test_existing_bricks(void **unused)
{
        (void)unused;
        refused(world_volume("v", "here:/data/old", NULL), true, "Brick: here:/data/old" BUSY_TEXT);
        refused(world_volume("v", "here:/data/old/sub/x", NULL), true, "Brick: here:/data/old/sub/x" BUSY_TEXT);
        refused(world_volume("v", "here:/data", NULL), false, "Brick: here:/data" BUSY_TEXT);
        accepted(world_volume("v", "here:/data/older", NULL), false);
        assert_int_equal(disk_symlink(w.disk, "../data/old", AT_FDCWD, "/data2/link"), 0);
        refused(world_volume("v", "here:/data2/link", NULL), true, "Brick: here:/data2/link" BUSY_TEXT);
        refused(world_volume("v", "here:/data2/link/x", NULL), true, "Brick: here:/data2/link/x" BUSY_TEXT);
}

static void test_siblings(void **unused)
{
        (void)unused;
        refused(world_volume("v", "here:/data/x", "here:/data/x/sub", NULL), false,
                "Failed to create brick directory for brick here:/data/x/sub. Reason : No such file or directory ");
        assert_int_equal(disk_mkdir(w.disk, AT_FDCWD, "/data/x", 0755), 0);
        refused(world_volume("v", "here:/data/x", "here:/data/x/sub", NULL), false,
                "parent directory /data/x is already part of a volume");
        refused(world_volume("v", "here:/data/x", "here:/data/x/sub", NULL), true, "Brick: here:/data/x/sub" BUSY_TEXT);
        refused(world_volume("v", "here:/data/x/sub", "here:/data/x", NULL), false, "Brick: here:/data/x" BUSY_TEXT);
        refused(world_volume("v", "here:/data/x", "here:/data/x", NULL), false, "/data/x is already part of a volume");
}

static void test_directories(void **unused)
{
        (void)unused;
        refused(world_volume("v", "here:/data/no/v", NULL), false,
                "Failed to create brick directory for brick here:/data/no/v. Reason : No such file or directory ");
        int fd = disk_open(w.disk, AT_FDCWD, "/data/file", O_CREAT | O_WRONLY, 0644);
        assert_true(fd >= 0);
        disk_close(w.disk, fd);
        refused(world_volume("v", "here:/data/file", NULL), false,
                "The provided path /data/file which is already present, is not a directory");
        refused(world_volume("v", "here:/data/file/x", NULL), false,
                "Failed to create brick directory for brick here:/data/file/x. Reason : Not a directory ");
        refused(world_volume("v", "here:/state/x", NULL), true,
                "Brick isn't allowed to be created inside glusterd's working directory.");
        refused(world_volume("v", "here:/x", NULL), false, "The brick here:/x" ROOT_TEXT);
        refused(world_volume("v", "here:/data2", NULL), false, "The brick here:/data2" MOUNT_TEXT);
        accepted(world_volume("v", "here:/data2", NULL), true);
}

static void test_marks(void **unused)
{
        (void)unused;
        struct gfid id = {.b = {1}};
        assert_int_equal(disk_mkdir(w.disk, AT_FDCWD, "/data2/used", 0755), 0);
        assert_int_equal(disk_setxattr(w.disk, AT_FDCWD, "/data2/used", GFID_XATTR, id.b, 16, 0), 0);
        assert_int_equal(disk_mkdir(w.disk, AT_FDCWD, "/data2/used/in", 0755), 0);
        refused(world_volume("v", "here:/data2/used", NULL), false, "/data2/used is already part of a volume");
        refused(world_volume("v", "here:/data2/used/in", NULL), false,
                "parent directory /data2/used is already part of a volume");
        refused(world_volume("v", "here:/data2/used/in/x", NULL), false,
                "parent directory /data2/used is already part of a volume");
        accepted(world_volume("v", "here:/data2/used/in", NULL), true);
}

static void name_refused(const char *name, const char *text)
{
        struct error e = {0};
        assert_true(volume_name_check(name, &e) < 0);
        assert_string_equal(e.text, text);
}

static void test_names(void **unused)
{
        (void)unused;
        char longest[300];
        memset(longest, 'x', sizeof longest);
        longest[256] = '\0';
        assert_int_equal(volume_name_check(longest, NULL), 0);
        longest[256] = 'x';
        longest[257] = '\0';
        name_refused(longest, "Volume name exceeds 256 characters.");
        assert_int_equal(volume_name_check("a-B_9", NULL), 0);
        name_refused("all", "\"all\" cannot be the name of a volume.");
        name_refused("-x", "");
        name_refused("a/b", "");
        name_refused("", "");
        name_refused(
                "a.b",
                "Volume name should not contain \".\" character.\nVolume names can onlycontain alphanumeric, '-' and"
                " '_' characters.");
        name_refused(
                "a b",
                "Volume name should not contain \" \" character.\nVolume names can onlycontain alphanumeric, '-' and"
                " '_' characters.");
}

static void resolved(const char *path, const char *real)
{
        char found[PATH_LIMIT + 1];
        assert_int_equal(path_resolve(w.disk, path, found), 0);
        assert_string_equal(found, real);
}

static void test_paths(void **unused)
{
        (void)unused;
        char found[PATH_LIMIT + 1];
        assert_int_equal(disk_symlink(w.disk, "/data2/loop2", AT_FDCWD, "/data2/loop1"), 0);
        assert_int_equal(disk_symlink(w.disk, "loop1", AT_FDCWD, "/data2/loop2"), 0);
        assert_int_equal(disk_symlink(w.disk, "/data", AT_FDCWD, "/data2/up"), 0);
        resolved("/", "/");
        resolved("//data/./old/../x", "/data/x");
        resolved("/../..", "/");
        resolved("/data2/up/old", "/data/old");
        resolved("/data2/up/../data2/up/q", "/data/q");
        assert_int_equal(path_resolve(w.disk, "/data2/loop1/x", found), -ELOOP);
        assert_int_equal(path_resolve(w.disk, "/data2/absent/../x", found), -ENOENT); /* as the kernel sees it */
        char text[] = "//a///b//";
        path_canonicalise(text);
        assert_string_equal(text, "/a/b");
        assert_true(path_contains("/", "/a"));
        assert_true(path_contains("/a", "/a/b"));
        assert_false(path_contains("/a", "/ab"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_accepts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_name_taken, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
                cmocka_unit_test_setup_teardown(test_hosts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_order, setup, teardown),
                cmocka_unit_test_setup_teardown(test_imported, setup, teardown),
                cmocka_unit_test_setup_teardown(test_existing_bricks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_siblings, setup, teardown),
                cmocka_unit_test_setup_teardown(test_directories, setup, teardown),
                cmocka_unit_test_setup_teardown(test_marks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_names, setup, teardown),
                cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
