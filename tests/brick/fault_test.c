/* Every operation that changes something, with each of its effects on the disk failing in turn, and with the node dying
 * after each of them (docs/formats/brick-crash-states.md; spec: brick.md §21).
 *
 * One scene is set up for every run, so what an operation must not touch is looked at as well. After the fault:
 *   - the brick shows the old tree or the new one, or a state that the operation's entry below permits;
 *   - an answer that says failure belongs to the old tree, one that says success to the new one;
 *   - after each name was looked up, the layout is whole (check.h), and so it is after `brick check --repair`;
 *   - what did not happen can be asked for again, and then happens;
 *   - when everything is removed, nothing of it is left below .glusterfs.
 */
#include "check.h"
#include "tree.h"

#include "brick/checker.h"

#include <linux/falloc.h>

#define KEY "user.key"
#define POWER_CUTS 3 /* for each effect: a cut keeps any part of what was not synced */
#define ALL_TIMES (TIMES_CTIME | TIMES_MTIME | TIMES_PARENT_CTIME | TIMES_PARENT_MTIME)

struct scene {
        struct harness h;
        struct client *c;
        struct gfid file, other, pair, link, dir, inside, sub, empty, full, below;
        struct gfid raw;   /* for the one that was put there without */
        struct gfid fresh; /* for what operations make */
};

static const struct gfid root = GFID_ROOT;

/* ---- the scene ------------------------------------------------------------------------------------------------------
 *
 *      file  other  pair = pair2  link -> file  raw (no gfid)  empty/  dir/{inside, sub/}  full/{below}
 */

static void write_text(struct client *c, const struct gfid *g, const char *text)
{
        struct write_fop_rep rep;
        struct slice data = {(const uint8_t *)text, (uint32_t)strlen(text)};
        const struct write_fop_req req = {
                .gfid = *g, .fd = FD_ANONYMOUS, .size = data.len, .flag = O_SYNC, .data = data};
        assert_int_equal(CALL(c, WRITE, &req, &rep), 0);
}

static int set_attr(struct client *c, const struct gfid *g, const char *key, const char *value)
{
        struct setxattr_fop_rep rep;
        struct setxattr_fop_req req = {.gfid = *g};
        assert_int_equal(dict_add_ptr(&req.dict, &c->arena, key, value, (uint32_t)strlen(value)), 0);
        return CALL(c, SETXATTR, &req, &rep);
}

/* One counter of a changelog. NAME: recorded as changed (may be NULL). PURGE: those recorded before are done with. */
static int add_pending(struct client *c, const struct gfid *g, int by, const char *name, bool purge)
{
        uint8_t value[12] = {0};
        struct xattrop_fop_rep rep;
        struct xattrop_fop_req req = {.gfid = *g};
        memset(value, by < 0 ? 0xff : 0, 4);
        value[3] = (uint8_t)by;
        assert_int_equal(dict_add_ptr(&req.dict, &c->arena, "trusted.afr.v-client-1", value, sizeof value), 0);
        if (name)
                assert_int_equal(dict_add_str(&req.xdata, &c->arena, "glusterfs.xattrop-entry-create", name), 0);
        if (purge)
                assert_int_equal(dict_add_int(&req.xdata, &c->arena, "glusterfs.xattrop-purge-index", 1), 0);
        return CALL(c, XATTROP, &req, &rep);
}

static struct gfid file_with(struct client *c, const struct gfid *parent, const char *name, const char *text)
{
        struct gfid g = make_file(c, parent, name);
        write_text(c, &g, text);
        assert_int_equal(set_attr(c, &g, KEY, text), 0);
        return g;
}

static int make_link(struct client *c, const char *name, const char *target, const struct gfid *g)
{
        struct symlink_fop_rep rep;
        const struct symlink_fop_req req = {
                .pargfid = root, .bname = str_of(name), .linkname = str_of(target), .xdata = client_gfid_req(c, g)};
        return CALL(c, SYMLINK, &req, &rep);
}

/* A journal commits in order: one synced file, and all before it is durable. */
static void sync_all(struct scene *s)
{
        int fd = disk_open(s->h.disk, AT_FDCWD, "/synced", O_CREAT | O_RDWR, 0600);
        assert_true(fd >= 0);
        assert_int_equal(disk_sync(s->h.disk, fd, false), 0);
        assert_int_equal(disk_close(s->h.disk, fd), 0);
}

static void scene_connect(struct scene *s)
{
        s->c = client_open(&s->h);
        s->c->cred.flags = ALL_TIMES;
}

