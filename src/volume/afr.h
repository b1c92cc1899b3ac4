/* Inside cluster/replicate: one replica set of n bricks, as replicate.md describes it (sections in brackets).
 *
 *      afr.c              builder, options, events, quorum, questions to several children
 *      afr_judge.c        which copies may be read, out of counters: pure functions [2, 5.3, 5.5]
 *      afr_inode.c        what is known of an object, and how it is found out [5.1, 5.2]
 *      afr_lookup.c       look-ups [5.4]
 *      afr_read.c         read child, operations that only read [5.5]
 *      afr_local.c        which copy is on this machine
 *      afr_lock.c         locks of transactions [3]
 *      afr_transaction.c  the one transaction: lock, quorum, mark, operation, classify, settle [6]
 *      afr_batch.c        its locks and marks: taking, settling, giving back [6]
 *      afr_eager.c        locks and marks kept for the next transaction [6.5, 6.6]
 *      afr_chain.c        several operations on a child as one message
 *      afr_data.c, afr_metadata.c, afr_entry.c   operations that change something [6.2-6.4]
 *      afr_open.c, afr_dir.c, afr_lk.c, afr_xattr.c, afr_statfs.c   the rest [8, 9.2]
 *      afr_heal_name.c, afr_heal_meta.c          heals that look-ups start [10.4, 10.6]
 *      afr_heal.c, afr_heal_data.c, afr_heal_entry.c, afr_heal_path.c, afr_heal_list.c   of whole objects (afr_heal.h) [10]
 *
 * A set of children is a bit mask (afr_set), bit i for child i. Invariants, which no caller has to think of: an
 * operation is sent only after the quorum of locks was checked; whoever failed is blamed on disk by the others before
 * anybody hears of success; nobody is blamed when the quorum was lost; the arbiter's and blamed copies are not read.
 *
 * Thread: the loop's.
 */
#pragma once

#include "volume/translator.h"

#define AFR_CHILDREN_MAX 16u
#define AFR_NO_CHILD UINT32_MAX

typedef uint32_t afr_set;
#define AFR_BIT(i) (1u << (i))
static inline unsigned afr_next(afr_set s, unsigned from)
{
        afr_set rest = from < AFR_CHILDREN_MAX ? s >> from : 0;
        return rest ? from + (unsigned)__builtin_ctz(rest) : AFR_CHILDREN_MAX;
}
/* The children of SET, ascending. */
#define AFR_EACH(i, set) for (unsigned i = afr_next((set), 0); i < AFR_CHILDREN_MAX; i = afr_next((set), i + 1))
static inline unsigned afr_count(afr_set s)
{
        return (unsigned)__builtin_popcount(s);
}

/* Classes of changes, and their places in a counter. */
enum afr_class { AFR_DATA, AFR_METADATA, AFR_ENTRY, AFR_CLASSES };
#define AFR_KEPT 2u /* classes whose locks may be kept: the first */
#define AFR_COUNTER_SIZE 12u

enum afr_quorum_type { AFR_QUORUM_NONE, AFR_QUORUM_AUTO, AFR_QUORUM_FIXED };
enum afr_algorithm { AFR_ALGORITHM_BY_CONTENT, AFR_ALGORITHM_FULL, AFR_ALGORITHM_DIFF };
enum afr_favorite {
        AFR_FAVORITE_NONE,
        AFR_FAVORITE_SIZE,
        AFR_FAVORITE_CTIME,
        AFR_FAVORITE_MTIME,
        AFR_FAVORITE_MAJORITY
};

struct afr_options {
        enum afr_quorum_type quorum_type;
        unsigned quorum_count;
        bool eager_lock, ensure_durability, optimistic, granular, anonymous_inode, choose_local;
        uint64_t post_op_delay; /* ns */
        unsigned read_hash_mode;
        int read_child; /* -1: none configured */
        enum afr_favorite favorite;
        enum afr_algorithm algorithm;
        unsigned window; /* blocks of a file that a heal works on at a time */
        char anonymous_name[64]; /* of the directory that healers use; hidden from readers */
        struct gfid anonymous_gfid;
};

#define AFR_WRITE_HOPE 16

struct afr_batch;
struct afr_inode;

