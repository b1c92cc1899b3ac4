/* How many system calls an operation costs when everything it needs is cached: the tables of docs/architecture.md.
 *
 * A disk that counts stands between the brick and the kernel. The numbers are ceilings that a change must not raise
 * without a reason.
 */
#include <stdio.h>

#include "fixture.h"

static struct fixture fx;
static struct disk *kernel;

enum call {
        CALL_OPEN,
        CALL_CLOSE,
        CALL_STAT,
        CALL_GETXATTR,
        CALL_LISTXATTR,
        CALL_SETXATTR,
        CALL_REMOVEXATTR,
        CALL_PREADV,
        CALL_PWRITEV,
        CALL_GETDENTS,
        CALL_LSEEK,
        CALL_SYNC,
        CALL_LINK,
        CALL_UNLINK,
        CALL_MKNOD,
        CALL_MAX,
};
static unsigned counts[CALL_MAX];

static int count_open(struct disk *d, int dirfd, const char *path, int flags, mode_t mode)
{
        (void)d;
        counts[CALL_OPEN]++;
        return disk_open(kernel, dirfd, path, flags, mode);
}
static int count_close(struct disk *d, int fd)
{
        (void)d;
        counts[CALL_CLOSE]++;
        return disk_close(kernel, fd);
}
static int count_stat(struct disk *d, int dirfd, const char *path, struct stat *ret)
{
        (void)d;
        counts[CALL_STAT]++;
        return disk_stat(kernel, dirfd, path, ret);
}
static ssize_t count_getxattr(struct disk *d, int dirfd, const char *path, const char *name, void *buf, size_t size)
{
        (void)d;
        counts[CALL_GETXATTR]++;
        return disk_getxattr(kernel, dirfd, path, name, buf, size);
}
static ssize_t count_listxattr(struct disk *d, int dirfd, const char *path, char *buf, size_t size)
{
        (void)d;
        counts[CALL_LISTXATTR]++;
        return disk_listxattr(kernel, dirfd, path, buf, size);
}
static int count_setxattr(struct disk *d, int dirfd, const char *path, const char *name, const void *val, size_t size,
                          int flags)
{
        (void)d;
        counts[CALL_SETXATTR]++;
        return disk_setxattr(kernel, dirfd, path, name, val, size, flags);
}
static int count_removexattr(struct disk *d, int dirfd, const char *path, const char *name)
{
        (void)d;
        counts[CALL_REMOVEXATTR]++;
        return disk_removexattr(kernel, dirfd, path, name);
}
static ssize_t count_preadv(struct disk *d, int fd, const struct iovec *iov, int n, off_t off)
{
        (void)d;
        counts[CALL_PREADV]++;
        return disk_preadv(kernel, fd, iov, n, off);
}
static ssize_t count_pwritev(struct disk *d, int fd, const struct iovec *iov, int n, off_t off)
{
        (void)d;
        counts[CALL_PWRITEV]++;
        return disk_pwritev(kernel, fd, iov, n, off);
}
static ssize_t count_getdents(struct disk *d, int fd, void *buf, size_t size)
{
        (void)d;
        counts[CALL_GETDENTS]++;
        return disk_getdents(kernel, fd, buf, size);
}
static off_t count_lseek(struct disk *d, int fd, off_t off, int whence)
{
        (void)d;
        counts[CALL_LSEEK]++;
        return disk_lseek(kernel, fd, off, whence);
}
static int count_sync(struct disk *d, int fd, bool data_only)
{
        (void)d;
        counts[CALL_SYNC]++;
        return disk_sync(kernel, fd, data_only);
}

static int count_link(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath)
{
        (void)d;
        counts[CALL_LINK]++;
        return disk_link(kernel, olddir, oldpath, newdir, newpath);
}
static int count_unlink(struct disk *d, int dirfd, const char *path, int flags)
{
        (void)d;
        counts[CALL_UNLINK]++;
        return disk_unlink(kernel, dirfd, path, flags);
}
static int count_mknod(struct disk *d, int dirfd, const char *path, mode_t mode, dev_t dev)
{
        (void)d;
        counts[CALL_MKNOD]++;
        return disk_mknod(kernel, dirfd, path, mode, dev);
}

/* The table is the kernel's with the entries above replaced; the others take no account of the disk they are given. */
static struct disk_ops counting_ops;
static struct disk counting = {.ops = &counting_ops};

