/* UNLINK, RMDIR, open files without names, the janitor (spec: brick.md §8.7, §8.8, §14.4). */
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

static int unlink_with(struct client *c, const char *name, struct dict xdata, struct unlink_fop_rep *rep)
{
        const struct unlink_fop_req req = {.pargfid = root, .bname = str_of(name), .xdata = xdata};
        return CALL(c, UNLINK, &req, rep);
}

static const char *parked_on_disk(struct harness *h, const struct gfid *g)
{
        char text[GFID_TEXT_LEN + 1];
        return on_disk(h, ".glusterfs/unlink/%s", gfid_format(g, text));
}

static void the_last_name_takes_the_object(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        assert_int_equal(try_link(c, &f, &root, "g"), 0);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        struct iatt i;
        assert_int_equal(try_stat(c, &f, &i), 0);
        assert_int_equal(i.nlink, 1);
        assert_int_equal(try_unlink(c, &root, "g"), 0);
        assert_int_equal(try_stat(c, &f, NULL), -ESTALE);
        assert_false(exists_on_disk(h, handle_on_disk(h, &f)));
        assert_int_equal(try_mknod(c, &root, "f", &f), 0); /* the gfid is free again */
        client_close(c);
}

static void wrong_kinds(void **state)
{
        struct client *c = client_open(*state);
        struct gfid dir = make_dir(c, &root, "d");
        make_file(c, &root, "f");
        make_file(c, &dir, "inside");
        assert_int_equal(try_unlink(c, &root, "d"), -EISDIR);
        assert_int_equal(try_rmdir(c, &root, "f"), -ENOTDIR);
        assert_int_equal(try_rmdir(c, &root, "d"), -ENOTEMPTY);
        assert_int_equal(try_lookup(c, &dir, "inside", NULL), 0);
        assert_int_equal(try_unlink(c, &dir, "inside"), 0);
        assert_int_equal(try_rmdir(c, &root, "d"), 0);
        assert_int_equal(try_stat(c, &dir, NULL), -ESTALE);
        client_close(c);
}

static void guards_keep_the_file(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f"), l = harness_gfid(h), bare = harness_gfid(h);
        struct unlink_fop_rep rep;
        struct mknod_fop_rep made;
        struct dict d = client_gfid_req(c, &l);
        dict_add_str(&d, &c->arena, "trusted.glusterfs.dht.linkto", "vol-client-0");
        struct mknod_fop_req req = {.pargfid = root, .mode = S_IFREG | 01000, .bname = STR("l"), .xdata = d};
        assert_int_equal(CALL(c, MKNOD, &req, &made), 0);
        req.bname = STR("bare");
        req.xdata = client_gfid_req(c, &bare);
        assert_int_equal(CALL(c, MKNOD, &req, &made), 0);
        static const char only_linkto[] = "unlink-only-if-dht-linkto-file", not_open[] = "dont-unlink-for-open-fd";
        assert_int_equal(unlink_with(c, "f", client_dict(c, only_linkto, 1), &rep), -EBUSY);
        assert_int_equal(unlink_with(c, "bare", client_dict(c, only_linkto, 1), &rep), -EBUSY);
        assert_int_equal(unlink_with(c, "l", client_dict(c, only_linkto, 1), &rep), 0);
        assert_int_equal(unlink_with(c, "bare", client_dict(c, only_linkto, 0), &rep), 0);
        int64_t fd;
        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
        assert_int_equal(unlink_with(c, "f", client_dict(c, not_open, 1), &rep), -EBUSY);
        release(c, fd);
        assert_int_equal(unlink_with(c, "f", client_dict(c, not_open, 1), &rep), 0);
        client_close(c);
}

