/* Clearing locks, handing them over, counting them, refusing new ones (lock_admin.h, brick.h; spec: brick.md §13.8,
 * §13.9).
 *
 * Everything is one step on the table of an object; what concerns all objects walks over the sessions' holds first and
 * then takes one object after the other. Any thread.
 */
#include "brick/lock_admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "brick/lock_table.h"

#define CLEAR_PREFIX "glusterfs.clrlk"
#define INTERRUPT_PREFIX "glusterfs.intrlk"

/* ---- clear-locks ------------------------------------------------------------------------------------------------- */

bool lock_clear_is(const char *name, bool by_fd)
{
        return starts_with(name, CLEAR_PREFIX) || (by_fd && starts_with(name, INTERRUPT_PREFIX));
}

/* Takes WORD from the beginning of *TEXT. */
static bool take_word(const char **text, const char *word)
{
        if (!starts_with(*text, word))
                return false;
        *text += strlen(word);
        return true;
}

static const char *const kind_names[LOCK_KIND_MAX] = {
        [LOCK_INODE] = "inode", [LOCK_ENTRY] = "entry", [LOCK_POSIX] = "posix"};

static int parse_kind(const char **text, enum lock_kind *ret)
{
        if (!take_word(text, ".t"))
                return -EINVAL;
        for (int k = 0; k < LOCK_KIND_MAX; k++)
                if (take_word(text, kind_names[k])) {
                        *ret = (enum lock_kind)k;
                        return 0;
                }
        return -EINVAL;
}

static int parse_which(const char **text, struct lock_filter *f)
{
        if (!take_word(text, ".k"))
                return -EINVAL;
        if (take_word(text, "all"))
                f->waiting = f->granted = true;
        else if (take_word(text, "blocked"))
                f->waiting = true;
        else if (take_word(text, "granted"))
                f->granted = true;
        else
                return -EINVAL;
        return 0;
}

/* "WHENCE,START-LENGTH"; what follows does not count. Only ranges from the beginning of the file exist. */
static int parse_range(const char *text, struct lock_filter *f)
{
        int whence;
        int64_t start, len;
        if (sscanf(text, "%d,%" SCNd64 "-%" SCNd64, &whence, &start, &len) != 3)
                return -EINVAL;
        bool possible = whence == SEEK_SET && start >= 0 && len >= 0;
        f->has_range = true;
        f->start = possible ? (uint64_t)start : LOCK_END_MAX;
        f->end = possible ? 0 : LOCK_END_MAX - 1;
        if (possible)
                f->end = len == 0 || (uint64_t)len > LOCK_END_MAX - f->start ? LOCK_END_MAX
                                                                             : f->start + (uint64_t)len - 1;
        return 0;
}

static int parse_clear(const char *text, struct lock_filter *f)
{
        int r = parse_kind(&text, &f->kind);
        if (r == 0)
                r = parse_which(&text, f);
        if (r < 0 || !*text)
                return r;
        if (*text != '.')
                return -EINVAL;
        text++;
        if (!*text)
                return 0;
        if (f->kind == LOCK_ENTRY) {
                f->name = text;
                return 0;
        }
        return parse_range(text, f);
}

static const char *clear_text(struct op *op, const struct lock_filter *f, struct lock_cleared n)
{
        const struct brick *b = op->brick;
        if (n.waiting == 0 && n.granted == 0)
                return "No locks cleared.";
        return arena_printf(op->arena, "%s:%s/: %s blocked locks=%" PRIu32 " granted locks=%" PRIu32, b->hostname,
                            b->path, kind_names[f->kind], n.waiting, n.granted);
}

