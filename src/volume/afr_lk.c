/* POSIX locks, and locks that layers above take (replicate.md §8.3).
 *
 * POSIX locks are asked for on one copy after the other, so two clients that want the same meet at the first one. Those
 * of a layer above are tried on all at once; when somebody else has some, one after the other.
 */
#include "volume/afr.h"

enum { LK_GET = 0, LK_SET = 1, LK_UNLOCK = 2 };

/* What is given back after a failure has memory of its own: the request may have used up its, and a lock that stays would
 * stop everybody else. */
#define GIVE_BACK_ARENA (64 * KIB)

/* ---- POSIX locks ------------------------------------------------------------------------------------------------- */

static int lk_ask_one(struct fibre *self, struct afr *a, struct request *r, const struct lk_fop_req *req,
                      unsigned child, struct lk_fop_rep *rep)
{
        return subvolume_lk(self, a->base.children[child], r, req, rep);
}

static void lk_give_back(struct fibre *self, struct afr *a, const struct request *r, const struct lk_fop_req *req,
                         afr_set held)
{
        struct lk_fop_req undo = *req;
        undo.cmd = LK_SET;
        undo.type = LK_UNLOCK;
        undo.flock.type = LK_UNLOCK;
        _cleanup_arena_ struct arena arena = ARENA_INIT(GIVE_BACK_ARENA);
        struct request ours = *r;
        ours.arena = &arena;
        ours.cancel = NULL;
        struct afr_answers answers;
        if (held)
                afr_ask(self, a, &ours, FOP_LK, &undo, held, &answers);
}

static int lk_unlock(struct fibre *self, struct afr *a, struct request *r, const struct lk_fop_req *req,
                     struct lk_fop_rep *rep)
{
        struct afr_answers answers;
        afr_set away = a->all & ~afr_up(a); /* would ask for the lock again when they are back */
        afr_ask(self, a, r, FOP_LK, req, afr_file_on(self, a, r, r->file) | away, &answers);
        if (!answers.ok)
                return afr_fail(FOP_LK, rep, afr_final_error(&answers, answers.asked));
        return afr_take(&answers, afr_next(answers.ok, 0), rep);
}

/* A question is answered by the first copy that says that there is a conflict, else by the first. */
static int lk_get(struct fibre *self, struct afr *a, struct request *r, const struct lk_fop_req *req,
                  struct lk_fop_rep *rep)
{
        struct afr_answers answers;
        afr_ask(self, a, r, FOP_LK, req, afr_file_on(self, a, r, r->file), &answers);
        if (!afr_quorum(a, answers.ok))
                return afr_fail(FOP_LK, rep, afr_final_error(&answers, answers.asked & ~answers.ok));
        AFR_EACH(i, answers.ok)
        {
                if (((const struct lk_fop_rep *)answers.rep[i])->flock.type != LK_UNLOCK)
                        return afr_take(&answers, i, rep);
        }
        return afr_take(&answers, afr_next(answers.ok, 0), rep);
}

/* A copy that is away, or has lost the file (an emptied brick), holds no lock and refuses none: the quorum decides. */
static bool is_without_it(int result)
{
        return result == -ENOTCONN || result == -EBADFD || result == -EBADF || result == -ESTALE || result == -ENOENT;
}

static int lk_set(struct fibre *self, struct afr *a, struct request *r, const struct lk_fop_req *req,
                  struct lk_fop_rep *rep)
{
        struct lk_fop_rep first = {0};
        afr_set held = 0, on = afr_file_on(self, a, r, r->file);
        int lost = -ENOTCONN;
        AFR_EACH(i, on)
        {
                int result = lk_ask_one(self, a, r, req, i, rep);
                if (result >= 0 && !held)
                        first = *rep;
                if (result >= 0)
                        held |= AFR_BIT(i);
                if (result < 0 && !is_without_it(result)) {
                        lk_give_back(self, a, r, req, held);
                        return result;
                }
                if (result < 0 && result != -ENOTCONN)
                        lost = result;
        }
        if (!afr_quorum(a, held)) {
                lk_give_back(self, a, r, req, held);
                return afr_fail(FOP_LK, rep, held ? -ENOTCONN : lost);
        }
        afr_doubt(a, r->inode); /* who had it locked wrote under it, maybe without a copy that only we can reach */
        *rep = first;
        return first.op_ret;
}

int afr_lk(struct fibre *self, struct subvolume *v, struct request *r, const struct lk_fop_req *req,
           struct lk_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        if (req->cmd != LK_GET && req->flock.type == LK_UNLOCK) { /* also without a quorum: nobody else can give it back */
                if (r->inode)
                        afr_eager_close_inode(a, r->inode); /* whoever locks next will want to write */
                return lk_unlock(self, a, r, req, rep);
        }
        int result = afr_ready(self, a, r);
        if (result < 0)
                return afr_fail(FOP_LK, rep, result);
        if (req->cmd == LK_GET)
                return lk_get(self, a, r, req, rep);
        return lk_set(self, a, r, req, rep);
}

/* ---- locks of layers above --------------------------------------------------------------------------------------- */

/* What differs between the four operations: command numbers and where they are. */
struct lock_kind {
        enum fop fop;
        size_t cmd, type; /* offsets of the fields */
        uint32_t cmd_try, cmd_wait, cmd_unlock, type_unlock;
};
#define INODELK_KIND_(NAME, name)                                                                                      \
        {                                                                                                              \
                FOP_##NAME, offsetof(struct name##_fop_req, cmd), offsetof(struct name##_fop_req, type), 1, 2, 1,      \
                        LK_UNLOCK                                                                                      \
        }
