/* XATTROP, FXATTROP: atomic arithmetic on attributes that clients own (spec: brick.md §11).
 *
 * Read, combine, write happen under inode.lock (which is recursive), key after key; an error leaves the earlier keys
 * changed, as the protocol wants it. A request of zeros only reads. The index of pending work (§12.2) is told before the
 * first and after the last key, under the same lock. Any thread.
 */
#include <endian.h>

#include "brick/cache.h"
#include "brick/index.h"
#include "brick/names.h"

#define VALUE_MAX (64 * KIB) /* what the kernel stores */

enum xattrop {
        XATTROP_ADD32 = 0,
        XATTROP_ADD64 = 1,
        XATTROP_GET_AND_SET = 4,
        XATTROP_ADD32_WITH_DEFAULT = 5,
        XATTROP_ADD64_WITH_DEFAULT = 6,
};

struct change {
        struct op *op;
        struct object *o;
        enum xattrop kind;
        const char *name;
        struct slice value; /* of the request */
        uint32_t len;       /* of the result */
        uint8_t *result;    /* in the arena */
};

static bool is_64(enum xattrop kind)
{
        return kind == XATTROP_ADD64 || kind == XATTROP_ADD64_WITH_DEFAULT;
}

static bool has_default(enum xattrop kind)
{
        return kind == XATTROP_ADD32_WITH_DEFAULT || kind == XATTROP_ADD64_WITH_DEFAULT;
}

