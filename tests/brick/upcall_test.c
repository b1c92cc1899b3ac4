/* Who is told of which change (spec: brick.md §17.1), and what the memory of it costs at most. */
#include "brick/internal.h"
#include "brick/upcall.h"
#include "harness.h"
#include "proto/handshake.h"

#include <time.h>

static const struct gfid root = GFID_ROOT;

struct world {
        struct harness h;
        struct client *a, *b;
        struct gfid f; /* a file that both have seen */
        int64_t fd;    /* of A */
        struct cache_invalidation_cbk got;
};

static struct world *world_new(const char *enabled)
{
        struct world *w = calloc(1, sizeof *w);
        harness_posix(&w->h);
        assert_int_equal(brick_options_set(&w->h.options, "cache-invalidation", enabled, NULL), 0);
        harness_reopen(&w->h);
        w->a = client_open(&w->h);
        w->b = client_open(&w->h);
        w->f = harness_gfid(&w->h);
        assert_int_equal(try_create(w->a, &root, "f", O_RDWR, &w->f, &w->fd), 0);
        assert_int_equal(try_stat(w->b, &w->f, NULL), 0);
        return w;
}

static int setup(void **state)
{
        *state = world_new("on");
        return 0;
}

static int setup_off(void **state)
{
        *state = world_new("off");
        return 0;
}

static uint32_t watches(struct world *w)
{
        struct brick_stats s;
        brick_get_stats(w->h.brick, &s);
        return s.watches;
}

static int teardown(void **state)
{
        struct world *w = *state;
        client_close(w->a);
        client_close(w->b);
        assert_int_equal(watches(w), 0);
        harness_close(&w->h);
        free(w);
        return 0;
}

/* C's next message is about G with FLAGS; it is in w->got. */
static void assert_told(struct world *w, struct client *c, const struct gfid *g, uint32_t flags)
{
        char text[GFID_TEXT_LEN + 1];
        assert_int_equal(client_take_callback(c, &cache_invalidation_cbk_desc, &w->got), CALLBACK_CACHE_INVALIDATION);
        assert_string_equal(w->got.gfid.s, gfid_format(g, text));
        assert_int_equal(w->got.event_type, 1);
        assert_int_equal(w->got.flags, flags);
        assert_int_equal(w->got.expire_time_attr, 60);
}

static void assert_quiet(struct world *w, struct client *c)
{
        assert_int_equal(client_take_callback(c, &cache_invalidation_cbk_desc, &w->got), 0);
}

static void write_byte(struct world *w, struct client *c, uint64_t offset)
{
        struct write_fop_req req = {
                .gfid = w->f, .fd = FD_ANONYMOUS, .offset = offset, .size = 1, .data = {(const uint8_t *)"x", 1}};
        struct write_fop_rep rep;
        assert_int_equal(CALL(c, WRITE, &req, &rep), 0);
}

static int set_xattr(struct world *w, const char *name, const char *value)
{
        struct setxattr_fop_req req = {.gfid = w->f, .xdata = DICT_NULL};
        struct setxattr_fop_rep rep;
        assert_int_equal(dict_add_ptr(&req.dict, &w->a->arena, name, value, (uint32_t)strlen(value)), 0);
        return CALL(w->a, SETXATTR, &req, &rep);
}

static void register_name(struct world *w, struct client *c, const char *name)
{
        struct ipc_fop_req req = {.op = 2, .xdata = client_dict(c, name, 1)};
        struct ipc_fop_rep rep;
        assert_int_equal(CALL(c, IPC, &req, &rep), 0);
}

static void nothing_is_said_while_off(void **state)
{
        struct world *w = *state;
        write_byte(w, w->a, 0);
        assert_quiet(w, w->b);
        assert_int_equal(watches(w), 0);
}

static void contents(void **state)
{
        struct world *w = *state;
        write_byte(w, w->a, 9);
        assert_told(w, w->b, &w->f, 0x18);
        assert_int_equal(w->got.stat.size, 10);
        assert_true(gfid_equal(&w->got.stat.gfid, &w->f));
        assert_quiet(w, w->a);
        write_byte(w, w->b, 9);
        assert_told(w, w->a, &w->f, 0x18);
        assert_quiet(w, w->b);
        struct truncate_fop_req t = {.gfid = w->f, .offset = 3};
        struct truncate_fop_rep tr;
        assert_int_equal(CALL(w->a, TRUNCATE, &t, &tr), 0);
        assert_told(w, w->b, &w->f, 0x18);
        assert_int_equal(w->got.stat.size, 3);
        t.offset = UINT64_MAX;
        assert_int_equal(CALL(w->a, TRUNCATE, &t, &tr), -EINVAL);
        assert_quiet(w, w->b);
        int64_t fd;
        assert_int_equal(try_open(w->a, &w->f, O_RDWR, &fd), 0);
        assert_quiet(w, w->b);
        assert_int_equal(try_open(w->a, &w->f, O_RDWR | O_TRUNC, &fd), 0);
        assert_told(w, w->b, &w->f, 0x2000);
}

