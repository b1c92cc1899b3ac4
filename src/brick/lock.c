/* Lock requests of clients: INODELK, FINODELK, ENTRYLK, FENTRYLK, LK (spec: brick.md §13; wire.md §3.7, §4.5).
 *
 * The rules are in lock_set.c and lock_posix.c; here a request becomes a `struct lock_request` and is applied in one
 * step on the object's table (lock_table.h). Any thread.
 */
#include "brick/lock_table.h"
#include "brick/mandatory.h"

#define LOCK_OWNER_REQUIRED_OP_VERSION 70000 /* older clients may send an empty owner */
#define METADATA_SUFFIX ":metadata"
#define METADATA_START ((uint64_t)INT64_MAX - 1) /* inode locks from here to infinity are about metadata */

enum lk_cmd { LK_GET = 0, LK_SET = 1, LK_SET_WAIT = 2, LK_GET_FD = 6 };
enum entrylk_cmd { ENTRYLK_LOCK = 0, ENTRYLK_UNLOCK = 1, ENTRYLK_LOCK_NOWAIT = 2 };

/* ---- applying a request ------------------------------------------------------------------------------------------ */

typedef int (*lock_apply_fn)(struct lock_set *, const struct lock_request *, const struct lock_events *);

/* For a request that takes something. */
static int limits_check(const struct op *op, const struct lock_session *ls, const struct lock_request *want)
{
        uint32_t total = atomic_load(&ls->totals.waiting);
        if (atomic_load(&op->brick->no_new_locks))
                return -ENOTCONN;
        if (want->wait && total >= LOCK_WAITS_PER_SESSION)
                return -ENOLCK;
        for (int k = 0; k < LOCK_KIND_MAX; k++)
                total += atomic_load(&ls->totals.granted[k]);
        return total >= LOCKS_PER_SESSION ? -ENOLCK : 0;
}

static int step_apply(struct op *op, struct lock_step *st, struct lock_session *ls, struct lock_request *want,
                      lock_apply_fn apply)
{
        bool takes = apply != lock_release && want->type != LOCK_TYPE_UNLOCK;
        int r = takes ? limits_check(op, ls, want) : 0;
        if (r < 0)
                return r;
        struct lock_hold *h = lock_hold_get(st->table, ls, st->inode);
        if (!h)
                return -ENOMEM;
        want->client = &h->client;
        return apply(&st->table->set, want, &st->ev);
}

/* What decides when a lock is taken from its holder. */
static struct lock_revocation revocation_of(const struct brick_options *o)
{
        return (struct lock_revocation){
                .age = o->revocation_secs * NS_PER_SEC,
                .max_blocked = o->revocation_max_blocked,
                .waiters_too = o->revocation_clear_all,
        };
}

/* FLOCK: what an answer to LK carries. */
static int lock_request_run(struct op *op, struct inode *inode, struct lock_request *want, lock_apply_fn apply,
                            const struct flock_range *flock)
{
        _cleanup_(delivery_freep) struct delivery *answer = NULL;
        struct lock_table *t = lock_table_get(inode);
        struct lock_session *ls = lock_session_get(op->session);
        if (!t || !ls)
                return -ENOMEM;
        if (want->wait) {
                answer = delivery_new_answer(op, flock);
                if (!answer)
                        return -ENOMEM;
        }
        want->cookie = answer;
        const struct lock_revocation revocation = revocation_of(op->brick->options);
        want->revocation = &revocation;
        struct lock_step st;
        lock_step_begin(&st, op->brick, inode, t);
        int r = step_apply(op, &st, ls, want, apply);
        if (r == LOCK_WAITS)
                TAKE_PTR(answer);
        lock_step_end(&st);
        return r == LOCK_WAITS ? OP_PARKED : r;
}

static int owner_check(const struct op *op)
{
        for (uint32_t i = 0; i < op->cred->owner_len; i++)
                if (op->cred->owner[i] != 0)
                        return 0;
        return op->session->op_version < LOCK_OWNER_REQUIRED_OP_VERSION ? 0 : -EINVAL;
}

static struct slice op_owner(const struct op *op)
{
        return (struct slice){op->cred->owner, op->cred->owner_len};
}

static int object_inode(struct op *op, const struct gfid *gfid, struct inode **ret)
{
        struct object o = {};
        int r = object_by_gfid_any(op, gfid, &o);
        if (r < 0)
                return r;
        *ret = inode_ref(o.inode);
        object_done(op->brick, &o);
        return 0;
}

/* A reference to the inode of GFID. For an unlock the disk is not asked: whoever holds a lock keeps the inode known. */
static int inode_of_gfid(struct op *op, const struct gfid *gfid, bool unlock, struct inode **ret)
{
        if (unlock) {
                struct gfid g = attr_gfid_from_client(op, gfid);
                *ret = inode_find(op->brick, &g);
                if (*ret)
                        return 0;
        }
        return object_inode(op, gfid, ret);
}

