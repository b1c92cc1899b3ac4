/* Lock requests of clients: INODELK, FINODELK, ENTRYLK, FENTRYLK, LK (spec: brick.md §13; wire.md §3.7, §4.5).
 *
 * The rules are in lock_set.c and lock_posix.c; here is what a set lacks: an object's mutex, connections, answers.
 *
 *   lock_table    one per object that ever had a lock: mutex, set, holds; freed with the inode
 *   lock_session  one per session that ever asked: its holds, and how many answers are on their way to it
 *   lock_hold     a session on a table while it has a lock there; keeps a reference to the inode
 *
 * A request that waits is answered by the thread whose unlock or disconnect lets it go. Messages are collected in a
 * batch under the table's mutex and sent after it was released; each pins its session, and lock_session_gone() waits
 * for the pins, so `send` is never called on a closed session. Sending does not block, so neither does that wait.
 * Above 600 lines: the handlers are small and need most of what is before them.
 * Order: table mutex < lock_session mutex; no other lock of the brick is taken under them. Any thread.
 */
#include "brick/internal.h"

#include <time.h>

#include "brick/lock_set.h"
#include "proto/handshake.h"
#include "rpc/record.h"

#define LOCKS_PER_SESSION 65536
#define LOCK_OWNER_REQUIRED_OP_VERSION 70000 /* older clients may send an empty owner */
#define METADATA_SUFFIX ":metadata"
#define METADATA_START ((uint64_t)INT64_MAX - 1) /* inode locks from here to infinity are about metadata */
#define CALLBACK_RECORD_MAX (16 * KIB)

enum lk_cmd { LK_GET = 0, LK_SET = 1, LK_SET_WAIT = 2, LK_GET_FD = 6 };
enum entrylk_cmd { ENTRYLK_LOCK = 0, ENTRYLK_UNLOCK = 1, ENTRYLK_LOCK_NOWAIT = 2 };

struct lock_hold {
        struct lock_client client; /* first: the set knows a hold by this */
        struct lock_session *session;
        struct lock_table *table;
        struct inode *inode; /* referenced */
        struct lock_hold *table_prev, *table_next;
        struct lock_hold *session_prev, *session_next;
};

struct lock_table {
        pthread_mutex_t mutex;
        struct lock_set set;
        struct lock_hold *holds;
};

struct lock_session {
        struct session *session;
        atomic_uint total;
        atomic_uint callback_xid;
        pthread_mutex_t mutex;
        pthread_cond_t unpinned;
        uint32_t pins;
        struct lock_hold *holds;
};

/* ---- messages to send once the table is unlocked ----------------------------------------------------------------- */

struct delivery {
        struct delivery *next;
        struct lock_session *to; /* pinned while in a batch */
        bool is_answer;
        struct parked parked;
        int error;
        struct flock_range flock; /* of an answer to LK */
        struct buf record;        /* a callback */
        uint8_t owner[];
};

struct lock_batch {
        struct brick *brick;
        struct gfid gfid;
        const struct lock_session *silent; /* is being closed: gets nothing */
        uint64_t now;
        struct delivery *head, **tail;
};

static struct delivery *delivery_free(struct delivery *d)
{
        if (d) {
                buf_done(&d->record);
                free(d);
        }
        return NULL;
}
DEFINE_CLEANUP(struct delivery *, delivery_free)

/* The answer to OP in case it has to wait; FLOCK (may be NULL) is copied. */
static struct delivery *answer_new(const struct op *op, const struct flock_range *flock)
{
        uint32_t len = flock ? flock->owner.len : 0;
        struct delivery *d = malloc(sizeof *d + len);
        if (!d)
                return NULL;
        *d = (struct delivery){.is_answer = true, .parked = {op->session, op->xid, op->fop}};
        if (flock)
                d->flock = *flock;
        if (len > 0)
                memcpy(d->owner, flock->owner.data, len);
        d->flock.owner.data = d->owner;
        return d;
}

static struct lock_session *session_of(const struct lock *l)
{
        return CONTAINER_OF(l->client, struct lock_hold, client)->session;
}

static void session_pin(struct lock_session *ls)
{
        pthread_mutex_lock(&ls->mutex);
        ls->pins++;
        pthread_mutex_unlock(&ls->mutex);
}

static void session_unpin(struct lock_session *ls)
{
        pthread_mutex_lock(&ls->mutex);
        if (--ls->pins == 0)
                pthread_cond_broadcast(&ls->unpinned);
        pthread_mutex_unlock(&ls->mutex);
}

