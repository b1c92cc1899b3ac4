/* The index of pending work: what appears in it and when, and how clients see it (spec: brick.md §12). The sequences are
 * those observed on stock bricks; tests/interop/index_probe.c asks both the same over the network.
 */
#include <dirent.h>
#include <stdio.h>

#include "brick/index.h"
#include "fixture.h"

#define INDICES ".glusterfs/indices/"
#define DIRTY "trusted.afr.dirty"
#define PENDING "trusted.afr.v-client-1"
#define OTHER "trusted.afr.v-client-2"
#define ENTRY_CREATE "glusterfs.xattrop-entry-create"
#define ENTRY_DELETE "glusterfs.xattrop-entry-delete"
#define PURGE "glusterfs.xattrop-purge-index"

static struct fixture fx;

static int setup(void **state)
{
        (void)state;
        fixture_init(&fx);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fixture_done(&fx);
        return 0;
}

static void remove_below(const char *dir)
{
        char command[256];
        snprintf(command, sizeof command, "find '%s/%s' -mindepth 1 -delete", fx.path, dir);
        FILE *p = popen(command, "r");
        assert_non_null(p);
        assert_int_equal(pclose(p), 0);
}

static int begin(void **state)
{
        (void)state;
        fixture_begin(&fx);
        assert_int_equal(brick_options_set(&fx.options, "xattrop-pending-watchlist", "trusted.none, trusted.afr.v-", NULL), 0);
        for (unsigned k = 0; k < INDEX_CLASSES; k++) {
                char dir[64];
                snprintf(dir, sizeof dir, INDICES "%s", index_class_names[k]);
                remove_below(dir);
        }
        index_doubt(fx.brick);
        return 0;
}

static int end(void **state)
{
        (void)state;
        fixture_end(&fx);
        return 0;
}

/* ---- on the disk ----------------------------------------------------------------------------------------------- */

static const char *text_of(struct gfid g)
{
        static char text[4][GFID_TEXT_LEN + 1];
        static unsigned next;
        return gfid_format(&g, text[next++ % 4]);
}

static bool exists(const char *dir, const char *name)
{
        char path[512];
        struct stat st;
        snprintf(path, sizeof path, "%s/" INDICES "%s/%s", fx.path, dir, name);
        return lstat(path, &st) == 0;
}

static bool has_entry(const char *dir, struct gfid g)
{
        return exists(dir, text_of(g));
}

static bool has_name(struct gfid of, const char *name)
{
        char dir[64];
        snprintf(dir, sizeof dir, "entry-changes/%s", text_of(of));
        return exists(dir, name);
}

/* Names in a directory of the index that begin with PREFIX. */
static unsigned count_names(const char *dir, const char *prefix)
{
        char path[256];
        unsigned n = 0;
        snprintf(path, sizeof path, "%s/%s", fx.path, dir);
        DIR *d = opendir(path);
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));)
                n += e->d_name[0] != '.' && starts_with(e->d_name, prefix);
        closedir(d);
        return n;
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

static void ask(const char *key, const char *text)
{
        if (text)
                assert_int_equal(dict_add_str(&fx.xdata, &fx.arena, key, text), 0);
        else
                assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, key, 1), 0);
}

/* The first element of an array counts BY, of LEN bytes. */
static void add(struct dict *d, const char *name, int by, uint32_t len)
{
        uint8_t *v = arena_alloc(&fx.arena, len);
        assert_non_null(v);
        uint32_t width = len % 8 == 0 ? 8 : 4;
        memset(v, by < 0 ? 0xff : 0, width);
        v[width - 1] = (uint8_t)by;
        assert_int_equal(dict_add_ptr(d, &fx.arena, name, v, len), 0);
}

static int apply(struct gfid g, uint32_t kind, struct dict d)
{
        struct xattrop_fop_rep rep;
        return CALL(&fx, XATTROP, xattrop, &rep, .gfid = g, .flags = kind, .dict = d);
}

/* As clients of a replicated volume do: all keys, zero where nothing changes. */
static int count(struct gfid g, int dirty, int pending)
{
        struct dict d = {0};
        add(&d, DIRTY, dirty, 12);
        add(&d, PENDING, pending, 12);
        add(&d, OTHER, 0, 12);
        return apply(g, 0, d);
}

static int count_named(struct gfid g, int pending, const char *key, const char *name)
{
        ask(key, name);
        return count(g, 0, pending);
}

static struct gfid virtual_gfid(const char *name)
{
        struct getxattr_fop_rep rep;
        struct gfid g;
        assert_int_equal(CALL(&fx, GETXATTR, getxattr, &rep, .gfid = GFID_ROOT, .namelen = 1, .name = str_of(name)), 0);
        assert_int_equal(dict_get(&rep.dict, name)->type, DICT_PTR);
        assert_int_equal(dict_get_gfid(&rep.dict, name, &g), 0);
        return g;
}

static struct gfid pending_dir(void)
{
        return virtual_gfid("glusterfs.xattrop_index_gfid");
}
static struct gfid dirty_dir(void)
{
        return virtual_gfid("glusterfs.xattrop_dirty_gfid");
}
static struct gfid changes_dir(void)
{
        return virtual_gfid("glusterfs.xattrop_entry_changes_gfid");
}

static int64_t counted(const char *name)
{
        struct getxattr_fop_rep rep;
        assert_int_equal(CALL(&fx, GETXATTR, getxattr, &rep, .gfid = GFID_ROOT, .namelen = 1, .name = str_of(name)), 0);
        assert_int_equal(dict_get(&rep.dict, name)->type, DICT_UINT);
        return (int64_t)dict_get(&rep.dict, name)->u;
}

