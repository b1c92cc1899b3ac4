/* Every captured record of tests/data/wire: decoded it says what README.md says, in every field; encoded from the
 * structs it gives the same bytes; changed in any leaf it gives other bytes; cut anywhere it is refused without an
 * over-read.
 *
 * A reply does not say what it answers: it belongs to the call in the file before it, as xid and README show. */
#include "guard.h"
#include "msg_dump.h"
#include "msg_walk.h"

#include "proto/fop.h"
#include "proto/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct vector {
        const char *file;
        size_t size;
        const char *const *lines; /* of README.md, NULL at the end */
};
#include "vectors.h"

#define ARENA_MAX (4 * MIB)

/* ---- which message a procedure has ------------------------------------------------------------------------------- */

MSG_DECLARE(nothing, MSG_EMPTY)
MSG_DEFINE(nothing, MSG_EMPTY)

static const struct {
        uint32_t prog, vers, proc;
        const struct msg_desc *req, *rep;
} procedures[] = {
        {DUMP_PROGRAM, DUMP_VERSION, DUMP_DUMP, &dump_req_desc, &dump_rep_desc},
        {DUMP_PROGRAM, DUMP_VERSION, DUMP_PING, &nothing_desc, &ping_rep_desc},
        {HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_SETVOLUME, &setvolume_req_desc, &setvolume_rep_desc},
        {HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_GETSPEC, &getspec_req_desc, &getspec_rep_desc},
        {PORTMAP_PROGRAM, PORTMAP_VERSION, PORTMAP_PORTBYBRICK, &portbybrick_req_desc, &portbybrick_rep_desc},
        {CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_FETCHSPEC, &nothing_desc, NULL},
        {CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_CACHE_INVALIDATION, &cache_invalidation_cbk_desc, NULL},
        {CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_INODELK_CONTENTION, &inodelk_contention_cbk_desc, NULL},
};

static const struct msg_desc *desc_of(const struct rpc_call *call, uint32_t direction)
{
        if (call->prog == FOP_PROGRAM && call->vers == FOP_VERSION) {
                const struct fop_desc *fop = fop_by_number(call->proc);
                assert_non_null(fop);
                return direction == RPC_CALL ? fop->req : fop->rep;
        }
        for (size_t i = 0; i < ELEMENTSOF(procedures); i++) {
                if (procedures[i].prog == call->prog && procedures[i].vers == call->vers &&
                    procedures[i].proc == call->proc)
                        return direction == RPC_CALL ? procedures[i].req : procedures[i].rep;
        }
        fail_msg("no message for program %u version %u procedure %u", call->prog, call->vers, call->proc);
        return NULL;
}

/* ---- one record -------------------------------------------------------------------------------------------------- */

struct record {
        uint32_t direction;
        struct rpc_call call; /* of a reply: the call it answers */
        struct rpc_reply reply;
        const struct msg_desc *desc;
        _Alignas(max_align_t) uint8_t msg[MSG_SIZE_MAX];
};

/* What a receiver does. TO: the call a reply answers. *LEFT: bytes behind the message. */
static int record_decode(struct slice bytes, const struct rpc_call *to, struct arena *a, struct record *r, size_t *left)
{
        int direction = rpc_direction(bytes);
        if (direction < 0)
                return direction;
        enum rpc_status status;
        int error;
        r->direction = (uint32_t)direction;
        if (direction == RPC_CALL) {
                error = rpc_call_decode(bytes, &r->call, &status);
        } else {
                error = rpc_reply_decode(bytes, &r->reply);
                r->call = *to;
        }
        if (error < 0)
                return error;
        r->desc = desc_of(&r->call, r->direction);
        struct slice body = direction == RPC_CALL ? r->call.args : r->reply.results;
        struct xdr_reader reader = xdr_reader_of(body.data, body.len);
        error = msg_decode(r->desc, &reader, a, r->msg);
        *left = xdr_left(&reader);
        return error;
}

static void record_encode(const struct record *r, struct buf *b)
{
        if (r->direction == RPC_CALL)
                rpc_call_encode(b, &r->call);
        else
                rpc_reply_encode(b, r->reply.xid, r->reply.status);
        msg_encode(r->desc, r->msg, b);
}

/* ---- the files --------------------------------------------------------------------------------------------------- */

