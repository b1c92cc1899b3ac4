/* The simulated world: time, order, nodes, links. Connections are in sim_stream.c.
 *
 * One step does one thing: a due timer, a posted call, the runnable fibres or a ready stream of one node, or the
 * arrival of one chunk of bytes. What can be done at this instant is a list of candidates; the seed chooses. Only when
 * there is none does the clock jump to the next timer or arrival. A step costs STEP_COST of virtual time, so a program
 * that spins reaches its time limit instead of hanging.
 *
 * Everything random comes from one generator, and all state that decides order is in lists in creation order: no
 * addresses, no hash tables, no real clock. That is what makes a run repeat. One thread.
 */
#include "base/sim_internal.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>

#define STEP_COST 100                      /* ns */
#define EPOCH (1767225600ull * NS_PER_SEC) /* wall clock at virtual time 0: 2026-01-01 */
#define FIRST_ADDRESS 0xc6120001u          /* 198.18.0.1, of the range for benchmarks (RFC 2544) */
#define NODES_MAX 1000

static const struct sim_link link_default = {.delay_min = 50 * NS_PER_USEC, .delay_max = 200 * NS_PER_USEC};
static const struct sim_link link_to_self = {.delay_min = 5 * NS_PER_USEC, .delay_max = 20 * NS_PER_USEC};

void *sim_calloc(size_t size)
{
        void *p = calloc(1, size);
        if (!p)
                abort();
        return p;
}

/* ---- randomness and trace -----------------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t x)
{
        x ^= x >> 30;
        x *= 0xbf58476d1ce4e5b9ull;
        x ^= x >> 27;
        x *= 0x94d049bb133111ebull;
        return x ^ x >> 31;
}

static uint64_t rotate_left(uint64_t x, int n)
{
        return x << n | x >> (64 - n);
}

/* xoshiro256** */
static uint64_t random_next(struct sim *s)
{
        uint64_t *r = s->random;
        uint64_t value = rotate_left(r[1] * 5, 7) * 9;
        uint64_t t = r[1] << 17;
        r[2] ^= r[0];
        r[3] ^= r[1];
        r[1] ^= r[2];
        r[0] ^= r[3];
        r[2] ^= t;
        r[3] = rotate_left(r[3], 45);
        return value;
}

uint64_t sim_random(struct sim *s, uint64_t bound)
{
        return bound > 1 ? random_next(s) % bound : 0;
}

uint64_t sim_digest(const void *data, size_t n)
{
        uint64_t h = n;
        const char *at = data;
        while (n > 0) {
                uint64_t word = 0;
                size_t take = MIN(n, sizeof word);
                memcpy(&word, at, take);
                h = mix(h ^ word) + 0x9e3779b97f4a7c15ull;
                at += take;
                n -= take;
        }
        return h;
}

void sim_trace(struct sim *s, enum sim_trace kind, uint64_t a, uint64_t b)
{
        const uint64_t words[] = {s->hash, s->now, kind, a, b};
        s->hash = sim_digest(words, sizeof words);
}

uint64_t sim_trace_hash(const struct sim *s)
{
        return s->hash;
}

uint64_t sim_now(const struct sim *s)
{
        return s->now;
}

/* ---- a node's loop ------------------------------------------------------------------------------------------------
 */

static struct sim_node *node_of(struct loop *l)
{
        return CONTAINER_OF(l, struct sim_node, loop);
}

static uint64_t node_now(struct loop *l)
{
        return node_of(l)->sim->now;
}

static uint64_t node_realtime(struct loop *l)
{
        return EPOCH + node_of(l)->sim->now;
}

static void node_random(struct loop *l, void *buf, size_t n)
{
        char *at = buf;
        while (n > 0) {
                uint64_t word = random_next(node_of(l)->sim);
                size_t take = MIN(n, sizeof word);
                memcpy(at, &word, take);
                at += take;
                n -= take;
        }
}

