/* Reading option values: text to number. Pure functions, any thread.
 *
 * What is accepted was found by trying values on a stock daemon (tests/data/volfile/values.tsv). Fractions are read
 * digit by digit instead of by strtod, whose decimal point depends on the locale.
 */
#include "volfile/option.h"

#include <ctype.h>
#include <strings.h>

struct unit {
        const char *suffix;
        uint64_t factor;
};

static const struct unit size_units[] = {
        {"", 1}, {"B", 1}, {"KB", KIB}, {"MB", MIB}, {"GB", GIB}, {"TB", KIB *GIB}, {"PB", MIB *GIB},
};

static const struct unit time_units[] = {
        {"", 1},      {"s", 1},     {"sec", 1},      {"m", 60},     {"min", 60},    {"h", 3600},
        {"hr", 3600}, {"d", 86400}, {"days", 86400}, {"w", 604800}, {"wk", 604800},
};

int option_bool(const char *text, bool *ret)
{
        static const char *const words[2][5] = {{"off", "no", "false", "disable", "0"},
                                                {"on", "yes", "true", "enable", "1"}};
        for (size_t value = 0; value < 2; value++) {
                for (size_t i = 0; i < ELEMENTSOF(words[value]); i++) {
                        if (strcasecmp(text, words[value][i]) == 0) {
                                *ret = value == 1;
                                return 0;
                        }
                }
        }
        return -EINVAL;
}

int option_i64(const char *text, int64_t *ret)
{
        if (!isdigit((unsigned char)*text) && *text != '-' && *text != '+')
                return -EINVAL;
        char *end;
        errno = 0;
        long long value = strtoll(text, &end, 0);
        if (errno == ERANGE)
                return -ERANGE;
        if (end == text || *end)
                return -EINVAL;
        *ret = value;
        return 0;
}

/* Digits with an optional sign in front; *ret_rest is what follows. */
static int read_unsigned(const char *text, int base, uint64_t *ret, const char **ret_rest)
{
        if (!isdigit((unsigned char)text[*text == '+']))
                return -EINVAL;
        char *end;
        errno = 0;
        unsigned long long value = strtoull(text, &end, base);
        if (errno == ERANGE)
                return -ERANGE;
        *ret = value;
        *ret_rest = end;
        return 0;
}

int option_u64(const char *text, uint64_t *ret)
{
        uint64_t value;
        const char *rest;
        int r = read_unsigned(text, 0, &value, &rest);
        if (r < 0)
                return r;
        if (*rest)
                return -EINVAL;
        *ret = value;
        return 0;
}

/* ".DIGITS" as a number below 1; 0 when TEXT does not begin with a point. */
static double read_fraction(const char *text, const char **ret_rest)
{
        double fraction = 0, weight = 0.1;
        if (*text == '.')
                for (text++; isdigit((unsigned char)*text); text++, weight /= 10)
                        fraction += weight * (*text - '0');
        *ret_rest = text;
        return fraction;
}

int option_double(const char *text, double *ret)
{
        bool negative = *text == '-';
        uint64_t whole;
        const char *rest;
        int r = read_unsigned(text + negative, 10, &whole, &rest);
        if (r < 0)
                return r;
        double value = (double)whole + read_fraction(rest, &rest);
        if (*rest)
                return -EINVAL;
        *ret = negative ? -value : value;
        return 0;
}

int option_percent(const char *text, double *ret)
{
        uint64_t whole;
        const char *rest;
        int r = read_unsigned(text, 10, &whole, &rest);
        if (r < 0)
                return r;
        double value = (double)whole + read_fraction(rest, &rest);
        if (*rest && !streq(rest, "%"))
                return -EINVAL;
        *ret = value;
        return 0;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *suffix, bool any_case)
{
        for (size_t i = 0; i < n; i++)
                if (any_case ? strcasecmp(units[i].suffix, suffix) == 0 : streq(units[i].suffix, suffix))
                        return &units[i];
        return NULL;
}

int option_size(const char *text, uint64_t *ret)
{
        uint64_t whole;
        const char *rest;
        int r = read_unsigned(text, 10, &whole, &rest);
        if (r < 0)
                return r;
        double fraction = read_fraction(rest, &rest);
        const struct unit *unit = find_unit(size_units, ELEMENTSOF(size_units), rest, true);
        if (!unit)
                return -EINVAL;
        uint64_t bytes;
        if (__builtin_mul_overflow(whole, unit->factor, &bytes) ||
            __builtin_add_overflow(bytes, (uint64_t)(fraction * (double)unit->factor), &bytes))
                return -ERANGE;
        *ret = bytes;
        return 0;
}

int option_time(const char *text, uint32_t *ret)
{
        uint64_t number;
        const char *rest;
        int r = read_unsigned(text, 0, &number, &rest);
        if (r < 0)
                return r;
        const struct unit *unit = find_unit(time_units, ELEMENTSOF(time_units), rest, false);
        if (!unit)
                return -EINVAL;
        uint64_t seconds;
        if (__builtin_mul_overflow(number, unit->factor, &seconds) || seconds > UINT32_MAX)
                return -ERANGE;
        *ret = (uint32_t)seconds;
        return 0;
}

int option_percent_or_size(const char *text, struct option_share *ret)
{
        struct option_share share = {0};
        int r = 0;
        if (strchr(text, '%')) {
                share.is_percent = true;
                r = option_percent(text, &share.percent);
        } else {
                r = option_size(text, &share.bytes);
                if (r >= 0 && share.bytes < 100)
                        share = (struct option_share){.is_percent = true, .percent = (double)share.bytes};
        }
        if (r < 0)
                return r;
        *ret = share;
        return 0;
}

const char *section_value(const struct volfile_section *s, const char *name)
{
        const char *text = section_option(s, name);
        if (text)
                return text;
        const struct option *o = option_of_section(s->type, name);
        return o ? o->default_value : NULL;
}

static int read_failed(const struct volfile_section *s, const char *name, const char *text, int r, struct error *err)
{
        return error_set(err, -EINVAL, "option %s of \"%s\" has the value \"%.128s\", which is %s", name, s->name, text,
                         r == -ERANGE ? "too large" : "not of the expected form");
}

#define DEFINE_SECTION_READER(suffix, type)                                                                            \
        int section_##suffix(const struct volfile_section *s, const char *name, type *ret, struct error *err)          \
        {                                                                                                              \
                const char *text = section_value(s, name);                                                             \
                if (!text)                                                                                             \
                        return error_set(err, -ENODATA, "option %s of \"%s\" is not set", name, s->name);              \
                int r = option_##suffix(text, ret);                                                                    \
                return r < 0 ? read_failed(s, name, text, r, err) : 0;                                                 \
        }

DEFINE_SECTION_READER(bool, bool)
DEFINE_SECTION_READER(u64, uint64_t)
DEFINE_SECTION_READER(i64, int64_t)
DEFINE_SECTION_READER(size, uint64_t)
DEFINE_SECTION_READER(time, uint32_t)
