/* The lender: a unix socket by which clients on this machine get descriptors of the files they have open, to read them by
 * themselves (proto/local_read.h, decision 006).
 *
 * It is in a directory for the process's user alone, "local" beside the control socket; without a control socket there is
 * none. A client is let in once, by the token that SETVOLUME's answer told it over its connection, and if its process is
 * root's or the brick's own user's. From then on the socket belongs to the connection: what it is lent comes through it,
 * and it is closed with it. The brick keeps nothing of what it lent.
 */
#pragma once

#include "brick/server.h"

struct lender;

/* Listens beside the control socket CONTROL. -errno: it cannot; clients then ask for all they read. Control loop. */
int lender_new(struct process *p, const char *control, struct lender **ret);
struct lender *lender_free(struct lender *l);

/* The client of C wants to be lent files: makes its token. Control loop, before C has a brick. */
void lender_invite(struct conn *c);
/* Adds what an invited client has to know to the answer to its SETVOLUME. -ENOMEM. */
int lender_tell(const struct conn *c, struct dict *answer, struct arena *a);
/* session_config.lend. */
void lender_lend(void *conn, const struct local_loan *loan, int fd);
/* The clients of X give back what they have, and get nothing more on their present connections. Any thread. */
void lender_revoke(struct export *x);
/* C, in no list any more, is being freed. */
void lender_forget(struct conn *c);
