/* A simulated node with a brick and a management daemon that knows its port (world.h).
 *
 * Each connection introduces itself with SETVOLUME and has a session then; its records go out through
 * rpc_conn_send_record(). Calls without an answer are remembered: a session that ends while a lock request waits never
 * answers it, but the connection wants each call answered once. Calls that the brick parks are served again from a
 * timer.
 */
#include "world.h"

#include "proto/chain.h"
#include "proto/handshake.h"
#include "rpc/record.h"

#define ARENA_MAX (16 * MIB)
#define FIRST_PORT 49152
#define MANAGEMENT_PORT 24007
#define UNANSWERED_MAX 4096

struct parked {
        struct parked *next;
        struct parked_call *call;
};

struct served {
        struct world_brick *brick;
        struct rpc_server_conn *conn;
        struct session *session;
        struct arena arena;
        struct parked *parked, **parked_tail;
        struct timer resume;
        uint32_t unanswered[UNANSWERED_MAX];
        unsigned n;
};

bool world_brick_is_dead(const struct world_brick *b)
{
        return b->dead || (b->doomed && sim_disk_fault_fired(b->disk));
}

/* ---- sessions -------------------------------------------------------------------------------------------------- */

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
        if (world_brick_is_dead(v->brick))
                return;
        if (rpc_direction(head) == RPC_REPLY)
                answered(v, (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7]);
        rpc_conn_send_record(v->conn, iov, n);
}

static struct parked_call *parked_take(struct served *v)
{
        struct parked *p = v->parked;
        if (!p)
                return NULL;
        struct parked_call *call = p->call;
        v->parked = p->next;
        if (!v->parked)
                v->parked_tail = &v->parked;
        free(p);
        return call;
}

static void resume_parked(struct timer *t)
{
        struct served *v = CONTAINER_OF(t, struct served, resume);
        struct parked_call *call;
        while ((call = parked_take(v)) != NULL) {
                session_resume(call, &v->arena);
                arena_reset(&v->arena);
        }
}

static bool on_resume(void *conn, struct parked_call *call)
{
        struct served *v = conn;
        struct parked *p = calloc(1, sizeof *p);
        assert_non_null(p);
        p->call = call;
        *v->parked_tail = p;
        v->parked_tail = &p->next;
        if (!timer_running(&v->resume))
                timer_start(sim_node_loop(v->brick->node), &v->resume, 0, resume_parked);
        return true;
}

static void on_close(struct rpc_server_conn *c, void *arg)
{
        struct served *v = rpc_conn_data(c);
        struct parked_call *call;
        (void)arg;
        if (!v)
                return;
        rpc_conn_set_data(c, NULL);
        timer_stop(&v->resume);
        while ((call = parked_take(v)) != NULL)
                session_forget(call);
        session_close(v->session);
        for (unsigned k = 0; k < v->n; k++)
                rpc_conn_reject(c, v->unanswered[k], RPC_SYSTEM_ERR);
        arena_done(&v->arena);
        free(v);
}

/* ---- handshake ------------------------------------------------------------------------------------------------- */

static const char *text_of(const struct dict *d, struct arena *a, const char *key)
{
        struct str s;
        return dict_get_str(d, a, key, &s) == 0 ? s.s : NULL;
}

static int session_begin(struct world_brick *b, struct rpc_server_conn *c, const struct dict *d, struct arena *a)
{
        if (b->refuse_clients)
                return -EACCES;
        const char *uuid = text_of(d, a, "process-uuid"), *path = text_of(d, a, "remote-subvolume");
        if (!uuid || !path || !streq(path, WORLD_BRICK_PATH) || !text_of(d, a, "fops-version"))
                return -EINVAL;
        struct served *v = calloc(1, sizeof *v);
        assert_non_null(v);
        *v = (struct served){.brick = b, .conn = c, .arena = ARENA_INIT(ARENA_MAX)};
        v->parked_tail = &v->parked;
        const struct session_config config = {.client_uid = uuid,
                                              .subdir = text_of(d, a, "subdir-mount"),
                                              .op_version = 100000,
                                              .send = on_send,
                                              .resume = on_resume,
                                              .conn = v};
        int r = session_open(b->brick, &config, &v->session);
        if (r == 0)
                rpc_conn_set_data(c, v);
        else
                free(v);
        return r;
}

