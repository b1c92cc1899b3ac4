/* The simulated disk: opening, making, linking and renaming; the table of calls.
 *
 * Answers, down to the order in which errors are found, are those of Linux on ext4 to a process with every capability
 * and umask 0: tests/base/disk_test.c holds both to the same behaviour. Differences on purpose: times of access do not
 * move, O_TMPFILE and the shifting modes of fallocate answer -EOPNOTSUPP, devices and sockets cannot be opened (-ENXIO)
 * and opening a FIFO never waits.
 *
 * Each call takes the disk's lock; any thread.
 */
#include "base/sim_disk_priv.h"

#include <stdio.h> /* RENAME_* */

/* ---- open */

static int open_flags(int flags)
{
        if (flags & O_PATH)
                return flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW);
        if ((flags & O_TMPFILE) == O_TMPFILE)
                return -EOPNOTSUPP;
        if ((flags & O_CREAT) && (flags & O_DIRECTORY))
                return -EINVAL;
        if ((flags & O_CREAT) && (flags & O_EXCL))
                flags |= O_NOFOLLOW;
        return flags & ~O_CLOEXEC;
}

/* The owner, group and mode that a new object in DIR gets. */
static struct sim_inode *inode_make(struct sim_disk *d, const struct sim_inode *dir, mode_t mode)
{
        struct sim_inode *i = sim_inode_new(d);
        sim_log_attr(d, i);
        sim_log_data(d, i);
        i->a.mode = mode;
        i->a.nlink = 1;
        if (dir->a.mode & S_ISGID) {
                i->a.gid = dir->a.gid;
                i->a.mode |= S_ISDIR(mode) ? S_ISGID : 0;
        }
        i->a.atime = i->a.mtime = i->a.ctime = sim_now_ts(d);
        return i;
}

static void dir_changed(struct sim_disk *d, struct sim_inode *dir)
{
        sim_log_attr(d, dir);
        dir->a.mtime = dir->a.ctime = sim_now_ts(d);
}

/* Inside a transaction: the name W stands before means CHILD; NULL: nothing. */
static void name_set(struct sim_disk *d, const struct sim_walk *w, struct sim_inode *child)
{
        dir_changed(d, w->dir);
        sim_log_entry(d, w->dir, w->name, w->len);
        sim_entry_put(d, w->dir, w->name, w->len, child, 0);
}

/* Opens the transaction that makes an object at W, of BYTES on top of its inode, and makes it. */
static int object_make(struct sim_disk *d, const struct sim_walk *w, mode_t mode, size_t bytes, struct sim_inode **ret)
{
        if (w->dir->a.nlink == 0)
                return -ENOENT;
        if (!sim_has_room(d, SIM_PAGE + bytes))
                return -ENOSPC;
        int r = sim_txn_begin(d);
        if (r < 0)
                return r;
        struct sim_inode *i = inode_make(d, w->dir, mode);
        name_set(d, w, i);
        *ret = i;
        return 0;
}

static int open_allowed(const struct sim_inode *i, int flags)
{
        if ((flags & O_DIRECTORY) && !S_ISDIR(i->a.mode))
                return -ENOTDIR;
        if (flags & O_PATH)
                return 0;
        bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
        switch (i->a.mode & S_IFMT) {
        case S_IFREG:
                return 0;
        case S_IFLNK:
                return -ELOOP;
        case S_IFDIR:
                return writes ? -EISDIR : 0;
        case S_IFIFO:
                return (flags & O_ACCMODE) == O_WRONLY ? -ENXIO : 0;
        default:
                return -ENXIO;
        }
}

static int open_existing(struct sim_disk *d, struct sim_inode *i, int flags)
{
        if ((flags & O_CREAT) && (flags & O_EXCL))
                return -EEXIST;
        if ((flags & O_CREAT) && S_ISDIR(i->a.mode))
                return -EISDIR;
        int r = open_allowed(i, flags);
        if (r < 0)
                return r;
        if (d->n_open == SIM_FD_MAX)
                return -EMFILE;
        if ((flags & O_TRUNC) && S_ISREG(i->a.mode)) {
                r = sim_txn_begin(d);
                if (r < 0)
                        return r;
                sim_data_resize(d, i, 0);
        }
        return sim_fd_new(d, i, flags);
}

static int open_create(struct sim_disk *d, const struct sim_walk *w, int flags, mode_t mode)
{
        if (d->n_open == SIM_FD_MAX)
                return -EMFILE;
        struct sim_inode *i;
        int r = object_make(d, w, S_IFREG | (mode & 07777), 0, &i);
        if (r < 0)
                return r;
        sim_charge(d, i, (int64_t)sim_inode_cost(i));
        return sim_fd_new(d, i, flags);
}

