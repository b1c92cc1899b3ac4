/* The interpreter: every message there is with random contents, refusals against errors, limits, the log form. */
#include "guard.h"
#include "msg_walk.h"

#include "proto/fop.h"
#include "proto/handshake.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ROUNDS 8

struct any_msg {
        _Alignas(max_align_t) uint8_t b[MSG_SIZE_MAX];
};

static int decode(const struct msg_desc *d, const void *data, size_t len, struct arena *a, void *ret)
{
        struct xdr_reader r = xdr_reader_of(data, len);
        return msg_decode(d, &r, a, ret);
}

static void encode(const struct msg_desc *d, const void *msg, struct buf *b)
{
        buf_reset(b, SIZE_MAX);
        msg_encode(d, msg, b);
}

/* ---- every message ----------------------------------------------------------------------------------------------- */

static void check_round_trip(const struct msg_desc *d, const struct any_msg *msg, struct arena *a)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MIB), again = BUF_INIT(MIB);
        struct any_msg got;
        encode(d, msg, &b);
        assert_int_equal(b.error, 0);
        assert_true(b.len >= d->fixed);
        assert_int_equal(decode(d, b.data, b.len, a, &got), 0);
        encode(d, &got, &again);
        assert_int_equal(again.len, b.len);
        if (b.len > 0)
                assert_memory_equal(again.data, b.data, b.len);
}

static void check_cuts(const struct msg_desc *d, const struct any_msg *msg, struct arena *a)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct guard guard;
        struct any_msg got;
        encode(d, msg, &b);
        assert_int_equal(guard_init(&guard, b.len + 1), 0);
        for (size_t n = 0; n < b.len; n++)
                assert_true(decode(d, guard_place(&guard, b.data, n), n, a, &got) < 0);
        assert_int_equal(decode(d, guard_place(&guard, b.data, b.len), b.len, a, &got), 0);
        guard_done(&guard);
}

static void check_leaves(const struct msg_desc *d, uint64_t seed, struct arena *a)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MIB), changed = BUF_INIT(MIB);
        struct any_msg msg;
        for (unsigned k = 0;; k++) {
                uint64_t state = seed;
                arena_reset(a);
                walk_fill(d, &msg, &state, a);
                encode(d, &msg, &b);
                const char *field = walk_change(d, &msg, k, a);
                if (!field)
                        return;
                encode(d, &msg, &changed);
                if (changed.error == 0 && changed.len == b.len && memcmp(changed.data, b.data, b.len) == 0)
                        fail_msg("%s: leaf %u, in field '%s', does not reach the wire", d->name, k, field);
        }
}

static void every_message_round_trips_refuses_cuts_and_encodes_each_leaf(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(4 * MIB);
        const struct msg_desc *d;
        for (unsigned n = 0; (d = walk_desc(n)); n++) {
                for (uint64_t round = 0; round < ROUNDS; round++) {
                        uint64_t seed = round * 1000 + n, s = seed;
                        struct any_msg msg;
                        arena_reset(&a);
                        walk_fill(d, &msg, &s, &a);
                        check_round_trip(d, &msg, &a);
                        check_cuts(d, &msg, &a);
                        if (round < 2)
                                check_leaves(d, seed, &a);
                }
        }
}

static void descriptors_are_consistent(void **state)
{
        const struct msg_desc *d;
        for (unsigned n = 0; (d = walk_desc(n)); n++) {
                uint32_t end = 0;
                assert_true(d->size > 0 && d->size <= MSG_SIZE_MAX);
                for (uint32_t i = 0; i < d->field_count; i++) {
                        assert_true(d->fields[i].offset >= end);
                        assert_true(d->fields[i].kind < MSG_KIND_MAX);
                        assert_true(d->fields[i].kind != MSG_payload || i == d->field_count - 1);
                        end = d->fields[i].offset + 1;
                }
                assert_true(end <= d->size);
                assert_int_equal(d->fields[d->field_count].kind, MSG_KIND_MAX);
        }
        assert_int_equal(offsetof(struct write_fop_req, xdata), write_fop_req_desc.fields[5].offset);
        assert_string_equal(write_fop_req_desc.fields[5].name, "xdata");
        assert_int_equal(write_fop_req_desc.fixed, 52);
        assert_int_equal(read_fop_rep_desc.fixed, 172);
}

MSG_DECLARE(no_fields, MSG_EMPTY)
MSG_DEFINE(no_fields, MSG_EMPTY)

static void a_message_may_have_no_fields(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64);
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        struct no_fields msg;
        assert_int_equal(no_fields_desc.field_count, 0);
        msg_encode(&no_fields_desc, &msg, &b);
        assert_int_equal(b.len, 0);
        assert_int_equal(decode(&no_fields_desc, NULL, 0, &a, &msg), 0);
        assert_int_equal(decode(&no_fields_desc, "xx", 2, &a, &msg), 0);
}

