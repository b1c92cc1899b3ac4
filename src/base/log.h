/* Log lines for the operator at three in the morning.
 *
 * One line per event on standard error, which the service manager or the supervisor keeps: an optional journald priority
 * prefix "<N>", UTC time, level letter, program[pid], component, text. Control bytes in the text are replaced, lines are
 * cut at LOG_LINE_MAX. Each call site is limited to LOG_RATE_BURST lines per LOG_RATE_SECONDS; the first line after a
 * pause says how many were left out. Safe from every thread and from fibres; never blocks on anything but the write.
 *
 * Library code does not log: it returns an error. The place that decides what a failure means logs it once.
 */
#pragma once

#include "base/util.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_MAX };

#define LOG_LINE_MAX 2048
#define LOG_RATE_BURST 20
#define LOG_RATE_SECONDS 5

struct log_site {
        uint64_t window_start; /* CLOCK_MONOTONIC ns */
        uint32_t written;
        uint32_t dropped;
};

/* PROGRAM is kept by reference. FD is where lines go (2 by default); JOURNAL adds the "<N>" prefix. Call once from main. */
void log_init(const char *program, int fd, bool journal);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* "error", "WARNING", "info", "D"… to a level; -EINVAL for other words. */
int log_level_from_string(const char *s);
const char *log_level_to_string(enum log_level level);

void log_write(struct log_site *site, enum log_level level, const char *component, const char *format, ...) _printf_(4, 5);

#define log_at(level, component, ...)                                                                                  \
        do {                                                                                                           \
                static struct log_site log_site_;                                                                      \
                if (log_enabled(level))                                                                                \
                        log_write(&log_site_, (level), (component), __VA_ARGS__);                                      \
        } while (0)

#define log_error(component, ...) log_at(LOG_LEVEL_ERROR, component, __VA_ARGS__)
#define log_warning(component, ...) log_at(LOG_LEVEL_WARNING, component, __VA_ARGS__)
#define log_notice(component, ...) log_at(LOG_LEVEL_NOTICE, component, __VA_ARGS__)
#define log_info(component, ...) log_at(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define log_debug(component, ...) log_at(LOG_LEVEL_DEBUG, component, __VA_ARGS__)
