/* The file system in memory. Nodes stand in an array by their number; a node goes when it has no name, is not open and the
 * kernel has given its look-ups back, which is asserted: a look-up counted wrongly by the layer ends the program.
 *
 * Above 1,000 lines: every operation of the protocol has its function here. */
#include "memfs.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PAGE 4096u
#define FILE_MAX (64 * MIB)
#define XATTR_VALUE_MAX 65536u
#define TIMEOUT (3600 * NS_PER_SEC) /* what the kernel has cached goes by notifications only */

struct xattr {
        struct xattr *next;
        char *name;
        uint8_t *value;
        size_t size;
};

struct entry {
        struct entry *next;
        uint64_t cookie; /* offset behind it */
        struct node *node;
        char name[];
};

struct lock {
        struct lock *next;
        bool flock;
        uint64_t owner;
        struct fuse_file_lock lk;
};

struct waiter {
        struct waiter *next;
        struct fibre *fibre;
};

struct node {
        uint64_t id, lookups;
        unsigned opens;
        struct fuse_attr attr;
        struct timespec btime;
        struct node *parent;   /* of a directory */
        struct entry *entries; /* in order of cookies */
        struct entry **entries_tail;
        uint64_t next_cookie;
        char *target;
        uint8_t **pages; /* NULL: a hole */
        size_t n_pages;
        struct xattr *xattrs;
        struct lock *locks;
        struct waiter *waiters;
};

struct memfs {
        struct loop *loop;
        struct node **nodes; /* by id */
        size_t n_nodes;
        uint64_t delay;
        bool uncached; /* attributes count for nothing once told */
        uint64_t pages;
};

/* ---- nodes --------------------------------------------------------------------------------------------------------
 */

static struct timespec now(struct memfs *fs)
{
        uint64_t t = loop_realtime(fs->loop);
        return (struct timespec){.tv_sec = (time_t)(t / NS_PER_SEC), .tv_nsec = (long)(t % NS_PER_SEC)};
}

static void touch(struct memfs *fs, struct node *n, bool modified)
{
        struct timespec t = now(fs);
        n->attr.ctime = (uint64_t)t.tv_sec;
        n->attr.ctimensec = (uint32_t)t.tv_nsec;
        if (modified) {
                n->attr.mtime = n->attr.ctime;
                n->attr.mtimensec = n->attr.ctimensec;
        }
}

static struct node *node_new(struct memfs *fs, uint32_t mode, uint32_t uid, uint32_t gid)
{
        struct node **nodes = reallocarray(fs->nodes, fs->n_nodes + 1, sizeof *nodes);
        struct node *n = calloc(1, sizeof *n);
        assert(nodes && n);
        fs->nodes = nodes;
        n->id = fs->n_nodes;
        fs->nodes[fs->n_nodes++] = n;
        n->attr = (struct fuse_attr){
                .ino = n->id, .mode = mode, .nlink = S_ISDIR(mode) ? 2 : 1, .uid = uid, .gid = gid, .blksize = PAGE};
        n->btime = now(fs);
        touch(fs, n, true);
        n->attr.atime = n->attr.mtime;
        n->attr.atimensec = n->attr.mtimensec;
        n->entries_tail = &n->entries;
        n->next_cookie = 3;
        return n;
}

static void node_destroy(struct memfs *fs, struct node *n)
{
        for (size_t i = 0; i < n->n_pages; i++)
                free(n->pages[i]);
        free(n->pages);
        free(n->target);
        for (struct xattr *x; (x = n->xattrs);) {
                n->xattrs = x->next;
                free(x->name);
                free(x->value);
                free(x);
        }
        for (struct lock *l; (l = n->locks);) {
                n->locks = l->next;
                free(l);
        }
        for (struct entry *e; (e = n->entries);) {
                n->entries = e->next;
                free(e);
        }
        fs->nodes[n->id] = NULL;
        free(n);
}

/* Nobody refers to N any more? */
static void node_check(struct memfs *fs, struct node *n)
{
        if (n->id != FUSE_ROOT_ID && n->attr.nlink == 0 && n->opens == 0 && n->lookups == 0)
                node_destroy(fs, n);
}

static struct node *node_of(struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        return rq->node < fs->n_nodes ? fs->nodes[rq->node] : NULL;
}

/* The node of RQ, or NULL with the answer given. Waits, if the test wants it so. */
static struct node *begin(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        if (fs->delay == 1)
                fibre_yield(self);
        else if (fs->delay > 0)
                fibre_sleep(self, fs->delay);
        struct node *n = node_of(rq);
        if (!n)
                fuse_reply_error(rq, -ESTALE);
        return n;
}

