/* Inside the bridge: what its files share.
 *
 *      bridge.c         life, the root, events        bridge_call.c     how every operation begins and ends,
 * conversions bridge_entry.c   names                         bridge_attr.c     attributes, statfs bridge_file.c    open
 * files, data              bridge_dir.c      directories bridge_xattr.c   extended attributes           bridge_lock.c
 * locks cache.c          what the kernel may believe, and for how long
 *
 * Rules:
 *  - A request's node is found by its number (ESTALE), held until the function returns, and never used as an address.
 *  - Everything that the volume answers lives in the request's arena; what outlives it is copied.
 *  - An answer that hands something to the kernel (a look-up, an open file, a lock) takes it back if the kernel did not
 * want it.
 *  - "The object is not there" from an operation on a node is ESTALE: the kernel then looks the name up again.
 *  - Attributes that were asked for before a change of this client, or before a brick told of one, are answered but not
 * to be believed (cache.c).
 */
#pragma once

#include "mount/bridge.h"
#include "mount/node.h"
#include "proto/fop.h"

struct dir_batch;

/* The whole of a small file and its attributes, read when it was opened. */
struct content {
        uint64_t began; /* nodes.clock when it was asked for */
        uint64_t until; /* loop time */
        struct iatt stat;
        uint32_t size;
        bool seen; /* the kernel has read it to the end */
        uint8_t data[];
};

/* An open file or directory. The kernel's number of it is its place in the table and how often that was used before. */
struct open_file {
        struct vfile *file; /* NULL: no brick knows yet (open.c) */
        struct node *node; /* a reference */
        uint32_t generation;
        uint32_t next_free;
        bool used;
        bool written; /* since the last flush */
        uint32_t failures_told; /* of node->writes.failures */
        struct dir_batch *batch;
        struct fibre_mutex reading; /* one reader of the directory at a time */
        struct content *content;    /* until it was read and the bricks know the file */
        bool gone;                  /* it was removed before they did: `content` is all there is */
        struct bridge *bridge;      /* for the timer */
        struct timer late;          /* the bricks open it then */
        uint32_t flags, uid, gid;   /* for opening it belatedly: how, and for whom */
};

struct file_table {
        struct open_file **v; /* entries stay where they are */
        uint32_t n, room;
        uint32_t first_free; /* index + 1; 0: none */
        uint32_t open;
};

/* A name that was looked for and not found a moment ago. */
#define MISSES 64
struct miss {
        uint64_t parent; /* node */
        uint64_t until;
        char name[NAME_LIMIT + 1];
};

/* When a brick told of a change of objects whose gfid falls there: answers on their way make nodes of them. */
#define TOLD_SLOTS 256u

/* An open that found its object gone: the kernel looks the name up again, once (open_again.c). */
#define RETRIES 32
struct open_retry {
        uint32_t pid; /* of the thread that opens; 0: nobody */
        uint32_t flags;
        uint64_t until; /* loop time */
        uint64_t node;  /* what was found then, and */
        struct vfile *file; /* opened; NULL: not yet */
};

struct bridge {
        struct bridge_config config;
        struct volume *volume; /* NULL before bridge_open_root() */
        struct fuse_session *session;
        struct node_table nodes;
        struct file_table files;
        uint64_t invalidation_timeout; /* by option bricks tell of changes: believed so long; 0: they do not */
        uint64_t told_timeout;         /* all bricks do as we asked: the same; pages are looked at with every open */
        bool down;                     /* the volume, as it told */
        uint32_t bricks_away;          /* nobody tells what changes there: nothing is believed for long */
        uint64_t went_away;            /* nodes.clock when one did so last: what was asked for before, neither */
        size_t content_bytes;          /* of all files */
        bool warned_invisible;
        bool closed; /* nodes and files are gone */
        struct miss misses[MISSES];
        uint64_t told_at[TOLD_SLOTS]; /* nodes.clock */
        struct timer evict_timer;
        struct fibre_group late; /* files being opened at bricks with nobody waiting */
        struct open_retry retries[RETRIES];
        struct timer retry_timer;
        struct write_behind behind;
        struct bridge_stats stats;
};

/* ---- an operation ------------------------------------------------------------------------------------------------ */

struct call {
        struct bridge *b;
        struct fibre *self;
        struct fuse_request *rq;
        struct node *node;    /* of the request; a reference */
        struct open_file *of; /* of the request's fh, or NULL */
        uint64_t began;       /* nodes.clock when it began */
        struct request r;
};

