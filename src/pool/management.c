/* The management program on the unix socket (pool/management.h).
 *
 * A request is parsed on arrival and runs in a fibre of its own, because changes wait for disks and processes. Only
 * peers with user id 0 are answered. Loop thread.
 */
#include "pool/management.h"

#include <stdio.h>

#include "base/log.h"
#include "pool/heal.h"
#include "pool/metrics.h"
#include "pool/options.h"
#include "pool/pool.h"
#include "pool/renew.h"
#include "pool/request.h"

#define COMPONENT "management"
#define ARENA_MAX (2 * MANAGEMENT_JSON_MAX)

/* ---- what is shown ----------------------------------------------------------------------------------------------- */

static json_t *show_brick(const struct pool *p, const struct volume *v, size_t i)
{
        static const struct gfid nobody;
        const struct brick_record *b = &v->bricks[i];
        char name[PATH_LIMIT + 512], uuid[UUID_TEXT_SIZE];
        bool arbiter = v->arbiter_count > 0 && (i + 1) % v->set_size == 0;
        return json_pack("{s:s,s:s,s:s,s:s,s:b,s:b}", "name", brick_text(b, name, sizeof name), "host", b->host, "path",
                         b->path, "uuid", gfid_format(b->local ? store_node(p->store) : &nobody, uuid), "local",
                         b->local, "arbiter", arbiter);
}

static json_t *show_bricks(const struct pool *p, const struct volume *v)
{
        json_t *list = json_array();
        for (size_t i = 0; i < v->n_bricks; i++)
                (void)json_array_append_new(list, show_brick(p, v, i));
        return list;
}

static json_t *show_options(const struct volume *v)
{
        json_t *list = json_array();
        for (size_t i = 0; i < v->n_options; i++)
                (void)json_array_append_new(
                        list, json_pack("{s:s,s:s}", "name", v->options[i].key, "value", v->options[i].value));
        return list;
}

static json_t *show_volume(const struct pool *p, const struct volume *v)
{
        char id[UUID_TEXT_SIZE];
        bool replicate = v->type == VOLUME_REPLICATE, disperse = v->type == VOLUME_DISPERSE;
        return json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:o,s:o}", "name", v->name, "id",
                         gfid_format(&v->id, id), "type", volume_type_name(v), "status", volume_status_name(v->status),
                         "version", (json_int_t)v->version, "transport", "tcp", "brick_count", (int)v->n_bricks,
                         "replica_count", replicate ? (int)v->set_size : 1, "arbiter_count", (int)v->arbiter_count,
                         "disperse_count", disperse ? (int)v->set_size : 0, "redundancy_count", (int)v->redundancy,
                         "snapshot_count", 0, "bricks", show_bricks(p, v), "options", show_options(v));
}

static json_t *show_entry(const struct pool *p, const struct volume_entry *entry)
{
        if (entry->volume)
                return show_volume(p, entry->volume);
        return json_pack("{s:s,s:s}", "name", entry->name, "error", entry->why.text);
}

static json_t *show_brick_status(const struct pool *p, const struct brick_record *b)
{
        char name[PATH_LIMIT + 512];
        struct brick_state state;
        if (supervisor_state(p->supervisor, b->path, &state) < 0)
                state = (struct brick_state){.error = "the brick is not wanted"};
        return json_pack("{s:s,s:s,s:s,s:b,s:i,s:i,s:s}", "name", brick_text(b, name, sizeof name), "host", b->host,
                         "path", b->path, "online", state.online, "port", state.port, "pid", (int)state.pid, "error",
                         state.error);
}

