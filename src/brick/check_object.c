/* One name of the tree: its gfid, its handle, its links, its gfid2path attributes (check.h; spec: brick.md §2.3, §2.4).
 *
 * A file with one name and a right handle is judged at once: it has two links and one gfid2path. Of others, a record is
 * kept per name, and they are judged when all names are known. One thread.
 */
#include "brick/check.h"
#include "brick/cache.h"
#include "brick/gfid2path.h"
#include "brick/names.h"

#include <inttypes.h>
#include <xxhash.h>

/* ---- handles ------------------------------------------------------------------------------------------------------- */

static int fix_dir_handle(struct checker *c, void *arg)
{
        const struct named *n = arg;
        char path[HANDLE_PATH_MAX];
        struct stat st;
        struct gfid own;
        handle_path(&n->gfid, path);
        struct place at = {.dirfd = c->b.root_fd};
        memcpy(at.path, path, sizeof path);
        int r = disk_mkdir(c->b.disk, c->b.root_fd, ".glusterfs/unlink", 0600);
        if (r < 0 && r != -EEXIST)
                return r;
        /* A link of an object is not replaced but put away; so is the handle of a symbolic link, which has a gfid. */
        r = disk_stat(c->b.disk, c->b.root_fd, path, &st);
        if (r == 0 && (!handle_stat_is_dir(&st) || gfid_read(&c->b, &at, &own) != -ENODATA))
                r = check_put_aside(c, path);
        if (r < 0 && r != -ENOENT)
                return r;
        return handle_move_dir(&c->b, &n->gfid, &n->parent, n->at.path);
}

static void judge_dir_handle(struct checker *c, struct named *n)
{
        struct gfid parent;
        char name[NAME_LIMIT + 1], text[GFID_TEXT_LEN + 1];
        struct name_record record = {.gfid = n->gfid, .ino = n->st.st_ino, .is_dir = true};
        int r = handle_read_dir(&c->b, &n->gfid, &parent, name);
        bool right = r == 0 && gfid_equal(&parent, &n->parent) && streq(name, n->at.path);
        if (right || n->landfill || gfid_is_null(&n->parent)) {
                check_know(c, &n->gfid, n->landfill);
                return;
        }
        if (table_has_gfid(&c->twice, &n->gfid))
                check_found(c, FINDING_SAME_GFID, NULL, &n->gfid, NULL, NULL, "another object has the same gfid");
        else if (r == 0)
                right = check_found(c, FINDING_WRONG_HANDLE, NULL, &n->gfid, fix_dir_handle, n,
                                    "the directory's handle says it is \"%s\" in %s", name, gfid_format(&parent, text));
        else if (r == -ENOENT)
                right = check_found(c, FINDING_NO_HANDLE, NULL, &n->gfid, fix_dir_handle, n,
                                    "the directory has no handle: clients cannot reach it by its gfid");
        else if (r == -EINVAL)
                right = check_found(c, FINDING_WRONG_HANDLE, NULL, &n->gfid, fix_dir_handle, n,
                                    "the directory's handle is not one of a directory");
        else
                check_failed(c, NULL, r, "reading its handle");
        if (right)
                check_know(c, &n->gfid, n->landfill);
        else
                check_record(c, &record);
}

static int fix_file_handle(struct checker *c, void *arg)
{
        struct named *n = arg;
        struct stat st;
        char path[HANDLE_PATH_MAX];
        handle_path(&n->gfid, path);
        int r = disk_mkdir(c->b.disk, c->b.root_fd, ".glusterfs", 0600);
        if (r < 0 && r != -EEXIST)
                return r;
        r = disk_stat(c->b.disk, c->b.root_fd, path, &st);
        if (r == 0)
                r = check_put_aside(c, path);
        if (r < 0 && r != -ENOENT)
                return r;
        r = handle_create(&c->b, &n->gfid, &n->at, &n->st, &n->parent, n->at.path);
        return r < 0 ? r : disk_stat(c->b.disk, n->at.dirfd, n->at.path, &n->st);
}

/* The handle is a link of something else, with attributes H. It may be replaced unless it claims this gfid and has other
 * links, which somebody has to look at. */
