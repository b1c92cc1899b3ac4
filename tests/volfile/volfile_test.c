/* Reading and writing volfiles. */
#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the above before it */
#include <cmocka.h>

static struct volfile *parse(const char *text)
{
        struct volfile *v = NULL;
        struct error err = {0};
        if (volfile_parse(text, strlen(text), &v, &err) != 0)
                fail_msg("%s", err.text);
        return v;
}

static void read_and_write(const char *name)
{
        _cleanup_free_ char *text = golden_read(name);
        _cleanup_volfile_ struct volfile *v = parse(text);
        _cleanup_buf_ struct buf out = BUF_INIT(VOLFILE_TEXT_MAX);
        assert_int_equal(volfile_format(v, &out), 0);
        golden_assert_equal(name, text, buf_cstr(&out));
}

static void recorded_files_survive_reading_and_writing(void **state)
{
        (void)state;
        assert_true(golden_each(".vol", read_and_write) > 80);
}

static void files_are_read(void **state)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX), little = BUF_INIT(8);
        struct error e = {0};
        char path[] = "/tmp/volfile-test.XXXXXX";
        int fd = mkstemp(path);
        (void)state;
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "volume x\n", 9), 9);
        assert_int_equal(close(fd), 0);
        assert_int_equal(volfile_read_file(path, &text, &e), 0);
        assert_int_equal(text.len, 9);
        assert_memory_equal(text.data, "volume x\n", 9);
        assert_true(volfile_read_file(path, &little, &e) < 0);
        assert_non_null(strstr(e.text, "too large"));
        assert_int_equal(unlink(path), 0);
        assert_int_equal(volfile_read_file(path, &text, &e), -ENOENT);
        assert_non_null(strstr(e.text, path));
}

static void parts_are_found(void **state)
{
        (void)state;
        _cleanup_free_ char *text = golden_read("layouts/arb/client.vol");
        _cleanup_volfile_ struct volfile *v = parse(text);
        assert_string_equal(volfile_top(v)->name, "arb");
        const struct volfile_section *s = volfile_find(v, "arb-replicate-0");
        assert_non_null(s);
        assert_string_equal(s->type, "cluster/replicate");
        assert_string_equal(section_option(s, "arbiter-count"), "1");
        assert_null(section_option(s, "arbiter"));
        assert_int_equal(s->n_subvolumes, 3);
        assert_ptr_equal(s->subvolumes[2], volfile_find(v, "arb-client-2"));
        assert_int_equal(volfile_find(v, "arb-client-0")->line, 1);
        assert_int_equal(volfile_find(v, "arb-client-1")->line, 17);
        assert_null(volfile_find(v, "arb-client-3"));
}

static void layout_of_the_text_does_not_matter(void **state)
{
        (void)state;
        _cleanup_volfile_ struct volfile *v =
                parse("# first\r\nvolume\ta # name\n type x/y option k#1 \"two words\" end-volume volume \"b c\"\n"
                      "type z subvolumes a option q \"a\\\"b\\\\c\\d\" option volume2 `id` end-volume # end");
        assert_int_equal(v->n_sections, 2);
        assert_string_equal(section_option(v->sections[0], "k#1"), "two words");
        assert_string_equal(v->sections[1]->name, "b c");
        assert_string_equal(section_option(v->sections[1], "q"), "a\"b\\cd");
        assert_string_equal(section_option(v->sections[1], "volume2"), "`id`");

        _cleanup_buf_ struct buf out = BUF_INIT(1000);
        assert_int_equal(volfile_format(v, &out), 0);
        assert_string_equal(buf_cstr(&out),
                            "volume a\n    type x/y\n    option k#1 \"two words\"\nend-volume\n\n"
                            "volume \"b c\"\n    type z\n    option q \"a\\\"b\\\\cd\"\n    option volume2 `id`\n"
                            "    subvolumes a\nend-volume\n");
}

