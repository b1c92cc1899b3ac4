/* The test program of world.h and the loops it runs on. A failed assertion on a fibre ends the test, not the run. */
#include "world.h"

#ifdef WORLD_TLS
#include "rpc/tls_stream.h"
#include "support/certs.h"

static struct certs *certs;
static struct tls_context *context;

static int world_wrap(struct stream *lower, enum tls_side side, struct stream **ret)
{
        return tls_stream_new(lower, &(struct tls_stream_config){.context = context, .side = side}, ret);
}

int world_setup(void **state)
{
        certs = certs_new();
        certs_make(certs, &(struct cert){.name = "node"});
        context = certs_context(certs, "node");
        return 0;
}

int world_teardown(void **state)
{
        context = tls_context_unref(context);
        certs = certs_free(certs);
        return 0;
}
#else
enum tls_side { TLS_CLIENT, TLS_SERVER };

static int world_wrap(struct stream *lower, enum tls_side side, struct stream **ret)
{
        *ret = lower;
        return 0;
}

int world_setup(void **state)
{
        return 0;
}

int world_teardown(void **state)
{
        return 0;
}
#endif

int world_wrap_client(struct stream *lower, void *arg, struct stream **ret)
{
        return world_wrap(lower, TLS_CLIENT, ret);
}

int world_wrap_server(struct stream *lower, void *arg, struct stream **ret)
{
        return world_wrap(lower, TLS_SERVER, ret);
}

/* ---- the server's program ---------------------------------------------------------------------------------------- */

static void answer(struct rpc_server_conn *c, uint32_t xid, int32_t value)
{
        struct set_lk_ver_rep rep = {.op_ret = 0, .op_errno = 22, .lk_ver = value};
        rpc_conn_reply(c, xid, &set_lk_ver_rep_desc, &rep);
}

void answer_deferred(struct world *w)
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

void send_callbacks(struct rpc_server_conn *c, int32_t n)
{
        for (int32_t i = 0; i < n; i++) {
                struct statedump_cbk body = {.pid = (uint32_t)i};
                rpc_conn_callback(c, CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_STATEDUMP, &statedump_cbk_desc,
                                  &body);
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
        for (uint32_t i = 0; i < req.data.len; i++)
                if (req.data.data[i] != (uint8_t)req.offset)
                        fail_msg("byte %u of the data that is all %u is %u", i, (unsigned)req.offset, req.data.data[i]);
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

/* ---- worlds ------------------------------------------------------------------------------------------------------ */

static void world_server_start(struct world *w)
{
        const struct rpc_server_handler handler = {.on_call = on_call, .on_close = on_close, .wrap = world_wrap_server};
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

void run_sim(fibre_fn scenario, uint64_t seed, const struct sim_link *link, struct world *w)
{
        assert_int_equal(sim_new(seed, &w->sim), 0);
        assert_int_equal(sim_node_new(w->sim, "server", &w->server_node), 0);
        assert_int_equal(sim_node_new(w->sim, "client", &w->client_node), 0);
        w->server_loop = sim_node_loop(w->server_node);
        w->client_loop = sim_node_loop(w->client_node);
        assert_int_equal(sim_address(w->sim, "server", SOME_PORT, &w->at), 0);
        if (link)
                sim_link_set(w->sim, w->server_node, w->client_node, link);
        world_start(w, scenario);
        assert_int_equal(sim_run(w->sim, 100000 * NS_PER_SEC, world_done, w), 0);
        w->sim = sim_free(w->sim);
}

void run_epoll(fibre_fn scenario, struct world *w)
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

void run_all(fibre_fn scenario, const struct world *given)
{
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                *w = *given;
                run_sim(scenario, seed, NULL, w);
        }
        *w = *given;
        run_epoll(scenario, w);
}

void run_sims(fibre_fn scenario, const struct world *given)
{
        _cleanup_free_ struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
                *w = *given;
                run_sim(scenario, seed, NULL, w);
        }
}

/* ---- the client's side ------------------------------------------------------------------------------------------- */

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

struct rpc_client_config config_of(struct world *w)
{
        return (struct rpc_client_config){
                .to = w->at, .on_callback = on_callback, .on_disconnect = on_disconnect, .wrap = world_wrap_client, .arg = w};
}

void connect_client(struct fibre *self, struct world *w)
{
        struct rpc_client_config config = config_of(w);
        assert_int_equal(rpc_client_connect(self, &config, &w->client), 0);
}

int call(struct fibre *self, struct world *w, uint32_t proc, int32_t value, int32_t *ret)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * KIB);
        struct set_lk_ver_req req = {.uid = STR("someone"), .lk_ver = value};
        struct set_lk_ver_rep rep = {.lk_ver = -1};
        int r = rpc_client_call(self, w->client, TEST_PROGRAM, 1, proc, NULL, &set_lk_ver_req_desc, &req,
                                &set_lk_ver_rep_desc, &rep, &a);
        *ret = rep.lk_ver;
        return r;
}

void expect_echo(struct fibre *self, struct world *w, int32_t value)
{
        int32_t got;
        assert_int_equal(call(self, w, ECHO, value, &got), 0);
        assert_int_equal(got, value);
}
