/* TLS around a connection that a client makes. */
#pragma once

#include "rpc/tls_stream.h"

/* Puts TLS around CONNECTING, which it takes over; files that were replaced are read again first (logged under
 * COMPONENT). ON_FAILURE as in rpc/tls_stream.h. Loop thread. */
int secure_connect(struct tls_source *source, const char *component, struct stream *connecting,
                   void (*on_failure)(const char *peer, const char *why, void *arg), void *arg, struct stream **ret);