/* Begins an operation on rq->node: finds it and says who asks. -ESTALE. C is to be given to call_end() in any case. */
int call_begin(struct call *c, struct fibre *self, struct fuse_request *rq);
/* The same with an open file; its inode is the node's whatever the kernel said. The bricks know the file then. -EBADF. */
int call_begin_file(struct call *c, struct fibre *self, struct fuse_request *rq, uint64_t fh);
/* The same without the bricks: `r.file` may be NULL. */
int call_begin_lazily(struct call *c, struct fibre *self, struct fuse_request *rq, uint64_t fh);
void call_end(struct call *c);
#define _cleanup_call_ _cleanup_(call_end)

struct subvolume *call_top(const struct call *c);
/* Credentials of the operation FOP: times and lock owner. The owner is the kernel's, or the calling process. */
void call_stamp(struct call *c, enum fop fop);
void call_set_owner(struct call *c, uint64_t owner);
/* The same operation by this program itself: root, so that the caller's rights do not matter. */
struct request call_as_root(const struct call *c, enum fop fop);
/* A time limit on an operation: the event to cancel it by. The caller stops the timer. */
struct deadline {
        struct timer timer; /* first: the callback finds the rest by it */
        struct fibre_event passed;
};
struct fibre_event *deadline_start(struct deadline *d, struct loop *loop, uint64_t timeout);
/* An object without names is reached through a file that somebody has open: true if R says that it has none and there is
 * one, which is C's then. */
bool call_by_open_file(struct call *c, int r);
/* An error on a node: what is not there is ESTALE. */
int call_node_error(int r);

/* ---- conversions ------------------------------------------------------------------------------------------------- */

bool stat_is_usable(const struct iatt *stat);
uint64_t bridge_ino(const struct bridge *b, uint64_t ino);
struct fuse_attr attr_from(const struct bridge *b, const struct iatt *stat);
struct gfid bridge_new_gfid(struct bridge *b);
/* The kernel's device number (new_encode_dev) of an object's. */
uint32_t device_from(uint64_t rdev);

/* ---- open files -------------------------------------------------------------------------------------------------- */

/* Puts FILE (a reference is taken over, also on failure; NULL: opened belatedly) into the table. -ENOMEM, -ENFILE. */
int file_table_add(struct bridge *b, struct vfile *file, struct node *n, uint64_t *ret_fh);
struct open_file *file_table_find(struct bridge *b, uint64_t fh);
void file_table_remove(struct bridge *b, uint64_t fh);
void file_table_done(struct bridge *b);
struct dir_batch *dir_batch_free(struct dir_batch *batch);
/* FOPEN_… for an open with these flags. */
uint32_t bridge_open_flags(const struct bridge *b, uint32_t flags);
/* Opens INODE for C's caller, -errno. */
int bridge_open(struct call *c, struct node *n, uint32_t flags, struct vfile **ret);
/* Opens OF for those who opened it, if no brick knows it yet. -EBADF: it was closed meanwhile; -ESTALE: it is gone. */
int open_belatedly(struct call *c, struct open_file *of);
/* Before a name of N is removed: what is open for the kernel only is opened. To be ended by `n->removing--`. */
void open_before_removal(struct call *c, struct node *n);
/* Whether OF's contents answer a read, and with what. */
bool open_content(struct call *c, uint64_t offset, uint32_t size, struct slice *ret);
/* Attributes of C's node, which is gone, from what an open file of it holds. False: none does. */
bool open_content_stat(struct call *c, struct iatt *ret);
/* OF is being closed. */
void open_end(struct bridge *b, struct open_file *of);
/* C's caller found its object gone when it opened it: its next look-up opens what it finds. */
void open_again_note(struct call *c, uint32_t flags);
/* That look-up: N and STAT were found in PARENT as NAME, and are replaced by what could be opened. -errno of a look-up. */
int open_again_look(struct call *c, struct node *parent, const char *name, struct node **n, struct iatt *stat);
/* What it opened of C's node, or NULL. */
struct vfile *open_again_take(struct call *c, uint32_t flags);
/* If RQ is nothing that an open asks for, its thread's open is over: the file that was opened for it goes. */
void open_again_step(struct bridge *b, const struct fuse_request *rq);
void open_again_done(struct bridge *b);
/* Takes setuid and setgid bits away after a change by somebody who may not keep them. MODE: 0 when not known. */
void bridge_drop_privileges(struct call *c, struct node *n, uint32_t mode);

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Looks NAME up in PARENT: a node with a reference, and its attributes. -ENOENT and others. */
int bridge_lookup(struct call *c, struct node *parent, const char *name, struct node **ret, struct iatt *ret_stat);
/* The node of an object that was just made or found; it takes the inode's place if there is one already. NULL: no
 * memory. */
