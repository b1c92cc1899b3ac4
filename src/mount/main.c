/* mortar-mount, mount.mortar, mount.glusterfs, glusterfs: mounts a volume. The command line and the two processes;
 * everything else is process.c. */
#include <stdio.h>
#include <unistd.h>

#include "mount/daemon.h"
#include "mount/log_file.h"
#include "mount/options.h"
#include "mount/place.h"
#include "mount/process.h"

#define STOCK_VERSION "10.3"       /* whose command line this is, too */
#define PATIENCE (15 * NS_PER_SEC) /* beyond the mount's own time limit */

static int complain(const struct mount_options *o, int r, const struct error *err)
{
        (void)fprintf(stderr, "%s\n", err->text);
        if (o->helper)
                return MOUNT_EXIT_USAGE;
        return r == -ENODATA ? MOUNT_EXIT_NOTHING : r == -ENOENT ? MOUNT_EXIT_UNKNOWN : MOUNT_EXIT_USAGE;
}

static bool show(const struct mount_options *o)
{
        if (o->show_version)
                (void)printf("glusterfs " STOCK_VERSION " (mortar %s)\n", MORTAR_VERSION);
        else if (o->show_help)
                mount_options_help(stdout);
        else if (o->show_helper_usage)
                mount_options_usage(stdout);
        return o->show_version || o->show_help || o->show_helper_usage;
}

static void write_pid(const struct mount_options *o)
{
        FILE *f = o->pid_file ? fopen(o->pid_file, "we") : NULL;
        if (f)
                (void)fprintf(f, "%d\n", (int)getpid());
        if (o->pid_file && (!f || fclose(f) != 0))
                (void)fprintf(stderr, "WARNING: %s cannot be written: %s\n", o->pid_file, strerror(errno));
}

/* The daemon's working directory is another. */
static void make_absolute(struct mount_options *o)
{
        if (o->volfile && o->volfile[0] != '/') {
                _cleanup_free_ char *path = realpath(o->volfile, NULL);
                char *copy = path ? arena_strndup(&o->arena, path, strlen(path)) : NULL;
                o->volfile = copy ? copy : o->volfile;
        }
}

static int mount_volume(struct mount_options *o)
{
        struct daemon d = {.report = -EBADF, .alive = -EBADF};
        struct error err = {0};
        char path[PATH_MAX];
        int status = MOUNT_EXIT_FAILED;
        if (place_check(o->mountpoint, path, &status, &err) < 0) {
                (void)fprintf(stderr, "%s\n", err.text);
                return status;
        }
        if (o->fake)
                return 0;
        make_absolute(o);
        int r = o->foreground ? 0 : daemon_start(path, o->mount_timeout + PATIENCE, &d, &err);
        if (r == 0 && o->auto_unmount)
                r = daemon_watch(path, &d, &err);
        if (r < 0) {
                (void)fprintf(stderr, "%s\n", err.text);
                daemon_report(&d, MOUNT_EXIT_FAILED, NULL);
                return MOUNT_EXIT_FAILED;
        }
        log_file_open(o, path);
        write_pid(o);
        if (!o->foreground && chdir("/") < 0)
                return MOUNT_EXIT_FAILED;
        return process_run(o, path, &d);
}

int main(int argc, char **argv)
{
        struct mount_options o;
        struct error err = {0};
        int r = mount_options_parse(argc, argv, &o, &err);
        int status;
        if (r < 0) {
                status = complain(&o, r, &err);
        } else if (show(&o)) {
                status = 0;
        } else {
                for (unsigned i = 0; i < o.warnings.n; i++)
                        (void)printf("%s\n", o.warnings.v[i]);
                (void)fflush(stdout);
                status = mount_volume(&o);
        }
        mount_options_done(&o);
        return status;
}
