/* Several operations at a brick in one message (remote.h; docs/formats/chain.md).
 *
 * To a brick that did not say that it understands chains, and where the table of what may be one says no, the
 * operations go one by one; so does everything that fails before it was sent, since single operations know how to wait
 * for a brick. A chain whose answer is lost has failed as a whole with -ENOTCONN: which of its steps were performed is
 * not known. Only one that does nothing but read is sent again, by a layer that is patient.
 *
 * Thread: the loop's.
 */
#include "volume/remote.h"

#include "proto/chain.h"

#define STEP_BYTES_FIRST 512

/* A chain on its way. */
struct sending {
        struct remote *remote;
        struct chain_step *steps;
        unsigned n;
        void *reqs[CHAIN_STEPS_MAX]; /* copies, as they are sent */
        struct arena *arena;
        struct buf bytes;
        uint64_t session;
};

/* ---- the request ----------------------------------------------------------------------------------------------- */

static bool opens(enum fop fop)
{
        return fop == FOP_OPEN || fop == FOP_CREATE;
}

/* Step I uses the file that an earlier one opens. */
static bool is_of_opened(const struct sending *x, unsigned i)
{
        const struct vfile *file = x->steps[i].request->file;
        for (unsigned k = 0; file && k < i; k++)
                if (opens(x->steps[k].fop) && x->steps[k].request->file == file)
                        return true;
        return false;
}

static int prepare_step(struct fibre *self, struct sending *x, unsigned i)
{
        const struct chain_step *s = &x->steps[i];
        size_t size = fop_by_number(s->fop)->req->size;
        x->reqs[i] = arena_alloc(x->arena, size);
        if (!x->reqs[i])
                return -ENOMEM;
        memcpy(x->reqs[i], s->req, size);
        int64_t *fd = chain_fd_of(s->fop, x->reqs[i]);
        if (fd && is_of_opened(x, i)) {
                *fd = CHAIN_FD_OPENED;
                return 0;
        }
        return remote_prepare(self, x->remote, s->fop, s->request, x->reqs[i]);
}

static int prepare(struct fibre *self, struct sending *x)
{
        struct chain_member members[CHAIN_STEPS_MAX];
        for (unsigned i = 0; i < x->n; i++) {
                int r = prepare_step(self, x, i);
                if (r < 0)
                        return r;
                members[i] = (struct chain_member){x->steps[i].fop, x->reqs[i]};
        }
        return chain_check(members, x->n);
}

/* Whose step I is, unless that is who asks for the first one. */
static void encode_cred(const struct sending *x, unsigned i, struct buf *to)
{
        _cleanup_buf_ struct buf first = BUF_INIT(CHAIN_CRED_MAX), own = BUF_INIT(CHAIN_CRED_MAX);
        struct rpc_cred room;
        rpc_cred_encode(&first, remote_cred(x->remote, &x->steps[0].request->cred, &room));
        rpc_cred_encode(&own, remote_cred(x->remote, &x->steps[i].request->cred, &room));
        bool same = first.len == own.len && memcmp(first.data, own.data, own.len) == 0;
        if (first.error || own.error)
                to->error = -EMSGSIZE;
        xdr_write_opaque(to, own.data, same ? 0 : (uint32_t)own.len);
}

static int encode(struct sending *x)
{
        struct buf *b = &x->bytes;
        *b = BUF_INIT(CHAIN_STEPS_BYTES);
        (void)buf_reserve(b, STEP_BYTES_FIRST);
        for (unsigned i = 0; i < x->n; i++) {
                xdr_write_u32(b, x->steps[i].fop);
                encode_cred(x, i, b);
                chain_append(b, fop_by_number(x->steps[i].fop)->req, x->reqs[i]);
        }
        return b->error;
}

/* ---- results --------------------------------------------------------------------------------------------------- */

static void fail_from(struct sending *x, unsigned from, int error)
{
        for (unsigned i = from; i < x->n; i++) {
                memset(x->steps[i].rep, 0, fop_by_number(x->steps[i].fop)->rep->size);
                x->steps[i].result = error;
        }
}

/* What step I found is what later ones meant. */
static void found(struct sending *x, unsigned i, const struct lookup_fop_rep *look)
{
        for (unsigned k = i + 1; k < x->n; k++) {
                struct gfid *gfid = chain_gfid_of(x->steps[k].fop, x->reqs[k]);
                if (gfid && gfid_is_null(gfid))
                        *gfid = look->prestat.gfid;
        }
}

static int decode_answer(struct sending *x, unsigned i, struct xdr_reader *in)
{
        struct chain_step *s = &x->steps[i];
        struct chain_answer_part part;
        int r = msg_decode(&chain_answer_part_desc, in, x->arena, &part);
        if (r < 0 || part.fop != (uint32_t)s->fop)
                return -EIO;
        struct slice reply = part.reply;
        if (s->request->arena != x->arena) { /* it lives as long as the request says */
                reply.data = (const uint8_t *)arena_strndup(s->request->arena, reply.data, reply.len);
                if (!reply.data)
                        return -ENOMEM;
        }
        struct xdr_reader inner = xdr_reader_of(reply.data, reply.len);
        r = msg_decode(fop_by_number(s->fop)->rep, &inner, s->request->arena, s->rep);
        return r == -ENOMEM ? r : r < 0 ? -EIO : 0;
}

