/* Locks of transactions (replicate.md §3; afr.h).
 *
 * First in parallel without waiting; if somebody else has one of them, all are given back and taken one after the other
 * in the order of the children, waiting. Every client does the same, stock's too: nobody can hold what the other waits
 * for and wait for what the other holds.
 */
#include "volume/afr.h"

#include <stdio.h>

#define LOCK_METADATA_START 0x7ffffffffffffffeull
enum { LK_SET = 1, LK_SET_WAIT = 2, LK_WRITE = 1, LK_UNLOCK = 2 };
enum { ENTRYLK_WAIT = 0, ENTRYLK_UNLOCK = 1, ENTRYLK_TRY = 2 };

enum lock_how { LOCK_TRY, LOCK_WAIT, LOCK_RELEASE };

void afr_locks_add(struct afr_locks *l, const struct gfid *gfid, const char *name)
{
        struct afr_lockee new = {.gfid = *gfid};
        (void)snprintf(new.name, sizeof new.name, "%s", name);
        unsigned at = 0;
        for (; at < l->n; at++) {
                int order = memcmp(gfid->b, l->on[at].gfid.b, sizeof gfid->b);
                if (order < 0 || (order == 0 && strcmp(name, l->on[at].name) < 0))
                        break;
        }
        memmove(&l->on[at + 1], &l->on[at], (l->n - at) * sizeof l->on[0]);
        l->on[at] = new;
        l->n++;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

struct lock_call {
        enum fop fop;
        const void *req;
};

static struct flock_range range_of(const struct afr_locks *l, uint32_t type)
{
        return (struct flock_range){
                .type = type, .start = l->class == AFR_METADATA ? LOCK_METADATA_START : l->start, .len = l->length};
}

static const void *entrylk_request(struct arena *arena, const struct afr_locks *l, const struct afr_lockee *e,
                                   enum lock_how how)
{
        static const uint32_t cmds[] = {
                [LOCK_TRY] = ENTRYLK_TRY, [LOCK_WAIT] = ENTRYLK_WAIT, [LOCK_RELEASE] = ENTRYLK_UNLOCK};
        struct entrylk_fop_req *q = arena_alloc(arena, sizeof *q);
        if (q)
                *q = (struct entrylk_fop_req){.gfid = e->gfid,
                                              .cmd = cmds[how],
                                              .type = LK_WRITE,
                                              .namelen = e->name[0] != 0,
                                              .name = str_of(e->name),
                                              .volume = str_of(l->domain)};
        return q;
}

static const void *finodelk_request(struct arena *arena, const struct afr_locks *l, const struct afr_lockee *e,
                                    enum lock_how how)
{
        struct finodelk_fop_req *q = arena_alloc(arena, sizeof *q);
        uint32_t type = how == LOCK_RELEASE ? LK_UNLOCK : LK_WRITE;
        if (q)
                *q = (struct finodelk_fop_req){.gfid = e->gfid,
                                               .cmd = how == LOCK_WAIT ? LK_SET_WAIT : LK_SET,
                                               .type = type,
                                               .flock = range_of(l, type),
                                               .volume = str_of(l->domain)};
        return q;
}

static const void *inodelk_request(struct arena *arena, const struct afr_locks *l, const struct afr_lockee *e,
                                   enum lock_how how)
{
        struct inodelk_fop_req *q = arena_alloc(arena, sizeof *q);
        uint32_t type = how == LOCK_RELEASE ? LK_UNLOCK : LK_WRITE;
        if (q)
                *q = (struct inodelk_fop_req){.gfid = e->gfid,
                                              .cmd = how == LOCK_WAIT ? LK_SET_WAIT : LK_SET,
                                              .type = type,
                                              .flock = range_of(l, type),
                                              .volume = str_of(l->domain)};
        return q;
}

static struct lock_call lock_call(struct arena *arena, const struct afr_locks *l, unsigned lockee,
                                  const struct vfile *file, enum lock_how how)
{
        const struct afr_lockee *e = &l->on[lockee];
        if (l->class == AFR_ENTRY)
                return (struct lock_call){FOP_ENTRYLK, entrylk_request(arena, l, e, how)};
        if (file)
                return (struct lock_call){FOP_FINODELK, finodelk_request(arena, l, e, how)};
        return (struct lock_call){FOP_INODELK, inodelk_request(arena, l, e, how)};
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

/* All lockees on the children of sets[lockee] at once. Results per lockee and child. */
static void lock_parallel(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l,
                          const afr_set sets[], enum lock_how how, int results[][AFR_CHILDREN_MAX])
{
        struct fan fans[AFR_LOCKEES_MAX * AFR_CHILDREN_MAX];
        int *result_of[AFR_LOCKEES_MAX * AFR_CHILDREN_MAX];
        unsigned n = 0;
        enum fop fop = FOP_NULL;
        for (unsigned k = 0; k < l->n; k++) {
                struct lock_call c = lock_call(r->arena, l, k, file, how);
                fop = c.fop;
                AFR_EACH(i, sets[k])
                {
                        void *rep = c.req ? arena_alloc(r->arena, afr_rep_size(c.fop)) : NULL;
                        results[k][i] = -ENOMEM;
                        if (!rep)
                                continue;
                        result_of[n] = &results[k][i];
                        fans[n++] = (struct fan){.child = a->base.children[i], .req = c.req, .rep = rep};
                }
        }
        subvolume_fan_out(self, fop, r, fans, n);
        for (unsigned k = 0; k < n; k++)
                *result_of[k] = fans[k].result;
}

static void release_sets(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l,
                         const afr_set sets[])
{
        int results[AFR_LOCKEES_MAX][AFR_CHILDREN_MAX];
        afr_set any = 0;
        for (unsigned k = 0; k < l->n; k++)
                any |= sets[k];
        if (any)
                lock_parallel(self, a, r, file, l, sets, LOCK_RELEASE, results);
}

/* Without waiting. True: somebody else has one of the locks, and nothing is held now. */
static bool lock_try(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l,
                     afr_set on, int *error)
{
        int results[AFR_LOCKEES_MAX][AFR_CHILDREN_MAX];
        afr_set sets[AFR_LOCKEES_MAX] = {on, on, on};
        lock_parallel(self, a, r, file, l, sets, LOCK_TRY, results);
        bool taken = false;
        for (unsigned k = 0; k < l->n; k++) {
                AFR_EACH(i, on)
                {
                        if (results[k][i] >= 0)
                                l->held[k] |= AFR_BIT(i);
                        else if (results[k][i] == -EAGAIN)
                                taken = true;
                        else if (results[k][i] != -ENOTCONN)
                                *error = results[k][i];
                }
        }
        if (!taken)
                return false;
        release_sets(self, a, r, file, l, l->held);
        memset(l->held, 0, sizeof l->held);
        return true;
}

/* All lockees on one child, in order, waiting. */
static int lock_child(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l,
                      unsigned child)
{
        afr_set got[AFR_LOCKEES_MAX] = {0};
        for (unsigned k = 0; k < l->n; k++) {
                int results[AFR_LOCKEES_MAX][AFR_CHILDREN_MAX];
                afr_set one[AFR_LOCKEES_MAX] = {0};
                one[k] = AFR_BIT(child);
                lock_parallel(self, a, r, file, l, one, LOCK_WAIT, results);
                if (results[k][child] < 0) {
                        release_sets(self, a, r, file, l, got);
                        return results[k][child];
                }
                got[k] = AFR_BIT(child);
        }
        for (unsigned k = 0; k < l->n; k++)
                l->held[k] |= got[k];
        return 0;
}

static afr_set held_all(const struct afr_locks *l)
{
        afr_set s = ~(afr_set)0;
        for (unsigned k = 0; k < l->n; k++)
                s &= l->held[k];
        return l->n ? s : 0;
}

int afr_lock(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l, afr_set on,
             afr_set *ret)
{
        l->owner = ++a->owners;
        if (!l->domain)
                l->domain = a->base.name;
        struct request ours;
        afr_internal_request(r, l->owner, &ours);
        ours.file = file;
        int error = -ENOTCONN;
        if (lock_try(self, a, &ours, file, l, on, &error)) {
                if (l->try_only)
                        return -EAGAIN;
                AFR_EACH(i, on)
                {
                        int result = lock_child(self, a, &ours, file, l, i);
                        if (result < 0 && result != -ENOTCONN)
                                error = result;
                }
        }
        afr_set all = held_all(l);
        if (!all || (error != -ENOTCONN && !afr_quorum(a, all))) {
                release_sets(self, a, &ours, file, l, l->held);
                memset(l->held, 0, sizeof l->held);
                return error;
        }
        *ret = all;
        return 0;
}

void afr_unlock(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l)
{
        if (!l->owner)
                return;
        struct request ours;
        afr_internal_request(r, l->owner, &ours);
        ours.file = file;
        release_sets(self, a, &ours, file, l, l->held);
        memset(l->held, 0, sizeof l->held);
        l->owner = 0;
}
