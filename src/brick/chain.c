/* Chains of operations (chain.h): each step goes through the dispatcher as a call of its own would, with its own
 * caller, checks and counts; what is special is only that the answers are collected, and that the first failure ends
 * it.
 *
 * All steps are decoded and compared with the table before the first is performed. A step that waits for a lock leaves
 * a copy of the rest with its lock (`struct chain_wait`): whoever grants the lock hands that to the session, which goes
 * on as with other parked calls, on a thread that may block. No step waits in another way: removals, and I/O under
 * mandatory locks, which would, are no steps or are refused with EAGAIN. Any thread.
 */
#include "brick/chain.h"

#include "brick/dispatch.h"
#include "brick/guard.h"
#include "brick/index_watch.h"
#include "brick/upcall.h"
#include "brick/lock_table.h"

struct step {
        enum fop fop;
        const struct fop_desc *desc;
        void *req;
        const struct rpc_cred *cred;
};

/* What earlier steps left for later ones. */
struct progress {
        unsigned answered;
        int64_t opened;
        struct gfid found;
        bool held_back;
};

struct chain_run {
        struct session *session;
        struct arena *arena;
        uint32_t xid;
        const struct rpc_cred *cred; /* of the message */
        struct slice args;
        unsigned count;
        struct step steps[CHAIN_STEPS_MAX];
        struct progress progress;
        struct buf answers;
};

/* A chain whose step number progress.answered waits for a lock. */
struct chain_wait {
        struct parked_call base;
        struct lock_session *asked;
        struct session *session;
        uint32_t xid;
        struct rpc_cred cred;
        int error; /* how it ended */
        struct progress progress;
        uint32_t args_len, answers_len;
        uint8_t bytes[]; /* both */
};

/* ---- what drivers ask ----------------------------------------------------------------------------------------------
 */

static uint32_t first_fop(const struct rpc_call *call)
{
        struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
        (void)xdr_read_u64(&r); /* count, length of all steps */
        return xdr_read_u32(&r);
}

bool chain_is_slow(const struct rpc_call *call)
{
        return first_fop(call) == FOP_FSYNC;
}

uint32_t chain_answer_size(const struct rpc_call *call)
{
        uint32_t fop = first_fop(call);
        return fop == FOP_LOOKUP || fop == FOP_OPEN || fop == FOP_READ ? (uint32_t)CHAIN_READ_MAX : 0;
}

/* ---- decoding ------------------------------------------------------------------------------------------------------
 */

static int decode_cred(struct chain_run *run, struct slice bytes, const struct rpc_cred **ret)
{
        *ret = run->cred;
        if (bytes.len == 0)
                return 0;
        struct rpc_cred *own = arena_alloc(run->arena, sizeof *own);
        *ret = own;
        return own ? rpc_cred_decode(bytes, own) : -ENOMEM;
}

static int decode_request(struct chain_run *run, struct slice bytes, struct step *s)
{
        struct xdr_reader r = xdr_reader_of(bytes.data, bytes.len);
        s->req = arena_alloc(run->arena, s->desc->req->size);
        if (!s->req)
                return -ENOMEM;
        int e = msg_decode(s->desc->req, &r, run->arena, s->req);
        return e == 0 && xdr_left(&r) > 0 ? -EBADMSG : e;
}

static int decode_step(struct chain_run *run, struct xdr_reader *in, struct step *s)
{
        struct chain_step_part part;
        int r = msg_decode(&chain_step_part_desc, in, run->arena, &part);
        if (r < 0)
                return r;
        s->fop = (enum fop)part.fop;
        s->desc = dispatch_desc(part.fop);
        if (!s->desc)
                return -EINVAL;
        r = decode_cred(run, part.cred, &s->cred);
        return r < 0 ? r : decode_request(run, part.request, s);
}

/* -EBADMSG and the like: it is garbage. -EINVAL and other soft ones: well-formed, and refused. */
static int decode(struct chain_run *run)
{
        struct chain_req req;
        struct chain_member members[CHAIN_STEPS_MAX];
        struct xdr_reader outer = xdr_reader_of(run->args.data, run->args.len);
        int r = msg_decode(&chain_req_desc, &outer, run->arena, &req);
        if (r < 0)
                return r;
        if (req.count == 0 || req.count > CHAIN_STEPS_MAX)
                return -EINVAL;
        struct xdr_reader in = xdr_reader_of(req.steps.data, req.steps.len);
        for (; r == 0 && run->count < req.count; run->count++) {
                struct step *s = &run->steps[run->count];
                r = decode_step(run, &in, s);
                members[run->count] = (struct chain_member){s->fop, s->req};
        }
        if (r == 0 && xdr_left(&in) > 0)
                r = -EBADMSG;
        return r < 0 ? r : chain_check(members, run->count);
}

