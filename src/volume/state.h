/* Inside the volume layer: what volume.c, graph.c and vnode.c share. */
#pragma once

#include "volume/volume.h"

struct vnode_table {
        struct vnode **buckets;
        uint32_t n_buckets; /* a power of two */
        uint32_t linked;    /* in the table */
        uint32_t idle;      /* of them, those in the list */
        struct vnode *oldest, *newest; /* idle ones */
};

/* A fibre that waits for a change of some sub-volume's state. */
struct state_waiter {
        struct fibre_event changed;
        struct state_waiter *next;
};

struct volume {
        struct volume_config config; /* its strings are the volume's own */
        struct volfile *volfile;     /* a copy: names of sub-volumes live here */
        struct volfile *current;     /* what was reloaded last; NULL: the same */
        struct subvolume *top;       /* NULL before the graph stands */
        struct subvolume **by_slot;
        unsigned n_slots;
        uint32_t graph;              /* counts the graphs that the volume has had */
        bool utime;                  /* the volfile has features/utime: operations say which times they change */
        bool atime;                  /* reading is among them */
        struct vnode_table inodes;
        struct state_waiter *waiters;
        bool closing;
};

/* Something became up or down, or will never be up: those who wait look again. */
void volume_state_changed(struct volume *vol);

int vnode_table_init(struct vnode_table *t, uint32_t vnodes_max);
/* Drops idle inodes. Those still referred to are an error of the program: logged, and counted in the result. */
unsigned vnode_table_done(struct volume *vol);
