/* The POSIX tour: a fixed walk over the file-system calls an application makes, printed as a transcript.
 *
 *      tour DIRECTORY          DIRECTORY is empty and on the file system under test; run as root
 *
 * One line per call: label, result, errno name, and what the call was asked to show (stat fields, directory sets, bytes).
 * Only what must be equal on every conforming file system is printed: no inode or device numbers, no absolute times. The
 * transcripts of two file systems are compared line by line (tests/interop/compare.py).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static const char *section = "";

static const char *result(long r)
{
        static char text[64];
        if (r < 0)
                snprintf(text, sizeof text, "-1 %s", strerrorname_np(errno));
        else
                snprintf(text, sizeof text, "%ld", r);
        return text;
}

#define DO(label, call)                                                                                                \
        do {                                                                                                           \
                errno = 0;                                                                                             \
                long r_ = (long)(call);                                                                                \
                printf("%s: %s = %s\n", section, (label), result(r_));                                                 \
        } while (0)

/* 0 for success whatever number was returned: descriptors differ. */
#define OPEN(label, fd, call)                                                                                          \
        do {                                                                                                           \
                errno = 0;                                                                                             \
                (fd) = (call);                                                                                         \
                printf("%s: %s = %s\n", section, (label), result((fd) < 0 ? -1 : 0));                                  \
        } while (0)

static const char *type_of(mode_t m)
{
        switch (m & S_IFMT) {
        case S_IFREG: return "reg";
        case S_IFDIR: return "dir";
        case S_IFLNK: return "lnk";
        case S_IFIFO: return "fifo";
        case S_IFSOCK: return "sock";
        case S_IFCHR: return "chr";
        case S_IFBLK: return "blk";
        default: return "?";
        }
}

static void show(const char *path)
{
        struct stat st;
        errno = 0;
        if (lstat(path, &st) < 0) {
                printf("%s: lstat %s = %s\n", section, path, result(-1));
                return;
        }
        printf("%s: lstat %s = %s %04o %u:%u nlink %lu", section, path, type_of(st.st_mode), st.st_mode & 07777, st.st_uid,
               st.st_gid, (unsigned long)st.st_nlink);
        if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
                printf(" size %lld", (long long)st.st_size);
        if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
                printf(" rdev %u,%u", major(st.st_rdev), minor(st.st_rdev));
        printf("\n");
}

