/* CREATE, MKNOD, SYMLINK, LINK, UNLINK (distribute.md §8).
 *
 * A new file goes where its name's hash says, in one call that also tells the brick what layout this client believes in; the
 * brick refuses if that is out of date. Only what takes two sub-volumes, a file and a pointer to it, is done under the name's
 * locks: two clients could mistake each other's halves for leftovers.
 */
#include "volume/dht.h"

#include <fcntl.h>
#include <sys/stat.h>

#define ATTEMPTS 4 /* each fails only if somebody moved the file meanwhile */
#define KEY_PREOP "glusterfs.preop.parent.key"
#define KEY_PREOP_FAILED "glusterfs.preop.check.failed"

/* ---- where a new file goes ---------------------------------------------------------------------------------------------- */

struct place {
        int hashed, cached;
        struct layout_range range; /* of hashed, in the parent */
};

/* By what is known of the parent. */
static int choose_place(struct dht *d, struct vnode *parent, struct str name, struct place *ret)
{
        int result = dht_hashed_held(d, parent, name, &ret->hashed, &ret->range);
        if (result < 0)
                return -EIO; /* a hole */
        ret->cached = ret->hashed;
        if (d->space[ret->hashed].full || d->decommissioned[ret->hashed])
                ret->cached = dht_choose_other(d, dht_known(d, parent)->layout, ret->hashed);
        return 0;
}

/* ---- creating ----------------------------------------------------------------------------------------------------------- */

/* What create, mknod and symlink have in common. */
struct creation {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        enum fop fop;
        const void *req;
        size_t xdata; /* where the request has it */
        void *rep;
        const struct dict *rep_xdata;
        struct str name;
        bool preop; /* the brick can compare layouts */
};

static const struct dict *xdata_of(const struct creation *c)
{
        return (const struct dict *)((const uint8_t *)c->req + c->xdata);
}

static struct gfid gfid_of(const struct creation *c)
{
        struct gfid g = c->r->inode->gfid;
        (void)dict_get_gfid(xdata_of(c), DHT_KEY_GFID_REQ, &g);
        return g;
}

/* Sends it to CHILD. RANGE: the layout of the parent that we believe in; NULL: does not matter. */
static int send_to(struct creation *c, int child, const struct layout_range *range)
{
        const struct fop_desc *desc = fop_by_number(c->fop);
        const struct gfid gfid = gfid_of(c);
        struct dht_xdata x = dht_xdata_from(c->r->arena, xdata_of(c), DHT_KEY_GFID_REQ);
        if (!gfid_is_null(&gfid))
                dht_xdata_gfid(&x, DHT_KEY_GFID_REQ, &gfid);
        if (range && c->preop) {
                uint8_t disk[LAYOUT_DISK_SIZE];
                layout_range_encode(range, disk);
                dht_xdata_str(&x, KEY_PREOP, DHT_KEY);
                dht_xdata_ptr(&x, DHT_KEY, disk, sizeof disk);
        }
        uint8_t *own = arena_alloc(c->r->arena, desc->req->size);
        if (!own || x.error < 0)
                return -ENOMEM;
        memcpy(own, c->req, desc->req->size);
        *(struct dict *)(void *)(own + c->xdata) = x.dict;
        memset(c->rep, 0, desc->rep->size);
        return subvolume_call(c->self, dht_child(c->d, child), c->fop, c->r, own, c->rep);
}

/* The pointer first, so that whoever sees the file finds it. The caller has the name's locks. */
static int send_elsewhere(struct creation *c, const struct place *p)
{
        const struct iatt stat = {.gfid = gfid_of(c), .uid = c->r->cred.uid, .gid = c->r->cred.gid};
        bool made = false;
        int result = dht_make_linkto(c->self, c->d, c->r, c->r->parent, c->name, &stat, p->hashed, p->cached, false, &made);
        if (result == 0)
                result = send_to(c, p->cached, NULL);
        if (result < 0 && made)
                (void)dht_remove_linkto(c->self, c->d, c->r, c->r->parent, c->name, p->hashed, false);
        return result;
}

