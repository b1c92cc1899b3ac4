/* `volume heal V info` and `statistics`, byte for byte as stock prints them (cli.md §12.2–§12.6). */
#include <time.h>

#include "cli/heal.h"

#define RULE "------------------------------------------------"
#define NOT_CONNECTED "Transport endpoint is not connected"

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
        return json_integer_value(json_object_get(o, key));
}

/* The brick of that name in what mortar-heal said; NULL: it does not know it. */
static const json_t *find_brick(const json_t *info, const char *name)
{
        const json_t *bricks = json_object_get(info, "bricks");
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *b = json_array_get(bricks, i);
                if (streq(text_of(b, "brick"), name))
                        return b;
        }
        return NULL;
}

static bool is_connected(const json_t *b)
{
        return json_is_true(json_object_get(b, "connected"));
}

static bool is_split(const json_t *entry)
{
        return streq(text_of(entry, "state"), "split-brain");
}

/* The path, or the gfid where none is known. */
static void entry_name(const json_t *entry, char *buf, size_t size)
{
        const char *path = json_string_value(json_object_get(entry, "path"));
        if (path)
                (void)snprintf(buf, size, "%s", path);
        else
                (void)snprintf(buf, size, "<gfid:%s>", text_of(entry, "gfid"));
}

/* ---- info as text ------------------------------------------------------------------------------------------------ */

static void print_entry(FILE *out, const json_t *entry, enum heal_view view)
{
        char name[8192];
        entry_name(entry, name, sizeof name);
        if (view == HEAL_SPLIT_BRAIN)
                (void)fprintf(out, "%s\n", name);
        else if (is_split(entry))
                (void)fprintf(out, "%s - Is in split-brain\n", name);
        else if (streq(text_of(entry, "state"), "healing"))
                (void)fprintf(out, "%s - Possibly undergoing heal\n", name);
        else
                (void)fprintf(out, "%s \n", name);
}

static void print_entries(FILE *out, const json_t *brick, enum heal_view view)
{
        const json_t *entries = json_object_get(brick, "entries");
        for (size_t i = 0; i < json_array_size(entries); i++) {
                const json_t *entry = json_array_get(entries, i);
                if (view == HEAL_INFO || is_split(entry))
                        print_entry(out, entry, view);
        }
}

/* "N", or "-" where nobody could count. */
static const char *count_text(const json_t *brick, const char *key, char buf[static 32])
{
        if (!is_connected(brick))
                return "-";
        (void)snprintf(buf, 32, "%" JSON_INTEGER_FORMAT, number_of(brick, key));
        return buf;
}

static void print_summary(FILE *out, const json_t *b)
{
        static const struct {
                const char *text, *key;
        } rows[] = {{"Total Number of entries", "total"},
                    {"Number of entries in heal pending", "pending"},
                    {"Number of entries in split-brain", "split_brain"},
                    {"Number of entries possibly healing", "healing"}};
        char n[32];
        for (size_t k = 0; k < ELEMENTSOF(rows); k++)
                (void)fprintf(out, "%s: %s\n", rows[k].text, count_text(b, rows[k].key, n));
}

static void print_brick(FILE *out, const json_t *b, const char *name, enum heal_view view)
{
        char n[32];
        (void)fprintf(out, "Brick %s\n", name);
        if (is_connected(b) && view != HEAL_SUMMARY)
                print_entries(out, b, view);
        (void)fprintf(out, "Status: %s\n", is_connected(b) ? "Connected" : NOT_CONNECTED);
        if (view == HEAL_SUMMARY)
                print_summary(out, b);
        else if (view == HEAL_INFO)
                (void)fprintf(out, "Number of entries: %s\n", count_text(b, "total", n));
        else
                (void)fprintf(out, "Number of entries in split-brain: %s\n", count_text(b, "split_brain", n));
        (void)fputc('\n', out);
}

void heal_print_info(FILE *out, const json_t *look, const json_t *info, enum heal_view view)
{
        const json_t *bricks = json_object_get(look, "bricks");
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const char *name = text_of(json_array_get(bricks, i), "name");
                print_brick(out, find_brick(info, name), name, view);
        }
}

