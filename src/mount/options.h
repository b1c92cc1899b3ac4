/* The command line of mortar-mount: one table of names (options.c), two grammars.
 *
 *      mortar-mount [OPTION]... SERVER[,SERVER]...:/VOLUME[/DIR] MOUNTPOINT [-o NAME[=VALUE],...]
 *      glusterfs    [OPTION]... MOUNTPOINT                          (servers and volume given as options)
 *      mount.glusterfs, mount.mortar SPEC MOUNTPOINT [-sfnv] [-o ...]      as mount(8) calls its helpers
 *
 * Spec: cli.md §22, kubernetes.md §2.4. Only words are looked at: files, mounts and servers are process.c's. Thread:
 * any.
 */
#pragma once

#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

enum {
        MOUNT_SERVERS_MAX = 32,
        MOUNT_XLATOR_OPTIONS_MAX = 256,
        MOUNT_EXIT_USAGE = 1,     /* of the mount helper */
        MOUNT_EXIT_UNKNOWN = 64,  /* of the client words: an option nobody knows */
        MOUNT_EXIT_NOTHING = 255, /* of the client words: no words at all */
        MOUNT_EXIT_PLACE = 2,     /* nobody mounts there */
        MOUNT_EXIT_MOUNTED = 32,
        MOUNT_EXIT_FAILED = 1,
};

/* A list of texts that stand on the command line. */
struct mount_words {
        const char **v;
        unsigned n;
};

enum mount_direct_io { MOUNT_DIRECT_AUTO, MOUNT_DIRECT_ALWAYS, MOUNT_DIRECT_NEVER };

/* What is to be done, as the command line says it. Texts live in the arena or in argv. Times are ns; a time that was
 * not given is UINT64_MAX. */
struct mount_options {
        struct arena arena;
        bool helper; /* called by mount(8): other letters, stock's words for failures */
        bool show_version, show_help, show_helper_usage;

        const char *spec;           /* "h:/v/sub" as typed, NULL when given by options */
        const char *source;         /* what df shows */
        const char *mountpoint;     /* as typed */
        struct mount_words servers; /* names or addresses, without brackets, in the order to try; no name twice */
        const char *backup_list, *backup_one; /* as given; they are in `servers` */
        const char *volume_id;                /* the key of the volfile, "/v" or "v" as typed */
        const char *volfile;                  /* a file instead of servers */
        const char *subdir;                   /* "/sub" or NULL */
        uint32_t server_port;
        uint32_t fetch_attempts; /* 0: one per server */
        const char *transport;   /* NULL or "tcp" */

        const char *log_file; /* NULL: the default place */
        const char *log_level_text;
        enum log_level log_level;
        bool log_none;
        const char *pid_file;
        const char *process_name;
        bool foreground, fake, sloppy, verbose, debug;

        bool read_only, acl, selinux, auto_unmount, no_root_squash, ino32;
        int32_t client_pid; /* 0, or one of PID_* */
        enum mount_direct_io direct_io;
        uint64_t attribute_timeout, entry_timeout, negative_timeout, gid_timeout, mount_timeout, outage_wait;
        bool readdirp, local_reads, keep_cache, auto_invalidation, io_uring;
        uint32_t lru_limit, background, congestion;
        uint32_t fuse_minor; /* 0: what both sides know */
        int32_t oom_score;
        bool oom_score_set;
        struct mount_words xlator_options; /* "PATTERN.KEY=VALUE" */
        unsigned long kernel_flags;        /* MS_* */
        const char *kernel_options;        /* "context=…,…", goes into mount(2)'s data; NULL: none */
        struct mount_words warnings;       /* sentences for standard error */
};

/* Reads the words. Called as "mount.*" the helper's grammar applies. -EINVAL with the text that stock prints; -ENOENT:
 * an unknown word (MOUNT_EXIT_UNKNOWN for the client words); -ENODATA: no words at all; -ENOMEM. With show_* set
 * nothing else is checked. RET is to be given to mount_options_done() in any case. */
int mount_options_parse(int argc, char **argv, struct mount_options *ret, struct error *err);
void mount_options_done(struct mount_options *o);

/* The text of --help: synopsis and the table. */
void mount_options_help(FILE *out);
/* What the mount helper prints for -h. */
void mount_options_usage(FILE *out);

/* One row of the table, for the tests: index from 0; false behind the last. */
struct mount_option_name {
        const char *name;
        char letter;       /* 0: none */
        bool word, listed; /* as --name; as -o name */
        bool argument, optional;
};
bool mount_option_at(unsigned index, struct mount_option_name *ret);
