/* The brick process from start to end (server.h). Control loop, except process_check_stopped().
 *
 * Ending: every brick is drained (drain.h); a second signal skips that. No new clients, every brick is detached, and
 * when the last one is closed and no task runs any more the loop stops. A disk that hangs can keep that from happening;
 * after STOP_SECONDS the process ends without it.
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/disk.h"
#include "base/log.h"
#include "brick/doorman.h"
#include "brick/drain.h"
#include "brick/lane.h"
#include "brick/lender.h"
#include "brick/unread.h"

#define STOP_SECONDS 10
#define CONNECTIONS_MAX 16384
#define ARENA_MAX (8 * MIB)
#define CODE_STOP_LATE 1
#define HEAPS_MIN 4
#define HEAP_CHUNK_MAX (4 * MIB) /* what is larger goes back to the kernel when it is freed */

/* ---- ending ------------------------------------------------------------------------------------------------------ */

static void stop_if_idle(void *arg)
{
        struct process *p = arg;
        if (p->stopping && atomic_load(&p->live_exports) == 0 && atomic_load(&p->live_tasks) == 0)
                loop_stop(p->loop);
}

void process_check_stopped(struct process *p)
{
        while (loop_post(p->loop, stop_if_idle, p) < 0)
                (void)usleep(1000);
}

static _noreturn_ void stop_late(struct timer *t)
{
        log_error("process", "Requests are still running on some storage after %d seconds: ending without them.",
                  STOP_SECONDS);
        _exit(CODE_STOP_LATE);
}

void process_stop(struct process *p)
{
        if (p->stopping)
                return;
        log_info("process", "Shutting down.");
        p->stopping = true;
        timer_start(p->loop, &p->stop_timer, STOP_SECONDS * NS_PER_SEC, stop_late);
        p->listener = listener_free(p->loop, p->listener);
        greeter_close_all(p);
        p->doorman = doorman_free(p->doorman);
        p->maintenance = maintenance_free(p->maintenance);
        while (p->exports)
                export_detach(p->exports, NULL, NULL);
        process_check_stopped(p);
}

void process_retire(struct process *p)
{
        struct export *next;
        if (p->retiring || p->stopping)
                return;
        log_info("process", "Shutting down as clients let go.");
        p->retiring = true;
        for (struct export *x = p->exports; x && !p->stopping; x = next) {
                next = x->next;
                drain_detach(x, NULL, NULL);
        }
        if (!p->exports)
                process_stop(p);
}

