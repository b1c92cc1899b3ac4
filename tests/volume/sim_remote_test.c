/* Clients of one brick at random, while links are cut and reset and the brick's process dies at any effect on its disk.
 * Each client compares what it reads with what was acknowledged, holds locks that the others respect, and never gets
 * stuck. After each round nothing may be left at the brick.
 *
 * Processes die, power stays: what was written is there. MORTAR_SEEDS=n: how many runs; MORTAR_SEED=n: that one only.
 */
#include "world.h"

#include "volume/remote.h"

#define SEEDS_DEFAULT 40
#define CLIENTS 3
#define FILES 3   /* of each client */
#define STEPS 200 /* of each client */
#define STRIKES 20
#define ARENA_MAX (4 * MIB)
#define BLOCK 64
#define OUTAGE_WAIT (30 * NS_PER_SEC)

struct file {
        struct vfile *f;
        struct gfid gfid;
        uint8_t sure, maybe; /* what its block holds: SURE, or also MAYBE after an answer that was lost */
        bool locked;
};

struct player {
        struct file files[FILES];
        unsigned writes, lost, bad, reads;
};

struct game {
        struct world w;
        struct player players[CLIENTS];
        unsigned crashes, resets, cuts;
};

static uint64_t draw(struct game *g, uint64_t bound)
{
        return sim_random(g->w.sim, bound);
}

/* ---- moves ------------------------------------------------------------------------------------------------------- */

static struct request request_for(struct world_client *c, struct arena *a, const struct file *file)
{
        struct request r = world_request(c, a);
        r.file = file->f;
        r.inode = file->f->inode;
        return r;
}

static void open_file(struct fibre *self, struct world_client *c, struct file *file)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &file->gfid, S_IFREG);
        file->f = vfile_new(i, O_RDWR, false);
        struct request r = request_for(c, &a, file);
        const struct open_fop_req req = {.gfid = file->gfid, .flags = O_RDWR, .xdata = DICT_NULL};
        struct open_fop_rep rep;
        assert_int_equal(subvolume_open(self, volume_entry(c->volume), &r, &req, &rep), 0);
        file->locked = false;
}

static void make_file(struct fibre *self, struct world_client *c, struct file *file, unsigned index)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        const struct gfid root = GFID_ROOT;
        char name[32];
        int n = snprintf(name, sizeof name, "f%u.%u", c->index, index);
        struct request r = world_request(c, &a);
        file->gfid = world_gfid(c);
        const struct mknod_fop_req req = {.pargfid = root,
                                          .mode = S_IFREG | 0644,
                                          .bname = {name, (uint32_t)n},
                                          .xdata = world_gfid_req(&a, &file->gfid)};
        struct mknod_fop_rep rep;
        assert_int_equal(subvolume_mknod(self, volume_entry(c->volume), &r, &req, &rep), 0);
        open_file(self, c, file);
}

/* A file that lost its lock answers EIO until it is closed. */
static void open_anew(struct fibre *self, struct world_client *c, struct player *p, struct file *file)
{
        p->bad++;
        vfile_unref(file->f);
        open_file(self, c, file);
}

static void move_write(struct fibre *self, struct world_client *c, struct player *p, struct file *file)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = request_for(c, &a, file);
        uint8_t data[BLOCK], value = (uint8_t)(file->sure + 1 + (file->sure != file->maybe));
        memset(data, value, sizeof data);
        const struct write_fop_req req = {
                .gfid = file->gfid, .size = BLOCK, .flag = O_RDWR, .xdata = DICT_NULL, .data = {data, BLOCK}};
        struct write_fop_rep rep;
        int result = subvolume_write(self, volume_entry(c->volume), &r, &req, &rep);
        assert_true(result == BLOCK || result == -ENOTCONN || result == -EIO);
        p->writes++;
        if (result == BLOCK)
                file->sure = file->maybe = value;
        else if (result == -ENOTCONN)
                file->maybe = value;
        p->lost += result == -ENOTCONN;
        if (result == -EIO)
                open_anew(self, c, p, file);
}

static void move_read(struct fibre *self, struct world_client *c, struct player *p, struct file *file)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = request_for(c, &a, file);
        const struct read_fop_req req = {.gfid = file->gfid, .size = BLOCK, .xdata = DICT_NULL};
        struct read_fop_rep rep;
        int result = subvolume_read(self, volume_entry(c->volume), &r, &req, &rep);
        if (result == -EIO) {
                open_anew(self, c, p, file);
                return;
        }
        assert_true(result >= 0);
        uint8_t value = result > 0 ? rep.data.data[0] : 0;
        for (int k = 0; k < result; k++)
                assert_int_equal(rep.data.data[k], value);
        assert_true(value == file->sure || value == file->maybe);
        file->sure = file->maybe = value;
        p->reads++;
}

static void move_lock(struct fibre *self, struct world_client *c, struct player *p, struct file *file)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = request_for(c, &a, file);
        uint32_t type = file->locked ? LK_TYPE_UNLOCK : LK_TYPE_WRITE;
        const struct lk_fop_req req = {
                .gfid = file->gfid, .cmd = LK_COMMAND_WAIT, .type = type, .flock = {.type = type}, .xdata = DICT_NULL};
        struct lk_fop_rep rep;
        int result = subvolume_lk(self, volume_entry(c->volume), &r, &req, &rep);
        assert_true(result == 0 || result == -ENOTCONN || result == -EIO);
        if (result == 0)
                file->locked = !file->locked;
        else
                open_anew(self, c, p, file);
}

