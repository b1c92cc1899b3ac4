/* Chains of operations from a client to its brick: one message where the brick understands that, the same results
 * everywhere (docs/formats/chain.md). */
#include "world.h"

#include <fcntl.h>

#include "volume/remote.h"

#define ARENA_MAX (4 * MIB)
#define DOMAIN "vol-replicate-0"

static const struct gfid root = GFID_ROOT;

static struct subvolume *leaf(struct world_client *c)
{
        struct subvolume *v = volume_top(c->volume);
        while (v->n_children > 0)
                v = v->children[0];
        return v;
}

static struct inodelk_fop_req lock_req(const struct gfid *g, uint32_t cmd, uint32_t type)
{
        return (struct inodelk_fop_req){
                .gfid = *g, .cmd = cmd, .type = type, .volume = STR(DOMAIN), .xdata = DICT_NULL};
}

static struct xattrop_fop_req mark_req(struct arena *a, const struct gfid *g)
{
        static const uint8_t one[12] = {[3] = 1};
        struct xattrop_fop_req req = {.gfid = *g, .xdata = DICT_NULL};
        assert_int_equal(dict_add_ptr(&req.dict, a, "trusted.afr.vol-client-0", one, sizeof one), 0);
        return req;
}

static int counter(struct world *w, const char *path)
{
        uint8_t value[12];
        return world_xattr(&w->bricks[0], path, "trusted.afr.vol-client-0", value, sizeof value) == 12 ? value[3] : 0;
}

static struct request owned(struct world_client *c, struct arena *a, uint8_t owner)
{
        struct request r = world_request(c, a);
        r.cred.owner_len = 8;
        memset(r.cred.owner, owner, 8);
        return r;
}

/* ---- looking up, opening, reading
 * ------------------------------------------------------------------------------------ */

struct reading {
        const char *name;
        int results[3];
        char data[8];
        struct gfid gfid;
        int again; /* a READ of the file that the chain opened */
};

static void make_a_file(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        struct gfid *gfid = arg;
        *gfid = world_gfid(c);
        struct create_fop_req create = {.pargfid = root,
                                        .flags = O_RDWR | O_CREAT,
                                        .mode = 0644,
                                        .bname = STR("file"),
                                        .xdata = world_gfid_req(&a, gfid)};
        struct create_fop_rep created;
        struct write_fop_req write = {.gfid = *gfid,
                                      .fd = FD_ANONYMOUS,
                                      .size = 5,
                                      .xdata = DICT_NULL,
                                      .data = {(const uint8_t *)"hello", 5}};
        struct write_fop_rep written;
        assert_int_equal(subvolume_create(self, leaf(c), &r, &create, &created), 0);
        assert_int_equal(subvolume_write(self, leaf(c), &r, &write, &written), 5);
}

static void read_a_name(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX), b = ARENA_INIT(ARENA_MAX);
        struct reading *t = arg;
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &t->gfid, S_IFREG);
        struct vfile *f = vfile_new(i, O_RDONLY, false);
        struct request r = world_request(c, &a), on_file = world_request(c, &b);
        on_file.inode = i;
        on_file.file = f;
        struct lookup_fop_req look = {.pargfid = root, .bname = str_of(t->name), .xdata = DICT_NULL};
        struct open_fop_req open = {.xdata = DICT_NULL};
        struct read_fop_req read = {.size = 8, .xdata = DICT_NULL},
                            all = {.gfid = t->gfid, .size = 8, .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        struct open_fop_rep opened;
        struct read_fop_rep got;
        struct chain_step steps[] = {{FOP_LOOKUP, &r, &look, &found},
                                     {FOP_OPEN, &on_file, &open, &opened},
                                     {FOP_READ, &on_file, &read, &got}};
        subvolume_chain(self, leaf(c), steps, 3);
        for (int k = 0; k < 3; k++)
                t->results[k] = steps[k].result;
        arena_done(&a); /* the data is in the arena of its own request */
        if (t->results[2] > 0) {
                memcpy(t->data, got.data.data, got.data.len);
                t->again = subvolume_read(self, leaf(c), &on_file, &all, &got);
                assert_true(((struct remote_fd *)*vfile_slot(f, leaf(c)))->number >= 0);
        }
        vfile_unref(f);
}

