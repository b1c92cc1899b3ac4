/* The checker (brick/checker.h): every kind of damage made by hand, found, repaired, and nothing of it left; repairs that
 * fail or die half way; tables that are too small; a deep tree.
 */
#include "check.h"
#include "tree.h"

#include "brick/checker.h"

#include <sys/xattr.h>

#define TEXT_MAX 4096

static const struct gfid root = GFID_ROOT;

/* ---- the brick -----------------------------------------------------------------------------------------------------
 *
 *      file  other  pair = pair2  link -> file  fifo  empty/  dir/{inside, sub/{deep}}
 */

struct scene {
        struct harness h;
        struct gfid file, other, pair, link, fifo, empty, dir, inside, sub, deep;
};

static struct gfid file_with(struct client *c, const struct gfid *parent, const char *name, const char *text)
{
        struct gfid g = make_file(c, parent, name);
        struct write_fop_rep rep;
        struct slice data = {(const uint8_t *)text, (uint32_t)strlen(text)};
        const struct write_fop_req req = {
                .gfid = g, .fd = FD_ANONYMOUS, .size = data.len, .flag = O_SYNC, .data = data};
        assert_int_equal(CALL(c, WRITE, &req, &rep), 0);
        return g;
}

static struct gfid node(struct client *c, const char *name, mode_t mode)
{
        struct gfid g = harness_gfid(c->h);
        struct mknod_fop_rep rep;
        const struct mknod_fop_req req = {
                .pargfid = root, .mode = mode, .bname = str_of(name), .xdata = client_gfid_req(c, &g)};
        assert_int_equal(CALL(c, MKNOD, &req, &rep), 0);
        return g;
}

static struct gfid symbolic(struct client *c, const char *name, const char *target)
{
        struct gfid g = harness_gfid(c->h);
        struct symlink_fop_rep rep;
        const struct symlink_fop_req req = {
                .pargfid = root, .bname = str_of(name), .linkname = str_of(target), .xdata = client_gfid_req(c, &g)};
        assert_int_equal(CALL(c, SYMLINK, &req, &rep), 0);
        return g;
}

static void fill(struct scene *s)
{
        struct client *c = client_open(&s->h);
        c->cred.flags = TIMES_CTIME | TIMES_MTIME | TIMES_PARENT_CTIME | TIMES_PARENT_MTIME;
        s->file = file_with(c, &root, "file", "the text of file");
        s->other = file_with(c, &root, "other", "the text of other");
        s->pair = file_with(c, &root, "pair", "the text of both");
        assert_int_equal(try_link(c, &s->pair, &root, "pair2"), 0);
        s->link = symbolic(c, "link", "file");
        s->fifo = node(c, "fifo", S_IFIFO | 0644);
        s->empty = make_dir(c, &root, "empty");
        s->dir = make_dir(c, &root, "dir");
        s->inside = file_with(c, &s->dir, "inside", "the text of inside");
        s->sub = make_dir(c, &s->dir, "sub");
        s->deep = file_with(c, &s->sub, "deep", "the text of deep");
        client_close(c);
}

static void stop(struct scene *s)
{
        s->h.brick = brick_close(s->h.brick);
}

static void scene_open(struct scene *s, bool sim)
{
        *s = (struct scene){0};
        if (sim)
                harness_sim(&s->h, 1);
        else
                harness_posix(&s->h);
        fill(s);
        stop(s);
        if (sim)
                sim_disk_process_crash(s->h.sim); /* all that was done stays */
}

/* ---- asking the checker -------------------------------------------------------------------------------------------- */

/* "severity class path" of each finding, a line each, sorted. A path that contains a gfid is "HANDLE". */
struct found {
        char lines[64][200];
        size_t n;
        char text[TEXT_MAX];
};

static void take(void *arg, const struct finding *f)
{
        struct found *to = arg;
        bool below = starts_with(f->path, ".glusterfs/") && strlen(f->path) > 48;
        bool second = streq(f->path, "pair2") && f->class == FINDING_NO_HANDLE; /* which comes first is open */
        assert_true(to->n < ELEMENTSOF(to->lines));
        assert_true(strlen(f->text) > 10);
        snprintf(to->lines[to->n++], sizeof to->lines[0], "%s %s %s\n",
                 f->outcome == FINDING_REPAIRED ? "repaired" : finding_severity_word(f->severity),
                 finding_class_word(f->class), below ? "HANDLE" : second ? "pair" : f->path);
}

static int by_text(const void *a, const void *b)
{
        return strcmp(a, b);
}

