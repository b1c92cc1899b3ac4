/* The descriptors of the control program. Constant data; any thread. */
#include "brick/control.h"

CONTROL_MESSAGES(MSG_DEFINE)
