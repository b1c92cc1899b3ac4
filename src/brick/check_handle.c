/* The walk over all handles (check.h; spec: brick.md §2.3). It comes after the walk over all names: a handle that was
 * right for a name is known and costs nothing more; the others are looked at.
 *
 * A repair here never takes the last link of an object away: it goes to .glusterfs/lost+found. One thread.
 */
#include "brick/check.h"
#include "brick/cache.h"
#include "brick/names.h"

#include <inttypes.h>

/* ---- repairs ------------------------------------------------------------------------------------------------------- */

static bool is_bare_symlink(struct checker *c, const char *path, const struct stat *st)
{
        return S_ISLNK(st->st_mode) && disk_getxattr(c->b.disk, c->b.root_fd, path, XATTR_GFID, NULL, 0) == -ENODATA;
}

/* Its last part in lost+found; with the inode number if that name is taken. */
static int move_to_lost_found(struct checker *c, const char *path, const struct stat *st)
{
        const char *slash = strrchr(path, '/');
        char to[sizeof LOST_FOUND_DIR + NAME_LIMIT + 32];
        int r = disk_mkdir(c->b.disk, c->b.root_fd, LOST_FOUND_DIR, 0700);
        if (r < 0 && r != -EEXIST)
                return r;
        (void)snprintf(to, sizeof to, LOST_FOUND_DIR "/%s", slash ? slash + 1 : path);
        r = disk_rename(c->b.disk, c->b.root_fd, path, c->b.root_fd, to, RENAME_NOREPLACE);
        if (r != -EEXIST)
                return r;
        (void)snprintf(to, sizeof to, LOST_FOUND_DIR "/%" PRIu64 "-%s", (uint64_t)st->st_ino, slash ? slash + 1 : path);
        return disk_rename(c->b.disk, c->b.root_fd, path, c->b.root_fd, to, RENAME_NOREPLACE);
}

int check_put_aside(struct checker *c, const char *path)
{
        struct stat st;
        int r = disk_stat(c->b.disk, c->b.root_fd, path, &st);
        if (r < 0)
                return r;
        if ((!S_ISDIR(st.st_mode) && st.st_nlink > 1) || is_bare_symlink(c, path, &st))
                return disk_unlink(c->b.disk, c->b.root_fd, path, 0);
        return move_to_lost_found(c, path, &st);
}

static int fix_aside(struct checker *c, void *arg)
{
        return check_put_aside(c, arg);
}

/* ---- one handle ---------------------------------------------------------------------------------------------------- */

struct handle {
        char path[sizeof ".glusterfs/xx/yy/" + NAME_LIMIT + 1];
        struct gfid gfid; /* null: the name is none, or it is in the wrong place */
        struct stat st;
};

/* A symbolic link without gfid is the handle of a directory, and no directory has it. */
static void judge_dir_link(struct checker *c, struct handle *h)
{
        char target[600];
        ssize_t n = disk_readlink(c->b.disk, c->b.root_fd, h->path, target, sizeof target - 1);
        target[MAX(n, 0)] = '\0';
        if (!c->totals.incomplete)
                check_found(c, FINDING_DANGLING, h->path, &h->gfid, fix_aside, h->path,
                            "the handle of a directory that does not exist: it leads to \"%s\"", target);
}

static void judge_file_link(struct checker *c, struct handle *h)
{
        if (h->st.st_nlink == 1)
                check_found(c, FINDING_ORPHAN, h->path, &h->gfid, fix_aside, h->path,
                            "the object has no name any more; it has %lld bytes that may be the last copy",
                            (long long)h->st.st_size);
        else if (!c->totals.incomplete)
                check_found(c, FINDING_LINKS, h->path, &h->gfid, NULL, NULL,
                            "%lu links, but no name in the brick (find / -xdev -inum %" PRIu64 " shows them)",
                            (unsigned long)h->st.st_nlink, (uint64_t)h->st.st_ino);
}

/* The other links, if any, are names that lost their gfid. */
static void judge_without_gfid(struct checker *c, struct handle *h)
{
        check_found(c, FINDING_MISPLACED, h->path, &h->gfid, h->st.st_nlink == 1 ? fix_aside : NULL, h->path,
                    "the handle is an object without gfid; it may be this one that it has lost (find BRICK -inum %" PRIu64 ")",
                    (uint64_t)h->st.st_ino);
}

/* No handle of what it is a link of. */
static void judge_misplaced(struct checker *c, struct handle *h, const char *text)
{
        const struct gfid *g = gfid_is_null(&h->gfid) ? NULL : &h->gfid;
        if (!check_found(c, FINDING_MISPLACED, h->path, g, fix_aside, h->path, "%s", text) && !S_ISDIR(h->st.st_mode) &&
            h->st.st_nlink > 1)
                check_spare(c, h->st.st_ino);
}

