/* The heal process (process.h): volfile → volume → healer, and the way back.
 *
 * A daemon goes on while the volume's volfile cannot be had, tries again, and takes changed options at once; when the
 * bricks themselves are others it closes the volume and opens it anew.
 *
 * Signals: HUP crawls the index, USR1 everything, TERM and INT end it, a second one at once.
 */
#include "heal/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "base/log.h"
#include "heal/control.h"
#include "rpc/secure_access.h"

#define COMPONENT "heal"
#define SECURE_ACCESS_FILE "/var/lib/glusterd/secure-access"
#define FETCH_TIMEOUT (10 * NS_PER_SEC)
#define RETRY_INTERVAL (3 * NS_PER_SEC)
#define INFO_PATIENCE (5 * NS_PER_SEC)
#define PIECE (64 * KIB)

enum { STATUS_DONE = 0, STATUS_LEFT = 1, STATUS_FAILED = 2 };

struct heal_process {
        const struct heal_options *o;
        struct loop *loop;
        struct secure_access secure;
        struct fetch *fetch;
        struct buf text; /* of the volfile in force */
        struct volfile *volfile;
        struct volume *volume;
        struct healer *healer;
        struct control *control;
        struct stream *signals;
        unsigned terminations;
        bool changed; /* some volfile may have */
        struct fibre_event poked;
        int status;
};

static void poke(struct heal_process *p)
{
        fibre_event_set(&p->poked);
        if (p->volume)
                volume_poke(p->volume);
}

static bool ending(const struct heal_process *p)
{
        return p->terminations > 0;
}

static void pause_for(struct fibre *self, struct heal_process *p, uint64_t time)
{
        p->poked = (struct fibre_event){0};
        if (!ending(p) && !p->changed)
                (void)fibre_event_wait(self, &p->poked, time);
        p->poked = (struct fibre_event){0};
}

/* ---- the volfile ------------------------------------------------------------------------------------------------- */

static int read_file(const char *path, struct buf *out, struct error *err)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return error_set(err, -errno, "The volfile %s cannot be read: %s", path, strerror(errno));
        for (;;) {
                uint8_t *at = buf_extend(out, PIECE);
                if (!at)
                        return error_set(err, out->error, "The volfile %s is too large", path);
                ssize_t n = read(fd, at, PIECE);
                out->len -= PIECE - (n > 0 ? (size_t)n : 0);
                if (n < 0)
                        return error_set(err, -errno, "The volfile %s cannot be read: %s", path, strerror(errno));
                if (n == 0)
                        return 0;
        }
}

static void on_change(struct fetch *f, void *arg)
{
        struct heal_process *p = arg;
        (void)f;
        p->changed = true;
        poke(p);
}

static int make_fetch(struct heal_process *p, struct error *err)
{
        char key[300];
        if (p->o->volfile || p->fetch)
                return 0;
        int r = secure_access_load(&p->secure, SECURE_ACCESS_FILE, err);
        if (r < 0)
                return r;
        (void)snprintf(key, sizeof key, "shd/%.255s", p->o->volume);
        const struct fetch_config config = {.servers = p->o->servers,
                                            .n_servers = p->o->n_servers,
                                            .key = key,
                                            .tls = p->secure.on ? &p->secure.source : NULL,
                                            .timeout = FETCH_TIMEOUT,
                                            .on_change = on_change,
                                            .arg = p};
        r = fetch_new(p->loop, &config, &p->fetch);
        return r < 0 ? error_set(err, r, "The list of servers cannot be used: %s", strerror(-r)) : 0;
}

static int get_volfile(struct fibre *self, struct heal_process *p, struct buf *text, struct volfile **ret,
                       struct error *err)
{
        int r = make_fetch(p, err);
        p->changed = false;
        if (r == 0)
                r = p->o->volfile ? read_file(p->o->volfile, text, err) : fetch_volfile(self, p->fetch, text, err);
        return r < 0 ? r : volfile_parse((const char *)text->data, text->len, ret, err);
}

/* ---- the volume -------------------------------------------------------------------------------------------------- */

static void close_volume(struct fibre *self, struct heal_process *p)
{
        if (p->healer)
                healer_stop(self, p->healer);
        p->control = control_free(self, p->control);
        p->healer = healer_free(p->healer);
        p->volume = volume_close(self, p->volume);
        p->volfile = volfile_free(p->volfile);
}

