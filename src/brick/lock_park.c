/* Parked calls (guard.h): the removal guard, and I/O that waits for mandatory locks (spec: brick.md §13.5, §13.7).
 *
 * A parked call is in the list of its object's table from park_add() to parked_forget(). It waits until park_scan(),
 * at the end of each step on the table, finds that nothing is in its way; then it is handed to its session, which
 * serves it again and forgets it. A removal counts in the table's set for that whole time, so that nobody gets a new
 * lock between the last unlock and the removal. A call that has to wait once more is parked as a new one.
 * Any thread.
 */
#include "brick/lock_park.h"

#include "brick/dispatch.h"

enum parked_state { PARKED_WAITS, PARKED_RESUMED };

struct parked_fop {
        struct parked_call base;
        struct parked_fop *next, **link; /* in the table's list */
        struct lock_hold *hold;
        struct park_reason why;
        enum parked_state state;
        struct delivery *delivery; /* while it waits */
        struct rpc_call call;
        uint8_t args[];
};

static struct slice parked_owner(const struct parked_fop *p)
{
        return (struct slice){p->call.cred.owner, p->call.cred.owner_len};
}

/* ---- parking ----------------------------------------------------------------------------------------------------- */

bool park_possible(const struct op *op)
{
        return op->call && op->session->resume;
}

static void parked_serve(struct parked_call *p, struct arena *arena);
static void parked_forget(struct parked_call *p);

static struct parked_fop *parked_new(const struct rpc_call *call, const struct park_reason *why)
{
        _cleanup_(delivery_freep) struct delivery *d = calloc(1, sizeof *d);
        struct parked_fop *p = malloc(sizeof *p + call->args.len);
        if (!p || !d) {
                free(p);
                return NULL;
        }
        d->kind = DELIVER_RESUME;
        d->resume = &p->base;
        *p = (struct parked_fop){.base = {.serve = parked_serve, .forget = parked_forget},
                                 .why = *why,
                                 .delivery = TAKE_PTR(d),
                                 .call = *call};
        memcpy(p->args, call->args.data, call->args.len);
        p->call.args.data = p->args;
        return p;
}

/* Under the table's mutex. */
static void parked_link(struct parked_fop *p, struct lock_hold *h)
{
        struct lock_table *t = h->table;
        struct lock_session *ls = h->session;
        p->hold = h;
        p->link = t->parked_tail;
        *t->parked_tail = p;
        t->parked_tail = &p->next;
        h->parked++;
        atomic_fetch_add(&ls->totals.waiting, 1);
        atomic_fetch_add(&ls->parked_bytes, p->call.args.len);
        if (p->why.kind == PARK_REMOVAL)
                lock_set_removal_begin(&t->set);
}

/* Under the table's mutex. */
static void parked_end(struct lock_step *st, struct parked_fop *p)
{
        struct lock_hold *h = p->hold;
        struct lock_session *ls = h->session;
        *p->link = p->next;
        if (p->next)
                p->next->link = p->link;
        else
                h->table->parked_tail = p->link;
        h->parked--;
        atomic_fetch_sub(&ls->totals.waiting, 1);
        atomic_fetch_sub(&ls->parked_bytes, p->call.args.len);
        if (p->why.kind == PARK_REMOVAL)
                lock_set_removal_end(&st->table->set, &st->ev);
        delivery_free(p->delivery);
        free(p);
}

int park_add(struct op *op, struct lock_step *st, const struct park_reason *why)
{
        struct lock_session *ls = lock_session_get(op->session);
        if (!ls)
                return -ENOMEM;
        if (atomic_load(&ls->totals.waiting) >= LOCK_WAITS_PER_SESSION ||
            atomic_load(&ls->parked_bytes) + op->call->args.len > PARKED_BYTES_PER_SESSION)
                return -ENOLCK;
        struct parked_fop *p = parked_new(op->call, why);
        struct lock_hold *h = p ? lock_hold_get(st->table, ls, st->inode) : NULL;
        if (!h) {
                if (p)
                        delivery_free(p->delivery);
                free(p);
                return -ENOMEM;
        }
        parked_link(p, h);
        return OP_PARKED;
}

/* ---- going on ---------------------------------------------------------------------------------------------------- */

static bool may_go_on(const struct lock_set *s, const struct parked_fop *p)
{
        const struct lock_client *c = &p->hold->client;
        const struct park_reason *w = &p->why;
        if (w->kind == PARK_REMOVAL)
                return !lock_set_guards(s, c);
        return !posix_lock_blocks_io(s, c, parked_owner(p), w->type, w->start, w->end, w->flag);
}

void park_scan(struct lock_step *st)
{
        for (struct parked_fop *p = st->table->parked; p; p = p->next) {
                if (p->state != PARKED_WAITS || !may_go_on(&st->table->set, p))
                        continue;
                p->state = PARKED_RESUMED;
                lock_step_add(st, p->hold->session, TAKE_PTR(p->delivery));
        }
}

void park_hold_gone(struct lock_step *st, struct lock_hold *h)
{
        for (struct parked_fop *p = st->table->parked, *next; p; p = next) {
                next = p->next;
                if (p->hold == h && p->state == PARKED_WAITS)
                        parked_end(st, p);
        }
}

static void parked_forget(struct parked_call *base)
{
        struct parked_fop *p = CONTAINER_OF(base, struct parked_fop, base);
        struct brick *b = p->hold->session->session->brick;
        struct inode *inode = inode_ref(p->hold->inode);
        struct lock_step st;
        lock_step_begin(&st, b, inode, p->hold->table);
        parked_end(&st, p);
        lock_step_end(&st);
        inode_unref(b, inode);
}

static void parked_serve(struct parked_call *base, struct arena *arena)
{
        struct parked_fop *p = CONTAINER_OF(base, struct parked_fop, base);
        dispatch_again(p->hold->session->session, &p->call, arena);
        parked_forget(base);
}

void session_resume(struct parked_call *p, struct arena *arena)
{
        p->serve(p, arena);
}

void session_forget(struct parked_call *p)
{
        p->forget(p);
}

/* ---- removal ----------------------------------------------------------------------------------------------------- */

static int removal_check(struct op *op, struct lock_step *st)
{
        struct lock_session *ls = atomic_load(&op->session->locks);
        struct lock_hold *h = ls ? lock_hold_find(st->table, ls) : NULL;
        const struct lock_client *c = h ? &h->client : NULL;
        struct lock_set *set = &st->table->set;
        if (!park_possible(op) || !lock_set_guards(set, c)) {
                lock_set_removal_begin(set);
                return 0;
        }
        lock_set_tell_guards(set, c, &st->ev);
        return park_add(op, st, &(struct park_reason){.kind = PARK_REMOVAL});
}

int removal_begin(struct op *op, struct inode *victim, struct removal *ret)
{
        *ret = (struct removal){0};
        if (!victim)
                return 0;
        struct lock_table *t = lock_table_get(victim);
        if (!t)
                return -ENOMEM;
        struct lock_step st;
        lock_step_begin(&st, op->brick, victim, t);
        int r = removal_check(op, &st);
        lock_step_end(&st);
        if (r == 0)
                *ret = (struct removal){.inode = inode_ref(victim), .table = t};
        return r;
}

void removal_end(struct op *op, struct removal *r)
{
        if (!r->inode)
                return;
        struct lock_step st;
        lock_step_begin(&st, op->brick, r->inode, r->table);
        lock_set_removal_end(&st.table->set, &st.ev);
        lock_step_end(&st);
        inode_unref(op->brick, TAKE_PTR(r->inode));
}
