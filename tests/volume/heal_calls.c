/* Healing in a simulated cluster, for tests (heal_calls.h). */
#include "heal_calls.h"

#include <fcntl.h>

#define NAMES_MAX 512
#define ROUNDS_MAX 20
#define PIECE (128 * KIB)
#define SET 3u /* bricks of a replica set */

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

struct up_wait {
        struct world *world;
        unsigned client;
        unsigned brick;
        bool down;
};

static bool is_up(void *arg)
{
        const struct up_wait *u = arg;
        struct afr *a = heal_set(&u->world->clients[u->client]);
        for (unsigned i = 0; i < a->n; i++) {
                if (u->world->bricks[i].brick && !a->base.children[i]->up)
                        return false;
        }
        return a->base.up || !afr_quorum(a, afr_up(a));
}

static bool is_down(void *arg)
{
        const struct up_wait *u = arg;
        return !heal_set(&u->world->clients[u->client])->base.children[u->brick]->up;
}

void heal_wait_up(struct world *w, unsigned client)
{
        world_until(w, is_up, &(struct up_wait){w, client, 0, false});
}

void heal_brick_down(struct world *w, unsigned brick)
{
        world_brick_crash(&w->bricks[brick], false);
        for (unsigned k = 0; k < w->n_clients; k++) {
                if (w->clients[k].volume)
                        world_until(w, is_down, &(struct up_wait){w, k, brick, true});
        }
}

void heal_brick_up(struct world *w, unsigned brick)
{
        world_brick_start(&w->bricks[brick]);
        for (unsigned k = 0; k < w->n_clients; k++) {
                if (w->clients[k].volume)
                        heal_wait_up(w, k);
        }
}

/* ---- healing ----------------------------------------------------------------------------------------------------- */

struct gfid heal_gfid(struct world *w, unsigned brick, const char *path)
{
        struct gfid g = GFID_ROOT;
        if (!streq(path, "/"))
                assert_int_equal(world_xattr(&w->bricks[brick], path, "trusted.gfid", g.b, sizeof g.b), sizeof g.b);
        return g;
}

static void heal_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct heal_begun *b = arg;
        b->result = afr_heal(self, heal_set(c), &b->gfid, &b->report);
        b->done = true;
}

void heal_begin(struct world *w, unsigned client, unsigned brick, const char *path, struct heal_begun *b)
{
        b->gfid = heal_gfid(w, brick, path);
        b->done = false;
        world_start(w, client, heal_it, b);
}

int heal_path(struct world *w, unsigned client, unsigned brick, const char *path, struct afr_heal_report *report)
{
        struct heal_begun b = {.gfid = heal_gfid(w, brick, path)};
        if (report)
                b.report = *report;
        world_run(w, client, heal_it, &b);
        if (report)
                *report = b.report;
        return b.result;
}

/* ---- directories on disk ----------------------------------------------------------------------------------------- */

struct names {
        unsigned n;
        char v[NAMES_MAX][NAME_LIMIT + 1];
};

static void list_disk(struct world_brick *b, const char *path, struct names *ret)
{
        static uint8_t data[64 * KIB];
        char full[PATH_LIMIT + 1];
        struct disk *d = world_disk(b);
        (void)snprintf(full, sizeof full, WORLD_BRICK_PATH "%s", path);
        int fd = disk_open(d, AT_FDCWD, full, O_RDONLY | O_DIRECTORY, 0);
        ret->n = 0;
        if (fd < 0)
                return;
        ssize_t got;
        while ((got = disk_getdents(d, fd, data, sizeof data)) > 0) {
                for (ssize_t at = 0; at < got;) {
                        const struct disk_dirent *e = (const void *)(data + at);
                        at += e->d_reclen;
                        if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                                continue;
                        assert_true(ret->n < NAMES_MAX);
                        (void)snprintf(ret->v[ret->n++], NAME_LIMIT + 1, "%s", e->d_name);
                }
        }
        assert_int_equal(got, 0);
        assert_int_equal(disk_close(d, fd), 0);
}