static void the_answer_counts(void **state)
{
        struct client *c = client_open(*state);
        struct gfid f = make_file(c, &root, "f");
        struct unlink_fop_rep rep;
        int64_t n;
        assert_int_equal(try_link(c, &f, &root, "g"), 0);
        struct dict d = client_dict(c, "get-link-count", 0);
        dict_add_uint(&d, &c->arena, "gf_request_link_count", 0);
        dict_add_uint(&d, &c->arena, "gf_get_file_block_count", 0);
        dict_add_int(&d, &c->arena, "dht-get-iatt-in-xattr", 1);
        assert_int_equal(unlink_with(c, "f", d, &rep), 0);
        assert_int_equal(dict_get_int(&rep.xdata, "get-link-count", &n), 0);
        assert_int_equal(n, 2);
        assert_int_equal(dict_get_int(&rep.xdata, "gf_response_link_count", &n), 0);
        assert_int_equal(n, 2);
        assert_int_equal(dict_get_int(&rep.xdata, "gf_get_file_block_count", &n), 0);
        assert_int_equal(n, 0);
        const struct dict_value *v = dict_get(&rep.xdata, "dht-get-iatt-in-xattr");
        assert_non_null(v);
        assert_int_equal(v->type, DICT_IATT);
        assert_int_equal(v->iatt->nlink, 1);
        assert_true(dict_has(&rep.xdata, "virt-gf-poststat"));
        assert_int_equal(unlink_with(c, "g", client_dict(c, "dht-get-iatt-in-xattr", 1), &rep), 0);
        v = dict_get(&rep.xdata, "dht-get-iatt-in-xattr");
        assert_int_equal(v->iatt->nlink, 0);
        client_close(c);
}

/* A disperse client leaves out a brick whose answer has other keys than a stock brick's. */
static void links_are_told_unasked(void **state)
{
        struct client *c = client_open(*state);
        struct gfid f = make_file(c, &root, "f");
        struct unlink_fop_rep rep;
        int64_t n = 1;
        assert_int_equal(try_link(c, &f, &root, "g"), 0);
        assert_int_equal(unlink_with(c, "f", (struct dict){0}, &rep), 0);
        assert_int_equal(dict_get_int(&rep.xdata, "get-link-count", &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(unlink_with(c, "g", client_dict(c, "get-link-count", 0), &rep), 0);
        assert_int_equal(dict_get_int(&rep.xdata, "get-link-count", &n), 0);
        assert_int_equal(n, 0); /* the last name */
        client_close(c);
}

static void removal_touches_what_remains(void **state)
{
        struct client *c = client_open(*state);
        struct gfid f = make_file(c, &root, "f");
        struct iatt i;
        c->cred.flags = 0x19;
        assert_int_equal(try_link(c, &f, &root, "g"), 0);
        c->cred.time.sec = 2000000000;
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        assert_int_equal(try_stat(c, &f, &i), 0);
        assert_int_equal(i.ctime.sec, 2000000000);
        assert_int_equal(try_stat(c, &root, &i), 0);
        assert_int_equal(i.mtime.sec, 2000000000);
        assert_int_equal(i.ctime.sec, 2000000000);
        client_close(c);
}

/* ---- open files without names ---------------------------------------------------------------------------------------- */

static void an_open_file_outlives_its_name(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        int64_t fd;
        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        assert_true(exists_on_disk(h, parked_on_disk(h, &f)));
        assert_false(exists_on_disk(h, handle_on_disk(h, &f)));
        assert_int_equal(try_stat(c, &f, NULL), -ENOENT);
        int64_t second;
        assert_int_equal(try_open(c, &f, O_RDWR, &second), -ENOENT);
        struct fstat_fop_rep rep;
        struct fstat_fop_req req = {.gfid = f, .fd = fd};
        assert_int_equal(CALL(c, FSTAT, &req, &rep), 0);
        assert_int_equal(rep.stat.nlink, 0);
        req.fd = FD_ANONYMOUS;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), 0);
        struct lookup_fop_rep seen;
        struct lookup_fop_req by_gfid = {.gfid = f};
        assert_int_equal(CALL(c, LOOKUP, &by_gfid, &seen), -ENOENT);
        by_gfid.xdata = client_dict(c, "unlinked-lookup", 1);
        assert_int_equal(CALL(c, LOOKUP, &by_gfid, &seen), 0);
        assert_true(gfid_equal(&seen.prestat.gfid, &f));
        assert_int_equal(seen.prestat.nlink, 0);
        release(c, fd);
        assert_false(exists_on_disk(h, parked_on_disk(h, &f)));
        req.fd = FD_ANONYMOUS;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), -ENOENT);
        assert_int_equal(try_stat(c, &f, NULL), -ESTALE);
        client_close(c);
}

