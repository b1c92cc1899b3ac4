/* The command line of mortar-mount as one table (options.h).
 *
 * A row is one option: how it is written as `-o name`, as `--name` and as a letter, what it takes, where its value
 * goes. Options that only tune the stock client are ACCEPTED without effect; those whose silence would change what the
 * user gets are REFUSED with a sentence. Pure functions over the words; any thread.
 */
#include "mount/options.h"

#include <ctype.h>
#include <math.h>
#include <strings.h>
#include <sys/mount.h>

#include "proto/types.h"

#define ARENA_MAX (4 * MIB)
#define SECONDS_MAX 1e9
#define PORT_MAX 65535
#define DEFAULT_GID_TIMEOUT NS_PER_SEC
#define DEFAULT_MOUNT_TIMEOUT (30 * NS_PER_SEC)
#define DEFAULT_OUTAGE_WAIT (30 * NS_PER_SEC)
#define DEFAULT_LRU_LIMIT 65536
#define DEFAULT_BACKGROUND 64
#define DEFAULT_CONGESTION 48
#define DEFAULT_PORT 24007
#define FUSE_MINOR_LEAST 31 /* fuse/kernel.h */

/* ---- the table --------------------------------------------------------------------------------------------------- */

enum kind {
        FLAG,     /* no argument: bool becomes true */
        OPTIONAL, /* a yes or no that may be left out: yes */
        YESNO,
        DIRECT,  /* enum mount_direct_io */
        SECONDS, /* ns */
        NUMBER,  /* uint32_t */
        TEXT,
        LIST,     /* struct mount_words */
        KERNEL,   /* sets .flag in kernel_flags; no argument */
        UNKERNEL, /* clears it */
        CONTEXT,  /* "name=value" goes to the kernel */
        ACCEPTED, /* no argument, no effect */
        VALUE,    /* an argument, no effect */
        OPTIONAL_VALUE,
        UNHANDLED, /* no effect, and that is said */
        UNHANDLED_VALUE,
        REFUSED, /* .help is the sentence */
        REFUSED_VALUE,
        CALL,      /* .set, with an argument */
        CALL_FLAG, /* .set, without */
};
static const bool takes_argument[] = {
        [YESNO] = true, [DIRECT] = true,     [SECONDS] = true, [NUMBER] = true,          [TEXT] = true,
        [LIST] = true,  [CONTEXT] = true,    [VALUE] = true,   [UNHANDLED_VALUE] = true, [REFUSED_VALUE] = true,
        [CALL] = true,  [CALL_FLAG] = false,
};

#define O 1u /* as -o name */
#define W 2u /* as --name */

struct row;
typedef int set_fn(struct mount_options *o, const struct row *row, const char *value, struct error *err);

struct row {
        const char *name, *alias;
        char letter; /* of the client words */
        unsigned where;
        enum kind kind;
        size_t offset;
        const char *argument;
        const char *help; /* NULL: not listed in the help */
        set_fn *set;
        unsigned long flag;
};

static set_fn set_backup_list, set_backup_one, set_server, set_transport, set_log_level, set_root_squash,
        set_no_root_squash, set_client_pid, set_oom_score, set_kernel_list, set_halo, set_debug, set_process_name,
        set_fuse_minor;

