/* Dictionaries: building, looking up, both wire forms.
 *
 * Relies on arena (pairs, copies) and xdr. Keys found on the wire with their NUL stay where they are; only a key
 * without one is copied. Allocation for pairs is bounded by the bytes that are really there: a pair takes at least
 * PAIR_WIRE_MIN of them. Any thread; a dict belongs to one request.
 */
#include "proto/dict.h"

#include <inttypes.h>
#include <stdio.h>

#define PAIR_WIRE_MIN 12    /* key length, type, length of an empty value */
#define PAIR_WIRE_MIN_OLD 9 /* two lengths and the key's NUL */
#define NUMBER_TEXT_MAX 24

/* ---- building ---------------------------------------------------------------------------------------------------- */

static int dict_grow(struct dict *d, struct arena *a)
{
        if (d->count >= DICT_PAIRS_LIMIT)
                return -E2BIG;
        uint32_t cap = d->cap ? d->cap * 2 : 8;
        struct dict_pair *pairs = arena_alloc_array(a, cap, sizeof *pairs);
        if (!pairs)
                return -ENOMEM;
        if (d->count > 0)
                memcpy(pairs, d->pairs, d->count * sizeof *pairs);
        d->pairs = pairs;
        d->cap = cap;
        return 0;
}

int dict_add(struct dict *d, struct arena *a, struct str key, struct dict_value value)
{
        if (d->count == d->cap) {
                int r = dict_grow(d, a);
                if (r < 0)
                        return r;
        }
        d->null = false;
        d->pairs[d->count++] = (struct dict_pair){.key = key, .value = value};
        return 0;
}

int dict_add_int(struct dict *d, struct arena *a, const char *key, int64_t v)
{
        return dict_add(d, a, str_of(key), (struct dict_value){.type = DICT_INT, .i = v});
}

int dict_add_uint(struct dict *d, struct arena *a, const char *key, uint64_t v)
{
        return dict_add(d, a, str_of(key), (struct dict_value){.type = DICT_UINT, .u = v});
}

int dict_add_ptr(struct dict *d, struct arena *a, const char *key, const void *data, uint32_t len)
{
        return dict_add(d, a, str_of(key), (struct dict_value){.type = DICT_PTR, .bytes = {.data = data, .len = len}});
}

int dict_add_gfid(struct dict *d, struct arena *a, const char *key, const struct gfid *g)
{
        return dict_add(d, a, str_of(key), (struct dict_value){.type = DICT_GFUUID, .gfid = *g});
}

int dict_add_iatt(struct dict *d, struct arena *a, const char *key, const struct iatt *i)
{
        struct iatt *copy = arena_alloc(a, sizeof *copy);
        if (!copy)
                return -ENOMEM;
        *copy = *i;
        return dict_add(d, a, str_of(key), (struct dict_value){.type = DICT_IATT, .iatt = copy});
}

int dict_add_str(struct dict *d, struct arena *a, const char *key, const char *s)
{
        struct slice bytes = {.data = (const uint8_t *)s, .len = (uint32_t)strlen(s) + 1};
        return dict_add(d, a, str_of(key), (struct dict_value){.type = DICT_STR, .bytes = bytes});
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

const struct dict_value *dict_get(const struct dict *d, const char *key)
{
        size_t len = strlen(key);
        for (uint32_t i = d->count; i > 0; i--) {
                const struct dict_pair *p = &d->pairs[i - 1];
                if (p->key.len == len && memcmp(p->key.s, key, len) == 0)
                        return &p->value;
        }
        return NULL;
}

bool dict_has(const struct dict *d, const char *key)
{
        return dict_get(d, key) != NULL;
}

static int value_bytes(const struct dict_value *v, struct slice *ret)
{
        switch (v->type) {
        case DICT_STR:
        case DICT_STR_OLD:
        case DICT_PTR:
                *ret = v->bytes;
                return 0;
        case DICT_GFUUID:
                *ret = (struct slice){.data = v->gfid.b, .len = sizeof v->gfid.b};
                return 0;
        default:
                return -EINVAL;
        }
}

/* Drops the NUL that strings carry on the wire. */
static struct slice text_of(struct slice s)
{
        if (s.len > 0 && s.data[s.len - 1] == 0)
                s.len--;
        return s;
}

static int parse_decimal(struct slice s, int64_t *ret)
{
        s = text_of(s);
        bool negative = s.len > 0 && s.data[0] == '-';
        uint32_t i = negative;
        if (i == s.len)
                return -EINVAL;

        int64_t v = 0;
        for (; i < s.len; i++) {
                if (s.data[i] < '0' || s.data[i] > '9')
                        return -EINVAL;
                int64_t digit = s.data[i] - '0';
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, negative ? -digit : digit, &v))
                        return -EINVAL;
        }
        *ret = v;
        return 0;
}

