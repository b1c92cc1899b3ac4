/* base/arena.h: alignment, zeroes, the ceiling, reuse. */
#include "check.h"

#include "base/arena.h"

static void memory_is_zeroed_and_aligned(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        for (size_t size = 1; size < 200; size++) {
                uint8_t *p = arena_alloc(&a, size);
                assert_non_null(p);
                assert_int_equal((uintptr_t)p % 16, 0);
                for (size_t i = 0; i < size; i++)
                        assert_int_equal(p[i], 0);
                memset(p, 0xff, size);
        }
}

static void memory_is_zeroed_after_reset(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        uint8_t *p = arena_alloc(&a, 64);
        memset(p, 0xff, 64);
        arena_reset(&a);
        assert_int_equal(a.used, 0);
        uint8_t *q = arena_alloc(&a, 64);
        assert_ptr_equal(p, q);
        assert_int_equal(q[63], 0);
}

static void ceiling_counts_what_is_taken(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(112);
        assert_non_null(arena_alloc(&a, 60));
        assert_null(arena_alloc(&a, 49));
        assert_non_null(arena_alloc(&a, 40));
        assert_null(arena_alloc(&a, 1));
        assert_null(arena_alloc(&a, SIZE_MAX));
        arena_reset(&a);
        assert_non_null(arena_alloc(&a, 112));
        a.max = 3200;
        arena_reset(&a);
        unsigned n = 0;
        while (arena_alloc(&a, 1)) /* small pieces cost what they take, or a message of them costs many times the ceiling */
                n++;
        assert_int_equal(n, 200);
        a.max = SIZE_MAX;
        assert_null(arena_alloc(&a, SIZE_MAX));
}

static void uninitialised_memory_is_the_earlier_one(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        uint8_t *p = arena_alloc_uninitialised(&a, 64);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xff, 64);
        arena_reset(&a);
        assert_ptr_equal(arena_alloc_uninitialised(&a, 64), p);
        assert_int_equal(p[63], 0xff);
        arena_reset(&a);
        assert_ptr_equal(arena_strndup(&a, "abc", 3), p);
        assert_string_equal((char *)p, "abc");
        arena_reset(&a);
        assert_ptr_equal(arena_printf(&a, "%d", 1), p);
        assert_string_equal((char *)p, "1");
}

static void larger_than_a_chunk(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        char *big = arena_alloc(&a, 300000);
        assert_non_null(big);
        big[299999] = 1;
        char *small = arena_alloc(&a, 10);
        assert_non_null(small);
        assert_true(small < big || small >= big + 300000);
}

static void array_size_overflow_is_refused(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(SIZE_MAX);
        assert_null(arena_alloc_array(&a, SIZE_MAX / 2, 4));
        assert_non_null(arena_alloc_array(&a, 10, 4));
}

static void strings_end_in_nul(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(4096);
        assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
        assert_string_equal(arena_strndup(&a, NULL, 0), "");
        assert_null(arena_strndup(&a, "x", SIZE_MAX));
        assert_string_equal(arena_printf(&a, "%s-%d", "n", 42), "n-42");
        assert_null(arena_printf(&a, "%5000d", 1));
}

static void adopted_memory_counts(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(1000);
        void *first = malloc(600), *second = malloc(300), *third = malloc(200);
        assert_int_equal(arena_adopt(&a, first, 600), 0);
        assert_int_equal(arena_adopt(&a, second, 300), 0);
        assert_int_equal(arena_adopt(&a, third, 200), -ENOMEM);
        assert_null(arena_alloc(&a, 200));
        assert_non_null(arena_alloc(&a, 64));
        arena_reset(&a);
        assert_int_equal(arena_adopt(&a, third, 200), 0);
        assert_non_null(arena_alloc(&a, 700));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(memory_is_zeroed_and_aligned),   cmocka_unit_test(memory_is_zeroed_after_reset),
                cmocka_unit_test(ceiling_counts_what_is_taken),  cmocka_unit_test(larger_than_a_chunk),
                cmocka_unit_test(array_size_overflow_is_refused), cmocka_unit_test(strings_end_in_nul),
                cmocka_unit_test(adopted_memory_counts),
                cmocka_unit_test(uninitialised_memory_is_the_earlier_one),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
