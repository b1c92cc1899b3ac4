/* What a healer tells about itself, and about what is to be healed, as JSON (healer.h).
 *
 * `status` is made from counters at once. `info` asks the bricks: it takes as long as they do, and is bounded by
 * INFO_ENTRIES_MAX names per brick; the count beside them is the whole.
 */
#include <jansson.h>
#include <sys/stat.h>

#include "heal/node.h"
#include "volume/remote.h"

#define INFO_ENTRIES_MAX 10000
#define PATH_ARENA (1 * MIB)

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

static json_t *brick_name(const struct healer *h, const struct subvolume *v)
{
        const struct volfile_section *s = volfile_find(h->config.volfile, v->name);
        const char *host = s ? section_option(s, "remote-host") : NULL,
                   *path = s ? section_option(s, "remote-subvolume") : NULL;
        return json_sprintf("%s:%s", host ? host : "?", path ? path : "?");
}

static json_t *blockers(const struct heal_set *s)
{
        json_t *list = json_array();
        AFR_EACH (i, s->afr->all & ~afr_up(s->afr)) {
                const struct subvolume *v = s->afr->base.children[i];
                json_array_append_new(list, json_pack("{s:o, s:s, s:s}", "brick", brick_name(s->healer, v), "client",
                                                      v->name, "reason", remote_reason(v)));
        }
        return list;
}

static json_t *gfid_json(const struct gfid *g)
{
        char text[GFID_TEXT_LEN + 1];
        return json_string(gfid_format(g, text));
}

/* ---- status ------------------------------------------------------------------------------------------------------ */

static const char *type_name(uint32_t type)
{
        if (type == 0)
                return "unknown";
        return S_ISDIR(type) ? "directory" : S_ISREG(type) ? "file" : S_ISLNK(type) ? "symlink" : "other";
}

static json_t *current_json(const struct heal_set *s)
{
        json_t *list = json_array();
        for (unsigned k = 0; k < HEALER_PARALLEL_MAX; k++) {
                const struct heal_current *c = &s->current[k];
                if (!c->used)
                        continue;
                json_array_append_new(list,
                                      json_pack("{s:o, s:s, s:I, s:I, s:I}", "gfid", gfid_json(&c->gfid), "type",
                                                type_name(c->report.type), "bytes_done",
                                                (json_int_t)c->report.bytes_done, "bytes", (json_int_t)c->report.bytes,
                                                "names_done", (json_int_t)c->report.names_done));
        }
        return list;
}

/* Objects done, with the parts of those under way. */
static double objects_done(const struct heal_set *s)
{
        double done = (double)s->done;
        for (unsigned k = 0; k < HEALER_PARALLEL_MAX; k++) {
                const struct heal_current *c = &s->current[k];
                if (c->used && c->report.bytes > 0)
                        done += (double)c->report.bytes_done / (double)c->report.bytes;
        }
        return done;
}

static void add_rates(const struct heal_set *s, json_t *o)
{
        uint64_t now = loop_now(s->healer->config.loop);
        double seconds = now > s->began ? (double)(now - s->began) / (double)NS_PER_SEC : 0, done = objects_done(s);
        double rate = seconds > 0 ? done / seconds : 0;
        json_object_set_new(o, "seconds", json_real(seconds));
        json_object_set_new(o, "objects_per_second", json_real(rate));
        json_object_set_new(o, "bytes_per_second", json_real(seconds > 0 ? (double)s->totals.bytes / seconds : 0));
        json_object_set_new(o, "eta_seconds",
                            rate > 0 && (double)s->total >= done ? json_real(((double)s->total - done) / rate)
                                                                 : json_null());
}

static json_t *error_json(const struct heal_set *s)
{
        if (s->last_error.error == 0)
                return json_null();
        return json_pack("{s:o, s:s, s:I}", "gfid", gfid_json(&s->last_error.gfid), "why", s->last_error.why, "time",
                         (json_int_t)(s->last_error.time / NS_PER_SEC));
}

/* Who is at the last object that was left to others. */
static json_t *blocked_json(const struct heal_set *s)
{
        if (!s->blocked.any)
                return json_null();
        return json_pack("{s:o, s:s, s:s}", "gfid", gfid_json(&s->blocked.gfid), "why", s->blocked.why, "holder",
                         s->blocked.holder);
}

static json_int_t seconds_of(uint64_t time)
{
        return (json_int_t)(time / NS_PER_SEC);
}

static json_t *past_json(const struct heal_past *p)
{
        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "crawl", p->kind == HEAL_FULL ? "full" : "index", "began",
                         seconds_of(p->began), "ended", seconds_of(p->ended), "healed", (json_int_t)p->totals.healed,
                         "split_brain", (json_int_t)p->totals.split_brain, "failed", (json_int_t)p->totals.failed);
}

static json_t *history_json(const struct heal_set *s)
{
        json_t *list = json_array();
        uint64_t first = s->crawls > HEAL_HISTORY_MAX ? s->crawls - HEAL_HISTORY_MAX : 0;
        for (uint64_t k = first; k < s->crawls; k++)
                json_array_append_new(list, past_json(&s->past[k % HEAL_HISTORY_MAX]));
        return list;
}

