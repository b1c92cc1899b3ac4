/* Entries of the index (index.h; spec: brick.md §12.1-12.3, §12.5).
 *
 * An entry is a hard link to an empty base file, one inode for thousands of them: making one is a link(2), removing it an
 * unlink(2). Base files get a new id with each start and when the file system allows no more links.
 *
 * Order: the entry is made before the attribute is written and removed after it was cleared, both under inode.lock, so a
 * crash leaves at worst an entry without pending work, which self-heal clears. Whether an entry exists is remembered in
 * its inode for as long as that is in memory: every change of an entry takes the same lock, and a fresh inode knows
 * nothing. Somebody may change entries behind our back, so what is remembered spares only what does no harm then: a counter
 * that goes up makes its entry whatever is remembered, and what a listing shows is there. Any thread; index.lock is a leaf.
 */
#include "brick/index.h"

#include "brick/cache.h"
#include "brick/index_watch.h"

#include <stdio.h>
#include <sys/random.h>

#define INDICES ".glusterfs/indices"
#define LANDFILL ".glusterfs/landfill"
#define LINK_ATTEMPTS 4 /* each but the last finds something missing and makes it */
#define READ_SIZE 4096
#define SLOW_SCAN (20 * NS_PER_MSEC)
#define SCAN_SHARE 100 /* slow scans take at most one part of this of the time */

#define XATTROP_ADD32 0u
#define XATTROP_ADD64 1u

const char *const index_class_names[INDEX_CLASSES] = {"xattrop", "dirty", "entry-changes"};

static int random_gfid(struct gfid *ret)
{
        uint8_t raw[sizeof ret->b];
        if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
                return -EIO;
        *ret = gfid_from_random(raw);
        return 0;
}

/* ---- paths --------------------------------------------------------------------------------------------------------- */

static void class_path(enum index_class class, char buf[static INDEX_PATH_MAX])
{
        (void)snprintf(buf, INDEX_PATH_MAX, INDICES "/%s", index_class_names[class]);
}

static void entry_path(enum index_class class, const struct gfid *g, char buf[static INDEX_PATH_MAX])
{
        char text[GFID_TEXT_LEN + 1];
        (void)snprintf(buf, INDEX_PATH_MAX, INDICES "/%s/%s", index_class_names[class], gfid_format(g, text));
}

static void base_path(enum index_class class, const struct gfid *id, char buf[static INDEX_PATH_MAX])
{
        char text[GFID_TEXT_LEN + 1];
        const char *name = index_class_names[class];
        (void)snprintf(buf, INDEX_PATH_MAX, INDICES "/%s/%s-%s", name, name, gfid_format(id, text));
}

static void name_path(const struct gfid *of, const char *name, char buf[static INDEX_PATH_MAX])
{
        char text[GFID_TEXT_LEN + 1];
        (void)snprintf(buf, INDEX_PATH_MAX, INDICES "/entry-changes/%s/%s", gfid_format(of, text), name);
}

/* ---- base files and links ------------------------------------------------------------------------------------------ */

int index_new(struct index **ret)
{
        struct index *x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        struct gfid id;
        int r = random_gfid(&id);
        for (unsigned k = 0; k < INDEX_CLASSES; k++) {
                x->base[k] = id;
                if (r == 0)
                        r = random_gfid(&x->gfids[k]);
        }
        if (r == 0)
                r = random_gfid(&x->mask);
        if (r < 0) {
                free(x);
                return r;
        }
        x->mask.b[6] = (uint8_t)((x->mask.b[6] & 0x0f) | 0xa0); /* see index_find() */
        pthread_mutex_init(&x->lock, NULL);
        pthread_mutex_init(&x->watch_lock, NULL);
        *ret = x;
        return 0;
}

struct index *index_free(struct index *x)
{
        if (!x)
                return NULL;
        pthread_mutex_destroy(&x->lock);
        pthread_mutex_destroy(&x->watch_lock);
        free(x);
        return NULL;
}

static struct gfid base_id(struct index *x, enum index_class class)
{
        pthread_mutex_lock(&x->lock);
        struct gfid id = x->base[class];
        pthread_mutex_unlock(&x->lock);
        return id;
}

