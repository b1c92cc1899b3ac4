/* What requests ask about an object by xdata keys, answered into a dict (spec: brick.md §9, §13.9).
 *
 * Every pair that is not a known key is a pattern over the names of the object's attributes. All attributes come from
 * one snapshot view, so a fill costs no system call while the snapshot is fresh; only `glusterfs.content` reads the
 * file. Called by handlers on any thread, without inode.lock.
 */
#include "brick/acl.h"
#include "brick/ancestry.h"
#include "brick/internal.h"
#include "brick/names.h"

#define XATTR_CLOUD_STATUS "trusted.glusterfs.cs.status"
#define CLOUD_STATUS_LOCAL 1
#define CONTENT_MAX (1 * MIB)

#define DOMAIN_COUNT_PREFIX "glusterfs.inodelk-dom-prefix:"

static int add_pair(struct op *op, const struct xattr_pair *p, struct dict *dict)
{
        return dict_add_ptr(dict, op->arena, p->name, p->value, p->len);
}

/* May the answer show an attribute of this name? */
static bool is_shown(const struct op *op, const char *name)
{
        if (!name_in_namespace(name))
                return false;
        bool looks_up = op->fop == FOP_LOOKUP || op->fop == FOP_READDIRP;
        return !looks_up || !(name_is_record(name) || name_is_signature(name));
}

