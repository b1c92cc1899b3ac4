/* What clients of the simulated cluster do (cluster.h).
 *
 * Before a call, all that it may change is marked as unsure; its answer makes that sure again, one way or the other. So
 * a client whose machine stops in the middle leaves the right marks behind. An answer that a plain file system would not
 * give is a failure at once; so is any error of the storage while nothing is broken.
 */
#include "cluster.h"

#include <fcntl.h>
#include <stdlib.h>

#include "afr_calls.h"

struct cluster_count cluster_counts[OP_KINDS];
#define NAME_(name) #name,
const char *const cluster_op_names[OP_KINDS] = {CLUSTER_OPS(NAME_)};

static unsigned draw(struct worker *k, unsigned n)
{
        return (unsigned)sim_random(k->cluster->world.sim, n);
}

static uint64_t now_of(const struct worker *k)
{
        return sim_now(k->cluster->world.sim);
}

const char *worker_path(const struct worker *k, unsigned name, char to[static 64])
{
        (void)snprintf(to, 64, name < IN_TOP ? "/p%u/n%u" : "/p%u/d/n%u", k->client->index, name);
        return to;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

enum outcome { DONE, REFUSED, UNKNOWN };

void cluster_note(struct cluster *x, unsigned what, unsigned more)
{
        const uint64_t values[] = {sim_now(x->world.sim), what, more};
        for (unsigned k = 0; k < ELEMENTSOF(values); k++)
                x->trace = (x->trace ^ values[k]) * 0x100000001b3u;
}

static void trace(struct worker *k, enum cluster_op op, const char *what, const char *more, int result)
{
        cluster_note(k->cluster, op, (unsigned)result * 4 + k->client->index);
        if (getenv("CHAOS_TRACE"))
                print_message("%10llu client%u %s %s %s: %d\n", (unsigned long long)(now_of(k) / NS_PER_USEC),
                              k->client->index, cluster_op_names[op], what, more, result);
}

static bool is_fault(int result)
{
        return result == -ENOTCONN || result == -EIO || result == -ETIMEDOUT || result == -ENOSPC;
}

static enum outcome answered(struct worker *k, enum cluster_op op, const char *what, const char *more, int result,
                             int expected)
{
        struct cluster_count *count = &cluster_counts[op];
        trace(k, op, what, more, result);
        if (is_fault(result) && k->cluster->troubled) {
                count->failed++;
                return UNKNOWN;
        }
        if (expected == 0 ? result < 0 : result != expected)
                fail_msg("seed %llu, client %u at %llu us: %s %s %s gives %d (%s), not %d",
                         (unsigned long long)k->cluster->seed, k->client->index,
                         (unsigned long long)(now_of(k) / NS_PER_USEC), cluster_op_names[op], what, more, result,
                         strerror(result < 0 ? -result : 0), expected);
        count->done += expected == 0;
        count->refused += expected != 0;
        return expected == 0 ? DONE : REFUSED;
}

/* F is what it was if the call was refused, VALUE if it is done. */
static void settle(struct worker *k, struct fact *f, const struct fact *before, uint32_t value, enum outcome o)
{
        if (o == DONE)
                fact_done(f, value, now_of(k));
        else if (o == REFUSED)
                *f = *before;
}

static struct object *object_at(struct worker *k, unsigned name)
{
        return k->names[name].now ? &k->objects[k->names[name].now] : NULL;
}

/* A name of which it is sure what it is; NAMES: there is none. */
static unsigned any_name(struct worker *k)
{
        unsigned first = draw(k, NAMES);
        for (unsigned n = 0; n < NAMES; n++)
                if (fact_sure(&k->names[(first + n) % NAMES]))
                        return (first + n) % NAMES;
        return NAMES;
}

static unsigned any_of_type(struct worker *k, uint32_t type)
{
        unsigned first = draw(k, NAMES);
        for (unsigned n = 0; n < NAMES; n++) {
                const struct fact *f = &k->names[(first + n) % NAMES];
                if (fact_sure(f) && f->now && (!type || k->objects[f->now].type == type))
                        return (first + n) % NAMES;
        }
        return NAMES;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static unsigned new_object(struct worker *k, uint32_t type, uint32_t mode)
{
        if (k->n_objects == OBJECTS)
                return NOTHING;
        k->objects[k->n_objects] = (struct object){.type = type, .mode = {.now = mode}};
        return k->n_objects++;
}

static int make(struct fibre *self, struct worker *k, enum cluster_op op, const char *path, unsigned object)
{
        char target[32];
        switch (op) {
        case OP_create:
                return files_create(self, k->client, path, NULL);
        case OP_mknod:
                return files_mknod(self, k->client, path, 0600);
        case OP_mkdir:
                return files_mkdir(self, k->client, path);
        default:
                (void)snprintf(target, sizeof target, "target-%u", object);
                return files_symlink(self, k->client, target, path);
        }
}

static void do_make(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_name(k);
        char path[64];
        unsigned object = name == NAMES ? NOTHING
                          : op == OP_mkdir ? new_object(k, S_IFDIR, 0755)
                          : op == OP_symlink ? new_object(k, S_IFLNK, 0777)
                                             : new_object(k, S_IFREG, op == OP_create ? 0644 : 0600);
        if (object == NOTHING)
                return;
        struct fact *f = &k->names[name], before = *f;
        fact_try(f, object);
        k->client->chosen = &k->objects[object].gfid;
        int result = make(self, k, op, worker_path(k, name, path), object);
        k->client->chosen = NULL;
        settle(k, f, &before, object, answered(k, op, path, "", result, before.now ? -EEXIST : 0));
}

static void do_remove(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_name(k);
        char path[64];
        if (name == NAMES)
                return;
        struct fact *f = &k->names[name], before = *f;
        const struct object *o = object_at(k, name);
        int expected = !o ? -ENOENT : op == OP_rmdir ? (o->type == S_IFDIR ? 0 : -ENOTDIR) : o->type == S_IFDIR ? -EISDIR : 0;
        fact_try(f, NOTHING);
        worker_path(k, name, path);
        int result = op == OP_rmdir ? files_rmdir(self, k->client, path) : files_unlink(self, k->client, path);
        settle(k, f, &before, NOTHING, answered(k, op, path, "", result, expected));
}

static int rename_result(struct worker *k, unsigned from, unsigned to)
{
        const struct object *o = object_at(k, from), *there = object_at(k, to);
        if (!o)
                return -ENOENT;
        if (o == there || !there || (o->type == S_IFDIR) == (there->type == S_IFDIR))
                return 0;
        return there->type == S_IFDIR ? -EISDIR : -ENOTDIR;
}

static void do_rename(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned from = any_name(k), to = any_name(k);
        char a[64], b[64];
        if (from == NAMES || from == to)
                return;
        struct fact *f = &k->names[from], *t = &k->names[to], f_before = *f, t_before = *t;
        int expected = rename_result(k, from, to);
        bool nothing = f_before.now == t_before.now;
        fact_try(f, NOTHING);
        fact_try(t, f_before.now);
        bool lived = k->objects[f_before.now].must_live;
        k->objects[f_before.now].must_live = true;
        int result = files_rename(self, k->client, worker_path(k, from, a), worker_path(k, to, b));
        enum outcome o = answered(k, op, a, b, result, expected);
        if (o == DONE && nothing)
                o = REFUSED;
        if (o != UNKNOWN)
                k->objects[f_before.now].must_live = lived;
        settle(k, f, &f_before, NOTHING, o);
        settle(k, t, &t_before, f_before.now, o);
}

static void do_link(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned from = any_name(k), to = any_name(k);
        char a[64], b[64];
        const struct object *o = from == NAMES ? NULL : object_at(k, from);
        if (from == NAMES || from == to || (o && o->type == S_IFDIR))
                return;
        struct fact *t = &k->names[to], before = *t;
        fact_try(t, k->names[from].now);
        int result = files_link(self, k->client, worker_path(k, from, a), worker_path(k, to, b));
        settle(k, t, &before, k->names[from].now,
               answered(k, op, a, b, result, !o ? -ENOENT : before.now ? -EEXIST : 0));
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

static void check_fact(struct worker *k, const char *path, const char *what, const struct fact *f, uint32_t found)
{
        char text[160];
        if (!fact_accepts(f, found))
                fail_msg("seed %llu, client %u at %llu us: %s: %s is %u, but must be %s",
                         (unsigned long long)k->cluster->seed, k->client->index,
                         (unsigned long long)(now_of(k) / NS_PER_USEC), path, what, found, fact_print(f, text));
}

/* What was asked for at this moment may have been answered before a change that is done now; so it is compared with
 * what was sure before, and nobody else changes it. */
static void do_stat(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_name(k);
        char path[64];
        struct iatt st = {0};
        if (name == NAMES)
                return;
        struct object *o = object_at(k, name);
        int result = files_lookup(self, k->client, worker_path(k, name, path), &st);
        if (answered(k, op, path, "", result, o ? 0 : -ENOENT) != DONE)
                return;
        if ((st.mode & S_IFMT) != o->type)
                fail_msg("%s is of type %o", path, st.mode);
        if (!gfid_equal(&o->gfid, &st.gfid))
                fail_msg("seed %llu: %s is another object", (unsigned long long)k->cluster->seed, path);
        if (o->type != S_IFLNK)
                check_fact(k, path, "the mode", &o->mode, st.mode & 07777);
        check_fact(k, path, "the owner", &o->owner, st.uid);
        if (o->type == S_IFREG)
                check_fact(k, path, "the size", &o->size, (uint32_t)st.size);
}

static void do_readlink(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_of_type(k, S_IFLNK);
        char path[64], target[64] = "", expected[32];
        if (name == NAMES)
                return;
        int result = files_readlink(self, k->client, worker_path(k, name, path), target, sizeof target);
        (void)snprintf(expected, sizeof expected, "target-%u", k->names[name].now);
        if (answered(k, op, path, "", result, 0) == DONE && !streq(target, expected))
                fail_msg("%s points to %s", path, target);
}

static void do_set(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_of_type(k, draw(k, 3) ? S_IFREG : S_IFDIR), value = 1 + draw(k, 0600);
        char path[64], text[16];
        if (name == NAMES)
                return;
        struct object *o = object_at(k, name);
        struct fact *f = op == OP_chmod ? &o->mode : op == OP_chown ? &o->owner : &o->xattr, before = *f;
        int result, expected = 0;
        worker_path(k, name, path);
        (void)snprintf(text, sizeof text, "%u", value);
        if (op == OP_removexattr) {
                if (!fact_sure(f))
                        return;
                value = NOTHING;
                expected = before.now ? 0 : -ENODATA;
        }
        fact_try(f, value);
        if (op == OP_chmod)
                result = files_chmod(self, k->client, path, value);
        else if (op == OP_chown)
                result = files_chown(self, k->client, path, value, value);
        else if (op == OP_setxattr)
                result = files_setxattr(self, k->client, path, "user.number", text);
        else
                result = files_removexattr(self, k->client, path, "user.number");
        settle(k, f, &before, value, answered(k, op, path, text, result, expected));
}

static void do_utimens(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_of_type(k, 0);
        char path[64];
        if (name == NAMES)
                return;
        int result = files_utimens(self, k->client, worker_path(k, name, path), 1000000 + draw(k, 1000));
        (void)answered(k, op, path, "", result, 0);
}

static void do_getxattr(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned name = any_of_type(k, S_IFREG);
        char path[64], text[32] = "0";
        if (name == NAMES)
                return;
        const struct fact *f = &object_at(k, name)->xattr;
        int result = files_getxattr(self, k->client, worker_path(k, name, path), "user.number", text, sizeof text);
        bool none = fact_sure(f) ? f->now == NOTHING : result == -ENODATA;
        enum outcome o = answered(k, op, path, "", result, none ? -ENODATA : 0);
        if (o != UNKNOWN)
                check_fact(k, path, "user.number", f, o == DONE ? (uint32_t)strtoul(text, NULL, 10) : NOTHING);
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

/* An open file that can be reached by a name, too; NULL: there is none. */
static struct vfile *any_file(struct fibre *self, struct worker *k, struct object **ret, char path[static 64])
{
        unsigned slot = draw(k, OPEN_FILES), name = NAMES;
        for (unsigned n = 0; n < NAMES; n++)
                if (k->files[slot] && fact_sure(&k->names[n]) && k->names[n].now == k->file_objects[slot])
                        name = n;
        if (k->files[slot] && name == NAMES) {
                (void)files_flush(self, k->client, k->files[slot]);
                k->files[slot] = vfile_unref(k->files[slot]);
        }
        if (!k->files[slot]) {
                int result;
                name = any_of_type(k, S_IFREG);
                if (name == NAMES)
                        return NULL;
                unsigned object = k->names[name].now;
                struct vfile *f = files_open(self, k->client, worker_path(k, name, path), O_RDWR, &result);
                if (answered(k, OP_open, path, "", result, 0) != DONE)
                        return NULL;
                k->files[slot] = f;
                k->file_objects[slot] = object;
        }
        *ret = &k->objects[k->file_objects[slot]];
        worker_path(k, name, path);
        return k->files[slot];
}

static void fill_record(char text[static RECORD + 1], uint32_t number)
{
        (void)snprintf(text, RECORD + 1, "%-*u", (int)RECORD, number);
}

static void do_write(struct fibre *self, struct worker *k, enum cluster_op op)
{
        struct object *o;
        char path[64], text[RECORD + 1];
        struct vfile *f = any_file(self, k, &o, path);
        unsigned page = draw(k, PAGES), number = 1 + draw(k, 1000000);
        if (!f || !fact_sure(&o->size))
                return;
        struct fact *p = &o->pages[page], before = *p, size_before = o->size;
        uint32_t size = MAX(o->size.now, (uint32_t)record_offset_own(page) + RECORD);
        o->fsynced = false;
        fact_try(p, number);
        fact_try(&o->size, size);
        fill_record(text, number);
        int result = files_write_at(self, k->client, f, record_offset_own(page), text);
        enum outcome a = answered(k, op, path, text, result, 0);
        if (a == DONE && result != RECORD)
                fail_msg("%s: %d of %u bytes were written", path, result, RECORD);
        settle(k, p, &before, number, a);
        settle(k, &o->size, &size_before, size, a);
}

static void check_page(struct worker *k, const char *path, const struct object *o, unsigned page, const char *data, int n)
{
        if (fact_sure(&o->size)) {
                int64_t there = (int64_t)o->size.now - (int64_t)record_offset_own(page);
                int expected = (int)MAX(MIN(there, (int64_t)RECORD), (int64_t)0);
                if (n != expected)
                        fail_msg("seed %llu, client %u at %llu us: %s, page %u: %d bytes are read, not %d",
                                 (unsigned long long)k->cluster->seed, k->client->index,
                                 (unsigned long long)(now_of(k) / NS_PER_USEC), path, page, n, expected);
        }
        int64_t number = record_number(data, n);
        check_fact(k, path, "a record", &o->pages[page], number < 0 ? UINT32_MAX : (uint32_t)number);
}

static void do_read(struct fibre *self, struct worker *k, enum cluster_op op)
{
        struct object *o;
        char path[64], data[RECORD] = "";
        struct vfile *f = any_file(self, k, &o, path);
        unsigned page = draw(k, PAGES);
        if (!f)
                return;
        int result = files_read_at(self, k->client, f, record_offset_own(page), data, RECORD);
        if (answered(k, op, path, "", result, 0) == DONE)
                check_page(k, path, o, page, data, result);
}

static void do_resize(struct fibre *self, struct worker *k, enum cluster_op op)
{
        struct object *o;
        char path[64];
        struct vfile *f = any_file(self, k, &o, path);
        unsigned page = draw(k, PAGES + 1);
        if (!f || !fact_sure(&o->size))
                return;
        uint32_t size = (uint32_t)record_offset_own(page);
        struct fact size_before = o->size, before[PAGES];
        memcpy(before, o->pages, sizeof before);
        if (op == OP_fallocate)
                size = MAX(size, size_before.now);
        o->fsynced = false;
        fact_try(&o->size, size);
        for (unsigned p = page; p < PAGES && op != OP_fallocate; p++)
                fact_try(&o->pages[p], NOTHING);
        int result;
        if (op == OP_truncate)
                result = files_truncate(self, k->client, path, size);
        else if (op == OP_ftruncate)
                result = files_ftruncate(self, k->client, f, size);
        else
                result = page == 0 ? 0 : files_fallocate(self, k->client, f, 0, record_offset_own(page));
        enum outcome a = answered(k, op, path, "", result, 0);
        settle(k, &o->size, &size_before, size, a);
        for (unsigned p = page; p < PAGES && op != OP_fallocate; p++)
                settle(k, &o->pages[p], &before[p], NOTHING, a);
}

/* All that was acknowledged of it is durable. */
static void now_durable(struct object *o)
{
        o->size.n_past = o->mode.n_past = o->owner.n_past = o->xattr.n_past = 0;
        for (unsigned p = 0; p < PAGES; p++)
                o->pages[p].n_past = 0;
        o->fsynced = true;
}

static void do_fsync(struct fibre *self, struct worker *k, enum cluster_op op)
{
        struct object *o;
        char path[64];
        struct vfile *f = any_file(self, k, &o, path);
        if (f && answered(k, op, path, "", files_fsync(self, k->client, f), 0) == DONE)
                now_durable(o);
}

static void do_close(struct fibre *self, struct worker *k, enum cluster_op op)
{
        unsigned slot = draw(k, OPEN_FILES);
        if (!k->files[slot])
                return;
        (void)answered(k, op, "", "", files_flush(self, k->client, k->files[slot]), 0);
        k->files[slot] = vfile_unref(k->files[slot]);
}

/* ---- listing ------------------------------------------------------------------------------------------------------ */

static void do_list(struct fibre *self, struct worker *k, enum cluster_op op)
{
        struct files_names *names = calloc(1, sizeof *names);
        unsigned first = draw(k, 2) ? 0 : IN_TOP, end = first ? NAMES : IN_TOP;
        char path[64], name[16];
        (void)snprintf(path, sizeof path, first ? "/p%u/d" : "/p%u", k->client->index);
        int result = files_list(self, k->client, path, 1024 + draw(k, 4096), names);
        bool listed = answered(k, op, path, "", result, 0) == DONE;
        /* of a set that is away distribute lists nothing */
        bool all = k->cluster->world.config.layout != WORLD_2X3 || !k->cluster->troubled;
        for (unsigned n = first; n < end && listed; n++) {
                (void)snprintf(name, sizeof name, "n%u", n);
                bool expected = k->names[n].now != NOTHING;
                if (fact_sure(&k->names[n]) && (all || !expected) && files_names_has(names, name) != expected)
                        fail_msg("seed %llu, client %u at %llu us: %s is %s in the list of %s",
                                 (unsigned long long)k->cluster->seed, k->client->index,
                                 (unsigned long long)(now_of(k) / NS_PER_USEC), name,
                                 k->names[n].now ? "not" : "still", path);
        }
        free(names);
}

/* ---- what all do ------------------------------------------------------------------------------------------------- */

static struct vfile *shared_file(struct fibre *self, struct worker *k, struct vfile **slot, const char *path)
{
        int result;
        if (*slot)
                return *slot;
        struct vfile *f = files_open(self, k->client, path, O_RDWR, &result);
        (void)answered(k, OP_open, path, "", result, 0);
        return *slot = f;
}

static void do_shared_record(struct fibre *self, struct worker *k)
{
        unsigned file = draw(k, SHARED_FILES), page = draw(k, PAGES), number = 1 + draw(k, 1000000);
        uint64_t offset = record_offset_shared(k->client->index, page);
        char path[16], data[RECORD + 1] = "";
        (void)snprintf(path, sizeof path, "/f%u", file);
        struct vfile *f = shared_file(self, k, &k->shared[file], path);
        struct fact *p = &k->records[file][page], before = *p;
        if (!f)
                return;
        if (draw(k, 3) == 0) {
                int result = files_read_at(self, k->client, f, offset, data, RECORD);
                if (answered(k, OP_read, path, "", result, 0) == DONE)
                        check_fact(k, path, "a record", p, (uint32_t)record_number(data, result));
                return;
        }
        fact_try(p, number);
        fill_record(data, number);
        int result = files_write_at(self, k->client, f, offset, data);
        settle(k, p, &before, number, answered(k, OP_write, path, data, result, 0));
        if (draw(k, 4) == 0 && answered(k, OP_fsync, path, "", files_fsync(self, k->client, f), 0) == DONE) {
                for (unsigned q = 0; q < PAGES; q++)
                        k->records[file][q].n_past = 0;
        }
}

/* Who succeeds is their business; copies must agree in the end. */
static void do_shared_name(struct fibre *self, struct worker *k)
{
        char a[32], b[32], text[32];
        struct iatt st;
        int result;
        enum cluster_op op;
        (void)snprintf(a, sizeof a, "/s/n%u", draw(k, SHARED_NAMES));
        (void)snprintf(b, sizeof b, "/s/n%u", draw(k, SHARED_NAMES));
        (void)snprintf(text, sizeof text, "text %u", draw(k, 1000000));
        switch (draw(k, 7)) {
        case 0:
                result = files_create(self, k->client, a, text);
                op = OP_create;
                break;
        case 1:
                result = files_unlink(self, k->client, a);
                op = OP_unlink;
                break;
        case 2:
                result = streq(a, b) ? 0 : files_rename(self, k->client, a, b);
                op = OP_rename;
                break;
        case 3:
                result = streq(a, b) ? 0 : files_link(self, k->client, a, b);
                op = OP_link;
                break;
        case 4:
                result = files_mkdir(self, k->client, a);
                op = OP_mkdir;
                break;
        case 5:
                result = files_rmdir(self, k->client, a);
                op = OP_rmdir;
                break;
        default:
                result = files_lookup(self, k->client, a, &st);
                op = OP_stat;
        }
        static const int race[] = {-ENOENT, -EEXIST, -ENOTEMPTY, -ESTALE, -EISDIR, -ENOTDIR, -EPERM};
        int expected = 0;
        for (unsigned i = 0; i < ELEMENTSOF(race); i++)
                if (result == race[i])
                        expected = result;
        (void)answered(k, op, a, b, result, expected);
}

/* Again and again: whoever wants it next waits for it. */
static void unlock_log(struct fibre *self, struct worker *k, struct vfile *f)
{
        while (answered(k, OP_lock, "/log", "unlock", call_lk(self, k->client, f, true, 2, 1), 0) == UNKNOWN)
                fibre_sleep(self, 100 * NS_PER_MSEC);
}

static void do_append(struct fibre *self, struct worker *k)
{
        struct vfile *f = shared_file(self, k, &k->log, "/log");
        char text[32], where[32];
        struct iatt st = {0};
        if (!f || k->n_appended == APPENDED)
                return;
        if (answered(k, OP_lock, "/log", "", call_lk(self, k->client, f, true, 1, 1), 0) != DONE)
                return;
        int result = call_fstat(self, k->client, f, &st);
        if (answered(k, OP_stat, "/log", "", result, 0) == DONE) {
                unsigned number = k->n_appended++;
                (void)snprintf(text, sizeof text, "%u %06u\n", k->client->index, number);
                (void)snprintf(where, sizeof where, "%u at %u", number, (unsigned)st.size);
                result = files_write_at(self, k->client, f, st.size, text);
                k->appended[number] = answered(k, OP_append, "/log", where, result, 0) == DONE;
        }
        unlock_log(self, k, f);
}

/* ---- a worker ----------------------------------------------------------------------------------------------------- */

static const struct {
        void (*fn)(struct fibre *self, struct worker *k, enum cluster_op op);
        enum cluster_op op;
        uint8_t weight;
} own_ops[] = {
        {do_make, OP_create, 9},      {do_make, OP_mknod, 2},         {do_make, OP_mkdir, 4},
        {do_make, OP_symlink, 3},     {do_link, OP_link, 4},          {do_remove, OP_unlink, 7},
        {do_remove, OP_rmdir, 3},     {do_rename, OP_rename, 9},      {do_write, OP_write, 14},
        {do_read, OP_read, 7},        {do_resize, OP_truncate, 2},    {do_resize, OP_ftruncate, 2},
        {do_resize, OP_fallocate, 2}, {do_fsync, OP_fsync, 5},        {do_close, OP_flush, 3},
        {do_stat, OP_stat, 9},        {do_readlink, OP_readlink, 2},  {do_set, OP_chmod, 4},
        {do_set, OP_chown, 2},        {do_utimens, OP_utimens, 2},    {do_set, OP_setxattr, 4},
        {do_set, OP_removexattr, 2},  {do_getxattr, OP_getxattr, 3},  {do_list, OP_readdir, 4},
};

static void step(struct fibre *self, struct worker *k)
{
        unsigned what = draw(k, 100), sum = 0, pick;
        if (what < 12) {
                do_shared_record(self, k);
                return;
        }
        if (what < 20) {
                do_shared_name(self, k);
                return;
        }
        if (what < 25) {
                do_append(self, k);
                return;
        }
        for (unsigned i = 0; i < ELEMENTSOF(own_ops); i++)
                sum += own_ops[i].weight;
        pick = draw(k, sum);
        for (unsigned i = 0; i < ELEMENTSOF(own_ops); i++) {
                if (pick < own_ops[i].weight) {
                        own_ops[i].fn(self, k, own_ops[i].op);
                        return;
                }
                pick -= own_ops[i].weight;
        }
}

static void close_all(struct worker *k)
{
        for (unsigned i = 0; i < OPEN_FILES; i++)
                k->files[i] = vfile_unref(k->files[i]);
        for (unsigned i = 0; i < SHARED_FILES; i++)
                k->shared[i] = vfile_unref(k->shared[i]);
        k->log = vfile_unref(k->log);
}

void cluster_work(struct fibre *self, struct world_client *c, void *worker)
{
        struct worker *k = worker;
        struct error err;
        while (!c->volume) {
                int result = world_mount(self, c, 10 * NS_PER_SEC, &err);
                cluster_counts[OP_mount].done += result == 0;
                cluster_counts[OP_mount].failed += result != 0;
        }
        for (; k->left > 0; k->left--) {
                step(self, k);
                fibre_sleep(self, draw(k, 4) ? draw(k, 20) * NS_PER_MSEC : draw(k, 400) * NS_PER_MSEC);
        }
        close_all(k);
}

void worker_init(struct worker *k, struct cluster *x, unsigned index)
{
        k->cluster = x;
        k->client = &x->world.clients[index];
        k->n_objects = 1;
}

void worker_crashed(struct worker *k)
{
        memset(k->files, 0, sizeof k->files);
        memset(k->shared, 0, sizeof k->shared);
        k->log = NULL;
        if (k->left > 0)
                k->left--;
}

/* An object without a name that is sure may come back from the one disk that lost its removal, as it is there. */
static void forget_removed(struct worker *k)
{
        bool named[OBJECTS] = {false};
        for (unsigned n = 0; n < NAMES; n++)
                if (fact_sure(&k->names[n]))
                        named[k->names[n].now] = true;
        for (unsigned i = 1; i < k->n_objects; i++) {
                struct object *o = &k->objects[i];
                o->size.lost |= !named[i];
                for (unsigned p = 0; p < PAGES; p++)
                        o->pages[p].lost |= !named[i];
        }
}

void worker_power_cut(struct worker *k, uint64_t since, bool all_bricks)
{
        forget_removed(k);
        for (unsigned n = 0; n < NAMES; n++)
                fact_power_cut(&k->names[n], since);
        for (unsigned i = 1; i < k->n_objects; i++) {
                struct object *o = &k->objects[i];
                fact_power_cut(&o->mode, since);
                fact_power_cut(&o->owner, since);
                fact_power_cut(&o->xattr, since);
                for (unsigned p = 0; p < PAGES && all_bricks; p++)
                        fact_power_cut(&o->pages[p], 0); /* only fsync helps */
                if (all_bricks)
                        fact_power_cut(&o->size, since);
        }
        for (unsigned i = 0; i < SHARED_FILES * PAGES && all_bricks; i++)
                fact_power_cut(&k->records[i / PAGES][i % PAGES], 0);
        if (all_bricks)
                memset(k->appended, 0, sizeof k->appended);
}

void cluster_prepare(struct fibre *self, struct world_client *c, void *cluster)
{
        struct cluster *x = cluster;
        struct iatt st;
        char path[32];
        assert_int_equal(files_lookup(self, c, "/", &st), 0);
        assert_int_equal(files_mkdir(self, c, "/s"), 0);
        assert_int_equal(files_create(self, c, "/log", NULL), 0);
        for (unsigned k = 0; k < x->n_workers; k++) {
                (void)snprintf(path, sizeof path, "/p%u", k);
                assert_int_equal(files_mkdir(self, c, path), 0);
                (void)snprintf(path, sizeof path, "/p%u/d", k);
                assert_int_equal(files_mkdir(self, c, path), 0);
        }
        for (unsigned k = 0; k < SHARED_FILES; k++) {
                (void)snprintf(path, sizeof path, "/f%u", k);
                assert_int_equal(files_create(self, c, path, NULL), 0);
        }
}
