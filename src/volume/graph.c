/* From a volfile to sub-volumes (graph.h; spec: wire.md §8.4).
 *
 * Two steps: a plan, in which every section that this client needs stands with what it makes of it, and the layers
 * built from the plan, bottom first. A reloaded volfile is compared plan with plan, so sections that are passed by may
 * come and go.
 *
 * Fails closed: a translator that is not in the table, or an option in the table of refused ones, ends it with a
 * sentence.
 */
#include "volume/graph.h"

#include "base/log.h"
#include "volfile/option.h"
#include "volume/remote.h"
#include "volume/translator.h"

#define PLAN_BYTES_MAX (64 * MIB)
#define ADVICE "Use the stock client for this volume."

/* ---- what there is --------------------------------------------------------------------------------------------- */

enum handling {
        BUILT,
        PASSED, /* only makes things faster, or counts */
        FIRST,  /* the same, over several sub-volumes of which the first one counts */
        UTIME,  /* passed by, and noted */
};

struct translator {
        const char *type;
        enum handling handling;
        translator_build_fn *build;
        bool leaf;
};

static const struct translator translators[] = {
        {"protocol/client", BUILT, remote_build, true},
        {"cluster/distribute", BUILT, dht_build},
        {"cluster/replicate", BUILT, afr_build},
        {"features/read-only", BUILT, read_only_build},
        {"features/utime", UTIME},
        {"features/snapview-client", FIRST},
        {"features/quiesce", PASSED},
        {"performance/write-behind", PASSED},
        {"performance/read-ahead", PASSED},
        {"performance/readdir-ahead", PASSED},
        {"performance/io-cache", PASSED},
        {"performance/quick-read", PASSED},
        {"performance/open-behind", PASSED},
        {"performance/md-cache", PASSED},
        {"performance/nl-cache", PASSED},
        {"performance/io-threads", PASSED},
        {"performance/symlink-cache", PASSED},
        {"debug/io-stats", PASSED, several_build},
        {"debug/trace", PASSED},
};

/* Why going on without one that is not there would do harm. */
static const struct {
        const char *type, *harm;
} harms[] = {
        {"features/shard", "files are stored in pieces, and written without it they would be corrupted"},
        {"cluster/disperse", "files are stored as fragments, and written without it they would be corrupted"},
        {"encryption/crypt", "files are stored encrypted, and written without it they would be corrupted"},
        {"features/cdc", "data is compressed on its way, and would be corrupted without it"},
        {"cluster/nufa", "files would be looked for and created on the wrong bricks"},
        {"cluster/switch", "files would be looked for and created on the wrong bricks"},
        {"cluster/stripe", "files are stored in stripes, and written without it they would be corrupted"},
        {"cluster/thin-arbiter", "without it both copies of a file could be changed apart from each other"},
        {"features/cloudsync", "files may lie elsewhere, and would read as empty"},
        {"features/worm", "files that must not change could be changed"},
        {"features/gfid-access", "names by gfid would not be found"},
};

/* Options that a section may not have, unless they say no. */
static const struct {
        const char *type, *option, *why;
} refused_options[] = {
        {"cluster/replicate", "thin-arbiter",
         "without the thin arbiter both copies of a file could be changed apart from each other"},
        {"cluster/replicate", "halo-enabled", "copies are chosen by their distance"},
};

static const struct translator *translator_of(const char *type)
{
        for (size_t i = 0; i < ELEMENTSOF(translators); i++)
                if (streq(translators[i].type, type))
                        return &translators[i];
        return NULL;
}

bool graph_knows(const char *type)
{
        return translator_of(type) != NULL;
}

/* ---- refusing -------------------------------------------------------------------------------------------------- */

static int refuse_translator(const struct volfile_section *s, struct error *err)
{
        for (size_t i = 0; i < ELEMENTSOF(harms); i++)
                if (streq(harms[i].type, s->type))
                        return error_set(err, -EOPNOTSUPP,
                                         "This client does not have the translator %s (section %s): %s. " ADVICE,
                                         s->type, s->name, harms[i].harm);
        return error_set(err, -EOPNOTSUPP, "This client does not have the translator %s (section %s). " ADVICE, s->type,
                         s->name);
}

