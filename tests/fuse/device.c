#include "device.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define DEADLINE (30 * NS_PER_SEC)

/* ---- the recording file system ------------------------------------------------------------------------------------
 */

static void record(struct device *d, struct fuse_request *rq)
{
        struct record *r = &d->last;
        free(r->data);
        *r = (struct record){.opcode = rq->opcode, .uid = rq->uid, .gid = rq->gid, .pid = rq->pid, .node = rq->node};
        switch (rq->opcode) {
#define COPY_FIXED(NAME, op, in_type, names, data_kind, minor, missing)                                                \
        case FUSE_##NAME:                                                                                              \
                memcpy(r->fixed, rq->in.op, sizeof(struct fuse_##in_type##_in));                                       \
                break;
                FUSE_OPERATIONS(COPY_FIXED)
        }
        if (rq->name)
                (void)snprintf(r->name, sizeof r->name, "%s", rq->name);
        if (rq->new_name)
                (void)snprintf(r->new_name, sizeof r->new_name, "%s", rq->new_name);
        r->size = rq->size;
        if (rq->data) {
                r->data = malloc(rq->size + 1);
                memcpy(r->data, rq->data, rq->size);
                r->aligned = (uintptr_t)rq->data % 4096 == 0;
        }
        d->asked++;
}

static int answer_entry(struct fuse_request *rq)
{
        struct fuse_entry e = {.node = 77,
                               .generation = 3,
                               .entry_timeout = 2500000000,
                               .attr_timeout = 1000000001,
                               .attr = {.ino = 77, .mode = S_IFREG | 0644}};
        if (rq->opcode == FUSE_CREATE || rq->opcode == FUSE_TMPFILE)
                return fuse_reply_created(rq, &e, FH, FOPEN_KEEP_CACHE);
        return fuse_reply_entry(rq, &e);
}

static int answer_dir(struct fuse_request *rq)
{
        struct fuse_entry e = {.node = 78, .attr = {.ino = 78, .mode = S_IFREG}};
        struct fuse_dir dir;
        int r = fuse_dir_begin(&dir, rq);
        if (r < 0)
                return fuse_reply_error(rq, r);
        char name[16];
        for (unsigned i = 0; r == 0; i++) {
                int n = snprintf(name, sizeof name, "file%05u", i);
                r = fuse_dir_add(&dir, name, (size_t)n, 100 + i, S_IFREG | 0600, i + 1, &e);
        }
        assert_int_equal(r, -ENOSPC);
        return fuse_reply_dir(rq, &dir);
}

static int answer(struct fuse_request *rq)
{
        static const struct fuse_attr attr = {.ino = 5, .size = 123};
        static const struct fuse_statx sx = {.ino = 5};
        static const struct fuse_kstatfs sf = {.blocks = 9};
        static const struct fuse_file_lock lk = {.start = 4, .end = 9, .type = 1};
        static const char bytes[] = "0123456789";
        switch (rq->opcode) {
        case FUSE_LOOKUP:
        case FUSE_MKNOD:
        case FUSE_MKDIR:
        case FUSE_SYMLINK:
        case FUSE_LINK:
        case FUSE_CREATE:
        case FUSE_TMPFILE:
                return answer_entry(rq);
        case FUSE_GETATTR:
        case FUSE_SETATTR:
                return fuse_reply_attr(rq, &attr, 1500000000);
        case FUSE_STATX:
                return fuse_reply_statx(rq, &sx, 1500000000);
        case FUSE_OPEN:
        case FUSE_OPENDIR:
                return fuse_reply_opened(rq, FH, FOPEN_DIRECT_IO);
        case FUSE_READ:
        case FUSE_READLINK:
                return fuse_reply_data(rq, bytes, MIN(sizeof bytes - 1, fuse_reply_max(rq)));
        case FUSE_READDIR:
        case FUSE_READDIRPLUS:
                return answer_dir(rq);
        case FUSE_WRITE:
        case FUSE_COPY_FILE_RANGE:
        case FUSE_COPY_FILE_RANGE_64:
                return fuse_reply_written(rq, 11);
        case FUSE_STATFS:
                return fuse_reply_statfs(rq, &sf);
        case FUSE_GETXATTR:
        case FUSE_LISTXATTR:
                return fuse_reply_xattr(rq, bytes, sizeof bytes - 1);
        case FUSE_GETLK:
                return fuse_reply_lock(rq, &lk);
        case FUSE_LSEEK:
                return fuse_reply_offset(rq, 4096);
        case FUSE_POLL:
                return fuse_reply_poll(rq, 1);
        case FUSE_BMAP:
                return fuse_reply_bmap(rq, 17);
        default:
                return fuse_reply_ok(rq);
        }
}

static void hold(struct fibre *self, struct device *d, struct fuse_request *rq)
{
        assert_true(d->n_held < ELEMENTSOF(d->held));
        d->held[d->n_held++] = self;
        rq->interrupted.waiter = self;
        while (!d->released && !rq->interrupted.done)
                fibre_suspend(self);
        rq->interrupted.waiter = NULL;
        for (unsigned i = 0; i < d->n_held; i++)
                if (d->held[i] == self)
                        d->held[i] = d->held[--d->n_held];
        if (rq->interrupted.done) {
                d->interrupted++;
                d->last.reply = fuse_reply_error(rq, -EINTR);
        } else {
                d->last.reply = answer(rq);
        }
}

static void op(struct fibre *self, struct fuse_request *rq)
{
        struct device *d = rq->arg;
        record(d, rq);
        if (d->behaviour == HOLD && (d->hold_opcode == 0 || d->hold_opcode == rq->opcode)) {
                hold(self, d, rq);
                return;
        }
        switch (d->behaviour) {
        case FORGETFUL:
                break;
        case TOO_LARGE: {
                uint8_t *data = arena_alloc(rq->arena, fuse_reply_max(rq) + 1);
                d->last.reply = fuse_reply_data(rq, data, fuse_reply_max(rq) + 1);
                break;
        }
        case FAIL:
                d->last.reply = fuse_reply_error(rq, d->error);
                break;
        case TWICE:
                d->last.reply = answer(rq);
                d->last.second = answer(rq);
                break;
        default:
                d->last.reply = answer(rq);
        }
        assert_true(fuse_replied(rq) == (d->behaviour != FORGETFUL));
}

static void op_forget(struct fuse_session *s, uint64_t node, uint64_t n, void *arg)
{
        struct device *d = arg;
        d->forgotten += n;
        d->forgotten_sum += node * n;
}

#define OPS_MEMBER(NAME, name, in, names, data, minor, missing) .name = op,
const struct fuse_ops recording_ops = {FUSE_OPERATIONS(OPS_MEMBER).forget = op_forget};

void release_held(struct device *d)
{
        d->released = true;
        for (unsigned i = 0; i < d->n_held; i++)
                fibre_wake(d->held[i]);
}

/* ---- the kernel ----------------------------------------------------------------------------------------------------
 */

static void on_kernel_event(struct stream *s, unsigned events, void *arg)
{
        struct device *d = arg;
        stream_watch(s, 0, on_kernel_event, d);
        if (d->waiter)
                fibre_wake(d->waiter);
}

static void kernel_wait(struct fibre *self, struct device *d, unsigned events)
{
        d->waiter = self;
        stream_watch(d->watch, events, on_kernel_event, d);
        fibre_suspend(self);
        d->waiter = NULL;
}

void kernel_send_raw(struct fibre *self, struct device *d, const void *message, size_t n)
{
        while (send(d->kernel, message, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
                if (errno != EAGAIN)
                        fail_msg("the session's end is gone: %s", strerror(errno));
                kernel_wait(self, d, STREAM_WRITABLE);
        }
}

uint64_t kernel_send(struct fibre *self, struct device *d, uint32_t opcode, const struct iovec *parts, int n)
{
        d->unique += 2;
        struct fuse_in_header h = {
                .len = sizeof h, .opcode = opcode, .unique = d->unique, .nodeid = 7, .uid = 11, .gid = 12, .pid = 13};
        for (int i = 0; i < n; i++)
                h.len += (uint32_t)parts[i].iov_len;
        uint8_t *message = malloc(h.len);
        memcpy(message, &h, sizeof h);
        size_t at = sizeof h;
        for (int i = 0; i < n; i++) {
                if (parts[i].iov_len > 0)
                        memcpy(message + at, parts[i].iov_base, parts[i].iov_len);
                at += parts[i].iov_len;
        }
        kernel_send_raw(self, d, message, at);
        free(message);
        return h.unique;
}

bool kernel_has_answer(struct device *d)
{
        char c;
        return recv(d->kernel, &c, 1, MSG_DONTWAIT | MSG_PEEK) >= 0;
}

size_t kernel_receive(struct fibre *self, struct device *d, struct fuse_out_header *ret)
{
        ssize_t n;
        while ((n = recv(d->kernel, d->message, DEVICE_MESSAGE_MAX, MSG_DONTWAIT)) < 0) {
                assert_int_equal(errno, EAGAIN);
                kernel_wait(self, d, STREAM_READABLE);
        }
        assert_true((size_t)n >= sizeof *ret);
        memcpy(ret, d->message, sizeof *ret);
        assert_int_equal(ret->len, n);
        memmove(d->message, d->message + sizeof *ret, (size_t)n - sizeof *ret);
        return (size_t)n - sizeof *ret;
}

void kernel_expect_error(struct fibre *self, struct device *d, uint64_t unique, int error)
{
        struct fuse_out_header h;
        assert_int_equal(kernel_receive(self, d, &h), 0);
        assert_int_equal(h.unique, unique);
        assert_int_equal(h.error, error);
}

void kernel_init_as(struct fibre *self, struct device *d, uint32_t minor, uint64_t flags, struct fuse_init_out *ret)
{
        struct fuse_init_in in = {.major = 7,
                                  .minor = minor,
                                  .max_readahead = 131072,
                                  .flags = (uint32_t)flags,
                                  .flags2 = (uint32_t)(flags >> 32)};
        /* Before 7.36 the structure ended after flags. */
        uint64_t unique = kernel_send(self, d, FUSE_INIT, &(struct iovec){&in, minor < 36 ? 16 : sizeof in}, 1);
        struct fuse_out_header h;
        size_t n = kernel_receive(self, d, &h);
        assert_int_equal(h.unique, unique);
        assert_int_equal(h.error, 0);
        assert_int_equal(n, sizeof *ret);
        memcpy(ret, d->message, sizeof *ret);
}

void kernel_init(struct fibre *self, struct device *d)
{
        struct fuse_init_out out;
        kernel_init_as(self, d, 45, FLAGS_ALL, &out);
        assert_int_equal(d->inits, 1);
}

void kernel_close(struct device *d)
{
        d->watch = stream_free(d->watch);
        d->kernel = close_fd(d->kernel);
}

void wait_until(struct fibre *self, struct device *d, const unsigned *count, unsigned n)
{
        while (*count != n)
                fibre_yield(self);
}

/* ---- running ------------------------------------------------------------------------------------------------------
 */

static void on_init(struct fuse_session *s, const struct fuse_protocol *p, void *arg)
{
        struct device *d = arg;
        d->inits++;
        d->protocol = *p;
}

static void on_end(struct fuse_session *s, int reason, void *arg)
{
        struct device *d = arg;
        d->ends++;
        d->end_reason = reason;
}

static void on_deadline(struct timer *t)
{
        (void)fprintf(stderr, "the scenario hangs\n");
        abort();
}

struct scenario {
        struct device *d;
        scenario_fn fn;
};

static void scenario_run(struct fibre *self, void *arg)
{
        struct scenario *sc = arg;
        struct device *d = sc->d;
        sc->fn(self, d);
        unsigned ends = d->ends;
        d->session = fuse_session_free(self, d->session);
        assert_int_equal(d->ends, ends);
        loop_stop(d->loop);
}

void device_run(scenario_fn fn, void (*configure)(struct device *d))
{
        (void)signal(SIGPIPE, SIG_IGN);
        struct device *d = calloc(1, sizeof *d);
        int fds[2], size = 4 << 20;
        assert_ok(loop_epoll_new(&d->loop));
        loop_set_stall_limit(d->loop, 5 * NS_PER_SEC, true);
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
        for (int i = 0; i < 2; i++)
                if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
                        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        d->kernel = fds[1];
        d->message = malloc(DEVICE_MESSAGE_MAX);
        d->config = (struct fuse_session_config){.loop = d->loop,
                                                 .ops = &recording_ops,
                                                 .arg = d,
                                                 .choices = FUSE_CHOICES_DEFAULT,
                                                 .max_write = 128 * KIB,
                                                 .on_init = on_init,
                                                 .on_end = on_end};
        if (configure)
                configure(d);
        assert_ok(fuse_session_new(&d->config, fds[0], &d->session));
        assert_ok(loop_watch_fd(d->loop, d->kernel, 0, on_kernel_event, d, &d->watch));
        timer_start(d->loop, &d->deadline, DEADLINE, on_deadline);
        struct scenario sc = {d, fn};
        assert_ok(fibre_start(d->loop, "scenario", scenario_run, &sc));
        assert_ok(loop_run(d->loop));
        timer_stop(&d->deadline);
        kernel_close(d);
        d->loop = loop_free(d->loop);
        free(d->last.data);
        free(d->message);
        free(d);
}
