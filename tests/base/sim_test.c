/* The simulator: repeatable runs, links, crashes, time; and the same program on it and on the epoll loop.
 *
 * Above 600 lines: one world of two nodes serves all these small tests. */
#include "check.h"
#include "fibre_stream.h"

#include "base/log.h"
#include "base/sim.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>

/* ---- an echo server, and clients that check it --------------------------------------------------------------------
 */

#define CLIENTS 5
#define MESSAGE 300000

struct echo {
        struct loop *server_loop, *client_loop;
        struct listener *listener;
        struct address at;
        unsigned served, checked;
        struct fibre_group clients;
        int error;
};

struct echo_conn {
        struct echo *echo;
        struct stream *stream;
};

static void echo_serve(struct fibre *self, void *arg)
{
        struct echo_conn *c = arg;
        struct pipe_end e = {.stream = c->stream};
        char block[4096];
        ssize_t n;
        while ((n = end_read(self, &e, block, sizeof block)) > 0)
                if (end_write_all(self, &e, block, (size_t)n) < 0)
                        break;
        stream_free(e.stream);
        c->echo->served++;
        free(c);
}

static void echo_accept(struct listener *l, struct stream *s, void *arg)
{
        struct echo *echo = arg;
        struct echo_conn *c = malloc(sizeof *c);
        assert_non_null(c);
        *c = (struct echo_conn){echo, s};
        assert_ok(fibre_start(echo->server_loop, "echo", echo_serve, c));
}

/* Sends the message in pieces of many sizes and reads each back. */
static int echo_exchange(struct fibre *self, struct pipe_end *e, const uint8_t *data, uint8_t *back)
{
        for (size_t at = 0; at < MESSAGE;) {
                size_t n = MIN((size_t)MESSAGE - at, (size_t)(1 + at % 7777));
                int r = end_write_all(self, e, data + at, n);
                if (r == 0)
                        r = end_read_all(self, e, back + at, n);
                if (r < 0)
                        return r;
                at += n;
        }
        return 0;
}

static void echo_client(struct fibre *self, void *arg)
{
        struct echo *echo = arg;
        _cleanup_free_ uint8_t *data = malloc(MESSAGE), *back = malloc(MESSAGE);
        struct pipe_end e;
        loop_random(echo->client_loop, data, MESSAGE);
        int r = end_connect(self, &echo->at, &e);
        if (r == 0) {
                r = echo_exchange(self, &e, data, back);
                stream_free(e.stream);
        }
        if (r == 0 && memcmp(data, back, MESSAGE) == 0)
                echo->checked++;
        echo->error = r < 0 ? r : echo->error;
}

static void echo_start(struct echo *echo, const char *at)
{
        struct address a;
        assert_ok(address_parse(at, &a));
        assert_ok(loop_listen(echo->server_loop, &a, echo_accept, echo, &echo->listener));
        for (int i = 0; i < CLIENTS; i++)
                assert_ok(fibre_group_start(echo->client_loop, &echo->clients, "client", echo_client, echo));
}

static bool echo_done(void *arg)
{
        const struct echo *echo = arg;
        return echo->clients.running == 0 && echo->served == CLIENTS;
}

static void echo_watch(struct fibre *self, void *arg)
{
        while (!echo_done(arg))
                fibre_sleep(self, NS_PER_MSEC);
        loop_stop(fibre_loop(self));
}

static void echo_on_epoll(void **state)
{
        struct echo echo = {0};
        assert_ok(loop_epoll_new(&echo.server_loop));
        echo.client_loop = echo.server_loop;
        echo_start(&echo, "127.0.0.1:0");
        assert_ok(listener_address(echo.server_loop, echo.listener, &echo.at));
        assert_ok(fibre_start(echo.server_loop, "watch", echo_watch, &echo));
        assert_ok(loop_run(echo.server_loop));
        assert_int_equal(echo.checked, CLIENTS);
        listener_free(echo.server_loop, echo.listener);
        loop_free(echo.server_loop);
}

static uint64_t echo_simulated(uint64_t seed)
{
        _cleanup_(sim_freep) struct sim *sim = NULL;
        struct sim_node *a, *b;
        assert_ok(sim_new(seed, &sim));
        assert_ok(sim_node_new(sim, "server", &a));
        assert_ok(sim_node_new(sim, "client", &b));
        struct echo echo = {.server_loop = sim_node_loop(a), .client_loop = sim_node_loop(b)};
        assert_ok(sim_address(sim, "server", 7, &echo.at));
        echo_start(&echo, "*:7");
        assert_ok(sim_run(sim, 600 * NS_PER_SEC, echo_done, &echo));
        assert_int_equal(echo.checked, CLIENTS);
        listener_free(echo.server_loop, echo.listener);
        return sim_trace_hash(sim);
}

