/* Reading the text of a volfile: words, then sections.
 *
 * The text comes from another machine: every length is bounded, nothing in it is expanded or executed. Works on a
 * borrowed text of known length without a NUL; words are copied into the volfile. Any thread.
 *
 * A word is a run of characters up to a blank, or a quoted string in which a backslash takes the next character
 * literally. Newlines are blanks, except inside quotes, where they are refused. '#' begins a comment where a word could
 * begin.
 */
#include "volfile/volfile.h"

struct parser {
        const char *at;
        const char *end;
        size_t line;
        size_t word_line; /* where the word in `word` began */
        struct buf word;
        bool quoted; /* the word was quoted, so it is no keyword */
        struct volfile *volfile;
        struct error *err;
};

static void parser_done(struct parser *p)
{
        buf_done(&p->word);
}

enum { WORD_END = 0, WORD_READ = 1 };

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct parser *p)
{
        bool comment = false;
        for (; p->at < p->end; p->at++) {
                if (*p->at == '\n') {
                        comment = false;
                        p->line++;
                } else if (*p->at == '#') {
                        comment = true;
                } else if (!comment && !is_blank(*p->at)) {
                        return;
                }
        }
}

static int read_quoted(struct parser *p)
{
        for (p->at++; p->at < p->end && *p->at != '\n'; p->at++) {
                if (*p->at == '"') {
                        p->at++;
                        return 0;
                }
                if (*p->at == '\\' && ++p->at == p->end)
                        break;
                if (*p->at == '\n')
                        break;
                (void)buf_append(&p->word, p->at, 1);
        }
        return error_set(p->err, -EINVAL, "line %zu: a quoted word does not end on its line", p->word_line);
}

static int read_plain(struct parser *p)
{
        const char *begin = p->at;
        while (p->at < p->end && !is_blank(*p->at) && *p->at != '"' && *p->at != '\\')
                p->at++;
        if (p->at < p->end && (*p->at == '"' || *p->at == '\\'))
                return error_set(p->err, -EINVAL, "line %zu: unexpected %c inside a word", p->word_line, *p->at);
        (void)buf_append(&p->word, begin, (size_t)(p->at - begin));
        return 0;
}

/* The next word into p->word, with a NUL behind it. WORD_READ, WORD_END at the end of the text, or -errno. */
static int read_word(struct parser *p)
{
        skip_blanks(p);
        buf_reset(&p->word, VOLFILE_WORD_MAX);
        p->word_line = p->line;
        if (p->at == p->end)
                return WORD_END;
        p->quoted = *p->at == '"';
        int r = p->quoted ? read_quoted(p) : read_plain(p);
        if (r < 0)
                return r;
        if (p->word.error == -E2BIG || p->word.len > VOLFILE_WORD_MAX)
                return error_set(p->err, -E2BIG, "line %zu: a word is longer than %d bytes", p->word_line,
                                 VOLFILE_WORD_MAX);
        if (p->word.error < 0)
                return error_set(p->err, p->word.error, "line %zu: out of memory", p->word_line);
        if (p->word.len > 0 && memchr(p->word.data, '\0', p->word.len))
                return error_set(p->err, -EINVAL, "line %zu: a word contains a NUL byte", p->word_line);
        return buf_cstr(&p->word) ? WORD_READ : error_set(p->err, -ENOMEM, "line %zu: out of memory", p->word_line);
}

static const char *word_text(struct parser *p)
{
        return buf_cstr(&p->word);
}

static bool word_is(struct parser *p, const char *keyword)
{
        return !p->quoted && streq(word_text(p), keyword);
}

static bool word_is_reserved(struct parser *p)
{
        return !p->quoted && volfile_word_is_reserved(word_text(p));
}

/* The next word, which must be there; WHAT says in the error what was expected. */
static int need_word(struct parser *p, const char *what)
{
        int r = read_word(p);
        if (r < 0)
                return r;
        if (r == WORD_END)
                return error_set(p->err, -EINVAL, "line %zu: the text ends where %s should be", p->word_line, what);
        return 0;
}

/* The same for names, keys and values: a reserved word there means that something was left out. */
static int need_name(struct parser *p, const char *what)
{
        int r = need_word(p, what);
        if (r < 0)
                return r;
        if (word_is_reserved(p))
                return error_set(p->err, -EINVAL, "line %zu: \"%s\" where %s should be", p->word_line, word_text(p),
                                 what);
        return 0;
}

static int need_keyword(struct parser *p, const char *keyword)
{
        int r = need_word(p, keyword);
        if (r < 0)
                return r;
        if (!word_is(p, keyword))
                return error_set(p->err, -EINVAL, "line %zu: \"%.64s\" where \"%s\" should be", p->word_line,
                                 word_text(p), keyword);
        return 0;
}

static char *word_keep(struct parser *p)
{
        return arena_strndup(&p->volfile->arena, p->word.data, p->word.len);
}

