/* Handles: .glusterfs/xx/yy/<gfid>, the way from a gfid to its object (spec: brick.md §2.3).
 *
 * Non-directories have a hard link, directories a symbolic link "../../xx/yy/<parent gfid>/<name>". A chain of directory
 * handles is walked here component by component with openat(), never by the kernel: there is no depth limit, and a
 * symbolic link somebody else made is never followed. What is found is compared with its trusted.gfid.
 *
 * Locks: changes of a directory's handle happen under that directory's inode.lock (rename, healing); see object.c and
 * rename.c. Functions here take none themselves unless said. Any thread.
 */
#include "brick/cache.h"
#include "brick/names.h"

#include <stdio.h>

#define TARGET_MIN 50
#define TARGET_MAX 511
#define TARGET_PREFIX "../../"
#define TARGET_GFID_AT 12 /* after "../../xx/yy/" */
#define TARGET_NAME_AT (TARGET_GFID_AT + GFID_TEXT_LEN + 1)
#define CHAIN_MAX 16384   /* directories above each other; more means a loop */

static void format_path(char buf[static HANDLE_PATH_MAX], const char *prefix, const struct gfid *g)
{
        char text[GFID_TEXT_LEN + 1];
        gfid_format(g, text);
        (void)snprintf(buf, HANDLE_PATH_MAX, "%s%.2s/%.2s/%s", prefix, text, text + 2, text);
}

void handle_path(const struct gfid *g, char buf[static HANDLE_PATH_MAX])
{
        format_path(buf, ".glusterfs/", g);
}

void handle_unlink_path(const struct gfid *g, char buf[static HANDLE_PATH_MAX])
{
        char text[GFID_TEXT_LEN + 1];
        (void)snprintf(buf, HANDLE_PATH_MAX, ".glusterfs/unlink/%s", gfid_format(g, text));
}

int gfid_read(struct brick *b, const struct place *at, struct gfid *ret)
{
        struct gfid g;
        ssize_t len = disk_getxattr(b->disk, at->dirfd, at->path, XATTR_GFID, g.b, sizeof g.b);
        if (len == -ERANGE)
                return -EUCLEAN;
        if (len < 0)
                return (int)len;
        if (len != sizeof g.b || gfid_is_null(&g))
                return -EUCLEAN;
        *ret = g;
        return 0;
}

/* ---- targets of directory handles ---------------------------------------------------------------------------------- */

static int format_target(const struct gfid *parent, const char *name, char buf[static TARGET_MAX + 1])
{
        char text[GFID_TEXT_LEN + 1];
        gfid_format(parent, text);
        int n = snprintf(buf, TARGET_MAX + 1, TARGET_PREFIX "%.2s/%.2s/%s/%s", text, text + 2, text, name);
        return n > TARGET_MAX ? -ENAMETOOLONG : 0;
}

static int parse_target(const char *t, size_t len, struct gfid *ret_parent, char ret_name[static NAME_LIMIT + 1])
{
        struct gfid parent;
        if (len < TARGET_MIN || len > TARGET_MAX || !starts_with(t, TARGET_PREFIX) || t[8] != '/' || t[11] != '/' ||
            t[TARGET_NAME_AT - 1] != '/' || gfid_parse(t + TARGET_GFID_AT, GFID_TEXT_LEN, &parent) < 0)
                return -EINVAL;
        const char *name = t + TARGET_NAME_AT;
        size_t name_len = len - TARGET_NAME_AT;
        if (name_len == 0 || name_len > NAME_LIMIT || memchr(name, '/', name_len) || streq(name, ".") ||
            streq(name, ".."))
                return -EINVAL;
        *ret_parent = parent;
        memcpy(ret_name, name, name_len + 1);
        return 0;
}

int handle_read_dir(struct brick *b, const struct gfid *g, struct gfid *ret_parent, char ret_name[static NAME_LIMIT + 1])
{
        char path[HANDLE_PATH_MAX], target[TARGET_MAX + 2];
        handle_path(g, path);
        ssize_t len = disk_readlink(b->disk, b->root_fd, path, target, sizeof target - 1);
        if (len < 0)
                return (int)len;
        target[len] = '\0';
        return parse_target(target, (size_t)len, ret_parent, ret_name);
}

