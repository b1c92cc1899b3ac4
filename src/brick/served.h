/* Who serves a brick directory on this machine? For programs that want to change it from below.
 *
 * mortar-brick holds a flock(2) on the directory; stock brick processes do not, but keep the directory open, and say its
 * path on their command line. Processes in other containers are seen only by the lock. Any thread; blocks for as long as
 * reading /proc takes.
 */
#pragma once

#include "base/error.h"

struct served {
        bool yes;
        int pid;         /* 0: not known */
        char program[32];
};

/* Looks, and leaves no trace. -errno: PATH cannot be opened or /proc not be read. */
int served_by(const char *path, struct served *ret, struct error *e);

/* The lock that a brick process holds: while *RET_FD is open, none of ours starts on PATH. -EBUSY: one has it. On a file
 * system without locks it is as if nobody had it. */
int served_claim(const char *path, int *ret_fd, struct error *e);
