/* `volume heal` (cli.md §12; cli/heal.h): the forms, and errors as stock says them. */
#include "cli/heal.h"

#define FAILED "Volume heal failed."
#define LOOKUP_FAILED 22 /* exit status, as stock's */
#define LAUNCH_INDEX "Launching heal operation to perform index self heal"
#define LAUNCH_FULL "Launching heal operation to perform full self heal"

/* A volume, and what mortard says of it. */
struct subject {
        const struct cli *cli;
        const char *volume;
        struct answer look;
};

static int look(struct subject *s)
{
        return call_mortard(s->cli, json_pack("{s:s,s:s}", "command", "volume-heal-look", "volume", s->volume), &s->look);
}

static bool is_type(const struct subject *s, const char *type)
{
        return streq(json_string_value(json_object_get(s->look.json, "type")) ?: "", type);
}

static bool is_true(const struct subject *s, const char *key)
{
        return json_is_true(json_object_get(s->look.json, key));
}

/* ---- what mortard does ------------------------------------------------------------------------------------------- */

static int unsuccessful(const struct subject *s, const char *operation, const struct answer *a)
{
        char prefix[512];
        (void)snprintf(prefix, sizeof prefix, "%s on volume %s has been unsuccessful:\n", operation, s->volume);
        return answer_refused(s->cli, a, prefix);
}

static int successful(const struct subject *s, const char *operation)
{
        (void)printf("%s on volume %s has been successful \n", operation, s->volume);
        return EXIT_SUCCESS;
}

static int run_action(const struct subject *s, const char *action, const char *operation)
{
        _cleanup_answer_ struct answer a = {0};
        int status = call_mortard(
                s->cli, json_pack("{s:s,s:s,s:s}", "command", "volume-heal", "volume", s->volume, "action", action), &a);
        if (status != 0)
                return status;
        if (!a.ok)
                return unsuccessful(s, operation, &a);
        return s->cli->json ? text_json(a.json) : successful(s, operation);
}

static int run_launch(const struct subject *s, bool full)
{
        int status = run_action(s, full ? "full" : "index", full ? LAUNCH_FULL : LAUNCH_INDEX);
        if (status == EXIT_SUCCESS && !s->cli->json)
                (void)puts("Use heal info commands to check status.");
        return status;
}

/* ---- what the bricks say ----------------------------------------------------------------------------------------- */

/* A failure of `info` or `split-brain`, which stock prints on standard output; ERROR positive. */
static int refuse_info(const struct subject *s, int error, const char *why)
{
        if (s->cli->xml) {
                heal_print_failure_xml(stdout, error, why);
        } else if (s->cli->json) {
                const struct answer a = {.error = error, .reason = (char *)(uintptr_t)why};
                (void)answer_refused(s->cli, &a, "");
        } else {
                (void)printf("%s\n" FAILED "\n", why);
        }
        return 256 - error;
}

/* The volume can be asked about: 0, else the exit status. */
static int prepare(struct subject *s, bool replicate_only)
{
        char why[1024];
        int status = look(s);
        if (status != 0)
                return status;
        if (!s->look.ok)
                return refuse_info(s, s->look.error, s->look.reason);
        const char *kinds = replicate_only ? "replicate" : "replicate/disperse";
        (void)snprintf(why, sizeof why, "This command is supported for only volumes of %s type. Volume %s is not of type %s",
                       kinds, s->volume, kinds);
        if (is_type(s, "distribute") || (replicate_only && !is_type(s, "replicate")))
                return refuse_info(s, EINVAL, why);
        if (!is_true(s, "started")) {
                (void)snprintf(why, sizeof why, "%s: Not able to fetch volfile from glusterd", s->volume);
                return refuse_info(s, EIO, why);
        }
        if (is_type(s, "disperse")) {
                (void)snprintf(why, sizeof why,
                               "%s: it is a disperse volume, whose bricks are asked by GlusterFS's own command only",
                               s->volume);
                return refuse_info(s, EOPNOTSUPP, why);
        }
        return 0;
}

static int ask_bricks(const struct subject *s, json_t **ret)
{
        static const char *const words[] = {"--info", NULL};
        struct error e = {0};
        int r = heal_client(s->look.json, words, ret, &e);
        return r < 0 ? refuse_info(s, -r, e.text) : 0;
}

