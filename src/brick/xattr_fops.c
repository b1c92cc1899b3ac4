/* SETXATTR, FSETXATTR, REMOVEXATTR, FREMOVEXATTR (spec: brick.md §10.1, §10.2, §4.5).
 *
 * Names with a meaning of their own are a table: a test of the name and what setting it does; everything else is an
 * attribute of the file system. The first failing name ends the request, names before it stay set. Any thread, without
 * inode.lock.
 */
#include "brick/acl.h"
#include "brick/internal.h"
#include "brick/lock_admin.h"
#include "brick/mandatory.h"
#include "brick/names.h"

#define KEY_SET_MDATA "set-ctime-mdata"

/* One name of a request. */
struct change {
        struct op *op;
        struct object *o;
        const struct io_fd *io; /* NULL: by path */
        int flags; /* XATTR_CREATE, XATTR_REPLACE */
        const char *name;
        const struct dict_value *value;
};

/* ---- setting: special names ------------------------------------------------------------------------------------ */

static bool is_linkto_mode(const struct stat *st)
{
        return S_ISREG(st->st_mode) && (st->st_mode & 07777) == 01000;
}

static int store(struct change *c, const char *name, struct slice value)
{
        return xattr_set(c->op->brick, c->o->inode, &c->o->at, name, value.data, value.len, c->flags);
}

static int set_nothing(struct change *c)
{
        (void)c;
        return 0;
}

static int refuse_access(struct change *c)
{
        (void)c;
        return -EACCES;
}

static int refuse_unsupported(struct change *c)
{
        (void)c;
        return -ENOTSUP;
}

static int set_plain(struct change *c)
{
        struct slice value;
        if (!name_in_namespace(c->name))
                return -ENOTSUP;
        int r = dict_value_bytes(c->value, c->op->arena, &value);
        return r < 0 ? r : store(c, c->name, value);
}

static int set_enforcement(struct change *c)
{
        int r = mandatory_attribute_check(c->op);
        return r < 0 ? r : set_plain(c);
}

/* The posix locks of another descriptor of this file become this one's. */
static int set_lockinfo(struct change *c)
{
        struct slice value;
        if (!c->io)
                return -ENOTSUP;
        int r = dict_value_bytes(c->value, c->op->arena, &value);
        return r < 0 ? r : lockinfo_set(c->op, c->io->of, value);
}

static int set_selinux(struct change *c)
{
        struct slice value;
        int r = dict_value_bytes(c->value, c->op->arena, &value);
        return r < 0 ? r : store(c, XATTR_SELINUX_STORED, value);
}

static int set_acl(struct change *c)
{
        return is_linkto_mode(&c->o->st) ? 0 : set_plain(c);
}

static int remove_if_there(struct change *c, const char *name)
{
        int r = xattr_remove(c->op->brick, c->o->inode, &c->o->at, name);
        return r == -ENODATA ? 0 : r;
}

/* The binary form goes back in the answer's xdata. */
static int set_acl_text(struct change *c)
{
        const char *name = streq(c->name, XATTR_ACL_TEXT) ? ACL_XATTR_ACCESS : ACL_XATTR_DEFAULT;
        struct slice bytes, acl;
        if (is_linkto_mode(&c->o->st))
                return 0;
        int r = dict_value_bytes(c->value, c->op->arena, &bytes);
        if (r < 0)
                return r;
        char *text = arena_strndup(c->op->arena, bytes.data, bytes.len);
        if (!text)
                return -ENOMEM;
        r = acl_from_text(text, c->op->arena, &acl);
        if (r < 0)
                return r;
        if (acl.len == 0)
                return remove_if_there(c, name);
        r = store(c, name, acl);
        return r < 0 ? r : dict_add_ptr(&c->op->reply, c->op->arena, name, acl.data, acl.len);
}

/* By path it is merged into what is there; by descriptor it is stored as it is. */
static int set_mdata(struct change *c)
{
        struct slice value;
        struct mdata m;
        int r = dict_value_bytes(c->value, c->op->arena, &value);
        if (r == 0)
                r = mdata_parse(value.data, value.len, &m);
        if (r < 0)
                return r;
        if (c->io)
                return store(c, c->name, value);
        return attr_merge_mdata(c->op, c->o->inode, &c->o->at, &m, true);
}

struct special_name {
        const char *name; /* with '*' at the end: a prefix */
        int (*set)(struct change *c);
};

