/* A volume as the pool knows it, and its record.
 *
 * `struct volume` is the in-memory form of one JSON record (docs/formats). Everything of a volume hangs on its own
 * arena. Which bricks run where is no part of it: see pool/supervisor.h. Pure functions; any thread.
 */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/error.h"
#include "proto/types.h"
#include "volfile/generate.h"
#include "volfile/key.h"

#define VOLUME_SCHEMA 1u            /* of the record; a higher one is refused */
#define VOLUME_BRICKS_MAX 4096u     /* bricks of one volume */
#define VOLUME_OPTIONS_MAX 1024u    /* options set on one volume */
#define VOLUME_BYTES_MAX (16 * MIB) /* memory of one volume, and size of its record */
#define UUID_TEXT_SIZE (GFID_TEXT_LEN + 1)

enum volume_status { VOLUME_CREATED, VOLUME_STARTED, VOLUME_STOPPED, VOLUME_STATUS_MAX };

/* What is being done to it. Anything but NONE after a crash is finished or undone (pool/change.h). */
enum volume_intent { INTENT_NONE, INTENT_CREATING, INTENT_STARTING, INTENT_STOPPING, INTENT_MAX };

/* A brick's directory before the volume took it: what an undo has to bring back. */
struct brick_origin {
        bool absent;        /* the directory did not exist */
        bool had_glusterfs; /* there was a .glusterfs */
        bool had_mark;      /* it carried another volume's id */
        struct gfid mark;
};

struct brick_record {
        const char *host; /* as typed */
        const char *path; /* absolute, canonical slashes: the name clients know */
        const char *real_path;
        const char *id; /* permanent client name "VOL-client-N" */
        bool local;     /* this node serves it; the members below mean something only then */
        uint64_t fsid;  /* of the file system it is on */
        struct brick_origin origin;
};

struct volume {
        struct arena memory; /* owns all below */
        char name[VOLFILE_VOLUME_MAX + 1];
        struct gfid id;
        enum volume_type type;
        unsigned set_size;      /* bricks of one replica or disperse set; 1 for distribute */
        unsigned arbiter_count; /* 0 or 1: the last brick of each set holds no data */
        unsigned redundancy;    /* disperse: bricks of a set that may be lost */
        enum volume_status status;
        enum volume_intent intent;
        uint64_t version; /* +1 at every change */
        unsigned op_version, client_op_version;
        char username[UUID_TEXT_SIZE], password[UUID_TEXT_SIZE]; /* of trusted clients */
        struct brick_record *bricks;
        size_t n_bricks;
        struct volume_setting *options; /* latest first, as `volume info` shows them */
        size_t n_options;
};

/* An empty volume with room for N bricks; NULL when out of memory. */
struct volume *volume_new(const char *name, size_t n_bricks);
struct volume *volume_free(struct volume *v);
DEFINE_CLEANUP(struct volume *, volume_free)
#define _cleanup_volume_ _cleanup_(volume_freep)
struct volume *volume_copy(const struct volume *v);

const char *volume_status_name(enum volume_status s);                   /* "Created" … as `volume info` prints it */
const char *volume_type_name(const struct volume *v);                   /* "Distribute", "Distributed-Replicate" */
char *brick_text(const struct brick_record *b, char *buf, size_t size); /* "HOST:/path" */

/* The record. volume_encode: NULL when out of memory. volume_decode: -EINVAL damaged, -EPROTONOSUPPORT newer schema,
 * with a sentence. */
json_t *volume_encode(const struct volume *v);
int volume_decode(const json_t *json, struct volume **ret, struct error *e);

/* The record as one mortard hands it to another (`volume export`, `volume import`): without what is true of one node
 * only. volume_import() also checks what a file from outside may have wrong; -EINVAL, -EPROTONOSUPPORT, with a
 * sentence.
 */
json_t *volume_export(const struct volume *v);
int volume_import(const json_t *json, struct volume **ret, struct error *e);

/* 0, or -EINVAL / -ENAMETOOLONG with stock's text (cli.md §5.5); for a name that stock refuses with nothing but the
 * usage, the text is empty. */
int volume_name_check(const char *name, struct error *e);

/* What the volfile generators want. Bricks and settings live in A. -ENOMEM. */
int volume_describe(const struct volume *v, struct arena *a, struct volume_spec *ret);

/* ---- all volumes, sorted by name --------------------------------------------------------------------------------- */

struct volume_entry {
        char name[VOLFILE_VOLUME_MAX + 1];
        struct volume *volume; /* NULL: the record cannot be used, `why` says why */
        struct error why;
};

struct volume_set {
        struct volume_entry *v;
        size_t n, cap;
};

void volume_set_done(struct volume_set *s);
/* Takes VOLUME, which may be NULL together with WHY; replaces an entry of the same name. -ENOMEM: nothing was taken. */
int volume_set_put(struct volume_set *s, const char *name, struct volume *volume, const struct error *why);
void volume_set_remove(struct volume_set *s, const char *name);
struct volume_entry *volume_set_entry(const struct volume_set *s, const char *name);
/* The usable volume of that name; NULL also while it is being created. */
struct volume *volume_set_find(const struct volume_set *s, const char *name);
