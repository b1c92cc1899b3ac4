/* `brick restart`: brick processes replaced by new ones, for an upgrade of the program. Loop thread, in a fibre. */
#pragma once

#include "pool/pool.h"

/* Renews the processes that serve the bricks NAMES (["HOST:/path"…]; NULL: all of this node), one after the other.
 * *ret: [{"name", "old_pid", "pid", "port"}…] of all bricks concerned. On failure the reason says where it stopped; no
 * brick is left without a process. */
int renew_bricks(struct fibre *self, struct pool *p, const json_t *names, json_t **ret, struct error *e);
