/* What a name or a gfid means over all sub-volumes (dht.h, distribute.md §7), and the small files that point elsewhere.
 *
 * A name is looked for where its hash says; only if that does not tell, everywhere. What is wrong on the way is put right when
 * the caller allows it, under the locks of the name: a stale pointer that is removed may be the first half of somebody's
 * creation.
 */
#include "volume/dht.h"

#include "base/log.h"

#include <sys/stat.h>

/* How long a negative answer is believed because of a layout that was read before (ns): others may have changed it. */
#define LAYOUT_TRUST NS_PER_SEC
#define FIND_ROUNDS 3

/* ---- one answer ------------------------------------------------------------------------------------------------------- */

enum kind { ABSENT, DIRECTORY, DATA, LINKTO, UNREACHABLE, FAILED };

static enum kind kind_of(int result, const struct lookup_fop_rep *rep, struct arena *a)
{
        if (dht_is_absent(result))
                return ABSENT;
        if (result == -ENOTCONN)
                return UNREACHABLE;
        if (result < 0)
                return FAILED;
        if (S_ISDIR(rep->prestat.mode))
                return DIRECTORY;
        return dht_is_linkto(&rep->prestat, &rep->xdata, a, NULL) ? LINKTO : DATA;
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

static int add_keys(struct request *r, const struct lookup_fop_req *req, const char *without, struct lookup_fop_req *ret)
{
        struct dht_xdata x = dht_xdata_from(r->arena, &req->xdata, without);
        dht_xdata_uint(&x, DHT_KEY, LAYOUT_DISK_SIZE);
        dht_xdata_uint(&x, DHT_KEY_LINKTO, 256);
        dht_xdata_uint(&x, DHT_KEY_MDS, 4);
        dht_xdata_uint(&x, DHT_KEY_OPEN_FDS, 4);
        if (req->bname.len == 0 && gfid_is_root(&req->gfid))
                dht_xdata_uint(&x, DHT_KEY_COMMIT, 4);
        *ret = *req;
        ret->xdata = x.dict;
        return x.error;
}

int dht_ask(struct fibre *self, struct dht *d, int child, struct request *r, const struct lookup_fop_req *req,
            struct lookup_fop_rep *rep)
{
        struct lookup_fop_req own;
        int result = add_keys(r, req, DHT_KEY_GFID_REQ, &own);
        return result < 0 ? result : subvolume_lookup(self, dht_child(d, child), r, &own, rep);
}

int dht_ask_all(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                struct dht_answers *ret)
{
        struct lookup_fop_req *own = arena_alloc(r->arena, sizeof *own);
        unsigned n;
        int result = own ? add_keys(r, req, NULL, own) : -ENOMEM;
        struct fan *fans = result == 0 ? dht_fans(d, r->arena, FOP_LOOKUP, own, -1, &n) : NULL;
        if (!fans)
                return result < 0 ? result : -ENOMEM;
        dht_fan_out(self, FOP_LOOKUP, r, fans, n);
        *ret = (struct dht_answers){.n = n, .fans = fans, .reps = fans[0].rep};
        return 0;
}

/* ---- layouts ---------------------------------------------------------------------------------------------------------- */

static struct layout_range range_of(const struct fan *f, const struct lookup_fop_rep *rep)
{
        struct slice disk;
        if (f->result < 0)
                return (struct layout_range){.error = -f->result};
        if (!S_ISDIR(rep->prestat.mode))
                return (struct layout_range){.error = ENOTDIR};
        if (dict_get_bytes(&rep->xdata, DHT_KEY, &disk) < 0)
                return (struct layout_range){.error = LAYOUT_NO_ATTRIBUTE};
        return layout_range_decode(disk.data, disk.len);
}

/* The root tells; before the first rebalance it is 0. */
static void note_commit(struct dht *d, const struct lookup_fop_rep *rep)
{
        int64_t commit = 0;
        if (!gfid_is_root(&rep->prestat.gfid))
                return;
        (void)dict_get_int(&rep->xdata, DHT_KEY_COMMIT, &commit);
        d->commit = (uint32_t)commit;
        d->commit_known = true;
}

int dht_layout_of_answers(struct dht *d, const struct dht_answers *all, struct layout **ret, int *ret_mds)
{
        struct layout *l = layout_new(d->n);
        if (!l)
                return -ENOMEM;
        *ret_mds = -1;
        for (unsigned i = 0; i < all->n; i++) {
                l->ranges[i] = range_of(&all->fans[i], &all->reps[i]);
                if (all->fans[i].result < 0)
                        continue;
                note_commit(d, &all->reps[i]);
                if (*ret_mds < 0 && dict_has(&all->reps[i].xdata, DHT_KEY_MDS))
                        *ret_mds = (int)i;
        }
        layout_settle(l);
        *ret = l;
        return 0;
}

static bool any_directory(const struct dht_answers *all)
{
        for (unsigned i = 0; i < all->n; i++)
                if (all->fans[i].result >= 0 && S_ISDIR(all->reps[i].prestat.mode))
                        return true;
        return false;
}

int dht_refresh_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i)
{
        const struct lookup_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
        struct request own = dht_as_root(r, i, NULL);
        struct dht_answers all;
        struct layout *l;
        int mds;
        int result = dht_ask_all(self, d, &own, &req, &all);
        if (result < 0)
                return result;
        if (!any_directory(&all)) {
                result = dht_fan_error(all.fans, all.n, DHT_MAY_BE_ABSENT);
                return result < 0 ? result : -ENOENT;
        }
        result = dht_layout_of_answers(d, &all, &l, &mds);
        return result < 0 ? result : dht_remember_directory(d, i, &i->gfid, l, mds, NULL);
}

