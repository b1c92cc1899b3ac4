/* The mount process (process.h): one loop; a fibre that brings the mount up, waits for its end, and takes it down.
 *
 * Up: volfile → volume → its root answers → mount(2) → the kernel's INIT; each step has a time limit, and a failure
 * undoes what was done before. Down: the file system is unmounted (by an administrator, or lazily by us after a
 * signal), the session ends, the volume finishes what is under way. Who does not end in time is ended.
 *
 * Signals: TERM and INT end it, a second one at once; HUP opens the log file again; USR1 writes figures to the log.
 */
#include "mount/process.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "fuse/mount.h"
#include "mount/bridge.h"
#include "mount/log_file.h"
#include "mount/place.h"
#include "mount/volfile_source.h"
#include "rpc/secure_access.h"
#include "volume/fetch.h"

#define COMPONENT "mount"
#define SECURE_ACCESS_FILE "/var/lib/glusterd/secure-access"
#define MAX_READ (1u << 20)
#define READ_AHEAD_KIB 1024 /* as much as one request may ask for */
#define INIT_TIMEOUT (10 * NS_PER_SEC)
#define LEAVE_TIMEOUT (5 * NS_PER_SEC) /* users of a file system that was unmounted lazily */
#define END_TIMEOUT (15 * NS_PER_SEC)  /* everything else at the end */
#define SERVER_TIMEOUT_MIN (2 * NS_PER_SEC)
#define STATUS_FAILED 1

struct mount_process {
        const struct mount_options *o;
        const char *path;
        struct daemon *daemon;
        char name[NAME_MAX + 1]; /* of the volume, for logs */

        struct loop *loop;
        struct secure_access secure;
        struct fetch *fetch;
        struct buf text; /* of the volfile in force */
        struct bridge *bridge;
        struct volume *volume;
        struct fuse_session *session;
        bool mounted;

        int signal_fd;
        struct stream *signals;
        unsigned terminations;
        struct fibre_event initialised; /* the kernel's INIT was answered */
        struct fibre_event ended;       /* no request comes any more */
        struct fibre_event asked_to_end;
        struct timer leave_timer, end_timer;
        bool reloading, reload_again, ending;
        unsigned volfiles; /* how often one was fetched after the first */
        uint64_t deadline; /* to come up */
        int status;
};

static uint64_t time_left(const struct mount_process *p)
{
        uint64_t now = loop_now(p->loop);
        return p->deadline > now ? p->deadline - now : 1;
}

/* ---- blocking calls, on a thread --------------------------------------------------------------------------------- */

struct job {
        void (*fn)(struct mount_process *p, struct job *j);
        struct mount_process *p;
        struct fibre_event done;
        int fd, result;
        unsigned flags;
        struct error err;
};

static void job_done(void *arg)
{
        struct job *j = arg;
        fibre_event_set(&j->done);
}

static void *job_main(void *arg)
{
        struct job *j = arg;
        j->fn(j->p, j);
        while (loop_post(j->p->loop, job_done, j) < 0)
                (void)usleep(1000);
        return NULL;
}

static void job_run(struct fibre *self, struct job *j)
{
        pthread_t thread;
        int r = pthread_create(&thread, NULL, job_main, j);
        if (r != 0) {
                j->result = error_set(&j->err, -r, "A thread cannot be started: %s", strerror(r));
                return;
        }
        (void)fibre_event_wait(self, &j->done, UINT64_MAX);
        (void)pthread_join(thread, NULL);
}

static void job_mount(struct mount_process *p, struct job *j)
{
        struct fuse_mount_options m = {.source = p->o->source,
                                       .subtype = "glusterfs",
                                       .flags = p->o->kernel_flags,
                                       .allow_other = true,
                                       .default_permissions = !p->o->acl,
                                       .max_read = MAX_READ,
                                       .extra = p->o->kernel_options};
        j->result = fuse_mount(&m, p->path, &j->fd, &j->err);
        if (j->result == 0)
                daemon_watch_this(p->daemon, p->path);
}

