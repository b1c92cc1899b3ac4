/* Attributes and xattrs of directories, which every sub-volume has a copy of (distribute.md §10.2, §10.3, §13).
 *
 * One of them, the directory's MDS, is changed first and decides; the others follow in parallel, and what does not reach one of
 * them is healed by a look-up, which goes by the MDS. The root has no MDS: there all are alike.
 *
 * Descriptors play no part: a directory is the same by its gfid.
 */
#include "volume/dht.h"

#include <endian.h>
#include <sys/stat.h>

static int mds_of(const struct dht *d, struct request *r)
{
        const struct dht_inode *known = dht_known(d, r->inode);
        return known && !gfid_is_root(&r->inode->gfid) ? known->mds : -1;
}

/* Whoever is down may be the one that decides. */
static int check_decider(const struct dht *d, struct request *r, int mds)
{
        for (unsigned i = 0; mds < 0 && !gfid_is_root(&r->inode->gfid) && i < d->n; i++)
                if (!dht_child(d, (int)i)->up)
                        return -ENOTCONN;
        return 0;
}

/* The failure to report when nobody did it: who could not be asked counts more than who does not have it. */
static int worst(const struct fan *fans, unsigned n)
{
        int result = -ENOENT;
        for (unsigned i = 0; i < n; i++) {
                if (fans[i].result >= 0)
                        return 0;
                if (fans[i].result == -ENOTCONN)
                        return -ENOTCONN;
                if (!dht_is_absent(fans[i].result))
                        result = fans[i].result;
        }
        return result;
}

/* The answer that counts: the MDS's, else the first. NULL: there is none. */
static const struct fan *best(const struct dht *d, struct request *r, const struct fan *fans, unsigned n)
{
        int mds = mds_of(d, r);
        const struct fan *first = NULL;
        for (unsigned i = 0; i < n; i++) {
                if (fans[i].result < 0)
                        continue;
                if (mds >= 0 && fans[i].child == dht_child(d, mds))
                        return &fans[i];
                if (!first)
                        first = &fans[i];
        }
        return first;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

int dht_dir_stat(struct fibre *self, struct dht *d, struct request *r, const struct stat_fop_req *req,
                 struct stat_fop_rep *rep)
{
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, FOP_STAT, req, -1, &n);
        if (!fans)
                return -ENOMEM;
        dht_fan_out(self, FOP_STAT, r, fans, n);
        const struct fan *first = best(d, r, fans, n);
        if (!first)
                return worst(fans, n);
        *rep = *(const struct stat_fop_rep *)first->rep;
        dht_fix_directory(&rep->stat);
        for (unsigned i = 0; i < n; i++)
                if (fans[i].result >= 0)
                        dht_merge_directory(&rep->stat, &((const struct stat_fop_rep *)fans[i].rep)->stat);
        return 0;
}

int dht_dir_fstat(struct fibre *self, struct dht *d, struct request *r, const struct fstat_fop_req *req,
                  struct fstat_fop_rep *rep)
{
        const struct stat_fop_req own = {.gfid = req->gfid, .xdata = req->xdata};
        struct stat_fop_rep answer = {0};
        int result = dht_dir_stat(self, d, r, &own, &answer);
        *rep = (struct fstat_fop_rep){.xdata = answer.xdata, .stat = answer.stat};
        return result;
}

/* All copies have the same permissions: one is asked, another if it is not there. */
int dht_dir_access(struct fibre *self, struct dht *d, struct request *r, const struct access_fop_req *req,
                   struct access_fop_rep *rep)
{
        int mds = mds_of(d, r), result = -ENOTCONN;
        if (mds >= 0 && dht_child(d, mds)->up) {
                result = subvolume_access(self, dht_child(d, mds), r, req, rep);
                if (result != -ENOTCONN && !dht_is_absent(result))
                        return result;
        }
        for (unsigned i = 0; i < d->n; i++) {
                if ((int)i == mds || !dht_child(d, (int)i)->up)
                        continue;
                result = subvolume_access(self, dht_child(d, (int)i), r, req, rep);
                if (result != -ENOTCONN && !dht_is_absent(result))
                        return result;
        }
        return result;
}

/* ---- owner, mode, times ------------------------------------------------------------------------------------------------------- */

static void merge_setattr(struct setattr_fop_rep *rep, const struct fan *fans, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                const struct setattr_fop_rep *one = fans[i].rep;
                if (fans[i].result < 0)
                        continue;
                dht_merge_directory(&rep->prestat, &one->prestat);
                dht_merge_directory(&rep->poststat, &one->poststat);
        }
        dht_fix_directory(&rep->prestat);
        dht_fix_directory(&rep->poststat);
}

