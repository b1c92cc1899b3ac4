/* One behaviour, two disks: every scenario runs on the kernel's file system and on the simulated one, with the same
 * expected answers. What a scenario asserts is therefore what Linux does. Over 600 lines because it is one flat list.
 */
#include "disk_fixture.h"

#include <linux/falloc.h>
#include <sys/sysmacros.h>

static int make_file(struct fixture *f, const char *path, const char *text)
{
        int fd = disk_open(f->disk, f->dir, path, O_RDWR | O_CREAT | O_EXCL, 0644);
        assert_true(fd >= 0);
        struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
        assert_int_equal(disk_pwritev(f->disk, fd, &iov, 1, 0), strlen(text));
        return fd;
}

static void make_closed(struct fixture *f, const char *path, const char *text)
{
        assert_int_equal(disk_close(f->disk, make_file(f, path, text)), 0);
}

static struct stat look(struct fixture *f, const char *path)
{
        struct stat st = {0};
        assert_int_equal(disk_stat(f->disk, f->dir, path, &st), 0);
        return st;
}

static ssize_t read_at(struct fixture *f, int fd, void *buf, size_t size, off_t off)
{
        struct iovec iov = {.iov_base = buf, .iov_len = size};
        return disk_preadv(f->disk, fd, &iov, 1, off);
}

static ssize_t write_at(struct fixture *f, int fd, const void *buf, size_t size, off_t off)
{
        struct iovec iov = {.iov_base = (void *)buf, .iov_len = size};
        return disk_pwritev(f->disk, fd, &iov, 1, off);
}

static int open_close(struct fixture *f, const char *path, int flags)
{
        int fd = disk_open(f->disk, f->dir, path, flags, 0644);
        return fd < 0 ? fd : disk_close(f->disk, fd);
}

/* Names in FD from its position on, one call of SIZE bytes, as "a b c " in a fixed order of ours; RET_OFF is the last
 * d_off. */
static ssize_t read_names(struct fixture *f, int fd, size_t size, char *names, size_t room, off_t *ret_off)
{
        uint8_t buf[8192];
        ssize_t n = disk_getdents(f->disk, fd, buf, size);
        for (ssize_t at = 0; at < n;) {
                const struct disk_dirent *e = (const void *)(buf + at);
                size_t len = strlen(names);
                assert_true(snprintf(names + len, room - len, "%s ", e->d_name) < (int)(room - len));
                *ret_off = e->d_off;
                at += e->d_reclen;
        }
        return n;
}

static bool has_name(const char *names, const char *name)
{
        char padded[300];
        assert_true(snprintf(padded, sizeof padded, "%s ", name) > 0);
        const char *at = strstr(names, padded);
        return at && (at == names || at[-1] == ' ');
}

static void scenario_open(struct fixture *f)
{
        make_closed(f, "a", "text");
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 0755), 0);
        assert_int_equal(open_close(f, "a", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
        assert_int_equal(open_close(f, "a", O_RDWR | O_CREAT), 0);
        assert_int_equal(open_close(f, "no", O_RDWR), -ENOENT);
        assert_int_equal(open_close(f, "", O_RDONLY), -ENOENT);
        assert_int_equal(open_close(f, "a", O_RDONLY | O_DIRECTORY), -ENOTDIR);
        assert_int_equal(open_close(f, "a/", O_RDONLY), -ENOTDIR);
        assert_int_equal(open_close(f, "a/x", O_RDONLY), -ENOTDIR);
        assert_int_equal(open_close(f, "n/", O_WRONLY | O_CREAT), -EISDIR);
        assert_int_equal(open_close(f, "d", O_WRONLY), -EISDIR);
        assert_int_equal(open_close(f, "d", O_RDONLY | O_CREAT), -EISDIR);
        assert_int_equal(open_close(f, "d", O_RDONLY | O_TRUNC), -EISDIR);
        assert_int_equal(open_close(f, "d/../a", O_RDONLY), 0);
        assert_int_equal(open_close(f, "no/../a", O_RDONLY), -ENOENT);
        assert_int_equal(open_close(f, "a", O_PATH), 0);
        assert_int_equal(look(f, "a").st_size, 4);
        assert_int_equal(open_close(f, "a", O_WRONLY | O_TRUNC), 0);
        assert_int_equal(look(f, "a").st_size, 0);
        assert_int_equal(disk_open(f->disk, -1, "a", O_RDONLY, 0), -EBADF);
        int fd = disk_open(f->disk, f->dir, "a", O_RDONLY, 0);
        assert_int_equal(disk_open(f->disk, fd, "x", O_RDONLY, 0), -ENOTDIR);
        assert_int_equal(disk_close(f->disk, fd), 0);
        assert_int_equal(disk_close(f->disk, fd), -EBADF);
}

static void scenario_modes(struct fixture *f)
{
        int fd = disk_open(f->disk, f->dir, "s", O_WRONLY | O_CREAT, 06755);
        assert_int_equal(disk_close(f->disk, fd), 0);
        assert_int_equal(look(f, "s").st_mode, S_IFREG | 06755);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 07777), 0);
        assert_int_equal(look(f, "d").st_mode, S_IFDIR | 01777);
        assert_int_equal(disk_chown(f->disk, f->dir, "d", 5, 77), 0);
        assert_int_equal(disk_chmod(f->disk, f->dir, "d", 02755), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d/e", 0700), 0);
        assert_int_equal(look(f, "d/e").st_mode, S_IFDIR | 02700);
        assert_int_equal(look(f, "d/e").st_gid, 77);
        assert_int_equal(look(f, "d/e").st_uid, 0);
        make_closed(f, "d/f", "");
        assert_int_equal(look(f, "d/f").st_gid, 77);
        assert_int_equal(disk_chown(f->disk, f->dir, "s", 9, (gid_t)-1), 0);
        assert_int_equal(look(f, "s").st_mode, S_IFREG | 0755);
        assert_int_equal(look(f, "s").st_uid, 9);
        assert_int_equal(look(f, "s").st_gid, 0);
        assert_int_equal(disk_chmod(f->disk, f->dir, "", 0711), 0);
        assert_int_equal(look(f, "").st_mode, S_IFDIR | 0711);
        assert_int_equal(disk_chmod(f->disk, f->dir, "no", 0711), -ENOENT);
        assert_int_equal(disk_symlink(f->disk, "s", f->dir, "l"), 0);
        assert_int_equal(disk_chown(f->disk, f->dir, "l", 3, 4), 0);
        assert_int_equal(look(f, "l").st_uid, 3);
        assert_int_equal(look(f, "s").st_uid, 9);
        assert_int_equal(disk_chmod(f->disk, f->dir, "l", 0777), -EOPNOTSUPP);
        assert_int_equal(look(f, "s").st_mode, S_IFREG | 0755);
}