static void scene_open(struct scene *s, uint64_t seed)
{
        *s = (struct scene){0};
        harness_sim(&s->h, seed);
        scene_connect(s);
        struct client *c = s->c;
        s->file = file_with(c, &root, "file", "the old text of file");
        s->other = file_with(c, &root, "other", "the text of other");
        s->pair = file_with(c, &root, "pair", "the text of both");
        assert_int_equal(try_link(c, &s->pair, &root, "pair2"), 0);
        s->link = harness_gfid(&s->h);
        assert_int_equal(make_link(c, "link", "file", &s->link), 0);
        s->dir = make_dir(c, &root, "dir");
        s->inside = file_with(c, &s->dir, "inside", "the text of inside");
        s->sub = make_dir(c, &s->dir, "sub");
        s->empty = make_dir(c, &root, "empty");
        s->full = make_dir(c, &root, "full");
        s->below = file_with(c, &s->full, "below", "the text of below");
        assert_int_equal(add_pending(c, &s->other, 1, NULL, false), 0);
        assert_int_equal(add_pending(c, &s->full, 1, "below", false), 0);
        s->raw = harness_gfid(&s->h);
        s->fresh = harness_gfid(&s->h);
        assert_int_equal(disk_mknod(s->h.disk, AT_FDCWD, on_disk(&s->h, "raw"), S_IFREG | 0644, 0), 0);
        assert_int_equal(disk_chmod(s->h.disk, AT_FDCWD, on_disk(&s->h, "dir"), 0777), 0);
        sync_all(s);
        sim_disk_faults_clear(s->h.sim);
}

/* Trees that were removed as a whole. */
static void purge_landfill(struct harness *h)
{
        static uint64_t now; /* each pass may bring subdirectories up, and the next one is due after a while */
        for (unsigned pass = 0; pass < 3; pass++)
                brick_purge(h->brick, now += NS_PER_SEC * 60);
}

static void scene_close(struct scene *s)
{
        s->c = client_close(s->c);
        purge_landfill(&s->h);
        harness_close(&s->h);
}

/* The node dies where it is. */
static void scene_die(struct scene *s, bool power)
{
        s->c = client_close(s->c);
        s->h.brick = brick_close(s->h.brick);
        if (power)
                sim_disk_power_cut(s->h.sim);
        else
                sim_disk_process_crash(s->h.sim);
        sim_disk_faults_clear(s->h.sim);
}

/* It comes back. */
static void scene_return(struct scene *s)
{
        sim_disk_faults_clear(s->h.sim);
        harness_reopen(&s->h);
        scene_connect(s);
}

/* ---- operations: making ------------------------------------------------------------------------------------------ */

static int run_mkdir(struct scene *s)
{
        struct mkdir_fop_rep rep;
        struct mkdir_fop_req req = {
                .pargfid = s->dir, .mode = 0751, .bname = STR("new"), .xdata = client_gfid_req(s->c, &s->fresh)};
        assert_int_equal(dict_add_ptr(&req.xdata, &s->c->arena, KEY, "born", 4), 0);
        return CALL(s->c, MKDIR, &req, &rep);
}

static int mknod_in(struct scene *s, const char *name, const struct gfid *g, mode_t mode, const char *flag)
{
        struct mknod_fop_rep rep;
        struct mknod_fop_req req = {
                .pargfid = root, .mode = mode, .bname = str_of(name), .xdata = client_gfid_req(s->c, g)};
        assert_int_equal(dict_add_ptr(&req.xdata, &s->c->arena, KEY, "born", 4), 0);
        if (flag)
                assert_int_equal(dict_add_uint(&req.xdata, &s->c->arena, flag, 1), 0);
        return CALL(s->c, MKNOD, &req, &rep);
}

static int run_mknod(struct scene *s)
{
        return mknod_in(s, "new", &s->fresh, S_IFREG | 0640, NULL);
}

/* The owner is changed, which clears the bit, which is set again. */
static int run_mknod_setuid(struct scene *s)
{
        struct mknod_fop_rep rep;
        const struct mknod_fop_req req = {.pargfid = s->dir,
                                          .mode = S_IFREG | S_ISUID | 0755,
                                          .bname = STR("new"),
                                          .xdata = client_gfid_req(s->c, &s->fresh)};
        s->c->cred.uid = s->c->cred.gid = 5;
        int r = CALL(s->c, MKNOD, &req, &rep);
        s->c->cred.uid = s->c->cred.gid = 0;
        return r;
}

static int run_mknod_fifo(struct scene *s)
{
        return mknod_in(s, "new", &s->fresh, S_IFIFO | 0640, NULL);
}

static int run_mknod_known(struct scene *s)
{
        return mknod_in(s, "new", &s->file, S_IFREG | 0640, "glusterfs-internal-fop");
}

static int run_symlink(struct scene *s)
{
        return make_link(s->c, "new", "dir/inside", &s->fresh);
}