static bool all_zero(struct slice s)
{
        for (uint32_t i = 0; i < s.len; i++)
                if (s.data[i])
                        return false;
        return true;
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

static uint64_t element(const uint8_t *p, bool wide)
{
        uint32_t v32;
        uint64_t v64;
        memcpy(&v32, p, sizeof v32);
        if (!wide)
                return be32toh(v32);
        memcpy(&v64, p, sizeof v64);
        return be64toh(v64);
}

static void element_put(uint8_t *p, bool wide, uint64_t v)
{
        uint32_t v32 = htobe32((uint32_t)v);
        uint64_t v64 = htobe64(v);
        memcpy(p, wide ? (const void *)&v64 : (const void *)&v32, wide ? sizeof v64 : sizeof v32);
}

/* c->result holds what is on the disk; afterwards the sum. */
static void combine(struct change *c)
{
        bool wide = is_64(c->kind);
        uint32_t step = wide ? 8 : 4;
        for (uint32_t at = 0; at < c->len; at += step) {
                uint64_t old = element(c->result + at, wide);
                uint64_t sum = old + element(c->value.data + at, wide);
                if (has_default(c->kind) && old == 0)
                        sum += element(c->value.data + c->len + at, wide);
                element_put(c->result + at, wide, sum);
        }
}

/* ---- one key --------------------------------------------------------------------------------------------------- */

static int change_check(struct change *c)
{
        if (!starts_with(c->name, "trusted.")) /* nobody asks whether the caller may write the others */
                return -ENOTSUP;
        if (name_is_identity(c->name) || streq(c->name, XATTR_MDATA) || starts_with(c->name, XATTR_GFID2PATH))
                return -EPERM;
        if (c->value.len > VALUE_MAX)
                return -E2BIG;
        if (c->kind == XATTROP_GET_AND_SET)
                return 0;
        uint32_t unit = (is_64(c->kind) ? 8 : 4) * (has_default(c->kind) ? 2 : 1);
        return c->value.len > 0 && c->value.len % unit == 0 ? 0 : -EINVAL;
}

static ssize_t load(struct change *c, size_t size)
{
        return xattr_get_held(c->op->brick, c->o->inode, &c->o->at, c->name, c->result, size);
}

static int store(struct change *c, const void *value, size_t len)
{
        return xattr_set(c->op->brick, c->o->inode, &c->o->at, c->name, value, len, 0);
}

static int answer(struct change *c, const void *value, uint32_t len, struct dict *dict)
{
        return dict_add_ptr(dict, c->op->arena, c->name, value, len);
}

static int change_array(struct change *c, struct dict *dict)
{
        c->len = has_default(c->kind) ? c->value.len / 2 : c->value.len;
        c->result = arena_alloc(c->op->arena, c->len);
        if (!c->result)
                return -ENOMEM;
        ssize_t n = load(c, c->len);
        if (n < 0 && n != -ENODATA)
                return (int)n; /* -ERANGE: longer than the request */
        if (!all_zero(c->value)) {
                combine(c);
                int r = store(c, c->result, c->len);
                if (r < 0)
                        return r;
        }
        return answer(c, c->result, c->len, dict);
}

/* The answer is the value before; no key if there was none. */
static int change_set(struct change *c, struct dict *dict)
{
        c->result = arena_alloc_uninitialised(c->op->arena, VALUE_MAX);
        if (!c->result)
                return -ENOMEM;
        ssize_t n = load(c, VALUE_MAX);
        if (n < 0 && n != -ENODATA)
                return (int)n;
        int r = store(c, c->value.data, c->value.len);
        return r < 0 || n < 0 ? r : answer(c, c->result, (uint32_t)n, dict);
}

static int change_one(struct op *op, struct object *o, enum xattrop kind, const struct dict_pair *p, struct dict *dict)
{
        struct change c = {.op = op, .o = o, .kind = kind, .name = p->key.s};
        int r = dict_value_bytes(&p->value, op->arena, &c.value);
        if (r == 0)
                r = change_check(&c);
        if (r < 0)
                return r;
        return kind == XATTROP_GET_AND_SET ? change_set(&c, dict) : change_array(&c, dict);
}

/* ---- the request ----------------------------------------------------------------------------------------------- */

static int change_all(struct op *op, struct object *o, enum xattrop kind, const struct dict *request, struct dict *dict)
{
        pthread_mutex_lock(&o->inode->lock);
        int r = index_before(op, o->inode, kind, request);
        for (uint32_t i = 0; r == 0 && i < request->count; i++)
                r = change_one(op, o, kind, &request->pairs[i], dict);
        if (r == 0)
                index_after(op, o->inode, kind, dict);
        pthread_mutex_unlock(&o->inode->lock);
        return r;
}

static bool only_reads(enum xattrop kind, const struct dict *request, struct arena *a)
{
        for (uint32_t i = 0; i < request->count; i++) {
                struct slice value;
                if (dict_value_bytes(&request->pairs[i].value, a, &value) < 0 || !all_zero(value))
                        return false;
        }
        return kind != XATTROP_GET_AND_SET;
}

static int kind_check(uint32_t flags)
{
        switch (flags) {
        case XATTROP_ADD32:
        case XATTROP_ADD64:
        case XATTROP_GET_AND_SET:
        case XATTROP_ADD32_WITH_DEFAULT:
        case XATTROP_ADD64_WITH_DEFAULT:
                return 0;
        default:
                return -EINVAL;
        }
}

static int xattrop_object(struct op *op, struct object *o, bool by_fd, uint32_t flags, const struct dict *request,
                          struct dict *ret)
{
        int r = kind_check(flags);
        if (r == 0 && !only_reads(flags, request, op->arena))
                r = read_only_check(op);
        struct dict dict = {0};
        if (r == 0)
                r = change_all(op, o, flags, request, &dict);
        if (r == 0)
                r = object_restat(op, o);
        if (r == 0 && op->xdata.mode_in_xattr.present && S_ISREG(o->st.st_mode))
                r = dict_add_int(&op->reply, op->arena, "dht-get-mode-in-xattr", (int32_t)o->st.st_mode);
        if (r == 0)
                r = fill_xdata(op, o, by_fd, &op->reply);
        if (r == 0)
                *ret = dict;
        return r;
}

int fop_xattrop(struct op *op, const struct xattrop_fop_req *req, struct xattrop_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = xattrop_object(op, &o, false, req->flags, &req->dict, &rep->dict);
        object_done(op->brick, &o);
        return r;
}

int fop_fxattrop(struct op *op, const struct fxattrop_fop_req *req, struct fxattrop_fop_rep *rep)
{
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY, &io);
        if (r < 0)
                return r;
        struct object o = {.inode = io.inode, .at = io_place(&io)};
        r = xattrop_object(op, &o, true, req->flags, &req->dict, &rep->dict);
        io_fd_done(op->brick, &io);
        return r;
}