static void job_read_ahead(struct mount_process *p, struct job *j)
{
        int r = place_read_ahead(p->path, READ_AHEAD_KIB);
        if (r < 0)
                log_debug(COMPONENT, "the kernel reads ahead as much as it does by itself: %s", strerror(-r));
}

static void job_unmount(struct mount_process *p, struct job *j)
{
        int id;
        bool ours;
        if (place_mounted(p->path, &id, &ours) == 0 && ours)
                j->result = fuse_unmount(p->path, j->flags, &j->err);
}

static void unmount_lazily(struct fibre *self, struct mount_process *p)
{
        struct job j = {.fn = job_unmount, .p = p, .flags = FUSE_UNMOUNT_LAZY};
        job_run(self, &j);
        if (j.result < 0)
                log_warning(COMPONENT, "%s cannot be unmounted: %s", p->path, j.err.text);
}

/* ---- the volfile ------------------------------------------------------------------------------------------------- */

static int fetch_once(struct fibre *self, struct mount_process *p, struct buf *text, struct error *err)
{
        return p->o->volfile ? volfile_read_file(p->o->volfile, text, err) : fetch_volfile(self, p->fetch, text, err);
}

static int fetch_first(struct fibre *self, struct mount_process *p, struct error *err)
{
        uint32_t attempts = MAX(p->o->fetch_attempts, 1u);
        int r = -ENOENT;
        for (uint32_t i = 0; i < attempts; i++) {
                buf_reset(&p->text, 0);
                r = fetch_once(self, p, &p->text, err);
                if (r == 0 || r == -ENOENT || r == -EOPNOTSUPP || loop_now(p->loop) >= p->deadline)
                        break;
        }
        return r;
}

/* Options take effect in place, other bricks or sets as another graph. */
static int take_volfile(struct fibre *self, struct mount_process *p, const struct volfile *v, struct error *err)
{
        int r = volume_reload(self, p->volume, v, err);
        if (r != -EOPNOTSUPP)
                return r;
        r = volume_replace(self, p->volume, v, err);
        if (r == 0) {
                bridge_graph_changed(p->bridge);
                log_notice(COMPONENT, "The volume's bricks or sets have changed; the mount uses the new ones.");
        }
        return r;
}

/* The volfile may have changed. What cannot be taken leaves everything as it is. */
static void reload_once(struct fibre *self, struct mount_process *p)
{
        struct error err = {0};
        _cleanup_volfile_ struct volfile *v = NULL;
        struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        int r = fetch_once(self, p, &text, &err);
        p->volfiles++;
        if (r == 0 && text.len == p->text.len && memcmp(text.data, p->text.data, text.len) == 0) {
                buf_done(&text);
                log_debug(COMPONENT, "The volfile was fetched again, and is the same.");
                return;
        }
        if (r == 0)
                r = volfile_from_text(p->o, &text, &v, &err);
        if (r == 0)
                r = take_volfile(self, p, v, &err);
        if (r < 0) {
                buf_done(&text);
                if (r != -ECANCELED)
                        log_warning(COMPONENT,
                                    "The volume's options or bricks have changed; this mount goes on with what it had: "
                                    "%s",
                                    err.text);
                return;
        }
        buf_done(&p->text);
        p->text = text;
        bridge_set_invalidation(p->bridge, volfile_invalidation_time(v));
        bridge_set_write_behind(p->bridge, volfile_write_behind(v));
        log_info(COMPONENT, "Changed options of the volume are in force.");
}

static void reload(struct fibre *self, void *arg)
{
        struct mount_process *p = arg;
        do {
                p->reload_again = false;
                reload_once(self, p);
        } while (p->reload_again && !p->ending);
        p->reloading = false;
}

static void reload_begin(struct mount_process *p)
{
        if (p->reloading || p->ending || !p->volume || !p->session)
                return;
        p->reloading = fibre_start(p->loop, "reload", reload, p) == 0;
}

static void on_volfile_change(struct fetch *f, void *arg)
{
        struct mount_process *p = arg;
        p->reload_again = true;
        reload_begin(p);
}

/* ---- coming up --------------------------------------------------------------------------------------------------- */

