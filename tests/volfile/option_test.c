/* The option table, names of options, and what values are taken. */
#include "golden.h"
#include "volfile/option.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the above before it */
#include <cmocka.h>

enum { FIELDS = 9 };

/* Splits LINE at tabs; empty fields count. Returns the number of fields. */
static size_t split(char *line, char **fields, size_t max)
{
        size_t n = 0;
        for (char *at = line; n < max; n++) {
                fields[n] = at;
                at = strchr(at, '\t');
                if (!at)
                        return n + 1;
                *at++ = '\0';
        }
        return n;
}

static const char *shown_default(const struct option *o, char *room, size_t size)
{
        const char *value = o->default_value;
        switch (o->default_kind) {
        case DEFAULT_UNSHOWN:
                return "";
        case DEFAULT_NONE:
                return "(null) (DEFAULT)";
        case DEFAULT_TABLE:
        case DEFAULT_POOL:
                return value;
        case DEFAULT_TRANSLATOR:
                break;
        }
        (void)snprintf(room, size, "%s%s(DEFAULT)", value, *value ? " " : "");
        return room;
}

/* Rows whose recorded value was not the default, but what `volume create` had set, or that of another row of the key.
 */
static const struct {
        const char *key;
        const char *translator;
        const char *recorded;
} recorded_otherwise[] = {
        {"cluster.granular-entry-heal", "cluster/replicate", "on"},
        {"cluster.quorum-type", "cluster/replicate", "auto"},
        {"features.ctime", "storage/posix", "on"},
        {"geo-replication.ignore-pid-check", "features/marker", ""},
        {"geo-replication.indexing", "features/marker", ""},
        {"performance.cache-size", "performance/io-cache", "128MB (DEFAULT)"},
        {"performance.client-io-threads", "performance/io-threads", "off"},
        {"storage.fips-mode-rchecksum", "storage/posix", "on"},
};

static const char *recorded_default(const struct option *o, char *room, size_t size)
{
        for (size_t i = 0; i < ELEMENTSOF(recorded_otherwise); i++)
                if (streq(recorded_otherwise[i].key, o->key) && streq(recorded_otherwise[i].translator, o->translator))
                        return recorded_otherwise[i].recorded;
        return shown_default(o, room, size);
}

static void compare_row(const struct option *o, char **f)
{
        char room[256];
        assert_string_equal(f[0], o->key);
        assert_string_equal(f[1], o->translator);
        assert_string_equal(f[2], o->name ? o->name : "(switch)");
        assert_string_equal(f[3], option_type_name(o->type));
        assert_string_equal(f[4], o->values);
        assert_string_equal(f[5], recorded_default(o, room, sizeof room));
        assert_int_equal(strtoul(f[6], NULL, 10), o->op_version);
        assert_string_equal(f[7], o->client ? "client" : "");
        assert_string_equal(f[8], o->documented ? "documented" : "undocumented");
}

static void table_equals_the_recorded_one(void **state)
{
        (void)state;
        _cleanup_free_ char *text = golden_read("volume-options.tsv");
        size_t count, row = 0;
        const struct option *table = option_table(&count);
        char *save = NULL;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *fields[FIELDS];
                if (*line == '#')
                        continue;
                assert_true(row < count);
                assert_int_equal(split(line, fields, FIELDS), FIELDS);
                compare_row(&table[row++], fields);
        }
        assert_int_equal(row, 395);
        for (; row < count; row++)
                assert_true(starts_with(table[row].key, "mortar."));
}

