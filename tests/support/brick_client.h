/* A blocking client of one brick, for tests and measurements: handshake, then one call after the other. */
#pragma once

#include "proto/fop.h"
#include "proto/handshake.h"
#include "rpc/header.h"

struct brick_client {
        int fd;
        uint32_t xid;
        struct rpc_cred cred; /* of every call; starts as root without times */
        struct buf out, in;
        struct arena arena; /* holds the last reply */
};

/* Connects to HOST:PORT (numeric) and says which brick. 0, -errno, or -EACCES when SETVOLUME was refused. */
int brick_client_open(struct brick_client *c, const char *host, uint16_t port, const char *brick);
void brick_client_close(struct brick_client *c);

/* One call of the fop program. 0: REP is filled (look at its op_ret); -EPROTO: not RPC_SUCCESS; other -errno. */
int brick_client_fop(struct brick_client *c, enum fop fop, const void *req, void *rep);

/* The connection's raw halves, for tests that misbehave. */
int brick_client_send(struct brick_client *c, uint32_t prog, uint32_t vers, uint32_t proc, const struct msg_desc *desc,
                      const void *req);
int brick_client_receive(struct brick_client *c, struct rpc_reply *ret);
