/* What system calls cost on three replicas that are all there: messages to all bricks, afterwards included, and round
 * trips until the answer; with bricks that understand chains, and with those that do not, as stock's. The same table stands
 * in docs/architecture.md. */
#include "afr_calls.h"

#include <fcntl.h>

#define DELAY (10 * NS_PER_MSEC) /* each way; everything else takes no time */
#define SETTLED (3 * NS_PER_SEC) /* nothing is under way any more */

struct state {
        struct vfile *file;
        struct vnode *inode;
        char data[16];
};

#define STEP(name) static int name(struct fibre *self, struct world_client *c, struct state *s)

STEP(make_directory)
{
        (void)s;
        return call_mkdir(self, c, NULL, "directory");
}
STEP(create)
{
        return call_create(self, c, NULL, "file", 0, &s->file);
}
STEP(create_and_write)
{
        struct vfile *f = NULL;
        int r = call_create(self, c, NULL, "written", 0, &f);
        if (r == 0)
                r = call_write(self, c, f, 0, "abcd", 4);
        vfile_unref(f);
        return r;
}
STEP(append)
{
        return call_write(self, c, s->file, 0, "abcd", 4);
}
STEP(append_thrice)
{
        int r = call_write(self, c, s->file, 4, "abcd", 4);
        if (r == 4)
                r = call_write(self, c, s->file, 8, "abcd", 4);
        return r == 4 ? call_write(self, c, s->file, 12, "abcd", 4) : r;
}
STEP(overwrite)
{
        return call_write(self, c, s->file, 2, "xy", 2);
}
STEP(write_and_change)
{
        int r = call_write(self, c, s->file, 16, "abcd", 4);
        if (r == 4)
                r = call_chmod(self, c, s->file->inode, 0640);
        return r < 0 ? r : call_chmod(self, c, s->file->inode, 0600);
}
STEP(sync_file)
{
        return call_fsync(self, c, s->file);
}
STEP(read_file)
{
        return call_read(self, c, s->file, 0, s->data, sizeof s->data);
}
STEP(truncate_file)
{
        return call_ftruncate(self, c, s->file, 1);
}
STEP(write_and_close)
{
        int r = call_write(self, c, s->file, 1, "bcd", 3);
        return r == 3 ? call_close(self, c, s->file) : r;
}
STEP(look_up)
{
        return call_lookup(self, c, NULL, "file", &s->inode);
}
STEP(look_again)
{
        return call_look_again(self, c, NULL, "file", s->inode);
}
STEP(look_for_nothing)
{
        struct vnode *i;
        return call_lookup(self, c, NULL, "nothing", &i) == -ENOENT ? 0 : -EIO;
}
STEP(list_root)
{
        return call_list(self, c, NULL);
}
STEP(stat_file)
{
        struct iatt stat;
        return call_stat(self, c, s->inode, &stat);
}
STEP(change_mode)
{
        return call_chmod(self, c, s->inode, 0600);
}
STEP(change_thrice)
{
        int r = call_chmod(self, c, s->inode, 0640);
        if (r == 0)
                r = call_setxattr(self, c, s->inode, "user.a", "c");
        return r == 0 ? call_chmod(self, c, s->inode, 0600) : r;
}
STEP(set_xattr)
{
        return call_setxattr(self, c, s->inode, "user.a", "b");
}
STEP(get_xattr)
{
        return call_getxattr(self, c, s->inode, "user.a", s->data, sizeof s->data);
}
STEP(rename_file)
{
        return call_rename(self, c, NULL, "file", NULL, "renamed");
}
STEP(remove_file)
{
        return call_unlink(self, c, NULL, "renamed");
}
STEP(remove_directory)
{
        return call_rmdir(self, c, NULL, "directory");
}

