/* Crawls: through the index of this node's bricks, or through everything (healer.h).
 *
 * Objects are healed while the listing goes on, at most `parallel` at a time, so a crawl needs the same little memory
 * however much there is to heal. New directories that a heal makes get into the index with it: so an index is crawled
 * again while that gets something done.
 */
#include "heal/healer.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "heal/position.h"

#define ROUNDS_MAX 10000u
#define DIRECTORIES_MAX (16u * 1024 * 1024)
#define XATTR_ARENA (1 * MIB)
#define LOCK_HOLDERS "mortar.lock-holders" /* an attribute of our bricks */
#define NOTE_INTERVAL (5 * NS_PER_SEC) /* between two notes of where a full crawl is */

struct crawler {
        struct heal_set *set;
        struct fibre_group group;
        int error; /* that ends the crawl */
        uint64_t progress;
        struct gfid index; /* being listed */
        unsigned child;
        /* A full crawl: */
        struct gfid directory;
        bool first; /* listing of this directory */
        struct gfid *stack;
        size_t n, cap;
        uint64_t noted; /* when its position was, last */
};

/* ---- this node's bricks ------------------------------------------------------------------------------------------ */

static int text_of(struct fibre *self, struct afr *a, struct arena *arena, unsigned child, const struct gfid *gfid,
                   const char *name, struct str *ret)
{
        struct request none = {.arena = arena}, r;
        const void *rep = NULL;
        const struct getxattr_fop_req q = {.gfid = *gfid, .name = str_of(name), .namelen = (uint32_t)strlen(name)};
        afr_heal_request(&none, &r);
        int result = afr_heal_call(self, a, &r, FOP_GETXATTR, &q, child, &rep);
        return result < 0 ? result : dict_get_str(&((const struct getxattr_fop_rep *)rep)->dict, arena, name, ret);
}

int crawl_root_text(struct fibre *self, struct afr *a, struct arena *arena, unsigned child, const char *name,
                    struct str *ret)
{
        const struct gfid root = GFID_ROOT;
        return text_of(self, a, arena, child, &root, name, ret);
}

/* The host in "<POSIX(/path):host:/path/x>". */
static bool is_path_of_host(const char *text, const char *host)
{
        const char *at = strstr(text, "):");
        size_t len = strlen(host);
        return at && strncmp(at + 2, host, len) == 0 && at[2 + len] == ':';
}

static bool is_local(struct fibre *self, struct heal_set *s, unsigned child)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(XATTR_ARENA);
        const struct healer_config *c = &s->healer->config;
        struct str text;
        char host[256] = "";
        if (c->all_bricks)
                return true;
        if (c->node_uuid)
                return crawl_root_text(self, s->afr, &arena, child, "trusted.glusterfs.node-uuid", &text) == 0 &&
                       strcasecmp(text.s, c->node_uuid) == 0;
        (void)gethostname(host, sizeof host - 1);
        return crawl_root_text(self, s->afr, &arena, child, "trusted.glusterfs.pathinfo", &text) == 0 &&
               is_path_of_host(text.s, host);
}

int crawl_find_local(struct fibre *self, struct heal_set *s)
{
        s->local = 0;
        AFR_EACH (i, afr_up(s->afr)) {
                if (is_local(self, s, i))
                        s->local |= AFR_BIT(i);
        }
        s->afr->local = s->healer->config.all_bricks || !s->local ? AFR_NO_CHILD : afr_next(s->local, 0);
        return 0;
}

/* ---- one object -------------------------------------------------------------------------------------------------- */

/* What was written is paid for with time, as the operator says. */
static uint64_t rate_pause(struct healer *h, uint64_t written, uint64_t now)
{
        if (h->config.rate == 0)
                return 0;
        h->allowed_at = MAX(h->allowed_at, now) + written * NS_PER_SEC / h->config.rate;
        return h->allowed_at - now;
}

/* After each step of a heal. */
static void on_progress(struct fibre *self, struct afr_heal_report *report)
{
        struct heal_current *c = report->arg;
        struct healer *h = c->set->healer;
        uint64_t written = report->bytes_written - c->bytes_before, now = loop_now(h->config.loop);
        c->bytes_before = report->bytes_written;
        c->set->totals.bytes += written;
        report->give_up = h->closing;
        if (h->closing)
                return;
        uint64_t pause = rate_pause(h, written, now);
        uint64_t busy = pace_step(&c->set->pace, &c->pace, now, report->bytes_done, report->bytes_written);
        if (MAX(pause, busy) == 0)
                return;
        fibre_sleep(self, MAX(pause, busy));
        c->pace.began = loop_now(h->config.loop);
}