static const struct special_name special_names[] = {
        {XATTR_GFID, set_nothing},
        {XATTR_VOLUME_ID, set_nothing},
        {"trusted.io-stats-dump", set_nothing},
        {"trusted.SGI_ACL_*", set_nothing}, /* what they mean comes as system.posix_acl_* */
        {"glusterfs.internal-ctx*", set_nothing},
        {"force-replace*", set_nothing},
        {"trusted.glusterfs.pathinfo", refuse_access},
        {"glusterfs.pathinfo", refuse_access},
        {"trusted.gfid2path.*", refuse_unsupported},
        {XATTR_LOCKINFO, set_lockinfo},
        {XATTR_ENFORCE_MANDATORY_LOCK, set_enforcement},
        {XATTR_MDATA, set_mdata},
        {XATTR_SELINUX, set_selinux},
        {XATTR_ACL_TEXT, set_acl_text},
        {XATTR_DEFAULT_ACL_TEXT, set_acl_text},
        {"system.posix_acl_*", set_acl},
};

static int set_one(struct change *c)
{
        if (name_is_bitrot(c->name))
                return -EINVAL;
        for (size_t i = 0; i < ELEMENTSOF(special_names); i++)
                if (glob_match(special_names[i].name, c->name))
                        return special_names[i].set(c);
        return set_plain(c);
}

