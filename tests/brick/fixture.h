/* A brick in a temporary directory, its handlers called directly: for tests of single operations.
 *
 * One call: fill `xdata` if the request has keys, then CALL(). Afterwards `reply` is the answer's xdata. Everything of
 * the calls lives in `arena` until fixture_done().
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "brick/internal.h"

struct fixture {
        char path[64];
        struct disk *disk;
        struct brick *brick;
        struct brick_options options; /* of the brick, during a test */
        struct session *session;
        struct rpc_cred cred; /* of the next calls */
        struct dict xdata;    /* of the next call */
        struct dict reply;    /* of the last call */
        struct arena arena;
};

/* Makes and opens the brick. */
void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);
/* For a test of its own: an empty root, default options, root as caller, a new session. */
void fixture_begin(struct fixture *f);
void fixture_end(struct fixture *f);
/* A new arena for what follows: earlier answers are gone. */
void fixture_forget(struct fixture *f);

struct op fixture_op(struct fixture *f, enum fop fop);
/* Becomes UID, GID with one further group; 0 0 0 = root again. */
void fixture_be(struct fixture *f, uint32_t uid, uint32_t gid, uint32_t group);
void fixture_time(struct fixture *f, uint32_t flags, int64_t sec, uint32_t nsec);

struct gfid fixture_new_gfid(void);
/* Objects below PARENT, made through the brick. */
struct gfid fixture_file(struct fixture *f, struct gfid parent, const char *name, mode_t mode);
struct gfid fixture_dir(struct fixture *f, struct gfid parent, const char *name, mode_t mode);
struct gfid fixture_symlink(struct fixture *f, struct gfid parent, const char *name, const char *target);
int fixture_unlink(struct fixture *f, struct gfid parent, const char *name);
int64_t fixture_fd(struct fixture *f, struct gfid g, uint32_t flags);
int64_t fixture_dirfd(struct fixture *f, struct gfid g);
/* Writes and reads, asserting success. */
void fixture_write(struct fixture *f, struct gfid g, int64_t fd, uint64_t offset, const void *data, uint32_t len);
struct slice fixture_read(struct fixture *f, struct gfid g, int64_t fd, uint64_t offset, uint32_t size);
/* stat(2) of NAME below the brick's directory. */
struct stat fixture_stat(struct fixture *f, const char *name);

/* Sets an attribute behind the brick's back, and makes sure that the object's ctime shows it: within one tick of the
 * kernel's coarse clock it would not. */
void fixture_put(struct fixture *f, const char *file, const char *name, const void *value, size_t len);

int64_t reply_int(struct fixture *f, const char *key);

#define CALL(f, NAME, lower, rep, ...)                                                                                 \
        ({                                                                                                             \
                struct op op_ = fixture_op((f), FOP_##NAME);                                                           \
                struct lower##_fop_req req_ = {__VA_ARGS__};                                                           \
                req_.xdata = (f)->xdata;                                                                               \
                memset((rep), 0, sizeof *(rep));                                                                       \
                int result_ = fop_##lower(&op_, &req_, (rep));                                                         \
                (f)->reply = op_.reply;                                                                                \
                (f)->xdata = DICT_NULL;                                                                                \
                result_;                                                                                               \
        })

static inline struct slice bytes_of(const char *s)
{
        return (struct slice){(const uint8_t *)s, (uint32_t)strlen(s)};
}