struct afr {
        struct subvolume base;
        struct afr_options options;
        unsigned n;
        afr_set all;
        unsigned arbiter;                      /* AFR_NO_CHILD: there is none */
        const char *pending[AFR_CHILDREN_MAX]; /* names of the counters, by child */
        struct arena names;
        uint32_t connects[AFR_CHILDREN_MAX]; /* grows whenever a child comes or goes */
        uint32_t reading[AFR_CHILDREN_MAX];  /* reads under way */
        uint64_t owners;                     /* lock owners given out */
        struct timer gathering;              /* waits for the last bricks to connect */
        struct afr_batch *batches;           /* those kept in inodes */
        unsigned n_batches;
        int write_hope; /* whether files that are made are written at once: AFR_WRITE_HOPE at most, below 0 no */
        unsigned background;                 /* fibres of ours that finish something */
        unsigned heals;                      /* of them, those that heal */
        struct fibre_event *idle;            /* somebody waits until there is nothing of that */
        unsigned local;                      /* child on this machine */
        bool local_asked;
        afr_set index_known, index_pending; /* what bricks said of their index of pending work */
        afr_set index_watched;              /* bricks that tell when that changes; what answers say is not newer */
        uint64_t index_time[AFR_CHILDREN_MAX];
};

/* Whether V is a replica set. */
bool afr_is(const struct subvolume *v);
static inline struct afr *afr_of(struct subvolume *v)
{
        return CONTAINER_OF(v, struct afr, base);
}
/* Nothing is done beside callers, and no lock is kept. */
static inline bool afr_is_idle(const struct afr *a)
{
        return a->background == 0 && !a->batches;
}
static inline struct loop *afr_loop(const struct afr *a)
{
        return volume_loop(a->base.volume);
}

/* ---- afr.c ------------------------------------------------------------------------------------------------------- */

afr_set afr_up(const struct afr *a);
/* Whether SET is enough of the copies [4]. */
bool afr_quorum(const struct afr *a, afr_set set);
/* 0 when those that are up are enough for an operation to begin; waits for them as configured (outage.h), else
 * -ENOTCONN, -EINTR. */
int afr_ready(struct fibre *self, struct afr *a, const struct request *r);
static inline afr_set afr_arbiter_set(const struct afr *a)
{
        return a->arbiter == AFR_NO_CHILD ? 0 : AFR_BIT(a->arbiter);
}

/* Answers of several children to one operation. */
struct afr_answers {
        enum fop fop;
        uint32_t generation; /* of the set, when they were asked */
        afr_set asked, ok;
        const void *req[AFR_CHILDREN_MAX];
        void *rep[AFR_CHILDREN_MAX]; /* the fop's reply structure, for those asked */
        int result[AFR_CHILDREN_MAX];
};
/* Asks the children in `asked` in parallel, each with its `req`; fills in the rest. */
void afr_ask_each(struct fibre *self, struct afr *a, struct request *r, struct afr_answers *x);
/* The same REQ to the children of SET. */
void afr_ask(struct fibre *self, struct afr *a, struct request *r, enum fop fop, const void *req, afr_set set,
             struct afr_answers *ret);
/* The errno of those of SET that failed: ENODATA, ENOENT, ESTALE, ENOSPC in this order, others, at last ENOTCONN. */
int afr_final_error(const struct afr_answers *x, afr_set set);
/* Why X did not succeed on enough copies: what those say that refused it, if they are enough to be believed. Else some are
 * away that may know better than a copy that missed the object's making: -ENOTCONN. */
int afr_refusal(const struct afr *a, const struct afr_answers *x);

/* Fields that all operations have, by number. */
size_t afr_req_size(enum fop fop);
size_t afr_rep_size(enum fop fop);
struct dict *afr_req_xdata(enum fop fop, void *req);
struct dict *afr_rep_xdata(enum fop fop, void *rep);
/* A copy of REQ whose xdata can be added to without changing the original. NULL: out of memory. */
void *afr_req_copy(struct arena *arena, enum fop fop, const void *req);
/* Child's answer becomes REP; the result to return. */
int afr_take(const struct afr_answers *x, unsigned child, void *rep);
/* REP becomes an empty answer that says ERROR (-errno), which is returned. */
int afr_fail(enum fop fop, void *rep, int error);

/* ---- afr_chain.c ------------------------------------------------------------------------------------------------- */