static void batch_add(struct lock_batch *batch, struct lock_session *to, struct delivery *d)
{
        session_pin(to);
        d->to = to;
        d->next = NULL;
        *batch->tail = d;
        batch->tail = &d->next;
}

static void delivery_send(struct delivery *d)
{
        if (d->is_answer) {
                bool with_flock = d->parked.fop == FOP_LK && d->error == 0;
                op_answer_parked(&d->parked, d->error, with_flock ? &d->flock : NULL);
                return;
        }
        struct session *s = d->to->session;
        struct iovec iov = {d->record.data, d->record.len};
        s->send(s->conn, &iov, 1);
}

/* Called with no lock held. */
static void batch_send(struct lock_batch *batch)
{
        while (batch->head) {
                struct delivery *d = batch->head;
                batch->head = d->next;
                delivery_send(d);
                session_unpin(d->to);
                delivery_free(d);
        }
}

static void on_answer(struct lock *l, int error, void *arg)
{
        struct lock_batch *batch = arg;
        struct delivery *d = l->cookie;
        struct lock_session *to = session_of(l);
        if (to == batch->silent) {
                delivery_free(d);
                return;
        }
        d->error = error;
        batch_add(batch, to, d);
}

/* ---- contention callbacks (brick.md §13.8) ----------------------------------------------------------------------- */

static struct gfid gfid_for_session(const struct session *s, const struct gfid *g)
{
        return gfid_equal(g, &s->subdir_root) ? GFID_ROOT : *g;
}

static void encode_inodelk_contention(const struct lock *l, const struct gfid *g, struct buf *b)
{
        const struct inodelk_contention_cbk m = {
                .gfid = *g,
                .flock = {.type = l->type,
                          .start = l->start,
                          .len = l->end == LOCK_END_MAX ? 0 : l->end - l->start + 1,
                          .pid = l->pid,
                          .owner = {l->owner, l->owner_len}},
                .pid = l->pid,
                .domain = str_of(l->space->domain),
                .xdata = DICT_NULL,
        };
        msg_encode(&inodelk_contention_cbk_desc, &m, b);
}

static void encode_entrylk_contention(const struct lock *l, const struct gfid *g, struct buf *b)
{
        const struct entrylk_contention_cbk m = {
                .gfid = *g,
                .type = l->type,
                .pid = l->pid,
                .name = str_of(l->name ? l->name : ""),
                .domain = str_of(l->space->domain),
                .xdata = DICT_NULL,
        };
        msg_encode(&entrylk_contention_cbk_desc, &m, b);
}

static void encode_contention(struct lock_session *to, const struct lock *l, const struct gfid *g, struct buf *b)
{
        bool entry = l->space->kind == LOCK_ENTRY;
        const struct rpc_call call = {
                .xid = atomic_fetch_add(&to->callback_xid, 1) + 1,
                .prog = CALLBACK_PROGRAM,
                .vers = CALLBACK_VERSION,
                .proc = entry ? CALLBACK_ENTRYLK_CONTENTION : CALLBACK_INODELK_CONTENTION,
        };
        size_t begin = record_begin(b);
        rpc_call_encode(b, &call);
        if (entry)
                encode_entrylk_contention(l, g, b);
        else
                encode_inodelk_contention(l, g, b);
        record_end(b, begin, 0);
}

static bool notification_due(const struct lock_batch *batch, const struct lock *l)
{
        const struct brick_options *o = batch->brick->options;
        if (!o->notify_contention || session_of(l) == batch->silent)
                return false;
        return l->notified == 0 || batch->now - l->notified >= o->notify_contention_delay * NS_PER_SEC;
}

/* Best effort: without memory the holder is not told, and keeps its lock as long as it meant to. */
static void on_contended(struct lock *l, void *arg)
{
        struct lock_batch *batch = arg;
        if (!notification_due(batch, l))
                return;
        _cleanup_(delivery_freep) struct delivery *d = calloc(1, sizeof *d);
        if (!d)
                return;
        struct lock_session *to = session_of(l);
        struct gfid g = gfid_for_session(to->session, &batch->gfid);
        d->record = BUF_INIT(CALLBACK_RECORD_MAX);
        encode_contention(to, l, &g, &d->record);
        if (d->record.error)
                return;
        l->notified = batch->now;
        batch_add(batch, to, TAKE_PTR(d));
}

