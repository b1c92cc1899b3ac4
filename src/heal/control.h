/* The socket on which a running healer is asked: a line in, an answer out, and the connection is closed.
 * The command is followed by the name of a volume, which may be left out if there is only one.
 *
 *      heal      the index of all bricks is crawled soon                  "ok"
 *      full      everything is crawled soon                               "ok"
 *      status    how far it is                                            a JSON object
 *      info      what is to be healed                                     a JSON object
 *      serve     heals this volume from now on                            "ok"
 *      end       does not any more; answered when that is so              "ok"
 *      volumes   those that are healed; names no volume                   a JSON object
 *      quit      ends the process; names no volume                        "ok"
 *
 * Or "error: " and a sentence. Root only: the socket is made with mode 0600. Thread: the loop's.
 */
#pragma once

#include "heal/node.h"

struct control;

/* Listens at PATH. QUIT is called when it is told to end. -EADDRINUSE: another healer listens there. With a sentence. */
int control_new(struct heal_node *node, const char *path, void (*quit)(void *arg), void *arg, struct control **ret,
                struct error *err);
/* Requests under way are waited for. */
struct control *control_free(struct fibre *self, struct control *c);

/* The other end, blocking: sends COMMAND about VOLUME ("": none) to the healer at PATH, and its answer to standard output.
 * With a sentence. */
int control_ask(const char *path, const char *command, const char *volume, struct error *err);