/* What a step of a chain is for; together with a number: which lock, which mark. */
enum afr_purpose { AFR_STEP_OPERATION, AFR_STEP_LOCK, AFR_STEP_MARK, AFR_STEP_UNLOCK };
#define AFR_STEPS_MAX 6u
struct afr_chain {
        unsigned child, n;
        struct chain_step steps[AFR_STEPS_MAX];
        enum afr_purpose purposes[AFR_STEPS_MAX];
        uint8_t numbers[AFR_STEPS_MAX];
        struct afr_chain *next;
};
struct afr_chains {
        struct afr *afr;
        struct arena *arena;
        struct afr_chain *head, **tail;
        unsigned n;
        bool failed; /* out of memory */
};
void afr_chains_init(struct afr_chains *x, struct afr *a, struct arena *arena);
/* One more, on CHILD, without steps; in parallel to the others. NULL: out of memory. */
struct afr_chain *afr_chain_new(struct afr_chains *x, unsigned child);
/* One more step of C. Out of memory (REQ or C being NULL too) is remembered. */
void afr_chain_add(struct afr_chains *x, struct afr_chain *c, enum fop fop, struct request *r, const void *req,
                   enum afr_purpose purpose, unsigned number);
/* -ENOMEM: nothing was sent. */
int afr_chains_run(struct fibre *self, struct afr_chains *x);
/* Puts the answers to the steps with PURPOSE and NUMBER over those that are in RET. */
void afr_chains_answers(const struct afr_chains *x, enum afr_purpose purpose, unsigned number, struct afr_answers *ret);

/* A request of our own, not the application's: super-user, not cancelled. OWNER 0: none. */
void afr_internal_request(const struct request *from, uint64_t owner, struct request *ret);
/* Runs fn(self, arg) beside the caller and counts it, so that the graph is not taken down under it. -errno. */
int afr_background(struct afr *a, const char *name, fibre_fn fn, void *arg);
void afr_background_done(struct afr *a);

/* ---- waiting for something of this program, by many -------------------------------------------------------------- */

struct afr_waiter {
        struct fibre_event event;
        struct afr_waiter *next;
};
struct afr_queue {
        struct afr_waiter *head;
};
/* Waits for the next afr_wake_all(); look at the condition again then. */
void afr_wait(struct fibre *self, struct afr_queue *q);
void afr_wake_all(struct afr_queue *q);

/* ---- afr_judge.c ------------------------------------------------------------------------------------------------- */

/* What one child said about an object. */
struct afr_copy {
        int result; /* 0 or -errno */
        bool bad;   /* bit-rot */
        uint32_t type;
        uint64_t size;
        struct gfid gfid;
        int32_t pending[AFR_CHILDREN_MAX][AFR_CLASSES]; /* of its counter about child j */
        int32_t dirty[AFR_CLASSES];
        int64_t inodelks, parent_entrylks;
        const struct iatt *stat;
        const struct dict *xdata;
};
/* Which copies may be read. */
struct afr_verdict {
        afr_set answered;
        afr_set readable[AFR_CLASSES]; /* of the class; entry is the same as data for directories, and not used for
                                          others */
        afr_set accused[AFR_CLASSES];
        afr_set shorter;  /* than others that nobody accuses: what they lack was never written down */
        bool heal;        /* something is accused, by a counter or by its size */
        bool provisional; /* sizes differ while somebody writes: good for one use only */
        int unreadable;   /* why nothing is readable: -EIO (split-brain), -ENOTCONN (only the arbiter knows better) */
};
/* Copies that somebody accuses. When all are and all have answered, not those that less than a quorum accuses [10.2, 5]: the
 * healer will take them for good. */
afr_set afr_accused(const struct afr_copy copies[], unsigned n, enum afr_class class);
void afr_judge(const struct afr_copy copies[], unsigned n, unsigned arbiter, struct afr_verdict *ret);

/* Where a heal goes from and to [10.2]. LOCKED: children that take part. */
struct afr_direction {
        afr_set sources, sinks;
        bool split_brain;
        uint32_t witness[AFR_CHILDREN_MAX];
};
void afr_direction(const struct afr_copy copies[], unsigned n, afr_set locked, enum afr_class class, unsigned quorum,
                   struct afr_direction *ret);

