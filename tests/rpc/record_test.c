/* Record marking: every splitting of a stream gives the same records; limits; memory. */
#include "rpc/link.h"
#include "rpc/record.h"

#include "proto/xdr.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LIMIT 64

static void mark(struct buf *b, uint32_t word)
{
        xdr_write_u32(b, word);
}

static void fragment(struct buf *b, bool last, const char *text)
{
        mark(b, (uint32_t)strlen(text) | (last ? RECORD_LAST : 0));
        buf_append_str(b, text);
}

static void feed(struct record_reader *r, const void *data, size_t n)
{
        size_t size;
        if (n == 0)
                return;
        uint8_t *at = record_reader_space(r, n, &size);
        assert_non_null(at);
        assert_true(size >= n);
        memcpy(at, data, n);
        record_reader_filled(r, n);
}

/* Appends every record that is there as "[text]". */
static int collect(struct record_reader *r, struct buf *out)
{
        struct slice record;
        int n;
        while ((n = record_reader_next(r, &record, NULL)) == 1) {
                buf_append_str(out, "[");
                buf_append(out, record.data, record.len);
                buf_append_str(out, "]");
        }
        return n;
}

/* Records in one, two and four fragments, with empty ones between. */
static void sample(struct buf *b)
{
        fragment(b, true, "one");
        fragment(b, false, "t");
        fragment(b, true, "wo");
        fragment(b, false, "");
        fragment(b, false, "th");
        fragment(b, false, "");
        fragment(b, true, "ree");
        fragment(b, true, "");
        fragment(b, false, "four");
        fragment(b, true, "");
}
#define SAMPLE_RECORDS "[one][two][three][][four]"

static void check_pieces(const struct buf *b, const size_t *cuts, size_t n)
{
        struct record_reader r;
        _cleanup_buf_ struct buf out = BUF_INIT(4096);
        size_t at = 0;
        record_reader_init(&r, LIMIT);
        for (size_t i = 0; i <= n; i++) {
                size_t end = i < n ? cuts[i] : b->len;
                feed(&r, b->data + at, end - at);
                at = end;
                assert_int_equal(collect(&r, &out), 0);
        }
        assert_string_equal(buf_cstr(&out), SAMPLE_RECORDS);
        record_reader_done(&r);
}

static void every_splitting_gives_the_same_records(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        sample(&b);
        check_pieces(&b, NULL, 0);
        for (size_t i = 0; i <= b.len; i++)
                for (size_t j = i; j <= b.len; j++)
                        for (size_t k = j; k <= b.len; k++)
                                check_pieces(&b, (const size_t[]){i, j, k}, 3);
        size_t single[256];
        for (size_t i = 0; i < b.len; i++)
                single[i] = i;
        check_pieces(&b, single, b.len);
}

static void missing_bytes_are_told(void **state)
{
        struct record_reader r;
        struct slice record;
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        fragment(&b, true, "0123456789");
        record_reader_init(&r, LIMIT);
        for (size_t i = 0; i < b.len; i++) {
                size_t missing = 0;
                assert_int_equal(record_reader_next(&r, &record, &missing), 0);
                assert_int_equal(missing, i < 4 ? 4 - i : b.len - i);
                feed(&r, b.data + i, 1);
        }
        assert_int_equal(record_reader_next(&r, &record, NULL), 1);
        assert_int_equal(record.len, 10);
        record_reader_done(&r);
}

static void oversized_records_are_refused_at_the_mark(void **state)
{
        static const uint32_t marks[] = {LIMIT + 1, 0x7fffffff, 0x40000000};
        for (size_t i = 0; i < ELEMENTSOF(marks); i++) {
                for (uint32_t last = 0; last < 2; last++) {
                        struct record_reader r;
                        struct slice record;
                        _cleanup_buf_ struct buf b = BUF_INIT(64);
                        record_reader_init(&r, LIMIT);
                        mark(&b, marks[i] | (last ? RECORD_LAST : 0));
                        feed(&r, b.data, b.len);
                        assert_int_equal(record_reader_next(&r, &record, NULL), -EMSGSIZE);
                        record_reader_done(&r);
                }
        }
}

