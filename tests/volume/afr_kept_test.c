/* What replicate does not ask for twice: attributes changed under the lock of data, locks of metadata that stay, new files
 * that are locked as they are made, marks that go with locks; and what becomes of all that when something fails half-way
 * (replicate.md §6; volume/afr_eager.c, volume/afr_batch.c). */
#include "afr_calls.h"

#include <fcntl.h>

#include "volume/afr.h"

#define A_MOMENT (50 * NS_PER_MSEC)
#define LOCKED_FILES 40

struct state {
        struct vfile *file;
        struct vnode *inode;
        char data[16];
        int result;
};

#define STEP(name) static void name(struct fibre *self, struct world_client *c, void *arg)
#define STATE struct state *s = arg

STEP(create)
{
        STATE;
        assert_int_equal(call_create(self, c, NULL, "file", 0, &s->file), 0);
        s->inode = s->file->inode;
}
STEP(append)
{
        STATE;
        assert_int_equal(call_write(self, c, s->file, 0, "abcd", 4), 4);
}
STEP(change_mode)
{
        STATE;
        assert_int_equal(call_chmod(self, c, s->inode, 0600), 0);
}
STEP(set_xattr)
{
        STATE;
        assert_int_equal(call_setxattr(self, c, s->inode, "user.a", "b"), 0);
}
STEP(set_other_xattr)
{
        STATE;
        assert_int_equal(call_setxattr(self, c, s->inode, "user.other", "b"), 0);
}
STEP(remove_xattr)
{
        STATE;
        s->result = call_removexattr(self, c, s->inode, "user.a");
}
STEP(look_up)
{
        STATE;
        assert_int_equal(call_lookup(self, c, NULL, "file", &s->inode), 0);
}
STEP(open_file)
{
        STATE;
        assert_int_equal(call_open(self, c, NULL, "file", 0, &s->file), 0);
        s->inode = s->file->inode;
}
STEP(sync_file)
{
        STATE;
        assert_int_equal(call_fsync(self, c, s->file), 0);
}
STEP(close_file)
{
        STATE;
        assert_int_equal(call_close(self, c, s->file), 0);
}
STEP(remove_file)
{
        (void)arg;
        assert_int_equal(call_unlink(self, c, NULL, "file"), 0);
}
STEP(make_directory)
{
        STATE;
        assert_int_equal(call_mkdir(self, c, NULL, "directory"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "directory", &s->inode), 0);
}

static void begin(struct world *w, unsigned clients, uint64_t seed)
{
        world_open(w, &(struct world_config){.layout = WORLD_REP3, .clients = clients, .seed = seed});
}

/* With bricks that do not understand chains: locks of metadata have batches of their own. */
static void begin_plain(struct world *w, unsigned clients, uint64_t seed)
{
        world_open(w, &(struct world_config){.layout = WORLD_REP3, .clients = clients, .seed = seed, .no_chain = true});
}

static void zero_calls(struct world *w)
{
        for (unsigned b = 0; b < w->n_bricks; b++)
                memset(w->bricks[b].calls, 0, sizeof w->bricks[b].calls);
}

