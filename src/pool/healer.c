/* Keeping the heal daemon in the wanted state (pool/healer.h).
 *
 * One fibre, the keeper, does all that changes something: it compares what is wanted with what the daemon was told, does
 * the next thing about it, and sleeps until it is kicked or a pause is over. A daemon found at the start is no child, so
 * its end is seen by looking now and then. Loop thread only.
 */
#include "pool/healer.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/log.h"
#include "pool/line_ask.h"
#include "pool/process.h"

#define COMPONENT "heal"
#define ANSWER_MAX (64 * MIB)
#define CALL_LIMIT (5 * NS_PER_SEC)
#define END_CALL_LIMIT (35 * NS_PER_SEC)  /* it finishes the step of a heal that is under way */
#define CONNECT_LIMIT (10 * NS_PER_SEC) /* from the start of the process to its socket */
#define END_LIMIT (40 * NS_PER_SEC)
#define POLL (20 * NS_PER_MSEC)
#define LOOK_INTERVAL (2 * NS_PER_SEC)
#define PAUSE_MAX (30 * NS_PER_SEC)
#define STEADY (60 * NS_PER_SEC) /* up this long: the next failure is the first one again */

struct healed {
        char *volume;
        bool wanted, told; /* that it is to be healed */
        unsigned waiting;
        struct fibre_event settled;
        struct healed *next;
};

struct heal_keeper {
        struct loop *loop;
        struct heal_keeper_config config;
        char socket[256], log[4096];
        struct healed *volumes;
        pid_t pid;  /* 0: none */
        bool child; /* started by this mortard: it is alive until it is reaped */
        unsigned failures;
        uint64_t not_before, up_since;
        struct error why;
        struct fibre_event kick;
};

static void kick(struct heal_keeper *k)
{
        fibre_event_set(&k->kick);
}

static struct healed *find(const struct heal_keeper *k, const char *volume)
{
        for (struct healed *v = k->volumes; v; v = v->next) {
                if (streq(v->volume, volume))
                        return v;
        }
        return NULL;
}

static struct healed *make(struct heal_keeper *k, const char *volume)
{
        struct healed *v = calloc(1, sizeof *v);
        char *copy = strdup(volume);
        if (!v || !copy) {
                free(v);
                free(copy);
                return NULL;
        }
        v->volume = copy;
        v->next = k->volumes;
        k->volumes = v;
        return v;
}

static void sweep(struct heal_keeper *k)
{
        for (struct healed **at = &k->volumes; *at;) {
                struct healed *v = *at;
                if (v->wanted || v->told || v->waiting > 0) {
                        at = &v->next;
                        continue;
                }
                *at = v->next;
                free(v->volume);
                free(v);
        }
}

static bool any_wanted(const struct heal_keeper *k)
{
        for (const struct healed *v = k->volumes; v; v = v->next) {
                if (v->wanted)
                        return true;
        }
        return false;
}

static struct healed *next_difference(const struct heal_keeper *k)
{
        for (struct healed *v = k->volumes; v; v = v->next) {
                if (v->wanted != v->told)
                        return v;
        }
        return NULL;
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

static bool is_alive(const struct heal_keeper *k)
{
        return k->pid > 0 && (k->child || process_controls(k->pid, k->socket));
}

static void forget(struct heal_keeper *k)
{
        k->pid = 0;
        for (struct healed *v = k->volumes; v; v = v->next) {
                v->told = false;
                fibre_event_set(&v->settled);
        }
}

/* It could not be started, did not answer, or died: the next try comes after a pause. */
static void failed(struct heal_keeper *k, const char *why)
{
        uint64_t now = loop_now(k->loop);
        if (k->up_since && now - k->up_since >= STEADY)
                k->failures = 0;
        k->up_since = 0;
        uint64_t pause = k->failures < 5 ? NS_PER_SEC << k->failures : PAUSE_MAX;
        k->failures++;
        k->not_before = now + pause;
        error_set(&k->why, -EPIPE, "%s, see %s", why, k->log);
        log_error(COMPONENT, "the heal daemon: %s; next try in %u s", k->why.text, (unsigned)(pause / NS_PER_SEC));
}

struct spawn_job {
        struct heal_keeper *k;
        pid_t pid;
        int result;
};

static void spawn_now(void *arg)
{
        struct spawn_job *j = arg;
        const struct heal_keeper_config *c = &j->k->config;
        const char *argv[] = {"mortar-heal",  "--node",     "--control",    j->k->socket,    "--server",
                              c->server,      "--node-uuid", c->node_uuid,  "--state-dir", c->state_dir,
                              "--log-level", c->log_level, NULL};
        j->result = process_launch(c->program, (char *const *)(uintptr_t)argv, j->k->log, &j->pid);
}

static int ask(struct fibre *self, struct heal_keeper *k, const char *word, const char *volume, uint64_t limit,
               struct buf *out)
{
        char line[512];
        int n = snprintf(line, sizeof line, "%s%s%s\n", word, *volume ? " " : "", volume);
        return n < (int)sizeof line ? line_ask(self, k->socket, line, limit, out) : -ENAMETOOLONG;
}

/* "ok", or not. */
static int tell(struct fibre *self, struct heal_keeper *k, const char *word, const char *volume)
{
        _cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX);
        int r = ask(self, k, word, volume, streq(word, "end") ? END_CALL_LIMIT : CALL_LIMIT, &out);
        const char *text = r == 0 ? buf_cstr(&out) : NULL;
        if (r == 0 && (!text || !streq(text, "ok\n")))
                r = -EAGAIN;
        return r;
}