static uint8_t *vector_load(const struct vector *v)
{
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", WIRE_DATA, v->file);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        uint8_t *data = malloc(v->size);
        assert_non_null(data);
        assert_int_equal(fread(data, 1, v->size, f), v->size);
        assert_int_equal(fgetc(f), EOF);
        fclose(f);
        return data;
}

/* Decodes vector I and, for a reply, the call before it. Both byte blocks belong to the caller. */
static uint8_t *vector_decode(size_t i, struct arena *a, struct record *r)
{
        uint8_t *data = vector_load(&vectors[i]);
        struct slice bytes = {.data = data, .len = (uint32_t)vectors[i].size};
        struct record call;
        size_t left = 1;
        if (rpc_direction(bytes) == RPC_REPLY) {
                free(vector_decode(i - 1, a, &call));
                assert_int_equal(call.direction, RPC_CALL);
        }
        assert_int_equal(record_decode(bytes, &call.call, a, r, &left), 0);
        assert_int_equal(left, 0);
        if (r->direction == RPC_REPLY)
                assert_int_equal(r->reply.xid, r->call.xid);
        return data;
}

static void each_vector(void (*fn)(size_t i, uint8_t *data, struct record *r, struct arena *a))
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        for (size_t i = 0; i < ELEMENTSOF(vectors); i++) {
                struct record r;
                arena_reset(&a);
                _cleanup_free_ uint8_t *data = vector_decode(i, &a, &r);
                fn(i, data, &r, &a);
        }
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void all_records_are_there(void **state)
{
        assert_int_equal(ELEMENTSOF(vectors), 91);
}

static void check_values(size_t i, uint8_t *data, struct record *r, struct arena *a)
{
        _cleanup_buf_ struct buf got = BUF_INIT(MIB);
        _cleanup_buf_ struct buf wanted = BUF_INIT(MIB);
        if (r->direction == RPC_CALL)
                dump_call(&r->call, &got);
        else
                dump_reply(&r->reply, &r->call, &got);
        dump_message(r->desc, r->msg, &got);
        buf_printf(&got, "(%s)\n", vectors[i].file);
        for (const char *const *line = vectors[i].lines; *line; line++) {
                buf_append_str(&wanted, *line);
                buf_append_str(&wanted, "\n");
        }
        buf_printf(&wanted, "(%s)\n", vectors[i].file);
        assert_string_equal(buf_cstr(&got), buf_cstr(&wanted));
}

static void decoded_values_are_those_of_the_readme(void **state)
{
        each_vector(check_values);
}

static void check_same_bytes(size_t i, uint8_t *data, struct record *r, struct arena *a)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        record_encode(r, &b);
        assert_int_equal(b.error, 0);
        assert_int_equal(b.len, vectors[i].size);
        assert_memory_equal(b.data, data, b.len);
}

static void encoding_gives_the_same_bytes(void **state)
{
        each_vector(check_same_bytes);
}

static bool encodes_to(const struct record *r, const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        record_encode(r, &b);
        return b.error == 0 && b.len == size && memcmp(b.data, data, size) == 0;
}

static void check_leaves(size_t i, uint8_t *data, struct record *r, struct arena *a)
{
        struct slice bytes = {.data = data, .len = (uint32_t)vectors[i].size};
        struct rpc_call call = r->call;
        unsigned changed = 0;
        for (;; changed++) {
                size_t left;
                arena_reset(a);
                assert_int_equal(record_decode(bytes, &call, a, r, &left), 0);
                const char *field = walk_change(r->desc, r->msg, changed, a);
                if (!field)
                        break;
                if (encodes_to(r, data, vectors[i].size))
                        fail_msg("%s: leaf %u, in field '%s', does not reach the wire", vectors[i].file, changed,
                                 field);
        }
        if (r->desc->field_count > 0)
                assert_true(changed >= r->desc->field_count);
}

static void every_leaf_reaches_the_wire(void **state)
{
        each_vector(check_leaves);
}

static void change_call(struct rpc_call *c, unsigned k)
{
        uint32_t *const scalars[] = {&c->xid, &c->prog, &c->vers, &c->proc};
        if (k < ELEMENTSOF(scalars))
                *scalars[k] ^= 1;
}

