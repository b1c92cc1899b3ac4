/* Any text as a volfile: the parser must not crash, and what it takes must read back the same after being written. */
#include "volfile/volfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        struct error err = {0};
        if (volfile_parse((const char *)data, size, &v, &err) < 0) {
                if (err.text[0] == '\0')
                        abort();
                return 0;
        }
        _cleanup_buf_ struct buf first = BUF_INIT(4 * VOLFILE_TEXT_MAX);
        if (volfile_format(v, &first) < 0 || first.len > VOLFILE_TEXT_MAX)
                return 0;
        _cleanup_volfile_ struct volfile *again = NULL;
        if (volfile_parse((const char *)first.data, first.len, &again, &err) < 0)
                abort();
        _cleanup_buf_ struct buf second = BUF_INIT(4 * VOLFILE_TEXT_MAX);
        if (volfile_format(again, &second) < 0 || second.len != first.len ||
            memcmp(first.data, second.data, first.len) != 0)
                abort();
        return 0;
}
