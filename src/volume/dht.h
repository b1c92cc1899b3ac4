/* Inside distribute (distribute.md): what its files share. One operation is one function:
 *
 *      dht.c         options, building, what is known of inodes and files, requests on distribute's own behalf
 *      dht_hash.c    the number of a name                        dht_layout.c  who takes which numbers
 *      dht_lock.c    locks between clients (§6)                  dht_find.c    what a name means over all sub-volumes (§7)
 *      dht_lookup.c  LOOKUP                                      dht_heal.c    directory self-heal (§11)
 *      dht_entry.c   create, mknod, symlink, link, unlink        dht_mkdir.c   mkdir, rmdir
 *      dht_rename.c  rename (§8.6, §8.7)                         dht_file.c    operations on one file, migration (§10.1, §12)
 *      dht_dir.c     attributes of directories (§10.2, §13)      dht_list.c    opendir, readdir (§9)
 *      dht_xattr.c   xattrs of directories, virtual names        dht_space.c   statfs, full sub-volumes
 *
 * A volume with one sub-volume has none of this: dht_pass.c.
 *
 * Children are meant by their number: the position in the volfile. -1 is none. Whatever is kept in an inode may change while
 * an operation waits, so operations take what they need by value.
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/dht_hash.h"
#include "volume/dht_layout.h"
#include "volume/translator.h"

#define DHT_KEY "trusted.glusterfs.dht"
#define DHT_KEY_LINKTO DHT_KEY ".linkto"
#define DHT_KEY_MDS DHT_KEY ".mds"
#define DHT_KEY_COMMIT DHT_KEY ".commithash"
#define DHT_KEY_PROTECT "trusted.glusterfs.protect.writes"
#define DHT_KEY_IATT "dht-get-iatt-in-xattr"
#define DHT_KEY_OPEN_FDS "glusterfs.open-fd-count"
#define DHT_KEY_INTERNAL "glusterfs-internal-fop"
#define DHT_KEY_ONLY_LINKTO "unlink-only-if-dht-linkto-file"
#define DHT_KEY_UNLESS_OPEN "dont-unlink-for-open-fd"
#define DHT_KEY_DATA_GFID "mortar.unlink-data-gfid" /* bricks of our own go by it */
#define DHT_KEY_FORCE_REPLACE "force-replace"
#define DHT_KEY_DONT_ACCOUNT "glusters.marker.dont-account"
#define DHT_KEY_GFID_REQ "gfid-req"

#define DHT_DOMAIN_LAYOUT "dht.layout.heal"
#define DHT_DOMAIN_ENTRY "dht.entry.sync"
#define DHT_DOMAIN_MIGRATE "dht.file.migrate"

/* Names in Linux's numbers, on the wire. */
#define DHT_LINKTO_MODE 01000u

enum dht_unhashed { DHT_UNHASHED_OFF, DHT_UNHASHED_ON, DHT_UNHASHED_AUTO };

struct dht_options {
        enum dht_unhashed lookup_unhashed;
        bool lookup_optimize;
        bool weighted;
        bool by_gfid;          /* rotate layouts by gfid instead of path */
        bool readdir_optimize;
        bool use_readdirp;
        bool all_must_be_up;   /* assert-no-child-down */
        bool min_free_is_percent;
        double min_free_disk;  /* percent or bytes */
        double min_free_inodes; /* percent */
        unsigned spread;       /* 0: all */
};

/* What is known of one sub-volume's storage. */
struct dht_space {
        bool known, full;
        uint64_t free;   /* bytes */
        uint64_t weight; /* size in MiB */
        struct statfs statfs;
};

struct dht {
        struct subvolume v;
        struct dht_options options;
        struct dht_names names;
        unsigned n;            /* children */
        unsigned *by_name;     /* children in the order of their names */
        bool *decommissioned;  /* by child */
        struct dht_space *space; /* by child */
        uint64_t space_at;     /* when they were asked; 0: never */
        bool commit_known;
        uint32_t commit;       /* the volume's commit hash (§7.1) */
        uint64_t next_owner;   /* of locks */
        bool begun;            /* everybody was up, or had time to be */
        struct timer grace;
};

static inline struct dht *dht_of(struct subvolume *v)
{
        return CONTAINER_OF(v, struct dht, v);
}
static inline struct subvolume *dht_child(const struct dht *d, int child)
{
        return d->v.children[child];
}
/* The child of that name, -1 if there is none. */
int dht_child_by_name(const struct dht *d, struct str name);

