/* How objects are found, and what is repaired on the way (spec: brick.md §5, §6, §7, §8.1). */
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

static int lookup(struct client *c, const struct gfid *gfid, const struct gfid *parent, const char *name,
                  struct dict xdata, struct lookup_fop_rep *rep)
{
        const struct lookup_fop_req req = {.bname = str_of(name), .xdata = xdata};
        struct lookup_fop_req full = req;
        if (gfid)
                full.gfid = *gfid;
        if (parent)
                full.pargfid = *parent;
        return CALL(c, LOOKUP, &full, rep);
}

static void lookup_of_the_root(void **state)
{
        struct client *c = client_open(*state);
        struct lookup_fop_rep rep;
        assert_int_equal(lookup(c, &root, NULL, "", client_gfid_req(c, &root), &rep), 0);
        assert_true(gfid_is_root(&rep.prestat.gfid));
        assert_int_equal(rep.prestat.ino, 1);
        assert_int_equal(rep.prestat.flags, 0x17ff);
        assert_true(S_ISDIR(rep.prestat.mode));
        assert_int_equal(rep.prestat.nlink, 3); /* . .. .glusterfs/.. */
        assert_int_equal(rep.poststat.nlink, 0);
        client_close(c);
}

/* Disperse heals no extended attributes of what it looked up with an empty dictionary and was answered without one. */
static void unknown_things(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct lookup_fop_rep rep;
        struct gfid nobody = harness_gfid(h), file = make_file(c, &root, "file"), null = {0};
        assert_int_equal(try_stat(c, &nobody, NULL), -ESTALE);
        assert_int_equal(lookup(c, &nobody, NULL, "", client_dict(c, NULL, 0), &rep), -ENOENT);
        assert_int_equal(lookup(c, &null, &null, "", client_dict(c, NULL, 0), &rep), -EINVAL);
        assert_int_equal(try_lookup(c, &nobody, "name", NULL), -ESTALE);
        assert_int_equal(try_lookup(c, &file, "name", NULL), -EPERM);
        assert_int_equal(try_mkdir(c, &nobody, "name", &nobody), -ESTALE);
        assert_int_equal(try_mkdir(c, &file, "name", &nobody), -EPERM);
        assert_int_equal(try_unlink(c, &nobody, "name"), -ESTALE);
        assert_int_equal(try_unlink(c, &root, "name"), -ENOENT);
        assert_int_equal(try_rmdir(c, &root, "name"), -ENOENT);
        assert_int_equal(try_rename(c, &root, "name", &root, "other"), -ENOENT);
        assert_int_equal(try_link(c, &nobody, &root, "name"), -ESTALE);
        int64_t fd;
        assert_int_equal(try_open(c, &nobody, 0, &fd), -ESTALE);
        client_close(c);
}

static void an_absent_name_still_shows_the_parent(void **state)
{
        struct client *c = client_open(*state);
        struct lookup_fop_rep rep;
        assert_int_equal(lookup(c, NULL, &root, "absent", client_dict(c, NULL, 0), &rep), -ENOENT);
        assert_true(gfid_is_root(&rep.poststat.gfid));
        assert_int_equal(rep.prestat.mode, 0);
        client_close(c);
}

/* Nothing was asked for, nothing is in the answer's dictionary; but there is one (docs/formats/brick.md). */
static void what_is_found_has_a_dictionary(void **state)
{
        struct client *c = client_open(*state);
        struct lookup_fop_rep rep;
        struct gfid f = make_file(c, &root, "f");
        assert_int_equal(lookup(c, &f, NULL, "", DICT_NULL, &rep), 0);
        assert_true(!rep.xdata.null && rep.xdata.count == 0);
        assert_int_equal(lookup(c, NULL, &root, "f", DICT_NULL, &rep), 0);
        assert_true(!rep.xdata.null && rep.xdata.count == 0);
        assert_int_equal(lookup(c, NULL, &root, "absent", DICT_NULL, &rep), -ENOENT);
        assert_true(rep.xdata.null);
        client_close(c);
}

