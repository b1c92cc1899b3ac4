/* Heals of whole objects: the entry point, and what heals share (afr_heal.h).
 *
 * Which classes an object needs is decided from one look without locks; each heal looks again under its own.
 */
#include "volume/afr_heal.h"

#include "volume/afr_be.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

/* ---- shared ------------------------------------------------------------------------------------------------------ */

int afr_heal_why(struct afr_heal_report *report, int error, const char *format, ...)
{
        va_list ap;
        if (!report)
                return error;
        va_start(ap, format);
        (void)vsnprintf(report->why, sizeof report->why, format, ap);
        va_end(ap);
        return error;
}

void afr_heal_request(const struct request *from, struct request *ret)
{
        afr_internal_request(from, 0, ret);
        ret->cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        ret->cred.pid = PID_SELF_HEAL;
        ret->file = NULL;
}

int afr_heal_call(struct fibre *self, struct afr *a, struct request *r, enum fop fop, const void *req, unsigned child,
                  const void **ret_rep)
{
        struct afr_answers x;
        afr_ask(self, a, r, fop, req, AFR_BIT(child), &x);
        if (ret_rep && x.result[child] >= 0)
                *ret_rep = x.rep[child];
        return x.result[child];
}

static int ask_all(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                   struct afr_answers *ret)
{
        struct lookup_fop_req *q = arena_alloc(r->arena, sizeof *q);
        if (!q)
                return -ENOMEM;
        *q = (struct lookup_fop_req){.gfid = *gfid, .bname = STR("")};
        int result = afr_ask_counters(a, r->arena, &q->xdata);
        if (result == 0)
                result = dict_add_uint(&q->xdata, r->arena, AFR_MDATA, 0);
        if (result == 0)
                afr_ask(self, a, r, FOP_LOOKUP, q, a->all, ret);
        return result;
}

int afr_heal_inspect(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                     struct afr_copy **ret)
{
        struct afr_answers x;
        int result = ask_all(self, a, r, gfid, &x);
        if (result < 0)
                return result;
        if (x.ok != a->all)
                return afr_final_error(&x, a->all);
        *ret = afr_copies(a, r->arena, &x);
        return *ret ? 0 : -ENOMEM;
}

void afr_guard_set(const struct afr *a, struct afr_guard *ret)
{
        memcpy(ret->connects, a->connects, sizeof ret->connects);
}

afr_set afr_guard_lost(const struct afr *a, const struct afr_guard *g)
{
        afr_set lost = 0;
        for (unsigned i = 0; i < a->n; i++) {
                if (a->connects[i] != g->connects[i])
                        lost |= AFR_BIT(i);
        }
        return lost;
}

/* ---- taking counters back ---------------------------------------------------------------------------------------- */

static int add_counter(struct dict *d, struct arena *arena, const char *name, const int32_t amount[AFR_CLASSES])
{
        uint8_t *bytes = arena_alloc(arena, AFR_COUNTER_SIZE);
        if (!bytes)
                return -ENOMEM;
        for (unsigned c = 0; c < AFR_CLASSES; c++)
                afr_put_be32(bytes + (size_t)4 * c, (uint32_t)amount[c]);
        return dict_add_ptr(d, arena, name, bytes, AFR_COUNTER_SIZE);
}

/* What brick I adds to its counter about child J. */
static void amounts_of(const struct afr_undo *u, unsigned i, unsigned j, int32_t ret[AFR_CLASSES])
{
        const struct afr_copy *copy = &u->copies[i];
        for (unsigned c = 0; c < AFR_CLASSES; c++) {
                ret[c] = 0;
                if (!(u->classes & (1u << c)))
                        continue;
                if (u->forgiven & AFR_BIT(j))
                        ret[c] = -copy->pending[j][c];
                else if (i != j && (u->failed & AFR_BIT(j)) && copy->pending[j][c] == 0)
                        ret[c] = 1;
        }
}