static int wait_for_socket(struct fibre *self, struct heal_keeper *k)
{
        uint64_t limit = loop_now(k->loop) + CONNECT_LIMIT;
        for (;;) {
                _cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX);
                int r = ask(self, k, "volumes", "", CALL_LIMIT, &out);
                if (r == 0)
                        return 0;
                if (!is_alive(k))
                        return -ESRCH;
                if (loop_now(k->loop) >= limit)
                        return r;
                fibre_sleep(self, POLL);
        }
}

static void end_process(struct fibre *self, struct heal_keeper *k)
{
        uint64_t limit = loop_now(k->loop) + END_LIMIT;
        pid_t pid = k->pid;
        if (tell(self, k, "quit", "") < 0 && process_controls(pid, k->socket))
                (void)kill(pid, SIGTERM);
        while (process_controls(pid, k->socket)) {
                if (loop_now(k->loop) >= limit) {
                        (void)kill(pid, SIGKILL);
                        break;
                }
                fibre_sleep(self, POLL);
        }
        forget(k);
}

static void start(struct fibre *self, struct heal_keeper *k)
{
        struct spawn_job job = {.k = k};
        blocking_run(self, k->config.worker, spawn_now, &job);
        if (job.result < 0) {
                char why[512];
                (void)snprintf(why, sizeof why, "%.300s cannot be started: %s", k->config.program, strerror(-job.result));
                failed(k, why);
                return;
        }
        k->child = true;
        k->pid = kill(job.pid, 0) == 0 ? job.pid : 0; /* it may have been reaped before its number was known here */
        int r = wait_for_socket(self, k);
        if (r == 0) {
                log_notice(COMPONENT, "heal daemon started, pid %d", (int)k->pid);
                k->up_since = loop_now(k->loop);
                k->why = (struct error){0};
                return;
        }
        failed(k, r == -ESRCH ? "it ended at once" : "it did not answer");
        if (k->pid)
                end_process(self, k);
}

/* ---- the keeper -------------------------------------------------------------------------------------------------- */

/* The daemon that runs already is told what it is not told yet: what it heals and nobody wants comes first. */
static void take_over(struct fibre *self, struct heal_keeper *k)
{
        _cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX);
        int r = ask(self, k, "volumes", "", CALL_LIMIT, &out);
        json_t *o = r == 0 ? json_loadb((const char *)out.data, out.len, 0, NULL) : NULL;
        const json_t *list = json_object_get(o, "volumes");
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
                struct healed *v = name ? find(k, name) : NULL;
                if (name && !v)
                        v = make(k, name);
                if (v)
                        v->told = true;
        }
        if (json_is_array(list)) {
                log_notice(COMPONENT, "heal daemon found running, pid %d", (int)k->pid);
                k->up_since = loop_now(k->loop);
        } else {
                log_error(COMPONENT, "heal daemon (pid %d) does not answer: it is ended and started again", (int)k->pid);
                end_process(self, k);
        }
        json_decref(o);
}

static void settle(struct fibre *self, struct heal_keeper *k, struct healed *v)
{
        bool wanted = v->wanted;
        v->waiting++; /* it stays */
        int r = tell(self, k, wanted ? "serve" : "end", v->volume);
        v->waiting--;
        if (r == 0)
                v->told = wanted;
        fibre_event_set(&v->settled);
        if (r == 0 || !is_alive(k))
                return;
        log_warning(COMPONENT, "volume %s: the heal daemon does not %s it: %s", v->volume, wanted ? "heal" : "let go of",
                    strerror(-r));
        fibre_sleep(self, NS_PER_SEC);
}

static void turn(struct fibre *self, struct heal_keeper *k)
{
        if (k->up_since && !is_alive(k)) {
                forget(k);
                failed(k, "it ended unexpectedly");
        }
        if (!any_wanted(k)) {
                if (k->pid) {
                        end_process(self, k);
                        k->up_since = 0;
                        log_info(COMPONENT, "the heal daemon is not needed any more");
                }
                sweep(k);
                return;
        }
        if (!k->pid && k->not_before <= loop_now(k->loop))
                start(self, k);
        for (struct healed *v; k->pid && is_alive(k) && (v = next_difference(k));)
                settle(self, k, v);
        sweep(k);
}

