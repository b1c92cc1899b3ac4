/* The command line of mortar-heal (options.h). */
#include "heal/options.h"

#include <getopt.h>
#include <stdio.h>

#include "base/log.h"

#define SOCKET_DIRECTORY "/run/mortar"
#define TIMEOUT_DEFAULT 30

static const char help[] =
        "Usage: mortar-heal [OPTION]... VOLUME\n"
        "\n"
        "Heals the replica sets of a volume: makes the copies of what some bricks missed equal again. Without --once "
        "or\n"
        "--info it goes on for ever: when a brick comes back, every heal-timeout seconds, and when it is asked.\n"
        "\n"
        "Modes:\n"
        "  --once               heal all that can be healed now, and end: 0 nothing is left, 1 something is left, 2 "
        "error\n"
        "  --info               print what is to be healed, as JSON\n"
        "  --status             ask the running healer how far it is: JSON\n"
        "  --ask COMMAND        ask the running healer: heal, full, status or info\n"
        "  --mark-new CLIENT    note that the brick of this client (VOLUME-client-N) is new and lacks everything\n"
        "  --resolve POLICY     decide a split-brain: bigger-file, latest-mtime or source-brick (see --brick, --file)\n"
        "  --node               heal the volumes that mortard names over the control socket; no VOLUME is given\n"
        "\n"
        "Options:\n"
        "  --full               with --once: look at everything, not only at what the bricks' indices name\n"
        "  --server HOST[:PORT] a node that knows the volume (default localhost); may be given several times\n"
        "  --volfile FILE       the volfile, instead of asking a server\n"
        "  --all                the indices of all bricks, not only of this node's (default for --once)\n"
        "  --local              only of this node's\n"
        "  --node-uuid UUID     bricks that say this uuid are this node's (default: those of this host's name)\n"
        "  --parallel N         objects of a replica set at a time, 1 to 64 (default 4, or cluster.shd-max-threads)\n"
        "  --interval SECONDS   between two looks at the indices (default 600, or cluster.heal-timeout)\n"
        "  --rate BYTES         at most so many bytes per second are written to bricks (default: no limit)\n"
        "  --timeout SECONDS    to wait for the bricks, with --once, --info and --mark-new (default 30)\n"
        "  --brick HOST:PATH    with --resolve source-brick: the brick that is right\n"
        "  --file PATH          with --resolve: the file, as seen on a mount, or gfid:UUID; without: all (source-brick only)\n"
        "  --state-dir DIR      where a full crawl that was broken off is noted, to be gone on with (default: nowhere)\n"
        "  --socket PATH        where the running healer is asked (default " SOCKET_DIRECTORY "/heal-VOLUME.sock)\n"
        "  --log-level LEVEL    error, warning, notice, info or debug (default info)\n"
        "  --help, --version\n"
        "\n"
        "Signals: SIGHUP heals now, SIGUSR1 looks at everything, SIGTERM ends it. What was begun is gone on with by "
        "whoever\n"
        "heals next.\n";

enum {
        OPT_ONCE = 256,
        OPT_INFO,
        OPT_STATUS,
        OPT_ASK,
        OPT_MARK,
        OPT_RESOLVE,
        OPT_NODE,
        OPT_BRICK,
        OPT_FILE,
        OPT_STATE_DIR,
        OPT_FULL,
        OPT_SERVER,
        OPT_VOLFILE,
        OPT_ALL,
        OPT_LOCAL,
        OPT_NODE_UUID,
        OPT_PARALLEL,
        OPT_INTERVAL,
        OPT_RATE,
        OPT_TIMEOUT,
        OPT_SOCKET,
        OPT_LOG_LEVEL,
        OPT_HELP,
        OPT_VERSION,
};

