/* The old dictionary: the whole input is the opaque's contents. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        _cleanup_buf_ struct buf first = BUF_INIT(FUZZ_ARENA);
        struct dict d, again;
        if (dict_decode_old((struct slice){data, (uint32_t)size}, &a, &d) < 0)
                return 0;
        FUZZ_CHECK(dict_encode_old(&first, &d) == 0);
        FUZZ_CHECK(first.len <= size && (first.len == 0 || memcmp(first.data, data, first.len) == 0));
        FUZZ_CHECK(dict_decode_old((struct slice){first.data, (uint32_t)first.len}, &a, &again) == 0);
        FUZZ_CHECK(again.null == d.null && again.count == d.count);
        for (uint32_t i = 0; i < d.count; i++) {
                struct str text;
                FUZZ_CHECK(strlen(d.pairs[i].key.s) == d.pairs[i].key.len);
                (void)dict_get_str(&d, &a, d.pairs[i].key.s, &text);
        }
        return 0;
}
