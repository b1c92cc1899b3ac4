/* The process mortar-brick: what its files share.
 *
 *   control loop   accepts, handshakes, CONTROL program, signals, timers; never touches a disk
 *   doorman        TLS handshakes, once a brick has TLS on (doorman.h)
 *   lanes          per brick, run clients' requests (lane.h)
 *   tasks          one thread each for opening, reconfiguring and closing a brick
 *   maintenance    one thread for all bricks, replaced when it gets stuck on one
 *   watchdog       notices requests that take long
 */
#pragma once

#include <sys/types.h>

#include "brick/brick.h"
#include "brick/conn.h"
#include "rpc/server.h"
#include "rpc/tls.h"
#include "volfile/volfile.h"

#define PROCESS_LANES_MAX 4
#define PROCESS_UUID_MAX 64

struct watchdog;
struct maintenance;
struct doorman;
struct lender;

/* ---- a served brick (export.c) --------------------------------------------------------------------------------------
 */

enum export_state {
        EXPORT_OPENING,
        EXPORT_UP,
        EXPORT_DOWN,    /* its storage failed; `reason` says how */
        EXPORT_CLOSING, /* detached */
};

/* What a volfile says about a brick. */
struct export_config {
        char path[PATH_LIMIT + 1];
        char volume[NAME_LIMIT + 1];
        char hostname[NAME_LIMIT + 1];
        struct gfid volume_id, node_uuid;
        bool tls;         /* clients must speak TLS, else they must not */
        struct tls_settings tls_settings;
        bool strict_auth; /* wrong or missing credentials are refused even when the address is allowed */
        struct brick_options options;
};

/* -EINVAL with a sentence; -EOPNOTSUPP: the volume uses what only stock bricks do (brick.md §19). */
int export_config_parse(const char *text, size_t len, struct export_config *ret, struct error *e);

struct export
{
        struct process *process;
        struct export *next;         /* process.exports; control loop only */
        struct export_config config; /* control loop only; lanes read brick options through the brick */
        enum export_state state;     /* control loop only */
        char reason[ERROR_TEXT_MAX];
        struct brick *brick;
        int claim_fd; /* of the directory: no other process serves it; its tasks' */
        struct lane *lanes[PROCESS_LANES_MAX]; /* made when needed; control loop only */
        unsigned next_lane;
        atomic_uint outstanding_limit; /* of a connection; 0 = none */
        atomic_uint refs;              /* list, lanes, tasks */

        pthread_mutex_t lock; /* the rest */
        struct conn *conns;
        uint32_t conn_count;
        bool closing;
        unsigned users;            /* connections and maintenance: the brick is closed when there is none */
        bool maintained;           /* maintenance is checking it, or has it in its queue */
        uint64_t maintained_since; /* monotonic ns; 0: it waits */
        bool purged;               /* maintenance is at its landfill */

        struct drain *drain;  /* control loop only: it is being taken out of service (drain.h) */
        atomic_bool quiet;    /* nothing more is read from its clients */
        struct export_waiter *waiters; /* control loop only: who wants to know when it is closed */
        bool close_started;            /* control loop only */
};

/* Called on the control loop. ERROR empty = success. */
typedef void (*export_done_fn)(struct export *x, int result, const char *error, void *arg);

/* Begins to serve the brick, or reconfigures it when it is served already. DONE is called later, exactly once. */
int export_attach(struct process *p, const struct export_config *config, export_done_fn done, void *arg);
/* Stops serving X; DONE (may be NULL) is called when its storage is closed. */
void export_detach(struct export *x, export_done_fn done, void *arg);
/* DONE is called when X, which is being detached or will be, is closed. -ENOMEM: DONE was called with it. */
int export_wait_closed(struct export *x, export_done_fn done, void *arg);
/* The storage failed. Control loop. */
void export_take_down(struct export *x, const char *reason);
struct export *export_find(struct process *p, const char *path);
struct export *export_ref(struct export *x);
struct export *export_unref(struct export *x);

/* A new connection uses the brick / has ended. The first on the control loop, the second on any thread. */
void export_add_conn(struct export *x, struct conn *c);
void export_remove_conn(struct export *x, struct conn *c);
/* Maintenance takes X up (false: not now), gets to it at NOW, and is done with it. Any thread. */
bool export_use(struct export *x);
void export_using(struct export *x, uint64_t now);
void export_unuse(struct export *x);
/* The same for its landfill, in the time between the last two. */
bool export_use_landfill(struct export *x);
void export_unuse_landfill(struct export *x);

/* ---- handshake.c, auth.c ----------------------------------------------------------------------------------------- */

