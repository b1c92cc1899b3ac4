/* Who looked at what, and the messages to them (upcall.h).
 *
 *   upcall_table     one per brick; its mutex guards everything here and is a leaf
 *   watched          an object that somebody looked at, by gfid
 *   watch            a client on an object; in three lists, each from newest to oldest: the object's, the client's, all;
 *                    found by both
 *   upcall_session   a client that ever looked at something
 *
 * Each list has a limit: beyond it the oldest watch ends, and its client is told to forget the object, so a limit costs
 * round trips and never correctness. A watch counts for `cache-invalidation-timeout` and is freed when it is twice as old;
 * that of a client which asked to be told counts until then, and such a client believes for the shorter time.
 *
 * A watch is made after its request was served: what changed in between is found by a count of changes, which each
 * request takes when it begins, and told to those who asked.
 *
 * Messages are sent after the mutex was released. Each pins its session meanwhile, and upcall_session_gone() waits for
 * the pins; sending does not block, so neither does that wait. Clocks are the coarse ones: no system call without a
 * message. Any thread.
 */
#include "brick/upcall.h"

#include "brick/cache.h"
#include "brick/names.h"
#include "proto/handshake.h"
#include "rpc/record.h"

#define BUCKETS_FIRST 64u
#define NAMES_MAX 256u
#define MARKS 4096u /* a power of two */
#define RECORD_MAX (256 * KIB)
#define EVENT_CACHE_INVALIDATION 1
#define UPCALL_DOUBT (UPCALL_LINKS | UPCALL_SIZE | UPCALL_TIMES | UPCALL_DROP_ATTRIBUTES)

enum list_kind { OF_OBJECT, OF_SESSION, OF_TABLE, LIST_KINDS };
static const uint32_t list_limit[LIST_KINDS] = {[OF_OBJECT] = 4096, [OF_SESSION] = 65536, [OF_TABLE] = 262144};

struct watch_list {
        struct watch *newest, *oldest;
        uint32_t n;
};

struct watch {
        struct watched *object;
        struct upcall_session *session;
        uint64_t seen; /* coarse_now() */
        struct watch *hash_next;
        struct {
                struct watch *newer, *older;
        } in[LIST_KINDS];
};

struct watched {
        struct gfid gfid;
        struct watched *hash_next;
        struct watch_list watches;
};

struct upcall_session {
        struct session *session;
        struct watch_list watches;
        uint32_t pins;
        bool asked; /* to be told; on `session` while it lives */
        atomic_uint xid;
};

/* When objects whose gfid falls here were changed last, counted in upcall_table.changes, and by whom. */
struct mark {
        uint64_t at, by_others_at; /* by others than BY */
        const struct session *by;
};

struct upcall_table {
        pthread_mutex_t mutex;
        pthread_cond_t unpinned;
        struct watched **buckets;
        uint32_t bucket_count; /* a power of two; 0 before the first watch */
        uint32_t object_count;
        struct watch **pairs; /* watches by object and client: thousands of clients may look at one directory */
        uint32_t pair_buckets; /* a power of two; 0 before the first watch */
        struct watch_list watches;
        char *names[NAMES_MAX];
        uint32_t name_count;
        atomic_uint askers;       /* sessions that asked to be told */
        uint32_t promised;        /* seconds, the most that one of them was told that a watch counts */
        _Atomic(uint64_t) changes; /* goes up under the mutex */
        struct mark *marks; /* MARKS of them; NULL: nobody has asked yet */
};

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static void list_push(struct watch_list *l, enum list_kind k, struct watch *w)
{
        w->in[k].newer = NULL;
        w->in[k].older = l->newest;
        *(l->newest ? &l->newest->in[k].newer : &l->oldest) = w;
        l->newest = w;
        l->n++;
}

static void list_remove(struct watch_list *l, enum list_kind k, struct watch *w)
{
        *(w->in[k].newer ? &w->in[k].newer->in[k].older : &l->newest) = w->in[k].older;
        *(w->in[k].older ? &w->in[k].older->in[k].newer : &l->oldest) = w->in[k].newer;
        l->n--;
}