static struct check_totals ask_with(const struct scene *s, struct check_config config, struct found *ret)
{
        struct check_totals t;
        struct error e = {0};
        *ret = (struct found){0};
        config.report = take;
        config.arg = ret;
        int r = brick_check(s->h.disk, s->h.path, &config, &t, &e);
        if (r < 0)
                fail_msg("brick_check: %s", e.text);
        qsort(ret->lines, ret->n, sizeof ret->lines[0], by_text);
        for (size_t k = 0; k < ret->n; k++)
                strncat(ret->text, ret->lines[k], sizeof ret->text - strlen(ret->text) - 1);
        return t;
}

static struct check_totals ask(const struct scene *s, bool repair, struct found *ret)
{
        return ask_with(s, (struct check_config){.repair = repair}, ret);
}

/* ---- making damage ------------------------------------------------------------------------------------------------- */

static const char *at(const struct scene *s, const char *name)
{
        return on_disk(&s->h, "%s", name);
}

static void drop(struct scene *s, const char *path)
{
        assert_int_equal(disk_unlink(s->h.disk, AT_FDCWD, path, 0), 0);
}

static void put(struct scene *s, const char *path, mode_t mode)
{
        assert_int_equal(disk_mknod(s->h.disk, AT_FDCWD, path, mode, 0), 0);
}

static void also(struct scene *s, const char *path, const char *more)
{
        assert_int_equal(disk_link(s->h.disk, AT_FDCWD, path, AT_FDCWD, more), 0);
}

static void attr(struct scene *s, const char *name, const char *key, const void *value, size_t len)
{
        assert_int_equal(disk_setxattr(s->h.disk, AT_FDCWD, at(s, name), key, value, len, 0), 0);
}

static void no_attr(struct scene *s, const char *name, const char *key)
{
        assert_int_equal(disk_removexattr(s->h.disk, AT_FDCWD, at(s, name), key), 0);
}

/* Removes the gfid2path attributes of NAME whose value ends in "/END"; all if END is NULL. */
static void cut_paths(struct scene *s, const char *name, const char *end)
{
        char list[4096], value[400];
        ssize_t n = disk_listxattr(s->h.disk, AT_FDCWD, at(s, name), list, sizeof list);
        assert_true(n > 0);
        for (const char *key = list; key < list + n; key += strlen(key) + 1) {
                if (!starts_with(key, "trusted.gfid2path."))
                        continue;
                ssize_t len = disk_getxattr(s->h.disk, AT_FDCWD, at(s, name), key, value, sizeof value - 1);
                assert_true(len > GFID_TEXT_LEN);
                value[len] = '\0';
                if (!end || streq(value + GFID_TEXT_LEN + 1, end))
                        no_attr(s, name, key);
        }
}

static void file_without_handle(struct scene *s)
{
        drop(s, handle_on_disk(&s->h, &s->file));
}

static void dir_without_handle(struct scene *s)
{
        drop(s, handle_on_disk(&s->h, &s->dir));
}

static void all_without_handle(struct scene *s)
{
        const struct gfid *all[] = {&s->file, &s->other, &s->pair, &s->link, &s->fifo,
                                    &s->empty, &s->dir, &s->inside, &s->sub, &s->deep};
        for (size_t k = 0; k < ELEMENTSOF(all); k++)
                drop(s, handle_on_disk(&s->h, all[k]));
}

static void dir_handle_elsewhere(struct scene *s)
{
        const char *handle = handle_on_disk(&s->h, &s->sub);
        drop(s, handle);
        assert_int_equal(disk_symlink(s->h.disk, "../../00/00/00000000-0000-0000-0000-000000000001/sub", AT_FDCWD, handle), 0);
}

static void dir_handle_is_a_file(struct scene *s)
{
        const char *handle = handle_on_disk(&s->h, &s->sub);
        drop(s, handle);
        put(s, handle, S_IFREG | 0644);
}

static void dir_handle_is_a_link(struct scene *s)
{
        const char *handle = handle_on_disk(&s->h, &s->sub);
        drop(s, handle);
        also(s, at(s, "link"), handle);
}

static void handle_of_another(struct scene *s)
{
        const char *handle = handle_on_disk(&s->h, &s->file);
        drop(s, handle);
        also(s, at(s, "other"), handle);
}

static void handle_of_nothing(struct scene *s)
{
        const char *handle = handle_on_disk(&s->h, &s->file);
        drop(s, handle);
        put(s, handle, S_IFREG | 0644);
}

static void file_without_name(struct scene *s)
{
        drop(s, at(s, "file"));
}

static void dir_without_name(struct scene *s)
{
        assert_int_equal(disk_unlink(s->h.disk, AT_FDCWD, at(s, "empty"), AT_REMOVEDIR), 0);
}

