/* The brick processes of this node: kept running, told what to serve (spec: design §4, wire.md §5.2).
 *
 * The caller says which bricks are wanted; a fibre per process brings about what is wanted: starts the process,
 * attaches and detaches, starts it again with growing pauses when it died, and ends it when it has nothing to serve.
 * Nothing here touches a brick that is served as it should be, and ending mortard does not touch the processes.
 *
 * Everything on the loop thread.
 */
#pragma once

#include "base/buf.h"
#include "base/fibre.h"
#include "pool/blocking.h"
#include "pool/process.h"

#define SUPERVISOR_PATIENCE (30 * NS_PER_SEC) /* how long a command waits for its bricks */

struct supervisor;

struct supervisor_config {
        struct process_config process;
        struct blocking *worker;     /* starts processes: posix_spawn(3) waits until the program is loaded */
        unsigned bricks_per_process; /* 0: all in one */
        /* Whether a brick that is found served and was not wanted is left alone (there is no record of its volume that
         * can be read, so nobody knows). May be NULL. */
        bool (*keep)(void *arg, const char *volume);
        void *arg;
};

/* The strings of CONFIG are kept by reference. A supervisor is never freed: mortard ends as if it were killed, and the
 * processes stay. */
int supervisor_new(struct loop *loop, const struct supervisor_config *config, struct supervisor **ret);

/* Looks for processes that run already, asks them what they serve, detaches what was not wanted until then and starts
 * what is missing. Call once, after the first supervisor_want() calls; goes on in fibres of its own. */
int supervisor_begin(struct supervisor *s);

/* The brick PATH shall be served by this volfile text from now on; returns at once. Again with another text:
 * reconfigured. -ENOMEM. */
int supervisor_want(struct supervisor *s, const char *path, const char *volfile);
/* Waits until the brick is served (0), or was tried and refused (its reason), or loop time DEADLINE (-ETIMEDOUT). */
int supervisor_wait(struct fibre *self, struct supervisor *s, const char *path, uint64_t deadline, struct error *e);
/* Not any more, returns at once: supervisor_unwant() is to follow. Several that are released before the first wait are
 * drained together. */
void supervisor_release(struct supervisor *s, const char *path);
/* Not any more. Returns when it is detached, or the process is gone, or at DEADLINE (-ETIMEDOUT). */
int supervisor_unwant(struct fibre *self, struct supervisor *s, const char *path, uint64_t deadline);

/* Replaces the process that serves PATH by a new one of the program as it is now, and moves all bricks of the old one
 * to it, one at a time: drained, detached, attached. After those for which CAREFUL says so, waits until their clients
 * are back (a bounded time). On failure every brick is served by the old or by the new process, as far as either can.
 * No other change of wanted bricks meanwhile. */
int supervisor_renew(struct fibre *self, struct supervisor *s, const char *path,
                     bool (*careful)(void *arg, const char *path), void *arg, struct error *e);

struct brick_state {
        bool online;
        int port;          /* 0 while offline */
        pid_t pid;         /* 0 while offline */
        const char *error; /* why it is offline, "" if that is not known; valid until the next wait */
};
/* -ENOENT: not wanted. */
int supervisor_state(const struct supervisor *s, const char *path, struct brick_state *ret);

/* The control sockets of the processes that are there: their number, and *RET (for the caller to free; NULL for none), or
 * -ENOMEM. */
struct supervisor_socket {
        char path[256];
};
int supervisor_sockets(const struct supervisor *s, struct supervisor_socket **ret);

/* A child of ours ended (SIGCHLD). */
void supervisor_reaped(struct supervisor *s, pid_t pid, int wait_status);
