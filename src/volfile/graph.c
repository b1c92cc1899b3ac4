/* A graph under construction; see graph.h for the rules and the template letters. One thread per graph. */
#include "volfile/graph.h"

#include <stdarg.h>
#include <stdio.h>

int graph_init(struct graph *g, const struct volume_spec *spec, enum graph_side side, bool with_credentials)
{
        *g = (struct graph){.spec = spec, .side = side, .with_credentials = with_credentials, .volfile = volfile_new()};
        g->error = g->volfile ? 0 : -ENOMEM;
        return g->error;
}

void graph_done(struct graph *g)
{
        g->volfile = volfile_free(g->volfile);
}

static void graph_fail(struct graph *g, int r)
{
        if (r < 0 && g->error == 0)
                g->error = r;
}

void graph_overlay(struct graph *g, const char *key, const char *value, bool always)
{
        if (g->n_overlays == GRAPH_OVERLAY_MAX)
                graph_fail(g, -E2BIG);
        else
                g->overlays[g->n_overlays++] = (struct overlay){key, value, always};
}

int graph_finish(struct graph *g, struct buf *out, struct error *err)
{
        if (g->error == 0)
                graph_fail(g, volfile_format(g->volfile, out));
        switch (g->error) {
        case 0:
                return 0;
        case -EEXIST:
                return error_set(err, -EINVAL, "volume %s: two sections of its volfile would have the same name",
                                 g->spec->name);
        case -E2BIG:
                return error_set(err, g->error, "volume %s: its volfile would be too large", g->spec->name);
        case -EINVAL:
                return error_set(err, g->error, "volume %s: a name or value cannot be written into a volfile",
                                 g->spec->name);
        default:
                return error_set(err, g->error, "volume %s: out of memory for its volfile", g->spec->name);
        }
}

static const char *setting_find(const struct volume_spec *spec, const char *key)
{
        for (size_t i = 0; i < spec->n_settings; i++)
                if (streq(spec->settings[i].key, key))
                        return spec->settings[i].value;
        return NULL;
}

static const char *overlay_find(const struct graph *g, const char *key, bool always)
{
        for (size_t i = 0; i < g->n_overlays; i++)
                if (g->overlays[i].always == always && streq(g->overlays[i].key, key))
                        return g->overlays[i].value;
        return NULL;
}

const char *volume_spec_value(const struct volume_spec *spec, const char *key)
{
        const char *value = setting_find(spec, key);
        if (value)
                return value;
        const struct option *o = option_find(key);
        return o ? o->default_value : NULL;
}

const char *graph_set_value(const struct graph *g, const char *key)
{
        const char *value = overlay_find(g, key, true);
        if (!value)
                value = setting_find(g->spec, key);
        return value ? value : overlay_find(g, key, false);
}

const char *graph_value(const struct graph *g, const char *key)
{
        const char *value = graph_set_value(g, key);
        return value ? value : volume_spec_value(g->spec, key);
}

bool graph_is_on(const struct graph *g, const char *key)
{
        const char *value = graph_value(g, key);
        bool on = value != NULL;
        if (value)
                (void)option_bool(value, &on);
        return on;
}

const char *graph_text(struct graph *g, const char *format, ...)
{
        if (g->error < 0)
                return NULL;
        va_list ap;
        va_start(ap, format);
        va_list again;
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        char *text = n < 0 ? NULL : arena_alloc(&g->volfile->arena, (size_t)n + 1);
        if (text)
                (void)vsnprintf(text, (size_t)n + 1, format, again);
        va_end(again);
        if (!text)
                graph_fail(g, -ENOMEM);
        return text;
}

void draft_put(struct graph *g, const char *key, const char *value)
{
        if (g->error < 0 || !key || !value)
                return;
        for (size_t i = 0; i < g->n_draft; i++) {
                if (streq(g->draft[i].key, key)) {
                        g->draft[i].value = value;
                        return;
                }
        }
        if (g->n_draft == GRAPH_DRAFT_MAX)
                graph_fail(g, -E2BIG);
        else
                g->draft[g->n_draft++] = (struct volfile_option){key, value};
}

static const char *template_number(char *room, size_t size, unsigned number)
{
        (void)snprintf(room, size, "%u", number);
        return room;
}

static const char *template_word(const struct graph *g, char letter, char *room, size_t size)
{
        static const char *const transports[] = {
                [TRANSPORT_TCP] = "tcp", [TRANSPORT_RDMA] = "rdma", [TRANSPORT_TCP_RDMA] = "tcp,rdma"};
        switch (letter) {
        case 'p':
                return g->brick->path;
        case 'h':
                return g->brick->host;
        case 'n':
                return template_number(room, size, g->brick->shared_brick_count);
        case 'v':
                return g->spec->name;
        case 'i':
                return g->spec->volume_id;
        case 'u':
                return g->spec->username;
        case 'w':
                return g->spec->password;
        case 't':
                return transports[g->spec->transport];
        case 'r':
                return template_number(room, size, g->spec->redundancy);
        case 'a':
                return template_number(room, size, g->spec->arbiter_count);
        case 'q':
                return template_number(room, size, g->spec->quota_version);
        default:
                return NULL;
        }
}

