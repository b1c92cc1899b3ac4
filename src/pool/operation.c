/* The commands that change volumes, as fibres (pool/pool.h).
 *
 * Order of every operation: lock, copy the volume, durable intent (worker), bricks (supervisor), durable result
 * (worker), replace the volume in memory, tell clients. One operation at a time. Loop thread, in a fibre.
 */
#include <stdio.h>

#include "base/log.h"
#include "pool/heal.h"
#include "pool/pool.h"

#define COMPONENT "volumes"

int pool_find(const struct pool *p, const char *name, struct volume **ret, struct error *e)
{
        const struct volume_entry *entry = volume_set_entry(&p->volumes, name);
        if (entry && !entry->volume)
                return error_set(e, -EIO, "Volume %s cannot be used: %s", name, entry->why.text);
        struct volume *v = volume_set_find(&p->volumes, name);
        if (!v)
                return error_set(e, -ENOENT, "Volume %s does not exist", name);
        *ret = v;
        return 0;
}

/* ---- on the worker ----------------------------------------------------------------------------------------------- */

enum step {
        STEP_DEFINE,
        STEP_CREATE,
        STEP_START,
        STEP_STOP,
        STEP_SETTLE,
        STEP_REVERT,
        STEP_OPTIONS,
        STEP_DELETE,
        STEP_RECOVER
};

struct work {
        enum step step;
        const struct change *change;
        struct volume *volume;
        unsigned flags; /* CREATE: enum check_flags */
        bool force;
        bool gone;
        enum volume_status status;
        struct error *error;
        int result;
};

static int work_step(struct work *w)
{
        switch (w->step) {
        case STEP_DEFINE:
                return check_define(&w->change->check, w->volume, w->force, w->error);
        case STEP_CREATE:
                return change_create(w->change, w->volume, w->flags, w->error);
        case STEP_START:
                return change_start(w->change, w->volume, w->force, w->error);
        case STEP_STOP:
                return change_stop(w->change, w->volume, w->force, w->error);
        case STEP_SETTLE:
                return change_settle(w->change, w->volume, w->status, w->error);
        case STEP_REVERT:
                return change_revert(w->change, w->volume, w->error);
        case STEP_OPTIONS:
                return change_options(w->change, w->volume, w->error);
        case STEP_DELETE:
                return change_delete(w->change, w->volume, w->error);
        case STEP_RECOVER:
                return change_recover(w->change, w->volume, &w->gone, w->error);
        }
        return -EINVAL;
}

static void work_run(void *arg)
{
        struct work *w = arg;
        w->result = work_step(w);
}

static int work_do(struct fibre *self, struct pool *p, struct work w)
{
        w.change = &p->change;
        blocking_run(self, p->worker, work_run, &w);
        return w.result;
}

/* ---- in memory --------------------------------------------------------------------------------------------------- */

/* V, durable already, replaces what was in memory. */
static void adopt(struct pool *p, struct volume *v)
{
        if (volume_set_put(&p->volumes, v->name, v, NULL) == 0)
                return;
        log_error(COMPONENT, "volume %s: out of memory; its new state is on disk and is seen at the next start",
                  v->name);
        volume_free(v);
}

/* The name stays taken until the next start, which tries to undo again. */
static void adopt_unusable(struct pool *p, const char *name, const struct error *why)
{
        struct error text = *why;
        error_prefix(&text, "a create of it failed and could not be undone; it is undone at the next start");
        (void)volume_set_put(&p->volumes, name, NULL, &text);
}

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

/* What a brick process is told beside the volfile that others may ask for: whose it is. (Not its host: clients compare
 * what the brick says of that with the name that the system has, to find the bricks of their own machine.) */
static int add_owner(const struct pool *p, struct volfile *v)
{
        char uuid[UUID_TEXT_SIZE];
        return section_add_option(v, v->sections[0], "glusterd-uuid", gfid_format(store_node(p->store), uuid));
}

