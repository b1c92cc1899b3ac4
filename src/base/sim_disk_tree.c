/* The simulated disk: memory, inodes, directory entries, descriptors, the walk along a path, reading directories.
 *
 * Invariants: an inode lives while an entry, a descriptor, the log or a child directory points to it. Entries of a
 * directory are in its array, sorted by cookie, and in the disk-wide hash by (directory, name). A cookie is given once
 * in the life of a directory, so a position stays valid whatever is added or removed.
 *
 * Called with the disk's lock held, except sim_op_getdents(), which takes it.
 */
#include "base/sim_disk_priv.h"

#include <assert.h>
#include <dirent.h>

#define HASH_FIRST_SIZE 256u
#define FIRST_COOKIE 3u /* 1 and 2 are "." and ".." */

static void *or_abort(void *p)
{
        if (!p)
                abort();
        return p;
}

void *sim_alloc(size_t size)
{
        return or_abort(calloc(1, size ? size : 1));
}

void *sim_realloc(void *p, size_t size)
{
        return or_abort(realloc(p, size ? size : 1));
}

void *sim_copy(const void *p, size_t size)
{
        void *copy = sim_alloc(size);
        if (size > 0)
                memcpy(copy, p, size);
        return copy;
}

/* splitmix64 */
uint64_t sim_random_next(struct sim_disk *d)
{
        uint64_t z = d->random += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
}

struct timespec sim_now_ts(const struct sim_disk *d)
{
        return (struct timespec){.tv_sec = (time_t)(d->clock / NS_PER_SEC), .tv_nsec = (long)(d->clock % NS_PER_SEC)};
}

/* ---- inodes */

struct sim_inode *sim_inode_new(struct sim_disk *d)
{
        struct sim_inode *i = sim_alloc(sizeof *i);
        i->ino = d->next_ino++;
        i->next_cookie = FIRST_COOKIE;
        i->all_prev = d->all_last;
        if (d->all_last)
                d->all_last->all_next = i;
        else
                d->all_first = i;
        d->all_last = i;
        return i;
}

struct sim_inode *sim_inode_ref(struct sim_inode *i)
{
        if (i)
                i->refs++;
        return i;
}

void sim_inode_drop(struct sim_disk *d, struct sim_inode *i)
{
        if (i->all_prev)
                i->all_prev->all_next = i->all_next;
        else
                d->all_first = i->all_next;
        if (i->all_next)
                i->all_next->all_prev = i->all_prev;
        else
                d->all_last = i->all_prev;
        for (size_t n = 0; n < i->n_entries; n++)
                free(i->entries[n]);
        free(i->entries);
        sim_data_free(i);
        sim_xattr_free_all(i);
        free(i->target);
        free(i);
}

void sim_inode_unref(struct sim_disk *d, struct sim_inode *i)
{
        while (i) {
                assert(i->refs > 0);
                if (--i->refs > 0)
                        return;
                struct sim_inode *parent = i->a.parent;
                assert(i->n_entries == 0);
                sim_inode_drop(d, i);
                i = parent;
        }
}

void sim_inode_settle(struct sim_disk *d, struct sim_inode *i)
{
        if (i->a.nlink == 0 && i->opens == 0)
                sim_charge(d, i, -(int64_t)i->charged);
}

bool sim_has_room(const struct sim_disk *d, uint64_t bytes)
{
        return bytes <= d->capacity && d->used <= d->capacity - bytes;
}

void sim_charge(struct sim_disk *d, struct sim_inode *i, int64_t bytes)
{
        i->charged += (uint64_t)bytes;
        d->used += (uint64_t)bytes;
}

uint64_t sim_inode_cost(const struct sim_inode *i)
{
        uint64_t cost = S_ISDIR(i->a.mode) ? SIM_PAGE : 512;
        if (i->target)
                cost += strlen(i->target);
        for (const struct sim_xattr *x = i->xattrs; x; x = x->next)
                cost += strlen(x->name) + x->size;
        return cost + i->n_pages * SIM_PAGE;
}

/* ---- entries */

static uint64_t entry_hash(const struct sim_inode *dir, const char *name, size_t len)
{
        uint64_t h = 0xcbf29ce484222325ull ^ (dir->ino * 0x9e3779b97f4a7c15ull);
        for (size_t n = 0; n < len; n++)
                h = (h ^ (uint8_t)name[n]) * 0x100000001b3ull;
        return h ^ (h >> 29);
}