static void serve_setvolume(struct world_brick *b, struct rpc_server_conn *c, const struct rpc_call *call)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct xdr_reader in = xdr_reader_of(call->args.data, call->args.len);
        struct setvolume_req req;
        struct setvolume_rep rep = {0};
        char id[GFID_TEXT_LEN + 1], instance[64];
        assert_int_equal(msg_decode(&setvolume_req_desc, &in, &a, &req), 0);
        b->handshakes++;
        int r = rpc_conn_data(c) ? -EALREADY : session_begin(b, c, &req.dict, &a);
        rep.op_ret = r < 0 ? -1 : 0;
        rep.op_errno = -r;
        (void)snprintf(instance, sizeof instance, "%s-%u", b->name, b->old_instance ? 0 : b->starts);
        assert_int_equal(dict_add_str(&rep.dict, &a, "ERROR",
                                      r == 0         ? "Success"
                                      : r == -EACCES ? "Authentication failed"
                                                     : "refused"),
                         0);
        assert_int_equal(dict_add_str(&rep.dict, &a, "process-uuid", instance), 0);
        assert_int_equal(dict_add_str(&rep.dict, &a, "volume-id", gfid_format(&b->world->volume_id, id)), 0);
        assert_int_equal(dict_add_str(&rep.dict, &a, "child_up", b->storage_down ? "0" : "1"), 0);
        rpc_conn_reply(c, call->xid, &setvolume_rep_desc, &rep);
}

static void serve_dump(struct rpc_server_conn *c, uint32_t xid, uint64_t program, uint64_t version, bool chain)
{
        struct program_entry programs[] = {{STR("program"), program, version},
                                           {STR("GF-DUMP"), DUMP_PROGRAM, DUMP_VERSION},
                                           {STR(CHAIN_PROGRAM_NAME), CHAIN_PROGRAM, CHAIN_VERSION}};
        const struct dump_rep rep = {.programs = {programs, chain ? 3 : 2}};
        rpc_conn_reply(c, xid, &dump_rep_desc, &rep);
}

static void count_steps(struct world_brick *b, const struct rpc_call *call)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct xdr_reader in = xdr_reader_of(call->args.data, call->args.len);
        struct chain_req req;
        struct chain_step_part part;
        b->chains++;
        assert_int_equal(msg_decode(&chain_req_desc, &in, &a, &req), 0);
        in = xdr_reader_of(req.steps.data, req.steps.len);
        for (uint32_t i = 0; i < req.count; i++) {
                assert_int_equal(msg_decode(&chain_step_part_desc, &in, &a, &part), 0);
                b->calls[part.fop]++;
        }
}

/* Whether somebody wanted the operation to fail: it is answered, and not carried out. All replies begin alike. */
static bool is_refused(struct world_brick *b, struct rpc_server_conn *c, const struct rpc_call *call)
{
        union {
                struct {
                        int32_t op_ret, op_errno;
                } head;
#define REP_(number, NAME, name) struct name##_fop_rep name;
                FOPS(REP_)
        } rep = {0};
        const struct fop_desc *desc = fop_by_number(call->proc);
        int error = b->world->on_fop && desc ? b->world->on_fop(b, call->proc, b->world->fop_arg) : 0;
        if (error == 0)
                return false;
        rep.head.op_ret = -1;
        rep.head.op_errno = error;
        rpc_conn_reply(c, call->xid, desc->rep, &rep);
        return true;
}

static void serve_fop(struct world_brick *b, struct rpc_server_conn *c, const struct rpc_call *call)
{
        struct served *v = rpc_conn_data(c);
        bool chain = call->prog == CHAIN_PROGRAM;
        if (!v || (!chain && call->proc >= FOP_MAX)) {
                rpc_conn_reject(c, call->xid, RPC_GARBAGE_ARGS);
                return;
        }
        if (!chain && is_refused(b, c, call))
                return;
        assert_true(v->n < UNANSWERED_MAX);
        v->unanswered[v->n++] = call->xid;
        bool watch = chain && call->proc == CHAIN_WATCH_INDEX;
        b->messages += !watch;
        if (chain && !watch)
                count_steps(b, call);
        else if (!chain)
                b->calls[call->proc]++;
        session_serve(v->session, call, &v->arena);
        arena_reset(&v->arena);
}

static bool is_fop(const struct world_brick *b, const struct rpc_call *call)
{
        return (call->prog == FOP_PROGRAM && call->vers == FOP_VERSION) ||
               (call->prog == CHAIN_PROGRAM && call->vers == CHAIN_VERSION && !b->world->config.no_chain);
}

static void on_brick_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct world_brick *b = arg;
        struct ping_rep pong = {0};
        if (world_brick_is_dead(b))
                rpc_conn_reject(c, call->xid, RPC_SYSTEM_ERR);
        else if (is_fop(b, call))
                serve_fop(b, c, call);
        else if (call->prog == DUMP_PROGRAM && call->proc == DUMP_PING)
                rpc_conn_reply(c, call->xid, &ping_rep_desc, &pong);
        else if (call->prog == DUMP_PROGRAM && call->proc == DUMP_DUMP)
                serve_dump(c, call->xid, FOP_PROGRAM, FOP_VERSION, !b->world->config.no_chain);
        else if (call->prog == HANDSHAKE_PROGRAM && call->proc == HANDSHAKE_SETVOLUME)
                serve_setvolume(b, c, call);
        else
                rpc_conn_reject(c, call->xid, RPC_PROG_UNAVAIL);
}

