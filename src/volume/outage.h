/* Waiting through an outage: operations that find nobody to serve them wait a while instead of failing (volume_config's
 * outage_wait), unless their caller gives up.
 *
 * Who waits is who knows that nothing was done yet: a brick without a replica set above it, a replica set that has no
 * quorum when an operation begins. Thread: the loop's.
 */
#pragma once

#include "volume/subvolume.h"

/* Until when an operation that begins now may wait, in loop time. */
uint64_t outage_deadline(const struct subvolume *v);
/* Waits until V is up: 0. -ENOTCONN: it is not at DEADLINE, or the volume is being closed; -EINTR: R was cancelled. */
int outage_wait(struct fibre *self, struct subvolume *v, const struct request *r, uint64_t deadline);

static inline bool request_cancelled(const struct request *r)
{
        return r && ((r->cancel && r->cancel->done) || (r->give_up && *r->give_up));
}