static struct heal_current *take_slot(struct heal_set *s, const struct gfid *gfid)
{
        for (unsigned k = 0; k < HEALER_PARALLEL_MAX; k++) {
                struct heal_current *c = &s->current[k];
                if (c->used)
                        continue;
                *c = (struct heal_current){.set = s, .used = true, .gfid = *gfid};
                c->report = (struct afr_heal_report){.on_progress = on_progress, .arg = c};
                s->n_current++;
                return c;
        }
        return NULL;
}

static void give_slot(struct heal_current *c)
{
        c->used = false;
        c->set->n_current--;
}

/* Who is at the object, as one of our bricks says; stock's do not tell. */
static void find_holder(struct fibre *self, struct heal_set *s, const struct gfid *gfid, char *ret, size_t size)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(XATTR_ARENA);
        struct str text;
        *ret = '\0';
        AFR_EACH (i, afr_up(s->afr)) {
                if (text_of(self, s->afr, &arena, i, gfid, LOCK_HOLDERS, &text) < 0 || text.len == 0)
                        continue;
                (void)snprintf(ret, size, "%s", text.s);
                for (char *at = ret; *at; at++) /* clients choose their names */
                        *at = *at < ' ' || *at > '~' ? '?' : *at;
                return;
        }
}

static void note_blocked(struct fibre *self, struct heal_set *s, const struct heal_current *c)
{
        char holder[sizeof s->blocked.holder];
        find_holder(self, s, &c->gfid, holder, sizeof holder);
        s->blocked.any = true;
        memcpy(s->blocked.holder, holder, sizeof holder);
        s->blocked.gfid = c->gfid;
        memcpy(s->blocked.why, c->report.why, sizeof s->blocked.why);
}

static void note_error(struct heal_set *s, const struct heal_current *c, int error)
{
        s->last_error.error = error;
        s->last_error.gfid = c->gfid;
        s->last_error.time = loop_realtime(s->healer->config.loop);
        memcpy(s->last_error.why, c->report.why, sizeof s->last_error.why);
}

static void count_result(struct fibre *self, struct crawler *w, const struct heal_current *c, int result)
{
        struct heal_totals *t = &w->set->totals;
        const bool *healed = c->report.healed;
        bool any = healed[AFR_DATA] || healed[AFR_METADATA] || healed[AFR_ENTRY];
        t->names += c->report.names_done;
        w->progress += any || result == -ENOENT;
        t->healed += result == 0 && any;
        t->clean += result == 0 && !any;
        t->gone += result == -ENOENT;
        t->in_use += result == -EBUSY;
        t->later += result == -EAGAIN;
        t->split_brain += result == -EIO;
        if (result == 0 || result == -ENOENT)
                return;
        if (result == -ENOTCONN || result == -EINTR)
                w->error = result == -EINTR ? -ECANCELED : result;
        else if (result != -EBUSY && result != -EAGAIN && result != -EIO)
                t->failed++;
        if (result == -EBUSY)
                note_blocked(self, w->set, c);
        if (result != -EBUSY && result != -EINTR)
                note_error(w->set, c, result);
}

/* Heals the object. The result as of afr_heal(). */
static int heal_object(struct fibre *self, struct crawler *w, const struct gfid *gfid)
{
        struct heal_current *c = take_slot(w->set, gfid);
        if (!c)
                return -EBUSY;
        int result = afr_heal(self, w->set->afr, gfid, &c->report);
        on_progress(self, &c->report);
        count_result(self, w, c, result);
        w->set->done++;
        give_slot(c);
        return result;
}

/* Waits until one more may be begun. */
static int wait_turn(struct fibre *self, struct crawler *w)
{
        unsigned parallel = w->set->healer->parallel;
        while (w->group.running >= parallel)
                fibre_group_wait(self, &w->group, w->group.finished + 1);
        return w->set->healer->closing ? -ECANCELED : w->error;
}

struct job {
        struct crawler *crawler;
        unsigned child;
        struct gfid index, gfid;
        bool first;
        char name[NAME_LIMIT + 1];
};

static int start_job(struct fibre *self, struct crawler *w, const struct dirent_entry *entry, const struct gfid *gfid,
                     fibre_fn fn)
{
        int result = wait_turn(self, w);
        if (result < 0)
                return result;
        struct job *job = calloc(1, sizeof *job);
        if (!job)
                return -ENOMEM;
        *job = (struct job){.crawler = w, .child = w->child, .index = w->index, .gfid = *gfid, .first = w->first};
        memcpy(job->name, entry->name.s, MIN(entry->name.len, (uint32_t)NAME_LIMIT));
        int started = fibre_group_start(fibre_loop(self), &w->group, "heal object", fn, job);
        if (started < 0)
                free(job);
        return started;
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

static void index_job(struct fibre *self, void *arg)
{
        struct job *job = arg;
        struct crawler *w = job->crawler;
        if (heal_object(self, w, &job->gfid) == -ENOENT)
                (void)afr_index_remove(self, w->set->afr, job->child, &job->index, job->name);
        free(job);
}

static int index_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        struct gfid gfid;
        if (gfid_parse(entry->name.s, entry->name.len, &gfid) < 0)
                return 0;
        return start_job(self, arg, entry, &gfid, index_job);
}

