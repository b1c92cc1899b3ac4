/* Fibres on the epoll loop: scheduling, waits, limits, stacks. */
#include "check.h"

#include "base/fibre.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* ThreadSanitizer has room for some thousand fibres only. */
#ifdef CHECK_TSAN
#define MANY 500
#else
#define MANY 10000
#endif

static struct loop *loop;
static char trail[64];
static size_t trail_len;

static int set_up(void **state)
{
        trail_len = 0;
        memset(trail, 0, sizeof trail);
        return loop_epoll_new(&loop);
}

static int tear_down(void **state)
{
        loop = loop_free(loop);
        return 0;
}

static void mark(char c)
{
        trail[trail_len++] = c;
}

static void run(fibre_fn fn, void *arg)
{
        assert_ok(fibre_start(loop, "test", fn, arg));
        assert_ok(loop_run(loop));
}

/* ---- scheduling ---------------------------------------------------------------------------------------------------
 */

static void three_turns(struct fibre *self, void *arg)
{
        const char *letter = arg;
        assert_ptr_equal(fibre_loop(self), loop);
        assert_string_equal(fibre_name(self), letter);
        for (int i = 0; i < 3; i++) {
                mark(*letter);
                fibre_yield(self);
        }
        if (*letter == 'c')
                loop_stop(loop);
}

static void fibres_take_turns(void **state)
{
        static char letters[][2] = {"a", "b", "c"};
        for (int i = 0; i < 3; i++)
                assert_ok(fibre_start(loop, letters[i], three_turns, letters[i]));
        assert_int_equal(trail_len, 0); /* nothing runs before the loop does */
        assert_ok(loop_run(loop));
        assert_string_equal(trail, "abcabcabc");
}

static void suspend_after_wake(struct fibre *self, void *arg)
{
        fibre_wake(self);
        fibre_wake(self);
        fibre_suspend(self); /* returns at once */
        mark('x');
        fibre_yield(self);
        loop_stop(loop);
}

static void an_early_wake_is_not_lost(void **state)
{
        run(suspend_after_wake, NULL);
        assert_string_equal(trail, "x");
}

static void sleep_ms(struct fibre *self, void *arg)
{
        fibre_sleep(self, (uint64_t)(uintptr_t)arg * NS_PER_MSEC);
        mark((char)('0' + (uintptr_t)arg));
}

static void sleepers(struct fibre *self, void *arg)
{
        struct fibre_group g = {0};
        static const uintptr_t times[] = {5, 1, 3};
        for (size_t i = 0; i < ELEMENTSOF(times); i++)
                assert_ok(fibre_group_start(loop, &g, "sleeper", sleep_ms, (void *)times[i]));
        fibre_group_wait_all(self, &g);
        loop_stop(loop);
}

static void sleepers_wake_by_time(void **state)
{
        run(sleepers, NULL);
        assert_string_equal(trail, "135");
}

static void wake_posted(void *arg)
{
        fibre_wake(arg);
}

static void *wake_from_thread(void *arg)
{
        assert_ok(loop_post(loop, wake_posted, arg));
        return NULL;
}

static void wait_for_thread(struct fibre *self, void *arg)
{
        pthread_t thread;
        assert_ok(pthread_create(&thread, NULL, wake_from_thread, self));
        fibre_suspend(self);
        mark('w');
        pthread_join(thread, NULL);
        loop_stop(loop);
}

static void another_thread_wakes_through_the_loop(void **state)
{
        run(wait_for_thread, NULL);
        assert_string_equal(trail, "w");
}

/* ---- events -------------------------------------------------------------------------------------------------------
 */

static void set_event(struct fibre *self, void *arg)
{
        mark('s');
        fibre_event_set(arg);
}

static void wait_events(struct fibre *self, void *arg)
{
        struct fibre_event never = {0}, soon = {0};
        uint64_t began = loop_now(loop);
        assert_int_equal(fibre_event_wait(self, &never, 2 * NS_PER_MSEC), -ETIMEDOUT);
        assert_true(loop_now(loop) - began >= 2 * NS_PER_MSEC);
        assert_int_equal(fibre_event_wait(self, &never, 0), -ETIMEDOUT);

        assert_ok(fibre_start(loop, "setter", set_event, &soon));
        assert_ok(fibre_event_wait(self, &soon, 10 * NS_PER_SEC));
        mark('w');
        assert_ok(fibre_event_wait(self, &soon, 0));
        assert_ok(fibre_event_wait(self, &soon, UINT64_MAX));
        loop_stop(loop);
}

static void events_and_time_limits(void **state)
{
        run(wait_events, NULL);
        assert_string_equal(trail, "sw");
}

