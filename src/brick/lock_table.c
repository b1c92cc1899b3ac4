/* Tables, sessions, holds, and the messages of a step (lock_table.h; spec: brick.md §13.6, §13.8).
 *
 * Invariants: a hold is in its table's and in its session's list; it exists while its client has a lock or waits for
 * one, or has a parked call. A delivery is in at most one step, or is the cookie of a lock that waits.
 * Any thread.
 */
#include "brick/lock_table.h"

#include <assert.h>
#include <time.h>

#include "brick/chain.h"
#include "proto/handshake.h"
#include "rpc/record.h"

#define CALLBACK_RECORD_MAX (16 * KIB)
#define URGENT_EVERY NS_PER_SEC

/* ---- messages ---------------------------------------------------------------------------------------------------- */

struct delivery *delivery_free(struct delivery *d)
{
        if (d) {
                if (d->kind == DELIVER_ANSWER && d->resume)
                        session_forget(d->resume);
                buf_done(&d->record);
                free(d);
        }
        return NULL;
}

struct delivery *delivery_new_answer(struct op *op, const struct flock_range *flock)
{
        uint32_t len = flock ? flock->owner.len : 0;
        struct delivery *d = malloc(sizeof *d + len);
        if (!d)
                return NULL;
        *d = (struct delivery){.kind = DELIVER_ANSWER, .parked = {op->session, op->xid, op->fop}};
        if (flock)
                d->flock = *flock;
        if (len > 0)
                memcpy(d->owner, flock->owner.data, len);
        d->flock.owner.data = d->owner;
        if (op->chain) {
                d->resume = chain_wait_new(op);
                return d->resume ? d : delivery_free(d);
        }
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

void lock_step_add(struct lock_step *st, struct lock_session *to, struct delivery *d)
{
        session_pin(to);
        d->to = to;
        d->next = NULL;
        *st->tail = d;
        st->tail = &d->next;
}

static void resume(struct delivery *d)
{
        struct session *s = d->to->session;
        struct parked_call *p = TAKE_PTR(d->resume);
        if (!s->resume(s->conn, p))
                session_forget(p);
}

static void send_answer(struct delivery *d)
{
        if (d->resume) {
                chain_wait_over(d->resume, d->error);
                resume(d);
                return;
        }
        bool with_flock = d->parked.fop == FOP_LK && d->error == 0;
        op_answer_parked(&d->parked, d->error, with_flock ? &d->flock : NULL);
}

static void send_callback(const struct delivery *d)
{
        struct session *s = d->to->session;
        struct iovec iov = {d->record.data, d->record.len};
        s->send(s->conn, &iov, 1);
}

/* Called with no lock held. */
static void step_send(struct lock_step *st)
{
        while (st->head) {
                struct delivery *d = st->head;
                struct lock_session *to = d->to;
                st->head = d->next;
                switch (d->kind) {
                case DELIVER_ANSWER:
                        send_answer(d);
                        break;
                case DELIVER_CALLBACK:
                        send_callback(d);
                        break;
                case DELIVER_RESUME:
                        resume(d);
                        break;
                }
                delivery_free(d);
                session_unpin(to);
        }
}

static void on_answer(struct lock *l, int error, void *arg)
{
        struct lock_step *st = arg;
        struct delivery *d = l->cookie;
        struct lock_session *to = session_of(l);
        if (to == st->silent) {
                delivery_free(d);
                return;
        }
        d->error = error;
        lock_step_add(st, to, d);
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
                .pid = l->caller,
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
                .pid = l->caller,
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

static bool notification_due(const struct lock_step *st, const struct lock *l)
{
        const struct brick_options *o = st->brick->options;
        if (session_of(l) == st->silent || (!o->notify_contention && !st->urgent))
                return false;
        uint64_t every = st->urgent ? URGENT_EVERY : o->notify_contention_delay * NS_PER_SEC;
        return l->notified == 0 || st->ev.now - l->notified >= every;
}

/* Best effort: without memory the holder is not told, and keeps its lock as long as it meant to. */
static void on_contended(struct lock *l, void *arg)
{
        struct lock_step *st = arg;
        if (!notification_due(st, l))
                return;
        _cleanup_(delivery_freep) struct delivery *d = calloc(1, sizeof *d);
        if (!d)
                return;
        struct lock_session *to = session_of(l);
        struct gfid g = gfid_for_session(to->session, &st->inode->gfid);
        d->kind = DELIVER_CALLBACK;
        d->record = BUF_INIT(CALLBACK_RECORD_MAX);
        encode_contention(to, l, &g, &d->record);
        if (d->record.error)
                return;
        l->notified = st->ev.now;
        lock_step_add(st, to, TAKE_PTR(d));
}

/* ---- tables, sessions -------------------------------------------------------------------------------------------- */

void lock_table_free(struct lock_table *t)
{
        if (!t)
                return;
        lock_set_done(&t->set);
        pthread_mutex_destroy(&t->mutex);
        free(t);
}

struct lock_table *lock_table_get(struct inode *i)
{
        struct lock_table *t = lock_table_of(i);
        if (t)
                return t;
        struct lock_table *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
                return NULL;
        fresh->parked_tail = &fresh->parked;
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

struct lock_session *lock_session_get(struct session *s)
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

/* ---- holds ------------------------------------------------------------------------------------------------------- */

struct lock_hold *lock_hold_find(struct lock_table *t, const struct lock_session *ls)
{
        struct lock_hold *h = t->holds;
        while (h && h->session != ls)
                h = h->table_next;
        return h;
}

struct lock_hold *lock_hold_get(struct lock_table *t, struct lock_session *ls, struct inode *inode)
{
        struct lock_hold *h = lock_hold_find(t, ls);
        if (h)
                return h;
        h = calloc(1, sizeof *h);
        if (!h)
                return NULL;
        *h = (struct lock_hold){
                .client = {.totals = &ls->totals}, .session = ls, .table = t, .inode = inode_ref(inode)};
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

static void hold_end(struct lock_hold *h)
{
        hold_unlink_session(h);
        if (h->table_prev)
                h->table_prev->table_next = h->table_next;
        else
                h->table->holds = h->table_next;
        if (h->table_next)
                h->table_next->table_prev = h->table_prev;
        free(h);
}

/* Ends the holds that hold nothing; says how many references to the inode are to be given up for them. */
static uint32_t sweep_holds(struct lock_table *t)
{
        uint32_t ended = 0;
        for (struct lock_hold *h = t->holds, *next; h; h = next) {
                next = h->table_next;
                if (h->parked > 0 || !lock_client_is_idle(&h->client))
                        continue;
                hold_end(h);
                ended++;
        }
        return ended;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

void lock_step_begin(struct lock_step *st, struct brick *b, struct inode *inode, struct lock_table *t)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        *st = (struct lock_step){
                .brick = b,
                .inode = inode,
                .table = t,
                .ev = {.answer = on_answer,
                       .contended = on_contended,
                       .arg = st,
                       .now = (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec},
        };
        st->tail = &st->head;
        pthread_mutex_lock(&t->mutex);
}

void lock_step_end(struct lock_step *st)
{
        park_scan(st);
        uint32_t refs = sweep_holds(st->table);
        pthread_mutex_unlock(&st->table->mutex);
        step_send(st);
        while (refs-- > 0)
                inode_unref(st->brick, st->inode);
}

/* ---- the end of a session ---------------------------------------------------------------------------------------- */

/* A reference to the inode of a hold that was not released yet; NULL: there is none. */
static struct inode *next_inode(struct lock_session *ls)
{
        pthread_mutex_lock(&ls->mutex);
        struct lock_hold *h = ls->holds;
        while (h && h->released)
                h = h->session_next;
        struct inode *inode = NULL;
        if (h) {
                h->released = true;
                inode = inode_ref(h->inode);
        }
        pthread_mutex_unlock(&ls->mutex);
        return inode;
}

/* Others may still grant what the session waits for, and end its holds. */
static void release_all(struct lock_session *ls, struct inode *inode)
{
        struct brick *b = ls->session->brick;
        struct lock_step st;
        lock_step_begin(&st, b, inode, lock_table_of(inode));
        st.silent = ls;
        struct lock_hold *h = lock_hold_find(st.table, ls);
        if (h) {
                lock_set_client_gone(&st.table->set, &h->client, &st.ev);
                park_hold_gone(&st, h);
        }
        lock_step_end(&st);
}

void lock_session_gone(struct session *s)
{
        struct lock_session *ls = atomic_load(&s->locks);
        if (!ls)
                return;
        struct inode *inode;
        while ((inode = next_inode(ls)) != NULL) {
                release_all(ls, inode);
                inode_unref(s->brick, inode);
        }
        pthread_mutex_lock(&ls->mutex);
        while (ls->pins > 0)
                pthread_cond_wait(&ls->unpinned, &ls->mutex);
        assert(!ls->holds);
        pthread_mutex_unlock(&ls->mutex);
        atomic_store(&s->locks, NULL);
        lock_session_free(ls);
}
