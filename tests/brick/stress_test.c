/* Many clients on few names and few gfids, the janitor among them: every kind of change of the tree at once, with a cache of
 * inodes that holds next to nothing. Afterwards the brick must be whole (check.h). MORTAR_SEED=n, MORTAR_ROUNDS=n.
 */
#include "harness.h"

#include "brick/internal.h"

#include <unistd.h>

#define WORKERS 5
#define ROUNDS 2500
#define NAMES 5
#define DIRS 3
#define SHARED_GFIDS 16
#define HELD 4

static const struct gfid root = GFID_ROOT;
static unsigned rounds = ROUNDS, first_seed = 1;

struct stage {
        struct harness h;
        struct gfid dirs[DIRS];
        atomic_uint used_gfids;
        atomic_bool over;
};

struct held {
        int64_t fd; /* -1: none */
        struct gfid gfid;
};

struct worker {
        struct stage *stage;
        struct client *c;
        unsigned seed;
        pthread_t thread;
        struct held held[HELD];
        /* of the round */
        struct gfid d, e, fresh;
        char a[8], b[8];
};

static unsigned draw(struct worker *w, unsigned n)
{
        return (unsigned)rand_r(&w->seed) % n;
}

/* Files may have the gfid of another file, deleted or not; a directory has its own. */
static struct gfid draw_gfid(struct worker *w, bool shared)
{
        struct gfid g = {.b = {0xee, [6] = 0x40, [8] = 0x80}};
        unsigned n = shared && draw(w, 3) == 0 ? draw(w, SHARED_GFIDS)
                                               : SHARED_GFIDS + atomic_fetch_add(&w->stage->used_gfids, 1);
        g.b[1] = (uint8_t)(n * 37);
        for (int k = 0; k < 4; k++)
                g.b[12 + k] = (uint8_t)(n >> (24 - 8 * k));
        return g;
}

static struct gfid draw_dir(struct worker *w, const char *name)
{
        struct gfid d = w->stage->dirs[draw(w, DIRS)];
        struct iatt i;
        if (draw(w, 4) == 0 && try_lookup(w->c, &d, name, &i) == 0 && S_ISDIR(i.mode))
                return i.gfid;
        return d;
}

/* ---- what a client does ---------------------------------------------------------------------------------------------- */

static void do_mknod(struct worker *w)
{
        (void)try_mknod(w->c, &w->d, w->a, &w->fresh);
}

static void do_create(struct worker *w)
{
        int64_t fd;
        if (try_create(w->c, &w->d, w->a, O_RDWR, &w->fresh, &fd) == 0)
                release(w->c, fd);
}

static void do_mkdir(struct worker *w)
{
        struct gfid g = draw_gfid(w, false);
        (void)try_mkdir(w->c, &w->d, w->a, &g);
}

static void do_unlink(struct worker *w)
{
        (void)try_unlink(w->c, &w->d, w->a);
}

static void do_rmdir(struct worker *w)
{
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = w->d, .bname = str_of(w->a), .xflags = draw(w, 4) == 0};
        (void)CALL(w->c, RMDIR, &req, &rep);
}

static void do_rename(struct worker *w)
{
        (void)try_rename(w->c, &w->d, w->a, &w->e, w->b);
}

static void do_link(struct worker *w)
{
        struct iatt i;
        if (try_lookup(w->c, &w->d, w->a, &i) == 0)
                (void)try_link(w->c, &i.gfid, &w->e, w->b);
}

static void do_linkto(struct worker *w)
{
        struct mknod_fop_rep rep;
        struct dict d = client_gfid_req(w->c, &w->fresh);
        dict_add_str(&d, &w->c->arena, "glusterfs-internal-fop", "yes");
        dict_add_str(&d, &w->c->arena, "force-replace", "yes");
        const struct mknod_fop_req req = {.pargfid = w->d, .mode = S_IFREG | 01000, .bname = str_of(w->a), .xdata = d};
        (void)CALL(w->c, MKNOD, &req, &rep);
}

static void do_open(struct worker *w)
{
        struct held *h = &w->held[draw(w, HELD)];
        struct iatt i;
        if (h->fd >= 0)
                release(w->c, h->fd);
        h->fd = -1;
        if (try_lookup(w->c, &w->d, w->a, &i) == 0 && try_open(w->c, &i.gfid, O_RDWR, &h->fd) == 0)
                h->gfid = i.gfid;
}

static void do_data(struct worker *w)
{
        const struct held *h = &w->held[draw(w, HELD)];
        int64_t fd = draw(w, 2) ? h->fd : FD_ANONYMOUS;
        struct write_fop_rep wrote;
        struct fxattrop_fop_rep added;
        struct dict d = {0};
        if (h->fd < 0)
                return;
        const struct write_fop_req write = {.gfid = h->gfid, .fd = fd, .size = 3, .data = {(const uint8_t *)"abc", 3}};
        (void)CALL(w->c, WRITE, &write, &wrote);
        dict_add_ptr(&d, &w->c->arena, "trusted.afr.dirty", "\0\0\0\1\0\0\0\0\0\0\0\0", 12);
        const struct fxattrop_fop_req add = {.gfid = h->gfid, .fd = fd, .dict = d};
        (void)CALL(w->c, FXATTROP, &add, &added);
}

