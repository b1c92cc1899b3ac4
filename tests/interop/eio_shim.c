/* Preloaded into a brick process: the Nth positional write (MORTAR_EIO_WRITE, from 1) fails with EIO, to show that the tests notice. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_ulong writes;

static int due(size_t len)
{
        const char *nth = getenv("MORTAR_EIO_WRITE");
        const char *least = getenv("MORTAR_EIO_BYTES");
        if (least && len < strtoul(least, NULL, 10))
                return 0;
        return nth && atomic_fetch_add(&writes, 1) + 1 == strtoul(nth, NULL, 10);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
        ssize_t (*next)(int, const struct iovec *, int, off64_t) = dlsym(RTLD_NEXT, "pwritev64");
        size_t len = 0;
        for (int i = 0; i < n; i++)
                len += iov[i].iov_len;
        if (due(len)) {
                errno = EIO;
                return -1;
        }
        return next(fd, iov, n, off);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t off)
{
        ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
        if (due(len)) {
                errno = EIO;
                return -1;
        }
        return next(fd, data, len, off);
}