/* The last component of W, symbolic links in it followed unless O_NOFOLLOW. */
static int open_last(struct sim_disk *d, struct sim_walk *w, int flags, mode_t mode)
{
        for (;;) {
                if ((flags & O_CREAT) && w->last == SIM_LAST_NAME && w->slash)
                        return -EISDIR;
                struct sim_inode *i;
                int r = sim_walk_last(d, w, &i);
                if (r == -ENOENT && (flags & O_CREAT) && w->last == SIM_LAST_NAME)
                        return open_create(d, w, flags, mode);
                if (r < 0)
                        return r;
                if (w->slash)
                        flags = (flags | O_DIRECTORY) & ~O_NOFOLLOW;
                if (!S_ISLNK(i->a.mode) || (flags & O_NOFOLLOW))
                        return open_existing(d, i, flags);
                r = sim_walk_link(d, w, i);
                if (r < 0)
                        return r;
        }
}

static int op_open(struct disk *disk, int dirfd, const char *path, int flags, mode_t mode)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        flags = open_flags(flags);
        if (flags < 0)
                return flags;
        struct sim_walk w;
        int r = sim_walk_parent(d, dirfd, path, &w);
        return r < 0 ? r : open_last(d, &w, flags, mode);
}

static int op_close(struct disk *disk, int fd)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (!sim_fd_get(d, fd))
                return -EBADF;
        sim_fd_close(d, fd);
        return 0;
}

/* ---- making */

/* Finds the place for a new object; a name with a slash behind it is for directories only. */
static int place_for_new(struct sim_disk *d, int dirfd, const char *path, bool want_dir, struct sim_walk *ret)
{
        struct sim_walk w;
        int r = sim_walk_parent(d, dirfd, path, &w);
        if (r < 0)
                return r;
        struct sim_inode *i;
        if (w.last != SIM_LAST_NAME || (r = sim_walk_last(d, &w, &i)) == 0)
                return -EEXIST;
        if (r != -ENOENT || (w.slash && !want_dir))
                return r;
        *ret = w;
        return 0;
}

static int op_mkdir(struct disk *disk, int dirfd, const char *path, mode_t mode)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_walk w;
        int r = place_for_new(d, dirfd, path, true, &w);
        if (r < 0)
                return r;
        struct sim_inode *i;
        r = object_make(d, &w, S_IFDIR | (mode & 01777), 0, &i);
        if (r < 0)
                return r;
        i->a.nlink = 2;
        i->a.parent = sim_inode_ref(w.dir);
        w.dir->a.nlink++;
        sim_charge(d, i, (int64_t)sim_inode_cost(i));
        return 0;
}

static int mknod_type(mode_t *mode)
{
        switch (*mode & S_IFMT) {
        case 0:
                *mode |= S_IFREG;
                return 0;
        case S_IFREG:
        case S_IFCHR:
        case S_IFBLK:
        case S_IFIFO:
        case S_IFSOCK:
                return 0;
        case S_IFDIR:
                return -EPERM;
        default:
                return -EINVAL;
        }
}

static int op_mknod(struct disk *disk, int dirfd, const char *path, mode_t mode, dev_t dev)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        int r = mknod_type(&mode);
        if (r < 0)
                return r;
        struct sim_walk w;
        r = place_for_new(d, dirfd, path, false, &w);
        if (r < 0)
                return r;
        struct sim_inode *i;
        r = object_make(d, &w, mode & (S_IFMT | 07777), 0, &i);
        if (r < 0)
                return r;
        if (S_ISCHR(mode) || S_ISBLK(mode))
                i->a.rdev = dev;
        sim_charge(d, i, (int64_t)sim_inode_cost(i));
        return 0;
}

static int op_symlink(struct disk *disk, const char *target, int dirfd, const char *path)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (target[0] == '\0')
                return -ENOENT;
        if (strlen(target) >= PATH_MAX)
                return -ENAMETOOLONG;
        struct sim_walk w;
        int r = place_for_new(d, dirfd, path, false, &w);
        if (r < 0)
                return r;
        struct sim_inode *i;
        r = object_make(d, &w, S_IFLNK | 0777, strlen(target), &i);
        if (r < 0)
                return r;
        i->target = sim_copy(target, strlen(target) + 1);
        sim_charge(d, i, (int64_t)sim_inode_cost(i));
        return 0;
}

