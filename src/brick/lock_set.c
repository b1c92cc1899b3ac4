/* Inode and entry locks of one object, and what all kinds share (spec: brick.md §13.2–13.6, §13.9).
 *
 * Invariants: a lock is in exactly one list, and its client's counters say so; a space exists while it holds a lock; a
 * waiting list is in order of arrival. Granted locks of different owners in one space never conflict.
 * Called under the lock of the table that embeds the set (lock.c), or by one thread (tests).
 */
#include "brick/lock_set.h"

#include <assert.h>

/* ---- lists ----------------------------------------------------------------------------------------------------------
 */

struct lock *lock_new(const struct lock_request *want)
{
        size_t name_size = want->name ? strlen(want->name) + 1 : 0;
        struct lock *l = malloc(sizeof *l + want->owner.len + name_size);
        if (!l)
                return NULL;
        *l = (struct lock){.client = want->client,
                           .type = want->type,
                           .pid = want->pid,
                           .caller = want->caller,
                           .flags = want->flags,
                           .start = want->start,
                           .end = want->end,
                           .fd = want->fd,
                           .internal = want->internal,
                           .cookie = want->cookie,
                           .owner_len = want->owner.len};
        if (want->owner.len > 0)
                memcpy(l->owner, want->owner.data, want->owner.len);
        if (want->name)
                l->name = memcpy(l->owner + want->owner.len, want->name, name_size);
        return l;
}

/* Counts L in or out of LIST. */
static void lock_count(const struct lock_space *sp, const struct lock_list_head *list, struct lock_client *c, bool in)
{
        bool waits = list == &sp->waiting;
        uint32_t *n = waits ? &c->waiting : &c->granted[sp->kind];
        assert(in || *n > 0);
        *n += in ? 1 : UINT32_MAX;
        if (!c->totals)
                return;
        atomic_uint *total = waits ? &c->totals->waiting : &c->totals->granted[sp->kind];
        atomic_fetch_add_explicit(total, in ? 1 : UINT32_MAX, memory_order_relaxed);
}

void lock_append(struct lock_space *sp, struct lock_list_head *list, struct lock *l)
{
        l->space = sp;
        l->next = NULL;
        l->prev = list->tail;
        if (list->tail)
                list->tail->next = l;
        else
                list->head = l;
        list->tail = l;
        lock_count(sp, list, l->client, true);
}

void lock_grant(struct lock_space *sp, struct lock *l, const struct lock_events *ev)
{
        l->since = ev->now;
        lock_append(sp, &sp->granted, l);
}

void lock_take(struct lock_list_head *list, struct lock *l)
{
        lock_count(l->space, list, l->client, false);
        if (l->prev)
                l->prev->next = l->next;
        else
                list->head = l->next;
        if (l->next)
                l->next->prev = l->prev;
        else
                list->tail = l->prev;
        l->prev = l->next = NULL;
}

void lock_drop(struct lock_list_head *list, struct lock *l)
{
        lock_take(list, l);
        free(l);
}

bool lock_same_owner(const struct lock *l, const struct lock_client *client, struct slice owner)
{
        return l->client == client && l->owner_len == owner.len &&
               (owner.len == 0 || memcmp(l->owner, owner.data, owner.len) == 0);
}

static struct slice lock_owner(const struct lock *l)
{
        return (struct slice){l->owner, l->owner_len};
}

/* ---- spaces ------------------------------------------------------------------------------------------------------ */

struct lock_space *lock_space_find(const struct lock_set *s, enum lock_kind kind, const char *domain)
{
        for (struct lock_space *sp = s->spaces; sp; sp = sp->next)
                if (sp->kind == kind && streq(sp->domain, domain))
                        return sp;
        return NULL;
}

struct lock_space *lock_space_get(struct lock_set *s, enum lock_kind kind, const char *domain)
{
        struct lock_space *sp = lock_space_find(s, kind, domain);
        if (sp)
                return sp;
        size_t size = strlen(domain) + 1;
        sp = malloc(sizeof *sp + size);
        if (!sp)
                return NULL;
        *sp = (struct lock_space){.next = s->spaces, .set = s, .kind = kind};
        memcpy(sp->domain, domain, size);
        s->spaces = sp;
        return sp;
}

