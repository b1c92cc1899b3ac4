/* The gate in front of the graph (gate.h): it counts who is below.
 *
 * Offsets of directories have the brick's number in them: a listing that began under the former graph is told by whom.
 *
 * Invariants: `below` operations are in the graph in force, and none while the gate is shut and gate_stop() has returned
 * 0. Who waits in front is in `waiting` and leaves it before its function returns. Thread: the loop's.
 */
#include "volume/gate.h"

#include "volume/leaf_offset.h"
#include "volume/outage.h"

#define CANCEL_INTERVAL (50 * NS_PER_MSEC)

struct gate {
        struct subvolume base;
        unsigned below;
        bool shut;
        bool call_back; /* lock requests that wait are to come back */
        unsigned shuts; /* how often it was shut */
        struct state_waiter *waiting;
        struct fibre_event *empty; /* who shuts waits for it */
};

static struct gate *gate_of(struct subvolume *v)
{
        return CONTAINER_OF(v, struct gate, base);
}

/* ---- passing --------------------------------------------------------------------------------------------------- */

static void wait_in_front(struct fibre *self, struct gate *g, uint64_t timeout)
{
        struct state_waiter w = {.next = g->waiting};
        g->waiting = &w;
        (void)fibre_event_wait(self, &w.changed, timeout);
        struct state_waiter **at = &g->waiting;
        while (*at != &w)
                at = &(*at)->next;
        *at = w.next;
}

/* 0: the operation is below now. */
static int pass(struct fibre *self, struct gate *g, const struct request *r)
{
        while (g->shut) {
                if (request_cancelled(r))
                        return -EINTR;
                wait_in_front(self, g, r->cancel ? CANCEL_INTERVAL : UINT64_MAX);
        }
        if (r->file && r->file->error)
                return r->file->error;
        g->below++;
        return 0;
}

static void leave(struct gate *g)
{
        if (--g->below == 0 && g->empty)
                fibre_event_set(g->empty);
}

/* Every answer begins with these. */
struct head {
        int32_t op_ret, op_errno;
};

/* The answer when nobody below was asked. */
static int refuse(enum fop fop, void *rep, int error)
{
        struct head *head = rep;
        memset(rep, 0, fop_by_number(fop)->rep->size);
        return fop_failed(head, error);
}

static int gate_call(struct fibre *self, struct subvolume *v, enum fop fop, struct request *r, const void *req,
                     void *rep)
{
        int result = pass(self, gate_of(v), r);
        if (result < 0)
                return refuse(fop, rep, result);
        result = subvolume_call(self, v->volume->top, fop, r, req, rep);
        leave(gate_of(v));
        return result;
}

static void gate_chain(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n)
{
        struct gate *g = gate_of(v);
        int result = pass(self, g, steps[0].request);
        for (unsigned i = 0; result < 0 && i < n; i++)
                steps[i].result = i == 0 ? result : -ECANCELED;
        if (result < 0)
                return;
        subvolume_chain(self, v->volume->top, steps, n);
        leave(g);
}

/* ---- POSIX locks ----------------------------------------------------------------------------------------------- */

static void lock_changed(struct vfile *f, const struct rpc_cred *cred, const struct lk_fop_req *req)
{
        if (req->cmd != LK_COMMAND_SET && req->cmd != LK_COMMAND_WAIT)
                return;
        for (struct vfile *each = f->inode->files; each; each = each->next_of_inode)
                lock_list_subtract(&each->locks, cred, req->flock.start, lock_last(req));
        if (req->type != LK_TYPE_UNLOCK)
                lock_list_add(&f->locks, cred, req);
}

/* A request that was called back has had no effect, and goes to the graph that is there next. */
static int gate_lock(struct fibre *self, struct subvolume *v, struct request *r, const struct lk_fop_req *req,
                     struct lk_fop_rep *rep)
{
        struct gate *g = gate_of(v);
        struct request own = *r;
        unsigned shuts;
        int result;
        if (req->cmd == LK_COMMAND_WAIT && req->type != LK_TYPE_UNLOCK)
                own.give_up = &g->call_back;
        do {
                result = pass(self, g, r);
                if (result < 0)
                        return refuse(FOP_LK, rep, result);
                shuts = g->shuts;
                result = subvolume_lk(self, v->volume->top, &own, req, rep);
                leave(g);
        } while (result == -EINTR && g->shuts != shuts && !request_cancelled(r));
        if (r->file && (result >= 0 || req->type == LK_TYPE_UNLOCK))
                lock_changed(r->file, &r->cred, req);
        return result;
}