static int look_up(struct gfid g, struct gfid parent, const char *name, struct iatt *ret)
{
        struct lookup_fop_rep rep;
        int r = CALL(&fx, LOOKUP, lookup, &rep, .gfid = g, .pargfid = parent, .bname = str_of(name));
        if (r == 0 && rep.op_ret < 0)
                r = -rep.op_errno;
        if (r == 0) {
                assert_int_equal(rep.prestat.flags, 0x6ff);
                assert_true(rep.prestat.ino == UINT64_MAX);
                assert_true(gfid_is_null(&rep.poststat.gfid));
                *ret = rep.prestat;
        }
        return r;
}

static int look_below(struct gfid parent, const char *name, struct iatt *ret)
{
        return look_up((struct gfid){0}, parent, name, ret);
}

static bool link_count(void)
{
        struct lookup_fop_rep rep;
        ask("link-count", "glusterfs.xattrop_index_count");
        assert_int_equal(CALL(&fx, LOOKUP, lookup, &rep, .gfid = GFID_ROOT), 0);
        return reply_int(&fx, "link-count") == 1;
}

static int list(struct gfid g, int64_t fd, uint64_t offset, uint32_t size, struct readdir_fop_rep *rep)
{
        return CALL(&fx, READDIR, readdir, rep, .gfid = g, .fd = fd, .offset = offset, .size = size);
}

/* The entry NAME in a listing of all of G, or NULL. */
static const struct dirent_entry *listed(struct gfid g, const char *name)
{
        static struct readdir_fop_rep rep;
        assert_int_equal(list(g, FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(rep.op_errno, ENOENT);
        for (uint32_t k = 0; k < rep.reply.n; k++)
                if (str_is(rep.reply.v[k].name, name))
                        return &rep.reply.v[k];
        return NULL;
}

static int unlink_below(struct gfid g, const char *name)
{
        struct unlink_fop_rep rep;
        int r = CALL(&fx, UNLINK, unlink, &rep, .pargfid = g, .bname = str_of(name));
        if (r == 0) {
                assert_true(gfid_equal(&rep.prestat.gfid, &g) && gfid_equal(&rep.poststat.gfid, &g));
                assert_true(rep.poststat.ino == UINT64_MAX && S_ISDIR(rep.poststat.mode));
        }
        return r;
}

static int rmdir_below(struct gfid g, const char *name, bool whole)
{
        struct rmdir_fop_rep rep;
        return CALL(&fx, RMDIR, rmdir, &rep, .pargfid = g, .bname = str_of(name), .xflags = whole);
}

/* ---- entries --------------------------------------------------------------------------------------------------- */

static void sequence_of_a_replicated_volume(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count(f, 0, 0), 0);
        assert_int_equal(count_names(INDICES "dirty", "") + count_names(INDICES "xattrop", ""), 0);
        assert_int_equal(count(f, 1, 0), 0);
        assert_true(has_entry("dirty", f) && !has_entry("xattrop", f));
        assert_int_equal(count_names(INDICES "dirty", "dirty-"), 1);
        assert_int_equal(count(f, -1, 1), 0);
        assert_true(!has_entry("dirty", f) && has_entry("xattrop", f));
        assert_int_equal(count(f, 0, 0), 0);
        assert_true(has_entry("xattrop", f));
        assert_int_equal(count(f, 0, -1), 0);
        assert_false(has_entry("xattrop", f));
        assert_int_equal(count_names(INDICES "xattrop", ""), 1); /* the base file */
}

static void sequence_of_a_dispersed_volume(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        static const int steps[][2] = {{1, true}, {-1, false}};
        for (size_t k = 0; k < ELEMENTSOF(steps); k++) {
                struct dict d = {0}, version = {0};
                add(&d, "trusted.ec.dirty", steps[k][0], 16);
                assert_int_equal(apply(f, 1, d), 0);
                assert_int_equal(has_entry("xattrop", f), steps[k][1]);
                add(&version, "trusted.ec.version", 1, 16);
                assert_int_equal(apply(f, 1, version), 0);
                assert_int_equal(has_entry("xattrop", f), steps[k][1]);
        }
        assert_false(has_entry("dirty", f));
}

static void entries_are_links_to_one_empty_file(void **state)
{
        (void)state;
        struct stat a, b;
        char path[512];
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), g = fixture_file(&fx, GFID_ROOT, "g", 0644);
        assert_int_equal(count(f, 0, 1), 0);
        assert_int_equal(count(g, 0, 1), 0);
        snprintf(path, sizeof path, INDICES "xattrop/%s", text_of(f));
        a = fixture_stat(&fx, path);
        snprintf(path, sizeof path, INDICES "xattrop/%s", text_of(g));
        b = fixture_stat(&fx, path);
        assert_int_equal(a.st_ino, b.st_ino);
        assert_int_equal(a.st_nlink, 3);
        assert_int_equal(a.st_mode, S_IFREG);
        assert_int_equal(a.st_size, 0);
}

