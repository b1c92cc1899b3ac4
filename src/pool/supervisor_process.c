/* One brick process: its life, the connection to it, and what it says of its bricks (pool/supervisor_state.h).
 *
 * Called by its keeper, and by a renewal for a process that has no keeper yet. Loop thread only.
 */
#include "pool/supervisor_state.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"

#define CONNECT_LIMIT (10 * NS_PER_SEC) /* from the start of a process to its control socket */
#define END_LIMIT (10 * NS_PER_SEC)     /* from CONTROL_SHUTDOWN to the end of the process */
#define CALL_LIMIT (120 * NS_PER_SEC)   /* opening a brick may wait for a slow disk */
#define PAUSE_MAX (30 * NS_PER_SEC)
#define STEADY (60 * NS_PER_SEC) /* up this long: the next failure is the first one again */

/* ---- lists ------------------------------------------------------------------------------------------------------- */

struct served *served_find(const struct supervisor *s, const char *path)
{
        for (struct served *b = s->bricks; b; b = b->next)
                if (streq(b->path, path))
                        return b;
        return NULL;
}

struct served *served_new(struct supervisor *s, const char *path)
{
        struct served *b = calloc(1, sizeof *b);
        char *copy = strdup(path);
        if (!b || !copy) {
                free(b);
                free(copy);
                return NULL;
        }
        b->path = copy;
        b->next = s->bricks;
        s->bricks = b;
        return b;
}

void served_free(struct supervisor *s, struct served *b)
{
        struct served **at = &s->bricks;
        while (*at != b)
                at = &(*at)->next;
        *at = b->next;
        free(b->path);
        free(b->volfile);
        free(b);
}

unsigned process_load(const struct process *p)
{
        unsigned n = p->foreign + p->holds;
        for (const struct served *b = p->supervisor->bricks; b; b = b->next)
                if (b->process == p || b->move_to == p)
                        n++;
        return n;
}

struct process *process_by_number(const struct supervisor *s, unsigned number)
{
        for (struct process *p = s->processes; p; p = p->next)
                if (p->number == number)
                        return p;
        return NULL;
}

struct process *process_new(struct supervisor *s, unsigned number, pid_t pid)
{
        struct process *p = calloc(1, sizeof *p);
        if (!p)
                return NULL;
        *p = (struct process){.supervisor = s, .number = number, .pid = pid, .next = s->processes};
        s->processes = p;
        return p;
}

void process_free(struct process *p)
{
        struct process **at = &p->supervisor->processes;
        while (*at != p)
                at = &(*at)->next;
        *at = p->next;
        rpc_client_free(p->client);
        free(p);
}

void process_kick(struct process *p)
{
        fibre_event_set(&p->kick);
}

bool process_alive(const struct process *p)
{
        return p->child ? p->pid > 0 : process_is_alive(&p->supervisor->config.process, p->number, p->pid);
}

void served_settle(struct served *b)
{
        fibre_event_set(&b->settled);
}

