/* Keeping brick processes in the wanted state (pool/supervisor.h, pool/supervisor_state.h): the keepers, which process a
 * brick belongs to, finding processes again, and what others may ask. Loop thread only. */
#include "pool/supervisor_state.h"

#include <stdio.h>
#include <sys/wait.h>

#include "base/log.h"
#include "pool/transport_key.h"

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
                log_info(SUPERVISOR_COMPONENT, "brick %s is served by process %u on port %d", b->path, p->number, p->port);
        } else {
                served_failed(b, loop_now(p->supervisor->loop), &why);
                log_error(SUPERVISOR_COMPONENT, "brick %s cannot be served: %s", b->path, why.text);
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
                log_warning(SUPERVISOR_COMPONENT, "brick %s: detaching: %.*s", b->path, (int)rep.error.len, rep.error.s);
        else
                log_info(SUPERVISOR_COMPONENT, "brick %s is not served any more", b->path);
        b->attached = b->current = b->down = b->draining = false;
        if (!b->wanted) /* else it was wanted again meanwhile: whoever waits, waits for the attach */
                served_settle(b);
        if (b->orphan)
                served_free(p->supervisor, b);
}

/* Several bricks are drained together and then detached one by one: clients hold locks on all bricks of a set. */
static struct served *next_to_drain(const struct process *p)
{
        for (struct served *b = p->supervisor->bricks; b; b = b->next)
                if (b->process == p && !b->wanted && b->attached && !b->draining)
                        return b;
        return NULL;
}

static void start_drains(struct fibre *self, struct process *p)
{
        for (struct served *b; !p->lost && (b = next_to_drain(p));) {
                _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
                struct control_rep rep;
                struct control_detach_req req = {.path = str_of(b->path)};
                b->draining = true; /* a process that does not know the call drains at the detach */
                (void)process_call(self, p, CONTROL_DRAIN, &control_detach_req_desc, &req, &control_rep_desc, &rep, &a);
        }
}

/* The brick belongs to the process it is to be moved to; it is attached nowhere. */
static void served_move(struct served *b)
{
        b->process = TAKE_PTR(b->move_to);
        b->failures = 0;
        b->not_before = 0;
        b->why = (struct error){0};
        process_kick(b->process);
}

static void move_detached(struct process *p)
{
        for (struct served *b = p->supervisor->bricks; b; b = b->next)
                if (b->process == p && b->move_to && !b->attached)
                        served_move(b);
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
                if (b->process == p && (wants_attach(b, now) || ((!b->wanted || b->move_to) && b->attached)))
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
                move_detached(p);
                if (process_gone(self, p, NS_PER_SEC)) {
                        error_set(&why, -EPIPE, "it ended unexpectedly, see %s/brick-%u.log",
                                  p->supervisor->config.process.log_dir, p->number);
                        process_failed(p, &why);
                        return;
                }
        }
        move_detached(p);
        if (process_load(p) == 0)
                return;
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
                start_drains(self, p);
                if (b->wanted && !b->move_to)
                        try_attach(self, p, b);
                else
                        try_detach(self, p, b);
                move_detached(p);
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

int keeper_start(struct process *p)
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
                log_error(SUPERVISOR_COMPONENT, "brick process %u (pid %d) cannot be supervised: out of memory", number, (int)pid);
}

static void ask_found(struct fibre *self, void *arg)
{
        struct process *p = arg;
        int r = process_connect(self, p);
        if (r == 0)
                r = process_ask(self, p, false);
        if (r == 0) {
                log_notice(SUPERVISOR_COMPONENT, "brick process %u found running, pid %d, port %d", p->number, (int)p->pid,
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
                        log_error(SUPERVISOR_COMPONENT, "brick process %u is not supervised: out of memory", p->number);
        }
}

static void begin(struct fibre *self, void *arg)
{
        struct supervisor *s = arg;
        for (struct process *p = s->processes; p; p = p->next)
                if (fibre_group_start(s->loop, &s->finding, "brick finder", ask_found, p) < 0)
                        log_error(SUPERVISOR_COMPONENT, "brick process %u cannot be asked: out of memory", p->number);
        fibre_group_wait_all(self, &s->finding);
        start_found(s);
        s->begun = true;
        for (struct served *b = s->bricks; b; b = b->next)
                if (assign(s, b) < 0)
                        log_error(SUPERVISOR_COMPONENT, "brick %s is not served: out of memory", b->path);
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

uint64_t until(const struct supervisor *s, uint64_t deadline)
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
        while ((b->attached || b->busy) && until(s, deadline) > 0) {
                b->settled = (struct fibre_event){0};
                process_kick(b->process);
                (void)fibre_event_wait(self, &b->settled, until(s, deadline));
        }
        struct process *p = b->process;
        bool stuck = b->attached || b->busy;
        if (stuck)
                b->orphan = true;
        else
                served_free(s, b);
        if (p)
                process_kick(p);
        return stuck ? -ETIMEDOUT : 0;
}

void supervisor_release(struct supervisor *s, const char *path)
{
        struct served *b = served_find(s, path);
        if (!b)
                return;
        b->wanted = false;
        if (b->process)
                process_kick(b->process);
}

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

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
                        log_warning(SUPERVISOR_COMPONENT, "brick process %u (pid %d) was ended by signal %d", p->number, (int)pid,
                                    WTERMSIG(wait_status));
                else
                        log_notice(SUPERVISOR_COMPONENT, "brick process %u (pid %d) exited with status %d", p->number, (int)pid,
                                   WEXITSTATUS(wait_status));
                if (p->child)
                        p->pid = 0;
                process_kick(p);
        }
}
