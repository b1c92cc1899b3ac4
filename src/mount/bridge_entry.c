/* Names: looking up, making, removing, renaming.
 *
 * The volume wants to know which objects an operation is about, the kernel only says names: a name that was looked up
 * before is remembered with its node (node.h), one that was not is looked up first. What is remembered may be out of
 * date; then the volume says ENOENT or ESTALE, the name is looked up afresh and the operation tried once more,
 * or a few times if somebody replaces it meanwhile.
 *
 * A new object's gfid is chosen here. Creation is exclusive even if the program did not ask for it: whoever loses a
 * race opens what is there.
 */
#include "mount/bridge_state.h"

#include <fcntl.h>
#include <sys/stat.h>

#define ESTALE_TRIES 5
#define CREATE_TRIES 20
#define OPEN_FLAGS_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY)

/* ---- looking up -------------------------------------------------------------------------------------------------- */

struct node *bridge_node_of(struct bridge *b, struct vnode *inode, const struct iatt *stat)
{
        _cleanup_vnode_ struct vnode *linked = vnode_link(inode, stat);
        struct node *n = node_get(&b->nodes, linked, 0);
        if (n) {
                n->mode = stat->mode;
                n->uid = stat->uid;
                node_touch(&b->nodes, n);
        }
        return n;
}

/* One LOOKUP of NAME. KNOWN: the object that it was, NULL for one not seen before. */
static int lookup_once(struct call *c, struct node *parent, const char *name, struct node *known, struct node **ret,
                       struct iatt *ret_stat)
{
        struct request r = c->r;
        _cleanup_vnode_ struct vnode *inode = known ? vnode_ref(known->inode) : vnode_new(c->b->volume, NULL, 0);
        if (!inode)
                return -ENOMEM;
        r.inode = inode;
        r.parent = parent->inode;
        r.file = NULL;
        struct lookup_fop_req req = {.gfid = inode->gfid, .pargfid = parent->inode->gfid, .bname = str_of(name)};
        struct lookup_fop_rep rep = {0};
        int result = 0;
        if (!known) {
                struct gfid fresh = bridge_new_gfid(c->b);
                result = dict_add_gfid(&req.xdata, r.arena, "gfid-req", &fresh);
        }
        if (result == 0)
                result = subvolume_lookup(c->self, call_top(c), &r, &req, &rep);
        if (result < 0)
                return result;
        if (!stat_is_usable(&rep.prestat) || (known && !gfid_equal(&rep.prestat.gfid, &inode->gfid)))
                return -ESTALE;
        *ret = bridge_node_of(c->b, inode, &rep.prestat);
        if (!*ret)
                return -ENOMEM;
        *ret_stat = rep.prestat;
        return 0;
}

/* What was found under a name not known is written to by another: its attributes once more. */
static int settle_found(struct call *c, struct node *parent, const char *name, struct node **found,
                        struct iatt *ret_stat)
{
        struct node *n = *found;
        if (write_behind_is_idle(n))
                return 0;
        int r = write_behind_settle(c, n);
        if (r == 0)
                r = lookup_once(c, parent, name, n, found, ret_stat);
        node_unref(&c->b->nodes, n);
        return r;
}

int bridge_lookup(struct call *c, struct node *parent, const char *name, struct node **ret, struct iatt *ret_stat)
{
        struct node_table *t = &c->b->nodes;
        struct node *known = entry_find(t, parent, name);
        int r = known ? write_behind_settle(c, known) : 0; /* the kernel believes the size that it is told */
        if (r == 0)
                r = lookup_once(c, parent, name, known, ret, ret_stat);
        if (known && (r == -ESTALE || r == -ENOENT)) { /* perhaps another object has the name now */
                entry_drop(t, parent, name);
                r = lookup_once(c, parent, name, NULL, ret, ret_stat);
        }
        if (r == 0 && *ret != known)
                r = settle_found(c, parent, name, ret, ret_stat);
        node_unref(t, known);
        if (r == 0) {
                cache_found(c->b, parent, name);
                entry_set(t, parent, name, *ret);
        } else if (r == -ENOENT) {
                entry_drop(t, parent, name);
                cache_missed(c->b, parent, name);
        }
        return r;
}

