/* The small programs: dump, handshake, port map, callbacks (spec: wire.md §4.3–4.5). */
#pragma once

#include "proto/message.h"

#define DUMP_PROGRAM 123451501u
#define DUMP_VERSION 1u
#define HANDSHAKE_PROGRAM 14398633u
#define HANDSHAKE_VERSION 2u
#define PORTMAP_PROGRAM 34123456u
#define PORTMAP_VERSION 1u
#define CALLBACK_PROGRAM 52743234u
#define CALLBACK_VERSION 1u

enum { DUMP_DUMP = 1, DUMP_PING = 2 };
enum {
        HANDSHAKE_SETVOLUME = 1,
        HANDSHAKE_GETSPEC = 2,
        HANDSHAKE_PING = 3,
        HANDSHAKE_SET_LK_VER = 4,
        HANDSHAKE_EVENT_NOTIFY = 5,
        HANDSHAKE_GET_VOLUME_INFO = 6,
        HANDSHAKE_GET_SNAPSHOT_INFO = 7,
};
enum { PORTMAP_PORTBYBRICK = 1, PORTMAP_BRICKBYPORT = 2, PORTMAP_SIGNUP = 3, PORTMAP_SIGNIN = 4, PORTMAP_SIGNOUT = 5 };
enum {
        CALLBACK_FETCHSPEC = 1,
        CALLBACK_EVENT_NOTIFY = 3,
        CALLBACK_GET_SNAPS = 4,
        CALLBACK_CACHE_INVALIDATION = 5,
        CALLBACK_CHILD_UP = 6,
        CALLBACK_CHILD_DOWN = 7,
        CALLBACK_RECALL_LEASE = 8,
        CALLBACK_STATEDUMP = 9,
        CALLBACK_INODELK_CONTENTION = 10,
        CALLBACK_ENTRYLK_CONTENTION = 11,
};

/* What a DUMP call carries as gfs_id. */
#define DUMP_GFS_ID 0xcaedu

#define MSG_EMPTY(F)
#define MSG_STATUS_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0)
#define MSG_DUMP_REQ(F) F(u64, gfs_id, 0)
#define MSG_DUMP_REP(F) F(u64, gfs_id, 0) F(i32, op_ret, 0) F(i32, op_errno, 0) F(programs, programs, 64)
#define MSG_PING_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(opaque, xdata, 65536)

#define MSG_SETVOLUME_REQ(F) F(odict, dict, 0)
#define MSG_SETVOLUME_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(odict, dict, 0)
#define MSG_GETSPEC_REQ(F) F(u32, flags, 0) F(text, key, PATH_LIMIT) F(odict, xdata, 0)
#define MSG_GETSPEC_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(text, spec, SPEC_LIMIT) F(odict, xdata, 0)
#define MSG_SET_LK_VER_REQ(F) F(text, uid, 1024) F(i32, lk_ver, 0)
#define MSG_SET_LK_VER_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(i32, lk_ver, 0)
#define MSG_EVENT_NOTIFY_REQ(F) F(i32, op, 0) F(odict, dict, 0)
#define MSG_EVENT_NOTIFY_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(odict, dict, 0)
#define MSG_GET_VOLUME_INFO_REQ(F) F(odict, dict, 0)
#define MSG_GET_VOLUME_INFO_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(text, op_errstr, 4096) F(odict, dict, 0)

#define MSG_PORTBYBRICK_REQ(F) F(text, brick, PATH_LIMIT)
#define MSG_PORTBYBRICK_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(i32, status, 0) F(i32, port, 0)
#define MSG_SIGNIN_REQ(F) F(text, brick, PATH_LIMIT) F(i32, port, 0) F(i32, pid, 0)
#define MSG_SIGNOUT_REQ(F) F(text, brick, PATH_LIMIT) F(i32, port, 0) F(i32, rdma_port, 0)

#define MSG_CACHE_INVALIDATION_CBK(F)                                                                                  \
        F(text, gfid, 64) F(u32, event_type, 0) F(u32, flags, 0) F(u32, expire_time_attr, 0) F(oiatt, stat, 0)         \
        F(oiatt, parent_stat, 0) F(oiatt, oldparent_stat, 0) F(odict, xdata, 0)
#define MSG_RECALL_LEASE_CBK(F) F(gfid, gfid, 0) F(u32, lease_type, 0) F(gfid, tid, 0) F(odict, xdata, 0)
#define MSG_STATEDUMP_CBK(F) F(u32, pid, 0)
#define MSG_INODELK_CONTENTION_CBK(F)                                                                                  \
        F(gfid, gfid, 0) F(flock, flock, 0) F(u32, pid, 0) F(text, domain, DOMAIN_LIMIT) F(odict, xdata, 0)
#define MSG_ENTRYLK_CONTENTION_CBK(F)                                                                                  \
        F(gfid, gfid, 0) F(u32, type, 0) F(u32, pid, 0) F(name, name, 0) F(text, domain, DOMAIN_LIMIT)                 \
        F(odict, xdata, 0)

/* name of the struct, fields */
#define HANDSHAKE_MESSAGES(M)                                                                                          \
        M(status_rep, MSG_STATUS_REP)                                                                                  \
        M(dump_req, MSG_DUMP_REQ)                                                                                      \
        M(dump_rep, MSG_DUMP_REP)                                                                                      \
        M(ping_rep, MSG_PING_REP)                                                                                      \
        M(setvolume_req, MSG_SETVOLUME_REQ)                                                                            \
        M(setvolume_rep, MSG_SETVOLUME_REP)                                                                            \
        M(getspec_req, MSG_GETSPEC_REQ)                                                                                \
        M(getspec_rep, MSG_GETSPEC_REP)                                                                                \
        M(set_lk_ver_req, MSG_SET_LK_VER_REQ)                                                                          \
        M(set_lk_ver_rep, MSG_SET_LK_VER_REP)                                                                          \
        M(event_notify_req, MSG_EVENT_NOTIFY_REQ)                                                                      \
        M(event_notify_rep, MSG_EVENT_NOTIFY_REP)                                                                      \
        M(get_volume_info_req, MSG_GET_VOLUME_INFO_REQ)                                                                \
        M(get_volume_info_rep, MSG_GET_VOLUME_INFO_REP)                                                                \
        M(portbybrick_req, MSG_PORTBYBRICK_REQ)                                                                        \
        M(portbybrick_rep, MSG_PORTBYBRICK_REP)                                                                        \
        M(signin_req, MSG_SIGNIN_REQ)                                                                                  \
        M(signout_req, MSG_SIGNOUT_REQ)                                                                                \
        M(cache_invalidation_cbk, MSG_CACHE_INVALIDATION_CBK)                                                          \
        M(recall_lease_cbk, MSG_RECALL_LEASE_CBK)                                                                      \
        M(statedump_cbk, MSG_STATEDUMP_CBK)                                                                            \
        M(inodelk_contention_cbk, MSG_INODELK_CONTENTION_CBK)                                                          \
        M(entrylk_contention_cbk, MSG_ENTRYLK_CONTENTION_CBK)

HANDSHAKE_MESSAGES(MSG_DECLARE)