/* Of OK those that wrote as much as any. The arbiter gets a token instead of data, and counts. */
afr_set afr_complete(const int written[], afr_set ok, afr_set arbiter);

uint32_t afr_hash(const uint8_t *data, size_t len); /* SuperFastHash; LEN a multiple of 4 */

/* Reads counters and counts out of an answer. NAMES: of the counters by child. */
void afr_copy_read(const char *const names[], unsigned n, int result, const struct iatt *stat, const struct dict *xdata,
                   struct afr_copy *ret);

/* ---- afr_inode.c ------------------------------------------------------------------------------------------------- */

/* An object, in its slot. */
struct afr_inode {
        struct afr_verdict verdict;
        bool known;          /* the verdict stands as long as the generation */
        uint32_t generation; /* of the replica set when it was found out */
        uint32_t changes;    /* grows when we learn something that an answer under way does not know */
        unsigned choice;     /* copy to read in spite of split-brain; AFR_NO_CHILD */
        uint64_t choice_until, choice_time;
        bool healing;             /* its metadata, in the background */
        uint64_t heal_after;      /* not before */
        struct afr_batch *batch[AFR_KEPT]; /* locks and marks kept, for transactions of data and of metadata */
        struct afr_queue waiting;          /* for a batch to change */
};
/* NULL: out of memory. */
struct afr_inode *afr_inode(struct afr *a, struct vnode *i);
/* Adds what §5.2 asks for to a look-up's or stat's dictionary. */
int afr_ask_counters(const struct afr *a, struct arena *arena, struct dict *xdata);
/* The copies as the answers to a LOOKUP or FSTAT tell them: n of them. NULL: out of memory. */
struct afr_copy *afr_copies(struct afr *a, struct arena *arena, const struct afr_answers *x);
/* Remembers the verdict about I. CHANGES is what `changes` was when the question was asked. */
void afr_learn(struct afr *a, struct vnode *i, uint32_t changes, const struct afr_verdict *verdict);
/* The same out of answers to X, which are not believed for longer if the state of the set has changed since they were
 * asked for. */
void afr_learn_from(struct afr *a, struct vnode *i, uint32_t changes, const struct afr_answers *x,
                    const struct afr_verdict *verdict);
/* Makes sure that the verdict about I is that of the present generation: asks, if it is not. FILE: an open file of I,
 * or NULL. -errno as §5.4 says. */
int afr_know(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, struct vfile *file);
/* Enough copies of an object, asked by gfid or by file, say that it is not there: those that still have it are about to
 * remove it, or have missed that. */
bool afr_is_gone(const struct afr *a, const struct afr_answers *x);
/* Some copies have the object, others not, and too few answer for a verdict: perhaps somebody is just making or removing
 * it, which happens to a gfid once. True, after a pause: ask again. LOOKS: 0 at first. */
bool afr_is_passing(struct fibre *self, const struct afr *a, const struct afr_answers *x, unsigned *looks);
/* Asks in any case. */
int afr_refresh(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, struct vfile *file);
/* Copies of I that may be read now; what failed under a transaction that is not settled yet is left out. 0: see
 * verdict.unreadable. */
afr_set afr_readable(const struct afr_inode *x, enum afr_class class);
/* No brick has an entry in its index of pending work: all are there and said so, lately or with the promise to tell. */
bool afr_nothing_pending(const struct afr *a);
/* The same, and all have promised. */
bool afr_is_settled(const struct afr *a);
/* Some copy missed something under a batch that is not settled yet. */
bool afr_is_behind(const struct afr_inode *x);
/* Nothing is known against any copy of I, which were compared in the present state of the connections, and nothing was
 * pending anywhere since. */
bool afr_is_equal(struct afr *a, struct vnode *i);
/* These copies missed a change. */
void afr_distrust(struct afr_inode *x, afr_set children, enum afr_class class);
/* What is known of I is asked anew before it is used: somebody else may have changed it, and blamed a copy that we can
 * reach. NULL is fine. */
void afr_doubt(struct afr *a, struct vnode *i);
/* Class of the counters that tell whether the content of an object may be read. */
static inline enum afr_class afr_content_class(const struct vnode *i)
{
        return (i->type & 0170000) == 0040000 ? AFR_ENTRY : AFR_DATA;
}

/* ---- afr_read.c -------------------------------------------------------------------------------------------------- */