static void the_limit_counts_all_fragments(void **state)
{
        for (uint32_t extra = 0; extra < 2; extra++) {
                struct record_reader r;
                struct slice record;
                _cleanup_buf_ struct buf b = BUF_INIT(4096);
                char text[LIMIT + 1] = {0};
                memset(text, 'x', LIMIT - 10);
                record_reader_init(&r, LIMIT);
                fragment(&b, false, text);
                fragment(&b, true, extra ? "0123456789a" : "0123456789");
                feed(&r, b.data, b.len);
                assert_int_equal(record_reader_next(&r, &record, NULL), extra ? -EMSGSIZE : 1);
                record_reader_done(&r);
        }
}

static void endless_fragments_are_refused(void **state)
{
        struct record_reader r;
        struct slice record;
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        fragment(&b, false, "");
        record_reader_init(&r, LIMIT);
        int n = 0;
        unsigned fed = 0;
        for (; n == 0 && fed < 2 * RECORD_FRAGMENTS; fed++) {
                feed(&r, b.data, b.len);
                n = record_reader_next(&r, &record, NULL);
        }
        assert_int_equal(n, -EBADMSG);
        assert_int_equal(fed, RECORD_FRAGMENTS + 1);
        record_reader_done(&r);
}

static void fragments_are_counted_per_record(void **state)
{
        struct record_reader r;
        _cleanup_buf_ struct buf b = BUF_INIT(MIB), out = BUF_INIT(MIB);
        for (int i = 0; i < 3; i++) {
                for (int k = 0; k < RECORD_FRAGMENTS - 1; k++)
                        fragment(&b, false, "");
                fragment(&b, true, "x");
        }
        record_reader_init(&r, LIMIT);
        feed(&r, b.data, b.len);
        assert_int_equal(collect(&r, &out), 0);
        assert_string_equal(buf_cstr(&out), "[x][x][x]");
        record_reader_done(&r);
}

static void memory_follows_bytes_not_announcements(void **state)
{
        struct record_reader r;
        struct slice record;
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        record_reader_init(&r, RECORD_LIMIT);
        mark(&b, RECORD_LAST | (uint32_t)RECORD_LIMIT);
        feed(&r, b.data, b.len);
        for (int i = 0; i < 100; i++) {
                assert_int_equal(record_reader_next(&r, &record, NULL), 0);
                feed(&r, "0123456789", 10);
        }
        assert_true(r.in.cap < 8 * KIB);
        record_reader_done(&r);
}

static void memory_is_given_back_after_a_large_record(void **state)
{
        struct record_reader r;
        struct slice record;
        _cleanup_buf_ struct buf b = BUF_INIT(16 * MIB);
        size_t size;
        for (int joined = 0; joined < 2; joined++) {
                record_reader_init(&r, RECORD_LIMIT);
                buf_reset(&b, 0);
                mark(&b, (joined ? 0 : RECORD_LAST) | (uint32_t)(4 * MIB));
                assert_non_null(buf_extend(&b, 4 * MIB));
                memset(b.data + 4, 'x', 4 * MIB);
                fragment(&b, true, "end");
                feed(&r, b.data, b.len);
                for (int i = 0; i < 2 - joined; i++)
                        assert_int_equal(record_reader_next(&r, &record, NULL), 1);
                assert_int_equal(record_reader_next(&r, &record, NULL), 0);
                assert_non_null(record_reader_space(&r, 4096, &size));
                assert_true(r.in.cap + r.joined.cap < MIB);
                record_reader_done(&r);
        }
}

static void a_full_reader_still_has_room(void **state)
{
        /* One byte short of the largest record: there must be room for that byte and what follows. */
        struct record_reader r;
        struct slice record;
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        size_t size;
        record_reader_init(&r, LIMIT);
        mark(&b, RECORD_LAST | LIMIT);
        feed(&r, b.data, b.len);
        for (int i = 0; i < LIMIT; i++) {
                assert_int_equal(record_reader_next(&r, &record, NULL), 0);
                assert_non_null(record_reader_space(&r, 64 * KIB, &size));
                feed(&r, "x", 1);
        }
        assert_int_equal(record_reader_next(&r, &record, NULL), 1);
        assert_int_equal(record.len, LIMIT);
        record_reader_done(&r);
}

