/* Asks every brick process for its metrics (metrics.h), over a connection of its own: the keepers' calls wait for slow
 * disks, these do not, and neither delays the other.
 */
#include "pool/metrics.h"

#include <stdio.h>

#include "brick/control.h"
#include "pool/heal.h"
#include "rpc/client.h"

#define PATIENCE (5 * NS_PER_SEC) /* for one process */
#define ANSWER_MAX (64 * MIB)

struct collection {
        json_t *processes, *bricks;
};

static int process_ask(struct fibre *self, const char *socket, struct arena *a, struct control_metrics_rep *ret)
{
        char text[sizeof(struct supervisor_socket) + 8];
        struct rpc_client_config config = {.connect_timeout = PATIENCE, .call_timeout = PATIENCE};
        _cleanup_(rpc_client_freep) struct rpc_client *client = NULL;
        (void)snprintf(text, sizeof text, "unix:%s", socket);
        int r = address_parse(text, &config.to);
        if (r == 0)
                r = rpc_client_connect(self, &config, &client);
        if (r < 0)
                return r;
        return rpc_client_call(self, client, CONTROL_PROGRAM, CONTROL_VERSION, CONTROL_METRICS, NULL, NULL, NULL,
                               &control_metrics_rep_desc, ret, a);
}

/* Its bricks go to all bricks; what is left is about the process. */
static void collect_process(struct fibre *self, struct collection *c, const char *socket)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ANSWER_MAX);
        struct control_metrics_rep rep;
        if (process_ask(self, socket, &a, &rep) < 0 || rep.op_ret < 0)
                return;
        json_t *process = json_loadb(rep.metrics.s, rep.metrics.len, 0, NULL);
        json_t *bricks = json_object_get(process, "bricks");
        if (json_is_array(bricks)) {
                (void)json_array_extend(c->bricks, bricks);
                (void)json_object_del(process, "bricks");
                (void)json_array_append(c->processes, process);
        }
        json_decref(process);
}

static bool is_collected(const struct collection *c, const char *path)
{
        for (size_t k = 0; k < json_array_size(c->bricks); k++) {
                const char *seen = json_string_value(json_object_get(json_array_get(c->bricks, k), "path"));
                if (seen && streq(seen, path))
                        return true;
        }
        return false;
}

/* What should be served and is not. */
static void add_missing(struct collection *c, const struct volume *v)
{
        for (size_t k = 0; v && v->status == VOLUME_STARTED && k < v->n_bricks; k++) {
                const struct brick_record *b = &v->bricks[k];
                if (b->local && !is_collected(c, b->path))
                        (void)json_array_append_new(
                                c->bricks, json_pack("{s:s,s:s,s:i}", "path", b->path, "volume", v->name, "up", 0));
        }
}

int metrics_collect(struct fibre *self, struct pool *p, json_t **ret, struct error *e)
{
        struct supervisor_socket *sockets = NULL;
        int n = supervisor_sockets(p->supervisor, &sockets);
        if (n < 0)
                return error_set(e, n, "out of memory");
        struct collection c = {.processes = json_array(), .bricks = json_array()};
        for (int k = 0; k < n; k++)
                collect_process(self, &c, sockets[k].path);
        free(sockets);
        for (size_t k = 0; k < p->volumes.n; k++)
                add_missing(&c, p->volumes.v[k].volume);
        *ret = json_pack("{s:s,s:o,s:o,s:o}", "host", p->hostname, "processes", c.processes, "bricks", c.bricks, "heal",
                         heal_metrics(self, p));
        return *ret ? 0 : error_set(e, -ENOMEM, "out of memory");
}
