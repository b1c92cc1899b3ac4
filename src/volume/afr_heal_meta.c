/* Heals attributes and extended attributes of an object (replicate.md §10.2, §10.4; afr_heal.h).
 *
 * Only with all copies there and locked: a heal among some could contradict what the others hold. Counters are taken
 * back by what was read under the lock, never set: whoever adds one meanwhile is not forgotten.
 */
#include "volume/afr_heal.h"

#include <sys/stat.h>

#define HEAL_ARENA (1 * MIB)
#define HEALS_MAX 8u
#define RETRY_INTERVAL (10 * NS_PER_SEC)

/* ---- comparing --------------------------------------------------------------------------------------------------- */

bool afr_heal_ignores(struct str name)
{
        static const char *const prefixes[] = {"trusted.afr.",
                                               "trusted.gfid",
                                               "trusted.pgfid.",
                                               "trusted.glusterfs.mdata",
                                               "trusted.glusterfs.volume-id",
                                               "trusted.glusterfs.quota.",
                                               "trusted.bit-rot.",
                                               "security.selinux",
                                               "trusted.glusterfs.selinux"};
        static const char *const kinds[] = {"user.", "security.", "system.", "trusted."};
        for (size_t k = 0; k < ELEMENTSOF(prefixes); k++) {
                if (starts_with(name.s, prefixes[k]))
                        return true;
        }
        for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                if (starts_with(name.s, kinds[k]))
                        return false;
        }
        return true; /* an answer's own keys */
}

static bool same_value(const struct dict *d, const struct dict_pair *p)
{
        struct slice x, y;
        if (dict_get_bytes(d, p->key.s, &x) < 0)
                return false;
        y = p->value.bytes;
        return x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
}

static bool is_plain_value(const struct dict_pair *p)
{
        return p->value.type == DICT_PTR || p->value.type == DICT_STR || p->value.type == DICT_STR_OLD;
}

/* Everything that counts in X is in Y as well, and equal. */
static bool contained(const struct dict *x, const struct dict *y)
{
        for (uint32_t k = 0; k < x->count; k++) {
                const struct dict_pair *p = &x->pairs[k];
                if (is_plain_value(p) && !afr_heal_ignores(p->key) && !same_value(y, p))
                        return false;
        }
        return true;
}

static bool same_metadata(const struct afr_copy *x, const struct afr_copy *y)
{
        return x->stat->mode == y->stat->mode && x->stat->uid == y->stat->uid && x->stat->gid == y->stat->gid &&
               contained(x->xdata, y->xdata) && contained(y->xdata, x->xdata);
}

bool afr_metadata_differs(const struct afr *a, const struct afr_copy copies[])
{
        for (unsigned i = 1; i < a->n; i++) {
                if (copies[i].result < 0 || copies[0].result < 0)
                        return false;
                if (!same_metadata(&copies[0], &copies[i]))
                        return true;
        }
        return false;
}

/* ---- healing ----------------------------------------------------------------------------------------------------- */

static int copy_attributes(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                           const struct afr_copy *source, unsigned sink)
{
        struct setattr_fop_req q = {.gfid = *gfid, .stbuf = *source->stat, .valid = SETATTR_UID | SETATTR_GID};
        if (source->type != S_IFLNK)
                q.valid |= SETATTR_MODE;
        return afr_heal_call(self, a, r, FOP_SETATTR, &q, sink, NULL);
}

static int remove_others(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                         const struct afr_copy *source, const struct afr_copy *copy, unsigned sink)
{
        for (uint32_t k = 0; k < copy->xdata->count; k++) {
                const struct dict_pair *p = &copy->xdata->pairs[k];
                if (!is_plain_value(p) || afr_heal_ignores(p->key) || dict_has(source->xdata, p->key.s))
                        continue;
                struct removexattr_fop_req q = {.gfid = *gfid, .name = p->key};
                int result = afr_heal_call(self, a, r, FOP_REMOVEXATTR, &q, sink, NULL);
                if (result < 0 && result != -ENODATA)
                        return result;
        }
        return 0;
}

