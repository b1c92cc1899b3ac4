/* How the command line talks to mortard: an RPC program on mortard's unix socket.
 *
 * One message each way, JSON inside: the machine output is the interface, text is rendered from it by the caller
 * (docs/formats). Served to root only.
 *
 *     request   {"command": "volume-start", "volume": "gv0", "force": true}
 *     reply     op_ret 0 and the result, or -1 with op_errno and the reason (stock's text where stock has one)
 */
#pragma once

#include "proto/message.h"

#define MANAGEMENT_PROGRAM 1836020341u
#define MANAGEMENT_VERSION 1u
#define MANAGEMENT_EXECUTE 1u
#define MANAGEMENT_JSON_MAX (16 * MIB)

/* C(name, "word of the request", effect). Arguments and results:
 *   volume_create  volume, bricks ["HOST:/path"…], type, set_size, arbiter_count, redundancy, force
 *                                                              -> {"volume": VOLUME}
 *   volume_start   volume, force                               -> {"volume": VOLUME}
 *   volume_stop    volume, force                               -> {"volume": VOLUME}
 *   volume_delete  volume                                      -> {"volume": {"name", "id"}}
 *   volume_info    volume (absent: all)                        -> {"volumes": [VOLUME…]}
 *   volume_list                                                -> {"volumes": ["name"…]}
 *   volume_status  volume (absent: all)                        -> {"volumes": [{"name", "started", "bricks"}…]}
 *   metrics                                                    -> pool/metrics.h
 *   volume_heal    volume, action: index, full, enable, disable, granular-enable, granular-disable -> {}
 *   volume_heal_look  volume -> {name, type, started, enabled, set_size, server, program, bricks [{name, host, local, uuid}],
 *                     healer: its status (docs/formats/heal.md) or null, healer_error}
 *   volume_set     volume, options [["key", "value"]…]         -> {"volume": VOLUME}
 *   volume_reset   volume, option (absent: all), force         -> {"volume": VOLUME, "kept": options that need force}
 *   volume_get     volume, option (absent: all)                -> {"options": [{name, value, default}…]}
 *   brick_restart  bricks ["HOST:/path"…] (absent: all)        -> {"bricks": [{name, old_pid, pid, port}…]}
 *   record_define  as volume_create                            -> {"record": RECORD}
 *   record_export  volume                                      -> {"record": RECORD}
 *   record_import  record, force                               -> {"volume": VOLUME}
 * VOLUME: name, id, type ("Distribute"), status ("Started"), version, transport, brick_count, replica_count,
 *   arbiter_count, disperse_count, redundancy_count, snapshot_count, bricks [{name, host, path, uuid, local, arbiter}],
 *   options [{name, value}]; a volume whose record cannot be used has only name and "error".
 * RECORD: docs/formats/state.md.
 * bricks of volume_status, those of this node: [{name, host, path, online, port, pid, error}]; and self_heal {name, online,
 * pid, error} if a heal daemon is for the volume. */
#define MANAGEMENT_COMMANDS(C)                                                                                         \
        C(volume_create, "volume-create", CHANGES)                                                                     \
        C(volume_start, "volume-start", CHANGES)                                                                       \
        C(volume_stop, "volume-stop", CHANGES)                                                                         \
        C(volume_delete, "volume-delete", CHANGES)                                                                     \
        C(volume_info, "volume-info", READS)                                                                           \
        C(volume_list, "volume-list", READS)                                                                           \
        C(volume_status, "volume-status", READS)                                                                       \
        C(metrics, "metrics", READS)                                                                                   \
        C(volume_heal, "volume-heal", CHANGES)                                                                         \
        C(volume_heal_look, "volume-heal-look", READS)                                                                 \
        C(volume_set, "volume-set", CHANGES)                                                                           \
        C(volume_reset, "volume-reset", CHANGES)                                                                       \
        C(volume_get, "volume-get", READS)                                                                             \
        C(brick_restart, "brick-restart", CHANGES)                                                                     \
        C(record_define, "record-define", READS)                                                                       \
        C(record_export, "record-export", READS)                                                                       \
        C(record_import, "record-import", CHANGES)

#define MSG_MANAGEMENT_REQ(F) F(text, json, MANAGEMENT_JSON_MAX)
#define MSG_MANAGEMENT_REP(F)                                                                                          \
        F(i32, op_ret, 0) F(i32, op_errno, 0) F(text, error, 8192) F(text, json, MANAGEMENT_JSON_MAX)

#define MANAGEMENT_MESSAGES(M)                                                                                         \
        M(management_req, MSG_MANAGEMENT_REQ)                                                                          \
        M(management_rep, MSG_MANAGEMENT_REP)

MANAGEMENT_MESSAGES(MSG_DECLARE)
