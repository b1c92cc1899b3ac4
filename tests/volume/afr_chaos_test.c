/* Several clients, bricks that crash and links that break at random (replicate.md §6, §14 "never").
 *
 * Each client writes numbered records into places of its own in shared files and into attributes of its own of theirs, and
 * makes, fills and removes names of its own in a shared directory; it remembers what was acknowledged and what it does not
 * know. Half of the runs have bricks that understand chains, so that new files are locked as they are made. When all is
 * whole again:
 *   - every copy that nobody blames has what was acknowledged, or what was tried later;
 *   - such copies are equal where nothing is unknown;
 *   - what a client reads meanwhile is not older than what was acknowledged to it;
 *   - bricks hold no locks.
 */
#include "afr_calls.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "volume/afr.h"

#define FILES 3
#define CLIENTS 3
#define SLOTS 4
#define NAMES 24
#define SHARED 5
#define RECORD 64

struct slot {
        uint32_t acknowledged, tried;
        bool unknown;
};
struct name {
        bool there, unknown;
        struct slot content;
};
struct mode {
        uint32_t acknowledged;
        bool unknown;
};
struct chaos {
        struct world *world;
        struct mode modes[CLIENTS]; /* of a file of the client's own */
        bool crashes;               /* of clients: what they began without a mark may be half done */
        unsigned left[CLIENTS];     /* operations */
        struct slot slots[CLIENTS][FILES][SLOTS];
        struct slot attributes[CLIENTS][FILES];
        bool mode_unknown[FILES]; /* some change of it failed: copies may differ */
        struct name names[CLIENTS][NAMES];
        unsigned done, failed;
};

static unsigned random_below(struct world_client *c, unsigned n)
{
        return (unsigned)sim_random(c->world->sim, n);
}

static uint64_t place(unsigned client, unsigned slot)
{
        return (uint64_t)(slot * CLIENTS + client) * RECORD;
}

static void trace(struct world_client *c, const char *what, const char *name, int result)
{
        char path[64];
        if (!getenv("TRACE"))
                return;
        print_message("%9llu client %u %s %s: %d;", (unsigned long long)sim_now(c->world->sim) / 1000, c->index, what,
                      name, result);
        (void)snprintf(path, sizeof path, "/%s", name);
        for (unsigned b = 0; b < c->world->n_bricks; b++) {
                struct world_brick *brick = &c->world->bricks[b];
                bool connected = volume_top(c->volume)->children[b]->up;
                print_message(" %s%s", connected ? "up " : "down ", world_exists(brick, path) ? "there" : "not");
                for (int child = -1; child < (int)c->world->n_bricks; child++) {
                        char text[40];
                        print_message("%c%s", child < 0 ? '/' : ' ', disk_counter(c->world, b, "/", child, text));
                }
                print_message(";");
        }
        print_message("\n");
}

static void fill_record(char data[static RECORD], uint32_t number)
{
        memset(data, 0, RECORD);
        (void)snprintf(data, RECORD, "%010u", number);
}

/* ---- what clients do --------------------------------------------------------------------------------------------- */

static void write_slot(struct fibre *self, struct world_client *c, struct chaos *x, struct vfile *f, unsigned file,
                       unsigned k)
{
        struct slot *s = &x->slots[c->index][file][k];
        char data[RECORD];
        fill_record(data, ++s->tried);
        s->unknown = true; /* until it is acknowledged: the client may crash */
        int r = call_write(self, c, f, place(c->index, k), data, RECORD);
        if (r == RECORD)
                *s = (struct slot){s->tried, s->tried, false};
        x->done += r == RECORD;
        x->failed += r != RECORD;
}

static void read_slot(struct fibre *self, struct world_client *c, struct chaos *x, struct vfile *f, unsigned file,
                      unsigned k)
{
        struct slot *s = &x->slots[c->index][file][k];
        char data[RECORD] = "";
        uint32_t before = s->acknowledged;
        int r = call_read(self, c, f, place(c->index, k), data, RECORD);
        if (r < 0)
                return;
        uint32_t found = r == RECORD ? (uint32_t)strtoul(data, NULL, 10) : 0;
        if (found < before || found > s->tried)
                fail_msg("client %u reads %u of file %u slot %u, where %u was acknowledged, at %llu", c->index, found,
                         file, k, before, (unsigned long long)sim_now(x->world->sim));
}

