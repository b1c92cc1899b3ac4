/* The heal process (process.h): a loop, the volumes it looks after (node.h), and the socket where it is asked.
 *
 * Signals: HUP crawls the index, USR1 everything, TERM and INT end it, a second one at once.
 */
#include "heal/process.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "base/log.h"
#include "heal/choice.h"
#include "heal/control.h"
#include "heal/node.h"
#include "volume/remote.h"

#define COMPONENT "heal"
#define INFO_PATIENCE (5 * NS_PER_SEC)
#define TRIED_POLL (20 * NS_PER_MSEC)

enum { STATUS_DONE = 0, STATUS_LEFT = 1, STATUS_FAILED = 2 };

struct heal_process {
        const struct heal_options *o;
        struct heal_node node;
        struct control *control;
        struct stream *signals;
        struct heal_volume *once; /* the volume that something is done to once */
        unsigned terminations;
        struct fibre_event poked;
        int status;
};

static bool ending(const struct heal_process *p)
{
        return p->terminations > 0;
}

/* ---- what is done once ------------------------------------------------------------------------------------------- */

static bool is_whole(const struct healer *h)
{
        for (unsigned k = 0; k < h->n_sets; k++) {
                const struct afr *a = h->sets[k].afr;
                if (afr_up(a) != a->all)
                        return false;
        }
        return true;
}

static bool is_tried(const struct healer *h)
{
        for (unsigned k = 0; k < h->n_sets; k++) {
                const struct afr *a = h->sets[k].afr;
                for (unsigned i = 0; i < a->n; i++) {
                        if (!remote_tried(a->base.children[i]))
                                return false;
                }
        }
        return true;
}

/* Until all bricks are connected, or TIMEOUT ns have passed. */
static void wait_whole(struct fibre *self, struct heal_process *p, uint64_t timeout)
{
        uint64_t end = loop_now(p->node.loop) + timeout;
        while (!is_whole(p->once->healer) && !ending(p) && loop_now(p->node.loop) < end)
                volume_wait_change(self, p->once->volume, end - loop_now(p->node.loop));
}

/* Until each brick is connected or an attempt has failed. */
static void wait_tried(struct fibre *self, struct heal_process *p, uint64_t timeout)
{
        uint64_t end = loop_now(p->node.loop) + timeout;
        while (!is_tried(p->once->healer) && !ending(p) && loop_now(p->node.loop) < end)
                volume_wait_change(self, p->once->volume, MIN(end - loop_now(p->node.loop), TRIED_POLL));
}

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
        wait_tried(self, p, MIN(p->o->timeout, INFO_PATIENCE));
        return print(p, status_info(self, p->once->healer, &text), &text);
}

static int do_once(struct fibre *self, struct heal_process *p)
{
        _cleanup_buf_ struct buf text = BUF_INIT(64 * MIB);
        uint64_t left = 0;
        wait_whole(self, p, p->o->timeout);
        int r = healer_once(self, p->once->healer, p->o->full ? HEAL_FULL : HEAL_INDEX, &left);
        int status = print(p, status_format(p->once->healer, &text), &text);
        if (r < 0)
                (void)fprintf(stderr, "mortar-heal: %s: %s\n", p->o->volume,
                              r == -ENOTCONN ? "not all bricks are connected, and heals need all copies"
                                             : strerror(-r));
        return r < 0 || status == STATUS_FAILED ? STATUS_FAILED : left > 0 ? STATUS_LEFT : STATUS_DONE;
}

