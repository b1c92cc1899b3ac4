/* MKDIR and RMDIR (distribute.md §8.3, §8.4): a directory is on every sub-volume.
 *
 * The sub-volume that the name's hash says decides: a directory exists when it is there, and is made there first and removed
 * there last, both with the name locked.
 */
#include "volume/dht.h"

#include "base/log.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KEY_PREOP "glusterfs.preop.parent.key"
#define KEY_PREOP_FAILED "glusterfs.preop.check.failed"
#define READ_SIZE (64 * KIB)

static const uint8_t mds_in_sync[4];

/* ---- MKDIR -------------------------------------------------------------------------------------------------------------- */

static int mkdir_hashed(struct fibre *self, struct dht *d, struct request *r, const struct mkdir_fop_req *req, int hashed,
                        const struct layout_range *range, struct mkdir_fop_rep *rep)
{
        uint8_t disk[LAYOUT_DISK_SIZE];
        struct dht_xdata x = dht_xdata_from(r->arena, &req->xdata, NULL);
        struct mkdir_fop_req own = *req;
        layout_range_encode(range, disk);
        dht_xdata_str(&x, KEY_PREOP, DHT_KEY);
        dht_xdata_ptr(&x, DHT_KEY, disk, sizeof disk);
        dht_xdata_ptr(&x, DHT_KEY_MDS, mds_in_sync, sizeof mds_in_sync);
        own.xdata = x.dict;
        *rep = (struct mkdir_fop_rep){0};
        return x.error < 0 ? x.error : subvolume_mkdir(self, dht_child(d, hashed), r, &own, rep);
}

/* Everywhere else. L: what became of it. */
static int mkdir_others(struct fibre *self, struct dht *d, struct request *r, const struct mkdir_fop_req *req, int hashed,
                        struct mkdir_fop_rep *rep, struct layout *l)
{
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, FOP_MKDIR, req, hashed, &n);
        if (!fans)
                return -ENOMEM;
        dht_fan_out(self, FOP_MKDIR, r, fans, n);
        l->ranges[hashed].error = LAYOUT_NO_ATTRIBUTE;
        for (unsigned i = 0; i < n; i++) {
                const struct mkdir_fop_rep *one = fans[i].rep;
                bool there = fans[i].result >= 0 || fans[i].result == -EEXIST;
                l->ranges[dht_fan_child(d, &fans[i])].error = there ? LAYOUT_NO_ATTRIBUTE : -fans[i].result;
                if (fans[i].result < 0)
                        continue;
                dht_merge_directory(&rep->stat, &one->stat);
                dht_merge_directory(&rep->preparent, &one->preparent);
                dht_merge_directory(&rep->postparent, &one->postparent);
        }
        return 0;
}

/* With the name locked. The layout that this client believes in may be out of date once. */
static int mkdir_held(struct fibre *self, struct dht *d, struct request *r, const struct mkdir_fop_req *req, int *hashed,
                      struct mkdir_fop_rep *rep, struct layout *l)
{
        struct layout_range range;
        int result = dht_hashed_held(d, r->parent, req->bname, hashed, &range);
        if (result == 0)
                result = mkdir_hashed(self, d, r, req, *hashed, &range, rep);
        if (result < 0 && (dict_has(&rep->xdata, KEY_PREOP_FAILED) || result == -ENODATA)) {
                result = dht_refresh_layout(self, d, r, r->parent);
                if (result == 0)
                        result = dht_hashed_held(d, r->parent, req->bname, hashed, &range);
                if (result == 0)
                        result = mkdir_hashed(self, d, r, req, *hashed, &range, rep);
                if (result < 0 && dict_has(&rep->xdata, KEY_PREOP_FAILED))
                        result = -EIO;
        }
        return result < 0 ? result : mkdir_others(self, d, r, req, *hashed, rep, l);
}

/* Who sees a directory without layout gives it one; with this lock it is ours to do. */
static int give_layout(struct fibre *self, struct dht *d, struct request *r, const struct mkdir_fop_req *req, int hashed,
                       struct layout *l)
{
        const char *path = dht_path_of(d, r->arena, r->parent, req->bname);
        uint32_t commit = d->options.lookup_optimize && d->commit_known ? d->commit : LAYOUT_COMMIT_INVALID;
        struct dht_locks locks;
        dht_locks_init(&locks, d, r);
        dht_locks_inode(&locks, hashed, r->inode, DHT_DOMAIN_LAYOUT, true, false);
        int result = dht_locks_take(self, &locks);
        if (result < 0)
                return result;
        result = dht_compute_layout(self, d, r, r->inode, path, commit, NULL, d->options.spread, l);
        if (result == 0)
                result = dht_write_layout(self, d, r, r->inode, l);
        dht_locks_drop(self, &locks);
        return result;
}