static const void *undo_request(const struct afr *a, struct arena *arena, const struct afr_undo *u, unsigned i)
{
        int32_t amount[AFR_CLASSES];
        struct xattrop_fop_req *q = arena_alloc(arena, sizeof *q);
        if (!q)
                return NULL;
        *q = (struct xattrop_fop_req){.gfid = *u->gfid};
        for (unsigned j = 0; j < a->n; j++) {
                amounts_of(u, i, j, amount);
                if (add_counter(&q->dict, arena, a->pending[j], amount) < 0)
                        return NULL;
        }
        for (unsigned c = 0; c < AFR_CLASSES; c++)
                amount[c] = u->classes & (1u << c) ? -u->copies[i].dirty[c] : 0;
        if (add_counter(&q->dict, arena, "trusted.afr.dirty", amount) < 0)
                return NULL;
        if (u->purge && dict_add_int(&q->xdata, arena, "glusterfs.xattrop-purge-index", 1) < 0)
                return NULL;
        return q;
}

int afr_heal_undo(struct fibre *self, struct afr *a, struct request *r, const struct afr_undo *u)
{
        struct afr_answers x = {.fop = FOP_XATTROP, .asked = u->on};
        AFR_EACH (i, u->on) {
                x.req[i] = undo_request(a, r->arena, u, i);
                if (!x.req[i])
                        return -ENOMEM;
        }
        afr_ask_each(self, a, r, &x);
        return x.ok == u->on ? 0 : -ENOTCONN;
}

/* Adds nothing: bricks look at the counters and correct their index. */
static int tidy_index(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid)
{
        struct afr_answers x;
        const struct afr_tally nothing = {.gfid = *gfid};
        afr_tally(self, a, r, &nothing, a->all, &x);
        return x.ok == a->all ? 0 : -ENOTCONN;
}

/* ---- taking turns ------------------------------------------------------------------------------------------------ */

int afr_heal_turn_take(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                       struct afr_heal_turn *t, struct afr_heal_report *report)
{
        afr_set locked = 0;
        (void)snprintf(t->domain, sizeof t->domain, "%s:self-heal", a->base.name);
        t->locks = (struct afr_locks){.class = t->class, .try_only = true, .domain = t->domain};
        afr_locks_add(&t->locks, gfid, "");
        int result = afr_lock(self, a, r, NULL, &t->locks, a->all, &locked);
        if (result == -EAGAIN)
                return afr_heal_why(report, -EBUSY, "somebody else heals it");
        if (result < 0 || locked == a->all)
                return result;
        afr_unlock(self, a, r, NULL, &t->locks);
        return -ENOTCONN;
}

/* ---- what an object needs ---------------------------------------------------------------------------------------- */

struct needs {
        bool heal[AFR_CLASSES];
        bool in_use;
};

static bool any_pending(const struct afr *a, const struct afr_copy copies[], enum afr_class class)
{
        for (unsigned i = 0; i < a->n; i++) {
                for (unsigned j = 0; j < a->n; j++) {
                        if (copies[i].pending[j][class] != 0)
                                return true;
                }
        }
        return false;
}

static bool any_dirty(const struct afr *a, const struct afr_copy copies[], enum afr_class class)
{
        for (unsigned i = 0; i < a->n; i++) {
                if (copies[i].dirty[class] != 0)
                        return true;
        }
        return false;
}

static bool sizes_differ(const struct afr *a, const struct afr_copy copies[])
{
        for (unsigned i = 1; i < a->n; i++) {
                if (i != a->arbiter && copies[i].size != copies[0].size)
                        return true;
        }
        return false;
}

static bool is_locked(const struct afr *a, const struct afr_copy copies[])
{
        for (unsigned i = 0; i < a->n; i++) {
                if (copies[i].inodelks > 0)
                        return true;
        }
        return false;
}

