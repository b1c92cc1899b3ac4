/* LINK (spec: brick.md §8.6). */
#include "brick/entry.h"

static int link_checks(struct op *op, struct object *source, struct object *parent)
{
        uint32_t limit = op->brick->options->max_hardlinks;
        int r = perm_check_entry(op, parent, PERM_WRITE, NULL);
        if (r < 0)
                return r;
        r = space_check(op);
        if (r < 0)
                return r;
        if (S_ISDIR(source->st.st_mode))
                return -EPERM;
        return limit > 0 && source->st.st_nlink - 1 >= limit ? -EMLINK : 0;
}

static int link_in_parent(struct op *op, struct object *source, struct object *parent, const char *name,
                          struct link_fop_rep *rep)
{
        struct entry_guard guard;
        struct object made;
        int r = link_checks(op, source, parent);
        if (r == 0)
                r = entry_parent_before(op, parent, &rep->preparent);
        if (r < 0)
                return r;
        entry_lock(op->brick, &parent->inode->gfid, name, &guard);
        r = entry_link(op, parent, name, source->inode, &made);
        if (r == 0) {
                r = attr_iatt(op, &made, &rep->stat);
                object_done(op->brick, &made);
        }
        entry_unlock(&guard);
        return r < 0 ? r : entry_parent_after(op, parent, &rep->postparent);
}

int fop_link(struct op *op, const struct link_fop_req *req, struct link_fop_rep *rep)
{
        struct object source, parent;
        int r = object_by_gfid(op, &req->oldgfid, &source);
        if (r < 0)
                return r;
        r = entry_parent(op, &req->newgfid, req->newbname.s, -EEXIST, &parent);
        if (r == 0) {
                r = link_in_parent(op, &source, &parent, req->newbname.s, rep);
                object_done(op->brick, &parent);
        }
        object_done(op->brick, &source);
        return r;
}
