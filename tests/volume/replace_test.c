/* Another graph under programs that go on: bricks are added and taken away, numbers of copies change, volfiles are refused
 * (replace.c). */
#include "files.h"

#include <fcntl.h>
#include <malloc.h>

#include "volume/dht.h"

#define NAMES 12
#define BLOCK_TEXT 64

/* ---- taking a volfile, as a mount does --------------------------------------------------------------------------- */

struct change {
        const char *text; /* NULL: that of the world */
        bool whole_graph; /* not even tried in place */
        int result;
        struct error err;
        bool done;
};

static int take(struct fibre *self, struct world_client *c, struct change *x)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        const char *text = x->text ? x->text : c->world->volfile;
        assert_int_equal(volfile_parse(text, strlen(text), &v, &x->err), 0);
        x->result = x->whole_graph ? -EOPNOTSUPP : volume_reload(self, c->volume, v, &x->err);
        if (x->result == -EOPNOTSUPP)
                x->result = volume_replace(self, c->volume, v, &x->err);
        x->done = true;
        return x->result;
}

static void change_it(struct fibre *self, struct world_client *c, void *arg)
{
        (void)take(self, c, arg);
}

static void change_all(struct world *w)
{
        for (unsigned k = 0; k < w->n_clients; k++) {
                struct change x = {.text = NULL};
                world_run(w, k, change_it, &x);
                if (x.result < 0)
                        fail_msg("client %u: %s", k, x.err.text);
        }
}

static unsigned sessions_of(struct world_brick *b)
{
        struct brick_stats stats;
        brick_get_stats(b->brick, &stats);
        return (unsigned)stats.sessions;
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

struct load {
        struct world *w;
        bool stop;
        unsigned operations;
};

static void text_for(unsigned client, unsigned round, char to[static BLOCK_TEXT])
{
        (void)snprintf(to, BLOCK_TEXT, "client %u wrote this in round %u", client, round);
}

/* One file stays open all the time; what was written last must be read, by this descriptor and by name. */
static void write_and_verify(struct fibre *self, struct world_client *c, void *arg)
{
        struct load *l = arg;
        char path[64], text[BLOCK_TEXT], got[BLOCK_TEXT];
        int error;
        (void)snprintf(path, sizeof path, "/kept%u", c->index);
        assert_int_equal(files_create(self, c, path, "begin"), 0);
        struct vfile *f = files_open(self, c, path, O_RDWR, &error);
        assert_non_null(f);
        for (unsigned round = 0; !l->stop; round++) {
                text_for(c->index, round, text);
                assert_int_equal(files_write_at(self, c, f, 0, text), (int)strlen(text));
                memset(got, 0, sizeof got);
                assert_int_equal(files_read_at(self, c, f, 0, got, (uint32_t)strlen(text)), (int)strlen(text));
                assert_string_equal(got, text);
                assert_true(files_read(self, c, path, got, sizeof got) >= 0);
                assert_string_equal(got, text);
                l->operations += 3;
        }
        assert_int_equal(files_flush(self, c, f), 0);
        vfile_unref(f);
}

/* Makes, renames, lists and removes in a directory of its own. */
static void make_and_remove(struct fibre *self, struct world_client *c, void *arg)
{
        struct load *l = arg;
        struct files_names *names = calloc(1, sizeof *names);
        char dir[32], from[64], to[64], got[BLOCK_TEXT];
        (void)snprintf(dir, sizeof dir, "/dir%u", c->index);
        assert_int_equal(files_mkdir(self, c, dir), 0);
        for (unsigned round = 0; !l->stop; round++) {
                (void)snprintf(from, sizeof from, "%s/a%u", dir, round % NAMES);
                (void)snprintf(to, sizeof to, "%s/b%u", dir, round % NAMES);
                assert_int_equal(files_create(self, c, from, from), 0);
                assert_int_equal(files_rename(self, c, from, to), 0);
                assert_true(files_read(self, c, to, got, sizeof got) >= 0);
                assert_string_equal(got, from);
                assert_int_equal(files_list(self, c, dir, 4096, names), 0);
                assert_int_equal(names->n, MIN(round + 1, (unsigned)NAMES - 1));
                (void)snprintf(to, sizeof to, "%s/b%u", dir, (round + 2) % NAMES);
                if (round + 2 >= NAMES)
                        assert_int_equal(files_unlink(self, c, to), 0);
                l->operations += 5;
        }
        free(names);
}

static void start_load(struct world *w, struct load *l)
{
        *l = (struct load){.w = w};
        for (unsigned k = 0; k < w->n_clients; k++) {
                world_start(w, k, write_and_verify, l);
                world_start(w, k, make_and_remove, l);
        }
        world_pass(w, NS_PER_SEC);
        assert_true(l->operations > 50);
}

static void end_load(struct world *w, struct load *l)
{
        unsigned before = l->operations;
        world_pass(w, NS_PER_SEC);
        assert_true(l->operations > before + 50);
        l->stop = true;
        world_wait(w);
}

static void fill_new_directory(struct fibre *self, struct world_client *c, void *arg)
{
        char path[64];
        (void)arg;
        assert_int_equal(files_mkdir(self, c, "/new"), 0);
        for (unsigned k = 0; k < 32; k++) {
                (void)snprintf(path, sizeof path, "/new/n%u", k);
                assert_int_equal(files_create(self, c, path, "x"), 0);
        }
}

static unsigned count_new(struct world_brick *b)
{
        unsigned n = 0;
        char path[64];
        for (unsigned k = 0; k < 32; k++) {
                (void)snprintf(path, sizeof path, "/new/n%u", k);
                n += world_exists(b, path);
        }
        return n;
}

/* ---- bricks are added -------------------------------------------------------------------------------------------- */

static void a_brick_is_added_under_load(void **state)
{
        static struct world w;
        struct load load;
        (void)state;
        for (uint64_t seed = 1; seed <= 4; seed++) {
                world_open(&w, &(struct world_config){.layout = WORLD_DIST2,
                                                      .distribute_one = true,
                                                      .first_bricks = 1,
                                                      .clients = 2,
                                                      .seed = seed});
                start_load(&w, &load);
                assert_int_equal(sessions_of(&w.bricks[1]), 0);
                world_use(&w, 2, 3);
                change_all(&w);
                end_load(&w, &load);
                assert_int_equal(w.bricks[0].handshakes, 2); /* nobody connected anew to the brick that was there */
                world_run(&w, 0, fill_new_directory, NULL);
                assert_true(count_new(&w.bricks[0]) > 0 && count_new(&w.bricks[1]) > 0);
                world_close(&w);
        }
}

static void a_set_is_added_under_load(void **state)
{
        static struct world w;
        struct load load;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_2X3,
                                              .distribute_one = true,
                                              .first_bricks = 3,
                                              .clients = 2,
                                              .seed = 11});
        start_load(&w, &load);
        world_use(&w, 6, 3);
        change_all(&w);
        end_load(&w, &load);
        world_run(&w, 1, fill_new_directory, NULL);
        assert_true(count_new(&w.bricks[0]) > 0 && count_new(&w.bricks[4]) > 0);
        world_close(&w);
}

