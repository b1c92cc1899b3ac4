/* Messages of the chain program: the first byte is which. */
#include "fuzz.h"

#include "proto/chain.h"

#define ENTRY_(name, FIELDS) &name##_desc,
static const struct msg_desc *const messages[] = {CHAIN_MESSAGES(ENTRY_)};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size > 0)
                fuzz_message(messages[data[0] % ELEMENTSOF(messages)], data + 1, size - 1);
        return 0;
}