static void scenario_names(struct fixture *f)
{
        char name[258];
        memset(name, 'n', sizeof name);
        name[256] = '\0';
        assert_int_equal(disk_mkdir(f->disk, f->dir, name, 0755), -ENAMETOOLONG);
        assert_int_equal(open_close(f, name, O_RDONLY), -ENAMETOOLONG);
        name[255] = '\0';
        assert_int_equal(disk_mkdir(f->disk, f->dir, name, 0755), 0);
        assert_int_equal(disk_unlink(f->disk, f->dir, name, AT_REMOVEDIR), 0);
        char path[5000];
        memset(path, '/', sizeof path);
        path[0] = '.';
        path[4096] = '\0';
        assert_int_equal(open_close(f, path, O_RDONLY), -ENAMETOOLONG);
        path[4095] = '\0';
        assert_int_equal(open_close(f, path, O_RDONLY), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "", 0755), -ENOENT);
        assert_int_equal(disk_mkdir(f->disk, f->dir, ".", 0755), -EEXIST);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "..", 0755), -EEXIST);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "no/x", 0755), -ENOENT);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d/", 0755), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 0755), -EEXIST);
        assert_int_equal(disk_mknod(f->disk, f->dir, "x/", S_IFREG | 0644, 0), -ENOENT);
        assert_int_equal(disk_unlink(f->disk, f->dir, ".", 0), -EISDIR);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d", 0), -EISDIR);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d/.", AT_REMOVEDIR), -EINVAL);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d/..", AT_REMOVEDIR), -ENOTEMPTY);
        assert_int_equal(disk_unlink(f->disk, f->dir, "no", 0), -ENOENT);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d", 0x4000), -EINVAL);
        make_closed(f, "d/f", "");
        assert_int_equal(disk_unlink(f->disk, f->dir, "d/f", AT_REMOVEDIR), -ENOTDIR);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d/f/", 0), -ENOTDIR);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d", AT_REMOVEDIR), -ENOTEMPTY);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d/f", 0), 0);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d/", AT_REMOVEDIR), 0);
}

static void scenario_removed_dir(struct fixture *f)
{
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 0755), 0);
        int fd = disk_open(f->disk, f->dir, "d", O_RDONLY | O_DIRECTORY, 0);
        assert_int_equal(disk_unlink(f->disk, f->dir, "d", AT_REMOVEDIR), 0);
        struct stat st;
        assert_int_equal(disk_stat(f->disk, fd, "", &st), 0);
        assert_int_equal(st.st_nlink, 0);
        assert_int_equal(disk_mkdir(f->disk, fd, "x", 0755), -ENOENT);
        assert_int_equal(disk_open(f->disk, fd, "x", O_WRONLY | O_CREAT, 0644), -ENOENT);
        make_closed(f, "a", "");
        assert_int_equal(disk_link(f->disk, f->dir, "a", fd, "x"), -ENOENT);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", fd, "x", 0), -ENOENT);
        assert_int_equal(disk_stat(f->disk, fd, "../a", &st), 0);
        uint8_t buf[256];
        assert_int_equal(disk_getdents(f->disk, fd, buf, sizeof buf), -ENOENT);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

static void scenario_links(struct fixture *f)
{
        int fd = make_file(f, "a", "one");
        assert_int_equal(disk_link(f->disk, f->dir, "a", f->dir, "b"), 0);
        assert_int_equal(disk_link(f->disk, f->dir, "a", f->dir, "b"), -EEXIST);
        assert_int_equal(disk_link(f->disk, fd, "", f->dir, "c"), 0);
        assert_int_equal(look(f, "c").st_nlink, 3);
        assert_int_equal(look(f, "c").st_ino, look(f, "a").st_ino);
        assert_int_equal(disk_unlink(f->disk, f->dir, "a", 0), 0);
        assert_int_equal(disk_unlink(f->disk, f->dir, "b", 0), 0);
        assert_int_equal(disk_unlink(f->disk, f->dir, "c", 0), 0);
        assert_int_equal(disk_link(f->disk, fd, "", f->dir, "d"), -ENOENT);
        char text[4] = "";
        assert_int_equal(read_at(f, fd, text, 3, 0), 3);
        assert_string_equal(text, "one");
        assert_int_equal(disk_close(f->disk, fd), 0);

        assert_int_equal(disk_link(f->disk, f->dir, ".", f->dir, "e"), -EPERM);
        assert_int_equal(disk_symlink(f->disk, "nowhere", f->dir, "s"), 0);
        assert_int_equal(disk_link(f->disk, f->dir, "s", f->dir, "t"), 0);
        assert_true(S_ISLNK(look(f, "t").st_mode));
        int o_path = disk_open(f->disk, f->dir, "s", O_PATH | O_NOFOLLOW, 0);
        assert_int_equal(disk_link(f->disk, o_path, "", f->dir, "u"), 0);
        assert_int_equal(look(f, "u").st_nlink, 3);
        char target[16] = "";
        assert_int_equal(disk_readlink(f->disk, o_path, "", target, sizeof target), 7);
        assert_string_equal(target, "nowhere");
        assert_int_equal(disk_close(f->disk, o_path), 0);
}

