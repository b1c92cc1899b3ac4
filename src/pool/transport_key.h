/* Which bricks may share a process: one process has one certificate and one set of TLS rules. */
#pragma once

#include "base/util.h"

/* A number made of the TLS files and rules in a brick's volfile; 0: the brick is without TLS and goes with any. */
uint64_t transport_key(const char *volfile);