static int by_name(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name)
{
        return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void list(const char *path)
{
        DIR *d = opendir(path);
        char *names[4096];
        size_t n = 0;
        if (!d) {
                printf("%s: list %s = %s\n", section, path, result(-1));
                return;
        }
        for (struct dirent *e; (e = readdir(d)) && n < 4096;) {
                char line[300];
                struct stat st;
                bool ok = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
                bool same = ok && (e->d_type == DT_UNKNOWN || e->d_type == IFTODT(st.st_mode)) &&
                            (is_dots(e->d_name) || e->d_ino == st.st_ino);
                snprintf(line, sizeof line, "%s%s", e->d_name, !ok ? "(gone)" : same ? "" : "(d_type or d_ino differs)");
                names[n++] = strdup(line);
        }
        closedir(d);
        qsort(names, n, sizeof names[0], by_name);
        printf("%s: list %s =", section, path);
        for (size_t i = 0; i < n; i++) {
                printf(" %s", names[i]);
                free(names[i]);
        }
        printf("\n");
}

static void put(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
                printf("%s: put %s = %s\n", section, path, result(-1));
        if (fd >= 0)
                close(fd);
}

static void contents(const char *path)
{
        unsigned char buf[65536];
        int fd = open(path, O_RDONLY);
        if (fd < 0) {
                printf("%s: contents %s = %s\n", section, path, result(-1));
                return;
        }
        uint32_t hash = 2166136261u;
        long long total = 0;
        ssize_t n;
        unsigned char first[32];
        size_t first_len = 0;
        while ((n = read(fd, buf, sizeof buf)) > 0) {
                for (ssize_t i = 0; i < n; i++) {
                        hash = (hash ^ buf[i]) * 16777619u;
                        if (first_len < sizeof first)
                                first[first_len++] = buf[i];
                }
                total += n;
        }
        printf("%s: contents %s = %lld bytes hash %08x \"", section, path, total, hash);
        for (size_t i = 0; i < first_len; i++)
                printf(first[i] >= 32 && first[i] < 127 ? "%c" : "\\%02x", first[i]);
        printf("\"%s\n", n < 0 ? " then an error" : "");
        close(fd);
}

static void xattrs(const char *path)
{
        char names[8192], *sorted[256];
        ssize_t n = llistxattr(path, names, sizeof names);
        size_t count = 0;
        for (char *p = names; n > 0 && p < names + n && count < 256; p += strlen(p) + 1)
                if (strncmp(p, "user.", 5) == 0 || strncmp(p, "system.posix_acl", 16) == 0)
                        sorted[count++] = p;
        qsort(sorted, count, sizeof sorted[0], by_name);
        printf("%s: xattrs %s =", section, path);
        if (n < 0)
                printf(" %s", result(-1));
        for (size_t i = 0; i < count; i++) {
                unsigned char v[4096];
                ssize_t len = lgetxattr(path, sorted[i], v, sizeof v);
                printf(" %s=", sorted[i]);
                for (ssize_t k = 0; k < len && k < 64; k++)
                        printf("%02x", v[k]);
        }
        printf("\n");
}

/* Runs fn as UID:GID with GROUPS and prints in its name. */
static void as_user(uid_t uid, gid_t gid, const gid_t *groups, size_t n, void (*fn)(void))
{
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
                if (setgroups(n, groups) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                        _exit(1);
                fn();
                fflush(stdout);
                _exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        if (status != 0)
                printf("%s: child ended with status %d\n", section, status);
}

static void tour_create(void)
{
        section = "create";
        int fd;
        OPEN("open O_CREAT|O_EXCL", fd, open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
        close(fd);
        OPEN("open O_CREAT|O_EXCL of an existing file", fd, open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
        OPEN("open O_CREAT of an existing file", fd, open("a", O_RDWR | O_CREAT, 0600));
        close(fd);
        show("a");
        umask(027);
        OPEN("open O_CREAT with umask 027", fd, open("b", O_WRONLY | O_CREAT, 0666));
        close(fd);
        DO("mkdir with umask 027", mkdir("c", 0777));
        umask(0);
        show("b");
        show("c");
        OPEN("open of a missing file", fd, open("missing", O_RDONLY));
        OPEN("open below a file", fd, open("a/b", O_RDONLY));
        OPEN("open O_CREAT in a missing directory", fd, open("nodir/x", O_WRONLY | O_CREAT, 0644));
        OPEN("open a directory for writing", fd, open("c", O_WRONLY));
        OPEN("open O_DIRECTORY of a file", fd, open("a", O_RDONLY | O_DIRECTORY));
        OPEN("open O_CREAT of a directory", fd, open("c", O_RDWR | O_CREAT, 0644));
        char name[300];
        memset(name, 'n', sizeof name);
        name[255] = 0;
        OPEN("name of 255 bytes", fd, open(name, O_WRONLY | O_CREAT, 0644));
        close(fd);
        DO("unlink of 255 bytes", unlink(name));
        name[255] = 'n', name[256] = 0;
        OPEN("name of 256 bytes", fd, open(name, O_WRONLY | O_CREAT, 0644));
        OPEN("name with odd bytes", fd, open("n\xc3\xa4\xff \n\t*?\\\"'", O_WRONLY | O_CREAT, 0644));
        close(fd);
        DO("unlink of odd bytes", unlink("n\xc3\xa4\xff \n\t*?\\\"'"));
        put("t", "0123456789");
        OPEN("open O_TRUNC", fd, open("t", O_WRONLY | O_TRUNC));
        close(fd);
        show("t");
        umask(0);
        DO("mknod fifo", mknod("fifo", S_IFIFO | 0600, 0));
        DO("mknod socket", mknod("sock", S_IFSOCK | 0600, 0));
        DO("mknod char 1,3", mknod("chr", S_IFCHR | 0600, makedev(1, 3)));
        DO("mknod block 7,200", mknod("blk", S_IFBLK | 0600, makedev(7, 200)));
        DO("mknod reg", mknod("reg", S_IFREG | 0600, 0));
        DO("mknod over a file", mknod("reg", S_IFREG | 0600, 0));
        show("fifo");
        show("sock");
        show("chr");
        show("blk");
        show("reg");
        list(".");
}

static void tour_dirs(void)
{
        section = "dirs";
        DO("mkdir", mkdir("d", 0755));
        DO("mkdir again", mkdir("d", 0755));
        DO("mkdir in a missing directory", mkdir("no/d", 0755));
        DO("mkdir sticky setgid", mkdir("sg", 03777));
        DO("chmod setgid", chmod("sg", 02775));
        DO("chown group", chown("sg", 0, 1234));
        DO("mkdir below setgid", mkdir("sg/sub", 0755));
        show("sg/sub");
        put("sg/file", "x");
        show("sg/file");
        DO("mkdir d/e", mkdir("d/e", 0755));
        show("d");
        DO("rmdir of a full one", rmdir("d"));
        DO("rmdir of a file", rmdir("sg/file"));
        DO("rmdir missing", rmdir("nothing"));
        DO("unlink of a directory", unlink("d"));
        DO("rmdir .", rmdir("d/."));
        DO("rmdir ..", rmdir("d/e/.."));
        DO("rmdir d/e", rmdir("d/e"));
        show("d");
        DO("rmdir d", rmdir("d"));
        show("d");
        char path[2000] = "deep";
        DO("mkdir deep", mkdir("deep", 0755));
        for (int i = 0; i < 60; i++) {
                strncat(path, "/x", sizeof path - strlen(path) - 1);
                if (mkdir(path, 0755) < 0)
                        DO("mkdir below", -1);
        }
        show(path);
        for (int i = 0; i < 60; i++) {
                rmdir(path);
                *strrchr(path, '/') = 0;
        }
        DO("rmdir deep", rmdir("deep"));
        list(".");
}

static void rename_case(const char *what, bool src_dir, bool dst_exists, bool dst_dir, bool dst_full)
{
        char label[128];
        src_dir ? mkdir("src", 0755) : put("src", "source");
        if (dst_exists)
                dst_dir ? mkdir("dst", 0755) : put("dst", "target");
        if (dst_full)
                put("dst/inside", "x");
        snprintf(label, sizeof label, "rename %s", what);
        DO(label, rename("src", "dst"));
        show("src");
        show("dst");
        unlink("dst/inside");
        unlink("src"), rmdir("src"), unlink("dst"), rmdir("dst");
}

static void tour_rename(void)
{
        section = "rename";
        rename_case("file to new", false, false, false, false);
        rename_case("file over file", false, true, false, false);
        rename_case("file over directory", false, true, true, false);
        rename_case("directory to new", true, false, false, false);
        rename_case("directory over file", true, true, false, false);
        rename_case("directory over empty directory", true, true, true, false);
        rename_case("directory over full directory", true, true, true, true);
        DO("rename missing", rename("nothing", "x"));
        mkdir("p", 0755), mkdir("p/q", 0755), mkdir("r", 0755);
        DO("rename into itself", rename("p", "p/q/p"));
        DO("rename to other directory", rename("p/q", "r/q2"));
        list("p");
        list("r");
        put("f", "one"), link("f", "g");
        DO("rename onto a hard link of itself", rename("f", "g"));
        show("f");
        DO("rename onto itself", rename("f", "f"));
        show("f");
        DO("rename over one name of two", rename("r/q2", "f"));
        put("h", "hh");
        DO("rename h over f", rename("h", "f"));
        show("f");
        show("g");
        contents("g");
        int fd = open("g", O_RDWR);
        put("k", "new");
        DO("rename over an open file", rename("k", "g"));
        char buf[8] = "";
        DO("read of the replaced file", pread(fd, buf, sizeof buf, 0));
        printf("%s: its bytes = %.8s\n", section, buf);
        close(fd);
        contents("g");
        DO("renameat2 NOREPLACE existing", renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_NOREPLACE));
        symlink("f", "l");
        DO("rename a symlink", rename("l", "m"));
        show("m");
        mkdir("p/deep", 0755), mkdir("p/deep/er", 0755), put("p/deep/er/file", "deep");
        DO("rename a tree", rename("p/deep", "r/deep"));
        contents("r/deep/er/file");
        list("r");
}

static void tour_links(void)
{
        section = "links";
        put("f", "linked");
        DO("link", link("f", "f2"));
        DO("link again", link("f", "f2"));
        DO("link missing", link("nothing", "f3"));
        mkdir("d", 0755);
        DO("link a directory", link("d", "d2"));
        show("f");
        struct stat a, b;
        stat("f", &a), stat("f2", &b);
        printf("%s: same inode = %d\n", section, a.st_ino == b.st_ino);
        put("f2", "changed");
        contents("f");
        DO("unlink one", unlink("f"));
        show("f2");
        DO("symlink", symlink("f2", "s"));
        DO("symlink again", symlink("f2", "s"));
        DO("dangling symlink", symlink("/nonexistent/target", "dangling"));
        char long_target[4000];
        memset(long_target, 'a', sizeof long_target);
        long_target[1000] = 0;
        DO("symlink of 1000 bytes", symlink(long_target, "longlink"));
        char buf[4096];
        DO("readlink", readlink("s", buf, sizeof buf));
        DO("readlink short buffer", readlink("longlink", buf, 10));
        DO("readlink of 1000", readlink("longlink", buf, sizeof buf));
        DO("readlink of a file", readlink("f2", buf, sizeof buf));
        show("s");
        contents("s");
        int fd;
        OPEN("open a dangling symlink", fd, open("dangling", O_RDONLY));
        OPEN("open O_NOFOLLOW", fd, open("s", O_RDONLY | O_NOFOLLOW));
        DO("link a symlink", link("s", "s2"));
        show("s2");
        DO("lchown of a symlink", lchown("s", 5, 6));
        show("s");
        symlink("loop2", "loop1"), symlink("loop1", "loop2");
        OPEN("open a loop", fd, open("loop1", O_RDONLY));
        for (int i = 0; i < 50; i++) {
                char name[32];
                snprintf(name, sizeof name, "many%02d", i);
                if (link("f2", name) < 0)
                        DO("link many", -1);
        }
        show("f2");
        list(".");
}

static void tour_attributes(void)
{
        section = "attributes";
        put("f", "attributes");
        DO("chmod 4755", chmod("f", 04755));
        show("f");
        DO("chown 1000:1000", chown("f", 1000, 1000));
        show("f");
        DO("chmod 2775 after chown", chmod("f", 02775));
        DO("chown -1", chown("f", (uid_t)-1, (gid_t)-1));
        show("f");
        DO("chown uid only", chown("f", 0, (gid_t)-1));
        show("f");
        DO("chmod missing", chmod("nothing", 0644));
        struct timespec ts[2] = {{.tv_sec = 981173106, .tv_nsec = 123456789}, {.tv_sec = 1000000000, .tv_nsec = 5}};
        DO("utimensat", utimensat(AT_FDCWD, "f", ts, 0));
        struct stat st;
        stat("f", &st);
        printf("%s: times = %lld.%09ld %lld.%09ld\n", section, (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        struct timespec omit[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1100000000, .tv_nsec = 7}};
        DO("utimensat OMIT", utimensat(AT_FDCWD, "f", omit, 0));
        stat("f", &st);
        printf("%s: times = %lld.%09ld %lld.%09ld\n", section, (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        DO("utimensat now", utimensat(AT_FDCWD, "f", NULL, 0));
        stat("f", &st);
        time_t now = time(NULL);
        printf("%s: mtime is now = %d\n", section, llabs((long long)(st.st_mtim.tv_sec - now)) <= 5);
        symlink("f", "l");
        DO("utimensat of a symlink", utimensat(AT_FDCWD, "l", ts, AT_SYMLINK_NOFOLLOW));
        lstat("l", &st);
        printf("%s: link mtime = %lld\n", section, (long long)st.st_mtim.tv_sec);
        struct timespec before[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
        mkdir("d", 0755);
        utimensat(AT_FDCWD, "d", before, 0);
        put("d/x", "x");
        stat("d", &st);
        printf("%s: creating updates the parent's mtime = %d\n", section, st.st_mtim.tv_sec > 1);
        utimensat(AT_FDCWD, "d", before, 0);
        unlink("d/x");
        stat("d", &st);
        printf("%s: unlinking updates the parent's mtime = %d\n", section, st.st_mtim.tv_sec > 1);
        utimensat(AT_FDCWD, "f", before, 0);
        int fd = open("f", O_WRONLY | O_APPEND);
        DO("append", write(fd, "more", 4));
        close(fd);
        stat("f", &st);
        printf("%s: writing updates mtime = %d\n", section, st.st_mtim.tv_sec > 1);
        DO("access F_OK", access("f", F_OK));
        DO("access missing", access("nothing", F_OK));
        struct statvfs sv;
        DO("statvfs", statvfs(".", &sv));
        printf("%s: namemax = %lu\n", section, sv.f_namemax);
}

static void tour_data(void)
{
        section = "data";
        char page[4096], buf[16384];
        memset(page, 'p', sizeof page);
        int fd;
        OPEN("open", fd, open("f", O_RDWR | O_CREAT | O_TRUNC, 0644));
        DO("write", write(fd, "hello", 5));
        DO("pwrite beyond the end", pwrite(fd, "end", 3, 100000));
        DO("fsync", fsync(fd));
        DO("fdatasync", fdatasync(fd));
        show("f");
        contents("f");
        DO("pread over the end", pread(fd, buf, sizeof buf, 99999));
        DO("pread past the end", pread(fd, buf, sizeof buf, 200000));
        DO("ftruncate shorter", ftruncate(fd, 3));
        contents("f");
        DO("ftruncate longer", ftruncate(fd, 5000));
        contents("f");
        DO("truncate", truncate("f", 10));
        DO("truncate a directory", truncate(".", 10));
        DO("truncate missing", truncate("nothing", 10));
        show("f");
        DO("ftruncate negative", ftruncate(fd, -1));
        DO("write of 4096 at odd offset", pwrite(fd, page, sizeof page, 4095));
        contents("f");
        close(fd);
        DO("write to a closed descriptor", write(fd, "x", 1));
        OPEN("open read-only", fd, open("f", O_RDONLY));
        DO("write read-only", write(fd, "x", 1));
        DO("ftruncate read-only", ftruncate(fd, 0));
        close(fd);
        OPEN("open write-only", fd, open("f", O_WRONLY));
        DO("read write-only", read(fd, buf, 1));
        close(fd);
        OPEN("open O_APPEND", fd, open("ap", O_RDWR | O_CREAT | O_APPEND, 0644));
        DO("append 1", write(fd, "one", 3));
        DO("seek to 0", lseek(fd, 0, SEEK_SET));
        DO("append 2", write(fd, "two", 3));
        contents("ap");
        int fd2 = open("ap", O_WRONLY | O_APPEND);
        DO("append by another descriptor", write(fd2, "three", 5));
        DO("append 3", write(fd, "four", 4));
        contents("ap");
        close(fd), close(fd2);
        fd = open("vec", O_RDWR | O_CREAT, 0644);
        struct iovec iov[3] = {{(char *)"ab", 2}, {(char *)"cde", 3}, {(char *)"fghi", 4}};
        DO("writev", writev(fd, iov, 3));
        contents("vec");
        DO("read at 0", pread(fd, buf, 4, 0));
        close(fd);
        OPEN("open O_SYNC", fd, open("sync", O_WRONLY | O_CREAT | O_SYNC, 0644));
        DO("write O_SYNC", write(fd, page, sizeof page));
        close(fd);
        void *aligned = NULL;
        if (posix_memalign(&aligned, 4096, 8192) == 0) {
                memset(aligned, 'd', 8192);
                OPEN("open O_DIRECT", fd, open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644));
                DO("write O_DIRECT", pwrite(fd, aligned, 8192, 4096));
                DO("read O_DIRECT", pread(fd, aligned, 8192, 8192));
                close(fd);
                contents("direct");
                free(aligned);
        }
}

static void tour_space(void)
{
        section = "space";
        struct stat st;
        int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);
        DO("fallocate", fallocate(fd, 0, 0, 65536));
        show("f");
        DO("fallocate keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 131072));
        show("f");
        char block[65536];
        memset(block, 'b', sizeof block);
        DO("fill", pwrite(fd, block, sizeof block, 0));
        DO("punch hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384));
        contents("f");
        DO("zero range", fallocate(fd, FALLOC_FL_ZERO_RANGE, 40960, 4096));
        contents("f");
        DO("collapse range", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
        DO("fallocate negative", fallocate(fd, 0, -1, 10));
        DO("fallocate length 0", fallocate(fd, 0, 0, 0));
        fsync(fd);
        fstat(fd, &st);
        printf("%s: blocks never exceed the size = %d\n", section, st.st_blocks <= (st.st_size + 511) / 512);
        close(fd);
        fd = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0644);
        pwrite(fd, block, 65536, 1 << 20);
        ftruncate(fd, 4 << 20);
        fsync(fd);
        DO("seek data from 0", lseek(fd, 0, SEEK_DATA));
        DO("seek hole from data", lseek(fd, 1 << 20, SEEK_HOLE));
        DO("seek hole from 0", lseek(fd, 0, SEEK_HOLE));
        DO("seek data behind all data", lseek(fd, 2 << 20, SEEK_DATA));
        DO("seek past the end", lseek(fd, 8 << 20, SEEK_DATA));
        DO("seek end", lseek(fd, 0, SEEK_END));
        int out = open("copy", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        loff_t from = 1 << 20, to = 10;
        DO("copy_file_range", copy_file_range(fd, &from, out, &to, 1000, 0));
        close(out);
        contents("copy");
        close(fd);
}

static void tour_mmap(void)
{
        section = "mmap";
        int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);
        DO("ftruncate", ftruncate(fd, 16384));
        char *m = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        printf("%s: mmap = %s\n", section, m == MAP_FAILED ? result(-1) : "ok");
        if (m != MAP_FAILED) {
                memcpy(m + 5000, "through the map", 15);
                m[16383] = 'z';
                DO("msync", msync(m, 16384, MS_SYNC));
                DO("munmap", munmap(m, 16384));
        }
        contents("f");
        char buf[16] = "";
        DO("pread", pread(fd, buf, 15, 5000));
        printf("%s: bytes = %s\n", section, buf);
        m = mmap(NULL, 16384, PROT_READ, MAP_PRIVATE, fd, 0);
        printf("%s: private map reads %c\n", section, m == MAP_FAILED ? '!' : m[16383]);
        munmap(m, 16384);
        close(fd);
}

static void tour_unlinked(void)
{
        section = "unlinked";
        char buf[64] = "";
        int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);
        DO("write", write(fd, "still here", 10));
        DO("unlink", unlink("f"));
        show("f");
        DO("read after unlink", pread(fd, buf, sizeof buf, 0));
        printf("%s: bytes = %s\n", section, buf);
        DO("write after unlink", pwrite(fd, "and more", 8, 10));
        DO("ftruncate after unlink", ftruncate(fd, 12));
        struct stat st;
        DO("fstat after unlink", fstat(fd, &st));
        printf("%s: size %lld nlink %lu\n", section, (long long)st.st_size, (unsigned long)st.st_nlink);
        DO("fchmod after unlink", fchmod(fd, 0600));
        DO("fsync after unlink", fsync(fd));
        put("f", "a new one");
        contents("f");
        DO("read of the old", pread(fd, buf, sizeof buf, 0));
        close(fd);
        contents("f");
        mkdir("d", 0755);
        int dfd = open("d", O_RDONLY | O_DIRECTORY);
        rmdir("d");
        int x;
        OPEN("create in a removed directory", x, openat(dfd, "x", O_WRONLY | O_CREAT, 0644));
        close(dfd);
        list(".");
}

static void tour_xattr(void)
{
        section = "xattr";
        char v[70000], big[70000];
        memset(big, 'v', sizeof big);
        put("f", "x");
        mkdir("d", 0755);
        DO("set", setxattr("f", "user.one", "1", 1, 0));
        DO("set binary", setxattr("f", "user.bin", "\0\1\2\xff", 4, 0));
        DO("set empty", setxattr("f", "user.empty", "", 0, 0));
        DO("create existing", setxattr("f", "user.one", "2", 1, XATTR_CREATE));
        DO("replace missing", setxattr("f", "user.two", "2", 1, XATTR_REPLACE));
        DO("replace", setxattr("f", "user.one", "two", 3, XATTR_REPLACE));
        xattrs("f");
        DO("get", getxattr("f", "user.one", v, sizeof v));
        DO("get size", getxattr("f", "user.one", v, 0));
        DO("get short", getxattr("f", "user.one", v, 1));
        DO("get missing", getxattr("f", "user.none", v, sizeof v));
        DO("remove", removexattr("f", "user.bin"));
        DO("remove missing", removexattr("f", "user.bin"));
        DO("no namespace", setxattr("f", "nonamespace", "1", 1, 0));
        DO("set 2000 bytes", setxattr("f", "user.big", big, 2000, 0));
        DO("get 2000 bytes", getxattr("f", "user.big", v, sizeof v));
        DO("on a directory", setxattr("d", "user.dir", "d", 1, 0));
        xattrs("d");
        int fd = open("f", O_RDWR);
        DO("fsetxattr", fsetxattr(fd, "user.fd", "fd", 2, 0));
        DO("fgetxattr", fgetxattr(fd, "user.fd", v, sizeof v));
        DO("fremovexattr", fremovexattr(fd, "user.fd"));
        close(fd);
        xattrs("f");
        put("f", "rewritten");
        xattrs("f");
        rename("f", "g");
        xattrs("g");
        char name[300] = "user.";
        memset(name + 5, 'n', 250);
        name[255] = 0;
        DO("name of 255", setxattr("g", name, "1", 1, 0));
        DO("remove name of 255", removexattr("g", name));
}

struct acl_entry {
        uint16_t tag, perm;
        uint32_t id;
};
struct acl {
        uint32_t version;
        struct acl_entry e[6];
};

static void acl_reader(void)
{
        int fd;
        OPEN("uid 1000 reads through the ACL", fd, open("f", O_RDONLY));
        OPEN("uid 1000 writes through the ACL", fd, open("f", O_WRONLY));
        OPEN("uid 1000 creates in d", fd, open("d/by1000", O_WRONLY | O_CREAT, 0666));
}

static void acl_stranger(void)
{
        int fd;
        OPEN("uid 2000 reads", fd, open("f", O_RDONLY));
        DO("uid 2000 chmods", chmod("f", 0777));
}

static void tour_acl(void)
{
        section = "acl";
        put("f", "acl");
        chmod("f", 0600);
        struct acl a = {2, {{1, 6, ~0u}, {2, 4, 1000}, {4, 0, ~0u}, {0x10, 6, ~0u}, {0x20, 0, ~0u}}};
        DO("set access ACL", setxattr("f", "system.posix_acl_access", &a, 4 + 5 * 8, 0));
        show("f");
        xattrs("f");
        as_user(1000, 1000, NULL, 0, acl_reader);
        as_user(2000, 2000, NULL, 0, acl_stranger);
        DO("chmod 0640 changes the mask", chmod("f", 0640));
        show("f");
        xattrs("f");
        mkdir("d", 0755);
        struct acl def = {2, {{1, 7, ~0u}, {2, 7, 1000}, {4, 5, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}}};
        DO("set default ACL", setxattr("d", "system.posix_acl_default", &def, 4 + 5 * 8, 0));
        DO("set access ACL of d", setxattr("d", "system.posix_acl_access", &def, 4 + 5 * 8, 0));
        xattrs("d");
        umask(022);
        put("d/file", "inherits");
        mkdir("d/sub", 0777);
        umask(0);
        show("d/file");
        xattrs("d/file");
        show("d/sub");
        xattrs("d/sub");
        as_user(1000, 1000, NULL, 0, acl_reader);
        show("d/by1000");
        DO("default ACL on a file", setxattr("f", "system.posix_acl_default", &def, 4 + 5 * 8, 0));
        DO("remove access ACL", removexattr("f", "system.posix_acl_access"));
        show("f");
        struct acl bad = {2, {{1, 6, ~0u}}};
        DO("incomplete ACL", setxattr("f", "system.posix_acl_access", &bad, 4 + 8, 0));
}

static void perm_user(void)
{
        int fd;
        OPEN("open 0600 of root", fd, open("secret", O_RDONLY));
        OPEN("open 0644 of root", fd, open("public", O_RDONLY));
        OPEN("write 0644 of root", fd, open("public", O_WRONLY));
        DO("unlink in 0755", unlink("public"));
        OPEN("create in 0755", fd, open("new", O_WRONLY | O_CREAT, 0644));
        OPEN("create in 0777", fd, open("open/new", O_WRONLY | O_CREAT, 0644));
        DO("unlink of another's in sticky", unlink("sticky/root"));
        DO("rename of another's in sticky", rename("sticky/root", "sticky/mine"));
        OPEN("create in sticky", fd, open("sticky/own", O_WRONLY | O_CREAT, 0644));
        DO("unlink own in sticky", unlink("sticky/own"));
        DO("chmod of root's", chmod("public", 0777));
        DO("chown of own", chown("open/new", 0, 0));
        DO("chgrp of own to foreign group", chown("open/new", (uid_t)-1, 77));
        DO("chgrp of own to supplementary group", chown("open/new", (uid_t)-1, 590));
        DO("chmod of own with setgid", chmod("open/new", 02755));
        show("open/new");
        DO("stat in 0700", access("private/x", F_OK));
        OPEN("read group file", fd, open("group", O_RDONLY));
        OPEN("write group file", fd, open("group", O_WRONLY));
        DO("access W_OK", access("public", W_OK));
        DO("access R_OK", access("public", R_OK));
        DO("setxattr on root's", setxattr("public", "user.x", "1", 1, 0));
        DO("utimes now on root's", utimensat(AT_FDCWD, "public", NULL, 0));
        DO("truncate root's", truncate("public", 0));
        DO("link of root's", link("public", "open/link"));
        DO("mkdir in setgid", mkdir("sgid/sub", 0755));
        show("sgid/sub");
}

static void suid_writer(void)
{
        int fd;
        OPEN("open setuid file", fd, open("suid", O_WRONLY));
        DO("write setuid file", write(fd, "x", 1));
        close(fd);
}

static void tour_permissions(void)
{
        section = "permissions";
        umask(0);
        put("secret", "s"), chmod("secret", 0600);
        put("public", "p"), chmod("public", 0644);
        mkdir("open", 0777);
        mkdir("sticky", 01777), chmod("sticky", 01777);
        put("sticky/root", "r");
        mkdir("private", 0700), put("private/x", "x");
        put("group", "g"), chown("group", 0, 590), chmod("group", 0660);
        mkdir("sgid", 02777), chown("sgid", 0, 590), chmod("sgid", 02777);
        gid_t groups[] = {592, 590};
        as_user(592, 592, groups, 2, perm_user);
        unlink("open/new"), unlink("open/link"), rmdir("sgid/sub");
        printf("%s: without the group\n", section);
        gid_t none[] = {1001};
        as_user(1001, 1001, none, 1, perm_user);
        put("suid", "program");
        chmod("suid", 06777);
        show("suid");
        as_user(1001, 1001, none, 1, suid_writer);
        show("suid");
}

static void tour_locks(void)
{
        section = "locks";
        put("f", "locks");
        int fd = open("f", O_RDWR), other = open("f", O_RDWR);
        struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
        DO("F_SETLK", fcntl(fd, F_SETLK, &fl));
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
                struct flock q = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
                DO("child F_GETLK", fcntl(fd, F_GETLK, &q));
                printf("%s: conflict %d %lld+%lld\n", section, q.l_type, (long long)q.l_start, (long long)q.l_len);
                q = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1};
                DO("child F_SETLK", fcntl(fd, F_SETLK, &q));
                q.l_start = 30;
                DO("child F_SETLK behind", fcntl(fd, F_SETLK, &q));
                fflush(stdout);
                _exit(0);
        }
        waitpid(pid, NULL, 0);
        fl.l_type = F_UNLCK;
        DO("F_UNLCK", fcntl(fd, F_SETLK, &fl));
        DO("flock EX", flock(fd, LOCK_EX | LOCK_NB));
        DO("flock EX by another descriptor", flock(other, LOCK_EX | LOCK_NB));
        DO("flock UN", flock(fd, LOCK_UN));
        DO("flock SH by another descriptor", flock(other, LOCK_SH | LOCK_NB));
        close(fd), close(other);
}

static void tour_many(void)
{
        section = "many";
        mkdir("m", 0755);
        char name[64];
        for (int i = 0; i < 1500; i++) {
                snprintf(name, sizeof name, "m/file-number-%04d", i);
                int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
                if (fd < 0)
                        DO("create", -1);
                close(fd);
        }
        for (int i = 0; i < 1500; i += 3) {
                snprintf(name, sizeof name, "m/file-number-%04d", i);
                unlink(name);
        }
        DIR *d = opendir("m");
        unsigned n = 0, sum = 0;
        for (struct dirent *e; (e = readdir(d));)
                if (e->d_name[0] == 'f')
                        n++, sum += (unsigned)strtoul(e->d_name + 12, NULL, 10);
        printf("%s: %u entries, sum %u\n", section, n, sum);
        rewinddir(d);
        unsigned again = 0;
        for (struct dirent *e; (e = readdir(d));)
                again += e->d_name[0] == 'f';
        printf("%s: %u entries after rewinddir\n", section, again);
        rewinddir(d);
        for (int i = 0; i < 300; i++)
                (void)readdir(d);
        long at = telldir(d);
        struct dirent *e = readdir(d);
        char expected[256] = "";
        if (e)
                snprintf(expected, sizeof expected, "%s", e->d_name);
        seekdir(d, at);
        e = readdir(d);
        printf("%s: seekdir comes back to the same entry = %d\n", section, e && strcmp(e->d_name, expected) == 0);
        closedir(d);
}

static void in_directory(const char *name, void (*fn)(void))
{
        umask(0);
        if (mkdir(name, 0755) < 0 || chdir(name) < 0) {
                printf("%s: cannot enter: %s\n", name, result(-1));
                return;
        }
        fn();
        if (chdir("..") < 0)
                printf("%s: cannot leave: %s\n", name, result(-1));
}

int main(int argc, char **argv)
{
        if (argc != 2 || chdir(argv[1]) < 0) {
                fprintf(stderr, "usage: tour DIRECTORY\n");
                return 2;
        }
        in_directory("create", tour_create);
        in_directory("dirs", tour_dirs);
        in_directory("rename", tour_rename);
        in_directory("links", tour_links);
        in_directory("attributes", tour_attributes);
        in_directory("data", tour_data);
        in_directory("space", tour_space);
        in_directory("mmap", tour_mmap);
        in_directory("unlinked", tour_unlinked);
        in_directory("xattr", tour_xattr);
        in_directory("acl", tour_acl);
        in_directory("permissions", tour_permissions);
        in_directory("locks", tour_locks);
        in_directory("many", tour_many);
        return 0;
}