static void batch_init(struct lock_batch *batch, struct brick *b, const struct inode *inode)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        *batch = (struct lock_batch){
                .brick = b,
                .gfid = inode->gfid,
                .now = (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec,
        };
        batch->tail = &batch->head;
}

static struct lock_events batch_events(struct lock_batch *batch)
{
        return (struct lock_events){.answer = on_answer, .contended = on_contended, .arg = batch};
}

/* ---- tables, sessions, holds ------------------------------------------------------------------------------------- */

void lock_table_free(struct lock_table *t)
{
        if (!t)
                return;
        lock_set_done(&t->set);
        pthread_mutex_destroy(&t->mutex);
        free(t);
}

static struct lock_table *table_get(struct inode *i)
{
        struct lock_table *t = atomic_load(&i->locks);
        if (t)
                return t;
        struct lock_table *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
                return NULL;
        pthread_mutex_init(&fresh->mutex, NULL);
        if (atomic_compare_exchange_strong(&i->locks, &t, fresh))
                return fresh;
        lock_table_free(fresh);
        return t;
}

static void lock_session_free(struct lock_session *ls)
{
        pthread_mutex_destroy(&ls->mutex);
        pthread_cond_destroy(&ls->unpinned);
        free(ls);
}

static struct lock_session *lock_session_get(struct session *s)
{
        struct lock_session *ls = atomic_load(&s->locks);
        if (ls)
                return ls;
        struct lock_session *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
                return NULL;
        fresh->session = s;
        pthread_mutex_init(&fresh->mutex, NULL);
        pthread_cond_init(&fresh->unpinned, NULL);
        if (atomic_compare_exchange_strong(&s->locks, &ls, fresh))
                return fresh;
        lock_session_free(fresh);
        return ls;
}

static struct lock_hold *hold_find(struct lock_table *t, const struct lock_session *ls)
{
        struct lock_hold *h = t->holds;
        while (h && h->session != ls)
                h = h->table_next;
        return h;
}

/* A new hold takes over the caller's reference to INODE. */
static struct lock_hold *hold_new(struct lock_table *t, struct lock_session *ls, struct inode *inode)
{
        struct lock_hold *h = calloc(1, sizeof *h);
        if (!h)
                return NULL;
        *h = (struct lock_hold){.client = {.total = &ls->total}, .session = ls, .table = t, .inode = inode};
        h->table_next = t->holds;
        if (t->holds)
                t->holds->table_prev = h;
        t->holds = h;
        pthread_mutex_lock(&ls->mutex);
        h->session_next = ls->holds;
        if (ls->holds)
                ls->holds->session_prev = h;
        ls->holds = h;
        pthread_mutex_unlock(&ls->mutex);
        return h;
}

static void hold_unlink_session(struct lock_hold *h)
{
        struct lock_session *ls = h->session;
        pthread_mutex_lock(&ls->mutex);
        if (h->session_prev)
                h->session_prev->session_next = h->session_next;
        else
                ls->holds = h->session_next;
        if (h->session_next)
                h->session_next->session_prev = h->session_prev;
        pthread_mutex_unlock(&ls->mutex);
}

/* Ends a hold without locks; its reference to the inode becomes the caller's (to be given up after the table's mutex).
 */
static struct inode *hold_end_if_empty(struct lock_hold *h)
{
        if (h->client.granted > 0 || h->client.waiting > 0)
                return NULL;
        hold_unlink_session(h);
        if (h->table_prev)
                h->table_prev->table_next = h->table_next;
        else
                h->table->holds = h->table_next;
        if (h->table_next)
                h->table_next->table_prev = h->table_prev;
        struct inode *inode = h->inode;
        free(h);
        return inode;
}

/* ---- applying a request ------------------------------------------------------------------------------------------ */

typedef int (*lock_apply_fn)(struct lock_set *, const struct lock_request *, const struct lock_events *);

/* Applies WANT to T on behalf of LS. *INODE is taken over by a new hold. *RET_INODE: a reference to give up. */
static int table_apply(struct lock_table *t, struct lock_session *ls, struct inode **inode, struct lock_request *want,
                       lock_apply_fn apply, struct lock_batch *batch, struct inode **ret_inode)
{
        struct lock_hold *h = hold_find(t, ls);
        if (!h) {
                h = hold_new(t, ls, *inode);
                if (!h)
                        return -ENOMEM;
                TAKE_PTR(*inode);
        }
        want->client = &h->client;
        const struct lock_events ev = batch_events(batch);
        int r = apply(&t->set, want, &ev);
        *ret_inode = hold_end_if_empty(h);
        return r;
}