static const char *template_expand(struct graph *g, const char *template)
{
        char lone[16];
        if (!strchr(template, '%'))
                return template;
        if (template[0] == '%' && template[2] == '\0') {
                const char *word = template_word(g, template[1], lone, sizeof lone);
                return word ? graph_text(g, "%s", word) : NULL;
        }
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_WORD_MAX);
        for (const char *at = template; *at; at++) {
                char room[16];
                const char *word = *at == '%' ? template_word(g, *++at, room, sizeof room) : NULL;
                if (word)
                        (void)buf_append_str(&text, word);
                else
                        (void)buf_append(&text, at, 1);
        }
        const char *expanded = buf_cstr(&text);
        if (expanded)
                return graph_text(g, "%s", expanded);
        graph_fail(g, text.error);
        return NULL;
}

static const char *fixed_value(struct graph *g, const char *value)
{
        if (*value == '=')
                return graph_value(g, value + 1);
        if (*value == '?')
                return graph_set_value(g, value + 1);
        return template_expand(g, value);
}

static bool fixed_wanted(const struct graph *g, enum fixed_if when)
{
        switch (when) {
        case IF_ARBITER:
                return g->spec->arbiter_count > 0;
        case IF_DISPERSE:
                return g->spec->type == VOLUME_DISPERSE;
        case UNLESS_DISPERSE:
                return g->spec->type != VOLUME_DISPERSE;
        case IF_TRASH:
                return graph_is_on(g, "features.trash");
        case IF_CREDENTIALS:
                return g->with_credentials;
        case IF_SHD:
                return g->side == SIDE_SHD;
        case ALWAYS:
                break;
        }
        return true;
}

void draft_fixed(struct graph *g, const struct fixed_option *table, size_t n, const char *type, enum fixed_place place)
{
        for (const struct fixed_option *f = table; f < table + n; f++) {
                if (g->error < 0 || f->place != place || !streq(f->type, type) || !fixed_wanted(g, f->when))
                        continue;
                draft_put(g, template_expand(g, f->key), fixed_value(g, f->value));
        }
}

static bool place_is_here(const struct graph *g, enum option_place place)
{
        switch (place) {
        case IN_CLIENT:
                return g->side != SIDE_BRICK;
        case IN_BRICK:
                return g->side == SIDE_BRICK;
        case IN_BOTH:
                return true;
        case IN_SHD:
                return g->side == SIDE_SHD;
        case IN_NONE:
                break;
        }
        return false;
}

static const char *row_value(const struct graph *g, const struct option *o)
{
        const char *value = graph_set_value(g, o->key);
        return value || o->default_kind != DEFAULT_TABLE ? value : o->default_value;
}

/* Named options that stock writes only into sections that are not made here (thin arbiters). */
static bool row_is_foreign(const struct option *o)
{
        return streq(o->key, "client.ta-brick-port");
}

static bool row_wanted(const struct graph *g, const struct option *o)
{
        return o->name ? !row_is_foreign(o) : o->place == IN_SHD && place_is_here(g, o->place);
}

void draft_table(struct graph *g, const char *translator)
{
        size_t count;
        const struct option *table = option_table(&count);
        for (const struct option *o = table; o < table + count; o++)
                if (streq(o->translator, translator) && row_wanted(g, o))
                        draft_put(g, o->written, row_value(g, o));
}

void draft_switches(struct graph *g, const char *translator)
{
        size_t count;
        const struct option *table = option_table(&count);
        for (const struct option *o = table; o < table + count; o++)
                if (!o->name && streq(o->translator, translator) && place_is_here(g, o->place))
                        draft_put(g, o->written, row_value(g, o));
}

struct volfile_section *graph_section(struct graph *g, const char *name, const char *type,
                                      struct volfile_section *const *children, size_t n_children)
{
        struct volfile_section *s = NULL;
        if (g->error == 0)
                graph_fail(g, name ? volfile_add(g->volfile, name, type, &s) : -EINVAL);
        for (size_t i = g->n_draft; i > 0 && g->error == 0; i--)
                graph_fail(g, section_add_option(g->volfile, s, g->draft[i - 1].key, g->draft[i - 1].value));
        g->n_draft = 0;
        if (!children && g->top) {
                children = &g->top;
                n_children = 1;
        }
        for (size_t i = 0; i < n_children && g->error == 0; i++)
                graph_fail(g, section_add_subvolume(g->volfile, s, children[i]->name));
        if (g->error == 0)
                g->top = s;
        return g->error == 0 ? s : NULL;
}
