/* A client of a simulated brick: a fibre that works at random in a directory of its own, checks each answer against the
 * model, and after a fault what is left against all that may be left.
 */
#pragma once

#include "sim_model.h"
#include "sim_server.h"
#include "rpc/client.h"

#define SIM_CLIENT_FDS 3

struct sim_client {
        struct sim *sim;
        struct sim_node *node;
        struct sim_server *server;
        struct address self, to;
        unsigned number;
        char dir_name[8];          /* of its directory in the root */
        struct sim_client *others; /* all of the test */
        unsigned n_others;

        struct rpc_client *rpc;
        bool gone;   /* the connection was lost */
        bool unsure; /* the model has to be compared with what is there */
        unsigned crashes_seen, power_cuts_seen;
        struct arena arena;
        struct model model;
        struct model_seen *seen; /* what a look found so far; not on the fibre's stack, which may be lost */
        struct {
                uint8_t object; /* MODEL_NONE: free */
                int64_t number;
        } fds[SIM_CLIENT_FDS];
        bool holds_lock;
        uint32_t next_gfid, next_tag, ticks;

        bool pause, idle;        /* asked to rest; does, disconnected and sure */
        unsigned changes, looks; /* done so far */
};

void sim_client_init(struct sim_client *c, struct sim *sim, unsigned number, struct sim_server *server,
                     const char *server_name);
/* The directory of C, put on the server's disk as a file system tool would. */
void sim_client_make_dir(struct sim_client *c);
/* Starts to work, also after a crash of the node. */
void sim_client_start(struct sim_client *c);
/* The node dies, and is back at once. Not while it connects: a connection that only the dying fibre knows cannot be
 * freed. */
void sim_client_crash(struct sim_client *c);
void sim_client_done(struct sim_client *c);
