#include "fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/xattr.h>

#define FIXTURE_ARENA (64 * MIB)

static const struct gfid volume_id = {.b = {0xaa, 0xbb, [15] = 0xcc}};

static void nothing_sent(void *conn, const struct iovec *iov, int n)
{
        (void)conn;
        (void)iov;
        (void)n;
}

static void open_brick(struct fixture *f)
{
        struct error e = {0};
        struct brick_config config = {.path = f->path, .volume = "v", .volume_id = volume_id, .hostname = "host"};
        brick_options_init(&config.options);
        int r = brick_open(f->disk, &config, &f->brick, &e);
        if (r < 0)
                fail_msg("brick_open: %s", e.text);
}

void fixture_init(struct fixture *f)
{
        *f = (struct fixture){.arena = ARENA_INIT(FIXTURE_ARENA), .xdata = DICT_NULL, .reply = DICT_NULL};
        snprintf(f->path, sizeof f->path, "/var/tmp/brick_test.XXXXXX");
        assert_non_null(mkdtemp(f->path));
        assert_int_equal(chmod(f->path, 0755), 0);
        assert_int_equal(setxattr(f->path, "trusted.glusterfs.volume-id", volume_id.b, 16, 0), 0);
        assert_int_equal(disk_posix_new(&f->disk), 0);
        open_brick(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

static void remove_tree(const char *path)
{
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_done(struct fixture *f)
{
        f->brick = brick_close(f->brick);
        f->disk = disk_free(f->disk);
        remove_tree(f->path);
}

/* Behind the brick's back: handles and cached inodes of earlier tests stay, and nobody asks for them again. */
static void empty_root(struct fixture *f)
{
        DIR *dir = opendir(f->path);
        assert_non_null(dir);
        for (struct dirent *d; (d = readdir(dir));) {
                char path[512];
                if (streq(d->d_name, ".") || streq(d->d_name, "..") || streq(d->d_name, ".glusterfs"))
                        continue;
                snprintf(path, sizeof path, "%s/%s", f->path, d->d_name);
                remove_tree(path);
        }
        closedir(dir);
}

void fixture_begin(struct fixture *f)
{
        fixture_forget(f);
        empty_root(f);
        f->cred = (struct rpc_cred){0};
        brick_options_init(&f->options);
        atomic_store(&f->brick->options, &f->options);
        atomic_store(&f->brick->full, false);
        struct session_config session = {.client_uid = "client", .op_version = 100000, .send = nothing_sent};
        assert_int_equal(session_open(f->brick, &session, &f->session), 0);
}

void fixture_end(struct fixture *f)
{
        f->session = session_close(f->session);
        fixture_forget(f);
        arena_done(&f->arena);
}

void fixture_forget(struct fixture *f)
{
        arena_reset(&f->arena);
        f->xdata = f->reply = DICT_NULL;
}

struct op fixture_op(struct fixture *f, enum fop fop)
{
        struct op op = {.brick = f->brick,
                        .session = f->session,
                        .fop = fop,
                        .caller = {f->cred.uid, f->cred.gid, f->cred.pid, f->cred.group_count, f->cred.groups},
                        .cred = &f->cred,
                        .reply = DICT_NULL,
                        .arena = &f->arena};
        assert_int_equal(xdata_parse(&f->xdata, &f->arena, &op.xdata), 0);
        return op;
}

void fixture_be(struct fixture *f, uint32_t uid, uint32_t gid, uint32_t group)
{
        f->cred.uid = uid;
        f->cred.gid = gid;
        f->cred.group_count = 1;
        f->cred.groups[0] = group;
}

void fixture_time(struct fixture *f, uint32_t flags, int64_t sec, uint32_t nsec)
{
        f->cred.flags = flags;
        f->cred.time = (struct iatt_time){sec, nsec};
}

struct gfid fixture_new_gfid(void)
{
        uint8_t random[16];
        assert_int_equal(getrandom(random, sizeof random, 0), sizeof random);
        return gfid_from_random(random);
}

static struct gfid want_gfid(struct fixture *f)
{
        struct gfid g = fixture_new_gfid();
        assert_int_equal(dict_add_gfid(&f->xdata, &f->arena, "gfid-req", &g), 0);
        return g;
}

struct gfid fixture_file(struct fixture *f, struct gfid parent, const char *name, mode_t mode)
{
        struct mknod_fop_rep rep;
        struct gfid g = want_gfid(f);
        assert_int_equal(CALL(f, MKNOD, mknod, &rep, .pargfid = parent, .bname = str_of(name), .mode = S_IFREG | mode),
                         0);
        return g;
}

struct gfid fixture_dir(struct fixture *f, struct gfid parent, const char *name, mode_t mode)
{
        struct mkdir_fop_rep rep;
        struct gfid g = want_gfid(f);
        assert_int_equal(CALL(f, MKDIR, mkdir, &rep, .pargfid = parent, .bname = str_of(name), .mode = mode), 0);
        return g;
}

struct gfid fixture_symlink(struct fixture *f, struct gfid parent, const char *name, const char *target)
{
        struct symlink_fop_rep rep;
        struct gfid g = want_gfid(f);
        assert_int_equal(
                CALL(f, SYMLINK, symlink, &rep, .pargfid = parent, .bname = str_of(name), .linkname = str_of(target)),
                0);
        return g;
}

int fixture_unlink(struct fixture *f, struct gfid parent, const char *name)
{
        struct unlink_fop_rep rep;
        return CALL(f, UNLINK, unlink, &rep, .pargfid = parent, .bname = str_of(name));
}

int64_t fixture_fd(struct fixture *f, struct gfid g, uint32_t flags)
{
        struct open_fop_rep rep;
        assert_int_equal(CALL(f, OPEN, open, &rep, .gfid = g, .flags = flags), 0);
        return rep.fd;
}

int64_t fixture_dirfd(struct fixture *f, struct gfid g)
{
        struct opendir_fop_rep rep;
        assert_int_equal(CALL(f, OPENDIR, opendir, &rep, .gfid = g), 0);
        return rep.fd;
}

void fixture_write(struct fixture *f, struct gfid g, int64_t fd, uint64_t offset, const void *data, uint32_t len)
{
        struct write_fop_rep rep;
        assert_int_equal(
                CALL(f, WRITE, write, &rep, .gfid = g, .fd = fd, .offset = offset, .size = len, .data = {data, len}),
                0);
        assert_int_equal(rep.op_ret, len);
}

struct slice fixture_read(struct fixture *f, struct gfid g, int64_t fd, uint64_t offset, uint32_t size)
{
        struct read_fop_rep rep;
        assert_int_equal(CALL(f, READ, read, &rep, .gfid = g, .fd = fd, .offset = offset, .size = size), 0);
        assert_int_equal(rep.op_ret, rep.data.len);
        return rep.data;
}

struct stat fixture_stat(struct fixture *f, const char *name)
{
        char path[512];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", f->path, name);
        assert_int_equal(lstat(path, &st), 0);
        return st;
}

void fixture_put(struct fixture *f, const char *file, const char *name, const void *value, size_t len)
{
        char path[512];
        struct stat before = fixture_stat(f, file), after;
        snprintf(path, sizeof path, "%s/%s", f->path, file);
        do {
                assert_int_equal(lsetxattr(path, name, value, len, 0), 0);
                after = fixture_stat(f, file);
        } while (after.st_ctim.tv_sec == before.st_ctim.tv_sec && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
}

int64_t reply_int(struct fixture *f, const char *key)
{
        int64_t v;
        return dict_get_int(&f->reply, key, &v) == 0 ? v : -1000;
}
