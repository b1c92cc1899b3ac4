/* The volume commands but create: operands, the call, text from the answer (cli.md §7, §8). */
#include "cli/cli.h"

#define SHARED_STORAGE "gluster_shared_storage"

static const char *text_of(const json_t *object, const char *member)
{
        const char *s = json_string_value(json_object_get(object, member));
        return s ? s : "";
}

static int number_of(const json_t *object, const char *member)
{
        return (int)json_integer_value(json_object_get(object, member));
}

/* ---- start, stop, delete ----------------------------------------------------------------------------------------- */

static int run_change(const struct cli *cli, const char *word, const char *volume, bool force)
{
        _cleanup_answer_ struct answer a = {0};
        char request[32];
        (void)snprintf(request, sizeof request, "volume-%s", word);
        int status =
                call_mortard(cli, json_pack("{s:s,s:s,s:b}", "command", request, "volume", volume, "force", force), &a);
        if (status != 0)
                return status;
        if (!a.ok) {
                char prefix[512];
                (void)snprintf(prefix, sizeof prefix, "volume %s: %s: failed: ", word, volume);
                return answer_refused(cli, &a, prefix);
        }
        if (cli->json)
                return text_json(a.json);
        (void)printf("volume %s: %s: success\n", word, volume);
        return EXIT_SUCCESS;
}

/* VOLNAME [force]; false: the usage is due. */
static bool volume_force(int argc, char **argv, bool *ret_force)
{
        *ret_force = argc == 2;
        return argc == 1 || (argc == 2 && streq(argv[1], "force"));
}

int run_volume_start(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        bool force;
        return volume_force(argc, argv, &force) ? run_change(cli, "start", argv[0], force) : text_usage(command);
}

int run_volume_stop(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        bool force;
        if (!volume_force(argc, argv, &force))
                return text_usage(command);
        const char *question =
                streq(argv[0], SHARED_STORAGE)
                        ? "Stopping the shared storage volume(" SHARED_STORAGE
                          "), will affect features like snapshot scheduler, geo-replication and NFS-Ganesha. Do"
                          " you still want to continue?"
                        : "Stopping volume will make its data inaccessible. Do you want to continue?";
        return text_confirm(cli, question) ? run_change(cli, "stop", argv[0], force) : EXIT_SUCCESS;
}

int run_volume_delete(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        if (argc != 1)
                return text_usage(command);
        const char *question =
                streq(argv[0], SHARED_STORAGE)
                        ? "Deleting the shared storage volume(" SHARED_STORAGE
                          "), will affect features like snapshot scheduler, geo-replication and NFS-Ganesha. Do"
                          " you still want to continue?"
                        : "Deleting volume will erase all information about the volume. Do you want to continue?";
        return text_confirm(cli, question) ? run_change(cli, "delete", argv[0], false) : EXIT_SUCCESS;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* The volumes of the answer to WORD about VOLUME (NULL: all) in *ret; else the exit status, with the reason printed. */
static int ask(const struct cli *cli, const char *word, const char *volume, struct answer *ret,
               const json_t **ret_volumes)
{
        int status = call_mortard(cli, json_pack("{s:s,s:s*}", "command", word, "volume", volume), ret);
        if (status != 0)
                return status;
        if (!ret->ok)
                return answer_refused(cli, ret, "");
        *ret_volumes = json_object_get(ret->json, "volumes");
        return 0;
}

int run_volume_list(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        const json_t *volumes;
        (void)argv;
        if (argc != 0)
                return text_usage(command);
        int status = ask(cli, "volume-list", NULL, &a, &volumes);
        if (status != 0)
                return status;
        if (cli->json)
                return text_json(a.json);
        for (size_t i = 0; i < json_array_size(volumes); i++)
                (void)puts(json_string_value(json_array_get(volumes, i)));
        if (json_array_size(volumes) == 0)
                (void)fputs("No volumes present in cluster\n", stderr);
        return EXIT_SUCCESS;
}

/* ---- info -------------------------------------------------------------------------------------------------------- */

/* "6", "2 x 3 = 6", "2 x (2 + 1) = 6" */
static void print_brick_count(const json_t *v)
{
        int n = number_of(v, "brick_count"), spare = number_of(v, "arbiter_count") + number_of(v, "redundancy_count");
        int set = MAX(number_of(v, "replica_count"), number_of(v, "disperse_count"));
        if (set <= 1)
                (void)printf("Number of Bricks: %d\n", n);
        else if (spare == 0)
                (void)printf("Number of Bricks: %d x %d = %d\n", n / set, set, n);
        else
                (void)printf("Number of Bricks: %d x (%d + %d) = %d\n", n / set, set - spare, spare, n);
}

static void print_bricks(const json_t *bricks)
{
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *b = json_array_get(bricks, i);
                (void)printf("Brick%zu: %s%s\n", i + 1, text_of(b, "name"),
                             json_is_true(json_object_get(b, "arbiter")) ? " (arbiter)" : "");
        }
}

static void print_volume(const json_t *v)
{
        (void)printf(" \nVolume Name: %s\n", text_of(v, "name"));
        if (json_object_get(v, "error")) {
                (void)printf("Status: Unusable\nReason: %s\n", text_of(v, "error"));
                return;
        }
        (void)printf("Type: %s\nVolume ID: %s\nStatus: %s\nSnapshot Count: %d\n", text_of(v, "type"), text_of(v, "id"),
                     text_of(v, "status"), number_of(v, "snapshot_count"));
        print_brick_count(v);
        (void)printf("Transport-type: %s\nBricks:\n", text_of(v, "transport"));
        print_bricks(json_object_get(v, "bricks"));
        const json_t *options = json_object_get(v, "options");
        if (json_array_size(options) > 0)
                (void)puts("Options Reconfigured:");
        for (size_t i = 0; i < json_array_size(options); i++)
                (void)printf("%s: %s\n", text_of(json_array_get(options, i), "name"),
                             text_of(json_array_get(options, i), "value"));
}

