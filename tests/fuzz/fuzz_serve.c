/* mortard's port for clients, bricks and daemons, in the simulator: whatever arrives, it answers or hangs up, and serves the
 * next client.
 *
 * An input is calls of {procedure, length / 4} and arguments; procedure 0xff: raw bytes for the stream.
 */
#include "fuzz.h"

#include "base/sim.h"
#include "pool/pool.h"
#include "proto/handshake.h"
#include "rpc/record.h"

#define PORT 24007
#define RAW 0xff
#define TIME_LIMIT (3600 * NS_PER_SEC)

struct world {
        struct sim *sim;
        struct loop *server, *client;
        struct pool pool;
        struct stream *stream;
        struct buf out;
        bool ended, pinged;
        struct record_reader in;
};

static const struct {
        uint32_t prog, vers, proc;
} calls[] = {{DUMP_PROGRAM, 1, DUMP_DUMP},
             {HANDSHAKE_PROGRAM, 2, HANDSHAKE_GETSPEC},
             {HANDSHAKE_PROGRAM, 2, HANDSHAKE_EVENT_NOTIFY},
             {HANDSHAKE_PROGRAM, 2, HANDSHAKE_GET_VOLUME_INFO},
             {HANDSHAKE_PROGRAM, 2, HANDSHAKE_GET_SNAPSHOT_INFO},
             {PORTMAP_PROGRAM, 1, PORTMAP_PORTBYBRICK},
             {PORTMAP_PROGRAM, 1, PORTMAP_SIGNIN},
             {PORTMAP_PROGRAM, 1, PORTMAP_SIGNOUT},
             {HANDSHAKE_PROGRAM, 2, HANDSHAKE_SETVOLUME},
             {4711, 1, 1}};

#define PING_XID 0x50494e47u

static void add_call(struct buf *b, uint32_t xid, uint32_t prog, uint32_t vers, uint32_t proc, const uint8_t *args, size_t n)
{
        struct rpc_call call = {.xid = xid, .prog = prog, .vers = vers, .proc = proc, .cred = {.flavour = RPC_AUTH_GLUSTERFS_V2}};
        size_t begin = record_begin(b);
        rpc_call_encode(b, &call);
        (void)buf_append(b, args, n);
        record_end(b, begin, 0);
}

static void add_input(struct buf *b, const uint8_t *data, size_t size)
{
        for (uint32_t xid = 1; size >= 2; xid++) {
                uint8_t choice = data[0];
                size_t n = MIN(size - 2, data[1] * 4u);
                if (choice == RAW)
                        (void)buf_append(b, data + 2, n);
                else
                        add_call(b, xid, calls[choice % ELEMENTSOF(calls)].prog, calls[choice % ELEMENTSOF(calls)].vers,
                                 calls[choice % ELEMENTSOF(calls)].proc, data + 2, n);
                data += 2 + n;
                size -= 2 + n;
        }
        add_call(b, PING_XID, DUMP_PROGRAM, DUMP_VERSION, DUMP_PING, NULL, 0);
}

static void take_answers(struct world *w)
{
        struct slice record;
        int r;
        while ((r = record_reader_next(&w->in, &record, NULL)) == 1) {
                struct rpc_reply reply;
                FUZZ_CHECK(rpc_direction(record) == (int)RPC_REPLY && rpc_reply_decode(record, &reply) == 0);
                w->pinged = w->pinged || reply.xid == PING_XID;
        }
        FUZZ_CHECK(r == 0);
}

static void client_event(struct stream *s, unsigned events, void *arg)
{
        struct world *w = arg;
        if (w->out.len > 0) {
                ssize_t n = stream_writev(s, &(struct iovec){w->out.data, w->out.len}, 1);
                if (n > 0)
                        buf_consume(&w->out, (size_t)n);
                w->ended = n < 0 && n != -EAGAIN;
        }
        size_t room;
        uint8_t *at = record_reader_space(&w->in, 4096, &room);
        ssize_t n = stream_readv(s, &(struct iovec){at, room}, 1);
        if (n > 0) {
                record_reader_filled(&w->in, (size_t)n);
                take_answers(w);
        }
        w->ended = w->ended || n == 0 || (n < 0 && n != -EAGAIN);
        stream_watch(s, w->ended ? 0 : STREAM_READABLE | (w->out.len > 0 ? STREAM_WRITABLE : 0), client_event, w);
}

static bool is_over(void *arg)
{
        const struct world *w = arg;
        return w->ended || w->pinged;
}

/* One client's life. */
static void visit(struct world *w, const struct address *at, const uint8_t *data, size_t size)
{
        w->out = BUF_INIT(4 * MIB);
        record_reader_init(&w->in, RECORD_LIMIT);
        w->ended = w->pinged = false;
        add_input(&w->out, data, size);
        FUZZ_CHECK(loop_connect(w->client, at, NULL, &w->stream) == 0);
        stream_watch(w->stream, STREAM_WRITABLE | STREAM_READABLE, client_event, w);
        (void)sim_run(w->sim, sim_now(w->sim) + TIME_LIMIT, is_over, w); /* half a record makes it wait: no harm */
        w->stream = stream_free(w->stream);
        record_reader_done(&w->in);
        buf_done(&w->out);
}

static void add_volume(struct pool *p)
{
        struct volume *v = volume_new("vol", 2);
        FUZZ_CHECK(v);
        for (size_t i = 0; i < 2; i++)
                v->bricks[i] = (struct brick_record){.host = "host", .path = i ? "/srv/b" : "/srv/a", .id = i ? "vol-client-1" : "vol-client-0"};
        v->id.b[0] = 1;
        v->status = VOLUME_STARTED;
        v->op_version = 40000;
        v->client_op_version = 2;
        FUZZ_CHECK(volume_set_put(&p->volumes, "vol", v, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct world w = {0};
        struct sim_node *server, *client;
        struct address at;
        const struct supervisor_config none = {0};
        FUZZ_CHECK(sim_new(1, &w.sim) == 0 && sim_node_new(w.sim, "server", &server) == 0 && sim_node_new(w.sim, "client", &client) == 0);
        FUZZ_CHECK(sim_address(w.sim, "server", PORT, &at) == 0);
        w.pool.loop = w.server = sim_node_loop(server);
        w.client = sim_node_loop(client);
        FUZZ_CHECK(supervisor_new(w.server, &none, &w.pool.supervisor) == 0);
        add_volume(&w.pool);
        FUZZ_CHECK(serve_clients(&w.pool, &at) == 0);
        visit(&w, &at, data, size);
        visit(&w, &at, NULL, 0);
        FUZZ_CHECK(w.pinged);
        rpc_server_free(w.pool.clients);
        volume_set_done(&w.pool.volumes);
        free(w.pool.supervisor);
        sim_free(w.sim);
        return 0;
}
