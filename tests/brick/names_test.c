/* Names of attributes and the weak checksum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "brick/checksum.h"
#include "brick/names.h"

static void globs(void **state)
{
        (void)state;
        static const struct {
                const char *pattern, *text;
                bool match;
        } cases[] = {
                {"", "", true},
                {"", "a", false},
                {"*", "", true},
                {"*", "a.b/c", true},
                {"a*", "abc", true},
                {"a*", "bac", false},
                {"*c", "abc", true},
                {"*b", "abc", false},
                {"a*c", "ac", true},
                {"a*b*c", "axxbyyc", true},
                {"a*b*c", "axxcyyb", false},
                {"?", "x", true},
                {"?", "", false},
                {"a?c", "abc", true},
                {"a?c", "ac", false},
                {"[abc]", "b", true},
                {"[abc]", "d", false},
                {"[!abc]", "d", true},
                {"[^abc]", "a", false},
                {"[a-f]x", "ex", true},
                {"[a-f]x", "gx", false},
                {"[]x]", "]", true},
                {"[a-]", "-", true},
                {"[abc", "[abc", true},
                {"\\*", "*", true},
                {"\\*", "x", false},
                {"a\\", "a\\", true},
                {"trusted.afr.*", "trusted.afr.v-client-0", true},
                {"trusted.afr.*", "trusted.afrx", false},
                {"*.glusterfs.*.xtime", "trusted.glusterfs.1234.xtime", true},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(glob_match(cases[i].pattern, cases[i].text), cases[i].match);
}

/* A pattern made to be slow: linear backtracking answers at once. */
static void hostile_pattern(void **state)
{
        (void)state;
        char pattern[256], text[256];
        for (int i = 0; i < 254; i += 2) {
                pattern[i] = '*';
                pattern[i + 1] = 'a';
        }
        pattern[254] = 'b';
        pattern[255] = '\0';
        memset(text, 'a', 255);
        text[255] = '\0';
        assert_false(glob_match(pattern, text));
}

static void classes(void **state)
{
        (void)state;
        assert_true(name_in_namespace("user.x"));
        assert_false(name_in_namespace("user."));
        assert_false(name_in_namespace("glusterfs.gfid"));
        assert_true(name_in_list("user.x", false));
        assert_true(name_in_list("trusted.glusterfs.dht", false));
        assert_false(name_in_list("trusted.glusterfs.mdata", false));
        assert_true(name_in_list("trusted.glusterfs.mdata", true));
        static const char *const never[] = {
                "trusted.gfid",
                "trusted.glusterfs.volume-id",
                "trusted.gfid2path.008fd96ad8b4256c",
                "trusted.glusterfs.b0b0.xtime",
                "trusted.glusterfs.b0b0.stime",
                "trusted.glusterfs.b0b0.entry_stime",
                "trusted.glusterfs.lockinfo",
                "trusted.glusterfs.volume-mark.x",
                "trusted.bit-rot.version",
                "trusted.bit-rot.signature",
        };
        for (size_t i = 0; i < ELEMENTSOF(never); i++) {
                assert_false(name_in_list(never[i], true));
                assert_false(name_in_heal_list(never[i]));
        }
        assert_false(name_in_heal_list("security.selinux"));
        assert_false(name_in_heal_list("trusted.glusterfs.quota.limit-set.1"));
        assert_true(name_in_heal_list("trusted.afr.dirty"));
}

static void weak_checksum(void **state)
{
        (void)state;
        assert_int_equal(checksum_weak(NULL, 0), 0);
        assert_int_equal(checksum_weak((const uint8_t *)"a", 1), 0x00610061);
        assert_int_equal(checksum_weak((const uint8_t *)"abc", 3), (0x061u + 0x0c3u + 0x126u) << 16 | 0x126u);
        uint8_t *ff = malloc(100000);
        assert_non_null(ff);
        memset(ff, 0xff, 100000);
        uint64_t a = 0, b = 0;
        for (int i = 0; i < 100000; i++) {
                a = (a + 0xff) % 65521;
                b = (b + a) % 65521;
        }
        assert_int_equal(checksum_weak(ff, 100000), b << 16 | a);
        free(ff);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(globs),
                cmocka_unit_test(hostile_pattern),
                cmocka_unit_test(classes),
                cmocka_unit_test(weak_checksum),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
