/* The small programs of a brick: DUMP and the handshake with SETVOLUME (spec: wire.md §4.3, §5.3–5.5, §1.4).
 *
 * Runs on the control loop for a connection that has no brick yet, and on a lane's leader afterwards. Nothing here
 * touches a disk or waits. What SETVOLUME asks for is checked here; the session itself is opened on the lane.
 */
#include "proto/handshake.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "brick/doorman.h"
#include "brick/lender.h"
#include "brick/server.h"
#include "brick/transport.h"
#include "proto/chain.h"
#include "proto/fop.h"
#include "proto/local_read.h"

#define LAST_RESERVED_PORT 1023
#define OP_VERSION_UNKNOWN 1u

/* ---- SETVOLUME: reading the request ------------------------------------------------------------------------------ */

struct setvolume {
        const char *subvolume, *client_uid, *volume_id, *subdir, *username, *password, *process_name, *client_version;
        bool borrows; /* wants to be lent files */
        int64_t fops_version, mgmt_version, op_version;
};

struct refusal {
        int error; /* errno for the client */
        char text[ERROR_TEXT_MAX];
};

static bool refuse(struct refusal *r, int error, const char *format, ...) _printf_(3, 4);
static bool refuse(struct refusal *r, int error, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(r->text, sizeof r->text, format, ap);
        va_end(ap);
        r->error = error;
        return false;
}

static const char *text_of(const struct dict *d, struct arena *a, const char *key)
{
        struct str s;
        return dict_get_str(d, a, key, &s) == 0 ? s.s : NULL;
}

static int64_t number_of(const struct dict *d, const char *key, int64_t missing)
{
        int64_t n;
        return dict_get_int(d, key, &n) == 0 ? n : missing;
}

static void setvolume_read(const struct dict *d, struct arena *a, struct setvolume *ret)
{
        *ret = (struct setvolume){
                .subvolume = text_of(d, a, "remote-subvolume"),
                .client_uid = text_of(d, a, "process-uuid"),
                .volume_id = text_of(d, a, "volume-id"),
                .subdir = text_of(d, a, "subdir-mount"),
                .username = text_of(d, a, "username"),
                .password = text_of(d, a, "password"),
                .process_name = text_of(d, a, "process-name"),
                .client_version = text_of(d, a, "client-version"),
                .fops_version = number_of(d, "fops-version", 0),
                .mgmt_version = number_of(d, "mgmt-version", 0),
                .op_version = number_of(d, "opversion", OP_VERSION_UNKNOWN),
                .borrows = dict_has(d, LOCAL_READ_ASK),
        };
}

/* ---- SETVOLUME: judging it --------------------------------------------------------------------------------------- */

static bool request_is_whole(const struct setvolume *v, struct refusal *r)
{
        if (!v->client_uid || !*v->client_uid || strlen(v->client_uid) > CONN_CLIENT_UID_MAX)
                return refuse(r, EINVAL, "UUID not specified");
        if (v->fops_version != FOP_PROGRAM)
                return refuse(r, EINVAL, "version mismatch: client(%lld) - client-mgmt(%lld)",
                              (long long)v->fops_version, (long long)v->mgmt_version);
        if (!v->subvolume || !*v->subvolume)
                return refuse(r, EINVAL, "No remote-subvolume option specified");
        if (v->subdir && (v->subdir[0] != '/' || strlen(v->subdir) > PATH_LIMIT))
                return refuse(r, ENOENT, "subdirectory for mount \"%s\" is not found", v->subdir);
        return true;
}

static bool volume_is_right(const struct setvolume *v, const struct export *x, struct refusal *r)
{
        if (!v->volume_id)
                return true;
        struct gfid id;
        if (gfid_parse(v->volume_id, strlen(v->volume_id), &id) == 0 && gfid_equal(&id, &x->config.volume_id))
                return true;
        return refuse(r, EINVAL, "Volume-ID different, possible case of same brick re-used in another volume");
}

static bool brick_is_up(const struct export *x, struct refusal *r)
{
        switch (x->state) {
        case EXPORT_UP:
                return !x->drain || refuse(r, EAGAIN, "brick %s is being stopped. Try again later", x->config.path);
        case EXPORT_OPENING:
                return refuse(r, EAGAIN, "brick %s is being opened. Try again later", x->config.path);
        case EXPORT_DOWN:
                return refuse(r, EAGAIN, "Not received child_up for this xlator");
        case EXPORT_CLOSING:
                break;
        }
        return refuse(r, ENOENT, "remote-subvolume \"%s\" is not found", x->config.path);
}

