/* Attributes that say which names an object has: gfid2path and pgfid (spec: brick.md §2.4). Non-directories only. */
#pragma once

#include "brick/internal.h"

/* "trusted.gfid2path." + 16 digits + NUL; "<parent gfid>/<name>" */
#define GFID2PATH_KEY_MAX 40
#define GFID2PATH_LINKS_MAX 500 /* files with more names do not have them all */
#define GFID2PATH_VALUE_MAX (GFID_TEXT_LEN + 1 + NAME_LIMIT + 1)

struct gfid2path {
        char key[GFID2PATH_KEY_MAX];
        char value[GFID2PATH_VALUE_MAX]; /* no NUL on disk */
        size_t len;
};
void gfid2path_make(const struct gfid *parent, const char *name, struct gfid2path *ret);

/* An object got, or lost, the name NAME in PARENT: both attributes as the options want them. PLACE names the object in any
 * way. Failures are not fatal (the attributes serve tools) and are not reported; the next look-up of a name repairs. */
void names_add(struct brick *b, struct inode *inode, const struct place *at, const struct gfid *parent, const char *name);
void names_remove(struct brick *b, struct inode *inode, const struct place *at, const struct gfid *parent,
                  const char *name);
/* O was found as NAME in PARENT: makes that gfid2path true, and takes away what is left of names that are gone. True if
 * something was changed. */
bool names_repair(struct op *op, struct object *o, const struct gfid *parent, const char *name);
/* Look-ups repair a missing pgfid attribute. */
void names_repair_pgfid(struct brick *b, struct object *o, const struct gfid *parent);

#define PGFID_KEY_MAX 64
void pgfid_key(const struct gfid *parent, char buf[static PGFID_KEY_MAX]);
