/* The epoll loop: timers, posts, sockets, foreign descriptors, stalls. Ports are chosen by the kernel on 127.0.0.1.
 *
 * Above 600 lines: many small tests over one set of helpers. */
#include "check.h"

#include "base/log.h"
#include "base/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEADLINE (20 * NS_PER_SEC)

static struct loop *loop;
static struct timer deadline;

static void on_deadline(struct timer *t)
{
        abort();
}

static int set_up(void **state)
{
        memset(&deadline, 0, sizeof deadline);
        if (loop_epoll_new(&loop) < 0)
                return -1;
        timer_start(loop, &deadline, DEADLINE, on_deadline);
        return 0;
}

static int tear_down(void **state)
{
        timer_stop(&deadline);
        loop = loop_free(loop);
        return 0;
}

/* ---- timers -------------------------------------------------------------------------------------------------------
 */

#define TIMERS 500

static struct {
        struct timer t;
        bool fired;
} timers[TIMERS];
static uint64_t last_due, last_seq;
static unsigned n_fired, n_expected;

static void check_order(struct timer *t)
{
        assert_true(t->due > last_due || (t->due == last_due && t->seq > last_seq));
        assert_true(loop_now(loop) >= t->due);
        assert_false(timer_running(t));
        last_due = t->due;
        last_seq = t->seq;
        if (++n_fired == n_expected)
                loop_stop(loop);
}

static void timers_fire_in_order(void **state)
{
        unsigned random = 1;
        last_due = last_seq = n_fired = 0;
        n_expected = 0;
        memset(timers, 0, sizeof timers);
        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < TIMERS; i++) {
                        random = random * 1103515245 + 12345;
                        timer_start(loop, &timers[i].t, (random >> 16) % 20 * NS_PER_MSEC / 2, check_order);
                }
        }
        for (int i = 0; i < TIMERS; i++) {
                if (i % 3 == 0)
                        timer_stop(&timers[i].t);
                else
                        n_expected++;
        }
        assert_ok(loop_run(loop));
        for (int i = 0; i < TIMERS; i++)
                assert_false(timer_running(&timers[i].t));
}

static int ticks;

static void tick(struct timer *t)
{
        if (++ticks == 3)
                loop_stop(loop);
        else
                timer_start(loop, t, 0, tick);
}

static void a_timer_may_restart_itself(void **state)
{
        struct timer t = {0};
        ticks = 0;
        timer_start(loop, &t, 0, tick);
        assert_ok(loop_run(loop));
        assert_int_equal(ticks, 3);
        timer_stop(&t);
        timer_stop(&t);
}

static void stop_running_loop(struct timer *t)
{
        loop_stop(loop);
}

static void a_timer_waits_its_time(void **state)
{
        struct timer t = {0}, never = {0};
        uint64_t began = loop_now(loop);
        timer_start(loop, &never, UINT64_MAX, on_deadline);
        timer_start(loop, &t, 3 * NS_PER_MSEC, stop_running_loop);
        assert_ok(loop_run(loop));
        assert_true(loop_now(loop) - began >= 3 * NS_PER_MSEC);
        timer_stop(&never);
}

static void freeing_the_loop_leaves_timers_idle(void **state)
{
        struct timer t = {0};
        struct loop *l;
        assert_ok(loop_epoll_new(&l));
        timer_start(l, &t, NS_PER_SEC, stop_running_loop);
        assert_true(timer_running(&t));
        loop_free(l);
        assert_false(timer_running(&t));
        timer_stop(&t);
}

/* ---- posts --------------------------------------------------------------------------------------------------------
 */

#define POSTS 1000

static unsigned posted[2];

static void count_post(void *arg)
{
        unsigned which = (unsigned)(uintptr_t)arg / POSTS, number = (unsigned)(uintptr_t)arg % POSTS;
        assert_int_equal(posted[which], number); /* in the order of posting */
        posted[which]++;
        if (posted[0] == POSTS && posted[1] == POSTS)
                loop_stop(loop);
}

static void *poster(void *arg)
{
        for (uintptr_t i = 0; i < POSTS; i++)
                assert_ok(loop_post(loop, count_post, (void *)((uintptr_t)arg * POSTS + i)));
        return NULL;
}

