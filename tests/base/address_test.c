/* Addresses as text (base/loop.h). */
#include "check.h"

#include "base/loop.h"

#include <sys/un.h>

static void texts_come_back(void **state)
{
        static const char *const good[] = {"192.0.2.1:24007", "0.0.0.0:0", "[::1]:24007",     "[2001:db8::7]:49152",
                                           "*:24007",         "*:65535",   "unix:/run/x.sock"};
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                struct address a;
                char text[ADDRESS_TEXT_MAX];
                assert_ok(address_parse(good[i], &a));
                assert_string_equal(address_format(&a, text), good[i]);
        }
}

static void other_texts_are_refused(void **state)
{
        static const char *const bad[] = {"",
                                          ":",
                                          "1.2.3.4",
                                          "1.2.3.4:",
                                          "1.2.3.4:65536",
                                          "1.2.3.4:-1",
                                          "1.2.3.4:+1",
                                          "1.2.3.4: 1",
                                          "1.2.3.4:1x",
                                          "1.2.3.4:000001",
                                          "localhost:1",
                                          "1.2.3:1",
                                          "::1:24007",
                                          "[::1:24007",
                                          "[::1]",
                                          "[]:1",
                                          "[1.2.3.4]:1",
                                          ":1",
                                          "unix:",
                                          "unix:x",
                                          "unix",
                                          "[::1%lo]:1",
                                          "[:1"};
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                struct address a;
                if (address_parse(bad[i], &a) != -EINVAL)
                        fail_msg("'%s' was taken", bad[i]);
        }
}

static void unix_path_length_is_checked(void **state)
{
        char text[5 + 109 + 1];
        size_t longest = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
        memset(text, 'x', sizeof text);
        memcpy(text, "unix:/", 6);
        text[5 + longest] = 0;
        struct address a;
        char out[ADDRESS_TEXT_MAX];
        assert_ok(address_parse(text, &a));
        assert_string_equal(address_format(&a, out), text);
        text[5 + longest] = 'x';
        text[5 + longest + 1] = 0;
        assert_int_equal(address_parse(text, &a), -EINVAL);
}

static void ports(void **state)
{
        struct address a;
        assert_ok(address_parse("[::1]:513", &a));
        assert_int_equal(address_port(&a), 513);
        assert_ok(address_parse("10.0.0.1:65535", &a));
        assert_int_equal(address_port(&a), 65535);
        assert_ok(address_parse("unix:/x", &a));
        assert_int_equal(address_port(&a), 0);
}

static void unnamed_and_unknown_families_have_a_text(void **state)
{
        char text[ADDRESS_TEXT_MAX];
        struct address a = {.sa.ss_family = AF_UNIX, .len = sizeof(sa_family_t)};
        assert_string_equal(address_format(&a, text), "unix:");
        a.sa.ss_family = AF_NETLINK;
        assert_true(starts_with(address_format(&a, text), "address-family-"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(texts_come_back),
                cmocka_unit_test(other_texts_are_refused),
                cmocka_unit_test(unix_path_length_is_checked),
                cmocka_unit_test(ports),
                cmocka_unit_test(unnamed_and_unknown_families_have_a_text),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
