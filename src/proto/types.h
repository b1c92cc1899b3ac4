/* The protocol's common structures, as the program holds them (spec: wire.md §3).
 *
 * Slices point into the record they were decoded from or into its arena; both live as long as the request.
 */
#pragma once

#include "base/util.h"

/* ---- byte ranges ------------------------------------------------------------------------------------------------- */

/* Bytes of somebody else. */
struct slice {
        const uint8_t *data;
        uint32_t len;
};

/* A string of somebody else: always followed by a NUL that is not counted. */
struct str {
        const char *s;
        uint32_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
static inline struct str str_of(const char *s)
{
        return (struct str){s, (uint32_t)strlen(s)};
}
static inline bool str_is(struct str a, const char *b)
{
        return a.len == strlen(b) && memcmp(a.s, b, a.len) == 0;
}

/* ---- gfid -------------------------------------------------------------------------------------------------------- */

struct gfid {
        uint8_t b[16];
};

#define GFID_TEXT_LEN 36
#define GFID_ROOT ((struct gfid){.b = {[15] = 1}})

static inline bool gfid_equal(const struct gfid *a, const struct gfid *b)
{
        return memcmp(a->b, b->b, sizeof a->b) == 0;
}
static inline bool gfid_is_null(const struct gfid *g)
{
        static const struct gfid null;
        return gfid_equal(g, &null);
}
static inline bool gfid_is_root(const struct gfid *g)
{
        static const struct gfid root = {.b = {[15] = 1}};
        return gfid_equal(g, &root);
}
/* Lower-case canonical text with a NUL. */
char *gfid_format(const struct gfid *g, char buf[static GFID_TEXT_LEN + 1]);
/* Exactly GFID_TEXT_LEN characters 8-4-4-4-12; upper case is accepted. -EINVAL. */
int gfid_parse(const char *text, size_t len, struct gfid *ret);
/* What users see as inode number: the last eight bytes, big-endian; the null gfid gives 2^64-1 (brick.md §7). */
uint64_t gfid_ino(const struct gfid *g);
/* A random (version 4) uuid made of 16 random bytes. */
struct gfid gfid_from_random(const uint8_t random[static 16]);

/* ---- attributes -------------------------------------------------------------------------------------------------- */

/* iattx flags: which fields are valid (wire.md §3.2). */
#define IATT_TYPE 0x1u
#define IATT_BTIME 0x800u
#define IATT_GFID 0x1000u
#define IATT_BRICK 0x17ffu /* what bricks send: all but btime */

struct iatt_time {
        int64_t sec;
        uint32_t nsec;
};

/* Object attributes; both wire forms (iattx of v400, the 100-byte one of callbacks) decode into it. */
struct iatt {
        struct gfid gfid;
        uint64_t flags;
        uint64_t ino;
        uint64_t dev;
        uint64_t rdev; /* (major << 32) | minor */
        uint64_t size;
        uint64_t blocks; /* 512-byte units */
        uint64_t attributes;
        uint64_t attributes_mask;
        struct iatt_time atime, mtime, ctime, btime;
        uint32_t nlink;
        uint32_t uid;
        uint32_t gid;
        uint32_t blksize;
        uint32_t mode; /* type and permission bits as st_mode */
};

struct mdata {
        struct iatt_time atime, mtime, ctime;
};

struct flock_range {
        uint32_t type; /* 0 read, 1 write, 2 unlock */
        uint32_t whence;
        uint64_t start;
        uint64_t len; /* 0 = to the end of the file */
        uint32_t pid;
        struct slice owner;
};

struct lease {
        uint32_t cmd;
        uint32_t type;
        struct gfid id;
        uint32_t flags;
};

struct statfs {
        uint64_t bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax;
};

/* ---- lists ------------------------------------------------------------------------------------------------------- */

struct dict;

struct dirent_entry {
        uint64_t ino;
        uint64_t off; /* continue after this entry */
        uint32_t type; /* DT_* */
        struct str name;
        struct iatt stat;        /* READDIRP only */
        const struct dict *dict; /* READDIRP only; NULL = the NULL dict */
};
struct dirent_list {
        struct dirent_entry *v;
        uint32_t n;
};

struct lock_entry {
        struct flock_range flock;
        struct str client_uid;
        uint32_t flags;
};
struct lock_list {
        struct lock_entry *v;
        uint32_t n;
};

struct program_entry {
        struct str name;
        uint64_t number;
        uint64_t version;
};
struct program_list {
        struct program_entry *v;
        uint32_t n;
};

/* Special file descriptor numbers on the wire (wire.md §3.7). */
#define FD_ANONYMOUS (-2)
#define FD_NONE (-1)

/* Internal clients (wire.md §1.5). */
#define PID_GSYNCD (-1)
#define PID_REBALANCE (-3)
#define PID_NO_ROOT_SQUASH (-4)
#define PID_QUOTA_MOUNT (-5)
#define PID_SELF_HEAL (-6)
#define PID_HEAL_INFO (-7)
#define PID_TRASH (-11)
#define PID_SET_CTIME (-13)

/* Credential flags: which times an operation changes (brick.md §4.2). */
#define TIMES_CTIME 0x01u
#define TIMES_MTIME 0x02u
#define TIMES_ATIME 0x04u
#define TIMES_PARENT_CTIME 0x08u
#define TIMES_PARENT_MTIME 0x10u
#define TIMES_PARENT_ATIME 0x20u

/* SETATTR `valid` (wire.md §3.7). */
#define SETATTR_MODE 0x1
#define SETATTR_UID 0x2
#define SETATTR_GID 0x4
#define SETATTR_SIZE 0x8
#define SETATTR_ATIME 0x10
#define SETATTR_MTIME 0x20
#define SETATTR_CTIME 0x40
#define SETATTR_ATIME_NOW 0x80
#define SETATTR_MTIME_NOW 0x100

/* Largest things the decoders take; anything beyond is refused where it enters. */
#define NAME_LIMIT 255            /* one path component */
#define PATH_LIMIT 4095           /* symlink targets, brick paths */
#define XATTR_NAME_LIMIT 1024     /* virtual names hold names of files */
#define DOMAIN_LIMIT 1024         /* lock domain */
#define OWNER_LIMIT 1024          /* lk_owner */
#define CLIENT_UID_LIMIT 1024     /* process-uuid of a client */
#define DICT_PAIRS_LIMIT 4096
#define DICT_BYTES_LIMIT (8 * MIB)
#define LIST_LIMIT 65536          /* entries of a directory or lock list */
#define SPEC_LIMIT (16 * MIB)     /* a volfile */
#define RECORD_LIMIT (64 * MIB)   /* one RPC record as we accept it (the protocol's own ceiling is 1 GiB) */
