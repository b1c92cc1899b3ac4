/* Paths of bricks: canonical form, containment, resolution through a `struct disk`. Any thread. */
#pragma once

#include "base/disk.h"
#include "proto/types.h"

/* Repeated slashes and a trailing one removed, in place. */
void path_canonicalise(char *path);
/* B is A or lies below A; both canonical and absolute. */
bool path_contains(const char *a, const char *b);
/* The parent of a canonical absolute PATH ("/" for "/x"); RET holds strlen(path) + 1. */
void path_parent(const char *path, char *ret);

/* PATH without symbolic links. Components that do not exist stay as written, unless ".." follows: -ENOENT. -ELOOP,
 * -ENAMETOOLONG, -errno. */
int path_resolve(struct disk *d, const char *path, char ret[static PATH_LIMIT + 1]);