static bool judge_other_inode(struct checker *c, struct named *n, const struct stat *h)
{
        struct place at = {.dirfd = c->b.root_fd};
        struct gfid own;
        handle_path(&n->gfid, at.path);
        bool claims = gfid_read(&c->b, &at, &own) == 0 && gfid_equal(&own, &n->gfid) && h->st_nlink > 1;
        return check_found(c, FINDING_WRONG_HANDLE, NULL, &n->gfid, claims ? NULL : fix_file_handle, n,
                           "its handle is another object: inode %" PRIu64 " with %lu links, not inode %" PRIu64,
                           (uint64_t)h->st_ino, (unsigned long)h->st_nlink, (uint64_t)n->st.st_ino);
}

/* Is the handle this object, perhaps after a repair? */
static bool judge_file_handle(struct checker *c, struct named *n)
{
        struct stat h;
        int r = handle_stat(&c->b, &n->gfid, &h);
        if (r == 0 && h.st_ino == n->st.st_ino)
                return true;
        if (n->landfill)
                return false;
        if (r < 0 && r != -ENOENT) {
                check_failed(c, NULL, r, "stat of its handle");
                return false;
        }
        if (table_has_gfid(&c->twice, &n->gfid)) {
                check_found(c, FINDING_SAME_GFID, NULL, &n->gfid, NULL, NULL,
                            "another object has the same gfid; this one is inode %" PRIu64 ", the handle %s",
                            (uint64_t)n->st.st_ino, r == 0 ? "is the other one" : "is missing");
                return false;
        }
        if (r == 0)
                return judge_other_inode(c, n, &h);
        return check_found(c, FINDING_NO_HANDLE, NULL, &n->gfid, fix_file_handle, n,
                           "the object has no handle: clients cannot reach it by its gfid");
}

/* ---- gfid2path ----------------------------------------------------------------------------------------------------- */

/* The gfid2path attributes of one name's object. */
struct paths {
        const struct named *n;
        struct gfid2path own;
        const char *list;
        size_t len, count;
        bool listed, right; /* own is there; with the right value */
};

static bool is_path_attr(const char *name)
{
        return starts_with(name, XATTR_GFID2PATH);
}

static void paths_read(struct checker *c, struct paths *p)
{
        char value[GFID2PATH_VALUE_MAX];
        const struct named *n = p->n;
        gfid2path_make(&n->parent, n->at.path, &p->own);
        for (const char *s = p->list; s < p->list + p->len; s += strlen(s) + 1) {
                p->count += is_path_attr(s);
                p->listed |= streq(s, p->own.key);
        }
        if (!p->listed)
                return;
        ssize_t len = disk_getxattr(c->b.disk, n->at.dirfd, n->at.path, p->own.key, value, sizeof value);
        p->right = len == (ssize_t)p->own.len && memcmp(value, p->own.value, p->own.len) == 0;
}

static int fix_own_path(struct checker *c, void *arg)
{
        const struct paths *p = arg;
        return disk_setxattr(c->b.disk, p->n->at.dirfd, p->n->at.path, p->own.key, p->own.value, p->own.len, 0);
}

/* The only name. */
static int fix_only_path(struct checker *c, void *arg)
{
        const struct paths *p = arg;
        int r = p->right ? 0 : fix_own_path(c, arg);
        for (const char *s = p->list; r == 0 && s < p->list + p->len; s += strlen(s) + 1) {
                if (is_path_attr(s) && !streq(s, p->own.key))
                        r = disk_removexattr(c->b.disk, p->n->at.dirfd, p->n->at.path, s);
                if (r == -ENODATA)
                        r = 0;
        }
        return r;
}

/* How many gfid2path attributes the object has now. ONLY: it has no other names. */
static uint16_t judge_paths(struct checker *c, const struct named *n, size_t len, bool only)
{
        struct paths p = {.n = n, .list = c->list, .len = len};
        if (gfid_is_null(&n->parent) || n->landfill)
                return 0;
        paths_read(c, &p);
        size_t others = p.count - p.listed;
        if (p.count == 0)
                c->totals.without_gfid2path++;
        else if (only && (others > 0 || !p.right))
                check_found(c, FINDING_PATHS, NULL, &n->gfid, fix_only_path, &p, "%s%s%s",
                            p.right    ? ""
                            : p.listed ? "the attribute of this name has a wrong value"
                                       : "this name is not among the attributes",
                            !p.right && others > 0 ? ", and " : "",
                            others > 0 ? "there are attributes of names the object does not have" : "");
        else if (!only && !p.right && n->st.st_nlink - 1 <= GFID2PATH_LINKS_MAX &&
                 check_found(c, p.listed ? FINDING_PATHS : FINDING_PATHS_PART, NULL, &n->gfid, fix_own_path, &p,
                             p.listed ? "the attribute of this name has a wrong value"
                                      : "the attributes say other names of the object, and not this one"))
                p.count += !p.listed;
        return (uint16_t)MIN(p.count, (size_t)UINT16_MAX);
}

