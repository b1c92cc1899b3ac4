/* What all layers of the client share: calls by number, fan-out, events upwards (subvolume.h).
 *
 * Relies on nothing but fibres. Thread: the loop's.
 */
#include "volume/subvolume.h"

#include "proto/chain.h"
#include "volume/state.h"

/* ---- calls by number ------------------------------------------------------------------------------------------------ */

typedef int (*call_fn)(struct fibre *self, struct subvolume *v, struct request *r, const void *req, void *rep);

#define CALL_THUNK_(NAME, name)                                                                                        \
        static int call_##name(struct fibre *self, struct subvolume *v, struct request *r, const void *req, void *rep) \
        {                                                                                                              \
                return v->ops->name(self, v, r, req, rep);                                                             \
        }
SUBVOLUME_FOPS(CALL_THUNK_)

#define CALL_ENTRY_(NAME, name) [FOP_##NAME] = call_##name,
static const call_fn calls[FOP_MAX] = {SUBVOLUME_FOPS(CALL_ENTRY_)};

int subvolume_call(struct fibre *self, struct subvolume *v, enum fop fop, struct request *r, const void *req, void *rep)
{
        if (fop >= FOP_MAX || !calls[fop])
                return -EOPNOTSUPP;
        return calls[fop](self, v, r, req, rep);
}

/* ---- fan-out -------------------------------------------------------------------------------------------------------- */

struct fan_member {
        struct fan *fan;
        enum fop fop;
        struct request *request;
};

static void fan_one(struct fibre *self, void *arg)
{
        struct fan_member *m = arg;
        m->fan->result = subvolume_call(self, m->fan->child, m->fop, m->request, m->fan->req, m->fan->rep);
        m->fan->done = true;
}

void subvolume_fan_out(struct fibre *self, enum fop fop, struct request *r, struct fan *fans, unsigned n)
{
        if (n == 0)
                return;
        struct fan_member last = {.fan = &fans[n - 1], .fop = fop, .request = r};
        struct fan_member *members = n > 1 ? arena_alloc_array(r->arena, n - 1, sizeof *members) : NULL;
        struct fibre_group group = {0};
        for (unsigned i = 0; i + 1 < n; i++) {
                int started = -ENOMEM;
                if (members) {
                        members[i] = (struct fan_member){.fan = &fans[i], .fop = fop, .request = r};
                        started = fibre_group_start(fibre_loop(self), &group, fibre_name(self), fan_one, &members[i]);
                }
                if (started < 0) {
                        fans[i].result = started;
                        fans[i].done = true;
                }
        }
        fan_one(self, &last);
        fibre_group_wait_all(self, &group);
}

/* ---- chains ---------------------------------------------------------------------------------------------------------- */

static void cancel_from(struct chain_step *steps, unsigned from, unsigned n)
{
        for (unsigned i = from; i < n; i++)
                steps[i].result = -ECANCELED;
}

/* S's request, with the gfid that LOOK (NULL: none) found if it leaves that open. NULL: no memory. */
static const void *with_gfid(const struct chain_step *s, const struct lookup_fop_rep *look)
{
        size_t size = fop_by_number(s->fop)->req->size;
        const struct gfid *open = look ? chain_gfid_of(s->fop, (void *)s->req) : NULL;
        if (!open || !gfid_is_null(open))
                return s->req;
        void *copy = arena_alloc(s->request->arena, size);
        if (copy) {
                memcpy(copy, s->req, size);
                *chain_gfid_of(s->fop, copy) = look->prestat.gfid;
        }
        return copy;
}

void subvolume_chain_one_by_one(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n)
{
        const struct lookup_fop_rep *look = NULL;
        for (unsigned i = 0; i < n; i++) {
                struct chain_step *s = &steps[i];
                const void *req = with_gfid(s, look);
                s->result = req ? subvolume_call(self, v, s->fop, s->request, req, s->rep) : -ENOMEM;
                if (s->result < 0) {
                        cancel_from(steps, i + 1, n);
                        return;
                }
                if (s->fop == FOP_LOOKUP)
                        look = s->rep;
        }
}

void subvolume_chain(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n)
{
        if (v->ops->chain)
                v->ops->chain(self, v, steps, n);
        else
                subvolume_chain_one_by_one(self, v, steps, n);
}

static void chain_one(struct fibre *self, void *arg)
{
        struct chain *c = arg;
        subvolume_chain(self, c->child, c->steps, c->n);
}

void subvolume_chain_fan_out(struct fibre *self, struct chain *chains, unsigned n)
{
        struct fibre_group group = {0};
        for (unsigned i = 0; i + 1 < n; i++) {
                if (fibre_group_start(fibre_loop(self), &group, fibre_name(self), chain_one, &chains[i]) < 0)
                        chain_one(self, &chains[i]); /* one after the other: it may be locks that are given back */
        }
        if (n > 0)
                chain_one(self, &chains[n - 1]);
        fibre_group_wait_all(self, &group);
}

/* ---- events --------------------------------------------------------------------------------------------------------- */

static void tell_owner(struct subvolume *v, const struct subvolume_event *e)
{
        const struct volume_config *config = volume_configuration(v->volume);
        const struct subvolume *root = v;
        while (root->parent)
                root = root->parent;
        if (root != v->volume->top) /* of a graph that is not in force yet, or no longer */
                return;
        if (config->on_event)
                config->on_event(v->volume, e, config->arg);
}

void subvolume_tell(struct subvolume *v, const struct subvolume_event *e)
{
        struct subvolume *child = v;
        for (struct subvolume *p = v->parent; p; child = p, p = p->parent) {
                if (e->kind == SUBVOLUME_UP || e->kind == SUBVOLUME_DOWN)
                        p->generation++;
                if (p->ops->on_event) {
                        p->ops->on_event(p, child, e);
                        return;
                }
        }
        tell_owner(v, e);
}

void subvolume_set_tells(struct subvolume *v, uint32_t seconds)
{
        if (v->tells == seconds)
                return;
        v->tells = seconds;
        tell_owner(v, &(struct subvolume_event){.kind = SUBVOLUME_BRICK_TELLS});
}

void subvolume_set_up(struct subvolume *v, bool up)
{
        if (v->up == up)
                return;
        v->up = up;
        v->generation++;
        if (v->n_children == 0 && v->parent)
                tell_owner(v, &(struct subvolume_event){.kind = up ? SUBVOLUME_BRICK_UP : SUBVOLUME_BRICK_DOWN});
        subvolume_tell(v, &(struct subvolume_event){.kind = up ? SUBVOLUME_UP : SUBVOLUME_DOWN});
        volume_state_changed(v->volume);
}