/* ---- what is known of an inode ---------------------------------------------------------------------------------------- */

struct dht_inode {
        bool directory;
        int cached;            /* a file: where it is */
        bool moving;           /* its last answer was that of a file being moved (§12) */
        int target;            /* where to; -1: not known */
        uint64_t target_at;    /* when that was found out */
        struct layout *layout; /* a directory */
        uint64_t checked;      /* when the layout was read last */
        int mds;               /* -1: unknown or none */
        char *path;            /* from the root of the mount, NULL: not known */
};

struct dht_file {
        bool open[1]; /* by child; as many as there are */
};

/* NULL: nothing is known, dht_resolve() finds out. */
struct dht_inode *dht_known(const struct dht *d, struct vnode *i);
/* -ENOMEM. I and, if it is another one, the inode in the table with its gfid. */
int dht_remember_file(struct dht *d, struct vnode *i, const struct gfid *gfid, int cached);
/* Takes LAYOUT over in any case. PATH may be NULL: as before. */
int dht_remember_directory(struct dht *d, struct vnode *i, const struct gfid *gfid, struct layout *layout, int mds,
                           const char *path);
void dht_forget(struct subvolume *v, struct vnode *i, void *slot);
void dht_release(struct subvolume *v, struct vfile *f, void *slot);
/* Makes sure that something is known of I: asks everyone by its gfid if it must. */
int dht_resolve(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, struct dht_inode **ret);
/* The path of NAME in PARENT, in the arena; NULL if PARENT's is not known. */
const char *dht_path_of(const struct dht *d, struct arena *a, struct vnode *parent, struct str name);

void dht_file_set_open(struct dht *d, struct vfile *f, int child, bool open);
bool dht_file_is_open(const struct dht *d, struct vfile *f, int child);

/* ---- attributes ------------------------------------------------------------------------------------------------------- */

/* The states of a file under migration (§12), as its mode tells. */
bool dht_is_phase1(const struct iatt *stat);
bool dht_is_linkto_mode(const struct iatt *stat);
/* A file that only points elsewhere: RET (may be NULL) is the name it has. */
bool dht_is_linkto(const struct iatt *stat, const struct dict *xdata, struct arena *a, struct str *ret);
/* Takes the marks of phase 1 out. */
void dht_strip_phase1(struct iatt *stat);
/* Adds FROM to INTO, attributes of the same directory on two sub-volumes (§13). INTO null: becomes FROM. */
void dht_merge_directory(struct iatt *into, const struct iatt *from);
/* A directory's as it is shown: one size everywhere. */
void dht_fix_directory(struct iatt *stat);

/* ---- requests on distribute's own behalf ------------------------------------------------------------------------------ */

/* R made by root, not to be given up, for other objects. */
struct request dht_as_root(const struct request *r, struct vnode *inode, struct vnode *parent);

/* A dictionary under construction: the first failure stays in `error`. */
struct dht_xdata {
        struct dict dict;
        struct arena *arena;
        int error;
};
/* A copy of BASE (may be NULL), without the key WITHOUT (may be NULL). */
struct dht_xdata dht_xdata_from(struct arena *a, const struct dict *base, const char *without);
void dht_xdata_uint(struct dht_xdata *x, const char *key, uint64_t value);
void dht_xdata_int(struct dht_xdata *x, const char *key, int64_t value);
void dht_xdata_str(struct dht_xdata *x, const char *key, const char *value);
void dht_xdata_ptr(struct dht_xdata *x, const char *key, const void *data, uint32_t len);
void dht_xdata_gfid(struct dht_xdata *x, const char *key, const struct gfid *g);

/* A fan-out to every child (SKIP: but that one; -1: all) with the same request: arrays of answers in the arena, in
 * the order of children. NULL: out of memory. */
