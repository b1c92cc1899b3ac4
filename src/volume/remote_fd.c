/* Open files at one brick (remote.h; spec: wire.md §5.7, §6.2).
 *
 * A descriptor is opened again when the connection is back, before the layers above hear of it; one that was missed
 * then is opened by the first operation that needs it. Whoever opens holds a reference: the file may be closed
 * meanwhile.
 *
 * Thread: the loop's.
 */
#include "volume/remote.h"

#include <fcntl.h>

#define REOPEN_ARENA_MAX (256 * KIB)
#define REOPEN_WORKERS 16
#define OPENED_ONCE ((uint32_t)(O_CREAT | O_EXCL | O_TRUNC)) /* not when it is opened again */

static const struct rpc_cred brick_cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .owner_len = 4};

/* ---- the object ------------------------------------------------------------------------------------------------ */

static void fd_unref(struct remote_fd *fd)
{
        if (--fd->refs == 0)
                free(fd);
}

static void fd_unlist(struct remote_fd *fd)
{
        *fd->at = fd->next;
        if (fd->next)
                fd->next->at = fd->at;
}

static struct remote_fd *fd_new(struct remote *m, const struct gfid *gfid)
{
        struct remote_fd *fd = calloc(1, sizeof *fd);
        if (!fd)
                return NULL;
        fd->remote = m;
        fd->gfid = *gfid;
        fd->refs = 1;
        fd->loan.fd = -EBADF;
        fd->next = m->fds;
        fd->at = &m->fds;
        if (fd->next)
                fd->next->at = &fd->next;
        m->fds = fd;
        return fd;
}

/* Gives a number back. Nobody waits for the answer. */
static void number_release(struct remote *m, const struct gfid *gfid, bool directory, int64_t number, uint64_t session)
{
        if (!m->client || session != m->session || number < 0)
                return;
        if (directory) {
                const struct releasedir_fop_req req = {.gfid = *gfid, .fd = number};
                (void)rpc_client_send(m->client, FOP_PROGRAM, FOP_VERSION, FOP_RELEASEDIR, &brick_cred,
                                      &releasedir_fop_req_desc, &req);
        } else {
                const struct release_fop_req req = {.gfid = *gfid, .fd = number};
                (void)rpc_client_send(m->client, FOP_PROGRAM, FOP_VERSION, FOP_RELEASE, &brick_cred,
                                      &release_fop_req_desc, &req);
        }
}

void remote_fd_opened(struct remote *m, struct vfile *f, const struct gfid *gfid, uint32_t flags, int64_t number,
                      uint64_t session)
{
        struct remote_fd *fd = f ? *vfile_slot(f, &m->base) : NULL;
        if (f && !fd)
                fd = fd_new(m, gfid);
        if (!fd) {
                number_release(m, gfid, flags & O_DIRECTORY, number, session);
                return;
        }
        *vfile_slot(f, &m->base) = fd;
        remote_local_drop(fd);
        number_release(m, &fd->gfid, fd->directory, fd->number, fd->session); /* opened a second time */
        fd->gfid = *gfid;
        fd->flags = flags & ~OPENED_ONCE;
        fd->directory = flags & O_DIRECTORY;
        fd->number = number;
        fd->session = session;
        fd->error = 0;
}

bool remote_fd_is_carried(struct remote *m, enum fop fop, const struct request *r, const void *req)
{
        struct remote_fd *fd = (fop == FOP_OPEN || fop == FOP_OPENDIR) && r->file ? *vfile_slot(r->file, &m->base) : NULL;
        if (!fd || !fd->carried)
                return false;
        fd->carried = false;
        return fop == FOP_OPENDIR || !(((const struct open_fop_req *)req)->flags & O_TRUNC);
}

void remote_fd_release(struct subvolume *v, struct vfile *f, void *slot)
{
        struct remote_fd *fd = slot;
        (void)f;
        number_release(remote_of(v), &fd->gfid, fd->directory, fd->number, fd->session);
        remote_locks_forget(fd);
        remote_local_drop(fd);
        fd_unlist(fd);
        fd->released = true;
        fd_unref(fd);
}

/* ---- opening again --------------------------------------------------------------------------------------------- */