static struct sim_entry **entry_bucket(struct sim_disk *d, const struct sim_inode *dir, const char *name, size_t len)
{
        return &d->hash[entry_hash(dir, name, len) & (d->hash_size - 1)];
}

static struct sim_entry **entry_slot(struct sim_disk *d, const struct sim_inode *dir, const char *name, size_t len)
{
        struct sim_entry **e = entry_bucket(d, dir, name, len);
        while (*e && ((*e)->dir != dir || (*e)->len != len || memcmp((*e)->name, name, len) != 0))
                e = &(*e)->hash_next;
        return e;
}

struct sim_entry *sim_entry_find(struct sim_disk *d, const struct sim_inode *dir, const char *name, size_t len)
{
        return d->hash_count ? *entry_slot(d, dir, name, len) : NULL;
}

static void hash_grow(struct sim_disk *d)
{
        if (d->hash_count < d->hash_size)
                return;
        size_t old_size = d->hash_size;
        struct sim_entry **old = d->hash;
        d->hash_size = old_size ? old_size * 2 : HASH_FIRST_SIZE;
        d->hash = sim_alloc(d->hash_size * sizeof *d->hash);
        for (size_t n = 0; n < old_size; n++) {
                while (old[n]) {
                        struct sim_entry *e = old[n];
                        old[n] = e->hash_next;
                        struct sim_entry **bucket = entry_bucket(d, e->dir, e->name, e->len);
                        e->hash_next = *bucket;
                        *bucket = e;
                }
        }
        free(old);
}

