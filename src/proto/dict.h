/* Dictionaries: the protocol's bags of keys, in both wire forms (wire.md §2).
 *
 * They exist at the edge: decoded into an arena, turned into typed structs at once, and built again for an answer.
 * Order is kept (a decoded dict encodes to the same bytes). Look-up is linear: dicts are small and bounded
 * (DICT_PAIRS_LIMIT).
 */
#pragma once

#include "proto/xdr.h"

enum dict_type {
        DICT_UNKNOWN = 0,
        DICT_STR_OLD = 1, /* bytes of unknown kind */
        DICT_INT = 2,
        DICT_UINT = 3,
        DICT_DOUBLE = 4,
        DICT_STR = 5, /* bytes; stock counts a trailing NUL */
        DICT_PTR = 6,
        DICT_GFUUID = 7,
        DICT_IATT = 8,
        DICT_MDATA = 9,
        DICT_TYPE_MAX,
};

struct dict_value {
        enum dict_type type;
        union {
                int64_t i;               /* DICT_INT */
                uint64_t u;              /* DICT_UINT */
                double d;                /* DICT_DOUBLE */
                struct slice bytes;      /* DICT_STR, DICT_STR_OLD, DICT_PTR */
                struct gfid gfid;        /* DICT_GFUUID */
                const struct iatt *iatt; /* DICT_IATT */
                struct mdata mdata;      /* DICT_MDATA */
        };
};

struct dict_pair {
        struct str key; /* without the NUL the wire counts */
        struct dict_value value;
};

struct dict {
        bool null; /* the NULL dict (count -1), which has no pairs */
        uint32_t count;
        uint32_t cap;
        struct dict_pair *pairs; /* in the arena */
};

#define DICT_NULL ((struct dict){.null = true})

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* Appends; keys are not made unique (last one wins in look-ups). KEY and bytes are kept by reference and must live as
 * long as the dict. -ENOMEM (arena exhausted), -E2BIG (DICT_PAIRS_LIMIT). A NULL dict becomes a real one. */
int dict_add(struct dict *d, struct arena *a, struct str key, struct dict_value value);
int dict_add_int(struct dict *d, struct arena *a, const char *key, int64_t v);
int dict_add_uint(struct dict *d, struct arena *a, const char *key, uint64_t v);
int dict_add_ptr(struct dict *d, struct arena *a, const char *key, const void *data, uint32_t len);
int dict_add_gfid(struct dict *d, struct arena *a, const char *key, const struct gfid *g);
int dict_add_iatt(struct dict *d, struct arena *a, const char *key, const struct iatt *i); /* copies *i */
/* The string with its NUL, as stock sends it. */
int dict_add_str(struct dict *d, struct arena *a, const char *key, const char *s);

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* NULL if absent. */
const struct dict_value *dict_get(const struct dict *d, const char *key);
bool dict_has(const struct dict *d, const char *key);
/* INT, UINT or decimal text to a number. -ENOENT absent, -EINVAL not a number. */
int dict_get_int(const struct dict *d, const char *key, int64_t *ret);
/* The bytes of any byte-like value. -ENOENT, -EINVAL. */
int dict_get_bytes(const struct dict *d, const char *key, struct slice *ret);
/* The same as text, one trailing NUL dropped, NUL-terminated in A. -EINVAL also for a NUL inside. */
int dict_get_str(const struct dict *d, struct arena *a, const char *key, struct str *ret);
/* GFUUID, or 16 bytes of another kind. */
int dict_get_gfid(const struct dict *d, const char *key, struct gfid *ret);

/* The bytes stored when a value becomes an xattr: numbers as decimal text with NUL, strings and PTR as they are, GFUUID
 * 16 bytes (wire.md §2.2). -EINVAL for IATT, MDATA, DOUBLE, UNKNOWN. */
int dict_value_bytes(const struct dict_value *v, struct arena *a, struct slice *ret);

/* ---- wire -------------------------------------------------------------------------------------------------------- */

/* Typed dict of v400 (wire.md §2.2). Errors go into the reader: -EBADMSG, -EMSGSIZE (DICT_PAIRS_LIMIT,
 * DICT_BYTES_LIMIT), -ENOMEM. Keys are taken with and without their NUL. The number of pairs is the array's; `count`
 * only tells NULL (-1) from empty. */
void dict_decode(struct xdr_reader *r, struct arena *a, struct dict *ret);
/* The same for a dict that others find a payload with: -EBADMSG unless xdr_size is exact. */
void dict_decode_exact(struct xdr_reader *r, struct arena *a, struct dict *ret);
/* -EINVAL (in B) for a value of type DICT_UNKNOWN. */
void dict_encode(struct buf *b, const struct dict *d);

/* Old dict, the contents of an opaque (wire.md §2.1). An empty slice is the NULL dict. Every value is DICT_STR_OLD with
 * the bytes as they are. -EBADMSG, -E2BIG (DICT_PAIRS_LIMIT, DICT_BYTES_LIMIT), -ENOMEM. */
int dict_decode_old(struct slice data, struct arena *a, struct dict *ret);
/* Appends the serialized form without the surrounding opaque; values as dict_value_bytes() gives them. The NULL dict
 * appends nothing. Returns b->error. */
int dict_encode_old(struct buf *b, const struct dict *d);
