/* Reading files that a brick on this machine lends (remote_local.h).
 *
 * A loan comes with the second of two READs that follow each other within LEASE: who reads a file once, as small ones
 * are, pays nothing for it. The brick sends it before its answer, so it is there when the answer is.
 *
 * A loan is believed for LEASE after a READ was sent that the brick answered; then one READ goes to the brick again. That
 * bounds what can go wrong while this client has not noticed yet that the brick is stopped or cut off and the other
 * copies have moved on (others wait for the ping-timeout before they do), and it renews the brick's notion of who is to
 * be told of changes. A brick that was killed is noticed at once: its end of the socket is looked at after every read.
 *
 * Data that is not in the page cache is left to the brick: nothing here waits for a disk.
 */
#include "volume/remote.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/log.h"
#include "proto/disk_attr.h"
#include "proto/local_read.h"

#define LEASE NS_PER_SEC
#define ASK_INTERVAL NS_PER_SEC
#define LOANS_MAX 1024 /* of a mount, shared by its bricks */
#define LOANS_MIN 16
#define DESCRIPTORS_PART 8 /* of those the process may have */
#define READ_SIZE_MAX (4 * MIB)
#define GFID_NAME "trusted.gfid"

/* ---- the socket -------------------------------------------------------------------------------------------------- */

void remote_local_init(struct remote *m)
{
        m->local.fd = -EBADF;
}

bool remote_local_wanted(const struct remote *m)
{
        const struct volume_config *c = &m->base.volume->config;
        return m->options.local_reads && !m->options.tls && !c->no_local_reads && c->pid >= 0;
}

/* Whoever listens there is root or this process's own user. */
static bool is_trusted(int fd)
{
        struct ucred peer;
        socklen_t len = sizeof peer;
        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && len == sizeof peer &&
               (peer.uid == 0 || peer.uid == geteuid());
}

/* On a unix socket, connecting succeeds at once or not at all. */
static int connect_to(const char *path, const char *token)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        size_t len = strlen(path);
        if (path[0] != '/' || len >= sizeof at.sun_path || strlen(token) != LOCAL_TOKEN_LEN)
                return -EINVAL;
        memcpy(at.sun_path, path, len + 1);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) < 0)
                return -errno;
        if (!is_trusted(fd))
                return -EPERM;
        ssize_t n = send(fd, token, LOCAL_TOKEN_LEN, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n < 0 ? -errno : TAKE_FD(fd);
}

static void on_socket(struct stream *s, unsigned events, void *arg)
{
        (void)s;
        if (events & STREAM_HANGUP)
                remote_local_end(arg);
}

void remote_local_begin(struct remote *m, const char *path, const char *token)
{
        struct remote_local *l = &m->local;
        remote_local_end(m);
        if (!path || !token || !remote_local_wanted(m))
                return;
        int fd = connect_to(path, token);
        if (fd < 0) {
                log_debug(m->base.name, "Files of brick %s:%s cannot be read past it: %s: %s.", m->options.host, m->options.path,
                          path, strerror(-fd));
                return;
        }
        int r = loop_watch_fd(m->base.volume->config.loop, fd, 0, on_socket, m, &l->watch);
        if (r < 0) {
                close_fd(fd);
                return;
        }
        l->fd = fd;
        m->base.near = true;
        log_info(m->base.name, "Brick %s:%s is on this machine and lends its files for reading.", m->options.host,
                 m->options.path);
}

void remote_local_end(struct remote *m)
{
        struct remote_local *l = &m->local;
        while (l->oldest)
                remote_local_drop(l->oldest);
        m->base.near = false;
        l->watch = stream_free(l->watch);
        l->fd = close_fd(l->fd);
}

void remote_local_report(const struct remote *m)
{
        const struct remote_local *l = &m->local;
        if (l->reads > 0)
                log_notice(m->base.name, "%llu reads of %llu bytes in all went past brick %s:%s; it lends %u files now.",
                           (unsigned long long)l->reads, (unsigned long long)l->bytes, m->options.host, m->options.path,
                           l->n);
}

/* ---- loans ------------------------------------------------------------------------------------------------------- */

static void loan_unlink(struct remote_local *l, struct remote_loan *x)
{
        *(x->newer ? &x->newer->loan.older : &l->newest) = x->older;
        *(x->older ? &x->older->loan.newer : &l->oldest) = x->newer;
        x->newer = x->older = NULL;
}

static void loan_link(struct remote_local *l, struct remote_fd *fd)
{
        fd->loan.older = l->newest;
        *(l->newest ? &l->newest->loan.newer : &l->oldest) = fd;
        l->newest = fd;
}

