/* Two processes at the beginning: the one that was called waits until the other serves the mount, or says why not.
 *
 * Thread: the only one there is; none may have been started before.
 */
#pragma once

#include "base/error.h"

struct daemon {
        int report; /* where the child tells how it went; -EBADF in the foreground, and when it has told */
        int alive;  /* held open as long as the process lives; -EBADF: nobody watches */
};

/* In the child: 0, and *ret is filled. In the parent it does not return: it exits 0 when the child says that the mount
 * stands, else prints what it says, or that it said nothing for TIMEOUT ns, and exits with the status. PATH is then
 * unmounted if need be. -errno: there is no child. */
int daemon_start(const char *path, uint64_t timeout, struct daemon *ret, struct error *err);
/* Tells the parent: exit with STATUS after printing TEXT (NULL: nothing). */
void daemon_report(struct daemon *d, int status, const char *text);
/* Standard streams become /dev/null. */
void daemon_close_standard(void);

/* A process that unmounts PATH when this one has ended without doing it (option auto_unmount). */
int daemon_watch(const char *path, struct daemon *d, struct error *err);
/* The mount stands: what is mounted at PATH now is meant. */
void daemon_watch_this(struct daemon *d, const char *path);