/* ---- groups -------------------------------------------------------------------------------------------------------
 */

static void quorum(struct fibre *self, void *arg)
{
        struct fibre_group g = {0};
        static const uintptr_t times[] = {1, 2, 200};
        uint64_t began = loop_now(loop);
        for (size_t i = 0; i < ELEMENTSOF(times); i++)
                assert_ok(fibre_group_start(loop, &g, "member", sleep_ms, (void *)times[i]));
        fibre_group_wait(self, &g, 2);
        assert_int_equal(g.finished, 2);
        assert_int_equal(g.running, 1);
        assert_true(loop_now(loop) - began < 200 * NS_PER_MSEC);
        fibre_group_wait_all(self, &g);
        assert_int_equal(g.finished, 3);
        fibre_group_wait(self, &g, 99); /* nobody runs: at once */
        loop_stop(loop);
}

static void a_group_waits_for_a_quorum_then_for_all(void **state)
{
        run(quorum, NULL);
}

/* ---- mutex --------------------------------------------------------------------------------------------------------
 */

static struct fibre_mutex mutex;
static bool inside;

static void locker(struct fibre *self, void *arg)
{
        fibre_mutex_lock(self, &mutex);
        assert_false(inside);
        inside = true;
        mark((char)('0' + (uintptr_t)arg));
        fibre_yield(self);
        fibre_sleep(self, NS_PER_MSEC / 10);
        inside = false;
        fibre_mutex_unlock(self, &mutex);
}

static void lockers(struct fibre *self, void *arg)
{
        struct fibre_group g = {0};
        for (uintptr_t i = 0; i < 6; i++)
                assert_ok(fibre_group_start(loop, &g, "locker", locker, (void *)i));
        fibre_group_wait_all(self, &g);
        assert_null(mutex.holder);
        fibre_mutex_lock(self, &mutex);
        fibre_mutex_unlock(self, &mutex);
        loop_stop(loop);
}

static void a_mutex_is_first_come_first_served(void **state)
{
        run(lockers, NULL);
        assert_string_equal(trail, "012345");
}

/* ---- limits -------------------------------------------------------------------------------------------------------
 */

static bool released;

static void wait_for_release(struct fibre *self, void *arg)
{
        volatile char on_stack[256];
        memset((char *)on_stack, (int)(uintptr_t)arg & 0x7f, sizeof on_stack);
        while (!released)
                fibre_suspend(self);
        assert_int_equal(on_stack[255], (uintptr_t)arg & 0x7f);
}

static struct fibre *sleeping[MANY];

static void sleep_in_crowd(struct fibre *self, void *arg)
{
        sleeping[(uintptr_t)arg] = self;
        wait_for_release(self, arg);
}

static void crowd(struct fibre *self, void *arg)
{
        struct fibre_group g = {0};
        struct fibre_stats stats;
        released = false;
        for (uintptr_t i = 0; i < MANY; i++)
                assert_ok(fibre_group_start(loop, &g, "one of many", sleep_in_crowd, (void *)i));
        fibre_yield(self);
        fibre_get_stats(loop, &stats);
        assert_int_equal(stats.live, MANY + 1);
        released = true;
        for (int i = 0; i < MANY; i++)
                fibre_wake(sleeping[i]);
        fibre_group_wait_all(self, &g);
        fibre_get_stats(loop, &stats);
        assert_int_equal(stats.live, 1);
        assert_int_equal(stats.peak, MANY + 1);
        assert_true(stats.pooled > 0 && stats.pooled < MANY);
        assert_true(stats.switches >= 2 * MANY);
        loop_stop(loop);
}

static void ten_thousand_live_fibres(void **state)
{
        loop_set_stall_limit(loop, 0, false);
        run(crowd, NULL);
}

static void stop_at_once(struct fibre *self, void *arg)
{
        loop_stop(loop);
}

static void the_limit_is_an_error(void **state)
{
        fibre_set_limit(loop, 3);
        struct fibre_group g = {0};
        for (int i = 0; i < 3; i++)
                assert_ok(fibre_start(loop, "x", stop_at_once, NULL));
        assert_int_equal(fibre_start(loop, "x", stop_at_once, NULL), -EAGAIN);
        assert_int_equal(fibre_group_start(loop, &g, "x", stop_at_once, NULL), -EAGAIN);
        assert_int_equal(g.running, 0);
        assert_ok(loop_run(loop));
        assert_ok(fibre_start(loop, "x", stop_at_once, NULL));
        assert_ok(loop_run(loop));
}

/* ---- stacks -------------------------------------------------------------------------------------------------------
 */

