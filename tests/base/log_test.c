/* base/log.h: the shape of a line, what is replaced and cut, the rate limit. Lines go to a pipe that the test reads. */
#include "check.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>

static int pipe_fds[2];
static char text[256 * 1024];

/* What was logged since the last call. */
static const char *logged(void)
{
        ssize_t n = read(pipe_fds[0], text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        return text;
}

static int set_up(void **state)
{
        if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -1;
        log_init("prog", pipe_fds[1], false);
        log_set_level(LOG_LEVEL_INFO);
        return 0;
}

static int tear_down(void **state)
{
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return 0;
}

static void line_has_all_parts(void **state)
{
        log_warning("comp", "disk %d is %s", 3, "slow");
        const char *line = logged();
        int year, month, day, hour, minute, second, micro, pid, end = 0;
        char level;
        int n = sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ %c prog[%d] comp: disk 3 is slow\n%n", &year, &month, &day,
                       &hour, &minute, &second, &micro, &level, &pid, &end);
        assert_int_equal(n, 9);
        assert_int_equal(end, strlen(line));
        assert_int_equal(level, 'W');
        assert_int_equal(pid, getpid());
}

static void journal_prefix_is_the_priority(void **state)
{
        log_init("prog", pipe_fds[1], true);
        log_set_level(LOG_LEVEL_DEBUG);
        static const char *const prefix[LOG_LEVEL_MAX] = {"<3>2", "<4>2", "<5>2", "<6>2", "<7>2"};
        for (int level = 0; level < LOG_LEVEL_MAX; level++) {
                struct log_site site = {0};
                log_write(&site, (enum log_level)level, "c", "x");
                assert_true(starts_with(logged(), prefix[level]));
        }
}

static void control_bytes_are_replaced(void **state)
{
        log_info("c", "%s", "a\nb\x1b[31mc\td\x7f\xc3\xa9");
        assert_non_null(strstr(logged(), "c: a?b?[31mc?d?\xc3\xa9\n"));
}

static void long_lines_are_cut_between_characters(void **state)
{
        static char wide[4096];
        for (size_t i = 0; i + 2 < sizeof wide; i += 2)
                memcpy(wide + i, "\xc3\xa9", 2);
        for (int shift = 0; shift < 2; shift++) {
                struct log_site site = {0};
                log_write(&site, LOG_LEVEL_INFO, "c", "%.*s%s", shift, "x", wide);
                const char *line = logged();
                size_t n = strlen(line);
                assert_true(n <= LOG_LINE_MAX && n > LOG_LINE_MAX - 4);
                assert_int_equal(line[n - 1], '\n');
                assert_int_equal((unsigned char)line[n - 2], 0xa9);
        }
}

static unsigned lines_in(const char *s)
{
        unsigned n = 0;
        for (; *s; s++)
                n += *s == '\n';
        return n;
}

static void a_site_is_rate_limited_and_says_so(void **state)
{
        struct log_site site = {0};
        for (int i = 0; i < LOG_RATE_BURST + 7; i++)
                log_write(&site, LOG_LEVEL_INFO, "c", "again");
        assert_int_equal(lines_in(logged()), LOG_RATE_BURST);

        site.window_start -= LOG_RATE_SECONDS * NS_PER_SEC; /* as if that time had passed */
        log_write(&site, LOG_LEVEL_INFO, "c", "again");
        assert_non_null(strstr(logged(), "c: (7 lines like this were left out) again\n"));
        log_write(&site, LOG_LEVEL_INFO, "c", "again");
        assert_non_null(strstr(logged(), "c: again\n"));
}

static void sites_do_not_share_their_allowance(void **state)
{
        for (int i = 0; i < LOG_RATE_BURST + 1; i++)
                log_info("c", "noisy");
        logged();
        log_info("c", "quiet");
        assert_int_equal(lines_in(logged()), 1);
}

static void levels_filter(void **state)
{
        log_debug("c", "hidden");
        assert_string_equal(logged(), "");
        log_set_level(LOG_LEVEL_ERROR);
        log_warning("c", "hidden");
        assert_string_equal(logged(), "");
        log_error("c", "shown");
        assert_int_equal(lines_in(logged()), 1);
}

static void level_names(void **state)
{
        assert_int_equal(log_level_from_string("error"), LOG_LEVEL_ERROR);
        assert_int_equal(log_level_from_string("WARNING"), LOG_LEVEL_WARNING);
        assert_int_equal(log_level_from_string("D"), LOG_LEVEL_DEBUG);
        assert_int_equal(log_level_from_string(""), -EINVAL);
        assert_int_equal(log_level_from_string("loud"), -EINVAL);
        for (int level = 0; level < LOG_LEVEL_MAX; level++)
                assert_int_equal(log_level_from_string(log_level_to_string((enum log_level)level)), level);
}

static void errno_survives(void **state)
{
        errno = ENOTEMPTY;
        log_info("c", "%m");
        assert_int_equal(errno, ENOTEMPTY);
        assert_non_null(strstr(logged(), "Directory not empty"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(line_has_all_parts),
                TEST(journal_prefix_is_the_priority),
                TEST(control_bytes_are_replaced),
                TEST(long_lines_are_cut_between_characters),
                TEST(a_site_is_rate_limited_and_says_so),
                TEST(sites_do_not_share_their_allowance),
                TEST(levels_filter),
                TEST(level_names),
                TEST(errno_survives),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