#define ENTRYLK_KIND_(NAME, name)                                                                                      \
        {                                                                                                              \
                FOP_##NAME, offsetof(struct name##_fop_req, cmd), offsetof(struct name##_fop_req, type), 2, 0, 1, 0    \
        }
static const struct lock_kind inodelk_kind = INODELK_KIND_(INODELK, inodelk);
static const struct lock_kind finodelk_kind = INODELK_KIND_(FINODELK, finodelk);
static const struct lock_kind entrylk_kind = ENTRYLK_KIND_(ENTRYLK, entrylk);
static const struct lock_kind fentrylk_kind = ENTRYLK_KIND_(FENTRYLK, fentrylk);

static uint32_t *field(void *req, size_t offset)
{
        return (uint32_t *)(void *)((char *)req + offset);
}

static bool is_inode_lock(const struct lock_kind *k)
{
        return k->fop == FOP_INODELK || k->fop == FOP_FINODELK;
}

static bool is_unlock(const struct lock_kind *k, void *req)
{
        return is_inode_lock(k) ? *field(req, k->type) == LK_UNLOCK : *field(req, k->cmd) == k->cmd_unlock;
}

static void *variant(const struct lock_kind *k, struct arena *arena, const void *req, uint32_t cmd, bool unlock)
{
        void *q = arena_alloc(arena, afr_req_size(k->fop));
        if (!q)
                return NULL;
        memcpy(q, req, afr_req_size(k->fop));
        *field(q, k->cmd) = cmd;
        if (unlock && is_inode_lock(k))
                *field(q, k->type) = LK_UNLOCK;
        if (unlock && k->fop == FOP_INODELK)
                ((struct inodelk_fop_req *)q)->flock.type = LK_UNLOCK;
        if (unlock && k->fop == FOP_FINODELK)
                ((struct finodelk_fop_req *)q)->flock.type = LK_UNLOCK;
        return q;
}

/* Gives back what is held on SET. */
static void give_back(struct fibre *self, struct afr *a, const struct lock_kind *k, const struct request *r,
                      const void *req, afr_set set)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(GIVE_BACK_ARENA);
        struct request ours = *r;
        ours.arena = &arena;
        ours.cancel = NULL;
        void *q = variant(k, &arena, req, k->cmd_unlock, true);
        struct afr_answers answers;
        if (q && set)
                afr_ask(self, a, &ours, k->fop, q, set, &answers);
}

/* One after the other, waiting. Children that fail otherwise are left out. */
static afr_set lock_in_order(struct fibre *self, struct afr *a, const struct lock_kind *k, struct request *r,
                             const void *req, afr_set on, int *error)
{
        afr_set held = 0;
        void *q = variant(k, r->arena, req, k->cmd_wait, false);
        AFR_EACH(i, q ? on : 0)
        {
                struct afr_answers answers;
                afr_ask(self, a, r, k->fop, q, AFR_BIT(i), &answers);
                held |= answers.ok;
                if (answers.ok)
                        continue;
                if (answers.result[i] != -ENOTCONN)
                        *error = answers.result[i];
                if (*error == -EINTR)
                        break;
        }
        return held;
}

static afr_set lock_at_once(struct fibre *self, struct afr *a, const struct lock_kind *k, struct request *r,
                            const void *req, afr_set on, bool *busy, int *error)
{
        void *q = variant(k, r->arena, req, k->cmd_try, false);
        struct afr_answers answers = {0};
        if (!q)
                return 0;
        afr_ask(self, a, r, k->fop, q, on, &answers);
        AFR_EACH(i, on & ~answers.ok)
        {
                if (answers.result[i] == -EAGAIN)
                        *busy = true;
                else if (answers.result[i] != -ENOTCONN)
                        *error = answers.result[i];
        }
        return answers.ok;
}

static int lock_for_above(struct fibre *self, struct afr *a, const struct lock_kind *k, struct request *r,
                          const void *req, void *rep)
{
        struct afr_answers answers;
        if (is_unlock(k, (void *)(uintptr_t)req)) { /* also without a quorum: nobody else can give it back */
                afr_set on = afr_file_on(self, a, r, r->file);
                afr_ask(self, a, r, k->fop, req, on, &answers);
                return answers.ok ? afr_take(&answers, afr_next(answers.ok, 0), rep)
                                  : afr_fail(k->fop, rep, afr_final_error(&answers, on));
        }
        int result = afr_ready(self, a, r);
        if (result < 0)
                return afr_fail(k->fop, rep, result);
        afr_set on = afr_file_on(self, a, r, r->file);
        bool busy = false, wait = *field((void *)(uintptr_t)req, k->cmd) == k->cmd_wait;
        int error = -ENOTCONN;
        afr_set held = lock_at_once(self, a, k, r, req, on, &busy, &error);
        if (busy) {
                give_back(self, a, k, r, req, held);
                if (!wait)
                        return afr_fail(k->fop, rep, -EAGAIN);
                held = lock_in_order(self, a, k, r, req, on, &error);
        }
        if (!afr_quorum(a, held) || error == -EINTR) {
                give_back(self, a, k, r, req, held);
                return afr_fail(k->fop, rep, error); /* why others refused: the object has just gone; ENOTCONN: they are away */
        }
        memset(rep, 0, afr_rep_size(k->fop));
        return 0;
}

#define LOCK_OP_(name)                                                                                                 \
        int afr_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep)                                                                     \
        {                                                                                                              \
                return lock_for_above(self, afr_of(v), &name##_kind, r, req, rep);                                     \
        }
LOCK_OP_(inodelk)
LOCK_OP_(finodelk)
LOCK_OP_(entrylk)
LOCK_OP_(fentrylk)