static void on_signal(struct stream *s, unsigned events, void *arg)
{
        struct process *p = arg;
        struct signalfd_siginfo info;
        while (read(p->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
                if (info.ssi_signo == SIGHUP)
                        continue;
                else if (p->retiring) /* asked again */
                        process_stop(p);
                else
                        process_retire(p);
}

static int watch_signals(struct process *p)
{
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
        (void)signal(SIGPIPE, SIG_IGN);
        p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (p->signal_fd < 0)
                return -errno;
        return loop_watch_fd(p->loop, p->signal_fd, STREAM_READABLE, on_signal, p, &p->signals);
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

static int listen_at(struct process *p, uint16_t port)
{
        const char *host = p->config->listen;
        char text[ADDRESS_TEXT_MAX];
        struct address at;
        bool bare_v6 = strchr(host, ':') && host[0] != '[';
        int n = snprintf(text, sizeof text, bare_v6 ? "[%s]:%u" : "%s:%u", host, port);
        if (n < 0 || (size_t)n >= sizeof text || address_parse(text, &at) < 0)
                return -EINVAL;
        int r = loop_listen(p->loop, &at, greeter_accept, p, &p->listener);
        if (r == 0)
                r = listener_address(p->loop, p->listener, &at);
        if (r == 0)
                p->port = address_port(&at);
        return r;
}

/* The first port of the range that can be bound, from a random one on: whoever binds has it. */
static int listen_in_range(struct process *p)
{
        const struct process_config *c = p->config;
        uint32_t count = (uint32_t)c->port_last - c->port_first + 1, from;
        loop_random(p->loop, &from, sizeof from);
        from %= count;
        int r = -EADDRINUSE;
        for (uint32_t i = 0; i < count && r == -EADDRINUSE; i++)
                r = listen_at(p, (uint16_t)(c->port_first + (from + i) % count));
        return r;
}

static int start_listening(struct process *p)
{
        const struct process_config *c = p->config;
        int r = listen_in_range(p);
        if (r < 0) {
                log_error("process", "Cannot listen at %s, port %u to %u: %s.", c->listen, c->port_first, c->port_last,
                          strerror(-r));
                return r;
        }
        log_info("process", "Listening at %s, port %u.", c->listen, p->port);
        return 0;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void tell_ready(struct process *p)
{
        int fd = p->config->ready_fd;
        if (fd < 0 || p->attaching > 0 || p->stopping)
                return;
        if (dprintf(fd, "%u\n", p->port) < 0)
                log_warning("process", "The readiness descriptor %d cannot be written to: %s.", fd, strerror(errno));
        close_fd(fd);
}

static void volfile_attached(struct export *x, int result, const char *error, void *arg)
{
        struct process *p = arg;
        p->attaching--;
        if (result < 0) {
                p->exit_code = 1;
                process_stop(p);
        }
        tell_ready(p);
}

static int read_file(const char *path, struct buf *b)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (;;) {
                int r = buf_reserve(b, 64 * KIB);
                if (r < 0)
                        return r;
                ssize_t n = read(fd, b->data + b->len, b->cap - b->len);
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                b->len += (size_t)n;
        }
}

static int attach_file(struct process *p, const char *path)
{
        _cleanup_buf_ struct buf b = BUF_INIT(SPEC_LIMIT);
        _cleanup_free_ struct export_config *config = malloc(sizeof *config);
        struct error e = {0};
        int r = config ? read_file(path, &b) : -ENOMEM;
        if (r < 0)
                (void)error_set(&e, r, "%s.", strerror(-r));
        else
                r = export_config_parse((const char *)b.data, b.len, config, &e);
        if (r == 0) {
                r = export_attach(p, config, volfile_attached, p);
                if (r < 0)
                        (void)error_set(&e, r, "%s.", strerror(-r));
        }
        if (r < 0)
                log_error("process", "Volfile %s: %s", path, e.text);
        else
                p->attaching++;
        return r;
}

/* Without this, glibc keeps what large records and answers took once: up to 64 MiB in each of its heaps, of which there
 * are eight for every processor. */
static void tame_heap(void)
{
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        (void)mallopt(M_ARENA_MAX, (int)MAX(2 * cpus, (long)HEAPS_MIN));
        (void)mallopt(M_MMAP_THRESHOLD, HEAP_CHUNK_MAX);
        (void)mallopt(M_TRIM_THRESHOLD, HEAP_CHUNK_MAX);
}

static void raise_limits(struct process *p)
{
        struct rlimit l;
        if (getrlimit(RLIMIT_NOFILE, &l) < 0)
                l = (struct rlimit){.rlim_cur = 1024};
        l.rlim_cur = l.rlim_max > l.rlim_cur ? l.rlim_max : l.rlim_cur;
        (void)setrlimit(RLIMIT_NOFILE, &l);
        p->conn_max = (uint32_t)MIN(l.rlim_cur - l.rlim_cur / 4, (rlim_t)CONNECTIONS_MAX); /* the rest is for files */
}

static void make_uuid(struct process *p)
{
        uint8_t random[16];
        char text[GFID_TEXT_LEN + 1];
        loop_random(p->loop, random, sizeof random);
        struct gfid id = gfid_from_random(random);
        (void)snprintf(p->uuid, sizeof p->uuid, "%s", gfid_format(&id, text));
}

static void start_lending(struct process *p)
{
        int r = lender_new(p, p->config->control, &p->lender);
        if (r < 0)
                log_warning("process", "Clients on this machine will not read by themselves, which would be faster: the socket "
                            "for them, in a directory beside %s, cannot be made: %s.", p->config->control, strerror(-r));
}

static int process_start(struct process *p)
{
        const struct process_config *c = p->config;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        p->lanes_per_brick = (unsigned)MIN(MAX(cpus, 1L), (long)PROCESS_LANES_MAX);
        raise_limits(p);
        tame_heap();
        make_uuid(p);
        (void)umask(0); /* clients say what the modes of their files are */
        int r = watch_signals(p);
        if (r == 0)
                r = disk_posix_new(&p->disk);
        if (r == 0)
                r = watchdog_new(&p->watchdog);
        if (r == 0)
                r = maintenance_new(p, &p->maintenance);
        if (r < 0)
                log_error("process", "Cannot start: %s.", strerror(-r));
        if (r == 0)
                r = start_listening(p);
        if (r == 0)
                unread_watch(p);
        if (r == 0 && c->control) {
                r = control_start(p, c->control);
                if (r < 0)
                        log_error("process", "Cannot serve the control socket %s: %s.", c->control, strerror(-r));
        }
        if (r == 0 && c->control)
                start_lending(p);
        for (size_t i = 0; r == 0 && i < c->volfile_count; i++)
                r = attach_file(p, c->volfiles[i]);
        return r;
}

static void process_done(struct process *p)
{
        timer_stop(&p->stop_timer);
        timer_stop(&p->unread_timer);
        p->control = rpc_server_free(p->control);
        p->lender = lender_free(p->lender);
        p->listener = listener_free(p->loop, p->listener);
        greeter_close_all(p);
        p->maintenance = maintenance_free(p->maintenance);
        p->watchdog = watchdog_free(p->watchdog);
        p->signals = stream_free(p->signals);
        p->signal_fd = close_fd(p->signal_fd);
        p->disk = disk_free(p->disk);
        arena_done(&p->arena);
        p->loop = loop_free(p->loop);
}

int process_run(const struct process_config *config)
{
        struct process p = {.config = config, .signal_fd = -EBADF, .arena = ARENA_INIT(ARENA_MAX)};
        int r = loop_epoll_new(&p.loop);
        if (r < 0) {
                log_error("process", "Cannot start: %s.", strerror(-r));
                return 1;
        }
        r = process_start(&p);
        if (r < 0) {
                p.exit_code = 1;
                process_stop(&p);
        } else {
                tell_ready(&p);
        }
        r = loop_run(p.loop);
        if (r < 0)
                log_error("process", "The event loop failed: %s.", strerror(-r));
        process_done(&p);
        return r < 0 ? 1 : p.exit_code;
}
