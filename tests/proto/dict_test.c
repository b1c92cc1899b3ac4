/* Both dictionary forms: what is accepted, what is refused, what look-ups convert. */
#include "guard.h"

#include "proto/dict.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WORDS(...) ((const uint32_t[]){__VA_ARGS__})

/* Appends big-endian words. */
static void words(struct buf *b, const uint32_t *v, size_t n)
{
        for (size_t i = 0; i < n; i++)
                xdr_write_u32(b, v[i]);
}
#define PUT(b, ...) words((b), WORDS(__VA_ARGS__), ELEMENTSOF(WORDS(__VA_ARGS__)))

static int decode(const struct buf *b, struct arena *a, struct dict *ret)
{
        struct xdr_reader r = xdr_reader_of(b->data, b->len);
        dict_decode(&r, a, ret);
        return xdr_result(&r);
}

static int decode_exact(const struct buf *b, struct arena *a, struct dict *ret)
{
        struct xdr_reader r = xdr_reader_of(b->data, b->len);
        dict_decode_exact(&r, a, ret);
        return xdr_result(&r);
}

static void null_and_empty_are_two_things(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf null = BUF_INIT(64), empty = BUF_INIT(64), out = BUF_INIT(64);
        PUT(&null, 0, 0xffffffff, 0);
        PUT(&empty, 0, 0, 0);
        struct dict d;
        assert_int_equal(decode(&null, &a, &d), 0);
        assert_true(d.null);
        dict_encode(&out, &d);
        assert_memory_equal(out.data, null.data, 12);
        buf_reset(&out, 64);
        assert_int_equal(decode(&empty, &a, &d), 0);
        assert_false(d.null);
        assert_int_equal(d.count, 0);
        dict_encode(&out, &d);
        assert_memory_equal(out.data, empty.data, 12);
}

static void the_array_length_counts(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        static const uint32_t counts[] = {0, 1, 2, 0xffffffff, 0x80000000, 4097};
        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT(64);
                PUT(&b, 0, counts[i], 1, 2, 0x6b000000, DICT_UINT, 0, 9);
                struct dict d;
                assert_int_equal(decode(&b, &a, &d), 0);
                assert_int_equal(d.count, 1);
                assert_false(d.null);
                int64_t v = 0;
                assert_int_equal(dict_get_int(&d, "k", &v), 0);
                assert_int_equal(v, 9);
        }
}

static void xdr_size_matters_only_before_a_payload(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        static const uint32_t sizes[] = {0, 20, 19, 17, 16, 21, 24, 0xffffffff};
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT(64);
                PUT(&b, sizes[i], 1, 1, 2, 0x6b000000, DICT_UINT, 0, 9);
                struct dict d;
                assert_int_equal(decode(&b, &a, &d), 0);
                /* Receivers round up to four. */
                bool exact = sizes[i] > 16 && sizes[i] <= 20;
                assert_int_equal(decode_exact(&b, &a, &d), exact ? 0 : -EBADMSG);
        }
}

static void keys_with_and_without_nul(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(256), out = BUF_INIT(256);
        PUT(&b, 0, 3, 3);
        PUT(&b, 4, 0x6b657900, DICT_INT, 0, 1); /* "key\0" */
        PUT(&b, 4, 0x776f7264, DICT_INT, 0, 2); /* "word" */
        PUT(&b, 0, DICT_INT, 0, 3);             /* "" */
        struct dict d;
        assert_int_equal(decode(&b, &a, &d), 0);
        assert_string_equal(d.pairs[0].key.s, "key");
        assert_int_equal(d.pairs[0].key.len, 3);
        assert_string_equal(d.pairs[1].key.s, "word");
        assert_int_equal(d.pairs[1].key.len, 4);
        assert_string_equal(d.pairs[2].key.s, "");
        dict_encode(&out, &d);
        struct dict again;
        assert_int_equal(decode_exact(&out, &a, &again), 0);
        struct xdr_reader r = xdr_reader_of(out.data, out.len);
        assert_int_equal(xdr_read_u32(&r), out.len - 12);
        (void)xdr_read_u64(&r);
        assert_int_equal(xdr_read_u32(&r), 4);
        (void)xdr_read_fixed(&r, 16);
        assert_int_equal(xdr_read_u32(&r), 5);
}

