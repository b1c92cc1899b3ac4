/* Records and brick marks (pool/change.h).
 *
 * Invariants: a brick is marked only while a record with intent "creating" that names it is durable; the record leaves
 * that intent only when every mark is durable; and it is removed only when every mark is durably gone. So after a crash
 * at any point the record says what to undo, and the origin of each brick says how. Worker thread only.
 */
#include "pool/change.h"

#include <stdio.h>

#include "pool/path.h"

#define TEST_XATTR "trusted.glusterfs.test"

/* ---- marking ----------------------------------------------------------------------------------------------------- */

static int cannot_create(const struct brick_record *b, int error, struct error *e)
{
        return error_set(e, error, "Failed to create brick directory for brick %s:%s. Reason : %s ", b->host, b->path,
                         strerror(-error));
}

static int sync_dir(struct disk *d, const char *path)
{
        int fd = disk_open(d, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
                return fd;
        int r = disk_sync(d, fd, false);
        disk_close(d, fd);
        return r;
}

static int sync_brick(struct disk *d, const struct brick_record *b)
{
        char parent[PATH_LIMIT + 1];
        path_parent(b->real_path, parent);
        int r = sync_dir(d, b->real_path);
        if (r < 0 && r != -ENOENT)
                return r;
        return sync_dir(d, parent);
}

static int make_directory(struct disk *d, const struct brick_record *b, struct error *e)
{
        if (!b->origin.absent)
                return 0;
        int r = disk_mkdir(d, AT_FDCWD, b->real_path, 0755);
        if (r == 0)
                r = disk_chmod(d, AT_FDCWD, b->real_path, 0755);
        return r < 0 ? cannot_create(b, r, e) : 0;
}

static int try_xattrs(struct disk *d, const struct brick_record *b, struct error *e)
{
        int r = disk_setxattr(d, AT_FDCWD, b->real_path, TEST_XATTR, "working", 8, 0);
        if (r == 0)
                r = disk_removexattr(d, AT_FDCWD, b->real_path, TEST_XATTR);
        if (r == 0)
                return 0;
        return error_set(e, r,
                         "Glusterfs is not supported on brick: %s:%s.\nSetting extended attributes failed, reason: %s.",
                         b->host, b->path, strerror(-r));
}

static void inner_path(const struct brick_record *b, char ret[static PATH_LIMIT + 16])
{
        (void)snprintf(ret, PATH_LIMIT + 16, "%s/.glusterfs", b->real_path);
}

static int mark_brick(struct disk *d, const struct volume *v, const struct brick_record *b, struct error *e)
{
        char inner[PATH_LIMIT + 16];
        int r = make_directory(d, b, e);
        if (r == 0)
                r = try_xattrs(d, b, e);
        if (r < 0)
                return r;
        r = disk_setxattr(d, AT_FDCWD, b->real_path, VOLUME_ID_XATTR, v->id.b, sizeof v->id.b, 0);
        if (r < 0)
                return error_set(e, r, "Failed to set extended attribute " VOLUME_ID_XATTR " on %s:%s. Reason : %s",
                                 b->host, b->path, strerror(-r));
        inner_path(b, inner);
        r = disk_mkdir(d, AT_FDCWD, inner, 0600);
        if (r == -EEXIST)
                r = 0;
        if (r == 0)
                r = sync_brick(d, b);
        return r < 0 ? cannot_create(b, r, e) : 0;
}

/* ---- taking marks back ------------------------------------------------------------------------------------------- */

static int restore_mark(struct disk *d, const struct volume *v, const struct brick_record *b)
{
        struct gfid found;
        int r = check_mark(d, b->real_path, &found);
        if (r == -ENODATA)
                return 0;
        if (r < 0)
                return r;
        if (!gfid_equal(&found, &v->id))
                return 0;
        if (b->origin.had_mark)
                return disk_setxattr(d, AT_FDCWD, b->real_path, VOLUME_ID_XATTR, b->origin.mark.b,
                                     sizeof b->origin.mark.b, 0);
        return disk_removexattr(d, AT_FDCWD, b->real_path, VOLUME_ID_XATTR);
}

/* Only an empty directory goes: whatever somebody else put there stays. */
static int remove_if_empty(struct disk *d, const char *path)
{
        int r = disk_unlink(d, AT_FDCWD, path, AT_REMOVEDIR);
        return r == -ENOENT || r == -ENOTEMPTY || r == -EEXIST ? 0 : r;
}

static int unmark_brick(struct disk *d, const struct volume *v, const struct brick_record *b)
{
        struct stat st;
        char inner[PATH_LIMIT + 16];
        int r = disk_stat(d, AT_FDCWD, b->real_path, &st);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r == 0)
                r = restore_mark(d, v, b);
        if (r < 0)
                return r;
        (void)disk_removexattr(d, AT_FDCWD, b->real_path, TEST_XATTR);
        inner_path(b, inner);
        if (!b->origin.had_glusterfs)
                r = remove_if_empty(d, inner);
        if (r == 0 && b->origin.absent)
                r = remove_if_empty(d, b->real_path);
        return r < 0 ? r : sync_brick(d, b);
}

