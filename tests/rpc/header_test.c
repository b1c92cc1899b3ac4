/* RPC headers and credentials: flavours, limits of the body, what is answered and what ends the connection. */
#include "guard.h"

#include "rpc/header.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct slice slice_of(const struct buf *b)
{
        return (struct slice){.data = b->data, .len = (uint32_t)b->len};
}

static void encode(struct buf *b, const struct rpc_call *call)
{
        buf_reset(b, SIZE_MAX);
        rpc_call_encode(b, call);
}

/* A call header with a credential body of the given bytes. */
static void raw_call(struct buf *b, uint32_t flavour, const void *body, uint32_t len)
{
        buf_reset(b, SIZE_MAX);
        static const uint32_t words[] = {7, RPC_CALL, RPC_VERSION, 1, 2, 3};
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                xdr_write_u32(b, words[i]);
        xdr_write_u32(b, flavour);
        xdr_write_opaque(b, body, len);
        xdr_write_u32(b, 0);
        xdr_write_u32(b, 0);
        xdr_write_fixed(b, "args", 4);
}

static void check_flavour(uint32_t flavour)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct rpc_call call = {.xid = 5, .prog = 6, .vers = 7, .proc = 8}, got;
        enum rpc_status status = RPC_SYSTEM_ERR;
        call.cred = (struct rpc_cred){.flavour = flavour,
                                      .pid = -13,
                                      .uid = 1,
                                      .gid = 2,
                                      .group_count = 2,
                                      .groups = {3, 0xffffffff},
                                      .owner_len = 5,
                                      .owner = {9, 8, 7, 6, 5}};
        bool v3 = flavour == RPC_AUTH_GLUSTERFS_V3;
        if (v3) {
                call.cred.flags = TIMES_CTIME | TIMES_PARENT_MTIME;
                call.cred.time = (struct iatt_time){.sec = 1ll << 40, .nsec = 999999999};
        }
        encode(&b, &call);
        assert_int_equal(b.error, 0);
        assert_int_equal(rpc_direction(slice_of(&b)), RPC_CALL);
        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), 0);
        assert_int_equal(status, RPC_SUCCESS);
        assert_true(got.xid == 5 && got.prog == 6 && got.vers == 7 && got.proc == 8);
        assert_true(got.cred.flavour == flavour && got.cred.pid == -13 && got.cred.uid == 1 && got.cred.gid == 2);
        assert_int_equal(got.cred.group_count, 2);
        assert_true(got.cred.groups[0] == 3 && got.cred.groups[1] == 0xffffffff);
        assert_int_equal(got.cred.owner_len, 5);
        assert_memory_equal(got.cred.owner, call.cred.owner, 5);
        assert_true(got.cred.flags == call.cred.flags && got.cred.time.sec == call.cred.time.sec);
        assert_int_equal(got.cred.time.nsec, call.cred.time.nsec);
        assert_int_equal(got.args.len, 0);
}

static void both_credentials_round_trip(void **state)
{
        check_flavour(RPC_AUTH_GLUSTERFS_V2);
        check_flavour(RPC_AUTH_GLUSTERFS_V3);
}

static void seconds_come_after_nanoseconds(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct rpc_call call = {.cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .time = {.sec = 2, .nsec = 1}}};
        encode(&b, &call);
        static const uint8_t wanted[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2};
        assert_memory_equal(b.data + 24 + 8 + 16, wanted, sizeof wanted);
}

static void null_and_unknown_flavours_are_null(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        static const uint32_t flavours[] = {RPC_AUTH_NULL, 2, 5, 6, 390038, 390041, 0xffffffff};
        for (size_t i = 0; i < ELEMENTSOF(flavours); i++) {
                struct rpc_call got;
                enum rpc_status status;
                raw_call(&b, flavours[i], "some body of it", 15);
                assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), 0);
                assert_int_equal(got.cred.flavour, RPC_AUTH_NULL);
                assert_true(got.cred.uid == 0 && got.cred.gid == 0 && got.cred.group_count == 0);
                assert_int_equal(got.cred.owner_len, 0);
                assert_memory_equal(got.args.data, "args", 4);
        }
}

