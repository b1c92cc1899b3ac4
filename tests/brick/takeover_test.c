/* What optional layers of a stock brick left behind survives here untouched (spec: brick.md §19.2, §19.5-§19.8, §21). */
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "harness.h"

static const struct gfid root = GFID_ROOT;

struct world {
        struct harness h;
        struct client *c;
        struct gfid d, f;
};

struct trace {
        const char *name;
        const void *value;
        size_t len;
};

/* /d and /f, made by a client that is gone; the brick is closed and opened again after what a test adds to them. */
static int setup(void **state)
{
        struct world *w = calloc(1, sizeof *w);
        harness_posix(&w->h);
        w->c = client_open(&w->h);
        w->d = make_dir(w->c, &root, "d");
        w->f = make_file(w->c, &root, "f");
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;
        client_close(w->c);
        harness_close(&w->h);
        free(w);
        return 0;
}

static void take_over(struct world *w)
{
        client_close(w->c);
        harness_reopen(&w->h);
        w->c = client_open(&w->h);
}

static void leave(struct world *w, const char *file, const struct trace *t, size_t n)
{
        for (size_t k = 0; k < n; k++)
                assert_int_equal(lsetxattr(on_disk(&w->h, "%s", file), t[k].name, t[k].value, t[k].len, 0), 0);
}

static void assert_left(struct world *w, const char *file, const struct trace *t, size_t n)
{
        for (size_t k = 0; k < n; k++) {
                char value[256];
                ssize_t len = lgetxattr(on_disk(&w->h, "%s", file), t[k].name, value, sizeof value);
                if (len != (ssize_t)t[k].len || memcmp(value, t[k].value, t[k].len) != 0)
                        fail_msg("%s of %s is not what it was", t[k].name, file);
        }
}

static void set_mode(struct world *w, const struct gfid *g, uint32_t mode)
{
        struct setattr_fop_req req = {.gfid = *g, .stbuf = {.mode = mode}, .valid = SETATTR_MODE};
        struct setattr_fop_rep rep;
        assert_int_equal(CALL(w->c, SETATTR, &req, &rep), 0);
}

static void set_user_xattr(struct world *w, const struct gfid *g)
{
        struct setxattr_fop_req req = {.gfid = *g};
        struct setxattr_fop_rep rep;
        assert_int_equal(dict_add_ptr(&req.dict, &w->c->arena, "user.new", "v", 1), 0);
        assert_int_equal(CALL(w->c, SETXATTR, &req, &rep), 0);
}

static int write_some(struct world *w, const struct gfid *g)
{
        struct write_fop_req req = {.gfid = *g, .fd = FD_ANONYMOUS, .size = 4, .data = {(const uint8_t *)"data", 4}};
        struct write_fop_rep rep;
        return CALL(w->c, WRITE, &req, &rep);
}

/* What clients do to a file and a directory in a day; they end up as /e and /e/g. */
static void live(struct world *w)
{
        assert_int_equal(write_some(w, &w->f), 0);
        set_mode(w, &w->f, S_IFREG | 0600);
        set_mode(w, &w->d, S_IFDIR | 0700);
        set_user_xattr(w, &w->f);
        set_user_xattr(w, &w->d);
        assert_int_equal(try_link(w->c, &w->f, &w->d, "link"), 0);
        assert_int_equal(try_unlink(w->c, &root, "f"), 0);
        assert_int_equal(try_rename(w->c, &w->d, "link", &w->d, "g"), 0);
        assert_int_equal(try_rename(w->c, &root, "d", &root, "e"), 0);
        make_file(w->c, &w->d, "more");
        assert_int_equal(try_unlink(w->c, &w->d, "more"), 0);
}

