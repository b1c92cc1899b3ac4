/* Locks and marks that stay with a file: how many messages operations cost, and when they end (replicate.md §6.5,
 * §6.6). */
#include "afr_calls.h"

#include <fcntl.h>

static void zero_calls(struct world *w)
{
        for (unsigned b = 0; b < w->n_bricks; b++)
                memset(w->bricks[b].calls, 0, sizeof w->bricks[b].calls);
}

#define assert_calls(w, NAME, n)                                                                                       \
        for (unsigned b_ = 0; b_ < (w)->n_bricks; b_++)                                                                \
        assert_int_equal((w)->bricks[b_].calls[FOP_##NAME], (n))

static unsigned all_calls(const struct world_brick *b)
{
        unsigned n = 0;
        for (unsigned k = 0; k < FOP_MAX; k++)
                n += b->calls[k];
        return n;
}

struct shared {
        struct vfile *files[WORLD_CLIENTS_MAX];
        unsigned writes;
        int error;
};

static void create_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        assert_int_equal(call_create(self, c, NULL, "file", 0, &s->files[c->index]), 0);
}

static void open_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        assert_int_equal(call_open(self, c, NULL, "file", 0, &s->files[c->index]), 0);
}

static void append_ten(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        for (unsigned k = 0; k < 10; k++)
                assert_int_equal(call_write(self, c, s->files[c->index], 4 * k, "abcd", 4), 4);
}

static void overwrite(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        assert_int_equal(call_write(self, c, s->files[c->index], 2, "xy", 2), 2);
}

static void sync_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        assert_int_equal(call_fsync(self, c, s->files[c->index]), 0);
}

static void close_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        assert_int_equal(call_close(self, c, s->files[c->index]), 0);
}

static void one_lock_for_many_writes(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 1, .no_chain = true});
        world_run(&w, 0, create_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        zero_calls(&w);
        world_run(&w, 0, append_ten, &s);
        assert_calls(&w, FINODELK, 1);
        assert_calls(&w, FXATTROP, 1);
        assert_calls(&w, WRITE, 10);
        assert_counter(&w, 0, "/file", -1, "1,0,0");
        world_pass(&w, 900 * NS_PER_MSEC);
        assert_counter(&w, 0, "/file", -1, "1,0,0");
        world_pass(&w, 200 * NS_PER_MSEC);
        assert_calls(&w, FINODELK, 2);
        assert_calls(&w, FXATTROP, 2);
        assert_calls(&w, FSYNC, 0); /* all were appends */
        assert_clean(&w, "/file");
        assert_int_equal(all_calls(&w.bricks[0]), 14);
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

static void what_is_not_an_append_is_synced_first(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 2});
        world_run(&w, 0, create_file, &s);
        world_run(&w, 0, append_ten, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        zero_calls(&w);
        world_run(&w, 0, overwrite, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_calls(&w, FSYNC, 1);
        assert_clean(&w, "/file");
        world_run(&w, 0, overwrite, &s);
        world_run(&w, 0, sync_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_calls(&w, FSYNC, 2); /* the application's was enough */
        assert_calls(&w, WRITE, 2);
        assert_clean(&w, "/file");
        zero_calls(&w);
        world_run(&w, 0, sync_file, &s);
        assert_int_equal(all_calls(&w.bricks[0]), 1); /* nothing kept: nothing but the fsync itself */
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

static void flush_ends_it_at_once(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 3});
        world_run(&w, 0, create_file, &s);
        world_run(&w, 0, append_ten, &s);
        world_run(&w, 0, close_file, &s);
        world_pass(&w, 50 * NS_PER_MSEC);
        assert_clean(&w, "/file");
        assert_identical(&w, "/file");
        world_close(&w);
}

static void without_eager_lock_every_write_settles(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_REP3, .seed = 4, .replicate_options = "    option eager-lock off\n"});
        world_run(&w, 0, create_file, &s);
        zero_calls(&w);
        world_run(&w, 0, append_ten, &s);
        world_pass(&w, 50 * NS_PER_MSEC);
        assert_calls(&w, FINODELK, 20);
        assert_clean(&w, "/file");
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