static int setup(void **state)
{
        (void)state;
        fixture_init(&fx);
        kernel = fx.disk;
        counting_ops = *kernel->ops;
        counting_ops.open = count_open;
        counting_ops.close = count_close;
        counting_ops.stat = count_stat;
        counting_ops.getxattr = count_getxattr;
        counting_ops.listxattr = count_listxattr;
        counting_ops.setxattr = count_setxattr;
        counting_ops.removexattr = count_removexattr;
        counting_ops.preadv = count_preadv;
        counting_ops.pwritev = count_pwritev;
        counting_ops.getdents = count_getdents;
        counting_ops.lseek = count_lseek;
        counting_ops.sync = count_sync;
        counting_ops.link = count_link;
        counting_ops.unlink = count_unlink;
        counting_ops.mknod = count_mknod;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fixture_done(&fx);
        return 0;
}

static int begin(void **state)
{
        (void)state;
        fixture_begin(&fx);
        fixture_time(&fx, TIMES_CTIME | TIMES_MTIME, 4000000000, 0);
        fx.brick->disk = &counting;
        return 0;
}

static int end(void **state)
{
        (void)state;
        fx.brick->disk = kernel;
        fixture_end(&fx);
        return 0;
}

static unsigned total(void)
{
        unsigned n = 0;
        for (int i = 0; i < CALL_MAX; i++)
                n += counts[i];
        return n;
}

static void reset(void)
{
        memset(counts, 0, sizeof counts);
        fx.cred.time.sec++;
}

static void data(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        fixture_write(&fx, f, fd, 0, "0123456789", 10);
        reset();
        fixture_write(&fx, f, fd, 0, "0123456789", 10);
        assert_int_equal(counts[CALL_STAT], 2);
        assert_int_equal(counts[CALL_PWRITEV], 1);
        assert_int_equal(counts[CALL_SETXATTR], 1); /* the times */
        assert_int_equal(total(), 4);
        reset();
        fixture_read(&fx, f, fd, 0, 100);
        assert_int_equal(counts[CALL_PREADV], 1);
        assert_int_equal(counts[CALL_STAT], 1);
        assert_int_equal(total(), 2);
        reset();
        struct fsync_fop_rep sync;
        assert_int_equal(CALL(&fx, FSYNC, fsync, &sync, .gfid = f, .fd = fd), 0);
        assert_int_equal(counts[CALL_SYNC], 1);
        assert_int_equal(total(), 3);
}

static void opening(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct release_fop_rep release;
        fixture_fd(&fx, f, O_RDWR);
        fx.cred.flags = 0; /* as clients send OPEN */
        reset();
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        assert_int_equal(counts[CALL_OPEN], 1);
        assert_int_equal(counts[CALL_STAT], 1);
        assert_int_equal(total(), 2);
        reset();
        assert_int_equal(CALL(&fx, RELEASE, release, &release, .fd = fd), 0);
        assert_int_equal(counts[CALL_CLOSE], 1);
        assert_int_equal(total(), 1);
}

/* One counter of two attributes, as a replicating client sends it: what it does not change is zero. */
static void count_by(struct gfid f, int64_t fd, int dirty, int pending)
{
        struct fxattrop_fop_rep rep;
        struct dict d = {0};
        uint8_t *values = arena_alloc(&fx.arena, 24);
        assert_non_null(values);
        memset(values, dirty < 0 ? 0xff : 0, 4);
        memset(values + 12, pending < 0 ? 0xff : 0, 4);
        values[3] = (uint8_t)dirty;
        values[15] = (uint8_t)pending;
        assert_int_equal(dict_add_ptr(&d, &fx.arena, "trusted.afr.dirty", values, 12), 0);
        assert_int_equal(dict_add_ptr(&d, &fx.arena, "trusted.afr.v-client-1", values + 12, 12), 0);
        reset();
        assert_int_equal(CALL(&fx, FXATTROP, fxattrop, &rep, .gfid = f, .fd = fd, .dict = d), 0);
}

