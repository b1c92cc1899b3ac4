/* A brick as clients see it: sessions that are open, and calls that reach far into it (made_call.h).
 *
 * An input is a byte for each of HEADER options and then blocks. Most blocks are calls; some end or begin a session, let
 * time pass, stop the brick gracefully, or close and open it. The disk is simulated, so nothing is left behind and a run is repeatable.
 * What is checked: one answer to every call that does not wait, answers that decode, errors that exist, nothing held after
 * the sessions' end, and the invariants of a brick at rest.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "../brick/check.h"
#include "base/sim_disk.h"
#include "brick/brick.h"
#include "made_call.h"
#include "proto/chain.h"
#include "rpc/record.h"

#define HEADER 8
#define BLOCKS_MAX 48
#define CLIENTS 4
#define ERRNO_MAX 133
#define PATH "/brick"

int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

struct field {
        struct sim_disk *sim;
        struct disk *disk;
        struct brick *brick;
        struct brick_config config;
        struct client {
                struct field *field;
                struct session *session;
                struct parked_call *resumed[BLOCKS_MAX]; /* waited for locks and may go on */
                unsigned n_resumed;
        } clients[CLIENTS];
        struct knowledge known;
        struct arena arena;
        uint64_t now;
        uint32_t xid;
        uint32_t proc[BLOCKS_MAX + 1]; /* of each call whose answer is looked at, by xid */
        bool answered[BLOCKS_MAX + 1];
};

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void learn_dict(struct knowledge *k, const struct dict *d)
{
        for (uint32_t i = 0; i < d->count; i++) {
                const struct dict_value *v = &d->pairs[i].value;
                if ((v->type == DICT_PTR || v->type == DICT_STR_OLD) && v->bytes.len == sizeof(struct gfid))
                        knowledge_gfid(k, (const struct gfid *)v->bytes.data);
        }
}

static void learn(struct knowledge *k, const struct msg_desc *d, const uint8_t *msg)
{
        for (uint32_t i = 0; i < d->field_count; i++) {
                const struct msg_field *f = &d->fields[i];
                const void *at = msg + f->offset;
                if (f->kind == MSG_iatt)
                        knowledge_gfid(k, &((const struct iatt *)at)->gfid);
                else if (f->kind == MSG_dict)
                        learn_dict(k, at);
                else if (streq(f->name, "fd"))
                        knowledge_fd(k, *(const int64_t *)at);
        }
}

static void look_at(struct field *f, uint32_t proc, struct slice results)
{
        const struct fop_desc *d = fop_by_number(proc);
        _Alignas(max_align_t) uint8_t msg[MSG_SIZE_MAX];
        _cleanup_arena_ struct arena a = ARENA_INIT(RECORD_LIMIT);
        struct xdr_reader x = xdr_reader_of(results.data, results.len);
        FUZZ_CHECK(msg_decode(d->rep, &x, &a, msg) == 0);
        const struct { /* every answer begins with these */
                int32_t op_ret, op_errno;
        } *head = (const void *)msg;
        FUZZ_CHECK(head->op_ret >= -1 && head->op_errno >= 0 && head->op_errno <= ERRNO_MAX);
        FUZZ_CHECK(head->op_ret >= 0 || head->op_errno > 0);
        if (head->op_ret >= 0)
                learn(&f->known, d->rep, msg);
}

#define PROC_CHAIN UINT32_MAX

/* Each step's answer is one of its operation. */
static void look_at_chain(struct field *f, struct slice results)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(RECORD_LIMIT);
        struct xdr_reader x = xdr_reader_of(results.data, results.len);
        struct chain_rep rep;
        struct chain_answer_part part;
        FUZZ_CHECK(msg_decode(&chain_rep_desc, &x, &a, &rep) == 0 && xdr_left(&x) == 0);
        FUZZ_CHECK(rep.op_ret == 0 ? rep.count > 0 : rep.count == 0 && rep.op_errno > 0);
        x = xdr_reader_of(rep.answers.data, rep.answers.len);
        for (uint32_t i = 0; i < rep.count; i++) {
                FUZZ_CHECK(msg_decode(&chain_answer_part_desc, &x, &a, &part) == 0);
                look_at(f, part.fop, part.reply);
        }
        FUZZ_CHECK(xdr_left(&x) == 0);
}