#define AT(member) offsetof(struct mount_options, member)
#define SHOWN_ "accepted, no effect: "
/* clang-format off */
static const struct row rows[] = {
        /* servers and volume */
        {"volfile-server", NULL, 's', W, CALL, 0, "HOST",
         "a server that has the volume; several are tried in order", set_server},
        {"volfile-id", NULL, 0, W, TEXT, AT(volume_id), "VOLUME", "the volume, as its servers know it"},
        {"volume-id", NULL, 0, O, TEXT, AT(volume_id), "VOLUME", "another volume than the one before the mount point"},
        {"volfile", NULL, 'f', W, TEXT, AT(volfile), "FILE", "a volfile instead of servers and volume"},
        {"backup-volfile-servers", NULL, 0, O, CALL, 0, "HOST:HOST...",
         "further servers to ask for the volume", set_backup_list},
        {"backupvolfile-server", NULL, 0, O, CALL, 0, "HOST", "one further server", set_backup_one},
        {"server-port", "volfile-server-port", 0, O | W, NUMBER, AT(server_port), "N",
         "port of the servers (default: 24007)"},
        {"fetch-attempts", "volfile-max-fetch-attempts", 0, O | W, NUMBER, AT(fetch_attempts), "N",
         "how often the list of servers is tried (default: 1)"},
        {"transport", "volfile-server-transport", 0, O | W, CALL, 0, "tcp", "how servers are reached", set_transport},
        {"subdir-mount", NULL, 0, O | W, TEXT, AT(subdir), "/DIR", "mount only this directory of the volume"},
        {"xlator-option", NULL, 0, O | W, LIST, AT(xlator_options), "NAME.KEY=VALUE",
         "sets an option in the volfile's sections whose names match"},
        {"halo-max-latency", NULL, 0, O, CALL, 0, "MS", "for replicate: farthest brick that is written to", set_halo},
        {"halo-max-replicas", NULL, 0, O, CALL, 0, "N", "for replicate: most bricks that are written to", set_halo},
        {"halo-min-replicas", NULL, 0, O, CALL, 0, "N", "for replicate: fewest bricks that are written to", set_halo},
        {"mount-timeout", NULL, 0, O | W, SECONDS, AT(mount_timeout), "SECONDS",
         "time for the volume to answer before mounting fails (default: 30)"},
        {"outage-wait", NULL, 0, O | W, SECONDS, AT(outage_wait), "SECONDS",
         "how long operations wait for bricks that are away, 0: not at all (default: 30)"},
        {"local-reads", NULL, 0, O | W, YESNO, AT(local_reads), "yes|no",
         "files of bricks on this machine are read past them (default: yes)"},
        /* the log */
        {"log-level", NULL, 'L', O | W, CALL, 0, "LEVEL",
         "ERROR, WARNING, INFO, DEBUG or NONE (default: INFO)", set_log_level},
        {"log-file", NULL, 'l', O | W, TEXT, AT(log_file), "FILE",
         "default: /var/log/glusterfs/, named after the mount point"},
        /* what users see */
        {"ro", "read-only", 0, O | W, FLAG, AT(read_only), NULL, "nothing can be changed through this mount"},
        {"acl", NULL, 0, O | W, FLAG, AT(acl), NULL, "POSIX ACLs"},
        {"selinux", NULL, 0, O | W, FLAG, AT(selinux), NULL, "SELinux labels are kept in the volume"},
        {"enable-ino32", NULL, 0, O | W, FLAG, AT(ino32), NULL, "inode numbers of 32 bits"},
        {"subtype", NULL, 0, O, VALUE, 0, NULL, NULL},
        {"root-squash", NULL, 0, O, CALL, 0, "no", "as no-root-squash=yes", set_root_squash},
        {"no-root-squash", NULL, 0, O, CALL, 0, "yes",
         "root of a trusted node stays root on a volume with server.root-squash", set_no_root_squash},
        {"no-root-squash", NULL, 0, W, FLAG, AT(no_root_squash), NULL, NULL},
        {"client-pid", NULL, 0, W, CALL, 0, "N", "names an internal client to the bricks", set_client_pid},
        {"gid-timeout", NULL, 0, O | W, SECONDS, AT(gid_timeout), "SECONDS",
         "how long groups of a process are remembered (default: 1)"},
        /* caches */
        {"attribute-timeout", NULL, 0, O | W, SECONDS, AT(attribute_timeout), "SECONDS",
         "how long attributes are believed (default: 1)"},
        {"entry-timeout", NULL, 0, O | W, SECONDS, AT(entry_timeout), "SECONDS",
         "how long names are believed (default: 1)"},
        {"negative-timeout", NULL, 0, O | W, SECONDS, AT(negative_timeout), "SECONDS",
         "how long a missing name is believed to be missing (default: 0)"},
        {"direct-io-mode", NULL, 0, O | W, DIRECT, AT(direct_io), "on|off|auto",
         "whether reads and writes pass by the kernel's page cache (default: auto)"},
        {"use-readdirp", NULL, 0, O | W, YESNO, AT(readdirp), "yes|no",
         "directories are read with attributes (default: yes)"},
        {"fopen-keep-cache", NULL, 0, O | W, OPTIONAL, AT(keep_cache), "yes|no",
         "pages of a file stay cached when it is opened again (default: no)"},
        {"auto-invalidation", NULL, 0, O | W, YESNO, AT(auto_invalidation), "yes|no",
         "pages are dropped when size or time of a file changed elsewhere (default: yes)"},
        {"lru-limit", NULL, 0, O | W, NUMBER, AT(lru_limit), "N",
         "objects that the kernel may remember, 0: any number (default: 65536)"},
        {"background-qlen", NULL, 0, O | W, NUMBER, AT(background), "N",
         "requests the kernel sends ahead (default: 64)"},
        {"congestion-threshold", NULL, 0, O | W, NUMBER, AT(congestion), "N",
         "of them, those that make the mount count as busy (default: 48)"},
        {"io-uring", NULL, 0, O | W, OPTIONAL, AT(io_uring), "yes|no",
         "requests come by io_uring, where the kernel has that switched on (default: no)"},
        {"fuse-minor", NULL, 0, O | W, CALL, 0, "N",
         "use nothing of the kernel that came after FUSE 7.N (31 or more; default: all)", set_fuse_minor},
        /* the process */
        {"no-daemon", NULL, 'N', W, FLAG, AT(foreground), NULL, "stay in the foreground"},
        {"debug", NULL, 0, W, CALL_FLAG, 0, NULL,
         "stay in the foreground, log everything to standard error", set_debug},
        {"pid-file", NULL, 'p', W, TEXT, AT(pid_file), "FILE", "where the process writes its number"},
        {"auto_unmount", NULL, 0, O | W, FLAG, AT(auto_unmount), NULL, "unmount even if the process is killed"},
        {"oom-score-adj", NULL, 0, O | W, CALL, 0, "N", "as /proc/PID/oom_score_adj", set_oom_score},
        {"process-name", NULL, 0, O | W, CALL, 0, "NAME", "shown in the list of processes", set_process_name},
        /* the kernel's mount flags */
        {"fuse-mountopts", NULL, 0, O | W, CALL, 0, "LIST",
         "options of this list that go to the kernel", set_kernel_list},
        {"context", NULL, 0, O, CONTEXT, 0, "LABEL", "SELinux label of everything below the mount point"},
        {"fscontext", NULL, 0, O, CONTEXT, 0, "LABEL", NULL},
        {"defcontext", NULL, 0, O, CONTEXT, 0, "LABEL", NULL},
        {"rootcontext", NULL, 0, O, CONTEXT, 0, "LABEL", NULL},
        {"noatime", NULL, 0, O, KERNEL, 0, NULL,
         "these and their opposites are flags of the mount, see mount(8)", NULL, MS_NOATIME},
        {"nodiratime", NULL, 0, O, KERNEL, 0, NULL, "", NULL, MS_NODIRATIME},
        {"relatime", NULL, 0, O, KERNEL, 0, NULL, "", NULL, MS_RELATIME},
        {"strictatime", NULL, 0, O, KERNEL, 0, NULL, "", NULL, MS_STRICTATIME},
        {"nodev", NULL, 0, O, KERNEL, 0, NULL, "", NULL, MS_NODEV},
        {"noexec", NULL, 0, O, KERNEL, 0, NULL, "", NULL, MS_NOEXEC},
        {"nosuid", NULL, 0, O, KERNEL, 0, NULL, "", NULL, MS_NOSUID},
        {"atime", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_NOATIME},
        {"diratime", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_NODIRATIME},
        {"norelatime", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_RELATIME},
        {"nostrictatime", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_STRICTATIME},
        {"dev", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_NODEV},
        {"exec", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_NOEXEC},
        {"suid", NULL, 0, O, UNKERNEL, 0, NULL, NULL, NULL, MS_NOSUID},
        {"async", NULL, 0, O, UNHANDLED}, {"sync", NULL, 0, O, UNHANDLED}, {"dirsync", NULL, 0, O, UNHANDLED},
        {"mand", NULL, 0, O, UNHANDLED}, {"nomand", NULL, 0, O, UNHANDLED}, {"silent", NULL, 0, O, UNHANDLED},
        {"loud", NULL, 0, O, UNHANDLED}, {"iversion", NULL, 0, O, UNHANDLED}, {"noiversion", NULL, 0, O, UNHANDLED},
        {"nofail", NULL, 0, O, UNHANDLED},
        /* without effect here */
        {"rw", NULL, 0, O, ACCEPTED}, {"auto", NULL, 0, O, ACCEPTED}, {"noauto", NULL, 0, O, ACCEPTED},
        {"_netdev", NULL, 0, O, ACCEPTED}, {"defaults", NULL, 0, O, ACCEPTED},
        {"mem-accounting", NULL, 0, O | W, ACCEPTED, 0, NULL,
         SHOWN_ "switches and figures of the stock client's inside"},
        {"thin-client", NULL, 0, O | W, ACCEPTED, 0, NULL, ""},
        {"resolve-gids", NULL, 0, O | W, ACCEPTED, 0, NULL, ""},
        {"global-threading", NULL, 0, O | W, ACCEPTED, 0, NULL, ""},
        {"localtime-logging", NULL, 0, O | W, ACCEPTED, 0, NULL, ""},
        {"volfile-check", NULL, 0, O | W, OPTIONAL_VALUE, 0, NULL, ""},
        {"invalidate-limit", NULL, 0, O | W, VALUE, 0, "N", ""},
        {"event-history", NULL, 0, O | W, VALUE, 0, "yes|no", ""},
        {"reader-thread-count", NULL, 0, O | W, VALUE, 0, "N", ""},
        {"attr-times-granularity", NULL, 0, O | W, VALUE, 0, "NS", ""},
        {"fuse-flush-handle-interrupt", NULL, 0, O | W, VALUE, 0, "yes|no", ""},
        {"fuse-dev-eperm-ratelimit-ns", NULL, 0, O | W, VALUE, 0, "NS", ""},
        {"io-engine", NULL, 0, O | W, VALUE, 0, "NAME", ""},
        {"socket-file", NULL, 'S', W, VALUE, 0, "PATH", ""},
        {"log-format", NULL, 0, W, VALUE, 0, "FORMAT", ""},
        {"logger", NULL, 0, W, VALUE, 0, "NAME", ""},
        {"run-id", NULL, 'r', W, VALUE, 0, "ID", ""},
        {"secure-mgmt", NULL, 0, W, OPTIONAL_VALUE, 0, NULL, NULL},
        {"dump-fuse", NULL, 0, O | W, UNHANDLED_VALUE, 0, "FILE", NULL},
        {"kernel-writeback-cache", NULL, 0, O | W, UNHANDLED_VALUE, 0, "yes|no", NULL},
        /* what must not be passed over */
        {"worm", NULL, 0, O | W, REFUSED, 0, NULL,
         "write once, read many is not enforced by this client: use the stock client"},
        {"aux-gfid-mount", NULL, 0, O | W, REFUSED, 0, NULL, "this client does not show /.gfid: use the stock client"},
        {"volume-name", NULL, 0, O | W, REFUSED_VALUE, 0, NULL,
         "this client mounts whole volumes, not a section of the volfile"},
};
/* clang-format on */

