/* `volume heal … info` is rendered as stock renders it (cli/heal_text.c), and --watch says what is the matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "cli/heal.h"

#define BRICK1 "10.99.0.1:/data/b1/gv0"
#define BRICK2 "10.99.0.2:/data/b1/gv0"

static const char look_text[] =
        "{'name': 'gv0', 'set_size': 2, 'bricks': ["
        "{'name': '" BRICK1 "', 'host': '10.99.0.1', 'local': true, 'uuid': 'b8b67340-ea01-4887-974c-73cc02e07d28'},"
        "{'name': '" BRICK2 "', 'host': '10.99.0.2', 'local': false, 'uuid': '-'}]}";
static const char second_uuid[] = "69fa1373-d87e-4627-83d5-1d28a33d8cae";
static const char clean[] = "{'bricks': ["
                            "{'brick': '" BRICK1 "', 'connected': true, 'total': 0, 'pending': 0, 'healing': 0, 'split_brain': 0, 'entries': []},"
                            "{'brick': '" BRICK2 "', 'connected': true, 'uuid': '%s', 'total': 0, 'pending': 0, 'healing': 0, 'split_brain': 0, 'entries': []}]}";
static const char away[] =
        "{'bricks': [{'brick': '" BRICK1 "', 'connected': true, 'total': 7, 'pending': 7, 'healing': 0, 'split_brain': 0, 'entries': ["
        "{'gfid': 'a05a049a-2415-491f-ba6d-5f87e5a21d69', 'path': '/f1', 'state': 'pending'},"
        "{'gfid': '7d2307af-6d6a-44ed-996a-dd271ec0d5bd', 'path': '/n1', 'state': 'pending'},"
        "{'gfid': '00000000-0000-0000-0000-000000000001', 'path': '/', 'state': 'pending'},"
        "{'gfid': '82460db0-08c6-4fdb-950e-66fe33f4447b', 'path': '/d/e', 'state': 'pending'},"
        "{'gfid': '0e73d027-18aa-4376-9827-5ca30cbba652', 'path': '/d', 'state': 'pending'},"
        "{'gfid': '2e441134-8df5-4a2c-b783-042fc3a43c86', 'path': '/d/e/h', 'state': 'pending'},"
        "{'gfid': '46bc08e1-6d06-49f8-9de9-980c91751cf5', 'path': '/f3', 'state': 'pending'}]},"
        "{'brick': '" BRICK2 "', 'connected': false, 'entries': []}]}";
#define SPLIT_FILE "[{'gfid': '8d24d8af-a28a-4e68-8b5b-982b6cec272a', 'path': '/sb', 'state': 'split-brain'}]"
static const char split[] =
        "{'bricks': [{'brick': '" BRICK1 "', 'connected': true, 'total': 1, 'pending': 0, 'healing': 0, 'split_brain': 1, 'entries': " SPLIT_FILE "},"
        "{'brick': '" BRICK2 "', 'connected': true, 'uuid': '%s', 'total': 1, 'pending': 0, 'healing': 0, 'split_brain': 1, 'entries': " SPLIT_FILE "}]}";

/* JSON with single quotes; %s is the second node. */
static json_t *parse(const char *text)
{
        char *copy = NULL;
        const char *hole = strstr(text, "%s");
        assert_true(asprintf(&copy, "%.*s%s%s", (int)(hole ? hole - text : (ptrdiff_t)strlen(text)), text,
                             hole ? second_uuid : "", hole ? hole + 2 : "") >= 0);
        for (char *at = copy; *at; at++)
                *at = *at == '\'' ? '"' : *at;
        json_error_t e;
        json_t *o = json_loads(copy, 0, &e);
        if (!o)
                fail_msg("%s: %s", e.text, copy);
        free(copy);
        return o;
}

static char *read_golden(const char *name)
{
        char path[512];
        size_t n = 0;
        char *text = NULL;
        (void)snprintf(path, sizeof path, HEAL_DATA "/%s", name);
        FILE *f = fopen(path, "re");
        if (!f)
                fail_msg("%s: %s", path, strerror(errno));
        assert_true(getdelim(&text, &n, '\0', f) > 0);
        (void)fclose(f);
        return text;
}