static int set_dict(struct op *op, struct object *o, const struct io_fd *io, int flags, const struct dict *dict)
{
        for (uint32_t i = 0; i < dict->count; i++) {
                struct change c = {.op = op,
                                   .o = o,
                                   .io = io,
                                   .flags = flags,
                                   .name = dict->pairs[i].key.s,
                                   .value = &dict->pairs[i].value};
                int r = set_one(&c);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- healing a directory's attributes (brick.md §9: sync_backend_xattrs) --------------------------------------- */

static bool synced_away(const char *name)
{
        static const char *const names[] = {
                ACL_XATTR_ACCESS, ACL_XATTR_DEFAULT, "trusted.glusterfs.quota.limit-set",
                XATTR_SELINUX,    XATTR_MDATA,       "trusted.glusterfs.quota.limit-objects",
        };
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(name, names[i]))
                        return true;
        return starts_with(name, "user.");
}

static int sync_remove(struct op *op, struct object *o)
{
        struct xattr_view view;
        int r = object_restat(op, o);
        if (r == 0)
                r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        for (uint32_t i = 0; r == 0 && i < view.n; i++) {
                if (!synced_away(view.v[i].name))
                        continue;
                r = xattr_remove(op->brick, o->inode, &o->at, view.v[i].name);
                if (r == -ENODATA)
                        r = 0;
        }
        return r;
}

static int sync_store(struct op *op, struct object *o, const struct dict *dict)
{
        for (uint32_t i = 0; i < dict->count; i++) {
                const char *name = dict->pairs[i].key.s;
                struct slice value;
                if (!name_in_namespace(name) || name_is_identity(name) || name_is_xfs_acl(name) ||
                    starts_with(name, XATTR_GFID2PATH))
                        continue;
                int r = dict_value_bytes(&dict->pairs[i].value, op->arena, &value);
                if (r == 0)
                        r = xattr_set(op->brick, o->inode, &o->at, name, value.data, value.len, 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int sync_directory(struct op *op, struct object *o, const struct dict *dict)
{
        int r = sync_remove(op, o);
        return r < 0 ? r : sync_store(op, o, dict);
}

/* ---- permissions ----------------------------------------------------------------------------------------------- */

/* The owner may change ACLs; anything else needs w. */
static int check_name(struct op *op, struct object *o, const char *name)
{
        if (name_is_acl(name))
                return perm_is_owner(op, &o->st) ? 0 : -EPERM;
        return perm_check(op, o, PERM_WRITE);
}

static int check_names(struct op *op, struct object *o, const struct dict *dict)
{
        for (uint32_t i = 0; i < dict->count; i++) {
                int r = check_name(op, o, dict->pairs[i].key.s);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

static int changed_answer(struct op *op, struct object *o, const struct iatt *before)
{
        struct iatt after;
        uint32_t times = attr_object_times(op);
        if (times)
                (void)attr_touch(op, o->inode, &o->at, times); /* as with WRITE */
        int r = object_restat(op, o);
        if (r == 0)
                r = attr_iatt(op, o, &after);
        if (r == 0)
                r = dict_add_iatt(&op->reply, op->arena, "dht-get-iatt-in-xattr", &after);
        if (r == 0)
                r = dict_add_iatt(&op->reply, op->arena, "virt-gf-prestat", before);
        if (r == 0)
                r = dict_add_iatt(&op->reply, op->arena, "virt-gf-poststat", &after);
        return r < 0 ? r : fill_lock_counts(op, o->inode, &op->reply);
}

/* ---- SETXATTR -------------------------------------------------------------------------------------------------- */

static int set_all(struct op *op, struct object *o, const struct io_fd *io, uint32_t flags, const struct dict *dict)
{
        bool by_fd = io != NULL;
        if (flags & ~3u)
                return -EINVAL;
        int r = set_dict(op, o, io, (int)flags, dict);
        if (r == 0 && !by_fd && op->xdata.sync_backend_xattrs.present && S_ISDIR(o->st.st_mode))
                r = sync_directory(op, o, dict);
        if (r == 0 && by_fd && op->xdata.durable_op.present)
                r = disk_sync(op->brick->disk, o->at.dirfd, false);
        return r;
}

static int setxattr_object(struct op *op, struct object *o, const struct io_fd *io, uint32_t flags,
                           const struct dict *dict)
{
        struct iatt before;
        bool by_fd = io != NULL;
        int r = read_only_check(op);
        if (r == 0)
                r = space_check(op);
        if (r == 0 && !by_fd)
                r = check_names(op, o, dict);
        if (r < 0)
                return r;

        const struct dict_value *m = dict_get(dict, KEY_SET_MDATA);
        if (m && m->type == DICT_MDATA) /* nothing else of such a request counts */
                return attr_merge_mdata(op, o->inode, &o->at, &m->mdata, true);
        r = attr_iatt(op, o, &before);
        if (r == 0)
                r = set_all(op, o, io, flags, dict);
        return r < 0 ? r : changed_answer(op, o, &before);
}

int fop_setxattr(struct op *op, const struct setxattr_fop_req *req, struct setxattr_fop_rep *rep)
{
        (void)rep;
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = setxattr_object(op, &o, NULL, req->flags, &req->dict);
        object_done(op->brick, &o);
        return r;
}

int fop_fsetxattr(struct op *op, const struct fsetxattr_fop_req *req, struct fsetxattr_fop_rep *rep)
{
        (void)rep;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct object o = {.inode = io.inode, .at = io_place(&io)};
        r = object_restat(op, &o);
        if (r == 0)
                r = setxattr_object(op, &o, &io, req->flags, &req->dict);
        io_fd_done(op->brick, &io);
        return r;
}

/* ---- REMOVEXATTR ----------------------------------------------------------------------------------------------- */

static int remove_check(const struct op *op, const char *name)
{
        if (name_is_identity(name))
                return -EPERM;
        if (starts_with(name, XATTR_GFID2PATH))
                return -ENODATA;
        if (streq(name, XATTR_ENFORCE_MANDATORY_LOCK))
                return mandatory_attribute_check(op);
        return name_is_bitrot(name) ? -EINVAL : 0;
}

static int remove_one(struct op *op, struct object *o, const char *name)
{
        int r = remove_check(op, name);
        if (r < 0 || name_is_xfs_acl(name))
                return r;
        if (streq(name, XATTR_ACL_TEXT))
                name = ACL_XATTR_ACCESS;
        else if (streq(name, XATTR_DEFAULT_ACL_TEXT))
                name = ACL_XATTR_DEFAULT;
        else if (streq(name, XATTR_SELINUX))
                name = XATTR_SELINUX_STORED;
        return name_in_namespace(name) ? xattr_remove(op->brick, o->inode, &o->at, name) : -ENOTSUP;
}

static int remove_permitted(struct op *op, struct object *o, const char *name)
{
        if (name_is_acl(name) && !perm_is_owner(op, &o->st))
                return -EPERM;
        return perm_check(op, o, PERM_WRITE);
}

/* An empty name: every attribute that the request's xdata names. A healer sends an empty one to a copy without any. */
static int remove_bulk(struct op *op, struct object *o, bool by_fd, const struct dict *names)
{
        for (uint32_t i = 0; i < names->count; i++) {
                const char *name = names->pairs[i].key.s;
                if (!name_in_namespace(name))
                        continue;
                int r = by_fd ? 0 : remove_permitted(op, o, name);
                if (r == 0)
                        r = remove_one(op, o, name);
                if (r < 0 && r != -ENODATA)
                        return r;
        }
        return 0;
}

static int removexattr_object(struct op *op, struct object *o, bool by_fd, const char *name, const struct dict *xdata)
{
        struct iatt before;
        int r = read_only_check(op);
        if (r == 0 && !by_fd)
                r = remove_permitted(op, o, name);
        if (r == 0)
                r = attr_iatt(op, o, &before);
        if (r < 0)
                return r;
        bool bulk = name[0] == '\0' && !xdata->null;
        r = bulk ? remove_bulk(op, o, by_fd, xdata) : remove_one(op, o, name);
        return r < 0 ? r : changed_answer(op, o, &before);
}

int fop_removexattr(struct op *op, const struct removexattr_fop_req *req, struct removexattr_fop_rep *rep)
{
        (void)rep;
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = removexattr_object(op, &o, false, req->name.s, &req->xdata);
        object_done(op->brick, &o);
        return r;
}

int fop_fremovexattr(struct op *op, const struct fremovexattr_fop_req *req, struct fremovexattr_fop_rep *rep)
{
        (void)rep;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct object o = {.inode = io.inode, .at = io_place(&io)};
        r = object_restat(op, &o);
        if (r == 0)
                r = removexattr_object(op, &o, true, req->name.s, &req->xdata);
        io_fd_done(op->brick, &io);
        return r;
}