static bool layout_refused(const struct creation *c, int result)
{
        return result < 0 && dict_has(c->rep_xdata, KEY_PREOP_FAILED);
}

/* With the name and the parent's layout locked, and the layout read anew. */
static int create_held(struct creation *c, struct place *p)
{
        int result = dht_refresh_layout(c->self, c->d, c->r, c->r->parent);
        if (result == 0)
                result = choose_place(c->d, c->r->parent, c->name, p);
        if (result < 0)
                return result;
        return p->cached == p->hashed ? send_to(c, p->hashed, &p->range) : send_elsewhere(c, p);
}

static int create_locked(struct creation *c, struct place *p)
{
        struct dht_locks locks;
        dht_locks_init(&locks, c->d, c->r);
        dht_locks_name(&locks, p->hashed, c->r->parent, c->name);
        int result = dht_locks_take(c->self, &locks);
        if (result < 0)
                return result;
        result = create_held(c, p);
        dht_locks_drop(c->self, &locks);
        return layout_refused(c, result) ? -EIO : result;
}

/* The answer is in REP; *RET_CHILD has the file. */
static int create(struct creation *c, int *ret_child)
{
        struct place p;
        dht_refresh_space(c->self, c->d, c->r);
        int result = dht_hashed(c->self, c->d, c->r, c->r->parent, c->name, &p.hashed, NULL);
        if (result == 0 || result == -ENOENT)
                result = choose_place(c->d, c->r->parent, c->name, &p);
        if (result < 0)
                return result;
        bool plain = p.cached == p.hashed && !c->d->decommissioned[p.hashed];
        if (plain)
                result = send_to(c, p.hashed, &p.range);
        if (!plain || layout_refused(c, result))
                result = create_locked(c, &p);
        *ret_child = p.cached;
        return MIN(result, 0);
}

/* A file was made, or was there already: a pointer that somebody else just made has to be looked up. */
static int created(struct creation *c, const struct iatt *stat, int child)
{
        const struct gfid wanted = gfid_of(c);
        if (dht_is_linkto_mode(stat) && !gfid_equal(&stat->gfid, &wanted))
                return -ESTALE;
        return dht_remember_file(c->d, c->r->inode, &stat->gfid, child);
}

