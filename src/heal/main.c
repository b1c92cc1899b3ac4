/* mortar-heal: heals the replica sets of a volume (heal/healer.h). */
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "heal/control.h"
#include "heal/process.h"

enum { EXIT_ERROR = 2 };

static int fail(const struct error *err)
{
        (void)fprintf(stderr, "mortar-heal: %s\n", err->text);
        return EXIT_ERROR;
}

/* The directory of the socket: made, if only it is missing. */
static void make_directory_of(const char *path)
{
        char dir[128];
        const char *slash = strrchr(path, '/');
        if (!slash || slash == path || (size_t)(slash - path) >= sizeof dir)
                return;
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
        (void)mkdir(dir, 0755);
}

int main(int argc, char **argv)
{
        static struct heal_options options;
        struct error err = {0};
        log_init("mortar-heal", STDERR_FILENO, getenv("JOURNAL_STREAM") != NULL);
        int r = options_read(argc, argv, &options, &err);
        if (r != 0)
                return r < 0 ? fail(&err) : EXIT_SUCCESS;
        bool daemon = options.mode == MODE_DAEMON || options.mode == MODE_NODE;
        log_set_level((enum log_level)(daemon ? options.log_level : LOG_LEVEL_ERROR));
        if (options.mode == MODE_ASK) {
                r = control_ask(options.socket, options.command, options.volume, &err);
                return r < 0 ? fail(&err) : EXIT_SUCCESS;
        }
        if (daemon)
                make_directory_of(options.socket);
        return heal_process_run(&options);
}
