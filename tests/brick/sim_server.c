/* A simulated brick node (sim_server.h).
 *
 * Each connection has a session; its records go out through rpc_conn_send_record(). Calls without an answer are
 * remembered: a session that ends while a lock request waits never answers it, but the connection wants each call
 * answered once.
 */
#include "sim_server.h"

#include "proto/handshake.h"
#include "rpc/record.h"

#define ARENA_MAX (16 * MIB)

struct served {
        struct sim_server *server;
        struct rpc_server_conn *conn;
        struct session *session;
        struct arena arena;
        uint32_t unanswered[64];
        unsigned n;
};

bool sim_server_is_dead(const struct sim_server *s)
{
        return s->dead || (s->doomed && sim_disk_fault_fired(s->disk));
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void answered(struct served *v, uint32_t xid)
{
        for (unsigned k = 0; k < v->n; k++) {
                if (v->unanswered[k] == xid) {
                        v->unanswered[k] = v->unanswered[--v->n];
                        return;
                }
        }
        fail_msg("an answer to a call that was answered");
}

static void on_send(void *conn, const struct iovec *iov, int n)
{
        struct served *v = conn;
        const uint8_t *p = iov[0].iov_base;
        struct slice head = {p + RECORD_MARK_SIZE, (uint32_t)iov[0].iov_len - RECORD_MARK_SIZE};
        if (sim_server_is_dead(v->server))
                return;
        if (rpc_direction(head) == RPC_REPLY)
                answered(v, (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7]);
        rpc_conn_send_record(v->conn, iov, n);
}

static struct served *served_new(struct sim_server *s, struct rpc_server_conn *c)
{
        struct served *v = calloc(1, sizeof *v);
        assert_non_null(v);
        v->server = s;
        v->conn = c;
        v->arena = ARENA_INIT(ARENA_MAX);
        const struct session_config config = {
                .client_uid = "CTX_ID:sim-0", .op_version = 100000, .send = on_send, .conn = v};
        assert_int_equal(session_open(s->brick, &config, &v->session), 0);
        rpc_conn_set_data(c, v);
        return v;
}

static void serve(struct sim_server *s, struct rpc_server_conn *c, const struct rpc_call *call)
{
        struct served *v = rpc_conn_data(c);
        if (!v)
                v = served_new(s, c);
        assert_true(v->n < ELEMENTSOF(v->unanswered));
        v->unanswered[v->n++] = call->xid;
        s->calls++;
        session_serve(v->session, call, &v->arena);
        arena_reset(&v->arena);
}

static void on_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct sim_server *s = arg;
        struct ping_rep pong = {0};
        if (call->prog == FOP_PROGRAM && call->vers == FOP_VERSION && !sim_server_is_dead(s))
                serve(s, c, call);
        else if (call->prog == DUMP_PROGRAM && call->proc == DUMP_PING)
                rpc_conn_reply(c, call->xid, &ping_rep_desc, &pong);
        else
                rpc_conn_reject(c, call->xid, RPC_PROG_UNAVAIL);
}

static void on_close(struct rpc_server_conn *c, void *arg)
{
        struct served *v = rpc_conn_data(c);
        (void)arg;
        if (!v)
                return;
        rpc_conn_set_data(c, NULL);
        session_close(v->session);
        for (unsigned k = 0; k < v->n; k++)
                rpc_conn_reject(c, v->unanswered[k], RPC_SYSTEM_ERR);
        arena_done(&v->arena);
        free(v);
}

struct count {
        const struct address *peer;
        unsigned n;
};

static void count_conn(struct rpc_server_conn *c, void *arg)
{
        struct count *count = arg;
        struct address peer;
        char a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];
        if (rpc_conn_peer(c, &peer) < 0)
                return;
        address_format(&peer, a);
        address_format(count->peer, b);
        count->n += strncmp(a, b, strcspn(b, ":") + 1) == 0;
}

