/* Who is let in: src/brick/auth.c, and what src/brick/export_config.c reads out of a brick volfile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "brick/server.h"

static enum auth_verdict judge(const char *allow, const char *reject, const char *peer)
{
        return auth_address(allow, reject, peer, NULL);
}

static void test_addresses(void **state)
{
        assert_int_equal(judge("*", "", "192.0.2.1"), AUTH_ACCEPT);
        assert_int_equal(judge("", "", "192.0.2.1"), AUTH_UNDECIDED);
        assert_int_equal(judge("192.0.2.1", "", "192.0.2.1"), AUTH_ACCEPT);
        assert_int_equal(judge("192.0.2.1", "", "192.0.2.11"), AUTH_UNDECIDED);
        assert_int_equal(judge("10.*, 192.0.*", "", "192.0.2.11"), AUTH_ACCEPT);
        assert_int_equal(judge("*", "192.0.2.*", "192.0.2.11"), AUTH_REJECT);
        assert_int_equal(judge(",,192.0.2.1,", "", "192.0.2.1"), AUTH_ACCEPT);
        assert_int_equal(judge("2001:db8::*", "", "2001:db8::7"), AUTH_ACCEPT);
}

static void test_networks(void **state)
{
        assert_int_equal(judge("10.1.0.0/16", "", "10.1.255.3"), AUTH_ACCEPT);
        assert_int_equal(judge("10.1.0.0/16", "", "10.2.0.1"), AUTH_UNDECIDED);
        assert_int_equal(judge("10.1.2.0/23", "", "10.1.3.9"), AUTH_ACCEPT);
        assert_int_equal(judge("10.1.2.0/23", "", "10.1.4.9"), AUTH_UNDECIDED);
        assert_int_equal(judge("0.0.0.0/0", "", "10.1.4.9"), AUTH_ACCEPT);
        assert_int_equal(judge("0.0.0.0/0", "", "2001:db8::1"), AUTH_UNDECIDED);
        assert_int_equal(judge("10.1.4.9/32", "", "10.1.4.9"), AUTH_ACCEPT);
        assert_int_equal(judge("10.1.4.9/33", "", "10.1.4.9"), AUTH_UNDECIDED);
        assert_int_equal(judge("2001:db8::/32", "", "2001:db8:1::1"), AUTH_ACCEPT);
        assert_int_equal(judge("2001:db8::/32", "", "2001:db9::1"), AUTH_UNDECIDED);
        assert_int_equal(judge("10.0.0.0/", "", "10.0.0.0"), AUTH_UNDECIDED);
}

static void test_subdirectories(void **state)
{
        const char *list = "/(10.0.0.*|10.0.1.*),/a/b(10.9.0.*)";
        assert_int_equal(auth_address(list, "", "10.0.1.5", "/"), AUTH_ACCEPT);
        assert_int_equal(auth_address(list, "", "10.0.1.5", NULL), AUTH_ACCEPT);
        assert_int_equal(auth_address(list, "", "10.9.0.5", "/"), AUTH_UNDECIDED);
        assert_int_equal(auth_address(list, "", "10.9.0.5", "/a/b"), AUTH_ACCEPT);
        assert_int_equal(auth_address(list, "", "10.0.0.5", "/a/b"), AUTH_UNDECIDED);
        assert_int_equal(auth_address(list, "", "10.0.0.5", "/c"), AUTH_UNDECIDED);
        assert_int_equal(auth_address("*", "", "10.0.0.5", "/c"), AUTH_ACCEPT);
        assert_int_equal(auth_address("*", "/c(10.0.0.5)", "10.0.0.5", "/c"), AUTH_REJECT);
        assert_int_equal(auth_address("*", "/c(10.0.0.5)", "10.0.0.5", "/"), AUTH_ACCEPT);
}

/* Who is rejected stays rejected, whatever directory he asks for. */
static void test_rejected_everywhere(void **state)
{
        const char *reject = "10.0.0.7,/c(10.0.0.8)";
        assert_int_equal(auth_address("*", reject, "10.0.0.7", "/"), AUTH_REJECT);
        assert_int_equal(auth_address("*", reject, "10.0.0.7", "/c"), AUTH_REJECT);
        assert_int_equal(auth_address("*", reject, "10.0.0.8", "/c"), AUTH_REJECT);
        assert_int_equal(auth_address("*", reject, "10.0.0.8", "/d"), AUTH_ACCEPT);
}

