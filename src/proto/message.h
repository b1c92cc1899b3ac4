/* Messages as tables.
 *
 * A message is written down once, as a list of (kind, field): see proto/fop.h and proto/handshake.h. From that list
 * come the C struct and a descriptor; encoder, decoder, log form and the tests' field walker interpret the descriptor.
 *
 *      #define MSG_STAT_REQ(F) F(gfid, gfid, 0) F(dict, xdata, 0)
 *      MSG_DECLARE(stat_req, MSG_STAT_REQ)      struct stat_req { struct gfid gfid; struct dict xdata; };
 *      MSG_DEFINE(stat_req, MSG_STAT_REQ)       const struct msg_desc stat_req_desc   (in one .c file)
 *
 * The third argument is the limit of variable-length kinds, bytes or entries.
 */
#pragma once

#include "proto/dict.h"

/* kind, C type of the field, bytes it always takes on the wire */
#define MSG_KINDS(K)                                                                                                   \
        K(gfid, struct gfid, 16)                                                                                       \
        K(u32, uint32_t, 4)                                                                                            \
        K(i32, int32_t, 4)                                                                                             \
        K(u64, uint64_t, 8)                                                                                            \
        K(i64, int64_t, 8)                                                                                             \
        K(name, struct str, 4)               /* a path component: no '/', no NUL, not "." or "..", at most   */        \
                                             /* NAME_LIMIT bytes; may be empty */                                      \
        K(text, struct str, 4)               /* any string without NUL */                                              \
        K(opaque, struct slice, 4)                                                                                     \
        K(dict, struct dict, 12)             /* typed dict */                                                          \
        K(odict, struct dict, 4)             /* old dict in an opaque */                                               \
        K(iatt, struct iatt, 148)            /* iattx */                                                               \
        K(oiatt, struct iatt, 100)           /* old iatt */                                                            \
        K(flock, struct flock_range, 32)                                                                               \
        K(lease, struct lease, 28)                                                                                     \
        K(statfs, struct statfs, 88)                                                                                   \
        K(dirents, struct dirent_list, 4)    /* list<dirent> */                                                        \
        K(direntps, struct dirent_list, 4)   /* list<direntp> */                                                       \
        K(locks, struct lock_list, 4)        /* list<lockinfo> */                                                      \
        K(programs, struct program_list, 4)  /* list of DUMP */                                                        \
        K(plen, uint32_t, 4)                 /* how many bytes the payload has */                                      \
        K(payload, struct slice, 0)          /* raw bytes to the end of the record, not XDR; last in the message */

#define MSG_KIND_ENUM_(kind, type, wire) MSG_##kind,
enum msg_kind { MSG_KINDS(MSG_KIND_ENUM_) MSG_KIND_MAX };
#define MSG_KIND_TYPE_(kind, type, wire) typedef type msg_##kind##_t;
MSG_KINDS(MSG_KIND_TYPE_)
#define MSG_KIND_WIRE_(kind, type, wire) MSG_WIRE_##kind = wire,
enum { MSG_KINDS(MSG_KIND_WIRE_) };

/* No message's struct is larger. */
#define MSG_SIZE_MAX 1024

struct msg_field {
        enum msg_kind kind;
        uint32_t offset; /* in the struct */
        uint32_t limit;  /* 0 = the kind's own limit */
        const char *name;
};

struct msg_desc {
        const char *name;
        size_t size;    /* of the struct */
        uint32_t fixed; /* bytes on the wire without what is variable */
        uint32_t field_count;
        const struct msg_field *fields;
};

#define MSG_MEMBER_(kind, field, limit) msg_##kind##_t field;
#define MSG_DECLARE(msg, FIELDS)                                                                                       \
        struct msg {                                                                                                   \
                FIELDS(MSG_MEMBER_)                                                                                    \
        };                                                                                                             \
        extern const struct msg_desc msg##_desc;

/* MSG_DEFINE gives the field list `MSG_FIELD_OF_(msg)` as its F: the struct up to its "->", and the name of the macro
 * that takes (kind, field, limit). So a list works for any struct and does not repeat its name. */
#define MSG_FIELD_OF_(msg) {.offset = (uint32_t)(uintptr_t)&((struct msg *)0)->MSG_FIELD_
#define MSG_FIELD_(kind_, field, limit_) field, .kind = MSG_##kind_, .limit = (uint32_t)(limit_), .name = #field},
#define MSG_ONE_(kind, field, limit) +1
#define MSG_FIXED_(kind, field, limit) +MSG_WIRE_##kind
#define MSG_DEFINE(msg, FIELDS)                                                                                        \
        static const struct msg_field msg##_fields_[] = {                                                              \
                FIELDS(MSG_FIELD_OF_(msg)){.kind = MSG_KIND_MAX},                                                      \
        };                                                                                                             \
        _Static_assert(sizeof(struct msg) <= MSG_SIZE_MAX, "MSG_SIZE_MAX is too small for " #msg);                     \
        const struct msg_desc msg##_desc = {                                                                           \
                .name = #msg,                                                                                          \
                .size = sizeof(struct msg),                                                                            \
                .fixed = 0 FIELDS(MSG_FIXED_),                                                                         \
                .field_count = 0 FIELDS(MSG_ONE_),                                                                     \
                .fields = msg##_fields_,                                                                               \
        };

/* Decodes one message from R. Everything variable lives in A or points into the record. The result is written only on
 * success. Bytes behind the message are left in R, unless it ends with a payload. Returns 0, or the reader's error:
 *   -EPERM         a name contains '/' or is "." or ".."   -ENAMETOOLONG  a name is longer than NAME_LIMIT
 *   -EINVAL        a NUL inside a string                   -EBADMSG       cut short, impossible type, count or length
 *   -EMSGSIZE      beyond the field's limit                -ENOMEM        beyond the arena
 * For the first three the rest of the message was well-formed: the answer is an error reply, not GARBAGE_ARGS.
 * A message with a payload (WRITE and PUT calls, READ replies) is -EBADMSG unless its length field equals the bytes
 * that are there and its dict takes exactly xdr_size bytes, which is where others look for the payload
 * (wire.md §6.1). */
int msg_decode(const struct msg_desc *d, struct xdr_reader *r, struct arena *a, void *ret);

/* Appends the message to B; look at b->error. A payload with data NULL is not appended: its bytes follow in their own
 * buffer (record_end() counts them). Otherwise -EINVAL if the length field differs from the payload's length. */
void msg_encode(const struct msg_desc *d, const void *msg, struct buf *b);

/* One line "name{field=value, …}" for logs: payloads and long opaques as sizes; cut without an error at
 * OUT's ceiling. */
void msg_format(const struct msg_desc *d, const void *msg, struct buf *out);
