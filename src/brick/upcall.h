/* Telling clients that what they remember of an object has changed: callback 5 (spec: brick.md §17.1; wire.md §4.5).
 *
 * upcall.c remembers which client looked at which object and when; upcall_event.c knows which request looks at what and
 * changes what. All clients are told with `features.cache-invalidation` on; else those that asked for it
 * (docs/formats/chain.md), and without such a client nothing happens and no memory is used.
 */
#pragma once

#include "brick/internal.h"

/* What of an object changed; bits of the callback. */
enum {
        UPCALL_LINKS = 0x1,
        UPCALL_MODE = 0x2,
        UPCALL_OWNER = 0x4,
        UPCALL_SIZE = 0x8,
        UPCALL_TIMES = 0x10,
        UPCALL_PERMISSION = 0x40,
        UPCALL_RENAME = 0x80,
        UPCALL_FORGET = 0x100,
        UPCALL_PARENT_TIMES = 0x200,
        UPCALL_XATTR = 0x400,
        UPCALL_XATTR_REMOVED = 0x800,
        UPCALL_DROP_ATTRIBUTES = 0x2000, /* they are not in the message */
};

struct upcall_event {
        struct gfid object;
        uint32_t flags;
        const struct iatt *stat, *parent, *old_parent; /* as in the answer to the request; NULL = not told */
        struct dict xattrs;                            /* names and values; DICT_NULL = none */
        bool askers_only;                              /* stock does not tell this */
};

/* ---- upcall.c ---------------------------------------------------------------------------------------------------- */

int upcall_table_new(struct upcall_table **ret);
struct upcall_table *upcall_table_free(struct upcall_table *t);

/* From now on S is told of what changes, whatever the options say. *RET_SECONDS: for how long after an answer; 0: it is
 * not. -ENOMEM. Any thread. */
int upcall_begin(struct session *s, uint32_t *ret_seconds);
/* How many changes there were, told to anybody or not. */
uint64_t upcall_changes(const struct brick *b);
/* Whether anybody is told of anything. */
bool upcall_is_on(const struct brick *b);

/* OP's client has seen OBJECT just now. Best effort: without memory it is not told of changes. Who asked to be told is
 * told at once that OBJECT changed if it did since OP began, or if there is no memory to tell it later. */
void upcall_watch(struct op *op, const struct gfid *object);
/* Tells all other clients that saw the object lately. With UPCALL_FORGET it is told to all, and nobody watches any more.
 */
void upcall_tell(struct op *op, const struct upcall_event *e);
/* The object is gone for good, by FROM's doing (NULL: nobody's in particular). */
void upcall_forget(struct brick *b, struct session *from, const struct gfid *object);
/* Before S is freed: nothing is sent to it afterwards. No request of it runs. */
void upcall_session_gone(struct session *s);

/* Clients want to know about changes of xattrs with these names (or patterns). -ENOSPC: too many. */
int upcall_register_names(struct brick *b, const struct dict *names);
bool upcall_name_is_registered(struct brick *b, const char *name);

/* Fills watches and their bytes. */
void upcall_count(struct brick *b, struct brick_stats *s);

/* ---- upcall_event.c ---------------------------------------------------------------------------------------------- */

void upcall_request_done(struct op *op, const void *req, const void *rep);

/* REQ was served, REP is what will be answered. */
static inline void upcall_after(struct op *op, const void *req, const void *rep)
{
        if (upcall_is_on(op->brick))
                upcall_request_done(op, req, rep);
}
