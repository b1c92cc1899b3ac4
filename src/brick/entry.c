/* Names of non-directories: adding one, removing one (entry.h; spec: brick.md §8.6, §8.7, §14.4, §21).
 *
 * Whether a name is the last one is decided under inode.lock, which link, unlink, rename-over and the repair of handles all
 * take, so the handle goes exactly when the last name does. Removal takes the handle first and the name second: a crash
 * between leaves a name without a handle, which the next look-up repairs.
 */
#include "brick/entry.h"
#include "brick/gfid2path.h"

int entry_parent(struct op *op, const struct gfid *gfid, const char *name, int dots_error, struct object *ret)
{
        struct object parent;
        int r = object_parent(op, gfid, &parent);
        if (r < 0)
                return r;
        r = entry_name_check(op->brick, &parent, name);
        if (r == 0 && (streq(name, ".") || streq(name, "..")))
                r = dots_error;
        if (r == 0)
                r = read_only_check(op);
        if (r < 0) {
                object_done(op->brick, &parent);
                return r;
        }
        *ret = parent;
        return 0;
}

int entry_parent_before(struct op *op, struct object *parent, struct iatt *ret)
{
        return attr_iatt(op, parent, ret);
}

int entry_parent_after(struct op *op, struct object *parent, struct iatt *ret)
{
        /* the change itself is done and must not be reported as failed because its time could not be noted */
        (void)attr_touch(op, parent->inode, &parent->at, attr_parent_times(op));
        int r = object_restat(op, parent);
        if (r == 0)
                r = attr_iatt(op, parent, ret);
        return r < 0 ? r : fill_lock_counts(op, parent->inode, &op->reply);
}

bool entry_is_linkto_mode(const struct stat *st)
{
        return S_ISREG(st->st_mode) && (st->st_mode & 07777) == S_ISVTX;
}

/* ---- removing ------------------------------------------------------------------------------------------------------ */

static void place_handle(struct brick *b, const struct inode *inode, struct place *at)
{
        at->dirfd = b->root_fd;
        if (inode->unlinked)
                handle_unlink_path(&inode->gfid, at->path);
        else
                handle_path(&inode->gfid, at->path);
}

/* Under inode.lock. */
static int unlink_last(struct op *op, struct object *parent, struct object *o)
{
        struct brick *b = op->brick;
        const struct gfid *g = &o->inode->gfid;
        bool own = o->st.st_nlink > 1; /* else the handle is another object's, which this one is a copy of */
        bool park = own && o->inode->fd_count > 0;
        int r = park ? handle_park(b, g) : own ? handle_remove(b, g) : 0;
        if (r < 0 && r != -ENOENT)
                return r;
        bool parked = park && r == 0;
        if (parked) /* it may get other names (brick.md §14.4) */
                names_remove(b, o->inode, &o->at, &parent->inode->gfid, o->at.path);
        r = disk_unlink(b->disk, o->at.dirfd, o->at.path, 0);
        brick_names_changed(b);
        if (r < 0) {
                if (parked) {
                        (void)handle_unpark(b, g);
                        names_add(b, o->inode, &o->at, &parent->inode->gfid, o->at.path);
                } else if (own && r != -ENOENT) {
                        (void)handle_create(b, g, &o->at, &o->st, &parent->inode->gfid, o->at.path);
                        brick_names_changed(b);
                }
                return r;
        }
        if (own)
                o->inode->unlinked = parked;
        if (!parked) {
                o->st.st_nlink = 0;
                return 0;
        }
        place_handle(b, o->inode, &o->at);
        return object_restat(op, o);
}

/* Under inode.lock. */
static int unlink_one_of_many(struct op *op, struct object *parent, struct object *o)
{
        struct brick *b = op->brick;
        names_remove(b, o->inode, &o->at, &parent->inode->gfid, o->at.path);
        int r = disk_unlink(b->disk, o->at.dirfd, o->at.path, 0);
        brick_names_changed(b);
        if (r < 0) {
                names_add(b, o->inode, &o->at, &parent->inode->gfid, o->at.path);
                return r;
        }
        place_handle(b, o->inode, &o->at);
        (void)attr_touch(op, o->inode, &o->at, attr_object_times(op));
        return object_restat(op, o);
}

