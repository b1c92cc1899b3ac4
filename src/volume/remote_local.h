/* Inside the volume layer: reading files that a brick on this machine lends (proto/local_read.h, decision 006).
 *
 * A READ of a file that is open at the brick is then a pread of this process. The lent descriptor is of the same inode as
 * the brick's own, so it shows what a READ would show. What it does not show is whether the brick would still answer:
 * so a loan is used only for a short time after a READ that the brick did answer, and is given up with the connection.
 *
 * Thread: the loop's. Nothing here waits.
 */
#pragma once

#include "proto/types.h"

struct arena;
struct read_fop_rep;
struct read_fop_req;
struct remote;
struct remote_fd;
struct request;
struct stream;
struct vfile;

/* Of an open file. */
struct remote_loan {
        int fd;                         /* -EBADF: none */
        bool mdata;                     /* the times are in that attribute */
        bool known;                     /* `answered` says something */
        uint64_t answered;              /* when the last READ that the brick answered was sent; loop time */
        uint64_t asked;                 /* when the file was asked for last; 0: never */
        struct remote_fd *newer, *older; /* in remote->local, by use */
};

/* A READ under way that may bring a loan. */
struct remote_asking {
        struct remote_asking *next, **at; /* `at` NULL: it does not ask */
        struct vfile *file;               /* referred to; NULL: no open file */
        uint64_t number, session, sent;
};

/* Of a brick. */
struct remote_local {
        int fd; /* the socket; -EBADF: the brick lends nothing, or is elsewhere */
        struct stream *watch;
        uint64_t numbers;
        struct remote_asking *asking;
        struct remote_fd *newest, *oldest; /* files that are lent */
        unsigned n;
        uint64_t reads, bytes; /* done so, in all */
};

void remote_local_init(struct remote *m);
/* Whether the brick is to be asked at SETVOLUME. */
bool remote_local_wanted(const struct remote *m);
/* The brick says where it lends files, and the token for this connection (NULL: it does not). Tried once. */
void remote_local_begin(struct remote *m, const char *path, const char *token);
/* All is given back; until the next remote_local_begin(). */
void remote_local_end(struct remote *m);
/* What was done, for the log. */
void remote_local_report(const struct remote *m);

/* FD's loan is given back. */
void remote_local_drop(struct remote_fd *fd);
/* GFID was changed by somebody else, or they want to: the next READ of it goes to the brick. */
void remote_local_expire(struct remote *m, const struct gfid *gfid);

/* Answers REQ of R from a loan: true, and REP and *RET as remote_call() has them. False: the brick is to be asked. */
bool remote_local_read(struct remote *m, struct request *r, const struct read_fop_req *req, struct read_fop_rep *rep,
                       int *ret);
/* Before REQ is sent: asks for the file if that is worth it. REQ's number is set. */
void remote_local_ask(struct remote *m, struct request *r, struct read_fop_req *req, struct remote_asking *ret);
/* After the answer, or without one. */
void remote_local_asked(struct remote *m, struct remote_asking *asking, bool answered);
