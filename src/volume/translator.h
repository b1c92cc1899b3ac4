/* Inside the volume layer: what builds a layer of the graph. graph.c has the table of types.
 *
 * A builder reads the options of its section, makes the layer with its children (in volfile order) and gives it back in
 * RET. It sets `ops` and whatever is its own; graph.c then fills in name, volume, parent, children, slot and leaves,
 * before any operation or event; bricks begin to connect when the whole graph stands. Strings of SECTION live as long
 * as the volume. Failure is -errno with one sentence: -EOPNOTSUPP for an option this client does not honour and may not
 * ignore.
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/state.h"

typedef int translator_build_fn(struct volume *vol, const struct volfile_section *section, struct subvolume **children,
                                unsigned n_children, struct subvolume **ret, struct error *err);

translator_build_fn remote_build;    /* protocol/client (remote.c) */
translator_build_fn read_only_build; /* features/read-only (read_only.c) */
translator_build_fn dht_build;       /* cluster/distribute (dht.c) */
translator_build_fn afr_build;       /* cluster/replicate (afr.c) */
translator_build_fn several_build;   /* all sets, for healers (several.c) */