int dict_get_int(const struct dict *d, const char *key, int64_t *ret)
{
        const struct dict_value *v = dict_get(d, key);
        if (!v)
                return -ENOENT;
        if (v->type == DICT_INT) {
                *ret = v->i;
                return 0;
        }
        if (v->type == DICT_UINT) {
                if (v->u > INT64_MAX)
                        return -EINVAL;
                *ret = (int64_t)v->u;
                return 0;
        }
        struct slice bytes;
        int r = value_bytes(v, &bytes);
        return r < 0 ? r : parse_decimal(bytes, ret);
}

int dict_get_bytes(const struct dict *d, const char *key, struct slice *ret)
{
        const struct dict_value *v = dict_get(d, key);
        return v ? value_bytes(v, ret) : -ENOENT;
}

int dict_get_str(const struct dict *d, struct arena *a, const char *key, struct str *ret)
{
        struct slice bytes;
        int r = dict_get_bytes(d, key, &bytes);
        if (r < 0)
                return r;
        bytes = text_of(bytes);
        if (bytes.len > 0 && memchr(bytes.data, 0, bytes.len))
                return -EINVAL;
        const char *s = arena_strndup(a, bytes.data, bytes.len);
        if (!s)
                return -ENOMEM;
        *ret = (struct str){.s = s, .len = bytes.len};
        return 0;
}

int dict_get_gfid(const struct dict *d, const char *key, struct gfid *ret)
{
        struct slice bytes;
        int r = dict_get_bytes(d, key, &bytes);
        if (r < 0)
                return r;
        if (bytes.len != sizeof ret->b)
                return -EINVAL;
        memcpy(ret->b, bytes.data, sizeof ret->b);
        return 0;
}

/* The decimal text of a number, its NUL counted; 0 if V is none. */
static uint32_t number_text(const struct dict_value *v, char text[static NUMBER_TEXT_MAX])
{
        int n = -1;
        if (v->type == DICT_INT)
                n = snprintf(text, NUMBER_TEXT_MAX, "%" PRId64, v->i);
        if (v->type == DICT_UINT)
                n = snprintf(text, NUMBER_TEXT_MAX, "%" PRIu64, v->u);
        return (uint32_t)(n + 1);
}

int dict_value_bytes(const struct dict_value *v, struct arena *a, struct slice *ret)
{
        char text[NUMBER_TEXT_MAX];
        uint32_t len = number_text(v, text);
        if (len == 0)
                return value_bytes(v, ret);
        const char *copy = arena_strndup(a, text, len - 1);
        if (!copy)
                return -ENOMEM;
        *ret = (struct slice){.data = (const uint8_t *)copy, .len = len};
        return 0;
}

/* ---- typed form -------------------------------------------------------------------------------------------------- */

static struct str key_decode(struct xdr_reader *r, struct arena *a)
{
        struct slice wire = xdr_read_opaque(r, DICT_BYTES_LIMIT);
        struct slice key = text_of(wire);
        if (key.len == 0)
                return STR("");
        if (memchr(key.data, 0, key.len)) {
                xdr_fail(r, -EBADMSG);
                return STR("");
        }
        if (wire.len > key.len)
                return (struct str){.s = (const char *)key.data, .len = key.len};
        const char *copy = arena_strndup(a, key.data, key.len);
        if (!copy) {
                xdr_fail(r, -ENOMEM);
                return STR("");
        }
        return (struct str){.s = copy, .len = key.len};
}

