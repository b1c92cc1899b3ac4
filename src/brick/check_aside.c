/* The rest of .glusterfs: what was removed and is not deleted yet, what waits for self-heal, what repairs put aside
 * (check.h; spec: brick.md §2.2, §8.8, §12.1). One thread.
 */
#include "brick/check.h"
#include "brick/cache.h"

#define UNLINK_DIR ".glusterfs/unlink"
#define LANDFILL_DIR ".glusterfs/landfill"
#define INDEX_DIR ".glusterfs/indices/"
#define SUB_PATH_MAX (NAME_LIMIT + 128)

/* Calls FN for the entries of PATH, a directory that may be missing. */
static void each_in(struct checker *c, const char *path,
                    void (*fn)(struct checker *c, int fd, const char *name, void *arg), void *arg)
{
        int fd = check_open_dir(c, c->b.root_fd, path);
        int r = fd;
        if (fd >= 0) {
                r = check_each(c, fd, fn, arg);
                disk_close(c->b.disk, fd);
        }
        if (r < 0)
                check_failed(c, path, r, "reading the directory");
}

/* ---- what was removed ---------------------------------------------------------------------------------------------- */

/* Not of interest while a brick process works: it put it there, and will delete it. */
static void note_leftover(struct checker *c, const char *dir, const char *name, const char *text)
{
        char path[SUB_PATH_MAX];
        if (c->first > 0 || c->config->served)
                return;
        (void)snprintf(path, sizeof path, "%s/%s", dir, name);
        check_found(c, FINDING_LEFTOVER, path, NULL, NULL, NULL, "%s", text);
}

static void take_unlinked(struct checker *c, int fd, const char *name, void *arg)
{
        struct stat st;
        (void)arg;
        if (disk_stat(c->b.disk, fd, name, &st) < 0)
                return;
        check_spare(c, st.st_ino);
        note_leftover(c, UNLINK_DIR, name, "a removed file that was still open; the next start of the brick deletes it");
}

static void note_landfill(struct checker *c, int fd, const char *name, void *arg)
{
        (void)fd;
        (void)arg;
        note_leftover(c, LANDFILL_DIR, name, "a removed tree; the brick deletes it some seconds after its start");
}

void check_removed(struct checker *c)
{
        struct gfid none = {0};
        each_in(c, UNLINK_DIR, take_unlinked, NULL);
        each_in(c, LANDFILL_DIR, note_landfill, NULL);
        int fd = check_open_dir(c, c->b.root_fd, LANDFILL_DIR);
        if (fd < 0)
                return;
        check_path_push(c, 0, LANDFILL_DIR);
        check_walk(c, fd, &none, true);
        check_path_cut(c, 0);
}

/* ---- the index ----------------------------------------------------------------------------------------------------- */

static void judge_index_entry(struct checker *c, int fd, const char *name, void *arg)
{
        const char *dir = arg;
        struct gfid g;
        struct stat st;
        char path[SUB_PATH_MAX];
        (void)fd;
        if (gfid_parse(name, strlen(name), &g) < 0) /* a base file, or nothing that anybody reads */
                return;
        c->totals.pending += streq(dir, "xattrop");
        if (handle_stat(&c->b, &g, &st) != -ENOENT)
                return;
        (void)snprintf(path, sizeof path, INDEX_DIR "%s/%s", dir, name);
        check_found(c, FINDING_INDEX_STALE, path, &g, NULL, NULL,
                    "the object is gone; the self-heal daemon removes the entry");
}

void check_indices(struct checker *c)
{
        static const char *const dirs[] = {"xattrop", "dirty", "entry-changes"};
        for (size_t k = 0; k < ELEMENTSOF(dirs); k++) {
                char path[SUB_PATH_MAX];
                (void)snprintf(path, sizeof path, INDEX_DIR "%s", dirs[k]);
                each_in(c, path, judge_index_entry, (void *)dirs[k]);
        }
}

/* ---- what repairs put aside ---------------------------------------------------------------------------------------- */

static void note_lost(struct checker *c, int fd, const char *name, void *arg)
{
        char path[SUB_PATH_MAX];
        (void)fd;
        (void)arg;
        (void)snprintf(path, sizeof path, LOST_FOUND_DIR "/%s", name);
        check_found(c, FINDING_LOST_FOUND, path, NULL, NULL, NULL,
                    "put aside by a repair: copy it back through a mount, or delete it");
}

void check_lost_found(struct checker *c)
{
        each_in(c, LOST_FOUND_DIR, note_lost, NULL);
}