static void quota(void **state)
{
        struct world *w = *state;
        static const uint8_t size[24] = {[6] = 0x28, [15] = 3, [23] = 2}, limit[16] = {[4] = 0x40, [15] = 80};
        const struct trace dir[] = {
                {"trusted.glusterfs.quota.size.1", size, sizeof size},
                {"trusted.glusterfs.quota.size", size, sizeof size},
                {"trusted.glusterfs.quota.00000000-0000-0000-0000-000000000001.contri.1", size, sizeof size},
                {"trusted.glusterfs.quota.dirty", "0", 2},
                {"trusted.glusterfs.quota.limit-set.1", limit, sizeof limit},
                {"trusted.glusterfs.quota.limit-objects.1", limit, sizeof limit},
        };
        const struct trace file[] = {
                {"trusted.glusterfs.quota.00000000-0000-0000-0000-000000000001.contri.1", size, sizeof size},
        };
        leave(w, "d", dir, ELEMENTSOF(dir));
        leave(w, "f", file, ELEMENTSOF(file));
        take_over(w);
        live(w);
        assert_left(w, "e", dir, ELEMENTSOF(dir));
        assert_left(w, "e/g", file, ELEMENTSOF(file));
}

static const uint8_t bitrot_version[16] = {2, [11] = 7}, bitrot_signature[41] = {1, 2, [40] = 9};
static const struct trace bitrot_traces[] = {
        {"trusted.bit-rot.version", bitrot_version, sizeof bitrot_version},
        {"trusted.bit-rot.signature", bitrot_signature, sizeof bitrot_signature},
};

static int set_one(struct world *w, const char *name)
{
        struct setxattr_fop_req req = {.gfid = w->f};
        struct setxattr_fop_rep rep;
        assert_int_equal(dict_add_ptr(&req.dict, &w->c->arena, name, "1", 1), 0);
        return CALL(w->c, SETXATTR, &req, &rep);
}

static void bitrot(void **state)
{
        struct world *w = *state;
        leave(w, "f", bitrot_traces, ELEMENTSOF(bitrot_traces));
        take_over(w);
        assert_int_equal(set_one(w, "trusted.bit-rot.version"), -EINVAL);
        assert_int_equal(set_one(w, "trusted.bit-rot.bad-file"), -EINVAL);
        struct removexattr_fop_req r = {.gfid = w->f, .name = STR("trusted.bit-rot.signature")};
        struct removexattr_fop_rep rr;
        assert_int_equal(CALL(w->c, REMOVEXATTR, &r, &rr), -EINVAL);
        struct getxattr_fop_req g = {.gfid = w->f};
        struct getxattr_fop_rep gr;
        assert_int_equal(CALL(w->c, GETXATTR, &g, &gr), 0);
        assert_false(dict_has(&gr.dict, "trusted.bit-rot.version"));
        assert_false(dict_has(&gr.dict, "trusted.bit-rot.signature"));
        live(w);
        assert_left(w, "e/g", bitrot_traces, ELEMENTSOF(bitrot_traces));
}

/* A file that a scrubber found corrupted is not served, whoever serves the brick. */
static void bitrot_bad_file(void **state)
{
        struct world *w = *state;
        const struct trace bad = {"trusted.bit-rot.bad-file", "1", 2};
        char text[GFID_TEXT_LEN + 1];
        int64_t fd;
        leave(w, "f", &bad, 1);
        assert_int_equal(mkdir(on_disk(&w->h, ".glusterfs/quarantine"), 0600), 0);
        assert_int_equal(link(on_disk(&w->h, "f"), on_disk(&w->h, ".glusterfs/quarantine/%s", gfid_format(&w->f, text))), 0);
        take_over(w);
        assert_int_equal(try_open(w->c, &w->f, O_RDONLY, &fd), -EIO);
        assert_int_equal(write_some(w, &w->f), -EIO);
        struct truncate_fop_req t = {.gfid = w->f};
        struct truncate_fop_rep tr;
        assert_int_equal(CALL(w->c, TRUNCATE, &t, &tr), -EIO);
        struct read_fop_req r = {.gfid = w->f, .fd = FD_ANONYMOUS, .size = 9};
        struct read_fop_rep rr;
        assert_int_equal(CALL(w->c, READ, &r, &rr), -EIO);
        struct lookup_fop_req l = {.gfid = w->f, .xdata = client_dict(w->c, "trusted.bit-rot.bad-file", 0)};
        struct lookup_fop_rep lr;
        assert_int_equal(CALL(w->c, LOOKUP, &l, &lr), 0);
        assert_true(dict_has(&lr.xdata, "trusted.bit-rot.bad-file"));
        assert_left(w, "f", &bad, 1);
        assert_true(exists_on_disk(&w->h, on_disk(&w->h, ".glusterfs/quarantine/%s", gfid_format(&w->f, text))));
        assert_int_equal(unlink(on_disk(&w->h, ".glusterfs/quarantine/%s", gfid_format(&w->f, text))), 0);
}