int dht_dir_setattr(struct fibre *self, struct dht *d, struct request *r, const struct setattr_fop_req *req,
                    struct setattr_fop_rep *rep)
{
        int mds = mds_of(d, r);
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, FOP_SETATTR, req, mds, &n);
        int decided = fans ? check_decider(d, r, mds) : -ENOMEM;
        if (decided < 0)
                return decided;
        *rep = (struct setattr_fop_rep){0};
        if (mds >= 0) {
                int result = subvolume_setattr(self, dht_child(d, mds), r, req, rep);
                if (result < 0)
                        return result;
        }
        dht_fan_out(self, FOP_SETATTR, r, fans, n);
        if (mds < 0) {
                const struct fan *first = best(d, r, fans, n);
                if (!first)
                        return worst(fans, n);
                *rep = *(const struct setattr_fop_rep *)first->rep;
        }
        merge_setattr(rep, fans, n);
        return 0;
}

int dht_dir_fsetattr(struct fibre *self, struct dht *d, struct request *r, const struct fsetattr_fop_req *req,
                     struct fsetattr_fop_rep *rep)
{
        const struct setattr_fop_req own = {
                .gfid = req->gfid, .stbuf = req->stbuf, .valid = req->valid, .xdata = req->xdata};
        struct setattr_fop_rep answer = {0};
        int result = dht_dir_setattr(self, d, r, &own, &answer);
        *rep = (struct fsetattr_fop_rep){
                .xdata = answer.xdata, .prestat = answer.prestat, .poststat = answer.poststat};
        return result;
}

/* ---- changing xattrs ------------------------------------------------------------------------------------------------------------ */

/* On everybody; one success is enough. */
static int change_anywhere(struct fibre *self, struct dht *d, struct request *r, enum fop fop, const void *req, void *rep)
{
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, fop, req, -1, &n);
        if (!fans)
                return -ENOMEM;
        dht_fan_out(self, fop, r, fans, n);
        const struct fan *first = best(d, r, fans, n);
        if (!first)
                return worst(fans, n);
        memcpy(rep, first->rep, fop_by_number(fop)->rep->size);
        return first->result;
}

/* The counter says for how long some copies may be behind. */
static int change_counted(struct fibre *self, struct dht *d, struct request *r, enum fop fop, const void *req, int mds,
                          void *rep)
{
        struct vnode *i = r->inode;
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, fop, req, mds, &n);
        int result = fans ? dht_mds_add(self, d, r, i, mds, -1) : -ENOMEM;
        if (result < 0)
                return result;
        result = subvolume_call(self, dht_child(d, mds), fop, r, req, rep);
        if (result < 0) {
                if (result != -ENOTCONN && result != -EINTR) /* certainly nothing happened */
                        (void)dht_mds_add(self, d, r, i, mds, 1);
                return result;
        }
        dht_fan_out(self, fop, r, fans, n);
        if (dht_fan_error(fans, n, 0) == 0)
                (void)dht_mds_add(self, d, r, i, mds, 1);
        return result;
}

static int change(struct fibre *self, struct dht *d, struct request *r, enum fop fop, const void *req, bool healed,
                  void *rep)
{
        int mds = mds_of(d, r);
        int decided = healed ? check_decider(d, r, mds) : 0;
        if (decided < 0)
                return decided;
        return healed && mds >= 0 ? change_counted(self, d, r, fop, req, mds, rep)
                                  : change_anywhere(self, d, r, fop, req, rep);
}

static bool any_healed(const struct dict *dict)
{
        for (uint32_t i = 0; i < dict->count; i++)
                if (dht_is_healed_key(dict->pairs[i].key.s))
                        return true;
        return false;
}

int dht_dir_setxattr(struct fibre *self, struct dht *d, struct request *r, const struct setxattr_fop_req *req,
                     struct setxattr_fop_rep *rep)
{
        return change(self, d, r, FOP_SETXATTR, req, any_healed(&req->dict), rep);
}

int dht_dir_fsetxattr(struct fibre *self, struct dht *d, struct request *r, const struct fsetxattr_fop_req *req,
                      struct fsetxattr_fop_rep *rep)
{
        const struct setxattr_fop_req own = {
                .gfid = req->gfid, .flags = req->flags, .dict = req->dict, .xdata = req->xdata};
        struct setxattr_fop_rep answer = {0};
        int result = dht_dir_setxattr(self, d, r, &own, &answer);
        *rep = (struct fsetxattr_fop_rep){.xdata = answer.xdata};
        return result;
}

int dht_dir_removexattr(struct fibre *self, struct dht *d, struct request *r, const struct removexattr_fop_req *req,
                        struct removexattr_fop_rep *rep)
{
        return change(self, d, r, FOP_REMOVEXATTR, req, dht_is_healed_key(req->name.s), rep);
}

int dht_dir_fremovexattr(struct fibre *self, struct dht *d, struct request *r, const struct fremovexattr_fop_req *req,
                         struct fremovexattr_fop_rep *rep)
{
        const struct removexattr_fop_req own = {.gfid = req->gfid, .name = req->name, .xdata = req->xdata};
        struct removexattr_fop_rep answer = {0};
        int result = dht_dir_removexattr(self, d, r, &own, &answer);
        *rep = (struct fremovexattr_fop_rep){.xdata = answer.xdata};
        return result;
}

