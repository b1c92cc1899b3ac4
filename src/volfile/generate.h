/* Volfiles made from a volume's description: the client's (plain, and trusted with credentials), each brick's, the
 * self-heal daemon's. The text equals what a stock management daemon (10.3) generates for the same volume, so that its
 * clients see no change when a volume is taken over or handed back.
 *
 * Which option goes into which section under which name comes from the option table; what sections there are, and in
 * which order, from tables in generate.c. Pure functions of their arguments; any thread.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "volfile/volfile.h"

enum volume_type {
        VOLUME_DISTRIBUTE, /* plain: also a single brick */
        VOLUME_REPLICATE,  /* also arbiter: see arbiter_count */
        VOLUME_DISPERSE,
        VOLUME_TYPE_MAX,
};

enum volume_transport { TRANSPORT_TCP, TRANSPORT_RDMA, TRANSPORT_TCP_RDMA };

struct volume_brick {
        const char *host;
        const char *path;            /* absolute */
        const char *id;              /* permanent client name, e.g. "vol1-client-3"; NULL: by position */
        unsigned shared_brick_count; /* bricks of this volume on the same file system of the same node; 0: not a local
                                        brick */
        bool decommissioned;         /* remove-brick is under way */
};

struct volume_setting {
        const char *key;
        const char *value;
};

/* Borrowed by the generator for the time of a call. */
struct volume_spec {
        const char *name;
        enum volume_type type;
        unsigned set_size;      /* bricks of one replica or disperse set; 1 for distribute */
        unsigned arbiter_count; /* 0 or 1: the last brick of each set holds no data */
        unsigned redundancy;    /* disperse: bricks of a set that may be lost */
        const struct volume_brick *bricks;
        size_t n_bricks;       /* a multiple of set_size */
        const char *volume_id; /* canonical UUID text */
        const char *username;  /* of trusted clients, UUID text */
        const char *password;
        enum volume_transport transport;
        unsigned quota_version;                /* 0, or the counter that `quota enable` raises */
        const struct volume_setting *settings; /* what was set: "Options Reconfigured" */
        size_t n_settings;
};

/* Whether the description can be a volume. 0, or -EINVAL with a sentence. The generators check it themselves. */
int volume_spec_check(const struct volume_spec *spec, struct error *err);

enum client_flavour {
        CLIENT_PLAIN,   /* any client */
        CLIENT_TRUSTED, /* members of the pool: with username and password */
};

/* Each appends the text to OUT. 0; -EINVAL with a sentence when the description cannot be (counts, names); -ENOMEM,
 * -E2BIG. */
int generate_client(const struct volume_spec *spec, enum client_flavour flavour, struct buf *out, struct error *err);
int generate_brick(const struct volume_spec *spec, size_t brick, struct buf *out, struct error *err);

/* The volfile of the self-heal daemon for this volume (key "shd/VOL"): replicate and disperse volumes only (-EINVAL).
 */
int generate_shd(const struct volume_spec *spec, struct buf *out, struct error *err);

/* The value in force: what was set, else the table's or the translator's default; NULL when there is none. */
const char *volume_spec_value(const struct volume_spec *spec, const char *key);
