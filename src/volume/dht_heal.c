/* Healing of directories: part of looking them up (distribute.md §11).
 *
 * In this order: the directory where it is missing, owner and mode, attributes, layout. Nothing is healed while a sub-volume
 * is down: its copy may be the one that is right. Failure to heal is no failure of the look-up.
 *
 * Invariant: a layout is written only while the directory is locked on every sub-volume, by what all of them had then.
 */
#include "volume/dht.h"

#include "base/log.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#define PERMISSIONS 07777u

/* A directory that is being healed. */
struct heal {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        const struct lookup_fop_req *req;
        struct dht_answers *all;
        const struct layout *layout;
        int mds;    /* -1: none */
        int source; /* whose attributes count */
        bool changed;
        struct dict xattrs; /* of the source; read once */
        bool have_xattrs;
};

static bool is_there(const struct dht_answers *all, unsigned child)
{
        return all->fans[child].result >= 0 && S_ISDIR(all->reps[child].prestat.mode);
}

static bool is_root(const struct heal *h)
{
        return gfid_is_root(&h->r->inode->gfid);
}

static bool has_name(const struct heal *h)
{
        return h->req->bname.len > 0 && h->r->parent;
}

/* ---- attributes as a dictionary ---------------------------------------------------------------------------------------- */

bool dht_is_healed_key(const char *name)
{
        static const char *const names[] = {
                "system.posix_acl_access", "system.posix_acl_default", "trusted.glusterfs.quota.limit-set",
                "trusted.glusterfs.quota.limit-objects", "security.selinux", "trusted.glusterfs.mdata",
        };
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(names[i], name))
                        return true;
        return starts_with(name, "user.");
}

/* All that is kept equal, as the source has it. */
static int read_xattrs(struct heal *h)
{
        struct getxattr_fop_rep rep = {0};
        struct request own = dht_as_root(h->r, h->r->inode, NULL);
        const struct getxattr_fop_req req = {.gfid = h->r->inode->gfid, .name = STR(""), .xdata = DICT_NULL};
        if (h->have_xattrs)
                return 0;
        int result = subvolume_getxattr(h->self, dht_child(h->d, h->source), &own, &req, &rep);
        if (result < 0)
                return result;
        struct dht_xdata x = dht_xdata_from(h->r->arena, NULL, NULL);
        for (uint32_t i = 0; i < rep.dict.count && x.error == 0; i++)
                if (dht_is_healed_key(rep.dict.pairs[i].key.s))
                        x.error = dict_add(&x.dict, x.arena, rep.dict.pairs[i].key, rep.dict.pairs[i].value);
        h->xattrs = x.dict;
        h->have_xattrs = x.error == 0;
        return x.error;
}

int dht_mds_add(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, int child, int32_t delta)
{
        const uint32_t u = (uint32_t)delta;
        const uint8_t bytes[4] = {(uint8_t)(u >> 24), (uint8_t)(u >> 16), (uint8_t)(u >> 8), (uint8_t)u};
        struct request own = dht_as_root(r, i, NULL);
        struct dht_xdata x = dht_xdata_from(r->arena, NULL, NULL);
        struct xattrop_fop_rep rep = {0};
        dht_xdata_ptr(&x, DHT_KEY_MDS, bytes, sizeof bytes);
        const struct xattrop_fop_req req = {.gfid = i->gfid, .flags = 0, .dict = x.dict, .xdata = DICT_NULL};
        return x.error < 0 ? x.error : subvolume_xattrop(self, dht_child(d, child), &own, &req, &rep);
}

/* ---- 1. the directory itself -------------------------------------------------------------------------------------------- */

static int make_on(struct heal *h, unsigned child, const struct iatt *source)
{
        struct request own = dht_as_root(h->r, h->r->inode, h->r->parent);
        struct dht_xdata x = dht_xdata_from(h->r->arena, &h->xattrs, NULL);
        dht_xdata_gfid(&x, DHT_KEY_GFID_REQ, &source->gfid);
        if (x.error < 0)
                return x.error;
        const struct mkdir_fop_req req = {.pargfid = h->r->parent->gfid,
                                          .mode = source->mode & PERMISSIONS,
                                          .bname = h->req->bname,
                                          .xdata = x.dict};
        struct mkdir_fop_rep rep = {0};
        int result = subvolume_mkdir(h->self, dht_child(h->d, (int)child), &own, &req, &rep);
        if (result < 0)
                return result;
        h->all->fans[child].result = 0;
        h->all->reps[child] = (struct lookup_fop_rep){.prestat = rep.stat, .xdata = DICT_NULL};
        h->changed = true;
        return 0;
}

