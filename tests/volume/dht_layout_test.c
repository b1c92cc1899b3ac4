/* Layouts: what is on disk, what can be wrong, and new ones with the figures that the product gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "volume/dht_hash.h"
#include "volume/dht_layout.h"

#define MANY 10

struct range {
        uint32_t start, stop;
};

static struct layout *compute(unsigned n, const uint64_t *weights, unsigned spread, const char *path, const bool *eligible)
{
        static const bool all[MANY] = {true, true, true, true, true, true, true, true, true, true};
        unsigned by_name[MANY];
        for (unsigned i = 0; i < n; i++)
                by_name[i] = i;
        struct layout *l = layout_new(n);
        const struct layout_plan plan = {
                .n = n,
                .by_name = by_name,
                .eligible = eligible ? eligible : all,
                .weights = weights,
                .spread = spread,
                .start_hash = dht_hash(path, strlen(path), DHT_CHAR_SIGNED),
                .commit = 7,
        };
        assert_int_equal(layout_compute(&plan, l), 0);
        return l;
}

static void expect(const struct layout *l, const struct range *want)
{
        for (unsigned i = 0; i < l->n; i++) {
                assert_int_equal(l->ranges[i].start, want[i].start);
                assert_int_equal(l->ranges[i].stop, want[i].stop);
                assert_int_equal(l->ranges[i].commit, 7);
                assert_int_equal(l->ranges[i].error, 0);
        }
}

static void expect_whole(const struct layout *l)
{
        struct layout_health h = layout_check(l);
        assert_int_equal(h.holes + h.overlaps + h.missing + h.bare + h.down + h.misc, 0);
        for (uint64_t hash = 0; hash <= UINT32_MAX; hash += 0x01234567)
                assert_true(layout_search(l, (uint32_t)hash) >= 0);
        assert_true(layout_search(l, UINT32_MAX) >= 0);
}

/* The recorded figures: three and four equal bricks, and where the first range goes. */
static void test_recorded(void **state)
{
        static const struct range three[3] = {{0, 0x55555554}, {0x55555555, 0xaaaaaaa9}, {0xaaaaaaaa, 0xffffffff}};
        static const struct range four[4] = {
                {0, 0x3ffffffe}, {0x3fffffff, 0x7ffffffd}, {0x7ffffffe, 0xbffffffc}, {0xbffffffd, 0xffffffff}};
        static const uint64_t equal[4] = {1000, 1000, 1000, 1000};
        static const struct {
                const char *path;
                unsigned first;
        } starts[] = {{"/", 1}, {"/dir1", 0}, {"/dir1/sub", 1}};
        for (size_t k = 0; k < ELEMENTSOF(starts); k++) {
                for (int weighted = 0; weighted < 2; weighted++) {
                        struct range want[3];
                        _cleanup_(layout_freep) struct layout *l =
                                compute(3, weighted ? equal : NULL, 0, starts[k].path, NULL);
                        for (unsigned i = 0; i < 3; i++)
                                want[(starts[k].first + i) % 3] = three[i];
                        expect(l, want);
                        expect_whole(l);
                }
        }
        _cleanup_(layout_freep) struct layout *l = compute(4, equal, 0, "/", NULL);
        struct range want[4];
        unsigned first = 0x8619bd58u % 4;
        for (unsigned i = 0; i < 4; i++)
                want[(first + i) % 4] = four[i];
        expect(l, want);
}

static void test_weights(void **state)
{
        static const uint64_t weights[3] = {100, 300, 100}, unknown[3] = {100, 0, 100};
        _cleanup_(layout_freep) struct layout *l = compute(3, weights, 0, "/dir1", NULL);
        expect_whole(l);
        uint64_t large = (uint64_t)l->ranges[1].stop - l->ranges[1].start;
        uint64_t small = (uint64_t)l->ranges[0].stop - l->ranges[0].start;
        assert_true(large > small * 29 / 10 && large < small * 31 / 10);
        _cleanup_(layout_freep) struct layout *same = compute(3, unknown, 0, "/dir1", NULL);
        expect_whole(same);
        assert_int_equal(same->ranges[0].stop, 0x55555554);
}

static void test_spread_and_eligible(void **state)
{
        static const bool some[4] = {true, false, true, true};
        _cleanup_(layout_freep) struct layout *l = compute(4, NULL, 2, "/x", NULL);
        unsigned used = 0;
        for (unsigned i = 0; i < 4; i++)
                used += layout_range_takes_names(&l->ranges[i]);
        assert_int_equal(used, 2);
        expect_whole(l);
        _cleanup_(layout_freep) struct layout *three = compute(4, NULL, 0, "/x", some);
        assert_false(layout_range_takes_names(&three->ranges[1]));
        expect_whole(three);
        static const bool nobody[4];
        unsigned by_name[4] = {0, 1, 2, 3};
        const struct layout_plan plan = {.n = 4, .by_name = by_name, .eligible = nobody};
        assert_int_equal(layout_compute(&plan, three), -ENOSPC);
}