/* What is known of directory I, asked for if nothing is. */
static int layout_of(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, struct dht_inode **ret)
{
        struct dht_inode *known = dht_known(d, i);
        if (!known || !known->layout) {
                int result = dht_refresh_layout(self, d, r, i);
                if (result < 0)
                        return result;
                known = dht_known(d, i);
        }
        *ret = known;
        return 0;
}

/* A look-up heals the directory, if that can be done. */
static int fill_hole(struct fibre *self, struct dht *d, struct request *r, struct vnode *i)
{
        const struct lookup_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
        struct request own = dht_as_root(r, i, NULL);
        struct lookup_fop_rep rep = {0};
        return dht_lookup(self, &d->v, &own, &req, &rep);
}

int dht_hashed_held(const struct dht *d, struct vnode *parent, struct str name, int *ret, struct layout_range *ret_range)
{
        const struct dht_inode *known = dht_known(d, parent);
        int child = known && known->layout ? layout_search(known->layout, dht_names_hash(&d->names, name)) : -ENOENT;
        if (child < 0)
                return child;
        *ret = child;
        if (ret_range)
                *ret_range = known->layout->ranges[child];
        return 0;
}

int dht_hashed(struct fibre *self, struct dht *d, struct request *r, struct vnode *parent, struct str name, int *ret,
               struct layout_range *ret_range)
{
        struct dht_inode *known;
        int result = layout_of(self, d, r, parent, &known);
        if (result < 0)
                return result;
        result = dht_hashed_held(d, parent, name, ret, ret_range);
        if (result == -ENOENT) {
                result = fill_hole(self, d, r, parent);
                if (result >= 0)
                        result = dht_hashed_held(d, parent, name, ret, ret_range);
        }
        return result;
}

/* ---- pointers --------------------------------------------------------------------------------------------------------- */

/* Is what is there already as good as what was to be made? */
static int check_existing(struct fibre *self, struct dht *d, struct request *own, const struct lookup_fop_req *req,
                          int hashed, const struct gfid *gfid)
{
        struct lookup_fop_rep rep = {0};
        int result = dht_ask(self, d, hashed, own, req, &rep);
        if (result < 0)
                return result;
        bool equal = dht_is_linkto(&rep.prestat, &rep.xdata, own->arena, NULL) && gfid_equal(&rep.prestat.gfid, gfid);
        return equal ? 0 : -EEXIST;
}

