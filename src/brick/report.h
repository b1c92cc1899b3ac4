/* What a brick process says about its bricks, as JSON. Control loop. */
#pragma once

#include "base/buf.h"

struct process;

/* The array of CONTROL_STATUS (control.h). */
void report_status(struct process *p, struct buf *b);
/* The object of CONTROL_METRICS. */
void report_metrics(struct process *p, struct buf *b);