/* ---- answering -----------------------------------------------------------------------------------------------------
 */

static void send_refusal(const struct chain_run *run, int error)
{
        const struct chain_rep rep = {.op_ret = -1, .op_errno = -error};
        if (dispatch_send(run->session, run->xid, &chain_rep_desc, &rep, NULL, false) < 0)
                dispatch_send_status(run->session, run->xid, RPC_SYSTEM_ERR);
}

static void send_answers(const struct chain_run *run)
{
        const struct chain_rep rep = {.count = run->progress.answered,
                                      .answers = {run->answers.data, (uint32_t)run->answers.len}};
        if (dispatch_send(run->session, run->xid, &chain_rep_desc, &rep, NULL, run->progress.held_back) < 0)
                dispatch_send_status(run->session, run->xid, RPC_SYSTEM_ERR);
}

static int append(struct chain_run *run, const struct step *s, const void *rep)
{
        size_t begin = run->answers.len;
        xdr_write_u32(&run->answers, s->fop);
        chain_append(&run->answers, s->desc->rep, rep);
        int r = run->answers.error;
        if (r < 0) { /* as if nothing had been appended */
                run->answers.len = begin;
                run->answers.error = 0;
        }
        return r;
}

/* What a step that succeeded tells later ones. */
static void learn(struct progress *p, enum fop fop, const void *rep)
{
        if (fop == FOP_LOOKUP)
                p->found = ((const struct lookup_fop_rep *)rep)->prestat.gfid;
        else if (fop == FOP_OPEN)
                p->opened = ((const struct open_fop_rep *)rep)->fd;
        else if (fop == FOP_CREATE)
                p->opened = (int64_t)((const struct create_fop_rep *)rep)->fd;
}

/* Step S ended with R. True: the next one may begin. Every reply begins with op_ret. */
static bool step_over(struct chain_run *run, struct op *op, const struct step *s, void *rep, int r)
{
        dispatch_complete(op, s->desc, rep, r);
        int error = append(run, s, rep);
        if (error < 0) {
                op->reply = DICT_NULL;
                dispatch_complete(op, s->desc, rep, error);
                (void)append(run, s, rep);
        }
        run->progress.answered++;
        run->progress.held_back = run->progress.held_back || op->held_back;
        if (*(const int32_t *)rep < 0)
                return false;
        learn(&run->progress, s->fop, rep);
        return true;
}

/* ---- performing ----------------------------------------------------------------------------------------------------
 */

static struct op op_of(struct chain_run *run, const struct step *s)
{
        return (struct op){.brick = run->session->brick,
                           .session = run->session,
                           .xid = run->xid,
                           .fop = s->fop,
                           .cred = s->cred,
                           .xdata = {.others = DICT_NULL},
                           .reply = DICT_NULL,
                           .arena = run->arena,
                           .chain = run};
}

static void fill_in(const struct progress *p, const struct step *s)
{
        struct gfid *gfid = chain_gfid_of(s->fop, s->req);
        int64_t *fd = chain_fd_of(s->fop, s->req);
        if (gfid && gfid_is_null(gfid))
                *gfid = p->found;
        if (fd && *fd == CHAIN_FD_OPENED)
                *fd = p->opened;
}

/* 1: the next one may begin. 0: the chain ends here. OP_PARKED is told by *RET_PARKED. */
static bool step_run(struct chain_run *run, const struct step *s, bool *ret_parked)
{
        struct meter *meter = &run->session->brick->meter;
        struct op op = op_of(run, s);
        void *rep = arena_alloc(run->arena, s->desc->rep->size);
        if (!rep)
                return false;
        meter_arrived(meter, s->fop);
        uint64_t began = meter_begin(meter);
        fill_in(&run->progress, s);
        int r = dispatch_perform(&op, s->req, rep);
        bool on = r != OP_PARKED && step_over(run, &op, s, rep, r);
        meter_end(meter, s->fop, began, r == OP_PARKED);
        *ret_parked = r == OP_PARKED;
        return on;
}

/* From the first step without an answer on. */
static void run_on(struct chain_run *run)
{
        bool parked = false;
        while (run->progress.answered < run->count && step_run(run, &run->steps[run->progress.answered], &parked))
                ;
        if (!parked)
                send_answers(run);
}

static void serve_watch(struct session *s, uint32_t xid)
{
        bool pending = true;
        int r = index_watch_begin(s, &pending);
        const struct chain_index_rep rep = {.op_ret = r < 0 ? -1 : 0, .op_errno = -r, .pending = pending};
        if (dispatch_send(s, xid, &chain_index_rep_desc, &rep, NULL, false) < 0)
                dispatch_send_status(s, xid, RPC_SYSTEM_ERR);
}

