/* Matching command words (cli.md §1.2): at each position an exact word wins, else the only one that it is a prefix of.
 */
#include "cli/cli.h"

/* Word I of a command: its start and length; false when there are fewer. */
static bool word_at(const char *words, int i, const char **ret, size_t *ret_len)
{
        for (; i > 0; i--) {
                words += strcspn(words, " ");
                if (!*words)
                        return false;
                words++;
        }
        *ret = words;
        *ret_len = strcspn(words, " ");
        return true;
}

/* The first I words of A and B are the same. */
static bool same_begin(const char *a, const char *b, int i)
{
        const char *wa, *wb;
        size_t na, nb;
        for (int k = 0; k < i; k++)
                if (!word_at(a, k, &wa, &na) || !word_at(b, k, &wb, &nb) || na != nb || memcmp(wa, wb, na) != 0)
                        return false;
        return true;
}

/* The command among those that begin like PREVIOUS (I words) whose word I is meant by W; NULL: none or several. */
static const struct command *match_at(const struct command *previous, int i, const char *w)
{
        size_t n, len;
        const struct command *table = command_table(&n), *found = NULL;
        for (size_t k = 0; k < n; k++) {
                const char *word, *other;
                size_t other_len;
                if ((previous && !same_begin(previous->words, table[k].words, i)) ||
                    !word_at(table[k].words, i, &word, &len))
                        continue;
                if (strncmp(word, w, strlen(w)) != 0 || strlen(w) > len)
                        continue;
                if (found && word_at(found->words, i, &other, &other_len) &&
                    (other_len != len || memcmp(other, word, len) != 0))
                        return NULL;
                found = &table[k];
        }
        return found;
}

/* An exact word later in the table wins over an ambiguity before it. */
static const struct command *match_exact(const struct command *previous, int i, const char *w)
{
        size_t n, len;
        const struct command *table = command_table(&n);
        for (size_t k = 0; k < n; k++) {
                const char *word;
                if ((previous && !same_begin(previous->words, table[k].words, i)) ||
                    !word_at(table[k].words, i, &word, &len))
                        continue;
                if (strlen(w) == len && memcmp(word, w, len) == 0)
                        return &table[k];
        }
        return NULL;
}

const struct command *words_match(char **words, int n, int *ret_used, int *ret_bad)
{
        const struct command *found = NULL;
        const char *more;
        size_t len;
        for (int i = 0; !found || word_at(found->words, i, &more, &len); i++) {
                if (i >= n) {
                        *ret_bad = n;
                        return NULL;
                }
                const struct command *next = match_exact(found, i, words[i]);
                if (!next)
                        next = words[i][0] ? match_at(found, i, words[i]) : NULL;
                if (!next) {
                        *ret_bad = i;
                        return NULL;
                }
                found = next;
                *ret_used = i + 1;
        }
        return found;
}
