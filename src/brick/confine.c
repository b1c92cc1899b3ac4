/* Is an object below the directory that a client has mounted (confine.h)?
 *
 * A directory is, if the chain of its handles comes by the mounted directory; anything else, if one of the directories that
 * its gfid2path attributes name is. The answer "inside" is kept in the inode together with the brick's count of moves:
 * an answer is believed only while no object got or lost a name. What is outside is looked at each time. Sessions that
 * have mounted the whole volume pass with one comparison. Any thread; inode.lock only.
 */
#include "brick/confine.h"
#include "brick/names.h"

#define DEPTH_MAX 4096

static bool is_confined(const struct op *op)
{
        return op->session && !gfid_is_null(&op->session->subdir_root);
}

int confine_check_dir(struct op *op, const struct gfid *g)
{
        struct gfid at = *g;
        if (!is_confined(op))
                return 0;
        for (int depth = 0; !gfid_equal(&at, &op->session->subdir_root); depth++) {
                char name[NAME_LIMIT + 1];
                struct gfid parent;
                if (gfid_is_root(&at) || depth == DEPTH_MAX)
                        return -ESTALE;
                int r = handle_read_dir(op->brick, &at, &parent, name);
                if (r < 0)
                        return r == -ENOMEM || r == -EIO ? r : -ESTALE;
                at = parent;
        }
        return 0;
}

static bool parent_of_name(const struct xattr_pair *p, struct gfid *ret)
{
        return starts_with(p->name, XATTR_GFID2PATH) && p->len > GFID_TEXT_LEN &&
               gfid_parse((const char *)p->value, GFID_TEXT_LEN, ret) == 0;
}

static int check_names(struct op *op, struct object *o)
{
        struct xattr_view view;
        bool known = false;
        int r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        if (r < 0)
                return r;
        for (uint32_t i = 0; i < view.n; i++) {
                struct gfid parent;
                if (!parent_of_name(&view.v[i], &parent))
                        continue;
                known = true;
                r = confine_check_dir(op, &parent);
                if (r != -ESTALE)
                        return r;
        }
        return known || o->inode->unlinked ? -ESTALE : 0;
}

static bool was_inside(struct op *op, struct inode *i, uint64_t moves)
{
        pthread_mutex_lock(&i->lock);
        bool inside = i->inside_at == moves && gfid_equal(&i->inside, &op->session->subdir_root);
        pthread_mutex_unlock(&i->lock);
        return inside;
}

static void remember(struct op *op, struct inode *i, uint64_t moves)
{
        pthread_mutex_lock(&i->lock);
        i->inside = op->session->subdir_root;
        i->inside_at = moves;
        pthread_mutex_unlock(&i->lock);
}

int confine_check(struct op *op, struct object *o)
{
        if (!is_confined(op))
                return 0;
        uint64_t moves = atomic_load(&op->brick->moves); /* before looking */
        if (was_inside(op, o->inode, moves))
                return 0;
        int r = S_ISDIR(o->st.st_mode) ? confine_check_dir(op, &o->inode->gfid) : check_names(op, o);
        if (r == 0)
                remember(op, o->inode, moves);
        return r;
}
