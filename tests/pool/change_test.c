/* Changes of volumes: power cuts, failures and process crashes at every single effect leave the old or the new state.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#define STEPS_MAX 200

static const char brick_a[] = "/data/a", brick_b[] = "/data2/b";

/* A brick that belonged to another volume and one that does not exist: both kinds of origin. */
static const struct gfid old_mark = {.b = {9, 9, 9}};

static void prepare(struct world *w, uint64_t seed)
{
        world_init(w, seed);
        assert_int_equal(disk_mkdir(w->disk, AT_FDCWD, brick_b, 0700), 0);
        assert_int_equal(disk_setxattr(w->disk, AT_FDCWD, brick_b, VOLUME_ID_XATTR, old_mark.b, 16, 0), 0);
        for (const char *const *dir = (const char *const[]){"/data2", brick_b, NULL}; *dir; dir++) {
                int fd = disk_open(w->disk, AT_FDCWD, *dir, O_RDONLY | O_DIRECTORY, 0);
                assert_int_equal(disk_sync(w->disk, fd, false), 0);
                disk_close(w->disk, fd);
        }
}

static struct volume *subject(void)
{
        return world_volume("v", "here:/data/a", "here:/data2/b", NULL);
}

static int create(struct world *w)
{
        struct volume *v = subject();
        struct error e = {0};
        int r = change_create(&w->change, v, CHECK_FORCE, &e);
        if (r == 0)
                assert_int_equal(volume_set_put(&w->volumes, "v", v, NULL), 0);
        else
                volume_free(v);
        return r;
}

static int start(struct world *w)
{
        struct volume *v = volume_set_find(&w->volumes, "v");
        int r = change_start(&w->change, v, false, NULL);
        return r < 0 ? r : change_settle(&w->change, v, VOLUME_STARTED, NULL);
}

static int stop(struct world *w)
{
        struct volume *v = volume_set_find(&w->volumes, "v");
        int r = change_stop(&w->change, v, false, NULL);
        return r < 0 ? r : change_settle(&w->change, v, VOLUME_STOPPED, NULL);
}

static int delete (struct world *w)
{
        int r = change_delete(&w->change, volume_set_find(&w->volumes, "v"), NULL);
        if (r == 0)
                volume_set_remove(&w->volumes, "v");
        return r;
}

/* A state: -1 no volume, else its status. */
static int state(struct world *w)
{
        struct volume_entry *entry = volume_set_entry(&w->volumes, "v");
        if (!entry)
                return -1;
        assert_non_null(entry->volume);
        assert_int_equal(entry->volume->intent, INTENT_NONE);
        return (int)entry->volume->status;
}

static void assert_bricks(struct world *w, bool taken)
{
        _cleanup_volume_ struct volume *v = subject();
        assert_int_equal(world_marked(w, brick_a, &v->id), taken);
        assert_int_equal(world_marked(w, brick_b, taken ? &v->id : &old_mark), true);
        if (!taken) {
                assert_false(world_exists(w, brick_a));
                assert_false(world_exists(w, "/data2/b/.glusterfs"));
        } else {
                assert_true(world_exists(w, "/data/a/.glusterfs"));
                assert_true(world_exists(w, "/data2/b/.glusterfs"));
        }
}

struct step {
        int (*run)(struct world *);
        int before, after; /* states */
        bool taken_before, taken_after;
};

static const struct step steps[] = {
        {create, -1, VOLUME_CREATED, false, true},
        {start, VOLUME_CREATED, VOLUME_STARTED, true, true},
        {stop, VOLUME_STARTED, VOLUME_STOPPED, true, true},
        {delete, VOLUME_STOPPED, -1, true, true},
};

static void assert_old_or_new(struct world *w, const struct step *s)
{
        int now = state(w);
        assert_true(now == s->before || now == s->after);
        assert_bricks(w, now == s->before ? s->taken_before : s->taken_after);
}

/* The world just before step I. */
static void arrive(struct world *w, size_t i, uint64_t seed)
{
        prepare(w, seed);
        for (size_t k = 0; k < i; k++)
                assert_int_equal(steps[k].run(w), 0);
        sim_disk_faults_clear(w->sim);
}

/* The disk stops after the K-th effect; true if it came to that. */
static bool crash_at(size_t i, uint64_t k, bool power_cut)
{
        struct world w;
        arrive(&w, i, 1000 + k);
        sim_disk_stop_after(w.sim, k);
        int r = steps[i].run(&w);
        bool fired = sim_disk_fault_fired(w.sim);
        if (!fired)
                assert_int_equal(r, 0);
        world_halt(&w);
        sim_disk_faults_clear(w.sim);
        if (power_cut)
                sim_disk_power_cut(w.sim);
        else
                sim_disk_process_crash(w.sim);
        world_boot(&w);
        if (fired)
                assert_old_or_new(&w, &steps[i]);
        else
                assert_int_equal(state(&w), steps[i].after);
        world_done(&w);
        return fired;
}

