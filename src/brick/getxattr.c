/* GETXATTR, FGETXATTR: real attributes, filtered, and the brick's virtual ones (spec: brick.md §10.3).
 *
 * Virtual names are a table of name and function; a function that answers -ENODATA means the name exists but has no
 * value here. Everything else is looked up in the attribute snapshot. Any thread, without inode.lock.
 */
#include <strings.h>

#include "brick/acl.h"
#include "brick/ancestry.h"
#include "brick/internal.h"
#include "brick/lock_admin.h"
#include "brick/names.h"

#define REAL_NAME_PREFIX "glusterfs.get_real_filename:"
#define DIRENTS_SIZE (32 * KIB)

struct query {
        struct op *op;
        struct object *o;
        const struct io_fd *io; /* NULL: by path */
        const char *name;
        struct dict *dict; /* of the answer */
};

static int answer_text(struct query *q, const char *text)
{
        return dict_add_str(q->dict, q->op->arena, q->name, text);
}

/* ---- virtual names --------------------------------------------------------------------------------------------- */

static const char *host_text(struct op *op, char gfid_text[static GFID_TEXT_LEN + 1])
{
        const struct brick *b = op->brick;
        bool uuid = b->options->node_uuid_pathinfo && !gfid_is_null(&b->node_uuid);
        return uuid ? gfid_format(&b->node_uuid, gfid_text) : b->hostname;
}

/* Where nothing says which name the object has, its handle is the path. */
static int real_path(struct query *q, const char **ret)
{
        char *path = NULL;
        int r = path_of_object(q->op, q->o, true, &path);
        if (r == -ENOENT) {
                char handle[HANDLE_PATH_MAX];
                handle_path(&q->o->inode->gfid, handle);
                path = arena_printf(q->op->arena, "/%s", handle);
                r = path ? 0 : -ENOMEM;
        }
        if (r == 0)
                *ret = path;
        return r;
}

static int get_pathinfo(struct query *q)
{
        const struct brick *b = q->op->brick;
        char uuid[GFID_TEXT_LEN + 1];
        const char *path = NULL;
        int r = real_path(q, &path);
        if (r < 0)
                return r;
        const char *text = arena_printf(q->op->arena, "<POSIX(%s):%s:%s%s>", b->path, host_text(q->op, uuid), b->path,
                                        streq(path, "/") ? "" : path);
        return text ? answer_text(q, text) : -ENOMEM;
}

static int get_node_uuid(struct query *q)
{
        char text[GFID_TEXT_LEN + 1];
        if (gfid_is_null(&q->op->brick->node_uuid))
                return -ENODATA;
        int r = bad_file_check(q->op, q->o);
        if (r < 0)
                return r;
        const char *copy = arena_strndup(q->op->arena, gfid_format(&q->op->brick->node_uuid, text), GFID_TEXT_LEN);
        return copy ? answer_text(q, copy) : -ENOMEM;
}

/* Appends PATH to *ALL, separated. */
static int join_path(struct op *op, const char **all, const char *path)
{
        const char *joined =
                *all ? arena_printf(op->arena, "%s%s%s", *all, op->brick->options->gfid2path_separator, path) : path;
        if (!joined)
                return -ENOMEM;
        *all = joined;
        return 0;
}

static int all_paths(struct query *q, const char **ret)
{
        struct xattr_view view;
        struct op *op = q->op;
        int r = xattr_view(op->brick, q->o->inode, &q->o->at, &q->o->st, op->arena, &view);
        const char *all = NULL;
        for (uint32_t i = 0; r == 0 && i < view.n; i++) {
                char *path;
                r = path_of_name(op, &view.v[i], false, &path);
                r = r == 0 ? join_path(op, &all, path) : r == -ENOENT ? 0 : r;
        }
        if (r == 0 && !all)
                r = -ENODATA;
        if (r == 0)
                *ret = all;
        return r;
}

static int get_one_path(struct query *q)
{
        char *path;
        int r = path_of_object(q->op, q->o, false, &path);
        if (r < 0)
                return r == -ENOENT ? -ENODATA : r;
        return answer_text(q, path);
}

/* As a stock brick, whose table of inodes may not know a name: self-heal daemons pass over an object without any answer. */
static int get_known_path(struct query *q)
{
        char *path, gfid[GFID_TEXT_LEN + 1];
        int r = path_of_object(q->op, q->o, false, &path);
        if (r == -ENOENT)
                path = arena_printf(q->op->arena, "<gfid:%s>", gfid_format(&q->o->inode->gfid, gfid));
        else if (r < 0)
                return r;
        return path ? answer_text(q, path) : -ENOMEM;
}