/* The node behind NAME: what is remembered, or looked up. */
static int resolve(struct call *c, struct node *parent, const char *name, struct node **ret)
{
        struct iatt stat;
        *ret = entry_find(&c->b->nodes, parent, name);
        return *ret ? 0 : bridge_lookup(c, parent, name, ret, &stat);
}

static void drop_hint(struct call *c, struct node *parent, const char *name)
{
        entry_drop(&c->b->nodes, parent, name);
}

static bool is_outdated(int r)
{
        return r == -ENOENT || r == -ESTALE;
}

/* Whether to look names up afresh and try once more, after TRIES of that. Others may replace them faster than we look.
 */
static bool is_worth_again(int r, unsigned tries)
{
        return (r == -ENOENT && tries == 0) || (r == -ESTALE && tries < ESTALE_TRIES);
}

/* ---- what the kernel is told ------------------------------------------------------------------------------------- */

struct fuse_entry bridge_entry(struct bridge *b, struct node *parent, struct node *n, const struct iatt *stat,
                               uint64_t began)
{
        cache_tell(b, n, stat, began);
        uint64_t attr_timeout = cache_attr_timeout(b, n, began);
        cache_keep_attr(b, n, stat, attr_timeout);
        return (struct fuse_entry){.node = n->id,
                                   .entry_timeout = cache_entry_timeout(b, parent, n, began),
                                   .attr_timeout = attr_timeout,
                                   .attr = attr_from(b, stat)};
}

static void answer_entry(struct call *c, struct node *n, const struct iatt *stat)
{
        struct fuse_entry e = bridge_entry(c->b, c->node, n, stat, c->began);
        node_looked_up(n);
        if (fuse_reply_entry(c->rq, &e) < 0)
                node_forget(&c->b->nodes, n, 1);
        cache_evict(c->b);
}

static void fail(struct call *c, int r)
{
        (void)fuse_reply_error(c->rq, r);
}

