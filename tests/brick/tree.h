/* A picture of everything a client can see in a brick: taken through look-ups, compared, removed again.
 *
 * Taking it looks up each name as a client with a cold cache does, a new gfid offered with each look-up, so it also
 * repairs what look-ups repair. Times and block counts are left out.
 */
#pragma once

#include "harness.h"

#define TREE_MAX 64

/* What differs between two pictures of one object. */
enum {
        TREE_GFID = 1,
        TREE_TYPE = 2,
        TREE_MODE = 4,
        TREE_OWNER = 8,
        TREE_LINKS = 16,
        TREE_SIZE = 32,
        TREE_CONTENT = 64, /* bytes of a file, target of a symbolic link */
        TREE_ATTRS = 128,
        TREE_NAMES = 256, /* there is a name in one of them only, or another number of them */
};

struct tree_object {
        char path[128];
        struct gfid gfid; /* null: one that a look-up of the picture gave */
        uint32_t mode, uid, gid, links;
        uint64_t size, content, attrs;
};
struct tree {
        struct tree_object v[TREE_MAX]; /* by path */
        size_t n;
};

/* With a session of its own. */
void tree_take(struct harness *h, struct tree *ret);
/* TREE_* of all objects; those of objects whose path begins with LOOSE (may be NULL) are without the bits of MASK. */
int tree_compare(const struct tree *a, const struct tree *b, const char *loose, int mask);
const struct tree_object *tree_find(const struct tree *t, const char *path);
/* The objects of T that are not the same in OTHER. */
void tree_print(FILE *out, const struct tree *t, const struct tree *other);
/* Removes everything through the brick, as a client would. */
void tree_remove(struct harness *h);
/* Names left in .glusterfs/xx/yy, unlink and landfill, the root's handle not counted; each is printed. */
unsigned tree_leftovers(struct harness *h);
