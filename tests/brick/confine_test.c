/* A client of a sub-directory mount reaches nothing outside, whatever gfid it knows (brick/confine.h).
 *
 *      /in            what is mounted           /in/sub/file
 *      /out           what is not               /out/secret
 */
#include "harness.h"

static struct harness h;
static struct client *whole, *part;
static struct gfid root = GFID_ROOT, in, sub, file, out, secret;

static int begin(void **state)
{
        (void)state;
        harness_posix(&h);
        whole = client_open(&h);
        in = make_dir(whole, &root, "in");
        sub = make_dir(whole, &in, "sub");
        file = make_file(whole, &sub, "file");
        out = make_dir(whole, &root, "out");
        secret = make_file(whole, &out, "secret");
        part = client_open_subdir(&h, "/in", true);
        return 0;
}

static int end(void **state)
{
        (void)state;
        client_close(part);
        client_close(whole);
        harness_close(&h);
        return 0;
}

static int try_read(struct client *c, const struct gfid *g)
{
        struct read_fop_req req = {.gfid = *g, .fd = FD_ANONYMOUS, .size = 10};
        struct read_fop_rep rep;
        return CALL(c, READ, &req, &rep);
}

static void inside(void **state)
{
        (void)state;
        int64_t fd;
        assert_int_equal(try_stat(part, &root, NULL), 0);
        assert_int_equal(try_stat(part, &sub, NULL), 0);
        assert_int_equal(try_stat(part, &file, NULL), 0);
        assert_int_equal(try_open(part, &file, O_RDWR, &fd), 0);
        release(part, fd);
        assert_int_equal(try_read(part, &file), 0);
        assert_int_equal(try_rename(part, &sub, "file", &root, "moved"), 0);
        assert_int_equal(try_stat(part, &file, NULL), 0);
}

static void outside(void **state)
{
        (void)state;
        int64_t fd;
        for (int round = 0; round < 2; round++) { /* also when the brick knows them */
                assert_int_equal(try_stat(part, &out, NULL), -ESTALE);
                assert_int_equal(try_stat(part, &secret, NULL), -ESTALE);
                assert_int_equal(try_open(part, &secret, O_RDONLY, &fd), -ESTALE);
                assert_int_equal(try_read(part, &secret), -ENOENT);
                assert_int_equal(try_lookup(part, &out, "secret", NULL), -ESTALE);
                assert_int_equal(try_unlink(part, &out, "secret"), -ESTALE);
                assert_int_equal(try_link(part, &secret, &root, "mine"), -ESTALE);
                assert_int_equal(try_rename(part, &out, "secret", &root, "mine"), -ESTALE);
                assert_int_equal(try_stat(whole, &secret, NULL), 0);
        }
}

/* Creations that bring a gfid which something outside has. */
static void gfids_of_others(void **state)
{
        (void)state;
        struct mknod_fop_req req = {.pargfid = GFID_ROOT, .mode = S_IFREG | 0644, .bname = STR("mine")};
        struct mknod_fop_rep rep;
        req.xdata = client_gfid_req(part, &secret);
        assert_int_equal(dict_add_str(&req.xdata, &part->arena, "glusterfs-internal-fop", "yes"), 0);
        assert_int_not_equal(CALL(part, MKNOD, &req, &rep), 0);
        assert_int_equal(try_mkdir(part, &root, "mine", &out), -EEXIST);
        assert_int_equal(try_mkdir(part, &root, "mine", &secret), -EEXIST);
        assert_int_equal(try_lookup(part, &root, "mine", NULL), -ENOENT);
        assert_int_equal(try_lookup(whole, &out, "secret", NULL), 0);
}

/* What was inside and is not any more, and the reverse; each was used before, so an answer is remembered. */
static void moves(void **state)
{
        (void)state;
        assert_int_equal(try_stat(part, &file, NULL), 0);
        assert_int_equal(try_rename(whole, &in, "sub", &out, "sub"), 0);
        assert_int_equal(try_stat(part, &sub, NULL), -ESTALE);
        assert_int_equal(try_stat(part, &file, NULL), -ESTALE);
        assert_int_equal(try_rename(whole, &out, "sub", &in, "sub"), 0);
        assert_int_equal(try_stat(part, &file, NULL), 0);

        assert_int_equal(try_link(whole, &secret, &in, "shared"), 0);
        assert_int_equal(try_stat(part, &secret, NULL), 0);
        assert_int_equal(try_unlink(whole, &in, "shared"), 0);
        assert_int_equal(try_stat(part, &secret, NULL), -ESTALE);

        assert_int_equal(try_rename(whole, &sub, "file", &out, "file"), 0);
        assert_int_equal(try_stat(part, &file, NULL), -ESTALE);
}

/* A gfid that was inside, and is given to something outside. */
static void born_again(void **state)
{
        (void)state;
        assert_int_equal(try_stat(part, &file, NULL), 0);
        assert_int_equal(try_unlink(whole, &sub, "file"), 0);
        assert_int_equal(try_mknod(whole, &out, "file", &file), 0);
        assert_int_equal(try_stat(part, &file, NULL), -ESTALE);
        assert_int_equal(try_stat(part, &sub, NULL), 0);
        assert_int_equal(try_rmdir(whole, &in, "sub"), 0);
        assert_int_equal(try_mkdir(whole, &out, "sub", &sub), 0);
        assert_int_equal(try_stat(part, &sub, NULL), -ESTALE);
}

static void open_without_a_name(void **state)
{
        (void)state;
        int64_t mine, theirs;
        assert_int_equal(try_open(part, &file, O_RDWR, &mine), 0);
        assert_int_equal(try_open(whole, &secret, O_RDWR, &theirs), 0);
        assert_int_equal(try_unlink(whole, &sub, "file"), 0);
        assert_int_equal(try_unlink(whole, &out, "secret"), 0);
        struct read_fop_req req = {.gfid = file, .fd = mine, .size = 10};
        struct read_fop_rep rep;
        assert_int_equal(CALL(part, READ, &req, &rep), 0);
        assert_int_equal(try_read(part, &secret), -ENOENT);
        assert_int_equal(try_read(whole, &secret), 0);
        release(part, mine);
        release(whole, theirs);
}

/* As releases before gfid2path wrote it: where its names are is not known, and it is served. */
static void without_paths(void **state)
{
        (void)state;
        char list[1024];
        ssize_t n = disk_listxattr(h.disk, AT_FDCWD, on_disk(&h, "in/sub/file"), list, sizeof list);
        for (const char *p = list; p < list + n; p += strlen(p) + 1)
                if (starts_with(p, "trusted.gfid2path."))
                        assert_int_equal(disk_removexattr(h.disk, AT_FDCWD, on_disk(&h, "in/sub/file"), p), 0);
        harness_next_tick();
        assert_int_equal(try_stat(part, &file, NULL), 0);
        h.skip_check = true;
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(inside),
                WITH_BRICK(outside),
                WITH_BRICK(gfids_of_others),
                WITH_BRICK(moves),
                WITH_BRICK(born_again),
                WITH_BRICK(open_without_a_name),
                WITH_BRICK(without_paths),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
