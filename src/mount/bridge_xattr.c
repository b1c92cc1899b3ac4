/* Extended attributes: what programs may see and change of those that the volume keeps.
 *
 * The volume's own attributes (layout, pending counters, gfid, times) are nobody's business but the volume's: not
 * listed, not found by name, not changed; unless the client is one of the volume's own (a negative client pid). Names
 * that bricks or layers answer without storing them (glusterfs.…, trusted.glusterfs.pathinfo and others) pass.
 *
 * GETXATTR is never answered ENOSYS: the kernel would refuse all xattrs for the life of the mount.
 */
#include "mount/bridge_state.h"
#include "volume/xattr_name.h"

#define CAPABILITY "security.capability"

/* ---- which names ------------------------------------------------------------------------------------------------- */

static bool is_internal(const struct bridge *b, const char *name)
{
        return b->config.client_pid >= 0 && xattr_name_is_internal(name);
}

static bool is_acl(const char *name)
{
        return streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default");
}

static int check_readable(const struct bridge *b, const char *name)
{
        if (is_acl(name) && !b->config.acl)
                return -EOPNOTSUPP;
        if (streq(name, "security.selinux") && !b->config.selinux)
                return -ENODATA;
        if (is_internal(b, name) && !xattr_name_is_virtual(name))
                return -ENODATA;
        return strlen(name) > XATTR_NAME_LIMIT ? -ERANGE : 0;
}

static int check_changeable(const struct bridge *b, const char *name)
{
        if ((is_acl(name) && !b->config.acl) || (streq(name, "security.selinux") && !b->config.selinux))
                return -EOPNOTSUPP;
        if (is_internal(b, name))
                return -EPERM;
        return strlen(name) > XATTR_NAME_LIMIT ? -ERANGE : 0;
}

