/* The lender (lender.h). Accepts and lets in on the control loop; lends on whatever thread serves the READ.
 *
 * A borrower is made before its connection gets a brick and freed with the connection; in between it is found by walking
 * the connections of the bricks, under the export's lock, which comes before the borrower's.
 */
#include "brick/lender.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/log.h"
#include "proto/local_read.h"

#define DIRECTORY "/local"
#define BACKLOG 64
#define CALLERS_MAX 64 /* that have not shown a token yet */
#define CALLER_SECONDS 5
#define LOANS_PER_SECOND 1000u
#define LOANS_AT_ONCE 256u

/* Connected, and not let in yet. */
struct caller {
        struct lender *lender;
        struct caller *next, **at;
        struct stream *watch;
        struct timer patience;
        int fd;
};

struct lender {
        struct process *process;
        char path[sizeof((struct sockaddr_un *)0)->sun_path];
        int fd;
        struct stream *watch;
        struct timer retry;
        struct caller *callers;
        unsigned n_callers;
        bool refused; /* somebody, and it was told */
};

/* A connection's part. */
struct borrower {
        const char *path; /* the lender's */
        char token[LOCAL_TOKEN_LEN + 1];
        pthread_mutex_t lock;
        bool let_in;  /* once is all there is */
        int fd;       /* -EBADF: not there yet, or gone */
        uint64_t budget, counted; /* loans that may be made now, in billionths; when that was true, monotonic ns */
};

/* ---- borrowers --------------------------------------------------------------------------------------------------- */

static uint64_t monotonic_now(void)
{
        struct timespec t;
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

void lender_invite(struct conn *c)
{
        uint8_t random[LOCAL_TOKEN_LEN / 2];
        const struct lender *l = c->process->lender;
        struct borrower *b = l && !c->borrower ? calloc(1, sizeof *b) : NULL;
        if (!b)
                return;
        loop_random(c->process->loop, random, sizeof random);
        for (size_t i = 0; i < sizeof random; i++)
                (void)snprintf(b->token + 2 * i, 3, "%02x", random[i]);
        b->path = l->path;
        b->fd = -EBADF;
        b->budget = LOANS_AT_ONCE * NS_PER_SEC;
        b->counted = monotonic_now();
        pthread_mutex_init(&b->lock, NULL);
        c->borrower = b;
}

int lender_tell(const struct conn *c, struct dict *answer, struct arena *a)
{
        const struct borrower *b = c->borrower;
        if (!b)
                return 0;
        int r = dict_add_str(answer, a, LOCAL_READ_SOCKET, b->path);
        return r < 0 ? r : dict_add_str(answer, a, LOCAL_READ_TOKEN, b->token);
}

/* Under the lock. */
static bool budget_allows(struct borrower *b)
{
        uint64_t now = monotonic_now();
        uint64_t passed = MIN(now - b->counted, NS_PER_SEC);
        b->budget = MIN(b->budget + passed * LOANS_PER_SECOND, LOANS_AT_ONCE * NS_PER_SEC);
        b->counted = now;
        if (b->budget < NS_PER_SEC)
                return false;
        b->budget -= NS_PER_SEC;
        return true;
}

/* One message with FD. A client that does not take them loses them. */
static int loan_send(int socket, const struct local_loan *loan, int fd)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct iovec iov = {(void *)(uintptr_t)loan, sizeof *loan};
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
        return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void lender_lend(void *conn, const struct local_loan *loan, int fd)
{
        struct conn *c = conn;
        struct borrower *b = c->borrower;
        if (!b)
                return;
        pthread_mutex_lock(&b->lock);
        int r = b->fd >= 0 && budget_allows(b) ? loan_send(b->fd, loan, fd) : 0;
        if (r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN)
                b->fd = close_fd(b->fd);
        pthread_mutex_unlock(&b->lock);
}

static void borrower_part(struct borrower *b)
{
        pthread_mutex_lock(&b->lock);
        b->let_in = true;
        b->fd = close_fd(b->fd);
        pthread_mutex_unlock(&b->lock);
}

void lender_revoke(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        for (struct conn *c = x->conns; c; c = c->export_next)
                if (c->borrower)
                        borrower_part(c->borrower);
        pthread_mutex_unlock(&x->lock);
}

void lender_forget(struct conn *c)
{
        struct borrower *b = TAKE_PTR(c->borrower);
        if (!b)
                return;
        close_fd(b->fd);
        pthread_mutex_destroy(&b->lock);
        free(b);
}

/* ---- callers ----------------------------------------------------------------------------------------------------- */

static void caller_free(struct caller *k)
{
        *k->at = k->next;
        if (k->next)
                k->next->at = k->at;
        k->lender->n_callers--;
        timer_stop(&k->patience);
        stream_free(k->watch);
        close_fd(k->fd);
        free(k);
}

static void caller_late(struct timer *t)
{
        caller_free(CONTAINER_OF(t, struct caller, patience));
}

static void refuse(struct lender *l, const char *why)
{
        if (l->refused) {
                log_debug("lender", "A process of this machine is lent nothing: %s.", why);
                return;
        }
        l->refused = true;
        log_warning("lender", "A process of this machine that connected to %s is lent nothing: %s. Further ones are not logged.",
                    l->path, why);
}

/* In a time that says nothing about how much of it is right. */
static bool same_token(const char *a, const char *b)
{
        unsigned different = 0;
        for (size_t i = 0; i < LOCAL_TOKEN_LEN; i++)
                different |= (unsigned char)a[i] ^ (unsigned char)b[i];
        return different == 0;
}

/* The borrower with TOKEN gets *FD. */
static bool let_in_at(struct export *x, const char *token, int *fd)
{
        bool found = false;
        pthread_mutex_lock(&x->lock);
        for (struct conn *c = x->conns; c && !found; c = c->export_next) {
                struct borrower *b = c->borrower;
                if (!b || !same_token(b->token, token))
                        continue;
                pthread_mutex_lock(&b->lock);
                found = !b->let_in;
                if (found)
                        b->fd = TAKE_FD(*fd);
                b->let_in = true;
                pthread_mutex_unlock(&b->lock);
                break;
        }
        pthread_mutex_unlock(&x->lock);
        return found;
}

static void on_caller(struct stream *s, unsigned events, void *arg)
{
        struct caller *k = arg;
        struct lender *l = k->lender;
        char token[LOCAL_TOKEN_LEN + 1];
        ssize_t n = recv(k->fd, token, sizeof token, MSG_DONTWAIT);
        bool found = false;
        (void)s;
        if (n < 0 && (errno == EAGAIN || errno == EINTR) && !(events & STREAM_HANGUP))
                return;
        for (struct export *x = l->process->exports; n == LOCAL_TOKEN_LEN && x && !found; x = x->next)
                found = let_in_at(x, token, &k->fd);
        if (!found && n > 0)
                refuse(l, "it shows no token that a client was given");
        caller_free(k);
}

static bool is_trusted(int fd)
{
        struct ucred peer;
        socklen_t len = sizeof peer;
        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && len == sizeof peer &&
               (peer.uid == 0 || peer.uid == geteuid());
}

static int caller_new(struct lender *l, int fd)
{
        struct caller *k = calloc(1, sizeof *k);
        if (!k)
                return -ENOMEM;
        *k = (struct caller){.lender = l, .next = l->callers, .at = &l->callers, .fd = fd};
        int r = loop_watch_fd(l->process->loop, fd, STREAM_READABLE, on_caller, k, &k->watch);
        if (r < 0) {
                free(k);
                return r;
        }
        if (k->next)
                k->next->at = &k->next;
        l->callers = k;
        l->n_callers++;
        timer_start(l->process->loop, &k->patience, CALLER_SECONDS * NS_PER_SEC, caller_late);
        return 0;
}

static void on_connection(struct stream *s, unsigned events, void *arg);

static void listen_again(struct timer *t)
{
        struct lender *l = CONTAINER_OF(t, struct lender, retry);
        stream_watch(l->watch, STREAM_READABLE, on_connection, l);
}

static void on_connection(struct stream *s, unsigned events, void *arg)
{
        struct lender *l = arg;
        (void)events;
        _cleanup_close_ int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) { /* out of something, for now */
                stream_watch(s, 0, on_connection, l);
                timer_start(l->process->loop, &l->retry, NS_PER_SEC, listen_again);
        }
        if (fd < 0)
                return;
        if (!is_trusted(fd))
                refuse(l, "it is neither root's nor the brick process's own user's");
        else if (l->n_callers < CALLERS_MAX && caller_new(l, fd) == 0)
                (void)TAKE_FD(fd);
}