void lock_space_trim(struct lock_set *s, struct lock_space *sp)
{
        if (sp->granted.head || sp->waiting.head)
                return;
        struct lock_space **at = &s->spaces;
        while (*at != sp)
                at = &(*at)->next;
        *at = sp->next;
        free(sp);
}

void lock_set_done(struct lock_set *s)
{
        while (s->spaces) {
                struct lock_space *sp = s->spaces;
                while (sp->granted.head)
                        lock_drop(&sp->granted, sp->granted.head);
                while (sp->waiting.head)
                        lock_drop(&sp->waiting, sp->waiting.head);
                lock_space_trim(s, sp);
        }
}

/* ---- conflicts --------------------------------------------------------------------------------------------------- */

static bool names_overlap(const char *a, const char *b)
{
        return !a || !b || streq(a, b);
}

static bool lock_conflicts(const struct lock *a, const struct lock *b)
{
        if (a->space->kind == LOCK_ENTRY)
                return names_overlap(a->name, b->name);
        return a->start <= b->end && b->start <= a->end && (a->type == LOCK_TYPE_WRITE || b->type == LOCK_TYPE_WRITE);
}

static bool same_owner(const struct lock *a, const struct lock *b)
{
        return lock_same_owner(a, b->client, lock_owner(b));
}

static bool list_has_owner(const struct lock_list_head *list, const struct lock *l)
{
        for (const struct lock *o = list->head; o; o = o->next)
                if (same_owner(o, l))
                        return true;
        return false;
}

static bool granted_conflict(const struct lock *l)
{
        for (const struct lock *g = l->space->granted.head; g; g = g->next)
                if (!same_owner(g, l) && lock_conflicts(g, l))
                        return true;
        return false;
}

static bool waiting_conflict(const struct lock *l)
{
        for (const struct lock *w = l->space->waiting.head; w; w = w->next)
                if (lock_conflicts(w, l))
                        return true;
        return false;
}

/* Who holds an inode lock may take more while the object waits for its removal, or it could never finish. */
static bool removal_conflict(const struct lock *l)
{
        const struct lock_space *sp = l->space;
        return sp->kind == LOCK_INODE && sp->set->removals > 0 && !l->internal && l->client->granted[LOCK_INODE] == 0;
}

/* brick.md §13.3: no granted lock of others in the way, and nobody who came earlier overtaken, unless the owner already
 * has something in this domain (so that nesting cannot deadlock). */
static bool lock_grantable(const struct lock *l)
{
        if (removal_conflict(l) || granted_conflict(l))
                return false;
        return !waiting_conflict(l) || list_has_owner(&l->space->granted, l) || list_has_owner(&l->space->waiting, l);
}

static void tell_holders(const struct lock *l, const struct lock_events *ev)
{
        if (!ev->contended)
                return;
        for (struct lock *g = l->space->granted.head; g; g = g->next)
                if (!same_owner(g, l) && lock_conflicts(g, l))
                        ev->contended(g, ev->arg);
}

/* ---- revocation --------------------------------------------------------------------------------------------------- */

static uint32_t list_length(const struct lock_list_head *list)
{
        uint32_t n = 0;
        for (const struct lock *l = list->head; l; l = l->next)
                n++;
        return n;
}

static bool conflict_is_old(const struct lock *l, uint64_t granted_before)
{
        for (const struct lock *g = l->space->granted.head; g; g = g->next)
                if (g->since < granted_before && !same_owner(g, l) && lock_conflicts(g, l))
                        return true;
        return false;
}

static bool must_revoke(const struct lock *l, const struct lock_revocation *r, uint64_t now)
{
        if (!r || r->age == 0 || !granted_conflict(l))
                return false;
        if (r->max_blocked > 0 && list_length(&l->space->waiting) >= r->max_blocked)
                return true;
        return now > r->age && conflict_is_old(l, now - r->age);
}

static void space_cancel(struct lock_space *sp, int error, const struct lock_events *ev)
{
        while (sp->waiting.head) {
                struct lock *l = sp->waiting.head;
                ev->answer(l, error, ev->arg);
                lock_drop(&sp->waiting, l);
        }
}

static void space_rescan(struct lock_space *sp, const struct lock_events *ev);