static void rows_are_consistent(void **state)
{
        (void)state;
        size_t count, listed = 0;
        const struct option *table = option_table(&count);
        for (const struct option *o = table; o < table + count; o++) {
                size_t len = strlen(o->description);
                if (len < 10 || o->description[len - 1] != '.')
                        fail_msg("%s has no sentence as description", o->key);
                assert_true(strchr(o->key, '.') != NULL);
                assert_true((o->default_value != NULL) == (o->default_kind > DEFAULT_NONE));
                assert_true(!o->name || (o->written && streq(o->name, o->written) && o->place == IN_NONE));
                assert_int_equal(option_type_from_name(option_type_name(o->type)), o->type);
                listed += o->default_kind != DEFAULT_UNSHOWN && o->default_kind != DEFAULT_POOL;
                struct error err = {0};
                if (streq(o->key, "cluster.server-quorum-type") || streq(o->key, "changelog.changelog-dir"))
                        continue; /* shown as "off", set as "none"; shown with a placeholder */
                if (o->default_value && *o->default_value && option_validate(o, o->default_value, &err) < 0)
                        fail_msg("%s refuses its default: %s", o->key, err.text);
        }
        assert_int_equal(listed, 342); /* rows of `volume get V all` */
        assert_int_equal(option_type_from_name("none"), OPTION_TYPE_INVALID);
        assert_null(option_type_name(OPTION_TYPE_INVALID));
}

static void keys_are_found(void **state)
{
        (void)state;
        const struct option *o = option_find("performance.cache-size");
        assert_string_equal(o->translator, "performance/io-cache");
        o = option_next(o);
        assert_string_equal(o->translator, "performance/quick-read");
        assert_null(option_next(o));
        assert_null(option_find("performance.cache"));
        assert_string_equal(option_of_section("performance/io-threads", "thread-count")->key,
                            "performance.io-thread-count");
        assert_null(option_of_section("performance/io-threads", "cache-size"));
        assert_true(option_is_user("user.cifs"));
        assert_false(option_is_user("username"));
}

static void short_keys_are_resolved(void **state)
{
        (void)state;
        static const char *const known[][2] = {
                {"cache-size", "performance.cache-size"},
                {"read-only", "features.read-only"},
                {"write-behind", "performance.write-behind"},
                {"heal-timeout", "cluster.heal-timeout"},
                {"bitrot", "features.bitrot"},
                {"performance.cache-size", "performance.cache-size"},
        };
        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                const struct option *o;
                assert_int_equal(option_resolve(known[i][0], &o, NULL, 0), 0);
                assert_string_equal(o->key, known[i][1]);
        }
}

static void unknown_keys_get_a_hint(void **state)
{
        (void)state;
        static const char *const unknown[][2] = {
                {"performance.cache-sise", "performance.cache-size"},
                {"foo", "acl or drc"},
                {"nosuch.option", "auth.allow"},
                {"a.b.c", "auth.allow or ...reject"},
                {"bogus.x", "locks.trace"},
                {"nosuch", "anonuid or nfs"},
                {"snap-max-hard-limit", "max-hardlinks or nl-cache-limit"},
                {"performance", "error-fops or error-gen"},
                {"user.foo", "cluster.nufa"},
                {"eager-lock", "eager-lock"},
                {"ssl", "ssl"},
                {"nfs", "nfs"},
                {"trace", "trace"},
                {"cache-siz", "cache-size"},
                {"performance.nfs.writebehind", "performance.write-behind"},
                {"nfs.write-behind", "nfs.write-size"},
                {"PERFORMANCE.cache-size", "auth.allow or ...reject"},
        };
        for (size_t i = 0; i < ELEMENTSOF(unknown); i++) {
                const struct option *o = NULL;
                char hint[128];
                assert_int_equal(option_resolve(unknown[i][0], &o, hint, sizeof hint), -ENOENT);
                assert_null(o);
                assert_string_equal(hint, unknown[i][1]);
        }
}

/* Stock does not look at options of translators that are switched off, nor at values of a few switches. */
static const char *const refused_only_here[] = {
        "client.ssl 7",
        "config.client-threads 129",
        "debug.error-failure 101",
        "debug.error-number FOO",
        "features.failover-hosts a_!",
        "features.shard-block-size 3MB",
        "features.shard-block-size 5TB",
        "features.shard-block-size x",
        "features.shard-lru-limit 19",
        "features.shard-lru-limit 2147483648",
        "auth.allow /sub(x",
        "nfs.event-threads 33",
        "nfs.mount-rmtab relative",
        "nfs.port 65536",
        "performance.cache-priority *.html:x",
        "performance.cache-priority :1",
        "performance.cache-priority a:-1",
        "performance.cache-priority x",
        "performance.nl-cache-limit x",
        "performance.rda-request-size 131073",
        "performance.rda-request-size 4095",
        "transport.address-family x",
};

