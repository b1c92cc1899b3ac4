/* Every operation on a replicated volume, with every call to a brick or allocation on its way failing once: first the first,
 * then the second, … until one in which nothing failed.
 *
 * Each attempt has a directory of its own. After it: the answer says the same as the result, what was acknowledged can be
 * read, the operation works again, and once all is closed no brick holds a lock.
 */
#include "afr_calls.h"
#include "faulty.h"

#include <fcntl.h>

#include "volume/afr.h"

#define TEXT "0123456789"

struct things {
        struct world_client *client;
        struct subvolume *afr;
        unsigned number; /* of attempts */
        char name[16];   /* the attempt's directory */
        bool nameless;   /* requests go without objects */
        struct vnode *dir, *file, *other, *link, *sub, *sub2, *fresh;
        struct vfile *open, *listing, *made;
        struct arena arena; /* of what requests refer to */
        struct dict value, counters, gfid_req;
        struct request r;
};

/* ---- operations ---------------------------------------------------------------------------------------------------- */

static int checked(int result, const void *rep)
{
        const int32_t *head = rep;
        if (result < 0) {
                assert_int_equal(head[0], -1);
                assert_int_equal(head[1], -result);
        } else {
                assert_true(head[0] >= 0);
        }
        return result;
}

#define OP(op, name, OBJECTS, ...)                                                                                     \
        static int op(struct fibre *self, struct things *t)                                                            \
        {                                                                                                              \
                struct name##_fop_req req = {__VA_ARGS__};                                                             \
                struct name##_fop_rep rep = {0};                                                                       \
                OBJECTS;                                                                                               \
                if (t->nameless)                                                                                       \
                        t->r.inode = t->r.parent = t->r.new_parent = NULL;                                             \
                return checked(subvolume_##name(self, t->afr, &t->r, &req, &rep), &rep);                               \
        }
#define ON(object) t->r.inode = t->object
#define ON_OPEN t->r.inode = t->file, t->r.file = t->open
#define ON_LISTING t->r.inode = t->dir, t->r.file = t->listing
#define IN_DIR(object) t->r.parent = t->dir, t->r.inode = t->object
#define FILE_ .gfid = t->file->gfid

OP(do_write, write, ON_OPEN, FILE_, .offset = 2, .size = 3, .data = {(const uint8_t *)"xyz", 3})
OP(do_write_synced, write, ON_OPEN, FILE_, .offset = 2, .size = 3, .flag = O_SYNC, .data = {(const uint8_t *)"xyz", 3})
OP(do_append, write, ON_OPEN, FILE_, .offset = 10, .size = 3, .flag = O_APPEND, .data = {(const uint8_t *)"xyz", 3})
OP(do_truncate, truncate, ON(file), FILE_, .offset = 5)
OP(do_ftruncate, ftruncate, ON_OPEN, FILE_, .offset = 5)
OP(do_fallocate, fallocate, ON_OPEN, FILE_, .offset = 0, .size = 8192)
OP(do_discard, discard, ON_OPEN, FILE_, .offset = 0, .size = 4096)
OP(do_zerofill, zerofill, ON_OPEN, FILE_, .offset = 4, .size = 100)
OP(do_fsync, fsync, ON_OPEN, FILE_)
OP(do_flush, flush, ON_OPEN, FILE_)
OP(do_fsyncdir, fsyncdir, ON_LISTING, .gfid = t->dir->gfid)
OP(do_setattr, setattr, ON(file), FILE_, .stbuf.mode = 0600, .valid = SETATTR_MODE)
OP(do_fsetattr, fsetattr, ON_OPEN, FILE_, .stbuf.mode = 0600, .valid = SETATTR_MODE)
OP(do_setxattr, setxattr, ON(file), FILE_, .dict = t->value)
OP(do_fsetxattr, fsetxattr, ON_OPEN, FILE_, .dict = t->value)
OP(do_removexattr, removexattr, ON(file), FILE_, .name = STR("user.old"))
OP(do_fremovexattr, fremovexattr, ON_OPEN, FILE_, .name = STR("user.old"))
OP(do_xattrop, xattrop, ON(file), FILE_, .dict = t->counters)
OP(do_fxattrop, fxattrop, ON_OPEN, FILE_, .dict = t->counters)
OP(do_stat, stat, ON(file), FILE_)
OP(do_stat_dir, stat, ON(dir), .gfid = t->dir->gfid)
OP(do_fstat, fstat, ON_OPEN, FILE_)
OP(do_access, access, ON(file), FILE_, .mask = R_OK)
OP(do_readlink, readlink, ON(link), .gfid = t->link->gfid, .size = 100)
OP(do_read, read, ON_OPEN, FILE_, .size = 10)
OP(do_seek, seek, ON_OPEN, FILE_, .what = 3)
OP(do_rchecksum, rchecksum, ON_OPEN, FILE_, .len = 10)
OP(do_statfs, statfs, ON(dir), .gfid = t->dir->gfid)
OP(do_lookup, lookup, IN_DIR(file), FILE_, .pargfid = t->dir->gfid, .bname = STR("file"))
OP(do_lookup_gfid, lookup, ON(file), FILE_, .bname = STR(""))
OP(do_lookup_nothing, lookup, IN_DIR(fresh), .pargfid = t->dir->gfid, .bname = STR("nothing"))
OP(do_getxattr, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("user.old"))
OP(do_listxattr, getxattr, ON(file), FILE_, .name = STR(""))
OP(do_pathinfo, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("trusted.glusterfs.pathinfo"))
OP(do_node_uuid, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("trusted.glusterfs.node-uuid"))
OP(do_node_uuids, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("trusted.glusterfs.list-node-uuids"))
OP(do_counter, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("trusted.afr.dirty"))
OP(do_clear_locks, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("glusterfs.clrlk.tinode.kall"))
OP(do_split_status, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("replica.split-brain-status"))
OP(do_heal_info, getxattr, ON(file), FILE_, .namelen = 1, .name = STR("glusterfs.heal-info"))
OP(do_fgetxattr, fgetxattr, ON_OPEN, FILE_, .namelen = 1, .name = STR("user.old"))
OP(do_flistxattr, fgetxattr, ON_OPEN, FILE_, .name = STR(""))
OP(do_fpathinfo, fgetxattr, ON_OPEN, FILE_, .namelen = 1, .name = STR("glusterfs.pathinfo"))
OP(do_fsplit_status, fgetxattr, ON_OPEN, FILE_, .namelen = 1, .name = STR("replica.split-brain-status"))
OP(do_unlink, unlink, IN_DIR(other), .pargfid = t->dir->gfid, .bname = STR("other"))
OP(do_rmdir, rmdir, IN_DIR(sub), .pargfid = t->dir->gfid, .bname = STR("sub"))
OP(do_rmdir_plain, rmdir, IN_DIR(fresh), .pargfid = t->dir->gfid, .bname = STR("sub"))
OP(do_link, link, t->r.new_parent = t->dir; ON(file), .oldgfid = t->file->gfid, .newgfid = t->dir->gfid,
   .newbname = STR("linked"))
OP(do_rename, rename, IN_DIR(file); t->r.new_parent = t->sub, .oldgfid = t->dir->gfid, .newgfid = t->sub->gfid,
   .oldbname = STR("file"), .newbname = STR("file"))
OP(do_rename_over, rename, IN_DIR(file); t->r.new_parent = t->dir; t->r.new_inode = t->other,
   .oldgfid = t->dir->gfid, .newgfid = t->dir->gfid, .oldbname = STR("file"), .newbname = STR("other"))
OP(do_rename_dir, rename, IN_DIR(sub); t->r.new_parent = t->dir; t->r.new_inode = t->sub2, .oldgfid = t->dir->gfid,
   .newgfid = t->dir->gfid, .oldbname = STR("sub"), .newbname = STR("sub2"))
OP(do_rename_same, rename, IN_DIR(file); t->r.new_parent = t->dir, .oldgfid = t->dir->gfid, .newgfid = t->dir->gfid,
   .oldbname = STR("file"), .newbname = STR("file"))
OP(do_mkdir, mkdir, IN_DIR(fresh), .pargfid = t->dir->gfid, .mode = 0755, .bname = STR("new"), .xdata = t->gfid_req)
OP(do_mkdir_plain, mkdir, IN_DIR(fresh), .pargfid = t->dir->gfid, .mode = 0755, .bname = STR("new"))
OP(do_mknod, mknod, IN_DIR(fresh), .pargfid = t->dir->gfid, .mode = 0644, .bname = STR("new"), .xdata = t->gfid_req)
OP(do_symlink, symlink, IN_DIR(fresh), .pargfid = t->dir->gfid, .bname = STR("new"), .linkname = STR("x"),
   .xdata = t->gfid_req)
OP(do_create, create, IN_DIR(fresh); t->r.file = t->made, .pargfid = t->dir->gfid, .flags = O_RDWR | O_CREAT,
   .mode = 0644, .bname = STR("new"), .xdata = t->gfid_req)
OP(do_open, open, IN_DIR(file); t->r.file = t->made, FILE_, .flags = O_RDWR)
OP(do_open_cut, open, IN_DIR(file); t->r.file = t->open, FILE_, .flags = O_RDWR | O_TRUNC)
OP(do_opendir, opendir, ON_LISTING, .gfid = t->dir->gfid)
OP(do_readdir, readdir, ON_LISTING, .gfid = t->dir->gfid, .size = 4096)
OP(do_readdirp, readdirp, ON_LISTING, .gfid = t->dir->gfid, .size = 4096)
OP(do_lk_get, lk, ON_OPEN, FILE_, .cmd = 0, .type = 1, .flock.type = 1)
OP(do_lk, lk, ON_OPEN, FILE_, .cmd = 2, .type = 1, .flock.type = 1)
OP(do_unlk, lk, ON_OPEN, FILE_, .cmd = 1, .type = 2, .flock.type = 2)
#define ABOVE .volume = STR("above")
OP(do_inodelk, inodelk, ON(file), FILE_, .cmd = 2, .type = 1, .flock.type = 1, ABOVE)
OP(undo_inodelk, inodelk, ON(file), FILE_, .cmd = 1, .type = 2, .flock.type = 2, ABOVE)
OP(do_finodelk, finodelk, ON_OPEN, FILE_, .cmd = 1, .type = 1, .flock.type = 1, ABOVE)
OP(undo_finodelk, finodelk, ON_OPEN, FILE_, .cmd = 1, .type = 2, .flock.type = 2, ABOVE)
OP(do_entrylk, entrylk, ON(dir), .gfid = t->dir->gfid, .cmd = 0, .type = 1, .namelen = 1, .name = STR("x"), ABOVE)
OP(undo_entrylk, entrylk, ON(dir), .gfid = t->dir->gfid, .cmd = 1, .type = 1, .namelen = 1, .name = STR("x"), ABOVE)
OP(do_fentrylk, fentrylk, ON_LISTING, .gfid = t->dir->gfid, .cmd = 2, .type = 1, .namelen = 1, .name = STR("x"), ABOVE)
OP(undo_fentrylk, fentrylk, ON_LISTING, .gfid = t->dir->gfid, .cmd = 1, .type = 1, .namelen = 1, .name = STR("x"), ABOVE)

typedef int (*operation)(struct fibre *self, struct things *t);
struct op {
        const char *name;
        operation run, undo;
        bool changes_content; /* by the first three bytes at offset 2 */
};
#define PLAIN(name) {#name, do_##name, NULL, false}
static const struct op ops[] = {
        {"write", do_write, NULL, true},
        {"write_synced", do_write_synced, NULL, true},
        PLAIN(append), PLAIN(truncate), PLAIN(ftruncate), PLAIN(fallocate), PLAIN(discard), PLAIN(zerofill), PLAIN(fsync),
        PLAIN(flush), PLAIN(fsyncdir), PLAIN(setattr), PLAIN(fsetattr), PLAIN(setxattr), PLAIN(fsetxattr),
        PLAIN(removexattr), PLAIN(fremovexattr), PLAIN(xattrop), PLAIN(fxattrop), PLAIN(stat), PLAIN(stat_dir),
        PLAIN(fstat), PLAIN(access), PLAIN(readlink), PLAIN(read), PLAIN(seek), PLAIN(rchecksum), PLAIN(statfs),
        PLAIN(lookup), PLAIN(lookup_gfid), PLAIN(lookup_nothing), PLAIN(getxattr), PLAIN(listxattr), PLAIN(pathinfo),
        PLAIN(node_uuid), PLAIN(node_uuids), PLAIN(counter), PLAIN(clear_locks), PLAIN(split_status), PLAIN(heal_info),
        PLAIN(fgetxattr), PLAIN(flistxattr), PLAIN(fpathinfo), PLAIN(fsplit_status), PLAIN(unlink), PLAIN(rmdir),
        PLAIN(rmdir_plain), PLAIN(link), PLAIN(rename), PLAIN(rename_over), PLAIN(rename_dir), PLAIN(rename_same),
        PLAIN(mkdir), PLAIN(mkdir_plain), PLAIN(mknod), PLAIN(symlink), PLAIN(create), PLAIN(open), PLAIN(open_cut),
        PLAIN(opendir), PLAIN(readdir), PLAIN(readdirp), PLAIN(lk_get),
        {"lk", do_lk, do_unlk, false},
        {"inodelk", do_inodelk, undo_inodelk, false},
        {"finodelk", do_finodelk, undo_finodelk, false},
        {"entrylk", do_entrylk, undo_entrylk, false},
        {"fentrylk", do_fentrylk, undo_fentrylk, false},
};

/* ---- one attempt --------------------------------------------------------------------------------------------------- */

static void make_file(struct fibre *self, struct things *t, const char *name, struct vnode **ret, struct vfile **ret_open)
{
        struct vfile *f = NULL;
        assert_int_equal(call_create(self, t->client, t->dir, name, 0, &f), 0);
        assert_int_equal(call_write(self, t->client, f, 0, TEXT, 10), 10);
        assert_int_equal(call_lookup(self, t->client, t->dir, name, ret), 0);
        assert_int_equal(call_setxattr(self, t->client, *ret, "user.old", "old"), 0);
        if (ret_open)
                *ret_open = f;
        else
                assert_int_equal(call_close(self, t->client, f), 0);
}

static void make_things(struct fibre *self, struct things *t)
{
        static const uint8_t one[12] = {[3] = 0};
        struct world_client *c = t->client;
        t->arena = ARENA_INIT(MIB);
        (void)snprintf(t->name, sizeof t->name, "d%u", t->number++);
        assert_int_equal(call_mkdir(self, c, NULL, t->name), 0);
        assert_int_equal(call_lookup(self, c, NULL, t->name, &t->dir), 0);
        make_file(self, t, "file", &t->file, &t->open);
        make_file(self, t, "other", &t->other, NULL);
        assert_int_equal(call_symlink(self, c, t->dir, "link", "target"), 0);
        assert_int_equal(call_lookup(self, c, t->dir, "link", &t->link), 0);
        assert_int_equal(call_mkdir(self, c, t->dir, "sub"), 0);
        assert_int_equal(call_lookup(self, c, t->dir, "sub", &t->sub), 0);
        assert_int_equal(call_mkdir(self, c, t->dir, "sub2"), 0);
        assert_int_equal(call_lookup(self, c, t->dir, "sub2", &t->sub2), 0);
        t->listing = vfile_new(t->dir, O_RDONLY | O_DIRECTORY, true);
        t->r = world_request(c, &t->arena);
        assert_int_equal(do_opendir(self, t), 0);
        t->value = t->counters = (struct dict){0};
        assert_int_equal(dict_add_ptr(&t->value, &t->arena, "user.new", "new", 3), 0);
        assert_int_equal(dict_add_ptr(&t->counters, &t->arena, "trusted.test", one, sizeof one), 0);
}

/* A new object for the next try. */
static void make_fresh(struct things *t, struct arena *a)
{
        struct gfid gfid = world_gfid(t->client);
        vfile_unref(t->made);
        vnode_unref(t->fresh);
        t->gfid_req = world_gfid_req(&t->arena, &gfid);
        t->fresh = vnode_new(t->client->volume, &gfid, S_IFREG);
        t->made = vfile_new(t->fresh, O_RDWR, false);
        t->r = world_request(t->client, a);
        volume_stamp(t->client->volume, &t->r.cred, FOP_WRITE);
}

static void drop_things(struct fibre *self, struct things *t)
{
        struct vnode *all[] = {t->dir, t->file, t->other, t->link, t->sub, t->sub2, t->fresh};
        (void)call_close(self, t->client, t->open);
        vfile_unref(t->made);
        vfile_unref(t->listing);
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                vnode_unref(all[i]);
        arena_done(&t->arena);
        *t = (struct things){.client = t->client, .afr = t->afr, .number = t->number};
}

static void no_lock_is_left(struct world *w, const char *what, unsigned nth)
{
        struct brick_stats stats;
        for (unsigned b = 0; b < w->n_bricks; b++) {
                if (!w->bricks[b].brick)
                        continue;
                brick_get_stats(w->bricks[b].brick, &stats);
                if (stats.locks > 0 || stats.locks_waiting > 0)
                        fail_msg("%s, failure %u: brick %u holds %u locks, %u wait", what, nth, b, stats.locks,
                                 stats.locks_waiting);
        }
}

/* What the operation may well answer when it was done already. */
static bool is_natural(int result)
{
        return result >= 0 || result == -EEXIST || result == -ENOENT || result == -ENODATA || result == -ESTALE ||
               result == -EOPNOTSUPP || result == -EINVAL || result == -ENXIO;
}

struct story {
        struct faults faults;
        bool cold;             /* nothing is kept from before: no lock, no knowledge */
        unsigned away;         /* bits: bricks that nothing reaches meanwhile */
        bool may_split;        /* the fault may leave copies of which none is right */
        unsigned first, every; /* of the operations only each EVERYth from FIRST: 0 all */
};

static void reach(const struct things *t, unsigned bricks, bool away)
{
        struct world *w = t->client->world;
        for (unsigned b = 0; b < w->n_bricks; b++) {
                if (!(bricks & 1u << b))
                        continue;
                world_cut(w, t->client->index, b, away);
                world_reset(w, t->client->index, b);
        }
}

static int attempt(struct fibre *self, struct things *t, const struct op *op, const struct story *s, unsigned nth)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FAULTY_ARENA);
        struct faults f = s->faults;
        f.nth = nth;
        make_fresh(t, &a);
        reach(t, s->away, true);
        if (s->away)
                fibre_sleep(self, 100 * NS_PER_MSEC);
        faulty_arm(&f);
        int result = op->run(self, t);
        fibre_sleep(self, 1500 * NS_PER_MSEC); /* what was kept is settled in the meantime, with its share of failures */
        return result;
}

