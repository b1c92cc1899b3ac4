/* Looks at a brick directory as it lies on the disk: does it keep the invariants of brick.md §21? Repairs what can be
 * repaired without a choice and without loss.
 *
 * Works on any struct disk, on a brick that nobody serves or, without repair, on one that is served. One thread; may
 * take minutes. What it reports and what a repair does is in docs/formats/brick-check.md.
 */
#pragma once

#include "base/disk.h"
#include "base/error.h"
#include "proto/types.h"

enum finding_severity {
        FINDING_NOTE,       /* nothing is wrong, or the brick process puts it right by itself; --repair may, too */
        FINDING_REPAIRABLE, /* wrong; --repair puts it right */
        FINDING_ERROR,      /* wrong; somebody has to decide */
        FINDING_SEVERITIES
};

/* name, word in the output, severity (a repairable one for which there is no repair here is an error) */
#define FINDING_CLASSES(X)                                                                                             \
        X(UNREADABLE, "unreadable", ERROR)          /* the file system answers with an error */                        \
        X(MOUNT, "mounted-inside", ERROR)           /* another file system hides a part of the tree */                 \
        X(ROOT, "root", ERROR)                      /* volume-id or gfid of the brick's root */                        \
        X(LAYOUT, "layout", REPAIRABLE)             /* a part of .glusterfs itself */                                  \
        X(NO_GFID, "no-gfid", NOTE)                 /* a name without gfid: the next look-up gives it one */           \
        X(BAD_GFID, "bad-gfid", ERROR)              /* trusted.gfid is not one */                                      \
        X(SAME_GFID, "same-gfid", ERROR)            /* two objects with one gfid */                                    \
        X(NO_HANDLE, "no-handle", REPAIRABLE)       /* a named object without handle */                                \
        X(WRONG_HANDLE, "wrong-handle", REPAIRABLE) /* its handle means something else */                              \
        X(ORPHAN, "orphan-handle", REPAIRABLE)      /* a handle that is the last link of its object */                 \
        X(DANGLING, "dangling-handle", REPAIRABLE)  /* a directory's handle, and no such directory */                  \
        X(MISPLACED, "misplaced", REPAIRABLE)       /* something among the handles that is none */                     \
        X(LINKS, "link-count", ERROR)               /* more or fewer links than names and handle */                    \
        X(PATHS, "gfid2path", REPAIRABLE)           /* an attribute of a name the object does not have */              \
        X(PATHS_PART, "part-gfid2path", NOTE)       /* some names without: linked where older releases wrote */        \
        X(ATTRIBUTE, "bad-attribute", ERROR)        /* an attribute of impossible size or contents */                  \
        X(INDEX_STALE, "stale-index", NOTE)         /* an index entry for an object that is gone */                    \
        X(INDEX_MISSING, "not-indexed", NOTE)       /* pending changes that no index entry names */                    \
        X(LEFTOVER, "leftover", NOTE)               /* removed objects the brick process has yet to delete */          \
        X(LOST_FOUND, "lost+found", NOTE)           /* what earlier repairs put aside */

enum finding_class {
#define X(name, word, severity) FINDING_##name,
        FINDING_CLASSES(X)
#undef X
        FINDING_CLASS_MAX
};
const char *finding_class_word(enum finding_class c);
const char *finding_severity_word(enum finding_severity s);

enum finding_outcome { FINDING_OPEN, FINDING_REPAIRED, FINDING_FAILED };

struct finding {
        enum finding_class class;
        enum finding_severity severity;
        const char *path; /* relative to the brick, "." for its root; any bytes but NUL */
        struct gfid gfid; /* null: there is none */
        const char *text; /* what is wrong; begins in lower case, no full stop at the end */
        enum finding_outcome outcome;
        int error; /* FINDING_FAILED: negative errno */
};

#define CHECK_MEMORY_DEFAULT (192 * MIB)

struct check_config {
        bool repair;
        bool served;   /* a process serves the brick: what a second look does not find again is not reported */
        size_t memory; /* bytes the tables of objects may take; above, the tree is walked several times. 0: default */
        void (*report)(void *arg, const struct finding *f); /* NULL: only totals */
        void *arg;
};

struct check_totals {
        struct gfid volume_id; /* null: the root has none */
        uint64_t directories, files, others;          /* objects with a gfid; an object with two names counts twice */
        uint64_t without_mdata, without_gfid2path;    /* written by older releases, or with the feature off */
        uint64_t pending;                             /* index entries: objects that wait for self-heal */
        uint64_t found[FINDING_SEVERITIES], by_class[FINDING_CLASS_MAX];
        uint64_t repaired;
        uint64_t left; /* errors and repairables that are still there at the end */
        bool incomplete; /* parts of the tree could not be read: handles without names were not judged */
        unsigned rounds; /* walks over the whole tree */
};

/* 0: checked, whatever was found. Errors with a sentence: -ENOENT, -ENOTDIR, -EACCES no such directory; -ENODATA the
 * directory is no brick; -ENOMEM. With REPAIR the caller made sure that nobody serves the brick (brick/served.h).
 * REPORT is called once for each finding; its strings live until it returns. */
int brick_check(struct disk *disk, const char *path, const struct check_config *config, struct check_totals *ret,
                struct error *e);
