/* The checks before a volume is created or started (pool/check.h).
 *
 * Stock makes the brick directory and marks it between two checks; here all checks come first and have no effect, so a
 * refused command leaves nothing behind. The order of the checks, hence the text that is shown when several fail, is
 * stock's. Runs on the worker thread.
 */
#include "pool/check.h"

#include <ctype.h>
#include <stdio.h>

#include "pool/path.h"

#define FORCE_TEXT " Or use 'force' at the end of the command if you want to override this behavior."
#define MOUNT_POINT_TEXT                                                                                               \
        " is a mount point. Please create a sub-directory under the mount point and use that as the brick directory."
#define ROOT_PARTITION_TEXT                                                                                            \
        " is being created in the root partition. It is recommended that you don't use the system's root partition"    \
        " for storage backend."

static int refuse(struct error *e, int code, const char *what, const struct brick_record *b, const char *rest)
{
        return error_set(e, code, "%s%s:%s%s", what, b->host, b->path, rest);
}

/* ---- lengths ----------------------------------------------------------------------------------------------------- */

/* A newline cannot stand in a volfile, and the others only hide what is meant. */
static int check_characters(const struct brick_record *b, struct error *e)
{
        for (const char *c = b->path; *c; c++)
                if (iscntrl((unsigned char)*c))
                        return error_set(e, -EINVAL, "A brick path must not contain control characters");
        return 0;
}

static int check_length(const struct volume *v, const struct brick_record *b, struct error *e)
{
        bool fits = strlen(b->path) <= PATH_LIMIT;
        for (const char *at = b->path; fits && *at;) {
                at += strspn(at, "/");
                size_t n = strcspn(at, "/");
                fits = n <= NAME_LIMIT;
                at += n;
        }
        if (!fits)
                return refuse(e, -ENAMETOOLONG, "brick path ", b, " is too long.");
        if (strlen(v->name) + strlen(b->host) + strlen(b->path) + strlen("..vol") > NAME_LIMIT)
                return error_set(e, -ENAMETOOLONG, "Volume file path for volume %s and brick path %s:%s is too long.",
                                 v->name, b->host, b->path);
        return 0;
}

/* ---- other bricks ------------------------------------------------------------------------------------------------ */

static bool overlap(const char *a, const char *b)
{
        return path_contains(a, b) || path_contains(b, a);
}

static int not_available(const struct brick_record *b, struct error *e)
{
        return refuse(e, -EEXIST, "Brick: ", b,
                      " not available. Brick may be containing or be contained by an existing brick.");
}

static int check_existing(const struct check *c, const struct volume *v, const struct brick_record *b, struct error *e)
{
        for (size_t i = 0; i < c->volumes->n; i++) {
                const struct volume *other = c->volumes->v[i].volume;
                for (size_t k = 0; other && !streq(other->name, v->name) && k < other->n_bricks; k++)
                        if (other->bricks[k].local && overlap(other->bricks[k].real_path, b->real_path))
                                return not_available(b, e);
        }
        return 0;
}

