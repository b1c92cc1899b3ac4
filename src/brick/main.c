/* mortar-brick: serves the bricks of a node. The command line; everything else is process.c. */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>

#include "base/log.h"
#include "brick/server.h"

#define PORT_FIRST 49152
#define PORT_LAST 60999
#define DRAIN_SECONDS 10
#define DRAIN_SECONDS_MAX 600

static const char usage_text[] = "Usage: mortar-brick [OPTION]...\n"
                                 "Serves bricks to clients over TCP, until SIGTERM.\n"
                                 "\n"
                                 "  --control PATH        serve the control program on this unix socket\n"
                                 "  --listen ADDRESS      address to listen at (default: all)\n"
                                 "  --port N              port to listen at\n"
                                 "  --port-range A-B      the first free port of this range (default: 49152-60999)\n"
                                 "  --volfile FILE        serve the brick of this volfile; may be given several times\n"
                                 "  --drain-seconds N     time that clients get to finish when a brick is stopped "
                                 "(default: 10)\n"
                                 "  --ready-fd N          write the port and a newline to this descriptor when ready\n"
                                 "  --log-level LEVEL     error, warning, notice, info or debug (default: info)\n"
                                 "  --log-file FILE       append the log to this file instead of standard error\n"
                                 "  --version             print the version and exit\n"
                                 "  --help                print this text and exit\n";

enum {
        OPT_DRAIN_SECONDS = 256,
        OPT_CONTROL,
        OPT_LISTEN,
        OPT_PORT,
        OPT_PORT_RANGE,
        OPT_VOLFILE,
        OPT_READY_FD,
        OPT_LOG_LEVEL,
        OPT_LOG_FILE,
        OPT_VERSION,
        OPT_HELP
};

static const struct option long_options[] = {
        {"drain-seconds", required_argument, NULL, OPT_DRAIN_SECONDS},
        {"control", required_argument, NULL, OPT_CONTROL},
        {"listen", required_argument, NULL, OPT_LISTEN},
        {"port", required_argument, NULL, OPT_PORT},
        {"port-range", required_argument, NULL, OPT_PORT_RANGE},
        {"volfile", required_argument, NULL, OPT_VOLFILE},
        {"ready-fd", required_argument, NULL, OPT_READY_FD},
        {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
        {"log-file", required_argument, NULL, OPT_LOG_FILE},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, OPT_HELP},
        {0},
};

struct command_line {
        struct process_config config;
        const char *log_file;
        enum log_level log_level;
};

static int bad_value(const char *option, const char *value)
{
        (void)fprintf(stderr, "mortar-brick: --%s: '%s' is not a possible value\n", option, value);
        return -EINVAL;
}

static int parse_number(const char *text, long max, char stop, long *ret, const char **ret_end)
{
        char *end;
        errno = 0;
        long n = strtol(text, &end, 10);
        if (errno != 0 || end == text || *end != stop || n < 0 || n > max)
                return -EINVAL;
        *ret = n;
        if (ret_end)
                *ret_end = end;
        return 0;
}

static int parse_port(struct command_line *c, const char *value)
{
        long n;
        if (parse_number(value, UINT16_MAX, '\0', &n, NULL) < 0)
                return bad_value("port", value);
        c->config.port_first = c->config.port_last = (uint16_t)n;
        return 0;
}

static int parse_port_range(struct command_line *c, const char *value)
{
        long a, b;
        const char *end;
        if (parse_number(value, UINT16_MAX, '-', &a, &end) < 0 ||
            parse_number(end + 1, UINT16_MAX, '\0', &b, NULL) < 0 || a == 0 || a > b)
                return bad_value("port-range", value);
        c->config.port_first = (uint16_t)a;
        c->config.port_last = (uint16_t)b;
        return 0;
}

static int parse_ready_fd(struct command_line *c, const char *value)
{
        long n;
        if (parse_number(value, INT_MAX, '\0', &n, NULL) < 0)
                return bad_value("ready-fd", value);
        c->config.ready_fd = (int)n;
        return 0;
}

static int parse_drain_seconds(struct command_line *c, const char *value)
{
        long n;
        if (parse_number(value, DRAIN_SECONDS_MAX, '\0', &n, NULL) < 0)
                return bad_value("drain-seconds", value);
        c->config.drain_limit = (unsigned)n;
        return 0;
}

static int parse_log_level(struct command_line *c, const char *value)
{
        int level = log_level_from_string(value);
        if (level < 0)
                return bad_value("log-level", value);
        c->log_level = (enum log_level)level;
        return 0;
}

/* 0 go on, 1 done, -errno. */
static int take_option(struct command_line *c, int option, const char *value)
{
        switch (option) {
        case OPT_DRAIN_SECONDS:
                return parse_drain_seconds(c, value);
        case OPT_CONTROL:
                c->config.control = value;
                return 0;
        case OPT_LISTEN:
                c->config.listen = value;
                return 0;
        case OPT_PORT:
                return parse_port(c, value);
        case OPT_PORT_RANGE:
                return parse_port_range(c, value);
        case OPT_VOLFILE:
                c->config.volfiles[c->config.volfile_count++] = value;
                return 0;
        case OPT_READY_FD:
                return parse_ready_fd(c, value);
        case OPT_LOG_LEVEL:
                return parse_log_level(c, value);
        case OPT_LOG_FILE:
                c->log_file = value;
                return 0;
        case OPT_VERSION:
                (void)puts("mortar-brick " MORTAR_VERSION);
                return 1;
        case OPT_HELP:
                (void)fputs(usage_text, stdout);
                return 1;
        }
        (void)fputs("Try 'mortar-brick --help'.\n", stderr);
        return -EINVAL;
}

static int parse(struct command_line *c, int argc, char **argv)
{
        int option;
        while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
                int r = take_option(c, option, optarg);
                if (r != 0)
                        return r;
        }
        if (optind < argc) {
                (void)fprintf(stderr, "mortar-brick: '%s' is not an option\nTry 'mortar-brick --help'.\n",
                              argv[optind]);
                return -EINVAL;
        }
        if (!c->config.control && c->config.volfile_count == 0) {
                (void)fputs("mortar-brick: nothing to serve: give --control or --volfile\n", stderr);
                return -EINVAL;
        }
        return 0;
}

static int open_log(const struct command_line *c)
{
        int fd = STDERR_FILENO;
        if (c->log_file) {
                fd = open(c->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
                if (fd < 0) {
                        (void)fprintf(stderr, "mortar-brick: %s: %s\n", c->log_file, strerror(errno));
                        return -errno;
                }
        }
        log_init("mortar-brick", fd, !c->log_file && getenv("JOURNAL_STREAM") != NULL);
        log_set_level(c->log_level);
        return 0;
}

int main(int argc, char **argv)
{
        _cleanup_free_ const char **volfiles = calloc((size_t)argc + 1, sizeof *volfiles);
        if (!volfiles)
                return 1;
        struct command_line c = {
                .config = {.listen = "*",
                           .port_first = PORT_FIRST,
                           .port_last = PORT_LAST,
                           .drain_limit = DRAIN_SECONDS,
                           .volfiles = volfiles,
                           .ready_fd = -EBADF},
                .log_level = LOG_LEVEL_INFO,
        };
        int r = parse(&c, argc, argv);
        if (r != 0)
                return r < 0 ? 2 : 0;
        if (open_log(&c) < 0)
                return 1;
        return process_run(&c.config);
}