static struct fuse_entry entry_of(struct node *n)
{
        return (struct fuse_entry){
                .node = n->id, .generation = 1, .entry_timeout = TIMEOUT, .attr_timeout = TIMEOUT, .attr = n->attr};
}

static void reply_node(struct fuse_request *rq, struct node *n)
{
        struct fuse_entry e = entry_of(n);
        n->lookups++;
        if (fuse_reply_entry(rq, &e) < 0)
                n->lookups--;
}

/* ---- directories --------------------------------------------------------------------------------------------------
 */

static struct entry *entry_find(struct node *dir, const char *name)
{
        struct entry *e = dir->entries;
        while (e && !streq(e->name, name))
                e = e->next;
        return e;
}

static void entry_add(struct memfs *fs, struct node *dir, const char *name, struct node *n)
{
        struct entry *e = malloc(sizeof *e + strlen(name) + 1);
        assert(e);
        *e = (struct entry){.cookie = dir->next_cookie++, .node = n};
        memcpy(e->name, name, strlen(name) + 1);
        *dir->entries_tail = e;
        dir->entries_tail = &e->next;
        if (S_ISDIR(n->attr.mode)) {
                n->parent = dir;
                dir->attr.nlink++;
        }
        touch(fs, dir, true);
}

static void entry_remove(struct memfs *fs, struct node *dir, struct entry *e)
{
        struct entry **at = &dir->entries;
        while (*at != e)
                at = &(*at)->next;
        *at = e->next;
        if (!*at)
                dir->entries_tail = at;
        if (S_ISDIR(e->node->attr.mode))
                dir->attr.nlink--;
        free(e);
        touch(fs, dir, true);
}

static void op_lookup(struct fibre *self, struct fuse_request *rq)
{
        struct node *dir = begin(self, rq);
        if (!dir)
                return;
        if (streq(rq->name, ".")) {
                reply_node(rq, dir);
                return;
        }
        if (streq(rq->name, "..")) {
                reply_node(rq, dir->parent ? dir->parent : dir);
                return;
        }
        struct entry *e = entry_find(dir, rq->name);
        if (e)
                reply_node(rq, e->node);
        else
                fuse_reply_negative(rq, TIMEOUT);
}

/* A new node called rq->name, or NULL with the answer given. */
static struct node *make(struct fibre *self, struct fuse_request *rq, uint32_t mode)
{
        struct memfs *fs = rq->arg;
        struct node *dir = begin(self, rq);
        if (!dir)
                return NULL;
        int r = dir->attr.nlink < 2 ? -ENOENT : entry_find(dir, rq->name) ? -EEXIST : 0;
        if (r < 0) {
                fuse_reply_error(rq, r);
                return NULL;
        }
        bool inherit = dir->attr.mode & S_ISGID;
        if (inherit && S_ISDIR(mode))
                mode |= S_ISGID;
        struct node *n = node_new(fs, mode, rq->uid, inherit ? dir->attr.gid : rq->gid);
        entry_add(fs, dir, rq->name, n);
        return n;
}

static void op_mknod(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = make(self, rq, rq->in.mknod->mode);
        if (!n)
                return;
        n->attr.rdev = rq->in.mknod->rdev;
        reply_node(rq, n);
}

static void op_mkdir(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = make(self, rq, S_IFDIR | rq->in.mkdir->mode);
        if (n)
                reply_node(rq, n);
}

static void op_symlink(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = make(self, rq, S_IFLNK | 0777);
        if (!n)
                return;
        n->target = strdup(rq->new_name);
        n->attr.size = strlen(rq->new_name);
        reply_node(rq, n);
}

static void op_create(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = make(self, rq, S_IFREG | rq->in.create->mode);
        if (!n)
                return;
        struct fuse_entry e = entry_of(n);
        n->lookups++;
        n->opens++;
        if (fuse_reply_created(rq, &e, n->id, 0) < 0) {
                n->lookups--;
                n->opens--;
        }
}

static void op_readlink(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (n)
                fuse_reply_data(rq, n->target, strlen(n->target));
}

static void op_link(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *dir = begin(self, rq);
        if (!dir)
                return;
        uint64_t old = rq->in.link->oldnodeid;
        struct node *n = old < fs->n_nodes ? fs->nodes[old] : NULL;
        if (!n || n->attr.nlink == 0 || entry_find(dir, rq->name)) {
                fuse_reply_error(rq, n && n->attr.nlink > 0 ? -EEXIST : -ENOENT);
                return;
        }
        entry_add(fs, dir, rq->name, n);
        n->attr.nlink++;
        touch(fs, n, false);
        reply_node(rq, n);
}