/* The file system allows no more links to base file FULL. */
static int base_renew(struct index *x, enum index_class class, const struct gfid *full)
{
        struct gfid fresh;
        int r = random_gfid(&fresh);
        if (r < 0)
                return r;
        pthread_mutex_lock(&x->lock);
        if (gfid_equal(&x->base[class], full))
                x->base[class] = fresh;
        pthread_mutex_unlock(&x->lock);
        return 0;
}

/* 0 also if it exists. */
static int make_dir(struct brick *b, const char *path)
{
        int r = disk_mkdir(b->disk, b->root_fd, path, 0600);
        return r == -EEXIST ? 0 : r;
}

/* The base file, and the directory it is in. */
static int make_base(struct brick *b, enum index_class class, const char *base)
{
        char dir[INDEX_PATH_MAX];
        class_path(class, dir);
        int r = disk_mknod(b->disk, b->root_fd, base, S_IFREG, 0);
        if (r == -ENOENT && (r = make_dir(b, INDICES)) == 0 && (r = make_dir(b, dir)) == 0)
                r = disk_mknod(b->disk, b->root_fd, base, S_IFREG, 0);
        return r == -EEXIST ? 0 : r;
}

/* Makes what a link needs that failed with ERROR. DIR may be NULL: the entry is in the directory of its class. */
static int prepare_link(struct brick *b, enum index_class class, const struct gfid *id, const char *dir, int error)
{
        char base[INDEX_PATH_MAX];
        if (error == -EMLINK)
                return base_renew(b->index, class, id);
        if (error != -ENOENT)
                return error;
        base_path(class, id, base);
        int r = make_base(b, class, base);
        return r == 0 && dir ? make_dir(b, dir) : r;
}

/* Makes the entry PATH, which may exist. */
static int make_link(struct brick *b, enum index_class class, const char *dir, const char *path)
{
        int r = 0;
        for (int attempt = 0; attempt < LINK_ATTEMPTS && r == 0; attempt++) {
                char base[INDEX_PATH_MAX];
                struct gfid id = base_id(b->index, class);
                base_path(class, &id, base);
                r = disk_link(b->disk, b->root_fd, base, b->root_fd, path);
                if (r == 0 || r == -EEXIST)
                        return 0;
                r = prepare_link(b, class, &id, dir, r);
        }
        return r < 0 ? r : -EIO;
}

bool index_is_base(enum index_class class, const char *name, struct gfid *ret_id)
{
        const char *word = index_class_names[class];
        size_t len = strlen(word);
        return starts_with(name, word) && name[len] == '-' && gfid_parse(name + len + 1, strlen(name + len + 1), ret_id) == 0;
}

