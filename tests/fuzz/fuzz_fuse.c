/* Requests of the kernel: the first byte is the opcode, the next says what was negotiated, then what follows the
 * header. */
#include "fuzz.h"

#include "fuse/internal.h"

static bool within(const void *p, size_t n, const uint8_t *body, size_t size)
{
        uintptr_t at = (uintptr_t)p, begin = (uintptr_t)body;
        return at >= begin && at <= begin + size && n <= begin + size - at;
}

static void check_name(const char *name, size_t max, const uint8_t *body, size_t size)
{
        if (!name)
                return;
        FUZZ_CHECK(within(name, 1, body, size));
        size_t length = strnlen(name, max + 1);
        FUZZ_CHECK(length > 0 && length <= max && within(name, length + 1, body, size));
}

static void check_decoded(const struct operation *op, const struct fuse_request *rq, const uint8_t *body, size_t size)
{
        FUZZ_CHECK(op->names == NAMES_NONE || rq->name);
        check_name(rq->name, 255, body, size);
        check_name(rq->new_name, 4095, body, size);
        if (rq->name && op->names != NAMES_WORD)
                FUZZ_CHECK(!strchr(rq->name, '/') && (op->names == NAMES_DOTS || !streq(rq->name, "..")));
        if (op->data != DATA_NONE)
                FUZZ_CHECK(within(rq->data, rq->size, body, size));
        char text[FUSE_REQUEST_TEXT_MAX];
        FUZZ_CHECK(strlen(fuse_request_format(rq, text)) < sizeof text);
        FUZZ_CHECK(op->fixed == 0 || reply_room(rq) <= UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct operation *op = size < 2 ? NULL : operation_find(data[0] % FUSE_OPCODES);
        if (!op)
                return 0;
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        uint8_t *body = malloc(size - 2); /* aligned, and its end is seen */
        if (!body)
                return 0;
        memcpy(body, data + 2, size - 2);
        struct fuse_request rq = {.opcode = op->opcode, .arena = &a};
        int r = operation_decode(op, data[1] & 1 ? FUSE_SETXATTR_EXT : 0, body, size - 2, &rq);
        FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENAMETOOLONG);
        if (r == 0)
                check_decoded(op, &rq, body, size - 2);
        free(body);
        return 0;
}
