/* Whether a value may be stored for an option: by the type and range in the table, and for a few keys by a rule of
 * their own (table `rules`). The texts are those of the stock daemon, because scripts look at them; examples of each
 * are in tests/data/volfile/values.tsv. Stricter than stock only where a value could never work: stock does not look at
 * options whose translator is switched off at the moment, nor at values of switches without a type.
 *
 * Pure functions, any thread.
 */
#include "volfile/option.h"

#include "volfile/address.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

struct check {
        const struct option *option;
        const char *value;
        const char *name; /* in texts: the name inside the translator */
        struct error *err;
};

struct range {
        bool has_min, has_max;
        int64_t min, max;
};

/* One bound of a range: a product of numbers or sizes ("7 * 86400", "4MB", "0777"); false for words such as INFINITY.
 */
static bool read_bound(const char *text, size_t len, int64_t *ret)
{
        int64_t product = 1;
        bool read = false;
        while (len > 0) {
                char factor[32];
                size_t n = 0;
                while (n < len && text[n] != ' ' && n + 1 < sizeof factor) {
                        factor[n] = text[n];
                        n++;
                }
                factor[n] = '\0';
                uint64_t size;
                int64_t number;
                if (option_i64(factor, &number) >= 0)
                        product *= number;
                else if (option_size(factor, &size) >= 0)
                        product *= (int64_t)size;
                else if (!streq(factor, "*"))
                        return false;
                read = true;
                n += n < len && text[n] == ' ';
                text += n;
                len -= n;
        }
        *ret = product;
        return read;
}

static struct range read_range(const char *values)
{
        struct range r = {0};
        const char *dots = strstr(values, "..");
        if (!dots)
                return r;
        r.has_min = read_bound(values, (size_t)(dots - values), &r.min);
        r.has_max = read_bound(dots + 2, strlen(dots + 2), &r.max);
        return r;
}

static int check_range(const struct check *c, int64_t number)
{
        struct range range = read_range(c->option->values);
        bool low = range.has_min && number < range.min;
        bool high = range.has_max && number > range.max;
        if (!low && !high)
                return 0;
        if (range.has_min && range.has_max)
                return error_set(c->err, -EINVAL, "'%lld' in 'option %s %s' is out of range [%lld - %lld]",
                                 (long long)number, c->name, c->value, (long long)range.min, (long long)range.max);
        return error_set(c->err, -EINVAL, "'%lld' in 'option %s %s' is %s value '%lld'", (long long)number, c->name,
                         c->value, low ? "smaller than minimum" : "greater than maximum",
                         (long long)(low ? range.min : range.max));
}

static int bad_number(const struct check *c)
{
        return error_set(c->err, -EINVAL, "invalid number format \"%s\" in option \"%s\"", c->value, c->name);
}

static int check_any(const struct check *c)
{
        return 0;
}

static int check_bool(const struct check *c)
{
        bool ignored;
        if (option_bool(c->value, &ignored) >= 0)
                return 0;
        if (!c->option->written)
                return error_set(c->err, -EINVAL, "Error, Validation Failed");
        return error_set(c->err, -EINVAL, "option %s %s: '%s' is not a valid boolean value", c->name, c->value,
                         c->value);
}

static int check_int(const struct check *c)
{
        int64_t number;
        return option_i64(c->value, &number) < 0 ? bad_number(c) : check_range(c, number);
}

static int check_size(const struct check *c)
{
        uint64_t bytes;
        if (option_size(c->value, &bytes) < 0 || bytes > INT64_MAX)
                return bad_number(c);
        return check_range(c, (int64_t)bytes);
}

static int check_time(const struct check *c)
{
        uint32_t seconds;
        if (option_time(c->value, &seconds) < 0)
                return error_set(c->err, -EINVAL, "invalid time format \"%s\" in \"option %s\"", c->value, c->name);
        return check_range(c, seconds);
}

static int check_share_of_100(const struct check *c, double percent)
{
        if (percent <= 100)
                return 0;
        return error_set(c->err, -EINVAL, "'%f' in 'option %s %s' is out of range [0 - 100]", percent, c->name,
                         c->value);
}

