/* Snapshots of extended attributes (docs/decisions/003-xattr-snapshot.md).
 *
 * A snapshot holds all attributes of an object as read at one time, and the range in which the object's ctime must lie for
 * it to be true. Read from the disk, the range is the one ctime of the stat before. After a change of our own the snapshot
 * is changed likewise and the range becomes the time the call took, by the disk's own clock, disk_now(). The next stat inside
 * the range fixes it; any other drops it.
 *
 * Snapshots with attributes which the kernel changes by itself (ACLs by chmod, capabilities by write) are "delicate": they
 * are trusted only when the object's ctime was old as they were read, and dropped by every change.
 *
 * A snapshot is of one backing object, by inode number: a place that does not say which object it is never uses one.
 *
 * Everything runs under inode.lock, which the functions take themselves. Any thread.
 */
#include "brick/cache.h"

#include <time.h>

#define SNAPSHOT_MAX (16 * KIB)  /* kept in memory; larger sets are read each time */
#define XATTRS_MAX (4 * MIB)     /* all attributes of one object */
#define NAMES_FIRST 2048
#define NAMES_MAX 65536          /* the kernel's own limit of a listing */
#define VALUE_FIRST 256
#define VALUE_MAX 65536
#define KEEP_FOR NS_PER_SEC      /* a change keeps a snapshot only if it was compared with the disk this recently */
#define SETTLED_AFTER (50 * NS_PER_MSEC) /* well beyond the coarse clock's tick */

struct xattr_snapshot {
        ino_t ino;
        struct timespec from, to; /* ctime is in here */
        uint64_t compared;        /* coarse_now() of the last match with a stat */
        bool delicate;
        bool settled; /* ctime was old when it was read */
        uint32_t n;
        size_t bytes; /* names and values */
        struct xattr_pair v[];
};