static void reading_takes(const struct world_config *config, unsigned messages)
{
        struct world w;
        struct reading t = {.name = "file"};
        world_open(&w, config);
        world_run(&w, 0, make_a_file, &t.gfid);
        struct world_brick *b = &w.bricks[0];
        b->messages = b->chains = 0;
        memset(b->calls, 0, sizeof b->calls);
        world_run(&w, 0, read_a_name, &t);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(t.results[0], 0);
        assert_int_equal(t.results[1], 0);
        assert_int_equal(t.results[2], 5);
        assert_memory_equal(t.data, "hello", 5);
        assert_int_equal(t.again, 5);
        assert_int_equal(b->messages, messages + 2); /* the second READ, RELEASE */
        assert_int_equal(b->calls[FOP_LOOKUP], 1);
        assert_int_equal(b->calls[FOP_OPEN], 1);
        assert_int_equal(b->calls[FOP_READ], 2);
        b->messages = 0;
        t = (struct reading){.name = "nothing", .gfid = t.gfid};
        world_run(&w, 0, read_a_name, &t);
        assert_int_equal(t.results[0], -ENOENT);
        assert_int_equal(t.results[1], -ECANCELED);
        assert_int_equal(t.results[2], -ECANCELED);
        assert_int_equal(b->messages, 1);
        world_close(&w);
}

static void a_chain_is_one_message(void **state)
{
        (void)state;
        reading_takes(&(struct world_config){.layout = WORLD_ONE, .seed = 1}, 1);
}

static void a_brick_that_does_not_know_chains_gets_single_calls(void **state)
{
        (void)state;
        reading_takes(&(struct world_config){.layout = WORLD_ONE, .seed = 1, .no_chain = true}, 3);
}

static void chains_can_be_turned_off(void **state)
{
        (void)state;
        reading_takes(&(struct world_config){.layout = WORLD_ONE,
                                             .seed = 1,
                                             .client_options = "    option mortar.chain off\n"},
                      3);
}

/* The brick's process is replaced by one that does not know chains. */
static void what_a_brick_knows_is_asked_again(void **state)
{
        struct world w;
        struct reading t = {.name = "file"};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 1, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, make_a_file, &t.gfid);
        world_brick_crash(&w.bricks[0], false);
        w.config.no_chain = true;
        world_brick_start(&w.bricks[0]);
        world_run(&w, 0, read_a_name, &t);
        assert_int_equal(t.results[2], 5);
        assert_int_equal(w.bricks[0].chains, 0);
        world_close(&w);
}

/* ---- locks
 * ------------------------------------------------------------------------------------------------------------ */

struct locking {
        struct gfid gfid;
        uint8_t owner;
        bool done;
        int results[2], unlocked[2];
};

static void lock_and_mark(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct locking *t = arg;
        struct request r = owned(c, &a, t->owner), root_user = world_request(c, &a);
        struct inodelk_fop_req take = lock_req(&t->gfid, 2, 1);
        struct xattrop_fop_req mark = mark_req(&a, &t->gfid);
        struct inodelk_fop_rep locked;
        struct xattrop_fop_rep marked;
        struct chain_step steps[] = {{FOP_INODELK, &r, &take, &locked}, {FOP_XATTROP, &root_user, &mark, &marked}};
        subvolume_chain(self, leaf(c), steps, 2);
        t->results[0] = steps[0].result;
        t->results[1] = steps[1].result;
        t->done = true;
}

static void mark_and_unlock(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct locking *t = arg;
        struct request r = owned(c, &a, t->owner), root_user = world_request(c, &a);
        struct inodelk_fop_req give = lock_req(&t->gfid, 1, 2);
        struct xattrop_fop_req mark = mark_req(&a, &t->gfid);
        struct inodelk_fop_rep unlocked;
        struct xattrop_fop_rep marked;
        struct chain_step steps[] = {{FOP_XATTROP, &root_user, &mark, &marked}, {FOP_INODELK, &r, &give, &unlocked}};
        subvolume_chain(self, leaf(c), steps, 2);
        t->unlocked[0] = steps[0].result;
        t->unlocked[1] = steps[1].result;
}

