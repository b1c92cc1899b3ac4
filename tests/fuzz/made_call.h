/* Calls of the fop program made of a few bytes, for fuzzing a brick behind its decoders.
 *
 * A call is a block of CALL_BLOCK bytes: which procedure (or which recorded call to start from), who asks, and one byte or
 * more per field that chooses a value: gfids and descriptors that exist or do not, names and attributes that mean
 * something to a brick, limits of numbers, or raw bytes. So almost any block becomes a call that is decoded, and changing a
 * byte changes one field.
 */
#pragma once

#include "proto/fop.h"
#include "rpc/header.h"

#define CALL_BLOCK 64
#define KNOWN_GFIDS 32
#define KNOWN_FDS 16

/* What answers have told so far. */
struct knowledge {
        struct gfid gfids[KNOWN_GFIDS];
        uint32_t gfid_count; /* ever learned: the newest are kept */
        int64_t fds[KNOWN_FDS];
        uint32_t fd_count;
};

void knowledge_begin(struct knowledge *k);
void knowledge_gfid(struct knowledge *k, const struct gfid *g);
void knowledge_fd(struct knowledge *k, int64_t fd);

/* The recorded calls of DIRECTORY (tests/data/wire); aborts if there are none. */
void recorded_calls_load(const char *directory);

/* Makes the call that BLOCK stands for; its arguments and all they point to are in ARENA. False: it is none (a message that
 * cannot be encoded). */
bool made_call(const uint8_t block[CALL_BLOCK], const struct knowledge *k, struct arena *a, struct rpc_call *ret);
