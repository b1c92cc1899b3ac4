/* What the dispatcher answers to good and bad calls, and who the caller is (spec: wire.md §6, brick.md §15.4, §23). */
#include "harness.h"

#include <pthread.h>

static const struct gfid root = GFID_ROOT;

static int setup(void **state)
{
        struct harness *h = malloc(sizeof *h);
        harness_posix(h);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        harness_close(*state);
        free(*state);
        return 0;
}

static void unknown_procedures(void **state)
{
        struct client *c = client_open(*state);
        const struct slice none = {0};
        assert_int_equal(client_call_raw(c, 49, none, NULL), CLIENT_REJECTED(RPC_GARBAGE_ARGS)); /* COMPOUND */
        assert_int_equal(client_call_raw(c, FOP_PUT, none, NULL), CLIENT_REJECTED(RPC_PROC_UNAVAIL));
        assert_int_equal(client_call_raw(c, 57, none, NULL), CLIENT_REJECTED(RPC_PROC_UNAVAIL));
        assert_int_equal(client_call_raw(c, UINT32_MAX, none, NULL), CLIENT_REJECTED(RPC_PROC_UNAVAIL));
        assert_int_equal(client_call_raw(c, 0, none, NULL), 0);
        client_close(c);
}

/* Every procedure with its arguments cut at every length: an RPC error, never an effect. */
static void arguments_cut_short(void **state)
{
        struct client *c = client_open(*state);
        static const uint8_t zeroes[4096];
        for (uint32_t proc = 1; proc < FOP_MAX; proc++) {
                if (!fop_by_number(proc) || proc == FOP_PUT)
                        continue;
                for (uint32_t len = 0; len < 16; len++)
                        assert_int_equal(client_call_raw(c, proc, (struct slice){zeroes, len}, NULL),
                                         CLIENT_REJECTED(RPC_GARBAGE_ARGS));
        }
        struct brick_stats s;
        brick_get_stats(((struct harness *)*state)->brick, &s);
        assert_int_equal(s.inodes, 1);
        client_close(c);
}

/* Null gfids, null names, descriptor 0, zero everywhere: an answer of some kind, with every procedure. */
static void requests_of_zeroes(void **state)
{
        struct client *c = client_open(*state);
        static uint8_t req[8192], rep[8192];
        for (uint32_t proc = 1; proc < FOP_MAX; proc++) {
                const struct fop_desc *d = fop_by_number(proc);
                if (!d || proc == FOP_PUT)
                        continue;
                memset(req, 0, sizeof req);
                assert_true(d->req->size <= sizeof req && d->rep->size <= sizeof rep);
                int r = client_call(c, (enum fop)proc, req, rep);
                if (r <= CLIENT_REJECTED(0) || r == CLIENT_PARKED)
                        fail_msg("%s: %d", d->name, r);
        }
        client_close(c);
}

static void failures_carry_nothing(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct stat_fop_rep rep;
        const struct stat_fop_req req = {.gfid = harness_gfid(h)};
        assert_int_equal(CALL(c, STAT, &req, &rep), -ESTALE);
        static const struct iatt zero;
        assert_memory_equal(&rep.stat, &zero, sizeof zero);
        assert_true(rep.xdata.null);
        struct brick_stats s;
        brick_get_stats(h->brick, &s);
        assert_int_equal(s.ops, 1);
        assert_int_equal(s.errors, 1);
        assert_int_equal(s.by_fop[FOP_STAT], 1);
        client_close(c);
}

static uint64_t in_buckets(const struct brick_stats *s, enum fop fop)
{
        uint64_t n = 0;
        for (unsigned k = 0; k < METRIC_BUCKETS; k++)
                n += s->latency[fop][k];
        return n;
}

