/* Lending open files to clients on this machine (proto/local_read.h, decision 006). */
#pragma once

#include "brick/internal.h"

/* OP is a READ of IO that was done. If it asks for that, the client gets a descriptor to read by itself: of a regular file
 * that it has open for reading, while the brick need not see every READ. If not, it simply goes on asking. */
void local_read_lend(struct op *op, const struct io_fd *io);
