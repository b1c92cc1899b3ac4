/* The bricks a process serves: opened, reconfigured, taken down, closed.
 *
 *      OPENING --> UP --> DOWN           (storage failed; stays listed until it is detached or attached again)
 *         \---------\------\----> CLOSING --> freed
 *
 * Everything here runs on the control loop, except export_remove_conn/use/unuse. What touches the disk runs as a task
 * on a thread of its own, so a hung disk holds up its own brick only. A brick is closed when it is CLOSING and has no
 * users; `closing` and `users` change under the export's lock so that the last user cannot miss it.
 */
#include <stdio.h>
#include <sys/file.h>

#include "base/log.h"
#include "brick/doorman.h"
#include "brick/drain.h"
#include "brick/lane.h"
#include "brick/lender.h"
#include "brick/transport.h"
#include "proto/handshake.h"

#define CLAIM_PATIENCE_MS 2000
#define CLAIM_STEP_MS 10

struct export_waiter {
        struct export_waiter *next;
        export_done_fn done;
        void *arg;
};

/* What runs beside the loop, for one export. */
struct export_task {
        struct export *export; /* referenced */
        struct export_config config;
        struct tls_context *tls; /* of a brick that has TLS on */
        int result;
        struct error error;
        export_done_fn done;
        void *arg;
};

static void export_drained(void *arg);

/* ---- references, users ------------------------------------------------------------------------------------------- */

struct export *export_ref(struct export *x)
{
        atomic_fetch_add(&x->refs, 1);
        return x;
}

struct export *export_unref(struct export *x)
{
        if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
                return NULL;
        struct process *p = x->process;
        pthread_mutex_destroy(&x->lock);
        free(x);
        atomic_fetch_sub(&p->live_exports, 1);
        process_check_stopped(p);
        return NULL;
}

struct export *export_find(struct process *p, const char *path)
{
        struct export *x = p->exports;
        while (x && !streq(x->config.path, path))
                x = x->next;
        return x;
}

void export_add_conn(struct export *x, struct conn *c)
{
        c->export = x;
        pthread_mutex_lock(&x->lock);
        c->export_prev = NULL;
        c->export_next = x->conns;
        if (x->conns)
                x->conns->export_prev = c;
        x->conns = c;
        x->conn_count++;
        x->users++;
        pthread_mutex_unlock(&x->lock);
}

/* One user less. Under the lock, which it releases: X may be gone afterwards. */
static void export_leave(struct export *x)
{
        struct loop *loop = x->process->loop;
        bool last = --x->users == 0 && x->closing;
        if (last)
                export_ref(x);
        pthread_mutex_unlock(&x->lock);
        while (last && loop_post(loop, export_drained, x) < 0)
                (void)usleep(1000);
}

void export_remove_conn(struct export *x, struct conn *c)
{
        pthread_mutex_lock(&x->lock);
        if (c->export_prev)
                c->export_prev->export_next = c->export_next;
        else
                x->conns = c->export_next;
        if (c->export_next)
                c->export_next->export_prev = c->export_prev;
        x->conn_count--;
        export_leave(x);
}

bool export_use(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        bool ok = !x->closing && !x->maintained;
        if (ok) {
                x->maintained = true;
                x->users++;
        }
        pthread_mutex_unlock(&x->lock);
        return ok;
}

void export_using(struct export *x, uint64_t now)
{
        pthread_mutex_lock(&x->lock);
        x->maintained_since = now;
        pthread_mutex_unlock(&x->lock);
}

void export_unuse(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        x->maintained = false;
        x->maintained_since = 0;
        export_leave(x);
}

bool export_use_landfill(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        bool ok = !x->closing && !x->purged;
        if (ok) {
                x->purged = true;
                x->users++;
        }
        pthread_mutex_unlock(&x->lock);
        return ok;
}