static json_t *show_status(const struct pool *p, const struct volume *v)
{
        json_t *bricks = json_array();
        for (size_t i = 0; v->status == VOLUME_STARTED && i < v->n_bricks; i++)
                if (v->bricks[i].local)
                        (void)json_array_append_new(bricks, show_brick_status(p, &v->bricks[i]));
        bool started = v->status == VOLUME_STARTED;
        return json_pack("{s:s,s:b,s:o,s:o*}", "name", v->name, "started", started, "bricks", bricks, "self_heal",
                         started ? heal_show_status(p, v) : NULL);
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static int argument_volume(const json_t *args, const char **ret, struct error *e)
{
        const char *name = json_string_value(json_object_get(args, "volume"));
        if (!name || !*name)
                return error_set(e, -EINVAL, "the request names no volume");
        *ret = name;
        return 0;
}

static bool argument_force(const json_t *args)
{
        return json_is_true(json_object_get(args, "force"));
}

/* ---- the commands ------------------------------------------------------------------------------------------------ */

/* Each gets the request and, with 0, gives a result. */

static int show_after(struct pool *p, const char *name, json_t **ret, struct error *e)
{
        struct volume *v = NULL;
        int r = pool_find(p, name, &v, e);
        if (r == 0)
                *ret = json_pack("{s:o}", "volume", show_volume(p, v));
        return r;
}

static int command_volume_create(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        struct volume *v = NULL;
        char name[sizeof v->name];
        int r = volume_of_request(p->loop, args, &v, e);
        if (r < 0)
                return r;
        memcpy(name, v->name, sizeof name);
        r = operation_create(self, p, v, argument_force(args) ? CHECK_FORCE : 0, e);
        return r < 0 ? r : show_after(p, name, ret, e);
}

static int apply_set(struct volume *v, void *arg, struct error *e)
{
        return options_set(v, json_object_get(arg, "options"), e);
}

static int command_volume_set(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        const char *name = NULL;
        int r = argument_volume(args, &name, e);
        const struct option_change change = {.apply = apply_set, .arg = (void *)(uintptr_t)args};
        if (r == 0)
                r = operation_options(self, p, name, &change, e);
        return r < 0 ? r : show_after(p, name, ret, e);
}

struct reset {
        const json_t *args;
        bool kept;
};

static int apply_reset(struct volume *v, void *arg, struct error *e)
{
        struct reset *reset = arg;
        const char *option = json_string_value(json_object_get(reset->args, "option"));
        return options_reset(v, option, argument_force(reset->args), &reset->kept, e);
}

static int command_volume_reset(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        const char *name = NULL;
        struct reset reset = {.args = args};
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = operation_options(self, p, name, &(struct option_change){apply_reset, &reset}, e);
        if (r == 0)
                r = show_after(p, name, ret, e);
        if (r == 0)
                (void)json_object_set_new(*ret, "kept", json_boolean(reset.kept));
        return r;
}

static int command_volume_get(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        (void)self;
        const char *name = NULL;
        struct volume *v = NULL;
        json_t *options = NULL;
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = pool_find(p, name, &v, e);
        if (r == 0)
                r = options_show(v, json_string_value(json_object_get(args, "option")), &options, e);
        if (r == 0)
                *ret = json_pack("{s:o}", "options", options);
        return r;
}

static int command_brick_restart(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        json_t *bricks = NULL;
        int r = renew_bricks(self, p, json_object_get(args, "bricks"), &bricks, e);
        if (r == 0)
                *ret = json_pack("{s:o}", "bricks", bricks);
        return r;
}

static int show_record(const struct volume *v, json_t **ret, struct error *e)
{
        json_t *record = volume_export(v);
        if (!record)
                return error_set(e, -ENOMEM, "out of memory");
        *ret = json_pack("{s:o}", "record", record);
        return 0;
}

static int command_record_define(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        _cleanup_volume_ struct volume *v = NULL;
        int r = volume_of_request(p->loop, args, &v, e);
        if (r == 0)
                r = operation_define(self, p, v, argument_force(args), e);
        return r < 0 ? r : show_record(v, ret, e);
}

static int command_record_export(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        (void)self;
        const char *name = NULL;
        struct volume *v = NULL;
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = pool_find(p, name, &v, e);
        return r < 0 ? r : show_record(v, ret, e);
}

static int command_record_import(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        struct volume *v = NULL;
        char name[sizeof v->name];
        int r = volume_import(json_object_get(args, "record"), &v, e);
        if (r < 0) {
                error_prefix(e, "the record cannot be used");
                return r;
        }
        memcpy(name, v->name, sizeof name);
        r = operation_create(self, p, v, CHECK_IMPORTED | (argument_force(args) ? CHECK_FORCE : 0), e);
        return r < 0 ? r : show_after(p, name, ret, e);
}

static int command_volume_start(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        const char *name = NULL;
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = operation_start(self, p, name, argument_force(args), e);
        return r < 0 ? r : show_after(p, name, ret, e);
}

static int command_volume_stop(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        const char *name = NULL;
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = operation_stop(self, p, name, argument_force(args), e);
        return r < 0 ? r : show_after(p, name, ret, e);
}

static int command_volume_delete(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        const char *name = NULL;
        struct volume *v = NULL;
        char id[UUID_TEXT_SIZE];
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = pool_find(p, name, &v, e);
        if (r < 0)
                return r;
        gfid_format(&v->id, id);
        r = operation_delete(self, p, name, e);
        if (r == 0)
                *ret = json_pack("{s:{s:s,s:s}}", "volume", "name", name, "id", id);
        return r;
}

static bool is_hidden(const struct volume_entry *entry)
{
        return entry->volume && entry->volume->intent == INTENT_CREATING;
}

/* SHOW of one volume or of all, as {"volumes": […]}. */
static int command_show(struct pool *p, const json_t *args,
                        json_t *(*show)(const struct pool *, const struct volume_entry *), json_t **ret,
                        struct error *e)
{
        const char *name = json_string_value(json_object_get(args, "volume"));
        struct volume *v = NULL;
        int r = name ? pool_find(p, name, &v, e) : 0;
        if (r < 0)
                return r;
        json_t *list = json_array();
        for (size_t i = 0; i < p->volumes.n; i++) {
                const struct volume_entry *entry = &p->volumes.v[i];
                if (!is_hidden(entry) && (!name || streq(entry->name, name)))
                        (void)json_array_append_new(list, show(p, entry));
        }
        *ret = json_pack("{s:o}", "volumes", list);
        return 0;
}

static int command_volume_info(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        (void)self;
        return command_show(p, args, show_entry, ret, e);
}

static json_t *show_name(const struct pool *p, const struct volume_entry *entry)
{
        (void)p;
        return json_string(entry->name);
}

static int command_volume_list(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        (void)self;
        (void)args;
        json_t *none = json_object();
        int r = command_show(p, none, show_name, ret, e);
        json_decref(none);
        return r;
}

static json_t *show_entry_status(const struct pool *p, const struct volume_entry *entry)
{
        if (entry->volume)
                return show_status(p, entry->volume);
        return json_pack("{s:s,s:s}", "name", entry->name, "error", entry->why.text);
}

static int command_volume_status(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        (void)self;
        return command_show(p, args, show_entry_status, ret, e);
}

static int command_volume_heal(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        const char *name = NULL, *action = json_string_value(json_object_get(args, "action"));
        int r = argument_volume(args, &name, e);
        if (r == 0)
                r = heal_command(self, p, name, action ? action : "", e);
        if (r == 0)
                *ret = json_object();
        return r;
}

static int command_volume_heal_look(struct fibre *self, struct pool *p, const json_t *args, json_t **ret,
                                    struct error *e)
{
        const char *name = NULL;
        int r = argument_volume(args, &name, e);
        return r < 0 ? r : heal_look(self, p, name, ret, e);
}

static int command_metrics(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e)
{
        (void)args;
        return metrics_collect(self, p, ret, e);
}

/* ---- one request ------------------------------------------------------------------------------------------------- */

enum effect { READS, CHANGES };

static const struct {
        const char *word;
        enum effect effect;
        int (*run)(struct fibre *self, struct pool *p, const json_t *args, json_t **ret, struct error *e);
} commands[] = {
#define COMMAND_ROW_(name, word, effect) {word, effect, command_##name},
        MANAGEMENT_COMMANDS(COMMAND_ROW_)};

struct request {
        struct pool *pool;
        struct rpc_server_conn *conn;
        uint32_t xid;
        json_t *json;
};

static int request_run(struct fibre *self, struct request *q, json_t **ret, struct error *e)
{
        const char *word = json_string_value(json_object_get(q->json, "command"));
        for (size_t i = 0; word && i < ELEMENTSOF(commands); i++) {
                if (!streq(commands[i].word, word))
                        continue;
                if (commands[i].effect == CHANGES)
                        log_notice(COMPONENT, "%s %s", word,
                                   json_string_value(json_object_get(q->json, "volume")) ?: "");
                return commands[i].run(self, q->pool, q->json, ret, e);
        }
        return error_set(e, -ENOSYS, "this mortard does not know the command \"%s\"", word ? word : "");
}

static void answer(struct rpc_server_conn *c, uint32_t xid, int r, const struct error *why, const json_t *result)
{
        char *text = result ? json_dumps(result, JSON_COMPACT) : NULL;
        struct management_rep rep = {
                .op_ret = r < 0 ? -1 : 0,
                .op_errno = r < 0 ? -r : 0,
                .error = str_of(r < 0 ? why->text : ""),
                .json = str_of(text ? text : "{}"),
        };
        rpc_conn_reply(c, xid, &management_rep_desc, &rep);
        free(text);
}

static void request_fibre(struct fibre *self, void *arg)
{
        struct request *q = arg;
        json_t *result = NULL;
        struct error why = {0};
        int r = request_run(self, q, &result, &why);
        answer(q->conn, q->xid, r, &why, result);
        json_decref(result);
        json_decref(q->json);
        free(q);
}

static int request_parse(const struct rpc_call *call, json_t **ret, struct error *e)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
        struct management_req req;
        json_error_t where;
        int code = msg_decode(&management_req_desc, &r, &a, &req);
        if (code < 0)
                return error_set(e, code, "the request does not decode");
        json_t *json = json_loadb(req.json.s, req.json.len, JSON_REJECT_DUPLICATES, &where);
        if (!json_is_object(json)) {
                json_decref(json);
                return error_set(e, -EINVAL, "the request is no JSON object");
        }
        *ret = json;
        return 0;
}

