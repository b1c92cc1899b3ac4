/* RENAME (spec: brick.md §8.9, §21, §22).
 *
 * Under the entry locks of both names and the inode locks of source and target. Order of effects: the target's last handle
 * is parked in .glusterfs/unlink, rename(2), then the handle of a renamed directory is replaced in one step, and the parked
 * file is deleted unless somebody has it open. Whatever fails, the source keeps its handle; a crash leaves at worst a
 * directory handle that still says the old place (a look-up repairs it) or a name without a handle.
 */
#include "brick/entry.h"
#include "brick/gfid2path.h"
#include "brick/guard.h"

struct rename {
        struct op *op;
        struct object old_parent, new_parent;
        const char *old_name, *new_name;
        struct object source;
        struct object target; /* inode NULL and st_nlink 0: there is none */
        bool target_exists;
        bool target_parked;
        bool target_gone; /* not even open any more */
};

static void rename_done(struct rename *m)
{
        struct brick *b = m->op->brick;
        object_done(b, &m->target);
        object_done(b, &m->source);
        object_done(b, &m->new_parent);
        object_done(b, &m->old_parent);
}

/* ---- finding and checking ------------------------------------------------------------------------------------------ */

static int find_parents(struct rename *m, const struct rename_fop_req *req)
{
        int r = entry_parent(m->op, &req->oldgfid, m->old_name, -EINVAL, &m->old_parent);
        if (r < 0)
                return r;
        return entry_parent(m->op, &req->newgfid, m->new_name, -EINVAL, &m->new_parent);
}

static int find_both(struct rename *m)
{
        int r = object_entry(m->op, &m->old_parent, m->old_name, NULL, &m->source);
        if (r < 0)
                return r;
        r = object_entry(m->op, &m->new_parent, m->new_name, NULL, &m->target);
        if (r == -ENOENT)
                return 0;
        m->target_exists = r == 0 || r == -ENODATA;
        return m->target_exists ? 0 : r;
}

static int check(struct rename *m)
{
        struct object *target = m->target_exists ? &m->target : NULL;
        int r = perm_check_entry(m->op, &m->old_parent, PERM_WRITE, &m->source);
        if (r == 0)
                r = perm_check_entry(m->op, &m->new_parent, PERM_WRITE, target);
        if (r < 0 || !target)
                return r;
        bool from_dir = S_ISDIR(m->source.st.st_mode), to_dir = S_ISDIR(target->st.st_mode);
        if (from_dir && !to_dir)
                return -ENOTDIR;
        return !from_dir && to_dir ? -EISDIR : 0;
}

static bool is_same_object(const struct rename *m)
{
        return m->target_exists && m->source.st.st_ino == m->target.st.st_ino;
}

/* ---- inode locks --------------------------------------------------------------------------------------------------- */

static void lock_inodes(struct rename *m)
{
        struct inode *a = m->source.inode, *b = m->target.inode;
        if (b && memcmp(b->gfid.b, a->gfid.b, sizeof a->gfid.b) < 0) {
                a = b;
                b = m->source.inode;
        }
        pthread_mutex_lock(&a->lock);
        if (b)
                pthread_mutex_lock(&b->lock);
}

static void unlock_inodes(struct rename *m)
{
        if (m->target.inode)
                pthread_mutex_unlock(&m->target.inode->lock);
        pthread_mutex_unlock(&m->source.inode->lock);
}

/* ---- the target ---------------------------------------------------------------------------------------------------- */

/* Its last name will be replaced: the handle goes aside. A handle that is not its own (one link: the name) is that of the
 * object it is a copy of, and stays. */
static int park_target(struct rename *m)
{
        struct brick *b = m->op->brick;
        struct object *t = &m->target;
        if (!t->inode || S_ISDIR(t->st.st_mode))
                return 0;
        int r = object_restat(m->op, t);
        if (r < 0 || t->st.st_nlink != 2)
                return r;
        r = handle_park(b, &t->inode->gfid);
        m->target_parked = r == 0;
        return r == -ENOENT ? 0 : r;
}

static void unpark_target(struct rename *m)
{
        if (m->target_parked)
                (void)handle_unpark(m->op->brick, &m->target.inode->gfid);
        m->target_parked = false;
}

static void target_replaced(struct rename *m)
{
        struct brick *b = m->op->brick;
        struct object *t = &m->target;
        struct place at = {.dirfd = b->root_fd, .ino = t->st.st_ino};
        if (!t->inode)
                return;
        if (S_ISDIR(t->st.st_mode)) {
                m->target_gone = true;
                if (handle_dir_is(b, &t->inode->gfid, &m->new_parent.inode->gfid, m->new_name))
                        (void)handle_remove(b, &t->inode->gfid);
                return;
        }
        if (t->st.st_nlink > 2) {
                handle_path(&t->inode->gfid, at.path);
                names_remove(b, t->inode, &at, &m->new_parent.inode->gfid, m->new_name);
                (void)attr_touch(m->op, t->inode, &at, attr_object_times(m->op) & TIMES_CTIME);
                return;
        }
        m->target_gone = !m->target_parked || t->inode->fd_count == 0;
        if (!m->target_parked)
                return;
        t->inode->unlinked = !m->target_gone;
        handle_unlink_path(&t->inode->gfid, at.path);
        if (m->target_gone)
                (void)disk_unlink(b->disk, b->root_fd, at.path, 0);
        else
                names_remove(b, t->inode, &at, &m->new_parent.inode->gfid, m->new_name);
}

