/* Look-ups of names that others change (replicate.md §5.4). */
#include "afr_calls.h"

#include <fcntl.h>
#include <stdio.h>
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

/* ---- names under change ------------------------------------------------------------------------------------------ */

#define TURNS 150
#define MAKERS 2
#define SHARED 2

static const char *const shared_names[SHARED] = {"shared0", "shared1"};
static const char *const shared_paths[SHARED] = {"/shared0", "/shared1"};

struct quarrel {
        unsigned makers; /* that still change names */
        unsigned made, removed, found, absent, opened;
};

/* Who changes names is near the bricks, who looks is not: between the first copy's answer and the last one's there may be
 * several changes. */
static void delay_messages(struct world *w)
{
        for (unsigned c = 0; c < w->n_clients; c++)
                for (unsigned b = 0; b < w->n_bricks; b++) {
                        uint64_t most = c < MAKERS ? 300 * NS_PER_USEC : (1 + sim_random(w->sim, 8)) * NS_PER_MSEC;
                        const struct sim_link link = {.delay_min = 50 * NS_PER_USEC, .delay_max = most};
                        sim_link_set(w->sim, w->clients[c].node, w->bricks[b].node, &link);
                }
}

static bool is_one_of(int result, int a, int b)
{
        if (result >= 0 || result == a || result == b)
                return true;
        print_message("illegal answer %d\n", result);
        return false;
}

static void fight_for_names(struct fibre *self, struct world_client *c, void *arg)
{
        struct quarrel *q = arg;
        char own[16];
        (void)snprintf(own, sizeof own, "own%u", c->index);
        for (unsigned k = 0; k < TURNS; k++) {
                const char *name = shared_names[sim_random(c->world->sim, SHARED)];
                struct vfile *f = NULL;
                int result = call_create(self, c, NULL, name, O_EXCL, &f);
                assert_true(is_one_of(result, -EEXIST, -EEXIST));
                q->made += result >= 0;
                if (f)
                        assert_int_equal(call_close(self, c, f), 0);
                if (sim_random(c->world->sim, 2)) {
                        result = call_mknod(self, c, NULL, own, S_IFREG | 0644);
                        assert_true(is_one_of(result, -EEXIST, -EEXIST));
                        assert_int_equal(call_rename(self, c, NULL, own, NULL, name), 0);
                }
                result = call_unlink(self, c, NULL, name);
                assert_true(is_one_of(result, -ENOENT, -ENOENT));
                q->removed += result >= 0;
        }
        q->makers--;
}

static void watch_names(struct fibre *self, struct world_client *c, void *arg)
{
        struct quarrel *q = arg;
        for (unsigned k = 0; q->makers; k++) {
                struct vnode *i = NULL;
                struct vfile *f = NULL;
                struct iatt stat;
                const char *name = shared_names[k % SHARED];
                int result = call_lookup(self, c, NULL, name, &i);
                assert_true(is_one_of(result, -ENOENT, -ENOENT));
                q->found += result >= 0;
                q->absent += result < 0;
                if (i) {
                        assert_true(is_one_of(call_stat(self, c, i, &stat), -ENOENT, -ESTALE));
                        assert_true(is_one_of(call_look_again(self, c, NULL, name, i), -ENOENT, -ESTALE));
                        vnode_unref(i);
                }
                result = call_open(self, c, NULL, name, 0, &f);
                assert_true(is_one_of(result, -ENOENT, -ESTALE));
                q->opened += result >= 0;
                if (f)
                        assert_int_equal(call_close(self, c, f), 0);
        }
}

static void fight(const struct world_config *config, int away, struct quarrel *q)
{
        static struct world w;
        q->makers = MAKERS;
        world_open(&w, config);
        delay_messages(&w);
        if (away >= 0) {
                world_brick_stop(&w.bricks[away]);
                world_pass(&w, NS_PER_SEC);
        }
        for (unsigned c = 0; c < w.n_clients; c++)
                world_start(&w, c, c < MAKERS ? fight_for_names : watch_names, q);
        world_wait(&w);
        if (away >= 0)
                world_brick_start(&w.bricks[away]);
        world_pass(&w, 10 * NS_PER_SEC);
        for (unsigned k = 0; k < SHARED && away < 0; k++)
                for (unsigned b = 0; b < w.n_bricks; b++)
                        assert_false(world_exists(&w.bricks[b], shared_paths[k]));
        if (away < 0)
                assert_clean(&w, "");
        world_close(&w);
}