#define CREATION(NAME, lower, with_preop)                                                                              \
        {                                                                                                              \
                .self = self, .d = dht_of(v), .r = r, .fop = FOP_##NAME, .req = req,                                   \
                .xdata = offsetof(struct lower##_fop_req, xdata), .rep = rep, .rep_xdata = &rep->xdata,                 \
                .name = req->bname, .preop = with_preop                                                                \
        }

int dht_create(struct fibre *self, struct subvolume *v, struct request *r, const struct create_fop_req *req,
               struct create_fop_rep *rep)
{
        struct creation c = CREATION(CREATE, create, true);
        int child;
        int result = create(&c, &child);
        if (result == 0)
                result = created(&c, &rep->stat, child);
        if (result < 0)
                return fop_failed(rep, result);
        if (r->file)
                dht_file_set_open(c.d, r->file, child, true);
        dht_fix_directory(&rep->preparent);
        dht_fix_directory(&rep->postparent);
        return 0;
}

int dht_mknod(struct fibre *self, struct subvolume *v, struct request *r, const struct mknod_fop_req *req,
              struct mknod_fop_rep *rep)
{
        struct creation c = CREATION(MKNOD, mknod, true);
        int child;
        int result = create(&c, &child);
        if (result == 0)
                result = created(&c, &rep->stat, child);
        if (result < 0)
                return fop_failed(rep, result);
        dht_fix_directory(&rep->preparent);
        dht_fix_directory(&rep->postparent);
        return 0;
}

int dht_symlink(struct fibre *self, struct subvolume *v, struct request *r, const struct symlink_fop_req *req,
                struct symlink_fop_rep *rep)
{
        struct creation c = CREATION(SYMLINK, symlink, false);
        int child;
        int result = create(&c, &child);
        if (result == 0)
                result = created(&c, &rep->stat, child);
        if (result < 0)
                return fop_failed(rep, result);
        dht_fix_directory(&rep->preparent);
        dht_fix_directory(&rep->postparent);
        return 0;
}

/* ---- linking ------------------------------------------------------------------------------------------------------------ */

/* On the sub-volume that has the file; where it is going, too (§12). */
static int link_file(struct fibre *self, struct dht *d, struct request *r, const struct link_fop_req *req, int cached,
                     struct link_fop_rep *rep)
{
        struct link_fop_rep mirror = {0};
        int result = subvolume_link(self, dht_child(d, cached), r, req, rep);
        bool moved = dht_is_absent(result) || (result >= 0 && dht_is_linkto_mode(&rep->stat));
        if (!moved && (result < 0 || !dht_is_phase1(&rep->stat)))
                return result;
        int target = dht_follow(self, d, r, r->inode, moved);
        if (target < 0)
                return result < 0 || target == -ENODATA ? result : target;
        int mirrored = subvolume_link(self, dht_child(d, target), r, req, &mirror);
        if (mirrored < 0 && mirrored != -EEXIST)
                return moved || !dht_is_absent(mirrored) ? mirrored : result;
        if (moved)
                *rep = mirror;
        return 0;
}

/* The name's hash is another sub-volume's: the pointer first. */
static int link_with_pointer(struct fibre *self, struct dht *d, struct request *r, const struct link_fop_req *req,
                             int hashed, int cached, struct link_fop_rep *rep)
{
        struct dht_locks locks;
        struct stat_fop_rep stat = {0};
        struct request own = dht_as_root(r, r->inode, NULL);
        bool made = false;
        int result = dht_stat(self, &d->v, &own, &(struct stat_fop_req){.gfid = req->oldgfid, .xdata = DICT_NULL}, &stat);
        if (result < 0)
                return result;
        dht_locks_init(&locks, d, r);
        dht_locks_name(&locks, hashed, r->new_parent, req->newbname);
        result = dht_locks_take(self, &locks);
        if (result < 0)
                return result;
        result = dht_make_linkto(self, d, r, r->new_parent, req->newbname, &stat.stat, hashed, cached, false, &made);
        if (result == 0)
                result = link_file(self, d, r, req, cached, rep);
        if (result < 0 && made)
                (void)dht_remove_linkto(self, d, r, r->new_parent, req->newbname, hashed, false);
        dht_locks_drop(self, &locks);
        return result;
}

int dht_link(struct fibre *self, struct subvolume *v, struct request *r, const struct link_fop_req *req,
             struct link_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct dht_inode *known;
        int hashed;
        int result = dht_resolve(self, d, r, r->inode, &known);
        if (result == 0 && known->directory)
                result = -EPERM;
        int cached = result == 0 ? known->cached : -1;
        if (result == 0)
                result = dht_hashed(self, d, r, r->new_parent, req->newbname, &hashed, NULL);
        if (result < 0)
                return fop_failed(rep, result);
        result = hashed == cached ? link_file(self, d, r, req, cached, rep)
                                  : link_with_pointer(self, d, r, req, hashed, cached, rep);
        if (result < 0)
                return fop_failed(rep, result);
        dht_strip_phase1(&rep->stat);
        dht_fix_directory(&rep->preparent);
        dht_fix_directory(&rep->postparent);
        return 0;
}

/* ---- removing ----------------------------------------------------------------------------------------------------------- */

/* Did the brick remove only a pointer? Then the file is somewhere else. */
static bool was_pointer(const struct unlink_fop_rep *rep)
{
        const struct dict_value *after = dict_get(&rep->xdata, DHT_KEY_IATT);
        return after && after->type == DICT_IATT && dht_is_linkto_mode(after->iatt);
}

static int unlink_on(struct fibre *self, struct dht *d, struct request *r, const struct unlink_fop_req *req, int child,
                     struct unlink_fop_rep *rep)
{
        struct dht_xdata x = dht_xdata_from(r->arena, &req->xdata, NULL);
        struct unlink_fop_req own = *req;
        dht_xdata_int(&x, DHT_KEY_IATT, 1);
        dht_xdata_gfid(&x, DHT_KEY_DATA_GFID, &r->inode->gfid);
        own.xdata = x.dict;
        *rep = (struct unlink_fop_rep){0};
        return x.error < 0 ? x.error : subvolume_unlink(self, dht_child(d, child), r, &own, rep);
}

/* The sub-volume that has the file under this name; -ENOENT, or -ESTALE if something else has the name. */
static int find_named(struct fibre *self, struct dht *d, struct request *r, const struct unlink_fop_req *req)
{
        const struct lookup_fop_req look = {.pargfid = req->pargfid, .bname = req->bname, .xdata = DICT_NULL};
        struct request own = dht_as_root(r, r->inode, r->parent);
        struct dht_answers all;
        bool other = false;
        int result = dht_ask_all(self, d, &own, &look, &all);
        for (unsigned i = 0; result == 0 && i < all.n; i++) {
                const struct lookup_fop_rep *rep = &all.reps[i];
                if (all.fans[i].result < 0 || dht_is_linkto(&rep->prestat, &rep->xdata, r->arena, NULL))
                        continue;
                if (!S_ISDIR(rep->prestat.mode) && gfid_equal(&rep->prestat.gfid, &r->inode->gfid))
                        return (int)i;
                other = true;
        }
        if (result < 0)
                return result;
        result = dht_fan_error(all.fans, all.n, DHT_MAY_BE_ABSENT);
        return result < 0 ? result : other ? -ESTALE : -ENOENT;
}

/* File and pointer. The lock of the file comes first, as in a rename: a brick does not let go of a file that another client has
 * locked, and that client may wait for the name. */
static int unlink_both(struct fibre *self, struct dht *d, struct request *r, const struct unlink_fop_req *req, int hashed,
                       int cached, struct unlink_fop_rep *rep)
{
        struct dht_locks locks;
        dht_locks_init(&locks, d, r);
        dht_locks_inode(&locks, cached, r->inode, DHT_DOMAIN_MIGRATE, true, true);
        dht_locks_entry(&locks, hashed, r->parent, req->bname);
        int result = dht_locks_take(self, &locks);
        if (result < 0)
                return result;
        result = unlink_on(self, d, r, req, cached, rep);
        if (result >= 0 && hashed != cached && !was_pointer(rep))
                (void)dht_remove_linkto(self, d, r, r->parent, req->bname, hashed, false);
        dht_locks_drop(self, &locks);
        return result;
}

/* The file is not where it was, or only a pointer was there, which is gone now. */
static int unlink_moved(struct fibre *self, struct dht *d, struct request *r, const struct unlink_fop_req *req, int hashed,
                        struct unlink_fop_rep *rep)
{
        for (unsigned i = 0; i < ATTEMPTS; i++) {
                int cached = find_named(self, d, r, req);
                if (cached < 0)
                        return cached;
                int result = dht_remember_file(d, r->inode, &r->inode->gfid, cached);
                if (result == 0)
                        result = unlink_both(self, d, r, req, hashed, cached, rep);
                if (!dht_is_absent(result) && (result < 0 || !was_pointer(rep)))
                        return result;
        }
        return -ESTALE;
}

int dht_unlink(struct fibre *self, struct subvolume *v, struct request *r, const struct unlink_fop_req *req,
               struct unlink_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct dht_inode *known;
        int hashed;
        int result = dht_resolve(self, d, r, r->inode, &known);
        if (result == 0 && known->directory)
                result = -EISDIR;
        if (result < 0)
                return fop_failed(rep, result);
        int cached = known->cached;
        if (dht_hashed(self, d, r, r->parent, req->bname, &hashed, NULL) < 0 || !dht_child(d, hashed)->up)
                hashed = cached;
        result = hashed == cached ? unlink_on(self, d, r, req, cached, rep)
                                  : unlink_both(self, d, r, req, hashed, cached, rep);
        bool pointer = result >= 0 && was_pointer(rep);
        if (pointer || dht_is_absent(result))
                result = unlink_moved(self, d, r, req, hashed, rep);
        if (pointer && result == -ENOENT)
                result = 0; /* gone altogether */
        if (result < 0)
                return fop_failed(rep, result);
        dht_fix_directory(&rep->prestat);
        dht_fix_directory(&rep->poststat);
        return 0;
}
