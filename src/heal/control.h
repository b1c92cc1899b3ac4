/* The socket on which a running healer is asked: a line in, an answer out, and the connection is closed.
 *
 *      heal      the index of all bricks is crawled soon                  "ok"
 *      full      everything is crawled soon                               "ok"
 *      status    how far it is                                            a JSON object
 *      info      what is to be healed                                     a JSON object
 *
 * Root only: the socket is made with mode 0600. Thread: the loop's.
 */
#pragma once

#include "heal/healer.h"

struct control;

/* Listens at PATH. -EADDRINUSE: another healer of this volume runs. With a sentence. */
int control_new(struct healer *h, const char *path, struct control **ret, struct error *err);
/* Requests under way are waited for. */
struct control *control_free(struct fibre *self, struct control *c);

/* The other end, blocking: sends COMMAND to the healer at PATH, and its answer to standard output. With a sentence. */
int control_ask(const char *path, const char *command, struct error *err);
