#include "counting_disk.h"

#include <stdio.h>

static struct counting_disk *self(struct disk *d)
{
        return CONTAINER_OF(d, struct counting_disk, disk);
}

#define PASS(type, name, params, ...)                                                                                  \
        static type count_##name params                                                                                \
        {                                                                                                              \
                struct counting_disk *c = self(d);                                                                     \
                c->n.name++;                                                                                           \
                return c->below->ops->name(c->below, __VA_ARGS__);                                                     \
        }

PASS(int, open, (struct disk *d, int fd, const char *p, int flags, mode_t mode), fd, p, flags, mode)
PASS(int, close, (struct disk *d, int fd), fd)
PASS(int, stat, (struct disk *d, int fd, const char *p, struct stat *st), fd, p, st)
PASS(int, mkdir, (struct disk *d, int fd, const char *p, mode_t mode), fd, p, mode)
PASS(int, mknod, (struct disk *d, int fd, const char *p, mode_t mode, dev_t dev), fd, p, mode, dev)
PASS(int, symlink, (struct disk *d, const char *t, int fd, const char *p), t, fd, p)
PASS(int, link, (struct disk *d, int a, const char *p, int b, const char *q), a, p, b, q)
PASS(int, unlink, (struct disk *d, int fd, const char *p, int flags), fd, p, flags)
PASS(int, rename, (struct disk *d, int a, const char *p, int b, const char *q, unsigned f), a, p, b, q, f)
PASS(ssize_t, readlink, (struct disk *d, int fd, const char *p, char *buf, size_t n), fd, p, buf, n)
PASS(int, chown, (struct disk *d, int fd, const char *p, uid_t u, gid_t g), fd, p, u, g)
PASS(int, chmod, (struct disk *d, int fd, const char *p, mode_t mode), fd, p, mode)
PASS(ssize_t, getxattr, (struct disk *d, int fd, const char *p, const char *k, void *v, size_t n), fd, p, k, v, n)
PASS(ssize_t, listxattr, (struct disk *d, int fd, const char *p, char *v, size_t n), fd, p, v, n)
PASS(int, setxattr, (struct disk *d, int fd, const char *p, const char *k, const void *v, size_t n, int f), fd, p, k, v,
     n, f)
PASS(int, removexattr, (struct disk *d, int fd, const char *p, const char *k), fd, p, k)
PASS(ssize_t, getdents, (struct disk *d, int fd, void *v, size_t n), fd, v, n)
PASS(ssize_t, pwritev, (struct disk *d, int fd, const struct iovec *v, int n, off_t o), fd, v, n, o)
PASS(ssize_t, preadv, (struct disk *d, int fd, const struct iovec *v, int n, off_t o), fd, v, n, o)

static int pass_statvfs(struct disk *d, int fd, struct statvfs *ret)
{
        return self(d)->below->ops->statvfs(self(d)->below, fd, ret);
}

static void pass_now(struct disk *d, struct timespec *ret_from, struct timespec *ret_to)
{
        self(d)->below->ops->now(self(d)->below, ret_from, ret_to);
}

#define SET_(name) .name = count_##name,
struct disk *counting_disk_init(struct counting_disk *c, struct disk *below)
{
        *c = (struct counting_disk){.below = below, .ops = {COUNTED(SET_).statvfs = pass_statvfs, .now = pass_now}};
        c->disk.ops = &c->ops;
        return &c->disk;
}

void counting_disk_reset(struct counting_disk *c)
{
        memset(&c->n, 0, sizeof c->n);
}

#define SUM_(name) +c->n.name
unsigned counting_disk_total(const struct counting_disk *c)
{
        return 0 COUNTED(SUM_);
}

#define TEXT_(name)                                                                                                    \
        if (c->n.name)                                                                                                 \
                at += (size_t)snprintf(text + at, sizeof text - at, "%s=%u ", #name, c->n.name);
const char *counting_disk_text(const struct counting_disk *c)
{
        static char text[512];
        size_t at = 0;
        text[0] = '\0';
        COUNTED(TEXT_)
        return text;
}