static const struct iatt *iatt_value_decode(struct xdr_reader *r, struct arena *a)
{
        struct iatt *i = arena_alloc(a, sizeof *i);
        if (i)
                *i = xdr_read_iatt(r);
        else
                xdr_fail(r, -ENOMEM);
        return i;
}

static double double_of_bits(uint64_t bits)
{
        double d;
        memcpy(&d, &bits, sizeof d);
        return d;
}

static uint64_t bits_of_double(double d)
{
        uint64_t bits;
        memcpy(&bits, &d, sizeof bits);
        return bits;
}

static void value_decode(struct xdr_reader *r, struct arena *a, struct dict_value *v)
{
        uint32_t type = xdr_read_u32(r);
        switch (type) {
        case DICT_INT:
                v->i = (int64_t)xdr_read_u64(r);
                break;
        case DICT_UINT:
                v->u = xdr_read_u64(r);
                break;
        case DICT_DOUBLE:
                v->d = double_of_bits(xdr_read_u64(r));
                break;
        case DICT_STR_OLD:
        case DICT_STR:
        case DICT_PTR:
                v->bytes = xdr_read_opaque(r, DICT_BYTES_LIMIT);
                break;
        case DICT_GFUUID:
                v->gfid = xdr_read_gfid(r);
                break;
        case DICT_IATT:
                v->iatt = iatt_value_decode(r, a);
                break;
        case DICT_MDATA:
                v->mdata = xdr_read_mdata(r);
                break;
        default:
                xdr_fail(r, -EBADMSG);
                return;
        }
        v->type = (enum dict_type)type;
}

static void pairs_decode(struct xdr_reader *r, struct arena *a, uint32_t count, struct dict *d)
{
        if (count > xdr_left(r) / PAIR_WIRE_MIN) {
                xdr_fail(r, -EBADMSG);
                return;
        }
        if (count > DICT_PAIRS_LIMIT) {
                xdr_fail(r, -EMSGSIZE);
                return;
        }
        d->pairs = arena_alloc_array(a, count, sizeof *d->pairs);
        if (!d->pairs) {
                xdr_fail(r, -ENOMEM);
                return;
        }
        d->cap = count;
        for (; d->count < count && r->error == 0; d->count++) {
                struct dict_pair *p = &d->pairs[d->count];
                p->key = key_decode(r, a);
                value_decode(r, a, &p->value);
        }
}

/* Gives xdr_size as announced; the number of bytes the pairs took goes to *ret_taken. */
static uint32_t dict_read(struct xdr_reader *r, struct arena *a, struct dict *ret, size_t *ret_taken)
{
        uint32_t size = xdr_read_u32(r);
        uint32_t count = xdr_read_u32(r);
        uint32_t pairs = xdr_read_u32(r);
        const uint8_t *start = r->p;
        *ret = (struct dict){.null = pairs == 0 && count == UINT32_MAX};
        if (pairs > 0)
                pairs_decode(r, a, pairs, ret);
        *ret_taken = (size_t)(r->p - start);
        if (r->error == 0 && *ret_taken > DICT_BYTES_LIMIT)
                xdr_fail(r, -EMSGSIZE);
        if (r->error)
                *ret = DICT_NULL;
        return size;
}

void dict_decode(struct xdr_reader *r, struct arena *a, struct dict *ret)
{
        size_t taken;
        (void)dict_read(r, a, ret, &taken);
}

void dict_decode_exact(struct xdr_reader *r, struct arena *a, struct dict *ret)
{
        size_t taken;
        uint32_t size = dict_read(r, a, ret, &taken);
        if (r->error == 0 && (((size_t)size + 3) & ~(size_t)3) != taken)
                xdr_fail(r, -EBADMSG);
}

static void fail(struct buf *b, int error)
{
        if (b->error == 0)
                b->error = error;
}

static void key_encode(struct buf *b, struct str key)
{
        static const uint8_t zeros[4];
        uint32_t len = key.len + 1;
        xdr_write_u32(b, len);
        xdr_write_fixed(b, key.s, key.len);
        xdr_write_fixed(b, zeros, 1 + (-(size_t)len & 3));
}