static void posts_from_other_threads(void **state)
{
        pthread_t threads[2];
        memset(posted, 0, sizeof posted);
        for (uintptr_t i = 0; i < 2; i++)
                assert_ok(pthread_create(&threads[i], NULL, poster, (void *)i));
        assert_ok(loop_run(loop));
        for (int i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
}

static void *post_stop(void *arg)
{
        assert_ok(loop_post(loop, (post_fn)arg, NULL));
        return NULL;
}

static void stop_now(void *arg)
{
        loop_stop(loop);
}

static void a_post_wakes_a_sleeping_loop(void **state)
{
        for (int i = 0; i < 50; i++) {
                pthread_t thread;
                assert_ok(pthread_create(&thread, NULL, post_stop, (void *)stop_now));
                assert_ok(loop_run(loop));
                pthread_join(thread, NULL);
        }
}

static int order[4], order_n;

static void note(void *arg)
{
        order[order_n++] = (int)(intptr_t)arg;
}

static void post_more(void *arg)
{
        note(arg);
        assert_ok(loop_post(loop, note, (void *)3));
        assert_ok(loop_post(loop, stop_now, NULL));
        note((void *)2);
}

static void a_post_runs_after_the_callback(void **state)
{
        order_n = 0;
        assert_ok(loop_post(loop, post_more, (void *)1));
        assert_ok(loop_run(loop));
        assert_int_equal(order_n, 3);
        for (int i = 0; i < 3; i++)
                assert_int_equal(order[i], i + 1);
}

static void posts_behind_a_stop_wait_for_the_next_run(void **state)
{
        order_n = 0;
        assert_ok(loop_post(loop, stop_now, NULL));
        assert_ok(loop_post(loop, note, (void *)1));
        assert_ok(loop_run(loop));
        assert_int_equal(order_n, 0);
        assert_ok(loop_post(loop, stop_now, NULL));
        assert_ok(loop_run(loop));
        assert_int_equal(order_n, 1);
}

static void a_stop_before_the_run_is_honoured(void **state)
{
        loop_stop(loop);
        assert_ok(loop_run(loop));
}

/* ---- sockets ------------------------------------------------------------------------------------------------------
 */

static struct stream *server_end, *client_end;
static unsigned client_events;

static void accepted(struct listener *l, struct stream *s, void *arg)
{
        server_end = s;
        loop_stop(loop);
}

static void client_event(struct stream *s, unsigned events, void *arg)
{
        client_events = events;
        loop_stop(loop);
}

static struct listener *listen_at(const char *text, struct address *ret)
{
        struct address at;
        struct listener *l;
        assert_ok(address_parse(text, &at));
        assert_ok(loop_listen(loop, &at, accepted, NULL, &l));
        assert_ok(listener_address(loop, l, ret));
        return l;
}

/* Connects client_end and server_end. */
static void connect_pair(const struct address *to)
{
        assert_ok(loop_connect(loop, to, NULL, &client_end));
        stream_watch(client_end, STREAM_WRITABLE, client_event, NULL);
        server_end = NULL;
        client_events = 0;
        while (!server_end || !client_events)
                assert_ok(loop_run(loop));
        assert_int_equal(client_events, STREAM_WRITABLE);
        stream_watch(client_end, 0, client_event, NULL);
}

static ssize_t write_text(struct stream *s, const char *text)
{
        return stream_writev(s, &(struct iovec){(void *)text, strlen(text)}, 1);
}

static ssize_t read_text(struct stream *s, char *to, size_t n)
{
        return stream_readv(s, &(struct iovec){to, n}, 1);
}

static void talk(const char *at)
{
        struct address address;
        struct listener *l = listen_at(at, &address);
        connect_pair(&address);
        char text[16] = "";
        assert_int_equal(read_text(client_end, text, sizeof text), -EAGAIN);
        assert_int_equal(write_text(server_end, "hello"), 5);
        stream_watch(client_end, STREAM_READABLE, client_event, NULL);
        assert_ok(loop_run(loop));
        assert_int_equal(client_events, STREAM_READABLE);
        assert_int_equal(read_text(client_end, text, sizeof text), 5);
        assert_string_equal(text, "hello");

        server_end = stream_free(server_end);
        assert_ok(loop_run(loop));
        assert_int_equal(client_events, STREAM_READABLE | STREAM_HANGUP);
        assert_int_equal(read_text(client_end, text, sizeof text), 0);
        client_end = stream_free(client_end);
        listener_free(loop, l);
}

static void tcp_talks(void **state)
{
        talk("127.0.0.1:0");
}

static void tcp_any_takes_ipv4(void **state)
{
        struct address any, to;
        struct listener *l = listen_at("*:0", &any);
        char text[ADDRESS_TEXT_MAX];
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)address_port(&any));
        assert_ok(address_parse(text, &to));
        connect_pair(&to);
        struct address peer;
        assert_ok(stream_peer(server_end, &peer));
        assert_true(starts_with(address_format(&peer, text), "127.0.0.1:"));
        stream_free(server_end);
        stream_free(client_end);
        listener_free(loop, l);
}