/* ---- info as XML ------------------------------------------------------------------------------------------------- */

#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<cliOutput>\n  <healInfo>\n"

static void print_escaped(FILE *out, const char *s)
{
        for (; *s; s++) {
                if (*s == '&')
                        (void)fputs("&amp;", out);
                else if (*s == '<')
                        (void)fputs("&lt;", out);
                else if (*s == '>')
                        (void)fputs("&gt;", out);
                else if (*s == '"')
                        (void)fputs("&quot;", out);
                else if (*s == '\r')
                        (void)fputs("&#13;", out);
                else if ((unsigned char)*s < 0x20 && *s != '\n' && *s != '\t')
                        (void)fputc('?', out); /* there is no way to write it */
                else
                        (void)fputc(*s, out);
        }
}

static void print_xml_end(FILE *out, int op_ret, int op_errno, const char *why)
{
        (void)fprintf(out, "  </healInfo>\n  <opRet>%d</opRet>\n  <opErrno>%d</opErrno>\n", op_ret, op_errno);
        if (*why) {
                (void)fputs("  <opErrstr>", out);
                print_escaped(out, why);
                (void)fputs("</opErrstr>\n</cliOutput>\n", out);
        } else {
                (void)fputs("  <opErrstr/>\n</cliOutput>\n", out);
        }
}

void heal_print_failure_xml(FILE *out, int op_errno, const char *why)
{
        (void)fputs(XML_HEAD "    <bricks/>\n", out);
        print_xml_end(out, -1, op_errno, why);
}

static void print_xml_entries(FILE *out, const json_t *b, enum heal_view view)
{
        const json_t *entries = json_object_get(b, "entries");
        for (size_t i = 0; i < json_array_size(entries); i++) {
                const json_t *entry = json_array_get(entries, i);
                char name[8192];
                if (view == HEAL_SUMMARY || (view == HEAL_SPLIT_BRAIN && !is_split(entry)))
                        continue;
                entry_name(entry, name, sizeof name);
                (void)fprintf(out, "        <file gfid=\"%s\">", text_of(entry, "gfid"));
                print_escaped(out, name);
                (void)fputs("</file>\n", out);
        }
}

static void print_xml_counts(FILE *out, const json_t *b, enum heal_view view)
{
        static const struct {
                const char *element, *key;
        } rows[] = {{"totalNumberOfEntries", "total"},
                    {"numberOfEntriesInHealPending", "pending"},
                    {"numberOfEntriesInSplitBrain", "split_brain"},
                    {"numberOfEntriesPossiblyHealing", "healing"}};
        char n[32];
        if (view != HEAL_SUMMARY)
                (void)fprintf(out, "        <numberOfEntries>%s</numberOfEntries>\n",
                              count_text(b, view == HEAL_INFO ? "total" : "split_brain", n));
        for (size_t k = 0; k < ELEMENTSOF(rows) && view == HEAL_SUMMARY; k++)
                (void)fprintf(out, "        <%s>%s</%s>\n", rows[k].element, count_text(b, rows[k].key, n),
                              rows[k].element);
}

static void print_xml_brick(FILE *out, const json_t *known, const json_t *b, enum heal_view view)
{
        bool connected = is_connected(b);
        const char *uuid = *text_of(b, "uuid") ? text_of(b, "uuid") : text_of(known, "uuid");
        (void)fprintf(out, "      <brick hostUuid=\"%s\">\n        <name>", connected && *uuid ? uuid : "-");
        print_escaped(out, text_of(known, "name"));
        (void)fputs("</name>\n", out);
        if (connected)
                print_xml_entries(out, b, view);
        (void)fprintf(out, "        <status>%s</status>\n", connected ? "Connected" : NOT_CONNECTED);
        print_xml_counts(out, b, view);
        (void)fputs("      </brick>\n", out);
}