static int crawl_one_index(struct fibre *self, struct crawler *w, unsigned child, enum afr_index which)
{
        struct afr *a = w->set->afr;
        w->child = child;
        int result = afr_index_gfid(self, a, child, which, &w->index);
        if (result == 0)
                result = afr_list(self, a, child, &w->index, index_entry, w);
        fibre_group_wait_all(self, &w->group);
        return result < 0 ? result : w->error;
}

static void count_work(struct fibre *self, struct heal_set *s)
{
        uint64_t n;
        s->total = s->done;
        AFR_EACH (i, s->local) {
                if (afr_index_count(self, s->afr, i, AFR_INDEX_PENDING, &n) == 0)
                        s->total += n;
                if (afr_index_count(self, s->afr, i, AFR_INDEX_DIRTY, &n) == 0)
                        s->total += n;
        }
}

static void forget_left(struct heal_totals *t)
{
        t->in_use = t->later = t->split_brain = t->failed = 0;
}

static int crawl_round(struct fibre *self, struct crawler *w)
{
        struct heal_set *s = w->set;
        int result = 0;
        count_work(self, s);
        forget_left(&s->totals);
        w->progress = 0;
        AFR_EACH (i, s->local) {
                if (result == 0)
                        result = crawl_one_index(self, w, i, AFR_INDEX_PENDING);
                if (result == 0)
                        result = crawl_one_index(self, w, i, AFR_INDEX_DIRTY);
        }
        AFR_EACH (i, s->local) {
                if (result == 0)
                        result = afr_heal_sweep(self, s->afr, i, NULL);
        }
        return result;
}

static int crawl_index(struct fibre *self, struct crawler *w)
{
        int result = 0;
        for (unsigned round = 0; round < ROUNDS_MAX && result == 0; round++) {
                result = crawl_round(self, w);
                if (w->progress == 0)
                        break;
        }
        return result;
}

/* ---- everything -------------------------------------------------------------------------------------------------- */

static int push(struct crawler *w, const struct gfid *gfid)
{
        if (w->n == w->cap) {
                size_t cap = MAX(w->cap * 2, (size_t)64);
                struct gfid *stack = cap <= DIRECTORIES_MAX ? realloc(w->stack, cap * sizeof *stack) : NULL;
                if (!stack)
                        return -ENOMEM;
                w->stack = stack;
                w->cap = cap;
        }
        w->stack[w->n++] = *gfid;
        return 0;
}

static void name_job(struct fibre *self, void *arg)
{
        struct job *job = arg;
        struct crawler *w = job->crawler;
        struct heal_set *s = w->set;
        struct afr_heal_found found;
        int result = afr_heal_name_look(self, s->afr, &job->gfid, job->name, &found);
        if (result == 0 && (job->first || found.changed)) {
                s->total++;
                w->progress += found.changed;
                (void)heal_object(self, w, &found.gfid);
                if (S_ISDIR(found.type) && push(w, &found.gfid) < 0)
                        w->error = -ENOMEM;
        } else if (result == -ENOTCONN) {
                w->error = result;
        } else if (result < 0 && result != -ENOENT) {
                s->totals.split_brain += result == -EIO;
                s->totals.failed += result != -EIO;
        }
        free(job);
}

static int directory_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        struct crawler *w = arg;
        const struct afr_options *o = &w->set->afr->options;
        bool hidden = str_is(entry->name, ".glusterfs") || str_is(entry->name, o->anonymous_name);
        if (entry->name.len > NAME_LIMIT || (gfid_is_root(&w->directory) && hidden))
                return 0;
        return start_job(self, w, entry, &w->directory, name_job);
}

static int crawl_directory(struct fibre *self, struct crawler *w)
{
        struct afr *a = w->set->afr;
        int result = 0;
        AFR_EACH (i, a->all) {
                w->first = i == 0;
                if (result == 0)
                        result = afr_list(self, a, i, &w->directory, directory_entry, w);
                fibre_group_wait_all(self, &w->group);
                if (result == -ENOENT || result == -ESTALE)
                        result = 0; /* removed meanwhile */
        }
        return result < 0 ? result : w->error;
}

/* An index does not name everything that could not be healed. */
static void keep_left(struct heal_totals *t, const struct heal_totals *full)
{
        t->in_use = MAX(t->in_use, full->in_use);
        t->split_brain = MAX(t->split_brain, full->split_brain);
        t->failed = MAX(t->failed, full->failed);
}