struct cost {
        unsigned messages, round_trips;
};
static const struct row {
        const char *name;
        int (*step)(struct fibre *self, struct world_client *c, struct state *s);
        struct cost chain, plain;
        unsigned look_ups; /* that the step makes itself to find its objects: not counted */
} rows[] = {
        /* + is in one message; what follows ; nobody waits for */
        {"mkdir", make_directory, {9, 2}, {9, 2}}, /* lock, operation; unlock */
        {"create, write, release", create_and_write, {18, 3}, {27, 5}},
        {"create", create, {12, 2}, {9, 2}},        /* lock, operation + locks + mark; unlock; take back + unlock */
        {"first write", append, {9, 2}, {15, 3}},   /* locks + mark, write; take back + unlock */
        {"three writes", append_thrice, {15, 4}, {21, 5}},
        {"write, chmod, chmod", write_and_change, {15, 4}, {27, 6}},
        {"overwriting", overwrite, {12, 2}, {18, 3}}, /* locks + mark, write; sync, take back + unlock */
        {"fsync", sync_file, {3, 1}, {3, 1}},         /* nothing else is kept */
        {"read", read_file, {1, 1}, {1, 1}},          /* one brick */
        {"ftruncate", truncate_file, {12, 2}, {18, 3}}, /* as overwriting: the file was longer */
        {"write and close", write_and_close, {12, 2}, {21, 4}}, /* release; flush without chains: nothing is locked */
        {"look-up", look_up, {3, 1}, {3, 1}},
        {"look-up of what is known", look_again, {1, 1}, {3, 1}}, /* one brick */
        {"look-up of nothing", look_for_nothing, {3, 1}, {3, 1}},
        {"listing", list_root, {4, 3}, {11, 4}}, /* open, list twice, release: one brick */
        {"stat", stat_file, {1, 1}, {1, 1}},
        {"chmod", change_mode, {9, 2}, {9, 2}}, /* lock, operation; unlock */
        {"chmod, setxattr, chmod", change_thrice, {15, 4}, {15, 4}}, /* lock, three operations; unlock */
        {"setxattr", set_xattr, {9, 2}, {9, 2}},
        {"getxattr", get_xattr, {1, 1}, {1, 1}},
        {"rename", rename_file, {12, 2}, {15, 2}, 2}, /* two names are locked, at once */
        {"unlink", remove_file, {9, 2}, {9, 2}},
        {"rmdir", remove_directory, {12, 2}, {15, 2}, 1}, /* the name and the directory are locked */
};

struct measured {
        struct state state;
        const struct row *row;
        int result;
        uint64_t took;
};

static void measure(struct fibre *self, struct world_client *c, void *arg)
{
        struct measured *m = arg;
        uint64_t begin = loop_now(fibre_loop(self));
        m->result = m->row->step(self, c, &m->state);
        m->took = loop_now(fibre_loop(self)) - begin;
}

/* The state of the root's copies is asked for once. */
static void warm_up(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_mkdir(self, c, NULL, "first"), 0);
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

static bool row_is_right(struct world *w, struct measured *m, const struct row *row, bool chain)
{
        struct cost want = chain ? row->chain : row->plain;
        world_pass(w, SETTLED);
        (void)take_messages(w);
        m->row = row;
        world_run(w, 0, measure, m);
        world_pass(w, SETTLED);
        unsigned messages = take_messages(w), trips = (unsigned)((m->took + DELAY) / (2 * DELAY));
        messages -= row->look_ups * w->n_bricks;
        trips -= row->look_ups;
        if (m->result >= 0 && messages == want.messages && trips == want.round_trips)
                return true;
        print_error("%s, %s chains: result %d, %u messages (not %u), %u round trips (not %u)\n", row->name,
                    chain ? "with" : "without", m->result, messages, want.messages, trips, want.round_trips);
        return false;
}

static void system_calls_cost_what_the_table_says(void **state)
{
        static struct world w;
        bool right = true;
        (void)state;
        for (unsigned chain = 0; chain < 2; chain++) {
                struct measured m = {0};
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 1, .no_chain = !chain});
                for (unsigned b = 0; b < w.n_bricks; b++)
                        sim_link_set(w.sim, w.clients[0].node, w.bricks[b].node,
                                     &(struct sim_link){.delay_min = DELAY, .delay_max = DELAY});
                world_run(&w, 0, warm_up, NULL);
                for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                        right &= row_is_right(&w, &m, &rows[i], chain);
                vnode_unref(m.state.inode);
                world_close(&w);
        }
        assert_true(right);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(system_calls_cost_what_the_table_says),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
