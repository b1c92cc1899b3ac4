/* POSIX locks that this client holds at one brick, as far as they must be asked for again when the connection is back,
 * and lock requests that are broken off (remote.h; spec: brick.md §13.6–13.8).
 *
 * A lock belongs to an owner and an object; it is kept with the file through which it was taken, because the brick
 * drops it with that. An owner's locks on one object never overlap. Thread: the loop's.
 */
#include "volume/remote.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "volume/outage.h"

#define REGAIN_ARENA_MAX (64 * KIB)
#define REGAIN_PATIENCE (20 * NS_PER_SEC) /* for a brick to notice that a connection is gone */
#define REGAIN_INTERVAL (100 * NS_PER_MSEC)
#define CANCEL_INTERVAL (50 * NS_PER_MSEC)

/* ---- the list -------------------------------------------------------------------------------------------------- */

void remote_lock_asked(const struct remote *m, struct vfile *f)
{
        struct remote_fd *fd = *vfile_slot(f, &m->base);
        if (fd)
                fd->lock_asked = true;
}

void remote_lock_changed(struct remote *m, struct vfile *f, const struct rpc_cred *cred, const struct lk_fop_req *req)
{
        struct remote_fd *fd = *vfile_slot(f, &m->base);
        if (!fd || (req->cmd != LK_COMMAND_SET && req->cmd != LK_COMMAND_WAIT))
                return;
        for (struct vfile *each = f->inode->files; each; each = each->next_of_inode) {
                struct remote_fd *other = *vfile_slot(each, &m->base);
                if (other)
                        lock_list_subtract(&other->locks, cred, req->flock.start, lock_last(req));
        }
        if (req->type != LK_TYPE_UNLOCK)
                lock_list_add(&fd->locks, cred, req);
}

void remote_locks_flushed(struct remote *m, struct vfile *f, const struct rpc_cred *cred)
{
        struct remote_fd *fd = *vfile_slot(f, &m->base);
        if (cred->owner_len == 0 && fd)
                lock_list_drop(&fd->locks, NULL);
        if (cred->owner_len == 0)
                return;
        for (struct vfile *each = f->inode->files; each; each = each->next_of_inode) {
                struct remote_fd *other = *vfile_slot(each, &m->base);
                if (other)
                        lock_list_drop(&other->locks, cred);
        }
}

bool remote_flush_is_empty(const struct remote *m, const struct request *r)
{
        const struct remote_fd *fd = r->file ? *vfile_slot(r->file, &m->base) : NULL;
        if (!fd || !m->chains || !m->options.chain || !m->base.up || fd->session != m->session || fd->error < 0)
                return false;
        for (struct vfile *each = r->file->inode->files; each; each = each->next_of_inode) {
                const struct remote_fd *other = *vfile_slot(each, &m->base);
                if (other && other->lock_asked)
                        return false;
        }
        return true;
}

void remote_locks_forget(struct remote_fd *fd)
{
        lock_list_drop(&fd->locks, NULL);
}

/* ---- asking again ---------------------------------------------------------------------------------------------- */

/* One lock. 0, -ENOTCONN, or why it cannot be had. */
static int regain_one(struct fibre *self, struct remote *m, const struct remote_fd *fd, const struct held_lock *l)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REGAIN_ARENA_MAX);
        struct rpc_cred cred;
        struct lk_fop_req req;
        struct lk_fop_rep rep = {0};
        lock_again(l, &fd->gfid, &cred, &req);
        req.fd = fd->number;
        int r = remote_send(self, m, FOP_LK, &cred, &req, &rep, &arena, NULL);
        if (r == 0 && rep.op_ret < 0)
                r = rep.op_errno > 0 ? -rep.op_errno : -EIO;
        return remote_was_lost(r) ? -ENOTCONN : r;
}

static void mark_bad(struct remote *m, struct remote_fd *fd, int why)
{
        char gfid[GFID_TEXT_LEN + 1];
        fd->error = -EIO;
        log_warning(
                m->base.name,
                "a file lock was lost with the connection to brick %s:%s and cannot be had again (%s): the file that "
                "was locked, gfid %s, answers errors until it is closed",
                m->options.host, m->options.path, why == -EAGAIN ? "another client has it now" : strerror(-why),
                gfid_format(&fd->gfid, gfid));
}