/* The copy of I to read for an operation of CLASS, out of AMONG; AFR_NO_CHILD if none may be. */
unsigned afr_read_child(struct afr *a, struct vnode *i, enum afr_class class, const struct rpc_cred *cred,
                        afr_set among);
/* An operation that changes nothing: on the read child, then on others. */
int afr_read_any(struct fibre *self, struct afr *a, enum fop fop, enum afr_class class, struct request *r,
                 const void *req, void *rep);

/* ---- afr_local.c ------------------------------------------------------------------------------------------------- */

/* Finds out once, in the background, which copy is on this machine. */
void afr_find_local(struct afr *a);

/* ---- afr_lock.c -------------------------------------------------------------------------------------------------- */

#define AFR_LOCKEES_MAX 3u
struct afr_lockee {
        struct gfid gfid;
        char name[NAME_LIMIT + 1]; /* entry locks: "" is the whole directory */
        bool metadata;             /* inode locks: of the attributes */
};
struct afr_locks {
        enum afr_class class; /* data: from `start`, `length` bytes (0: to the end); metadata; entry */
        uint64_t start, length;
        bool try_only; /* -EAGAIN when somebody else has it */
        unsigned n;
        struct afr_lockee on[AFR_LOCKEES_MAX]; /* sorted by afr_locks_sort() */
        afr_set held[AFR_LOCKEES_MAX];
        uint64_t owner; /* 0 until the first attempt */
        const char *domain; /* NULL: the set's own */
        struct afr_follow *follow; /* NULL: nothing */
};
/* Marks that are set where the locks are granted, in the same message to bricks that understand it. They only raise dirty
 * counters: an operation never goes with the lock that protects it. */
#define AFR_MARKS_MAX 2u
struct afr_follow {
        unsigned n;
        enum fop fop;
        const void *set[AFR_MARKS_MAX], *undo[AFR_MARKS_MAX];
        struct vfile *file;
        struct request request;                   /* afr_lock() fills it in */
        struct afr_answers answers[AFR_MARKS_MAX]; /* what is set when afr_lock() has succeeded */
};
void afr_locks_add(struct afr_locks *l, const struct gfid *gfid, const char *name);
/* The lock of the attributes, after that of data. */
void afr_locks_add_metadata(struct afr_locks *l, const struct gfid *gfid);
/* Locks on the children of ON. In RET those on which all was granted; -errno if there is none, or if they are no quorum
 * because others refused (the object has just gone) and not because they are away. */
int afr_lock(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l, afr_set on,
             afr_set *ret);
void afr_unlock(struct fibre *self, struct afr *a, struct request *r, struct vfile *file, struct afr_locks *l);
/* Adds to C, a chain of X, giving back what L holds there. OURS: a request of L's owner, about FILE. */
void afr_unlock_add(struct afr_chains *x, struct afr_chain *c, struct request *ours, struct vfile *file,
                    const struct afr_locks *l);
/* X was run: what it gave back is not held any more. */
void afr_unlock_note(const struct afr_chains *x, struct afr_locks *l);
/* The attempt to take the locks of an object that the same message makes. */
void afr_lock_add(struct afr_chains *x, struct afr_chain *c, struct request *ours, const struct afr_locks *l);
bool afr_locks_held(const struct afr_locks *l);

/* ---- afr_batch.c ------------------------------------------------------------------------------------------------- */

/* An object whose counters change. */
struct afr_mark {
        struct vnode *inode;       /* a reference */
        char name[NAME_LIMIT + 1]; /* directories: the entry, for the granular index */
};

enum afr_batch_state { AFR_BATCH_OPENING, AFR_BATCH_OPEN, AFR_BATCH_CLOSING, AFR_BATCH_SETTLED };

/* What became of the changes of one class under a batch. */
struct afr_part {
        afr_set dirty;   /* the dirty counter was raised there */
        afr_set failed;  /* members that missed a change */
        afr_set good;    /* members that were not blamed when it began */
        afr_set blamed;  /* every member says on disk that these are behind */
        bool changed;    /* an operation succeeded somewhere */
        bool broken;     /* the quorum was lost in the middle: nobody is to be blamed, the marks stay */
        int result;      /* of settling */
};

