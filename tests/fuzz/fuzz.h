/* What the targets share. */
#pragma once

#include "proto/message.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ARENA (16 * MIB)

/* A broken promise of the code: libFuzzer keeps the input. */
#define FUZZ_CHECK(condition)                                                                                          \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        fprintf(stderr, "ERROR: %s:%d: %s\n", __FILE__, __LINE__, #condition);                         \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

static inline bool fuzz_same(const struct buf *a, const struct buf *b)
{
        return a->error == 0 && b->error == 0 && a->len == b->len &&
               (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* What decodes encodes; that decodes to what encodes to the same bytes; the log form takes anything. */
static inline void fuzz_message(const struct msg_desc *d, const uint8_t *data, size_t size)
{
        _Alignas(max_align_t) uint8_t msg[MSG_SIZE_MAX], again[MSG_SIZE_MAX];
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        struct xdr_reader r = xdr_reader_of(data, size);
        if (msg_decode(d, &r, &a, msg) < 0)
                return;

        _cleanup_buf_ struct buf first = BUF_INIT(FUZZ_ARENA), second = BUF_INIT(FUZZ_ARENA), text = BUF_INIT(2048);
        msg_encode(d, msg, &first);
        FUZZ_CHECK(first.error == 0);
        r = xdr_reader_of(first.data, first.len);
        FUZZ_CHECK(msg_decode(d, &r, &a, again) == 0);
        FUZZ_CHECK(xdr_left(&r) == 0);
        msg_encode(d, again, &second);
        FUZZ_CHECK(fuzz_same(&first, &second));
        msg_format(d, msg, &text);
        FUZZ_CHECK(text.error == 0 && buf_cstr(&text));
}