/* With the name locked: nobody removes the directory meanwhile. */
static int make_missing_held(struct heal *h)
{
        struct dht_answers now;
        int result = dht_ask_all(h->self, h->d, h->r, h->req, &now);
        if (result < 0)
                return result;
        if (!is_there(&now, (unsigned)h->source) ||
            !gfid_equal(&now.reps[h->source].prestat.gfid, &h->r->inode->gfid))
                return -ESTALE;
        *h->all = now;
        for (unsigned i = 0; i < now.n; i++) {
                if (!dht_is_absent(now.fans[i].result))
                        continue;
                result = make_on(h, i, &now.reps[h->source].prestat);
                if (result < 0 && result != -EEXIST)
                        return result;
        }
        return 0;
}

static int make_missing(struct heal *h)
{
        struct dht_locks locks;
        int hashed;
        int result = dht_hashed(h->self, h->d, h->r, h->r->parent, h->req->bname, &hashed, NULL);
        if (result == 0)
                result = read_xattrs(h);
        if (result < 0)
                return result;
        dht_locks_init(&locks, h->d, h->r);
        dht_locks_name(&locks, hashed, h->r->parent, h->req->bname);
        result = dht_locks_take(h->self, &locks);
        if (result < 0)
                return result;
        result = make_missing_held(h);
        dht_locks_drop(h->self, &locks);
        return result;
}

/* ---- 2. owner and mode -------------------------------------------------------------------------------------------------- */

static bool same_attributes(const struct iatt *a, const struct iatt *b)
{
        return a->uid == b->uid && a->gid == b->gid && (a->mode & PERMISSIONS) == (b->mode & PERMISSIONS);
}

static int heal_attributes(struct heal *h)
{
        const struct iatt *source = &h->all->reps[h->source].prestat;
        struct request own = dht_as_root(h->r, h->r->inode, NULL);
        const struct setattr_fop_req req = {.gfid = source->gfid,
                                            .stbuf = *source,
                                            .valid = SETATTR_MODE | SETATTR_UID | SETATTR_GID,
                                            .xdata = DICT_NULL};
        for (unsigned i = 0; i < h->all->n; i++) {
                struct setattr_fop_rep rep = {0};
                if (!is_there(h->all, i) || same_attributes(source, &h->all->reps[i].prestat))
                        continue;
                int result = subvolume_setattr(h->self, dht_child(h->d, (int)i), &own, &req, &rep);
                if (result < 0)
                        return result;
                h->changed = true;
        }
        return 0;
}

/* ---- 3. attributes ------------------------------------------------------------------------------------------------------ */

static int copy_xattrs(struct heal *h)
{
        struct request own = dht_as_root(h->r, h->r->inode, NULL);
        struct dht_xdata x = dht_xdata_from(h->r->arena, NULL, NULL);
        dht_xdata_int(&x, "sync_backend_xattrs", 1);
        const struct setxattr_fop_req req = {.gfid = h->r->inode->gfid, .dict = h->xattrs, .xdata = x.dict};
        unsigned n;
        struct fan *fans = dht_fans(h->d, h->r->arena, FOP_SETXATTR, &req, h->mds, &n);
        if (x.error < 0 || !fans)
                return -ENOMEM;
        dht_fan_out(h->self, FOP_SETXATTR, &own, fans, n);
        return dht_fan_error(fans, n, 0);
}

/* The counter says how many changes may not have reached everyone. */
static int heal_xattrs(struct heal *h)
{
        int32_t counter = h->mds >= 0 ? dht_mds_counter(&h->all->reps[h->mds].xdata) : 0;
        if (counter >= 0 || is_root(h))
                return 0;
        int result = read_xattrs(h);
        if (result == 0)
                result = copy_xattrs(h);
        if (result == 0)
                result = dht_mds_add(h->self, h->d, h->r, h->r->inode, h->mds, -counter);
        h->changed = true;
        return result;
}

