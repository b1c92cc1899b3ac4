/* `volume heal V --watch`, `info --watch`: how far the healer is, until nothing is pending (cli/heal.h). */
#include <sys/ioctl.h>
#include <time.h>

#include "cli/heal.h"

#define INTERVAL_NS 300000000l
#define BAR 20
#define LINE_MAX_BYTES 1024

struct progress {
        double total, done, pending, left, bytes_per_second, eta;
        bool healing, known_eta;
        const json_t *error, *missing, *blocked;
};

static double number_of(const json_t *o, const char *key)
{
        return json_number_value(json_object_get(o, key));
}

static const char *text_of(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key)) ?: "?";
}

static void add_set(struct progress *p, const json_t *set)
{
        const json_t *eta = json_object_get(set, "eta_seconds"), *error = json_object_get(set, "last_error");
        bool healing = streq(text_of(set, "state"), "healing");
        p->healing |= healing;
        p->pending += number_of(set, "pending");
        p->left += number_of(set, "left");
        if (json_array_size(json_object_get(set, "waits_for")) > 0)
                p->missing = json_array_get(json_object_get(set, "waits_for"), 0);
        if (json_is_object(error) && (healing || number_of(set, "left") > 0))
                p->error = error;
        if (json_is_object(json_object_get(set, "blocked")))
                p->blocked = json_object_get(set, "blocked");
        if (!healing)
                return;
        p->total += number_of(set, "total");
        p->done += number_of(set, "done");
        p->bytes_per_second += number_of(set, "bytes_per_second");
        p->known_eta |= json_is_number(eta);
        p->eta = MAX(p->eta, json_number_value(eta));
}

/* Appends to BUF, as far as there is room. */
static void _printf_(3, 4) append(char *buf, size_t size, const char *format, ...)
{
        size_t n = strlen(buf);
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(buf + n, size - n, format, ap);
        va_end(ap);
}

static void append_progress(const struct progress *p, char *buf, size_t size)
{
        double part = p->total > 0 ? MIN(p->done / p->total, 1.0) : 0;
        unsigned seconds = (unsigned)MIN(p->eta, 1e6);
        char bar[BAR + 1];
        memset(bar, '.', BAR);
        memset(bar, '#', (size_t)(part * BAR));
        bar[BAR] = '\0';
        append(buf, size, "healing [%s] %.0f/%.0f objects, %.1f MiB/s", bar, p->done, MAX(p->total, p->done),
               p->bytes_per_second / (double)MIB);
        if (p->known_eta)
                append(buf, size, ", %02u:%02u left", seconds / 60, seconds % 60);
}

void heal_watch_line(const json_t *look, char *buf, size_t size, bool *ret_idle)
{
        const json_t *sets = json_object_get(json_object_get(look, "healer"), "sets");
        struct progress p = {0};
        size_t n = json_array_size(sets);
        for (size_t i = 0; i < n; i++)
                add_set(&p, json_array_get(sets, i));
        *ret_idle = n > 0 && !p.healing && !p.missing && p.pending + p.left == 0;
        (void)snprintf(buf, size, "%s: ", text_of(look, "name"));
        if (n == 0)
                append(buf, size, "%s",
                       json_string_value(json_object_get(look, "healer_error")) ?: "the self-heal daemon opens the volume");
        else if (p.healing)
                append_progress(&p, buf, size);
        else if (*ret_idle)
                append(buf, size, "nothing is pending");
        else
                append(buf, size, "%.0f pending, %.0f could not be healed", p.pending, p.left);
        if (p.missing)
                append(buf, size, "; waits for brick %s (%s)", text_of(p.missing, "brick"), text_of(p.missing, "reason"));
        const char *holder = json_string_value(json_object_get(p.blocked, "holder")) ?: "";
        if (p.blocked)
                append(buf, size, "; in use: gfid:%s (%s%s%s)", text_of(p.blocked, "gfid"), text_of(p.blocked, "why"),
                       *holder ? ": " : "", holder);
        if (p.error)
                append(buf, size, "; last error: gfid:%s: %s", text_of(p.error, "gfid"), text_of(p.error, "why"));
}

/* On a terminal one line that changes; else a line for each change. */
static void show(const char *line, char last[static LINE_MAX_BYTES], bool terminal)
{
        struct winsize w;
        if (streq(line, last))
                return;
        (void)snprintf(last, LINE_MAX_BYTES, "%s", line);
        if (!terminal)
                (void)printf("%s\n", line);
        else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
                (void)printf("\r\033[K%.*s", w.ws_col - 1, line);
        else
                (void)printf("\r\033[K%s", line);
        (void)fflush(stdout);
}

int heal_watch(const struct cli *cli, const char *volume)
{
        char last[LINE_MAX_BYTES] = "";
        bool terminal = isatty(STDOUT_FILENO) == 1, idle = false;
        while (!idle) {
                _cleanup_answer_ struct answer a = {0};
                char line[LINE_MAX_BYTES];
                int status = call_mortard(cli, json_pack("{s:s,s:s}", "command", "volume-heal-look", "volume", volume), &a);
                if (status != 0)
                        return status;
                if (!a.ok)
                        return answer_refused(cli, &a, "volume heal: ");
                if (!json_is_true(json_object_get(a.json, "started")) || !json_is_true(json_object_get(a.json, "enabled"))) {
                        (void)fprintf(stderr, "volume heal: %s: it is not started, or not healed: there is nothing to watch\n", volume);
                        return EXIT_FAILURE;
                }
                heal_watch_line(a.json, line, sizeof line, &idle);
                show(line, last, terminal);
                if (!idle)
                        (void)nanosleep(&(struct timespec){.tv_nsec = INTERVAL_NS}, NULL);
        }
        if (terminal)
                (void)putchar('\n');
        return EXIT_SUCCESS;
}
