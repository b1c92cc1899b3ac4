/* Which bricks may share a process: src/pool/transport_key.c. */
#include "pool/transport_key.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SSL "    option transport.socket.ssl-"

static void test_keys(void **state)
{
        uint64_t on = transport_key("volume v\n" SSL "enabled on\nend-volume\n");
        assert_int_equal(transport_key(""), 0);
        assert_int_equal(transport_key("volume v\n" SSL "enabled off\n" SSL "own-cert /a\nend-volume\n"), 0);
        assert_int_equal(transport_key(SSL "own-cert /a\n"), 0);
        assert_int_not_equal(on, 0);
        assert_int_equal(transport_key("volume w\n    option reserve 3\n" SSL "enabled yes\nend-volume"), on);
        assert_int_not_equal(transport_key(SSL "enabled on\n" SSL "own-cert /a\n"), on);
        assert_int_not_equal(transport_key(SSL "enabled on\n" SSL "own-cert /a\n"),
                             transport_key(SSL "enabled on\n" SSL "own-cert /b\n"));
        assert_int_equal(transport_key(SSL "own-cert /a\n" SSL "enabled on\n"),
                         transport_key(SSL "enabled on\n" SSL "own-cert /a\n"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
