/* What a client knows of an object: inodes by gfid, and open files.
 *
 * An inode is shared by everything that refers to the object; it lives as long as it is referred to, and a while longer in
 * a list of the least recently used (bounded). Each layer of the graph has a slot in it for what it knows: the layout of a
 * directory, where a file lies, which copies may be read. Slots are numbered by subvolume.slot, so a volume whose graph is
 * replaced starts with empty ones.
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/lock_list.h"
#include "volume/subvolume.h"

struct vnode {
        struct gfid gfid;    /* null: not known yet (the inode of a look-up under way) */
        uint32_t type;       /* S_IFMT part of the mode; 0 while unknown */
        uint32_t refs;
        bool linked;         /* in the table: others find it by its gfid */
        struct volume *volume;
        struct vnode *hash_next;
        struct vnode *lru_prev, *lru_next; /* while refs is 0; and of those that are not in the table */
        struct vfile *files;  /* open ones, linked through next_of_inode */
        uint32_t graph;      /* the graph its slots belong to */
        void **slots;        /* volume_slots() of them */
        void **renewed;      /* those for the next graph, while it takes over */
        void *room[];        /* of the first graph's slots */
};

struct vfile {
        struct vnode *inode; /* holds a reference */
        struct vfile *next_of_inode;
        uint32_t flags; /* O_* of the open */
        bool directory;
        uint32_t refs;
        uint32_t graph;
        uint32_t listed; /* the graph that told the offsets of the last listing; 0: none */
        int error; /* it cannot be used with the graph there is: -errno for all its operations */
        struct held_locks locks; /* POSIX locks that were taken through it, for bricks that come with another graph */
        void **slots, **renewed;
        void *room[];
};

/* A fresh inode, referred to once and not in the table. GFID NULL: not known yet. -ENOMEM: NULL. */
struct vnode *vnode_new(struct volume *vol, const struct gfid *gfid, uint32_t type);
/* The inode with this gfid, referred to once more; NULL if there is none. */
struct vnode *vnode_find(struct volume *vol, const struct gfid *gfid);
/* Puts I, of which a look-up or creation gave the attributes, into the table. Returns the inode to use from now on, with a
 * reference: I, or the one that was there already with this gfid (I is then to be unreferred as any). Sets gfid and type. */
struct vnode *vnode_link(struct vnode *i, const struct iatt *stat);
struct vnode *vnode_ref(struct vnode *i);
struct vnode *vnode_unref(struct vnode *i); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct vnode *, vnode_unref)
#define _cleanup_vnode_ _cleanup_(vnode_unrefp)

/* An open file of I, in its list, referred to once. NULL: out of memory. */
struct vfile *vfile_new(struct vnode *i, uint32_t flags, bool directory);
struct vfile *vfile_ref(struct vfile *f);
struct vfile *vfile_unref(struct vfile *f); /* at the last one: ops->release of every layer */
DEFINE_CLEANUP(struct vfile *, vfile_unref)
#define _cleanup_vfile_ _cleanup_(vfile_unrefp)

/* V's slot. The address is valid as long as the inode; NULL inside means nothing is known. */
void **vnode_slot(struct vnode *i, const struct subvolume *v);
void **vfile_slot(struct vfile *f, const struct subvolume *v);