static struct position_owner owner_of(const struct heal_set *s)
{
        const char *dir = s->healer->config.state_dir;
        return (struct position_owner){.dir = dir, .set = s->afr->base.name, .volume = s->afr->options.anonymous_name};
}

/* Notes which directories are left: now and then, and when it is broken off. */
static void note_position(struct crawler *w, bool now)
{
        struct heal_set *s = w->set;
        const struct position_owner o = owner_of(s);
        uint64_t time = loop_now(s->healer->config.loop);
        if (!o.dir || (!now && time - w->noted < NOTE_INTERVAL))
                return;
        w->noted = time;
        const struct position p = {
                .total = s->total, .done = s->done, .healed = s->totals.healed, .directories = w->stack, .n = w->n};
        int r = position_save(&o, &p);
        if (r < 0)
                log_warning(s->afr->base.name, "where the full crawl is cannot be noted in %s: %s", o.dir, strerror(-r));
}

/* What a crawl that was broken off has left: true when there is something. */
static bool take_position(struct crawler *w)
{
        struct heal_set *s = w->set;
        const struct position_owner o = owner_of(s);
        struct position p;
        if (!o.dir || position_load(&o, &p) < 0)
                return false;
        for (size_t k = 0; k < p.n && w->error == 0; k++)
                w->error = push(w, &p.directories[k]);
        s->total = p.total;
        s->done = p.done;
        s->totals.healed = p.healed;
        log_notice(s->afr->base.name, "the full crawl goes on: %zu directories are left, %llu objects done", p.n,
                   (unsigned long long)p.done);
        position_done(&p);
        return true;
}

static int crawl_directories(struct fibre *self, struct crawler *w)
{
        int result = w->error;
        while (result == 0 && w->n > 0) {
                size_t before = w->n - 1;
                note_position(w, false);
                w->directory = w->stack[before];
                w->n = before;
                result = crawl_directory(self, w);
                if (result < 0) { /* looked through again, with what is below it */
                        w->n = before;
                        (void)push(w, &w->directory);
                        note_position(w, true);
                }
        }
        return result;
}

static int crawl_full(struct fibre *self, struct crawler *w)
{
        struct heal_set *s = w->set;
        const struct position_owner o = owner_of(s);
        struct gfid root = GFID_ROOT;
        w->noted = loop_now(s->healer->config.loop);
        if (!take_position(w)) {
                w->error = push(w, &root);
                s->total++;
                if (w->error == 0)
                        (void)heal_object(self, w, &root);
        }
        int result = crawl_directories(self, w);
        free(w->stack);
        s->unfinished = result < 0;
        if (result < 0)
                return result;
        if (o.dir)
                position_remove(&o);
        const struct heal_totals full = s->totals;
        result = crawl_index(self, w); /* what was made anew */
        keep_left(&s->totals, &full);
        return result;
}

bool crawl_is_unfinished(const struct heal_set *s)
{
        const struct position_owner o = owner_of(s);
        struct position p;
        if (!o.dir || position_load(&o, &p) < 0)
                return false;
        position_done(&p);
        return true;
}

static void add_totals(struct heal_totals *to, const struct heal_totals *t)
{
        to->healed += t->healed;
        to->clean += t->clean;
        to->gone += t->gone;
        to->failed += t->failed;
        to->bytes += t->bytes;
        to->names += t->names;
}

static void remember(struct heal_set *s, enum heal_kind kind, uint64_t began)
{
        s->past[s->crawls % HEAL_HISTORY_MAX] = (struct heal_past){
                .kind = kind, .began = began, .ended = loop_realtime(s->healer->config.loop), .totals = s->totals};
        s->crawls++;
        add_totals(&s->ever, &s->totals);
        s->totals_counted = true;
}

int crawl(struct fibre *self, struct heal_set *s, enum heal_kind kind)
{
        struct crawler w = {.set = s};
        uint64_t began = loop_realtime(s->healer->config.loop);
        s->crawling = kind;
        s->began = loop_now(s->healer->config.loop);
        s->began_real = began;
        s->total = s->done = 0;
        s->totals = (struct heal_totals){0};
        s->totals_counted = false;
        s->blocked.any = false;
        int result = afr_up(s->afr) == s->afr->all ? crawl_find_local(self, s) : -ENOTCONN;
        if (result == 0)
                result = kind == HEAL_FULL ? crawl_full(self, &w) : crawl_index(self, &w);
        s->left = s->totals.in_use + s->totals.later + s->totals.split_brain + s->totals.failed;
        s->left_split_brain = s->totals.split_brain;
        s->crawling = HEAL_NOTHING;
        remember(s, kind, began);
        return result;
}
