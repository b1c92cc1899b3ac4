/* Operations that change names (replicate.md §6.4). The parent's counters tell of them; new objects that some copies do
 * not have are marked themselves.
 */
#include "volume/afr.h"

#include <sys/stat.h>

static bool is_directory(const struct vnode *i)
{
        return i && S_ISDIR(i->type);
}

static int entry_begin(struct afr *a, enum fop fop, struct request *r, const void *req, void *rep,
                       struct afr_transaction *ret)
{
        *ret = (struct afr_transaction){.fop = fop, .class = AFR_ENTRY, .request = r, .req = req, .rep = rep};
        ret->batch = afr_batch_new(a, AFR_ENTRY, r, NULL);
        return ret->batch ? 0 : afr_fail(fop, rep, -ENOMEM);
}

/* The name is locked, and its change counted in its directory. */
static void entry_add(struct afr_transaction *t, struct vnode *parent, struct str name)
{
        afr_batch_mark(t->batch, parent, name.s);
        afr_locks_add(&t->batch->locks, &parent->gfid, name.s);
}

/* The new object's copies are those that were just made. */
static void learn_created(struct afr *a, const struct afr_transaction *t, afr_set have)
{
        struct vnode *i = t->request->inode;
        struct afr_verdict verdict = {.answered = have, .unreadable = -EIO};
        for (unsigned c = 0; c < AFR_CLASSES; c++) {
                verdict.readable[c] = have & ~afr_arbiter_set(a);
                verdict.accused[c] = a->all & ~have;
        }
        struct afr_inode *x = i ? afr_inode(a, i) : NULL;
        if (x)
                afr_learn(a, i, x->changes, &verdict);
}

/* REQ with a gfid for the new object, and that gfid: the caller's, or the one its inode has. */
static void *with_gfid(struct arena *arena, enum fop fop, const void *req, const struct request *r, struct gfid *ret)
{
        void *copy = afr_req_copy(arena, fop, req);
        if (!copy)
                return NULL;
        struct dict *xdata = afr_req_xdata(fop, copy);
        if (dict_get_gfid(xdata, "gfid-req", ret) == 0)
                return copy;
        if (!r->inode || gfid_is_null(&r->inode->gfid))
                return NULL;
        *ret = r->inode->gfid;
        return dict_add_gfid(xdata, arena, "gfid-req", ret) < 0 ? NULL : copy;
}

static int make(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req, void *rep,
                struct str name, uint32_t type)
{
        struct afr_transaction t;
        struct gfid gfid;
        const void *q = with_gfid(r->arena, fop, req, r, &gfid);
        if (!q || !r->parent)
                return afr_fail(fop, rep, q ? -EINVAL : -ENOMEM);
        int result = entry_begin(a, fop, r, q, rep, &t);
        if (result < 0)
                return result;
        entry_add(&t, r->parent, name);
        t.batch->created = gfid;
        t.batch->created_type = type;
        result = afr_transact(self, a, &t);
        if (result >= 0)
                learn_created(a, &t, t.ok);
        return result;
}

int afr_mknod(struct fibre *self, struct subvolume *v, struct request *r, const struct mknod_fop_req *req,
              struct mknod_fop_rep *rep)
{
        uint32_t type = req->mode & S_IFMT ? req->mode & S_IFMT : S_IFREG;
        return make(self, afr_of(v), FOP_MKNOD, r, req, rep, req->bname, type);
}

int afr_mkdir(struct fibre *self, struct subvolume *v, struct request *r, const struct mkdir_fop_req *req,
              struct mkdir_fop_rep *rep)
{
        return make(self, afr_of(v), FOP_MKDIR, r, req, rep, req->bname, S_IFDIR);
}

int afr_symlink(struct fibre *self, struct subvolume *v, struct request *r, const struct symlink_fop_req *req,
                struct symlink_fop_rep *rep)
{
        return make(self, afr_of(v), FOP_SYMLINK, r, req, rep, req->bname, S_IFLNK);
}

/* Lock and mark of the file that R is about to make, without sending anything. NULL: it is made without. */
static struct afr_batch *fresh_batch(struct afr *a, const struct request *r)
{
        struct afr_batch *b = afr_eager_expects_write(a, r) ? afr_batch_new(a, AFR_DATA, r, NULL) : NULL;
        if (!b)
                return NULL;
        afr_batch_mark(b, r->inode, "");
        afr_locks_add(&b->locks, &r->inode->gfid, "");
        b->covers = afr_eager_covers(a, r);
        if (b->covers)
                afr_locks_add_metadata(&b->locks, &r->inode->gfid);
        return b;
}

