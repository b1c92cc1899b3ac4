/* Taking a brick out of service without leaving its clients in the middle of something (design: graceful stop).
 *
 *   1. no new clients; new inode and entry locks are refused, their holders are told that others wait for them
 *   2. wait until none is held: clients have finished their transactions, marks are off
 *   3. nothing more is read from clients; wait until what runs is answered and sent
 *   4. export_detach()
 *
 * After drain_limit seconds (process_config) the next step comes in any case. Control loop only.
 */
#pragma once

#include "brick/server.h"

struct drain;

/* Steps 1 and 2; X goes on with 3 when drain_detach() is called, by itself at the limit. So several bricks, on which
 * clients hold locks together, can be drained at the same time. Does nothing when it is under way, or X is not up. */
void drain_start(struct export *x);
/* All steps. DONE (may be NULL) is called when the storage of X is closed. */
void drain_detach(struct export *x, export_done_fn done, void *arg);
/* X is detached, however that came about. */
struct drain *drain_free(struct drain *d);
