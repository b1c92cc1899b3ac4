/* Chains of operations at a brick (docs/formats/chain.md): order, the first failure, waiting in the middle, callers,
 * and what hostile clients send. */
#include "lock_calls.h"

#include <fcntl.h>

static const struct gfid root = GFID_ROOT;
#define DOMAIN "vol-replicate-0"

static int setup(void **state)
{
        struct harness *h = malloc(sizeof *h);
        harness_sim(h, 1);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        harness_close(*state);
        free(*state);
        return 0;
}

/* ---- steps ----------------------------------------------------------------------------------------------------------
 */

static struct inodelk_fop_req lock_req(const struct gfid *g, int cmd, uint32_t type)
{
        return (struct inodelk_fop_req){
                .gfid = *g, .cmd = (uint32_t)cmd, .type = type, .volume = STR(DOMAIN), .xdata = DICT_NULL};
}

/* Adds one to the data counter. */
static struct xattrop_fop_req mark_req(struct client *c, const struct gfid *g)
{
        static const uint8_t one[12] = {[3] = 1};
        struct xattrop_fop_req req = {.gfid = *g, .xdata = DICT_NULL};
        assert_int_equal(dict_add_ptr(&req.dict, &c->reply_arena, "trusted.afr.vol-client-0", one, sizeof one), 0);
        return req;
}

static int counter(struct harness *h, const char *name)
{
        uint8_t value[12];
        ssize_t n = disk_getxattr(h->disk, AT_FDCWD, on_disk(h, "%s", name), "trusted.afr.vol-client-0", value,
                                  sizeof value);
        return n == (ssize_t)sizeof value ? value[3] : 0;
}

static uint32_t held(struct harness *h)
{
        struct brick_stats s;
        brick_get_stats(h->brick, &s);
        return s.locks;
}

/* ---- going well -----------------------------------------------------------------------------------------------------
 */

static void lock_and_mark_mark_and_unlock(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_file(c, &root, "a");
        struct inodelk_fop_req take = lock_req(&g, LK_WAIT, LK_WRITE), give = lock_req(&g, LK_TRY, LK_UNLOCK);
        struct xattrop_fop_req mark = mark_req(c, &g);
        struct inodelk_fop_rep locked;
        struct xattrop_fop_rep marked;
        as_owner(c, "me");
        struct chain_call begin[] = {{FOP_INODELK, &take, .rep = &locked}, {FOP_XATTROP, &mark, .rep = &marked}};
        assert_int_equal(client_chain(c, begin, 2), 2);
        assert_int_equal(begin[0].result, 0);
        assert_int_equal(begin[1].result, 0);
        assert_int_equal(counter(h, "a"), 1);
        assert_int_equal(held(h), 1);
        mark = mark_req(c, &g);
        struct chain_call end[] = {{FOP_XATTROP, &mark, .rep = &marked}, {FOP_INODELK, &give, .rep = &locked}};
        assert_int_equal(client_chain(c, end, 2), 2);
        assert_int_equal(end[1].result, 0);
        assert_int_equal(counter(h, "a"), 2);
        assert_int_equal(held(h), 0);
        client_close(c);
}

