/* Keeping brick processes in the wanted state (pool/supervisor.h).
 *
 * A `served` is a brick that is wanted or still attached; it belongs to one process. Each process has a keeper: a fibre
 * that compares wanted with attached, does the next thing about it, and sleeps until it is kicked or a pause is over.
 * All protocol calls to a process are made by its keeper, so they never overlap. Commands only change what is wanted
 * and wait for `settled`.
 *
 * Invariants: a process that may be alive is never started a second time (two processes on one brick would each grant
 * the same locks): before a start its predecessor is gone from /proc. A served brick is freed by its keeper when nobody
 * waits (`orphan`), else by the command that unwanted it. Loop thread only.
 *
 * Longer than 600 lines because keeper, connection and the two kinds of differences work on one small state that nobody
 * else may touch.
 */
#include "pool/supervisor.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/log.h"
#include "brick/control.h"
#include "pool/transport_key.h"
#include "rpc/client.h"

#define COMPONENT "bricks"
#define CONNECT_LIMIT (10 * NS_PER_SEC) /* from the start of a process to its control socket */
#define CONNECT_POLL (20 * NS_PER_MSEC)
#define END_LIMIT (10 * NS_PER_SEC)   /* from CONTROL_SHUTDOWN to the end of the process */
#define CALL_LIMIT (120 * NS_PER_SEC) /* opening a brick may wait for a slow disk */
#define PAUSE_MAX (30 * NS_PER_SEC)
#define STEADY (60 * NS_PER_SEC) /* up this long: the next failure is the first one again */
#define ANSWER_MAX (64 * MIB)

struct served {
        char *path;
        char *volfile;
        uint64_t key; /* transport_key() of it */
        struct process *process;
        bool wanted;
        bool attached;       /* served by the process, as far as we know */
        bool down;           /* … but its storage failed: it is attached again after a pause */
        bool current;        /* with this volfile text */
        bool busy;           /* the keeper is attaching it */
        bool orphan;         /* unwanted, and nobody waits any more */
        unsigned failures;   /* refused attaches and failures of the storage in a row */
        uint64_t not_before; /* of the next attach */
        uint64_t up_since;
        struct error why;    /* of the last refusal */
        struct fibre_event settled;
        struct served *next;
};

struct process {
        struct supervisor *supervisor;
        unsigned number;
        pid_t pid;  /* 0: none */
        bool child; /* started by this mortard: it is alive until it is reaped */
        int port;
        struct rpc_client *client;
        bool lost;        /* the connection broke */
        bool news;        /* it said that the state of a brick changed */
        bool kept;        /* its keeper runs */
        unsigned foreign; /* bricks it serves that are left alone: see supervisor_config.keep */
        bool ending;      /* takes no more bricks */
        unsigned failures;
        uint64_t not_before; /* of the next start */
        uint64_t up_since;
        struct fibre_event kick;
        struct process *next;
};

struct supervisor {
        struct loop *loop;
        struct supervisor_config config;
        struct process *processes;
        struct served *bricks;
        struct fibre_group finding;
        bool begun;
};

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static struct served *served_find(const struct supervisor *s, const char *path)
{
        for (struct served *b = s->bricks; b; b = b->next)
                if (streq(b->path, path))
                        return b;
        return NULL;
}

static struct served *served_new(struct supervisor *s, const char *path)
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

static void served_free(struct supervisor *s, struct served *b)
{
        struct served **at = &s->bricks;
        while (*at != b)
                at = &(*at)->next;
        *at = b->next;
        free(b->path);
        free(b->volfile);
        free(b);
}

static unsigned process_load(const struct process *p)
{
        unsigned n = p->foreign;
        for (const struct served *b = p->supervisor->bricks; b; b = b->next)
                if (b->process == p)
                        n++;
        return n;
}

static struct process *process_by_number(const struct supervisor *s, unsigned number)
{
        for (struct process *p = s->processes; p; p = p->next)
                if (p->number == number)
                        return p;
        return NULL;
}

static struct process *process_new(struct supervisor *s, unsigned number, pid_t pid)
{
        struct process *p = calloc(1, sizeof *p);
        if (!p)
                return NULL;
        *p = (struct process){.supervisor = s, .number = number, .pid = pid, .next = s->processes};
        s->processes = p;
        return p;
}

