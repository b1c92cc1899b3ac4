/* A brick under test, and clients of it: requests from structs, answers back into structs, through the real dispatcher.
 *
 *      struct harness h;
 *      harness_posix(&h);                          below $MORTAR_TEST_DIR, /dev/shm or /var/tmp; needs root
 *      struct client *c = client_open(&h);
 *      struct stat_fop_req req = {.gfid = GFID_ROOT};
 *      struct stat_fop_rep rep;
 *      assert_int_equal(CALL(c, STAT, &req, &rep), 0);
 *      client_close(c);
 *      harness_close(&h);                          also checks the invariants of brick.md §21
 *
 * Everything aborts the test on unexpected failures. Answers live until the client's next client_forget() or its close.
 */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/disk.h"
#include "base/sim_disk.h"
#include "brick/brick.h"
#include "proto/chain.h"

struct harness {
        struct disk *disk;
        struct sim_disk *sim; /* NULL: the kernel's file system */
        char path[64];
        struct gfid volume_id;
        struct brick_options options; /* change before harness_reopen() */
        struct brick *brick;
        uint32_t next_gfid;
        bool skip_check; /* the test breaks the brick on purpose */
};

void harness_posix(struct harness *h);
void harness_sim(struct harness *h, uint64_t seed);
/* Closes and opens the brick; clients must be closed. */
void harness_reopen(struct harness *h);
void harness_close(struct harness *h);
/* Waits until the clock that file systems stamp ctime from has reached now (at most a few ticks of 10 ms): a change made
 * behind the brick's back in the same tick as one of the brick's own is not seen (docs/decisions/003). */
void harness_next_tick(void);
/* A gfid nobody used. */
struct gfid harness_gfid(struct harness *h);

#define CLIENT_RESUMED_MAX 64

struct client {
        struct harness *h;
        struct session *session;
        struct rpc_cred cred; /* of the next call; the time advances by a second with each */
        uint32_t next_xid;
        struct arena arena;       /* what requests are made of */
        struct arena reply_arena; /* what answers are made of */
        pthread_mutex_t lock;     /* answers may come from other threads */
        pthread_cond_t arrived;
        struct client_record *records;   /* answers, oldest first */
        struct client_record *callbacks; /* calls from the brick, oldest first */
        struct parked_call *resumed[CLIENT_RESUMED_MAX]; /* waited for locks and may go on: oldest first */
        unsigned n_resumed;
};

struct client *client_open(struct harness *h);
struct client *client_open_subdir(struct harness *h, const char *subdir, bool trusted);
struct client *client_close(struct client *c);

#define CLIENT_PARKED 1000            /* no answer yet */
#define CLIENT_REJECTED(status) (-(2000 + (int)(status))) /* an RPC error */

/* Sends a call and returns 0 or the answer's -op_errno; REP is zeroed and filled in both cases. */
int client_call(struct client *c, enum fop fop, const void *req, void *rep);
/* The same with raw arguments. REP NULL: only the status matters. */
int client_call_raw(struct client *c, uint32_t proc, struct slice args, void *rep);
/* The answer to the call with number XID, waited for at most five seconds; LAST is that of the last call. */
int client_wait(struct client *c, uint32_t xid, enum fop fop, void *rep);
/* The oldest call from the brick that was not taken yet: its procedure, with the arguments in MSG; 0 = there is none. */
uint32_t client_take_callback(struct client *c, const struct msg_desc *desc, void *msg);
uint32_t client_last_xid(const struct client *c);
/* Serves the calls that were parked and may go on; client_wait() does so as well. */
void client_run_resumed(struct client *c);
/* Takes the oldest answer nobody has taken: its number, and 0 or -op_errno. False: there is none. */
bool client_take_answer(struct client *c, uint32_t *ret_xid, int *ret_error);
/* How many callbacks with that procedure number came since the last call. */
unsigned client_take_callbacks(struct client *c, uint32_t proc);
#define CALL(c, NAME, req, rep) client_call((c), FOP_##NAME, (req), (rep))

/* A step of a chain, and the answer to it. */
struct chain_call {
        enum fop fop;
        const void *req;
        const struct rpc_cred *cred; /* NULL: the client's */
        void *rep;
        int result; /* 0 or -op_errno, of those answered */
};
/* Sends a chain. How many steps were answered; CLIENT_PARKED; -errno when it was refused as a whole, or
 * CLIENT_REJECTED(). */
int client_chain(struct client *c, struct chain_call *calls, unsigned n);
/* The answer to a parked one. */
int client_chain_wait(struct client *c, uint32_t xid, struct chain_call *calls, unsigned n);
/* Asks to be told about the index of pending work. */
int client_watch_index(struct client *c, struct chain_index_rep *rep);
/* Asks to be told of what changes. */
int client_watch_objects(struct client *c, struct chain_objects_rep *rep);
/* Raw arguments: 0 is an answer, whatever it says. */
int client_chain_raw(struct client *c, uint32_t proc, struct slice args);

/* A dict of one string-keyed number (UINT), empty when KEY is NULL; more with dict_add_…(&d, &c->arena, …). */
struct dict client_dict(struct client *c, const char *key, uint64_t value);
struct dict client_gfid_req(struct client *c, const struct gfid *g);

/* ---- short forms ---------------------------------------------------------------------------------------------------- */

/* Make an object with a fresh gfid, which is the result. */
struct gfid make_dir(struct client *c, const struct gfid *parent, const char *name);
struct gfid make_file(struct client *c, const struct gfid *parent, const char *name); /* MKNOD, mode 0644 */
/* 0 or -errno. */
int try_mkdir(struct client *c, const struct gfid *parent, const char *name, const struct gfid *gfid);
int try_mknod(struct client *c, const struct gfid *parent, const char *name, const struct gfid *gfid);
int try_link(struct client *c, const struct gfid *object, const struct gfid *parent, const char *name);
int try_unlink(struct client *c, const struct gfid *parent, const char *name);
int try_rmdir(struct client *c, const struct gfid *parent, const char *name);
int try_rename(struct client *c, const struct gfid *from, const char *a, const struct gfid *to, const char *b);
int try_lookup(struct client *c, const struct gfid *parent, const char *name, struct iatt *ret);
int try_stat(struct client *c, const struct gfid *gfid, struct iatt *ret);
int try_open(struct client *c, const struct gfid *gfid, uint32_t flags, int64_t *ret_fd);
void release(struct client *c, int64_t fd);
int try_create(struct client *c, const struct gfid *parent, const char *name, uint32_t flags, const struct gfid *gfid,
               int64_t *ret_fd);

/* ---- the disk itself -------------------------------------------------------------------------------------------------- */

/* A path inside the brick for direct disk_*() calls with AT_FDCWD; in a static ring of four buffers. */
const char *on_disk(const struct harness *h, const char *format, ...) _printf_(2, 3);
const char *handle_on_disk(const struct harness *h, const struct gfid *g);
bool exists_on_disk(const struct harness *h, const char *path);
