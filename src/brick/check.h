/* What the parts of the checker share (checker.h).
 *
 *   check.c         rounds, findings, the root
 *   check_table.c   what is remembered of objects
 *   check_walk.c    the walk over all names
 *   check_object.c  one name: gfid, handle, links, gfid2path
 *   check_attr.c    the shape of attributes
 *   check_handle.c  the walk over all handles
 *   check_aside.c   the rest of .glusterfs: unlink, landfill, indices, lost+found
 */
#pragma once

#include <stdio.h>

#include "base/buf.h"
#include "brick/checker.h"
#include "brick/internal.h"

#define LOST_FOUND_DIR ".glusterfs/lost+found"
#define CHECK_LIST_MAX 65536 /* XATTR_LIST_MAX */

/* ---- tables (check_table.c) ---------------------------------------------------------------------------------------- */

/* One name of an object whose handle is not right, or that has several names. */
struct name_record {
        struct gfid gfid;
        uint64_t ino;
        uint64_t hash;  /* of "<parent gfid>/<name>", as gfid2path has it; 0: the parent has no gfid */
        uint32_t nlink; /* as last seen */
        uint16_t paths; /* gfid2path attributes the object had */
        bool verified;  /* the handle is this object */
        bool is_dir;
        bool landfill;
};

/* A growing array of fixed-size elements, sorted when it is complete. */
struct table {
        void *v;
        size_t n, cap, size;
};
int table_add(struct table *t, const void *element);
void table_done(struct table *t);
/* Sorted arrays of numbers and of gfids. */
void table_sort_u64(struct table *t);
bool table_has_u64(const struct table *t, uint64_t x);
size_t table_count_u64(const struct table *t, uint64_t x);
void table_sort_gfids(struct table *t);
/* Also of a table of records. */
bool table_has_gfid(const struct table *t, const struct gfid *g);
/* By gfid, then inode. */
void table_sort_records(struct table *t);
/* What a gfid is remembered by in a table of numbers. */
uint64_t gfid_mark(const struct gfid *g);

/* ---- the checker (check.c) ----------------------------------------------------------------------------------------- */

struct checker {
        struct brick b; /* only its disk and root_fd, for the functions of handle.c */
        const struct check_config *config;
        struct check_totals totals;
        dev_t dev;
        ino_t root_ino;
        struct buf path; /* of what is being looked at, relative to the brick; see check_path() */

        bool repairing;      /* this walk repairs */
        bool reporting;      /* this walk's findings are reported; else they are kept */
        bool overflow;       /* the tables are full: the round begins again with fewer gfids */
        unsigned first, last; /* this round looks at gfids whose first byte is in this range */

        struct table known;    /* u64: marks of objects whose handle is right */
        struct table removed;  /* u64: marks of objects in the landfill */
        struct table records;  /* struct name_record */
        struct table twice;    /* gfids that several objects have; from the survey, sorted */
        struct table spare;    /* u64: inode numbers of links that are neither a name nor the handle */
        struct table keys;     /* u64: what the survey found */
        struct kept *kept, **kept_last; /* the survey's findings */
        size_t kept_count, found;
        uint64_t wrong;       /* findings of this walk that are more than notes, or can be repaired */
        char list[CHECK_LIST_MAX];
};

/* Puts right what was found; 0 or negative errno. */
typedef int (*check_fix)(struct checker *c, void *arg);

/* Reports a finding about PATH (NULL: c->path). FIX NULL: it cannot be repaired here. True if it was repaired. */
bool check_found(struct checker *c, enum finding_class class, const char *path, const struct gfid *g, check_fix fix,
                 void *arg, const char *format, ...) _printf_(7, 8);
/* A disk call on what is being looked at failed: -ENOENT is somebody removing it meanwhile, others are reported. */
void check_failed(struct checker *c, const char *path, int error, const char *what);

static inline bool check_in_round(const struct checker *c, const struct gfid *g)
{
        return g->b[0] >= c->first && g->b[0] <= c->last;
}
/* Remembers an object whose handle is right, in the tree or in the landfill. */
void check_know(struct checker *c, const struct gfid *g, bool landfill);
void check_record(struct checker *c, const struct name_record *r);
/* An object has a link below .glusterfs that is neither a name nor its handle. */
void check_spare(struct checker *c, ino_t ino);

/* c->path becomes its first LEN bytes, '/' and NAME. */
void check_path_push(struct checker *c, size_t len, const char *name);
void check_path_cut(struct checker *c, size_t len);
const char *check_path(struct checker *c);

/* Calls FN for each entry of directory FD but the dots. 0 or negative errno. */
int check_each(struct checker *c, int fd, void (*fn)(struct checker *c, int fd, const char *name, void *arg), void *arg);
/* Opens a directory below the brick's root; does not follow a symbolic link. */
int check_open_dir(struct checker *c, int dirfd, const char *path);

/* ---- names --------------------------------------------------------------------------------------------------------- */

/* One name in the tree. */
struct named {
        struct place at;
        struct stat st;
        struct gfid gfid;
        struct gfid parent; /* null: the directory has no gfid */
        bool landfill;      /* below .glusterfs/landfill: counted, not judged */
};

/* Walks the tree below directory FD (taken over), which has gfid SELF. c->path is the path of FD. */
void check_walk(struct checker *c, int fd, const struct gfid *self, bool landfill);
/* True: NAME is a directory to walk into; *RET_GFID is its gfid (null: it has none). */
bool check_name(struct checker *c, int dirfd, const char *name, const struct gfid *parent, bool landfill,
                struct gfid *ret_gfid);
/* Once all names are known: gfids that stand for several objects go to c->twice. */
void check_find_twice(struct checker *c);
/* Once all names and handles are known: link counts and gfid2path of objects with several names. */
void check_groups(struct checker *c);
/* Attributes of N, whose names are the first LEN bytes of c->list. */
void check_attributes(struct checker *c, const struct named *n, size_t len);

/* ---- .glusterfs ---------------------------------------------------------------------------------------------------- */

void check_handles(struct checker *c);
/* Moves what is at PATH, below .glusterfs, to lost+found; deletes it if the object has other links. */
int check_put_aside(struct checker *c, const char *path);
/* Before the walk over names: landfill and unlink hold links of their own. */
void check_removed(struct checker *c);
void check_indices(struct checker *c);
void check_lost_found(struct checker *c);