/* N lost a name. */
static void name_lost(struct memfs *fs, struct node *n)
{
        n->attr.nlink = S_ISDIR(n->attr.mode) ? 0 : n->attr.nlink - 1;
        touch(fs, n, false);
        node_check(fs, n);
}

static void op_unlink(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *dir = begin(self, rq);
        struct entry *e = dir ? entry_find(dir, rq->name) : NULL;
        bool directory = e && S_ISDIR(e->node->attr.mode);
        if (!dir)
                return;
        int r = !e ? -ENOENT : 0;
        if (e && rq->opcode == FUSE_RMDIR)
                r = !directory ? -ENOTDIR : e->node->entries ? -ENOTEMPTY : 0;
        else if (directory)
                r = -EISDIR;
        if (r < 0) {
                fuse_reply_error(rq, r);
                return;
        }
        struct node *n = e->node;
        entry_remove(fs, dir, e);
        name_lost(fs, n);
        fuse_reply_ok(rq);
}

static bool is_below(const struct node *n, const struct node *dir)
{
        for (; n; n = n->parent)
                if (n == dir)
                        return true;
        return false;
}

static int rename_check(const struct entry *from, const struct entry *to, const struct node *dir, uint32_t flags)
{
        if (!from)
                return -ENOENT;
        const struct node *n = from->node;
        if (flags & RENAME_EXCHANGE)
                return to ? 0 : -ENOENT;
        if (to && (flags & RENAME_NOREPLACE))
                return -EEXIST;
        if (S_ISDIR(n->attr.mode) && is_below(dir, n))
                return -EINVAL;
        if (!to)
                return 0;
        if (S_ISDIR(n->attr.mode) != S_ISDIR(to->node->attr.mode))
                return S_ISDIR(n->attr.mode) ? -ENOTDIR : -EISDIR;
        return S_ISDIR(n->attr.mode) && to->node->entries ? -ENOTEMPTY : 0;
}

static void rename_do(struct memfs *fs, struct node *dir, struct entry *from, struct node *new_dir, struct entry *to,
                      const char *new_name)
{
        struct node *n = from->node, *replaced = to ? to->node : NULL;
        if (replaced)
                entry_remove(fs, new_dir, to);
        entry_remove(fs, dir, from);
        entry_add(fs, new_dir, new_name, n);
        touch(fs, n, false);
        if (replaced)
                name_lost(fs, replaced);
}

static void exchange(struct memfs *fs, struct node *dir, struct entry *from, struct node *new_dir, struct entry *to)
{
        struct node *a = from->node, *b = to->node;
        from->node = b;
        to->node = a;
        if (S_ISDIR(a->attr.mode)) {
                dir->attr.nlink--;
                new_dir->attr.nlink++;
                a->parent = new_dir;
        }
        if (S_ISDIR(b->attr.mode)) {
                new_dir->attr.nlink--;
                dir->attr.nlink++;
                b->parent = dir;
        }
        touch(fs, a, false);
        touch(fs, b, false);
        touch(fs, dir, true);
        touch(fs, new_dir, true);
}

static void op_rename2(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *dir = begin(self, rq);
        if (!dir)
                return;
        uint64_t id = rq->in.rename2->newdir;
        struct node *new_dir = id < fs->n_nodes ? fs->nodes[id] : NULL;
        uint32_t flags = rq->in.rename2->flags;
        if (!new_dir || new_dir->attr.nlink < 2 || (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))) {
                fuse_reply_error(rq, new_dir ? -EINVAL : -ENOENT);
                return;
        }
        struct entry *from = entry_find(dir, rq->name), *to = entry_find(new_dir, rq->new_name);
        int r = rename_check(from, to, new_dir, flags);
        if (r < 0) {
                fuse_reply_error(rq, r);
                return;
        }
        if (flags & RENAME_EXCHANGE)
                exchange(fs, dir, from, new_dir, to);
        else if (!to || to->node != from->node)
                rename_do(fs, dir, from, new_dir, to, rq->new_name);
        fuse_reply_ok(rq);
}

/* One entry; false: there is no room. */
static bool list(struct fuse_dir *d, const char *name, struct node *n, uint64_t next, bool counted)
{
        struct fuse_entry e = entry_of(n);
        int r = fuse_dir_add(d, name, strlen(name), n->id, n->attr.mode, next, counted ? &e : NULL);
        if (r == 0 && counted && d->plus)
                n->lookups++;
        return r == 0;
}

