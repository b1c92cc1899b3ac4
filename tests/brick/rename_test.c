/* RENAME: every kind over every kind (spec: brick.md §8.9, §22). */
#include "harness.h"

static const struct gfid root = GFID_ROOT;

static int setup(void **state)
{
        struct harness *h = malloc(sizeof *h);
        harness_posix(h);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        harness_close(*state);
        free(*state);
        return 0;
}

static void kinds_over_kinds(void **state)
{
        struct client *c = client_open(*state);
        struct gfid a = make_dir(c, &root, "a"), b = make_dir(c, &root, "b");
        struct gfid file = make_file(c, &a, "file"), over = make_file(c, &b, "over");
        struct gfid dir = make_dir(c, &a, "dir"), empty = make_dir(c, &b, "empty"), full = make_dir(c, &b, "full");
        make_file(c, &full, "inside");
        make_file(c, &dir, "content");
        assert_int_equal(try_rename(c, &a, "file", &b, "empty"), -EISDIR);
        assert_int_equal(try_rename(c, &a, "dir", &b, "over"), -ENOTDIR);
        assert_int_equal(try_rename(c, &a, "dir", &b, "full"), -ENOTEMPTY);
        assert_int_equal(try_rename(c, &root, "a", &dir, "into-itself"), -EINVAL);
        assert_int_equal(try_stat(c, &dir, NULL), 0); /* a failed rename keeps the handle */
        assert_int_equal(try_stat(c, &over, NULL), 0);
        assert_int_equal(try_rename(c, &a, "dir", &b, "empty"), 0);
        assert_int_equal(try_stat(c, &empty, NULL), -ESTALE);
        assert_int_equal(try_lookup(c, &dir, "content", NULL), 0);
        assert_int_equal(try_rename(c, &a, "file", &b, "over"), 0);
        assert_int_equal(try_stat(c, &over, NULL), -ESTALE);
        assert_int_equal(try_stat(c, &file, NULL), 0);
        struct iatt i;
        assert_int_equal(try_lookup(c, &b, "over", &i), 0);
        assert_true(gfid_equal(&i.gfid, &file));
        assert_int_equal(try_rename(c, &b, "over", &root, "new"), 0);
        assert_int_equal(try_rename(c, &b, "empty", &root, "newdir"), 0);
        assert_int_equal(try_lookup(c, &dir, "content", NULL), 0);
        client_close(c);
}

static void a_renamed_directory_is_found_after_a_restart(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid a = make_dir(c, &root, "a"), b = make_dir(c, &a, "b"), d = make_dir(c, &b, "d");
        make_file(c, &d, "f");
        assert_int_equal(try_rename(c, &a, "b", &root, "moved"), 0);
        client_close(c);
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(try_lookup(c, &d, "f", NULL), 0);
        client_close(c);
}

static void nothing_happens_to_the_same_object(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f"), d = make_dir(c, &root, "d");
        assert_int_equal(try_link(c, &f, &root, "g"), 0);
        assert_int_equal(try_rename(c, &root, "f", &root, "f"), 0);
        assert_int_equal(try_rename(c, &root, "f", &root, "g"), 0);
        assert_int_equal(try_rename(c, &root, "d", &root, "d"), 0);
        assert_int_equal(try_lookup(c, &root, "f", NULL), 0);
        assert_int_equal(try_lookup(c, &root, "g", NULL), 0);
        assert_int_equal(try_stat(c, &f, NULL), 0);
        assert_int_equal(try_stat(c, &d, NULL), 0);
        client_close(c);
}

static void links_of_the_target_stay(void **state)
{
        struct client *c = client_open(*state);
        struct gfid f = make_file(c, &root, "f"), t = make_file(c, &root, "t");
        struct rename_fop_rep rep;
        int64_t n;
        assert_int_equal(try_link(c, &t, &root, "t2"), 0);
        const struct rename_fop_req req = {.oldgfid = root, .newgfid = root, .oldbname = STR("f"), .newbname = STR("t"),
                                           .xdata = client_dict(c, "get-link-count", 0)};
        assert_int_equal(CALL(c, RENAME, &req, &rep), 0);
        assert_int_equal(dict_get_int(&rep.xdata, "get-link-count", &n), 0);
        assert_int_equal(n, 2);
        assert_true(gfid_equal(&rep.stat.gfid, &f));
        assert_true(gfid_is_root(&rep.postnewparent.gfid) && gfid_is_root(&rep.preoldparent.gfid));
        struct iatt i;
        assert_int_equal(try_stat(c, &t, &i), 0);
        assert_int_equal(i.nlink, 1);
        client_close(c);
}

static void an_open_target_lives_on(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid t = make_file(c, &root, "t");
        make_file(c, &root, "f");
        int64_t fd;
        assert_int_equal(try_open(c, &t, O_RDWR, &fd), 0);
        assert_int_equal(try_rename(c, &root, "f", &root, "t"), 0);
        struct fstat_fop_rep rep;
        struct fstat_fop_req req = {.gfid = t, .fd = FD_ANONYMOUS};
        assert_int_equal(CALL(c, FSTAT, &req, &rep), 0);
        assert_int_equal(rep.stat.nlink, 0);
        assert_int_equal(try_stat(c, &t, NULL), -ENOENT);
        release(c, fd);
        assert_int_equal(CALL(c, FSTAT, &req, &rep), -ENOENT);
        client_close(c);
}

static void times_of_all_involved(void **state)
{
        struct client *c = client_open(*state);
        struct gfid a = make_dir(c, &root, "a"), b = make_dir(c, &root, "b"), f = make_file(c, &a, "f");
        struct iatt i;
        c->cred.flags = 0x19;
        c->cred.time.sec = 1999999999;
        assert_int_equal(try_rename(c, &a, "f", &b, "f"), 0);
        assert_int_equal(try_stat(c, &f, &i), 0);
        assert_int_equal(i.ctime.sec, 1999999999);
        assert_int_equal(try_stat(c, &a, &i), 0);
        assert_int_equal(i.mtime.sec, 1999999999);
        assert_int_equal(try_stat(c, &b, &i), 0);
        assert_int_equal(i.mtime.sec, 1999999999);
        client_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(kinds_over_kinds),
                TEST(a_renamed_directory_is_found_after_a_restart),
                TEST(nothing_happens_to_the_same_object),
                TEST(links_of_the_target_stay),
                TEST(an_open_target_lives_on),
                TEST(times_of_all_involved),
        };
        return cmocka_run_group_tests_name("brick/rename", tests, NULL, NULL);
}
