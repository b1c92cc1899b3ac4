/* Inside the volume layer: what every operation passes on its way to the graph in force, so that another graph can take
 * its place while nothing is under way (replace.c).
 *
 * While the gate is shut operations wait in front of it; those that are below end. Requests for POSIX locks that wait for
 * somebody else are called back, and asked again of the graph that is there then. What is below a vfile that cannot be
 * used any more is not asked: `vfile.error`. The POSIX locks of open files are remembered.
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/state.h"

/* -ENOMEM. Sets VOL's gate and entry. */
int gate_new(struct volume *vol);
void gate_free(struct volume *vol);
/* Shuts it, and waits at most TIMEOUT ns until nothing is below. -EBUSY: something is; the gate is open again. */
int gate_stop(struct fibre *self, struct volume *vol, uint64_t timeout);
void gate_go(struct volume *vol);