/* The same through a descriptor; *RET_OF (referenced) is NULL for the anonymous one. */
static int inode_of_fd(struct op *op, const struct gfid *gfid, int64_t fd, bool unlock, struct inode **ret,
                       struct open_fd **ret_of)
{
        *ret_of = NULL;
        if (fd == FD_ANONYMOUS) {
                int r = inode_of_gfid(op, gfid, unlock, ret);
                return r == -ESTALE ? -ENOENT : r;
        }
        struct open_fd *of = session_fd_get(op->session, fd);
        if (!of)
                return -EBADF;
        *ret = inode_ref(of->inode);
        *ret_of = of;
        return 0;
}

/* ---- inode locks ------------------------------------------------------------------------------------------------- */

static int inodelk_range(const struct flock_range *f, uint64_t *ret_start, uint64_t *ret_end)
{
        if (f->start > LOCK_END_MAX || f->len > LOCK_END_MAX)
                return -EINVAL;
        *ret_start = f->start;
        *ret_end = f->len == 0 ? LOCK_END_MAX : MIN(f->start + f->len - 1, LOCK_END_MAX);
        return 0;
}

/* The range rule of brick.md §13.2: locks on metadata live in a domain of their own. */
static const char *inodelk_domain(struct op *op, struct str volume, const struct flock_range *f)
{
        size_t suffix = strlen(METADATA_SUFFIX);
        if (f->start != METADATA_START || f->len != 0)
                return volume.s;
        if (volume.len >= suffix && streq(volume.s + volume.len - suffix, METADATA_SUFFIX))
                return volume.s;
        return arena_printf(op->arena, "%s" METADATA_SUFFIX, volume.s);
}

static int inodelk_request(struct op *op, uint32_t cmd, uint32_t type, const struct flock_range *f, struct str volume,
                           struct lock_request *ret)
{
        if (cmd == LK_GET)
                return -EOPNOTSUPP;
        if ((cmd != LK_SET && cmd != LK_SET_WAIT) || type > LOCK_TYPE_UNLOCK)
                return -EINVAL;
        int r = owner_check(op);
        if (r < 0)
                return r;
        *ret = (struct lock_request){
                .kind = LOCK_INODE,
                .owner = op_owner(op),
                .type = type,
                .domain = inodelk_domain(op, volume, f),
                .pid = f->pid,
                .caller = (uint32_t)op->caller.pid,
                .internal = op_internal(op),
                .wait = cmd == LK_SET_WAIT && type != LOCK_TYPE_UNLOCK,
        };
        if (!ret->domain)
                return -ENOMEM;
        return inodelk_range(f, &ret->start, &ret->end);
}

/* An inode or entry lock or its release. Takes over the references. */
static int domain_lock_run(struct op *op, struct lock_request *want, bool unlock, struct inode *inode,
                           struct open_fd *of)
{
        int r = lock_request_run(op, inode, want, unlock ? lock_release : lock_acquire, NULL);
        inode_unref(op->brick, inode);
        if (of)
                open_fd_unref(op->brick, of);
        return r;
}

int fop_inodelk(struct op *op, const struct inodelk_fop_req *req, struct inodelk_fop_rep *rep)
{
        struct lock_request want;
        struct inode *inode = NULL;
        bool unlock = req->type == LOCK_TYPE_UNLOCK;
        int r = inodelk_request(op, req->cmd, req->type, &req->flock, req->volume, &want);
        if (r == 0)
                r = inode_of_gfid(op, &req->gfid, unlock, &inode);
        return r < 0 ? r : domain_lock_run(op, &want, unlock, inode, NULL);
}

int fop_finodelk(struct op *op, const struct finodelk_fop_req *req, struct finodelk_fop_rep *rep)
{
        struct lock_request want;
        struct inode *inode = NULL;
        struct open_fd *of = NULL;
        bool unlock = req->type == LOCK_TYPE_UNLOCK;
        int r = inodelk_request(op, req->cmd, req->type, &req->flock, req->volume, &want);
        if (r == 0)
                r = inode_of_fd(op, &req->gfid, req->fd, unlock, &inode, &of);
        return r < 0 ? r : domain_lock_run(op, &want, unlock, inode, of);
}

/* ---- entry locks ------------------------------------------------------------------------------------------------- */

static int entrylk_request(struct op *op, uint32_t cmd, uint32_t type, const char *name, struct str volume,
                           struct lock_request *ret)
{
        if (cmd > ENTRYLK_LOCK_NOWAIT || type > LOCK_TYPE_WRITE)
                return -EINVAL;
        int r = owner_check(op);
        if (r < 0)
                return r;
        *ret = (struct lock_request){
                .kind = LOCK_ENTRY,
                .owner = op_owner(op),
                .type = type,
                .domain = volume.s,
                .name = name,
                .caller = (uint32_t)op->caller.pid,
                .internal = op_internal(op),
                .wait = cmd == ENTRYLK_LOCK,
        };
        return 0;
}