/* Serves everything but the fop program: DUMP, handshake, unknown programs. Answers through conn_send(). With a valid
 * SETVOLUME on the control loop, *ret_export is set and C->welcome filled: the caller moves C to a lane. */
void handshake_serve(struct conn *c, const struct rpc_call *call, struct arena *a, struct export **ret_export);
/* Answers the SETVOLUME that W came from: RESULT 0, or the negative errno of session_open(). */
void handshake_finish(struct conn *c, const struct welcome *w, int result, struct arena *a);

enum auth_verdict { AUTH_UNDECIDED, AUTH_ACCEPT, AUTH_REJECT };
/* The address module (wire.md §5.5). SUBDIR NULL or "/" = whole volume. */
enum auth_verdict auth_address(const char *allow, const char *reject, const char *peer, const char *subdir);
/* Puts the addresses of the host names in LIST behind them. Asks the resolver, so it may take long. */
void auth_resolve(char list[static BRICK_OPTION_TEXT_MAX]);
/* The certificate's part of the login module: LIST of common names (patterns), CERTIFICATE the client's; NULL: no TLS. */
enum auth_verdict auth_certificate(const char *list, const char *certificate);

/* What is known of a client that wants in, or is in. */
struct auth_client {
        const char *peer;        /* numeric address */
        const char *subdir;      /* NULL or "/": the whole volume */
        const char *certificate; /* its common name; NULL: no TLS */
        bool trusted;            /* it has the volume's username and password */
};
bool auth_login(const struct export_config *config, const char *username, const char *password);
bool auth_check(const struct export_config *config, const struct auth_client *client);

/* ---- the process (process.c) ------------------------------------------------------------------------------------- */

struct process_config {
        const char *control; /* unix socket path or NULL */
        const char *listen;  /* address without port */
        uint16_t port_first, port_last;
        const char **volfiles;
        size_t volfile_count;
        int ready_fd;         /* -EBADF: none */
        unsigned drain_limit; /* seconds that clients get to finish what they do when a brick is detached; 0: none */
};

struct process {
        struct loop *loop;
        struct disk *disk;
        struct listener *listener;
        struct rpc_server *control;
        struct stream *signals;
        int signal_fd;
        uint16_t port;
        char uuid[PROCESS_UUID_MAX];
        struct export *exports; /* control loop only */
        struct conn *greeting;  /* connections without a brick; control loop only */
        struct arena arena;     /* of the control loop */
        atomic_uint conn_count;
        atomic_size_t unread; /* bytes of answers that clients have not read yet: unread.h */
        atomic_size_t unfinished; /* bytes of requests that clients have begun: unread.h */
        struct timer unread_timer;
        uint32_t conn_max;
        unsigned lanes_per_brick;
        struct watchdog *watchdog;
        struct maintenance *maintenance;
        struct lender *lender;   /* NULL: files are not lent (lender.h) */
        struct doorman *doorman; /* NULL: no brick has had TLS on */
        atomic_uint live_exports, live_tasks;
        unsigned attaching; /* of the command line */
        const struct process_config *config;
        bool retiring; /* ends when its last brick is detached */
        bool stopping;
        int exit_code;
        struct timer stop_timer;
};

/* Runs the brick process until SIGTERM or CONTROL_SHUTDOWN. Returns the exit code. */
int process_run(const struct process_config *config);
/* Detaches everything and ends: at once, or as clients let go (drain.h). Control loop. */
void process_stop(struct process *p);
void process_retire(struct process *p);
/* Something that process_stop() waits for is gone. Any thread. */
void process_check_stopped(struct process *p);
/* A connection was accepted on the TCP port; ARG is the process (greeter.c). */
void greeter_accept(struct listener *l, struct stream *s, void *arg);
/* C comes back from the doorman: takes over its open-reference. */
void greeter_return(struct conn *c);
/* Closes all connections that have no brick. */
void greeter_close_all(struct process *p);

/* The CONTROL program (control.c). */
int control_start(struct process *p, const char *path);
/* A brick changed its state by itself: whoever steers this process is told. Control loop. */
void control_changed(struct process *p);

/* Runs fn(arg) on a thread of its own and then done(arg) on the control loop. -errno: neither happens. */
int task_start(struct process *p, void (*fn)(void *arg), void (*done)(void *arg), void *arg);
/* A detached thread with all signals blocked. NAME: at most 15 bytes. */
int thread_start(const char *name, void *(*fn)(void *arg), void *arg);
/* One to be waited for with pthread_join(). */
int thread_start_joinable(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *ret);

/* ---- maintenance.c ----------------------------------------------------------------------------------------------- */

int maintenance_new(struct process *p, struct maintenance **ret);
/* Threads that are stuck in a disk are left behind. */
struct maintenance *maintenance_free(struct maintenance *m);