static int do_mark(struct fibre *self, struct heal_process *p)
{
        const struct healer *h = p->once->healer;
        int r = -ENOENT;
        wait_whole(self, p, p->o->timeout);
        for (unsigned k = 0; k < h->n_sets && r == -ENOENT; k++) {
                struct afr *a = h->sets[k].afr;
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

static int do_resolve(struct fibre *self, struct heal_process *p)
{
        _cleanup_buf_ struct buf text = BUF_INIT(64 * MIB);
        wait_whole(self, p, p->o->timeout);
        return print(p, choice_run(self, p->once->healer, &p->o->choice, &text), &text);
}

static int run_once(struct fibre *self, struct heal_process *p)
{
        struct error err = {0};
        int r = heal_volume_add(&p->node, p->o->volume, &p->once), status = STATUS_FAILED;
        if (r < 0)
                (void)error_set(&err, r, "%s: %s", p->o->volume, strerror(-r));
        else
                r = heal_volume_open(self, p->once, &err);
        if (r < 0)
                (void)fprintf(stderr, "mortar-heal: %s\n", err.text);
        else if (p->o->mode == MODE_INFO)
                status = do_info(self, p);
        else if (p->o->mode == MODE_ONCE)
                status = do_once(self, p);
        else if (p->o->mode == MODE_RESOLVE)
                status = do_resolve(self, p);
        else
                status = do_mark(self, p);
        if (p->once)
                heal_volume_drop(self, p->once);
        p->once = NULL;
        return status;
}

/* ---- what is done for ever --------------------------------------------------------------------------------------- */

static void end_volumes(struct heal_process *p)
{
        for (struct heal_volume *v = p->node.volumes; v; v = v->next)
                heal_volume_end(v);
        fibre_event_set(&p->poked);
}

static void on_quit(void *arg)
{
        struct heal_process *p = arg;
        p->terminations++;
        end_volumes(p);
}

/* Volumes come and go by the control socket. */
static int run_node(struct fibre *self, struct heal_process *p)
{
        while (!ending(p)) {
                p->poked = (struct fibre_event){0};
                (void)fibre_event_wait(self, &p->poked, UINT64_MAX);
        }
        end_volumes(p);
        while (p->node.volumes)
                fibre_sleep(self, 10 * NS_PER_MSEC);
        return STATUS_DONE;
}

static int run_volume(struct fibre *self, struct heal_process *p, struct error *err)
{
        struct heal_volume *v = NULL;
        int r = heal_volume_add(&p->node, p->o->volume, &v);
        if (r < 0)
                return error_set(err, r, "%s: %s", p->o->volume, strerror(-r));
        r = heal_volume_run(self, v, err);
        heal_volume_drop(self, v);
        return r;
}

static int run_daemon(struct fibre *self, struct heal_process *p)
{
        struct error err = {0};
        int r = control_new(&p->node, p->o->socket, on_quit, p, &p->control, &err);
        if (r == 0 && p->o->mode == MODE_NODE)
                r = run_node(self, p);
        else if (r == 0)
                r = run_volume(self, p, &err);
        p->control = control_free(self, p->control);
        if (r < 0)
                log_error(COMPONENT, "%s", err.text);
        return r < 0 ? STATUS_FAILED : STATUS_DONE;
}

static void main_fibre(struct fibre *self, void *arg)
{
        struct heal_process *p = arg;
        bool daemon = p->o->mode == MODE_DAEMON || p->o->mode == MODE_NODE;
        p->status = daemon ? run_daemon(self, p) : run_once(self, p);
        loop_stop(p->node.loop);
}

/* ---- process ----------------------------------------------------------------------------------------------------- */

static void ask_all(struct heal_process *p, enum heal_kind kind)
{
        for (struct heal_volume *v = p->node.volumes; v; v = v->next) {
                if (v->healer)
                        healer_ask(v->healer, kind);
        }
}

static void on_signal(struct stream *s, unsigned events, void *arg)
{
        struct heal_process *p = arg;
        struct signalfd_siginfo info;
        (void)events;
        while (read(stream_fd(s), &info, sizeof info) == sizeof info) {
                if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGUSR1) {
                        ask_all(p, info.ssi_signo == SIGHUP ? HEAL_INDEX : HEAL_FULL);
                        continue;
                }
                if (p->terminations++ > 0)
                        _exit(STATUS_FAILED);
                end_volumes(p);
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
        return fd < 0 ? -errno : loop_watch_fd(p->node.loop, fd, STREAM_READABLE, on_signal, p, &p->signals);
}

int heal_process_run(const struct heal_options *o)
{
        static struct heal_process process;
        struct heal_process *p = &process;
        *p = (struct heal_process){.o = o, .node = {.o = o}, .status = STATUS_FAILED};
        int r = loop_epoll_new(&p->node.loop);
        if (r == 0)
                r = watch_signals(p);
        if (r == 0)
                r = fibre_start(p->node.loop, "heal", main_fibre, p);
        if (r == 0)
                r = loop_run(p->node.loop);
        if (r < 0) {
                log_error(COMPONENT, "%s", strerror(-r));
                return STATUS_FAILED;
        }
        p->signals = stream_free(p->signals);
        p->node.loop = loop_free(p->node.loop);
        return p->status;
}