/* Whether the lock that is in the way of L is of the same owner: then it is L itself, on the former connection. */
static bool is_in_its_own_way(struct fibre *self, struct remote *m, const struct remote_fd *fd,
                              const struct held_lock *l)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REGAIN_ARENA_MAX);
        struct rpc_cred cred;
        struct lk_fop_req req;
        struct lk_fop_rep rep = {0};
        lock_again(l, &fd->gfid, &cred, &req);
        req.fd = fd->number;
        req.cmd = LK_COMMAND_GET;
        int r = remote_send(self, m, FOP_LK, &cred, &req, &rep, &arena, NULL);
        return r >= 0 && rep.op_ret >= 0 && rep.flock.type != LK_TYPE_UNLOCK &&
               rep.flock.owner.len == cred.owner_len && memcmp(rep.flock.owner.data, cred.owner, cred.owner_len) == 0;
}

/* Somebody has a lock that is in the way of one of ours: whether to ask again in a moment. A brick that was silent and
 * not dead may not have noticed yet that the former connection is gone, and hold our locks for it. With copies
 * nobody else can have had the lock, since the others have ours: whoever is in the way is of the past, or will not
 * get the quorum. Without, only a lock of the same owner is waited for. */
static bool is_worth_waiting(struct fibre *self, struct remote *m, const struct remote_fd *fd, unsigned place,
                             uint64_t end)
{
        const struct held_lock *l = fd->locks.head;
        for (unsigned k = 0; l && k < place; k++)
                l = l->next;
        if (loop_now(fibre_loop(self)) >= end || m->closing)
                return false;
        if (l && m->patient && !is_in_its_own_way(self, m, fd, l))
                return false;
        fibre_sleep(self, REGAIN_INTERVAL);
        return true;
}

/* The list may change while a lock is asked for: what was asked for is found again by its place in the order. */
int remote_locks_regain(struct fibre *self, struct remote *m, struct remote_fd *fd)
{
        uint64_t end = loop_now(fibre_loop(self)) + REGAIN_PATIENCE;
        if (fd->locks.incomplete) {
                mark_bad(m, fd, -ENOMEM);
                return -ENOMEM;
        }
        for (unsigned done = 0;;) {
                const struct held_lock *l = fd->locks.head;
                for (unsigned k = 0; l && k < done; k++)
                        l = l->next;
                if (!l)
                        return 0;
                int r = regain_one(self, m, fd, l);
                if (r == -ENOTCONN || fd->released)
                        return r;
                if (r == -EAGAIN && is_worth_waiting(self, m, fd, done, end))
                        continue;
                if (r < 0) {
                        mark_bad(m, fd, r);
                        return r;
                }
                done++;
        }
}

/* ---- breaking off ---------------------------------------------------------------------------------------------- */

/* The brick answers the waiting request itself, with EINTR, or has granted it before. */
static void send_interrupt(struct fibre *self, const struct remote_interrupt *i)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REGAIN_ARENA_MAX);
        struct fgetxattr_fop_rep rep = {0};
        char name[96];
        int n = snprintf(name, sizeof name, "glusterfs.intrlk.tposix.kblocked.0,%" PRId64 "-%" PRId64,
                         (int64_t)i->req->flock.start, (int64_t)i->req->flock.len);
        const struct fgetxattr_fop_req req = {
                .gfid = i->req->gfid, .fd = i->req->fd, .namelen = 1, .name = {name, (uint32_t)n}, .xdata = DICT_NULL};
        (void)remote_send(self, i->remote, FOP_FGETXATTR, &i->request->cred, &req, &rep, &arena, NULL);
}

static void interrupt_watch(struct fibre *self, void *arg)
{
        struct remote_interrupt *i = arg;
        while (!i->over.done) {
                (void)fibre_event_wait(self, &i->over, CANCEL_INTERVAL);
                if (!i->over.done && request_cancelled(i->request))
                        send_interrupt(self, i);
        }
}

void remote_interrupt_begin(struct fibre *self, struct remote_interrupt *i)
{
        /* without it the request waits until it is granted */
        (void)fibre_group_start(fibre_loop(self), &i->group, "interrupt", interrupt_watch, i);
}

void remote_interrupt_end(struct fibre *self, struct remote_interrupt *i)
{
        fibre_event_set(&i->over);
        fibre_group_wait_all(self, &i->group);
}