static void op_readdir(struct fibre *self, struct fuse_request *rq)
{
        struct node *dir = begin(self, rq);
        struct fuse_dir d;
        if (!dir || fuse_dir_begin(&d, rq) < 0)
                return;
        uint64_t at = rq->in.readdir->offset;
        bool room = true;
        if (at < 1)
                room = list(&d, ".", dir, 1, false);
        if (room && at < 2)
                room = list(&d, "..", dir->parent ? dir->parent : dir, 2, false);
        for (struct entry *e = dir->entries; room && e; e = e->next)
                if (e->cookie > at)
                        room = list(&d, e->name, e->node, e->cookie, true);
        fuse_reply_dir(rq, &d);
}

/* ---- attributes ---------------------------------------------------------------------------------------------------
 */

static void op_getattr(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (n)
                fuse_reply_attr(rq, &n->attr, ((struct memfs *)rq->arg)->uncached ? 0 : TIMEOUT);
}

static struct fuse_sx_time sx_time(uint64_t s, uint32_t ns)
{
        return (struct fuse_sx_time){.tv_sec = (int64_t)s, .tv_nsec = ns};
}

static void op_statx(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (!n)
                return;
        const struct fuse_attr *a = &n->attr;
        struct fuse_statx st = {
                .mask = STATX_BASIC_STATS | STATX_BTIME,
                .blksize = a->blksize,
                .nlink = a->nlink,
                .uid = a->uid,
                .gid = a->gid,
                .mode = (uint16_t)a->mode,
                .ino = a->ino,
                .size = a->size,
                .blocks = a->blocks,
                .atime = sx_time(a->atime, a->atimensec),
                .mtime = sx_time(a->mtime, a->mtimensec),
                .ctime = sx_time(a->ctime, a->ctimensec),
                .btime = sx_time((uint64_t)n->btime.tv_sec, (uint32_t)n->btime.tv_nsec),
                .rdev_major = major(a->rdev),
                .rdev_minor = minor(a->rdev),
        };
        fuse_reply_statx(rq, &st, TIMEOUT);
}

static void kill_suidgid(struct node *n)
{
        if (S_ISDIR(n->attr.mode))
                return;
        n->attr.mode &= ~(uint32_t)S_ISUID;
        if (n->attr.mode & S_IXGRP)
                n->attr.mode &= ~(uint32_t)S_ISGID;
}

static uint8_t *page_get(struct memfs *fs, struct node *n, uint64_t index)
{
        if (index >= n->n_pages) {
                uint8_t **pages = reallocarray(n->pages, index + 1, sizeof *pages);
                assert(pages);
                memset(pages + n->n_pages, 0, (index + 1 - n->n_pages) * sizeof *pages);
                n->pages = pages;
                n->n_pages = index + 1;
        }
        if (!n->pages[index]) {
                n->pages[index] = calloc(1, PAGE);
                assert(n->pages[index]);
                n->attr.blocks += PAGE / 512;
                fs->pages++;
        }
        return n->pages[index];
}

/* Makes a hole of the whole pages in [FROM, TO), zeroes the rest. */
static void data_clear(struct memfs *fs, struct node *n, uint64_t from, uint64_t to, bool keep_pages)
{
        for (uint64_t at = from; at < to;) {
                uint64_t index = at / PAGE, end = MIN(to, (index + 1) * PAGE);
                if (index >= n->n_pages)
                        return;
                if (n->pages[index] && (keep_pages || end - at < PAGE)) {
                        memset(n->pages[index] + at % PAGE, 0, end - at);
                } else if (n->pages[index]) {
                        free(n->pages[index]);
                        n->pages[index] = NULL;
                        n->attr.blocks -= PAGE / 512;
                        fs->pages--;
                }
                at = end;
        }
}

static int set_size(struct memfs *fs, struct node *n, uint64_t size)
{
        if (size > FILE_MAX)
                return -EFBIG;
        if (size < n->attr.size)
                data_clear(fs, n, size, (n->attr.size + PAGE - 1) / PAGE * PAGE, false);
        n->attr.size = size;
        touch(fs, n, true);
        return 0;
}

static void set_times(struct memfs *fs, struct node *n, const struct fuse_setattr_in *in)
{
        struct timespec t = now(fs);
        if (in->valid & FATTR_ATIME) {
                n->attr.atime = in->valid & FATTR_ATIME_NOW ? (uint64_t)t.tv_sec : in->atime;
                n->attr.atimensec = in->valid & FATTR_ATIME_NOW ? (uint32_t)t.tv_nsec : in->atimensec;
        }
        if (in->valid & FATTR_MTIME) {
                n->attr.mtime = in->valid & FATTR_MTIME_NOW ? (uint64_t)t.tv_sec : in->mtime;
                n->attr.mtimensec = in->valid & FATTR_MTIME_NOW ? (uint32_t)t.tv_nsec : in->mtimensec;
        }
}