static void tree_without_name(struct scene *s)
{
        drop(s, at(s, "dir/sub/deep"));
        assert_int_equal(disk_unlink(s->h.disk, AT_FDCWD, at(s, "dir/sub"), AT_REMOVEDIR), 0);
}

static void junk_among_handles(struct scene *s)
{
        assert_int_equal(disk_mkdir(s->h.disk, AT_FDCWD, at(s, ".glusterfs/ab/ff"), 0700), 0);
        put(s, at(s, ".glusterfs/ab/ff/junk"), S_IFREG | 0644);
        put(s, at(s, ".glusterfs/ab/rubbish"), S_IFREG | 0644);
}

static void handle_in_the_wrong_place(struct scene *s)
{
        char gfid[GFID_TEXT_LEN + 1];
        assert_int_equal(disk_mkdir(s->h.disk, AT_FDCWD, at(s, ".glusterfs/01/02"), 0700), 0);
        also(s, at(s, "file"), on_disk(&s->h, ".glusterfs/01/02/%s", gfid_format(&s->file, gfid)));
}

static void directory_among_handles(struct scene *s)
{
        const char *handle = handle_on_disk(&s->h, &s->fifo);
        char path[200];
        snprintf(path, sizeof path, "%.*s00", (int)strlen(handle) - 2, handle);
        assert_int_equal(disk_mkdir(s->h.disk, AT_FDCWD, path, 0700), 0);
}

static void no_gfid2path(struct scene *s)
{
        cut_paths(s, "file", NULL);
}

static void one_gfid2path_of_two(struct scene *s)
{
        cut_paths(s, "pair", "pair2");
}

static const char stale_key[] = "trusted.gfid2path.0123456789abcdef";
static const char stale_value[] = "00000000-0000-0000-0000-000000000001/gone";

static void stale_gfid2path(struct scene *s)
{
        attr(s, "file", stale_key, stale_value, sizeof stale_value - 1);
}

static void stale_gfid2path_of_two(struct scene *s)
{
        attr(s, "pair", stale_key, stale_value, sizeof stale_value - 1);
}

static void stale_gfid2path_only(struct scene *s)
{
        no_gfid2path(s);
        stale_gfid2path(s);
}

static void wrong_gfid2path(struct scene *s)
{
        char list[4096];
        assert_true(disk_listxattr(s->h.disk, AT_FDCWD, at(s, "file"), list, sizeof list) > 0);
        const char *key = list;
        while (!starts_with(key, "trusted.gfid2path."))
                key += strlen(key) + 1;
        attr(s, "file", key, "nonsense", 8);
}

static void name_removed_behind(struct scene *s)
{
        drop(s, at(s, "pair2"));
}

static void file_without_gfid(struct scene *s)
{
        no_attr(s, "file", "trusted.gfid");
}

static void new_without_gfid(struct scene *s)
{
        put(s, at(s, "copied"), S_IFREG | 0644);
        assert_int_equal(disk_mkdir(s->h.disk, AT_FDCWD, at(s, "made"), 0755), 0);
        put(s, at(s, "made/below"), S_IFREG | 0644);
}

static void bad_gfid(struct scene *s)
{
        put(s, at(s, "bad"), S_IFREG | 0644);
        attr(s, "bad", "trusted.gfid", "short", 5);
}

static void same_gfid(struct scene *s)
{
        put(s, at(s, "copy"), S_IFREG | 0644);
        attr(s, "copy", "trusted.gfid", s->file.b, 16);
}

static void same_gfid_without_handle(struct scene *s)
{
        same_gfid(s);
        file_without_handle(s);
}

static void same_gfid_dir(struct scene *s)
{
        assert_int_equal(disk_mkdir(s->h.disk, AT_FDCWD, at(s, "copy"), 0755), 0);
        attr(s, "copy", "trusted.gfid", s->dir.b, 16);
}

static void gfid_of_the_root(struct scene *s)
{
        put(s, at(s, "copy"), S_IFREG | 0644);
        attr(s, "copy", "trusted.gfid", root.b, 16);
}

static void link_outside(struct scene *s)
{
        also(s, at(s, "file"), "/outside");
}

static void only_link_outside(struct scene *s)
{
        link_outside(s);
        drop(s, at(s, "file"));
}

static void bad_attributes(struct scene *s)
{
        attr(s, "file", "trusted.glusterfs.mdata", "\1short", 6);
        attr(s, "other", "trusted.afr.dirty", "1234567", 8);
        attr(s, "dir", "trusted.glusterfs.dht", "123", 4);
        attr(s, "fifo", "trusted.glusterfs.dht.linkto", "no-nul", 6);
        attr(s, "empty", "trusted.glusterfs.volume-id", root.b, 16);
}