static void serve_getspec(struct world_brick *b, struct rpc_server_conn *c, const struct rpc_call *call)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct xdr_reader in = xdr_reader_of(call->args.data, call->args.len);
        struct getspec_req req;
        assert_int_equal(msg_decode(&getspec_req_desc, &in, &a, &req), 0);
        bool known = str_is(req.key, "/" WORLD_VOLUME) || str_is(req.key, "shd/" WORLD_VOLUME);
        const char *text = known ? b->world->volfile : "";
        const struct getspec_rep rep = {.op_ret = known ? (int32_t)strlen(text) : -1,
                                        .op_errno = known ? 0 : ENOENT,
                                        .spec = str_of(text),
                                        .xdata = DICT_NULL};
        rpc_conn_reply(c, call->xid, &getspec_rep_desc, &rep);
}

static void tell_one(struct rpc_server_conn *c, void *arg)
{
        (void)arg;
        rpc_conn_callback(c, CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_FETCHSPEC, NULL, NULL);
}

void world_brick_tell_change(struct world_brick *b)
{
        rpc_server_each(b->management, tell_one, NULL);
}

static void on_management_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct world_brick *b = arg;
        struct ping_rep pong = {0};
        const struct portbybrick_rep port = {.op_ret = b->brick ? 0 : -1, .port = b->brick ? b->port : 0};
        if (call->prog == DUMP_PROGRAM && call->proc == DUMP_PING) {
                rpc_conn_reply(c, call->xid, &ping_rep_desc, &pong);
        } else if (call->prog == DUMP_PROGRAM && call->proc == DUMP_DUMP) {
                serve_dump(c, call->xid, PORTMAP_PROGRAM, PORTMAP_VERSION, false);
        } else if (call->prog == PORTMAP_PROGRAM && call->proc == PORTMAP_PORTBYBRICK) {
                b->asked_ports++;
                rpc_conn_reply(c, call->xid, &portbybrick_rep_desc, &port);
        } else if (call->prog == HANDSHAKE_PROGRAM && call->proc == HANDSHAKE_GETSPEC) {
                serve_getspec(b, c, call);
        } else {
                rpc_conn_reject(c, call->xid, RPC_PROG_UNAVAIL);
        }
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void set_option(struct brick_config *c, const char *name, const char *value)
{
        assert_int_equal(brick_options_set(&c->options, name, value, NULL), 0);
}

static void open_brick(struct world_brick *b)
{
        struct error e = {0};
        struct brick_config config = {.path = WORLD_BRICK_PATH,
                                      .volume = WORLD_VOLUME,
                                      .volume_id = b->world->volume_id,
                                      .hostname = b->name};
        brick_options_init(&config.options);
        set_option(&config, "xattrop-pending-watchlist", "trusted.afr." WORLD_VOLUME "-");
        if (b->arbiter)
                set_option(&config, "arbiter", "on");
        if (b->world->config.cache_invalidation)
                set_option(&config, "cache-invalidation", "on");
        if (brick_open(sim_disk_ops(b->disk), &config, &b->brick, &e) < 0)
                fail_msg("brick_open: %s", e.text);
}

static struct rpc_server *serve_at(struct world_brick *b, uint16_t port, const struct rpc_server_handler *handler)
{
        static const struct rpc_server_limits limits = {.outstanding = UNANSWERED_MAX};
        struct rpc_server *s = NULL;
        struct address at;
        char text[16];
        (void)snprintf(text, sizeof text, "*:%u", (unsigned)port);
        assert_int_equal(address_parse(text, &at), 0);
        assert_int_equal(rpc_server_new(sim_node_loop(b->node), &at, handler, &limits, b, &s), 0);
        return s;
}

static const struct rpc_server_handler brick_handler = {.on_call = on_brick_call, .on_close = on_close};
static const struct rpc_server_handler management_handler = {.on_call = on_management_call};

void world_brick_start(struct world_brick *b)
{
        if (b->brick)
                return;
        if (!sim_node_up(b->node))
                sim_node_restart(b->node);
        open_brick(b);
        b->port = (uint16_t)(FIRST_PORT + b->starts++ % 1000);
        b->server = serve_at(b, b->port, &brick_handler);
        if (!b->management)
                b->management = serve_at(b, MANAGEMENT_PORT, &management_handler);
}

