/* The mount process after the command line: from the volfile to the unmount. */
#pragma once

#include "mount/daemon.h"
#include "mount/options.h"

/* Serves the mount at PATH (a real path) until it is unmounted or a signal ends it. Tells D when the mount stands, or
 * why it does not. Returns the exit status. Called once, from main. */
int process_run(const struct mount_options *o, const char *path, struct daemon *d);