static void op_setattr(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        const struct fuse_setattr_in *in = rq->in.setattr;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        int r = in->valid & FATTR_SIZE ? set_size(fs, n, in->size) : 0;
        if (r < 0) {
                fuse_reply_error(rq, r);
                return;
        }
        if (in->valid & FATTR_MODE)
                n->attr.mode = (n->attr.mode & S_IFMT) | (in->mode & 07777);
        if (in->valid & (FATTR_UID | FATTR_GID))
                kill_suidgid(n);
        if (in->valid & FATTR_UID)
                n->attr.uid = in->uid;
        if (in->valid & FATTR_GID)
                n->attr.gid = in->gid;
        if (in->valid & FATTR_KILL_SUIDGID)
                kill_suidgid(n);
        set_times(fs, n, in);
        touch(fs, n, false);
        fuse_reply_attr(rq, &n->attr, TIMEOUT);
}

static void op_statfs(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct fuse_kstatfs st = {.blocks = 1 << 20,
                                  .bfree = (1 << 20) - fs->pages,
                                  .bavail = (1 << 20) - fs->pages,
                                  .files = 1 << 20,
                                  .ffree = (1 << 20) - fs->n_nodes,
                                  .bsize = PAGE,
                                  .frsize = PAGE,
                                  .namelen = NAME_MAX};
        fuse_reply_statfs(rq, &st);
}

/* ---- data ---------------------------------------------------------------------------------------------------------
 */

static void op_open(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        if (rq->opcode == FUSE_OPEN && (rq->in.open->flags & O_TRUNC))
                (void)set_size(fs, n, 0);
        if (rq->in.open->open_flags & FUSE_OPEN_KILL_SUIDGID)
                kill_suidgid(n);
        n->opens++;
        if (fuse_reply_opened(rq, n->id, 0) < 0)
                n->opens--;
}

static void locks_drop(struct node *n, uint64_t owner, bool flock);

static void op_release(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *n = node_of(rq);
        assert(n && n->opens > 0);
        if (rq->in.release->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
                locks_drop(n, rq->in.release->lock_owner, true);
        n->opens--;
        fuse_reply_ok(rq);
        node_check(fs, n);
}

static void op_read(struct fibre *self, struct fuse_request *rq)
{
        const struct fuse_read_in *in = rq->in.read;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        uint64_t end = MIN(n->attr.size, in->offset + in->size);
        size_t size = in->offset < end ? (size_t)(end - in->offset) : 0;
        uint8_t *data = arena_alloc(rq->arena, MAX(size, (size_t)1));
        if (!data) {
                fuse_reply_error(rq, -ENOMEM);
                return;
        }
        for (size_t done = 0; done < size;) {
                uint64_t at = in->offset + done;
                size_t part = MIN(size - done, (size_t)(PAGE - at % PAGE));
                if (at / PAGE < n->n_pages && n->pages[at / PAGE])
                        memcpy(data + done, n->pages[at / PAGE] + at % PAGE, part);
                done += part;
        }
        fuse_reply_data(rq, data, size);
}

static int data_put(struct memfs *fs, struct node *n, uint64_t offset, const uint8_t *data, size_t size)
{
        if (offset > FILE_MAX || size > FILE_MAX - offset)
                return -EFBIG;
        for (size_t done = 0; done < size;) {
                uint64_t at = offset + done;
                size_t part = MIN(size - done, (size_t)(PAGE - at % PAGE));
                memcpy(page_get(fs, n, at / PAGE) + at % PAGE, data + done, part);
                done += part;
        }
        n->attr.size = MAX(n->attr.size, offset + size);
        touch(fs, n, true);
        return 0;
}

static void op_write(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        int r = data_put(fs, n, rq->in.write->offset, rq->data, rq->size);
        if (r < 0) {
                fuse_reply_error(rq, r);
                return;
        }
        if (rq->in.write->write_flags & FUSE_WRITE_KILL_SUIDGID)
                kill_suidgid(n);
        fuse_reply_written(rq, rq->size);
}

static void op_fallocate(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        const struct fuse_fallocate_in *in = rq->in.fallocate;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        uint64_t end = in->offset + in->length;
        bool keep = in->mode & FALLOC_FL_KEEP_SIZE;
        if (in->mode & ~(uint32_t)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) ||
            end > FILE_MAX) {
                fuse_reply_error(rq, end > FILE_MAX ? -EFBIG : -EOPNOTSUPP);
                return;
        }
        if (in->mode & FALLOC_FL_PUNCH_HOLE)
                data_clear(fs, n, in->offset, end, false);
        else if (in->mode & FALLOC_FL_ZERO_RANGE)
                data_clear(fs, n, in->offset, end, true);
        else
                for (uint64_t i = in->offset / PAGE; i * PAGE < end; i++)
                        (void)page_get(fs, n, i);
        if (!keep)
                n->attr.size = MAX(n->attr.size, end);
        touch(fs, n, true);
        fuse_reply_ok(rq);
}

