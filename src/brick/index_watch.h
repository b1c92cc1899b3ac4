/* Clients that are told when the index of pending work gets its first entry and loses its last (docs/formats/chain.md).
 */
#pragma once

#include "brick/internal.h"

/* S is told from now on. *RET_PENDING: whether there are entries now. -ENOMEM. */
int index_watch_begin(struct session *s, bool *ret_pending);
void index_watch_gone(struct session *s);

/* What is known of the index has changed: tells those who do not know. Before whoever changed it is answered, so that
 * who hears of a change that some copies missed is not the last to hear that something is pending. */
void index_watch_tell(struct brick *b);