static int make(struct fibre *self, struct dht *d, struct request *r, const struct mkdir_fop_req *req,
                struct mkdir_fop_rep *rep)
{
        _cleanup_(layout_freep) struct layout *l = layout_new(d->n);
        struct dht_locks locks;
        int hashed;
        int result = l ? dht_hashed(self, d, r, r->parent, req->bname, &hashed, NULL) : -ENOMEM;
        if (result < 0)
                return result == -ENOENT && l && dht_known(d, r->parent) ? -EIO : result;
        dht_locks_init(&locks, d, r);
        dht_locks_name(&locks, hashed, r->parent, req->bname);
        result = dht_locks_take(self, &locks);
        if (result < 0)
                return result;
        result = mkdir_held(self, d, r, req, &hashed, rep, l);
        dht_locks_drop(self, &locks);
        if (result < 0)
                return result;
        if (gfid_is_null(&r->inode->gfid))
                r->inode->gfid = rep->stat.gfid;
        result = give_layout(self, d, r, req, hashed, l);
        if (result < 0) {
                log_warning(d->v.name, "new directory \"%s\" has no layout yet, the next look-up makes it: %s", req->bname.s,
                            strerror(-result));
                return 0;
        }
        return dht_remember_directory(d, r->inode, &r->inode->gfid, TAKE_PTR(l), hashed,
                                      dht_path_of(d, r->arena, r->parent, req->bname));
}

int dht_mkdir(struct fibre *self, struct subvolume *v, struct request *r, const struct mkdir_fop_req *req,
              struct mkdir_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct mkdir_fop_req own = *req;
        struct dht_xdata x = dht_xdata_from(r->arena, &req->xdata, NULL);
        if (!dict_has(&req->xdata, DHT_KEY_GFID_REQ)) {
                if (gfid_is_null(&r->inode->gfid))
                        return fop_failed(rep, -EPERM);
                dht_xdata_gfid(&x, DHT_KEY_GFID_REQ, &r->inode->gfid);
        }
        own.xdata = x.dict;
        int result = x.error < 0 ? x.error : make(self, d, r, &own, rep);
        return result < 0 ? fop_failed(rep, result) : 0;
}

/* ---- is it empty? --------------------------------------------------------------------------------------------------------- */

/* A pointer counts only if it points to something. */
static int check_pointer(struct fibre *self, struct dht *d, struct request *r, struct vnode *dir, int child,
                         const struct dirent_entry *e, struct str target)
{
        _cleanup_vnode_ struct vnode *inode = vnode_new(dir->volume, NULL, 0);
        struct request own = dht_as_root(r, inode, dir);
        const struct lookup_fop_req req = {.pargfid = dir->gfid, .bname = e->name, .xdata = DICT_NULL};
        struct lookup_fop_rep rep = {0};
        int there = dht_child_by_name(d, target);
        if (!inode)
                return -ENOMEM;
        if (there >= 0 && there != child) {
                int result = dht_ask(self, d, there, &own, &req, &rep);
                if (result >= 0 && !dht_is_linkto(&rep.prestat, &rep.xdata, r->arena, NULL))
                        return -ENOTEMPTY;
                if (result < 0 && !dht_is_absent(result))
                        return result;
        }
        int result = dht_remove_linkto(self, d, r, dir, e->name, child, true);
        return result < 0 && !dht_is_absent(result) ? -ENOTEMPTY : 0;
}

static int check_entry(struct fibre *self, struct dht *d, struct request *r, struct vnode *dir, int child,
                       const struct dirent_entry *e)
{
        static const struct dict none = {.null = true};
        struct str target;
        if (str_is(e->name, ".") || str_is(e->name, ".."))
                return 0;
        if (!dht_is_linkto(&e->stat, e->dict ? e->dict : &none, r->arena, &target))
                return -ENOTEMPTY;
        return check_pointer(self, d, r, dir, child, e, target);
}