static void an_open_file_can_get_a_name_again(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        struct mknod_fop_rep rep;
        int64_t fd;
        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        struct dict d = client_gfid_req(c, &f);
        dict_add_str(&d, &c->arena, "glusterfs-internal-fop", "yes");
        const struct mknod_fop_req req = {.pargfid = root, .mode = S_IFREG | 0644, .bname = STR("again"), .xdata = d};
        assert_int_equal(CALL(c, MKNOD, &req, &rep), 0);
        assert_int_equal(rep.stat.nlink, 1);
        assert_int_equal(try_stat(c, &f, NULL), 0);
        release(c, fd);
        assert_int_equal(try_stat(c, &f, NULL), 0);
        client_close(c);
}

static void a_new_file_may_have_the_gfid_of_a_parked_one(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        int64_t fd;
        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        assert_int_equal(try_mknod(c, &root, "g", &f), 0);
        assert_int_equal(try_stat(c, &f, NULL), 0);
        release(c, fd);
        assert_int_equal(try_stat(c, &f, NULL), 0);
        client_close(c);
}

static void a_restart_ends_parked_files(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        int64_t fd;
        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        client_close(c);
        assert_false(exists_on_disk(h, parked_on_disk(h, &f)));
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(try_stat(c, &f, NULL), -ESTALE);
        client_close(c);
}

/* ---- permissions ------------------------------------------------------------------------------------------------------ */

static void sticky_directories(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "d");
        make_file(c, &dir, "f");
        assert_int_equal(chmod(on_disk(h, "d"), 0777), 0);
        make_file(c, &dir, "g");
        c->cred.uid = c->cred.gid = 1000;
        assert_int_equal(try_unlink(c, &dir, "f"), 0);
        assert_int_equal(chmod(on_disk(h, "d"), 01777), 0);
        assert_int_equal(try_unlink(c, &dir, "g"), -EACCES);
        assert_int_equal(try_rename(c, &dir, "g", &dir, "h"), -EACCES);
        make_file(c, &dir, "mine");
        assert_int_equal(try_rename(c, &dir, "mine", &dir, "g"), -EACCES);
        assert_int_equal(try_unlink(c, &dir, "mine"), 0);
        assert_int_equal(try_unlink(c, &root, "d"), -EACCES);
        client_close(c);
}

/* Somebody has copied a file inside of the brick, with its attributes. */
static void copy_on_disk(struct harness *h, const char *from, const char *to)
{
        uint8_t g[16];
        assert_int_equal(disk_getxattr(h->disk, AT_FDCWD, on_disk(h, "%s", from), "trusted.gfid", g, sizeof g), 16);
        assert_int_equal(disk_mknod(h->disk, AT_FDCWD, on_disk(h, "%s", to), S_IFREG | 0644, 0), 0);
        assert_int_equal(disk_setxattr(h->disk, AT_FDCWD, on_disk(h, "%s", to), "trusted.gfid", g, sizeof g, 0), 0);
}

static void a_copy_does_not_take_the_handle_along(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        make_file(c, &root, "g");
        for (int round = 0; round < 3; round++) {
                int64_t fd = -1;
                if (round == 2)
                        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
                copy_on_disk(h, "f", "copy");
                if (round == 1)
                        assert_int_equal(try_rename(c, &root, "g", &root, "copy"), 0);
                assert_int_equal(try_unlink(c, &root, "copy"), 0);
                assert_true(exists_on_disk(h, handle_on_disk(h, &f)));
                assert_int_equal(try_stat(c, &f, NULL), 0);
                if (fd >= 0)
                        release(c, fd);
        }
        assert_int_equal(try_lookup(c, &root, "f", NULL), 0);
        client_close(c);
}

/* ---- the landfill ------------------------------------------------------------------------------------------------------ */

static void purge(struct harness *h)
{
        static uint64_t now;
        for (int k = 0; k < 100; k++)
                brick_purge(h->brick, now += 11 * NS_PER_SEC);
}

static bool landfill_is_empty(struct harness *h)
{
        return disk_unlink(h->disk, AT_FDCWD, on_disk(h, ".glusterfs/landfill"), AT_REMOVEDIR) == 0;
}

