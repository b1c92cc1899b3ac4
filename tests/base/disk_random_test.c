/* Random operations on the kernel's disk and on the simulated one: every answer and the final trees must agree, except
 * inode numbers, times, blocks and the sizes of directories.
 *
 * A difference prints the seed and the call; MORTAR_SEED=n runs that seed alone, MORTAR_ROUNDS=n more of them.
 * What the kernel's file system decides by itself is kept out: seeds alternate between seeking for data and taking
 * space that is not written (whether that is data depends on the page cache), FIFOs are not opened, and no directory is
 * sticky (what may be opened or followed in one hangs on the fs.protected_* settings of the machine).
 */
#include "disk_fixture.h"

#include <linux/falloc.h>

#define ROUNDS 60
#define CALLS 1500
#define SLOTS 6
#define FILE_SPAN 60000
#define CHUNK_MAX 9000

struct run {
        struct fixture f[2]; /* the kernel's, the simulated */
        uint64_t seed, random;
        int slots[2][SLOTS]; /* -EBADF: free, in both */
        bool seek_data;
        unsigned call;
        unsigned succeeded;
};

/* Where a call goes: a directory descriptor's slot, or -1 for the directory of the fixture, and a path. */
struct place {
        int slot;
        char path[64];
};

static uint64_t draw(struct run *r, uint64_t bound)
{
        uint64_t z = r->random += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return (z ^ (z >> 31)) % bound;
}

static void compare(struct run *r, const char *what, const char *arg, long posix, long sim)
{
        if (posix != sim)
                fail_msg("MORTAR_SEED=%llu, call %u, \"%s\": %s gives %ld on the kernel's disk, %ld on the simulated "
                         "one",
                         (unsigned long long)r->seed, r->call, arg, what, posix, sim);
        r->succeeded += posix >= 0;
}