static int run_info(struct subject *s, enum heal_view view)
{
        json_t *info = NULL;
        int status = prepare(s, view == HEAL_SPLIT_BRAIN);
        if (status == 0)
                status = ask_bricks(s, &info);
        if (status != 0)
                return status;
        if (s->cli->xml)
                heal_print_info_xml(stdout, s->look.json, info, view);
        else if (s->cli->json)
                (void)text_json(info);
        else
                heal_print_info(stdout, s->look.json, info, view);
        json_decref(info);
        return EXIT_SUCCESS;
}

/* ---- statistics -------------------------------------------------------------------------------------------------- */

/* 0: statistics can be gathered; else the exit status. */
static int prepare_statistics(struct subject *s, const char *operation)
{
        char why[1024] = "";
        struct answer refusal = {.error = EINVAL, .reason = why};
        int status = look(s);
        if (status != 0)
                return status;
        if (!s->look.ok)
                return unsuccessful(s, operation, &s->look);
        if (is_type(s, "disperse"))
                (void)snprintf(why, sizeof why,
                               "This command is supported for only volume of replicated type. Volume %s is not of type replicate",
                               s->volume);
        else if (!is_true(s, "enabled"))
                (void)snprintf(why, sizeof why, "Self-heal-daemon is disabled. Heal will not be triggered on volume %s",
                               s->volume);
        else if (!is_true(s, "started"))
                (void)snprintf(why, sizeof why, "Volume %s is not started.", s->volume);
        return *why ? unsuccessful(s, operation, &refusal) : 0;
}

static int run_counts(struct subject *s, const char *replica)
{
        static const char one[] = "Gathering count of entries to be healed per replica",
                          all[] = "Gathering count of entries to be healed";
        json_t *info = NULL;
        int status = prepare_statistics(s, replica ? one : all);
        if (status == 0)
                status = ask_bricks(s, &info);
        if (status != 0)
                return status;
        (void)successful(s, replica ? one : all);
        heal_print_counts(stdout, s->look.json, info, replica);
        json_decref(info);
        return EXIT_SUCCESS;
}

static int run_crawls(struct subject *s)
{
        static const char operation[] = "Gathering crawl statistics";
        int status = prepare_statistics(s, operation);
        if (status != 0)
                return status;
        const char *error = json_string_value(json_object_get(s->look.json, "healer_error"));
        const struct answer refusal = {.error = ENOTCONN, .reason = (char *)(uintptr_t)error};
        if (error)
                return unsuccessful(s, operation, &refusal);
        (void)successful(s, operation);
        heal_print_statistics(stdout, s->look.json);
        return EXIT_SUCCESS;
}

static int run_statistics(struct subject *s, const struct command *command, int argc, char **argv)
{
        if (argc == 0)
                return run_crawls(s);
        if (!streq(argv[0], "heal-count") || (argc > 1 && (argc != 3 || !streq(argv[1], "replica"))))
                return text_usage(command);
        return run_counts(s, argc == 3 ? argv[2] : NULL);
}

/* ---- split-brain ------------------------------------------------------------------------------------------------- */

static int show_resolved(const struct subject *s, const json_t *done, bool one_file)
{
        int error = (int)json_integer_value(json_object_get(done, "result"));
        const char *text = json_string_value(json_object_get(done, "text")) ?: "";
        if (s->cli->json)
                (void)text_json(done);
        else if (error == 0 && !one_file)
                (void)printf("Status: Connected\nNumber of healed entries: %" JSON_INTEGER_FORMAT "\n\n",
                             json_integer_value(json_object_get(done, "healed")));
        else
                (void)printf("%s.\n%s", text, error == 0 || s->cli->xml ? "" : FAILED "\n");
        if (error == 0)
                return EXIT_SUCCESS;
        return starts_with(text, "Lookup failed") ? LOOKUP_FAILED : EXIT_FAILURE;
}

static int resolve(struct subject *s, const char *const words[], bool one_file)
{
        json_t *done = NULL;
        struct error e = {0};
        int status = prepare(s, true);
        if (status != 0)
                return status;
        int r = heal_client(s->look.json, words, &done, &e);
        if (r < 0)
                return refuse_info(s, -r, e.text);
        status = show_resolved(s, done, one_file);
        json_decref(done);
        return status;
}

