/* The healer of a volume (heal/healer.h): it finds work, does it, tells about it. */
#include "heal_calls.h"

#include <fcntl.h>
#include <jansson.h>

#include "heal/healer.h"
#include "heal/position.h"

static struct world w;
static struct healer *healers[WORLD_CLIENTS_MAX];
static struct volfile *volfiles[WORLD_CLIENTS_MAX];

static void open_world(unsigned clients, uint64_t seed, const char *options)
{
        world_open(&w, &(struct world_config){
                               .layout = WORLD_REP3, .clients = clients, .seed = seed, .replicate_options = options});
}

/* ---- healers ----------------------------------------------------------------------------------------------------- */

static void make_healer(unsigned client, const struct healer_config *want)
{
        struct error err = {0};
        struct healer_config config = *want;
        assert_int_equal(volfile_parse(w.volfile, strlen(w.volfile), &volfiles[client], &err), 0);
        config.loop = sim_node_loop(w.clients[client].node);
        config.name = WORLD_VOLUME;
        config.volume = w.clients[client].volume;
        config.volfile = volfiles[client];
        config.all_bricks = true;
        assert_int_equal(healer_new(&config, &healers[client], &err), 0);
}

static void drop_healer(unsigned client)
{
        healers[client] = healer_free(healers[client]);
        volfiles[client] = volfile_free(volfiles[client]);
}

static void stop_healer(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        healer_stop(self, healers[c->index]);
}

static void end_healer(unsigned client)
{
        world_run(&w, client, stop_healer, NULL);
        drop_healer(client);
}

struct once {
        enum heal_kind kind;
        uint64_t left;
        int result;
};

static void run_once(struct fibre *self, struct world_client *c, void *arg)
{
        struct once *o = arg;
        o->result = healer_once(self, healers[c->index], o->kind, &o->left);
}

static struct once once(unsigned client, enum heal_kind kind)
{
        struct once o = {.kind = kind};
        world_run(&w, client, run_once, &o);
        return o;
}

