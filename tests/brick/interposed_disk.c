#include "interposed_disk.h"

#include "brick/internal.h"

#include <time.h>

#define MOMENT_NS (100 * NS_PER_MSEC) /* only paid where a lock does its work */

/* One at a time; armed and disarmed by the test's thread, looked at by the threads it starts. */
static struct {
        enum interposed_call call;
        enum interposed_when when;
        const char *path_end;
        void (*change)(void *arg);
        void *arg;
        atomic_bool armed;
        bool started;
        pthread_t thread;
        const struct disk_ops *below;
        struct disk *real;
} it;

static struct disk_ops interposed_ops;
static struct disk interposed = {.ops = &interposed_ops};

static void *run_change(void *arg)
{
        it.change(it.arg);
        return NULL;
}

static bool ends_with(const char *path, const char *end)
{
        size_t a = strlen(path), b = strlen(end);
        return a >= b && streq(path + a - b, end);
}

static void happen(enum interposed_call call, enum interposed_when when, const char *path)
{
        if (!atomic_load(&it.armed) || call != it.call || when != it.when || !ends_with(path, it.path_end) ||
            !atomic_exchange(&it.armed, false))
                return;
        struct timespec until;
        assert_int_equal(pthread_create(&it.thread, NULL, run_change, NULL), 0);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += MOMENT_NS;
        if (until.tv_nsec >= (long)NS_PER_SEC) {
                until.tv_sec++;
                until.tv_nsec -= NS_PER_SEC;
        }
        it.started = pthread_timedjoin_np(it.thread, NULL, &until) != 0;
}

#define AROUND(type, CALL, path, expression)                                                                           \
        happen(CALL, BEFORE, path);                                                                                    \
        type r = (expression);                                                                                         \
        happen(CALL, AFTER, path);                                                                                     \
        return r

static int around_open(struct disk *d, int dirfd, const char *path, int flags, mode_t mode)
{
        AROUND(int, AT_OPEN, path, it.below->open(it.real, dirfd, path, flags, mode));
}
static int around_stat(struct disk *d, int dirfd, const char *path, struct stat *ret)
{
        AROUND(int, AT_STAT, path, it.below->stat(it.real, dirfd, path, ret));
}
static ssize_t around_getxattr(struct disk *d, int dirfd, const char *path, const char *name, void *buf, size_t size)
{
        AROUND(ssize_t, AT_GETXATTR, path, it.below->getxattr(it.real, dirfd, path, name, buf, size));
}
static ssize_t around_listxattr(struct disk *d, int dirfd, const char *path, char *buf, size_t size)
{
        AROUND(ssize_t, AT_LISTXATTR, path, it.below->listxattr(it.real, dirfd, path, buf, size));
}
static int around_setxattr(struct disk *d, int dirfd, const char *path, const char *name, const void *val, size_t size,
                           int flags)
{
        AROUND(int, AT_SETXATTR, name, it.below->setxattr(it.real, dirfd, path, name, val, size, flags));
}
static int around_unlink(struct disk *d, int dirfd, const char *path, int flags)
{
        AROUND(int, AT_UNLINK, path, it.below->unlink(it.real, dirfd, path, flags));
}
static int around_link(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath)
{
        AROUND(int, AT_LINK, newpath, it.below->link(it.real, olddir, oldpath, newdir, newpath));
}
static int around_rename(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath,
                         unsigned flags)
{
        AROUND(int, AT_RENAME, oldpath, it.below->rename(it.real, olddir, oldpath, newdir, newpath, flags));
}

void interpose(struct harness *h, enum interposed_call call, const char *path_end, enum interposed_when when,
               void (*change)(void *arg), void *arg)
{
        it.real = h->disk;
        it.below = h->disk->ops;
        it.call = call;
        it.when = when;
        it.path_end = path_end;
        it.change = change;
        it.arg = arg;
        it.started = false;
        interposed_ops = *it.below;
        interposed_ops.open = around_open;
        interposed_ops.stat = around_stat;
        interposed_ops.getxattr = around_getxattr;
        interposed_ops.listxattr = around_listxattr;
        interposed_ops.setxattr = around_setxattr;
        interposed_ops.unlink = around_unlink;
        interposed_ops.link = around_link;
        interposed_ops.rename = around_rename;
        h->brick->disk = &interposed;
        atomic_store(&it.armed, true);
}

bool interpose_end(struct harness *h)
{
        if (it.started)
                assert_int_equal(pthread_join(it.thread, NULL), 0);
        it.started = false;
        h->brick->disk = h->disk;
        return !atomic_exchange(&it.armed, false);
}