void remote_local_drop(struct remote_fd *fd)
{
        struct remote_local *l = &fd->remote->local;
        fd->loan.known = false;
        if (fd->loan.fd < 0)
                return;
        loan_unlink(l, &fd->loan);
        fd->loan.fd = close_fd(fd->loan.fd);
        l->n--;
}

void remote_local_expire(struct remote *m, const struct gfid *gfid)
{
        for (struct remote_fd *fd = m->local.newest; fd; fd = fd->loan.older)
                if (gfid_equal(&fd->gfid, gfid))
                        fd->loan.known = false;
}

static unsigned loans_max(const struct remote *m)
{
        struct rlimit limit;
        unsigned all = LOANS_MAX;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
                all = (unsigned)MIN((rlim_t)all, limit.rlim_cur / DESCRIPTORS_PART);
        all /= m->base.volume->top->n_leaves;
        return MAX(all, (unsigned)LOANS_MIN);
}

/* FD is what GFID's file is: a regular one, to be read, and this process may see its attributes. */
static bool is_file(int fd, const struct gfid *gfid)
{
        struct stat st;
        struct gfid found;
        int flags = fcntl(fd, F_GETFL);
        return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
               fgetxattr(fd, GFID_NAME, found.b, sizeof found.b) == (ssize_t)sizeof found.b && gfid_equal(&found, gfid);
}

/* Takes over FD. */
static void loan_arrived(struct remote *m, const struct local_loan *loan, int fd)
{
        struct remote_local *l = &m->local;
        const struct remote_asking *k = l->asking;
        while (k && k->number != loan->number)
                k = k->next;
        struct remote_fd *f = k && k->session == m->session ? *vfile_slot(k->file, &m->base) : NULL;
        if (!f || f->released || f->loan.fd >= 0 || f->session != m->session || !is_file(fd, &f->gfid)) {
                close_fd(fd);
                return;
        }
        f->loan.fd = fd;
        f->loan.mdata = loan->flags & LOCAL_LOAN_MDATA;
        loan_link(l, f);
        l->n++;
        while (l->n > loans_max(m) && l->oldest != f)
                remote_local_drop(l->oldest);
}

/* The descriptor of MSG, if it has just one. Others, for which there may have been room as well, are closed. */
static int only_descriptor(struct msghdr *msg)
{
        const struct cmsghdr *h = CMSG_FIRSTHDR(msg);
        int fds[2];
        if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || h->cmsg_len < CMSG_LEN(0))
                return -EBADMSG;
        size_t n = MIN((h->cmsg_len - CMSG_LEN(0)) / sizeof fds[0], ELEMENTSOF(fds));
        memcpy(fds, CMSG_DATA(h), n * sizeof fds[0]);
        if (n == 1)
                return fds[0];
        while (n > 0)
                close_fd(fds[--n]);
        return -EBADMSG;
}

/* One message: its descriptor, or -errno. */
static int loan_receive(int socket, struct local_loan *loan)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))]; /* which is room for two */
        } control;
        struct iovec iov = {loan, sizeof *loan};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
        ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -errno;
        int fd = only_descriptor(&msg);
        if (fd < 0 || n == (ssize_t)sizeof *loan)
                return fd;
        close_fd(fd);
        return -EBADMSG;
}

