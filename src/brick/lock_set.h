/* The locks of one object as plain data (spec: brick.md §13): no threads, no sockets, no brick.
 *
 * Three kinds share one shape. Inode locks cover byte ranges of a domain, entry locks cover names of a domain, posix
 * locks cover byte ranges that are merged and split. Who asks is a `struct lock_client` (one per connection and object)
 * plus the owner bytes of the request. A caller serialises all calls on one set.
 *
 * A request that must wait is kept with its caller's COOKIE; `answer` is called exactly once for it, from the call that
 * settles it: 0 granted, negative errno cancelled.
 */
#pragma once

#include <stdatomic.h>

#include "proto/types.h"

enum lock_kind { LOCK_INODE, LOCK_ENTRY, LOCK_POSIX, LOCK_KIND_MAX };
enum { LOCK_TYPE_READ = 0, LOCK_TYPE_WRITE = 1, LOCK_TYPE_UNLOCK = 2 };

#define LOCK_END_MAX ((uint64_t)INT64_MAX) /* the last byte of "to infinity" */
#define LOCK_WAITS 1                       /* the request was queued */

/* Embedded in whatever stands for a connection on this object. */
struct lock_client {
        uint32_t granted, waiting; /* kept by the set */
        atomic_uint *total;        /* of the connection, over all objects; NULL = not counted */
};

struct lock_request {
        enum lock_kind kind;
        struct lock_client *client;
        struct slice owner;
        uint32_t type;
        uint64_t start, end; /* inclusive; inode and posix locks */
        const char *domain;  /* inode and entry locks */
        const char *name;    /* entry locks; NULL = the whole directory */
        uint32_t pid;
        uint32_t flags; /* posix: locks of different flags are not merged */
        const void *fd; /* posix: taken through this descriptor; NULL = anonymous */
        bool wait;
        void *cookie; /* of a request that waits */
};

struct lock_space;

struct lock {
        struct lock *prev, *next; /* in the space's granted or waiting list */
        struct lock_space *space;
        struct lock_client *client;
        uint32_t type, pid, flags;
        uint64_t start, end;
        const void *fd;
        void *cookie;
        uint64_t notified; /* when its holder was last told of contention; owned by the caller, 0 = never */
        const char *name;  /* behind the owner; NULL = whole directory or not an entry lock */
        uint32_t owner_len;
        uint8_t owner[];
};

struct lock_list_head {
        struct lock *head, *tail;
};

/* One domain (posix locks: one per object), gone when it holds nothing. */
struct lock_space {
        struct lock_space *next;
        enum lock_kind kind;
        struct lock_list_head granted, waiting; /* in order of arrival */
        char domain[];
};

struct lock_set {
        struct lock_space *spaces;
};

struct lock_events {
        /* A waiting request ends. L is valid during the call (its cookie passes to the callee). */
        void (*answer)(struct lock *l, int error, void *arg);
        /* L, granted, is in the way of somebody else's inode or entry lock. */
        void (*contended)(struct lock *l, void *arg);
        void *arg;
};

void lock_set_done(struct lock_set *s);
static inline bool lock_set_is_empty(const struct lock_set *s)
{
        return s->spaces == NULL;
}

/* Inode and entry locks. 0 granted, LOCK_WAITS queued, -EAGAIN refused, -ENOMEM. */
int lock_acquire(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev);
/* Ends one granted lock equal to WANT (range or name and type, owner). -EINVAL: there is none. */
int lock_release(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev);

/* Posix locks, WANT->type LOCK_TYPE_UNLOCK included: as lock_acquire(). */
int posix_lock_apply(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev);
/* The first granted posix lock that would refuse WANT, or NULL. */
const struct lock *posix_lock_conflict(const struct lock_set *s, const struct lock_request *want);
/* Ends granted posix locks of CLIENT: those of OWNER, or with an empty OWNER those taken through FD. */
void posix_lock_flush(struct lock_set *s, const struct lock_client *client, struct slice owner, const void *fd,
                      const struct lock_events *ev);
/* Ends everything CLIENT holds through FD; what waits through it is answered -EBADF. */
void posix_lock_fd_gone(struct lock_set *s, const struct lock_client *client, const void *fd,
                        const struct lock_events *ev);
bool posix_lock_held(const struct lock_set *s, const struct lock_client *client, const void *fd);

/* Ends everything of CLIENT; its waiting requests are answered -EAGAIN. */
void lock_set_client_gone(struct lock_set *s, struct lock_client *client, const struct lock_events *ev);

/* Granted + waiting locks of KIND; DOMAIN NULL = all. */
uint32_t lock_set_count(const struct lock_set *s, enum lock_kind kind, const char *domain);
/* Is an entry lock on exactly NAME granted in any domain? */
bool lock_set_has_name(const struct lock_set *s, const char *name);

/* ---- shared by lock_set.c and lock_posix.c ----------------------------------------------------------------------- */

struct lock *lock_new(const struct lock_request *want);
bool lock_same_owner(const struct lock *l, const struct lock_client *client, struct slice owner);
void lock_append(struct lock_space *sp, struct lock_list_head *list, struct lock *l);
void lock_take(struct lock_list_head *list, struct lock *l);
/* Takes L out of LIST and frees it. */
void lock_drop(struct lock_list_head *list, struct lock *l);
struct lock_space *lock_space_find(const struct lock_set *s, enum lock_kind kind, const char *domain);
/* Found or made; NULL: no memory. */
struct lock_space *lock_space_get(struct lock_set *s, enum lock_kind kind, const char *domain);
/* Frees SP if it holds nothing. */
void lock_space_trim(struct lock_set *s, struct lock_space *sp);
/* Grants the posix waiters that can be. */
void posix_lock_rescan(struct lock_space *sp, const struct lock_events *ev);
