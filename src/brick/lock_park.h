/* Parking a call inside a step on a lock table (lock_park.c); handlers use guard.h and mandatory.h. */
#pragma once

#include "brick/guard.h"
#include "brick/lock_table.h"

struct park_reason {
        enum { PARK_REMOVAL, PARK_IO } kind;
        uint32_t type; /* PARK_IO: LOCK_TYPE_READ or LOCK_TYPE_WRITE of the range, against locks with FLAG (0 = all) */
        uint64_t start, end;
        uint32_t flag;
};

/* Can the call of OP wait at all? */
bool park_possible(const struct op *op);
/* OP_PARKED; -ENOMEM, -ENOLCK: too much of this client waits. */
int park_add(struct op *op, struct lock_step *st, const struct park_reason *why);