static void use_stack(struct fibre *self, void *arg)
{
        volatile char deep[24 * KIB];
        for (size_t i = 0; i < sizeof deep; i++)
                deep[i] = 1;
        loop_stop(loop);
}

static void high_water_shows_the_deepest_use(void **state)
{
        struct fibre_stats stats;
        run(stop_at_once, NULL);
        fibre_get_stats(loop, &stats);
        assert_true(stats.stack_high_water > 0 && stats.stack_high_water < 20 * KIB);
        /* A pooled stack is measured every 32nd time; what a use left behind is still seen then. */
        run(use_stack, NULL);
        for (int i = 0; i < 32; i++)
                run(stop_at_once, NULL);
        fibre_get_stats(loop, &stats);
#ifndef CHECK_ASAN /* may keep such arrays elsewhere */
        assert_in_range(stats.stack_high_water, 24 * KIB, 40 * KIB);
#endif
        assert_int_equal(stats.pooled, 1);
}

static volatile int never = 0;

__attribute__((noinline)) static size_t recurse(size_t depth)
{
        volatile char frame[512];
        frame[0] = (char)depth;
        if (never)
                return 0;
        return recurse(depth + 1) + (size_t)frame[0];
}

static void overflow(struct fibre *self, void *arg)
{
        (void)recurse(1);
}

static void the_guard_page_ends_an_overflow(void **state)
{
        pid_t pid = fork();
        if (pid == 0) {
                signal(SIGSEGV, SIG_DFL); /* sanitizers and cmocka have handlers */
                (void)fibre_start(loop, "overflow", overflow, NULL);
                (void)loop_run(loop);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void suspend_for_ever(struct fibre *self, void *arg)
{
        struct fibre_event e = {0};
        loop_stop(loop);
        (void)fibre_event_wait(self, &e, 1000 * NS_PER_SEC); /* with a timer on the fibre's stack */
}

static void unfinished_fibres_are_reported(void **state)
{
        int fds[2];
        assert_ok(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
        log_init("test", fds[1], false);
        run(suspend_for_ever, NULL);
        loop = loop_free(loop);
        log_init("test", 2, false);
        char text[1024] = "";
        assert_true(read(fds[0], text, sizeof text - 1) > 0);
        assert_non_null(strstr(text, "1 fibres had not finished when their loop was freed, one of them is 'test'"));
        close(fds[0]);
        close(fds[1]);
}

/* ---- what the switch keeps ----------------------------------------------------------------------------------------
 */

static void compute(struct fibre *self, void *arg)
{
        double x = (double)(uintptr_t)arg, sum = 0;
        uint64_t a = (uintptr_t)arg, b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13;
        for (int i = 0; i < 1000; i++) {
                sum += x / (i + 1);
                a += b ^ (uint64_t)i, b += c, c += d, d += e, e += f, f += a;
                if (arg && i % 10 == 0 && *(bool *)&released)
                        fibre_yield(self);
        }
        mark((char)((a ^ (uint64_t)(sum * 1000)) % 26 + 'a'));
}

static void computers(struct fibre *self, void *arg)
{
        for (int round = 0; round < 2; round++) {
                struct fibre_group g = {0};
                released = round == 1;
                for (uintptr_t i = 1; i <= 8; i++)
                        assert_ok(fibre_group_start(loop, &g, "computer", compute, (void *)i));
                fibre_group_wait_all(self, &g);
        }
        loop_stop(loop);
}

static void registers_survive_switches(void **state)
{
        run(computers, NULL);
        assert_int_equal(trail_len, 16);
        assert_memory_equal(trail, trail + 8, 8);
}

static void print_float(struct fibre *self, void *arg)
{
        char text[64]; /* vector instructions of the C library need an aligned stack */
        (void)snprintf(text, sizeof text, "%.3f %Lf", 2.5, (long double)1.25);
        assert_string_equal(text, "2.500 1.250000");
        assert_int_equal((uintptr_t)__builtin_frame_address(0) % 16, 0);
        loop_stop(loop);
}

static void the_stack_is_aligned(void **state)
{
        run(print_float, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(fibres_take_turns),
                TEST(an_early_wake_is_not_lost),
                TEST(sleepers_wake_by_time),
                TEST(another_thread_wakes_through_the_loop),
                TEST(events_and_time_limits),
                TEST(a_group_waits_for_a_quorum_then_for_all),
                TEST(a_mutex_is_first_come_first_served),
                TEST(ten_thousand_live_fibres),
                TEST(the_limit_is_an_error),
                TEST(high_water_shows_the_deepest_use),
                TEST(the_guard_page_ends_an_overflow),
                TEST(unfinished_fibres_are_reported),
                TEST(registers_survive_switches),
                TEST(the_stack_is_aligned),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