static int node_post(struct loop *l, post_fn fn, void *arg)
{
        struct sim_node *n = node_of(l);
        if (!n->up)
                return -ESHUTDOWN;
        struct sim_post *p = malloc(sizeof *p);
        if (!p)
                return -ENOMEM;
        *p = (struct sim_post){.fn = fn, .arg = arg};
        *n->posts_tail = p;
        n->posts_tail = &p->next;
        return 0;
}

static int node_watch_fd(struct loop *l, int fd, unsigned events, stream_event_fn fn, void *arg, struct stream **ret)
{
        return -ENOTSUP;
}

static int node_run(struct loop *l)
{
        return -ENOTSUP;
}

/* The world runs a node, so there is nothing to stop or to free. */
static void node_stop(struct loop *l)
{
}

static void node_timer_start(struct loop *l, struct timer *t)
{
        if (node_of(l)->up)
                timer_heap_add(&node_of(l)->timers, t);
        else
                t->loop = NULL;
}

static void node_timer_stop(struct loop *l, struct timer *t)
{
        timer_heap_remove(&node_of(l)->timers, t);
}

static void node_fibre_ran(struct loop *l, const char *name)
{
        sim_trace(node_of(l)->sim, SIM_TRACE_FIBRE, node_of(l)->index, sim_digest(name, strlen(name)));
}

static const struct loop_ops node_loop_ops = {
        .now = node_now,
        .realtime = node_realtime,
        .random = node_random,
        .post = node_post,
        .listen = sim_listen,
        .listener_address = sim_listener_address,
        .listener_free = sim_listener_free,
        .connect = sim_connect,
        .watch_fd = node_watch_fd,
        .run = node_run,
        .stop = node_stop,
        .free = node_stop,
        .timer_start = node_timer_start,
        .timer_stop = node_timer_stop,
        .fibre_ran = node_fibre_ran,
};

struct loop *sim_node_loop(struct sim_node *n)
{
        return &n->loop;
}

bool sim_node_up(const struct sim_node *n)
{
        return n->up;
}

static void node_drop_posts(struct sim_node *n)
{
        while (n->posts) {
                struct sim_post *p = n->posts;
                n->posts = p->next;
                free(p);
        }
        n->posts_tail = &n->posts;
}

/* Takes N's fibres out of use. They stay in memory: objects of the program still point to them as waiters. */
static void node_abandon_fibres(struct sim_node *n)
{
        if (!n->loop.fibres)
                return;
        struct sim_past *past = sim_calloc(sizeof *past);
        *past = (struct sim_past){.next = n->past, .fibres = fibre_set_abandon(&n->loop)};
        n->past = past;
}

void sim_node_crash(struct sim_node *n)
{
        assert(n->up);
        sim_trace(n->sim, SIM_TRACE_CRASH, n->index, 0);
        n->up = false;
        timer_heap_clear(&n->timers);
        node_drop_posts(n);
        node_abandon_fibres(n);
        sim_conns_crash(n);
}

void sim_node_restart(struct sim_node *n)
{
        assert(!n->up);
        sim_trace(n->sim, SIM_TRACE_CRASH, n->index, 1);
        node_abandon_fibres(n); /* started while the node was down: never to run */
        n->up = true;
}

int sim_node_new(struct sim *s, const char *name, struct sim_node **ret)
{
        size_t len = strlen(name);
        if (len == 0 || len >= SIM_NODE_NAME_MAX || s->n_nodes == NODES_MAX)
                return -EINVAL;
        struct sim_node **tail = &s->nodes;
        for (; *tail; tail = &(*tail)->next)
                if (streq((*tail)->name, name))
                        return -EEXIST;
        struct sim_node *n = calloc(1, sizeof *n);
        if (!n)
                return -ENOMEM;
        n->loop.ops = &node_loop_ops;
        n->sim = s;
        memcpy(n->name, name, len + 1);
        n->index = s->n_nodes++;
        n->up = true;
        n->posts_tail = &n->posts;
        *tail = n;
        *ret = n;
        return 0;
}