static void content_is_there(struct fibre *self, struct things *t, const struct op *op, unsigned nth)
{
        char data[16] = "";
        int n = call_read(self, t->client, t->open, 0, data, 10);
        if (n != 10 || memcmp(data + 2, "xyz", 3) != 0)
                fail_msg("%s, failure %u: acknowledged, but reading gives %d, %s", op->name, nth, n, data);
}

/* True: something failed. */
static bool try_once(struct fibre *self, struct things *t, const struct op *op, const struct story *s, unsigned nth)
{
        struct world *w = t->client->world;
        make_things(self, t);
        if (s->cold) {
                fibre_sleep(self, 1200 * NS_PER_MSEC);
                afr_doubt(afr_of(t->afr), t->dir);
                afr_doubt(afr_of(t->afr), t->file);
        }
        int result = attempt(self, t, op, s, nth);
        unsigned fired = faulty_disarm();
        reach(t, s->away, false);
        if (s->away == 7 && result >= 0 && op->run != do_counter && op->run != do_heal_info)
                fail_msg("%s: %d without any brick", op->name, result);
        if (s->faults.kind == FAULT_RESET || s->away)
                fibre_sleep(self, 5 * NS_PER_SEC);
        if (result >= 0 && op->changes_content)
                content_is_there(self, t, op, nth);
        _cleanup_arena_ struct arena a = ARENA_INIT(FAULTY_ARENA);
        make_fresh(t, &a);
        if (op->undo)
                (void)op->undo(self, t);
        int again = s->may_split || result >= 0 ? 0 : op->run(self, t);
        if (!is_natural(again))
                fail_msg("%s, failure %u: first %d, and again %d", op->name, nth, result, again);
        if (op->undo)
                (void)op->undo(self, t);
        drop_things(self, t);
        fibre_sleep(self, 1500 * NS_PER_MSEC);
        no_lock_is_left(w, op->name, nth);
        return fired > 0;
}

