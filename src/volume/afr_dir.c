/* Listing directories (replicate.md §8.4).
 *
 * Offsets are the brick's, so one copy lists a directory from its beginning to its end; another is asked only at offset
 * 0. Attributes of listed objects are passed on only if this copy of them may be read: that is so when every brick said
 * lately that nothing at all is pending there, or when the object's own verdict is at hand. Others go without, and are
 * looked up.
 */
#include "volume/afr.h"

#include <string.h>

/* ---- whose attributes may be passed on --------------------------------------------------------------------------- */

static bool entry_is_readable(struct afr *a, const struct dirent_entry *e, unsigned child)
{
        struct vnode *i = vnode_find(a->base.volume, &e->stat.gfid);
        if (!i)
                return false;
        const struct afr_inode *x = *vnode_slot(i, &a->base);
        bool ok = x && x->known && x->generation == a->base.generation &&
                  (afr_readable(x, AFR_METADATA) & AFR_BIT(child)) &&
                  (afr_readable(x, afr_content_class(i)) & AFR_BIT(child));
        vnode_unref(i);
        return ok;
}

/* An object with changes that are not settled yet may differ between the copies. */
static bool entry_is_busy(struct afr *a, const struct dirent_entry *e)
{
        struct vnode *i = vnode_find(a->base.volume, &e->stat.gfid);
        const struct afr_inode *x = i ? *vnode_slot(i, &a->base) : NULL;
        bool busy = x && afr_is_behind(x);
        vnode_unref(i);
        return busy;
}

static void strip_unreadable(struct afr *a, struct dirent_list *list, unsigned child)
{
        bool clean = afr_nothing_pending(a);
        for (uint32_t k = 0; k < list->n; k++) {
                struct dirent_entry *e = &list->v[k];
                if (clean ? entry_is_busy(a, e) : !entry_is_readable(a, e, child))
                        e->stat = (struct iatt){0};
        }
}

/* The healers' own directory is nobody's business. */
static void hide_anonymous(const struct afr *a, const struct gfid *directory, struct dirent_list *list)
{
        if (!gfid_is_root(directory) || !a->options.anonymous_name[0])
                return;
        uint32_t kept = 0;
        for (uint32_t k = 0; k < list->n; k++) {
                if (!str_is(list->v[k].name, a->options.anonymous_name))
                        list->v[kept++] = list->v[k];
        }
        list->n = kept;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The copy that F is listed from: chosen at the beginning. */
static unsigned listing_child(struct afr *a, struct request *r, struct afr_file *f, uint64_t offset, afr_set on)
{
        if (offset > 0 && f->read_child != AFR_NO_CHILD)
                return on & AFR_BIT(f->read_child) ? f->read_child : AFR_NO_CHILD;
        f->read_child = afr_read_child(a, r->inode, AFR_ENTRY, &r->cred, on);
        return f->read_child;
}

static int list_directory(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req,
                          void *rep, uint64_t offset)
{
        int result = afr_ready(self, a, r);
        if (result == 0)
                result = afr_know(self, a, r, r->inode, NULL);
        if (result == 0 && fop == FOP_READDIRP && !afr_nothing_pending(a))
                result = afr_refresh(self, a, r, r->inode, NULL);
        struct afr_file *f = r->file ? afr_file(a, r->file) : NULL;
        if (result == 0 && !f)
                result = -EBADF;
        if (result < 0)
                return afr_fail(fop, rep, result);
        afr_set on = afr_up(a) & f->opened, tried = 0;
        bool everywhere = false;
        for (;;) {
                unsigned child = listing_child(a, r, f, offset, on & ~tried);
                if (child == AFR_NO_CHILD && !everywhere) {
                        on = afr_file_on(self, a, r, r->file);
                        everywhere = true;
                        continue;
                }
                if (child == AFR_NO_CHILD)
                        return result < 0 ? result : afr_fail(fop, rep, afr_inode(a, r->inode)->verdict.unreadable);
                result = subvolume_call(self, a->base.children[child], fop, r, req, rep);
                if (result >= 0 || offset > 0)
                        return result;
                tried |= AFR_BIT(child);
        }
}

int afr_readdir(struct fibre *self, struct subvolume *v, struct request *r, const struct readdir_fop_req *req,
                struct readdir_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        int result = list_directory(self, a, FOP_READDIR, r, req, rep, req->offset);
        if (result >= 0)
                hide_anonymous(a, &req->gfid, &rep->reply);
        return result;
}

int afr_readdirp(struct fibre *self, struct subvolume *v, struct request *r, const struct readdirp_fop_req *req,
                 struct readdirp_fop_rep *rep)
{
        struct afr *a = afr_of(v);
        int result = list_directory(self, a, FOP_READDIRP, r, req, rep, req->offset);
        if (result < 0)
                return result;
        strip_unreadable(a, &rep->reply, afr_file(a, r->file)->read_child);
        hide_anonymous(a, &req->gfid, &rep->reply);
        return result;
}
