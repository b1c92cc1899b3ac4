/* The command line of mortar-heal. */
#pragma once

#include "base/error.h"
#include "volume/fetch.h"

enum heal_mode { MODE_DAEMON, MODE_NODE, MODE_ONCE, MODE_INFO, MODE_ASK, MODE_MARK, MODE_RESOLVE };

/* MODE_RESOLVE: which copy an operator takes for the right one. */
enum heal_policy { POLICY_BIGGER_FILE, POLICY_LATEST_MTIME, POLICY_SOURCE_BRICK };
struct heal_choice {
        enum heal_policy policy;
        const char *brick; /* POLICY_SOURCE_BRICK: "HOST:/path" */
        const char *file;  /* "/path" or "gfid:…"; NULL: everything in split-brain */
};

struct heal_options {
        enum heal_mode mode;
        const char *volume;
        const char *volfile; /* a file; NULL: fetched */
        struct fetch_server servers[FETCH_SERVERS_MAX];
        unsigned n_servers;
        const char *node_uuid;
        const char *socket; /* NULL: the usual one, in `socket_room` */
        char socket_room[128];
        const char *command; /* MODE_ASK */
        const char *mark;    /* MODE_MARK: the client's name */
        struct heal_choice choice;
        const char *state_dir; /* where unfinished full crawls are noted; NULL: nowhere */
        bool full, all_bricks;
        unsigned parallel;
        uint64_t interval, rate, timeout;
        int log_level;
};

/* 0; 1: help or version was printed; -EINVAL with a sentence. */
int options_read(int argc, char **argv, struct heal_options *ret, struct error *err);
