/* What is left of it all (cluster.h).
 *
 * The first client that looks decides what unsure facts have become, within what they may be; the others must see the same.
 */
#include "cluster.h"

#include <stdlib.h>

static void wrong(const struct worker *k, const char *path, const char *what, uint32_t found, const struct fact *f)
{
        char text[160];
        fail_msg("seed %llu: afterwards, %s of client %u: %s is %u, but must be %s", (unsigned long long)k->cluster->seed,
                 path, k->client->index, what, found, fact_print(f, text));
}

static void decide(struct worker *k, const char *path, const char *what, struct fact *f, uint32_t found)
{
        if (!fact_accepts(f, found))
                wrong(k, path, what, found, f);
        fact_adopt(f, found);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Which object it is that has the name. */
static unsigned identify(const struct worker *k, const struct iatt *st)
{
        for (unsigned i = 1; i < k->n_objects; i++)
                if (gfid_equal(&k->objects[i].gfid, &st->gfid))
                        return i;
        return k->n_objects; /* none that was ever made */
}

static void judge_attributes(struct worker *k, const char *path, struct object *o, const struct iatt *st)
{
        if ((st->mode & S_IFMT) != o->type)
                fail_msg("seed %llu: afterwards, %s is of type %o",
                         (unsigned long long)k->cluster->seed, path, st->mode);
        o->seen = true;
        if (o->type != S_IFLNK)
                decide(k, path, "the mode", &o->mode, st->mode & 07777);
        decide(k, path, "the owner", &o->owner, st->uid);
        if (o->type == S_IFREG)
                decide(k, path, "the size", &o->size, (uint32_t)st->size);
}

static void judge_content(struct fibre *self, struct world_client *c, struct worker *k, const char *path, struct object *o)
{
        static char data[PAGES * PAGE + 1];
        int n = files_read(self, c, path, data, sizeof data);
        if (n != (int)o->size.now)
                fail_msg("seed %llu: afterwards, %s: %d bytes can be read, not %u", (unsigned long long)k->cluster->seed,
                         path, n, o->size.now);
        for (unsigned p = 0; p < PAGES; p++) {
                int64_t at = (int64_t)record_offset_own(p), there = MAX(MIN(n - at, (int64_t)RECORD), (int64_t)0);
                int64_t number = record_number(data + at, (int)there);
                decide(k, path, "a record", &o->pages[p], number < 0 ? UINT32_MAX : (uint32_t)number);
        }
}

static void judge_object(struct fibre *self, struct world_client *c, struct worker *k, const char *path, struct object *o,
                         const struct iatt *st)
{
        char text[32];
        judge_attributes(k, path, o, st);
        if (o->type == S_IFREG)
                judge_content(self, c, k, path, o);
        if (o->type == S_IFLNK)
                return;
        int result = files_getxattr(self, c, path, "user.number", text, sizeof text);
        if (result < 0 && result != -ENODATA)
                fail_msg("afterwards, user.number of %s: %s", path, strerror(-result));
        decide(k, path, "user.number", &o->xattr, result < 0 ? NOTHING : (uint32_t)strtoul(text, NULL, 10));
}

static void judge_name(struct fibre *self, struct world_client *c, struct worker *k, unsigned name)
{
        char path[64];
        struct iatt st = {0};
        struct fact *f = &k->names[name];
        int result = files_lookup(self, c, worker_path(k, name, path), &st);
        if (result < 0 && result != -ENOENT)
                fail_msg("seed %llu: afterwards, %s: %s", (unsigned long long)k->cluster->seed, path, strerror(-result));
        unsigned object = result < 0 ? NOTHING : identify(k, &st);
        decide(k, path, "the object", f, object);
        if (object)
                judge_object(self, c, k, path, &k->objects[object], &st);
}

static void judge_worker(struct fibre *self, struct world_client *c, struct worker *k)
{
        for (unsigned i = 1; i < k->n_objects; i++)
                k->objects[i].seen = false;
        for (unsigned n = 0; n < NAMES; n++)
                judge_name(self, c, k, n);
        for (unsigned i = 1; i < k->n_objects; i++) {
                if (k->objects[i].must_live && !k->objects[i].seen && !k->cluster->power_lost)
                        fail_msg("seed %llu: afterwards, an object of client %u that was moved is gone",
                                 (unsigned long long)k->cluster->seed, k->client->index);
                k->objects[i].must_live = false;
        }
}

/* ---- what all do ------------------------------------------------------------------------------------------------- */

static void judge_records(struct fibre *self, struct world_client *c, struct cluster *x, unsigned file)
{
        char path[16], data[RECORD];
        int result;
        (void)snprintf(path, sizeof path, "/f%u", file);
        struct vfile *f = files_open(self, c, path, O_RDONLY, &result);
        if (!f)
                fail_msg("afterwards, %s: %s", path, strerror(-result));
        for (unsigned k = 0; k < x->n_workers; k++) {
                for (unsigned p = 0; p < PAGES; p++) {
                        int n = files_read_at(self, c, f, record_offset_shared(k, p), data, RECORD);
                        assert_true(n >= 0);
                        decide(&x->workers[k], path, "a record", &x->workers[k].records[file][p],
                               (uint32_t)record_number(data, n));
                }
        }
        vfile_unref(f);
}

static void judge_log(struct fibre *self, struct world_client *c, struct cluster *x)
{
        static char data[256 * KIB];
        static bool there[WORKERS_MAX][APPENDED];
        int n = files_read(self, c, "/log", data, sizeof data);
        assert_true(n >= 0);
        memset(there, 0, sizeof there);
        for (int at = 0; at + 9 <= n; at += 9) {
                unsigned worker, number;
                if (sscanf(data + at, "%u %u", &worker, &number) == 2 && worker < WORKERS_MAX && number < APPENDED)
                        there[worker][number] = true;
        }
        for (unsigned k = 0; k < x->n_workers; k++)
                for (unsigned i = 0; i < x->workers[k].n_appended; i++)
                        if (x->workers[k].appended[i] && !there[k][i])
                                fail_msg("seed %llu: afterwards, record %u that client %u appended under the lock is lost",
                                         (unsigned long long)x->seed, i, k);
}

static void judge_shared_names(struct fibre *self, struct world_client *c)
{
        struct files_names *names = calloc(1, sizeof *names);
        struct iatt st;
        char name[16], path[32];
        int result = files_list(self, c, "/s", 4096, names);
        if (result < 0)
                fail_msg("afterwards, the list of /s: %s", strerror(-result));
        for (unsigned i = 0; i < SHARED_NAMES; i++) {
                (void)snprintf(name, sizeof name, "n%u", i);
                (void)snprintf(path, sizeof path, "/s/%s", name);
                result = files_lookup(self, c, path, &st);
                if (result < 0 && result != -ENOENT)
                        fail_msg("afterwards, %s: %s", path, strerror(-result));
                if (files_names_has(names, name) != (result == 0))
                        fail_msg("afterwards, %s is %s in the list", path, result == 0 ? "not" : "still");
        }
        free(names);
}

void cluster_judge(struct fibre *self, struct world_client *c, void *cluster)
{
        struct cluster *x = cluster;
        for (unsigned k = 0; k < x->n_workers; k++)
                judge_worker(self, c, &x->workers[k]);
        for (unsigned k = 0; k < SHARED_FILES; k++)
                judge_records(self, c, x, k);
        judge_log(self, c, x);
        judge_shared_names(self, c);
}

static void judge_fsynced(struct fibre *self, struct world_client *c, struct worker *k, const char *path,
                          const struct object *o)
{
        static char data[PAGES * PAGE + 1];
        int n = files_read(self, c, path, data, sizeof data);
        for (unsigned p = 0; p < PAGES; p++) {
                int64_t at = (int64_t)record_offset_own(p), there = MAX(MIN(n - at, (int64_t)RECORD), (int64_t)0);
                int64_t number = n < 0 ? -1 : record_number(data + at, (int)there);
                if (!fact_sure(&o->pages[p]))
                        continue;
                k->cluster->fsynced++;
                if (number != o->pages[p].now)
                        wrong(k, path, "an fsynced record", (uint32_t)number, &o->pages[p]);
        }
}

void cluster_judge_fsynced(struct fibre *self, struct world_client *c, void *cluster)
{
        struct cluster *x = cluster;
        char path[64];
        for (unsigned k = 0; k < x->n_workers; k++) {
                struct worker *w = &x->workers[k];
                for (unsigned n = 0; n < NAMES; n++) {
                        const struct object *o = &w->objects[w->names[n].now];
                        if (fact_sure(&w->names[n]) && w->names[n].now && o->type == S_IFREG && o->fsynced)
                                judge_fsynced(self, c, w, worker_path(w, n, path), o);
                }
        }
}