static int copy_xattrs(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                       const struct afr_copy *source, unsigned sink)
{
        struct setxattr_fop_req q = {.gfid = *gfid};
        for (uint32_t k = 0; k < source->xdata->count; k++) {
                const struct dict_pair *p = &source->xdata->pairs[k];
                if (!is_plain_value(p) || afr_heal_ignores(p->key))
                        continue;
                int result = dict_add(&q.dict, r->arena, p->key, p->value);
                if (result < 0)
                        return result;
        }
        struct slice times;
        if (dict_get_bytes(source->xdata, AFR_MDATA, &times) == 0 &&
            dict_add_ptr(&q.dict, r->arena, AFR_MDATA, times.data, times.len) < 0)
                return -ENOMEM;
        return q.dict.count > 0 ? afr_heal_call(self, a, r, FOP_SETXATTR, &q, sink, NULL) : 0;
}

static int heal_sink(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                     const struct afr_copy copies[], unsigned source, unsigned sink)
{
        int result = copy_attributes(self, a, r, gfid, &copies[source], sink);
        if (result >= 0)
                result = remove_others(self, a, r, gfid, &copies[source], &copies[sink], sink);
        if (result >= 0)
                result = copy_xattrs(self, a, r, gfid, &copies[source], sink);
        return result < 0 ? result : 0;
}

static uint64_t nanoseconds(struct iatt_time t)
{
        return (uint64_t)t.sec * NS_PER_SEC + t.nsec;
}

static uint64_t merit(const struct afr *a, const struct afr_copy *c)
{
        switch (a->options.favorite) {
        case AFR_FAVORITE_SIZE:
                return c->size;
        case AFR_FAVORITE_CTIME:
                return nanoseconds(c->stat->ctime);
        default:
                return nanoseconds(c->stat->mtime);
        }
}

/* The copy that the operator's policy prefers. Majority: that half of the copies agree with at least. */
unsigned afr_heal_favorite(const struct afr *a, const struct afr_copy copies[])
{
        unsigned best = AFR_NO_CHILD;
        for (unsigned i = 0; i < a->n; i++) {
                unsigned same = 0;
                if (copies[i].result < 0)
                        continue;
                for (unsigned j = 0; j < a->n; j++)
                        same += copies[j].result == 0 && merit(a, &copies[i]) == merit(a, &copies[j]) &&
                                copies[i].size == copies[j].size;
                if (i == a->arbiter || (a->options.favorite == AFR_FAVORITE_MAJORITY && 2 * same <= a->n))
                        continue;
                if (best == AFR_NO_CHILD || merit(a, &copies[i]) > merit(a, &copies[best]))
                        best = i;
        }
        return a->options.favorite == AFR_FAVORITE_NONE ? AFR_NO_CHILD : best;
}

/* The copy to heal from. */
static unsigned choose_source(const struct afr *a, const struct afr_copy copies[], afr_set sources, unsigned wanted)
{
        if (wanted != AFR_NO_CHILD)
                return wanted;
        if (!sources)
                return afr_metadata_differs(a, copies) ? afr_heal_favorite(a, copies) : 0;
        afr_set data = sources & ~afr_arbiter_set(a);
        if (a->local != AFR_NO_CHILD && (data & AFR_BIT(a->local)))
                return a->local;
        return afr_next(data ? data : sources, 0);
}

/* Nobody was blamed and yet they differ: blamed first, so that a heal that is broken off is taken up again. */
static int blame_first(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                       struct afr_copy copies[], unsigned source, afr_set sinks)
{
        struct afr_answers x;
        struct afr_tally mark = {.gfid = *gfid, .blamed = sinks, .amount = {[AFR_METADATA] = 1}};
        afr_tally(self, a, r, &mark, AFR_BIT(source), &x);
        if (!x.ok)
                return -ENOTCONN;
        AFR_EACH (j, sinks) {
                copies[source].pending[j][AFR_METADATA]++;
        }
        return 0;
}

static int heal_sinks(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                      const struct afr_copy copies[], unsigned source, afr_set sinks, afr_set *ret_failed)
{
        int result = 0;
        *ret_failed = 0;
        AFR_EACH (i, sinks) {
                int one = heal_sink(self, a, r, gfid, copies, source, i);
                if (one < 0) {
                        *ret_failed |= AFR_BIT(i);
                        result = one;
                }
        }
        return result;
}