static void scenario_nlink(struct fixture *f)
{
        assert_int_equal(look(f, "").st_nlink, 2);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "a", 0755), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "b", 0755), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "a/x", 0755), 0);
        assert_int_equal(look(f, "").st_nlink, 4);
        assert_int_equal(look(f, "a").st_nlink, 3);
        assert_int_equal(disk_rename(f->disk, f->dir, "a/x", f->dir, "b/x", 0), 0);
        assert_int_equal(look(f, "a").st_nlink, 2);
        assert_int_equal(look(f, "b").st_nlink, 3);
        assert_int_equal(look(f, "b/x/../..").st_ino, look(f, "").st_ino);
        make_closed(f, "a/y", "");
        assert_int_equal(disk_rename(f->disk, f->dir, "a/y", f->dir, "b/x", RENAME_EXCHANGE), 0);
        assert_int_equal(look(f, "a").st_nlink, 3);
        assert_int_equal(look(f, "b").st_nlink, 2);
        assert_int_equal(disk_unlink(f->disk, f->dir, "a/y", AT_REMOVEDIR), 0);
        assert_int_equal(look(f, "a").st_nlink, 2);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "c", 0), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "a", 0755), 0);
        assert_int_equal(disk_rename(f->disk, f->dir, "c", f->dir, "a", 0), 0);
        assert_int_equal(look(f, "").st_nlink, 4);
}

static void scenario_symlinks(struct fixture *f)
{
        make_closed(f, "file", "text");
        assert_int_equal(disk_mkdir(f->disk, f->dir, "dir", 0755), 0);
        assert_int_equal(disk_symlink(f->disk, "dir", f->dir, "to-dir"), 0);
        assert_int_equal(disk_symlink(f->disk, "../file", f->dir, "dir/up"), 0);
        assert_int_equal(disk_symlink(f->disk, "loop", f->dir, "loop"), 0);
        assert_int_equal(disk_symlink(f->disk, "", f->dir, "empty"), -ENOENT);
        assert_int_equal(disk_symlink(f->disk, "x", f->dir, "file"), -EEXIST);
        assert_int_equal(open_close(f, "to-dir/up", O_RDONLY), 0);
        assert_int_equal(open_close(f, "to-dir/up", O_RDONLY | O_NOFOLLOW), -ELOOP);
        assert_int_equal(open_close(f, "to-dir", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), -ENOTDIR);
        assert_int_equal(open_close(f, "to-dir/", O_RDONLY | O_NOFOLLOW), 0);
        assert_int_equal(open_close(f, "to-dir", O_PATH | O_NOFOLLOW), 0);
        assert_int_equal(open_close(f, "loop", O_RDONLY), -ELOOP);
        assert_int_equal(open_close(f, "loop/x", O_RDONLY), -ELOOP);
        assert_int_equal(open_close(f, "loop", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
        assert_true(S_ISLNK(look(f, "to-dir/up").st_mode));
        assert_true(S_ISDIR(look(f, "to-dir/").st_mode));
        assert_int_equal(look(f, "to-dir").st_size, 3);
        char buf[4] = "";
        assert_int_equal(disk_readlink(f->disk, f->dir, "dir/up", buf, sizeof buf), 4);
        assert_memory_equal(buf, "../f", 4);
        assert_int_equal(disk_readlink(f->disk, f->dir, "file", buf, sizeof buf), -EINVAL);
        assert_int_equal(disk_readlink(f->disk, f->dir, "dir/up", buf, 0), -EINVAL);
        assert_int_equal(disk_symlink(f->disk, "made", f->dir, "maker"), 0);
        assert_int_equal(open_close(f, "maker", O_WRONLY | O_CREAT), 0);
        assert_true(S_ISREG(look(f, "made").st_mode));
        assert_int_equal(disk_unlink(f->disk, f->dir, "to-dir/", AT_REMOVEDIR), -ENOTDIR);
        assert_int_equal(disk_truncate(f->disk, f->dir, "maker", 0), -EINVAL);
}

static void scenario_symlink_chain(struct fixture *f)
{
        make_closed(f, "l0", "");
        char from[8], to[8];
        for (int n = 1; n <= 41; n++) {
                (void)snprintf(from, sizeof from, "l%d", n);
                (void)snprintf(to, sizeof to, "l%d", n - 1);
                assert_int_equal(disk_symlink(f->disk, to, f->dir, from), 0);
        }
        assert_int_equal(open_close(f, "l40", O_RDONLY), 0);
        assert_int_equal(open_close(f, "l41", O_RDONLY), -ELOOP);
        char target[4097];
        memset(target, 't', sizeof target);
        target[4096] = '\0';
        assert_int_equal(disk_symlink(f->disk, target, f->dir, "long"), -ENAMETOOLONG);
        target[4095] = '\0';
        assert_int_equal(disk_symlink(f->disk, target, f->dir, "long"), 0);
        assert_int_equal(look(f, "long").st_size, 4095);
}

static void scenario_rename(struct fixture *f)
{
        make_closed(f, "a", "1");
        make_closed(f, "b", "22");
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 0755), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d/e", 0755), 0);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "z", 0755), 0);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "b", RENAME_NOREPLACE), -EEXIST);
        assert_int_equal(disk_rename(f->disk, f->dir, "no", f->dir, "b", 0), -ENOENT);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "no/b", 0), -ENOENT);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "d", 0), -EISDIR);
        assert_int_equal(disk_rename(f->disk, f->dir, "d", f->dir, "a", 0), -ENOTDIR);
        assert_int_equal(disk_rename(f->disk, f->dir, "z", f->dir, "d", 0), -ENOTEMPTY);
        assert_int_equal(disk_rename(f->disk, f->dir, "d", f->dir, "d/e/f", 0), -EINVAL);
        assert_int_equal(disk_rename(f->disk, f->dir, "d/e", f->dir, "d", 0), -ENOTEMPTY);
        assert_int_equal(disk_rename(f->disk, f->dir, "d", f->dir, "d/e", RENAME_EXCHANGE), -EINVAL);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "no", RENAME_EXCHANGE), -ENOENT);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "b", RENAME_EXCHANGE | RENAME_NOREPLACE), -EINVAL);
        assert_int_equal(disk_rename(f->disk, f->dir, ".", f->dir, "x", 0), -EBUSY);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "d/..", 0), -EBUSY);
        assert_int_equal(disk_rename(f->disk, f->dir, "a/", f->dir, "x", 0), -ENOTDIR);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "x/", 0), -ENOTDIR);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "b", RENAME_EXCHANGE), 0);
        assert_int_equal(look(f, "a").st_size, 2);
        assert_int_equal(disk_rename(f->disk, f->dir, "a", f->dir, "b", 0), 0);
        assert_int_equal(look(f, "b").st_size, 2);
        struct stat st;
        assert_int_equal(disk_stat(f->disk, f->dir, "a", &st), -ENOENT);
        assert_int_equal(disk_link(f->disk, f->dir, "b", f->dir, "same"), 0);
        assert_int_equal(disk_rename(f->disk, f->dir, "b", f->dir, "same", 0), 0);
        assert_int_equal(look(f, "b").st_nlink, 2);
        assert_int_equal(disk_rename(f->disk, f->dir, "d/", f->dir, "z/", 0), 0);
        assert_true(S_ISDIR(look(f, "z/e").st_mode));
}

