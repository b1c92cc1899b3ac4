/* From what a request names to an object on the disk: by gfid, by (parent, name), by descriptor (spec: brick.md §5, §6).
 *
 * A cached name costs one stat: the inode is found by its backing number, and its gfid is believed while the xattr snapshot
 * matches the stat. Handles are looked at once per cached inode, again whenever the object's ctime changed in a way we did
 * not cause, and for directories (whose ctime says nothing about their handle) once a second.
 *
 * Locks: object_entry() takes inode.lock only to repair a handle; giving a new gfid needs the name's entry lock, held by the
 * caller who passes HEAL_GFID. Entry locks come before inode.lock. Any thread.
 */
#include "brick/cache.h"
#include "brick/confine.h"
#include "brick/names.h"
#include "brick/gfid2path.h"

#include <sys/xattr.h>

#define DIR_HANDLE_RECHECK NS_PER_SEC
#define ENTRY_ATTEMPTS 10 /* each fails only if a rename comes between two system calls */

void object_done(struct brick *b, struct object *o)
{
        o->inode = inode_unref(b, o->inode);
}

static int look(struct brick *b, struct object *o)
{
        int r = disk_stat(b->disk, o->at.dirfd, o->at.path, &o->st);
        if (r == 0)
                o->at.ino = o->st.st_ino;
        return r;
}

int object_restat(struct op *op, struct object *o)
{
        return look(op->brick, o);
}

static void place_name(struct place *p, int dirfd, const char *name)
{
        p->dirfd = dirfd;
        memcpy(p->path, name, strlen(name) + 1);
}

/* ---- by gfid ------------------------------------------------------------------------------------------------------- */

/* A cached descriptor of a directory that was removed behind our back has no links: forget it and open again. */
static int open_live_dir(struct brick *b, struct object *o)
{
        for (int attempt = 0; attempt < 2; attempt++) {
                int r = handle_open_dir(b, o->inode, &o->at.dirfd);
                if (r < 0)
                        return r;
                o->at.path[0] = '\0';
                r = look(b, o);
                if (r < 0)
                        return r;
                if (o->st.st_nlink > 0) {
                        inode_set_ino(b, o->inode, o->st.st_ino, S_IFDIR);
                        return 0;
                }
                inode_forget(b, o->inode);
        }
        return -ESTALE;
}

/* Between the rename of a directory and the change of its handle, nothing below it that is not open can be reached. */
static int open_settled_dir(struct brick *b, struct object *o)
{
        int r = open_live_dir(b, o);
        if (r != -ESTALE)
                return r;
        pthread_rwlock_wrlock(&b->dir_moves);
        r = open_live_dir(b, o);
        pthread_rwlock_unlock(&b->dir_moves);
        return r;
}

/* The caller holds no inode.lock. */
static int find_dir(struct brick *b, struct object *o)
{
        int r = open_settled_dir(b, o);
        if (r == -ESTALE)
                handle_drop_dangling(b, o->inode);
        return r == -ENOTDIR ? -ESTALE : r;
}

static int find_handle(struct brick *b, struct object *o)
{
        if (o->inode->type == S_IFDIR || gfid_is_root(&o->inode->gfid))
                return find_dir(b, o);
        o->at.dirfd = b->root_fd;
        handle_path(&o->inode->gfid, o->at.path);
        int r = look(b, o);
        if (r < 0)
                return r == -ENOENT ? -ESTALE : r;
        if (handle_stat_is_dir(&o->st))
                return find_dir(b, o);
        if (S_ISDIR(o->st.st_mode))
                return -ESTALE;
        if (o->st.st_nlink == 1) {
                handle_drop_dangling(b, o->inode);
                return -ESTALE;
        }
        inode_set_ino(b, o->inode, o->st.st_ino, o->st.st_mode);
        return 0;
}

static int find_parked(struct brick *b, struct object *o)
{
        o->at.dirfd = b->root_fd;
        handle_unlink_path(&o->inode->gfid, o->at.path);
        return look(b, o);
}

static bool is_parked(struct inode *i)
{
        pthread_mutex_lock(&i->lock);
        bool parked = i->unlinked;
        pthread_mutex_unlock(&i->lock);
        return parked;
}

static int find_now(struct brick *b, bool parked_too, struct object *o)
{
        if (!is_parked(o->inode))
                return find_handle(b, o);
        return parked_too ? find_parked(b, o) : -ENOENT;
}