static void marks_are_written(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        buf_append_str(&b, "before");
        size_t begin = record_begin(&b);
        buf_append_str(&b, "body");
        record_end(&b, begin, 100);
        assert_int_equal(b.len, 14);
        static const uint8_t wanted[] = {0x80, 0, 0, 104};
        assert_memory_equal(b.data + 6, wanted, 4);
        record_end(&b, begin, 0x7fffffff);
        assert_int_equal(b.error, -E2BIG);
}

static ssize_t take_all(struct stream *s, const struct iovec *iov, int n)
{
        size_t all = 0;
        for (int k = 0; k < n; k++)
                all += iov[k].iov_len;
        return (ssize_t)all;
}

static void free_nothing(struct stream *s)
{
}

/* A daemon has a connection of every mount, and each was once sent its volfile. */
static void a_quiet_link_keeps_little(void **state)
{
        static const struct stream_ops ops = {.writev = take_all, .free = free_nothing};
        struct stream stream = {.ops = &ops};
        struct rpc_link l;
        rpc_link_init(&l, &stream, MIB, MIB);
        size_t begin = rpc_link_begin(&l);
        assert_non_null(buf_extend(&l.out, 100 * KIB));
        assert_int_equal(rpc_link_commit(&l, begin), 0);
        assert_int_equal(rpc_link_flush(&l), 0);
        assert_int_equal(rpc_link_unsent(&l), 0);
        assert_true(l.out.cap <= 16 * KIB);
        rpc_link_done(&l);
}

/* As a link does it: reads what is wanted out of B, until a record ends there. */
static void feed_wanted(struct record_reader *r, const struct buf *b, size_t *at)
{
        do {
                size_t n = MIN(record_reader_wants(r, 1000), b->len - *at);
                feed(r, b->data + *at, n);
                *at += n;
        } while (*at < b->len && !record_reader_ends(r));
}

static void large_records_are_given_away(void **state)
{
        const size_t large = 100 * KIB;
        struct buf b = BUF_INIT(MIB);
        struct record_reader r;
        struct slice record;
        size_t at = 0, size = 0;
        mark(&b, (uint32_t)large | RECORD_LAST);
        memset(buf_extend(&b, large), 'a', large);
        fragment(&b, true, "small");
        record_reader_init(&r, MIB);

        feed_wanted(&r, &b, &at);
        assert_int_equal(at, RECORD_MARK_SIZE + large); /* not a byte of the next one */
        assert_int_equal(record_reader_next(&r, &record, NULL), 1);
        struct slice part = {record.data + 10, record.len - 10};
        uint8_t *memory = record_reader_detach(&r, part, &size);
        assert_non_null(memory);
        assert_true(part.data > memory && part.data + part.len <= memory + size);
        assert_int_equal(record_reader_next(&r, &record, NULL), 0);
        assert_int_equal(record_reader_wants(&r, 1000), RECORD_MARK_SIZE + large); /* the next may be like it */

        feed_wanted(&r, &b, &at);
        assert_int_equal(record_reader_next(&r, &record, NULL), 1);
        assert_int_equal(part.data[part.len - 1], 'a');
        assert_null(record_reader_detach(&r, record, &size)); /* not worth it */
        assert_int_equal(record_reader_wants(&r, 1000), 1000);
        free(memory);

        feed(&r, b.data, b.len);
        assert_int_equal(record_reader_next(&r, &record, NULL), 1);
        assert_null(record_reader_detach(&r, record, &size)); /* another lies behind it */
        record_reader_done(&r);
        buf_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_splitting_gives_the_same_records),
                cmocka_unit_test(missing_bytes_are_told),
                cmocka_unit_test(oversized_records_are_refused_at_the_mark),
                cmocka_unit_test(the_limit_counts_all_fragments),
                cmocka_unit_test(endless_fragments_are_refused),
                cmocka_unit_test(fragments_are_counted_per_record),
                cmocka_unit_test(memory_follows_bytes_not_announcements),
                cmocka_unit_test(memory_is_given_back_after_a_large_record),
                cmocka_unit_test(a_full_reader_still_has_room),
                cmocka_unit_test(a_quiet_link_keeps_little),
                cmocka_unit_test(large_records_are_given_away),
                cmocka_unit_test(marks_are_written),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
