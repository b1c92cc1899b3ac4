/* The inode table of a client, and its open files (vnode.h).
 *
 * Invariants: an inode in the table is found by its gfid, and no two have the same. One without references is in the table
 * and in the list of idle ones, or freed; one that is not in the table is in the list of those. Slots are released through
 * the layer that filled them, at the latest before their graph goes.
 */
#include "volume/state.h"

#include "base/log.h"

#include <stdlib.h>
#include <sys/stat.h>

static uint32_t bucket_of(const struct vnode_table *t, const struct gfid *g)
{
        uint32_t h;
        memcpy(&h, g->b + 12, sizeof h); /* gfids are random but for root's and a few others' */
        return h & (t->n_buckets - 1);
}

int vnode_table_init(struct vnode_table *t, uint32_t vnodes_max)
{
        uint32_t n = 1024;
        while (n < vnodes_max && n < (1u << 20))
                n *= 2;
        *t = (struct vnode_table){.buckets = calloc(n, sizeof(struct vnode *)), .n_buckets = n};
        return t->buckets ? 0 : -ENOMEM;
}

/* ---- slots ----------------------------------------------------------------------------------------------------------- */

void **vnode_slot(struct vnode *i, const struct subvolume *v)
{
        return &i->slots[v->slot];
}

void **vfile_slot(struct vfile *f, const struct subvolume *v)
{
        return &f->slots[v->slot];
}

static void release_vnode_slots(struct vnode *i)
{
        struct volume *vol = i->volume;
        for (unsigned s = 0; i->graph == vol->graph && s < vol->n_slots; s++) {
                struct subvolume *v = vol->by_slot[s];
                if (i->slots[s] && v->ops->forget)
                        v->ops->forget(v, i, i->slots[s]);
        }
}

static void release_vfile_slots(struct vfile *f)
{
        struct volume *vol = f->inode->volume;
        for (unsigned s = 0; f->graph == vol->graph && s < vol->n_slots; s++) {
                struct subvolume *v = vol->by_slot[s];
                if (f->slots[s] && v->ops->release)
                        v->ops->release(v, f, f->slots[s]);
        }
}

/* ---- idle ones -------------------------------------------------------------------------------------------------------- */

static void idle_add(struct vnode_table *t, struct vnode *i)
{
        i->lru_prev = t->newest;
        i->lru_next = NULL;
        if (t->newest)
                t->newest->lru_next = i;
        else
                t->oldest = i;
        t->newest = i;
        t->idle++;
}

static void idle_remove(struct vnode_table *t, struct vnode *i)
{
        if (i->lru_prev)
                i->lru_prev->lru_next = i->lru_next;
        else
                t->oldest = i->lru_next;
        if (i->lru_next)
                i->lru_next->lru_prev = i->lru_prev;
        else
                t->newest = i->lru_prev;
        i->lru_prev = i->lru_next = NULL;
        t->idle--;
}

static void unlinked_add(struct vnode_table *t, struct vnode *i)
{
        i->lru_prev = NULL;
        i->lru_next = t->unlinked;
        if (i->lru_next)
                i->lru_next->lru_prev = i;
        t->unlinked = i;
}

static void unlinked_remove(struct vnode_table *t, struct vnode *i)
{
        if (i->lru_prev)
                i->lru_prev->lru_next = i->lru_next;
        else
                t->unlinked = i->lru_next;
        if (i->lru_next)
                i->lru_next->lru_prev = i->lru_prev;
        i->lru_prev = i->lru_next = NULL;
}

static void unlink_from_table(struct vnode_table *t, struct vnode *i)
{
        struct vnode **at = &t->buckets[bucket_of(t, &i->gfid)];
        while (*at != i)
                at = &(*at)->hash_next;
        *at = i->hash_next;
        i->linked = false;
        t->linked--;
}

static void destroy(struct vnode *i)
{
        if (i->linked)
                unlink_from_table(&i->volume->inodes, i);
        else
                unlinked_remove(&i->volume->inodes, i);
        release_vnode_slots(i);
        if (i->slots != i->room)
                free(i->slots);
        free(i);
}

static void drop_oldest(struct vnode_table *t)
{
        struct vnode *i = t->oldest;
        idle_remove(t, i);
        destroy(i);
}

unsigned vnode_table_done(struct volume *vol)
{
        struct vnode_table *t = &vol->inodes;
        if (!t->buckets)
                return 0;
        while (t->oldest)
                drop_oldest(t);
        unsigned left = t->linked;
        if (left > 0)
                log_error(vol->config.name, "the volume is closed while %u of its objects are in use", left);
        free(t->buckets);
        *t = (struct vnode_table){0};
        return left;
}

/* ---- inodes ----------------------------------------------------------------------------------------------------------- */

struct vnode *vnode_new(struct volume *vol, const struct gfid *gfid, uint32_t type)
{
        struct vnode *i = calloc(1, sizeof *i + vol->n_slots * sizeof i->room[0]);
        if (!i)
                return NULL;
        i->slots = i->room;
        if (gfid)
                i->gfid = *gfid;
        i->type = type;
        i->refs = 1;
        i->volume = vol;
        i->graph = vol->graph;
        unlinked_add(&vol->inodes, i);
        return i;
}

struct vnode *vnode_find(struct volume *vol, const struct gfid *gfid)
{
        struct vnode_table *t = &vol->inodes;
        struct vnode *i = t->buckets ? t->buckets[bucket_of(t, gfid)] : NULL;
        while (i && !gfid_equal(&i->gfid, gfid))
                i = i->hash_next;
        return i ? vnode_ref(i) : NULL;
}