static void nul_inside_a_key_is_refused(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(256);
        PUT(&b, 0, 1, 1, 4, 0x6b007900, DICT_INT, 0, 1);
        struct dict d;
        assert_int_equal(decode(&b, &a, &d), -EBADMSG);
        assert_int_equal(d.count, 0);
}

static void impossible_types_are_refused(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        static const uint32_t types[] = {DICT_UNKNOWN, DICT_TYPE_MAX, 0x7fffffff, 0x80000000, 0xffffffff, 0x100};
        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT(256);
                PUT(&b, 0, 1, 1, 2, 0x6b000000, types[i], 0, 9);
                struct dict d;
                assert_int_equal(decode(&b, &a, &d), -EBADMSG);
        }
}

static void counts_never_allocate_more_than_is_there(void **state)
{
        static const uint32_t counts[] = {2, 4096, 4097, 0x7fffffff, 0x80000000, 0xffffffff};
        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
                _cleanup_buf_ struct buf b = BUF_INIT(256), old = BUF_INIT(64);
                PUT(&b, 0, counts[i], counts[i], 2, 0x6b000000, DICT_UINT, 0, 9);
                struct dict d;
                assert_int_equal(decode(&b, &a, &d), -EBADMSG);
                assert_true(a.used < 1024);
                PUT(&old, counts[i], 0, 0, 0x6b000000);
                assert_int_equal(dict_decode_old((struct slice){old.data, (uint32_t)old.len}, &a, &d), -EBADMSG);
                assert_true(a.used < 1024);
        }
}

static void too_many_pairs(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(8 * MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB), old = BUF_INIT(MIB);
        for (uint32_t n = DICT_PAIRS_LIMIT; n <= DICT_PAIRS_LIMIT + 1; n++) {
                bool fits = n == DICT_PAIRS_LIMIT;
                buf_reset(&b, MIB);
                buf_reset(&old, MIB);
                PUT(&b, 0, n, n);
                PUT(&old, n);
                for (uint32_t i = 0; i < n; i++) {
                        PUT(&b, 0, DICT_PTR, 0);
                        PUT(&old, 0, 0);
                        xdr_write_fixed(&old, "", 1);
                }
                struct dict d;
                assert_int_equal(decode(&b, &a, &d), fits ? 0 : -EMSGSIZE);
                assert_int_equal(dict_decode_old((struct slice){old.data, (uint32_t)old.len}, &a, &d),
                                 fits ? 0 : -E2BIG);
        }
}

static void too_many_bytes(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(32 * MIB);
        _cleanup_free_ uint8_t *big = calloc(1, DICT_BYTES_LIMIT / 2);
        assert_non_null(big);
        struct dict d = {0}, got;
        assert_int_equal(dict_add_ptr(&d, &a, "one", big, DICT_BYTES_LIMIT / 2), 0);
        dict_encode(&b, &d);
        assert_int_equal(decode_exact(&b, &a, &got), 0);
        assert_int_equal(dict_add_ptr(&d, &a, "two", big, DICT_BYTES_LIMIT / 2), 0);
        buf_reset(&b, SIZE_MAX);
        dict_encode(&b, &d);
        assert_int_equal(decode(&b, &a, &got), -EMSGSIZE);
        buf_reset(&b, SIZE_MAX);
        assert_int_equal(dict_encode_old(&b, &d), 0);
        assert_int_equal(dict_decode_old((struct slice){b.data, (uint32_t)b.len}, &a, &got), -E2BIG);
}