/* A volume is for clients with TLS or for clients without. The error makes stock clients try again, and not give up a
 * mount that works again once its new volfile has arrived. */
static bool transport_is_right(const struct conn *c, const struct setvolume *v, const struct export *x,
                               struct refusal *r)
{
        bool same = x->config.tls == (c->tls != NULL);
        if (same && (!c->tls || doorman_believes(c->process->doorman, c)))
                return true;
        const char *what = same ? "its certificate was judged by files or rules that are no longer in use: connect again"
                           : x->config.tls ? "it does not speak TLS, and server.ssl is on: set client.ssl on as well"
                                         : "it speaks TLS, and server.ssl is off: set it on, or client.ssl off";
        log_warning("handshake", "Client %s (%s) was refused brick %s: %s.", c->peer, v->client_uid, x->config.path,
                    what);
        return refuse(r, EINVAL, "Refused by brick %s: the client's connection: %s", x->config.path, what);
}

static bool client_may_in(const struct conn *c, const struct setvolume *v, const struct export *x, bool *ret_trusted,
                          struct refusal *r)
{
        const struct auth_client client = {.peer = c->peer,
                                           .subdir = v->subdir,
                                           .certificate = transport_certificate(c),
                                           .trusted = auth_login(&x->config, v->username, v->password)};
        *ret_trusted = client.trusted;
        if (auth_check(&x->config, &client))
                return true;
        log_warning("handshake", "Client %s (%s%s%s%s) was refused brick %s: its address or certificate is not allowed.",
                    c->peer, v->client_uid, client.certificate ? ", certificate of '" : "",
                    client.certificate ? client.certificate : "", client.certificate ? "'" : "", x->config.path);
        return refuse(r, EACCES, "Authentication failed");
}

/* Which brick may this client have? NULL with *R set: none. Control loop. */
static struct export *setvolume_judge(struct conn *c, const struct setvolume *v, bool *ret_trusted, struct refusal *r)
{
        if (!request_is_whole(v, r))
                return NULL;
        struct export *x = export_find(c->process, v->subvolume);
        if (!x && c->process->stopping)
                (void)refuse(r, ENOENT, "remote-subvolume \"%s\" is not found", v->subvolume);
        else if (!x)
                (void)refuse(r, ENOENT, "Brick not found");
        if (!x || !brick_is_up(x, r))
                return NULL;
        if (!transport_is_right(c, v, x, r) || !client_may_in(c, v, x, ret_trusted, r))
                return NULL;
        return volume_is_right(v, x, r) ? x : NULL;
}

/* ---- SETVOLUME: answering ---------------------------------------------------------------------------------------- */

static void answer_refusal(struct conn *c, uint32_t xid, const struct refusal *r, struct arena *a)
{
        struct setvolume_rep rep = {.op_ret = -1, .op_errno = r->error, .dict = DICT_NULL};
        (void)dict_add_str(&rep.dict, a, "ERROR", r->text);
        (void)dict_add_str(&rep.dict, a, "process-uuid", c->process->uuid);
        conn_reply(c, xid, RPC_SUCCESS, &setvolume_rep_desc, &rep);
}

static void answer_welcome(struct conn *c, uint32_t xid, struct arena *a)
{
        char id[GFID_TEXT_LEN + 1];
        struct setvolume_rep rep = {.dict = DICT_NULL};
        int r = dict_add_str(&rep.dict, a, "transport-ptr", "1");
        if (r == 0)
                r = dict_add_str(&rep.dict, a, "clnt-lk-version", "0");
        if (r == 0)
                r = dict_add_str(&rep.dict, a, "process-uuid", c->process->uuid);
        if (r == 0)
                r = dict_add_str(&rep.dict, a, "ERROR", "Success");
        if (r == 0)
                r = dict_add_str(&rep.dict, a, "volume-id", gfid_format(brick_volume_id(c->export->brick), id));
        if (r == 0)
                r = dict_add_str(&rep.dict, a, "child_up", "1");
        if (r == 0)
                r = lender_tell(c, &rep.dict, a);
        if (r < 0)
                conn_shutdown(c);
        else
                conn_reply(c, xid, RPC_SUCCESS, &setvolume_rep_desc, &rep);
}

static char *copy_of(const char *s)
{
        return strdup(s ? s : "");
}