static int heal_locked(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, unsigned wanted,
                       const struct afr_guard *guard)
{
        struct afr_copy *copies;
        int result = afr_heal_inspect(self, a, r, gfid, &copies);
        if (result < 0)
                return result;
        struct afr_direction d;
        afr_direction(copies, a->n, a->all, AFR_METADATA, a->n / 2 + 1, &d);
        unsigned source = choose_source(a, copies, d.sinks == a->all ? 0 : d.sources, wanted);
        if (source == AFR_NO_CHILD)
                return -EIO;
        afr_set sinks = 0, failed;
        for (unsigned i = 0; i < a->n; i++) {
                if (i != source && !same_metadata(&copies[source], &copies[i]))
                        sinks |= AFR_BIT(i);
        }
        if (d.sources == a->all && sinks)
                result = blame_first(self, a, r, gfid, copies, source, sinks);
        if (result < 0)
                return result;
        result = heal_sinks(self, a, r, gfid, copies, source, sinks, &failed);
        if (afr_guard_lost(a, guard))
                return -ENOTCONN; /* and with it locks */
        const struct afr_undo undo = {.gfid = gfid,
                                      .classes = 1u << AFR_METADATA,
                                      .copies = copies,
                                      .on = a->all,
                                      .forgiven = a->all & ~failed,
                                      .failed = failed};
        int undone = afr_heal_undo(self, a, r, &undo);
        return result < 0 ? result : undone;
}

int afr_heal_metadata(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, unsigned source)
{
        if (afr_up(a) != a->all)
                return -ENOTCONN;
        afr_eager_settle_inode(self, a, i); /* our own lock is in the way like anybody's */
        struct request ours;
        afr_heal_request(r, &ours);
        ours.inode = i;
        struct afr_locks locks = {.class = AFR_METADATA};
        struct afr_guard guard;
        afr_guard_set(a, &guard);
        afr_locks_add(&locks, &i->gfid, "");
        afr_set locked = 0;
        int result = afr_lock(self, a, &ours, NULL, &locks, a->all, &locked);
        if (result < 0)
                return result;
        result = locked == a->all ? heal_locked(self, a, &ours, &i->gfid, source, &guard) : -ENOTCONN;
        afr_unlock(self, a, &ours, NULL, &locks);
        struct afr_inode *x = afr_inode(a, i);
        if (x) {
                x->known = false;
                x->changes++;
        }
        return result;
}

/* ---- beside a look-up -------------------------------------------------------------------------------------------- */

struct job {
        struct afr *afr;
        struct vnode *inode;
};

static void heal_fibre(struct fibre *self, void *arg)
{
        struct job *job = arg;
        struct afr *a = job->afr;
        struct arena arena = ARENA_INIT(HEAL_ARENA);
        struct request r = {.arena = &arena, .inode = job->inode};
        int result = afr_heal_metadata(self, a, &r, job->inode, AFR_NO_CHILD);
        struct afr_inode *x = afr_inode(a, job->inode);
        if (x) {
                x->healing = false;
                x->heal_after = result < 0 ? loop_now(afr_loop(a)) + RETRY_INTERVAL : 0;
        }
        arena_done(&arena);
        vnode_unref(job->inode);
        free(job);
        a->heals--;
        afr_background_done(a);
}

void afr_heal_metadata_later(struct afr *a, struct vnode *i, const struct gfid *gfid, uint32_t type)
{
        struct afr_inode *x = afr_inode(a, i);
        if (!x || x->healing || a->heals >= HEALS_MAX || loop_now(afr_loop(a)) < x->heal_after)
                return;
        struct job *job = calloc(1, sizeof *job);
        if (!job)
                return;
        job->afr = a;
        job->inode = gfid_is_null(&i->gfid) ? vnode_new(a->base.volume, gfid, type) : vnode_ref(i);
        if (!job->inode || afr_background(a, "heal metadata", heal_fibre, job) < 0) {
                vnode_unref(job->inode);
                free(job);
                return;
        }
        x = afr_inode(a, job->inode);
        if (x)
                x->healing = true;
        a->heals++;
}
