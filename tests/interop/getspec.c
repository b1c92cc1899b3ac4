/* Asks a management daemon for a volfile, as our client would: getspec ADDRESS:PORT KEY [tls]. The text goes to standard
 * output. With TLS the default files are used. For the tests against stock. */
#include <stdio.h>

#include "base/fibre.h"
#include "proto/handshake.h"
#include "rpc/client.h"
#include "rpc/tls_stream.h"

#define ANSWER_MAX (8 * MIB)

struct query {
        const char *at, *key;
        struct tls_context *tls;
        struct loop *loop;
        int status;
};

static void failed(const char *peer, const char *why, void *arg)
{
        (void)fprintf(stderr, "%s: %s\n", peer, why);
}

static int wrap(struct stream *connecting, void *arg, struct stream **ret)
{
        const struct query *q = arg;
        const struct tls_stream_config config = {.context = q->tls, .side = TLS_CLIENT, .on_failure = failed};
        return tls_stream_new(connecting, &config, ret);
}

static int ask(struct fibre *self, struct query *q, struct arena *a)
{
        _cleanup_(rpc_client_freep) struct rpc_client *client = NULL;
        struct rpc_client_config config = {.arg = q, .wrap = q->tls ? wrap : NULL, .call_timeout = 10 * NS_PER_SEC};
        int r = address_parse(q->at, &config.to);
        if (r == 0)
                r = rpc_client_connect(self, &config, &client);
        struct getspec_req req = {.key = str_of(q->key), .xdata = DICT_NULL};
        if (r == 0)
                r = dict_add_str(&req.xdata, a, "min-op-version", "1");
        if (r == 0)
                r = dict_add_str(&req.xdata, a, "max-op-version", "100000");
        if (r < 0)
                return r;
        struct getspec_rep rep;
        r = rpc_client_call(self, client, HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_GETSPEC, NULL,
                            &getspec_req_desc, &req, &getspec_rep_desc, &rep, a);
        if (r < 0)
                return r;
        if (rep.op_ret < 0)
                return rep.op_errno > 0 ? -rep.op_errno : -EREMOTEIO;
        (void)fwrite(rep.spec.s, 1, rep.spec.len, stdout);
        return 0;
}

static void run(struct fibre *self, void *arg)
{
        struct query *q = arg;
        struct arena a = ARENA_INIT(ANSWER_MAX);
        int r = ask(self, q, &a);
        if (r < 0)
                (void)fprintf(stderr, "%s\n", strerror(-r));
        q->status = r < 0;
        arena_done(&a);
        loop_stop(q->loop);
}

int main(int argc, char **argv)
{
        struct query q = {.status = 2};
        struct error e = {0};
        if (argc < 3)
                return 2;
        q.at = argv[1];
        q.key = argv[2];
        if (argc > 3 && tls_context_load(&(struct tls_settings){0}, &q.tls, &e) < 0) {
                (void)fprintf(stderr, "%s\n", e.text);
                return 1;
        }
        if (loop_epoll_new(&q.loop) < 0 || fibre_start(q.loop, "getspec", run, &q) < 0 || loop_run(q.loop) < 0)
                return 1;
        loop_free(q.loop);
        (void)tls_context_unref(q.tls);
        return q.status;
}
