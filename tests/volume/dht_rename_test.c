/* Renames over four bricks: every combination of where the old and the new name belong, and where the files are
 * (distribute.md §8.6, §8.7).
 */
#include "dht_look.h"

enum { NONE = -1 };

struct scene {
        struct world *w;
        int sh, sc, dh, dc;
        char from[80], to[80];
};

/* Makes /DIR/NAME, whose hash is HASHED's, with its data on CACHED. */
static void make_at(struct fibre *self, struct world_client *c, struct world *w, const char *path, int hashed, int cached,
                    const char *text)
{
        char name[64], temporary[80];
        if (hashed == cached) {
                assert_int_equal(files_create(self, c, path, text), 0);
                return;
        }
        (void)snprintf(temporary, sizeof temporary, "/%s", look_name(w, "/", "t", (unsigned)cached, name));
        assert_int_equal(files_create(self, c, temporary, text), 0);
        assert_int_equal(files_rename(self, c, temporary, path), 0);
        look_gone(w, temporary);
}

static void rename_one(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        char name[64], text[64];
        (void)snprintf(s->from, sizeof s->from, "/%s", look_name(s->w, "/", "from", (unsigned)s->sh, name));
        (void)snprintf(s->to, sizeof s->to, "/%s", look_name(s->w, "/", "to", (unsigned)s->dh, name));
        make_at(self, c, s->w, s->from, s->sh, s->sc, "source");
        look_file(s->w, s->from, (unsigned)s->sh, (unsigned)s->sc);
        if (s->dc != NONE) {
                make_at(self, c, s->w, s->to, s->dh, s->dc, "target");
                look_file(s->w, s->to, (unsigned)s->dh, (unsigned)s->dc);
        }
        assert_int_equal(files_rename(self, c, s->from, s->to), 0);
        look_gone(s->w, s->from);
        look_file(s->w, s->to, (unsigned)s->dh, (unsigned)s->sc);
        assert_int_equal(files_read(self, c, s->to, text, sizeof text), 6);
        assert_string_equal(text, "source");
        assert_int_equal(files_stat(self, c, s->from, &(struct iatt){0}), -ENOENT);
        struct iatt st;
        assert_int_equal(files_stat(self, c, s->to, &st), 0);
        assert_int_equal(st.nlink, 1);
}

static void remove_one(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        char text[64];
        assert_int_equal(files_read(self, c, s->to, text, sizeof text), 6);
        assert_int_equal(files_unlink(self, c, s->to), 0);
        look_gone(s->w, s->to);
}

/* The root of a new volume gets its layout when somebody looks it up. */
static void look_at_root(struct fibre *self, struct world_client *c, void *arg)
{
        struct iatt st;
        (void)arg;
        assert_int_equal(files_lookup(self, c, "/", &st), 0);
}

static void test_every_case(void **state)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .seed = 1, .clients = 2});
        world_run(&w, 0, look_at_root, NULL);
        for (int k = 0; k < 4 * 4 * 4 * 5; k++) {
                struct scene s = {.w = &w, .sh = k % 4, .sc = k / 4 % 4, .dh = k / 16 % 4, .dc = k / 64 - 1};
                world_run(&w, 0, rename_one, &s);
                world_run(&w, 1, remove_one, &s);
        }
        world_close(&w);
}

/* ---- into other directories, links ------------------------------------------------------------------------------------------- */

static void other_directory(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        char text[64];
        assert_int_equal(files_mkdir(self, c, "/a"), 0);
        assert_int_equal(files_mkdir(self, c, "/b"), 0);
        assert_int_equal(files_create(self, c, "/a/x", "text"), 0);
        for (unsigned i = 0; i < 4; i++) {
                assert_int_equal(files_rename(self, c, "/a/x", "/b/y"), 0);
                look_gone(w, "/a/x");
                assert_int_equal(files_rename(self, c, "/b/y", "/a/x"), 0);
                look_gone(w, "/b/y");
        }
        assert_int_equal(files_read(self, c, "/a/x", text, sizeof text), 4);
        assert_int_equal(files_rename(self, c, "/a/none", "/b/y"), -ENOENT);
        assert_int_equal(files_rename(self, c, "/a/x", "/b"), -EISDIR);
        assert_int_equal(files_rename(self, c, "/a", "/a/x"), -ENOTDIR);
}

