/* mortard: the management daemon of a node.
 *
 * main() reads the settings, opens the state, takes over what runs, listens, and runs the loop. Ending is the same as
 * being killed: state is on disk before it is answered for, and brick processes go on; so SIGTERM just leaves the loop.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/log.h"
#include "pool/config.h"
#include "pool/host.h"
#include "pool/path.h"
#include "pool/pool.h"

#define COMPONENT "mortard"

/* ---- surroundings ------------------------------------------------------------------------------------------------ */

/* DIR and what is missing above it. */
static int make_directories(const char *dir, mode_t mode, struct error *e)
{
        char path[CONFIG_VALUE_MAX];
        (void)snprintf(path, sizeof path, "%s", dir);
        path_canonicalise(path);
        for (char *slash = path + 1; *slash; slash++) {
                if (*slash != '/')
                        continue;
                *slash = '\0';
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return error_set(e, -errno, "directory %s: %s", path, strerror(errno));
                *slash = '/';
        }
        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_set(e, -errno, "directory %s: %s", path, strerror(errno));
        return 0;
}

/* Two mortards on one state would undo each other's work. The lock lives as long as the process. */
static int lock_state(const char *dir, struct error *e)
{
        char path[CONFIG_VALUE_MAX + 8];
        (void)snprintf(path, sizeof path, "%s/lock", dir);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_set(e, -errno, "%s: %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                return 0;
        int r = -errno;
        close_fd(fd);
        return error_set(
                e, r, r == -EWOULDBLOCK ? "another mortard uses the state directory %s" : "%s cannot be locked", dir);
}

static int prepare_directories(const struct config *c, struct error *e)
{
        int r = make_directories(c->state_dir, 0700, e);
        if (r == 0)
                r = make_directories(c->run_dir, 0755, e);
        if (r == 0)
                r = make_directories(c->log_dir, 0755, e);
        return r < 0 ? r : lock_state(c->state_dir, e);
}

static void raise_descriptor_limit(void)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void reaped(struct pool *p, pid_t pid, int status)
{
        supervisor_reaped(p->supervisor, pid, status);
        heal_keeper_reaped(p->healer, pid, status);
}

static void reap(struct pool *p)
{
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
                reaped(p, pid, status);
}

static void on_signal(struct stream *s, unsigned events, void *arg)
{
        struct pool *p = arg;
        struct signalfd_siginfo info;
        (void)events;
        while (read(stream_fd(s), &info, sizeof info) == sizeof info) {
                if (info.ssi_signo == SIGCHLD) {
                        reap(p);
                } else if (info.ssi_signo != SIGHUP) {
                        log_notice(COMPONENT, "ends on signal %u; bricks keep running", info.ssi_signo);
                        loop_stop(p->loop);
                }
        }
}

static int watch_signals(struct pool *p, struct error *e)
{
        sigset_t set;
        struct stream *s;
        sigemptyset(&set);
        for (const int *signal = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGCHLD, 0}; *signal; signal++)
                sigaddset(&set, *signal);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return error_set(e, -errno, "signals cannot be watched: %s", strerror(errno));
        int r = loop_watch_fd(p->loop, fd, STREAM_READABLE, on_signal, p, &s);
        return r < 0 ? error_set(e, r, "signals cannot be watched: %s", strerror(-r)) : 0;
}

/* ---- the parts --------------------------------------------------------------------------------------------------- */

static bool host_is_local(void *arg, const char *host)
{
        const struct pool *p = arg;
        return host_is_this_machine(p->hostname, host);
}

static void host_machine(void *arg, const char *host, char ret[static CHECK_MACHINE_SIZE])
{
        if (host_is_local(arg, host))
                (void)snprintf(ret, CHECK_MACHINE_SIZE, "this node");
        else
                host_first_address(host, ret, CHECK_MACHINE_SIZE);
}

/* Bricks of a volume whose record is not there or cannot be read are left running: perhaps it is the state that is
 * missing. A volume is stopped before it is deleted. */
static bool keep_unknown(void *arg, const char *volume)
{
        const struct pool *p = arg;
        const struct volume_entry *entry = volume_set_entry(&p->volumes, volume);
        return !entry || !entry->volume;
}

static int open_state(struct pool *p, const struct config *c, struct error *e)
{
        uint8_t random[16];
        int r = disk_posix_new(&p->disk);
        if (r < 0)
                return error_set(e, r, "out of memory");
        loop_random(p->loop, random, sizeof random);
        r = store_open(p->disk, c->state_dir, random, &p->store, e);
        if (r == 0)
                r = store_load(p->store, &p->volumes, e);
        if (r < 0)
                return r;
        p->change = (struct change){
                .check = {.disk = p->disk,
                          .state_dir = c->state_dir,
                          .volumes = &p->volumes,
                          .host_is_local = host_is_local,
                          .host_machine = host_machine,
                          .arg = p},
                .store = p->store,
        };
        return 0;
}

static int make_supervisor(struct pool *p, const struct config *c, struct error *e)
{
        struct supervisor_config config = {
                .process = {.program = c->brick_program,
                            .run_dir = c->run_dir,
                            .log_dir = c->log_dir,
                            .ports = c->brick_ports,
                            .log_level = c->log_level,
                            .drain_seconds = c->drain_seconds_number},
                .worker = p->worker,
                .bricks_per_process = c->bricks_per_process_number,
                .keep = keep_unknown,
                .arg = p,
        };
        char socket[256];
        if (process_socket(&config.process, PROCESS_NUMBER_MAX, socket, sizeof socket) < 0)
                return error_set(e, -ENAMETOOLONG, "the run directory %s is too long for socket addresses", c->run_dir);
        int r = supervisor_new(p->loop, &config, &p->supervisor);
        return r < 0 ? error_set(e, r, "out of memory") : 0;
}

