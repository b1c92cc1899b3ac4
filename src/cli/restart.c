/* `brick restart`: new processes for bricks, without an interruption that clients notice (docs/guide/upgrade.md). */
#include "cli/cli.h"

static json_t *read_bricks(int argc, char **argv)
{
        json_t *bricks = json_array();
        for (int i = 0; i < argc; i++)
                (void)json_array_append_new(bricks, json_string(argv[i]));
        return bricks;
}

int run_brick_restart(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        bool all = argc == 1 && streq(argv[0], "all");
        if (argc < 1)
                return text_usage(command);
        json_t *bricks = all ? NULL : read_bricks(argc, argv);
        int status = call_mortard(cli, json_pack("{s:s,s:o*}", "command", "brick-restart", "bricks", bricks), &a);
        if (status != 0)
                return status;
        if (!a.ok)
                return answer_refused(cli, &a, "brick restart: failed: ");
        if (cli->json)
                return text_json(a.json);
        const json_t *list = json_object_get(a.json, "bricks");
        for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *b = json_array_get(list, i);
                (void)printf("brick restart: %s: success: pid %d, port %d\n",
                             json_string_value(json_object_get(b, "name")),
                             (int)json_integer_value(json_object_get(b, "pid")),
                             (int)json_integer_value(json_object_get(b, "port")));
        }
        if (json_array_size(list) == 0)
                (void)fputs("No bricks are served\n", stderr);
        return EXIT_SUCCESS;
}