static void echo_on_sim(void **state)
{
        (void)echo_simulated(1);
}

static void the_seed_decides_the_trace(void **state)
{
        uint64_t first = echo_simulated(42);
        assert_true(first == echo_simulated(42));
        assert_true(first != echo_simulated(43));
}

/* ---- a world of two nodes for the rest ----------------------------------------------------------------------------
 */

static struct sim *sim;
static struct sim_node *node_a, *node_b;
static struct loop *loop_a, *loop_b;
static struct listener *listener;
static struct stream *server_end, *client_end;
static unsigned server_events, client_events;
static struct address at_a;

static void on_accept(struct listener *l, struct stream *s, void *arg);

static int set_up(void **state)
{
        server_end = client_end = NULL;
        server_events = client_events = 0;
        if (sim_new(5, &sim) < 0 || sim_node_new(sim, "a", &node_a) < 0 || sim_node_new(sim, "b", &node_b) < 0)
                return -1;
        loop_a = sim_node_loop(node_a);
        loop_b = sim_node_loop(node_b);
        struct address any;
        return address_parse("*:24007", &any) < 0 || sim_address(sim, "a", 24007, &at_a) < 0
                       ? -1
                       : loop_listen(loop_a, &any, on_accept, NULL, &listener);
}

static int tear_down(void **state)
{
        server_end = stream_free(server_end);
        client_end = stream_free(client_end);
        listener = listener_free(loop_a, listener);
        sim = sim_free(sim);
        return 0;
}

static bool nothing(void *arg)
{
        return false;
}

/* Runs the world for NS of its time. */
static void pass(uint64_t ns)
{
        int r = sim_run(sim, sim_now(sim) + ns, nothing, NULL);
        assert_true(r == -ETIMEDOUT || r == -ENODATA);
}

static void on_server(struct stream *s, unsigned events, void *arg)
{
        server_events |= events;
        stream_watch(s, 0, on_server, NULL);
}

static void on_client(struct stream *s, unsigned events, void *arg)
{
        client_events |= events;
        stream_watch(s, 0, on_client, NULL);
}

static void on_accept(struct listener *l, struct stream *s, void *arg)
{
        server_end = s;
        stream_watch(s, STREAM_READABLE, on_server, NULL);
}

static void begin_connect(void)
{
        assert_ok(loop_connect(loop_b, &at_a, NULL, &client_end));
        stream_watch(client_end, STREAM_WRITABLE, on_client, NULL);
}

static void connect_pair(void)
{
        begin_connect();
        pass(NS_PER_SEC);
        assert_non_null(server_end);
        assert_int_equal(client_events, STREAM_WRITABLE);
        client_events = 0;
        stream_watch(client_end, STREAM_READABLE, on_client, NULL);
}

static ssize_t send_text(struct stream *s, const char *text)
{
        size_t n = strlen(text), done = 0;
        while (done < n) {
                ssize_t r = stream_writev(s, &(struct iovec){(char *)text + done, n - done}, 1);
                if (r < 0)
                        return r;
                done += (size_t)r;
        }
        return (ssize_t)done;
}

static ssize_t read_some(struct stream *s, char *to, size_t n)
{
        memset(to, 0, n);
        return stream_readv(s, &(struct iovec){to, n - 1}, 1);
}

static void data_crosses_after_its_delay(void **state)
{
        char text[16];
        connect_pair();
        assert_int_equal(send_text(client_end, "hello"), 5);
        pass(40 * NS_PER_USEC);
        assert_int_equal(read_some(server_end, text, sizeof text), -EAGAIN);
        pass(NS_PER_SEC);
        assert_int_equal(server_events, STREAM_READABLE);
        assert_int_equal(read_some(server_end, text, sizeof text), 5);
        assert_string_equal(text, "hello");
}

static void peers_are_known(void **state)
{
        struct address peer;
        char text[ADDRESS_TEXT_MAX];
        connect_pair();
        assert_ok(stream_peer(server_end, &peer));
        assert_true(starts_with(address_format(&peer, text), "198.18.0.2:"));
        assert_true(address_port(&peer) >= 49152);
        assert_ok(stream_peer(client_end, &peer));
        assert_string_equal(address_format(&peer, text), "198.18.0.1:24007");
        assert_int_equal(stream_fd(client_end), -ENOTSUP);
}