static int get_all_paths(struct query *q)
{
        const char *paths = NULL;
        if (S_ISDIR(q->o->st.st_mode))
                return get_one_path(q);
        int r = all_paths(q, &paths);
        return r < 0 ? r : dict_add_ptr(q->dict, q->op->arena, q->name, paths, (uint32_t)strlen(paths)); /* without NUL */
}

static int get_ancestry(struct query *q)
{
        char *paths;
        int r = ancestry_paths(q->op, q->o, &paths);
        if (r < 0)
                return r == -ENOENT ? -ENODATA : r;
        return answer_text(q, paths);
}

static int get_quota_limit(struct query *q)
{
        return answer_text(q, "Quota is disabled please turn on");
}

static int get_open_count(struct query *q)
{
        pthread_mutex_lock(&q->o->inode->lock);
        bool open = q->o->inode->fd_count > 0;
        pthread_mutex_unlock(&q->o->inode->lock);
        return dict_add_uint(q->dict, q->op->arena, q->name, open);
}

static int get_acl_text(struct query *q)
{
        char *text;
        int r = acl_text_of(q->op, q->o, streq(q->name, XATTR_DEFAULT_ACL_TEXT), &text);
        return r < 0 ? r : answer_text(q, text);
}

static int get_selinux(struct query *q)
{
        struct xattr_view view;
        int r = xattr_view(q->op->brick, q->o->inode, &q->o->at, &q->o->st, q->op->arena, &view);
        if (r < 0)
                return r;
        const struct xattr_pair *p = xattr_view_find(&view, XATTR_SELINUX_STORED);
        return p ? dict_add_ptr(q->dict, q->op->arena, q->name, p->value, p->len) : -ENODATA;
}

static int get_lockinfo(struct query *q)
{
        struct slice info;
        if (!q->io)
                return -ENODATA;
        int r = lockinfo_get(q->op, q->io->of, &info);
        return r < 0 || info.len == 0 ? r : dict_add_ptr(q->dict, q->op->arena, q->name, info.data, info.len);
}

static int get_holders(struct query *q)
{
        const char *text;
        if (!op_internal(q->op))
                return -ENODATA;
        int r = lock_holders(q->op, q->o->inode, &text);
        return r < 0 ? r : answer_text(q, text);
}

static int clear_locks(struct query *q)
{
        const char *text;
        int r = lock_clear(q->op, q->o->inode, q->name, &text);
        return r < 0 ? r : answer_text(q, text);
}

static int get_nothing(struct query *q)
{
        (void)q;
        return 0;
}

static int get_no_data(struct query *q)
{
        (void)q;
        return -ENODATA;
}

/* ---- get_real_filename ----------------------------------------------------------------------------------------- */

static const char *find_in_records(struct op *op, const uint8_t *data, size_t n, const char *wanted)
{
        for (size_t at = 0; at < n;) {
                const struct disk_dirent *d = (const void *)(data + at);
                if (strcasecmp(d->d_name, wanted) == 0)
                        return arena_strndup(op->arena, d->d_name, strlen(d->d_name));
                at += d->d_reclen;
        }
        return NULL;
}

static int find_real_name(struct query *q, int fd, const char *wanted)
{
        uint8_t *data = arena_alloc_uninitialised(q->op->arena, DIRENTS_SIZE);
        if (!data)
                return -ENOMEM;
        ssize_t n;
        while ((n = disk_getdents(q->op->brick->disk, fd, data, DIRENTS_SIZE)) > 0) {
                const char *found = find_in_records(q->op, data, (size_t)n, wanted);
                if (found)
                        return answer_text(q, found);
        }
        return n < 0 ? (int)n : -ENODATA;
}