static int own_linkto(struct fibre *self, struct dht *d, struct request *own, const struct iatt *stat, int hashed)
{
        struct setattr_fop_rep rep = {0};
        const struct setattr_fop_req req = {.gfid = stat->gfid,
                                            .stbuf = {.uid = stat->uid, .gid = stat->gid},
                                            .valid = SETATTR_UID | SETATTR_GID,
                                            .xdata = DICT_NULL};
        if (stat->uid == 0 && stat->gid == 0)
                return 0;
        return subvolume_setattr(self, dht_child(d, hashed), own, &req, &rep);
}

int dht_make_linkto(struct fibre *self, struct dht *d, struct request *r, struct vnode *parent, struct str name,
                    const struct iatt *stat, int hashed, int cached, bool force, bool *ret_made)
{
        _cleanup_vnode_ struct vnode *inode = vnode_new(parent->volume, &stat->gfid, S_IFREG);
        struct request own = dht_as_root(r, inode, parent);
        struct dht_xdata x = dht_xdata_from(r->arena, NULL, NULL);
        dht_xdata_gfid(&x, DHT_KEY_GFID_REQ, &stat->gfid);
        dht_xdata_str(&x, DHT_KEY_LINKTO, dht_child(d, cached)->name);
        dht_xdata_str(&x, DHT_KEY_INTERNAL, "yes");
        if (force)
                dht_xdata_str(&x, DHT_KEY_FORCE_REPLACE, "yes");
        if (!inode || x.error < 0)
                return -ENOMEM;

        const struct mknod_fop_req req = {
                .pargfid = parent->gfid, .mode = S_IFREG | DHT_LINKTO_MODE, .bname = name, .xdata = x.dict};
        struct mknod_fop_rep rep = {0};
        int result = subvolume_mknod(self, dht_child(d, hashed), &own, &req, &rep);
        if (ret_made)
                *ret_made = result >= 0;
        if (result == -EEXIST) {
                const struct lookup_fop_req look = {
                        .gfid = stat->gfid, .pargfid = parent->gfid, .bname = name, .xdata = DICT_NULL};
                return check_existing(self, d, &own, &look, hashed, &stat->gfid);
        }
        if (result >= 0)
                (void)own_linkto(self, d, &own, stat, hashed);
        return MIN(result, 0);
}

int dht_remove_linkto(struct fibre *self, struct dht *d, struct request *r, struct vnode *parent, struct str name,
                      int child, bool unless_open)
{
        _cleanup_vnode_ struct vnode *inode = vnode_new(parent->volume, NULL, S_IFREG);
        struct request own = dht_as_root(r, inode, parent);
        struct dht_xdata x = dht_xdata_from(r->arena, NULL, NULL);
        dht_xdata_int(&x, DHT_KEY_ONLY_LINKTO, 1);
        if (unless_open)
                dht_xdata_int(&x, DHT_KEY_UNLESS_OPEN, 1);
        dht_xdata_str(&x, DHT_KEY_INTERNAL, "yes");
        dht_xdata_str(&x, DHT_KEY_DONT_ACCOUNT, "yes");
        if (!inode || x.error < 0)
                return -ENOMEM;
        const struct unlink_fop_req req = {.pargfid = parent->gfid, .bname = name, .xdata = x.dict};
        struct unlink_fop_rep rep = {0};
        return subvolume_unlink(self, dht_child(d, child), &own, &req, &rep);
}

/* ---- finding ---------------------------------------------------------------------------------------------------------- */

struct find {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        const struct lookup_fop_req *req;
        bool repair;
        struct dht_found *out;
};

static bool has_name(const struct find *f)
{
        return f->req->bname.len > 0;
}