static json_t *local_json(const struct heal_set *s)
{
        json_t *list = json_array();
        AFR_EACH (i, s->local)
                json_array_append_new(list, brick_name(s->healer, s->afr->base.children[i]));
        return list;
}

/* Since the process began. */
static json_t *ever_json(const struct heal_set *s)
{
        const struct heal_totals none = {0}, *e = &s->ever, *t = s->totals_counted ? &none : &s->totals;
        return json_pack("{s:I, s:I, s:I, s:I}", "healed", (json_int_t)(e->healed + t->healed), "failed",
                         (json_int_t)(e->failed + t->failed), "bytes", (json_int_t)(e->bytes + t->bytes), "names",
                         (json_int_t)(e->names + t->names));
}

static void add_past(const struct heal_set *s, json_t *o)
{
        const struct heal_past *last = &s->past[(s->crawls + HEAL_HISTORY_MAX - 1) % HEAL_HISTORY_MAX];
        json_object_set_new(o, "last_crawl", s->crawls ? json_integer(seconds_of(last->ended)) : json_null());
        json_object_set_new(o, "pending", json_integer((json_int_t)s->pending));
        json_object_set_new(o, "left_split_brain", json_integer((json_int_t)s->left_split_brain));
        json_object_set_new(o, "local", local_json(s));
        json_object_set_new(o, "ever", ever_json(s));
        json_object_set_new(o, "history", history_json(s));
        json_object_set_new(o, "blocked", blocked_json(s));
        if (s->crawling != HEAL_NOTHING)
                json_object_set_new(o, "began", json_integer(seconds_of(s->began_real)));
}

static json_t *set_json(const struct heal_set *s)
{
        const struct heal_totals *t = &s->totals;
        bool whole = afr_up(s->afr) == s->afr->all;
        const char *state = s->crawling != HEAL_NOTHING ? "healing" : whole ? "idle" : "waiting";
        json_t *o = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I}", "name", s->afr->base.name, "state", state,
                              "waits_for", blockers(s), "crawls", (json_int_t)s->crawls, "total", (json_int_t)s->total,
                              "done", (json_int_t)s->done, "left", (json_int_t)s->left);
        if (s->crawling != HEAL_NOTHING)
                json_object_set_new(o, "crawl", json_string(s->crawling == HEAL_FULL ? "full" : "index"));
        const struct {
                const char *key;
                uint64_t value;
        } counters[] = {{"healed", t->healed}, {"clean", t->clean}, {"gone", t->gone},
                        {"in_use", t->in_use}, {"later", t->later}, {"split_brain", t->split_brain},
                        {"failed", t->failed}, {"bytes", t->bytes}, {"names", t->names}};
        for (size_t k = 0; k < ELEMENTSOF(counters); k++)
                json_object_set_new(o, counters[k].key, json_integer((json_int_t)counters[k].value));
        if (s->crawling != HEAL_NOTHING)
                add_rates(s, o);
        json_object_set_new(o, "current", current_json(s));
        json_object_set_new(o, "last_error", error_json(s));
        add_past(s, o);
        return o;
}

static int append_json(json_t *o, struct buf *out)
{
        char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
        json_decref(o);
        if (!text)
                return -ENOMEM;
        int r = buf_append_str(out, text);
        if (r >= 0)
                r = buf_append_str(out, "\n");
        free(text);
        return r < 0 ? r : 0;
}

void status_count(struct fibre *self, struct healer *h)
{
        for (unsigned k = 0; k < h->n_sets; k++) {
                struct heal_set *s = &h->sets[k];
                uint64_t sum = 0, n;
                if (!s->local)
                        (void)crawl_find_local(self, s);
                AFR_EACH (i, s->local & afr_up(s->afr)) {
                        if (afr_index_count(self, s->afr, i, AFR_INDEX_PENDING, &n) == 0)
                                sum += n;
                }
                s->pending = sum;
        }
}

int status_format(const struct healer *h, struct buf *out)
{
        json_t *sets = json_array();
        for (unsigned k = 0; k < h->n_sets; k++)
                json_array_append_new(sets, set_json(&h->sets[k]));
        return append_json(json_pack("{s:s, s:o}", "volume", h->config.name, "sets", sets), out);
}

int status_closed(const char *volume, const char *why, struct buf *out)
{
        return append_json(json_pack("{s:s, s:[], s:s}", "volume", volume, "sets", "reason", why), out);
}

int status_volumes(const struct heal_node *node, struct buf *out)
{
        json_t *list = json_array();
        for (const struct heal_volume *v = node->volumes; v; v = v->next) {
                if (!v->ending)
                        json_array_append_new(list, json_pack("{s:s, s:b}", "name", v->name, "open", v->healer != NULL));
        }
        return append_json(json_pack("{s:i, s:o}", "pid", (int)getpid(), "volumes", list), out);
}

/* ---- info -------------------------------------------------------------------------------------------------------- */

struct info {
        struct heal_set *set;
        unsigned child;
        json_t *entries;
        unsigned n[AFR_SPLIT_BRAIN + 1];
        unsigned total;
};

