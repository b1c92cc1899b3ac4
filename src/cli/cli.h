/* The command line: what its parts share.
 *
 * A command is a row of the table in commands.c; words are matched against it, help and the manual page are made from
 * it. Handlers are thin: they read operands, ask mortard (call.c) and render its JSON. Single-threaded, may block.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"

struct cli {
        const char *program; /* as it was called: "mortar" or "gluster" */
        const char *socket;  /* of mortard */
        unsigned timeout;    /* seconds for an answer */
        bool script;         /* --mode=script: no questions */
        bool json;           /* -o json: the machine output instead of text */
        bool xml;            /* --xml: stock's document */
};

enum effect { EFFECT_NONE /* needs no mortard */, EFFECT_READS, EFFECT_CHANGES };

struct command {
        const char *words;    /* literal words, e.g. "volume create" */
        const char *operands; /* pattern behind them, as the usage text shows it */
        const char *summary;
        enum effect effect;
        /* Gives the exit status; NULL: not there yet. */
        int (*run)(const struct cli *cli, const struct command *command, int argc, char **argv);
        bool xml; /* --xml is understood, if only to be ignored as stock does */
};

const struct command *command_table(size_t *ret_count);

/* The called program is named "gluster": exact stock texts where tools look for them. */
bool cli_is_gluster(const struct cli *cli);

/* ---- words.c ----------------------------------------------------------------------------------------------------- */

/* Finds the command that WORDS begin with (spec: cli.md §1.2). *ret_used: words that belong to it. NULL: *ret_bad is
 * the position of the unknown word, or N when the command is incomplete. */
const struct command *words_match(char **words, int n, int *ret_used, int *ret_bad);

/* ---- text.c: what is printed in more than one place -------------------------------------------------------------- */

/* "<empty> Usage: PATTERN <empty>" on standard error; returns 1. */
int text_usage(const struct command *command);
/* Question on standard output, answer from standard input (cli.md §1.7); true without asking in script mode. */
bool text_confirm(const struct cli *cli, const char *question);
/* "mortar: 'WHAT' is not there yet" on standard error; returns 1. */
int text_not_yet(const struct cli *cli, const char *what);
/* The machine output on standard output; returns 0. */
int text_json(const json_t *json);

/* ---- call.c ------------------------------------------------------------------------------------------------------ */

struct answer {
        bool ok;
        int error;    /* errno of a refusal */
        char *reason; /* of a refusal */
        json_t *json; /* result */
};
void answer_done(struct answer *a);
#define _cleanup_answer_ _cleanup_(answer_done)

/* A refusal: "PREFIXreason" on standard error, or as machine output; returns 1. */
int answer_refused(const struct cli *cli, const struct answer *a, const char *prefix);

/* Sends REQUEST (taken) and waits. 0: *ret is the answer, good or bad; else the exit status, and it is said why. */
int call_mortard(const struct cli *cli, json_t *request, struct answer *ret);

/* ---- commands ---------------------------------------------------------------------------------------------------- */

int run_help(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_help(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_create(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_brick_restart(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_set(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_reset(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_get(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_record_define(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_record_export(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_record_import(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_start(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_stop(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_delete(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_info(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_list(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_volume_status(const struct cli *cli, const struct command *command, int argc, char **argv);

int run_volume_heal(const struct cli *cli, const struct command *command, int argc, char **argv);
int run_metrics(const struct cli *cli, const struct command *command, int argc, char **argv);
/* Exit status 0 clean, 1 findings, 2 not checked. */
int run_brick_check(const struct cli *cli, const struct command *command, int argc, char **argv);

/* All commands that are there, with options: --help. */
void help_print(const struct cli *cli);
