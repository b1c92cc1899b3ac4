/* The descriptors of the small programs. Constant data; any thread. */
#include "proto/handshake.h"

HANDSHAKE_MESSAGES(MSG_DEFINE)