static int unlink_known(struct op *op, struct object *parent, struct object *o)
{
        pthread_mutex_lock(&o->inode->lock);
        bool same_links = o->moves == atomic_load(&op->brick->moves);
        int r = same_links ? 0 : object_restat(op, o);
        if (r == 0)
                r = o->st.st_nlink <= 2 ? unlink_last(op, parent, o) : unlink_one_of_many(op, parent, o);
        pthread_mutex_unlock(&o->inode->lock);
        if (r == 0 && o->st.st_nlink == 0)
                inode_forget(op->brick, o->inode);
        return r;
}

int entry_unlink(struct op *op, struct object *parent, struct object *o)
{
        if (o->inode)
                return unlink_known(op, parent, o);
        int r = disk_unlink(op->brick->disk, o->at.dirfd, o->at.path, 0);
        o->st.st_nlink = 0;
        return r;
}

int entry_replace(struct op *op, struct object *parent, const char *name, const struct inode *keep)
{
        struct object o;
        if (!op->xdata.force_replace.present)
                return -EEXIST;
        int r = object_entry(op, parent, name, NULL, &o);
        if (r < 0 && r != -ENODATA)
                return r == -ENOENT ? 0 : r;
        bool replaceable = entry_is_linkto_mode(&o.st) && (!keep || o.inode != keep);
        r = replaceable ? entry_unlink(op, parent, &o) : -EEXIST;
        object_done(op->brick, &o);
        return r;
}

/* ---- adding -------------------------------------------------------------------------------------------------------- */

/* Under inode.lock: an open file without names gets one again. */
static int revive(struct brick *b, struct inode *inode, struct object *parent, const char *name)
{
        int r = handle_unpark(b, &inode->gfid);
        if (r == 0)
                inode->unlinked = false;
        else
                (void)disk_unlink(b->disk, parent->at.dirfd, name, 0);
        return r;
}

/* Under inode.lock. */
static int link_held(struct op *op, struct object *parent, const char *name, struct object *o)
{
        struct brick *b = op->brick;
        struct place from;
        place_handle(b, o->inode, &from);
        int r = disk_link(b->disk, from.dirfd, from.path, parent->at.dirfd, name);
        brick_names_changed(b);
        if (r == 0 && o->inode->unlinked)
                r = revive(b, o->inode, parent, name);
        if (r < 0)
                return r == -ENOENT ? -ESTALE : r;
        o->at.dirfd = parent->at.dirfd;
        memcpy(o->at.path, name, strlen(name) + 1);
        r = object_restat(op, o);
        if (r == 0 && o->st.st_nlink - 1 <= GFID2PATH_LINKS_MAX)
                names_add(b, o->inode, &o->at, &parent->inode->gfid, name);
        if (r < 0)
                return r;
        (void)attr_touch(op, o->inode, &o->at, attr_object_times(op));
        return object_restat(op, o);
}

static int link_once(struct op *op, struct object *parent, const char *name, struct object *o)
{
        pthread_mutex_lock(&o->inode->lock);
        int r = link_held(op, parent, name, o);
        pthread_mutex_unlock(&o->inode->lock);
        return r;
}

/* What is in the way is removed under its own inode.lock only: two at once have an order (rename.c). */
int entry_link(struct op *op, struct object *parent, const char *name, struct inode *inode, struct object *ret)
{
        struct object o = {.inode = inode};
        int r = link_once(op, parent, name, &o);
        if (r == -EEXIST) {
                r = entry_replace(op, parent, name, inode);
                if (r == 0)
                        r = link_once(op, parent, name, &o);
        }
        if (r < 0)
                return r;
        inode_set_ino(op->brick, inode, o.st.st_ino, o.st.st_mode);
        inode_ref(inode);
        *ret = o;
        return 0;
}