/* ---- the socket -------------------------------------------------------------------------------------------------- */

/* Makes the directory beside CONTROL, for this user alone, and says the socket's path. */
static int make_place(const char *control, char *path, size_t size)
{
        struct stat st;
        const char *slash = strrchr(control, '/');
        int dir = slash ? (int)(slash - control) : 1;
        int n = snprintf(path, size, "%.*s%s", dir, slash ? control : ".", DIRECTORY);
        if (n < 0 || (size_t)n >= size)
                return -ENAMETOOLONG;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return -errno;
        if (lstat(path, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
                return -EPERM;
        int m = snprintf(path + n, size - (size_t)n, "/%s", slash ? slash + 1 : control);
        return m < 0 || (size_t)m >= size - (size_t)n ? -ENAMETOOLONG : 0;
}

static int listen_at(const char *path)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        memcpy(at.sun_path, path, strlen(path) + 1);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void)unlink(path); /* of a process that was killed: who has the control socket has this one */
        mode_t before = umask(0177);
        int r = bind(fd, (const struct sockaddr *)&at, sizeof at) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
        (void)umask(before);
        return r < 0 ? r : TAKE_FD(fd);
}

int lender_new(struct process *p, const char *control, struct lender **ret)
{
        struct lender *l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        l->process = p;
        int r = make_place(control, l->path, sizeof l->path);
        l->fd = r < 0 ? r : listen_at(l->path);
        r = l->fd < 0 ? l->fd : loop_watch_fd(p->loop, l->fd, STREAM_READABLE, on_connection, l, &l->watch);
        if (r < 0) {
                close_fd(l->fd);
                free(l);
                return r;
        }
        *ret = l;
        return 0;
}

struct lender *lender_free(struct lender *l)
{
        if (!l)
                return NULL;
        while (l->callers)
                caller_free(l->callers);
        timer_stop(&l->retry);
        stream_free(l->watch);
        close_fd(l->fd);
        (void)unlink(l->path);
        free(l);
        return NULL;
}
