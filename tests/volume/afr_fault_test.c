/* A copy fails, or its brick dies, or the client dies, at each step of a transaction (replicate.md §6.7, §14).
 *
 * Over 600 lines, because the scenarios share their steps and their judge.
 *
 * Each scenario is run with the first effect on a brick's disk failing, then the second, … until one in which nothing
 * failed. */
#include "afr_calls.h"

#include <fcntl.h>

#include "base/log.h"
#include "volume/afr.h"

enum what { WRITE_OVER, WRITE_APPEND, WRITE_SYNCED, CUT, CHMOD, SETXATTR, CREATE, MKDIR, UNLINK, RENAME, WHATS };

struct step {
        enum what what;
        int result;
        bool done;
};

static void prepare(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_create(self, c, NULL, "old", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "0123456789", 10), 10);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_mkdir(self, c, NULL, "dir"), 0);
        fibre_sleep(self, 100 * NS_PER_MSEC);
}

static int change_file(struct fibre *self, struct world_client *c, enum what what)
{
        struct vfile *f = NULL;
        int r = call_open(self, c, NULL, "old", 0, &f);
        if (r < 0)
                return r;
        if (what == WRITE_OVER || what == WRITE_SYNCED)
                r = call_write(self, c, f, 2, "xyz", 3);
        else if (what == WRITE_APPEND)
                r = call_write(self, c, f, 10, "abc", 3);
        else if (what == CUT)
                r = call_ftruncate(self, c, f, 5);
        else if (what == CHMOD)
                r = call_chmod(self, c, f->inode, 0600);
        else
                r = call_setxattr(self, c, f->inode, "user.colour", "blue");
        if (what == WRITE_SYNCED && r >= 0)
                r = call_fsync(self, c, f);
        (void)call_close(self, c, f);
        return r;
}

static int change_names(struct fibre *self, struct world_client *c, enum what what)
{
        struct vfile *f = NULL;
        struct vnode *d = NULL;
        int r;
        if (what == MKDIR)
                return call_mkdir(self, c, NULL, "new");
        if (what == UNLINK)
                return call_unlink(self, c, NULL, "old");
        if (what == RENAME) {
                r = call_lookup(self, c, NULL, "dir", &d);
                r = r < 0 ? r : call_rename(self, c, NULL, "old", d, "new");
                vnode_unref(d);
                return r;
        }
        r = call_create(self, c, NULL, "new", 0, &f);
        if (f)
                (void)call_close(self, c, f);
        return r;
}