static int send_open(struct fibre *self, struct remote *m, struct remote_fd *fd, int64_t *ret_number)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REOPEN_ARENA_MAX);
        const struct open_fop_req file = {.gfid = fd->gfid, .flags = fd->flags};
        const struct opendir_fop_req directory = {.gfid = fd->gfid};
        struct open_fop_rep file_rep = {0};
        struct opendir_fop_rep directory_rep = {0};
        int r = fd->directory ? remote_send(self, m, FOP_OPENDIR, &brick_cred, &directory, &directory_rep, &arena, NULL)
                              : remote_send(self, m, FOP_OPEN, &brick_cred, &file, &file_rep, &arena, NULL);
        if (r < 0)
                return r;
        int32_t op_ret = fd->directory ? directory_rep.op_ret : file_rep.op_ret;
        int32_t op_errno = fd->directory ? directory_rep.op_errno : file_rep.op_errno;
        *ret_number = fd->directory ? directory_rep.fd : file_rep.fd;
        return op_ret >= 0 ? 0 : op_errno > 0 ? -op_errno : -EIO;
}

/* With FD's mutex. What the brick refuses is not tried again on this connection: its locks are gone then. */
static int fd_reopen_locked(struct fibre *self, struct remote *m, struct remote_fd *fd)
{
        uint64_t session = m->session;
        int64_t number = FD_NONE;
        if (fd->session == session || fd->tried == session || fd->error)
                return 0;
        fd->tried = session;
        bool locked = !lock_list_is_empty(&fd->locks);
        if (locked && m->options.strict_locks) {
                fd->error = -EBADFD;
                return 0;
        }
        int r = send_open(self, m, fd, &number);
        if (session != m->session)
                return -ENOTCONN;
        if (r < 0) {
                if (!remote_was_lost(r) && locked)
                        fd->error = -EIO;
                return remote_was_lost(r) ? -ENOTCONN : 0;
        }
        if (fd->released) {
                number_release(m, &fd->gfid, fd->directory, number, session);
                return 0;
        }
        fd->number = number;
        fd->session = session;
        remote_local_drop(fd);
        return remote_locks_regain(self, m, fd) == -ENOTCONN ? -ENOTCONN : 0;
}

static int fd_reopen(struct fibre *self, struct remote *m, struct remote_fd *fd)
{
        fd->refs++;
        fibre_mutex_lock(self, &fd->opening);
        int r = fd_reopen_locked(self, m, fd);
        fibre_mutex_unlock(self, &fd->opening);
        fd_unref(fd);
        return r;
}

int remote_fd_number(struct fibre *self, struct remote *m, struct vfile *f, int64_t *ret)
{
        struct remote_fd *fd = *vfile_slot(f, &m->base);
        *ret = FD_ANONYMOUS;
        if (!fd)
                return 0;
        if (fd->session != m->session) {
                int r = fd_reopen(self, m, fd);
                if (r < 0)
                        return r;
        }
        if (fd->error)
                return fd->error;
        if (fd->session == m->session)
                *ret = fd->number;
        return 0;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

struct reopening {
        struct remote *remote;
        uint64_t session;
        int result;
};

/* One that nobody has begun to open again. */
static struct remote_fd *next_closed(const struct reopening *o)
{
        struct remote_fd *fd = o->remote->fds;
        while (fd && (fd->session == o->session || fd->tried == o->session || fd->error || fd->opening.holder))
                fd = fd->next;
        return fd;
}

static void reopen_some(struct fibre *self, void *arg)
{
        struct reopening *o = arg;
        struct remote_fd *fd;
        while (o->result == 0 && o->remote->session == o->session && (fd = next_closed(o)) != NULL)
                o->result = fd_reopen(self, o->remote, fd);
}

int remote_fds_reopen(struct fibre *self, struct remote *m)
{
        struct reopening o = {.remote = m, .session = m->session};
        struct fibre_group group = {0};
        for (unsigned i = 1; m->fds && m->fds->next && i < REOPEN_WORKERS; i++)
                (void)fibre_group_start(fibre_loop(self), &group, "reopen", reopen_some, &o);
        reopen_some(self, &o);
        fibre_group_wait_all(self, &group);
        return o.result < 0 || m->session != o.session || !m->client ? -ENOTCONN : 0;
}