static void scenario_special(struct fixture *f)
{
        assert_int_equal(disk_mknod(f->disk, f->dir, "fifo", S_IFIFO | 0600, 0), 0);
        assert_int_equal(disk_mknod(f->disk, f->dir, "sock", S_IFSOCK | 0600, 0), 0);
        assert_int_equal(disk_mknod(f->disk, f->dir, "dev", S_IFCHR | 0600, makedev(4095, 7)), 0);
        assert_int_equal(disk_mknod(f->disk, f->dir, "reg", 0600, 0), 0);
        assert_int_equal(disk_mknod(f->disk, f->dir, "dir", S_IFDIR | 0700, 0), -EPERM);
        assert_int_equal(disk_mknod(f->disk, f->dir, "lnk", S_IFLNK | 0700, 0), -EINVAL);
        assert_int_equal(disk_mknod(f->disk, f->dir, "reg", S_IFIFO | 0600, 0), -EEXIST);
        assert_int_equal(look(f, "dev").st_rdev, makedev(4095, 7));
        assert_true(S_ISREG(look(f, "reg").st_mode));
        assert_int_equal(open_close(f, "fifo", O_WRONLY | O_NONBLOCK), -ENXIO);
        assert_int_equal(open_close(f, "sock", O_RDONLY), -ENXIO);
        assert_int_equal(open_close(f, "dev", O_RDONLY), -ENXIO);
        assert_int_equal(disk_truncate(f->disk, f->dir, "fifo", 0), -EINVAL);
        assert_int_equal(disk_truncate(f->disk, f->dir, "dev", 0), -EINVAL);
        assert_int_equal(disk_truncate(f->disk, f->dir, "", 0), -EISDIR);
        int fd = disk_open(f->disk, f->dir, "fifo", O_RDONLY | O_NONBLOCK, 0);
        char c;
        assert_int_equal(read_at(f, fd, &c, 1, 0), -ESPIPE);
        assert_int_equal(disk_lseek(f->disk, fd, 0, SEEK_SET), -ESPIPE);
        assert_int_equal(disk_sync(f->disk, fd, false), -EINVAL);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "user.x", "1", 1, 0), -EPERM);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "trusted.x", "1", 1, 0), 0);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

static void scenario_o_path(struct fixture *f)
{
        make_closed(f, "a", "text");
        int fd = disk_open(f->disk, f->dir, "a", O_PATH, 0);
        int dir = disk_open(f->disk, f->dir, ".", O_PATH | O_DIRECTORY, 0);
        char c[8];
        assert_int_equal(read_at(f, fd, c, 1, 0), -EBADF);
        assert_int_equal(write_at(f, fd, "x", 1, 0), -EBADF);
        assert_int_equal(disk_ftruncate(f->disk, fd, 0), -EBADF);
        assert_int_equal(disk_sync(f->disk, fd, false), -EBADF);
        assert_int_equal(disk_lseek(f->disk, fd, 0, SEEK_SET), -EBADF);
        assert_int_equal(disk_fallocate(f->disk, fd, 0, 0, 1), -EBADF);
        assert_int_equal(disk_chmod(f->disk, fd, "", 0600), -EBADF);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "user.x", c, 1), -EBADF);
        assert_int_equal(disk_chown(f->disk, fd, "", 1, 1), 0);
        assert_int_equal(disk_truncate(f->disk, fd, "", 2), 0);
        struct timespec ts[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 7, .tv_nsec = 8}};
        assert_int_equal(disk_utimens(f->disk, fd, "", ts), 0);
        struct stat st;
        assert_int_equal(disk_stat(f->disk, fd, "", &st), 0);
        assert_int_equal(st.st_size, 2);
        assert_int_equal(st.st_mtim.tv_nsec, 8);
        assert_int_equal(disk_getdents(f->disk, dir, c, sizeof c), -EBADF);
        assert_int_equal(disk_setxattr(f->disk, dir, "a", "user.x", "1", 1, 0), 0);
        assert_int_equal(disk_getxattr(f->disk, dir, "a", "user.x", c, 8), 1);
        assert_int_equal(disk_listxattr(f->disk, dir, "a", NULL, 0), 7);
        assert_int_equal(disk_truncate(f->disk, dir, "a", 1), 0);
        assert_int_equal(disk_link(f->disk, dir, "a", dir, "b"), 0);
        assert_int_equal(disk_removexattr(f->disk, dir, "a", "user.x"), 0);
        struct statvfs vfs;
        assert_int_equal(disk_statvfs(f->disk, dir, &vfs), 0);
        assert_int_equal(vfs.f_namemax, 255);
        assert_true(vfs.f_blocks > 0 && vfs.f_bfree <= vfs.f_blocks);
        assert_int_equal(disk_close(f->disk, dir), 0);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