static int option(const struct stream *s, int level, int name)
{
        int value = -1;
        socklen_t len = sizeof value;
        assert_ok(getsockopt(stream_fd(s), level, name, &value, &len));
        return value;
}

static void tcp_options_are_set_on_both_ends(void **state)
{
        struct address address;
        struct listener *l = listen_at("127.0.0.1:0", &address);
        connect_pair(&address);
        struct stream *ends[] = {server_end, client_end};
        for (int i = 0; i < 2; i++) {
                assert_int_equal(option(ends[i], IPPROTO_TCP, TCP_NODELAY), 1);
                assert_int_equal(option(ends[i], SOL_SOCKET, SO_KEEPALIVE), 1);
                assert_int_equal(option(ends[i], IPPROTO_TCP, TCP_KEEPIDLE), 20);
                assert_int_equal(option(ends[i], IPPROTO_TCP, TCP_KEEPINTVL), 2);
                assert_int_equal(option(ends[i], IPPROTO_TCP, TCP_KEEPCNT), 9);
                stream_free(ends[i]);
        }
        listener_free(loop, l);
}

static void connect_refused_is_an_event(void **state)
{
        struct address address;
        listener_free(loop, listen_at("127.0.0.1:0", &address)); /* a port nobody listens at */
        int r = loop_connect(loop, &address, NULL, &client_end);
        if (r == 0) {
                char c;
                stream_watch(client_end, STREAM_WRITABLE, client_event, NULL);
                assert_ok(loop_run(loop));
                assert_true(client_events & STREAM_HANGUP);
                r = (int)read_text(client_end, &c, 1);
                stream_free(client_end);
        }
        assert_int_equal(r, -ECONNREFUSED);
}

static void connect_from_an_address(void **state)
{
        struct address address, from, peer;
        char text[ADDRESS_TEXT_MAX];
        struct listener *l = listen_at("127.0.0.1:0", &address);
        assert_ok(address_parse("127.0.0.2:0", &from));
        assert_ok(loop_connect(loop, &address, &from, &client_end));
        server_end = NULL;
        while (!server_end)
                assert_ok(loop_run(loop));
        assert_ok(stream_peer(server_end, &peer));
        assert_true(starts_with(address_format(&peer, text), "127.0.0.2:"));
        stream_free(server_end);
        stream_free(client_end);
        listener_free(loop, l);
}

static void address_in_use(void **state)
{
        struct address address;
        struct listener *l = listen_at("127.0.0.1:0", &address), *second = NULL;
        assert_int_equal(loop_listen(loop, &address, accepted, NULL, &second), -EADDRINUSE);
        assert_null(second);
        listener_free(loop, l);
}

static void hangup_is_told_once_when_nothing_was_asked(void **state)
{
        struct address address;
        struct timer t = {0};
        struct listener *l = listen_at("127.0.0.1:0", &address);
        connect_pair(&address);
        server_end = stream_free(server_end);
        assert_ok(loop_run(loop));
        assert_int_equal(client_events, STREAM_HANGUP);
        client_events = 0;
        timer_start(loop, &t, 5 * NS_PER_MSEC, stop_running_loop);
        assert_ok(loop_run(loop));
        assert_int_equal(client_events, 0);
        stream_free(client_end);
        listener_free(loop, l);
}