/* The place of COOKIE in the directory's array: the first entry that is not before it. */
static size_t entry_place(const struct sim_inode *dir, uint64_t cookie)
{
        size_t low = 0, high = dir->n_entries;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (dir->entries[middle]->cookie < cookie)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static void entry_insert(struct sim_disk *d, struct sim_inode *dir, const char *name, size_t len,
                         struct sim_inode *child, uint64_t cookie)
{
        hash_grow(d);
        struct sim_entry *e = sim_alloc(sizeof *e + len + 1);
        e->dir = dir;
        e->child = sim_inode_ref(child);
        e->cookie = cookie ? cookie : dir->next_cookie++;
        e->len = (uint8_t)len;
        memcpy(e->name, name, len);
        struct sim_entry **bucket = entry_bucket(d, dir, name, len);
        e->hash_next = *bucket;
        *bucket = e;
        d->hash_count++;

        if (dir->n_entries == dir->cap_entries) {
                dir->cap_entries = dir->cap_entries ? dir->cap_entries * 2 : 8;
                dir->entries = sim_realloc(dir->entries, dir->cap_entries * sizeof(struct sim_entry *));
        }
        size_t at = entry_place(dir, e->cookie);
        memmove(dir->entries + at + 1, dir->entries + at, (dir->n_entries - at) * sizeof(struct sim_entry *));
        dir->entries[at] = e;
        dir->n_entries++;
}

static void entry_remove(struct sim_disk *d, struct sim_entry **slot)
{
        struct sim_entry *e = *slot;
        *slot = e->hash_next;
        d->hash_count--;
        struct sim_inode *dir = e->dir;
        size_t at = entry_place(dir, e->cookie);
        assert(dir->entries[at] == e);
        dir->n_entries--;
        memmove(dir->entries + at, dir->entries + at + 1, (dir->n_entries - at) * sizeof(struct sim_entry *));
        struct sim_inode *child = e->child;
        free(e);
        sim_inode_unref(d, child);
}

void sim_entry_put(struct sim_disk *d, struct sim_inode *dir, const char *name, size_t len, struct sim_inode *child,
                   uint64_t cookie)
{
        struct sim_entry **slot = d->hash_count ? entry_slot(d, dir, name, len) : NULL;
        struct sim_entry *e = slot ? *slot : NULL;
        if (e && !child)
                return entry_remove(d, slot);
        if (!e && child)
                return entry_insert(d, dir, name, len, child, cookie);
        if (!e)
                return;
        struct sim_inode *old = e->child;
        e->child = sim_inode_ref(child);
        sim_inode_unref(d, old);
}

/* ---- descriptors */

struct sim_fd *sim_fd_get(struct sim_disk *d, int fd)
{
        if (fd < SIM_FD_BASE || fd >= SIM_FD_BASE + (int)SIM_FD_MAX)
                return NULL;
        return d->fds[fd - SIM_FD_BASE];
}

struct sim_fd *sim_fd_usable(struct sim_disk *d, int fd)
{
        struct sim_fd *f = sim_fd_get(d, fd);
        return f && !(f->flags & O_PATH) ? f : NULL;
}

/* Numbers come round late, so that a use after close is noticed. */
int sim_fd_new(struct sim_disk *d, struct sim_inode *i, int flags)
{
        assert(d->n_open < SIM_FD_MAX);
        while (d->fds[d->next_fd])
                d->next_fd = (d->next_fd + 1) % SIM_FD_MAX;
        unsigned n = d->next_fd;
        d->next_fd = (n + 1) % SIM_FD_MAX;
        struct sim_fd *f = sim_alloc(sizeof *f);
        *f = (struct sim_fd){.inode = sim_inode_ref(i), .flags = flags};
        i->opens++;
        d->fds[n] = f;
        d->n_open++;
        return SIM_FD_BASE + (int)n;
}

void sim_fd_close(struct sim_disk *d, int fd)
{
        struct sim_fd *f = sim_fd_get(d, fd);
        assert(f);
        d->fds[fd - SIM_FD_BASE] = NULL;
        d->n_open--;
        f->inode->opens--;
        sim_inode_settle(d, f->inode);
        sim_inode_unref(d, f->inode);
        free(f);
}

void sim_fd_close_all(struct sim_disk *d)
{
        for (unsigned n = 0; n < SIM_FD_MAX && d->n_open > 0; n++)
                if (d->fds[n])
                        sim_fd_close(d, SIM_FD_BASE + (int)n);
}

/* ---- paths */

int sim_walk_last(struct sim_disk *d, const struct sim_walk *w, struct sim_inode **ret)
{
        struct sim_inode *i = w->dir;
        if (w->last == SIM_LAST_DOTDOT) {
                i = i->a.parent ? i->a.parent : i;
        } else if (w->last == SIM_LAST_NAME) {
                if (w->len > SIM_NAME_MAX)
                        return -ENAMETOOLONG;
                struct sim_entry *e = sim_entry_find(d, i, w->name, w->len);
                if (!e)
                        return -ENOENT;
                i = e->child;
        }
        *ret = i;
        return 0;
}

static enum sim_last last_kind(const char *name, size_t len)
{
        if (len == 1 && name[0] == '.')
                return SIM_LAST_DOT;
        if (len == 2 && name[0] == '.' && name[1] == '.')
                return SIM_LAST_DOTDOT;
        return SIM_LAST_NAME;
}

/* The last component, through symbolic links to what they stand for. */
static int walk_follow(struct sim_disk *d, struct sim_walk *w, struct sim_inode **ret)
{
        bool want_dir = false;
        for (;;) {
                struct sim_inode *i;
                int r = sim_walk_last(d, w, &i);
                if (r < 0)
                        return r;
                want_dir |= w->slash;
                if (!S_ISLNK(i->a.mode)) {
                        *ret = i;
                        return want_dir && !S_ISDIR(i->a.mode) ? -ENOTDIR : 0;
                }
                r = sim_walk_link(d, w, i);
                if (r < 0)
                        return r;
        }
}

static int walk(struct sim_disk *d, struct sim_walk *w, const char *path)
{
        if (path[0] == '/')
                w->dir = d->root;
        path += strspn(path, "/");
        w->last = SIM_LAST_ROOT;
        w->name = path;
        w->len = 0;
        w->slash = false;
        while (*path) {
                w->name = path;
                w->len = strcspn(path, "/");
                w->last = last_kind(w->name, w->len);
                path += w->len;
                w->slash = *path == '/';
                path += strspn(path, "/");
                if (!*path)
                        break;
                w->slash = false;
                struct sim_inode *i;
                int r = walk_follow(d, w, &i);
                if (r < 0)
                        return r;
                if (!S_ISDIR(i->a.mode))
                        return -ENOTDIR;
                w->dir = i;
        }
        return 0;
}

int sim_walk_link(struct sim_disk *d, struct sim_walk *w, const struct sim_inode *link)
{
        if (w->links++ >= SIM_SYMLINK_MAX)
                return -ELOOP;
        return walk(d, w, link->target);
}

int sim_walk_parent(struct sim_disk *d, int dirfd, const char *path, struct sim_walk *ret)
{
        if (path[0] == '\0')
                return -ENOENT;
        if (strlen(path) >= PATH_MAX)
                return -ENAMETOOLONG;
        struct sim_walk w = {.dir = d->root};
        if (path[0] != '/' && dirfd != AT_FDCWD) {
                struct sim_fd *f = sim_fd_get(d, dirfd);
                if (!f)
                        return -EBADF;
                if (!S_ISDIR(f->inode->a.mode))
                        return -ENOTDIR;
                w.dir = f->inode;
        }
        int r = walk(d, &w, path);
        if (r < 0)
                return r;
        *ret = w;
        return 0;
}

static int lookup_fd(struct sim_disk *d, int fd, unsigned how, struct sim_inode **ret)
{
        if (fd == AT_FDCWD && (how & SIM_EMPTY)) {
                *ret = d->root;
                return 0;
        }
        struct sim_fd *f = (how & SIM_EMPTY) ? sim_fd_get(d, fd) : sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        *ret = f->inode;
        return 0;
}

int sim_lookup(struct sim_disk *d, int dirfd, const char *path, unsigned how, struct sim_inode **ret)
{
        if (path[0] == '\0' && (how & (SIM_EMPTY | SIM_EMPTY_OPENED)))
                return lookup_fd(d, dirfd, how, ret);
        struct sim_walk w;
        int r = sim_walk_parent(d, dirfd, path, &w);
        if (r < 0)
                return r;
        if ((how & SIM_FOLLOW) || w.slash)
                return walk_follow(d, &w, ret);
        return sim_walk_last(d, &w, ret);
}

/* ---- reading directories */

static size_t dirent_put(uint8_t *buf, size_t room, uint64_t ino, uint64_t cookie, mode_t mode, const char *name)
{
        size_t len = offsetof(struct disk_dirent, d_name) + strlen(name) + 1;
        size_t reclen = (len + 7) & ~(size_t)7;
        if (reclen > room)
                return 0;
        memset(buf, 0, reclen);
        struct disk_dirent e = {
                .d_ino = ino,
                .d_off = (int64_t)cookie,
                .d_reclen = (uint16_t)reclen,
                .d_type = IFTODT(mode),
        };
        memcpy(buf, &e, offsetof(struct disk_dirent, d_name));
        memcpy(buf + offsetof(struct disk_dirent, d_name), name, strlen(name) + 1);
        return reclen;
}

/* The entry after position POS, as a record at BUF: its size, 0 when ROOM is too small, -ENOENT at the end. */
static ssize_t dirent_after(const struct sim_inode *dir, uint64_t pos, size_t *at, uint8_t *buf, size_t room,
                            uint64_t *ret_pos)
{
        if (pos < 2) {
                const struct sim_inode *up = pos == 1 && dir->a.parent ? dir->a.parent : dir;
                *ret_pos = pos + 1;
                return (ssize_t)dirent_put(buf, room, up->ino, pos + 1, S_IFDIR, pos == 0 ? "." : "..");
        }
        while (*at < dir->n_entries && dir->entries[*at]->cookie <= pos)
                (*at)++;
        if (*at == dir->n_entries)
                return -ENOENT;
        const struct sim_entry *e = dir->entries[*at];
        *ret_pos = e->cookie;
        return (ssize_t)dirent_put(buf, room, e->child->ino, e->cookie, e->child->a.mode, e->name);
}

ssize_t sim_op_getdents(struct disk *disk, int fd, void *buf, size_t size)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_fd *f = sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        const struct sim_inode *dir = f->inode;
        if (!S_ISDIR(dir->a.mode))
                return -ENOTDIR;
        if (dir->a.nlink == 0)
                return -ENOENT;
        size_t used = 0, at = 0;
        ssize_t n = 0;
        uint64_t next;
        while ((n = dirent_after(dir, (uint64_t)f->pos, &at, (uint8_t *)buf + used, size - used, &next)) > 0) {
                used += (size_t)n;
                f->pos = (off_t)next;
        }
        return used == 0 && n == 0 ? -EINVAL : (ssize_t)used;
}