static void on_send(void *conn, const struct iovec *iov, int n)
{
        struct client *c = conn;
        struct field *f = c->field;
        _cleanup_buf_ struct buf b = BUF_INIT(2 * RECORD_LIMIT);
        for (int i = 0; i < n; i++)
                FUZZ_CHECK(buf_append(&b, iov[i].iov_base, iov[i].iov_len) == 0);
        FUZZ_CHECK(b.len > RECORD_MARK_SIZE);
        struct slice record = {b.data + RECORD_MARK_SIZE, (uint32_t)(b.len - RECORD_MARK_SIZE)};
        if (rpc_direction(record) == (int)RPC_CALL)
                return; /* a callback */
        struct rpc_reply reply;
        FUZZ_CHECK(rpc_reply_decode(record, &reply) == 0);
        FUZZ_CHECK(reply.xid <= f->xid && !f->answered[reply.xid]);
        f->answered[reply.xid] = true;
        if (reply.status == RPC_SUCCESS && f->proc[reply.xid] == PROC_CHAIN)
                look_at_chain(f, reply.results);
        else if (reply.status == RPC_SUCCESS && f->proc[reply.xid] != FOP_NULL)
                look_at(f, f->proc[reply.xid], reply.results);
}

static bool on_resume(void *conn, struct parked_call *p)
{
        struct client *c = conn;
        FUZZ_CHECK(c->n_resumed < BLOCKS_MAX);
        c->resumed[c->n_resumed++] = p;
        return true;
}

/* What may go on goes on, and may let others go on. */
static void run_resumed(struct field *f)
{
        bool more = true;
        while (more) {
                more = false;
                for (unsigned i = 0; i < CLIENTS; i++) {
                        struct client *c = &f->clients[i];
                        while (c->n_resumed > 0) {
                                _cleanup_arena_ struct arena a = ARENA_INIT(RECORD_LIMIT);
                                session_resume(c->resumed[--c->n_resumed], &a);
                                more = true;
                        }
                }
        }
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static struct session *session_of(struct field *f, unsigned n)
{
        struct client *c = &f->clients[n];
        if (c->session)
                return c->session;
        c->field = f;
        struct session_config config = {.client_uid = "CTX_ID:fuzz-%s%n",
                                        .trusted = n == 1,
                                        .op_version = n == 2 ? 60000 : 100000,
                                        .send = on_send,
                                        .resume = on_resume,
                                        .conn = c,
                                        .subdir = n == 3 ? "/a" : NULL};
        if (session_open(f->brick, &config, &c->session) < 0) {
                config.subdir = NULL; /* it is not there yet */
                FUZZ_CHECK(session_open(f->brick, &config, &c->session) == 0);
        }
        return c->session;
}

static void end_sessions(struct field *f)
{
        for (unsigned i = 0; i < CLIENTS; i++) {
                f->clients[i].session = session_close(f->clients[i].session);
                run_resumed(f);
        }
        struct brick_stats stats;
        brick_get_stats(f->brick, &stats);
        FUZZ_CHECK(stats.sessions == 0 && stats.fds == 0 && stats.locks == 0 && stats.locks_waiting == 0);
}

static void open_brick(struct field *f)
{
        struct error e = {0};
        int r = brick_open(f->disk, &f->config, &f->brick, &e);
        if (r < 0)
                fprintf(stderr, "%s\n", e.text);
        FUZZ_CHECK(r == 0);
}

static bool may_wait(uint32_t proc)
{
        switch (proc) {
        case FOP_LK:
        case FOP_INODELK:
        case FOP_FINODELK:
        case FOP_ENTRYLK:
        case FOP_FENTRYLK:
        case FOP_UNLINK: /* these wait for locks of other clients, or for the barrier */
        case FOP_RMDIR:
        case FOP_RENAME:
        case FOP_READ: /* with mandatory locking */
        case FOP_WRITE:
        case FOP_TRUNCATE:
        case FOP_FTRUNCATE:
        case FOP_DISCARD:
        case FOP_ZEROFILL:
        case FOP_FSYNC: /* with the barrier */
        case FOP_REMOVEXATTR:
        case FOP_FREMOVEXATTR:
                return true;
        }
        return false;
}

/* The first of the ancestors is called "/", as stock bricks do, which is the name of no entry: our clients do not ask. */
static bool asks_for_ancestors(const struct rpc_call *call)
{
        struct readdirp_fop_req req;
        _cleanup_arena_ struct arena a = ARENA_INIT(RECORD_LIMIT);
        struct xdr_reader x = xdr_reader_of(call->args.data, call->args.len);
        return call->proc == FOP_READDIRP && msg_decode(&readdirp_fop_req_desc, &x, &a, &req) == 0 &&
               dict_has(&req.xdata, "glusterfs.ancestry.dentry");
}

static void step_call(struct field *f, const uint8_t block[CALL_BLOCK])
{
        struct rpc_call call;
        arena_reset(&f->arena);
        if (!made_call(block, &f->known, &f->arena, &call))
                return;
        call.xid = ++f->xid;
        f->proc[call.xid] = asks_for_ancestors(&call) ? (uint32_t)FOP_NULL : call.proc;
        struct session *s = session_of(f, block[2] % CLIENTS);
        _cleanup_arena_ struct arena a = ARENA_INIT(RECORD_LIMIT);
        (void)session_call_is_slow(&call);
        (void)session_call_answer_size(&call);
        session_serve(s, &call, &a);
        run_resumed(f);
        FUZZ_CHECK(f->answered[call.xid] || may_wait(call.proc));
}

/* Calls of a few bytes in a row, most of which may follow each other. */
static void step_chain(struct field *f, const uint8_t block[CALL_BLOCK])
{
        static const uint8_t fops[] = {FOP_INODELK, FOP_FINODELK, FOP_ENTRYLK, FOP_XATTROP, FOP_FXATTROP, FOP_FSYNC,
                                       FOP_CREATE, FOP_MKNOD, FOP_MKDIR, FOP_LOOKUP, FOP_OPEN, FOP_READ, FOP_UNLINK};
        _cleanup_buf_ struct buf steps = BUF_INIT(CHAIN_STEPS_BYTES), cred = BUF_INIT(CHAIN_CRED_MAX),
                                 args = BUF_INIT(2 * CHAIN_STEPS_BYTES);
        uint32_t n = block[3] % 5u;
        arena_reset(&f->arena);
        for (uint32_t i = 0; i < n; i++) {
                uint8_t made[CALL_BLOCK] = {fops[block[4 + i] % sizeof fops], block[1], block[2]};
                struct rpc_call call;
                memcpy(made + 3, block + 8 + i, CALL_BLOCK - 12);
                if (!made_call(made, &f->known, &f->arena, &call))
                        return;
                cred.len = 0;
                if (block[4 + i] & 0x80)
                        rpc_cred_encode(&cred, &call.cred);
                xdr_write_u32(&steps, call.proc);
                xdr_write_opaque(&steps, cred.data, (uint32_t)cred.len);
                xdr_write_opaque(&steps, call.args.data, call.args.len);
        }
        const struct chain_req req = {.count = n, .steps = {steps.data, (uint32_t)steps.len}};
        msg_encode(&chain_req_desc, &req, &args);
        if (args.error || steps.error)
                return;
        const struct rpc_call chain = {.xid = ++f->xid,
                                       .prog = CHAIN_PROGRAM,
                                       .vers = CHAIN_VERSION,
                                       .proc = block[3] < 0xf0 ? CHAIN_PERFORM : CHAIN_WATCH_INDEX,
                                       .cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .owner_len = 4, .owner = {block[1]}},
                                       .args = {args.data, (uint32_t)args.len}};
        f->proc[chain.xid] = chain.proc == CHAIN_PERFORM ? PROC_CHAIN : FOP_NULL;
        struct session *s = session_of(f, block[2] % CLIENTS);
        _cleanup_arena_ struct arena a = ARENA_INIT(RECORD_LIMIT);
        (void)session_call_is_slow(&chain);
        (void)session_call_answer_size(&chain);
        session_serve(s, &chain, &a);
        run_resumed(f);
}