static void impossible_names(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        char longest[257];
        struct gfid g = harness_gfid(h), dir = make_dir(c, &root, "dir");
        memset(longest, 'n', 256);
        longest[256] = '\0';
        assert_int_equal(try_lookup(c, &root, longest, NULL), -ENAMETOOLONG);
        assert_int_equal(try_mkdir(c, &root, longest, &g), -ENAMETOOLONG);
        assert_int_equal(try_lookup(c, &root, "a/b", NULL), -EPERM);
        assert_int_equal(try_mkdir(c, &root, "a/b", &g), -EPERM);
        longest[255] = '\0';
        assert_int_equal(try_mkdir(c, &root, longest, &g), 0);
        assert_int_equal(try_lookup(c, &root, longest, NULL), 0);
        assert_int_equal(try_lookup(c, &root, ".glusterfs", NULL), -EPERM);
        assert_int_equal(try_mkdir(c, &root, ".glusterfs", &g), -EPERM);
        assert_int_equal(try_rmdir(c, &root, ".glusterfs"), -EPERM);
        assert_int_equal(try_unlink(c, &root, ".glusterfs"), -EPERM);
        assert_int_equal(try_rename(c, &root, ".glusterfs", &root, "x"), -EPERM);
        assert_int_equal(try_rename(c, &root, "dir", &root, ".glusterfs"), -EPERM);
        assert_int_equal(try_link(c, &g, &root, ".glusterfs"), -EPERM);
        g = harness_gfid(h);
        assert_int_equal(try_mkdir(c, &dir, ".glusterfs", &g), 0); /* nothing special below the root */
        assert_int_equal(try_lookup(c, &root, "..", NULL), -EPERM); /* the decoder refuses dots */
        assert_int_equal(try_lookup(c, &dir, ".", NULL), -EPERM);
        assert_int_equal(try_mkdir(c, &dir, "..", &g), -EPERM);
        assert_int_equal(try_mkdir(c, &root, "", &g), -EINVAL);
        client_close(c);
}

static void descriptors_must_be_known(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid file = make_file(c, &root, "file"), nobody = harness_gfid(h);
        struct fstat_fop_req req = {.gfid = file, .fd = 17};
        struct fstat_fop_rep rep;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), -EBADF);
        req.fd = FD_NONE;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), -EBADF);
        req.fd = INT64_MIN;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), -EBADF);
        req.fd = FD_ANONYMOUS;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), 0);
        assert_true(gfid_equal(&rep.stat.gfid, &file));
        req.gfid = nobody;
        assert_int_equal(CALL(c, FSTAT, &req, &rep), -ENOENT);
        client_close(c);
}

static void attributes_follow_the_rules(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid file = make_file(c, &root, "file");
        struct iatt i;
        int fd = disk_open(h->disk, AT_FDCWD, on_disk(h, "file"), O_WRONLY, 0);
        struct iovec iov = {(void *)"hello world", 11};
        assert_int_equal(disk_pwritev(h->disk, fd, &iov, 1, 0), 11);
        disk_close(h->disk, fd);
        assert_int_equal(try_stat(c, &file, &i), 0);
        assert_int_equal(i.ino, gfid_ino(&file));
        assert_int_equal(i.nlink, 1);
        assert_int_equal(i.size, 11);
        assert_int_equal(i.blocks, 1);
        assert_int_equal(i.mode, S_IFREG | 0644);
        assert_int_equal(i.flags, IATT_BRICK);
        assert_int_equal(i.btime.sec, 0);

        struct mknod_fop_req req = {.pargfid = root, .mode = S_IFCHR | 0600, .dev = 0x0103, .bname = STR("null")};
        struct mknod_fop_rep rep;
        struct gfid g = harness_gfid(h);
        req.xdata = client_gfid_req(c, &g);
        assert_int_equal(CALL(c, MKNOD, &req, &rep), 0);
        assert_int_equal(rep.stat.rdev, (uint64_t)1 << 32 | 3);
        assert_int_equal(rep.stat.mode, S_IFCHR | 0600);
        client_close(c);
}

/* ---- repairs ------------------------------------------------------------------------------------------------------- */

static void write_directly(struct harness *h, const char *name)
{
        assert_int_equal(disk_mknod(h->disk, AT_FDCWD, on_disk(h, "%s", name), S_IFREG | 0644, 0), 0);
}

