/* A server with a test program and a client, in the simulator or on the epoll loop. For tests of connections. Built
 * twice: with WORLD_TLS everything goes through TLS. */
#pragma once

#include "proto/fop.h"
#include "proto/handshake.h"
#include "rpc/client.h"
#include "rpc/record.h"
#include "rpc/server.h"

#include "base/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST_PROGRAM 4711u
#ifdef WORLD_TLS
#define SEEDS 3
#else
#define SEEDS 12
#endif
#define SOME_PORT 4000

/* Procedures of the test program: how it answers a set_lk_ver call. */
enum {
        ECHO = 1,     /* answers at once */
        LATER = 2,    /* answers when `release_at` calls have come, last one first; or by timer */
        REJECT = 3,   /* refuses with status lk_ver */
        CALLBACK = 4, /* sends lk_ver callbacks, then answers */
        HANG = 5,     /* does not answer before the test says so */
        CLOSE = 6,    /* closes the connection, then answers */
        SHORT = 7,    /* answers with fewer bytes than the message has */
        BIG = 8,      /* answers a GETSPEC with `big` bytes */
        PAYLOAD = 9,  /* a WRITE call whose data is all the offset: waits like LATER */
};

struct deferred {
        struct rpc_server_conn *c;
        uint32_t xid;
        int32_t value;
        bool write;
};

struct world {
        struct sim *sim; /* NULL: epoll */
        struct sim_node *server_node, *client_node;
        struct loop *server_loop, *client_loop;
        struct address at;
        char dir[64], path[96];
        struct rpc_server *server;
        struct rpc_server_limits limits;
        fibre_fn scenario;
        bool done;

        struct deferred deferred[256];
        unsigned deferred_count, deferred_peak;
        unsigned release_at;
        struct timer release;
        uint64_t release_after;
        unsigned calls, pings, closed;
        uint32_t big;

        unsigned callbacks, disconnects;
        int disconnect_error;
        bool free_in_callback;
        struct rpc_client *client;
        unsigned finished;
};

/* Runs SCENARIO as a fibre of the client's loop in a copy of GIVEN: in SEEDS simulations and once over a unix socket on
 * the epoll loop; in simulations only; in one. */
void run_all(fibre_fn scenario, const struct world *given);
void run_sims(fibre_fn scenario, const struct world *given);
void run_sim(fibre_fn scenario, uint64_t seed, const struct sim_link *link, struct world *w);
void run_epoll(fibre_fn scenario, struct world *w);

/* Around all tests of a program. */
int world_setup(void **state);
int world_teardown(void **state);

/* The server's side. */
void answer_deferred(struct world *w);
void send_callbacks(struct rpc_server_conn *c, int32_t n);

/* The client's side. */
/* In place of a stream: itself, or TLS around it. */
int world_wrap_server(struct stream *lower, void *arg, struct stream **ret);
int world_wrap_client(struct stream *lower, void *arg, struct stream **ret);
struct rpc_client_config config_of(struct world *w);
void connect_client(struct fibre *self, struct world *w);
int call(struct fibre *self, struct world *w, uint32_t proc, int32_t value, int32_t *ret);
void expect_echo(struct fibre *self, struct world *w, int32_t value);