static const struct row *find_row(const char *name, size_t len, unsigned where)
{
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const struct row *row = &rows[i];
                if (!(row->where & where))
                        continue;
                if (strlen(row->name) == len && memcmp(row->name, name, len) == 0)
                        return row;
                if (row->alias && strlen(row->alias) == len && memcmp(row->alias, name, len) == 0)
                        return row;
        }
        return NULL;
}

static const struct row *find_letter(char letter)
{
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (rows[i].letter == letter)
                        return &rows[i];
        return NULL;
}

static bool row_optional(const struct row *row)
{
        return row->kind == OPTIONAL || row->kind == OPTIONAL_VALUE;
}

bool mount_option_at(unsigned index, struct mount_option_name *ret)
{
        if (index >= ELEMENTSOF(rows))
                return false;
        const struct row *row = &rows[index];
        *ret = (struct mount_option_name){.name = row->name,
                                          .letter = row->letter,
                                          .word = row->where & W,
                                          .listed = row->where & O,
                                          .argument = takes_argument[row->kind],
                                          .optional = row_optional(row)};
        return true;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static int bad_value(const struct row *row, const char *value, const char *wanted, struct error *err)
{
        return error_set(err, -EINVAL, "Invalid value '%s' of option %s: %s is wanted", value, row->name, wanted);
}

static int parse_yesno(const char *value, bool *ret)
{
        static const char *const yes[] = {"yes", "on", "true", "enable", "enabled", "1"};
        static const char *const no[] = {"no", "off", "false", "disable", "disabled", "0"};
        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
                        *ret = strcasecmp(value, yes[i]) == 0;
                        return 0;
                }
        }
        return -EINVAL;
}

