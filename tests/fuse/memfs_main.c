/* Mounts the file system of memfs.h and serves it until it is unmounted.
 *
 *      memfs MOUNTPOINT [SOURCE [fusermount] [minor=N] [ro] [explicit] [uring] [in_flight=N]]
 *
 *      memfs unmount MOUNTPOINT [lazy] [force]      only unmounts
 *
 * Prints "mounted" when the kernel's INIT was answered, "ended N" at the end. The stall detector aborts.
 */
#include "memfs.h"

#include "fuse/mount.h"

#include <stdio.h>
#include <sys/mount.h>

static struct loop *loop;
static struct fuse_session *session;

static void on_init(struct fuse_session *s, const struct fuse_protocol *p, void *arg)
{
        printf("mounted 7.%u flags %llx\n", p->minor, (unsigned long long)p->flags);
        (void)fflush(stdout);
}

static void finish(struct fibre *self, void *arg)
{
        session = fuse_session_free(self, session);
        loop_stop(loop);
}

static void on_end(struct fuse_session *s, int reason, void *arg)
{
        printf("ended %d\n", reason);
        (void)fflush(stdout);
        if (fibre_start(loop, "finish", finish, NULL) < 0)
                abort();
}

static int unmount(const char *path, char **words)
{
        unsigned flags = 0;
        for (; *words; words++)
                flags |= streq(*words, "lazy") ? FUSE_UNMOUNT_LAZY : FUSE_UNMOUNT_FORCE;
        struct error err = {0};
        int r = fuse_unmount(path, flags, &err);
        if (r < 0)
                fprintf(stderr, "%s\n", err.text);
        return r < 0;
}

int main(int argc, char **argv)
{
        if (argc < 2)
                return 2;
        if (argc > 2 && streq(argv[1], "unmount"))
                return unmount(argv[2], argv + 3);
        struct fuse_session_config c = {.ops = &memfs_ops,
                                        .choices = FUSE_CHOICES_DEFAULT | FUSE_CACHE_SYMLINKS,
                                        .on_init = on_init,
                                        .on_end = on_end};
        struct fuse_mount_options o = {.source = argc > 2 ? argv[2] : "memfs",
                                       .subtype = "glusterfs",
                                       .allow_other = true,
                                       .default_permissions = true};
        for (int i = 3; i < argc; i++) {
                if (streq(argv[i], "fusermount"))
                        o.use_fusermount = true;
                else if (streq(argv[i], "private"))
                        o.allow_other = false;
                else if (streq(argv[i], "ro"))
                        o.flags |= MS_RDONLY;
                else if (starts_with(argv[i], "minor="))
                        c.minor_max = (uint32_t)strtoul(argv[i] + 6, NULL, 10);
                else if (starts_with(argv[i], "in_flight="))
                        c.in_flight_max = (uint32_t)strtoul(argv[i] + 10, NULL, 10);
                else if (streq(argv[i], "uring"))
                        c.choices |= FUSE_OVER_IO_URING;
                else if (streq(argv[i], "explicit"))
                        c.choices ^= FUSE_AUTO_INVAL_DATA | FUSE_EXPLICIT_INVAL_DATA;
                else
                        return 2;
        }
        struct error err = {0};
        int fd;
        if (loop_epoll_new(&loop) < 0 || fuse_mount(&o, argv[1], &fd, &err) < 0) {
                fprintf(stderr, "%s\n", err.text);
                return 1;
        }
        loop_set_stall_limit(loop, NS_PER_SEC / 2, true);
        struct memfs *fs = memfs_new(loop);
        c.loop = loop;
        c.arg = fs;
        int r = fuse_session_new(&c, fd, &session);
        if (r < 0)
                return 1;
        r = loop_run(loop);
        memfs_free(fs);
        loop = loop_free(loop);
        return r < 0;
}