/* Two clients make, replace and remove the same names, two others look: each answer is one of before or after. */
static void a_name_under_change_is_there_or_not(void **state)
{
        (void)state;
        struct quarrel q = {0};
        for (unsigned seed = 1; seed <= 8; seed++) {
                struct world_config config = {.layout = seed % 3 ? WORLD_REP3 : WORLD_ARBITER, .clients = 4, .seed = seed};
                config.distribute_one = seed % 2;
                fight(&config, -1, &q);
                config.layout = WORLD_REP3;
                fight(&config, (int)(seed % 3), &q);
        }
        assert_true(q.made > 100 && q.removed > 100 && q.found > 100 && q.absent > 100 && q.opened > 20);
}

/* ---- one copy --------------------------------------------------------------------------------------------------- */

#define NAMES 12

struct known {
        struct vnode *root, *dir, *files[NAMES];
        int result;
        unsigned n; /* which file */
};

static const char *nth(unsigned k)
{
        static char name[16];
        (void)snprintf(name, sizeof name, "f%u", k);
        return name;
}

static void make_all(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vnode *dir;
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "dir", &dir), 0);
        for (unsigned k = 0; k < NAMES; k++)
                assert_int_equal(call_mknod(self, c, dir, nth(k), S_IFREG | 0644), 0);
        vnode_unref(dir);
}

/* Everything is looked up as if for the first time. */
static void get_to_know(struct fibre *self, struct world_client *c, void *arg)
{
        struct known *k = arg;
        struct iatt stat;
        const struct gfid root = GFID_ROOT;
        struct vnode *dir;
        if (!k->root)
                k->root = vnode_new(c->volume, &root, S_IFDIR);
        assert_int_equal(call_stat(self, c, k->root, &stat), 0);
        assert_int_equal(call_lookup(self, c, k->root, "dir", &dir), 0);
        vnode_unref(k->dir);
        k->dir = dir;
        for (unsigned i = 0; i < NAMES; i++) {
                struct vnode *file;
                assert_int_equal(call_lookup(self, c, dir, nth(i), &file), 0);
                vnode_unref(k->files[i]);
                k->files[i] = file;
        }
}

static void forget(struct known *k)
{
        vnode_unref(k->root);
        vnode_unref(k->dir);
        for (unsigned i = 0; i < NAMES; i++)
                vnode_unref(k->files[i]);
}

static void look_at_all(struct fibre *self, struct world_client *c, void *arg)
{
        struct known *k = arg;
        assert_int_equal(call_look_again(self, c, k->root, "dir", k->dir), 0);
        for (unsigned i = 0; i < NAMES; i++)
                assert_int_equal(call_look_again(self, c, k->dir, nth(i), k->files[i]), 0);
}

static void look_at_one(struct fibre *self, struct world_client *c, void *arg)
{
        struct known *k = arg;
        k->result = call_look_again(self, c, k->dir, nth(k->n), k->files[k->n]);
}

static unsigned take_messages(struct world *w)
{
        unsigned n = 0;
        for (unsigned b = 0; b < w->n_bricks; b++) {
                n += w->bricks[b].messages;
                w->bricks[b].messages = 0;
        }
        return n;
}

static unsigned messages_for(struct world *w, unsigned client, world_fn fn, struct known *k)
{
        (void)take_messages(w);
        world_run(w, client, fn, k);
        return take_messages(w);
}

static void what_is_known_is_looked_at_on_one_copy(void **state)
{
        static const enum world_layout layouts[] = {WORLD_REP3, WORLD_ARBITER};
        (void)state;
        for (unsigned l = 0; l < ELEMENTSOF(layouts); l++) {
                static struct world w;
                struct known k = {0};
                world_open(&w, &(struct world_config){.layout = layouts[l], .clients = 2, .seed = 1});
                world_run(&w, 0, make_all, NULL);
                world_run(&w, 1, get_to_know, &k);
                w.bricks[2].calls[FOP_LOOKUP] = 0;
                assert_int_equal(messages_for(&w, 1, look_at_all, &k), NAMES + 1);
                assert_true(l == 0 || w.bricks[2].calls[FOP_LOOKUP] == 0); /* not the arbiter */
                forget(&k);
                world_close(&w);
        }
}

static void bricks_that_do_not_tell_are_all_asked(void **state)
{
        static struct world w;
        static const struct world_config configs[] = {
                {.layout = WORLD_REP3, .seed = 1, .no_chain = true},
                {.layout = WORLD_REP3, .seed = 1, .client_options = "    option mortar.chain off\n"},
        };
        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(configs); i++) {
                struct known k = {0};
                world_open(&w, &configs[i]);
                world_run(&w, 0, make_all, NULL);
                world_run(&w, 0, get_to_know, &k);
                assert_int_equal(messages_for(&w, 0, look_at_all, &k), 3 * (NAMES + 1));
                forget(&k);
                world_close(&w);
        }
}