unsigned free_number(const struct supervisor *s)
{
        unsigned number = 1;
        while (number < PROCESS_NUMBER_MAX && process_by_number(s, number))
                number++;
        return number;
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static uint64_t pause_after(unsigned failures)
{
        unsigned shift = MIN(failures > 0 ? failures - 1 : 0, 5u);
        return MIN(NS_PER_SEC << shift, PAUSE_MAX);
}

static void process_lost(struct rpc_client *c, int error, void *arg)
{
        struct process *p = arg;
        p->lost = true;
        process_kick(p);
}

static void process_told(struct rpc_client *c, const struct rpc_call *call, void *arg)
{
        struct process *p = arg;
        if (call->prog != CONTROL_PROGRAM || call->proc != CONTROL_CHANGED)
                return;
        p->news = true;
        process_kick(p);
}

/* Connects to the control socket, trying while the process lives. */
int process_connect(struct fibre *self, struct process *p)
{
        const struct process_config *config = &p->supervisor->config.process;
        struct rpc_client_config client = {.call_timeout = CALL_LIMIT,
                                           .connect_timeout = CONNECT_LIMIT,
                                           .on_callback = process_told,
                                           .on_disconnect = process_lost,
                                           .arg = p};
        char socket[256], text[300];
        int r = process_socket(config, p->number, socket, sizeof socket);
        if (r < 0)
                return r;
        (void)snprintf(text, sizeof text, "unix:%s", socket);
        r = address_parse(text, &client.to);
        if (r < 0)
                return r;
        uint64_t limit = loop_now(p->supervisor->loop) + CONNECT_LIMIT;
        for (;;) {
                p->lost = false;
                r = rpc_client_connect(self, &client, &p->client);
                if (r == 0)
                        return 0;
                if (!process_alive(p))
                        return -ESRCH;
                if (loop_now(p->supervisor->loop) >= limit)
                        return -ETIMEDOUT;
                fibre_sleep(self, CONNECT_POLL);
        }
}

int process_call(struct fibre *self, struct process *p, uint32_t proc, const struct msg_desc *req_desc,
                        const void *req, const struct msg_desc *rep_desc, void *rep, struct arena *a)
{
        return rpc_client_call(self, p->client, CONTROL_PROGRAM, CONTROL_VERSION, proc, NULL, req_desc, req, rep_desc,
                               rep, a);
}

/* One more failure of B: the next try comes after a pause, which grows until the brick was up for a while. */
void served_failed(struct served *b, uint64_t now, const struct error *why)
{
        if (b->up_since && now - b->up_since >= STEADY)
                b->failures = 0;
        b->up_since = 0;
        b->failures++;
        b->not_before = now + pause_after(b->failures);
        b->why = *why;
}

/* The process took B down by itself. */
static void note_down(struct process *p, struct served *b, const char *reason)
{
        struct error why;
        if (b->down)
                return;
        b->down = true;
        error_set(&why, -EIO, "%s", reason);
        served_failed(b, loop_now(p->supervisor->loop), &why);
        log_error(SUPERVISOR_COMPONENT, "brick %s is down: %s It is tried again from time to time.", b->path, reason);
}

/* A brick the process says it serves. */
static void note_attached(struct process *p, const char *path, const char *volume)
{
        struct supervisor *s = p->supervisor;
        struct served *b = served_find(s, path);
        if (!b && s->config.keep && s->config.keep(s->config.arg, volume)) {
                p->foreign++;
                log_warning(
                        SUPERVISOR_COMPONENT,
                        "brick %s of volume %s is served by process %u (pid %d), and there is no record of the volume "
                        "that can be used: it is left alone",
                        path, volume, p->number, (int)p->pid);
                return;
        }
        if (!b)
                b = served_new(s, path);
        if (!b)
                return;
        if (b->process && b->process != p) {
                log_error(SUPERVISOR_COMPONENT, "brick %s is served by process %u and by process %u: end one of them", path,
                          p->number, b->process->number);
                return;
        }
        b->process = p;
        b->attached = true;
        b->current = false;
        b->orphan = !b->wanted;
}

/* What the process says of each of its bricks. */
static void note_bricks(struct process *p, const json_t *bricks, bool only_state)
{
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *brick = json_array_get(bricks, i);
                const char *path = json_string_value(json_object_get(brick, "path"));
                const char *volume = json_string_value(json_object_get(brick, "volume"));
                const char *down = json_string_value(json_object_get(brick, "down"));
                if (path && !only_state)
                        note_attached(p, path, volume ? volume : "");
                struct served *b = path ? served_find(p->supervisor, path) : NULL;
                if (b && b->process == p && b->attached && json_is_true(json_object_get(brick, "failed")))
                        note_down(p, b, down ? down : "its storage failed.");
        }
}

/* Asks what the process serves; ONLY_STATE: what has become of that. */
int process_ask(struct fibre *self, struct process *p, bool only_state)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        struct control_status_rep rep;
        int r = process_call(self, p, CONTROL_STATUS, NULL, NULL, &control_status_rep_desc, &rep, &a);
        if (r < 0)
                return r;
        json_t *bricks = json_loadb(rep.bricks.s, rep.bricks.len, 0, NULL);
        if (rep.op_ret < 0 || !json_is_array(bricks)) {
                json_decref(bricks);
                return -EPROTO;
        }
        if (!only_state) {
                p->child = p->child && p->pid == rep.pid;
                p->pid = rep.pid;
                p->foreign = 0;
                p->port = rep.port;
                p->up_since = loop_now(p->supervisor->loop);
        }
        note_bricks(p, bricks, only_state);
        json_decref(bricks);
        return 0;
}

