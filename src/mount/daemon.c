/* Starting as a daemon, and the watcher of option auto_unmount (daemon.h).
 *
 * The report is one write of a status and a text on a pipe; its end without one means that the child died. The watcher
 * reads the mount's number once, then the end of its pipe, which comes when the last process that holds it has ended,
 * however it ended.
 */
#include "mount/daemon.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "mount/place.h"

#define STATUS_FAILED 1

struct report {
        int32_t status;
        char text[ERROR_TEXT_MAX];
};

static void detach(const char *path)
{
        int id;
        bool ours;
        if (place_mounted(path, &id, &ours) == 0 && ours)
                (void)umount2(path, MNT_DETACH);
}

/* Reads the report until TIMEOUT ns have passed: 0, -ETIMEDOUT, -EPIPE. */
static int read_report(int fd, uint64_t timeout, struct report *ret)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ms = timeout / NS_PER_MSEC > INT_MAX ? -1 : (int)(timeout / NS_PER_MSEC);
        int n;
        do
                n = poll(&p, 1, ms);
        while (n < 0 && errno == EINTR);
        if (n == 0)
                return -ETIMEDOUT;
        ssize_t got = read(fd, ret, sizeof *ret);
        if (got < (ssize_t)sizeof ret->status)
                return -EPIPE;
        ret->text[sizeof ret->text - 1] = '\0';
        return 0;
}

static _noreturn_ void wait_for_child(pid_t child, int fd, const char *path, uint64_t timeout)
{
        struct report report = {0};
        int r = read_report(fd, timeout, &report);
        if (r == 0) {
                if (report.text[0])
                        (void)fprintf(stderr, "%s\n", report.text);
                _exit(report.status);
        }
        if (r == -ETIMEDOUT) {
                (void)fprintf(stderr, "The volume did not answer within %llu seconds: mounting was given up.\n",
                              (unsigned long long)(timeout / NS_PER_SEC));
                (void)kill(child, SIGKILL);
        } else {
                (void)fprintf(stderr, "The client process ended without a word.\n");
        }
        (void)waitpid(child, NULL, 0);
        detach(path);
        _exit(STATUS_FAILED);
}

int daemon_start(const char *path, uint64_t timeout, struct daemon *ret, struct error *err)
{
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_set(err, -errno, "pipe: %s", strerror(errno));
        pid_t child = fork();
        if (child < 0) {
                int r = -errno;
                close_fd(fds[0]);
                close_fd(fds[1]);
                return error_set(err, r, "fork: %s", strerror(-r));
        }
        if (child > 0) {
                close_fd(fds[1]);
                wait_for_child(child, fds[0], path, timeout);
        }
        close_fd(fds[0]);
        (void)setsid();
        ret->report = fds[1];
        return 0;
}

void daemon_close_standard(void)
{
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
                (void)dup2(null, fd);
        if (null > STDERR_FILENO)
                close_fd(null);
}

void daemon_report(struct daemon *d, int status, const char *text)
{
        if (d->report < 0)
                return;
        struct report report = {.status = status};
        if (text)
                (void)snprintf(report.text, sizeof report.text, "%s", text);
        ssize_t n = write(d->report, &report, sizeof report);
        (void)n; /* nobody waits any more: then it does not matter */
        d->report = close_fd(d->report);
        if (status == 0)
                daemon_close_standard();
}

/* ---- the watcher ------------------------------------------------------------------------------------------------- */

static _noreturn_ void watch(int fd, const char *path)
{
        int wanted = -1, found;
        bool ours;
        for (int s = 1; s < NSIG; s++)
                if (s != SIGKILL && s != SIGSTOP && s != SIGCHLD)
                        (void)signal(s, SIG_IGN); /* whoever ends the client may end us too early */
        (void)setsid();
        daemon_close_standard();
        for (int number; read(fd, &number, sizeof number) == (ssize_t)sizeof number;)
                wanted = number;
        if (wanted >= 0 && place_mounted(path, &found, &ours) == 0 && ours && found == wanted)
                (void)umount2(path, MNT_DETACH);
        _exit(0);
}

/* Everything but standard streams and FD: pipes of whoever called us must not be held open. */
static void close_others(int fd)
{
        for (int i = STDERR_FILENO + 1; i < 1024; i++)
                if (i != fd)
                        (void)close(i);
}

int daemon_watch(const char *path, struct daemon *d, struct error *err)
{
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_set(err, -errno, "pipe: %s", strerror(errno));
        pid_t child = fork();
        if (child < 0) {
                int r = -errno;
                close_fd(fds[0]);
                close_fd(fds[1]);
                return error_set(err, r, "fork: %s", strerror(-r));
        }
        if (child == 0) {
                close_others(fds[0]);
                watch(fds[0], path);
        }
        close_fd(fds[0]);
        d->alive = fds[1];
        return 0;
}

void daemon_watch_this(struct daemon *d, const char *path)
{
        int id;
        bool ours;
        if (d->alive < 0 || place_mounted(path, &id, &ours) < 0 || !ours)
                return;
        ssize_t n = write(d->alive, &id, sizeof id);
        (void)n;
}