static void op_lseek(struct fibre *self, struct fuse_request *rq)
{
        const struct fuse_lseek_in *in = rq->in.lseek;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        bool data = in->whence == SEEK_DATA;
        if (in->offset >= n->attr.size) {
                fuse_reply_error(rq, -ENXIO);
                return;
        }
        for (uint64_t at = in->offset; at < n->attr.size; at = (at / PAGE + 1) * PAGE) {
                bool there = at / PAGE < n->n_pages && n->pages[at / PAGE];
                if (there == data) {
                        fuse_reply_offset(rq, at);
                        return;
                }
        }
        if (data)
                fuse_reply_error(rq, -ENXIO);
        else
                fuse_reply_offset(rq, n->attr.size);
}

static void op_copy_file_range(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        const struct fuse_copy_file_range_in *in = rq->in.copy_file_range;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        struct node *to = in->nodeid_out < fs->n_nodes ? fs->nodes[in->nodeid_out] : NULL;
        uint64_t most = MIN(in->len, (uint64_t)MIB), end = MIN(n->attr.size, in->off_in + most);
        size_t size = in->off_in < end ? (size_t)(end - in->off_in) : 0;
        uint8_t *data = arena_alloc(rq->arena, MAX(size, (size_t)1));
        if (!to || !data) {
                fuse_reply_error(rq, to ? -ENOMEM : -ESTALE);
                return;
        }
        for (size_t i = 0; i < size; i++) {
                uint64_t at = in->off_in + i;
                data[i] = at / PAGE < n->n_pages && n->pages[at / PAGE] ? n->pages[at / PAGE][at % PAGE] : 0;
        }
        int r = data_put(fs, to, in->off_out, data, size);
        if (r < 0)
                fuse_reply_error(rq, r);
        else
                fuse_reply_written(rq, size);
}

static void op_ok(struct fibre *self, struct fuse_request *rq)
{
        if (begin(self, rq))
                fuse_reply_ok(rq);
}

/* ---- locks --------------------------------------------------------------------------------------------------------
 */

static struct lock *lock_conflict(struct node *n, uint64_t owner, bool flock, const struct fuse_file_lock *lk)
{
        for (struct lock *l = n->locks; l; l = l->next)
                if (l->flock == flock && l->owner != owner && l->lk.start <= lk->end && lk->start <= l->lk.end &&
                    (l->lk.type == F_WRLCK || lk->type == F_WRLCK))
                        return l;
        return NULL;
}

static void lock_put(struct node *n, uint64_t owner, bool flock, struct fuse_file_lock lk)
{
        struct lock *l = malloc(sizeof *l);
        assert(l);
        *l = (struct lock){.next = n->locks, .flock = flock, .owner = owner, .lk = lk};
        n->locks = l;
}

/* Takes [lk.start, lk.end] out of what OWNER has, then puts LK in unless it unlocks. */
static void lock_set(struct node *n, uint64_t owner, bool flock, const struct fuse_file_lock *lk)
{
        struct lock **at = &n->locks;
        while (*at) {
                struct lock *l = *at;
                if (l->flock != flock || l->owner != owner || l->lk.end < lk->start || lk->end < l->lk.start) {
                        at = &l->next;
                        continue;
                }
                *at = l->next;
                struct fuse_file_lock left = l->lk, right = l->lk;
                free(l);
                if (left.start < lk->start) {
                        left.end = lk->start - 1;
                        lock_put(n, owner, flock, left);
                }
                if (right.end > lk->end) {
                        right.start = lk->end + 1;
                        lock_put(n, owner, flock, right);
                }
                at = &n->locks; /* the list changed at its head */
        }
        if (lk->type != F_UNLCK)
                lock_put(n, owner, flock, *lk);
        for (struct waiter *w = n->waiters; w; w = w->next)
                fibre_wake(w->fibre);
}

static void locks_drop(struct node *n, uint64_t owner, bool flock)
{
        lock_set(n, owner, flock, &(struct fuse_file_lock){.end = INT64_MAX, .type = F_UNLCK});
}

static void op_getlk(struct fibre *self, struct fuse_request *rq)
{
        const struct fuse_lk_in *in = rq->in.getlk;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        struct lock *l = lock_conflict(n, in->owner, in->lk_flags & FUSE_LK_FLOCK, &in->lk);
        struct fuse_file_lock none = {.type = F_UNLCK};
        fuse_reply_lock(rq, l ? &l->lk : &none);
}