static void do_setattr(struct worker *w)
{
        struct iatt i;
        struct setattr_fop_rep rep;
        if (try_lookup(w->c, &w->d, w->a, &i) < 0)
                return;
        const struct setattr_fop_req req = {.gfid = i.gfid, .valid = SETATTR_MODE, .stbuf = {.mode = 0600 + draw(w, 64)}};
        (void)CALL(w->c, SETATTR, &req, &rep);
}

static struct dict all_keys(struct worker *w)
{
        struct dict d = client_dict(w->c, "glusterfs.content", 100);
        dict_add_uint(&d, &w->c->arena, "trusted.*", 0);
        return d;
}

static void do_lookup(struct worker *w)
{
        struct lookup_fop_rep rep;
        const struct lookup_fop_req req = {.pargfid = w->d, .bname = str_of(w->a), .xdata = all_keys(w)};
        (void)CALL(w->c, LOOKUP, &req, &rep);
}

static void do_list(struct worker *w)
{
        struct opendir_fop_rep opened;
        struct readdirp_fop_rep listed;
        const struct opendir_fop_req open = {.gfid = w->d};
        if (CALL(w->c, OPENDIR, &open, &opened) < 0)
                return;
        const struct readdirp_fop_req list = {.gfid = w->d, .fd = opened.fd, .size = 65536, .xdata = all_keys(w)};
        (void)CALL(w->c, READDIRP, &list, &listed);
        release(w->c, opened.fd);
}

static void (*const actions[])(struct worker *w) = {
        do_mknod, do_create, do_mkdir,  do_mkdir,   do_unlink, do_rmdir, do_rename, do_rename,
        do_link,  do_linkto, do_open,   do_data,    do_setattr, do_lookup, do_list,
};

static void *work(void *arg)
{
        struct worker *w = arg;
        w->c->cred.flags = TIMES_CTIME | TIMES_MTIME | TIMES_PARENT_CTIME | TIMES_PARENT_MTIME;
        for (unsigned k = 0; k < rounds; k++) {
                snprintf(w->a, sizeof w->a, "n%u", draw(w, NAMES));
                snprintf(w->b, sizeof w->b, "n%u", draw(w, NAMES));
                w->d = draw_dir(w, w->a);
                w->e = draw_dir(w, w->b);
                w->fresh = draw_gfid(w, true);
                actions[draw(w, ELEMENTSOF(actions))](w);
                arena_reset(&w->c->reply_arena);
        }
        return NULL;
}

static void purge(struct harness *h)
{
        static uint64_t now;
        brick_purge(h->brick, now += 1000 * NS_PER_SEC);
}

static void *clean(void *arg)
{
        struct stage *s = arg;
        while (!atomic_load(&s->over)) {
                purge(&s->h);
                sched_yield();
        }
        return NULL;
}

/* ---- the test ---------------------------------------------------------------------------------------------------------- */

static void prepare(struct stage *s)
{
        *s = (struct stage){0};
        harness_posix(&s->h);
        s->h.options.inode_lru_limit = 4;
        harness_reopen(&s->h);
        struct client *c = client_open(&s->h);
        s->dirs[0] = make_dir(c, &root, "a");
        s->dirs[1] = make_dir(c, &root, "b");
        s->dirs[2] = make_dir(c, &s->dirs[0], "c");
        client_close(c);
}

static void finish(struct worker *w)
{
        assert_int_equal(pthread_join(w->thread, NULL), 0);
        client_close(w->c);
}

static void everything_at_once(void **state)
{
        struct stage s;
        struct worker w[WORKERS];
        pthread_t janitor;
        prepare(&s);
        for (unsigned k = 0; k < WORKERS; k++) {
                w[k] = (struct worker){.stage = &s, .c = client_open(&s.h), .seed = first_seed * WORKERS + k};
                for (size_t i = 0; i < HELD; i++)
                        w[k].held[i].fd = -1;
                assert_int_equal(pthread_create(&w[k].thread, NULL, work, &w[k]), 0);
        }
        assert_int_equal(pthread_create(&janitor, NULL, clean, &s), 0);
        for (unsigned k = 0; k < WORKERS; k++)
                finish(&w[k]);
        atomic_store(&s.over, true);
        assert_int_equal(pthread_join(janitor, NULL), 0);
        for (int k = 0; k < 100; k++)
                purge(&s.h);
        harness_close(&s.h);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_once)};
        const char *seed = getenv("MORTAR_SEED"), *wanted = getenv("MORTAR_ROUNDS");
        if (seed)
                first_seed = (unsigned)strtoul(seed, NULL, 10);
        if (wanted)
                rounds = (unsigned)strtoul(wanted, NULL, 10);
        return cmocka_run_group_tests_name("brick/stress", tests, NULL, NULL);
}