/* Nothing in any index, and the crawl that found out has ended. */
static bool all_quiet(void *arg)
{
        const struct healer *h = *(struct healer **)arg;
        for (unsigned k = 0; k < h->n_sets; k++) {
                if (h->sets[k].crawling != HEAL_NOTHING)
                        return false;
        }
        for (unsigned b = 0; b < w.n_bricks; b++) {
                if (heal_index_count(&w, b, "xattrop") + heal_index_count(&w, b, "dirty") > 0)
                        return false;
        }
        return true;
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

#define FILES 40

static void make_tree(struct fibre *self, struct world_client *c, void *arg)
{
        char name[32];
        (void)arg;
        for (unsigned d = 0; d < 4; d++) {
                (void)snprintf(name, sizeof name, "dir%u", d);
                assert_int_equal(call_mkdir(self, c, NULL, name), 0);
                struct vnode *dir = NULL, *below = NULL;
                assert_int_equal(call_lookup(self, c, NULL, name, &dir), 0);
                assert_int_equal(call_mkdir(self, c, dir, "below"), 0);
                assert_int_equal(call_lookup(self, c, dir, "below", &below), 0);
                assert_int_equal(call_mknod(self, c, below, "leaf", S_IFREG | 0600), 0);
                assert_int_equal(call_symlink(self, c, below, "link", "leaf"), 0);
                vnode_unref(below);
                vnode_unref(dir);
        }
        for (unsigned k = 0; k < FILES; k++) {
                (void)snprintf(name, sizeof name, "file%u", k);
                make_file(self, c, name, 5000 + 1000 * k, k);
        }
}

static void change_tree(struct fibre *self, struct world_client *c, void *arg)
{
        char name[32];
        (void)arg;
        for (unsigned k = 0; k < FILES; k++) {
                (void)snprintf(name, sizeof name, "file%u", k);
                struct vfile *f = NULL;
                if (k % 3 == 0) {
                        assert_int_equal(call_unlink(self, c, NULL, name), 0);
                        continue;
                }
                assert_int_equal(call_open(self, c, NULL, name, 0, &f), 0);
                assert_int_equal(call_write(self, c, f, 100, "changed", 7), 7);
                assert_int_equal(call_close(self, c, f), 0);
        }
        make_file(self, c, "big", 900000, 77);
}

/* So that there is something to change again. */
static void replenish(struct fibre *self, struct world_client *c, void *arg)
{
        char name[32];
        (void)arg;
        for (unsigned k = 0; k < FILES; k += 3) {
                (void)snprintf(name, sizeof name, "file%u", k);
                make_file(self, c, name, 3000, k);
        }
        assert_int_equal(call_unlink(self, c, NULL, "big"), 0);
}

static void mount_again(struct fibre *self, struct world_client *c, void *arg)
{
        struct error err = {0};
        (void)arg;
        if (world_mount(self, c, 60 * NS_PER_SEC, &err) < 0)
                fail_msg("%s", err.text);
}

static void missing(unsigned brick)
{
        world_pass(&w, 2 * NS_PER_SEC); /* what was closed is settled everywhere */
        heal_brick_down(&w, brick);
        world_run(&w, 0, change_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, brick);
}

static json_t *parse(struct buf *text)
{
        json_error_t e;
        json_t *o = json_loads(buf_cstr(text), 0, &e);
        if (!o)
                fail_msg("no JSON: %s", e.text);
        buf_done(text);
        return o;
}

static json_t *status(unsigned client)
{
        struct buf text = BUF_INIT(MIB);
        assert_int_equal(status_format(healers[client], &text), 0);
        return parse(&text);
}

static json_int_t number(const json_t *o, const char *key)
{
        assert_true(json_is_integer(json_object_get(o, key)));
        return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
        assert_true(json_is_string(json_object_get(o, key)));
        return json_string_value(json_object_get(o, key));
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void a_brick_that_comes_back_is_healed(void **state)
{
        (void)state;
        open_world(2, 1, NULL);
        world_run(&w, 0, make_tree, NULL);
        make_healer(1, &(struct healer_config){0});
        assert_int_equal(healer_start(healers[1]), 0);
        for (unsigned brick = 0; brick < 3; brick++) {
                missing(brick);
                world_until(&w, all_quiet, &healers[1]);
                world_pass(&w, 10 * NS_PER_SEC);
                assert_healed(&w);
                world_run(&w, 0, replenish, NULL);
        }
        end_healer(1);
        world_close(&w);
}

static void one_run_heals_all_there_is(void **state)
{
        (void)state;
        open_world(1, 2, NULL);
        world_run(&w, 0, make_tree, NULL);
        make_healer(0, &(struct healer_config){0});
        missing(1);
        struct once o = once(0, HEAL_INDEX);
        assert_int_equal(o.result, 0);
        assert_int_equal(o.left, 0);
        assert_healed(&w);
        json_t *s = status(0), *set = json_array_get(json_object_get(s, "sets"), 0);
        assert_string_equal(text(set, "state"), "idle");
        assert_true(number(set, "healed") > FILES / 2);
        assert_true(number(set, "bytes") > 900000);
        assert_int_equal(number(set, "left"), 0);
        assert_true(number(set, "done") >= number(set, "healed"));
        json_decref(s);
        drop_healer(0);
        world_close(&w);
}

static void entries_for_what_is_gone_are_removed(void **state)
{
        static const char *const which[] = {"xattrop", "dirty"};
        (void)state;
        open_world(1, 3, NULL);
        make_healer(0, &(struct healer_config){0});
        for (unsigned k = 0; k < 2; k++) {
                char path[128];
                (void)snprintf(path, sizeof path,
                               WORLD_BRICK_PATH "/.glusterfs/indices/%s/11111111-2222-4333-8444-555555555555",
                               which[k]);
                int fd = disk_open(world_disk(&w.bricks[k]), AT_FDCWD, path, O_CREAT | O_WRONLY, 0);
                assert_true(fd >= 0);
                (void)disk_close(world_disk(&w.bricks[k]), fd);
        }
        /* and one of a directory that needs nothing */
        int fd = disk_open(world_disk(&w.bricks[2]), AT_FDCWD,
                           WORLD_BRICK_PATH "/.glusterfs/indices/xattrop/00000000-0000-0000-0000-000000000001",
                           O_CREAT | O_WRONLY, 0);
        (void)disk_close(world_disk(&w.bricks[2]), fd);
        struct once o = once(0, HEAL_INDEX);
        assert_int_equal(o.result, 0);
        assert_int_equal(o.left, 0);
        assert_int_equal(healers[0]->sets[0].totals.gone, 2);
        assert_healed(&w);
        drop_healer(0);
        world_close(&w);
}

static void remove_on_disk(unsigned brick, const char *name)
{
        char path[128], handle[128], id[GFID_TEXT_LEN + 1];
        struct gfid g = heal_gfid(&w, brick, name);
        (void)snprintf(path, sizeof path, WORLD_BRICK_PATH "%s", name);
        gfid_format(&g, id);
        (void)snprintf(handle, sizeof handle, WORLD_BRICK_PATH "/.glusterfs/%.2s/%.2s/%s", id, id + 2, id);
        assert_int_equal(disk_unlink(world_disk(&w.bricks[brick]), AT_FDCWD, path, 0), 0);
        assert_int_equal(disk_unlink(world_disk(&w.bricks[brick]), AT_FDCWD, handle, 0), 0);
}

static void a_full_crawl_finds_what_no_index_names(void **state)
{
        (void)state;
        open_world(1, 4, NULL);
        world_run(&w, 0, make_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_down(&w, 2);
        remove_on_disk(2, "/file3");
        remove_on_disk(2, "/dir2/below/leaf");
        assert_int_equal(disk_truncate(world_disk(&w.bricks[2]), AT_FDCWD, WORLD_BRICK_PATH "/file9", 10), 0);
        assert_int_equal(disk_chmod(world_disk(&w.bricks[2]), AT_FDCWD, WORLD_BRICK_PATH "/dir1/below", 0700), 0);
        heal_brick_up(&w, 2);
        make_healer(0, &(struct healer_config){.parallel = 7});
        struct once o = once(0, HEAL_FULL);
        assert_int_equal(o.result, 0);
        assert_int_equal(o.left, 0);
        assert_healed(&w);
        assert_true(world_exists(&w.bricks[2], "/dir2/below/leaf"));
        drop_healer(0);
        world_close(&w);
}

static void what_cannot_be_healed_is_told(void **state)
{
        (void)state;
        open_world(1, 5, "    option quorum-type none\n");
        world_run(&w, 0, make_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        for (unsigned b = 0; b < 3; b++) {
                heal_brick_down(&w, b);
                set_counter(&w, b, "/file1", (int)(b + 1) % 3, 1, 0, 0);
        }
        for (unsigned b = 0; b < 3; b++)
                heal_brick_up(&w, b);
        make_healer(0, &(struct healer_config){0});
        struct once o = once(0, HEAL_FULL);
        assert_int_equal(o.result, 0);
        assert_true(o.left > 0);
        json_t *s = status(0), *set = json_array_get(json_object_get(s, "sets"), 0);
        assert_true(number(set, "split_brain") > 0);
        assert_string_equal(text(json_object_get(set, "last_error"), "why"), "data split-brain");
        json_decref(s);
        drop_healer(0);
        world_close(&w);
}

static void ask_info(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(status_info(self, healers[c->index], arg), 0);
}

static void what_is_to_be_healed_is_told(void **state)
{
        struct buf info = BUF_INIT(MIB);
        (void)state;
        open_world(1, 6, NULL);
        world_run(&w, 0, make_tree, NULL);
        make_healer(0, &(struct healer_config){0});
        missing(1);
        heal_brick_down(&w, 2);
        json_t *s = status(0), *set = json_array_get(json_object_get(s, "sets"), 0);
        assert_string_equal(text(set, "state"), "waiting");
        const json_t *blocker = json_array_get(json_object_get(set, "waits_for"), 0);
        assert_string_equal(text(blocker, "client"), "vol-client-2");
        assert_true(strlen(text(blocker, "reason")) > 10);
        json_decref(s);
        assert_int_equal(once(0, HEAL_INDEX).result, -ENOTCONN);
        heal_brick_up(&w, 2);
        world_run(&w, 0, ask_info, &info);
        json_t *i = parse(&info), *bricks = json_object_get(i, "bricks");
        assert_int_equal(json_array_size(bricks), 3);
        const json_t *first = json_array_get(bricks, 0), *second = json_array_get(bricks, 1);
        assert_true(number(first, "pending") > FILES / 2);
        assert_int_equal(number(second, "total"), 0);
        bool root = false, file = false;
        for (size_t k = 0; k < json_array_size(json_object_get(first, "entries")); k++) {
                const json_t *e = json_array_get(json_object_get(first, "entries"), k);
                assert_string_equal(text(e, "state"), "pending");
                root |= streq(text(e, "path"), "/");
                file |= streq(text(e, "path"), "/file4");
        }
        assert_true(root && file);
        json_decref(i);
        drop_healer(0);
        world_close(&w);
}

static void the_rate_is_kept(void **state)
{
        (void)state;
        open_world(1, 7, NULL);
        world_run(&w, 0, make_tree, NULL);
        missing(1);
        make_healer(0, &(struct healer_config){.rate = 100000, .parallel = 2});
        uint64_t begin = sim_now(w.sim);
        assert_int_equal(once(0, HEAL_INDEX).left, 0);
        assert_true(sim_now(w.sim) - begin > 9 * NS_PER_SEC);
        assert_healed(&w);
        drop_healer(0);
        world_close(&w);
}

static void write_and_keep(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile **f = arg;
        assert_int_equal(call_open(self, c, NULL, "file5", 0, f), 0);
        assert_int_equal(call_write(self, c, *f, 0, "at it", 5), 5);
}

static void close_kept(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(call_close(self, c, arg), 0);
}

static void who_is_at_an_object_is_told(void **state)
{
        struct vfile *f = NULL;
        (void)state;
        open_world(2, 14, NULL);
        world_run(&w, 0, make_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        make_healer(1, &(struct healer_config){0});
        world_run(&w, 0, write_and_keep, &f);
        assert_int_equal(once(1, HEAL_INDEX).left, 3); /* once in the index of each brick */
        json_t *s = status(1), *set = json_array_get(json_object_get(s, "sets"), 0),
               *blocked = json_object_get(set, "blocked");
        assert_int_equal(number(set, "in_use"), 3);
        assert_string_equal(text(blocked, "why"), "somebody is writing to it");
        assert_true(strlen(text(blocked, "holder")) > 5);
        json_decref(s);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_int_equal(once(1, HEAL_INDEX).left, 0);
        world_run(&w, 0, close_kept, f);
        drop_healer(1);
        world_close(&w);
}

static void healers_of_two_nodes_share_the_work(void **state)
{
        struct once a = {.kind = HEAL_INDEX}, b = {.kind = HEAL_INDEX};
        (void)state;
        open_world(3, 8, NULL);
        world_run(&w, 0, make_tree, NULL);
        make_healer(1, &(struct healer_config){0});
        make_healer(2, &(struct healer_config){0});
        missing(1);
        world_start(&w, 1, run_once, &a);
        world_start(&w, 2, run_once, &b);
        world_wait(&w);
        assert_int_equal(a.result, 0);
        assert_int_equal(b.result, 0);
        assert_int_equal(once(1, HEAL_INDEX).left, 0);
        assert_healed(&w);
        drop_healer(1);
        drop_healer(2);
        world_close(&w);
}

static void who_comes_next_goes_on(void **state)
{
        (void)state;
        open_world(2, 9, NULL);
        world_run(&w, 0, make_tree, NULL);
        missing(2);
        for (unsigned k = 0; k < 6; k++) {
                make_healer(1, &(struct healer_config){0});
                assert_int_equal(healer_start(healers[1]), 0);
                world_pass(&w, (3 + 9 * k) * NS_PER_MSEC);
                world_client_crash(&w.clients[1]);
                world_run(&w, 1, mount_again, NULL);
                drop_healer(1);
        }
        world_pass(&w, 60 * NS_PER_SEC);
        make_healer(1, &(struct healer_config){0});
        assert_int_equal(once(1, HEAL_INDEX).left, 0);
        assert_healed(&w);
        drop_healer(1);
        world_close(&w);
}

/* As a self-heal daemon's volfile has it: two sets, and nothing but counters above. */
static void all_sets_of_a_volume_are_healed(void **state)
{
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_2X3, .clients = 3, .seed = 10, .unmounted = true, .pid = PID_SELF_HEAL});
        char *sets = strstr(w.volfile, "volume vol-dht");
        char *second = strstr(w.volfile, "volume vol-replicate-1");
        assert_non_null(sets);
        *sets = '\0';
        world_run(&w, 1, mount_again, NULL); /* the second set alone */
        char kept = *second;
        *second = '\0';
        world_run(&w, 0, mount_again, NULL); /* the first */
        *second = kept;
        (void)snprintf(
                sets, sizeof w.volfile - (size_t)(sets - w.volfile),
                "volume vol\n    type debug/io-stats\n    subvolumes vol-replicate-0 vol-replicate-1\nend-volume\n");
        world_run(&w, 2, mount_again, NULL);
        make_healer(2, &(struct healer_config){0});
        assert_int_equal(healers[2]->n_sets, 2);
        world_brick_crash(&w.bricks[1], false);
        world_brick_crash(&w.bricks[5], false);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, make_tree, NULL);
        world_run(&w, 1, make_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        world_brick_start(&w.bricks[1]);
        world_brick_start(&w.bricks[5]);
        assert_int_equal(healer_start(healers[2]), 0);
        world_until(&w, all_quiet, &healers[2]);
        world_pass(&w, 10 * NS_PER_SEC);
        assert_true(world_exists(&w.bricks[1], "/dir3/below/leaf") && world_exists(&w.bricks[5], "/dir3/below/leaf"));
        end_healer(2);
        world_close(&w);
}

/* ---- full crawls that are broken off ----------------------------------------------------------------------------- */

#define MANY_DIRECTORIES 24
#define MANY_FILES 6

static void make_many(struct fibre *self, struct world_client *c, void *arg)
{
        char name[32];
        (void)arg;
        for (unsigned d = 0; d < MANY_DIRECTORIES; d++) {
                struct vnode *dir = NULL;
                (void)snprintf(name, sizeof name, "many%u", d);
                assert_int_equal(call_mkdir(self, c, NULL, name), 0);
                assert_int_equal(call_lookup(self, c, NULL, name, &dir), 0);
                for (unsigned k = 0; k < MANY_FILES; k++) {
                        (void)snprintf(name, sizeof name, "f%u", k);
                        assert_int_equal(call_mknod(self, c, dir, name, S_IFREG | 0600), 0);
                }
                vnode_unref(dir);
        }
}

static struct position_owner owner_in(const char *dir)
{
        const struct afr *a = heal_set(&w.clients[1]);
        return (struct position_owner){.dir = dir, .set = a->base.name, .volume = a->options.anonymous_name};
}

static bool has_left_some(void *arg)
{
        const struct heal_set *s = &healers[1]->sets[0];
        (void)arg;
        return s->crawling == HEAL_FULL && s->done > MANY_DIRECTORIES + 15 * MANY_FILES;
}

static bool full_crawl_ended(void *arg)
{
        const struct heal_set *s = &healers[1]->sets[0];
        (void)arg;
        return s->crawls > 0 && s->crawling == HEAL_NOTHING && !s->unfinished;
}

/* A full crawl by a healer that is ended in the middle of it; in RET where it is. */
static void break_off(const char *dir, struct position *ret)
{
        const struct position_owner o = owner_in(dir);
        make_healer(1, &(struct healer_config){.parallel = 1, .state_dir = dir});
        healers[1]->sets[0].wanted = HEAL_FULL;
        assert_int_equal(healer_start(healers[1]), 0);
        world_until(&w, has_left_some, NULL);
        end_healer(1);
        assert_int_equal(position_load(&o, ret), 0);
        assert_true(ret->n > 0 && ret->n < MANY_DIRECTORIES);
        assert_true(ret->done > MANY_DIRECTORIES);
}

static void a_full_crawl_goes_on_where_it_was(void **state)
{
        char dir[] = "/tmp/mortar-heal-XXXXXX", path[64];
        struct position p;
        (void)state;
        assert_non_null(mkdtemp(dir));
        open_world(2, 12, NULL);
        world_run(&w, 0, make_many, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_down(&w, 2);
        for (unsigned d = 0; d < MANY_DIRECTORIES; d++) {
                (void)snprintf(path, sizeof path, "/many%u/f3", d);
                remove_on_disk(2, path);
        }
        heal_brick_up(&w, 2);
        break_off(dir, &p);
        make_healer(1, &(struct healer_config){.state_dir = dir});
        assert_true(healers[1]->sets[0].unfinished);
        assert_int_equal(healer_start(healers[1]), 0);
        world_until(&w, full_crawl_ended, NULL);
        const struct heal_set *s = &healers[1]->sets[0];
        const struct heal_past *past = &s->past[(s->crawls - 1) % HEAL_HISTORY_MAX];
        assert_int_equal(past->kind, HEAL_FULL);
        assert_true(past->totals.clean + past->totals.healed - p.healed < (p.n + 2) * (MANY_FILES + 1) + MANY_FILES);
        end_healer(1);
        assert_healed(&w);
        const struct position_owner o = owner_in(dir);
        struct position none;
        assert_int_equal(position_load(&o, &none), -ENOENT);
        assert_int_equal(rmdir(dir), 0);
        position_done(&p);
        world_close(&w);
}

static void a_brick_that_goes_does_not_end_a_full_crawl(void **state)
{
        char dir[] = "/tmp/mortar-heal-XXXXXX";
        (void)state;
        assert_non_null(mkdtemp(dir));
        open_world(2, 13, NULL);
        world_run(&w, 0, make_many, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        make_healer(1, &(struct healer_config){.parallel = 1, .state_dir = dir});
        healers[1]->sets[0].wanted = HEAL_FULL;
        assert_int_equal(healer_start(healers[1]), 0);
        world_until(&w, has_left_some, NULL);
        heal_brick_down(&w, 0);
        world_pass(&w, 20 * NS_PER_SEC);
        assert_true(healers[1]->sets[0].unfinished);
        heal_brick_up(&w, 0);
        world_until(&w, full_crawl_ended, NULL);
        end_healer(1);
        assert_int_equal(rmdir(dir), 0);
        assert_healed(&w);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_brick_that_comes_back_is_healed),
                cmocka_unit_test(one_run_heals_all_there_is),
                cmocka_unit_test(entries_for_what_is_gone_are_removed),
                cmocka_unit_test(a_full_crawl_finds_what_no_index_names),
                cmocka_unit_test(what_cannot_be_healed_is_told),
                cmocka_unit_test(what_is_to_be_healed_is_told),
                cmocka_unit_test(the_rate_is_kept),
                cmocka_unit_test(who_is_at_an_object_is_told),
                cmocka_unit_test(healers_of_two_nodes_share_the_work),
                cmocka_unit_test(who_comes_next_goes_on),
                cmocka_unit_test(all_sets_of_a_volume_are_healed),
                cmocka_unit_test(a_full_crawl_goes_on_where_it_was),
                cmocka_unit_test(a_brick_that_goes_does_not_end_a_full_crawl),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