#define STEP_OTHER 0x78 /* procedure numbers from here to 0x7f are no calls */

static void step(struct field *f, const uint8_t block[CALL_BLOCK])
{
        struct error e = {0};
        struct client *c = &f->clients[block[2] % CLIENTS];
        switch (block[0]) {
        case STEP_OTHER:
                c->session = session_close(c->session);
                run_resumed(f);
                return;
        case STEP_OTHER + 1:
                f->now += 6000000000ull;
                (void)brick_maintain(f->brick, f->now, &e);
                brick_purge(f->brick, f->now);
                return;
        case STEP_OTHER + 2:
                end_sessions(f);
                f->brick = brick_close(f->brick);
                open_brick(f);
                return;
        case STEP_OTHER + 3:
                brick_refuse_new_locks(f->brick);
                (void)brick_held_locks(f->brick);
                return;
        case STEP_OTHER + 4:
                step_chain(f, block);
                return;
        default:
                step_call(f, block);
        }
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

#define OPTION_NAME_(field, kind, name, value) name,
static const char *const option_names[] = {BRICK_OPTIONS(OPTION_NAME_)};

static void choose_options(struct field *f, const uint8_t header[HEADER])
{
        static const char *const values[] = {"on", "off", "0", "1", "2", "100%", "1000000000000", "0777", "trusted.afr.vol-", "forced"};
        brick_options_init(&f->config.options);
        (void)brick_options_set(&f->config.options, "xattrop-pending-watchlist", "trusted.afr.vol-", NULL);
        (void)brick_options_set(&f->config.options, "xattrop-dirty-watchlist", "trusted.afr.dirty", NULL);
        for (int i = 0; i + 1 < HEADER; i += 2) {
                const char *name = option_names[header[i] % ELEMENTSOF(option_names)];
                if (header[i + 1] > 0 && !starts_with(name, "health"))
                        (void)brick_options_set(&f->config.options, name, values[header[i + 1] % ELEMENTSOF(values)], NULL);
        }
}

static void begin(struct field *f, const uint8_t header[HEADER])
{
        *f = (struct field){.arena = ARENA_INIT(FUZZ_ARENA)};
        f->config = (struct brick_config){.path = PATH, .volume = "vol%n", .hostname = "host", .volume_id = {.b = {1, 2, 3}}};
        choose_options(f, header);
        FUZZ_CHECK(sim_disk_new(1, 256 * MIB, &f->sim) == 0);
        f->disk = sim_disk_ops(f->sim);
        FUZZ_CHECK(disk_mkdir(f->disk, AT_FDCWD, PATH, 0755) == 0);
        FUZZ_CHECK(disk_setxattr(f->disk, AT_FDCWD, PATH, "trusted.glusterfs.volume-id", f->config.volume_id.b, 16, 0) == 0);
        knowledge_begin(&f->known);
        open_brick(f);
}

static void end(struct field *f)
{
        end_sessions(f);
        for (int i = 0; i < 4; i++)
                brick_purge(f->brick, f->now += 60000000000ull);
        f->brick = brick_close(f->brick);
        int flags = CHECK_CRASHED | CHECK_UNLINK_LEFT | CHECK_ANY_CLIENT | (f->config.options.gfid2path ? 0 : CHECK_NO_GFID2PATH);
        FUZZ_CHECK(check_brick(f->disk, PATH, flags) == 0);
        FUZZ_CHECK(sim_disk_open_count(f->sim) == 0);
        sim_disk_free(f->sim);
        arena_done(&f->arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        (void)argv;
        umask(0);
        recorded_calls_load(RECORDED_CALLS);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint8_t header[HEADER] = {0};
        memcpy(header, data, MIN(size, sizeof header));
        struct field f;
        begin(&f, header);
        for (size_t at = HEADER; at < size && f.xid < BLOCKS_MAX; at += CALL_BLOCK) {
                uint8_t block[CALL_BLOCK] = {0};
                memcpy(block, data + at, MIN(size - at, sizeof block));
                step(&f, block);
        }
        end(&f);
        return 0;
}

/* ---- mutations that keep blocks together ------------------------------------------------------------------------- */

static size_t mutate_block(uint8_t *block, unsigned how)
{
        if (how % 4 == 0)
                block[0] = (uint8_t)(how >> 8);
        else if (how % 4 == 1)
                block[3 + (how >> 8) % 12] = (uint8_t)(how >> 16);
        else
                (void)LLVMFuzzerMutate(block, CALL_BLOCK, CALL_BLOCK);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
        size_t n = size > HEADER ? (size - HEADER) / CALL_BLOCK : 0, max = max_size > HEADER ? (max_size - HEADER) / CALL_BLOCK : 0;
        if (n == 0 || max == 0 || seed % 61 == 0)
                return LLVMFuzzerMutate(data, size, max_size);
        uint8_t *blocks = data + HEADER, copy[CALL_BLOCK];
        size_t a = (seed >> 4) % n, b = (seed >> 12) % n;
        unsigned kind = seed % 8;
        if (kind == 0 && n < MIN(max, (size_t)BLOCKS_MAX)) { /* a copy of one before another */
                memcpy(copy, blocks + a * CALL_BLOCK, CALL_BLOCK);
                memmove(blocks + (b + 1) * CALL_BLOCK, blocks + b * CALL_BLOCK, (n - b) * CALL_BLOCK);
                memcpy(blocks + b * CALL_BLOCK, copy, CALL_BLOCK);
                n++;
                mutate_block(blocks + b * CALL_BLOCK, seed >> 3);
        } else if (kind == 1 && n > 1) {
                memmove(blocks + a * CALL_BLOCK, blocks + (a + 1) * CALL_BLOCK, (n - a - 1) * CALL_BLOCK);
                n--;
        } else if (kind == 2) {
                memcpy(copy, blocks + a * CALL_BLOCK, CALL_BLOCK);
                memmove(blocks + a * CALL_BLOCK, blocks + b * CALL_BLOCK, CALL_BLOCK);
                memcpy(blocks + b * CALL_BLOCK, copy, CALL_BLOCK);
        } else if (kind == 3) {
                (void)LLVMFuzzerMutate(data, HEADER, HEADER);
        } else {
                mutate_block(blocks + a * CALL_BLOCK, seed >> 3);
        }
        return HEADER + n * CALL_BLOCK;
}
