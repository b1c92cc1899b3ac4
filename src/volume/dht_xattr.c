/* Attributes that belong to distribute, and names that stand for questions and commands (distribute.md §2, §13, §14). */
#include "volume/dht.h"

#include <endian.h>

#define KEY_PATHINFO "trusted.glusterfs.pathinfo"
#define KEY_NODE_UUID "trusted.glusterfs.node-uuid"
#define KEY_NODE_UUIDS "trusted.glusterfs.list-node-uuids"
#define KEY_LINKINFO "trusted.distribute.linkinfo"
#define KEY_HASHED "dht.file.hashed-subvol."
#define KEY_STATUS "dht.subvol.status"
#define COMMAND_FIX "distribute.fix.layout"
#define COMMAND_SPREAD "distribute.directory-spread-count"
#define TEXT_MAX (256 * KIB)

/* ---- what users may do ------------------------------------------------------------------------------------------------------ */

static bool is_private(const char *name)
{
        return starts_with(name, DHT_KEY) || streq(name, DHT_KEY_PROTECT);
}

int dht_xattr_get_allowed(const struct request *r, struct str name)
{
        return r->cred.pid >= 0 && name.len > 0 && starts_with(name.s, DHT_KEY) ? -EOPNOTSUPP : 0;
}

int dht_xattr_set_allowed(const struct request *r, const struct dict *dict)
{
        for (uint32_t i = 0; r->cred.pid >= 0 && i < dict->count; i++)
                if (starts_with(dict->pairs[i].key.s, DHT_KEY))
                        return -EPERM;
        return 0;
}

int dht_xattr_remove_allowed(const struct request *r, struct str name)
{
        return r->cred.pid >= 0 && starts_with(name.s, DHT_KEY) ? -EPERM : 0;
}

void dht_xattr_hide(struct dict *dict)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < dict->count; i++)
                if (!is_private(dict->pairs[i].key.s))
                        dict->pairs[n++] = dict->pairs[i];
        dict->count = n;
}

/* ---- questions -------------------------------------------------------------------------------------------------------------- */

struct question {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        struct str name;
        struct buf text;
};

/* What CHILD says to the same question. */
static int ask_child(struct question *q, int child, struct str *ret)
{
        const struct getxattr_fop_req req = {
                .gfid = q->r->inode->gfid, .namelen = 1, .name = q->name, .xdata = DICT_NULL};
        struct getxattr_fop_rep rep = {0};
        int result = subvolume_getxattr(q->self, dht_child(q->d, child), q->r, &req, &rep);
        return result < 0 ? result : dict_get_str(&rep.dict, q->r->arena, q->name.s, ret);
}

static void append_child(struct question *q, int child, const char *before)
{
        struct str text;
        if (dht_child(q->d, child)->up && ask_child(q, child, &text) >= 0)
                buf_printf(&q->text, "%s%s", before, text.s);
}

/* By first hash, as stock does: those without a range first. */
static void append_layout(struct question *q, const struct layout *l)
{
        buf_printf(&q->text, " (%s-layout", q->d->v.name);
        for (int64_t last = -1;;) {
                int64_t next = -1;
                for (unsigned i = 0; i < l->n; i++) {
                        int64_t key = (int64_t)l->ranges[i].start * l->n + i;
                        if (key > last && (next < 0 || key < next))
                                next = key;
                }
                if (next < 0)
                        break;
                unsigned child = (unsigned)(next % l->n);
                buf_printf(&q->text, " (%s %u %u)", dht_child(q->d, (int)child)->name, l->ranges[child].start,
                           l->ranges[child].stop);
                last = next;
        }
        buf_append_str(&q->text, ")");
}

static void directory_pathinfo(struct question *q)
{
        buf_printf(&q->text, "((<DISTRIBUTE:%s>", q->d->v.name);
        for (unsigned i = 0; i < q->d->n; i++)
                append_child(q, (int)i, " ");
        buf_append_str(&q->text, ")");
        const struct dht_inode *known = dht_known(q->d, q->r->inode);
        _cleanup_(layout_freep) struct layout *l = known && known->layout ? layout_dup(known->layout) : NULL;
        if (l)
                append_layout(q, l);
        buf_append_str(&q->text, ")");
}

static int pathinfo(struct question *q)
{
        const struct dht_inode *known = dht_known(q->d, q->r->inode);
        struct str text;
        if (known->directory) {
                directory_pathinfo(q);
                return 0;
        }
        int result = ask_child(q, known->cached, &text);
        if (result >= 0)
                buf_printf(&q->text, "(<DISTRIBUTE:%s> %s)", q->d->v.name, text.s);
        return MIN(result, 0);
}

