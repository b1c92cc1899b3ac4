/* POSIX ACLs in the form of the system.posix_acl_* attributes: pure functions (spec: brick.md §15).
 *
 * The attribute is little-endian: u32 version 2, then entries of {u16 tag, u16 perm, u32 id}, sorted by tag and id. It
 * is read in place; nothing here touches a disk. Any thread.
 */
#pragma once

#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "proto/types.h"

#define ACL_XATTR_ACCESS "system.posix_acl_access"
#define ACL_XATTR_DEFAULT "system.posix_acl_default"
#define ACL_HEADER_SIZE 4u
#define ACL_ENTRY_SIZE 8u
#define ACL_ENTRIES_MAX 1024u

enum acl_tag {
        ACL_TAG_USER_OBJ = 0x01,
        ACL_TAG_USER = 0x02,
        ACL_TAG_GROUP_OBJ = 0x04,
        ACL_TAG_GROUP = 0x08,
        ACL_TAG_MASK = 0x10,
        ACL_TAG_OTHER = 0x20,
};

struct acl_entry {
        uint16_t tag, perm;
        uint32_t id; /* of USER and GROUP entries */
};

/* Who asks for what of which object. */
struct acl_subject {
        uint32_t uid, gid;
        uint32_t group_count;
        const uint32_t *groups;
};

/* 0: ACL is well-formed, ordered, complete and small enough; else -EINVAL. */
int acl_check(struct slice acl);
uint32_t acl_count(struct slice acl);
struct acl_entry acl_get(struct slice acl, uint32_t i);

/* The POSIX algorithm; ACL has passed acl_check(). WANT: bits 4 read, 2 write, 1 execute. */
bool acl_grants(struct slice acl, uid_t owner, gid_t group, const struct acl_subject *who, unsigned want);
/* The same for an object without an ACL. */
bool acl_mode_grants(const struct stat *st, const struct acl_subject *who, unsigned want);
bool acl_in_group(const struct acl_subject *who, gid_t gid);

/* The access ACL a child gets from its directory's default ACL: restricted by *MODE, whose permission bits are then
 * those of the result. RET is empty when the mode says everything. -ENOMEM. */
int acl_inherit(struct slice parent_default, struct arena *a, mode_t *mode, struct slice *ret);

/* The three entries that a mode stands for. -ENOMEM. */
int acl_from_mode(mode_t mode, struct arena *a, struct slice *ret);

/* Text form, e.g. "u::rw-,u:1001:r--,g::r--,m::r--,o::r--". -EINVAL, -ENOMEM. */
int acl_to_text(const void *acl, size_t len, struct arena *a, char **ret);
/* Tags may be long or short, in any order. The empty text is the empty slice. -EINVAL, -ENOMEM. */
int acl_from_text(const char *text, struct arena *a, struct slice *ret);
