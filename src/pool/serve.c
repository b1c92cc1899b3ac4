/* The programs that clients, bricks and daemons ask on TCP 24007: dump, handshake, port map (spec: wire.md §4.3–4.5,
 * §5.1, §5.2, §5.8). Everything is answered at once from memory. Loop thread.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"
#include "pool/host.h"
#include "pool/pool.h"
#include "proto/handshake.h"
#include "volfile/key.h"

#define COMPONENT "clients"
#define CONNECTIONS_MAX 65536u /* a client holds one, and one more per brick while it asks for ports */
#define RECORD_MAX (64 * KIB)  /* nothing a client asks here is large */
#define ARENA_MAX (4 * MIB)

/* One call being answered. */
struct query {
        struct pool *pool;
        struct rpc_server_conn *conn;
        const struct rpc_call *call;
        struct arena arena;
};

typedef void (*query_fn)(struct query *q);

/* Decodes the arguments; on failure the call is rejected. */
static bool query_decode(struct query *q, const struct msg_desc *desc, void *ret)
{
        struct xdr_reader r = xdr_reader_of(q->call->args.data, q->call->args.len);
        if (msg_decode(desc, &r, &q->arena, ret) == 0)
                return true;
        rpc_conn_reject(q->conn, q->call->xid, RPC_GARBAGE_ARGS);
        return false;
}

static void query_reply(struct query *q, const struct msg_desc *desc, const void *msg)
{
        rpc_conn_reply(q->conn, q->call->xid, desc, msg);
}

/* ---- dump -------------------------------------------------------------------------------------------------------- */

static void answer_dump(struct query *q)
{
        static struct program_entry programs[] = {
                {STR("mortar portmap"), PORTMAP_PROGRAM, PORTMAP_VERSION},
                {STR("mortar handshake"), HANDSHAKE_PROGRAM, HANDSHAKE_VERSION},
                {STR("mortar dump"), DUMP_PROGRAM, DUMP_VERSION},
        };
        struct dump_req req;
        if (!query_decode(q, &dump_req_desc, &req))
                return;
        struct dump_rep rep = {.programs = {programs, ELEMENTSOF(programs)}};
        query_reply(q, &dump_rep_desc, &rep);
}

static void answer_ping(struct query *q)
{
        struct ping_rep rep = {0};
        query_reply(q, &ping_rep_desc, &rep);
}

/* ---- volfiles ---------------------------------------------------------------------------------------------------- */

static int brick_of_key(const struct volume *v, const struct volfile_key *key, size_t *ret)
{
        for (size_t i = 0; i < v->n_bricks; i++)
                if (volfile_key_is_brick(key, v->bricks[i].host, v->bricks[i].path)) {
                        *ret = i;
                        return 0;
                }
        return -ENOENT;
}

static bool peer_is_local(const struct rpc_server_conn *c)
{
        struct address peer;
        return rpc_conn_peer(c, &peer) == 0 && host_address_is_local((const struct sockaddr *)&peer.sa);
}

/* The volfiles of bricks and daemons hold the credentials of trusted clients: they are for members of the pool only. */
static int make_volfile(struct query *q, const struct volume *v, const struct volfile_key *key, struct buf *out,
                        struct error *e)
{
        struct volume_spec spec;
        size_t brick;
        bool member = peer_is_local(q->conn);
        int r = volume_describe(v, &q->arena, &spec);
        if (r < 0)
                return r;
        if (key->kind == VOLFILE_CLIENT)
                return generate_client(&spec, member ? CLIENT_TRUSTED : CLIENT_PLAIN, out, e);
        if (!member)
                return -ENOENT;
        if (key->kind == VOLFILE_SHD && v->type != VOLUME_DISTRIBUTE)
                return generate_shd(&spec, out, e);
        if (key->kind == VOLFILE_BRICK && brick_of_key(v, key, &brick) == 0)
                return generate_brick(&spec, brick, out, e);
        return -ENOENT;
}

/* Whether the client understands the volume (wire.md §5.1). */
static int check_op_version(const struct dict *xdata, const struct volume *v)
{
        int64_t min = 1, max = 1;
        if (!xdata->null) {
                int r = dict_get_int(xdata, "min-op-version", &min);
                if (r == 0)
                        r = dict_get_int(xdata, "max-op-version", &max);
                if (r < 0)
                        return -ENOENT;
        }
        return min <= v->client_op_version && max >= v->client_op_version ? 0 : -EOPNOTSUPP;
}