static int parse_number(const char *value, long long low, long long high, long long *ret)
{
        char *end;
        errno = 0;
        long long n = strtoll(value, &end, 10);
        if (errno != 0 || end == value || *end || isspace((unsigned char)value[0]) || n < low || n > high)
                return -EINVAL;
        *ret = n;
        return 0;
}

static int parse_seconds(const char *value, uint64_t *ret)
{
        char *end;
        if (!isdigit((unsigned char)value[0]) && value[0] != '.')
                return -EINVAL;
        double seconds = strtod(value, &end);
        if (end == value || *end || !(seconds >= 0) || seconds > SECONDS_MAX)
                return -EINVAL;
        *ret = (uint64_t)(seconds * (double)NS_PER_SEC);
        return 0;
}

static int words_add(struct mount_options *o, struct mount_words *w, const char *text, unsigned max, struct error *err)
{
        if (w->n >= max)
                return error_set(err, -EINVAL, "There are more than %u of '%s' and the like", max, text);
        const char **bigger = arena_alloc_array(&o->arena, w->n + 1, sizeof *bigger);
        if (!bigger)
                return error_set(err, -ENOMEM, "out of memory");
        if (w->n > 0)
                memcpy(bigger, w->v, w->n * sizeof *bigger);
        bigger[w->n++] = text;
        w->v = bigger;
        return 0;
}

static void warn(struct mount_options *o, const char *text)
{
        if (text)
                (void)words_add(o, &o->warnings, text, 256, NULL);
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

/* HOST[0..LEN) with or without brackets; one that is there already is no error. */
static int add_server(struct mount_options *o, const char *host, size_t len, struct error *err)
{
        if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
                host++;
                len -= 2;
        }
        if (len == 0 || len > NAME_LIMIT)
                return error_set(err, -EINVAL, "A server has no name, or one of more than %d characters", NAME_LIMIT);
        char *name = arena_strndup(&o->arena, host, len);
        if (!name)
                return error_set(err, -ENOMEM, "out of memory");
        for (unsigned i = 0; i < o->servers.n; i++)
                if (streq(o->servers.v[i], name))
                        return 0;
        return words_add(o, &o->servers, name, MOUNT_SERVERS_MAX, err);
}

/* Servers separated by SEPARATOR, which may stand inside brackets. */
static int add_servers(struct mount_options *o, const char *list, size_t len, char separator, struct error *err)
{
        size_t from = 0;
        int depth = 0;
        for (size_t i = 0; i <= len; i++) {
                if (i < len && list[i] == '[')
                        depth++;
                else if (i < len && list[i] == ']')
                        depth--;
                else if (i == len || (list[i] == separator && depth <= 0)) {
                        int r = add_server(o, list + from, i - from, err);
                        if (r < 0)
                                return r;
                        from = i + 1;
                }
        }
        return 0;
}

static int set_server(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        return add_server(o, value, strlen(value), err);
}

/* Servers of -o come after the one before the volume, and of several lists the last counts: finish_servers() adds them.
 */
static int set_backup_list(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        if (value[0] == '\0' || value[strlen(value) - 1] == ':')
                return error_set(err, -EINVAL, "ERROR: Invalid backup-volfile-servers specified.. exiting");
        o->backup_list = value;
        return 0;
}

static int set_backup_one(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        if (value[0] == '\0')
                return error_set(err, -EINVAL, "ERROR: Invalid backup server specified.. exiting");
        o->backup_one = value;
        return 0;
}

static int finish_servers(struct mount_options *o, struct error *err)
{
        int r = 0;
        if (o->backup_list && strchr(o->backup_list, '[') == NULL && strstr(o->backup_list, "::"))
                r = error_set(err, -EINVAL, "ERROR: Invalid backup-volfile-servers specified.. exiting");
        else if (o->backup_list)
                r = add_servers(o, o->backup_list, strlen(o->backup_list), ':', err);
        else if (o->backup_one)
                r = add_server(o, o->backup_one, strlen(o->backup_one), err);
        return r;
}

/* ---- options with a rule of their own ---------------------------------------------------------------------------- */

static int set_transport(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        if (!streq(value, "tcp") && !streq(value, "socket"))
                return error_set(err, -EINVAL,
                                 "Transport '%s' is not supported by this client: servers are reached by tcp", value);
        o->transport = streq(value, "tcp") ? "tcp" : NULL;
        return 0;
}

static int set_fuse_minor(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        long long n;
        if (parse_number(value, FUSE_MINOR_LEAST, 999, &n) < 0)
                return bad_value(row, value, "a number from 31 on", err);
        o->fuse_minor = (uint32_t)n;
        return 0;
}