static void procedures_by_number(void **state)
{
        assert_null(fop_by_number(0));
        assert_null(fop_by_number(49));
        assert_null(fop_by_number(57));
        assert_null(fop_by_number(UINT32_MAX));
        assert_string_equal(fop_by_number(FOP_LOOKUP)->name, "LOOKUP");
        assert_ptr_equal(fop_by_number(56)->req, &copy_file_range_fop_req_desc);
        unsigned n = 0;
        for (uint32_t i = 0; i < 100; i++)
                n += fop_by_number(i) != NULL;
        assert_int_equal(n, 55);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

/* A LOOKUP call for NAME with CUT bytes missing at its end. */
static int lookup(const char *name, size_t len, size_t cut, struct lookup_fop_req *ret)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct lookup_fop_req req = {.bname = {.s = name, .len = (uint32_t)len}, .xdata = DICT_NULL};
        msg_encode(&lookup_fop_req_desc, &req, &b);
        assert_int_equal(b.error, 0);
        return decode(&lookup_fop_req_desc, b.data, b.len - cut, &a, ret);
}

static void names_that_no_directory_may_hold(void **state)
{
        char name[300];
        memset(name, 'n', sizeof name);
        static const struct {
                const char *name;
                size_t len;
                int error;
        } cases[] = {
                {"a/b", 3, -EPERM},   {"/", 1, -EPERM},   {"..", 2, -EPERM},   {".", 1, -EPERM},
                {"a\0b", 3, -EINVAL}, {"\0", 1, -EINVAL}, {"a\0", 2, -EINVAL},
        };
        struct lookup_fop_req req;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                memset(&req, 0x55, sizeof req);
                struct lookup_fop_req before = req;
                assert_int_equal(lookup(cases[i].name, cases[i].len, 0, &req), cases[i].error);
                assert_memory_equal(&req, &before, sizeof req);
                /* A broken message is a broken message, whatever its name. */
                assert_int_equal(lookup(cases[i].name, cases[i].len, 1, &req), -EBADMSG);
        }
        assert_int_equal(lookup(name, 256, 0, &req), -ENAMETOOLONG);
        assert_int_equal(lookup(name, 256, 4, &req), -EBADMSG);
        assert_int_equal(lookup(name, 255, 0, &req), 0);
        assert_int_equal(lookup("...", 3, 0, &req), 0);
        assert_int_equal(lookup("", 0, 0, &req), 0);
        assert_int_equal(lookup("\xff\n ", 3, 0, &req), 0);
}

static void the_first_refusal_is_told(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct rename_fop_req req = {.oldbname = STR("a/b"), .newbname = {.s = "a\0", .len = 2}, .xdata = DICT_NULL};
        msg_encode(&rename_fop_req_desc, &req, &b);
        assert_int_equal(decode(&rename_fop_req_desc, b.data, b.len, &a, &req), -EPERM);
}

