/* Split-brains decided by an operator: bigger-file, latest-mtime, source-brick (spec: cli.md §12.4, replicate.md §9.3).
 *
 * Thread: the loop's.
 */
#pragma once

#include "heal/healer.h"
#include "heal/options.h"

/* Appends a JSON object: {"result": 0 or an errno, "text": what stock says, without full stop, "healed": how many}. All bricks of
 * the set must be connected. -ENOMEM. */
int choice_run(struct fibre *self, struct healer *h, const struct heal_choice *c, struct buf *out);
