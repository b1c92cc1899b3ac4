/* Building, searching and writing volfiles. The parser is in parse.c.
 *
 * All memory comes from the volfile's arena; arrays grow by doubling, the old ones stay in the arena until the end,
 * which costs at most as much again. Names are found by a hash table, so that many sections do not cost quadratic time.
 * Invariant: index_size is a power of two and at least twice n_sections, or 0.
 */
#include "volfile/volfile.h"

#include <fcntl.h>

#define VOLFILE_ARENA_MAX (8 * VOLFILE_TEXT_MAX)
#define PIECE (64 * KIB)

int volfile_read_file(const char *path, struct buf *out, struct error *err)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return error_set(err, -errno, "The volfile %s cannot be read: %s", path, strerror(errno));
        for (;;) {
                uint8_t *at = buf_extend(out, PIECE);
                if (!at)
                        return error_set(err, out->error, "The volfile %s is too large", path);
                ssize_t n = read(fd, at, PIECE);
                out->len -= PIECE - (n > 0 ? (size_t)n : 0);
                if (n < 0)
                        return error_set(err, -errno, "The volfile %s cannot be read: %s", path, strerror(errno));
                if (n == 0)
                        return 0;
        }
}

struct volfile *volfile_new(void)
{
        struct volfile *v = calloc(1, sizeof *v);
        if (v)
                v->arena = ARENA_INIT(VOLFILE_ARENA_MAX);
        return v;
}

struct volfile *volfile_free(struct volfile *v)
{
        if (!v)
                return NULL;
        arena_done(&v->arena);
        free(v);
        return NULL;
}

static uint32_t name_hash(const char *name)
{
        uint32_t h = 2166136261u;
        for (; *name; name++)
                h = (h ^ (uint8_t)*name) * 16777619u;
        return h;
}

/* The place of NAME in the table, or the free place where it belongs. The table must exist. */
static uint32_t *index_slot(const struct volfile *v, const char *name)
{
        size_t i = name_hash(name) & (v->index_size - 1);
        while (v->index[i] != 0 && !streq(v->sections[v->index[i] - 1]->name, name))
                i = (i + 1) & (v->index_size - 1);
        return &v->index[i];
}

static int index_grow(struct volfile *v)
{
        if (v->n_sections * 2 + 2 <= v->index_size)
                return 0;
        size_t size = MAX(v->index_size * 2, (size_t)16);
        uint32_t *table = arena_alloc_array(&v->arena, size, sizeof *table);
        if (!table)
                return -ENOMEM;
        v->index = table;
        v->index_size = size;
        for (size_t i = 0; i < v->n_sections; i++)
                *index_slot(v, v->sections[i]->name) = (uint32_t)i + 1;
        return 0;
}

/* Makes room for one more element of SIZE bytes in *ARRAY. */
static int array_grow(struct volfile *v, void **array, size_t used, size_t *room, size_t size)
{
        if (used < *room)
                return 0;
        size_t more = MAX(*room * 2, (size_t)4);
        void *bigger = arena_alloc_array(&v->arena, more, size);
        if (!bigger)
                return -ENOMEM;
        if (used > 0)
                memcpy(bigger, *array, used * size);
        *array = bigger;
        *room = more;
        return 0;
}

/* A word can be written and read back: quoting covers everything but a newline, and NUL ends a string. */
static int word_check(const char *word)
{
        size_t len = strlen(word);
        if (len > VOLFILE_WORD_MAX)
                return -E2BIG;
        return len == 0 || strchr(word, '\n') ? -EINVAL : 0;
}

