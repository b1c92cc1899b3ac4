/* What the simulated disk adds to a file system: durability, power cuts, faults, determinism, space.
 * Over 600 lines because it is one flat list of properties on a few shared helpers.
 */
#include "disk_fixture.h"

#include <dirent.h>
#include <linux/falloc.h>

#include "base/buf.h"

#define SEEDS 200
#define PAGE 4096

static void write_all(struct disk *d, int fd, const void *data, size_t size, off_t off)
{
        struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
        assert_int_equal(disk_pwritev(d, fd, &iov, 1, off), size);
}

static void fill(struct disk *d, int fd, char c, size_t size, off_t off)
{
        char data[8 * PAGE];
        assert_true(size <= sizeof data);
        memset(data, c, size);
        write_all(d, fd, data, size, off);
}

static char byte_at(struct disk *d, int fd, off_t off)
{
        char c = '?';
        struct iovec iov = {.iov_base = &c, .iov_len = 1};
        return disk_preadv(d, fd, &iov, 1, off) == 1 ? c : '?';
}

static int make(struct disk *d, const char *path)
{
        int fd = disk_open(d, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, 0644);
        assert_true(fd >= 0);
        return fd;
}

static bool exists(struct disk *d, const char *path)
{
        struct stat st;
        return disk_stat(d, AT_FDCWD, path, &st) == 0;
}