int fop_entrylk(struct op *op, const struct entrylk_fop_req *req, struct entrylk_fop_rep *rep)
{
        struct lock_request want;
        struct inode *inode = NULL;
        bool unlock = req->cmd == ENTRYLK_UNLOCK;
        int r = entrylk_request(op, req->cmd, req->type, req->namelen ? req->name.s : NULL, req->volume, &want);
        if (r == 0)
                r = inode_of_gfid(op, &req->gfid, unlock, &inode);
        return r < 0 ? r : domain_lock_run(op, &want, unlock, inode, NULL);
}

int fop_fentrylk(struct op *op, const struct fentrylk_fop_req *req, struct fentrylk_fop_rep *rep)
{
        struct lock_request want;
        struct inode *inode = NULL;
        struct open_fd *of = NULL;
        bool unlock = req->cmd == ENTRYLK_UNLOCK;
        int r = entrylk_request(op, req->cmd, req->type, req->namelen ? req->name.s : NULL, req->volume, &want);
        if (r == 0)
                r = inode_of_fd(op, &req->gfid, req->fd, unlock, &inode, &of);
        return r < 0 ? r : domain_lock_run(op, &want, unlock, inode, of);
}

/* ---- posix locks ------------------------------------------------------------------------------------------------- */

static int lk_range(const struct flock_range *f, uint64_t *ret_start, uint64_t *ret_end)
{
        int64_t start = (int64_t)f->start, len = (int64_t)f->len;
        if (start < 0)
                return -EINVAL;
        if (len < 0) {
                if (len < -start)
                        return -EINVAL;
                *ret_start = (uint64_t)(start + len);
                *ret_end = (uint64_t)(start - 1);
                return 0;
        }
        if (len > INT64_MAX - start)
                return -EINVAL;
        return inodelk_range(f, ret_start, ret_end);
}

static uint64_t range_length(uint64_t start, uint64_t end)
{
        return end == LOCK_END_MAX ? 0 : end - start + 1;
}

static int lk_request(struct op *op, const struct lk_fop_req *req, struct lock_request *ret)
{
        if (req->type > LOCK_TYPE_UNLOCK)
                return -EINVAL;
        int r = owner_check(op);
        if (r < 0)
                return r;
        *ret = (struct lock_request){
                .kind = LOCK_POSIX,
                .owner = op_owner(op),
                .type = req->type,
                .pid = req->flock.pid,
                .caller = (uint32_t)op->caller.pid,
                .internal = op_internal(op),
                .flags = op->xdata.lk_mode.present ? (uint32_t)op->xdata.lk_mode.value : 0,
                .wait = req->cmd == LK_SET_WAIT && req->type != LOCK_TYPE_UNLOCK,
        };
        return lk_range(&req->flock, &ret->start, &ret->end);
}

/* Describes L, or says that the range is free. The owner is copied into the request's arena. */
static int lk_describe(struct op *op, const struct lock *l, struct flock_range *f)
{
        if (!l) {
                f->type = LOCK_TYPE_UNLOCK;
                return 0;
        }
        char *owner = arena_strndup(op->arena, l->owner, l->owner_len);
        if (!owner)
                return -ENOMEM;
        *f = (struct flock_range){
                .type = l->type,
                .start = l->start,
                .len = range_length(l->start, l->end),
                .pid = l->pid,
                .owner = {(const uint8_t *)owner, l->owner_len},
        };
        return 0;
}

static int lk_get(struct op *op, struct inode *inode, struct lock_request *want, struct flock_range *f)
{
        struct lock_table *t = lock_table_of(inode);
        if (!t)
                return lk_describe(op, NULL, f);
        struct lock_session *ls = atomic_load(&op->session->locks);
        pthread_mutex_lock(&t->mutex);
        struct lock_hold *h = ls ? lock_hold_find(t, ls) : NULL;
        want->client = h ? &h->client : NULL;
        int r = lk_describe(op, posix_lock_conflict(&t->set, want), f);
        pthread_mutex_unlock(&t->mutex);
        return r;
}

static bool session_holds_posix(struct session *s, struct inode *inode, const struct open_fd *of)
{
        struct lock_table *t = lock_table_of(inode);
        struct lock_session *ls = atomic_load(&s->locks);
        if (!t || !ls)
                return false;
        pthread_mutex_lock(&t->mutex);
        struct lock_hold *h = lock_hold_find(t, ls);
        bool held = h && posix_lock_held(&t->set, &h->client, of);
        pthread_mutex_unlock(&t->mutex);
        return held;
}

