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

/* What a connection has on all objects together. */
struct lock_totals {
        atomic_uint granted[LOCK_KIND_MAX];
        atomic_uint waiting;
};

/* Embedded in whatever stands for a connection on this object. */
struct lock_client {
        uint32_t granted[LOCK_KIND_MAX], waiting; /* kept by the set */
        struct lock_totals *totals;               /* kept as well; NULL = not counted */
};

/* When a lock is taken from its holder because others wait for it (brick.md §13.8). */
struct lock_revocation {
        uint64_t age;         /* ns: granted for longer; 0 = nothing is revoked */
        uint32_t max_blocked; /* … or so many wait in the domain already; 0 = any number may */
        bool waiters_too;
};

struct lock_request {
        enum lock_kind kind;
        struct lock_client *client;
        struct slice owner;
        uint32_t type;
        uint64_t start, end; /* inclusive; inode and posix locks */
        const char *domain;  /* inode and entry locks */
        const char *name;    /* entry locks; NULL = the whole directory */
        uint32_t pid;    /* as the lock says */
        uint32_t caller; /* process of the client that asks */
        uint32_t flags;  /* posix: locks of different flags are not merged */
        const void *fd; /* posix: taken through this descriptor; NULL = anonymous */
        bool internal;  /* of an internal client: removals do not wait for it, nor it for them */
        bool wait;
        const struct lock_revocation *revocation; /* inode and entry locks; NULL = nothing is revoked */
        void *cookie; /* of a request that waits */
};

struct lock_space;

struct lock {
        struct lock *prev, *next; /* in the space's granted or waiting list */
        struct lock_space *space;
        struct lock_client *client;
        uint32_t type, pid, caller, flags;
        bool internal;
        uint64_t start, end;
        uint64_t since; /* granted at */
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
        struct lock_set *set;
        enum lock_kind kind;
        struct lock_list_head granted, waiting; /* in order of arrival */
        char domain[];
};

struct lock_set {
        struct lock_space *spaces;
        uint32_t removals; /* of the object, that wait or run: inode locks of further clients wait (brick.md §13.5) */
};

struct lock_events {
        /* A waiting request ends. L is valid during the call (its cookie passes to the callee). */
        void (*answer)(struct lock *l, int error, void *arg);
        /* L, granted, is in the way of somebody else's inode or entry lock. */
        void (*contended)(struct lock *l, void *arg);
        void *arg;
        uint64_t now; /* ns, monotonic */
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

/* Is a granted posix lock of another owner in the way of reading or writing (TYPE) the range? FLAG: only locks with that
 * flag count; 0 = all. */
bool posix_lock_blocks_io(const struct lock_set *s, const struct lock_client *client, struct slice owner, uint32_t type,
                          uint64_t start, uint64_t end, uint32_t flag);
/* Does a posix lock of CLIENT and OWNER that is good for TYPE cover each byte? */
bool posix_lock_covers(const struct lock_set *s, const struct lock_client *client, struct slice owner, uint32_t type,
                       uint64_t start, uint64_t end);
/* Takes everything from others that would refuse WANT; what waits in its range is answered -EBUSY. */
void posix_lock_preempt(struct lock_set *s, const struct lock_request *want, const struct lock_events *ev);
/* What is held through FROM_FD becomes that of CLIENT through FD; owners stay. -ENOMEM: some may have been moved. */
int posix_lock_move(struct lock_set *s, const void *from_fd, struct lock_client *client, const void *fd);

/* ---- removal of the object (brick.md §13.5) ---- */

/* Does another client, not an internal one, hold an inode lock? */
bool lock_set_guards(const struct lock_set *s, const struct lock_client *remover);
/* Tells those holders of contention. */
void lock_set_tell_guards(const struct lock_set *s, const struct lock_client *remover, const struct lock_events *ev);
/* A removal begins to wait or to run; it has ended, and inode locks that waited for that may be granted. */
void lock_set_removal_begin(struct lock_set *s);
void lock_set_removal_end(struct lock_set *s, const struct lock_events *ev);

/* ---- by an administrator ---- */

struct lock_filter {
        enum lock_kind kind;
        bool waiting, granted;            /* which */
        bool has_range;                   /* inode and posix locks: exactly this one */
        uint64_t start, end;
        const char *name;                 /* entry locks; NULL = all */
        const struct lock_client *client; /* NULL = of all */
        uint32_t caller;                  /* of waiting ones, with CLIENT */
        int error;                        /* the answer to who waits */
};
struct lock_cleared {
        uint32_t waiting, granted;
};
/* Ends what fits, in all domains; who waited for it is granted what can be. */
struct lock_cleared lock_set_clear(struct lock_set *s, const struct lock_filter *f, const struct lock_events *ev);
/* Answers ERROR to everybody who waits; tells all holders of inode and entry locks of contention. */
void lock_set_drain(struct lock_set *s, int error, const struct lock_events *ev);

/* Ends everything of CLIENT; its waiting requests are answered -EAGAIN. */
void lock_set_client_gone(struct lock_set *s, struct lock_client *client, const struct lock_events *ev);

/* Has CLIENT any lock, or does it wait for one? */
bool lock_client_is_idle(const struct lock_client *c);
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
/* Becomes granted now. */
void lock_grant(struct lock_space *sp, struct lock *l, const struct lock_events *ev);
/* Grants the posix waiters that can be. */
void posix_lock_rescan(struct lock_space *sp, const struct lock_events *ev);
