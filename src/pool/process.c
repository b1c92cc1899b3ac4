/* Brick processes through posix_spawn, /proc and kill (pool/process.h).
 *
 * A brick process must outlive mortard: it gets its own session, no descriptor of ours, and writes its log to a file,
 * so nothing of it depends on us. Loop thread; the few /proc reads do not block.
 */
#include "pool/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/un.h>

extern char **environ;

int process_socket(const struct process_config *c, unsigned number, char *ret, size_t size)
{
        int n = snprintf(ret, size, "%s/brick-%u.sock", c->run_dir, number);
        if (n < 0 || (size_t)n >= size || (size_t)n >= sizeof(((struct sockaddr_un *)0)->sun_path))
                return -ENAMETOOLONG;
        return 0;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static int set_files(posix_spawn_file_actions_t *files, const char *log)
{
        int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0640);
        if (r == 0)
                r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
        return -r;
}

static int set_attributes(posix_spawnattr_t *attributes)
{
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        int r = posix_spawnattr_setsigmask(attributes, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(attributes, &all);
        if (r == 0)
                r = posix_spawnattr_setflags(attributes,
                                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        return -r;
}

int process_launch(const char *program, char *const *argv, const char *log, pid_t *ret)
{
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        int r = -posix_spawn_file_actions_init(&files);
        if (r < 0)
                return r;
        r = -posix_spawnattr_init(&attributes);
        if (r < 0) {
                (void)posix_spawn_file_actions_destroy(&files);
                return r;
        }
        r = set_files(&files, log);
        if (r == 0)
                r = set_attributes(&attributes);
        if (r == 0)
                r = -posix_spawn(ret, program, &files, &attributes, argv, environ);
        (void)posix_spawnattr_destroy(&attributes);
        (void)posix_spawn_file_actions_destroy(&files);
        return r;
}

int process_spawn(const struct process_config *c, unsigned number, pid_t *ret, struct error *e)
{
        char socket[256], log[4096], drain[16];
        int r = process_socket(c, number, socket, sizeof socket);
        if (r < 0)
                return error_set(e, r, "the run directory %s is too long for a socket address", c->run_dir);
        (void)snprintf(log, sizeof log, "%s/brick-%u.log", c->log_dir, number);
        (void)snprintf(drain, sizeof drain, "%u", c->drain_seconds);
        const char *argv[] = {"mortar-brick", "--control",   socket,       "--port-range",
                              c->ports,       "--log-level", c->log_level, "--drain-seconds",
                              drain,          NULL};
        pid_t pid;
        r = process_launch(c->program, (char *const *)(uintptr_t)argv, log, &pid);
        if (r < 0)
                return error_set(e, r, "the brick program %s (log %s) cannot be started: %s", c->program, log,
                                 strerror(-r));
        *ret = pid;
        return 0;
}

/* ---- recognising ------------------------------------------------------------------------------------------------- */

static ssize_t read_command(pid_t pid, char *buf, size_t size)
{
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = read(fd, buf, size - 1);
        if (n < 0)
                return -errno;
        buf[n] = '\0';
        return n;
}

/* The word behind "--control" in a NUL separated argument vector. */
static const char *control_argument(const char *command, size_t size)
{
        for (size_t at = 0; at < size; at += strlen(command + at) + 1) {
                if (!streq(command + at, "--control"))
                        continue;
                at += strlen(command + at) + 1;
                return at < size ? command + at : NULL;
        }
        return NULL;
}

bool process_controls(pid_t pid, const char *socket)
{
        char command[4096];
        ssize_t n = pid > 0 ? read_command(pid, command, sizeof command) : 0;
        const char *control = n > 0 ? control_argument(command, (size_t)n) : NULL;
        return control && streq(control, socket);
}

bool process_is_alive(const struct process_config *c, unsigned number, pid_t pid)
{
        char socket[256];
        return process_socket(c, number, socket, sizeof socket) == 0 && process_controls(pid, socket);
}

pid_t process_with_control(const char *socket)
{
        DIR *proc = opendir("/proc");
        pid_t found = 0;
        for (struct dirent *d; proc && found == 0 && (d = readdir(proc));) {
                char *end;
                long pid = strtol(d->d_name, &end, 10);
                if (!*end && pid > 0 && process_controls((pid_t)pid, socket))
                        found = (pid_t)pid;
        }
        if (proc)
                closedir(proc);
        return found;
}

/* NUMBER of "RUN_DIR/brick-NUMBER.sock"; 0: something else. */
static unsigned socket_number(const struct process_config *c, const char *socket)
{
        char again[256];
        const char *dash = strrchr(socket, '-');
        char *end = NULL;
        unsigned long number = dash ? strtoul(dash + 1, &end, 10) : 0;
        if (number == 0 || number > PROCESS_NUMBER_MAX || process_socket(c, (unsigned)number, again, sizeof again) < 0)
                return 0;
        return streq(again, socket) ? (unsigned)number : 0;
}

int process_each(const struct process_config *c, void (*fn)(void *arg, unsigned number, pid_t pid), void *arg)
{
        DIR *proc = opendir("/proc");
        if (!proc)
                return -errno;
        for (struct dirent *d; (d = readdir(proc));) {
                char command[4096], *end;
                long pid = strtol(d->d_name, &end, 10);
                if (*end || pid <= 0)
                        continue;
                ssize_t n = read_command((pid_t)pid, command, sizeof command);
                const char *control = n > 0 ? control_argument(command, (size_t)n) : NULL;
                unsigned number = control ? socket_number(c, control) : 0;
                if (number)
                        fn(arg, number, (pid_t)pid);
        }
        closedir(proc);
        return 0;
}

void process_signal(const struct process_config *c, unsigned number, pid_t pid, int signal)
{
        if (process_is_alive(c, number, pid))
                (void)kill(pid, signal);
}
