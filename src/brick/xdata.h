/* Request keys as a table (spec: brick.md §9, wire.md §7).
 *
 * xdata of a request is decoded into `struct xdata` at once: known keys become typed fields, everything else stays as
 * pairs, which mean "return the xattrs matching this name" in look-ups and "store this xattr" in creations.
 */
#pragma once

#include "proto/dict.h"

/* K(field, kind, "key"). Kinds: flag (present), number (int64), text (struct str), bytes (struct slice), gfid */
#define XDATA_KEYS(K)                                                                                                  \
        K(gfid_req, gfid, "gfid-req")                                                                                  \
        K(content, number, "glusterfs.content")                                                                        \
        K(list_xattr, flag, "list-xattr")                                                                              \
        K(open_fd_count, flag, "glusterfs.open-fd-count")                                                              \
        K(open_active_fd_count, flag, "glusterfs.open-active-fd-count")                                                \
        K(get_size, flag, "get-size")                                                                                  \
        K(request_link_count, number, "gf_request_link_count")                                                           \
        K(get_link_count, flag, "get-link-count")                                                                      \
        K(get_block_count, flag, "gf_get_file_block_count")                                                            \
        K(iatt_in_xattr, flag, "dht-get-iatt-in-xattr")                                                                \
        K(mode_in_xattr, flag, "dht-get-mode-in-xattr")                                                                \
        K(link_count, text, "link-count")                                                                              \
        K(inodelk_count, flag, "glusterfs.inodelk-count")                                                              \
        K(inodelk_dom_count, text, "glusterfs.inodelk-dom-count")                                                      \
        K(multi_dom_count, flag, "glusterfs.multi-dom-lk-cnt-req")                                                     \
        K(entrylk_count, flag, "glusterfs.entrylk-count")                                                              \
        K(posixlk_count, flag, "glusterfs.posixlk-count")                                                              \
        K(parent_entrylk, flag, "glusterfs.parent-entrylk")                                                            \
        K(acl_text, flag, "glusterfs.posix.acl")                                                                       \
        K(default_acl_text, flag, "glusterfs.posix.default_acl")                                                       \
        K(ancestry_path, flag, "glusterfs.ancestry.path")                                                              \
        K(ancestry_dentry, flag, "glusterfs.ancestry.dentry")                                                          \
        K(gfid2path, flag, "glusterfs.gfid2path")                                                                      \
        K(internal_fop, flag, "glusterfs-internal-fop")                                                                \
        K(internal_ctx, flag, "glusterfs.internal-ctx")                                                                \
        K(gfidless_lookup, number, "gfidless-lookup")                                                                  \
        K(unlinked_lookup, number, "unlinked-lookup")                                                                  \
        K(force_replace, flag, "force-replace")                                                                        \
        K(unlink_only_linkto, number, "unlink-only-if-dht-linkto-file")                                                \
        K(unlink_not_open, number, "dont-unlink-for-open-fd")                                                          \
        K(unlink_data_gfid, gfid, "mortar.unlink-data-gfid")                                                           \
        K(preop_parent_key, text, "glusterfs.preop.parent.key")                                                        \
        K(write_is_append, flag, "glusterfs.write-is-append")                                                          \
        K(write_update_atomic, flag, "glusterfs.write-update-atomic")                                                  \
        K(durable_op, flag, "trusted.glusterfs.durable-op")                                                            \
        K(sync_backend_xattrs, flag, "sync_backend_xattrs")                                                            \
        K(umask, number, "umask")                                                                                      \
        K(mode, number, "mode")                                                                                        \
        K(protect_writes, bytes, "trusted.glusterfs.protect.writes")                                                   \
        K(avoid_overwrite, flag, "glusterfs.avoid.overwrite")                                                          \
        K(clean_write_xattr, flag, "glusterfs.clean.writexattr")                                                       \
        K(check_zero_filled, flag, "check-zero-filled")                                                                \
        K(filter_directories, number, "readdir-filter-directories")                                                    \
        K(batch_fsync, flag, "batch-fsync")                                                                            \
        K(connection_id, bytes, "connection-id")                                                                       \
        K(lk_mode, number, "glusterfs.lk.lkmode")                                                                      \
        K(lease_id, bytes, "lease-id")                                                                                 \
        K(ignore_deem_statfs, flag, "ignore-deem-statfs")                                                              \
        K(skip_cache, flag, "glusterfs.skip-cache")                                                                    \
        K(last_fsync, flag, "last-fsync")                                                                              \
        K(get_gfid_type, flag, "get-gfid-type")                                                                        \
        K(index_type, flag, "glusterfs.index-ia-type-get-req")                                                         \
        K(entry_create, text, "glusterfs.xattrop-entry-create")                                                        \
        K(entry_delete, text, "glusterfs.xattrop-entry-delete")                                                        \
        K(purge_index, number, "glusterfs.xattrop-purge-index")                                                        \
        K(marker_skip, flag, "glusters.marker.dont-account")                                                           \
        K(cloud_status, flag, "trusted.glusterfs.cs.status")                                                           \
        K(cloud_repair, flag, "trusted.glusterfs.cs.repair")                                                           \
        K(lend, number, "mortar.lend")                                                                                 \
        K(rename_op, bytes, "changelog.rename-op")

struct xdata_flag {
        bool present;
};
struct xdata_number {
        bool present;
        int64_t value;
};
struct xdata_text {
        bool present;
        struct str value;
};
struct xdata_bytes {
        bool present;
        struct slice value;
};
struct xdata_gfid {
        bool present;
        struct gfid value;
};

#define XDATA_MEMBER_(field, kind, key) struct xdata_##kind field;
struct xdata {
        XDATA_KEYS(XDATA_MEMBER_)
        struct dict others; /* pairs with keys that are not in the table, in order */
};

/* Sorts DICT into the fields. A value of an impossible type counts as absent for number/text/bytes/gfid. -ENOMEM. */
int xdata_parse(const struct dict *dict, struct arena *a, struct xdata *ret);