/* Locks and marks, of one transaction or of several on the same object that follow each other (data, metadata). One of
 * data may have the lock of metadata as well, and changes of it. */
struct afr_batch {
        struct afr *afr;
        enum afr_class class;
        enum afr_batch_state state;
        unsigned refs;
        int32_t pid; /* of the client, for credentials */
        struct afr_locks locks;
        struct afr_mark marks[AFR_MARKS_MAX];
        unsigned n_marks;
        struct vfile *file; /* a reference, or NULL */
        bool covers;        /* data: it has the lock of metadata too */
        afr_set members;    /* locked, and marked if that was done */
        struct afr_part part[AFR_CLASSES];
        uint32_t connects[AFR_CHILDREN_MAX];
        bool unstable;   /* data that bricks have not been asked to sync */
        uint32_t writes; /* counts them */
        /* A new object in a directory: what to mark when some do not have it. */
        struct gfid created;
        uint32_t created_type; /* 0: nothing is made */
        /* Kept in an inode: */
        unsigned users;
        struct afr_range *ranges; /* of users and of those who wait to be, in order of arrival */
        struct timer delay;
        struct afr_batch *next;
};
struct afr_range {
        uint64_t start, end; /* end is behind the last byte; equal: nothing */
        struct afr_range *next;
};

/* A batch without locks and marks, referred to once. NULL: out of memory. */
struct afr_batch *afr_batch_new(struct afr *a, enum afr_class class, const struct request *r, struct vfile *file);
struct afr_batch *afr_batch_unref(struct afr_batch *b);
/* One more object to mark. NAME "" for other classes than entry. */
void afr_batch_mark(struct afr_batch *b, struct vnode *i, const char *name);
/* Locks, checks, marks: after success operations may be sent to the members. After failure nothing is left locked. */
int afr_batch_open(struct fibre *self, struct afr_batch *b, struct arena *arena);
/* Blames who failed, takes back the dirty marks, and gives locks back in the same messages, if there are any. The result,
 * in `part` too: -errno: what was done under it must not be called a success. */
int afr_batch_settle(struct fibre *self, struct afr_batch *b, struct arena *arena);
/* The rest of the locks. */
void afr_batch_unlock(struct fibre *self, struct afr_batch *b, struct arena *arena);
/* Members whose connection went since the lock was taken: their locks are gone. */
afr_set afr_batch_lost(const struct afr_batch *b);
/* Some member missed something that is not on disk yet. */
bool afr_batch_is_behind(const struct afr_batch *b);
/* The marks of a batch that was locked and marked by the message that made its object; who has them are its members. */
void afr_batch_take_marks(struct afr_batch *b, const struct afr_answers *x);
/* The request that raises the dirty counter of mark K, or takes that back. */
const void *afr_batch_mark_request(const struct afr_batch *b, struct arena *arena, unsigned k, bool undo,
                                   enum fop *ret);
/* A request on the batch's behalf. */
struct request afr_batch_request(const struct afr_batch *b, struct arena *arena);
/* Adds AMOUNT[class] for BLAMED and DIRTY to the dirty counter, on gfid or file, on the children of ON; `ok` in RET.
 * NAME with KEY: the granular index. */
struct afr_tally {
        struct gfid gfid;
        struct vfile *file;
        afr_set blamed;
        int32_t amount[AFR_CLASSES];
        int32_t dirty[AFR_CLASSES];
        const char *key, *name;
};
void afr_tally(struct fibre *self, struct afr *a, struct request *r, const struct afr_tally *x, afr_set on,
               struct afr_answers *ret);

/* ---- afr_transaction.c ------------------------------------------------------------------------------------------- */

struct afr_transaction {
        enum fop fop;
        enum afr_class class;
        struct request *request;
        const void *req;
        const void *arbiter_req; /* what the arbiter gets instead; NULL: the same */
        void *rep;
        struct afr_batch *batch;
        struct afr_range range; /* of data and metadata transactions: those that overlap have one order */
        uint32_t writes;        /* of the batch, when the operation began */
        struct afr_batch *fresh; /* creations: lock and mark of the new object, made in the same message; or NULL */
        struct afr_answers fresh_marks;
        struct afr_answers answers;
        afr_set ok;
        int result;
};

/* The transaction. Data and metadata: on the object of the request, its batch is found or made. Entry: T->batch is a new
 * one with locks and marks filled in, which is used up. Returns the result and has filled in REP. */