static void what_is_watched(void **state)
{
        (void)state;
        static const struct {
                const char *name;
                uint32_t kind, len;
                bool dirty, pending;
        } cases[] = {
                {"trusted.afr.v-", 0, 12, false, true},        {"trusted.afr.v", 0, 12, false, false},
                {"trusted.afr.w-client-1", 0, 12, false, false}, {"trusted.afr.dirty-more", 0, 12, true, false},
                {"trusted.ec.dirty", 0, 12, false, true},      {"trusted.afr.dirty", 1, 16, false, false},
                {PENDING, 1, 16, false, true},                 {PENDING, 5, 24, false, false},
                {PENDING, 4, 12, false, false},
        };
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                char name[16];
                snprintf(name, sizeof name, "f%zu", k);
                struct gfid f = fixture_file(&fx, GFID_ROOT, name, 0644);
                struct dict d = {0};
                add(&d, cases[k].name, 1, cases[k].len);
                assert_int_equal(apply(f, cases[k].kind, d), 0);
                assert_int_equal(has_entry("dirty", f), cases[k].dirty);
                assert_int_equal(has_entry("xattrop", f), cases[k].pending);
        }
}

/* Nothing is written, but the entry stays: self-heal will find nothing to do. */
static void failed_changes_leave_the_entry(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count(f, 0, 1), 0);
        assert_int_equal(count(f, 0, -1), 0);
        assert_false(has_entry("xattrop", f));
        struct dict d = {0};
        add(&d, PENDING, 1, 4);
        assert_int_equal(apply(f, 0, d), -ERANGE);
        assert_true(has_entry("xattrop", f));
        assert_int_equal(count(f, 0, 0), 0);
        assert_false(has_entry("xattrop", f));
}

static void missing_entries_are_made_again(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count(f, 0, 1), 0);
        assert_int_equal(unlink_below(pending_dir(), text_of(f)), 0);
        assert_false(has_entry("xattrop", f));
        assert_int_equal(count(f, 0, 0), 0);
        assert_true(has_entry("xattrop", f));
        assert_int_equal(unlink_below(pending_dir(), text_of(f)), 0);
        assert_int_equal(count(f, 0, 1), 0);
        assert_true(has_entry("xattrop", f));
}

static void missing_directories_are_made_again(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        remove_below(".glusterfs/indices");
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "name"), 0);
        assert_true(has_entry("xattrop", d) && has_name(d, "name"));
        assert_int_equal(fixture_stat(&fx, INDICES "xattrop").st_mode, S_IFDIR | 0600);
        assert_int_equal(fixture_stat(&fx, INDICES "entry-changes").st_mode, S_IFDIR | 0600);
        assert_int_equal(count(d, 1, 0), 0);
        assert_true(has_entry("dirty", d));
}

/* ---- a disk that refuses --------------------------------------------------------------------------------------- */

static struct disk *kernel;
static struct disk_ops refusing_ops;
static struct disk refusing = {.ops = &refusing_ops};
static struct {
        int link_error, unlink_error;
        unsigned links; /* to one base file, before it is full; 0: no limit */
        unsigned made;
} refuse;

static int refusing_link(struct disk *d, int olddir, const char *oldpath, int newdir, const char *newpath)
{
        (void)d;
        struct stat st;
        if (refuse.link_error)
                return refuse.link_error;
        if (refuse.links && disk_stat(kernel, olddir, oldpath, &st) == 0 && st.st_nlink > refuse.links)
                return -EMLINK;
        return disk_link(kernel, olddir, oldpath, newdir, newpath);
}

static int refusing_unlink(struct disk *d, int dirfd, const char *path, int flags)
{
        (void)d;
        return refuse.unlink_error ? refuse.unlink_error : disk_unlink(kernel, dirfd, path, flags);
}

static int begin_refusing(void **state)
{
        begin(state);
        kernel = fx.disk;
        refusing_ops = *kernel->ops;
        refusing_ops.link = refusing_link;
        refusing_ops.unlink = refusing_unlink;
        memset(&refuse, 0, sizeof refuse);
        fx.brick->disk = &refusing;
        return 0;
}

static int end_refusing(void **state)
{
        fx.brick->disk = kernel;
        return end(state);
}

static int64_t stored(const char *file, const char *name)
{
        uint8_t v[12] = {0};
        char path[512];
        snprintf(path, sizeof path, "%s/%s", fx.path, file);
        ssize_t n = disk_getxattr(kernel, AT_FDCWD, path, name, v, sizeof v);
        return n == sizeof v ? v[3] : n;
}

static void without_entry_nothing_is_written(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        refuse.link_error = -ENOSPC;
        assert_int_equal(count(f, 0, 1), -ENOSPC);
        assert_int_equal(stored("f", PENDING), -ENODATA);
        refuse.link_error = 0;
        assert_int_equal(count(d, 0, 1), 0);
        refuse.link_error = -EIO;
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "name"), -EIO);
        assert_int_equal(stored("d", PENDING), 1);
        assert_int_equal(count(d, 0, -1), 0);
}

static void entries_that_cannot_be_removed_stay(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count(f, 0, 1), 0);
        refuse.unlink_error = -EIO;
        assert_int_equal(count(f, 0, -1), 0);
        assert_int_equal(stored("f", PENDING), 0);
        assert_true(has_entry("xattrop", f));
        assert_true(link_count());
        refuse.unlink_error = 0;
        assert_int_equal(count(f, 0, 0), 0);
        assert_false(has_entry("xattrop", f));
        assert_false(link_count());
}

