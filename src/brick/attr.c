/* What clients see of an object's attributes, and the mdata attribute behind the times (spec: brick.md §4, §7).
 *
 * mdata is read and written through the xattr snapshot, its changes under inode.lock. Any thread.
 */
#include "brick/cache.h"
#include "brick/names.h"

/* ---- mdata --------------------------------------------------------------------------------------------------------- */

static bool time_later(const struct iatt_time *a, const struct iatt_time *b)
{
        return a->sec != b->sec ? a->sec > b->sec : a->nsec > b->nsec;
}

static bool time_raise(struct iatt_time *t, const struct iatt_time *to)
{
        if (!time_later(to, t))
                return false;
        *t = *to;
        return true;
}

/* Under inode.lock. -ENODATA: none. One that cannot be read counts as none and is then replaced. */
static int mdata_held(struct brick *b, struct inode *inode, const struct place *at, struct mdata *ret)
{
        uint8_t raw[MDATA_SIZE];
        ssize_t len = xattr_get_held(b, inode, at, XATTR_MDATA, raw, sizeof raw);
        if (len == -ERANGE)
                return -ENODATA;
        if (len < 0)
                return (int)len;
        return mdata_parse(raw, (size_t)len, ret) < 0 ? -ENODATA : 0;
}

static int mdata_store(struct brick *b, struct inode *inode, const struct place *at, const struct mdata *m)
{
        uint8_t raw[MDATA_SIZE];
        mdata_format(m, raw);
        return xattr_set(b, inode, at, XATTR_MDATA, raw, sizeof raw, 0);
}

/* ---- changing times ------------------------------------------------------------------------------------------------ */

uint32_t attr_object_times(const struct op *op)
{
        return op->cred->flags & (TIMES_CTIME | TIMES_MTIME | TIMES_ATIME);
}

uint32_t attr_parent_times(const struct op *op)
{
        _Static_assert(TIMES_PARENT_CTIME == TIMES_CTIME << 3, "bits of the parent");
        return op->cred->flags >> 3 & (TIMES_CTIME | TIMES_MTIME | TIMES_ATIME);
}

static bool raise_flagged(struct mdata *m, const struct iatt_time *t, uint32_t which)
{
        bool changed = false;
        if (which & TIMES_CTIME)
                changed |= time_raise(&m->ctime, t);
        if (which & TIMES_MTIME)
                changed |= time_raise(&m->mtime, t);
        if (which & TIMES_ATIME)
                changed |= time_raise(&m->atime, t);
        return changed;
}

int attr_touch(struct op *op, struct inode *inode, const struct place *at, uint32_t which)
{
        struct brick *b = op->brick;
        if (which == 0 || !b->options->ctime)
                return 0;
        const struct iatt_time *now = &op->cred->time;
        struct mdata m;
        pthread_mutex_lock(&inode->lock);
        int r = mdata_held(b, inode, at, &m);
        if (r == -ENODATA) {
                m = (struct mdata){.atime = *now, .mtime = *now, .ctime = *now};
                r = mdata_store(b, inode, at, &m);
        } else if (r == 0 && raise_flagged(&m, now, which)) {
                r = mdata_store(b, inode, at, &m);
        }
        pthread_mutex_unlock(&inode->lock);
        return r;
}

int attr_set_times(struct op *op, struct inode *inode, const struct place *at, const struct iatt *want, int valid)
{
        struct brick *b = op->brick;
        if (!(valid & (SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME)) || !b->options->ctime)
                return 0;
        struct mdata m;
        pthread_mutex_lock(&inode->lock);
        int r = mdata_held(b, inode, at, &m);
        if (r == 0) {
                if (valid & SETATTR_ATIME)
                        m.atime = want->atime;
                if (valid & SETATTR_MTIME)
                        m.mtime = want->mtime;
                if (valid & (SETATTR_ATIME | SETATTR_MTIME))
                        (void)time_raise(&m.ctime, &op->cred->time);
                if (valid & SETATTR_CTIME)
                        (void)time_raise(&m.ctime, &want->ctime);
                r = mdata_store(b, inode, at, &m);
        }
        pthread_mutex_unlock(&inode->lock);
        return r == -ENODATA ? 0 : r;
}

int attr_merge_mdata(struct op *op, struct inode *inode, const struct place *at, const struct mdata *m, bool create)
{
        struct brick *b = op->brick;
        struct mdata now;
        pthread_mutex_lock(&inode->lock);
        int r = mdata_held(b, inode, at, &now);
        if (r == -ENODATA) {
                r = create ? mdata_store(b, inode, at, m) : 0;
        } else if (r == 0) {
                bool changed = time_raise(&now.ctime, &m->ctime);
                changed |= time_raise(&now.mtime, &m->mtime);
                changed |= time_raise(&now.atime, &m->atime);
                r = changed ? mdata_store(b, inode, at, &now) : 0;
        }
        pthread_mutex_unlock(&inode->lock);
        return r;
}

/* ---- iatts --------------------------------------------------------------------------------------------------------- */

struct gfid attr_gfid_from_client(const struct op *op, const struct gfid *g)
{
        if (op->session && gfid_is_root(g) && !gfid_is_null(&op->session->subdir_root))
                return op->session->subdir_root;
        return *g;
}

static struct gfid gfid_for_client(const struct op *op, const struct gfid *g)
{
        if (op->session && !gfid_is_null(&op->session->subdir_root) && gfid_equal(g, &op->session->subdir_root))
                return GFID_ROOT;
        return *g;
}

/* An object that vanished between its stat and now keeps the times of the stat. */
static int iatt_add_mdata(struct op *op, struct inode *inode, const struct place *at, const struct stat *st,
                          struct iatt *i)
{
        uint8_t raw[MDATA_SIZE];
        struct mdata m;
        if (!op->brick->options->ctime)
                return 0;
        ssize_t len = xattr_get(op->brick, inode, at, st, XATTR_MDATA, raw, sizeof raw);
        if (len == -ENODATA || len == -ERANGE || len == -ENOENT)
                return 0;
        if (len < 0)
                return (int)len;
        if (mdata_parse(raw, (size_t)len, &m) == 0) {
                i->atime = m.atime;
                i->mtime = m.mtime;
                i->ctime = m.ctime;
        }
        return 0;
}

static int make_iatt(struct op *op, struct inode *inode, const struct place *at, const struct stat *st, struct iatt *ret)
{
        static const struct gfid none;
        struct iatt i;
        if (st->st_ino == op->brick->dotgluster_ino && st->st_dev == op->brick->dev)
                return -ENOENT;
        struct gfid g = inode ? gfid_for_client(op, &inode->gfid) : none;
        attr_of_stat(st, &g, &i);
        int r = inode ? iatt_add_mdata(op, inode, at, st, &i) : 0;
        if (r == 0)
                *ret = i;
        return r;
}

int attr_iatt(struct op *op, struct object *o, struct iatt *ret)
{
        return make_iatt(op, o->inode, &o->at, &o->st, ret);
}

int attr_iatt_fd(struct op *op, const struct io_fd *io, struct iatt *ret, struct stat *ret_st)
{
        struct place at = io_place(io);
        struct stat st;
        int r = disk_stat(op->brick->disk, io->fd, "", &st);
        if (r == 0)
                r = make_iatt(op, io->inode, &at, &st, ret);
        if (r == 0 && ret_st)
                *ret_st = st;
        return r;
}
