/* RPC call and reply headers, credentials (spec: wire.md §1.3–1.5; RFC 5531). */
#pragma once

#include "proto/xdr.h"

#define RPC_CALL 0u
#define RPC_REPLY 1u
#define RPC_VERSION 2u
#define RPC_CRED_LIMIT 400u

enum rpc_flavour {
        RPC_AUTH_NULL = 0,
        RPC_AUTH_UNIX = 1,
        RPC_AUTH_GLUSTERFS_V2 = 390039,
        RPC_AUTH_GLUSTERFS_V3 = 390040,
};

/* accept_stat of RFC 5531, plus our own value for a denied call. */
enum rpc_status {
        RPC_SUCCESS = 0,
        RPC_PROG_UNAVAIL = 1,
        RPC_PROG_MISMATCH = 2,
        RPC_PROC_UNAVAIL = 3,
        RPC_GARBAGE_ARGS = 4,
        RPC_SYSTEM_ERR = 5,
        RPC_DENIED_AUTH = 100, /* reply_stat 1, AUTH_ERROR, auth_stat 2 */
};

#define RPC_GROUPS_LIMIT 98 /* what fits a credential body of RPC_CRED_LIMIT bytes */

struct rpc_cred {
        uint32_t flavour;
        int32_t pid;
        uint32_t uid, gid;
        uint32_t flags; /* TIMES_* */
        struct iatt_time time;
        uint32_t group_count;
        uint32_t groups[RPC_GROUPS_LIMIT];
        uint32_t owner_len;
        uint8_t owner[RPC_CRED_LIMIT];
};

struct rpc_call {
        uint32_t xid;
        uint32_t prog, vers, proc;
        struct rpc_cred cred;
        struct slice args; /* everything after the header, into the record */
};

struct rpc_reply {
        uint32_t xid;
        enum rpc_status status;
        struct slice results;
};

/* RPC_CALL or RPC_REPLY; -EBADMSG when the record is shorter than eight bytes or says neither. Look here first. */
int rpc_direction(struct slice record);

/* Decodes a call header. 0 with *ret_status RPC_SUCCESS. -EBADMSG with RPC_SUCCESS: cut short or no call, close the
 * connection. -EBADMSG with another status: only ret->xid is valid, answer it with that status (rpcvers, credential or
 * verifier body). Unknown flavours count as AUTH_NULL. */
int rpc_call_decode(struct slice record, struct rpc_call *ret, enum rpc_status *ret_status);
/* A credential as it stands in a header, for messages that carry several: flavour and body. -EBADMSG: it is not one of
 * version 2 or 3, or bytes follow it. */
int rpc_cred_decode(struct slice bytes, struct rpc_cred *ret);
/* Appends one; as rpc_call_encode() does. */
void rpc_cred_encode(struct buf *b, const struct rpc_cred *cred);
/* -EBADMSG. Any denied call counts as RPC_DENIED_AUTH; what follows an error status is not looked at. */
int rpc_reply_decode(struct slice record, struct rpc_reply *ret);

/* Append a header. Groups are cut to what a sender may send (wire.md §1.5). Flavours other than v2 and v3 are sent as
 * AUTH_NULL. -EMSGSIZE (in B) if the lock owner leaves no room in RPC_CRED_LIMIT. */
void rpc_call_encode(struct buf *b, const struct rpc_call *call);
void rpc_reply_encode(struct buf *b, uint32_t xid, enum rpc_status status);