/* A directory of an older version, or whose server was removed, gets one at the place of its name. */
static int make_mds(struct heal *h)
{
        static const uint8_t zero[4];
        struct request own = dht_as_root(h->r, h->r->inode, NULL);
        struct dht_xdata x = dht_xdata_from(h->r->arena, NULL, NULL);
        struct setxattr_fop_rep rep = {0};
        int hashed;
        int result = dht_hashed(h->self, h->d, h->r, h->r->parent, h->req->bname, &hashed, NULL);
        if (result < 0)
                return result;
        dht_xdata_ptr(&x, DHT_KEY_MDS, zero, sizeof zero);
        const struct setxattr_fop_req req = {
                .gfid = h->r->inode->gfid, .flags = XATTR_CREATE, .dict = x.dict, .xdata = DICT_NULL};
        result = x.error < 0 ? x.error : subvolume_setxattr(h->self, dht_child(h->d, hashed), &own, &req, &rep);
        h->changed = true;
        return result == -EEXIST ? 0 : MIN(result, 0);
}

/* ---- 4. layout ---------------------------------------------------------------------------------------------------------- */

static void note_eligible(const struct dht *d, const struct layout *l, bool *eligible)
{
        bool any = false;
        for (int round = 0; round < 2 && !any; round++) {
                for (unsigned i = 0; i < d->n; i++) {
                        int error = l->ranges[i].error;
                        bool there = error == 0 || error == LAYOUT_NO_ATTRIBUTE || error == ENOENT;
                        bool room = round == 1 || !d->space[i].full; /* all full: as if none were */
                        eligible[i] = there && room && !d->decommissioned[i];
                        any |= eligible[i];
                }
        }
}

int dht_compute_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, const char *path,
                       uint32_t commit, const struct layout *old, unsigned spread, struct layout *l)
{
        char text[GFID_TEXT_LEN + 1];
        bool *eligible = arena_alloc_array(r->arena, d->n, sizeof *eligible);
        uint64_t *weights = arena_alloc_array(r->arena, d->n, sizeof *weights);
        if (!eligible || !weights)
                return -ENOMEM;
        dht_refresh_space(self, d, r);
        note_eligible(d, l, eligible);
        for (unsigned k = 0; k < d->n; k++)
                weights[k] = d->space[k].known ? d->space[k].weight : 0;
        gfid_format(&i->gfid, text);
        const struct layout_plan plan = {
                .n = d->n,
                .by_name = d->by_name,
                .eligible = eligible,
                .weights = d->options.weighted ? weights : NULL,
                .spread = spread,
                .start_hash = dht_names_hash(&d->names, str_of(path && !d->options.by_gfid ? path : text)),
                .commit = commit,
                .type = LAYOUT_TYPE_HASH,
                .old = old,
        };
        _cleanup_(layout_freep) struct layout *made = layout_new(d->n);
        int result = made ? layout_compute(&plan, made) : -ENOMEM;
        for (unsigned k = 0; result == 0 && k < d->n; k++) {
                int error = l->ranges[k].error;
                l->ranges[k] = made->ranges[k];
                if (error != LAYOUT_NO_ATTRIBUTE)
                        l->ranges[k].error = error;
        }
        layout_settle(l);
        return result;
}

int dht_write_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, const struct layout *l)
{
        struct request own = dht_as_root(r, i, NULL);
        struct setxattr_fop_req *reqs = arena_alloc_array(r->arena, d->n, sizeof *reqs);
        struct setxattr_fop_rep *reps = arena_alloc_array(r->arena, d->n, sizeof *reps);
        struct fan *fans = arena_alloc_array(r->arena, d->n, sizeof *fans);
        struct dht_xdata internal = dht_xdata_from(r->arena, NULL, NULL);
        unsigned n = 0;
        dht_xdata_str(&internal, DHT_KEY_INTERNAL, "yes");
        dht_xdata_int(&internal, DHT_KEY_IATT, 1);
        if (!reqs || !reps || !fans || internal.error < 0)
                return -ENOMEM;
        for (unsigned k = 0; k < d->n; k++) {
                uint8_t disk[LAYOUT_DISK_SIZE];
                struct dht_xdata x = dht_xdata_from(r->arena, NULL, NULL);
                if (l->ranges[k].error != 0)
                        continue;
                layout_range_encode(&l->ranges[k], disk);
                dht_xdata_ptr(&x, DHT_KEY, disk, sizeof disk);
                if (x.error < 0)
                        return x.error;
                reqs[n] = (struct setxattr_fop_req){.gfid = i->gfid, .dict = x.dict, .xdata = internal.dict};
                fans[n] = (struct fan){.child = dht_child(d, (int)k), .req = &reqs[n], .rep = &reps[n]};
                n++;
        }
        dht_fan_out(self, FOP_SETXATTR, &own, fans, n);
        return dht_fan_error(fans, n, 0);
}