/* May a name be missed because of what is known of its directory? */
static bool negative_is_certain(const struct dht *d, const struct layout *l)
{
        bool equal = d->commit_known && l->commit == d->commit && l->commit != LAYOUT_COMMIT_INVALID;
        switch (d->options.lookup_unhashed) {
        case DHT_UNHASHED_OFF:
                return true;
        case DHT_UNHASHED_AUTO:
                return equal;
        default:
                return equal && d->options.lookup_optimize;
        }
}

static void found_file(struct find *f, int cached, bool linkto, const struct lookup_fop_rep *rep)
{
        f->out->cached = cached;
        f->out->linkto = linkto;
        f->out->directory = false;
        f->out->rep = *rep;
}

/* Follows the pointer in REP. 1: the file is there; 0: look everywhere. */
static int follow_linkto(struct find *f, const struct lookup_fop_rep *pointer)
{
        struct lookup_fop_rep rep = {0};
        struct str name;
        if (!dht_is_linkto(&pointer->prestat, &pointer->xdata, f->r->arena, &name))
                return 0;
        int target = dht_child_by_name(f->d, name);
        if (target < 0 || target == f->out->hashed)
                return 0;
        int result = dht_ask(f->self, f->d, target, f->r, f->req, &rep);
        switch (kind_of(result, &rep, f->r->arena)) {
        case DATA:
                if (!gfid_equal(&rep.prestat.gfid, &pointer->prestat.gfid))
                        return 0;
                found_file(f, target, true, &rep);
                return 1;
        case UNREACHABLE:
        case FAILED:
                return result;
        default:
                return 0;
        }
}

/* Asks where the hash says. 1: found; 0: look everywhere; -ENOENT: there is nothing; other errors. */
static int probe(struct find *f, const struct layout *l)
{
        struct lookup_fop_rep rep = {0};
        bool certain = negative_is_certain(f->d, l);
        int result = dht_ask(f->self, f->d, f->out->hashed, f->r, f->req, &rep);
        switch (kind_of(result, &rep, f->r->arena)) {
        case DATA:
                found_file(f, f->out->hashed, false, &rep);
                return 1;
        case LINKTO:
                return follow_linkto(f, &rep);
        case ABSENT:
                f->out->rep = rep;
                return certain ? -ENOENT : 0;
        case FAILED:
                return result == -ENODATA ? 0 : result;
        default:
                return 0;
        }
}

/* As probe(), by a layout that is young enough to believe a negative answer. */
static int find_hashed(struct find *f)
{
        struct dht_inode *known;
        for (unsigned round = 0; round < FIND_ROUNDS; round++) {
                int result = layout_of(f->self, f->d, f->r, f->r->parent, &known);
                if (result < 0)
                        return result;
                uint64_t checked = known->checked;
                f->out->hashed = layout_search(known->layout, dht_names_hash(&f->d->names, f->req->bname));
                if (f->out->hashed < 0)
                        return 0;
                _cleanup_(layout_freep) struct layout *l = layout_dup(known->layout);
                if (!l)
                        return -ENOMEM;
                result = probe(f, l);
                if (result != -ENOENT || loop_now(fibre_loop(f->self)) - checked < LAYOUT_TRUST)
                        return result;
                result = dht_refresh_layout(f->self, f->d, f->r, f->r->parent);
                if (result < 0)
                        return result;
        }
        return 0;
}

/* ---- everywhere ------------------------------------------------------------------------------------------------------- */

struct tally {
        unsigned directories, files, unreachable;
        int first_file; /* the child of the first one; -1 */
        int error;      /* the first other failure */
        bool mixed;     /* gfids differ */
        struct gfid gfid;
};

static struct tally count(const struct find *f, const struct dht_answers *all)
{
        struct tally t = {.first_file = -1};
        for (unsigned i = 0; i < all->n; i++) {
                enum kind kind = kind_of(all->fans[i].result, &all->reps[i], f->r->arena);
                t.directories += kind == DIRECTORY;
                t.files += kind == DATA;
                t.unreachable += kind == UNREACHABLE;
                if (kind == DATA && t.first_file < 0)
                        t.first_file = (int)i;
                if (kind == FAILED && t.error == 0)
                        t.error = all->fans[i].result;
                if (kind != DATA && kind != DIRECTORY)
                        continue;
                if (t.directories + t.files == 1)
                        t.gfid = all->reps[i].prestat.gfid;
                else
                        t.mixed |= !gfid_equal(&t.gfid, &all->reps[i].prestat.gfid);
        }
        return t;
}

