/* Client and server connections: each scenario runs on fibres in the simulator, with several seeds, and once over a unix
 * socket on the epoll loop. Scenarios that measure time run in the simulator only.
 *
 * The server's test program answers set_lk_ver messages; the procedure says how.
 */
#include "proto/fop.h"
#include "proto/handshake.h"
#include "rpc/client.h"
#include "rpc/record.h"
#include "rpc/server.h"

#include "base/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST_PROGRAM 4711u
#define SEEDS 12
#define SOME_PORT 4000

enum {
        ECHO = 1,     /* answers at once */
        LATER = 2,    /* answers when `release_at` calls have come, last one first; or by timer */
        REJECT = 3,   /* refuses with status lk_ver */
        CALLBACK = 4, /* sends lk_ver callbacks, then answers */
        HANG = 5,     /* does not answer before the test says so */
        CLOSE = 6,    /* closes the connection, then answers */
        SHORT = 7,    /* answers with fewer bytes than the message has */
        BIG = 8,      /* answers a GETSPEC with `big` bytes */
        PAYLOAD = 9,  /* a WRITE call: waits like LATER */
};

struct deferred {
        struct rpc_server_conn *c;
        uint32_t xid;
        int32_t value;
        bool write;
};

struct world {
        struct sim *sim; /* NULL: epoll */
        struct sim_node *server_node, *client_node;
        struct loop *server_loop, *client_loop;
        struct address at;
        char dir[64], path[96];
        struct rpc_server *server;
        struct rpc_server_limits limits;
        fibre_fn scenario;
        bool done;

        struct deferred deferred[256];
        unsigned deferred_count, deferred_peak;
        unsigned release_at;
        struct timer release;
        uint64_t release_after;
        unsigned calls, pings, closed;
        uint32_t big;

        unsigned callbacks, disconnects;
        int disconnect_error;
        bool free_in_callback;
        struct rpc_client *client;
        unsigned finished;
};

/* ---- the server's program ---------------------------------------------------------------------------------------------- */

static void answer(struct rpc_server_conn *c, uint32_t xid, int32_t value)
{
        struct set_lk_ver_rep rep = {.op_ret = 0, .op_errno = 22, .lk_ver = value};
        rpc_conn_reply(c, xid, &set_lk_ver_rep_desc, &rep);
}

static void answer_deferred(struct world *w)
{
        while (w->deferred_count > 0) {
                struct deferred d = w->deferred[--w->deferred_count];
                struct write_fop_rep written = {.op_ret = d.value, .xdata = DICT_NULL};
                if (d.write)
                        rpc_conn_reply(d.c, d.xid, &write_fop_rep_desc, &written);
                else
                        answer(d.c, d.xid, d.value);
        }
}

static void release_due(struct timer *t)
{
        answer_deferred(CONTAINER_OF(t, struct world, release));
}

static void defer(struct world *w, struct rpc_server_conn *c, uint32_t xid, int32_t value, bool write)
{
        assert_true(w->deferred_count < ELEMENTSOF(w->deferred));
        w->deferred[w->deferred_count++] = (struct deferred){c, xid, value, write};
        w->deferred_peak = MAX(w->deferred_peak, w->deferred_count);
        if (w->release_at > 0 && w->deferred_count == w->release_at)
                answer_deferred(w);
        else if (w->release_after > 0)
                timer_start(w->server_loop, &w->release, w->release_after, release_due);
}

static void send_callbacks(struct rpc_server_conn *c, int32_t n)
{
        for (int32_t i = 0; i < n; i++) {
                struct statedump_cbk body = {.pid = (uint32_t)i};
                rpc_conn_callback(c, CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_STATEDUMP, &statedump_cbk_desc, &body);
        }
}

static void serve_big(struct world *w, struct rpc_server_conn *c, uint32_t xid)
{
        _cleanup_free_ char *text = malloc(w->big + 1);
        assert_non_null(text);
        memset(text, 'v', w->big);
        struct getspec_rep rep = {.op_ret = (int32_t)w->big, .spec = {.s = text, .len = w->big}, .xdata = DICT_NULL};
        rpc_conn_reply(c, xid, &getspec_rep_desc, &rep);
}