bool handle_dir_is(struct brick *b, const struct gfid *g, const struct gfid *parent, const char *name)
{
        struct gfid at;
        char at_name[NAME_LIMIT + 1];
        return handle_read_dir(b, g, &at, at_name) == 0 && gfid_equal(&at, parent) && streq(at_name, name);
}

int handle_stat(struct brick *b, const struct gfid *g, struct stat *ret)
{
        char path[HANDLE_PATH_MAX];
        handle_path(g, path);
        return disk_stat(b->disk, b->root_fd, path, ret);
}

/* ---- making -------------------------------------------------------------------------------------------------------- */

static int make_level(struct brick *b, const char *path, size_t len)
{
        char dir[HANDLE_PATH_MAX];
        memcpy(dir, path, len);
        dir[len] = '\0';
        int r = disk_mkdir(b->disk, b->root_fd, dir, 0700);
        return r == -EEXIST ? 0 : r;
}

/* The second hash level is made when the first handle in it is; the first level exists since the brick was opened,
 * unless somebody has removed it. */
static int make_levels(struct brick *b, const char *path)
{
        const size_t first = sizeof ".glusterfs/xx" - 1, second = sizeof ".glusterfs/xx/yy" - 1;
        int r = make_level(b, path, second);
        if (r != -ENOENT)
                return r;
        r = make_level(b, path, first);
        return r < 0 ? r : make_level(b, path, second);
}

static int link_handle(struct brick *b, const char *path, const struct place *at)
{
        int r = disk_link(b->disk, at->dirfd, at->path, b->root_fd, path);
        if (r != -ENOENT)
                return r;
        r = make_levels(b, path);
        return r < 0 ? r : disk_link(b->disk, at->dirfd, at->path, b->root_fd, path);
}

static int symlink_handle(struct brick *b, const char *path, const char *target)
{
        int r = disk_symlink(b->disk, target, b->root_fd, path);
        if (r != -ENOENT)
                return r;
        r = make_levels(b, path);
        return r < 0 ? r : disk_symlink(b->disk, target, b->root_fd, path);
}

/* A handle is in the way. The same object's: fine. One whose object is gone: replaced. */
static int create_file_again(struct brick *b, const char *path, const struct place *at, const struct stat *st)
{
        struct stat old;
        int r = disk_stat(b->disk, b->root_fd, path, &old);
        if (r == 0 && old.st_ino == st->st_ino)
                return 0;
        if (r < 0 && r != -ENOENT)
                return r;
        if (r == 0 && (handle_stat_is_dir(&old) || old.st_nlink > 1))
                return -EEXIST;
        if (r == 0 && (r = disk_unlink(b->disk, b->root_fd, path, 0)) < 0 && r != -ENOENT)
                return r;
        return link_handle(b, path, at);
}

/* 1: the handle (PARENT_GFID, NAME) leads to an object that carries G. 0: it does not. Negative: that cannot be told now,
 * because the parent cannot be reached (a rename above is going on, or its own handle is missing). */
static int dir_handle_leads(struct brick *b, const struct gfid *g, const struct gfid *parent_gfid, const char *name)
{
        struct inode *parent = inode_get(b, parent_gfid);
        if (!parent)
                return -ENOMEM;
        struct place at;
        struct gfid found;
        int r = handle_open_dir(b, parent, &at.dirfd);
        if (r == 0) {
                memcpy(at.path, name, strlen(name) + 1);
                r = gfid_read(b, &at, &found);
                if (r == 0)
                        r = gfid_equal(&found, g);
                else if (r == -ENOENT || r == -ENODATA || r == -EUCLEAN)
                        r = 0;
        }
        inode_unref(b, parent);
        return r;
}

static bool dir_handle_resolves(struct brick *b, const struct gfid *g)
{
        struct gfid parent;
        char name[NAME_LIMIT + 1];
        return handle_read_dir(b, g, &parent, name) == 0 && dir_handle_leads(b, g, &parent, name) == 1;
}

