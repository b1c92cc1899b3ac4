/* The kernel's node numbers: tables that grow, counts, names. A volume is not needed: inodes are looked at only for
 * their gfid and type, and counted by functions of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fake_top.h"
#include "mount/node.h"

#define MANY 5000

struct fixture {
        struct fake_volume *fake;
        struct node_table t;
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);
        assert_non_null(f);
        f->fake = fake_volume_new(NULL);
        assert_int_equal(node_table_init(&f->t), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        node_table_done(&f->t);
        fake_volume_free(f->fake);
        free(f);
        return 0;
}

static struct node *make(struct fixture *f, uint32_t number, uint32_t type)
{
        struct iatt stat = {.mode = type | 0644};
        memcpy(stat.gfid.b + 12, &number, sizeof number);
        stat.gfid.b[0] = 1;
        struct vnode *fresh = vnode_new(fake_volume(f->fake), &stat.gfid, type), *linked = vnode_link(fresh, &stat);
        struct node *n = node_get(&f->t, linked, 0);
        vnode_unref(fresh);
        vnode_unref(linked);
        return n;
}

static void test_many(void **state)
{
        struct fixture *f = *state;
        struct node *dir = make(f, 0, S_IFDIR);
        uint64_t ids[MANY];
        node_looked_up(dir);
        for (uint32_t i = 1; i < MANY; i++) {
                char name[32];
                struct node *n = make(f, i, S_IFREG);
                (void)snprintf(name, sizeof name, "name%u", i);
                entry_set(&f->t, dir, name, n);
                node_looked_up(n);
                ids[i] = n->id;
                node_unref(&f->t, n);
        }
        assert_int_equal(f->t.n_nodes, MANY);
        assert_true(f->t.n_buckets >= MANY / 4);
        for (uint32_t i = 1; i < MANY; i++) {
                char name[32];
                (void)snprintf(name, sizeof name, "name%u", i);
                struct node *by_id = node_find(&f->t, ids[i]), *by_name = entry_find(&f->t, dir, name);
                assert_non_null(by_id);
                assert_ptr_equal(by_id, by_name);
                node_unref(&f->t, by_name);
                node_forget(&f->t, by_id, 1);
                node_unref(&f->t, by_id);
                assert_null(node_find(&f->t, ids[i]));
                assert_null(entry_find(&f->t, dir, name));
        }
        assert_int_equal(f->t.n_nodes, 1);
        assert_int_equal(f->t.n_names, 0);
        node_forget(&f->t, dir, 1);
        node_unref(&f->t, dir);
        assert_int_equal(f->t.n_nodes, 0);
}

/* An object has one number as long as it is known, and another afterwards. */
static void test_numbers(void **state)
{
        struct fixture *f = *state;
        struct node *a = make(f, 1, S_IFREG), *again = make(f, 1, S_IFREG), *b = make(f, 2, S_IFREG);
        assert_ptr_equal(a, again);
        assert_true(a->id != b->id && a->id != 1 && b->id != 1);
        uint64_t id = a->id;
        node_looked_up(a);
        node_looked_up(a);
        node_unref(&f->t, a);
        node_unref(&f->t, again);
        node_forget(&f->t, a, 1);
        assert_int_equal(a->lookups, 1);
        node_forget(&f->t, a, 5); /* more than there were */
        assert_null(node_find(&f->t, id));
        a = make(f, 1, S_IFREG);
        assert_true(a->id != id);
        node_unref(&f->t, a);
        node_unref(&f->t, b);
}

/* Names hold their directory, chains of directories end without recursion. */
static void test_depth(void **state)
{
        struct fixture *f = *state;
        struct node *above = make(f, 0, S_IFDIR);
        for (uint32_t i = 1; i < MANY; i++) {
                struct node *dir = make(f, i, S_IFDIR);
                entry_set(&f->t, above, "d", dir);
                node_unref(&f->t, above);
                above = dir;
        }
        assert_int_equal(f->t.n_nodes, MANY);
        node_unref(&f->t, above);
        assert_int_equal(f->t.n_nodes, 0);
}

static void test_names(void **state)
{
        struct fixture *f = *state;
        struct node *d = make(f, 1, S_IFDIR), *e = make(f, 2, S_IFDIR), *a = make(f, 3, S_IFREG),
                    *b = make(f, 4, S_IFREG);
        entry_set(&f->t, d, "x", a);
        entry_set(&f->t, d, "y", a); /* a second name */
        entry_set(&f->t, d, "x", b); /* is another object now */
        struct node *x = entry_find(&f->t, d, "x"), *y = entry_find(&f->t, d, "y");
        assert_ptr_equal(x, b);
        assert_ptr_equal(y, a);
        node_unref(&f->t, x);
        node_unref(&f->t, y);
        entry_set(&f->t, d, "sub", e);
        entry_set(&f->t, d, "moved", e); /* a directory has one name */
        assert_null(entry_find(&f->t, d, "sub"));
        entry_set(&f->t, e, "loop", d); /* as others may have moved them */
        entry_drop(&f->t, d, "x");
        assert_null(entry_find(&f->t, d, "x"));
        entry_drop(&f->t, d, "x");
        node_looked_up(d);
        node_looked_up(e);
        node_unref(&f->t, a);
        node_unref(&f->t, b);
        node_unref(&f->t, d);
        node_unref(&f->t, e);
        node_forget(&f->t, d, 1);
        node_forget(&f->t, e, 1);
        assert_int_equal(f->t.n_nodes, 0);
        assert_int_equal(f->t.n_names, 0);
}

static void test_use(void **state)
{
        struct fixture *f = *state;
        struct node *a = make(f, 1, S_IFREG), *b = make(f, 2, S_IFREG), *c = make(f, 3, S_IFREG);
        assert_ptr_equal(f->t.oldest, a);
        node_touch(&f->t, a);
        assert_ptr_equal(f->t.oldest, b);
        assert_ptr_equal(f->t.newest, a);
        node_unref(&f->t, b);
        assert_ptr_equal(f->t.oldest, c);
        node_unref(&f->t, a);
        node_unref(&f->t, c);
        assert_null(f->t.oldest);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
                cmocka_unit_test_setup_teardown(test_names, setup, teardown),
                cmocka_unit_test_setup_teardown(test_use, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
