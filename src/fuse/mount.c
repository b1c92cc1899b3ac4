/* Mounting and unmounting.
 *
 * As root: open /dev/fuse, mount(2) with its descriptor. Otherwise: fusermount3, which is setuid root, is started with
 * an argument vector and one end of a socket pair, over which it sends the descriptor. What it says on stderr becomes
 * the error.
 *
 * Thread: any, but it blocks; see the header.
 */
#include "fuse/mount.h"

#include "base/buf.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OPTIONS_MAX 4000 /* the kernel takes a page */
#define MESSAGE_MAX 512  /* of fusermount's words */
#define FUSERMOUNT "fusermount3"
#define COMMFD_VARIABLE "_FUSE_COMMFD="

extern char **environ;

/* ---- as root -------------------------------------------------------------------------------------------------- */

static int mount_data(const struct fuse_mount_options *o, int fd, uint32_t rootmode, struct buf *b)
{
        (void)buf_printf(b, "fd=%d,rootmode=%o,user_id=%u,group_id=%u", fd, rootmode, getuid(), getgid());
        if (o->default_permissions)
                (void)buf_append_str(b, ",default_permissions");
        if (o->allow_other)
                (void)buf_append_str(b, ",allow_other");
        if (o->max_read > 0)
                (void)buf_printf(b, ",max_read=%u", o->max_read);
        if (o->extra && *o->extra)
                (void)buf_printf(b, ",%s", o->extra);
        return b->error;
}

static int mount_as_root(const struct fuse_mount_options *o, const char *mountpoint, int *ret, struct error *err)
{
        struct stat st;
        if (stat(mountpoint, &st) < 0)
                return error_set(err, -errno, "cannot look at the mount point %s: %s", mountpoint, strerror(errno));
        if (!S_ISDIR(st.st_mode))
                return error_set(err, -ENOTDIR, "the mount point %s is not a directory", mountpoint);
        _cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return error_set(err, -errno, "cannot open /dev/fuse: %s; is the kernel module fuse loaded?",
                                 strerror(errno));
        _cleanup_buf_ struct buf data = BUF_INIT(OPTIONS_MAX), type = BUF_INIT(256);
        int r = mount_data(o, fd, st.st_mode & S_IFMT, &data);
        (void)buf_printf(&type, o->subtype ? "fuse.%s" : "fuse", o->subtype);
        if (r < 0 || type.error < 0)
                return error_set(err, -E2BIG, "the mount options of %s are too long for the kernel", mountpoint);
        if (mount(o->source, mountpoint, buf_cstr(&type), o->flags, buf_cstr(&data)) < 0)
                return error_set(err, -errno, "cannot mount %s at %s: %s (options %s)", o->source, mountpoint,
                                 strerror(errno), buf_cstr(&data));
        *ret = TAKE_FD(fd);
        return 0;
}

/* ---- by fusermount3 ------------------------------------------------------------------------------------------- */

static const struct {
        unsigned long flag;
        const char *word;
} flag_words[] = {
        {MS_RDONLY, "ro"},       {MS_NOSUID, "nosuid"},    {MS_NODEV, "nodev"},     {MS_NOEXEC, "noexec"},
        {MS_NOATIME, "noatime"}, {MS_SYNCHRONOUS, "sync"}, {MS_DIRSYNC, "dirsync"},
};

/* VALUE with what separates options quoted. */
static void append_quoted(struct buf *b, const char *key, const char *value)
{
        (void)buf_printf(b, ",%s=", key);
        for (; *value; value++) {
                if (*value == ',' || *value == '\\')
                        (void)buf_append(b, "\\", 1);
                (void)buf_append(b, value, 1);
        }
}

static int fusermount_options(const struct fuse_mount_options *o, struct buf *b)
{
        (void)buf_append_str(b, o->flags & MS_RDONLY ? "ro" : "rw");
        for (size_t i = 1; i < ELEMENTSOF(flag_words); i++)
                if (o->flags & flag_words[i].flag)
                        (void)buf_printf(b, ",%s", flag_words[i].word);
        append_quoted(b, "fsname", o->source);
        if (o->subtype)
                append_quoted(b, "subtype", o->subtype);
        if (o->default_permissions)
                (void)buf_append_str(b, ",default_permissions");
        if (o->allow_other)
                (void)buf_append_str(b, ",allow_other");
        if (o->max_read > 0)
                (void)buf_printf(b, ",max_read=%u", o->max_read);
        return b->error;
}

/* The environment with VARIABLE in it; the array is the caller's, the strings are not. */
static char **environment_with(const char *variable)
{
        size_t n = 0;
        while (environ[n])
                n++;
        char **env = calloc(n + 2, sizeof *env);
        if (!env)
                return NULL;
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
                if (!starts_with(environ[i], COMMFD_VARIABLE))
                        env[kept++] = environ[i];
        env[kept] = (char *)variable;
        return env;
}