static int make_fetch(struct mount_process *p, struct error *err)
{
        struct fetch_server servers[MOUNT_SERVERS_MAX];
        const struct mount_options *o = p->o;
        if (o->volfile)
                return 0;
        int r = secure_access_load(&p->secure, SECURE_ACCESS_FILE, err);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < o->servers.n; i++)
                servers[i] = (struct fetch_server){.host = o->servers.v[i], .port = (uint16_t)o->server_port};
        uint64_t share = o->mount_timeout / (2 * o->servers.n); /* so that the last one is asked in time, too */
        struct fetch_config config = {.servers = servers,
                                      .n_servers = o->servers.n,
                                      .key = o->volume_id,
                                      .tls = p->secure.on ? &p->secure.source : NULL,
                                      .timeout = MAX(share, SERVER_TIMEOUT_MIN),
                                      .on_change = on_volfile_change,
                                      .arg = p};
        r = fetch_new(p->loop, &config, &p->fetch);
        return r < 0 ? error_set(err, r, "The list of servers cannot be used: %s", strerror(-r)) : 0;
}

static int make_bridge(struct mount_process *p, struct error *err)
{
        const struct mount_options *o = p->o;
        struct bridge_config config = {.loop = p->loop,
                                       .owner = p,
                                       .acl = o->acl,
                                       .selinux = o->selinux,
                                       .ino32 = o->ino32,
                                       .keep_cache = o->keep_cache,
                                       .read_only = o->read_only,
                                       .direct_io = (enum bridge_direct_io)o->direct_io,
                                       .client_pid = o->client_pid,
                                       .attribute_timeout = o->attribute_timeout,
                                       .entry_timeout = o->entry_timeout,
                                       .negative_timeout = o->negative_timeout,
                                       .nodes_max = o->lru_limit};
        int r = bridge_new(&config, &p->bridge);
        return r < 0 ? error_set(err, r, "out of memory") : 0;
}

static int open_volume(struct fibre *self, struct mount_process *p, struct error *err)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        int r = volfile_from_text(p->o, &p->text, &v, err);
        if (r < 0)
                return r;
        struct volume_config config = {.loop = p->loop,
                                       .name = p->name,
                                       .volfile = v,
                                       .subdir = p->o->subdir,
                                       .pid = p->o->client_pid,
                                       .outage_wait = p->o->outage_wait,
                                       .management_tls = p->secure.on ? &p->secure.source : NULL,
                                       .hears_changes = true,
                                       .no_local_reads = !p->o->local_reads,
                                       .management_port = (uint16_t)p->o->server_port,
                                       .on_event = bridge_event,
                                       .arg = p->bridge};
        bridge_set_invalidation(p->bridge, volfile_invalidation_time(v));
        bridge_set_write_behind(p->bridge, volfile_write_behind(v));
        r = volume_open(&config, &p->volume, err);
        if (r == 0)
                r = volume_wait_up(self, p->volume, time_left(p), err);
        if (r == 0)
                r = bridge_open_root(self, p->bridge, p->volume, time_left(p), err);
        return r;
}

static void on_init(struct fuse_session *s, const struct fuse_protocol *protocol, void *arg)
{
        struct mount_process *p = bridge_owner(arg);
        log_info(COMPONENT, "The kernel speaks FUSE 7.%u.", protocol->minor);
        fibre_event_set(&p->initialised);
}

static void on_end(struct fuse_session *s, int reason, void *arg)
{
        struct mount_process *p = bridge_owner(arg);
        if (reason == -EPROTO)
                log_error(COMPONENT, "This kernel's FUSE is older than 7.31 (Linux 5.4).");
        else if (reason < 0)
                log_warning(COMPONENT, "The kernel ended the connection: %s", strerror(-reason));
        fibre_event_set(&p->ended);
        fibre_event_set(&p->asked_to_end);
        fibre_event_set(&p->initialised);
}