static int check_options(const struct volfile_section *s, struct error *err)
{
        for (size_t i = 0; i < ELEMENTSOF(refused_options); i++) {
                const char *value =
                        streq(refused_options[i].type, s->type) ? section_option(s, refused_options[i].option) : NULL;
                bool on = true;
                if (!value || !*value || (option_bool(value, &on) == 0 && !on))
                        continue;
                return error_set(err, -EOPNOTSUPP,
                                 "This client does not have what option %s of section %s (%s) asks for: %s. " ADVICE,
                                 refused_options[i].option, s->name, s->type, refused_options[i].why);
        }
        return 0;
}

/* ---- the plan -------------------------------------------------------------------------------------------------- */

struct node {
        const struct volfile_section *section;
        const struct translator *translator;
        struct node **children;
        unsigned n_children;
        struct subvolume *built;
        bool kept;         /* BUILT is a brick of the graph in force, and goes on */
        struct node *next; /* in the order of the plan: parents first */
};

struct plan {
        struct arena arena;
        struct node *top, **tail, *first;
        unsigned n_nodes;
        bool utime, atime;
        struct error *err;
};

static void plan_done(struct plan *p)
{
        arena_done(&p->arena);
}

static int note_utime(struct plan *p, const struct volfile_section *s)
{
        bool noatime = true;
        int r = section_bool(s, "noatime", &noatime, p->err);
        p->utime = true;
        p->atime = !noatime;
        return r == -ENODATA ? 0 : r;
}

/* The section that counts, at S or below it: neither passed by nor noted. */
static int skip_passed(struct plan *p, const struct volfile_section *s, const struct volfile_section **ret_section,
                       const struct translator **ret_translator)
{
        for (;;) {
                const struct translator *t = translator_of(s->type);
                int r = 0;
                if (!t)
                        return refuse_translator(s, p->err);
                if (t->handling == UTIME)
                        r = note_utime(p, s);
                if (r < 0)
                        return r;
                if (t->handling == BUILT || (t->build && s->n_subvolumes > 1)) {
                        *ret_section = s;
                        *ret_translator = t;
                        return 0;
                }
                if (s->n_subvolumes < 1 || (t->handling != FIRST && s->n_subvolumes > 1))
                        return error_set(p->err, -EINVAL,
                                         "Section %s (%s) of the volfile has %zu sub-volumes instead of one.", s->name,
                                         s->type, s->n_subvolumes);
                s = s->subvolumes[0];
        }
}

static int check_shape(const struct node *n, struct error *err)
{
        const struct volfile_section *s = n->section;
        if (n->translator->leaf && s->n_subvolumes > 0)
                return error_set(err, -EINVAL, "Section %s (%s) of the volfile must not have sub-volumes.", s->name,
                                 s->type);
        if (!n->translator->leaf && s->n_subvolumes == 0)
                return error_set(err, -EINVAL, "Section %s (%s) of the volfile has no sub-volumes.", s->name, s->type);
        return check_options(s, err);
}

static struct node *node_add(struct plan *p)
{
        struct node *n = arena_alloc(&p->arena, sizeof *n);
        if (!n)
                return NULL;
        *p->tail = n;
        p->tail = &n->next;
        p->n_nodes++;
        return n;
}

static int plan_section(struct plan *p, const struct volfile_section *s, unsigned depth, struct node **ret)
{
        if (depth > GRAPH_DEPTH_MAX || p->n_nodes >= GRAPH_SUBVOLUMES_MAX)
                return error_set(p->err, -EINVAL, "The graph of the volfile is too large at section %s.", s->name);
        struct node *n = node_add(p);
        if (!n)
                return -ENOMEM;
        int r = skip_passed(p, s, &n->section, &n->translator);
        if (r == 0)
                r = check_shape(n, p->err);
        if (r < 0)
                return r;
        n->n_children = (unsigned)n->section->n_subvolumes;
        n->children = arena_alloc_array(&p->arena, n->n_children + 1, sizeof(struct node *));
        if (!n->children)
                return -ENOMEM;
        for (unsigned i = 0; r == 0 && i < n->n_children; i++)
                r = plan_section(p, n->section->subvolumes[i], depth + 1, &n->children[i]);
        if (r == 0)
                *ret = n;
        return r;
}

static int compare_pointers(const void *a, const void *b)
{
        uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
        return x < y ? -1 : x > y;
}