/* Pointers where nobody would look for them. */
static void remove_strays(struct find *f, const struct dht_answers *all)
{
        for (unsigned i = 0; i < all->n; i++) {
                int64_t fds = 0;
                if ((int)i == f->out->hashed || kind_of(all->fans[i].result, &all->reps[i], f->r->arena) != LINKTO)
                        continue;
                (void)dict_get_int(&all->reps[i].xdata, DHT_KEY_OPEN_FDS, &fds);
                if (fds == 0)
                        (void)dht_remove_linkto(f->self, f->d, f->r, f->r->parent, f->req->bname, (int)i, true);
        }
}

/* What hashed and cached have now that nobody else can change the name. */
static int look_again(struct find *f, int child, struct lookup_fop_rep *rep, enum kind *ret)
{
        *rep = (struct lookup_fop_rep){0};
        int result = dht_ask(f->self, f->d, child, f->r, f->req, rep);
        *ret = kind_of(result, rep, f->r->arena);
        return result;
}

/* Makes HASHED point to CACHED, which has the file. Failure is not fatal: the next look-up tries again. */
static void point(struct find *f, int hashed, int cached)
{
        struct lookup_fop_rep there, here;
        enum kind kind_there, kind_here;
        const struct str name = f->req->bname;
        struct vnode *parent = f->r->parent;
        (void)look_again(f, cached, &there, &kind_there);
        (void)look_again(f, hashed, &here, &kind_here);
        if (kind_there != DATA || !gfid_equal(&there.prestat.gfid, &f->out->rep.prestat.gfid))
                return;
        struct str target;
        if (kind_here == LINKTO && dht_is_linkto(&here.prestat, &here.xdata, f->r->arena, &target)) {
                bool right = str_is(target, dht_child(f->d, cached)->name) &&
                             gfid_equal(&here.prestat.gfid, &there.prestat.gfid);
                f->out->linkto = right;
                if (right || dht_remove_linkto(f->self, f->d, f->r, parent, name, hashed, true) < 0)
                        return;
                kind_here = ABSENT;
        }
        if (kind_here == ABSENT)
                f->out->linkto = dht_make_linkto(f->self, f->d, f->r, parent, name, &there.prestat, hashed, cached, false,
                                                 NULL) == 0;
}

/* Under the name's locks, which point() and unpoint() want. */
static void repair(struct find *f, void (*what)(struct find *f, int hashed, int cached), int cached)
{
        struct dht_locks locks;
        dht_locks_init(&locks, f->d, f->r);
        dht_locks_name(&locks, f->out->hashed, f->r->parent, f->req->bname);
        if (dht_locks_take(f->self, &locks) < 0)
                return;
        what(f, f->out->hashed, cached);
        dht_locks_drop(f->self, &locks);
}

/* Removes the pointer that HASHED has, if it still points to nothing. */
static void unpoint(struct find *f, int hashed, int cached)
{
        struct lookup_fop_rep here, there;
        enum kind kind_here, kind_there;
        struct str target;
        (void)cached;
        (void)look_again(f, hashed, &here, &kind_here);
        if (kind_here != LINKTO || !dht_is_linkto(&here.prestat, &here.xdata, f->r->arena, &target))
                return;
        int child = dht_child_by_name(f->d, target);
        if (child >= 0 && child != hashed) {
                (void)look_again(f, child, &there, &kind_there);
                if (kind_there != ABSENT && kind_there != LINKTO)
                        return;
        }
        (void)dht_remove_linkto(f->self, f->d, f->r, f->r->parent, f->req->bname, hashed, true);
}

