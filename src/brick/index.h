/* The index of pending work below .glusterfs/indices, by which self-heal finds what to do (spec: brick.md §12).
 *
 * Entries are kept in step with the changelog attributes by xattrop.c through index_before() and index_after(); clients
 * see them in virtual directories, for which the handlers ask index_find() first (index_dir.c).
 */
#pragma once

#include "brick/internal.h"

enum index_class { INDEX_XATTROP, INDEX_DIRTY, INDEX_ENTRY_CHANGES, INDEX_CLASSES };

/* -EIO: no random numbers; -ENOMEM. */
int index_new(struct index **ret);
struct index *index_free(struct index *x);

/* ---- around an xattrop (index.c); under inode.lock, which covers the xattrop as well ------------------------------- */

/* Makes the entries that the attributes about to be written need. An error means that nothing may be written: -EINVAL a
 * name with '/', -ENAMETOOLONG, or what the disk says. REQUEST: the client's values. */
int index_before(struct op *op, struct inode *inode, uint32_t kind, const struct dict *request);
/* RESULT: the values there are now. Entries that are not needed any more go; one that cannot be removed is harmless. */
void index_after(struct op *op, struct inode *inode, uint32_t kind, const struct dict *result);

/* ---- entries (index.c) --------------------------------------------------------------------------------------------- */

#define INDEX_PATH_MAX 512 /* ".glusterfs/indices/entry-changes/<gfid>/<name>" and a NUL */

extern const char *const index_class_names[INDEX_CLASSES];

/* Removes the entry NAME of OF, from the directory of CLASS. -ENOENT: there is none; -EISDIR. */
int index_remove(struct brick *b, enum index_class class, const struct gfid *of);
/* Removes the names noted for directory OF: -ENOENT there are none. If there are any left, the directory goes out of sight,
 * to be emptied later: by the janitor if WHOLE, else by self-heal, which finds it under another gfid. */
int index_remove_names(struct brick *b, const struct gfid *of, bool whole);
/* Is NAME, in the directory of CLASS, a base file? */
bool index_is_base(enum index_class class, const char *name, struct gfid *ret_id);
/* Removes base file ID of CLASS if an earlier run left it behind and no entry uses it any more. */
void index_drop_base(struct brick *b, enum index_class class, const struct gfid *id);
/* What is known about entries is looked at again: somebody may have changed them behind our back. */
void index_doubt(struct brick *b);
/* A listing of CLASS has shown the entry of OF. */
void index_seen(struct brick *b, enum index_class class, const struct gfid *of);

/* ---- virtual directories (index_dir.c) ----------------------------------------------------------------------------- */

struct index_dir {
        enum index_class class;
        struct gfid gfid;        /* as clients know it */
        bool is_sub;             /* a directory in entry-changes */
        struct gfid of;          /* if so: whose names are in it */
};

/* Is G one of the brick's virtual directories? Costs nothing for gfids of the usual kind. */
bool index_find(struct op *op, const struct gfid *g, struct index_dir *ret);

/* NAME empty: the directory itself. */
int index_lookup(struct op *op, const struct index_dir *d, const char *name, struct lookup_fop_rep *rep);
int index_opendir(struct op *op, const struct index_dir *d, struct opendir_fop_rep *rep);
int index_readdir(struct op *op, const struct index_dir *d, const struct readdir_fop_req *req,
                  struct readdir_fop_rep *rep);
int index_unlink(struct op *op, const struct index_dir *d, const char *name, struct unlink_fop_rep *rep);
int index_rmdir(struct op *op, const struct index_dir *d, const char *name, bool whole, struct rmdir_fop_rep *rep);

/* ---- what the two files share -------------------------------------------------------------------------------------- */

/* Link counts of the index are answered from what was last seen; SOME and NONE are certain, and a scan counts only if
 * nothing changed since it began, which the number in the upper bits tells. */
enum index_pending { INDEX_UNKNOWN, INDEX_SOME, INDEX_NONE };

struct index {
        struct gfid gfids[INDEX_CLASSES]; /* of the virtual directories, random per start */
        struct gfid mask;                 /* between a directory's gfid and that of its place in entry-changes */
        pthread_mutex_t lock;
        struct gfid base[INDEX_CLASSES];     /* under lock: id of the base file that entries are made from */
        _Atomic uint64_t pending;            /* change number * 4 + enum index_pending */
        _Atomic uint64_t next_scan;          /* not before this time (coarse_now) */
        pthread_mutex_t watch_lock;          /* index_watch.c; a leaf */
        struct index_watch *watches;
};