static void serve_write(struct world *w, struct rpc_server_conn *c, const struct rpc_call *call)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
        struct write_fop_req req;
        assert_int_equal(msg_decode(&write_fop_req_desc, &r, &a, &req), 0);
        defer(w, c, call->xid, (int32_t)req.data.len, true);
}

static void serve(struct world *w, struct rpc_server_conn *c, const struct rpc_call *call, int32_t value)
{
        struct status_rep status = {.op_ret = 1};
        switch (call->proc) {
        case ECHO:
                answer(c, call->xid, value);
                break;
        case LATER:
                defer(w, c, call->xid, value, false);
                break;
        case REJECT:
                rpc_conn_reject(c, call->xid, (enum rpc_status)value);
                break;
        case CALLBACK:
                send_callbacks(c, value);
                answer(c, call->xid, value);
                break;
        case HANG:
                w->deferred[w->deferred_count++] = (struct deferred){c, call->xid, value, false};
                break;
        case CLOSE:
                rpc_conn_close(c);
                answer(c, call->xid, value);
                break;
        case SHORT:
                rpc_conn_reply(c, call->xid, &status_rep_desc, &status);
                break;
        default:
                rpc_conn_reject(c, call->xid, RPC_PROC_UNAVAIL);
        }
}

static void on_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct world *w = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        if (call->prog == DUMP_PROGRAM) {
                struct ping_rep pong = {.xdata = {0}};
                w->pings++;
                assert_int_equal(call->proc, DUMP_PING);
                assert_int_equal(call->args.len, 0);
                rpc_conn_reply(c, call->xid, &ping_rep_desc, &pong);
                return;
        }
        w->calls++;
        if (call->proc == BIG) {
                serve_big(w, c, call->xid);
                return;
        }
        if (call->proc == PAYLOAD) {
                serve_write(w, c, call);
                return;
        }
        struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
        struct set_lk_ver_req req;
        assert_int_equal(msg_decode(&set_lk_ver_req_desc, &r, &a, &req), 0);
        serve(w, c, call, req.lk_ver);
}

static void on_close(struct rpc_server_conn *c, void *arg)
{
        struct world *w = arg;
        w->closed++;
        assert_ptr_equal(rpc_conn_data(c), NULL);
}

/* ---- worlds -------------------------------------------------------------------------------------------------------------- */

static void world_server_start(struct world *w)
{
        const struct rpc_server_handler handler = {.on_call = on_call, .on_close = on_close};
        assert_int_equal(rpc_server_new(w->server_loop, &w->at, &handler, &w->limits, w, &w->server), 0);
}

static void world_server_stop(struct world *w)
{
        timer_stop(&w->release);
        w->server = rpc_server_free(w->server);
        answer_deferred(w);
}

static void scenario_fibre(struct fibre *self, void *arg)
{
        struct world *w = arg;
        w->scenario(self, w);
        w->client = rpc_client_free(w->client);
        world_server_stop(w);
        w->done = true;
        loop_stop(w->client_loop);
}

static bool world_done(void *arg)
{
        return ((struct world *)arg)->done;
}

static void world_start(struct world *w, fibre_fn scenario)
{
        w->scenario = scenario;
        world_server_start(w);
        assert_int_equal(fibre_start(w->client_loop, "scenario", scenario_fibre, w), 0);
}

static void run_sim(fibre_fn scenario, uint64_t seed, struct world *w)
{
        assert_int_equal(sim_new(seed, &w->sim), 0);
        assert_int_equal(sim_node_new(w->sim, "server", &w->server_node), 0);
        assert_int_equal(sim_node_new(w->sim, "client", &w->client_node), 0);
        w->server_loop = sim_node_loop(w->server_node);
        w->client_loop = sim_node_loop(w->client_node);
        assert_int_equal(sim_address(w->sim, "server", SOME_PORT, &w->at), 0);
        world_start(w, scenario);
        assert_int_equal(sim_run(w->sim, 100000 * NS_PER_SEC, world_done, w), 0);
        w->sim = sim_free(w->sim);
}

