/* The typed dictionary: decoding, every look-up, encoding. */
#include "fuzz.h"

static void look_up(const struct dict *d, struct arena *a)
{
        for (uint32_t i = 0; i < d->count && i < 64; i++) {
                const char *key = d->pairs[i].key.s;
                int64_t number;
                struct slice bytes;
                struct str text;
                struct gfid gfid;
                FUZZ_CHECK(strlen(key) == d->pairs[i].key.len);
                FUZZ_CHECK(dict_has(d, key));
                (void)dict_get_int(d, key, &number);
                (void)dict_get_gfid(d, key, &gfid);
                if (dict_get_str(d, a, key, &text) == 0)
                        FUZZ_CHECK(strlen(text.s) == text.len);
                if (dict_get_bytes(d, key, &bytes) == 0)
                        FUZZ_CHECK(bytes.len <= DICT_BYTES_LIMIT);
                (void)dict_value_bytes(&d->pairs[i].value, a, &bytes);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        _cleanup_buf_ struct buf first = BUF_INIT(FUZZ_ARENA), second = BUF_INIT(FUZZ_ARENA),
                                 old = BUF_INIT(FUZZ_ARENA);
        struct xdr_reader r = xdr_reader_of(data, size);
        struct dict d, again;
        dict_decode(&r, &a, &d);
        if (xdr_result(&r) < 0)
                return 0;
        look_up(&d, &a);
        dict_encode(&first, &d);
        r = xdr_reader_of(first.data, first.len);
        dict_decode_exact(&r, &a, &again);
        FUZZ_CHECK(xdr_result(&r) == 0 && xdr_left(&r) == 0);
        FUZZ_CHECK(again.null == d.null && again.count == d.count);
        dict_encode(&second, &again);
        FUZZ_CHECK(fuzz_same(&first, &second));
        (void)dict_encode_old(&old, &d);
        return 0;
}