/* Against the bricks before it in the same command; stock finds these by the marks it has just set. */
static int check_siblings(const struct volume *v, size_t index, bool force, struct error *e)
{
        const struct brick_record *b = &v->bricks[index];
        for (size_t i = 0; i < index; i++) {
                const char *other = v->bricks[i].real_path;
                if (!v->bricks[i].local || !overlap(other, b->real_path))
                        continue;
                if (force || (path_contains(b->real_path, other) && !streq(other, b->real_path)))
                        return not_available(b, e);
                if (streq(other, b->real_path))
                        return error_set(e, -EEXIST, "%s is already part of a volume", b->path);
                return error_set(e, -EEXIST, "parent directory %s is already part of a volume", v->bricks[i].path);
        }
        return 0;
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

int check_mark(struct disk *d, const char *path, struct gfid *ret)
{
        struct gfid id;
        ssize_t n = disk_getxattr(d, AT_FDCWD, path, VOLUME_ID_XATTR, id.b, sizeof id.b);
        if (n < 0)
                return (int)n;
        if ((size_t)n != sizeof id.b)
                return -EINVAL;
        *ret = id;
        return 0;
}

static int cannot_create(const struct brick_record *b, int error, struct error *e)
{
        return error_set(e, error, "Failed to create brick directory for brick %s:%s. Reason : %s ", b->host, b->path,
                         strerror(-error));
}

static int check_directory(const struct check *c, struct brick_record *b, const char *parent, struct error *e)
{
        struct stat st;
        int r = disk_stat(c->disk, AT_FDCWD, b->real_path, &st);
        b->origin.absent = r == -ENOENT;
        if (r == 0 && !S_ISDIR(st.st_mode))
                return error_set(e, -ENOTDIR, "The provided path %s which is already present, is not a directory",
                                 b->path);
        if (r == 0)
                return 0;
        if (r != -ENOENT)
                return cannot_create(b, r, e);
        r = disk_stat(c->disk, AT_FDCWD, parent, &st);
        if (r == 0 && !S_ISDIR(st.st_mode))
                r = -ENOTDIR;
        return r < 0 ? cannot_create(b, r, e) : 0;
}

static int check_devices(const struct check *c, const struct brick_record *b, const char *parent, struct error *e)
{
        struct stat self, above, root;
        int r = disk_stat(c->disk, AT_FDCWD, parent, &above);
        if (r == 0)
                r = disk_stat(c->disk, AT_FDCWD, "/", &root);
        if (r < 0)
                return cannot_create(b, r, e);
        if (!b->origin.absent && disk_stat(c->disk, AT_FDCWD, b->real_path, &self) == 0 && self.st_dev != above.st_dev)
                return refuse(e, -EINVAL, "The brick ", b, MOUNT_POINT_TEXT FORCE_TEXT);
        if (above.st_dev == root.st_dev)
                return refuse(e, -EINVAL, "The brick ", b, ROOT_PARTITION_TEXT FORCE_TEXT);
        return 0;
}

/* It carries the volume's own id: a volume that was here before. */
static bool is_own(const struct check *c, const struct volume *v, const char *path)
{
        struct gfid mark;
        return check_mark(c->disk, path, &mark) == 0 && gfid_equal(&mark, &v->id);
}

static bool in_use(struct disk *d, const char *path)
{
        return disk_getxattr(d, AT_FDCWD, path, VOLUME_ID_XATTR, NULL, 0) >= 0 ||
               disk_getxattr(d, AT_FDCWD, path, GFID_XATTR, NULL, 0) >= 0;
}

/* Neither the directory nor any above it belongs to a volume. */
static int check_ancestors(const struct check *c, const struct volume *v, const struct brick_record *b, unsigned flags,
                           struct error *e)
{
        char at[PATH_LIMIT + 1];
        bool own = (flags & CHECK_IMPORTED) && is_own(c, v, b->real_path);
        if (!own && in_use(c->disk, b->real_path))
                return error_set(e, -EEXIST, "%s is already part of a volume", b->path);
        (void)snprintf(at, sizeof at, "%s", b->real_path);
        while (!streq(at, "/")) {
                path_parent(at, at);
                if (in_use(c->disk, at))
                        return error_set(e, -EEXIST, "parent directory %s is already part of a volume", at);
        }
        return 0;
}

static int inspect(const struct check *c, struct brick_record *b, const char *parent, struct error *e)
{
        struct stat st;
        char inner[PATH_LIMIT + 16];
        (void)snprintf(inner, sizeof inner, "%s/.glusterfs", b->real_path);
        b->origin.had_glusterfs = disk_stat(c->disk, AT_FDCWD, inner, &st) == 0;
        b->origin.had_mark = check_mark(c->disk, b->real_path, &b->origin.mark) == 0;

        int fd = disk_open(c->disk, AT_FDCWD, b->origin.absent ? parent : b->real_path, O_RDONLY | O_DIRECTORY, 0);
        struct statvfs fs;
        int r = fd < 0 ? fd : disk_statvfs(c->disk, fd, &fs);
        if (fd >= 0)
                disk_close(c->disk, fd);
        if (r < 0)
                return cannot_create(b, r, e);
        b->fsid = fs.f_fsid;
        return 0;
}

/* ---- one brick --------------------------------------------------------------------------------------------------- */

static int resolve(const struct check *c, struct volume *v, struct brick_record *b, struct error *e)
{
        char real[PATH_LIMIT + 1];
        int r = path_resolve(c->disk, b->path, real);
        if (r < 0)
                return cannot_create(b, r, e);
        b->real_path = arena_strndup(&v->memory, real, strlen(real));
        return b->real_path ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int check_state_dir(const struct check *c, const struct brick_record *b, struct error *e)
{
        if (path_contains(c->state_dir, b->real_path))
                return error_set(e, -EINVAL, "Brick isn't allowed to be created inside glusterd's working directory.");
        return 0;
}

static int check_brick(const struct check *c, struct volume *v, size_t index, unsigned flags, struct error *e)
{
        struct brick_record *b = &v->bricks[index];
        char parent[PATH_LIMIT + 1];
        bool force = flags & CHECK_FORCE;
        int r = check_existing(c, v, b, e);
        if (r < 0)
                return r;
        path_parent(b->real_path, parent);
        r = check_directory(c, b, parent, e);
        if (r < 0)
                return r;
        r = check_state_dir(c, b, e);
        if (r == 0 && !force)
                r = check_devices(c, b, parent, e);
        if (r == 0)
                r = check_siblings(v, index, force, e);
        if (r == 0 && !force)
                r = check_ancestors(c, v, b, flags, e);
        if (r < 0)
                return r;
        return inspect(c, b, parent, e);
}

/* ---- the volume -------------------------------------------------------------------------------------------------- */

static int same_machine(const struct volume *v, struct error *e)
{
        return error_set(e, -EINVAL,
                         "Multiple bricks of a %s volume are present on the same server. This setup is not optimal."
                         " Bricks should be on different nodes to have best fault tolerant configuration." FORCE_TEXT
                         " ",
                         v->type == VOLUME_REPLICATE ? "replicate" : "disperse");
}

/* The bricks of one set are on different machines. */
static int check_set(const struct check *c, const struct volume *v, size_t first, char (*machines)[CHECK_MACHINE_SIZE],
                     struct error *e)
{
        for (size_t i = 0; i < v->set_size; i++) {
                c->host_machine(c->arg, v->bricks[first + i].host, machines[i]);
                for (size_t k = 0; k < i; k++)
                        if (streq(machines[k], machines[i]))
                                return same_machine(v, e);
        }
        return 0;
}

static int check_order(const struct check *c, const struct volume *v, struct error *e)
{
        if (v->set_size < 2)
                return 0;
        _cleanup_free_ char(*machines)[CHECK_MACHINE_SIZE] = calloc(v->set_size, sizeof *machines);
        if (!machines)
                return error_set(e, -ENOMEM, "out of memory");
        int r = 0;
        for (size_t i = 0; r == 0 && i + v->set_size <= v->n_bricks; i += v->set_size)
                r = check_set(c, v, i, machines, e);
        return r;
}

int check_define(const struct check *c, const struct volume *v, bool force, struct error *e)
{
        int r = force ? 0 : check_order(c, v, e);
        for (size_t i = 0; r == 0 && i < v->n_bricks; i++) {
                r = check_characters(&v->bricks[i], e);
                if (r == 0)
                        r = check_length(v, &v->bricks[i], e);
        }
        return r;
}

static int check_hosts(const struct check *c, struct volume *v, unsigned flags, struct error *e)
{
        for (size_t i = 0; i < v->n_bricks; i++) {
                struct brick_record *b = &v->bricks[i];
                b->local = c->host_is_local(c->arg, b->host);
                if (!b->local && !(flags & CHECK_IMPORTED))
                        return error_set(e, -EINVAL, "Host %s is not in 'Peer in Cluster' state", b->host);
        }
        return 0;
}

int check_create(const struct check *c, struct volume *v, unsigned flags, struct error *e)
{
        const struct volume_entry *entry = volume_set_entry(c->volumes, v->name);
        if (entry && entry->volume)
                return error_set(e, -EEXIST, "Volume %s already exists", v->name);
        if (entry)
                return error_set(e, -EEXIST, "Volume %s already exists, but %s", v->name, entry->why.text);
        int r = check_define(c, v, flags & (CHECK_FORCE | CHECK_IMPORTED), e);
        if (r == 0)
                r = check_hosts(c, v, flags, e);
        for (size_t i = 0; r == 0 && i < v->n_bricks; i++) {
                struct brick_record *b = &v->bricks[i];
                b->real_path = b->path;
                if (!b->local)
                        continue;
                r = resolve(c, v, b, e);
                if (r == 0)
                        r = check_brick(c, v, i, flags, e);
        }
        return r;
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static int check_started_brick(const struct check *c, const struct volume *v, const struct brick_record *b,
                               struct error *e)
{
        struct stat st;
        struct gfid mark;
        char ours[UUID_TEXT_SIZE], found[UUID_TEXT_SIZE];
        int r = disk_stat(c->disk, AT_FDCWD, b->real_path, &st);
        if (r == 0 && !S_ISDIR(st.st_mode))
                r = -ENOTDIR;
        if (r < 0)
                return error_set(e, r, "Failed to find brick directory %s for volume %s. Reason : %s", b->path, v->name,
                                 strerror(-r));
        r = check_mark(c->disk, b->real_path, &mark);
        if (r < 0)
                return error_set(e, r,
                                 "Failed to get extended attribute " VOLUME_ID_XATTR " for brick dir %s. Reason : %s",
                                 b->path, strerror(-r));
        if (!gfid_equal(&mark, &v->id))
                return error_set(e, -ESTALE,
                                 "Volume id mismatch for brick %s:%s. Expected volume id %s, volume id %s found",
                                 b->host, b->path, gfid_format(&v->id, ours), gfid_format(&mark, found));
        return 0;
}

int check_start(const struct check *c, const struct volume *v, struct error *e)
{
        for (size_t i = 0; i < v->n_bricks; i++) {
                int r = v->bricks[i].local ? check_started_brick(c, v, &v->bricks[i], e) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}
