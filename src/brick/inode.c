/* The table of inodes: what a brick remembers about objects, by gfid and by backing inode number.
 *
 * An inode object says nothing about the disk: it carries caches (directory descriptor, xattr snapshot, inode number) and
 * what must be shared by all requests on one object (its mutex, locks, descriptor count). Unreferenced ones wait in a list,
 * least recently used last, and the list is cut at a limit; so is the number of cached directory descriptors, which are
 * only ever closed while nobody refers to their inode.
 *
 * table.lock is a leaf: nothing else is locked and no disk is touched under it. Any thread.
 */
#include "brick/cache.h"

#define BUCKETS_FIRST 1024u
#define DIRFDS_MAX 1024u
#define DIRFD_SEARCH 64 /* how many directories are looked at to find one to close */

struct retired_fd {
        struct retired_fd *next;
        int fd;
};

/* What a table knows beyond struct inode. */
struct entry {
        struct inode i;
        struct entry *dir_prev, *dir_next; /* directories with a descriptor, most recently used first */
        struct retired_fd *retired;        /* descriptors of removed directories, still used by somebody */
        uint64_t handle_checked;
};

struct inode_table {
        pthread_mutex_t lock;
        struct inode **by_gfid, **by_ino;
        uint32_t buckets; /* a power of two */
        uint32_t count;
        struct inode *lru_first, *lru_last;
        uint32_t lru_count, lru_limit;
        struct entry *dir_first, *dir_last;
        uint32_t dir_count;
};

static struct entry *entry_of(struct inode *i)
{
        return CONTAINER_OF(i, struct entry, i);
}

/* ---- hashing ------------------------------------------------------------------------------------------------------- */

static uint32_t gfid_bucket(const struct inode_table *t, const struct gfid *g)
{
        uint64_t a, b;
        memcpy(&a, g->b, sizeof a);
        memcpy(&b, g->b + sizeof a, sizeof b);
        return (uint32_t)(((a ^ b) * 0x9e3779b97f4a7c15ull) >> 32) & (t->buckets - 1);
}

static uint32_t ino_bucket(const struct inode_table *t, ino_t ino)
{
        return (uint32_t)(((uint64_t)ino * 0x9e3779b97f4a7c15ull) >> 32) & (t->buckets - 1);
}

static struct inode *find_gfid(struct inode_table *t, const struct gfid *g)
{
        struct inode *i = t->by_gfid[gfid_bucket(t, g)];
        while (i && !gfid_equal(&i->gfid, g))
                i = i->gfid_next;
        return i;
}

static void gfid_insert(struct inode_table *t, struct inode *i)
{
        struct inode **head = &t->by_gfid[gfid_bucket(t, &i->gfid)];
        i->gfid_next = *head;
        *head = i;
}

static void gfid_remove(struct inode_table *t, struct inode *i)
{
        struct inode **at = &t->by_gfid[gfid_bucket(t, &i->gfid)];
        while (*at != i)
                at = &(*at)->gfid_next;
        *at = i->gfid_next;
}

static void ino_insert(struct inode_table *t, struct inode *i)
{
        struct inode **head = &t->by_ino[ino_bucket(t, i->ino)];
        i->ino_next = *head;
        *head = i;
}

static void ino_remove(struct inode_table *t, struct inode *i)
{
        if (i->ino == 0)
                return;
        struct inode **at = &t->by_ino[ino_bucket(t, i->ino)];
        while (*at != i)
                at = &(*at)->ino_next;
        *at = i->ino_next;
        i->ino = 0;
}

/* Twice as many buckets. Without memory the chains get longer, nothing else. */
static void table_grow(struct inode_table *t)
{
        uint32_t old = t->buckets;
        struct inode **by_gfid = calloc(old * 2, sizeof *by_gfid);
        struct inode **by_ino = calloc(old * 2, sizeof *by_ino);
        if (!by_gfid || !by_ino) {
                free(by_gfid);
                free(by_ino);
                return;
        }
        struct inode **was = t->by_gfid;
        free(t->by_ino);
        t->by_gfid = by_gfid;
        t->by_ino = by_ino;
        t->buckets = old * 2;
        for (uint32_t k = 0; k < old; k++) {
                for (struct inode *i = was[k], *next; i; i = next) {
                        next = i->gfid_next;
                        gfid_insert(t, i);
                        if (i->ino)
                                ino_insert(t, i);
                }
        }
        free(was);
}

