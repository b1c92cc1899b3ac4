/* Where a full crawl is, and how fast it goes (heal/position.h, heal/pace.h). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "heal/pace.h"
#include "heal/position.h"

static char dir[] = "/tmp/mortar-position-XXXXXX";
static const struct position_owner owner = {.dir = dir, .set = "v-replicate-0", .volume = "id-of-v"};

static struct position make(size_t n)
{
        struct position p = {.total = 100, .done = 40, .healed = 3, .n = n};
        p.directories = calloc(n ? n : 1, sizeof *p.directories);
        assert_non_null(p.directories);
        for (size_t k = 0; k < n; k++)
                memset(p.directories[k].b, (int)(k + 1), sizeof p.directories[k].b);
        return p;
}

static void what_is_saved_is_loaded(void **state)
{
        static const size_t sizes[] = {0, 1, 1000};
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(sizes); k++) {
                struct position p = make(sizes[k]), q = {0};
                assert_int_equal(position_save(&owner, &p), 0);
                assert_int_equal(position_load(&owner, &q), 0);
                assert_int_equal(q.n, p.n);
                assert_int_equal(q.total, 100);
                assert_int_equal(q.done, 40);
                assert_int_equal(q.healed, 3);
                if (p.n)
                        assert_memory_equal(q.directories, p.directories, p.n * sizeof *p.directories);
                position_done(&p);
                position_done(&q);
        }
        position_remove(&owner);
        struct position q;
        assert_int_equal(position_load(&owner, &q), -ENOENT);
}

static void too_many_leave_what_was(void **state)
{
        struct position p = make(2), many = make(POSITION_DIRECTORIES_MAX + 1), q = {0};
        (void)state;
        assert_int_equal(position_save(&owner, &p), 0);
        assert_int_equal(position_save(&owner, &many), 0);
        assert_int_equal(position_load(&owner, &q), 0);
        assert_int_equal(q.n, 2);
        position_done(&p);
        position_done(&many);
        position_done(&q);
}

static void another_volume_of_the_name_begins_anew(void **state)
{
        const struct position_owner other = {.dir = dir, .set = "v-replicate-0", .volume = "id-of-w"};
        struct position p = make(2), q;
        (void)state;
        assert_int_equal(position_save(&owner, &p), 0);
        assert_int_equal(position_load(&other, &q), -ENOENT);
        position_done(&p);
}

/* Every byte counts, and every length but the right one. */
static void damage_is_seen(void **state)
{
        struct position p = make(3), q;
        char path[128];
        struct stat st;
        (void)state;
        assert_int_equal(position_save(&owner, &p), 0);
        (void)snprintf(path, sizeof path, "%s/full-crawl-v-replicate-0", dir);
        assert_int_equal(stat(path, &st), 0);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        for (off_t at = 0; at < st.st_size; at++) {
                uint8_t byte, other;
                assert_int_equal(pread(fd, &byte, 1, at), 1);
                other = byte ^ 0x10;
                assert_int_equal(pwrite(fd, &other, 1, at), 1);
                assert_int_equal(position_load(&owner, &q), -ENOENT);
                assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        assert_int_equal(pwrite(fd, "", 1, st.st_size), 1);
        assert_int_equal(position_load(&owner, &q), -ENOENT);
        for (off_t size = 0; size < st.st_size; size += 7) {
                assert_int_equal(ftruncate(fd, size), 0);
                assert_int_equal(position_load(&owner, &q), -ENOENT);
        }
        (void)close(fd);
        position_done(&p);
        position_remove(&owner);
}

static void busy_bricks_are_left_to_clients(void **state)
{
        struct pace_learned l = {0};
        struct pace p = {.began = 1};
        uint64_t now = 1, looked = 0, step = MIB;
        (void)state;
        for (unsigned k = 0; k < 20; k++) { /* nobody else is there */
                now += 10 * NS_PER_MSEC;
                looked += step;
                assert_int_equal(pace_step(&l, &p, now, looked, looked), 0);
        }
        for (unsigned k = 0; k < 20; k++) { /* ten times as slow */
                now += 100 * NS_PER_MSEC;
                looked += step;
                assert_int_equal(pace_step(&l, &p, now, looked, looked), 100 * NS_PER_MSEC);
                now += 100 * NS_PER_MSEC;
                p.began = now;
        }
        now += 10 * NS_PER_SEC;
        assert_true(pace_step(&l, &p, now, looked + step, looked + step) <= NS_PER_SEC);
        now += 10 * NS_PER_MSEC;
        assert_int_equal(pace_step(&l, &p, now, looked + 2 * step, looked + 2 * step), 0);
        assert_int_equal(pace_step(&l, &p, now + NS_PER_SEC, looked + 2 * step + 10, looked + 2 * step + 10), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_saved_is_loaded),
                cmocka_unit_test(too_many_leave_what_was),
                cmocka_unit_test(another_volume_of_the_name_begins_anew),
                cmocka_unit_test(damage_is_seen),
                cmocka_unit_test(busy_bricks_are_left_to_clients),
        };
        if (!mkdtemp(dir))
                return 1;
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        (void)rmdir(dir);
        return failed;
}
