/* The option table and looking things up in it. Read-only data, any thread.
 *
 * Lookups are linear: the table has 395 rows and is searched by people and while volfiles are made, not on the data
 * path.
 */
#include "volfile/option.h"

#include <ctype.h>
#include <stdio.h>

#define NAME(n) n, n, IN_NONE
#define SWITCH NULL, NULL, IN_NONE
#define SWITCH_AS(n, place) NULL, n, place
#define UNSHOWN DEFAULT_UNSHOWN, NULL
#define NONE DEFAULT_NONE, NULL
#define XLATOR(v) DEFAULT_TRANSLATOR, v
#define TABLE(v) DEFAULT_TABLE, v
#define POOL(v) DEFAULT_POOL, v
#define CLIENT true, false
#define ANY false, false
#define POOL_WIDE false, true
#define DOC true
#define UNDOC false
#define LIVE CLASS_LIVE
#define RESTART CLASS_NEEDS_RESTART
#define WHEN_EMPTY CLASS_ONLY_WHEN_EMPTY
#define OPTION(key_, translator_, name_, type_, values_, dflt_, op_version_, scope_, documented_, class_, text_)       \
        {key_, translator_, name_, OPTION_##type_, values_, dflt_, op_version_, scope_, documented_, class_, text_},

static const struct option options[] = {
#include "volfile/option.def"
};

static const char *const type_names[OPTION_TYPE_MAX] = {
        [OPTION_ANY] = "",
        [OPTION_BOOL] = "BOOL",
        [OPTION_INT] = "INT",
        [OPTION_PERCENT] = "PERCENT",
        [OPTION_SIZET] = "SIZET",
        [OPTION_PERCENT_OR_SIZET] = "PERCENT_OR_SIZET",
        [OPTION_STR] = "STR",
        [OPTION_TIME] = "TIME",
        [OPTION_PATH] = "PATH",
        [OPTION_XLATOR] = "XLATOR",
        [OPTION_DOUBLE] = "DOUBLE",
        [OPTION_INTERNET_ADDRESS_LIST] = "INTERNET_ADDRESS_LIST",
        [OPTION_CLIENT_AUTH_ADDR] = "CLIENT_AUTH_ADDR",
        [OPTION_PRIORITY_LIST] = "PRIORITY_LIST",
};

const struct option *option_table(size_t *ret_count)
{
        *ret_count = ELEMENTSOF(options);
        return options;
}

const char *option_type_name(enum option_type type)
{
        return type >= 0 && type < OPTION_TYPE_MAX ? type_names[type] : NULL;
}

enum option_type option_type_from_name(const char *name)
{
        for (int i = 0; i < OPTION_TYPE_MAX; i++)
                if (streq(type_names[i], name))
                        return (enum option_type)i;
        return OPTION_TYPE_INVALID;
}

static const struct option *find_from(size_t from, const char *key)
{
        for (size_t i = from; i < ELEMENTSOF(options); i++)
                if (streq(options[i].key, key))
                        return &options[i];
        return NULL;
}

const struct option *option_find(const char *key)
{
        return find_from(0, key);
}

const struct option *option_next(const struct option *o)
{
        return find_from((size_t)(o - options) + 1, o->key);
}

bool option_is_user(const char *key)
{
        return starts_with(key, "user.");
}

const struct option *option_of_section(const char *translator, const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (options[i].name && streq(options[i].name, name) && streq(options[i].translator, translator))
                        return &options[i];
        return NULL;
}

/* The one key of the form ANYTHING.TYPED, where ANYTHING has no dot. */
static const struct option *find_short(const char *typed)
{
        const struct option *found = NULL;
        for (size_t i = 0; i < ELEMENTSOF(options); i++) {
                if (!streq(strchr(options[i].key, '.') + 1, typed))
                        continue;
                if (found && !streq(found->key, options[i].key))
                        return NULL;
                if (!found)
                        found = &options[i];
        }
        return found;
}

int option_resolve(const char *typed, const struct option **ret, char *hint, size_t hint_size)
{
        const struct option *found = strchr(typed, '.') ? option_find(typed) : find_short(typed);
        if (found) {
                *ret = found;
                return 0;
        }
        if (hint && hint_size > 0)
                option_hint(typed, hint, hint_size);
        return -ENOENT;
}