static void attributes(void **state)
{
        struct world *w = *state;
        struct setattr_fop_req req = {.gfid = w->f, .stbuf = {.mode = S_IFREG | 0600}, .valid = SETATTR_MODE};
        struct setattr_fop_rep rep;
        assert_int_equal(CALL(w->a, SETATTR, &req, &rep), 0);
        assert_told(w, w->b, &w->f, 0x45e);
        assert_int_equal(w->got.stat.mode, S_IFREG | 0600);
        req.valid = SETATTR_MTIME;
        assert_int_equal(CALL(w->a, SETATTR, &req, &rep), 0);
        assert_told(w, w->b, &w->f, 0x5e);
}

static void names(void **state)
{
        struct world *w = *state;
        struct gfid d = make_dir(w->a, &root, "d");
        assert_quiet(w, w->b); /* has not seen the root */
        assert_int_equal(try_stat(w->b, &root, NULL), 0);
        assert_int_equal(try_stat(w->b, &d, NULL), 0);

        assert_int_equal(try_link(w->a, &w->f, &d, "second"), 0);
        assert_told(w, w->b, &w->f, 0x211);
        assert_int_equal(w->got.stat.nlink, 2);
        assert_true(gfid_equal(&w->got.parent_stat.gfid, &d));
        assert_told(w, w->b, &d, 0x10);

        assert_int_equal(try_rename(w->a, &d, "second", &root, "third"), 0);
        assert_told(w, w->b, &w->f, 0x280);
        assert_true(gfid_equal(&w->got.parent_stat.gfid, &root));
        assert_true(gfid_equal(&w->got.oldparent_stat.gfid, &d));
        assert_told(w, w->b, &d, 0x10);
        assert_told(w, w->b, &root, 0x10);

        assert_int_equal(try_unlink(w->a, &root, "third"), 0);
        assert_told(w, w->b, &w->f, 0x211);
        assert_true(gfid_is_null(&w->got.stat.gfid));
        assert_told(w, w->b, &root, 0x10);
        assert_int_equal(try_unlink(w->a, &root, "third"), -ENOENT);
        assert_quiet(w, w->b);

        make_file(w->a, &d, "new");
        assert_told(w, w->b, &d, 0x10);
        assert_quiet(w, w->b);
        assert_quiet(w, w->a);
}

static void the_end_of_an_object(void **state)
{
        struct world *w = *state;
        assert_int_equal(try_unlink(w->a, &root, "f"), 0); /* A has it open */
        assert_told(w, w->b, &w->f, 0x211);
        assert_quiet(w, w->b);
        release(w->a, w->fd);
        assert_told(w, w->b, &w->f, 0x100);
        assert_told(w, w->a, &w->f, 0x100);

        struct gfid g = make_file(w->a, &root, "g"), h = make_file(w->a, &root, "h"), d = make_dir(w->a, &root, "d");
        assert_int_equal(try_stat(w->b, &h, NULL), 0);
        assert_int_equal(try_stat(w->b, &d, NULL), 0);
        assert_int_equal(try_rename(w->a, &root, "g", &root, "h"), 0);
        assert_told(w, w->b, &h, 0x211);
        assert_told(w, w->b, &h, 0x100);
        assert_int_equal(try_rmdir(w->a, &root, "d"), 0);
        assert_told(w, w->b, &d, 0x211);
        assert_told(w, w->b, &d, 0x100);
        assert_int_equal(try_stat(w->b, &g, NULL), 0);
        assert_quiet(w, w->b);
}

