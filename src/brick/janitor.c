/* The janitor (janitor.h).
 *
 * A subtree is never walked in depth: subdirectories found in a landfill entry are first moved up into the landfill itself,
 * so each directory is empty of directories when it is deleted, and any depth costs two descriptors. Handles go with their
 * objects: a file's before its last name, a directory's after it when it leads nowhere.
 *
 * Called from brick_open() and brick_purge(), one thread at a time.
 */
#include "brick/janitor.h"
#include "brick/cache.h"
#include "brick/gfid2path.h"
#include "brick/names.h"

#include <stdio.h>
#include <sys/random.h>

#define UNLINK_DIR ".glusterfs/unlink"
#define LANDFILL_DIR ".glusterfs/landfill"
#define PURGE_BUDGET 1000 /* entries a call */
#define DENTS_SIZE 4096

/* Calls FN for every entry of directory FD until it says stop (non-zero), which is the result. */
static int each_entry(struct brick *b, int fd, int (*fn)(struct brick *b, int dirfd, const char *name, void *arg),
                      void *arg)
{
        _Alignas(struct disk_dirent) uint8_t data[DENTS_SIZE];
        ssize_t n;
        while ((n = disk_getdents(b->disk, fd, data, sizeof data)) > 0) {
                for (ssize_t at = 0; at < n;) {
                        const struct disk_dirent *d = (const void *)(data + at);
                        at += d->d_reclen;
                        if (streq(d->d_name, ".") || streq(d->d_name, ".."))
                                continue;
                        int r = fn(b, fd, d->d_name, arg);
                        if (r != 0)
                                return r;
                }
        }
        return (int)n;
}