static bool all_up(void *arg)
{
        const struct world_client *c = arg;
        const struct subvolume *v = volume_top(c->volume);
        for (unsigned i = 0; i < v->n_children; i++)
                if (!v->children[i]->up)
                        return false;
        return true;
}

static bool one_down(void *arg)
{
        return !all_up(arg);
}

/* A brick that was away may have missed something, or lost it: its copies are compared again. */
static void a_brick_that_goes_or_comes_is_doubted(void **state)
{
        static struct world w;
        struct known k = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 2});
        world_run(&w, 0, make_all, NULL);
        world_run(&w, 0, get_to_know, &k);
        world_brick_crash(&w.bricks[1], false);
        world_until(&w, one_down, &w.clients[0]);
        assert_int_equal(messages_for(&w, 0, look_at_all, &k), 2 * (NAMES + 1));
        world_brick_start(&w.bricks[1]);
        world_until(&w, all_up, &w.clients[0]);
        assert_true(messages_for(&w, 0, look_at_all, &k) >= 3 * (NAMES + 1));
        world_run(&w, 0, get_to_know, &k);
        assert_int_equal(messages_for(&w, 0, look_at_all, &k), NAMES + 1);
        forget(&k);
        world_close(&w);
}

static void lock_name(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct known *k = arg;
        struct request r = world_request(c, &a);
        const struct subvolume *v = volume_top(c->volume);
        r.cred.owner_len = 8;
        r.cred.owner[0] = 7;
        const struct entrylk_fop_req req = {.gfid = k->dir->gfid,
                                            .cmd = k->result ? 1 : 0,
                                            .type = 1,
                                            .namelen = 1,
                                            .name = str_of(nth(k->n)),
                                            .volume = str_of(v->name),
                                            .xdata = DICT_NULL};
        struct entrylk_fop_rep rep;
        for (unsigned i = 0; i < v->n_children; i++)
                assert_int_equal(subvolume_entrylk(self, v->children[i], &r, &req, &rep), 0);
}

struct deed {
        struct known known;
        int removed, replaced, made, written;
};

static void change_names(struct fibre *self, struct world_client *c, void *arg)
{
        struct deed *d = arg;
        struct known *k = &d->known;
        d->removed = call_unlink(self, c, k->dir, nth(0));
        d->made = call_mknod(self, c, k->dir, "new", S_IFREG | 0644);
        d->replaced = call_rename(self, c, k->dir, "new", k->dir, nth(1));
}

/* Names that somebody changes, that stand for something else, that are gone. */
static void odd_answers_are_not_believed(void **state)
{
        static struct world w;
        struct known k = {0}, holder = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 3});
        world_run(&w, 0, make_all, NULL);
        world_run(&w, 1, get_to_know, &k);
        world_run(&w, 0, get_to_know, &holder);
        world_run(&w, 0, lock_name, &holder);
        assert_int_equal(messages_for(&w, 1, look_at_one, &k), 4);
        assert_int_equal(k.result, 0);
        holder.result = 1;
        world_run(&w, 0, lock_name, &holder);
        assert_int_equal(messages_for(&w, 1, look_at_one, &k), 1);
        struct deed d = {.known = holder};
        world_run(&w, 0, change_names, &d);
        assert_int_equal(d.removed | d.made | d.replaced, 0);
        world_pass(&w, NS_PER_SEC); /* it unlocks */
        assert_int_equal(messages_for(&w, 1, look_at_one, &k), 4);
        assert_int_equal(k.result, -ENOENT);
        k.n = 1;
        assert_int_equal(messages_for(&w, 1, look_at_one, &k), 4);
        assert_int_equal(k.result, -ESTALE);
        forget(&holder);
        forget(&k);
        world_close(&w);
}

/* Client 0 does not reach a brick, client 1 does, and reads that one: what client 0 was told is done, client 1 sees as
 * soon as it was told that something is pending. */
