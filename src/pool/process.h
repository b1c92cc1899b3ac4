/* A brick process as the operating system sees it: started, found again, ended. No waiting, no protocol.
 *
 * The name of a process is its control socket RUN_DIR/brick-NUMBER.sock, which stands in its argument vector: so it can
 * be recognised after a restart of mortard, and a pid that was given to another program is never mistaken for it.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

#define PROCESS_NUMBER_MAX 65535u

struct process_config {
        const char *program;   /* path of mortar-brick */
        const char *run_dir;   /* control sockets */
        const char *log_dir;   /* standard error goes to LOG_DIR/brick-NUMBER.log */
        const char *ports;     /* "A-B" */
        const char *log_level; /* as mortar-brick's option */
        unsigned drain_seconds;
};

/* RUN_DIR/brick-NUMBER.sock; -ENAMETOOLONG when it does not fit a socket address. */
int process_socket(const struct process_config *c, unsigned number, char *ret, size_t size);

/* Starts one in a session of its own, with nothing inherited but /dev/null and the log. With a sentence. */
int process_spawn(const struct process_config *c, unsigned number, pid_t *ret, struct error *e);

/* PID is alive and its argument vector names this socket. */
bool process_is_alive(const struct process_config *c, unsigned number, pid_t pid);

/* Calls fn for every brick process of this RUN_DIR that is alive. */
int process_each(const struct process_config *c, void (*fn)(void *arg, unsigned number, pid_t pid), void *arg);

/* Sends SIGNAL, if it is still this process. */
void process_signal(const struct process_config *c, unsigned number, pid_t pid, int signal);

/* ---- any daemon of ours with "--control SOCKET" in its argument vector ------------------------------------------- */

/* Starts PROGRAM in a session of its own, with nothing inherited but /dev/null and LOG, which is appended to. -errno. */
int process_launch(const char *program, char *const *argv, const char *log, pid_t *ret);
/* PID is alive and its argument vector names this socket. */
bool process_controls(pid_t pid, const char *socket);
/* The process whose argument vector does; 0: none. */
pid_t process_with_control(const char *socket);
