/* The kernel's node numbers (node.h).
 *
 * Three hash tables that grow together: numbers, gfids, names. Invariants: a node is in both tables of nodes and in the
 * list by use from node_get() to its end; an entry is in the table of names and in its node's list; it holds its
 * parent. Freeing a node frees its entries, whose parents may end in turn: done in a loop, not by recursion, as
 * directories nest deeply.
 */
#include "mount/node.h"

#include <string.h>
#include <sys/stat.h>

#include "proto/types.h"

#define BUCKETS_FIRST 1024u
#define LOAD_MAX 2u /* nodes per bucket before the tables grow */

static uint32_t mix(uint64_t x)
{
        x *= 0x9e3779b97f4a7c15ull;
        return (uint32_t)(x >> 32);
}

static uint32_t gfid_hash(const struct gfid *g)
{
        uint64_t x;
        memcpy(&x, g->b + 8, sizeof x);
        return mix(x);
}

/* FNV-1a, begun with the directory's number. */
static uint32_t name_hash(uint64_t parent, const char *name, size_t len)
{
        uint32_t h = 2166136261u ^ mix(parent);
        for (size_t i = 0; i < len; i++)
                h = (h ^ (uint8_t)name[i]) * 16777619u;
        return h;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static int allocate_tables(struct node_table *t, uint32_t n)
{
        struct node **by_id = calloc(n, sizeof(struct node *)), **by_gfid = calloc(n, sizeof(struct node *));
        struct entry **names = calloc(n, sizeof(struct entry *));
        if (!by_id || !by_gfid || !names) {
                free(by_id);
                free(by_gfid);
                free(names);
                return -ENOMEM;
        }
        t->by_id = by_id;
        t->by_gfid = by_gfid;
        t->names = names;
        t->n_buckets = n;
        return 0;
}

int node_table_init(struct node_table *t)
{
        *t = (struct node_table){.last_id = 1, .evict_round = 1};
        return allocate_tables(t, BUCKETS_FIRST);
}

static void insert_node(struct node_table *t, struct node *n)
{
        struct node **id = &t->by_id[mix(n->id) & (t->n_buckets - 1)];
        struct node **gfid = &t->by_gfid[gfid_hash(&n->inode->gfid) & (t->n_buckets - 1)];
        n->id_next = *id;
        *id = n;
        n->gfid_next = *gfid;
        *gfid = n;
}

static void insert_entry(struct node_table *t, struct entry *e)
{
        struct entry **at = &t->names[e->hash & (t->n_buckets - 1)];
        e->hash_next = *at;
        *at = e;
}

/* Larger tables, if there is memory for them; without it chains get longer. */
static void grow(struct node_table *t)
{
        struct node_table old = *t;
        if (MAX(t->n_nodes, t->n_names) < LOAD_MAX * t->n_buckets || allocate_tables(t, t->n_buckets * 2) < 0)
                return;
        for (struct node *n = t->oldest; n; n = n->newer) {
                insert_node(t, n);
                for (struct entry *e = n->entries; e; e = e->next_of_node)
                        insert_entry(t, e);
        }
        free(old.by_id);
        free(old.by_gfid);
        free(old.names);
}

/* ---- by use ------------------------------------------------------------------------------------------------------ */

static void use_add(struct node_table *t, struct node *n)
{
        n->older = t->newest;
        n->newer = NULL;
        if (t->newest)
                t->newest->newer = n;
        else
                t->oldest = n;
        t->newest = n;
}

static void use_remove(struct node_table *t, struct node *n)
{
        if (n->older)
                n->older->newer = n->newer;
        else
                t->oldest = n->newer;
        if (n->newer)
                n->newer->older = n->older;
        else
                t->newest = n->older;
}

void node_touch(struct node_table *t, struct node *n)
{
        if (t->newest == n)
                return;
        use_remove(t, n);
        use_add(t, n);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

struct node *node_find(struct node_table *t, uint64_t id)
{
        struct node *n = t->by_id[mix(id) & (t->n_buckets - 1)];
        while (n && n->id != id)
                n = n->id_next;
        return n ? node_ref(n) : NULL;
}

struct node *node_of_gfid(struct node_table *t, const struct gfid *gfid)
{
        struct node *n = t->by_gfid[gfid_hash(gfid) & (t->n_buckets - 1)];
        while (n && !gfid_equal(&n->inode->gfid, gfid))
                n = n->gfid_next;
        return n ? node_ref(n) : NULL;
}

struct node *node_get(struct node_table *t, struct vnode *inode, uint64_t id)
{
        struct node *n = node_of_gfid(t, &inode->gfid);
        if (n)
                return n;
        n = calloc(1, sizeof *n);
        if (!n)
                return NULL;
        n->id = id ? id : ++t->last_id;
        n->inode = vnode_ref(inode);
        n->refs = 1;
        insert_node(t, n);
        use_add(t, n);
        t->n_nodes++;
        grow(t);
        return n;
}

struct node *node_ref(struct node *n)
{
        n->refs++;
        return n;
}

/* Takes E out of the table and its node's list, not of its parent. */
static void unlink_entry(struct node_table *t, struct entry *e)
{
        struct entry **at = &t->names[e->hash & (t->n_buckets - 1)];
        while (*at != e)
                at = &(*at)->hash_next;
        *at = e->hash_next;
        for (at = &e->node->entries; *at != e; at = &(*at)->next_of_node)
                ;
        *at = e->next_of_node;
        t->n_names--;
}

static void unlink_node(struct node_table *t, struct node *n)
{
        struct node **at = &t->by_id[mix(n->id) & (t->n_buckets - 1)];
        while (*at != n)
                at = &(*at)->id_next;
        *at = n->id_next;
        for (at = &t->by_gfid[gfid_hash(&n->inode->gfid) & (t->n_buckets - 1)]; *at != n; at = &(*at)->gfid_next)
                ;
        *at = n->gfid_next;
        use_remove(t, n);
        t->n_nodes--;
}

/* Ends N, and pushes parents that end with it onto the list *dead (linked through id_next). */
static void end_node(struct node_table *t, struct node *n, struct node **dead)
{
        while (n->entries) {
                struct entry *e = n->entries;
                struct node *parent = e->parent;
                unlink_entry(t, e);
                free(e);
                if (--parent->refs > 0)
                        continue;
                unlink_node(t, parent);
                parent->id_next = *dead;
                *dead = parent;
        }
        vnode_unref(n->inode);
        free(n->kept);
        free(n);
}

void node_unref(struct node_table *t, struct node *n)
{
        if (!n || --n->refs > 0)
                return;
        unlink_node(t, n);
        n->id_next = NULL;
        for (struct node *dead = n; dead;) {
                struct node *next = dead->id_next;
                struct node *ended = dead;
                dead = next;
                end_node(t, ended, &dead);
        }
}

/* Forgets E. */
static void drop(struct node_table *t, struct entry *e)
{
        struct node *parent = e->parent;
        unlink_entry(t, e);
        free(e);
        node_unref(t, parent);
}

void node_looked_up(struct node *n)
{
        if (n->lookups++ == 0)
                n->refs++;
}

void node_forget(struct node_table *t, struct node *n, uint64_t count)
{
        if (n->lookups == 0)
                return;
        n->lookups -= MIN(count, n->lookups);
        if (n->lookups > 0)
                return;
        if (n->evict_round == t->evict_round && t->n_evicting > 0)
                t->n_evicting--;
        n->evict_round = 0;
        while (n->entries)
                drop(t, n->entries);
        node_unref(t, n);
}

void node_table_done(struct node_table *t)
{
        for (struct node *n = t->oldest, *next; n; n = next) {
                while (n->entries) {
                        struct entry *e = n->entries;
                        unlink_entry(t, e);
                        free(e);
                }
                next = n->newer;
                vnode_unref(n->inode);
                free(n->kept);
                free(n);
        }
        free(t->by_id);
        free(t->by_gfid);
        free(t->names);
        *t = (struct node_table){0};
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static struct entry *find_entry(struct node_table *t, struct node *parent, const char *name, size_t len, uint32_t hash)
{
        struct entry *e = t->names[hash & (t->n_buckets - 1)];
        while (e && !(e->hash == hash && e->parent == parent && e->len == len && memcmp(e->name, name, len) == 0))
                e = e->hash_next;
        return e;
}

void entry_set(struct node_table *t, struct node *parent, const char *name, struct node *child)
{
        size_t len = strlen(name);
        uint32_t hash = name_hash(parent->id, name, len);
        struct entry *e = find_entry(t, parent, name, len, hash);
        if (e && e->node == child)
                return;
        if (e)
                drop(t, e);
        if (parent == child || len > UINT16_MAX)
                return;
        while (S_ISDIR(child->inode->type) && child->entries) /* a directory has one name */
                drop(t, child->entries);
        e = malloc(sizeof *e + len + 1);
        if (!e)
                return;
        *e = (struct entry){.parent = node_ref(parent), .node = child, .hash = hash, .len = (uint16_t)len};
        memcpy(e->name, name, len + 1);
        e->next_of_node = child->entries;
        child->entries = e;
        insert_entry(t, e);
        t->n_names++;
        grow(t);
}

struct node *entry_find(struct node_table *t, struct node *parent, const char *name)
{
        size_t len = strlen(name);
        struct entry *e = find_entry(t, parent, name, len, name_hash(parent->id, name, len));
        return e ? node_ref(e->node) : NULL;
}

void entry_drop(struct node_table *t, struct node *parent, const char *name)
{
        size_t len = strlen(name);
        struct entry *e = find_entry(t, parent, name, len, name_hash(parent->id, name, len));
        if (e)
                drop(t, e);
}