/* Every call is in one bucket of its procedure once it is answered; one that waits for a lock is in none. */
static void calls_are_counted(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h), *other = client_open(h);
        struct gfid g = harness_gfid(h);
        struct brick_stats s;
        for (int k = 0; k < 3; k++)
                assert_int_equal(try_stat(c, &root, NULL), 0);
        assert_int_equal(try_stat(c, &g, NULL), -ESTALE);
        c->cred.owner_len = other->cred.owner_len = 1;
        c->cred.owner[0] = other->cred.owner[0] = 1;
        struct inodelk_fop_req lock = {.gfid = root, .cmd = 2, .type = 1, .flock = {.type = 1}, .volume = STR("d")};
        struct inodelk_fop_rep rep;
        assert_int_equal(CALL(c, INODELK, &lock, &rep), 0);
        assert_int_equal(CALL(other, INODELK, &lock, &rep), CLIENT_PARKED);
        brick_get_stats(h->brick, &s);
        assert_int_equal(s.by_fop[FOP_STAT], 4);
        assert_int_equal(s.errors_by_fop[FOP_STAT], 1);
        assert_int_equal(in_buckets(&s, FOP_STAT), 4);
        assert_true(s.nanoseconds[FOP_STAT] > 0);
        assert_int_equal(s.by_fop[FOP_INODELK], 2);
        assert_int_equal(in_buckets(&s, FOP_INODELK), 1);
        assert_int_equal(s.in_flight, 0);
        assert_true(s.inode_bytes >= s.inodes * sizeof(void *));
        client_close(other);
        client_close(c);
}

static void attributes_remembered_are_counted(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct brick_stats before, after;
        brick_get_stats(h->brick, &before);
        struct gfid g = make_file(c, &root, "f");
        brick_get_stats(h->brick, &after);
        assert_true(after.xattr_bytes > before.xattr_bytes);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        brick_get_stats(h->brick, &after);
        assert_true(after.xattr_bytes <= before.xattr_bytes + 512); /* the root's may have been read meanwhile */
        assert_int_equal(try_stat(c, &g, NULL), -ESTALE);
        client_close(c);
}

static struct iatt made_by(struct harness *h, bool trusted, int32_t pid, uint32_t uid, uint32_t gid)
{
        struct client *c = client_open_subdir(h, NULL, trusted);
        struct gfid g = harness_gfid(h);
        struct iatt i;
        char name[16];
        snprintf(name, sizeof name, "n%u", h->next_gfid);
        c->cred.pid = pid;
        c->cred.uid = uid;
        c->cred.gid = gid;
        assert_int_equal(try_mknod(c, &root, name, &g), 0);
        assert_int_equal(try_stat(c, &g, &i), 0);
        client_close(c);
        return i;
}

static void callers_are_squashed(void **state)
{
        struct harness *h = *state;
        h->options.root_squash = true;
        h->options.anon_uid = 4000;
        h->options.anon_gid = 4001;
        harness_reopen(h);
        assert_int_equal(chmod(h->path, 0777), 0);
        struct iatt i = made_by(h, false, 100, 0, 0);
        assert_int_equal(i.uid, 4000);
        assert_int_equal(i.gid, 4001);
        i = made_by(h, false, 100, 55, 0);
        assert_int_equal(i.uid, 55);
        assert_int_equal(i.gid, 4001);
        assert_int_equal(made_by(h, false, PID_REBALANCE, 0, 0).uid, 4000);
        assert_int_equal(made_by(h, true, PID_REBALANCE, 0, 0).uid, 0);
        assert_int_equal(made_by(h, true, PID_SELF_HEAL, 0, 0).uid, 0);
        assert_int_equal(made_by(h, true, 100, 0, 0).uid, 4000);
        assert_int_equal(made_by(h, true, 1, 0, 0).uid, 4000);
        h->options.root_squash = false;
        h->options.all_squash = true;
        harness_reopen(h);
        assert_int_equal(made_by(h, false, 100, 55, 66).uid, 4000);
        assert_int_equal(made_by(h, false, 100, 55, 66).gid, 4001);
        assert_int_equal(made_by(h, true, PID_NO_ROOT_SQUASH, 55, 66).uid, 55);
}