static int by_gfid(struct op *op, const struct gfid *gfid, bool parked_too, struct object *ret)
{
        struct brick *b = op->brick;
        struct gfid g = attr_gfid_from_client(op, gfid);
        if (gfid_is_null(&g))
                return -EINVAL;
        struct object o = {.inode = inode_get(b, &g)};
        if (!o.inode)
                return -ENOMEM;
        o.generation = o.inode->generation;
        int r = find_now(b, parked_too, &o);
        if (r == -ESTALE) /* after a removal in progress, which may have parked the file or left it where it was */
                r = find_now(b, parked_too, &o);
        if (r == 0)
                r = confine_check(op, &o);
        if (r < 0) {
                object_done(b, &o);
                return r;
        }
        *ret = o;
        return 0;
}

int object_by_gfid(struct op *op, const struct gfid *gfid, struct object *ret)
{
        return by_gfid(op, gfid, false, ret);
}

int object_by_gfid_any(struct op *op, const struct gfid *gfid, struct object *ret)
{
        return by_gfid(op, gfid, true, ret);
}

int object_parent(struct op *op, const struct gfid *gfid, struct object *ret)
{
        struct object o;
        int r = object_by_gfid(op, gfid, &o);
        if (r < 0)
                return r == -ENOENT ? -ESTALE : r;
        if (!S_ISDIR(o.st.st_mode)) {
                object_done(op->brick, &o);
                return -EPERM;
        }
        *ret = o;
        return 0;
}

/* ---- by name ------------------------------------------------------------------------------------------------------- */

int entry_name_check(const struct brick *b, const struct object *parent, const char *name)
{
        if (!*name)
                return -EINVAL;
        if (strchr(name, '/'))
                return -EPERM;
        if (strlen(name) > NAME_LIMIT)
                return -ENAMETOOLONG;
        if (parent->st.st_ino != b->root_ino)
                return 0;
        if (streq(name, ".glusterfs"))
                return -EPERM;
        return streq(name, "..") ? -ENOENT : 0;
}

/* The top of a sub-directory mount has nothing above it. */
static bool leaves_subdir(const struct op *op, const struct object *parent, const char *name)
{
        return streq(name, "..") && gfid_equal(&parent->inode->gfid, &op->session->subdir_root);
}

/* The inode that is known under the backing number, if nothing happened to its attributes. */
static struct inode *known_inode(struct brick *b, const struct stat *st)
{
        struct inode *i = inode_find_ino(b, st->st_ino);
        if (!i || (i->type == (st->st_mode & S_IFMT) && xattr_is_current(i, st)))
                return i;
        inode_unref(b, i);
        return NULL;
}

static bool handle_needs_look(struct inode *i, const struct stat *st, bool known)
{
        uint64_t checked = inode_handle_checked(i);
        if (!S_ISDIR(st->st_mode))
                return !known || checked == 0 || st->st_nlink == 1;
        return checked == 0 || coarse_now() - checked >= DIR_HANDLE_RECHECK;
}

/* Is what the place names still the object that was seen there? -ESTALE: another one. */
static int look_again(struct brick *b, struct object *o)
{
        ino_t seen = o->st.st_ino;
        int r = look(b, o);
        return r == 0 && o->st.st_ino != seen ? -ESTALE : r;
}

static bool handle_fits(struct brick *b, const struct object *parent, const struct object *o)
{
        struct stat handle;
        if (S_ISDIR(o->st.st_mode))
                return handle_dir_is(b, &o->inode->gfid, &parent->inode->gfid, o->at.path);
        return handle_stat(b, &o->inode->gfid, &handle) == 0 && handle.st_ino == o->st.st_ino;
}

/* Under inode.lock, so that no removal or rename of the object is in progress. */
static int repair_held(struct brick *b, const struct object *parent, struct object *o)
{
        int r = look_again(b, o);
        if (r < 0 || handle_fits(b, parent, o))
                return r;
        r = handle_create(b, &o->inode->gfid, &o->at, &o->st, &parent->inode->gfid, o->at.path);
        brick_names_changed(b);
        if (r == -EEXIST) /* a copy of another object's attributes, or the directory's other place: leave that one be */
                return 0;
        if (r < 0)
                return r;
        o->inode->generation++;
        return look(b, o);
}

/* Makes the handle if it is missing, and what says the object's names. */
static int repair_handle(struct op *op, const struct object *parent, struct object *o)
{
        pthread_mutex_lock(&o->inode->lock);
        int r = repair_held(op->brick, parent, o);
        if (r == 0) {
                inode_set_handle_checked(o->inode, coarse_now());
                if (names_repair(op, o, &parent->inode->gfid, o->at.path))
                        r = object_restat(op, o);
        }
        pthread_mutex_unlock(&o->inode->lock);
        return r;
}