static bool made_by_hand(const struct layout *l)
{
        for (unsigned i = 0; i < l->n; i++)
                if (l->ranges[i].error == 0 && l->ranges[i].type == LAYOUT_TYPE_USER)
                        return true;
        return false;
}

/* With the directory locked everywhere. */
static int heal_layout_held(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, bool new_anyway,
                            unsigned spread)
{
        const struct lookup_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
        struct request own = dht_as_root(r, i, NULL);
        struct dht_inode *known = dht_known(d, i);
        const char *path = gfid_is_root(&i->gfid)  ? "/"
                           : known && known->path ? arena_strndup(r->arena, known->path, strlen(known->path))
                                                  : NULL;
        struct dht_answers all;
        struct layout *l;
        int mds;
        int result = dht_ask_all(self, d, &own, &req, &all);
        if (result == 0)
                result = dht_layout_of_answers(d, &all, &l, &mds);
        if (result < 0)
                return result;
        _cleanup_(layout_freep) struct layout *now = l;
        _cleanup_(layout_freep) struct layout *old = layout_dup(now);
        struct layout_health health = layout_check(now);
        if (!old)
                return -ENOMEM;
        if (health.down + health.misc + health.missing > 0)
                return -ENOTCONN;
        if (made_by_hand(now))
                return 0;
        if (new_anyway || health.holes + health.overlaps > 0) {
                result = dht_compute_layout(self, d, r, i, path, LAYOUT_COMMIT_INVALID, old, spread, now);
                return result < 0 ? result : dht_write_layout(self, d, r, i, now);
        }
        if (health.bare == 0)
                return 0; /* somebody else was faster */
        for (unsigned k = 0; k < now->n; k++) {
                bool bare = now->ranges[k].error == LAYOUT_NO_ATTRIBUTE;
                now->ranges[k] = (struct layout_range){.error = bare ? 0 : EEXIST};
        }
        return dht_write_layout(self, d, r, i, now);
}

