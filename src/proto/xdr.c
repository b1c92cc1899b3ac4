/* XDR primitives and the fixed structures of wire.md §3.
 *
 * Reader invariant: p <= end, and p == end once `error` is set, so that every read after a failure is a short read.
 * Both iatt forms are read and written as one block: the length is checked once, then fields are taken one by one.
 * Pure functions; any thread, one reader or buffer per thread.
 */
#include "proto/xdr.h"

#include <endian.h>

#define IATT_WIRE_SIZE 148
#define IATT_OLD_WIRE_SIZE 100
#define MDATA_WIRE_SIZE 36

/* 32-bit lengths from the wire are padded and added in size_t. */
_Static_assert(sizeof(size_t) == 8, "lengths would overflow");

/* ---- unaligned big-endian ---------------------------------------------------------------------------------------- */

static inline uint32_t get_u32(const uint8_t **p)
{
        uint32_t v;
        memcpy(&v, *p, sizeof v);
        *p += sizeof v;
        return be32toh(v);
}

static inline uint64_t get_u64(const uint8_t **p)
{
        uint64_t v;
        memcpy(&v, *p, sizeof v);
        *p += sizeof v;
        return be64toh(v);
}

static inline void put_u32(uint8_t **p, uint32_t v)
{
        v = htobe32(v);
        memcpy(*p, &v, sizeof v);
        *p += sizeof v;
}

static inline void put_u64(uint8_t **p, uint64_t v)
{
        v = htobe64(v);
        memcpy(*p, &v, sizeof v);
        *p += sizeof v;
}

static inline void put_i64(uint8_t **p, int64_t v)
{
        put_u64(p, (uint64_t)v);
}

