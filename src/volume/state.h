/* Inside the volume layer: what volume.c, graph.c and vnode.c share. */
#pragma once

#include "volume/volume.h"

struct vnode_table {
        struct vnode **buckets;
        uint32_t n_buckets; /* a power of two */
        uint32_t linked;    /* in the table */
        uint32_t idle;      /* of them, those in the list */
        struct vnode *oldest, *newest; /* idle ones */
        struct vnode *unlinked;        /* not in the table: new ones, and those that were there twice */
};

/* A fibre that waits for a change of some sub-volume's state. */
struct state_waiter {
        struct fibre_event changed;
        struct state_waiter *next;
};

/* Where the leaves of the former graph are in the one in force. */
struct leaf_map {
        uint32_t graph; /* the former one; 0: there was none */
        unsigned n;
        int *now; /* by leaf; -1: nowhere */
};

struct volume {
        struct volume_config config; /* its strings are the volume's own */
        struct volfile *volfile;     /* a copy: names of sub-volumes live here */
        struct volfile *current;     /* what was reloaded last; NULL: the same */
        struct gate *gate;           /* what operations pass before they come to the graph */
        struct subvolume *entry;     /* the gate as a sub-volume */
        struct subvolume *top;       /* NULL before the graph stands */
        struct subvolume **by_slot;
        unsigned n_slots;
        uint32_t graph;              /* counts the graphs that the volume has had */
        bool utime;                  /* the volfile has features/utime: operations say which times they change */
        bool atime;                  /* reading is among them */
        struct vnode_table inodes;
        struct state_waiter *waiters;
        struct leaf_map leaves_were;
        uint64_t handshakes;         /* tells one connection to a brick from those before */
        bool closing;
        bool keeps_graph;            /* no other one from now on */
};

/* Something became up or down, or will never be up: those who wait look again. */
void volume_state_changed(struct volume *vol);

int volume_copy_volfile(const struct volfile *volfile, struct volfile **ret, struct error *err);

int vnode_table_init(struct vnode_table *t, uint32_t vnodes_max);
/* Drops idle inodes. Those still referred to are an error of the program: logged, and counted in the result. */
unsigned vnode_table_done(struct volume *vol);

/* ---- another graph (replace.c) ------------------------------------------------------------------------------------- */

/* Slots for N_SLOTS layers are made for every inode and open file. -ENOMEM: for some, perhaps. */
int vnode_slots_prepare(struct volume *vol, unsigned n_slots);
void vnode_slots_abandon(struct volume *vol);
/* They become the ones in force. Of the old ones, those of layers that stay are taken over: KEPT says for every new slot which
 * one it was, or -1. The others are released through their layers. */
void vnode_slots_renew(struct volume *vol, const int *kept, unsigned n_slots);
/* Calls FN for every inode there is, until it says false. Inodes must not come or go meanwhile. */
bool vnode_each(struct volume *vol, bool (*fn)(struct vnode *i, void *arg), void *arg);