void bridge_op_lookup(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct node *n;
        struct iatt stat;
        int r = call_begin(&c, self, rq);
        if (r == 0)
                r = bridge_lookup(&c, c.node, rq->name, &n, &stat);
        if (r == 0)
                r = open_again_look(&c, c.node, rq->name, &n, &stat);
        if (r == -ENOENT && c.b->config.negative_timeout != UINT64_MAX && c.b->config.negative_timeout > 0) {
                (void)fuse_reply_negative(rq, c.b->config.negative_timeout);
                return;
        }
        if (r < 0) {
                fail(&c, r);
                return;
        }
        answer_entry(&c, n, &stat);
        node_unref(&c.b->nodes, n);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* What mknod, mkdir, symlink and create have in common: a new inode with its gfid, asked for in XDATA. */
static int begin_creation(struct call *c, enum fop fop, uint32_t type, struct dict *xdata, struct vnode **ret)
{
        struct gfid gfid = bridge_new_gfid(c->b);
        *ret = vnode_new(c->b->volume, &gfid, type);
        if (!*ret)
                return -ENOMEM;
        call_stamp(c, fop);
        c->r.inode = *ret;
        c->r.parent = c->node->inode;
        return dict_add_gfid(xdata, c->r.arena, "gfid-req", &gfid);
}

/* The directory of a name as the answer tells it. */
struct parents {
        struct iatt before, after;
};

/* The object is there: its node, remembered under NAME. NULL: out of memory. */
static struct node *made(struct call *c, struct vnode *inode, const struct iatt *stat, const struct parents *p)
{
        cache_names_changed(c->b, c->node, c->began, &p->before, &p->after);
        cache_found(c->b, c->node, c->rq->name);
        struct node *n = stat_is_usable(stat) ? bridge_node_of(c->b, inode, stat) : NULL;
        if (n)
                entry_set(&c->b->nodes, c->node, c->rq->name, n);
        if (n)
                cache_began_again(c, n); /* the directory's own change does not make the new object doubtful */
        return n;
}

static void answer_made(struct call *c, int r, struct vnode *inode, const struct iatt *stat, const struct parents *p)
{
        struct node *n = r >= 0 ? made(c, inode, stat, p) : NULL;
        if (n)
                answer_entry(c, n, stat);
        else
                fail(c, r < 0 ? r : -EIO);
        node_unref(&c->b->nodes, n);
}

void bridge_op_mknod(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        _cleanup_vnode_ struct vnode *inode = NULL;
        struct mknod_fop_rep rep = {0};
        const struct fuse_mknod_in *in = rq->in.mknod;
        int r = call_begin(&c, self, rq);
        if (r == 0) {
                struct mknod_fop_req req = {.pargfid = c.node->inode->gfid,
                                            .dev = in->rdev,
                                            .mode = in->mode,
                                            .umask = in->umask,
                                            .bname = str_of(rq->name)};
                r = begin_creation(&c, FOP_MKNOD, in->mode & S_IFMT, &req.xdata, &inode);
                if (r == 0)
                        r = subvolume_mknod(self, call_top(&c), &c.r, &req, &rep);
        }
        answer_made(&c, r, inode, &rep.stat, &(struct parents){rep.preparent, rep.postparent});
}

void bridge_op_mkdir(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        _cleanup_vnode_ struct vnode *inode = NULL;
        struct mkdir_fop_rep rep = {0};
        const struct fuse_mkdir_in *in = rq->in.mkdir;
        int r = call_begin(&c, self, rq);
        if (r == 0) {
                struct mkdir_fop_req req = {.pargfid = c.node->inode->gfid,
                                            .mode = in->mode,
                                            .umask = in->umask,
                                            .bname = str_of(rq->name)};
                r = begin_creation(&c, FOP_MKDIR, S_IFDIR, &req.xdata, &inode);
                if (r == 0)
                        r = subvolume_mkdir(self, call_top(&c), &c.r, &req, &rep);
        }
        answer_made(&c, r, inode, &rep.stat, &(struct parents){rep.preparent, rep.postparent});
}

void bridge_op_symlink(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        _cleanup_vnode_ struct vnode *inode = NULL;
        struct symlink_fop_rep rep = {0};
        int r = call_begin(&c, self, rq);
        if (r == 0) {
                struct symlink_fop_req req = {
                        .pargfid = c.node->inode->gfid, .bname = str_of(rq->name), .linkname = str_of(rq->new_name)};
                r = begin_creation(&c, FOP_SYMLINK, S_IFLNK, &req.xdata, &inode);
                if (r == 0)
                        r = subvolume_symlink(self, call_top(&c), &c.r, &req, &rep);
        }
        answer_made(&c, r, inode, &rep.stat, &(struct parents){rep.preparent, rep.postparent});
}

/* Somebody was faster: what is there is opened, as open(2) does without O_EXCL. */
static int open_existing(struct call *c, uint32_t flags, struct node **ret, struct iatt *ret_stat,
                         struct vfile **ret_file)
{
        struct node *n;
        int r = bridge_lookup(c, c->node, c->rq->name, &n, ret_stat);
        if (r < 0)
                return r;
        if (S_ISDIR(ret_stat->mode))
                r = -EISDIR;
        else if (!S_ISREG(ret_stat->mode))
                r = -EEXIST;
        struct vfile *file = NULL;
        if (r == 0)
                r = bridge_open(c, n, flags & ~(uint32_t)OPEN_FLAGS_ONCE, &file);
        if (r == 0 && (flags & O_TRUNC)) {
                struct request request = c->r;
                struct truncate_fop_req req = {.gfid = n->inode->gfid};
                struct truncate_fop_rep rep = {0};
                request.inode = n->inode;
                request.parent = NULL;
                volume_stamp(c->b->volume, &request.cred, FOP_TRUNCATE);
                r = subvolume_truncate(c->self, call_top(c), &request, &req, &rep);
                if (r >= 0 && stat_is_usable(&rep.poststat))
                        *ret_stat = rep.poststat;
                cache_changed(c->b, n);
        }
        if (r < 0) {
                vfile_unref(file);
                node_unref(&c->b->nodes, n);
                return r;
        }
        *ret = n;
        *ret_file = file;
        return 0;
}

static int create_new(struct call *c, struct node **ret, struct iatt *ret_stat, struct vfile **ret_file)
{
        const struct fuse_create_in *in = c->rq->in.create;
        _cleanup_vnode_ struct vnode *inode = NULL;
        uint32_t flags = in->flags & ~(uint32_t)O_NOCTTY;
        struct create_fop_req req = {.pargfid = c->node->inode->gfid,
                                     .flags = flags | O_CREAT | O_EXCL,
                                     .mode = S_IFREG | in->mode,
                                     .umask = in->umask,
                                     .bname = str_of(c->rq->name)};
        struct create_fop_rep rep = {0};
        int r = begin_creation(c, FOP_CREATE, S_IFREG, &req.xdata, &inode);
        if (r < 0)
                return r;
        _cleanup_vfile_ struct vfile *file = vfile_new(inode, in->flags & ~(uint32_t)OPEN_FLAGS_ONCE, false);
        if (!file)
                return -ENOMEM;
        c->r.file = file;
        r = subvolume_create(c->self, call_top(c), &c->r, &req, &rep);
        c->r.file = NULL;
        if (r < 0)
                return r;
        *ret = made(c, inode, &rep.stat, &(struct parents){rep.preparent, rep.postparent});
        if (!*ret)
                return -EIO;
        cache_set_no_capability(c->b, *ret);
        *ret_stat = rep.stat;
        *ret_file = TAKE_PTR(file);
        return 0;
}

static void answer_created(struct call *c, struct node *n, const struct iatt *stat, struct vfile *file)
{
        uint64_t fh;
        int r = file_table_add(c->b, file, n, &fh);
        if (r < 0) {
                fail(c, r);
                return;
        }
        struct fuse_entry e = bridge_entry(c->b, c->node, n, stat, c->began);
        node_looked_up(n);
        if (fuse_reply_created(c->rq, &e, fh, bridge_open_flags(c->b, c->rq->in.create->flags)) < 0) {
                file_table_remove(c->b, fh);
                node_forget(&c->b->nodes, n, 1);
        }
        cache_evict(c->b);
}

void bridge_op_create(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct node *n = NULL;
        struct vfile *file = NULL;
        struct iatt stat;
        int r = call_begin(&c, self, rq);
        if (r == 0)
                r = create_new(&c, &n, &stat, &file);
        for (unsigned i = 0; i < CREATE_TRIES && r == -EEXIST && !(rq->in.create->flags & O_EXCL); i++) {
                r = open_existing(&c, rq->in.create->flags, &n, &stat, &file);
                if (is_outdated(r)) /* it was removed meanwhile */
                        r = create_new(&c, &n, &stat, &file);
        }
        if (r < 0)
                fail(&c, r);
        else
                answer_created(&c, n, &stat, file);
        node_unref(&c.b->nodes, n);
}

/* ---- removing ---------------------------------------------------------------------------------------------------- */

static int unlink_once(struct call *c, struct node *victim, struct parents *ret)
{
        struct unlink_fop_req req = {.pargfid = c->node->inode->gfid, .bname = str_of(c->rq->name)};
        struct unlink_fop_rep rep = {0};
        call_stamp(c, FOP_UNLINK);
        c->r.inode = victim->inode;
        c->r.parent = c->node->inode;
        int r = subvolume_unlink(c->self, call_top(c), &c->r, &req, &rep);
        *ret = (struct parents){rep.prestat, rep.poststat};
        return r;
}

static int rmdir_once(struct call *c, struct node *victim, struct parents *ret)
{
        struct rmdir_fop_req req = {.pargfid = c->node->inode->gfid, .bname = str_of(c->rq->name)};
        struct rmdir_fop_rep rep = {0};
        call_stamp(c, FOP_RMDIR);
        c->r.inode = victim->inode;
        c->r.parent = c->node->inode;
        int r = subvolume_rmdir(c->self, call_top(c), &c->r, &req, &rep);
        *ret = (struct parents){rep.prestat, rep.poststat};
        return r;
}

static int remove_resolved(struct call *c, int (*once)(struct call *c, struct node *victim, struct parents *ret))
{
        struct node *victim;
        int r = resolve(c, c->node, c->rq->name, &victim);
        if (r < 0)
                return r;
        struct parents p = {0};
        open_before_removal(c, victim);
        r = once(c, victim, &p);
        victim->removing--;
        cache_names_changed(c->b, c->node, c->began, &p.before, &p.after);
        cache_changed(c->b, victim);
        if (r >= 0 || is_outdated(r))
                drop_hint(c, c->node, c->rq->name);
        node_unref(&c->b->nodes, victim);
        return r;
}

static void remove_name(struct fibre *self, struct fuse_request *rq,
                        int (*once)(struct call *c, struct node *victim, struct parents *ret))
{
        _cleanup_call_ struct call c;
        int r = call_begin(&c, self, rq);
        if (r == 0)
                r = remove_resolved(&c, once);
        for (unsigned i = 0; c.node && is_worth_again(r, i); i++)
                r = remove_resolved(&c, once);
        if (r < 0)
                fail(&c, r);
        else
                (void)fuse_reply_ok(rq);
}

void bridge_op_unlink(struct fibre *self, struct fuse_request *rq)
{
        remove_name(self, rq, unlink_once);
}

void bridge_op_rmdir(struct fibre *self, struct fuse_request *rq)
{
        remove_name(self, rq, rmdir_once);
}

/* ---- renaming ---------------------------------------------------------------------------------------------------- */

/* What has the new name: *ret NULL if nothing. A name that the kernel just asked for in vain is not looked up again. */
static int resolve_target(struct call *c, struct node *directory, const char *name, struct node **ret)
{
        *ret = NULL;
        if (cache_misses(c->b, directory, name))
                return 0;
        int r = resolve(c, directory, name, ret);
        return r == -ENOENT ? 0 : r;
}

static int rename_once(struct call *c, struct node *to)
{
        const struct fuse_request *rq = c->rq;
        struct node *source, *target = NULL;
        int r = resolve(c, c->node, rq->name, &source);
        if (r < 0)
                return r;
        r = write_behind_settle(c, source); /* no name without the data that was written before it was given */
        if (r == 0)
                r = resolve_target(c, to, rq->new_name, &target);
        if (r == 0) {
                struct rename_fop_req req = {.oldgfid = c->node->inode->gfid,
                                             .newgfid = to->inode->gfid,
                                             .oldbname = str_of(rq->name),
                                             .newbname = str_of(rq->new_name)};
                struct rename_fop_rep rep = {0};
                call_stamp(c, FOP_RENAME);
                c->r.inode = source->inode;
                c->r.parent = c->node->inode;
                c->r.new_parent = to->inode;
                c->r.new_inode = target ? target->inode : NULL;
                if (target)
                        open_before_removal(c, target);
                r = subvolume_rename(c->self, call_top(c), &c->r, &req, &rep);
                if (target)
                        target->removing--;
        }
        cache_found(c->b, to, rq->new_name);
        cache_changed(c->b, c->node);
        cache_changed(c->b, to);
        cache_changed(c->b, source);
        if (target)
                cache_changed(c->b, target);
        if (r >= 0 && source != target) {
                drop_hint(c, c->node, rq->name);
                entry_set(&c->b->nodes, to, rq->new_name, source);
        } else if (is_outdated(r)) {
                drop_hint(c, c->node, rq->name);
                drop_hint(c, to, rq->new_name);
        }
        node_unref(&c->b->nodes, target);
        node_unref(&c->b->nodes, source);
        return r;
}

void bridge_op_rename(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = call_begin(&c, self, rq);
        struct node *to = node_find(&c.b->nodes, rq->in.rename->newdir);
        if (r == 0 && !to)
                r = -ESTALE;
        if (r == 0)
                r = rename_once(&c, to);
        for (unsigned i = 0; to && c.node && is_worth_again(r, i); i++)
                r = rename_once(&c, to);
        if (r < 0)
                fail(&c, r);
        else
                (void)fuse_reply_ok(rq);
        node_unref(&c.b->nodes, to);
}

void bridge_op_link(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = call_begin(&c, self, rq);
        struct node *old = node_find(&c.b->nodes, rq->in.link->oldnodeid);
        struct link_fop_rep rep = {0};
        if (r == 0)
                r = old ? write_behind_settle(&c, old) : -ESTALE;
        if (r == 0) {
                struct link_fop_req req = {
                        .oldgfid = old->inode->gfid, .newgfid = c.node->inode->gfid, .newbname = str_of(rq->name)};
                call_stamp(&c, FOP_LINK);
                c.r.inode = old->inode;
                c.r.parent = c.r.new_parent = c.node->inode;
                r = subvolume_link(self, call_top(&c), &c.r, &req, &rep);
                cache_changed(c.b, old);
        }
        answer_made(&c, r, old ? old->inode : NULL, &rep.stat, &(struct parents){rep.preparent, rep.postparent});
        node_unref(&c.b->nodes, old);
}