static int create_dir_again(struct brick *b, const struct gfid *g, const char *path, const struct gfid *parent,
                            const char *name)
{
        if (handle_dir_is(b, g, parent, name))
                return 0;
        struct stat old;
        int r = disk_stat(b->disk, b->root_fd, path, &old);
        if (r == 0 && !handle_stat_is_dir(&old) && old.st_nlink > 1)
                return -EEXIST;
        if (r == 0 && handle_stat_is_dir(&old) && dir_handle_resolves(b, g))
                return -EEXIST;
        return handle_move_dir(b, g, parent, name);
}

int handle_create(struct brick *b, const struct gfid *g, const struct place *at, const struct stat *st,
                  const struct gfid *parent, const char *name)
{
        char path[HANDLE_PATH_MAX], target[TARGET_MAX + 1];
        handle_path(g, path);
        if (!S_ISDIR(st->st_mode)) {
                int r = link_handle(b, path, at);
                return r == -EEXIST ? create_file_again(b, path, at, st) : r;
        }
        int r = format_target(parent, name, target);
        if (r == 0)
                r = symlink_handle(b, path, target);
        return r == -EEXIST ? create_dir_again(b, g, path, parent, name) : r;
}

/* The new link is made where the next start would clear it away, and put over the old one. */
int handle_move_dir(struct brick *b, const struct gfid *g, const struct gfid *parent, const char *name)
{
        char path[HANDLE_PATH_MAX], fresh[HANDLE_PATH_MAX], target[TARGET_MAX + 1];
        handle_path(g, path);
        handle_unlink_path(g, fresh);
        int r = format_target(parent, name, target);
        if (r < 0)
                return r;
        r = disk_symlink(b->disk, target, b->root_fd, fresh);
        if (r == -EEXIST && (r = disk_unlink(b->disk, b->root_fd, fresh, 0)) == 0) /* an earlier attempt's */
                r = disk_symlink(b->disk, target, b->root_fd, fresh);
        if (r < 0)
                return r;
        r = disk_rename(b->disk, b->root_fd, fresh, b->root_fd, path, 0);
        if (r == -ENOENT && (r = make_levels(b, path)) == 0)
                r = disk_rename(b->disk, b->root_fd, fresh, b->root_fd, path, 0);
        if (r < 0)
                (void)disk_unlink(b->disk, b->root_fd, fresh, 0);
        brick_names_changed(b);
        return r;
}

int handle_remove(struct brick *b, const struct gfid *g)
{
        char path[HANDLE_PATH_MAX];
        handle_path(g, path);
        int r = disk_unlink(b->disk, b->root_fd, path, 0);
        brick_names_changed(b);
        return r == -ENOENT ? 0 : r;
}

int handle_park(struct brick *b, const struct gfid *g)
{
        char path[HANDLE_PATH_MAX], parked[HANDLE_PATH_MAX];
        handle_path(g, path);
        handle_unlink_path(g, parked);
        int r = disk_rename(b->disk, b->root_fd, path, b->root_fd, parked, 0);
        brick_names_changed(b);
        return r;
}

int handle_unpark(struct brick *b, const struct gfid *g)
{
        char path[HANDLE_PATH_MAX], parked[HANDLE_PATH_MAX];
        handle_path(g, path);
        handle_unlink_path(g, parked);
        return disk_rename(b->disk, b->root_fd, parked, b->root_fd, path, 0);
}

/* ---- opening directories ------------------------------------------------------------------------------------------- */

/* One directory to be opened below another. */
struct step {
        struct inode *dir; /* referenced */
        char name[NAME_LIMIT + 1];
};
struct chain {
        struct brick *brick;
        struct step *v;
        size_t n, cap;
};

static void chain_done(struct chain *c)
{
        for (size_t k = 0; k < c->n; k++)
                inode_unref(c->brick, c->v[k].dir);
        free(c->v);
}

static int chain_add(struct chain *c, struct inode *dir, const char *name)
{
        if (c->n == c->cap) {
                size_t cap = c->cap ? c->cap * 2 : 4;
                struct step *v = reallocarray(c->v, cap, sizeof *v);
                if (!v)
                        return -ENOMEM;
                c->v = v;
                c->cap = cap;
        }
        struct step *s = &c->v[c->n++];
        s->dir = inode_ref(dir);
        memcpy(s->name, name, strlen(name) + 1);
        return 0;
}