static int open_volume(struct fibre *self, struct heal_process *p, struct error *err)
{
        buf_reset(&p->text, 0);
        int r = get_volfile(self, p, &p->text, &p->volfile, err);
        if (r < 0)
                return r;
        const struct volume_config config = {.loop = p->loop,
                                             .name = p->o->volume,
                                             .volfile = p->volfile,
                                             .pid = PID_SELF_HEAL,
                                             .management_tls = p->secure.on ? &p->secure.source : NULL};
        r = volume_open(&config, &p->volume, err);
        if (r < 0)
                return r;
        const struct healer_config healer = {.loop = p->loop,
                                             .name = p->o->volume,
                                             .volume = p->volume,
                                             .volfile = p->volfile,
                                             .node_uuid = p->o->node_uuid,
                                             .all_bricks = p->o->all_bricks,
                                             .parallel = p->o->parallel,
                                             .interval = p->o->interval,
                                             .rate = p->o->rate};
        return healer_new(&healer, &p->healer, err);
}

static bool is_whole(const struct heal_process *p)
{
        for (unsigned k = 0; k < p->healer->n_sets; k++) {
                const struct afr *a = p->healer->sets[k].afr;
                if (afr_up(a) != a->all)
                        return false;
        }
        return true;
}

/* Until all bricks are connected, or TIMEOUT ns have passed. */
static void wait_whole(struct fibre *self, struct heal_process *p, uint64_t timeout)
{
        uint64_t end = loop_now(p->loop) + timeout;
        while (!is_whole(p) && !ending(p) && loop_now(p->loop) < end)
                volume_wait_change(self, p->volume, end - loop_now(p->loop));
}

/* ---- what is done once ------------------------------------------------------------------------------------------- */

static int print(struct heal_process *p, int r, struct buf *text)
{
        const char *s = r == 0 ? buf_cstr(text) : NULL;
        if (!s) {
                (void)fprintf(stderr, "mortar-heal: %s: %s\n", p->o->volume, strerror(r < 0 ? -r : ENOMEM));
                return STATUS_FAILED;
        }
        return fputs(s, stdout) < 0 || fflush(stdout) != 0 ? STATUS_FAILED : STATUS_DONE;
}

static int do_info(struct fibre *self, struct heal_process *p)
{
        _cleanup_buf_ struct buf text = BUF_INIT(64 * MIB);
        wait_whole(self, p, MIN(p->o->timeout, INFO_PATIENCE));
        return print(p, status_info(self, p->healer, &text), &text);
}

static int do_once(struct fibre *self, struct heal_process *p)
{
        _cleanup_buf_ struct buf text = BUF_INIT(64 * MIB);
        uint64_t left = 0;
        wait_whole(self, p, p->o->timeout);
        int r = healer_once(self, p->healer, p->o->full ? HEAL_FULL : HEAL_INDEX, &left);
        int status = print(p, status_format(p->healer, &text), &text);
        if (r < 0)
                (void)fprintf(stderr, "mortar-heal: %s: %s\n", p->o->volume,
                              r == -ENOTCONN ? "not all bricks are connected, and heals need all copies"
                                             : strerror(-r));
        return r < 0 || status == STATUS_FAILED ? STATUS_FAILED : left > 0 ? STATUS_LEFT : STATUS_DONE;
}

static int do_mark(struct fibre *self, struct heal_process *p)
{
        int r = -ENOENT;
        wait_whole(self, p, p->o->timeout);
        for (unsigned k = 0; k < p->healer->n_sets && r == -ENOENT; k++) {
                struct afr *a = p->healer->sets[k].afr;
                for (unsigned i = 0; i < a->n && r == -ENOENT; i++) {
                        if (streq(a->base.children[i]->name, p->o->mark))
                                r = afr_heal_mark_new(self, a, i);
                }
        }
        if (r == 0)
                return STATUS_DONE;
        (void)fprintf(stderr, "mortar-heal: %s: %s: %s\n", p->o->volume, p->o->mark,
                      r == -ENOENT ? "the volume has no such client" : strerror(-r));
        return STATUS_FAILED;
}

/* ---- what is done for ever --------------------------------------------------------------------------------------- */