uint64_t coarse_now(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
        return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int timespec_compare(const struct timespec *a, const struct timespec *b)
{
        if (a->tv_sec != b->tv_sec)
                return a->tv_sec < b->tv_sec ? -1 : 1;
        return a->tv_nsec < b->tv_nsec ? -1 : a->tv_nsec > b->tv_nsec;
}

/* ---- gathering pairs ----------------------------------------------------------------------------------------------- */

/* Pairs whose names and values are offsets into BYTES, until they are put into one block. */
struct gathered_pair {
        size_t name, value;
        uint32_t len;
};
struct gathered {
        struct buf bytes;
        struct buf pairs;
};

static void gathered_done(struct gathered *g)
{
        buf_done(&g->bytes);
        buf_done(&g->pairs);
}

static int gather(struct gathered *g, const char *name, const void *value, uint32_t len)
{
        struct gathered_pair p = {.name = g->bytes.len, .len = len};
        buf_append(&g->bytes, name, strlen(name) + 1);
        p.value = g->bytes.len;
        buf_append(&g->bytes, value, len);
        buf_append(&g->pairs, &p, sizeof p);
        return g->bytes.error ? g->bytes.error : g->pairs.error;
}

/* Kernel-made or kernel-changed attributes. */
static bool name_is_delicate(const char *name)
{
        return !starts_with(name, "trusted.") && !starts_with(name, "user.");
}

static struct xattr_snapshot *snapshot_build(const struct gathered *g)
{
        size_t n = g->pairs.len / sizeof(struct gathered_pair);
        struct xattr_snapshot *s = malloc(sizeof *s + n * sizeof(struct xattr_pair) + g->bytes.len);
        if (!s)
                return NULL;
        *s = (struct xattr_snapshot){.n = (uint32_t)n, .bytes = g->bytes.len};
        uint8_t *bytes = (uint8_t *)&s->v[n];
        if (g->bytes.len > 0)
                memcpy(bytes, g->bytes.data, g->bytes.len);
        for (size_t k = 0; k < n; k++) {
                struct gathered_pair p;
                memcpy(&p, g->pairs.data + k * sizeof p, sizeof p);
                s->v[k] = (struct xattr_pair){(const char *)bytes + p.name, bytes + p.value, p.len};
                s->delicate |= name_is_delicate(s->v[k].name);
        }
        return s;
}

/* The snapshot's pairs without NAME. */
static int gather_others(struct gathered *g, const struct xattr_snapshot *s, const char *name)
{
        for (uint32_t k = 0; k < s->n; k++) {
                if (streq(s->v[k].name, name))
                        continue;
                int r = gather(g, s->v[k].name, s->v[k].value, s->v[k].len);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static int gather_value(struct brick *b, const struct place *at, const char *name, struct gathered *g)
{
        uint8_t small[VALUE_FIRST];
        ssize_t len = disk_getxattr(b->disk, at->dirfd, at->path, name, small, sizeof small);
        if (len >= 0)
                return gather(g, name, small, (uint32_t)len);
        if (len == -ENODATA)
                return 0;
        if (len != -ERANGE)
                return (int)len;
        _cleanup_free_ uint8_t *large = malloc(VALUE_MAX);
        if (!large)
                return -ENOMEM;
        len = disk_getxattr(b->disk, at->dirfd, at->path, name, large, VALUE_MAX);
        if (len == -ENODATA)
                return 0;
        return len < 0 ? (int)len : gather(g, name, large, (uint32_t)len);
}

static int gather_values(struct brick *b, const struct place *at, const char *names, size_t len, struct gathered *g)
{
        for (const char *p = names, *end = names + len; p < end;) {
                size_t n = strnlen(p, (size_t)(end - p));
                if (p + n == end)
                        return -EUCLEAN;
                int r = gather_value(b, at, p, g);
                if (r < 0)
                        return r;
                p += n + 1;
        }
        return 0;
}

static int gather_all(struct brick *b, const struct place *at, struct gathered *g)
{
        char small[NAMES_FIRST];
        ssize_t len = disk_listxattr(b->disk, at->dirfd, at->path, small, sizeof small);
        if (len >= 0)
                return gather_values(b, at, small, (size_t)len, g);
        if (len != -ERANGE)
                return (int)len;
        _cleanup_free_ char *large = malloc(NAMES_MAX);
        if (!large)
                return -ENOMEM;
        len = disk_listxattr(b->disk, at->dirfd, at->path, large, NAMES_MAX);
        return len < 0 ? (int)len : gather_values(b, at, large, (size_t)len, g);
}

static bool is_settled(struct brick *b, const struct timespec *ctim)
{
        struct timespec now;
        disk_now(b->disk, &now, NULL);
        int64_t age = (now.tv_sec - ctim->tv_sec) * (int64_t)NS_PER_SEC + (now.tv_nsec - ctim->tv_nsec);
        return age > (int64_t)SETTLED_AFTER;
}

/* A name may come to mean another object between the stat and the reading. */
static int check_place(struct brick *b, const struct place *at, const struct stat *st)
{
        struct stat now;
        if (!at->path[0])
                return 0;
        int r = disk_stat(b->disk, at->dirfd, at->path, &now);
        return r == 0 && now.st_ino != st->st_ino ? -ESTALE : r;
}

static int snapshot_read(struct brick *b, const struct place *at, const struct stat *st, struct xattr_snapshot **ret)
{
        _cleanup_(gathered_done) struct gathered g = {BUF_INIT(XATTRS_MAX), BUF_INIT(XATTRS_MAX)};
        bool settled = is_settled(b, &st->st_ctim);
        int r = gather_all(b, at, &g);
        if (r == 0)
                r = check_place(b, at, st);
        if (r < 0)
                return r;
        struct xattr_snapshot *s = snapshot_build(&g);
        if (!s)
                return -ENOMEM;
        s->ino = st->st_ino;
        s->from = s->to = st->st_ctim;
        s->settled = settled;
        s->compared = coarse_now();
        *ret = s;
        return 0;
}

/* ---- the current one ----------------------------------------------------------------------------------------------- */

/* A request's stat may be older than a change that another request just made to object and snapshot. */
static bool just_passed(const struct xattr_snapshot *s, const struct stat *st, uint64_t now)
{
        return timespec_compare(&st->st_ctim, &s->from) < 0 && now - s->compared < KEEP_FOR;
}

static bool snapshot_matches(struct xattr_snapshot *s, const struct stat *st)
{
        if (!s || s->ino != st->st_ino || (s->delicate && !s->settled))
                return false;
        uint64_t now = coarse_now();
        if (timespec_compare(&st->st_ctim, &s->from) < 0 || timespec_compare(&st->st_ctim, &s->to) > 0)
                return !s->delicate && just_passed(s, st, now);
        s->from = s->to = st->st_ctim;
        s->compared = now;
        return true;
}

bool xattr_is_current(struct inode *inode, const struct stat *st)
{
        pthread_mutex_lock(&inode->lock);
        bool current = snapshot_matches(inode->xattrs, st);
        pthread_mutex_unlock(&inode->lock);
        return current;
}

/* Under inode.lock. S may be NULL. */
static void keep(struct inode *inode, struct xattr_snapshot *s)
{
        size_t size = s ? sizeof *s + s->n * sizeof(struct xattr_pair) + s->bytes : 0;
        inode->xattrs = s;
        atomic_store_explicit(&inode->xattr_bytes, (uint32_t)size, memory_order_relaxed);
}

void xattr_invalidate(struct inode *inode)
{
        free(inode->xattrs);
        keep(inode, NULL);
}

static void snapshot_release(struct xattr_snapshot **s)
{
        free(*s);
}

/* Under inode.lock: the snapshot for ST. *TRANSIENT is set when it was too large to keep, and is then the caller's. */
static int snapshot_current(struct brick *b, struct inode *inode, const struct place *at, const struct stat *st,
                            struct xattr_snapshot **transient, struct xattr_snapshot **ret)
{
        if (!snapshot_matches(inode->xattrs, st)) {
                struct xattr_snapshot *s;
                int r = snapshot_read(b, at, st, &s);
                if (r < 0)
                        return r;
                xattr_invalidate(inode);
                if (s->bytes > SNAPSHOT_MAX) {
                        *transient = *ret = s;
                        return 0;
                }
                keep(inode, s);
        }
        *ret = inode->xattrs;
        return 0;
}

static int view_copy(const struct xattr_snapshot *s, struct arena *arena, struct xattr_view *ret)
{
        struct xattr_pair *v = arena_alloc_uninitialised(arena, s->n * sizeof *v + s->bytes + 1);
        if (!v)
                return -ENOMEM;
        const uint8_t *from = (const uint8_t *)&s->v[s->n];
        uint8_t *to = (uint8_t *)&v[s->n];
        memcpy(to, from, s->bytes);
        for (uint32_t k = 0; k < s->n; k++)
                v[k] = (struct xattr_pair){(const char *)to + ((const uint8_t *)s->v[k].name - from),
                                           to + (s->v[k].value - from), s->v[k].len};
        *ret = (struct xattr_view){.v = v, .n = s->n};
        return 0;
}

int xattr_view(struct brick *b, struct inode *inode, const struct place *at, const struct stat *st, struct arena *arena,
               struct xattr_view *ret)
{
        _cleanup_(snapshot_release) struct xattr_snapshot *transient = NULL;
        struct xattr_snapshot *s;
        pthread_mutex_lock(&inode->lock);
        int r = snapshot_current(b, inode, at, st, &transient, &s);
        if (r == 0)
                r = view_copy(s, arena, ret);
        pthread_mutex_unlock(&inode->lock);
        return r;
}

static const struct xattr_pair *find_pair(const struct xattr_pair *v, uint32_t n, const char *name)
{
        for (uint32_t k = 0; k < n; k++)
                if (streq(v[k].name, name))
                        return &v[k];
        return NULL;
}

const struct xattr_pair *xattr_view_find(const struct xattr_view *v, const char *name)
{
        return find_pair(v->v, v->n, name);
}

static ssize_t copy_value(const struct xattr_snapshot *s, const char *name, void *buf, size_t size)
{
        const struct xattr_pair *p = find_pair(s->v, s->n, name);
        if (!p)
                return -ENODATA;
        if (p->len > size)
                return -ERANGE;
        memcpy(buf, p->value, p->len);
        return p->len;
}

ssize_t xattr_get(struct brick *b, struct inode *inode, const struct place *at, const struct stat *st, const char *name,
                  void *buf, size_t size)
{
        _cleanup_(snapshot_release) struct xattr_snapshot *transient = NULL;
        struct xattr_snapshot *s;
        pthread_mutex_lock(&inode->lock);
        ssize_t r = snapshot_current(b, inode, at, st, &transient, &s);
        if (r == 0)
                r = copy_value(s, name, buf, size);
        pthread_mutex_unlock(&inode->lock);
        return r;
}

ssize_t xattr_get_held(struct brick *b, struct inode *inode, const struct place *at, const char *name, void *buf,
                       size_t size)
{
        pthread_mutex_lock(&inode->lock);
        const struct xattr_snapshot *s = inode->xattrs;
        bool fresh = s && s->ino == at->ino && coarse_now() - s->compared < KEEP_FOR;
        ssize_t r = fresh ? copy_value(s, name, buf, size)
                          : disk_getxattr(b->disk, at->dirfd, at->path, name, buf, size);
        pthread_mutex_unlock(&inode->lock);
        return r;
}

/* ---- changing ------------------------------------------------------------------------------------------------------ */

struct change_time {
        struct timespec from, to;
};

static bool snapshot_can_follow(const struct xattr_snapshot *s, const char *name)
{
        return s && !s->delicate && !name_is_delicate(name) && coarse_now() - s->compared < KEEP_FOR;
}

/* Same length: written over in place, which is what counters and times do. */
static bool overwrite(struct xattr_snapshot *s, const char *name, const void *value, size_t len)
{
        const struct xattr_pair *p = find_pair(s->v, s->n, name);
        if (!p || p->len != len)
                return false;
        memcpy((uint8_t *)&s->v[s->n] + (p->value - (const uint8_t *)&s->v[s->n]), value, len);
        return true;
}

/* Puts a snapshot with NAME = VALUE (NULL: without it) in place of the old one; none if memory is short. */
static void replace(struct inode *inode, const char *name, const void *value, size_t len)
{
        struct xattr_snapshot *old = inode->xattrs;
        _cleanup_(gathered_done) struct gathered g = {BUF_INIT(SNAPSHOT_MAX), BUF_INIT(SNAPSHOT_MAX)};
        int r = gather_others(&g, old, name);
        if (r == 0 && value)
                r = gather(&g, name, value, (uint32_t)len);
        struct xattr_snapshot *s = r == 0 ? snapshot_build(&g) : NULL;
        if (s) {
                s->ino = old->ino;
                s->compared = old->compared;
                s->settled = old->settled;
        }
        free(old);
        keep(inode, s);
}

static void follow(struct inode *inode, const struct place *at, const char *name, const void *value, size_t len,
                   const struct change_time *t)
{
        struct xattr_snapshot *s = inode->xattrs;
        if (s && at->ino != 0 && s->ino != at->ino) /* of another object with this gfid */
                return;
        if (at->ino == 0 || !snapshot_can_follow(s, name)) {
                xattr_invalidate(inode);
                return;
        }
        if (!value || !overwrite(s, name, value, len))
                replace(inode, name, value, len);
        if (inode->xattrs) {
                inode->xattrs->from = t->from;
                inode->xattrs->to = t->to;
        }
}

int xattr_set(struct brick *b, struct inode *inode, const struct place *at, const char *name, const void *value,
              size_t len, int flags)
{
        struct change_time t;
        pthread_mutex_lock(&inode->lock);
        disk_now(b->disk, &t.from, NULL);
        int r = disk_setxattr(b->disk, at->dirfd, at->path, name, value, len, flags);
        disk_now(b->disk, NULL, &t.to);
        if (r == 0)
                follow(inode, at, name, value ? value : "", len, &t);
        pthread_mutex_unlock(&inode->lock);
        return r;
}

int xattr_remove(struct brick *b, struct inode *inode, const struct place *at, const char *name)
{
        struct change_time t;
        pthread_mutex_lock(&inode->lock);
        disk_now(b->disk, &t.from, NULL);
        int r = disk_removexattr(b->disk, at->dirfd, at->path, name);
        disk_now(b->disk, NULL, &t.to);
        if (r == 0)
                follow(inode, at, name, NULL, 0, &t);
        pthread_mutex_unlock(&inode->lock);
        return r;
}

void xattr_seed(struct inode *inode, const struct stat *st, const struct xattr_pair *v, uint32_t n)
{
        _cleanup_(gathered_done) struct gathered g = {BUF_INIT(SNAPSHOT_MAX), BUF_INIT(SNAPSHOT_MAX)};
        for (uint32_t k = 0; k < n; k++)
                if (gather(&g, v[k].name, v[k].value, v[k].len) < 0)
                        return;
        struct xattr_snapshot *s = snapshot_build(&g);
        if (!s)
                return;
        s->ino = st->st_ino;
        s->from = s->to = st->st_ctim;
        s->compared = coarse_now();
        pthread_mutex_lock(&inode->lock);
        xattr_invalidate(inode);
        keep(inode, s);
        pthread_mutex_unlock(&inode->lock);
}
