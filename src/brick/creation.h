/* Making a new object: everything MKDIR, MKNOD, SYMLINK and CREATE do alike (spec: brick.md §8.2, §21).
 *
 *      creation_begin()    checks, parent before, what the object will be; holds the name's entry lock from here
 *      ... the call that makes the object, filling `made.at` ...
 *      creation_dress()    owner, ACLs, attributes, gfid, handle, in this order; on failure the object is removed again
 *      creation_answer()   iatts of the object and of the parent after
 *      creation_done()     always, also when creation_begin() failed
 */
#pragma once

#include "brick/entry.h"

#define CREATION_PAIRS 32

struct creation {
        struct op *op;
        const char *name;
        struct gfid gfid;
        mode_t type;
        struct object parent;
        struct iatt before;
        struct perm_new perm;
        const char *preop_key; /* consumed by the layout check: not stored on the child */
        struct entry_guard guard;
        struct object made; /* inode: from creation_dress() on */
        bool has_handle;
        bool names_failed;  /* the next look-up repairs them */
        bool complete;      /* `pairs` are all attributes the object has */
        uint32_t n;
        struct xattr_pair pairs[CREATION_PAIRS];
};

struct creation_request {
        const struct gfid *parent;
        const char *name;
        mode_t type; /* S_IFMT bits */
        mode_t mode, umask;
};

int creation_begin(struct op *op, const struct creation_request *req, struct creation *ret);
/* `glusterfs.preop.parent.key` (brick.md §9). ABSENT: the errno when the parent has no such attribute. */
int creation_check_preop(struct creation *c, int absent);
int creation_dress(struct creation *c);
/* Removes what was made. */
void creation_undo(struct creation *c);
int creation_answer(struct creation *c, struct iatt *object, struct iatt *before, struct iatt *after);
void creation_done(struct creation *c);
