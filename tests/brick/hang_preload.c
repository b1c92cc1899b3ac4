/* A disk that hangs, for tests of the process: preloaded, it holds up reads and writes of files below a directory named
 * "hung" for as long as the file named by MORTAR_TEST_HANG exists. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t off);
ssize_t preadv64(int fd, const struct iovec *iov, int n, off_t off);

static void hold_up(int fd)
{
        char link[64], path[4096];
        const char *flag = getenv("MORTAR_TEST_HANG");
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof path - 1);
        if (!flag || len < 0)
                return;
        path[len] = '\0';
        while (strstr(path, "/hung/") && access(flag, F_OK) == 0)
                (void)usleep(1000);
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
