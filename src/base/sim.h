/* The simulator: a cluster in one thread, with virtual time.
 *
 * A `struct sim` is the world: a clock that jumps from event to event, a seeded random generator that decides order,
 * delays and losses, nodes, and links between them. A node gives a `struct loop`; programs are built on that and cannot
 * tell the difference. The same seed and the same program give the same run, event for event.
 *
 * One thread only. Nothing here sleeps.
 */
#pragma once

#include "base/loop.h"

struct sim;
struct sim_node;

/* What crosses a link. Defaults: delay 50–200 µs, nothing dropped, not cut. */
struct sim_link {
        uint64_t delay_min, delay_max; /* ns, drawn per chunk of bytes */
        uint32_t drop_per_million;     /* chance that a chunk breaks the connection (TCP never loses silently) */
        bool cut;                      /* nothing crosses; connections see silence, not an error, until sim_reset;
                                        * what waits crosses when the cut ends, as TCP would send it again */
};

int sim_new(uint64_t seed, struct sim **ret);
/* Streams and listeners must have been freed; those left, and fibres that have not finished, are logged. */
struct sim *sim_free(struct sim *s);
DEFINE_CLEANUP(struct sim *, sim_free)

uint64_t sim_now(const struct sim *s);
/* A number in 0..bound-1 from the world's generator. */
uint64_t sim_random(struct sim *s, uint64_t bound);
/* A running hash over every event dispatched so far: equal seeds must give equal traces. */
uint64_t sim_trace_hash(const struct sim *s);

/* A node. NAME (1–63 bytes, copied) is for tests; on the wire a node is an IPv4 address of 198.18.0.0/15, so that
 * programs parse, print and compare addresses as ever. "*" and 127.0.0.1 mean the node itself; unix paths are private to
 * each node. -EEXIST, -EINVAL, -ENOMEM. */
int sim_node_new(struct sim *s, const char *name, struct sim_node **ret);
/* Owned by the node. loop_run, loop_watch_fd and stream_fd answer -ENOTSUP, loop_stop and loop_free do nothing. */
struct loop *sim_node_loop(struct sim_node *n);
/* -ENOENT: no node has this name. */
int sim_address(struct sim *s, const char *node, uint16_t port, struct address *ret);

/* Both directions between A and B (order does not matter). */
void sim_link_set(struct sim *s, struct sim_node *a, struct sim_node *b, const struct sim_link *link);
/* Breaks every connection between A and B: both ends see a hang-up. */
void sim_reset(struct sim *s, struct sim_node *a, struct sim_node *b);

/* The node stops at this instant: its timers, posted work, fibres and connections are gone, peers get a part of what was
 * on the way (chosen by the seed) and then a hang-up; who connects meanwhile is refused. Objects of the program must be
 * released by the test, with the usual calls, before or after sim_node_restart; what only a fibre's stack owned is lost
 * with the fibre. sim_node_restart makes the node usable again with a fresh loop state. A fibre that crashes its own node
 * runs on up to its next suspension. */
void sim_node_crash(struct sim_node *n);
void sim_node_restart(struct sim_node *n);
bool sim_node_up(const struct sim_node *n);

/* Runs until DONE(arg) is true (0), until no event is left (-ENODATA), or until virtual time LIMIT ns (-ETIMEDOUT). */
int sim_run(struct sim *s, uint64_t limit, bool (*done)(void *arg), void *arg);