static uint64_t pause_of(const struct heal_keeper *k)
{
        uint64_t now = loop_now(k->loop);
        if (!any_wanted(k))
                return k->pid ? 0 : UINT64_MAX;
        if (!k->pid)
                return k->not_before > now ? k->not_before - now : 0;
        return next_difference(k) ? 0 : k->child ? UINT64_MAX : LOOK_INTERVAL;
}

static void keeper(struct fibre *self, void *arg)
{
        struct heal_keeper *k = arg;
        k->pid = process_with_control(k->socket);
        if (k->pid)
                take_over(self, k);
        for (;;) {
                k->kick = (struct fibre_event){0};
                turn(self, k);
                (void)fibre_event_wait(self, &k->kick, pause_of(k));
        }
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

int heal_keeper_new(struct loop *loop, const struct heal_keeper_config *config, struct heal_keeper **ret)
{
        struct heal_keeper *k = calloc(1, sizeof *k);
        if (!k)
                return -ENOMEM;
        k->loop = loop;
        k->config = *config;
        int n = snprintf(k->socket, sizeof k->socket, "%s/heal.sock", config->run_dir);
        int m = snprintf(k->log, sizeof k->log, "%s/heal.log", config->log_dir);
        if (n >= (int)sizeof k->socket || m >= (int)sizeof k->log) {
                free(k);
                return -ENAMETOOLONG;
        }
        *ret = k;
        return 0;
}

int heal_keeper_begin(struct heal_keeper *k)
{
        return *k->config.program ? fibre_start(k->loop, "heal keeper", keeper, k) : 0;
}

int heal_keeper_want(struct heal_keeper *k, const char *volume, bool wanted)
{
        struct healed *v = find(k, volume);
        if (!v && !wanted)
                return 0;
        if (!v)
                v = make(k, volume);
        if (!v)
                return -ENOMEM;
        v->wanted = wanted;
        kick(k);
        return 0;
}

void heal_keeper_stop(struct fibre *self, struct heal_keeper *k, const char *volume, uint64_t deadline)
{
        struct healed *v = find(k, volume);
        if (!v || !*k->config.program)
                return;
        v->wanted = false;
        v->waiting++;
        while (v->told && loop_now(k->loop) < deadline) {
                v->settled = (struct fibre_event){0};
                kick(k);
                (void)fibre_event_wait(self, &v->settled, deadline - loop_now(k->loop));
        }
        v->waiting--;
        kick(k);
}

void heal_keeper_state(const struct heal_keeper *k, const char *volume, struct heal_daemon_state *ret)
{
        const struct healed *v = find(k, volume);
        bool online = v && v->wanted && v->told && is_alive(k);
        const char *none = *k->config.program ? k->why.text : "mortard is set not to keep a heal daemon";
        *ret = (struct heal_daemon_state){
                .wanted = v && v->wanted, .online = online, .pid = online ? k->pid : 0, .error = online ? "" : none};
}

int heal_keeper_ask(struct fibre *self, struct heal_keeper *k, const char *word, const char *volume, json_t **ret,
                    struct error *e)
{
        _cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX);
        struct heal_daemon_state state;
        heal_keeper_state(k, volume, &state);
        if (!state.online)
                return error_set(e, -ENOTCONN, "The self-heal daemon is not running%s%s", *state.error ? ": " : "",
                                 state.error);
        int r = ask(self, k, word, volume, CALL_LIMIT, &out);
        const char *text = r == 0 ? buf_cstr(&out) : NULL;
        if (!text)
                return error_set(e, r < 0 ? r : -ENOMEM, "The self-heal daemon does not answer: %s", strerror(r < 0 ? -r : ENOMEM));
        if (starts_with(text, "error: "))
                return error_set(e, -EAGAIN, "The self-heal daemon says: %.*s", (int)strcspn(text + 7, "\n"), text + 7);
        *ret = streq(text, "ok\n") ? NULL : json_loads(text, 0, NULL);
        return *ret || streq(text, "ok\n") ? 0 : error_set(e, -EPROTO, "The self-heal daemon's answer is no JSON");
}

void heal_keeper_reaped(struct heal_keeper *k, pid_t pid, int wait_status)
{
        if (pid != k->pid || !k->child)
                return;
        if (WIFSIGNALED(wait_status))
                log_warning(COMPONENT, "the heal daemon (pid %d) was ended by signal %d", (int)pid, WTERMSIG(wait_status));
        k->pid = 0;
        kick(k);
}
