/* How many bricks make a set: from the words of a command and the number of bricks (spec: cli.md §6.1). */
#pragma once

#include "cli/cli.h"

/* What was typed; 0: not given. */
struct layout_words {
        unsigned long replica, arbiter, thin_arbiter, disperse, disperse_data, redundancy;
        bool has_disperse; /* the word, with or without a number */
};

struct layout {
        const char *type;
        unsigned set_size, arbiter_count, redundancy;
};

/* Asks what stock asks. 0 and *ret, or the exit status, and it is said why. */
int layout_choose(const struct cli *cli, const struct command *command, const struct layout_words *words,
                  size_t n_bricks, struct layout *ret);