static bool is_done(void *arg)
{
        return ((struct locking *)arg)->done;
}

static void a_chain_waits_for_its_lock(void **state)
{
        struct world w;
        struct locking one = {.owner = 1}, two = {.owner = 2};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .clients = 2, .seed = 3});
        world_run(&w, 0, make_a_file, &one.gfid);
        two.gfid = one.gfid;
        world_run(&w, 0, lock_and_mark, &one);
        assert_int_equal(one.results[1], 0);
        world_start(&w, 1, lock_and_mark, &two);
        world_pass(&w, NS_PER_SEC);
        assert_false(two.done);
        assert_int_equal(counter(&w, "/file"), 1);
        world_run(&w, 0, mark_and_unlock, &one);
        assert_int_equal(one.unlocked[0] | one.unlocked[1], 0);
        world_until(&w, is_done, &two);
        assert_int_equal(two.results[0] | two.results[1], 0);
        assert_int_equal(counter(&w, "/file"), 3);
        world_run(&w, 1, mark_and_unlock, &two);
        assert_int_equal(w.bricks[0].chains, 4);
        world_close(&w);
}

static void a_failure_in_the_middle_ends_it(void **state)
{
        struct world w;
        struct locking t = {.owner = 1, .gfid = {.b = {9}}};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 3});
        world_run(&w, 0, lock_and_mark, &t);
        assert_int_equal(t.results[0], -ESTALE);
        assert_int_equal(t.results[1], -ECANCELED);
        world_close(&w);
}

/* What was performed is not known then. */
static void a_lost_answer_is_that_of_all_steps(void **state)
{
        struct world w;
        struct locking one = {.owner = 1}, two = {.owner = 2};
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_ONE, .clients = 2, .seed = 3, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, make_a_file, &one.gfid);
        two.gfid = one.gfid;
        world_run(&w, 0, lock_and_mark, &one);
        world_start(&w, 1, lock_and_mark, &two);
        world_pass(&w, NS_PER_SEC);
        world_reset(&w, 1, 0);
        world_until(&w, is_done, &two);
        assert_int_equal(two.results[0], -ENOTCONN);
        assert_int_equal(two.results[1], -ENOTCONN);
        world_run(&w, 0, mark_and_unlock, &one);
        assert_int_equal(counter(&w, "/file"), 2); /* nobody else's chain went on */
        world_close(&w);
}

static void crash_soon(struct fibre *self, struct world_client *c, void *arg)
{
        struct world *w = arg;
        (void)c;
        fibre_sleep(self, NS_PER_MSEC);
        world_brick_crash(&w->bricks[0], false);
        fibre_sleep(self, NS_PER_SEC);
        world_brick_start(&w->bricks[0]);
}

/* Reading changes nothing: it is asked again. */
static void reading_survives_a_restart(void **state)
{
        struct world w;
        struct reading t = {.name = "file"};
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_ONE, .clients = 2, .seed = 3, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, make_a_file, &t.gfid);
        sim_link_set(w.sim, w.clients[0].node, w.bricks[0].node,
                     &(struct sim_link){.delay_min = 10 * NS_PER_MSEC, .delay_max = 10 * NS_PER_MSEC});
        world_start(&w, 1, crash_soon, &w);
        world_run(&w, 0, read_a_name, &t);
        world_wait(&w);
        assert_int_equal(t.results[2], 5);
        assert_memory_equal(t.data, "hello", 5);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_chain_is_one_message),
                cmocka_unit_test(a_brick_that_does_not_know_chains_gets_single_calls),
                cmocka_unit_test(chains_can_be_turned_off),
                cmocka_unit_test(what_a_brick_knows_is_asked_again),
                cmocka_unit_test(a_chain_waits_for_its_lock),
                cmocka_unit_test(a_failure_in_the_middle_ends_it),
                cmocka_unit_test(a_lost_answer_is_that_of_all_steps),
                cmocka_unit_test(reading_survives_a_restart),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
