/* Records: round trip, damage, newer schema, the sorted set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

static void write_file(struct world *w, const char *path, const char *text)
{
        int fd = disk_open(w->disk, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        assert_true(fd >= 0);
        struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
        assert_int_equal(disk_pwritev(w->disk, fd, &iov, 1, 0), (ssize_t)iov.iov_len);
        disk_close(w->disk, fd);
}

static struct volume *full_volume(void)
{
        struct volume *v = world_volume("v", "here:/data/a", "here:/data2/b", "there:/data/c", NULL);
        static struct volume_setting options[] = {{"nfs.disable", "on"}, {"user.x", "\"quoted\" \xc3\xa4\n"}};
        for (size_t i = 0; i < v->n_bricks; i++)
                v->bricks[i].real_path = v->bricks[i].path;
        v->type = VOLUME_REPLICATE;
        v->set_size = 3;
        v->arbiter_count = 1;
        v->bricks[0].local = v->bricks[1].local = true;
        v->bricks[1].fsid = 0xfedcba9876543210;
        v->bricks[1].origin = (struct brick_origin){.absent = true, .had_mark = true, .mark = {.b = {7, 7}}};
        v->options = options;
        v->n_options = ELEMENTSOF(options);
        v->status = VOLUME_STOPPED;
        v->version = 77;
        return v;
}

static void test_round_trip(void **unused)
{
        (void)unused;
        _cleanup_volume_ struct volume *v = full_volume();
        _cleanup_volume_ struct volume *copy = volume_copy(v);
        assert_non_null(copy);
        json_t *a = volume_encode(v), *b = volume_encode(copy);
        assert_non_null(a);
        assert_true(json_equal(a, b));
        assert_true(copy->bricks[1].fsid == v->bricks[1].fsid);
        assert_true(gfid_equal(&copy->bricks[1].origin.mark, &v->bricks[1].origin.mark));
        json_decref(a);
        json_decref(b);
}

/* A record of the first form has no counts, and all its bricks are the node's. */
static void test_first_form(void **unused)
{
        (void)unused;
        _cleanup_volume_ struct volume *v = full_volume();
        struct volume *old = NULL;
        json_t *json = volume_encode(v);
        json_object_del(json, "set_size");
        json_object_del(json, "arbiter_count");
        json_object_del(json, "redundancy");
        json_object_del(json_array_get(json_object_get(json, "bricks"), 0), "local");
        assert_int_equal(volume_decode(json, &old, NULL), -EINVAL);
        json_object_set_new(json, "type", json_string("distribute"));
        assert_int_equal(volume_decode(json, &old, NULL), 0);
        assert_int_equal(old->set_size, 1);
        assert_true(old->bricks[0].local);
        assert_false(old->bricks[2].local);
        volume_free(old);
        json_decref(json);
}

/* What goes to another node and comes back says the same of the volume, and nothing of the node. */
static void test_between_nodes(void **unused)
{
        (void)unused;
        _cleanup_volume_ struct volume *v = full_volume();
        struct volume *got = NULL;
        struct error e = {0};
        json_t *json = volume_export(v);
        if (volume_import(json, &got, &e) < 0)
                fail_msg("%s", e.text);
        assert_int_equal(got->status, VOLUME_CREATED);
        assert_int_equal(got->version, 1);
        assert_false(got->bricks[0].local);
        assert_true(got->bricks[1].fsid == 0 && !got->bricks[1].origin.absent);
        json_t *again = volume_export(got);
        assert_true(json_equal(json, again));
        volume_free(got);
        json_decref(again);
        json_decref(json);
}

/* Every member that is taken away or replaced by nonsense makes the record damaged, or is not needed; nothing crashes.
 */
