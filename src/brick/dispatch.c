/* One call of the fop program: decoded, handed to its handler, answered (spec: wire.md §6, brick.md §6, §15.4).
 *
 *      rpc call -> table of fops -> request struct -> squashed caller + typed xdata -> fop_NAME() -> reply struct -> record
 *
 * The table is made from FOPS(), so a procedure cannot be forgotten. Replies are one buffer (mark, header, message); the data
 * of READ goes out as a piece of its own, from where the handler put it. Any thread; nothing is kept between calls.
 */
#include "brick/arbiter.h"
#include "brick/barrier.h"
#include "brick/cache.h"
#include "brick/chain.h"
#include "brick/dispatch.h"
#include "brick/groups.h"
#include "brick/guard.h"
#include "brick/io.h"
#include "brick/upcall.h"
#include "rpc/record.h"

#define REPLY_FIRST 768 /* holds most answers at once */

/* ---- the table ----------------------------------------------------------------------------------------------------- */

struct fop_entry {
        int (*handle)(struct op *op, const void *req, void *rep);
        size_t req_xdata, rep_xdata, op_ret, op_errno; /* offsets of the members every fop has */
};

#define CALL_(number, NAME, name)                                                                                      \
        static int call_##name(struct op *op, const void *req, void *rep)                                              \
        {                                                                                                              \
                return fop_##name(op, req, rep);                                                                       \
        }
FOPS(CALL_)

