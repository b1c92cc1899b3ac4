/* One request to mortard over its unix socket: a loop and a fibre for the length of the call. */
#include "base/fibre.h"
#include "cli/cli.h"
#include "pool/management.h"
#include "rpc/client.h"

#define ARENA_MAX (4 * MANAGEMENT_JSON_MAX)

struct call {
        const struct cli *cli;
        struct loop *loop;
        char *request;
        struct answer *answer;
        int connected; /* 0 or -errno */
        int result;    /* 0 or -errno of the call */
};

void answer_done(struct answer *a)
{
        free(a->reason);
        json_decref(a->json);
        *a = (struct answer){0};
}

int answer_refused(const struct cli *cli, const struct answer *a, const char *prefix)
{
        if (!cli->json) {
                (void)fprintf(stderr, "%s%s\n", prefix, a->reason);
                return EXIT_FAILURE;
        }
        json_t *json = json_pack("{s:s,s:i}", "error", a->reason, "errno", a->error);
        (void)text_json(json);
        json_decref(json);
        return EXIT_FAILURE;
}

static int take_answer(const struct management_rep *rep, struct answer *ret)
{
        json_t *json = json_loadb(rep->json.s, rep->json.len, 0, NULL);
        char *reason = strndup(rep->error.s, rep->error.len);
        if (!json || !reason) {
                json_decref(json);
                free(reason);
                return -EBADMSG;
        }
        *ret = (struct answer){.ok = rep->op_ret >= 0, .error = rep->op_errno, .reason = reason, .json = json};
        return 0;
}

static void call_fibre(struct fibre *self, void *arg)
{
        struct call *call = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        _cleanup_(rpc_client_freep) struct rpc_client *client = NULL;
        struct rpc_client_config config = {.call_timeout = call->cli->timeout * NS_PER_SEC};
        _cleanup_free_ char *at = NULL;
        call->connected = asprintf(&at, "unix:%s", call->cli->socket) < 0 ? -ENOMEM : address_parse(at, &config.to);
        if (call->connected == 0)
                call->connected = rpc_client_connect(self, &config, &client);
        if (call->connected == 0) {
                struct management_req req = {.json = str_of(call->request)};
                struct management_rep rep;
                call->result = rpc_client_call(self, client, MANAGEMENT_PROGRAM, MANAGEMENT_VERSION, MANAGEMENT_EXECUTE,
                                               NULL, &management_req_desc, &req, &management_rep_desc, &rep, &a);
                if (call->result == 0)
                        call->result = take_answer(&rep, call->answer);
        }
        loop_stop(call->loop);
}

static int report(const struct call *call)
{
        const struct cli *cli = call->cli;
        if (call->connected < 0 && cli_is_gluster(cli))
                (void)puts("Connection failed. Please check if gluster daemon is operational.");
        else if (call->connected < 0)
                (void)printf("Connection failed. Please check if mortard is operational (%s: %s).\n", cli->socket,
                             strerror(-call->connected));
        else if (call->result == -ETIMEDOUT)
                (void)puts("Error : Request timed out");
        else if (call->result < 0)
                (void)fprintf(stderr, "%s: mortard did not answer: %s\n", cli->program, strerror(-call->result));
        else
                return 0;
        return EXIT_FAILURE;
}

int call_mortard(const struct cli *cli, json_t *request, struct answer *ret)
{
        _cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
        json_decref(request);
        if (!text) {
                (void)fprintf(stderr, "%s: the arguments are not valid UTF-8\n", cli->program);
                return EXIT_FAILURE;
        }
        struct call call = {.cli = cli, .request = text, .answer = ret};
        int r = loop_epoll_new(&call.loop);
        if (r == 0)
                r = fibre_start(call.loop, "call", call_fibre, &call);
        if (r == 0)
                r = loop_run(call.loop);
        loop_free(call.loop);
        if (r < 0) {
                (void)fprintf(stderr, "%s: %s\n", cli->program, strerror(-r));
                return EXIT_FAILURE;
        }
        return report(&call);
}
