/* The generator against volfiles recorded from a stock daemon: whole layouts, and the effect of every single option. */
#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the above before it */
#include <cmocka.h>

static void compare_file(const char *name)
{
        char layout[64], file[64];
        assert_int_equal(sscanf(name, "layouts/%63[^/]/%63s", layout, file), 2);
        struct golden_spec s;
        golden_spec_load(layout, &s);
        _cleanup_free_ char *expected = golden_read(name);
        _cleanup_free_ char *actual = golden_generate(&s, file);
        golden_assert_equal(name, expected, actual);
        golden_spec_done(&s);
}

static void layouts_equal_stock(void **state)
{
        (void)state;
        assert_true(golden_each(".vol", compare_file) > 80);
}

/* Applies a difference in the form of `diff -n` ("dLINE COUNT", "aLINE COUNT" + lines) to TEXT. *AT moves behind it. */
static char *patch(const char *text, char **at)
{
        _cleanup_buf_ struct buf out = BUF_INIT(VOLFILE_TEXT_MAX);
        size_t line = 1, from, count;
        char letter[2];
        while (sscanf(*at, "%1[ad]%zu %zu", letter, &from, &count) == 3) {
                char op = letter[0];
                *at += strcspn(*at, "\n") + 1;
                for (size_t stop = op == 'a' ? from + 1 : from; line < stop; line++) {
                        size_t len = strcspn(text, "\n") + 1;
                        (void)buf_append(&out, text, len);
                        text += len;
                }
                for (; count > 0; count--) {
                        const char **skipped = op == 'a' ? (const char **)at : &text;
                        size_t len = strcspn(*skipped, "\n") + 1;
                        if (op == 'a')
                                (void)buf_append(&out, *skipped, len);
                        else
                                line++;
                        *skipped += len;
                }
        }
        (void)buf_append_str(&out, text);
        return strdup(buf_cstr(&out));
}

/* One chunk: "= KEY VALUE", then "@ FILE" and a difference for each file that changes; the others must not. */
static char *compare_effect(const char *layout, char *chunk)
{
        static const char *const files[] = {"client.vol",  "trusted.vol", "shd.vol",
                                            "brick-0.vol", "brick-1.vol", "brick-2.vol"};
        char key[128], value[256], name[GOLDEN_LINE_MAX];
        assert_int_equal(sscanf(chunk, "= %127s %255[^\n]", key, value), 2);
        chunk += strcspn(chunk, "\n") + 1;
        struct golden_spec s;
        golden_spec_load(layout, &s);
        golden_spec_set(&s, key, value);

        char *expected[ELEMENTSOF(files)];
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                (void)snprintf(name, sizeof name, "layouts/%s/%s", layout, files[i]);
                expected[i] = golden_read(name);
        }
        while (*chunk == '@') {
                char file[64];
                assert_int_equal(sscanf(chunk, "@ %63s", file), 1);
                chunk += strcspn(chunk, "\n") + 1;
                size_t i = 0;
                while (i < ELEMENTSOF(files) && !streq(files[i], file))
                        i++;
                assert_true(i < ELEMENTSOF(files));
                char *patched = patch(expected[i], &chunk);
                free(expected[i]);
                expected[i] = patched;
        }
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                if (!expected[i])
                        continue;
                _cleanup_free_ char *actual = golden_generate(&s, files[i]);
                (void)snprintf(name, sizeof name, "%s of %s with %s %s", files[i], layout, key, value);
                golden_assert_equal(name, expected[i], actual);
                free(expected[i]);
        }
        golden_spec_done(&s);
        return chunk;
}

static size_t compare_effects(const char *layout)
{
        char name[GOLDEN_LINE_MAX];
        (void)snprintf(name, sizeof name, "effects/%s.txt", layout);
        _cleanup_free_ char *text = golden_read(name);
        assert_non_null(text);
        size_t count = 0;
        for (char *chunk = text; *chunk; count++)
                chunk = compare_effect(layout, chunk);
        return count;
}

static void each_option_of_replicate_acts_as_in_stock(void **state)
{
        (void)state;
        assert_true(compare_effects("rep3") > 800);
}

static void each_option_of_disperse_acts_as_in_stock(void **state)
{
        (void)state;
        assert_true(compare_effects("disp") > 20);
}

static void each_option_of_distribute_acts_as_in_stock(void **state)
{
        (void)state;
        assert_true(compare_effects("dist") > 40);
}

