/* Distribute over one sub-volume: there is nothing to distribute (distribute.md §1).
 *
 * Everything goes straight through. New directories get the layout that makes them part of a larger volume one day, and the
 * attributes that belong to distribute are out of users' reach as ever.
 */
#include "volume/dht.h"

#define PASS_(NAME, name)                                                                                              \
        static int pass_##name(struct fibre *self, struct subvolume *v, struct request *r,                             \
                               const struct name##_fop_req *req, struct name##_fop_rep *rep)                           \
        {                                                                                                              \
                return subvolume_##name(self, v->children[0], r, req, rep);                                            \
        }
#define PASSED(X)                                                                                                      \
        X(LOOKUP, lookup) X(STAT, stat) X(FSTAT, fstat) X(ACCESS, access) X(READLINK, readlink)                        \
        X(MKNOD, mknod) X(SYMLINK, symlink) X(CREATE, create) X(LINK, link)                                            \
        X(UNLINK, unlink) X(RMDIR, rmdir) X(RENAME, rename)                                                            \
        X(OPEN, open) X(OPENDIR, opendir) X(READ, read) X(WRITE, write) X(FLUSH, flush) X(FSYNC, fsync)                \
        X(FSYNCDIR, fsyncdir) X(READDIR, readdir) X(READDIRP, readdirp) X(STATFS, statfs)                              \
        X(TRUNCATE, truncate) X(FTRUNCATE, ftruncate) X(FALLOCATE, fallocate) X(DISCARD, discard)                      \
        X(ZEROFILL, zerofill) X(SEEK, seek) X(RCHECKSUM, rchecksum)                                                    \
        X(SETATTR, setattr) X(FSETATTR, fsetattr) X(XATTROP, xattrop) X(FXATTROP, fxattrop)                            \
        X(LK, lk) X(INODELK, inodelk) X(FINODELK, finodelk) X(ENTRYLK, entrylk) X(FENTRYLK, fentrylk)
PASSED(PASS_)

static int pass_mkdir(struct fibre *self, struct subvolume *v, struct request *r, const struct mkdir_fop_req *req,
                      struct mkdir_fop_rep *rep)
{
        const struct layout_range all = {.start = 0, .stop = UINT32_MAX};
        uint8_t disk[LAYOUT_DISK_SIZE];
        layout_range_encode(&all, disk);
        struct dht_xdata x = dht_xdata_from(r->arena, &req->xdata, DHT_KEY);
        dht_xdata_ptr(&x, DHT_KEY, disk, sizeof disk);
        if (x.error < 0)
                return fop_failed(rep, x.error);
        struct mkdir_fop_req own = *req;
        own.xdata = x.dict;
        return subvolume_mkdir(self, v->children[0], r, &own, rep);
}

static int pass_getxattr(struct fibre *self, struct subvolume *v, struct request *r, const struct getxattr_fop_req *req,
                         struct getxattr_fop_rep *rep)
{
        int result = dht_xattr_get_allowed(r, req->name);
        if (result < 0)
                return fop_failed(rep, result);
        result = subvolume_getxattr(self, v->children[0], r, req, rep);
        if (result >= 0)
                dht_xattr_hide(&rep->dict);
        return result;
}

static int pass_fgetxattr(struct fibre *self, struct subvolume *v, struct request *r,
                          const struct fgetxattr_fop_req *req, struct fgetxattr_fop_rep *rep)
{
        int result = dht_xattr_get_allowed(r, req->name);
        if (result < 0)
                return fop_failed(rep, result);
        result = subvolume_fgetxattr(self, v->children[0], r, req, rep);
        if (result >= 0)
                dht_xattr_hide(&rep->dict);
        return result;
}

static int pass_setxattr(struct fibre *self, struct subvolume *v, struct request *r, const struct setxattr_fop_req *req,
                         struct setxattr_fop_rep *rep)
{
        int result = dht_xattr_set_allowed(r, &req->dict);
        return result < 0 ? fop_failed(rep, result) : subvolume_setxattr(self, v->children[0], r, req, rep);
}

static int pass_fsetxattr(struct fibre *self, struct subvolume *v, struct request *r,
                          const struct fsetxattr_fop_req *req, struct fsetxattr_fop_rep *rep)
{
        int result = dht_xattr_set_allowed(r, &req->dict);
        return result < 0 ? fop_failed(rep, result) : subvolume_fsetxattr(self, v->children[0], r, req, rep);
}

static int pass_removexattr(struct fibre *self, struct subvolume *v, struct request *r,
                            const struct removexattr_fop_req *req, struct removexattr_fop_rep *rep)
{
        int result = dht_xattr_remove_allowed(r, req->name);
        return result < 0 ? fop_failed(rep, result) : subvolume_removexattr(self, v->children[0], r, req, rep);
}

static int pass_fremovexattr(struct fibre *self, struct subvolume *v, struct request *r,
                             const struct fremovexattr_fop_req *req, struct fremovexattr_fop_rep *rep)
{
        int result = dht_xattr_remove_allowed(r, req->name);
        return result < 0 ? fop_failed(rep, result) : subvolume_fremovexattr(self, v->children[0], r, req, rep);
}

static void pass_event(struct subvolume *v, struct subvolume *child, const struct subvolume_event *e)
{
        if (e->kind == SUBVOLUME_UP || e->kind == SUBVOLUME_DOWN)
                subvolume_set_up(v, child->up);
        else
                subvolume_tell(v, e);
}

static void pass_free(struct subvolume *v)
{
        struct dht *d = dht_of(v);
        dht_names_done(&d->names);
        free(d->by_name);
        free(d->decommissioned);
        free(d->space);
        free(d);
}

#define PASS_ENTRY_(NAME, name) .name = pass_##name,
const struct subvolume_ops dht_pass_ops = {
        SUBVOLUME_FOPS(PASS_ENTRY_)
        .on_event = pass_event,
        .reconfigure = dht_reconfigure,
        .free = pass_free,
};
