/* mortard's state and its services, as its parts see them.
 *
 * `struct pool` belongs to the loop thread. Volumes in memory are changed only by a fibre that holds `changing`, after
 * the worker thread has made the change durable; so the worker may read them while it works for that fibre.
 */
#pragma once

#include "pool/blocking.h"
#include "pool/change.h"
#include "rpc/secure_access.h"
#include "pool/healer.h"
#include "pool/supervisor.h"
#include "rpc/server.h"

struct pool {
        struct loop *loop;
        const char *hostname;
        const char *run_dir;
        struct disk *disk;
        struct store *store;
        struct volume_set volumes;
        struct change change;
        struct blocking *worker;
        struct supervisor *supervisor;
        struct heal_keeper *healer;
        char heal_server[256];    /* where its volfiles come from, "HOST:PORT" */
        const char *heal_program; /* mortar-heal; "": there is none */
        struct fibre_mutex changing;
        struct secure_access secure_access;
        struct rpc_server *clients;    /* TCP */
        struct rpc_server *management; /* unix socket */
};

/* ---- operation.c: the commands that change something ------------------------------------------------------------- */

/* Each takes the lock, makes the change, tells the supervisor and all clients. 0, or -errno with stock's reason. */

/* Takes V: all but what is in its bricks' directories is filled in. FLAGS: enum check_flags. */
int operation_create(struct fibre *self, struct pool *p, struct volume *v, unsigned flags, struct error *e);
/* Checks V as a volume that other nodes are to import; changes nothing. */
int operation_define(struct fibre *self, struct pool *p, struct volume *v, bool force, struct error *e);
int operation_start(struct fibre *self, struct pool *p, const char *name, bool force, struct error *e);
int operation_stop(struct fibre *self, struct pool *p, const char *name, bool force, struct error *e);
/* APPLY changes the options of a copy, which then becomes the volume. */
struct option_change {
        int (*apply)(struct volume *v, void *arg, struct error *e);
        void *arg;
};
int operation_options(struct fibre *self, struct pool *p, const char *name, const struct option_change *change,
                      struct error *e);
int operation_delete(struct fibre *self, struct pool *p, const char *name, struct error *e);

/* The volume, or the reason why not ("Volume V does not exist"). */
int pool_find(const struct pool *p, const char *name, struct volume **ret, struct error *e);

/* At start: tells the supervisor about started volumes, and lets a fibre finish or undo what a crash left. */
int operation_resume(struct pool *p);

/* ---- serve.c: what clients ask ----------------------------------------------------------------------------------- */

int serve_clients(struct pool *p, const struct address *at);
/* "Some volfile changed" to every connection. */
void serve_notify(struct pool *p);

/* ---- management.c: what the command line asks -------------------------------------------------------------------- */

int serve_management(struct pool *p, const struct address *at);