static void value_lengths_are_bounded(void **state)
{
        static const uint32_t lengths[] = {9, 0x7fffffff, 0x80000000, 0xfffffffd, 0xffffffff};
        struct guard g;
        assert_int_equal(guard_init(&g, 256), 0);
        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
                _cleanup_buf_ struct buf b = BUF_INIT(256), old = BUF_INIT(256);
                PUT(&b, 0, 1, 1, 2, 0x6b000000, DICT_PTR, lengths[i], 0, 9);
                struct dict d;
                struct xdr_reader r = xdr_reader_of(guard_place(&g, b.data, b.len), b.len);
                dict_decode(&r, &a, &d);
                assert_int_equal(r.error, -EBADMSG);
                for (int key = 0; key < 2; key++) {
                        buf_reset(&old, 256);
                        PUT(&old, 1, key ? lengths[i] : 1, key ? 1 : lengths[i], 0x6b000000, 0, 0);
                        struct slice s = {guard_place(&g, old.data, old.len), (uint32_t)old.len};
                        bool fits = lengths[i] == 9 && !key;
                        assert_int_equal(dict_decode_old(s, &a, &d), fits ? 0 : -EBADMSG);
                }
        }
        guard_done(&g);
}

static struct dict one_of_each(struct arena *a)
{
        static const struct gfid gfid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
        struct dict d = {0};
        struct iatt iatt = {.gfid = gfid, .size = 5};
        struct mdata mdata = {.mtime = {.sec = -1, .nsec = 2}};
        assert_int_equal(dict_add_int(&d, a, "int", INT64_MIN), 0);
        assert_int_equal(dict_add_uint(&d, a, "uint", UINT64_MAX), 0);
        assert_int_equal(dict_add_ptr(&d, a, "ptr", "\0\1\2", 3), 0);
        assert_int_equal(dict_add_str(&d, a, "str", "text"), 0);
        assert_int_equal(dict_add_gfid(&d, a, "gfid", &gfid), 0);
        assert_int_equal(dict_add_iatt(&d, a, "iatt", &iatt), 0);
        assert_int_equal(dict_add(&d, a, STR("double"), (struct dict_value){.type = DICT_DOUBLE, .d = 0.5}), 0);
        assert_int_equal(dict_add(&d, a, STR("mdata"), (struct dict_value){.type = DICT_MDATA, .mdata = mdata}), 0);
        struct dict_value old = {.type = DICT_STR_OLD, .bytes = {(const uint8_t *)"42", 3}};
        assert_int_equal(dict_add(&d, a, STR("old"), old), 0);
        return d;
}

static void every_type_round_trips(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(4096), again = BUF_INIT(4096);
        struct dict d = one_of_each(&a), got;
        dict_encode(&b, &d);
        assert_int_equal(b.error, 0);
        assert_int_equal(decode_exact(&b, &a, &got), 0);
        assert_int_equal(got.count, d.count);
        dict_encode(&again, &got);
        assert_int_equal(again.len, b.len);
        assert_memory_equal(again.data, b.data, b.len);
        for (size_t n = 0; n < b.len; n++) {
                struct buf cut = {.data = b.data, .len = n};
                assert_int_equal(decode(&cut, &a, &got), -EBADMSG);
        }
}

