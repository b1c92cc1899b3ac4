/* A file that is being moved by a rebalancer, and a client that works on it meanwhile (distribute.md §12). The rebalancer is
 * played step by step by client 1, directly on the bricks.
 */
#include "dht_look.h"

#define SOURCE 0u
#define TARGET 1u

static const struct gfid root = GFID_ROOT;

struct move {
        struct world *w;
        char name[64], path[80];
        struct gfid gfid;
        struct vfile *file; /* of client 0 */
};

/* ---- what the rebalancer does ----------------------------------------------------------------------------------------------- */

static void set_linkto(struct fibre *self, struct world_client *c, struct move *m, unsigned brick, int to)
{
        char name[32];
        int n = snprintf(name, sizeof name, WORLD_VOLUME "-client-%d", to);
        assert_int_equal(look_set(self, c, brick, &m->gfid, DHT_KEY_LINKTO, to < 0 ? NULL : name, (uint32_t)n + 1), 0);
}

static void write_on(struct fibre *self, struct world_client *c, struct move *m, unsigned brick, const char *text)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &m->gfid, S_IFREG);
        _cleanup_vfile_ struct vfile *f = vfile_new(i, O_RDWR, false);
        struct request r = world_request(c, &a);
        struct open_fop_req open = {.gfid = m->gfid, .flags = O_RDWR, .xdata = DICT_NULL};
        struct open_fop_rep opened = {0};
        struct ftruncate_fop_req cut = {.gfid = m->gfid, .xdata = DICT_NULL};
        struct ftruncate_fop_rep was_cut = {0};
        uint32_t len = (uint32_t)strlen(text);
        struct write_fop_req write = {.gfid = m->gfid, .size = len, .data = {(const uint8_t *)text, len}, .xdata = DICT_NULL};
        struct write_fop_rep written = {0};
        r.inode = i;
        r.file = f;
        assert_int_equal(subvolume_open(self, look_child(c, brick), &r, &open, &opened), 0);
        assert_int_equal(subvolume_ftruncate(self, look_child(c, brick), &r, &cut, &was_cut), 0);
        if (len > 0)
                assert_int_equal(subvolume_write(self, look_child(c, brick), &r, &write, &written), len);
}

/* Phase 1: the destination exists, the source says where it goes. */
static void begin_move(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(look_make(self, c, TARGET, &root, m->name, &m->gfid, WORLD_VOLUME "-client-0"), 0);
        set_linkto(self, c, m, SOURCE, TARGET);
        assert_int_equal(look_chmod(self, c, SOURCE, &m->gfid, 0644 | S_ISVTX | S_ISGID), 0);
}

static void copy(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        char text[256];
        ssize_t n = world_read(&m->w->bricks[SOURCE], m->path, text, sizeof text - 1);
        assert_true(n >= 0);
        text[n] = '\0';
        write_on(self, c, m, TARGET, text);
}

/* Phase 2. */
static void switch_over(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(look_chmod(self, c, TARGET, &m->gfid, 0644), 0);
        assert_int_equal(look_chmod(self, c, SOURCE, &m->gfid, 01000), 0);
        write_on(self, c, m, SOURCE, "");
        set_linkto(self, c, m, TARGET, -1);
}

static void remove_source(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(look_unlink(self, c, SOURCE, &root, m->name), 0);
}

static void give_up(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(look_chmod(self, c, SOURCE, &m->gfid, 0644), 0);
        set_linkto(self, c, m, SOURCE, -1);
        write_on(self, c, m, TARGET, "");
}

/* ---- what the user does --------------------------------------------------------------------------------------------------------- */

static void expect(struct move *m, unsigned brick, const char *text)
{
        char have[256];
        ssize_t n = world_read(&m->w->bricks[brick], m->path, have, sizeof have - 1);
        assert_true(n >= 0);
        have[n] = '\0';
        assert_string_equal(have, text);
}

static void make_and_open(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        struct iatt st;
        assert_int_equal(files_lookup(self, c, "/", &st), 0);
        (void)snprintf(m->path, sizeof m->path, "/%s", look_name(m->w, "/", "f", SOURCE, m->name));
        assert_int_equal(files_create(self, c, m->path, "0123456789"), 0);
        m->gfid = look_gfid(m->w, SOURCE, m->path);
        m->file = files_open(self, c, m->path, O_RDWR, NULL);
        assert_non_null(m->file);
}

