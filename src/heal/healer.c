/* The healer of a volume: when there is work (healer.h).
 *
 * Invariant: a set's `crawled` holds the connections from before its last crawl, so a brick that came back during a
 * crawl starts another one.
 */
#include "heal/healer.h"

#include "base/log.h"
#include "volfile/option.h"

#define BACKOFF_MIN (2 * NS_PER_SEC)

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static unsigned count_sets(const struct subvolume *v)
{
        unsigned n = 0;
        if (afr_is(v))
                return 1;
        for (unsigned i = 0; i < v->n_children; i++)
                n += count_sets(v->children[i]);
        return n;
}

static void take_sets(struct healer *h, struct subvolume *v)
{
        if (afr_is(v)) {
                h->sets[h->n_sets++] = (struct heal_set){.healer = h, .afr = afr_of(v), .backoff = BACKOFF_MIN};
                return;
        }
        for (unsigned i = 0; i < v->n_children; i++)
                take_sets(h, v->children[i]);
}

/* What the volume's options say: the first set's section stands for all. */
static uint64_t option_number(const struct healer *h, const char *key, uint64_t otherwise)
{
        const struct volfile_section *s = volfile_find(h->config.volfile, h->sets[0].afr->base.name);
        const char *text = s ? section_option(s, key) : NULL;
        char *end = NULL;
        unsigned long long n = text ? strtoull(text, &end, 10) : 0;
        return text && end != text && !*end && n > 0 ? n : otherwise;
}

static bool is_disabled(const struct healer *h)
{
        const struct volfile_section *s = volfile_find(h->config.volfile, h->sets[0].afr->base.name);
        const char *text = s ? section_option(s, "self-heal-daemon") : NULL;
        bool on = true;
        return text && option_bool(text, &on) == 0 && !on;
}

/* How many objects at a time, how often: the command line's, else the volume's, else ours. */
static void take_options(struct healer *h)
{
        const struct healer_config *c = &h->config;
        uint64_t parallel = c->parallel ? c->parallel : option_number(h, "shd-max-threads", HEALER_PARALLEL_DEFAULT);
        uint64_t seconds = option_number(h, "heal-timeout", HEALER_INTERVAL_DEFAULT / NS_PER_SEC);
        h->parallel = (unsigned)MIN(parallel, (uint64_t)HEALER_PARALLEL_MAX);
        h->interval = c->interval ? c->interval : seconds * NS_PER_SEC;
}

void healer_reload(struct healer *h, const struct volfile *volfile)
{
        h->config.volfile = volfile;
        take_options(h);
        volume_poke(h->config.volume);
}

int healer_new(const struct healer_config *config, struct healer **ret, struct error *err)
{
        struct healer *h = calloc(1, sizeof *h);
        unsigned n = count_sets(volume_top(config->volume));
        if (!h)
                return error_set(err, -ENOMEM, "out of memory");
        h->config = *config;
        h->sets = calloc(n + 1, sizeof *h->sets);
        if (!h->sets || n == 0) {
                healer_free(h);
                return n == 0 ? error_set(err, -EINVAL, "Volume %s has no replica sets: there is nothing to heal.",
                                          config->name)
                              : error_set(err, -ENOMEM, "out of memory");
        }
        take_sets(h, volume_top(config->volume));
        take_options(h);
        for (unsigned k = 0; k < h->n_sets; k++)
                h->sets[k].unfinished = crawl_is_unfinished(&h->sets[k]);
        *ret = h;
        return 0;
}

struct healer *healer_free(struct healer *h)
{
        if (h)
                free(h->sets);
        free(h);
        return NULL;
}

/* ---- waiting for work -------------------------------------------------------------------------------------------- */

static bool is_whole(const struct heal_set *s)
{
        return afr_up(s->afr) == s->afr->all;
}

static enum heal_kind due(struct heal_set *s, uint64_t now)
{
        if (!is_whole(s))
                return HEAL_NOTHING;
        if (s->wanted != HEAL_NOTHING)
                return s->wanted;
        if (is_disabled(s->healer))
                return HEAL_NOTHING;
        if (s->unfinished && now >= s->next)
                return HEAL_FULL;
        if (!s->ever_crawled || afr_guard_lost(s->afr, &s->crawled) || now >= s->next)
                return HEAL_INDEX;
        return HEAL_NOTHING;
}