static void test_mutations(void **unused)
{
        (void)unused;
        _cleanup_volume_ struct volume *v = full_volume();
        json_t *whole = volume_encode(v);
        const char *key;
        json_t *value;
        json_object_foreach(whole, key, value)
        {
                json_t *without = json_deep_copy(whole), *nonsense = json_deep_copy(whole);
                struct volume *got = NULL;
                struct error e = {0};
                json_object_del(without, key);
                json_object_set_new(nonsense, key, json_pack("[i,{}]", 5));
                assert_int_equal(volume_decode(without, &got, &e), -EINVAL);
                assert_non_null(strstr(e.text, key));
                assert_int_equal(volume_decode(nonsense, &got, &e), -EINVAL);
                json_decref(without);
                json_decref(nonsense);
        }
        struct volume *got = NULL;
        json_object_set_new(whole, "from_the_future", json_true());
        assert_int_equal(volume_decode(whole, &got, NULL), 0);
        volume_free(got);
        json_object_set_new(whole, "schema", json_integer(VOLUME_SCHEMA + 1));
        assert_int_equal(volume_decode(whole, &got, NULL), -EPROTONOSUPPORT);
        json_decref(whole);
}

/* A damaged record is reported, is not touched, and does not hinder the others. */
static void test_damaged(void **unused)
{
        (void)unused;
        struct world w;
        world_init(&w, 3);
        struct volume *v = world_volume("good", "here:/data/a", NULL);
        assert_int_equal(change_create(&w.change, v, 0, NULL), 0);
        volume_free(v);
        write_file(&w, "/state/volumes/bad.json", "{\"schema\": 1");
        write_file(&w, "/state/volumes/new.json", "{\"schema\": 99}");
        write_file(&w, "/state/volumes/.new.json", "half");
        write_file(&w, "/state/volumes/README", "not ours");
        world_halt(&w);
        world_boot(&w);
        assert_int_equal(w.volumes.n, 3);
        assert_non_null(volume_set_find(&w.volumes, "good"));
        assert_null(volume_set_find(&w.volumes, "bad"));
        assert_non_null(
                strstr(volume_set_entry(&w.volumes, "bad")->why.text, "/state/volumes/bad.json: it is damaged"));
        assert_non_null(strstr(volume_set_entry(&w.volumes, "new")->why.text, "a newer mortard wrote it"));
        assert_true(world_exists(&w, "/state/volumes/bad.json"));
        assert_true(world_exists(&w, "/state/volumes/new.json"));
        assert_true(world_exists(&w, "/state/volumes/README"));
        assert_false(world_exists(&w, "/state/volumes/.new.json"));
        world_done(&w);
}

static void test_node(void **unused)
{
        (void)unused;
        struct world w;
        struct error e = {0};
        world_init(&w, 3);
        struct gfid node = *store_node(w.store);
        static const uint8_t other[16] = {5};
        world_halt(&w);
        assert_int_equal(store_open(w.disk, "/state", other, &w.store, &e), 0);
        assert_true(gfid_equal(store_node(w.store), &node));
        world_halt(&w);
        write_file(&w, "/state/node.json", "{}");
        assert_int_equal(store_open(w.disk, "/state", other, &w.store, &e), -EINVAL);
        assert_non_null(strstr(e.text, "/state/node.json"));
        world_done(&w);
}

static void test_set(void **unused)
{
        (void)unused;
        struct volume_set s = {0};
        char name[8] = "v00";
        for (unsigned i = 0; i < 50; i++) {
                unsigned n = i * 37 % 50;
                name[1] = (char)('0' + n / 10);
                name[2] = (char)('0' + n % 10);
                assert_int_equal(volume_set_put(&s, name, world_volume(name, NULL), NULL), 0);
        }
        assert_int_equal(s.n, 50);
        for (size_t i = 1; i < s.n; i++)
                assert_true(strcmp(s.v[i - 1].name, s.v[i].name) < 0);
        volume_set_remove(&s, "v20");
        volume_set_remove(&s, "nosuch");
        assert_int_equal(s.n, 49);
        assert_null(volume_set_find(&s, "v20"));
        assert_string_equal(volume_set_find(&s, "v21")->name, "v21");
        volume_set_done(&s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_mutations),
                cmocka_unit_test(test_damaged),       cmocka_unit_test(test_node),
                cmocka_unit_test(test_set),           cmocka_unit_test(test_first_form),
                cmocka_unit_test(test_between_nodes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