static void node_free(struct sim_node *n)
{
        timer_heap_clear(&n->timers);
        node_drop_posts(n);
        (void)fibre_set_free(&n->loop); /* logs what had not finished */
        while (n->past) {
                struct sim_past *past = n->past;
                n->past = past->next;
                (void)fibre_set_discard(past->fibres);
                free(past);
        }
        free(n);
}

/* ---- addresses ----------------------------------------------------------------------------------------------------
 */

void sim_address_of(const struct sim_node *n, uint16_t port, struct address *ret)
{
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
        in.sin_addr.s_addr = htonl(FIRST_ADDRESS + n->index);
        *ret = (struct address){.len = sizeof in};
        memcpy(&ret->sa, &in, sizeof in);
}

int sim_address(struct sim *s, const char *node, uint16_t port, struct address *ret)
{
        for (const struct sim_node *n = s->nodes; n; n = n->next) {
                if (!streq(n->name, node))
                        continue;
                sim_address_of(n, port, ret);
                return 0;
        }
        return -ENOENT;
}

struct sim_node *sim_node_at(struct sim_node *from, const struct address *a)
{
        struct sockaddr_in in;
        memcpy(&in, &a->sa, sizeof in);
        if (in.sin_family == AF_UNIX)
                return from;
        if (in.sin_family == AF_INET6) {
                const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
                return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ? from : NULL;
        }
        uint32_t ip = ntohl(in.sin_addr.s_addr);
        if (ip == INADDR_ANY || ip >> 24 == 127)
                return from;
        for (struct sim_node *n = from->sim->nodes; n; n = n->next)
                if (ip == FIRST_ADDRESS + n->index)
                        return n;
        return NULL;
}

/* ---- links --------------------------------------------------------------------------------------------------------
 */

static struct sim_link_entry *link_find(const struct sim *s, const struct sim_node *a, const struct sim_node *b)
{
        for (struct sim_link_entry *e = s->links; e; e = e->next)
                if ((e->a == a && e->b == b) || (e->a == b && e->b == a))
                        return e;
        return NULL;
}

const struct sim_link *sim_link_get(const struct sim *s, const struct sim_node *a, const struct sim_node *b)
{
        const struct sim_link_entry *e = link_find(s, a, b);
        if (e)
                return &e->link;
        return a == b ? &link_to_self : &link_default;
}

void sim_link_set(struct sim *s, struct sim_node *a, struct sim_node *b, const struct sim_link *link)
{
        assert(link->delay_min <= link->delay_max);
        struct sim_link_entry *e = link_find(s, a, b);
        if (!e) {
                e = sim_calloc(sizeof *e);
                e->a = a;
                e->b = b;
                e->next = s->links;
                s->links = e;
        }
        e->link = *link;
        if (!link->cut)
                sim_conns_resume(s, a, b);
}

void sim_reset(struct sim *s, struct sim_node *a, struct sim_node *b)
{
        sim_conns_reset(s, a, b);
}

/* ---- the order of things ------------------------------------------------------------------------------------------
 */

enum candidate_kind { CANDIDATE_TIMER, CANDIDATE_POST, CANDIDATE_FIBRES, CANDIDATE_STREAM, CANDIDATE_KINDS };

static bool candidate_can_run(const struct sim_node *n, enum candidate_kind kind)
{
        const struct timer *t;
        switch (kind) {
        case CANDIDATE_TIMER:
                t = timer_heap_first(&n->timers);
                return t && t->due <= n->sim->now;
        case CANDIDATE_POST:
                return n->posts != NULL;
        case CANDIDATE_FIBRES:
                return fibre_any_ready(&n->loop);
        case CANDIDATE_STREAM:
                return n->n_ready > 0;
        default:
                return false;
        }
}

static void node_run_timer(struct sim_node *n)
{
        struct timer *t = timer_heap_first(&n->timers);
        sim_trace(n->sim, SIM_TRACE_TIMER, n->index, t->due);
        timer_stop(t);
        t->fn(t);
}