/* The answer to step I: its result. */
static int take(struct sending *x, unsigned i, struct xdr_reader *in)
{
        struct chain_step *s = &x->steps[i];
        int r = decode_answer(x, i, in);
        if (r < 0)
                return r;
        r = remote_result(s->fop, s->rep);
        if (r >= 0)
                remote_answered(x->remote, s->fop, s->request, x->reqs[i], s->rep, x->session);
        if (r >= 0 && s->fop == FOP_LOOKUP)
                found(x, i, s->rep);
        return r;
}

static void take_all(struct sending *x, const struct chain_rep *rep)
{
        struct xdr_reader in = xdr_reader_of(rep->answers.data, rep->answers.len);
        for (unsigned i = 0; i < x->n; i++) {
                int r = i < rep->count ? take(x, i, &in) : -EIO;
                x->steps[i].result = r;
                if (r < 0) {
                        if (i >= rep->count || r == -EIO)
                                fail_from(x, i, r);
                        fail_from(x, i + 1, -ECANCELED);
                        return;
                }
        }
}

/* ---- the call -------------------------------------------------------------------------------------------------- */

static bool only_reads(const struct sending *x)
{
        for (unsigned i = 0; i < x->n; i++)
                if (x->steps[i].fop != FOP_LOOKUP && x->steps[i].fop != FOP_READ && x->steps[i].fop != FOP_OPEN)
                        return false;
        return true;
}

static bool is_cancellable(const struct sending *x)
{
        for (unsigned i = 0; i < x->n; i++)
                if (x->steps[i].fop != FOP_LOOKUP && x->steps[i].fop != FOP_READ)
                        return false;
        return x->steps[0].request->cancel != NULL;
}

static bool takes_turn(const struct sending *x)
{
        for (unsigned i = 0; i < x->n; i++)
                if (remote_fop_waits(x->steps[i].fop))
                        return false;
        return true;
}

static bool is_ready(const struct remote *m)
{
        return m->base.up && m->client && m->chains && m->options.chain;
}

static int call(struct fibre *self, struct sending *x, struct chain_rep *rep)
{
        struct remote *m = x->remote;
        struct rpc_cred room;
        struct request *r = x->steps[0].request;
        const struct chain_req req = {.count = x->n, .steps = {x->bytes.data, (uint32_t)x->bytes.len}};
        return rpc_client_call_cancellable(self, m->client, CHAIN_PROGRAM, CHAIN_VERSION, CHAIN_PERFORM,
                                           remote_cred(m, &r->cred, &room), &chain_req_desc, &req, &chain_rep_desc, rep,
                                           x->arena, is_cancellable(x) ? &r->cancel->done : NULL);
}

/* True: the steps have their results. False: nothing was performed, or may be performed again. */
static bool perform(struct fibre *self, struct sending *x)
{
        struct remote *m = x->remote;
        struct chain_rep rep;
        if (!is_ready(m) || prepare(self, x) < 0 || encode(x) < 0 || !is_ready(m))
                return false;
        x->session = m->session;
        int r = call(self, x, &rep);
        if (r < 0 && remote_was_lost(r)) {
                fail_from(x, 0, -ENOTCONN);
                return !(m->patient && only_reads(x));
        }
        if (r < 0)
                fail_from(x, 0, r == -EPROTO || r == -EBADMSG ? -EIO : r);
        else if (rep.op_ret < 0)
                return false; /* refused as a whole */
        else
                take_all(x, &rep);
        return true;
}

static bool perform_in_turn(struct fibre *self, struct sending *x)
{
        bool turn = takes_turn(x);
        if (turn)
                remote_turn_take(self, x->remote);
        bool done = perform(self, x);
        if (turn)
                remote_turn_give(x->remote);
        return done;
}

/* A READ that was refused because of mandatory locks may wait for them when it is alone. */
static void read_again(struct fibre *self, struct sending *x)
{
        struct chain_step *s = &x->steps[x->n - 1];
        if (s->fop == FOP_READ && s->result == -EAGAIN)
                s->result = remote_call(self, x->remote, s->fop, s->request, x->reqs[x->n - 1], s->rep);
}

void remote_chain(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n)
{
        struct sending x = {.remote = remote_of(v), .steps = steps, .n = n};
        bool done = false;
        if (n > 1 && n <= CHAIN_STEPS_MAX) {
                x.arena = steps[0].request->arena;
                done = perform_in_turn(self, &x);
                buf_done(&x.bytes);
        }
        if (done)
                read_again(self, &x);
        else
                subvolume_chain_one_by_one(self, v, steps, n);
}
