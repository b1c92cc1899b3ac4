/* Locks: fcntl(2)'s and flock(2)'s, both the volume's POSIX locks, with the kernel's number of the owner.
 *
 * Who gets a lock wants to read what the one before wrote: pages and attributes that the kernel keeps of the file are
 * dropped before the lock is handed over. A lock that the kernel does not want any more when it is granted is given
 * back.
 */
#include "mount/bridge_state.h"

#include <fcntl.h>

/* LK's `cmd` and `type` (wire.md §3.7) */
enum { CMD_GET = 0, CMD_SET = 1, CMD_SET_WAIT = 2 };
enum { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_UNLOCK = 2 };

static uint32_t type_from(uint32_t kernel)
{
        return kernel == F_RDLCK ? TYPE_READ : kernel == F_WRLCK ? TYPE_WRITE : TYPE_UNLOCK;
}

static uint32_t type_to(uint32_t type)
{
        return type == TYPE_READ ? F_RDLCK : type == TYPE_WRITE ? F_WRLCK : F_UNLCK;
}

static int lock(struct call *c, uint32_t cmd, uint32_t type, const struct fuse_lk_in *in, struct lk_fop_rep *rep)
{
        struct lk_fop_req req = {.gfid = c->node->inode->gfid, .cmd = cmd, .type = type};
        call_stamp(c, FOP_LK);
        call_set_owner(c, in->owner);
        req.flock = (struct flock_range){
                .type = type,
                .start = in->lk.start,
                .len = in->lk.end >= INT64_MAX ? 0 : in->lk.end - in->lk.start + 1,
                .pid = in->lk.pid ? in->lk.pid : c->rq->pid,
                .owner = {c->r.cred.owner, c->r.cred.owner_len},
        };
        return subvolume_lk(c->self, call_top(c), &c->r, &req, rep);
}

void bridge_op_getlk(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct lk_fop_rep rep = {0};
        const struct fuse_lk_in *in = rq->in.getlk;
        int r = call_begin_file(&c, self, rq, in->fh);
        if (r == 0)
                r = lock(&c, CMD_GET, type_from(in->lk.type), in, &rep);
        if (r < 0) {
                (void)fuse_reply_error(rq, r);
                return;
        }
        uint64_t last = rep.flock.len == 0 ? INT64_MAX : rep.flock.start + rep.flock.len - 1;
        struct fuse_file_lock lk = {
                .start = rep.flock.start, .end = last, .type = type_to(rep.flock.type), .pid = rep.flock.pid};
        (void)fuse_reply_lock(rq, &lk);
}

/* The pages are gone before the lock is handed over. */
static void freshen(struct call *c)
{
        c->node->locked = true;
        cache_changed(c->b, c->node);
        cache_drop_pages(c->b, c->node);
        if (c->b->session)
                (void)fuse_notify_wait(c->self, c->b->session, c->node->id);
}

static void set_lock(struct fibre *self, struct fuse_request *rq, const struct fuse_lk_in *in, uint32_t cmd)
{
        _cleanup_call_ struct call c;
        struct lk_fop_rep rep = {0};
        uint32_t type = type_from(in->lk.type);
        int r = call_begin_file(&c, self, rq, in->fh);
        if (r == 0 && type == TYPE_UNLOCK)
                c.r.cancel = NULL; /* unlocking must not be half done */
        if (r == 0)
                r = write_behind_settle(&c, c.node); /* who gets the lock next sees what was written under it */
        if (r == 0)
                r = lock(&c, cmd, type, in, &rep);
        if (r < 0) {
                (void)fuse_reply_error(rq, r);
                return;
        }
        if (type != TYPE_UNLOCK)
                freshen(&c);
        if (fuse_reply_ok(rq) < 0 && type != TYPE_UNLOCK) {
                c.r.cancel = NULL;
                (void)lock(&c, CMD_SET, TYPE_UNLOCK, in, &rep);
        }
}

void bridge_op_setlk(struct fibre *self, struct fuse_request *rq)
{
        set_lock(self, rq, rq->in.setlk, CMD_SET);
}

void bridge_op_setlkw(struct fibre *self, struct fuse_request *rq)
{
        set_lock(self, rq, rq->in.setlkw, CMD_SET_WAIT);
}
