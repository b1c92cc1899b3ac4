/* Groups of a user as this server knows them, for server.manage-gids (spec: brick.md §15.4). */
#pragma once

#include "proto/types.h"

#define GROUPS_MAX 256 /* of one user; more are left out */

struct group_cache;
int group_cache_new(struct group_cache **ret);
struct group_cache *group_cache_free(struct group_cache *c);

/* Stores the groups of UID in GROUPS and returns their number; 0 for a user nobody knows. May ask the name service and
 * block; answers are kept for GROUPS_KEEP. Any thread. */
uint32_t group_cache_get(struct group_cache *c, uint32_t uid, uint32_t groups[static GROUPS_MAX]);