static const struct {
        const char *text;
        const char *error;
} bad[] = {
        {"", "no section"},
        {"# only a comment", "no section"},
        {"hello", "line 1: \"hello\" where \"volume\""},
        {"volume", "line 1: the text ends where the name"},
        {"volume a\ntype", "line 2: the text ends where the type"},
        {"volume a option k v", "\"option\" where \"type\""},
        {"volume type type x end-volume", "line 1: \"type\" where the name"},
        {"volume a type x", "the text ends where end-volume"},
        {"volume a type x volume", "\"volume\" in section \"a\""},
        {"volume a type x\n\nother", "line 3: \"other\" in section \"a\""},
        {"volume a type x option k end-volume", "\"end-volume\" where the value"},
        {"volume a type x option end-volume", "\"end-volume\" where the key"},
        {"volume a type x option k v\noption k w end-volume", "line 2: option \"k\" is repeated in section \"a\""},
        {"volume a type x option \"\" v end-volume", "empty key"},
        {"volume \"\" type x end-volume", "empty name"},
        {"volume a type x subvolumes end-volume", "\"end-volume\" where the name of a subvolume"},
        {"volume a type x subvolumes b end-volume volume b type x end-volume",
         "subvolume \"b\" of \"a\" is not defined"},
        {"volume a type x subvolumes a end-volume", "subvolume \"a\" of \"a\" is not defined"},
        {"volume a type x end-volume volume b type x subvolumes a subvolumes a end-volume", "a second \"subvolumes\""},
        {"volume a type x end-volume\nvolume a type x end-volume", "line 2: section \"a\" is defined a second time"},
        {"volume \"a\nb\" type x end-volume", "line 1: a quoted word does not end"},
        {"volume \"a\\\nb\" type x end-volume", "line 1: a quoted word does not end"},
        {"volume \"a", "does not end"},
        {"volume \"a\\", "does not end"},
        {"volume a\"b type x end-volume", "unexpected \" inside a word"},
        {"volume a\\b type x end-volume", "unexpected \\ inside a word"},
        {"Volume a type x end-volume", "\"Volume\" where"},
        {"volume a type x end-volume end-volume", "\"end-volume\" where \"volume\""},
};

static void wrong_texts_are_refused_with_the_line(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                struct volfile *v = NULL;
                struct error err = {0};
                int r = volfile_parse(bad[i].text, strlen(bad[i].text), &v, &err);
                if (r != -EINVAL || v || !strstr(err.text, bad[i].error))
                        fail_msg("%s: %d, \"%s\" without \"%s\"", bad[i].text, r, err.text, bad[i].error);
        }
        static const char nul[] = "volume a\0b type x end-volume";
        struct volfile *v = NULL;
        struct error err = {0};
        assert_int_equal(volfile_parse(nul, sizeof nul - 1, &v, &err), -EINVAL);
        assert_non_null(strstr(err.text, "NUL"));
}

static void every_beginning_of_a_file_is_refused_cleanly(void **state)
{
        (void)state;
        _cleanup_free_ char *text = golden_read("layouts/one/client.vol");
        size_t len = strlen(text);
        size_t accepted = 0;
        for (size_t n = 0; n < len; n++) {
                struct volfile *v = NULL;
                struct error err = {0};
                accepted += volfile_parse(text, n, &v, &err) == 0;
                volfile_free(v);
        }
        assert_int_equal(accepted, 3 * 8 + 1); /* behind each end-volume and its two newlines */
}

static int parse_buf(struct buf *b)
{
        struct volfile *v = NULL;
        struct error err = {0};
        int r = volfile_parse((const char *)b->data, b->len, &v, &err);
        assert_true((r < 0) == (err.text[0] != '\0'));
        volfile_free(v);
        return r;
}

static void append_repeated(struct buf *b, const char *s, size_t n)
{
        for (size_t i = 0; i < n; i++)
                (void)buf_append_str(b, s);
}

