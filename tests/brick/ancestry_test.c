/* The way to an object from the root, as text and as entries (spec: brick.md §8.19, §9, §10.3). */
#include "fixture.h"

static struct fixture fx;
static struct gfid a, b, f; /* /a, /a/b, /a/b/f which is also /a/second */

static int setup(void **state)
{
        (void)state;
        fixture_init(&fx);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fixture_done(&fx);
        return 0;
}

static int begin(void **state)
{
        (void)state;
        fixture_begin(&fx);
        fx.options.build_pgfid = true;
        fx.options.gfid2path = false;
        a = fixture_dir(&fx, GFID_ROOT, "a", 0755);
        b = fixture_dir(&fx, a, "b", 0755);
        f = fixture_file(&fx, b, "f", 0644);
        struct link_fop_rep rep;
        assert_int_equal(CALL(&fx, LINK, link, &rep, .oldgfid = f, .newgfid = a, .newbname = STR("second")), 0);
        return 0;
}

static int end(void **state)
{
        (void)state;
        fixture_end(&fx);
        return 0;
}

static int ask_path(struct gfid g, struct str *ret)
{
        struct getxattr_fop_rep rep;
        const struct str name = STR("glusterfs.ancestry.path");
        int r = CALL(&fx, GETXATTR, getxattr, &rep, .gfid = g, .namelen = name.len, .name = name);
        if (r == 0)
                assert_int_equal(dict_get_str(&rep.dict, &fx.arena, name.s, ret), 0);
        return r;
}

static void paths(void **state)
{
        (void)state;
        struct str path;
        assert_int_equal(ask_path(b, &path), 0);
        assert_string_equal(path.s, "/a/b");
        assert_int_equal(ask_path(f, &path), 0);
        assert_true(streq(path.s, "/a/b/f:/a/second") || streq(path.s, "/a/second:/a/b/f"));

        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.ancestry.path", 0), 0);
        struct lookup_fop_rep rep;
        assert_int_equal(CALL(&fx, LOOKUP, lookup, &rep, .gfid = f), 0);
        assert_true(dict_has(&fx.reply, "glusterfs.ancestry.path"));

        assert_int_equal(fixture_unlink(&fx, b, "f"), 0);
        assert_int_equal(ask_path(f, &path), 0);
        assert_string_equal(path.s, "/a/second");
}

static void files_need_pgfid(void **state)
{
        (void)state;
        struct str path;
        fx.options.build_pgfid = false;
        assert_int_equal(ask_path(f, &path), -ENODATA);
        assert_int_equal(ask_path(a, &path), 0);
}

static int list(struct gfid g, struct readdirp_fop_rep *rep)
{
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.ancestry.dentry", 1), 0);
        return CALL(&fx, READDIRP, readdirp, rep, .gfid = g, .fd = FD_ANONYMOUS, .size = 4096);
}

static void assert_entry(const struct readdirp_fop_rep *rep, uint32_t k, const char *name, struct gfid g)
{
        assert_true(k < rep->reply.n);
        assert_string_equal(rep->reply.v[k].name.s, name);
        assert_true(gfid_equal(&rep->reply.v[k].stat.gfid, &g));
}

static void entries(void **state)
{
        (void)state;
        struct readdirp_fop_rep rep;
        assert_int_equal(list(b, &rep), 0);
        assert_int_equal(rep.op_ret, 3);
        assert_entry(&rep, 0, "/", GFID_ROOT);
        assert_entry(&rep, 1, "a", a);
        assert_entry(&rep, 2, "b", b);
        assert_int_equal(list(GFID_ROOT, &rep), 0);
        assert_int_equal(rep.op_ret, 1);

        assert_int_equal(list(f, &rep), 0);
        assert_int_equal(rep.op_ret, 7);
        bool deep_first = rep.reply.v[2].type == 0 && streq(rep.reply.v[2].name.s, "b");
        assert_entry(&rep, deep_first ? 3 : 6, "f", f);
        assert_entry(&rep, deep_first ? 6 : 2, "second", f);
        fx.options.build_pgfid = false;
        assert_int_equal(list(f, &rep), -ENODATA);
        assert_int_equal(list(fixture_new_gfid(), &rep), -ENOENT);
}

/* As the kernel does it for a local file, whichever way it is cut. */
static void opening_to_cut_clears_set_id_bits(void **state)
{
        (void)state;
        struct open_fop_rep open;
        struct create_fop_rep create;
        struct gfid g = fixture_file(&fx, GFID_ROOT, "g", 06777);
        assert_int_equal(fixture_stat(&fx, "g").st_mode & 07777, 06777);
        fixture_be(&fx, 1000, 1000, 0);
        assert_int_equal(CALL(&fx, OPEN, open, &open, .gfid = g, .flags = O_RDWR), 0);
        assert_int_equal(fixture_stat(&fx, "g").st_mode & 07777, 06777);
        assert_int_equal(CALL(&fx, OPEN, open, &open, .gfid = g, .flags = O_RDWR | O_TRUNC), 0);
        assert_int_equal(fixture_stat(&fx, "g").st_mode & 07777, 0777);

        fixture_be(&fx, 0, 0, 0);
        g = fixture_file(&fx, GFID_ROOT, "h", 06777);
        assert_int_equal(CALL(&fx, OPEN, open, &open, .gfid = g, .flags = O_RDWR | O_TRUNC), 0); /* root may */
        assert_int_equal(fixture_stat(&fx, "h").st_mode & 07777, 06777);
        assert_int_equal(chmod(fx.path, 0777), 0);
        fixture_be(&fx, 1000, 1000, 0);
        assert_int_equal(dict_add_gfid(&fx.xdata, &fx.arena, "gfid-req", &g), 0);
        assert_int_equal(CALL(&fx, CREATE, create, &create, .pargfid = GFID_ROOT, .bname = STR("h"),
                              .flags = O_RDWR | O_CREAT | O_TRUNC, .mode = 0644), 0);
        assert_int_equal(fixture_stat(&fx, "h").st_mode & 07777, 0777);
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(paths),   WITH_BRICK(files_need_pgfid),
                WITH_BRICK(entries), WITH_BRICK(opening_to_cut_clears_set_id_bits),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
