/* What distribute left on the bricks' disks. Paths are inside the volume. */
#pragma once

#include "files.h"

#include "volume/dht.h"

/* The range of a directory on one brick. */
struct layout_range look_range(struct world *w, unsigned brick, const char *dir);
/* All bricks have the directory, with equal gfids, and ranges that take every name once. */
void look_whole(struct world *w, const char *dir);
/* The brick that NAME in DIR belongs on. */
unsigned look_hashed(struct world *w, const char *dir, const char *name);
/* A name in DIR, beginning with PREFIX, that belongs on BRICK. */
const char *look_name(struct world *w, const char *dir, const char *prefix, unsigned brick, char to[static 64]);

enum look_kind { LOOK_NOTHING, LOOK_DATA, LOOK_LINKTO, LOOK_DIRECTORY };
enum look_kind look_kind(struct world *w, unsigned brick, const char *path);
/* Where a pointer points; the brick must have one. */
unsigned look_target(struct world *w, unsigned brick, const char *path);
struct gfid look_gfid(struct world *w, unsigned brick, const char *path);
/* The file is on DATA and nowhere else; on HASHED is a pointer to it if that is another brick, with the same gfid. */
void look_file(struct world *w, const char *path, unsigned hashed, unsigned data);
/* No brick has it. */
void look_gone(struct world *w, const char *path);

/* ---- behind distribute's back ----------------------------------------------------------------------------------------------- */

/* Brick N as client C sees it. */
struct subvolume *look_child(struct world_client *c, unsigned brick);
/* Until client 0 is connected to all bricks; until it is not connected to BRICK. */
void look_wait_up(struct world *w);
void look_wait_down(struct world *w, unsigned brick);

/* On one brick only, on a fibre of C. VALUE NULL: removes the attribute. The mode of an object by its gfid. */
int look_set(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *g, const char *name, const void *value,
             uint32_t len);
int look_chmod(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *g, uint32_t mode);
int look_set_range(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *g,
                   const struct layout_range *r);
/* Makes a pointer, or a file of its own, with this name in a directory on one brick. */
int look_make(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *dir, const char *name,
              const struct gfid *g, const char *linkto);
int look_unlink(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *dir, const char *name);