/* All that CHILD lists. OWN has the directory open there. */
static int check_listing(struct fibre *self, struct dht *d, struct request *own, struct vnode *dir, int child)
{
        struct dht_xdata x = dht_xdata_from(own->arena, NULL, NULL);
        uint64_t offset = 0;
        dht_xdata_uint(&x, DHT_KEY_LINKTO, 256);
        for (;;) {
                const struct readdirp_fop_req req = {
                        .gfid = dir->gfid, .offset = offset, .size = READ_SIZE, .xdata = x.dict};
                struct readdirp_fop_rep rep = {0};
                int result = x.error < 0 ? x.error : subvolume_readdirp(self, dht_child(d, child), own, &req, &rep);
                if (result < 0 || rep.reply.n == 0)
                        return MIN(result, 0);
                for (uint32_t i = 0; i < rep.reply.n; i++) {
                        result = check_entry(self, d, own, dir, child, &rep.reply.v[i]);
                        if (result < 0)
                                return result;
                }
                offset = rep.reply.v[rep.reply.n - 1].off;
        }
}

static int check_child(struct fibre *self, struct dht *d, struct request *r, struct vnode *dir, int child)
{
        _cleanup_vfile_ struct vfile *f = vfile_new(dir, O_RDONLY | O_DIRECTORY, true);
        struct request own = dht_as_root(r, dir, NULL);
        const struct opendir_fop_req req = {.gfid = dir->gfid, .xdata = DICT_NULL};
        struct opendir_fop_rep rep = {0};
        own.file = f;
        if (!f)
                return -ENOMEM;
        int result = subvolume_opendir(self, dht_child(d, child), &own, &req, &rep);
        if (dht_is_absent(result))
                return 0;
        return result < 0 ? result : check_listing(self, d, &own, dir, child);
}

int dht_check_empty(struct fibre *self, struct dht *d, struct request *r, struct vnode *dir)
{
        for (unsigned i = 0; i < d->n; i++)
                if (!dht_child(d, (int)i)->up)
                        return -ENOTCONN;
        for (unsigned i = 0; i < d->n; i++) {
                int result = check_child(self, d, r, dir, (int)i);
                if (result < 0)
                        return result;
        }
        return 0;
}

/* ---- RMDIR -------------------------------------------------------------------------------------------------------------- */

struct removal {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        const struct rmdir_fop_req *req;
        int hashed;
        struct layout *layout; /* NULL: not known */
        int mds;
        struct iatt stat; /* of the directory */
};

/* Does the name still mean this directory? */
static int check_named(struct removal *m)
{
        struct request own = dht_as_root(m->r, m->r->inode, m->r->parent);
        const struct lookup_fop_req look = {.pargfid = m->req->pargfid, .bname = m->req->bname, .xdata = DICT_NULL};
        struct lookup_fop_rep rep = {0};
        int result = dht_ask(m->self, m->d, m->hashed, &own, &look, &rep);
        if (result < 0)
                return result;
        m->stat = rep.prestat;
        return gfid_equal(&rep.prestat.gfid, &m->r->inode->gfid) ? 0 : -ESTALE;
}

/* What is kept equal on all copies, from the sub-volume that still has one. */
static int read_xattrs(struct removal *m, struct dht_xdata *x)
{
        struct request own = dht_as_root(m->r, m->r->inode, m->r->parent);
        const struct getxattr_fop_req get = {.gfid = m->r->inode->gfid, .name = STR(""), .xdata = DICT_NULL};
        struct getxattr_fop_rep got = {0};
        int result = subvolume_getxattr(m->self, dht_child(m->d, m->hashed), &own, &get, &got);
        if (result < 0)
                return result;
        *x = dht_xdata_from(m->r->arena, NULL, NULL);
        for (uint32_t i = 0; i < got.dict.count && x->error == 0; i++)
                if (dht_is_healed_key(got.dict.pairs[i].key.s))
                        x->error = dict_add(&x->dict, x->arena, got.dict.pairs[i].key, got.dict.pairs[i].value);
        return x->error;
}

