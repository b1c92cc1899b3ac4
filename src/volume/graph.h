/* Inside the volume layer: from a volfile to sub-volumes (graph.c has the table of translators).
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/state.h"

#define GRAPH_DEPTH_MAX 16
#define GRAPH_SUBVOLUMES_MAX 16384 /* layers that are built */

/* Builds the graph of VOL's volfile: top, slots, what is noted. Nothing is started. On failure nothing is left.
 * -EOPNOTSUPP: something this client does not have; -EINVAL: a graph that cannot be; -ENOMEM. With a sentence. */
int graph_build(struct volume *vol, struct error *err);
void graph_free(struct volume *vol);
/* Hands the changed options of VOLFILE to the layers. -EOPNOTSUPP: it describes another graph. */
int graph_reconfigure(struct volume *vol, const struct volfile *volfile, struct error *err);

/* Whether sections of TYPE are built, passed by or noted. */
bool graph_knows(const char *type);
