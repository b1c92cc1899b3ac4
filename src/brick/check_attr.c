/* The shape of attributes whose layout is known (check.h; spec: brick.md §3). What they say is the clients' business, with
 * one exception: an object with pending changes has to be in the index, or nobody finds it. One thread.
 */
#include "brick/check.h"
#include "brick/names.h"

#define VALUE_MAX 512

static bool is_mdata(const uint8_t *v, size_t len)
{
        return len == MDATA_SIZE && v[0] == MDATA_VERSION;
}

static bool is_text(const uint8_t *v, size_t len)
{
        return len > 1 && memchr(v, '\0', len) == v + len - 1;
}

/* Another brick inside this one. */
static bool is_nothing(const uint8_t *v, size_t len)
{
        (void)v;
        (void)len;
        return false;
}

static const struct shape {
        const char *name;
        bool prefix;
        uint8_t sizes[2];                            /* possible ones; or */
        bool (*fits)(const uint8_t *v, size_t len);
        const char *want;
} shapes[] = {
        {XATTR_MDATA, .fits = is_mdata, .want = "57 bytes of version 1"},
        {"trusted.glusterfs.dht", .sizes = {16}, .want = "16 bytes"},
        {"trusted.glusterfs.dht.mds", .sizes = {4}, .want = "4 bytes"},
        {"trusted.glusterfs.dht.linkto", .fits = is_text, .want = "a subvolume's name with a NUL at the end"},
        {"trusted.afr.", .prefix = true, .sizes = {12}, .want = "12 bytes"},
        {"trusted.ec.version", .sizes = {16, 8}, .want = "16 bytes"},
        {"trusted.ec.dirty", .sizes = {16, 8}, .want = "16 bytes"},
        {"trusted.ec.size", .sizes = {8}, .want = "8 bytes"},
        {"trusted.ec.config", .sizes = {8}, .want = "8 bytes"},
        {"trusted.pgfid.", .prefix = true, .sizes = {4}, .want = "4 bytes"},
        {XATTR_VOLUME_ID, .fits = is_nothing, .want = "on a brick's root only: this is a brick inside the brick"},
};

static const struct shape *shape_of(const char *name)
{
        for (size_t k = 0; k < ELEMENTSOF(shapes); k++)
                if (shapes[k].prefix ? starts_with(name, shapes[k].name) : streq(name, shapes[k].name))
                        return &shapes[k];
        return NULL;
}

static bool fits(const struct shape *s, const uint8_t *v, size_t len)
{
        if (s->fits)
                return s->fits(v, len);
        return len == s->sizes[0] || (s->sizes[1] > 0 && len == s->sizes[1]);
}

/* ---- the index ----------------------------------------------------------------------------------------------------- */

/* The directory of the index where an object with this attribute, not zero, has to be; NULL: none. */
static const char *index_of(const char *name)
{
        if (streq(name, "trusted.afr.dirty"))
                return "dirty";
        return starts_with(name, "trusted.afr.") || streq(name, "trusted.ec.dirty") ? "xattrop" : NULL;
}

static bool all_zero(const uint8_t *v, size_t len)
{
        for (size_t k = 0; k < len; k++)
                if (v[k])
                        return false;
        return true;
}

static void judge_index(struct checker *c, const struct named *n, const char *name)
{
        char path[128], text[GFID_TEXT_LEN + 1];
        struct stat st;
        const char *dir = index_of(name);
        if (!dir)
                return;
        (void)snprintf(path, sizeof path, ".glusterfs/indices/%s/%s", dir, gfid_format(&n->gfid, text));
        if (disk_stat(c->b.disk, c->b.root_fd, path, &st) == -ENOENT)
                check_found(c, FINDING_INDEX_MISSING, NULL, &n->gfid, NULL, NULL,
                            "%s says that changes are pending, but the index does not: only a full heal finds it", name);
}

/* ---- one object ---------------------------------------------------------------------------------------------------- */

static void judge_attribute(struct checker *c, const struct named *n, const char *name)
{
        uint8_t v[VALUE_MAX];
        const struct shape *s = shape_of(name);
        if (!s)
                return;
        ssize_t len = disk_getxattr(c->b.disk, n->at.dirfd, n->at.path, name, v, sizeof v);
        if (len == -ENODATA)
                return;
        if (len < 0 && len != -ERANGE)
                check_failed(c, NULL, (int)len, name);
        else if (len < 0 || !fits(s, v, (size_t)len))
                check_found(c, FINDING_ATTRIBUTE, NULL, &n->gfid, NULL, NULL, "%s should be %s", name, s->want);
        else if (!all_zero(v, (size_t)len))
                judge_index(c, n, name);
}

void check_attributes(struct checker *c, const struct named *n, size_t len)
{
        bool mdata = false;
        if (n->landfill)
                return;
        for (const char *s = c->list; s < c->list + len; s += strlen(s) + 1) {
                judge_attribute(c, n, s);
                mdata |= streq(s, XATTR_MDATA);
        }
        c->totals.without_mdata += !mdata;
}