static void pending_not_indexed(struct scene *s)
{
        static const uint8_t none[12], one[12] = {[3] = 1};
        attr(s, "file", "trusted.afr.v-client-1", one, sizeof one);
        attr(s, "other", "trusted.afr.v-client-1", none, sizeof none);
        attr(s, "dir", "trusted.afr.dirty", one, sizeof one);
}

static void pending_indexed(struct scene *s)
{
        static const uint8_t one[12] = {[3] = 1};
        char gfid[GFID_TEXT_LEN + 1];
        attr(s, "file", "trusted.afr.v-client-1", one, sizeof one);
        put(s, on_disk(&s->h, ".glusterfs/indices/xattrop/%s", gfid_format(&s->file, gfid)), S_IFREG);
        put(s, at(s, ".glusterfs/indices/xattrop/xattrop-01234567-0123-0123-0123-0123456789ab"), S_IFREG);
}

static void index_of_nothing(struct scene *s)
{
        put(s, at(s, ".glusterfs/indices/xattrop/01234567-0123-0123-0123-0123456789ab"), S_IFREG);
}

static void removed_and_open(struct scene *s)
{
        char gfid[GFID_TEXT_LEN + 1];
        assert_int_equal(disk_rename(s->h.disk, AT_FDCWD, handle_on_disk(&s->h, &s->file), AT_FDCWD,
                                     on_disk(&s->h, ".glusterfs/unlink/%s", gfid_format(&s->file, gfid)), 0), 0);
        drop(s, at(s, "file"));
}

static void removed_and_open_with_name(struct scene *s)
{
        char gfid[GFID_TEXT_LEN + 1];
        assert_int_equal(disk_rename(s->h.disk, AT_FDCWD, handle_on_disk(&s->h, &s->file), AT_FDCWD,
                                     on_disk(&s->h, ".glusterfs/unlink/%s", gfid_format(&s->file, gfid)), 0), 0);
}

static void tree_in_landfill(struct scene *s)
{
        char gfid[GFID_TEXT_LEN + 1];
        assert_int_equal(disk_rename(s->h.disk, AT_FDCWD, at(s, "dir"), AT_FDCWD,
                                     on_disk(&s->h, ".glusterfs/landfill/%s", gfid_format(&s->dir, gfid)), 0), 0);
}

static void root_without_gfid(struct scene *s)
{
        assert_int_equal(disk_removexattr(s->h.disk, AT_FDCWD, s->h.path, "trusted.gfid"), 0);
}

static void root_with_another_gfid(struct scene *s)
{
        assert_int_equal(disk_setxattr(s->h.disk, AT_FDCWD, s->h.path, "trusted.gfid", s->file.b, 16, 0), 0);
}

static void root_without_volume_id(struct scene *s)
{
        assert_int_equal(disk_removexattr(s->h.disk, AT_FDCWD, s->h.path, "trusted.glusterfs.volume-id"), 0);
}

static void root_without_handle(struct scene *s)
{
        drop(s, handle_on_disk(&s->h, &root));
}

static void root_handle_elsewhere(struct scene *s)
{
        drop(s, handle_on_disk(&s->h, &root));
        assert_int_equal(disk_symlink(s->h.disk, "../..", AT_FDCWD, handle_on_disk(&s->h, &root)), 0);
}

static void no_dot_glusterfs(struct scene *s)
{
        all_without_handle(s);
        assert_int_equal(disk_rename(s->h.disk, AT_FDCWD, at(s, ".glusterfs"), AT_FDCWD, "/away", 0), 0);
}

static void older_release(struct scene *s)
{
        static const char *const names[] = {"file", "other", "dir/inside"};
        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                no_attr(s, names[k], "trusted.glusterfs.mdata");
                cut_paths(s, names[k], NULL);
        }
}

static void nothing(struct scene *s)
{
        (void)s;
}

/* ---- the table ----------------------------------------------------------------------------------------------------- */

struct damage {
        const char *name;
        void (*make)(struct scene *s);
        const char *found;    /* without repair */
        const char *repaired; /* what the repair says; NULL: it finds nothing to do */
        const char *after;    /* what is found then; NULL: as before when nothing was repaired, else nothing */
        bool sim_only;        /* leaves something outside the brick */
        bool kept;            /* a client sees the same as before the damage once it is repaired */
};

