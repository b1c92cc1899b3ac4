/* Options of a brick by name: the table of options.h as setters and defaults. Pure functions.
 *
 * An option is set by the text that stands in the brick's volfile. Values are checked completely before anything is stored.
 */
#include "brick/options.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>

#define OCTAL_MODE_MAX 07777
#define PERCENT_BELOW 100.0

static int bad_value(struct error *e, const char *name, const char *value, const char *wanted)
{
        return error_set(e, -EINVAL, "Option %s: '%s' is not %s.", name, value, wanted);
}

static int set_bool(bool *ret, const char *name, const char *value, struct error *e)
{
        static const char *const yes[] = {"on", "yes", "true", "enable", "enabled", "1"};
        static const char *const no[] = {"off", "no", "false", "disable", "disabled", "0"};
        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                if (strcasecmp(value, yes[i]) == 0) {
                        *ret = true;
                        return 0;
                }
                if (strcasecmp(value, no[i]) == 0) {
                        *ret = false;
                        return 0;
                }
        }
        return bad_value(e, name, value, "on or off");
}

/* A whole number in BASE within [LOW, HIGH]. */
static int parse_number(const char *value, int base, long long low, long long high, long long *ret)
{
        if (!isdigit((unsigned char)value[0]) && value[0] != '-')
                return -EINVAL;
        char *end;
        errno = 0;
        long long n = strtoll(value, &end, base);
        if (errno != 0 || end == value || *end || n < low || n > high)
                return -EINVAL;
        *ret = n;
        return 0;
}

static int set_i32(int32_t *ret, const char *name, const char *value, struct error *e)
{
        long long n;
        if (parse_number(value, 10, INT32_MIN, INT32_MAX, &n) < 0)
                return bad_value(e, name, value, "a whole number");
        *ret = (int32_t)n;
        return 0;
}

static int set_u32(uint32_t *ret, const char *name, const char *value, struct error *e)
{
        long long n;
        if (parse_number(value, 10, 0, UINT32_MAX, &n) < 0)
                return bad_value(e, name, value, "a whole number from 0 to 4294967295");
        *ret = (uint32_t)n;
        return 0;
}

static int set_octal(uint32_t *ret, const char *name, const char *value, struct error *e)
{
        long long n;
        if (parse_number(value, 8, 0, OCTAL_MODE_MAX, &n) < 0)
                return bad_value(e, name, value, "an octal mode up to 7777");
        *ret = (uint32_t)n;
        return 0;
}

/* The power of two behind a size suffix (B, KB, MB, GB, TB, PB, with or without the B); -EINVAL. */
static int suffix_shift(const char *s)
{
        static const char units[] = "KMGTP";
        if (!*s || strcasecmp(s, "B") == 0)
                return 0;
        const char *u = strchr(units, toupper((unsigned char)*s));
        if (!u || (s[1] && strcasecmp(s + 1, "B") != 0))
                return -EINVAL;
        return 10 * (int)(u - units + 1);
}

static int set_reserve(struct brick_reserve *ret, const char *name, const char *value, struct error *e)
{
        static const char wanted[] = "a percentage below 100 or a size such as 10GB";
        if (!isdigit((unsigned char)value[0]))
                return bad_value(e, name, value, wanted);
        char *end;
        errno = 0;
        double n = strtod(value, &end);
        if (errno != 0 || n < 0 || n > 1e18)
                return bad_value(e, name, value, wanted);
        bool plain = !*end || streq(end, "%");
        if (plain && n < PERCENT_BELOW) {
                *ret = (struct brick_reserve){.percent = n};
                return 0;
        }
        int shift = streq(end, "%") ? -EINVAL : suffix_shift(end);
        if (shift < 0)
                return bad_value(e, name, value, wanted);
        double bytes = n * (double)(1ull << shift);
        if (bytes > 1e18)
                return bad_value(e, name, value, wanted);
        *ret = (struct brick_reserve){.is_bytes = true, .bytes = (uint64_t)bytes};
        return 0;
}

static int set_mandatory(enum mandatory_mode *ret, const char *name, const char *value, struct error *e)
{
        static const char *const modes[] = {"off", "file", "forced", "optimal"};
        for (size_t i = 0; i < ELEMENTSOF(modes); i++)
                if (strcasecmp(value, modes[i]) == 0) {
                        *ret = (enum mandatory_mode)i;
                        return 0;
                }
        return bad_value(e, name, value, "off, file, forced or optimal");
}

static int set_text(char ret[static BRICK_OPTION_TEXT_MAX], const char *name, const char *value, struct error *e)
{
        size_t len = strlen(value);
        if (len >= BRICK_OPTION_TEXT_MAX)
                return error_set(e, -EINVAL, "Option %s is longer than %d bytes.", name, BRICK_OPTION_TEXT_MAX - 1);
        memset(ret, 0, BRICK_OPTION_TEXT_MAX);
        memcpy(ret, value, len);
        return 0;
}

#define FIELD_bool(o, field) (&(o)->field)
#define FIELD_i32(o, field) (&(o)->field)
#define FIELD_u32(o, field) (&(o)->field)
#define FIELD_octal(o, field) (&(o)->field)
#define FIELD_reserve(o, field) (&(o)->field)
#define FIELD_mandatory(o, field) (&(o)->field)
#define FIELD_text(o, field) ((o)->field)

#define DEFAULT_(field, kind, option, text) (void)set_##kind(FIELD_##kind(o, field), option, text, NULL);
void brick_options_init(struct brick_options *o)
{
        BRICK_OPTIONS(DEFAULT_)
}

#define SET_(field, kind, option, text)                                                                                \
        if (streq(name, option))                                                                                       \
                return set_##kind(FIELD_##kind(o, field), option, value, e);
int brick_options_set(struct brick_options *o, const char *name, const char *value, struct error *e)
{
        BRICK_OPTIONS(SET_)
        return error_set(e, -ENOENT, "There is no brick option %s.", name);
}