static void sync_dir(struct disk *d, const char *path)
{
        int fd = disk_open(d, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        assert_int_equal(disk_sync(d, fd, false), 0);
        assert_int_equal(disk_close(d, fd), 0);
}

static int open_old(struct disk *d, const char *path)
{
        int fd = disk_open(d, AT_FDCWD, path, O_RDWR, 0);
        assert_true(fd >= 0);
        return fd;
}

/* ---- a whole tree as text, checked on the way */

static void dump_xattrs(struct disk *d, int dir, const char *name, struct buf *out)
{
        char names[1024], value[256];
        ssize_t n = disk_listxattr(d, dir, name, names, sizeof names);
        assert_true(n >= 0);
        for (char *at = names; at < names + n; at += strlen(at) + 1) {
                ssize_t size = disk_getxattr(d, dir, name, at, value, sizeof value);
                assert_true(size >= 0);
                buf_printf(out, " %s=%.*s", at, (int)size, value);
        }
}

static void dump_data(struct disk *d, int dir, const char *name, struct buf *out)
{
        char data[8 * PAGE];
        int fd = disk_open(d, dir, name, O_RDONLY, 0);
        assert_true(fd >= 0);
        struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
        ssize_t n = disk_preadv(d, fd, &iov, 1, 0);
        uint32_t sum = 1;
        for (ssize_t at = 0; at < n; at++)
                sum = sum * 31 + (uint8_t)data[at];
        buf_printf(out, " data=%x", sum);
        assert_int_equal(disk_close(d, fd), 0);
}

static void dump_dir(struct disk *d, int dir, struct buf *out);

static void dump_one(struct disk *d, int dir, const char *name, struct buf *out)
{
        struct stat st;
        assert_int_equal(disk_stat(d, dir, name, &st), 0);
        buf_printf(out, "%s ino=%llu %o %u:%u nlink=%u size=%lld m=%lld.%09ld c=%ld", name,
                   (unsigned long long)st.st_ino, st.st_mode, st.st_uid, st.st_gid, (unsigned)st.st_nlink,
                   (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_nsec);
        dump_xattrs(d, dir, name, out);
        if (S_ISREG(st.st_mode))
                dump_data(d, dir, name, out);
        buf_append_str(out, "\n");
        if (!S_ISDIR(st.st_mode))
                return;
        int fd = disk_open(d, dir, name, O_RDONLY | O_DIRECTORY, 0);
        assert_true(fd >= 0);
        buf_append_str(out, "{\n");
        dump_dir(d, fd, out);
        buf_append_str(out, "}\n");
        assert_int_equal(disk_close(d, fd), 0);
}

static void dump_dir(struct disk *d, int dir, struct buf *out)
{
        uint8_t records[4096];
        unsigned subdirs = 0;
        ssize_t n;
        while ((n = disk_getdents(d, dir, records, sizeof records)) > 0) {
                for (ssize_t at = 0; at < n; at += ((struct disk_dirent *)(void *)(records + at))->d_reclen) {
                        const struct disk_dirent *e = (const void *)(records + at);
                        subdirs += e->d_type == DT_DIR;
                        if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                                dump_one(d, dir, e->d_name, out);
                }
        }
        assert_int_equal(n, 0);
        struct stat st;
        assert_int_equal(disk_stat(d, dir, "", &st), 0);
        assert_int_equal(st.st_nlink, subdirs);
}

static struct buf dump(struct disk *d)
{
        struct buf out = BUF_INIT(4 * MIB);
        dump_one(d, AT_FDCWD, "/", &out);
        assert_int_equal(out.error, 0);
        assert_int_equal(buf_append(&out, "", 1), 0);
        return out;
}

static uint64_t free_blocks(struct disk *d)
{
        struct statvfs st;
        int fd = disk_open(d, AT_FDCWD, "/", O_PATH, 0);
        assert_int_equal(disk_statvfs(d, fd, &st), 0);
        assert_int_equal(disk_close(d, fd), 0);
        return st.f_bfree;
}

/* ---- power cuts */

static void test_synced_survives(void **state)
{
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                assert_int_equal(disk_mkdir(d, AT_FDCWD, "/dir", 0755), 0);
                int fd = make(d, "/dir/a");
                fill(d, fd, 'x', 3 * PAGE + 5, 0);
                assert_int_equal(disk_setxattr(d, fd, "", "trusted.gfid", "g", 1, 0), 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                assert_int_equal(disk_chmod(d, fd, "", 0600), 0);
                sim_disk_power_cut(s);
                assert_int_equal(sim_disk_open_count(s), 0);
                assert_int_equal(disk_close(d, fd), -EBADF);
                fd = open_old(d, "/dir/a");
                struct stat st;
                assert_int_equal(disk_stat(d, fd, "", &st), 0);
                assert_int_equal(st.st_size, 3 * PAGE + 5);
                for (off_t at = 0; at < st.st_size; at++)
                        assert_int_equal(byte_at(d, fd, at), 'x');
                char g;
                assert_int_equal(disk_getxattr(d, fd, "", "trusted.gfid", &g, 1), 1);
                s = sim_disk_free(s);
        }
}

/* The way to replace a file: both orders of luck must occur over the seeds, and never a third state. */
static void test_rename_is_old_or_new(void **state)
{
        unsigned old = 0, new = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, '1', PAGE, 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                int tmp = make(d, "/tmp");
                fill(d, tmp, '2', PAGE, 0);
                assert_int_equal(disk_sync(d, tmp, true), 0);
                assert_int_equal(disk_rename(d, AT_FDCWD, "/tmp", AT_FDCWD, "/a", 0), 0);
                sim_disk_power_cut(s);
                int now = open_old(d, "/a");
                char c = byte_at(d, now, PAGE - 1);
                assert_true(c == '1' || c == '2');
                assert_int_equal(exists(d, "/tmp"), c == '1');
                old += c == '1';
                new += c == '2';
                s = sim_disk_free(s);
        }
        assert_true(old > SEEDS / 10 && new > SEEDS / 10);
}

static void test_unsynced_create_may_be_lost(void **state)
{
        unsigned kept = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                assert_int_equal(disk_close(d, make(d, "/a")), 0);
                assert_int_equal(disk_close(d, make(d, "/b")), 0);
                sim_disk_power_cut(s);
                if (exists(d, "/b"))
                        assert_true(exists(d, "/a"));
                kept += exists(d, "/b");
                s = sim_disk_free(s);
        }
        assert_true(kept > SEEDS / 10 && kept < SEEDS - SEEDS / 10);
}

/* A journal: syncing one object carries everything that happened before its latest change. */
static void test_sync_carries_earlier(void **state)
{
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                assert_int_equal(disk_close(d, make(d, "/first")), 0);
                int fd = make(d, "/second");
                assert_int_equal(disk_close(d, make(d, "/third")), 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                sim_disk_power_cut(s);
                assert_true(exists(d, "/first") && exists(d, "/second"));
                s = sim_disk_free(s);
        }
}

