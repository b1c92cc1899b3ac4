/* The heal daemon of this node: one mortar-heal for all started replicate volumes that have a brick here (as stock's
 * self-heal daemon). Kept running while there is such a volume, told which volumes they are, started again with growing
 * pauses when it died, and ended when there is none. Ending mortard does not touch it: the next one finds it by its control
 * socket, RUN_DIR/heal.sock, which stands in its argument vector.
 *
 * Everything on the loop thread.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/fibre.h"
#include "pool/blocking.h"

struct heal_keeper;

struct heal_keeper_config {
        const char *program; /* path of mortar-heal; "": none is kept */
        const char *run_dir, *log_dir, *state_dir;
        const char *server;    /* where mortard serves volfiles: "HOST:PORT" */
        const char *node_uuid; /* bricks that say this are of this node */
        const char *log_level;
        struct blocking *worker; /* starts the process */
};

/* The strings of CONFIG are kept by reference. Never freed, like the supervisor. -ENOMEM, -ENAMETOOLONG. */
int heal_keeper_new(struct loop *loop, const struct heal_keeper_config *config, struct heal_keeper **ret);
/* Looks for a daemon that runs already, and begins. Once, after the first heal_keeper_want(). */
int heal_keeper_begin(struct heal_keeper *k);

/* Whether VOLUME is to be healed from now on; returns at once. -ENOMEM. */
int heal_keeper_want(struct heal_keeper *k, const char *volume, bool wanted);
/* Not any more; returns when the daemon has let go of it, or at loop time DEADLINE. */
void heal_keeper_stop(struct fibre *self, struct heal_keeper *k, const char *volume, uint64_t deadline);

struct heal_daemon_state {
        bool wanted, online; /* for the volume */
        pid_t pid;           /* 0 while offline */
        const char *error;   /* why it is offline, "" if that is not known; valid until the next wait */
};
void heal_keeper_state(const struct heal_keeper *k, const char *volume, struct heal_daemon_state *ret);

/* What the daemon answers to WORD (heal, full, status) about VOLUME: a JSON object, or NULL for "ok". With a sentence. */
int heal_keeper_ask(struct fibre *self, struct heal_keeper *k, const char *word, const char *volume, json_t **ret,
                    struct error *e);

/* A child of ours ended (SIGCHLD). */
void heal_keeper_reaped(struct heal_keeper *k, pid_t pid, int wait_status);