/* Marks of operations under way belong to those who hold the locks. */
static void find_needs(const struct afr *a, const struct afr_copy copies[], struct needs *ret)
{
        bool directory = S_ISDIR(copies[0].type), locked = is_locked(a, copies);
        *ret = (struct needs){0};
        for (unsigned c = 0; c < AFR_CLASSES; c++) {
                bool dirty = any_dirty(a, copies, (enum afr_class)c);
                ret->in_use |= dirty && locked && !directory;
                ret->heal[c] = any_pending(a, copies, (enum afr_class)c) || (dirty && (directory || !locked));
        }
        if (directory)
                ret->heal[AFR_ENTRY] |= ret->heal[AFR_DATA];
        ret->heal[S_ISREG(copies[0].type) ? AFR_ENTRY : AFR_DATA] = false;
        if (S_ISREG(copies[0].type) && !locked)
                ret->heal[AFR_DATA] |= sizes_differ(a, copies);
        ret->heal[AFR_METADATA] |= !locked && afr_metadata_differs(a, copies);
}

static bool nothing_counted(const struct afr *a, const struct afr_copy copies[])
{
        for (unsigned c = 0; c < AFR_CLASSES; c++) {
                if (any_pending(a, copies, (enum afr_class)c) || any_dirty(a, copies, (enum afr_class)c))
                        return false;
        }
        return true;
}

static bool is_gone(int result)
{
        return result == -ENOENT || result == -ESTALE;
}

/* Where an object is that some do not have. */
struct whereabouts {
        unsigned child; /* one that has it; AFR_NO_CHILD: all do, or none does */
        uint32_t type;
};

/* 0: every copy has it, and is of one type. -EAGAIN: not every copy; where it is in RET_WHERE (may be NULL). */
static int look(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, struct afr_copy **ret,
                struct whereabouts *ret_where, struct afr_heal_report *report)
{
        struct afr_answers x;
        int result = ask_all(self, a, r, gfid, &x);
        if (result < 0)
                return result;
        afr_set gone = 0;
        AFR_EACH (i, a->all & ~x.ok) {
                if (!is_gone(x.result[i]))
                        return afr_heal_why(report, x.result[i], "%s does not answer: %s", a->base.children[i]->name,
                                            strerror(-x.result[i]));
                gone |= AFR_BIT(i);
        }
        if (gone == a->all)
                return -ENOENT;
        if (gone) {
                unsigned child = afr_next(x.ok, 0);
                if (ret_where)
                        *ret_where = (struct whereabouts){
                                child, ((const struct lookup_fop_rep *)x.rep[child])->prestat.mode & S_IFMT};
                return afr_heal_why(report, -EAGAIN, "%s does not have it yet",
                                    a->base.children[afr_next(gone, 0)]->name);
        }
        struct afr_copy *copies = afr_copies(a, r->arena, &x);
        if (!copies)
                return -ENOMEM;
        for (unsigned i = 1; i < a->n; i++) {
                if (copies[i].type != copies[0].type)
                        return afr_heal_why(report, -EIO, "the copies are of different types");
        }
        *ret = copies;
        return 0;
}

static int check_up(const struct afr *a, struct afr_heal_report *report)
{
        afr_set down = a->all & ~afr_up(a);
        if (!down)
                return 0;
        return afr_heal_why(report, -ENOTCONN, "%s is not connected, and heals need all copies",
                            a->base.children[afr_next(down, 0)]->name);
}

/* ---- the entry point --------------------------------------------------------------------------------------------- */

static int heal_metadata(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                         struct afr_heal_report *report)
{
        _cleanup_vnode_ struct vnode *i = vnode_new(a->base.volume, gfid, report->type);
        if (!i)
                return -ENOMEM;
        int result = afr_heal_metadata(self, a, r, i,
                                       report->prefer == AFR_PREFER_SOURCE ? report->preferred_child : AFR_NO_CHILD);
        if (result == -EIO)
                return afr_heal_why(report, result, "metadata split-brain");
        return result;
}

typedef int heal_fn(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                    struct afr_heal_report *report);