static int run_split_brain(struct subject *s, const struct command *command, int argc, char **argv)
{
        bool source = argc > 0 && streq(argv[0], "source-brick");
        if (source && (argc == 2 || argc == 3)) {
                const char *const words[] = {"--resolve", argv[0], "--brick", argv[1], argc == 3 ? "--file" : NULL,
                                             argc == 3 ? argv[2] : NULL, NULL};
                return resolve(s, words, argc == 3);
        }
        if (argc != 2 || (!streq(argv[0], "bigger-file") && !streq(argv[0], "latest-mtime")))
                return text_usage(command);
        const char *const words[] = {"--resolve", argv[0], "--file", argv[1], NULL};
        return resolve(s, words, true);
}

/* ---- granular entry heal ----------------------------------------------------------------------------------------- */

/* Directories that wait for a heal were noted the other way. */
static bool any_directory(const json_t *info)
{
        const json_t *bricks = json_object_get(info, "bricks");
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *entries = json_object_get(json_array_get(bricks, i), "entries");
                for (size_t k = 0; k < json_array_size(entries); k++) {
                        const char *type = json_string_value(json_object_get(json_array_get(entries, k), "type"));
                        if (type && !streq(type, "file") && !streq(type, "symlink"))
                                return true;
                }
        }
        return false;
}

static int check_granular(struct subject *s, const char *operation)
{
        static const char pending[] = "Entry heal is pending. Let it end first: see `volume heal VOLNAME info`.";
        const struct answer refusal = {.error = EBUSY, .reason = (char *)(uintptr_t)pending};
        json_t *info = NULL;
        int status = look(s);
        if (status != 0 || !s->look.ok || !is_type(s, "replicate") || !is_true(s, "started"))
                return status; /* mortard says what is wrong */
        status = ask_bricks(s, &info);
        if (status == 0 && any_directory(info))
                status = unsuccessful(s, operation, &refusal);
        json_decref(info);
        return status;
}

static int run_granular(struct subject *s, const struct command *command, int argc, char **argv)
{
        if (argc != 1 || (!streq(argv[0], "enable") && !streq(argv[0], "disable")))
                return text_usage(command);
        bool enable = streq(argv[0], "enable");
        const char *operation = enable ? "Enable granular entry heal" : "Disable granular entry heal";
        int status = enable ? check_granular(s, operation) : 0;
        return status != 0 ? status : run_action(s, enable ? "granular-enable" : "granular-disable", operation);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int run_info_words(struct subject *s, const struct command *command, int argc, char **argv)
{
        if (argc == 0)
                return run_info(s, HEAL_INFO);
        if (argc == 1 && streq(argv[0], "summary"))
                return run_info(s, HEAL_SUMMARY);
        if (argc == 1 && streq(argv[0], "split-brain"))
                return run_info(s, HEAL_SPLIT_BRAIN);
        return text_usage(command);
}

static int run_word(struct subject *s, const struct command *command, int argc, char **argv)
{
        const char *word = argv[0];
        if (argc == 1 && streq(word, "full"))
                return run_launch(s, true);
        if (argc == 1 && streq(word, "enable"))
                return run_action(s, "enable", "Enable heal");
        if (argc == 1 && streq(word, "disable"))
                return run_action(s, "disable", "Disable heal");
        if (streq(word, "info"))
                return run_info_words(s, command, argc - 1, argv + 1);
        if (streq(word, "statistics"))
                return run_statistics(s, command, argc - 1, argv + 1);
        if (streq(word, "split-brain"))
                return run_split_brain(s, command, argc - 1, argv + 1);
        if (streq(word, "granular-entry-heal"))
                return run_granular(s, command, argc - 1, argv + 1);
        return text_usage(command);
}

/* The words before --watch: nothing or `full` begins a heal, `info` does not. */
static int run_watch(struct subject *s, const struct command *command, int argc, char **argv)
{
        bool full = argc == 1 && streq(argv[0], "full"), info = argc == 1 && streq(argv[0], "info");
        if (argc > 0 && !full && !info)
                return text_usage(command);
        if (!info)
                (void)run_launch(s, full); /* when a brick is away it is begun later: that is watched, too */
        return heal_watch(s->cli, s->volume);
}

int run_volume_heal(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        if (argc == 0)
                return text_usage(command);
        struct subject s = {.cli = cli, .volume = argv[0]};
        bool watch = argc > 1 && streq(argv[argc - 1], "--watch");
        int status = watch       ? run_watch(&s, command, argc - 2, argv + 1)
                     : argc == 1 ? run_launch(&s, false)
                                 : run_word(&s, command, argc - 1, argv + 1);
        answer_done(&s.look);
        return status;
}