static void work_while_copied(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        struct iatt st;
        char text[64] = "";
        assert_int_equal(files_write_at(self, c, m->file, 2, "ab"), 2);
        expect(m, SOURCE, "01ab456789");
        expect(m, TARGET, "01ab456789");
        assert_true(world_xattr(&m->w->bricks[TARGET], m->path, DHT_KEY_PROTECT, NULL, 0) > 0);
        assert_true(world_xattr(&m->w->bricks[SOURCE], m->path, DHT_KEY_PROTECT, NULL, 0) < 0);
        assert_int_equal(files_stat(self, c, m->path, &st), 0);
        assert_int_equal(st.mode, S_IFREG | 0644);
        assert_int_equal(files_lookup(self, c, m->path, &st), 0);
        assert_int_equal(st.mode, S_IFREG | 0644);
        assert_int_equal(files_read_at(self, c, m->file, 0, text, 4), 4);
        assert_string_equal(text, "01ab");
        assert_int_equal(files_ftruncate(self, c, m->file, 8), 0);
        assert_int_equal(files_truncate(self, c, m->path, 6), 0);
        assert_int_equal(files_fsync(self, c, m->file), 0);
        assert_int_equal(files_flush(self, c, m->file), 0);
        expect(m, SOURCE, "01ab45");
        expect(m, TARGET, "01ab45");
        assert_int_equal(files_setxattr(self, c, m->path, "user.a", "b"), 0);
        assert_int_equal(world_xattr(&m->w->bricks[SOURCE], m->path, "user.a", NULL, 0), 1);
        assert_int_equal(world_xattr(&m->w->bricks[TARGET], m->path, "user.a", NULL, 0), 1);
        assert_int_equal(files_removexattr(self, c, m->path, "user.a"), 0);
        assert_true(world_xattr(&m->w->bricks[TARGET], m->path, "user.a", NULL, 0) < 0);
        struct vfile *truncated = files_open(self, c, m->path, O_RDWR | O_TRUNC, NULL);
        assert_non_null(truncated);
        expect(m, SOURCE, "");
        expect(m, TARGET, "");
        assert_int_equal(files_write_at(self, c, truncated, 0, "xyz"), 3);
        vfile_unref(truncated);
        assert_int_equal(files_chmod(self, c, m->path, 0600), 0);
        assert_int_equal(files_write_at(self, c, m->file, 3, "!"), 1); /* still known to be moved */
        expect(m, SOURCE, "xyz!");
        expect(m, TARGET, "xyz!");
        assert_int_equal(files_chmod(self, c, m->path, 0644), 0);
}

static void work_afterwards(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        char text[64] = "";
        assert_int_equal(files_read_at(self, c, m->file, 0, text, 4), 4);
        assert_string_equal(text, "xyz!");
        assert_int_equal(files_write_at(self, c, m->file, 4, "done"), 4);
        expect(m, TARGET, "xyz!done");
        assert_int_equal(files_fsync(self, c, m->file), 0);
        assert_int_equal(files_setxattr(self, c, m->path, "user.a", "b"), 0);
        assert_int_equal(world_xattr(&m->w->bricks[TARGET], m->path, "user.a", NULL, 0), 1);
}

static void close_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        (void)self;
        (void)c;
        m->file = vfile_unref(m->file);
}

static void begin(struct world *w, struct move *m, uint64_t seed)
{
        *m = (struct move){.w = w};
        world_open(w, &(struct world_config){.layout = WORLD_DIST4, .seed = seed, .clients = 2});
        world_run(w, 0, make_and_open, m);
}

static void end(struct world *w, struct move *m)
{
        world_run(w, 0, close_it, m);
        world_close(w);
}

/* ---- cases ------------------------------------------------------------------------------------------------------------------------ */

static void test_both_phases(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 1);
        world_run(&w, 1, begin_move, &m);
        world_run(&w, 1, copy, &m);
        world_run(&w, 0, work_while_copied, &m);
        world_run(&w, 1, switch_over, &m);
        world_run(&w, 0, work_afterwards, &m);
        expect(&m, SOURCE, "");
        world_run(&w, 1, remove_source, &m);
        world_run(&w, 0, work_afterwards, &m);
        end(&w, &m);
}

/* The client sees only the end: the file is gone where it was. */
static void write_after(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(files_write_at(self, c, m->file, 0, "AB"), 2);
        expect(m, TARGET, "AB23456789");
}