static void run_epoll(fibre_fn scenario, struct world *w)
{
        snprintf(w->dir, sizeof w->dir, "/tmp/mortar-rpc-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        snprintf(w->path, sizeof w->path, "unix:%s/socket", w->dir);
        assert_int_equal(address_parse(w->path, &w->at), 0);
        assert_int_equal(loop_epoll_new(&w->client_loop), 0);
        w->server_loop = w->client_loop;
        world_start(w, scenario);
        assert_int_equal(loop_run(w->client_loop), 0);
        assert_true(w->done);
        loop_free(w->client_loop);
        (void)unlink(w->path + strlen("unix:"));
        (void)rmdir(w->dir);
}

static void run_all(fibre_fn scenario, const struct world *given)
{
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                *w = *given;
                run_sim(scenario, seed, w);
        }
        *w = *given;
        run_epoll(scenario, w);
}

static void run_sims(fibre_fn scenario, const struct world *given)
{
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                *w = *given;
                run_sim(scenario, seed, w);
        }
}

/* ---- the client's side ----------------------------------------------------------------------------------------------------- */

static void on_callback(struct rpc_client *c, const struct rpc_call *call, void *arg)
{
        struct world *w = arg;
        struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
        w->callbacks++;
        assert_int_equal(call->prog, CALLBACK_PROGRAM);
        assert_int_equal(call->proc, CALLBACK_STATEDUMP);
        assert_int_equal(call->xid, w->callbacks);
        assert_int_equal(call->cred.flavour, RPC_AUTH_NULL);
        assert_int_equal(xdr_read_u32(&r), w->callbacks - 1);
        if (w->free_in_callback)
                w->client = rpc_client_free(c);
}

static void on_disconnect(struct rpc_client *c, int error, void *arg)
{
        struct world *w = arg;
        w->disconnects++;
        w->disconnect_error = error;
        assert_int_equal(rpc_client_outstanding(c), 0);
}

static struct rpc_client_config config_of(struct world *w)
{
        return (struct rpc_client_config){
                .to = w->at, .on_callback = on_callback, .on_disconnect = on_disconnect, .arg = w};
}

static void connect_client(struct fibre *self, struct world *w)
{
        struct rpc_client_config config = config_of(w);
        assert_int_equal(rpc_client_connect(self, &config, &w->client), 0);
}

static int call(struct fibre *self, struct world *w, uint32_t proc, int32_t value, int32_t *ret)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * KIB);
        struct set_lk_ver_req req = {.uid = STR("someone"), .lk_ver = value};
        struct set_lk_ver_rep rep = {.lk_ver = -1};
        int r = rpc_client_call(self, w->client, TEST_PROGRAM, 1, proc, NULL, &set_lk_ver_req_desc, &req,
                                &set_lk_ver_rep_desc, &rep, &a);
        *ret = rep.lk_ver;
        return r;
}

static void expect_echo(struct fibre *self, struct world *w, int32_t value)
{
        int32_t got;
        assert_int_equal(call(self, w, ECHO, value, &got), 0);
        assert_int_equal(got, value);
}

/* One fibre of several that call at the same time. */
struct caller {
        struct world *w;
        uint32_t proc;
        int32_t value, got;
        int result;
};

static void caller_run(struct fibre *self, void *arg)
{
        struct caller *c = arg;
        c->result = call(self, c->w, c->proc, c->value, &c->got);
        c->w->finished++;
}

static void callers_start(struct world *w, struct fibre_group *g, struct caller *c, unsigned n, uint32_t proc)
{
        for (unsigned i = 0; i < n; i++) {
                c[i] = (struct caller){.w = w, .proc = proc, .value = 1000 + (int32_t)i};
                assert_int_equal(fibre_group_start(w->client_loop, g, "caller", caller_run, &c[i]), 0);
        }
}

/* ---- scenarios ----------------------------------------------------------------------------------------------------------- */

static void calls_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        connect_client(self, w);
        for (int32_t i = 0; i < 5; i++)
                expect_echo(self, w, i * 7);
        assert_int_equal(w->calls, 5);
        assert_int_equal(rpc_client_outstanding(w->client), 0);
        assert_int_equal(w->pings, 0);
}