#define assert_calls(w, NAME, n)                                                                                       \
        for (unsigned b_ = 0; b_ < (w)->n_bricks; b_++)                                                                \
        assert_int_equal((w)->bricks[b_].calls[FOP_##NAME], (n))

static unsigned locks_at(struct world *w, unsigned b)
{
        struct brick_stats stats;
        brick_get_stats(w->bricks[b].brick, &stats);
        return stats.locks;
}

#define assert_locks(w, n)                                                                                             \
        for (unsigned b_ = 0; b_ < (w)->n_bricks; b_++)                                                                \
        assert_int_equal(locks_at((w), b_), (n))

static struct afr *afr_of_client(struct world *w)
{
        return afr_of(volume_top(w->clients[0].volume));
}

/* Brick B loses an attribute: what removes it fails there. */
static void lose_xattr(struct world *w, unsigned b)
{
        assert_int_equal(disk_removexattr(world_disk(&w->bricks[b]), AT_FDCWD, WORLD_BRICK_PATH "/file", "user.a"), 0);
}

/* ---- attributes under the lock of data --------------------------------------------------------------------------- */

static void attributes_need_no_lock_beside_that_of_data(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 1);
        world_run(&w, 0, create, &s);
        world_run(&w, 0, append, &s);
        zero_calls(&w);
        world_run(&w, 0, change_mode, &s);
        world_run(&w, 0, set_xattr, &s);
        assert_calls(&w, SETATTR, 1);
        assert_calls(&w, SETXATTR, 1);
        assert_calls(&w, INODELK, 0);
        assert_calls(&w, FINODELK, 0);
        assert_counter(&w, 1, "/file", -1, "1,0,0"); /* of the write */
        world_run(&w, 0, close_file, &s);
        world_pass(&w, A_MOMENT);
        assert_clean(&w, "/file");
        assert_locks(&w, 0);
        world_close(&w);
}

static void each_class_has_its_own_blame(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 2);
        world_run(&w, 0, create, &s);
        world_run(&w, 0, set_xattr, &s);
        lose_xattr(&w, 1);
        world_run(&w, 0, append, &s);
        world_run(&w, 0, remove_xattr, &s);
        assert_int_equal(s.result, 0);
        for (unsigned b = 0; b < 3; b += 2) { /* on disk before it was answered */
                assert_counter(&w, b, "/file", 1, "0,1,0");
                assert_counter(&w, b, "/file", -1, "0,0,0");
        }
        world_run(&w, 0, close_file, &s);
        world_close(&w);
        begin(&w, 1, 3);
        s = (struct state){0};
        world_run(&w, 0, create, &s);
        world_run(&w, 0, append, &s);
        world_run(&w, 0, change_mode, &s);
        world_reset(&w, 0, 2); /* what is not settled there may be lost */
        world_pass(&w, 2 * NS_PER_SEC);
        assert_counter(&w, 0, "/file", 2, "1,1,0");
        assert_counter(&w, 1, "/file", 2, "1,1,0");
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

/* Without all copies a change of attributes is marked by itself: a batch that did not do that is not for it. */
static void attributes_are_marked_when_a_copy_is_away(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 4);
        world_run(&w, 0, create, &s);
        world_brick_stop(&w.bricks[2]);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, append, &s);
        world_run(&w, 0, append, &s); /* it is blamed already: this one is not settled at once */
        assert_counter(&w, 0, "/file", -1, "1,0,0");
        zero_calls(&w);
        world_run(&w, 0, change_mode, &s);
        assert_true(w.bricks[0].calls[FOP_INODELK] > 0);
        assert_counter(&w, 0, "/file", 2, "1,1,0");
        world_run(&w, 0, close_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_counter(&w, 0, "/file", -1, "0,0,0");
        world_brick_start(&w.bricks[2]);
        world_pass(&w, 5 * NS_PER_SEC);
        world_close(&w);
}

/* ---- kept locks of metadata -------------------------------------------------------------------------------------- */

static void locks_of_attributes_stay_a_while(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 10);
        world_run(&w, 0, make_directory, &s);
        world_pass(&w, NS_PER_SEC);
        zero_calls(&w);
        for (unsigned k = 0; k < 3; k++)
                world_run(&w, 0, change_mode, &s);
        assert_calls(&w, INODELK, 1);
        assert_calls(&w, SETATTR, 3);
        assert_locks(&w, 1);
        world_pass(&w, 1100 * NS_PER_MSEC);
        assert_calls(&w, INODELK, 2);
        assert_calls(&w, XATTROP, 0);
        assert_locks(&w, 0);
        vnode_unref(s.inode);
        world_close(&w);
}