static void a_name_without_gfid_gets_one(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct lookup_fop_rep rep;
        struct gfid g = harness_gfid(h);
        write_directly(h, "new");
        assert_int_equal(try_lookup(c, &root, "new", NULL), -ENODATA);
        assert_int_equal(lookup(c, NULL, &root, "new", client_dict(c, "gfidless-lookup", 1), &rep), 0);
        assert_true(gfid_is_null(&rep.prestat.gfid));
        assert_true(rep.prestat.ino == UINT64_MAX);
        assert_int_equal(lookup(c, NULL, &root, "new", client_gfid_req(c, &g), &rep), 0);
        assert_true(gfid_equal(&rep.prestat.gfid, &g));
        assert_int_equal(rep.prestat.nlink, 1);
        assert_int_equal(try_stat(c, &g, NULL), 0);

        assert_int_equal(disk_mkdir(h->disk, AT_FDCWD, on_disk(h, "newdir"), 0755), 0);
        g = harness_gfid(h);
        assert_int_equal(lookup(c, NULL, &root, "newdir", client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(try_stat(c, &g, NULL), 0);
        client_close(c);
}

static void a_gfid_in_use_is_not_given_twice(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct lookup_fop_rep rep;
        struct gfid used = make_file(c, &root, "file");
        write_directly(h, "new");
        assert_int_equal(lookup(c, NULL, &root, "new", client_gfid_req(c, &used), &rep), -EEXIST);
        assert_int_equal(try_lookup(c, &root, "new", NULL), -ENODATA);
        assert_int_equal(try_unlink(c, &root, "new"), 0); /* removable all the same */
        client_close(c);
}

static void a_lost_file_handle_comes_back(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_file(c, &root, "file");
        for (int round = 0; round < 2; round++) { /* with the inode cached, and as if it were not */
                assert_int_equal(disk_unlink(h->disk, AT_FDCWD, handle_on_disk(h, &g), 0), 0);
                assert_int_equal(try_stat(c, &g, NULL), -ESTALE);
                assert_int_equal(try_lookup(c, &root, "file", NULL), 0);
                assert_int_equal(try_stat(c, &g, NULL), 0);
                client_close(c);
                harness_reopen(h);
                c = client_open(h);
        }
        assert_int_equal(try_link(c, &g, &root, "second"), 0);
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, handle_on_disk(h, &g), 0), 0);
        assert_int_equal(try_lookup(c, &root, "second", NULL), 0); /* two links, neither is the handle */
        assert_true(exists_on_disk(h, handle_on_disk(h, &g)));
        client_close(c);
}

static void a_lost_directory_handle_comes_back(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_dir(c, &root, "dir");
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, handle_on_disk(h, &g), 0), 0);
        client_close(c);
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(try_stat(c, &g, NULL), -ESTALE);
        assert_int_equal(try_lookup(c, &root, "dir", NULL), 0);
        assert_int_equal(try_stat(c, &g, NULL), 0);
        /* and with the directory open in our cache, within a second or so */
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, handle_on_disk(h, &g), 0), 0);
        for (int k = 0; k < 500 && !exists_on_disk(h, handle_on_disk(h, &g)); k++) {
                usleep(10000);
                assert_int_equal(try_lookup(c, &root, "dir", NULL), 0);
        }
        assert_true(exists_on_disk(h, handle_on_disk(h, &g)));
        client_close(c);
}

static void a_stale_directory_handle_is_set_right(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_dir(c, &root, "dir");
        client_close(c);
        assert_int_equal(disk_rename(h->disk, AT_FDCWD, on_disk(h, "dir"), AT_FDCWD, on_disk(h, "moved"), 0), 0);
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(try_lookup(c, &root, "moved", NULL), 0);
        assert_int_equal(try_stat(c, &g, NULL), 0);
        client_close(c);
}

static void dangling_handles_are_removed(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct lookup_fop_rep rep;
        struct gfid file = make_file(c, &root, "file"), dir = make_dir(c, &root, "dir");
        client_close(c);
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, on_disk(h, "file"), 0), 0);
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, on_disk(h, "dir"), AT_REMOVEDIR), 0);
        assert_int_equal(lookup(c, &file, NULL, "", client_dict(c, NULL, 0), &rep), -ENOENT);
        assert_int_equal(lookup(c, &dir, NULL, "", client_dict(c, NULL, 0), &rep), -ENOENT);
        assert_false(exists_on_disk(h, handle_on_disk(h, &file)));
        assert_false(exists_on_disk(h, handle_on_disk(h, &dir)));
        client_close(c);
}

static void a_directory_removed_behind_our_back_is_noticed(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "dir"), g = harness_gfid(h);
        assert_int_equal(try_lookup(c, &dir, "x", NULL), -ENOENT); /* its descriptor is cached now */
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, on_disk(h, "dir"), AT_REMOVEDIR), 0);
        assert_int_equal(try_lookup(c, &dir, "x", NULL), -ESTALE);
        assert_int_equal(try_mkdir(c, &dir, "x", &g), -ESTALE);
        assert_int_equal(try_mkdir(c, &root, "dir", &dir), 0);
        assert_int_equal(try_lookup(c, &dir, "x", NULL), -ENOENT);
        client_close(c);
}