struct fan *dht_fans(struct dht *d, struct arena *a, enum fop fop, const void *req, int skip, unsigned *ret_n);
/* Runs it on those who are up; -ENOTCONN at once for the others. */
void dht_fan_out(struct fibre *self, enum fop fop, struct request *r, struct fan *fans, unsigned n);
/* The number of the child a member of dht_fans() belongs to. */
int dht_fan_child(const struct dht *d, const struct fan *f);
static inline bool dht_is_absent(int result)
{
        return result == -ENOENT || result == -ESTALE;
}
/* The descriptor is not open there. */
static inline bool dht_is_bad_fd(int result)
{
        return result == -EBADF || result == -EBADFD;
}
/* The first failure of the fan-out that is none of those the mask allows; 0: none. */
enum { DHT_MAY_BE_DOWN = 1, DHT_MAY_BE_ABSENT = 2, DHT_MAY_EXIST = 4 };
int dht_fan_error(const struct fan *fans, unsigned n, unsigned allowed);

/* ---- layouts and names (dht_find.c) ----------------------------------------------------------------------------------- */

/* Reads the layout of directory I from everyone, anew. */
int dht_refresh_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i);
/* Where NAME in PARENT is to be, with that sub-volume's range of the parent (RET_RANGE may be NULL). -ENOENT: nobody takes
 * it, and that could not be healed. */
int dht_hashed(struct fibre *self, struct dht *d, struct request *r, struct vnode *parent, struct str name, int *ret,
               struct layout_range *ret_range);

/* The same for callers that hold locks of PARENT: only what is known. */
int dht_hashed_held(const struct dht *d, struct vnode *parent, struct str name, int *ret, struct layout_range *ret_range);

/* All answers to one look-up. */
struct dht_answers {
        unsigned n;
        struct fan *fans;             /* in the order of children */
        struct lookup_fop_rep *reps;
};
int dht_ask_all(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                struct dht_answers *ret);
/* One child. Keys of distribute are added to REQ's. */
int dht_ask(struct fibre *self, struct dht *d, int child, struct request *r, const struct lookup_fop_req *req,
            struct lookup_fop_rep *rep);

struct dht_found {
        int hashed;     /* -1: nobody takes the name, or there is no name */
        int cached;     /* -1: a directory */
        bool linkto;    /* HASHED points to CACHED */
        bool directory; /* what `all` says */
        struct lookup_fop_rep rep; /* a file's */
        struct dht_answers all;
};
/* Finds out what REQ, a name or a gfid, means. REPAIR: stale pointers are removed and missing ones made, which takes locks of
 * the name; else the caller has them. */
int dht_find(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req, bool repair,
             struct dht_found *ret);
/* The layout that the answers give, the commit hash of the volume if they have it, and who has the mds attribute. */
int dht_layout_of_answers(struct dht *d, const struct dht_answers *all, struct layout **ret, int *ret_mds);
/* The counter of the mds attribute; 0 if it is not there. */
int32_t dht_mds_counter(const struct dict *xdata);

/* Makes a file on HASHED that says that NAME is on CACHED (§8.2), owned as STAT says. FORCE: instead of another such file. An
 * equal one that is there already is fine: *RET_MADE (may be NULL) is false then. */
int dht_make_linkto(struct fibre *self, struct dht *d, struct request *r, struct vnode *parent, struct str name,
                    const struct iatt *stat, int hashed, int cached, bool force, bool *ret_made);
/* Removes such a file, and nothing else. UNLESS_OPEN: not if it is open. */
int dht_remove_linkto(struct fibre *self, struct dht *d, struct request *r, struct vnode *parent, struct str name,
                      int child, bool unless_open);

/* ---- locks (dht_lock.c) ----------------------------------------------------------------------------------------------- */

enum { DHT_LOCKS_MAX = 8 };
struct dht_lock {
        int child;
        const char *domain;
        struct vnode *inode;
        struct gfid gfid;
        struct str name; /* of an entry lock; empty: an inode lock */
        bool write;
        bool optional;   /* the object may be gone */
        bool held;
};
/* Some locks of one owner. `v` may be an array of the caller. */
struct dht_locks {
        struct dht *dht;
        struct request request;
        unsigned n;
        struct dht_lock v[DHT_LOCKS_MAX];
        struct dht_lock *more; /* instead of v, when it is not NULL */
};

void dht_locks_init(struct dht_locks *l, struct dht *d, const struct request *r);
/* Adds one that will be taken; twice the same is once. */
void dht_locks_inode(struct dht_locks *l, int child, struct vnode *i, const char *domain, bool write, bool optional);
/* Keeps others from changing what NAME means. */
void dht_locks_entry(struct dht_locks *l, int child, struct vnode *parent, struct str name);
/* That, and keeps the layout of PARENT as it is: what creators of names need (§6). */
void dht_locks_name(struct dht_locks *l, int child, struct vnode *parent, struct str name);
/* Takes all, in the order that every client keeps; on failure none is held. */
int dht_locks_take(struct fibre *self, struct dht_locks *l);
void dht_locks_drop(struct fibre *self, struct dht_locks *l);