static void whole_subtrees(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "d"), at = dir, other = make_dir(c, &root, "other");
        struct gfid linked = make_file(c, &dir, "linked"), open = make_file(c, &dir, "open"), deep = dir;
        for (int k = 0; k < 60; k++) {
                make_file(c, &at, "file");
                at = deep = make_dir(c, &at, "sub");
        }
        assert_int_equal(try_link(c, &linked, &other, "kept"), 0);
        int64_t fd;
        assert_int_equal(try_open(c, &open, O_RDWR, &fd), 0);
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = root, .bname = STR("d"), .xflags = 1};
        assert_int_equal(CALL(c, RMDIR, &req, &rep), 0);
        assert_int_equal(try_lookup(c, &root, "d", NULL), -ENOENT);
        assert_int_equal(try_stat(c, &dir, NULL), -ESTALE);
        client_close(client_open(h));
        purge(h);
        assert_true(landfill_is_empty(h));
        assert_int_equal(try_stat(c, &deep, NULL), -ESTALE);
        assert_false(exists_on_disk(h, handle_on_disk(h, &deep)));
        assert_int_equal(try_stat(c, &linked, NULL), 0);
        struct fstat_fop_rep seen;
        const struct fstat_fop_req stat = {.gfid = open, .fd = FD_ANONYMOUS};
        assert_int_equal(CALL(c, FSTAT, &stat, &seen), 0);
        release(c, fd);
        assert_int_equal(CALL(c, FSTAT, &stat, &seen), -ENOENT);
        client_close(c);
}

static void the_same_directory_twice(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "d");
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = root, .bname = STR("d"), .xflags = 1};
        assert_int_equal(CALL(c, RMDIR, &req, &rep), 0);
        assert_int_equal(try_mkdir(c, &root, "d", &dir), 0);
        assert_int_equal(CALL(c, RMDIR, &req, &rep), 0);
        assert_int_equal(try_mkdir(c, &root, "d", &dir), 0);
        purge(h);
        assert_int_equal(try_stat(c, &dir, NULL), 0); /* the one that lives */
        assert_true(landfill_is_empty(h));
        client_close(c);
}

/* Self-heal replays the renaming of "old" to "new": made anew with all that is below, then the old one is removed. */
static void a_directory_made_anew_keeps_its_handles(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "old"), sub = make_dir(c, &dir, "sub"), deep = make_dir(c, &sub, "deep");
        struct gfid file = make_file(c, &sub, "file"), gone = make_dir(c, &sub, "gone");
        assert_int_equal(try_mkdir(c, &root, "new", &dir), 0);
        assert_int_equal(try_mkdir(c, &dir, "sub", &sub), 0);
        assert_int_equal(try_mkdir(c, &sub, "deep", &deep), 0);
        assert_int_equal(try_link(c, &file, &sub, "file"), 0);
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = root, .bname = STR("old"), .xflags = 1};
        assert_int_equal(CALL(c, RMDIR, &req, &rep), 0);
        purge(h);
        const struct gfid *kept[] = {&dir, &sub, &deep, &file};
        for (size_t k = 0; k < ELEMENTSOF(kept); k++) {
                assert_true(exists_on_disk(h, handle_on_disk(h, kept[k])));
                assert_int_equal(try_stat(c, kept[k], NULL), 0);
        }
        assert_true(exists_on_disk(h, on_disk(h, "new/sub/deep")));
        assert_false(exists_on_disk(h, handle_on_disk(h, &gone)));
        assert_true(landfill_is_empty(h));
        client_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(the_last_name_takes_the_object),
                TEST(wrong_kinds),
                TEST(guards_keep_the_file),
                TEST(the_answer_counts),
                TEST(links_are_told_unasked),
                TEST(removal_touches_what_remains),
                TEST(an_open_file_outlives_its_name),
                TEST(an_open_file_can_get_a_name_again),
                TEST(a_new_file_may_have_the_gfid_of_a_parked_one),
                TEST(a_restart_ends_parked_files),
                TEST(sticky_directories),
                TEST(a_copy_does_not_take_the_handle_along),
                TEST(whole_subtrees),
                TEST(the_same_directory_twice),
                TEST(a_directory_made_anew_keeps_its_handles),
        };
        return cmocka_run_group_tests_name("brick/remove", tests, NULL, NULL);
}