/* A self-heal daemon writes its pid there when it has its volfile, and ends when it cannot. */
static int add_pidfile(struct query *q, const struct volume *v, struct dict *xdata)
{
        char id[UUID_TEXT_SIZE];
        const char *path = arena_printf(&q->arena, "%s/shd-%s.pid", q->pool->run_dir, gfid_format(&v->id, id));
        return path ? dict_add_str(xdata, &q->arena, "pidfile", path) : -ENOMEM;
}

static int getspec(struct query *q, const struct getspec_req *req, struct buf *out, struct dict *xdata, struct error *e)
{
        struct volfile_key key;
        int r = volfile_key_parse(req->key.s, &key);
        if (r < 0)
                return r == -ENAMETOOLONG ? -EINVAL : -ENOENT;
        const struct volume *v = volume_set_find(&q->pool->volumes, key.volume);
        if (!v)
                return -ENOENT;
        r = check_op_version(&req->xdata, v);
        if (r == 0)
                r = make_volfile(q, v, &key, out, e);
        return r == 0 && key.kind == VOLFILE_SHD ? add_pidfile(q, v, xdata) : r;
}

static void answer_getspec(struct query *q)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        struct getspec_req req;
        struct error why = {0};
        if (!query_decode(q, &getspec_req_desc, &req))
                return;
        struct getspec_rep rep = {.spec = STR(""), .xdata = DICT_NULL};
        int r = getspec(q, &req, &text, &rep.xdata, &why);
        const char *spec = r == 0 ? buf_cstr(&text) : NULL;
        if (spec) {
                rep.op_ret = (int32_t)text.len;
                rep.spec = (struct str){spec, (uint32_t)text.len};
        } else {
                rep.op_ret = -1;
                rep.op_errno = r < 0 ? -r : ENOMEM;
                log_info(COMPONENT, "no volfile for \"%s\": %s", req.key.s,
                         why.code ? why.text : strerror(rep.op_errno));
        }
        query_reply(q, &getspec_rep_desc, &rep);
}

/* ---- the rest of the handshake ----------------------------------------------------------------------------------- */

/* The volume that a dict with "volname" means; NULL: none. */
static const struct volume *volume_of_dict(struct query *q, const struct dict *dict)
{
        struct str name;
        if (dict_get_str(dict, &q->arena, "volname", &name) < 0)
                return NULL;
        return volume_set_find(&q->pool->volumes, name.s);
}

static void answer_info(struct query *q, bool snapshots)
{
        struct get_volume_info_req req;
        if (!query_decode(q, &get_volume_info_req_desc, &req))
                return;
        struct get_volume_info_rep rep = {.op_errstr = STR(""), .dict = DICT_NULL};
        const struct volume *v = volume_of_dict(q, &req.dict);
        char id[UUID_TEXT_SIZE];
        int r = -EINVAL;
        if (v && snapshots)
                r = dict_add_str(&rep.dict, &q->arena, "snap-count", "0");
        else if (v)
                r = dict_add_str(&rep.dict, &q->arena, "volume_id", gfid_format(&v->id, id));
        if (r < 0) {
                rep.op_ret = -1;
                rep.op_errno = -r;
        }
        query_reply(q, &get_volume_info_rep_desc, &rep);
}

static void answer_volume_info(struct query *q)
{
        answer_info(q, false);
}

static void answer_snapshot_info(struct query *q)
{
        answer_info(q, true);
}

static void answer_event(struct query *q)
{
        struct event_notify_req req;
        if (!query_decode(q, &event_notify_req_desc, &req))
                return;
        struct event_notify_rep rep = {.dict = DICT_NULL};
        query_reply(q, &event_notify_rep_desc, &rep);
}

/* ---- port map ---------------------------------------------------------------------------------------------------- */

static void answer_port(struct query *q)
{
        struct portbybrick_req req;
        struct brick_state state;
        if (!query_decode(q, &portbybrick_req_desc, &req))
                return;
        struct portbybrick_rep rep = {.op_ret = -1};
        if (supervisor_state(q->pool->supervisor, req.brick.s, &state) == 0 && state.online)
                rep = (struct portbybrick_rep){.port = state.port};
        query_reply(q, &portbybrick_rep_desc, &rep);
}