/* However an address is written, it is that address. */
static void test_ways_to_write_an_address(void **state)
{
        static const char *const ways[] = {"2001:db8::5", "2001:DB8::5", "2001:0db8:0:0::0005", "2001:db8::0.0.0.5"};
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                assert_int_equal(judge("*", ways[i], "2001:db8::5"), AUTH_REJECT);
                assert_int_equal(judge("*", ways[i], "2001:db8::6"), AUTH_ACCEPT);
        }
        assert_int_equal(judge("*", "::ffff:10.0.0.5", "10.0.0.5"), AUTH_REJECT);
}

/* However a directory is written, it is that directory. */
static void test_ways_to_write_a_directory(void **state)
{
        static const char *const ways[] = {"/c/d", "/c/d/", "//c/d", "/c//d", "//c//d//"};
        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                char own[64];
                assert_int_equal(auth_address("*", "/c/d(10.0.0.5)", "10.0.0.5", ways[i]), AUTH_REJECT);
                assert_int_equal(auth_address("10.*,/c/d(10.0.0.1)", "", "10.0.0.5", ways[i]), AUTH_UNDECIDED);
                (void)snprintf(own, sizeof own, "%s(10.0.0.5)", ways[i]);
                assert_int_equal(auth_address("", own, "10.0.0.5", "/c/d"), AUTH_REJECT);
        }
        assert_int_equal(auth_address("", "/(10.0.0.5)", "10.0.0.5", "//"), AUTH_REJECT);
        assert_int_equal(auth_address("", "/c(10.0.0.5)", "10.0.0.5", "/cd"), AUTH_UNDECIDED);
        assert_int_equal(auth_address("", "/cd(10.0.0.5)", "10.0.0.5", "/c/d"), AUTH_UNDECIDED);
}

/* No address of a long list is forgotten. */
static void test_long_groups(void **state)
{
        char list[BRICK_OPTION_TEXT_MAX];
        size_t len = (size_t)snprintf(list, sizeof list, "/a(");
        for (unsigned i = 0; i < 200; i++)
                len += (size_t)snprintf(list + len, sizeof list - len, "%s10.0.0.%u", i ? "|" : "", i);
        (void)snprintf(list + len, sizeof list - len, ")");
        assert_int_equal(auth_address("*", list, "10.0.0.199", "/a"), AUTH_REJECT);
        assert_int_equal(auth_address("*", list, "10.0.0.200", "/a"), AUTH_ACCEPT);
        assert_int_equal(auth_address(list, "", "10.0.0.199", "/a"), AUTH_ACCEPT);
}

static void test_names(void **state)
{
        char list[BRICK_OPTION_TEXT_MAX] = "10.*,localhost,/a(localhost|10.0.0.0/8),no.such.host.invalid,*";
        auth_resolve(list);
        assert_int_equal(auth_address(list, "", "127.0.0.1", "/a"), AUTH_ACCEPT);
        assert_int_equal(auth_address(list, "", "10.4.0.1", "/a"), AUTH_ACCEPT);
        assert_int_equal(auth_address(list, "", "11.4.0.1", "/a"), AUTH_UNDECIDED);
        assert_int_equal(strncmp(list, "10.*,localhost,", 15), 0);
        assert_non_null(strstr(list, "no.such.host.invalid,*"));

        char full[BRICK_OPTION_TEXT_MAX];
        memset(full, 'x', sizeof full - 1);
        full[sizeof full - 1] = '\0';
        memcpy(full + sizeof full - 11, ",localhost", 11);
        auth_resolve(full); /* no room for addresses: unchanged */
        assert_string_equal(full + sizeof full - 11, ",localhost");
}