static int heal_classes(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                        const struct needs *needs, struct afr_heal_report *report)
{
        static heal_fn *const heals[] = {
                [AFR_DATA] = afr_heal_data, [AFR_METADATA] = heal_metadata, [AFR_ENTRY] = afr_heal_entries};
        int result = 0;
        for (unsigned c = 0; c < AFR_CLASSES; c++) {
                if (!needs->heal[c])
                        continue;
                int one = heals[c](self, a, r, gfid, report);
                report->healed[c] = one == 0;
                if (one < 0 && result == 0)
                        result = one;
                if (one == -ENOTCONN || (c == AFR_DATA && one < 0 && one != -EIO))
                        break; /* attributes last: a copy whose attributes are right is asked for the size */
        }
        return result;
}

/* As look(). What is missing on a copy is looked for by its name, which makes it there. */
static int look_by_name(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                        struct afr_copy **ret, struct afr_heal_report *report)
{
        struct whereabouts where = {.child = AFR_NO_CHILD};
        int result = look(self, a, r, gfid, ret, &where, report);
        if (result != -EAGAIN || where.child == AFR_NO_CHILD ||
            afr_heal_path(self, a, r, gfid, where.type, where.child) < 0)
                return result;
        report->why[0] = 0;
        return look(self, a, r, gfid, ret, NULL, report);
}

int afr_heal(struct fibre *self, struct afr *a, const struct gfid *gfid, struct afr_heal_report *report)
{
        int result = check_up(a, report);
        if (result < 0)
                return result;
        _cleanup_arena_ struct arena arena = ARENA_INIT(AFR_HEAL_ARENA);
        struct request none = {.arena = &arena}, r;
        struct afr_copy *copies;
        struct needs needs;
        afr_heal_request(&none, &r);
        result = look_by_name(self, a, &r, gfid, &copies, report);
        if (result < 0)
                return result;
        report->type = copies[0].type;
        find_needs(a, copies, &needs);
        if (nothing_counted(a, copies) && !needs.heal[AFR_DATA] && !needs.heal[AFR_METADATA])
                return tidy_index(self, a, &r, gfid);
        result = heal_classes(self, a, &r, gfid, &needs, report);
        if (is_gone(result)) /* in the middle of it something was: that does not say that no copy has the object */
                return afr_heal_why(report, -EAGAIN, "something went while it was healed");
        if (result == 0 && needs.in_use)
                return afr_heal_why(report, -EBUSY, "somebody is writing to it");
        if (result < 0 && !report->why[0])
                return afr_heal_why(report, result, "%s", strerror(-result));
        return result;
}

static bool is_split(const struct afr *a, const struct afr_copy copies[], enum afr_class class)
{
        struct afr_direction d;
        if (!any_pending(a, copies, class))
                return false;
        afr_direction(copies, a->n, a->all, class, a->n / 2 + 1, &d);
        return !d.sources || d.sinks == a->all;
}

/* The parts of an object that are in split-brain. A directory is, if its copies blame each other: most are merged, and
 * those stay of which a name means several objects. */
static void find_split(const struct afr *a, const struct afr_copy copies[], bool ret[AFR_CLASSES])
{
        ret[AFR_DATA] = S_ISREG(copies[0].type) && is_split(a, copies, AFR_DATA);
        ret[AFR_METADATA] = is_split(a, copies, AFR_METADATA) && afr_metadata_differs(a, copies);
        ret[AFR_ENTRY] = S_ISDIR(copies[0].type) && is_split(a, copies, AFR_ENTRY);
}

static int resolve(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, const bool *split,
                   struct afr_heal_report *report)
{
        int result = 0;
        if (!split[AFR_DATA] && !split[AFR_METADATA])
                return afr_heal_why(report, -EINVAL, "File not in split-brain");
        if (split[AFR_DATA])
                result = afr_heal_data(self, a, r, gfid, report);
        if (result == -EIO && report->prefer == AFR_PREFER_BIGGEST)
                return afr_heal_why(report, result, "No bigger file");
        if (result == -EIO && report->prefer == AFR_PREFER_NEWEST)
                return afr_heal_why(report, result, "No difference in mtime");
        if (result < 0)
                return result;
        report->healed[AFR_DATA] = split[AFR_DATA];
        if (!split[AFR_METADATA])
                return 0;
        if (report->prefer != AFR_PREFER_SOURCE)
                return afr_heal_why(report, -EIO, "Use source-brick option to heal metadata split-brain");
        result = heal_metadata(self, a, r, gfid, report);
        report->healed[AFR_METADATA] = result == 0;
        return result;
}