static void scenario_times(struct fixture *f)
{
        make_closed(f, "a", "");
        struct timespec ts[2] = {{.tv_sec = 100, .tv_nsec = 999999999}, {.tv_nsec = UTIME_OMIT}};
        struct stat before = look(f, "a");
        assert_int_equal(disk_utimens(f->disk, f->dir, "a", ts), 0);
        struct stat after = look(f, "a");
        assert_int_equal(after.st_atim.tv_sec, 100);
        assert_int_equal(after.st_atim.tv_nsec, 999999999);
        assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
        assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
        ts[0].tv_nsec = 1000000000;
        assert_int_equal(disk_utimens(f->disk, f->dir, "a", ts), -EINVAL);
        ts[0].tv_nsec = UTIME_OMIT;
        assert_int_equal(disk_utimens(f->disk, f->dir, "a", ts), 0);
        ts[1].tv_nsec = UTIME_NOW;
        assert_int_equal(disk_utimens(f->disk, f->dir, "a", ts), 0);
        assert_true(look(f, "a").st_mtim.tv_sec > 100);
        assert_int_equal(disk_symlink(f->disk, "a", f->dir, "l"), 0);
        ts[0] = ts[1] = (struct timespec){.tv_sec = 55};
        assert_int_equal(disk_utimens(f->disk, f->dir, "l", ts), 0);
        assert_int_equal(look(f, "l").st_mtim.tv_sec, 55);
        assert_true(look(f, "a").st_mtim.tv_sec > 100);
}

static void scenario_data(struct fixture *f)
{
        int fd = make_file(f, "a", "hello");
        char buf[16] = "";
        struct iovec two[2] = {{.iov_base = buf, .iov_len = 2}, {.iov_base = buf + 4, .iov_len = 10}};
        assert_int_equal(disk_preadv(f->disk, fd, two, 2, 1), 4);
        assert_memory_equal(buf, "el\0\0lo", 6);
        assert_int_equal(read_at(f, fd, buf, 1, 5), 0);
        assert_int_equal(read_at(f, fd, buf, 1, -1), -EINVAL);
        assert_int_equal(write_at(f, fd, "x", 1, -1), -EINVAL);
        assert_int_equal(disk_preadv(f->disk, fd, two, -1, 0), -EINVAL);
        assert_int_equal(write_at(f, fd, "x", 0, 100), 0);
        assert_int_equal(look(f, "a").st_size, 5);
        assert_int_equal(write_at(f, fd, "end", 3, 10), 3);
        assert_int_equal(read_at(f, fd, buf, 16, 0), 13);
        assert_memory_equal(buf, "hello\0\0\0\0\0end", 13);
        assert_int_equal(disk_ftruncate(f->disk, fd, 3), 0);
        assert_int_equal(disk_ftruncate(f->disk, fd, 6), 0);
        assert_int_equal(read_at(f, fd, buf, 16, 0), 6);
        assert_memory_equal(buf, "hel\0\0\0", 6);
        assert_int_equal(disk_ftruncate(f->disk, fd, -1), -EINVAL);
        assert_int_equal(disk_ftruncate(f->disk, fd, INT64_MAX), -EFBIG);
        assert_int_equal(disk_sync(f->disk, fd, false), 0);
        assert_int_equal(disk_sync(f->disk, fd, true), 0);
        assert_int_equal(disk_sync(f->disk, f->dir, false), 0);
        assert_int_equal(disk_close(f->disk, fd), 0);

        fd = disk_open(f->disk, f->dir, "a", O_WRONLY | O_APPEND, 0);
        assert_int_equal(write_at(f, fd, "++", 2, 0), 2);
        assert_int_equal(look(f, "a").st_size, 8);
        assert_int_equal(read_at(f, fd, buf, 1, 0), -EBADF);
        assert_int_equal(disk_close(f->disk, fd), 0);
        fd = disk_open(f->disk, f->dir, "a", O_RDONLY, 0);
        assert_int_equal(write_at(f, fd, "++", 2, 0), -EBADF);
        assert_int_equal(disk_ftruncate(f->disk, fd, 0), -EINVAL);
        assert_int_equal(disk_close(f->disk, fd), 0);
        assert_int_equal(read_at(f, f->dir, buf, 1, 0), -EISDIR);
        assert_int_equal(write_at(f, f->dir, buf, 1, 0), -EBADF);
        assert_int_equal(disk_truncate(f->disk, f->dir, "a", 1), 0);
        assert_int_equal(look(f, "a").st_size, 1);
        assert_int_equal(disk_truncate(f->disk, f->dir, "a", -1), -EINVAL);
        assert_int_equal(disk_truncate(f->disk, f->dir, "no", 1), -ENOENT);
}