unsigned sim_server_sessions(struct sim_server *s, const struct address *peer)
{
        struct count count = {.peer = peer};
        if (s->server)
                rpc_server_each(s->server, count_conn, &count);
        return count.n;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void open_brick(struct sim_server *s)
{
        struct error e = {0};
        struct brick_config config = {
                .path = SIM_SERVER_PATH, .volume = "sim", .volume_id = s->volume_id, .hostname = "sim"};
        brick_options_init(&config.options);
        assert_int_equal(brick_options_set(&config.options, "xattrop-pending-watchlist", "trusted.afr.v-", NULL), 0);
        if (brick_open(sim_disk_ops(s->disk), &config, &s->brick, &e) < 0)
                fail_msg("brick_open: %s", e.text);
}

void sim_server_start(struct sim_server *s)
{
        static const struct rpc_server_handler handler = {.on_call = on_call, .on_close = on_close};
        struct address at;
        if (!sim_node_up(s->node))
                sim_node_restart(s->node);
        open_brick(s);
        assert_int_equal(address_parse("*:49152", &at), 0);
        assert_int_equal(rpc_server_new(sim_node_loop(s->node), &at, &handler, NULL, s, &s->server), 0);
}

void sim_server_stop(struct sim_server *s)
{
        struct brick_stats stats;
        s->server = rpc_server_free(s->server);
        brick_get_stats(s->brick, &stats);
        assert_int_equal(stats.sessions, 0);
        assert_int_equal(stats.fds, 0);
        assert_int_equal(stats.locks, 0);
        assert_int_equal(stats.locks_waiting, 0);
        s->brick = brick_close(s->brick);
        assert_int_equal(sim_disk_open_count(s->disk), 0);
}

/* Memory of the dead process is released after its disk is gone: whatever the release tries finds no descriptor. */
void sim_server_crash(struct sim_server *s, bool power)
{
        s->crashes++;
        s->power_cuts += power;
        sim_node_crash(s->node);
        if (power)
                sim_disk_power_cut(s->disk);
        else
                sim_disk_process_crash(s->disk);
        s->dead = true;
        s->server = rpc_server_free(s->server);
        s->brick = brick_close(s->brick);
        s->dead = false;
        sim_server_doom(s, 0);
        assert_int_equal(sim_disk_open_count(s->disk), 0);
}

void sim_server_doom(struct sim_server *s, uint64_t n)
{
        sim_disk_faults_clear(s->disk);
        s->doomed = n > 0;
        if (n > 0)
                sim_disk_stop_after(s->disk, n);
}

void sim_server_sync(struct sim_server *s)
{
        struct disk *d = sim_disk_ops(s->disk);
        int fd = disk_open(d, AT_FDCWD, "/synced", O_CREAT | O_RDWR, 0600);
        assert_true(fd >= 0);
        assert_int_equal(disk_sync(d, fd, false), 0);
        assert_int_equal(disk_close(d, fd), 0);
}

void sim_server_init(struct sim_server *s, struct sim *sim, const char *name, uint64_t seed)
{
        *s = (struct sim_server){.sim = sim, .volume_id = {.b = {7, 7, 7, [15] = 7}}};
        assert_int_equal(sim_node_new(sim, name, &s->node), 0);
        assert_int_equal(sim_disk_new(seed, 1 * GIB, &s->disk), 0);
        struct disk *d = sim_disk_ops(s->disk);
        assert_int_equal(disk_mkdir(d, AT_FDCWD, SIM_SERVER_PATH, 0755), 0);
        assert_int_equal(disk_setxattr(d, AT_FDCWD, SIM_SERVER_PATH, "trusted.glusterfs.volume-id", s->volume_id.b,
                                       sizeof s->volume_id.b, 0),
                         0);
        sim_server_start(s);
}

void sim_server_done(struct sim_server *s)
{
        if (s->server)
                sim_server_stop(s);
        sim_disk_free(s->disk);
}
