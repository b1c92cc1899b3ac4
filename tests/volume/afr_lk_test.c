/* Locks of applications on a replicated volume (replicate.md §8.3). */
#include "heal_calls.h"

static struct world w;

struct seen {
        const char *name;
        struct vfile *file[2]; /* of each client */
        uint64_t size;
        int result;
};

static void open_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct seen *s = arg;
        struct iatt st;
        assert_int_equal(call_open(self, c, NULL, s->name, 0, &s->file[c->index]), 0);
        assert_int_equal(call_fstat(self, c, s->file[c->index], &st), 0);
}

static void make_it(struct fibre *self, struct world_client *c, void *arg)
{
        make_file(self, c, ((struct seen *)arg)->name, 100, 1);
}

static void lock_and_append(struct fibre *self, struct world_client *c, void *arg)
{
        struct seen *s = arg;
        struct vfile *f = s->file[c->index];
        assert_int_equal(call_lk(self, c, f, true, 1, 1), 0);
        assert_int_equal(call_write(self, c, f, 100, "more", 4), 4);
        assert_int_equal(call_lk(self, c, f, true, 2, 1), 0);
}

static void lock_and_look(struct fibre *self, struct world_client *c, void *arg)
{
        struct seen *s = arg;
        struct vfile *f = s->file[c->index];
        struct iatt st;
        assert_int_equal(call_lk(self, c, f, true, 1, 1), 0);
        assert_int_equal(call_fstat(self, c, f, &st), 0);
        s->size = st.size;
        assert_int_equal(call_lk(self, c, f, true, 2, 1), 0);
}

static void close_it(struct fibre *self, struct world_client *c, void *arg)
{
        (void)call_close(self, c, ((struct seen *)arg)->file[c->index]);
}

static void take_lock(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(call_lk(self, c, ((struct seen *)arg)->file[c->index], true, 1, 1), 0);
}

static void give_lock(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(call_lk(self, c, ((struct seen *)arg)->file[c->index], true, 2, 1), 0);
}

static void cut_off(unsigned brick)
{
        world_cut(&w, 0, brick, true);
        world_reset(&w, 0, brick);
        world_pass(&w, NS_PER_SEC);
        assert_false(heal_set(&w.clients[0])->base.children[brick]->up);
}

/* One client writes without a copy that the other can reach, whichever that is. Stock's bricks (NO_CHAIN) tell nobody that
 * they noted something. */
static void look_under_lock(bool no_chain)
{
        static const char *const names[] = {"a", "b", "c"};
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 1, .no_chain = no_chain});
        for (unsigned brick = 0; brick < 3; brick++) {
                struct seen s = {.name = names[brick]};
                world_run(&w, 0, make_it, &s);
                world_run(&w, 0, open_file, &s);
                world_run(&w, 1, open_file, &s);
                cut_off(brick);
                world_run(&w, 0, lock_and_append, &s);
                world_run(&w, 1, lock_and_look, &s);
                assert_int_equal(s.size, 104);
                world_cut(&w, 0, brick, false);
                heal_wait_up(&w, 0);
                world_run(&w, 0, close_it, &s);
                world_run(&w, 1, close_it, &s);
        }
        world_close(&w);
}

static void who_has_the_lock_sees_what_others_wrote(void **state)
{
        (void)state;
        look_under_lock(false);
        look_under_lock(true);
}

/* A brick that was away when a lock was given back is not asked for it again. */
static void a_lock_that_was_given_back_stays_so(void **state)
{
        struct seen s = {.name = "a"};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 2});
        world_run(&w, 0, make_it, &s);
        world_run(&w, 0, open_file, &s);
        world_run(&w, 1, open_file, &s);
        world_run(&w, 0, take_lock, &s);
        cut_off(1);
        world_run(&w, 0, give_lock, &s);
        world_cut(&w, 0, 1, false);
        heal_wait_up(&w, 0);
        world_pass(&w, 10 * NS_PER_SEC);
        world_run(&w, 1, take_lock, &s);
        world_run(&w, 1, give_lock, &s);
        world_run(&w, 0, close_it, &s);
        world_run(&w, 1, close_it, &s);
        world_close(&w);
}

/* Without a quorum it goes from the bricks that are there. */
static void a_lock_is_given_back_without_a_quorum(void **state)
{
        struct seen s = {.name = "a"};
        struct brick_stats stats;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 3});
        world_run(&w, 0, make_it, &s);
        world_run(&w, 0, open_file, &s);
        world_run(&w, 0, take_lock, &s);
        cut_off(0);
        cut_off(1);
        world_run(&w, 0, give_lock, &s);
        world_pass(&w, NS_PER_SEC);
        brick_get_stats(w.bricks[2].brick, &stats);
        assert_int_equal(stats.locks, 0);
        world_run(&w, 0, close_it, &s);
        world_close(&w);
}

static int lost_the_file(struct world_brick *b, uint32_t fop, void *arg)
{
        (void)arg;
        return b->index < 1 + (unsigned)(b->world->config.seed - 4) && fop == FOP_LK ? EBADFD : 0;
}

static void try_lock(struct fibre *self, struct world_client *c, void *arg)
{
        struct seen *s = arg;
        s->result = call_lk(self, c, s->file[c->index], true, 1, 1);
}

/* A brick that was emptied does not have the file, and no say about its locks; two of three are too many. */
static void a_copy_without_the_file_refuses_no_lock(void **state)
{
        (void)state;
        for (uint64_t seed = 4; seed <= 5; seed++) {
                struct seen s = {.name = "a"};
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = seed, .no_chain = true});
                world_run(&w, 0, make_it, &s);
                world_run(&w, 0, open_file, &s);
                w.on_fop = lost_the_file;
                world_run(&w, 0, try_lock, &s);
                w.on_fop = NULL;
                assert_int_equal(s.result, seed == 4 ? 0 : -ENOTCONN);
                world_run(&w, 0, close_it, &s);
                world_close(&w);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(who_has_the_lock_sees_what_others_wrote),
                cmocka_unit_test(a_lock_that_was_given_back_stays_so),
                cmocka_unit_test(a_lock_is_given_back_without_a_quorum),
                cmocka_unit_test(a_copy_without_the_file_refuses_no_lock),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