static void calls_are_answered(void **state)
{
        run_all(calls_scenario, &(struct world){0});
}

static void out_of_order_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct caller callers[50];
        connect_client(self, w);
        callers_start(w, &g, callers, 50, LATER);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < 50; i++) {
                assert_int_equal(callers[i].result, 0);
                assert_int_equal(callers[i].got, callers[i].value);
        }
}

static void answers_come_in_any_order(void **state)
{
        run_all(out_of_order_scenario, &(struct world){.release_at = 50});
}

static void callback_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        int32_t got;
        connect_client(self, w);
        assert_int_equal(call(self, w, CALLBACK, 20, &got), 0);
        assert_int_equal(w->callbacks, 20);
        expect_echo(self, w, 1);
}

static void callbacks_arrive_in_order(void **state)
{
        run_all(callback_scenario, &(struct world){0});
}

static void free_in_callback_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        int32_t got;
        connect_client(self, w);
        assert_int_equal(call(self, w, CALLBACK, 5, &got), -ENOTCONN);
        assert_null(w->client);
        assert_int_equal(w->callbacks, 1);
        assert_int_equal(w->disconnects, 0);
}

static void a_callback_may_free_the_client(void **state)
{
        run_all(free_in_callback_scenario, &(struct world){.free_in_callback = true});
}

static void reject_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        static const int32_t all[] = {RPC_PROG_UNAVAIL, RPC_PROG_MISMATCH, RPC_PROC_UNAVAIL,
                                      RPC_GARBAGE_ARGS, RPC_SYSTEM_ERR,    RPC_DENIED_AUTH};
        int32_t got;
        connect_client(self, w);
        for (size_t i = 0; i < ELEMENTSOF(all); i++) {
                assert_int_equal(call(self, w, REJECT, all[i], &got), -EPROTO);
                assert_int_equal(got, -1);
        }
        assert_int_equal(call(self, w, SHORT, 0, &got), -EBADMSG);
        expect_echo(self, w, 3);
        assert_int_equal(w->disconnects, 0);
}

static void refusals_do_not_end_the_connection(void **state)
{
        run_all(reject_scenario, &(struct world){0});
}

static void close_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct caller callers[3];
        int32_t got;
        connect_client(self, w);
        callers_start(w, &g, callers, 3, HANG);
        while (w->deferred_count < 3)
                fibre_sleep(self, NS_PER_MSEC);
        assert_int_equal(call(self, w, CLOSE, 0, &got), -ENOTCONN);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(callers[i].result, -ENOTCONN);
        assert_int_equal(w->disconnects, 1);
        assert_int_equal(call(self, w, ECHO, 0, &got), -ENOTCONN);
        assert_int_equal(w->closed, 1);
        /* The server answers them now: the answers go nowhere. */
        assert_int_equal(w->deferred_count, 3);
        answer_deferred(w);
}

static void a_lost_connection_fails_outstanding_calls(void **state)
{
        run_all(close_scenario, &(struct world){0});
}

static void server_stop_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct caller callers[3];
        connect_client(self, w);
        expect_echo(self, w, 1);
        callers_start(w, &g, callers, 3, HANG);
        while (w->deferred_count < 3)
                fibre_sleep(self, NS_PER_MSEC);
        w->server = rpc_server_free(w->server);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(callers[i].result, -ENOTCONN);
        assert_int_equal(w->disconnects, 1);
        assert_int_equal(w->closed, 1);
        w->client = rpc_client_free(w->client);

        struct rpc_client_config config = config_of(w);
        int r = rpc_client_connect(self, &config, &w->client);
        assert_true(r == -ECONNREFUSED || r == -ENOENT);
        assert_null(w->client);
}

static void a_server_may_stop_and_connecting_is_refused(void **state)
{
        run_all(server_stop_scenario, &(struct world){0});
}