static const struct damage damages[] = {
        {"nothing", nothing, "", .kept = true},
        {"an older release's attributes", older_release, "", .kept = true},
        {"a file without handle", file_without_handle, "repairable no-handle file\n", "repaired no-handle file\n", .kept = true},
        {"a directory without handle", dir_without_handle, "repairable no-handle dir\n", "repaired no-handle dir\n", .kept = true},
        {"no handles at all", all_without_handle,
         "repairable no-handle dir\nrepairable no-handle dir/inside\nrepairable no-handle dir/sub\n"
         "repairable no-handle dir/sub/deep\nrepairable no-handle empty\nrepairable no-handle fifo\n"
         "repairable no-handle file\nrepairable no-handle link\nrepairable no-handle other\nrepairable no-handle pair\n"
         "repairable no-handle pair\n",
         "repaired no-handle dir\nrepaired no-handle dir/inside\nrepaired no-handle dir/sub\n"
         "repaired no-handle dir/sub/deep\nrepaired no-handle empty\nrepaired no-handle fifo\n"
         "repaired no-handle file\nrepaired no-handle link\nrepaired no-handle other\nrepaired no-handle pair\n",
         .kept = true},
        {"a directory's handle that says another place", dir_handle_elsewhere, "repairable wrong-handle dir/sub\n",
         "repaired wrong-handle dir/sub\n", .kept = true},
        {"a file as a directory's handle", dir_handle_is_a_file, "repairable wrong-handle dir/sub\n",
         "note lost+found HANDLE\nrepaired wrong-handle dir/sub\n", "note lost+found HANDLE\n", .kept = true},
        {"a symbolic link as a directory's handle", dir_handle_is_a_link,
         "repairable wrong-handle dir/sub\n", "repaired wrong-handle dir/sub\n", "", .kept = true},
        {"another file as handle", handle_of_another, "repairable wrong-handle file\n",
         "repaired wrong-handle file\n", .kept = true},
        {"a file without gfid as handle", handle_of_nothing, "repairable wrong-handle file\n",
         "note lost+found HANDLE\nrepaired wrong-handle file\n", "note lost+found HANDLE\n", .kept = true},
        {"a handle without name", file_without_name, "repairable orphan-handle HANDLE\n", "note lost+found HANDLE\nrepaired orphan-handle HANDLE\n",
         "note lost+found HANDLE\n"},
        {"a directory's handle without directory", dir_without_name, "repairable dangling-handle HANDLE\n",
         "repaired dangling-handle HANDLE\n"},
        {"handles of a tree that is gone", tree_without_name,
         "repairable dangling-handle HANDLE\nrepairable orphan-handle HANDLE\n",
         "note lost+found HANDLE\nrepaired dangling-handle HANDLE\nrepaired orphan-handle HANDLE\n", "note lost+found HANDLE\n"},
        {"junk among the handles", junk_among_handles,
         "repairable misplaced .glusterfs/ab/ff/junk\nrepairable misplaced .glusterfs/ab/rubbish\n",
         "note lost+found .glusterfs/lost+found/junk\nnote lost+found .glusterfs/lost+found/rubbish\n"
         "repaired misplaced .glusterfs/ab/ff/junk\nrepaired misplaced .glusterfs/ab/rubbish\n",
         "note lost+found .glusterfs/lost+found/junk\nnote lost+found .glusterfs/lost+found/rubbish\n", .kept = true},
        {"a handle in the wrong place", handle_in_the_wrong_place, "repairable misplaced HANDLE\n",
         "repaired misplaced HANDLE\n", .kept = true},
        {"a directory among the handles", directory_among_handles, "repairable misplaced HANDLE\n",
         "note lost+found HANDLE\nrepaired misplaced HANDLE\n", "note lost+found HANDLE\n", .kept = true},
        {"no gfid2path", no_gfid2path, "", .kept = true},
        {"one gfid2path of two", one_gfid2path_of_two, "note part-gfid2path pair2\n", "repaired part-gfid2path pair2\n", .kept = true},
        {"a stale gfid2path", stale_gfid2path, "repairable gfid2path file\n", "repaired gfid2path file\n", .kept = true},
        {"a stale gfid2path of a file with two names", stale_gfid2path_of_two, "repairable gfid2path HANDLE\n",
         "repaired gfid2path HANDLE\n", .kept = true},
        {"nothing but a stale gfid2path", stale_gfid2path_only, "repairable gfid2path file\n", "repaired gfid2path file\n",
         .kept = true},
        {"a gfid2path with a wrong value", wrong_gfid2path, "repairable gfid2path file\n", "repaired gfid2path file\n", .kept = true},
        {"one of two names removed", name_removed_behind, "repairable gfid2path pair\n", "repaired gfid2path pair\n"},
        {"a file that lost its gfid", file_without_gfid, "error misplaced HANDLE\nnote no-gfid file\n"},
        {"names that never had a gfid", new_without_gfid, "note no-gfid copied\nnote no-gfid made\nnote no-gfid made/below\n"},
        {"a gfid of five bytes", bad_gfid, "error bad-gfid bad\n"},
        {"a copy with the gfid", same_gfid, "error same-gfid copy\n"},
        {"a copy with the gfid, no handle", same_gfid_without_handle, "error same-gfid copy\nerror same-gfid file\n"},
        {"a copy of a directory with its gfid", same_gfid_dir, "error same-gfid copy\n"},
        {"a copy with the gfid of the root", gfid_of_the_root, "error same-gfid copy\n"},
        {"a link outside the brick", link_outside, "error link-count HANDLE\n", .sim_only = true},
        {"the only name outside the brick", only_link_outside, "error link-count HANDLE\n", .sim_only = true},
        {"attributes of impossible shape", bad_attributes,
         "error bad-attribute dir\nerror bad-attribute empty\nerror bad-attribute fifo\nerror bad-attribute file\n"
         "error bad-attribute other\n"},
        {"pending changes without index", pending_not_indexed, "note not-indexed dir\nnote not-indexed file\n"},
        {"pending changes", pending_indexed, ""},
        {"an index entry of nothing", index_of_nothing, "note stale-index HANDLE\n"},
        {"a file removed while open", removed_and_open, "note leftover HANDLE\n"},
        {"a file half removed while open", removed_and_open_with_name, "note leftover HANDLE\nrepairable no-handle file\n",
         "note leftover HANDLE\nrepaired no-handle file\n", "note leftover HANDLE\n"},
        {"a tree in the landfill", tree_in_landfill, "note leftover HANDLE\n"},
        {"a root without gfid", root_without_gfid, "repairable layout .\n", "repaired layout .\n", .kept = true},
        {"a root with another gfid", root_with_another_gfid, "error root .\n"},
        {"a root without volume-id", root_without_volume_id, "error root .\n"},
        {"a root without handle", root_without_handle, "repairable layout HANDLE\n", "repaired layout HANDLE\n", .kept = true},
        {"a root's handle that leads elsewhere", root_handle_elsewhere, "repairable layout HANDLE\n",
         "repaired layout HANDLE\n", .kept = true},
        {"no .glusterfs", no_dot_glusterfs,
         "repairable layout .glusterfs\nrepairable layout HANDLE\nrepairable no-handle dir\n"
         "repairable no-handle dir/inside\nrepairable no-handle dir/sub\nrepairable no-handle dir/sub/deep\n"
         "repairable no-handle empty\nrepairable no-handle fifo\nrepairable no-handle file\nrepairable no-handle link\n"
         "repairable no-handle other\nrepairable no-handle pair\nrepairable no-handle pair\n",
         "repaired layout .glusterfs\nrepaired layout HANDLE\nrepaired no-handle dir\nrepaired no-handle dir/inside\n"
         "repaired no-handle dir/sub\nrepaired no-handle dir/sub/deep\nrepaired no-handle empty\n"
         "repaired no-handle fifo\nrepaired no-handle file\nrepaired no-handle link\nrepaired no-handle other\n"
         "repaired no-handle pair\n",
         .sim_only = true, .kept = true},
};

