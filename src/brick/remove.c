/* UNLINK and RMDIR (spec: brick.md §8.7, §8.8). */
#include "brick/entry.h"
#include "brick/guard.h"
#include "brick/index.h"
#include "brick/names.h"

#include <stdio.h>
#include <sys/random.h>

#define XATTR_LINKTO "trusted.glusterfs.dht.linkto"

/* ---- UNLINK -------------------------------------------------------------------------------------------------------- */

static bool number_set(const struct xdata_number *n)
{
        return n->present && n->value != 0;
}

static bool has_linkto(struct op *op, struct object *o)
{
        char value[1024];
        ssize_t len = o->inode ? xattr_get(op->brick, o->inode, &o->at, &o->st, XATTR_LINKTO, value, sizeof value) : 0;
        return len > 0 || len == -ERANGE;
}

static bool is_open(struct inode *inode)
{
        if (!inode)
                return false;
        pthread_mutex_lock(&inode->lock);
        bool open = inode->fd_count > 0;
        pthread_mutex_unlock(&inode->lock);
        return open;
}

/* Our own clients say which file they mean, so that they do not remove what took its place: a pointer above all. */
static bool is_other_file(struct op *op, struct object *o)
{
        const struct xdata_gfid *meant = &op->xdata.unlink_data_gfid;
        if (!meant->present || !o->inode)
                return false;
        return !gfid_equal(&meant->value, &o->inode->gfid) || (entry_is_linkto_mode(&o->st) && has_linkto(op, o));
}

/* Conditions under which the client wants the file kept. */
static int unlink_guards(struct op *op, struct object *o)
{
        if (is_other_file(op, o))
                return -ESTALE;
        if (number_set(&op->xdata.unlink_not_open) && is_open(o->inode))
                return -EBUSY;
        if (number_set(&op->xdata.unlink_only_linkto) && (!entry_is_linkto_mode(&o->st) || !has_linkto(op, o)))
                return -EBUSY;
        return 0;
}

/* The object as it was: what the client counts by. get-link-count is always there, 0 when nobody asked or this was the last
 * name: so does a stock brick, and a disperse client leaves out a brick that answers differently from the others. */
static int reply_before(struct op *op, const struct iatt *before)
{
        const struct xdata *x = &op->xdata;
        uint32_t links = x->get_link_count.present && before->nlink > 1 ? before->nlink : 0;
        int r = dict_add_uint(&op->reply, op->arena, "get-link-count", links);
        if (r == 0 && x->request_link_count.present)
                r = dict_add_uint(&op->reply, op->arena, "gf_response_link_count", before->nlink);
        if (r == 0 && x->get_block_count.present)
                r = dict_add_uint(&op->reply, op->arena, "gf_get_file_block_count", before->blocks);
        return r;
}

static int reply_after(struct op *op, struct object *o)
{
        struct iatt after;
        if (!op->xdata.iatt_in_xattr.present || !S_ISREG(o->st.st_mode))
                return 0;
        int r = attr_iatt(op, o, &after);
        if (r == 0)
                r = dict_add_iatt(&op->reply, op->arena, "dht-get-iatt-in-xattr", &after);
        if (r == 0)
                r = dict_add_iatt(&op->reply, op->arena, "virt-gf-poststat", &after);
        return r;
}

/* An object without gfid is removed as well. */
static int find_victim(struct op *op, struct object *parent, const char *name, struct object *ret)
{
        int r = object_entry(op, parent, name, NULL, ret);
        return r == -ENODATA ? 0 : r;
}

static int unlink_guarded(struct op *op, struct object *parent, struct object *o)
{
        struct iatt before;
        int r = attr_iatt(op, o, &before);
        if (r == 0)
                r = reply_before(op, &before);
        if (r == 0)
                r = entry_unlink(op, parent, o);
        return r < 0 ? r : reply_after(op, o);
}

static int unlink_victim(struct op *op, struct object *parent, struct object *o)
{
        struct removal removal;
        int r = perm_check_entry(op, parent, PERM_WRITE | PERM_EXEC, o);
        if (r == 0 && S_ISDIR(o->st.st_mode))
                r = -EISDIR;
        if (r == 0)
                r = unlink_guards(op, o);
        if (r == 0)
                r = removal_begin(op, o->inode, &removal);
        if (r != 0)
                return r;
        r = unlink_guarded(op, parent, o);
        removal_end(op, &removal);
        return r;
}

static int unlink_in_parent(struct op *op, struct object *parent, const char *name)
{
        struct entry_guard guard;
        struct object o;
        entry_lock(op->brick, &parent->inode->gfid, name, &guard);
        int r = find_victim(op, parent, name, &o);
        if (r == 0) {
                r = unlink_victim(op, parent, &o);
                op_set_victim(op, o.inode, o.st.st_nlink == 0);
                object_done(op->brick, &o);
        }
        entry_unlock(&guard);
        return r;
}

