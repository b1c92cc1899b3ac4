/* Log lines: one write(2) per line on one descriptor.
 *
 * Relies on: nothing but the C library. Any thread and any fibre may call; a line is built on the caller's stack and
 * written whole, so lines of several threads do not mix (a pipe takes LOG_LINE_MAX bytes at once). The rate account of
 * a call site is the only shared state besides the settings; a mutex guards it and is never held while writing.
 */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

/* The process has one log (base/log.h): set once from main, read everywhere. */
static struct {
        const char *program;
        int fd;
        bool journal;
        atomic_int level;
        pthread_mutex_t rate_lock;
} log_settings = {.fd = 2, .level = LOG_LEVEL_INFO, .rate_lock = PTHREAD_MUTEX_INITIALIZER};

static const struct {
        const char *name;
        char letter;
        int journal_priority;
} log_levels[LOG_LEVEL_MAX] = {
        [LOG_LEVEL_ERROR] = {"error", 'E', 3},   [LOG_LEVEL_WARNING] = {"warning", 'W', 4},
        [LOG_LEVEL_NOTICE] = {"notice", 'N', 5}, [LOG_LEVEL_INFO] = {"info", 'I', 6},
        [LOG_LEVEL_DEBUG] = {"debug", 'D', 7},
};

void log_init(const char *program, int fd, bool journal)
{
        log_settings.program = program;
        log_settings.fd = fd;
        log_settings.journal = journal;
}

void log_set_level(enum log_level level)
{
        atomic_store_explicit(&log_settings.level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
        return (int)level <= atomic_load_explicit(&log_settings.level, memory_order_relaxed);
}

int log_level_from_string(const char *s)
{
        for (int i = 0; i < LOG_LEVEL_MAX; i++) {
                const char letter[2] = {log_levels[i].letter, 0};
                if (strcasecmp(s, log_levels[i].name) == 0 || strcasecmp(s, letter) == 0)
                        return i;
        }
        return -EINVAL;
}

const char *log_level_to_string(enum log_level level)
{
        return (unsigned)level < LOG_LEVEL_MAX ? log_levels[level].name : "unknown";
}

/* Takes one line from the allowance of SITE. False: leave the line out. *ret_dropped: lines left out before this one.
 */
static bool log_rate_allow(struct log_site *site, uint64_t now, uint32_t *ret_dropped)
{
        *ret_dropped = 0;
        pthread_mutex_lock(&log_settings.rate_lock);
        if (site->window_start == 0 || now - site->window_start >= LOG_RATE_SECONDS * NS_PER_SEC) {
                *ret_dropped = site->dropped;
                *site = (struct log_site){.window_start = now};
        }
        bool allowed = site->written < LOG_RATE_BURST;
        if (allowed)
                site->written++;
        else
                site->dropped++;
        pthread_mutex_unlock(&log_settings.rate_lock);
        return allowed;
}

/* A line under construction. `len` never exceeds LOG_LINE_MAX - 1: the newline always fits. */
struct log_line {
        char text[LOG_LINE_MAX];
        size_t len;
};

_printf_(2, 0) static void line_add(struct log_line *line, const char *format, va_list ap)
{
        size_t room = sizeof line->text - line->len;
        int n = vsnprintf(line->text + line->len, room, format, ap);
        if (n > 0)
                line->len += MIN((size_t)n, room - 1);
}

_printf_(2, 3) static void line_printf(struct log_line *line, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        line_add(line, format, ap);
        va_end(ap);
}

static void line_start(struct log_line *line, enum log_level level, const char *component)
{
        struct timespec ts;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        if (log_settings.journal)
                line_printf(line, "<%d>", log_levels[level].journal_priority);
        line_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ %c %s[%d] %s: ", tm.tm_year + 1900, tm.tm_mon + 1,
                    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000, log_levels[level].letter,
                    log_settings.program ? log_settings.program : program_invocation_short_name, (int)getpid(),
                    component);
}

/* Bytes of the last character of TEXT (N bytes) if it is a multi-byte one, whole or cut; else 0. */
static size_t utf8_tail(const char *text, size_t n)
{
        for (size_t back = 1; back <= MIN(n, (size_t)4); back++) {
                unsigned char c = (unsigned char)text[n - back];
                if (c < 0x80)
                        return 0;
                if (c >= 0xc0)
                        return back;
        }
        return 0;
}

/* Replaces what could forge a line or steer a terminal, and ends the line. A cut UTF-8 character is left out. */
static void line_finish(struct log_line *line, bool cut)
{
        for (size_t i = 0; i < line->len; i++) {
                unsigned char c = (unsigned char)line->text[i];
                if (c < 0x20 || c == 0x7f)
                        line->text[i] = '?';
        }
        if (cut)
                line->len -= utf8_tail(line->text, line->len);
        line->text[line->len++] = '\n';
}

void log_write(struct log_site *site, enum log_level level, const char *component, const char *format, ...)
{
        int saved_errno = errno;
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        uint32_t dropped;
        if (!log_rate_allow(site, (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec, &dropped))
                return;

        struct log_line line;
        line.len = 0;
        line_start(&line, level, component);
        if (dropped > 0)
                line_printf(&line, "(%u lines like this were left out) ", dropped);
        errno = saved_errno; /* for %m */
        va_list ap;
        va_start(ap, format);
        line_add(&line, format, ap);
        va_end(ap);
        line_finish(&line, line.len == sizeof line.text - 1);
        ssize_t ignored = write(log_settings.fd, line.text, line.len);
        (void)ignored;
        errno = saved_errno;
}