static int gate_close(struct fibre *self, struct subvolume *v, struct request *r, const struct flush_fop_req *req,
                      struct flush_fop_rep *rep)
{
        int result = gate_call(self, v, FOP_FLUSH, r, req, rep);
        for (struct vfile *f = r->file ? r->file->inode->files : NULL; f; f = f->next_of_inode)
                if (r->cred.owner_len > 0 || f == r->file)
                        lock_list_drop(&f->locks, r->cred.owner_len > 0 ? &r->cred : NULL);
        return result;
}

/* ---- listings -------------------------------------------------------------------------------------------------- */

/* OFFSET, which F's last listing told, as the graph in force would tell it. */
static int offset_now(const struct volume *vol, const struct vfile *f, uint64_t offset, uint64_t *ret)
{
        const struct leaf_map *map = &vol->leaves_were;
        *ret = offset;
        if (offset == 0 || !f || f->listed == 0 || f->listed == vol->graph)
                return 0;
        int leaf = f->listed == map->graph ? leaf_offset_owner(offset, map->n) : (int)map->n;
        if (leaf < 0)
                return 0; /* the end */
        if ((unsigned)leaf >= map->n || map->now[leaf] < 0)
                return -EIO; /* where it was is not there any more: it has to begin anew */
        *ret = leaf_offset_up(leaf_offset_down(offset, map->n), (unsigned)map->now[leaf], vol->top->n_leaves);
        return 0;
}

static int gate_list(struct fibre *self, struct subvolume *v, enum fop fop, struct request *r, const void *req,
                     uint64_t offset_at, void *rep)
{
        _Alignas(max_align_t) uint8_t own[MSG_SIZE_MAX];
        uint64_t offset;
        int result = pass(self, gate_of(v), r);
        if (result < 0)
                return refuse(fop, rep, result);
        memcpy(own, req, fop_by_number(fop)->req->size);
        memcpy(&offset, own + offset_at, sizeof offset);
        result = offset_now(v->volume, r->file, offset, &offset);
        memcpy(own + offset_at, &offset, sizeof offset);
        result = result < 0 ? refuse(fop, rep, result) : subvolume_call(self, v->volume->top, fop, r, own, rep);
        if (result >= 0 && r->file)
                r->file->listed = v->volume->graph;
        leave(gate_of(v));
        return result;
}

/* ---- operations ------------------------------------------------------------------------------------------------ */

#define GATE_(NAME, name)                                                                                              \
        static int gate_##name(struct fibre *self, struct subvolume *v, struct request *r,                             \
                               const struct name##_fop_req *req, struct name##_fop_rep *rep)                           \
        {                                                                                                              \
                if (FOP_##NAME == FOP_LK)                                                                              \
                        return gate_lock(self, v, r, (const void *)req, (void *)rep);                                  \
                if (FOP_##NAME == FOP_FLUSH)                                                                           \
                        return gate_close(self, v, r, (const void *)req, (void *)rep);                                 \
                if (FOP_##NAME == FOP_READDIR)                                                                         \
                        return gate_list(self, v, FOP_READDIR, r, req, offsetof(struct readdir_fop_req, offset), rep); \
                if (FOP_##NAME == FOP_READDIRP)                                                                        \
                        return gate_list(self, v, FOP_READDIRP, r, req, offsetof(struct readdirp_fop_req, offset),     \
                                         rep);                                                                         \
                return gate_call(self, v, FOP_##NAME, r, req, rep);                                                    \
        }
SUBVOLUME_FOPS(GATE_)

#define ENTRY_(NAME, name) .name = gate_##name,
static const struct subvolume_ops gate_ops = {SUBVOLUME_FOPS(ENTRY_).chain = gate_chain};

/* ---- life ------------------------------------------------------------------------------------------------------ */

int gate_new(struct volume *vol)
{
        struct gate *g = calloc(1, sizeof *g);
        if (!g)
                return -ENOMEM;
        g->base = (struct subvolume){.ops = &gate_ops, .name = "gate", .volume = vol, .up = true};
        vol->gate = g;
        vol->entry = &g->base;
        return 0;
}

void gate_free(struct volume *vol)
{
        free(vol->leaves_were.now);
        free(vol->gate);
        vol->gate = NULL;
        vol->entry = NULL;
}

/* ---- shutting -------------------------------------------------------------------------------------------------- */

int gate_stop(struct fibre *self, struct volume *vol, uint64_t timeout)
{
        struct gate *g = vol->gate;
        struct fibre_event empty = {0};
        g->shut = g->call_back = true;
        g->shuts++;
        g->empty = &empty;
        if (g->below > 0)
                (void)fibre_event_wait(self, &empty, timeout);
        g->empty = NULL;
        if (g->below == 0)
                return 0;
        gate_go(vol);
        return -EBUSY;
}

void gate_go(struct volume *vol)
{
        struct gate *g = vol->gate;
        g->shut = g->call_back = false;
        for (struct state_waiter *w = g->waiting; w; w = w->next)
                fibre_event_set(&w->changed);
}
