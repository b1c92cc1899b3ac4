/* An RPC client connection on a loop, for fibres: call and wait, callbacks, ping (wire.md §1.3, §1.8, §4.5).
 *
 * Connections made here are plain unless `wrap` puts TLS around them (rpc/tls_stream.h).
 * Thread: the loop's.
 */
#pragma once

#include "base/fibre.h"
#include "proto/message.h"
#include "rpc/header.h"

struct rpc_client;

struct rpc_client_config {
        struct address to;
        const struct address *from; /* NULL: any */
        uint64_t connect_timeout;   /* ns; 0 = 10 s */
        uint64_t call_timeout;      /* ns; 0 = 1800 s */
        uint64_t ping_timeout;      /* ns; 0 = no pings */
        /* A callback from the server (wire.md §4.5). RECORD lives until it returns. May be NULL. */
        void (*on_callback)(struct rpc_client *c, const struct rpc_call *call, void *arg);
        /* The connection was lost; outstanding calls have failed. Not called by rpc_client_free. May be NULL. */
        void (*on_disconnect)(struct rpc_client *c, int error, void *arg);
        /* Puts something around the stream that connects and takes it over; -errno: no connection. NULL: plain. */
        int (*wrap)(struct stream *connecting, void *arg, struct stream **ret);
        /* When it becomes true, connecting ends with -ECANCELED within a tenth of a second. NULL: never. */
        const bool *cancelled;
        void *arg;
};

/* Connects. 0, or -errno (-ETIMEDOUT, -ECONNREFUSED, …) with nothing left. */
int rpc_client_connect(struct fibre *self, const struct rpc_client_config *config, struct rpc_client **ret);
/* Calls that wait fail with -ENOTCONN. May be called from on_callback and on_disconnect. */
struct rpc_client *rpc_client_free(struct rpc_client *c);
DEFINE_CLEANUP(struct rpc_client *, rpc_client_free)

/* One call: sends REQ (described by REQ_DESC; NULL = no arguments), waits, decodes into REP with A. CRED NULL = v2
 * zeros. The reply record stays valid as long as A. -ENOTCONN lost, -ETIMEDOUT, -EPROTO the peer refused the call
 * (program, procedure, arguments), -EBADMSG its reply does not decode or holds what no reply may (a name with '/').
 * While more than a few MiB wait to be sent, further calls wait first. */
int rpc_client_call(struct fibre *self, struct rpc_client *c, uint32_t prog, uint32_t vers, uint32_t proc,
                    const struct rpc_cred *cred, const struct msg_desc *req_desc, const void *req,
                    const struct msg_desc *rep_desc, void *rep, struct arena *a);

/* The same, given up when *CANCELLED becomes true: -EINTR within a tenth of a second. The server may still do it. */
int rpc_client_call_cancellable(struct fibre *self, struct rpc_client *c, uint32_t prog, uint32_t vers, uint32_t proc,
                                const struct rpc_cred *cred, const struct msg_desc *req_desc, const void *req,
                                const struct msg_desc *rep_desc, void *rep, struct arena *a, const bool *cancelled);

/* A call whose answer nobody waits for. -ENOTCONN, -EMSGSIZE, -ENOMEM: nothing was sent. */
int rpc_client_send(struct rpc_client *c, uint32_t prog, uint32_t vers, uint32_t proc, const struct rpc_cred *cred,
                    const struct msg_desc *req_desc, const void *req);

/* Calls that have no answer yet, pings not counted. */
unsigned rpc_client_outstanding(const struct rpc_client *c);