static void take_step(struct fibre *self, struct world_client *c, void *arg)
{
        struct step *s = arg;
        s->result = s->what < CREATE ? change_file(self, c, s->what) : change_names(self, c, s->what);
        s->done = true;
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

/* 1: brick B has the change, 0: it is as before, -1: neither. */
static int has_change(struct world *w, unsigned b, enum what what)
{
        static const char *const contents[] = {[WRITE_OVER] = "01xyz56789",
                                               [WRITE_SYNCED] = "01xyz56789",
                                               [WRITE_APPEND] = "0123456789abc",
                                               [CUT] = "01234"};
        struct world_brick *brick = &w->bricks[b];
        struct stat st;
        char data[32] = "";
        bool arbiter = brick->arbiter;
        if (what < CHMOD && arbiter)
                return 1;
        if (what < CHMOD) {
                ssize_t n = world_read(brick, "/old", data, sizeof data - 1);
                return n < 0 ? -1 : strcmp(data, contents[what]) == 0 ? 1 : strcmp(data, "0123456789") == 0 ? 0 : -1;
        }
        if (what == CHMOD) {
                assert_int_equal(disk_stat(world_disk(brick), AT_FDCWD, WORLD_BRICK_PATH "/old", &st), 0);
                return (st.st_mode & 07777) == 0600;
        }
        if (what == SETXATTR)
                return world_xattr(brick, "/old", "user.colour", data, sizeof data) == 4;
        if (what == UNLINK)
                return !world_exists(brick, "/old");
        if (what == RENAME)
                return world_exists(brick, "/dir/new") && !world_exists(brick, "/old")   ? 1
                       : !world_exists(brick, "/dir/new") && world_exists(brick, "/old") ? 0
                                                                                         : -1;
        return world_exists(brick, "/new");
}

static const char *object_of(enum what what)
{
        return what < CREATE ? "/old" : "/";
}

static enum afr_class class_of(enum what what)
{
        return what < CHMOD ? AFR_DATA : what < CREATE ? AFR_METADATA : AFR_ENTRY;
}

static int counter(struct world *w, unsigned b, const char *path, int child, enum afr_class class)
{
        char text[40];
        int v[3] = {0};
        if (sscanf(disk_counter(w, b, path, child, text), "%d,%d,%d", &v[0], &v[1], &v[2]) != 3)
                return 0;
        return v[class];
}

/* Somebody blames B. */
static bool is_blamed(struct world *w, unsigned b, enum what what)
{
        for (unsigned k = 0; k < w->n_bricks; k++) {
                if (counter(w, k, object_of(what), (int)b, class_of(what)) != 0)
                        return true;
        }
        return false;
}

static bool any_dirty(struct world *w, enum what what)
{
        for (unsigned k = 0; k < w->n_bricks; k++) {
                if (counter(w, k, object_of(what), -1, class_of(what)) != 0)
                        return true;
        }
        return false;
}

static void judge(struct world *w, const struct step *s, const char *story, uint64_t n)
{
        int first = -2;
        bool differ = false;
        for (unsigned b = 0; b < w->n_bricks; b++) {
                if (is_blamed(w, b, s->what))
                        continue;
                int has = has_change(w, b, s->what);
                if (s->done && s->result >= 0 && has != 1)
                        fail_msg("%s %llu, operation %d: acknowledged, but brick %u, which is not blamed, has %d",
                                 story, (unsigned long long)n, s->what, b, has);
                differ = differ || (first != -2 && has != first);
                first = has;
        }
        if (first == -2)
                fail_msg("%s %llu, operation %d: everybody is blamed", story, (unsigned long long)n, s->what);
        bool marked_before = class_of(s->what) == AFR_DATA;
        if (differ && !any_dirty(w, s->what) && (marked_before || s->done))
                fail_msg("%s %llu, operation %d: good copies differ, and nothing is dirty", story,
                         (unsigned long long)n, s->what);
}

static bool step_over(void *arg)
{
        return ((const struct step *)arg)->done;
}

static bool dead_or_over(void *arg)
{
        struct world *w = arg;
        for (unsigned b = 0; b < w->n_bricks; b++) {
                if (world_brick_is_dead(&w->bricks[b]))
                        return true;
        }
        return w->clients[0].running == 0;
}

/* ---- an effect fails --------------------------------------------------------------------------------------------- */

static bool fail_once(enum world_layout layout, enum what what, unsigned brick, uint64_t n)
{
        static struct world w;
        struct step s = {.what = what};
        world_open(&w, &(struct world_config){.layout = layout, .seed = 100 + n});
        world_run(&w, 0, prepare, NULL);
        sim_disk_fail_nth(w.bricks[brick].disk, n, EIO);
        world_run(&w, 0, take_step, &s);
        world_pass(&w, 3 * NS_PER_SEC);
        bool fired = sim_disk_fault_fired(w.bricks[brick].disk);
        sim_disk_faults_clear(w.bricks[brick].disk);
        judge(&w, &s, "effect failing", n);
        world_close(&w);
        return fired;
}

static void every_effect_fails_once(void **state)
{
        (void)state;
        for (unsigned what = 0; what < WHATS; what++) {
                for (uint64_t n = 1; fail_once(WORLD_REP3, what, what % 3, n); n++)
                        assert_true(n < 200);
                for (uint64_t n = 1; fail_once(WORLD_ARBITER, what, (what + 1) % 3, n); n++)
                        assert_true(n < 200);
        }
}

/* ---- a brick dies ------------------------------------------------------------------------------------------------ */

static bool die_once(enum what what, unsigned brick, uint64_t n)
{
        static struct world w;
        struct step s = {.what = what};
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 200 + n});
        world_run(&w, 0, prepare, NULL);
        world_brick_doom(&w.bricks[brick], n);
        world_start(&w, 0, take_step, &s);
        world_until(&w, dead_or_over, &w);
        bool dead = world_brick_is_dead(&w.bricks[brick]);
        if (!dead)
                world_pass(&w, 2 * NS_PER_SEC);
        dead = world_brick_is_dead(&w.bricks[brick]);
        world_brick_crash(&w.bricks[brick], false);
        world_until(&w, step_over, &s);
        world_pass(&w, 3 * NS_PER_SEC);
        world_brick_start(&w.bricks[brick]);
        world_pass(&w, 5 * NS_PER_SEC);
        judge(&w, &s, "brick dying", n);
        world_close(&w);
        return dead;
}