/* The attribute of a shared file that is this client's. */
static void change_attribute(struct fibre *self, struct world_client *c, struct chaos *x, struct vfile *f,
                             unsigned file)
{
        struct slot *s = &x->attributes[c->index][file];
        char name[16], value[16] = "";
        (void)snprintf(name, sizeof name, "user.c%u", c->index);
        if (random_below(c, 3) == 0) {
                uint32_t before = s->acknowledged;
                int r = call_getxattr(self, c, f->inode, name, value, sizeof value);
                uint32_t found = (uint32_t)strtoul(value, NULL, 10);
                if (r >= 0 && (found < before || found > s->tried))
                        fail_msg("client %u finds %u at file %u, where %u was acknowledged", c->index, found, file,
                                 before);
                return;
        }
        (void)snprintf(value, sizeof value, "%u", ++s->tried);
        s->unknown = true;
        int r = call_setxattr(self, c, f->inode, name, value);
        if (r >= 0)
                *s = (struct slot){s->tried, s->tried, false};
        x->done += r >= 0;
        x->failed += r < 0;
}

/* All change the mode of the same files. */
static void change_shared_mode(struct fibre *self, struct world_client *c, struct chaos *x, struct vfile *f,
                               unsigned file)
{
        bool before = x->mode_unknown[file];
        x->mode_unknown[file] = true; /* the client may crash */
        if (call_chmod(self, c, f->inode, random_below(c, 0200)) >= 0)
                x->mode_unknown[file] = before;
}

static void fill_new(struct fibre *self, struct world_client *c, struct chaos *x, struct vfile *f, struct name *n)
{
        char data[RECORD];
        fill_record(data, ++n->content.tried);
        n->content.unknown = true;
        int r = call_write(self, c, f, 0, data, RECORD);
        if (r == RECORD)
                n->content = (struct slot){n->content.tried, n->content.tried, false};
        x->done += r == RECORD;
        x->failed += r != RECORD;
}

static void change_name(struct fibre *self, struct world_client *c, struct chaos *x)
{
        unsigned k = random_below(c, NAMES);
        struct name *n = &x->names[c->index][k];
        char text[32];
        struct vfile *f = NULL;
        (void)snprintf(text, sizeof text, "c%u-%u", c->index, k);
        if (n->unknown) {
                struct vnode *i = NULL;
                int r = call_lookup(self, c, NULL, text, &i);
                vnode_unref(i);
                (void)r;
                return;
        }
        struct vnode *known = NULL;
        if (n->there)
                (void)call_lookup(self, c, NULL, text, &known);
        n->unknown = true;
        int r = n->there ? call_unlink(self, c, NULL, text) : call_create(self, c, NULL, text, O_EXCL, &f);
        trace(c, n->there ? "unlink" : "create", text, r);
        if (known && r >= 0 && call_look_again(self, c, NULL, text, known) == 0)
                fail_msg("%s is there although it was removed", text);
        vnode_unref(known);
        if (r >= 0)
                *n = (struct name){.there = !n->there};
        if (f && random_below(c, 3) > 0)
                fill_new(self, c, x, f, n);
        if (f)
                (void)call_close(self, c, f);
        if (r < 0 && r != -ENOTCONN && r != -EIO)
                fail_msg("%s of %s: %d", n->there ? "unlink" : "create", text, r);
}

