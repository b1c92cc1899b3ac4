/* Client and server connections: each scenario runs on fibres in the simulator, with several seeds, and once over a
 * unix socket on the epoll loop. Scenarios that measure time run in the simulator only.
 */
#include "world.h"

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

/* ---- scenarios --------------------------------------------------------------------------------------------------- */

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
        config.call_timeout = 300 * NS_PER_MSEC;
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

/* ---- a client with more to send than the server takes ------------------------------------------------------------ */

#define WRITE_BYTES (1 * MIB)

struct writer {
        struct world *w;
        const uint8_t *data;
        uint64_t offset;
        int result;
};

static void writer_run(struct fibre *self, void *arg)
{
        struct writer *wr = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * KIB);
        struct write_fop_req req = {
                .offset = wr->offset, .size = WRITE_BYTES, .xdata = DICT_NULL, .data = {wr->data, WRITE_BYTES}};
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
        run_sim(writes_scenario, 1, NULL, w);
        *w = given;
        run_epoll(writes_scenario, w);
}

/* The data is the caller's again when its call has ended, sent or not. */
static void impatient_run(struct fibre *self, void *arg)
{
        struct writer *wr = arg;
        uint8_t *data = malloc(WRITE_BYTES);
        assert_non_null(data);
        memset(data, (int)wr->offset, WRITE_BYTES);
        wr->data = data;
        writer_run(self, wr);
        memset(data, 0xee, WRITE_BYTES);
        free(data);
}

static void impatient_scenario(struct fibre *self, void *arg)
{
        struct world *w = arg;
        struct fibre_group g = {0};
        struct writer writers[6];
        struct rpc_client_config config = config_of(w);
        config.call_timeout = 50 * NS_PER_MSEC;
        assert_int_equal(rpc_client_connect(self, &config, &w->client), 0);
        for (unsigned i = 0; i < ELEMENTSOF(writers); i++) {
                writers[i] = (struct writer){.w = w, .offset = i + 1};
                assert_int_equal(fibre_group_start(w->client_loop, &g, "writer", impatient_run, &writers[i]), 0);
        }
        fibre_group_wait_all(self, &g);
        for (unsigned i = 0; i < ELEMENTSOF(writers); i++)
                assert_int_equal(writers[i].result, -ETIMEDOUT);
        assert_true(w->calls < ELEMENTSOF(writers));
        while (w->calls < ELEMENTSOF(writers))
                fibre_sleep(self, NS_PER_MSEC);
        assert_int_equal(w->disconnects, 0);
}

static void data_of_a_call_that_ran_out_of_time_arrives_whole(void **state)
{
        struct world given = {.limits.outstanding = 1, .release_after = 100 * NS_PER_MSEC};
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        *w = given;
        run_sim(impatient_scenario, 1, NULL, w);
        *w = given;
        run_epoll(impatient_scenario, w);
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
        run_sim(writes_lost_scenario, 1, NULL, w);
        *w = given;
        run_epoll(writes_lost_scenario, w);
}

/* ---- pings, in virtual time -------------------------------------------------------------------------------------- */

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
        static const struct sim_link lossy = {.delay_max = NS_PER_MSEC, .drop_per_million = 50000};
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                *w = (struct world){0};
                run_sim(reset_scenario, seed, &lossy, w);
        }
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
                cmocka_unit_test(data_of_a_call_that_ran_out_of_time_arrives_whole),
                cmocka_unit_test(calls_that_wait_for_room_fail_with_the_connection),
                cmocka_unit_test(a_ping_goes_with_the_first_call_of_a_cycle),
                cmocka_unit_test(pings_go_on_while_a_call_is_outstanding),
                cmocka_unit_test(silence_ends_the_connection),
                cmocka_unit_test(connecting_has_a_time_limit),
                cmocka_unit_test(lossy_links_only_ever_disconnect),
        };
        return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