static ssize_t op_readlink(struct disk *disk, int dirfd, const char *path, char *buf, size_t size)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (size == 0)
                return -EINVAL;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY, &i);
        if (r < 0)
                return r;
        if (!i->target)
                return path[0] ? -EINVAL : -ENOENT;
        size_t n = MIN(size, strlen(i->target));
        memcpy(buf, i->target, n);
        return (ssize_t)n;
}

static int op_link(struct disk *disk, int olddir, const char *oldpath, int newdir, const char *newpath)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_inode *i;
        int r = sim_lookup(d, olddir, oldpath, SIM_EMPTY, &i);
        if (r < 0)
                return r;
        struct sim_walk w;
        r = place_for_new(d, newdir, newpath, false, &w);
        if (r < 0)
                return r;
        if (S_ISDIR(i->a.mode))
                return w.dir->a.nlink ? -EPERM : -ENOENT;
        if (i->a.nlink == 0 || w.dir->a.nlink == 0)
                return -ENOENT;
        if (i->a.nlink >= SIM_LINK_MAX)
                return -EMLINK;
        r = sim_txn_begin(d);
        if (r < 0)
                return r;
        sim_log_attr(d, i);
        i->a.nlink++;
        i->a.ctime = sim_now_ts(d);
        name_set(d, &w, i);
        return 0;
}

/* ---- unmaking */

/* Inside a transaction, for an inode that is losing a name (a directory: its only one). */
static void name_lost(struct sim_disk *d, struct sim_inode *dir, struct sim_inode *i)
{
        sim_log_attr(d, i);
        sim_log_attr(d, dir);
        i->a.ctime = sim_now_ts(d);
        if (S_ISDIR(i->a.mode)) {
                i->a.nlink = 0;
                dir->a.nlink--;
        } else {
                i->a.nlink--;
        }
        sim_inode_settle(d, i);
}

static int unlink_check(const struct sim_inode *i, bool slash)
{
        if (S_ISDIR(i->a.mode))
                return -EISDIR;
        return slash ? -ENOTDIR : 0;
}

static int rmdir_check(const struct sim_inode *i)
{
        if (!S_ISDIR(i->a.mode))
                return -ENOTDIR;
        return i->n_entries > 0 ? -ENOTEMPTY : 0;
}

static int remove_last_check(enum sim_last last, bool dir)
{
        switch (last) {
        case SIM_LAST_NAME:
                return 0;
        case SIM_LAST_DOT:
                return dir ? -EINVAL : -EISDIR;
        case SIM_LAST_DOTDOT:
                return dir ? -ENOTEMPTY : -EISDIR;
        case SIM_LAST_ROOT:
                return dir ? -EBUSY : -EISDIR;
        }
        return -EINVAL;
}

static int op_unlink(struct disk *disk, int dirfd, const char *path, int flags)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (flags & ~AT_REMOVEDIR)
                return -EINVAL;
        struct sim_walk w;
        int r = sim_walk_parent(d, dirfd, path, &w);
        if (r < 0)
                return r;
        r = remove_last_check(w.last, flags & AT_REMOVEDIR);
        if (r < 0)
                return r;
        struct sim_inode *i;
        r = sim_walk_last(d, &w, &i);
        if (r < 0)
                return r;
        r = (flags & AT_REMOVEDIR) ? rmdir_check(i) : unlink_check(i, w.slash);
        if (r < 0)
                return r;
        r = sim_txn_begin(d);
        if (r < 0)
                return r;
        name_lost(d, w.dir, i);
        name_set(d, &w, NULL);
        return 0;
}

/* ---- rename */

struct rename {
        struct sim_walk from, to;
        struct sim_inode *source;
        struct sim_inode *target; /* NULL: the new name is free */
        unsigned flags;
};

static bool is_inside(const struct sim_inode *dir, const struct sim_inode *ancestor)
{
        while (dir && dir != ancestor)
                dir = dir->a.parent;
        return dir != NULL;
}

static int rename_look(struct sim_disk *d, struct rename *m)
{
        if (m->from.last != SIM_LAST_NAME)
                return -EBUSY;
        if (m->to.last != SIM_LAST_NAME)
                return (m->flags & RENAME_NOREPLACE) ? -EEXIST : -EBUSY;
        int r = sim_walk_last(d, &m->from, &m->source);
        if (r < 0)
                return r;
        r = sim_walk_last(d, &m->to, &m->target);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r == 0 && (m->flags & RENAME_NOREPLACE))
                return -EEXIST;
        return r < 0 && (m->flags & RENAME_EXCHANGE) ? -ENOENT : 0;
}