static void xattrs_are_told_to_who_asked(void **state)
{
        struct world *w = *state;
        struct slice value;
        assert_int_equal(set_xattr(w, "user.k", "1"), 0);
        assert_quiet(w, w->b);
        register_name(w, w->b, "user.*");
        register_name(w, w->b, "trusted.afr.x");
        assert_int_equal(set_xattr(w, "user.k", "22"), 0);
        assert_told(w, w->b, &w->f, 0x410);
        assert_int_equal(dict_get_bytes(&w->got.xdata, "user.k", &value), 0);
        assert_memory_equal(value.data, "22", 2);
        assert_int_equal(set_xattr(w, "trusted.k", "22"), 0);
        assert_quiet(w, w->b);

        struct removexattr_fop_req r = {.gfid = w->f, .name = STR("user.k"), .xdata = DICT_NULL};
        struct removexattr_fop_rep rr;
        assert_int_equal(CALL(w->a, REMOVEXATTR, &r, &rr), 0);
        assert_told(w, w->b, &w->f, 0x810);
        assert_int_equal(dict_get_bytes(&w->got.xdata, "user.k", &value), 0);
        assert_int_equal(value.len, 1);

        static const uint8_t one[12] = {[11] = 1}, none[12];
        for (uint8_t k = 1; k <= 2; k++) {
                struct xattrop_fop_req x = {.gfid = w->f, .xdata = DICT_NULL};
                struct xattrop_fop_rep xr;
                assert_int_equal(dict_add_ptr(&x.dict, &w->a->arena, "trusted.afr.x", one, sizeof one), 0);
                assert_int_equal(CALL(w->a, XATTROP, &x, &xr), 0);
                assert_told(w, w->b, &w->f, 0x400);
                assert_int_equal(dict_get_bytes(&w->got.xdata, "trusted.afr.x", &value), 0);
                assert_int_equal(value.data[11], k); /* what it is, not what was added */
        }
        struct xattrop_fop_req x = {.gfid = w->f, .xdata = DICT_NULL};
        struct xattrop_fop_rep xr;
        assert_int_equal(dict_add_ptr(&x.dict, &w->a->arena, "trusted.afr.x", none, sizeof none), 0);
        assert_int_equal(CALL(w->a, XATTROP, &x, &xr), 0);
        assert_quiet(w, w->b);
}

static void what_is_too_old_does_not_count(void **state)
{
        struct world *w = *state;
        assert_int_equal(brick_options_set(&w->h.options, "cache-invalidation-timeout", "0", NULL), 0);
        assert_int_equal(brick_reconfigure(w->h.brick, &w->h.options), 0);
        harness_next_tick();
        write_byte(w, w->a, 0);
        assert_quiet(w, w->b);
        assert_int_equal(watches(w), 1); /* A's, which is not old yet */
}

static void a_listing_is_a_look_at_all(void **state)
{
        struct world *w = *state;
        struct client *c = client_open(&w->h);
        struct readdirp_fop_req req = {.gfid = root, .fd = FD_ANONYMOUS, .size = 4096, .xdata = DICT_NULL};
        struct readdirp_fop_rep rep;
        assert_int_equal(CALL(c, READDIRP, &req, &rep), 0);
        write_byte(w, w->a, 0);
        assert_told(w, c, &w->f, 0x18);
        client_close(c);
        write_byte(w, w->a, 0); /* a client that went is not told */
}

static void a_sub_directory_mount_is_told_of_its_root(void **state)
{
        struct world *w = *state;
        struct gfid d = make_dir(w->a, &root, "d");
        struct client *c = client_open_subdir(&w->h, "/d", false);
        assert_int_equal(try_stat(c, &root, NULL), 0);
        assert_int_equal(try_stat(w->b, &d, NULL), 0);
        make_file(w->a, &d, "x");
        assert_told(w, c, &root, 0x10);
        assert_int_equal(w->got.stat.ino, 1);
        assert_true(gfid_equal(&w->got.stat.gfid, &root));
        assert_told(w, w->b, &d, 0x10);
        make_file(c, &root, "y");
        assert_told(w, w->b, &d, 0x10);
        assert_true(gfid_equal(&w->got.stat.gfid, &d));
        client_close(c);
}

/* More than one client may watch: its oldest are dropped, and it is told so. */
static void a_client_watches_so_many_objects(void **state)
{
        enum { LIMIT = 65536 };
        struct world *w = *state;
        struct op op = {.brick = w->h.brick, .session = w->b->session};
        for (uint32_t k = 0; k < LIMIT - 1; k++) {
                struct gfid g = harness_gfid(&w->h);
                upcall_watch(&op, &g);
        }
        assert_quiet(w, w->b);
        struct gfid g = harness_gfid(&w->h);
        upcall_watch(&op, &g);
        assert_told(w, w->b, &w->f, 0x100);
        assert_quiet(w, w->b);
        assert_int_equal(watches(w), LIMIT + 2); /* A watches the file and the root */
}

enum { CROWD = 4096 };

static void count_message(void *conn, const struct iovec *iov, int n)
{
        ++*(unsigned *)conn;
}