/* The volfile of brick I for its process. */
static int brick_volfile(const struct pool *p, const struct volume *v, size_t i, struct buf *out, struct error *e)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(VOLUME_BYTES_MAX);
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        _cleanup_volfile_ struct volfile *parsed = NULL;
        struct volume_spec spec;
        int r = volume_describe(v, &a, &spec);
        if (r == 0)
                r = generate_brick(&spec, i, &text, e);
        if (r == 0)
                r = volfile_parse((const char *)text.data, text.len, &parsed, e);
        if (r == 0)
                r = add_owner(p, parsed);
        return r < 0 ? r : volfile_format(parsed, out);
}

static int want_brick(struct pool *p, const struct volume *v, size_t i, struct error *e)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        struct error why = {0};
        int r = brick_volfile(p, v, i, &text, &why);
        const char *volfile = r == 0 ? buf_cstr(&text) : NULL;
        if (r == 0)
                r = volfile ? supervisor_want(p->supervisor, v->bricks[i].path, volfile) : -ENOMEM;
        if (r == 0)
                return 0;
        return error_set(e, r, "the volfile of brick %s:%s: %s", v->bricks[i].host, v->bricks[i].path,
                         why.code ? why.text : strerror(-r));
}

static int want_bricks(struct pool *p, const struct volume *v, struct error *e)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < v->n_bricks; i++)
                if (v->bricks[i].local)
                        r = want_brick(p, v, i, e);
        return r;
}

static int wait_bricks(struct fibre *self, struct pool *p, const struct volume *v, struct error *e)
{
        int first = 0;
        uint64_t deadline = loop_now(p->loop) + SUPERVISOR_PATIENCE;
        for (size_t i = 0; i < v->n_bricks; i++) {
                struct error why = {0};
                if (!v->bricks[i].local)
                        continue;
                int r = supervisor_wait(self, p->supervisor, v->bricks[i].path, deadline, &why);
                if (r < 0 && first == 0)
                        first = error_set(e, r, "Commit failed on localhost. Brick %s:%s could not be started: %s",
                                          v->bricks[i].host, v->bricks[i].path, why.text);
        }
        return first;
}

static void unwant_bricks(struct fibre *self, struct pool *p, const struct volume *v)
{
        uint64_t deadline = loop_now(p->loop) + SUPERVISOR_PATIENCE;
        for (size_t i = 0; i < v->n_bricks; i++)
                if (v->bricks[i].local)
                        supervisor_release(p->supervisor, v->bricks[i].path);
        for (size_t i = 0; i < v->n_bricks; i++)
                if (v->bricks[i].local && supervisor_unwant(self, p->supervisor, v->bricks[i].path, deadline) < 0)
                        log_warning(COMPONENT,
                                    "brick %s:%s does not stop yet; it is detached as soon as its process answers",
                                    v->bricks[i].host, v->bricks[i].path);
}

/* ---- the commands, under the lock -------------------------------------------------------------------------------- */

static int create(struct fibre *self, struct pool *p, struct volume *v, unsigned flags, struct error *e)
{
        int r = work_do(self, p, (struct work){.step = STEP_CREATE, .volume = v, .flags = flags, .error = e});
        if (r == 0) {
                log_notice(COMPONENT, "volume %s created", v->name);
                adopt(p, v);
                return 0;
        }
        if (v->intent == INTENT_CREATING && v->version > 0)
                adopt_unusable(p, v->name, e);
        volume_free(v);
        return r;
}

static int start(struct fibre *self, struct pool *p, struct volume *v, const void *arg, struct error *e)
{
        bool force = *(const bool *)arg;
        bool was_started = v->status == VOLUME_STARTED;
        int r = work_do(self, p, (struct work){.step = STEP_START, .volume = v, .force = force, .error = e});
        if (r < 0)
                return r;
        r = want_bricks(p, v, e);
        if (r == 0)
                r = wait_bricks(self, p, v, e);
        if (r == 0 || force)
                r = work_do(self, p,
                            (struct work){.step = STEP_SETTLE, .volume = v, .status = VOLUME_STARTED, .error = e});
        if (r == 0)
                return 0;
        if (!was_started)
                unwant_bricks(self, p, v);
        (void)work_do(self, p, (struct work){.step = STEP_REVERT, .volume = v});
        return r;
}