static int check_percent(const struct check *c)
{
        double percent;
        if (option_percent(c->value, &percent) < 0)
                return error_set(c->err, -EINVAL, "invalid percent format \"%s\" in \"option %s\"", c->value, c->name);
        return check_share_of_100(c, percent);
}

/* "10B" is no size here, and fractions are for percentages only. */
static bool is_plain_bytes(const char *value)
{
        size_t digits = strspn(value, "0123456789");
        return strcasecmp(value + digits, "B") == 0;
}

static int check_percent_or_size(const struct check *c)
{
        if (strchr(c->value, '%')) {
                double percent;
                if (option_percent(c->value, &percent) >= 0)
                        return check_share_of_100(c, percent);
        }
        uint64_t bytes;
        if (option_size(c->value, &bytes) < 0 || is_plain_bytes(c->value))
                return error_set(c->err, -EINVAL, "invalid number format \"%s\" in \"option %s\"", c->value, c->name);
        const char *point = strchr(c->value, '.');
        if (point && strspn(point + 1, "0") < strspn(point + 1, "0123456789"))
                return error_set(c->err, -EINVAL,
                                 "'%f' in 'option %s %s' should not be fractional value. Use valid unsigned "
                                 "integer value.",
                                 (double)bytes, c->name, c->value);
        return 0;
}

static bool word_in_list(const char *words, const char *word)
{
        size_t len = strlen(word);
        for (const char *at = words; at; at = strchr(at, '|')) {
                at += *at == '|';
                if (strncmp(at, word, len) == 0 && (at[len] == '|' || at[len] == '\0'))
                        return true;
        }
        return false;
}

static int check_words(const struct check *c, const char *words)
{
        if (*words == '\0' || word_in_list(words, c->value))
                return 0;
        char list[512];
        size_t n = 0;
        for (; *words && n + 3 < sizeof list; words++) {
                list[n++] = *words == '|' ? ',' : *words;
                if (*words == '|')
                        list[n++] = ' ';
        }
        list[n] = '\0';
        return error_set(c->err, -EINVAL, "option %s %s: '%s' is not valid (possible options are %s.)", c->name,
                         c->value, c->value, list);
}

static int check_str(const struct check *c)
{
        return check_words(c, c->option->values);
}

static bool has_dotdot(const char *path)
{
        for (const char *at = strstr(path, ".."); at; at = strstr(at + 1, ".."))
                if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
                        return true;
        return false;
}

static int check_path(const struct check *c)
{
        if (has_dotdot(c->value))
                return error_set(c->err, -EINVAL, "invalid path given '%s'", c->value);
        if (*c->value == '/')
                return 0;
        return error_set(c->err, -EINVAL, "option %s %s: '%s' is not an absolute path name", c->name, c->value,
                         c->value);
}

static int check_double(const struct check *c)
{
        double ignored;
        return option_double(c->value, &ignored) < 0 ? bad_number(c) : 0;
}

static int check_addresses(const struct check *c)
{
        if (address_list_is_valid(c->value))
                return 0;
        return error_set(c->err, -EINVAL, "option %s %s: '%s' is not a valid internet-address-list", c->name, c->value,
                         c->value);
}

static int check_priorities(const struct check *c)
{
        if (priority_list_is_valid(c->value))
                return 0;
        return error_set(c->err, -EINVAL, "option %s %s: '%s' is not a list of PATTERN:PRIORITY", c->name, c->value,
                         c->value);
}

typedef int check_fn(const struct check *c);

static check_fn *const checks[OPTION_TYPE_MAX] = {
        [OPTION_ANY] = check_any,
        [OPTION_BOOL] = check_bool,
        [OPTION_INT] = check_int,
        [OPTION_PERCENT] = check_percent,
        [OPTION_SIZET] = check_size,
        [OPTION_PERCENT_OR_SIZET] = check_percent_or_size,
        [OPTION_STR] = check_str,
        [OPTION_TIME] = check_time,
        [OPTION_PATH] = check_path,
        [OPTION_XLATOR] = check_any,
        [OPTION_DOUBLE] = check_double,
        [OPTION_INTERNET_ADDRESS_LIST] = check_addresses,
        [OPTION_CLIENT_AUTH_ADDR] = check_addresses,
        [OPTION_PRIORITY_LIST] = check_priorities,
};