static void full_base_files_are_replaced(void **state)
{
        (void)state;
        refuse.links = 3;
        for (int k = 0; k < 8; k++) {
                char name[16];
                snprintf(name, sizeof name, "f%d", k);
                struct gfid f = fixture_file(&fx, GFID_ROOT, name, 0644);
                assert_int_equal(count(f, 0, 1), 0);
                assert_true(has_entry("xattrop", f));
        }
        assert_int_equal(count_names(INDICES "xattrop", "xattrop-"), 3);
        assert_int_equal(counted("glusterfs.xattrop_index_count"), 8);
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static void names_come_and_go(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755), f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "one"), 0);
        assert_int_equal(count_named(d, 0, ENTRY_CREATE, "one"), 0);
        assert_int_equal(count_named(d, 0, ENTRY_CREATE, "two words"), 0);
        assert_true(has_name(d, "one") && has_name(d, "two words"));
        char dir[128];
        snprintf(dir, sizeof dir, INDICES "entry-changes/%s", text_of(d));
        assert_int_equal(fixture_stat(&fx, dir).st_mode, S_IFDIR | 0600);
        assert_int_equal(count_names(INDICES "entry-changes", "entry-changes-"), 1);
        assert_int_equal(count_named(d, 0, ENTRY_DELETE, "one"), 0);
        assert_int_equal(count_named(d, 0, ENTRY_DELETE, "one"), 0);
        assert_false(has_name(d, "one"));
        ask(ENTRY_DELETE, "both");
        assert_int_equal(count_named(d, 0, ENTRY_CREATE, "both"), 0);
        assert_false(has_name(d, "both"));
        assert_int_equal(count_named(f, 0, ENTRY_CREATE, "one"), 0); /* a file has no names to note */
        assert_false(has_entry("entry-changes", f));
}

static void names_that_are_none(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        char max[257];
        memset(max, 'n', sizeof max);
        max[255] = '\0';
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, max), 0);
        assert_true(has_name(d, max));
        max[255] = 'n';
        max[256] = '\0';
        static const char *const keys[] = {ENTRY_CREATE, ENTRY_DELETE};
        for (size_t k = 0; k < ELEMENTSOF(keys); k++) {
                assert_int_equal(count_named(d, 1, keys[k], "a/b"), -EINVAL);
                assert_int_equal(count_named(d, 1, keys[k], "../../../f"), -EINVAL);
                assert_int_equal(count_named(d, 1, keys[k], "/"), -EINVAL);
                assert_int_equal(count_named(d, 1, keys[k], max), -ENAMETOOLONG);
                assert_int_equal(count_named(d, 0, keys[k], ""), 0);
                assert_int_equal(count_named(d, 0, keys[k], "."), 0);
                assert_int_equal(count_named(d, 0, keys[k], ".."), 0);
        }
        char value[12] = {0};
        assert_int_equal(count(d, 0, -1), 0); /* what was refused did not count */
        char path[512];
        snprintf(path, sizeof path, "%s/d", fx.path);
        assert_int_equal(disk_getxattr(fx.disk, AT_FDCWD, path, PENDING, value, sizeof value), sizeof value);
        assert_int_equal(value[3], 0);
}

static void purging(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755), e = fixture_dir(&fx, GFID_ROOT, "e", 0755);
        assert_int_equal(count_named(d, 2, ENTRY_CREATE, "one"), 0);
        ask(PURGE, NULL);
        assert_int_equal(count(d, 0, -1), 0); /* still pending */
        assert_true(has_name(d, "one"));
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, PURGE, 0), 0);
        assert_int_equal(count(d, 0, -1), 0); /* not wanted */
        assert_true(has_name(d, "one"));
        ask(PURGE, NULL);
        ask(ENTRY_DELETE, "one");
        assert_int_equal(count(d, 0, 0), 0);
        assert_false(has_entry("entry-changes", d));
        assert_int_equal(count_names(INDICES "entry-changes", ""), 1);

        assert_int_equal(count_named(e, 1, ENTRY_CREATE, "one"), 0);
        ask(PURGE, NULL);
        assert_int_equal(count(e, 0, -1), 0); /* not empty: under another gfid, for self-heal */
        assert_false(has_entry("entry-changes", e));
        assert_int_equal(count_names(INDICES "entry-changes", ""), 2);
        struct readdir_fop_rep rep;
        assert_int_equal(list(changes_dir(), FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(rep.op_ret, 3);
        assert_int_equal(count_named(e, 1, ENTRY_CREATE, "two"), 0);
        assert_true(has_name(e, "two") && !has_name(e, "one"));
}

/* ---- virtual directories --------------------------------------------------------------------------------------- */

static void virtual_directories(void **state)
{
        (void)state;
        struct iatt i;
        struct gfid none = {0}, dirs[] = {pending_dir(), dirty_dir(), changes_dir()};
        for (size_t k = 0; k < ELEMENTSOF(dirs); k++) {
                ask("glusterfs.index-ia-type-get-req", NULL);
                assert_int_equal(look_up(dirs[k], none, "", &i), 0);
                assert_true(gfid_equal(&i.gfid, &dirs[k]));
                assert_int_equal(i.mode, S_IFDIR | 0600);
                assert_int_equal(reply_int(&fx, "glusterfs.index-ia-type-get-rsp"), k == 2 ? 2 : 1);
                assert_int_equal(dict_get(&fx.reply, "glusterfs.index-ia-type-get-rsp")->type, DICT_UINT);
                assert_int_equal(look_up(dirs[k], none, "", &i), 0);
                assert_int_equal(fx.reply.count, 0);
                assert_int_equal(look_below(dirs[k], "name", &i), -ENOENT);
                assert_int_equal(look_below(dirs[k], text_of(fixture_new_gfid()), &i), -ENOENT);
                struct stat_fop_rep rep;
                assert_int_equal(CALL(&fx, STAT, stat, &rep, .gfid = dirs[k]), -ESTALE);
        }
        assert_int_equal(counted("glusterfs.xattrop_index_count"), 0);
        assert_int_equal(counted("glusterfs.xattrop_dirty_count"), 0);
}

static void entries_by_name(void **state)
{
        (void)state;
        struct iatt i;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count(f, 1, 1), 0);
        assert_int_equal(look_below(pending_dir(), text_of(f), &i), 0);
        assert_int_equal(i.mode, S_IFREG);
        assert_false(gfid_equal(&i.gfid, &f) || gfid_is_null(&i.gfid));
        assert_int_equal(i.nlink, 2);
        assert_int_equal(look_below(dirty_dir(), text_of(f), &i), 0);
        assert_int_equal(counted("glusterfs.xattrop_index_count"), 1);
        assert_int_equal(counted("glusterfs.xattrop_dirty_count"), 1);
        struct gfid upper = {.b = {0xab, [6] = 0x40, [8] = 0x80}};
        assert_int_equal(count(upper, 0, 1), -ESTALE);
        assert_int_equal(look_below(pending_dir(), "AB000000-0000-4000-8000-000000000000", &i), -ENOENT);
        assert_int_equal(look_below(pending_dir(), "../dirty", &i), -ENOENT);
}