static enum heal_kind wait_for_work(struct fibre *self, struct heal_set *s)
{
        struct healer *h = s->healer;
        for (;;) {
                uint64_t now = loop_now(h->config.loop);
                enum heal_kind kind = due(s, now);
                if (kind != HEAL_NOTHING || h->closing)
                        return kind;
                volume_wait_change(self, h->config.volume,
                                   s->next > now && is_whole(s) ? s->next - now : h->interval);
        }
}

/* What could not be healed is tried again soon, then less and less often. */
static void plan_next(struct heal_set *s, int result)
{
        const struct healer *h = s->healer;
        uint64_t now = loop_now(h->config.loop);
        bool progress = s->totals.healed + s->totals.gone > 0;
        if (result == 0 && s->left == 0) {
                s->backoff = BACKOFF_MIN;
                s->next = now + h->interval;
                return;
        }
        s->backoff = progress ? BACKOFF_MIN : MIN(2 * s->backoff, h->interval);
        s->next = now + s->backoff;
}

static void run_crawl(struct fibre *self, struct heal_set *s, enum heal_kind kind)
{
        const struct heal_totals *t = &s->totals;
        s->wanted = HEAL_NOTHING;
        afr_guard_set(s->afr, &s->crawled);
        s->ever_crawled = true;
        int result = crawl(self, s, kind);
        plan_next(s, result);
        if (result == -ECANCELED)
                return;
        if (t->healed + t->gone + s->left > 0 || result < 0)
                log_info(s->afr->base.name,
                         "%s: %llu objects healed, %llu were gone; left: %llu in split-brain, %llu in use, %llu later, "
                         "%llu failed%s%s",
                         kind == HEAL_FULL ? "full crawl" : "crawl of the index", (unsigned long long)t->healed,
                         (unsigned long long)t->gone, (unsigned long long)t->split_brain, (unsigned long long)t->in_use,
                         (unsigned long long)t->later, (unsigned long long)t->failed, result < 0 ? "; ended: " : "",
                         result < 0 ? strerror(-result) : "");
}

static void set_fibre(struct fibre *self, void *arg)
{
        struct heal_set *s = arg;
        struct healer *h = s->healer;
        while (!h->closing) {
                enum heal_kind kind = wait_for_work(self, s);
                if (kind != HEAL_NOTHING && !h->closing)
                        run_crawl(self, s, kind);
        }
        h->running--;
        if (h->running == 0 && h->ended)
                fibre_event_set(h->ended);
}

int healer_start(struct healer *h)
{
        int r = 0;
        for (unsigned k = 0; k < h->n_sets && r == 0; k++) {
                r = fibre_start(h->config.loop, "heal set", set_fibre, &h->sets[k]);
                h->running += r == 0;
        }
        return r;
}

void healer_ask(struct healer *h, enum heal_kind kind)
{
        for (unsigned k = 0; k < h->n_sets; k++)
                h->sets[k].wanted = MAX(h->sets[k].wanted, kind);
        volume_poke(h->config.volume);
}

void healer_stop(struct fibre *self, struct healer *h)
{
        struct fibre_event ended = {0};
        h->closing = true;
        volume_poke(h->config.volume);
        h->ended = &ended;
        while (h->running > 0)
                (void)fibre_event_wait(self, &ended, UINT64_MAX);
        h->ended = NULL;
}

/* ---- once -------------------------------------------------------------------------------------------------------- */

struct once {
        struct heal_set *set;
        enum heal_kind kind;
        int result;
};

static void once_fibre(struct fibre *self, void *arg)
{
        struct once *o = arg;
        o->result = is_whole(o->set) ? crawl(self, o->set, o->kind) : -ENOTCONN;
}

int healer_once(struct fibre *self, struct healer *h, enum heal_kind kind, uint64_t *ret_left)
{
        struct fibre_group group = {0};
        struct once *all = calloc(h->n_sets, sizeof *all);
        uint64_t left = 0;
        int result = 0;
        if (!all)
                return -ENOMEM;
        for (unsigned k = 0; k < h->n_sets; k++) {
                all[k] = (struct once){.set = &h->sets[k], .kind = kind};
                int started = fibre_group_start(h->config.loop, &group, "heal set", once_fibre, &all[k]);
                if (started < 0)
                        all[k].result = started;
        }
        fibre_group_wait_all(self, &group);
        for (unsigned k = 0; k < h->n_sets; k++) {
                left += h->sets[k].left;
                if (all[k].result < 0)
                        result = all[k].result;
        }
        free(all);
        *ret_left = left;
        return result;
}