static void list_index(struct world *w, unsigned brick, const char *which, struct names *ret)
{
        static struct names all;
        char path[64];
        struct gfid g;
        (void)snprintf(path, sizeof path, "/.glusterfs/indices/%s", which);
        list_disk(&w->bricks[brick], path, &all);
        ret->n = 0;
        for (unsigned k = 0; k < all.n; k++) {
                if (gfid_parse(all.v[k], strlen(all.v[k]), &g) == 0)
                        memcpy(ret->v[ret->n++], all.v[k], sizeof all.v[k]);
        }
}

unsigned heal_index_count(struct world *w, unsigned brick, const char *which)
{
        static struct names names;
        list_index(w, brick, which, &names);
        return names.n;
}

struct forgotten {
        unsigned brick;
        bool dirty;
        const char *name;
};

static void forget(struct fibre *self, struct world_client *c, void *arg)
{
        const struct forgotten *f = arg;
        struct gfid index;
        enum afr_index which = f->dirty ? AFR_INDEX_DIRTY : AFR_INDEX_PENDING;
        assert_int_equal(afr_index_gfid(self, heal_set(c), f->brick, which, &index), 0);
        assert_int_equal(afr_index_remove(self, heal_set(c), f->brick, &index, f->name), 0);
}

static unsigned heal_index(struct world *w, unsigned client, unsigned brick, const char *which, int *error, bool last)
{
        static struct names names;
        list_index(w, brick, which, &names);
        for (unsigned k = 0; k < names.n; k++) {
                struct heal_begun b = {0};
                assert_int_equal(gfid_parse(names.v[k], strlen(names.v[k]), &b.gfid), 0);
                world_run(w, client, heal_it, &b);
                if (b.result == -ENOENT)
                        world_run(w, client, forget, &(struct forgotten){brick, streq(which, "dirty"), names.v[k]});
                else if (b.result < 0)
                        *error = b.result;
                if (b.result < 0 && last)
                        print_message("brick %u %s %s: %d %s\n", brick, which, names.v[k], b.result, b.report.why);
        }
        return names.n;
}

static void sweep_all(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct afr *a = heal_set(c);
        unsigned left = 0;
        for (unsigned i = 0; i < a->n; i++)
                assert_int_equal(afr_heal_sweep(self, a, i, &left), 0);
}

void heal_sweep(struct world *w, unsigned client)
{
        world_run(w, client, sweep_all, NULL);
}

