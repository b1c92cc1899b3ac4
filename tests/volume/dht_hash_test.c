/* Names to numbers: the product's own vectors, and what of a name counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "volume/dht_hash.h"

#define VECTORS 75

static size_t unhex(const char *hex, uint8_t *to)
{
        size_t n = strlen(hex) / 2;
        for (size_t i = 0; i < n; i++) {
                unsigned byte;
                assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
                to[i] = (uint8_t)byte;
        }
        to[n] = '\0';
        return n;
}

/* name_hex, name_printable, length, hash_of_name, munged, hashed_string_hex, effective_hash */
static void check_vector(const struct dht_names *names, char *line)
{
        char *field[7];
        uint8_t name[512], hashed[512];
        for (unsigned i = 0; i < ELEMENTSOF(field); i++)
                field[i] = strsep(&line, "\t\n");
        assert_non_null(field[6]);
        size_t len = unhex(field[0], name), effective_len = unhex(field[5], hashed);
        const struct str text = {(const char *)name, (uint32_t)len};
        assert_int_equal(len, strtoul(field[2], NULL, 10));
        assert_int_equal(dht_hash(name, len, DHT_CHAR_SIGNED), strtoul(field[3], NULL, 16));
        struct slice effective = dht_names_effective(names, text);
        assert_int_equal(effective.len, effective_len);
        assert_memory_equal(effective.data, hashed, effective_len);
        assert_int_equal(effective_len != len, field[4][0] == '1');
        assert_int_equal(dht_names_hash(names, text), strtoul(field[6], NULL, 16));
}

static void test_vectors(void **state)
{
        struct dht_names names;
        char line[2048];
        unsigned n = 0;
        FILE *f = fopen(DHT_VECTORS, "r");
        assert_non_null(f);
        assert_int_equal(dht_names_init(&names, NULL, NULL, DHT_CHAR_SIGNED, NULL), 0);
        while (fgets(line, sizeof line, f)) {
                if (line[0] == '#')
                        continue;
                check_vector(&names, line);
                n++;
        }
        fclose(f);
        dht_names_done(&names);
        assert_int_equal(n, VECTORS);
}

/* The default pattern is matched by hand: it must say what the regex library says. */
static void test_rsync_by_hand(void **state)
{
        static const char *const texts[] = {"",       ".",      "..",    "...",     ".a",    ".a.",     ".a.b",     "a.b.c",
                                            "..b",    ".a..b",  ".a.b.", "...b",    "..a.b", ".a.b.c",  ".file.X",  "x.file.X",
                                            ". .  ",  ".a\n.b", ".a.b\n", ".bashrc", ".x.y.z.", ".-.-",  ".foo.bar-"};
        struct dht_names by_hand, by_library;
        assert_int_equal(dht_names_init(&by_hand, NULL, NULL, DHT_CHAR_SIGNED, NULL), 0);
        /* the same, written differently */
        assert_int_equal(dht_names_init(&by_library, NULL, "^[.](.+)\\.[^.]+$", DHT_CHAR_SIGNED, NULL), 0);
        assert_true(by_hand.rsync_is_default && !by_library.rsync_is_default);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                struct slice a = dht_names_effective(&by_hand, str_of(texts[i]));
                struct slice b = dht_names_effective(&by_library, str_of(texts[i]));
                assert_int_equal(a.len, b.len);
                assert_ptr_equal(a.data, b.data);
        }
        dht_names_done(&by_hand);
        dht_names_done(&by_library);
}

static void test_patterns(void **state)
{
        struct dht_names n;
        struct error e = {0};
        assert_int_equal(dht_names_init(&n, "^(.*)\\.tmp$", NULL, DHT_CHAR_SIGNED, NULL), 0);
        assert_int_equal(dht_names_hash(&n, STR("file1.tmp")), 0xa787fa82); /* as file1 */
        assert_int_equal(dht_names_hash(&n, STR(".file1.AbCdEf")), 0xa787fa82);
        assert_int_equal(dht_names_hash(&n, STR(".tmp")), dht_hash(".tmp", 4, DHT_CHAR_SIGNED)); /* an empty group */
        dht_names_done(&n);
        assert_int_equal(dht_names_init(&n, NULL, "none", DHT_CHAR_SIGNED, NULL), 0);
        assert_int_equal(dht_names_hash(&n, STR(".file1.AbCdEf")), 0x89beec55);
        dht_names_done(&n);
        assert_int_equal(dht_names_init(&n, "(", NULL, DHT_CHAR_SIGNED, &e), -EINVAL);
        assert_non_null(strstr(e.text, "extra-hash-regex"));
        assert_int_equal(dht_names_init(&n, NULL, "^a$", DHT_CHAR_SIGNED, &e), -EINVAL);
        assert_non_null(strstr(e.text, "group"));
}

static void test_char_kinds(void **state)
{
        assert_int_equal(dht_hash("\xc3\xa9", 2, DHT_CHAR_SIGNED), 0x65cfcaa1);
        assert_int_equal(dht_hash("\xc3\xa9", 2, DHT_CHAR_UNSIGNED), 0xbff26769);
        assert_int_equal(dht_hash("file1", 5, DHT_CHAR_UNSIGNED), 0xa787fa82);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors),
                cmocka_unit_test(test_rsync_by_hand),
                cmocka_unit_test(test_patterns),
                cmocka_unit_test(test_char_kinds),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
