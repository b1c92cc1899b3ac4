/* Locks of transactions (replicate.md §3; afr.h).
 *
 * First in parallel without waiting; if somebody else has one of them, all are given back and taken one after the other
 * in the order of the children, waiting. Every client does the same, stock's too: nobody can hold what the other waits
 * for and wait for what the other holds.
 *
 * Marks may follow the locks in the same message: a brick sets them only if it has granted the locks. They are taken back
 * with the locks when the attempt fails elsewhere.
 */
#include "volume/afr.h"

#include <stdio.h>

#define RELEASE_ARENA (64 * KIB)
#define LOCK_METADATA_START 0x7ffffffffffffffeull
enum { LK_SET = 1, LK_SET_WAIT = 2, LK_WRITE = 1, LK_UNLOCK = 2 };
enum { ENTRYLK_WAIT = 0, ENTRYLK_UNLOCK = 1, ENTRYLK_TRY = 2 };

enum lock_how { LOCK_TRY, LOCK_WAIT, LOCK_RELEASE };

void afr_locks_add(struct afr_locks *l, const struct gfid *gfid, const char *name)
{
        struct afr_lockee new = {.gfid = *gfid, .metadata = l->class == AFR_METADATA};
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

void afr_locks_add_metadata(struct afr_locks *l, const struct gfid *gfid)
{
        l->on[l->n++] = (struct afr_lockee){.gfid = *gfid, .metadata = true};
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

struct lock_call {
        enum fop fop;
        const void *req;
};

static struct flock_range range_of(const struct afr_locks *l, const struct afr_lockee *e, uint32_t type)
{
        if (e->metadata)
                return (struct flock_range){.type = type, .start = LOCK_METADATA_START};
        return (struct flock_range){.type = type, .start = l->start, .len = l->length};
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

/* Of an inode or of an open file: they differ in their structure only. */
#define INODELK_REQUEST_(name)                                                                                         \
        static const void *name##_request(struct arena *arena, const struct afr_locks *l, const struct afr_lockee *e,  \
                                          enum lock_how how)                                                           \
        {                                                                                                              \
                struct name##_fop_req *q = arena_alloc(arena, sizeof *q);                                              \
                uint32_t type = how == LOCK_RELEASE ? LK_UNLOCK : LK_WRITE;                                            \
                if (q)                                                                                                 \
                        *q = (struct name##_fop_req){.gfid = e->gfid,                                                  \
                                                     .cmd = how == LOCK_WAIT ? LK_SET_WAIT : LK_SET,                   \
                                                     .type = type,                                                     \
                                                     .flock = range_of(l, e, type),                                    \
                                                     .volume = str_of(l->domain)};                                     \
                return q;                                                                                              \
        }
INODELK_REQUEST_(inodelk)
INODELK_REQUEST_(finodelk)

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

static void add_lock(struct afr_chains *x, struct afr_chain *c, struct request *ours, const struct vfile *file,
                     const struct afr_locks *l, unsigned lockee, enum lock_how how)
{
        struct lock_call call = lock_call(x->arena, l, lockee, file, how);
        afr_chain_add(x, c, call.fop, ours, call.req, how == LOCK_RELEASE ? AFR_STEP_UNLOCK : AFR_STEP_LOCK, lockee);
}

void afr_lock_add(struct afr_chains *x, struct afr_chain *c, struct request *ours, const struct afr_locks *l)
{
        for (unsigned k = 0; k < l->n; k++)
                add_lock(x, c, ours, NULL, l, k, LOCK_TRY);
}

/* ---- giving back ------------------------------------------------------------------------------------------------- */

bool afr_locks_held(const struct afr_locks *l)
{
        afr_set any = 0;
        for (unsigned k = 0; k < l->n; k++)
                any |= l->held[k];
        return any != 0;
}

void afr_unlock_add(struct afr_chains *x, struct afr_chain *c, struct request *ours, struct vfile *file,
                    const struct afr_locks *l)
{
        for (unsigned k = 0; c && k < l->n; k++) {
                if (l->held[k] & AFR_BIT(c->child))
                        add_lock(x, c, ours, file, l, k, LOCK_RELEASE);
        }
}

void afr_unlock_note(const struct afr_chains *x, struct afr_locks *l)
{
        for (unsigned k = 0; k < l->n; k++) {
                struct afr_answers answers = {0};
                afr_chains_answers(x, AFR_STEP_UNLOCK, k, &answers);
                AFR_EACH(i, answers.asked)
                {
                        if (answers.result[i] != -ECANCELED)
                                l->held[k] &= ~AFR_BIT(i);
                }
        }
}

/* All that is held, each by itself: one that fails must not keep the others. -ENOMEM: none was sent. */
static int release_in(struct fibre *self, struct afr *a, struct request *ours, struct vfile *file,
                      const struct afr_locks *l)
{
        struct afr_chains x;
        afr_chains_init(&x, a, ours->arena);
        for (unsigned k = 0; k < l->n; k++) {
                AFR_EACH(i, l->held[k])
                {
                        add_lock(&x, afr_chain_new(&x, i), ours, file, l, k, LOCK_RELEASE);
                }
        }
        return afr_chains_run(self, &x);
}

/* A lock that stays would stop everybody else for good: when the request has used up its memory there is some more. */
static void release(struct fibre *self, struct afr *a, struct request *ours, struct vfile *file, struct afr_locks *l)
{
        if (release_in(self, a, ours, file, l) < 0) {
                struct arena more = ARENA_INIT(RELEASE_ARENA);
                struct request again = *ours;
                again.arena = &more;
                (void)release_in(self, a, &again, file, l);
                arena_done(&more);
        }
        memset(l->held, 0, sizeof l->held);
}

/* What was taken and marked, after an attempt that failed. */
static void give_back(struct fibre *self, struct afr *a, struct request *ours, struct vfile *file, struct afr_locks *l)
{
        struct afr_follow *f = l->follow;
        struct afr_chains x;
        afr_chains_init(&x, a, ours->arena);
        AFR_EACH(i, f ? l->held[0] : 0)
        {
                struct afr_chain *c = afr_chain_new(&x, i);
                for (unsigned k = 0; c && k < f->n; k++) {
                        if (f->answers[k].ok & AFR_BIT(i))
                                afr_chain_add(&x, c, f->fop, &f->request, f->undo[k], AFR_STEP_MARK, k);
                }
                afr_unlock_add(&x, c, ours, file, l);
        }
        if (afr_chains_run(self, &x) == 0)
                afr_unlock_note(&x, l);
        if (f)
                memset(f->answers, 0, sizeof f->answers);
        release(self, a, ours, file, l);
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

/* Child I's locks and marks: in a chain, where that is no slower than several locks at once. */
static void add_child(struct afr_chains *x, struct request *ours, struct vfile *file, struct afr_locks *l, unsigned i)
{
        struct afr_follow *f = l->follow;
        if (l->n > 1 && !x->afr->base.children[i]->chains) {
                for (unsigned k = 0; k < l->n; k++)
                        add_lock(x, afr_chain_new(x, i), ours, file, l, k, LOCK_TRY);
                return;
        }
        struct afr_chain *c = afr_chain_new(x, i);
        for (unsigned k = 0; k < l->n; k++)
                add_lock(x, c, ours, file, l, k, LOCK_TRY);
        for (unsigned k = 0; f && k < f->n; k++)
                afr_chain_add(x, c, f->fop, &f->request, f->set[k], AFR_STEP_MARK, k);
}

/* Without waiting. True: somebody else has one of the locks, and nothing is held now. */
static bool lock_try(struct fibre *self, struct afr *a, struct request *ours, struct vfile *file, struct afr_locks *l,
                     afr_set on, int *error)
{
        struct afr_chains x;
        bool taken = false;
        afr_chains_init(&x, a, ours->arena);
        AFR_EACH(i, on)
        {
                add_child(&x, ours, file, l, i);
        }
        if (afr_chains_run(self, &x) < 0)
                *error = -ENOMEM;
        for (unsigned k = 0; k < l->n && *error != -ENOMEM; k++) {
                struct afr_answers answers = {0};
                afr_chains_answers(&x, AFR_STEP_LOCK, k, &answers);
                l->held[k] = answers.ok;
                AFR_EACH(i, answers.asked & ~answers.ok)
                {
                        if (answers.result[i] == -EAGAIN)
                                taken = true;
                        else if (answers.result[i] != -ENOTCONN && answers.result[i] != -ECANCELED)
                                *error = answers.result[i];
                }
        }
        for (unsigned k = 0; l->follow && k < l->follow->n; k++)
                afr_chains_answers(&x, AFR_STEP_MARK, k, &l->follow->answers[k]);
        if (taken)
                give_back(self, a, ours, file, l);
        return taken;
}

/* All lockees on one child, in order, waiting. */
static int lock_child(struct fibre *self, struct afr *a, struct request *ours, struct vfile *file, struct afr_locks *l,
                      unsigned child)
{
        struct afr_locks mine = *l;
        memset(mine.held, 0, sizeof mine.held);
        for (unsigned k = 0; k < l->n; k++) {
                struct afr_chains x;
                struct afr_answers answers = {0};
                afr_chains_init(&x, a, ours->arena);
                add_lock(&x, afr_chain_new(&x, child), ours, file, l, k, LOCK_WAIT);
                int result = afr_chains_run(self, &x);
                afr_chains_answers(&x, AFR_STEP_LOCK, k, &answers);
                if (result == 0)
                        result = answers.result[child];
                if (result < 0) {
                        release(self, a, ours, file, &mine);
                        return result;
                }
                mine.held[k] = AFR_BIT(child);
        }
        for (unsigned k = 0; k < l->n; k++)
                l->held[k] |= mine.held[k];
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
        if (l->follow) {
                afr_internal_request(r, 0, &l->follow->request);
                l->follow->request.file = l->follow->file;
        }
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
                give_back(self, a, &ours, file, l);
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
        release(self, a, &ours, file, l);
        l->owner = 0;
}
