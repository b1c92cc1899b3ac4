/* Every step of every change fails once, and is once the last one before the power goes (spec: brick.md §21).
 *
 * Each scenario runs on the simulated disk with the n-th effect failing (n = 1, 2, … until none fails): afterwards the brick
 * must be consistent at once. Then again with the node gone after the n-th effect, as a process crash and as a power cut:
 * afterwards names may lack gfid or handle, the brick must open, looking everything up must repair it, and no file whose
 * creation was complete and synced before may be missing.
 */
#include "check.h"
#include "harness.h"

static const struct gfid root = GFID_ROOT;

struct scenario {
        const char *name;
        void (*prepare)(struct client *c);
        void (*run)(struct client *c); /* answers may be errors */
};

/* ---- scenarios ----------------------------------------------------------------------------------------------------- */

static const struct gfid dir_a = {.b = {0xaa, 1}}, dir_b = {.b = {0xaa, 2}}, file_f = {.b = {0xbb, 1}},
                         file_t = {.b = {0xbb, 2}}, fresh = {.b = {0xcc, 1}};

static void prepare_tree(struct client *c)
{
        assert_int_equal(try_mkdir(c, &root, "a", &dir_a), 0);
        assert_int_equal(try_mkdir(c, &root, "b", &dir_b), 0);
        assert_int_equal(try_mknod(c, &dir_a, "f", &file_f), 0);
        assert_int_equal(try_mknod(c, &dir_b, "t", &file_t), 0);
}

static void run_mkdir(struct client *c)
{
        (void)try_mkdir(c, &dir_a, "new", &fresh);
}
static void run_mknod(struct client *c)
{
        (void)try_mknod(c, &dir_a, "new", &fresh);
}
static void run_create(struct client *c)
{
        int64_t fd;
        if (try_create(c, &dir_a, "new", O_RDWR, &fresh, &fd) == 0)
                release(c, fd);
}
static void run_symlink(struct client *c)
{
        struct symlink_fop_rep rep;
        const struct symlink_fop_req req = {
                .pargfid = dir_a, .bname = STR("new"), .linkname = STR("t"), .xdata = client_gfid_req(c, &fresh)};
        (void)CALL(c, SYMLINK, &req, &rep);
}
static void run_link(struct client *c)
{
        (void)try_link(c, &file_f, &dir_b, "second");
}
static void run_unlink(struct client *c)
{
        (void)try_unlink(c, &dir_a, "f");
}
static void prepare_linked(struct client *c)
{
        prepare_tree(c);
        assert_int_equal(try_link(c, &file_f, &dir_b, "second"), 0);
}
static void run_unlink_open(struct client *c)
{
        int64_t fd;
        if (try_open(c, &file_f, O_RDWR, &fd) < 0)
                return;
        (void)try_unlink(c, &dir_a, "f");
        release(c, fd);
}
static void prepare_empty(struct client *c)
{
        prepare_tree(c);
        assert_int_equal(try_unlink(c, &dir_b, "t"), 0);
}
static void run_rmdir(struct client *c)
{
        (void)try_rmdir(c, &root, "b");
}
static void run_rename_new(struct client *c)
{
        (void)try_rename(c, &dir_a, "f", &dir_b, "new");
}
static void run_rename_over(struct client *c)
{
        (void)try_rename(c, &dir_a, "f", &dir_b, "t");
}
static void run_rename_dir(struct client *c)
{
        (void)try_rename(c, &root, "a", &dir_b, "moved");
}
static void run_rename_dir_over(struct client *c)
{
        (void)try_rename(c, &root, "a", &root, "b");
}
static void purge(struct harness *h)
{
        static uint64_t now;
        for (int k = 0; k < 4; k++)
                brick_purge(h->brick, now += 11 * NS_PER_SEC);
}
static void run_rmdir_whole(struct client *c)
{
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = root, .bname = STR("a"), .xflags = 1};
        (void)CALL(c, RMDIR, &req, &rep);
        purge(c->h);
}

static const struct scenario scenarios[] = {
        {"mkdir", prepare_tree, run_mkdir},
        {"mknod", prepare_tree, run_mknod},
        {"create", prepare_tree, run_create},
        {"symlink", prepare_tree, run_symlink},
        {"link", prepare_tree, run_link},
        {"unlink", prepare_tree, run_unlink},
        {"unlink one of two", prepare_linked, run_unlink},
        {"unlink open", prepare_tree, run_unlink_open},
        {"rmdir", prepare_empty, run_rmdir},
        {"rename", prepare_tree, run_rename_new},
        {"rename over", prepare_tree, run_rename_over},
        {"rename directory", prepare_tree, run_rename_dir},
        {"rename directory over", prepare_empty, run_rename_dir_over},
        {"rmdir with contents", prepare_tree, run_rmdir_whole},
};

/* ---- repairing by looking ------------------------------------------------------------------------------------------ */

static void look_at_all(struct client *c, const struct gfid *dir, const char *path);

struct look {
        struct client *c;
        struct gfid dir;
        const char *path;
};

