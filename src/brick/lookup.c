/* LOOKUP, STAT, FSTAT (spec: brick.md §5, §6, §8.1, §8.10).
 *
 * A look-up of a cached name is two stats, of the parent and of the child. A name without gfid, which somebody else wrote to
 * the brick or a crash left, gets one under the name's entry lock, where a creation in progress would be seen whole.
 */
#include "brick/cache.h"
#include "brick/gfid2path.h"
#include "brick/index.h"
#include "brick/names.h"

#define LOOKUP_ATTEMPTS 10 /* each fails only if the name comes to mean another object meanwhile */

/* ---- by name ------------------------------------------------------------------------------------------------------- */

/* Not an error for this request: an object that is only seen, not addressed. */
static bool gfidless_wanted(const struct op *op)
{
        return op->xdata.gfidless_lookup.present && op->xdata.gfidless_lookup.value != 0;
}

static int find_entry(struct op *op, const struct object *parent, const char *name, struct object *ret)
{
        int r = object_entry(op, parent, name, NULL, ret);
        if (r != -ENODATA)
                return r;
        const struct xdata_gfid *want = &op->xdata.gfid_req;
        const struct gfid *heal = want->present && !gfid_is_null(&want->value) ? &want->value : NULL;
        struct entry_guard guard;
        entry_lock(op->brick, &parent->inode->gfid, name, &guard);
        r = object_entry(op, parent, name, heal, ret);
        entry_unlock(&guard);
        return r == -ENODATA && gfidless_wanted(op) ? 0 : r;
}

/* O, a non-directory, by its handle: the name may come to mean another object, which must not be changed. */
static struct object by_handle(const struct brick *b, const struct object *o)
{
        struct object h = *o;
        h.at.dirfd = b->root_fd;
        handle_path(&o->inode->gfid, h.at.path);
        return h;
}

/* Migration of a file is over: it may be written in place again (brick.md §8.12). */
static void clean_protection(struct op *op, struct object *o)
{
        if (!op->xdata.clean_write_xattr.present || !S_ISREG(o->st.st_mode))
                return;
        struct object h = by_handle(op->brick, o);
        if (xattr_remove(op->brick, o->inode, &h.at, XATTR_PROTECT_WRITES) == 0)
                (void)object_restat(op, o);
}

static int answer_object(struct op *op, struct object *o, struct lookup_fop_rep *rep)
{
        int r = attr_iatt(op, o, &rep->prestat);
        if (r < 0 || !o->inode)
                return r;
        clean_protection(op, o);
        return fill_xdata(op, o, false, &op->reply);
}

static int answer_entry(struct op *op, struct object *parent, struct object *o, struct lookup_fop_rep *rep)
{
        if (o->inode && !S_ISDIR(o->st.st_mode)) {
                struct object h = by_handle(op->brick, o);
                names_repair_pgfid(op->brick, &h, &parent->inode->gfid);
        }
        int r = answer_object(op, o, rep);
        if (r == 0)
                r = attr_iatt(op, parent, &rep->poststat);
        return r;
}

/* An absent name still shows its parent; the rest of the answer stays zero. */
static int answer_absent(struct op *op, struct object *parent, struct lookup_fop_rep *rep)
{
        int r = attr_iatt(op, parent, &rep->poststat);
        rep->op_ret = -1;
        rep->op_errno = ENOENT;
        return r;
}

static int lookup_once(struct op *op, struct object *parent, const char *name, struct lookup_fop_rep *rep)
{
        struct object o;
        int r = find_entry(op, parent, name, &o);
        if (r == 0) {
                r = answer_entry(op, parent, &o, rep);
                object_done(op->brick, &o);
        } else if (r == -ENOENT) {
                r = answer_absent(op, parent, rep);
        }
        return r;
}

static int lookup_in_parent(struct op *op, struct object *parent, const char *name, struct lookup_fop_rep *rep)
{
        int r = perm_check(op, parent, PERM_EXEC);
        if (r < 0)
                return r;
        for (int attempt = 0; attempt < LOOKUP_ATTEMPTS; attempt++) {
                op->reply = DICT_NULL;
                r = lookup_once(op, parent, name, rep);
                if (r != -ESTALE)
                        break;
        }
        return r < 0 || rep->op_ret < 0 ? r : fill_parent_lock(op, parent->inode, name, &op->reply);
}

static int lookup_by_name(struct op *op, const struct lookup_fop_req *req, struct lookup_fop_rep *rep)
{
        struct object parent;
        int r = object_parent(op, &req->pargfid, &parent);
        if (r < 0)
                return r;
        r = lookup_in_parent(op, &parent, req->bname.s, rep);
        object_done(op->brick, &parent);
        return r;
}

/* ---- by gfid ------------------------------------------------------------------------------------------------------- */

static bool unlinked_wanted(const struct op *op)
{
        return op->xdata.unlinked_lookup.present && op->xdata.unlinked_lookup.value != 0;
}

static int lookup_by_gfid(struct op *op, const struct lookup_fop_req *req, struct lookup_fop_rep *rep)
{
        struct object o;
        int r = unlinked_wanted(op) ? object_by_gfid_any(op, &req->gfid, &o) : object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r == -ESTALE ? -ENOENT : r;
        r = answer_object(op, &o, rep);
        object_done(op->brick, &o);
        return r;
}

static int lookup(struct op *op, const struct lookup_fop_req *req, struct lookup_fop_rep *rep)
{
        struct index_dir dir;
        if (index_find(op, req->bname.len > 0 ? &req->pargfid : &req->gfid, &dir))
                return index_lookup(op, &dir, req->bname.len > 0 ? req->bname.s : "", rep);
        return req->bname.len > 0 ? lookup_by_name(op, req, rep) : lookup_by_gfid(op, req, rep);
}

/* What was found is never answered with a NULL dictionary: disperse clients do not heal an inode's attributes then. */
int fop_lookup(struct op *op, const struct lookup_fop_req *req, struct lookup_fop_rep *rep)
{
        int r = lookup(op, req, rep);
        if (r == 0 && rep->op_ret >= 0)
                op->reply.null = false;
        return r;
}

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

int fop_stat(struct op *op, const struct stat_fop_req *req, struct stat_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = attr_iatt(op, &o, &rep->stat);
        if (r == 0)
                r = fill_xdata(op, &o, false, &op->reply);
        object_done(op->brick, &o);
        return r;
}

int fop_fstat(struct op *op, const struct fstat_fop_req *req, struct fstat_fop_rep *rep)
{
        struct io_fd io;
        struct object o;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct stat st;
        r = attr_iatt_fd(op, &io, &rep->stat, &st);
        if (r == 0) {
                object_of_io(&io, &st, &o);
                r = fill_xdata(op, &o, true, &op->reply);
        }
        io_fd_done(op->brick, &io);
        return r;
}
