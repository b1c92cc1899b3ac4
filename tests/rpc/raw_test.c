/* Connections whose other end speaks bytes, not RPC: odd and broken streams, peers that do not read, too many of them.
 */
#include "world.h"

/* A client that speaks bytes. */
struct raw {
        struct stream *stream;
        struct fibre *self;
        struct record_reader in;
        bool eof;
};

static void raw_event(struct stream *s, unsigned events, void *arg)
{
        struct raw *r = arg;
        fibre_wake(r->self);
        stream_watch(s, 0, raw_event, r);
        (void)events;
}

static void raw_wait(struct raw *r, unsigned events)
{
        stream_watch(r->stream, events, raw_event, r);
        fibre_suspend(r->self);
}

static void raw_connect(struct fibre *self, struct world *w, struct raw *r)
{
        *r = (struct raw){.self = self};
        record_reader_init(&r->in, RECORD_LIMIT);
        assert_int_equal(loop_connect(w->client_loop, &w->at, NULL, &r->stream), 0);
        assert_int_equal(world_wrap_client(r->stream, w, &r->stream), 0);
        raw_wait(r, STREAM_WRITABLE);
}

static void raw_done(struct raw *r)
{
        r->stream = stream_free(r->stream);
        record_reader_done(&r->in);
}

/* Sends it all; false when the peer has gone. */
static bool raw_send(struct raw *r, const void *data, size_t n)
{
        const uint8_t *p = data;
        while (n > 0) {
                struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
                ssize_t sent = stream_writev(r->stream, &iov, 1);
                if (sent == -EAGAIN) {
                        raw_wait(r, STREAM_WRITABLE);
                        continue;
                }
                if (sent < 0)
                        return false;
                p += sent;
                n -= (size_t)sent;
        }
        return true;
}

/* The next record; false at the end of the stream. */
static bool raw_receive(struct raw *r, struct slice *ret)
{
        for (;;) {
                int n = record_reader_next(&r->in, ret, NULL);
                assert_true(n >= 0);
                if (n == 1)
                        return true;
                struct iovec iov;
                iov.iov_base = record_reader_space(&r->in, 4096, &iov.iov_len);
                ssize_t got = stream_readv(r->stream, &iov, 1);
                if (got == -EAGAIN) {
                        raw_wait(r, STREAM_READABLE);
                        continue;
                }
                if (got <= 0)
                        return false;
                record_reader_filled(&r->in, (size_t)got);
        }
}

/* An ECHO call record. */
static void raw_call(struct buf *b, uint32_t xid, uint32_t proc, int32_t value)
{
        struct rpc_call call = {.xid = xid, .prog = TEST_PROGRAM, .vers = 1, .proc = proc};
        struct set_lk_ver_req req = {.uid = STR("x"), .lk_ver = value};
        size_t begin = record_begin(b);
        rpc_call_encode(b, &call);
        msg_encode(&set_lk_ver_req_desc, &req, b);
        record_end(b, begin, 0);
}

static void raw_expect_status(struct raw *r, uint32_t xid, enum rpc_status status)
{
        struct slice record;
        struct rpc_reply reply;
        assert_true(raw_receive(r, &record));
        assert_int_equal(rpc_reply_decode(record, &reply), 0);
        assert_int_equal(reply.xid, xid);
        assert_int_equal(reply.status, status);
}

static void raw_expect_end(struct raw *r)
{
        struct slice record;
        assert_false(raw_receive(r, &record));
        raw_done(r);
}

static void odd_calls_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct raw r;
        raw_connect(self, w, &r);

        /* Another RPC version. */
        raw_call(&b, 71, ECHO, 1);
        xdr_patch_u32(&b, 4 + 8, 3);
        /* A reply, which nobody asked for. */
        size_t begin = record_begin(&b);
        rpc_reply_encode(&b, 5, RPC_SUCCESS);
        record_end(&b, begin, 0);
        /* A good one in three fragments. */
        _cleanup_buf_ struct buf one = BUF_INIT(MIB);
        raw_call(&one, 72, ECHO, 1);
        xdr_write_u32(&b, 10);
        buf_append(&b, one.data + 4, 10);
        xdr_write_u32(&b, 0);
        xdr_write_u32(&b, RECORD_LAST | (uint32_t)(one.len - 14));
        buf_append(&b, one.data + 14, one.len - 14);

        assert_true(raw_send(&r, b.data, b.len));
        raw_expect_status(&r, 71, RPC_GARBAGE_ARGS);
        raw_expect_status(&r, 72, RPC_SUCCESS);
        raw_done(&r);
        assert_int_equal(w->calls, 1);
}

static void odd_calls_are_answered(void **state)
{
        run_all(odd_calls_scenario, &(struct world){0});
}