/* CALL on both disks; in it, `k` is the disk's index. */
#define BOTH(r, arg, call)                                                                                             \
        do {                                                                                                           \
                long got_[2];                                                                                          \
                for (int k = 0; k < 2; k++)                                                                            \
                        got_[k] = (long)(call);                                                                        \
                compare(r, #call, arg, got_[0], got_[1]);                                                              \
        } while (0)
#define DISK (r->f[k].disk)
#define DIR(p) dir_of(r, &(p), k)

static int dir_of(struct run *r, const struct place *p, int k)
{
        if (p->slot < 0 || r->slots[k][p->slot] < 0)
                return r->f[k].dir;
        return r->slots[k][p->slot];
}

/* ".." only behind a name: no path leaves the fixture's directory. */
static struct place pick(struct run *r)
{
        static const char *const names[] = {"a", "b", "c", "d", "e"};
        struct place p = {.slot = draw(r, 4) ? -1 : (int)draw(r, SLOTS)};
        unsigned parts = 1 + (unsigned)draw(r, 3);
        for (unsigned n = 0; n < parts; n++) {
                if (n > 0)
                        strncat(p.path, "/", 2);
                strncat(p.path, names[draw(r, ELEMENTSOF(names))], 8);
                if (n + 1 < parts && draw(r, 12) == 0)
                        strncat(p.path, draw(r, 2) ? "/.." : "/.", 4);
        }
        if (draw(r, 20) == 0)
                strncat(p.path, "/", 2);
        return p;
}

static mode_t pick_mode(struct run *r)
{
        return (mode_t)draw(r, 010000) & ~(mode_t)S_ISVTX;
}

static int pick_slot(struct run *r)
{
        return (int)draw(r, SLOTS);
}

#define FD(s) (r->slots[k][s])

static void call_open(struct run *r)
{
        static const int access[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
        static const int extra[] = {0,
                                    O_CREAT,
                                    O_CREAT | O_EXCL,
                                    O_TRUNC,
                                    O_APPEND | O_CREAT,
                                    O_DIRECTORY,
                                    O_PATH,
                                    O_PATH | O_NOFOLLOW,
                                    O_NOFOLLOW,
                                    O_CREAT | O_TRUNC,
                                    O_DIRECTORY | O_NOFOLLOW};
        struct place p = pick(r);
        int flags = extra[draw(r, ELEMENTSOF(extra))] | O_NONBLOCK;
        flags |= (flags & O_DIRECTORY) ? O_RDONLY : access[draw(r, ELEMENTSOF(access))];
        mode_t mode = pick_mode(r);
        int slot = pick_slot(r);
        int fd[2];
        for (int k = 0; k < 2; k++)
                fd[k] = disk_open(DISK, DIR(p), p.path, flags, mode);
        compare(r, "open", p.path, MIN(fd[0], 0), MIN(fd[1], 0));
        if (fd[0] < 0)
                return;
        if (r->slots[0][slot] >= 0)
                BOTH(r, "", disk_close(DISK, FD(slot)));
        r->slots[0][slot] = fd[0];
        r->slots[1][slot] = fd[1];
}

static void call_close(struct run *r)
{
        int s = pick_slot(r);
        BOTH(r, "", disk_close(DISK, FD(s)));
        r->slots[0][s] = r->slots[1][s] = -EBADF;
}

static void compare_stat(struct run *r, const char *path, const struct stat st[2])
{
        compare(r, "mode", path, st[0].st_mode, st[1].st_mode);
        compare(r, "nlink", path, (long)st[0].st_nlink, (long)st[1].st_nlink);
        compare(r, "uid", path, st[0].st_uid, st[1].st_uid);
        compare(r, "gid", path, st[0].st_gid, st[1].st_gid);
        if (!S_ISDIR(st[0].st_mode))
                compare(r, "size", path, st[0].st_size, st[1].st_size);
}

static void call_stat(struct run *r)
{
        struct place p = pick(r);
        struct stat st[2] = {0};
        BOTH(r, p.path, disk_stat(DISK, DIR(p), p.path, &st[k]));
        compare_stat(r, p.path, st);
}

static void call_fstat(struct run *r)
{
        int s = pick_slot(r);
        struct stat st[2] = {0};
        BOTH(r, "", disk_stat(DISK, FD(s), "", &st[k]));
        compare_stat(r, "", st);
}

static void call_mkdir(struct run *r)
{
        struct place p = pick(r);
        mode_t mode = pick_mode(r);
        BOTH(r, p.path, disk_mkdir(DISK, DIR(p), p.path, mode));
}

static void call_mknod(struct run *r)
{
        static const mode_t types[] = {0, S_IFREG, S_IFSOCK, S_IFDIR, S_IFLNK};
        struct place p = pick(r);
        mode_t mode = types[draw(r, ELEMENTSOF(types))] | pick_mode(r);
        BOTH(r, p.path, disk_mknod(DISK, DIR(p), p.path, mode, 0));
}

static void call_symlink(struct run *r)
{
        struct place to = pick(r), p = pick(r);
        if (strstr(to.path, ".."))
                return;
        BOTH(r, p.path, disk_symlink(DISK, to.path, DIR(p), p.path));
}

static void call_link(struct run *r)
{
        struct place from = pick(r), to = pick(r);
        BOTH(r, to.path, disk_link(DISK, DIR(from), from.path, DIR(to), to.path));
}

static void call_link_fd(struct run *r)
{
        int s = pick_slot(r);
        struct place to = pick(r);
        if (r->slots[0][s] >= 0)
                BOTH(r, to.path, disk_link(DISK, FD(s), "", DIR(to), to.path));
}

static void call_unlink(struct run *r)
{
        struct place p = pick(r);
        int flags = draw(r, 3) ? 0 : AT_REMOVEDIR;
        BOTH(r, p.path, disk_unlink(DISK, DIR(p), p.path, flags));
}

static void call_rename(struct run *r)
{
        static const unsigned all[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
        struct place from = pick(r), to = pick(r);
        unsigned flags = all[draw(r, ELEMENTSOF(all))];
        BOTH(r, to.path, disk_rename(DISK, DIR(from), from.path, DIR(to), to.path, flags));
}

static void call_readlink(struct run *r)
{
        struct place p = pick(r);
        char buf[2][64] = {{0}};
        BOTH(r, p.path, disk_readlink(DISK, DIR(p), p.path, buf[k], sizeof buf[k]));
        assert_memory_equal(buf[0], buf[1], sizeof buf[0]);
}

static void call_chown(struct run *r)
{
        struct place p = pick(r);
        uid_t uid = (uid_t)draw(r, 5) - 1;
        gid_t gid = (gid_t)draw(r, 5) - 1;
        BOTH(r, p.path, disk_chown(DISK, DIR(p), p.path, uid, gid));
}

static void call_chmod(struct run *r)
{
        struct place p = pick(r);
        mode_t mode = pick_mode(r);
        if (draw(r, 2))
                BOTH(r, p.path, disk_chmod(DISK, DIR(p), p.path, mode));
        else
                BOTH(r, "", disk_chmod(DISK, FD(0), "", mode));
}

static void call_utimens(struct run *r)
{
        struct place p = pick(r);
        struct timespec ts[2] = {{.tv_sec = 1}, {.tv_nsec = draw(r, 2) ? UTIME_OMIT : 2000000000}};
        BOTH(r, p.path, disk_utimens(DISK, DIR(p), p.path, ts));
}

static void call_truncate(struct run *r)
{
        struct place p = pick(r);
        off_t size = (off_t)draw(r, FILE_SPAN) - 100;
        BOTH(r, p.path, disk_truncate(DISK, DIR(p), p.path, size));
}

static void call_ftruncate(struct run *r)
{
        int s = pick_slot(r);
        off_t size = (off_t)draw(r, FILE_SPAN);
        BOTH(r, "", disk_ftruncate(DISK, FD(s), size));
}

/* user:: user:1: group:: mask:: other:: */
static const uint8_t acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  7,
                              0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                              5, 0, 255, 255, 255, 255, 32, 0, 1,   0,   255, 255, 255, 255};

static const char *pick_xattr(struct run *r)
{
        static const char *const names[] = {"user.a", "trusted.b",  "trusted.gfid",           "security.c",
                                            "user.",  "nonsense.a", "system.posix_acl_access"};
        return names[draw(r, ELEMENTSOF(names))];
}

static void call_setxattr(struct run *r)
{
        struct place p = pick(r);
        const char *name = pick_xattr(r);
        uint8_t value[100];
        size_t size = draw(r, sizeof value);
        for (size_t n = 0; n < size; n++)
                value[n] = (uint8_t)draw(r, 256);
        bool is_acl = starts_with(name, "system.");
        if (is_acl)
                size = draw(r, 4) ? sizeof acl : draw(r, sizeof acl);
        int flags = is_acl ? 0 : (int)draw(r, 3);
        const uint8_t *v = is_acl ? acl : value;
        if (draw(r, 2))
                BOTH(r, p.path, disk_setxattr(DISK, DIR(p), p.path, name, v, size, flags));
        else
                BOTH(r, name, disk_setxattr(DISK, FD(1), "", name, v, size, flags));
}

static void call_getxattr(struct run *r)
{
        struct place p = pick(r);
        const char *name = pick_xattr(r);
        uint8_t buf[2][100] = {{0}};
        size_t size = draw(r, sizeof buf[0]);
        BOTH(r, p.path, disk_getxattr(DISK, DIR(p), p.path, name, buf[k], size));
        assert_memory_equal(buf[0], buf[1], sizeof buf[0]);
        BOTH(r, name, disk_getxattr(DISK, FD(1), "", name, buf[k], size));
}

static void call_listxattr(struct run *r)
{
        struct place p = pick(r);
        char buf[2][200];
        size_t size = draw(r, sizeof buf[0]);
        BOTH(r, p.path, disk_listxattr(DISK, DIR(p), p.path, buf[k], size));
}

static void call_removexattr(struct run *r)
{
        struct place p = pick(r);
        const char *name = pick_xattr(r);
        BOTH(r, name, disk_removexattr(DISK, DIR(p), p.path, name));
}

static void call_pwritev(struct run *r)
{
        int s = pick_slot(r);
        uint8_t data[CHUNK_MAX];
        size_t size = draw(r, sizeof data);
        for (size_t n = 0; n < size; n++)
                data[n] = (uint8_t)draw(r, 256);
        size_t cut = size ? draw(r, size) : 0;
        struct iovec iov[2] = {{.iov_base = data, .iov_len = cut}, {.iov_base = data + cut, .iov_len = size - cut}};
        off_t off = (off_t)draw(r, FILE_SPAN);
        BOTH(r, "", disk_pwritev(DISK, FD(s), iov, 2, off));
}

static void call_preadv(struct run *r)
{
        int s = pick_slot(r);
        static uint8_t buf[2][CHUNK_MAX];
        memset(buf, 0, sizeof buf);
        off_t off = (off_t)draw(r, FILE_SPAN);
        size_t size = draw(r, CHUNK_MAX);
        BOTH(r, "", disk_preadv(DISK, FD(s), &(struct iovec){.iov_base = buf[k], .iov_len = size}, 1, off));
        assert_memory_equal(buf[0], buf[1], CHUNK_MAX);
}

static void call_fallocate(struct run *r)
{
        static const int all[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  FALLOC_FL_PUNCH_HOLE,
                                  0,
                                  FALLOC_FL_KEEP_SIZE,
                                  FALLOC_FL_ZERO_RANGE,
                                  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
        int s = pick_slot(r);
        int mode = all[draw(r, r->seek_data ? 2 : ELEMENTSOF(all))];
        off_t off = (off_t)draw(r, FILE_SPAN), len = (off_t)draw(r, 20000) - 10;
        BOTH(r, "", disk_fallocate(DISK, FD(s), mode, off, len));
}

static void call_sync(struct run *r)
{
        int s = pick_slot(r);
        if (draw(r, 100) == 0)
                BOTH(r, "", disk_sync(DISK, FD(s), r->seek_data));
}

static void call_lseek(struct run *r)
{
        int s = pick_slot(r);
        struct stat st;
        if (disk_stat(r->f[1].disk, r->slots[1][s], "", &st) < 0 || !S_ISREG(st.st_mode))
                return;
        int whence = (int)draw(r, r->seek_data ? 5 : 3); /* SET CUR END DATA HOLE */
        off_t off = (off_t)draw(r, FILE_SPAN) - 500;
        BOTH(r, "", disk_lseek(DISK, FD(s), off, whence));
}

static void call_copy(struct run *r)
{
        int in = pick_slot(r), out = pick_slot(r);
        off_t off_in = (off_t)draw(r, FILE_SPAN), off_out = (off_t)draw(r, FILE_SPAN);
        size_t len = draw(r, CHUNK_MAX);
        BOTH(r, "", disk_copy(DISK, FD(in), off_in, FD(out), off_out, len));
}

/* ---- whole trees */

#define NAMES_MAX 64

struct names {
        size_t n;
        char name[NAMES_MAX][16];
};

static int name_order(const void *a, const void *b)
{
        return strcmp(a, b);
}

static long read_all_names(struct disk *d, int fd, struct names *ret)
{
        uint8_t buf[512];
        ret->n = 0;
        off_t at = disk_lseek(d, fd, 0, SEEK_SET);
        if (at < 0)
                return at;
        ssize_t got;
        while ((got = disk_getdents(d, fd, buf, sizeof buf)) > 0) {
                for (ssize_t n = 0; n < got; n += ((struct disk_dirent *)(void *)(buf + n))->d_reclen) {
                        const struct disk_dirent *e = (const void *)(buf + n);
                        assert_true(ret->n < NAMES_MAX);
                        (void)snprintf(ret->name[ret->n++], sizeof ret->name[0], "%s", e->d_name);
                }
        }
        qsort(ret->name, ret->n, sizeof ret->name[0], name_order);
        return got;
}

static void call_getdents(struct run *r)
{
        int s = pick_slot(r);
        struct stat st;
        if (disk_stat(r->f[1].disk, r->slots[1][s], "", &st) < 0 || !S_ISDIR(st.st_mode))
                return;
        static struct names names[2];
        memset(names, 0, sizeof names);
        BOTH(r, "", read_all_names(DISK, FD(s), &names[k]));
        assert_memory_equal(&names[0], &names[1], sizeof names[0]);
}

static void compare_xattrs(struct run *r, const int dir[2], const char *name)
{
        static const char *const all[] = {"user.a", "trusted.b", "trusted.gfid", "security.c",
                                          "system.posix_acl_access"};
        for (size_t n = 0; n < ELEMENTSOF(all); n++) {
                uint8_t buf[2][200] = {{0}};
                BOTH(r, name, disk_getxattr(DISK, dir[k], name, all[n], buf[k], sizeof buf[k]));
                assert_memory_equal(buf[0], buf[1], sizeof buf[0]);
        }
        BOTH(r, name, disk_listxattr(DISK, dir[k], name, NULL, 0));
}

static void compare_contents(struct run *r, const int dir[2], const char *name)
{
        static uint8_t buf[2][2 * FILE_SPAN];
        int fd[2];
        for (int k = 0; k < 2; k++) {
                fd[k] = disk_open(DISK, dir[k], name, O_RDONLY, 0);
                assert_true(fd[k] >= 0);
        }
        struct iovec iov[2] = {{.iov_base = buf[0], .iov_len = sizeof buf[0]},
                               {.iov_base = buf[1], .iov_len = sizeof buf[1]}};
        memset(buf, 0, sizeof buf);
        BOTH(r, name, disk_preadv(DISK, fd[k], &iov[k], 1, 0));
        assert_memory_equal(buf[0], buf[1], sizeof buf[0]);
        for (off_t at = 0; r->seek_data && at >= 0;) {
                off_t next = disk_lseek(r->f[1].disk, fd[1], at, SEEK_DATA);
                BOTH(r, name, disk_lseek(DISK, fd[k], at, SEEK_DATA));
                if (next < 0)
                        break;
                BOTH(r, name, disk_lseek(DISK, fd[k], next, SEEK_HOLE));
                at = disk_lseek(r->f[1].disk, fd[1], next, SEEK_HOLE);
        }
        BOTH(r, name, disk_close(DISK, fd[k]));
}

static void compare_tree(struct run *r, const int dir[2])
{
        struct names *names = calloc(2, sizeof *names);
        BOTH(r, "", read_all_names(DISK, dir[k], &names[k]));
        assert_memory_equal(&names[0], &names[1], sizeof names[0]);
        for (size_t n = 0; n < names[0].n; n++) {
                const char *name = names[0].name[n];
                if (streq(name, ".") || streq(name, ".."))
                        continue;
                struct stat st[2];
                BOTH(r, name, disk_stat(DISK, dir[k], name, &st[k]));
                compare_stat(r, name, st);
                compare_xattrs(r, dir, name);
                if (S_ISREG(st[0].st_mode))
                        compare_contents(r, dir, name);
                if (!S_ISDIR(st[0].st_mode))
                        continue;
                int sub[2];
                for (int k = 0; k < 2; k++)
                        sub[k] = disk_open(DISK, dir[k], name, O_RDONLY | O_DIRECTORY, 0);
                compare_tree(r, sub);
                BOTH(r, name, disk_close(DISK, sub[k]));
        }
        free(names);
}

/* ---- rounds */

static void (*const calls[])(struct run *) = {
        call_open,        call_open,     call_open,      call_open,     call_close,    call_stat,     call_fstat,
        call_mkdir,       call_mkdir,    call_mkdir,     call_mknod,    call_symlink,  call_link,     call_link_fd,
        call_unlink,      call_unlink,   call_rename,    call_rename,   call_readlink, call_chown,    call_chmod,
        call_utimens,     call_truncate, call_ftruncate, call_setxattr, call_setxattr, call_getxattr, call_listxattr,
        call_removexattr, call_pwritev,  call_pwritev,   call_pwritev,  call_preadv,   call_preadv,   call_fallocate,
        call_fallocate,   call_sync,     call_lseek,     call_lseek,    call_copy,     call_getdents,
};

static bool round_begin(struct run *r, uint64_t seed)
{
        *r = (struct run){.seed = seed, .random = seed, .seek_data = seed % 2};
        for (int s = 0; s < SLOTS; s++)
                r->slots[0][s] = r->slots[1][s] = -EBADF;
        fixture_sim(&r->f[1], seed);
        return fixture_posix(&r->f[0]);
}

static void round_end(struct run *r)
{
        for (int s = 0; s < SLOTS; s++)
                if (r->slots[0][s] >= 0)
                        BOTH(r, "", disk_close(DISK, FD(s)));
        fixture_done(&r->f[0]);
        fixture_done(&r->f[1]);
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
        const char *text = getenv(variable);
        return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_agree(void **state)
{
        uint64_t first = number_from("MORTAR_SEED", 1);
        uint64_t rounds = getenv("MORTAR_SEED") ? 1 : number_from("MORTAR_ROUNDS", ROUNDS);
        for (uint64_t seed = first; seed < first + rounds; seed++) {
                struct run r;
                bool usable = round_begin(&r, seed);
                for (r.call = 0; usable && r.call < CALLS; r.call++)
                        calls[draw(&r, ELEMENTSOF(calls))](&r);
                if (usable)
                        compare_tree(&r, (int[]){r.f[0].dir, r.f[1].dir});
                if (usable && r.succeeded < CALLS / 10)
                        fail_msg("only %u of %u calls did something: the test does not test", r.succeeded, CALLS);
                round_end(&r);
                if (!usable)
                        skip();
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_agree)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