/* The walk over names has found that the handle of this gfid is not its object; what is it a link of? */
static void judge_wrong(struct checker *c, const struct handle *h)
{
        struct stat st;
        if (disk_stat(c->b.disk, c->b.root_fd, h->path, &st) == 0 && st.st_nlink > 1 && !S_ISDIR(st.st_mode))
                check_spare(c, st.st_ino);
}

/* What no name of the tree accounts for. */
static void judge_unknown(struct checker *c, struct handle *h)
{
        struct place at = {.dirfd = c->b.root_fd};
        struct gfid own;
        int r = disk_stat(c->b.disk, c->b.root_fd, h->path, &h->st);
        if (r < 0) {
                check_failed(c, h->path, r, "stat");
                return;
        }
        memcpy(at.path, h->path, MIN(sizeof at.path, sizeof h->path));
        if (gfid_is_null(&h->gfid) || S_ISDIR(h->st.st_mode)) {
                judge_misplaced(c, h, "it is no handle, or not in its place");
                return;
        }
        r = gfid_read(&c->b, &at, &own);
        if (r == -ENODATA && S_ISLNK(h->st.st_mode))
                judge_dir_link(c, h);
        else if (r == -ENODATA || r == -EUCLEAN)
                judge_without_gfid(c, h);
        else if (r < 0)
                check_failed(c, h->path, r, "reading " XATTR_GFID);
        else if (!gfid_equal(&own, &h->gfid))
                judge_misplaced(c, h, "the handle is a link of another object");
        else
                judge_file_link(c, h);
}

/* ---- the walk ------------------------------------------------------------------------------------------------------ */

struct hash_dir {
        char path[sizeof ".glusterfs/xx/yy"];
        char digits[5];
};

static bool is_accounted_for(const struct checker *c, const struct gfid *g)
{
        uint64_t mark = gfid_mark(g);
        return table_has_u64(&c->known, mark) || table_has_u64(&c->removed, mark) || table_has_gfid(&c->twice, g);
}

static void judge_entry(struct checker *c, int fd, const char *name, void *arg)
{
        const struct hash_dir *dir = arg;
        struct handle h = {0};
        (void)fd;
        if (strlen(name) > NAME_LIMIT)
                return;
        if (gfid_parse(name, strlen(name), &h.gfid) < 0 || strncmp(name, dir->digits, 2) != 0 ||
            strncmp(name + 2, dir->digits + 2, 2) != 0)
                h.gfid = (struct gfid){0};
        else if (is_accounted_for(c, &h.gfid))
                return;
        (void)snprintf(h.path, sizeof h.path, "%s/%s", dir->path, name);
        if (table_has_gfid(&c->records, &h.gfid))
                judge_wrong(c, &h);
        else
                judge_unknown(c, &h);
}

static bool is_hex_pair(const char *s)
{
        return strlen(s) == 2 && strspn(s, "0123456789abcdef") == 2;
}

static void walk_second(struct checker *c, int fd, const char *name, void *arg)
{
        struct hash_dir dir = *(const struct hash_dir *)arg;
        char path[sizeof ".glusterfs/xx/" + NAME_LIMIT + 1];
        (void)snprintf(path, sizeof path, "%.13s/%s", dir.path, name);
        int sub = is_hex_pair(name) ? check_open_dir(c, fd, name) : -ENOTDIR;
        if (sub == -ENOTDIR)
                check_found(c, FINDING_MISPLACED, path, NULL, fix_aside, path, "it is no directory of handles");
        else if (sub < 0)
                check_failed(c, path, sub, "opening");
        if (sub < 0)
                return;
        memcpy(dir.path, path, sizeof dir.path);
        memcpy(dir.digits + 2, name, sizeof "yy");
        int r = check_each(c, sub, judge_entry, &dir);
        disk_close(c->b.disk, sub);
        if (r < 0)
                check_failed(c, path, r, "reading the directory");
}

void check_handles(struct checker *c)
{
        for (unsigned k = c->first; k <= c->last; k++) {
                struct hash_dir dir;
                (void)snprintf(dir.digits, sizeof dir.digits, "%02x", k & 0xff);
                (void)snprintf(dir.path, sizeof dir.path, ".glusterfs/%s", dir.digits);
                int fd = check_open_dir(c, c->b.root_fd, dir.path);
                if (fd < 0) {
                        check_failed(c, dir.path, fd, "opening");
                        continue;
                }
                int r = check_each(c, fd, walk_second, &dir);
                disk_close(c->b.disk, fd);
                if (r < 0)
                        check_failed(c, dir.path, r, "reading the directory");
        }
}
