/* The log file of a mount. One per process (base/log.h): opened from main, opened again on SIGHUP. */
#pragma once

#include "mount/options.h"

/* Directs the log where O says; PATH is the mount point, after which the default file is named. A file that cannot be
 * opened is said on standard error, and the log goes there. */
void log_file_open(const struct mount_options *o, const char *path);
/* The file was moved away: a new one is begun. */
void log_file_reopen(void);
