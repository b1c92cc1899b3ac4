/* Calls of the file-operation program: the first byte is the procedure. */
#include "fuzz.h"

#include "proto/fop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct fop_desc *fop = size > 0 ? fop_by_number(data[0] % FOP_MAX) : NULL;
        if (fop)
                fuzz_message(fop->req, data + 1, size - 1);
        return 0;
}