static void a_brick_dies_at_every_effect(void **state)
{
        (void)state;
        for (unsigned what = 0; what < WHATS; what++) {
                for (uint64_t n = 1; die_once(what, what % 3, n); n++)
                        assert_true(n < 200);
        }
}

/* ---- the client dies --------------------------------------------------------------------------------------------- */

static void a_client_dies_at_every_moment(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned what = 0; what < WHATS; what++) {
                struct step s = {.what = what};
                for (unsigned k = 0; k < 40 && !s.done; k++) {
                        s = (struct step){.what = what};
                        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 300 + k});
                        world_run(&w, 0, prepare, NULL);
                        world_start(&w, 0, take_step, &s);
                        world_pass(&w, k * 60 * NS_PER_USEC);
                        world_client_crash(&w.clients[0]);
                        world_pass(&w, NS_PER_SEC);
                        judge(&w, &s, "client dying", k);
                        world_close(&w);
                }
        }
}

/* ---- answers that are no failures of copies ---------------------------------------------------------------------- */

static void refused(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        struct request r = world_request(c, &a);
        struct vnode *i = NULL;
        (void)arg;
        assert_int_equal(call_lookup(self, c, NULL, "old", &i), 0);
        r.cred.uid = r.cred.gid = 1000;
        r.inode = i;
        struct truncate_fop_req cut = {.gfid = i->gfid, .offset = 3};
        struct truncate_fop_rep cut_rep;
        assert_int_equal(subvolume_truncate(self, volume_top(c->volume), &r, &cut, &cut_rep), -EACCES);
        assert_int_equal(cut_rep.op_ret, -1);
        assert_int_equal(cut_rep.op_errno, EACCES);
        struct setattr_fop_req mode = {.gfid = i->gfid, .valid = SETATTR_MODE};
        struct setattr_fop_rep mode_rep;
        assert_int_equal(subvolume_setattr(self, volume_top(c->volume), &r, &mode, &mode_rep), -EPERM);
        assert_int_equal(call_mkdir(self, c, NULL, "old"), -EEXIST);
        assert_int_equal(call_unlink(self, c, NULL, "nothing"), -ENOENT);
        vnode_unref(i);
}

static void refusals_by_all_leave_no_mark(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned down = 0; down < 2; down++) {
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 5});
                world_run(&w, 0, prepare, NULL);
                if (down) {
                        world_brick_stop(&w.bricks[2]);
                        world_pass(&w, NS_PER_SEC);
                }
                world_run(&w, 0, refused, NULL);
                world_pass(&w, 2 * NS_PER_SEC);
                assert_clean(&w, "/");
                assert_clean(&w, "/old");
                world_close(&w);
        }
}

/* ---- split-brain in flight --------------------------------------------------------------------------------------- */

static void plant(struct world *w, unsigned b, const char *path, unsigned child, uint8_t data, uint8_t metadata,
                  uint8_t entry)
{
        const uint8_t value[12] = {[3] = data, [7] = metadata, [11] = entry};
        char full[64], name[64];
        (void)snprintf(full, sizeof full, WORLD_BRICK_PATH "%s", path);
        (void)snprintf(name, sizeof name, "trusted.afr." WORLD_VOLUME "-client-%u", child);
        assert_int_equal(disk_setxattr(world_disk(&w->bricks[b]), AT_FDCWD, full, name, value, sizeof value, 0), 0);
}

