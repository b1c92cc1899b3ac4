/* Look-ups of names that others change (replicate.md §5.4). */
#include "afr_calls.h"

#include <sys/stat.h>

#define ROUNDS 400

struct change {
        bool over;
        unsigned looks;
};

/* The name always stands for a file, always for another one. */
static void replace(struct fibre *self, struct world_client *c, void *arg)
{
        struct change *x = arg;
        for (unsigned k = 0; k < ROUNDS; k++) {
                assert_int_equal(call_mknod(self, c, NULL, "own", S_IFREG | 0644), 0);
                assert_int_equal(call_rename(self, c, NULL, "own", NULL, "shared"), 0);
        }
        x->over = true;
}

static void look(struct fibre *self, struct world_client *c, void *arg)
{
        struct change *x = arg;
        while (!x->over) {
                struct vnode *i = NULL;
                assert_int_equal(call_lookup(self, c, NULL, "shared", &i), 0);
                vnode_unref(i);
                x->looks++;
        }
}

static void make(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_mknod(self, c, NULL, "shared", S_IFREG | 0644), 0);
}

static void a_name_that_is_replaced_is_always_there(void **state)
{
        (void)state;
        for (unsigned seed = 1; seed <= 4; seed++) {
                static struct world w;
                struct change x = {0};
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 3, .seed = seed});
                world_run(&w, 0, make, NULL);
                world_start(&w, 1, look, &x);
                world_start(&w, 2, look, &x);
                world_run(&w, 0, replace, &x);
                world_wait(&w);
                assert_true(x.looks > ROUNDS);
                world_close(&w);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_name_that_is_replaced_is_always_there),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