static int set_log_level(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        static const struct {
                const char *name;
                enum log_level level;
        } levels[] = {
                {"NONE", LOG_LEVEL_ERROR},    {"CRITICAL", LOG_LEVEL_ERROR}, {"EMERG", LOG_LEVEL_ERROR},
                {"ALERT", LOG_LEVEL_ERROR},   {"ERROR", LOG_LEVEL_ERROR},    {"WARNING", LOG_LEVEL_WARNING},
                {"NOTICE", LOG_LEVEL_NOTICE}, {"INFO", LOG_LEVEL_INFO},      {"DEBUG", LOG_LEVEL_DEBUG},
                {"TRACE", LOG_LEVEL_DEBUG},
        };
        o->log_none = strcasecmp(value, "NONE") == 0;
        for (size_t i = 0; i < ELEMENTSOF(levels); i++) {
                if (strcasecmp(value, levels[i].name) == 0) {
                        o->log_level = levels[i].level;
                        return 0;
                }
        }
        warn(o, arena_printf(&o->arena, "invalid log level %s, using INFO", value));
        o->log_level = LOG_LEVEL_INFO;
        return 0;
}

static int set_root_squash(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        bool squash;
        if (parse_yesno(value, &squash) < 0)
                return bad_value(row, value, "yes or no", err);
        o->no_root_squash = !squash;
        return 0;
}

static int set_no_root_squash(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        return parse_yesno(value, &o->no_root_squash) < 0 ? bad_value(row, value, "yes or no", err) : 0;
}

static int set_client_pid(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        long long n;
        if (parse_number(value, -13, 0, &n) < 0)
                return bad_value(row, value, "a number from -13 to 0", err);
        o->client_pid = (int32_t)n;
        return 0;
}

static int set_oom_score(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        long long n;
        if (parse_number(value, -1000, 1000, &n) < 0)
                return bad_value(row, value, "a number from -1000 to 1000", err);
        o->oom_score = (int32_t)n;
        o->oom_score_set = true;
        return 0;
}

static int set_process_name(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        o->process_name = value;
        return 0;
}

static int set_debug(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        o->debug = o->foreground = true;
        o->log_level = LOG_LEVEL_DEBUG;
        return 0;
}

