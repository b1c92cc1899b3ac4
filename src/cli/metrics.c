/* mortar metrics: the numbers of this node's bricks, as text for Prometheus or as they are (-o json).
 *
 * Names, kinds and help come from the table in brick/metrics.h; what the answer lacks is left out.
 */
#include "pool/metrics.h"

#include <inttypes.h>

#include "cli/cli.h"

struct metric {
        const char *key;
        enum metric_kind kind;
        const char *name, *help;
};

#define METRIC_ROW_(key, kind, name, help) {#key, METRIC_##kind, name, help},
static const struct metric brick_metrics[] = {BRICK_METRICS(METRIC_ROW_)};
static const struct metric heal_metrics[] = {HEAL_METRICS(METRIC_ROW_)};
static const struct metric process_metrics[] = {
        {"connections", METRIC_GAUGE, "mortar_process_connections", "Connections of clients to a brick process"},
        {"resident_bytes", METRIC_GAUGE, "mortar_process_resident_bytes", "Memory of a brick process"},
};

/* ---- one line ---------------------------------------------------------------------------------------------------- */

/* A label's value as Prometheus wants it. */
static void print_label(const char *key, const char *value)
{
        (void)printf("%s=\"", key);
        for (; *value; value++) {
                if (*value == '\n')
                        (void)fputs("\\n", stdout);
                else if (*value == '"' || *value == '\\')
                        (void)printf("\\%c", *value);
                else
                        (void)putchar(*value);
        }
        (void)putchar('"');
}

static void print_labels(const json_t *of)
{
        const char *volume = json_string_value(json_object_get(of, "volume"));
        const char *path = json_string_value(json_object_get(of, "path"));
        if (!path && volume) {
                print_label("volume", volume);
                return;
        }
        if (!path) {
                (void)printf("pid=\"%" JSON_INTEGER_FORMAT "\"", json_integer_value(json_object_get(of, "pid")));
                return;
        }
        print_label("volume", volume ? volume : "");
        (void)putchar(',');
        print_label("brick", path);
}

static void print_number(const struct metric *m, const json_t *of, const char *fop, json_int_t value)
{
        (void)printf("%s{", m->name);
        print_labels(of);
        if (fop)
                (void)printf(",fop=\"%s\"", fop);
        (void)printf("} %" JSON_INTEGER_FORMAT "\n", value);
}

/* ---- one metric -------------------------------------------------------------------------------------------------- */

static void print_bucket(const struct metric *m, const json_t *of, const char *fop, size_t bucket, json_int_t below)
{
        (void)printf("%s_bucket{", m->name);
        print_labels(of);
        if (bucket + 1 < METRIC_BUCKETS)
                (void)printf(",fop=\"%s\",le=\"%.10g\"", fop, (double)metric_bucket_bound_us((unsigned)bucket) / 1e6);
        else
                (void)printf(",fop=\"%s\",le=\"+Inf\"", fop);
        (void)printf("} %" JSON_INTEGER_FORMAT "\n", below);
}

static void print_histogram(const struct metric *m, const json_t *of, const char *fop, const json_t *histogram)
{
        const json_t *buckets = json_object_get(histogram, "buckets");
        json_int_t count = 0;
        for (size_t k = 0; k < METRIC_BUCKETS; k++) {
                count += json_integer_value(json_array_get(buckets, k));
                print_bucket(m, of, fop, k, count);
        }
        (void)printf("%s_sum{", m->name);
        print_labels(of);
        (void)printf(",fop=\"%s\"} %.9f\n%s_count{", fop, json_number_value(json_object_get(histogram, "seconds")),
                     m->name);
        print_labels(of);
        (void)printf(",fop=\"%s\"} %" JSON_INTEGER_FORMAT "\n", fop, count);
}

static void print_of(const struct metric *m, const json_t *of)
{
        json_t *value = json_object_get(of, m->key), *one;
        const char *fop;
        if (!value)
                return;
        switch (m->kind) {
        case METRIC_GAUGE:
        case METRIC_COUNTER:
                print_number(m, of, NULL, json_integer_value(value));
                break;
        case METRIC_FOP_COUNTER:
                json_object_foreach(value, fop, one)
                        print_number(m, of, fop, json_integer_value(one));
                break;
        case METRIC_FOP_HISTOGRAM:
                json_object_foreach(value, fop, one)
                        print_histogram(m, of, fop, one);
                break;
        }
}

static void print_metrics(const struct metric *v, size_t n, const json_t *list)
{
        static const char *const types[] = {
                [METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_FOP_COUNTER] = "counter", [METRIC_FOP_HISTOGRAM] = "histogram"};
        for (const struct metric *m = v; m < v + n; m++) {
                (void)printf("# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, types[m->kind]);
                for (size_t k = 0; k < json_array_size(list); k++)
                        print_of(m, json_array_get(list, k));
        }
}

int run_metrics(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        _cleanup_answer_ struct answer a = {0};
        (void)argv;
        if (argc > 0)
                return text_usage(command);
        int r = call_mortard(cli, json_pack("{s:s}", "command", "metrics"), &a);
        if (r != 0)
                return r;
        if (!a.ok)
                return answer_refused(cli, &a, "metrics: failed: ");
        if (cli->json)
                return text_json(a.json);
        print_metrics(brick_metrics, ELEMENTSOF(brick_metrics), json_object_get(a.json, "bricks"));
        print_metrics(heal_metrics, ELEMENTSOF(heal_metrics), json_object_get(a.json, "heal"));
        print_metrics(process_metrics, ELEMENTSOF(process_metrics), json_object_get(a.json, "processes"));
        return EXIT_SUCCESS;
}
