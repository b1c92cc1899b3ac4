/* A client's connection to a brick process: from the accept to the last request.
 *
 * It starts on the control loop, which answers the small programs and SETVOLUME; then it moves to a lane of its brick
 * and stays there. One that speaks TLS is with the doorman for its handshake in between. Who may touch what:
 *   - `lock` guards output and the flags below it; conn_send() may be called by any thread while a reference is held or
 * a session is open on it
 *   - `in` belongs to the control loop, later to the lane's leader
 *   - the rest is set before the connection moves, or belongs to the list it is in
 * References: one while it is open, one for each request that runs beside the leader or waits for a thread, one while
 * it is in its lane's pending list. The last one ends the session and closes the descriptor: that may block on a disk.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/loop.h"
#include "brick/brick.h"
#include "proto/message.h"
#include "rpc/header.h"
#include "rpc/record.h"

struct process;
struct export;
struct lane;
struct tls_session;
struct borrower;

#define CONN_OUTPUT_HIGH (16 * MIB) /* unsent bytes at which reading stops */
#define CONN_OUTPUT_MAX (128 * MIB) /* … at which the connection is given up */
#define CONN_QUEUED_HIGH (8 * MIB)  /* bytes of calls without a thread at which reading stops */
#define CONN_CLIENT_UID_MAX 1024

/* What SETVOLUME asked for, until the session is open. */
struct welcome {
        uint32_t xid;
        bool trusted;
        uint32_t op_version;
        char *client_uid, *subdir, *process_name, *client_version;
};
struct welcome *welcome_free(struct welcome *w);
DEFINE_CLEANUP(struct welcome *, welcome_free)

struct conn {
        struct process *process;
        struct export *export; /* from SETVOLUME on */
        struct lane *lane;
        struct stream *stream; /* while on the control loop or with the doorman */
        struct timer greeting; /* no SETVOLUME, or no handshake, in time: closed */
        int fd;
        bool own_fd;             /* else it is the stream's */
        bool sniffed;            /* the first byte was looked at: TLS or not */
        struct tls_session *tls; /* NULL: plain; see transport.h */
        unsigned tls_rules;      /* the doorman's settings it was made with */
        char peer[ADDRESS_TEXT_MAX]; /* numeric address without the port */
        uint16_t peer_port;
        struct record_reader in;
        size_t missing; /* bytes at least that the record being read lacks */
        size_t unfinished; /* bytes that `in` keeps between reads: unread.h */
        struct welcome *welcome;
        _Atomic(struct session *) session;
        bool trusted;
        char *subdir;
        struct borrower *borrower; /* NULL: is lent nothing (lender.h) */

        atomic_uint refs;
        atomic_uint outstanding; /* requests that run beside the leader or wait */
        atomic_size_t promised;  /* bytes that the answers of those that run may have */
        atomic_size_t queued;    /* bytes of those that wait */
        atomic_size_t unsent;    /* bytes of `out`: unread.h */
        atomic_uint_fast64_t taken_at; /* when the client last took some of it, or there was none; coarse monotonic ns */

        pthread_mutex_t lock;
        struct buf out; /* unsent bytes begin at out_start */
        size_t out_start;
        uint32_t armed;     /* what the lane's epoll set was told */
        bool stalled;       /* reading stopped at a limit */
        atomic_bool closed;    /* nothing is sent any more */
        atomic_bool unwatched; /* epoll will not tell about it: the leader is to close it */

        struct conn *export_prev, *export_next;
        struct conn *pending_next; /* under the lane's lock */
        bool pending;
        struct resumed *resumed, **resumed_tail; /* under lock: parked calls that may go on, for the lane's leader */
};

/* Takes over STREAM. NULL: no memory. */
struct conn *conn_new(struct process *p, struct stream *stream);
/* Takes it off the loop it is on; its descriptor is its own from now on. -errno: it has none any more. */
int conn_leave_loop(struct conn *c);
struct conn *conn_ref(struct conn *c);
/* The last one may block on a disk: not on the control loop once there is a session. */
struct conn *conn_unref(struct conn *c);
DEFINE_CLEANUP(struct conn *, conn_unref)

/* A record, mark included, in pieces. Any thread; never blocks. CONN is a struct conn (void for session_config.send).
 */
void conn_send(void *conn, const struct iovec *iov, int n);
/* An encoded answer. DESC NULL: status only. */
void conn_reply(struct conn *c, uint32_t xid, enum rpc_status status, const struct msg_desc *desc, const void *msg);
/* session_config.resume: P will be served by the connection's lane. Any thread; never blocks. */
bool conn_resume_call(void *conn, struct parked_call *p);
/* The next of them, NULL when there is none. */
struct parked_call *conn_take_resumed(struct conn *c);
bool conn_has_resumed(struct conn *c);
/* A callback without body. */
void conn_callback(struct conn *c, uint32_t proc);
/* Makes the peer and the owner of the connection see the end of it. Any thread. */
void conn_shutdown(struct conn *c);

/* Sends what the socket takes. */
void conn_flush(struct conn *c);
/* May another record be dealt with? If not, the connection is marked and taken up again by conn_resume(). */
bool conn_may_read(struct conn *c);
/* Tells whether a stalled connection may be read again; it is then no longer stalled. */
bool conn_resume(struct conn *c);
/* (Re)tells the lane's epoll set what the connection waits for. */
void conn_arm(struct conn *c);
/* Nothing is sent from now on. */
void conn_mark_closed(struct conn *c);