static void auth_unix_gives_ids_and_groups(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096), body = BUF_INIT(4096);
        xdr_write_u32(&body, 1);
        xdr_write_opaque(&body, "host", 4);
        xdr_write_u32(&body, 10);
        xdr_write_u32(&body, 11);
        xdr_write_u32(&body, 1);
        xdr_write_u32(&body, 12);
        raw_call(&b, RPC_AUTH_UNIX, body.data, (uint32_t)body.len);
        struct rpc_call got;
        enum rpc_status status;
        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), 0);
        assert_true(got.cred.uid == 10 && got.cred.gid == 11 && got.cred.group_count == 1 && got.cred.groups[0] == 12);
}

static void senders_cut_the_group_list(void **state)
{
        static const struct {
                uint32_t flavour, owner, groups;
        } cases[] = {
                {RPC_AUTH_GLUSTERFS_V3, 4, 87}, {RPC_AUTH_GLUSTERFS_V3, 8, 83},  {RPC_AUTH_GLUSTERFS_V3, 0, 91},
                {RPC_AUTH_GLUSTERFS_V2, 4, 91}, {RPC_AUTH_GLUSTERFS_V2, 8, 87},  {RPC_AUTH_GLUSTERFS_V2, 0, 95},
                {RPC_AUTH_GLUSTERFS_V3, 91, 0}, {RPC_AUTH_GLUSTERFS_V3, 364, 0}, {RPC_AUTH_GLUSTERFS_V2, 380, 0},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT(4096);
                struct rpc_call call = {.cred = {.flavour = cases[i].flavour, .group_count = RPC_GROUPS_LIMIT}}, got;
                enum rpc_status status;
                call.cred.owner_len = cases[i].owner;
                encode(&b, &call);
                assert_int_equal(b.error, 0);
                assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), 0);
                assert_int_equal(got.cred.group_count, cases[i].groups);
                assert_int_equal(got.cred.owner_len, cases[i].owner);
        }
}

static void an_owner_that_does_not_fit_is_not_sent(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct rpc_call call = {.cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .owner_len = 365}};
        encode(&b, &call);
        assert_int_equal(b.error, -EMSGSIZE);
}

static void receivers_take_what_fits_400_bytes(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096), body = BUF_INIT(4096);
        struct rpc_call got;
        enum rpc_status status;
        for (int i = 0; i < 3; i++)
                xdr_write_u32(&body, 1);
        xdr_write_u32(&body, 95);
        for (uint32_t i = 0; i < 95; i++)
                xdr_write_u32(&body, i);
        xdr_write_u32(&body, 0);
        assert_int_equal(body.len, 400);
        raw_call(&b, RPC_AUTH_GLUSTERFS_V2, body.data, 400);
        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), 0);
        assert_int_equal(got.cred.group_count, 95);
        assert_int_equal(got.cred.groups[94], 94);

        xdr_write_u32(&body, 0);
        raw_call(&b, RPC_AUTH_GLUSTERFS_V2, body.data, 401);
        got.xid = 0;
        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), -EBADMSG);
        assert_int_equal(status, RPC_GARBAGE_ARGS);
        assert_int_equal(got.xid, 7);
}

static void broken_bodies_are_garbage(void **state)
{
        static const uint32_t counts[] = {1, 98, 99, 100, 0x7fffffff, 0x80000000, 0xffffffff};
        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                for (int owner = 0; owner < 2; owner++) {
                        _cleanup_buf_ struct buf b = BUF_INIT(4096), body = BUF_INIT(4096);
                        struct rpc_call got;
                        enum rpc_status status;
                        for (int k = 0; k < 3; k++)
                                xdr_write_u32(&body, 1);
                        xdr_write_u32(&body, owner ? 0 : counts[i]);
                        xdr_write_u32(&body, owner ? counts[i] : 0);
                        raw_call(&b, RPC_AUTH_GLUSTERFS_V2, body.data, (uint32_t)body.len);
                        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), -EBADMSG);
                        assert_int_equal(status, RPC_GARBAGE_ARGS);
                        assert_int_equal(got.xid, 7);
                }
        }
}

static void another_rpc_version_is_garbage(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct rpc_call got;
        enum rpc_status status;
        raw_call(&b, RPC_AUTH_NULL, NULL, 0);
        xdr_patch_u32(&b, 8, 3);
        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), -EBADMSG);
        assert_int_equal(status, RPC_GARBAGE_ARGS);
        assert_int_equal(got.xid, 7);
}