/* ---- two clients ------------------------------------------------------------------------------------------------- */

static void write_fifty(struct fibre *self, struct world_client *c, void *arg)
{
        struct shared *s = arg;
        char text[2] = {(char)('a' + c->index), (char)('a' + c->index)};
        for (unsigned k = 0; k < 50; k++) {
                int r = call_write(self, c, s->files[c->index], 2 * (k % 5), text, 2);
                if (r != 2)
                        s->error = r;
                s->writes++;
        }
}

static bool wrote_all(void *arg)
{
        struct shared *s = arg;
        return s->writes == 100;
}

static void two_clients_hand_the_lock_over(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 5});
        world_run(&w, 0, create_file, &s);
        world_run(&w, 1, open_file, &s);
        uint64_t begin = sim_now(w.sim);
        world_start(&w, 0, write_fifty, &s);
        world_start(&w, 1, write_fifty, &s);
        world_until(&w, wrote_all, &s);
        assert_int_equal(s.error, 0);
        assert_true(sim_now(w.sim) - begin < 2 * NS_PER_SEC);
        world_run(&w, 0, close_file, &s);
        world_run(&w, 1, close_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_clean(&w, "/file");
        assert_identical(&w, "/file");
        world_close(&w);
}

static void an_idle_holder_gives_way(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 6});
        world_run(&w, 0, create_file, &s);
        world_run(&w, 1, open_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, overwrite, &s);
        uint64_t begin = sim_now(w.sim);
        world_run(&w, 1, overwrite, &s);
        assert_true(sim_now(w.sim) - begin < 100 * NS_PER_MSEC);
        world_run(&w, 0, close_file, &s);
        world_run(&w, 1, close_file, &s);
        world_close(&w);
}

struct unlocked {
        struct world *world;
        bool locked[3], seen[3];
};

static unsigned locks_at(struct world *w, unsigned brick)
{
        struct brick_stats stats;
        brick_get_stats(w->bricks[brick].brick, &stats);
        return stats.locks;
}

/* Looks after every event: when a brick has no lock any more, its mark is gone. */
static bool all_unlocked(void *arg)
{
        struct unlocked *u = arg;
        bool all = true;
        for (unsigned b = 0; b < 3; b++) {
                bool locked = locks_at(u->world, b) > 0;
                if (u->locked[b] && !locked) {
                        assert_counter(u->world, b, "/file", -1, "0,0,0");
                        u->seen[b] = true;
                }
                u->locked[b] = locked;
                all = all && u->seen[b];
        }
        return all;
}

static void unlocking_comes_last(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned seed = 40; seed < 48; seed++) {
                struct shared s = {0};
                struct unlocked u = {.world = &w};
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = seed, .no_chain = seed % 2});
                world_run(&w, 0, create_file, &s);
                world_pass(&w, 2 * NS_PER_SEC);
                world_run(&w, 0, overwrite, &s);
                assert_counter(&w, 0, "/file", -1, "1,0,0");
                world_until(&w, all_unlocked, &u);
                world_run(&w, 0, close_file, &s);
                world_close(&w);
        }
}

static unsigned waiting_at(struct world *w, unsigned brick)
{
        struct brick_stats stats;
        brick_get_stats(w->bricks[brick].brick, &stats);
        return (unsigned)stats.locks_waiting;
}

/* Client 1 waits at the first brick only: everybody takes locks in this order. */
static void waiting_is_in_order(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 50});
        world_run(&w, 0, create_file, &s);
        world_run(&w, 1, open_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, overwrite, &s);
        for (unsigned b = 0; b < 3; b++)
                world_cut(&w, 0, b, true); /* the holder does not hear that somebody waits */
        world_start(&w, 1, overwrite, &s);
        world_pass(&w, 500 * NS_PER_MSEC);
        assert_int_equal(waiting_at(&w, 0), 1);
        assert_int_equal(waiting_at(&w, 1), 0);
        assert_int_equal(waiting_at(&w, 2), 0);
        for (unsigned b = 0; b < 3; b++)
                world_cut(&w, 0, b, false);
        world_wait(&w);
        world_run(&w, 0, close_file, &s);
        world_run(&w, 1, close_file, &s);
        world_close(&w);
}