int afr_transact(struct fibre *self, struct afr *a, struct afr_transaction *t);
/* A copy of REQ that asks whether somebody waits for our lock of CLASS. NULL: out of memory. */
void *afr_with_question(const struct afr *a, struct arena *arena, enum fop fop, const void *req, enum afr_class class);
/* Bricks keep the locks of metadata apart, under this name of the set's domain with this behind it. */
#define AFR_METADATA_SUFFIX ":metadata"
extern const struct afr_range afr_whole_file;

/* ---- afr_eager.c ------------------------------------------------------------------------------------------------- */

/* Joins the batch of the request's object, or opens one. 0: T->batch is set, T's range is free. */
int afr_eager_enter(struct fibre *self, struct afr *a, struct afr_transaction *t);
/* T is done: settles now or later; waits for it when T must not be answered before, and corrects T->result. */
void afr_eager_leave(struct fibre *self, struct afr *a, struct afr_transaction *t);
/* No further user; settled when the last one has left. */
void afr_eager_close(struct afr_batch *b);
/* The same for what is kept in I, if anything; _wait: and is settled when the call returns. */
void afr_eager_close_inode(struct afr *a, struct vnode *i);
void afr_eager_settle_inode(struct fibre *self, struct afr *a, struct vnode *i);
void afr_eager_close_all(struct afr *a);
/* The same for what is kept of GFID, by whatever inode. METADATA: only what has that lock. */
void afr_eager_close_gfid(struct afr *a, const struct gfid *gfid, bool metadata);
/* Whether the creation of R->file had better lock and mark the new file at once: it will be written, as most are. */
bool afr_eager_expects_write(const struct afr *a, const struct request *r);
/* Whether all children take the lock of metadata in the same message as others, so that it costs nothing. */
bool afr_eager_covers(const struct afr *a, const struct request *r);
/* B was opened by the creation of its object: it stays there for the first write, or is given back. Uses B up. */
void afr_eager_adopt(struct fibre *self, struct afr *a, struct afr_batch *b, struct vfile *file, bool keep);

/* ---- afr_open.c -------------------------------------------------------------------------------------------------- */

struct afr_file {
        afr_set opened;
        uint64_t retry_at;   /* children that refused are not asked before */
        unsigned read_child; /* directories: the one whose offsets are in use; AFR_NO_CHILD */
        bool fresh;          /* made by its open, and not written yet */
        struct fibre_mutex opening;
};
struct afr_file *afr_file(struct afr *a, struct vfile *f);
/* Children on which operations on F can be done; opens it where it is not yet. F NULL: all that are up. */
afr_set afr_file_on(struct fibre *self, struct afr *a, struct request *r, struct vfile *f);

/* ---- afr_heal_name.c, afr_heal_meta.c ---------------------------------------------------------------------------- */

/* Makes all copies of the directory agree on NAME [10.6], which the caller has locked on all. 0: they do now (or something
 * was done: look again). GFID_REQ: for copies that have none; may be NULL. -ENOTCONN: not all are there. -EIO: they cannot
 * be made to agree. */
int afr_heal_name_held(struct fibre *self, struct afr *a, struct request *r, struct vnode *parent, const char *name,
                       const struct gfid *gfid_req);
/* Makes attributes and xattrs of the copies equal [10.4]. SOURCE: chosen by an operator, or AFR_NO_CHILD. */
int afr_heal_metadata(struct fibre *self, struct afr *a, struct request *r, struct vnode *i, unsigned source);
/* The same in the background, if that is configured; forgets about it when too much is under way. */
void afr_heal_metadata_later(struct afr *a, struct vnode *i, const struct gfid *gfid, uint32_t type);
/* Whether the copies, of which all n must have answered, differ in owner, mode or xattrs that are the users'. */
bool afr_metadata_differs(const struct afr *a, const struct afr_copy copies[]);

/* ---- operations -------------------------------------------------------------------------------------------------- */

#define AFR_OP_(NAME, name)                                                                                            \
        int afr_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep);
SUBVOLUME_FOPS(AFR_OP_)
void afr_forget(struct subvolume *v, struct vnode *i, void *slot);
void afr_release(struct subvolume *v, struct vfile *f, void *slot);
