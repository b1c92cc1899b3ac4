/* Walks the leaves of a message: changes one of them, or fills all with random values. For tests. */
#pragma once

#include "proto/message.h"

/* Changes leaf number K of MSG (a byte of a string, a scalar, a key, an entry more or less …); new bytes live in A.
 * NULL when there are not that many leaves, else the name of the field. */
const char *walk_change(const struct msg_desc *d, void *msg, unsigned k, struct arena *a);

/* A valid random message. STATE is any number; it changes. */
void walk_fill(const struct msg_desc *d, void *msg, uint64_t *state, struct arena *a);
uint64_t walk_random(uint64_t *state, uint64_t bound);

/* All descriptors: N-th of file operations (calls and replies) and small programs; NULL behind the last. */
const struct msg_desc *walk_desc(unsigned n);
