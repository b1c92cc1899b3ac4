/* Where volumes are kept: one record per volume in a directory, each replaced as a whole.
 *
 *     DIR/node.json            identity of this node
 *     DIR/volumes/NAME.json    one volume (pool/volume.h)
 *
 * A record is written beside its place, synced, renamed and its directory synced: after a crash it is the old or the
 * new one. A record that cannot be read is reported and left exactly as it is. All calls block on the disk: any one
 * thread at a time. This interface is what a replicated store has to offer in its place.
 */
#pragma once

#include "base/disk.h"
#include "pool/volume.h"

struct store;

/* Opens or makes the directory DIR (its parent exists). RANDOM becomes the node's id when there is none yet. With a
 * sentence: -EINVAL node.json is damaged, -errno. The disk must outlive the store. */
int store_open(struct disk *disk, const char *dir, const uint8_t random[static 16], struct store **ret,
               struct error *e);
struct store *store_free(struct store *s);
DEFINE_CLEANUP(struct store *, store_free)

const struct gfid *store_node(const struct store *s);
const char *store_dir(const struct store *s);

/* Reads all records into RET, damaged ones as entries without a volume. Leftovers of interrupted writes are removed. */
int store_load(struct store *s, struct volume_set *ret, struct error *e);
/* Durable when it returns 0. */
int store_write(struct store *s, const struct volume *v, struct error *e);
int store_remove(struct store *s, const char *name, struct error *e);