/* A layer has one parent. */
static int check_single_use(struct plan *p)
{
        const struct volfile_section **all = arena_alloc_array(&p->arena, p->n_nodes, sizeof(void *));
        size_t n = 0;
        if (!all)
                return -ENOMEM;
        for (const struct node *node = p->first; node; node = node->next)
                all[n++] = node->section;
        qsort(all, n, sizeof(void *), compare_pointers);
        for (size_t i = 1; i < n; i++)
                if (all[i] == all[i - 1])
                        return error_set(p->err, -EINVAL, "Section %s of the volfile is used twice.", all[i]->name);
        return 0;
}

static int plan_make(const struct volfile *volfile, struct plan *p, struct error *err)
{
        const struct volfile_section *top = volfile_top(volfile);
        *p = (struct plan){.arena = ARENA_INIT(PLAN_BYTES_MAX), .err = err};
        p->tail = &p->first;
        if (!top)
                return error_set(err, -EINVAL, "The volfile is empty.");
        int r = plan_section(p, top, 0, &p->top);
        if (r == 0)
                r = check_single_use(p);
        if (r == -ENOMEM)
                return error_set(err, r, "Not enough memory for the graph of the volfile.");
        return r;
}

/* ---- building -------------------------------------------------------------------------------------------------- */

void graph_free_layer(struct subvolume *v)
{
        struct subvolume **children = v->children;
        v->ops->free(v);
        free(children);
}

/* The brick of SECTION in the graph in force, if the plan does not have it yet. */
static struct subvolume *find_kept(const struct volume *vol, const struct plan *p, const struct volfile_section *section)
{
        struct subvolume *found = NULL;
        for (unsigned s = 0; s < vol->n_slots && !found; s++)
                if (vol->by_slot[s]->n_children == 0 && remote_is_at(vol->by_slot[s], section))
                        found = vol->by_slot[s];
        for (const struct node *n = p->first; n && found; n = n->next)
                if (n->built == found)
                        return NULL;
        return found;
}

/* A brick that stays is built all the same, to see whether its options can be. */
static bool keep_instead(const struct volume *vol, const struct plan *p, struct node *n, struct subvolume *fresh)
{
        struct subvolume *kept = n->translator->leaf ? find_kept(vol, p, n->section) : NULL;
        if (!kept)
                return false;
        fresh->ops->free(fresh);
        n->built = kept;
        n->kept = true;
        return true;
}

static int build_node(struct volume *vol, const struct plan *p, struct node *n, struct error *err)
{
        _cleanup_free_ struct subvolume **children = calloc(n->n_children + 1, sizeof *children);
        struct subvolume *v;
        if (!children)
                return -ENOMEM;
        for (unsigned i = 0; i < n->n_children; i++) {
                int r = build_node(vol, p, n->children[i], err);
                if (r < 0)
                        return r;
                children[i] = n->children[i]->built;
        }
        int r = n->translator->build(vol, n->section, children, n->n_children, &v, err);
        if (r < 0)
                return r;
        if (keep_instead(vol, p, n, v))
                return 0;
        if (!v->name)
                v->name = n->section->name;
        v->volume = vol;
        v->n_children = n->n_children;
        v->children = TAKE_PTR(children);
        n->built = v;
        return 0;
}

static void list_layers(struct graph *g, struct node *n)
{
        g->sections[g->n_slots] = n->section;
        g->by_slot[g->n_slots++] = n->built;
        for (unsigned i = 0; i < n->n_children; i++)
                list_layers(g, n->children[i]);
}

static int build_plan(struct volume *vol, struct plan *p, struct graph *ret, struct error *err)
{
        struct graph g = {.utime = p->utime, .atime = p->atime};
        int r = build_node(vol, p, p->top, err);
        if (r == 0) {
                g.by_slot = calloc(p->n_nodes, sizeof(struct subvolume *));
                g.sections = calloc(p->n_nodes, sizeof(struct volfile_section *));
                r = g.by_slot && g.sections ? 0 : -ENOMEM;
        }
        if (r == 0) {
                list_layers(&g, p->top);
                *ret = g;
                return 0;
        }
        for (struct node *n = p->first; n; n = n->next)
                if (n->built && !n->kept)
                        graph_free_layer(n->built);
        free(g.by_slot);
        free(g.sections);
        return r == -ENOMEM ? error_set(err, r, "Not enough memory for the graph of the volfile.") : r;
}