static void value_encode(struct buf *b, const struct dict_value *v)
{
        xdr_write_u32(b, (uint32_t)v->type);
        switch (v->type) {
        case DICT_INT:
                xdr_write_u64(b, (uint64_t)v->i);
                break;
        case DICT_UINT:
                xdr_write_u64(b, v->u);
                break;
        case DICT_DOUBLE:
                xdr_write_u64(b, bits_of_double(v->d));
                break;
        case DICT_STR_OLD:
        case DICT_STR:
        case DICT_PTR:
                xdr_write_opaque(b, v->bytes.data, v->bytes.len);
                break;
        case DICT_GFUUID:
                xdr_write_gfid(b, &v->gfid);
                break;
        case DICT_IATT:
                xdr_write_iatt(b, v->iatt);
                break;
        case DICT_MDATA:
                xdr_write_mdata(b, &v->mdata);
                break;
        default:
                fail(b, -EINVAL);
        }
}

void dict_encode(struct buf *b, const struct dict *d)
{
        size_t start = b->len;
        xdr_write_u32(b, 0);
        xdr_write_u32(b, d->null ? UINT32_MAX : d->count);
        xdr_write_u32(b, d->count);
        size_t pairs = b->len;
        for (uint32_t i = 0; i < d->count && b->error == 0; i++) {
                key_encode(b, d->pairs[i].key);
                value_encode(b, &d->pairs[i].value);
        }
        if (b->error == 0 && d->count > 0)
                xdr_patch_u32(b, start, (uint32_t)(b->len - pairs));
}

/* ---- old form ---------------------------------------------------------------------------------------------------- */

static void pair_decode_old(struct xdr_reader *r, struct dict_pair *p)
{
        uint32_t key_len = xdr_read_u32(r);
        uint32_t value_len = xdr_read_u32(r);
        const uint8_t *key = xdr_read_fixed(r, (size_t)key_len + 1);
        const uint8_t *value = xdr_read_fixed(r, value_len);
        if (!value)
                return;
        if (memchr(key, 0, (size_t)key_len + 1) != key + key_len) {
                xdr_fail(r, -EBADMSG);
                return;
        }
        p->key = (struct str){.s = (const char *)key, .len = key_len};
        p->value = (struct dict_value){.type = DICT_STR_OLD, .bytes = {.data = value, .len = value_len}};
}

int dict_decode_old(struct slice data, struct arena *a, struct dict *ret)
{
        if (data.len == 0) {
                *ret = DICT_NULL;
                return 0;
        }
        if (data.len > DICT_BYTES_LIMIT)
                return -E2BIG;
        struct xdr_reader r = xdr_reader_of(data.data, data.len);
        uint32_t count = xdr_read_u32(&r);
        if (r.error || count > xdr_left(&r) / PAIR_WIRE_MIN_OLD)
                return -EBADMSG;
        if (count > DICT_PAIRS_LIMIT)
                return -E2BIG;

        struct dict d = {.count = count, .cap = count};
        d.pairs = arena_alloc_array(a, count, sizeof *d.pairs);
        if (!d.pairs)
                return -ENOMEM;
        for (uint32_t i = 0; i < count && r.error == 0; i++)
                pair_decode_old(&r, &d.pairs[i]);
        if (r.error)
                return r.error;
        *ret = d;
        return 0;
}

static void pair_encode_old(struct buf *b, const struct dict_pair *p)
{
        char text[NUMBER_TEXT_MAX];
        struct slice bytes = {.data = (const uint8_t *)text, .len = number_text(&p->value, text)};
        if (bytes.len == 0 && value_bytes(&p->value, &bytes) < 0) {
                fail(b, -EINVAL);
                return;
        }
        xdr_write_u32(b, p->key.len);
        xdr_write_u32(b, bytes.len);
        xdr_write_fixed(b, p->key.s, p->key.len);
        xdr_write_fixed(b, "", 1);
        xdr_write_fixed(b, bytes.data, bytes.len);
}

int dict_encode_old(struct buf *b, const struct dict *d)
{
        if (d->null)
                return b->error;
        xdr_write_u32(b, d->count);
        for (uint32_t i = 0; i < d->count && b->error == 0; i++)
                pair_encode_old(b, &d->pairs[i]);
        return b->error;
}