int afr_heal_resolve(struct fibre *self, struct afr *a, const struct gfid *gfid, struct afr_heal_report *report)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(AFR_HEAL_ARENA);
        struct request none = {.arena = &arena}, r;
        struct afr_copy *copies;
        bool split[AFR_CLASSES];
        int result = check_up(a, report);
        afr_heal_request(&none, &r);
        if (result == 0)
                result = look_by_name(self, a, &r, gfid, &copies, report);
        if (result < 0)
                return result;
        report->type = copies[0].type;
        find_split(a, copies, split);
        result = resolve(self, a, &r, gfid, split, report);
        if (result < 0 && !report->why[0])
                return afr_heal_why(report, result, "%s", strerror(-result));
        if (result < 0)
                return result;
        struct afr_heal_report rest = {.prefer = AFR_PREFER_NONE}; /* what is not in split-brain */
        int other = afr_heal(self, a, gfid, &rest);
        return other == -EBUSY || other == -EAGAIN ? 0 : other;
}

int afr_heal_look(struct fibre *self, struct afr *a, const struct gfid *gfid, enum afr_heal_state *ret)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(AFR_HEAL_ARENA);
        struct request none = {.arena = &arena}, r;
        struct afr_copy *copies;
        struct needs needs;
        int result = check_up(a, NULL);
        if (result < 0)
                return result;
        afr_heal_request(&none, &r);
        r.cred.pid = PID_HEAL_INFO;
        result = look(self, a, &r, gfid, &copies, NULL, NULL);
        if (result == -EAGAIN)
                *ret = AFR_HEAL_PENDING;
        if (result == -EIO)
                *ret = AFR_SPLIT_BRAIN;
        if (result < 0)
                return result == -EAGAIN || result == -EIO ? 0 : result;
        find_needs(a, copies, &needs);
        bool heal = needs.heal[AFR_DATA] || needs.heal[AFR_METADATA] || needs.heal[AFR_ENTRY];
        bool split[AFR_CLASSES];
        find_split(a, copies, split);
        if (split[AFR_DATA] || split[AFR_METADATA] || split[AFR_ENTRY])
                *ret = AFR_SPLIT_BRAIN;
        else if (heal)
                *ret = is_locked(a, copies) ? AFR_HEALING : AFR_HEAL_PENDING;
        else
                *ret = needs.in_use ? AFR_HEALING : AFR_HEALTHY;
        return 0;
}

/* ---- a new brick ------------------------------------------------------------------------------------------------- */

int afr_heal_mark_new(struct fibre *self, struct afr *a, unsigned child)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(AFR_HEAL_ARENA);
        struct request none = {.arena = &arena}, r;
        struct afr_locks locks = {.class = AFR_ENTRY};
        struct afr_answers x;
        struct gfid root = GFID_ROOT;
        afr_set locked = 0, others = a->all & ~AFR_BIT(child);
        int result = check_up(a, NULL);
        if (result < 0)
                return result;
        afr_heal_request(&none, &r);
        afr_locks_add(&locks, &root, "");
        result = afr_lock(self, a, &r, NULL, &locks, a->all, &locked);
        if (result < 0)
                return result;
        result = -ENOTCONN;
        if (locked == a->all) {
                const struct afr_tally blame = {.gfid = root, .blamed = AFR_BIT(child), .amount = {1, 1, 1}};
                afr_tally(self, a, &r, &blame, others, &x);
                result = x.ok == others ? 0 : afr_final_error(&x, others);
        }
        if (result == 0) {
                const struct afr_tally dirty = {.gfid = root, .dirty = {[AFR_ENTRY] = 1}};
                afr_tally(self, a, &r, &dirty, AFR_BIT(child), &x);
                result = x.ok ? 0 : afr_final_error(&x, AFR_BIT(child));
        }
        afr_unlock(self, a, &r, NULL, &locks);
        return result;
}