static void node_run_post(struct sim_node *n)
{
        struct sim_post p = *n->posts;
        free(n->posts);
        n->posts = p.next;
        if (!n->posts)
                n->posts_tail = &n->posts;
        sim_trace(n->sim, SIM_TRACE_POST, n->index, 0);
        p.fn(p.arg);
}

static uint32_t pick_fibre(void *arg, uint32_t n)
{
        return (uint32_t)sim_random(arg, n);
}

static void candidate_run(struct sim_node *n, enum candidate_kind kind)
{
        switch (kind) {
        case CANDIDATE_TIMER:
                return node_run_timer(n);
        case CANDIDATE_POST:
                return node_run_post(n);
        case CANDIDATE_FIBRES:
                (void)fibre_run_ready(&n->loop, pick_fibre, n->sim);
                return;
        case CANDIDATE_STREAM:
                return sim_streams_dispatch(n);
        default:
                return;
        }
}

static bool chunk_is_due(const struct sim *s)
{
        const struct timer *t = timer_heap_first(&s->crossing);
        return t && t->due <= s->now;
}

/* Runs candidate number WHICH of this instant; how many there are when WHICH is UINT32_MAX. */
static uint32_t candidates_visit(struct sim *s, uint32_t which)
{
        uint32_t n = 0;
        for (struct sim_node *node = s->nodes; node; node = node->next) {
                for (int kind = 0; node->up && kind < CANDIDATE_KINDS; kind++) {
                        if (!candidate_can_run(node, (enum candidate_kind)kind) || n++ != which)
                                continue;
                        candidate_run(node, (enum candidate_kind)kind);
                        return n;
                }
        }
        if (chunk_is_due(s) && n++ == which)
                sim_chunk_arrive(s);
        return n;
}

/* When the next timer or arrival is due; UINT64_MAX: never. */
static uint64_t next_instant(const struct sim *s)
{
        const struct timer *t = timer_heap_first(&s->crossing);
        uint64_t at = t ? t->due : UINT64_MAX;
        for (const struct sim_node *n = s->nodes; n; n = n->next) {
                t = n->up ? timer_heap_first(&n->timers) : NULL;
                at = t ? MIN(at, t->due) : at;
        }
        return at;
}

/* 0: one thing was done. */
static int sim_step(struct sim *s, uint64_t limit)
{
        uint32_t n = candidates_visit(s, UINT32_MAX);
        if (n == 0) {
                uint64_t at = next_instant(s);
                if (at == UINT64_MAX)
                        return -ENODATA;
                if (at >= limit) {
                        s->now = MAX(s->now, limit);
                        return -ETIMEDOUT;
                }
                s->now = at;
                n = candidates_visit(s, UINT32_MAX);
        }
        (void)candidates_visit(s, (uint32_t)sim_random(s, n));
        s->now += STEP_COST;
        return 0;
}

int sim_run(struct sim *s, uint64_t limit, bool (*done)(void *arg), void *arg)
{
        while (!done(arg)) {
                if (s->now >= limit)
                        return -ETIMEDOUT;
                int r = sim_step(s, limit);
                if (r < 0)
                        return r;
        }
        return 0;
}

int sim_new(uint64_t seed, struct sim **ret)
{
        struct sim *s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTSOF(s->random); i++)
                s->random[i] = mix(seed + (i + 1) * 0x9e3779b97f4a7c15ull);
        s->hash = mix(seed);
        *ret = s;
        return 0;
}

struct sim *sim_free(struct sim *s)
{
        if (!s)
                return NULL;
        unsigned left = sim_conns_left(s);
        if (left > 0)
                log_error("sim", "%u streams were not freed by the program", left);
        while (s->nodes) {
                struct sim_node *n = s->nodes;
                s->nodes = n->next;
                node_free(n);
        }
        while (s->links) {
                struct sim_link_entry *e = s->links;
                s->links = e->next;
                free(e);
        }
        free(s);
        return NULL;
}