static void dirents_may_be_dots_but_not_paths(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct dirent_entry e = {.name = STR("..")};
        struct readdirp_fop_rep rep = {.op_ret = 1, .xdata = DICT_NULL, .reply = {.v = &e, .n = 1}}, got;
        encode(&readdirp_fop_rep_desc, &rep, &b);
        assert_int_equal(decode(&readdirp_fop_rep_desc, b.data, b.len, &a, &got), 0);
        assert_int_equal(got.reply.n, 1);
        assert_string_equal(got.reply.v[0].name.s, "..");
        assert_null(got.reply.v[0].dict);
        e.name = STR("../x");
        encode(&readdirp_fop_rep_desc, &rep, &b);
        assert_int_equal(decode(&readdirp_fop_rep_desc, b.data, b.len, &a, &got), -EPERM);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static void text_limits(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        char text[PATH_LIMIT + 1];
        memset(text, 't', sizeof text);
        for (uint32_t n = PATH_LIMIT; n <= PATH_LIMIT + 1; n++) {
                struct symlink_fop_req req = {.bname = STR("s"), .linkname = {.s = text, .len = n}, .xdata = DICT_NULL};
                encode(&symlink_fop_req_desc, &req, &b);
                assert_int_equal(decode(&symlink_fop_req_desc, b.data, b.len, &a, &req),
                                 n > PATH_LIMIT ? -EMSGSIZE : 0);
        }
}

static void list_limits(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(8 * MIB);
        struct program_entry programs[65] = {0};
        for (size_t i = 0; i < ELEMENTSOF(programs); i++)
                programs[i].name = STR("p");
        for (uint32_t n = 64; n <= 65; n++) {
                struct dump_rep rep = {.programs = {.v = programs, .n = n}};
                encode(&dump_rep_desc, &rep, &b);
                assert_int_equal(decode(&dump_rep_desc, b.data, b.len, &a, &rep), n > 64 ? -EMSGSIZE : 0);
        }

        _cleanup_free_ struct dirent_entry *entries = calloc(LIST_LIMIT + 1, sizeof *entries);
        assert_non_null(entries);
        for (uint32_t i = 0; i <= LIST_LIMIT; i++)
                entries[i].name = STR("n");
        for (uint32_t n = LIST_LIMIT; n <= LIST_LIMIT + 1; n++) {
                struct readdir_fop_rep rep = {.xdata = DICT_NULL, .reply = {.v = entries, .n = n}};
                encode(&readdir_fop_rep_desc, &rep, &b);
                assert_int_equal(b.error, 0);
                arena_reset(&a);
                int r = decode(&readdir_fop_rep_desc, b.data, b.len, &a, &rep);
                assert_int_equal(r, n > LIST_LIMIT ? -EMSGSIZE : 0);
        }
}

static void a_list_marker_is_zero_or_one(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct dump_rep rep;
        xdr_write_u64(&b, 0);
        xdr_write_u64(&b, 0);
        xdr_write_u32(&b, 2);
        xdr_write_u32(&b, 0);
        xdr_write_u64(&b, 1);
        xdr_write_u64(&b, 1);
        xdr_write_u32(&b, 0);
        assert_int_equal(decode(&dump_rep_desc, b.data, b.len, &a, &rep), -EBADMSG);
        xdr_patch_u32(&b, 16, 1);
        assert_int_equal(decode(&dump_rep_desc, b.data, b.len, &a, &rep), 0);
        assert_int_equal(rep.programs.n, 1);
}

static void arenas_bound_a_message(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(2000);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct dirent_entry e[20] = {0};
        for (size_t i = 0; i < ELEMENTSOF(e); i++)
                e[i].name = STR("entry");
        struct readdir_fop_rep rep = {.xdata = DICT_NULL, .reply = {.v = e, .n = ELEMENTSOF(e)}};
        encode(&readdir_fop_rep_desc, &rep, &b);
        assert_int_equal(decode(&readdir_fop_rep_desc, b.data, b.len, &a, &rep), -ENOMEM);
        assert_true(a.used <= 2000);
}

/* Overwrites each aligned word of each message with each nasty number: nothing may crash, read beyond or allocate more
 * than the arena. */
static void nasty_numbers_everywhere(void **state)
{
        static const uint32_t nasty[] = {0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0xfffffffc,
                                         0x7ffffffc, 0x40000000, 4097,       65537,      0x10000000, 0xffff};
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        const struct msg_desc *d;
        for (unsigned n = 0; (d = walk_desc(n)); n++) {
                uint64_t seed = n;
                struct any_msg msg, got;
                struct guard guard;
                arena_reset(&a);
                walk_fill(d, &msg, &seed, &a);
                encode(d, &msg, &b);
                assert_int_equal(guard_init(&guard, b.len + 1), 0);
                for (size_t at = 0; at + 4 <= b.len; at += 4) {
                        for (size_t i = 0; i < ELEMENTSOF(nasty); i++) {
                                uint8_t saved[4];
                                memcpy(saved, b.data + at, 4);
                                xdr_patch_u32(&b, at, nasty[i]);
                                arena_reset(&a);
                                (void)decode(d, guard_place(&guard, b.data, b.len), b.len, &a, &got);
                                memcpy(b.data + at, saved, 4);
                        }
                }
                guard_done(&guard);
        }
}

static void signs_survive(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct read_fop_req req = {.fd = FD_ANONYMOUS, .offset = UINT64_MAX, .size = UINT32_MAX, .xdata = DICT_NULL},
                            got;
        encode(&read_fop_req_desc, &req, &b);
        assert_int_equal(decode(&read_fop_req_desc, b.data, b.len, &a, &got), 0);
        assert_int_equal(got.fd, -2);
        assert_true(got.offset == UINT64_MAX && got.size == UINT32_MAX);
        struct setattr_fop_req set = {.valid = INT32_MIN, .stbuf.atime.sec = INT64_MIN, .xdata = DICT_NULL}, got_set;
        encode(&setattr_fop_req_desc, &set, &b);
        assert_int_equal(decode(&setattr_fop_req_desc, b.data, b.len, &a, &got_set), 0);
        assert_int_equal(got_set.valid, INT32_MIN);
        assert_true(got_set.stbuf.atime.sec == INT64_MIN);
}

/* ---- payloads ---------------------------------------------------------------------------------------------------- */

static void payload_and_size_agree(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct write_fop_req req = {.size = 5, .xdata = DICT_NULL, .data = {(const uint8_t *)"hello", 5}}, got;
        encode(&write_fop_req_desc, &req, &b);
        assert_int_equal(b.len, 57);
        assert_int_equal(decode(&write_fop_req_desc, b.data, b.len, &a, &got), 0);
        assert_int_equal(got.data.len, 5);
        assert_ptr_equal(got.data.data, b.data + 52);
        static const uint32_t sizes[] = {4, 6, 0, 0x7fffffff, 0x80000005, 0xffffffff};
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                xdr_patch_u32(&b, 32, sizes[i]);
                assert_int_equal(decode(&write_fop_req_desc, b.data, b.len, &a, &got), -EBADMSG);
        }
        req.size = 4;
        encode(&write_fop_req_desc, &req, &b);
        assert_int_equal(b.error, -EINVAL);
        /* Bytes that travel in a buffer of their own. */
        req = (struct write_fop_req){.size = 4096, .xdata = DICT_NULL};
        encode(&write_fop_req_desc, &req, &b);
        assert_int_equal(b.error, 0);
        assert_int_equal(b.len, 52);
}

