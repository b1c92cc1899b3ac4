/* A volfile: the text that describes a graph of sections, bottom first, as mortard hands it to bricks, clients and
 * healers.
 *
 *     volume NAME
 *         type KIND/WHAT
 *         option KEY VALUE            any number
 *         subvolumes NAME ...         sections defined above this one
 *     end-volume
 *
 * Grammar and meaning: docs/formats (wire.md 8.1). The last section is the top of the graph. Parsed text and text built
 * here obey the same rules: unique names, subvolumes defined before use, no option key twice in a section.
 * Everything hangs on the `struct volfile`; strings and sections live until volfile_free(). Not thread safe while being
 * built; read-only use from any thread.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#define VOLFILE_TEXT_MAX (16 * MIB) /* bytes of one volfile */
enum {
        VOLFILE_SECTIONS_MAX = 65536, /* sections of one volfile */
        VOLFILE_OPTIONS_MAX = 512,    /* options of one section */
        VOLFILE_WORD_MAX = 65536,     /* bytes of one name, key or value */
};

struct volfile_option {
        const char *key;
        const char *value;
};

struct volfile_section {
        const char *name;
        const char *type; /* e.g. "cluster/replicate" */
        struct volfile_option *options;
        size_t n_options;
        struct volfile_section **subvolumes; /* in the order of the text: it is the order of replicas and fragments */
        size_t n_subvolumes;
        size_t line; /* where the section begins in the parsed text; 0 for a built one */
        size_t options_room;
        size_t subvolumes_room;
};

struct volfile {
        struct arena arena;                /* owns all below */
        struct volfile_section **sections; /* definition order, bottom first */
        size_t n_sections;
        size_t sections_room;
        uint32_t *index; /* hash table of names: position + 1 in sections, 0 = free */
        size_t index_size;
};

/* An empty volfile to be filled by volfile_add(), NULL when out of memory. */
struct volfile *volfile_new(void);
struct volfile *volfile_free(struct volfile *v);
DEFINE_CLEANUP(struct volfile *, volfile_free)
#define _cleanup_volfile_ _cleanup_(volfile_freep)

/* Appends the file at PATH. 0, or -errno with a sentence; OUT's bound is that of the text. Blocks on the disk. */
int volfile_read_file(const char *path, struct buf *out, struct error *err);

/* Parses TEXT[0..LEN) (need not end in NUL). On failure -EINVAL (the text is wrong), -E2BIG (a bound of above) or
 * -ENOMEM, with a sentence naming the line in *err. Backquotes are ordinary characters: nothing is ever executed or
 * expanded. */
int volfile_parse(const char *text, size_t len, struct volfile **ret, struct error *err);

/* Appends the volfile as text: 4 blanks of indent, one blank line between sections, words quoted where they must be.
 * 0, or the error of the buffer. */
int volfile_format(const struct volfile *v, struct buf *out);

/* The section of that name, or NULL. */
struct volfile_section *volfile_find(const struct volfile *v, const char *name);

/* The top of the graph (last section), NULL for an empty volfile. */
struct volfile_section *volfile_top(const struct volfile *v);

/* Appends a section; strings are copied. -EEXIST for a name in use, -E2BIG, -ENOMEM, -EINVAL (empty or impossible
 * word). */
int volfile_add(struct volfile *v, const char *name, const char *type, struct volfile_section **ret);

/* Appends an option / a subvolume to a section of V; same errors. A subvolume must be a section of V added before
 * (-ENOENT). */
int section_add_option(struct volfile *v, struct volfile_section *s, const char *key, const char *value);
int section_add_subvolume(struct volfile *v, struct volfile_section *s, const char *name);

/* Words of the grammar, which stand for something else only inside quotes. */
bool volfile_word_is_reserved(const char *word);

/* The text of an option, NULL when the section does not have it. */
const char *section_option(const struct volfile_section *s, const char *key);