/* Pages are kept or lost one by one; a lost one has what was there before, or zeros where nothing was. */
static void test_unsynced_pages(void **state)
{
        unsigned seen[2][2] = {{0}}; /* [first page new][second page new] */
        unsigned zeros = 0, shorter = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, 'o', 2 * PAGE, 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                fill(d, fd, 'n', 3 * PAGE, 0);
                sim_disk_power_cut(s);
                fd = open_old(d, "/a");
                char first = byte_at(d, fd, 0), second = byte_at(d, fd, PAGE), third = byte_at(d, fd, 2 * PAGE);
                assert_true((first == 'o' || first == 'n') && (second == 'o' || second == 'n'));
                assert_true(third == 'n' || third == 0 || third == '?');
                assert_int_equal(byte_at(d, fd, PAGE - 1), first);
                seen[first == 'n'][second == 'n']++;
                zeros += third == 0;
                shorter += third == '?';
                s = sim_disk_free(s);
        }
        assert_true(seen[0][0] && seen[0][1] && seen[1][0] && seen[1][1]);
        assert_true(zeros && shorter);
}

static void test_fdatasync(void **state)
{
        unsigned without = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, 'x', PAGE + 1, 0);
                assert_int_equal(disk_setxattr(d, fd, "", "user.late", "1", 1, 0), 0);
                assert_int_equal(disk_sync(d, fd, true), 0);
                sim_disk_power_cut(s);
                fd = open_old(d, "/a");
                assert_int_equal(byte_at(d, fd, PAGE), 'x');
                char c;
                without += disk_getxattr(d, fd, "", "user.late", &c, 1) == -ENODATA;
                s = sim_disk_free(s);
        }
        assert_true(without > 0);
}

/* A truncation that did not reach the journal brings the old bytes back, whatever was written after it. */
static void test_truncate_undone(void **state)
{
        unsigned back = 0, gone = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, 'o', 2 * PAGE, 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                assert_int_equal(disk_ftruncate(d, fd, 100), 0);
                fill(d, fd, 'n', 50, 2 * PAGE - 50);
                sim_disk_power_cut(s);
                fd = open_old(d, "/a");
                struct stat st;
                assert_int_equal(disk_stat(d, fd, "", &st), 0);
                assert_true(st.st_size == 100 || st.st_size == 2 * PAGE);
                char c = byte_at(d, fd, 200);
                assert_true(c == '?' || c == 'o' || c == 0);
                if (c == 'o')
                        assert_int_equal(byte_at(d, fd, 2 * PAGE - 1), 'o');
                else if (c == 0)
                        assert_true(byte_at(d, fd, 2 * PAGE - 1) != 'o');
                assert_int_equal(byte_at(d, fd, 99), 'o');
                back += c == 'o';
                gone += c == 0;
                s = sim_disk_free(s);
        }
        assert_true(back && gone);
}

static void test_punch_undone(void **state)
{
        unsigned back = 0, gone = 0;
        int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, 'o', 4 * PAGE, 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                assert_int_equal(disk_fallocate(d, fd, punch, PAGE / 2, 2 * PAGE), 0);
                sim_disk_power_cut(s);
                fd = open_old(d, "/a");
                bool old = byte_at(d, fd, PAGE) == 'o';
                char expected = old ? 'o' : 0;
                assert_int_equal(byte_at(d, fd, PAGE), expected);
                assert_int_equal(byte_at(d, fd, PAGE / 2), expected);
                assert_int_equal(byte_at(d, fd, 2 * PAGE), expected);
                assert_int_equal(byte_at(d, fd, PAGE / 2 - 1), 'o');
                assert_int_equal(byte_at(d, fd, 2 * PAGE + PAGE / 2), 'o');
                back += old;
                gone += !old;
                s = sim_disk_free(s);
        }
        assert_true(back && gone);
}

/* A hole that is durable stays one, also where the data it was punched into never reached the medium. */
static void test_punch_durable(void **state)
{
        int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, 'o', PAGE, 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                fill(d, fd, 'n', PAGE, 0);
                assert_int_equal(disk_fallocate(d, fd, punch, 100, 100), 0);
                assert_int_equal(disk_chmod(d, AT_FDCWD, "/", 0700), 0);
                sync_dir(d, "/");
                sim_disk_power_cut(s);
                fd = open_old(d, "/a");
                assert_int_equal(byte_at(d, fd, 100), 0);
                assert_int_equal(byte_at(d, fd, 199), 0);
                assert_true(byte_at(d, fd, 99) == 'o' || byte_at(d, fd, 99) == 'n');
                s = sim_disk_free(s);
        }
}

