/* Record marking: the first byte seeds how the stream is cut into reads. However it is cut, the records are the same.
 */
#include "fuzz.h"

#include "rpc/record.h"

#define LIMIT 4096

/* Reads STREAM in pieces of at most PIECE bytes; appends every record and the outcome to OUT. */
static void assemble(const uint8_t *stream, size_t size, size_t piece, struct buf *out)
{
        struct record_reader r;
        record_reader_init(&r, LIMIT);
        int n = 0;
        for (size_t at = 0; at < size && n == 0;) {
                size_t part = MIN(piece, size - at), room = 0;
                uint8_t *space = record_reader_space(&r, part, &room);
                FUZZ_CHECK(space && room >= part);
                memcpy(space, stream + at, part);
                record_reader_filled(&r, part);
                at += part;

                struct slice record;
                size_t missing = 0;
                while ((n = record_reader_next(&r, &record, &missing)) == 1) {
                        FUZZ_CHECK(record.len <= LIMIT);
                        buf_printf(out, "[%u:", record.len);
                        buf_append(out, record.data, record.len);
                }
                FUZZ_CHECK(n < 0 || missing > 0);
        }
        buf_printf(out, "%d", n);
        record_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        _cleanup_buf_ struct buf whole = BUF_INIT(FUZZ_ARENA), pieces = BUF_INIT(FUZZ_ARENA);
        assemble(data + 1, size - 1, size, &whole);
        assemble(data + 1, size - 1, 1 + data[0] % 32, &pieces);
        FUZZ_CHECK(fuzz_same(&whole, &pieces));
        return 0;
}
