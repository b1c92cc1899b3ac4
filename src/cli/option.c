/* `volume set`, `reset`, `get` (cli.md §9). */
#include "cli/cli.h"
#include "volfile/option.h"

#define EXIT_NOT_SET 2 /* `volume get` of a user.* key that is not set */

static int not_for_all(const struct cli *cli, const char *word)
{
        char what[64];
        (void)snprintf(what, sizeof what, "volume %s all", word);
        return text_not_yet(cli, what);
}

/* ---- set --------------------------------------------------------------------------------------------------------- */

static int print_help(void)
{
        size_t n;
        const struct option *table = option_table(&n);
        for (size_t i = 0; i < n; i++)
                if (table[i].documented && option_find(table[i].key) == &table[i])
                        (void)printf("Option: %s\nDefault Value: %s\nDescription: %s\n\n", table[i].key,
                                     table[i].default_value ? table[i].default_value : "(null)", table[i].description);
        return EXIT_SUCCESS;
}

/* KEY VALUE…; NULL: the usage is due. */
static json_t *read_pairs(int argc, char **argv)
{
        if (argc < 2 || argc % 2 != 0)
                return NULL;
        json_t *pairs = json_array();
        for (int i = 0; i < argc; i += 2)
                if (!argv[i][0] || !argv[i + 1][0] ||
                    json_array_append_new(pairs, json_pack("[s,s]", argv[i], argv[i + 1])) < 0) {
                        json_decref(pairs);
                        return NULL;
                }
        return pairs;
}

int run_volume_set(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        if (argc == 1 && streq(argv[0], "help"))
                return print_help();
        if (argc == 3 && streq(argv[1], "group"))
                return text_not_yet(cli, "volume set VOLNAME group");
        json_t *pairs = argc > 2 ? read_pairs(argc - 1, argv + 1) : NULL;
        if (!pairs)
                return text_usage(command);
        if (streq(argv[0], "all")) {
                json_decref(pairs);
                return not_for_all(cli, "set");
        }
        int status = call_mortard(
                cli, json_pack("{s:s,s:s,s:o}", "command", "volume-set", "volume", argv[0], "options", pairs), &a);
        if (status != 0)
                return status;
        if (!a.ok)
                return answer_refused(cli, &a, "volume set: failed: ");
        if (cli->json)
                return text_json(a.json);
        (void)puts("volume set: success");
        return EXIT_SUCCESS;
}

/* ---- reset ------------------------------------------------------------------------------------------------------- */

int run_volume_reset(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        bool force = argc >= 2 && streq(argv[argc - 1], "force");
        int words = argc - force;
        if (words < 1 || words > 2)
                return text_usage(command);
        if (streq(argv[0], "all"))
                return not_for_all(cli, "reset");
        const char *option = words == 2 ? argv[1] : NULL;
        int status = call_mortard(cli,
                                  json_pack("{s:s,s:s,s:s*,s:b}", "command", "volume-reset", "volume", argv[0],
                                            "option", option, "force", force),
                                  &a);
        if (status != 0)
                return status;
        if (!a.ok)
                return answer_refused(cli, &a, "volume reset: failed: ");
        if (cli->json)
                return text_json(a.json);
        (void)puts(json_is_true(json_object_get(a.json, "kept"))
                           ? "volume reset: success: All unprotected fields were reset. To reset the protected fields,"
                             " use 'force'."
                           : "volume reset: success: reset volume successful");
        return EXIT_SUCCESS;
}

/* ---- get --------------------------------------------------------------------------------------------------------- */

static void print_row(const char *name, const char *value)
{
        (void)printf("%-40s %-39s\n", name, value);
}

static void print_option(const json_t *option)
{
        char text[8192];
        const char *value = json_string_value(json_object_get(option, "value"));
        bool by_reader = json_is_true(json_object_get(option, "default"));
        (void)snprintf(text, sizeof text, "%s%s", value ? value : "(null)", by_reader ? " (DEFAULT)" : "");
        print_row(json_string_value(json_object_get(option, "name")), text);
}

int run_volume_get(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        if (argc != 2)
                return text_usage(command);
        if (streq(argv[0], "all"))
                return not_for_all(cli, "get");
        const char *option = streq(argv[1], "all") ? NULL : argv[1];
        int status = call_mortard(
                cli, json_pack("{s:s,s:s,s:s*}", "command", "volume-get", "volume", argv[0], "option", option), &a);
        if (status != 0)
                return status;
        if (!a.ok && !*a.reason) {
                (void)answer_refused(cli, &a, "volume get option: failed");
                return EXIT_NOT_SET;
        }
        if (!a.ok)
                return answer_refused(cli, &a, "volume get option: failed: ");
        if (cli->json)
                return text_json(a.json);
        const json_t *options = json_object_get(a.json, "options");
        print_row("Option", "Value");
        print_row("------", "-----");
        for (size_t i = 0; i < json_array_size(options); i++)
                print_option(json_array_get(options, i));
        return EXIT_SUCCESS;
}