/* What depends on the volume or the node is checked by those who know them. */
static const char *const taken_only_here[] = {
        "cluster.quorum-count -1",    "cluster.quorum-count 0",        "cluster.quorum-count 9",
        "cluster.read-subvolume foo", "server.statedump-path /nosuch",
};

static bool is_listed(const char *const *list, size_t n, char **f)
{
        char text[256];
        (void)snprintf(text, sizeof text, "%s %s", f[0], f[1]);
        for (size_t i = 0; i < n; i++)
                if (streq(list[i], text))
                        return true;
        return false;
}

static void check_value(char **f)
{
        struct error err = {0};
        int r = option_validate_key(f[0], f[1], "/srv/b1/rep3", &err);
        if (is_listed(refused_only_here, ELEMENTSOF(refused_only_here), f)) {
                assert_int_equal(r, -EINVAL);
                assert_true(err.text[0]);
                assert_string_equal(f[2], "ok");
        } else if (is_listed(taken_only_here, ELEMENTSOF(taken_only_here), f)) {
                assert_int_equal(r, 0);
        } else if (!streq(f[2], r < 0 ? err.text : "ok")) {
                fail_msg("%s %s: \"%s\", stock says \"%s\"", f[0], f[1], r < 0 ? err.text : "ok", f[2]);
        }
}

static void values_are_taken_and_refused_as_in_stock(void **state)
{
        (void)state;
        _cleanup_free_ char *text = golden_read("values.tsv");
        char *save = NULL;
        size_t count = 0;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *fields[3];
                assert_int_equal(split(line, fields, 3), 3);
                check_value(fields);
                count++;
        }
        assert_true(count > 300);
}

static void other_texts_name_the_key(void **state)
{
        (void)state;
        struct error err = {0};
        assert_int_equal(option_validate_key("nosuch.option", "1", NULL, &err), -ENOENT);
        assert_string_equal(err.text, "option : nosuch.option does not exist");
        assert_int_equal(option_validate_key("auth.allow", "!", NULL, &err), -EINVAL);
        assert_string_equal(err.text, "option auth.allow !: '!' is not a valid internet-address-list");
        assert_int_equal(option_validate_key("user.x", "any thing", NULL, &err), 0);
        assert_int_equal(option_validate_key("cluster.daemon-log-level", "X", NULL, &err), -EINVAL);
        assert_string_equal(err.text,
                            "Invalid option(X). Valid options are 'INFO' or 'WARNING' or 'ERROR' or 'DEBUG' or "
                            " 'TRACE'");
}

static void numbers_are_read(void **state)
{
        (void)state;
        bool b;
        assert_int_equal(option_bool("Enable", &b), 0);
        assert_true(b);
        assert_int_equal(option_bool("no", &b), 0);
        assert_false(b);
        assert_int_equal(option_bool("", &b), -EINVAL);
        int64_t i = 0;
        assert_int_equal(option_i64("-0x10", &i), 0);
        assert_int_equal(i, -16);
        assert_int_equal(option_i64("0777", &i), 0);
        assert_int_equal(i, 0777);
        assert_int_equal(option_i64(" 1", &i), -EINVAL);
        assert_int_equal(option_i64("9223372036854775808", &i), -ERANGE);
        uint64_t u = 0;
        assert_int_equal(option_u64("18446744073709551615", &u), 0);
        assert_true(u == UINT64_MAX);
        assert_int_equal(option_u64("-1", &u), -EINVAL);
        assert_int_equal(option_u64("18446744073709551616", &u), -ERANGE);
        double d = 0;
        assert_int_equal(option_percent("12.5%", &d), 0);
        assert_true(fabs(d - 12.5) < 1e-9);
        assert_int_equal(option_percent("1%%", &d), -EINVAL);
        assert_int_equal(option_double("-1.25", &d), 0);
        assert_true(fabs(d + 1.25) < 1e-9);
        assert_int_equal(option_double("1e5", &d), -EINVAL);
        uint32_t t = 0;
        assert_int_equal(option_time("10min", &t), 0);
        assert_int_equal(t, 600);
        assert_int_equal(option_time("4294967296", &t), -ERANGE);
        assert_int_equal(option_time("1y", &t), -EINVAL);
}