/* Processor time of ROUNDS looks by each of the CROWD, at one object or everyone at its own. */
static double looks(struct world *w, struct session *const *crowd, bool same)
{
        enum { ROUNDS = 3 };
        struct timespec begin, end;
        struct gfid g[CROWD];
        for (unsigned k = 0; k < CROWD; k++)
                g[k] = harness_gfid(&w->h);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        for (unsigned k = 0; k < ROUNDS * CROWD; k++) {
                struct op op = {.brick = w->h.brick, .session = crowd[k % CROWD]};
                upcall_watch(&op, &g[same ? 0 : k % CROWD]);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

/* As many as may watch one object: that is no work for each of them, and one more makes the oldest forget. */
static void so_many_clients_watch_an_object(void **state)
{
        struct world *w = *state;
        struct session *crowd[CROWD];
        static unsigned told[CROWD];
        const struct gfid g = harness_gfid(&w->h);
        struct op op = {.brick = w->h.brick, .session = w->b->session};
        upcall_watch(&op, &g);
        for (unsigned k = 0; k < CROWD; k++) {
                told[k] = 0;
                const struct session_config c = {.client_uid = "one", .op_version = 1, .send = count_message, .conn = &told[k]};
                assert_int_equal(session_open(w->h.brick, &c, &crowd[k]), 0);
                op.session = crowd[k];
                upcall_watch(&op, &g);
        }
        assert_told(w, w->b, &g, 0x100);
        assert_quiet(w, w->b);
        double own = looks(w, crowd, false), shared = looks(w, crowd, true);
        if (shared > 20 * own)
                fail_msg("%.3f s for one object, %.3f s for as many as clients", shared, own);
        for (unsigned k = 0; k < CROWD; k++) {
                assert_int_equal(told[k], 0);
                session_close(crowd[k]);
        }
}

static void names_are_bounded(void **state)
{
        struct world *w = *state;
        char name[32];
        struct ipc_fop_req req = {.op = 2};
        struct ipc_fop_rep rep;
        for (int k = 0; k < 256; k++) {
                (void)snprintf(name, sizeof name, "user.%d", k);
                register_name(w, w->b, name);
        }
        req.xdata = client_dict(w->b, "user.one-more", 1);
        assert_int_equal(CALL(w->b, IPC, &req, &rep), -ENOSPC);
        register_name(w, w->b, "user.7");
}

/* ---- those who ask ------------------------------------------------------------------------------------------------ */

static void ask_to_be_told(struct client *c)
{
        struct chain_objects_rep rep;
        assert_int_equal(client_watch_objects(c, &rep), 0);
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(rep.seconds, 60);
}

/* Whatever the options say, and nobody else is, nor anybody of what it did itself. */
static void who_asks_is_told(void **state)
{
        struct world *w = *state;
        ask_to_be_told(w->b);
        assert_int_equal(try_stat(w->a, &w->f, NULL), 0);
        assert_int_equal(try_stat(w->b, &w->f, NULL), 0);
        assert_int_equal(watches(w), 1);
        write_byte(w, w->b, 0);
        assert_quiet(w, w->a);
        assert_quiet(w, w->b);
        write_byte(w, w->a, 0);
        assert_told(w, w->b, &w->f, 0x18);
        assert_int_equal(set_xattr(w, "user.any", "1"), 0); /* the time of change moves on, and ACLs may have changed */
        assert_told(w, w->b, &w->f, 0x410);
        assert_int_equal(set_xattr(w, "trusted.any", "1"), 0);
        assert_quiet(w, w->b);
        assert_quiet(w, w->a);
        struct gfid g = make_file(w->b, &root, "own");
        assert_int_equal(try_unlink(w->b, &root, "own"), 0);
        assert_quiet(w, w->b);
        (void)g;
        client_close(w->b);
        w->b = client_open(&w->h);
        write_byte(w, w->a, 0); /* nobody asks any more */
        assert_int_equal(try_stat(w->b, &w->f, NULL), 0);
        assert_int_equal(watches(w), 0);
}

/* It believes for 60 seconds: those that its answer names, not what the option is now. */
static void what_was_promised_is_kept(void **state)
{
        struct world *w = *state;
        ask_to_be_told(w->b);
        assert_int_equal(try_stat(w->b, &w->f, NULL), 0);
        assert_int_equal(brick_options_set(&w->h.options, "cache-invalidation-timeout", "0", NULL), 0);
        assert_int_equal(brick_reconfigure(w->h.brick, &w->h.options), 0);
        harness_next_tick();
        write_byte(w, w->a, 0);
        char text[GFID_TEXT_LEN + 1];
        assert_int_equal(client_take_callback(w->b, &cache_invalidation_cbk_desc, &w->got), CALLBACK_CACHE_INVALIDATION);
        assert_string_equal(w->got.gfid.s, gfid_format(&w->f, text));
        struct chain_objects_rep rep;
        assert_int_equal(client_watch_objects(w->a, &rep), 0);
        assert_int_equal(rep.seconds, 0);
}

/* A request that began before another client's change, and makes its watch after it: its answer may be older. */
static void a_change_meanwhile_is_told(void **state)
{
        struct world *w = *state;
        ask_to_be_told(w->b);
        struct op op = {.brick = w->h.brick, .session = w->b->session, .changes = upcall_changes(w->h.brick)};
        write_byte(w, w->b, 0);
        upcall_watch(&op, &w->f);
        assert_quiet(w, w->b); /* its own */
        write_byte(w, w->a, 0);
        assert_told(w, w->b, &w->f, 0x18);
        write_byte(w, w->b, 0);
        upcall_watch(&op, &w->f);
        assert_told(w, w->b, &w->f, 0x2019); /* A's, though B's own came after it */
        op.changes = upcall_changes(w->h.brick);
        upcall_watch(&op, &w->f);
        assert_quiet(w, w->b);
}

/* Beyond the limit the oldest is forgotten, and who asked is told so. */
static void who_asks_is_told_at_the_limit(void **state)
{
        enum { LIMIT = 65536 };
        struct world *w = *state;
        ask_to_be_told(w->b);
        struct op op = {.brick = w->h.brick, .session = w->b->session, .changes = UINT64_MAX};
        upcall_watch(&op, &w->f);
        for (uint32_t k = 0; k < LIMIT; k++) {
                struct gfid g = harness_gfid(&w->h);
                upcall_watch(&op, &g);
        }
        assert_told(w, w->b, &w->f, 0x100);
        assert_quiet(w, w->b);
        assert_int_equal(watches(w), LIMIT);
}

struct busy {
        struct world *w;
        atomic_bool *stop;
        pthread_t thread;
};

static void *write_all_the_time(void *arg)
{
        struct busy *busy = arg;
        struct client *c = client_open(&busy->w->h);
        while (!atomic_load(busy->stop))
                write_byte(busy->w, c, 0);
        client_close(c);
        return NULL;
}

static void clients_come_and_go(void **state)
{
        struct world *w = *state;
        atomic_bool stop = false;
        struct busy busy[2];
        for (size_t k = 0; k < ELEMENTSOF(busy); k++) {
                busy[k] = (struct busy){.w = w, .stop = &stop};
                assert_int_equal(pthread_create(&busy[k].thread, NULL, write_all_the_time, &busy[k]), 0);
        }
        unsigned told = 0;
        for (int n = 0; n < 500 || told == 0; n++) {
                struct client *c = client_open(&w->h);
                assert_int_equal(try_stat(c, &w->f, NULL), 0);
                while (client_take_callback(c, &cache_invalidation_cbk_desc, &w->got) != 0)
                        told++;
                client_close(c);
        }
        atomic_store(&stop, true);
        for (size_t k = 0; k < ELEMENTSOF(busy); k++)
                pthread_join(busy[k].thread, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(nothing_is_said_while_off, setup_off, teardown),
                cmocka_unit_test_setup_teardown(contents, setup, teardown),
                cmocka_unit_test_setup_teardown(attributes, setup, teardown),
                cmocka_unit_test_setup_teardown(names, setup, teardown),
                cmocka_unit_test_setup_teardown(the_end_of_an_object, setup, teardown),
                cmocka_unit_test_setup_teardown(xattrs_are_told_to_who_asked, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_too_old_does_not_count, setup, teardown),
                cmocka_unit_test_setup_teardown(a_listing_is_a_look_at_all, setup, teardown),
                cmocka_unit_test_setup_teardown(a_sub_directory_mount_is_told_of_its_root, setup, teardown),
                cmocka_unit_test_setup_teardown(a_client_watches_so_many_objects, setup, teardown),
                cmocka_unit_test_setup_teardown(so_many_clients_watch_an_object, setup, teardown),
                cmocka_unit_test_setup_teardown(names_are_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(clients_come_and_go, setup, teardown),
                cmocka_unit_test_setup_teardown(who_asks_is_told, setup_off, teardown),
                cmocka_unit_test_setup_teardown(what_was_promised_is_kept, setup_off, teardown),
                cmocka_unit_test_setup_teardown(a_change_meanwhile_is_told, setup_off, teardown),
                cmocka_unit_test_setup_teardown(who_asks_is_told_at_the_limit, setup_off, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