static void a_copy_that_another_client_blamed_is_not_believed(void **state)
{
        (void)state;
        for (unsigned brick = 0; brick < 3; brick++) {
                static struct world w;
                char options[64];
                struct known k = {0};
                struct deed d = {0};
                (void)snprintf(options, sizeof options, "    option read-subvolume-index %u\n", brick);
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 4 + brick,
                                                      .replicate_options = options});
                world_run(&w, 0, make_all, NULL);
                world_run(&w, 1, get_to_know, &k);
                world_run(&w, 0, get_to_know, &d.known);
                assert_int_equal(messages_for(&w, 1, look_at_all, &k), NAMES + 1);
                world_cut(&w, 0, brick, true);
                world_reset(&w, 0, brick);
                world_until(&w, one_down, &w.clients[0]);
                world_run(&w, 0, change_names, &d);
                assert_int_equal(d.removed | d.made | d.replaced, 0);
                world_pass(&w, NS_PER_MSEC); /* one message */
                assert_true(all_up(&w.clients[1]));
                k.n = 0;
                assert_int_equal(messages_for(&w, 1, look_at_one, &k) >= 3, true);
                assert_int_equal(k.result, -ENOENT);
                k.n = 1;
                world_run(&w, 1, look_at_one, &k);
                assert_int_equal(k.result, -ESTALE);
                k.n = 2;
                assert_int_equal(messages_for(&w, 1, look_at_one, &k), 3);
                assert_int_equal(k.result, 0);
                world_cut(&w, 0, brick, false);
                forget(&k);
                forget(&d.known);
                world_close(&w);
        }
}

static void write_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct deed *d = arg;
        struct vfile *f;
        assert_int_equal(call_open(self, c, d->known.dir, nth(0), 0, &f), 0);
        d->written = call_write(self, c, f, 0, "new", 3);
        assert_int_equal(call_close(self, c, f), 0);
}

struct reading {
        struct known known;
        struct vfile *file;
        char data[8];
};

static void read_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct reading *r = arg;
        if (!r->file)
                assert_int_equal(call_open(self, c, r->known.dir, nth(0), 0, &r->file), 0);
        memset(r->data, 0, sizeof r->data);
        assert_true(call_read(self, c, r->file, 0, r->data, sizeof r->data) >= 0);
}

static void close_file(struct fibre *self, struct world_client *c, void *arg)
{
        struct reading *r = arg;
        assert_int_equal(call_close(self, c, r->file), 0);
}

/* The same of data that were read before. */
static void an_open_file_is_read_where_it_is_up_to_date(void **state)
{
        static struct world w;
        struct reading r = {0};
        struct deed d = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .clients = 2, .seed = 8,
                                              .replicate_options = "    option read-subvolume-index 1\n"});
        world_run(&w, 0, make_all, NULL);
        world_run(&w, 1, get_to_know, &r.known);
        world_run(&w, 0, get_to_know, &d.known);
        world_run(&w, 1, read_file, &r);
        assert_string_equal(r.data, "");
        world_cut(&w, 0, 1, true);
        world_reset(&w, 0, 1);
        world_until(&w, one_down, &w.clients[0]);
        world_run(&w, 0, write_file, &d);
        assert_int_equal(d.written, 3);
        world_pass(&w, NS_PER_MSEC);
        world_run(&w, 1, read_file, &r);
        assert_string_equal(r.data, "new");
        world_run(&w, 1, close_file, &r);
        world_cut(&w, 0, 1, false);
        forget(&r.known);
        forget(&d.known);
        world_close(&w);
}

struct listing {
        struct known known;
        int names;
};

static void list(struct fibre *self, struct world_client *c, void *arg)
{
        struct listing *l = arg;
        l->names = call_list(self, c, l->known.dir);
}

/* Opened where it is listed; if that brick goes in between, on the others. */
static void directories_are_opened_where_they_are_listed(void **state)
{
        static struct world w;
        struct listing l = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 9});
        world_run(&w, 0, make_all, NULL);
        world_run(&w, 0, get_to_know, &l.known);
        unsigned opened = 0;
        for (unsigned b = 0; b < 3; b++)
                w.bricks[b].calls[FOP_OPENDIR] = 0;
        world_run(&w, 0, list, &l);
        for (unsigned b = 0; b < 3; b++)
                opened += w.bricks[b].calls[FOP_OPENDIR];
        assert_int_equal(opened, 1);
        assert_int_equal(l.names, NAMES);
        world_brick_crash(&w.bricks[0], false);
        world_until(&w, one_down, &w.clients[0]);
        world_run(&w, 0, list, &l);
        assert_int_equal(l.names, NAMES);
        forget(&l.known);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_name_that_is_replaced_is_always_there),
                cmocka_unit_test(a_name_under_change_is_there_or_not),
                cmocka_unit_test(what_is_known_is_looked_at_on_one_copy),
                cmocka_unit_test(bricks_that_do_not_tell_are_all_asked),
                cmocka_unit_test(a_brick_that_goes_or_comes_is_doubted),
                cmocka_unit_test(odd_answers_are_not_believed),
                cmocka_unit_test(a_copy_that_another_client_blamed_is_not_believed),
                cmocka_unit_test(an_open_file_is_read_where_it_is_up_to_date),
                cmocka_unit_test(directories_are_opened_where_they_are_listed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
