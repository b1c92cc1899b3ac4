/* What the supervisor's files share: its processes, their bricks, and the state of both (pool/supervisor.h).
 *
 * A `served` is a brick that is wanted or still attached; it belongs to one process. Each process has a keeper: a fibre
 * that compares wanted with attached, does the next thing about it, and sleeps until it is kicked or a pause is over.
 * All calls to a process that change something are made by its keeper, so they never overlap. Commands only change what
 * is wanted and wait for `settled`.
 *
 * Invariants: a process that may be alive is never started a second time (two processes on one brick would each grant
 * the same locks): before a start its predecessor is gone from /proc. A served brick is freed by its keeper when nobody
 * waits (`orphan`), else by the command that unwanted it. Loop thread only.
 */
#pragma once

#include "brick/control.h"
#include "pool/supervisor.h"
#include "rpc/client.h"

#define SUPERVISOR_COMPONENT "bricks" /* in the log */
#define CONNECT_POLL (20 * NS_PER_MSEC)
#define ANSWER_MAX (64 * MIB)

struct served {
        char *path;
        char *volfile;
        uint64_t key; /* transport_key() of it */
        struct process *process;
        bool wanted;
        bool attached;           /* served by the process, as far as we know */
        bool down;               /* … but its storage failed: it is attached again after a pause */
        bool current;            /* with this volfile text */
        bool busy;               /* the keeper is attaching it */
        bool orphan;             /* unwanted, and nobody waits any more */
        bool draining;           /* the process was told that a detach will follow */
        struct process *move_to; /* it is to be served there */
        unsigned failures;       /* refused attaches and failures of the storage in a row */
        uint64_t not_before;     /* of the next attach */
        uint64_t up_since;
        struct error why;        /* of the last refusal */
        struct fibre_event settled;
        struct served *next;
};

struct process {
        struct supervisor *supervisor;
        unsigned number;
        pid_t pid;  /* 0: none */
        bool child; /* started by this mortard: it is alive until it is reaped */
        int port;
        struct rpc_client *client;
        bool lost;        /* the connection broke */
        bool news;        /* it said that the state of a brick changed */
        bool kept;        /* its keeper runs */
        unsigned foreign; /* bricks it serves that are left alone: see supervisor_config.keep */
        bool ending;      /* takes no more bricks */
        unsigned holds;   /* it stays although it may have no bricks: a renewal works on it */
        unsigned failures;
        uint64_t not_before; /* of the next start */
        uint64_t up_since;
        struct fibre_event kick;
        struct process *next;
};

struct supervisor {
        struct loop *loop;
        struct supervisor_config config;
        struct process *processes;
        struct served *bricks;
        struct fibre_group finding;
        bool begun;
};

/* ---- bricks and processes as data (supervisor_process.c) ------------------------------------------------------------- */

/* NULL: none. */
struct served *served_find(const struct supervisor *s, const char *path);
/* In the list, without a process; NULL: no memory. */
struct served *served_new(struct supervisor *s, const char *path);
void served_free(struct supervisor *s, struct served *b);
/* Whoever waits for B looks again. */
void served_settle(struct served *b);
/* One more failure of B: the next try comes after a pause, which grows until the brick was up for a while. */
void served_failed(struct served *b, uint64_t now, const struct error *why);

/* How many bricks belong to it, and how often it is held. */
unsigned process_load(const struct process *p);
struct process *process_by_number(const struct supervisor *s, unsigned number);
/* In the list; NULL: no memory. */
struct process *process_new(struct supervisor *s, unsigned number, pid_t pid);
void process_free(struct process *p);
/* Its keeper looks for something to do. */
void process_kick(struct process *p);
bool process_alive(const struct process *p);
unsigned free_number(const struct supervisor *s);

/* ---- speaking with one process (supervisor_process.c) ---------------------------------------------------------------- */

/* Connects to the control socket, trying while the process lives. -ESRCH: it ended. */
int process_connect(struct fibre *self, struct process *p);
int process_call(struct fibre *self, struct process *p, uint32_t proc, const struct msg_desc *req_desc,
                 const void *req, const struct msg_desc *rep_desc, void *rep, struct arena *a);
/* Asks what the process serves; ONLY_STATE: what has become of that. */
int process_ask(struct fibre *self, struct process *p, bool only_state);
/* Starts it if it is not alive, connects, asks. */
int process_up(struct fibre *self, struct process *p, struct error *e);
/* The connection is given up: nothing is known to be attached. */
void process_drop(struct process *p);
/* A start or connection failed, or the process ended: the next try comes after a pause. */
void process_failed(struct process *p, const struct error *why);
/* Waits until the process is gone; true when it is. */
bool process_gone(struct fibre *self, struct process *p, uint64_t patience);
/* Ends a process that cannot be spoken to: it could not be told to let go of its bricks. */
void process_kill(struct fibre *self, struct process *p);
/* Tells it to end, and makes sure. */
void process_end(struct fibre *self, struct process *p);

/* ---- keepers (supervisor.c) --------------------------------------------------------------------------------------- */

int keeper_start(struct process *p);
/* What is left until loop time DEADLINE, ns. */
uint64_t until(const struct supervisor *s, uint64_t deadline);