int graph_build(struct volume *vol, const struct volfile *volfile, struct graph *ret, struct error *err)
{
        _cleanup_(plan_done) struct plan p;
        int r = plan_make(volfile, &p, err);
        return r < 0 ? r : build_plan(vol, &p, ret, err);
}

/* Slots from the top down, leaves depth first. */
static void number_layers(struct volume *vol, struct subvolume *v, unsigned *slot, unsigned *leaf)
{
        v->slot = (*slot)++;
        v->leaf_first = *leaf;
        *leaf += v->n_children == 0;
        for (unsigned i = 0; i < v->n_children; i++) {
                v->children[i]->parent = v;
                number_layers(vol, v->children[i], slot, leaf);
        }
        v->n_leaves = *leaf - v->leaf_first;
}

void graph_install(struct volume *vol, struct graph *g)
{
        unsigned slot = 0, leaf = 0;
        free(vol->by_slot);
        free(g->sections);
        vol->by_slot = g->by_slot;
        vol->n_slots = g->n_slots;
        vol->top = g->by_slot[0];
        vol->utime = g->utime;
        vol->atime = g->atime;
        vol->graph++;
        vol->top->parent = NULL;
        number_layers(vol, vol->top, &slot, &leaf);
        *g = (struct graph){0};
}

void graph_free(struct volume *vol)
{
        vol->top = NULL;
        for (unsigned s = 0; s < vol->n_slots; s++)
                graph_free_layer(vol->by_slot[s]);
        free(vol->by_slot);
        vol->by_slot = NULL;
        vol->n_slots = 0;
}

/* ---- another volfile ------------------------------------------------------------------------------------------- */

static int compare_node(const struct subvolume *v, const struct node *n, struct error *err)
{
        if (!streq(v->name, n->section->name) || v->n_children != n->n_children)
                return error_set(
                        err, -EOPNOTSUPP,
                        "The volume has other bricks or sets than it had (%s where %s was).",
                        n->section->name, v->name);
        for (unsigned i = 0; i < v->n_children; i++) {
                int r = compare_node(v->children[i], n->children[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool same_options(const struct volfile_section *a, const struct volfile_section *b)
{
        if (a->n_options != b->n_options)
                return false;
        for (size_t i = 0; i < a->n_options; i++) {
                const char *other = section_option(b, a->options[i].key);
                if (!other || !streq(other, a->options[i].value))
                        return false;
        }
        return true;
}

/* Layer V gets what N has, if that differs from what it had. */
static int reconfigure_node(struct volume *vol, struct subvolume *v, const struct node *n, struct error *err)
{
        const struct volfile_section *had = volfile_find(vol->current ? vol->current : vol->volfile, v->name);
        int r = 0;
        if (had && !streq(had->type, n->section->type))
                return error_set(err, -EOPNOTSUPP,
                                 "Section %s is no longer of type %s.", v->name, had->type);
        if (v->ops->reconfigure && !(had && same_options(had, n->section)))
                r = v->ops->reconfigure(v, n->section, err);
        for (unsigned i = 0; r == 0 && i < v->n_children; i++)
                r = reconfigure_node(vol, v->children[i], n->children[i], err);
        return r;
}

/* V and what is below it get back what they had before reconfigure_node(). */
static void restore_node(struct volume *vol, struct subvolume *v, const struct node *n)
{
        const struct volfile_section *had = volfile_find(vol->current ? vol->current : vol->volfile, v->name);
        struct error err = {0};
        if (v->ops->reconfigure && had && !same_options(had, n->section) && v->ops->reconfigure(v, had, &err) < 0)
                log_error(v->name, "options cannot be taken back: %s", err.text);
        for (unsigned i = 0; i < v->n_children; i++)
                restore_node(vol, v->children[i], n->children[i]);
}

int graph_reconfigure(struct volume *vol, const struct volfile *volfile, struct error *err)
{
        _cleanup_(plan_done) struct plan p;
        int r = plan_make(volfile, &p, err);
        if (r == 0)
                r = compare_node(vol->top, p.top, err);
        if (r < 0)
                return r;
        r = reconfigure_node(vol, vol->top, p.top, err);
        if (r < 0) {
                restore_node(vol, vol->top, p.top);
                return r;
        }
        vol->utime = p.utime;
        vol->atime = p.atime;
        return 0;
}