/* ---- the move ------------------------------------------------------------------------------------------------------ */

static int source_moved(struct rename *m)
{
        struct brick *b = m->op->brick;
        struct object *s = &m->source;
        const struct gfid *from = &m->old_parent.inode->gfid, *to = &m->new_parent.inode->gfid;
        s->at.dirfd = m->new_parent.at.dirfd;
        memcpy(s->at.path, m->new_name, strlen(m->new_name) + 1);
        int r = 0;
        if (S_ISDIR(s->st.st_mode)) {
                r = handle_move_dir(b, &s->inode->gfid, to, m->new_name);
        } else {
                names_add(b, s->inode, &s->at, to, m->new_name);
                names_remove(b, s->inode, &s->at, from, m->old_name);
        }
        (void)attr_touch(m->op, s->inode, &s->at, attr_object_times(m->op));
        return r;
}

/* Under both inode locks. A handle that could not be moved is repaired by the next look-up. */
static int move_held(struct rename *m)
{
        struct disk *d = m->op->brick->disk;
        int r = park_target(m);
        if (r < 0)
                return r;
        r = disk_rename(d, m->old_parent.at.dirfd, m->old_name, m->new_parent.at.dirfd, m->new_name, 0);
        brick_names_changed(m->op->brick);
        if (r < 0) {
                unpark_target(m);
                return r == -EEXIST ? -ENOTEMPTY : r;
        }
        target_replaced(m);
        if (source_moved(m) < 0)
                inode_set_handle_checked(m->source.inode, 0);
        return object_restat(m->op, &m->source);
}

static int move(struct rename *m)
{
        struct brick *b = m->op->brick;
        bool dir = S_ISDIR(m->source.st.st_mode);
        if (is_same_object(m))
                return 0;
        if (dir)
                pthread_rwlock_rdlock(&b->dir_moves);
        lock_inodes(m);
        int r = move_held(m);
        unlock_inodes(m);
        if (dir)
                pthread_rwlock_unlock(&b->dir_moves);
        if (r == 0 && m->target_exists)
                op_set_victim(m->op, m->target.inode, m->target_gone);
        if (r == 0 && m->target_gone)
                inode_forget(b, m->target.inode);
        return r;
}

/* ---- the answer ---------------------------------------------------------------------------------------------------- */

static int reply_target(struct rename *m)
{
        struct op *op = m->op;
        uint64_t links = 0;
        if (m->target_exists)
                links = S_ISDIR(m->target.st.st_mode) ? m->target.st.st_nlink : m->target.st.st_nlink - 1;
        int r = 0;
        if (op->xdata.get_link_count.present && m->target_exists)
                r = dict_add_uint(&op->reply, op->arena, "get-link-count", links);
        if (r == 0 && op->xdata.request_link_count.present)
                r = dict_add_uint(&op->reply, op->arena, "gf_response_link_count", links);
        return r;
}

static int parent_after(struct rename *m, struct object *parent, bool changed, struct iatt *ret)
{
        if (changed)
                (void)attr_touch(m->op, parent->inode, &parent->at, attr_parent_times(m->op));
        int r = object_restat(m->op, parent);
        return r < 0 ? r : attr_iatt(m->op, parent, ret);
}

/* Of both parents the one with more locks is reported. */
static int reply_lock_counts(struct rename *m)
{
        struct inode *a = m->old_parent.inode, *b = m->new_parent.inode;
        bool second = lock_count_inode(b, NULL) + lock_count_entry(b) > lock_count_inode(a, NULL) + lock_count_entry(a);
        return fill_lock_counts(m->op, second ? b : a, &m->op->reply);
}

static int answer(struct rename *m, struct rename_fop_rep *rep)
{
        bool changed = !is_same_object(m);
        int r = attr_iatt(m->op, &m->source, &rep->stat);
        if (r == 0)
                r = parent_after(m, &m->old_parent, changed, &rep->postoldparent);
        if (r == 0)
                r = parent_after(m, &m->new_parent, changed, &rep->postnewparent);
        return r < 0 ? r : reply_lock_counts(m);
}

static int rename_guarded(struct rename *m, struct rename_fop_rep *rep)
{
        int r = reply_target(m);
        if (r == 0)
                r = move(m);
        return r < 0 ? r : answer(m, rep);
}

static int rename_locked(struct rename *m, struct rename_fop_rep *rep)
{
        struct removal removal;
        int r = find_both(m);
        if (r == 0)
                r = check(m);
        if (r == 0)
                r = removal_begin(m->op, is_same_object(m) ? NULL : m->target.inode, &removal);
        if (r != 0)
                return r;
        r = rename_guarded(m, rep);
        removal_end(m->op, &removal);
        return r;
}

int fop_rename(struct op *op, const struct rename_fop_req *req, struct rename_fop_rep *rep)
{
        struct rename m = {.op = op, .old_name = req->oldbname.s, .new_name = req->newbname.s};
        struct entry_guard guard;
        int r = find_parents(&m, req);
        if (r == 0)
                r = entry_parent_before(op, &m.old_parent, &rep->preoldparent);
        if (r == 0)
                r = entry_parent_before(op, &m.new_parent, &rep->prenewparent);
        if (r == 0) {
                entry_lock2(op->brick, &m.old_parent.inode->gfid, m.old_name, &m.new_parent.inode->gfid, m.new_name,
                            &guard);
                r = rename_locked(&m, rep);
                entry_unlock(&guard);
        }
        rename_done(&m);
        return r;
}
