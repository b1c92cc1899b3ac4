/* Posix locks of one object: ranges that merge and split per owner (spec: brick.md §13.6, §13.7).
 *
 * Invariants: granted ranges of one owner never overlap each other; two of the same type and flags never touch; granted
 * locks of different owners overlap only if both are read locks. Called like lock_set.c.
 */
#include "brick/lock_set.h"

#include <assert.h>

#define POSIX_DOMAIN ""

static struct lock_space *posix_space(const struct lock_set *s)
{
        return lock_space_find(s, LOCK_POSIX, POSIX_DOMAIN);
}

static bool ranges_overlap(const struct lock *l, uint64_t start, uint64_t end)
{
        return l->start <= end && start <= l->end;
}

static bool ranges_touch(const struct lock *l, uint64_t start, uint64_t end)
{
        return ranges_overlap(l, start, end) || l->end + 1 == start || end + 1 == l->start;
}

static const struct lock *range_conflict(const struct lock_space *sp, const struct lock_client *client,
                                         struct slice owner, uint32_t type, uint64_t start, uint64_t end)
{
        for (const struct lock *g = sp->granted.head; g; g = g->next) {
                if (lock_same_owner(g, client, owner) || !ranges_overlap(g, start, end))
                        continue;
                if (g->type == LOCK_TYPE_WRITE || type == LOCK_TYPE_WRITE)
                        return g;
        }
        return NULL;
}

const struct lock *posix_lock_conflict(const struct lock_set *s, const struct lock_request *want)
{
        struct lock_space *sp = posix_space(s);
        return sp ? range_conflict(sp, want->client, want->owner, want->type, want->start, want->end) : NULL;
}

/* ---- cutting a hole ---------------------------------------------------------------------------------------------- */

static struct lock *lock_clone(const struct lock *l)
{
        struct lock_request r = {.kind = LOCK_POSIX,
                                 .client = l->client,
                                 .owner = {l->owner, l->owner_len},
                                 .type = l->type,
                                 .start = l->start,
                                 .end = l->end,
                                 .pid = l->pid,
                                 .caller = l->caller,
                                 .flags = l->flags,
                                 .internal = l->internal,
                                 .fd = l->fd};
        return lock_new(&r);
}

/* The granted lock of this owner that has bytes on both sides of the range; at most one exists. */
static const struct lock *lock_around(const struct lock_space *sp, const struct lock_client *client, struct slice owner,
                                      uint64_t start, uint64_t end)
{
        for (const struct lock *g = sp->granted.head; g; g = g->next)
                if (lock_same_owner(g, client, owner) && g->start < start && end < g->end)
                        return g;
        return NULL;
}

/* Takes [START, END] from G. SPARE: a clone of G if the range is strictly inside it. */
static void lock_cut(struct lock_space *sp, struct lock *g, uint64_t start, uint64_t end, struct lock **spare)
{
        if (g->start < start && end < g->end) {
                struct lock *right = TAKE_PTR(*spare);
                right->start = end + 1;
                g->end = start - 1;
                lock_append(sp, &sp->granted, right);
        } else if (g->start < start) {
                g->end = start - 1;
        } else if (end < g->end) {
                g->start = end + 1;
        } else {
                lock_drop(&sp->granted, g);
        }
}

/* Takes the range from the owner's locks. -ENOMEM: nothing was changed. */
static int range_clear(struct lock_space *sp, const struct lock_client *client, struct slice owner, uint64_t start,
                       uint64_t end)
{
        _cleanup_free_ struct lock *spare = NULL;
        const struct lock *around = lock_around(sp, client, owner, start, end);
        if (around) {
                spare = lock_clone(around);
                if (!spare)
                        return -ENOMEM;
        }
        for (struct lock *g = sp->granted.head, *next; g; g = next) {
                next = g->next;
                if (lock_same_owner(g, client, owner) && ranges_overlap(g, start, end))
                        lock_cut(sp, g, start, end, &spare);
        }
        return 0;
}

/* ---- granting ---------------------------------------------------------------------------------------------------- */