/* Starts ARGV with SOCKET as the descriptor named in its environment (-1: none) and STDERR as its standard error. */
static int fusermount_start(char *const argv[], int sock, int stderr_fd, pid_t *ret)
{
        char variable[64];
        (void)snprintf(variable, sizeof variable, COMMFD_VARIABLE "%d", sock);
        _cleanup_free_ char **env = environment_with(variable);
        if (!env)
                return -ENOMEM;
        posix_spawn_file_actions_t actions;
        int r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
        if (r == 0 && sock >= 0)
                r = posix_spawn_file_actions_adddup2(&actions, sock, sock); /* clears close-on-exec */
        if (r == 0)
                r = posix_spawnp(ret, argv[0], &actions, NULL, argv, env);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* The descriptor that comes over SOCK. -ENODATA: none came. */
static int receive_fd(int sock, int *ret)
{
        char byte;
        struct iovec iov = {&byte, 1};
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t r;
        do
                r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (r == 0 || !c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
            c->cmsg_len != CMSG_LEN(sizeof(int)))
                return -ENODATA;
        memcpy(ret, CMSG_DATA(c), sizeof *ret);
        return 0;
}

/* What the program said, without the line's end. */
static void message_read(int fd, char *text, size_t size)
{
        size_t len = 0;
        ssize_t r;
        while (len < size - 1 && ((r = read(fd, text + len, size - 1 - len)) > 0 || (r < 0 && errno == EINTR)))
                len += r > 0 ? (size_t)r : 0;
        while (len > 0 && text[len - 1] == '\n')
                len--;
        text[len] = 0;
}

/* Waits for PID. 0: it was content. */
static int child_result(pid_t pid)
{
        int status;
        pid_t r;
        do
                r = waitpid(pid, &status, 0);
        while (r < 0 && errno == EINTR);
        return r == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* Runs ARGV; with RET_FD the descriptor that it sends. */
static int fusermount_run(char *const argv[], int *ret_fd, const char *what, struct error *err)
{
        int sock[2] = {-EBADF, -EBADF}, words[2];
        if (pipe2(words, O_CLOEXEC) < 0)
                return error_set(err, -errno, "%s: %s", what, strerror(errno));
        _cleanup_close_ int words_read = words[0], words_write = words[1];
        if (ret_fd && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
                return error_set(err, -errno, "%s: %s", what, strerror(errno));
        _cleanup_close_ int ours = sock[0], theirs = sock[1];
        pid_t pid;
        int r = fusermount_start(argv, theirs, words_write, &pid);
        theirs = close_fd(theirs);
        words_write = close_fd(words_write);
        if (r < 0)
                return error_set(err, r, "%s: cannot run %s: %s", what, argv[0], strerror(-r));
        _cleanup_close_ int fd = -EBADF;
        int received = ret_fd ? receive_fd(ours, &fd) : 0;
        char text[MESSAGE_MAX];
        message_read(words_read, text, sizeof text);
        r = child_result(pid);
        if (r < 0 || received < 0)
                return error_set(err, r < 0 ? r : received, "%s: %s", what,
                                 text[0] ? text : FUSERMOUNT " failed without saying why");
        if (ret_fd)
                *ret_fd = TAKE_FD(fd);
        return 0;
}

static int mount_by_fusermount(const struct fuse_mount_options *o, const char *mountpoint, int *ret, struct error *err)
{
        _cleanup_buf_ struct buf options = BUF_INIT(OPTIONS_MAX), what = BUF_INIT(OPTIONS_MAX);
        if (o->extra && *o->extra)
                return error_set(err, -EPERM, "only root can mount with the options %s", o->extra);
        if (fusermount_options(o, &options) < 0)
                return error_set(err, -E2BIG, "the mount options of %s are too long", mountpoint);
        (void)buf_printf(&what, "cannot mount %s at %s", o->source, mountpoint);
        const char *program = o->fusermount ? o->fusermount : FUSERMOUNT;
        char *argv[] = {(char *)program, (char *)"-o",       (char *)buf_cstr(&options),
                        (char *)"--",    (char *)mountpoint, NULL};
        return fusermount_run(argv, ret, what.error < 0 ? "cannot mount" : buf_cstr(&what), err);
}

int fuse_mount(const struct fuse_mount_options *o, const char *mountpoint, int *ret, struct error *err)
{
        if (geteuid() == 0 && !o->use_fusermount)
                return mount_as_root(o, mountpoint, ret, err);
        return mount_by_fusermount(o, mountpoint, ret, err);
}

int fuse_unmount(const char *mountpoint, unsigned flags, struct error *err)
{
        bool lazy = flags & FUSE_UNMOUNT_LAZY;
        if (geteuid() == 0) {
                int how = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0) | (flags & FUSE_UNMOUNT_FORCE ? MNT_FORCE : 0);
                if (umount2(mountpoint, how) < 0)
                        return error_set(err, -errno, "cannot unmount %s: %s", mountpoint, strerror(errno));
                return 0;
        }
        char *argv[] = {(char *)FUSERMOUNT, (char *)(lazy ? "-uz" : "-u"), (char *)"--", (char *)mountpoint, NULL};
        return fusermount_run(argv, NULL, "cannot unmount", err);
}
