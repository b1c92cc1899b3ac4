/* What must hold before a volume is created or started (spec: cli.md §6.3, §7.1), with stock's texts.
 *
 * Nothing here changes anything. Blocking: reads the disk and may resolve host names. Any one thread at a time.
 */
#pragma once

#include "base/disk.h"
#include "pool/volume.h"

#define VOLUME_ID_XATTR "trusted.glusterfs.volume-id"
#define GFID_XATTR "trusted.gfid"
#define CHECK_MACHINE_SIZE 300

struct check {
        struct disk *disk;
        const char *state_dir;
        const struct volume_set *volumes;
        /* Whether HOST names this node. */
        bool (*host_is_local)(void *arg, const char *host);
        /* A text that is the same for all names of one machine, in RET. */
        void (*host_machine)(void *arg, const char *host, char ret[static CHECK_MACHINE_SIZE]);
        void *arg;
};

enum check_flags {
        CHECK_FORCE = 1,    /* the operator insists */
        CHECK_IMPORTED = 2, /* bricks of other hosts are welcome, and local ones that carry the volume's id already */
};

/* Checks V, whose name, hosts and paths are filled in, and completes its local bricks: local, real_path, fsid, origin.
 * -EEXIST volume exists, -EINVAL and others: a brick cannot be used. FLAGS: enum check_flags. */
int check_create(const struct check *c, struct volume *v, unsigned flags, struct error *e);
/* The part of it that needs no disk and no peers: bricks of one set on different machines, lengths. */
int check_define(const struct check *c, const struct volume *v, bool force, struct error *e);

/* Checks the brick directories of a volume that is to be started: the local ones exist and carry its id. */
int check_start(const struct check *c, const struct volume *v, struct error *e);

/* 0 and *ret: the volume id that PATH carries; -ENODATA: none; -errno. */
int check_mark(struct disk *d, const char *path, struct gfid *ret);