static void cut_headers_end_the_connection(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct guard guard;
        struct rpc_call call = {.cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .group_count = 3, .owner_len = 8}}, got;
        enum rpc_status status;
        encode(&b, &call);
        assert_int_equal(guard_init(&guard, b.len), 0);
        for (size_t n = 0; n < b.len; n++) {
                struct slice cut = {guard_place(&guard, b.data, n), (uint32_t)n};
                status = RPC_SYSTEM_ERR;
                assert_int_equal(rpc_call_decode(cut, &got, &status), -EBADMSG);
                assert_int_equal(status, RPC_SUCCESS);
                assert_int_equal(rpc_direction(cut), n < 8 ? -EBADMSG : (int)RPC_CALL);
        }
        guard_done(&guard);
}

static void directions(void **state)
{
        static const uint8_t two[] = {0, 0, 0, 1, 0, 0, 0, 2};
        static const uint8_t reply[] = {0, 0, 0, 1, 0, 0, 0, 1};
        struct rpc_call got;
        struct rpc_reply got_reply;
        enum rpc_status status;
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        assert_int_equal(rpc_direction((struct slice){two, 8}), -EBADMSG);
        assert_int_equal(rpc_direction((struct slice){reply, 8}), RPC_REPLY);
        raw_call(&b, RPC_AUTH_NULL, NULL, 0);
        assert_int_equal(rpc_reply_decode(slice_of(&b), &got_reply), -EBADMSG);
        xdr_patch_u32(&b, 4, RPC_REPLY);
        assert_int_equal(rpc_call_decode(slice_of(&b), &got, &status), -EBADMSG);
        assert_int_equal(status, RPC_SUCCESS);
}

static void replies_round_trip(void **state)
{
        static const enum rpc_status all[] = {RPC_SUCCESS,      RPC_PROG_UNAVAIL, RPC_PROG_MISMATCH, RPC_PROC_UNAVAIL,
                                              RPC_GARBAGE_ARGS, RPC_SYSTEM_ERR,   RPC_DENIED_AUTH};
        static const size_t sizes[] = {24, 24, 32, 24, 24, 24, 20};
        for (size_t i = 0; i < ELEMENTSOF(all); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT(4096);
                struct rpc_reply got;
                rpc_reply_encode(&b, 77, all[i]);
                assert_int_equal(b.len, sizes[i]);
                size_t whole = MIN(b.len, (size_t)24);
                xdr_write_fixed(&b, "more", 4);
                assert_int_equal(rpc_reply_decode(slice_of(&b), &got), 0);
                assert_int_equal(got.xid, 77);
                assert_int_equal(got.status, all[i]);
                assert_int_equal(got.results.len, all[i] == RPC_SUCCESS ? 4 : 0);
                for (uint32_t n = 0; n + 4 < whole; n++)
                        assert_int_equal(rpc_reply_decode((struct slice){b.data, n}, &got), -EBADMSG);
        }
}

static void impossible_replies(void **state)
{
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct rpc_reply got;
        rpc_reply_encode(&b, 1, RPC_SUCCESS);
        xdr_patch_u32(&b, 20, 6);
        assert_int_equal(rpc_reply_decode(slice_of(&b), &got), -EBADMSG);
        xdr_patch_u32(&b, 20, RPC_DENIED_AUTH);
        assert_int_equal(rpc_reply_decode(slice_of(&b), &got), -EBADMSG);
        xdr_patch_u32(&b, 20, 0);
        xdr_patch_u32(&b, 8, 2);
        assert_int_equal(rpc_reply_decode(slice_of(&b), &got), -EBADMSG);
        xdr_patch_u32(&b, 8, 0);
        xdr_patch_u32(&b, 16, 8); /* a verifier that is not there */
        assert_int_equal(rpc_reply_decode(slice_of(&b), &got), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(both_credentials_round_trip),
                cmocka_unit_test(seconds_come_after_nanoseconds),
                cmocka_unit_test(null_and_unknown_flavours_are_null),
                cmocka_unit_test(auth_unix_gives_ids_and_groups),
                cmocka_unit_test(senders_cut_the_group_list),
                cmocka_unit_test(an_owner_that_does_not_fit_is_not_sent),
                cmocka_unit_test(receivers_take_what_fits_400_bytes),
                cmocka_unit_test(broken_bodies_are_garbage),
                cmocka_unit_test(another_rpc_version_is_garbage),
                cmocka_unit_test(cut_headers_end_the_connection),
                cmocka_unit_test(directions),
                cmocka_unit_test(replies_round_trip),
                cmocka_unit_test(impossible_replies),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
