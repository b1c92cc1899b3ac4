/* XDR primitives: bounds, padding, the sticky error, refusals; gfid text. */
#include "guard.h"

#include "proto/xdr.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void numbers_round_trip(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        xdr_write_u32(&b, 0x01020304);
        xdr_write_u64(&b, 0x05060708090a0b0cull);
        static const uint8_t wire[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
        assert_int_equal(b.len, sizeof wire);
        assert_memory_equal(b.data, wire, sizeof wire);
        struct xdr_reader r = xdr_reader_of(b.data, b.len);
        assert_int_equal(xdr_read_u32(&r), 0x01020304);
        assert_true(xdr_read_u64(&r) == 0x05060708090a0b0cull);
        assert_int_equal(xdr_left(&r), 0);
        assert_int_equal(xdr_result(&r), 0);
}

static void short_reads_stick(void **state)
{
        static const uint8_t wire[] = {0, 0, 0, 7, 0, 0, 0};
        struct xdr_reader r = xdr_reader_of(wire, sizeof wire);
        assert_int_equal(xdr_read_u32(&r), 7);
        assert_int_equal(xdr_read_u32(&r), 0);
        assert_int_equal(r.error, -EBADMSG);
        /* Three bytes were left, but after a failure nothing is read any more. */
        assert_null(xdr_read_fixed(&r, 1));
        assert_true(xdr_read_u64(&r) == 0);
        assert_int_equal(xdr_left(&r), 0);
        assert_int_equal(xdr_fail(&r, -ENOMEM), -EBADMSG);
}

static void empty_input_is_short(void **state)
{
        struct xdr_reader r = xdr_reader_of(NULL, 0);
        assert_non_null(&r);
        assert_int_equal(xdr_left(&r), 0);
        assert_int_equal(xdr_read_u32(&r), 0);
        assert_int_equal(r.error, -EBADMSG);
}

static void opaques_are_padded(void **state)
{
        for (uint32_t n = 0; n < 9; n++) {
                _cleanup_buf_ struct buf b = BUF_INIT(64);
                xdr_write_opaque(&b, "abcdefgh", n);
                assert_int_equal(b.len, 4 + (n + 3) / 4 * 4);
                for (size_t i = 4 + n; i < b.len; i++)
                        assert_int_equal(b.data[i], 0);
                struct xdr_reader r = xdr_reader_of(b.data, b.len);
                struct slice s = xdr_read_opaque(&r, n);
                assert_int_equal(r.error, 0);
                assert_int_equal(s.len, n);
                assert_memory_equal(s.data, "abcdefgh", n);
                assert_int_equal(xdr_left(&r), 0);
        }
}

static void opaque_limits(void **state)
{
        static const uint8_t wire[] = {0, 0, 0, 5, 'a', 'b', 'c', 'd', 'e', 0, 0, 0};
        struct xdr_reader r = xdr_reader_of(wire, sizeof wire);
        (void)xdr_read_opaque(&r, 4);
        assert_int_equal(r.error, -EMSGSIZE);
        /* Without its padding it is cut short, whatever the limit. */
        r = xdr_reader_of(wire, sizeof wire - 1);
        (void)xdr_read_opaque(&r, 4);
        assert_int_equal(r.error, -EBADMSG);
}

static void huge_lengths_are_cut_short(void **state)
{
        static const uint32_t lengths[] = {13, 0x7fffffff, 0x80000000, 0xfffffffc, 0xfffffffd, 0xfffffffe, 0xffffffff};
        struct guard g;
        assert_int_equal(guard_init(&g, 64), 0);
        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT(64);
                xdr_write_u32(&b, lengths[i]);
                xdr_write_fixed(&b, "123456789012", 12);
                struct xdr_reader r = xdr_reader_of(guard_place(&g, b.data, b.len), b.len);
                struct slice s = xdr_read_opaque(&r, UINT32_MAX);
                assert_int_equal(r.error, -EBADMSG);
                assert_int_equal(s.len, 0);
        }
        guard_done(&g);
}

static void strings_get_a_nul(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(4096);
        static const uint8_t wire[] = {0, 0, 0, 4, 'w', 'o', 'r', 'd'};
        struct xdr_reader r = xdr_reader_of(wire, sizeof wire);
        struct str s = xdr_read_str(&r, 4, &a);
        assert_string_equal(s.s, "word");
        assert_int_equal(s.len, 4);
}