/* Slashes behind names, and directories moved into themselves. */
static int rename_shape(const struct rename *m)
{
        bool exchange = m->flags & RENAME_EXCHANGE;
        if (exchange && !S_ISDIR(m->target->a.mode) && m->to.slash)
                return -ENOTDIR;
        if (!S_ISDIR(m->source->a.mode) && (m->from.slash || (!exchange && m->to.slash)))
                return -ENOTDIR;
        if (m->from.dir == m->to.dir)
                return 0;
        if (S_ISDIR(m->source->a.mode) && is_inside(m->to.dir, m->source))
                return -EINVAL;
        if (m->target && S_ISDIR(m->target->a.mode) && is_inside(m->from.dir, m->target))
                return exchange ? -EINVAL : -ENOTEMPTY;
        return 0;
}

static int rename_replace_check(const struct rename *m)
{
        if (m->to.dir->a.nlink == 0)
                return -ENOENT;
        if (!m->target || (m->flags & RENAME_EXCHANGE))
                return 0;
        if (!S_ISDIR(m->source->a.mode))
                return S_ISDIR(m->target->a.mode) ? -EISDIR : 0;
        return rmdir_check(m->target);
}

/* A directory among the two that change places, or that moves, has a new "..". */
static void reparent(struct sim_disk *d, struct sim_inode *i, struct sim_inode *from, struct sim_inode *to)
{
        if (!S_ISDIR(i->a.mode) || from == to)
                return;
        from->a.nlink--;
        to->a.nlink++;
        i->a.parent = sim_inode_ref(to);
        sim_inode_unref(d, from);
}

static void rename_do(struct sim_disk *d, const struct rename *m)
{
        sim_log_attr(d, m->source);
        m->source->a.ctime = sim_now_ts(d);
        dir_changed(d, m->from.dir);
        dir_changed(d, m->to.dir);
        if (m->flags & RENAME_EXCHANGE) {
                sim_log_attr(d, m->target);
                m->target->a.ctime = sim_now_ts(d);
                reparent(d, m->target, m->to.dir, m->from.dir);
        } else if (m->target) {
                name_lost(d, m->to.dir, m->target);
        }
        reparent(d, m->source, m->from.dir, m->to.dir);
        name_set(d, &m->to, m->source);
        name_set(d, &m->from, (m->flags & RENAME_EXCHANGE) ? m->target : NULL);
}

static int op_rename(struct disk *disk, int olddir, const char *oldpath, int newdir, const char *newpath,
                     unsigned flags)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
                return -EINVAL;
        struct rename m = {.flags = flags};
        int r = sim_walk_parent(d, olddir, oldpath, &m.from);
        if (r == 0)
                r = sim_walk_parent(d, newdir, newpath, &m.to);
        if (r == 0)
                r = rename_look(d, &m);
        if (r == 0)
                r = rename_shape(&m);
        if (r < 0)
                return r;
        if (m.source == m.target)
                return 0;
        r = rename_replace_check(&m);
        if (r < 0)
                return r;
        r = sim_txn_begin(d);
        if (r < 0)
                return r;
        rename_do(d, &m);
        return 0;
}

/* ---- the table */

static void op_now(struct disk *disk, struct timespec *ret_from, struct timespec *ret_to)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        struct timespec now = sim_now_ts(d);
        if (ret_from)
                *ret_from = now;
        if (ret_to)
                *ret_to = now;
}

static void op_free(struct disk *disk)
{
}

const struct disk_ops sim_disk_table = {
        .open = op_open,
        .close = op_close,
        .stat = sim_op_stat,
        .mkdir = op_mkdir,
        .mknod = op_mknod,
        .symlink = op_symlink,
        .link = op_link,
        .unlink = op_unlink,
        .rename = op_rename,
        .readlink = op_readlink,
        .chown = sim_op_chown,
        .chmod = sim_op_chmod,
        .utimens = sim_op_utimens,
        .truncate = sim_op_truncate,
        .getxattr = sim_op_getxattr,
        .listxattr = sim_op_listxattr,
        .setxattr = sim_op_setxattr,
        .removexattr = sim_op_removexattr,
        .preadv = sim_op_preadv,
        .pwritev = sim_op_pwritev,
        .ftruncate = sim_op_ftruncate,
        .fallocate = sim_op_fallocate,
        .sync = sim_op_sync,
        .lseek = sim_op_lseek,
        .getdents = sim_op_getdents,
        .copy = sim_op_copy,
        .statvfs = sim_op_statvfs,
        .now = op_now,
        .free = op_free,
};