/* ---- found, repaired, gone ----------------------------------------------------------------------------------------- */

static void expect(const struct damage *d, const char *when, const struct found *have, const char *want)
{
        if (!streq(have->text, want))
                fail_msg("%s, %s: found\n%sinstead of\n%s", d->name, when, have->text, want);
}

static const char *expected_after(const struct damage *d)
{
        return d->after ? d->after : d->repaired ? "" : d->found;
}

static size_t count_words(const char *text, const char *word)
{
        size_t n = 0;
        for (const char *at = text; (at = strstr(at, word)); at++)
                n++;
        return n;
}

/* A client sees what it saw before, and the other checker has nothing to say. */
static void expect_kept(const struct damage *d, struct scene *s, const struct tree *before)
{
        static struct tree now;
        harness_reopen(&s->h);
        tree_take(&s->h, &now);
        if (tree_compare(&now, before, NULL, 0) != 0)
                fail_msg("%s: a client sees something else after the repair", d->name);
}

static void take_before(struct scene *s, struct tree *before)
{
        harness_reopen(&s->h);
        tree_take(&s->h, before);
        stop(s);
}

static void damage_is_found_and_repaired(const struct damage *d, bool sim)
{
        static struct tree before;
        static struct found f;
        struct scene s;
        scene_open(&s, sim);
        take_before(&s, &before);
        d->make(&s);
        size_t errors = count_words(d->found, "error "), repairable = count_words(d->found, "repairable ");
        struct check_totals t = ask(&s, false, &f);
        expect(d, "first look", &f, d->found);
        assert_int_equal(t.left, errors + repairable);
        assert_int_equal(t.found[FINDING_ERROR], errors);
        ask(&s, false, &f);
        expect(d, "second look", &f, d->found);
        t = ask(&s, true, &f);
        expect(d, "repair", &f, d->repaired ? d->repaired : d->found);
        assert_int_equal(t.left, d->repaired ? 0 : errors);
        t = ask(&s, true, &f);
        expect(d, "after the repair", &f, expected_after(d));
        assert_int_equal(t.repaired, 0);
        s.h.skip_check = !d->kept;
        if (d->kept)
                expect_kept(d, &s, &before);
        harness_close(&s.h);
}