static void loans_receive(struct remote *m)
{
        struct local_loan loan;
        int fd;
        while (m->local.fd >= 0 && (fd = loan_receive(m->local.fd, &loan)) >= 0)
                loan_arrived(m, &loan, fd);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static uint64_t now_of(const struct remote *m)
{
        return loop_now(m->base.volume->config.loop);
}

static uint64_t lease_of(const struct remote *m)
{
        uint64_t ping = m->options.ping_timeout;
        return ping > 0 ? MIN(LEASE, ping / 4) : LEASE;
}

static bool is_leased(const struct remote *m, const struct remote_loan *x, uint64_t now)
{
        return x->known && now - x->answered < lease_of(m);
}

static bool is_worth_asking(const struct remote *m, const struct remote_fd *fd, uint64_t now)
{
        const struct remote_loan *x = &fd->loan;
        return m->local.fd >= 0 && x->fd < 0 && (fd->flags & O_ACCMODE) != O_WRONLY && !fd->directory && !fd->error &&
               is_leased(m, x, now) && (x->asked == 0 || now - x->asked >= ASK_INTERVAL);
}

void remote_local_ask(struct remote *m, struct request *r, struct read_fop_req *req, struct remote_asking *ret)
{
        struct remote_fd *fd = r->file ? *vfile_slot(r->file, &m->base) : NULL;
        uint64_t now = now_of(m);
        *ret = (struct remote_asking){.session = m->session, .sent = now};
        if (!fd || fd->session != m->session || m->local.fd < 0)
                return;
        ret->file = vfile_ref(r->file);
        if (req->xdata.count > 0 || !is_worth_asking(m, fd, now))
                return;
        struct dict xdata = {0};
        ret->number = ++m->local.numbers;
        if (dict_add_int(&xdata, r->arena, LOCAL_READ_LEND, (int64_t)ret->number) < 0)
                return;
        req->xdata = xdata;
        fd->loan.asked = now;
        ret->next = m->local.asking;
        ret->at = &m->local.asking;
        if (ret->next)
                ret->next->at = &ret->next;
        m->local.asking = ret;
}

void remote_local_asked(struct remote *m, struct remote_asking *asking, bool answered)
{
        if (!asking->file)
                return;
        struct remote_fd *fd = *vfile_slot(asking->file, &m->base);
        if (answered && fd && asking->session == m->session && fd->session == m->session) {
                fd->loan.known = true;
                fd->loan.answered = asking->sent;
        }
        if (asking->at) {
                loans_receive(m);
                *asking->at = asking->next;
                if (asking->next)
                        asking->next->at = asking->at;
        }
        vfile_unref(asking->file);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool may_be_local(const struct remote *m, const struct request *r, const struct read_fop_req *req,
                         const struct remote_fd *fd)
{
        return fd && fd->loan.fd >= 0 && m->base.up && fd->session == m->session && !fd->error && req->size > 0 &&
               req->size <= READ_SIZE_MAX && req->offset <= (uint64_t)INT64_MAX - req->size && req->xdata.count == 0 &&
               !(r->cred.flags & TIMES_ATIME) && is_leased(m, &fd->loan, now_of(m));
}

/* Nothing has happened since the data was read that a READ would not have survived. */
static bool still_lent(struct remote *m, const struct remote_loan *x)
{
        struct pollfd p = {.fd = m->local.fd, .events = POLLRDHUP};
        struct timespec t;
        (void)clock_gettime(CLOCK_MONOTONIC, &t); /* the loop's own clock stands still meanwhile */
        return poll(&p, 1, 0) == 0 && is_leased(m, x, (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec);
}

/* As the brick says it (brick.md §7): times from mdata if it has one. */
static int read_attributes(const struct remote_fd *fd, struct iatt *ret)
{
        uint8_t raw[MDATA_SIZE];
        struct stat st;
        struct mdata m;
        if (fstat(fd->loan.fd, &st) < 0)
                return -errno;
        attr_of_stat(&st, &fd->gfid, ret);
        if (!fd->loan.mdata)
                return 0;
        ssize_t n = fgetxattr(fd->loan.fd, MDATA_NAME, raw, sizeof raw);
        if (n < 0)
                return errno == ENODATA || errno == ERANGE ? 0 : -errno;
        if (mdata_parse(raw, (size_t)n, &m) == 0) {
                ret->atime = m.atime;
                ret->mtime = m.mtime;
                ret->ctime = m.ctime;
        }
        return 0;
}

/* Bytes read, or -errno: the brick is to be asked. */
static ssize_t read_lent(const struct remote_fd *fd, struct arena *arena, const struct read_fop_req *req,
                         struct read_fop_rep *rep)
{
        uint8_t *data = arena_alloc_uninitialised(arena, req->size);
        if (!data)
                return -ENOMEM;
        struct iovec iov = {data, req->size};
        ssize_t n = preadv2(fd->loan.fd, &iov, 1, (off_t)req->offset, RWF_NOWAIT);
        if (n < 0)
                return -errno;
        *rep = (struct read_fop_rep){
                .op_ret = (int32_t)n, .size = (uint32_t)n, .data = {data, (uint32_t)n}, .xdata = DICT_NULL};
        int r = read_attributes(fd, &rep->stat);
        if (r < 0)
                return r;
        bool at_end = req->offset + (uint64_t)n >= rep->stat.size;
        if ((size_t)n < req->size && !at_end)
                return -EAGAIN; /* the rest is not in memory */
        rep->op_errno = at_end ? ENOENT : 0;
        return n;
}

bool remote_local_read(struct remote *m, struct request *r, const struct read_fop_req *req, struct read_fop_rep *rep,
                       int *ret)
{
        struct remote_fd *fd = r->file ? *vfile_slot(r->file, &m->base) : NULL;
        if (!may_be_local(m, r, req, fd))
                return false;
        ssize_t n = read_lent(fd, r->arena, req, rep);
        if (n == -EAGAIN)
                return false;
        if (n == -EOPNOTSUPP)
                remote_local_end(m); /* the brick's file system cannot be read without waiting */
        else if (n < 0 || !still_lent(m, &fd->loan))
                remote_local_drop(fd);
        if (fd->loan.fd < 0)
                return false;
        loan_unlink(&m->local, &fd->loan);
        loan_link(&m->local, fd);
        m->local.reads++;
        m->local.bytes += (uint64_t)n;
        *ret = (int)n;
        return true;
}