static void close_is_seen_behind_the_data(void **state)
{
        char text[16];
        connect_pair();
        assert_int_equal(send_text(client_end, "bye"), 3);
        client_end = stream_free(client_end);
        pass(NS_PER_SEC);
        assert_int_equal(server_events, STREAM_READABLE | STREAM_HANGUP);
        assert_int_equal(read_some(server_end, text, sizeof text), 3);
        assert_int_equal(read_some(server_end, text, sizeof text), 0);
        assert_int_equal(send_text(server_end, "x"), -EPIPE);
}

static void connect_is_refused_without_listener(void **state)
{
        char text[4];
        listener = listener_free(loop_a, listener);
        begin_connect();
        pass(NS_PER_SEC);
        assert_true(client_events & STREAM_HANGUP);
        assert_int_equal(read_some(client_end, text, sizeof text), -ECONNREFUSED);
}

static void windows_are_finite(void **state)
{
        static char block[65536];
        connect_pair();
        size_t sent = 0, got = 0;
        ssize_t r;
        while ((r = stream_writev(client_end, &(struct iovec){block, sizeof block}, 1)) > 0)
                sent += (size_t)r;
        assert_int_equal(r, -EAGAIN);
        pass(NS_PER_SEC);
        assert_int_equal(client_events, 0);
        stream_watch(client_end, STREAM_WRITABLE, on_client, NULL);
        pass(NS_PER_SEC);
        assert_int_equal(client_events, 0);
        while ((r = stream_readv(server_end, &(struct iovec){block, sizeof block}, 1)) > 0)
                got += (size_t)r;
        assert_int_equal(got, sent);
        pass(NS_PER_SEC);
        assert_int_equal(client_events, STREAM_WRITABLE);
}

static void a_cut_link_is_silence_and_then_goes_on(void **state)
{
        char text[16];
        const struct sim_link cut = {.delay_min = 1000, .delay_max = 1000, .cut = true};
        const struct sim_link mended = {.delay_min = 1000, .delay_max = 1000};
        connect_pair();
        sim_link_set(sim, node_a, node_b, &cut);
        assert_int_equal(send_text(client_end, "late"), 4);
        pass(3600 * NS_PER_SEC);
        assert_int_equal(server_events | client_events, 0);
        sim_link_set(sim, node_b, node_a, &mended);
        pass(NS_PER_SEC);
        assert_int_equal(read_some(server_end, text, sizeof text), 4);
        assert_string_equal(text, "late");
}

static void what_was_on_the_way_waits_for_the_cut(void **state)
{
        char text[16];
        const struct sim_link slow = {.delay_min = NS_PER_SEC, .delay_max = NS_PER_SEC};
        const struct sim_link cut = {.delay_min = NS_PER_SEC, .delay_max = NS_PER_SEC, .cut = true};
        connect_pair();
        sim_link_set(sim, node_a, node_b, &slow);
        assert_int_equal(send_text(client_end, "halfway"), 7);
        pass(NS_PER_SEC / 2);
        sim_link_set(sim, node_a, node_b, &cut);
        pass(60 * NS_PER_SEC);
        assert_int_equal(read_some(server_end, text, sizeof text), -EAGAIN);
        sim_link_set(sim, node_a, node_b, &slow);
        pass(2 * NS_PER_SEC);
        assert_int_equal(read_some(server_end, text, sizeof text), 7);
}

static void a_reset_hangs_up_both_ends_even_when_cut(void **state)
{
        char text[16];
        connect_pair();
        sim_link_set(sim, node_a, node_b, &(struct sim_link){.cut = true});
        sim_reset(sim, node_a, node_b);
        pass(NS_PER_SEC);
        assert_true(server_events & STREAM_HANGUP);
        assert_true(client_events & STREAM_HANGUP);
        assert_int_equal(read_some(server_end, text, sizeof text), -ECONNRESET);
        assert_int_equal(read_some(client_end, text, sizeof text), -ECONNRESET);
        assert_int_equal(send_text(client_end, "x"), -EPIPE);
}

static void a_drop_breaks_the_connection(void **state)
{
        connect_pair();
        sim_link_set(sim, node_a, node_b, &(struct sim_link){.delay_max = 1000, .drop_per_million = 1000000});
        assert_int_equal(send_text(client_end, "lost"), 4);
        pass(NS_PER_SEC);
        assert_true(server_events & STREAM_HANGUP);
        assert_true(client_events & STREAM_HANGUP);
}

/* ---- crashes ------------------------------------------------------------------------------------------------------
 */

static unsigned ran;

static void count_timer(struct timer *t)
{
        ran++;
}

static void count_post(void *arg)
{
        ran++;
}

static struct fibre_event never_set;

