/* Messages of the small programs and callbacks: the first byte is the number in HANDSHAKE_MESSAGES. */
#include "fuzz.h"

#include "proto/handshake.h"

#define DESC(msg, FIELDS) &msg##_desc,
static const struct msg_desc *const messages[] = {HANDSHAKE_MESSAGES(DESC)};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size > 0)
                fuzz_message(messages[data[0] % ELEMENTSOF(messages)], data + 1, size - 1);
        return 0;
}
