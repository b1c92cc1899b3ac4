/* Chains of operations, as a brick serves them (proto/chain.h, docs/formats/chain.md). */
#pragma once

#include "brick/internal.h"
#include "proto/chain.h"

struct chain_run;

/* Serves a call of the chain program: the answer is sent now, or when the locks that steps wait for are granted. */
void chain_serve(struct session *s, const struct rpc_call *call, struct arena *arena);
/* What session_call_is_slow() and session_call_answer_size() say about such a call. */
bool chain_is_slow(const struct rpc_call *call);
uint32_t chain_answer_size(const struct rpc_call *call);

/* The step OP of RUN, a lock request, is about to wait: what goes on afterwards, to be handed to the session then (or
 * forgotten). NULL: no memory, or too much of this client waits. */
struct parked_call *chain_wait_new(struct op *op);
/* How the waiting ended: 0, or -errno. */
void chain_wait_over(struct parked_call *p, int error);