/* ---- one name ------------------------------------------------------------------------------------------------------ */

static size_t read_list(struct checker *c, const struct named *n)
{
        ssize_t len = disk_listxattr(c->b.disk, n->at.dirfd, n->at.path, c->list, sizeof c->list);
        if (len >= 0)
                return (size_t)len;
        check_failed(c, NULL, (int)len, "listing its attributes");
        return 0;
}

static void record_name(struct checker *c, const struct named *n, bool verified, uint16_t paths)
{
        struct gfid2path own;
        struct name_record record = {.gfid = n->gfid,
                                     .ino = n->st.st_ino,
                                     .nlink = (uint32_t)n->st.st_nlink,
                                     .paths = paths,
                                     .verified = verified,
                                     .landfill = n->landfill};
        gfid2path_make(&n->parent, n->at.path, &own);
        if (!gfid_is_null(&n->parent))
                record.hash = XXH64(own.value, own.len, 0);
        check_record(c, &record);
}

static void judge_file(struct checker *c, struct named *n)
{
        bool verified = judge_file_handle(c, n), only = verified && n->st.st_nlink == 2;
        size_t len = read_list(c, n);
        if (len > 0)
                check_attributes(c, n, len);
        uint16_t paths = judge_paths(c, n, len, only);
        if (verified)
                check_know(c, &n->gfid, n->landfill);
        if (!only)
                record_name(c, n, verified, paths);
}

static void judge_dir(struct checker *c, struct named *n)
{
        judge_dir_handle(c, n);
        size_t len = read_list(c, n);
        if (len > 0)
                check_attributes(c, n, len);
}

static void count_object(struct checker *c, const struct named *n)
{
        struct check_totals *t = &c->totals;
        if (n->landfill)
                return;
        else if (S_ISDIR(n->st.st_mode))
                t->directories++;
        else if (S_ISREG(n->st.st_mode))
                t->files++;
        else
                t->others++;
}

static void judge_without_gfid(struct checker *c, const struct named *n, int error)
{
        if (c->first > 0 || n->landfill)
                return;
        if (error == -ENODATA)
                check_found(c, FINDING_NO_GFID, NULL, NULL, NULL, NULL, "no gfid yet: the next look-up gives it one");
        else if (error == -EUCLEAN)
                check_found(c, FINDING_BAD_GFID, NULL, NULL, NULL, NULL, XATTR_GFID " is not 16 bytes or is zero");
        else
                check_failed(c, NULL, error, "reading " XATTR_GFID);
}

bool check_name(struct checker *c, int dirfd, const char *name, const struct gfid *parent, bool landfill,
                struct gfid *ret_gfid)
{
        struct named n = {.at.dirfd = dirfd, .parent = *parent, .landfill = landfill};
        size_t len = strlen(name);
        if (len > NAME_LIMIT)
                return false;
        memcpy(n.at.path, name, len + 1);
        int r = disk_stat(c->b.disk, dirfd, name, &n.st);
        if (r < 0) {
                check_failed(c, NULL, r, "stat");
                return false;
        }
        if (n.st.st_dev != c->dev) {
                c->totals.incomplete = true;
                check_found(c, FINDING_MOUNT, NULL, NULL, NULL, NULL,
                            "another file system is mounted here and hides what the brick has in this place");
                return false;
        }
        r = gfid_read(&c->b, &n.at, &n.gfid);
        *ret_gfid = r == 0 ? n.gfid : (struct gfid){0};
        if (r < 0)
                judge_without_gfid(c, &n, r);
        else if (gfid_is_root(&n.gfid))
                check_found(c, FINDING_SAME_GFID, NULL, &n.gfid, NULL, NULL, "it has the gfid of the root");
        else if (check_in_round(c, &n.gfid)) {
                count_object(c, &n);
                if (S_ISDIR(n.st.st_mode))
                        judge_dir(c, &n);
                else
                        judge_file(c, &n);
        }
        return S_ISDIR(n.st.st_mode);
}

