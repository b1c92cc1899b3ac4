/* base/buf.h: growth, the ceiling, the sticky error. */
#include "check.h"

#include "base/buf.h"

static void appends_in_order(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        assert_ok(buf_append(&b, "ab", 2));
        assert_ok(buf_append_str(&b, "cd"));
        assert_ok(buf_printf(&b, "-%d-%s", 7, "x"));
        assert_int_equal(b.len, 8);
        assert_string_equal(buf_cstr(&b), "abcd-7-x");
        assert_int_equal(b.len, 8);
}

static void empty_buffer_is_an_empty_string(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(16);
        assert_ok(buf_append(&b, NULL, 0));
        assert_string_equal(buf_cstr(&b), "");
}

static void ceiling_is_exact(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(1000);
        assert_non_null(buf_extend(&b, 1000));
        assert_int_equal(b.error, 0);
        assert_true(b.cap <= 1000);
        assert_int_equal(buf_append(&b, "x", 1), -E2BIG);
        assert_int_equal(b.len, 1000);
}

static void first_error_stays(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4);
        assert_int_equal(buf_append(&b, "12345", 5), -E2BIG);
        assert_int_equal(buf_append(&b, "1", 1), -E2BIG);
        assert_int_equal(b.len, 0);
        assert_null(buf_extend(&b, 1));
        assert_null(buf_cstr(&b));
        buf_reset(&b, 4096);
        assert_ok(buf_append(&b, "1", 1));
}

static void huge_request_does_not_wrap(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(SIZE_MAX / 2);
        assert_ok(buf_append(&b, "x", 1));
        assert_int_equal(buf_reserve(&b, SIZE_MAX), -E2BIG);
}

static void long_printf_grows(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        assert_ok(buf_printf(&b, "<%1000d>", 5));
        assert_int_equal(b.len, 1002);
        assert_int_equal(b.data[1001], '>');
        assert_int_equal(buf_printf(&b, "%4000d", 5), -E2BIG);
        assert_int_equal(b.len, 1002);
}

static void consume_moves_the_rest(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        assert_ok(buf_append_str(&b, "headtail"));
        buf_consume(&b, 4);
        assert_string_equal(buf_cstr(&b), "tail");
        buf_consume(&b, 4);
        assert_int_equal(b.len, 0);
}

static void reset_keeps_only_small_memory(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        assert_non_null(buf_extend(&b, 100));
        buf_reset(&b, 4096);
        assert_non_null(b.data);
        assert_non_null(buf_extend(&b, 100000));
        buf_reset(&b, 4096);
        assert_null(b.data);
        assert_int_equal(b.cap, 0);
        assert_int_equal(b.max, MIB);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(appends_in_order),           cmocka_unit_test(empty_buffer_is_an_empty_string),
                cmocka_unit_test(ceiling_is_exact),           cmocka_unit_test(first_error_stays),
                cmocka_unit_test(huge_request_does_not_wrap), cmocka_unit_test(long_printf_grows),
                cmocka_unit_test(consume_moves_the_rest),     cmocka_unit_test(reset_keeps_only_small_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