void index_drop_base(struct brick *b, enum index_class class, const struct gfid *id)
{
        char path[INDEX_PATH_MAX];
        struct stat st;
        struct gfid now = base_id(b->index, class);
        if (gfid_equal(&now, id))
                return;
        base_path(class, id, path);
        if (disk_stat(b->disk, b->root_fd, path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
                (void)disk_unlink(b->disk, b->root_fd, path, 0);
}

/* ---- is anything pending? ------------------------------------------------------------------------------------------ */

static enum index_pending pending_of(uint64_t word)
{
        return (enum index_pending)(word & 3);
}

static uint64_t pending_next(uint64_t word, enum index_pending state)
{
        return (((word >> 2) + 1) << 2) | (uint64_t)state;
}

static void pending_set(struct index *x, enum index_pending state)
{
        uint64_t old = atomic_load(&x->pending);
        while (!atomic_compare_exchange_weak(&x->pending, &old, pending_next(old, state)))
                continue;
}

void index_doubt(struct brick *b)
{
        pending_set(b->index, INDEX_UNKNOWN);
}

/* Gfids among the N bytes of directory entries. Base files and dots are not. */
static uint64_t count_entries(const uint8_t *data, size_t n)
{
        uint64_t found = 0;
        for (size_t at = 0; at < n;) {
                const struct disk_dirent *d = (const void *)(data + at);
                struct gfid g;
                found += gfid_parse(d->d_name, strlen(d->d_name), &g) == 0;
                at += d->d_reclen;
        }
        return found;
}

/* Counts entries, not going on when there are ENOUGH. */
static int count_class(struct brick *b, enum index_class class, uint64_t enough, uint64_t *ret)
{
        char path[INDEX_PATH_MAX];
        class_path(class, path);
        int fd = disk_open(b->disk, b->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd < 0)
                return fd;
        _Alignas(struct disk_dirent) uint8_t data[READ_SIZE];
        uint64_t found = 0;
        ssize_t n = 1;
        while (found < enough && (n = disk_getdents(b->disk, fd, data, sizeof data)) > 0)
                found += count_entries(data, (size_t)n);
        disk_close(b->disk, fd);
        if (n < 0)
                return (int)n;
        *ret = found;
        return 0;
}

/* What cannot be looked at may hold entries. */
static bool scan_pending(struct index *x, struct brick *b, uint64_t word)
{
        uint64_t found, begin = coarse_now();
        int r = count_class(b, INDEX_XATTROP, 1, &found);
        uint64_t end = coarse_now();
        if (end - begin > SLOW_SCAN) /* a directory that was large once */
                atomic_store(&x->next_scan, end + (end - begin) * SCAN_SHARE);
        if (r < 0)
                return r != -ENOENT;
        if (atomic_compare_exchange_strong(&x->pending, &word, pending_next(word, found > 0 ? INDEX_SOME : INDEX_NONE)))
                index_watch_tell(b);
        return found > 0;
}

bool index_pending(struct brick *b)
{
        struct index *x = b->index;
        uint64_t word = atomic_load(&x->pending);
        if (pending_of(word) != INDEX_UNKNOWN)
                return pending_of(word) == INDEX_SOME;
        if (coarse_now() < atomic_load(&x->next_scan))
                return true;
        return scan_pending(x, b, word);
}

/* ---- one entry, under inode.lock ----------------------------------------------------------------------------------- */

enum known { KNOWN_NOTHING, KNOWN_IN, KNOWN_OUT };

static enum known known_get(const struct inode *i, enum index_class class)
{
        return (enum known)(i->index_known >> (2 * class) & 3);
}

static void known_set(struct inode *i, enum index_class class, enum known k)
{
        unsigned shift = 2 * class;
        i->index_known = (uint8_t)((i->index_known & ~(3u << shift)) | (unsigned)k << shift);
}

static int entry_make(struct brick *b, struct inode *i, enum index_class class)
{
        char path[INDEX_PATH_MAX];
        entry_path(class, &i->gfid, path);
        int r = make_link(b, class, NULL, path);
        if (r < 0)
                return r;
        known_set(i, class, KNOWN_IN);
        if (class != INDEX_XATTROP)
                return 0;
        pending_set(b->index, INDEX_SOME);
        index_watch_tell(b);
        return 0;
}

static int entry_ensure(struct brick *b, struct inode *i, enum index_class class)
{
        return known_get(i, class) == KNOWN_IN ? 0 : entry_make(b, i, class);
}

static int entry_drop(struct brick *b, struct inode *i, enum index_class class)
{
        char path[INDEX_PATH_MAX];
        entry_path(class, &i->gfid, path);
        int r = disk_unlink(b->disk, b->root_fd, path, 0);
        known_set(i, class, r == 0 || r == -ENOENT ? KNOWN_OUT : KNOWN_NOTHING);
        if (class == INDEX_XATTROP && r != -ENOENT)
                pending_set(b->index, INDEX_UNKNOWN);
        return r;
}

/* Spares the system call if there is certainly no entry. */
static void entry_drop_if_any(struct brick *b, struct inode *i, enum index_class class)
{
        bool none = class == INDEX_XATTROP && pending_of(atomic_load(&b->index->pending)) == INDEX_NONE;
        if (none)
                known_set(i, class, KNOWN_OUT);
        else if (known_get(i, class) != KNOWN_OUT)
                (void)entry_drop(b, i, class);
}

void index_seen(struct brick *b, enum index_class class, const struct gfid *of)
{
        struct inode *i = inode_find(b, of);
        if (!i)
                return;
        pthread_mutex_lock(&i->lock);
        if (known_get(i, class) == KNOWN_OUT)
                known_set(i, class, KNOWN_NOTHING); /* it may have gone since the listing */
        pthread_mutex_unlock(&i->lock);
        inode_unref(b, i);
}

int index_remove(struct brick *b, enum index_class class, const struct gfid *of)
{
        struct inode *i = inode_get(b, of);
        if (!i)
                return -ENOMEM;
        pthread_mutex_lock(&i->lock);
        int r = entry_drop(b, i, class);
        pthread_mutex_unlock(&i->lock);
        inode_unref(b, i);
        return r;
}

/* ---- names in entry-changes, under the directory's inode.lock ------------------------------------------------------ */

/* 1: a name to act on; 0: none. "." and ".." stand for no entry of a directory. */
static int name_check(const struct xdata_text *t)
{
        if (!t->present || t->value.len == 0 || str_is(t->value, ".") || str_is(t->value, ".."))
                return 0;
        if (memchr(t->value.s, '/', t->value.len))
                return -EINVAL;
        return t->value.len > NAME_LIMIT ? -ENAMETOOLONG : 1;
}

static int name_add(struct brick *b, const struct gfid *of, const char *name)
{
        char dir[INDEX_PATH_MAX], path[INDEX_PATH_MAX];
        entry_path(INDEX_ENTRY_CHANGES, of, dir);
        name_path(of, name, path);
        return make_link(b, INDEX_ENTRY_CHANGES, dir, path);
}

static void name_remove(struct brick *b, const struct gfid *of, const char *name)
{
        char path[INDEX_PATH_MAX];
        name_path(of, name, path);
        (void)disk_unlink(b->disk, b->root_fd, path, 0); /* left behind, it costs self-heal one look */
}

static int names_put_away(struct brick *b, const char *dir, bool whole)
{
        char to[INDEX_PATH_MAX], text[GFID_TEXT_LEN + 1];
        struct gfid fresh;
        int r = random_gfid(&fresh);
        if (r < 0)
                return r;
        (void)snprintf(to, sizeof to, "%s/%s", whole ? LANDFILL : INDICES "/entry-changes", gfid_format(&fresh, text));
        return disk_rename(b->disk, b->root_fd, dir, b->root_fd, to, RENAME_NOREPLACE);
}

static int names_remove_held(struct brick *b, const struct gfid *of, bool whole)
{
        char dir[INDEX_PATH_MAX];
        entry_path(INDEX_ENTRY_CHANGES, of, dir);
        int r = disk_unlink(b->disk, b->root_fd, dir, AT_REMOVEDIR);
        return r == -ENOTEMPTY || r == -EEXIST ? names_put_away(b, dir, whole) : r;
}

int index_remove_names(struct brick *b, const struct gfid *of, bool whole)
{
        struct inode *i = inode_get(b, of);
        if (!i)
                return -ENOMEM;
        pthread_mutex_lock(&i->lock);
        int r = names_remove_held(b, of, whole);
        pthread_mutex_unlock(&i->lock);
        inode_unref(b, i);
        return r;
}

/* ---- around an xattrop --------------------------------------------------------------------------------------------- */

/* Does NAME begin with one of the words in LIST, which are separated by commas? */
static bool list_matches(const char *list, const char *name)
{
        while (*list) {
                list += strspn(list, ", ");
                size_t len = strcspn(list, ", ");
                if (len > 0 && strncmp(list, name, len) == 0)
                        return true;
                list += len;
        }
        return false;
}

/* The class that attribute NAME counts for; INDEX_CLASSES: none. */
static enum index_class class_of(const struct brick *b, const char *name)
{
        const struct brick_options *o = b->options;
        if (list_matches(o->index_dirty, name))
                return INDEX_DIRTY;
        return list_matches(o->index_pending, name) || list_matches(o->index_pending64, name) ? INDEX_XATTROP
                                                                                              : INDEX_CLASSES;
}

static bool is_tracked(const struct brick *b, uint32_t kind, const struct dict *d)
{
        if (kind == XATTROP_ADD32)
                return true;
        for (uint32_t k = 0; kind == XATTROP_ADD64 && k < d->count; k++)
                if (class_of(b, d->pairs[k].key.s) == INDEX_XATTROP)
                        return true;
        return false;
}

struct seen {
        bool mentioned[INDEX_CLASSES + 1], non_zero[INDEX_CLASSES + 1];
        bool raised[INDEX_CLASSES + 1]; /* with a request: a counter goes up */
};

/* The counters in V, of WIDTH bytes each. */
static void look_at_value(const struct dict_value *v, uint32_t width, struct arena *a, bool *non_zero, bool *raised)
{
        struct slice s;
        if (dict_value_bytes(v, a, &s) < 0) {
                *non_zero = *raised = true;
                return;
        }
        for (uint32_t at = 0; at < s.len; at += width) {
                bool any = false;
                for (uint32_t k = at; k < at + width && k < s.len; k++)
                        any |= s.data[k] != 0;
                *non_zero |= any;
                *raised |= any && !(s.data[at] & 0x80);
        }
}

static struct seen look_at(struct op *op, uint32_t kind, const struct dict *d)
{
        struct seen s = {0};
        uint32_t width = kind == XATTROP_ADD64 ? 8 : 4;
        for (uint32_t k = 0; k < d->count; k++) {
                enum index_class class = class_of(op->brick, d->pairs[k].key.s);
                s.mentioned[class] = true;
                look_at_value(&d->pairs[k].value, width, op->arena, &s.non_zero[class], &s.raised[class]);
        }
        return s;
}

int index_before(struct op *op, struct inode *inode, uint32_t kind, const struct dict *request)
{
        struct brick *b = op->brick;
        if (!is_tracked(b, kind, request))
                return 0;
        int create = name_check(&op->xdata.entry_create), remove = name_check(&op->xdata.entry_delete);
        if (create < 0 || remove < 0)
                return create < 0 ? create : remove;
        struct seen s = look_at(op, kind, request);
        int r = 0;
        for (unsigned class = 0; class < INDEX_ENTRY_CHANGES && r == 0; class++) {
                if (s.raised[class])
                        r = entry_make(b, inode, class);
                else if (s.non_zero[class])
                        r = entry_ensure(b, inode, class);
        }
        if (r == 0 && create && inode->type == S_IFDIR)
                r = name_add(b, &inode->gfid, op->xdata.entry_create.value.s);
        return r;
}

void index_after(struct op *op, struct inode *inode, uint32_t kind, const struct dict *result)
{
        struct brick *b = op->brick;
        if (!is_tracked(b, kind, result))
                return;
        struct seen s = look_at(op, kind, result);
        for (unsigned class = 0; class < INDEX_ENTRY_CHANGES; class++) {
                if (s.non_zero[class])
                        (void)entry_ensure(b, inode, class); /* only a read comes here without an entry */
                else if (s.mentioned[class])
                        entry_drop_if_any(b, inode, class);
        }
        if (inode->type != S_IFDIR)
                return;
        if (name_check(&op->xdata.entry_delete) > 0)
                name_remove(b, &inode->gfid, op->xdata.entry_delete.value.s);
        bool clean = s.mentioned[INDEX_XATTROP] && !s.non_zero[INDEX_XATTROP];
        if (clean && op->xdata.purge_index.present && op->xdata.purge_index.value != 0)
                (void)names_remove_held(b, &inode->gfid, false);
}

/* ---- virtual attributes -------------------------------------------------------------------------------------------- */

static int answer_count(struct op *op, enum index_class class, const char *name, struct dict *dict)
{
        uint64_t n;
        int r = count_class(op->brick, class, UINT64_MAX, &n);
        return r < 0 ? r : dict_add_uint(dict, op->arena, name, n);
}

int index_getxattr(struct op *op, const char *name, struct dict *dict)
{
        static const char *const gfids[INDEX_CLASSES] = {"glusterfs.xattrop_index_gfid", "glusterfs.xattrop_dirty_gfid",
                                                         "glusterfs.xattrop_entry_changes_gfid"};
        static const char *const counts[] = {"glusterfs.xattrop_index_count", "glusterfs.xattrop_dirty_count"};
        for (unsigned k = 0; k < ELEMENTSOF(gfids); k++)
                if (streq(name, gfids[k]))
                        return dict_add_ptr(dict, op->arena, name, op->brick->index->gfids[k].b, sizeof(struct gfid));
        for (unsigned k = 0; k < ELEMENTSOF(counts); k++)
                if (streq(name, counts[k]))
                        return answer_count(op, k, name, dict);
        return -ENOENT;
}
