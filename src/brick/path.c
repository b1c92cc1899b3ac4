/* From gfids back to paths: directories by their handles, files by their gfid2path attributes (spec: brick.md §2.3,
 * §2.4).
 *
 * Only for answers that people and tools read (pathinfo, gfidtopath, ancestry): nothing is opened by such a path. A
 * chain that is changed by a concurrent rename may give an old or a new path. Any thread, no locks.
 */
#include "brick/internal.h"
#include "brick/names.h"

#define PATH_DEPTH_MAX 4096
#define PATH_TEXT_MAX (64 * KIB)

static bool is_top(const struct op *op, const struct gfid *g, bool whole)
{
        return gfid_is_root(g) || (!whole && gfid_equal(g, &op->session->subdir_root));
}

/* Puts "/NAME" before the path that ends at BUF + *AT .. END. */
static int prepend(char *buf, size_t *at, const char *name)
{
        size_t len = strlen(name);
        if (len + 1 > *at)
                return -ENAMETOOLONG;
        *at -= len;
        memcpy(buf + *at, name, len);
        buf[--*at] = '/';
        return 0;
}

static int walk_up(struct op *op, struct gfid g, bool whole, char *buf, size_t *at)
{
        for (int depth = 0; !is_top(op, &g, whole); depth++) {
                char name[NAME_LIMIT + 1];
                struct gfid parent;
                int r = depth < PATH_DEPTH_MAX ? handle_read_dir(op->brick, &g, &parent, name) : -ELOOP;
                if (r < 0)
                        return r;
                r = prepend(buf, at, name);
                if (r < 0)
                        return r;
                g = parent;
        }
        return whole || gfid_is_null(&op->session->subdir_root) || gfid_equal(&g, &op->session->subdir_root) ? 0 : -ENOENT;
}

int path_of_dir(struct op *op, const struct gfid *g, bool whole, char **ret)
{
        _cleanup_free_ char *buf = malloc(PATH_TEXT_MAX);
        if (!buf)
                return -ENOMEM;
        size_t at = PATH_TEXT_MAX;
        int r = walk_up(op, *g, whole, buf, &at);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return -ENOENT;
        char *path = at == PATH_TEXT_MAX ? arena_strndup(op->arena, "/", 1)
                                         : arena_strndup(op->arena, buf + at, PATH_TEXT_MAX - at);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

int path_of_name(struct op *op, const struct xattr_pair *p, bool whole, char **ret)
{
        struct gfid parent;
        if (!starts_with(p->name, XATTR_GFID2PATH) || p->len < GFID_TEXT_LEN + 2 || p->value[GFID_TEXT_LEN] != '/' ||
            gfid_parse((const char *)p->value, GFID_TEXT_LEN, &parent) < 0)
                return -ENOENT;
        char *dir;
        int r = path_of_dir(op, &parent, whole, &dir);
        if (r < 0)
                return r;
        int name_len = (int)MIN(p->len - GFID_TEXT_LEN - 1, (uint32_t)NAME_LIMIT);
        char *path = arena_printf(op->arena, "%s/%.*s", streq(dir, "/") ? "" : dir, name_len,
                                  (const char *)p->value + GFID_TEXT_LEN + 1);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

int path_of_object(struct op *op, struct object *o, bool whole, char **ret)
{
        if (S_ISDIR(o->st.st_mode))
                return path_of_dir(op, &o->inode->gfid, whole, ret);
        struct xattr_view view;
        int r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        if (r < 0)
                return r;
        for (uint32_t i = 0; i < view.n; i++) {
                r = path_of_name(op, &view.v[i], whole, ret);
                if (r != -ENOENT)
                        return r;
        }
        return -ENOENT;
}