struct node *bridge_node_of(struct bridge *b, struct vnode *inode, const struct iatt *stat);
/* What the kernel is told about NODE, whose attributes were asked for at BEGAN. */
struct fuse_entry bridge_entry(struct bridge *b, struct node *parent, struct node *n, const struct iatt *stat,
                               uint64_t began);

/* ---- what the kernel may believe (cache.c) ----------------------------------------------------------------------- */

uint64_t cache_attr_timeout(struct bridge *b, struct node *n, uint64_t began);
uint64_t cache_entry_timeout(struct bridge *b, struct node *parent, struct node *n, uint64_t began);
/* Counts the bricks that are away and those that tell; what was told before is not counted. */
void cache_count_bricks(struct bridge *b);
/* Answers to C about N are as of now: its own operation is the last change of it, unless a brick told of another. */
void cache_began_again(struct call *c, const struct node *n);
/* The kernel is told STAT, which was asked for at BEGAN. */
void cache_tell(struct bridge *b, struct node *n, const struct iatt *stat, uint64_t began);
struct file_state cache_state(struct bridge *b, const struct iatt *stat);
bool cache_same(const struct file_state *a, const struct file_state *b);
/* STAT is N's, asked for at BEGAN: bricks tell from now on when it changes. */
void cache_watch(struct bridge *b, struct node *n, uint64_t began);
bool cache_is_fresh(const struct bridge *b, const struct node *n);
/* The kernel's pages of N go with this open, those to come hold STATE. */
void cache_pages_begin(struct node *n, struct file_state state);
/* They are as good as what a brick has in STATE. */
bool cache_pages_hold(const struct bridge *b, const struct node *n, const struct file_state *state);
/* This client changed N. */
void cache_changed(struct bridge *b, struct node *n);
/* This client changed names in the directory PARENT by an operation that began at BEGAN; BEFORE and AFTER: the directory
 * as the answer tells it (may be unusable). */
void cache_names_changed(struct bridge *b, struct node *parent, uint64_t began, const struct iatt *before,
                         const struct iatt *after);
/* What a directory was told to be, to be believed for TIMEOUT ns. */
void cache_keep_attr(struct bridge *b, struct node *n, const struct iatt *stat, uint64_t timeout);
/* That, if it still holds: true, and for how long. After each change of names the kernel asks for what it could know. */
bool cache_kept_attr(const struct bridge *b, const struct node *n, struct iatt *ret, uint64_t *ret_timeout);
/* Pages and attributes are to be read again. */
void cache_drop_pages(struct bridge *b, struct node *n);
/* Names that were not found are remembered for a blink: creations and renamings ask twice. */
void cache_missed(struct bridge *b, struct node *parent, const char *name);
bool cache_misses(const struct bridge *b, const struct node *parent, const char *name);
void cache_found(struct bridge *b, const struct node *parent, const char *name);
/* The kernel knows too much: asks it to forget what was not used for long. */
void cache_evict(struct bridge *b);
/* security.capability is not there; true while that is known. */
void cache_set_no_capability(struct bridge *b, struct node *n);
bool cache_no_capability(const struct bridge *b, const struct node *n);

/* ---- the operations ---------------------------------------------------------------------------------------------- */

#define BRIDGE_OPERATIONS(X)                                                                                           \
        X(lookup)                                                                                                      \
        X(getattr)                                                                                                     \
        X(setattr)                                                                                                     \
        X(readlink) X(symlink) X(mknod) X(mkdir) X(unlink) X(rmdir) X(rename) X(link) X(open) X(read) X(write)         \
                X(statfs) X(release) X(fsync) X(setxattr) X(getxattr) X(listxattr) X(removexattr) X(flush) X(opendir)  \
                        X(readdir) X(readdirplus) X(releasedir) X(fsyncdir) X(getlk) X(setlk) X(setlkw) X(access)      \
                                X(create) X(fallocate) X(lseek)
#define BRIDGE_PROTOTYPE_(name) void bridge_op_##name(struct fibre *self, struct fuse_request *rq);
BRIDGE_OPERATIONS(BRIDGE_PROTOTYPE_)
#undef BRIDGE_PROTOTYPE_