/* Data behind the end of the file that a cut gave it does not come back when the file grows again. */
static void test_nothing_behind_the_end(void **state)
{
        unsigned shorter = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                int fd = make(d, "/a");
                fill(d, fd, 'o', 10, 0);
                assert_int_equal(disk_sync(d, fd, false), 0);
                fill(d, fd, 'n', 2 * PAGE, 10);
                sim_disk_power_cut(s);
                fd = open_old(d, "/a");
                struct stat st;
                assert_int_equal(disk_stat(d, fd, "", &st), 0);
                if (st.st_size == 10) {
                        shorter++;
                        assert_int_equal(disk_ftruncate(d, fd, 2 * PAGE), 0);
                        assert_int_equal(byte_at(d, fd, 10), 0);
                        assert_int_equal(byte_at(d, fd, PAGE + 10), 0);
                }
                s = sim_disk_free(s);
        }
        assert_true(shorter > 0);
}

/* ---- random histories */

static uint64_t draw(uint64_t *random, uint64_t bound)
{
        uint64_t z = *random += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return (z ^ (z >> 31)) % bound;
}

static const char *draw_path(uint64_t *random)
{
        static const char *const paths[] = {"/a", "/b", "/d", "/d/a", "/d/b", "/d/e", "/d/e/a", "/b/a"};
        return paths[draw(random, ELEMENTSOF(paths))];
}

/* One call that changes metadata, if it is allowed where it falls. */
static void random_change(struct disk *d, uint64_t *random)
{
        const char *p = draw_path(random), *q = draw_path(random);
        int fd;
        switch (draw(random, 11)) {
        case 0:
        case 1:
                fd = disk_open(d, AT_FDCWD, p, O_RDWR | O_CREAT | O_NOFOLLOW, 0644);
                (void)disk_close(d, fd);
                return;
        case 2:
        case 3:
                (void)disk_mkdir(d, AT_FDCWD, p, 0755);
                return;
        case 4:
                (void)disk_unlink(d, AT_FDCWD, p, draw(random, 2) ? AT_REMOVEDIR : 0);
                return;
        case 5:
                (void)disk_rename(d, AT_FDCWD, p, AT_FDCWD, q, draw(random, 2) ? RENAME_EXCHANGE : 0);
                return;
        case 6:
                (void)disk_link(d, AT_FDCWD, p, AT_FDCWD, q);
                return;
        case 7:
                (void)disk_setxattr(d, AT_FDCWD, p, draw(random, 2) ? "user.a" : "trusted.b", p, strlen(p), 0);
                return;
        case 8:
                (void)disk_removexattr(d, AT_FDCWD, p, "user.a");
                return;
        case 9:
                (void)disk_truncate(d, AT_FDCWD, p, (off_t)draw(random, 5 * PAGE));
                return;
        default:
                (void)disk_chmod(d, AT_FDCWD, p, (mode_t)draw(random, 0777) | 0700);
                return;
        }
}

static void random_write(struct disk *d, uint64_t *random)
{
        int fd = disk_open(d, AT_FDCWD, draw_path(random), O_RDWR | O_NOFOLLOW, 0);
        if (fd < 0)
                return;
        fill(d, fd, (char)draw(random, 256), draw(random, 3 * PAGE) + 1, (off_t)draw(random, 4 * PAGE));
        if (draw(random, 4) == 0)
                (void)disk_sync(d, fd, draw(random, 2));
        (void)disk_close(d, fd);
}

#define STEPS 60

/* Without writes, what a power cut leaves is a moment of the past, exactly, and not before the last sync. */
static void test_cut_is_a_moment(void **state)
{
        unsigned back = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                uint64_t random = seed;
                struct buf moments[STEPS + 1];
                unsigned synced = seed % 3 ? (unsigned)draw(&random, STEPS) : 0;
                moments[0] = dump(d);
                for (unsigned n = 1; n <= STEPS; n++) {
                        random_change(d, &random);
                        if (n == synced) {
                                assert_int_equal(disk_chmod(d, AT_FDCWD, "/", 0755), 0);
                                sync_dir(d, "/");
                        }
                        moments[n] = dump(d);
                }
                sim_disk_power_cut(s);
                struct buf now = dump(d);
                unsigned n = STEPS + 1;
                while (n > 0 && !streq((char *)moments[n - 1].data, (char *)now.data))
                        n--;
                if (n == 0)
                        fail_msg("seed %llu: never was:\n%s", (unsigned long long)seed, (char *)now.data);
                assert_true(n - 1 >= synced);
                back += n <= STEPS;
                buf_done(&now);
                for (unsigned k = 0; k <= STEPS; k++)
                        buf_done(&moments[k]);
                s = sim_disk_free(s);
        }
        assert_true(back > SEEDS / 4);
}