static void scenario_sparse(struct fixture *f)
{
        int fd = make_file(f, "a", "");
        assert_int_equal(write_at(f, fd, "x", 1, 40960), 1);
        assert_int_equal(write_at(f, fd, "y", 1, 81920), 1);
        assert_int_equal(disk_ftruncate(f->disk, fd, 131072), 0);
        assert_int_equal(disk_lseek(f->disk, fd, 0, SEEK_DATA), 40960);
        assert_int_equal(disk_lseek(f->disk, fd, 40961, SEEK_DATA), 40961);
        assert_int_equal(disk_lseek(f->disk, fd, 40960, SEEK_HOLE), 45056);
        assert_int_equal(disk_lseek(f->disk, fd, 5, SEEK_HOLE), 5);
        assert_int_equal(disk_lseek(f->disk, fd, 45056, SEEK_DATA), 81920);
        assert_int_equal(disk_lseek(f->disk, fd, 86016, SEEK_DATA), -ENXIO);
        assert_int_equal(disk_lseek(f->disk, fd, 131072, SEEK_HOLE), -ENXIO);
        assert_int_equal(disk_lseek(f->disk, fd, 131071, SEEK_HOLE), 131071);
        assert_int_equal(disk_lseek(f->disk, fd, 100, SEEK_SET), 100);
        assert_int_equal(disk_lseek(f->disk, fd, -1, SEEK_CUR), 99);
        assert_int_equal(disk_lseek(f->disk, fd, -100, SEEK_CUR), -EINVAL);
        assert_int_equal(disk_lseek(f->disk, fd, 1, SEEK_END), 131073);
        assert_int_equal(disk_lseek(f->disk, fd, 1, 77), -EINVAL);

        int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        assert_int_equal(disk_fallocate(f->disk, fd, punch, 40960, 4096), 0);
        assert_int_equal(disk_lseek(f->disk, fd, 0, SEEK_DATA), 81920);
        assert_int_equal(disk_fallocate(f->disk, fd, punch, 81920, 1), 0);
        assert_int_equal(disk_lseek(f->disk, fd, 0, SEEK_DATA), 81920);
        char c = 'z';
        assert_int_equal(read_at(f, fd, &c, 1, 81920), 1);
        assert_int_equal(c, 0);
        assert_int_equal(disk_fallocate(f->disk, fd, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP);
        assert_int_equal(disk_fallocate(f->disk, fd, 0, 0, 0), -EINVAL);
        assert_int_equal(disk_fallocate(f->disk, fd, 0, -1, 1), -EINVAL);
        assert_int_equal(disk_fallocate(f->disk, fd, 0, INT64_MAX, 1), -EFBIG);
        assert_int_equal(disk_fallocate(f->disk, f->dir, 0, 0, 1), -EBADF);
        assert_int_equal(disk_fallocate(f->disk, fd, FALLOC_FL_KEEP_SIZE, 131072, 8192), 0);
        assert_int_equal(look(f, "a").st_size, 131072);
        assert_int_equal(disk_fallocate(f->disk, fd, FALLOC_FL_ZERO_RANGE, 131000, 80), 0);
        assert_int_equal(look(f, "a").st_size, 131080);
        assert_int_equal(disk_fallocate(f->disk, fd, 0, 0, 140000), 0);
        assert_int_equal(look(f, "a").st_size, 140000);
        assert_true(look(f, "a").st_blocks >= 140000 / 512);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

static void scenario_copy(struct fixture *f)
{
        int in = make_file(f, "in", "0123456789");
        int out = make_file(f, "out", "");
        char buf[16] = "";
        assert_int_equal(disk_copy(f->disk, in, 2, out, 3, 4), 4);
        assert_int_equal(read_at(f, out, buf, 16, 0), 7);
        assert_memory_equal(buf,
                            "\0\0\0"
                            "2345",
                            7);
        assert_int_equal(disk_copy(f->disk, in, 8, out, 0, 100), 2);
        assert_int_equal(disk_copy(f->disk, in, 10, out, 0, 100), 0);
        assert_int_equal(disk_copy(f->disk, in, 0, in, 2, 4), -EINVAL);
        assert_int_equal(disk_copy(f->disk, in, 0, in, 10, 10), 10);
        assert_int_equal(disk_copy(f->disk, in, 0, f->dir, 0, 1), -EISDIR);
        assert_int_equal(disk_copy(f->disk, in, 0, -1, 0, 1), -EBADF);
        assert_int_equal(disk_close(f->disk, in), 0);
        in = disk_open(f->disk, f->dir, "in", O_WRONLY, 0);
        assert_int_equal(disk_copy(f->disk, in, 0, out, 0, 1), -EBADF);
        assert_int_equal(disk_close(f->disk, in), 0);
        in = disk_open(f->disk, f->dir, "in", O_RDWR | O_APPEND, 0);
        assert_int_equal(disk_copy(f->disk, out, 0, in, 0, 1), -EBADF);
        assert_int_equal(disk_close(f->disk, in), 0);
        assert_int_equal(disk_close(f->disk, out), 0);
}

static void scenario_xattrs(struct fixture *f)
{
        make_closed(f, "a", "");
        assert_int_equal(disk_symlink(f->disk, "a", f->dir, "l"), 0);
        int fd = disk_open(f->disk, f->dir, "a", O_RDONLY, 0);
        char buf[64] = "";
        assert_int_equal(disk_getxattr(f->disk, f->dir, "a", "trusted.x", buf, sizeof buf), -ENODATA);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", "trusted.x", "abc", 3, XATTR_REPLACE), -ENODATA);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", "trusted.x", "abc", 3, XATTR_CREATE), 0);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "trusted.x", "abc", 3, XATTR_CREATE), -EEXIST);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "user.empty", NULL, 0, 0), 0);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "security.any", "s", 1, 0), 0);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "trusted.x", NULL, 0), 3);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "trusted.x", buf, 2), -ERANGE);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "trusted.x", buf, 3), 3);
        assert_memory_equal(buf, "abc", 3);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "user.empty", buf, 3), 0);
        assert_int_equal(disk_listxattr(f->disk, fd, "", NULL, 0), 34);
        assert_int_equal(disk_listxattr(f->disk, fd, "", buf, 33), -ERANGE);
        assert_int_equal(disk_listxattr(f->disk, f->dir, "a", buf, sizeof buf), 34);
        assert_int_equal(disk_removexattr(f->disk, f->dir, "a", "user.empty"), 0);
        assert_int_equal(disk_removexattr(f->disk, f->dir, "a", "user.empty"), -ENODATA);

        assert_int_equal(disk_setxattr(f->disk, fd, "", "trusted.x", "abc", 3, 64), -EINVAL);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "", "abc", 3, 0), -ERANGE);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "user.", "abc", 3, 0), -EINVAL);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "trusted.", "abc", 3, 0), -EINVAL);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "none.x", "abc", 3, 0), -EOPNOTSUPP);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "system.none", buf, 3), -EOPNOTSUPP);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "user.x", buf, 65537, 0), -E2BIG);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "no", "user.x", "1", 1, 0), -ENOENT);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "l", "user.x", "1", 1, 0), -EPERM);
        assert_int_equal(disk_getxattr(f->disk, f->dir, "l", "user.x", buf, 1), -ENODATA);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "l", "trusted.l", "1", 1, 0), 0);
        assert_int_equal(disk_getxattr(f->disk, f->dir, "a", "trusted.l", buf, 1), -ENODATA);
        char name[257];
        memset(name, 'n', sizeof name);
        memcpy(name, "user.", 5);
        name[256] = '\0';
        assert_int_equal(disk_setxattr(f->disk, fd, "", name, "1", 1, 0), -ERANGE);
        name[255] = '\0';
        assert_int_equal(disk_setxattr(f->disk, fd, "", name, "1", 1, 0), 0);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "", "trusted.d", "1", 1, 0), 0);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