static void groups_of_the_server_replace_the_clients(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        make_dir(c, &root, "d");
        assert_int_equal(chown(on_disk(h, "d"), 0, 12345), 0);
        assert_int_equal(chmod(on_disk(h, "d"), 0770), 0);
        struct gfid dir, g = harness_gfid(h);
        struct iatt i;
        assert_int_equal(try_lookup(c, &root, "d", &i), 0);
        dir = i.gfid;
        c->cred.uid = 54321;
        c->cred.gid = 54321;
        c->cred.groups[0] = 12345;
        c->cred.group_count = 1;
        assert_int_equal(try_mknod(c, &dir, "f", &g), 0);
        client_close(c);
        h->options.manage_gids = true;
        harness_reopen(h);
        c = client_open(h);
        c->cred.uid = 54321;
        c->cred.gid = 54321;
        c->cred.groups[0] = 12345;
        c->cred.group_count = 1;
        assert_int_equal(try_unlink(c, &dir, "f"), -EACCES); /* nobody here knows user 54321 */
        assert_int_equal(try_unlink(c, &dir, "f"), -EACCES);
        client_close(c);
}

/* ---- threads --------------------------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 400

struct worker {
        struct harness *h;
        pthread_t thread;
        unsigned seed;
        struct gfid dirs[2];
};

static struct gfid worker_gfid(struct worker *w, unsigned n)
{
        return (struct gfid){.b = {0xdd, (uint8_t)w->seed, [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n}};
}

/* Names collide on purpose; any answer is fine, the brick must stay whole. */
static void *work(void *arg)
{
        struct worker *w = arg;
        struct client *c = client_open(w->h);
        c->cred.flags = 0x1f;
        for (unsigned k = 0; k < ROUNDS; k++) {
                char a[8], b[8];
                snprintf(a, sizeof a, "n%d", rand_r(&w->seed) % 6);
                snprintf(b, sizeof b, "n%d", rand_r(&w->seed) % 6);
                const struct gfid *d = &w->dirs[rand_r(&w->seed) % 2], *e = &w->dirs[rand_r(&w->seed) % 2];
                struct gfid g = worker_gfid(w, k);
                struct iatt i;
                int64_t fd;
                switch (rand_r(&w->seed) % 9) {
                case 0:
                        try_mknod(c, d, a, &g);
                        break;
                case 1:
                        if (try_create(c, d, a, O_RDWR, &g, &fd) == 0)
                                release(c, fd);
                        break;
                case 2:
                        try_mkdir(c, d, a, &g);
                        break;
                case 3:
                        try_unlink(c, d, a);
                        break;
                case 4:
                        try_rmdir(c, d, a);
                        break;
                case 5:
                        try_rename(c, d, a, e, b);
                        break;
                case 6:
                        if (try_lookup(c, d, a, &i) == 0)
                                try_link(c, &i.gfid, e, b);
                        break;
                case 7:
                        if (try_lookup(c, d, a, &i) == 0 && try_open(c, &i.gfid, O_RDONLY, &fd) == 0) {
                                try_unlink(c, d, a);
                                release(c, fd);
                        }
                        break;
                default:
                        if (try_lookup(c, d, a, &i) == 0)
                                try_stat(c, &i.gfid, NULL);
                }
                arena_reset(&c->reply_arena);
        }
        client_close(c);
        return NULL;
}

static void many_threads_on_few_names(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid a = make_dir(c, &root, "a"), b = make_dir(c, &root, "b");
        client_close(c);
        struct worker w[THREADS];
        for (unsigned k = 0; k < THREADS; k++) {
                w[k] = (struct worker){.h = h, .seed = k + 1, .dirs = {a, b}};
                assert_int_equal(pthread_create(&w[k].thread, NULL, work, &w[k]), 0);
        }
        for (unsigned k = 0; k < THREADS; k++)
                pthread_join(w[k].thread, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(unknown_procedures),
                TEST(arguments_cut_short),
                TEST(requests_of_zeroes),
                TEST(failures_carry_nothing),
                TEST(calls_are_counted),
                TEST(attributes_remembered_are_counted),
                TEST(callers_are_squashed),
                TEST(groups_of_the_server_replace_the_clients),
                TEST(many_threads_on_few_names),
        };
        return cmocka_run_group_tests_name("brick/dispatch", tests, NULL, NULL);
}
