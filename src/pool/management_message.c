/* The descriptors of the management program. Constant data; any thread. */
#include "pool/management.h"

MANAGEMENT_MESSAGES(MSG_DEFINE)
