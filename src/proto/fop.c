/* The descriptors of all file operations and their look-up by number. Constant data; any thread. */
#include "proto/fop.h"

#define FOP_DEFINE_(number, NAME, name)                                                                                \
        MSG_DEFINE(name##_fop_req, MSG_##NAME##_REQ)                                                                   \
        MSG_DEFINE(name##_fop_rep, MSG_##NAME##_REP)
FOPS(FOP_DEFINE_)

#define FOP_ENTRY_(number, NAME, name_)                                                                                \
        [number] = {.name = #NAME, .req = &name_##_fop_req_desc, .rep = &name_##_fop_rep_desc},
static const struct fop_desc fops[FOP_MAX] = {FOPS(FOP_ENTRY_)};

const struct fop_desc *fop_by_number(uint32_t number)
{
        return number < FOP_MAX && fops[number].name ? &fops[number] : NULL;
}
