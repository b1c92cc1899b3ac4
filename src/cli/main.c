/* mortar: the command line. Switches, then words, then the command's handler (cli.md §1). */
#include <strings.h>

#include "cli/cli.h"

#define SOCKET_DEFAULT "/run/mortar/mortard.sock"
#define TIMEOUT_DEFAULT 120
#define EXIT_TIMEOUT_VALUE 254
#define EXIT_UNKNOWN_OPTION 255
#define STOCK_VERSION "10.3" /* whose command line and output this is */

static void print_usage_block(const struct cli *cli)
{
        (void)printf("\n Usage: %s [options] <help> <peer> <pool> <volume>\n"
                     " Options:\n"
                     " --help  Shows the help information\n"
                     " --version  Shows the version\n"
                     " --print-logdir  Shows the log directory\n"
                     " --print-statedumpdir Shows the state dump directory\n\n",
                     cli->program);
}

/* ---- switches ---------------------------------------------------------------------------------------------------- */

enum switched { SWITCH_GO_ON, SWITCH_EXIT };

static enum switched unknown_option(const struct cli *cli, const char *arg, int *ret_status)
{
        (void)printf("unrecognized option %s\n", arg);
        print_usage_block(cli);
        *ret_status = EXIT_UNKNOWN_OPTION;
        return SWITCH_EXIT;
}

/* The value of "--NAME=VALUE", NULL when ARG is something else. */
static const char *value_of(const char *arg, const char *name)
{
        size_t n = strlen(name);
        return starts_with(arg, name) && arg[n] == '=' ? arg + n + 1 : NULL;
}

static bool is_log_level(const char *level)
{
        static const char *const levels[] = {"CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE", "NONE"};
        for (size_t i = 0; i < ELEMENTSOF(levels); i++)
                if (strcasecmp(level, levels[i]) == 0)
                        return true;
        return false;
}

static enum switched set_timeout(struct cli *cli, const char *value, int *ret_status)
{
        char *end;
        long n = strtol(value, &end, 10);
        if (end != value && !*end && n > 0 && n <= 1000000) {
                cli->timeout = (unsigned)n;
                return SWITCH_GO_ON;
        }
        (void)fprintf(stderr, "timeout value should be a positive integer\n");
        *ret_status = EXIT_TIMEOUT_VALUE;
        return SWITCH_EXIT;
}

/* Switches that print something and end. */
static bool print_switch(const struct cli *cli, const char *arg)
{
        if (streq(arg, "--help"))
                help_print(cli);
        else if (streq(arg, "--version"))
                (void)printf(cli_is_gluster(cli) ? "glusterfs " STOCK_VERSION " (mortar %s)\n" : "mortar %s\n",
                             MORTAR_VERSION);
        else if (streq(arg, "--print-logdir"))
                (void)puts("/var/log/mortar");
        else if (streq(arg, "--print-statedumpdir"))
                (void)puts("/var/run/mortar");
        else
                return false;
        return true;
}

static enum switched not_yet(const struct cli *cli, const char *what, int *ret_status)
{
        *ret_status = text_not_yet(cli, what);
        return SWITCH_EXIT;
}

static enum switched read_switch(struct cli *cli, const char *arg, int *ret_status)
{
        const char *value;
        *ret_status = EXIT_SUCCESS;
        if (print_switch(cli, arg))
                return SWITCH_EXIT;
        if ((value = value_of(arg, "--mode"))) {
                cli->script = streq(value, "script");
                return cli->script || streq(value, "interactive") ? SWITCH_GO_ON : unknown_option(cli, arg, ret_status);
        }
        if ((value = value_of(arg, "--timeout")))
                return set_timeout(cli, value, ret_status);
        if ((value = value_of(arg, "--socket")) || (value = value_of(arg, "--glusterd-sock"))) {
                cli->socket = value;
                return SWITCH_GO_ON;
        }
        if ((value = value_of(arg, "--log-level")))
                return is_log_level(value) ? SWITCH_GO_ON : unknown_option(cli, arg, ret_status);
        if (value_of(arg, "--log-file") || streq(arg, "--inet6") || streq(arg, "--wignore") ||
            streq(arg, "--wignore-partition") || streq(arg, "--nolog"))
                return SWITCH_GO_ON;
        if (streq(arg, "--xml")) {
                cli->xml = true;
                return SWITCH_GO_ON;
        }
        if (value_of(arg, "--remote-host"))
                return not_yet(cli, "--remote-host", ret_status);
        if (value_of(arg, "--secure-mgmt"))
                return not_yet(cli, "--secure-mgmt", ret_status);
        return unknown_option(cli, arg, ret_status);
}