/* ---- lists --------------------------------------------------------------------------------------------------------- */

static void lru_remove(struct inode_table *t, struct inode *i)
{
        *(i->lru_prev ? &i->lru_prev->lru_next : &t->lru_first) = i->lru_next;
        *(i->lru_next ? &i->lru_next->lru_prev : &t->lru_last) = i->lru_prev;
        i->lru_prev = i->lru_next = NULL;
        t->lru_count--;
}

static void lru_push(struct inode_table *t, struct inode *i)
{
        i->lru_next = t->lru_first;
        *(t->lru_first ? &t->lru_first->lru_prev : &t->lru_last) = i;
        t->lru_first = i;
        t->lru_count++;
}

static void dir_remove(struct inode_table *t, struct entry *e)
{
        *(e->dir_prev ? &e->dir_prev->dir_next : &t->dir_first) = e->dir_next;
        *(e->dir_next ? &e->dir_next->dir_prev : &t->dir_last) = e->dir_prev;
        e->dir_prev = e->dir_next = NULL;
        t->dir_count--;
}

static void dir_push(struct inode_table *t, struct entry *e)
{
        e->dir_next = t->dir_first;
        *(t->dir_first ? &t->dir_first->dir_prev : &t->dir_last) = e;
        t->dir_first = e;
        t->dir_count++;
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

int inode_table_new(struct brick *b, uint32_t lru_limit, struct inode_table **ret)
{
        struct inode_table *t = calloc(1, sizeof *t);
        if (!t)
                return -ENOMEM;
        t->lru_limit = lru_limit;
        t->buckets = BUCKETS_FIRST;
        t->by_gfid = calloc(t->buckets, sizeof *t->by_gfid);
        t->by_ino = calloc(t->buckets, sizeof *t->by_ino);
        if (!t->by_gfid || !t->by_ino) {
                free(t->by_gfid);
                free(t->by_ino);
                free(t);
                return -ENOMEM;
        }
        pthread_mutex_init(&t->lock, NULL);
        *ret = t;
        return 0;
}

static struct inode *inode_new(const struct gfid *gfid)
{
        struct entry *e = calloc(1, sizeof *e);
        if (!e)
                return NULL;
        pthread_mutexattr_t attr;
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
        pthread_mutex_init(&e->i.lock, &attr);
        pthread_mutexattr_destroy(&attr);
        e->i.gfid = *gfid;
        e->i.dirfd = -EBADF;
        return &e->i;
}

static void retired_close(struct brick *b, struct retired_fd *r)
{
        while (r) {
                struct retired_fd *next = r->next;
                disk_close(b->disk, r->fd);
                free(r);
                r = next;
        }
}

/* I is out of every list and nobody refers to it. */
static void inode_free(struct brick *b, struct inode *i)
{
        struct entry *e = entry_of(i);
        if (i->dirfd >= 0 && i->dirfd != b->root_fd)
                disk_close(b->disk, i->dirfd);
        retired_close(b, e->retired);
        lock_table_free(i->locks);
        free(i->xattrs);
        pthread_mutex_destroy(&i->lock);
        free(e);
}

/* Takes I, unreferenced, out of the table. */
static void inode_detach(struct inode_table *t, struct inode *i)
{
        lru_remove(t, i);
        gfid_remove(t, i);
        ino_remove(t, i);
        if (i->dirfd >= 0)
                dir_remove(t, entry_of(i));
        t->count--;
}

struct inode_table *inode_table_free(struct inode_table *t)
{
        if (!t)
                return NULL;
        free(t->by_gfid);
        free(t->by_ino);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}

void inode_table_empty(struct brick *b)
{
        struct inode_table *t = b->inodes;
        while (t->lru_last) {
                struct inode *i = t->lru_last;
                inode_detach(t, i);
                inode_free(b, i);
        }
}

struct inode *inode_ref(struct inode *i)
{
        __atomic_add_fetch(&i->refs, 1, __ATOMIC_RELAXED);
        return i;
}

/* Under table.lock: a reference to I, which may have none. */
static struct inode *revive(struct inode_table *t, struct inode *i)
{
        if (__atomic_fetch_add(&i->refs, 1, __ATOMIC_RELAXED) == 0)
                lru_remove(t, i);
        return i;
}

struct inode *inode_get(struct brick *b, const struct gfid *gfid)
{
        struct inode_table *t = b->inodes;
        pthread_mutex_lock(&t->lock);
        struct inode *i = find_gfid(t, gfid);
        if (i) {
                revive(t, i);
        } else if ((i = inode_new(gfid))) {
                i->refs = 1;
                gfid_insert(t, i);
                if (++t->count > t->buckets)
                        table_grow(t);
        }
        pthread_mutex_unlock(&t->lock);
        return i;
}

struct inode *inode_find(struct brick *b, const struct gfid *gfid)
{
        struct inode_table *t = b->inodes;
        pthread_mutex_lock(&t->lock);
        struct inode *i = find_gfid(t, gfid);
        if (i)
                revive(t, i);
        pthread_mutex_unlock(&t->lock);
        return i;
}

struct inode *inode_find_ino(struct brick *b, ino_t ino)
{
        struct inode_table *t = b->inodes;
        pthread_mutex_lock(&t->lock);
        struct inode *i = t->by_ino[ino_bucket(t, ino)];
        while (i && i->ino != ino)
                i = i->ino_next;
        if (i)
                revive(t, i);
        pthread_mutex_unlock(&t->lock);
        return i;
}

void inode_set_ino(struct brick *b, struct inode *i, ino_t ino, mode_t type)
{
        struct inode_table *t = b->inodes;
        pthread_mutex_lock(&t->lock);
        if (i->ino != ino) {
                ino_remove(t, i);
                i->ino = ino;
                ino_insert(t, i);
        }
        i->type = type & S_IFMT;
        pthread_mutex_unlock(&t->lock);
}

/* Under table.lock. Least recently used inodes beyond the limit, as a chain by gfid_next. */
static struct inode *evict(struct inode_table *t)
{
        struct inode *chain = NULL;
        while (t->lru_count > t->lru_limit) {
                struct inode *i = t->lru_last;
                inode_detach(t, i);
                i->gfid_next = chain;
                chain = i;
        }
        return chain;
}

/* Under table.lock. Too many descriptors were referenced at once to close others: I gives back its own. */
static int own_surplus_dirfd(struct brick *b, struct inode *i)
{
        struct inode_table *t = b->inodes;
        if (i->dirfd < 0 || i->dirfd == b->root_fd || t->dir_count <= DIRFDS_MAX)
                return -EBADF;
        dir_remove(t, entry_of(i));
        return TAKE_FD(i->dirfd);
}

struct inode *inode_unref(struct brick *b, struct inode *i)
{
        if (!i)
                return NULL;
        struct inode_table *t = b->inodes;
        struct retired_fd *retired = NULL;
        struct inode *evicted = NULL;
        int surplus = -EBADF;
        pthread_mutex_lock(&t->lock);
        if (__atomic_sub_fetch(&i->refs, 1, __ATOMIC_ACQ_REL) == 0) {
                retired = TAKE_PTR(entry_of(i)->retired);
                surplus = own_surplus_dirfd(b, i);
                lru_push(t, i);
                evicted = evict(t);
        }
        pthread_mutex_unlock(&t->lock);
        retired_close(b, retired);
        if (surplus >= 0)
                disk_close(b->disk, surplus);
        while (evicted) {
                struct inode *next = evicted->gfid_next;
                inode_free(b, evicted);
                evicted = next;
        }
        return NULL;
}

/* ---- descriptors of directories ------------------------------------------------------------------------------------ */

int inode_dirfd(struct brick *b, struct inode *i)
{
        struct inode_table *t = b->inodes;
        pthread_mutex_lock(&t->lock);
        int fd = i->dirfd;
        struct entry *e = entry_of(i);
        if (fd >= 0 && t->dir_first != e) {
                dir_remove(t, e);
                dir_push(t, e);
        }
        pthread_mutex_unlock(&t->lock);
        return fd;
}

/* Under table.lock: the descriptor of the directory that was not used for longest, taken from it; or -EBADF. */
static int surplus_dirfd(struct inode_table *t, int keep)
{
        if (t->dir_count <= DIRFDS_MAX)
                return -EBADF;
        struct entry *e = t->dir_last;
        for (int n = 0; e && n < DIRFD_SEARCH; n++, e = e->dir_prev) {
                if (__atomic_load_n(&e->i.refs, __ATOMIC_RELAXED) > 0 || e->i.dirfd == keep)
                        continue;
                dir_remove(t, e);
                return TAKE_FD(e->i.dirfd);
        }
        return -EBADF;
}

int inode_keep_dirfd(struct brick *b, struct inode *i, int fd)
{
        struct inode_table *t = b->inodes;
        int surplus = -EBADF;
        pthread_mutex_lock(&t->lock);
        if (i->dirfd < 0) {
                i->dirfd = TAKE_FD(fd);
                dir_push(t, entry_of(i));
                surplus = surplus_dirfd(t, b->root_fd);
        }
        int kept = i->dirfd;
        pthread_mutex_unlock(&t->lock);
        if (fd >= 0)
                disk_close(b->disk, fd);
        if (surplus >= 0)
                disk_close(b->disk, surplus);
        return kept;
}

/* Under table.lock. Without memory the descriptor stays: its directory has no links, which resolution notices. */
static void retire_dirfd(struct inode_table *t, struct inode *i)
{
        if (i->dirfd < 0)
                return;
        struct retired_fd *r = malloc(sizeof *r);
        if (!r)
                return;
        dir_remove(t, entry_of(i));
        *r = (struct retired_fd){.next = entry_of(i)->retired, .fd = TAKE_FD(i->dirfd)};
        entry_of(i)->retired = r;
}

void inode_forget(struct brick *b, struct inode *i)
{
        struct inode_table *t = b->inodes;
        if (gfid_is_root(&i->gfid))
                return;
        pthread_mutex_lock(&t->lock);
        ino_remove(t, i);
        i->type = 0;
        retire_dirfd(t, i);
        pthread_mutex_unlock(&t->lock);
        inode_set_handle_checked(i, 0);
        pthread_mutex_lock(&i->lock);
        xattr_invalidate(i);
        pthread_mutex_unlock(&i->lock);
}

/* ---- the handle was seen ------------------------------------------------------------------------------------------- */

uint64_t inode_handle_checked(struct inode *i)
{
        return __atomic_load_n(&entry_of(i)->handle_checked, __ATOMIC_RELAXED);
}

void inode_set_handle_checked(struct inode *i, uint64_t when)
{
        __atomic_store_n(&entry_of(i)->handle_checked, when, __ATOMIC_RELAXED);
}

/* ---- counting ------------------------------------------------------------------------------------------------------ */

void inode_table_count(struct brick *b, struct brick_stats *s)
{
        struct inode_table *t = b->inodes;
        pthread_mutex_lock(&t->lock);
        s->inodes = t->count;
        s->inode_bytes = t->count * sizeof(struct entry) + 2ull * t->buckets * sizeof(struct inode *);
        for (uint32_t k = 0; k < t->buckets; k++)
                for (struct inode *i = t->by_gfid[k]; i; i = i->gfid_next) {
                        s->fds += atomic_load_explicit(&i->fd_count, memory_order_relaxed);
                        s->xattr_bytes += atomic_load_explicit(&i->xattr_bytes, memory_order_relaxed);
                }
        pthread_mutex_unlock(&t->lock);
}
