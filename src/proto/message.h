/* Messages as tables.
 *
 * A message is written down once, as a list of (kind, field): see proto/fop.h and proto/handshake.h. From that list come
 * the C struct and a descriptor; encoder, decoder, log form and the tests' field walker interpret the descriptor.
 *
 *      #define MSG_STAT_REQ(F) F(gfid, gfid, 0) F(dict, xdata, 0)
 *      MSG_DECLARE(stat_req, MSG_STAT_REQ)      struct stat_req { struct gfid gfid; struct dict xdata; };
 *      MSG_DEFINE(stat_req, MSG_STAT_REQ)       const struct msg_desc stat_req_desc   (in one .c file)
 *
 * The third argument is the limit of variable-length kinds, bytes or entries.
 */
#pragma once

#include "proto/dict.h"

/* kind, C type of the field */
#define MSG_KINDS(K)                                                                                                   \
        K(gfid, struct gfid)             /* 16 fixed bytes */                                                          \
        K(u32, uint32_t)                                                                                               \
        K(i32, int32_t)                                                                                                \
        K(u64, uint64_t)                                                                                               \
        K(i64, int64_t)                                                                                                \
        K(name, struct str)              /* a path component: no '/', no NUL, at most NAME_LIMIT; may be empty */       \
        K(text, struct str)              /* any string without NUL */                                                  \
        K(opaque, struct slice)                                                                                        \
        K(dict, struct dict)             /* typed dict */                                                              \
        K(odict, struct dict)            /* old dict in an opaque */                                                   \
        K(iatt, struct iatt)             /* iattx */                                                                   \
        K(oiatt, struct iatt)            /* old iatt, 100 bytes */                                                     \
        K(flock, struct flock_range)                                                                                   \
        K(lease, struct lease)                                                                                         \
        K(statfs, struct statfs)                                                                                       \
        K(dirents, struct dirent_list)   /* list<dirent> */                                                            \
        K(direntps, struct dirent_list)  /* list<direntp> */                                                           \
        K(locks, struct lock_list)       /* list<lockinfo> */                                                          \
        K(programs, struct program_list) /* list of DUMP */                                                            \
        K(payload, struct slice)         /* raw bytes to the end of the record, not XDR; last in the message */

#define MSG_KIND_ENUM_(kind, type) MSG_##kind,
enum msg_kind { MSG_KINDS(MSG_KIND_ENUM_) MSG_KIND_MAX };
#define MSG_KIND_TYPE_(kind, type) typedef type msg_##kind##_t;
MSG_KINDS(MSG_KIND_TYPE_)

struct msg_field {
        enum msg_kind kind;
        uint32_t offset; /* in the struct */
        uint32_t limit;  /* 0 = the kind's own limit */
        const char *name;
};

struct msg_desc {
        const char *name;
        size_t size; /* of the struct */
        uint32_t field_count;
        const struct msg_field *fields;
};

#define MSG_MEMBER_(kind, field, limit) msg_##kind##_t field;
#define MSG_DECLARE(msg, FIELDS)                                                                                       \
        struct msg {                                                                                                   \
                FIELDS(MSG_MEMBER_)                                                                                    \
        };                                                                                                             \
        extern const struct msg_desc msg##_desc;

/* Decodes one message from R. Everything variable lives in A or points into the record. The result is written only on
 * success. Returns 0, or the reader's error:
 *   -EPERM         a name contains '/'             -ENAMETOOLONG  a name is longer than NAME_LIMIT
 *   -EINVAL        a NUL inside a string           -EBADMSG       cut short, impossible type or count
 *   -EMSGSIZE      beyond the field's limit        -ENOMEM        beyond the arena
 * For the first three the rest of the message was well-formed: the answer is an error reply, not GARBAGE_ARGS. */
int msg_decode(const struct msg_desc *d, struct xdr_reader *r, struct arena *a, void *ret);

/* Appends the message to B; look at b->error. */
void msg_encode(const struct msg_desc *d, const void *msg, struct buf *b);

/* One line "name{field=value, …}" for logs: payloads and long opaques as sizes, at most OUT's ceiling. */
void msg_format(const struct msg_desc *d, const void *msg, struct buf *out);
