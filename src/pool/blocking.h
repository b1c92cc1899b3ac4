/* Work that may block — disks, name resolution — done on a thread of its own while the fibre that wants it waits.
 *
 * One thread, first come first served: what runs there never runs twice at a time.
 */
#pragma once

#include "base/fibre.h"

struct blocking;

int blocking_new(struct loop *loop, struct blocking **ret);
/* Waits for the job that is running. No fibre may be waiting. */
struct blocking *blocking_free(struct blocking *b);
DEFINE_CLEANUP(struct blocking *, blocking_free)

/* Runs fn(arg) on the thread and returns when it is done. Loop thread. */
void blocking_run(struct fibre *self, struct blocking *b, void (*fn)(void *arg), void *arg);