static void change_cred(struct rpc_cred *c, unsigned k)
{
        uint32_t *const scalars[] = {(uint32_t *)&c->pid, &c->uid, &c->gid};
        uint32_t *const v3[] = {&c->flags, &c->time.nsec};
        if (k < 3)
                *scalars[k] ^= 0x80000000u;
        else if (k == 3)
                c->groups[c->group_count++] = 7;
        else if (k == 4)
                c->owner[0] ^= 1;
        else if (k == 5)
                c->owner_len--;
        else if (k < 8)
                *v3[k - 6] ^= 1;
        else
                c->time.sec ^= 1;
}

static void check_header_leaves(size_t i, uint8_t *data, struct record *r, struct arena *a)
{
        struct record changed;
        for (unsigned k = 0; r->direction == RPC_CALL && k < 4; k++) {
                changed = *r;
                change_call(&changed.call, k);
                assert_false(encodes_to(&changed, data, vectors[i].size));
        }
        unsigned leaves = r->call.cred.flavour == RPC_AUTH_GLUSTERFS_V3 ? 9 : 6;
        for (unsigned k = 0; r->direction == RPC_CALL && r->call.cred.flavour != RPC_AUTH_NULL && k < leaves; k++) {
                changed = *r;
                change_cred(&changed.call.cred, k);
                assert_false(encodes_to(&changed, data, vectors[i].size));
        }
        for (unsigned k = 0; r->direction == RPC_REPLY && k < 2; k++) {
                changed = *r;
                changed.reply.xid += k == 0;
                changed.reply.status = k == 0 ? RPC_SUCCESS : RPC_SYSTEM_ERR;
                assert_false(encodes_to(&changed, data, vectors[i].size));
        }
}

static void every_header_field_reaches_the_wire(void **state)
{
        each_vector(check_header_leaves);
}

static void check_cut(const uint8_t *data, size_t n, const struct rpc_call *call, struct arena *a, const char *file)
{
        struct record cut;
        size_t left;
        arena_reset(a);
        struct slice bytes = {.data = data, .len = (uint32_t)n};
        if (record_decode(bytes, call, a, &cut, &left) >= 0)
                fail_msg("%s cut to %zu bytes is accepted", file, n);
}

static void check_truncations(size_t i, uint8_t *data, struct record *r, struct arena *a)
{
        struct guard guard;
        assert_int_equal(guard_init(&guard, vectors[i].size), 0);
        struct rpc_call call = r->call;
        for (size_t n = 0; n < vectors[i].size; n++) {
                _cleanup_free_ uint8_t *exact = malloc(n ? n : 1);
                assert_non_null(exact);
                memcpy(exact, data, n);
                check_cut(exact, n, &call, a, vectors[i].file);
                check_cut(guard_place(&guard, data, n), n, &call, a, vectors[i].file);
        }
        /* The whole one, too, is decoded without a look behind its end. */
        size_t left;
        struct slice bytes = {.data = guard_place(&guard, data, vectors[i].size), .len = (uint32_t)vectors[i].size};
        assert_int_equal(record_decode(bytes, &call, a, r, &left), 0);
        guard_done(&guard);
}

static void cut_records_are_refused(void **state)
{
        each_vector(check_truncations);
}

static void check_trailing(size_t i, uint8_t *data, struct record *r, struct arena *a)
{
        uint8_t longer[4096];
        assert_true(vectors[i].size + 3 <= sizeof longer);
        memcpy(longer, data, vectors[i].size);
        memset(longer + vectors[i].size, 0xee, 3);
        bool payload = r->desc->field_count > 0 && r->desc->fields[r->desc->field_count - 1].kind == MSG_payload;
        struct rpc_call call = r->call;
        size_t left;
        int error = record_decode((struct slice){longer, (uint32_t)vectors[i].size + 3}, &call, a, r, &left);
        assert_int_equal(error, payload ? -EBADMSG : 0);
        if (!payload)
                assert_int_equal(left, 3);
}

static void trailing_bytes_are_ignored_except_as_payload(void **state)
{
        each_vector(check_trailing);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(all_records_are_there),
                cmocka_unit_test(decoded_values_are_those_of_the_readme),
                cmocka_unit_test(encoding_gives_the_same_bytes),
                cmocka_unit_test(every_leaf_reaches_the_wire),
                cmocka_unit_test(every_header_field_reaches_the_wire),
                cmocka_unit_test(cut_records_are_refused),
                cmocka_unit_test(trailing_bytes_are_ignored_except_as_payload),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