static int serve(struct fibre *self, struct mount_process *p, struct error *err)
{
        struct job j = {.fn = job_mount, .p = p, .fd = -EBADF};
        job_run(self, &j);
        if (j.result < 0)
                return error_set(err, j.result, "%s", j.err.text);
        p->mounted = true;
        struct fuse_session_config config = {.loop = p->loop,
                                             .ops = bridge_operations(),
                                             .arg = p->bridge,
                                             .choices = bridge_choices(p->bridge),
                                             .max_background = (uint16_t)MIN(p->o->background, (uint32_t)UINT16_MAX),
                                             .congestion_threshold =
                                                     (uint16_t)MIN(p->o->congestion, (uint32_t)UINT16_MAX),
                                             .groups_timeout = p->o->gid_timeout,
                                             .minor_max = p->o->fuse_minor,
                                             .on_init = on_init,
                                             .on_end = on_end};
        if (!p->o->readdirp)
                config.choices &= ~(uint64_t)(FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO);
        if (!p->o->auto_invalidation)
                config.choices &= ~(uint64_t)FUSE_AUTO_INVAL_DATA;
        if (p->o->io_uring)
                config.choices |= FUSE_OVER_IO_URING;
        int r = fuse_session_new(&config, j.fd, &p->session);
        if (r < 0) {
                close_fd(j.fd);
                return error_set(err, r, "The kernel's FUSE device cannot be served: %s", strerror(-r));
        }
        bridge_serve(p->bridge, p->session);
        r = fibre_event_wait(self, &p->initialised, INIT_TIMEOUT);
        if (r < 0 || p->ended.done)
                return error_set(err, -EIO, "The kernel did not begin to use the mount");
        job_run(self, &(struct job){.fn = job_read_ahead, .p = p});
        return 0;
}

static int come_up(struct fibre *self, struct mount_process *p, struct error *err)
{
        int r = make_fetch(p, err);
        if (r == 0)
                r = fetch_first(self, p, err);
        if (r == 0)
                r = make_bridge(p, err);
        if (r == 0)
                r = open_volume(self, p, err);
        if (r == 0)
                r = serve(self, p, err);
        return r;
}

/* ---- going down -------------------------------------------------------------------------------------------------- */

static _noreturn_ void end_late(struct timer *t)
{
        log_error(COMPONENT, "Bricks did not answer at the end; what was under way is given up.");
        _exit(STATUS_FAILED);
}

static void go_down(struct fibre *self, struct mount_process *p)
{
        p->ending = true;
        if (p->volume)
                volume_keep_graph(p->volume);
        timer_start(p->loop, &p->end_timer, END_TIMEOUT + LEAVE_TIMEOUT, end_late);
        if (p->mounted && !p->ended.done)
                unmount_lazily(self, p);
        if (p->session)
                (void)fibre_event_wait(self, &p->ended, LEAVE_TIMEOUT);
        if (p->bridge)
                bridge_serve(p->bridge, NULL);
        p->session = fuse_session_free(self, p->session);
        p->fetch = fetch_free(self, p->fetch);
        while (p->reloading)
                fibre_sleep(self, NS_PER_MSEC);
        if (p->bridge)
                bridge_settle(self, p->bridge);
        bridge_close(p->bridge);
        if (p->volume)
                p->volume = volume_close(self, p->volume);
        p->bridge = bridge_free(p->bridge);
        timer_stop(&p->end_timer);
}

