/* Data, listings and attributes through the dispatcher and back, on the kernel's file system and on the simulated disk. */
#include "harness.h"

static void write_all(struct client *c, struct gfid g, int64_t fd, const char *text)
{
        struct write_fop_req req = {.gfid = g,
                                    .fd = fd,
                                    .size = (uint32_t)strlen(text),
                                    .data = {(const uint8_t *)text, (uint32_t)strlen(text)}};
        struct write_fop_rep rep;
        assert_int_equal(CALL(c, WRITE, &req, &rep), 0);
        assert_int_equal(rep.op_ret, strlen(text));
        assert_int_equal(rep.poststat.size, strlen(text));
}

static void read_all(struct client *c, struct gfid g, int64_t fd, const char *text)
{
        struct read_fop_req req = {.gfid = g, .fd = fd, .size = 1000};
        struct read_fop_rep rep;
        assert_int_equal(CALL(c, READ, &req, &rep), 0);
        assert_int_equal(rep.op_ret, strlen(text));
        assert_int_equal(rep.op_errno, ENOENT);
        assert_int_equal(rep.data.len, strlen(text));
        assert_memory_equal(rep.data.data, text, strlen(text));
}

static void list_plus(struct client *c, struct gfid g, uint32_t expected)
{
        struct readdirp_fop_req req = {.gfid = g, .fd = FD_ANONYMOUS, .size = 131072};
        struct readdirp_fop_rep rep;
        req.xdata = client_dict(c, "trusted.glusterfs.mdata", 1);
        assert_int_equal(CALL(c, READDIRP, &req, &rep), 0);
        assert_int_equal(rep.op_ret, expected);
        assert_int_equal(rep.reply.n, expected);
        assert_int_equal(rep.op_errno, ENOENT);
}

static void counters(struct client *c, struct gfid g)
{
        struct xattrop_fop_req req = {.gfid = g};
        struct xattrop_fop_rep rep;
        struct slice v;
        assert_int_equal(dict_add_ptr(&req.dict, &c->arena, "trusted.afr.dirty", "\0\0\0\1\0\0\0\0\0\0\0\0", 12), 0);
        assert_int_equal(CALL(c, XATTROP, &req, &rep), 0);
        assert_int_equal(dict_get_bytes(&rep.dict, "trusted.afr.dirty", &v), 0);
        assert_int_equal(v.len, 12);

        struct getxattr_fop_req get = {.gfid = g, .namelen = 1, .name = STR("trusted.afr.dirty")};
        struct getxattr_fop_rep got;
        assert_int_equal(CALL(c, GETXATTR, &get, &got), 0);
        assert_int_equal(got.op_ret, 12);
        get.name = STR("user.absent");
        assert_int_equal(CALL(c, GETXATTR, &get, &got), -ENODATA);
        assert_int_equal(got.op_ret, -1);
}

static void round_trip(struct harness *h)
{
        struct client *c = client_open(h);
        struct gfid root = GFID_ROOT, d = make_dir(c, &root, "d"), f = make_file(c, &d, "f");
        int64_t fd;
        assert_int_equal(try_open(c, &f, O_RDWR, &fd), 0);
        write_all(c, f, fd, "some data");
        read_all(c, f, fd, "some data");
        read_all(c, f, FD_ANONYMOUS, "some data");
        list_plus(c, d, 3);
        counters(c, f);
        struct rchecksum_fop_req sum = {.gfid = f, .fd = fd, .len = 100};
        struct rchecksum_fop_rep sums;
        assert_int_equal(CALL(c, RCHECKSUM, &sum, &sums), 0);
        assert_int_equal(sums.strong_checksum.len, 32);
        struct fsync_fop_req sync = {.gfid = f, .fd = fd};
        struct fsync_fop_rep synced;
        assert_int_equal(CALL(c, FSYNC, &sync, &synced), 0);
        release(c, fd);
        struct read_fop_req stale = {.gfid = f, .fd = fd, .size = 1};
        struct read_fop_rep refused;
        assert_int_equal(CALL(c, READ, &stale, &refused), -EBADF);
        assert_int_equal(refused.data.len, 0);
        client_close(c);

        harness_reopen(h);
        c = client_open(h);
        read_all(c, f, FD_ANONYMOUS, "some data");
        client_close(c);
}

static void on_the_kernel(void **state)
{
        (void)state;
        struct harness h;
        harness_posix(&h);
        round_trip(&h);
        harness_close(&h);
}

static void on_a_simulated_disk(void **state)
{
        (void)state;
        struct harness h;
        harness_sim(&h, 7);
        round_trip(&h);
        harness_close(&h);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(on_the_kernel),
                cmocka_unit_test(on_a_simulated_disk),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
