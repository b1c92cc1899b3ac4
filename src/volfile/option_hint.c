/* "Did you mean …?": the keys nearest to one that does not exist (cli.md 9.1). Pure functions, any thread.
 *
 * A key is taken as DOMAIN.WORD…; nearness is the number of characters to insert, remove or replace. Of words at the
 * same distance the first two of the alphabet are named.
 */
#include "volfile/option.h"

#include <stdio.h>

enum { HINT_WORD_MAX = 128 }; /* longer words are compared by their beginning */

struct span {
        const char *text;
        size_t len;
};

struct nearest {
        struct span best[2]; /* text NULL: none */
        unsigned distance;
};

static struct span span_cut(const char *text, char end)
{
        const char *stop = end ? strchr(text, end) : NULL;
        size_t len = stop ? (size_t)(stop - text) : strlen(text);
        return (struct span){text, MIN(len, (size_t)HINT_WORD_MAX)};
}

static int span_compare(struct span a, struct span b)
{
        int r = memcmp(a.text, b.text, MIN(a.len, b.len));
        return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

static unsigned edit_distance(struct span a, struct span b)
{
        unsigned row[HINT_WORD_MAX + 1];
        for (unsigned j = 0; j <= b.len; j++)
                row[j] = j;
        for (unsigned i = 1; i <= a.len; i++) {
                unsigned diagonal = row[0];
                row[0] = i;
                for (unsigned j = 1; j <= b.len; j++) {
                        unsigned above = row[j];
                        unsigned replace = diagonal + (a.text[i - 1] != b.text[j - 1]);
                        unsigned insert_or_remove = MIN(above, row[j - 1]) + 1;
                        row[j] = MIN(replace, insert_or_remove);
                        diagonal = above;
                }
        }
        return row[b.len];
}

static void nearest_add(struct nearest *n, struct span typed, struct span word)
{
        unsigned distance = edit_distance(typed, word);
        if (n->best[0].text && distance > n->distance)
                return;
        if (!n->best[0].text || distance < n->distance) {
                *n = (struct nearest){.best = {word}, .distance = distance};
                return;
        }
        int r = span_compare(word, n->best[0]);
        if (r < 0) {
                n->best[1] = n->best[0];
                n->best[0] = word;
        } else if (r > 0 && (!n->best[1].text || span_compare(word, n->best[1]) < 0)) {
                n->best[1] = word;
        }
}

static struct span nearest_domain(struct span typed)
{
        size_t count;
        const struct option *table = option_table(&count);
        struct nearest n = {0};
        for (size_t i = 0; i < count; i++)
                nearest_add(&n, typed, span_cut(table[i].key, '.'));
        return n.best[0];
}

/* Compares with the words after DOMAIN, or of all domains when its text is NULL. */
static struct nearest nearest_words(struct span domain, struct span typed)
{
        size_t count;
        const struct option *table = option_table(&count);
        struct nearest n = {0};
        for (size_t i = 0; i < count; i++) {
                struct span d = span_cut(table[i].key, '.');
                if (domain.text && span_compare(d, domain) != 0)
                        continue;
                nearest_add(&n, typed, span_cut(table[i].key + d.len + 1, '.'));
        }
        return n;
}

void option_hint(const char *typed, char *hint, size_t hint_size)
{
        const char *dot = strchr(typed, '.');
        struct span domain = {0};
        if (dot)
                domain = nearest_domain(span_cut(typed, '.'));
        struct nearest n = nearest_words(domain, span_cut(dot ? dot + 1 : typed, '\0'));

        int len = snprintf(hint, hint_size, "%.*s%s%.*s", (int)domain.len, domain.text ? domain.text : "",
                           dot ? "." : "", (int)n.best[0].len, n.best[0].text);
        if (len < 0 || (size_t)len >= hint_size || !n.best[1].text)
                return;
        (void)snprintf(hint + len, hint_size - (size_t)len, " or %s%.*s", dot ? "..." : "", (int)n.best[1].len,
                       n.best[1].text);
}