static void space_revoke(struct lock_space *sp, const struct lock_revocation *r, const struct lock_events *ev)
{
        while (sp->granted.head)
                lock_drop(&sp->granted, sp->granted.head);
        if (r->waiters_too)
                space_cancel(sp, -EAGAIN, ev);
        space_rescan(sp, ev);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static int lock_place(struct lock_space *sp, struct lock *l, const struct lock_request *want,
                      const struct lock_events *ev)
{
        l->space = sp;
        if (must_revoke(l, want->revocation, ev->now))
                space_revoke(sp, want->revocation, ev);
        if (lock_grantable(l)) {
                lock_grant(sp, l, ev);
                return 0;
        }
        tell_holders(l, ev);
        if (!want->wait) {
                free(l);
                return -EAGAIN;
        }
        lock_append(sp, &sp->waiting, l);
        return LOCK_WAITS;
}

int lock_acquire(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev)
{
        assert(want->kind != LOCK_POSIX && want->type != LOCK_TYPE_UNLOCK);
        struct lock_space *sp = lock_space_get(s, want->kind, want->domain);
        if (!sp)
                return -ENOMEM;
        struct lock *l = lock_new(want);
        int r = l ? lock_place(sp, l, want, ev) : -ENOMEM;
        lock_space_trim(s, sp);
        return r;
}

/* Tests every waiter again, from the head; what still cannot be granted keeps its order. */
static void space_rescan(struct lock_space *sp, const struct lock_events *ev)
{
        struct lock *again = NULL, **at = &again;
        while (sp->waiting.head) {
                struct lock *l = sp->waiting.head;
                lock_take(&sp->waiting, l);
                *at = l;
                at = &l->next;
        }
        for (struct lock *l = again, *next; l; l = next) {
                next = l->next;
                if (lock_grantable(l)) {
                        lock_grant(sp, l, ev);
                        ev->answer(l, 0, ev->arg);
                        l->cookie = NULL;
                } else {
                        lock_append(sp, &sp->waiting, l);
                        tell_holders(l, ev);
                }
        }
}

static bool lock_matches(const struct lock *l, const struct lock_request *want)
{
        if (!lock_same_owner(l, want->client, want->owner))
                return false;
        if (want->kind == LOCK_INODE)
                return l->start == want->start && l->end == want->end;
        if (l->type != want->type)
                return false;
        return l->name && want->name ? streq(l->name, want->name) : l->name == want->name;
}

int lock_release(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev)
{
        assert(want->kind != LOCK_POSIX);
        struct lock_space *sp = lock_space_find(s, want->kind, want->domain);
        struct lock *l = sp ? sp->granted.head : NULL;
        while (l && !lock_matches(l, want))
                l = l->next;
        if (!l)
                return -EINVAL;
        lock_drop(&sp->granted, l);
        space_rescan(sp, ev);
        lock_space_trim(s, sp);
        return 0;
}

/* ---- a client goes ----------------------------------------------------------------------------------------------- */

static void any_rescan(struct lock_space *sp, const struct lock_events *ev)
{
        if (sp->kind == LOCK_POSIX)
                posix_lock_rescan(sp, ev);
        else
                space_rescan(sp, ev);
}

static void space_client_gone(struct lock_space *sp, const struct lock_client *c, const struct lock_events *ev)
{
        bool freed = false;
        for (struct lock *l = sp->waiting.head, *next; l; l = next) {
                next = l->next;
                if (l->client != c)
                        continue;
                ev->answer(l, -EAGAIN, ev->arg);
                lock_drop(&sp->waiting, l);
                freed = true;
        }
        for (struct lock *l = sp->granted.head, *next; l; l = next) {
                next = l->next;
                if (l->client != c)
                        continue;
                lock_drop(&sp->granted, l);
                freed = true;
        }
        if (freed)
                any_rescan(sp, ev);
}

void lock_set_client_gone(struct lock_set *s, struct lock_client *client, const struct lock_events *ev)
{
        for (struct lock_space *sp = s->spaces, *next; sp; sp = next) {
                next = sp->next;
                space_client_gone(sp, client, ev);
                lock_space_trim(s, sp);
        }
        assert(lock_client_is_idle(client));
}

bool lock_client_is_idle(const struct lock_client *c)
{
        for (int k = 0; k < LOCK_KIND_MAX; k++)
                if (c->granted[k] > 0)
                        return false;
        return c->waiting == 0;
}

/* ---- removal of the object ---------------------------------------------------------------------------------------- */

/* Distribute holds its locks while it asks for locks on names, which the remover may have below it: each would wait for the
 * other for ever. Removals wait for those who have an operation on the object to finish, and these locks stand for none. */
static bool is_guard(const struct lock *l, const struct lock_client *remover)
{
        return l->client != remover && !l->internal && strncmp(l->space->domain, "dht.", 4) != 0;
}

bool lock_set_guards(const struct lock_set *s, const struct lock_client *remover)
{
        for (const struct lock_space *sp = s->spaces; sp; sp = sp->next)
                for (const struct lock *l = sp->kind == LOCK_INODE ? sp->granted.head : NULL; l; l = l->next)
                        if (is_guard(l, remover))
                                return true;
        return false;
}

void lock_set_tell_guards(const struct lock_set *s, const struct lock_client *remover, const struct lock_events *ev)
{
        for (const struct lock_space *sp = s->spaces; sp; sp = sp->next)
                for (struct lock *l = sp->kind == LOCK_INODE ? sp->granted.head : NULL; l; l = l->next)
                        if (is_guard(l, remover))
                                ev->contended(l, ev->arg);
}

void lock_set_removal_begin(struct lock_set *s)
{
        s->removals++;
}

void lock_set_removal_end(struct lock_set *s, const struct lock_events *ev)
{
        assert(s->removals > 0);
        if (--s->removals > 0)
                return;
        for (struct lock_space *sp = s->spaces; sp; sp = sp->next)
                if (sp->kind == LOCK_INODE)
                        space_rescan(sp, ev);
}

/* ---- by an administrator ------------------------------------------------------------------------------------------ */

static bool filter_fits(const struct lock_filter *f, const struct lock *l)
{
        if (f->client && l->client != f->client)
                return false;
        if (f->kind == LOCK_ENTRY)
                return !f->name || (l->name && streq(l->name, f->name));
        return !f->has_range || (l->start == f->start && l->end == f->end);
}

static void space_clear(struct lock_space *sp, const struct lock_filter *f, const struct lock_events *ev,
                        struct lock_cleared *n)
{
        for (struct lock *l = f->waiting ? sp->waiting.head : NULL, *next; l; l = next) {
                next = l->next;
                if (!filter_fits(f, l) || (f->client && l->caller != f->caller))
                        continue;
                ev->answer(l, f->error, ev->arg);
                lock_drop(&sp->waiting, l);
                n->waiting++;
        }
        for (struct lock *l = f->granted ? sp->granted.head : NULL, *next; l; l = next) {
                next = l->next;
                if (!filter_fits(f, l))
                        continue;
                lock_drop(&sp->granted, l);
                n->granted++;
        }
}

struct lock_cleared lock_set_clear(struct lock_set *s, const struct lock_filter *f, const struct lock_events *ev)
{
        struct lock_cleared n = {0};
        for (struct lock_space *sp = s->spaces, *next; sp; sp = next) {
                next = sp->next;
                if (sp->kind != f->kind)
                        continue;
                space_clear(sp, f, ev, &n);
                any_rescan(sp, ev);
                lock_space_trim(s, sp);
        }
        return n;
}

void lock_set_drain(struct lock_set *s, int error, const struct lock_events *ev)
{
        for (struct lock_space *sp = s->spaces, *next; sp; sp = next) {
                next = sp->next;
                space_cancel(sp, error, ev);
                for (struct lock *l = sp->kind != LOCK_POSIX ? sp->granted.head : NULL; l; l = l->next)
                        ev->contended(l, ev->arg);
                lock_space_trim(s, sp);
        }
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

uint32_t lock_set_count(const struct lock_set *s, enum lock_kind kind, const char *domain)
{
        uint32_t n = 0;
        for (const struct lock_space *sp = s->spaces; sp; sp = sp->next)
                if (sp->kind == kind && (!domain || streq(sp->domain, domain)))
                        n += list_length(&sp->granted) + list_length(&sp->waiting);
        return n;
}

bool lock_set_has_name(const struct lock_set *s, const char *name)
{
        for (const struct lock_space *sp = s->spaces; sp; sp = sp->next) {
                if (sp->kind != LOCK_ENTRY)
                        continue;
                for (const struct lock *l = sp->granted.head; l; l = l->next)
                        if (l->name && streq(l->name, name))
                                return true;
        }
        return false;
}