static void serve_watch_objects(struct session *s, uint32_t xid)
{
        uint32_t seconds = 0;
        int r = upcall_begin(s, &seconds);
        const struct chain_objects_rep rep = {.op_ret = r < 0 ? -1 : 0, .op_errno = -r, .seconds = seconds};
        if (dispatch_send(s, xid, &chain_objects_rep_desc, &rep, NULL, false) < 0)
                dispatch_send_status(s, xid, RPC_SYSTEM_ERR);
}

static void serve_steps(struct session *s, const struct rpc_call *call, struct arena *arena)
{
        struct chain_run run = {.session = s,
                                .arena = arena,
                                .xid = call->xid,
                                .cred = &call->cred,
                                .args = call->args,
                                .progress = {.opened = FD_NONE},
                                .answers = BUF_INIT(CHAIN_ANSWERS_BYTES)};
        int r = decode(&run);
        if (r == 0)
                run_on(&run);
        else if (dispatch_is_soft(r))
                send_refusal(&run, r);
        else
                dispatch_send_status(s, call->xid, RPC_GARBAGE_ARGS);
        buf_done(&run.answers);
}

void chain_serve(struct session *s, const struct rpc_call *call, struct arena *arena)
{
        if (call->proc == CHAIN_PERFORM && s->resume)
                serve_steps(s, call, arena);
        else if (call->proc == CHAIN_WATCH_INDEX)
                serve_watch(s, call->xid);
        else if (call->proc == CHAIN_WATCH_OBJECTS)
                serve_watch_objects(s, call->xid);
        else
                dispatch_send_status(s, call->xid, RPC_PROC_UNAVAIL);
}

/* ---- waiting -------------------------------------------------------------------------------------------------------
 */

static size_t wait_size(const struct chain_wait *w)
{
        return sizeof *w + w->args_len + w->answers_len;
}

static void wait_forget(struct parked_call *p)
{
        struct chain_wait *w = CONTAINER_OF(p, struct chain_wait, base);
        atomic_fetch_sub(&w->asked->parked_bytes, wait_size(w));
        free(w);
}

/* The waiting step's answer is what every lock operation answers. */
static void go_on(struct chain_run *run, int error)
{
        const struct step *s = &run->steps[run->progress.answered];
        struct op op = op_of(run, s);
        void *rep = arena_alloc(run->arena, s->desc->rep->size);
        if (rep && step_over(run, &op, s, rep, error))
                run_on(run);
        else
                send_answers(run);
}

static void wait_serve(struct parked_call *p, struct arena *arena)
{
        struct chain_wait *w = CONTAINER_OF(p, struct chain_wait, base);
        struct chain_run run = {.session = w->session,
                                .arena = arena,
                                .xid = w->xid,
                                .cred = &w->cred,
                                .args = {w->bytes, w->args_len},
                                .answers = BUF_INIT(CHAIN_ANSWERS_BYTES)};
        int r = decode(&run);
        if (r == 0)
                r = buf_append(&run.answers, w->bytes + w->args_len, w->answers_len);
        run.progress = w->progress;
        if (r == 0)
                go_on(&run, w->error);
        else
                dispatch_send_status(w->session, w->xid, RPC_SYSTEM_ERR);
        buf_done(&run.answers);
        wait_forget(p);
}

struct parked_call *chain_wait_new(struct op *op)
{
        const struct chain_run *run = op->chain;
        struct lock_session *ls = lock_session_get(op->session);
        uint32_t answers = (uint32_t)run->answers.len;
        struct chain_wait *w = ls ? malloc(sizeof *w + run->args.len + answers) : NULL;
        if (!w)
                return NULL;
        *w = (struct chain_wait){.base = {.serve = wait_serve, .forget = wait_forget},
                                 .asked = ls,
                                 .session = op->session,
                                 .xid = op->xid,
                                 .cred = *run->cred,
                                 .progress = run->progress,
                                 .args_len = run->args.len,
                                 .answers_len = answers};
        memcpy(w->bytes, run->args.data, w->args_len);
        if (answers > 0)
                memcpy(w->bytes + w->args_len, run->answers.data, answers);
        if (atomic_fetch_add(&ls->parked_bytes, wait_size(w)) + wait_size(w) > PARKED_BYTES_PER_SESSION) {
                wait_forget(&w->base);
                return NULL;
        }
        return &w->base;
}

void chain_wait_over(struct parked_call *p, int error)
{
        CONTAINER_OF(p, struct chain_wait, base)->error = error;
}
