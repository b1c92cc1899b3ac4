/* What mortard can be told, on the command line and in its configuration file: one table. */
#pragma once

#include "base/error.h"

#define CONFIG_FILE_DEFAULT "/etc/mortar/mortard.conf"
#define CONFIG_VALUE_MAX 1024

/* C(field, "name", "default", "argument", "help") */
#define CONFIG_SETTINGS(C)                                                                                             \
        C(state_dir, "state-dir", "/var/lib/mortar", "DIR", "where volumes are recorded")                              \
        C(run_dir, "run-dir", "/run/mortar", "DIR", "where sockets are")                                               \
        C(log_dir, "log-dir", "/var/log/mortar", "DIR", "where brick processes write their logs")                      \
        C(listen, "listen", "*:24007", "ADDRESS", "where clients ask for volfiles and ports")                          \
        C(secure_access_file, "secure-access-file", "/var/lib/glusterd/secure-access", "FILE",                         \
          "clients must speak TLS at --listen if this file exists")                                                    \
        C(bricks_per_process, "bricks-per-process", "0", "N", "bricks of one brick process; 0: all in one")            \
        C(brick_ports, "brick-ports", "49152-60999", "A-B", "TCP ports of brick processes")                            \
        C(drain_seconds, "drain-seconds", "10", "N", "time that clients get to finish when a brick is stopped")        \
        C(brick_program, "brick-program", "", "PATH", "mortar-brick; empty: beside mortard, else in PATH")             \
        C(heal_program, "heal-program", "", "PATH",                                                                    \
          "mortar-heal; empty: beside mortard, else in PATH; none: volumes are not healed from here")                  \
        C(hostname, "hostname", "", "NAME", "name of this node; empty: the system's host name")                        \
        C(log_level, "log-level", "info", "LEVEL", "error, warning, notice, info or debug")

#define CONFIG_MEMBER_(field, name, value, argument, help) char field[CONFIG_VALUE_MAX];
struct config {
        CONFIG_SETTINGS(CONFIG_MEMBER_)
        char file[CONFIG_VALUE_MAX];
        bool check;   /* validate and end */
        int ready_fd; /* -EBADF, or where a line is written when mortard serves */
        unsigned bricks_per_process_number, drain_seconds_number;
        int log_level_number;
};

enum config_result { CONFIG_RUN, CONFIG_DONE /* --help, --version: printed */ };

/* Defaults, then the file (which may be absent unless --config names it), then the command line; then checks values and
 * fills in what is derived. 0 and *ret_result, or -errno with a sentence. */
int config_load(struct config *c, int argc, char **argv, enum config_result *ret_result, struct error *e);