static bool is_listed(const struct call *c, const char *name)
{
        if (starts_with(name, "trusted.") && c->rq->uid != 0)
                return false; /* as on local file systems */
        if (starts_with(name, "glusterfs.") || is_internal(c->b, name))
                return false;
        return (c->b->config.acl || !is_acl(name)) && (c->b->config.selinux || !streq(name, "security.selinux"));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* What this client knows by itself. */
static bool answer_locally(struct call *c, const char *name)
{
        char text[GFID_TEXT_LEN + 1];
        const struct gfid *gfid = &c->node->inode->gfid;
        if (streq(name, "glusterfs.gfid"))
                (void)fuse_reply_xattr(c->rq, gfid->b, sizeof gfid->b);
        else if (streq(name, "glusterfs.gfid.string"))
                (void)fuse_reply_xattr(c->rq, gfid_format(gfid, text), GFID_TEXT_LEN);
        else
                return false;
        return true;
}

static int ask_open_file(struct call *c, struct str name, struct dict *ret)
{
        struct fgetxattr_fop_req req = {.gfid = c->node->inode->gfid, .namelen = name.len ? 1 : 0, .name = name};
        struct fgetxattr_fop_rep rep = {0};
        call_stamp(c, FOP_FGETXATTR);
        int r = subvolume_fgetxattr(c->self, call_top(c), &c->r, &req, &rep);
        *ret = rep.dict;
        return r;
}

static int ask(struct call *c, struct str name, struct dict *ret)
{
        struct getxattr_fop_req req = {.gfid = c->node->inode->gfid, .namelen = name.len ? 1 : 0, .name = name};
        struct getxattr_fop_rep rep = {0};
        call_stamp(c, FOP_GETXATTR);
        int r = subvolume_getxattr(c->self, call_top(c), &c->r, &req, &rep);
        *ret = rep.dict;
        return call_by_open_file(c, r) ? ask_open_file(c, name, ret) : r;
}

/* The name of an answer may be another than the one asked for: layers answer for several names with one. */
static int find_value(struct call *c, const struct dict *d, const char *name, struct slice *ret)
{
        const struct dict_value *value = dict_get(d, name);
        return value ? dict_value_bytes(value, c->r.arena, ret) : -ENODATA;
}

static int get_value(struct call *c, const char *name, struct slice *ret)
{
        bool capability = streq(name, CAPABILITY);
        struct dict answer = {0};
        if (capability && cache_no_capability(c->b, c->node))
                return -ENODATA;
        int r = ask(c, str_of(name), &answer);
        if (r >= 0)
                r = find_value(c, &answer, name, ret);
        if (capability && r == -ENODATA && c->node->invalidated <= c->began && c->node->changed <= c->began)
                cache_set_no_capability(c->b, c->node);
        return r;
}

void bridge_op_getxattr(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct slice value;
        int r = call_begin(&c, self, rq);
        if (r == 0)
                r = check_readable(c.b, rq->name);
        if (r == 0 && answer_locally(&c, rq->name))
                return;
        if (r == 0)
                r = get_value(&c, rq->name, &value);
        if (r < 0)
                (void)fuse_reply_error(rq, call_node_error(r));
        else
                (void)fuse_reply_xattr(rq, value.data, value.len);
}

static int list_names(struct call *c, struct buf *out)
{
        struct dict answer = {0};
        int r = ask(c, STR(""), &answer);
        for (uint32_t i = 0; r >= 0 && i < answer.count; i++)
                if (answer.pairs[i].key.len > 0 && is_listed(c, answer.pairs[i].key.s))
                        (void)buf_append(out, answer.pairs[i].key.s, answer.pairs[i].key.len + 1);
        return r < 0 ? r : out->error;
}

void bridge_op_listxattr(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        _cleanup_buf_ struct buf names = BUF_INIT(MIB);
        int r = call_begin(&c, self, rq);
        if (r == 0)
                r = list_names(&c, &names);
        if (r == -ENODATA)
                r = 0;
        if (r < 0)
                (void)fuse_reply_error(rq, call_node_error(r));
        else
                (void)fuse_reply_xattr(rq, names.data ? (const char *)names.data : "", names.len);
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int begin_change(struct call *c, struct fibre *self, struct fuse_request *rq)
{
        int r = call_begin(c, self, rq);
        if (r == 0)
                r = check_changeable(c->b, rq->name);
        return r == 0 ? write_behind_settle(c, c->node) : r; /* a write takes capabilities away */
}

static void answer_changed(struct call *c, int r)
{
        if (c->node) {
                c->node->no_capability_until = 0;
                cache_changed(c->b, c->node);
        }
        if (r < 0)
                (void)fuse_reply_error(c->rq, call_node_error(r));
        else
                (void)fuse_reply_ok(c->rq);
}

static int set_value(struct call *c, const char *name, const void *data, size_t size, uint32_t flags)
{
        struct setxattr_fop_req req = {.gfid = c->node->inode->gfid, .flags = flags};
        struct setxattr_fop_rep rep = {0};
        int r = dict_add_ptr(&req.dict, c->r.arena, name, data ? data : "", (uint32_t)size);
        if (r < 0)
                return r;
        call_stamp(c, FOP_SETXATTR);
        r = subvolume_setxattr(c->self, call_top(c), &c->r, &req, &rep);
        if (!call_by_open_file(c, r))
                return r;
        struct fsetxattr_fop_req freq = {.gfid = req.gfid, .flags = flags, .dict = req.dict};
        struct fsetxattr_fop_rep frep = {0};
        call_stamp(c, FOP_FSETXATTR);
        return subvolume_fsetxattr(c->self, call_top(c), &c->r, &freq, &frep);
}

void bridge_op_setxattr(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = begin_change(&c, self, rq);
        if (r == 0)
                r = set_value(&c, rq->name, rq->data, rq->size, rq->in.setxattr->flags);
        answer_changed(&c, r);
}

static int remove_value(struct call *c, const char *name)
{
        struct removexattr_fop_req req = {.gfid = c->node->inode->gfid, .name = str_of(name)};
        struct removexattr_fop_rep rep = {0};
        call_stamp(c, FOP_REMOVEXATTR);
        int r = subvolume_removexattr(c->self, call_top(c), &c->r, &req, &rep);
        if (!call_by_open_file(c, r))
                return r;
        struct fremovexattr_fop_req freq = {.gfid = req.gfid, .name = req.name};
        struct fremovexattr_fop_rep frep = {0};
        call_stamp(c, FOP_FREMOVEXATTR);
        return subvolume_fremovexattr(c->self, call_top(c), &c->r, &freq, &frep);
}

void bridge_op_removexattr(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = begin_change(&c, self, rq);
        if (r == 0)
                r = remove_value(&c, rq->name);
        answer_changed(&c, r);
}
