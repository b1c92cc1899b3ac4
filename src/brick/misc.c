/* STATFS, ACCESS, READLINK and the procedures that clients of this protocol hardly use (spec: brick.md §8.10, §8.23,
 * §16.1).
 *
 * Leases, lock migration, ICREATE, NAMELINK and PUT answer that they are not there: no stock client depends on them.
 * Any thread.
 */
#include "brick/upcall.h"

/* ---- STATFS ---------------------------------------------------------------------------------------------------- */

/* Several bricks of one volume on one file system: each reports its share. */
static void statfs_share(struct statfs *s, uint64_t bricks)
{
        uint64_t *const shared[] = {&s->blocks, &s->bfree, &s->bavail, &s->files, &s->ffree, &s->favail};
        for (size_t i = 0; i < ELEMENTSOF(shared); i++)
                *shared[i] /= bricks;
}

static struct statfs statfs_of(const struct brick *b, const struct statvfs *v)
{
        uint64_t reserved = space_reserved_blocks(b, v);
        struct statfs s = {
                .bsize = v->f_bsize,
                .frsize = v->f_frsize,
                .blocks = v->f_blocks,
                .bfree = v->f_bfree > reserved ? v->f_bfree - reserved : 0,
                .bavail = v->f_bavail,
                .files = v->f_files,
                .ffree = v->f_ffree,
                .favail = v->f_favail,
                .fsid = v->f_fsid,
                .flag = v->f_flag,
                .namemax = v->f_namemax,
        };
        s.bavail = MIN(s.bavail, s.bfree);
        uint32_t shared = b->options->shared_brick_count;
        if (shared > 1)
                statfs_share(&s, shared);
        return s;
}

int fop_statfs(struct op *op, const struct statfs_fop_req *req, struct statfs_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        struct statvfs v;
        r = disk_statvfs(op->brick->disk, op->brick->root_fd, &v);
        if (r == 0) {
                rep->statfs = statfs_of(op->brick, &v);
                r = fill_lock_counts(op, o.inode, &op->reply);
        }
        object_done(op->brick, &o);
        return r;
}

/* ---- ACCESS ---------------------------------------------------------------------------------------------------- */

/* The NFS server (pid 1) wants to know which of the bits are granted: they come back as op_errno. */
static int access_subset(struct op *op, struct object *o, uint32_t mask)
{
        int granted = 0;
        for (unsigned bit = PERM_READ; bit; bit >>= 1)
                if ((mask & bit) && perm_check(op, o, bit) == 0)
                        granted |= (int)bit;
        return granted;
}

static int access_object(struct op *op, struct object *o, uint32_t mask, struct access_fop_rep *rep)
{
        int r = 0;
        if (op->caller.pid == 1)
                rep->op_errno = access_subset(op, o, mask);
        else if (mask & 7)
                r = perm_check(op, o, mask & 7);
        return r < 0 ? r : fill_lock_counts(op, o->inode, &op->reply);
}

int fop_access(struct op *op, const struct access_fop_req *req, struct access_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = access_object(op, &o, req->mask, rep);
        object_done(op->brick, &o);
        return r;
}

/* ---- READLINK -------------------------------------------------------------------------------------------------- */

static int readlink_object(struct op *op, struct object *o, uint32_t size, struct readlink_fop_rep *rep)
{
        if (!S_ISLNK(o->st.st_mode))
                return -EINVAL;
        char target[PATH_LIMIT + 1];
        size_t max = MIN((size_t)size, (size_t)PATH_LIMIT);
        ssize_t n = max > 0 ? disk_readlink(op->brick->disk, o->at.dirfd, o->at.path, target, max) : -EINVAL;
        if (n < 0)
                return (int)n;
        char *copy = arena_strndup(op->arena, target, (size_t)n);
        if (!copy)
                return -ENOMEM;
        int r = attr_iatt(op, o, &rep->buf);
        if (r < 0)
                return r;
        rep->path = (struct str){copy, (uint32_t)n};
        rep->op_ret = (int32_t)n;
        return fill_lock_counts(op, o->inode, &op->reply);
}

int fop_readlink(struct op *op, const struct readlink_fop_req *req, struct readlink_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = readlink_object(op, &o, req->size, rep);
        object_done(op->brick, &o);
        return r;
}

/* ---- rarely used ----------------------------------------------------------------------------------------------- */

#define IPC_CHANGELOG 0
#define IPC_UPCALL 2

int fop_ipc(struct op *op, const struct ipc_fop_req *req, struct ipc_fop_rep *rep)
{
        (void)rep;
        switch (req->op) {
        case IPC_CHANGELOG:
                return 0;
        case IPC_UPCALL:
                return upcall_register_names(op->brick, &req->xdata);
        default:
                return -ENOTSUP;
        }
}

int fop_lease(struct op *op, const struct lease_fop_req *req, struct lease_fop_rep *rep)
{
        (void)op;
        (void)req;
        (void)rep;
        return -ENOSYS;
}

int fop_icreate(struct op *op, const struct icreate_fop_req *req, struct icreate_fop_rep *rep)
{
        (void)op;
        (void)req;
        (void)rep;
        return -ENOSYS;
}

int fop_namelink(struct op *op, const struct namelink_fop_req *req, struct namelink_fop_rep *rep)
{
        (void)op;
        (void)req;
        (void)rep;
        return -ENOSYS;
}

int fop_put(struct op *op, const struct put_fop_req *req, struct put_fop_rep *rep)
{
        (void)op;
        (void)req;
        (void)rep;
        return -ENOSYS;
}