static void a_lost_lock_is_a_missed_change(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 51});
        world_run(&w, 0, create_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, overwrite, &s);
        world_reset(&w, 0, 1);
        world_pass(&w, 5 * NS_PER_SEC);
        assert_counter(&w, 0, "/file", 1, "1,0,0");
        assert_counter(&w, 2, "/file", 1, "1,0,0");
        world_run(&w, 0, close_file, &s);
        world_close(&w);
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 52}); /* appends, which nobody syncs */
        world_run(&w, 0, create_file, &s);
        world_run(&w, 0, append_ten, &s);
        world_reset(&w, 0, 2);
        world_pass(&w, 5 * NS_PER_SEC);
        assert_counter(&w, 0, "/file", 2, "1,0,0");
        assert_counter(&w, 1, "/file", 2, "1,0,0");
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

/* ---- one client, at once ----------------------------------------------------------------------------------------- */

struct piece {
        struct shared *shared;
        uint64_t offset;
        char c;
        unsigned *left;
};

static void write_piece(struct fibre *self, struct world_client *c, void *arg)
{
        struct piece *p = arg;
        char data[64];
        memset(data, p->c, sizeof data);
        assert_int_equal(call_write(self, c, p->shared->files[0], p->offset, data, sizeof data), sizeof data);
        --*p->left;
}

static bool none_left(void *arg)
{
        return *(unsigned *)arg == 0;
}

static void overlapping_writes_have_one_order(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned seed = 10; seed < 20; seed++) {
                struct shared s = {0};
                struct piece pieces[16];
                unsigned left = ELEMENTSOF(pieces);
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = seed});
                world_run(&w, 0, create_file, &s);
                for (unsigned k = 0; k < ELEMENTSOF(pieces); k++) {
                        pieces[k] = (struct piece){&s, 16 * (k % 8), (char)('a' + k), &left};
                        world_start(&w, 0, write_piece, &pieces[k]);
                }
                world_until(&w, none_left, &left);
                world_run(&w, 0, close_file, &s);
                world_pass(&w, NS_PER_SEC);
                assert_identical(&w, "/file");
                assert_clean(&w, "/file");
                world_close(&w);
        }
}

/* ---- round trips of common calls --------------------------------------------------------------------------------- */

static void make_directory(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
}

static void remove_file(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_unlink(self, c, NULL, "file"), 0);
}

static void few_messages(void **state)
{
        static struct world w;
        struct shared s = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 7, .no_chain = true});
        world_run(&w, 0, make_directory, &s);
        world_run(&w, 0, create_file, &s);
        world_run(&w, 0, close_file, &s);
        world_pass(&w, NS_PER_SEC);
        zero_calls(&w);
        world_run(&w, 0, remove_file, &s);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(all_calls(&w.bricks[0]), 3); /* lock, unlink, unlock */
        assert_calls(&w, ENTRYLK, 2);
        assert_calls(&w, UNLINK, 1);
        zero_calls(&w);
        world_run(&w, 0, create_file, &s);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(all_calls(&w.bricks[0]), 3);
        zero_calls(&w);
        world_run(&w, 0, overwrite, &s);
        world_run(&w, 0, close_file, &s);
        world_pass(&w, NS_PER_SEC);
        /* lock, mark, write, sync (it left a hole, so it was no append), take back, unlock; flush, release */
        assert_int_equal(all_calls(&w.bricks[0]), 8);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_lock_for_many_writes),
                cmocka_unit_test(what_is_not_an_append_is_synced_first),
                cmocka_unit_test(flush_ends_it_at_once),
                cmocka_unit_test(without_eager_lock_every_write_settles),
                cmocka_unit_test(two_clients_hand_the_lock_over),
                cmocka_unit_test(an_idle_holder_gives_way),
                cmocka_unit_test(unlocking_comes_last),
                cmocka_unit_test(waiting_is_in_order),
                cmocka_unit_test(a_lost_lock_is_a_missed_change),
                cmocka_unit_test(overlapping_writes_have_one_order),
                cmocka_unit_test(few_messages),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
