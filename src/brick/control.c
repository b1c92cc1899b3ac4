/* The CONTROL program on the process's unix socket: mortard attaches, detaches and asks (control.h). Control loop only.
 */
#include "brick/control.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "brick/drain.h"
#include "brick/report.h"

#define DETACH_SECONDS 10 /* how long a DETACH waits for the brick's storage to be closed, beyond draining */

/* A call that is answered later. */
struct pending_call {
        struct process *process;
        struct rpc_server_conn *conn;
        uint32_t xid;
        struct timer timer; /* DETACH */
        bool answered;
        char path[PATH_LIMIT + 1];
};

static void reply(struct rpc_server_conn *c, uint32_t xid, struct process *p, int result, const char *error)
{
        const struct control_rep rep = {.op_ret = result < 0 ? -1 : 0,
                                        .op_errno = result < 0 ? -result : 0,
                                        .error = str_of(error),
                                        .port = p->port};
        rpc_conn_reply(c, xid, &control_rep_desc, &rep);
}

static struct pending_call *pending_new(struct process *p, struct rpc_server_conn *c, uint32_t xid)
{
        struct pending_call *call = calloc(1, sizeof *call);
        if (call)
                *call = (struct pending_call){.process = p, .conn = c, .xid = xid};
        return call;
}

/* ---- ATTACH, DETACH ---------------------------------------------------------------------------------------------- */

static void attach_done(struct export *x, int result, const char *error, void *arg)
{
        struct pending_call *call = arg;
        reply(call->conn, call->xid, call->process, result, error);
        free(call);
}

static const char *attach_error(int r)
{
        switch (r) {
        case -EALREADY:
                return "The brick is being opened already.";
        case -EEXIST:
                return "The brick is served for another volume: detach it first.";
        case -EXDEV:
                return "The brick has other TLS files or rules than the other bricks of this process: give the volumes "
                       "the same ssl options, or stop and start this one, so that a process of its own serves it.";
        case -ESHUTDOWN:
                return "The brick process is shutting down.";
        }
        return strerror(-r);
}

static void serve_attach(struct process *p, struct rpc_server_conn *c, uint32_t xid,
                         const struct control_attach_req *req)
{
        struct error e = {0};
        _cleanup_free_ struct export_config *config = malloc(sizeof *config);
        struct pending_call *call = pending_new(p, c, xid);
        int r = config && call ? export_config_parse(req->volfile.s, req->volfile.len, config, &e)
                               : error_set(&e, -ENOMEM, "Out of memory.");
        if (r == 0) {
                r = export_attach(p, config, attach_done, call);
                if (r < 0)
                        (void)error_set(&e, r, "%s", attach_error(r));
        }
        if (r < 0) {
                reply(c, xid, p, r, e.text);
                free(call);
        }
}

/* The pending call ends when the brick is closed, however long that takes; the answer does not wait that long. */
static void detach_answer(struct pending_call *call, int result, const char *error)
{
        if (call->answered)
                return;
        call->answered = true;
        timer_stop(&call->timer);
        reply(call->conn, call->xid, call->process, result, error);
}

static void detach_done(struct export *x, int result, const char *error, void *arg)
{
        struct pending_call *call = arg;
        detach_answer(call, result, error);
        free(call);
}

static void detach_late(struct timer *t)
{
        struct pending_call *call = CONTAINER_OF(t, struct pending_call, timer);
        char text[PATH_LIMIT + 256];
        (void)snprintf(text, sizeof text,
                       "Brick %s is no longer served, but requests are still running on its storage.", call->path);
        detach_answer(call, -ETIMEDOUT, text);
}

static void serve_detach(struct process *p, struct rpc_server_conn *c, uint32_t xid,
                         const struct control_detach_req *req)
{
        struct export *x = export_find(p, req->path.s);
        if (!x) {
                reply(c, xid, p, -ENOENT, "This process does not serve such a brick.");
                return;
        }
        struct pending_call *call = pending_new(p, c, xid);
        if (!call) {
                reply(c, xid, p, -ENOMEM, "Out of memory.");
                return;
        }
        memcpy(call->path, req->path.s, req->path.len + 1);
        timer_start(p->loop, &call->timer, (DETACH_SECONDS + p->config->drain_limit) * NS_PER_SEC, detach_late);
        drain_detach(x, detach_done, call);
}