struct trial {
        struct things things;
        const struct op *op;
        const struct story *story;
        unsigned nth;
        bool failed;
};

static void run_trial(struct fibre *self, struct world_client *c, void *arg)
{
        struct trial *x = arg;
        x->things.client = c;
        x->failed = try_once(self, &x->things, x->op, x->story, x->nth);
}

static void tell(const struct world_config *config, struct story s)
{
        static struct world w;
        world_open(&w, config);
        struct trial x = {.things.afr = faulty_install(&w, 0), .story = &s};
        for (unsigned k = s.first; k < ELEMENTSOF(ops); k += s.every ? s.every : 1) {
                x.op = &ops[k];
                x.failed = true;
                for (x.nth = 1; x.failed; x.nth++) {
                        assert_true(x.nth < 400);
                        if (getenv("EACH_TRACE"))
                                print_message("%s, failure %u\n", x.op->name, x.nth);
                        world_run(&w, 0, run_trial, &x);
                }
        }
        world_close(&w);
}

/* ---- stories ------------------------------------------------------------------------------------------------------- */

static const struct world_config three = {.layout = WORLD_REP3, .seed = 31};
static const struct world_config arbiter = {.layout = WORLD_ARBITER, .seed = 32};
static const struct world_config two = {.layout = WORLD_REP3, .seed = 33, .first_bricks = 2, .first_copies = 2};