#define ENTRY_(number, NAME, name)                                                                                     \
        [number] = {.handle = call_##name,                                                                             \
                    .req_xdata = offsetof(struct name##_fop_req, xdata),                                               \
                    .rep_xdata = offsetof(struct name##_fop_rep, xdata),                                               \
                    .op_ret = offsetof(struct name##_fop_rep, op_ret),                                                 \
                    .op_errno = offsetof(struct name##_fop_rep, op_errno)},
static const struct fop_entry fop_entries[FOP_MAX] = {FOPS(ENTRY_)};

static void *member(void *rep, size_t offset)
{
        return (char *)rep + offset;
}

/* NULL: PROC_UNAVAIL. No client of ours or of stock sends PUT. */
const struct fop_desc *dispatch_desc(uint32_t proc)
{
        return proc == FOP_PUT ? NULL : fop_by_number(proc);
}

bool session_call_is_slow(const struct rpc_call *call)
{
        if (call->prog == CHAIN_PROGRAM)
                return chain_is_slow(call);
        switch (call->proc) {
        case FOP_FSYNC:
        case FOP_FSYNCDIR:
        case FOP_FALLOCATE:
        case FOP_ZEROFILL:
        case FOP_DISCARD:
        case FOP_RCHECKSUM:
        case FOP_COPY_FILE_RANGE:
        case FOP_TRUNCATE:
        case FOP_FTRUNCATE:
                return true;
        }
        return false;
}

/* All begin with gfid, fd, offset, size. */
uint32_t session_call_answer_size(const struct rpc_call *call)
{
        if (call->prog == CHAIN_PROGRAM)
                return chain_answer_size(call);
        switch (call->proc) {
        case FOP_READ:
        case FOP_READDIR:
        case FOP_READDIRP: {
                struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
                (void)xdr_read_gfid(&r);
                (void)xdr_read_u64(&r);
                (void)xdr_read_u64(&r);
                return MIN(xdr_read_u32(&r), (uint32_t)IO_READ_MAX);
        }
        }
        return 0;
}

/* ---- the caller ---------------------------------------------------------------------------------------------------- */

static bool keeps_root(const struct op *op)
{
        switch (op->caller.pid) {
        case PID_NO_ROOT_SQUASH:
        case PID_GSYNCD:
        case PID_REBALANCE:
        case PID_SELF_HEAL:
        case PID_QUOTA_MOUNT:
                return op->session->trusted;
        }
        return false;
}

/* A trusted client is squashed like any other unless it is one of the internal ones. */
static bool is_squashed(const struct op *op)
{
        const struct brick_options *o = op->brick->options;
        return (o->root_squash || o->all_squash) && !keeps_root(op);
}

static int squash(struct op *op)
{
        const struct brick_options *o = op->brick->options;
        struct caller *c = &op->caller;
        if (!is_squashed(op))
                return 0;
        uint32_t *groups = arena_alloc_array(op->arena, c->group_count + 1, sizeof *groups);
        if (!groups)
                return -ENOMEM;
        if (o->all_squash || c->uid == 0)
                c->uid = o->anon_uid;
        if (o->all_squash || c->gid == 0)
                c->gid = o->anon_gid;
        for (uint32_t k = 0; k < c->group_count; k++)
                groups[k] = o->all_squash || c->groups[k] == 0 ? o->anon_gid : c->groups[k];
        c->groups = groups;
        return 0;
}

static int manage_groups(struct op *op)
{
        struct caller *c = &op->caller;
        if (!op->brick->options->manage_gids || c->pid < 0)
                return 0;
        uint32_t *groups = arena_alloc_array(op->arena, GROUPS_MAX, sizeof *groups);
        if (!groups)
                return -ENOMEM;
        c->group_count = group_cache_get(op->brick->groups, c->uid, groups);
        c->groups = groups;
        return 0;
}

static int set_caller(struct op *op)
{
        const struct rpc_cred *cred = op->cred;
        op->caller = (struct caller){.uid = cred->uid,
                                     .gid = cred->gid,
                                     .pid = cred->pid,
                                     .group_count = cred->group_count,
                                     .groups = cred->groups};
        int r = manage_groups(op);
        return r < 0 ? r : squash(op);
}

/* ---- answering ----------------------------------------------------------------------------------------------------- */

void dispatch_send_status(struct session *s, uint32_t xid, enum rpc_status status)
{
        _cleanup_buf_ struct buf b = BUF_INIT(KIB);
        size_t begin = record_begin(&b);
        rpc_reply_encode(&b, xid, status);
        record_end(&b, begin, 0);
        if (b.error == 0)
                s->send(s->conn, &(struct iovec){b.data, b.len}, 1);
}

int dispatch_send(struct session *s, uint32_t xid, const struct msg_desc *desc, const void *rep,
                  const struct slice *payload, bool held_back)
{
        _cleanup_buf_ struct buf b = BUF_INIT(RECORD_LIMIT);
        uint32_t more = payload ? payload->len : 0;
        (void)buf_reserve(&b, REPLY_FIRST);
        size_t begin = record_begin(&b);
        rpc_reply_encode(&b, xid, RPC_SUCCESS);
        msg_encode(desc, rep, &b);
        record_end(&b, begin, more);
        if (b.error)
                return b.error;
        struct iovec iov[2] = {{b.data, b.len}, {(void *)(payload ? payload->data : NULL), more}};
        int n = more > 0 ? 2 : 1;
        if (!held_back || barrier_hold(s, iov, n) < 0)
                s->send(s->conn, iov, n);
        return 0;
}

/* READ's data is not copied into the message. */
static int send_reply(struct op *op, const struct fop_desc *desc, void *rep)
{
        if (op->fop != FOP_READ)
                return dispatch_send(op->session, op->xid, desc->rep, rep, NULL, op->held_back);
        struct read_fop_rep *read = rep;
        struct slice data = read->data;
        read->data = (struct slice){0};
        return dispatch_send(op->session, op->xid, desc->rep, read, &data, false);
}

static void complete_error(struct op *op, const struct fop_desc *desc, void *rep, int error)
{
        const struct fop_entry *f = &fop_entries[op->fop];
        memset(rep, 0, desc->rep->size);
        *(int32_t *)member(rep, f->op_ret) = -1;
        *(int32_t *)member(rep, f->op_errno) = -error;
        *(struct dict *)member(rep, f->rep_xdata) = op->reply;
        meter_error(&op->brick->meter, op->fop);
}

void dispatch_complete(struct op *op, const struct fop_desc *desc, void *rep, int r)
{
        const struct fop_entry *f = &fop_entries[op->fop];
        if (r < 0) {
                complete_error(op, desc, rep, r);
                return;
        }
        *(struct dict *)member(rep, f->rep_xdata) = op->reply;
        if (*(int32_t *)member(rep, f->op_ret) < 0)
                meter_error(&op->brick->meter, op->fop);
}

static void answer_error(struct op *op, const struct fop_desc *desc, void *rep, int error)
{
        complete_error(op, desc, rep, error);
        if (send_reply(op, desc, rep) < 0)
                dispatch_send_status(op->session, op->xid, RPC_SYSTEM_ERR);
}

static void answer(struct op *op, const struct fop_desc *desc, void *rep, int r)
{
        if (r < 0) {
                answer_error(op, desc, rep, r);
                return;
        }
        dispatch_complete(op, desc, rep, r);
        r = send_reply(op, desc, rep);
        if (r < 0) {
                op->reply = DICT_NULL;
                answer_error(op, desc, rep, r);
        }
}

/* ---- serving ------------------------------------------------------------------------------------------------------- */

bool dispatch_is_soft(int r)
{
        return r == -EPERM || r == -ENAMETOOLONG || r == -EINVAL;
}

int dispatch_perform(struct op *op, void *req, void *rep)
{
        const struct fop_entry *f = &fop_entries[op->fop];
        op->changes = upcall_changes(op->brick);
        int r = set_caller(op);
        if (r == 0)
                r = xdata_parse(member(req, f->req_xdata), op->arena, &op->xdata);
        if (r == 0)
                r = arbiter_answers(op) ? arbiter_handle(op, req, rep) : f->handle(op, req, rep);
        if (r == 0) {
                upcall_after(op, req, rep);
                op->held_back = barrier_applies(op, req);
        }
        return r;
}

static int run(struct op *op, const struct fop_desc *desc, void *req, void *rep)
{
        int r = dispatch_perform(op, req, rep);
        if (r != OP_PARKED)
                answer(op, desc, rep, r);
        return r;
}

/* OP_PARKED, or anything else: it is answered. */
static int serve_fop(struct op *op, const struct fop_desc *desc, struct slice args)
{
        void *req = arena_alloc(op->arena, desc->req->size);
        void *rep = arena_alloc(op->arena, desc->rep->size);
        if (!req || !rep) {
                dispatch_send_status(op->session, op->xid, RPC_SYSTEM_ERR);
                return -ENOMEM;
        }
        struct xdr_reader reader = xdr_reader_of(args.data, args.len);
        int r = msg_decode(desc->req, &reader, op->arena, req);
        if (r == 0)
                return run(op, desc, req, rep);
        if (dispatch_is_soft(r))
                answer_error(op, desc, rep, r);
        else
                dispatch_send_status(op->session, op->xid, RPC_GARBAGE_ARGS);
        return r;
}

/* Procedure 0 asks whether anybody is there; the answer is the shortest one a fop can have. */
static void serve_null(struct session *s, uint32_t xid)
{
        _cleanup_buf_ struct buf b = BUF_INIT(KIB);
        size_t begin = record_begin(&b);
        rpc_reply_encode(&b, xid, RPC_SUCCESS);
        for (int k = 0; k < 3; k++)
                xdr_write_u32(&b, 0);
        record_end(&b, begin, 0);
        if (b.error == 0)
                s->send(s->conn, &(struct iovec){b.data, b.len}, 1);
}

static void serve_call(struct session *s, const struct rpc_call *call, const struct fop_desc *desc, struct arena *arena)
{
        struct op op = {.brick = s->brick,
                        .session = s,
                        .xid = call->xid,
                        .fop = (enum fop)call->proc,
                        .call = call,
                        .cred = &call->cred,
                        .xdata = {.others = DICT_NULL},
                        .reply = DICT_NULL,
                        .arena = arena};
        uint64_t began = meter_begin(&s->brick->meter);
        int r = serve_fop(&op, desc, call->args);
        meter_end(&s->brick->meter, op.fop, began, r == OP_PARKED);
}

#define PROC_COMPOUND 49u

void session_serve(struct session *s, const struct rpc_call *call, struct arena *arena)
{
        if (call->prog == CHAIN_PROGRAM) {
                chain_serve(s, call, arena);
                return;
        }
        const struct fop_desc *desc = dispatch_desc(call->proc);
        if (call->proc == FOP_NULL) {
                serve_null(s, call->xid);
                return;
        }
        if (!desc) {
                dispatch_send_status(s, call->xid, call->proc == PROC_COMPOUND ? RPC_GARBAGE_ARGS : RPC_PROC_UNAVAIL);
                return;
        }
        meter_arrived(&s->brick->meter, call->proc);
        serve_call(s, call, desc, arena);
}

void dispatch_again(struct session *s, const struct rpc_call *call, struct arena *arena)
{
        serve_call(s, call, dispatch_desc(call->proc), arena);
}

void op_answer_parked(const struct parked *p, int error, const struct flock_range *flock)
{
        union {
                struct lk_fop_rep lk;
                struct inodelk_fop_rep other; /* all other lock fops answer the same three fields */
        } rep = {0};
        const struct fop_desc *desc = fop_by_number(p->fop);
        const struct fop_entry *f = &fop_entries[p->fop];
        if (error < 0)
                meter_error(&p->session->brick->meter, p->fop);
        if (p->fop == FOP_LK && flock)
                rep.lk.flock = *flock;
        *(int32_t *)member(&rep, f->op_ret) = error ? -1 : 0;
        *(int32_t *)member(&rep, f->op_errno) = error < 0 ? -error : error;
        *(struct dict *)member(&rep, f->rep_xdata) = DICT_NULL;
        (void)dispatch_send(p->session, p->xid, desc->rep, &rep, NULL, false);
}