/* A symbolic link whose text looks like a directory's handle is still a symbolic link. */
static void handles_cannot_be_forged(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct symlink_fop_rep rep;
        const struct symlink_fop_req req = {.pargfid = root,
                                            .bname = STR("forged"),
                                            .linkname = STR("../../00/00/00000000-0000-0000-0000-000000000001/dir"),
                                            .xdata = client_gfid_req(c, &g)};
        struct gfid dir = make_dir(c, &root, "dir");
        (void)dir;
        const struct symlink_fop_req again = {.pargfid = req.pargfid, .bname = req.bname, .linkname = req.linkname,
                                              .xdata = client_gfid_req(c, &g)};
        assert_int_equal(CALL(c, SYMLINK, &again, &rep), 0);
        struct iatt i;
        assert_int_equal(try_stat(c, &g, &i), 0);
        assert_true(S_ISLNK(i.mode));
        assert_int_equal(try_lookup(c, &g, "x", NULL), -EPERM);
        client_close(c);
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(try_lookup(c, &g, "x", NULL), -EPERM);
        client_close(c);
}

/* ---- depth --------------------------------------------------------------------------------------------------------- */

#define DEPTH 200

static void deep_directories(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid at[DEPTH + 1] = {root};
        for (int k = 1; k <= DEPTH; k++) {
                char name[256];
                memset(name, 'a' + k % 26, 255); /* 51 KB of path */
                name[255] = '\0';
                at[k] = make_dir(c, &at[k - 1], name);
        }
        struct gfid file = make_file(c, &at[DEPTH], "bottom");
        client_close(c);
        harness_reopen(h);
        c = client_open(h);
        assert_int_equal(try_lookup(c, &at[DEPTH], "bottom", NULL), 0); /* through 200 handles, nothing cached */
        assert_int_equal(try_stat(c, &file, NULL), 0);
        assert_int_equal(try_stat(c, &at[DEPTH / 2], NULL), 0);
        assert_int_equal(try_rename(c, &at[DEPTH], "bottom", &root, "top"), 0);
        client_close(c);
        for (int k = DEPTH; k > 0; k--) { /* too long for the recursive removal of the harness's directory */
                char name[256];
                memset(name, 'a' + k % 26, 255);
                name[255] = '\0';
                c = client_open(h);
                assert_int_equal(try_rmdir(c, &at[k - 1], name), 0);
                client_close(c);
        }
}

/* ---- sub-directory mounts ------------------------------------------------------------------------------------------ */

static void a_subdirectory_is_the_root_of_its_clients(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "dir"), sub = make_dir(c, &dir, "sub");
        make_file(c, &root, "outside");
        make_file(c, &sub, "inside");
        client_close(c);
        c = client_open_subdir(h, "/dir/sub", false);
        struct iatt i;
        struct lookup_fop_rep rep;
        assert_int_equal(lookup(c, &root, NULL, "", client_dict(c, NULL, 0), &rep), 0);
        assert_true(gfid_is_root(&rep.prestat.gfid));
        assert_int_equal(rep.prestat.ino, 1);
        assert_int_equal(try_lookup(c, &root, "inside", &i), 0);
        assert_int_equal(try_lookup(c, &root, "outside", NULL), -ENOENT);
        assert_int_equal(try_lookup(c, &root, "..", NULL), -EPERM);
        struct gfid g = make_file(c, &root, "made");
        (void)g;
        assert_true(exists_on_disk(h, on_disk(h, "dir/sub/made")));
        assert_int_equal(lookup(c, NULL, &root, "made", client_dict(c, NULL, 0), &rep), 0);
        assert_true(gfid_is_root(&rep.poststat.gfid));
        client_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(lookup_of_the_root),
                TEST(unknown_things),
                TEST(an_absent_name_still_shows_the_parent),
                TEST(what_is_found_has_a_dictionary),
                TEST(impossible_names),
                TEST(descriptors_must_be_known),
                TEST(attributes_follow_the_rules),
                TEST(a_name_without_gfid_gets_one),
                TEST(a_gfid_in_use_is_not_given_twice),
                TEST(a_lost_file_handle_comes_back),
                TEST(a_lost_directory_handle_comes_back),
                TEST(a_stale_directory_handle_is_set_right),
                TEST(dangling_handles_are_removed),
                TEST(a_directory_removed_behind_our_back_is_noticed),
                TEST(handles_cannot_be_forged),
                TEST(deep_directories),
                TEST(a_subdirectory_is_the_root_of_its_clients),
        };
        return cmocka_run_group_tests_name("brick/lookup", tests, NULL, NULL);
}
