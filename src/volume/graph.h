/* Inside the volume layer: from a volfile to sub-volumes (graph.c has the table of translators).
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/state.h"

#define GRAPH_DEPTH_MAX 16
#define GRAPH_SUBVOLUMES_MAX 16384 /* layers that are built */

/* A graph that is not in force: its layers know their children, and nobody above them. */
struct graph {
        struct subvolume **by_slot; /* the top first */
        const struct volfile_section **sections; /* of each */
        unsigned n_slots;
        bool utime, atime;
};

/* Builds that of VOLFILE, which is to live as long as the graph. Bricks of the graph in force are taken into it as they are.
 * Nothing is started. On failure nothing is left. -EOPNOTSUPP: something this client does not have; -EINVAL: a graph that
 * cannot be; -ENOMEM. With a sentence. */
int graph_build(struct volume *vol, const struct volfile *volfile, struct graph *ret, struct error *err);
/* G becomes the graph in force: top, slots, what is noted. The layers of the former one are the caller's. */
void graph_install(struct volume *vol, struct graph *g);
void graph_free_layer(struct subvolume *v);
void graph_free(struct volume *vol);
/* Hands the changed options of VOLFILE to the layers. -EOPNOTSUPP: it describes another graph. On failure nothing has
 * changed. */
int graph_reconfigure(struct volume *vol, const struct volfile *volfile, struct error *err);

/* Whether sections of TYPE are built, passed by or noted. */
bool graph_knows(const char *type);