static int create_named(struct scene *s, const char *name, uint32_t flags)
{
        int64_t fd;
        int r = try_create(s->c, &root, name, flags, &s->fresh, &fd);
        if (r == 0)
                release(s->c, fd);
        return r;
}

static int run_create(struct scene *s)
{
        return create_named(s, "new", O_RDWR | O_CREAT | O_EXCL);
}

static int run_create_existing(struct scene *s)
{
        return create_named(s, "file", O_RDWR | O_CREAT | O_TRUNC);
}

static int run_link(struct scene *s)
{
        return try_link(s->c, &s->file, &s->dir, "new");
}

static int run_link_symlink(struct scene *s)
{
        return try_link(s->c, &s->link, &s->dir, "new");
}

/* Somebody wrote into the brick; the next look-up gives it an identity. */
static int run_lookup_raw(struct scene *s)
{
        struct lookup_fop_rep rep;
        const struct lookup_fop_req req = {
                .pargfid = root, .bname = STR("raw"), .xdata = client_gfid_req(s->c, &s->raw)};
        return CALL(s->c, LOOKUP, &req, &rep);
}

/* ---- operations: removing and renaming --------------------------------------------------------------------------- */

static int run_unlink(struct scene *s)
{
        return try_unlink(s->c, &root, "file");
}

static int run_unlink_symlink(struct scene *s)
{
        return try_unlink(s->c, &root, "link");
}

static int run_unlink_pair(struct scene *s)
{
        return try_unlink(s->c, &root, "pair");
}

static int run_unlink_raw(struct scene *s)
{
        return try_unlink(s->c, &root, "raw");
}

/* Opens G, does what FN says, and lets go of it. */
static int while_open(struct scene *s, const struct gfid *g, int (*fn)(struct scene *s))
{
        int64_t fd;
        int r = try_open(s->c, g, O_RDWR, &fd);
        if (r < 0)
                return r;
        r = fn(s);
        release(s->c, fd);
        return r;
}

static int run_unlink_open(struct scene *s)
{
        return while_open(s, &s->file, run_unlink);
}

static int run_rmdir(struct scene *s)
{
        return try_rmdir(s->c, &root, "empty");
}

static int run_rmdir_whole(struct scene *s)
{
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = root, .bname = STR("full"), .xflags = 1};
        return CALL(s->c, RMDIR, &req, &rep);
}

static int run_rename(struct scene *s)
{
        return try_rename(s->c, &root, "file", &root, "new");
}

static int run_rename_away(struct scene *s)
{
        return try_rename(s->c, &root, "file", &s->dir, "new");
}

static int run_rename_over(struct scene *s)
{
        return try_rename(s->c, &root, "file", &root, "other");
}

static int run_rename_over_open(struct scene *s)
{
        return while_open(s, &s->other, run_rename_over);
}

static int run_rename_over_one_of_two(struct scene *s)
{
        return try_rename(s->c, &root, "file", &root, "pair2");
}

static int run_rename_one_of_two(struct scene *s)
{
        return try_rename(s->c, &root, "pair", &s->dir, "inside");
}

static int run_rename_same(struct scene *s)
{
        return try_rename(s->c, &root, "pair", &root, "pair2");
}

static int run_rename_over_raw(struct scene *s)
{
        return try_rename(s->c, &root, "file", &root, "raw");
}

static int run_rename_symlink(struct scene *s)
{
        return try_rename(s->c, &root, "link", &s->dir, "new");
}

static int run_rename_dir(struct scene *s)
{
        return try_rename(s->c, &root, "dir", &root, "new");
}

static int run_rename_dir_away(struct scene *s)
{
        return try_rename(s->c, &s->dir, "sub", &s->full, "new");
}

static int run_rename_dir_over(struct scene *s)
{
        return try_rename(s->c, &root, "dir", &root, "empty");
}

/* ---- operations: attributes -------------------------------------------------------------------------------------- */

static int setattr_of(struct scene *s, const struct gfid *g, int32_t valid)
{
        struct setattr_fop_rep rep;
        const struct setattr_fop_req req = {
                .gfid = *g,
                .valid = valid,
                .stbuf = {.mode = 0600, .uid = 7, .gid = 8, .mtime = {.sec = 1234567}, .atime = {.sec = 1234568}}};
        return CALL(s->c, SETATTR, &req, &rep);
}

static int run_setattr(struct scene *s)
{
        return setattr_of(s, &s->file,
                          SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_MTIME | SETATTR_ATIME);
}

static int run_setattr_dir(struct scene *s)
{
        return setattr_of(s, &s->dir, SETATTR_MODE);
}

static int run_setattr_times(struct scene *s)
{
        return setattr_of(s, &s->file, SETATTR_MTIME | SETATTR_ATIME);
}

static int run_setxattr(struct scene *s)
{
        return set_attr(s->c, &s->file, KEY, "the new value");
}