static void every_damage_on_the_simulated_disk(void **state)
{
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(damages); k++)
                damage_is_found_and_repaired(&damages[k], true);
}

static void every_damage_on_a_real_one(void **state)
{
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(damages); k++)
                if (!damages[k].sim_only)
                        damage_is_found_and_repaired(&damages[k], false);
}

/* ---- repairs that end early ---------------------------------------------------------------------------------------- */

enum fault { FAULT_EIO, FAULT_ENOSPC, FAULT_CRASH, FAULT_POWER, FAULTS };

static void sync_all(struct scene *s)
{
        int fd = disk_open(s->h.disk, AT_FDCWD, "/synced", O_CREAT | O_RDWR, 0600);
        assert_true(fd >= 0);
        assert_int_equal(disk_sync(s->h.disk, fd, false), 0);
        assert_int_equal(disk_close(s->h.disk, fd), 0);
        sim_disk_faults_clear(s->h.sim);
}

static void arm(struct sim_disk *d, enum fault fault, uint64_t effect)
{
        if (fault <= FAULT_ENOSPC)
                sim_disk_fail_nth(d, effect, fault == FAULT_EIO ? EIO : ENOSPC);
        else
                sim_disk_stop_after(d, effect);
}

/* False: the repair has fewer effects. */
static bool repair_with_fault(const struct damage *d, enum fault fault, uint64_t effect)
{
        static struct tree before;
        static struct found f;
        struct scene s;
        struct check_totals t;
        const struct check_config config = {.repair = true};
        scene_open(&s, true);
        take_before(&s, &before);
        d->make(&s);
        sync_all(&s);
        arm(s.h.sim, fault, effect);
        (void)brick_check(s.h.disk, s.h.path, &config, &t, NULL);
        bool fired = sim_disk_fault_fired(s.h.sim);
        if (fault == FAULT_CRASH)
                sim_disk_process_crash(s.h.sim);
        else if (fault == FAULT_POWER)
                sim_disk_power_cut(s.h.sim);
        sim_disk_faults_clear(s.h.sim);
        ask(&s, true, &f);
        ask(&s, true, &f);
        expect(d, "after a repair that ended early", &f, expected_after(d));
        s.h.skip_check = !d->kept;
        if (d->kept)
                expect_kept(d, &s, &before);
        harness_close(&s.h);
        return fired;
}

static void every_effect_of_a_repair_may_fail_or_be_the_last(void **state)
{
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(damages); k++)
                for (enum fault fault = 0; damages[k].repaired && fault < FAULTS; fault++)
                        for (uint64_t effect = 1; repair_with_fault(&damages[k], fault, effect); effect++)
                                ;
}

/* ---- large and deep ------------------------------------------------------------------------------------------------ */

#define MANY 1000

static struct gfid spread_gfid(uint32_t n)
{
        uint32_t h = n * 2654435761u;
        struct gfid g = {.b = {(uint8_t)(h >> 24), (uint8_t)(h >> 16), [6] = 0x40, [8] = 0x80}};
        for (int k = 0; k < 4; k++)
                g.b[12 + k] = (uint8_t)(n >> (24 - 8 * k));
        return g;
}

static void make_many(struct scene *s)
{
        char name[32];
        harness_reopen(&s->h);
        struct client *c = client_open(&s->h);
        for (uint32_t n = 0; n < MANY; n++) {
                struct gfid g = spread_gfid(n + 1);
                snprintf(name, sizeof name, "many%u", n);
                assert_int_equal(try_mknod(c, n % 2 ? &s->dir : &root, name, &g), 0);
                snprintf(name, sizeof name, "more%u", n);
                if (n % 3 == 0)
                        assert_int_equal(try_link(c, &g, &s->sub, name), 0);
        }
        client_close(c);
        stop(s);
}

