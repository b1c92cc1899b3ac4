/* The brick that stores no contents (spec: brick.md §18). */
#pragma once

#include "brick/internal.h"

/* Does ARBITER_HANDLE() stand in for the ordinary handler of OP's fop? */
bool arbiter_answers(const struct op *op);
/* A handler, for the fops that arbiter_answers() names; REQ and REP are those of OP's fop. */
int arbiter_handle(struct op *op, const void *req, void *rep);