/* Consumes the reference INODE. FLOCK: what an answer to LK carries. */
static int lock_request_run(struct op *op, struct inode *inode, struct lock_request *want, lock_apply_fn apply,
                            const struct flock_range *flock)
{
        _cleanup_(delivery_freep) struct delivery *answer = NULL;
        struct inode *left = NULL;
        struct lock_batch batch;
        batch_init(&batch, op->brick, inode);
        struct lock_table *t = table_get(inode);
        struct lock_session *ls = lock_session_get(op->session);
        int r = t && ls ? 0 : -ENOMEM;
        if (r == 0 && want->type != LOCK_TYPE_UNLOCK && atomic_load(&ls->total) >= LOCKS_PER_SESSION)
                r = -ENOLCK;
        if (r == 0 && want->wait) {
                answer = answer_new(op, flock);
                r = answer ? 0 : -ENOMEM;
        }
        if (r == 0) {
                want->cookie = answer;
                pthread_mutex_lock(&t->mutex);
                r = table_apply(t, ls, &inode, want, apply, &batch, &left);
                if (r == LOCK_WAITS)
                        TAKE_PTR(answer);
                pthread_mutex_unlock(&t->mutex);
        }
        batch_send(&batch);
        if (left)
                inode_unref(op->brick, left);
        if (inode)
                inode_unref(op->brick, inode);
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
                .pid = f->pid ? f->pid : (uint32_t)op->caller.pid, /* stock leaves it 0 */
                .wait = cmd == LK_SET_WAIT && type != LOCK_TYPE_UNLOCK,
        };
        if (!ret->domain)
                return -ENOMEM;
        return inodelk_range(f, &ret->start, &ret->end);
}

static lock_apply_fn inodelk_verb(const struct lock_request *want)
{
        return want->type == LOCK_TYPE_UNLOCK ? lock_release : lock_acquire;
}

int fop_inodelk(struct op *op, const struct inodelk_fop_req *req, struct inodelk_fop_rep *rep)
{
        struct lock_request want;
        struct inode *inode = NULL;
        int r = inodelk_request(op, req->cmd, req->type, &req->flock, req->volume, &want);
        if (r == 0)
                r = inode_of_gfid(op, &req->gfid, want.type == LOCK_TYPE_UNLOCK, &inode);
        if (r != 0)
                return r;
        return lock_request_run(op, inode, &want, inodelk_verb(&want), NULL);
}

int fop_finodelk(struct op *op, const struct finodelk_fop_req *req, struct finodelk_fop_rep *rep)
{
        struct lock_request want;
        struct inode *inode = NULL;
        struct open_fd *of = NULL;
        int r = inodelk_request(op, req->cmd, req->type, &req->flock, req->volume, &want);
        if (r == 0)
                r = inode_of_fd(op, &req->gfid, req->fd, want.type == LOCK_TYPE_UNLOCK, &inode, &of);
        if (r != 0)
                return r;
        r = lock_request_run(op, inode, &want, inodelk_verb(&want), NULL);
        if (of)
                open_fd_unref(op->brick, of);
        return r;
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
                .pid = (uint32_t)op->caller.pid,
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
        if (r != 0)
                return r;
        return lock_request_run(op, inode, &want, unlock ? lock_release : lock_acquire, NULL);
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
        if (r != 0)
                return r;
        r = lock_request_run(op, inode, &want, unlock ? lock_release : lock_acquire, NULL);
        if (of)
                open_fd_unref(op->brick, of);
        return r;
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
        return inodelk_range(f, ret_start, ret_end);
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
                .len = l->end == LOCK_END_MAX ? 0 : l->end - l->start + 1,
                .pid = l->pid,
                .owner = {(const uint8_t *)owner, l->owner_len},
        };
        return 0;
}

static int lk_get(struct op *op, struct inode *inode, struct lock_request *want, struct flock_range *f)
{
        struct lock_table *t = atomic_load(&inode->locks);
        if (!t)
                return lk_describe(op, NULL, f);
        struct lock_session *ls = atomic_load(&op->session->locks);
        pthread_mutex_lock(&t->mutex);
        struct lock_hold *h = ls ? hold_find(t, ls) : NULL;
        want->client = h ? &h->client : NULL;
        int r = lk_describe(op, posix_lock_conflict(&t->set, want), f);
        pthread_mutex_unlock(&t->mutex);
        return r;
}