/* Rules of single keys. */

static int check_valid_boolean(const struct check *c)
{
        bool ignored;
        if (option_bool(c->value, &ignored) >= 0)
                return 0;
        return error_set(c->err, -EINVAL, "%s is not a valid boolean value. %s expects a valid boolean value.",
                         c->value, c->option->key);
}

static int check_graph_switch(const struct check *c)
{
        bool ignored;
        return option_bool(c->value, &ignored) >= 0 ? 0 : error_set(c->err, -EINVAL, "Error, Validation Failed");
}

static int check_valid_u64(const struct check *c)
{
        uint64_t ignored;
        if (option_u64(c->value, &ignored) >= 0)
                return 0;
        return error_set(c->err, -EINVAL, "%s is not a valid uint64_t value. %s expects a valid uint64_t value.",
                         c->value, c->option->key);
}

static int check_valid_integer(const struct check *c)
{
        int64_t ignored;
        if (option_i64(c->value, &ignored) >= 0)
                return 0;
        return error_set(c->err, -EINVAL, "%s is not an integer. %s expects a valid integer value.", c->value,
                         c->option->key);
}

static int check_sys_log_level(const struct check *c)
{
        return check_words(c, "WARNING|ERROR|INFO|CRITICAL");
}

static int check_logger(const struct check *c)
{
        return check_words(c, "gluster-log|syslog");
}

static int check_log_format(const struct check *c)
{
        return check_words(c, "no-msg-id|with-msg-id");
}

static int check_daemon_log_level(const struct check *c)
{
        if (word_in_list("INFO|WARNING|ERROR|DEBUG|TRACE", c->value))
                return 0;
        return error_set(c->err, -EINVAL,
                         "Invalid option(%s). Valid options are 'INFO' or 'WARNING' or 'ERROR' or 'DEBUG' or "
                         " 'TRACE'",
                         c->value);
}

static int check_mandatory_locking(const struct check *c)
{
        if (word_in_list("off|file|forced|optimal", c->value))
                return 0;
        return error_set(c->err, -EINVAL,
                         "Invalid option value '%s': Available options are 'off', 'file', 'forced' or "
                         "'optimal'",
                         c->value);
}

static int check_retention_mode(const struct check *c)
{
        if (word_in_list("relax|enterprise", c->value))
                return 0;
        return error_set(c->err, -EINVAL,
                         "The value of retention mode should be either relax or enterprise. But the value of "
                         "%s is %s",
                         c->option->key, c->value);
}

static int check_address_family(const struct check *c)
{
        return check_words(c, "inet|inet6");
}

/* That the directory exists is for the caller to find out: it is one of the brick's node. */
static int check_directory(const struct check *c)
{
        if (*c->value == '/' && !has_dotdot(c->value))
                return 0;
        return error_set(c->err, -EINVAL, "Failed: %s is not a directory", c->value);
}

static int check_throttle(const struct check *c)
{
        if (word_in_list("lazy|normal|aggressive", c->value))
                return 0;
        uint64_t threads;
        if (option_u64(c->value, &threads) < 0)
                return error_set(c->err, -EINVAL,
                                 "%s should be {lazy|normal|aggressive} or a number up to number of cores "
                                 "available (cores available - 2)",
                                 c->option->key);
        if (threads >= 1 && threads <= 1024)
                return 0;
        return error_set(c->err, -EINVAL,
                         "%s should be within range of 0 and maximum number of cores available (cores "
                         "available - 2)",
                         c->option->key);
}

