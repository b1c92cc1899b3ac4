/* Healing what files hold (replicate.md §10.2, §10.3, §10.7). */
#include "heal_calls.h"

#include <fcntl.h>

#define BIG (2 * MIB + 5000)

static struct world w;

static void open_world(enum world_layout layout, unsigned clients, uint64_t seed, const char *options)
{
        world_open(&w, &(struct world_config){
                               .layout = layout, .clients = clients, .seed = seed, .replicate_options = options});
}

static void zero_calls(void)
{
        for (unsigned b = 0; b < w.n_bricks; b++)
                memset(w.bricks[b].calls, 0, sizeof w.bricks[b].calls);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void make_big(struct fibre *self, struct world_client *c, void *arg)
{
        make_file(self, c, "big", BIG, *(uint64_t *)arg);
}

static void rewrite_all(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        write_pattern(self, c, f, 0, BIG, *(uint64_t *)arg);
        assert_int_equal(call_close(self, c, f), 0);
}

/* Five bytes in the third and one in the last block of 128 KiB. */
static void touch_two_blocks(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 2 * 128 * KIB + 77, "12345", 5), 5);
        assert_int_equal(call_write(self, c, f, BIG - 1, "x", 1), 1);
        assert_int_equal(call_close(self, c, f), 0);
}

static void append_more(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        write_pattern(self, c, f, BIG, 300000, 9);
        assert_int_equal(call_close(self, c, f), 0);
}

static void cut_short(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        assert_int_equal(call_ftruncate(self, c, f, 100001), 0);
        assert_int_equal(call_close(self, c, f), 0);
}

/* Data at the ends of 64 MiB. */
static void make_sparse(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_create(self, c, NULL, "sparse", 0, &f), 0);
        write_pattern(self, c, f, 4096, 5000, 3);
        write_pattern(self, c, f, 64 * MIB, 5000, 4);
        assert_int_equal(call_close(self, c, f), 0);
}

static void missing(unsigned brick, world_fn change, uint64_t seed)
{
        heal_brick_down(&w, brick);
        world_run(&w, 0, change, &seed);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, brick);
}

static void prepared(enum world_layout layout, unsigned clients, uint64_t seed, const char *options)
{
        uint64_t one = 1;
        open_world(layout, clients, seed, options);
        world_run(&w, 0, make_big, &one);
        world_pass(&w, 2 * NS_PER_SEC);
}

/* ---- one copy is behind ------------------------------------------------------------------------------------------ */

static void what_a_brick_missed_is_copied(void **state)
{
        static const world_fn changes[] = {rewrite_all, touch_two_blocks, append_more, cut_short};
        static const char *const options[] = {NULL, "    option data-self-heal-algorithm full\n",
                                              "    option data-self-heal-algorithm diff\n"};
        (void)state;
        for (unsigned k = 0; k < ELEMENTSOF(changes); k++) {
                for (unsigned o = 0; o < ELEMENTSOF(options); o++) {
                        struct afr_heal_report report = {0};
                        prepared(WORLD_REP3, 1, 20 + k, options[o]);
                        missing((k + o) % 3, changes[k], 2);
                        assert_int_equal(heal_index_count(&w, (k + o + 1) % 3, "xattrop"), 1);
                        assert_int_equal(heal_path(&w, 0, 0, "/big", &report), 0);
                        assert_true(report.healed[AFR_DATA]);
                        assert_int_equal(report.bytes_done, report.bytes);
                        assert_healed(&w);
                        world_close(&w);
                }
        }
}

static void a_comparison_writes_only_what_differs(void **state)
{
        struct afr_heal_report report = {0};
        (void)state;
        prepared(WORLD_REP3, 1, 31, NULL);
        missing(1, touch_two_blocks, 0);
        zero_calls();
        assert_int_equal(heal_path(&w, 0, 0, "/big", &report), 0);
        assert_healed(&w);
        assert_int_equal(w.bricks[1].calls[FOP_WRITE], 2);
        assert_int_equal(w.bricks[0].calls[FOP_WRITE] + w.bricks[2].calls[FOP_WRITE], 0);
        assert_int_equal(w.bricks[0].calls[FOP_READ] + w.bricks[2].calls[FOP_READ], 2);
        assert_int_equal(report.bytes_written, 128 * KIB + BIG % (128 * KIB));
        world_close(&w);
}