void export_unuse_landfill(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        x->purged = false;
        export_leave(x);
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void export_close_storage(struct export *x)
{
        x->brick = brick_close(x->brick);
        x->claim_fd = close_fd(x->claim_fd);
}

static void close_task(void *arg)
{
        struct export_task *t = arg;
        export_close_storage(t->export);
}

static void tell_waiters(struct export *x)
{
        while (x->waiters) {
                struct export_waiter *w = x->waiters;
                x->waiters = w->next;
                w->done(x, 0, "", w->arg);
                free(w);
        }
}

static void close_done(void *arg)
{
        struct export_task *t = arg;
        struct export *x = t->export;
        log_info("export", "Brick %s is closed.", x->config.path);
        free(t);
        tell_waiters(x);
        export_unref(x); /* the task's */
        export_unref(x); /* the list's */
}

static void export_close(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        bool ready = x->closing && x->users == 0 && !x->close_started;
        pthread_mutex_unlock(&x->lock);
        if (!ready)
                return;
        x->close_started = true;
        struct export_task *t = calloc(1, sizeof *t);
        if (t)
                t->export = export_ref(x);
        if (t && task_start(x->process, close_task, close_done, t) == 0)
                return;
        /* No thread for it: closing a few descriptors here is better than never. */
        log_warning("export", "Brick %s is closed on the control loop: no thread could be started.", x->config.path);
        export_close_storage(x);
        if (t)
                export_unref(x);
        free(t);
        tell_waiters(x);
        export_unref(x);
}

static void export_drained(void *arg)
{
        struct export *x = arg;
        export_close(x);
        export_unref(x);
}

static void export_unlist(struct export *x)
{
        struct export **at = &x->process->exports;
        while (*at && *at != x)
                at = &(*at)->next;
        if (*at)
                *at = x->next;
}

/* Ends all connections; their lanes do the rest. */
static void export_disconnect(struct export *x, bool child_down)
{
        pthread_mutex_lock(&x->lock);
        for (struct conn *c = x->conns; c; c = c->export_next) {
                if (child_down)
                        conn_callback(c, CALLBACK_CHILD_DOWN);
                conn_shutdown(c);
        }
        pthread_mutex_unlock(&x->lock);
}

int export_wait_closed(struct export *x, export_done_fn done, void *arg)
{
        struct export_waiter *w = malloc(sizeof *w);
        if (!w) {
                done(x, -ENOMEM, "Out of memory.", arg);
                return -ENOMEM;
        }
        *w = (struct export_waiter){.next = x->waiters, .done = done, .arg = arg};
        x->waiters = w;
        return 0;
}

void export_detach(struct export *x, export_done_fn done, void *arg)
{
        struct process *p = x->process;
        if (done)
                (void)export_wait_closed(x, done, arg);
        x->drain = drain_free(x->drain);
        bool opening = x->state == EXPORT_OPENING;
        export_unlist(x);
        x->state = EXPORT_CLOSING;
        pthread_mutex_lock(&x->lock);
        x->closing = true;
        pthread_mutex_unlock(&x->lock);
        export_disconnect(x, false);
        for (size_t i = 0; i < ELEMENTSOF(x->lanes); i++)
                if (x->lanes[i])
                        lane_stop(x->lanes[i]);
        if (!opening) /* else open_done() goes on */
                export_close(x);
        if (p->retiring && !p->exports)
                process_stop(p);
}

void export_take_down(struct export *x, const char *reason)
{
        if (x->state != EXPORT_UP)
                return;
        log_error("export", "%s The brick is taken down and its clients are disconnected.", reason);
        x->state = EXPORT_DOWN;
        (void)snprintf(x->reason, sizeof x->reason, "%s", reason);
        export_disconnect(x, true);
        control_changed(x->process);
}

/* ---- TLS ---------------------------------------------------------------------------------------------------------- */

/* A process has one certificate and one set of rules: which brick a client wants is known only after the handshake. */
static bool tls_fits(const struct process *p, const struct export_config *config)
{
        for (const struct export *x = p->exports; x; x = x->next)
                if (config->tls && x->config.tls && !streq(x->config.path, config->path) &&
                    !tls_settings_equal(&x->config.tls_settings, &config->tls_settings))
                        return false;
        return true;
}

/* Task: reads the files a brick with TLS needs. */
static int tls_load(struct export_task *t)
{
        return t->config.tls ? tls_context_load(&t->config.tls_settings, &t->tls, &t->error) : 0;
}

/* Control loop: uses what was read. */
static int tls_begin(struct export_task *t)
{
        struct process *p = t->export->process;
        if (!t->tls || p->stopping)
                return 0;
        if (!tls_fits(p, &t->config)) /* another brick came meanwhile */
                return error_set(&t->error, -EXDEV, "Brick %s: a process has one set of TLS files and rules, and another "
                                 "brick of it was just given others.", t->config.path);
        int r = p->doorman ? 0 : doorman_new(p, &p->doorman);
        if (r < 0)
                return error_set(&t->error, r, "TLS: no thread for handshakes can be started (%s).", strerror(-r));
        if (*tls_context_warning(t->tls))
                log_warning("export", "Brick %s: %s", t->config.path, tls_context_warning(t->tls));
        doorman_use(p->doorman, &t->config.tls_settings, TAKE_PTR(t->tls));
        return 0;
}

static void task_free(struct export_task *t)
{
        (void)tls_context_unref(t->tls);
        free(t);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static struct brick_config brick_config_of(const struct export_config *c)
{
        return (struct brick_config){.path = c->path,
                                     .volume = c->volume,
                                     .volume_id = c->volume_id,
                                     .hostname = c->hostname,
                                     .node_uuid = c->node_uuid,
                                     .options = c->options};
}

static void resolve_names(struct export_config *c)
{
        auth_resolve(c->options.auth_allow);
        auth_resolve(c->options.auth_reject);
}

/* Two processes that serve one directory would ruin it: each believes what it remembers. The claim is an advisory lock
 * on the directory, which stock programs do not look at. A predecessor that is just ending gets a moment. */
static int claim_directory(const char *path, int *ret_fd, struct error *e)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return 0; /* brick_open() says why */
        for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += CLAIM_STEP_MS) {
                if (errno != EWOULDBLOCK) {
                        log_warning("export", "Brick %s: its file system has no locks (%s); make sure that no other "
                                    "process serves the directory.", path, strerror(errno));
                        return 0;
                }
                if (waited >= CLAIM_PATIENCE_MS)
                        return error_set(e, -EBUSY, "Brick %s: the directory is being served already; stop the other "
                                         "brick process first (fuser -v %s shows it).", path, path);
                (void)usleep(CLAIM_STEP_MS * 1000);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static void open_task(void *arg)
{
        struct export_task *t = arg;
        resolve_names(&t->config);
        const struct brick_config config = brick_config_of(&t->config);
        t->result = tls_load(t);
        if (t->result == 0)
                t->result = claim_directory(t->config.path, &t->export->claim_fd, &t->error);
        if (t->result < 0)
                return;
        t->result = brick_open(t->export->process->disk, &config, &t->export->brick, &t->error);
}

static void task_tell(struct export_task *t)
{
        const char *text = t->result == 0 ? "" : *t->error.text ? t->error.text : strerror(-t->result);
        t->done(t->export, t->result, text, t->arg);
}

static void open_done(void *arg)
{
        struct export_task *t = arg;
        struct export *x = t->export;
        if (t->result == 0 && x->state == EXPORT_CLOSING)
                t->result = error_set(&t->error, -ECANCELED, "Brick %s was detached while it was being opened.",
                                      x->config.path);
        if (t->result == 0)
                t->result = tls_begin(t);
        if (t->result == 0) {
                x->config = t->config;
                x->state = EXPORT_UP;
                log_info("export", "Brick %s of volume %s is served.", x->config.path, x->config.volume);
        } else {
                log_error("export", "Brick %s is not served: %s", x->config.path,
                          *t->error.text ? t->error.text : strerror(-t->result));
                bool detached = x->state == EXPORT_CLOSING;
                if (!detached)
                        export_unlist(x);
                x->state = EXPORT_CLOSING;
                pthread_mutex_lock(&x->lock);
                x->closing = true;
                pthread_mutex_unlock(&x->lock);
                export_close(x);
        }
        task_tell(t);
        task_free(t);
        export_unref(x);
}

static struct export_task *task_new(struct export *x, const struct export_config *config, export_done_fn done,
                                    void *arg)
{
        struct export_task *t = calloc(1, sizeof *t);
        if (!t)
                return NULL;
        t->export = export_ref(x);
        t->config = *config;
        t->done = done;
        t->arg = arg;
        return t;
}

static int export_new(struct process *p, const struct export_config *config, export_done_fn done, void *arg)
{
        struct export *x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        *x = (struct export){.process = p, .config = *config, .state = EXPORT_OPENING, .claim_fd = -EBADF};
        atomic_init(&x->refs, 1);
        atomic_init(&x->outstanding_limit, config->options.outstanding_limit);
        pthread_mutex_init(&x->lock, NULL);
        atomic_fetch_add(&p->live_exports, 1);
        struct export_task *t = task_new(x, config, done, arg);
        int r = t ? task_start(p, open_task, open_done, t) : -ENOMEM;
        if (r < 0) {
                if (t)
                        export_unref(x);
                free(t);
                export_unref(x);
                return r;
        }
        x->next = p->exports;
        p->exports = x;
        return 0;
}

/* ---- reconfiguring ----------------------------------------------------------------------------------------------- */

static void reconfigure_task(void *arg)
{
        struct export_task *t = arg;
        resolve_names(&t->config);
        t->result = tls_load(t);
        if (t->result == 0)
                t->result = brick_reconfigure(t->export->brick, &t->config.options);
}

static bool conn_is_welcome(const struct conn *c, const struct export_config *config)
{
        const struct auth_client client = {.peer = c->peer,
                                           .subdir = c->subdir,
                                           .certificate = transport_certificate(c),
                                           .trusted = c->trusted};
        return config->tls == (c->tls != NULL) && auth_check(config, &client);
}

/* Clients that would be refused now are disconnected. */
static void export_check_clients(struct export *x)
{
        pthread_mutex_lock(&x->lock);
        for (struct conn *c = x->conns; c; c = c->export_next) {
                if (conn_is_welcome(c, &x->config))
                        continue;
                log_notice("export", "Client %s is disconnected from brick %s: its address, its certificate or a "
                           "connection %s TLS is no longer allowed.", c->peer, x->config.path,
                           c->tls ? "with" : "without");
                conn_shutdown(c);
        }
        pthread_mutex_unlock(&x->lock);
}

/* What was lent is not to be read any more, or not as it was said then. */
static bool lending_changes(const struct export_config *a, const struct export_config *b)
{
        return a->tls != b->tls || a->options.ctime != b->options.ctime ||
               a->options.mandatory_locking != b->options.mandatory_locking;
}

static void reconfigure_done(void *arg)
{
        struct export_task *t = arg;
        struct export *x = t->export;
        if (t->result == 0)
                t->result = tls_begin(t);
        if (t->result == 0) {
                if (lending_changes(&x->config, &t->config))
                        lender_revoke(x);
                x->config = t->config;
                atomic_store(&x->outstanding_limit, t->config.options.outstanding_limit);
                export_check_clients(x);
        }
        task_tell(t);
        task_free(t);
        pthread_mutex_lock(&x->lock);
        export_leave(x);
        export_unref(x);
}

static int export_reconfigure(struct export *x, const struct export_config *config, export_done_fn done, void *arg)
{
        if (!gfid_equal(&config->volume_id, &x->config.volume_id))
                return -EEXIST;
        struct export_task *t = task_new(x, config, done, arg);
        if (!t)
                return -ENOMEM;
        pthread_mutex_lock(&x->lock);
        x->users++;
        pthread_mutex_unlock(&x->lock);
        int r = task_start(x->process, reconfigure_task, reconfigure_done, t);
        if (r < 0) {
                free(t);
                pthread_mutex_lock(&x->lock);
                export_leave(x);
                export_unref(x);
        }
        return r;
}

int export_attach(struct process *p, const struct export_config *config, export_done_fn done, void *arg)
{
        if (p->stopping || p->retiring)
                return -ESHUTDOWN;
        struct export *x = export_find(p, config->path);
        if (x && x->drain) /* wanted again after all */
                export_detach(x, NULL, NULL);
        x = export_find(p, config->path);
        if (x && x->state == EXPORT_OPENING)
                return -EALREADY;
        if (!tls_fits(p, config))
                return -EXDEV;
        if (x && x->state == EXPORT_UP)
                return export_reconfigure(x, config, done, arg);
        if (x)
                export_detach(x, NULL, NULL);
        return export_new(p, config, done, arg);
}
