/* JSON about bricks (report.h). Only numbers that are counted anyway: no disk is touched, and no lock is held for long. */
#include "brick/report.h"

#include <stdio.h>

#include "brick/server.h"
#include "proto/fop.h"

static void json_text(struct buf *b, const char *s)
{
        (void)buf_append(b, "\"", 1);
        for (; *s; s++) {
                unsigned char ch = (unsigned char)*s;
                if (ch == '"' || ch == '\\')
                        (void)buf_printf(b, "\\%c", ch);
                else if (ch < 0x20)
                        (void)buf_printf(b, "\\u%04x", ch);
                else
                        (void)buf_append(b, &ch, 1);
        }
        (void)buf_append(b, "\"", 1);
}

static const char *export_trouble(const struct export *x)
{
        switch (x->state) {
        case EXPORT_OPENING:
                return "being opened";
        case EXPORT_DOWN:
                return x->reason;
        case EXPORT_CLOSING:
                return "being closed";
        case EXPORT_UP:
                break;
        }
        return x->drain ? "being stopped" : "";
}

static void describe_status(struct export *x, struct buf *b)
{
        char id[GFID_TEXT_LEN + 1];
        struct brick_stats stats = {0};
        if (x->state == EXPORT_UP || x->state == EXPORT_DOWN)
                brick_get_stats(x->brick, &stats);
        pthread_mutex_lock(&x->lock);
        uint32_t clients = x->conn_count;
        pthread_mutex_unlock(&x->lock);
        (void)buf_append_str(b, b->len > 1 ? ",{\"path\":" : "{\"path\":");
        json_text(b, x->config.path);
        (void)buf_append_str(b, ",\"volume\":");
        json_text(b, x->config.volume);
        (void)buf_printf(b, ",\"volume_id\":\"%s\",\"clients\":%u,\"fds\":%u,\"ops\":%llu,\"errors\":%llu,\"down\":",
                         gfid_format(&x->config.volume_id, id), clients, stats.fds, (unsigned long long)stats.ops,
                         (unsigned long long)stats.errors);
        json_text(b, export_trouble(x));
        (void)buf_printf(b, ",\"failed\":%s}", x->state == EXPORT_DOWN ? "true" : "false");
}

void report_status(struct process *p, struct buf *b)
{
        (void)buf_append_str(b, "[");
        for (struct export *x = p->exports; x; x = x->next)
                describe_status(x, b);
        (void)buf_append_str(b, "]");
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

static void append_fops(struct buf *b, const uint64_t *counters)
{
        const char *separator = "";
        (void)buf_append_str(b, "{");
        for (uint32_t f = 0; f < FOP_MAX; f++) {
                const struct fop_desc *desc = fop_by_number(f);
                if (!desc || counters[f] == 0)
                        continue;
                (void)buf_printf(b, "%s\"%s\":%llu", separator, desc->name, (unsigned long long)counters[f]);
                separator = ",";
        }
        (void)buf_append_str(b, "}");
}

static void append_histogram(struct buf *b, const char *name, uint64_t nanoseconds, const uint64_t *buckets)
{
        (void)buf_printf(b, "\"%s\":{\"seconds\":%.9f,\"buckets\":[", name, (double)nanoseconds / (double)NS_PER_SEC);
        for (unsigned k = 0; k < METRIC_BUCKETS; k++)
                (void)buf_printf(b, "%s%llu", k ? "," : "", (unsigned long long)buckets[k]);
        (void)buf_append_str(b, "]}");
}

static void append_histograms(struct buf *b, const struct brick_stats *s)
{
        const char *separator = "";
        (void)buf_append_str(b, "{");
        for (uint32_t f = 0; f < FOP_MAX; f++) {
                const struct fop_desc *desc = fop_by_number(f);
                if (!desc || s->by_fop[f] == 0)
                        continue;
                (void)buf_append_str(b, separator);
                append_histogram(b, desc->name, s->nanoseconds[f], s->latency[f]);
                separator = ",";
        }
        (void)buf_append_str(b, "}");
}

/* What the table of metrics names; each kind is written its own way. */
struct reported {
        const struct brick_stats *stats;
        bool up;
        uint32_t connections;
};
#define VALUE_up(r) ((r)->up)
#define VALUE_connections(r) ((r)->connections)
#define VALUE_fds(r) ((r)->stats->fds)
#define VALUE_inodes(r) ((r)->stats->inodes)
#define VALUE_locks(r) ((r)->stats->locks)
#define VALUE_locks_waiting(r) ((r)->stats->locks_waiting)
#define VALUE_in_flight(r) ((r)->stats->in_flight)
#define VALUE_watches(r) ((r)->stats->watches)
#define VALUE_inode_bytes(r) ((r)->stats->inode_bytes)
#define VALUE_xattr_bytes(r) ((r)->stats->xattr_bytes)
#define VALUE_watch_bytes(r) ((r)->stats->watch_bytes)
#define VALUE_operations(r) ((r)->stats->by_fop)
#define VALUE_errors(r) ((r)->stats->errors_by_fop)
#define VALUE_latency(r) ((r)->stats)

#define APPEND_GAUGE(b, value) (void)buf_printf(b, "%llu", (unsigned long long)(value))
#define APPEND_FOP_COUNTER(b, value) append_fops(b, value)
#define APPEND_FOP_HISTOGRAM(b, value) append_histograms(b, value)
#define APPEND_METRIC_(key, kind, name, help)                                                                          \
        (void)buf_append_str(b, ",\"" #key "\":");                                                                     \
        APPEND_##kind(b, VALUE_##key(r));
static void append_metrics(struct buf *b, const struct reported *r)
{
        BRICK_METRICS(APPEND_METRIC_)
}

static void describe_metrics(struct export *x, struct buf *b)
{
        struct brick_stats stats = {0};
        struct reported r = {.stats = &stats, .up = x->state == EXPORT_UP};
        if (x->state == EXPORT_UP || x->state == EXPORT_DOWN)
                brick_get_stats(x->brick, &stats);
        pthread_mutex_lock(&x->lock);
        r.connections = x->conn_count;
        pthread_mutex_unlock(&x->lock);
        (void)buf_append_str(b, x == x->process->exports ? "{\"path\":" : ",{\"path\":");
        json_text(b, x->config.path);
        (void)buf_append_str(b, ",\"volume\":");
        json_text(b, x->config.volume);
        append_metrics(b, &r);
        (void)buf_append_str(b, "}");
}

/* Pages of the process that are in memory; 0: not known. */
static uint64_t resident_bytes(void)
{
        unsigned long long size = 0, resident = 0;
        FILE *f = fopen("/proc/self/statm", "re");
        if (!f)
                return 0;
        if (fscanf(f, "%llu %llu", &size, &resident) != 2)
                resident = 0;
        (void)fclose(f);
        return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void report_metrics(struct process *p, struct buf *b)
{
        (void)buf_printf(b, "{\"pid\":%d,\"connections\":%u,\"resident_bytes\":%llu,\"bricks\":[", (int)getpid(),
                         atomic_load(&p->conn_count), (unsigned long long)resident_bytes());
        for (struct export *x = p->exports; x; x = x->next)
                describe_metrics(x, b);
        (void)buf_append_str(b, "]}");
}