static struct welcome *welcome_new(uint32_t xid, const struct setvolume *v, bool trusted)
{
        _cleanup_(welcome_freep) struct welcome *w = calloc(1, sizeof *w);
        if (!w)
                return NULL;
        w->xid = xid;
        w->trusted = trusted;
        w->op_version = v->op_version > 0 && v->op_version <= UINT32_MAX ? (uint32_t)v->op_version : OP_VERSION_UNKNOWN;
        w->client_uid = copy_of(v->client_uid);
        w->subdir = copy_of(v->subdir);
        w->process_name = copy_of(v->process_name);
        w->client_version = copy_of(v->client_version);
        if (!w->client_uid || !w->subdir || !w->process_name || !w->client_version)
                return NULL;
        return TAKE_PTR(w);
}

void handshake_finish(struct conn *c, const struct welcome *w, int result, struct arena *a)
{
        struct refusal r;
        if (result == 0) {
                log_info("handshake", "Client %s (%s%sversion %s, at %s) uses brick %s%s%s.", w->client_uid,
                         w->process_name, *w->process_name ? ", " : "",
                         *w->client_version ? w->client_version : "unknown", c->peer, brick_path(c->export->brick),
                         *w->subdir ? ", directory " : "", w->subdir);
                answer_welcome(c, w->xid, a);
                return;
        }
        if (result == -ENOENT || result == -ENOTDIR)
                (void)refuse(&r, ENOENT, "subdirectory for mount \"%s\" is not found", w->subdir);
        else
                (void)refuse(&r, EAGAIN, "The session could not be opened: %s. Try again later", strerror(-result));
        answer_refusal(c, w->xid, &r, a);
}

/* A client that has its session may ask again for the same brick; everything else must go to a new connection. */
static void setvolume_again(struct conn *c, uint32_t xid, const struct setvolume *v, struct arena *a)
{
        struct refusal r;
        if (!request_is_whole(v, &r))
                answer_refusal(c, xid, &r, a);
        else if (atomic_load(&c->session) && streq(v->subvolume, brick_path(c->export->brick)))
                answer_welcome(c, xid, a);
        else if (refuse(&r, ENOENT, "Brick not found") == false)
                answer_refusal(c, xid, &r, a);
}

static void setvolume_first(struct conn *c, uint32_t xid, const struct setvolume *v, struct arena *a,
                            struct export **ret_export)
{
        struct refusal r;
        bool trusted = false;
        struct export *x = setvolume_judge(c, v, &trusted, &r);
        if (!x) {
                answer_refusal(c, xid, &r, a);
                return;
        }
        if (!x->config.options.allow_insecure && c->peer_port > LAST_RESERVED_PORT) {
                conn_reply(c, xid, RPC_DENIED_AUTH, NULL, NULL);
                return;
        }
        if (v->borrows && !x->config.tls)
                lender_invite(c);
        c->welcome = welcome_new(xid, v, trusted);
        c->trusted = trusted;
        c->subdir = copy_of(v->subdir);
        if (c->welcome && c->subdir)
                *ret_export = x;
        else
                conn_shutdown(c);
}

static void serve_setvolume(struct conn *c, const struct rpc_call *call, struct arena *a, struct export **ret_export)
{
        struct xdr_reader reader = xdr_reader_of(call->args.data, call->args.len);
        struct slice bytes = xdr_read_opaque(&reader, MIB);
        struct refusal r;
        struct dict d;
        struct setvolume v;
        if (reader.error) {
                conn_reply(c, call->xid, RPC_GARBAGE_ARGS, NULL, NULL);
                return;
        }
        if (dict_decode_old(bytes, a, &d) < 0) {
                (void)refuse(&r, EINVAL, "Internal error: failed to unserialize request dictionary");
                answer_refusal(c, call->xid, &r, a);
                return;
        }
        setvolume_read(&d, a, &v);
        if (ret_export)
                setvolume_first(c, call->xid, &v, a, ret_export);
        else
                setvolume_again(c, call->xid, &v, a);
}

/* ---- the other procedures ---------------------------------------------------------------------------------------- */

static void serve_ping(struct conn *c, const struct rpc_call *call)
{
        const struct ping_rep rep = {0};
        conn_reply(c, call->xid, RPC_SUCCESS, &ping_rep_desc, &rep);
}

