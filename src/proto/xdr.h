/* XDR primitives (RFC 4506): big-endian, padded to four bytes.
 *
 * The reader never reads past its end: the first short read sets `error` (-EBADMSG) and every later read gives zeros,
 * so decoders read field after field and look once. A value that is well-formed but not allowed (a name with '/') goes
 * into `refused` instead, and reading goes on: whoever asks xdr_result() at the end learns of it only if nothing worse
 * is wrong. The bytes of padding are not looked at. The writer is a struct buf with its own sticky error.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "proto/types.h"

struct xdr_reader {
        const uint8_t *p, *end;
        int error;   /* 0, or the first negative errno */
        int refused; /* 0, or the first negative errno about a value */
};

static inline struct xdr_reader xdr_reader_of(const void *data, size_t len)
{
        return (struct xdr_reader){.p = data, .end = len > 0 ? (const uint8_t *)data + len : data};
}
static inline size_t xdr_left(const struct xdr_reader *r)
{
        return (size_t)(r->end - r->p);
}
/* Keeps the first error, ends reading; returns the error. */
int xdr_fail(struct xdr_reader *r, int error);
/* Keeps the first refusal. */
void xdr_refuse(struct xdr_reader *r, int error);
/* 0, the error, or else the refusal. */
static inline int xdr_result(const struct xdr_reader *r)
{
        return r->error ? r->error : r->refused;
}

uint32_t xdr_read_u32(struct xdr_reader *r);
uint64_t xdr_read_u64(struct xdr_reader *r);
/* N bytes as they are, without padding; NULL on failure. */
const uint8_t *xdr_read_fixed(struct xdr_reader *r, size_t n);
/* opaque<LIMIT>, in place; longer: -EMSGSIZE. */
struct slice xdr_read_opaque(struct xdr_reader *r, uint32_t limit);
/* string<LIMIT>, copied into A with a NUL. A NUL inside is refused with -EINVAL. Never gives a NULL pointer. */
struct str xdr_read_str(struct xdr_reader *r, uint32_t limit, struct arena *a);

void xdr_write_u32(struct buf *b, uint32_t v);
void xdr_write_u64(struct buf *b, uint64_t v);
void xdr_write_fixed(struct buf *b, const void *data, size_t n);
void xdr_write_opaque(struct buf *b, const void *data, uint32_t n);
/* Overwrites four bytes at OFFSET, which were written before. */
void xdr_patch_u32(struct buf *b, size_t offset, uint32_t v);

/* Structures of wire.md §3. */
struct gfid xdr_read_gfid(struct xdr_reader *r);
struct iatt xdr_read_iatt(struct xdr_reader *r);     /* iattx, 148 bytes */
struct iatt xdr_read_iatt_old(struct xdr_reader *r); /* 100 bytes */
struct mdata xdr_read_mdata(struct xdr_reader *r);
void xdr_write_gfid(struct buf *b, const struct gfid *g);
void xdr_write_iatt(struct buf *b, const struct iatt *i);
void xdr_write_iatt_old(struct buf *b, const struct iatt *i);
void xdr_write_mdata(struct buf *b, const struct mdata *m);
