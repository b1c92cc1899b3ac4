/* Answers that clients have not read, and requests they have begun and not finished: bounded for each connection, and for
 * all of a process together.
 *
 * Below UNREAD_ALL_HIGH each connection may have CONN_OUTPUT_HIGH bytes. Beyond, only CONN_OUTPUT_LOW, and one that has
 * taken nothing for UNREAD_SECONDS is disconnected; at UNREAD_ALL_MAX the connection that would go beyond is. Of unfinished
 * requests a connection may have one, of RECORD_LIMIT bytes, until all have UNFINISHED_ALL_MAX: then whose is larger than
 * CONN_INPUT_LOW is disconnected when it grows.
 */
#pragma once

#include "brick/server.h"

#define CONN_OUTPUT_LOW (256 * KIB)
#define UNREAD_ALL_HIGH (512 * MIB)
#define UNREAD_ALL_MAX (2048ull * MIB)
#define UNREAD_SECONDS 10
#define CONN_INPUT_LOW (256 * KIB)
#define UNFINISHED_ALL_MAX (1024ull * MIB)

/* C->unsent is N from now on. Under C's lock; any thread. */
void unread_set(struct conn *c, size_t n);
/* C's client took something. Under C's lock. */
void unread_progress(struct conn *c);
/* How much C may have before it is not read from any more. Any thread. */
size_t unread_limit(const struct conn *c);
/* Has the process as much as it may have? */
bool unread_is_full(const struct conn *c);
/* C keeps N bytes of unfinished requests from now on. False: it is to be closed. Whoever reads C. */
bool unfinished_set(struct conn *c, size_t n);
/* Looks once a second. Control loop. */
void unread_watch(struct process *p);