static void serve_dump(struct conn *c, const struct rpc_call *call, struct arena *a)
{
        struct program_entry programs[] = {
                {STR("GlusterFS 4.x v1"), FOP_PROGRAM, FOP_VERSION},
                {STR("GF-DUMP"), DUMP_PROGRAM, DUMP_VERSION},
                {STR("GlusterFS Handshake"), HANDSHAKE_PROGRAM, HANDSHAKE_VERSION},
                {STR(CHAIN_PROGRAM_NAME), CHAIN_PROGRAM, CHAIN_VERSION},
        };
        struct xdr_reader reader = xdr_reader_of(call->args.data, call->args.len);
        struct dump_req req;
        if (msg_decode(&dump_req_desc, &reader, a, &req) < 0) {
                conn_reply(c, call->xid, RPC_GARBAGE_ARGS, NULL, NULL);
                return;
        }
        const struct dump_rep rep = {.programs = {programs, ELEMENTSOF(programs)}};
        conn_reply(c, call->xid, RPC_SUCCESS, &dump_rep_desc, &rep);
}

static void serve_getspec(struct conn *c, const struct rpc_call *call)
{
        const struct getspec_rep rep = {.op_ret = -1, .op_errno = ENOSYS, .spec = STR(""), .xdata = DICT_NULL};
        conn_reply(c, call->xid, RPC_SUCCESS, &getspec_rep_desc, &rep);
}

static void serve_set_lk_ver(struct conn *c, const struct rpc_call *call, struct arena *a)
{
        struct xdr_reader reader = xdr_reader_of(call->args.data, call->args.len);
        struct set_lk_ver_req req;
        if (msg_decode(&set_lk_ver_req_desc, &reader, a, &req) < 0) {
                conn_reply(c, call->xid, RPC_GARBAGE_ARGS, NULL, NULL);
                return;
        }
        const struct set_lk_ver_rep rep = {.lk_ver = req.lk_ver};
        conn_reply(c, call->xid, RPC_SUCCESS, &set_lk_ver_rep_desc, &rep);
}

static void serve_handshake(struct conn *c, const struct rpc_call *call, struct arena *a, struct export **ret_export)
{
        switch (call->proc) {
        case HANDSHAKE_SETVOLUME:
                serve_setvolume(c, call, a, ret_export);
                return;
        case HANDSHAKE_GETSPEC:
                serve_getspec(c, call);
                return;
        case HANDSHAKE_PING:
                serve_ping(c, call);
                return;
        case HANDSHAKE_SET_LK_VER:
                serve_set_lk_ver(c, call, a);
                return;
        }
        conn_reply(c, call->xid, RPC_PROC_UNAVAIL, NULL, NULL);
}

static void serve_dump_program(struct conn *c, const struct rpc_call *call, struct arena *a)
{
        if (call->proc == DUMP_DUMP)
                serve_dump(c, call, a);
        else if (call->proc == DUMP_PING)
                serve_ping(c, call);
        else
                conn_reply(c, call->xid, RPC_PROC_UNAVAIL, NULL, NULL);
}

/* ---- programs
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

/* True if no brick here would take a client from this port. Control loop. */
static bool port_is_refused(const struct conn *c)
{
        const struct export *x = c->process->exports;
        if (!x || c->peer_port <= LAST_RESERVED_PORT)
                return false;
        for (; x; x = x->next)
                if (x->config.options.allow_insecure)
                        return false;
        return true;
}

static enum rpc_status program_status(const struct rpc_call *call)
{
        static const struct {
                uint32_t program, version;
        } programs[] = {
                {DUMP_PROGRAM, DUMP_VERSION},
                {HANDSHAKE_PROGRAM, HANDSHAKE_VERSION},
                {FOP_PROGRAM, FOP_VERSION},
                {CHAIN_PROGRAM, CHAIN_VERSION},
        };
        for (size_t i = 0; i < ELEMENTSOF(programs); i++)
                if (programs[i].program == call->prog)
                        return programs[i].version == call->vers ? RPC_SUCCESS : RPC_PROG_MISMATCH;
        return RPC_PROG_UNAVAIL;
}

void handshake_serve(struct conn *c, const struct rpc_call *call, struct arena *a, struct export **ret_export)
{
        enum rpc_status status = program_status(call);
        if (ret_export && port_is_refused(c))
                status = RPC_DENIED_AUTH;
        if (status != RPC_SUCCESS)
                conn_reply(c, call->xid, status, NULL, NULL);
        else if (call->prog == DUMP_PROGRAM)
                serve_dump_program(c, call, a);
        else if (call->prog == HANDSHAKE_PROGRAM)
                serve_handshake(c, call, a, ret_export);
        else
                conn_reply(c, call->xid, fop_by_number(call->proc) ? RPC_GARBAGE_ARGS : RPC_PROC_UNAVAIL, NULL, NULL);
}