static void the_last_good_copy_is_never_blamed(void **state)
{
        static struct world w;
        (void)state;
        bool fired = true;
        for (uint64_t n = 1; fired; n++) {
                struct step s = {.what = WRITE_OVER};
                world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 400 + n});
                world_run(&w, 0, prepare, NULL);
                plant(&w, 0, "/old", 1, 1, 0, 0);
                plant(&w, 0, "/old", 2, 1, 0, 0);
                sim_disk_fail_nth(w.bricks[0].disk, n, EIO);
                world_run(&w, 0, take_step, &s);
                world_pass(&w, 3 * NS_PER_SEC);
                fired = sim_disk_fault_fired(w.bricks[0].disk);
                sim_disk_faults_clear(w.bricks[0].disk);
                assert_int_equal(counter(&w, 1, "/old", 0, AFR_DATA), 0);
                assert_int_equal(counter(&w, 2, "/old", 0, AFR_DATA), 0);
                if (s.result >= 0)
                        assert_int_equal(has_change(&w, 0, WRITE_OVER), 1);
                world_close(&w);
        }
}

struct reading {
        struct vfile *f;
        int written, read;
        char data[16];
};

static void open_old(struct fibre *self, struct world_client *c, void *arg)
{
        struct reading *x = arg;
        assert_int_equal(call_open(self, c, NULL, "old", 0, &x->f), 0);
}

static void write_and_read(struct fibre *self, struct world_client *c, void *arg)
{
        struct reading *x = arg;
        x->written = call_write(self, c, x->f, 2, "xyz", 3);
        x->read = call_read(self, c, x->f, 0, x->data, 10);
        fibre_sleep(self, 2 * NS_PER_SEC);
        if (x->written == 3 && x->read == 10)
                assert_memory_equal(x->data, "01xyz56789", 10);
        x->read = call_read(self, c, x->f, 0, x->data, 10);
        assert_int_equal(call_close(self, c, x->f), 0);
}

/* Its connection is fine, so nothing but the failure itself tells. */
static void a_copy_that_failed_is_not_read(void **state)
{
        static struct world w;
        bool fired = true;
        (void)state;
        for (uint64_t n = 1; fired; n++) {
                struct reading x = {0};
                world_open(&w, &(struct world_config){.layout = WORLD_REP3,
                                                      .seed = 500 + n,
                                                      .replicate_options = "    option read-subvolume-index 1\n"});
                world_run(&w, 0, prepare, NULL);
                world_run(&w, 0, open_old, &x);
                sim_disk_fail_nth(w.bricks[1].disk, n, EIO);
                world_run(&w, 0, write_and_read, &x);
                fired = sim_disk_fault_fired(w.bricks[1].disk);
                sim_disk_faults_clear(w.bricks[1].disk);
                assert_int_equal(x.written, 3);
                assert_int_equal(x.read, 10);
                assert_memory_equal(x.data, "01xyz56789", 10);
                world_close(&w);
        }
}

static void make_x(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_create(self, c, NULL, "x", 0, &f), 0);
        assert_int_equal(call_close(self, c, f), 0);
}

static void remove_x(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_unlink(self, c, NULL, "x"), 0);
}

/* Brick 0 missed that it was made, brick 2 that it goes. */
static void a_name_that_a_copy_never_had_can_go(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 9});
        world_run(&w, 0, prepare, NULL);
        world_brick_stop(&w.bricks[0]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, make_x, NULL);
        world_brick_start(&w.bricks[0]);
        world_pass(&w, 5 * NS_PER_SEC);
        world_brick_stop(&w.bricks[2]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, remove_x, NULL);
        assert_false(world_exists(&w.bricks[1], "/x"));
        assert_counter(&w, 1, "/", 2, "0,0,1");
        assert_counter(&w, 0, "/", 2, "0,0,1");
        assert_counter(&w, 1, "/", 0, "0,0,1");
        world_close(&w);
}

struct half_known {
        struct vnode *directory, *file;
};

static void make_both(struct fibre *self, struct world_client *c, void *arg)
{
        struct half_known *x = arg;
        make_x(self, c, NULL);
        assert_int_equal(call_mkdir(self, c, NULL, "d"), 0);
        assert_int_equal(call_lookup(self, c, NULL, "d", &x->directory), 0);
        assert_int_equal(call_lookup(self, c, NULL, "x", &x->file), 0);
}