static void look_at(struct look *l, const char *name)
{
        struct lookup_fop_rep rep;
        struct gfid g = harness_gfid(l->c->h);
        if (gfid_is_root(&l->dir) && streq(name, ".glusterfs"))
                return;
        const struct lookup_fop_req req = {
                .pargfid = l->dir, .bname = str_of(name), .xdata = client_gfid_req(l->c, &g)};
        assert_int_equal(CALL(l->c, LOOKUP, &req, &rep), 0);
        if (!S_ISDIR(rep.prestat.mode))
                return;
        char path[512];
        snprintf(path, sizeof path, "%s%s/", l->path, name);
        look_at_all(l->c, &rep.prestat.gfid, path);
}

static void look_at_all(struct client *c, const struct gfid *dir, const char *path)
{
        struct look l = {c, *dir, path};
        struct disk *d = c->h->disk;
        _Alignas(struct disk_dirent) uint8_t data[8192];
        int fd = disk_open(d, AT_FDCWD, on_disk(c->h, "%s", path), O_RDONLY | O_DIRECTORY, 0);
        assert_true(fd >= 0);
        ssize_t n = disk_getdents(d, fd, data, sizeof data);
        disk_close(d, fd);
        for (ssize_t at = 0; at < n;) {
                const struct disk_dirent *e = (const void *)(data + at);
                at += e->d_reclen;
                if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        look_at(&l, e->d_name);
        }
}

/* Crashes leave handles that lead nowhere; a client that still knows the gfid finds out. */
static void ask_for_known_gfids(struct client *c)
{
        const struct gfid all[] = {dir_a, dir_b, file_f, file_t, fresh};
        for (size_t k = 0; k < ELEMENTSOF(all); k++) {
                struct lookup_fop_rep rep;
                const struct lookup_fop_req req = {.gfid = all[k]};
                int r = CALL(c, LOOKUP, &req, &rep);
                assert_true(r == 0 || r == -ENOENT);
        }
}

/* ---- the loops ----------------------------------------------------------------------------------------------------- */

static bool fail_once(const struct scenario *s, uint64_t n)
{
        struct harness h;
        harness_sim(&h, n);
        struct client *c = client_open(&h);
        s->prepare(c);
        c->cred.flags = 0x1f;
        sim_disk_faults_clear(h.sim);
        sim_disk_fail_nth(h.sim, n, EIO);
        s->run(c);
        bool fired = sim_disk_fault_fired(h.sim);
        sim_disk_faults_clear(h.sim);
        purge(&h);
        look_at_all(c, &root, "");
        int bad = check_brick(h.disk, h.path, CHECK_CRASHED);
        ask_for_known_gfids(c);
        client_close(c);
        h.skip_check = true;
        bad += check_brick(h.disk, h.path, CHECK_NO_GFID2PATH | CHECK_UNLINK_LEFT);
        if (bad)
                fprintf(stderr, "scenario %s, effect %lu failing\n", s->name, (unsigned long)n);
        assert_int_equal(bad, 0);
        harness_close(&h);
        return fired;
}

static bool crash_once(const struct scenario *s, uint64_t n, bool power)
{
        struct harness h;
        harness_sim(&h, n * 2 + power);
        struct client *c = client_open(&h);
        s->prepare(c);
        c->cred.flags = 0x1f;
        for (int k = 0; k < 2; k++) { /* what is there is there for good */
                int fd = disk_open(h.disk, AT_FDCWD, h.path, O_RDONLY | O_DIRECTORY, 0);
                assert_int_equal(disk_sync(h.disk, fd, false), 0);
                disk_close(h.disk, fd);
        }
        sim_disk_faults_clear(h.sim);
        sim_disk_stop_after(h.sim, n);
        s->run(c);
        bool fired = sim_disk_fault_fired(h.sim);
        client_close(c);
        h.brick = brick_close(h.brick);
        if (power)
                sim_disk_power_cut(h.sim);
        else
                sim_disk_process_crash(h.sim);
        sim_disk_faults_clear(h.sim);
        harness_reopen(&h);
        purge(&h);
        c = client_open(&h);
        look_at_all(c, &root, "");
        int bad = check_brick(h.disk, h.path, CHECK_CRASHED); /* no file may be held by a handle that nobody asks for */
        ask_for_known_gfids(c);
        client_close(c);
        h.skip_check = true;
        bad += check_brick(h.disk, h.path, CHECK_NO_GFID2PATH);
        if (bad)
                fprintf(stderr, "scenario %s, %s after effect %lu\n", s->name, power ? "power cut" : "crash",
                        (unsigned long)n);
        assert_int_equal(bad, 0);
        harness_close(&h);
        return fired;
}

static void each_effect_fails_once(void **state)
{
        for (size_t k = 0; k < ELEMENTSOF(scenarios); k++) {
                uint64_t n = 1;
                while (fail_once(&scenarios[k], n))
                        n++;
                assert_true(n > 2); /* something did fail */
        }
}

static void the_process_dies_after_each_effect(void **state)
{
        for (size_t k = 0; k < ELEMENTSOF(scenarios); k++)
                for (uint64_t n = 1; crash_once(&scenarios[k], n, false); n++)
                        ;
}

static void the_power_goes_after_each_effect(void **state)
{
        for (size_t k = 0; k < ELEMENTSOF(scenarios); k++)
                for (uint64_t n = 1; crash_once(&scenarios[k], n, true); n++)
                        ;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_effect_fails_once),
                cmocka_unit_test(the_process_dies_after_each_effect),
                cmocka_unit_test(the_power_goes_after_each_effect),
        };
        return cmocka_run_group_tests_name("brick/crash", tests, NULL, NULL);
}