static int add_kernel_option(struct mount_options *o, const char *name, const char *value, struct error *err)
{
        const char *comma = strchr(value, ',') && value[0] != '"' ? "\"" : ""; /* the kernel splits at commas, too */
        const char *before = o->kernel_options;
        o->kernel_options = arena_printf(&o->arena, "%s%s%s=%s%s%s", before ? before : "", before ? "," : "", name,
                                         comma, value, comma);
        return o->kernel_options ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int set_halo(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        const char *text = arena_printf(&o->arena, "*replicate*.%s=%s", row->name, value);
        if (!text)
                return error_set(err, -ENOMEM, "out of memory");
        return words_add(o, &o->xlator_options, text, MOUNT_XLATOR_OPTIONS_MAX, err);
}

/* ---- one option -------------------------------------------------------------------------------------------------- */

static int set_plain_value(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        void *at = (char *)o + row->offset;
        long long n;
        switch (row->kind) {
        case OPTIONAL:
        case YESNO:
                return parse_yesno(value ? value : "yes", at) < 0 ? bad_value(row, value, "yes or no", err) : 0;
        case SECONDS:
                return parse_seconds(value, at) < 0 ? bad_value(row, value, "a number of seconds", err) : 0;
        case NUMBER:
                if (parse_number(value, 0, INT32_MAX, &n) < 0)
                        return bad_value(row, value, "a whole number", err);
                *(uint32_t *)at = (uint32_t)n;
                return 0;
        case TEXT:
                if (value[0] == '\0')
                        return bad_value(row, value, "a text", err);
                *(const char **)at = value;
                return 0;
        case LIST:
                return words_add(o, at, value, MOUNT_XLATOR_OPTIONS_MAX, err);
        default:
                return 0; /* accepted without effect */
        }
}

static int set_direct_io(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        bool on;
        if (strcasecmp(value, "auto") == 0)
                o->direct_io = MOUNT_DIRECT_AUTO;
        else if (parse_yesno(value, &on) < 0)
                return bad_value(row, value, "on, off or auto", err);
        else
                o->direct_io = on ? MOUNT_DIRECT_ALWAYS : MOUNT_DIRECT_NEVER;
        return 0;
}

static int set_option(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        switch (row->kind) {
        case FLAG:
                *(bool *)((char *)o + row->offset) = true;
                return 0;
        case KERNEL:
                o->kernel_flags |= row->flag;
                return 0;
        case UNKERNEL:
                o->kernel_flags &= ~row->flag;
                return 0;
        case CONTEXT:
                return add_kernel_option(o, row->name, value, err);
        case DIRECT:
                return set_direct_io(o, row, value, err);
        case UNHANDLED:
        case UNHANDLED_VALUE:
                warn(o, arena_printf(&o->arena, "mount option '%s' is not handled (yet?)", row->name));
                return 0;
        case REFUSED:
        case REFUSED_VALUE:
                return error_set(err, -EOPNOTSUPP, "Option %s: %s", row->name, row->help);
        case CALL:
        case CALL_FLAG:
                return row->set(o, row, value, err);
        default:
                return set_plain_value(o, row, value, err);
        }
}

static int set_listed(struct mount_options *o, char *item, struct error *err)
{
        char *value = strchr(item, '=');
        size_t len = value ? (size_t)(value - item) : strlen(item);
        if (value)
                value++;
        if (starts_with(item, "x-") || starts_with(item, "comment="))
                return 0;
        const struct row *row = find_row(item, len, O);
        /* a second row of the same name differs by taking a value */
        bool fits = row && (takes_argument[row->kind] ? value != NULL : value == NULL || row_optional(row));
        if (fits)
                return set_option(o, row, value, err);
        if (o->sloppy) {
                warn(o, arena_printf(&o->arena, "mount option '%s' is unknown, ignored (-s)", item));
                return 0;
        }
        if (row && takes_argument[row->kind])
                return error_set(err, -EINVAL, "Option %s needs a value: %s=%s", row->name, row->name,
                                 row->argument ? row->argument : "VALUE");
        if (value)
                return error_set(err, -EINVAL, "Invalid option: %.*s", (int)len, item);
        return error_set(err, -EINVAL, "Invalid option %s", item);
}

/* Items separated by commas, except those within double quotes. EACH gets a NUL-terminated copy that stays. */
static int for_each_item(struct mount_options *o, const char *list,
                         int (*each)(struct mount_options *o, char *item, struct error *err), struct error *err)
{
        char *copy = arena_strndup(&o->arena, list, strlen(list));
        if (!copy)
                return error_set(err, -ENOMEM, "out of memory");
        bool quoted = false, more = true;
        for (char *item = copy, *at = copy; more; at++) {
                quoted ^= *at == '"';
                if (*at && (*at != ',' || quoted))
                        continue;
                more = *at != '\0';
                *at = '\0';
                int r = *item ? each(o, item, err) : 0;
                if (r < 0)
                        return r;
                item = at + 1;
        }
        return 0;
}

/* Options for the kernel in one argument: its flags as in -o, all others as they are. */
static int set_kernel_item(struct mount_options *o, char *item, struct error *err)
{
        char *value = strchr(item, '=');
        const struct row *row = find_row(item, value ? (size_t)(value - item) : strlen(item), O);
        if (row && !value &&
            (row->kind == KERNEL || row->kind == UNKERNEL || row->kind == ACCEPTED || row->kind == FLAG))
                return set_option(o, row, NULL, err);
        if (!value)
                return error_set(err, -EINVAL, "Invalid option %s in fuse-mountopts", item);
        *value = '\0';
        return add_kernel_option(o, item, value + 1, err);
}

static int set_kernel_list(struct mount_options *o, const struct row *row, const char *value, struct error *err)
{
        return for_each_item(o, value, set_kernel_item, err);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

struct cursor {
        int argc, at;
        char **argv;
};

static const char *next_word(struct cursor *c)
{
        return c->at < c->argc ? c->argv[c->at++] : NULL;
}

/* "--name", "--name=value", "--name value". */
static int parse_long(struct mount_options *o, struct cursor *c, const char *word, struct error *err)
{
        const char *name = word + 2, *value = strchr(name, '=');
        size_t len = value ? (size_t)(value - name) : strlen(name);
        if (value)
                value++;
        if (streq(name, "help"))
                o->show_help = true;
        else if (streq(name, "version"))
                o->show_version = true;
        if (o->show_help || o->show_version)
                return 0;
        const struct row *row = find_row(name, len, W);
        if (!row)
                return error_set(err, -ENOENT, "unrecognized option '%s'; see --help", word);
        if (!takes_argument[row->kind] && value && !row_optional(row)) {
                bool on;
                if (row->kind != FLAG || parse_yesno(value, &on) < 0)
                        return error_set(err, -EINVAL, "option '--%s' takes no value", row->name);
                return on ? set_option(o, row, NULL, err) : 0;
        }
        if (takes_argument[row->kind] && !value && !(value = next_word(c)))
                return error_set(err, -EINVAL, "option '%s' needs a value", word);
        return set_option(o, row, value, err);
}

static int parse_client_letter(struct mount_options *o, struct cursor *c, const char *word, struct error *err)
{
        if (streq(word, "-h") || streq(word, "-?"))
                o->show_help = true;
        else if (streq(word, "-V"))
                o->show_version = true;
        if (o->show_help || o->show_version)
                return 0;
        bool list = word[1] == 'o';
        const struct row *row = list ? NULL : find_letter(word[1]);
        if (!row && !list)
                return error_set(err, -ENOENT, "unrecognized option '%s'; see --help", word);
        const char *value = word[2] ? word + 2 : NULL;
        if ((list || takes_argument[row->kind]) && !value && !(value = next_word(c)))
                return error_set(err, -EINVAL, "option '%s' needs a value", word);
        return list ? for_each_item(o, value, set_listed, err) : set_option(o, row, value, err);
}

/* Letters of mount(8)'s helpers: "-sfnv", "-o LIST", "-N NAMESPACE", "-t TYPE". */
static int parse_helper_letters(struct mount_options *o, struct cursor *c, const char *word, unsigned operands,
                                struct error *err)
{
        for (const char *letter = word + 1; *letter; letter++) {
                const char *value = letter[1] ? letter + 1 : NULL;
                switch (*letter) {
                case 's':
                        o->sloppy = true;
                        continue;
                case 'f':
                        o->fake = true;
                        continue;
                case 'v':
                        o->verbose = true;
                        continue;
                case 'r':
                        o->read_only = true;
                        continue;
                case 'n':
                case 'i':
                case 'w':
                        continue;
                case 'V':
                        o->show_version = true;
                        return 0;
                case 'h':
                        o->show_helper_usage = true;
                        return 0;
                case 'o':
                        if (operands < 2)
                                return error_set(
                                        err, -EINVAL,
                                        "ERROR: -o options cannot be specified in either first two arguments..\n"
                                        "Please specify correct style\nUsage:\nman 8 /sbin/mount.glusterfs");
                        break;
                case 't':
                case 'N':
                        break;
                default:
                        return error_set(err, -EINVAL, "Invalid option -%c\nUsage:\nman 8 /sbin/mount.glusterfs",
                                         *letter);
                }
                if (!value && !(value = next_word(c)))
                        return error_set(err, -EINVAL, "Option -%c needs a value", *letter);
                return *letter == 'o' ? for_each_item(o, value, set_listed, err) : 0;
        }
        return 0;
}

static int parse_words(struct mount_options *o, struct cursor *c, const char *operands[static 2], unsigned *n,
                       struct error *err)
{
        bool only_operands = false;
        for (const char *word; (word = next_word(c));) {
                int r = 0;
                if (only_operands || word[0] != '-' || word[1] == '\0') {
                        if (*n >= 2)
                                return error_set(err, -EINVAL, "There is one word too many: '%s'", word);
                        operands[(*n)++] = word;
                } else if (streq(word, "--")) {
                        only_operands = true;
                } else if (word[1] == '-') {
                        r = parse_long(o, c, word, err);
                } else if (o->helper) {
                        r = parse_helper_letters(o, c, word, *n, err);
                } else {
                        r = parse_client_letter(o, c, word, err);
                }
                if (r < 0 || o->show_help || o->show_version || o->show_helper_usage)
                        return r;
        }
        return 0;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

#define NO_SPEC_                                                                                                       \
        "ERROR: Server name/volume name unspecified cannot proceed further..\nPlease specify correct format\n"         \
        "Usage:\nman 8 /sbin/mount.glusterfs"

/* "h1,h2:/v/sub", "h:v", "[::1]:/v", "fd00::1:v": the host part ends at ":/", or else at the last colon. */
static int parse_spec(struct mount_options *o, struct error *err)
{
        if (o->spec[0] == '/' && !strstr(o->spec, ":/")) {
                o->volfile = o->spec;
                return 0;
        }
        const char *colon = strstr(o->spec, ":/");
        if (!colon)
                colon = strrchr(o->spec, ':');
        if (!colon || colon == o->spec || colon[1] == '\0' || streq(colon, ":/"))
                return error_set(err, -EINVAL, NO_SPEC_);
        int r = add_servers(o, o->spec, (size_t)(colon - o->spec), ',', err);
        if (r < 0)
                return r;
        const char *volume = colon + 1, *name = volume + (volume[0] == '/');
        const char *slash = starts_with(volume, "/snaps/") ? NULL : strchr(name, '/');
        size_t len = slash ? (size_t)(slash - volume) : strlen(volume);
        if (!o->volume_id)
                o->volume_id = arena_strndup(&o->arena, volume, len);
        if (!o->volume_id)
                return error_set(err, -ENOMEM, "out of memory");
        if (starts_with(volume, "/snaps/"))
                o->read_only = true;
        if (slash && slash[1] && !o->subdir)
                o->subdir = slash;
        return 0;
}

/* A directory of the volume: absolute, without "." and "..", without a slash at the end. */
static int check_subdir(struct mount_options *o, struct error *err)
{
        if (!o->subdir)
                return 0;
        if (o->subdir[0] != '/' || strlen(o->subdir) > PATH_LIMIT)
                return error_set(err, -EINVAL,
                                 "The directory %.64s of the volume does not begin with a slash, or is too long",
                                 o->subdir);
        char *copy = arena_alloc(&o->arena, strlen(o->subdir) + 1), *out = copy;
        if (!copy)
                return error_set(err, -ENOMEM, "out of memory");
        for (const char *at = o->subdir; *at;) {
                at += strspn(at, "/");
                size_t n = strcspn(at, "/");
                if ((n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
                        return error_set(err, -EINVAL, "The directory %s of the volume goes through '.' or '..'",
                                         o->subdir);
                if (n > 0)
                        *out++ = '/';
                memcpy(out, at, n);
                out += n;
                at += n;
        }
        o->subdir = out == copy ? NULL : copy;
        return 0;
}

static const char *format_source(struct mount_options *o)
{
        if (o->spec)
                return o->transport ? arena_printf(&o->arena, "%s.%s", o->spec, o->transport) : o->spec;
        if (o->volfile)
                return o->volfile;
        const char *host = o->servers.v[0];
        const char *form = strchr(host, ':') ? "[%s]:%s%s" : "%s:%s%s";
        return streq(form, "%s:%s%s")
                       ? arena_printf(&o->arena, "%s:%s%s", host, o->volume_id, o->subdir ? o->subdir : "")
                       : arena_printf(&o->arena, "[%s]:%s%s", host, o->volume_id, o->subdir ? o->subdir : "");
}

static int finish(struct mount_options *o, struct error *err)
{
        int r = o->spec ? parse_spec(o, err) : 0;
        if (r == 0)
                r = finish_servers(o, err);
        if (r == 0)
                r = check_subdir(o, err);
        if (r < 0)
                return r;
        if (!o->volfile && o->servers.n == 0 && o->volume_id) /* as stock: a server of this node */
                r = add_server(o, "localhost", strlen("localhost"), err);
        if (r < 0)
                return r;
        if (!o->volfile && !o->volume_id)
                return error_set(err, -EINVAL,
                                 o->helper ? NO_SPEC_ : "Neither a volume nor a volfile is given; see --help");
        if (!o->mountpoint)
                return error_set(err, -EINVAL,
                                 o->helper ? "ERROR: Mount point does not exist\nPlease specify a mount point\nUsage:\n"
                                             "man 8 /sbin/mount.glusterfs"
                                           : "No mount point is given; see --help");
        if (o->server_port == 0 || o->server_port > PORT_MAX)
                return error_set(err, -EINVAL, "Port %u cannot be", o->server_port);
        o->source = format_source(o);
        if (o->transport && o->volume_id)
                o->volume_id = arena_printf(&o->arena, "%s.%s", o->volume_id, o->transport);
        if (o->no_root_squash)
                o->client_pid = PID_NO_ROOT_SQUASH;
        if (o->read_only)
                o->kernel_flags |= MS_RDONLY;
        return o->source && (o->volfile || o->volume_id) ? 0 : error_set(err, -ENOMEM, "out of memory");
}

int mount_options_parse(int argc, char **argv, struct mount_options *ret, struct error *err)
{
        const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
        const char *called = argc == 0 ? "" : slash ? slash + 1 : argv[0];
        *ret = (struct mount_options){
                .arena = ARENA_INIT(ARENA_MAX),
                .helper = starts_with(called, "mount."),
                .server_port = DEFAULT_PORT,
                .log_level = LOG_LEVEL_INFO,
                .attribute_timeout = UINT64_MAX,
                .entry_timeout = UINT64_MAX,
                .negative_timeout = UINT64_MAX,
                .gid_timeout = DEFAULT_GID_TIMEOUT,
                .mount_timeout = DEFAULT_MOUNT_TIMEOUT,
                .outage_wait = DEFAULT_OUTAGE_WAIT,
                .readdirp = true,
                .local_reads = true,
                .auto_invalidation = true,
                .lru_limit = DEFAULT_LRU_LIMIT,
                .background = DEFAULT_BACKGROUND,
                .congestion = DEFAULT_CONGESTION,
        };
        struct cursor c = {.argc = argc, .at = 1, .argv = argv};
        const char *operands[2] = {NULL, NULL};
        unsigned n = 0;
        if (argc <= 1)
                return ret->helper ? error_set(err, -EINVAL, NO_SPEC_)
                                   : error_set(err, -ENODATA, "USAGE: %s [options] [mountpoint]", called);
        int r = parse_words(ret, &c, operands, &n, err);
        if (r < 0 || ret->show_help || ret->show_version || ret->show_helper_usage)
                return r;
        if (n == 2 || ret->helper) {
                ret->spec = operands[0];
                ret->mountpoint = operands[1];
        } else {
                ret->mountpoint = operands[0];
        }
        if (ret->helper && !ret->spec)
                return error_set(err, -EINVAL, NO_SPEC_);
        return finish(ret, err);
}

void mount_options_done(struct mount_options *o)
{
        arena_done(&o->arena);
        *o = (struct mount_options){0};
}

/* ---- help -------------------------------------------------------------------------------------------------------- */

static void help_row(FILE *out, const struct row *row, unsigned where)
{
        char text[96];
        int n;
        if (where == W && row->letter)
                n = snprintf(text, sizeof text, "  -%c, --%s", row->letter, row->name);
        else if (where == W)
                n = snprintf(text, sizeof text, "  --%s", row->name);
        else
                n = snprintf(text, sizeof text, "  -o %s", row->name);
        bool argument = takes_argument[row->kind] || row_optional(row);
        if (argument && row->argument && n > 0 && (size_t)n < sizeof text)
                (void)snprintf(text + n, sizeof text - (size_t)n, row_optional(row) ? "[=%s]" : "=%s", row->argument);
        (void)fprintf(out, "%-38s  %s\n", text, row->help[0] ? row->help : "as above");
}

void mount_options_help(FILE *out)
{
        (void)fputs(
                "Usage: mortar-mount [OPTION]... SERVER[,SERVER]...:/VOLUME[/DIR] MOUNTPOINT [-o NAME[=VALUE],...]\n"
                "Mounts a volume; also called as mount.mortar, mount.glusterfs and glusterfs.\n"
                "Returns when the volume answers, or says why it does not.\n"
                "\n"
                "As glusterfs, servers and volume are options: --volfile-server=SERVER --volfile-id=/VOLUME "
                "MOUNTPOINT.\n"
                "\n"
                "Options:\n",
                out);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if ((rows[i].where & W) && rows[i].help && rows[i].kind != REFUSED && rows[i].kind != REFUSED_VALUE)
                        help_row(out, &rows[i], W);
        (void)fputs("  -V, --version                         print the version and exit\n"
                    "  -h, --help                            print this text and exit\n"
                    "\n"
                    "Mount options:\n",
                    out);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if ((rows[i].where & O) && rows[i].help && rows[i].kind != REFUSED && rows[i].kind != REFUSED_VALUE)
                        help_row(out, &rows[i], O);
}

void mount_options_usage(FILE *out)
{
        (void)fputs("Usage: mount.glusterfs <server>:<volume/subdir> <mountpoint> -o<options>\n"
                    "Options:\nman 8 /sbin/mount.glusterfs\n\nTo display the version number of the mount helper: "
                    "mount.glusterfs -V\n",
                    out);
}