static void test_certificates(void **state)
{
        assert_int_equal(auth_certificate("", "client1"), AUTH_UNDECIDED);
        assert_int_equal(auth_certificate("client1", NULL), AUTH_UNDECIDED);
        assert_int_equal(auth_certificate("client1", "client1"), AUTH_ACCEPT);
        assert_int_equal(auth_certificate("client2,client1", "client1"), AUTH_ACCEPT);
        assert_int_equal(auth_certificate("client2, cli*", "client1"), AUTH_ACCEPT);
        assert_int_equal(auth_certificate("*", "anybody"), AUTH_ACCEPT);
        assert_int_equal(auth_certificate("client", "client1"), AUTH_REJECT);
        assert_int_equal(auth_certificate("Client1", "client1"), AUTH_REJECT);
        assert_int_equal(auth_certificate("client1", "client1,client2"), AUTH_REJECT);
        assert_int_equal(auth_certificate("*", ""), AUTH_REJECT); /* no name in the certificate */
        assert_int_equal(auth_certificate(",", ""), AUTH_REJECT);
}

/* The answers of a stock brick for addresses and names (docs/formats/wire.md). */
static void test_certificates_and_addresses(void **state)
{
        struct export_config *c = calloc(1, sizeof *c);
        brick_options_init(&c->options);
        const struct auth_client client = {.peer = "10.0.0.1", .certificate = "client1"};
        struct auth_client member = client;
        member.trusted = true;
        struct error e;
        assert_true(auth_check(c, &client));
        assert_int_equal(brick_options_set(&c->options, "auth-allow", "1.2.3.4", &e), 0);
        assert_false(auth_check(c, &client));
        assert_true(auth_check(c, &member));
        assert_int_equal(brick_options_set(&c->options, "auth-ssl-allow", "cli*", &e), 0);
        assert_true(auth_check(c, &client));
        c->strict_auth = true;
        assert_true(auth_check(c, &client));
        assert_int_equal(brick_options_set(&c->options, "auth-allow", "*", &e), 0);
        assert_int_equal(brick_options_set(&c->options, "auth-ssl-allow", "other", &e), 0);
        assert_false(auth_check(c, &client));
        assert_false(auth_check(c, &member));
        assert_int_equal(brick_options_set(&c->options, "auth-ssl-allow", "client1", &e), 0);
        assert_int_equal(brick_options_set(&c->options, "auth-reject", "10.0.0.*", &e), 0);
        assert_false(auth_check(c, &client));
        free(c);
}

static const char volfile[] = "volume vol-posix\n"
                              "    type storage/posix\n"
                              "    option directory /bricks/b1\n"
                              "    option volume-id 37a337fd-dc82-4a0d-82a3-ef3bec2af388\n"
                              "    option reserve 3\n"
                              "end-volume\n"
                              "volume /bricks/b1\n"
                              "    type debug/io-stats\n"
                              "    subvolumes vol-posix\n"
                              "end-volume\n"
                              "volume vol-server\n"
                              "    type protocol/server\n"
                              "    option auth.addr./bricks/b1.allow 10.0.0.*\n"
                              "    option auth.addr./bricks/b2.allow *\n"
                              "    option auth.login./bricks/b1.allow user\n"
                              "    option auth.login.user.password secret\n"
                              "    option root-squash on\n"
                              "    option unheard-of 7\n"
                              "    option transport.socket.ssl-enabled on\n"
                              "    option transport.socket.ssl-own-cert /a.pem\n"
                              "    option auth.login./bricks/b1.ssl-allow client1,client2\n"
                              "    subvolumes /bricks/b1\n"
                              "end-volume\n";