/* The new file's lock and mark stay with it only if all copies made it, locked it and marked it. */
static void keep_fresh(struct fibre *self, struct afr *a, struct afr_transaction *t, bool made)
{
        struct afr_batch *b = t->fresh;
        bool keep = made && t->ok == a->all && b->members == a->all && t->fresh_marks.ok == a->all;
        if (keep)
                afr_batch_take_marks(b, &t->fresh_marks);
        afr_eager_adopt(self, a, b, t->request->file, keep);
}

static void note_created(struct afr *a, struct vfile *file, afr_set opened)
{
        struct afr_file *f = file ? afr_file(a, file) : NULL;
        if (!f)
                return;
        f->opened |= opened;
        f->fresh = true;
        if (a->write_hope >= 0)
                a->write_hope--;
}

int afr_create(struct fibre *self, struct subvolume *v, struct request *r, const struct create_fop_req *req,
               struct create_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        struct afr_transaction t;
        struct gfid gfid;
        const void *q = with_gfid(r->arena, FOP_CREATE, req, r, &gfid);
        if (!q || !r->parent)
                return afr_fail(FOP_CREATE, rep, q ? -EINVAL : -ENOMEM);
        int result = entry_begin(a, FOP_CREATE, r, q, rep, &t);
        if (result < 0)
                return result;
        entry_add(&t, r->parent, req->bname);
        t.batch->created = gfid;
        t.batch->created_type = S_IFREG;
        t.fresh = fresh_batch(a, r);
        result = afr_transact(self, a, &t);
        bool made = result >= 0 && gfid_equal(&rep->stat.gfid, &gfid);
        if (result >= 0)
                note_created(a, r->file, t.ok);
        if (made)
                learn_created(a, &t, t.ok);
        if (t.fresh)
                keep_fresh(self, a, &t, made);
        return result;
}

int afr_link(struct fibre *self, struct subvolume *v, struct request *r, const struct link_fop_req *req,
             struct link_fop_rep *rep)
{
        struct afr_transaction t;
        if (!r->new_parent)
                return afr_fail(FOP_LINK, rep, -EINVAL);
        int result = entry_begin(afr_of(v), FOP_LINK, r, req, rep, &t);
        if (result < 0)
                return result;
        entry_add(&t, r->new_parent, req->newbname);
        return afr_transact(self, afr_of(v), &t);
}

int afr_unlink(struct fibre *self, struct subvolume *v, struct request *r, const struct unlink_fop_req *req,
               struct unlink_fop_rep *rep)
{
        struct afr_transaction t;
        if (!r->parent)
                return afr_fail(FOP_UNLINK, rep, -EINVAL);
        int result = entry_begin(afr_of(v), FOP_UNLINK, r, req, rep, &t);
        if (result < 0)
                return result;
        entry_add(&t, r->parent, req->bname);
        return afr_transact(self, afr_of(v), &t);
}

int afr_rmdir(struct fibre *self, struct subvolume *v, struct request *r, const struct rmdir_fop_req *req,
              struct rmdir_fop_rep *rep)
{
        struct afr_transaction t;
        if (!r->parent)
                return afr_fail(FOP_RMDIR, rep, -EINVAL);
        int result = entry_begin(afr_of(v), FOP_RMDIR, r, req, rep, &t);
        if (result < 0)
                return result;
        entry_add(&t, r->parent, req->bname);
        if (r->inode)
                afr_locks_add(&t.batch->locks, &r->inode->gfid, "");
        return afr_transact(self, afr_of(v), &t);
}

int afr_rename(struct fibre *self, struct subvolume *v, struct request *r, const struct rename_fop_req *req,
               struct rename_fop_rep *rep)
{
        struct afr_transaction t;
        if (!r->parent || !r->new_parent)
                return afr_fail(FOP_RENAME, rep, -EINVAL);
        int result = entry_begin(afr_of(v), FOP_RENAME, r, req, rep, &t);
        if (result < 0)
                return result;
        entry_add(&t, r->parent, req->oldbname);
        bool same = r->parent == r->new_parent && req->oldbname.len == req->newbname.len &&
                    memcmp(req->oldbname.s, req->newbname.s, req->oldbname.len) == 0;
        if (!same)
                entry_add(&t, r->new_parent, req->newbname);
        if (is_directory(r->new_inode))
                afr_locks_add(&t.batch->locks, &r->new_inode->gfid, "");
        return afr_transact(self, afr_of(v), &t);
}