static void client_free_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct caller callers[3];
        connect_client(self, w);
        callers_start(w, &g, callers, 3, HANG);
        while (w->deferred_count < 3)
                fibre_sleep(self, NS_PER_MSEC);
        w->client = rpc_client_free(w->client);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(callers[i].result, -ENOTCONN);
        assert_int_equal(w->disconnects, 0);
        while (w->closed == 0)
                fibre_sleep(self, NS_PER_MSEC);
        assert_int_equal(w->closed, 1);
}

static void freeing_the_client_fails_outstanding_calls(void **state)
{
        run_all(client_free_scenario, &(struct world){0});
}

static void timeout_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct rpc_client_config config = config_of(w);
        int32_t got;
        config.call_timeout = 20 * NS_PER_MSEC;
        assert_int_equal(rpc_client_connect(self, &config, &w->client), 0);
        assert_int_equal(call(self, w, HANG, 0, &got), -ETIMEDOUT);
        assert_int_equal(rpc_client_outstanding(w->client), 0);
        /* Its late answer is not taken for another call's. */
        answer_deferred(w);
        expect_echo(self, w, 9);
        assert_int_equal(w->disconnects, 0);
}

static void a_call_may_run_out_of_time(void **state)
{
        run_all(timeout_scenario, &(struct world){0});
}

static void outstanding_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct caller callers[30];
        connect_client(self, w);
        callers_start(w, &g, callers, 30, LATER);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < 30; i++) {
                assert_int_equal(callers[i].result, 0);
                assert_int_equal(callers[i].got, callers[i].value);
        }
        assert_int_equal(w->deferred_peak, 4);
}

static void reading_stops_at_the_outstanding_limit(void **state)
{
        run_all(outstanding_scenario, &(struct world){.limits.outstanding = 4, .release_after = 5 * NS_PER_MSEC});
}

static void big_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * MIB);
        struct getspec_req req = {.key = STR("/vol"), .xdata = DICT_NULL};
        struct getspec_rep rep;
        connect_client(self, w);
        for (w->big = 1; w->big <= 4 * MIB; w->big = w->big * 5 + 3) {
                arena_reset(&a);
                assert_int_equal(rpc_client_call(self, w->client, TEST_PROGRAM, 1, BIG, NULL, &getspec_req_desc, &req,
                                                 &getspec_rep_desc, &rep, &a),
                                 0);
                assert_int_equal(rep.spec.len, w->big);
                assert_int_equal(strspn(rep.spec.s, "v"), w->big);
        }
}

static void large_answers_arrive_whole(void **state)
{
        run_all(big_scenario, &(struct world){.limits.output = 1000});
}

/* ---- a client with more to send than the server takes ----------------------------------------------------------------------- */

#define WRITE_BYTES (1 * MIB)

struct writer {
        struct world *w;
        const uint8_t *data;
        int result;
};

static void writer_run(struct fibre *self, void *arg)
{
        struct writer *wr = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * KIB);
        struct write_fop_req req = {.size = WRITE_BYTES, .xdata = DICT_NULL, .data = {wr->data, WRITE_BYTES}};
        struct write_fop_rep rep;
        wr->result = rpc_client_call(self, wr->w->client, TEST_PROGRAM, 1, PAYLOAD, NULL, &write_fop_req_desc, &req,
                                     &write_fop_rep_desc, &rep, &a);
        if (wr->result == 0)
                assert_int_equal(rep.op_ret, WRITE_BYTES);
}

static void writes_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct writer writers[24];
        _cleanup_free_ uint8_t *data = calloc(1, WRITE_BYTES);
        assert_non_null(data);
        connect_client(self, w);
        for (unsigned i = 0; i < ELEMENTSOF(writers); i++) {
                writers[i] = (struct writer){.w = w, .data = data};
                assert_int_equal(fibre_group_start(w->client_loop, &g, "writer", writer_run, &writers[i]), 0);
        }
        fibre_yield(self);
        fibre_yield(self);
        /* Some are only waiting to be sent: not all that could be outstanding are. */
        assert_true(rpc_client_outstanding(w->client) < 16);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < ELEMENTSOF(writers); i++)
                assert_int_equal(writers[i].result, 0);
        assert_int_equal(w->calls, ELEMENTSOF(writers));
}