static void each_step_is_counted_as_its_operation(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_file(c, &root, "a");
        struct brick_stats before, after;
        struct lookup_fop_req look = {.gfid = g, .xdata = DICT_NULL};
        struct open_fop_req open = {.gfid = harness_gfid(h), .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        struct open_fop_rep opened;
        struct chain_call calls[] = {{FOP_LOOKUP, &look, .rep = &found}, {FOP_OPEN, &open, .rep = &opened}};
        brick_get_stats(h->brick, &before);
        assert_int_equal(client_chain(c, calls, 2), 2);
        brick_get_stats(h->brick, &after);
        assert_int_equal(after.by_fop[FOP_LOOKUP] - before.by_fop[FOP_LOOKUP], 1);
        assert_int_equal(after.by_fop[FOP_OPEN] - before.by_fop[FOP_OPEN], 1);
        assert_int_equal(after.errors_by_fop[FOP_OPEN] - before.errors_by_fop[FOP_OPEN], 1);
        assert_int_equal(after.in_flight, 0);
        client_close(c);
}

static void a_name_is_looked_up_opened_and_read(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        int64_t fd;
        struct gfid g = harness_gfid(h);
        assert_int_equal(try_create(c, &root, "a", O_RDWR, &g, &fd), 0);
        struct write_fop_rep written;
        const struct write_fop_req write = {
                .gfid = g, .fd = fd, .size = 5, .xdata = DICT_NULL, .data = {(const uint8_t *)"hello", 5}};
        assert_int_equal(CALL(c, WRITE, &write, &written), 0);
        release(c, fd);
        struct lookup_fop_req look = {.pargfid = root, .bname = STR("a"), .xdata = DICT_NULL};
        struct open_fop_req open = {.xdata = DICT_NULL};
        struct read_fop_req read = {.fd = CHAIN_FD_OPENED, .size = 100, .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        struct open_fop_rep opened;
        struct read_fop_rep got;
        struct chain_call calls[] = {
                {FOP_LOOKUP, &look, .rep = &found}, {FOP_OPEN, &open, .rep = &opened}, {FOP_READ, &read, .rep = &got}};
        assert_int_equal(client_chain(c, calls, 3), 3);
        assert_true(gfid_equal(&found.prestat.gfid, &g));
        assert_int_equal(got.op_ret, 5);
        assert_int_equal(got.data.len, 5);
        assert_memory_equal(got.data.data, "hello", 5);
        release(c, opened.fd);
        struct brick_stats s;
        brick_get_stats(h->brick, &s);
        assert_int_equal(s.fds, 0);
        client_close(c);
}

static void a_new_file_is_locked_and_marked(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct create_fop_req create = {.pargfid = root,
                                        .flags = O_RDWR | O_EXCL,
                                        .mode = 0644,
                                        .bname = STR("new"),
                                        .xdata = client_gfid_req(c, &g)};
        struct finodelk_fop_req lock = {.gfid = g,
                                        .fd = CHAIN_FD_OPENED,
                                        .cmd = LK_WAIT,
                                        .type = LK_WRITE,
                                        .volume = STR(DOMAIN),
                                        .xdata = DICT_NULL};
        struct xattrop_fop_req mark = mark_req(c, &g);
        struct create_fop_rep created;
        struct finodelk_fop_rep locked;
        struct xattrop_fop_rep marked;
        as_owner(c, "me");
        struct chain_call calls[] = {{FOP_CREATE, &create, .rep = &created},
                                     {FOP_FINODELK, &lock, .rep = &locked},
                                     {FOP_XATTROP, &mark, .rep = &marked}};
        assert_int_equal(client_chain(c, calls, 3), 3);
        assert_int_equal(calls[2].result, 0);
        assert_int_equal(counter(h, "new"), 1);
        assert_int_equal(held(h), 1);
        /* it is there already: nothing else happens */
        assert_int_equal(client_chain(c, calls, 3), 1);
        assert_int_equal(calls[0].result, -EEXIST);
        assert_int_equal(counter(h, "new"), 1);
        client_close(c);
}

static void steps_have_callers_of_their_own(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_file(c, &root, "a"); /* 0644 of root */
        struct rpc_cred somebody = c->cred;
        somebody.uid = somebody.gid = 1000;
        struct lookup_fop_req look = {.gfid = g, .xdata = DICT_NULL};
        struct open_fop_req open = {.gfid = g, .flags = O_RDWR, .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        struct open_fop_rep opened;
        struct chain_call calls[] = {{FOP_LOOKUP, &look, .rep = &found}, {FOP_OPEN, &open, &somebody, &opened}};
        assert_int_equal(client_chain(c, calls, 2), 2);
        assert_int_equal(calls[1].result, -EACCES);
        calls[1].cred = NULL;
        assert_int_equal(client_chain(c, calls, 2), 2);
        assert_int_equal(calls[1].result, 0);
        release(c, opened.fd);
        client_close(c);
}

/* ---- failing, waiting -----------------------------------------------------------------------------------------------
 */

static void the_first_failure_ends_it(void **state)
{
        struct harness *h = *state;
        struct client *a = client_open(h), *b = client_open(h);
        struct gfid g = make_file(a, &root, "a");
        struct inodelk_fop_req take = lock_req(&g, LK_TRY, LK_WRITE);
        struct xattrop_fop_req mark = mark_req(b, &g);
        struct inodelk_fop_rep locked;
        struct xattrop_fop_rep marked;
        as_owner(a, "a");
        as_owner(b, "b");
        assert_int_equal(inodelk(a, &g, LK_TRY, LK_WRITE, 0, 0, DOMAIN), 0);
        struct chain_call calls[] = {{FOP_INODELK, &take, .rep = &locked}, {FOP_XATTROP, &mark, .rep = &marked}};
        assert_int_equal(client_chain(b, calls, 2), 1);
        assert_int_equal(calls[0].result, -EAGAIN);
        assert_int_equal(counter(h, "a"), 0);
        client_close(a);
        client_close(b);
}

struct waiting {
        struct harness *h;
        struct client *holder, *waiter;
        struct gfid g;
        struct inodelk_fop_req first, take;
        struct xattrop_fop_req mark;
        struct inodelk_fop_rep locks[2];
        struct xattrop_fop_rep marked;
        struct chain_call calls[3];
};

/* HOLDER has the second of the locks that WAITER's chain asks for. */
static void begin_waiting(struct waiting *w, struct harness *h)
{
        *w = (struct waiting){.h = h, .holder = client_open(h), .waiter = client_open(h)};
        struct gfid other = make_file(w->holder, &root, "other");
        w->g = make_file(w->holder, &root, "a");
        w->first = lock_req(&other, LK_WAIT, LK_WRITE);
        w->take = lock_req(&w->g, LK_WAIT, LK_WRITE);
        w->mark = mark_req(w->waiter, &w->g);
        as_owner(w->holder, "a");
        as_owner(w->waiter, "b");
        assert_int_equal(inodelk(w->holder, &w->g, LK_TRY, LK_WRITE, 0, 0, DOMAIN), 0);
        const struct chain_call calls[] = {{FOP_INODELK, &w->first, .rep = &w->locks[0]},
                                           {FOP_INODELK, &w->take, .rep = &w->locks[1]},
                                           {FOP_XATTROP, &w->mark, .rep = &w->marked}};
        memcpy(w->calls, calls, sizeof calls);
        assert_int_equal(client_chain(w->waiter, w->calls, 3), CLIENT_PARKED);
        assert_int_equal(counter(h, "a"), 0);
}

static void a_lock_in_the_middle_is_waited_for(void **state)
{
        struct waiting w;
        begin_waiting(&w, *state);
        assert_int_equal(inodelk(w.holder, &w.g, LK_TRY, LK_UNLOCK, 0, 0, DOMAIN), 0);
        assert_int_equal(counter(w.h, "a"), 0); /* not on the thread that unlocks */
        assert_int_equal(client_chain_wait(w.waiter, client_last_xid(w.waiter), w.calls, 3), 3);
        for (int i = 0; i < 3; i++)
                assert_int_equal(w.calls[i].result, 0);
        assert_int_equal(counter(w.h, "a"), 1);
        assert_int_equal(held(w.h), 2);
        client_close(w.holder);
        client_close(w.waiter);
}

static void a_lock_that_is_not_granted_ends_it(void **state)
{
        struct waiting w;
        begin_waiting(&w, *state);
        w.h->skip_check = true;
        brick_refuse_new_locks(w.h->brick);
        assert_int_equal(client_chain_wait(w.waiter, client_last_xid(w.waiter), w.calls, 3), 2);
        assert_int_equal(w.calls[0].result, 0);
        assert_int_equal(w.calls[1].result, -ENOTCONN);
        assert_int_equal(counter(w.h, "a"), 0);
        client_close(w.holder);
        client_close(w.waiter);
}

static void the_end_of_the_connection_cancels_it(void **state)
{
        struct waiting w;
        begin_waiting(&w, *state);
        client_close(w.waiter);
        assert_int_equal(held(w.h), 1);
        assert_int_equal(inodelk(w.holder, &w.g, LK_TRY, LK_UNLOCK, 0, 0, DOMAIN), 0);
        assert_int_equal(counter(w.h, "a"), 0);
        client_close(w.holder);
}

/* The lock is granted, and the client goes before the rest is performed. */
static void granted_and_gone(void **state)
{
        struct waiting w;
        begin_waiting(&w, *state);
        assert_int_equal(inodelk(w.holder, &w.g, LK_TRY, LK_UNLOCK, 0, 0, DOMAIN), 0);
        client_close(w.waiter);
        assert_int_equal(held(w.h), 0);
        assert_int_equal(counter(w.h, "a"), 0);
        client_close(w.holder);
}

/* What waits is bounded in bytes. */
static void chains_that_wait_are_bounded(void **state)
{
        struct harness *h = *state;
        struct client *a = client_open(h), *b = client_open(h);
        struct gfid g = make_file(a, &root, "a");
        struct inodelk_fop_req take = lock_req(&g, LK_WAIT, LK_WRITE);
        struct xattrop_fop_req mark = {.gfid = g, .xdata = DICT_NULL};
        struct inodelk_fop_rep locked;
        struct xattrop_fop_rep marked;
        uint8_t *large = calloc(1, 200 * KIB);
        assert_int_equal(dict_add_ptr(&mark.dict, &a->reply_arena, "trusted.afr.vol-client-0", large, 200 * KIB), 0);
        as_owner(a, "a");
        as_owner(b, "b");
        assert_int_equal(inodelk(a, &g, LK_TRY, LK_WRITE, 0, 0, DOMAIN), 0);
        struct chain_call calls[] = {{FOP_INODELK, &take, .rep = &locked}, {FOP_XATTROP, &mark, .rep = &marked}};
        int waiting = 0, r;
        while ((r = client_chain(b, calls, 2)) == CLIENT_PARKED)
                waiting++;
        assert_int_equal(r, 1);
        assert_int_equal(calls[0].result, -ENOMEM);
        assert_in_range(waiting, 30, 41); /* 8 MiB */
        client_close(b);
        b = client_open(h); /* and are counted no more */
        as_owner(b, "b");
        assert_int_equal(client_chain(b, calls, 2), CLIENT_PARKED);
        free(large);
        client_close(b);
        client_close(a);
}

/* ---- what is not allowed --------------------------------------------------------------------------------------------
 */

static void other_sequences_are_refused_as_a_whole(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_file(c, &root, "a");
        struct entrylk_fop_req lock = {
                .gfid = root, .type = 1, .namelen = 1, .name = STR("a"), .volume = STR(DOMAIN), .xdata = DICT_NULL};
        struct unlink_fop_req unlink = {.pargfid = root, .bname = STR("a"), .xdata = DICT_NULL};
        struct write_fop_req write = {
                .gfid = g, .fd = FD_ANONYMOUS, .size = 1, .xdata = DICT_NULL, .data = {(const uint8_t *)"x", 1}};
        struct inodelk_fop_req take = lock_req(&g, LK_TRY, LK_WRITE);
        uint8_t rep[MSG_SIZE_MAX];
        as_owner(c, "me");
        struct chain_call remove[] = {{FOP_ENTRYLK, &lock, .rep = rep}, {FOP_UNLINK, &unlink, .rep = rep}};
        assert_int_equal(client_chain(c, remove, 2), -EINVAL);
        struct chain_call change[] = {{FOP_INODELK, &take, .rep = rep}, {FOP_WRITE, &write, .rep = rep}};
        assert_int_equal(client_chain(c, change, 2), -EINVAL);
        assert_int_equal(held(h), 0);
        assert_true(exists_on_disk(h, on_disk(h, "a")));
        assert_int_equal(client_chain(c, change, 0), -EINVAL);
        client_close(c);
}

/* A chain cut at every length is refused, and nothing of it happens. */
static void cut_short(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = make_file(c, &root, "a");
        struct inodelk_fop_req take = lock_req(&g, LK_TRY, LK_WRITE);
        struct buf steps = BUF_INIT(64 * KIB), b = BUF_INIT(64 * KIB);
        for (int i = 0; i < 2; i++) {
                xdr_write_u32(&steps, FOP_INODELK);
                xdr_write_opaque(&steps, NULL, 0);
                chain_append(&steps, &inodelk_fop_req_desc, &take);
        }
        for (uint32_t len = 0; len < steps.len; len++) {
                const struct chain_req req = {.count = 2, .steps = {steps.data, len}};
                b.len = 0;
                msg_encode(&chain_req_desc, &req, &b);
                for (uint32_t cut = 0; cut < 3; cut++)
                        assert_int_equal(
                                client_chain_raw(c, CHAIN_PERFORM, (struct slice){b.data, (uint32_t)b.len - cut * 2}),
                                CLIENT_REJECTED(RPC_GARBAGE_ARGS));
        }
        assert_int_equal(held(h), 0);
        assert_int_equal(client_chain_raw(c, 77, (struct slice){b.data, (uint32_t)b.len}),
                         CLIENT_REJECTED(RPC_PROC_UNAVAIL));
        buf_done(&steps);
        buf_done(&b);
        client_close(c);
}

/* Counts, lengths, operations and callers that cannot be. */
static void hostile_parts(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        static const struct {
                uint32_t count, fop;
                const char *cred;
                uint32_t cred_len;
                int expected;
        } rows[] = {
                {1, 0, "", 0, 0},
                {1, 57, "", 0, 0},
                {1, UINT32_MAX, "", 0, 0}, /* refused: an answer */
                {1, FOP_PUT, "", 0, 0},
                {0, FOP_LOOKUP, "", 0, 0},
                {9, FOP_LOOKUP, "", 0, 0},
                {1, FOP_LOOKUP, "\0\5\xf3\x98", 4, CLIENT_REJECTED(RPC_GARBAGE_ARGS)},
                {1, FOP_LOOKUP, "\0\0\0\0\0\0\0\0", 8, CLIENT_REJECTED(RPC_GARBAGE_ARGS)},
                {1, FOP_LOOKUP, "x", 1, CLIENT_REJECTED(RPC_GARBAGE_ARGS)},
                {2, FOP_LOOKUP, "", 0, CLIENT_REJECTED(RPC_GARBAGE_ARGS)},
        };
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const struct lookup_fop_req look = {.gfid = root, .xdata = DICT_NULL};
                struct buf steps = BUF_INIT(64 * KIB), b = BUF_INIT(64 * KIB);
                xdr_write_u32(&steps, rows[i].fop);
                xdr_write_opaque(&steps, rows[i].cred, rows[i].cred_len);
                chain_append(&steps, &lookup_fop_req_desc, &look);
                const struct chain_req req = {.count = rows[i].count, .steps = {steps.data, (uint32_t)steps.len}};
                msg_encode(&chain_req_desc, &req, &b);
                assert_int_equal(client_chain_raw(c, CHAIN_PERFORM, (struct slice){b.data, (uint32_t)b.len}),
                                 rows[i].expected);
                buf_done(&steps);
                buf_done(&b);
        }
        client_close(c);
}

/* ---- the index of pending work
 * --------------------------------------------------------------------------------------- */

/* 0: nothing pending, 1: something is. */
static int watch(struct client *c)
{
        struct chain_index_rep rep;
        assert_int_equal(client_watch_index(c, &rep), 0);
        return (int)rep.pending;
}

/* What C was told since the last call: -1 nothing. */
static int told(struct client *c)
{
        struct chain_index_cbk message;
        int last = -1;
        while (client_take_callback(c, &chain_index_cbk_desc, &message) == CHAIN_INDEX_CHANGED)
                last = (int)message.pending;
        return last;
}

static void count_pending(struct client *c, const struct gfid *g, int by)
{
        uint8_t value[12] = {0};
        struct xattrop_fop_req req = {.gfid = *g, .xdata = DICT_NULL};
        struct xattrop_fop_rep rep;
        memset(value, by < 0 ? 0xff : 0, 4);
        value[3] = (uint8_t)by;
        assert_int_equal(dict_add_ptr(&req.dict, &c->arena, "trusted.afr.vol-client-0", value, sizeof value), 0);
        assert_int_equal(CALL(c, XATTROP, &req, &rep), 0);
}

static void look_whether_pending(struct client *c)
{
        struct lookup_fop_req req = {.gfid = root, .xdata = DICT_NULL};
        struct lookup_fop_rep rep;
        req.xdata = (struct dict){0};
        assert_int_equal(dict_add_str(&req.xdata, &c->arena, "link-count", "glusterfs.xattrop_index_count"), 0);
        assert_int_equal(CALL(c, LOOKUP, &req, &rep), 0);
}

static void who_watches_the_index_is_told(void **state)
{
        struct harness *h = *state;
        assert_int_equal(brick_options_set(&h->options, "xattrop-pending-watchlist", "trusted.afr.vol-", NULL), 0);
        harness_reopen(h);
        struct client *a = client_open(h), *b = client_open(h), *other = client_open(h);
        struct gfid f = make_file(a, &root, "f"), g = make_file(a, &root, "g");
        assert_int_equal(watch(a), 0);
        count_pending(other, &f, 1);
        assert_int_equal(told(a), 1);
        assert_int_equal(told(other), -1);
        assert_int_equal(watch(b), 1);
        count_pending(other, &g, 1);
        count_pending(other, &f, -1);
        look_whether_pending(other);
        assert_int_equal(told(a), -1); /* there is still one */
        count_pending(other, &g, -1);
        look_whether_pending(other);
        assert_int_equal(told(a), 0);
        assert_int_equal(told(b), 0);
        client_close(b);
        count_pending(other, &g, 1);
        assert_int_equal(told(a), 1);
        assert_int_equal(watch(a), 1); /* once more: as before */
        count_pending(other, &g, -1);
        look_whether_pending(other);
        assert_int_equal(told(a), 0);
        client_close(a);
        client_close(other);
}

/* A client of a sub-directory stays in it. */
static void a_subdirectory_is_not_left(void **state)
{
        struct harness *h = *state;
        struct client *all = client_open(h);
        struct gfid dir = make_dir(all, &root, "dir"), outside = make_file(all, &root, "outside");
        struct gfid inside = make_file(all, &dir, "inside");
        struct client *c = client_open_subdir(h, "/dir", false);
        struct lookup_fop_req look = {.pargfid = root, .bname = STR("inside"), .xdata = DICT_NULL};
        struct open_fop_req open = {.gfid = outside, .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        struct open_fop_rep opened;
        struct chain_call calls[] = {{FOP_LOOKUP, &look, .rep = &found}, {FOP_OPEN, &open, .rep = &opened}};
        assert_int_equal(client_chain(c, calls, 2), 2);
        assert_true(gfid_equal(&found.prestat.gfid, &inside));
        assert_true(calls[1].result < 0);
        open.gfid = (struct gfid){0};
        assert_int_equal(client_chain(c, calls, 2), 2);
        assert_int_equal(calls[1].result, 0);
        client_close(c);
        client_close(all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(lock_and_mark_mark_and_unlock),
                TEST(each_step_is_counted_as_its_operation),
                TEST(a_name_is_looked_up_opened_and_read),
                TEST(a_new_file_is_locked_and_marked),
                TEST(steps_have_callers_of_their_own),
                TEST(the_first_failure_ends_it),
                TEST(a_lock_in_the_middle_is_waited_for),
                TEST(a_lock_that_is_not_granted_ends_it),
                TEST(the_end_of_the_connection_cancels_it),
                TEST(granted_and_gone),
                TEST(chains_that_wait_are_bounded),
                TEST(other_sequences_are_refused_as_a_whole),
                TEST(cut_short),
                TEST(hostile_parts),
                TEST(a_subdirectory_is_not_left),
                TEST(who_watches_the_index_is_told),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
