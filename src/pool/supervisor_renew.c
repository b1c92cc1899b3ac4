/* New processes for bricks that are served: one brick after the other moves (pool/supervisor.h: supervisor_renew()).
 *
 * Loop thread only. Processes are held meanwhile, so they stay although they may have no bricks.
 */
#include <jansson.h>

#include "base/log.h"
#include "pool/supervisor_state.h"

#define CLIENTS_LIMIT (10 * NS_PER_SEC) /* for clients to come back after their brick moved */
#define CLIENTS_POLL (50 * NS_PER_MSEC)

struct renewal {
        struct supervisor *supervisor;
        struct process *old, *new;
        bool (*careful)(void *arg, const char *path);
        void *arg;
};

/* Clients of the brick PATH; 0 when that cannot be found out. */
static unsigned count_clients(struct fibre *self, struct process *p, const char *path)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        struct control_status_rep rep;
        unsigned n = 0;
        if (!p->client || process_call(self, p, CONTROL_STATUS, NULL, NULL, &control_status_rep_desc, &rep, &a) < 0)
                return 0;
        json_t *bricks = json_loadb(rep.bricks.s, rep.bricks.len, 0, NULL);
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *brick = json_array_get(bricks, i);
                const char *found = json_string_value(json_object_get(brick, "path"));
                if (found && streq(found, path))
                        n = (unsigned)json_integer_value(json_object_get(brick, "clients"));
        }
        json_decref(bricks);
        return n;
}

/* Waits until as many clients have come back; stock's take three seconds. */
static void wait_clients(struct fibre *self, struct renewal *w, const char *path, unsigned clients)
{
        uint64_t limit = loop_now(w->supervisor->loop) + CLIENTS_LIMIT;
        while (count_clients(self, w->new, path) < clients && loop_now(w->supervisor->loop) < limit)
                fibre_sleep(self, CLIENTS_POLL);
}

/* Waits until B is served by P or was refused there. */
static int wait_moved(struct fibre *self, struct renewal *w, struct served *b, struct process *p, struct error *e)
{
        uint64_t deadline = loop_now(w->supervisor->loop) + SUPERVISOR_PATIENCE +
                            w->supervisor->config.process.drain_seconds * NS_PER_SEC;
        for (;;) {
                if (b->process == p && b->attached)
                        return 0;
                if (b->process == p && b->why.code)
                        return error_set(e, b->why.code, "%s", b->why.text);
                if (until(w->supervisor, deadline) == 0)
                        return error_set(e, -ETIMEDOUT, "the brick processes take too long");
                (void)fibre_event_wait(self, &b->settled, until(w->supervisor, deadline));
                b->settled = (struct fibre_event){0};
        }
}

static void move(struct served *b, struct process *to)
{
        struct process *from = b->process;
        b->settled = (struct fibre_event){0};
        b->why = (struct error){0};
        b->move_to = to;
        process_kick(from);
}

static int move_brick(struct fibre *self, struct renewal *w, struct served *b, struct error *e)
{
        struct error why = {0};
        bool careful = w->careful(w->arg, b->path);
        unsigned clients = careful ? count_clients(self, w->old, b->path) : 0;
        move(b, w->new);
        int r = wait_moved(self, w, b, w->new, &why);
        if (r == 0) {
                wait_clients(self, w, b->path, clients);
                return 0;
        }
        if (b->process == w->old)
                b->move_to = NULL;
        else
                move(b, w->old);
        if (wait_moved(self, w, b, w->old, NULL) < 0)
                log_error(SUPERVISOR_COMPONENT, "brick %s: neither its new process nor its old one serves it", b->path);
        return error_set(e, r, "brick %s: the new process does not serve it, it stays with the old one: %s", b->path,
                         why.text);
}

static struct served *next_to_move(const struct renewal *w)
{
        for (struct served *b = w->supervisor->bricks; b; b = b->next)
                if (b->process == w->old && b->wanted)
                        return b;
        return NULL;
}

static int renew(struct fibre *self, struct renewal *w, struct error *e)
{
        struct error why = {0};
        int r = process_up(self, w->new, &why);
        if (r < 0)
                return error_set(e, r, "the new brick process: %s; the old one goes on", why.text);
        r = keeper_start(w->new);
        if (r < 0)
                return error_set(e, r, "out of memory; the old brick process goes on");
        for (struct served *b; r == 0 && (b = next_to_move(w));)
                r = move_brick(self, w, b, e);
        return r;
}

int supervisor_renew(struct fibre *self, struct supervisor *s, const char *path,
                     bool (*careful)(void *arg, const char *path), void *arg, struct error *e)
{
        struct served *b = served_find(s, path);
        struct process *old = b ? b->process : NULL, *new = NULL;
        if (!old || !b->attached || !old->client)
                return error_set(e, -ENOTCONN, "brick %s is not served now; it is started by itself", path);
        new = process_new(s, free_number(s), 0);
        if (!new)
                return error_set(e, -ENOMEM, "out of memory");
        struct renewal w = {.supervisor = s, .old = old, .new = new, .careful = careful, .arg = arg};
        old->holds++;
        new->holds++;
        old->ending = true;
        int r = renew(self, &w, e);
        old->ending = r == 0;
        old->holds--;
        new->holds--;
        process_kick(old);
        if (new->kept) {
                process_kick(new);
                return r;
        }
        if (new->client)
                process_end(self, new);
        process_free(new);
        return r;
}
