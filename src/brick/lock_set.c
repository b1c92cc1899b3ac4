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
                           .flags = want->flags,
                           .start = want->start,
                           .end = want->end,
                           .fd = want->fd,
                           .cookie = want->cookie,
                           .owner_len = want->owner.len};
        if (want->owner.len > 0)
                memcpy(l->owner, want->owner.data, want->owner.len);
        if (want->name)
                l->name = memcpy(l->owner + want->owner.len, want->name, name_size);
        return l;
}

static uint32_t *lock_counter(const struct lock_space *sp, const struct lock_list_head *list, const struct lock *l)
{
        return list == &sp->waiting ? &l->client->waiting : &l->client->granted;
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
        ++*lock_counter(sp, list, l);
        if (l->client->total)
                atomic_fetch_add_explicit(l->client->total, 1, memory_order_relaxed);
}

void lock_take(struct lock_list_head *list, struct lock *l)
{
        uint32_t *counter = lock_counter(l->space, list, l);
        assert(*counter > 0);
        --*counter;
        if (l->client->total)
                atomic_fetch_sub_explicit(l->client->total, 1, memory_order_relaxed);
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
        *sp = (struct lock_space){.next = s->spaces, .kind = kind};
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

/* brick.md §13.3: no granted lock of others in the way, and nobody who came earlier overtaken, unless the owner already
 * has something in this domain (so that nesting cannot deadlock). */
static bool lock_grantable(const struct lock *l)
{
        if (granted_conflict(l))
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

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static int lock_place(struct lock_space *sp, struct lock *l, bool wait, const struct lock_events *ev)
{
        l->space = sp;
        if (lock_grantable(l)) {
                lock_append(sp, &sp->granted, l);
                return 0;
        }
        tell_holders(l, ev);
        if (!wait) {
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
        int r = l ? lock_place(sp, l, want->wait, ev) : -ENOMEM;
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
                        lock_append(sp, &sp->granted, l);
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
        if (!freed)
                return;
        if (sp->kind == LOCK_POSIX)
                posix_lock_rescan(sp, ev);
        else
                space_rescan(sp, ev);
}

void lock_set_client_gone(struct lock_set *s, struct lock_client *client, const struct lock_events *ev)
{
        for (struct lock_space *sp = s->spaces, *next; sp; sp = next) {
                next = sp->next;
                space_client_gone(sp, client, ev);
                lock_space_trim(s, sp);
        }
        assert(client->granted == 0 && client->waiting == 0);
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

static uint32_t list_length(const struct lock_list_head *list)
{
        uint32_t n = 0;
        for (const struct lock *l = list->head; l; l = l->next)
                n++;
        return n;
}

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