static void bounds_hold(void **state)
{
        (void)state;
        _cleanup_buf_ struct buf b = BUF_INIT(VOLFILE_TEXT_MAX + 1000);
        for (int extra = 0; extra < 2; extra++) {
                buf_reset(&b, SIZE_MAX);
                (void)buf_append_str(&b, "volume ");
                append_repeated(&b, "a", VOLFILE_WORD_MAX + (size_t)extra);
                (void)buf_append_str(&b, " type x end-volume");
                assert_int_equal(parse_buf(&b), extra ? -E2BIG : 0);

                buf_reset(&b, SIZE_MAX);
                (void)buf_append_str(&b, "volume a type x ");
                for (int i = 0; i < VOLFILE_OPTIONS_MAX + extra; i++)
                        (void)buf_printf(&b, "option k%d v ", i);
                (void)buf_append_str(&b, "end-volume");
                assert_int_equal(parse_buf(&b), extra ? -E2BIG : 0);

                buf_reset(&b, SIZE_MAX);
                for (int i = 0; i < VOLFILE_SECTIONS_MAX + extra; i++)
                        (void)buf_printf(&b, "volume s%d type x end-volume ", i);
                assert_int_equal(parse_buf(&b), extra ? -E2BIG : 0);
        }
        buf_reset(&b, SIZE_MAX);
        (void)buf_append_str(&b, "volume a type x end-volume");
        append_repeated(&b, "\n", VOLFILE_TEXT_MAX - b.len);
        assert_int_equal(parse_buf(&b), 0);
        (void)buf_append_str(&b, "\n");
        assert_int_equal(parse_buf(&b), -E2BIG);
}

static void built_text_reads_back(void **state)
{
        (void)state;
        _cleanup_volfile_ struct volfile *v = volfile_new();
        struct volfile_section *a, *b;
        assert_int_equal(volfile_add(v, "volume", "x/y", &a), 0);
        assert_int_equal(volfile_add(v, "volume", "x/y", &b), -EEXIST);
        assert_int_equal(volfile_add(v, "", "x/y", &b), -EINVAL);
        assert_int_equal(volfile_add(v, "a\nb", "x/y", &b), -EINVAL);
        assert_int_equal(section_add_option(v, a, "empty", ""), 0);
        assert_int_equal(section_add_option(v, a, "empty", "x"), -EEXIST);
        assert_int_equal(section_add_option(v, a, "#k", "a\tb\rc # \"\\"), 0);
        assert_int_equal(section_add_option(v, a, "nl", "a\nb"), -EINVAL);
        assert_int_equal(section_add_subvolume(v, a, "volume"), -ENOENT);
        assert_int_equal(section_add_subvolume(v, a, "none"), -ENOENT);
        assert_int_equal(volfile_add(v, "b", "end-volume", &b), 0);
        assert_int_equal(section_add_subvolume(v, b, "volume"), 0);

        _cleanup_buf_ struct buf text = BUF_INIT(1000);
        assert_int_equal(volfile_format(v, &text), 0);
        _cleanup_volfile_ struct volfile *again = parse(buf_cstr(&text));
        assert_string_equal(again->sections[0]->name, "volume");
        assert_string_equal(section_option(again->sections[0], "empty"), "");
        assert_string_equal(section_option(again->sections[0], "#k"), "a\tb\rc # \"\\");
        assert_string_equal(again->sections[1]->type, "end-volume");
        _cleanup_buf_ struct buf small = BUF_INIT(10);
        assert_int_equal(volfile_format(v, &small), -E2BIG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(recorded_files_survive_reading_and_writing),
                cmocka_unit_test(files_are_read),
                cmocka_unit_test(parts_are_found),
                cmocka_unit_test(layout_of_the_text_does_not_matter),
                cmocka_unit_test(wrong_texts_are_refused_with_the_line),
                cmocka_unit_test(every_beginning_of_a_file_is_refused_cleanly),
                cmocka_unit_test(bounds_hold),
                cmocka_unit_test(built_text_reads_back),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