static int undo_create(const struct change *c, const struct volume *v, struct error *e)
{
        for (size_t i = 0; i < v->n_bricks; i++) {
                int r = v->bricks[i].local ? unmark_brick(c->check.disk, v, &v->bricks[i]) : 0;
                if (r < 0)
                        return error_set(e, r, "the mark of volume %s on brick %s:%s cannot be taken back: %s", v->name,
                                         v->bricks[i].host, v->bricks[i].path, strerror(-r));
        }
        return store_remove(c->store, v->name, e);
}

/* ---- the commands ------------------------------------------------------------------------------------------------ */

/* Takes a failed create back. V->intent tells the caller: NONE, nothing is left; CREATING, the record stayed and the
 * undo is tried again at the next start. */
static void abandon_create(const struct change *c, struct volume *v, bool record_is_final)
{
        v->intent = INTENT_CREATING;
        if (record_is_final && store_write(c->store, v, NULL) < 0)
                return;
        if (undo_create(c, v, NULL) == 0)
                v->intent = INTENT_NONE;
}

int change_create(const struct change *c, struct volume *v, unsigned flags, struct error *e)
{
        int r = check_create(&c->check, v, flags, e);
        if (r < 0)
                return r;
        v->status = VOLUME_CREATED;
        v->intent = INTENT_CREATING;
        v->version = 1;
        r = store_write(c->store, v, e);
        for (size_t i = 0; r == 0 && i < v->n_bricks; i++)
                if (v->bricks[i].local)
                        r = mark_brick(c->check.disk, v, &v->bricks[i], e);
        if (r < 0) {
                abandon_create(c, v, false);
                return r;
        }
        v->intent = INTENT_NONE;
        r = store_write(c->store, v, e);
        if (r < 0)
                abandon_create(c, v, true);
        return r;
}

static int write_intent(const struct change *c, struct volume *v, enum volume_intent intent, struct error *e)
{
        v->intent = intent;
        return store_write(c->store, v, e);
}

int change_start(const struct change *c, struct volume *v, bool force, struct error *e)
{
        if (v->status == VOLUME_STARTED && !force)
                return error_set(e, -EINVAL, "Volume %s already started", v->name);
        int r = force ? 0 : check_start(&c->check, v, e);
        if (r < 0)
                return r;
        return write_intent(c, v, INTENT_STARTING, e);
}

int change_stop(const struct change *c, struct volume *v, bool force, struct error *e)
{
        if (v->status != VOLUME_STARTED && !force)
                return error_set(e, -EINVAL, "Volume %s is not in the started state", v->name);
        return write_intent(c, v, INTENT_STOPPING, e);
}

int change_settle(const struct change *c, struct volume *v, enum volume_status status, struct error *e)
{
        v->status = status;
        v->intent = INTENT_NONE;
        v->version++;
        return store_write(c->store, v, e);
}

int change_revert(const struct change *c, struct volume *v, struct error *e)
{
        return write_intent(c, v, INTENT_NONE, e);
}

int change_options(const struct change *c, struct volume *v, struct error *e)
{
        v->version++;
        return store_write(c->store, v, e);
}

int change_delete(const struct change *c, const struct volume *v, struct error *e)
{
        if (v->status == VOLUME_STARTED)
                return error_set(e, -EINVAL, "Volume %s has been started.Volume needs to be stopped before deletion.",
                                 v->name);
        return store_remove(c->store, v->name, e);
}

int change_recover(const struct change *c, struct volume *v, bool *ret_gone, struct error *e)
{
        *ret_gone = false;
        switch (v->intent) {
        case INTENT_CREATING: {
                int r = undo_create(c, v, e);
                *ret_gone = r == 0;
                return r;
        }
        case INTENT_STARTING:
                if (v->status == VOLUME_STARTED || check_start(&c->check, v, NULL) == 0)
                        return change_settle(c, v, VOLUME_STARTED, e);
                return change_revert(c, v, e);
        case INTENT_STOPPING:
                return change_settle(c, v, VOLUME_STOPPED, e);
        default:
                return 0;
        }
}
