/* Host names to addresses, without holding up the loop: a thread asks the resolver. */
#pragma once

#include "base/error.h"
#include "base/fibre.h"

#define RESOLVE_MAX 8 /* addresses of a host that are tried */

/* HOST is a name or a numeric address, FAMILY an AF_*. 0 and *RET_N > 0 addresses with PORT; -ENOENT, -EAGAIN, … with a
 * sentence; -ECANCELED when *CANCELLED (may be NULL) has become true. */
int resolve_host(struct fibre *self, const char *host, uint16_t port, int family, const bool *cancelled,
                 struct address ret[static RESOLVE_MAX], unsigned *ret_n, struct error *err);
