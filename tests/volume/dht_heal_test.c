/* Distribute when things are not as they should be: sub-volumes down, layouts and attributes that differ, pointers that point
 * nowhere, layouts changed by others (distribute.md §7, §8, §10, §11).
 */
#include "dht_look.h"

static const struct gfid root = GFID_ROOT;

/* One step of a scene; world_run() it on the client that is to do it. */
struct scene {
        struct world *w;
        const char *path;
        int want;
        struct gfid gfid;
        unsigned brick;
        const char *name, *value;
        struct layout_range range;
};

static void lookup_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        struct iatt st;
        assert_int_equal(files_lookup(self, c, s->path, &st), s->want);
        if (s->want == 0)
                s->gfid = st.gfid;
}

static void mkdir_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(files_mkdir(self, c, s->path), s->want);
}

static void create_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(files_create(self, c, s->path, "text"), s->want);
}

static void unlink_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(files_unlink(self, c, s->path), s->want);
}

static void rmdir_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(files_rmdir(self, c, s->path), s->want);
}

static void chmod_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(files_chmod(self, c, s->path, 0700), s->want);
}

static void setxattr_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(files_setxattr(self, c, s->path, s->name, s->value), s->want);
}

static void set_on_brick(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        uint32_t len = s->value ? (uint32_t)strlen(s->value) : 0;
        assert_int_equal(look_set(self, c, s->brick, &s->gfid, s->name, s->value, len), 0);
}

static void set_range(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(look_set_range(self, c, s->brick, &s->gfid, &s->range), 0);
}

static void chmod_on_brick(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(look_chmod(self, c, s->brick, &s->gfid, 0123), 0);
}

static void lookup(struct world *w, const char *path, int want, struct gfid *ret)
{
        struct scene s = {.w = w, .path = path, .want = want};
        world_run(w, 0, lookup_it, &s);
        if (ret)
                *ret = s.gfid;
}

static void begin(struct world *w, uint64_t seed, unsigned clients)
{
        world_open(w, &(struct world_config){.layout = WORLD_DIST4, .seed = seed, .clients = clients});
        lookup(w, "/", 0, NULL);
}

static mode_t mode_on(struct world *w, unsigned brick, const char *path)
{
        struct stat st;
        char at[256];
        (void)snprintf(at, sizeof at, WORLD_BRICK_PATH "%s", path);
        assert_int_equal(disk_stat(world_disk(&w->bricks[brick]), AT_FDCWD, at, &st), 0);
        return st.st_mode & 07777;
}

static int32_t mds_on(struct world *w, unsigned brick, const char *path)
{
        uint8_t v[4];
        ssize_t n = world_xattr(&w->bricks[brick], path, DHT_KEY_MDS, v, sizeof v);
        assert_int_equal(n, sizeof v);
        return (int32_t)((uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3]);
}

/* ---- layouts -------------------------------------------------------------------------------------------------------------------- */

static void test_layout_lost(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d", .name = DHT_KEY};
        begin(&w, 1, 1);
        world_run(&w, 0, mkdir_it, &s);
        for (unsigned lost = 1; lost <= 4; lost++) { /* the layout of one, two, ... of them */
                lookup(&w, "/d", 0, &s.gfid);
                for (s.brick = 0; s.brick < lost; s.brick++)
                        world_run(&w, 0, set_on_brick, &s);
                assert_int_equal(look_range(&w, 0, "/d").error, LAYOUT_NO_ATTRIBUTE);
                lookup(&w, "/d", 0, NULL);
                look_whole(&w, "/d");
                assert_int_equal(look_range(&w, 0, "/d").commit, LAYOUT_COMMIT_INVALID);
        }
        world_close(&w);
}

/* After a sub-volume was added: it gets a range that takes no names, the others keep theirs. */
static void test_layout_bare(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d", .name = DHT_KEY};
        begin(&w, 2, 1);
        world_run(&w, 0, mkdir_it, &s);
        lookup(&w, "/d", 0, &s.gfid);
        for (s.brick = 0; s.brick < 3; s.brick++) {
                s.range = (struct layout_range){.start = s.brick * 0x55555555u, .stop = s.brick * 0x55555555u + 0x55555554u};
                if (s.brick == 2)
                        s.range.stop = UINT32_MAX;
                world_run(&w, 0, set_range, &s);
        }
        s.brick = 3;
        world_run(&w, 0, set_on_brick, &s);
        lookup(&w, "/d", 0, NULL);
        look_whole(&w, "/d");
        struct layout_range added = look_range(&w, 3, "/d");
        assert_int_equal(added.error + (int)added.start + (int)added.stop + (int)added.commit, 0);
        assert_int_equal(look_range(&w, 1, "/d").start, 0x55555555);
        world_close(&w);
}

