/* The volume options: one table (option.def), from which everything that knows options is derived — `volume set`
 * checks, `volume get`, `set help`, the generator of volfiles and the defaults of bricks and clients that read them.
 *
 * Words: a *key* is what an operator types (`performance.io-thread-count`), a *name* is what stands in the volfile
 * section of the option's *translator* (`thread-count` in `performance/io-threads`). One key may have several rows when
 * it feeds several translators (`performance.cache-size`). An option without a name is a switch: the generator looks at
 * it to decide what to write. Read-only data; any thread.
 */
#pragma once

#include "base/error.h"
#include "volfile/volfile.h"

enum option_type {
        OPTION_ANY, /* not checked */
        OPTION_BOOL,
        OPTION_INT,
        OPTION_PERCENT,
        OPTION_SIZET,
        OPTION_PERCENT_OR_SIZET,
        OPTION_STR, /* with allowed words in `values`, or free text */
        OPTION_TIME,
        OPTION_PATH,
        OPTION_XLATOR,
        OPTION_DOUBLE,
        OPTION_INTERNET_ADDRESS_LIST,
        OPTION_CLIENT_AUTH_ADDR,
        OPTION_PRIORITY_LIST,
        OPTION_TYPE_MAX,
        OPTION_TYPE_INVALID = -EINVAL,
};

/* What `volume get` prints for an option nobody has set. */
enum option_default {
        DEFAULT_UNSHOWN,    /* not listed */
        DEFAULT_NONE,       /* "(null) (DEFAULT)" */
        DEFAULT_TRANSLATOR, /* "VALUE (DEFAULT)": the reader of the volfile supplies it */
        DEFAULT_TABLE,      /* "VALUE": the generator supplies it */
        DEFAULT_POOL,       /* "VALUE", but only `volume get all` lists it */
};

/* Whose sections get a switch that is written under a name of its own. */
enum option_place { IN_NONE, IN_CLIENT, IN_BRICK, IN_BOTH, IN_SHD };

/* What a change of the option asks for on a volume in use. */
enum option_class {
        CLASS_LIVE,            /* takes effect by itself */
        CLASS_NEEDS_RESTART,   /* of the bricks or a fresh mount */
        CLASS_ONLY_WHEN_EMPTY, /* changes how or where data is stored: never change it with data in the volume */
};

struct option {
        const char *key;
        const char *translator; /* type of the volfile section, e.g. "cluster/distribute" */
        const char *name;       /* key inside that section; NULL for a switch */
        const char
                *written; /* the same, for switches too when they end up in a volfile ("%s" = brick path); else NULL */
        enum option_place place;
        enum option_type type;
        const char *values; /* "MIN..MAX" or "A|B|C" or "" */
        enum option_default default_kind;
        const char *default_value; /* NULL for DEFAULT_UNSHOWN and DEFAULT_NONE */
        unsigned op_version;
        bool client;     /* a client must understand it */
        bool pool_wide;  /* belongs to the pool, not to a volume (cli.md 9.5) */
        bool documented; /* listed by `set help` */
        enum option_class class;
        const char *description; /* our own sentence */
};

/* All rows, in table order (the order of `volume get V all`). */
const struct option *option_table(size_t *ret_count);

const char *option_type_name(enum option_type type);
enum option_type option_type_from_name(const char *name);

/* The (first) row of a full key, NULL when there is none. `user.*` keys have no row; see option_is_user(). */
const struct option *option_find(const char *key);
bool option_is_user(const char *key);

/* The next row with the same key after O, NULL at the end. */
const struct option *option_next(const struct option *o);

/* What an operator typed: a full key, or the part after its first dot when only one key ends so
 * ("cache-max-file-size"). 0, -ENOENT when unknown or ambiguous; then, if HINT is given, it receives the text after
 * "Did you mean" without the question mark ("performance.cache-size", "auth.allow or ...reject", "acl or drc"). */
int option_resolve(const char *typed, const struct option **ret, char *hint, size_t hint_size);

/* That text alone, for any key. */
void option_hint(const char *typed, char *hint, size_t hint_size);

/* The row by translator and name (what a section's reader knows); NULL when there is none. */
const struct option *option_of_section(const char *translator, const char *name);

/* Whether VALUE may be stored for option O. On failure -EINVAL and stock's text (cli.md 9.1) in *err. Rules that need
 * to know the volume (replica count, volume type, refused keys) are the caller's. */
int option_validate(const struct option *o, const char *value, struct error *err);

/* The same by key, for `volume set`. A key with several rows takes what any of them takes; user.* takes anything.
 * BRICK_PATH (of the volume's first brick, or NULL) appears in stock's text for auth.*. -ENOENT for an unknown key. */
int option_validate_key(const char *key, const char *value, const char *brick_path, struct error *err);

/* Typed readers. 0, or -EINVAL / -ERANGE with nothing written. Surrounding blanks are refused. */
int option_bool(const char *text, bool *ret);   /* on/off yes/no true/false enable/disable 1/0, any case */
int option_i64(const char *text, int64_t *ret); /* decimal, 0x hexadecimal, 0 octal */
int option_u64(const char *text, uint64_t *ret);
int option_size(const char *text, uint64_t *ret);  /* bytes; "4096", "64KB", "1.5GB", "10M": 1024-based */
int option_time(const char *text, uint32_t *ret);  /* seconds; "42", "10min", "1d" */
int option_percent(const char *text, double *ret); /* "10", "10%", "12.5%" */
int option_double(const char *text, double *ret);

/* A share or an amount: "10%" or "10GB". A bare number is bytes, but below 100 it counts as percent. */
struct option_share {
        bool is_percent;
        double percent;
        uint64_t bytes;
};
int option_percent_or_size(const char *text, struct option_share *ret);

/* What the reader of a section does: the text in the section, else the default of the table. NULL: neither. */
const char *section_value(const struct volfile_section *s, const char *name);

/* section_value() through a typed reader. -ENODATA: neither set nor a default; -EINVAL with a sentence for an operator.
 */
int section_bool(const struct volfile_section *s, const char *name, bool *ret, struct error *err);
int section_u64(const struct volfile_section *s, const char *name, uint64_t *ret, struct error *err);
int section_i64(const struct volfile_section *s, const char *name, int64_t *ret, struct error *err);
int section_size(const struct volfile_section *s, const char *name, uint64_t *ret, struct error *err);
int section_time(const struct volfile_section *s, const char *name, uint32_t *ret, struct error *err);