static void data_does_not_wait_for_kept_attributes(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 11);
        world_run(&w, 0, create, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        uint64_t start = sim_now(w.sim);
        world_run(&w, 0, change_mode, &s);
        world_run(&w, 0, sync_file, &s);
        world_run(&w, 0, append, &s);
        world_run(&w, 0, change_mode, &s);
        assert_true(sim_now(w.sim) - start < A_MOMENT);
        assert_locks(&w, 2); /* they are not in each other's way */
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

static void kept_attributes_give_way_to_others(void **state)
{
        static struct world w;
        struct state s[2] = {0};
        (void)state;
        begin(&w, 2, 12);
        world_run(&w, 0, create, &s[0]);
        world_run(&w, 1, open_file, &s[1]);
        world_pass(&w, 2 * NS_PER_SEC);
        uint64_t start = sim_now(w.sim);
        world_run(&w, 0, change_mode, &s[0]);
        world_run(&w, 1, change_mode, &s[1]);
        assert_true(sim_now(w.sim) - start < A_MOMENT);
        world_run(&w, 0, append, &s[0]);
        assert_true(sim_now(w.sim) - start < 2 * A_MOMENT);
        for (unsigned c = 0; c < 2; c++)
                world_run(&w, c, close_file, &s[c]);
        world_close(&w);
}

static void an_object_can_go_with_its_lock(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 13);
        world_run(&w, 0, create, &s);
        world_run(&w, 0, close_file, &s);
        world_run(&w, 0, look_up, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, change_mode, &s);
        world_run(&w, 0, remove_file, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_locks(&w, 0);
        vnode_unref(s.inode);
        world_close(&w);
}

#define MANY 1100 /* more than are kept */

STEP(change_many)
{
        (void)arg;
        for (unsigned k = 0; k < MANY; k++) {
                struct vnode *i = NULL;
                char name[16];
                (void)snprintf(name, sizeof name, "many%u", k);
                assert_int_equal(call_mknod(self, c, NULL, name, S_IFREG), 0);
                assert_int_equal(call_lookup(self, c, NULL, name, &i), 0);
                assert_int_equal(call_chmod(self, c, i, 0600), 0);
                vnode_unref(i);
        }
}

static void what_is_kept_is_bounded(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3,
                                              .seed = 17,
                                              .replicate_options = "    option post-op-delay-secs 60\n"});
        world_run(&w, 0, change_many, NULL);
        world_pass(&w, A_MOMENT);
        assert_int_equal(afr_of_client(&w)->n_batches, 1024);
        assert_locks(&w, 1024);
        world_pass(&w, 61 * NS_PER_SEC);
        assert_locks(&w, 0);
        world_close(&w);
}

/* Less than the quorum has it: nobody is blamed, the healer is told, and nothing stays. */
static void a_broken_batch_ends_at_once(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned data = 0; data < 2; data++) {
                struct state s = {0};
                begin(&w, 1, 14 + data);
                world_run(&w, 0, create, &s);
                world_run(&w, 0, set_xattr, &s);
                world_pass(&w, 2 * NS_PER_SEC);
                lose_xattr(&w, 1);
                lose_xattr(&w, 2);
                if (data)
                        world_run(&w, 0, append, &s);
                world_run(&w, 0, remove_xattr, &s);
                assert_int_equal(s.result, -ENODATA);
                world_pass(&w, A_MOMENT);
                assert_locks(&w, 0);
                for (unsigned b = 0; b < 3; b++) {
                        assert_counter(&w, b, "/file", -1, "0,1,0");
                        for (int child = 0; child < 3; child++)
                                assert_counter(&w, b, "/file", child, "0,0,0");
                }
                world_run(&w, 0, close_file, &s);
                world_close(&w);
        }
}

/* A copy that is known to be behind and failed again is left out of what follows in the same batch. */
static void who_failed_is_not_asked_again(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 16);
        world_run(&w, 0, create, &s);
        world_brick_stop(&w.bricks[1]);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, append, &s);
        world_run(&w, 0, set_xattr, &s);
        world_pass(&w, 2 * NS_PER_SEC);
        world_brick_start(&w.bricks[1]);
        world_pass(&w, 5 * NS_PER_SEC);
        world_run(&w, 0, append, &s);
        world_run(&w, 0, remove_xattr, &s);
        assert_int_equal(s.result, 0);
        zero_calls(&w);
        world_run(&w, 0, set_other_xattr, &s);
        assert_int_equal(w.bricks[0].calls[FOP_SETXATTR], 1);
        assert_int_equal(w.bricks[1].calls[FOP_SETXATTR], 0);
        assert_int_equal(w.bricks[0].calls[FOP_FINODELK], 0); /* it is the same batch */
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