static void open_and_remove(struct fibre *self, struct world_client *c, void *arg)
{
        struct half_known *x = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        const struct gfid top = GFID_ROOT;
        _cleanup_vnode_ struct vnode *root = vnode_new(c->volume, &top, S_IFDIR);
        struct vfile *f = vfile_new(x->file, O_RDWR, false);
        const struct open_fop_req open = {.gfid = x->file->gfid, .flags = O_RDWR};
        const struct rmdir_fop_req rmdir = {.pargfid = root->gfid, .bname = STR("d")};
        struct open_fop_rep opened;
        struct rmdir_fop_rep removed;
        struct request r = world_request(c, &a);
        r.inode = x->file;
        r.file = f;
        assert_int_equal(subvolume_open(self, volume_top(c->volume), &r, &open, &opened), -ENOTCONN);
        vfile_unref(f);
        r.file = NULL;
        r.parent = root;
        r.inode = x->directory;
        assert_int_equal(subvolume_rmdir(self, volume_top(c->volume), &r, &rmdir, &removed), -ENOTCONN);
        vnode_unref(x->file);
        vnode_unref(x->directory);
}

/* Brick 1 missed their making, and brick 2 is away: the only copy that does not have them does not decide. */
static void a_copy_that_is_behind_does_not_say_what_is_gone(void **state)
{
        static struct world w;
        struct half_known x = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 10});
        world_brick_stop(&w.bricks[1]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, make_both, &x);
        world_brick_start(&w.bricks[1]);
        world_pass(&w, 5 * NS_PER_SEC);
        world_brick_stop(&w.bricks[2]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, open_and_remove, &x);
        assert_true(world_exists(&w.bricks[0], "/d"));
        world_close(&w);
}

/* Two of three disks are full: nobody is blamed, and the reason is told. */
static void what_too_few_copies_have_has_failed(void **state)
{
        static const enum what whats[] = {WRITE_APPEND, SETXATTR, MKDIR};
        (void)state;
        for (unsigned k = 0; k < ELEMENTSOF(whats); k++) {
                int told = 0, fired = 2;
                for (uint64_t n = 1; fired > 0; n++) {
                        static struct world w;
                        struct step s = {.what = whats[k]};
                        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = n});
                        world_run(&w, 0, prepare, NULL);
                        sim_disk_fail_nth(w.bricks[1].disk, n, ENOSPC);
                        sim_disk_fail_nth(w.bricks[2].disk, n, ENOSPC);
                        world_run(&w, 0, take_step, &s);
                        told += s.result == -ENOSPC;
                        fired = sim_disk_fault_fired(w.bricks[1].disk) + sim_disk_fault_fired(w.bricks[2].disk);
                        sim_disk_faults_clear(w.bricks[1].disk);
                        sim_disk_faults_clear(w.bricks[2].disk);
                        world_close(&w);
                }
                assert_true(told > 0);
        }
}

static void write_split(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        struct iatt stat;
        char data[16], text[128];
        (void)arg;
        assert_int_equal(call_open(self, c, NULL, "old", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "x", 1), -EIO);
        assert_int_equal(call_read(self, c, f, 0, data, 1), -EIO);
        assert_int_equal(call_fstat(self, c, f, &stat), -EIO);
        assert_int_equal(call_getxattr(self, c, f->inode, "replica.split-brain-status", text, sizeof text), 0);
        assert_string_equal(
                text,
                "data-split-brain:yes    metadata-split-brain:no    Choices:vol-client-0,vol-client-1,vol-client-2");
        assert_int_equal(call_setxattr(self, c, f->inode, "replica.split-brain-choice", "vol-client-1"), 0);
        assert_int_equal(call_read(self, c, f, 0, data, 10), 10);
        assert_int_equal(call_write(self, c, f, 0, "x", 1), -EIO);
        assert_int_equal(call_setxattr(self, c, f->inode, "replica.split-brain-choice", "none"), 0);
        assert_int_equal(call_read(self, c, f, 0, data, 1), -EIO);
        assert_int_equal(call_close(self, c, f), 0);
}

static void split_brain_is_refused(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 7});
        world_run(&w, 0, prepare, NULL);
        for (unsigned b = 0; b < 3; b++)
                plant(&w, b, "/old", (b + 1) % 3, 1, 0, 0);
        world_run(&w, 0, write_split, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_identical(&w, "/old");
        for (unsigned b = 0; b < 3; b++) {
                assert_counter(&w, b, "/old", -1, "0,0,0");
                assert_counter(&w, b, "/old", (int)(b + 1) % 3, "1,0,0");
        }
        world_close(&w);
}