static void one_copy_fails(void **state)
{
        (void)state;
        tell(&three, (struct story){.faults = {.kind = FAULT_ERROR, .children = 1, .error = -EIO}, .cold = true});
        tell(&three, (struct story){.faults = {.kind = FAULT_ERROR, .children = 2, .error = -ENOSPC}});
        tell(&arbiter, (struct story){.faults = {.kind = FAULT_ERROR, .children = 4, .error = -EIO}, .cold = true});
        tell(&two, (struct story){.faults = {.kind = FAULT_ERROR, .children = 2, .error = -EIO}, .cold = true});
}

static void copies_fail_from_then_on(void **state)
{
        (void)state;
        tell(&three, (struct story){
                             .faults = {.kind = FAULT_ERROR, .children = 6, .error = -ENOTCONN, .from_then_on = true},
                             .may_split = true});
        tell(&three,
             (struct story){.faults = {.kind = FAULT_ERROR, .children = 7, .error = -ESTALE, .from_then_on = true},
                            .cold = true,
                            .may_split = true});
}

static void a_connection_is_reset(void **state)
{
        (void)state;
        tell(&three, (struct story){.faults = {.kind = FAULT_RESET, .children = 2}, .every = 3});
}

static void memory_is_short(void **state)
{
        (void)state;
        tell(&three, (struct story){.faults = {.kind = FAULT_MEMORY}, .cold = true, .every = 2});
        tell(&arbiter, (struct story){.faults = {.kind = FAULT_MEMORY}, .every = 5});
}