/* Waits until the process is gone; true when it is. */
bool process_gone(struct fibre *self, struct process *p, uint64_t patience)
{
        uint64_t limit = loop_now(p->supervisor->loop) + patience;
        while (process_alive(p)) {
                if (loop_now(p->supervisor->loop) >= limit)
                        return false;
                fibre_sleep(self, CONNECT_POLL);
        }
        p->pid = 0;
        return true;
}

/* Ends a process that cannot be spoken to: it could not be told to let go of its bricks. */
void process_kill(struct fibre *self, struct process *p)
{
        const struct process_config *config = &p->supervisor->config.process;
        log_error(SUPERVISOR_COMPONENT,
                  "brick process %u (pid %d) does not answer on its control socket: it is ended and started again",
                  p->number, (int)p->pid);
        process_signal(config, p->number, p->pid, SIGTERM);
        if (process_gone(self, p, END_LIMIT + config->drain_seconds * NS_PER_SEC))
                return;
        process_signal(config, p->number, p->pid, SIGKILL);
        (void)process_gone(self, p, END_LIMIT);
}

/* ---- up and down ------------------------------------------------------------------------------------------------- */

static void forget_attached(struct process *p)
{
        struct served *next;
        for (struct served *b = p->supervisor->bricks; b; b = next) {
                next = b->next;
                if (b->process != p)
                        continue;
                b->attached = b->current = b->down = b->draining = false;
                if (!b->wanted)
                        served_settle(b);
                if (b->orphan)
                        served_free(p->supervisor, b);
        }
}

void process_drop(struct process *p)
{
        p->client = rpc_client_free(p->client);
        p->lost = false;
        p->port = 0;
        p->foreign = 0;
        forget_attached(p);
}

/* A start or connection failed, or the process ended: the next try comes after a pause. */
void process_failed(struct process *p, const struct error *why)
{
        uint64_t now = loop_now(p->supervisor->loop);
        if (p->up_since && now - p->up_since >= STEADY)
                p->failures = 0;
        p->up_since = 0;
        p->failures++;
        uint64_t pause = pause_after(p->failures);
        p->not_before = now + pause;
        log_error(SUPERVISOR_COMPONENT, "brick process %u: %s; next try in %u s", p->number, why->text,
                  (unsigned)(pause / NS_PER_SEC));
        for (struct served *b = p->supervisor->bricks; b; b = b->next)
                if (b->process == p && b->wanted) {
                        b->why = *why;
                        served_settle(b);
                }
}

struct spawn_job {
        const struct process_config *config;
        unsigned number;
        pid_t pid;
        int result;
        struct error *error;
};

static void spawn_now(void *arg)
{
        struct spawn_job *j = arg;
        j->result = process_spawn(j->config, j->number, &j->pid, j->error);
}

static int process_start(struct fibre *self, struct process *p, struct error *e)
{
        struct spawn_job job = {.config = &p->supervisor->config.process, .number = p->number, .error = e};
        blocking_run(self, p->supervisor->config.worker, spawn_now, &job);
        if (job.result < 0)
                return job.result;
        log_notice(SUPERVISOR_COMPONENT, "brick process %u started, pid %d", p->number, (int)job.pid);
        p->child = true;
        p->pid = kill(job.pid, 0) == 0 ? job.pid : 0; /* it may have been reaped before its number was known here */
        return 0;
}

int process_up(struct fibre *self, struct process *p, struct error *e)
{
        const struct process_config *config = &p->supervisor->config.process;
        int r = process_alive(p) ? 0 : process_start(self, p, e);
        if (r < 0)
                return r;
        r = process_connect(self, p);
        if (r == 0)
                r = process_ask(self, p, false);
        if (r == 0)
                return 0;
        process_drop(p);
        if (r != -ESRCH && process_alive(p))
                process_kill(self, p);
        return error_set(
                e, r, r == -ESRCH ? "it ended at once, see %s/brick-%u.log" : "it did not answer, see %s/brick-%u.log",
                config->log_dir, p->number);
}

void process_end(struct fibre *self, struct process *p)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        struct control_rep rep;
        p->ending = true;
        if (p->client)
                (void)process_call(self, p, CONTROL_SHUTDOWN, NULL, NULL, &control_rep_desc, &rep, &a);
        process_drop(p);
        if (!process_gone(self, p, END_LIMIT))
                process_kill(self, p);
        log_info(SUPERVISOR_COMPONENT, "brick process %u is not needed any more", p->number);
}