static void crash_everywhere(bool power_cut)
{
        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                uint64_t k = 1;
                while (crash_at(i, k, power_cut))
                        assert_true(++k < STEPS_MAX);
                assert_true(k > 2);
        }
}

static void test_power_cut(void **unused)
{
        (void)unused;
        crash_everywhere(true);
}

static void test_process_crash(void **unused)
{
        (void)unused;
        crash_everywhere(false);
}

/* The K-th effect fails: the command fails and is undone at once, or succeeds all the same. */
static bool fail_at(size_t i, uint64_t k)
{
        struct world w;
        arrive(&w, i, 5000 + k);
        sim_disk_fail_nth(w.sim, k, EIO);
        int r = steps[i].run(&w);
        bool fired = sim_disk_fault_fired(w.sim);
        sim_disk_faults_clear(w.sim);
        if (!fired)
                assert_int_equal(r, 0);
        if (r < 0 && steps[i].run == create)
                assert_bricks(&w, false);
        world_halt(&w);
        world_boot(&w);
        if (r == 0)
                assert_int_equal(state(&w), steps[i].after);
        else
                assert_old_or_new(&w, &steps[i]);
        if (r < 0 && steps[i].run == create)
                assert_int_equal(state(&w), -1);
        world_done(&w);
        return fired;
}

static void test_failures(void **unused)
{
        (void)unused;
        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                for (uint64_t k = 1; fail_at(i, k); k++)
                        assert_true(k < STEPS_MAX);
}

/* An undo takes back only what is ours. */
static void test_undo_spares_others(void **unused)
{
        (void)unused;
        struct world w;
        prepare(&w, 1);
        struct volume *v = subject();
        struct error e = {0};
        bool gone;
        assert_int_equal(change_create(&w.change, v, CHECK_FORCE, &e), 0);
        v->intent = INTENT_CREATING;
        assert_int_equal(disk_mkdir(w.disk, AT_FDCWD, "/data/a/precious", 0755), 0);
        assert_int_equal(change_recover(&w.change, v, &gone, &e), 0);
        assert_true(gone);
        assert_true(world_exists(&w, "/data/a/precious"));
        assert_false(world_marked(&w, brick_a, &v->id));
        volume_free(v);
        world_done(&w);
}

static void assert_reason(int r, const struct error *e, const char *reason)
{
        assert_true(r < 0);
        assert_string_equal(e->text, reason);
}

static void test_refusals(void **unused)
{
        (void)unused;
        struct world w;
        struct error e = {0};
        prepare(&w, 1);
        assert_int_equal(create(&w), 0);
        struct volume *v = volume_set_find(&w.volumes, "v");
        assert_reason(change_stop(&w.change, v, false, &e), &e, "Volume v is not in the started state");
        assert_int_equal(start(&w), 0);
        assert_reason(change_start(&w.change, v, false, &e), &e, "Volume v already started");
        assert_reason(change_delete(&w.change, v, &e), &e,
                      "Volume v has been started.Volume needs to be stopped before deletion.");
        assert_int_equal(stop(&w), 0);
        assert_int_equal(v->version, 3);
        world_done(&w);
}

static void test_start_checks(void **unused)
{
        (void)unused;
        struct world w;
        struct error e = {0};
        prepare(&w, 1);
        assert_int_equal(create(&w), 0);
        struct volume *v = volume_set_find(&w.volumes, "v");
        assert_int_equal(disk_setxattr(w.disk, AT_FDCWD, brick_b, VOLUME_ID_XATTR, old_mark.b, 16, 0), 0);
        assert_reason(change_start(&w.change, v, false, &e), &e,
                      "Volume id mismatch for brick here:/data2/b. Expected volume id "
                      "76777879-7a7b-7c7d-7e7f-808182838485, volume"
                      " id 09090900-0000-0000-0000-000000000000 found");
        assert_int_equal(disk_removexattr(w.disk, AT_FDCWD, brick_b, VOLUME_ID_XATTR), 0);
        assert_reason(
                change_start(&w.change, v, false, &e), &e,
                "Failed to get extended attribute trusted.glusterfs.volume-id for brick dir /data2/b. Reason : No data"
                " available");
        assert_int_equal(disk_rename(w.disk, AT_FDCWD, "/data/a", AT_FDCWD, "/data/z", 0), 0);
        assert_reason(change_start(&w.change, v, false, &e), &e,
                      "Failed to find brick directory /data/a for volume v. Reason : No such file or directory");
        assert_int_equal(change_start(&w.change, v, true, &e), 0);
        world_done(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_power_cut), cmocka_unit_test(test_process_crash),
                cmocka_unit_test(test_failures),  cmocka_unit_test(test_undo_spares_others),
                cmocka_unit_test(test_refusals),  cmocka_unit_test(test_start_checks),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