static void sizes_are_read(void **state)
{
        (void)state;
        static const struct {
                const char *text;
                uint64_t bytes;
        } sizes[] = {{"0", 0},
                     {"4096", 4096},
                     {"64KB", 65536},
                     {"64kb", 65536},
                     {"1.5GB", 1610612736},
                     {"5242880B", 5242880},
                     {"1PB", 1ull << 50},
                     {"18446744073709551615", UINT64_MAX}};
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                uint64_t bytes = 1;
                assert_int_equal(option_size(sizes[i].text, &bytes), 0);
                assert_true(bytes == sizes[i].bytes);
        }
        uint64_t bytes = 1;
        assert_int_equal(option_size("16384PB", &bytes), -ERANGE);
        assert_int_equal(option_size("64M", &bytes), -EINVAL);
        assert_int_equal(option_size("", &bytes), -EINVAL);
        assert_int_equal(option_size(".5GB", &bytes), -EINVAL);
        assert_int_equal(bytes, 1);

        struct option_share share;
        assert_int_equal(option_percent_or_size("5%", &share), 0);
        assert_true(share.is_percent && share.percent > 4.9 && share.percent < 5.1);
        assert_int_equal(option_percent_or_size("1", &share), 0);
        assert_true(share.is_percent);
        assert_int_equal(option_percent_or_size("100", &share), 0);
        assert_true(!share.is_percent && share.bytes == 100);
        assert_int_equal(option_percent_or_size("1GB", &share), 0);
        assert_true(!share.is_percent && share.bytes == GIB);
        assert_int_equal(option_percent_or_size("x", &share), -EINVAL);
}

static void readers_of_sections_fall_back_to_the_table(void **state)
{
        (void)state;
        static const char text[] = "volume a type storage/posix option reserve 2 option gfid2path maybe end-volume";
        _cleanup_volfile_ struct volfile *v = NULL;
        assert_int_equal(volfile_parse(text, sizeof text - 1, &v, NULL), 0);
        const struct volfile_section *s = volfile_top(v);
        struct error err = {0};
        uint64_t u = 0;
        bool b = false;
        assert_string_equal(section_value(s, "reserve"), "2");
        assert_int_equal(section_u64(s, "health-check-interval", &u, &err), 0);
        assert_int_equal(u, 30);
        assert_int_equal(section_bool(s, "gfid2path", &b, &err), -EINVAL);
        assert_string_equal(err.text,
                            "option gfid2path of \"a\" has the value \"maybe\", which is not of the expected form");
        assert_int_equal(section_bool(s, "fips-mode-rchecksum", &b, &err), 0);
        assert_int_equal(section_bool(s, "unknown", &b, &err), -ENODATA);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(table_equals_the_recorded_one),
                cmocka_unit_test(rows_are_consistent),
                cmocka_unit_test(keys_are_found),
                cmocka_unit_test(short_keys_are_resolved),
                cmocka_unit_test(unknown_keys_get_a_hint),
                cmocka_unit_test(values_are_taken_and_refused_as_in_stock),
                cmocka_unit_test(other_texts_name_the_key),
                cmocka_unit_test(numbers_are_read),
                cmocka_unit_test(sizes_are_read),
                cmocka_unit_test(readers_of_sections_fall_back_to_the_table),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