/* "-o json" or "--socket PATH" at I: the words used, 0 for another word, -1 for a bad one. */
static int read_pair(struct cli *cli, int argc, char **argv, int i)
{
        if (streq(argv[i], "--socket") && i + 1 < argc) {
                cli->socket = argv[i + 1];
                return 2;
        }
        if (!streq(argv[i], "-o"))
                return 0;
        if (i + 1 >= argc || !streq(argv[i + 1], "json"))
                return -1;
        cli->json = true;
        return 2;
}

/* A switch of a command, for which it is one of its words. */
static bool is_command_switch(const struct cli *cli, const char *arg)
{
        return !cli_is_gluster(cli) && (streq(arg, "--repair") || streq(arg, "--watch"));
}

/* Takes the switches out of ARGV; the words that are left are counted in *ret_words. */
static enum switched read_switches(struct cli *cli, int argc, char **argv, int *ret_words, int *ret_status)
{
        int words = 0;
        bool switches = true;
        for (int i = 1; i < argc; i++) {
                int pair = switches ? read_pair(cli, argc, argv, i) : 0;
                if (pair < 0) {
                        (void)fprintf(stderr, "%s: the only output format is \"-o json\"\n", cli->program);
                        *ret_status = EXIT_FAILURE;
                        return SWITCH_EXIT;
                }
                if (pair > 0) {
                        i += pair - 1;
                } else if (switches && streq(argv[i], "--")) {
                        switches = false;
                } else if (switches && starts_with(argv[i], "--") && !is_command_switch(cli, argv[i])) {
                        if (read_switch(cli, argv[i], ret_status) == SWITCH_EXIT)
                                return SWITCH_EXIT;
                } else {
                        argv[words++] = argv[i];
                }
        }
        *ret_words = words;
        return SWITCH_GO_ON;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int run_words(const struct cli *cli, int n, char **words)
{
        int used = 0, bad = 0;
        const struct command *command = words_match(words, n, &used, &bad);
        if (!command) {
                if (bad < n)
                        (void)printf("unrecognized word: %s (position %d)\n", words[bad], bad);
                else
                        (void)puts("unrecognized command");
                print_usage_block(cli);
                return EXIT_FAILURE;
        }
        if (cli->xml && !command->xml)
                return text_not_yet(cli, "--xml");
        if (!command->run)
                return text_not_yet(cli, command->words);
        return command->run(cli, command, n - used, words + used);
}

int main(int argc, char **argv)
{
        const char *socket = getenv("MORTAR_SOCKET");
        struct cli cli = {
                .program = argc > 0 ? program_invocation_short_name : "mortar",
                .socket = socket && *socket ? socket : SOCKET_DEFAULT,
                .timeout = TIMEOUT_DEFAULT,
        };
        int words = 0, status = EXIT_SUCCESS;
        if (read_switches(&cli, argc, argv, &words, &status) == SWITCH_GO_ON)
                status = words > 0 ? run_words(&cli, words, argv) : text_not_yet(&cli, "the interactive shell");
        if (fflush(stdout) != 0 && status == EXIT_SUCCESS)
                status = EXIT_FAILURE;
        return status;
}