static void play(struct fibre *self, struct world_client *c, void *arg)
{
        struct game *g = arg;
        struct player *p = &g->players[c->index];
        static void (*const moves[])(struct fibre *, struct world_client *, struct player *,
                                     struct file *) = {move_write, move_write, move_read, move_lock};
        for (unsigned k = 0; k < STEPS; k++) {
                moves[draw(g, ELEMENTSOF(moves))](self, c, p, &p->files[draw(g, FILES)]);
                fibre_sleep(self, draw(g, 20 * NS_PER_MSEC));
        }
}

static void begin(struct fibre *self, struct world_client *c, void *arg)
{
        struct game *g = arg;
        for (unsigned k = 0; k < FILES; k++)
                make_file(self, c, &g->players[c->index].files[k], k);
}

static void end(struct fibre *self, struct world_client *c, void *arg)
{
        struct game *g = arg;
        struct player *p = &g->players[c->index];
        for (unsigned k = 0; k < FILES; k++) {
                move_read(self, c, p, &p->files[k]);
                vfile_unref(p->files[k].f);
        }
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static bool brick_died(void *arg)
{
        return world_brick_is_dead(arg);
}

static void revive(struct game *g)
{
        g->crashes++;
        world_brick_crash(&g->w.bricks[0], false);
        world_pass(&g->w, draw(g, 2 * NS_PER_SEC));
        world_brick_start(&g->w.bricks[0]);
}

static void pass_until_death(struct game *g, uint64_t time)
{
        if (sim_run(g->w.sim, sim_now(g->w.sim) + time, brick_died, &g->w.bricks[0]) == 0)
                revive(g);
}

static void strike(struct game *g)
{
        unsigned client = (unsigned)draw(g, CLIENTS);
        switch (draw(g, 4)) {
        case 0:
                revive(g);
                return;
        case 1:
                world_brick_doom(&g->w.bricks[0], 1 + draw(g, 10));
                return;
        case 2:
                g->resets++;
                world_reset(&g->w, client, 0);
                return;
        default:
                g->cuts++;
                world_cut(&g->w, client, 0, true);
                pass_until_death(g, draw(g, 3 * NS_PER_SEC));
                if (draw(g, 2))
                        world_reset(&g->w, client, 0);
                world_cut(&g->w, client, 0, false);
        }
}

static void note(struct game *sums, const struct game *g)
{
        sums->crashes += g->crashes;
        sums->resets += g->resets;
        sums->cuts += g->cuts;
        for (unsigned k = 0; k < CLIENTS; k++) {
                sums->players[0].writes += g->players[k].writes;
                sums->players[0].reads += g->players[k].reads;
                sums->players[0].lost += g->players[k].lost;
                sums->players[0].bad += g->players[k].bad;
        }
}

static bool all_up(void *arg)
{
        struct game *g = arg;
        for (unsigned k = 0; k < CLIENTS; k++)
                if (!volume_top(g->w.clients[k].volume)->up)
                        return false;
        return true;
}

static uint64_t run(uint64_t seed, struct game *sums)
{
        static struct game g;
        g = (struct game){0};
        print_message("seed %llu\n", (unsigned long long)seed);
        world_open(&g.w, &(struct world_config){.layout = WORLD_ONE,
                                                .seed = seed,
                                                .clients = CLIENTS,
                                                .outage_wait = OUTAGE_WAIT,
                                                .client_options = "    option ping-timeout 2\n"});
        for (unsigned k = 0; k < CLIENTS; k++)
                world_run(&g.w, k, begin, &g);
        for (unsigned k = 0; k < CLIENTS; k++)
                world_start(&g.w, k, play, &g);
        for (unsigned k = 0; k < STRIKES; k++) {
                pass_until_death(&g, draw(&g, 200 * NS_PER_MSEC));
                strike(&g);
        }
        world_brick_doom(&g.w.bricks[0], 0);
        world_until(&g.w, all_up, &g);
        world_wait(&g.w);
        for (unsigned k = 0; k < CLIENTS; k++)
                world_run(&g.w, k, end, &g);
        uint64_t hash = sim_trace_hash(g.w.sim);
        world_close(&g.w);
        note(sums, &g);
        return hash;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
        const char *text = getenv(name);
        return text ? strtoull(text, NULL, 0) : otherwise;
}

static void acknowledged_writes_are_there(void **state)
{
        static struct game sums;
        uint64_t only = number_from("MORTAR_SEED", 0), seeds = number_from("MORTAR_SEEDS", SEEDS_DEFAULT);
        (void)state;
        for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++)
                (void)run(seed, &sums);
        const struct player *p = &sums.players[0];
        print_message(
                "%u writes (%u with a lost answer), %u comparisons, %u files that lost a lock, %u crashes, %u resets, "
                "%u cuts\n",
                p->writes, p->lost, p->reads, p->bad, sums.crashes, sums.resets, sums.cuts);
        assert_true(only || (p->writes > 20 * seeds && sums.crashes > seeds && sums.resets > 0 && sums.cuts > 0));
}

static void equal_seeds_are_equal_runs(void **state)
{
        static struct game sums;
        (void)state;
        assert_true(run(3, &sums) == run(3, &sums));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(equal_seeds_are_equal_runs),
                cmocka_unit_test(acknowledged_writes_are_there),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