/* Adding one: as many names as possible stay where they are. */
static void test_overlap(void **state)
{
        unsigned by_name[4] = {0, 1, 2, 3};
        static const bool all[4] = {true, true, true, true};
        static const bool old_ones[4] = {true, true, true, false};
        _cleanup_(layout_freep) struct layout *old = layout_new(4);
        _cleanup_(layout_freep) struct layout *plain = layout_new(4);
        _cleanup_(layout_freep) struct layout *kind = layout_new(4);
        struct layout_plan plan = {.n = 4, .by_name = by_name, .eligible = old_ones, .start_hash = 2};
        assert_int_equal(layout_compute(&plan, old), 0);
        plan.eligible = all;
        plan.start_hash = 3;
        assert_int_equal(layout_compute(&plan, plain), 0);
        plan.old = old;
        assert_int_equal(layout_compute(&plan, kind), 0);
        expect_whole(kind);
        uint64_t kept[2] = {0};
        const struct layout *both[2] = {plain, kind};
        for (unsigned k = 0; k < 2; k++)
                for (uint64_t hash = 0; hash <= UINT32_MAX; hash += 0x00123457)
                        kept[k] += layout_search(old, (uint32_t)hash) == layout_search(both[k], (uint32_t)hash);
        assert_true(kept[1] > kept[0]);
        assert_true(kept[1] * 2 > UINT32_MAX / 0x00123457); /* more than half */
}

static void test_disk(void **state)
{
        const struct layout_range r = {.commit = 0x58073389, .type = 1, .start = 0x55555555, .stop = 0xaaaaaaa9};
        static const uint8_t want[LAYOUT_DISK_SIZE] = {0x58, 0x07, 0x33, 0x89, 0,    0,    0,    1,
                                                       0x55, 0x55, 0x55, 0x55, 0xaa, 0xaa, 0xaa, 0xa9};
        uint8_t disk[LAYOUT_DISK_SIZE];
        layout_range_encode(&r, disk);
        assert_memory_equal(disk, want, sizeof want);
        struct layout_range back = layout_range_decode(disk, sizeof disk);
        assert_int_equal(back.start, r.start);
        assert_int_equal(back.stop, r.stop);
        assert_int_equal(back.commit, r.commit);
        assert_int_equal(back.type, 1);
        assert_int_equal(layout_range_decode(disk, 15).error, LAYOUT_NO_ATTRIBUTE);
}

static struct layout *made_of(unsigned n, const struct layout_range *ranges)
{
        struct layout *l = layout_new(n);
        memcpy(l->ranges, ranges, n * sizeof *ranges);
        layout_settle(l);
        return l;
}

static void test_anomalies(void **state)
{
        static const struct {
                struct layout_range r[3];
                struct layout_health want;
        } cases[] = {
                {{{.stop = 9}, {.start = 10, .stop = 99}, {.start = 100, .stop = UINT32_MAX}}, {0}},
                {{{.stop = 9}, {.start = 11, .stop = 99}, {.start = 100, .stop = UINT32_MAX}}, {.holes = 1}},
                {{{.stop = 10}, {.start = 10, .stop = 99}, {.start = 100, .stop = UINT32_MAX}}, {.overlaps = 1}},
                {{{.start = 1, .stop = 9}, {.start = 10, .stop = 99}, {.start = 100, .stop = UINT32_MAX}}, {.holes = 1}},
                {{{.stop = 9}, {.start = 10, .stop = 99}, {.start = 100, .stop = 1000}}, {.holes = 1}},
                {{{.error = LAYOUT_NO_ATTRIBUTE}, {.error = LAYOUT_NO_ATTRIBUTE}, {.error = LAYOUT_NO_ATTRIBUTE}},
                 {.bare = 3, .holes = 1}},
                {{{.stop = UINT32_MAX}, {.error = LAYOUT_NO_ATTRIBUTE}, {.error = ENOENT}}, {.bare = 1, .missing = 1}},
                {{{.stop = UINT32_MAX}, {.error = ENOTCONN}, {.error = EIO}}, {.down = 1, .misc = 1}},
                {{{.stop = UINT32_MAX}, {.stop = 0}, {.stop = UINT32_MAX}}, {.overlaps = 1}},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(layout_freep) struct layout *l = made_of(3, cases[i].r);
                struct layout_health h = layout_check(l);
                assert_memory_equal(&h, &cases[i].want, sizeof h);
        }
}

static void test_commit(void **state)
{
        struct layout_range r[2] = {{.commit = 5, .stop = 9}, {.commit = 5, .start = 10, .stop = UINT32_MAX}};
        _cleanup_(layout_freep) struct layout *same = made_of(2, r);
        assert_int_equal(same->commit, 5);
        r[1].commit = 6;
        _cleanup_(layout_freep) struct layout *differ = made_of(2, r);
        assert_int_equal(differ->commit, LAYOUT_COMMIT_INVALID);
        r[1] = (struct layout_range){.error = ENOTCONN};
        _cleanup_(layout_freep) struct layout *one = made_of(2, r);
        assert_int_equal(one->commit, 5);
        assert_int_equal(layout_search(one, 9), 0);
        assert_int_equal(layout_search(one, 10), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_recorded), cmocka_unit_test(test_weights), cmocka_unit_test(test_spread_and_eligible),
                cmocka_unit_test(test_overlap),  cmocka_unit_test(test_disk),    cmocka_unit_test(test_anomalies),
                cmocka_unit_test(test_commit),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