static void empty_dir(struct disk *d, int dir)
{
        uint8_t records[4096];
        assert_int_equal(disk_lseek(d, dir, 2, SEEK_SET), 2);
        ssize_t n;
        while ((n = disk_getdents(d, dir, records, sizeof records)) > 0) {
                for (ssize_t at = 0; at < n; at += ((struct disk_dirent *)(void *)(records + at))->d_reclen) {
                        const struct disk_dirent *e = (const void *)(records + at);
                        if (disk_unlink(d, dir, e->d_name, 0) == 0)
                                continue;
                        int sub = disk_open(d, dir, e->d_name, O_RDONLY | O_DIRECTORY, 0);
                        empty_dir(d, sub);
                        assert_int_equal(disk_close(d, sub), 0);
                        assert_int_equal(disk_unlink(d, dir, e->d_name, AT_REMOVEDIR), 0);
                }
        }
        assert_int_equal(n, 0);
}

/* With writes and several cuts: the tree stays sound (dump checks it), and no space is lost or invented. */
static void test_many_cuts(void **state)
{
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                uint64_t random = seed, at_first = free_blocks(d);
                for (unsigned n = 0; n < 5 * STEPS; n++) {
                        if (draw(&random, 3))
                                random_change(d, &random);
                        else
                                random_write(d, &random);
                        if (draw(&random, STEPS) == 0)
                                sim_disk_power_cut(s);
                }
                struct buf text = dump(d);
                buf_done(&text);
                int root = disk_open(d, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);
                empty_dir(d, root);
                for (const char *const *name = (const char *const[]){"user.a", "trusted.b", NULL}; *name; name++)
                        (void)disk_removexattr(d, root, "", *name);
                assert_int_equal(disk_close(d, root), 0);
                assert_int_equal(free_blocks(d), at_first);
                s = sim_disk_free(s);
        }
}

static struct buf history(uint64_t seed)
{
        struct sim_disk *s;
        assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
        struct disk *d = sim_disk_ops(s);
        uint64_t random = 7;
        for (unsigned n = 0; n < 4 * STEPS; n++) {
                random_change(d, &random);
                random_write(d, &random);
                if (n % STEPS == STEPS - 1)
                        sim_disk_power_cut(s);
        }
        struct buf text = dump(d);
        s = sim_disk_free(s);
        return text;
}

static void test_same_seed(void **state)
{
        struct buf one = history(11), two = history(11), other = history(12);
        assert_string_equal((char *)one.data, (char *)two.data);
        assert_string_not_equal((char *)one.data, (char *)other.data);
        buf_done(&one);
        buf_done(&two);
        buf_done(&other);
}

/* ---- faults */

