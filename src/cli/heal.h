/* `volume heal`: what its parts share.
 *
 *      heal.c         the forms of the command, what mortard answers, errors as stock says them
 *      heal_client.c  asking the bricks, by a mortar-heal of its own (as stock's command does by a client of its own)
 *      heal_text.c    `info` and `statistics` as text and XML: pure functions of JSON
 *      heal_watch.c   --watch
 */
#pragma once

#include "cli/cli.h"

enum heal_view { HEAL_INFO, HEAL_SUMMARY, HEAL_SPLIT_BRAIN };

/* ---- heal_client.c ----------------------------------------------------------------------------------------------- */

/* Runs mortar-heal with WORDS (NULL terminated) and the volume of LOOK (the answer to volume-heal-look), and reads the JSON it
 * prints. 0; -errno with a sentence. */
int heal_client(const json_t *look, const char *const words[], json_t **ret, struct error *e);

/* ---- heal_text.c ------------------------------------------------------------------------------------------------- */

/* INFO: what `mortar-heal --info` says; LOOK: whose bricks, in volume order. */
void heal_print_info(FILE *out, const json_t *look, const json_t *info, enum heal_view view);
void heal_print_info_xml(FILE *out, const json_t *look, const json_t *info, enum heal_view view);
/* The document of a failure; OP_ERRNO positive. */
void heal_print_failure_xml(FILE *out, int op_errno, const char *why);
/* `statistics heal-count`; REPLICA: "HOST:/path" of one brick of the set that is meant, NULL: all sets. */
void heal_print_counts(FILE *out, const json_t *look, const json_t *info, const char *replica);
/* `statistics`, of the bricks of this node. */
void heal_print_statistics(FILE *out, const json_t *look);

/* ---- heal_watch.c ------------------------------------------------------------------------------------------------ */

/* One line: how far the healer of LOOK is. *RET_IDLE: nothing is pending, as far as it knows. */
void heal_watch_line(const json_t *look, char *buf, size_t size, bool *ret_idle);
/* Shows it until nothing is pending; the exit status. */
int heal_watch(const struct cli *cli, const char *volume);