/* Our bricks report through their control socket; who signs in here is thanked and changes nothing. */
static void answer_sign(struct query *q)
{
        struct status_rep rep = {0};
        query_reply(q, &status_rep_desc, &rep);
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

#define SERVED(S)                                                                                                      \
        S(DUMP_PROGRAM, DUMP_VERSION, DUMP_DUMP, answer_dump)                                                          \
        S(DUMP_PROGRAM, DUMP_VERSION, DUMP_PING, answer_ping)                                                          \
        S(HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_GETSPEC, answer_getspec)                                     \
        S(HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_EVENT_NOTIFY, answer_event)                                  \
        S(HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_GET_VOLUME_INFO, answer_volume_info)                         \
        S(HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_GET_SNAPSHOT_INFO, answer_snapshot_info)                     \
        S(PORTMAP_PROGRAM, PORTMAP_VERSION, PORTMAP_PORTBYBRICK, answer_port)                                          \
        S(PORTMAP_PROGRAM, PORTMAP_VERSION, PORTMAP_SIGNIN, answer_sign)                                               \
        S(PORTMAP_PROGRAM, PORTMAP_VERSION, PORTMAP_SIGNOUT, answer_sign)

static const struct {
        uint32_t prog, vers, proc;
        query_fn answer;
} served[] = {
#define SERVED_ROW_(prog, vers, proc, answer) {prog, vers, proc, answer},
        SERVED(SERVED_ROW_)};

/* The answer to a call that no row matches: what of it is unknown. */
static enum rpc_status mismatch(const struct rpc_call *call)
{
        enum rpc_status status = RPC_PROG_UNAVAIL;
        for (size_t i = 0; i < ELEMENTSOF(served); i++) {
                if (served[i].prog != call->prog)
                        continue;
                if (served[i].vers == call->vers)
                        return RPC_PROC_UNAVAIL;
                status = RPC_PROG_MISMATCH;
        }
        return status;
}

static void on_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct query q = {.pool = arg, .conn = c, .call = call, .arena = ARENA_INIT(ARENA_MAX)};
        for (size_t i = 0; i < ELEMENTSOF(served); i++)
                if (served[i].prog == call->prog && served[i].vers == call->vers && served[i].proc == call->proc) {
                        served[i].answer(&q);
                        arena_done(&q.arena);
                        return;
                }
        rpc_conn_reject(c, call->xid, mismatch(call));
}

static void notify_one(struct rpc_server_conn *c, void *arg)
{
        (void)arg;
        rpc_conn_callback(c, CALLBACK_PROGRAM, CALLBACK_VERSION, CALLBACK_FETCHSPEC, NULL, NULL);
}

void serve_notify(struct pool *p)
{
        if (p->clients)
                rpc_server_each(p->clients, notify_one, NULL);
}

/* Half of the descriptors at most: the others are for brick processes, state and the command line. */
static uint32_t connections_max(void)
{
        struct rlimit l;
        if (getrlimit(RLIMIT_NOFILE, &l) < 0)
                l.rlim_cur = 1024;
        return (uint32_t)MIN(l.rlim_cur / 2, (rlim_t)CONNECTIONS_MAX);
}

static void on_tls(struct rpc_server_conn *c, void *arg)
{
        struct address peer;
        char text[ADDRESS_TEXT_MAX] = "";
        if (rpc_conn_peer(c, &peer) == 0)
                (void)address_format(&peer, text);
        log_warning(COMPONENT, "client %s speaks TLS, and management is not encrypted here: it is turned away. Remove "
                    "/var/lib/glusterd/secure-access there, or make it here and start mortard again", text);
}

static int wrap(struct stream *accepted, void *arg, struct stream **ret)
{
        struct pool *p = arg;
        return secure_access_wrap(&p->secure_access, accepted, ret);
}

int serve_clients(struct pool *p, const struct address *at)
{
        static const struct rpc_server_handler handler = {.on_call = on_call, .on_tls = on_tls, .wrap = wrap};
        const struct rpc_server_limits limits = {.record = RECORD_MAX, .connections = connections_max()};
        return rpc_server_new(p->loop, at, &handler, &limits, p, &p->clients);
}