static int request_start(struct pool *p, struct rpc_server_conn *c, const struct rpc_call *call, struct error *e)
{
        json_t *json = NULL;
        int r = request_parse(call, &json, e);
        if (r < 0)
                return r;
        struct request *q = malloc(sizeof *q);
        if (q) {
                *q = (struct request){.pool = p, .conn = c, .xid = call->xid, .json = json};
                r = fibre_start(p->loop, "management request", request_fibre, q);
        }
        if (q && r == 0)
                return 0;
        free(q);
        json_decref(json);
        return error_set(e, -ENOMEM, "mortard is out of memory or has too many requests at once");
}

static bool peer_is_root(const struct rpc_server_conn *c)
{
        struct ucred cred;
        socklen_t size = sizeof cred;
        int fd = rpc_conn_fd(c);
        return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 && cred.uid == 0;
}

static void on_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct error why = {0};
        if (call->prog != MANAGEMENT_PROGRAM) {
                rpc_conn_reject(c, call->xid, RPC_PROG_UNAVAIL);
        } else if (call->vers != MANAGEMENT_VERSION) {
                rpc_conn_reject(c, call->xid, RPC_PROG_MISMATCH);
        } else if (call->proc != MANAGEMENT_EXECUTE) {
                rpc_conn_reject(c, call->xid, RPC_PROC_UNAVAIL);
        } else if (!peer_is_root(c)) {
                answer(c, call->xid, error_set(&why, -EPERM, "only root may manage volumes"), &why, NULL);
        } else {
                int r = request_start(arg, c, call, &why);
                if (r < 0)
                        answer(c, call->xid, r, &why, NULL);
        }
}

int serve_management(struct pool *p, const struct address *at)
{
        static const struct rpc_server_handler handler = {.on_call = on_call};
        static const struct rpc_server_limits limits = {.record = MANAGEMENT_JSON_MAX + 4096, .connections = 256};
        return rpc_server_new(p->loop, at, &handler, &limits, p, &p->management);
}