static inline size_t xdr_padded(size_t n)
{
        return (n + 3) & ~(size_t)3;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

int xdr_fail(struct xdr_reader *r, int error)
{
        if (r->error == 0)
                r->error = error;
        r->p = r->end;
        return r->error;
}

void xdr_refuse(struct xdr_reader *r, int error)
{
        if (r->refused == 0)
                r->refused = error;
}

const uint8_t *xdr_read_fixed(struct xdr_reader *r, size_t n)
{
        if (r->error || n > xdr_left(r)) {
                xdr_fail(r, -EBADMSG);
                return NULL;
        }
        const uint8_t *at = r->p;
        r->p += n;
        return at;
}

uint32_t xdr_read_u32(struct xdr_reader *r)
{
        const uint8_t *p = xdr_read_fixed(r, 4);
        return p ? get_u32(&p) : 0;
}

uint64_t xdr_read_u64(struct xdr_reader *r)
{
        const uint8_t *p = xdr_read_fixed(r, 8);
        return p ? get_u64(&p) : 0;
}

struct slice xdr_read_opaque(struct xdr_reader *r, uint32_t limit)
{
        uint32_t len = xdr_read_u32(r);
        const uint8_t *data = xdr_read_fixed(r, xdr_padded(len));
        if (!data)
                return (struct slice){0};
        if (len > limit) {
                xdr_fail(r, -EMSGSIZE);
                return (struct slice){0};
        }
        return (struct slice){.data = data, .len = len};
}

struct str xdr_read_str(struct xdr_reader *r, uint32_t limit, struct arena *a)
{
        struct slice bytes = xdr_read_opaque(r, limit);
        if (bytes.len == 0)
                return STR("");
        if (memchr(bytes.data, 0, bytes.len)) {
                xdr_refuse(r, -EINVAL);
                return STR("");
        }
        const char *s = arena_strndup(a, bytes.data, bytes.len);
        if (!s) {
                xdr_fail(r, -ENOMEM);
                return STR("");
        }
        return (struct str){.s = s, .len = bytes.len};
}

struct gfid xdr_read_gfid(struct xdr_reader *r)
{
        struct gfid g = {0};
        const uint8_t *p = xdr_read_fixed(r, sizeof g.b);
        if (p)
                memcpy(g.b, p, sizeof g.b);
        return g;
}

static void get_gfid(const uint8_t **p, struct gfid *g)
{
        memcpy(g->b, *p, sizeof g->b);
        *p += sizeof g->b;
}

struct iatt xdr_read_iatt(struct xdr_reader *r)
{
        struct iatt i = {0};
        const uint8_t *p = xdr_read_fixed(r, IATT_WIRE_SIZE);
        if (!p)
                return i;
        get_gfid(&p, &i.gfid);
        i.flags = get_u64(&p);
        i.ino = get_u64(&p);
        i.dev = get_u64(&p);
        i.rdev = get_u64(&p);
        i.size = get_u64(&p);
        i.blocks = get_u64(&p);
        i.attributes = get_u64(&p);
        i.attributes_mask = get_u64(&p);
        i.atime.sec = (int64_t)get_u64(&p);
        i.mtime.sec = (int64_t)get_u64(&p);
        i.ctime.sec = (int64_t)get_u64(&p);
        i.btime.sec = (int64_t)get_u64(&p);
        i.atime.nsec = get_u32(&p);
        i.mtime.nsec = get_u32(&p);
        i.ctime.nsec = get_u32(&p);
        i.btime.nsec = get_u32(&p);
        i.nlink = get_u32(&p);
        i.uid = get_u32(&p);
        i.gid = get_u32(&p);
        i.blksize = get_u32(&p);
        i.mode = get_u32(&p);
        return i;
}

struct iatt xdr_read_iatt_old(struct xdr_reader *r)
{
        struct iatt i = {0};
        const uint8_t *p = xdr_read_fixed(r, IATT_OLD_WIRE_SIZE);
        if (!p)
                return i;
        get_gfid(&p, &i.gfid);
        i.ino = get_u64(&p);
        i.dev = get_u64(&p);
        i.mode = get_u32(&p);
        i.nlink = get_u32(&p);
        i.uid = get_u32(&p);
        i.gid = get_u32(&p);
        i.rdev = get_u64(&p);
        i.size = get_u64(&p);
        i.blksize = get_u32(&p);
        i.blocks = get_u64(&p);
        i.atime.sec = get_u32(&p);
        i.atime.nsec = get_u32(&p);
        i.mtime.sec = get_u32(&p);
        i.mtime.nsec = get_u32(&p);
        i.ctime.sec = get_u32(&p);
        i.ctime.nsec = get_u32(&p);
        return i;
}

struct mdata xdr_read_mdata(struct xdr_reader *r)
{
        struct mdata m = {0};
        const uint8_t *p = xdr_read_fixed(r, MDATA_WIRE_SIZE);
        if (!p)
                return m;
        m.atime.sec = (int64_t)get_u64(&p);
        m.mtime.sec = (int64_t)get_u64(&p);
        m.ctime.sec = (int64_t)get_u64(&p);
        m.atime.nsec = get_u32(&p);
        m.mtime.nsec = get_u32(&p);
        m.ctime.nsec = get_u32(&p);
        return m;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* buf_extend() without the call when there is room. */
static inline uint8_t *xdr_space(struct buf *b, size_t n)
{
        if (b->error || n > b->cap - b->len)
                return buf_extend(b, n);
        uint8_t *at = b->data + b->len;
        b->len += n;
        return at;
}

void xdr_write_u32(struct buf *b, uint32_t v)
{
        uint8_t *p = xdr_space(b, 4);
        if (p)
                put_u32(&p, v);
}

void xdr_write_u64(struct buf *b, uint64_t v)
{
        uint8_t *p = xdr_space(b, 8);
        if (p)
                put_u64(&p, v);
}

void xdr_write_fixed(struct buf *b, const void *data, size_t n)
{
        uint8_t *p = xdr_space(b, n);
        if (p && n > 0)
                memcpy(p, data, n);
}

void xdr_write_opaque(struct buf *b, const void *data, uint32_t n)
{
        size_t padded = xdr_padded(n);
        uint8_t *p = xdr_space(b, 4 + padded);
        if (!p)
                return;
        put_u32(&p, n);
        if (n == 0)
                return;
        memset(p + padded - 4, 0, 4);
        memcpy(p, data, n);
}

void xdr_patch_u32(struct buf *b, size_t offset, uint32_t v)
{
        if (b->error)
                return;
        uint8_t *p = b->data + offset;
        put_u32(&p, v);
}

void xdr_write_gfid(struct buf *b, const struct gfid *g)
{
        xdr_write_fixed(b, g->b, sizeof g->b);
}

static void put_gfid(uint8_t **p, const struct gfid *g)
{
        memcpy(*p, g->b, sizeof g->b);
        *p += sizeof g->b;
}

void xdr_write_iatt(struct buf *b, const struct iatt *i)
{
        uint8_t *p = xdr_space(b, IATT_WIRE_SIZE);
        if (!p)
                return;
        put_gfid(&p, &i->gfid);
        put_u64(&p, i->flags);
        put_u64(&p, i->ino);
        put_u64(&p, i->dev);
        put_u64(&p, i->rdev);
        put_u64(&p, i->size);
        put_u64(&p, i->blocks);
        put_u64(&p, i->attributes);
        put_u64(&p, i->attributes_mask);
        put_i64(&p, i->atime.sec);
        put_i64(&p, i->mtime.sec);
        put_i64(&p, i->ctime.sec);
        put_i64(&p, i->btime.sec);
        put_u32(&p, i->atime.nsec);
        put_u32(&p, i->mtime.nsec);
        put_u32(&p, i->ctime.nsec);
        put_u32(&p, i->btime.nsec);
        put_u32(&p, i->nlink);
        put_u32(&p, i->uid);
        put_u32(&p, i->gid);
        put_u32(&p, i->blksize);
        put_u32(&p, i->mode);
}

void xdr_write_iatt_old(struct buf *b, const struct iatt *i)
{
        uint8_t *p = xdr_space(b, IATT_OLD_WIRE_SIZE);
        if (!p)
                return;
        put_gfid(&p, &i->gfid);
        put_u64(&p, i->ino);
        put_u64(&p, i->dev);
        put_u32(&p, i->mode);
        put_u32(&p, i->nlink);
        put_u32(&p, i->uid);
        put_u32(&p, i->gid);
        put_u64(&p, i->rdev);
        put_u64(&p, i->size);
        put_u32(&p, i->blksize);
        put_u64(&p, i->blocks);
        put_u32(&p, (uint32_t)i->atime.sec);
        put_u32(&p, i->atime.nsec);
        put_u32(&p, (uint32_t)i->mtime.sec);
        put_u32(&p, i->mtime.nsec);
        put_u32(&p, (uint32_t)i->ctime.sec);
        put_u32(&p, i->ctime.nsec);
}

void xdr_write_mdata(struct buf *b, const struct mdata *m)
{
        uint8_t *p = xdr_space(b, MDATA_WIRE_SIZE);
        if (!p)
                return;
        put_i64(&p, m->atime.sec);
        put_i64(&p, m->mtime.sec);
        put_i64(&p, m->ctime.sec);
        put_u32(&p, m->atime.nsec);
        put_u32(&p, m->mtime.nsec);
        put_u32(&p, m->ctime.nsec);
}
