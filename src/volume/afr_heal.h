/* Heals of whole objects of a replica set (replicate.md §10).
 *
 *      afr_heal.c        the entry point; what heals share: requests, inspecting, taking counters back
 *      afr_heal_data.c   content of files [10.3]
 *      afr_heal_meta.c   attributes [10.4]
 *      afr_heal_entry.c  names of a directory [10.5]
 *      afr_heal_name.c   one name [10.5.4, 10.6]
 *      afr_heal_path.c   names of an object from the root down
 *      afr_heal_list.c   listing a directory of one brick, the virtual ones of its index too
 *
 * A heal is done only with all copies there, locked and answering: one among some could contradict what the others
 * hold. Counters are taken back by what was read under the lock, never set: who adds one meanwhile is not forgotten.
 * And they are taken back only if, looked at again, the source is still what it was and no connection was lost: a heal
 * that finds otherwise has done nothing that counts, and is to be repeated.
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/afr.h"

/* ---- the entry point --------------------------------------------------------------------------------------------- */

#define AFR_HEAL_WHY_MAX 256

enum afr_preference {
        AFR_PREFER_NONE,
        AFR_PREFER_SOURCE,  /* the copy of `preferred_child` */
        AFR_PREFER_BIGGEST, /* data only */
        AFR_PREFER_NEWEST,  /* by mtime; data only */
};

/* Zeroed, and what is wanted filled in, before afr_heal(). */
struct afr_heal_report {
        /* Wanted: an operator's choice in split-brain; a function to be called after each step, which may wait. */
        enum afr_preference prefer;
        unsigned preferred_child;
        void (*on_progress)(struct fibre *self, struct afr_heal_report *report);
        void *arg;
        bool give_up; /* set during on_progress(): ends with -EINTR before the next step; nothing is lost */
        /* Found: */
        uint32_t type;
        bool healed[AFR_CLASSES];
        uint64_t bytes, bytes_done; /* of the file: how many there are, how many were looked at */
        uint64_t bytes_written;     /* to sinks, all together */
        uint64_t names_done;        /* of the directory, looked at */
        char why[AFR_HEAL_WHY_MAX]; /* after failure: a sentence */
};

/* Makes all copies of the object with this gfid agree, and takes back the counters that say they do not.
 *
 * 0: they agree. -ENOENT: no copy has it: an index that names it is to forget it. -ENOTCONN: not all copies are there.
 * -EBUSY: another healer or a writer is at it. -EAGAIN: later, when something else is healed: not every copy has it
 * yet, or something changed meanwhile. -EIO: split-brain. Others: what a brick said. */
int afr_heal(struct fibre *self, struct afr *a, const struct gfid *gfid, struct afr_heal_report *report);

/* What an object needs, without changing anything. 0, or as afr_heal(). */
enum afr_heal_state { AFR_HEALTHY, AFR_HEAL_PENDING, AFR_HEALING, AFR_SPLIT_BRAIN };
int afr_heal_look(struct fibre *self, struct afr *a, const struct gfid *gfid, enum afr_heal_state *ret);

/* Decides a split-brain of the content or the attributes of the object, as `prefer` of the report says, and heals it.
 * -EINVAL: it is in none. -EIO: the preference does not decide. Others as afr_heal(). */
int afr_heal_resolve(struct fibre *self, struct afr *a, const struct gfid *gfid, struct afr_heal_report *report);

/* Child is new and empty (replaced, or added): the others note that it lacks everything [11]. */
int afr_heal_mark_new(struct fibre *self, struct afr *a, unsigned child);

/* Makes all copies of directory PARENT agree on NAME, if they do not. In RET what has the name. -ENOENT: nothing.
 * Others as afr_heal(). */
struct afr_heal_found {
        struct gfid gfid;
        uint32_t type;
        bool changed; /* they did not agree */
};
int afr_heal_name_look(struct fibre *self, struct afr *a, const struct gfid *parent, const char *name,
                       struct afr_heal_found *ret);
/* The same; if the name means several objects, and nothing else tells which is right, that of CHILD (AFR_PREFER_SOURCE),
 * or the biggest or newest. `changed` is set only if the name had to be decided or healed. */
int afr_heal_name_resolve(struct fibre *self, struct afr *a, const struct gfid *parent, const char *name,
                          enum afr_preference prefer, unsigned child, struct afr_heal_found *ret);

/* ---- one brick's directories ------------------------------------------------------------------------------------- */