static struct watch_list *list_of(struct upcall_table *t, const struct watch *w, enum list_kind k)
{
        switch (k) {
        case OF_OBJECT:
                return &w->object->watches;
        case OF_SESSION:
                return &w->session->watches;
        default:
                return &t->watches;
        }
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const struct gfid *g)
{
        uint64_t a, b;
        memcpy(&a, g->b, sizeof a);
        memcpy(&b, g->b + sizeof a, sizeof b);
        return (uint32_t)(((a ^ b) * 0x9e3779b97f4a7c15ull) >> 32);
}

static uint32_t bucket_of(const struct upcall_table *t, const struct gfid *g)
{
        return hash_of(g) & (t->bucket_count - 1);
}

static struct watched *object_find(const struct upcall_table *t, const struct gfid *g)
{
        struct watched *o = t->bucket_count ? t->buckets[bucket_of(t, g)] : NULL;
        while (o && !gfid_equal(&o->gfid, g))
                o = o->hash_next;
        return o;
}

static void object_insert(struct upcall_table *t, struct watched *o)
{
        struct watched **head = &t->buckets[bucket_of(t, &o->gfid)];
        o->hash_next = *head;
        *head = o;
}

/* Without memory the chains get longer, nothing else. */
static void buckets_grow(struct upcall_table *t)
{
        uint32_t old = t->bucket_count, count = old ? old * 2 : BUCKETS_FIRST;
        struct watched **buckets = calloc(count, sizeof *buckets), **was = t->buckets;
        if (!buckets)
                return;
        t->buckets = buckets;
        t->bucket_count = count;
        for (uint32_t k = 0; k < old; k++)
                for (struct watched *o = was[k], *next; o; o = next) {
                        next = o->hash_next;
                        object_insert(t, o);
                }
        free(was);
}

static struct watched *object_get(struct upcall_table *t, const struct gfid *g)
{
        struct watched *o = object_find(t, g);
        if (o)
                return o;
        if (t->object_count >= t->bucket_count)
                buckets_grow(t);
        o = t->bucket_count ? calloc(1, sizeof *o) : NULL;
        if (!o)
                return NULL;
        o->gfid = *g;
        object_insert(t, o);
        t->object_count++;
        return o;
}

