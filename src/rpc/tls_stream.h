/* A stream that speaks TLS over another stream: for connections on a loop (rpc/client.h, rpc/server.h).
 *
 * Until the handshake is done nothing can be read or written; then the stream becomes writable. A handshake that fails,
 * or takes too long, is a broken connection: a hang-up and -errno from reading, and on_failure says why in words.
 * Thread: the loop's.
 */
#pragma once

#include "base/loop.h"
#include "rpc/tls_session.h"

struct tls_stream_config {
        struct tls_context *context; /* the stream takes a reference of its own */
        enum tls_side side;
        uint64_t timeout; /* ns for the handshake; 0 = 30 s */
        /* The handshake failed. PEER: address with port, "" if unknown. WHY: a sentence without the full stop. Called
         * before the stream reports the failure; must not free it. May be NULL. */
        void (*on_failure)(const char *peer, const char *why, void *arg);
        void *arg;
};

/* Takes over LOWER on success: one just connected to (the connection may still be under way) or accepted, of which
 * nothing was read. */
int tls_stream_new(struct stream *lower, const struct tls_stream_config *config, struct stream **ret);
