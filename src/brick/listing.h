/* What READDIR does, for directories that are not objects of the volume (readdir.c). */
#pragma once

#include "brick/internal.h"

/* Names of IO's directory from OFFSET on, as brick.md §8.19 has it, but for those HIDDEN says. *RET_EOF: the last one is
 * among them. */
int list_names_of(struct op *op, struct io_fd *io, uint64_t offset, uint32_t size,
                  bool (*hidden)(void *arg, const char *name), void *arg, struct dirent_list *ret, bool *ret_eof);