static int64_t open_dir(struct gfid g)
{
        struct opendir_fop_rep rep;
        assert_int_equal(CALL(&fx, OPENDIR, opendir, &rep, .gfid = g), 0);
        return rep.fd;
}

static void listings(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        struct gfid l = fixture_symlink(&fx, GFID_ROOT, "l", "f"), gone = fixture_file(&fx, GFID_ROOT, "gone", 0644);
        const struct {
                struct gfid g;
                uint8_t type;
        } all[] = {{f, DT_REG}, {d, DT_DIR}, {l, DT_LNK}, {gone, DT_UNKNOWN}};
        for (size_t k = 0; k < ELEMENTSOF(all); k++)
                assert_int_equal(count(all[k].g, 0, 1), 0);
        assert_int_equal(fixture_unlink(&fx, GFID_ROOT, "gone"), 0);
        struct gfid v = pending_dir();
        assert_null(listed(v, "f"));
        assert_non_null(listed(v, "."));
        assert_non_null(listed(v, ".."));
        for (size_t k = 0; k < ELEMENTSOF(all); k++) {
                assert_int_equal(listed(v, text_of(all[k].g))->type, DT_UNKNOWN);
                ask("get-gfid-type", NULL);
                assert_int_equal(listed(v, text_of(all[k].g))->type, all[k].type);
        }
        struct readdir_fop_rep rep;
        assert_int_equal(list(v, FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(rep.op_ret, 6); /* no base file */
        assert_int_equal(list(v, FD_ANONYMOUS, 0, 200, &rep), 0);
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(rep.op_errno, 0);
}

#define MANY 100

/* Piece by piece, on a descriptor and without: every entry once. */
static void long_listings(void **state)
{
        (void)state;
        for (int k = 0; k < MANY; k++) {
                char name[16];
                snprintf(name, sizeof name, "f%d", k);
                assert_int_equal(count(fixture_file(&fx, GFID_ROOT, name, 0644), 0, 1), 0);
        }
        struct gfid v = pending_dir();
        const int64_t fds[] = {open_dir(v), FD_ANONYMOUS};
        for (size_t way = 0; way < ELEMENTSOF(fds); way++) {
                uint64_t offset = 0;
                int seen = 0;
                struct readdir_fop_rep rep;
                do {
                        assert_int_equal(list(v, fds[way], offset, 2000, &rep), 0);
                        seen += rep.op_ret;
                        if (rep.op_ret > 0)
                                offset = rep.reply.v[rep.op_ret - 1].off;
                } while (rep.op_errno != ENOENT);
                assert_int_equal(seen, MANY + 2);
        }
}

static void descriptors_only_list(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), v = pending_dir();
        assert_int_equal(count(f, 0, 1), 0);
        int64_t fd = open_dir(v);
        struct readdir_fop_rep rep;
        struct readdirp_fop_rep plus;
        struct fstat_fop_rep fstat;
        struct fsetxattr_fop_rep set;
        struct fxattrop_fop_rep change;
        struct fsyncdir_fop_rep sync;
        struct dict d = {0};
        add(&d, PENDING, 1, 12);
        assert_int_equal(list(v, fd, 0, 4096, &rep), 0);
        assert_int_equal(rep.op_ret, 3);
        assert_int_equal(CALL(&fx, READDIRP, readdirp, &plus, .gfid = v, .fd = fd, .size = 4096), -EINVAL);
        assert_int_equal(CALL(&fx, READDIRP, readdirp, &plus, .gfid = v, .fd = FD_ANONYMOUS, .size = 4096), -ENOENT);
        assert_int_equal(CALL(&fx, FSTAT, fstat, &fstat, .gfid = v, .fd = fd), -EINVAL);
        assert_int_equal(CALL(&fx, FSETXATTR, fsetxattr, &set, .gfid = v, .fd = fd, .dict = d), -EINVAL);
        assert_int_equal(CALL(&fx, FXATTROP, fxattrop, &change, .gfid = v, .fd = fd, .dict = d), -EINVAL);
        assert_int_equal(CALL(&fx, FSYNCDIR, fsyncdir, &sync, .gfid = v, .fd = fd), -EINVAL);
        assert_int_equal(list(GFID_ROOT, fd, 0, 4096, &rep), -EINVAL);
        int64_t other = fixture_dirfd(&fx, GFID_ROOT);
        assert_int_equal(list(v, other, 0, 4096, &rep), -EBADF);
        struct releasedir_fop_rep release;
        assert_int_equal(CALL(&fx, RELEASEDIR, releasedir, &release, .gfid = v, .fd = fd), 0);
        assert_int_equal(list(v, fd, 0, 4096, &rep), -EBADF);
}

static void directories_of_names(void **state)
{
        (void)state;
        struct iatt i, again, name;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755), none = {0};
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "one"), 0);
        assert_int_equal(count_named(d, 0, ENTRY_CREATE, "two"), 0);
        assert_int_equal(look_below(changes_dir(), text_of(d), &i), 0);
        assert_int_equal(i.mode, S_IFDIR | 0600);
        assert_int_equal(look_below(changes_dir(), text_of(d), &again), 0);
        assert_true(gfid_equal(&i.gfid, &again.gfid) && !gfid_equal(&i.gfid, &d));
        assert_int_equal(look_up(i.gfid, none, "", &again), 0);
        assert_int_equal(again.mode, S_IFDIR | 0600);
        assert_int_equal(look_below(i.gfid, "one", &name), 0);
        assert_int_equal(name.mode, S_IFREG);
        assert_int_equal(look_below(i.gfid, "three", &name), -ENOENT);
        struct readdir_fop_rep rep;
        int64_t fd = open_dir(i.gfid);
        assert_int_equal(list(i.gfid, fd, 0, 4096, &rep), 0);
        assert_int_equal(rep.op_ret, 4);
        assert_non_null(listed(i.gfid, "one"));
        assert_int_equal(unlink_below(i.gfid, "three"), -ENOENT);
        assert_int_equal(unlink_below(i.gfid, ".."), -EINVAL);
        assert_int_equal(unlink_below(i.gfid, "../x"), -EINVAL);
        assert_int_equal(unlink_below(i.gfid, "one"), 0);
        assert_false(has_name(d, "one"));
        assert_int_equal(rmdir_below(i.gfid, "two", true), -ENOTDIR);
        assert_int_equal(unlink_below(i.gfid, "two"), 0);
        assert_int_equal(unlink_below(changes_dir(), text_of(d)), -EPERM);
        assert_int_equal(rmdir_below(changes_dir(), text_of(d), true), 0);
        assert_int_equal(rmdir_below(changes_dir(), text_of(d), true), -ENOENT);
        assert_int_equal(look_up(i.gfid, none, "", &again), -ENOENT);
        assert_int_equal(list(i.gfid, fd, 0, 4096, &rep), -EINVAL); /* nothing is known of it any more */
}

