/* A line to a unix socket, and what comes back until the other end closes: how a heal daemon is asked. */
#pragma once

#include "base/buf.h"
#include "base/fibre.h"

/* Sends LINE, which ends with a newline, to the socket at PATH and appends the answer to OUT, within TIMEOUT ns. -ECONNREFUSED,
 * -ENOENT: nobody listens; -ETIMEDOUT, -EPIPE, -E2BIG, others. */
int line_ask(struct fibre *self, const char *path, const char *line, uint64_t timeout, struct buf *out);