static int run_setxattr_many(struct scene *s)
{
        struct setxattr_fop_rep rep;
        struct setxattr_fop_req req = {.gfid = s->file};
        assert_int_equal(dict_add_ptr(&req.dict, &s->c->arena, KEY, "the new value", 13), 0);
        assert_int_equal(dict_add_ptr(&req.dict, &s->c->arena, "user.more", "more", 4), 0);
        assert_int_equal(dict_add_ptr(&req.dict, &s->c->arena, "trusted.third", "third", 5), 0);
        return CALL(s->c, SETXATTR, &req, &rep);
}

static int run_removexattr(struct scene *s)
{
        struct removexattr_fop_rep rep;
        const struct removexattr_fop_req req = {.gfid = s->file, .name = STR(KEY)};
        return CALL(s->c, REMOVEXATTR, &req, &rep);
}

static int run_xattrop(struct scene *s)
{
        static const uint8_t dirty[12] = {[3] = 1}, pending[12] = {[7] = 1};
        struct xattrop_fop_rep rep;
        struct xattrop_fop_req req = {.gfid = s->file};
        assert_int_equal(dict_add_ptr(&req.dict, &s->c->arena, "trusted.afr.dirty", dirty, sizeof dirty), 0);
        assert_int_equal(dict_add_ptr(&req.dict, &s->c->arena, "trusted.afr.v-client-1", pending, sizeof pending), 0);
        return CALL(s->c, XATTROP, &req, &rep);
}

static int run_xattrop_first(struct scene *s)
{
        return add_pending(s->c, &s->file, 1, NULL, false);
}

static int run_xattrop_last(struct scene *s)
{
        return add_pending(s->c, &s->other, -1, NULL, false);
}

static int run_xattrop_name(struct scene *s)
{
        return add_pending(s->c, &s->dir, 1, "new", false);
}

static int run_xattrop_purge(struct scene *s)
{
        return add_pending(s->c, &s->full, -1, NULL, true);
}

static struct gfid index_gfid(struct scene *s, const char *name)
{
        struct gfid g;
        struct getxattr_fop_rep rep;
        const struct getxattr_fop_req req = {.gfid = root, .namelen = (uint32_t)strlen(name), .name = str_of(name)};
        assert_int_equal(CALL(s->c, GETXATTR, &req, &rep), 0);
        assert_int_equal(dict_get_gfid(&rep.dict, name, &g), 0);
        return g;
}

/* As self-heal does with names of directories that are gone; it comes again if one is left. */
static int run_remove_names(struct scene *s)
{
        char name[GFID_TEXT_LEN + 1];
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = index_gfid(s, "glusterfs.xattrop_entry_changes_gfid"),
                                          .bname = str_of(gfid_format(&s->full, name)),
                                          .xflags = 1};
        return CALL(s->c, RMDIR, &req, &rep);
}

/* ---- operations: contents ---------------------------------------------------------------------------------------- */

static int write_to(struct scene *s, uint32_t flag)
{
        static uint8_t block[9000];
        struct write_fop_rep rep;
        memset(block, 'n', sizeof block);
        const struct write_fop_req req = {.gfid = s->file,
                                          .fd = FD_ANONYMOUS,
                                          .offset = 5,
                                          .size = sizeof block,
                                          .flag = flag,
                                          .data = {block, sizeof block}};
        return CALL(s->c, WRITE, &req, &rep);
}

static int run_write(struct scene *s)
{
        return write_to(s, 0);
}

static int run_write_sync(struct scene *s)
{
        return write_to(s, O_SYNC);
}

static int truncate_to(struct scene *s, uint64_t size)
{
        struct truncate_fop_rep rep;
        const struct truncate_fop_req req = {.gfid = s->file, .offset = size};
        return CALL(s->c, TRUNCATE, &req, &rep);
}

static int run_truncate_short(struct scene *s)
{
        return truncate_to(s, 3);
}

static int run_truncate_long(struct scene *s)
{
        return truncate_to(s, 20000);
}

static int run_open_truncate(struct scene *s)
{
        int64_t fd;
        int r = try_open(s->c, &s->file, O_RDWR | O_TRUNC, &fd);
        if (r == 0)
                release(s->c, fd);
        return r;
}

static int run_fallocate(struct scene *s)
{
        struct fallocate_fop_rep rep;
        const struct fallocate_fop_req req = {.gfid = s->file, .fd = FD_ANONYMOUS, .size = 20000};
        return CALL(s->c, FALLOCATE, &req, &rep);
}

static int run_discard(struct scene *s)
{
        struct discard_fop_rep rep;
        const struct discard_fop_req req = {.gfid = s->file, .fd = FD_ANONYMOUS, .offset = 2, .size = 6};
        return CALL(s->c, DISCARD, &req, &rep);
}

