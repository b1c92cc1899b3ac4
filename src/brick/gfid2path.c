/* gfid2path and pgfid attributes (spec: brick.md §2.4, gfid2path.h).
 *
 * A name and its attribute change one after the other, so a crash or a failing disk may leave a name without attribute,
 * or an attribute without name. The first look-up of the object after a start, and the next one after a failure, repair
 * that together with the handle. The counter in pgfid is changed under inode.lock. Any thread.
 */
#include "brick/gfid2path.h"
#include "brick/cache.h"
#include "brick/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

void gfid2path_make(const struct gfid *parent, const char *name, struct gfid2path *ret)
{
        char text[GFID_TEXT_LEN + 1];
        int n = snprintf(ret->value, sizeof ret->value, "%s/%s", gfid_format(parent, text), name);
        ret->len = MIN((size_t)n, sizeof ret->value - 1);
        (void)snprintf(ret->key, sizeof ret->key, XATTR_GFID2PATH "%016" PRIx64, (uint64_t)XXH64(ret->value, ret->len, 0));
}

void pgfid_key(const struct gfid *parent, char buf[static PGFID_KEY_MAX])
{
        char text[GFID_TEXT_LEN + 1];
        (void)snprintf(buf, PGFID_KEY_MAX, "trusted.pgfid.%s", gfid_format(parent, text));
}

/* Names in PARENT: a big-endian counter, absent at zero. */
static void pgfid_add(struct brick *b, struct inode *inode, const struct place *at, const struct gfid *parent, int delta)
{
        char key[PGFID_KEY_MAX];
        uint8_t v[4];
        pgfid_key(parent, key);
        pthread_mutex_lock(&inode->lock);
        uint32_t count = 0;
        if (xattr_get_held(b, inode, at, key, v, sizeof v) == (ssize_t)sizeof v)
                count = (uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3];
        if (delta < 0 && count <= 1) {
                (void)xattr_remove(b, inode, at, key);
        } else {
                count += (uint32_t)delta;
                const uint8_t fresh[4] = {(uint8_t)(count >> 24), (uint8_t)(count >> 16), (uint8_t)(count >> 8),
                                          (uint8_t)count};
                (void)xattr_set(b, inode, at, key, fresh, sizeof fresh, 0);
        }
        pthread_mutex_unlock(&inode->lock);
}

/* The next look-up looks at handle and names again. */
static void repair_later(struct inode *inode, int r)
{
        if (r < 0 && r != -ENODATA)
                inode_set_handle_checked(inode, 0);
}

void names_add(struct brick *b, struct inode *inode, const struct place *at, const struct gfid *parent, const char *name)
{
        if (b->options->gfid2path) {
                struct gfid2path p;
                gfid2path_make(parent, name, &p);
                repair_later(inode, xattr_set(b, inode, at, p.key, p.value, p.len, 0));
        }
        if (b->options->build_pgfid)
                pgfid_add(b, inode, at, parent, 1);
}

void names_remove(struct brick *b, struct inode *inode, const struct place *at, const struct gfid *parent,
                  const char *name)
{
        if (b->options->gfid2path) {
                struct gfid2path p;
                gfid2path_make(parent, name, &p);
                repair_later(inode, xattr_remove(b, inode, at, p.key));
        }
        if (b->options->build_pgfid)
                pgfid_add(b, inode, at, parent, -1);
        brick_names_changed(b);
}

/* Is the name that P stands for one of the object with backing number INO? A name that cannot be looked at now counts. */
static bool names_have(struct brick *b, const struct xattr_pair *p, ino_t ino)
{
        struct gfid parent;
        char name[NAME_LIMIT + 1];
        size_t len = p->len > GFID_TEXT_LEN ? p->len - GFID_TEXT_LEN - 1 : 0;
        if (len == 0 || len > NAME_LIMIT || gfid_parse((const char *)p->value, GFID_TEXT_LEN, &parent) < 0)
                return false;
        memcpy(name, p->value + GFID_TEXT_LEN + 1, len);
        name[len] = '\0';
        struct inode *dir = inode_get(b, &parent);
        if (!dir)
                return true;
        struct stat st;
        int fd, r = handle_open_dir(b, dir, &fd);
        if (r == 0)
                r = disk_stat(b->disk, fd, name, &st);
        inode_unref(b, dir);
        return r == 0 ? st.st_ino == ino : r != -ENOENT && r != -ESTALE;
}

/* Takes attributes away that have no name: their number. */
static size_t drop_stale(struct op *op, struct object *o, const struct xattr_view *view)
{
        size_t dropped = 0;
        for (uint32_t k = 0; k < view->n; k++) {
                const struct xattr_pair *p = &view->v[k];
                if (starts_with(p->name, XATTR_GFID2PATH) && !names_have(op->brick, p, o->st.st_ino))
                        dropped += xattr_remove(op->brick, o->inode, &o->at, p->name) == 0;
        }
        return dropped;
}

bool names_repair(struct op *op, struct object *o, const struct gfid *parent, const char *name)
{
        struct brick *b = op->brick;
        struct gfid2path own;
        struct xattr_view view;
        size_t count = 0, dropped = 0, names = o->st.st_nlink - 1;
        if (!b->options->gfid2path || S_ISDIR(o->st.st_mode) || names > GFID2PATH_LINKS_MAX ||
            xattr_view(b, o->inode, &o->at, &o->st, op->arena, &view) < 0)
                return false;
        for (uint32_t k = 0; k < view.n; k++)
                count += starts_with(view.v[k].name, XATTR_GFID2PATH);
        gfid2path_make(parent, name, &own);
        bool added = !xattr_view_find(&view, own.key) &&
                     xattr_set(b, o->inode, &o->at, own.key, own.value, own.len, 0) == 0;
        if (names > 1 || count + added > names) /* of a file with one name, the one attribute is that name's */
                dropped = drop_stale(op, o, &view);
        if (count + added - dropped < names) /* that of another name is missing: added when that is looked up */
                inode_set_handle_checked(o->inode, 0);
        return added || dropped > 0;
}

void names_repair_pgfid(struct brick *b, struct object *o, const struct gfid *parent)
{
        char key[PGFID_KEY_MAX];
        uint8_t v[4];
        if (!b->options->build_pgfid || S_ISDIR(o->st.st_mode))
                return;
        pgfid_key(parent, key);
        if (xattr_get(b, o->inode, &o->at, &o->st, key, v, sizeof v) == -ENODATA)
                pgfid_add(b, o->inode, &o->at, parent, 1);
}