/* Made by hand: a hole stays a hole, and what falls into it is refused. */
static void test_layout_by_hand(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d"};
        begin(&w, 3, 1);
        world_run(&w, 0, mkdir_it, &s);
        lookup(&w, "/d", 0, &s.gfid);
        for (s.brick = 0; s.brick < 4; s.brick++) {
                s.range = (struct layout_range){.type = LAYOUT_TYPE_USER, .start = 1, .stop = s.brick == 0 ? 2 : 1};
                if (s.brick > 0)
                        s.range.start = s.range.stop = 0;
                world_run(&w, 0, set_range, &s);
        }
        lookup(&w, "/d", 0, NULL);
        assert_int_equal(look_range(&w, 0, "/d").stop, 2);
        s.path = "/d/file";
        s.want = -EIO;
        world_run(&w, 0, create_it, &s);
        world_close(&w);
}

/* Another client has dealt the names anew; this one finds out when the brick refuses. */
static void test_layout_changed(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d"};
        char name[64], path[80], sub[64], sub_path[80];
        begin(&w, 4, 2);
        world_run(&w, 0, mkdir_it, &s);
        lookup(&w, "/d", 0, &s.gfid);
        unsigned before = look_hashed(&w, "/d", look_name(&w, "/d", "file", 1, name));
        (void)look_name(&w, "/d", "sub", 2, sub);
        struct layout_range ranges[4];
        for (unsigned b = 0; b < 4; b++)
                ranges[b] = look_range(&w, b, "/d");
        (void)snprintf(path, sizeof path, "/d/%s", name);
        (void)snprintf(sub_path, sizeof sub_path, "/d/%s", sub);
        for (s.brick = 0; s.brick < 4; s.brick++) {
                s.range = ranges[(s.brick + 1) % 4];
                s.range.commit = LAYOUT_COMMIT_INVALID;
                world_run(&w, 1, set_range, &s);
        }
        unsigned now = look_hashed(&w, "/d", name);
        assert_int_not_equal(now, before);
        s.path = path;
        world_run(&w, 0, create_it, &s);
        look_file(&w, path, now, now);
        s.path = sub_path;
        world_run(&w, 0, mkdir_it, &s);
        look_whole(&w, sub_path);
        world_close(&w);
}

/* The same without any look-up between: the layout that is known is out of date. */
static void create_with_old_layout(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct layout_range ranges[4];
        int result;
        _cleanup_vnode_ struct vnode *dir = files_find(self, c, "/d", &result);
        assert_non_null(dir);
        for (unsigned b = 0; b < 4; b++)
                ranges[b] = look_range(s->w, b, "/d");
        for (unsigned b = 0; b < 4; b++)
                assert_int_equal(look_set_range(self, c, b, &dir->gfid, &ranges[(b + 1) % 4]), 0);
        for (unsigned k = 0; k < 8; k++) {
                struct request r = world_request(c, &a);
                struct gfid gfid = world_gfid(c);
                _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &gfid, S_IFREG);
                char name[64], path[80];
                (void)snprintf(name, sizeof name, "%s%u", k % 2 ? "dir" : "file", k);
                (void)snprintf(path, sizeof path, "/d/%s", name);
                r.inode = i;
                r.parent = dir;
                unsigned hashed = look_hashed(s->w, "/d", name);
                if (k % 2) {
                        struct mkdir_fop_rep rep = {0};
                        struct mkdir_fop_req req = {.pargfid = dir->gfid,
                                                    .mode = 0755,
                                                    .bname = str_of(name),
                                                    .xdata = world_gfid_req(&a, &gfid)};
                        assert_int_equal(subvolume_mkdir(self, volume_top(c->volume), &r, &req, &rep), 0);
                        look_whole(s->w, path);
                        assert_int_equal(world_xattr(&s->w->bricks[hashed], path, DHT_KEY_MDS, NULL, 0), 4);
                } else {
                        _cleanup_vfile_ struct vfile *f = vfile_new(i, O_RDWR, false);
                        struct create_fop_rep rep = {0};
                        struct create_fop_req req = {.pargfid = dir->gfid,
                                                     .flags = O_RDWR | O_CREAT | O_EXCL,
                                                     .mode = 0644,
                                                     .bname = str_of(name),
                                                     .xdata = world_gfid_req(&a, &gfid)};
                        r.file = f;
                        assert_int_equal(subvolume_create(self, volume_top(c->volume), &r, &req, &rep), 0);
                        look_file(s->w, path, hashed, hashed);
                }
                for (unsigned b = 0; b < 4; b++)
                        ranges[b] = look_range(s->w, b, "/d");
                for (unsigned b = 0; b < 4; b++)
                        assert_int_equal(look_set_range(self, c, b, &dir->gfid, &ranges[(b + 1) % 4]), 0);
        }
}