/* Where locks are enforced, a new one takes others away (mandatory.h). */
static int posix_lock_enforced(struct lock_set *set, const struct lock_request *want, const struct lock_events *ev)
{
        if (want->type != LOCK_TYPE_UNLOCK)
                posix_lock_preempt(set, want, ev);
        return posix_lock_apply(set, want, ev);
}

static int lk_set(struct op *op, struct inode *inode, const struct open_fd *of, struct lock_request *want,
                  struct flock_range *f)
{
        int enforced = mandatory_enforced(op, inode);
        if (enforced < 0)
                return enforced;
        int r = lock_request_run(op, inode, want, enforced ? posix_lock_enforced : posix_lock_apply, f);
        if (r == 0 && want->type == LOCK_TYPE_UNLOCK)
                f->type = session_holds_posix(op->session, inode, of) ? LOCK_TYPE_READ : LOCK_TYPE_UNLOCK;
        return r;
}

/* Commands 3 to 5, of lock recovery in clients that are not around any more, are refused. */
int fop_lk(struct op *op, const struct lk_fop_req *req, struct lk_fop_rep *rep)
{
        bool get = req->cmd == LK_GET || req->cmd == LK_GET_FD;
        if (!get && req->cmd != LK_SET && req->cmd != LK_SET_WAIT)
                return -EOPNOTSUPP;
        struct lock_request want;
        struct inode *inode = NULL;
        struct open_fd *of = NULL;
        int r = lk_request(op, req, &want);
        if (r == 0)
                r = inode_of_fd(op, &req->gfid, req->fd, want.type == LOCK_TYPE_UNLOCK, &inode, &of);
        if (r < 0)
                return r;
        want.fd = of;
        rep->flock = req->flock;
        rep->flock.type = req->type;
        rep->flock.start = want.start;
        rep->flock.len = range_length(want.start, want.end);
        r = get ? lk_get(op, inode, &want, &rep->flock) : lk_set(op, inode, of, &want, &rep->flock);
        inode_unref(op->brick, inode);
        if (of)
                open_fd_unref(op->brick, of);
        return r;
}

/* ---- what other modules release ----------------------------------------------------------------------------------- */

struct release {
        struct session *session;
        struct inode *inode;
        const struct open_fd *of;
        struct slice owner;
        void (*apply)(struct lock_set *, struct lock_hold *, const struct release *, const struct lock_events *);
};

static void release_run(const struct release *rel)
{
        struct lock_table *t = lock_table_of(rel->inode);
        struct lock_session *ls = atomic_load(&rel->session->locks);
        if (!t || !ls)
                return;
        struct lock_step st;
        lock_step_begin(&st, rel->session->brick, rel->inode, t);
        struct lock_hold *h = lock_hold_find(t, ls);
        if (h)
                rel->apply(&t->set, h, rel, &st.ev);
        lock_step_end(&st);
}

static void release_flush(struct lock_set *set, struct lock_hold *h, const struct release *rel,
                          const struct lock_events *ev)
{
        posix_lock_flush(set, &h->client, rel->owner, rel->of, ev);
}

static void release_fd(struct lock_set *set, struct lock_hold *h, const struct release *rel,
                       const struct lock_events *ev)
{
        posix_lock_fd_gone(set, &h->client, rel->of, ev);
}

void lock_flush(struct op *op, struct inode *inode, struct open_fd *of, struct slice owner)
{
        release_run(&(struct release){
                .session = op->session, .inode = inode, .of = of, .owner = owner, .apply = release_flush});
}

void lock_fd_released(struct session *s, struct open_fd *of)
{
        release_run(&(struct release){.session = s, .inode = of->inode, .of = of, .apply = release_fd});
}

/* ---- counts ------------------------------------------------------------------------------------------------------- */

static uint32_t count_kind(struct inode *inode, enum lock_kind kind, const char *domain)
{
        struct lock_table *t = lock_table_of(inode);
        if (!t)
                return 0;
        pthread_mutex_lock(&t->mutex);
        uint32_t n = lock_set_count(&t->set, kind, domain);
        pthread_mutex_unlock(&t->mutex);
        return n;
}

uint32_t lock_count_inode(struct inode *inode, const char *domain)
{
        return count_kind(inode, LOCK_INODE, domain);
}

uint32_t lock_count_entry(struct inode *inode)
{
        return count_kind(inode, LOCK_ENTRY, NULL);
}

uint32_t lock_count_posix(struct inode *inode)
{
        return count_kind(inode, LOCK_POSIX, NULL);
}

bool lock_has_entry(struct inode *inode, const char *name)
{
        struct lock_table *t = lock_table_of(inode);
        if (!t)
                return false;
        pthread_mutex_lock(&t->mutex);
        bool has = lock_set_has_name(&t->set, name);
        pthread_mutex_unlock(&t->mutex);
        return has;
}