static void object_drop_if_unwatched(struct upcall_table *t, struct watched *o)
{
        if (o->watches.n > 0)
                return;
        struct watched **at = &t->buckets[bucket_of(t, &o->gfid)];
        while (*at != o)
                at = &(*at)->hash_next;
        *at = o->hash_next;
        t->object_count--;
        free(o);
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

static struct watch **pair_bucket(const struct upcall_table *t, const struct watched *o, const struct upcall_session *us)
{
        uint64_t h = ((uint64_t)(uintptr_t)o ^ (uint64_t)(uintptr_t)us * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
        return &t->pairs[(uint32_t)(h >> 32) & (t->pair_buckets - 1)];
}

static void pair_insert(struct upcall_table *t, struct watch *w)
{
        struct watch **head = pair_bucket(t, w->object, w->session);
        w->hash_next = *head;
        *head = w;
}

static void pair_remove(struct upcall_table *t, struct watch *w)
{
        struct watch **at = pair_bucket(t, w->object, w->session);
        while (*at != w)
                at = &(*at)->hash_next;
        *at = w->hash_next;
}

/* Without memory the chains get longer, nothing else. */
static void pairs_grow(struct upcall_table *t)
{
        uint32_t old = t->pair_buckets, count = old ? old * 2 : BUCKETS_FIRST;
        struct watch **pairs = calloc(count, sizeof *pairs), **was = t->pairs;
        if (!pairs)
                return;
        t->pairs = pairs;
        t->pair_buckets = count;
        for (uint32_t k = 0; k < old; k++)
                for (struct watch *w = was[k], *next; w; w = next) {
                        next = w->hash_next;
                        pair_insert(t, w);
                }
        free(was);
}

/* The object may go with it. */
static void watch_end(struct upcall_table *t, struct watch *w)
{
        for (enum list_kind k = 0; k < LIST_KINDS; k++)
                list_remove(list_of(t, w, k), k, w);
        pair_remove(t, w);
        object_drop_if_unwatched(t, w->object);
        free(w);
}

static struct watch *watch_find(const struct upcall_table *t, const struct watched *o, const struct upcall_session *us)
{
        struct watch *w = t->pair_buckets ? *pair_bucket(t, o, us) : NULL;
        while (w && (w->object != o || w->session != us))
                w = w->hash_next;
        return w;
}

static struct watch *watch_new(struct upcall_table *t, struct watched *o, struct upcall_session *us)
{
        if (t->watches.n >= t->pair_buckets)
                pairs_grow(t);
        struct watch *w = t->pair_buckets ? calloc(1, sizeof *w) : NULL;
        if (!w)
                return NULL;
        w->object = o;
        w->session = us;
        pair_insert(t, w);
        return w;
}

static struct watch *watch_get(struct upcall_table *t, struct watched *o, struct upcall_session *us)
{
        struct watch *w = watch_find(t, o, us);
        for (enum list_kind k = 0; w && k < LIST_KINDS; k++)
                list_remove(list_of(t, w, k), k, w);
        if (!w)
                w = watch_new(t, o, us);
        for (enum list_kind k = 0; w && k < LIST_KINDS; k++)
                list_push(list_of(t, w, k), k, w);
        return w;
}

static uint64_t timeout_of(const struct brick *b)
{
        return b->options->cache_invalidation_timeout * NS_PER_SEC;
}

/* Under the mutex: how old a watch may be before it is freed. */
static uint64_t lifetime(const struct upcall_table *t, uint64_t timeout)
{
        return 2 * MAX(timeout, t->promised * NS_PER_SEC);
}

/* Frees what is too old to count; a few at a time keep up with what is added. */
static void expire_some(struct upcall_table *t, uint64_t now, uint64_t timeout)
{
        for (int k = 0; k < 3 && t->watches.oldest && now - t->watches.oldest->seen > lifetime(t, timeout); k++)
                watch_end(t, t->watches.oldest);
}

/* Under the mutex. NULL: no memory. */
static struct upcall_session *session_get(struct session *s)
{
        if (!s->upcalls && (s->upcalls = calloc(1, sizeof *s->upcalls)))
                s->upcalls->session = s;
        return s->upcalls;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static struct gfid gfid_of_session(const struct session *s, const struct gfid *g)
{
        bool mapped = s && !gfid_is_null(&s->subdir_root) && gfid_is_root(g);
        return mapped ? s->subdir_root : *g;
}

static struct gfid gfid_for_session(const struct session *s, const struct gfid *g)
{
        bool mapped = !gfid_is_null(&s->subdir_root) && gfid_equal(g, &s->subdir_root);
        return mapped ? GFID_ROOT : *g;
}

/* I as FROM was told (NULL: as it is), as it is told to TO. */
static struct iatt iatt_between(const struct session *from, const struct session *to, const struct iatt *i)
{
        if (!i || gfid_is_null(&i->gfid))
                return (struct iatt){0};
        struct iatt told = *i;
        struct gfid g = gfid_of_session(from, &i->gfid);
        told.gfid = gfid_for_session(to, &g);
        told.ino = gfid_ino(&told.gfid);
        return told;
}

static void encode_body(const struct brick *b, const struct session *from, const struct session *to,
                        const struct upcall_event *e, struct buf *buf)
{
        char text[GFID_TEXT_LEN + 1];
        struct gfid g = gfid_for_session(to, &e->object);
        const struct cache_invalidation_cbk m = {
                .gfid = {gfid_format(&g, text), GFID_TEXT_LEN},
                .event_type = EVENT_CACHE_INVALIDATION,
                .flags = e->flags,
                .expire_time_attr = b->options->cache_invalidation_timeout,
                .stat = iatt_between(from, to, e->stat),
                .parent_stat = iatt_between(from, to, e->parent),
                .oldparent_stat = iatt_between(from, to, e->old_parent),
                .xdata = e->xattrs,
        };
        msg_encode(&cache_invalidation_cbk_desc, &m, buf);
}

static int send_once(const struct brick *b, const struct session *from, struct upcall_session *us,
                     const struct upcall_event *e)
{
        struct session *to = us->session;
        const struct rpc_call call = {
                .xid = atomic_fetch_add(&us->xid, 1) + 1,
                .prog = CALLBACK_PROGRAM,
                .vers = CALLBACK_VERSION,
                .proc = CALLBACK_CACHE_INVALIDATION,
        };
        _cleanup_buf_ struct buf buf = BUF_INIT(RECORD_MAX);
        size_t begin = record_begin(&buf);
        rpc_call_encode(&buf, &call);
        encode_body(b, from, to, e, &buf);
        record_end(&buf, begin, 0);
        if (buf.error)
                return buf.error;
        to->send(to->conn, &(struct iovec){buf.data, buf.len}, 1);
        return 0;
}

/* US is pinned. A message that would be too large says that attributes changed, and not to what. */
static void send_to(const struct brick *b, const struct session *from, struct upcall_session *us,
                    const struct upcall_event *e)
{
        if (send_once(b, from, us, e) == 0)
                return;
        const struct upcall_event small = {
                .object = e->object, .flags = UPCALL_FORGET | UPCALL_DROP_ATTRIBUTES, .xattrs = DICT_NULL};
        (void)send_once(b, from, us, &small);
}

static void unpin(struct upcall_table *t, struct upcall_session *const *v, uint32_t n)
{
        pthread_mutex_lock(&t->mutex);
        for (uint32_t k = 0; k < n; k++)
                v[k]->pins--;
        pthread_cond_broadcast(&t->unpinned);
        pthread_mutex_unlock(&t->mutex);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

struct evicted {
        struct upcall_session *to; /* pinned */
        struct gfid object;
};

/* Under the mutex. The number of watches that W's lists had too many. */
static uint32_t make_room(struct upcall_table *t, struct watch *w, struct evicted ret[static LIST_KINDS])
{
        uint32_t n = 0;
        for (enum list_kind k = 0; k < LIST_KINDS; k++) {
                struct watch_list *l = list_of(t, w, k);
                if (l->n <= list_limit[k])
                        continue;
                struct watch *oldest = l->oldest;
                ret[n++] = (struct evicted){oldest->session, oldest->object->gfid};
                oldest->session->pins++;
                watch_end(t, oldest);
        }
        return n;
}

/* Under the mutex: G was changed by FROM (NULL: nobody in particular). */
static void mark_change(struct upcall_table *t, const struct gfid *g, const struct session *from)
{
        if (!t->marks)
                return;
        struct mark *m = &t->marks[hash_of(g) & (MARKS - 1)];
        if (m->by != from)
                m->by_others_at = m->at;
        m->by = from;
        m->at = atomic_fetch_add(&t->changes, 1) + 1;
}

/* Under the mutex: whether others than S may have changed G after so many CHANGES. */
static bool is_changed_since(const struct upcall_table *t, const struct gfid *g, const struct session *s, uint64_t changes)
{
        if (!t->marks)
                return false;
        const struct mark *m = &t->marks[hash_of(g) & (MARKS - 1)];
        return (m->by == s ? m->by_others_at : m->at) > changes;
}

static bool has_asked(const struct upcall_session *us)
{
        return us && us->asked;
}

/* -ENOMEM: there is none. */
static int watch_held(struct upcall_table *t, struct session *s, const struct gfid *g, uint64_t now,
                      struct evicted evicted[static LIST_KINDS], uint32_t *ret_evicted)
{
        struct upcall_session *us = session_get(s);
        struct watched *o = us ? object_get(t, g) : NULL;
        if (!o)
                return -ENOMEM;
        struct watch *w = watch_get(t, o, us);
        if (!w) {
                object_drop_if_unwatched(t, o);
                return -ENOMEM;
        }
        w->seen = now;
        *ret_evicted = make_room(t, w, evicted);
        return 0;
}

/* What the client of US is about to be answered is not to be remembered. */
static void tell_doubt(const struct op *op, struct upcall_session *us, const struct gfid *object)
{
        const struct upcall_event e = {.object = *object, .flags = UPCALL_DOUBT, .xattrs = DICT_NULL};
        send_to(op->brick, NULL, us, &e);
}

void upcall_watch(struct op *op, const struct gfid *object)
{
        struct upcall_table *t = op->brick->upcalls;
        struct evicted evicted[LIST_KINDS];
        struct upcall_session *us = op->session->upcalls;
        uint32_t n = 0;
        uint64_t now = coarse_now();
        if (gfid_is_null(object) || !(op->brick->options->cache_invalidation || has_asked(us)))
                return;
        pthread_mutex_lock(&t->mutex);
        expire_some(t, now, timeout_of(op->brick));
        int r = watch_held(t, op->session, object, now, evicted, &n);
        bool doubt = has_asked(us) && (r < 0 || is_changed_since(t, object, op->session, op->changes));
        pthread_mutex_unlock(&t->mutex);
        if (doubt)
                tell_doubt(op, us, object);
        for (uint32_t k = 0; k < n; k++) {
                const struct upcall_event e = {.object = evicted[k].object, .flags = UPCALL_FORGET, .xattrs = DICT_NULL};
                send_to(op->brick, NULL, evicted[k].to, &e);
                unpin(t, &evicted[k].to, 1);
        }
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

/* Whether W's client, for which it is NOW, is to be told of E, which FROM did. Those who asked do not hear of their own. */
static bool is_concerned(const struct upcall_table *t, const struct watch *w, const struct session *from,
                         const struct upcall_event *e, uint64_t now, uint64_t timeout)
{
        const struct upcall_session *us = w->session;
        bool own = us->session == from;
        if (own && (us->asked || !(e->flags & UPCALL_FORGET)))
                return false;
        if (e->askers_only && !us->asked)
                return false;
        return now - w->seen <= (us->asked ? lifetime(t, timeout) : timeout);
}

/* Under the mutex: pins who is to be told. */
static uint32_t pin_watchers(struct upcall_table *t, struct watched *o, const struct session *from,
                             const struct upcall_event *e, uint64_t timeout, struct upcall_session **v)
{
        uint32_t n = 0;
        uint64_t now = coarse_now();
        for (struct watch *w = o->watches.newest; w; w = w->in[OF_OBJECT].older) {
                if (!is_concerned(t, w, from, e, now, timeout))
                        continue;
                w->session->pins++;
                v[n++] = w->session;
        }
        return n;
}

static void end_all_watches(struct upcall_table *t, struct watched *o)
{
        for (struct watch *w = o->watches.newest, *older; w; w = older) {
                older = w->in[OF_OBJECT].older;
                watch_end(t, w);
        }
}

static void tell(struct brick *b, struct session *from, const struct upcall_event *e)
{
        struct upcall_table *t = b->upcalls;
        bool forget = e->flags & UPCALL_FORGET;
        uint32_t n = 0;
        _cleanup_free_ struct upcall_session **v = NULL;
        pthread_mutex_lock(&t->mutex);
        mark_change(t, &e->object, from);
        struct watched *o = object_find(t, &e->object);
        if (o)
                v = calloc(o->watches.n, sizeof(struct upcall_session *));
        if (v)
                n = pin_watchers(t, o, from, e, timeout_of(b), v);
        if (o && forget)
                end_all_watches(t, o);
        pthread_mutex_unlock(&t->mutex);
        for (uint32_t k = 0; k < n; k++)
                send_to(b, from, v[k], e);
        if (n > 0)
                unpin(t, v, n);
}

void upcall_tell(struct op *op, const struct upcall_event *e)
{
        tell(op->brick, op->session, e);
}

void upcall_forget(struct brick *b, struct session *from, const struct gfid *object)
{
        const struct upcall_event e = {.object = *object, .flags = UPCALL_FORGET, .xattrs = DICT_NULL};
        if (upcall_is_on(b))
                tell(b, from, &e);
}

void upcall_session_gone(struct session *s)
{
        struct upcall_table *t = s->brick->upcalls;
        struct upcall_session *us = s->upcalls;
        if (!us)
                return;
        pthread_mutex_lock(&t->mutex);
        while (us->watches.oldest)
                watch_end(t, us->watches.oldest);
        while (us->pins > 0)
                pthread_cond_wait(&t->unpinned, &t->mutex);
        pthread_mutex_unlock(&t->mutex);
        if (us->asked)
                atomic_fetch_sub(&t->askers, 1);
        s->upcalls = NULL;
        free(us);
}

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

bool upcall_is_on(const struct brick *b)
{
        return b->options->cache_invalidation || atomic_load(&b->upcalls->askers) > 0;
}

uint64_t upcall_changes(const struct brick *b)
{
        return atomic_load(&b->upcalls->changes);
}

int upcall_begin(struct session *s, uint32_t *ret_seconds)
{
        struct upcall_table *t = s->brick->upcalls;
        pthread_mutex_lock(&t->mutex);
        struct upcall_session *us = session_get(s);
        uint32_t seconds = s->brick->options->cache_invalidation_timeout;
        if (!t->marks)
                t->marks = calloc(MARKS, sizeof *t->marks);
        if (!t->marks)
                us = NULL;
        if (us && !us->asked && seconds > 0) {
                us->asked = true;
                atomic_fetch_add(&t->askers, 1);
        }
        if (us)
                t->promised = MAX(t->promised, seconds);
        pthread_mutex_unlock(&t->mutex);
        if (!us)
                return -ENOMEM;
        *ret_seconds = seconds;
        return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Under the mutex. */
static int name_add(struct upcall_table *t, const char *name)
{
        for (uint32_t k = 0; k < t->name_count; k++)
                if (streq(t->names[k], name))
                        return 0;
        if (t->name_count == NAMES_MAX || strlen(name) > NAME_LIMIT)
                return -ENOSPC;
        char *copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        t->names[t->name_count++] = copy;
        return 0;
}

int upcall_register_names(struct brick *b, const struct dict *names)
{
        struct upcall_table *t = b->upcalls;
        int r = 0;
        pthread_mutex_lock(&t->mutex);
        for (uint32_t k = 0; r == 0 && k < names->count; k++)
                r = name_add(t, names->pairs[k].key.s);
        pthread_mutex_unlock(&t->mutex);
        return r;
}

bool upcall_name_is_registered(struct brick *b, const char *name)
{
        struct upcall_table *t = b->upcalls;
        bool found = false;
        pthread_mutex_lock(&t->mutex);
        for (uint32_t k = 0; !found && k < t->name_count; k++)
                found = glob_match(t->names[k], name);
        pthread_mutex_unlock(&t->mutex);
        return found;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void upcall_count(struct brick *b, struct brick_stats *s)
{
        struct upcall_table *t = b->upcalls;
        pthread_mutex_lock(&t->mutex);
        s->watches = t->watches.n;
        s->watch_bytes = t->watches.n * sizeof(struct watch) + t->object_count * sizeof(struct watched) +
                         t->bucket_count * sizeof(struct watched *);
        pthread_mutex_unlock(&t->mutex);
}

int upcall_table_new(struct upcall_table **ret)
{
        struct upcall_table *t = calloc(1, sizeof *t);
        if (!t)
                return -ENOMEM;
        pthread_mutex_init(&t->mutex, NULL);
        pthread_cond_init(&t->unpinned, NULL);
        *ret = t;
        return 0;
}

struct upcall_table *upcall_table_free(struct upcall_table *t)
{
        if (!t)
                return NULL;
        for (uint32_t k = 0; k < t->name_count; k++)
                free(t->names[k]);
        free(t->buckets);
        free(t->pairs);
        free(t->marks);
        pthread_mutex_destroy(&t->mutex);
        pthread_cond_destroy(&t->unpinned);
        free(t);
        return NULL;
}