static void memory_is_used_up(void **state)
{
        (void)state;
        tell(&three, (struct story){.faults = {.kind = FAULT_MEMORY, .from_then_on = true}, .every = 3});
}

static void bricks_are_away(void **state)
{
        (void)state;
        tell(&three, (struct story){.away = 2});
        tell(&three, (struct story){.away = 1, .cold = true});
        tell(&three, (struct story){.away = 6, .cold = true});
        tell(&three, (struct story){.away = 7});
        tell(&arbiter, (struct story){.away = 1});
        tell(&arbiter, (struct story){.away = 3});
}

static void options_do_not_matter(void **state)
{
        static const char *const options[] = {
                "    option eager-lock off\n    option read-hash-mode 0\n    option choose-local off\n",
                "    option post-op-delay-secs 0\n    option read-hash-mode 2\n    option quorum-type none\n",
                "    option optimistic-change-log off\n    option read-hash-mode 3\n    option choose-local off\n",
                "    option granular-entry-heal off\n    option read-subvolume-index 2\n    option quorum-type fixed\n"
                "    option quorum-count 2\n",
                "    option ensure-durability off\n    option read-subvolume vol-client-1\n    option quorum-type auto\n"
                "    option favorite-child-policy mtime\n    option data-self-heal-algorithm full\n",
                "    option use-anonymous-inode no\n    option data-self-heal-algorithm diff\n",
        };
        (void)state;
        for (unsigned k = 0; k < ELEMENTSOF(options); k++) {
                struct world_config config = three;
                config.replicate_options = options[k];
                tell(&config, (struct story){.faults = {.kind = FAULT_ERROR, .children = 1u << k % 3, .error = -EIO},
                                             .first = k % 3,
                                             .every = 3});
        }
}