static int add_matching(struct op *op, const struct xattr_view *v, const char *pattern, struct dict *dict)
{
        for (uint32_t i = 0; i < v->n; i++) {
                const struct xattr_pair *p = &v->v[i];
                if (!is_shown(op, p->name) || !glob_match(pattern, p->name) || dict_has(dict, p->name))
                        continue;
                int r = add_pair(op, p, dict);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* One unknown key of the request. */
static int fill_asked(struct op *op, const struct xattr_view *v, const char *key, struct dict *dict)
{
        if (glob_is_pattern(key))
                return add_matching(op, v, key, dict);
        if (!is_shown(op, key))
                return 0;
        const struct xattr_pair *p = xattr_view_find(v, key);
        return p && !dict_has(dict, key) ? add_pair(op, p, dict) : 0;
}

static int fill_others(struct op *op, const struct xattr_view *v, struct dict *dict)
{
        const struct dict *others = &op->xdata.others;
        for (uint32_t i = 0; i < others->count; i++) {
                const char *key = others->pairs[i].key.s;
                if (starts_with(key, DOMAIN_COUNT_PREFIX))
                        continue;
                int r = fill_asked(op, v, key, dict);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int fill_heal_list(struct op *op, const struct xattr_view *v, struct dict *dict)
{
        for (uint32_t i = 0; i < v->n; i++) {
                if (!name_in_heal_list(v->v[i].name) || dict_has(dict, v->v[i].name))
                        continue;
                int r = add_pair(op, &v->v[i], dict);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- counts ---------------------------------------------------------------------------------------------------- */

static int fill_domain_counts(struct op *op, struct inode *inode, struct dict *dict)
{
        const struct dict *others = &op->xdata.others;
        for (uint32_t i = 0; i < others->count; i++) {
                const char *key = others->pairs[i].key.s;
                if (!starts_with(key, DOMAIN_COUNT_PREFIX))
                        continue;
                uint32_t n = lock_count_inode(inode, key + strlen(DOMAIN_COUNT_PREFIX));
                int r = dict_add_int(dict, op->arena, key, n);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int fill_inodelk_counts(struct op *op, struct inode *inode, struct dict *dict)
{
        const struct xdata *x = &op->xdata;
        if (x->multi_dom_count.present) {
                int r = fill_domain_counts(op, inode, dict);
                if (r < 0)
                        return r;
        }
        if (!x->inodelk_dom_count.present && !x->inodelk_count.present)
                return 0;
        const char *domain = x->inodelk_count.present ? NULL : x->inodelk_dom_count.value.s; /* all is the wider question */
        return dict_add_int(dict, op->arena, "glusterfs.inodelk-count", lock_count_inode(inode, domain));
}

int fill_lock_counts(struct op *op, struct inode *inode, struct dict *dict)
{
        int r = fill_inodelk_counts(op, inode, dict);
        if (r == 0 && op->xdata.entrylk_count.present)
                r = dict_add_int(dict, op->arena, "glusterfs.entrylk-count", lock_count_entry(inode));
        if (r == 0 && op->xdata.posixlk_count.present)
                r = dict_add_int(dict, op->arena, "glusterfs.posixlk-count", lock_count_posix(inode));
        return r;
}

int fill_parent_lock(struct op *op, struct inode *parent, const char *name, struct dict *dict)
{
        if (!op->xdata.parent_entrylk.present)
                return 0;
        return dict_add_int(dict, op->arena, "glusterfs.parent-entrylk", lock_has_entry(parent, name));
}

int fill_fd_counts(struct op *op, struct inode *inode, struct dict *dict)
{
        const struct xdata *x = &op->xdata;
        if (!x->open_fd_count.present && !x->open_active_fd_count.present)
                return 0;
        pthread_mutex_lock(&inode->lock);
        uint32_t n = inode->fd_count;
        pthread_mutex_unlock(&inode->lock);
        int r = 0;
        if (x->open_fd_count.present)
                r = dict_add_uint(dict, op->arena, "glusterfs.open-fd-count", n);
        if (r == 0 && x->open_active_fd_count.present)
                r = dict_add_uint(dict, op->arena, "glusterfs.open-active-fd-count", n);
        return r;
}

static int fill_stat_keys(struct op *op, const struct object *o, struct dict *dict)
{
        const struct xdata *x = &op->xdata;
        int r = 0;
        if (x->get_size.present && S_ISREG(o->st.st_mode))
                r = dict_add_uint(dict, op->arena, "get-size", (uint64_t)o->st.st_size);
        if (r == 0 && x->request_link_count.present)
                r = dict_add_int(dict, op->arena, "gf_request_link_count", x->request_link_count.value);
        if (r == 0 && x->cloud_status.present) /* nothing is archived elsewhere */
                r = dict_add_int(dict, op->arena, XATTR_CLOUD_STATUS, CLOUD_STATUS_LOCAL);
        return r;
}

static int fill_index_state(struct op *op, struct dict *dict)
{
        if (op->fop != FOP_LOOKUP && op->fop != FOP_FSTAT)
                return 0;
        if (!op->xdata.link_count.present || !str_is(op->xdata.link_count.value, "glusterfs.xattrop_index_count"))
                return 0;
        return dict_add_int(dict, op->arena, "link-count", index_pending(op->brick));
}

/* ---- what has a form of its own -------------------------------------------------------------------------------- */

/* The name may mean another object by now, and the handle too: what was opened is compared. */
static int read_opened(struct op *op, const struct object *o, int fd, uint8_t *data, size_t len)
{
        struct stat st;
        struct iovec iov = {data, len};
        int r = disk_stat(op->brick->disk, fd, "", &st);
        if (r < 0 || st.st_ino != o->st.st_ino)
                return r < 0 ? r : -ESTALE;
        ssize_t n = disk_preadv(op->brick->disk, fd, &iov, 1, 0);
        return n < 0 ? (int)n : (size_t)n == len ? 0 : -ESTALE;
}

static int read_whole(struct op *op, struct object *o, uint8_t *data, size_t len)
{
        if (len == 0)
                return 0;
        int fd = object_open(op->brick, o, O_RDONLY);
        if (fd < 0)
                return fd;
        int r = read_opened(op, o, fd, data, len);
        disk_close(op->brick->disk, fd);
        return r;
}

/* The file itself, if it is small enough. Whatever goes wrong, the key is just missing. */
static int fill_content(struct op *op, struct object *o, struct dict *dict)
{
        const struct xdata_number *want = &op->xdata.content;
        if (!want->present || !S_ISREG(o->st.st_mode))
                return 0;
        uint64_t size = (uint64_t)o->st.st_size;
        if (want->value < 0 || size > (uint64_t)want->value || size > CONTENT_MAX)
                return 0;
        uint8_t *data = arena_alloc_uninitialised(op->arena, size ? size : 1);
        if (!data || read_whole(op, o, data, size) < 0)
                return 0;
        return dict_add_ptr(dict, op->arena, "glusterfs.content", data, (uint32_t)size);
}

static int acl_text_from_view(struct op *op, const struct object *o, const struct xattr_view *v, bool default_acl,
                              char **ret)
{
        const struct xattr_pair *p = xattr_view_find(v, default_acl ? ACL_XATTR_DEFAULT : ACL_XATTR_ACCESS);
        if (p)
                return acl_to_text(p->value, p->len, op->arena, ret);
        if (default_acl) {
                *ret = arena_strndup(op->arena, "", 0);
                return *ret ? 0 : -ENOMEM;
        }
        struct slice plain;
        int r = acl_from_mode(o->st.st_mode, op->arena, &plain);
        return r < 0 ? r : acl_to_text(plain.data, plain.len, op->arena, ret);
}

static bool acl_text_applies(const struct object *o, bool default_acl)
{
        return default_acl ? S_ISDIR(o->st.st_mode) : !S_ISLNK(o->st.st_mode);
}

int acl_text_of(struct op *op, struct object *o, bool default_acl, char **ret)
{
        if (!acl_text_applies(o, default_acl))
                return -ENODATA;
        struct xattr_view view;
        int r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        return r < 0 ? r : acl_text_from_view(op, o, &view, default_acl, ret);
}

static int fill_acl_text(struct op *op, struct object *o, const struct xattr_view *v, bool default_acl,
                         struct dict *dict)
{
        char *text;
        if (!acl_text_applies(o, default_acl) || acl_text_from_view(op, o, v, default_acl, &text) < 0)
                return 0;
        return dict_add_str(dict, op->arena, default_acl ? XATTR_DEFAULT_ACL_TEXT : XATTR_ACL_TEXT, text);
}

static int fill_acl_texts(struct op *op, struct object *o, const struct xattr_view *v, struct dict *dict)
{
        int r = 0;
        if (op->xdata.acl_text.present)
                r = fill_acl_text(op, o, v, false, dict);
        if (r == 0 && op->xdata.default_acl_text.present)
                r = fill_acl_text(op, o, v, true, dict);
        return r;
}

static int fill_ancestry(struct op *op, struct object *o, struct dict *dict)
{
        char *path;
        if (!op->xdata.ancestry_path.present || ancestry_paths(op, o, &path) < 0)
                return 0;
        return dict_add_str(dict, op->arena, "glusterfs.ancestry.path", path);
}

static bool wants_xattrs(const struct xdata *x)
{
        return x->others.count > 0 || x->list_xattr.present || x->acl_text.present || x->default_acl_text.present;
}

static int fill_from_xattrs(struct op *op, struct object *o, struct dict *dict)
{
        if (!wants_xattrs(&op->xdata))
                return 0;
        struct xattr_view view;
        int r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        if (r < 0)
                return r;
        r = fill_others(op, &view, dict);
        if (r == 0 && op->xdata.list_xattr.present)
                r = fill_heal_list(op, &view, dict);
        if (r == 0)
                r = fill_acl_texts(op, o, &view, dict);
        return r;
}

int fill_xdata(struct op *op, struct object *o, bool by_fd, struct dict *dict)
{
        int r = fill_from_xattrs(op, o, dict);
        if (r == 0)
                r = fill_stat_keys(op, o, dict);
        if (r == 0)
                r = fill_fd_counts(op, o->inode, dict);
        if (r == 0)
                r = fill_lock_counts(op, o->inode, dict);
        if (r == 0)
                r = fill_index_state(op, dict);
        if (r == 0 && !by_fd)
                r = fill_content(op, o, dict);
        if (r == 0 && !by_fd)
                r = fill_ancestry(op, o, dict);
        return r;
}