/* Reads the handle of DIR, which must be a directory's. -ESTALE: there is none, -ENOTDIR: it is a file's. */
static int read_dir_handle(struct brick *b, const struct inode *dir, struct gfid *ret_parent,
                           char ret_name[static NAME_LIMIT + 1])
{
        struct stat st;
        int r = handle_stat(b, &dir->gfid, &st);
        if (r < 0)
                return r == -ENOENT ? -ESTALE : r;
        if (!handle_stat_is_dir(&st))
                return -ENOTDIR;
        r = handle_read_dir(b, &dir->gfid, ret_parent, ret_name);
        return r == -ENOENT ? -ESTALE : r == -EINVAL ? -ENOTDIR : r;
}

/* Collects what has to be opened, from DIR upward to the first directory that is open: its inode is the result. */
static int chain_collect(struct chain *c, struct inode *dir, struct inode **ret_top)
{
        struct brick *b = c->brick;
        struct inode *at = inode_ref(dir);
        while (inode_dirfd(b, at) < 0) {
                struct gfid parent;
                char name[NAME_LIMIT + 1];
                int r = c->n < CHAIN_MAX ? read_dir_handle(b, at, &parent, name) : -ELOOP;
                if (r == 0)
                        r = chain_add(c, at, name);
                inode_unref(b, at);
                if (r < 0) /* an ancestor that is no directory says nothing about the object itself */
                        return c->n > 0 && r == -ENOTDIR ? -ESTALE : r;
                at = inode_get(b, &parent);
                if (!at)
                        return -ENOMEM;
        }
        *ret_top = at;
        return 0;
}

/* Opens NAME in PARENT_FD if it is the directory DIR. -ESTALE: it is something else. */
static int open_step(struct brick *b, int parent_fd, const struct step *s)
{
        int fd = disk_open(b->disk, parent_fd, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
                return -ESTALE;
        if (fd < 0)
                return fd;
        struct gfid g;
        struct place at = {.dirfd = fd};
        int r = gfid_read(b, &at, &g);
        if (r == 0 && gfid_equal(&g, &s->dir->gfid))
                return inode_keep_dirfd(b, s->dir, fd);
        disk_close(b->disk, fd);
        return r == 0 || r == -ENODATA || r == -EUCLEAN ? -ESTALE : r;
}

int handle_open_dir(struct brick *b, struct inode *dir, int *ret_fd)
{
        int fd = inode_dirfd(b, dir);
        if (fd < 0) {
                _cleanup_(chain_done) struct chain c = {.brick = b};
                struct inode *top;
                int r = chain_collect(&c, dir, &top);
                if (r < 0)
                        return r;
                fd = inode_dirfd(b, top);
                for (size_t k = c.n; k > 0 && fd >= 0; k--)
                        fd = open_step(b, fd, &c.v[k - 1]);
                inode_unref(b, top);
                if (fd < 0) /* -EBADF: the top was removed meanwhile */
                        return fd == -EBADF ? -ESTALE : fd;
        }
        *ret_fd = fd;
        return 0;
}

/* ---- handles whose object is gone ---------------------------------------------------------------------------------- */

static void drop_file_handle(struct brick *b, struct inode *inode)
{
        if (inode->fd_count == 0)
                (void)handle_remove(b, &inode->gfid);
        else if (handle_park(b, &inode->gfid) == 0)
                inode->unlinked = true;
}

static void drop_dir_handle(struct brick *b, struct inode *inode)
{
        struct gfid parent;
        char name[NAME_LIMIT + 1];
        int r = read_dir_handle(b, inode, &parent, name);
        if (r == -ENOTDIR || (r == 0 && dir_handle_leads(b, &inode->gfid, &parent, name) == 0))
                (void)handle_remove(b, &inode->gfid);
}

void handle_drop_dangling(struct brick *b, struct inode *inode)
{
        struct stat st;
        pthread_mutex_lock(&inode->lock);
        if (gfid_is_root(&inode->gfid) || handle_stat(b, &inode->gfid, &st) < 0) {
                pthread_mutex_unlock(&inode->lock);
                return;
        }
        if (handle_stat_is_dir(&st))
                drop_dir_handle(b, inode);
        else if (st.st_nlink == 1)
                drop_file_handle(b, inode);
        pthread_mutex_unlock(&inode->lock);
}