static void write_to_a_closed_peer_is_an_error_not_a_signal(void **state)
{
        struct address address;
        struct listener *l = listen_at("127.0.0.1:0", &address);
        connect_pair(&address);
        server_end = stream_free(server_end);
        assert_ok(loop_run(loop));
        ssize_t r = 0;
        while (r >= 0 || r == -EAGAIN)
                r = write_text(client_end, "x");
        assert_true(r == -EPIPE || r == -ECONNRESET);
        stream_free(client_end);
        listener_free(loop, l);
}

static void full_pipe_tells_when_there_is_room(void **state)
{
        struct address address;
        static char block[65536];
        struct listener *l = listen_at("127.0.0.1:0", &address);
        connect_pair(&address);
        size_t sent = 0, got = 0;
        for (ssize_t r; (r = stream_writev(client_end, &(struct iovec){block, sizeof block}, 1)) != -EAGAIN;)
                sent += (size_t)r;
        client_events = 0;
        stream_watch(client_end, STREAM_WRITABLE, client_event, NULL);
        while (!client_events) {
                ssize_t r = read_text(server_end, block, sizeof block);
                got += r > 0 ? (size_t)r : 0;
                if (r < 0) { /* the rest is on its way */
                        struct timer t = {0};
                        timer_start(loop, &t, NS_PER_MSEC, stop_running_loop);
                        assert_ok(loop_run(loop));
                        timer_stop(&t);
                } else {
                        assert_ok(loop_post(loop, stop_now, NULL));
                        assert_ok(loop_run(loop));
                }
        }
        assert_true(got > 0 && got <= sent);
        stream_free(server_end);
        stream_free(client_end);
        listener_free(loop, l);
}

static struct stream *victims[2];
static int victim_events;

static void kill_both(struct stream *s, unsigned events, void *arg)
{
        victim_events++;
        for (int i = 0; i < 2; i++)
                victims[i] = stream_free(victims[i]);
        assert_ok(loop_post(loop, stop_now, NULL));
}