/* What is new has nothing yet: it is not read from, and it gets what is written. */
static void a_copy_is_added_under_load(void **state)
{
        static struct world w;
        struct load load;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3,
                                              .first_bricks = 2,
                                              .first_copies = 2,
                                              .replicate_options = "    option quorum-type fixed\n"
                                                                   "    option quorum-count 1\n",
                                              .clients = 1,
                                              .seed = 12});
        start_load(&w, &load);
        world_use(&w, 3, 3);
        change_all(&w);
        end_load(&w, &load);
        assert_int_equal(w.bricks[0].handshakes, 1);
        assert_int_equal(sessions_of(&w.bricks[2]), 1);
        world_close(&w);
}

static bool is_changed(void *arg)
{
        return ((struct change *)arg)->done;
}

/* It is waited for, but not for ever. */
static void a_new_brick_may_be_away(void **state)
{
        static struct world w;
        struct load load;
        struct change x = {.text = NULL};
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_DIST2, .distribute_one = true, .first_bricks = 1, .seed = 13});
        world_brick_stop(&w.bricks[1]);
        start_load(&w, &load);
        load.stop = true;
        world_wait(&w);
        world_use(&w, 2, 3);
        uint64_t began = sim_now(w.sim);
        world_start(&w, 0, change_it, &x);
        world_until(&w, is_changed, &x);
        assert_int_equal(x.result, 0);
        assert_true(sim_now(w.sim) - began < 15 * NS_PER_SEC);
        assert_int_equal(volume_top(w.clients[0].volume)->n_leaves, 2);
        world_brick_start(&w.bricks[1]);
        world_pass(&w, 10 * NS_PER_SEC);
        world_run(&w, 0, fill_new_directory, NULL);
        assert_true(count_new(&w.bricks[1]) > 0);
        world_close(&w);
}

/* ---- bricks are taken away --------------------------------------------------------------------------------------- */

