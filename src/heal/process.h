/* The heal process: one loop, one fibre that opens the volume, does what the command line says, and closes it. */
#pragma once

#include "heal/options.h"

/* Exit status: 0 done, 1 something is left to be healed, 2 error (it was said on standard error). */
int heal_process_run(const struct heal_options *o);