enum afr_index { AFR_INDEX_PENDING, AFR_INDEX_DIRTY, AFR_INDEX_ENTRIES };
/* The gfid in which the child's index is seen. */
int afr_index_gfid(struct fibre *self, struct afr *a, unsigned child, enum afr_index which, struct gfid *ret);
/* How many entries it has; not for AFR_INDEX_ENTRIES. */
int afr_index_count(struct fibre *self, struct afr *a, unsigned child, enum afr_index which, uint64_t *ret);
/* The names noted for a directory: their directory. -ENOENT: nothing is noted. */
int afr_index_entries(struct fibre *self, struct afr *a, unsigned child, const struct gfid *directory,
                      struct gfid *ret);
int afr_index_remove(struct fibre *self, struct afr *a, unsigned child, const struct gfid *index, const char *name);

/* Calls FN for every name in DIR on CHILD, "." and ".." left out, until it returns non-zero, which is returned. NAME is
 * valid during the call. */
typedef int (*afr_list_fn)(struct fibre *self, void *arg, const struct dirent_entry *entry);
int afr_list(struct fibre *self, struct afr *a, unsigned child, const struct gfid *dir, afr_list_fn fn, void *arg);

/* Removes from CHILD what nobody needs any more: objects moved aside of which no copy is left, names noted for
 * directories that are gone. In RET (may be NULL) how much that was moved aside is still needed. */
int afr_heal_sweep(struct fibre *self, struct afr *a, unsigned child, unsigned *ret_left);

/* ---- shared by heals --------------------------------------------------------------------------------------------- */

#define AFR_HEAL_ARENA (8 * MIB)
#define AFR_MDATA "trusted.glusterfs.mdata" /* times as clients see them: given to new copies, merged into others */

/* A request with the rights and the number of an internal healer. */
void afr_heal_request(const struct request *from, struct request *ret);
/* One operation on one child. In RET_REP (may be NULL) its answer. */
int afr_heal_call(struct fibre *self, struct afr *a, struct request *r, enum fop fop, const void *req, unsigned child,
                  const void **ret_rep);
/* What all children say about the object with this gfid: n copies. -ENOTCONN: one does not answer. */
int afr_heal_inspect(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                     struct afr_copy **ret);
/* Whether a heal leaves an xattr alone. */
bool afr_heal_ignores(struct str name);
/* The copy that the operator's policy (`favorite-child-policy`) prefers; AFR_NO_CHILD: there is none, or it does not
 * decide. */
unsigned afr_heal_favorite(const struct afr *a, const struct afr_copy copies[]);
/* A sentence for the report, which may be NULL; returns ERROR. */
int afr_heal_why(struct afr_heal_report *report, int error, const char *format, ...) _printf_(3, 4);

/* Connections as they were: locks taken since then are there as long as nothing changed. */
struct afr_guard {
        uint32_t connects[AFR_CHILDREN_MAX];
};
void afr_guard_set(const struct afr *a, struct afr_guard *ret);
/* Children whose connection changed. */
afr_set afr_guard_lost(const struct afr *a, const struct afr_guard *g);

/* Takes back on the children of ON exactly what COPIES say they had: counters of CLASSES (bits) about FORGIVEN, and
 * their dirty counters; about FAILED it notes that they are behind, where that is not noted. PURGE: the record of
 * changed names goes as well. -ENOTCONN: not everywhere. */
struct afr_undo {
        const struct gfid *gfid;
        unsigned classes;
        const struct afr_copy *copies;
        afr_set on, forgiven, failed;
        bool purge;
};
int afr_heal_undo(struct fibre *self, struct afr *a, struct request *r, const struct afr_undo *undo);

/* The lock that healers of an object take turns by, stock's too. CLASS filled in; at the same address until afr_unlock(). */
struct afr_heal_turn {
        enum afr_class class;
        char domain[NAME_LIMIT + 16];
        struct afr_locks locks;
};
/* On all copies. -EBUSY: somebody else heals it. -ENOTCONN: not on all, and nothing is held. */
int afr_heal_turn_take(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                       struct afr_heal_turn *t, struct afr_heal_report *report);

/* ---- heals of one class: as afr_heal() --------------------------------------------------------------------------- */

int afr_heal_data(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                  struct afr_heal_report *report);
int afr_heal_entries(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                     struct afr_heal_report *report);

/* Makes the names agree that lead to an object which CHILD has and others do not. 0: now all should have it. -ENOENT: that
 * was not its name (any more). Others as afr_heal(). */
int afr_heal_path(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, uint32_t type,
                  unsigned child);

/* afr_heal_name() by what is known of the directory: SOURCES are its good copies; 0: none is better than the others,
 * nothing is deleted, and only where a name means several objects those of UNBLAMED decide. -EAGAIN: the sources are
 * not good any more. */
int afr_heal_name_from(struct fibre *self, struct afr *a, struct request *r, struct vnode *parent, const char *name,
                       afr_set sources, afr_set unblamed);