static void sleeping_fibre(struct fibre *self, void *arg)
{
        void *owned = malloc(100); /* lost with the fibre: not a leak of the program */
        (void)fibre_event_wait(self, &never_set, NS_PER_SEC);
        ran++;
        free(owned);
}

static void a_crash_stops_everything_on_the_node(void **state)
{
        char text[16];
        struct timer t = {0};
        ran = 0;
        never_set = (struct fibre_event){0};
        connect_pair();
        timer_start(loop_a, &t, NS_PER_SEC, count_timer);
        assert_ok(fibre_start(loop_a, "sleeper", sleeping_fibre, NULL));
        pass(NS_PER_MSEC);
        assert_ok(loop_post(loop_a, count_post, NULL));
        sim_node_crash(node_a);
        assert_false(sim_node_up(node_a));
        assert_false(timer_running(&t));
        pass(10 * NS_PER_SEC);
        assert_int_equal(ran, 0);
        assert_int_equal(server_events, 0); /* the dead see nothing */
        assert_true(client_events & STREAM_HANGUP);
        assert_int_equal(read_some(client_end, text, sizeof text), -ECONNRESET);
        fibre_event_set(&never_set); /* its waiter is gone: nothing happens */

        timer_start(loop_a, &t, 1, count_timer);
        assert_false(timer_running(&t));
        assert_int_not_equal(loop_post(loop_a, count_post, NULL), 0);
        assert_int_not_equal(loop_connect(loop_a, &at_a, NULL, &server_end), 0);
        pass(NS_PER_SEC);
        assert_int_equal(ran, 0);
}

static void a_node_works_again_after_restart(void **state)
{
        connect_pair();
        sim_node_crash(node_a);
        client_end = stream_free(client_end);
        begin_connect();
        pass(NS_PER_SEC);
        assert_true(client_events & STREAM_HANGUP); /* refused while down */
        client_end = stream_free(client_end);

        sim_node_restart(node_a);
        assert_true(sim_node_up(node_a));
        server_end = stream_free(server_end);
        listener = listener_free(loop_a, listener);
        struct address any;
        assert_ok(address_parse("*:24007", &any));
        assert_ok(loop_listen(loop_a, &any, on_accept, NULL, &listener));
        client_events = 0;
        connect_pair();
        assert_int_equal(send_text(client_end, "again"), 5);
        pass(NS_PER_SEC);
        assert_int_equal(server_events, STREAM_READABLE);
}

static void crash_own_node(struct fibre *self, void *arg)
{
        ran++;
        sim_node_crash(node_a);
        assert_ok(fibre_start(loop_a, "ghost", crash_own_node, NULL));
        fibre_sleep(self, 1);
        ran++;
}

static void a_fibre_may_crash_its_own_node(void **state)
{
        ran = 0;
        for (int i = 0; i < 2; i++)
                assert_ok(fibre_start(loop_a, "crasher", crash_own_node, NULL));
        pass(NS_PER_SEC);
        assert_int_equal(ran, 1); /* neither the rest of it nor the other one */
        sim_node_restart(node_a);
        pass(NS_PER_SEC);
        assert_int_equal(ran, 1);
}

static void a_crash_keeps_a_prefix_of_what_was_sent(void **state)
{
        char text[32];
        connect_pair();
        assert_int_equal(send_text(server_end, "0123456789"), 10);
        assert_int_equal(send_text(server_end, "abcdefghij"), 10);
        sim_node_crash(node_a);
        pass(NS_PER_SEC);
        ssize_t n = read_some(client_end, text, sizeof text);
        assert_true(n == -ECONNRESET || (n > 0 && memcmp(text, "0123456789abcdefghij", (size_t)n) == 0));
}

/* ---- time and the rest --------------------------------------------------------------------------------------------
 */

static bool slept;

static void sleep_an_hour(struct fibre *self, void *arg)
{
        uint64_t began = loop_now(fibre_loop(self)), wall = loop_realtime(fibre_loop(self));
        fibre_sleep(self, 3600 * NS_PER_SEC);
        assert_true(loop_now(fibre_loop(self)) - began >= 3600 * NS_PER_SEC);
        assert_true(loop_now(fibre_loop(self)) - began < 3601 * NS_PER_SEC);
        assert_true(loop_realtime(fibre_loop(self)) - wall == loop_now(fibre_loop(self)) - began);
        slept = true;
}

static bool is_true(void *arg)
{
        return *(const bool *)arg;
}

