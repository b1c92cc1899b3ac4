/* INIT: what is agreed with kernels of different ages, and what is not a kernel. */
#include "device.h"

#define NEVER                                                                                                          \
        (FUSE_WRITEBACK_CACHE | FUSE_HANDLE_KILLPRIV | FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT |                \
         FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ | FUSE_SUBMOUNTS | FUSE_SECURITY_CTX | (1ull << 37) | \
         (1ull << 41))
#define ALWAYS (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES)

static void check_init(struct fibre *self, struct device *d, uint32_t minor, uint64_t flags, uint64_t has,
                       uint64_t lacks)
{
        struct fuse_init_out out;
        kernel_init_as(self, d, minor, flags, &out);
        uint64_t got = out.flags | (uint64_t)out.flags2 << 32;
        assert_int_equal(out.major, 7);
        assert_int_equal(out.minor, MIN(minor, d->config.minor_max ? d->config.minor_max : 45u));
        assert_int_equal(out.minor, d->protocol.minor);
        assert_int_equal(got, d->protocol.flags);
        assert_int_equal(got & ~flags, 0);
        assert_int_equal(got & (lacks | NEVER), 0);
        assert_int_equal(got & has, has);
        assert_int_equal(out.max_readahead, 131072);
        assert_int_equal(out.time_gran, 1);
        assert_int_equal(out.max_background, 64);
        assert_int_equal(out.congestion_threshold, 48);
        assert_int_equal(out.max_write, d->protocol.max_write);
        assert_non_null(fuse_session_protocol(d->session));
}

static void newest(struct fibre *self, struct device *d)
{
        check_init(self, d, 45, FLAGS_ALL,
                   ALWAYS | FUSE_CHOICES_DEFAULT | FUSE_SETXATTR_EXT | FUSE_INIT_EXT | FUSE_HAS_EXPIRE_ONLY,
                   FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_EXPLICIT_INVAL_DATA | FUSE_CACHE_SYMLINKS);
        assert_int_equal(d->protocol.max_write, 128 * KIB);
}

static void test_newest(void **state)
{
        device_run(newest, NULL);
}

static void oldest(struct fibre *self, struct device *d)
{
        check_init(self, d, 31, FLAGS_5_4, ALWAYS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS,
                   FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT);
}

static void test_7_31(void **state)
{
        device_run(oldest, NULL);
}

static void without_ext(struct fibre *self, struct device *d)
{
        check_init(self, d, 34, FLAGS_5_15, ALWAYS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT,
                   FUSE_INIT_EXT | FUSE_HAS_EXPIRE_ONLY);
}

static void test_7_34(void **state)
{
        device_run(without_ext, NULL);
}

static void with_ext(struct fibre *self, struct device *d)
{
        check_init(self, d, 36, 0x7fffffff | 3ull << 32, ALWAYS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT,
                   FUSE_HAS_EXPIRE_ONLY | FUSE_DIRECT_IO_ALLOW_MMAP);
}

static void test_7_36(void **state)
{
        device_run(with_ext, NULL);
}

static void imitate_7_31(struct device *d)
{
        d->config.minor_max = 31;
}

/* A new kernel, treated as an old one. */
static void imitated(struct fibre *self, struct device *d)
{
        check_init(self, d, 45, FLAGS_ALL, ALWAYS,
                   FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT | FUSE_HAS_EXPIRE_ONLY);
        struct fuse_setxattr_in in = {.size = 2, .flags = 1};
        struct iovec parts[] = {{&in, 8}, TEXT("user.a"), {(void *)"xy", 2}};
        uint64_t unique = kernel_send(self, d, FUSE_SETXATTR, parts, 3);
        kernel_expect_error(self, d, unique, 0);
        struct fuse_setxattr_in got;
        memcpy(&got, d->last.fixed, sizeof got);
        assert_int_equal(got.size, 2);
        assert_int_equal(got.flags, 1);
        assert_int_equal(got.setxattr_flags, 0);
        assert_memory_equal(d->last.data, "xy", 2);
}

static void test_imitation(void **state)
{
        device_run(imitated, imitate_7_31);
}

static void choose(struct device *d)
{
        d->config.choices = FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_EXPLICIT_INVAL_DATA | FUSE_CACHE_SYMLINKS |
                            FUSE_READDIRPLUS_AUTO | FUSE_DIRECT_IO_ALLOW_MMAP;
        d->config.max_write = 1 << 20;
}

static void chosen(struct fibre *self, struct device *d)
{
        check_init(self, d, 45, FLAGS_ALL,
                   FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_EXPLICIT_INVAL_DATA | FUSE_CACHE_SYMLINKS |
                           FUSE_DIRECT_IO_ALLOW_MMAP,
                   FUSE_AUTO_INVAL_DATA | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_HANDLE_KILLPRIV_V2 |
                           FUSE_READDIRPLUS_AUTO);
        assert_int_equal(d->protocol.max_write, 1 << 20);
}