int dht_heal_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, bool new_anyway,
                    unsigned spread)
{
        struct dht_locks locks;
        dht_locks_init(&locks, d, r);
        locks.more = arena_alloc_array(r->arena, d->n, sizeof *locks.more);
        if (!locks.more)
                return -ENOMEM;
        for (unsigned k = 0; k < d->n; k++)
                dht_locks_inode(&locks, (int)k, i, DHT_DOMAIN_LAYOUT, true, false);
        int result = dht_locks_take(self, &locks);
        if (result < 0)
                return result;
        result = heal_layout_held(self, d, r, i, new_anyway, spread);
        dht_locks_drop(self, &locks);
        return result;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

static int choose_source(const struct heal *h)
{
        int newest = -1;
        if (h->mds >= 0 && !is_root(h))
                return h->mds;
        for (unsigned i = 0; i < h->all->n; i++) {
                if (!is_there(h->all, i))
                        continue;
                const struct iatt_time *a = &h->all->reps[i].prestat.ctime;
                const struct iatt_time *b = newest >= 0 ? &h->all->reps[newest].prestat.ctime : NULL;
                if (!b || a->sec > b->sec || (a->sec == b->sec && a->nsec > b->nsec))
                        newest = (int)i;
        }
        return newest;
}

static bool attributes_differ(const struct heal *h)
{
        for (unsigned i = 0; i < h->all->n; i++)
                if (is_there(h->all, i) &&
                    !same_attributes(&h->all->reps[i].prestat, &h->all->reps[h->source].prestat))
                        return true;
        return false;
}

static int heal_steps(struct heal *h, const struct layout_health *health)
{
        int result = 0;
        if (health->missing > 0)
                result = has_name(h) && !is_root(h) ? make_missing(h) : 0;
        if (result == 0 && attributes_differ(h))
                result = heal_attributes(h);
        if (result == 0)
                result = heal_xattrs(h);
        if (result == 0 && h->mds < 0 && has_name(h) && !is_root(h))
                result = make_mds(h);
        bool made = health->missing > 0 && h->changed;
        if (result == 0 && (made || health->bare + health->holes + health->overlaps > 0) && !made_by_hand(h->layout)) {
                result = dht_heal_layout(h->self, h->d, h->r, h->r->inode, false, h->d->options.spread);
                h->changed = true;
        }
        return result;
}

/* Heals what has to be healed. True: something changed. */
static bool heal(struct heal *h)
{
        struct layout_health health = layout_check(h->layout);
        if (health.down + health.misc > 0)
                return false;
        int result = heal_steps(h, &health);
        if (result < 0 && !dht_is_absent(result))
                log_warning(h->d->v.name, "a directory (\"%s\") could not be healed, ignoring: %s",
                            h->req->bname.len > 0 ? h->req->bname.s : "/", strerror(-result));
        return h->changed;
}

static void answer(struct dht *d, struct request *r, const struct dht_answers *all, int mds, struct lookup_fop_rep *rep)
{
        (void)d;
        (void)r;
        *rep = (struct lookup_fop_rep){0};
        for (unsigned k = 0; k <= all->n; k++) {
                unsigned i = k == 0 ? (unsigned)MAX(mds, 0) : k - 1; /* its mode and attributes come first */
                if ((k > 0 && (int)i == mds) || !is_there(all, i))
                        continue;
                if (gfid_is_null(&rep->prestat.gfid))
                        rep->xdata = all->reps[i].xdata;
                dht_merge_directory(&rep->prestat, &all->reps[i].prestat);
                if (!gfid_is_null(&all->reps[i].poststat.gfid))
                        dht_merge_directory(&rep->poststat, &all->reps[i].poststat);
        }
        dht_xattr_hide(&rep->xdata);
}

static const char *path_for(struct dht *d, struct request *r, const struct lookup_fop_req *req)
{
        return req->bname.len > 0 && r->parent ? dht_path_of(d, r->arena, r->parent, req->bname) : NULL;
}

/* RET: the layout as it was answered; what is remembered may be more. */
static int remember(struct dht *d, struct request *r, const struct lookup_fop_req *req, const struct dht_answers *all,
                    struct layout **ret, int *ret_mds)
{
        struct layout *l;
        int result = dht_layout_of_answers(d, all, &l, ret_mds);
        if (result < 0)
                return result;
        _cleanup_(layout_freep) struct layout *copy = layout_dup(l);
        result = dht_remember_directory(d, r->inode, &r->inode->gfid, l, *ret_mds, path_for(d, r, req));
        if (result == 0 && !copy)
                result = -ENOMEM;
        if (result < 0)
                return result;
        layout_free(*ret);
        *ret = TAKE_PTR(copy);
        return 0;
}

/* The first child that has the directory, of this gfid if GFID is given; -1. */
static int first_directory(const struct dht_answers *all, const struct gfid *gfid)
{
        for (unsigned i = 0; i < all->n; i++)
                if (is_there(all, i) && (!gfid || gfid_equal(&all->reps[i].prestat.gfid, gfid)))
                        return (int)i;
        return -1;
}

int dht_directory_found(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                        struct dht_answers *all, struct lookup_fop_rep *rep)
{
        struct heal h = {.self = self, .d = d, .r = r, .req = req, .all = all, .xattrs = DICT_NULL};
        int first = first_directory(all, NULL);
        if (first < 0)
                return fop_failed(rep, -ENOENT);
        const struct gfid gfid = all->reps[first].prestat.gfid;
        if (gfid_is_null(&r->inode->gfid))
                r->inode->gfid = gfid;
        if (!gfid_equal(&r->inode->gfid, &gfid))
                return fop_failed(rep, -ESTALE);

        _cleanup_(layout_freep) struct layout *l = NULL;
        int result = remember(d, r, req, all, &l, &h.mds);
        if (result < 0)
                return fop_failed(rep, result);
        h.layout = l;
        h.source = choose_source(&h);
        if (heal(&h)) {
                struct dht_answers now;
                result = dht_ask_all(self, d, r, req, &now);
                if (result < 0)
                        return fop_failed(rep, result);
                if (first_directory(&now, &gfid) < 0)
                        return fop_failed(rep, -ENOENT);
                *all = now;
                result = remember(d, r, req, all, &l, &h.mds);
                if (result < 0)
                        return fop_failed(rep, result);
        }
        answer(d, r, all, h.mds, rep);
        return 0;
}