static void a_brick_is_removed(void **state)
{
        static struct world w;
        struct load load;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST2,
                                              .distribute_one = true,
                                              .first_bricks = 1,
                                              .clients = 2,
                                              .seed = 21});
        start_load(&w, &load);
        load.stop = true;
        world_wait(&w); /* what is made with both would have to be moved away first */
        world_use(&w, 2, 3);
        change_all(&w);
        assert_int_equal(sessions_of(&w.bricks[1]), 2);
        world_use(&w, 1, 3);
        change_all(&w);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(sessions_of(&w.bricks[1]), 0);
        assert_int_equal(w.bricks[0].handshakes, 2);
        world_close(&w);
}

/* ---- open files and locks ---------------------------------------------------------------------------------------- */

struct locker {
        struct vfile *f;
        uint32_t cmd, type;
        int result;
        bool done;
};

static void lock_it(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct locker *l = arg;
        struct request r = world_request(c, &a);
        const struct lk_fop_req req = {
                .gfid = l->f->inode->gfid, .cmd = l->cmd, .type = l->type, .flock = {.type = l->type}, .xdata = DICT_NULL};
        struct lk_fop_rep rep;
        r.inode = l->f->inode;
        r.file = l->f;
        l->result = subvolume_lk(self, volume_entry(c->volume), &r, &req, &rep);
        l->done = true;
}

static int lock_now(struct world *w, unsigned client, struct vfile *f, uint32_t type)
{
        struct locker l = {.f = f, .cmd = LK_COMMAND_SET, .type = type};
        world_run(w, client, lock_it, &l);
        return l.result;
}

struct opened {
        const char *path;
        struct vfile *f;
};

static void open_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct opened *o = arg;
        int error;
        (void)files_create(self, c, o->path, "locked");
        o->f = files_open(self, c, o->path, O_RDWR, &error);
        assert_non_null(o->f);
}

static struct vfile *open_on(struct world *w, unsigned client, const char *path)
{
        struct opened o = {.path = path};
        world_run(w, client, open_it, &o);
        return o.f;
}

static void close_it(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(files_flush(self, c, arg), 0);
        vfile_unref(arg);
}

/* A lock is held through the change, and who waits for it gets it after it was given back, not before. */
static void locks_stay(const struct world_config *config, unsigned bricks, unsigned copies)
{
        static struct world w;
        world_open(&w, config);
        bool copy = config->layout == WORLD_REP3;
        if (copy) { /* the one that will be new has the file all the same: it was there before */
                world_run(&w, 0, close_it, open_on(&w, 0, "/locked"));
                world_use(&w, 2, 2);
                change_all(&w);
        }
        struct vfile *mine = open_on(&w, 0, "/locked"), *theirs = open_on(&w, 1, "/locked");
        assert_int_equal(lock_now(&w, 0, mine, LK_TYPE_WRITE), 0);
        struct locker waits = {.f = theirs, .cmd = LK_COMMAND_WAIT, .type = LK_TYPE_WRITE};
        world_start(&w, 1, lock_it, &waits);
        world_pass(&w, NS_PER_SEC);
        assert_false(waits.done);
        world_use(&w, bricks, copies);
        change_all(&w);
        world_pass(&w, NS_PER_SEC);
        assert_false(waits.done);
        for (unsigned k = 0; copy && k < 2; k++) /* the new one has it by itself */
                world_brick_stop(&w.bricks[k]);
        world_pass(&w, NS_PER_SEC);
        assert_false(waits.done);
        assert_int_equal(lock_now(&w, 0, mine, LK_TYPE_UNLOCK), 0);
        world_wait(&w);
        assert_int_equal(waits.result, 0);
        assert_int_equal(lock_now(&w, 0, mine, LK_TYPE_WRITE), -EAGAIN);
        for (unsigned k = 0; copy && k < 2; k++)
                world_brick_start(&w.bricks[k]);
        world_run(&w, 0, close_it, mine);
        world_run(&w, 1, close_it, theirs);
        world_close(&w);
}

static void locks_stay_when_a_brick_is_added(void **state)
{
        (void)state;
        locks_stay(&(struct world_config){.layout = WORLD_DIST2,
                                          .distribute_one = true,
                                          .first_bricks = 1,
                                          .clients = 2,
                                          .seed = 31},
                   2, 3);
}

static void locks_are_taken_on_a_new_copy(void **state)
{
        (void)state;
        locks_stay(&(struct world_config){.layout = WORLD_REP3,
                                          .clients = 2,
                                          .seed = 32,
                                          .replicate_options = "    option quorum-type fixed\n"
                                                               "    option quorum-count 1\n"},
                   3, 3);
}