/* Under inode.lock of the gfid. */
static int assign_held(struct brick *b, const struct object *parent, struct object *o, struct inode *inode)
{
        const struct gfid *g = &inode->gfid;
        const char *name = o->at.path;
        struct stat used;
        if (handle_stat(b, g, &used) == 0 && !handle_stat_is_dir(&used) && used.st_ino != o->st.st_ino &&
            used.st_nlink > 1)
                return -EEXIST;
        if (b->options->gfid2path && !S_ISDIR(o->st.st_mode)) {
                struct gfid2path p;
                gfid2path_make(&parent->inode->gfid, name, &p);
                (void)disk_setxattr(b->disk, o->at.dirfd, name, p.key, p.value, p.len, 0);
        }
        int r = disk_setxattr(b->disk, o->at.dirfd, name, XATTR_GFID, g->b, sizeof g->b, XATTR_CREATE);
        if (r < 0)
                return r;
        r = handle_create(b, g, &o->at, &o->st, &parent->inode->gfid, name);
        brick_names_changed(b);
        if (r < 0) {
                (void)disk_removexattr(b->disk, o->at.dirfd, name, XATTR_GFID);
                return r;
        }
        inode->generation++;
        return look(b, o);
}

/* Gives the object, which has none, the gfid G and a handle. The caller holds the name's entry lock. */
static int assign_gfid(struct brick *b, const struct object *parent, struct object *o, const struct gfid *g)
{
        struct inode *inode = inode_get(b, g);
        if (!inode)
                return -ENOMEM;
        pthread_mutex_lock(&inode->lock);
        int r = assign_held(b, parent, o, inode);
        pthread_mutex_unlock(&inode->lock);
        inode_unref(b, inode);
        return r;
}

static int find_gfid(struct brick *b, const struct object *parent, struct object *o, const struct gfid *heal,
                     struct gfid *ret)
{
        int r = gfid_read(b, &o->at, ret);
        if (r != -ENODATA || !heal)
                return r;
        *ret = *heal;
        return assign_gfid(b, parent, o, heal);
}

static bool is_dotgluster(const struct brick *b, const struct stat *st)
{
        return st->st_ino == b->dotgluster_ino && st->st_dev == b->dev;
}

/* The name may come to mean another object at any time: what was read of it counts only if it still means the one that
 * was seen first. */
static int find_unknown(struct op *op, const struct object *parent, const struct gfid *heal, bool has_handle,
                        struct object *o)
{
        struct brick *b = op->brick;
        struct gfid g;
        int r = find_gfid(b, parent, o, heal, &g);
        if (r < 0)
                return r;
        o->inode = inode_get(b, &g);
        if (!o->inode)
                return -ENOMEM;
        r = has_handle && handle_needs_look(o->inode, &o->st, false) ? repair_handle(op, parent, o) : look_again(b, o);
        if (r == 0)
                inode_set_ino(b, o->inode, o->st.st_ino, o->st.st_mode);
        return r;
}

static int entry_once(struct op *op, const struct object *parent, const char *name, const struct gfid *heal,
                      struct object *o)
{
        struct brick *b = op->brick;
        place_name(&o->at, parent->at.dirfd, name);
        o->moves = atomic_load(&b->moves);
        int r = look(b, o);
        if (r < 0)
                return r;
        if (is_dotgluster(b, &o->st))
                return -ENOENT;
        bool named = !streq(name, ".") && !streq(name, "..");
        o->inode = known_inode(b, &o->st);
        if (!o->inode)
                r = find_unknown(op, parent, heal, named, o);
        else if (named && handle_needs_look(o->inode, &o->st, true))
                r = repair_handle(op, parent, o);
        if (r == 0)
                o->generation = o->inode->generation;
        return r;
}

