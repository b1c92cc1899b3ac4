/* base/error.h: code, text, prefix, limits. */
#include "check.h"

#include "base/error.h"

static void set_returns_the_code_and_keeps_the_text(void **state)
{
        struct error e = {0};
        assert_int_equal(error_set(&e, -ENOENT, "brick %s is missing", "/b1"), -ENOENT);
        assert_int_equal(e.code, -ENOENT);
        assert_string_equal(e.text, "brick /b1 is missing");
}

static void nobody_listens(void **state)
{
        assert_int_equal(error_set(NULL, -EIO, "unheard"), -EIO);
        error_prefix(NULL, "unheard");
}

static void prefix_goes_before(void **state)
{
        struct error e = {0};
        error_prefix(&e, "nothing was reported");
        assert_string_equal(e.text, "");
        error_set(&e, -EIO, "cannot read");
        error_prefix(&e, "volume %d", 1);
        assert_string_equal(e.text, "volume 1: cannot read");
        assert_int_equal(e.code, -EIO);
}

static void long_texts_are_cut(void **state)
{
        struct error e = {0};
        error_set(&e, -EIO, "%2000d", 1);
        assert_int_equal(strlen(e.text), ERROR_TEXT_MAX - 1);
        error_set(&e, -EIO, "%1000d", 1);
        error_prefix(&e, "%100s", "context");
        assert_int_equal(strlen(e.text), ERROR_TEXT_MAX - 1);
        assert_non_null(strstr(e.text, "context: "));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(set_returns_the_code_and_keeps_the_text),
                cmocka_unit_test(nobody_listens),
                cmocka_unit_test(prefix_goes_before),
                cmocka_unit_test(long_texts_are_cut),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
