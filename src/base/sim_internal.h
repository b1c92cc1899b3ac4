/* What sim.c (world, nodes, links, order) and sim_stream.c (listeners, connections) share. For these two only. */
#pragma once

#include "base/fibre.h"
#include "base/sim.h"
#include "base/timer_heap.h"

#define SIM_NODE_NAME_MAX 64

struct sim_conn;
struct sim_end;
struct sim_listener;

struct sim_post {
        struct sim_post *next;
        post_fn fn;
        void *arg;
};

/* Fibres of a life that ended in a crash: freed with the world. */
struct sim_past {
        struct sim_past *next;
        struct fibre_set *fibres;
};

struct sim_node {
        struct loop loop;
        struct sim *sim;
        struct sim_node *next;
        char name[SIM_NODE_NAME_MAX];
        uint32_t index;
        bool up;
        struct timer_heap timers;
        struct sim_post *posts, **posts_tail;
        struct sim_listener *listeners;
        struct sim_end *ready; /* ends with something to tell */
        uint32_t n_ready;
        uint16_t next_port;
        struct sim_past *past;
};

struct sim_link_entry {
        struct sim_link_entry *next;
        const struct sim_node *a, *b;
        struct sim_link link;
};

struct sim {
        uint64_t now;
        uint64_t random[4];
        uint64_t hash;
        struct sim_node *nodes;
        uint32_t n_nodes;
        struct sim_link_entry *links;
        struct timer_heap crossing; /* one timer per direction of a connection: its first chunk on the way */
        struct sim_conn *conns;
        uint64_t next_conn_id;
};

/* What the trace hash tells apart. */
enum sim_trace { SIM_TRACE_TIMER, SIM_TRACE_POST, SIM_TRACE_FIBRE, SIM_TRACE_STREAM, SIM_TRACE_CHUNK, SIM_TRACE_CRASH };
void sim_trace(struct sim *s, enum sim_trace kind, uint64_t a, uint64_t b);
/* A value for sim_trace() that stands for N bytes. */
uint64_t sim_digest(const void *data, size_t n);

/* SIZE zeroed bytes; never NULL: a simulation out of memory has nothing to tell and ends. free() releases. */
void *sim_calloc(size_t size);

const struct sim_link *sim_link_get(const struct sim *s, const struct sim_node *a, const struct sim_node *b);
/* The node that FROM means by the address A; NULL if there is none. */
struct sim_node *sim_node_at(struct sim_node *from, const struct address *a);
void sim_address_of(const struct sim_node *n, uint16_t port, struct address *ret);

/* ---- sim_stream.c -------------------------------------------------------------------------------------------------
 */

int sim_listen(struct loop *loop, const struct address *at, accept_fn fn, void *arg, struct listener **ret);
int sim_listener_address(struct listener *l, struct address *ret);
void sim_listener_free(struct listener *l);
int sim_connect(struct loop *loop, const struct address *to, const struct address *from, struct stream **ret);

/* Tells one of N's ready ends (N->n_ready > 0), chosen by the seed. */
void sim_streams_dispatch(struct sim_node *n);
/* Lets the first chunk on the way, which is due, arrive. */
void sim_chunk_arrive(struct sim *s);
/* Everything between A and B that a cut held back crosses now. */
void sim_conns_resume(struct sim *s, const struct sim_node *a, const struct sim_node *b);
void sim_conns_reset(struct sim *s, const struct sim_node *a, const struct sim_node *b);
/* Ends N's part of all its connections and listeners. */
void sim_conns_crash(struct sim_node *n);
/* Ends of connections the program did not free. */
unsigned sim_conns_left(const struct sim *s);
