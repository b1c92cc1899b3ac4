/* What a brick can be told: one table of its options (spec: brick.md §20). */
#pragma once

#include "base/error.h"
#include "proto/types.h"

/* O(field, kind, "name in the brick volfile", default as text). Kinds: bool, i32, u32, octal, reserve, mandatory, text */
#define BRICK_OPTIONS(O)                                                                                               \
        O(owner_uid, i32, "brick-uid", "-1")                                                                           \
        O(owner_gid, i32, "brick-gid", "-1")                                                                           \
        O(reserve, reserve, "reserve", "1")                                                                            \
        O(health_check_interval, u32, "health-check-interval", "30")                                                   \
        O(health_check_timeout, u32, "health-check-timeout", "20")                                                     \
        O(gfid2path, bool, "gfid2path", "on")                                                                          \
        O(gfid2path_separator, text, "gfid2path-separator", ":")                                                       \
        O(build_pgfid, bool, "update-link-count-parent", "off")                                                        \
        O(node_uuid_pathinfo, bool, "node-uuid-pathinfo", "off")                                                       \
        O(fips_rchecksum, bool, "fips-mode-rchecksum", "off")                                                          \
        O(ctime, bool, "ctime", "on")                                                                                  \
        O(force_create_mode, octal, "force-create-mode", "0000")                                                       \
        O(force_directory_mode, octal, "force-directory-mode", "0000")                                                 \
        O(create_mask, octal, "create-mask", "0777")                                                                   \
        O(create_directory_mask, octal, "create-directory-mask", "0777")                                               \
        O(max_hardlinks, u32, "max-hardlinks", "100")                                                                  \
        O(shared_brick_count, u32, "shared-brick-count", "1")                                                          \
        O(janitor_sleep, u32, "janitor-sleep-duration", "10")                                                          \
        O(acl, bool, "acl", "on")                                                                                      \
        O(root_squash, bool, "root-squash", "off")                                                                     \
        O(all_squash, bool, "all-squash", "off")                                                                       \
        O(anon_uid, u32, "anonuid", "65534")                                                                           \
        O(anon_gid, u32, "anongid", "65534")                                                                           \
        O(manage_gids, bool, "manage-gids", "off")                                                                     \
        O(arbiter, bool, "arbiter", "off")                                                                             \
        O(read_only, bool, "read-only", "off")                                                                         \
        O(barrier, bool, "barrier", "off")                                                                             \
        O(barrier_timeout, u32, "barrier-timeout", "120")                                                              \
        O(cache_invalidation, bool, "cache-invalidation", "off")                                                       \
        O(cache_invalidation_timeout, u32, "cache-invalidation-timeout", "60")                                         \
        O(outstanding_limit, u32, "rpc.outstanding-rpc-limit", "64")                                                   \
        O(inode_lru_limit, u32, "inode-lru-limit", "16384")                                                            \
        O(index_dirty, text, "xattrop-dirty-watchlist", "trusted.afr.dirty")                                           \
        O(index_pending, text, "xattrop-pending-watchlist", "")                                                        \
        O(index_pending64, text, "xattrop64-watchlist", "trusted.ec.dirty")                                            \
        O(notify_contention, bool, "notify-contention", "on")                                                          \
        O(notify_contention_delay, u32, "notify-contention-delay", "5")                                                \
        O(revocation_secs, u32, "revocation-secs", "0")                                                                \
        O(revocation_max_blocked, u32, "revocation-max-blocked", "0")                                                  \
        O(revocation_clear_all, bool, "revocation-clear-all", "off")                                                   \
        O(mandatory_locking, mandatory, "mandatory-locking", "off")                                                    \
        O(enforce_mandatory_lock, bool, "enforce-mandatory-lock", "off")                                               \
        O(allow_insecure, bool, "rpc-auth-allow-insecure", "on")                                                       \
        O(auth_allow, text, "auth-allow", "*")                                                                         \
        O(auth_reject, text, "auth-reject", "")                                                                        \
        O(auth_ssl_allow, text, "auth-ssl-allow", "")                                                                  \
        O(auth_user, text, "auth-user", "")                                                                            \
        O(auth_password, text, "auth-password", "")

#define BRICK_OPTION_TEXT_MAX 4096

/* storage.reserve: below 100 a percentage, else bytes. */
struct brick_reserve {
        bool is_bytes;
        uint64_t bytes;
        double percent;
};

/* locks.mandatory-locking: which posix locks bind clients that do not ask (brick.md §13.7). */
enum mandatory_mode { MANDATORY_OFF, MANDATORY_FILE, MANDATORY_FORCED, MANDATORY_OPTIMAL };

typedef bool brick_option_bool;
typedef int32_t brick_option_i32;
typedef uint32_t brick_option_u32;
typedef uint32_t brick_option_octal;
typedef struct brick_reserve brick_option_reserve;
typedef enum mandatory_mode brick_option_mandatory;
typedef char brick_option_text[BRICK_OPTION_TEXT_MAX];

#define BRICK_OPTION_MEMBER_(field, kind, name, value) brick_option_##kind field;
struct brick_options {
        BRICK_OPTIONS(BRICK_OPTION_MEMBER_)
};

/* All defaults. */
void brick_options_init(struct brick_options *o);
/* Sets one by its name. -ENOENT: no such option (callers ignore it), -EINVAL with the sentence in E. */
int brick_options_set(struct brick_options *o, const char *name, const char *value, struct error *e);