/* The daemon goes on. */
void world_brick_stop(struct world_brick *b)
{
        struct brick_stats stats;
        if (!b->brick)
                return;
        b->server = rpc_server_free(b->server);
        brick_get_stats(b->brick, &stats);
        assert_int_equal(stats.sessions, 0);
        assert_int_equal(stats.fds, 0);
        assert_int_equal(stats.locks, 0);
        assert_int_equal(stats.locks_waiting, 0);
        b->brick = brick_close(b->brick);
        assert_int_equal(sim_disk_open_count(b->disk), 0);
}

/* Memory of the dead process is released after its disk is gone: whatever the release tries finds no descriptor. */
void world_brick_crash(struct world_brick *b, bool power)
{
        if (!b->brick)
                return;
        b->crashes++;
        sim_node_crash(b->node);
        if (power)
                sim_disk_power_cut(b->disk);
        else
                sim_disk_process_crash(b->disk);
        b->dead = true;
        b->server = rpc_server_free(b->server);
        b->management = rpc_server_free(b->management);
        b->brick = brick_close(b->brick);
        b->dead = false;
        world_brick_doom(b, 0);
        assert_int_equal(sim_disk_open_count(b->disk), 0);
}

void world_brick_doom(struct world_brick *b, uint64_t n)
{
        sim_disk_faults_clear(b->disk);
        b->doomed = n > 0;
        if (n > 0)
                sim_disk_stop_after(b->disk, n);
}

void world_brick_sync(struct world_brick *b)
{
        struct disk *d = world_disk(b);
        int fd = disk_open(d, AT_FDCWD, "/synced", O_CREAT | O_RDWR, 0600);
        assert_true(fd >= 0);
        (void)disk_chmod(d, fd, "", 0600); /* a change after all others */
        assert_int_equal(disk_sync(d, fd, false), 0);
        assert_int_equal(disk_close(d, fd), 0);
}

void world_brick_init(struct world_brick *b, struct world *w, unsigned index)
{
        struct address a;
        char text[ADDRESS_TEXT_MAX];
        *b = (struct world_brick){
                .world = w, .index = index, .arbiter = w->config.layout == WORLD_ARBITER && index == 2};
        (void)snprintf(b->name, sizeof b->name, "brick%u", index);
        assert_int_equal(sim_node_new(w->sim, b->name, &b->node), 0);
        assert_int_equal(sim_address(w->sim, b->name, MANAGEMENT_PORT, &a), 0);
        address_format(&a, text);
        *strrchr(text, ':') = '\0';
        (void)snprintf(b->address, sizeof b->address, "%.31s", text);
        assert_int_equal(sim_disk_new(w->config.seed * WORLD_BRICKS_MAX + index, 1 * GIB, &b->disk), 0);
        struct disk *d = world_disk(b);
        assert_int_equal(disk_mkdir(d, AT_FDCWD, WORLD_BRICK_PATH, 0755), 0);
        assert_int_equal(disk_setxattr(d, AT_FDCWD, WORLD_BRICK_PATH, "trusted.glusterfs.volume-id", w->volume_id.b,
                                       sizeof w->volume_id.b, 0),
                         0);
        world_brick_start(b);
}

void world_brick_done(struct world_brick *b)
{
        world_brick_stop(b);
        b->management = rpc_server_free(b->management);
        sim_disk_free(b->disk);
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

struct disk *world_disk(struct world_brick *b)
{
        return sim_disk_ops(b->disk);
}

static const char *path_of(const char *path, char to[static PATH_LIMIT + 1])
{
        (void)snprintf(to, PATH_LIMIT + 1, "%s%s", WORLD_BRICK_PATH, streq(path, "/") ? "" : path);
        return to;
}

bool world_exists(struct world_brick *b, const char *path)
{
        struct stat st;
        char to[PATH_LIMIT + 1];
        return disk_stat(world_disk(b), AT_FDCWD, path_of(path, to), &st) == 0;
}

ssize_t world_read(struct world_brick *b, const char *path, void *data, size_t size)
{
        char to[PATH_LIMIT + 1];
        struct disk *d = world_disk(b);
        int fd = disk_open(d, AT_FDCWD, path_of(path, to), O_RDONLY, 0);
        if (fd < 0)
                return fd;
        const struct iovec iov = {data, size};
        ssize_t n = disk_preadv(d, fd, &iov, 1, 0);
        (void)disk_close(d, fd);
        return n;
}

ssize_t world_xattr(struct world_brick *b, const char *path, const char *name, void *value, size_t size)
{
        char to[PATH_LIMIT + 1];
        return disk_getxattr(world_disk(b), AT_FDCWD, path_of(path, to), name, value, size);
}