static void test_gone(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 2);
        world_run(&w, 1, begin_move, &m);
        world_run(&w, 1, copy, &m);
        world_run(&w, 1, switch_over, &m);
        world_run(&w, 1, remove_source, &m);
        world_run(&w, 0, write_after, &m);
        end(&w, &m);
}

/* A stat by gfid finds the file wherever it is. */
static void stat_after(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct request r = world_request(c, &a);
        struct stat_fop_req req = {.gfid = m->gfid, .xdata = DICT_NULL};
        struct stat_fop_rep rep = {0};
        r.inode = m->file->inode;
        assert_int_equal(subvolume_stat(self, volume_top(c->volume), &r, &req, &rep), 0);
        assert_int_equal(rep.stat.size, 10);
        assert_int_equal(rep.stat.mode, S_IFREG | 0644);
}

static void test_stat(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 3);
        world_run(&w, 0, stat_after, &m);
        world_run(&w, 1, begin_move, &m);
        world_run(&w, 0, stat_after, &m);
        world_run(&w, 1, copy, &m);
        world_run(&w, 1, switch_over, &m);
        world_run(&w, 0, stat_after, &m);
        world_run(&w, 1, remove_source, &m);
        world_run(&w, 0, stat_after, &m);
        end(&w, &m);
}

static void write_during(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(files_write_at(self, c, m->file, 0, "AB"), 2);
}

/* The move is given up: what was written is where the file is, and only there from then on. */
static void test_given_up(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 4);
        world_run(&w, 1, begin_move, &m);
        world_run(&w, 1, copy, &m);
        world_run(&w, 0, write_during, &m);
        expect(&m, TARGET, "AB23456789");
        world_run(&w, 1, give_up, &m);
        world_run(&w, 0, write_during, &m);
        expect(&m, SOURCE, "AB23456789");
        expect(&m, TARGET, "");
        end(&w, &m);
}

static void write_refused(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(files_write_at(self, c, m->file, 0, "CD"), -ENOTCONN);
}

/* A write that cannot reach the destination is not acknowledged. */
static void test_target_down(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 5);
        world_run(&w, 1, begin_move, &m);
        world_run(&w, 1, copy, &m);
        world_run(&w, 0, write_during, &m);
        world_brick_stop(&w.bricks[TARGET]);
        look_wait_down(&w, TARGET);
        world_run(&w, 0, write_refused, &m);
        world_brick_start(&w.bricks[TARGET]);
        look_wait_up(&w);
        world_run(&w, 0, write_during, &m);
        expect(&m, TARGET, "AB23456789");
        end(&w, &m);
}

/* Sticky and setgid on a file that is not moved: its owner's bits. */
static void own_bits(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        assert_int_equal(files_chmod(self, c, m->path, 0644 | S_ISVTX | S_ISGID), 0);
        assert_int_equal(files_write_at(self, c, m->file, 0, "AB"), 2);
        assert_int_equal(files_chmod(self, c, m->path, 01000), 0);
        assert_int_equal(files_write_at(self, c, m->file, 0, "CD"), 2);
        expect(m, SOURCE, "CD23456789");
        look_file(m->w, m->path, SOURCE, SOURCE);
}

static void test_own_bits(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 6);
        world_run(&w, 0, own_bits, &m);
        end(&w, &m);
}

/* Names while the file is being moved: a new link is made at the destination, too; the file can be removed. */
static void link_during(struct fibre *self, struct world_client *c, void *arg)
{
        struct move *m = arg;
        char name[64], path[80];
        (void)snprintf(path, sizeof path, "/%s", look_name(m->w, "/", "link", SOURCE, name));
        assert_int_equal(files_link(self, c, m->path, path), 0);
        assert_true(world_exists(&m->w->bricks[SOURCE], path));
        assert_true(world_exists(&m->w->bricks[TARGET], path));
        assert_int_equal(files_unlink(self, c, path), 0);
}

static void test_link(void **state)
{
        struct world w;
        struct move m;
        begin(&w, &m, 7);
        world_run(&w, 1, begin_move, &m);
        world_run(&w, 1, copy, &m);
        world_run(&w, 0, link_during, &m);
        end(&w, &m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_both_phases), cmocka_unit_test(test_gone),        cmocka_unit_test(test_stat),
                cmocka_unit_test(test_given_up),    cmocka_unit_test(test_target_down), cmocka_unit_test(test_own_bits),
                cmocka_unit_test(test_link),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
