/* A decoded record as text, in the words of the vectors' README.md: one line per field. For tests. */
#pragma once

#include "proto/message.h"
#include "rpc/header.h"

/* Each appends one line per field, with '\n'. The reply line names the procedure that was called. */
void dump_call(const struct rpc_call *call, struct buf *out);
void dump_reply(const struct rpc_reply *reply, const struct rpc_call *to, struct buf *out);
void dump_message(const struct msg_desc *d, const void *msg, struct buf *out);