static void holes_stay_holes(void **state)
{
        struct afr_heal_report report = {0};
        struct stat st;
        (void)state;
        open_world(WORLD_REP3, 1, 32, NULL);
        heal_brick_down(&w, 2);
        world_run(&w, 0, make_sparse, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, 2);
        assert_int_equal(heal_path(&w, 0, 0, "/", &report), 0);
        heal_sweep(&w, 0);
        zero_calls();
        assert_int_equal(heal_path(&w, 0, 0, "/sparse", &report), 0);
        assert_healed(&w);
        assert_int_equal(w.bricks[2].calls[FOP_WRITE], 2);
        assert_int_equal(disk_stat(world_disk(&w.bricks[2]), AT_FDCWD, WORLD_BRICK_PATH "/sparse", &st), 0);
        assert_true(st.st_blocks * 512 < (blkcnt_t)MIB);
        world_close(&w);
}

static void an_arbiter_needs_no_data(void **state)
{
        (void)state;
        prepared(WORLD_ARBITER, 1, 33, NULL);
        missing(2, rewrite_all, 5);
        zero_calls();
        assert_int_equal(heal_path(&w, 0, 0, "/big", NULL), 0);
        assert_healed(&w);
        assert_int_equal(w.bricks[2].calls[FOP_WRITE] + w.bricks[2].calls[FOP_READ] + w.bricks[2].calls[FOP_RCHECKSUM],
                         0);
        missing(0, rewrite_all, 6);
        assert_int_equal(heal_path(&w, 0, 1, "/big", NULL), 0);
        assert_healed(&w);
        world_close(&w);
}

static void heals_need_all_copies(void **state)
{
        struct afr_heal_report report = {0};
        (void)state;
        prepared(WORLD_REP3, 1, 34, NULL);
        missing(1, rewrite_all, 5);
        heal_brick_down(&w, 2);
        assert_int_equal(heal_path(&w, 0, 0, "/big", &report), -ENOTCONN);
        assert_non_null(strstr(report.why, "vol-client-2"));
        assert_counter(&w, 0, "/big", 1, "2,0,0");
        heal_brick_up(&w, 2);
        assert_int_equal(heal_path(&w, 0, 0, "/big", NULL), 0);
        assert_healed(&w);
        world_close(&w);
}

/* ---- nobody is blamed -------------------------------------------------------------------------------------------- */

static void write_and_stay(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        write_pattern(self, c, f, 0, 200000, *(uint64_t *)arg);
}

static void what_a_dead_writer_left_is_made_equal(void **state)
{
        static const char garbage[] = "not written everywhere";
        uint64_t five = 5;
        (void)state;
        prepared(WORLD_REP3, 2, 35, NULL);
        world_run(&w, 0, write_and_stay, &five);
        world_client_crash(&w.clients[0]);
        struct disk *d = world_disk(&w.bricks[2]);
        int fd = disk_open(d, AT_FDCWD, WORLD_BRICK_PATH "/big", O_WRONLY, 0);
        const struct iovec iov = {(void *)garbage, sizeof garbage};
        assert_int_equal(disk_pwritev(d, fd, &iov, 1, 150000), sizeof garbage);
        (void)disk_close(d, fd);
        assert_counter(&w, 0, "/big", -1, "1,0,0");
        world_pass(&w, 60 * NS_PER_SEC);
        assert_int_equal(heal_path(&w, 1, 0, "/big", NULL), 0);
        assert_healed(&w);
        world_close(&w);
}