/* Where programs of this node ask for volfiles. */
static void name_server(struct pool *p, const struct config *c)
{
        const char *port = strrchr(c->listen, ':');
        bool any = starts_with(c->listen, "*:") || starts_with(c->listen, "0.0.0.0:") || starts_with(c->listen, "[::]:");
        (void)snprintf(p->heal_server, sizeof p->heal_server, "%.255s", c->listen);
        if (any)
                (void)snprintf(p->heal_server, sizeof p->heal_server, "localhost%.16s", port ? port : "");
}

static int make_healer(struct pool *p, const struct config *c, struct error *e)
{
        static char state_dir[CONFIG_VALUE_MAX + 8], uuid[UUID_TEXT_SIZE];
        (void)snprintf(state_dir, sizeof state_dir, "%s/heal", c->state_dir);
        (void)gfid_format(store_node(p->store), uuid);
        name_server(p, c);
        p->heal_program = c->heal_program;
        int r = make_directories(state_dir, 0700, e);
        if (r < 0)
                return r;
        const struct heal_keeper_config config = {.program = c->heal_program,
                                                  .run_dir = c->run_dir,
                                                  .log_dir = c->log_dir,
                                                  .state_dir = state_dir,
                                                  .server = p->heal_server,
                                                  .node_uuid = uuid,
                                                  .log_level = c->log_level,
                                                  .worker = p->worker};
        r = heal_keeper_new(p->loop, &config, &p->healer);
        return r < 0 ? error_set(e, r, "the heal daemon: %s", strerror(-r)) : 0;
}

/* Root only, from the first moment on. */
static int listen_management(struct pool *p, const struct config *c, struct error *e)
{
        char text[CONFIG_VALUE_MAX + 32];
        struct address at;
        (void)snprintf(text, sizeof text, "unix:%s/mortard.sock", c->run_dir);
        int r = address_parse(text, &at);
        if (r < 0)
                return error_set(e, r, "%s: too long for a socket address", text);
        mode_t before = umask(0177);
        r = serve_management(p, &at);
        (void)umask(before);
        return r < 0 ? error_set(e, r, "%s: %s", text, strerror(-r)) : 0;
}

static int listen_clients(struct pool *p, const struct config *c, struct error *e)
{
        struct address at;
        int r = secure_access_load(&p->secure_access, c->secure_access_file, e);
        if (r < 0)
                return r;
        r = address_parse(c->listen, &at);
        if (r == 0)
                r = serve_clients(p, &at);
        return r < 0 ? error_set(e, r, "listening at %s: %s", c->listen, strerror(-r)) : 0;
}

static int start_parts(struct pool *p, const struct config *c, struct error *e)
{
        int r = open_state(p, c, e);
        if (r < 0)
                return r;
        r = blocking_new(p->loop, &p->worker);
        if (r < 0)
                return error_set(e, r, "the worker thread cannot be started: %s", strerror(-r));
        r = make_supervisor(p, c, e);
        if (r == 0)
                r = make_healer(p, c, e);
        if (r == 0)
                r = listen_clients(p, c, e);
        if (r == 0)
                r = listen_management(p, c, e);
        if (r < 0)
                return r;
        r = operation_resume(p);
        return r < 0 ? error_set(e, r, "running bricks cannot be looked for: %s", strerror(-r)) : 0;
}

static void tell_ready(int fd)
{
        if (fd < 0)
                return;
        ssize_t n = write(fd, "ready\n", 6);
        if (n < 0)
                log_warning(COMPONENT, "--ready-fd %d: %s, ignoring", fd, strerror(errno));
        close_fd(fd);
}

static int run(const struct config *c, struct error *e)
{
        static struct pool pool;
        struct pool *p = &pool;
        p->hostname = c->hostname;
        p->run_dir = c->run_dir;
        int r = prepare_directories(c, e);
        if (r < 0)
                return r;
        r = loop_epoll_new(&p->loop);
        if (r < 0)
                return error_set(e, r, "the event loop: %s", strerror(-r));
        r = watch_signals(p, e);
        if (r == 0)
                r = start_parts(p, c, e);
        if (r < 0)
                return r;
        log_notice(COMPONENT, "version %s, node %s, %zu volumes, serves at %s", MORTAR_VERSION, c->hostname,
                   p->volumes.n, c->listen);
        tell_ready(c->ready_fd);
        r = loop_run(p->loop);
        return r < 0 ? error_set(e, r, "the event loop: %s", strerror(-r)) : 0;
}

int main(int argc, char **argv)
{
        static struct config config;
        enum config_result result;
        struct error why = {0};
        log_init("mortard", STDERR_FILENO, getenv("JOURNAL_STREAM") != NULL);
        (void)unsetenv("JOURNAL_STREAM"); /* brick processes log to files */
        int r = config_load(&config, argc, argv, &result, &why);
        if (r == 0 && result == CONFIG_DONE)
                return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        if (r == 0 && config.check) {
                (void)puts("configuration OK");
                return EXIT_SUCCESS;
        }
        if (r == 0) {
                log_set_level((enum log_level)config.log_level_number);
                raise_descriptor_limit();
                r = run(&config, &why);
        }
        if (r < 0) {
                log_error(COMPONENT, "%s", why.text);
                return EXIT_FAILURE;
        }
        _exit(EXIT_SUCCESS);
}