static void a_client_waits_before_it_queues_too_much(void **state)
{
        struct world given = {.limits.outstanding = 1, .release_after = NS_PER_MSEC / 10};
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        *w = given;
        run_sim(writes_scenario, 1, w);
        *w = given;
        run_epoll(writes_scenario, w);
}

static void writes_lost_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct writer writers[24];
        _cleanup_free_ uint8_t *data = calloc(1, WRITE_BYTES);
        assert_non_null(data);
        connect_client(self, w);
        for (unsigned i = 0; i < ELEMENTSOF(writers); i++) {
                writers[i] = (struct writer){.w = w, .data = data};
                assert_int_equal(fibre_group_start(w->client_loop, &g, "writer", writer_run, &writers[i]), 0);
        }
        while (w->calls == 0)
                fibre_sleep(self, NS_PER_MSEC);
        w->client = rpc_client_free(w->client);
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < ELEMENTSOF(writers); i++)
                assert_int_equal(writers[i].result, -ENOTCONN);
}

static void calls_that_wait_for_room_fail_with_the_connection(void **state)
{
        struct world given = {.limits.outstanding = 1};
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        *w = given;
        run_sim(writes_lost_scenario, 1, w);
        *w = given;
        run_epoll(writes_lost_scenario, w);
}

/* ---- pings, in virtual time ------------------------------------------------------------------------------------------------- */

#define PING_TIMEOUT (42 * NS_PER_SEC)

static void connect_pinging(struct fibre *self, struct world *w)
{
        struct rpc_client_config config = config_of(w);
        config.ping_timeout = PING_TIMEOUT;
        assert_int_equal(rpc_client_connect(self, &config, &w->client), 0);
}

static void ping_idle_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        connect_pinging(self, w);
        fibre_sleep(self, 500 * NS_PER_SEC);
        assert_int_equal(w->pings, 0);
        expect_echo(self, w, 1);
        fibre_sleep(self, NS_PER_SEC);
        assert_int_equal(w->pings, 1);
        fibre_sleep(self, 500 * NS_PER_SEC);
        assert_int_equal(w->pings, 1);
        expect_echo(self, w, 1);
        fibre_sleep(self, NS_PER_SEC);
        assert_int_equal(w->pings, 2);
}

static void a_ping_goes_with_the_first_call_of_a_cycle(void **state)
{
        run_sims(ping_idle_scenario, &(struct world){0});
}

static void ping_busy_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        int32_t got;
        connect_pinging(self, w);
        assert_int_equal(call(self, w, LATER, 5, &got), 0);
        assert_int_equal(got, 5);
        /* At 0, 42, 84, 126 and 168 s of the 200. */
        assert_int_equal(w->pings, 5);
        assert_int_equal(w->disconnects, 0);
}

static void pings_go_on_while_a_call_is_outstanding(void **state)
{
        run_sims(ping_busy_scenario, &(struct world){.release_after = 200 * NS_PER_SEC});
}

static void ping_dead_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        int32_t got;
        connect_pinging(self, w);
        expect_echo(self, w, 1);
        fibre_sleep(self, NS_PER_SEC);
        uint64_t start = loop_now(w->client_loop);
        sim_link_set(w->sim, w->server_node, w->client_node, &(struct sim_link){.cut = true});
        assert_int_equal(call(self, w, ECHO, 1, &got), -ENOTCONN);
        uint64_t took = loop_now(w->client_loop) - start;
        assert_int_equal(w->disconnect_error, -ETIMEDOUT);
        /* The ping at the end of the cycle that began before the cut, and its silence. */
        assert_true(took > PING_TIMEOUT && took < 2 * PING_TIMEOUT);
}

static void silence_ends_the_connection(void **state)
{
        run_sims(ping_dead_scenario, &(struct world){0});
}