static void arithmetic(void **state)
{
        (void)state;
        assert_int_equal(brick_options_set(&fx.options, "xattrop-pending-watchlist", "trusted.afr.v-", NULL), 0);
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        for (int round = 0; round < 2; round++) { /* the first one may make base files */
                count_by(f, fd, 1, 0);
                assert_int_equal(counts[CALL_SETXATTR], 1);
                if (round > 0) {
                        assert_int_equal(counts[CALL_LINK], 1);
                        assert_int_equal(total(), 3); /* and the stat for the answer */
                }
                count_by(f, fd, 1, 0); /* the entry is there, which only the disk knows for certain */
                assert_int_equal(counts[CALL_LINK], 1);
                assert_int_equal(total(), 3);
                count_by(f, fd, -1, 0);
                assert_int_equal(total(), 2);
                count_by(f, fd, 0, 0);
                assert_int_equal(total(), 1);
                count_by(f, fd, -1, 0);
                assert_int_equal(counts[CALL_UNLINK], 1);
                assert_int_equal(total(), 3);
        }
        count_by(f, fd, 0, 1);
        count_by(f, fd, 1, 1);
        assert_int_equal(counts[CALL_LINK], 2);
        assert_int_equal(total(), 5);
        count_by(f, fd, -1, -1);
        assert_int_equal(counts[CALL_UNLINK], 1);
        assert_int_equal(total(), 4);
        count_by(f, fd, 0, -1);
        assert_int_equal(counts[CALL_UNLINK], 1);
        assert_int_equal(total(), 3);
}

/* Whether anything is pending is looked for once, not with each look-up. */
static void asking_for_pending_work(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct lookup_fop_rep rep;
        for (int round = 0; round < 5; round++) {
                reset();
                assert_int_equal(dict_add_str(&fx.xdata, &fx.arena, "link-count", "glusterfs.xattrop_index_count"), 0);
                assert_int_equal(CALL(&fx, LOOKUP, lookup, &rep, .pargfid = GFID_ROOT, .bname = STR("f")), 0);
                assert_int_equal(reply_int(&fx, "link-count"), round >= 3);
                assert_true(round == 0 || total() == 2);
                if (round == 2) {
                        struct xattrop_fop_rep added;
                        struct dict d = {0};
                        assert_int_equal(dict_add_ptr(&d, &fx.arena, "trusted.ec.dirty", "\0\0\0\0\0\0\0\1", 8), 0);
                        assert_int_equal(CALL(&fx, XATTROP, xattrop, &added, .gfid = f, .flags = 1, .dict = d), 0);
                        reset();
                        assert_int_equal(CALL(&fx, LOOKUP, lookup, &rep, .pargfid = GFID_ROOT, .bname = STR("f")), 0);
                }
        }
}

static void looking(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct lookup_fop_rep rep;
        for (unsigned size = 0; size < 2; size++) {
                for (int round = 0; round < 2; round++) { /* a change between: the first one reads the attributes */
                        reset();
                        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.content", 100), 0);
                        assert_int_equal(CALL(&fx, LOOKUP, lookup, &rep, .pargfid = GFID_ROOT, .bname = STR("f")), 0);
                        assert_true(dict_has(&fx.reply, "glusterfs.content"));
                }
                assert_int_equal(counts[CALL_OPEN], size);
                assert_int_equal(total(), 2 + size * 4); /* parent, name; open, what it is, data, close */
                fixture_write(&fx, f, FD_ANONYMOUS, 0, "x", 1);
        }
}

#define FILES 100

static void listing(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        for (int i = 0; i < FILES; i++) {
                char name[32];
                snprintf(name, sizeof name, "file-%06d", i);
                fixture_file(&fx, d, name, 0644);
        }
        int64_t fd = fixture_dirfd(&fx, d);
        struct readdirp_fop_rep rep;
        for (int round = 0; round < 2; round++) {
                reset();
                assert_int_equal(CALL(&fx, READDIRP, readdirp, &rep, .gfid = d, .fd = fd, .size = 131072), 0);
                assert_int_equal(rep.op_ret, FILES + 2);
                assert_int_equal(rep.op_errno, ENOENT);
        }
        assert_int_equal(counts[CALL_GETDENTS], 2); /* the second one sees the end */
        assert_true(counts[CALL_LSEEK] <= 1);       /* back to the start */
        assert_true(counts[CALL_STAT] <= FILES + 4);
        assert_true(total() <= FILES + 10);
        reset();
        uint64_t last = rep.reply.v[FILES + 1].off;
        assert_int_equal(CALL(&fx, READDIRP, readdirp, &rep, .gfid = d, .fd = fd, .offset = last, .size = 131072), 0);
        assert_int_equal(counts[CALL_LSEEK], 0); /* it is there already */
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(data),
                WITH_BRICK(opening),
                WITH_BRICK(arithmetic),
                WITH_BRICK(asking_for_pending_work),
                WITH_BRICK(looking),
                WITH_BRICK(listing),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
