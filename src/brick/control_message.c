/* The descriptors of the CONTROL program's messages. Constant data; any thread. */
#include "brick/control.h"

CONTROL_MESSAGES(MSG_DEFINE)
