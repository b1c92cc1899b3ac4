/* The volfile as the command line wants it: from a file or as fetched, with its options changed by xlator-option.
 *
 * Thread: any; nothing waits.
 */
#pragma once

#include "mount/options.h"
#include "volfile/volfile.h"

/* Parses TEXT and applies o->xlator_options: "PATTERN.KEY=VALUE" sets KEY in the sections whose names match. */
int volfile_from_text(const struct mount_options *o, const struct buf *text, struct volfile **ret, struct error *err);
/* How many bytes of a file may be answered and not written yet; 0: none, performance/write-behind is not there or was
 * told to keep writes in order (strict-write-ordering). */
uint64_t volfile_write_behind(const struct volfile *v);
/* How long what bricks tell may be believed, ns: the metadata cache's time if bricks tell of changes; 0: they do not.
 */
uint64_t volfile_invalidation_time(const struct volfile *v);
