/* Who serves a brick directory (served.h): the lock, and what /proc tells. */
#include "brick/served.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define CMDLINE_MAX 65536
#define PROC_PATH_MAX 64

DEFINE_CLEANUP(DIR *, closedir)

struct search {
        const char *path;
        struct stat root;
        struct served *ret;
};

/* ---- one process --------------------------------------------------------------------------------------------------- */

static ssize_t read_file(const char *path, char *buf, size_t size)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        ssize_t n = fd < 0 ? -1 : 1;
        while (n > 0 && len < size - 1) {
                n = read(fd, buf + len, size - 1 - len);
                len += n > 0 ? (size_t)n : 0;
        }
        buf[len] = '\0';
        return n < 0 ? -errno : (ssize_t)len;
}

/* "glusterfsd", "glusterfs" and "mortar-brick". */
static bool is_brick_program(const char *pid, char name[static 32])
{
        char path[PROC_PATH_MAX];
        (void)snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
        if (read_file(path, name, 32) < 0)
                return false;
        name[strcspn(name, "\n")] = '\0';
        return starts_with(name, "gluster") || starts_with(name, "mortar-brick");
}

static bool is_root(const struct search *s, const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && st.st_dev == s->root.st_dev && st.st_ino == s->root.st_ino;
}

/* --brick-name PATH: the process is starting, or its first brick is this one. */
static bool says_path(const struct search *s, const char *pid)
{
        char path[PROC_PATH_MAX];
        _cleanup_free_ char *line = malloc(CMDLINE_MAX);
        (void)snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
        ssize_t n = line ? read_file(path, line, CMDLINE_MAX) : -ENOMEM;
        bool named = false;
        for (ssize_t at = 0; at < n; at += (ssize_t)strlen(line + at) + 1) {
                if (named && is_root(s, line + at))
                        return true;
                named = streq(line + at, "--brick-name");
        }
        return false;
}

/* Has the process the directory open? */
static bool has_open(const struct search *s, const char *pid)
{
        char path[PROC_PATH_MAX];
        (void)snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
        _cleanup_(closedirp) DIR *dir = opendir(path);
        const struct dirent *d;
        while (dir && (d = readdir(dir))) {
                (void)snprintf(path, sizeof path, "/proc/%.20s/fd/%.20s", pid, d->d_name);
                if (isdigit((unsigned char)d->d_name[0]) && is_root(s, path))
                        return true;
        }
        return false;
}

/* ---- all of them --------------------------------------------------------------------------------------------------- */

static int search_proc(struct search *s, struct error *e)
{
        char name[32];
        _cleanup_(closedirp) DIR *proc = opendir("/proc");
        if (!proc)
                return error_set(e, -errno, "/proc: %s: it takes /proc to see who serves a brick.", strerror(errno));
        const struct dirent *d;
        while ((d = readdir(proc))) {
                if (!isdigit((unsigned char)d->d_name[0]) || !is_brick_program(d->d_name, name) ||
                    !(says_path(s, d->d_name) || has_open(s, d->d_name)))
                        continue;
                s->ret->yes = true;
                s->ret->pid = (int)strtol(d->d_name, NULL, 10);
                memcpy(s->ret->program, name, sizeof name);
                return 0;
        }
        return 0;
}

static int open_directory(const char *path, struct error *e)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? error_set(e, -errno, "%s: %s.", path, strerror(errno)) : fd;
}

int served_by(const char *path, struct served *ret, struct error *e)
{
        _cleanup_close_ int fd = open_directory(path, e);
        if (fd < 0)
                return fd;
        struct served found = {0};
        struct search s = {.path = path, .ret = &found};
        if (fstat(fd, &s.root) < 0)
                return error_set(e, -errno, "%s: %s.", path, strerror(errno));
        int r = search_proc(&s, e);
        if (r < 0)
                return r;
        if (!found.yes && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
                found.yes = true;
                (void)snprintf(found.program, sizeof found.program, "mortar-brick");
        }
        *ret = found;
        return 0;
}

int served_claim(const char *path, int *ret_fd, struct error *e)
{
        _cleanup_close_ int fd = open_directory(path, e);
        if (fd < 0)
                return fd;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
                return error_set(e, -EBUSY, "%s is being served by a brick process.", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