/* ---- directories (dht_heal.c, dht_dir.c) ------------------------------------------------------------------------------ */

/* A directory as a look-up found it. REQ tells its name, if the caller knows one. Heals it if that is needed and can be
 * done, remembers it, and writes the answer. */
int dht_directory_found(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                        struct dht_answers *all, struct lookup_fop_rep *rep);
/* Computes and writes the layout of a directory that has none, or NEW_ANYWAY; the caller has no lock. */
int dht_heal_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, bool new_anyway,
                    unsigned spread);
/* A new layout for I, from what `l` says of each child. */
int dht_compute_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, const char *path,
                       uint32_t commit, const struct layout *old, unsigned spread, struct layout *l);
/* Writes the ranges of L that have no error; 0 or the first failure. */
int dht_write_layout(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, const struct layout *l);
/* Is the name one that is kept equal on all copies of a directory by the mds counter (§10.3)? */
bool dht_is_healed_key(const char *name);
/* Adds DELTA to the mds counter on CHILD. */
int dht_mds_add(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, int child, int32_t delta);
/* -ENOTEMPTY: something is in the directory. Pointers to nothing are removed on the way. */
int dht_check_empty(struct fibre *self, struct dht *d, struct request *r, struct vnode *dir);

/* ---- storage (dht_space.c) -------------------------------------------------------------------------------------------- */

/* Asks everyone who is up, unless that was done within the last second. */
void dht_refresh_space(struct fibre *self, struct dht *d, struct request *r);
/* Who takes a new file whose place HASHED is full or going away: HASHED itself if there is nobody better. */
int dht_choose_other(const struct dht *d, const struct layout *l, int hashed);

/* ---- files (dht_file.c) ----------------------------------------------------------------------------------------------- */

/* The destination of a file in migration, with the inode's descriptors open there; -ENODATA: it is not being moved. PHASE2: the
 * move is over, and the destination, by now possibly the same as ever, is where the file is from now on. */
int dht_follow(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, bool phase2);

/* ---- operations ------------------------------------------------------------------------------------------------------- */

#define DHT_DECLARE_(NAME, name)                                                                                       \
        int dht_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep);
SUBVOLUME_FOPS(DHT_DECLARE_)
extern const struct subvolume_ops dht_pass_ops;
int dht_reconfigure(struct subvolume *v, const struct volfile_section *section, struct error *err);

/* The same for directories, called by those of dht_file.c. */
#define DHT_DIR_FOPS(X)                                                                                                \
        X(STAT, stat) X(FSTAT, fstat) X(ACCESS, access) X(SETATTR, setattr) X(FSETATTR, fsetattr)                      \
        X(GETXATTR, getxattr) X(FGETXATTR, fgetxattr) X(SETXATTR, setxattr) X(FSETXATTR, fsetxattr)                    \
        X(REMOVEXATTR, removexattr) X(FREMOVEXATTR, fremovexattr) X(XATTROP, xattrop) X(FXATTROP, fxattrop)
#define DHT_DIR_DECLARE_(NAME, name)                                                                                   \
        int dht_dir_##name(struct fibre *self, struct dht *d, struct request *r, const struct name##_fop_req *req,     \
                           struct name##_fop_rep *rep);
DHT_DIR_FOPS(DHT_DIR_DECLARE_)
/* What users may not see or change; 0, -EPERM, -EOPNOTSUPP. */
int dht_xattr_get_allowed(const struct request *r, struct str name);
int dht_xattr_set_allowed(const struct request *r, const struct dict *dict);
int dht_xattr_remove_allowed(const struct request *r, struct str name);
/* Takes out what only distribute knows. */
void dht_xattr_hide(struct dict *dict);
/* Names that no brick has: true if NAME is one, with its value or a failure in *RESULT. */
bool dht_xattr_virtual(struct fibre *self, struct dht *d, struct request *r, struct str name, struct dict *ret,
                       int *result);
/* Commands in the form of attributes. As above. */
bool dht_xattr_command(struct fibre *self, struct dht *d, struct request *r, const struct dict *dict, int *result);