static bool session_holds_posix(struct session *s, struct inode *inode, const struct open_fd *of)
{
        struct lock_table *t = atomic_load(&inode->locks);
        struct lock_session *ls = atomic_load(&s->locks);
        if (!t || !ls)
                return false;
        pthread_mutex_lock(&t->mutex);
        struct lock_hold *h = hold_find(t, ls);
        bool held = h && posix_lock_held(&t->set, &h->client, of);
        pthread_mutex_unlock(&t->mutex);
        return held;
}

/* Consumes the reference INODE. */
static int lk_set(struct op *op, struct inode *inode, const struct open_fd *of, struct lock_request *want,
                  struct flock_range *f)
{
        struct inode *kept = inode_ref(inode);
        int r = lock_request_run(op, inode, want, posix_lock_apply, f);
        if (r == 0 && want->type == LOCK_TYPE_UNLOCK)
                f->type = session_holds_posix(op->session, kept, of) ? LOCK_TYPE_READ : LOCK_TYPE_UNLOCK;
        inode_unref(op->brick, kept);
        return r;
}

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
        if (get) {
                r = lk_get(op, inode, &want, &rep->flock);
                inode_unref(op->brick, inode);
        } else {
                r = lk_set(op, inode, of, &want, &rep->flock);
        }
        if (of)
                open_fd_unref(op->brick, of);
        return r;
}

/* ---- what other modules and the end of a session release --------------------------------------------------------- */

struct release {
        struct session *session;
        struct inode *inode;
        const struct open_fd *of;
        struct slice owner;
        void (*apply)(struct lock_set *, struct lock_hold *, const struct release *, const struct lock_events *);
};

static void release_run(const struct release *rel)
{
        struct lock_table *t = atomic_load(&rel->inode->locks);
        struct lock_session *ls = atomic_load(&rel->session->locks);
        if (!t || !ls)
                return;
        struct brick *b = rel->session->brick;
        struct inode *left = NULL;
        struct lock_batch batch;
        batch_init(&batch, b, rel->inode);
        const struct lock_events ev = batch_events(&batch);
        pthread_mutex_lock(&t->mutex);
        struct lock_hold *h = hold_find(t, ls);
        if (h) {
                rel->apply(&t->set, h, rel, &ev);
                left = hold_end_if_empty(h);
        }
        pthread_mutex_unlock(&t->mutex);
        batch_send(&batch);
        if (left)
                inode_unref(b, left);
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

/* No request of the session runs, so nobody else makes or ends its holds; others may still grant its waiters. */
static void hold_release_all(struct lock_hold *h)
{
        struct lock_table *t = h->table;
        struct brick *b = h->session->session->brick;
        struct lock_batch batch;
        batch_init(&batch, b, h->inode);
        batch.silent = h->session;
        const struct lock_events ev = batch_events(&batch);
        pthread_mutex_lock(&t->mutex);
        lock_set_client_gone(&t->set, &h->client, &ev);
        struct inode *left = hold_end_if_empty(h);
        pthread_mutex_unlock(&t->mutex);
        batch_send(&batch);
        inode_unref(b, left);
}

void lock_session_gone(struct session *s)
{
        struct lock_session *ls = atomic_load(&s->locks);
        if (!ls)
                return;
        while (ls->holds)
                hold_release_all(ls->holds);
        pthread_mutex_lock(&ls->mutex);
        while (ls->pins > 0)
                pthread_cond_wait(&ls->unpinned, &ls->mutex);
        pthread_mutex_unlock(&ls->mutex);
        atomic_store(&s->locks, NULL);
        lock_session_free(ls);
}

/* ---- counts
 * -------------------------------------------------------------------------------------------------------------------------
 */

static uint32_t count_kind(struct inode *inode, enum lock_kind kind, const char *domain)
{
        struct lock_table *t = atomic_load(&inode->locks);
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
        struct lock_table *t = atomic_load(&inode->locks);
        if (!t)
                return false;
        pthread_mutex_lock(&t->mutex);
        bool has = lock_set_has_name(&t->set, name);
        pthread_mutex_unlock(&t->mutex);
        return has;
}

uint32_t lock_count_session(const struct session *s)
{
        struct lock_session *ls = atomic_load(&s->locks);
        return ls ? atomic_load(&ls->total) : 0;
}
