/* The simulator of a whole cluster: what its clients do at random, what they were promised, and what may be left of it
 * after faults.
 *
 *      cluster_model.c       facts with all the values that they may have, and the objects made of them
 *      cluster_work.c        operations of clients, each compared with the model at once
 *      cluster_judge.c       everything is read again when all is whole and healed
 *      cluster_chaos_test.c  faults, rounds, the report
 *
 * Each client has a directory of its own, of which it knows all that may be there; places of its own in files that all
 * write; and it takes part in what all do: names in one directory, records appended to one file under a lock. What an
 * operation leaves when nobody knows how it ended is "one of these" until a round ends; such names are left alone till then,
 * contents are overwritten.
 */
#pragma once

#include "files.h"

#define WORKERS_MAX 3 /* the last client heals */
#define NAMES 10      /* of a client: the first IN_TOP in its directory, the others in a directory in that */
#define IN_TOP 6
#define OBJECTS 1024
#define PAGES 4
#define PAGE 4096u
#define RECORD 100u /* bytes at the beginning of a page that are written; numbers as text */
#define SHARED_FILES 2
#define SHARED_NAMES 6
#define OPEN_FILES 2
#define APPENDED 2048 /* records, of a client */
#define FACT_VALUES 12
#define NOTHING 0u

/* ---- facts ------------------------------------------------------------------------------------------------------- */

struct fact {
        uint32_t now;
        uint32_t maybe[FACT_VALUES]; /* what it may be, if that is not sure */
        struct {
                uint32_t value;
                uint64_t until;
        } past[FACT_VALUES]; /* what it was, and may be again after a power cut */
        uint8_t n_maybe, n_past;
        bool lost; /* too many possibilities: anything */
};
static inline bool fact_sure(const struct fact *f)
{
        return f->n_maybe == 0 && !f->lost;
}
/* It is going to be VALUE, unless that fails. */
void fact_try(struct fact *f, uint32_t value);
void fact_done(struct fact *f, uint32_t value, uint64_t now);
bool fact_accepts(const struct fact *f, uint32_t value);
/* VALUE was seen when all was whole. */
void fact_adopt(struct fact *f, uint32_t value);
/* A disk lost what changed after SINCE. */
void fact_power_cut(struct fact *f, uint64_t since);
const char *fact_print(const struct fact *f, char text[static 160]);

struct object {
        uint32_t type; /* 0: not used */
        struct gfid gfid;
        bool must_live; /* some name must lead to it: its move was not answered */
        bool seen;
        bool fsynced; /* since its content was changed */
        struct fact mode, owner, xattr, size, pages[PAGES];
};

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct cluster;
struct worker {
        struct cluster *cluster;
        struct world_client *client;
        unsigned left; /* operations of this round */
        struct fact names[NAMES];
        struct object objects[OBJECTS];
        unsigned n_objects; /* the first is not used */
        struct vfile *files[OPEN_FILES];
        unsigned file_objects[OPEN_FILES];
        struct fact records[SHARED_FILES][PAGES]; /* in files that all write */
        struct vfile *shared[SHARED_FILES];
        bool appended[APPENDED]; /* acknowledged */
        unsigned n_appended;     /* tried */
        struct vfile *log;
};
struct cluster {
        struct world world;
        uint64_t seed;
        unsigned n_workers;
        uint64_t trace; /* hash of all that was done, when and with what result */
        bool all_lost; /* every disk lost what was not synced */
        bool troubled;  /* something is or was broken, and connections may not be back */
        bool power_lost;   /* in this round a disk lost what was not synced */
        unsigned fsynced;  /* records that were looked at after power cuts of all */
        uint64_t synced;   /* time when all disks were last */
        struct worker workers[WORKERS_MAX];
};

void cluster_note(struct cluster *x, unsigned what, unsigned more);
/* Directories and files before the first round. A world_fn. */
void cluster_prepare(struct fibre *self, struct world_client *c, void *cluster);
/* Does a worker's operations; mounts if need be. A world_fn of the worker's client. */
void cluster_work(struct fibre *self, struct world_client *c, void *worker);
void worker_init(struct worker *k, struct cluster *x, unsigned index);
/* Its machine stops: what is open is gone. */
void worker_crashed(struct worker *k);
void worker_power_cut(struct worker *k, uint64_t since, bool all_bricks);
const char *worker_path(const struct worker *k, unsigned name, char to[static 64]);

/* After a power cut of all: what was fsynced is there, under names that were durable. A world_fn. */
void cluster_judge_fsynced(struct fibre *self, struct world_client *c, void *cluster);
/* Reads everything as client C sees it, compares and takes it for the truth. A world_fn. */
void cluster_judge(struct fibre *self, struct world_client *c, void *cluster);

uint64_t record_offset_own(unsigned page);
uint64_t record_offset_shared(unsigned worker, unsigned page);
/* The number in a record of N bytes; -1: that is no record. */
int64_t record_number(const char *data, int n);

/* ---- counted for the report ---------------------------------------------------------------------------------------- */

#define CLUSTER_OPS(X)                                                                                                 \
        X(create) X(mknod) X(mkdir) X(symlink) X(link) X(unlink) X(rmdir) X(rename) X(open) X(write) X(read)            \
        X(truncate) X(ftruncate) X(fallocate) X(fsync) X(flush) X(stat) X(readlink) X(chmod) X(chown) X(utimens)       \
        X(setxattr) X(removexattr) X(getxattr) X(readdir) X(lock) X(append) X(mount)
enum cluster_op {
#define CLUSTER_OP_(name) OP_##name,
        CLUSTER_OPS(CLUSTER_OP_) OP_KINDS
};
struct cluster_count {
        unsigned done, refused, failed; /* succeeded; answered with the error that it had to be; nobody knows */
};
extern struct cluster_count cluster_counts[OP_KINDS];
extern const char *const cluster_op_names[OP_KINDS];
