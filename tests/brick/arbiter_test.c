/* The brick without contents: what it absorbs, what it refuses, what it checks nevertheless (spec: brick.md §18). */
#include "harness.h"

static const struct gfid root = GFID_ROOT;

struct arbiter {
        struct harness h;
        struct client *c;
        struct gfid g;
        int64_t fd;
};

static int setup(void **state)
{
        struct arbiter *a = calloc(1, sizeof *a);
        harness_posix(&a->h);
        a->h.options.arbiter = true;
        harness_reopen(&a->h);
        a->c = client_open(&a->h);
        a->g = harness_gfid(&a->h);
        assert_int_equal(try_create(a->c, &root, "f", O_RDWR, &a->g, &a->fd), 0);
        *state = a;
        return 0;
}

static int teardown(void **state)
{
        struct arbiter *a = *state;
        client_close(a->c);
        harness_close(&a->h);
        free(a);
        return 0;
}

static void assert_untouched(struct arbiter *a)
{
        struct stat st;
        assert_int_equal(disk_stat(a->h.disk, AT_FDCWD, on_disk(&a->h, "f"), &st), 0);
        assert_int_equal(st.st_size, 0);
}

static void changes_succeed_without_effect(void **state)
{
        struct arbiter *a = *state;
        struct write_fop_req w = {.gfid = a->g, .fd = a->fd, .offset = 100, .size = 5,
                                  .data = {(const uint8_t *)"hello", 5},
                                  .xdata = client_dict(a->c, "glusterfs.write-is-append", 1)};
        struct write_fop_rep wr;
        int64_t append = 0;
        assert_int_equal(CALL(a->c, WRITE, &w, &wr), 0);
        assert_int_equal(wr.op_ret, 5);
        assert_memory_equal(&wr.prestat, &wr.poststat, sizeof wr.prestat);
        assert_true(gfid_equal(&wr.poststat.gfid, &a->g));
        assert_int_equal(dict_get_int(&wr.xdata, "glusterfs.write-is-append", &append), 0);
        assert_int_equal(append, 1);

        struct truncate_fop_req t = {.gfid = a->g, .offset = 4096};
        struct truncate_fop_rep tr;
        assert_int_equal(CALL(a->c, TRUNCATE, &t, &tr), 0);
        struct ftruncate_fop_req ft = {.gfid = a->g, .fd = a->fd, .offset = 4096};
        struct ftruncate_fop_rep ftr;
        assert_int_equal(CALL(a->c, FTRUNCATE, &ft, &ftr), 0);
        assert_int_equal(ftr.poststat.size, 0);
        struct fallocate_fop_req fa = {.gfid = a->g, .fd = FD_ANONYMOUS, .size = 4096};
        struct fallocate_fop_rep far;
        assert_int_equal(CALL(a->c, FALLOCATE, &fa, &far), 0);
        struct discard_fop_req di = {.gfid = a->g, .fd = a->fd, .size = 4096};
        struct discard_fop_rep dir;
        assert_int_equal(CALL(a->c, DISCARD, &di, &dir), 0);
        struct zerofill_fop_req ze = {.gfid = a->g, .fd = a->fd, .size = 4096};
        struct zerofill_fop_rep zer;
        assert_int_equal(CALL(a->c, ZEROFILL, &ze, &zer), 0);
        assert_untouched(a);
}

static void contents_are_not_answered(void **state)
{
        struct arbiter *a = *state;
        struct read_fop_req r = {.gfid = a->g, .fd = a->fd, .size = 10};
        struct read_fop_rep rr;
        assert_int_equal(CALL(a->c, READ, &r, &rr), -ENOSYS);
        r.fd = 99;
        assert_int_equal(CALL(a->c, READ, &r, &rr), -EBADF);
        struct seek_fop_req s = {.gfid = a->g, .fd = a->fd};
        struct seek_fop_rep sr;
        assert_int_equal(CALL(a->c, SEEK, &s, &sr), -ENOSYS);
}

static void what_is_wrong_elsewhere_is_wrong_here(void **state)
{
        struct arbiter *a = *state;
        struct write_fop_req w = {.gfid = a->g, .fd = 99, .size = 1, .data = {(const uint8_t *)"x", 1}};
        struct write_fop_rep wr;
        assert_int_equal(CALL(a->c, WRITE, &w, &wr), -EBADF);
        assert_int_equal(try_open(a->c, &a->g, O_RDONLY, &w.fd), 0);
        assert_int_equal(CALL(a->c, WRITE, &w, &wr), -EBADF);
        struct truncate_fop_req t = {.gfid = root};
        struct truncate_fop_rep tr;
        assert_int_equal(CALL(a->c, TRUNCATE, &t, &tr), -EISDIR);
        t.gfid = harness_gfid(&a->h);
        assert_int_equal(CALL(a->c, TRUNCATE, &t, &tr), -ESTALE);
        t.gfid = a->g;
        a->c->cred.uid = a->c->cred.gid = 1000;
        assert_int_equal(CALL(a->c, TRUNCATE, &t, &tr), -EACCES);
}

static void a_write_by_another_user_clears_set_id_bits(void **state)
{
        struct arbiter *a = *state;
        assert_int_equal(disk_chmod(a->h.disk, AT_FDCWD, on_disk(&a->h, "f"), 06777), 0);
        a->c->cred.uid = a->c->cred.gid = 1000;
        struct write_fop_req w = {.gfid = a->g, .fd = a->fd, .size = 1, .data = {(const uint8_t *)"x", 1}};
        struct write_fop_rep wr;
        assert_int_equal(CALL(a->c, WRITE, &w, &wr), 0);
        struct stat st;
        assert_int_equal(disk_stat(a->h.disk, AT_FDCWD, on_disk(&a->h, "f"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0777);
        assert_untouched(a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(changes_succeed_without_effect, setup, teardown),
                cmocka_unit_test_setup_teardown(contents_are_not_answered, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_wrong_elsewhere_is_wrong_here, setup, teardown),
                cmocka_unit_test_setup_teardown(a_write_by_another_user_clears_set_id_bits, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