/* ---- arbiter ----------------------------------------------------------------------------------------------------- */

static void append_more(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_open(self, c, NULL, "old", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 10, "more", 4), 4);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_create(self, c, NULL, "fresh", 0, &f), 0);
        assert_int_equal(call_close(self, c, f), 0);
}

static void only_the_arbiter_knows(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        struct vnode *i = NULL;
        char data[16];
        (void)arg;
        assert_int_equal(call_lookup(self, c, NULL, "old", &i), -ENOTCONN);
        assert_int_equal(call_open(self, c, NULL, "other", 0, &f), 0);
        assert_int_equal(call_read(self, c, f, 0, data, 16), 5);
        assert_int_equal(call_write(self, c, f, 5, "!", 1), 1);
        assert_int_equal(call_close(self, c, f), 0);
}

static void make_other(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        (void)arg;
        assert_int_equal(call_create(self, c, NULL, "other", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, 0, "hello", 5), 5);
        assert_int_equal(call_close(self, c, f), 0);
}

static void the_arbiter_refuses_stale_data(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ARBITER, .seed = 8});
        world_run(&w, 0, prepare, NULL);
        world_run(&w, 0, make_other, NULL);
        world_brick_stop(&w.bricks[0]);
        world_pass(&w, NS_PER_SEC);
        world_run(&w, 0, append_more, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_counter(&w, 1, "/old", 0, "1,0,0");
        assert_counter(&w, 2, "/old", 0, "1,0,0");
        char data[4];
        assert_int_equal(world_read(&w.bricks[2], "/old", data, sizeof data), 0);
        world_brick_stop(&w.bricks[1]);
        world_brick_start(&w.bricks[0]);
        world_pass(&w, 5 * NS_PER_SEC);
        world_run(&w, 0, only_the_arbiter_knows, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_counter(&w, 0, "/other", 1, "1,0,0");
        world_close(&w);
}

/* ---- power cuts of one machine ----------------------------------------------------------------------------------- */

struct late {
        uint64_t offset;
        bool first_looks; /* before it writes */
};

static void append_late(struct fibre *self, struct world_client *c, void *arg)
{
        const struct late *l = arg;
        struct vfile *f = NULL;
        struct vnode *i = NULL;
        if (l->first_looks)
                assert_int_equal(call_lookup(self, c, NULL, "old", &i), 0);
        assert_int_equal(call_open(self, c, NULL, "old", 0, &f), 0);
        assert_int_equal(call_write(self, c, f, l->offset, "late", 4), 4);
        assert_int_equal(call_close(self, c, f), 0);
        vnode_unref(i);
}

static void read_all(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile *f = NULL;
        char *data = arg;
        assert_int_equal(call_open(self, c, NULL, "old", 0, &f), 0);
        int n = call_read(self, c, f, 0, data, 31);
        assert_true(n >= 0);
        data[n] = 0;
        assert_int_equal(call_close(self, c, f), 0);
}

/* Brick 0 is without the last bytes of /old, as after a power cut of its machine. */
static void lose_the_end(struct world *w)
{
        world_brick_stop(&w->bricks[0]);
        assert_int_equal(disk_truncate(world_disk(&w->bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/old", 6), 0);
        world_brick_start(&w->bricks[0]);
        world_pass(w, 5 * NS_PER_SEC);
        for (unsigned b = 0; b < 3; b++)
                assert_counter(w, b, "/old", 0, "0,0,0");
}

static void a_lost_append_is_noticed_before_the_next(void **state)
{
        static struct world w;
        (void)state;
        for (unsigned run = 0; run < 8; run++) {
                unsigned clients = 1 + run / 4;
                struct late late[2] = {{.offset = 10, .first_looks = run & 1}, {.offset = 14, .first_looks = run & 1}};
                char data[32];
                world_open(&w, &(struct world_config){.layout = run & 2 ? WORLD_ARBITER : WORLD_REP3,
                                                      .clients = clients,
                                                      .seed = 90 + run});
                world_run(&w, 0, prepare, NULL);
                world_pass(&w, 2 * NS_PER_SEC);
                lose_the_end(&w);
                for (unsigned c = 0; c < clients; c++) /* two of them: each sees the other's lock when it looks */
                        world_start(&w, c, append_late, &late[c]);
                world_wait(&w);
                world_pass(&w, 2 * NS_PER_SEC);
                for (unsigned b = 1; b < 3; b++)
                        assert_true(counter(&w, b, "/old", 0, AFR_DATA) > 0);
                for (unsigned b = 0; b < 3; b++) {
                        assert_counter(&w, b, "/old", -1, "0,0,0");
                        assert_counter(&w, b, "/old", 1, "0,0,0");
                        assert_counter(&w, b, "/old", 2, "0,0,0");
                }
                for (unsigned c = 0; c < clients; c++) {
                        world_run(&w, c, read_all, data);
                        assert_string_equal(data, clients == 2 ? "0123456789latelate" : "0123456789late");
                }
                world_close(&w);
        }
}

static void open_and_read(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile **f = arg;
        char data[32];
        if (!*f)
                assert_int_equal(call_open(self, c, NULL, "old", 0, f), 0);
        assert_int_equal(call_read(self, c, *f, 0, data, 31), 10);
}

static void write_and_close(struct fibre *self, struct world_client *c, void *arg)
{
        struct vfile **f = arg;
        assert_int_equal(call_write(self, c, *f, 10, "late", 4), 4);
        assert_int_equal(call_close(self, c, *f), 0);
}

/* Sizes are compared under the lock: what was known before may be of a moment in which somebody wrote, or healed since. */
static void sizes_that_are_equal_again_blame_nobody(void **state)
{
        static struct world w;
        struct vfile *f = NULL;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 98});
        world_run(&w, 0, prepare, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        lose_the_end(&w);
        world_run(&w, 0, open_and_read, &f);
        assert_int_equal(disk_truncate(world_disk(&w.bricks[0]), AT_FDCWD, WORLD_BRICK_PATH "/old", 10), 0);
        world_run(&w, 0, write_and_close, &f);
        world_pass(&w, 2 * NS_PER_SEC);
        for (unsigned b = 0; b < 3; b++)
                assert_counter(&w, b, "/old", 0, "0,0,0");
        world_close(&w);
}

/* With the third copy away the set goes on, on the one good copy and the one that is blamed now. */
static void a_lost_append_does_not_end_the_quorum(void **state)
{
        static struct world w;
        struct late late = {.offset = 10};
        char data[32];
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_REP3, .seed = 99});
        world_run(&w, 0, prepare, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        lose_the_end(&w);
        world_brick_stop(&w.bricks[2]);
        world_pass(&w, 2 * NS_PER_SEC);
        world_run(&w, 0, append_late, &late);
        world_pass(&w, 2 * NS_PER_SEC);
        assert_true(counter(&w, 1, "/old", 0, AFR_DATA) > 0);
        assert_true(counter(&w, 1, "/old", 2, AFR_DATA) > 0);
        assert_counter(&w, 1, "/old", 1, "0,0,0");
        world_run(&w, 0, read_all, data);
        assert_string_equal(data, "0123456789late");
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_effect_fails_once),
                cmocka_unit_test(a_brick_dies_at_every_effect),
                cmocka_unit_test(a_client_dies_at_every_moment),
                cmocka_unit_test(refusals_by_all_leave_no_mark),
                cmocka_unit_test(the_last_good_copy_is_never_blamed),
                cmocka_unit_test(a_copy_that_failed_is_not_read),
                cmocka_unit_test(a_name_that_a_copy_never_had_can_go),
                cmocka_unit_test(a_copy_that_is_behind_does_not_say_what_is_gone),
                cmocka_unit_test(what_too_few_copies_have_has_failed),
                cmocka_unit_test(split_brain_is_refused),
                cmocka_unit_test(the_arbiter_refuses_stale_data),
                cmocka_unit_test(a_lost_append_is_noticed_before_the_next),
                cmocka_unit_test(sizes_that_are_equal_again_blame_nobody),
                cmocka_unit_test(a_lost_append_does_not_end_the_quorum),
        };
        log_set_level(LOG_LEVEL_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
