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
#define LOCK_END UINT64_MAX

struct remote_lock {
        struct remote_lock *next;
        uint32_t type;
        uint64_t first, last; /* bytes; LOCK_END: to the end of the file, wherever that is */
        int32_t pid;
        uint32_t uid, gid;
        uint32_t flock_pid;
        uint32_t owner_len;
        uint8_t owner[];
};

/* ---- the list -------------------------------------------------------------------------------------------------- */

static bool lock_is_owned(const struct remote_lock *l, const struct rpc_cred *cred)
{
        return l->owner_len == cred->owner_len && memcmp(l->owner, cred->owner, l->owner_len) == 0;
}

static struct remote_lock *lock_new(const struct rpc_cred *cred, uint32_t owner_len, const void *owner)
{
        struct remote_lock *l = calloc(1, sizeof *l + owner_len);
        if (!l)
                return NULL;
        l->pid = cred->pid;
        l->uid = cred->uid;
        l->gid = cred->gid;
        l->owner_len = owner_len;
        memcpy(l->owner, owner, owner_len);
        return l;
}

/* TAIL becomes what of L begins at FIRST. */
static void lock_split_to(struct remote_lock *l, struct remote_lock *tail, uint64_t first)
{
        tail->type = l->type;
        tail->first = first;
        tail->last = l->last;
        tail->pid = l->pid;
        tail->uid = l->uid;
        tail->gid = l->gid;
        tail->flock_pid = l->flock_pid;
        tail->next = l->next;
        l->next = tail;
}

/* Takes FIRST..LAST out of the owner's locks in FD. */
static void locks_subtract(struct remote_fd *fd, const struct rpc_cred *cred, uint64_t first, uint64_t last)
{
        for (struct remote_lock **at = &fd->locks; *at;) {
                struct remote_lock *l = *at;
                if (!lock_is_owned(l, cred) || l->last < first || l->first > last) {
                        at = &l->next;
                        continue;
                }
                if (l->first < first && l->last > last) {
                        struct remote_lock *tail = lock_new(cred, l->owner_len, l->owner);
                        fd->locks_unknown |= !tail;
                        if (tail)
                                lock_split_to(l, tail, last + 1);
                        l->last = first - 1;
                        return;
                }
                if (l->first < first) {
                        l->last = first - 1;
                        at = &l->next;
                } else if (l->last > last) {
                        l->first = last + 1;
                        at = &l->next;
                } else {
                        *at = l->next;
                        free(l);
                }
        }
}

static void locks_add(struct remote_fd *fd, const struct rpc_cred *cred, const struct lk_fop_req *req, uint64_t last)
{
        struct remote_lock *l = lock_new(cred, cred->owner_len, cred->owner);
        if (!l) {
                fd->locks_unknown = true;
                return;
        }
        l->type = req->type;
        l->first = req->flock.start;
        l->last = last;
        l->flock_pid = req->flock.pid;
        l->next = fd->locks;
        fd->locks = l;
}

void remote_lock_changed(struct remote *m, struct vfile *f, const struct rpc_cred *cred, const struct lk_fop_req *req)
{
        struct remote_fd *fd = *vfile_slot(f, &m->base);
        uint64_t start = req->flock.start, len = req->flock.len;
        uint64_t last = len == 0 || len - 1 > LOCK_END - start ? LOCK_END : start + len - 1;
        if (!fd || (req->cmd != LK_COMMAND_SET && req->cmd != LK_COMMAND_WAIT))
                return;
        for (struct vfile *each = f->inode->files; each; each = each->next_of_inode) {
                struct remote_fd *other = *vfile_slot(each, &m->base);
                if (other)
                        locks_subtract(other, cred, start, last);
        }
        if (req->type != LK_TYPE_UNLOCK)
                locks_add(fd, cred, req, last);
}

static void locks_drop(struct remote_fd *fd, const struct rpc_cred *cred)
{
        for (struct remote_lock **at = &fd->locks; *at;) {
                struct remote_lock *l = *at;
                if (cred && !lock_is_owned(l, cred)) {
                        at = &l->next;
                        continue;
                }
                *at = l->next;
                free(l);
        }
}

void remote_locks_flushed(struct remote *m, struct vfile *f, const struct rpc_cred *cred)
{
        struct remote_fd *fd = *vfile_slot(f, &m->base);
        if (cred->owner_len == 0 && fd)
                locks_drop(fd, NULL);
        if (cred->owner_len == 0)
                return;
        for (struct vfile *each = f->inode->files; each; each = each->next_of_inode) {
                struct remote_fd *other = *vfile_slot(each, &m->base);
                if (other)
                        locks_drop(other, cred);
        }
}

void remote_locks_forget(struct remote_fd *fd)
{
        locks_drop(fd, NULL);
}

/* ---- asking again ---------------------------------------------------------------------------------------------- */

struct regain {
        struct rpc_cred cred;
        struct lk_fop_req req;
};

static void regain_fill(struct regain *g, const struct remote_fd *fd, const struct remote_lock *l)
{
        uint64_t len = l->last == LOCK_END ? 0 : l->last - l->first + 1;
        *g = (struct regain){
                .cred = {.flavour = RPC_AUTH_GLUSTERFS_V3,
                         .pid = l->pid,
                         .uid = l->uid,
                         .gid = l->gid,
                         .owner_len = l->owner_len},
                .req = {.gfid = fd->gfid,
                        .fd = fd->number,
                        .cmd = LK_COMMAND_SET,
                        .type = l->type,
                        .flock = {.type = l->type, .start = l->first, .len = len, .pid = l->flock_pid},
                        .xdata = DICT_NULL},
        };
        memcpy(g->cred.owner, l->owner, l->owner_len);
        g->req.flock.owner = (struct slice){g->cred.owner, g->cred.owner_len};
}

/* One lock. 0, -ENOTCONN, or why it cannot be had. */
static int regain_one(struct fibre *self, struct remote *m, const struct remote_fd *fd, const struct remote_lock *l)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REGAIN_ARENA_MAX);
        struct regain g;
        struct lk_fop_rep rep = {0};
        regain_fill(&g, fd, l);
        int r = remote_send(self, m, FOP_LK, &g.cred, &g.req, &rep, &arena, NULL);
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
                              const struct remote_lock *l)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REGAIN_ARENA_MAX);
        struct regain g;
        struct lk_fop_rep rep = {0};
        regain_fill(&g, fd, l);
        g.req.cmd = LK_COMMAND_GET;
        int r = remote_send(self, m, FOP_LK, &g.cred, &g.req, &rep, &arena, NULL);
        return r >= 0 && rep.op_ret >= 0 && rep.flock.type != LK_TYPE_UNLOCK &&
               rep.flock.owner.len == g.cred.owner_len &&
               memcmp(rep.flock.owner.data, g.cred.owner, g.cred.owner_len) == 0;
}

/* Somebody has a lock that is in the way of one of ours: whether to ask again in a moment. A brick that was silent and
 * not dead may not have noticed yet that the former connection is gone, and hold our locks for it. With copies
 * nobody else can have had the lock, since the others have ours: whoever is in the way is of the past, or will not
 * get the quorum. Without, only a lock of the same owner is waited for. */
static bool is_worth_waiting(struct fibre *self, struct remote *m, const struct remote_fd *fd, unsigned place,
                             uint64_t end)
{
        const struct remote_lock *l = fd->locks;
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
        if (fd->locks_unknown) {
                mark_bad(m, fd, -ENOMEM);
                return -ENOMEM;
        }
        for (unsigned done = 0;;) {
                const struct remote_lock *l = fd->locks;
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