static int make_again(struct removal *m, int child, const struct dht_xdata *base)
{
        const struct iatt *stat = &m->stat;
        struct request own = dht_as_root(m->r, m->r->inode, m->r->parent);
        struct dht_xdata x = dht_xdata_from(m->r->arena, &base->dict, NULL);
        struct mkdir_fop_rep made = {0};
        struct setattr_fop_rep set = {0};
        dht_xdata_gfid(&x, DHT_KEY_GFID_REQ, &stat->gfid);
        if (m->layout && m->layout->ranges[child].error == 0) {
                uint8_t disk[LAYOUT_DISK_SIZE];
                layout_range_encode(&m->layout->ranges[child], disk);
                dht_xdata_ptr(&x, DHT_KEY, disk, sizeof disk);
        }
        if (child == m->mds)
                dht_xdata_ptr(&x, DHT_KEY_MDS, mds_in_sync, sizeof mds_in_sync);
        if (x.error < 0)
                return x.error;
        const struct mkdir_fop_req mkdir = {
                .pargfid = m->req->pargfid, .mode = stat->mode & 07777, .bname = m->req->bname, .xdata = x.dict};
        const struct setattr_fop_req own_it = {.gfid = stat->gfid,
                                               .stbuf = *stat,
                                               .valid = SETATTR_UID | SETATTR_GID | SETATTR_MODE,
                                               .xdata = DICT_NULL};
        int result = subvolume_mkdir(m->self, dht_child(m->d, child), &own, &mkdir, &made);
        return result < 0 ? result : subvolume_setattr(m->self, dht_child(m->d, child), &own, &own_it, &set);
}

/* It could not be removed everywhere: it comes back where it was. */
static void undo(struct removal *m, const struct fan *fans, unsigned n)
{
        struct dht_xdata xattrs;
        int result = read_xattrs(m, &xattrs);
        for (unsigned i = 0; result >= 0 && i < n; i++)
                if (fans[i].result >= 0)
                        result = make_again(m, dht_fan_child(m->d, &fans[i]), &xattrs);
        if (result < 0)
                log_warning(m->d->v.name,
                            "directory \"%s\" could not be removed on all sub-volumes; the next look-up completes it again: %s",
                            m->req->bname.s, strerror(-result));
}

/* With the name locked. */
static int remove_held(struct removal *m, struct rmdir_fop_rep *rep)
{
        unsigned n;
        struct fan *fans = dht_fans(m->d, m->r->arena, FOP_RMDIR, m->req, m->hashed, &n);
        int result = fans ? check_named(m) : -ENOMEM;
        if (result < 0)
                return result;
        dht_fan_out(m->self, FOP_RMDIR, m->r, fans, n);
        result = dht_fan_error(fans, n, DHT_MAY_BE_ABSENT);
        if (result == 0)
                result = subvolume_rmdir(m->self, dht_child(m->d, m->hashed), m->r, m->req, rep);
        if (result < 0 && !dht_is_absent(result))
                undo(m, fans, n);
        for (unsigned i = 0; result >= 0 && i < n; i++) {
                const struct rmdir_fop_rep *one = fans[i].rep;
                if (fans[i].result < 0)
                        continue;
                dht_merge_directory(&rep->prestat, &one->prestat);
                dht_merge_directory(&rep->poststat, &one->poststat);
        }
        return result;
}

int dht_rmdir(struct fibre *self, struct subvolume *v, struct request *r, const struct rmdir_fop_req *req,
              struct rmdir_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct removal m = {.self = self, .d = d, .r = r, .req = req};
        struct dht_inode *known;
        struct dht_locks locks;
        int result = dht_resolve(self, d, r, r->inode, &known);
        if (result == 0 && !known->directory)
                result = -ENOTDIR;
        if (result < 0)
                return fop_failed(rep, result);
        _cleanup_(layout_freep) struct layout *l = known->layout ? layout_dup(known->layout) : NULL;
        m.layout = l;
        m.mds = known->mds;
        result = dht_hashed(self, d, r, r->parent, req->bname, &m.hashed, NULL);
        if (result == 0 && req->xflags == 0)
                result = dht_check_empty(self, d, r, r->inode);
        dht_locks_init(&locks, d, r);
        if (result == 0) {
                dht_locks_name(&locks, m.hashed, r->parent, req->bname);
                result = dht_locks_take(self, &locks);
        }
        if (result < 0)
                return fop_failed(rep, result);
        result = remove_held(&m, rep);
        dht_locks_drop(self, &locks);
        return result < 0 ? fop_failed(rep, result) : 0;
}