/* CLIENT_ONLY: only what this client waits for on behalf of the calling process, and what it holds. */
static struct lock_cleared clear_step(struct op *op, struct inode *inode, struct lock_filter *f, bool client_only)
{
        struct lock_cleared n = {0};
        struct lock_table *t = lock_table_of(inode);
        struct lock_session *ls = atomic_load(&op->session->locks);
        if (!t)
                return n;
        struct lock_step st;
        lock_step_begin(&st, op->brick, inode, t);
        struct lock_hold *h = client_only && ls ? lock_hold_find(t, ls) : NULL;
        f->client = h ? &h->client : NULL;
        f->caller = (uint32_t)op->caller.pid;
        if (h || !client_only)
                n = lock_set_clear(&t->set, f, &st.ev);
        lock_step_end(&st);
        return n;
}

int lock_clear(struct op *op, struct inode *inode, const char *name, const char **ret_text)
{
        bool interrupt = starts_with(name, INTERRUPT_PREFIX);
        struct lock_filter f = {0};
        int r = parse_clear(name + strlen(interrupt ? INTERRUPT_PREFIX : CLEAR_PREFIX), &f);
        if (r < 0)
                return r;
        if (!interrupt && op->caller.uid != 0)
                return -EPERM;
        f.error = f.kind == LOCK_POSIX ? -EINTR : -EAGAIN;
        *ret_text = clear_text(op, &f, clear_step(op, inode, &f, interrupt));
        return *ret_text ? 0 : -ENOMEM;
}

/* ---- who holds locks --------------------------------------------------------------------------------------------- */

#define HOLDERS_MAX 8u

static const char *add_holder(struct op *op, const char *text, const struct lock *l)
{
        const struct lock_hold *h = CONTAINER_OF(l->client, const struct lock_hold, client);
        const char *name = h->session->session->client_uid;
        if (strstr(text, name))
                return text;
        return arena_printf(op->arena, "%s%s%s", text, *text ? " " : "", name);
}

int lock_holders(struct op *op, struct inode *inode, const char **ret_text)
{
        const char *text = "";
        struct lock_table *t = lock_table_of(inode);
        struct lock_step st;
        unsigned n = 0;
        *ret_text = text;
        if (!t)
                return 0;
        lock_step_begin(&st, op->brick, inode, t);
        for (const struct lock_space *sp = t->set.spaces; sp; sp = sp->next) {
                const struct lock *l = sp->kind == LOCK_POSIX ? NULL : sp->granted.head;
                for (; l && text && n < HOLDERS_MAX; l = l->next, n++)
                        text = add_holder(op, text, l);
        }
        lock_step_end(&st);
        *ret_text = text;
        return text ? 0 : -ENOMEM;
}

/* ---- lockinfo ---------------------------------------------------------------------------------------------------- */

/* What stands for this brick in a lockinfo that a client may have put together from several. */
static const char *lockinfo_key(struct op *op)
{
        return arena_printf(op->arena, "<POSIX(%s):%s", op->brick->path, op->brick->hostname);
}

static bool holds_through(struct lock_table *t, const struct session *s, const struct open_fd *of)
{
        struct lock_session *ls = atomic_load(&s->locks);
        struct lock_hold *h = ls ? lock_hold_find(t, ls) : NULL;
        return h && posix_lock_held(&t->set, &h->client, of);
}

/* The number that says FD in a lockinfo. It cannot be guessed from outside: who knows it may take the locks. Not 0. */
static uint64_t lockinfo_number(const struct brick *b, const void *fd)
{
        uintptr_t at = (uintptr_t)fd;
        return XXH64(&at, sizeof at, b->lock_secret) | 1;
}

/* 0: nothing is held through OF. */
static uint64_t lockinfo_number_of(struct op *op, struct open_fd *of)
{
        struct lock_table *t = of ? lock_table_of(of->inode) : NULL;
        if (!t)
                return 0;
        struct lock_step st;
        lock_step_begin(&st, op->brick, of->inode, t);
        uint64_t number = holds_through(t, op->session, of) ? lockinfo_number(op->brick, of) : 0;
        lock_step_end(&st);
        return number;
}