static void look_ups_convert(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct dict d = one_of_each(&a);
        int64_t v;
        assert_int_equal(dict_get_int(&d, "int", &v), 0);
        assert_true(v == INT64_MIN);
        assert_int_equal(dict_get_int(&d, "uint", &v), -EINVAL);
        assert_int_equal(dict_get_int(&d, "old", &v), 0);
        assert_int_equal(v, 42);
        assert_int_equal(dict_get_int(&d, "str", &v), -EINVAL);
        assert_int_equal(dict_get_int(&d, "none", &v), -ENOENT);
        assert_int_equal(dict_get_int(&d, "iatt", &v), -EINVAL);

        struct slice s;
        assert_int_equal(dict_get_bytes(&d, "ptr", &s), 0);
        assert_int_equal(s.len, 3);
        assert_int_equal(dict_get_bytes(&d, "gfid", &s), 0);
        assert_int_equal(s.len, 16);
        assert_int_equal(dict_get_bytes(&d, "int", &s), -EINVAL);

        struct str text;
        assert_int_equal(dict_get_str(&d, &a, "str", &text), 0);
        assert_string_equal(text.s, "text");
        assert_int_equal(text.len, 4);
        assert_int_equal(dict_get_str(&d, &a, "ptr", &text), -EINVAL);

        struct gfid g;
        assert_int_equal(dict_get_gfid(&d, "gfid", &g), 0);
        assert_int_equal(g.b[15], 16);
        assert_int_equal(dict_get_gfid(&d, "ptr", &g), -EINVAL);
        assert_int_equal(dict_add_ptr(&d, &a, "bytes", g.b, 16), 0);
        assert_int_equal(dict_get_gfid(&d, "bytes", &g), 0);
        assert_true(dict_has(&d, "old") && !dict_has(&d, "ol") && !dict_has(&d, "olds"));
}

static void decimal_text(void **state)
{
        static const struct {
                const char *text;
                uint32_t len;
                int error;
                int64_t value;
        } cases[] = {
                {"0", 2, 0, 0},
                {"100000", 6, 0, 100000},
                {"-9223372036854775808", 21, 0, INT64_MIN},
                {"9223372036854775807", 20, 0, INT64_MAX},
                {"9223372036854775808", 20, -EINVAL, 0},
                {"-9223372036854775809", 21, -EINVAL, 0},
                {"", 0, -EINVAL, 0},
                {"", 1, -EINVAL, 0},
                {"-", 1, -EINVAL, 0},
                {"1 ", 2, -EINVAL, 0},
                {" 1", 2, -EINVAL, 0},
                {"0x10", 4, -EINVAL, 0},
                {"1\0002", 3, -EINVAL, 0},
        };
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct dict d = {0};
                int64_t v = 0;
                assert_int_equal(dict_add_ptr(&d, &a, "k", cases[i].text, cases[i].len), 0);
                assert_int_equal(dict_get_int(&d, "k", &v), cases[i].error);
                assert_true(v == cases[i].value);
        }
}

static void the_last_duplicate_wins(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct dict d = DICT_NULL;
        int64_t v;
        assert_int_equal(dict_add_int(&d, &a, "k", 1), 0);
        assert_false(d.null);
        assert_int_equal(dict_add_int(&d, &a, "k", 2), 0);
        assert_int_equal(dict_get_int(&d, "k", &v), 0);
        assert_int_equal(v, 2);
}

static void building_is_bounded(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(8 * MIB), small = ARENA_INIT(16);
        struct dict d = {0}, tiny = {0};
        for (uint32_t i = 0; i < DICT_PAIRS_LIMIT; i++)
                assert_int_equal(dict_add_int(&d, &a, "k", i), 0);
        assert_int_equal(dict_add_int(&d, &a, "k", 0), -E2BIG);
        assert_int_equal(dict_add_int(&tiny, &small, "k", 0), -ENOMEM);
}

static void values_as_xattrs(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct dict d = one_of_each(&a);
        struct slice s;
        assert_int_equal(dict_value_bytes(dict_get(&d, "int"), &a, &s), 0);
        assert_int_equal(s.len, 21);
        assert_memory_equal(s.data, "-9223372036854775808", 21);
        assert_int_equal(dict_value_bytes(dict_get(&d, "uint"), &a, &s), 0);
        assert_memory_equal(s.data, "18446744073709551615", 21);
        assert_int_equal(dict_value_bytes(dict_get(&d, "str"), &a, &s), 0);
        assert_int_equal(s.len, 5);
        assert_int_equal(dict_value_bytes(dict_get(&d, "iatt"), &a, &s), -EINVAL);
        assert_int_equal(dict_value_bytes(dict_get(&d, "mdata"), &a, &s), -EINVAL);
        assert_int_equal(dict_value_bytes(dict_get(&d, "double"), &a, &s), -EINVAL);
}

