/* Volfile ids. */
#include "volfile/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the above before it */
#include <cmocka.h>

static const struct {
        const char *key;
        enum volfile_kind kind;
        const char *volume;
        const char *item;
} good[] = {
        {"vol1", VOLFILE_CLIENT, "vol1", ""},
        {"/vol1", VOLFILE_CLIENT, "vol1", ""},
        {"vol1.tcp", VOLFILE_CLIENT, "vol1", "tcp"},
        {"/vol1.tcp", VOLFILE_CLIENT, "vol1", "tcp"},
        {"vol1.tcp-fuse", VOLFILE_CLIENT, "vol1", "tcp"},
        {"vol1.rdma", VOLFILE_CLIENT, "vol1", "rdma"},
        {"vol1.10.97.0.1.srv-one-b", VOLFILE_BRICK, "vol1", "10.97.0.1.srv-one-b"},
        {"shd/vol1", VOLFILE_SHD, "vol1", ""},
        {"rebalance/vol1", VOLFILE_REBALANCE, "vol1", ""},
        {"snapd/vol1", VOLFILE_SNAPD, "vol1", ""},
        {"gfproxy-client/vol1", VOLFILE_GFPROXY_CLIENT, "vol1", ""},
        {"gfproxyd/vol1", VOLFILE_GFPROXYD, "vol1", ""},
        {"/snaps/s1/vol1", VOLFILE_SNAPSHOT, "vol1", "s1"},
        {"client_per_brick/vol1.client.h.b.vol", VOLFILE_CLIENT_PER_BRICK, "vol1", ".client.h.b.vol"},
        {"gluster/quotad", VOLFILE_NODE, "", "gluster/quotad"},
        {"bitd", VOLFILE_NODE, "", "bitd"},
        {"scrub", VOLFILE_NODE, "", "scrub"},
        {"shd", VOLFILE_CLIENT, "shd", ""},
};

static void forms_are_recognised(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                struct volfile_key k;
                if (volfile_key_parse(good[i].key, &k) != 0)
                        fail_msg("%s is refused", good[i].key);
                assert_int_equal(k.kind, good[i].kind);
                assert_string_equal(k.volume, good[i].volume);
                assert_string_equal(k.item, good[i].item);
        }
}

static void other_texts_are_refused(void **state)
{
        (void)state;
        static const char *const bad[] = {"",
                                          "/",
                                          "//vol1",
                                          "a b",
                                          "-v",
                                          "vol1/",
                                          "vol1/..",
                                          "shd/",
                                          "shd/a/b",
                                          "shd/../b",
                                          "vol1.",
                                          "vol1.host",
                                          "vol1.host.",
                                          "vol1..b",
                                          "vol1.h.a/b",
                                          "/snaps/",
                                          "/snaps/s1",
                                          "/snaps//v",
                                          "/snaps/s/v.h.b",
                                          "../x",
                                          "v\n",
                                          "client_per_brick/"};
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                struct volfile_key k = {.kind = VOLFILE_KIND_MAX};
                if (volfile_key_parse(bad[i], &k) != -EINVAL)
                        fail_msg("\"%s\" is taken", bad[i]);
                assert_int_equal(k.kind, VOLFILE_KIND_MAX);
        }
}

static void length_is_bounded(void **state)
{
        (void)state;
        char key[300];
        memset(key, 'v', sizeof key);
        struct volfile_key k;
        key[VOLFILE_KEY_MAX] = '\0';
        assert_int_equal(volfile_key_parse(key, &k), 0);
        assert_int_equal(strlen(k.volume), VOLFILE_KEY_MAX);
        key[VOLFILE_KEY_MAX] = 'v';
        key[VOLFILE_KEY_MAX + 1] = '\0';
        assert_int_equal(volfile_key_parse(key, &k), -ENAMETOOLONG);
}

static void brick_ids_are_made_and_matched(void **state)
{
        (void)state;
        _cleanup_buf_ struct buf text = BUF_INIT(1000);
        assert_int_equal(volfile_key_format_brick("vol1", "10.97.0.1", "/srv/one/b", &text), 0);
        assert_string_equal(buf_cstr(&text), "vol1.10.97.0.1.srv-one-b");
        struct volfile_key k;
        assert_int_equal(volfile_key_parse(buf_cstr(&text), &k), 0);
        assert_true(volfile_key_is_brick(&k, "10.97.0.1", "/srv/one/b"));
        assert_true(volfile_key_is_brick(&k, "10.97.0.1", "/srv-one/b"));
        assert_false(volfile_key_is_brick(&k, "10.97.0.1", "/srv/one"));
        assert_false(volfile_key_is_brick(&k, "10.97.0.1", "/srv/one/b/c"));
        assert_false(volfile_key_is_brick(&k, "10.97.0", "/1/srv/one/b"));
        assert_false(volfile_key_is_brick(&k, "10.97.0.10", "/srv/one/b"));
        assert_int_equal(volfile_key_parse("vol1", &k), 0);
        assert_false(volfile_key_is_brick(&k, "", ""));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(forms_are_recognised),
                cmocka_unit_test(other_texts_are_refused),
                cmocka_unit_test(length_is_bounded),
                cmocka_unit_test(brick_ids_are_made_and_matched),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