static void the_longest_of_equal_copies_counts(void **state)
{
        struct stat st;
        (void)state;
        prepared(WORLD_REP3, 1, 36, NULL);
        assert_int_equal(disk_truncate(world_disk(&w.bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/big", 1000), 0);
        assert_int_equal(heal_path(&w, 0, 0, "/big", NULL), 0);
        assert_int_equal(disk_stat(world_disk(&w.bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/big", &st), 0);
        assert_int_equal(st.st_size, BIG);
        assert_healed(&w);
        world_close(&w);
}

static void a_writer_at_work_is_left_alone(void **state)
{
        struct afr_heal_report report = {0};
        uint64_t five = 5;
        (void)state;
        prepared(WORLD_REP3, 2, 37, NULL);
        world_run(&w, 0, write_and_stay, &five);
        assert_counter(&w, 0, "/big", -1, "1,0,0");
        assert_int_equal(heal_path(&w, 1, 0, "/big", &report), -EBUSY);
        world_pass(&w, 3 * NS_PER_SEC);
        assert_int_equal(heal_path(&w, 1, 0, "/big", NULL), 0);
        world_client_crash(&w.clients[0]);
        assert_healed(&w);
        world_close(&w);
}

/* ---- split-brain ------------------------------------------------------------------------------------------------- */

/* 0 and 1 have each been alone. */
static void split(void)
{
        uint64_t seven = 7, eight = 8;
        prepared(WORLD_REP3, 1, 38, "    option quorum-type none\n");
        heal_brick_down(&w, 1);
        heal_brick_down(&w, 2);
        world_run(&w, 0, rewrite_all, &seven);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_down(&w, 0);
        heal_brick_up(&w, 1);
        world_run(&w, 0, rewrite_all, &eight);
        world_run(&w, 0, append_more, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, 0);
        heal_brick_up(&w, 2);
}

static void split_brain_is_left_to_the_operator(void **state)
{
        (void)state;
        static const struct afr_heal_report wishes[] = {
                {.prefer = AFR_PREFER_SOURCE, .preferred_child = 0},
                {.prefer = AFR_PREFER_BIGGEST},
                {.prefer = AFR_PREFER_NEWEST},
        };
        for (unsigned k = 0; k < ELEMENTSOF(wishes); k++) {
                struct afr_heal_report report = {0}, wish = wishes[k];
                struct stat st;
                split();
                assert_int_equal(heal_path(&w, 0, 0, "/big", &report), -EIO);
                assert_string_equal(report.why, "data split-brain");
                assert_int_equal(heal_path(&w, 0, 0, "/big", &wish), 0);
                assert_healed(&w);
                assert_int_equal(disk_stat(world_disk(&w.bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/big", &st), 0);
                assert_int_equal(st.st_size, k == 0 ? BIG : BIG + 300000);
                report = (struct afr_heal_report){.prefer = AFR_PREFER_BIGGEST};
                assert_int_equal(heal_path(&w, 0, 0, "/big", &report), 0); /* nothing to do any more */
                world_close(&w);
        }
}

/* ---- others at the same time ------------------------------------------------------------------------------------- */

#define ROUNDS 120

static void write_here_and_there(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        uint64_t random = *(uint64_t *)arg;
        uint8_t data[3000];
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        for (unsigned k = 0; k < ROUNDS; k++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                pattern(data, sizeof data, random, k);
                assert_int_equal(call_write(self, c, f, (random >> 33) % BIG, data, sizeof data), sizeof data);
                if (k % 40 == 7)
                        assert_int_equal(call_ftruncate(self, c, f, BIG - (random >> 40) % 500000), 0);
                fibre_sleep(self, (random >> 50) % 3 * NS_PER_MSEC);
        }
        assert_int_equal(call_close(self, c, f), 0);
}

static void a_file_is_healed_beside_a_writer(void **state)
{
        (void)state;
        for (uint64_t seed = 40; seed < 44; seed++) {
                struct heal_begun b = {0};
                prepared(WORLD_REP3, 2, seed, NULL);
                missing(seed % 3, rewrite_all, 5);
                world_start(&w, 0, write_here_and_there, &seed);
                heal_begin(&w, 1, 0, "/big", &b);
                world_wait(&w);
                world_pass(&w, 3 * NS_PER_SEC);
                assert_int_equal(b.result, 0);
                assert_healed(&w);
                world_close(&w);
        }
}

static void of_two_healers_one_gives_way(void **state)
{
        struct heal_begun a = {0}, b = {0};
        (void)state;
        prepared(WORLD_REP3, 2, 45, NULL);
        missing(1, rewrite_all, 5);
        heal_begin(&w, 0, 0, "/big", &a);
        heal_begin(&w, 1, 0, "/big", &b);
        world_wait(&w);
        assert_true((a.result == 0 && b.result == -EBUSY) || (a.result == -EBUSY && b.result == 0) ||
                    (a.result == -EBUSY && b.result == -EBUSY));
        assert_int_equal(heal_path(&w, 0, 0, "/big", NULL), 0);
        assert_healed(&w);
        world_close(&w);
}

static void a_heal_that_was_broken_off_is_begun_again(void **state)
{
        (void)state;
        for (uint64_t ms = 1; ms < 40; ms += 6) {
                struct heal_begun b = {0};
                prepared(WORLD_REP3, 2, 46 + ms, NULL);
                missing(1, rewrite_all, 5);
                heal_begin(&w, 1, 0, "/big", &b);
                world_pass(&w, ms * NS_PER_MSEC);
                bool done = b.done;
                world_client_crash(&w.clients[1]);
                if (!done)
                        assert_counter(&w, 0, "/big", 1, "2,0,0");
                world_pass(&w, 60 * NS_PER_SEC);
                assert_int_equal(heal_path(&w, 0, 0, "/big", NULL), 0);
                assert_healed(&w);
                world_close(&w);
        }
}

static void a_lost_connection_ends_a_heal(void **state)
{
        (void)state;
        for (unsigned brick = 0; brick < 3; brick++) {
                struct heal_begun b = {0};
                prepared(WORLD_REP3, 2, 60 + brick, NULL);
                missing(1, rewrite_all, 5);
                heal_begin(&w, 1, 0, "/big", &b);
                world_pass(&w, 8 * NS_PER_MSEC);
                world_reset(&w, 1, brick);
                world_wait(&w);
                assert_int_equal(b.result, -ENOTCONN);
                assert_true(b.report.why[0]);
                heal_wait_up(&w, 1);
                assert_int_equal(heal_path(&w, 1, 0, "/big", NULL), 0);
                assert_healed(&w);
                world_close(&w);
        }
}

static void assert_on_disk(unsigned brick, uint64_t offset, const char *text, int n)
{
        uint8_t data[8];
        struct disk *d = world_disk(&w.bricks[brick]);
        int fd = disk_open(d, AT_FDCWD, WORLD_BRICK_PATH "/big", O_RDONLY, 0);
        const struct iovec iov = {data, (size_t)n};
        assert_int_equal(disk_preadv(d, fd, &iov, 1, (off_t)offset), n);
        assert_memory_equal(data, text, (size_t)n);
        (void)disk_close(d, fd);
}

/* While 1 is copied to from 0, 0 misses a change that 1 and 2 have: before it is copied, and what is copied is not the
 * change, or after. */
static void a_source_that_fell_behind_is_not_trusted(void **state)
{
        (void)state;
        for (uint64_t ms = 1; ms <= 8; ms++) {
                struct heal_begun b = {0};
                prepared(WORLD_REP3, 2, 64 + ms, NULL);
                missing(1, rewrite_all, 5);
                world_cut(&w, 0, 0, true);
                world_reset(&w, 0, 0);
                heal_begin(&w, 1, 0, "/big", &b);
                world_pass(&w, ms * NS_PER_MSEC);
                assert_false(b.done);
                world_run(&w, 0, touch_two_blocks, NULL);
                world_wait(&w);
                world_pass(&w, 3 * NS_PER_SEC);
                assert_true(b.done);
                world_cut(&w, 0, 0, false);
                heal_wait_up(&w, 0);
                assert_int_equal(heal_all(&w, 1), 0);
                assert_healed(&w);
                for (unsigned k = 0; k < 3; k++) {
                        assert_on_disk(k, 2 * 128 * KIB + 77, "12345", 5);
                        assert_on_disk(k, BIG - 1, "x", 1);
                }
                world_close(&w);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_a_brick_missed_is_copied),
                cmocka_unit_test(a_comparison_writes_only_what_differs),
                cmocka_unit_test(holes_stay_holes),
                cmocka_unit_test(an_arbiter_needs_no_data),
                cmocka_unit_test(heals_need_all_copies),
                cmocka_unit_test(what_a_dead_writer_left_is_made_equal),
                cmocka_unit_test(the_longest_of_equal_copies_counts),
                cmocka_unit_test(a_writer_at_work_is_left_alone),
                cmocka_unit_test(split_brain_is_left_to_the_operator),
                cmocka_unit_test(a_file_is_healed_beside_a_writer),
                cmocka_unit_test(of_two_healers_one_gives_way),
                cmocka_unit_test(a_heal_that_was_broken_off_is_begun_again),
                cmocka_unit_test(a_lost_connection_ends_a_heal),
                cmocka_unit_test(a_source_that_fell_behind_is_not_trusted),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
