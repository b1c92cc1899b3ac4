/* RPC headers and credentials: bytes to structs and back. Pure functions; any thread. */
#include "rpc/header.h"

#define CRED_V2_ROOM 95 /* groups plus owner bytes a sender may use (wire.md §1.5) */
#define CRED_V3_ROOM 91
#define UNIX_NAME_LIMIT 255

int rpc_direction(struct slice record)
{
        struct xdr_reader r = xdr_reader_of(record.data, record.len);
        (void)xdr_read_u32(&r);
        uint32_t direction = xdr_read_u32(&r);
        return r.error || direction > RPC_REPLY ? -EBADMSG : (int)direction;
}

/* ---- credentials ------------------------------------------------------------------------------------------------- */

static void groups_decode(struct xdr_reader *r, struct rpc_cred *c)
{
        c->group_count = xdr_read_u32(r);
        if (c->group_count > RPC_GROUPS_LIMIT) {
                xdr_fail(r, -EBADMSG);
                return;
        }
        for (uint32_t i = 0; i < c->group_count; i++)
                c->groups[i] = xdr_read_u32(r);
}

static void owner_decode(struct xdr_reader *r, struct rpc_cred *c)
{
        struct slice owner = xdr_read_opaque(r, sizeof c->owner);
        if (owner.len > 0)
                memcpy(c->owner, owner.data, owner.len);
        c->owner_len = owner.len;
}

static void cred_v2_decode(struct xdr_reader *r, struct rpc_cred *c)
{
        c->pid = (int32_t)xdr_read_u32(r);
        c->uid = xdr_read_u32(r);
        c->gid = xdr_read_u32(r);
        groups_decode(r, c);
        owner_decode(r, c);
}

static void cred_v3_decode(struct xdr_reader *r, struct rpc_cred *c)
{
        c->pid = (int32_t)xdr_read_u32(r);
        c->uid = xdr_read_u32(r);
        c->gid = xdr_read_u32(r);
        c->flags = xdr_read_u32(r);
        c->time.nsec = xdr_read_u32(r);
        c->time.sec = (int64_t)xdr_read_u64(r);
        groups_decode(r, c);
        owner_decode(r, c);
}

static void cred_unix_decode(struct xdr_reader *r, struct rpc_cred *c)
{
        (void)xdr_read_u32(r);
        (void)xdr_read_opaque(r, UNIX_NAME_LIMIT);
        c->uid = xdr_read_u32(r);
        c->gid = xdr_read_u32(r);
        groups_decode(r, c);
}

static void cred_clear(struct rpc_cred *c)
{
        c->flavour = RPC_AUTH_NULL;
        c->pid = 0;
        c->uid = c->gid = c->flags = 0;
        c->time = (struct iatt_time){0};
        c->group_count = c->owner_len = 0;
}

static int cred_decode(uint32_t flavour, struct slice body, struct rpc_cred *c)
{
        struct xdr_reader r = xdr_reader_of(body.data, body.len);
        cred_clear(c);
        switch (flavour) {
        case RPC_AUTH_UNIX:
                cred_unix_decode(&r, c);
                break;
        case RPC_AUTH_GLUSTERFS_V2:
                cred_v2_decode(&r, c);
                break;
        case RPC_AUTH_GLUSTERFS_V3:
                cred_v3_decode(&r, c);
                break;
        default:
                return 0;
        }
        c->flavour = flavour;
        return r.error;
}

/* Bytes a body takes without its groups, whose number may be cut. */
static size_t cred_base_size(const struct rpc_cred *c)
{
        size_t fixed = c->flavour == RPC_AUTH_GLUSTERFS_V3 ? 36 : 20;
        return fixed + ((c->owner_len + 3) & ~3u);
}

static uint32_t cred_groups_sent(const struct rpc_cred *c)
{
        uint32_t room = c->flavour == RPC_AUTH_GLUSTERFS_V3 ? CRED_V3_ROOM : CRED_V2_ROOM;
        room = c->owner_len < room ? room - c->owner_len : 0;
        return MIN(c->group_count, room);
}

void rpc_cred_encode(struct buf *b, const struct rpc_cred *c)
{
        xdr_write_u32(b, c->flavour);
        if (c->flavour != RPC_AUTH_GLUSTERFS_V2 && c->flavour != RPC_AUTH_GLUSTERFS_V3) {
                xdr_patch_u32(b, b->len - 4, RPC_AUTH_NULL);
                xdr_write_u32(b, 0);
                return;
        }
        uint32_t groups = cred_groups_sent(c);
        size_t size = cred_base_size(c) + 4 * groups;
        if (size > RPC_CRED_LIMIT) {
                b->error = b->error ? b->error : -EMSGSIZE;
                return;
        }
        xdr_write_u32(b, (uint32_t)size);
        xdr_write_u32(b, (uint32_t)c->pid);
        xdr_write_u32(b, c->uid);
        xdr_write_u32(b, c->gid);
        if (c->flavour == RPC_AUTH_GLUSTERFS_V3) {
                xdr_write_u32(b, c->flags);
                xdr_write_u32(b, c->time.nsec);
                xdr_write_u64(b, (uint64_t)c->time.sec);
        }
        xdr_write_u32(b, groups);
        for (uint32_t i = 0; i < groups; i++)
                xdr_write_u32(b, c->groups[i]);
        xdr_write_opaque(b, c->owner, c->owner_len);
}

