/* An operation of a client on its way through the brick: what calls of their own and steps of chains share. */
#pragma once

#include "brick/internal.h"

/* The descriptor of procedure PROC; NULL: there is no such operation here. */
const struct fop_desc *dispatch_desc(uint32_t proc);
/* Squashes the caller, reads the request's xdata, calls the handler: its result. */
int dispatch_perform(struct op *op, void *req, void *rep);
/* Makes REP the answer: with the result R (not OP_PARKED) and OP's reply xdata. */
void dispatch_complete(struct op *op, const struct fop_desc *desc, void *rep, int r);
/* Whether a message whose decoding ended with R was well-formed, and holds what no request may. */
bool dispatch_is_soft(int r);

void dispatch_send_status(struct session *s, uint32_t xid, enum rpc_status status);
/* PAYLOAD: bytes that follow the message, NULL for none. HELD_BACK: not before the barrier is down. -errno: nothing was
 * sent. */
int dispatch_send(struct session *s, uint32_t xid, const struct msg_desc *desc, const void *rep,
                  const struct slice *payload, bool held_back);
/* A call of the fop program, CALL, once more from its beginning. */
void dispatch_again(struct session *s, const struct rpc_call *call, struct arena *arena);