int lockinfo_get(struct op *op, struct open_fd *of, struct slice *ret)
{
        struct dict d = {0};
        *ret = (struct slice){0};
        uint64_t number = lockinfo_number_of(op, of);
        if (number == 0)
                return 0;
        const char *key = lockinfo_key(op), *text = arena_printf(op->arena, "%" PRIu64, number);
        _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);
        int r = key && text ? dict_add_str(&d, op->arena, key, text) : -ENOMEM;
        if (r == 0)
                r = dict_encode_old(&b, &d);
        char *copy = r == 0 ? arena_strndup(op->arena, b.data, b.len) : NULL;
        if (!copy)
                return r < 0 ? r : -ENOMEM;
        *ret = (struct slice){(const uint8_t *)copy, (uint32_t)b.len};
        return 0;
}

/* The descriptor with that number through which a posix lock is held; only its address is looked at. */
static const void *holder_with_number(const struct brick *b, const struct lock_set *s, uint64_t number)
{
        for (const struct lock_space *sp = s->spaces; sp; sp = sp->next)
                for (const struct lock *l = sp->kind == LOCK_POSIX ? sp->granted.head : NULL; l; l = l->next)
                        if (l->fd && lockinfo_number(b, l->fd) == number)
                                return l->fd;
        return NULL;
}

static int lockinfo_take(struct op *op, struct open_fd *of, uint64_t number)
{
        struct lock_table *t = lock_table_of(of->inode);
        struct lock_session *ls = lock_session_get(op->session);
        if (!t)
                return 0;
        if (!ls)
                return -ENOMEM;
        struct lock_step st;
        lock_step_begin(&st, op->brick, of->inode, t);
        const void *from = holder_with_number(op->brick, &t->set, number);
        int r = 0;
        if (from) {
                struct lock_hold *h = lock_hold_get(t, ls, of->inode);
                r = h ? posix_lock_move(&t->set, from, &h->client, of) : -ENOMEM;
        }
        lock_step_end(&st);
        return r;
}

int lockinfo_set(struct op *op, struct open_fd *of, struct slice value)
{
        struct dict d;
        struct str text;
        const char *key = lockinfo_key(op);
        if (!key)
                return -ENOMEM;
        if (!of || dict_decode_old(value, op->arena, &d) < 0)
                return -EINVAL;
        int r = dict_get_str(&d, op->arena, key, &text);
        if (r == -ENOENT)
                return 0; /* of other bricks only */
        uint64_t number;
        if (r < 0 || sscanf(text.s, "%" SCNu64, &number) != 1)
                return -EINVAL;
        return lockinfo_take(op, of, number);
}

/* ---- lock migration ----------------------------------------------------------------------------------------------- */

static int active_entry(struct op *op, const struct lock *l, struct lock_entry *ret)
{
        const struct lock_session *ls = CONTAINER_OF(l->client, struct lock_hold, client)->session;
        const char *uid = ls->session->client_uid;
        char *copy = arena_strndup(op->arena, uid, strlen(uid));
        char *owner = arena_strndup(op->arena, l->owner, l->owner_len);
        if (!copy || !owner)
                return -ENOMEM;
        *ret = (struct lock_entry){
                .flock = {.type = l->type,
                          .start = l->start,
                          .len = l->end == LOCK_END_MAX ? 0 : l->end - l->start + 1,
                          .pid = l->pid,
                          .owner = {(const uint8_t *)owner, l->owner_len}},
                .client_uid = str_of(copy),
                .flags = l->flags,
        };
        return 0;
}

/* Under the table's mutex. */
static int list_active(struct op *op, const struct lock_table *t, struct lock_list *ret)
{
        uint32_t n = lock_set_count(&t->set, LOCK_POSIX, NULL);
        struct lock_entry *v = arena_alloc_array(op->arena, n ? n : 1, sizeof *v);
        struct lock_list list = {.v = v};
        if (!v)
                return -ENOMEM;
        for (const struct lock_space *sp = t->set.spaces; sp; sp = sp->next)
                for (const struct lock *l = sp->kind == LOCK_POSIX ? sp->granted.head : NULL; l; l = l->next) {
                        int r = active_entry(op, l, &v[list.n++]);
                        if (r < 0)
                                return r;
                }
        *ret = list;
        return 0;
}

