/* Names of extended attributes: which are whose, which are hidden from whom (spec: brick.md §9, §10). Pure functions.
 */
#pragma once

#include "proto/disk_attr.h"

#define XATTR_STORED_NAME_MAX 255
#define XATTR_GFID "trusted.gfid"
#define XATTR_VOLUME_ID "trusted.glusterfs.volume-id"
#define XATTR_MDATA MDATA_NAME
#define XATTR_GFID2PATH "trusted.gfid2path."
#define XATTR_BAD_FILE "trusted.bit-rot.bad-file"
#define XATTR_PROTECT_WRITES "trusted.glusterfs.protect.writes"
#define XATTR_SELINUX "security.selinux"
#define XATTR_SELINUX_STORED "trusted.glusterfs.selinux"
#define XATTR_ACL_TEXT "glusterfs.posix.acl"
#define XATTR_DEFAULT_ACL_TEXT "glusterfs.posix.default_acl"

/* Shell patterns with '*', '?' and '[set]', in time linear in the product of the lengths; '/' is nothing special. */
bool glob_match(const char *pattern, const char *text);
bool glob_is_pattern(const char *s);

/* Begins with trusted., user., security. or system. */
bool name_in_namespace(const char *name);
bool name_is_identity(const char *name); /* trusted.gfid, volume-id */
bool name_is_bitrot(const char *name);
bool name_is_acl(const char *name); /* binary and text forms */
bool name_is_xfs_acl(const char *name); /* the file system's own view of an ACL: listed, never written (brick.md §3) */
/* Records of quota and of parents (pgfid), which LOOKUP, READDIRP and lists do not show. */
bool name_is_record(const char *name);
/* Version and signature of a file's contents, which nobody is shown. */
bool name_is_signature(const char *name);
/* Private to geo-replication, or otherwise never listed. */
bool name_is_private(const char *name);
/* Shown in the answer to `list-xattr`. */
bool name_in_heal_list(const char *name);
/* Shown when a client lists attributes; INTERNAL: the client has a negative pid. */
bool name_in_list(const char *name, bool internal);