/* Waits until nothing is in the way, or the caller is interrupted. */
static int lock_wait(struct fibre *self, struct fuse_request *rq, struct node *n, bool flock)
{
        const struct fuse_lk_in *in = rq->in.setlkw;
        struct waiter w = {.next = n->waiters, .fibre = self};
        n->waiters = &w;
        n->opens++;
        rq->interrupted.waiter = self;
        while (!rq->interrupted.done && lock_conflict(n, in->owner, flock, &in->lk))
                fibre_suspend(self);
        rq->interrupted.waiter = NULL;
        n->opens--;
        struct waiter **at = &n->waiters;
        while (*at != &w)
                at = &(*at)->next;
        *at = w.next;
        return lock_conflict(n, in->owner, flock, &in->lk) ? -EINTR : 0;
}

static void op_setlk(struct fibre *self, struct fuse_request *rq)
{
        const struct fuse_lk_in *in = rq->in.setlk;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        bool flock = in->lk_flags & FUSE_LK_FLOCK;
        int r = 0;
        if (in->lk.type != F_UNLCK && lock_conflict(n, in->owner, flock, &in->lk))
                r = rq->opcode == FUSE_SETLKW ? lock_wait(self, rq, n, flock) : -EAGAIN;
        if (r < 0) {
                fuse_reply_error(rq, r);
                return;
        }
        lock_set(n, in->owner, flock, &in->lk);
        fuse_reply_ok(rq);
}

static void op_flush(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (!n)
                return;
        locks_drop(n, rq->in.flush->lock_owner, false);
        fuse_reply_ok(rq);
}

/* ---- xattrs -------------------------------------------------------------------------------------------------------
 */

static struct xattr **xattr_find(struct node *n, const char *name)
{
        struct xattr **at = &n->xattrs;
        while (*at && !streq((*at)->name, name))
                at = &(*at)->next;
        return at;
}

/* What tests set: see the header. 1: it was one of these. */
static int control_set(struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        char value[300];
        size_t n = MIN(rq->size, sizeof value - 1);
        memcpy(value, rq->data, n);
        value[n] = 0;
        if (streq(rq->name, "user.memfs.delay"))
                fs->delay = strtoull(value, NULL, 10);
        else if (streq(rq->name, "user.memfs.uncached"))
                fs->uncached = true;
        else if (streq(rq->name, "user.memfs.inval"))
                return fuse_notify_inval_inode(rq->session, strtoull(value, NULL, 10), 0, 0) < 0 ? -EIO : 1;
        else if (streq(rq->name, "user.memfs.expire"))
                return fuse_notify_inval_entry(rq->session, FUSE_ROOT_ID, value, n, 0) < 0 ? -EIO : 1;
        else
                return 0;
        return 1;
}

static void op_setxattr(struct fibre *self, struct fuse_request *rq)
{
        struct memfs *fs = rq->arg;
        struct node *n = begin(self, rq);
        if (!n)
                return;
        int r = rq->node == FUSE_ROOT_ID ? control_set(rq) : 0;
        if (r != 0) {
                if (r > 0)
                        fuse_reply_ok(rq);
                else
                        fuse_reply_error(rq, r);
                return;
        }
        uint32_t flags = rq->in.setxattr->flags;
        struct xattr **at = xattr_find(n, rq->name);
        if (flags && (*at != NULL) == (flags == 1 /* XATTR_CREATE */)) {
                fuse_reply_error(rq, *at ? -EEXIST : -ENODATA);
                return;
        }
        if (!*at) {
                *at = calloc(1, sizeof **at);
                assert(*at);
                (*at)->name = strdup(rq->name);
        }
        free((*at)->value);
        (*at)->value = malloc(rq->size + 1);
        assert((*at)->value);
        memcpy((*at)->value, rq->data, rq->size);
        (*at)->size = rq->size;
        touch(fs, n, false);
        fuse_reply_ok(rq);
}