static void unlink_it(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(files_unlink(self, c, arg), 0);
}

static void write_to_unlinked(struct fibre *self, struct world_client *c, void *arg)
{
        char got[16] = "";
        assert_int_equal(files_write_at(self, c, arg, 0, "still here"), 10);
        assert_int_equal(files_read_at(self, c, arg, 0, got, 10), 10);
        assert_string_equal(got, "still here");
}

static void a_file_without_a_name_goes_on(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_DIST2, .distribute_one = true, .first_bricks = 1, .seed = 33});
        struct vfile *f = open_on(&w, 0, "/gone");
        world_run(&w, 0, unlink_it, (void *)"/gone");
        world_use(&w, 2, 3);
        change_all(&w);
        world_run(&w, 0, write_to_unlinked, f);
        world_run(&w, 0, close_it, f);
        world_close(&w);
}

static void write_to_lost(struct fibre *self, struct world_client *c, void *arg)
{
        assert_int_equal(files_write_at(self, c, arg, 0, "x"), -EBADFD);
        vfile_unref(arg);
}

/* The only brick is another one now, without the file. */
static void a_file_that_is_not_there_any_more_fails(void **state)
{
        static struct world w;
        struct change x = {.text = NULL};
        char text[sizeof w.volfile];
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST2, .distribute_one = true, .first_bricks = 1, .seed = 34});
        struct vfile *f = open_on(&w, 0, "/lost");
        const char *host = strstr(w.volfile, w.bricks[0].address);
        assert_non_null(host);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(host - w.volfile), w.volfile, w.bricks[1].address,
                       host + strlen(w.bricks[0].address));
        x.text = text;
        world_run(&w, 0, change_it, &x);
        assert_int_equal(x.result, 0);
        world_run(&w, 0, write_to_lost, f);
        assert_int_equal(sessions_of(&w.bricks[0]), 0);
        world_close(&w);
}

/* ---- listings ---------------------------------------------------------------------------------------------------- */

#define LISTED 40

struct listing {
        struct vfile *f;
        uint64_t offset;
        unsigned seen[LISTED];
        bool ended;
};

static void list_some(struct fibre *self, struct world_client *c, struct listing *l, uint32_t size)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct request r = world_request(c, &a);
        const struct readdirp_fop_req req = {
                .gfid = l->f->inode->gfid, .size = size, .offset = l->offset, .xdata = DICT_NULL};
        struct readdirp_fop_rep rep = {0};
        unsigned k;
        r.inode = l->f->inode;
        r.file = l->f;
        assert_true(subvolume_readdirp(self, volume_entry(c->volume), &r, &req, &rep) >= 0);
        l->ended = rep.reply.n == 0;
        for (uint32_t i = 0; i < rep.reply.n; i++) {
                l->offset = rep.reply.v[i].off;
                if (sscanf(rep.reply.v[i].name.s, "l%u", &k) == 1)
                        l->seen[k]++;
        }
}

static void begin_listing(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct listing *l = arg;
        struct request r = world_request(c, &a);
        struct opendir_fop_rep rep = {0};
        char path[32];
        assert_int_equal(files_mkdir(self, c, "/d"), 0);
        for (unsigned k = 0; k < LISTED; k++) {
                (void)snprintf(path, sizeof path, "/d/l%u", k);
                assert_int_equal(files_create(self, c, path, "x"), 0);
        }
        _cleanup_vnode_ struct vnode *i = files_find(self, c, "/d", NULL);
        l->f = vfile_new(i, O_DIRECTORY, true);
        r.inode = i;
        r.file = l->f;
        const struct opendir_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
        assert_int_equal(subvolume_opendir(self, volume_entry(c->volume), &r, &req, &rep), 0);
        while (l->offset == 0 || l->seen[0] + l->seen[1] + l->seen[2] == 0)
                list_some(self, c, l, 1024);
}

static void end_listing(struct fibre *self, struct world_client *c, void *arg)
{
        struct listing *l = arg;
        while (!l->ended)
                list_some(self, c, l, 1024);
        vfile_unref(l->f);
}

/* Whoever is in the middle of a directory sees each name once. */
static void a_listing_goes_on(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned from = 1; from <= 2; from++) {
                struct listing l = {.offset = 0};
                world_open(&w, &(struct world_config){
                                       .layout = WORLD_DIST4, .distribute_one = true, .first_bricks = from, .seed = 41});
                world_run(&w, 0, begin_listing, &l);
                assert_false(l.ended);
                world_use(&w, from + 2, 3);
                change_all(&w);
                world_run(&w, 0, end_listing, &l);
                for (unsigned k = 0; k < LISTED; k++)
                        assert_int_equal(l.seen[k], 1);
                world_close(&w);
        }
}

