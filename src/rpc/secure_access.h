/* TLS for the management port (wire.md §1.7): on while a file exists at the start, as with stock. For the daemon that
 * listens, and for clients that ask it (they use `source`).
 *
 * The file may be empty. Its lines "option transport.socket.ssl-NAME VALUE" name other files and rules than the default
 * ones. Certificates that are replaced later are read again.
 */
#pragma once

#include "base/loop.h"
#include "rpc/tls.h"

struct secure_access {
        bool on;
        struct tls_source source;
};

/* Reads PATH and the certificates. 0 (also when there is no such file), or -errno with a sentence. Blocking: at start. */
int secure_access_load(struct secure_access *s, const char *path, struct error *e);

/* Puts TLS around an accepted stream, which it takes over; a plain connection stays as it is when TLS is off. Loop
 * thread. */
int secure_access_wrap(struct secure_access *s, struct stream *accepted, struct stream **ret);