static void old_form(void **state)
{
        static const uint8_t wire[] = {0,   0,   0, 2, 0, 0, 0, 1, 0, 0, 0, 3,   'a', 0,
                                       '4', '2', 0, 0, 0, 0, 2, 0, 0, 0, 0, 'b', 'c', 0};
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct dict d;
        assert_int_equal(dict_decode_old((struct slice){wire, sizeof wire}, &a, &d), 0);
        assert_int_equal(d.count, 2);
        assert_int_equal(d.pairs[0].value.type, DICT_STR_OLD);
        assert_string_equal(d.pairs[1].key.s, "bc");
        assert_int_equal(dict_encode_old(&b, &d), 0);
        assert_int_equal(b.len, sizeof wire);
        assert_memory_equal(b.data, wire, sizeof wire);
        for (uint32_t n = 1; n < sizeof wire; n++)
                assert_int_equal(dict_decode_old((struct slice){wire, n}, &a, &d), -EBADMSG);

        struct dict numbers = {0};
        assert_int_equal(dict_add_int(&numbers, &a, "a", 42), 0);
        buf_reset(&b, 4096);
        assert_int_equal(dict_encode_old(&b, &numbers), 0);
        assert_memory_equal(b.data + 4, wire + 4, 13);
        assert_int_equal(dict_add_iatt(&numbers, &a, "i", &(struct iatt){0}), 0);
        assert_int_equal(dict_encode_old(&b, &numbers), -EINVAL);
}

static void old_form_null_empty_and_bad_keys(void **state)
{
        static const uint8_t empty[] = {0, 0, 0, 0};
        static const uint8_t no_nul[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'a', 'b', 'c'};
        static const uint8_t nul_inside[] = {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 'a', 0, 0};
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        struct dict d;
        assert_int_equal(dict_decode_old((struct slice){0}, &a, &d), 0);
        assert_true(d.null);
        assert_int_equal(dict_encode_old(&b, &d), 0);
        assert_int_equal(b.len, 0);
        assert_int_equal(dict_decode_old((struct slice){empty, 4}, &a, &d), 0);
        assert_false(d.null);
        assert_int_equal(dict_encode_old(&b, &d), 0);
        assert_int_equal(b.len, 4);
        assert_int_equal(dict_decode_old((struct slice){no_nul, sizeof no_nul}, &a, &d), -EBADMSG);
        assert_int_equal(dict_decode_old((struct slice){nul_inside, sizeof nul_inside}, &a, &d), -EBADMSG);
}

static void unknown_type_is_not_encoded(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        struct dict d = {0};
        assert_int_equal(dict_add(&d, &a, STR("k"), (struct dict_value){.type = DICT_UNKNOWN}), 0);
        dict_encode(&b, &d);
        assert_int_equal(b.error, -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(null_and_empty_are_two_things),
                cmocka_unit_test(the_array_length_counts),
                cmocka_unit_test(xdr_size_matters_only_before_a_payload),
                cmocka_unit_test(keys_with_and_without_nul),
                cmocka_unit_test(nul_inside_a_key_is_refused),
                cmocka_unit_test(impossible_types_are_refused),
                cmocka_unit_test(counts_never_allocate_more_than_is_there),
                cmocka_unit_test(too_many_pairs),
                cmocka_unit_test(too_many_bytes),
                cmocka_unit_test(value_lengths_are_bounded),
                cmocka_unit_test(every_type_round_trips),
                cmocka_unit_test(look_ups_convert),
                cmocka_unit_test(decimal_text),
                cmocka_unit_test(the_last_duplicate_wins),
                cmocka_unit_test(building_is_bounded),
                cmocka_unit_test(values_as_xattrs),
                cmocka_unit_test(old_form),
                cmocka_unit_test(old_form_null_empty_and_bad_keys),
                cmocka_unit_test(unknown_type_is_not_encoded),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