static int section_failed(struct parser *p, const char *name, int r)
{
        switch (r) {
        case -EEXIST:
                return error_set(p->err, -EINVAL, "line %zu: section \"%.64s\" is defined a second time", p->word_line,
                                 name);
        case -E2BIG:
                return error_set(p->err, r, "line %zu: more than %d sections", p->word_line, VOLFILE_SECTIONS_MAX);
        case -EINVAL:
                return error_set(p->err, r, "line %zu: a section has an empty name or type", p->word_line);
        default:
                return error_set(p->err, r, "line %zu: out of memory", p->word_line);
        }
}

static int parse_option(struct parser *p, struct volfile_section *s)
{
        int r = need_name(p, "the key of an option");
        if (r < 0)
                return r;
        const char *key = word_keep(p);
        r = need_name(p, "the value of an option");
        if (r < 0)
                return r;
        r = key ? section_add_option(p->volfile, s, key, word_text(p)) : -ENOMEM;
        switch (r) {
        case 0:
                return 0;
        case -EEXIST:
                return error_set(p->err, -EINVAL, "line %zu: option \"%.64s\" is repeated in section \"%.64s\"",
                                 p->word_line, key, s->name);
        case -E2BIG:
                return error_set(p->err, r, "line %zu: section \"%.64s\" has more than %d options", p->word_line,
                                 s->name, VOLFILE_OPTIONS_MAX);
        case -EINVAL:
                return error_set(p->err, r, "line %zu: an option has an empty key", p->word_line);
        default:
                return error_set(p->err, r, "line %zu: out of memory", p->word_line);
        }
}

/* Reads names up to the next keyword, which stays in p->word. */
static int parse_subvolumes(struct parser *p, struct volfile_section *s)
{
        if (s->n_subvolumes > 0)
                return error_set(p->err, -EINVAL, "line %zu: section \"%.64s\" has a second \"subvolumes\"",
                                 p->word_line, s->name);
        int r = need_name(p, "the name of a subvolume");
        while (r >= 0 && !word_is_reserved(p)) {
                r = section_add_subvolume(p->volfile, s, word_text(p));
                if (r == -ENOENT)
                        return error_set(p->err, -EINVAL,
                                         "line %zu: subvolume \"%.64s\" of \"%.64s\" is not defined above it",
                                         p->word_line, word_text(p), s->name);
                if (r < 0)
                        return error_set(p->err, r, "line %zu: too many subvolumes of \"%.64s\"", p->word_line,
                                         s->name);
                r = need_word(p, "end-volume");
        }
        return r;
}

/* What stands between the type and end-volume. */
static int parse_body(struct parser *p, struct volfile_section *s)
{
        int r = need_word(p, "end-volume");
        while (r >= 0 && !word_is(p, "end-volume")) {
                if (word_is(p, "option")) {
                        r = parse_option(p, s);
                        if (r >= 0)
                                r = need_word(p, "end-volume");
                } else if (word_is(p, "subvolumes")) {
                        r = parse_subvolumes(p, s);
                } else {
                        r = error_set(p->err, -EINVAL,
                                      "line %zu: \"%.64s\" in section \"%.64s\", where only option, "
                                      "subvolumes or end-volume can be",
                                      p->word_line, word_text(p), s->name);
                }
        }
        return r;
}

/* One section; the word "volume" was just read. */
static int parse_section(struct parser *p)
{
        size_t line = p->word_line;
        int r = need_name(p, "the name of a section");
        if (r < 0)
                return r;
        const char *name = word_keep(p);
        if (!name)
                return error_set(p->err, -ENOMEM, "line %zu: out of memory", p->word_line);
        r = need_keyword(p, "type");
        if (r >= 0)
                r = need_name(p, "the type of a section");
        if (r < 0)
                return r;
        struct volfile_section *s;
        r = volfile_add(p->volfile, name, word_text(p), &s);
        if (r < 0)
                return section_failed(p, name, r);
        s->line = line;
        return parse_body(p, s);
}

static int parse_sections(struct parser *p)
{
        for (;;) {
                int r = read_word(p);
                if (r < 0)
                        return r;
                if (r == WORD_END)
                        break;
                if (!word_is(p, "volume"))
                        return error_set(p->err, -EINVAL, "line %zu: \"%.64s\" where \"volume\" should be",
                                         p->word_line, word_text(p));
                r = parse_section(p);
                if (r < 0)
                        return r;
        }
        if (p->volfile->n_sections == 0)
                return error_set(p->err, -EINVAL, "the volfile has no section");
        return 0;
}

int volfile_parse(const char *text, size_t len, struct volfile **ret, struct error *err)
{
        if (len > VOLFILE_TEXT_MAX)
                return error_set(err, -E2BIG, "the volfile has %zu bytes, more than %llu", len, VOLFILE_TEXT_MAX);
        _cleanup_volfile_ struct volfile *v = volfile_new();
        if (!v)
                return error_set(err, -ENOMEM, "out of memory");

        _cleanup_(parser_done) struct parser p = {
                .at = text,
                .end = text + len,
                .line = 1,
                .word = BUF_INIT(VOLFILE_WORD_MAX + 2),
                .volfile = v,
                .err = err,
        };
        int r = parse_sections(&p);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}