static void serve_drain(struct process *p, struct rpc_server_conn *c, uint32_t xid,
                        const struct control_detach_req *req)
{
        struct export *x = export_find(p, req->path.s);
        if (!x) {
                reply(c, xid, p, -ENOENT, "This process does not serve such a brick.");
                return;
        }
        drain_start(x);
        reply(c, xid, p, 0, "");
}

/* ---- STATUS, METRICS --------------------------------------------------------------------------------------------- */

static void serve_status(struct process *p, struct rpc_server_conn *c, uint32_t xid)
{
        _cleanup_buf_ struct buf b = BUF_INIT(SPEC_LIMIT);
        report_status(p, &b);
        const char *text = buf_cstr(&b);
        const struct control_status_rep rep = {
                .op_ret = text ? 0 : -1,
                .op_errno = text ? 0 : ENOMEM,
                .port = p->port,
                .pid = getpid(),
                .version = STR(MORTAR_VERSION),
                .bricks = str_of(text ? text : "[]"),
        };
        rpc_conn_reply(c, xid, &control_status_rep_desc, &rep);
}

static void serve_metrics(struct process *p, struct rpc_server_conn *c, uint32_t xid)
{
        _cleanup_buf_ struct buf b = BUF_INIT(SPEC_LIMIT);
        report_metrics(p, &b);
        const char *text = buf_cstr(&b);
        const struct control_metrics_rep rep = {
                .op_ret = text ? 0 : -1, .op_errno = text ? 0 : ENOMEM, .metrics = str_of(text ? text : "{}")};
        rpc_conn_reply(c, xid, &control_metrics_rep_desc, &rep);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static void serve_request(struct process *p, struct rpc_server_conn *c, const struct rpc_call *call, struct arena *a)
{
        struct xdr_reader reader = xdr_reader_of(call->args.data, call->args.len);
        union {
                struct control_attach_req attach;
                struct control_detach_req detach;
        } req;
        const struct msg_desc *desc =
                call->proc == CONTROL_ATTACH ? &control_attach_req_desc : &control_detach_req_desc;
        if (msg_decode(desc, &reader, a, &req) < 0)
                rpc_conn_reject(c, call->xid, RPC_GARBAGE_ARGS);
        else if (call->proc == CONTROL_ATTACH)
                serve_attach(p, c, call->xid, &req.attach);
        else if (call->proc == CONTROL_DETACH)
                serve_detach(p, c, call->xid, &req.detach);
        else
                serve_drain(p, c, call->xid, &req.detach);
}

static void on_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        struct process *p = arg;
        if (call->prog != CONTROL_PROGRAM || call->vers != CONTROL_VERSION) {
                rpc_conn_reject(c, call->xid, call->prog == CONTROL_PROGRAM ? RPC_PROG_MISMATCH : RPC_PROG_UNAVAIL);
                return;
        }
        switch (call->proc) {
        case CONTROL_STATUS:
                serve_status(p, c, call->xid);
                return;
        case CONTROL_METRICS:
                serve_metrics(p, c, call->xid);
                return;
        case CONTROL_ATTACH:
        case CONTROL_DETACH:
        case CONTROL_DRAIN:
                serve_request(p, c, call, &p->arena);
                arena_reset(&p->arena);
                return;
        case CONTROL_SHUTDOWN:
                reply(c, call->xid, p, 0, "");
                process_retire(p);
                return;
        }
        rpc_conn_reject(c, call->xid, RPC_PROC_UNAVAIL);
}

static void tell_changed(struct rpc_server_conn *c, void *arg)
{
        rpc_conn_callback(c, CONTROL_PROGRAM, CONTROL_VERSION, CONTROL_CHANGED, NULL, NULL);
}

void control_changed(struct process *p)
{
        if (p->control)
                rpc_server_each(p->control, tell_changed, NULL);
}

int control_start(struct process *p, const char *path)
{
        char text[ADDRESS_TEXT_MAX + 8];
        struct address at;
        int n = snprintf(text, sizeof text, "unix:%s", path);
        if (n < 0 || (size_t)n >= sizeof text || address_parse(text, &at) < 0)
                return -ENAMETOOLONG;
        const struct rpc_server_handler handler = {.on_call = on_call};
        mode_t before = umask(0177); /* only root may steer the process */
        int r = rpc_server_new(p->loop, &at, &handler, NULL, p, &p->control);
        (void)umask(before);
        return r;
}