static int stop(struct fibre *self, struct pool *p, struct volume *v, const void *arg, struct error *e)
{
        bool force = *(const bool *)arg;
        int r = work_do(self, p, (struct work){.step = STEP_STOP, .volume = v, .force = force, .error = e});
        if (r < 0)
                return r;
        heal_stop(self, p, v);
        unwant_bricks(self, p, v);
        return work_do(self, p, (struct work){.step = STEP_SETTLE, .volume = v, .status = VOLUME_STOPPED, .error = e});
}

/* The bricks are told before the clients: a client that comes with new options finds a brick that knows them. */
static int change_options_of(struct fibre *self, struct pool *p, struct volume *v, const void *arg, struct error *e)
{
        const struct option_change *change = arg;
        int r = change->apply(v, change->arg, e);
        if (r == 0)
                r = work_do(self, p, (struct work){.step = STEP_OPTIONS, .volume = v, .error = e});
        if (r < 0)
                return r;
        struct error why = {0};
        if (v->status == VOLUME_STARTED && (want_bricks(p, v, &why) < 0 || wait_bricks(self, p, v, &why) < 0))
                log_error(COMPONENT, "volume %s: its options are stored, but not in force on every brick: %s", v->name,
                          why.text);
        return 0;
}

/* ARG: what the change wants to know. */
typedef int (*change_fn)(struct fibre *self, struct pool *p, struct volume *v, const void *arg, struct error *e);