static void an_hour_takes_no_time(void **state)
{
        struct timespec began, ended;
        clock_gettime(CLOCK_MONOTONIC, &began);
        slept = false;
        assert_ok(fibre_start(loop_a, "sleeper", sleep_an_hour, NULL));
        assert_int_equal(sim_run(sim, 60 * NS_PER_SEC, is_true, &slept), -ETIMEDOUT);
        assert_int_equal(sim_now(sim), 60 * NS_PER_SEC);
        assert_ok(sim_run(sim, 7200 * NS_PER_SEC, is_true, &slept));
        clock_gettime(CLOCK_MONOTONIC, &ended);
        assert_true(ended.tv_sec - began.tv_sec < 60);
        bool no = false;
        assert_int_equal(sim_run(sim, 7200 * NS_PER_SEC, is_true, &no), -ENODATA);
}

static void post_again(void *arg)
{
        assert_ok(loop_post(loop_a, post_again, NULL));
}

static void a_spinning_program_meets_its_limit(void **state)
{
        assert_ok(loop_post(loop_a, post_again, NULL));
        assert_int_equal(sim_run(sim, NS_PER_MSEC, nothing, NULL), -ETIMEDOUT);
}

static void unix_paths_are_private_to_a_node(void **state)
{
        struct address path;
        struct listener *l;
        assert_ok(address_parse("unix:/run/x", &path));
        assert_ok(loop_listen(loop_b, &path, on_accept, NULL, &l));
        assert_int_equal(loop_connect(loop_a, &path, NULL, &client_end), -ENOENT);
        assert_ok(loop_connect(loop_b, &path, NULL, &client_end));
        stream_watch(client_end, STREAM_WRITABLE, on_client, NULL);
        pass(NS_PER_SEC);
        assert_int_equal(client_events, STREAM_WRITABLE);
        assert_non_null(server_end);
        listener_free(loop_b, l);
}

static void listening_errors(void **state)
{
        struct address at;
        struct listener *l;
        assert_int_equal(loop_listen(loop_a, &at_a, on_accept, NULL, &l), -EADDRINUSE);
        assert_int_equal(loop_listen(loop_b, &at_a, on_accept, NULL, &l), -EADDRNOTAVAIL);
        assert_ok(address_parse("127.0.0.1:0", &at));
        assert_ok(loop_listen(loop_a, &at, on_accept, NULL, &l));
        assert_ok(listener_address(loop_a, l, &at));
        assert_true(address_port(&at) >= 49152);
        listener_free(loop_a, l);
        assert_ok(address_parse("192.0.2.1:1", &at));
        assert_int_equal(loop_connect(loop_a, &at, NULL, &client_end), -ENETUNREACH);
        struct sim_node *n;
        assert_int_equal(sim_node_new(sim, "a", &n), -EEXIST);
        assert_int_equal(sim_address(sim, "nobody", 1, &at), -ENOENT);
}

/* In a child, whose end no leak check sees. */
static void forget_a_stream(int log_fd)
{
        struct sim *world;
        struct sim_node *n;
        struct stream *s;
        struct address at;
        log_init("test", log_fd, false);
        if (sim_new(1, &world) == 0 && sim_node_new(world, "n", &n) == 0 && sim_address(world, "n", 1, &at) == 0 &&
            loop_connect(sim_node_loop(n), &at, NULL, &s) == 0)
                sim_free(world);
        _exit(0);
}

static void a_forgotten_stream_is_reported(void **state)
{
        int fds[2], status;
        assert_ok(pipe2(fds, O_CLOEXEC));
        pid_t pid = fork();
        if (pid == 0)
                forget_a_stream(fds[1]);
        close(fds[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        char text[1024] = "";
        assert_true(read(fds[0], text, sizeof text - 1) > 0);
        assert_non_null(strstr(text, "1 streams were not freed"));
        close(fds[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(echo_on_epoll),
                cmocka_unit_test(echo_on_sim),
                cmocka_unit_test(the_seed_decides_the_trace),
                TEST(data_crosses_after_its_delay),
                TEST(peers_are_known),
                TEST(close_is_seen_behind_the_data),
                TEST(connect_is_refused_without_listener),
                TEST(windows_are_finite),
                TEST(a_cut_link_is_silence_and_then_goes_on),
                TEST(what_was_on_the_way_waits_for_the_cut),
                TEST(a_reset_hangs_up_both_ends_even_when_cut),
                TEST(a_drop_breaks_the_connection),
                TEST(a_crash_stops_everything_on_the_node),
                TEST(a_node_works_again_after_restart),
                TEST(a_fibre_may_crash_its_own_node),
                TEST(a_crash_keeps_a_prefix_of_what_was_sent),
                TEST(an_hour_takes_no_time),
                TEST(a_spinning_program_meets_its_limit),
                TEST(unix_paths_are_private_to_a_node),
                TEST(listening_errors),
                TEST(a_forgotten_stream_is_reported),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