/* What self-heal does with names that are not empty: out of sight at once, deleted by and by. */
static void whole_directories_go(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        static uint64_t now;
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "one"), 0);
        assert_int_equal(rmdir_below(changes_dir(), text_of(d), true), 0);
        assert_false(has_entry("entry-changes", d));
        assert_int_equal(count_names(".glusterfs/landfill", ""), 1);
        brick_purge(fx.brick, now += 60 * NS_PER_SEC);
        assert_int_equal(count_names(".glusterfs/landfill", ""), 0);
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "two"), 0);
        assert_int_equal(rmdir_below(changes_dir(), text_of(d), false), 0); /* kept under another gfid (observed) */
        assert_false(has_entry("entry-changes", d));
        assert_int_equal(count_names(".glusterfs/landfill", ""), 0);
        assert_int_equal(count_names(INDICES "entry-changes", ""), 2);
}

static void removals(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(count(f, 1, 1), 0);
        assert_int_equal(rmdir_below(pending_dir(), text_of(f), true), -ENOTDIR);
        assert_int_equal(unlink_below(pending_dir(), text_of(f)), 0);
        assert_int_equal(unlink_below(pending_dir(), text_of(f)), -ENOENT);
        assert_true(has_entry("dirty", f));
        static const char *const bad[] = {"",
                                          ".",
                                          "..",
                                          "name",
                                          "../dirty",
                                          "xattrop-00000000-0000-4000-8000-000000000000",
                                          "00000000-0000-4000-8000-00000000000",
                                          "00000000-0000-4000-8000-0000000000000",
                                          "../dirty/00000000-0000-4000-8000-000000000000",
                                          "AB000000-0000-4000-8000-000000000000"};
        for (size_t k = 0; k < ELEMENTSOF(bad); k++) {
                assert_int_equal(unlink_below(pending_dir(), bad[k]), -EINVAL);
                assert_int_equal(rmdir_below(changes_dir(), bad[k], true), -EINVAL);
                assert_int_equal(rmdir_below(changes_dir(), bad[k], false), -EINVAL);
        }
        struct mkdir_fop_rep mkdir;
        struct gfid g = fixture_new_gfid();
        assert_int_equal(dict_add_gfid(&fx.xdata, &fx.arena, "gfid-req", &g), 0);
        assert_int_equal(CALL(&fx, MKDIR, mkdir, &mkdir, .pargfid = pending_dir(), .bname = STR("x"), .mode = 0755),
                         -ESTALE);
}

