/* A machine in trouble, for tests of the process. MORTAR_TEST_HANG names a file; preloaded, this
 *   - holds up reads, writes and removals below a directory named "hung" for as long as that file exists
 *   - holds up removals in the landfill of bricks below a directory named "jammed" likewise
 *   - keeps whoever closes a socket for some time in close() while FILE.close exists
 *   - lets no thread be started while FILE.threads exists
 *   - lets no further descriptor be watched while FILE.epoll exists
 * and at any time aborts a process that shuts down what is no socket: a descriptor that somebody else had closed. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t off);
ssize_t preadv64(int fd, const struct iovec *iov, int n, off_t off);

static int flag_is_up(const char *which)
{
        char path[4096];
        const char *flag = getenv("MORTAR_TEST_HANG");
        (void)snprintf(path, sizeof path, "%s%s", flag ? flag : "", which);
        return flag && access(path, F_OK) == 0;
}

static int is_socket(int fd)
{
        int type;
        socklen_t len = sizeof type;
        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

/* What FD refers to, "" if that is nothing with a name. */
static const char *path_of(int fd, char path[static 4096])
{
        char link[64];
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, 4095);
        path[len < 0 ? 0 : len] = '\0';
        return path;
}

static void hold_up(int fd)
{
        char path[4096];
        while (strstr(path_of(fd, path), "/hung/") && flag_is_up(""))
                (void)usleep(1000);
}

int unlinkat(int dirfd, const char *name, int flags)
{
        char path[4096];
        hold_up(dirfd);
        while (strstr(path_of(dirfd, path), "/jammed/") && strstr(path, "/landfill") && flag_is_up(""))
                (void)usleep(1000);
        return ((int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat"))(dirfd, name, flags);
}

typedef int (*pthread_create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
        if (flag_is_up(".threads"))
                return EAGAIN;
        return ((pthread_create_fn)dlsym(RTLD_NEXT, "pthread_create"))(thread, attr, fn, arg);
}

typedef int (*epoll_ctl_fn)(int, int, int, struct epoll_event *);

int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *e)
{
        if (op == EPOLL_CTL_ADD && flag_is_up(".epoll")) {
                errno = ENOSPC;
                return -1;
        }
        return ((epoll_ctl_fn)dlsym(RTLD_NEXT, "epoll_ctl"))(epoll_fd, op, fd, e);
}

typedef int (*close_fn)(int);
typedef int (*shutdown_fn)(int, int);

int close(int fd)
{
        int slow = is_socket(fd) && flag_is_up(".close");
        int r = ((close_fn)dlsym(RTLD_NEXT, "close"))(fd);
        if (slow)
                (void)usleep(20000);
        return r;
}

int shutdown(int fd, int how)
{
        if (!is_socket(fd)) {
                (void)fprintf(stderr, "descriptor %d is shut down, and is no socket\n", fd);
                abort();
        }
        return ((shutdown_fn)dlsym(RTLD_NEXT, "shutdown"))(fd, how);
}

typedef ssize_t (*vector_io_fn)(int, const struct iovec *, int, off_t);

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t off)
{
        hold_up(fd);
        return ((vector_io_fn)dlsym(RTLD_NEXT, "pwritev64"))(fd, iov, n, off);
}

ssize_t preadv64(int fd, const struct iovec *iov, int n, off_t off)
{
        hold_up(fd);
        return ((vector_io_fn)dlsym(RTLD_NEXT, "preadv64"))(fd, iov, n, off);
}