static void life(struct fibre *self, void *arg)
{
        struct mount_process *p = arg;
        struct error err = {0};
        p->deadline = loop_now(p->loop) + p->o->mount_timeout;
        int r = come_up(self, p, &err);
        if (r == 0) {
                log_info(COMPONENT, "%s is mounted at %s.", p->o->source, p->path);
                daemon_report(p->daemon, 0, NULL);
                if (!p->o->foreground)
                        daemon_close_standard();
                if (p->reload_again) /* while it came up */
                        reload_begin(p);
                (void)fibre_event_wait(self, &p->asked_to_end, UINT64_MAX);
                log_info(COMPONENT, "%s is unmounted from %s.", p->o->source, p->path);
        }
        go_down(self, p);
        if (r < 0) {
                char text[ERROR_TEXT_MAX + PATH_MAX];
                (void)snprintf(text, sizeof text, "%s\nMounting glusterfs on %s failed.", err.text, p->o->mountpoint);
                log_error(COMPONENT, "%s", err.text); /* the last line: the kubelet shows it */
                if (p->daemon->report < 0)
                        (void)fprintf(stderr, "%s\n", text);
                daemon_report(p->daemon, STATUS_FAILED, text);
                p->status = STATUS_FAILED;
        }
        loop_stop(p->loop);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void write_figures(const struct mount_process *p)
{
        struct bridge_stats b = {0};
        struct fuse_stats f = {0};
        if (!p->bridge || !p->session)
                return;
        bridge_get_stats(p->bridge, &b);
        fuse_session_stats(p->session, &f);
        log_notice(
                COMPONENT,
                "objects %u, open files %u, evictions %llu, invalidations %llu; requests %llu, in flight %u, peak %u, "
                "waiting for locks %u, errors %llu, notifications %llu, dropped %llu; volfiles fetched again %u",
                b.nodes, b.files, (unsigned long long)b.evictions, (unsigned long long)b.invalidations,
                (unsigned long long)f.requests, f.in_flight, f.in_flight_peak, f.waiting, (unsigned long long)f.errors,
                (unsigned long long)f.notifications, (unsigned long long)f.notifications_dropped, p->volfiles);
        if (p->volume)
                volume_report(p->volume);
}

static void on_termination(struct mount_process *p)
{
        if (p->terminations++ > 0) {
                (void)umount2(p->path, MNT_DETACH);
                _exit(STATUS_FAILED);
        }
        log_notice(COMPONENT, "Asked to end: unmounting %s.", p->path);
        fibre_event_set(&p->asked_to_end);
}

static void on_signal(struct stream *s, unsigned events, void *arg)
{
        struct mount_process *p = arg;
        struct signalfd_siginfo info;
        while (read(p->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
                if (info.ssi_signo == SIGHUP)
                        log_file_reopen();
                else if (info.ssi_signo == SIGUSR1)
                        write_figures(p);
                else
                        on_termination(p);
        }
}

static int watch_signals(struct mount_process *p)
{
        sigset_t set;
        sigemptyset(&set);
        for (const int *s = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0}; *s; s++)
                sigaddset(&set, *s);
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
        (void)signal(SIGPIPE, SIG_IGN);
        p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (p->signal_fd < 0)
                return -errno;
        return loop_watch_fd(p->loop, p->signal_fd, STREAM_READABLE, on_signal, p, &p->signals);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void set_limits(const struct mount_options *o)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &limit);
        }
        (void)mallopt(M_ARENA_MAX, 2); /* one thread does nearly all */
        if (!o->oom_score_set)
                return;
        FILE *f = fopen("/proc/self/oom_score_adj", "we");
        bool ok = f && fprintf(f, "%d", o->oom_score) > 0;
        if (!f || fclose(f) != 0 || !ok)
                log_warning(COMPONENT, "oom-score-adj cannot be set: %s", strerror(errno));
}

/* "/gv0.tcp" is volume gv0. */
static void set_name(struct mount_process *p)
{
        const char *id = p->o->volume_id ? p->o->volume_id : p->o->volfile;
        const char *slash = strrchr(id, '/');
        (void)snprintf(p->name, sizeof p->name, "%s", slash ? slash + 1 : id);
        char *dot = strchr(p->name, '.');
        if (dot && dot > p->name)
                *dot = '\0';
}

int process_run(const struct mount_options *o, const char *path, struct daemon *d)
{
        struct mount_process p = {
                .o = o, .path = path, .daemon = d, .signal_fd = -EBADF, .text = BUF_INIT(VOLFILE_TEXT_MAX)};
        set_name(&p);
        set_limits(o);
        int r = loop_epoll_new(&p.loop);
        if (r == 0)
                r = watch_signals(&p);
        if (r == 0)
                r = fibre_start(p.loop, "mount", life, &p);
        if (r == 0)
                r = loop_run(p.loop);
        if (r < 0) {
                log_error(COMPONENT, "The process cannot start: %s", strerror(-r));
                daemon_report(d, STATUS_FAILED, "The client process cannot start; see its log.");
                p.status = STATUS_FAILED;
        }
        stream_free(p.signals);
        close_fd(p.signal_fd);
        buf_done(&p.text);
        loop_free(p.loop);
        return p.status;
}