static void test_choices(void **state)
{
        device_run(chosen, choose);
}

static void without_max_pages(struct fibre *self, struct device *d)
{
        struct fuse_init_out out;
        kernel_init_as(self, d, 31, FLAGS_5_4 & ~(uint64_t)FUSE_MAX_PAGES, &out);
        assert_int_equal(out.max_write, 32 * 4096);
}

static void test_max_pages(void **state)
{
        device_run(without_max_pages, choose);
}

static void too_old(struct fibre *self, struct device *d)
{
        struct fuse_init_in in = {.major = 7, .minor = 30};
        uint64_t unique = kernel_send(self, d, FUSE_INIT, &(struct iovec){&in, 16}, 1);
        kernel_expect_error(self, d, unique, -EPROTO);
        assert_int_equal(d->ends, 1);
        assert_int_equal(d->end_reason, -EPROTO);
        assert_null(fuse_session_protocol(d->session));
}

static void test_too_old(void **state)
{
        device_run(too_old, NULL);
}

static void truncated(struct fibre *self, struct device *d)
{
        uint64_t unique = kernel_send(self, d, FUSE_INIT, &(struct iovec){(void *)"\7\0\0\0\37", 5}, 1);
        kernel_expect_error(self, d, unique, -EPROTO);
        assert_int_equal(d->end_reason, -EPROTO);
}

static void test_truncated(void **state)
{
        device_run(truncated, NULL);
}

static void next_major(struct fibre *self, struct device *d)
{
        struct fuse_init_in in = {.major = 8, .minor = 2};
        (void)kernel_send(self, d, FUSE_INIT, &(struct iovec){&in, sizeof in}, 1);
        struct fuse_out_header h;
        struct fuse_init_out out;
        assert_int_equal(kernel_receive(self, d, &h), sizeof out);
        memcpy(&out, d->message, sizeof out);
        assert_int_equal(out.major, 7);
        assert_int_equal(d->inits, 0);
        kernel_init(self, d);
}

static void test_next_major(void **state)
{
        device_run(next_major, NULL);
}

static void order(struct fibre *self, struct device *d)
{
        struct fuse_getattr_in in = {0};
        uint64_t unique = kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
        kernel_expect_error(self, d, unique, -EIO);
        assert_int_equal(fuse_notify_inval_inode(d->session, 1, 0, 0), -ENOTCONN);
        kernel_init(self, d);
        struct fuse_init_in again = {.major = 7, .minor = 45};
        unique = kernel_send(self, d, FUSE_INIT, &PART(again), 1);
        kernel_expect_error(self, d, unique, -EIO);
        assert_int_equal(d->ends, 0);
        unique = kernel_send(self, d, FUSE_DESTROY, NULL, 0);
        kernel_expect_error(self, d, unique, 0);
        assert_int_equal(d->ends, 1);
        assert_int_equal(d->end_reason, 0);
}

static void test_order(void **state)
{
        device_run(order, NULL);
}

static void test_impossible_configurations(void **state)
{
        struct loop *loop;
        assert_ok(loop_epoll_new(&loop));
        struct fuse_session *s = NULL;
        struct fuse_session_config good = {.loop = loop, .ops = &recording_ops}, c = good;
        c.choices = FUSE_AUTO_INVAL_DATA | FUSE_EXPLICIT_INVAL_DATA;
        assert_int_equal(fuse_session_new(&c, -1, &s), -EINVAL);
        c = good;
        c.choices = FUSE_WRITEBACK_CACHE;
        assert_int_equal(fuse_session_new(&c, -1, &s), -EINVAL);
        c = good;
        c.max_write = 100;
        assert_int_equal(fuse_session_new(&c, -1, &s), -EINVAL);
        c.max_write = 2 << 20;
        assert_int_equal(fuse_session_new(&c, -1, &s), -EINVAL);
        c = good;
        c.minor_max = 30;
        assert_int_equal(fuse_session_new(&c, -1, &s), -EINVAL);
        assert_int_equal(fuse_session_new(&good, -1, &s), -EBADF);
        assert_null(s);
        loop = loop_free(loop);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_newest),    cmocka_unit_test(test_7_31),
                cmocka_unit_test(test_7_34),      cmocka_unit_test(test_7_36),
                cmocka_unit_test(test_imitation), cmocka_unit_test(test_choices),
                cmocka_unit_test(test_max_pages), cmocka_unit_test(test_too_old),
                cmocka_unit_test(test_truncated), cmocka_unit_test(test_next_major),
                cmocka_unit_test(test_order),     cmocka_unit_test(test_impossible_configurations),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