static void look_name(struct fibre *self, struct world_client *c, struct chaos *x)
{
        unsigned k = random_below(c, NAMES);
        struct name before = x->names[c->index][k];
        char text[32];
        struct vnode *i = NULL;
        (void)snprintf(text, sizeof text, "c%u-%u", c->index, k);
        int r = call_lookup(self, c, NULL, text, &i);
        if (r >= 0)
                r = call_look_again(self, c, NULL, text, i);
        vnode_unref(i);
        trace(c, "look", text, r);
        if (before.unknown || r == -ENOTCONN)
                return;
        if (r != (before.there ? 0 : -ENOENT))
                fail_msg("look-up of %s, which is %s there: %d at %llu", text, before.there ? "" : "not", r,
                         (unsigned long long)sim_now(x->world->sim));
}

/* Names that all use: who succeeds is their business, but good copies must agree in the end. */
static void change_shared(struct fibre *self, struct world_client *c)
{
        char one[16], other[16];
        struct vfile *f = NULL;
        (void)snprintf(one, sizeof one, "s%u", random_below(c, SHARED));
        (void)snprintf(other, sizeof other, "s%u", random_below(c, SHARED));
        int r;
        switch (random_below(c, 4)) {
        case 0:
                r = call_create(self, c, NULL, one, 0, &f);
                if (f)
                        (void)call_close(self, c, f);
                break;
        case 1:
                r = call_unlink(self, c, NULL, one);
                break;
        case 2:
                r = call_mknod(self, c, NULL, one, S_IFREG | 0600);
                break;
        default:
                r = call_rename(self, c, NULL, one, NULL, other);
        }
        trace(c, "shared", one, r);
}

static void change_mode(struct fibre *self, struct world_client *c, struct chaos *x)
{
        struct mode *m = &x->modes[c->index];
        struct vnode *i = NULL;
        char name[8];
        (void)snprintf(name, sizeof name, "m%u", c->index);
        if (call_lookup(self, c, NULL, name, &i) < 0)
                return;
        m->unknown = true;
        uint32_t mode = random_below(c, 0200);
        if (call_chmod(self, c, i, mode) >= 0)
                *m = (struct mode){mode, false};
        vnode_unref(i);
}

static void work(struct fibre *self, struct world_client *c, void *arg)
{
        struct chaos *x = arg;
        struct vfile *files[FILES] = {0};
        for (; x->left[c->index] > 0; x->left[c->index]--) {
                unsigned file = random_below(c, FILES), what = random_below(c, 100), k = random_below(c, SLOTS);
                char name[8];
                (void)snprintf(name, sizeof name, "f%u", file);
                if (!files[file] && call_open(self, c, NULL, name, 0, &files[file]) < 0)
                        what = 100;
                if (what < 35)
                        write_slot(self, c, x, files[file], file, k);
                else if (what < 40)
                        change_attribute(self, c, x, files[file], file);
                else if (what < 45)
                        change_shared_mode(self, c, x, files[file], file);
                else if (what < 65)
                        read_slot(self, c, x, files[file], file, k);
                else if (what < 70)
                        (void)call_fsync(self, c, files[file]);
                else if (what < 73)
                        (void)call_close(self, c, TAKE_PTR(files[file]));
                else if (what < 88)
                        change_name(self, c, x);
                else if (what < 93)
                        look_name(self, c, x);
                else if (what < 97)
                        change_shared(self, c);
                else if (what < 100)
                        change_mode(self, c, x);
                fibre_sleep(self, random_below(c, 200) * NS_PER_MSEC);
        }
        for (unsigned k = 0; k < FILES; k++) {
                if (files[k])
                        (void)call_close(self, c, files[k]);
        }
}

static void mount_and_work(struct fibre *self, struct world_client *c, void *arg)
{
        struct error err;
        while (world_mount(self, c, 10 * NS_PER_SEC, &err) < 0)
                ;
        work(self, c, arg);
}

