/* gfid2path and pgfid attributes (spec: brick.md §2.4, gfid2path.h).
 *
 * The counter in pgfid is changed under inode.lock. Any thread.
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

void names_add(struct brick *b, struct inode *inode, const struct place *at, const struct gfid *parent, const char *name)
{
        if (b->options->gfid2path) {
                struct gfid2path p;
                gfid2path_make(parent, name, &p);
                (void)xattr_set(b, inode, at, p.key, p.value, p.len, 0);
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
                (void)xattr_remove(b, inode, at, p.key);
        }
        if (b->options->build_pgfid)
                pgfid_add(b, inode, at, parent, -1);
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
