/* Settings of mortard (pool/config.h). Runs in main before anything else; blocking is fine. */
#include "pool/config.h"

#include <limits.h>
#include <stdio.h>

#include "base/log.h"
#include "base/loop.h"

struct setting {
        const char *name;
        const char *value;
        const char *argument;
        const char *help;
        size_t offset;
};

#define DRAIN_SECONDS_MAX 60u
#define SETTING_ROW_(field, name, value, argument, help) {name, value, argument, help, offsetof(struct config, field)},
static const struct setting settings[] = {CONFIG_SETTINGS(SETTING_ROW_)};

static char *setting_place(struct config *c, const struct setting *s)
{
        return (char *)c + s->offset;
}

static const struct setting *setting_find(const char *name, size_t len)
{
        for (size_t i = 0; i < ELEMENTSOF(settings); i++)
                if (strlen(settings[i].name) == len && memcmp(settings[i].name, name, len) == 0)
                        return &settings[i];
        return NULL;
}

static int put(char *place, const char *name, const char *value, struct error *e)
{
        if (strlen(value) >= CONFIG_VALUE_MAX)
                return error_set(e, -E2BIG, "the value of %s is longer than %d characters", name, CONFIG_VALUE_MAX - 1);
        (void)snprintf(place, CONFIG_VALUE_MAX, "%s", value);
        return 0;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

#define BLANKS " \t\r\n"

static int read_line(struct config *c, char *line, unsigned number, struct error *e)
{
        line += strspn(line, BLANKS);
        if (!*line || *line == '#')
                return 0;
        size_t len = strcspn(line, BLANKS);
        const struct setting *s = setting_find(line, len);
        if (!s)
                return error_set(e, -EINVAL, "%s line %u: unknown setting \"%.*s\"", c->file, number, (int)len, line);
        char *value = line + len;
        value += strspn(value, BLANKS);
        for (size_t n = strlen(value); n > 0 && strchr(BLANKS, value[n - 1]); n--)
                value[n - 1] = '\0';
        int r = put(setting_place(c, s), s->name, value, e);
        if (r < 0)
                error_prefix(e, "%s line %u", c->file, number);
        return r;
}

static int read_file(struct config *c, bool required, struct error *e)
{
        FILE *f = fopen(c->file, "re");
        if (!f && errno == ENOENT && !required)
                return 0;
        if (!f)
                return error_set(e, -errno, "the configuration file %s: %s", c->file, strerror(errno));
        char line[2 * CONFIG_VALUE_MAX];
        int r = 0;
        for (unsigned number = 1; r == 0 && fgets(line, sizeof line, f); number++)
                r = read_line(c, line, number, e);
        (void)fclose(f);
        return r;
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static void print_help(void)
{
        (void)printf(
                "usage: mortard [--SETTING VALUE]...\n\n"
                "The management daemon of mortar: volumes, volfiles and ports for clients, supervision of bricks.\n"
                "It runs in the foreground and logs to standard error.\n\n");
        for (size_t i = 0; i < ELEMENTSOF(settings); i++) {
                char option[64];
                (void)snprintf(option, sizeof option, "--%s %s", settings[i].name, settings[i].argument);
                (void)printf("  %-26s  %s", option, settings[i].help);
                (void)printf(*settings[i].value ? " (%s)\n" : "\n", settings[i].value);
        }
        (void)printf("  %-26s  read settings from here (%s): \"SETTING VALUE\" lines\n", "--config FILE",
                     CONFIG_FILE_DEFAULT);
        (void)printf("  %-26s  say whether the settings are good, and exit\n", "--check");
        (void)printf("  %-26s  write a line to this descriptor when mortard serves\n", "--ready-fd N");
        (void)printf("  %-26s  print the version and exit\n", "--version");
        (void)printf("  %-26s  print this and exit\n", "--help");
}

/* One word of the command line. */
struct word {
        const char *name; /* without "--" */
        size_t len;
        const char *value; /* behind '=' or the next word; NULL: there is none */
        bool separate;     /* it is the next word */
};

static bool next_word(int argc, char **argv, int i, struct word *ret)
{
        if (!starts_with(argv[i], "--"))
                return false;
        ret->name = argv[i] + 2;
        ret->len = strcspn(ret->name, "=");
        ret->separate = ret->name[ret->len] != '=';
        ret->value = ret->separate ? (i + 1 < argc ? argv[i + 1] : NULL) : ret->name + ret->len + 1;
        return true;
}

static bool word_is(const struct word *w, const char *name)
{
        return strlen(name) == w->len && memcmp(name, w->name, w->len) == 0;
}

static int read_fd(const char *value, int *ret, struct error *e)
{
        char *end;
        long n = strtol(value, &end, 10);
        if (end == value || *end || n < 0 || n > INT_MAX)
                return error_set(e, -EINVAL, "--ready-fd %s: not a descriptor", value);
        *ret = (int)n;
        return 0;
}

static int read_option(struct config *c, const struct word *w, struct error *e)
{
        const struct setting *s = setting_find(w->name, w->len);
        if (!s && !word_is(w, "config") && !word_is(w, "ready-fd"))
                return error_set(e, -EINVAL, "unknown option --%.*s; see mortard --help", (int)w->len, w->name);
        if (!w->value)
                return error_set(e, -EINVAL, "--%.*s needs a value", (int)w->len, w->name);
        if (s)
                return put(setting_place(c, s), s->name, w->value, e);
        if (word_is(w, "config"))
                return put(c->file, "config", w->value, e);
        return read_fd(w->value, &c->ready_fd, e);
}

static int read_arguments(struct config *c, int argc, char **argv, enum config_result *ret_result, struct error *e)
{
        struct word w;
        for (int i = 1; i < argc; i++) {
                if (!next_word(argc, argv, i, &w))
                        return error_set(e, -EINVAL, "unexpected argument \"%s\"; see mortard --help", argv[i]);
                if (word_is(&w, "help") || word_is(&w, "version")) {
                        if (word_is(&w, "help"))
                                print_help();
                        else
                                (void)printf("mortard %s\n", MORTAR_VERSION);
                        *ret_result = CONFIG_DONE;
                        return 0;
                }
                if (word_is(&w, "check")) {
                        c->check = true;
                        continue;
                }
                int r = read_option(c, &w, e);
                if (r < 0)
                        return r;
                if (w.separate)
                        i++;
        }
        return 0;
}

/* Whether --config is there, and what it says, before anything else is read. */
static bool find_config(struct config *c, int argc, char **argv)
{
        struct word w;
        for (int i = 1; i < argc; i++)
                if (next_word(argc, argv, i, &w) && word_is(&w, "config") && w.value) {
                        (void)snprintf(c->file, sizeof c->file, "%s", w.value);
                        return true;
                }
        return false;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static int check_number(const char *name, const char *text, unsigned max, unsigned *ret, struct error *e)
{
        char *end;
        unsigned long n = strtoul(text, &end, 10);
        if (end == text || *end || text[0] == '-' || n > max)
                return error_set(e, -EINVAL, "%s: \"%s\" is no number up to %u", name, text, max);
        *ret = (unsigned)n;
        return 0;
}

static int check_numbers(struct config *c, struct error *e)
{
        int r = check_number("bricks-per-process", c->bricks_per_process, UINT_MAX, &c->bricks_per_process_number, e);
        if (r == 0)
                r = check_number("drain-seconds", c->drain_seconds, DRAIN_SECONDS_MAX, &c->drain_seconds_number, e);
        return r;
}

static int check_ports(const struct config *c, struct error *e)
{
        unsigned low, high;
        char rest;
        if (sscanf(c->brick_ports, "%u-%u%c", &low, &high, &rest) != 2 || low == 0 || low > high || high > 65535)
                return error_set(e, -EINVAL, "brick-ports: \"%s\" is no range of ports, like 49152-60999",
                                 c->brick_ports);
        return 0;
}

static int check_dirs(const struct config *c, struct error *e)
{
        const char *const dirs[][2] = {{"state-dir", c->state_dir}, {"run-dir", c->run_dir}, {"log-dir", c->log_dir}};
        for (size_t i = 0; i < ELEMENTSOF(dirs); i++)
                if (dirs[i][1][0] != '/')
                        return error_set(e, -EINVAL, "%s: \"%s\" is no absolute path", dirs[i][0], dirs[i][1]);
        return 0;
}

static int derive_hostname(struct config *c, struct error *e)
{
        if (*c->hostname)
                return 0;
        char name[256];
        if (gethostname(name, sizeof name) < 0)
                return error_set(e, -errno, "the host name: %s", strerror(errno));
        name[sizeof name - 1] = '\0';
        return put(c->hostname, "hostname", name, e);
}

/* "DIR/NAME" for each DIR of PATH. */
static int find_in_path(const char *name, char ret[static CONFIG_VALUE_MAX])
{
        const char *at = getenv("PATH");
        while (at && *at) {
                size_t n = strcspn(at, ":");
                (void)snprintf(ret, CONFIG_VALUE_MAX, "%.*s/%s", (int)n, at, name);
                if (access(ret, X_OK) == 0)
                        return 0;
                at += n + (at[n] == ':');
        }
        *ret = '\0';
        return -ENOENT;
}

/* A program of ours: beside this one, else in PATH. */
static int find_program(const char *name, char ret[static CONFIG_VALUE_MAX])
{
        char self[CONFIG_VALUE_MAX / 2];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n > 0) {
                self[n] = '\0';
                char *slash = strrchr(self, '/');
                (void)snprintf(ret, CONFIG_VALUE_MAX, "%.*s/%s", slash ? (int)(slash - self) : 0, self, name);
                if (slash && access(ret, X_OK) == 0)
                        return 0;
        }
        return find_in_path(name, ret);
}

static int derive_program(struct config *c, struct error *e)
{
        if (*c->brick_program) {
                if (access(c->brick_program, X_OK) < 0)
                        return error_set(e, -errno, "brick-program %s: %s", c->brick_program, strerror(errno));
                return 0;
        }
        if (find_program("mortar-brick", c->brick_program) < 0)
                return error_set(e, -ENOENT, "mortar-brick is neither beside mortard nor in PATH; see --brick-program");
        return 0;
}

/* Without it volumes are served, and not healed. */
static int derive_heal_program(struct config *c, struct error *e)
{
        if (streq(c->heal_program, "none")) {
                *c->heal_program = '\0';
                return 0;
        }
        if (*c->heal_program && access(c->heal_program, X_OK) < 0)
                return error_set(e, -errno, "heal-program %s: %s", c->heal_program, strerror(errno));
        if (!*c->heal_program && find_program("mortar-heal", c->heal_program) < 0)
                log_warning("config", "mortar-heal is neither beside mortard nor in PATH: volumes are not healed from "
                            "here; see --heal-program");
        return 0;
}

static int check_values(struct config *c, struct error *e)
{
        struct address address;
        int r = check_numbers(c, e);
        if (r == 0)
                r = check_ports(c, e);
        if (r == 0)
                r = check_dirs(c, e);
        if (r == 0 && address_parse(c->listen, &address) < 0)
                r = error_set(e, -EINVAL, "listen: \"%s\" is no numeric address with port, like *:24007", c->listen);
        c->log_level_number = log_level_from_string(c->log_level);
        if (r == 0 && c->log_level_number < 0)
                r = error_set(e, -EINVAL, "log-level: \"%s\" is none of error, warning, notice, info, debug",
                              c->log_level);
        if (r == 0)
                r = derive_hostname(c, e);
        if (r == 0)
                r = derive_program(c, e);
        return r < 0 ? r : derive_heal_program(c, e);
}

int config_load(struct config *c, int argc, char **argv, enum config_result *ret_result, struct error *e)
{
        memset(c, 0, sizeof *c);
        c->ready_fd = -EBADF;
        *ret_result = CONFIG_RUN;
        for (size_t i = 0; i < ELEMENTSOF(settings); i++)
                (void)put(setting_place(c, &settings[i]), settings[i].name, settings[i].value, NULL);
        (void)snprintf(c->file, sizeof c->file, "%s", CONFIG_FILE_DEFAULT);

        bool named = find_config(c, argc, argv);
        int r = read_file(c, named, e);
        if (r == 0)
                r = read_arguments(c, argc, argv, ret_result, e);
        if (r < 0 || *ret_result == CONFIG_DONE)
                return r;
        return check_values(c, e);
}
