/* Help, made from the table of commands. */
#include "cli/cli.h"

static void print_command(const struct command *c)
{
        (void)printf("  %s%s%s\n        %s\n", c->words, *c->operands ? " " : "", c->operands, c->summary);
}

static void print_commands(const char *prefix)
{
        size_t n;
        const struct command *table = command_table(&n);
        for (size_t i = 0; i < n; i++)
                if (table[i].run && starts_with(table[i].words, prefix))
                        print_command(&table[i]);
}

void help_print(const struct cli *cli)
{
        (void)printf("usage: %s [OPTION]... COMMAND [ARGUMENT]...\n\n"
                     "The command line of mortar. Commands may be abbreviated to what is unambiguous.\n\n"
                     "Commands:\n",
                     cli->program);
        print_commands("");
        (void)printf(
                "\nOptions, anywhere on the line:\n"
                "  --mode=script       ask nothing: every question is answered with yes\n"
                "  -o json             print the result as JSON\n"
                "  --timeout=SECONDS   how long to wait for an answer (120)\n"
                "  --socket=PATH       mortard's socket (MORTAR_SOCKET, else /run/mortar/mortard.sock)\n"
                "  --version           print the version and exit\n"
                "  --help              print this and exit\n\n"
                "Exit status: 0 success or a question answered with no, 1 a command that was refused, failed or is\n"
                "not understood, 254 a bad --timeout, 255 an unknown option.\n");
}

int run_help(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        (void)command;
        (void)argc;
        (void)argv;
        help_print(cli);
        return EXIT_SUCCESS;
}

int run_volume_help(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        (void)cli;
        (void)command;
        (void)argc;
        (void)argv;
        print_commands("volume ");
        return EXIT_SUCCESS;
}