int heal_all(struct world *w, unsigned client)
{
        int error = 0;
        for (unsigned round = 0; round < ROUNDS_MAX; round++) {
                unsigned n = 0;
                error = 0;
                for (unsigned b = 0; b < w->n_bricks; b++)
                        n += heal_index(w, client, b, "xattrop", &error, round + 1 == ROUNDS_MAX) +
                             heal_index(w, client, b, "dirty", &error, round + 1 == ROUNDS_MAX);
                heal_sweep(w, client);
                if (n == 0)
                        return 0;
        }
        return error ? error : -EAGAIN;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static bool is_aside(const char *path)
{
        return starts_with(path, "/.glusterfs");
}

static void full_path(const char *path, char to[static PATH_LIMIT + 1])
{
        (void)snprintf(to, PATH_LIMIT + 1, WORLD_BRICK_PATH "%s", path);
}

static void compare_stat(struct world *w, unsigned first, const char *path, bool times_too, struct stat *ret)
{
        char full[PATH_LIMIT + 1];
        full_path(path, full);
        for (unsigned b = first; b < first + SET; b++) {
                struct stat st;
                if (disk_stat(world_disk(&w->bricks[b]), AT_FDCWD, full, &st) < 0)
                        fail_msg("brick %u does not have %s", b, path);
                if (b == first)
                        *ret = st;
                if (st.st_mode != ret->st_mode || st.st_uid != ret->st_uid || st.st_gid != ret->st_gid ||
                    (!S_ISDIR(st.st_mode) && st.st_nlink != ret->st_nlink) ||
                    (S_ISREG(st.st_mode) && st.st_size != (w->bricks[b].arbiter ? 0 : ret->st_size)))
                        fail_msg("brick %u: %s differs: mode %o %o, owner %u %u, links %u %u, size %lld %lld", b, path,
                                 ret->st_mode, st.st_mode, ret->st_uid, st.st_uid, (unsigned)ret->st_nlink,
                                 (unsigned)st.st_nlink, (long long)ret->st_size, (long long)st.st_size);
                uint8_t times[64];
                if (times_too && !streq(path, "/") &&
                    world_xattr(&w->bricks[first], path, "trusted.glusterfs.mdata", times, sizeof times) > 0 &&
                    world_xattr(&w->bricks[b], path, "trusted.glusterfs.mdata", times, sizeof times) <= 0)
                        fail_msg("brick %u: %s has no times of its own", b, path);
        }
}

/* Counters are compared elsewhere; the times of an object are those of the last change that a client made, and a copy
 * may have got the object earlier. */
static bool may_differ(const char *name)
{
        return starts_with(name, "trusted.afr.") || streq(name, "trusted.glusterfs.mdata");
}

/* All xattrs that brick ONE has are the same on brick OTHER. */
static void compare_xattrs(struct world *w, unsigned one, unsigned other, const char *path)
{
        char full[PATH_LIMIT + 1], names[4096];
        uint8_t a[1024], b[1024];
        full_path(path, full);
        ssize_t n = disk_listxattr(world_disk(&w->bricks[one]), AT_FDCWD, full, names, sizeof names);
        assert_true(n >= 0);
        for (const char *name = names; name < names + n; name += strlen(name) + 1) {
                if (may_differ(name))
                        continue;
                ssize_t size = world_xattr(&w->bricks[one], path, name, a, sizeof a);
                if (world_xattr(&w->bricks[other], path, name, b, sizeof b) != size ||
                    memcmp(a, b, (size_t)MAX(size, (ssize_t)0)) != 0)
                        fail_msg("bricks %u and %u: %s differs in %s", one, other, path, name);
        }
}

static void compare_content(struct world *w, unsigned first, const char *path, off_t size)
{
        static uint8_t expected[PIECE], other[PIECE];
        char full[PATH_LIMIT + 1];
        int fds[WORLD_BRICKS_MAX];
        full_path(path, full);
        for (unsigned b = first; b < first + SET; b++)
                fds[b] = disk_open(world_disk(&w->bricks[b]), AT_FDCWD, full, O_RDONLY, 0);
        for (off_t at = 0; at < size; at += (off_t)PIECE) {
                const struct iovec a = {expected, PIECE}, c = {other, PIECE};
                ssize_t n = disk_preadv(world_disk(&w->bricks[first]), fds[first], &a, 1, at);
                for (unsigned b = first + 1; b < first + SET; b++) {
                        if (w->bricks[b].arbiter)
                                continue;
                        ssize_t m = disk_preadv(world_disk(&w->bricks[b]), fds[b], &c, 1, at);
                        if (m != n || memcmp(expected, other, (size_t)n) != 0)
                                fail_msg("%s differs on brick %u in the 128 KiB at %lld", path, b, (long long)at);
                }
        }
        for (unsigned b = first; b < first + SET; b++)
                (void)disk_close(world_disk(&w->bricks[b]), fds[b]);
}

static void compare_clean(struct world *w, unsigned first, const char *path)
{
        for (unsigned b = first; b < first + SET; b++) {
                for (int child = (int)first - 1; child < (int)(first + SET); child++)
                        assert_counter(w, b, path, child < (int)first ? -1 : child, "0,0,0");
        }
}

static void compare_tree(struct world *w, unsigned first, const char *path, bool times_too)
{
        struct stat st = {0};
        compare_stat(w, first, path, times_too, &st);
        compare_clean(w, first, path);
        for (unsigned b = first; b < first + SET && !streq(path, "/"); b++)
                compare_xattrs(w, b, b + 1 < first + SET ? b + 1 : first, path);
        if (S_ISREG(st.st_mode))
                compare_content(w, first, path, st.st_size);
        if (!S_ISDIR(st.st_mode))
                return;
        struct names *names = calloc(1, sizeof *names);
        assert_non_null(names);
        for (unsigned b = first; b < first + SET; b++) {
                list_disk(&w->bricks[b], path, names);
                for (unsigned k = 0; k < names->n; k++) {
                        char below[PATH_LIMIT + 1];
                        (void)snprintf(below, sizeof below, "%.3000s/%s", streq(path, "/") ? "" : path, names->v[k]);
                        if (b == first && !is_aside(below))
                                compare_tree(w, first, below, times_too);
                        else if (!is_aside(below) && !world_exists(&w->bricks[first], below))
                                fail_msg("brick %u has %s, brick %u does not", b, below, first);
                }
        }
        free(names);
}

/* Directories stay in it, without names. */
static void assert_nothing_noted(struct world *w, unsigned brick)
{
        static struct names dirs, names;
        list_index(w, brick, "entry-changes", &dirs);
        for (unsigned k = 0; k < dirs.n; k++) {
                char path[96];
                (void)snprintf(path, sizeof path, "/.glusterfs/indices/entry-changes/%.36s", dirs.v[k]);
                list_disk(&w->bricks[brick], path, &names);
                if (names.n > 0)
                        fail_msg("brick %u has %u names noted for %s", brick, names.n, dirs.v[k]);
        }
}

void assert_equal_copies(struct world *w, bool times_too)
{
        static struct names names;
        char aside[96], id[GFID_TEXT_LEN + 1];
        for (unsigned first = 0; first < w->n_bricks; first += SET)
                compare_tree(w, first, "/", times_too);
        (void)snprintf(aside, sizeof aside, "/.glusterfs-anonymous-inode-%s", gfid_format(&w->volume_id, id));
        for (unsigned b = 0; b < w->n_bricks; b++) {
                assert_int_equal(heal_index_count(w, b, "xattrop"), 0);
                assert_int_equal(heal_index_count(w, b, "dirty"), 0);
                list_disk(&w->bricks[b], aside, &names);
                assert_int_equal(names.n, 0);
        }
}

void assert_healed(struct world *w)
{
        assert_equal_copies(w, true);
        for (unsigned b = 0; b < w->n_bricks; b++)
                assert_nothing_noted(w, b);
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

void pattern(uint8_t *data, size_t n, uint64_t offset, uint64_t seed)
{
        for (size_t k = 0; k < n; k++)
                data[k] = (uint8_t)(((offset + k) * 2654435761u + seed * 40503u) >> 13 | 1);
}

void write_pattern(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, size_t n,
                   uint64_t seed)
{
        uint8_t *data = malloc(PIECE);
        assert_non_null(data);
        for (size_t at = 0; at < n; at += PIECE) {
                size_t piece = MIN((size_t)PIECE, n - at);
                pattern(data, piece, offset + at, seed);
                assert_int_equal(call_write(self, c, f, offset + at, data, piece), piece);
        }
        free(data);
}

void make_file(struct fibre *self, struct world_client *c, const char *name, size_t n, uint64_t seed)
{
        struct vfile *f = NULL;
        assert_int_equal(call_create(self, c, NULL, name, 0, &f), 0);
        write_pattern(self, c, f, 0, n, seed);
        assert_int_equal(call_close(self, c, f), 0);
}

static void put_be32(uint8_t *p, int32_t v)
{
        p[0] = (uint8_t)((uint32_t)v >> 24);
        p[1] = (uint8_t)((uint32_t)v >> 16);
        p[2] = (uint8_t)((uint32_t)v >> 8);
        p[3] = (uint8_t)v;
}

void set_counter(struct world *w, unsigned brick, const char *path, int child, int32_t data, int32_t metadata,
                 int32_t entry)
{
        char name[64], full[PATH_LIMIT + 1];
        uint8_t value[12];
        (void)snprintf(full, sizeof full, WORLD_BRICK_PATH "%s", streq(path, "/") ? "" : path);
        (void)snprintf(name, sizeof name, child < 0 ? "trusted.afr.dirty" : "trusted.afr." WORLD_VOLUME "-client-%d",
                       child);
        put_be32(value, data);
        put_be32(value + 4, metadata);
        put_be32(value + 8, entry);
        assert_int_equal(disk_setxattr(world_disk(&w->bricks[brick]), AT_FDCWD, full, name, value, sizeof value, 0), 0);
}