int object_entry(struct op *op, const struct object *parent, const char *name, const struct gfid *heal_gfid,
                 struct object *ret)
{
        int r = entry_name_check(op->brick, parent, name);
        if (r < 0)
                return r;
        if (leaves_subdir(op, parent, name))
                return -ENOENT;
        struct object o = {0};
        for (int attempt = 0; attempt < ENTRY_ATTEMPTS; attempt++) {
                r = entry_once(op, parent, name, heal_gfid, &o);
                if (r != -ESTALE)
                        break;
                object_done(op->brick, &o);
        }
        if (r < 0) {
                object_done(op->brick, &o);
                if (r == -ENODATA)
                        *ret = o;
                return r;
        }
        *ret = o;
        return 0;
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

/* Under inode.lock, where the handle is neither moved nor made for another object. */
static int open_file_held(struct brick *b, const struct object *o, int flags)
{
        char path[HANDLE_PATH_MAX];
        struct inode *i = o->inode;
        if (i->generation != o->generation)
                return -ESTALE;
        if (i->unlinked)
                handle_unlink_path(&i->gfid, path);
        else
                handle_path(&i->gfid, path);
        int fd = disk_open(b->disk, b->root_fd, path, flags | O_NOFOLLOW | O_NONBLOCK, 0);
        return fd == -ENOENT ? -ESTALE : fd;
}

int object_open(struct brick *b, const struct object *o, int flags)
{
        flags &= ~(O_CREAT | O_EXCL);
        if (S_ISDIR(o->st.st_mode))
                return disk_open(b->disk, o->at.dirfd, ".", flags | O_NOFOLLOW | O_NONBLOCK, 0);
        if (!S_ISREG(o->st.st_mode))
                return -EINVAL;
        pthread_mutex_lock(&o->inode->lock);
        int fd = open_file_held(b, o, flags);
        pthread_mutex_unlock(&o->inode->lock);
        return fd;
}

/* ---- by descriptor ------------------------------------------------------------------------------------------------- */

static int open_anonymous(struct op *op, const struct object *o, int flags)
{
        if (S_ISDIR(o->st.st_mode))
                return object_open(op->brick, o, O_RDONLY | O_DIRECTORY);
        return object_open(op->brick, o, flags & ~O_TRUNC);
}

static int anonymous_get(struct op *op, const struct gfid *gfid, int flags, struct io_fd *ret)
{
        struct object o;
        int r = object_by_gfid_any(op, gfid, &o);
        if (r < 0)
                return r == -ESTALE ? -ENOENT : r;
        int fd = open_anonymous(op, &o, flags);
        if (fd < 0) {
                object_done(op->brick, &o);
                return fd;
        }
        *ret = (struct io_fd){.inode = o.inode, .fd = fd, .ino = o.st.st_ino, .close_fd = true};
        return 0;
}

int io_fd_get(struct op *op, const struct gfid *gfid, int64_t number, int flags, struct io_fd *ret)
{
        if (number == FD_ANONYMOUS)
                return anonymous_get(op, gfid, flags, ret);
        struct open_fd *of = session_fd_get(op->session, number);
        if (!of)
                return -EBADF;
        if (of->is_index) {
                open_fd_unref(op->brick, of);
                return -EINVAL;
        }
        *ret = (struct io_fd){.of = of, .inode = inode_ref(of->inode), .fd = of->fd, .ino = of->ino};
        return 0;
}

void io_fd_done(struct brick *b, struct io_fd *io)
{
        if (io->close_fd)
                disk_close(b->disk, io->fd);
        io->of = io->of ? open_fd_unref(b, io->of) : NULL;
        io->inode = inode_unref(b, io->inode);
        io->fd = -EBADF;
}

/* ---- one name at a time -------------------------------------------------------------------------------------------- */

static uint32_t entry_hash(const struct gfid *parent, const char *name)
{
        uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */
        for (size_t k = 0; k < sizeof parent->b; k++)
                h = (h ^ parent->b[k]) * 0x100000001b3ull;
        for (; *name; name++)
                h = (h ^ (uint8_t)*name) * 0x100000001b3ull;
        return (uint32_t)(h ^ h >> 32) % BRICK_ENTRY_LOCKS;
}

void entry_lock(struct brick *b, const struct gfid *parent, const char *name, struct entry_guard *ret)
{
        *ret = (struct entry_guard){.a = &b->entry_locks[entry_hash(parent, name)]};
        pthread_mutex_lock(ret->a);
}

void entry_lock2(struct brick *b, const struct gfid *p1, const char *n1, const struct gfid *p2, const char *n2,
                 struct entry_guard *ret)
{
        uint32_t h1 = entry_hash(p1, n1), h2 = entry_hash(p2, n2);
        *ret = (struct entry_guard){.a = &b->entry_locks[MIN(h1, h2)]};
        if (h1 != h2)
                ret->b = &b->entry_locks[MAX(h1, h2)];
        pthread_mutex_lock(ret->a);
        if (ret->b)
                pthread_mutex_lock(ret->b);
}

void entry_unlock(struct entry_guard *g)
{
        if (g->b)
                pthread_mutex_unlock(g->b);
        if (g->a)
                pthread_mutex_unlock(g->a);
        *g = (struct entry_guard){0};
}