static void worm(void **state)
{
        struct world *w = *state;
        const struct trace file[] = {
                {"trusted.start_time", "1700000000", 11},
                {"trusted.worm_file", "1", 2},
                {"trusted.reten_state", "3/120/180", 9},
        };
        leave(w, "f", file, ELEMENTSOF(file));
        take_over(w);
        live(w);
        assert_left(w, "e/g", file, ELEMENTSOF(file));
}

static void put_file(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "GlusterFS Changelog", 19), 19);
        assert_int_equal(close(fd), 0);
}

static void changelog(void **state)
{
        struct world *w = *state;
        static const char *const files[] = {
                ".glusterfs/changelogs/CHANGELOG",
                ".glusterfs/changelogs/CHANGELOG.1700000000",
                ".glusterfs/changelogs/htime/HTIME.1700000000",
                ".glusterfs/changelogs/csnap/CHANGELOG.SNAP",
        };
        const uint8_t xtime[8] = {0x65, [7] = 9};
        const struct trace traces[] = {
                {"trusted.glusterfs.11111111-2222-4333-8444-555555555555.xtime", xtime, sizeof xtime},
                {"trusted.glusterfs.11111111-2222-4333-8444-555555555555.stime", xtime, sizeof xtime},
        };
        for (size_t k = 0; k < ELEMENTSOF(files); k++)
                put_file(on_disk(&w->h, "%s", files[k]));
        leave(w, "d", traces, ELEMENTSOF(traces));
        take_over(w);
        live(w);
        brick_purge(w->h.brick, UINT64_MAX / 2);
        take_over(w);
        assert_left(w, "e", traces, ELEMENTSOF(traces));
        for (size_t k = 0; k < ELEMENTSOF(files); k++) {
                struct stat st;
                assert_int_equal(stat(on_disk(&w->h, "%s", files[k]), &st), 0);
                assert_int_equal(st.st_size, 19);
        }
}

/* The directory of deleted files keeps its reserved gfids and is an ordinary directory otherwise. */
static void trash(void **state)
{
        struct world *w = *state;
        const struct gfid can = {.b = {[15] = 5}}, internal = {.b = {[15] = 6}};
        struct iatt found;
        assert_int_equal(try_mkdir(w->c, &root, ".trashcan", &can), 0);
        assert_int_equal(try_mkdir(w->c, &can, "internal_op", &internal), 0);
        struct gfid kept = make_file(w->c, &can, "f_2026-11-21_120000");
        take_over(w);
        live(w);
        assert_int_equal(try_lookup(w->c, &root, ".trashcan", &found), 0);
        assert_true(gfid_equal(&found.gfid, &can));
        assert_int_equal(try_lookup(w->c, &can, "internal_op", &found), 0);
        assert_true(gfid_equal(&found.gfid, &internal));
        assert_int_equal(try_stat(w->c, &kept, &found), 0);
        assert_int_equal(try_rename(w->c, &can, "f_2026-11-21_120000", &root, "f"), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(quota, setup, teardown),
                cmocka_unit_test_setup_teardown(bitrot, setup, teardown),
                cmocka_unit_test_setup_teardown(bitrot_bad_file, setup, teardown),
                cmocka_unit_test_setup_teardown(worm, setup, teardown),
                cmocka_unit_test_setup_teardown(changelog, setup, teardown),
                cmocka_unit_test_setup_teardown(trash, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