static void only_root_may(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), v = pending_dir();
        assert_int_equal(count(f, 0, 1), 0);
        fixture_be(&fx, 1000, 1000, 1000);
        struct opendir_fop_rep open;
        struct readdir_fop_rep rep;
        assert_int_equal(CALL(&fx, OPENDIR, opendir, &open, .gfid = v), -EACCES);
        assert_int_equal(list(v, FD_ANONYMOUS, 0, 4096, &rep), -EACCES);
        assert_int_equal(unlink_below(v, text_of(f)), -EACCES);
        assert_int_equal(rmdir_below(v, text_of(f), true), -EACCES);
        fx.cred.pid = PID_SELF_HEAL;
        assert_int_equal(list(v, FD_ANONYMOUS, 0, 4096, &rep), 0);
        assert_int_equal(unlink_below(v, text_of(f)), 0);
}

/* ---- what is pending? ------------------------------------------------------------------------------------------ */

static void link_counts(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), g = fixture_file(&fx, GFID_ROOT, "g", 0644);
        assert_false(link_count());
        assert_int_equal(count(f, 1, 0), 0);
        assert_false(link_count()); /* dirty alone is not pending */
        assert_int_equal(count(f, -1, 1), 0);
        assert_true(link_count());
        struct fstat_fop_rep fstat;
        ask("link-count", "glusterfs.xattrop_index_count");
        assert_int_equal(CALL(&fx, FSTAT, fstat, &fstat, .gfid = f, .fd = FD_ANONYMOUS), 0);
        assert_int_equal(reply_int(&fx, "link-count"), 1);
        assert_int_equal(dict_get(&fx.reply, "link-count")->type, DICT_INT);
        assert_int_equal(count(g, 0, 1), 0);
        assert_int_equal(count(f, 0, -1), 0);
        assert_true(link_count());
        assert_int_equal(unlink_below(pending_dir(), text_of(g)), 0);
        assert_false(link_count());
        struct lookup_fop_rep rep;
        ask("link-count", "something else");
        assert_int_equal(CALL(&fx, LOOKUP, lookup, &rep, .gfid = GFID_ROOT), 0);
        assert_false(dict_has(&fx.reply, "link-count"));
}

/* Somebody puts entries there, or takes them away, by hand: seen when self-heal comes by. */
static void entries_made_by_hand(void **state)
{
        (void)state;
        char path[256];
        struct readdir_fop_rep rep;
        struct gfid g = fixture_new_gfid();
        assert_false(link_count());
        snprintf(path, sizeof path, "%s/" INDICES "xattrop/%s", fx.path, text_of(g));
        assert_int_equal(mknod(path, S_IFREG, 0), 0);
        assert_int_equal(list(pending_dir(), FD_ANONYMOUS, 0, 4096, &rep), 0);
        assert_true(link_count());
        assert_int_equal(unlink(path), 0);
        assert_int_equal(list(pending_dir(), FD_ANONYMOUS, 0, 4096, &rep), 0);
        assert_false(link_count());
}

/* The brick remembers what is in the index. Somebody who changes it by hand must not lose work for self-heal, nor leave
 * entries that never go.
 */
static void entries_changed_by_hand(void **state)
{
        (void)state;
        char path[256];
        struct readdir_fop_rep rep;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), g = fixture_file(&fx, GFID_ROOT, "g", 0644);
        assert_int_equal(count(f, 0, 1), 0);
        snprintf(path, sizeof path, "%s/" INDICES "xattrop/%s", fx.path, text_of(f));
        assert_int_equal(unlink(path), 0);
        assert_int_equal(count(f, 0, 1), 0);
        assert_true(has_entry("xattrop", f));
        remove_below(INDICES "xattrop");
        assert_int_equal(count(f, 1, -1), 0); /* goes down, but is pending all the same */
        assert_true(has_entry("dirty", f));
        assert_int_equal(count(f, -1, 1), 0);
        assert_true(has_entry("xattrop", f));
        assert_int_equal(count(f, 0, -2), 0);
        assert_false(has_entry("xattrop", f));

        assert_int_equal(count(g, 0, 1), 0);
        assert_int_equal(count(g, 0, -1), 0); /* known to have no entry */
        snprintf(path, sizeof path, "%s/" INDICES "xattrop/%s", fx.path, text_of(g));
        assert_int_equal(mknod(path, S_IFREG, 0), 0);
        assert_int_equal(list(pending_dir(), FD_ANONYMOUS, 0, 4096, &rep), 0);
        assert_int_equal(count(g, 0, 0), 0); /* what self-heal does with what it finds in order */
        assert_false(has_entry("xattrop", g));
        assert_false(link_count());
}

/* ---- several at once ------------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 400

struct worker {
        pthread_t thread;
        struct gfid files[2];
        unsigned seed;
        bool wrong;
};

/* Up and down again, on files that others count as well. */
static void *work(void *arg)
{
        struct worker *w = arg;
        static const uint8_t up[12] = {[3] = 1}, down[12] = {0xff, 0xff, 0xff, 0xff};
        for (int k = 0; k < ROUNDS * 2; k++) {
                _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
                struct op op = {.brick = fx.brick,
                                .session = fx.session,
                                .fop = FOP_XATTROP,
                                .cred = &fx.cred,
                                .xdata = {.others = DICT_NULL},
                                .reply = DICT_NULL,
                                .arena = &a};
                struct xattrop_fop_req req = {.gfid = w->files[(k / 2 + (int)w->seed) % 2], .xdata = DICT_NULL};
                struct xattrop_fop_rep rep = {0};
                w->wrong |= dict_add_ptr(&req.dict, &a, PENDING, k % 2 ? down : up, 12) < 0;
                w->wrong |= fop_xattrop(&op, &req, &rep) < 0;
                w->wrong |= k % 2 == 0 && !index_pending(fx.brick);
        }
        return NULL;
}