static void process_free(struct process *p)
{
        struct process **at = &p->supervisor->processes;
        while (*at != p)
                at = &(*at)->next;
        *at = p->next;
        rpc_client_free(p->client);
        free(p);
}

static void process_kick(struct process *p)
{
        fibre_event_set(&p->kick);
}

static bool process_alive(const struct process *p)
{
        return p->child ? p->pid > 0 : process_is_alive(&p->supervisor->config.process, p->number, p->pid);
}

static void served_settle(struct served *b)
{
        fibre_event_set(&b->settled);
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
static int process_connect(struct fibre *self, struct process *p)
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

static int process_call(struct fibre *self, struct process *p, uint32_t proc, const struct msg_desc *req_desc,
                        const void *req, const struct msg_desc *rep_desc, void *rep, struct arena *a)
{
        return rpc_client_call(self, p->client, CONTROL_PROGRAM, CONTROL_VERSION, proc, NULL, req_desc, req, rep_desc,
                               rep, a);
}

/* One more failure of B: the next try comes after a pause, which grows until the brick was up for a while. */
static void served_failed(struct served *b, uint64_t now, const struct error *why)
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
        log_error(COMPONENT, "brick %s is down: %s It is tried again from time to time.", b->path, reason);
}

/* A brick the process says it serves. */
static void note_attached(struct process *p, const char *path, const char *volume)
{
        struct supervisor *s = p->supervisor;
        struct served *b = served_find(s, path);
        if (!b && s->config.keep && s->config.keep(s->config.arg, volume)) {
                p->foreign++;
                log_warning(
                        COMPONENT,
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
                log_error(COMPONENT, "brick %s is served by process %u and by process %u: end one of them", path,
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
static int process_ask(struct fibre *self, struct process *p, bool only_state)
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
static bool process_gone(struct fibre *self, struct process *p, uint64_t patience)
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
static void process_kill(struct fibre *self, struct process *p)
{
        const struct process_config *config = &p->supervisor->config.process;
        log_error(COMPONENT,
                  "brick process %u (pid %d) does not answer on its control socket: it is ended and started again",
                  p->number, (int)p->pid);
        process_signal(config, p->number, p->pid, SIGTERM);
        if (process_gone(self, p, END_LIMIT))
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
                b->attached = b->current = b->down = false;
                if (!b->wanted)
                        served_settle(b);
                if (b->orphan)
                        served_free(p->supervisor, b);
        }
}

static void process_drop(struct process *p)
{
        p->client = rpc_client_free(p->client);
        p->lost = false;
        p->port = 0;
        p->foreign = 0;
        forget_attached(p);
}

/* A start or connection failed, or the process ended: the next try comes after a pause. */
static void process_failed(struct process *p, const struct error *why)
{
        uint64_t now = loop_now(p->supervisor->loop);
        if (p->up_since && now - p->up_since >= STEADY)
                p->failures = 0;
        p->up_since = 0;
        p->failures++;
        uint64_t pause = pause_after(p->failures);
        p->not_before = now + pause;
        log_error(COMPONENT, "brick process %u: %s; next try in %u s", p->number, why->text,
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
        log_notice(COMPONENT, "brick process %u started, pid %d", p->number, (int)job.pid);
        p->child = true;
        p->pid = kill(job.pid, 0) == 0 ? job.pid : 0; /* it may have been reaped before its number was known here */
        return 0;
}

static int process_up(struct fibre *self, struct process *p, struct error *e)
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

static void process_end(struct fibre *self, struct process *p)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        struct control_rep rep;
        p->ending = true;
        if (p->client)
                (void)process_call(self, p, CONTROL_SHUTDOWN, NULL, NULL, &control_rep_desc, &rep, &a);
        process_drop(p);
        if (!process_gone(self, p, END_LIMIT))
                process_kill(self, p);
        log_info(COMPONENT, "brick process %u is not needed any more", p->number);
}

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

static int refused(const struct control_rep *rep, struct error *e)
{
        int code = rep->op_errno > 0 && rep->op_errno < 4096 ? -rep->op_errno : -EIO;
        return error_set(e, code, "%.*s", (int)rep->error.len, rep->error.s);
}

/* -ENOTCONN and the like: the connection is gone; other failures are the brick's. */
static int attach(struct fibre *self, struct process *p, struct served *b, struct error *e)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        _cleanup_free_ char *volfile = strdup(b->volfile);
        struct control_rep rep;
        if (!volfile)
                return error_set(e, -ENOMEM, "out of memory");
        struct control_attach_req req = {.volfile = str_of(volfile)};
        b->current = true; /* unless want() says otherwise while we wait */
        int r = process_call(self, p, CONTROL_ATTACH, &control_attach_req_desc, &req, &control_rep_desc, &rep, &a);
        if (r < 0) {
                b->current = false;
                return error_set(e, r, "the brick process did not answer: %s", strerror(-r));
        }
        if (rep.op_ret < 0) {
                b->current = false;
                return refused(&rep, e);
        }
        p->port = rep.port;
        return 0;
}

static void try_attach(struct fibre *self, struct process *p, struct served *b)
{
        struct error why = {0};
        if (b->down) /* the process lets go of it before it tries again */
                b->attached = b->down = false;
        b->busy = true;
        int r = attach(self, p, b, &why);
        b->busy = false;
        if (r == 0) {
                b->attached = true;
                b->up_since = loop_now(p->supervisor->loop);
                b->why = (struct error){0};
                log_info(COMPONENT, "brick %s is served by process %u on port %d", b->path, p->number, p->port);
        } else {
                served_failed(b, loop_now(p->supervisor->loop), &why);
                log_error(COMPONENT, "brick %s cannot be served: %s", b->path, why.text);
        }
        served_settle(b);
        if (b->orphan && !b->attached)
                served_free(p->supervisor, b);
}

static void try_detach(struct fibre *self, struct process *p, struct served *b)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        struct control_rep rep;
        struct control_detach_req req = {.path = str_of(b->path)};
        if (process_call(self, p, CONTROL_DETACH, &control_detach_req_desc, &req, &control_rep_desc, &rep, &a) < 0)
                return;
        if (rep.op_ret < 0)
                log_warning(COMPONENT, "brick %s: detaching: %.*s", b->path, (int)rep.error.len, rep.error.s);
        else
                log_info(COMPONENT, "brick %s is not served any more", b->path);
        b->attached = b->current = b->down = false;
        if (!b->wanted) /* else it was wanted again meanwhile: whoever waits, waits for the attach */
                served_settle(b);
        if (b->orphan)
                served_free(p->supervisor, b);
}

static bool is_as_wanted(const struct served *b)
{
        return b->attached && b->current && !b->down;
}

static bool wants_attach(const struct served *b, uint64_t now)
{
        return b->wanted && !is_as_wanted(b) && b->not_before <= now;
}

/* The next brick whose state is not what it should be. */
static struct served *next_difference(const struct process *p)
{
        uint64_t now = loop_now(p->supervisor->loop);
        for (struct served *b = p->supervisor->bricks; b; b = b->next)
                if (b->process == p && (wants_attach(b, now) || (!b->wanted && b->attached)))
                        return b;
        return NULL;
}

/* ---- the keeper -------------------------------------------------------------------------------------------------- */

/* Until when the keeper may sleep, as a delay from now. */
static uint64_t keeper_pause(const struct process *p)
{
        uint64_t now = loop_now(p->supervisor->loop), due = UINT64_MAX;
        if (!p->client)
                due = p->not_before;
        for (const struct served *b = p->supervisor->bricks; b && p->client; b = b->next)
                if (b->process == p && b->wanted && !is_as_wanted(b))
                        due = MIN(due, b->not_before);
        if (due == UINT64_MAX)
                return due;
        return due > now ? due - now : 0;
}

static void keeper_turn(struct fibre *self, struct process *p)
{
        struct error why = {0};
        if (p->lost) {
                process_drop(p);
                if (process_gone(self, p, NS_PER_SEC)) {
                        error_set(&why, -EPIPE, "it ended unexpectedly, see %s/brick-%u.log",
                                  p->supervisor->config.process.log_dir, p->number);
                        process_failed(p, &why);
                        return;
                }
        }
        if (!p->client) {
                if (p->not_before > loop_now(p->supervisor->loop))
                        return;
                if (process_up(self, p, &why) < 0) {
                        process_failed(p, &why);
                        return;
                }
        }
        if (p->news) {
                p->news = false;
                (void)process_ask(self, p, true);
        }
        for (struct served *b; !p->lost && (b = next_difference(p));) {
                if (b->wanted)
                        try_attach(self, p, b);
                else
                        try_detach(self, p, b);
        }
}

static void keeper(struct fibre *self, void *arg)
{
        struct process *p = arg;
        while (process_load(p) > 0) {
                p->kick = (struct fibre_event){0};
                keeper_turn(self, p);
                if (process_load(p) > 0 && !p->lost)
                        (void)fibre_event_wait(self, &p->kick, keeper_pause(p));
        }
        process_end(self, p);
        process_free(p);
}

/* ---- which process ----------------------------------------------------------------------------------------------- */

static unsigned free_number(const struct supervisor *s)
{
        unsigned number = 1;
        while (number < PROCESS_NUMBER_MAX && process_by_number(s, number))
                number++;
        return number;
}

/* Whether P's bricks have the TLS files and rules of B, or need none. */
static bool process_suits(const struct process *p, const struct served *b)
{
        for (const struct served *o = b->key ? p->supervisor->bricks : NULL; o; o = o->next)
                if (o->process == p && o->key && o->key != b->key)
                        return false;
        return true;
}

/* A process with room, a new one if there is none. */
static struct process *process_for_brick(struct supervisor *s, const struct served *b)
{
        unsigned room = s->config.bricks_per_process;
        for (struct process *p = s->processes; p; p = p->next)
                if (!p->ending && (room == 0 || process_load(p) < room) && process_suits(p, b))
                        return p;
        return process_new(s, free_number(s), 0);
}

static int keeper_start(struct process *p)
{
        if (p->kept)
                return 0;
        int r = fibre_start(p->supervisor->loop, "brick keeper", keeper, p);
        if (r == 0)
                p->kept = true;
        return r;
}

static int assign(struct supervisor *s, struct served *b)
{
        if (b->process)
                return 0;
        struct process *p = process_for_brick(s, b);
        if (!p)
                return -ENOMEM;
        b->process = p;
        int r = keeper_start(p);
        if (r < 0) {
                b->process = NULL;
                process_free(p);
        }
        return r;
}

/* ---- finding again ----------------------------------------------------------------------------------------------- */

static void found(void *arg, unsigned number, pid_t pid)
{
        struct supervisor *s = arg;
        if (!process_by_number(s, number) && !process_new(s, number, pid))
                log_error(COMPONENT, "brick process %u (pid %d) cannot be supervised: out of memory", number, (int)pid);
}

static void ask_found(struct fibre *self, void *arg)
{
        struct process *p = arg;
        int r = process_connect(self, p);
        if (r == 0)
                r = process_ask(self, p, false);
        if (r == 0) {
                log_notice(COMPONENT, "brick process %u found running, pid %d, port %d", p->number, (int)p->pid,
                           p->port);
                return;
        }
        process_drop(p);
        if (r != -ESRCH && process_alive(p))
                process_kill(self, p);
}

static void start_found(struct supervisor *s)
{
        struct process *next;
        for (struct process *p = s->processes; p; p = next) {
                next = p->next;
                if (!p->client)
                        process_free(p);
                else if (keeper_start(p) < 0)
                        log_error(COMPONENT, "brick process %u is not supervised: out of memory", p->number);
        }
}

static void begin(struct fibre *self, void *arg)
{
        struct supervisor *s = arg;
        for (struct process *p = s->processes; p; p = p->next)
                if (fibre_group_start(s->loop, &s->finding, "brick finder", ask_found, p) < 0)
                        log_error(COMPONENT, "brick process %u cannot be asked: out of memory", p->number);
        fibre_group_wait_all(self, &s->finding);
        start_found(s);
        s->begun = true;
        for (struct served *b = s->bricks; b; b = b->next)
                if (assign(s, b) < 0)
                        log_error(COMPONENT, "brick %s is not served: out of memory", b->path);
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

int supervisor_new(struct loop *loop, const struct supervisor_config *config, struct supervisor **ret)
{
        struct supervisor *s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->loop = loop;
        s->config = *config;
        *ret = s;
        return 0;
}

int supervisor_begin(struct supervisor *s)
{
        int r = process_each(&s->config.process, found, s);
        return r < 0 ? r : fibre_start(s->loop, "brick finder", begin, s);
}

int supervisor_want(struct supervisor *s, const char *path, const char *volfile)
{
        char *text = strdup(volfile);
        struct served *b = served_find(s, path);
        if (b && text && b->wanted && b->attached && b->current && streq(b->volfile, text)) {
                free(text);
                return 0;
        }
        if (!b)
                b = served_new(s, path);
        if (!b || !text) {
                free(text);
                return -ENOMEM;
        }
        free(b->volfile);
        b->volfile = text;
        b->key = transport_key(text);
        b->wanted = true;
        b->current = b->orphan = false;
        b->not_before = 0;
        b->why = (struct error){0};
        b->settled = (struct fibre_event){0};
        if (!s->begun)
                return 0;
        int r = assign(s, b);
        if (r == 0)
                process_kick(b->process);
        return r;
}

static uint64_t until(const struct supervisor *s, uint64_t deadline)
{
        uint64_t now = loop_now(s->loop);
        return deadline > now ? deadline - now : 0;
}

int supervisor_wait(struct fibre *self, struct supervisor *s, const char *path, uint64_t deadline, struct error *e)
{
        struct served *b = served_find(s, path);
        if (!b)
                return error_set(e, -ENOENT, "no such brick");
        (void)fibre_event_wait(self, &b->settled, until(s, deadline));
        if (b->attached && !b->down)
                return 0;
        if (b->why.code)
                return error_set(e, b->why.code, "%s", b->why.text);
        return error_set(e, -ETIMEDOUT, "the brick process does not answer");
}

int supervisor_unwant(struct fibre *self, struct supervisor *s, const char *path, uint64_t deadline)
{
        struct served *b = served_find(s, path);
        if (!b)
                return 0;
        b->wanted = false;
        struct process *p = b->process;
        while ((b->attached || b->busy) && until(s, deadline) > 0) {
                b->settled = (struct fibre_event){0};
                process_kick(p);
                (void)fibre_event_wait(self, &b->settled, until(s, deadline));
        }
        bool stuck = b->attached || b->busy;
        if (stuck)
                b->orphan = true;
        else
                served_free(s, b);
        if (p)
                process_kick(p);
        return stuck ? -ETIMEDOUT : 0;
}

int supervisor_state(const struct supervisor *s, const char *path, struct brick_state *ret)
{
        const struct served *b = served_find(s, path);
        if (!b || !b->wanted)
                return -ENOENT;
        *ret = (struct brick_state){.error = b->why.text};
        if (b->process && b->attached && !b->down && b->process->port > 0) {
                ret->online = true;
                ret->port = b->process->port;
                ret->pid = b->process->pid;
        }
        return 0;
}

int supervisor_sockets(const struct supervisor *s, struct supervisor_socket **ret)
{
        int n = 0;
        for (const struct process *p = s->processes; p; p = p->next)
                n += p->client != NULL;
        struct supervisor_socket *v = n > 0 ? calloc((size_t)n, sizeof *v) : NULL;
        if (n > 0 && !v)
                return -ENOMEM;
        n = 0;
        for (const struct process *p = s->processes; p; p = p->next)
                if (p->client && process_socket(&s->config.process, p->number, v[n].path, sizeof v[n].path) == 0)
                        n++;
        *ret = v;
        return n;
}

void supervisor_reaped(struct supervisor *s, pid_t pid, int wait_status)
{
        for (struct process *p = s->processes; p; p = p->next) {
                if (p->pid != pid)
                        continue;
                if (WIFSIGNALED(wait_status))
                        log_warning(COMPONENT, "brick process %u (pid %d) was ended by signal %d", p->number, (int)pid,
                                    WTERMSIG(wait_status));
                else
                        log_notice(COMPONENT, "brick process %u (pid %d) exited with status %d", p->number, (int)pid,
                                   WEXITSTATUS(wait_status));
                if (p->child)
                        p->pid = 0;
                process_kick(p);
        }
}