static void compare(const char *name, const char *got)
{
        char *wanted = read_golden(name);
        if (!streq(wanted, got))
                fail_msg("%s:\n%s\nwanted:\n%s", name, got, wanted);
        free(wanted);
}

typedef void (*print_fn)(FILE *out, const json_t *look, const json_t *info, enum heal_view view);

static void check(const char *name, const char *info_text, enum heal_view view, print_fn print)
{
        json_t *look = parse(look_text), *info = parse(info_text);
        char *got = NULL;
        size_t size;
        FILE *out = open_memstream(&got, &size);
        print(out, look, info, view);
        (void)fclose(out);
        compare(name, got);
        free(got);
        json_decref(look);
        json_decref(info);
}

static void info_is_as_stock_prints_it(void **state)
{
        static const struct {
                const char *name, *info;
                enum heal_view view;
        } rows[] = {{"clean.txt", clean, HEAL_INFO},
                    {"clean-summary.txt", clean, HEAL_SUMMARY},
                    {"clean-split-brain.txt", clean, HEAL_SPLIT_BRAIN},
                    {"away.txt", away, HEAL_INFO},
                    {"away-summary.txt", away, HEAL_SUMMARY},
                    {"away-split-brain.txt", away, HEAL_SPLIT_BRAIN},
                    {"split.txt", split, HEAL_INFO},
                    {"split-summary.txt", split, HEAL_SUMMARY},
                    {"split-split-brain.txt", split, HEAL_SPLIT_BRAIN}};
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(rows); k++)
                check(rows[k].name, rows[k].info, rows[k].view, heal_print_info);
}

static void so_are_its_documents(void **state)
{
        static const struct {
                const char *name, *info;
                enum heal_view view;
        } rows[] = {{"clean.xml", clean, HEAL_INFO},
                    {"clean-summary.xml", clean, HEAL_SUMMARY},
                    {"away.xml", away, HEAL_INFO},
                    {"away-split-brain.xml", away, HEAL_SPLIT_BRAIN},
                    {"split.xml", split, HEAL_INFO},
                    {"split-summary.xml", split, HEAL_SUMMARY},
                    {"split-split-brain.xml", split, HEAL_SPLIT_BRAIN}};
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(rows); k++)
                check(rows[k].name, rows[k].info, rows[k].view, heal_print_info_xml);
}

static void a_failure_is_a_document_too(void **state)
{
        char *got = NULL;
        size_t size;
        FILE *out = open_memstream(&got, &size);
        (void)state;
        heal_print_failure_xml(out, EINVAL,
                               "This command is supported for only volumes of replicate/disperse type. Volume dist is not of "
                               "type replicate/disperse");
        (void)fclose(out);
        compare("failure.xml", got);
        free(got);
}

static void print_counts(FILE *out, const json_t *look, const json_t *info, enum heal_view view)
{
        (void)view;
        heal_print_counts(out, look, info, BRICK2);
}

static void counts_are_of_a_set(void **state)
{
        (void)state;
        check("away-counts.txt", away, HEAL_INFO, print_counts);
}

static void names_are_escaped(void **state)
{
        json_t *look = parse(look_text),
               *info = parse("{'bricks': [{'brick': '" BRICK1 "', 'connected': true, 'total': 2, 'entries': ["
                             "{'gfid': 'g1', 'path': '/a<b>&c\\u0001', 'state': 'healing'},"
                             "{'gfid': 'g2', 'path': null, 'state': 'pending'}]}]}");
        char *got = NULL, *text = NULL;
        size_t size;
        (void)state;
        FILE *out = open_memstream(&got, &size);
        heal_print_info_xml(out, look, info, HEAL_INFO);
        (void)fclose(out);
        assert_non_null(strstr(got, ">/a&lt;b&gt;&amp;c?</file>"));
        assert_non_null(strstr(got, ">&lt;gfid:g2&gt;</file>"));
        out = open_memstream(&text, &size);
        heal_print_info(out, look, info, HEAL_INFO);
        (void)fclose(out);
        assert_non_null(strstr(text, " - Possibly undergoing heal\n<gfid:g2> \n"));
        free(got);
        free(text);
        json_decref(look);
        json_decref(info);
}