static void small_tables_take_several_walks(void **state)
{
        static struct found all, parts;
        struct scene s;
        (void)state;
        scene_open(&s, true);
        make_many(&s);
        for (uint32_t n = 7; n < MANY; n += 200) {
                struct gfid g = spread_gfid(n + 1);
                drop(&s, handle_on_disk(&s.h, &g));
        }
        stale_gfid2path_of_two(&s);
        same_gfid(&s);
        struct check_totals a = ask(&s, false, &all);
        struct check_totals b = ask_with(&s, (struct check_config){.memory = 4 * KIB}, &parts);
        assert_string_equal(all.text, parts.text);
        assert_true(a.rounds <= 2 && b.rounds > 4);
        assert_int_equal(a.files, b.files);
        assert_int_equal(a.directories, b.directories);
        assert_int_equal(a.left, b.left);
        b = ask_with(&s, (struct check_config){.memory = 4 * KIB, .repair = true}, &parts);
        assert_int_equal(b.left, 1); /* the copy */
        drop(&s, at(&s, "copy"));
        harness_close(&s.h);
}

static void a_deep_tree_is_walked_to_its_end(void **state)
{
        enum { DEPTH = 400 };
        static struct found f;
        struct scene s;
        struct gfid g[DEPTH + 1];
        (void)state;
        scene_open(&s, false);
        harness_reopen(&s.h);
        struct client *c = client_open(&s.h);
        g[0] = root;
        for (int k = 0; k < DEPTH; k++) {
                g[k + 1] = make_dir(c, &g[k], "a-directory-deep-down");
                make_file(c, &g[k + 1], "file");
                make_dir(c, &g[k + 1], "z");
        }
        client_close(c);
        stop(&s);
        drop(&s, handle_on_disk(&s.h, &g[DEPTH]));
        drop(&s, handle_on_disk(&s.h, &g[3]));
        struct check_totals t = ask(&s, true, &f);
        assert_int_equal(t.repaired, 2);
        assert_int_equal(t.left, 0);
        assert_int_equal(t.directories, 3 + 2 * DEPTH);
        harness_close(&s.h);
}

static void older_attributes_are_counted(void **state)
{
        static struct found f;
        struct scene s;
        (void)state;
        scene_open(&s, true);
        older_release(&s);
        struct check_totals t = ask(&s, false, &f);
        assert_int_equal(t.without_gfid2path, 3);
        assert_int_equal(t.without_mdata, 3);
        assert_int_equal(t.files, 6); /* one counts with both of its names */
        assert_int_equal(t.others, 2);
        s.h.skip_check = true;
        harness_close(&s.h);
}

/* ---- served, unreadable, no brick ---------------------------------------------------------------------------------- */

static void a_served_brick_is_looked_at_twice(void **state)
{
        static struct found f;
        struct scene s;
        (void)state;
        scene_open(&s, true);
        removed_and_open(&s);
        dir_without_handle(&s);
        struct check_totals t = ask_with(&s, (struct check_config){.served = true}, &f);
        assert_string_equal(f.text, "repairable no-handle dir\n"); /* an open file's remains are nothing */
        assert_int_equal(t.rounds, 2);
        s.h.skip_check = true;
        harness_close(&s.h);
}

static void what_is_no_brick_is_not_checked(void **state)
{
        struct sim_disk *sim;
        struct error e = {0};
        struct check_totals t;
        const struct check_config config = {0};
        (void)state;
        assert_int_equal(sim_disk_new(1, MIB, &sim), 0);
        struct disk *d = sim_disk_ops(sim);
        assert_int_equal(disk_mkdir(d, AT_FDCWD, "/plain", 0755), 0);
        assert_int_equal(brick_check(d, "/plain", &config, &t, &e), -ENODATA);
        assert_non_null(strstr(e.text, "not a brick"));
        assert_int_equal(brick_check(d, "/nowhere", &config, &t, &e), -ENOENT);
        sim_disk_free(sim);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_damage_on_the_simulated_disk),
                cmocka_unit_test(every_damage_on_a_real_one),
                cmocka_unit_test(every_effect_of_a_repair_may_fail_or_be_the_last),
                cmocka_unit_test(small_tables_take_several_walks),
                cmocka_unit_test(a_deep_tree_is_walked_to_its_end),
                cmocka_unit_test(older_attributes_are_counted),
                cmocka_unit_test(a_served_brick_is_looked_at_twice),
                cmocka_unit_test(what_is_no_brick_is_not_checked),
        };
        return cmocka_run_group_tests_name("brick/check", tests, NULL, NULL);
}
