/* Inside the generator: a graph under construction, section by section from the bottom.
 *
 * Stock collects the options of a section in a dictionary and writes the newest first; a key set again keeps its place.
 * So a section is drafted in that order here and put into the volfile reversed. Failures stay in `error`: every step
 * after the first failure does nothing, and the caller looks once at the end. One thread.
 */
#pragma once

#include "volfile/generate.h"
#include "volfile/option.h"

enum { GRAPH_DRAFT_MAX = 192, GRAPH_OVERLAY_MAX = 8 };

enum graph_side { SIDE_CLIENT, SIDE_SHD, SIDE_BRICK };

/* A value that this kind of graph supplies: always, or only where nothing was set. */
struct overlay {
        const char *key;
        const char *value;
        bool always;
};

struct graph {
        const struct volume_spec *spec;
        enum graph_side side;
        bool with_credentials;
        const struct volume_brick *brick; /* that a template's %p, %h and %n mean; NULL where there is none */
        struct overlay overlays[GRAPH_OVERLAY_MAX];
        size_t n_overlays;
        struct volfile *volfile;
        struct volfile_section *top; /* the last finished section, NULL at first */
        struct volfile_option draft[GRAPH_DRAFT_MAX];
        size_t n_draft;
        int error;
};

/* When a fixed option is written. */
enum fixed_if { ALWAYS, IF_ARBITER, IF_DISPERSE, UNLESS_DISPERSE, IF_TRASH, IF_CREDENTIALS, IF_SHD };
enum fixed_place { BEFORE_TABLE, AFTER_TABLE };

/* An option that a section has besides those of the option table. KEY and VALUE are templates:
 * %p brick path, %h brick host, %n bricks on its file system, %v volume name, %i volume id, %u user, %w password,
 * %t transport, %r redundancy, %a arbiters, %q quota version. A value "=KEY" is the value in force of a volume option,
 * "?KEY" only a set one. An option whose value does not exist is left out. */
struct fixed_option {
        const char *type; /* of the section */
        const char *key;
        const char *value;
        enum fixed_if when;
        enum fixed_place place;
};

/* A kind of section in a stack of such: written when SWITCH (a volume option) is on, or always when that is NULL. */
struct layer {
        const char *suffix;
        const char *type;
        const char *option_switch;
};

int graph_init(struct graph *g, const struct volume_spec *spec, enum graph_side side, bool with_credentials);
void graph_done(struct graph *g);
void graph_overlay(struct graph *g, const char *key, const char *value, bool always);

/* Writes the finished graph to OUT and returns the first failure, with a sentence. */
int graph_finish(struct graph *g, struct buf *out, struct error *err);

/* What was set or is supplied by the graph; NULL for neither. */
const char *graph_set_value(const struct graph *g, const char *key);
/* The same, else the default. */
const char *graph_value(const struct graph *g, const char *key);
/* Truth of a switch. Texts that are no boolean count as on, as in stock. */
bool graph_is_on(const struct graph *g, const char *key);

/* Text kept as long as the graph; NULL after a failure. */
const char *graph_text(struct graph *g, const char *format, ...) _printf_(2, 3);

/* Sets an option of the draft: in place when the key is there, else as the newest. NULL as value: nothing. */
void draft_put(struct graph *g, const char *key, const char *value);

/* The fixed options for a section of TYPE at PLACE. */
void draft_fixed(struct graph *g, const struct fixed_option *table, size_t n, const char *type, enum fixed_place place);

/* Options of the table: those with a name in sections of TRANSLATOR, or the switches written there. */
void draft_table(struct graph *g, const char *translator);
void draft_switches(struct graph *g, const char *translator);

/* Makes a section of the draft, which becomes the top. NAME is complete. CHILDREN NULL: over the present top, if any.
 */
struct volfile_section *graph_section(struct graph *g, const char *name, const char *type,
                                      struct volfile_section *const *children, size_t n_children);