static void test_old_layout(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d"};
        begin(&w, 5, 1);
        world_run(&w, 0, mkdir_it, &s);
        world_run(&w, 0, create_with_old_layout, &s);
        world_close(&w);
}

/* ---- sub-volumes down -------------------------------------------------------------------------------------------------------------- */

static void test_down(void **state)
{
        struct world w;
        struct scene s = {.w = &w};
        char away[64], here[64], path[80], lost[80], file[96];
        begin(&w, 6, 1);
        (void)snprintf(lost, sizeof lost, "/%s", look_name(&w, "/", "d", 2, away));
        (void)snprintf(path, sizeof path, "/%s", look_name(&w, "/", "d", 0, here));
        (void)snprintf(file, sizeof file, "%s/file", path);
        world_brick_stop(&w.bricks[2]);
        look_wait_down(&w, 2);
        s.path = lost; /* its place is not there: whether it exists is not known */
        s.want = -ENOTCONN;
        world_run(&w, 0, lookup_it, &s);
        world_brick_start(&w.bricks[2]);
        look_wait_up(&w);
        s.path = "/parent"; /* complete for what is below */
        s.want = 0;
        world_run(&w, 0, mkdir_it, &s);
        char below[64], below_lost[80], below_here[80];
        (void)snprintf(below_lost, sizeof below_lost, "/parent/%s", look_name(&w, "/parent", "d", 2, below));
        (void)snprintf(below_here, sizeof below_here, "/parent/%s", look_name(&w, "/parent", "d", 0, below));
        world_brick_stop(&w.bricks[2]);
        look_wait_down(&w, 2);
        s.want = -ENOTCONN;
        s.path = below_lost;
        world_run(&w, 0, mkdir_it, &s);
        world_run(&w, 0, create_it, &s);
        s.want = 0;
        s.path = below_here;
        world_run(&w, 0, mkdir_it, &s);
        s.want = -ENOTCONN;
        world_run(&w, 0, rmdir_it, &s);
        (void)snprintf(file, sizeof file, "%s/file", below_here);
        s.want = 0;
        s.path = file;
        world_run(&w, 0, create_it, &s); /* its layout does without the one that is down */
        world_brick_start(&w.bricks[2]);
        look_wait_up(&w);
        assert_false(world_exists(&w.bricks[2], below_here));
        lookup(&w, below_here, 0, NULL);
        look_whole(&w, below_here);
        assert_int_equal(look_range(&w, 2, below_here).stop, 0);
        world_close(&w);
}

/* ---- attributes --------------------------------------------------------------------------------------------------------------------- */

static void test_attributes(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d", .name = "user.colour", .value = "blue"};
        char text[64];
        begin(&w, 7, 1);
        world_run(&w, 0, mkdir_it, &s);
        unsigned mds = look_hashed(&w, "/", "d"), other = (mds + 1) % 4;
        lookup(&w, "/d", 0, &s.gfid);
        s.brick = other;
        world_run(&w, 0, chmod_on_brick, &s);
        assert_int_equal(mode_on(&w, other, "/d"), 0123);
        lookup(&w, "/d", 0, NULL);
        assert_int_equal(mode_on(&w, other, "/d"), 0755);

        world_run(&w, 0, setxattr_it, &s);
        for (unsigned b = 0; b < 4; b++)
                assert_int_equal(world_xattr(&w.bricks[b], "/d", "user.colour", text, sizeof text), 4);
        assert_int_equal(mds_on(&w, mds, "/d"), 0);

        world_brick_stop(&w.bricks[other]);
        look_wait_down(&w, other);
        s.value = "green";
        world_run(&w, 0, setxattr_it, &s);
        world_run(&w, 0, chmod_it, &s);
        assert_int_equal(mds_on(&w, mds, "/d"), -1);
        world_brick_start(&w.bricks[other]);
        look_wait_up(&w);
        lookup(&w, "/d", 0, NULL);
        assert_int_equal(mds_on(&w, mds, "/d"), 0);
        assert_int_equal(mode_on(&w, other, "/d"), 0700);
        assert_int_equal(world_xattr(&w.bricks[other], "/d", "user.colour", text, sizeof text), 5);

        world_brick_stop(&w.bricks[mds]);
        look_wait_down(&w, mds);
        s.want = -ENOTCONN;
        world_run(&w, 0, setxattr_it, &s);
        world_run(&w, 0, chmod_it, &s);
        world_brick_start(&w.bricks[mds]);
        look_wait_up(&w);

        s.want = 0; /* nobody has the counter: a new one */
        s.brick = mds;
        s.name = DHT_KEY_MDS;
        s.value = NULL;
        world_run(&w, 0, set_on_brick, &s);
        lookup(&w, "/d", 0, NULL);
        assert_int_equal(mds_on(&w, mds, "/d"), 0);
        world_close(&w);
}

