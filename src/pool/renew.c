/* Renewal of brick processes (pool/renew.h).
 *
 * A process is replaced when it still is the one that served the brick at the beginning: bricks that share a process
 * are so moved once. Holds `changing` for its whole length. Loop thread, in a fibre.
 */
#include "pool/renew.h"

#include <stdio.h>

#include "base/log.h"

#define COMPONENT "bricks"

struct target {
        char *name, *path;
        pid_t old_pid;
};

struct targets {
        struct target *v;
        size_t n;
};

static void targets_done(struct targets *t)
{
        for (size_t i = 0; i < t->n; i++) {
                free(t->v[i].name);
                free(t->v[i].path);
        }
        free(t->v);
}

static bool is_named(const json_t *names, const char *name)
{
        if (!names)
                return true;
        for (size_t i = 0; i < json_array_size(names); i++) {
                const char *n = json_string_value(json_array_get(names, i));
                if (n && streq(n, name))
                        return true;
        }
        return false;
}

static int add_target(struct pool *p, const struct brick_record *b, const char *name, struct targets *t)
{
        struct brick_state state;
        if (supervisor_state(p->supervisor, b->path, &state) < 0 || !state.online)
                return 0; /* it is started, by the program as it is now, when it can be */
        struct target *v = reallocarray(t->v, t->n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        t->v = v;
        v[t->n] = (struct target){.name = strdup(name), .path = strdup(b->path), .old_pid = state.pid};
        t->n++;
        return v[t->n - 1].name && v[t->n - 1].path ? 0 : -ENOMEM;
}

/* The served bricks among NAMES; *ret_known: how many of all bricks of started volumes were meant. */
static int find_targets(struct pool *p, const json_t *names, struct targets *ret, size_t *ret_known)
{
        int r = 0;
        for (size_t i = 0; i < p->volumes.n; i++) {
                const struct volume *v = p->volumes.v[i].volume;
                for (size_t k = 0; r == 0 && v && v->status == VOLUME_STARTED && k < v->n_bricks; k++) {
                        char name[PATH_LIMIT + 512];
                        (void)brick_text(&v->bricks[k], name, sizeof name);
                        if (!v->bricks[k].local || !is_named(names, name))
                                continue;
                        (*ret_known)++;
                        r = add_target(p, &v->bricks[k], name, ret);
                }
        }
        return r;
}

/* A volume with several bricks here must not lose two at a time: clients come back to one before the next goes. */
static bool has_siblings(void *arg, const char *path)
{
        const struct pool *p = arg;
        for (size_t i = 0; i < p->volumes.n; i++) {
                const struct volume *v = p->volumes.v[i].volume;
                size_t local = 0;
                bool mine = false;
                for (size_t k = 0; v && k < v->n_bricks; k++) {
                        local += v->bricks[k].local;
                        mine = mine || (v->bricks[k].local && streq(v->bricks[k].path, path));
                }
                if (mine)
                        return v->set_size > 1 && local > 1;
        }
        return false;
}

static int renew_one(struct fibre *self, struct pool *p, const struct target *t, struct error *e)
{
        struct brick_state now;
        if (supervisor_state(p->supervisor, t->path, &now) < 0 || !now.online || now.pid != t->old_pid)
                return 0;
        log_notice(COMPONENT, "the process of brick %s, pid %d, is replaced", t->name, (int)now.pid);
        return supervisor_renew(self, p->supervisor, t->path, has_siblings, p, e);
}

static json_t *show_targets(const struct pool *p, const struct targets *t)
{
        json_t *list = json_array();
        for (size_t i = 0; i < t->n; i++) {
                struct brick_state now = {0};
                (void)supervisor_state(p->supervisor, t->v[i].path, &now);
                (void)json_array_append_new(list,
                                            json_pack("{s:s,s:i,s:i,s:i}", "name", t->v[i].name, "old_pid",
                                                      (int)t->v[i].old_pid, "pid", (int)now.pid, "port", now.port));
        }
        return list;
}

static int renew_all(struct fibre *self, struct pool *p, const json_t *names, json_t **ret, struct error *e)
{
        _cleanup_(targets_done) struct targets t = {0};
        size_t known = 0;
        int r = find_targets(p, names, &t, &known);
        if (r < 0)
                return error_set(e, r, "out of memory");
        if (names && known < json_array_size(names))
                return error_set(e, -ENOENT, "not all of these are bricks of started volumes on this node");
        for (size_t i = 0; r == 0 && i < t.n; i++)
                r = renew_one(self, p, &t.v[i], e);
        if (r == 0)
                *ret = show_targets(p, &t);
        return r;
}

int renew_bricks(struct fibre *self, struct pool *p, const json_t *names, json_t **ret, struct error *e)
{
        fibre_mutex_lock(self, &p->changing);
        int r = renew_all(self, p, names, ret, e);
        fibre_mutex_unlock(self, &p->changing);
        return r;
}