/* CHANGE works on a copy; what it made of it goes into memory when the copy is what the disk says. */
static int with_copy(struct fibre *self, struct pool *p, const char *name, change_fn change, const void *arg,
                     struct error *e)
{
        struct volume *current;
        int r = pool_find(p, name, &current, e);
        if (r < 0)
                return r;
        struct volume *v = volume_copy(current);
        if (!v)
                return error_set(e, -ENOMEM, "out of memory");
        r = change(self, p, v, arg, e);
        if (r == 0) {
                heal_follow(p, v);
                adopt(p, v);
                serve_notify(p);
        } else {
                volume_free(v);
        }
        return r;
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

int operation_define(struct fibre *self, struct pool *p, struct volume *v, bool force, struct error *e)
{
        fibre_mutex_lock(self, &p->changing);
        int r = work_do(self, p, (struct work){.step = STEP_DEFINE, .volume = v, .force = force, .error = e});
        fibre_mutex_unlock(self, &p->changing);
        return r;
}

int operation_create(struct fibre *self, struct pool *p, struct volume *v, unsigned flags, struct error *e)
{
        fibre_mutex_lock(self, &p->changing);
        int r = create(self, p, v, flags, e);
        fibre_mutex_unlock(self, &p->changing);
        if (r == 0)
                serve_notify(p);
        return r;
}

int operation_start(struct fibre *self, struct pool *p, const char *name, bool force, struct error *e)
{
        fibre_mutex_lock(self, &p->changing);
        int r = with_copy(self, p, name, start, &force, e);
        fibre_mutex_unlock(self, &p->changing);
        if (r == 0)
                log_notice(COMPONENT, "volume %s started", name);
        return r;
}

int operation_stop(struct fibre *self, struct pool *p, const char *name, bool force, struct error *e)
{
        fibre_mutex_lock(self, &p->changing);
        int r = with_copy(self, p, name, stop, &force, e);
        fibre_mutex_unlock(self, &p->changing);
        if (r == 0)
                log_notice(COMPONENT, "volume %s stopped", name);
        return r;
}

int operation_options(struct fibre *self, struct pool *p, const char *name, const struct option_change *change,
                      struct error *e)
{
        fibre_mutex_lock(self, &p->changing);
        int r = with_copy(self, p, name, change_options_of, change, e);
        fibre_mutex_unlock(self, &p->changing);
        return r;
}

int operation_delete(struct fibre *self, struct pool *p, const char *name, struct error *e)
{
        struct volume *v;
        fibre_mutex_lock(self, &p->changing);
        int r = pool_find(p, name, &v, e);
        if (r == 0)
                r = work_do(self, p, (struct work){.step = STEP_DELETE, .volume = v, .error = e});
        if (r == 0)
                volume_set_remove(&p->volumes, name);
        fibre_mutex_unlock(self, &p->changing);
        if (r == 0) {
                log_notice(COMPONENT, "volume %s deleted; its bricks keep their data", name);
                serve_notify(p);
        }
        return r;
}

/* ---- after a crash ----------------------------------------------------------------------------------------------- */

static void recover(struct fibre *self, struct pool *p, struct volume_entry *entry)
{
        char name[sizeof entry->name];
        struct error why = {0};
        memcpy(name, entry->name, sizeof name);
        struct volume *v = volume_copy(entry->volume);
        bool gone = v && v->intent == INTENT_CREATING;
        int r = v ? work_do(self, p, (struct work){.step = STEP_RECOVER, .volume = v, .error = &why})
                  : error_set(&why, -ENOMEM, "out of memory");
        if (r < 0) {
                log_error(COMPONENT, "volume %s: an interrupted command can be neither finished nor undone: %s", name,
                          why.text);
                volume_free(v);
                return;
        }
        if (gone) {
                log_notice(COMPONENT, "volume %s: an interrupted create was undone", name);
                volume_free(v);
                volume_set_remove(&p->volumes, name);
                return;
        }
        log_notice(COMPONENT, "volume %s: an interrupted command was settled: %s", name, volume_status_name(v->status));
        if (v->status == VOLUME_STARTED && want_bricks(p, v, &why) < 0)
                log_error(COMPONENT, "volume %s cannot be served: %s", name, why.text);
        heal_follow(p, v);
        adopt(p, v);
}

static struct volume_entry *next_interrupted(struct pool *p, size_t *at)
{
        for (; *at < p->volumes.n; (*at)++) {
                struct volume_entry *entry = &p->volumes.v[*at];
                if (entry->volume && entry->volume->intent != INTENT_NONE)
                        return entry;
        }
        return NULL;
}

static void recover_all(struct fibre *self, void *arg)
{
        struct pool *p = arg;
        struct volume_entry *entry;
        fibre_mutex_lock(self, &p->changing);
        for (size_t at = 0; (entry = next_interrupted(p, &at));) {
                size_t before = p->volumes.n;
                recover(self, p, entry);
                if (p->volumes.n == before)
                        at++;
        }
        fibre_mutex_unlock(self, &p->changing);
        serve_notify(p);
}

int operation_resume(struct pool *p)
{
        for (size_t i = 0; i < p->volumes.n; i++) {
                const struct volume_entry *entry = &p->volumes.v[i];
                struct error why = {0};
                if (!entry->volume) {
                        log_error(COMPONENT, "volume %s is not started: %s", entry->name, entry->why.text);
                        continue;
                }
                bool serve = entry->volume->status == VOLUME_STARTED && entry->volume->intent != INTENT_STOPPING;
                if (serve && want_bricks(p, entry->volume, &why) < 0)
                        log_error(COMPONENT, "volume %s cannot be served: %s", entry->name, why.text);
                if (serve)
                        heal_follow(p, entry->volume);
        }
        int r = supervisor_begin(p->supervisor);
        if (r == 0)
                r = heal_keeper_begin(p->healer);
        return r < 0 ? r : fibre_start(p->loop, "recovery", recover_all, p);
}