struct vnode *vnode_link(struct vnode *i, const struct iatt *stat)
{
        if (i->linked)
                return vnode_ref(i);
        i->gfid = stat->gfid;
        i->type = stat->mode & S_IFMT;
        struct vnode *present = vnode_find(i->volume, &i->gfid);
        if (present)
                return present;
        struct vnode_table *t = &i->volume->inodes;
        struct vnode **bucket = &t->buckets[bucket_of(t, &i->gfid)];
        unlinked_remove(t, i);
        i->hash_next = *bucket;
        *bucket = i;
        i->linked = true;
        t->linked++;
        return vnode_ref(i);
}

struct vnode *vnode_ref(struct vnode *i)
{
        if (i->refs++ == 0)
                idle_remove(&i->volume->inodes, i);
        return i;
}

struct vnode *vnode_unref(struct vnode *i)
{
        if (!i || --i->refs > 0)
                return NULL;
        struct volume *vol = i->volume;
        if (!i->linked) {
                destroy(i);
                return NULL;
        }
        idle_add(&vol->inodes, i);
        if (vol->inodes.idle > vol->config.vnodes_max)
                drop_oldest(&vol->inodes);
        return NULL;
}

/* ---- open files ------------------------------------------------------------------------------------------------------- */

struct vfile *vfile_new(struct vnode *i, uint32_t flags, bool directory)
{
        struct volume *vol = i->volume;
        struct vfile *f = calloc(1, sizeof *f + vol->n_slots * sizeof f->room[0]);
        if (!f)
                return NULL;
        f->slots = f->room;
        f->inode = vnode_ref(i);
        f->flags = flags;
        f->directory = directory;
        f->refs = 1;
        f->graph = vol->graph;
        f->next_of_inode = i->files;
        i->files = f;
        return f;
}

struct vfile *vfile_ref(struct vfile *f)
{
        f->refs++;
        return f;
}

struct vfile *vfile_unref(struct vfile *f)
{
        if (!f || --f->refs > 0)
                return NULL;
        struct vfile **at = &f->inode->files;
        while (*at != f)
                at = &(*at)->next_of_inode;
        *at = f->next_of_inode;
        release_vfile_slots(f);
        lock_list_drop(&f->locks, NULL);
        if (f->slots != f->room)
                free(f->slots);
        vnode_unref(f->inode);
        free(f);
        return NULL;
}

/* ---- slots of another graph --------------------------------------------------------------------------------------------- */

bool vnode_each(struct volume *vol, bool (*fn)(struct vnode *i, void *arg), void *arg)
{
        struct vnode_table *t = &vol->inodes;
        for (struct vnode *i = t->unlinked; i; i = i->lru_next)
                if (!fn(i, arg))
                        return false;
        for (uint32_t b = 0; b < t->n_buckets; b++)
                for (struct vnode *i = t->buckets[b]; i; i = i->hash_next)
                        if (!fn(i, arg))
                                return false;
        return true;
}

static bool abandon_one(struct vnode *i, void *arg)
{
        (void)arg;
        free(i->renewed);
        i->renewed = NULL;
        for (struct vfile *f = i->files; f; f = f->next_of_inode) {
                free(f->renewed);
                f->renewed = NULL;
        }
        return true;
}

static bool prepare_one(struct vnode *i, void *arg)
{
        const unsigned *n = arg;
        i->renewed = calloc(*n, sizeof i->renewed[0]);
        bool ok = i->renewed != NULL;
        for (struct vfile *f = i->files; f && ok; f = f->next_of_inode) {
                f->renewed = calloc(*n, sizeof f->renewed[0]);
                ok = f->renewed != NULL;
        }
        return ok;
}

int vnode_slots_prepare(struct volume *vol, unsigned n_slots)
{
        while (vol->inodes.oldest)
                drop_oldest(&vol->inodes);
        if (vnode_each(vol, prepare_one, &n_slots))
                return 0;
        return -ENOMEM;
}

void vnode_slots_abandon(struct volume *vol)
{
        (void)vnode_each(vol, abandon_one, NULL);
}

struct renewal {
        const int *kept;
        unsigned n_slots;
};

static void take_over(void **to, void **from, const struct renewal *r)
{
        for (unsigned s = 0; s < r->n_slots; s++) {
                if (r->kept[s] < 0)
                        continue;
                to[s] = from[r->kept[s]];
                from[r->kept[s]] = NULL;
        }
}

static bool renew_one(struct vnode *i, void *arg)
{
        const struct renewal *r = arg;
        for (struct vfile *f = i->files; f; f = f->next_of_inode) {
                take_over(f->renewed, f->slots, r);
                release_vfile_slots(f);
                if (f->slots != f->room)
                        free(f->slots);
                f->slots = TAKE_PTR(f->renewed);
                f->graph = i->volume->graph + 1;
        }
        take_over(i->renewed, i->slots, r);
        release_vnode_slots(i);
        if (i->slots != i->room)
                free(i->slots);
        i->slots = TAKE_PTR(i->renewed);
        i->graph = i->volume->graph + 1;
        return true;
}

void vnode_slots_renew(struct volume *vol, const int *kept, unsigned n_slots)
{
        (void)vnode_each(vol, renew_one, &(struct renewal){.kept = kept, .n_slots = n_slots});
}