/* Hard links: each name is found by its own pointer; renaming one onto another does nothing. */
static void links(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        char name[64], path[80], to[80], text[64];
        struct iatt st;
        assert_int_equal(files_create(self, c, "/linked", "text"), 0);
        unsigned data = look_hashed(w, "/", "linked");
        for (unsigned b = 0; b < 4; b++) {
                (void)snprintf(path, sizeof path, "/%s", look_name(w, "/", "link", b, name));
                assert_int_equal(files_link(self, c, "/linked", path), 0);
                assert_int_equal(files_link(self, c, "/linked", path), -EEXIST);
                look_file(w, path, b, data);
                assert_int_equal(files_read(self, c, path, text, sizeof text), 4);
        }
        assert_int_equal(files_stat(self, c, "/linked", &st), 0);
        assert_int_equal(st.nlink, 5);
        assert_int_equal(files_rename(self, c, "/linked", path), 0);
        look_file(w, "/linked", data, data);
        look_file(w, path, 3, data);
        for (unsigned b = 0; b < 4; b++) { /* each name goes elsewhere, the others stay */
                (void)snprintf(path, sizeof path, "/%s", look_name(w, "/", "link", b, name));
                (void)snprintf(to, sizeof to, "/%s", look_name(w, "/", "moved", (b + 1) % 4, name));
                assert_int_equal(files_rename(self, c, path, to), 0);
                look_gone(w, path);
                look_file(w, to, (b + 1) % 4, data);
        }
        for (unsigned b = 0; b < 4; b++) {
                (void)snprintf(to, sizeof to, "/%s", look_name(w, "/", "moved", b, name));
                assert_int_equal(files_unlink(self, c, to), 0);
                look_gone(w, to);
        }
        assert_int_equal(files_stat(self, c, "/linked", &st), 0);
        assert_int_equal(st.nlink, 1);
}

static void test_directories_and_links(void **state)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .seed = 2});
        world_run(&w, 0, other_directory, &w);
        world_run(&w, 0, links, &w);
        world_close(&w);
}

/* ---- renaming directories ------------------------------------------------------------------------------------------------------ */

static void move_directory(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        char text[64];
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
        assert_int_equal(files_mkdir(self, c, "/d/sub"), 0);
        assert_int_equal(files_create(self, c, "/d/file", "text"), 0);
        assert_int_equal(files_rename(self, c, "/d", "/e"), 0);
        look_gone(w, "/d");
        look_whole(w, "/e");
        look_whole(w, "/e/sub");
        assert_int_equal(files_read(self, c, "/e/file", text, sizeof text), 4);
        assert_int_equal(files_mkdir(self, c, "/empty"), 0);
        assert_int_equal(files_rename(self, c, "/e", "/empty"), 0);
        look_gone(w, "/e");
        look_whole(w, "/empty");
        assert_int_equal(files_mkdir(self, c, "/full"), 0);
        assert_int_equal(files_create(self, c, "/full/file", NULL), 0);
        assert_int_equal(files_rename(self, c, "/empty", "/full"), -ENOTEMPTY);
        look_whole(w, "/empty");
        look_whole(w, "/full");
        assert_int_equal(files_rename(self, c, "/empty/sub", "/full/sub"), 0);
        look_whole(w, "/full/sub");
}

static void all_up_needed(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        (void)w;
        assert_int_equal(files_rename(self, c, "/full", "/moved"), -ENOTCONN);
}

static void after_that(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        assert_int_equal(files_rename(self, c, "/full", "/moved"), 0);
        look_whole(w, "/moved");
        look_gone(w, "/full");
}

static bool all_connected(void *arg)
{
        const struct world *w = arg;
        const struct volume *vol = w->clients[0].volume;
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (!vol->by_slot[s]->up)
                        return false;
        return true;
}

static bool one_is_down(void *arg)
{
        return !all_connected(arg);
}

static void test_rename_directory(void **state)
{
        struct world w;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4, .seed = 3});
        world_run(&w, 0, move_directory, &w);
        world_brick_stop(&w.bricks[2]);
        world_until(&w, one_is_down, &w);
        world_run(&w, 0, all_up_needed, &w);
        world_brick_start(&w.bricks[2]);
        world_until(&w, all_connected, &w);
        world_run(&w, 0, after_that, &w);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_case),
                cmocka_unit_test(test_directories_and_links),
                cmocka_unit_test(test_rename_directory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