static int node_uuids(struct question *q)
{
        const struct dht_inode *known = dht_known(q->d, q->r->inode);
        if (!known->directory) {
                struct str text;
                int result = ask_child(q, known->cached, &text);
                if (result >= 0)
                        buf_append_str(&q->text, text.s);
                return MIN(result, 0);
        }
        for (unsigned i = 0; i < q->d->n; i++)
                append_child(q, (int)i, q->text.len > 0 ? " " : "");
        return q->text.len > 0 ? 0 : -ENOTCONN;
}

static int linkinfo(struct question *q)
{
        const struct dht_inode *known = dht_known(q->d, q->r->inode);
        if (known->directory)
                return -EINVAL;
        buf_append_str(&q->text, dht_child(q->d, known->cached)->name);
        return 0;
}

static int hashed_subvolume(struct question *q)
{
        const char *name = q->name.s + strlen(KEY_HASHED);
        int child;
        if (!dht_known(q->d, q->r->inode)->directory || !*name)
                return -EINVAL;
        int result = dht_hashed(q->self, q->d, q->r, q->r->inode, str_of(name), &child, NULL);
        if (result == 0)
                buf_append_str(&q->text, dht_child(q->d, child)->name);
        return result == -ENOENT ? -ENODATA : result;
}

static int status(struct question *q)
{
        unsigned up = 0;
        for (unsigned i = 0; i < q->d->n; i++)
                up += dht_child(q->d, (int)i)->up;
        buf_append_str(&q->text, up == q->d->n ? "1" : "0");
        return 0;
}

static const struct {
        const char *name;
        bool prefix;
        int (*answer)(struct question *q);
} questions[] = {
        {KEY_PATHINFO, false, pathinfo},      {KEY_NODE_UUID, false, node_uuids},
        {KEY_NODE_UUIDS, false, node_uuids},  {KEY_LINKINFO, false, linkinfo},
        {KEY_HASHED, true, hashed_subvolume}, {KEY_STATUS, false, status},
};

static int give_text(struct question *q, struct dict *ret)
{
        const char *text = buf_cstr(&q->text);
        struct dht_xdata x = dht_xdata_from(q->r->arena, NULL, NULL);
        if (!text)
                return q->text.error;
        dht_xdata_ptr(&x, q->name.s, text, (uint32_t)q->text.len + 1);
        *ret = x.dict;
        return x.error;
}

bool dht_xattr_virtual(struct fibre *self, struct dht *d, struct request *r, struct str name, struct dict *ret,
                       int *result)
{
        struct question q = {.self = self, .d = d, .r = r, .name = name, .text = BUF_INIT(TEXT_MAX)};
        for (size_t i = 0; i < ELEMENTSOF(questions); i++) {
                bool meant = questions[i].prefix ? starts_with(name.s, questions[i].name) : str_is(name, questions[i].name);
                if (name.len == 0 || !meant)
                        continue;
                *result = questions[i].answer(&q);
                if (*result >= 0)
                        *result = give_text(&q, ret);
                buf_done(&q.text);
                return true;
        }
        return false;
}

/* ---- commands --------------------------------------------------------------------------------------------------------------- */

/* Deals the names of the directory anew among the sub-volumes there are. */
static int fix_layout(struct fibre *self, struct dht *d, struct request *r, unsigned spread)
{
        if (r->cred.uid != 0)
                return -EPERM;
        if (!dht_known(d, r->inode)->directory)
                return -ENOTDIR;
        int result = dht_heal_layout(self, d, r, r->inode, true, spread);
        return result < 0 ? result : dht_refresh_layout(self, d, r, r->inode);
}

bool dht_xattr_command(struct fibre *self, struct dht *d, struct request *r, const struct dict *dict, int *result)
{
        int64_t spread;
        if (dict_has(dict, COMMAND_FIX)) {
                *result = fix_layout(self, d, r, d->options.spread);
                return true;
        }
        if (!dict_has(dict, COMMAND_SPREAD))
                return false;
        bool valid = dict_get_int(dict, COMMAND_SPREAD, &spread) == 0 && spread >= 0 && spread <= UINT16_MAX;
        *result = valid ? fix_layout(self, d, r, (unsigned)spread) : -EINVAL;
        return true;
}