/* [all|VOLNAME] to a name, NULL for all. */
static const char *volume_or_all(int argc, char **argv)
{
        return argc == 0 || streq(argv[0], "all") ? NULL : argv[0];
}

int run_volume_info(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        const json_t *volumes;
        if (argc > 1)
                return text_usage(command);
        int status = ask(cli, "volume-info", volume_or_all(argc, argv), &a, &volumes);
        if (status != 0)
                return status;
        if (cli->json)
                return text_json(a.json);
        for (size_t i = 0; i < json_array_size(volumes); i++)
                print_volume(json_array_get(volumes, i));
        if (json_array_size(volumes) == 0)
                (void)fputs("No volumes present\n", stderr);
        return EXIT_SUCCESS;
}

/* ---- status ------------------------------------------------------------------------------------------------------ */

#define NAME_COLUMN 43
#define RULE "------------------------------------------------------------------------------"

static void print_row(const char *kind, const json_t *brick)
{
        char name[8192], port[16] = "N/A", pid[16] = "N/A";
        bool online = json_is_true(json_object_get(brick, "online"));
        (void)snprintf(name, sizeof name, "%s %s", kind, text_of(brick, "name"));
        if (online) {
                (void)snprintf(port, sizeof port, "%d", number_of(brick, "port"));
                (void)snprintf(pid, sizeof pid, "%d", number_of(brick, "pid"));
        }
        const char *at = name;
        for (; strlen(at) > NAME_COLUMN; at += NAME_COLUMN)
                (void)printf("%.*s\n", NAME_COLUMN, at);
        (void)printf("%-*s %-10s%-11s%-8c%-5s\n", NAME_COLUMN, at, port, online ? "0" : "N/A", online ? 'Y' : 'N', pid);
}

static void print_daemon(const char *kind, const json_t *daemon)
{
        char pid[16] = "N/A";
        bool online = json_is_true(json_object_get(daemon, "online"));
        if (online)
                (void)snprintf(pid, sizeof pid, "%d", number_of(daemon, "pid"));
        char name[512];
        (void)snprintf(name, sizeof name, "%s on %s", kind, text_of(daemon, "name"));
        (void)printf("%-*s %-10s%-11s%-8c%-5s\n", NAME_COLUMN, name, "N/A", "N/A", online ? 'Y' : 'N', pid);
}

static void print_status(const json_t *v)
{
        const json_t *bricks = json_object_get(v, "bricks");
        (void)printf("Status of volume: %s\n%-*s TCP Port  RDMA Port  Online  Pid\n" RULE "\n", text_of(v, "name"),
                     NAME_COLUMN, "Gluster process");
        for (size_t i = 0; i < json_array_size(bricks); i++)
                print_row("Brick", json_array_get(bricks, i));
        if (json_object_get(v, "self_heal"))
                print_daemon("Self-heal Daemon", json_object_get(v, "self_heal"));
        (void)printf(" \nTask Status of Volume %s\n" RULE "\nThere are no active volume tasks\n \n",
                     text_of(v, "name"));
}

/* What cannot be shown, with the reason; false: it can. */
static bool print_no_status(const json_t *v)
{
        if (json_object_get(v, "error"))
                (void)fprintf(stderr, "Volume %s cannot be used: %s\n", text_of(v, "name"), text_of(v, "error"));
        else if (!json_is_true(json_object_get(v, "started")))
                (void)fprintf(stderr, "Volume %s is not started\n", text_of(v, "name"));
        else
                return false;
        return true;
}

static int print_statuses(const json_t *volumes, bool all)
{
        int status = EXIT_SUCCESS;
        if (json_array_size(volumes) == 0)
                (void)fputs("No volumes present\n", stderr);
        for (size_t i = 0; i < json_array_size(volumes); i++) {
                const json_t *v = json_array_get(volumes, i);
                if (!print_no_status(v))
                        print_status(v);
                else if (all)
                        (void)puts(" ");
                else
                        status = EXIT_FAILURE;
        }
        return status;
}

/* The other forms of the command. */
static int refuse_form(const struct cli *cli, const struct command *command, const char *word)
{
        static const char *const forms[] = {"detail",      "clients", "mem", "inode",  "fd",    "callpool", "tasks",
                                            "client-list", "nfs",     "shd", "quotad", "snapd", "bitd",     "scrub"};
        char what[64];
        for (size_t i = 0; i < ELEMENTSOF(forms); i++)
                if (streq(forms[i], word)) {
                        (void)snprintf(what, sizeof what, "volume status ... %s", word);
                        return text_not_yet(cli, what);
                }
        if (strstr(word, ":/"))
                return text_not_yet(cli, "volume status VOLNAME BRICK");
        (void)fprintf(stderr, "%s is not a valid status option\n", word);
        return text_usage(command);
}

int run_volume_status(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        const json_t *volumes;
        if (argc > 1)
                return refuse_form(cli, command, argv[argc - 1]);
        const char *volume = volume_or_all(argc, argv);
        int status = ask(cli, "volume-status", volume, &a, &volumes);
        if (status != 0)
                return status;
        return cli->json ? text_json(a.json) : print_statuses(volumes, !volume);
}