static void statistics_name_the_crawls(void **state)
{
        json_t *look = parse(
                "{'bricks': [{'name': '" BRICK1 "', 'host': '10.99.0.1', 'local': true},"
                "{'name': '" BRICK2 "', 'host': '10.99.0.2', 'local': false}], 'healer': {'sets': [{'local': ['" BRICK1
                "'], 'history': [{'crawl': 'index', 'began': 86400, 'ended': 86402, 'healed': 3, 'split_brain': 1, 'failed': 2}],"
                "'crawl': 'full', 'began': 86500, 'healed': 4, 'split_brain': 0, 'failed': 0}]}}");
        static const char wanted[] =
                "------------------------------------------------\n\nCrawl statistics for brick no 0\n"
                "Hostname of brick 10.99.0.1\n\nStarting time of crawl: Fri Jan  2 00:00:00 1970\n\n"
                "Ending time of crawl: Fri Jan  2 00:00:02 1970\n\nType of crawl: INDEX\nNo. of entries healed: 3\n"
                "No. of entries in split-brain: 1\nNo. of heal failed entries: 2\n\n"
                "Starting time of crawl: Fri Jan  2 00:01:40 1970\n\nCrawl is in progress\nType of crawl: FULL\n"
                "No. of entries healed: 4\nNo. of entries in split-brain: 0\nNo. of heal failed entries: 0\n";
        char *got = NULL;
        size_t size;
        (void)state;
        (void)setenv("TZ", "UTC", 1);
        tzset();
        FILE *out = open_memstream(&got, &size);
        heal_print_statistics(out, look);
        (void)fclose(out);
        assert_string_equal(got, wanted);
        free(got);
        json_decref(look);
}

static void expect_watch(const char *look_json, const char *wanted, bool idle)
{
        json_t *look = parse(look_json);
        char line[1024];
        bool is_idle = !idle;
        heal_watch_line(look, line, sizeof line, &is_idle);
        assert_string_equal(line, wanted);
        assert_int_equal(is_idle, idle);
        json_decref(look);
}

static void watching_says_what_is_the_matter(void **state)
{
        (void)state;
        expect_watch("{'name': 'v', 'healer': null, 'healer_error': 'The self-heal daemon is not running'}",
                     "v: The self-heal daemon is not running", false);
        expect_watch("{'name': 'v', 'healer': {'sets': [{'state': 'idle', 'pending': 0, 'left': 0}]}}", "v: nothing is pending",
                     true);
        expect_watch("{'name': 'v', 'healer': {'sets': [{'state': 'healing', 'pending': 9, 'left': 0, 'total': 40, 'done': 10,"
                     "'bytes_per_second': 3145728.0, 'eta_seconds': 75.0}]}}",
                     "v: healing [#####...............] 10/40 objects, 3.0 MiB/s, 01:15 left", false);
        expect_watch("{'name': 'v', 'healer': {'sets': [{'state': 'waiting', 'pending': 9, 'left': 0, 'waits_for': [{'brick': "
                     "'h:/b', 'reason': 'refused'}]}]}}",
                     "v: 9 pending, 0 could not be healed; waits for brick h:/b (refused)", false);
        expect_watch("{'name': 'v', 'healer': {'sets': [{'state': 'idle', 'pending': 2, 'left': 1, 'last_error': {'gfid': 'g', "
                     "'why': 'data split-brain'}, 'blocked': {'gfid': 'h', 'why': 'somebody is writing to it', 'holder': 'CTX_ID:x-PID:7-HOST:h'}}]}}",
                     "v: 2 pending, 1 could not be healed; in use: gfid:h (somebody is writing to it: CTX_ID:x-PID:7-HOST:h); last error: gfid:g: data "
                     "split-brain",
                     false);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(info_is_as_stock_prints_it),  cmocka_unit_test(so_are_its_documents),
                cmocka_unit_test(a_failure_is_a_document_too), cmocka_unit_test(counts_are_of_a_set),
                cmocka_unit_test(names_are_escaped),           cmocka_unit_test(statistics_name_the_crawls),
                cmocka_unit_test(watching_says_what_is_the_matter),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
