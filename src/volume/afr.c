/* cluster/replicate: the layer itself (afr.h): builder, options, children coming and going, quorum, questions to
 * several children at once.
 *
 * Relies on graph.c to fill in name, children and volume before anything is called, and on the layer below to answer
 * every operation on a child that is down with -ENOTCONN. Invariant: `connects` of a child differs from what it was
 * whenever the connection was lost in between, so a lock that was taken before is known to be gone.
 */
#include "volume/afr.h"

#include "volfile/option.h"
#include "volume/outage.h"

#include <limits.h>
#include <stdio.h>

#define GATHER_TIME NS_PER_SEC

/* ---- fields that all operations have ----------------------------------------------------------------------------- */

struct fop_head {
        int32_t op_ret, op_errno;
};

struct fop_shape {
        size_t req, rep, req_xdata, rep_xdata;
};

#define SHAPE_(NAME, name)                                                                                             \
        [FOP_##NAME] = {sizeof(struct name##_fop_req), sizeof(struct name##_fop_rep),                                  \
                        offsetof(struct name##_fop_req, xdata), offsetof(struct name##_fop_rep, xdata)},
static const struct fop_shape shapes[FOP_MAX] = {SUBVOLUME_FOPS(SHAPE_)};

#define HEAD_(NAME, name)                                                                                              \
        _Static_assert(offsetof(struct name##_fop_rep, op_ret) == offsetof(struct fop_head, op_ret) &&                 \
                               offsetof(struct name##_fop_rep, op_errno) == offsetof(struct fop_head, op_errno),       \
                       "answers begin with result and errno");
SUBVOLUME_FOPS(HEAD_)

size_t afr_req_size(enum fop fop)
{
        return shapes[fop].req;
}

size_t afr_rep_size(enum fop fop)
{
        return shapes[fop].rep;
}

struct dict *afr_req_xdata(enum fop fop, void *req)
{
        return (struct dict *)(void *)((char *)req + shapes[fop].req_xdata);
}

struct dict *afr_rep_xdata(enum fop fop, void *rep)
{
        return (struct dict *)(void *)((char *)rep + shapes[fop].rep_xdata);
}

void *afr_req_copy(struct arena *arena, enum fop fop, const void *req)
{
        void *copy = arena_alloc(arena, shapes[fop].req);
        if (!copy)
                return NULL;
        memcpy(copy, req, shapes[fop].req);
        struct dict *x = afr_req_xdata(fop, copy);
        struct dict_pair *pairs = arena_alloc_array(arena, x->count + 8, sizeof *pairs);
        if (!pairs)
                return NULL;
        if (x->count > 0)
                memcpy(pairs, x->pairs, x->count * sizeof *pairs);
        x->pairs = pairs;
        x->cap = x->count + 8;
        return copy;
}

int afr_take(const struct afr_answers *x, unsigned child, void *rep)
{
        memcpy(rep, x->rep[child], shapes[x->fop].rep);
        return x->result[child];
}

int afr_fail(enum fop fop, void *rep, int error)
{
        memset(rep, 0, shapes[fop].rep);
        *afr_rep_xdata(fop, rep) = DICT_NULL;
        *(struct fop_head *)rep = (struct fop_head){-1, -error};
        return error;
}

/* ---- several children -------------------------------------------------------------------------------------------- */

void afr_ask_each(struct fibre *self, struct afr *a, struct request *r, struct afr_answers *x)
{
        struct fan fans[AFR_CHILDREN_MAX];
        unsigned n = 0;
        x->ok = 0;
        x->generation = a->base.generation;
        AFR_EACH(i, x->asked)
        {
                x->rep[i] = arena_alloc(r->arena, shapes[x->fop].rep);
                x->result[i] = -ENOMEM;
                if (x->rep[i])
                        fans[n++] = (struct fan){.child = a->base.children[i], .req = x->req[i], .rep = x->rep[i]};
        }
        subvolume_fan_out(self, x->fop, r, fans, n);
        unsigned at = 0;
        AFR_EACH(i, x->asked)
        {
                if (x->rep[i])
                        x->result[i] = fans[at++].result;
                if (x->result[i] >= 0)
                        x->ok |= AFR_BIT(i);
        }
}

void afr_ask(struct fibre *self, struct afr *a, struct request *r, enum fop fop, const void *req, afr_set set,
             struct afr_answers *ret)
{
        *ret = (struct afr_answers){.fop = fop, .asked = set};
        AFR_EACH(i, set)
        {
                ret->req[i] = req;
        }
        afr_ask_each(self, a, r, ret);
}

static int error_rank(int error)
{
        switch (-error) {
        case ENODATA:
                return 6;
        case ENOENT:
                return 5;
        case ESTALE:
                return 4;
        case ENOSPC:
                return 3;
        case ENOTCONN:
                return 1;
        default:
                return 2;
        }
}

int afr_final_error(const struct afr_answers *x, afr_set set)
{
        int error = -ENOTCONN;
        AFR_EACH(i, set & x->asked)
        {
                int r = x->result[i];
                if (r < 0 && error_rank(r) >= error_rank(error))
                        error = r;
        }
        return error;
}

int afr_refusal(const struct afr *a, const struct afr_answers *x)
{
        afr_set heard = 0;
        AFR_EACH(i, x->asked)
        {
                if (x->result[i] != -ENOTCONN)
                        heard |= AFR_BIT(i);
        }
        return afr_quorum(a, heard & ~x->ok) ? afr_final_error(x, heard & ~x->ok) : -ENOTCONN;
}

void afr_internal_request(const struct request *from, uint64_t owner, struct request *ret)
{
        *ret = *from;
        ret->cancel = NULL;
        struct rpc_cred *c = &ret->cred;
        c->uid = c->gid = 0;
        c->group_count = 0;
        c->flags = 0;
        c->pid = MIN(c->pid, 0);
        c->owner_len = owner ? sizeof owner : 0;
        memcpy(c->owner, &owner, sizeof owner);
}

/* ---- quorum ------------------------------------------------------------------------------------------------------ */

afr_set afr_up(const struct afr *a)
{
        afr_set up = 0;
        for (unsigned i = 0; i < a->n; i++) {
                if (a->base.children[i]->up)
                        up |= AFR_BIT(i);
        }
        return up;
}

bool afr_quorum(const struct afr *a, afr_set set)
{
        unsigned have = afr_count(set & a->all);
        switch (a->options.quorum_type) {
        case AFR_QUORUM_FIXED:
                return have >= a->options.quorum_count;
        case AFR_QUORUM_AUTO:
                return 2 * have > a->n || (2 * have == a->n && (set & 1));
        default:
                return have >= 1;
        }
}

int afr_ready(struct fibre *self, struct afr *a, const struct request *r)
{
        return outage_wait(self, &a->base, r, outage_deadline(&a->base));
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static unsigned child_number(const struct afr *a, const struct subvolume *child)
{
        unsigned i = 0;
        while (i < a->n && a->base.children[i] != child)
                i++;
        return i;
}

static void tell_up(struct afr *a)
{
        timer_stop(&a->gathering);
        subvolume_set_up(&a->base, afr_quorum(a, afr_up(a)));
        if (a->base.up)
                afr_find_local(a);
}

static void gathered(struct timer *t)
{
        tell_up(CONTAINER_OF(t, struct afr, gathering));
}

/* Bricks connect one by one: going on with the first few would blame the others for what they are just about to take
 * part in. So the others get a moment. */
static void update_up(struct afr *a)
{
        afr_set up = afr_up(a);
        if (a->base.up || up == a->all || !afr_quorum(a, up))
                tell_up(a);
        else if (!timer_running(&a->gathering))
                timer_start(afr_loop(a), &a->gathering, GATHER_TIME, gathered);
}

/* What is kept under locks ends: after a loss because the lock is gone, after a return so that the child takes part
 * again. */
static void child_changed(struct afr *a, unsigned child, bool up)
{
        if (child < a->n)
                a->connects[child]++;
        if (child < a->n && !up) {
                a->index_known &= ~AFR_BIT(child);
                a->index_watched &= ~AFR_BIT(child);
        }
        afr_eager_close_all(a);
        bool was = a->base.up;
        update_up(a);
        if (a->base.up == was) {
                for (struct subvolume *p = a->base.parent; p; p = p->parent)
                        p->generation++;
        }
}

/* What was found out about objects while nothing was pending may not be true any more, once something is. */
static void index_told(struct afr *a, unsigned child, bool pending)
{
        if (child >= a->n)
                return;
        afr_set bit = AFR_BIT(child);
        if (pending && !(a->index_watched & a->index_pending & bit))
                a->base.generation++;
        a->index_known |= bit;
        a->index_watched |= bit;
        a->index_pending = pending ? a->index_pending | bit : a->index_pending & ~bit;
}

static void inode_changed(struct afr *a, const struct gfid *gfid)
{
        struct vnode *i = vnode_find(a->base.volume, gfid);
        struct afr_inode *x = i ? *vnode_slot(i, &a->base) : NULL;
        if (x) {
                x->known = false;
                x->changes++;
        }
        vnode_unref(i);
}

static void somebody_waits(struct afr *a, const struct gfid *gfid, struct str domain)
{
        size_t len = strlen(a->base.name);
        if (domain.len < len || memcmp(domain.s, a->base.name, len) != 0)
                return;
        bool metadata = streq(domain.s + len, AFR_METADATA_SUFFIX);
        if (metadata || domain.len == len)
                afr_eager_close_gfid(a, gfid, metadata);
}

static void on_event(struct subvolume *v, struct subvolume *child, const struct subvolume_event *e)
{
        struct afr *a = afr_of(v);
        switch (e->kind) {
        case SUBVOLUME_UP:
        case SUBVOLUME_DOWN:
                child_changed(a, child_number(a, child), e->kind == SUBVOLUME_UP);
                return;
        case SUBVOLUME_INDEX:
                index_told(a, child_number(a, child), e->flags);
                return;
        case SUBVOLUME_INVALIDATE:
                inode_changed(a, &e->gfid);
                break;
        case SUBVOLUME_INODELK_CONTENTION:
                somebody_waits(a, &e->gfid, e->domain);
                break;
        default:
                break;
        }
        subvolume_tell(v, e);
}

/* ---- beside the caller ------------------------------------------------------------------------------------------- */

int afr_background(struct afr *a, const char *name, fibre_fn fn, void *arg)
{
        int r = fibre_start(afr_loop(a), name, fn, arg);
        if (r == 0)
                a->background++;
        return r;
}

void afr_background_done(struct afr *a)
{
        a->background--;
        if (a->background == 0 && !a->batches && a->idle)
                fibre_event_set(a->idle);
}

static void drain(struct fibre *self, struct subvolume *v)
{
        struct afr *a = afr_of(v);
        afr_eager_close_all(a);
        while (a->background > 0 || a->batches) {
                struct fibre_event idle = {0};
                a->idle = &idle;
                (void)fibre_event_wait(self, &idle, UINT64_MAX);
                a->idle = NULL;
        }
}

void afr_wait(struct fibre *self, struct afr_queue *q)
{
        struct afr_waiter w = {0};
        struct afr_waiter **at = &q->head;
        while (*at)
                at = &(*at)->next;
        *at = &w;
        (void)fibre_event_wait(self, &w.event, UINT64_MAX); /* who wakes has emptied the queue */
}

void afr_wake_all(struct afr_queue *q)
{
        struct afr_waiter *w = TAKE_PTR(q->head);
        while (w) {
                struct afr_waiter *next = w->next;
                fibre_event_set(&w->event);
                w = next;
        }
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* -ENODATA of section_bool(), that it is not there, leaves what RET was. */
static int truth(const struct volfile_section *s, const char *key, bool *ret, struct error *err)
{
        int r = section_bool(s, key, ret, err);
        return r == -ENODATA ? 0 : r;
}

static int number(const struct volfile_section *s, const char *key, long low, long high, long otherwise, long *ret,
                  struct error *err)
{
        const char *text = section_option(s, key);
        char *end = NULL;
        errno = 0;
        long value = text ? strtol(text, &end, 10) : otherwise;
        if (text && (errno || end == text || *end || value < low || value > high))
                return error_set(err, -EINVAL, "option %s of %s is '%s'; it must be a number from %ld to %ld", key,
                                 s->name, text, low, high);
        *ret = value;
        return 0;
}

static int read_quorum(struct afr *a, const struct volfile_section *s, struct error *err)
{
        const char *type = section_option(s, "quorum-type");
        if (!type)
                type = a->n >= 3 ? "auto" : "none";
        long count = 0;
        int r = number(s, "quorum-count", 1, INT_MAX, (long)(a->n / 2 + 1), &count, err);
        if (r < 0)
                return r;
        a->options.quorum_count = (unsigned)count;
        if (streq(type, "auto"))
                a->options.quorum_type = AFR_QUORUM_AUTO;
        else if (streq(type, "fixed"))
                a->options.quorum_type = AFR_QUORUM_FIXED;
        else if (streq(type, "none"))
                a->options.quorum_type = AFR_QUORUM_NONE;
        else
                return error_set(err, -EINVAL, "option quorum-type of %s is '%s'; it must be none, auto or fixed",
                                 s->name, type);
        return 0;
}

static int read_favorite(struct afr *a, const struct volfile_section *s, struct error *err)
{
        static const char *const names[] = {"none", "size", "ctime", "mtime", "majority"};
        const char *text = section_option(s, "favorite-child-policy");
        for (size_t i = 0; text && i < ELEMENTSOF(names); i++) {
                if (streq(text, names[i])) {
                        a->options.favorite = (enum afr_favorite)i;
                        return 0;
                }
        }
        if (text)
                return error_set(err, -EINVAL, "option favorite-child-policy of %s is '%s', which is no policy",
                                 s->name, text);
        return 0;
}

/* A child by name or by number. */
static int read_read_child(struct afr *a, const struct volfile_section *s, struct error *err)
{
        long index = -1;
        int r = number(s, "read-subvolume-index", -1, (long)a->n - 1, -1, &index, err);
        const char *name = section_option(s, "read-subvolume");
        for (unsigned i = 0; name && i < a->n; i++) {
                if (streq(name, s->subvolumes[i]->name))
                        index = (long)i;
        }
        a->options.read_child = (int)index;
        return r;
}

static int read_arbiter(struct afr *a, const struct volfile_section *s, struct error *err)
{
        if (section_option(s, "thin-arbiter"))
                return error_set(err, -EOPNOTSUPP,
                                 "%s has a thin arbiter, which this client does not implement; use the stock client",
                                 s->name);
        long count = 0;
        int r = number(s, "arbiter-count", 0, 1, 0, &count, err);
        if (r < 0)
                return r;
        if (count == 1 && a->n < 3)
                return error_set(err, -EINVAL, "%s has an arbiter but only %u copies", s->name, a->n);
        a->arbiter = count == 1 ? a->n - 1 : AFR_NO_CHILD;
        return 0;
}

static int read_options(struct afr *a, const struct volfile_section *s, struct error *err)
{
        long delay = 0, hash_mode = 0, window = 0;
        int r = number(s, "post-op-delay-secs", 0, INT_MAX, 1, &delay, err);
        if (r == 0)
                r = number(s, "read-hash-mode", 0, 5, 1, &hash_mode, err);
        if (r == 0)
                r = number(s, "data-self-heal-window-size", 1, 1024, 8, &window, err);
        if (r == 0)
                r = read_arbiter(a, s, err);
        if (r == 0)
                r = read_quorum(a, s, err);
        if (r == 0)
                r = read_favorite(a, s, err);
        if (r == 0)
                r = read_read_child(a, s, err);
        struct afr_options *o = &a->options;
        o->post_op_delay = (uint64_t)delay * NS_PER_SEC;
        o->read_hash_mode = (unsigned)hash_mode;
        o->window = (unsigned)window;
        const char *algorithm = section_option(s, "data-self-heal-algorithm");
        o->algorithm = algorithm && streq(algorithm, "full")   ? AFR_ALGORITHM_FULL
                       : algorithm && streq(algorithm, "diff") ? AFR_ALGORITHM_DIFF
                                                               : AFR_ALGORITHM_BY_CONTENT;
        o->eager_lock = o->ensure_durability = o->optimistic = o->choose_local = true;
        o->granular = o->anonymous_inode = false;
        const struct {
                const char *key;
                bool *value;
        } switches[] = {{"eager-lock", &o->eager_lock},
                        {"ensure-durability", &o->ensure_durability},
                        {"optimistic-change-log", &o->optimistic},
                        {"granular-entry-heal", &o->granular},
                        {"use-anonymous-inode", &o->anonymous_inode},
                        {"choose-local", &o->choose_local}};
        for (size_t i = 0; i < ELEMENTSOF(switches) && r == 0; i++)
                r = truth(s, switches[i].key, switches[i].value, err);
        const char *id = section_option(s, "volume-id");
        if (id && gfid_parse(id, strlen(id), &o->anonymous_gfid) == 0) {
                (void)snprintf(o->anonymous_name, sizeof o->anonymous_name, ".glusterfs-anonymous-inode-%.36s", id);
                o->anonymous_gfid.b[0] ^= 1;
        }
        return r;
}

/* The names of the counters: of afr-pending-xattr, else those of the children. */
static int read_names(struct afr *a, const struct volfile_section *s, struct error *err)
{
        const char *at = section_option(s, "afr-pending-xattr");
        bool given = at != NULL;
        for (unsigned i = 0; i < a->n; i++) {
                size_t len = given ? strcspn(at, ",") : strlen(s->subvolumes[i]->name);
                const char *name = given ? at : s->subvolumes[i]->name;
                if (len == 0 || len > NAME_LIMIT - 16)
                        return error_set(err, -EINVAL, "option afr-pending-xattr of %s does not name its %u children",
                                         s->name, a->n);
                a->pending[i] = arena_printf(&a->names, "trusted.afr.%.*s", (int)len, name);
                if (!a->pending[i])
                        return error_set(err, -ENOMEM, "out of memory");
                if (given)
                        at += len + (at[len] == ',');
        }
        if (given && *at)
                return error_set(err, -EINVAL, "option afr-pending-xattr of %s names more than its %u children",
                                 s->name, a->n);
        return 0;
}

/* Takes other options. What is on disk by the old ones cannot change under a mount. */
static int afr_reconfigure(struct subvolume *v, const struct volfile_section *section, struct error *err)
{
        struct afr *a = afr_of(v);
        struct afr new = {.n = a->n, .names = ARENA_INIT(64 * KIB)};
        if (section->n_subvolumes != a->n)
                return error_set(err, -EOPNOTSUPP, "the number of copies of %s has changed", section->name);
        int r = read_options(&new, section, err);
        if (r == 0)
                r = read_names(&new, section, err);
        bool same = r == 0 && new.arbiter == a->arbiter;
        for (unsigned i = 0; i < a->n && same; i++)
                same = streq(new.pending[i], a->pending[i]);
        if (r == 0 && !same)
                r = error_set(err, -EOPNOTSUPP, "arbiter or names of the counters of %s have changed", section->name);
        if (r == 0) {
                a->options = new.options;
                afr_eager_close_all(a);
                update_up(a);
        }
        arena_done(&new.names);
        return r;
}

static void afr_free(struct subvolume *v)
{
        struct afr *a = afr_of(v);
        while (a->batches) {
                struct afr_batch *b = a->batches;
                a->batches = b->next;
                timer_stop(&b->delay);
                free(b);
        }
        timer_stop(&a->gathering);
        arena_done(&a->names);
        free(a);
}

#define OPS_(NAME, name) .name = afr_##name,
static const struct subvolume_ops afr_ops = {
        SUBVOLUME_FOPS(OPS_).on_event = on_event, .forget = afr_forget, .release = afr_release, .drain = drain,
        .reconfigure = afr_reconfigure,           .free = afr_free,
};

bool afr_is(const struct subvolume *v)
{
        return v->ops == &afr_ops;
}

int afr_build(struct volume *vol, const struct volfile_section *section, struct subvolume **children, unsigned n,
              struct subvolume **ret, struct error *err)
{
        (void)vol;
        (void)children;
        if (n < 1 || n > AFR_CHILDREN_MAX)
                return error_set(err, -EOPNOTSUPP, "%s has %u copies; this client knows 1 to %u", section->name, n,
                                 AFR_CHILDREN_MAX);
        struct afr *a = calloc(1, sizeof *a);
        if (!a)
                return error_set(err, -ENOMEM, "out of memory");
        a->base.ops = &afr_ops;
        a->n = n;
        a->all = AFR_BIT(n) - 1;
        a->local = AFR_NO_CHILD;
        a->write_hope = AFR_WRITE_HOPE;
        a->names = ARENA_INIT(64 * KIB);
        int r = read_options(a, section, err);
        if (r == 0)
                r = read_names(a, section, err);
        if (r < 0) {
                afr_free(&a->base);
                return r;
        }
        *ret = &a->base;
        return 0;
}