static void nul_inside_a_string_is_refused_not_an_error(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(4096);
        static const uint8_t wire[] = {0, 0, 0, 3, 'a', 0, 'b', 0, 0, 0, 0, 9};
        struct xdr_reader r = xdr_reader_of(wire, sizeof wire);
        struct str s = xdr_read_str(&r, 100, &a);
        assert_string_equal(s.s, "");
        assert_int_equal(r.error, 0);
        assert_int_equal(xdr_read_u32(&r), 9);
        assert_int_equal(xdr_result(&r), -EINVAL);
        (void)xdr_read_u32(&r);
        assert_int_equal(xdr_result(&r), -EBADMSG);
}

static void strings_beyond_the_arena(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(4);
        static const uint8_t wire[] = {0, 0, 0, 4, 'w', 'o', 'r', 'd'};
        struct xdr_reader r = xdr_reader_of(wire, sizeof wire);
        (void)xdr_read_str(&r, 4, &a);
        assert_int_equal(r.error, -ENOMEM);
}

static void writer_keeps_its_ceiling(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(10);
        xdr_write_u64(&b, 1);
        xdr_write_u32(&b, 2);
        assert_int_equal(b.error, -E2BIG);
        xdr_write_opaque(&b, "", 0);
        xdr_patch_u32(&b, 0, 5);
        assert_int_equal(b.len, 8);
}

static void structures_have_their_sizes(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(1024);
        struct iatt i = {0};
        struct mdata m = {0};
        xdr_write_iatt(&b, &i);
        assert_int_equal(b.len, 148);
        xdr_write_iatt_old(&b, &i);
        assert_int_equal(b.len, 248);
        xdr_write_mdata(&b, &m);
        assert_int_equal(b.len, 284);
}

static void gfid_text(void **state)
{
        char text[GFID_TEXT_LEN + 1];
        struct gfid g;
        const char *s = "DB78257d-2190-4fa1-8138-18c0180bd09c";
        assert_int_equal(gfid_parse(s, 36, &g), 0);
        assert_string_equal(gfid_format(&g, text), "db78257d-2190-4fa1-8138-18c0180bd09c");
        assert_true(gfid_ino(&g) == 9311219442904715420ull);
        g = GFID_ROOT;
        assert_true(gfid_ino(&g) == 1);
        g = (struct gfid){0};
        assert_true(gfid_ino(&g) == UINT64_MAX);

        assert_int_equal(gfid_parse(s, 35, &g), -EINVAL);
        assert_int_equal(gfid_parse("db78257d-2190-4fa1-8138-18c0180bd09g", 36, &g), -EINVAL);
        assert_int_equal(gfid_parse("db78257d02190-4fa1-8138-18c0180bd09c", 36, &g), -EINVAL);
        assert_int_equal(gfid_parse("db78257-d2190-4fa1-8138-18c0180bd09c", 36, &g), -EINVAL);
        assert_int_equal(gfid_parse("db78257d-2190-4fa1-8138-18c0180bd0  ", 36, &g), -EINVAL);
}

static void random_gfids_are_version_4(void **state)
{
        uint8_t ones[16], zeros[16] = {0};
        memset(ones, 0xff, sizeof ones);
        char text[GFID_TEXT_LEN + 1];
        struct gfid g = gfid_from_random(ones);
        assert_string_equal(gfid_format(&g, text), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        g = gfid_from_random(zeros);
        assert_string_equal(gfid_format(&g, text), "00000000-0000-4000-8000-000000000000");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(numbers_round_trip),
                cmocka_unit_test(short_reads_stick),
                cmocka_unit_test(empty_input_is_short),
                cmocka_unit_test(opaques_are_padded),
                cmocka_unit_test(opaque_limits),
                cmocka_unit_test(huge_lengths_are_cut_short),
                cmocka_unit_test(strings_get_a_nul),
                cmocka_unit_test(nul_inside_a_string_is_refused_not_an_error),
                cmocka_unit_test(strings_beyond_the_arena),
                cmocka_unit_test(writer_keeps_its_ceiling),
                cmocka_unit_test(structures_have_their_sizes),
                cmocka_unit_test(gfid_text),
                cmocka_unit_test(random_gfids_are_version_4),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