static int open_dir(struct brick *b, int dirfd, const char *path)
{
        return disk_open(b->disk, dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* ---- at start ------------------------------------------------------------------------------------------------------ */

/* Directories there were made by hand or by older programs; the landfill takes them. */
static int move_to_landfill(struct brick *b, int dirfd, const char *name)
{
        uint8_t raw[16];
        char text[GFID_TEXT_LEN + 1], path[HANDLE_PATH_MAX];
        if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
                return -EIO;
        struct gfid g = gfid_from_random(raw);
        (void)snprintf(path, sizeof path, LANDFILL_DIR "/%s", gfid_format(&g, text));
        return disk_rename(b->disk, dirfd, name, b->root_fd, path, 0);
}

static int remove_parked(struct brick *b, int dirfd, const char *name, void *arg)
{
        int r = disk_unlink(b->disk, dirfd, name, 0);
        if (r == -EISDIR || r == -EPERM)
                r = move_to_landfill(b, dirfd, name);
        return r == -ENOENT ? 0 : r;
}

int janitor_empty_unlink(struct brick *b)
{
        int fd = open_dir(b, b->root_fd, UNLINK_DIR);
        if (fd < 0)
                return fd;
        int r = each_entry(b, fd, remove_parked, NULL);
        disk_close(b->disk, fd);
        return r;
}

/* ---- the landfill -------------------------------------------------------------------------------------------------- */

struct purge {
        int budget;
        int done; /* deleted or moved up */
        struct gfid parent; /* of the directory being emptied; null: it has no gfid */
};

/* Its last name is about to go: the handle first, kept for whoever has the file open. Under inode.lock. */
static int drop_last_handle(struct brick *b, struct inode *inode, const struct place *at, const struct purge *p)
{
        bool open = inode->fd_count > 0;
        int r = open ? handle_park(b, &inode->gfid) : handle_remove(b, &inode->gfid);
        if (r == 0 && open) {
                inode->unlinked = true;
                names_remove(b, inode, at, &p->parent, at->path);
        }
        return r;
}

/* Self-heal replays the renaming of a directory by making it anew in its other place, with the gfids and names of all that is
 * below, and removes the old one as a whole. What handle and gfid2path say is then true of the new place: does NAME in the
 * directory that PARENT's handle leads to have the gfid G, and is it not the directory of AT? Under inode.lock of G. */
static bool true_elsewhere(struct brick *b, const struct place *at, const struct gfid *parent, const struct gfid *g)
{
        struct place there = {.dirfd = -EBADF};
        struct stat here_st, there_st;
        struct gfid found;
        struct inode *dir = gfid_is_null(parent) ? NULL : inode_get(b, parent);
        if (!dir)
                return false;
        memcpy(there.path, at->path, sizeof there.path);
        bool found_it = handle_open_dir(b, dir, &there.dirfd) == 0 && disk_stat(b->disk, there.dirfd, "", &there_st) == 0 &&
                        disk_stat(b->disk, at->dirfd, "", &here_st) == 0 && there_st.st_ino != here_st.st_ino &&
                        gfid_read(b, &there, &found) == 0 && gfid_equal(&found, g);
        inode_unref(b, dir);
        return found_it;
}

/* Under inode.lock, where the number of names does not change. Without its handle's removal the name stays too: a handle
 * alone would keep the file for ever. */
static int purge_known(struct brick *b, struct inode *inode, struct place *at, const struct purge *p)
{
        struct stat st, handle;
        int r = disk_stat(b->disk, at->dirfd, at->path, &st);
        if (r < 0)
                return r;
        at->ino = st.st_ino;
        bool own = handle_stat(b, &inode->gfid, &handle) == 0 && handle.st_ino == st.st_ino;
        if (own && st.st_nlink <= 2)
                r = drop_last_handle(b, inode, at, p);
        else if (st.st_nlink > 1 && !gfid_is_null(&p->parent) && !true_elsewhere(b, at, &p->parent, &inode->gfid))
                names_remove(b, inode, at, &p->parent, at->path);
        if (r == 0) {
                r = disk_unlink(b->disk, at->dirfd, at->path, 0);
                brick_names_changed(b);
        }
        if (r < 0)
                return r;
        if (own && st.st_nlink <= 2 && !inode->unlinked)
                inode_forget(b, inode);
        return 0;
}

static int purge_file(struct brick *b, struct place *at, const struct purge *p)
{
        struct gfid g;
        int r = gfid_read(b, at, &g);
        if (r == -ENODATA || r == -EUCLEAN)
                return disk_unlink(b->disk, at->dirfd, at->path, 0);
        struct inode *inode = r == 0 ? inode_get(b, &g) : NULL;
        if (!inode)
                return r < 0 ? r : -ENOMEM;
        pthread_mutex_lock(&inode->lock);
        r = purge_known(b, inode, at, p);
        pthread_mutex_unlock(&inode->lock);
        inode_unref(b, inode);
        return r;
}

/* A subdirectory goes up into the landfill; its handle goes if it means this place. Both under inode.lock: a look-up that
 * still sees the name would make the handle again. */
static int lift_dir(struct brick *b, const struct place *at, const struct purge *p)
{
        struct gfid g;
        struct inode *inode = gfid_read(b, at, &g) == 0 ? inode_get(b, &g) : NULL;
        if (!inode)
                return move_to_landfill(b, at->dirfd, at->path);
        pthread_mutex_lock(&inode->lock);
        if (handle_dir_is(b, &g, &p->parent, at->path) && !true_elsewhere(b, at, &p->parent, &g)) {
                (void)handle_remove(b, &g);
                inode_forget(b, inode);
        }
        int r = move_to_landfill(b, at->dirfd, at->path);
        pthread_mutex_unlock(&inode->lock);
        inode_unref(b, inode);
        return r;
}

static int purge_name(struct brick *b, struct place *at, const struct purge *p)
{
        struct stat st;
        int r = disk_stat(b->disk, at->dirfd, at->path, &st);
        if (r < 0)
                return r;
        return S_ISDIR(st.st_mode) ? lift_dir(b, at, p) : purge_file(b, at, p);
}

/* One entry of a directory in the landfill. A request that found the directory before it came here may be making one. */
static int purge_child(struct brick *b, int dirfd, const char *name, void *arg)
{
        struct purge *p = arg;
        struct place at = {.dirfd = dirfd};
        struct entry_guard guard;
        if (p->budget-- <= 0 || strlen(name) > NAME_LIMIT)
                return 1;
        memcpy(at.path, name, strlen(name) + 1);
        entry_lock(b, &p->parent, name, &guard);
        p->done += purge_name(b, &at, p) == 0;
        entry_unlock(&guard);
        return 0;
}

/* The directory is gone; a handle that leads nowhere goes too, one that was moved to another place stays. */
static void forget_dir(struct brick *b, const struct gfid *g)
{
        struct inode *inode = inode_get(b, g);
        if (!inode)
                return;
        inode_forget(b, inode);
        handle_drop_dangling(b, inode);
        inode_unref(b, inode);
}

static int purge_dir(struct brick *b, int landfill, const char *name, struct purge *p)
{
        struct place at = {.dirfd = open_dir(b, landfill, name)};
        if (at.dirfd < 0)
                return 0;
        p->parent = (struct gfid){0};
        (void)gfid_read(b, &at, &p->parent);
        int r = each_entry(b, at.dirfd, purge_child, p);
        disk_close(b->disk, at.dirfd);
        if (r != 0 || p->budget-- <= 0)
                return 1;
        if (disk_unlink(b->disk, landfill, name, AT_REMOVEDIR) < 0)
                return 0;
        p->done++;
        if (!gfid_is_null(&p->parent))
                forget_dir(b, &p->parent);
        return 0;
}

/* One entry of the landfill itself. */
static int purge_entry(struct brick *b, int landfill, const char *name, void *arg)
{
        struct purge *p = arg;
        struct stat st;
        if (disk_stat(b->disk, landfill, name, &st) < 0)
                return 0;
        if (S_ISDIR(st.st_mode))
                return purge_dir(b, landfill, name, p);
        p->parent = (struct gfid){0};
        return purge_child(b, landfill, name, p);
}

static int landfill_has_entry(struct brick *b, int dirfd, const char *name, void *arg)
{
        return 1;
}

int janitor_purge(struct brick *b)
{
        struct purge p = {.budget = PURGE_BUDGET};
        int fd = open_dir(b, b->root_fd, LANDFILL_DIR);
        if (fd < 0)
                return 0;
        (void)each_entry(b, fd, purge_entry, &p);
        disk_close(b->disk, fd);
        fd = p.done > 0 ? open_dir(b, b->root_fd, LANDFILL_DIR) : -EBADF;
        if (fd < 0)
                return 0;
        int left = each_entry(b, fd, landfill_has_entry, NULL);
        disk_close(b->disk, fd);
        return left > 0;
}