static int found_nothing(struct find *f, const struct dht_answers *all, const struct tally *t)
{
        int hashed = f->out->hashed;
        if (t->unreachable > 0)
                return -ENOTCONN; /* it may be there: somebody would create it a second time */
        if (t->error < 0)
                return t->error;
        bool dangling = hashed >= 0 && kind_of(all->fans[hashed].result, &all->reps[hashed], f->r->arena) == LINKTO;
        if (f->repair && dangling && has_name(f))
                repair(f, unpoint, -1);
        if (hashed >= 0)
                f->out->rep = all->reps[hashed];
        return -ENOENT;
}

static int found_files(struct find *f, const struct dht_answers *all, const struct tally *t)
{
        int cached = t->first_file, hashed = f->out->hashed;
        struct str target;
        if (t->files > 1)
                log_warning(f->d->v.name, "\"%s\" is a file on %u sub-volumes; the one on %s is used",
                            has_name(f) ? f->req->bname.s : "(gfid)", t->files, dht_child(f->d, cached)->name);
        found_file(f, cached, false, &all->reps[cached]);
        if (hashed < 0 || hashed == cached)
                return 0;
        const struct lookup_fop_rep *here = &all->reps[hashed];
        enum kind kind = kind_of(all->fans[hashed].result, here, f->r->arena);
        f->out->linkto = kind == LINKTO && gfid_equal(&here->prestat.gfid, &t->gfid) &&
                         dht_is_linkto(&here->prestat, &here->xdata, f->r->arena, &target) &&
                         str_is(target, dht_child(f->d, cached)->name);
        if (f->repair && !f->out->linkto && (kind == ABSENT || kind == LINKTO))
                repair(f, point, cached);
        return 0;
}

static int sort_out(struct find *f)
{
        const struct dht_answers *all = &f->out->all;
        struct tally t = count(f, all);
        if (t.mixed || (t.files > 0 && t.directories > 0))
                return -EIO;
        if (t.directories > 0) {
                f->out->directory = true;
                return 0;
        }
        if (f->repair && has_name(f))
                remove_strays(f, all);
        return t.files > 0 ? found_files(f, all, &t) : found_nothing(f, all, &t);
}

/* What does not fit together may be somebody's rename, half done: asks again while nobody can change the name. */
static int find_held(struct find *f)
{
        struct dht_locks locks;
        dht_locks_init(&locks, f->d, f->r);
        dht_locks_name(&locks, f->out->hashed, f->r->parent, f->req->bname);
        int result = dht_locks_take(f->self, &locks);
        if (result < 0)
                return result;
        f->repair = false;
        result = dht_ask_all(f->self, f->d, f->r, f->req, &f->out->all);
        if (result == 0)
                result = sort_out(f);
        dht_locks_drop(f->self, &locks);
        if (result == -EIO)
                log_error(f->d->v.name, "\"%s\" is not the same object on all sub-volumes: gfids or types differ",
                          f->req->bname.s);
        return result;
}

int dht_find(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req, bool repair_it,
             struct dht_found *ret)
{
        struct find f = {.self = self, .d = d, .r = r, .req = req, .repair = repair_it, .out = ret};
        *ret = (struct dht_found){.hashed = -1, .cached = -1};
        if (has_name(&f) && r->parent) {
                int result = find_hashed(&f);
                if (result != 0)
                        return MIN(result, 0);
        }
        int result = dht_ask_all(self, d, r, req, &ret->all);
        if (result == 0)
                result = sort_out(&f);
        return result == -EIO && repair_it && ret->hashed >= 0 ? find_held(&f) : result;
}

int32_t dht_mds_counter(const struct dict *xdata)
{
        struct slice value;
        if (dict_get_bytes(xdata, DHT_KEY_MDS, &value) < 0 || value.len != 4)
                return 0;
        return (int32_t)((uint32_t)value.data[0] << 24 | (uint32_t)value.data[1] << 16 | (uint32_t)value.data[2] << 8 |
                         value.data[3]);
}