static const struct option long_options[] = {
        {"once", no_argument, NULL, OPT_ONCE},
        {"info", no_argument, NULL, OPT_INFO},
        {"status", no_argument, NULL, OPT_STATUS},
        {"ask", required_argument, NULL, OPT_ASK},
        {"mark-new", required_argument, NULL, OPT_MARK},
        {"resolve", required_argument, NULL, OPT_RESOLVE},
        {"node", no_argument, NULL, OPT_NODE},
        {"brick", required_argument, NULL, OPT_BRICK},
        {"file", required_argument, NULL, OPT_FILE},
        {"state-dir", required_argument, NULL, OPT_STATE_DIR},
        {"control", required_argument, NULL, OPT_SOCKET},
        {"full", no_argument, NULL, OPT_FULL},
        {"server", required_argument, NULL, OPT_SERVER},
        {"volfile", required_argument, NULL, OPT_VOLFILE},
        {"all", no_argument, NULL, OPT_ALL},
        {"local", no_argument, NULL, OPT_LOCAL},
        {"node-uuid", required_argument, NULL, OPT_NODE_UUID},
        {"parallel", required_argument, NULL, OPT_PARALLEL},
        {"interval", required_argument, NULL, OPT_INTERVAL},
        {"rate", required_argument, NULL, OPT_RATE},
        {"timeout", required_argument, NULL, OPT_TIMEOUT},
        {"socket", required_argument, NULL, OPT_SOCKET},
        {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
        {"help", no_argument, NULL, OPT_HELP},
        {"version", no_argument, NULL, OPT_VERSION},
        {0},
};

static int number(const char *what, const char *text, uint64_t low, uint64_t high, uint64_t *ret, struct error *err)
{
        char *end;
        errno = 0;
        unsigned long long n = strtoull(text, &end, 10);
        if (errno || end == text || *end || text[0] == '-' || n < low || n > high)
                return error_set(err, -EINVAL, "--%s %s: it must be a number from %llu to %llu", what, text,
                                 (unsigned long long)low, (unsigned long long)high);
        *ret = n;
        return 0;
}

/* HOST, HOST:PORT, [ADDRESS], [ADDRESS]:PORT; a bare IPv6 address has several colons and no port. */
static int add_server(struct heal_options *o, char *text, struct error *err)
{
        uint64_t port = 0;
        char *host = text, *colon = strrchr(text, ':');
        if (text[0] == '[') {
                char *end = strchr(text, ']');
                if (!end || (end[1] && end[1] != ':'))
                        return error_set(err, -EINVAL, "--server %s: is no address", text);
                colon = end[1] ? end + 1 : NULL;
                host = text + 1;
                *end = '\0';
        } else if (colon && strchr(text, ':') != colon) {
                colon = NULL;
        }
        if (colon) {
                int r = number("server", colon + 1, 1, 65535, &port, err);
                if (r < 0)
                        return r;
                *colon = '\0';
        }
        if (o->n_servers == FETCH_SERVERS_MAX || !*host)
                return error_set(err, -EINVAL, "--server: there may be 1 to %d", FETCH_SERVERS_MAX);
        o->servers[o->n_servers++] = (struct fetch_server){host, (uint16_t)port};
        return 0;
}

static int set_mode(struct heal_options *o, enum heal_mode mode, struct error *err)
{
        if (o->mode != MODE_DAEMON)
                return error_set(err, -EINVAL,
                                 "only one of --once, --info, --status, --ask, --mark-new, --resolve and --node can "
                                 "be given");
        o->mode = mode;
        return 0;
}

static int read_policy(struct heal_options *o, const char *word, struct error *err)
{
        static const char *const words[] = {[POLICY_BIGGER_FILE] = "bigger-file",
                                            [POLICY_LATEST_MTIME] = "latest-mtime",
                                            [POLICY_SOURCE_BRICK] = "source-brick"};
        for (unsigned k = 0; k < ELEMENTSOF(words); k++) {
                if (!streq(words[k], word))
                        continue;
                o->choice.policy = (enum heal_policy)k;
                return set_mode(o, MODE_RESOLVE, err);
        }
        return error_set(err, -EINVAL, "--resolve %s: there are bigger-file, latest-mtime and source-brick", word);
}

static int read_mode(struct heal_options *o, int option, struct error *err)
{
        switch (option) {
        case OPT_ONCE:
                o->all_bricks = true;
                return set_mode(o, MODE_ONCE, err);
        case OPT_NODE:
                return set_mode(o, MODE_NODE, err);
        case OPT_RESOLVE:
                return read_policy(o, optarg, err);
        case OPT_INFO:
                return set_mode(o, MODE_INFO, err);
        case OPT_STATUS:
                o->command = "status";
                return set_mode(o, MODE_ASK, err);
        case OPT_ASK:
                o->command = optarg;
                return set_mode(o, MODE_ASK, err);
        default:
                o->mark = optarg;
                return set_mode(o, MODE_MARK, err);
        }
}

static int read_number(struct heal_options *o, int option, struct error *err)
{
        uint64_t n = 0;
        int r;
        switch (option) {
        case OPT_PARALLEL:
                r = number("parallel", optarg, 1, 64, &n, err);
                o->parallel = (unsigned)n;
                return r;
        case OPT_INTERVAL:
                r = number("interval", optarg, 1, INT32_MAX, &n, err);
                o->interval = n * NS_PER_SEC;
                return r;
        case OPT_TIMEOUT:
                r = number("timeout", optarg, 1, 86400, &n, err);
                o->timeout = n * NS_PER_SEC;
                return r;
        default:
                return number("rate", optarg, 1024, UINT32_MAX * (uint64_t)1024, &o->rate, err);
        }
}

static int read_option(struct heal_options *o, int option, struct error *err)
{
        switch (option) {
        case OPT_FULL:
                o->full = true;
                return 0;
        case OPT_SERVER:
                return add_server(o, optarg, err);
        case OPT_VOLFILE:
                o->volfile = optarg;
                return 0;
        case OPT_ALL:
        case OPT_LOCAL:
                o->all_bricks = option == OPT_ALL;
                return 0;
        case OPT_NODE_UUID:
                o->node_uuid = optarg;
                return 0;
        case OPT_SOCKET:
                o->socket = optarg;
                return 0;
        case OPT_BRICK:
                o->choice.brick = optarg;
                return 0;
        case OPT_FILE:
                o->choice.file = optarg;
                return 0;
        case OPT_STATE_DIR:
                o->state_dir = optarg;
                return 0;
        case OPT_LOG_LEVEL:
                o->log_level = log_level_from_string(optarg);
                return o->log_level < 0 ? error_set(err, -EINVAL, "--log-level %s: is no level", optarg) : 0;
        case OPT_PARALLEL:
        case OPT_INTERVAL:
        case OPT_RATE:
        case OPT_TIMEOUT:
                return read_number(o, option, err);
        case '?':
                return error_set(err, -EINVAL, "see mortar-heal --help");
        default:
                return read_mode(o, option, err);
        }
}

static bool names_no_volume(const struct heal_options *o)
{
        return o->mode == MODE_NODE ||
               (o->mode == MODE_ASK && o->socket && (streq(o->command, "volumes") || streq(o->command, "quit")));
}

static int check(struct heal_options *o, int argc, char **argv, struct error *err)
{
        const struct heal_choice *c = &o->choice;
        bool none = names_no_volume(o);
        if (optind + !none != argc || (!none && (!*argv[optind] || strchr(argv[optind], '/'))))
                return error_set(err, -EINVAL, "one volume is to be named; see mortar-heal --help");
        o->volume = none ? "" : argv[optind];
        if (o->full && o->mode != MODE_ONCE)
                return error_set(err, -EINVAL, "--full goes with --once; a running healer is asked by --ask full");
        if (o->mode == MODE_NODE && !o->socket)
                return error_set(err, -EINVAL, "--node needs --socket");
        if (o->mode == MODE_RESOLVE && !c->file && c->policy != POLICY_SOURCE_BRICK)
                return error_set(err, -EINVAL, "--resolve needs --file");
        if (o->mode == MODE_RESOLVE && !c->brick != (c->policy != POLICY_SOURCE_BRICK))
                return error_set(err, -EINVAL, "--brick goes with --resolve source-brick, and has to");
        return 0;
}

int options_read(int argc, char **argv, struct heal_options *ret, struct error *err)
{
        struct heal_options *o = ret;
        int option;
        *o = (struct heal_options){.timeout = TIMEOUT_DEFAULT * NS_PER_SEC, .log_level = LOG_LEVEL_INFO};
        while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
                if (option == OPT_HELP || option == OPT_VERSION) {
                        (void)fputs(option == OPT_HELP ? help : "mortar-heal " MORTAR_VERSION "\n", stdout);
                        return 1;
                }
                int r = read_option(o, option, err);
                if (r < 0)
                        return r;
        }
        int r = check(o, argc, argv, err);
        if (r < 0)
                return r;
        if (o->n_servers == 0)
                o->servers[o->n_servers++] = (struct fetch_server){.host = "localhost"};
        if (!o->socket) {
                (void)snprintf(o->socket_room, sizeof o->socket_room, SOCKET_DIRECTORY "/heal-%.64s.sock", o->volume);
                o->socket = o->socket_room;
        }
        return 0;
}
