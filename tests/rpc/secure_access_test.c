/* TLS on mortard's port: on or off by a file, and certificates that are replaced while it runs. In the simulator. */
#include "rpc/secure_access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/sim.h"
#include "rpc/tls_stream.h"
#include "support/certs.h"

#define PORT 24007

static struct {
        struct certs *certs;
        struct sim *sim;
        struct loop *server, *client;
        struct address at;
        struct listener *listener;
        struct secure_access access;
        struct stream *stream[2]; /* the server's, the client's */
        bool over, met;
        char words[512]; /* why the client does not believe the server */
} t;

static void path_in(char path[static 256], const char *name)
{
        (void)snprintf(path, 256, "%s/%s", certs_dir(t.certs), name);
}

/* Puts the file FROM in the place of TO, as cp does. */
static void copy(const char *from, const char *to)
{
        char data[16384], path[256];
        path_in(path, from);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(data, 1, sizeof data, f);
        (void)fclose(f);
        path_in(path, to);
        f = fopen(path, "w");
        assert_true(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static void client_failed(const char *peer, const char *why, void *arg)
{
        (void)snprintf(t.words, sizeof t.words, "%s", why);
}

static void client_event(struct stream *s, unsigned events, void *arg)
{
        t.met = events & STREAM_WRITABLE && !(events & STREAM_HANGUP);
        t.over = true;
        stream_watch(s, 0, client_event, NULL);
}

static void server_event(struct stream *s, unsigned events, void *arg)
{
        stream_watch(s, 0, server_event, NULL);
}

static void accepted(struct listener *l, struct stream *s, void *arg)
{
        assert_int_equal(secure_access_wrap(&t.access, s, &t.stream[0]), 0);
        stream_watch(t.stream[0], STREAM_READABLE, server_event, NULL);
}

static bool is_over(void *arg)
{
        return t.over;
}

static void timer_over(struct timer *timer)
{
        t.over = true;
}

static void pass(uint64_t ns)
{
        struct timer timer = {0};
        t.over = false;
        timer_start(t.client, &timer, ns, timer_over);
        assert_int_equal(sim_run(t.sim, sim_now(t.sim) + 2 * ns, is_over, NULL), 0);
}

/* Does a client that believes our authority get its connection? Some time after the last one asked. */
static bool connects(void)
{
        const struct tls_stream_config config = {
                .context = certs_context(t.certs, "client"), .side = TLS_CLIENT, .on_failure = client_failed};
        struct stream *s;
        pass(2 * NS_PER_SEC);
        t.over = t.met = false;
        t.words[0] = '\0';
        assert_int_equal(loop_connect(t.client, &t.at, NULL, &s), 0);
        assert_int_equal(tls_stream_new(s, &config, &t.stream[1]), 0);
        stream_watch(t.stream[1], STREAM_READABLE | STREAM_WRITABLE, client_event, NULL);
        assert_int_equal(sim_run(t.sim, sim_now(t.sim) + 100 * NS_PER_SEC, is_over, NULL), 0);
        for (size_t k = 0; k < ELEMENTSOF(t.stream); k++)
                t.stream[k] = stream_free(t.stream[k]);
        (void)tls_context_unref(config.context);
        return t.met;
}

static int begin(void **state)
{
        struct sim_node *server, *client;
        t.certs = certs_new();
        certs_make(t.certs, &(struct cert){.name = "server"});
        certs_make(t.certs, &(struct cert){.name = "client"});
        certs_make(t.certs, &(struct cert){.name = "stranger", .other_ca = true});
        certs_make(t.certs, &(struct cert){.name = "node"});
        assert_int_equal(sim_new(3, &t.sim), 0);
        assert_int_equal(sim_node_new(t.sim, "server", &server), 0);
        assert_int_equal(sim_node_new(t.sim, "client", &client), 0);
        t.server = sim_node_loop(server);
        t.client = sim_node_loop(client);
        assert_int_equal(sim_address(t.sim, "server", PORT, &t.at), 0);
        assert_int_equal(loop_listen(t.server, &t.at, accepted, NULL, &t.listener), 0);
        return 0;
}

static int end(void **state)
{
        listener_free(t.server, t.listener);
        t.sim = sim_free(t.sim);
        tls_source_done(&t.access.source);
        t.access = (struct secure_access){0};
        t.certs = certs_free(t.certs);
        return 0;
}

static void test_off(void **state)
{
        struct error e = {0};
        char path[256];
        path_in(path, "no-such-file");
        assert_int_equal(secure_access_load(&t.access, path, &e), 0);
        assert_false(t.access.on);
        assert_false(connects());
}

static void test_certificates_are_read_again(void **state)
{
        struct error e = {0};
        char path[256];
        path_in(path, "secure-access");
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        const char *dir = certs_dir(t.certs);
        assert_true(fprintf(f, "# any text\n option transport.socket.ssl-own-cert %s/node.pem\noption "
                               "transport.socket.ssl-private-key\t%s/node.key\noption transport.socket.ssl-ca-list "
                               "%s/ca.pem\n", dir, dir, dir) > 0 && fclose(f) == 0);
        if (secure_access_load(&t.access, path, &e) < 0)
                fail_msg("%s", e.text);
        assert_true(t.access.on);
        assert_true(connects());

        copy("stranger.pem", "node.pem"); /* half a replacement is none */
        assert_true(connects());
        copy("stranger.key", "node.key");
        assert_false(connects());
        assert_non_null(strstr(t.words, "is not believed"));
        copy("secure-access", "node.pem"); /* no certificate at all: the former one stays in use */
        assert_false(connects());
        copy("server.pem", "node.pem");
        copy("server.key", "node.key");
        assert_true(connects());
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_off, begin, end),
                cmocka_unit_test_setup_teardown(test_certificates_are_read_again, begin, end),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