/* 1: the volume is to be opened anew. */
static int reload(struct fibre *self, struct heal_process *p)
{
        struct error err = {0};
        struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        struct volfile *v = NULL;
        int r = get_volfile(self, p, &text, &v, &err);
        bool same = r == 0 && text.len == p->text.len && memcmp(text.data, p->text.data, text.len) == 0;
        if (r == 0 && !same)
                r = volume_reload(self, p->volume, v, &err);
        if (r < 0 || same) {
                buf_done(&text);
                volfile_free(v);
                if (r < 0)
                        log_notice(COMPONENT, "%s: the volume is opened anew: %s", p->o->volume, err.text);
                return r < 0 && v;
        }
        buf_done(&p->text);
        p->text = text;
        volfile_free(p->volfile);
        p->volfile = v;
        p->healer->config.volfile = v;
        log_info(COMPONENT, "Changed options of volume %s are in force.", p->o->volume);
        return 0;
}

static int serve(struct fibre *self, struct heal_process *p, struct error *err)
{
        int r = control_new(p->healer, p->o->socket, &p->control, err);
        if (r < 0)
                return r;
        r = healer_start(p->healer);
        if (r < 0)
                return error_set(err, r, "%s", strerror(-r));
        log_notice(COMPONENT, "heals volume %s: %u replica sets, asked at %s", p->o->volume, p->healer->n_sets,
                   p->o->socket);
        while (!ending(p)) {
                if (p->changed && reload(self, p))
                        return 0;
                pause_for(self, p, UINT64_MAX);
        }
        return 0;
}

static int run_daemon(struct fibre *self, struct heal_process *p)
{
        while (!ending(p)) {
                struct error err = {0};
                int r = open_volume(self, p, &err);
                if (r == 0)
                        r = serve(self, p, &err);
                close_volume(self, p);
                if (r == -EADDRINUSE || r == -EOPNOTSUPP || (r < 0 && p->o->volfile)) {
                        log_error(COMPONENT, "%s", err.text);
                        return STATUS_FAILED;
                }
                if (r < 0) {
                        log_error(COMPONENT, "%s: %s It is tried again.", p->o->volume, err.text);
                        pause_for(self, p, RETRY_INTERVAL);
                }
        }
        return STATUS_DONE;
}

static int run_once(struct fibre *self, struct heal_process *p)
{
        struct error err = {0};
        int r = open_volume(self, p, &err), status = STATUS_FAILED;
        if (r < 0)
                (void)fprintf(stderr, "mortar-heal: %s\n", err.text);
        else if (p->o->mode == MODE_INFO)
                status = do_info(self, p);
        else if (p->o->mode == MODE_ONCE)
                status = do_once(self, p);
        else
                status = do_mark(self, p);
        close_volume(self, p);
        return status;
}

static void main_fibre(struct fibre *self, void *arg)
{
        struct heal_process *p = arg;
        p->status = p->o->mode == MODE_DAEMON ? run_daemon(self, p) : run_once(self, p);
        p->fetch = p->fetch ? fetch_free(self, p->fetch) : NULL;
        loop_stop(p->loop);
}

/* ---- process ----------------------------------------------------------------------------------------------------- */

static void on_signal(struct stream *s, unsigned events, void *arg)
{
        struct heal_process *p = arg;
        struct signalfd_siginfo info;
        (void)events;
        while (read(stream_fd(s), &info, sizeof info) == sizeof info) {
                if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGUSR1) {
                        if (p->healer)
                                healer_ask(p->healer, info.ssi_signo == SIGHUP ? HEAL_INDEX : HEAL_FULL);
                        continue;
                }
                if (p->terminations++ > 0)
                        _exit(STATUS_FAILED);
                if (p->healer)
                        p->healer->closing = true;
                poke(p);
        }
}

static int watch_signals(struct heal_process *p)
{
        sigset_t set;
        sigemptyset(&set);
        for (const int *signal = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0}; *signal; signal++)
                sigaddset(&set, *signal);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : loop_watch_fd(p->loop, fd, STREAM_READABLE, on_signal, p, &p->signals);
}

int heal_process_run(const struct heal_options *o)
{
        static struct heal_process process;
        struct heal_process *p = &process;
        *p = (struct heal_process){.o = o, .text = BUF_INIT(VOLFILE_TEXT_MAX), .status = STATUS_FAILED};
        int r = loop_epoll_new(&p->loop);
        if (r == 0)
                r = watch_signals(p);
        if (r == 0)
                r = fibre_start(p->loop, "heal", main_fibre, p);
        if (r == 0)
                r = loop_run(p->loop);
        if (r < 0) {
                log_error(COMPONENT, "%s", strerror(-r));
                return STATUS_FAILED;
        }
        p->signals = stream_free(p->signals);
        buf_done(&p->text);
        p->loop = loop_free(p->loop);
        return p->status;
}