static int word_copy(struct volfile *v, const char *word, const char **ret)
{
        int r = word_check(word);
        if (r < 0)
                return r;
        char *copy = arena_strndup(&v->arena, word, strlen(word));
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

struct volfile_section *volfile_find(const struct volfile *v, const char *name)
{
        if (v->index_size == 0)
                return NULL;
        uint32_t position = *index_slot(v, name);
        return position == 0 ? NULL : v->sections[position - 1];
}

struct volfile_section *volfile_top(const struct volfile *v)
{
        return v->n_sections == 0 ? NULL : v->sections[v->n_sections - 1];
}

int volfile_add(struct volfile *v, const char *name, const char *type, struct volfile_section **ret)
{
        if (v->n_sections >= VOLFILE_SECTIONS_MAX)
                return -E2BIG;
        if (volfile_find(v, name))
                return -EEXIST;
        struct volfile_section *s = arena_alloc(&v->arena, sizeof *s);
        if (!s)
                return -ENOMEM;
        int r = word_copy(v, name, &s->name);
        if (r >= 0)
                r = word_copy(v, type, &s->type);
        if (r >= 0)
                r = array_grow(v, (void **)&v->sections, v->n_sections, &v->sections_room, sizeof *v->sections);
        if (r >= 0)
                r = index_grow(v);
        if (r < 0)
                return r;

        uint32_t *slot = index_slot(v, s->name);
        v->sections[v->n_sections++] = s;
        *slot = (uint32_t)v->n_sections;
        *ret = s;
        return 0;
}

const char *section_option(const struct volfile_section *s, const char *key)
{
        for (size_t i = 0; i < s->n_options; i++)
                if (streq(s->options[i].key, key))
                        return s->options[i].value;
        return NULL;
}

/* Values may be empty: they are then written as "". */
static int value_copy(struct volfile *v, const char *value, const char **ret)
{
        if (*value)
                return word_copy(v, value, ret);
        *ret = "";
        return 0;
}

int section_add_option(struct volfile *v, struct volfile_section *s, const char *key, const char *value)
{
        if (s->n_options >= VOLFILE_OPTIONS_MAX)
                return -E2BIG;
        if (section_option(s, key))
                return -EEXIST;
        struct volfile_option option;
        int r = word_copy(v, key, &option.key);
        if (r >= 0)
                r = value_copy(v, value, &option.value);
        if (r >= 0)
                r = array_grow(v, (void **)&s->options, s->n_options, &s->options_room, sizeof *s->options);
        if (r < 0)
                return r;
        s->options[s->n_options++] = option;
        return 0;
}

int section_add_subvolume(struct volfile *v, struct volfile_section *s, const char *name)
{
        struct volfile_section *child = volfile_find(v, name);
        if (!child || child == s)
                return -ENOENT;
        if (s->n_subvolumes >= VOLFILE_SECTIONS_MAX)
                return -E2BIG;
        int r = array_grow(v, (void **)&s->subvolumes, s->n_subvolumes, &s->subvolumes_room, sizeof *s->subvolumes);
        if (r < 0)
                return r;
        s->subvolumes[s->n_subvolumes++] = child;
        return 0;
}

bool volfile_word_is_reserved(const char *word)
{
        static const char *const words[] = {"volume", "type", "option", "subvolumes", "end-volume"};
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (streq(word, words[i]))
                        return true;
        return false;
}

/* Words that the parser would not read back as they are: nothing at all, comments, blanks and marks, keywords. */
static bool word_needs_quotes(const char *word)
{
        return *word == '\0' || *word == '#' || strpbrk(word, " \t\r\"\\") || volfile_word_is_reserved(word);
}

static void word_format(const char *word, struct buf *out)
{
        if (!word_needs_quotes(word)) {
                (void)buf_append_str(out, word);
                return;
        }
        (void)buf_append_str(out, "\"");
        for (; *word; word++) {
                if (*word == '"' || *word == '\\')
                        (void)buf_append_str(out, "\\");
                (void)buf_append(out, word, 1);
        }
        (void)buf_append_str(out, "\"");
}

static void line_format(const char *lead, const char *word, struct buf *out)
{
        (void)buf_append_str(out, lead);
        word_format(word, out);
}

static void section_format(const struct volfile_section *s, struct buf *out)
{
        line_format("volume ", s->name, out);
        line_format("\n    type ", s->type, out);
        for (size_t i = 0; i < s->n_options; i++) {
                line_format("\n    option ", s->options[i].key, out);
                line_format(" ", s->options[i].value, out);
        }
        for (size_t i = 0; i < s->n_subvolumes; i++)
                line_format(i == 0 ? "\n    subvolumes " : " ", s->subvolumes[i]->name, out);
        (void)buf_append_str(out, "\nend-volume\n");
}

int volfile_format(const struct volfile *v, struct buf *out)
{
        for (size_t i = 0; i < v->n_sections; i++) {
                if (i > 0)
                        (void)buf_append_str(out, "\n");
                section_format(v->sections[i], out);
        }
        return out->error;
}
