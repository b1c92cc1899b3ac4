/* A whole cluster in one process, for tests of the client: bricks as they ship (rpc server, sessions, brick) on
 * simulated disks, network and time, and clients as they ship (volume_open() on a volfile).
 *
 *      struct world w;
 *      world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 7});
 *      world_run(&w, 0, make_a_file, NULL);            a function on a fibre of client 0, to its end
 *      world_brick_crash(&w.bricks[1], true);          ... while world_start()ed ones go on
 *      assert_true(world_exists(&w.bricks[0], "/file"));
 *      world_close(&w);                                checks that nothing is left: no lock, descriptor or session
 *
 * Each brick has a node of its own, with a management daemon that knows its port; the port changes at every start.
 * Equal seeds give equal runs. Everything aborts the test on unexpected failures.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/disk.h"
#include "base/fibre.h"
#include "base/sim.h"
#include "base/sim_disk.h"
#include "brick/brick.h"
#include "proto/fop.h"
#include "rpc/server.h"
#include "volume/volume.h"

#define WORLD_BRICKS_MAX 6
#define WORLD_CLIENTS_MAX 4
#define WORLD_BRICK_PATH "/brick" /* on the disk of its node */
#define WORLD_VOLUME "vol"
#define WORLD_PATIENCE (600 * NS_PER_SEC) /* virtual time after which a run has got stuck */

enum world_layout { WORLD_ONE, WORLD_DIST2, WORLD_DIST4, WORLD_REP3, WORLD_ARBITER, WORLD_2X3 };

struct world_config {
        enum world_layout layout;
        unsigned clients; /* 0: one */
        uint64_t seed;
        uint64_t outage_wait; /* ns, of the clients */
        const char *subdir;   /* of the clients */
        int32_t pid;          /* of the clients, see volume_config */
        /* More lines for sections: "    option quorum-type auto\n". NULL: none. */
        const char *client_options, *replicate_options, *distribute_options;
        const char *on_top; /* whole sections above; the text "%s" in it is the name of what is below */
        bool no_utime;
        bool cache_invalidation; /* of the bricks: features.cache-invalidation */
        bool no_chain;           /* bricks do not know the chain program, as stock's */
        bool distribute_one;     /* WORLD_ONE and WORLD_REP3 with a distribute layer above, as stock volfiles have it */
        unsigned first_bricks;   /* the volume begins with so many of them; 0: all */
        unsigned first_copies;   /* of replica sets at the beginning; 0: 3 */
        bool unmounted;          /* world_open() does not mount the clients */
        void (*on_event)(struct volume *vol, const struct subvolume_event *e, void *arg);
        void *event_arg;
};

struct world;

struct world_brick {
        struct world *world;
        unsigned index;
        char name[16], address[32];
        struct sim_node *node;
        struct sim_disk *disk;
        struct brick *brick; /* NULL: down */
        struct rpc_server *server, *management;
        uint16_t port;
        unsigned starts, crashes;
        bool arbiter;
        bool doomed; /* the disk will stop at some effect, or has */
        bool dead;
        bool refuse_clients;     /* SETVOLUME is answered with EACCES */
        bool storage_down;       /* SETVOLUME says so */
        bool old_instance;       /* the next start calls itself as the former one did */
        unsigned calls[FOP_MAX]; /* by operation, since somebody zeroed them; those in chains too */
        unsigned messages, chains; /* that carried them; those of several */
        unsigned handshakes, asked_ports;
};

struct world_client {
        struct world *world;
        unsigned index;
        char name[16], uuid[96];
        struct sim_node *node;
        struct volume *volume; /* NULL: not mounted */
        unsigned running;      /* fibres of world_start() */
        struct gfid *chosen;   /* world_gfid() writes it there, too; NULL: does not */
};

struct world {
        struct world_config config;
        struct sim *sim;
        struct gfid volume_id;
        unsigned n_bricks, n_clients;
        struct world_brick bricks[WORLD_BRICKS_MAX];
        struct world_client clients[WORLD_CLIENTS_MAX];
        unsigned used, copies; /* what the volfile has */
        /* Asked before a brick carries out an operation (not those in chains): > 0: it answers with this errno instead.
         * NULL: is not asked. */
        int (*on_fop)(struct world_brick *b, uint32_t fop, void *arg);
        void *fop_arg;
        char volfile[16384];
};

/* Makes bricks and clients, and mounts the latter. */
void world_open(struct world *w, const struct world_config *config);
void world_close(struct world *w);
/* The volfile is that of the first BRICKS bricks in sets of COPIES from now on. Clients are not told. */
void world_use(struct world *w, unsigned bricks, unsigned copies);

/* ---- clients --------------------------------------------------------------------------------------------------- */

typedef void (*world_fn)(struct fibre *self, struct world_client *c, void *arg);

/* Runs FN on a fibre of client C until it returns; what else there is to do goes on meanwhile. */
void world_run(struct world *w, unsigned client, world_fn fn, void *arg);
/* Starts it only. */
void world_start(struct world *w, unsigned client, world_fn fn, void *arg);
/* Until all that were started have returned. */
void world_wait(struct world *w);
/* Lets TIME ns pass. */
void world_pass(struct world *w, uint64_t time);
/* Until DONE(arg) is true. */
void world_until(struct world *w, bool (*done)(void *arg), void *arg);

/* volume_open() and waiting until it is up: 0 or -errno with a sentence. Inside a fibre of the client. */
int world_mount(struct fibre *self, struct world_client *c, uint64_t timeout, struct error *err);
void world_unmount(struct fibre *self, struct world_client *c);
/* The client's machine stops. It comes back unmounted. */
void world_client_crash(struct world_client *c);

/* A request of root with the arena A; the next gfid of the client's own. */
struct request world_request(struct world_client *c, struct arena *a);
struct gfid world_gfid(struct world_client *c);
/* xdata with gfid-req. */
struct dict world_gfid_req(struct arena *a, const struct gfid *g);

/* ---- bricks and links ------------------------------------------------------------------------------------------ */

/* POWER: what was not synced is lost. */
void world_brick_crash(struct world_brick *b, bool power);
/* An orderly end. */
void world_brick_stop(struct world_brick *b);
void world_brick_start(struct world_brick *b);
/* The disk stops after N more effects (0: not so): nothing is answered from then on, and the brick is to be crashed. */
void world_brick_doom(struct world_brick *b, uint64_t n);
bool world_brick_is_dead(const struct world_brick *b);
/* All that is on the disk is durable. */
void world_brick_sync(struct world_brick *b);
/* Its management daemon tells everybody that some volfile has changed. GETSPEC gives world.volfile for "/vol". */
void world_brick_tell_change(struct world_brick *b);
/* Nothing crosses between them any more / again; breaks their connections. */
void world_cut(struct world *w, unsigned client, unsigned brick, bool cut);
void world_reset(struct world *w, unsigned client, unsigned brick);

/* ---- looking at a brick's directory; PATH begins with '/' and is that inside the volume ------------------------ */

struct disk *world_disk(struct world_brick *b);
bool world_exists(struct world_brick *b, const char *path);
/* -errno, or how much there was. */
ssize_t world_read(struct world_brick *b, const char *path, void *data, size_t size);
ssize_t world_xattr(struct world_brick *b, const char *path, const char *name, void *value, size_t size);

/* ---- world_brick.c, for world.c -------------------------------------------------------------------------------- */

void world_brick_init(struct world_brick *b, struct world *w, unsigned index);
void world_brick_done(struct world_brick *b);