static void remove_brick_names_the_sets_that_are_emptied(void **state)
{
        (void)state;
        struct golden_spec s;
        golden_spec_load("dr", &s);
        for (size_t i = 3; i < 6; i++)
                s.bricks[i].decommissioned = true;
        _cleanup_free_ char *text = golden_generate(&s, "client.vol");
        assert_non_null(strstr(
                text, "    option lock-migration off\n    option decommissioned-bricks dr-replicate-1\n    subvol"));
        golden_spec_done(&s);
}

static void bricks_keep_their_permanent_names(void **state)
{
        (void)state;
        struct golden_spec s;
        golden_spec_load("dist", &s);
        s.bricks[1].id = "dist-client-7";
        _cleanup_free_ char *text = golden_generate(&s, "client.vol");
        assert_non_null(strstr(text, "volume dist-client-7\n"));
        assert_non_null(strstr(text, "    subvolumes dist-client-0 dist-client-7\n"));
        golden_spec_done(&s);
}

static void parallel_readdir_shares_its_memory(void **state)
{
        (void)state;
        struct golden_spec s;
        golden_spec_load("dist", &s);
        golden_spec_set(&s, "performance.parallel-readdir", "on");
        golden_spec_set(&s, "performance.readdir-ahead", "on");
        golden_spec_set(&s, "performance.rda-cache-limit", "9999999");
        _cleanup_free_ char *text = golden_generate(&s, "client.vol");
        assert_non_null(strstr(text, "    option rda-cache-limit 4999999B\n"));
        golden_spec_done(&s);
}

static int check(const struct golden_spec *s)
{
        struct error err = {0};
        int r = volume_spec_check(&s->spec, &err);
        assert_true(r == 0 || (r == -EINVAL && err.text[0]));
        return r;
}

static void impossible_volumes_are_refused(void **state)
{
        (void)state;
        struct golden_spec s;
        golden_spec_load("arb", &s);
        assert_int_equal(check(&s), 0);
        static const char *const names[] = {"", "-a", "a b", "a.b", "a/b", "a\nend-volume"};
        const char *name = s.spec.name;
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                s.spec.name = names[i];
                assert_int_equal(check(&s), -EINVAL);
        }
        s.spec.name = name;
        s.spec.n_bricks = 2;
        assert_int_equal(check(&s), -EINVAL);
        s.spec.n_bricks = 0;
        assert_int_equal(check(&s), -EINVAL);
        s.spec.n_bricks = 3;
        s.spec.arbiter_count = 2;
        assert_int_equal(check(&s), -EINVAL);
        s.spec.arbiter_count = 0;
        s.spec.type = VOLUME_DISPERSE;
        s.spec.redundancy = 2;
        assert_int_equal(check(&s), -EINVAL);
        s.spec.redundancy = 1;
        assert_int_equal(check(&s), 0);
        s.bricks[1].path = "relative";
        assert_int_equal(check(&s), -EINVAL);
        golden_spec_done(&s);
}

static void failures_are_reported(void **state)
{
        (void)state;
        struct golden_spec s;
        golden_spec_load("one", &s);
        struct error err = {0};
        _cleanup_buf_ struct buf out = BUF_INIT(VOLFILE_TEXT_MAX);
        assert_int_equal(generate_shd(&s.spec, &out, &err), -EINVAL);
        assert_int_equal(generate_brick(&s.spec, 1, &out, &err), -EINVAL);
        s.bricks[0].path = "/a\nb";
        assert_int_equal(generate_client(&s.spec, CLIENT_PLAIN, &out, &err), -EINVAL);
        assert_non_null(strstr(err.text, "cannot be written"));
        s.bricks[0].path = "/a";
        s.bricks[0].id = "one-dht";
        assert_int_equal(generate_client(&s.spec, CLIENT_PLAIN, &out, &err), -EINVAL);
        s.bricks[0].id = NULL;
        s.spec.username = NULL;
        assert_int_equal(generate_client(&s.spec, CLIENT_TRUSTED, &out, &err), -EINVAL);
        assert_int_equal(out.len, 0);
        _cleanup_buf_ struct buf small = BUF_INIT(100);
        assert_int_equal(generate_client(&s.spec, CLIENT_PLAIN, &small, &err), -E2BIG);
        golden_spec_done(&s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(layouts_equal_stock),
                cmocka_unit_test(each_option_of_replicate_acts_as_in_stock),
                cmocka_unit_test(each_option_of_disperse_acts_as_in_stock),
                cmocka_unit_test(each_option_of_distribute_acts_as_in_stock),
                cmocka_unit_test(remove_brick_names_the_sets_that_are_emptied),
                cmocka_unit_test(bricks_keep_their_permanent_names),
                cmocka_unit_test(parallel_readdir_shares_its_memory),
                cmocka_unit_test(impossible_volumes_are_refused),
                cmocka_unit_test(failures_are_reported),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