void heal_print_info_xml(FILE *out, const json_t *look, const json_t *info, enum heal_view view)
{
        const json_t *bricks = json_object_get(look, "bricks");
        (void)fputs(XML_HEAD "    <bricks>\n", out);
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *known = json_array_get(bricks, i);
                print_xml_brick(out, known, find_brick(info, text_of(known, "name")), view);
        }
        (void)fputs("    </bricks>\n", out);
        print_xml_end(out, 0, 0, "");
}

/* ---- statistics -------------------------------------------------------------------------------------------------- */

static size_t position_of(const json_t *bricks, const char *name)
{
        size_t i = 0;
        while (i < json_array_size(bricks) && !streq(text_of(json_array_get(bricks, i), "name"), name))
                i++;
        return i;
}

void heal_print_counts(FILE *out, const json_t *look, const json_t *info, const char *replica)
{
        const json_t *bricks = json_object_get(look, "bricks");
        size_t n = (size_t)MAX(number_of(look, "set_size"), (json_int_t)1), at = replica ? position_of(bricks, replica) : 0;
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const char *name = text_of(json_array_get(bricks, i), "name");
                const json_t *b = find_brick(info, name);
                if (replica && i / n != at / n)
                        continue;
                (void)fprintf(out, "\nBrick %s\n", name);
                if (is_connected(b))
                        (void)fprintf(out, "Number of entries: %" JSON_INTEGER_FORMAT "\n", number_of(b, "total"));
                else
                        (void)fputs("Status: Brick is not connected\nNo gathered input for this brick\n", out);
        }
}

static void print_time(FILE *out, const char *what, json_int_t seconds)
{
        char text[64];
        time_t t = (time_t)seconds;
        struct tm tm;
        if (!localtime_r(&t, &tm) || strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &tm) == 0)
                return;
        (void)fprintf(out, "%s: %s\n\n", what, text);
}

static void print_crawl(FILE *out, const json_t *c, bool done)
{
        (void)fputc('\n', out);
        print_time(out, "Starting time of crawl", number_of(c, "began"));
        if (done)
                print_time(out, "Ending time of crawl", number_of(c, "ended"));
        else
                (void)fputs("Crawl is in progress\n", out);
        (void)fprintf(out,
                      "Type of crawl: %s\nNo. of entries healed: %" JSON_INTEGER_FORMAT
                      "\nNo. of entries in split-brain: %" JSON_INTEGER_FORMAT
                      "\nNo. of heal failed entries: %" JSON_INTEGER_FORMAT "\n",
                      streq(text_of(c, "crawl"), "full") ? "FULL" : "INDEX", number_of(c, "healed"),
                      number_of(c, "split_brain"), number_of(c, "failed"));
}

static bool set_is_of(const json_t *set, const char *brick)
{
        const json_t *local = json_object_get(set, "local");
        for (size_t i = 0; i < json_array_size(local); i++) {
                if (streq(json_string_value(json_array_get(local, i)) ?: "", brick))
                        return true;
        }
        return false;
}

static void print_crawls(FILE *out, const json_t *set)
{
        const json_t *history = json_object_get(set, "history");
        for (size_t i = 0; i < json_array_size(history); i++)
                print_crawl(out, json_array_get(history, i), true);
        if (json_object_get(set, "crawl"))
                print_crawl(out, set, false);
}

void heal_print_statistics(FILE *out, const json_t *look)
{
        const json_t *bricks = json_object_get(look, "bricks");
        const json_t *sets = json_object_get(json_object_get(look, "healer"), "sets");
        for (size_t i = 0; i < json_array_size(bricks); i++) {
                const json_t *b = json_array_get(bricks, i);
                if (!json_is_true(json_object_get(b, "local")))
                        continue;
                (void)fprintf(out, RULE "\n\nCrawl statistics for brick no %zu\nHostname of brick %s\n", i,
                              text_of(b, "host"));
                for (size_t k = 0; k < json_array_size(sets); k++) {
                        if (set_is_of(json_array_get(sets, k), text_of(b, "name")))
                                print_crawls(out, json_array_get(sets, k));
                }
        }
}