/* ---- new files --------------------------------------------------------------------------------------------------- */

static void a_new_file_is_locked_as_it_is_made(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 20);
        zero_calls(&w);
        world_run(&w, 0, create, &s);
        assert_counter(&w, 0, "/file", -1, "1,0,0");
        world_run(&w, 0, append, &s);
        world_run(&w, 0, change_mode, &s);
        assert_calls(&w, INODELK, 2); /* of data and of metadata */
        assert_calls(&w, XATTROP, 1);
        assert_calls(&w, FINODELK, 0);
        assert_calls(&w, FXATTROP, 0);
        world_run(&w, 0, close_file, &s);
        world_pass(&w, A_MOMENT);
        assert_clean(&w, "/file");
        assert_locks(&w, 0);
        assert_calls(&w, FSYNC, 0);
        world_close(&w);
}

STEP(create_many)
{
        (void)arg;
        for (unsigned k = 0; k < LOCKED_FILES; k++) {
                struct vfile *f = NULL;
                char name[16];
                (void)snprintf(name, sizeof name, "many%u", k);
                assert_int_equal(call_create(self, c, NULL, name, 0, &f), 0);
                vfile_unref(f);
        }
}

static void files_that_are_never_written_are_given_back(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 21);
        zero_calls(&w);
        world_run(&w, 0, create_many, NULL);
        unsigned locked = w.bricks[0].calls[FOP_INODELK];
        assert_true(locked > 0 && locked < LOCKED_FILES); /* two locks each: it has learnt that nobody writes here */
        world_pass(&w, 1100 * NS_PER_MSEC);
        assert_locks(&w, 0);
        assert_clean(&w, "/many0");
        for (unsigned b = 0; b < 3; b++) /* nobody holds them open either */
                assert_int_equal(w.bricks[b].calls[FOP_RELEASE], LOCKED_FILES);
        world_run(&w, 0, create, &s);
        world_run(&w, 0, append, &s); /* one that is written */
        world_run(&w, 0, close_file, &s);
        world_run(&w, 0, remove_file, &s);
        world_pass(&w, NS_PER_SEC);
        zero_calls(&w);
        world_run(&w, 0, create, &s);
        assert_calls(&w, INODELK, 2);
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

static void what_was_there_already_is_not_locked(void **state)
{
        static struct world w;
        struct state s[2] = {0};
        (void)state;
        begin(&w, 2, 22);
        world_run(&w, 1, create, &s[1]);
        world_run(&w, 1, append, &s[1]);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, create, &s[0]);
        world_pass(&w, A_MOMENT);
        assert_locks(&w, 0);
        assert_clean(&w, "/file");
        world_run(&w, 0, append, &s[0]);
        for (unsigned c = 0; c < 2; c++)
                world_run(&w, c, close_file, &s[c]);
        world_pass(&w, A_MOMENT);
        assert_clean(&w, "/file");
        world_close(&w);
}

/* Brick 1 has something else by this name. */
static void plant_obstacle(struct world *w)
{
        struct disk *d = world_disk(&w->bricks[1]);
        int fd = disk_open(d, AT_FDCWD, WORLD_BRICK_PATH "/file", O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        (void)disk_close(d, fd);
}

STEP(create_exclusively)
{
        STATE;
        assert_int_equal(call_create(self, c, NULL, "file", O_EXCL, &s->file), 0);
        s->inode = s->file->inode;
}

static void a_copy_that_did_not_make_it_is_not_believed(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned chains = 0; chains < 2; chains++) {
                struct state s = {0};
                (chains ? begin : begin_plain)(&w, 1, 23);
                plant_obstacle(&w);
                world_run(&w, 0, create_exclusively, &s);
                const struct afr_inode *x = afr_inode(afr_of_client(&w), s.inode);
                for (unsigned class = 0; class < AFR_CLASSES; class++) {
                        assert_int_equal(x->verdict.readable[class], AFR_BIT(0) | AFR_BIT(2));
                        assert_int_equal(x->verdict.accused[class], AFR_BIT(1));
                }
                world_pass(&w, A_MOMENT);
                assert_locks(&w, 0); /* lock and mark of the new file were given back */
                for (unsigned b = 0; b < 3; b += 2) {
                        assert_counter(&w, b, "/file", 1, "1,1,0");
                        assert_counter(&w, b, "/file", -1, "0,0,0");
                        assert_counter(&w, b, "/", 1, "0,0,1");
                }
                world_run(&w, 0, close_file, &s);
                world_close(&w);
        }
}