/* ---- refused ----------------------------------------------------------------------------------------------------- */

static void what_is_refused_changes_nothing(void **state)
{
        static struct world w;
        struct load load;
        char text[sizeof w.volfile + 256];
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_2X3, .clients = 2, .seed = 51});
        start_load(&w, &load);
        (void)snprintf(text, sizeof text, "%s\nvolume s\n    type features/shard\n    subvolumes %s\nend-volume\n",
                       w.volfile, WORLD_VOLUME);
        struct change x = {.text = text};
        world_run(&w, 0, change_it, &x);
        assert_int_equal(x.result, -EOPNOTSUPP);
        assert_non_null(strstr(x.err.text, "features/shard"));
        assert_non_null(strstr(x.err.text, "stock client"));
        end_load(&w, &load);
        world_close(&w);
}

/* Of a volfile with a good and a bad option neither is taken. */
static void nothing_is_half_applied(void **state)
{
        static struct world w;
        char text[sizeof w.volfile];
        struct change x = {.text = text};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_2X3,
                                              .seed = 52,
                                              .distribute_options = "    option lookup-optimize on\n",
                                              .replicate_options = "    option quorum-type auto\n"});
        const struct dht *d = dht_of(volume_top(w.clients[0].volume));
        (void)snprintf(text, sizeof text, "%s", w.volfile);
        memcpy(strstr(text, "lookup-optimize on"), "lookup-optimize no", 18);
        char *last = strstr(strstr(text, "quorum-type auto") + 1, "quorum-type auto");
        assert_non_null(last);
        memcpy(last, "quorum-type oops", 16);
        assert_true(d->options.lookup_optimize);
        world_run(&w, 0, change_it, &x);
        assert_int_equal(x.result, -EINVAL);
        assert_true(d->options.lookup_optimize);
        memcpy(last, "quorum-type none", 16);
        world_run(&w, 0, change_it, &x);
        assert_int_equal(x.result, 0);
        assert_true(d == dht_of(volume_top(w.clients[0].volume)));
        assert_false(d->options.lookup_optimize);
        world_close(&w);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static void change_often(struct world *w, unsigned times)
{
        char text[sizeof w->volfile];
        for (unsigned k = 0; k < times; k++) {
                world_use(w, 2 + k / 2 % 3, 3);
                (void)snprintf(text, sizeof text, "%s", w->volfile);
                memcpy(strstr(text, "ping-timeout 42"), k % 2 ? "ping-timeout 41" : "ping-timeout 43", 15);
                struct change x = {.text = text, .whole_graph = k % 5 == 0};
                world_run(w, 0, change_it, &x);
                if (x.result < 0)
                        fail_msg("change %u: %s", k, x.err.text);
        }
}

/* Options, added and removed bricks in turn: nothing piles up. MORTAR_CHANGES: how many. */
static void changes_do_not_pile_up(void **state)
{
        static struct world w;
        const char *wanted = getenv("MORTAR_CHANGES");
        unsigned times = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 60;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_DIST4,
                                              .distribute_one = true,
                                              .first_bricks = 2,
                                              .seed = 61,
                                              .client_options = "    option ping-timeout 42\n"});
        struct vfile *f = open_on(&w, 0, "/kept");
        change_often(&w, 30);
        size_t before = mallinfo2().uordblks;
        change_often(&w, times);
        size_t after = mallinfo2().uordblks;
        print_message("%u changes: %zu bytes before, %zu after\n", times, before, after);
        assert_true(after < before + 64 * KIB);
        assert_int_equal(lock_now(&w, 0, f, LK_TYPE_WRITE), 0);
        world_run(&w, 0, close_it, f);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_brick_is_added_under_load),
                cmocka_unit_test(a_set_is_added_under_load),
                cmocka_unit_test(a_copy_is_added_under_load),
                cmocka_unit_test(a_new_brick_may_be_away),
                cmocka_unit_test(a_brick_is_removed),
                cmocka_unit_test(locks_stay_when_a_brick_is_added),
                cmocka_unit_test(locks_are_taken_on_a_new_copy),
                cmocka_unit_test(a_file_without_a_name_goes_on),
                cmocka_unit_test(a_file_that_is_not_there_any_more_fails),
                cmocka_unit_test(a_listing_goes_on),
                cmocka_unit_test(what_is_refused_changes_nothing),
                cmocka_unit_test(nothing_is_half_applied),
                cmocka_unit_test(changes_do_not_pile_up),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
