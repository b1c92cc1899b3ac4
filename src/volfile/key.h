/* Volfile ids: the names under which volfiles are asked for (GETSPEC key, wire.md 5.1, cli.md 19.5).
 *
 *     VOL  /VOL  VOL.tcp  VOL.tcp-fuse  VOL.rdma     client
 *     VOL.HOST.PATH                                  brick; in PATH the first '/' is dropped and the others are '-'
 *     shd/VOL  rebalance/VOL  snapd/VOL  gfproxy-client/VOL  gfproxyd/VOL  client_per_brick/VOL...
 *     quotad  bitd  scrub  gluster/NAME              daemons of a node
 *     /snaps/SNAP/VOL                                client of a snapshot
 *
 * Volume names contain no '.', so the first one ends the name. Pure functions; any thread.
 */
#pragma once

#include "base/buf.h"
#include "base/util.h"

enum volfile_kind {
        VOLFILE_CLIENT,
        VOLFILE_BRICK,
        VOLFILE_SHD,
        VOLFILE_REBALANCE,
        VOLFILE_SNAPD,
        VOLFILE_GFPROXY_CLIENT,
        VOLFILE_GFPROXYD,
        VOLFILE_CLIENT_PER_BRICK,
        VOLFILE_SNAPSHOT,
        VOLFILE_NODE, /* quotad, bitd, scrub, gluster/NAME: `item` is the name */
        VOLFILE_KIND_MAX,
};

enum {
        VOLFILE_KEY_MAX = 254,    /* characters; stock refuses 255 and more (wire.md 5.1) */
        VOLFILE_VOLUME_MAX = 256, /* characters of a volume name */
};

struct volfile_key {
        enum volfile_kind kind;
        char volume[VOLFILE_VOLUME_MAX + 1]; /* empty for VOLFILE_NODE */
        char item[VOLFILE_KEY_MAX + 1];      /* client: transport ("tcp", "rdma") or ""; brick: "HOST.PATH-WITH-DASHES";
                                              * snapshot: its name; node: daemon; client_per_brick: the rest */
};

/* 0; -ENAMETOOLONG; -EINVAL for a text that is no volfile id. */
int volfile_key_parse(const char *key, struct volfile_key *ret);

/* Whether the brick key K means this brick. (Two paths that differ only in '-' and '/' have the same key.) */
bool volfile_key_is_brick(const struct volfile_key *k, const char *host, const char *path);

/* Appends "VOL.HOST.PATH-WITH-DASHES". 0 or the buffer's error. */
int volfile_key_format_brick(const char *volume, const char *host, const char *path, struct buf *out);
