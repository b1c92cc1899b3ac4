/* A machine in trouble, for tests of the process. MORTAR_TEST_HANG names a file; preloaded, this
 *   - holds up reads and writes of files below a directory named "hung" for as long as that file exists
 *   - keeps whoever closes a socket for some time in close() while FILE.close exists
 * and at any time aborts a process that shuts down what is no socket: a descriptor that somebody else had closed. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void hold_up(int fd)
{
        char link[64], path[4096];
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof path - 1);
        if (len < 0)
                return;
        path[len] = '\0';
        while (strstr(path, "/hung/") && flag_is_up(""))
                (void)usleep(1000);
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