int dht_dir_xattrop(struct fibre *self, struct dht *d, struct request *r, const struct xattrop_fop_req *req,
                    struct xattrop_fop_rep *rep)
{
        return change_anywhere(self, d, r, FOP_XATTROP, req, rep);
}

int dht_dir_fxattrop(struct fibre *self, struct dht *d, struct request *r, const struct fxattrop_fop_req *req,
                     struct fxattrop_fop_rep *rep)
{
        const struct xattrop_fop_req own = {
                .gfid = req->gfid, .flags = req->flags, .dict = req->dict, .xdata = req->xdata};
        struct xattrop_fop_rep answer = {0};
        int result = dht_dir_xattrop(self, d, r, &own, &answer);
        *rep = (struct fxattrop_fop_rep){.xdata = answer.xdata, .dict = answer.dict};
        return result;
}

/* ---- reading xattrs ------------------------------------------------------------------------------------------------------------- */

#define KEY_QUOTA_SIZE "trusted.glusterfs.quota.size"

/* Adds the big-endian 64-bit numbers of FROM to those of INTO. */
static void add_numbers(struct dict_value *into, const struct slice *from, struct arena *a)
{
        struct slice sum = into->bytes;
        uint8_t *copy = sum.len == from->len ? (uint8_t *)arena_strndup(a, sum.data, sum.len) : NULL;
        for (uint32_t at = 0; copy && at + 8 <= sum.len; at += 8) {
                uint64_t x, y;
                memcpy(&x, sum.data + at, sizeof x);
                memcpy(&y, from->data + at, sizeof y);
                x = htobe64(be64toh(x) + be64toh(y));
                memcpy(copy + at, &x, sizeof x);
        }
        if (copy)
                into->bytes.data = copy;
}

static int merge_dict(struct dict *into, const struct dict *from, struct arena *a)
{
        for (uint32_t i = 0; i < from->count; i++) {
                const struct dict_pair *p = &from->pairs[i];
                struct dict_value *have = (struct dict_value *)dict_get(into, p->key.s);
                struct slice bytes;
                if (!have) {
                        int r = dict_add(into, a, p->key, p->value);
                        if (r < 0)
                                return r;
                } else if (str_is(p->key, KEY_QUOTA_SIZE) && dict_get_bytes(from, KEY_QUOTA_SIZE, &bytes) == 0 &&
                           dict_get_bytes(into, KEY_QUOTA_SIZE, &(struct slice){0}) == 0) {
                        add_numbers(have, &bytes, a);
                }
        }
        return 0;
}

static int get_from_all(struct fibre *self, struct dht *d, struct request *r, const struct getxattr_fop_req *req,
                        struct getxattr_fop_rep *rep)
{
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, FOP_GETXATTR, req, -1, &n);
        if (!fans)
                return -ENOMEM;
        dht_fan_out(self, FOP_GETXATTR, r, fans, n);
        const struct fan *first = best(d, r, fans, n);
        if (!first)
                return worst(fans, n);
        *rep = *(const struct getxattr_fop_rep *)first->rep;
        struct dht_xdata x = dht_xdata_from(r->arena, &rep->dict, NULL);
        for (unsigned i = 0; i < n && x.error == 0; i++)
                if (fans[i].result >= 0 && &fans[i] != first)
                        x.error = merge_dict(&x.dict, &((const struct getxattr_fop_rep *)fans[i].rep)->dict, r->arena);
        rep->dict = x.dict;
        rep->op_ret = (int32_t)rep->dict.count;
        return x.error;
}

int dht_dir_getxattr(struct fibre *self, struct dht *d, struct request *r, const struct getxattr_fop_req *req,
                     struct getxattr_fop_rep *rep)
{
        int mds = mds_of(d, r);
        bool one = req->name.len > 0 && !starts_with(req->name.s, "trusted.glusterfs.quota");
        if (one && mds >= 0 && dht_child(d, mds)->up) {
                int result = subvolume_getxattr(self, dht_child(d, mds), r, req, rep);
                if (result != -ENOTCONN && !dht_is_absent(result))
                        return result;
        }
        return get_from_all(self, d, r, req, rep);
}

int dht_dir_fgetxattr(struct fibre *self, struct dht *d, struct request *r, const struct fgetxattr_fop_req *req,
                      struct fgetxattr_fop_rep *rep)
{
        const struct getxattr_fop_req own = {
                .gfid = req->gfid, .namelen = req->namelen, .name = req->name, .xdata = req->xdata};
        struct getxattr_fop_rep answer = {0};
        int result = dht_dir_getxattr(self, d, r, &own, &answer);
        *rep = (struct fgetxattr_fop_rep){.xdata = answer.xdata, .dict = answer.dict};
        return result;
}