int rpc_cred_decode(struct slice bytes, struct rpc_cred *ret)
{
        struct xdr_reader r = xdr_reader_of(bytes.data, bytes.len);
        uint32_t flavour = xdr_read_u32(&r);
        struct slice body = xdr_read_opaque(&r, RPC_CRED_LIMIT);
        bool known = flavour == RPC_AUTH_GLUSTERFS_V2 || flavour == RPC_AUTH_GLUSTERFS_V3;
        if (r.error || !known || xdr_left(&r) > 0 || cred_decode(flavour, body, ret) < 0)
                return -EBADMSG;
        return 0;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static int call_refuse(enum rpc_status status, enum rpc_status *ret_status)
{
        *ret_status = status;
        return -EBADMSG;
}

int rpc_call_decode(struct slice record, struct rpc_call *ret, enum rpc_status *ret_status)
{
        struct xdr_reader r = xdr_reader_of(record.data, record.len);
        *ret_status = RPC_SUCCESS;
        ret->xid = xdr_read_u32(&r);
        uint32_t direction = xdr_read_u32(&r);
        uint32_t version = xdr_read_u32(&r);
        ret->prog = xdr_read_u32(&r);
        ret->vers = xdr_read_u32(&r);
        ret->proc = xdr_read_u32(&r);
        uint32_t flavour = xdr_read_u32(&r);
        struct slice cred = xdr_read_opaque(&r, RPC_CRED_LIMIT);
        (void)xdr_read_u32(&r);
        (void)xdr_read_opaque(&r, RPC_CRED_LIMIT);
        if (r.error == -EBADMSG || direction != RPC_CALL)
                return -EBADMSG;
        if (r.error || version != RPC_VERSION || cred_decode(flavour, cred, &ret->cred) < 0)
                return call_refuse(RPC_GARBAGE_ARGS, ret_status);
        ret->args = (struct slice){.data = r.p, .len = (uint32_t)xdr_left(&r)};
        return 0;
}

void rpc_call_encode(struct buf *b, const struct rpc_call *call)
{
        xdr_write_u32(b, call->xid);
        xdr_write_u32(b, RPC_CALL);
        xdr_write_u32(b, RPC_VERSION);
        xdr_write_u32(b, call->prog);
        xdr_write_u32(b, call->vers);
        xdr_write_u32(b, call->proc);
        rpc_cred_encode(b, &call->cred);
        xdr_write_u32(b, RPC_AUTH_NULL);
        xdr_write_u32(b, 0);
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

int rpc_reply_decode(struct slice record, struct rpc_reply *ret)
{
        struct xdr_reader r = xdr_reader_of(record.data, record.len);
        struct rpc_reply reply = {.xid = xdr_read_u32(&r), .status = RPC_DENIED_AUTH};
        uint32_t direction = xdr_read_u32(&r);
        uint32_t denied = xdr_read_u32(&r);
        if (denied == 0) {
                (void)xdr_read_u32(&r);
                (void)xdr_read_opaque(&r, RPC_CRED_LIMIT);
                reply.status = (enum rpc_status)xdr_read_u32(&r);
        } else {
                (void)xdr_read_u32(&r);
        }
        if (r.error || direction != RPC_REPLY || denied > 1 || (denied == 0 && reply.status > RPC_SYSTEM_ERR))
                return -EBADMSG;
        if (reply.status == RPC_SUCCESS)
                reply.results = (struct slice){.data = r.p, .len = (uint32_t)xdr_left(&r)};
        *ret = reply;
        return 0;
}

void rpc_reply_encode(struct buf *b, uint32_t xid, enum rpc_status status)
{
        xdr_write_u32(b, xid);
        xdr_write_u32(b, RPC_REPLY);
        if (status == RPC_DENIED_AUTH) {
                xdr_write_u32(b, 1); /* denied */
                xdr_write_u32(b, 1); /* AUTH_ERROR */
                xdr_write_u32(b, 2); /* rejected credential */
                return;
        }
        xdr_write_u32(b, 0);
        xdr_write_u32(b, RPC_AUTH_NULL);
        xdr_write_u32(b, 0);
        xdr_write_u32(b, (uint32_t)status);
        if (status == RPC_PROG_MISMATCH) {
                xdr_write_u32(b, 0);
                xdr_write_u32(b, 0);
        }
}
