/* Texts that several commands print (cli.md §1.6, §1.7). */
#include <ctype.h>
#include <strings.h>

#include "cli/cli.h"

bool cli_is_gluster(const struct cli *cli)
{
        return streq(cli->program, "gluster");
}

int text_usage(const struct command *command)
{
        (void)fprintf(stderr, "\nUsage:\n%s%s%s\n\n", command->words, *command->operands ? " " : "", command->operands);
        return EXIT_FAILURE;
}

int text_not_yet(const struct cli *cli, const char *what)
{
        (void)fprintf(stderr, "%s: '%s' is not there yet\n", cli->program, what);
        return EXIT_FAILURE;
}

int text_json(const json_t *json)
{
        (void)json_dumpf(json, stdout, JSON_INDENT(2));
        (void)putchar('\n');
        return EXIT_SUCCESS;
}

/* "y", "yes" 1; "n", "no" 0; others -1. */
static int read_answer(void)
{
        char line[256];
        if (!fgets(line, sizeof line, stdin)) {
                (void)puts("gluster cli read error");
                return -1;
        }
        line[strcspn(line, "\r\n")] = '\0';
        if (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0)
                return 1;
        return strcasecmp(line, "n") == 0 || strcasecmp(line, "no") == 0 ? 0 : -1;
}

bool text_confirm(const struct cli *cli, const char *question)
{
        if (cli->script)
                return true;
        (void)printf("%s (y/n) ", question);
        (void)fflush(stdout);
        int answer = read_answer();
        if (answer < 0)
                (void)puts("Invalid input, please enter y/n");
        return answer == 1;
}