static int active_of(struct op *op, struct inode *inode, struct getactivelk_fop_rep *rep)
{
        struct lock_table *t = lock_table_of(inode);
        if (!t)
                return 0;
        pthread_mutex_lock(&t->mutex);
        int r = list_active(op, t, &rep->reply);
        pthread_mutex_unlock(&t->mutex);
        rep->op_ret = (int32_t)rep->reply.n;
        return r;
}

int fop_getactivelk(struct op *op, const struct getactivelk_fop_req *req, struct getactivelk_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = active_of(op, o.inode, rep);
        object_done(op->brick, &o);
        return r;
}

/* Locks are not installed for clients that did not ask for them: rebalance then leaves a locked file where it is. */
int fop_setactivelk(struct op *op, const struct setactivelk_fop_req *req, struct setactivelk_fop_rep *rep)
{
        (void)op;
        (void)rep;
        return req->request.n > 0 ? -ENOTSUP : 0;
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

void lock_stats_session(const struct session *s, struct brick_stats *ret)
{
        struct lock_session *ls = atomic_load(&s->locks);
        if (!ls)
                return;
        for (int k = 0; k < LOCK_KIND_MAX; k++)
                ret->locks += atomic_load(&ls->totals.granted[k]);
        ret->locks_waiting += atomic_load(&ls->totals.waiting);
}

uint32_t brick_held_locks(struct brick *b)
{
        uint32_t n = 0;
        pthread_mutex_lock(&b->lock);
        for (struct session *s = b->sessions; s; s = s->next) {
                struct lock_session *ls = atomic_load(&s->locks);
                if (ls)
                        n += atomic_load(&ls->totals.granted[LOCK_INODE]) + atomic_load(&ls->totals.granted[LOCK_ENTRY]);
        }
        pthread_mutex_unlock(&b->lock);
        return n;
}

/* ---- graceful stop ----------------------------------------------------------------------------------------------- */

struct inode_list {
        struct inode **v; /* referenced */
        size_t n, cap;
};

static bool list_push(struct inode_list *l, struct inode *i)
{
        if (l->n == l->cap) {
                size_t cap = l->cap ? 2 * l->cap : 64;
                struct inode **v = reallocarray(l->v, cap, sizeof *v);
                if (!v)
                        return false;
                l->v = v;
                l->cap = cap;
        }
        l->v[l->n++] = inode_ref(i);
        return true;
}

static void list_holds(struct inode_list *l, struct lock_session *ls)
{
        pthread_mutex_lock(&ls->mutex);
        for (struct lock_hold *h = ls->holds; h && list_push(l, h->inode);)
                h = h->session_next;
        pthread_mutex_unlock(&ls->mutex);
}

/* Every object on which somebody has a lock, some more than once; without memory, some are missing. */
static void list_locked(struct inode_list *l, struct brick *b)
{
        pthread_mutex_lock(&b->lock);
        for (struct session *s = b->sessions; s; s = s->next) {
                struct lock_session *ls = atomic_load(&s->locks);
                if (ls)
                        list_holds(l, ls);
        }
        pthread_mutex_unlock(&b->lock);
}

static void drain_inode(struct brick *b, struct inode *inode)
{
        struct lock_step st;
        lock_step_begin(&st, b, inode, lock_table_of(inode));
        st.urgent = true;
        lock_set_drain(&st.table->set, -ENOTCONN, &st.ev);
        lock_step_end(&st);
}

void brick_refuse_new_locks(struct brick *b)
{
        struct inode_list locked = {0};
        atomic_store(&b->no_new_locks, true);
        list_locked(&locked, b);
        for (size_t i = 0; i < locked.n; i++) {
                drain_inode(b, locked.v[i]);
                inode_unref(b, locked.v[i]);
        }
        free(locked.v);
}
