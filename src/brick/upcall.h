/* Telling clients that what they remember of an object has changed: callback 5 (spec: brick.md §17.1; wire.md §4.5).
 *
 * upcall.c remembers which client looked at which object and when; upcall_event.c knows which request looks at what and
 * changes what. Nothing happens, and no memory is used, while `features.cache-invalidation` is off.
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
};

/* ---- upcall.c ---------------------------------------------------------------------------------------------------- */

int upcall_table_new(struct upcall_table **ret);
struct upcall_table *upcall_table_free(struct upcall_table *t);

/* OP's client has seen OBJECT just now. Best effort: without memory it is not told of changes. */
void upcall_watch(struct op *op, const struct gfid *object);
/* Tells all other clients that saw the object lately. With UPCALL_FORGET it is told to all, and nobody watches any more.
 */
void upcall_tell(struct op *op, const struct upcall_event *e);
/* The object is gone for good, by nobody's request in particular. */
void upcall_forget(struct brick *b, const struct gfid *object);
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
        if (op->brick->options->cache_invalidation)
                upcall_request_done(op, req, rep);
}