static void connect_timeout_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct rpc_client_config config = config_of(w);
        config.connect_timeout = 3 * NS_PER_SEC;
        sim_link_set(w->sim, w->server_node, w->client_node, &(struct sim_link){.cut = true});
        uint64_t start = loop_now(w->client_loop);
        assert_int_equal(rpc_client_connect(self, &config, &w->client), -ETIMEDOUT);
        assert_true(loop_now(w->client_loop) - start >= 3 * NS_PER_SEC);
        assert_true(loop_now(w->client_loop) - start < 4 * NS_PER_SEC);
        assert_null(w->client);
}

static void connecting_has_a_time_limit(void **state)
{
        run_sims(connect_timeout_scenario, &(struct world){0});
}

static void reset_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        int32_t got;
        struct rpc_client_config config = config_of(w);
        for (unsigned i = 0; i < 20;) {
                int r = rpc_client_connect(self, &config, &w->client);
                if (r < 0) {
                        assert_int_equal(r, -ECONNRESET);
                        continue;
                }
                while ((r = call(self, w, ECHO, 7, &got)) == 0)
                        assert_int_equal(got, 7);
                assert_int_equal(r, -ENOTCONN);
                assert_int_equal(w->disconnects, ++i);
                w->client = rpc_client_free(w->client);
        }
}

static void lossy_links_only_ever_disconnect(void **state)
{
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                _cleanup_free_ struct world *w = calloc(1, sizeof *w);
                assert_non_null(w);
                w->scenario = reset_scenario;
                assert_int_equal(sim_new(seed, &w->sim), 0);
                assert_int_equal(sim_node_new(w->sim, "server", &w->server_node), 0);
                assert_int_equal(sim_node_new(w->sim, "client", &w->client_node), 0);
                w->server_loop = sim_node_loop(w->server_node);
                w->client_loop = sim_node_loop(w->client_node);
                assert_int_equal(sim_address(w->sim, "server", SOME_PORT, &w->at), 0);
                sim_link_set(w->sim, w->server_node, w->client_node,
                             &(struct sim_link){.delay_max = NS_PER_MSEC, .drop_per_million = 50000});
                world_start(w, reset_scenario);
                assert_int_equal(sim_run(w->sim, 100000 * NS_PER_SEC, world_done, w), 0);
                w->sim = sim_free(w->sim);
        }
}

/* ---- raw peers ------------------------------------------------------------------------------------------------------------------ */

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
                {(const uint8_t *)oversized, 4},
                {cut_header, sizeof cut_header},
                {no_direction, sizeof no_direction},
                {nothing, sizeof nothing},
                {endless, sizeof endless},
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
        rs->stream = s;
        stream_watch(s, STREAM_READABLE, raw_server_event, rs);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(calls_are_answered),
                cmocka_unit_test(answers_come_in_any_order),
                cmocka_unit_test(callbacks_arrive_in_order),
                cmocka_unit_test(a_callback_may_free_the_client),
                cmocka_unit_test(refusals_do_not_end_the_connection),
                cmocka_unit_test(a_lost_connection_fails_outstanding_calls),
                cmocka_unit_test(a_server_may_stop_and_connecting_is_refused),
                cmocka_unit_test(freeing_the_client_fails_outstanding_calls),
                cmocka_unit_test(a_call_may_run_out_of_time),
                cmocka_unit_test(reading_stops_at_the_outstanding_limit),
                cmocka_unit_test(large_answers_arrive_whole),
                cmocka_unit_test(a_client_waits_before_it_queues_too_much),
                cmocka_unit_test(calls_that_wait_for_room_fail_with_the_connection),
                cmocka_unit_test(a_ping_goes_with_the_first_call_of_a_cycle),
                cmocka_unit_test(pings_go_on_while_a_call_is_outstanding),
                cmocka_unit_test(silence_ends_the_connection),
                cmocka_unit_test(connecting_has_a_time_limit),
                cmocka_unit_test(lossy_links_only_ever_disconnect),
                cmocka_unit_test(odd_calls_are_answered),
                cmocka_unit_test(broken_streams_end_the_connection),
                cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
                cmocka_unit_test(a_peer_that_does_not_read_callbacks_is_disconnected),
                cmocka_unit_test(connections_are_limited),
                cmocka_unit_test(a_server_that_answers_nonsense_is_left),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
