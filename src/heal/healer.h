/* The healer of a volume: what has to be healed, when, how much of it at a time, and how far it has come.
 *
 *      healer.c   a fibre per replica set that waits for work: a brick came back, time passed, somebody asked
 *      crawl.c    one crawl: of the index directories of the bricks that are this node's, or of all that there is
 *      position.c where a full crawl was when it was broken off
 *      pace.c     leaving bricks to clients when they are busy
 *      choice.c   which copy is right, as an operator says
 *      status.c   what `status` and `info` tell, as JSON
 *      control.c  the socket on which they are asked for
 *
 * The healing itself is in the volume layer (volume/afr_heal.h). What is to be healed stands on the bricks alone: a
 * healer that is stopped or killed leaves nothing behind, and whoever comes next goes on from there. Beside other
 * healers, stock's too, each object is healed by one: who finds it locked leaves it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "base/buf.h"
#include "heal/pace.h"
#include "volume/afr_heal.h"

#define HEALER_PARALLEL_MAX 64
#define HEALER_PARALLEL_DEFAULT 4
#define HEALER_INTERVAL_DEFAULT (600 * NS_PER_SEC)

enum heal_kind { HEAL_NOTHING, HEAL_INDEX, HEAL_FULL };

struct healer_config {
        struct loop *loop;
        const char *name;              /* of the volume */
        struct volume *volume;         /* opened with PID_SELF_HEAL; outlives the healer */
        const struct volfile *volfile; /* of it; outlives the healer */
        /* Which bricks are this node's: those that say this uuid (NULL: of this host's name), or all. */
        const char *node_uuid;
        bool all_bricks;
        unsigned parallel; /* objects of a set at a time; 0: default, or as the volume's options say */
        uint64_t interval; /* ns between crawls; 0: default, or as the volume's options say */
        uint64_t rate;     /* bytes per second written to bricks; 0: as fast as it goes */
        const char *state_dir; /* where unfinished full crawls are noted (position.h); NULL: nowhere */
};

struct heal_totals {
        uint64_t healed, clean, gone; /* did need it; did not; were in an index and are not there any more */
        uint64_t in_use, later, split_brain, failed;
        uint64_t bytes, names;
};

/* A crawl that has ended. */
#define HEAL_HISTORY_MAX 50
struct heal_past {
        enum heal_kind kind;
        uint64_t began, ended; /* wall clock, ns */
        struct heal_totals totals;
};

/* An object that is being healed. */
struct heal_current {
        struct heal_set *set;
        bool used;
        struct gfid gfid;
        uint64_t bytes_before; /* written when the last step ended */
        struct pace pace;
        struct afr_heal_report report;
};

struct heal_set {
        struct healer *healer;
        struct afr *afr;
        afr_set local; /* bricks whose index is looked through */
        enum heal_kind wanted;
        struct afr_guard crawled; /* connections at the last crawl */
        bool ever_crawled;
        uint64_t next; /* not before, unless something happens */
        uint64_t backoff;

        enum heal_kind crawling;
        uint64_t began, began_real, total, done; /* of this crawl, objects */
        uint64_t crawls;
        struct heal_totals totals; /* of this crawl, or of the last */
        uint64_t left;             /* objects that the last crawl could not heal */
        uint64_t left_split_brain; /* of them */
        uint64_t pending;          /* objects that this node's bricks had noted when they were asked last */
        struct heal_totals ever;   /* of all crawls that have ended */
        bool totals_counted;       /* `ever` includes `totals` */
        struct pace_learned pace;
        struct heal_past past[HEAL_HISTORY_MAX]; /* a ring: crawl N is at N modulo its size */
        bool unfinished;                         /* a full crawl was broken off */
        struct {
                struct gfid gfid;
                bool any;
                char why[AFR_HEAL_WHY_MAX];
                char holder[512]; /* clients that hold locks there, as they call themselves; "": not known */
        } blocked; /* the last object that somebody else was at, of this crawl or the last */
        struct heal_current current[HEALER_PARALLEL_MAX];
        unsigned n_current;
        struct {
                int error;
                struct gfid gfid;
                uint64_t time; /* wall clock */
                char why[AFR_HEAL_WHY_MAX];
        } last_error;
};

struct healer {
        struct healer_config config;
        struct heal_set *sets;
        unsigned n_sets;
        unsigned parallel; /* what is in force */
        uint64_t interval;
        bool closing;
        unsigned running; /* fibres of sets */
        struct fibre_event *ended;
        uint64_t allowed_at; /* of the rate */
};

/* For the sets of the volume. -EINVAL: it has none. With a sentence. */
int healer_new(const struct healer_config *config, struct healer **ret, struct error *err);
/* The volfile became another one, with other options, and stays as long as the healer. */
void healer_reload(struct healer *h, const struct volfile *volfile);
/* Starts the fibres that heal for ever. -errno. */
int healer_start(struct healer *h);
/* All sets are crawled soon. */
void healer_ask(struct healer *h, enum heal_kind kind);
/* Ends what is under way, and the fibres. */
void healer_stop(struct fibre *self, struct healer *h);
struct healer *healer_free(struct healer *h);

/* One crawl of everything, now: how many objects could not be healed are in RET. -ENOTCONN: not all bricks are there.
 */
int healer_once(struct fibre *self, struct healer *h, enum heal_kind kind, uint64_t *ret_left);

/* ---- crawl.c ----------------------------------------------------------------------------------------------------- */

/* Crawls S, and again while that gets something done. 0; -ENOTCONN: not all bricks are there (any more); -ECANCELED:
 * told to stop. */
int crawl(struct fibre *self, struct heal_set *s, enum heal_kind kind);
/* Whether a full crawl of S was broken off, by whoever ran before. */
bool crawl_is_unfinished(const struct heal_set *s);
/* Appends to ARENA the text of the root's xattr NAME on CHILD. */
int crawl_root_text(struct fibre *self, struct afr *a, struct arena *arena, unsigned child, const char *name,
                    struct str *ret);
/* Which bricks are this node's. */
int crawl_find_local(struct fibre *self, struct heal_set *s);

/* ---- status.c ---------------------------------------------------------------------------------------------------- */

/* Asks the bricks of this node how much they have noted: `pending`. */
void status_count(struct fibre *self, struct healer *h);
/* Appends a JSON object: how far the healer is. */
int status_format(const struct healer *h, struct buf *out);
/* The same for a volume that is not open: why. */
int status_closed(const char *volume, const char *why, struct buf *out);
/* Appends a JSON object: what the index of each brick names, and what state that is in. */
int status_info(struct fibre *self, struct healer *h, struct buf *out);
