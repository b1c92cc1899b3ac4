/* TLS: who is believed, what a context is made of, streams that are cut, slow or plain. In the simulator. */
#include "base/fibre.h"
#include "base/sim.h"
#include "rpc/tls_stream.h"
#include "support/certs.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <utime.h>

#include <cmocka.h>

#define PORT 4000
#define WORDS 1024

static struct certs *certs;

static int setup(void **state)
{
        certs = certs_new();
        certs_make(certs, &(struct cert){.name = "server"});
        certs_make(certs, &(struct cert){.name = "client"});
        certs_make(certs, &(struct cert){.name = "stranger", .other_ca = true});
        certs_make(certs, &(struct cert){.name = "expired", .days = -2});
        certs_make(certs, &(struct cert){.name = "soon", .days = 3});
        certs_make(certs, &(struct cert){.name = "deep", .intermediate = true});
        certs_make(certs, &(struct cert){.name = "revoked"});
        certs_revoke(certs, "revoked");
        return 0;
}

static int teardown(void **state)
{
        certs = certs_free(certs);
        return 0;
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static void path_in(char path[static 256], const char *name)
{
        (void)snprintf(path, 256, "%s/%s", certs_dir(certs), name);
}

static struct tls_context *load(const struct tls_settings *s)
{
        struct tls_context *c = NULL;
        struct error e = {0};
        if (tls_context_load(s, &c, &e) < 0)
                fail_msg("%s", e.text);
        return c;
}

static void refuses(const struct tls_settings *s, int code, const char *words)
{
        struct tls_context *c = NULL;
        struct error e = {0};
        assert_int_equal(tls_context_load(s, &c, &e), code);
        assert_null(c);
        if (!strstr(e.text, words) || strchr(e.text, '\n'))
                fail_msg("'%s' does not say '%s' in a line", e.text, words);
}

static void test_settings(void **state)
{
        struct tls_settings s = {0}, t = {0};
        struct error e = {0};
        assert_int_equal(tls_settings_set(&s, "transport.socket.ssl-own-cert", "/a", &e), 0);
        assert_string_equal(s.own_cert, "/a");
        assert_false(tls_settings_equal(&s, &t));
        assert_int_equal(tls_settings_set(&s, "transport.socket.ssl-own-cert", "", &e), 0);
        assert_true(tls_settings_equal(&s, &t));
        assert_int_equal(tls_settings_set(&s, "transport.socket.ssl-enabled", "on", &e), -ENOENT);
        char longest[TLS_TEXT_MAX + 1];
        memset(longest, 'x', sizeof longest);
        longest[TLS_TEXT_MAX] = '\0';
        assert_int_equal(tls_settings_set(&s, "transport.socket.ssl-ca-list", longest, &e), -EINVAL);
}

static void test_contexts(void **state)
{
        struct tls_settings s;
        certs_settings(certs, "server", &s);
        struct tls_context *c = load(&s);
        assert_string_equal(tls_context_warning(c), "");
        assert_false(tls_context_changed(c));
        tls_context_unref(c);

        certs_settings(certs, "soon", &s);
        path_in(s.private_key, "soon.key");
        assert_int_equal(chmod(s.private_key, 0644), 0);
        c = load(&s);
        assert_non_null(strstr(tls_context_warning(c), "can be read by every user"));
        assert_non_null(strstr(tls_context_warning(c), "expires at"));
        tls_context_unref(c);

        certs_settings(certs, "stranger", &s);
        c = load(&s);
        assert_non_null(strstr(tls_context_warning(c), "is not accepted by this node's own CA file"));
        tls_context_unref(c);

        certs_settings(certs, "expired", &s);
        refuses(&s, -EKEYEXPIRED, "expired.pem expired at ");
        certs_settings(certs, "nobody", &s);
        refuses(&s, -ENOENT, "nobody.pem: put it there");
        certs_settings(certs, "server", &s);
        path_in(s.private_key, "client.key");
        refuses(&s, -EINVAL, "client.key does not belong to the certificate");
        path_in(s.private_key, "ca.pem");
        refuses(&s, -EINVAL, "holds no private key");
        certs_settings(certs, "server", &s);
        path_in(s.ca_list, "server.key");
        refuses(&s, -EINVAL, "holds no certificates");
}

static void test_source_follows_files(void **state)
{
        struct tls_settings s;
        struct tls_source source = {0};
        struct utimbuf then = {1000000000, 1000000000};
        certs_make(certs, &(struct cert){.name = "moving"});
        certs_settings(certs, "moving", &s);
        tls_source_set(&source, &s, load(&s));
        const struct tls_context *first = source.context;
        assert_int_equal(tls_source_refresh(&source, 1), TLS_SOURCE_SAME);
        assert_int_equal(utime(s.own_cert, &then), 0);
        assert_int_equal(tls_source_refresh(&source, 2), TLS_SOURCE_SAME); /* it was looked just now */
        assert_int_equal(tls_source_refresh(&source, 2 * NS_PER_SEC), TLS_SOURCE_READ_AGAIN);
        assert_ptr_not_equal(source.context, first);
        assert_int_equal(unlink(s.own_cert), 0);
        first = source.context;
        assert_int_equal(tls_source_refresh(&source, 4 * NS_PER_SEC), TLS_SOURCE_FAILED);
        assert_int_equal(tls_source_refresh(&source, 6 * NS_PER_SEC), TLS_SOURCE_SAME); /* told once */
        assert_ptr_equal(source.context, first);
        certs_make(certs, &(struct cert){.name = "moving"});
        assert_int_equal(tls_source_refresh(&source, 8 * NS_PER_SEC), TLS_SOURCE_READ_AGAIN);
        tls_source_done(&source);
}

/* A list that is written over keeps its directory as it was; who was revoked since must be turned away. */
static void test_source_follows_revocations(void **state)
{
        char dir[256], path[300];
        struct tls_settings s;
        struct tls_source source = {0};
        certs_settings(certs, "server", &s);
        path_in(dir, "crl");
        (void)snprintf(s.crl_path, sizeof s.crl_path, "%s", dir);
        tls_source_set(&source, &s, load(&s));
        assert_int_equal(tls_source_refresh(&source, 1), TLS_SOURCE_SAME);
        glob_t found;
        (void)snprintf(path, sizeof path, "%s/*.r0", dir);
        assert_int_equal(glob(path, 0, NULL, &found), 0);
        FILE *f = fopen(found.gl_pathv[0], "a");
        assert_true(f && fputs("\n", f) >= 0 && fclose(f) == 0);
        globfree(&found);
        assert_int_equal(tls_source_refresh(&source, 2 * NS_PER_SEC), TLS_SOURCE_READ_AGAIN);
        assert_int_equal(tls_source_refresh(&source, 4 * NS_PER_SEC), TLS_SOURCE_SAME);
        tls_source_done(&source);
}

/* ---- a pair of streams ------------------------------------------------------------------------------------------- */

struct end {
        struct loop *loop;
        struct tls_context *context; /* NULL: plain */
        struct stream *stream;
        char words[WORDS];
        int error;   /* from reading; 1: it opened */
        bool over;
        bool named;  /* the failure came with the peer's address */
};

struct pair {
        struct sim *sim;
        struct sim_node *nodes[2];
        struct end server, client;
        struct listener *listener;
        const char *says; /* what the client sends first; NULL: nothing */
        uint64_t wait;    /* ns of silence before it */
};

static void end_failed(const char *peer, const char *why, void *arg)
{
        struct end *e = arg;
        e->named = *peer != '\0';
        (void)snprintf(e->words, sizeof e->words, "%s", why);
}

static void end_event(struct stream *s, unsigned events, void *arg)
{
        struct end *e = arg;
        uint8_t data[256];
        ssize_t n = stream_readv(s, &(struct iovec){data, sizeof data}, 1);
        if (n == -EAGAIN && !(events & STREAM_WRITABLE))
                return;
        e->error = n == -EAGAIN || n > 0 ? 1 : (int)n;
        e->over = n != -EAGAIN || e->error != 1;
        stream_watch(s, e->over ? 0 : STREAM_READABLE, end_event, e);
        if (events & STREAM_WRITABLE && n == -EAGAIN)
                (void)stream_writev(s, &(struct iovec){(void *)"hello", 5}, 1);
}

static void end_begin(struct end *e, enum tls_side side, struct stream *lower)
{
        const struct tls_stream_config config = {
                .context = e->context, .side = side, .on_failure = end_failed, .arg = e};
        e->stream = lower;
        if (e->context)
                assert_int_equal(tls_stream_new(lower, &config, &e->stream), 0);
        stream_watch(e->stream, STREAM_READABLE | STREAM_WRITABLE, end_event, e);
}

static void accepted(struct listener *l, struct stream *s, void *arg)
{
        struct pair *p = arg;
        end_begin(&p->server, TLS_SERVER, s);
}

static bool both_over(void *arg)
{
        const struct pair *p = arg;
        return p->server.over && p->client.over;
}

static void pair_begin(struct pair *p, const char *server, const char *client)
{
        struct address at;
        assert_int_equal(sim_new(7, &p->sim), 0);
        assert_int_equal(sim_node_new(p->sim, "server", &p->nodes[0]), 0);
        assert_int_equal(sim_node_new(p->sim, "client", &p->nodes[1]), 0);
        p->server.loop = sim_node_loop(p->nodes[0]);
        p->client.loop = sim_node_loop(p->nodes[1]);
        if (server && !p->server.context)
                p->server.context = certs_context(certs, server);
        if (client && !p->client.context)
                p->client.context = certs_context(certs, client);
        assert_int_equal(sim_address(p->sim, "server", PORT, &at), 0);
        assert_int_equal(loop_listen(p->server.loop, &at, accepted, p, &p->listener), 0);
        struct stream *s;
        assert_int_equal(loop_connect(p->client.loop, &at, NULL, &s), 0);
        end_begin(&p->client, TLS_CLIENT, s);
}

static void pair_end(struct pair *p)
{
        p->client.stream = stream_free(p->client.stream);
        p->server.stream = stream_free(p->server.stream);
        listener_free(p->server.loop, p->listener);
        p->sim = sim_free(p->sim);
        tls_context_unref(p->server.context);
        tls_context_unref(p->client.context);
}

static void expect_words(const struct end *e, const char *words)
{
        if (!strstr(e->words, words))
                fail_msg("'%s' does not say '%s'", e->words, words);
}

/* Both open. */
static void meets(struct pair *p, const char *server, const char *client)
{
        pair_begin(p, server, client);
        assert_int_equal(sim_run(p->sim, 100 * NS_PER_SEC, both_over, p), 0);
        assert_int_equal(p->server.error, 1);
        assert_int_equal(p->client.error, 1);
        assert_string_equal(p->server.words, "");
        pair_end(p);
}

/* The server turns the client away, and says why. */
static void turned_away(struct pair *p, const char *server, const char *client, int error, const char *words)
{
        pair_begin(p, server, client);
        assert_int_equal(sim_run(p->sim, 100 * NS_PER_SEC, both_over, p), 0);
        assert_int_equal(p->server.error, error);
        assert_int_not_equal(p->client.error, 1);
        expect_words(&p->server, words);
        assert_true(p->server.named);
        pair_end(p);
}

static struct tls_context *context_with(const char *name, const char *option, const char *value)
{
        struct tls_settings s;
        struct error e;
        certs_settings(certs, name, &s);
        assert_int_equal(tls_settings_set(&s, option, value, &e), 0);
        return load(&s);
}

static void test_who_is_believed(void **state)
{
        meets(&(struct pair){0}, "server", "client");
        meets(&(struct pair){0}, "server", "soon");
        meets(&(struct pair){0}, "server", "deep"); /* one authority in between: the default depth */
        turned_away(&(struct pair){0}, "server", "stranger", -EKEYREJECTED, "certificate of 'stranger' is not believed");
        turned_away(&(struct pair){0}, "stranger", "client", -EPROTO, "the peer does not believe this node's certificate");
}

static void test_depth(void **state)
{
        struct pair p = {.server.context = context_with("server", "transport.socket.ssl-cert-depth", "0")};
        turned_away(&p, NULL, "deep", -EKEYREJECTED, "raise ssl.certificate-depth");
}

static void test_revoked(void **state)
{
        char dir[256];
        path_in(dir, "crl");
        struct pair p = {.server.context = context_with("server", "transport.socket.ssl-crl-path", dir)};
        turned_away(&p, NULL, "revoked", -EKEYREJECTED, "it is in a list of ssl.crl-path");
        p = (struct pair){.server.context = context_with("server", "transport.socket.ssl-crl-path", dir)};
        meets(&p, NULL, "client");
}

static void test_ciphers(void **state)
{
        struct tls_settings s;
        certs_settings(certs, "server", &s);
        (void)snprintf(s.cipher_list, sizeof s.cipher_list, "eNULL:aNULL");
        refuses(&s, -EINVAL, "names no cipher");
        (void)snprintf(s.cipher_list, sizeof s.cipher_list, "AES128:EECDH:EDH:HIGH:!3DES:!RC4:!DES:!MD5");
        (void)snprintf(s.ec_curve, sizeof s.ec_curve, "prime256v1");
        struct pair p = {.server.context = load(&s)};
        meets(&p, NULL, "client");
}

static void test_plain_peers(void **state)
{
        struct pair p = {0};
        pair_begin(&p, "server", NULL); /* says "hello" */
        (void)sim_run(p.sim, 100 * NS_PER_SEC, both_over, &p);
        assert_int_equal(p.server.error, -EPROTO);
        expect_words(&p.server, "the peer does not speak TLS");
        pair_end(&p);

        p = (struct pair){0};
        pair_begin(&p, NULL, "client");
        (void)sim_run(p.sim, 100 * NS_PER_SEC, both_over, &p);
        expect_words(&p.client, "the peer does not speak TLS");
        pair_end(&p);
}

/* The client's side of the link is cut at every moment of the handshake: both ends give up in time. */
static void test_silence(void **state)
{
        for (uint64_t at = 0; at < 10; at++) {
                struct pair p = {0};
                pair_begin(&p, "server", "client");
                struct sim_link cut = {.delay_min = 1, .delay_max = 2, .cut = true};
                assert_int_not_equal(sim_run(p.sim, at * 100 * NS_PER_USEC, both_over, &p), -ENODATA);
                sim_link_set(p.sim, p.nodes[0], p.nodes[1], &cut);
                (void)sim_run(p.sim, 60 * NS_PER_SEC, both_over, &p);
                if (p.client.error != 1)
                        assert_int_equal(p.client.error, -ETIMEDOUT);
                if (p.server.stream && p.server.error != 1) {
                        assert_int_equal(p.server.error, -ETIMEDOUT);
                        expect_words(&p.server, "did not finish the TLS handshake in time");
                }
                pair_end(&p);
        }
}

static void test_resets(void **state)
{
        for (uint64_t at = 1; at < 10; at++) {
                struct pair p = {0};
                pair_begin(&p, "server", "client");
                (void)sim_run(p.sim, at * 100 * NS_PER_USEC, both_over, &p);
                sim_reset(p.sim, p.nodes[0], p.nodes[1]);
                (void)sim_run(p.sim, 60 * NS_PER_SEC, both_over, &p);
                assert_true(p.client.over);
                assert_true(!p.server.stream || p.server.over);
                pair_end(&p);
        }
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

struct two {
        struct buf out[2];
        struct tls_session *s[2];
        size_t piece; /* bytes of one feed */
};

static void two_begin(struct two *t, size_t piece)
{
        struct tls_context *c = certs_context(certs, "server"), *d = certs_context(certs, "client");
        *t = (struct two){.out = {BUF_INIT(64 * MIB), BUF_INIT(64 * MIB)}, .piece = piece};
        assert_int_equal(tls_session_new(c, TLS_SERVER, &t->out[0], &t->s[0]), 0);
        assert_int_equal(tls_session_new(d, TLS_CLIENT, &t->out[1], &t->s[1]), 0);
        tls_context_unref(c);
        tls_context_unref(d);
}

static void two_end(struct two *t)
{
        for (int i = 0; i < 2; i++) {
                tls_session_free(t->s[i]);
                buf_done(&t->out[i]);
        }
}

/* What FROM has sent goes to the other in pieces; plain text that comes out is appended to PLAIN. */
static void two_carry(struct two *t, int from, struct buf *plain)
{
        static uint8_t data[20000];
        struct buf *out = &t->out[from];
        struct tls_session *to = t->s[!from];
        for (size_t at = 0, n; at < out->len; at += n) {
                n = MIN(t->piece, out->len - at);
                tls_session_feed(to, out->data + at, n);
                int r = tls_session_handshake(to);
                assert_true(r == 0 || r == -EAGAIN);
                ssize_t got;
                while ((got = tls_session_read(to, data, sizeof data)) > 0)
                        buf_append(plain, data, (size_t)got);
                assert_int_equal(got, -EAGAIN);
        }
        buf_reset(out, 0);
}

static void two_meet(struct two *t)
{
        struct buf nothing = BUF_INIT(MIB);
        for (int i = 0; i < 6; i++) {
                int r = tls_session_handshake(t->s[1]);
                assert_true(r == 0 || r == -EAGAIN);
                two_carry(t, 1, &nothing);
                two_carry(t, 0, &nothing);
        }
        assert_int_equal(tls_session_handshake(t->s[0]), 0);
        assert_int_equal(tls_session_handshake(t->s[1]), 0);
        assert_int_equal(nothing.len, 0);
        buf_done(&nothing);
}

static void test_pieces(void **state)
{
        static const size_t pieces[] = {1, 2, 3, 5, 100, 16384, 100000};
        static uint8_t text[100000];
        for (size_t i = 0; i < sizeof text; i++)
                text[i] = (uint8_t)(i * 7);
        for (size_t k = 0; k < ELEMENTSOF(pieces); k++) {
                struct two t;
                struct buf plain = BUF_INIT(MIB);
                two_begin(&t, pieces[k]);
                two_meet(&t);
                assert_string_equal(tls_session_peer_name(t.s[0]), "client");
                assert_string_equal(tls_session_peer_name(t.s[1]), "server");
                const struct iovec iov[] = {{text, 4}, {text + 4, 100}, {text + 104, 70000}, {text + 70104, 29896}};
                for (int from = 0; from < 2; from++) {
                        assert_int_equal(tls_session_write(t.s[from], iov, 4), 0);
                        two_carry(&t, from, &plain);
                        assert_int_equal(plain.len, sizeof text);
                        assert_memory_equal(plain.data, text, sizeof text);
                        buf_reset(&plain, 0);
                }
                buf_done(&plain);
                two_end(&t);
        }
}

/* An answer in small pieces is one TLS record, a large one no more than it must be. */
static void test_records(void **state)
{
        static uint8_t text[128 * 1024 + 200];
        const struct iovec small[] = {{text, 4}, {text, 24}, {text, 60}};
        const struct iovec large[] = {{text, 200}, {text, 128 * 1024}};
        struct two t;
        two_begin(&t, 1000);
        two_meet(&t);
        assert_int_equal(tls_session_write(t.s[0], small, 3), 0);
        assert_in_range(t.out[0].len, 88, 88 + 64);
        buf_reset(&t.out[0], 0);
        assert_int_equal(tls_session_write(t.s[0], large, 2), 0);
        assert_in_range(t.out[0].len, 128 * 1024 + 200, 128 * 1024 + 200 + 9 * 64);
        two_end(&t);
}

static void test_damage(void **state)
{
        uint8_t text[500] = {1};
        for (size_t at = 0; at < 500; at += 7) {
                struct two t;
                two_begin(&t, 1000);
                two_meet(&t);
                assert_int_equal(tls_session_write(t.s[1], &(struct iovec){text, sizeof text}, 1), 0);
                t.out[1].data[at] ^= 0x10;
                tls_session_feed(t.s[0], t.out[1].data, t.out[1].len);
                uint8_t data[1000];
                ssize_t n = tls_session_read(t.s[0], data, sizeof data);
                assert_true(n < 0);
                if (n != -EAGAIN) { /* else a length that became larger */
                        assert_int_not_equal(strlen(tls_session_error(t.s[0])), 0);
                        assert_int_equal(tls_session_read(t.s[0], data, sizeof data), -EPROTO);
                        assert_int_equal(tls_session_write(t.s[0], &(struct iovec){text, 1}, 1), -EPROTO);
                }
                two_end(&t);
        }
}

static void test_good_bye(void **state)
{
        struct two t;
        uint8_t data[10];
        two_begin(&t, 1000);
        two_meet(&t);
        tls_session_end(t.s[1]);
        tls_session_feed(t.s[0], t.out[1].data, t.out[1].len);
        assert_int_equal(tls_session_read(t.s[0], data, sizeof data), 0);
        two_end(&t);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_settings),
                cmocka_unit_test(test_contexts),
                cmocka_unit_test(test_source_follows_files),
                cmocka_unit_test(test_source_follows_revocations),
                cmocka_unit_test(test_who_is_believed),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_revoked),
                cmocka_unit_test(test_ciphers),
                cmocka_unit_test(test_plain_peers),
                cmocka_unit_test(test_silence),
                cmocka_unit_test(test_resets),
                cmocka_unit_test(test_pieces),
                cmocka_unit_test(test_records),
                cmocka_unit_test(test_damage),
                cmocka_unit_test(test_good_bye),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