/* user::rw- user:1:rwx group::r-- mask::rwx other::--- ; without the 2nd and 4th it is what a mode can say. */
static const uint8_t acl_full[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  7,
                                   0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                                   7, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
static const uint8_t acl_plain[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 4,   0,
                                    5, 0, 255, 255, 255, 255, 32, 0, 1,   0,   255, 255, 255, 255};
#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

static void scenario_acl(struct fixture *f)
{
        make_closed(f, "a", "");
        uint8_t buf[64];
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", ACL_ACCESS, acl_full, sizeof acl_full, 0), 0);
        assert_int_equal(look(f, "a").st_mode, S_IFREG | 0670);
        assert_int_equal(disk_getxattr(f->disk, f->dir, "a", ACL_ACCESS, buf, sizeof buf), sizeof acl_full);
        assert_memory_equal(buf, acl_full, sizeof acl_full);
        assert_int_equal(disk_listxattr(f->disk, f->dir, "a", NULL, 0), sizeof ACL_ACCESS);
        assert_int_equal(disk_chmod(f->disk, f->dir, "a", 0751), 0);
        assert_int_equal(disk_getxattr(f->disk, f->dir, "a", ACL_ACCESS, buf, sizeof buf), sizeof acl_full);
        assert_int_equal(buf[6], 7);  /* owner */
        assert_int_equal(buf[22], 4); /* group stays, the mask follows */
        assert_int_equal(buf[30], 5);
        assert_int_equal(buf[38], 1);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", ACL_ACCESS, acl_plain, sizeof acl_plain, 0), 0);
        assert_int_equal(look(f, "a").st_mode, S_IFREG | 0751);
        assert_int_equal(disk_getxattr(f->disk, f->dir, "a", ACL_ACCESS, buf, sizeof buf), -ENODATA);
        assert_int_equal(disk_removexattr(f->disk, f->dir, "a", ACL_ACCESS), 0);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", ACL_ACCESS, acl_plain, 20, 0), -EINVAL);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", ACL_ACCESS, acl_plain, 21, 0), -EINVAL);
        memcpy(buf, acl_plain, sizeof acl_plain);
        buf[0] = 3;
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", ACL_ACCESS, buf, sizeof acl_plain, 0), -EOPNOTSUPP);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "a", ACL_DEFAULT, acl_full, sizeof acl_full, 0), -EACCES);
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 0755), 0);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "d", ACL_DEFAULT, acl_full, sizeof acl_full, 0), 0);
        assert_int_equal(look(f, "d").st_mode, S_IFDIR | 0755);
        assert_int_equal(disk_symlink(f->disk, "a", f->dir, "l"), 0);
        assert_int_equal(disk_setxattr(f->disk, f->dir, "l", ACL_ACCESS, acl_full, sizeof acl_full, 0), -EOPNOTSUPP);
}