static int check_snapshot_directory(const struct check *c)
{
        size_t len = strlen(c->value);
        if (len < 2)
                return error_set(c->err, -EINVAL, "value of %s too short, expects at least two characters",
                                 c->option->key);
        if (c->value[0] != '.')
                return error_set(c->err, -EINVAL, "%s expects value starting with '.'", c->option->key);
        if (len > 255)
                return error_set(c->err, -EINVAL, "value of %s exceedes 255 characters", c->option->key);
        for (const char *at = c->value + 1; *at; at++)
                if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
                        return error_set(c->err, -EINVAL, "%s expects value to contain only '0-9a-z-_'",
                                         c->option->key);
        return 0;
}

static const struct rule {
        const char *key;
        check_fn *check;
} rules[] = {
        {"auth.allow", check_addresses},
        {"auth.reject", check_addresses},
        {"auth.ssl-allow", check_any}, /* certificate names, although typed as addresses */
        {"client.ssl", check_valid_boolean},
        {"cluster.brick-graceful-cleanup", check_valid_boolean},
        {"cluster.brick-multiplex", check_valid_boolean},
        {"cluster.daemon-log-level", check_daemon_log_level},
        {"cluster.enable-shared-storage", check_valid_boolean},
        {"cluster.localtime-logging", check_valid_boolean},
        {"cluster.quorum-count", check_valid_integer}, /* the range is the number of replicas */
        {"cluster.rebal-throttle", check_throttle},
        {"diagnostics.brick-log-format", check_log_format},
        {"diagnostics.brick-logger", check_logger},
        {"diagnostics.brick-sys-log-level", check_sys_log_level},
        {"diagnostics.client-log-format", check_log_format},
        {"diagnostics.client-logger", check_logger},
        {"diagnostics.client-sys-log-level", check_sys_log_level},
        {"features.auto-commit-period", check_valid_u64},
        {"features.cloudsync", check_graph_switch},
        {"features.ctime", check_valid_boolean},
        {"features.default-retention-period", check_valid_u64},
        {"features.inode-quota", check_graph_switch},
        {"features.quota", check_graph_switch},
        {"features.retention-mode", check_retention_mode},
        {"features.snapshot-directory", check_snapshot_directory},
        {"features.uss", check_valid_boolean},
        {"features.worm", check_valid_boolean},
        {"features.worm-file-level", check_valid_boolean},
        {"features.worm-files-deletable", check_valid_boolean},
        {"geo-replication.indexing", check_graph_switch},
        {"locks.mandatory-locking", check_mandatory_locking},
        {"network.compression", check_graph_switch},
        {"performance.client-io-threads", check_graph_switch},
        {"performance.stat-prefetch", check_graph_switch},
        {"server.ssl", check_valid_boolean},
        {"server.statedump-path", check_directory},
        {"transport.address-family", check_address_family},
};

static check_fn *find_check(const struct option *o)
{
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (streq(rules[i].key, o->key))
                        return rules[i].check;
        return checks[o->type];
}

/* The name that stands in texts. For auth.* it is made of the path of a brick, which is known only for a volume. */
static void check_name(const struct option *o, const char *brick_path, char *name, size_t size)
{
        const char *hole = o->written ? strstr(o->written, "%s") : NULL;
        if (hole && brick_path)
                (void)snprintf(name, size, "%.*s%s%s", (int)(hole - o->written), o->written, brick_path, hole + 2);
        else
                (void)snprintf(name, size, "%s", o->written && !hole ? o->written : o->key);
}

static int validate(const struct option *o, const char *value, const char *brick_path, struct error *err)
{
        char name[512];
        check_name(o, brick_path, name, sizeof name);
        return find_check(o)(&(struct check){.option = o, .value = value, .name = name, .err = err});
}

int option_validate(const struct option *o, const char *value, struct error *err)
{
        return validate(o, value, NULL, err);
}

int option_validate_key(const char *key, const char *value, const char *brick_path, struct error *err)
{
        if (option_is_user(key))
                return 0;
        const struct option *first = option_find(key);
        if (!first)
                return error_set(err, -ENOENT, "option : %s does not exist", key);
        for (const struct option *o = first; o; o = option_next(o))
                if (validate(o, value, brick_path, NULL) >= 0)
                        return 0;
        return validate(first, value, brick_path, err);
}
