/* An RPC server connection on a loop: records in, calls out, replies and callbacks back.
 *
 * For programs served on a loop thread (mortard, simulated bricks, a brick's control connection). A brick's data
 * connections are driven by worker threads (brick/lane.h) with the same record, header and message code.
 *
 * A connection object lives until it is closed AND every call of it was answered, so an answer may come at any time.
 * Bounds: see struct rpc_server_limits; unsent replies never exceed `output` + RECORD_LIMIT, and a peer that leaves
 * more than `output` unread when a callback is due is disconnected. Connections are plain unless the handler's `wrap`
 * puts TLS around them (rpc/tls_stream.h). Thread: the loop's.
 */
#pragma once

#include "base/loop.h"
#include "proto/message.h"
#include "rpc/header.h"

struct rpc_server;
struct rpc_server_conn;

struct rpc_server_limits {
        size_t record;        /* largest record, bytes; 0 = RECORD_LIMIT */
        size_t output;        /* unsent reply bytes at which reading stops; 0 = 8 MiB */
        uint32_t outstanding; /* calls without a reply at which reading stops; 0 = 64 */
        uint32_t connections; /* 0 = 4096; further ones are closed at once */
};

struct rpc_server_handler {
        /* A call arrived. Answer now or later, exactly once: rpc_conn_reply() or rpc_conn_reject(). CALL and its record
         * live until this returns. */
        void (*on_call)(struct rpc_server_conn *c, const struct rpc_call *call, void *arg);
        /* The connection is gone, whoever ended it; replies to it are dropped. `rpc_conn_data` is still valid here.
         * Called once. May be NULL. */
        void (*on_close)(struct rpc_server_conn *c, void *arg);
        /* The peer speaks TLS on a connection that is plain; the connection is closed afterwards. May be NULL. */
        void (*on_tls)(struct rpc_server_conn *c, void *arg);
        /* Puts something around a stream that was accepted and takes it over; -errno: it is closed. NULL: plain. */
        int (*wrap)(struct stream *accepted, void *arg, struct stream **ret);
};

/* Listens at AT and serves until freed. */
int rpc_server_new(struct loop *loop, const struct address *at, const struct rpc_server_handler *handler,
                   const struct rpc_server_limits *limits, void *arg, struct rpc_server **ret);
struct rpc_server *rpc_server_free(struct rpc_server *s);
DEFINE_CLEANUP(struct rpc_server *, rpc_server_free)
int rpc_server_address(struct rpc_server *s, struct address *ret);

/* Calls fn for every open connection (FETCHSPEC to all). FN may close its connection, but no other. */
void rpc_server_each(struct rpc_server *s, void (*fn)(struct rpc_server_conn *c, void *arg), void *arg);

void rpc_conn_reply(struct rpc_server_conn *c, uint32_t xid, const struct msg_desc *desc, const void *msg);
void rpc_conn_reject(struct rpc_server_conn *c, uint32_t xid, enum rpc_status status);
/* A call in the reverse direction that is never answered (wire.md §4.5). DESC NULL = no body. */
void rpc_conn_callback(struct rpc_server_conn *c, uint32_t prog, uint32_t vers, uint32_t proc,
                       const struct msg_desc *desc, const void *msg);
/* A whole record in N pieces, mark included, from a program with an encoder of its own (a brick's sessions). A reply
 * answers one call, a call goes out as a callback. The first piece holds the mark, the xid and the direction at least. */
void rpc_conn_send_record(struct rpc_server_conn *c, const struct iovec *iov, int n);
void rpc_conn_close(struct rpc_server_conn *c);
/* -ENOTCONN once closed. */
int rpc_conn_peer(const struct rpc_server_conn *c, struct address *ret);
/* The descriptor below, for asking the kernel who the peer is; -ENOTCONN, -ENOTSUP. Still owned by C. */
int rpc_conn_fd(const struct rpc_server_conn *c);

/* The handler's own pointer for this connection. */
void rpc_conn_set_data(struct rpc_server_conn *c, void *data);
void *rpc_conn_data(const struct rpc_server_conn *c);