static const char *control_get(struct fuse_request *rq)
{
        struct fuse_stats st;
        fuse_session_stats(rq->session, &st);
        if (streq(rq->name, "user.memfs.stats"))
                return arena_printf(
                        rq->arena,
                        "forgets %" PRIu64 " interrupts %" PRIu64 " refused %" PRIu64 " gone %" PRIu64
                        " notifications %" PRIu64 " failed %" PRIu64 " peak %u waiting %u stalls %" PRIu64
                        " getattr %" PRIu64 " lookup %" PRIu64 " read %" PRIu64 " readdirplus %" PRIu64,
                        st.forgets, st.interrupts, st.refused, st.gone, st.notifications, st.notifications_failed,
                        st.in_flight_peak, st.waiting, loop_stalls(fuse_session_loop(rq->session)),
                        fuse_session_count(rq->session, FUSE_GETATTR), fuse_session_count(rq->session, FUSE_LOOKUP),
                        fuse_session_count(rq->session, FUSE_READ), fuse_session_count(rq->session, FUSE_READDIRPLUS));
        if (streq(rq->name, "user.memfs.protocol")) {
                const struct fuse_protocol *p = fuse_session_protocol(rq->session);
                return arena_printf(rq->arena, "%u %" PRIx64 " %u", p->minor, p->flags, p->max_write);
        }
        if (!streq(rq->name, "user.memfs.groups"))
                return NULL;
        const uint32_t *groups;
        size_t n = fuse_request_groups(rq, &groups);
        const char *text = "";
        for (size_t i = 0; i < n; i++)
                text = arena_printf(rq->arena, "%s%s%u", text, i ? " " : "", groups[i]);
        return text;
}

static void op_getxattr(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (!n)
                return;
        const char *control = rq->node == FUSE_ROOT_ID ? control_get(rq) : NULL;
        struct xattr *x = *xattr_find(n, rq->name);
        if (control)
                fuse_reply_xattr(rq, control, strlen(control));
        else if (x)
                fuse_reply_xattr(rq, x->value, x->size);
        else
                fuse_reply_error(rq, -ENODATA);
}

static void op_listxattr(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (!n)
                return;
        char *list_text = arena_alloc(rq->arena, XATTR_VALUE_MAX);
        size_t len = 0;
        for (struct xattr *x = n->xattrs; list_text && x && len + strlen(x->name) < XATTR_VALUE_MAX; x = x->next) {
                memcpy(list_text + len, x->name, strlen(x->name) + 1);
                len += strlen(x->name) + 1;
        }
        fuse_reply_xattr(rq, list_text, len);
}

static void op_removexattr(struct fibre *self, struct fuse_request *rq)
{
        struct node *n = begin(self, rq);
        if (!n)
                return;
        struct xattr **at = xattr_find(n, rq->name), *x = *at;
        if (!x) {
                fuse_reply_error(rq, -ENODATA);
                return;
        }
        *at = x->next;
        free(x->name);
        free(x->value);
        free(x);
        touch(rq->arg, n, false);
        fuse_reply_ok(rq);
}

/* ---- the file system ----------------------------------------------------------------------------------------------
 */

static void op_forget(struct fuse_session *s, uint64_t id, uint64_t count, void *arg)
{
        struct memfs *fs = arg;
        struct node *n = id < fs->n_nodes ? fs->nodes[id] : NULL;
        assert(n && (n->lookups >= count || id == FUSE_ROOT_ID));
        n->lookups -= MIN(n->lookups, count);
        node_check(fs, n);
}

const struct fuse_ops memfs_ops = {
        .lookup = op_lookup,
        .getattr = op_getattr,
        .statx = op_statx,
        .setattr = op_setattr,
        .readlink = op_readlink,
        .symlink = op_symlink,
        .mknod = op_mknod,
        .mkdir = op_mkdir,
        .unlink = op_unlink,
        .rmdir = op_unlink,
        .rename2 = op_rename2,
        .link = op_link,
        .open = op_open,
        .read = op_read,
        .write = op_write,
        .statfs = op_statfs,
        .release = op_release,
        .fsync = op_ok,
        .setxattr = op_setxattr,
        .getxattr = op_getxattr,
        .listxattr = op_listxattr,
        .removexattr = op_removexattr,
        .flush = op_flush,
        .opendir = op_open,
        .readdir = op_readdir,
        .readdirplus = op_readdir,
        .releasedir = op_release,
        .fsyncdir = op_ok,
        .getlk = op_getlk,
        .setlk = op_setlk,
        .setlkw = op_setlk,
        .create = op_create,
        .fallocate = op_fallocate,
        .lseek = op_lseek,
        .copy_file_range = op_copy_file_range,
        .syncfs = op_ok,
        .forget = op_forget,
};

struct memfs *memfs_new(struct loop *loop)
{
        struct memfs *fs = calloc(1, sizeof *fs);
        assert(fs);
        fs->loop = loop;
        fs->nodes = calloc(FUSE_ROOT_ID, sizeof *fs->nodes);
        fs->n_nodes = FUSE_ROOT_ID;
        struct node *root = node_new(fs, S_IFDIR | 0755, 0, 0);
        assert(root->id == FUSE_ROOT_ID);
        return fs;
}

struct memfs *memfs_free(struct memfs *fs)
{
        for (size_t i = 0; i < fs->n_nodes; i++)
                if (fs->nodes[i])
                        node_destroy(fs, fs->nodes[i]);
        free(fs->nodes);
        free(fs);
        return NULL;
}
