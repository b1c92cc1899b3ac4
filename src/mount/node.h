/* The kernel's node numbers, and the names under which it knows them.
 *
 * A node stands for one object while the kernel counts look-ups of it, or something here refers to it. It holds a
 * reference to the object's inode. Numbers are never used twice. A `struct entry` says that a name was last seen to be
 * a node; it is a hint: what a removal or renaming is about, which names to invalidate. It goes with its node.
 *
 * Thread: the loop's. Nothing here waits.
 */
#pragma once

#include "base/fibre.h"
#include "proto/fop.h"
#include "mount/write_behind.h"
#include "volume/vnode.h"

struct node;

struct entry {
        struct node *parent; /* holds a reference */
        struct node *node;
        struct entry *hash_next;
        struct entry *next_of_node;
        uint32_t hash;
        uint16_t len;
        char name[];
};

/* A state of a file: two that are equal have the same contents, clocks that agree to a minute provided (open.c). */
struct file_state {
        uint64_t size;
        struct iatt_time mtime, ctime;
        bool known;
        bool settled; /* it was a minute old when it was seen */
};

/* Attributes of a directory, as bricks told them and as this client's changes of its names let them become. */
struct node_attr {
        struct iatt stat;
        uint64_t until;  /* loop time; 0: not to be used */
        uint64_t stored; /* when, in ticks of node_table.clock */
};

struct node {
        uint64_t id;
        struct vnode *inode; /* holds a reference */
        uint64_t lookups;    /* the kernel's count */
        uint32_t refs;       /* of this program; one while lookups > 0 */
        uint32_t open;       /* files of it */
        struct node *id_next, *gfid_next;
        struct node *older, *newer; /* by last use, all nodes */
        struct entry *entries;
        uint64_t changed;             /* when this client changed it, in ticks of node_table.clock */
        uint64_t invalidated;         /* when a brick told of a change, or the source of it went away */
        uint64_t believed_until;      /* loop time: nothing the kernel was told holds longer */
        uint64_t no_capability_until; /* loop time: security.capability is known not to be there */
        uint64_t fresh_until;         /* loop time: bricks would have told of a change */
        struct file_state told;       /* the kernel's idea of it */
        struct file_state pages;      /* what the kernel's pages hold, as long as the file is in this state */
        struct fibre_mutex opening;   /* one descriptor of it is opened belatedly at a time */
        uint32_t lazy;                /* files that are open for the kernel only */
        uint32_t removing;            /* removals of a name of it under way */
        struct node_attr *kept;       /* directories; NULL: none */
        struct write_queue writes;    /* answered, and not with the bricks yet */
        uint32_t mode, uid;           /* as last seen; mode 0: not */
        bool locked;                  /* POSIX locks were taken through this mount */
        uint32_t evict_round;         /* when the kernel was asked to forget it; 0: never */
};

struct node_table {
        struct node **by_id, **by_gfid;
        struct entry **names;
        uint32_t n_buckets; /* of each; a power of two */
        uint32_t n_nodes, n_names;
        uint32_t n_evicting;  /* nodes that the kernel was asked to forget in this round, and did not yet */
        uint32_t evict_round; /* from 1 */
        uint64_t last_id;
        uint64_t clock; /* counts changes */
        struct node *oldest, *newest;
};

int node_table_init(struct node_table *t);
/* Forgets all. */
void node_table_done(struct node_table *t);

/* A reference to the node with this number, NULL if there is none. */
struct node *node_find(struct node_table *t, uint64_t id);
/* The node of the inode, made if there is none; a reference. ID 0: the next number. NULL: out of memory. */
struct node *node_get(struct node_table *t, struct vnode *inode, uint64_t id);
/* The one with this gfid, or NULL; a reference. */
struct node *node_of_gfid(struct node_table *t, const struct gfid *gfid);
struct node *node_ref(struct node *n);
void node_unref(struct node_table *t, struct node *n);
/* The kernel counts one look-up more, or N less. */
void node_looked_up(struct node *n);
void node_forget(struct node_table *t, struct node *n, uint64_t count);
/* It was used now. */
void node_touch(struct node_table *t, struct node *n);

/* NAME in PARENT is CHILD now. Failure to remember is no failure. */
void entry_set(struct node_table *t, struct node *parent, const char *name, struct node *child);
/* What NAME in PARENT was last seen to be: a reference, or NULL. */
struct node *entry_find(struct node_table *t, struct node *parent, const char *name);
void entry_drop(struct node_table *t, struct node *parent, const char *name);