/* ---- without faults ------------------------------------------------------------------------------------------------ */

static void mount_badly(struct fibre *self, struct world_client *c, void *arg)
{
        struct error err = {0};
        (void)arg;
        int r = world_mount(self, c, NS_PER_SEC, &err);
        if (r >= 0)
                fail_msg("mounted with %s", c->world->config.replicate_options);
        assert_true(err.text[0] != 0);
}

static void bad_options_are_refused(void **state)
{
        static const char *const options[] = {
                "    option quorum-type some\n",           "    option quorum-count 0\n",
                "    option quorum-count 2x\n",            "    option favorite-child-policy best\n",
                "    option read-subvolume-index 3\n",     "    option thin-arbiter host:/path\n",
                "    option arbiter-count 2\n",            "    option post-op-delay-secs -1\n",
                "    option read-hash-mode 6\n",           "    option data-self-heal-window-size 0\n",
                "    option eager-lock perhaps\n",         "    option read-hash-mode 99999999999999999999\n",
                "    option quorum-count \"\"\n",
        };
        static struct world w;
        (void)state;
        for (unsigned k = 0; k < ELEMENTSOF(options); k++) {
                world_open(&w, &(struct world_config){
                                       .layout = WORLD_REP3, .replicate_options = options[k], .unmounted = true});
                world_run(&w, 0, mount_badly, NULL);
                world_close(&w);
        }
}