static void many_count_at_once(void **state)
{
        (void)state;
        struct worker w[THREADS] = {0};
        struct gfid files[] = {fixture_file(&fx, GFID_ROOT, "f", 0644), fixture_file(&fx, GFID_ROOT, "g", 0644)};
        for (unsigned k = 0; k < THREADS; k++) {
                memcpy(w[k].files, files, sizeof files);
                w[k].seed = k;
                assert_int_equal(pthread_create(&w[k].thread, NULL, work, &w[k]), 0);
        }
        for (unsigned k = 0; k < THREADS; k++) {
                pthread_join(w[k].thread, NULL);
                assert_false(w[k].wrong);
        }
        assert_false(has_entry("xattrop", files[0]) || has_entry("xattrop", files[1]));
        for (int wait = 0; link_count() && wait < 5000; wait++)
                assert_int_equal(usleep(1000), 0); /* one of the scans may have been slow */
        assert_false(link_count());
}

/* ---- the next start -------------------------------------------------------------------------------------------- */

/* Closes and opens the brick; what FX has of the old one is replaced. */
static void restart(void)
{
        struct error e = {0};
        struct brick_config config = {
                .path = fx.path, .volume = "v", .volume_id = *brick_volume_id(fx.brick), .hostname = "host"};
        struct session_config session = {.client_uid = "client", .op_version = 100000};
        config.options = fx.options;
        fx.session = session_close(fx.session);
        struct gfid id = config.volume_id;
        config.volume_id = id;
        fx.brick = brick_close(fx.brick);
        if (brick_open(fx.disk, &config, &fx.brick, &e) < 0)
                fail_msg("%s", e.text);
        assert_int_equal(session_open(fx.brick, &session, &fx.session), 0);
}

static void entries_of_earlier_runs(void **state)
{
        (void)state;
        struct iatt i;
        struct readdir_fop_rep rep;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        assert_int_equal(count(f, 1, 1), 0);
        assert_int_equal(count_named(d, 1, ENTRY_CREATE, "name"), 0);
        assert_int_equal(look_below(changes_dir(), text_of(d), &i), 0);
        struct gfid before[] = {pending_dir(), changes_dir(), i.gfid};
        restart();
        assert_true(link_count());
        struct gfid none = {0}, after = pending_dir();
        assert_false(gfid_equal(&before[0], &after));
        for (size_t k = 0; k < ELEMENTSOF(before); k++)
                assert_int_equal(look_up(before[k], none, "", &i), -ENOENT);
        assert_non_null(listed(after, text_of(f)));
        assert_int_equal(count(f, 1, 1), 0);
        struct gfid g = fixture_file(&fx, GFID_ROOT, "g", 0644);
        assert_int_equal(count(g, 0, 1), 0);
        assert_int_equal(count_named(d, 0, ENTRY_CREATE, "more"), 0);
        assert_int_equal(count_names(INDICES "xattrop", "xattrop-"), 2);
        assert_int_equal(count_names(INDICES "entry-changes", "entry-changes-"), 2);
        assert_int_equal(list(after, FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(count_names(INDICES "xattrop", "xattrop-"), 2); /* both are in use */
        assert_int_equal(count(f, -2, -2), 0);
        assert_int_equal(count(d, 0, -1), 0);
        assert_int_equal(count_named(d, 0, ENTRY_DELETE, "name"), 0);
        assert_int_equal(list(after, FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(list(changes_dir(), FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(count_names(INDICES "xattrop", "xattrop-"), 1);
        assert_int_equal(count_names(INDICES "entry-changes", "entry-changes-"), 1);
        assert_true(has_entry("xattrop", g) && has_name(d, "more"));
        assert_int_equal(count(g, 0, -1), 0);
        assert_int_equal(list(after, FD_ANONYMOUS, 0, 65536, &rep), 0);
        assert_int_equal(count_names(INDICES "xattrop", "xattrop-"), 1); /* this run's own stays */
        assert_false(link_count());
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define REFUSING(test) cmocka_unit_test_setup_teardown(test, begin_refusing, end_refusing)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(sequence_of_a_replicated_volume),
                WITH_BRICK(sequence_of_a_dispersed_volume),
                WITH_BRICK(entries_are_links_to_one_empty_file),
                WITH_BRICK(what_is_watched),
                WITH_BRICK(failed_changes_leave_the_entry),
                WITH_BRICK(missing_entries_are_made_again),
                WITH_BRICK(missing_directories_are_made_again),
                REFUSING(without_entry_nothing_is_written),
                REFUSING(entries_that_cannot_be_removed_stay),
                REFUSING(full_base_files_are_replaced),
                WITH_BRICK(names_come_and_go),
                WITH_BRICK(names_that_are_none),
                WITH_BRICK(purging),
                WITH_BRICK(virtual_directories),
                WITH_BRICK(entries_by_name),
                WITH_BRICK(listings),
                WITH_BRICK(long_listings),
                WITH_BRICK(descriptors_only_list),
                WITH_BRICK(directories_of_names),
                WITH_BRICK(whole_directories_go),
                WITH_BRICK(removals),
                WITH_BRICK(only_root_may),
                WITH_BRICK(link_counts),
                WITH_BRICK(entries_made_by_hand),
                WITH_BRICK(entries_changed_by_hand),
                WITH_BRICK(many_count_at_once),
                WITH_BRICK(entries_of_earlier_runs),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
