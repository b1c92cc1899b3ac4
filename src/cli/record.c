/* `record export`, `record import`: volumes handed from one mortard to another (docs/guide/several-nodes.md). */
#include "cli/cli.h"

int run_record_export(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        if (argc != 1)
                return text_usage(command);
        int status = call_mortard(cli, json_pack("{s:s,s:s}", "command", "record-export", "volume", argv[0]), &a);
        if (status != 0)
                return status;
        return a.ok ? text_json(json_object_get(a.json, "record")) : answer_refused(cli, &a, "record export: failed: ");
}

static json_t *read_record(const struct cli *cli, const char *file)
{
        json_error_t where;
        bool standard = streq(file, "-");
        FILE *in = standard ? stdin : fopen(file, "re");
        if (!in) {
                (void)fprintf(stderr, "%s: %s: %s\n", cli->program, file, strerror(errno));
                return NULL;
        }
        json_t *json = json_loadf(in, JSON_REJECT_DUPLICATES, &where);
        if (!json)
                (void)fprintf(stderr, "%s: %s: line %d: %s\n", cli->program, file, where.line, where.text);
        if (!standard)
                (void)fclose(in);
        return json;
}

static void print_imported(const json_t *volume)
{
        const json_t *bricks = json_object_get(volume, "bricks");
        size_t n = json_array_size(bricks), local = 0;
        for (size_t i = 0; i < n; i++)
                local += json_is_true(json_object_get(json_array_get(bricks, i), "local"));
        (void)printf("record import: %s: success: %zu of %zu bricks are on this node\n",
                     json_string_value(json_object_get(volume, "name")), local, n);
}

int run_record_import(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        bool force = argc == 2 && streq(argv[1], "force");
        if (argc != 1 && !force)
                return text_usage(command);
        json_t *record = read_record(cli, argv[0]);
        if (!record)
                return EXIT_FAILURE;
        int status = call_mortard(
                cli, json_pack("{s:s,s:o,s:b}", "command", "record-import", "record", record, "force", force), &a);
        if (status != 0)
                return status;
        if (!a.ok)
                return answer_refused(cli, &a, "record import: failed: ");
        if (cli->json)
                return text_json(a.json);
        print_imported(json_object_get(a.json, "volume"));
        return EXIT_SUCCESS;
}
