/* How mortard steers a brick process: an RPC program on the process's unix socket.
 *
 * One process serves many bricks on one TCP port; a client names its brick at SETVOLUME. mortard starts
 * `mortar-brick --control PATH`, connects, attaches bricks by their volfiles, and after a restart of its own asks
 * STATUS to find again what is running. Nothing here touches I/O of other bricks.
 */
#pragma once

#include "proto/message.h"

#define CONTROL_PROGRAM 1836020340u /* "mort" */
#define CONTROL_VERSION 1u

enum {
        CONTROL_STATUS = 1,   /* what runs here */
        CONTROL_ATTACH = 2,   /* open and serve a brick; again with the same path: reconfigure */
        CONTROL_DETACH = 3,   /* drain a brick (drain.h), stop serving it, disconnect its clients */
        CONTROL_SHUTDOWN = 4, /* detach all and exit 0 */
        CONTROL_METRICS = 5,  /* what is counted */
        CONTROL_DRAIN = 6,    /* begin to drain a brick that is to be detached; answered at once */
        CONTROL_CHANGED = 100, /* callback without body: a brick went down by itself, ask STATUS */
};

/* volfile: the brick's volfile text (volfile layer); path and volume are taken from it. */
#define MSG_CONTROL_ATTACH_REQ(F) F(text, volfile, SPEC_LIMIT)
/* Of DETACH and DRAIN. */
#define MSG_CONTROL_DETACH_REQ(F) F(text, path, PATH_LIMIT)
/* op_ret 0, or -1 with op_errno and a sentence. */
#define MSG_CONTROL_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(text, error, 4096) F(i32, port, 0)
/* bricks: JSON array of {"path","volume","volume_id","clients","fds","ops","errors","down","failed"}; down: why it
 * is not served, or ""; failed: because of its storage, until it is attached again. */
#define MSG_CONTROL_STATUS_REP(F)                                                                                      \
        F(i32, op_ret, 0)                                                                                              \
        F(i32, op_errno, 0) F(i32, port, 0) F(i32, pid, 0) F(text, version, 64) F(text, bricks, SPEC_LIMIT)

/* metrics: JSON {"pid", "connections", "resident_bytes", "bricks": [{"path", "volume", and the keys of brick/metrics.h}…]}:
 * numbers; {"WRITE": number…} for each fop that came in; for histograms {"WRITE": {"seconds", "buckets": [numbers]}…}. */
#define MSG_CONTROL_METRICS_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(text, metrics, SPEC_LIMIT)

#define CONTROL_MESSAGES(M)                                                                                            \
        M(control_attach_req, MSG_CONTROL_ATTACH_REQ)                                                                  \
        M(control_detach_req, MSG_CONTROL_DETACH_REQ)                                                                  \
        M(control_rep, MSG_CONTROL_REP)                                                                                \
        M(control_status_rep, MSG_CONTROL_STATUS_REP)                                                                  \
        M(control_metrics_rep, MSG_CONTROL_METRICS_REP)

CONTROL_MESSAGES(MSG_DECLARE)