static int run_zerofill(struct scene *s)
{
        struct zerofill_fop_rep rep;
        const struct zerofill_fop_req req = {.gfid = s->file, .fd = FD_ANONYMOUS, .offset = 2, .size = 9000};
        return CALL(s->c, ZEROFILL, &req, &rep);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define BORN_PARTLY (TREE_GFID | TREE_MODE | TREE_OWNER | TREE_ATTRS)
#define DATA_PARTLY (TREE_SIZE | TREE_CONTENT)

/* What is permitted beyond old and new, all about objects whose path begins with PATH. */
struct operation {
        const char *name;
        int (*run)(struct scene *s);
        const char *path;
        int crash;    /* after a crash: these may be between old and new */
        int failed;   /* after an error answer: these may have changed */
        int success;  /* after success: these may not be as asked */
        int power;    /* after a power cut: contents that were not synced */
        bool parks;   /* a file that cannot be deleted waits in .glusterfs/unlink for the next start */
        bool once;    /* the picture itself does it, in its own way */
};

static const struct operation operations[] = {
        {"mkdir", run_mkdir, "dir/new", .crash = BORN_PARTLY, .success = TREE_ATTRS},
        {"mknod", run_mknod, "new", .crash = BORN_PARTLY, .success = TREE_ATTRS},
        {"mknod of a set-id file of a user", run_mknod_setuid, "dir/new", .crash = BORN_PARTLY},
        {"mknod of a fifo", run_mknod_fifo, "new", .crash = BORN_PARTLY, .success = TREE_ATTRS},
        {"mknod of a known gfid", run_mknod_known},
        {"symlink", run_symlink, "new", .crash = BORN_PARTLY},
        {"create", run_create, "new", .crash = BORN_PARTLY},
        {"create of an existing file", run_create_existing},
        {"link", run_link},
        {"link of a symlink", run_link_symlink},
        {"lookup that gives a gfid", run_lookup_raw, .once = true},
        {"unlink", run_unlink},
        {"unlink of a symlink", run_unlink_symlink},
        {"unlink of one of two names", run_unlink_pair},
        {"unlink of an object without gfid", run_unlink_raw},
        {"unlink of an open file", run_unlink_open, .parks = true},
        {"rmdir", run_rmdir},
        {"rmdir of a whole tree", run_rmdir_whole},
        {"rename", run_rename},
        {"rename to another directory", run_rename_away},
        {"rename over a file", run_rename_over, .parks = true},
        {"rename over an open file", run_rename_over_open, .parks = true},
        {"rename over one of two names", run_rename_over_one_of_two},
        {"rename of one of two names over a file", run_rename_one_of_two, .parks = true},
        {"rename to another name of the same file", run_rename_same},
        {"rename over an object without gfid", run_rename_over_raw},
        {"rename of a symlink", run_rename_symlink},
        {"rename of a directory", run_rename_dir},
        {"rename of a directory to another", run_rename_dir_away},
        {"rename of a directory over another", run_rename_dir_over},
        {"setattr", run_setattr, "file", .crash = TREE_MODE | TREE_OWNER, .failed = TREE_MODE | TREE_OWNER},
        {"setattr of a directory", run_setattr_dir},
        {"setattr of times", run_setattr_times},
        {"setxattr", run_setxattr},
        {"setxattr of many", run_setxattr_many, "file", .crash = TREE_ATTRS, .failed = TREE_ATTRS},
        {"removexattr", run_removexattr},
        {"xattrop", run_xattrop, "file", .crash = TREE_ATTRS, .failed = TREE_ATTRS},
        {"xattrop of the first entry", run_xattrop_first},
        {"xattrop of the last entry", run_xattrop_last},
        {"xattrop with a name", run_xattrop_name},
        {"xattrop that purges", run_xattrop_purge},
        {"rmdir of names in the index", run_remove_names, .once = true},
        {"write", run_write, "file", .power = DATA_PARTLY},
        {"write with O_SYNC", run_write_sync, "file", .failed = DATA_PARTLY, .power = DATA_PARTLY},
        {"truncate to less", run_truncate_short},
        {"truncate to more", run_truncate_long},
        {"open with O_TRUNC", run_open_truncate},
        {"fallocate", run_fallocate},
        {"discard", run_discard, "file", .power = DATA_PARTLY},
        {"zerofill", run_zerofill, "file", .power = DATA_PARTLY},
};

/* ---- judging ----------------------------------------------------------------------------------------------------- */

enum fault { FAULT_EIO, FAULT_ENOSPC, FAULT_CRASH, FAULT_POWER, FAULT_CRASH_CHECKED, FAULT_POWER_CHECKED, FAULTS };
static const char *const fault_names[FAULTS] = {"EIO",         "ENOSPC",          "a crash",
                                                "a power cut", "a crash, repaired", "a power cut, repaired"};

static bool is_power_cut(enum fault f)
{
        return f == FAULT_POWER || f == FAULT_POWER_CHECKED;
}

struct trial {
        const struct operation *o;
        enum fault fault;
        unsigned effect; /* the one it struck; 0: none */
        int answer;
        struct scene *s;
        const struct tree *before, *after;
        struct tree now;
};

static void _noreturn_ condemn(const struct trial *t, const char *why)
{
        fprintf(stderr, "  other than before:\n");
        tree_print(stderr, &t->now, t->before);
        tree_print(stderr, t->before, &t->now);
        fprintf(stderr, "  other than it should be after:\n");
        tree_print(stderr, &t->now, t->after);
        tree_print(stderr, t->after, &t->now);
        fail_msg("%s, %s at effect %u, answer %d: %s", t->o->name, fault_names[t->fault], t->effect, t->answer, why);
        abort();
}

static bool is_like(const struct trial *t, const struct tree *want, int mask)
{
        return tree_compare(&t->now, want, t->o->path, mask) == 0;
}

static void judge_answer(struct trial *t)
{
        const struct operation *o = t->o;
        if (t->effect > 0 && is_power_cut(t->fault)) {
                if (!is_like(t, t->before, o->crash | o->power) && !is_like(t, t->after, o->crash | o->power))
                        condemn(t, "neither the old state nor the new one");
        } else if (t->effect > 0 && t->fault >= FAULT_CRASH) {
                if (!is_like(t, t->before, o->crash) && !is_like(t, t->after, o->crash))
                        condemn(t, "neither the old state nor the new one");
        } else if (t->answer < 0) {
                if (!is_like(t, t->before, o->failed))
                        condemn(t, "it failed and changed something");
        } else if (!is_like(t, t->after, t->effect > 0 ? o->success : 0)) {
                condemn(t, "it succeeded and is not done");
        }
}

/* By its gfid alone, as clients do that knew it before. */
static void look_by_gfid(struct trial *t, const struct gfid *g)
{
        struct lookup_fop_rep rep;
        const struct lookup_fop_req req = {.gfid = *g};
        int r = CALL(t->s->c, LOOKUP, &req, &rep);
        if (r != 0 && r != -ENOENT)
                condemn(t, "a look-up by gfid fails");
        if (r == 0 && !gfid_equal(&rep.prestat.gfid, g))
                condemn(t, "a look-up by gfid finds something else");
}

/* After a failure nobody needs to look up names: objects are where they were. */
static void judge_untouched(struct trial *t)
{
        for (size_t k = 0; k < t->before->n; k++) {
                const struct gfid *g = &t->before->v[k].gfid;
                if (!gfid_is_null(g) && try_stat(t->s->c, g, NULL) != 0)
                        condemn(t, "it failed, and an object is not reachable by its gfid");
        }
}

/* A name's object is reachable by its gfid, and what has no name is not. */
static void judge_gfids(struct trial *t)
{
        for (size_t k = 0; k < t->now.n; k++) {
                struct iatt i;
                const struct gfid *g = &t->now.v[k].gfid;
                if (!gfid_is_null(g) && (try_stat(t->s->c, g, &i) != 0 || !gfid_equal(&i.gfid, g)))
                        condemn(t, "an object is not reachable by its gfid");
        }
        const struct scene *s = t->s;
        const struct gfid *all[] = {&s->file, &s->other, &s->pair,  &s->link, &s->dir, &s->inside,
                                    &s->sub,  &s->empty, &s->full, &s->below, &s->raw, &s->fresh};
        for (size_t k = 0; k < ELEMENTSOF(all); k++)
                look_by_gfid(t, all[k]);
}

/* What is pending in a directory is pending for a name. */
static void judge_names(struct trial *t)
{
        uint8_t pending[12] = {0};
        struct harness *h = &t->s->h;
        char dir[GFID_TEXT_LEN + 1];
        (void)disk_getxattr(h->disk, AT_FDCWD, on_disk(h, "dir"), "trusted.afr.v-client-1", pending, sizeof pending);
        if (pending[3] &&
            !exists_on_disk(h, on_disk(h, ".glusterfs/indices/entry-changes/%s/new", gfid_format(&t->s->dir, dir))))
                condemn(t, "a directory has something pending, and no name is recorded");
}

static void judge_layout(struct trial *t)
{
        judge_names(t);
        struct harness *h = &t->s->h;
        if (t->o->parks) {
                scene_die(t->s, false);
                scene_return(t->s);
        }
        purge_landfill(h);
        if (check_brick(h->disk, h->path, 0) != 0)
                condemn(t, "the layout is damaged");
}

/* What did not happen happens when it is asked for again. */
static void judge_again(struct trial *t)
{
        if (t->o->once || tree_compare(&t->now, t->before, NULL, 0) != 0)
                return;
        t->answer = t->o->run(t->s);
        tree_take(&t->s->h, &t->now);
        if (t->answer != 0 || tree_compare(&t->now, t->after, NULL, 0) != 0)
                condemn(t, "asked again, it does not do what it did the first time");
        judge_layout(t);
}

static void judge_removal(struct trial *t)
{
        struct harness *h = &t->s->h;
        tree_remove(h);
        judge_gfids(&(struct trial){.o = t->o, .s = t->s, .before = t->before, .after = t->after});
        if (tree_leftovers(h) != 0)
                condemn(t, "something is left when all is removed");
}

/* ---- the checker --------------------------------------------------------------------------------------------------- */

/* What a crash leaves is among what docs/formats/brick-crash-states.md lists. */
static void take_finding(void *arg, const struct finding *f)
{
        static const enum finding_class listed[] = {FINDING_NO_HANDLE,  FINDING_WRONG_HANDLE, FINDING_DANGLING, FINDING_PATHS,
                                                    FINDING_PATHS_PART, FINDING_NO_GFID,      FINDING_LEFTOVER, FINDING_INDEX_STALE};
        const struct trial *t = arg;
        for (size_t k = 0; k < ELEMENTSOF(listed); k++)
                if (f->class == listed[k] && f->severity != FINDING_ERROR)
                        return;
        fail_msg("%s, %s at effect %u: the checker finds %s at %s: %s", t->o->name, fault_names[t->fault], t->effect,
                 finding_class_word(f->class), f->path, f->text);
}

/* `brick check --repair` before the brick comes back does what look-ups would do. */
static void repair(struct trial *t)
{
        const struct check_config config = {.repair = true, .report = take_finding, .arg = t};
        struct check_totals totals;
        struct harness *h = &t->s->h;
        for (unsigned pass = 0; pass < 2; pass++) {
                if (brick_check(h->disk, h->path, &config, &totals, NULL) < 0 || totals.left > 0)
                        fail_msg("%s, %s at effect %u: not repaired", t->o->name, fault_names[t->fault], t->effect);
                assert_true(pass == 0 || totals.repaired == 0);
        }
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void arm(struct sim_disk *d, enum fault fault, unsigned effect)
{
        if (fault == FAULT_EIO || fault == FAULT_ENOSPC)
                sim_disk_fail_nth(d, effect, fault == FAULT_EIO ? EIO : ENOSPC);
        else
                sim_disk_stop_after(d, effect);
}

/* False: the operation has fewer effects. */
static bool try_fault(struct trial *t, unsigned effect, uint64_t seed)
{
        struct scene s;
        scene_open(&s, seed);
        t->s = &s;
        arm(s.h.sim, t->fault, effect);
        t->answer = t->o->run(&s);
        bool fired = sim_disk_fault_fired(s.h.sim);
        t->effect = fired ? effect : 0;
        if (fired && t->fault >= FAULT_CRASH) {
                scene_die(&s, is_power_cut(t->fault));
                if (t->fault >= FAULT_CRASH_CHECKED)
                        repair(t);
                scene_return(&s);
        }
        sim_disk_faults_clear(s.h.sim);
        if (t->answer < 0 && t->fault < FAULT_CRASH)
                judge_untouched(t);
        tree_take(&s.h, &t->now);
        judge_answer(t);
        judge_gfids(t);
        judge_layout(t);
        judge_again(t);
        judge_removal(t);
        scene_close(&s);
        return fired;
}

static void take_before_and_after(const struct operation *o, struct tree *before, struct tree *after)
{
        struct scene s;
        scene_open(&s, 1);
        tree_take(&s.h, before);
        scene_close(&s);
        scene_open(&s, 1);
        int r = o->run(&s);
        if (r != 0)
                fail_msg("%s: %s", o->name, strerror(-r));
        tree_take(&s.h, after);
        scene_close(&s);
}

static void faults_of(const struct operation *o)
{
        static struct tree before, after;
        static struct trial t;
        take_before_and_after(o, &before, &after);
        for (int f = 0; f < FAULTS; f++) {
                unsigned runs = is_power_cut(f) ? POWER_CUTS : 1;
                bool fired = true;
                for (unsigned effect = 1; fired; effect++) {
                        for (unsigned run = 1; run <= runs; run++) {
                                t = (struct trial){.o = o, .fault = f, .before = &before, .after = &after};
                                fired = try_fault(&t, effect, run);
                        }
                }
        }
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* The brick's directories are as old as the journal remembers, and a file without name waits to be deleted. */
static void scene_prepare_opening(struct scene *s)
{
        scene_open(s, 1);
        sim_disk_stop_after(s->h.sim, 3); /* of an unlink: the file is parked, its name and record are gone */
        (void)run_unlink_open(s);
        s->c = client_close(s->c);
        s->h.brick = brick_close(s->h.brick);
        sim_disk_process_crash(s->h.sim);
        assert_int_equal(disk_unlink(s->h.disk, AT_FDCWD, on_disk(&s->h, ".glusterfs/health_check"), 0), 0);
        assert_int_equal(disk_unlink(s->h.disk, AT_FDCWD, on_disk(&s->h, ".glusterfs/f7"), AT_REMOVEDIR), 0);
        sim_disk_faults_clear(s->h.sim);
}

static bool open_with_fault(struct scene *s, enum fault fault, unsigned effect)
{
        const struct brick_config config = {
                .path = s->h.path, .volume = "test", .volume_id = s->h.volume_id, .options = s->h.options};
        arm(s->h.sim, fault, effect);
        if (brick_open(s->h.disk, &config, &s->h.brick, NULL) < 0)
                s->h.brick = NULL;
        bool fired = sim_disk_fault_fired(s->h.sim);
        s->h.brick = brick_close(s->h.brick);
        if (is_power_cut(fault))
                sim_disk_power_cut(s->h.sim);
        else if (fault >= FAULT_CRASH)
                sim_disk_process_crash(s->h.sim);
        assert_int_equal(sim_disk_open_count(s->h.sim), 0);
        sim_disk_faults_clear(s->h.sim);
        return fired;
}

static void opening_may_fail_and_die(void **state)
{
        static struct trial t;
        static const struct operation o = {.name = "opening"};
        static struct tree before, after;
        struct scene s;
        (void)state;
        scene_open(&s, 1);
        tree_take(&s.h, &before);
        assert_int_equal(run_unlink(&s), 0);
        tree_take(&s.h, &after);
        scene_close(&s);
        for (unsigned f = 0; f < FAULTS; f++) {
                bool fired = true;
                for (unsigned effect = 1; fired; effect++) {
                        scene_prepare_opening(&s);
                        fired = open_with_fault(&s, f, effect);
                        harness_reopen(&s.h);
                        scene_connect(&s);
                        t = (struct trial){
                                .o = &o, .fault = f, .effect = effect, .s = &s, .before = &before, .after = &after};
                        tree_take(&s.h, &t.now);
                        if (tree_compare(&t.now, &before, NULL, 0) != 0 && tree_compare(&t.now, &after, NULL, 0) != 0)
                                condemn(&t, "neither the old state nor the new one");
                        judge_gfids(&t);
                        judge_layout(&t);
                        scene_close(&s);
                }
        }
}

/* Success is never said about a linkto file that does not tell where the file is. */
static void what_comes_with_a_file_is_stored_or_nothing(void **state)
{
        bool fired = true;
        (void)state;
        for (unsigned effect = 1; fired; effect++) {
                struct scene s;
                struct mknod_fop_rep rep;
                char value[32];
                scene_open(&s, 1);
                struct mknod_fop_req req = {.pargfid = root, .mode = S_IFREG | S_ISVTX, .bname = STR("pointer")};
                req.xdata = client_gfid_req(s.c, &s.fresh);
                assert_int_equal(dict_add_str(&req.xdata, &s.c->arena, "trusted.glusterfs.dht.linkto", "v-client-1"), 0);
                sim_disk_fail_nth(s.h.sim, effect, ENOSPC);
                int r = CALL(s.c, MKNOD, &req, &rep);
                fired = sim_disk_fault_fired(s.h.sim);
                sim_disk_faults_clear(s.h.sim);
                s.h.skip_check = true; /* what names a file is repaired when it is looked up */
                if (r >= 0)
                        assert_true(disk_getxattr(s.h.disk, AT_FDCWD, on_disk(&s.h, "pointer"),
                                                  "trusted.glusterfs.dht.linkto", value, sizeof value) > 0);
                scene_close(&s);
        }
}

static void every_effect_may_be_the_last(void **state)
{
        faults_of(*state);
}

int main(void)
{
        static struct CMUnitTest tests[ELEMENTSOF(operations) + 2];
        for (size_t k = 0; k < ELEMENTSOF(operations); k++)
                tests[k] = (struct CMUnitTest){.name = operations[k].name,
                                               .test_func = every_effect_may_be_the_last,
                                               .initial_state = (void *)(uintptr_t)&operations[k]};
        tests[ELEMENTSOF(operations)] = (struct CMUnitTest)cmocka_unit_test(opening_may_fail_and_die);
        tests[ELEMENTSOF(operations) + 1] =
                (struct CMUnitTest)cmocka_unit_test(what_comes_with_a_file_is_stored_or_nothing);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
