/* The doorman: TLS handshakes of clients, on a thread and loop of its own.
 *
 * A handshake signs and verifies, up to some milliseconds of processor time, so it has no place on the control loop nor on a
 * lane. The greeter hands over a connection whose first byte is TLS's; when the handshake is done the connection comes
 * back to the greeter, for SETVOLUME. Who does not finish in time is dropped, and when too many are at it at once, the
 * one that has been for longest. The doorman also sees to it that certificates that were replaced are read again.
 *
 * Everything here is called on the control loop.
 */
#pragma once

#include "brick/conn.h"
#include "rpc/tls.h"

#define DOORMAN_SECONDS 10
#define DOORMAN_MAX 2048 /* handshakes at once */

struct doorman;

int doorman_new(struct process *p, struct doorman **ret);
/* Closes what it has. Waits for its thread, which never takes long. */
struct doorman *doorman_free(struct doorman *d);

/* Uses CONTEXT, loaded from SETTINGS, for connections from now on; takes over the reference. */
void doorman_use(struct doorman *d, const struct tls_settings *settings, struct tls_context *context);
/* Was the handshake of C, which has TLS, done by the settings that are in use now? */
bool doorman_believes(struct doorman *d, const struct conn *c);
/* Takes over the open-reference of C, which has left the loop (conn_leave_loop) and is in no list; C->in holds what was
 * read, as it came. Later greeter_return() is called with it, or it is closed. */
void doorman_admit(struct doorman *d, struct conn *c);
/* A post of the doorman's to the control loop; ARG is the process. */
void doorman_let_in(void *arg);