/* Replaces /a by new contents; stops at the first failure. */
static int replace(struct disk *d)
{
        int fd = disk_open(d, AT_FDCWD, "/tmp", O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (fd < 0)
                return fd;
        char text[] = "new";
        struct iovec iov = {.iov_base = text, .iov_len = 3};
        ssize_t r = disk_pwritev(d, fd, &iov, 1, 0);
        if (r >= 0)
                r = disk_setxattr(d, fd, "", "user.new", "1", 1, 0);
        if (r >= 0)
                r = disk_sync(d, fd, false);
        if (r >= 0)
                r = disk_rename(d, AT_FDCWD, "/tmp", AT_FDCWD, "/a", 0);
        (void)disk_close(d, fd);
        if (r < 0)
                return (int)r;
        fd = disk_open(d, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
                return fd;
        r = disk_sync(d, fd, false);
        (void)disk_close(d, fd);
        return (int)r;
}

static struct sim_disk *replace_prepare(uint64_t seed)
{
        struct sim_disk *s;
        assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
        struct disk *d = sim_disk_ops(s);
        int fd = make(d, "/a");
        write_all(d, fd, "old", 3, 0);
        assert_int_equal(disk_sync(d, fd, false), 0);
        assert_int_equal(disk_close(d, fd), 0);
        sim_disk_faults_clear(s);
        assert_int_equal(sim_disk_effects(s), 0);
        return s;
}

/* "old" or "new", whole. */
static const char *replace_result(struct disk *d)
{
        char text[8] = "", x;
        int fd = open_old(d, "/a");
        struct iovec iov = {.iov_base = text, .iov_len = 7};
        assert_int_equal(disk_preadv(d, fd, &iov, 1, 0), 3);
        assert_true(streq(text, "old") || streq(text, "new"));
        bool marked = disk_getxattr(d, fd, "", "user.new", &x, 1) == 1;
        assert_int_equal(marked, streq(text, "new"));
        assert_int_equal(disk_close(d, fd), 0);
        return streq(text, "old") ? "old" : "new";
}

#define REPLACE_EFFECTS 6 /* create, write, setxattr, sync, rename, sync */

static void test_fail_nth(void **state)
{
        unsigned n = 1;
        for (;; n++) {
                struct sim_disk *s = replace_prepare(n);
                struct disk *d = sim_disk_ops(s);
                sim_disk_fail_nth(s, n, EDQUOT);
                int r = replace(d);
                bool fired = sim_disk_fault_fired(s);
                assert_int_equal(r, fired ? -EDQUOT : 0);
                assert_int_equal(sim_disk_open_count(s), 0);
                assert_int_equal(sim_disk_effects(s), fired ? n : REPLACE_EFFECTS);
                if (n < REPLACE_EFFECTS)
                        assert_string_equal(replace_result(d), "old");
                sim_disk_power_cut(s);
                const char *result = replace_result(d);
                if (n != REPLACE_EFFECTS) /* the last sync: then either is right */
                        assert_string_equal(result, fired ? "old" : "new");
                s = sim_disk_free(s);
                if (!fired)
                        break;
        }
        assert_int_equal(n, REPLACE_EFFECTS + 1);
}

/* The failed effect leaves no trace. */
static void test_failure_does_nothing(void **state)
{
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct sim_disk *s;
                assert_int_equal(sim_disk_new(seed, MIB, &s), 0);
                struct disk *d = sim_disk_ops(s);
                uint64_t random = seed;
                for (unsigned n = 0; n < STEPS; n++)
                        random_change(d, &random);
                struct buf before = dump(d);
                sim_disk_faults_clear(s);
                uint64_t room = free_blocks(d);
                sim_disk_fail_nth(s, 1, EIO);
                while (!sim_disk_fault_fired(s))
                        random_change(d, &random);
                struct buf after = dump(d);
                assert_string_equal((char *)before.data, (char *)after.data);
                assert_int_equal(free_blocks(d), room);
                assert_int_equal(sim_disk_open_count(s), 0);
                buf_done(&before);
                buf_done(&after);
                s = sim_disk_free(s);
        }
}

static void test_stop_after(void **state)
{
        for (unsigned n = 1; n <= REPLACE_EFFECTS; n++) {
                for (uint64_t seed = 1; seed <= 20; seed++) {
                        struct sim_disk *s = replace_prepare(seed);
                        struct disk *d = sim_disk_ops(s);
                        sim_disk_stop_after(s, n);
                        int r = replace(d);
                        assert_int_equal(r, n == REPLACE_EFFECTS ? 0 : -EIO);
                        assert_true(sim_disk_fault_fired(s));
                        struct stat st;
                        assert_int_equal(disk_stat(d, AT_FDCWD, "/a", &st), -EIO);
                        assert_int_equal(disk_mkdir(d, AT_FDCWD, "/x", 0755), -EIO);
                        assert_int_equal(disk_open(d, AT_FDCWD, "/a", O_RDONLY, 0), -EIO);
                        assert_int_equal(sim_disk_effects(s), n);
                        if (seed % 2)
                                sim_disk_power_cut(s);
                        else
                                sim_disk_process_crash(s);
                        const char *result = replace_result(d);
                        if (n < 5)
                                assert_string_equal(result, "old");
                        else if (n == 6 || seed % 2 == 0)
                                assert_string_equal(result, "new");
                        s = sim_disk_free(s);
                }
        }
}

static void test_process_crash(void **state)
{
        struct sim_disk *s;
        assert_int_equal(sim_disk_new(1, MIB, &s), 0);
        struct disk *d = sim_disk_ops(s);
        uint64_t room = free_blocks(d);
        int fd = make(d, "/a");
        fill(d, fd, 'x', PAGE, 0);
        int gone = make(d, "/gone");
        fill(d, gone, 'x', PAGE, 0);
        assert_int_equal(disk_unlink(d, AT_FDCWD, "/gone", 0), 0);
        assert_int_equal(byte_at(d, gone, 5), 'x');
        assert_int_equal(sim_disk_open_count(s), 2);
        sim_disk_process_crash(s);
        assert_int_equal(sim_disk_open_count(s), 0);
        fd = open_old(d, "/a");
        assert_int_equal(byte_at(d, fd, PAGE - 1), 'x');
        assert_int_equal(disk_close(d, fd), 0);
        assert_int_equal(disk_unlink(d, AT_FDCWD, "/a", 0), 0);
        assert_int_equal(free_blocks(d), room);
        s = sim_disk_free(s);
}

/* ---- space and descriptors */

static void test_full_disk(void **state)
{
        struct sim_disk *s;
        assert_int_equal(sim_disk_new(1, 16 * PAGE, &s), 0);
        struct disk *d = sim_disk_ops(s);
        uint64_t room = free_blocks(d);
        int fd = make(d, "/a");
        char data[20 * PAGE];
        memset(data, 'x', sizeof data);
        struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
        ssize_t n = disk_pwritev(d, fd, &iov, 1, 100);
        assert_true(n > 10 * PAGE && n < 16 * PAGE);
        assert_int_equal(disk_pwritev(d, fd, &iov, 1, 100 + n), -ENOSPC);
        assert_int_equal(disk_fallocate(d, fd, 0, 0, 20 * PAGE), -ENOSPC);
        assert_int_equal(disk_mkdir(d, AT_FDCWD, "/d", 0755), -ENOSPC);
        assert_int_equal(disk_pwritev(d, fd, &iov, 1, 200), n - 100);
        int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        assert_int_equal(disk_fallocate(d, fd, punch, 0, 3 * PAGE), 0);
        assert_int_equal(disk_mkdir(d, AT_FDCWD, "/d", 0755), 0);
        assert_int_equal(disk_unlink(d, AT_FDCWD, "/d", AT_REMOVEDIR), 0);
        assert_int_equal(disk_unlink(d, AT_FDCWD, "/a", 0), 0);
        assert_true(free_blocks(d) < room);
        assert_int_equal(disk_close(d, fd), 0);
        assert_int_equal(free_blocks(d), room);
        sim_disk_power_cut(s);
        s = sim_disk_free(s);
}

/* The journal commits by itself before it grows without bound; descriptors end at a limit. */
static void test_limits(void **state)
{
        struct sim_disk *s;
        assert_int_equal(sim_disk_new(1, GIB, &s), 0);
        struct disk *d = sim_disk_ops(s);
        assert_int_equal(disk_close(d, make(d, "/first")), 0);
        for (unsigned n = 0; n < 10000; n++)
                assert_int_equal(disk_chmod(d, AT_FDCWD, "/", 0700 | (n & 077)), 0);
        int fd = 0;
        unsigned open = 0;
        while ((fd = disk_open(d, AT_FDCWD, "/first", O_RDONLY, 0)) >= 0)
                open++;
        assert_int_equal(fd, -EMFILE);
        assert_int_equal(sim_disk_open_count(s), open);
        sim_disk_power_cut(s);
        assert_true(exists(d, "/first"));
        s = sim_disk_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_synced_survives),
                cmocka_unit_test(test_rename_is_old_or_new),
                cmocka_unit_test(test_unsynced_create_may_be_lost),
                cmocka_unit_test(test_sync_carries_earlier),
                cmocka_unit_test(test_unsynced_pages),
                cmocka_unit_test(test_fdatasync),
                cmocka_unit_test(test_truncate_undone),
                cmocka_unit_test(test_punch_undone),
                cmocka_unit_test(test_punch_durable),
                cmocka_unit_test(test_nothing_behind_the_end),
                cmocka_unit_test(test_cut_is_a_moment),
                cmocka_unit_test(test_many_cuts),
                cmocka_unit_test(test_same_seed),
                cmocka_unit_test(test_fail_nth),
                cmocka_unit_test(test_failure_does_nothing),
                cmocka_unit_test(test_stop_after),
                cmocka_unit_test(test_process_crash),
                cmocka_unit_test(test_full_disk),
                cmocka_unit_test(test_limits),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