static void broken_streams_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        static const uint32_t oversized[] = {RECORD_LAST | 0x7fffffff};
        static const uint8_t cut_header[] = {0x80, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2};
        static const uint8_t no_direction[] = {0x80, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 9};
        static const uint8_t nothing[] = {0x80, 0, 0, 0};
        static uint8_t endless[4 * (RECORD_FRAGMENTS + 1)];
        const struct slice streams[] = {
                {(const uint8_t *)oversized, 4}, {cut_header, sizeof cut_header}, {no_direction, sizeof no_direction},
                {nothing, sizeof nothing},       {endless, sizeof endless},
        };
        for (unsigned i = 0; i < ELEMENTSOF(streams); i++) {
                struct raw r;
                raw_connect(self, w, &r);
                (void)raw_send(&r, streams[i].data, streams[i].len);
                raw_expect_end(&r);
                assert_int_equal(w->closed, i + 1);
        }
        assert_int_equal(w->calls, 0);
}

static void broken_streams_end_the_connection(void **state)
{
        run_all(broken_streams_scenario, &(struct world){0});
}

static void never_reads_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct raw r;
        const unsigned sent = 400;
        w->big = 64 * KIB;
        raw_connect(self, w, &r);
        for (unsigned i = 0; i < sent; i++)
                raw_call(&b, i, BIG, 0);
        assert_true(raw_send(&r, b.data, b.len));
        /* The server works until its output is full, and no further. */
        unsigned before = 0;
        do {
                before = w->calls;
                fibre_sleep(self, 20 * NS_PER_MSEC);
        } while (w->calls == 0 || w->calls != before);
        assert_true(w->calls < sent / 4);
        /* Reading sets it going again, and nothing was lost. */
        for (unsigned i = 0; i < sent; i++)
                raw_expect_status(&r, i, RPC_SUCCESS);
        assert_int_equal(w->calls, sent);
        raw_done(&r);
}

static void a_peer_that_does_not_read_is_not_read(void **state)
{
        run_all(never_reads_scenario, &(struct world){.limits.output = 256 * KIB});
}

static void busy_peer_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct raw busy, other;
        const unsigned sent = 500;
        raw_connect(self, w, &busy);
        raw_connect(self, w, &other);
        for (unsigned i = 0; i < sent; i++)
                raw_call(&b, i, ECHO, 0);
        assert_true(raw_send(&busy, b.data, b.len));
        buf_reset(&b, MIB);
        raw_call(&b, 1, ECHO, 0);
        assert_true(raw_send(&other, b.data, b.len));
        raw_expect_status(&other, 1, RPC_SUCCESS);
        if (!w->sim)
                assert_true(w->calls < sent / 2);
        for (unsigned i = 0; i < sent; i++)
                raw_expect_status(&busy, i, RPC_SUCCESS);
        assert_int_equal(w->calls, sent + 1);
        raw_done(&busy);
        raw_done(&other);
}

static void a_busy_peer_lets_others_have_a_turn(void **state)
{
        run_all(busy_peer_scenario, &(struct world){0});
}

static void callback_to(struct rpc_server_conn *c, void *arg)
{
        send_callbacks(c, 100);
        (void)arg;
}

static void callback_flood_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct raw r;
        raw_connect(self, w, &r);
        raw_call(&b, 1, ECHO, 0);
        assert_true(raw_send(&r, b.data, b.len));
        raw_expect_status(&r, 1, RPC_SUCCESS);
        unsigned rounds = 0;
        for (; w->closed == 0 && rounds < 10000; rounds++) {
                rpc_server_each(w->server, callback_to, NULL);
                fibre_sleep(self, NS_PER_MSEC / 100);
        }
        assert_int_equal(w->closed, 1);
        raw_done(&r);
}

static void a_peer_that_does_not_read_callbacks_is_disconnected(void **state)
{
        run_all(callback_flood_scenario, &(struct world){.limits.output = 64 * KIB});
}

static void connection_limit_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_buf_ struct buf b = BUF_INIT(MIB);
        struct raw first, second, third;
        raw_call(&b, 1, ECHO, 0);
        raw_connect(self, w, &first);
        assert_true(raw_send(&first, b.data, b.len));
        raw_expect_status(&first, 1, RPC_SUCCESS);
        raw_connect(self, w, &second);
        (void)raw_send(&second, b.data, b.len);
        raw_expect_end(&second);
        raw_done(&first);
        while (w->closed == 0)
                fibre_sleep(self, NS_PER_MSEC);
        raw_connect(self, w, &third);
        assert_true(raw_send(&third, b.data, b.len));
        raw_expect_status(&third, 1, RPC_SUCCESS);
        raw_done(&third);
        assert_int_equal(w->calls, 2);
}