static void no_callback_follows_a_free(void **state)
{
        int fds[2];
        for (int i = 0; i < 2; i++) {
                fds[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
                assert_ok(loop_watch_fd(loop, fds[i], STREAM_READABLE, kill_both, NULL, &victims[i]));
        }
        victim_events = 0;
        assert_ok(loop_run(loop));
        assert_int_equal(victim_events, 1); /* both were ready in one batch */
        for (int i = 0; i < 2; i++) {
                assert_true(fcntl(fds[i], F_GETFD) >= 0); /* only watched: still open */
                close(fds[i]);
        }
}

static void watch_of_a_bad_descriptor_fails(void **state)
{
        struct stream *s = NULL;
        assert_int_equal(loop_watch_fd(loop, 9999, STREAM_READABLE, kill_both, NULL, &s), -EBADF);
        assert_null(s);
}

/* ---- unix sockets -------------------------------------------------------------------------------------------------
 */

static char socket_path[100], socket_text[ADDRESS_TEXT_MAX];

static void choose_path(const char *name)
{
        (void)snprintf(socket_path, sizeof socket_path, "/tmp/mortar-loop-test-%d-%s", (int)getpid(), name);
        (void)snprintf(socket_text, sizeof socket_text, "unix:%s", socket_path);
        (void)unlink(socket_path);
}

static bool path_exists(void)
{
        struct stat st;
        return lstat(socket_path, &st) == 0;
}

static void unix_talks_and_cleans_up(void **state)
{
        choose_path("talk");
        talk(socket_text);
        assert_false(path_exists());
}

static void unix_stale_socket_is_replaced(void **state)
{
        choose_path("stale");
        struct address at;
        assert_ok(address_parse(socket_text, &at));
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_ok(bind(fd, (struct sockaddr *)&at.sa, at.len));
        assert_ok(listen(fd, 1));
        close(fd);
        assert_true(path_exists());
        talk(socket_text);
        assert_false(path_exists());
}

static void unix_live_socket_is_kept(void **state)
{
        choose_path("live");
        struct address at;
        struct listener *l = listen_at(socket_text, &at), *second;
        assert_int_equal(loop_listen(loop, &at, accepted, NULL, &second), -EADDRINUSE);
        assert_true(path_exists());
        listener_free(loop, l);
        assert_false(path_exists());
}

static void unix_other_file_is_kept(void **state)
{
        choose_path("file");
        struct address at;
        struct listener *l;
        close(open(socket_path, O_CREAT | O_WRONLY, 0600));
        assert_ok(address_parse(socket_text, &at));
        assert_int_equal(loop_listen(loop, &at, accepted, NULL, &l), -EADDRINUSE);
        assert_true(path_exists());
        unlink(socket_path);
}

static void unix_successor_is_not_removed(void **state)
{
        choose_path("successor");
        struct address at;
        struct listener *first = listen_at(socket_text, &at);
        assert_ok(unlink(socket_path));
        struct listener *second = listen_at(socket_text, &at);
        listener_free(loop, first);
        assert_true(path_exists());
        listener_free(loop, second);
        assert_false(path_exists());
}

static void unix_connect_without_server_fails_at_once(void **state)
{
        choose_path("none");
        struct address at;
        assert_ok(address_parse(socket_text, &at));
        assert_int_equal(loop_connect(loop, &at, NULL, &client_end), -ENOENT);
}

/* ---- stalls -------------------------------------------------------------------------------------------------------
 */

static void busy(void *arg)
{
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        do {
                clock_gettime(CLOCK_MONOTONIC, &b);
        } while ((b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec < 5000000);
        loop_stop(loop);
}

static void a_stall_is_counted_and_named(void **state)
{
        int fds[2];
        assert_ok(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
        log_init("test", fds[1], false);
        loop_set_stall_limit(loop, 4 * NS_PER_MSEC, false);
        assert_ok(loop_post(loop, busy, NULL));
        assert_ok(loop_run(loop));
        log_init("test", 2, false);
        assert_true(loop_stalls(loop) >= 1);
        char text[1024] = "";
        assert_true(read(fds[0], text, sizeof text - 1) > 0);
        assert_non_null(strstr(text, "posted call"));
        assert_non_null(strstr(text, "loop_test"));
        close(fds[0]);
        close(fds[1]);
}

static void a_stall_aborts_when_asked(void **state)
{
        pid_t pid = fork();
        if (pid == 0) {
                signal(SIGABRT, SIG_DFL);
                log_init("test", open("/dev/null", O_WRONLY | O_CLOEXEC), false);
                loop_set_stall_limit(loop, NS_PER_MSEC, true);
                (void)loop_post(loop, busy, NULL);
                (void)loop_run(loop);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void random_differs(void **state)
{
        uint64_t a[2] = {0}, b[2] = {0};
        loop_random(loop, a, sizeof a);
        loop_random(loop, b, sizeof b);
        assert_memory_not_equal(a, b, sizeof a);
        assert_true(loop_realtime(loop) > 1700000000ull * NS_PER_SEC);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(timers_fire_in_order),
                TEST(a_timer_may_restart_itself),
                TEST(a_timer_waits_its_time),
                TEST(freeing_the_loop_leaves_timers_idle),
                TEST(posts_from_other_threads),
                TEST(a_post_wakes_a_sleeping_loop),
                TEST(a_post_runs_after_the_callback),
                TEST(posts_behind_a_stop_wait_for_the_next_run),
                TEST(a_stop_before_the_run_is_honoured),
                TEST(tcp_talks),
                TEST(tcp_any_takes_ipv4),
                TEST(tcp_options_are_set_on_both_ends),
                TEST(connect_refused_is_an_event),
                TEST(connect_from_an_address),
                TEST(address_in_use),
                TEST(hangup_is_told_once_when_nothing_was_asked),
                TEST(write_to_a_closed_peer_is_an_error_not_a_signal),
                TEST(full_pipe_tells_when_there_is_room),
                TEST(no_callback_follows_a_free),
                TEST(watch_of_a_bad_descriptor_fails),
                TEST(unix_talks_and_cleans_up),
                TEST(unix_stale_socket_is_replaced),
                TEST(unix_live_socket_is_kept),
                TEST(unix_other_file_is_kept),
                TEST(unix_successor_is_not_removed),
                TEST(unix_connect_without_server_fails_at_once),
                TEST(a_stall_is_counted_and_named),
                TEST(a_stall_aborts_when_asked),
                TEST(random_differs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