static int set_text(struct fibre *self, struct things *t, struct vnode *i, const char *name, const char *value)
{
        t->r.file = NULL;
        return call_setxattr(self, t->client, i, name, value);
}

static void commands(struct fibre *self, struct world_client *c, void *arg)
{
        struct things t = {.client = c, .afr = faulty_install(c->world, 0)};
        (void)arg;
        make_things(self, &t);
        assert_int_equal(set_text(self, &t, t.file, "trusted.afr.dirty", "x"), -EPERM);
        assert_int_equal(set_text(self, &t, t.file, "replica.split-brain-choice", "nobody"), -EINVAL);
        assert_int_equal(set_text(self, &t, t.file, "replica.split-brain-choice", "vol-client-0"), -EINVAL);
        assert_int_equal(set_text(self, &t, t.file, "replica.split-brain-choice", "none"), 0);
        assert_int_equal(set_text(self, &t, t.file, "replica.split-brain-choice-timeout", "soon"), -EINVAL);
        assert_int_equal(set_text(self, &t, t.file, "replica.split-brain-heal-finalize", "nobody"), -EINVAL);
        assert_int_equal(set_text(self, &t, t.file, "trusted.add-brick", "vol-client-0"), -EINVAL);
        assert_int_equal(set_text(self, &t, t.file, "trusted.replace-brick", "nobody"), -EINVAL);
        assert_int_equal(call_removexattr(self, c, t.file, "trusted.afr.dirty"), -EPERM);
        struct iatt stat;
        assert_int_equal(call_stat(self, c, t.file, &stat), 0);
        assert_int_equal(stat.size, 10);
        drop_things(self, &t);
}

static void commands_are_checked(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &three);
        world_run(&w, 0, commands, NULL);
        world_close(&w);
        world_open(&w, &arbiter);
        world_run(&w, 0, commands, NULL);
        world_close(&w);
}

static void nameless(struct fibre *self, struct world_client *c, void *arg)
{
        static const operation all[] = {do_mkdir, do_mknod,      do_symlink, do_create,       do_link,       do_unlink,
                                        do_rmdir, do_rename_dir, do_lookup,  do_mkdir_plain, do_rename_same};
        struct things t = {.client = c, .afr = faulty_install(c->world, 0)};
        (void)arg;
        make_things(self, &t);
        for (unsigned k = 0; k < ELEMENTSOF(all); k++) {
                _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
                make_fresh(&t, &a);
                t.nameless = true;
                int result = all[k](self, &t);
                t.nameless = false;
                if (result != -EINVAL && result != -ENOMEM)
                        fail_msg("operation %u without objects gives %d", k, result);
        }
        t.r = world_request(c, &t.arena);
        vfile_unref(TAKE_PTR(t.listing));
        assert_int_equal(do_readdir(self, &t), -EBADF);
        drop_things(self, &t);
}

static void requests_without_objects_are_refused(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &three);
        world_run(&w, 0, nameless, NULL);
        world_close(&w);
}

int main(void) /* EACH_ONLY: a pattern of names of tests; EACH_TRACE: what is tried */
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_copy_fails),        cmocka_unit_test(copies_fail_from_then_on),
                cmocka_unit_test(a_connection_is_reset), cmocka_unit_test(memory_is_short),
                cmocka_unit_test(memory_is_used_up),     cmocka_unit_test(bricks_are_away),
                cmocka_unit_test(options_do_not_matter), cmocka_unit_test(bad_options_are_refused),
                cmocka_unit_test(commands_are_checked),  cmocka_unit_test(requests_without_objects_are_refused),
        };
        cmocka_set_test_filter(getenv("EACH_ONLY"));
        return cmocka_run_group_tests(tests, NULL, NULL);
}