static int get_real_name(struct query *q)
{
        if (!S_ISDIR(q->o->st.st_mode))
                return -ENOTDIR;
        int fd = object_open(q->op->brick, q->o, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd;
        int r = find_real_name(q, fd, q->name + strlen(REAL_NAME_PREFIX));
        disk_close(q->op->brick->disk, fd);
        return r;
}

/* ---- dispatch -------------------------------------------------------------------------------------------------- */

struct virtual_name {
        const char *name; /* a pattern */
        int (*get)(struct query *q);
};

static const struct virtual_name virtual_names[] = {
        {"trusted.glusterfs.pathinfo", get_pathinfo},
        {"glusterfs.pathinfo", get_pathinfo},
        {"trusted.glusterfs.node-uuid", get_node_uuid},
        {REAL_NAME_PREFIX "*", get_real_name},
        {"glusterfs.gfidtopath", get_all_paths},
        {"glusterfs.gfid2path", get_known_path},
        {"glusterfs.ancestry.path", get_ancestry},
        {"glusterfs.open-fd-count", get_open_count},
        {XATTR_ACL_TEXT, get_acl_text},
        {XATTR_DEFAULT_ACL_TEXT, get_acl_text},
        {XATTR_SELINUX, get_selinux},
        {XATTR_LOCKINFO, get_lockinfo},
        {XATTR_LOCK_HOLDERS, get_holders},
        {XATTR_GFID, get_nothing},
        {XATTR_VOLUME_ID, get_nothing},
        {"trusted.glusterfs.get-signature", get_no_data},
        {"trusted.glusterfs.bit-rot.stub-init", get_no_data},
        {"trusted.limit.list", get_quota_limit},
};

/* By its name, may this attribute be read by this client? */
static bool may_see(const struct op *op, const char *name)
{
        if (name_is_private(name))
                return op->caller.pid == PID_GSYNCD;
        if (streq(name, XATTR_MDATA))
                return op_internal(op);
        return !starts_with(name, XATTR_GFID2PATH) && !name_is_signature(name);
}

static int get_stored(struct query *q, int32_t *ret_len)
{
        if (!name_in_namespace(q->name))
                return -ENOTSUP;
        if (!may_see(q->op, q->name))
                return -ENODATA;
        struct xattr_view view;
        int r = xattr_view(q->op->brick, q->o->inode, &q->o->at, &q->o->st, q->op->arena, &view);
        if (r < 0)
                return r;
        const struct xattr_pair *p = xattr_view_find(&view, q->name);
        if (!p)
                return strlen(q->name) > XATTR_STORED_NAME_MAX ? -ERANGE : -ENODATA;
        *ret_len = (int32_t)p->len;
        return dict_add_ptr(q->dict, q->op->arena, p->name, p->value, p->len);
}

static int get_one(struct query *q, int32_t *ret_len)
{
        for (size_t i = 0; i < ELEMENTSOF(virtual_names); i++)
                if (glob_match(virtual_names[i].name, q->name))
                        return virtual_names[i].get(q);
        if (lock_clear_is(q->name, q->io != NULL))
                return clear_locks(q);
        int r = index_getxattr(q->op, q->name, q->dict);
        return r != -ENOENT ? r : get_stored(q, ret_len);
}

static int get_list(struct query *q, int32_t *ret_len)
{
        struct xattr_view view;
        int r = xattr_view(q->op->brick, q->o->inode, &q->o->at, &q->o->st, q->op->arena, &view);
        for (uint32_t i = 0; r == 0 && i < view.n; i++) {
                const struct xattr_pair *p = &view.v[i];
                if (!name_in_list(p->name, op_internal(q->op)))
                        continue;
                r = dict_add_ptr(q->dict, q->op->arena, p->name, p->value, p->len);
                *ret_len = (int32_t)p->len;
        }
        return r;
}

static int getxattr_object(struct op *op, struct object *o, const struct io_fd *io, const char *name, struct dict *ret,
                           int32_t *ret_len)
{
        struct dict dict = {0};
        bool by_fd = io != NULL;
        struct query q = {.op = op, .o = o, .io = io, .name = name, .dict = &dict};
        int r = by_fd || name_is_acl(name) ? 0 : perm_check(op, o, PERM_READ);
        if (r == 0)
                r = name[0] ? get_one(&q, ret_len) : get_list(&q, ret_len);
        if (r == 0)
                r = fill_xdata(op, o, by_fd, &op->reply);
        if (r == 0)
                *ret = dict;
        return r;
}

int fop_getxattr(struct op *op, const struct getxattr_fop_req *req, struct getxattr_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = getxattr_object(op, &o, NULL, req->namelen ? req->name.s : "", &rep->dict, &rep->op_ret);
        object_done(op->brick, &o);
        return r;
}

int fop_fgetxattr(struct op *op, const struct fgetxattr_fop_req *req, struct fgetxattr_fop_rep *rep)
{
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct object o = {.inode = io.inode, .at = io_place(&io)};
        r = object_restat(op, &o);
        if (r == 0)
                r = getxattr_object(op, &o, &io, req->namelen ? req->name.s : "", &rep->dict, &rep->op_ret);
        io_fd_done(op->brick, &io);
        return r;
}