/* ---- marks that go with locks ------------------------------------------------------------------------------------ */

/* Without chains, by itself, as another client's transaction would: at child CHILD. TYPE 1: write, 2: unlock. */
static int lock_at(struct fibre *self, struct world_client *c, struct vnode *i, unsigned child, bool metadata,
                   uint32_t type)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * KIB);
        struct request r = world_request(c, &a);
        struct subvolume *top = volume_top(c->volume);
        const uint64_t owner = 77;
        memcpy(r.cred.owner, &owner, sizeof owner);
        r.cred.owner_len = sizeof owner;
        r.inode = i;
        struct inodelk_fop_req req = {
                .gfid = i->gfid, .cmd = 1, .type = type, .flock.type = type, .volume = str_of(top->name)};
        struct inodelk_fop_rep rep;
        req.flock.start = metadata ? 0x7ffffffffffffffe : 0;
        return subvolume_inodelk(self, top->children[child], &r, &req, &rep);
}

STEP(lock_one_copy)
{
        STATE;
        assert_int_equal(lock_at(self, c, s->inode, 1, false, 1), 0);
}
STEP(unlock_one_copy)
{
        STATE;
        assert_int_equal(lock_at(self, c, s->inode, 1, false, 2), 0);
}

struct probe {
        struct vnode *inode;
        unsigned child;
        int result;
};

/* A refused attempt tells the holder, who lets go: one child each time. */
STEP(probe_attributes)
{
        struct probe *p = arg;
        p->result = lock_at(self, c, p->inode, p->child, true, 1);
        if (p->result == 0)
                assert_int_equal(lock_at(self, c, p->inode, p->child, true, 2), 0);
}

static void attributes_are_locked_wherever_they_change(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned run = 0; run < 12; run++) {
                unsigned k = run / 3; /* a new file; an older one; by themselves; without chains */
                struct state s[2] = {0};
                struct probe p = {.child = run % 3};
                (k < 3 ? begin : begin_plain)(&w, 2, 31 + run);
                world_run(&w, 0, create, &s[0]);
                world_run(&w, 1, look_up, &s[1]);
                if (k > 0)
                        world_pass(&w, 2 * NS_PER_SEC);
                if (k != 2)
                        world_run(&w, 0, append, &s[0]);
                world_run(&w, 0, change_mode, &s[0]);
                p.inode = s[1].inode;
                world_run(&w, 1, probe_attributes, &p);
                assert_int_equal(p.result, -EAGAIN);
                world_pass(&w, 2 * NS_PER_SEC);
                world_run(&w, 1, probe_attributes, &p);
                assert_int_equal(p.result, 0);
                world_run(&w, 0, close_file, &s[0]);
                vnode_unref(s[1].inode);
                world_close(&w);
        }
}

static void marks_are_taken_back_with_refused_locks(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned chains = 0; chains < 2; chains++) {
                struct state s[2] = {0};
                (chains ? begin : begin_plain)(&w, 2, 30);
                world_run(&w, 0, create, &s[0]);
                world_run(&w, 1, look_up, &s[1]);
                world_pass(&w, 2 * NS_PER_SEC);
                world_run(&w, 1, lock_one_copy, &s[1]);
                zero_calls(&w);
                world_start(&w, 0, append, &s[0]);
                world_pass(&w, 500 * NS_PER_MSEC);
                assert_int_equal(w.bricks[0].calls[FOP_FXATTROP], 2); /* set, and taken back */
                assert_int_equal(w.bricks[2].calls[FOP_FXATTROP], 2);
                if (!chains) /* not without the lock; a chain is counted as a whole */
                        assert_int_equal(w.bricks[1].calls[FOP_FXATTROP], 0);
                assert_clean(&w, "/file");
                assert_int_equal(locks_at(&w, 2), 0); /* they are waited for in order */
                world_run(&w, 1, unlock_one_copy, &s[1]);
                world_wait(&w);
                assert_counter(&w, 1, "/file", -1, "1,0,0");
                world_run(&w, 0, close_file, &s[0]);
                world_pass(&w, A_MOMENT);
                assert_clean(&w, "/file");
                assert_locks(&w, 0);
                vnode_unref(s[1].inode);
                world_close(&w);
        }
}