int fop_unlink(struct op *op, const struct unlink_fop_req *req, struct unlink_fop_rep *rep)
{
        struct index_dir dir;
        if (index_find(op, &req->pargfid, &dir))
                return index_unlink(op, &dir, req->bname.s, rep);
        struct object parent;
        int r = entry_parent(op, &req->pargfid, req->bname.s, -EISDIR, &parent);
        if (r < 0)
                return r;
        r = entry_parent_before(op, &parent, &rep->prestat);
        if (r == 0)
                r = unlink_in_parent(op, &parent, req->bname.s);
        if (r == 0)
                r = entry_parent_after(op, &parent, &rep->poststat);
        object_done(op->brick, &parent);
        return r;
}

/* ---- RMDIR --------------------------------------------------------------------------------------------------------- */

static int to_landfill_as(struct brick *b, const struct object *o, const char *name)
{
        char path[HANDLE_PATH_MAX];
        (void)snprintf(path, sizeof path, ".glusterfs/landfill/%s", name);
        return disk_rename(b->disk, o->at.dirfd, o->at.path, b->root_fd, path, RENAME_NOREPLACE);
}

/* The whole subtree goes out of sight at once; the janitor deletes it. */
static int to_landfill(struct brick *b, const struct object *o)
{
        char text[GFID_TEXT_LEN + 1];
        if (o->inode) {
                int r = to_landfill_as(b, o, gfid_format(&o->inode->gfid, text));
                if (r != -EEXIST)
                        return r;
        }
        uint8_t raw[16];
        if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
                return -EIO;
        struct gfid g = gfid_from_random(raw);
        return to_landfill_as(b, o, gfid_format(&g, text));
}

static int remove_dir(struct brick *b, const struct object *o, bool whole)
{
        if (whole)
                return to_landfill(b, o);
        int r = disk_unlink(b->disk, o->at.dirfd, o->at.path, AT_REMOVEDIR);
        return r == -EEXIST ? -ENOTEMPTY : r;
}

/* The handle goes after the directory, which may turn out not to be empty, and only if it means this place. */
static int rmdir_known(struct op *op, struct object *parent, struct object *o, bool whole)
{
        struct brick *b = op->brick;
        pthread_mutex_lock(&o->inode->lock);
        int r = remove_dir(b, o, whole);
        if (r == 0 && handle_dir_is(b, &o->inode->gfid, &parent->inode->gfid, o->at.path))
                (void)handle_remove(b, &o->inode->gfid);
        pthread_mutex_unlock(&o->inode->lock);
        if (r == 0)
                inode_forget(b, o->inode);
        return r;
}

static int rmdir_victim(struct op *op, struct object *parent, struct object *o, bool whole)
{
        struct removal removal;
        int r = perm_check_entry(op, parent, PERM_WRITE | PERM_EXEC, o);
        if (r == 0 && !S_ISDIR(o->st.st_mode))
                r = -ENOTDIR;
        if (r == 0)
                r = removal_begin(op, o->inode, &removal);
        if (r != 0)
                return r;
        r = o->inode ? rmdir_known(op, parent, o, whole) : remove_dir(op->brick, o, whole);
        removal_end(op, &removal);
        return r;
}

static int rmdir_in_parent(struct op *op, struct object *parent, const char *name, bool whole)
{
        struct entry_guard guard;
        struct object o;
        entry_lock(op->brick, &parent->inode->gfid, name, &guard);
        int r = find_victim(op, parent, name, &o);
        if (r == 0) {
                r = rmdir_victim(op, parent, &o, whole);
                op_set_victim(op, o.inode, true);
                object_done(op->brick, &o);
        }
        entry_unlock(&guard);
        return r;
}

int fop_rmdir(struct op *op, const struct rmdir_fop_req *req, struct rmdir_fop_rep *rep)
{
        struct index_dir dir;
        if (index_find(op, &req->pargfid, &dir))
                return index_rmdir(op, &dir, req->bname.s, req->xflags != 0, rep);
        struct object parent;
        int r = entry_parent(op, &req->pargfid, req->bname.s, -EINVAL, &parent);
        if (r < 0)
                return r;
        r = entry_parent_before(op, &parent, &rep->prestat);
        if (r == 0)
                r = rmdir_in_parent(op, &parent, req->bname.s, req->xflags != 0);
        if (r == 0)
                r = entry_parent_after(op, &parent, &rep->poststat);
        object_done(op->brick, &parent);
        return r;
}
