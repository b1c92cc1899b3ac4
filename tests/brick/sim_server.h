/* One node of a simulated cluster that serves a brick: the shipping rpc server, sessions and brick on a simulated loop,
 * network and disk. It can die at any effect on its disk, and come back.
 */
#pragma once

#include "harness.h"
#include "base/sim.h"
#include "rpc/server.h"

#define SIM_SERVER_PORT 49152
#define SIM_SERVER_PATH "/brick"

struct sim_server {
        struct sim *sim;
        struct sim_node *node;
        struct sim_disk *disk;
        struct gfid volume_id;
        struct brick *brick; /* NULL while the node is down */
        struct rpc_server *server;
        bool doomed; /* the disk will stop at some effect, or has */
        bool dead;
        unsigned crashes, power_cuts, calls;
};

/* A node named NAME with an empty brick, serving. */
void sim_server_init(struct sim_server *s, struct sim *sim, const char *name, uint64_t seed);
void sim_server_done(struct sim_server *s);
/* All that is on the disk is durable. */
void sim_server_sync(struct sim_server *s);
/* Serves again after a crash or a stop. */
void sim_server_start(struct sim_server *s);
/* An orderly end: sessions and brick are closed. Nothing may be left: no lock, no descriptor. */
void sim_server_stop(struct sim_server *s);
/* The node dies between two events. */
void sim_server_crash(struct sim_server *s, bool power);
/* The disk stops after N further effects: nothing is answered from then on, and the node is to be crashed. 0: not so.
 */
void sim_server_doom(struct sim_server *s, uint64_t n);
bool sim_server_is_dead(const struct sim_server *s);
/* Sessions of the client node at PEER. */
unsigned sim_server_sessions(struct sim_server *s, const struct address *peer);
