#include "harness.h"
#include "check.h"

#include "rpc/record.h"

#include <ftw.h>
#include <sched.h>
#include <sys/xattr.h>
#include <time.h>

#define ARENA_MAX (16 * MIB)

/* ---- the brick ----------------------------------------------------------------------------------------------------- */

static void open_brick(struct harness *h)
{
        struct error e = {0};
        const struct brick_config config = {.path = h->path,
                                            .volume = "test",
                                            .volume_id = h->volume_id,
                                            .hostname = "testhost",
                                            .options = h->options};
        if (brick_open(h->disk, &config, &h->brick, &e) < 0)
                fail_msg("brick_open: %s", e.text);
}

static void prepare(struct harness *h)
{
        umask(0);
        brick_options_init(&h->options);
        assert_int_equal(brick_options_set(&h->options, "xattrop-pending-watchlist", "trusted.afr.v-", NULL), 0);
        h->volume_id = (struct gfid){.b = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
        int r = disk_setxattr(h->disk, AT_FDCWD, h->path, "trusted.glusterfs.volume-id", h->volume_id.b, 16, 0);
        assert_int_equal(r, 0);
        open_brick(h);
}

void harness_next_tick(void)
{
        struct timespec from, now;
        clock_gettime(CLOCK_REALTIME, &from);
        do {
                sched_yield();
                clock_gettime(CLOCK_REALTIME_COARSE, &now);
        } while (now.tv_sec < from.tv_sec || (now.tv_sec == from.tv_sec && now.tv_nsec <= from.tv_nsec));
}

/* A directory below BASE that takes the attributes a brick needs. */
static bool make_directory(struct harness *h, const char *base)
{
        snprintf(h->path, sizeof h->path, "%s/mortar-brick-XXXXXX", base);
        if (!mkdtemp(h->path))
                return false;
        if (setxattr(h->path, "trusted.probe", "", 0, 0) == 0 && setxattr(h->path, "user.probe", "", 0, 0) == 0 &&
            removexattr(h->path, "trusted.probe") == 0 && removexattr(h->path, "user.probe") == 0)
                return true;
        rmdir(h->path);
        return false;
}

/* Memory first: a brick is 300 directories, and removing those from a real disk takes longer than the tests. */
void harness_posix(struct harness *h)
{
        *h = (struct harness){0};
        const char *wanted = getenv("MORTAR_TEST_DIR");
        if (wanted)
                assert_true(make_directory(h, wanted));
        else
                assert_true(make_directory(h, "/dev/shm") || make_directory(h, "/var/tmp"));
        assert_int_equal(chmod(h->path, 0755), 0);
        assert_int_equal(disk_posix_new(&h->disk), 0);
        prepare(h);
}

void harness_sim(struct harness *h, uint64_t seed)
{
        *h = (struct harness){.path = "/brick"};
        assert_int_equal(sim_disk_new(seed, 1 * GIB, &h->sim), 0);
        h->disk = sim_disk_ops(h->sim);
        assert_int_equal(disk_mkdir(h->disk, AT_FDCWD, h->path, 0755), 0);
        prepare(h);
}

void harness_reopen(struct harness *h)
{
        brick_close(h->brick);
        open_brick(h);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

void harness_close(struct harness *h)
{
        brick_close(h->brick);
        if (!h->skip_check)
                assert_int_equal(check_brick(h->disk, h->path, h->options.gfid2path ? 0 : CHECK_NO_GFID2PATH), 0);
        if (h->sim) {
                assert_int_equal(sim_disk_open_count(h->sim), 0);
                sim_disk_free(h->sim);
                return;
        }
        nftw(h->path, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        disk_free(h->disk);
}

struct gfid harness_gfid(struct harness *h)
{
        struct gfid g = {.b = {0xab, [6] = 0x40, [8] = 0x80}};
        uint32_t n = ++h->next_gfid;
        g.b[1] = (uint8_t)(n * 37);
        for (int k = 0; k < 4; k++)
                g.b[12 + k] = (uint8_t)(n >> (24 - 8 * k));
        return g;
}

/* ---- clients ------------------------------------------------------------------------------------------------------- */

struct client_record {
        struct client_record *next;
        uint32_t len;
        uint8_t data[];
};

static struct slice record_body(const struct client_record *rec)
{
        assert_true(rec->len >= RECORD_MARK_SIZE);
        uint32_t mark = (uint32_t)rec->data[0] << 24 | (uint32_t)rec->data[1] << 16 | (uint32_t)rec->data[2] << 8 |
                        rec->data[3];
        assert_int_equal(mark, RECORD_LAST | (rec->len - RECORD_MARK_SIZE));
        return (struct slice){rec->data + RECORD_MARK_SIZE, rec->len - RECORD_MARK_SIZE};
}

static void on_send(void *conn, const struct iovec *iov, int n)
{
        struct client *c = conn;
        size_t len = 0;
        for (int k = 0; k < n; k++)
                len += iov[k].iov_len;
        struct client_record *rec = malloc(sizeof *rec + len);
        assert_non_null(rec);
        rec->next = NULL;
        rec->len = 0;
        for (int k = 0; k < n; k++) {
                memcpy(rec->data + rec->len, iov[k].iov_base, iov[k].iov_len);
                rec->len += (uint32_t)iov[k].iov_len;
        }
        pthread_mutex_lock(&c->lock);
        bool reply = rpc_direction(record_body(rec)) == (int)RPC_REPLY;
        struct client_record **at = reply ? &c->records : &c->callbacks;
        while (*at)
                at = &(*at)->next;
        *at = rec;
        pthread_cond_broadcast(&c->arrived);
        pthread_mutex_unlock(&c->lock);
}

static bool on_resume(void *conn, struct parked_call *p)
{
        struct client *c = conn;
        pthread_mutex_lock(&c->lock);
        assert_true(c->n_resumed < CLIENT_RESUMED_MAX);
        c->resumed[c->n_resumed++] = p;
        pthread_cond_broadcast(&c->arrived);
        pthread_mutex_unlock(&c->lock);
        return true;
}

static struct parked_call *take_resumed(struct client *c)
{
        pthread_mutex_lock(&c->lock);
        struct parked_call *p = c->n_resumed > 0 ? c->resumed[0] : NULL;
        if (p)
                memmove(c->resumed, c->resumed + 1, --c->n_resumed * sizeof c->resumed[0]);
        pthread_mutex_unlock(&c->lock);
        return p;
}

void client_run_resumed(struct client *c)
{
        struct parked_call *p;
        while ((p = take_resumed(c)) != NULL) {
                _cleanup_arena_ struct arena arena = ARENA_INIT(ARENA_MAX);
                session_resume(p, &arena);
        }
}

struct client *client_open_subdir(struct harness *h, const char *subdir, bool trusted)
{
        struct client *c = calloc(1, sizeof *c);
        assert_non_null(c);
        c->h = h;
        c->arena = ARENA_INIT(ARENA_MAX);
        c->reply_arena = ARENA_INIT(ARENA_MAX);
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->arrived, NULL);
        c->cred = (struct rpc_cred){.flavour = RPC_AUTH_GLUSTERFS_V3, .pid = 1234, .time = {.sec = 1700000000}};
        const struct session_config config = {.client_uid = "CTX_ID:test-0",
                                              .subdir = subdir,
                                              .trusted = trusted,
                                              .op_version = 100000,
                                              .send = on_send,
                                              .resume = on_resume,
                                              .conn = c};
        assert_int_equal(session_open(h->brick, &config, &c->session), 0);
        return c;
}

struct client *client_open(struct harness *h)
{
        return client_open_subdir(h, NULL, false);
}

static void records_free(struct client_record *r)
{
        while (r) {
                struct client_record *next = r->next;
                free(r);
                r = next;
        }
}

struct client *client_close(struct client *c)
{
        struct parked_call *p;
        while ((p = take_resumed(c)) != NULL)
                session_forget(p);
        session_close(c->session);
        records_free(c->records);
        records_free(c->callbacks);
        arena_done(&c->arena);
        arena_done(&c->reply_arena);
        pthread_cond_destroy(&c->arrived);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

static struct client_record *take_record(struct client *c, uint32_t xid)
{
        for (struct client_record **at = &c->records; *at; at = &(*at)->next) {
                struct rpc_reply reply;
                assert_int_equal(rpc_reply_decode(record_body(*at), &reply), 0);
                if (reply.xid != xid)
                        continue;
                struct client_record *rec = *at;
                *at = rec->next;
                return rec;
        }
        return NULL;
}

/* Results are decoded from a copy in the client's reply arena. */
static int decode_reply(struct client *c, const struct client_record *rec, const struct msg_desc *desc, void *rep)
{
        struct rpc_reply reply;
        uint8_t *copy = arena_alloc(&c->reply_arena, rec->len);
        assert_non_null(copy);
        memcpy(copy, record_body(rec).data, rec->len - RECORD_MARK_SIZE);
        assert_int_equal(rpc_reply_decode((struct slice){copy, rec->len - RECORD_MARK_SIZE}, &reply), 0);
        if (reply.status != RPC_SUCCESS)
                return CLIENT_REJECTED(reply.status);
        if (!rep)
                return 0;
        struct xdr_reader r = xdr_reader_of(reply.results.data, reply.results.len);
        assert_int_equal(msg_decode(desc, &r, &c->reply_arena, rep), 0);
        assert_int_equal(xdr_left(&r), 0);
        const int32_t *head = rep; /* op_ret and op_errno are first in every answer */
        return head[0] < 0 ? -head[1] : 0;
}

static int call_program(struct client *c, uint32_t prog, uint32_t vers, uint32_t proc, struct slice args,
                        const struct msg_desc *desc, void *rep)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(ARENA_MAX);
        struct rpc_call call = {.xid = ++c->next_xid,
                                .prog = prog,
                                .vers = vers,
                                .proc = proc,
                                .cred = c->cred,
                                .args = args};
        c->cred.time.sec++;
        session_serve(c->session, &call, &arena);
        pthread_mutex_lock(&c->lock);
        struct client_record *rec = take_record(c, call.xid);
        pthread_mutex_unlock(&c->lock);
        if (!rec)
                return CLIENT_PARKED;
        int r = decode_reply(c, rec, desc, rep);
        free(rec);
        return r;
}

int client_call_raw(struct client *c, uint32_t proc, struct slice args, void *rep)
{
        const struct fop_desc *d = fop_by_number(proc);
        return call_program(c, FOP_PROGRAM, FOP_VERSION, proc, args, d ? d->rep : NULL, rep);
}

int client_call(struct client *c, enum fop fop, const void *req, void *rep)
{
        const struct fop_desc *desc = fop_by_number(fop);
        _cleanup_buf_ struct buf b = BUF_INIT(RECORD_LIMIT);
        memset(rep, 0, desc->rep->size);
        msg_encode(desc->req, req, &b);
        assert_int_equal(b.error, 0);
        int r = client_call_raw(c, fop, (struct slice){b.data, (uint32_t)b.len}, rep);
        arena_reset(&c->arena);
        return r;
}

uint32_t client_take_callback(struct client *c, const struct msg_desc *desc, void *msg)
{
        struct rpc_call call;
        enum rpc_status status;
        pthread_mutex_lock(&c->lock);
        struct client_record *rec = c->callbacks;
        if (rec)
                c->callbacks = rec->next;
        pthread_mutex_unlock(&c->lock);
        if (!rec)
                return 0;
        uint8_t *copy = arena_alloc(&c->reply_arena, rec->len);
        assert_non_null(copy);
        struct slice body = record_body(rec);
        memcpy(copy, body.data, body.len);
        assert_int_equal(rpc_call_decode((struct slice){copy, body.len}, &call, &status), 0);
        free(rec);
        struct xdr_reader r = xdr_reader_of(call.args.data, call.args.len);
        assert_int_equal(msg_decode(desc, &r, &c->reply_arena, msg), 0);
        assert_int_equal(xdr_left(&r), 0);
        return call.proc;
}

uint32_t client_last_xid(const struct client *c)
{
        return c->next_xid;
}

static int wait_answer(struct client *c, uint32_t xid, const struct msg_desc *desc, void *rep)
{
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 5;
        struct client_record *rec;
        int r = 0;
        pthread_mutex_lock(&c->lock);
        while (!(rec = take_record(c, xid)) && r == 0) {
                if (c->n_resumed == 0) {
                        r = pthread_cond_timedwait(&c->arrived, &c->lock, &until);
                        continue;
                }
                pthread_mutex_unlock(&c->lock);
                client_run_resumed(c);
                pthread_mutex_lock(&c->lock);
        }
        pthread_mutex_unlock(&c->lock);
        if (!rec)
                return CLIENT_PARKED;
        memset(rep, 0, desc->size);
        r = decode_reply(c, rec, desc, rep);
        free(rec);
        return r;
}

int client_wait(struct client *c, uint32_t xid, enum fop fop, void *rep)
{
        return wait_answer(c, xid, fop_by_number(fop)->rep, rep);
}

/* ---- chains -------------------------------------------------------------------------------------------------------- */

static void encode_steps(const struct chain_call *calls, unsigned n, struct buf *b)
{
        for (unsigned i = 0; i < n; i++) {
                _cleanup_buf_ struct buf cred = BUF_INIT(CHAIN_CRED_MAX);
                if (calls[i].cred)
                        rpc_cred_encode(&cred, calls[i].cred);
                xdr_write_u32(b, calls[i].fop);
                xdr_write_opaque(b, cred.data, (uint32_t)cred.len);
                chain_append(b, fop_by_number(calls[i].fop)->req, calls[i].req);
        }
        assert_int_equal(b->error, 0);
}

static int chain_answers(struct client *c, const struct chain_rep *rep, struct chain_call *calls, unsigned n)
{
        struct xdr_reader in = xdr_reader_of(rep->answers.data, rep->answers.len);
        assert_true(rep->count <= n);
        for (unsigned i = 0; i < rep->count; i++) {
                struct chain_answer_part part;
                assert_int_equal(msg_decode(&chain_answer_part_desc, &in, &c->reply_arena, &part), 0);
                assert_int_equal(part.fop, calls[i].fop);
                struct xdr_reader r = xdr_reader_of(part.reply.data, part.reply.len);
                assert_int_equal(msg_decode(fop_by_number(part.fop)->rep, &r, &c->reply_arena, calls[i].rep), 0);
                assert_int_equal(xdr_left(&r), 0);
                const int32_t *head = calls[i].rep;
                calls[i].result = head[0] < 0 ? -head[1] : 0;
        }
        assert_int_equal(xdr_left(&in), 0);
        return (int)rep->count;
}

int client_watch_index(struct client *c, struct chain_index_rep *rep)
{
        return call_program(c, CHAIN_PROGRAM, CHAIN_VERSION, CHAIN_WATCH_INDEX, (struct slice){0}, &chain_index_rep_desc,
                            rep);
}

int client_watch_objects(struct client *c, struct chain_objects_rep *rep)
{
        return call_program(c, CHAIN_PROGRAM, CHAIN_VERSION, CHAIN_WATCH_OBJECTS, (struct slice){0}, &chain_objects_rep_desc,
                            rep);
}

int client_chain_raw(struct client *c, uint32_t proc, struct slice args)
{
        return call_program(c, CHAIN_PROGRAM, CHAIN_VERSION, proc, args, NULL, NULL);
}

int client_chain(struct client *c, struct chain_call *calls, unsigned n)
{
        _cleanup_buf_ struct buf steps = BUF_INIT(RECORD_LIMIT), b = BUF_INIT(RECORD_LIMIT);
        struct chain_rep rep = {0};
        encode_steps(calls, n, &steps);
        const struct chain_req req = {.count = n, .steps = {steps.data, (uint32_t)steps.len}};
        msg_encode(&chain_req_desc, &req, &b);
        int r = call_program(c, CHAIN_PROGRAM, CHAIN_VERSION, CHAIN_PERFORM, (struct slice){b.data, (uint32_t)b.len},
                             &chain_rep_desc, &rep);
        return r != 0 ? r : chain_answers(c, &rep, calls, n);
}

int client_chain_wait(struct client *c, uint32_t xid, struct chain_call *calls, unsigned n)
{
        struct chain_rep rep;
        int r = wait_answer(c, xid, &chain_rep_desc, &rep);
        return r != 0 ? r : chain_answers(c, &rep, calls, n);
}

bool client_take_answer(struct client *c, uint32_t *ret_xid, int *ret_error)
{
        pthread_mutex_lock(&c->lock);
        struct client_record *rec = c->records;
        if (rec)
                c->records = rec->next;
        pthread_mutex_unlock(&c->lock);
        if (!rec)
                return false;
        struct rpc_reply reply;
        assert_int_equal(rpc_reply_decode(record_body(rec), &reply), 0);
        assert_int_equal(reply.status, RPC_SUCCESS);
        struct xdr_reader r = xdr_reader_of(reply.results.data, reply.results.len);
        int32_t op_ret = (int32_t)xdr_read_u32(&r), op_errno = (int32_t)xdr_read_u32(&r);
        *ret_xid = reply.xid;
        *ret_error = op_ret < 0 ? -op_errno : 0;
        free(rec);
        return true;
}

unsigned client_take_callbacks(struct client *c, uint32_t proc)
{
        unsigned n = 0;
        pthread_mutex_lock(&c->lock);
        for (struct client_record **at = &c->callbacks; *at;) {
                struct client_record *rec = *at;
                struct xdr_reader r = xdr_reader_of(record_body(rec).data, rec->len - RECORD_MARK_SIZE);
                for (int k = 0; k < 5; k++) /* number, direction, version, program, version */
                        (void)xdr_read_u32(&r);
                if (xdr_read_u32(&r) != proc) {
                        at = &rec->next;
                        continue;
                }
                *at = rec->next;
                free(rec);
                n++;
        }
        pthread_mutex_unlock(&c->lock);
        return n;
}

struct dict client_dict(struct client *c, const char *key, uint64_t value)
{
        struct dict d = {0};
        if (key)
                assert_int_equal(dict_add_uint(&d, &c->arena, key, value), 0);
        return d;
}

struct dict client_gfid_req(struct client *c, const struct gfid *g)
{
        struct dict d = {0};
        assert_int_equal(dict_add_gfid(&d, &c->arena, "gfid-req", g), 0);
        return d;
}

/* ---- short forms ---------------------------------------------------------------------------------------------------- */

int try_mkdir(struct client *c, const struct gfid *parent, const char *name, const struct gfid *gfid)
{
        struct mkdir_fop_rep rep;
        const struct mkdir_fop_req req = {
                .pargfid = *parent, .mode = 0755, .bname = str_of(name), .xdata = client_gfid_req(c, gfid)};
        return CALL(c, MKDIR, &req, &rep);
}

int try_mknod(struct client *c, const struct gfid *parent, const char *name, const struct gfid *gfid)
{
        struct mknod_fop_rep rep;
        const struct mknod_fop_req req = {
                .pargfid = *parent, .mode = S_IFREG | 0644, .bname = str_of(name), .xdata = client_gfid_req(c, gfid)};
        return CALL(c, MKNOD, &req, &rep);
}

struct gfid make_dir(struct client *c, const struct gfid *parent, const char *name)
{
        struct gfid g = harness_gfid(c->h);
        assert_int_equal(try_mkdir(c, parent, name, &g), 0);
        return g;
}

struct gfid make_file(struct client *c, const struct gfid *parent, const char *name)
{
        struct gfid g = harness_gfid(c->h);
        assert_int_equal(try_mknod(c, parent, name, &g), 0);
        return g;
}

int try_link(struct client *c, const struct gfid *object, const struct gfid *parent, const char *name)
{
        struct link_fop_rep rep;
        const struct link_fop_req req = {.oldgfid = *object, .newgfid = *parent, .newbname = str_of(name)};
        return CALL(c, LINK, &req, &rep);
}

int try_unlink(struct client *c, const struct gfid *parent, const char *name)
{
        struct unlink_fop_rep rep;
        const struct unlink_fop_req req = {.pargfid = *parent, .bname = str_of(name)};
        return CALL(c, UNLINK, &req, &rep);
}

int try_rmdir(struct client *c, const struct gfid *parent, const char *name)
{
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = *parent, .bname = str_of(name)};
        return CALL(c, RMDIR, &req, &rep);
}

int try_rename(struct client *c, const struct gfid *from, const char *a, const struct gfid *to, const char *b)
{
        struct rename_fop_rep rep;
        const struct rename_fop_req req = {
                .oldgfid = *from, .newgfid = *to, .oldbname = str_of(a), .newbname = str_of(b)};
        return CALL(c, RENAME, &req, &rep);
}

int try_lookup(struct client *c, const struct gfid *parent, const char *name, struct iatt *ret)
{
        struct lookup_fop_rep rep;
        const struct lookup_fop_req req = {.pargfid = *parent, .bname = str_of(name)};
        int r = CALL(c, LOOKUP, &req, &rep);
        if (r == 0 && ret)
                *ret = rep.prestat;
        return r;
}

int try_stat(struct client *c, const struct gfid *gfid, struct iatt *ret)
{
        struct stat_fop_rep rep;
        const struct stat_fop_req req = {.gfid = *gfid};
        int r = CALL(c, STAT, &req, &rep);
        if (r == 0 && ret)
                *ret = rep.stat;
        return r;
}

int try_open(struct client *c, const struct gfid *gfid, uint32_t flags, int64_t *ret_fd)
{
        struct open_fop_rep rep;
        const struct open_fop_req req = {.gfid = *gfid, .flags = flags};
        int r = CALL(c, OPEN, &req, &rep);
        if (r == 0)
                *ret_fd = rep.fd;
        return r;
}

void release(struct client *c, int64_t fd)
{
        struct release_fop_rep rep;
        const struct release_fop_req req = {.fd = fd};
        assert_int_equal(CALL(c, RELEASE, &req, &rep), 0);
}

int try_create(struct client *c, const struct gfid *parent, const char *name, uint32_t flags, const struct gfid *gfid,
               int64_t *ret_fd)
{
        struct create_fop_rep rep;
        const struct create_fop_req req = {.pargfid = *parent,
                                           .flags = flags,
                                           .mode = S_IFREG | 0644,
                                           .bname = str_of(name),
                                           .xdata = client_gfid_req(c, gfid)};
        int r = CALL(c, CREATE, &req, &rep);
        if (r == 0)
                *ret_fd = (int64_t)rep.fd;
        return r;
}

/* ---- the disk itself -------------------------------------------------------------------------------------------------- */

const char *on_disk(const struct harness *h, const char *format, ...)
{
        static char ring[4][PATH_LIMIT + 1];
        static unsigned next;
        char *buf = ring[next++ % 4];
        int n = snprintf(buf, PATH_LIMIT, "%s/", h->path);
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(buf + n, PATH_LIMIT - (size_t)n, format, ap);
        va_end(ap);
        return buf;
}

const char *handle_on_disk(const struct harness *h, const struct gfid *g)
{
        char text[GFID_TEXT_LEN + 1];
        gfid_format(g, text);
        return on_disk(h, ".glusterfs/%.2s/%.2s/%s", text, text + 2, text);
}

bool exists_on_disk(const struct harness *h, const char *path)
{
        struct stat st;
        return disk_stat(h->disk, AT_FDCWD, path, &st) == 0;
}