static void scenario_getdents(struct fixture *f)
{
        char name[16], names[8192] = "";
        for (int n = 0; n < 100; n++) {
                (void)snprintf(name, sizeof name, "f%d", n);
                make_closed(f, name, "");
        }
        int fd = disk_open(f->disk, f->dir, ".", O_RDONLY | O_DIRECTORY, 0);
        off_t off = 0;
        assert_int_equal(disk_getdents(f->disk, fd, names, 8), -EINVAL);
        while (read_names(f, fd, 256, names, sizeof names, &off) > 0) {
        }
        assert_true(has_name(names, ".") && has_name(names, ".."));
        for (int n = 0; n < 100; n++) {
                (void)snprintf(name, sizeof name, "f%d", n);
                assert_true(has_name(names, name));
        }
        assert_int_equal(strlen(names), 2 + 3 + 10 * 3 + 90 * 4);
        names[0] = '\0';
        assert_int_equal(disk_lseek(f->disk, fd, 0, SEEK_SET), 0);
        assert_true(read_names(f, fd, 8192, names, sizeof names, &off) > 0);
        assert_int_equal(strlen(names), 2 + 3 + 10 * 3 + 90 * 4);
        assert_int_equal(read_names(f, fd, 8192, names, sizeof names, &off), 0);
        assert_int_equal(disk_close(f->disk, fd), 0);
        make_closed(f, "x", "");
        fd = disk_open(f->disk, f->dir, "x", O_RDONLY, 0);
        assert_int_equal(disk_getdents(f->disk, fd, names, 8), -ENOTDIR);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

/* A position taken from one descriptor holds in another, after other names have come and gone. */
static void scenario_cookies(struct fixture *f)
{
        char name[16], first[8192] = "", rest[8192] = "";
        for (int n = 0; n < 60; n++) {
                (void)snprintf(name, sizeof name, "f%d", n);
                make_closed(f, name, "");
        }
        int fd = disk_open(f->disk, f->dir, ".", O_RDONLY | O_DIRECTORY, 0);
        off_t off = 0, last = 0;
        assert_true(read_names(f, fd, 600, first, sizeof first, &off) > 0);
        assert_int_equal(disk_close(f->disk, fd), 0);
        for (int n = 0; n < 60; n += 3) {
                (void)snprintf(name, sizeof name, "f%d", n);
                assert_int_equal(disk_unlink(f->disk, f->dir, name, 0), 0);
        }
        fd = disk_open(f->disk, f->dir, ".", O_RDONLY | O_DIRECTORY, 0);
        assert_int_equal(disk_lseek(f->disk, fd, off, SEEK_SET), off);
        while (read_names(f, fd, 600, rest, sizeof rest, &last) > 0) {
        }
        for (int n = 0; n < 60; n++) {
                (void)snprintf(name, sizeof name, "f%d", n);
                if (n % 3)
                        assert_int_equal(has_name(first, name) + has_name(rest, name), 1);
        }
        assert_int_equal(disk_close(f->disk, fd), 0);
}

static void scenario_link_limit(struct fixture *f)
{
        make_closed(f, "a", "");
        assert_int_equal(disk_mkdir(f->disk, f->dir, "d", 0755), 0);
        char name[16];
        for (int n = 1; n < 65000; n++) {
                (void)snprintf(name, sizeof name, "d/%d", n);
                if (disk_link(f->disk, f->dir, "a", f->dir, name) != 0)
                        fail_msg("link %d", n);
        }
        assert_int_equal(disk_link(f->disk, f->dir, "a", f->dir, "b"), -EMLINK);
        assert_int_equal(look(f, "a").st_nlink, 65000);
}

static void scenario_capability(struct fixture *f)
{
        static const uint8_t cap[20] = {0, 0, 0, 2, 1};
        int fd = make_file(f, "a", "text");
        char buf[32];
        assert_int_equal(disk_setxattr(f->disk, fd, "", "security.capability", cap, sizeof cap, 0), 0);
        assert_int_equal(write_at(f, fd, "x", 1, 0), 1);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "security.capability", buf, sizeof buf), -ENODATA);
        assert_int_equal(disk_setxattr(f->disk, fd, "", "security.capability", cap, sizeof cap, 0), 0);
        assert_int_equal(disk_chown(f->disk, f->dir, "a", 1, 1), 0);
        assert_int_equal(disk_getxattr(f->disk, fd, "", "security.capability", buf, sizeof buf), -ENODATA);
        assert_int_equal(disk_close(f->disk, fd), 0);
}

struct scenario {
        const char *name;
        void (*run)(struct fixture *f);
        bool sim_only; /* too many calls for a real disk */
};

static const struct scenario scenarios[] = {
        {"open", scenario_open},
        {"modes", scenario_modes},
        {"names", scenario_names},
        {"removed directory", scenario_removed_dir},
        {"links", scenario_links},
        {"nlink", scenario_nlink},
        {"symlinks", scenario_symlinks},
        {"symlink chain", scenario_symlink_chain},
        {"rename", scenario_rename},
        {"special files", scenario_special},
        {"O_PATH", scenario_o_path},
        {"times", scenario_times},
        {"data", scenario_data},
        {"sparse", scenario_sparse},
        {"copy", scenario_copy},
        {"xattrs", scenario_xattrs},
        {"acl", scenario_acl},
        {"getdents", scenario_getdents},
        {"cookies", scenario_cookies},
        {"link limit", scenario_link_limit, .sim_only = true},
        {"capability", scenario_capability},
};

static void run_sim(void **state)
{
        const struct scenario *s = *state;
        struct fixture f;
        fixture_sim(&f, 1);
        s->run(&f);
        fixture_done(&f);
}

static void run_posix(void **state)
{
        const struct scenario *s = *state;
        struct fixture f;
        bool usable = fixture_posix(&f);
        if (usable)
                s->run(&f);
        fixture_done(&f);
        if (!usable)
                skip();
}

int main(void)
{
        struct CMUnitTest tests[2 * ELEMENTSOF(scenarios)];
        char names[2 * ELEMENTSOF(scenarios)][64];
        size_t n = 0;
        for (size_t i = 0; i < ELEMENTSOF(scenarios); i++) {
                for (int sim = scenarios[i].sim_only; sim < 2; sim++) {
                        (void)snprintf(names[n], sizeof names[n], "%s: %s", sim ? "sim" : "posix", scenarios[i].name);
                        tests[n] = (struct CMUnitTest){.name = names[n],
                                                       .test_func = sim ? run_sim : run_posix,
                                                       .initial_state = (void *)(uintptr_t)&scenarios[i]};
                        n++;
                }
        }
        return _cmocka_run_group_tests("disk", tests, n, NULL, NULL);
}