static void test_volfile(void **state)
{
        struct export_config *c = malloc(sizeof *c);
        struct error e = {0};
        assert_int_equal(export_config_parse(volfile, strlen(volfile), c, &e), 0);
        assert_string_equal(c->path, "/bricks/b1");
        assert_string_equal(c->volume, "vol");
        assert_true(c->options.root_squash);
        assert_false(c->options.acl); /* no access-control section */
        assert_int_equal(c->options.reserve.percent, 3);
        assert_true(c->tls);
        assert_string_equal(c->tls_settings.own_cert, "/a.pem");
        assert_string_equal(c->tls_settings.private_key, "");
        assert_string_equal(c->options.auth_ssl_allow, "client1,client2");

        assert_true(auth_check(c, &(struct auth_client){.peer = "10.0.0.1"}));
        assert_false(auth_check(c, &(struct auth_client){.peer = "10.0.1.1"}));
        assert_true(auth_check(c, &(struct auth_client){.peer = "10.0.1.1", .trusted = true}));
        assert_false(auth_login(c, NULL, NULL));
        assert_false(auth_login(c, "user", "wrong"));
        assert_false(auth_login(c, "user", "secret2"));
        assert_true(auth_login(c, "user", "secret"));
        free(c);
}

static void feature_refused(const char *type, const char *option, const char *value, const char *remedy)
{
        char text[1024];
        struct error e = {0};
        struct export_config *c = malloc(sizeof *c);
        (void)snprintf(text, sizeof text,
                       "volume vol-posix\n type storage/posix\n option directory /b\n"
                       " option volume-id 11111111-2222-4333-8444-555555555555\nend-volume\n"
                       "volume x\n type %s\n option %s %s\n subvolumes vol-posix\nend-volume\n", type, option, value);
        int r = export_config_parse(text, strlen(text), c, &e);
        free(c);
        assert_int_equal(r, remedy ? -EOPNOTSUPP : 0);
        if (remedy && !strstr(e.text, remedy))
                fail_msg("'%s' does not say '%s'", e.text, remedy);
}

/* Features whose promise only a stock brick keeps. */
static void test_absent_features(void **state)
{
        feature_refused("features/quota", "server-quota", "on", "gluster volume quota vol disable");
        feature_refused("features/marker", "quota", "on", "gluster volume quota vol disable");
        feature_refused("features/marker", "inode-quota", "enable", "gluster volume quota vol disable");
        feature_refused("features/marker", "xtime", "on", "geo-replication.indexing off");
        feature_refused("features/changelog", "changelog", "on", "changelog.changelog off");
        feature_refused("features/bitrot-stub", "bitrot", "on", "gluster volume bitrot vol disable");
        feature_refused("features/worm", "worm", "1", "features.worm off");
        feature_refused("features/worm", "worm-file-level", "true", "features.worm-file-level off");
        feature_refused("features/trash", "trash", "on", "features.trash off");
        feature_refused("features/quota", "server-quota", "off", NULL);
        feature_refused("features/bitrot-stub", "bitrot", "disable", NULL);
}

static void refused(const char *text, const char *because)
{
        struct export_config *c = malloc(sizeof *c);
        struct error e = {0};
        assert_int_equal(export_config_parse(text, strlen(text), c, &e), -EINVAL);
        if (!strstr(e.text, because))
                fail_msg("'%s' does not say '%s'", e.text, because);
        free(c);
}

static void test_bad_volfiles(void **state)
{
        refused("", "no section");
        refused("volume a\n type debug/io-stats\nend-volume\n", "storage/posix");
        refused("nonsense\n", "line");
        refused("volume a\n type storage/posix\n option volume-id x\nend-volume\n", "no absolute directory");
        refused("volume a\n type storage/posix\n option directory /b\nend-volume\n", "volume-id");
        refused("volume a\n type storage/posix\n option directory /b\n option volume-id 12\nend-volume\n",
                "not a UUID");
        refused("volume a\n type storage/posix\n option directory /b\n option reserve lots\n"
                " option volume-id 37a337fd-dc82-4a0d-82a3-ef3bec2af388\nend-volume\n",
                "section a");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_networks),
                cmocka_unit_test(test_subdirectories),
                cmocka_unit_test(test_rejected_everywhere),
                cmocka_unit_test(test_ways_to_write_an_address),
                cmocka_unit_test(test_ways_to_write_a_directory),
                cmocka_unit_test(test_long_groups),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_certificates),
                cmocka_unit_test(test_certificates_and_addresses),
                cmocka_unit_test(test_volfile),
                cmocka_unit_test(test_absent_features),
                cmocka_unit_test(test_bad_volfiles),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