static void make_files(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        for (unsigned k = 0; k < CLIENTS; k++) {
                char name[8];
                (void)snprintf(name, sizeof name, "m%u", k);
                assert_int_equal(call_mknod(self, c, NULL, name, S_IFREG), 0);
        }
        for (unsigned k = 0; k < FILES; k++) {
                char name[8];
                struct vfile *f = NULL;
                (void)snprintf(name, sizeof name, "f%u", k);
                assert_int_equal(call_create(self, c, NULL, name, 0, &f), 0);
                assert_int_equal(call_close(self, c, f), 0);
        }
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

struct faults {
        bool down[WORLD_BRICKS_MAX];
        bool cut[WORLD_CLIENTS_MAX][WORLD_BRICKS_MAX];
        unsigned crashes, resets, cuts;
};

static uint64_t some_time(struct world *w)
{
        static const uint64_t times[] = {1, 1, 2, 5, 10, 50, 300, 2000};
        return times[sim_random(w->sim, ELEMENTSOF(times))] * NS_PER_MSEC;
}

static void told(struct world *w, const char *what, unsigned c, unsigned b)
{
        if (getenv("TRACE"))
                print_message("%9llu %s %u %u\n", (unsigned long long)sim_now(w->sim) / 1000, what, c, b);
}

static void one_fault(struct world *w, struct faults *f, bool cuts)
{
        unsigned b = (unsigned)sim_random(w->sim, w->n_bricks), c = (unsigned)sim_random(w->sim, w->n_clients);
        switch (sim_random(w->sim, cuts ? 4 : 2)) {
        case 0:
                told(w, f->down[b] ? "start" : "crash", c, b);
                if (f->down[b])
                        world_brick_start(&w->bricks[b]);
                else
                        world_brick_crash(&w->bricks[b], false);
                f->down[b] = !f->down[b];
                f->crashes += f->down[b];
                return;
        case 1:
                told(w, "reset", c, b);
                world_reset(w, c, b);
                f->resets++;
                return;
        default:
                told(w, f->cut[c][b] ? "mend" : "cut", c, b);
                f->cut[c][b] = !f->cut[c][b];
                world_cut(w, c, b, f->cut[c][b]);
                f->cuts += f->cut[c][b];
        }
}

/* Half of the time much is broken, half of the time things are mended. */
static void mend(struct world *w, struct faults *f)
{
        for (unsigned b = 0; b < w->n_bricks; b++) {
                if (f->down[b])
                        world_brick_start(&w->bricks[b]);
                f->down[b] = false;
                for (unsigned c = 0; c < w->n_clients; c++) {
                        if (f->cut[c][b])
                                world_cut(w, c, b, false);
                        f->cut[c][b] = false;
                }
        }
        told(w, "all mended", 0, 0);
}

static bool all_finished(const struct world *w)
{
        for (unsigned k = 0; k < w->n_clients; k++) {
                if (w->clients[k].running > 0)
                        return false;
        }
        return true;
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static void read_copies(struct world *w, const char *path, uint32_t type, struct afr_copy copies[])
{
        static char data[4096];
        for (unsigned b = 0; b < w->n_bricks; b++) {
                copies[b] = (struct afr_copy){.type = type};
                if (!world_exists(&w->bricks[b], path)) {
                        copies[b].result = -ENOENT;
                        continue;
                }
                ssize_t n = type == S_IFREG ? world_read(&w->bricks[b], path, data, sizeof data) : 0;
                copies[b].size = n > 0 ? (uint64_t)n : 0;
                for (int child = -1; child < (int)w->n_bricks; child++) {
                        char text[40];
                        int32_t *v = child < 0 ? copies[b].dirty : copies[b].pending[child];
                        assert_int_equal(sscanf(disk_counter(w, b, path, child, text), "%d,%d,%d", &v[0], &v[1], &v[2]),
                                         3);
                }
        }
}

static uint32_t value_at(struct world *w, unsigned b, const char *path, unsigned client, unsigned slot)
{
        char data[4096] = "";
        assert_true(world_read(&w->bricks[b], path, data, sizeof data - 1) >= 0);
        return (uint32_t)strtoul(data + place(client, slot), NULL, 10);
}

/* One place in a file: good copies have what was acknowledged, and the same, or somebody is dirty. */
static void judge_slot(struct chaos *x, const char *path, const struct slot *s, unsigned client, unsigned slot,
                       afr_set good, bool dirty)
{
        unsigned first = afr_next(good, 0);
        AFR_EACH(b, good)
        {
                uint32_t found = value_at(x->world, b, path, client, slot);
                if (found < s->acknowledged || found > s->tried || (!s->unknown && found != s->acknowledged))
                        fail_msg("brick %u, which is not blamed, has %u in %s client %u slot %u: %u acknowledged, %u "
                                 "tried",
                                 b, found, path, client, slot, s->acknowledged, s->tried);
                if (!dirty && found != value_at(x->world, first, path, client, slot))
                        fail_msg("bricks %u and %u, which are not blamed, differ in %s client %u slot %u, and nobody "
                                 "is dirty",
                                 first, b, path, client, slot);
        }
}

static void judge_files(struct chaos *x)
{
        struct world *w = x->world;
        for (unsigned file = 0; file < FILES; file++) {
                char path[8];
                struct afr_copy copies[WORLD_BRICKS_MAX];
                struct afr_verdict v;
                bool dirty = false;
                (void)snprintf(path, sizeof path, "/f%u", file);
                read_copies(w, path, S_IFREG, copies);
                afr_judge(copies, w->n_bricks, w->config.layout == WORLD_ARBITER ? 2 : AFR_NO_CHILD, &v);
                for (unsigned b = 0; b < w->n_bricks; b++)
                        dirty = dirty || copies[b].dirty[AFR_DATA] != 0;
                for (unsigned k = 0; k < CLIENTS * SLOTS; k++)
                        judge_slot(x, path, &x->slots[k % CLIENTS][file][k / CLIENTS], k % CLIENTS, k / CLIENTS,
                                   v.readable[AFR_DATA], dirty);
                if (!v.readable[AFR_DATA] && w->config.layout != WORLD_ARBITER)
                        fail_msg("%s is in split-brain", path);
        }
}

/* What was acknowledged of a file's content, on the copies that nobody blames. */
static void judge_content(struct chaos *x, const char *path, const struct slot *s, afr_set among)
{
        struct world *w = x->world;
        struct afr_copy copies[WORLD_BRICKS_MAX];
        struct afr_verdict v;
        read_copies(w, path, S_IFREG, copies);
        afr_judge(copies, w->n_bricks, w->config.layout == WORLD_ARBITER ? 2 : AFR_NO_CHILD, &v);
        AFR_EACH(b, v.readable[AFR_DATA] & among)
        {
                uint32_t found = value_at(w, b, path, 0, 0);
                if (found < s->acknowledged || found > s->tried || (!s->unknown && found != s->acknowledged))
                        fail_msg("brick %u, which is not blamed, has %u in %s: %u acknowledged, %u tried", b, found,
                                 path, s->acknowledged, s->tried);
        }
        if (!v.readable[AFR_DATA] && w->config.layout != WORLD_ARBITER)
                fail_msg("%s is in split-brain", path);
}

static uint32_t attribute_at(struct world *w, unsigned b, const char *path, unsigned client)
{
        char name[16], value[16] = "";
        (void)snprintf(name, sizeof name, "user.c%u", client);
        ssize_t n = world_xattr(&w->bricks[b], path, name, value, sizeof value - 1);
        assert_true(n >= 0 || n == -ENODATA);
        return n > 0 ? (uint32_t)strtoul(value, NULL, 10) : 0;
}

static uint32_t mode_at(struct world *w, unsigned b, const char *path)
{
        struct stat st;
        char full[32];
        (void)snprintf(full, sizeof full, WORLD_BRICK_PATH "%s", path);
        assert_int_equal(disk_stat(world_disk(&w->bricks[b]), AT_FDCWD, full, &st), 0);
        return st.st_mode & 07777;
}

static void judge_attributes(struct chaos *x)
{
        struct world *w = x->world;
        for (unsigned file = 0; file < FILES; file++) {
                char path[8];
                struct afr_copy copies[WORLD_BRICKS_MAX];
                (void)snprintf(path, sizeof path, "/f%u", file);
                read_copies(w, path, S_IFREG, copies);
                afr_set good = (AFR_BIT(w->n_bricks) - 1) & ~afr_accused(copies, w->n_bricks, AFR_METADATA);
                assert_true(good != 0);
                AFR_EACH(b, good)
                {
                        for (unsigned c = 0; c < CLIENTS; c++) {
                                const struct slot *s = &x->attributes[c][file];
                                uint32_t found = attribute_at(w, b, path, c);
                                if (found < s->acknowledged || found > s->tried ||
                                    (!s->unknown && found != s->acknowledged))
                                        fail_msg("brick %u, which is not blamed, has attribute %u of client %u at %s: "
                                                 "%u acknowledged, %u tried",
                                                 b, found, c, path, s->acknowledged, s->tried);
                        }
                        if (!x->mode_unknown[file])
                                assert_int_equal(mode_at(w, b, path), mode_at(w, afr_next(good, 0), path));
                }
        }
}

static void judge_names(struct chaos *x)
{
        struct world *w = x->world;
        struct afr_copy copies[WORLD_BRICKS_MAX];
        struct afr_verdict v;
        read_copies(w, "/", S_IFDIR, copies);
        afr_judge(copies, w->n_bricks, AFR_NO_CHILD, &v);
        for (unsigned b = 0; b < w->n_bricks; b++) {
                for (unsigned k = 0; k < CLIENTS * NAMES && !(v.accused[AFR_ENTRY] & AFR_BIT(b)); k++) {
                        const struct name *n = &x->names[k % CLIENTS][k / CLIENTS];
                        char path[32];
                        (void)snprintf(path, sizeof path, "/c%u-%u", k % CLIENTS, k / CLIENTS);
                        if (!n->unknown && world_exists(&w->bricks[b], path) != n->there)
                                fail_msg("brick %u, which is not blamed: %s is %s there", b, path,
                                         n->there ? "not" : "still");
                        if (!n->unknown && n->there)
                                judge_content(x, path, &n->content, AFR_BIT(b));
                }
        }
}

static bool gfid_at(struct world *w, unsigned b, const char *path, struct gfid *ret)
{
        return world_exists(&w->bricks[b], path) &&
               world_xattr(&w->bricks[b], path, "trusted.gfid", ret->b, sizeof ret->b) == sizeof ret->b;
}

static void judge_shared(struct chaos *x)
{
        struct world *w = x->world;
        struct afr_copy copies[WORLD_BRICKS_MAX];
        read_copies(w, "/", S_IFDIR, copies);
        afr_set good = (AFR_BIT(w->n_bricks) - 1) & ~afr_accused(copies, w->n_bricks, AFR_ENTRY);
        bool dirty = x->crashes;
        for (unsigned b = 0; b < w->n_bricks; b++)
                dirty = dirty || copies[b].dirty[AFR_ENTRY] != 0;
        unsigned first = afr_next(good, 0);
        AFR_EACH(b, dirty ? 0 : good)
        {
                for (unsigned k = 0; k < SHARED; k++) {
                        char path[16];
                        struct gfid g = {0}, h = {0};
                        (void)snprintf(path, sizeof path, "/s%u", k);
                        bool there = gfid_at(w, first, path, &g);
                        if (gfid_at(w, b, path, &h) != there || !gfid_equal(&g, &h))
                                fail_msg("bricks %u and %u, which are not blamed, differ in %s, and nobody is dirty",
                                         first, b, path);
                }
        }
}

static void judge_modes(struct chaos *x)
{
        struct world *w = x->world;
        for (unsigned c = 0; c < CLIENTS; c++) {
                struct afr_copy copies[WORLD_BRICKS_MAX];
                const struct mode *m = &x->modes[c];
                char path[8];
                (void)snprintf(path, sizeof path, "/m%u", c);
                read_copies(w, path, S_IFREG, copies);
                afr_set good = (AFR_BIT(w->n_bricks) - 1) & ~afr_accused(copies, w->n_bricks, AFR_METADATA);
                AFR_EACH(b, good)
                {
                        uint32_t mode = mode_at(w, b, path);
                        if (!m->unknown && mode != m->acknowledged)
                                fail_msg("brick %u, which is not blamed, has mode %o at %s: %o acknowledged", b, mode,
                                         path, m->acknowledged);
                }
        }
}

static void no_locks(struct world *w)
{
        for (unsigned b = 0; b < w->n_bricks; b++) {
                struct brick_stats stats;
                brick_get_stats(w->bricks[b].brick, &stats);
                assert_int_equal(stats.locks, 0);
                assert_int_equal(stats.locks_waiting, 0);
        }
}

static void crash_client(struct world *w, struct chaos *x)
{
        unsigned c = (unsigned)sim_random(w->sim, w->n_clients);
        told(w, "client crash", c, 0);
        world_client_crash(&w->clients[c]);
        if (x->left[c] > 0)
                x->left[c]--;
        world_start(w, c, mount_and_work, x);
}

static void run(enum world_layout layout, uint64_t seed, unsigned operations, bool cuts, bool crashes)
{
        static struct world w;
        struct chaos *x = calloc(1, sizeof *x);
        *x = (struct chaos){.world = &w, .left = {operations, operations, operations}, .crashes = crashes};
        world_open(&w, &(struct world_config){.layout = layout,
                                              .clients = CLIENTS,
                                              .seed = seed,
                                              .no_chain = seed / 2 % 2,
                                              .replicate_options = seed % 2 ? "    option choose-local off\n" : NULL});
        world_run(&w, 0, make_files, NULL);
        for (unsigned c = 0; c < CLIENTS; c++)
                world_start(&w, c, work, x);
        struct faults faults = {0};
        while (!all_finished(&w)) {
                world_pass(&w, some_time(&w));
                if (sim_random(w.sim, 6) == 0)
                        mend(&w, &faults);
                else if (crashes && sim_random(w.sim, 8) == 0)
                        crash_client(&w, x);
                else
                        one_fault(&w, &faults, cuts);
        }
        mend(&w, &faults);
        world_pass(&w, 200 * NS_PER_SEC);
        no_locks(&w);
        judge_files(x);
        judge_names(x);
        judge_shared(x);
        judge_modes(x);
        judge_attributes(x);
        if (getenv("VERBOSE"))
                print_message("seed %llu: %u writes done, %u failed; %u crashes, %u resets, %u cuts\n",
                              (unsigned long long)seed, x->done, x->failed, faults.crashes, faults.resets, faults.cuts);
        world_close(&w);
        free(x);
}

static unsigned rounds(unsigned few)
{
        const char *text = getenv("CHAOS_ROUNDS");
        return text ? (unsigned)strtoul(text, NULL, 10) : few;
}

static uint64_t first_seed(void)
{
        const char *text = getenv("CHAOS_SEED");
        return text ? strtoull(text, NULL, 10) : 1000;
}

static void three_copies(void **state)
{
        (void)state;
        for (unsigned k = 0; k < rounds(4); k++)
                run(WORLD_REP3, first_seed() + k, 150, false, false);
}

static void three_copies_with_cut_links(void **state)
{
        (void)state;
        for (unsigned k = 0; k < rounds(4); k++)
                run(WORLD_REP3, first_seed() + k, 150, true, false);
}

static void two_copies_and_an_arbiter(void **state)
{
        (void)state;
        for (unsigned k = 0; k < rounds(4); k++)
                run(WORLD_ARBITER, first_seed() + k, 150, true, false);
}

static void clients_that_crash(void **state)
{
        (void)state;
        for (unsigned k = 0; k < rounds(3); k++)
                run(k % 2 ? WORLD_ARBITER : WORLD_REP3, first_seed() + k, 150, true, true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(three_copies),
                cmocka_unit_test(three_copies_with_cut_links),
                cmocka_unit_test(two_copies_and_an_arbiter),
                cmocka_unit_test(clients_that_crash),
        };
        log_set_level(LOG_LEVEL_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