static void connections_are_limited(void **state)
{
        run_all(connection_limit_scenario, &(struct world){.limits.connections = 1});
}

/* A server that answers with bytes it should not. */
struct raw_server {
        struct slice answer;
        struct stream *stream;
};

static void raw_server_event(struct stream *s, unsigned events, void *arg)
{
        struct raw_server *rs = arg;
        uint8_t drop[4096];
        struct iovec in = {.iov_base = drop, .iov_len = sizeof drop};
        struct iovec out = {.iov_base = (void *)(uintptr_t)rs->answer.data, .iov_len = rs->answer.len};
        if (events & STREAM_READABLE)
                (void)stream_readv(s, &in, 1);
        ssize_t n = stream_writev(s, &out, 1);
        if (n > 0) {
                rs->answer.data += n;
                rs->answer.len -= (uint32_t)n;
        }
        stream_watch(s, rs->answer.len > 0 && !(events & STREAM_HANGUP) ? STREAM_WRITABLE : 0, raw_server_event, rs);
}

static void raw_server_accept(struct listener *l, struct stream *s, void *arg)
{
        struct raw_server *rs = arg;
        assert_int_equal(world_wrap_server(s, NULL, &rs->stream), 0);
        stream_watch(rs->stream, STREAM_READABLE, raw_server_event, rs);
        (void)l;
}

static void bad_server_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        static const uint8_t oversized[] = {0xff, 0xff, 0xff, 0xff};
        static const uint8_t cut_reply[] = {0x80, 0, 0, 12, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0};
        static const uint8_t no_direction[] = {0x80, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 9};
        static const uint8_t cut_callback[] = {0x80, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0};
        const struct {
                struct slice answer;
                int error;
        } cases[] = {
                {{oversized, sizeof oversized}, -EMSGSIZE},
                {{cut_reply, sizeof cut_reply}, -EBADMSG},
                {{no_direction, sizeof no_direction}, -EBADMSG},
                {{cut_callback, sizeof cut_callback}, -EBADMSG},
        };
        w->server = rpc_server_free(w->server);
        for (unsigned i = 0; i < ELEMENTSOF(cases); i++) {
                struct raw_server rs = {.answer = cases[i].answer};
                struct listener *l;
                int32_t got;
                assert_int_equal(loop_listen(w->server_loop, &w->at, raw_server_accept, &rs, &l), 0);
                connect_client(self, w);
                assert_int_equal(call(self, w, ECHO, 1, &got), -ENOTCONN);
                assert_int_equal(w->disconnects, i + 1);
                assert_int_equal(w->disconnect_error, cases[i].error);
                w->client = rpc_client_free(w->client);
                rs.stream = stream_free(rs.stream);
                listener_free(w->server_loop, l);
        }
}

static void a_server_that_answers_nonsense_is_left(void **state)
{
        run_all(bad_server_scenario, &(struct world){0});
}

/* An answer that nobody waits for, before the one that is waited for. */
static void unasked_answer_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_buf_ struct buf b = BUF_INIT(KIB);
        const struct set_lk_ver_rep rep = {.op_errno = 22, .lk_ver = 9};
        for (uint32_t xid = 0; xid <= 2; xid++) { /* the first call's is 2 */
                size_t begin = record_begin(&b);
                rpc_reply_encode(&b, xid, RPC_SUCCESS);
                msg_encode(&set_lk_ver_rep_desc, &rep, &b);
                record_end(&b, begin, 0);
        }
        w->server = rpc_server_free(w->server);
        struct raw_server rs = {.answer = {b.data, (uint32_t)b.len}};
        struct listener *l;
        int32_t got;
        assert_int_equal(loop_listen(w->server_loop, &w->at, raw_server_accept, &rs, &l), 0);
        connect_client(self, w);
        assert_int_equal(call(self, w, ECHO, 1, &got), 0);
        assert_int_equal(got, 9);
        fibre_sleep(self, NS_PER_SEC / 100);
        assert_int_equal(w->disconnects, 0);
        w->client = rpc_client_free(w->client);
        rs.stream = stream_free(rs.stream);
        listener_free(w->server_loop, l);
}

static void unasked_answers_are_dropped(void **state)
{
        run_all(unasked_answer_scenario, &(struct world){0});
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(odd_calls_are_answered),
                cmocka_unit_test(broken_streams_end_the_connection),
                cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
                cmocka_unit_test(a_busy_peer_lets_others_have_a_turn),
                cmocka_unit_test(a_peer_that_does_not_read_callbacks_is_disconnected),
                cmocka_unit_test(connections_are_limited),
                cmocka_unit_test(a_server_that_answers_nonsense_is_left),
                cmocka_unit_test(unasked_answers_are_dropped),
        };
        return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