/* ---- knowledge --------------------------------------------------------------------------------------------------- */

static void an_older_answer_does_not_hide_a_failure(void **state)
{
        static struct world w;
        struct state s = {0};
        (void)state;
        begin(&w, 1, 40);
        world_run(&w, 0, create, &s);
        struct afr *a = afr_of_client(&w);
        struct afr_inode *x = afr_inode(a, s.inode);
        const struct afr_verdict clean = x->verdict;
        uint32_t asked = x->changes;
        assert_int_equal(afr_readable(x, AFR_DATA), 7);
        afr_distrust(x, AFR_BIT(1), AFR_DATA); /* while the question is under way */
        afr_learn(a, s.inode, asked, &clean);
        assert_int_equal(afr_readable(x, AFR_DATA), 5);
        assert_int_equal(afr_readable(x, AFR_METADATA), 7);
        assert_false(x->known);
        afr_learn(a, s.inode, x->changes, &clean); /* one that was asked for later */
        assert_int_equal(afr_readable(x, AFR_DATA), 7);
        assert_true(x->known);
        world_run(&w, 0, close_file, &s);
        world_close(&w);
}

/* ---- POSIX locks ------------------------------------------------------------------------------------------------- */

STEP(take_lock)
{
        STATE;
        assert_int_equal(call_lk(self, c, s->file, false, 1, 1), 0);
}
STEP(wait_for_lock)
{
        STATE;
        s->result = call_lk(self, c, s->file, true, 1, 1);
}

static void a_lock_without_quorum_is_none(void **state)
{
        static struct world w;
        struct state s[2] = {0};
        (void)state;
        begin(&w, 2, 50);
        world_run(&w, 0, create, &s[0]);
        world_run(&w, 1, open_file, &s[1]);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 1, take_lock, &s[1]);
        world_start(&w, 0, wait_for_lock, &s[0]);
        world_pass(&w, A_MOMENT); /* at the first brick */
        world_brick_crash(&w.bricks[1], false);
        world_brick_crash(&w.bricks[2], false);
        world_pass(&w, A_MOMENT);
        world_client_crash(&w.clients[1]);
        world_wait(&w);
        assert_int_equal(s[0].result, -ENOTCONN);
        assert_int_equal(locks_at(&w, 0), 0);
        vfile_unref(s[0].file);
        for (unsigned b = 1; b < 3; b++)
                world_brick_start(&w.bricks[b]);
        world_pass(&w, 5 * NS_PER_SEC);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(attributes_need_no_lock_beside_that_of_data),
                cmocka_unit_test(each_class_has_its_own_blame),
                cmocka_unit_test(attributes_are_marked_when_a_copy_is_away),
                cmocka_unit_test(locks_of_attributes_stay_a_while),
                cmocka_unit_test(data_does_not_wait_for_kept_attributes),
                cmocka_unit_test(kept_attributes_give_way_to_others),
                cmocka_unit_test(an_object_can_go_with_its_lock),
                cmocka_unit_test(what_is_kept_is_bounded),
                cmocka_unit_test(a_broken_batch_ends_at_once),
                cmocka_unit_test(who_failed_is_not_asked_again),
                cmocka_unit_test(a_new_file_is_locked_as_it_is_made),
                cmocka_unit_test(files_that_are_never_written_are_given_back),
                cmocka_unit_test(what_was_there_already_is_not_locked),
                cmocka_unit_test(a_copy_that_did_not_make_it_is_not_believed),
                cmocka_unit_test(attributes_are_locked_wherever_they_change),
                cmocka_unit_test(marks_are_taken_back_with_refused_locks),
                cmocka_unit_test(an_older_answer_does_not_hide_a_failure),
                cmocka_unit_test(a_lock_without_quorum_is_none),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
