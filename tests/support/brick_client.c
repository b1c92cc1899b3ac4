#include "support/brick_client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "rpc/record.h"

static int send_all(int fd, const uint8_t *data, size_t len)
{
        while (len > 0) {
                ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                len -= (size_t)n;
        }
        return 0;
}

static int receive_all(int fd, uint8_t *data, size_t len)
{
        while (len > 0) {
                ssize_t n = recv(fd, data, len, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -ECONNRESET;
                data += n;
                len -= (size_t)n;
        }
        return 0;
}

int brick_client_send(struct brick_client *c, uint32_t prog, uint32_t vers, uint32_t proc, const struct msg_desc *desc,
                      const void *req)
{
        struct rpc_call call = {.xid = ++c->xid, .prog = prog, .vers = vers, .proc = proc, .cred = c->cred};
        call.cred.flavour = prog == FOP_PROGRAM ? RPC_AUTH_GLUSTERFS_V3 : RPC_AUTH_GLUSTERFS_V2;
        buf_reset(&c->out, SIZE_MAX);
        size_t begin = record_begin(&c->out);
        rpc_call_encode(&c->out, &call);
        if (desc)
                msg_encode(desc, req, &c->out);
        record_end(&c->out, begin, 0);
        return c->out.error ? c->out.error : send_all(c->fd, c->out.data, c->out.len);
}

int brick_client_receive(struct brick_client *c, struct rpc_reply *ret)
{
        for (;;) {
                uint8_t mark[4];
                int r = receive_all(c->fd, mark, sizeof mark);
                if (r < 0)
                        return r;
                uint32_t len = ((uint32_t)mark[0] << 24 | (uint32_t)mark[1] << 16 | (uint32_t)mark[2] << 8 | mark[3]) & ~RECORD_LAST;
                buf_reset(&c->in, SIZE_MAX);
                uint8_t *data = buf_extend(&c->in, len);
                r = data ? receive_all(c->fd, data, len) : c->in.error;
                if (r < 0)
                        return r;
                struct slice record = {c->in.data, len};
                if (rpc_direction(record) == (int)RPC_REPLY)
                        return rpc_reply_decode(record, ret);
        }
}

static int roundtrip(struct brick_client *c, uint32_t prog, uint32_t vers, uint32_t proc, const struct msg_desc *req_desc,
                     const void *req, const struct msg_desc *rep_desc, void *rep)
{
        struct rpc_reply reply;
        int r = brick_client_send(c, prog, vers, proc, req_desc, req);
        if (r == 0)
                r = brick_client_receive(c, &reply);
        if (r < 0)
                return r;
        if (reply.xid != c->xid || reply.status != RPC_SUCCESS)
                return -EPROTO;
        arena_reset(&c->arena);
        struct xdr_reader x = xdr_reader_of(reply.results.data, reply.results.len);
        return msg_decode(rep_desc, &x, &c->arena, rep);
}

int brick_client_fop(struct brick_client *c, enum fop fop, const void *req, void *rep)
{
        const struct fop_desc *d = fop_by_number(fop);
        return d ? roundtrip(c, FOP_PROGRAM, FOP_VERSION, fop, d->req, req, d->rep, rep) : -ENOSYS;
}

static int handshake(struct brick_client *c, const char *brick)
{
        struct dump_req dump = {.gfs_id = DUMP_GFS_ID};
        struct dump_rep programs;
        int r = roundtrip(c, DUMP_PROGRAM, DUMP_VERSION, DUMP_DUMP, &dump_req_desc, &dump, &dump_rep_desc, &programs);
        if (r < 0)
                return r;

        char uid[256];
        (void)snprintf(uid, sizeof uid, "CTX_ID:test-%d-%p-GRAPH_ID:0-PID:%d-HOST:test-PC_NAME:test-client-0-RECON_NO:-0", c->fd,
                       (void *)c, (int)getpid());
        struct setvolume_req req = {0};
        struct setvolume_rep rep;
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * KIB);
        r = dict_add_str(&req.dict, &a, "remote-subvolume", brick);
        if (r == 0)
                r = dict_add_str(&req.dict, &a, "process-uuid", uid);
        if (r == 0)
                r = dict_add_str(&req.dict, &a, "fops-version", "1298437");
        if (r == 0)
                r = dict_add_str(&req.dict, &a, "opversion", "100000");
        if (r == 0)
                r = roundtrip(c, HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_SETVOLUME, &setvolume_req_desc, &req,
                              &setvolume_rep_desc, &rep);
        if (r < 0)
                return r;
        return rep.op_ret < 0 ? -EACCES : 0;
}

int brick_client_open(struct brick_client *c, const char *host, uint16_t port, const char *brick)
{
        *c = (struct brick_client){.fd = -EBADF,
                                   .out = BUF_INIT(RECORD_LIMIT),
                                   .in = BUF_INIT(RECORD_LIMIT),
                                   .arena = ARENA_INIT(RECORD_LIMIT),
                                   .cred = {.owner_len = 4, .owner = {1}}};
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
        if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
                return -EINVAL;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int one = 1;
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 ||
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
                return -errno;
        return handshake(c, brick);
}

void brick_client_close(struct brick_client *c)
{
        c->fd = close_fd(c->fd);
        buf_done(&c->out);
        buf_done(&c->in);
        arena_done(&c->arena);
}
