/* The log file of a mount (log_file.h). The descriptor stays the same when the file is opened again: other threads may
 * be writing.
 */
#include "mount/log_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define PROGRAM "mortar-mount"
#define DIRECTORY "/var/log/glusterfs"

/* The process's one log file: set once from main. */
static struct {
        char path[PATH_MAX];
        int fd;
} log_file = {.fd = -EBADF};

static int open_log(void)
{
        return open(log_file.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* "/var/log/glusterfs/mnt-data.log" for /mnt/data. */
static void default_path(const char *path)
{
        (void)mkdir(DIRECTORY, 0755);
        size_t n = (size_t)snprintf(log_file.path, sizeof log_file.path, DIRECTORY "/%.200s.log",
                                    path + strspn(path, "/"));
        for (size_t i = sizeof DIRECTORY; i < n; i++)
                if (log_file.path[i] == '/')
                        log_file.path[i] = '-';
}

void log_file_open(const struct mount_options *o, const char *path)
{
        log_init(PROGRAM, STDERR_FILENO, false);
        log_set_level(o->log_level);
        if (o->debug || (o->log_file && streq(o->log_file, "-")))
                return;
        if (o->log_none)
                (void)snprintf(log_file.path, sizeof log_file.path, "/dev/null");
        else if (o->log_file)
                (void)snprintf(log_file.path, sizeof log_file.path, "%s", o->log_file);
        else
                default_path(path);
        log_file.fd = open_log();
        if (log_file.fd < 0)
                (void)fprintf(stderr, "WARNING: the log file %s cannot be opened: %s\n", log_file.path,
                              strerror(errno));
        else
                log_init(PROGRAM, log_file.fd, false);
}

void log_file_reopen(void)
{
        if (log_file.fd < 0)
                return;
        int fd = open_log();
        if (fd < 0) {
                log_warning("mount", "The log file %s cannot be opened again: %s", log_file.path, strerror(errno));
                return;
        }
        (void)dup3(fd, log_file.fd, O_CLOEXEC);
        close_fd(fd);
}