/* ---- pointers ------------------------------------------------------------------------------------------------------------------------ */

static void make_on_brick(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(look_make(self, c, s->brick, &root, s->name, &s->gfid, s->value), 0);
}

static void unlink_on_brick(struct fibre *self, struct world_client *c, void *arg)
{
        struct scene *s = arg;
        assert_int_equal(look_unlink(self, c, s->brick, &root, s->name), 0);
}

static void test_stale_pointers(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .gfid = {.b = {9, [6] = 0x40, [8] = 0x80}}};
        char name[64], path[80];
        begin(&w, 8, 1);
        (void)snprintf(path, sizeof path, "/%s", look_name(&w, "/", "x", 0, name));
        s.name = name;
        s.path = path;

        s.brick = 0; /* points to nothing: it is removed */
        s.value = "vol-client-2";
        world_run(&w, 0, make_on_brick, &s);
        lookup(&w, path, -ENOENT, NULL);
        look_gone(&w, path);

        s.value = "vol-client-7"; /* points to nobody */
        world_run(&w, 0, make_on_brick, &s);
        world_run(&w, 0, create_it, &s);
        look_file(&w, path, 0, 0);
        s.want = 0;
        world_run(&w, 0, unlink_it, &s);

        s.brick = 1; /* where nobody looks for it */
        s.value = "vol-client-2";
        world_run(&w, 0, make_on_brick, &s);
        lookup(&w, path, -ENOENT, NULL);
        look_gone(&w, path);

        s.brick = 3; /* a file that nothing points to, and one that something else is pointed to */
        s.value = NULL;
        world_run(&w, 0, make_on_brick, &s);
        lookup(&w, path, 0, NULL);
        look_file(&w, path, 0, 3);
        s.brick = 0;
        world_run(&w, 0, unlink_on_brick, &s);
        s.value = "vol-client-1";
        world_run(&w, 0, make_on_brick, &s);
        lookup(&w, path, 0, NULL);
        look_file(&w, path, 0, 3);
        world_run(&w, 0, unlink_it, &s);
        look_gone(&w, path);
        world_close(&w);
}

/* Leftovers do not keep a directory from being removed, a file does. */
static void test_rmdir(void **state)
{
        struct world w;
        struct scene s = {.w = &w, .path = "/d"};
        begin(&w, 9, 1);
        world_run(&w, 0, mkdir_it, &s);
        s.path = "/d/file";
        world_run(&w, 0, create_it, &s);
        s.path = "/d";
        s.want = -ENOTEMPTY;
        world_run(&w, 0, rmdir_it, &s);
        look_whole(&w, "/d");
        s.path = "/d/file";
        s.want = 0;
        world_run(&w, 0, unlink_it, &s);
        s.path = "/d";
        world_run(&w, 0, rmdir_it, &s);
        look_gone(&w, "/d");
        world_close(&w);
}

/* ---- one name, several objects ----------------------------------------------------------------------------------------------------- */

static void test_conflict(void **state)
{
        struct world w;
        struct scene s = {.w = &w};
        char name[64], path[80];
        begin(&w, 10, 1);
        (void)snprintf(path, sizeof path, "/%s", look_name(&w, "/", "x", 0, name));
        s.name = name;
        for (s.brick = 1; s.brick < 3; s.brick++) {
                s.gfid = (struct gfid){.b = {(uint8_t)s.brick, [6] = 0x40, [8] = 0x80}};
                world_run(&w, 0, make_on_brick, &s);
        }
        lookup(&w, path, -EIO, NULL);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_layout_lost),    cmocka_unit_test(test_layout_bare),
                cmocka_unit_test(test_layout_by_hand), cmocka_unit_test(test_layout_changed),
                cmocka_unit_test(test_old_layout),     cmocka_unit_test(test_down),
                cmocka_unit_test(test_attributes),     cmocka_unit_test(test_stale_pointers),
                cmocka_unit_test(test_rmdir),          cmocka_unit_test(test_conflict),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