/* L, in no list, becomes granted: it swallows what touches it and is alike, and replaces what is not. */
static int lock_insert(struct lock_space *sp, struct lock *l)
{
        struct slice owner = {l->owner, l->owner_len};
        const struct lock *around = lock_around(sp, l->client, owner, l->start, l->end);
        bool alike_around = around && around->type == l->type && around->flags == l->flags;
        if (!alike_around) {
                int r = range_clear(sp, l->client, owner, l->start, l->end);
                if (r < 0)
                        return r;
        }
        for (struct lock *g = sp->granted.head, *next; g; g = next) {
                next = g->next;
                if (!lock_same_owner(g, l->client, owner) || g->type != l->type || g->flags != l->flags ||
                    !ranges_touch(g, l->start, l->end))
                        continue;
                l->start = MIN(l->start, g->start);
                l->end = MAX(l->end, g->end);
                lock_drop(&sp->granted, g);
        }
        lock_append(sp, &sp->granted, l);
        return 0;
}

static struct lock *first_grantable(const struct lock_space *sp)
{
        for (struct lock *l = sp->waiting.head; l; l = l->next) {
                struct slice owner = {l->owner, l->owner_len};
                if (!range_conflict(sp, l->client, owner, l->type, l->start, l->end))
                        return l;
        }
        return NULL;
}

void posix_lock_rescan(struct lock_space *sp, const struct lock_events *ev)
{
        struct lock *l;
        while ((l = first_grantable(sp)) != NULL) {
                lock_take(&sp->waiting, l);
                /* Its owner's own locks were taken from this range when it was queued, so it can only need room that a
                 * later lock of the owner took: without memory the request fails. */
                int r = lock_insert(sp, l);
                ev->answer(l, r, ev->arg);
                l->cookie = NULL;
                if (r < 0)
                        free(l);
        }
}

static int posix_unlock(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev)
{
        struct lock_space *sp = posix_space(s);
        if (!sp)
                return 0;
        int r = range_clear(sp, want->client, want->owner, want->start, want->end);
        if (r < 0)
                return r;
        posix_lock_rescan(sp, ev);
        lock_space_trim(s, sp);
        return 0;
}

/* Queues L. Its owner gives up what it holds of the range first: two readers that both want to write would wait for
 * each other for ever. Who is granted for that may turn a write lock into a read lock, so L may be granted at once. */
static int posix_queue(struct lock_space *sp, struct lock *l, const struct lock_events *ev)
{
        struct slice owner = {l->owner, l->owner_len};
        int r = range_clear(sp, l->client, owner, l->start, l->end);
        if (r < 0)
                return r;
        lock_append(sp, &sp->waiting, l);
        posix_lock_rescan(sp, ev);
        return LOCK_WAITS;
}

static int posix_place(struct lock_space *sp, struct lock *l, bool wait, const struct lock_events *ev)
{
        struct slice owner = {l->owner, l->owner_len};
        if (range_conflict(sp, l->client, owner, l->type, l->start, l->end))
                return wait ? posix_queue(sp, l, ev) : -EAGAIN;
        int r = lock_insert(sp, l);
        if (r == 0)
                posix_lock_rescan(sp, ev); /* a write lock may have become a read lock */
        return r;
}

int posix_lock_apply(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev)
{
        assert(want->kind == LOCK_POSIX && want->start <= want->end);
        if (want->type == LOCK_TYPE_UNLOCK)
                return posix_unlock(s, want, ev);
        struct lock_space *sp = lock_space_get(s, LOCK_POSIX, POSIX_DOMAIN);
        if (!sp)
                return -ENOMEM;
        struct lock *l = lock_new(want);
        int r = l ? posix_place(sp, l, want->wait, ev) : -ENOMEM;
        if (r < 0)
                free(l);
        lock_space_trim(s, sp);
        return r;
}

/* ---- flush, release ---------------------------------------------------------------------------------------------- */

void posix_lock_flush(struct lock_set *s, const struct lock_client *client, struct slice owner, const void *fd,
                      const struct lock_events *ev)
{
        struct lock_space *sp = posix_space(s);
        if (!sp)
                return;
        for (struct lock *g = sp->granted.head, *next; g; g = next) {
                next = g->next;
                if (owner.len > 0 ? lock_same_owner(g, client, owner) : g->client == client && g->fd == fd)
                        lock_drop(&sp->granted, g);
        }
        posix_lock_rescan(sp, ev);
        lock_space_trim(s, sp);
}