/* ---- when all names are known -------------------------------------------------------------------------------------- */

/* The records from K on that are of the same gfid, or of the same object too. */
static size_t run_of(const struct checker *c, size_t k, bool same_object)
{
        const struct name_record *v = c->records.v;
        size_t n = 1;
        while (k + n < c->records.n && gfid_equal(&v[k].gfid, &v[k + n].gfid) &&
               (!same_object || v[k].ino == v[k + n].ino))
                n++;
        return n;
}

/* A gfid is that of several objects if its handle is right for one and there is another, or if none has it and there are
 * several. */
static bool is_twice(const struct checker *c, const struct name_record *v, size_t n)
{
        bool known = table_has_u64(&c->known, gfid_mark(&v->gfid));
        for (size_t k = 0; k < n; k++)
                if (!v[k].landfill && ((known && !v[k].verified) || v[k].ino != v->ino))
                        return true;
        return false;
}

void check_find_twice(struct checker *c)
{
        const struct name_record *v = c->records.v;
        size_t n;
        for (size_t k = 0; k < c->records.n; k += n) {
                n = run_of(c, k, false);
                if (is_twice(c, &v[k], n) && table_add(&c->twice, &v[k].gfid) < 0)
                        c->overflow = true;
        }
        table_sort_gfids(&c->twice);
}

/* The names of one object. */
struct group {
        const struct name_record *v;
        size_t n;
        char handle[HANDLE_PATH_MAX];
};

static bool group_has(const struct group *g, uint64_t hash)
{
        for (size_t k = 0; k < g->n; k++)
                if (g->v[k].hash == hash || g->v[k].hash == 0)
                        return true;
        return false;
}

/* Takes away what is left of names that are gone. */
static int fix_group_paths(struct checker *c, void *arg)
{
        const struct group *g = arg;
        ssize_t len = disk_listxattr(c->b.disk, c->b.root_fd, g->handle, c->list, sizeof c->list);
        int r = (int)MIN(len, 0);
        for (const char *s = c->list; r == 0 && s < c->list + len; s += strlen(s) + 1)
                if (is_path_attr(s) && !group_has(g, strtoull(s + strlen(XATTR_GFID2PATH), NULL, 16)))
                        r = disk_removexattr(c->b.disk, c->b.root_fd, g->handle, s);
        return r;
}

/* Links change with repairs, and while the brick is served. */
static uint32_t links_now(struct checker *c, const struct name_record *r)
{
        struct stat st;
        return handle_stat(&c->b, &r->gfid, &st) == 0 && st.st_ino == r->ino ? (uint32_t)st.st_nlink : r->nlink;
}

static void judge_links(struct checker *c, const struct group *g, bool verified)
{
        const struct name_record *r = g->v;
        uint32_t links = r->nlink;
        size_t want = g->n + verified + table_count_u64(&c->spare, r->ino);
        if (links != want)
                links = links_now(c, r);
        if (links == want || (c->totals.incomplete && links > want))
                return;
        check_found(c, FINDING_LINKS, g->handle, &r->gfid, NULL, NULL,
                    "%u links, but %zu name%s and %s handle (find BRICK -inum %" PRIu64 " shows them)", links, g->n,
                    g->n == 1 ? "" : "s", verified ? "a" : "no", r->ino);
}

static void judge_group(struct checker *c, struct group *g)
{
        bool verified = false;
        uint16_t paths = 0;
        for (size_t k = 0; k < g->n; k++) {
                verified |= g->v[k].verified;
                paths = MAX(paths, g->v[k].paths);
        }
        judge_links(c, g, verified);
        if (verified && paths > g->n && g->n <= GFID2PATH_LINKS_MAX)
                check_found(c, FINDING_PATHS, g->handle, &g->v->gfid, fix_group_paths, g,
                            "there are attributes of names the object does not have");
}

void check_groups(struct checker *c)
{
        const struct name_record *v = c->records.v;
        size_t n;
        for (size_t k = 0; k < c->records.n; k += n) {
                n = run_of(c, k, true);
                struct group g = {.v = &v[k], .n = n};
                handle_path(&v[k].gfid, g.handle);
                if (!v[k].is_dir && !table_has_gfid(&c->twice, &v[k].gfid))
                        judge_group(c, &g);
        }
}