/* A path from the root, if the brick knows one. */
static json_t *path_json(struct fibre *self, struct afr *a, unsigned child, const struct gfid *gfid, uint32_t type)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(PATH_ARENA);
        struct request none = {.arena = &arena}, r;
        const char *name = S_ISDIR(type) ? "glusterfs.ancestry.path" : "glusterfs.gfidtopath";
        const void *rep = NULL;
        struct str text;
        if (gfid_is_root(gfid))
                return json_string("/");
        afr_heal_request(&none, &r);
        const struct getxattr_fop_req q = {.gfid = *gfid, .name = str_of(name), .namelen = (uint32_t)strlen(name)};
        if (afr_heal_call(self, a, &r, FOP_GETXATTR, &q, child, &rep) < 0 ||
            dict_get_str(&((const struct getxattr_fop_rep *)rep)->dict, &arena, name, &text) < 0)
                return json_null();
        json_t *o = json_string(text.s);
        return o ? o : json_null(); /* not UTF-8 */
}

static uint32_t type_on(struct fibre *self, struct afr *a, unsigned child, const struct gfid *gfid)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(PATH_ARENA);
        struct request none = {.arena = &arena}, r;
        const void *rep = NULL;
        afr_heal_request(&none, &r);
        const struct lookup_fop_req q = {.gfid = *gfid, .bname = STR("")};
        if (afr_heal_call(self, a, &r, FOP_LOOKUP, &q, child, &rep) < 0)
                return 0;
        return ((const struct lookup_fop_rep *)rep)->prestat.mode & S_IFMT;
}

static int info_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        static const char *const states[] = {[AFR_HEALTHY] = "healthy",
                                             [AFR_HEAL_PENDING] = "pending",
                                             [AFR_HEALING] = "healing",
                                             [AFR_SPLIT_BRAIN] = "split-brain"};
        struct info *x = arg;
        struct afr *a = x->set->afr;
        struct gfid gfid;
        enum afr_heal_state state = AFR_HEAL_PENDING; /* while not all bricks are there nobody can tell */
        if (gfid_parse(entry->name.s, entry->name.len, &gfid) < 0)
                return 0;
        if (afr_heal_look(self, a, &gfid, &state) == -ENOENT || state == AFR_HEALTHY)
                return 0;
        x->n[state]++;
        if (x->total++ >= INFO_ENTRIES_MAX)
                return 0;
        uint32_t type = type_on(self, a, x->child, &gfid);
        json_array_append_new(x->entries, json_pack("{s:o, s:o, s:s, s:s}", "gfid", gfid_json(&gfid), "path",
                                                    path_json(self, a, x->child, &gfid, type), "type", type_name(type),
                                                    "state", states[state]));
        return 0;
}

static int list_work(struct fibre *self, struct info *x)
{
        struct gfid index;
        int result = 0;
        for (unsigned which = AFR_INDEX_PENDING; which <= AFR_INDEX_DIRTY && result == 0; which++) {
                result = afr_index_gfid(self, x->set->afr, x->child, (enum afr_index)which, &index);
                if (result == 0)
                        result = afr_list(self, x->set->afr, x->child, &index, info_entry, x);
        }
        return result;
}

/* The node that the brick is on, as it says. */
static void add_uuid(struct fibre *self, struct afr *a, unsigned child, json_t *o)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(PATH_ARENA);
        struct str text;
        if (crawl_root_text(self, a, &arena, child, "trusted.glusterfs.node-uuid", &text) == 0)
                json_object_set_new(o, "uuid", json_string(text.s));
}

static json_t *brick_info(struct fibre *self, struct heal_set *s, unsigned child)
{
        const struct subvolume *v = s->afr->base.children[child];
        struct info x = {.set = s, .child = child, .entries = json_array()};
        int result = v->up ? list_work(self, &x) : -ENOTCONN;
        json_t *o = json_pack("{s:o, s:s, s:s, s:b, s:o}", "brick", brick_name(s->healer, v), "client", v->name, "set",
                              s->afr->base.name, "connected", v->up && result == 0, "entries", x.entries);
        if (result < 0) {
                json_object_set_new(o, "reason", json_string(v->up ? strerror(-result) : remote_reason(v)));
                return o;
        }
        add_uuid(self, s->afr, child, o);
        json_object_set_new(o, "total", json_integer(x.total));
        json_object_set_new(o, "pending", json_integer(x.n[AFR_HEAL_PENDING]));
        json_object_set_new(o, "healing", json_integer(x.n[AFR_HEALING]));
        json_object_set_new(o, "split_brain", json_integer(x.n[AFR_SPLIT_BRAIN]));
        return o;
}

int status_info(struct fibre *self, struct healer *h, struct buf *out)
{
        json_t *bricks = json_array();
        for (unsigned k = 0; k < h->n_sets; k++) {
                AFR_EACH (i, h->sets[k].afr->all) {
                        json_array_append_new(bricks, brick_info(self, &h->sets[k], i));
                }
        }
        return append_json(json_pack("{s:s, s:o}", "volume", h->config.name, "bricks", bricks), out);
}