void posix_lock_fd_gone(struct lock_set *s, const struct lock_client *client, const void *fd,
                        const struct lock_events *ev)
{
        struct lock_space *sp = posix_space(s);
        if (!sp)
                return;
        for (struct lock *w = sp->waiting.head, *next; w; w = next) {
                next = w->next;
                if (w->client != client || w->fd != fd)
                        continue;
                ev->answer(w, -EBADF, ev->arg);
                lock_drop(&sp->waiting, w);
        }
        posix_lock_flush(s, client, (struct slice){}, fd, ev);
}

/* ---- mandatory locks, hand-over ----------------------------------------------------------------------------------- */

bool posix_lock_blocks_io(const struct lock_set *s, const struct lock_client *client, struct slice owner, uint32_t type,
                          uint64_t start, uint64_t end, uint32_t flag)
{
        const struct lock_space *sp = posix_space(s);
        for (const struct lock *g = sp ? sp->granted.head : NULL; g; g = g->next) {
                if (lock_same_owner(g, client, owner) || !ranges_overlap(g, start, end) || (flag && !(g->flags & flag)))
                        continue;
                if (g->type == LOCK_TYPE_WRITE || type == LOCK_TYPE_WRITE)
                        return true;
        }
        return false;
}

/* The owner's lock at byte AT that is good for TYPE. */
static const struct lock *lock_at(const struct lock_space *sp, const struct lock_client *client, struct slice owner,
                                  uint32_t type, uint64_t at)
{
        for (const struct lock *g = sp->granted.head; g; g = g->next)
                if (ranges_overlap(g, at, at) && lock_same_owner(g, client, owner) &&
                    (g->type == LOCK_TYPE_WRITE || type == LOCK_TYPE_READ))
                        return g;
        return NULL;
}

bool posix_lock_covers(const struct lock_set *s, const struct lock_client *client, struct slice owner, uint32_t type,
                       uint64_t start, uint64_t end)
{
        const struct lock_space *sp = posix_space(s);
        if (!sp)
                return false;
        for (uint64_t at = start;;) {
                const struct lock *g = lock_at(sp, client, owner, type, at);
                if (!g)
                        return false;
                if (g->end >= end)
                        return true;
                at = g->end + 1;
        }
}

void posix_lock_preempt(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev)
{
        struct lock_space *sp = posix_space(s);
        if (!sp || !posix_lock_conflict(s, want))
                return;
        for (struct lock *w = sp->waiting.head, *next; w; w = next) {
                next = w->next;
                if (!ranges_overlap(w, want->start, want->end) || lock_same_owner(w, want->client, want->owner))
                        continue;
                ev->answer(w, -EBUSY, ev->arg);
                lock_drop(&sp->waiting, w);
        }
        struct lock *g;
        while ((g = (struct lock *)posix_lock_conflict(s, want)) != NULL)
                lock_drop(&sp->granted, g);
        posix_lock_rescan(sp, ev);
        lock_space_trim(s, sp);
}

static struct lock *first_through(const struct lock_space *sp, const void *fd)
{
        struct lock *g = sp ? sp->granted.head : NULL;
        while (g && g->fd != fd)
                g = g->next;
        return g;
}

int posix_lock_move(struct lock_set *s, const void *from_fd, struct lock_client *client, const void *fd)
{
        struct lock_space *sp = posix_space(s);
        struct lock *l;
        while (from_fd != fd && (l = first_through(sp, from_fd)) != NULL) {
                struct lock_client *before = l->client;
                lock_take(&sp->granted, l);
                l->client = client;
                l->fd = fd;
                int r = lock_insert(sp, l);
                if (r < 0) {
                        l->client = before;
                        l->fd = from_fd;
                        lock_append(sp, &sp->granted, l);
                        return r;
                }
        }
        return 0;
}

bool posix_lock_held(const struct lock_set *s, const struct lock_client *client, const void *fd)
{
        const struct lock_space *sp = posix_space(s);
        for (const struct lock *g = sp ? sp->granted.head : NULL; g; g = g->next)
                if (g->client == client && g->fd == fd)
                        return true;
        return false;
}