static void the_payload_starts_where_xdr_size_says(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct read_fop_rep rep = {.op_ret = 5, .size = 5, .data = {(const uint8_t *)"hello", 5}}, got;
        assert_int_equal(dict_add_uint(&rep.xdata, &a, "k", 7), 0);
        encode(&read_fop_rep_desc, &rep, &b);
        assert_int_equal(decode(&read_fop_rep_desc, b.data, b.len, &a, &got), 0);
        static const uint32_t sizes[] = {0, 16, 21, 24, 0xffffffff};
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                xdr_patch_u32(&b, 160, sizes[i]);
                assert_int_equal(decode(&read_fop_rep_desc, b.data, b.len, &a, &got), -EBADMSG);
        }
}

/* ---- log form ---------------------------------------------------------------------------------------------------- */

static void log_form(void **state)
{
        _cleanup_buf_ struct buf out = BUF_INIT(512);
        struct lookup_fop_req req = {.pargfid = GFID_ROOT, .bname = STR("it's\n"), .xdata = DICT_NULL};
        msg_format(&lookup_fop_req_desc, &req, &out);
        assert_string_equal(
                buf_cstr(&out),
                "lookup_fop_req{gfid=00000000-0000-0000-0000-000000000000, "
                "pargfid=00000000-0000-0000-0000-000000000001, flags=0, bname='it\\x27s\\x0a', xdata=NULL}");
        struct write_fop_req write = {.fd = -2, .size = 3, .xdata = DICT_NULL, .data = {(const uint8_t *)"abc", 3}};
        buf_reset(&out, 512);
        msg_format(&write_fop_req_desc, &write, &out);
        assert_non_null(strstr(buf_cstr(&out), "fd=-2, "));
        assert_non_null(strstr(buf_cstr(&out), "data=3 bytes}"));
}

static void log_form_fits_any_ceiling(void **state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(4 * MIB);
        const struct msg_desc *d;
        for (unsigned n = 0; (d = walk_desc(n)); n++) {
                uint64_t seed = n;
                struct any_msg msg;
                arena_reset(&a);
                walk_fill(d, &msg, &seed, &a);
                for (size_t max = 1; max < 4096; max = max * 3 + 1) {
                        _cleanup_buf_ struct buf out = BUF_INIT(max);
                        msg_format(d, &msg, &out);
                        assert_int_equal(out.error, 0);
                        const char *text = buf_cstr(&out);
                        assert_non_null(text);
                        assert_true(strlen(text) < max);
                        assert_null(strchr(text, '\n'));
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_message_round_trips_refuses_cuts_and_encodes_each_leaf),
                cmocka_unit_test(descriptors_are_consistent),
                cmocka_unit_test(a_message_may_have_no_fields),
                cmocka_unit_test(procedures_by_number),
                cmocka_unit_test(names_that_no_directory_may_hold),
                cmocka_unit_test(the_first_refusal_is_told),
                cmocka_unit_test(dirents_may_be_dots_but_not_paths),
                cmocka_unit_test(text_limits),
                cmocka_unit_test(list_limits),
                cmocka_unit_test(a_list_marker_is_zero_or_one),
                cmocka_unit_test(arenas_bound_a_message),
                cmocka_unit_test(nasty_numbers_everywhere),
                cmocka_unit_test(signs_survive),
                cmocka_unit_test(payload_and_size_agree),
                cmocka_unit_test(the_payload_starts_where_xdr_size_says),
                cmocka_unit_test(log_form),
                cmocka_unit_test(log_form_fits_any_ceiling),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
