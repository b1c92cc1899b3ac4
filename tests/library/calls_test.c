/* The library's calls on the simulated world: paths, names, files, locks, users, as the public functions would have
 * them done on the volume's thread. */
#include "../volume/world.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include "library/client.h"

static const struct identity root = {0};

struct ctx {
        struct client client;
        struct fibre *self;
};

/* One call. */
#define DO_AS(c, who, operation, ...)                                                                                  \
        ({                                                                                                             \
                struct job job_ = {.op = (operation), .client = &(c)->client, .identity = (who), __VA_ARGS__};         \
                job_perform((c)->self, &job_);                                                                         \
                job_.result;                                                                                           \
        })
#define DO(c, ...) DO_AS(c, &root, __VA_ARGS__)

static void begin(struct fibre *self, struct world_client *w, struct ctx *c)
{
        struct error err = {0};
        *c = (struct ctx){.self = self, .client = {.loop = volume_loop(w->volume), .volume = w->volume}};
        assert_int_equal(client_open(self, &c->client, &err), 0);
}

static void end(struct ctx *c)
{
        client_close(&c->client);
}

static void run(enum world_layout layout, world_fn fn)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = layout, .seed = 11});
        world_run(&w, 0, fn, NULL);
        world_close(&w);
}

static void on_layouts(world_fn fn)
{
        run(WORLD_ONE, fn);
        run(WORLD_DIST2, fn);
        run(WORLD_REP3, fn);
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

static ssize_t mode_of(struct ctx *c, const char *path, bool follow)
{
        struct stat st;
        ssize_t r = DO(c, follow ? op_stat : op_lstat, .path = path, .ret = &st);
        return r < 0 ? r : (ssize_t)st.st_mode;
}

static void paths(struct fibre *self, struct world_client *w, void *arg)
{
        struct ctx c;
        char deep[PATH_LIMIT + 8] = "";
        (void)arg;
        begin(self, w, &c);
        assert_int_equal(mode_of(&c, "/", true), S_IFDIR | 0755);
        assert_int_equal(mode_of(&c, "", true), -ENOENT);
        assert_int_equal(DO(&c, op_mkdir, .path = "/a", .mode = 0750), 0);
        assert_int_equal(DO(&c, op_mkdir, .path = "a/b/", .mode = 0700), 0);
        assert_int_equal(DO(&c, op_mkdir, .path = "a/b", .mode = 0700), -EEXIST);
        assert_int_equal(DO(&c, op_mkdir, .path = "/", .mode = 0700), -EEXIST);
        assert_int_equal(DO(&c, op_mkdir, .path = "/none/x", .mode = 0700), -ENOENT);
        assert_int_equal(mode_of(&c, "//a/./b/..//b/", true), S_IFDIR | 0700);
        assert_int_equal(mode_of(&c, "/../../a", true), S_IFDIR | 0750);
        assert_int_equal(DO(&c, op_mknod, .path = "/a/f", .mode = S_IFREG | 0640), 0);
        assert_int_equal(mode_of(&c, "/a/f", true), S_IFREG | 0640);
        assert_int_equal(mode_of(&c, "/a/f/", true), -ENOTDIR);
        assert_int_equal(mode_of(&c, "/a/f/x", true), -ENOTDIR);
        assert_int_equal(DO(&c, op_symlink, .path = "/a/b/l", .name = "../f"), 0);
        assert_int_equal(mode_of(&c, "/a/b/l", true), S_IFREG | 0640);
        assert_true(S_ISLNK(mode_of(&c, "/a/b/l", false)));
        assert_int_equal(DO(&c, op_symlink, .path = "/abs", .name = "/a/b"), 0);
        assert_int_equal(mode_of(&c, "abs/l", true), S_IFREG | 0640);
        assert_true(S_ISLNK(mode_of(&c, "abs", false)));
        assert_int_equal(mode_of(&c, "abs/", false), S_IFDIR | 0700);
        assert_int_equal(DO(&c, op_symlink, .path = "/top", .name = "/"), 0);
        assert_int_equal(mode_of(&c, "top/top/a", true), S_IFDIR | 0750);
        assert_int_equal(mode_of(&c, "top", true), S_IFDIR | 0755);
        assert_int_equal(DO(&c, op_symlink, .path = "/loop", .name = "loop"), 0);
        assert_int_equal(mode_of(&c, "/loop", true), -ELOOP);
        assert_int_equal(mode_of(&c, "/loop/x", true), -ELOOP);
        memset(deep, 'n', NAME_LIMIT + 1);
        assert_int_equal(mode_of(&c, deep, true), -ENAMETOOLONG);
        memset(deep, '/', PATH_LIMIT + 1);
        assert_int_equal(mode_of(&c, deep, true), -ENAMETOOLONG);
        deep[PATH_LIMIT] = '\0';
        assert_int_equal(mode_of(&c, deep, true), S_IFDIR | 0755);
        end(&c);
}

static void test_paths(void **state)
{
        on_layouts(paths);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static void names(struct fibre *self, struct world_client *w, void *arg)
{
        struct ctx c;
        char text[64];
        struct stat st;
        (void)arg;
        begin(self, w, &c);
        assert_int_equal(DO(&c, op_mkdir, .path = "d", .mode = 0755), 0);
        assert_int_equal(DO(&c, op_mkdir, .path = "d/e", .mode = 0755), 0);
        assert_int_equal(DO(&c, op_mknod, .path = "f", .mode = 0644), 0);
        assert_int_equal(DO(&c, op_link, .path = "f", .new_path = "d/g"), 0);
        assert_int_equal(DO(&c, op_link, .path = "f", .new_path = "d/g"), -EEXIST);
        assert_int_equal(DO(&c, op_link, .path = "d", .new_path = "h"), -EPERM);
        assert_int_equal(DO(&c, op_stat, .path = "d/g", .ret = &st), 0);
        assert_int_equal(st.st_nlink, 2);
        assert_int_equal(DO(&c, op_symlink, .path = "s", .name = "target"), 0);
        assert_int_equal(DO(&c, op_readlink, .path = "s", .buf = text, .size = sizeof text), 6);
        assert_memory_equal(text, "target", 6);
        assert_int_equal(DO(&c, op_readlink, .path = "s", .buf = text, .size = 3), 3);
        assert_int_equal(DO(&c, op_readlink, .path = "f", .buf = text, .size = 3), -EINVAL);
        assert_int_equal(DO(&c, op_rename, .path = "d", .new_path = "d/e/x"), -EINVAL);
        assert_int_equal(DO(&c, op_rename, .path = "d", .new_path = "f"), -ENOTDIR);
        assert_int_equal(DO(&c, op_rename, .path = "f", .new_path = "d"), -EISDIR);
        assert_int_equal(DO(&c, op_rename, .path = "f", .new_path = "new/"), -ENOTDIR);
        assert_int_equal(DO(&c, op_rename, .path = "/", .new_path = "n"), -EBUSY);
        assert_int_equal(DO(&c, op_rename, .path = "f", .new_path = "d/g"), 0);
        assert_int_equal(DO(&c, op_rename, .path = "d", .new_path = "moved"), 0);
        assert_int_equal(mode_of(&c, "moved/g", true), S_IFREG | 0644);
        assert_int_equal(mode_of(&c, "d", true), -ENOENT);
        assert_int_equal(DO(&c, op_rmdir, .path = "moved"), -ENOTEMPTY);
        assert_int_equal(DO(&c, op_rmdir, .path = "moved/g"), -ENOTDIR);
        assert_int_equal(DO(&c, op_rmdir, .path = "/"), -EBUSY);
        assert_int_equal(DO(&c, op_unlink, .path = "moved"), -EISDIR);
        assert_int_equal(DO(&c, op_unlink, .path = "moved/g"), 0);
        assert_int_equal(DO(&c, op_unlink, .path = "moved/g"), -ENOENT);
        assert_int_equal(DO(&c, op_rmdir, .path = "moved/e/"), 0);
        assert_int_equal(DO(&c, op_rmdir, .path = "moved"), 0);
        assert_int_equal(DO(&c, op_mknod, .path = "pipe", .mode = S_IFIFO | 0600), 0);
        assert_int_equal(mode_of(&c, "pipe", true), S_IFIFO | 0600);
        end(&c);
}

static void test_names(void **state)
{
        on_layouts(names);
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

static void attributes(struct fibre *self, struct world_client *w, void *arg)
{
        struct ctx c;
        struct stat st;
        struct statvfs space;
        char value[64];
        const struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_nsec = UTIME_OMIT}};
        const struct timespec wrong[2] = {{.tv_nsec = 1000000000}, {0}};
        (void)arg;
        begin(self, w, &c);
        assert_int_equal(DO(&c, op_mknod, .path = "f", .mode = 0644), 0);
        assert_int_equal(DO(&c, op_truncate, .path = "f", .offset = 12345), 0);
        assert_int_equal(DO(&c, op_truncate, .path = "/", .offset = 1), -EISDIR);
        assert_int_equal(DO(&c, op_chmod, .path = "f", .mode = 06755), 0);
        assert_int_equal(DO(&c, op_utimens, .path = "f", .times = times), 0);
        assert_int_equal(DO(&c, op_utimens, .path = "f", .times = wrong), -EINVAL);
        assert_int_equal(DO(&c, op_stat, .path = "f", .ret = &st), 0);
        assert_int_equal(st.st_size, 12345);
        assert_int_equal(st.st_mode, S_IFREG | 06755);
        assert_int_equal(st.st_atim.tv_sec, 1000);
        assert_int_not_equal(st.st_mtim.tv_sec, 0);
        assert_int_equal(DO(&c, op_chown, .path = "f", .uid = 7, .gid = UINT32_MAX), 0);
        assert_int_equal(DO(&c, op_stat, .path = "f", .ret = &st), 0);
        assert_int_equal(st.st_uid, 7);
        assert_int_equal(st.st_mode, S_IFREG | 0755);
        assert_int_equal(DO(&c, op_statvfs, .path = "/", .ret = &space), 0);
        assert_true(space.f_blocks > 0);
        assert_int_equal(DO(&c, op_setxattr, .path = "f", .name = "user.a", .data = "value", .size = 5), 0);
        assert_int_equal(DO(&c, op_setxattr, .path = "f", .name = "user.a", .size = 0, .flags = XATTR_CREATE), -EEXIST);
        assert_int_equal(DO(&c, op_getxattr, .path = "f", .name = "user.a", .buf = value, .size = sizeof value), 5);
        assert_memory_equal(value, "value", 5);
        assert_int_equal(DO(&c, op_getxattr, .path = "f", .name = "user.a", .size = 0), 5);
        assert_int_equal(DO(&c, op_getxattr, .path = "f", .name = "user.a", .buf = value, .size = 4), -ERANGE);
        assert_int_equal(DO(&c, op_getxattr, .path = "f", .name = "user.b", .buf = value, .size = 4), -ENODATA);
        assert_int_equal(DO(&c, op_getxattr, .path = "f", .name = "trusted.gfid", .size = 0), -ENODATA);
        assert_int_equal(DO(&c, op_setxattr, .path = "f", .name = "trusted.gfid", .data = "x", .size = 1), -EPERM);
        assert_int_equal(DO(&c, op_listxattr, .path = "f", .buf = value, .size = sizeof value), 7);
        assert_memory_equal(value, "user.a", 7);
        assert_int_equal(DO(&c, op_removexattr, .path = "f", .name = "user.a"), 0);
        assert_int_equal(DO(&c, op_listxattr, .path = "f", .buf = value, .size = sizeof value), 0);
        end(&c);
}

static void test_attributes(void **state)
{
        on_layouts(attributes);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

#define LARGE (2 * MIB + 4321)

static struct mortar_file *opened(struct ctx *c, const char *path, uint32_t flags)
{
        struct mortar_file *f;
        assert_int_equal(DO(c, op_open, .path = path, .flags = flags, .mode = 0644, .ret = &f), 0);
        return f;
}

static void files(struct fibre *self, struct world_client *w, void *arg)
{
        struct ctx c;
        struct stat st;
        struct mortar_file *f, *other;
        int64_t at;
        uint8_t *data = malloc(LARGE), *back = malloc(LARGE);
        (void)arg;
        assert_true(data && back);
        for (size_t i = 0; i < LARGE; i++)
                data[i] = (uint8_t)(i * 31 + i / 4096);
        begin(self, w, &c);
        assert_int_equal(DO(&c, op_open, .path = "f", .flags = O_RDWR, .ret = &f), -ENOENT);
        assert_int_equal(DO(&c, op_open, .path = "/", .flags = O_RDONLY, .ret = &f), -EISDIR);
        assert_int_equal(DO(&c, op_open, .path = "f/", .flags = O_RDWR | O_CREAT, .ret = &f), -EISDIR);
        f = opened(&c, "f", O_RDWR | O_CREAT);
        assert_int_equal(DO(&c, op_open, .path = "f", .flags = O_RDWR | O_CREAT | O_EXCL, .ret = &other), -EEXIST);
        assert_int_equal(DO(&c, op_write, .file = f, .data = data, .size = LARGE), LARGE);
        assert_int_equal(DO(&c, op_read, .file = f, .buf = back, .size = 10), 0);
        assert_int_equal(DO(&c, op_seek, .file = f, .offset = 0, .flags = SEEK_SET, .ret = &at), 0);
        assert_int_equal(DO(&c, op_read, .file = f, .buf = back, .size = LARGE), LARGE);
        assert_memory_equal(data, back, LARGE);
        assert_int_equal(DO(&c, op_pwrite, .file = f, .data = "xyz", .size = 3, .offset = 100), 3);
        assert_int_equal(DO(&c, op_pread, .file = f, .buf = back, .size = 5, .offset = 99), 5);
        assert_memory_equal(back + 1, "xyz", 3);
        assert_int_equal(DO(&c, op_seek, .file = f, .offset = (uint64_t)-1, .flags = SEEK_END, .ret = &at), 0);
        assert_int_equal(at, LARGE - 1);
        assert_int_equal(DO(&c, op_seek, .file = f, .offset = (uint64_t)-5, .flags = SEEK_SET, .ret = &at), -EINVAL);
        assert_int_equal(DO(&c, op_sync, .file = f), 0);
        assert_int_equal(DO(&c, op_ftruncate, .file = f, .offset = 7), 0);
        assert_int_equal(DO(&c, op_fstat, .file = f, .ret = &st), 0);
        assert_int_equal(st.st_size, 7);
        other = opened(&c, "f", O_WRONLY | O_APPEND);
        assert_int_equal(DO(&c, op_pwrite, .file = other, .data = "end", .size = 3, .offset = 0), 3);
        assert_int_equal(DO(&c, op_write, .file = other, .data = "!", .size = 1), 1);
        assert_int_equal(DO(&c, op_seek, .file = other, .flags = SEEK_CUR, .ret = &at), 0);
        assert_int_equal(at, 11);
        assert_int_equal(DO(&c, op_pread, .file = other, .buf = back, .size = 5), -EBADF);
        assert_int_equal(DO(&c, op_pread, .file = f, .buf = back, .size = 50, .offset = 7), 4);
        assert_memory_equal(back, "end!", 4);
        assert_int_equal(DO(&c, op_unlink, .path = "f"), 0);
        assert_int_equal(DO(&c, op_pread, .file = f, .buf = back, .size = 50, .offset = 7), 4);
        assert_int_equal(DO(&c, op_close, .file = other), 0);
        assert_int_equal(DO(&c, op_close, .file = f), 0);
        f = opened(&c, "t", O_WRONLY | O_CREAT);
        assert_int_equal(DO(&c, op_write, .file = f, .data = data, .size = 100), 100);
        assert_int_equal(DO(&c, op_close, .file = f), 0);
        f = opened(&c, "t", O_WRONLY | O_TRUNC);
        assert_int_equal(DO(&c, op_fstat, .file = f, .ret = &st), 0);
        assert_int_equal(st.st_size, 0);
        assert_int_equal(DO(&c, op_close, .file = f), 0);
        assert_int_equal(DO(&c, op_symlink, .path = "l", .name = "made"), 0);
        assert_int_equal(DO(&c, op_open, .path = "l", .flags = O_RDONLY | O_NOFOLLOW, .ret = &f), -ELOOP);
        f = opened(&c, "l", O_WRONLY | O_CREAT); /* through a link that leads nowhere yet */
        assert_int_equal(DO(&c, op_close, .file = f), 0);
        assert_int_equal(mode_of(&c, "made", false), S_IFREG | 0644);
        end(&c);
        free(data);
        free(back);
}

static void test_files(void **state)
{
        on_layouts(files);
}

static void locks(struct fibre *self, struct world_client *w, void *arg)
{
        struct ctx c;
        struct flock all = {.l_type = F_WRLCK}, part = {.l_type = F_RDLCK, .l_start = 5, .l_len = 2}, seen = part;
        struct flock none = {.l_type = F_UNLCK};
        (void)arg;
        begin(self, w, &c);
        struct mortar_file *a = opened(&c, "f", O_RDWR | O_CREAT), *b = opened(&c, "f", O_RDWR);
        assert_int_equal(DO(&c, op_lock, .file = a, .lock = &all), 0);
        assert_int_equal(DO(&c, op_lock, .file = b, .lock = &part), -EAGAIN);
        assert_int_equal(DO(&c, op_getlock, .file = b, .lock = &seen), 0);
        assert_int_equal(seen.l_type, F_WRLCK);
        assert_int_equal(DO(&c, op_lock, .file = a, .lock = &none), 0);
        assert_int_equal(DO(&c, op_lock, .file = b, .lock = &part, .flags = 1), 0);
        seen = all;
        assert_int_equal(DO(&c, op_getlock, .file = a, .lock = &seen), 0);
        assert_int_equal(seen.l_start, 5);
        assert_int_equal(DO(&c, op_close, .file = b), 0); /* and with it its lock */
        assert_int_equal(DO(&c, op_lock, .file = a, .lock = &all), 0);
        assert_int_equal(DO(&c, op_close, .file = a), 0);
        end(&c);
}

static void test_locks(void **state)
{
        on_layouts(locks);
}

/* ---- directories, users ----------------------------------------------------------------------------------------- */

#define ENTRIES 300

static void directories(struct fibre *self, struct world_client *w, void *arg)
{
        struct ctx c;
        struct mortar_dir *d;
        struct mortar_entry e;
        char name[32];
        unsigned n = 0;
        uint64_t half = 0;
        int r;
        (void)arg;
        begin(self, w, &c);
        for (unsigned i = 0; i < ENTRIES; i++) {
                (void)snprintf(name, sizeof name, "file-%u", i);
                assert_int_equal(DO(&c, op_mknod, .path = name, .mode = 0600), 0);
        }
        assert_int_equal(DO(&c, op_dir_open, .path = "file-1", .ret = &d), -ENOTDIR);
        assert_int_equal(DO(&c, op_dir_open, .path = "/", .ret = &d), 0);
        for (unsigned pass = 0; pass < 2; pass++) {
                while ((r = dir_next(d, &e)) != 0) {
                        if (r == -EAGAIN) {
                                assert_int_equal(DO(&c, op_dir_fetch, .dir = d), 0);
                                continue;
                        }
                        assert_int_equal(e.stat.st_mode, S_IFREG | 0600);
                        if (++n == ENTRIES / 2)
                                half = e.position;
                }
                dir_seek(d, half);
        }
        assert_int_equal(n, ENTRIES + ENTRIES / 2);
        assert_int_equal(DO(&c, op_dir_sync, .dir = d), 0);
        assert_int_equal(DO(&c, op_dir_close, .dir = d), 0);
        end(&c);
}

static void test_directories(void **state)
{
        on_layouts(directories);
}

static void users(struct fibre *self, struct world_client *w, void *arg)
{
        static const struct identity member = {.uid = 592, .gid = 592, .n_groups = 1, .groups = {590}},
                                     stranger = {.uid = 1001, .gid = 1001};
        struct ctx c;
        struct stat st;
        struct mortar_file *f;
        (void)arg;
        begin(self, w, &c);
        assert_int_equal(DO(&c, op_mkdir, .path = "team", .mode = 0770), 0);
        assert_int_equal(DO(&c, op_chown, .path = "team", .uid = 0, .gid = 590), 0);
        assert_int_equal(
                DO_AS(&c, &member, op_open, .path = "team/f", .flags = O_RDWR | O_CREAT, .mode = 0640, .ret = &f), 0);
        assert_int_equal(DO(&c, op_write, .file = f, .data = "x", .size = 1), 1);
        assert_int_equal(DO(&c, op_close, .file = f), 0);
        assert_int_equal(DO(&c, op_stat, .path = "team/f", .ret = &st), 0);
        assert_int_equal(st.st_uid, 592);
        assert_int_equal(DO_AS(&c, &stranger, op_open, .path = "team/f", .flags = O_RDONLY, .ret = &f), -EACCES);
        assert_int_equal(DO_AS(&c, &stranger, op_mkdir, .path = "team/d", .mode = 0700), -EACCES);
        assert_int_equal(DO_AS(&c, &stranger, op_unlink, .path = "team/f"), -EACCES);
        /* Who writes without being its owner takes setuid and setgid bits away. */
        assert_int_equal(DO(&c, op_chmod, .path = "team/f", .mode = 06777), 0);
        assert_int_equal(DO(&c, op_chmod, .path = "team", .mode = 0777), 0);
        assert_int_equal(DO_AS(&c, &stranger, op_open, .path = "team/f", .flags = O_RDWR, .ret = &f), 0);
        assert_int_equal(DO(&c, op_write, .file = f, .data = "y", .size = 1), 1);
        assert_int_equal(DO(&c, op_close, .file = f), 0);
        assert_int_equal(DO(&c, op_stat, .path = "team/f", .ret = &st), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0777);
        end(&c);
}

static void test_users(void **state)
{
        on_layouts(users);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths), cmocka_unit_test(test_names),       cmocka_unit_test(test_attributes),
                cmocka_unit_test(test_files), cmocka_unit_test(test_locks),       cmocka_unit_test(test_directories),
                cmocka_unit_test(test_users),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
