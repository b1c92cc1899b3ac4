/* Features that concern many requests: read-only volumes, the barrier (spec: brick.md §19.1, §19.3). */
#include "brick/barrier.h"
#include "harness.h"

static const struct gfid root = GFID_ROOT;

struct world {
        struct harness h;
        struct client *c;
        struct gfid d, f; /* /d, /f; both there from the start */
        int64_t fd;       /* of f, for reading and writing */
};

static int setup(void **state)
{
        struct world *w = calloc(1, sizeof *w);
        harness_posix(&w->h);
        w->c = client_open(&w->h);
        w->d = make_dir(w->c, &root, "d");
        w->f = make_file(w->c, &root, "f");
        assert_int_equal(try_open(w->c, &w->f, O_RDWR, &w->fd), 0);
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

static void set_option(struct world *w, const char *name, const char *value)
{
        assert_int_equal(brick_options_set(&w->h.options, name, value, NULL), 0);
        assert_int_equal(brick_reconfigure(w->h.brick, &w->h.options), 0);
}

/* ---- read-only --------------------------------------------------------------------------------------------------- */

#define REQUEST(NAME, name, ...)                                                                                       \
        ({                                                                                                             \
                struct name##_fop_req req_ = {__VA_ARGS__};                                                            \
                struct name##_fop_rep rep_;                                                                            \
                CALL(w->c, NAME, &req_, &rep_);                                                                        \
        })

static struct dict pair(struct world *w, const char *name, const void *value, uint32_t len)
{
        struct dict d = {0};
        assert_int_equal(dict_add_ptr(&d, &w->c->arena, name, value, len), 0);
        return d;
}

static const uint8_t one[4] = {[3] = 1}, none[4];

/* Every change there is, as far as it gets. */
static void assert_changes(struct world *w, int result)
{
        struct gfid g = harness_gfid(&w->h);
        int64_t fd;
        assert_int_equal(try_mkdir(w->c, &w->d, "new", &g), result);
        assert_int_equal(try_mknod(w->c, &w->d, "new", &g), result);
        assert_int_equal(REQUEST(SYMLINK, symlink, .pargfid = w->d, .bname = STR("new"), .linkname = STR("x"),
                                 .xdata = client_gfid_req(w->c, &g)), result);
        assert_int_equal(try_create(w->c, &w->d, "new", O_RDWR, &g, &fd), result);
        assert_int_equal(try_create(w->c, &root, "f", O_RDONLY, &w->f, &fd), result);
        assert_int_equal(try_unlink(w->c, &root, "f"), result);
        assert_int_equal(try_rmdir(w->c, &root, "d"), result);
        assert_int_equal(try_rename(w->c, &root, "f", &root, "g"), result);
        assert_int_equal(try_link(w->c, &w->f, &root, "g"), result);
        assert_int_equal(try_open(w->c, &w->f, O_WRONLY, &fd), result);
        assert_int_equal(try_open(w->c, &w->f, O_RDONLY | O_TRUNC, &fd), result);
        assert_int_equal(try_open(w->c, &w->f, O_RDONLY | O_APPEND, &fd), result);
        assert_int_equal(REQUEST(TRUNCATE, truncate, .gfid = w->f), result);
        assert_int_equal(REQUEST(FTRUNCATE, ftruncate, .gfid = w->f, .fd = w->fd), result);
        assert_int_equal(REQUEST(WRITE, write, .gfid = w->f, .fd = w->fd, .size = 4, .data = {one, 4}), result);
        assert_int_equal(REQUEST(FALLOCATE, fallocate, .gfid = w->f, .fd = w->fd, .size = 9), result);
        assert_int_equal(REQUEST(DISCARD, discard, .gfid = w->f, .fd = w->fd, .size = 9), result);
        assert_int_equal(REQUEST(ZEROFILL, zerofill, .gfid = w->f, .fd = w->fd, .size = 9), result);
        assert_int_equal(REQUEST(COPY_FILE_RANGE, copy_file_range, .gfid1 = w->f, .gfid2 = w->f, .fd_in = w->fd,
                                 .fd_out = w->fd, .off_out = 99, .size = 1), result);
        assert_int_equal(REQUEST(SETATTR, setattr, .gfid = w->f, .valid = SETATTR_MODE), result);
        assert_int_equal(REQUEST(FSETATTR, fsetattr, .gfid = w->f, .fd = w->fd, .valid = SETATTR_MODE), result);
        assert_int_equal(REQUEST(SETXATTR, setxattr, .gfid = w->f, .dict = pair(w, "user.a", "1", 1)), result);
        assert_int_equal(REQUEST(FSETXATTR, fsetxattr, .gfid = w->f, .fd = w->fd, .dict = pair(w, "user.b", "1", 1)), result);
        assert_int_equal(REQUEST(REMOVEXATTR, removexattr, .gfid = w->f, .name = STR("user.a")), result);
        assert_int_equal(REQUEST(FREMOVEXATTR, fremovexattr, .gfid = w->f, .fd = w->fd, .name = STR("user.b")), result);
        assert_int_equal(REQUEST(XATTROP, xattrop, .gfid = w->f, .dict = pair(w, "trusted.x", one, 4)), result);
        assert_int_equal(REQUEST(FXATTROP, fxattrop, .gfid = w->f, .fd = w->fd, .dict = pair(w, "trusted.x", one, 4)), result);
        assert_int_equal(REQUEST(FSYNCDIR, fsyncdir, .gfid = w->d, .fd = FD_ANONYMOUS), result);
}

static void a_read_only_volume_refuses_every_change(void **state)
{
        struct world *w = *state;
        set_option(w, "read-only", "on");
        assert_changes(w, -EROFS);
        assert_false(exists_on_disk(&w->h, on_disk(&w->h, "d/new")));
        assert_true(exists_on_disk(&w->h, on_disk(&w->h, "f")));
}

static void a_read_only_volume_is_read_and_locked(void **state)
{
        struct world *w = *state;
        int64_t fd;
        set_option(w, "read-only", "on");
        assert_int_equal(try_open(w->c, &w->f, O_RDONLY, &fd), 0);
        assert_int_equal(REQUEST(READ, read, .gfid = w->f, .fd = fd, .size = 9), 0);
        assert_int_equal(REQUEST(FSYNC, fsync, .gfid = w->f, .fd = fd), 0);
        assert_int_equal(REQUEST(XATTROP, xattrop, .gfid = w->f, .dict = pair(w, "trusted.x", none, 4)), 0);
        w->c->cred.owner_len = 4;
        memcpy(w->c->cred.owner, one, sizeof one);
        assert_int_equal(REQUEST(INODELK, inodelk, .gfid = w->f, .cmd = 1, .type = 1, .volume = STR("domain"),
                                 .flock = {.type = 1}), 0);
}

static void internal_clients_change_a_read_only_volume(void **state)
{
        struct world *w = *state;
        set_option(w, "read-only", "on");
        w->c->cred.pid = PID_SELF_HEAL;
        assert_int_equal(try_rename(w->c, &root, "f", &root, "g"), 0);
        assert_int_equal(REQUEST(WRITE, write, .gfid = w->f, .fd = w->fd, .size = 4, .data = {one, 4}), 0);
        assert_int_equal(REQUEST(FSYNCDIR, fsyncdir, .gfid = w->d, .fd = FD_ANONYMOUS), 0);
}

/* ---- barrier ----------------------------------------------------------------------------------------------------- */

static void assert_held(struct world *w, int result)
{
        assert_int_equal(result, CLIENT_PARKED);
        (void)w;
}

static int answer_to(struct world *w, enum fop fop, uint32_t xid)
{
        static uint8_t rep[4096];
        return client_wait(w->c, xid, fop, rep);
}

static void the_barrier_holds_answers_and_not_effects(void **state)
{
        struct world *w = *state;
        struct gfid g = make_file(w->c, &w->d, "g"), h = make_file(w->c, &w->d, "h");
        int64_t sync_fd;
        assert_int_equal(try_open(w->c, &h, O_RDWR | O_SYNC, &sync_fd), 0);
        assert_int_equal(REQUEST(SETXATTR, setxattr, .gfid = w->f, .dict = pair(w, "user.a", "1", 1)), 0);
        set_option(w, "barrier", "enable");

        const struct {
                enum fop fop;
                int result;
        } held[] = {
                {FOP_UNLINK, try_unlink(w->c, &w->d, "g")},
                {FOP_RENAME, try_rename(w->c, &w->d, "h", &w->d, "i")},
                {FOP_TRUNCATE, REQUEST(TRUNCATE, truncate, .gfid = w->f)},
                {FOP_FTRUNCATE, REQUEST(FTRUNCATE, ftruncate, .gfid = w->f, .fd = w->fd)},
                {FOP_FSYNC, REQUEST(FSYNC, fsync, .gfid = w->f, .fd = w->fd)},
                {FOP_REMOVEXATTR, REQUEST(REMOVEXATTR, removexattr, .gfid = w->f, .name = STR("user.a"))},
                {FOP_WRITE, REQUEST(WRITE, write, .gfid = w->f, .fd = w->fd, .flag = O_DSYNC, .size = 4, .data = {one, 4})},
                {FOP_WRITE, REQUEST(WRITE, write, .gfid = h, .fd = sync_fd, .size = 4, .data = {one, 4})},
        };
        uint32_t last = client_last_xid(w->c);
        for (size_t k = 0; k < ELEMENTSOF(held); k++)
                assert_held(w, held[k].result);
        assert_false(exists_on_disk(&w->h, on_disk(&w->h, "d/g")));
        assert_true(exists_on_disk(&w->h, on_disk(&w->h, "d/i")));

        assert_int_equal(try_unlink(w->c, &w->d, "g"), -ENOENT); /* a failure promises nothing */
        assert_int_equal(REQUEST(WRITE, write, .gfid = w->f, .fd = w->fd, .size = 4, .data = {one, 4}), 0);
        assert_int_equal(try_link(w->c, &w->f, &w->d, "link"), 0);
        assert_int_equal(try_stat(w->c, &w->f, NULL), 0);
        assert_int_equal(try_stat(w->c, &g, NULL), -ESTALE);

        set_option(w, "barrier", "disable");
        for (uint32_t k = 0; k < ELEMENTSOF(held); k++)
                assert_int_equal(answer_to(w, held[k].fop, last - (uint32_t)ELEMENTSOF(held) + 1 + k), 0);
        assert_int_equal(try_rmdir(w->c, &root, "nothing"), -ENOENT);
        assert_int_equal(try_unlink(w->c, &w->d, "i"), 0);
}

static void the_barrier_falls_after_its_timeout(void **state)
{
        struct world *w = *state;
        set_option(w, "barrier-timeout", "1");
        set_option(w, "barrier", "enable");
        assert_held(w, try_unlink(w->c, &root, "f"));
        uint32_t xid = client_last_xid(w->c);
        assert_int_equal(brick_maintain(w->h.brick, 0, NULL), 0);
        assert_held(w, try_rmdir(w->c, &root, "d"));
        assert_int_equal(brick_maintain(w->h.brick, UINT64_MAX / 2, NULL), 0);
        assert_int_equal(answer_to(w, FOP_UNLINK, xid), 0);
        assert_int_equal(answer_to(w, FOP_RMDIR, xid + 1), 0);
        set_option(w, "read-only", "off"); /* still `enable`: that does not put it up again */
        make_file(w->c, &root, "f");
        assert_int_equal(try_unlink(w->c, &root, "f"), 0);
}

#define QUESTIONS 4000 /* each is repeated in the answer */
#define HELD_MAX (64 * MIB) /* HELD_BYTES_MAX */

static struct dict long_questions(struct arena *a)
{
        struct dict d = {0};
        assert_int_equal(dict_add_int(&d, a, "glusterfs.multi-dom-lk-cnt-req", 1), 0);
        for (unsigned k = 0; k < QUESTIONS; k++) {
                char key[1040];
                (void)snprintf(key, sizeof key, "glusterfs.inodelk-dom-prefix:%01000u", k);
                assert_int_equal(dict_add_int(&d, a, arena_printf(a, "%s", key), 1), 0);
        }
        return d;
}

static void the_barrier_falls_when_it_holds_too_much(void **state)
{
        struct world *w = *state;
        _cleanup_arena_ struct arena a = ARENA_INIT(32 * MIB);
        const struct dict questions = long_questions(&a);
        set_option(w, "barrier", "enable");
        assert_held(w, try_unlink(w->c, &root, "f"));
        uint32_t xid = client_last_xid(w->c), held = 0;
        while (REQUEST(FSYNC, fsync, .gfid = w->f, .fd = w->fd, .xdata = questions) == CLIENT_PARKED)
                assert_true(++held <= HELD_MAX / (QUESTIONS * 1000));
        assert_true(held >= HELD_MAX / (QUESTIONS * 1200));
        assert_int_equal(answer_to(w, FOP_UNLINK, xid), 0);
        for (uint32_t k = 1; k <= held; k++) {
                arena_reset(&w->c->reply_arena);
                assert_int_equal(answer_to(w, FOP_FSYNC, xid + k), 0);
        }
        assert_int_equal(try_rmdir(w->c, &root, "d"), 0); /* it is down */
}

static void a_client_goes_while_its_answers_are_held(void **state)
{
        struct world *w = *state;
        struct client *other = client_open(&w->h);
        set_option(w, "barrier", "enable");
        assert_held(w, try_unlink(other, &root, "f"));
        assert_held(w, try_rmdir(w->c, &root, "d"));
        client_close(other);
        set_option(w, "barrier", "disable");
        assert_int_equal(answer_to(w, FOP_RMDIR, client_last_xid(w->c)), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_read_only_volume_refuses_every_change, setup, teardown),
                cmocka_unit_test_setup_teardown(a_read_only_volume_is_read_and_locked, setup, teardown),
                cmocka_unit_test_setup_teardown(internal_clients_change_a_read_only_volume, setup, teardown),
                cmocka_unit_test_setup_teardown(the_barrier_holds_answers_and_not_effects, setup, teardown),
                cmocka_unit_test_setup_teardown(the_barrier_falls_after_its_timeout, setup, teardown),
                cmocka_unit_test_setup_teardown(the_barrier_falls_when_it_holds_too_much, setup, teardown),
                cmocka_unit_test_setup_teardown(a_client_goes_while_its_answers_are_held, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
