/* What the kernel may believe, and for how long.
 *
 * The kernel caches names, attributes and pages for the times it is told. Those are the options' (a second unless said
 * otherwise: another client's change is seen that late at most), or longer when the volume's bricks tell of changes,
 * until one of them is away. A change that is told, and a change of this client, make answers that were asked for
 * before worthless: they are given, but not to be believed.
 *
 * Bricks tell if the volume's options say so, or by themselves: those of ours that this client asked to (chain.md). The
 * latter is on without being asked for, so it is about attributes and names only: what an open finds is what was
 * written before, as far as the bricks know.
 *
 * The number of objects that the kernel remembers is bounded by asking it to drop the names of those not used for
 * longest; directories are left alone, somebody may stand in them or have mounted something there.
 *
 * Thread: the loop's. Nothing here waits; notifications are written by the session's threads.
 */
#include <sys/stat.h>

#include "mount/bridge_state.h"

#define TIME_BOX NS_PER_SEC /* nothing is believed longer while a brick is away */
#define MISS_TIME (NS_PER_SEC / 10)
#define EVICT_SEARCH 1024 /* nodes looked at for those that may go, at a time */
#define EVICT_INTERVAL (NS_PER_SEC / 2)

static bool is_outage(const struct bridge *b)
{
        return b->down || b->bricks_away > 0;
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

/* Bricks take the times of a change from the client that makes it, and the later of two: a client whose clock is behind
 * may change a file without its times moving on. A state that was old when it was seen cannot be changed so. */
#define SETTLED_AGE ((int64_t)60)

struct file_state cache_state(struct bridge *b, const struct iatt *stat)
{
        int64_t now = (int64_t)(loop_realtime(b->config.loop) / NS_PER_SEC);
        return (struct file_state){.size = stat->size,
                                   .mtime = stat->mtime,
                                   .ctime = stat->ctime,
                                   .known = true,
                                   .settled = MAX(stat->mtime.sec, stat->ctime.sec) < now - SETTLED_AGE};
}

static bool same_time(struct iatt_time a, struct iatt_time b)
{
        return a.sec == b.sec && a.nsec == b.nsec;
}

bool cache_same(const struct file_state *a, const struct file_state *b)
{
        return a->known && b->known && a->size == b->size && same_time(a->mtime, b->mtime) &&
               same_time(a->ctime, b->ctime);
}

static void forget_state(struct node *n)
{
        n->told.known = n->pages.known = false;
        n->fresh_until = 0;
}

static unsigned told_slot(const struct gfid *g)
{
        uint32_t h;
        memcpy(&h, g->b + sizeof g->b - sizeof h, sizeof h);
        return h % TOLD_SLOTS;
}

/* When N was changed by another client last, as bricks told. */
static uint64_t told_at(const struct bridge *b, const struct node *n)
{
        return MAX(n->invalidated, b->told_at[told_slot(&n->inode->gfid)]);
}

void cache_watch(struct bridge *b, struct node *n, uint64_t began)
{
        if (b->invalidation_timeout > 0 && !is_outage(b) && b->went_away <= began && n->changed <= began &&
            told_at(b, n) <= began)
                n->fresh_until = loop_now(b->config.loop) + b->invalidation_timeout;
}

void cache_began_again(struct call *c, const struct node *n)
{
        if (told_at(c->b, n) <= c->began)
                c->began = c->b->nodes.clock;
}

bool cache_is_fresh(const struct bridge *b, const struct node *n)
{
        return !is_outage(b) && n->fresh_until > loop_now(b->config.loop);
}

void cache_tell(struct bridge *b, struct node *n, const struct iatt *stat, uint64_t began)
{
        n->told = cache_state(b, stat);
        if (n->changed > began || told_at(b, n) > began)
                n->told.known = false; /* the kernel does not believe it either */
        if (!cache_same(&n->told, &n->pages))
                n->pages.known = false;
        cache_watch(b, n, began);
}

void cache_pages_begin(struct node *n, struct file_state state)
{
        n->pages = state;
}

bool cache_pages_hold(const struct bridge *b, const struct node *n, const struct file_state *state)
{
        return cache_same(&n->pages, state) && (n->pages.settled || cache_is_fresh(b, n));
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static uint64_t believed_when_told(const struct bridge *b)
{
        if (b->invalidation_timeout > 0 && b->told_timeout > 0)
                return MIN(b->invalidation_timeout, b->told_timeout);
        return MAX(b->invalidation_timeout, b->told_timeout);
}

static uint64_t timeout_of(const struct bridge *b, uint64_t configured, uint64_t began)
{
        bool told = !is_outage(b) && b->went_away <= began;
        if (configured != UINT64_MAX)
                return told ? configured : MIN(configured, TIME_BOX);
        uint64_t told_for = believed_when_told(b);
        return told && told_for > 0 ? told_for : BRIDGE_TIMEOUT;
}

static uint64_t believe(struct bridge *b, struct node *n, uint64_t timeout)
{
        uint64_t until = loop_now(b->config.loop) + timeout;
        n->believed_until = MAX(n->believed_until, until);
        return timeout;
}

uint64_t cache_attr_timeout(struct bridge *b, struct node *n, uint64_t began)
{
        if (n->changed > began || told_at(b, n) > began)
                return 0;
        return believe(b, n, timeout_of(b, b->config.attribute_timeout, began));
}

uint64_t cache_entry_timeout(struct bridge *b, struct node *parent, struct node *n, uint64_t began)
{
        if ((parent && parent->invalidated > began) || told_at(b, n) > began)
                return 0;
        return believe(b, n, timeout_of(b, b->config.entry_timeout, began));
}

static void drop_kept(struct node *n)
{
        if (n->kept)
                n->kept->until = 0;
}

void cache_changed(struct bridge *b, struct node *n)
{
        n->changed = ++b->nodes.clock;
        forget_state(n);
        drop_kept(n);
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

void cache_keep_attr(struct bridge *b, struct node *n, const struct iatt *stat, uint64_t timeout)
{
        if (!S_ISDIR(stat->mode) || timeout == 0)
                return;
        if (!n->kept)
                n->kept = malloc(sizeof *n->kept);
        if (n->kept)
                *n->kept = (struct node_attr){
                        .stat = *stat, .until = loop_now(b->config.loop) + timeout, .stored = ++b->nodes.clock};
}

bool cache_kept_attr(const struct bridge *b, const struct node *n, struct iatt *ret, uint64_t *ret_timeout)
{
        uint64_t now = loop_now(b->config.loop);
        if (!n->kept || n->kept->until <= now)
                return false;
        *ret = n->kept->stat;
        *ret_timeout = n->kept->until - now;
        return true;
}

static bool is_later(struct iatt_time x, struct iatt_time y)
{
        return x.sec > y.sec || (x.sec == y.sec && x.nsec > y.nsec);
}

/* The change from BEFORE to AFTER, applied to VALUE; false: that cannot be. */
static bool apply(uint64_t *value, uint64_t before, uint64_t after)
{
        if (before > after && *value < before - after)
                return false;
        *value += after - before;
        return true;
}

/* Copies of a directory differ in size: the difference that the operation made is what counts. False: somebody else has
 * changed it since S, or it was another copy's. */
static bool advance(struct iatt *s, const struct iatt *before, const struct iatt *after)
{
        uint64_t nlink = s->nlink;
        if (is_later(before->mtime, s->mtime) || is_later(before->ctime, s->ctime) ||
            !apply(&s->size, before->size, after->size) || !apply(&s->blocks, before->blocks, after->blocks) ||
            !apply(&nlink, before->nlink, after->nlink) || nlink > UINT32_MAX || s->size > INT64_MAX)
                return false;
        s->nlink = (uint32_t)nlink;
        if (is_later(after->mtime, s->mtime))
                s->mtime = after->mtime;
        if (is_later(after->ctime, s->ctime))
                s->ctime = after->ctime;
        return true;
}

void cache_names_changed(struct bridge *b, struct node *parent, uint64_t began, const struct iatt *before,
                         const struct iatt *after)
{
        struct node_attr *kept = parent->kept;
        bool usable = kept && kept->stored <= began && stat_is_usable(before) && stat_is_usable(after) &&
                      gfid_equal(&after->gfid, &parent->inode->gfid);
        parent->changed = ++b->nodes.clock;
        if (!usable || !advance(&kept->stat, before, after))
                drop_kept(parent);
}

/* ---- invalidation ------------------------------------------------------------------------------------------------ */

void cache_drop_pages(struct bridge *b, struct node *n)
{
        if (b->session)
                (void)fuse_notify_inval_inode(b->session, n->id, 0, 0);
}

static void drop_attributes(struct bridge *b, struct node *n)
{
        if (b->session)
                (void)fuse_notify_inval_inode(b->session, n->id, -1, 0);
}

static void drop_names(struct bridge *b, struct node *n)
{
        for (const struct entry *e = n->entries; e && b->session; e = e->next_of_node)
                (void)fuse_notify_inval_entry(b->session, e->parent->id, e->name, e->len, FUSE_EXPIRE_ONLY);
}

/* wire.md §4.5 */
#define CHANGED_NLINK 0x1u
#define CHANGED_SIZE 0x8u
#define CHANGED_TIMES 0x10u
#define CHANGED_RENAME 0x80u
#define CHANGED_FORGET 0x100u

static void invalidate(struct bridge *b, const struct subvolume_event *e)
{
        struct node *n = node_of_gfid(&b->nodes, &e->gfid);
        b->told_at[told_slot(&e->gfid)] = ++b->nodes.clock;
        if (!n)
                return;
        b->stats.invalidations++;
        n->invalidated = b->nodes.clock;
        drop_kept(n);
        n->no_capability_until = 0;
        forget_state(n);
        if (e->flags & (CHANGED_NLINK | CHANGED_RENAME | CHANGED_FORGET))
                drop_names(b, n);
        if ((e->flags & (CHANGED_SIZE | CHANGED_TIMES)) && S_ISREG(n->inode->type))
                cache_drop_pages(b, n);
        else
                drop_attributes(b, n);
        node_unref(&b->nodes, n);
}

/* Nobody tells of changes on the brick that went away: what the kernel would believe for long is taken back. */
static void time_box(struct bridge *b)
{
        uint64_t limit = loop_now(b->config.loop) + TIME_BOX;
        b->went_away = ++b->nodes.clock;
        for (struct node *n = b->nodes.oldest; n; n = n->newer) {
                n->fresh_until = 0;
                if (n->believed_until <= limit)
                        continue;
                n->believed_until = limit;
                n->invalidated = b->nodes.clock;
                drop_kept(n);
                n->no_capability_until = 0;
                drop_names(b, n);
                drop_attributes(b, n);
        }
}

static void count_below(struct bridge *b, const struct subvolume *v)
{
        if (v->n_children == 0 && v->parent && !v->up)
                b->bricks_away++;
        for (unsigned i = 0; i < v->n_children; i++)
                count_below(b, v->children[i]);
}

/* Seconds, of the brick below V that tells for the shortest time. */
static uint32_t told_below(const struct subvolume *v)
{
        uint32_t least = v->n_children == 0 ? v->tells : UINT32_MAX;
        for (unsigned i = 0; i < v->n_children; i++)
                least = MIN(least, told_below(v->children[i]));
        return least;
}

static void look_who_tells(struct bridge *b)
{
        uint64_t was = b->told_timeout;
        b->told_timeout = told_below(volume_top(b->volume)) * NS_PER_SEC;
        if (b->told_timeout < was)
                time_box(b);
}

void cache_count_bricks(struct bridge *b)
{
        b->bricks_away = 0;
        count_below(b, volume_top(b->volume));
        look_who_tells(b);
}

void bridge_graph_changed(struct bridge *b)
{
        cache_count_bricks(b);
        b->down = !volume_top(b->volume)->up;
        if (b->down || b->bricks_away > 0)
                time_box(b);
}

void bridge_event(struct volume *vol, const struct subvolume_event *e, void *arg)
{
        struct bridge *b = arg;
        if (b->closed || !b->volume)
                return;
        switch (e->kind) {
        case SUBVOLUME_INVALIDATE:
                invalidate(b, e);
                return;
        case SUBVOLUME_DOWN:
                b->down = true;
                time_box(b);
                return;
        case SUBVOLUME_BRICK_DOWN:
                b->bricks_away++;
                time_box(b);
                return;
        case SUBVOLUME_UP:
                b->down = false;
                look_who_tells(b);
                return;
        case SUBVOLUME_BRICK_TELLS:
                look_who_tells(b);
                return;
        case SUBVOLUME_BRICK_UP:
                b->bricks_away -= b->bricks_away > 0;
                look_who_tells(b);
                return;
        default:
                return;
        }
}

/* ---- names that are not there ------------------------------------------------------------------------------------ */

static struct miss *miss_at(struct bridge *b, uint64_t parent, const char *name)
{
        uint64_t h = parent * 0x9e3779b97f4a7c15ull;
        for (const char *at = name; *at; at++)
                h = (h ^ (uint8_t)*at) * 1099511628211ull;
        return &b->misses[(h >> 32) % MISSES];
}

void cache_missed(struct bridge *b, struct node *parent, const char *name)
{
        struct miss *m = miss_at(b, parent->id, name);
        size_t len = strlen(name);
        if (len > NAME_LIMIT)
                return;
        m->parent = parent->id;
        m->until = loop_now(b->config.loop) + MISS_TIME;
        memcpy(m->name, name, len + 1);
}

bool cache_misses(const struct bridge *b, const struct node *parent, const char *name)
{
        const struct miss *m = miss_at((struct bridge *)b, parent->id, name);
        return m->parent == parent->id && m->until > loop_now(b->config.loop) && streq(m->name, name);
}

void cache_found(struct bridge *b, const struct node *parent, const char *name)
{
        struct miss *m = miss_at(b, parent->id, name);
        if (m->parent == parent->id && streq(m->name, name))
                m->until = 0;
}

/* ---- the limit --------------------------------------------------------------------------------------------------- */

static bool may_go(const struct node *n)
{
        return n->lookups > 0 && n->refs == 1 && n->open == 0 && n->entries && !S_ISDIR(n->inode->type);
}

static void ask_to_forget(struct bridge *b, struct node *n)
{
        n->evict_round = b->nodes.evict_round;
        b->nodes.n_evicting++;
        for (const struct entry *e = n->entries; e; e = e->next_of_node)
                (void)fuse_notify_inval_entry(b->session, e->parent->id, e->name, e->len, 0);
        b->stats.evictions++;
}

static bool is_over(const struct bridge *b)
{
        return b->session && b->config.nodes_max > 0 && b->nodes.n_nodes > b->config.nodes_max + b->nodes.n_evicting;
}

/* Asks for as many as are too many, not counting those that were asked for in this round. Returns how many. */
static unsigned evict_some(struct bridge *b)
{
        struct node_table *t = &b->nodes;
        unsigned asked = 0;
        struct node *n = t->oldest;
        for (unsigned i = 0; n && i < EVICT_SEARCH && is_over(b); i++) {
                struct node *next = n->newer;
                if (may_go(n) && n->evict_round != t->evict_round) {
                        ask_to_forget(b, n);
                        asked++;
                }
                node_touch(t, n); /* not again soon */
                n = next;
        }
        return asked;
}

/* Some are still there: in use when they were asked for, or so new that the kernel did not know the name yet. */
static void evict_again(struct timer *timer)
{
        struct bridge *b = CONTAINER_OF(timer, struct bridge, evict_timer);
        b->nodes.evict_round++;
        b->nodes.n_evicting = 0;
        if (evict_some(b) > 0)
                timer_start(b->config.loop, timer, EVICT_INTERVAL, evict_again);
}

void cache_evict(struct bridge *b)
{
        if (!is_over(b))
                return;
        (void)evict_some(b);
        if (!timer_running(&b->evict_timer))
                timer_start(b->config.loop, &b->evict_timer, EVICT_INTERVAL, evict_again);
}

/* ---- file capabilities ------------------------------------------------------------------------------------------- */

void cache_set_no_capability(struct bridge *b, struct node *n)
{
        n->no_capability_until = loop_now(b->config.loop) + timeout_of(b, b->config.attribute_timeout, b->nodes.clock);
}

bool cache_no_capability(const struct bridge *b, const struct node *n)
{
        return n->no_capability_until > loop_now(b->config.loop);
}
