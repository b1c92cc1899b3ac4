/* READDIR and READDIRP: budgets, cookies, the end of a directory, what is hidden, 20,000 entries, change under the
 * reader. */
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>

#include "fixture.h"

#define BIG 131072u
#define MANY 20000u

static struct fixture fx;

static int setup(void **state)
{
        (void)state;
        fixture_init(&fx);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fixture_done(&fx);
        return 0;
}

static int begin(void **state)
{
        (void)state;
        fixture_begin(&fx);
        return 0;
}

static int end(void **state)
{
        (void)state;
        fixture_end(&fx);
        return 0;
}

static int read_names(struct gfid g, int64_t fd, uint64_t offset, uint32_t size, struct readdir_fop_rep *rep)
{
        return CALL(&fx, READDIR, readdir, rep, .gfid = g, .fd = fd, .offset = offset, .size = size);
}

static int read_plus(struct gfid g, int64_t fd, uint64_t offset, uint32_t size, struct readdirp_fop_rep *rep)
{
        return CALL(&fx, READDIRP, readdirp, rep, .gfid = g, .fd = fd, .offset = offset, .size = size);
}

static const struct dirent_entry *find(struct dirent_list l, const char *name)
{
        for (uint32_t i = 0; i < l.n; i++)
                if (str_is(l.v[i].name, name))
                        return &l.v[i];
        return NULL;
}

/* Names made beside the brick's work, all of one file: quick, and READDIR does not care. */
static void make_plain(const char *dir, unsigned from, unsigned to, const char *prefix)
{
        char base[256], path[256];
        for (unsigned i = from; i < to; i++) {
                snprintf(path, sizeof path, "%s/%s/%s%06u", fx.path, dir, prefix, i);
                if (i > from) {
                        assert_int_equal(link(base, path), 0);
                        continue;
                }
                int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
                assert_true(fd >= 0);
                close(fd);
                memcpy(base, path, sizeof base);
        }
}

static void everything_once(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755), f = fixture_file(&fx, d, "file", 0640);
        struct gfid s = fixture_dir(&fx, d, "sub", 0755);
        fixture_symlink(&fx, d, "link", "target");
        int64_t fd = fixture_dirfd(&fx, d);
        struct readdir_fop_rep names;
        assert_int_equal(read_names(d, fd, 0, BIG, &names), 0);
        assert_int_equal(names.op_ret, 5);
        assert_int_equal(names.op_errno, ENOENT);
        assert_int_equal(find(names.reply, "file")->type, DT_REG);
        assert_int_equal(find(names.reply, "link")->type, DT_LNK);
        assert_int_equal(find(names.reply, "sub")->type, DT_DIR);
        assert_int_equal(find(names.reply, "file")->ino, fixture_stat(&fx, "d/file").st_ino); /* raw (observed) */

        struct readdirp_fop_rep plus;
        assert_int_equal(read_plus(d, fd, 0, BIG, &plus), 0);
        assert_int_equal(plus.op_ret, 5);
        assert_int_equal(plus.op_errno, ENOENT);
        const struct dirent_entry *e = find(plus.reply, "file");
        assert_true(gfid_equal(&e->stat.gfid, &f));
        assert_int_equal(e->ino, gfid_ino(&f));
        assert_int_equal(e->stat.mode, S_IFREG | 0640);
        assert_null(e->dict);
        assert_true(gfid_equal(&find(plus.reply, "sub")->stat.gfid, &s));
        assert_true(gfid_equal(&find(plus.reply, ".")->stat.gfid, &d));
        assert_true(gfid_is_root(&find(plus.reply, "..")->stat.gfid));
        assert_int_equal(find(plus.reply, "..")->ino, 1);
}

static void root_hides_what_is_its_own(void **state)
{
        (void)state;
        fixture_file(&fx, GFID_ROOT, "a", 0644);
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        fixture_file(&fx, d, ".glusterfs", 0644); /* an ordinary name anywhere else */
        struct readdirp_fop_rep rep;
        assert_int_equal(read_plus(GFID_ROOT, fixture_dirfd(&fx, GFID_ROOT), 0, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 4);
        assert_null(find(rep.reply, ".glusterfs"));
        const struct dirent_entry *up = find(rep.reply, "..");
        assert_true(gfid_is_null(&up->stat.gfid));
        assert_true(up->ino == UINT64_MAX);
        assert_true(up->stat.ino == UINT64_MAX);
        assert_true(gfid_is_root(&find(rep.reply, ".")->stat.gfid));
        assert_int_equal(read_plus(d, fixture_dirfd(&fx, d), 0, BIG, &rep), 0);
        assert_non_null(find(rep.reply, ".glusterfs"));
}

static void budget(void **state)
{
        (void)state;
        fixture_dir(&fx, GFID_ROOT, "d", 0755);
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "e", 0755);
        make_plain("e", 0, 100, "nm"); /* names of 8 bytes */
        int64_t fd = fixture_dirfd(&fx, d);
        struct readdir_fop_rep rep;
        struct readdirp_fop_rep plus;
        assert_int_equal(read_names(d, fd, 0, 4096, &rep), 0);
        assert_in_range(rep.op_ret, 18, 19); /* observed: 19, with the dots among them */
        assert_int_equal(rep.op_errno, 0);
        uint32_t used = 0;
        for (uint32_t i = 0; i < rep.reply.n; i++)
                used += 208 + rep.reply.v[i].name.len + 1;
        assert_true(used <= 4096 && used + 208 + 9 > 4096);
        uint32_t n = rep.reply.n;
        assert_int_equal(read_plus(d, fd, 0, 4096, &plus), 0);
        assert_int_equal(plus.op_ret, n);
        assert_int_equal(read_names(d, fd, 0, 200, &rep), 0); /* observed */
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(rep.op_errno, 0);
        assert_int_equal(read_names(d, fd, 0, 0, &rep), 0);
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(read_names(d, fd, 0, 218, &rep), 0);
        assert_int_equal(rep.op_ret, 1);
        assert_int_equal(read_names(d, fd, 0, UINT32_MAX, &rep), 0);
        assert_int_equal(rep.op_ret, 102);
        assert_int_equal(rep.op_errno, ENOENT);
}

/* Reads all of D in pieces of SIZE and marks which of the N files of make_plain() were seen. Result: the entries. */
static unsigned walk(struct gfid d, int64_t fd, uint32_t size, uint8_t *seen, unsigned n)
{
        unsigned total = 0;
        uint64_t offset = 0;
        for (;;) {
                struct readdir_fop_rep rep;
                assert_int_equal(read_names(d, fd, offset, size, &rep), 0);
                for (uint32_t i = 0; i < rep.reply.n; i++) {
                        unsigned k;
                        total++;
                        if (sscanf(rep.reply.v[i].name.s, "nm%u", &k) == 1 && k < n)
                                seen[k]++;
                }
                if (rep.op_errno == ENOENT)
                        return total;
                assert_true(rep.reply.n > 0);
                offset = rep.reply.v[rep.reply.n - 1].off;
                fixture_forget(&fx);
        }
}

static void twenty_thousand_entries(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        make_plain("d", 0, MANY, "nm");
        int64_t fd = fixture_dirfd(&fx, d);
        static const uint32_t sizes[] = {BIG, 5000, 1u << 20};
        uint8_t *seen = malloc(MANY);
        assert_non_null(seen);
        for (size_t s = 0; s < ELEMENTSOF(sizes); s++) {
                memset(seen, 0, MANY);
                assert_int_equal(walk(d, fd, sizes[s], seen, MANY), MANY + 2);
                for (unsigned i = 0; i < MANY; i++)
                        assert_int_equal(seen[i], 1);
        }
        memset(seen, 0, MANY);
        assert_int_equal(walk(d, FD_ANONYMOUS, BIG, seen, MANY), MANY + 2); /* observed: works */
        free(seen);
}

/* A cookie means the same on another descriptor, on an anonymous one, and in another order. */
static void cookies_are_the_file_systems(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        make_plain("d", 0, 50, "nm");
        int64_t a = fixture_dirfd(&fx, d), b = fixture_dirfd(&fx, d);
        struct readdir_fop_rep all, rep;
        assert_int_equal(read_names(d, a, 0, BIG, &all), 0);
        assert_int_equal(all.op_ret, 52);
        for (uint32_t i = 51; i-- > 0;) {
                int64_t fd = i % 3 == 0 ? a : i % 3 == 1 ? b : FD_ANONYMOUS;
                assert_int_equal(read_names(d, fd, all.reply.v[i].off, 300, &rep), 0);
                assert_int_equal(rep.op_ret, 1);
                assert_string_equal(rep.reply.v[0].name.s, all.reply.v[i + 1].name.s);
        }
        assert_int_equal(read_names(d, a, all.reply.v[51].off, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(rep.op_errno, ENOENT);
}

static void continues_after_a_removed_entry(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        for (int i = 0; i < 30; i++) {
                char name[16];
                snprintf(name, sizeof name, "nm%06d", i);
                fixture_file(&fx, d, name, 0644);
        }
        int64_t fd = fixture_dirfd(&fx, d);
        struct readdir_fop_rep all, rep;
        assert_int_equal(read_names(d, fd, 0, BIG, &all), 0);
        for (uint32_t i = 0; i < 20; i++)
                if (all.reply.v[i].name.s[0] != '.')
                        assert_int_equal(fixture_unlink(&fx, d, all.reply.v[i].name.s), 0);
        assert_int_equal(read_names(d, fd, all.reply.v[19].off, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 12);
        for (uint32_t i = 0; i < 12; i++)
                assert_string_equal(rep.reply.v[i].name.s, all.reply.v[20 + i].name.s);
}

struct churn {
        atomic_bool stop;
        unsigned rounds;
};

static void *churn_thread(void *arg)
{
        struct churn *c = arg;
        char path[256];
        while (!atomic_load(&c->stop)) {
                for (int i = 0; i < 50; i++) {
                        snprintf(path, sizeof path, "%s/d/other%d", fx.path, i);
                        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
                        if (fd >= 0)
                                close(fd);
                }
                for (int i = 0; i < 50; i++) {
                        snprintf(path, sizeof path, "%s/d/other%d", fx.path, i);
                        unlink(path);
                }
                c->rounds++;
        }
        return NULL;
}

/* What exists all the time is seen exactly once, whatever comes and goes around it. */
static void change_under_the_reader(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        make_plain("d", 0, 2000, "nm");
        struct churn c = {0};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, churn_thread, &c), 0);
        uint8_t *seen = malloc(2000);
        assert_non_null(seen);
        for (int round = 0; round < 20; round++) {
                memset(seen, 0, 2000);
                int64_t fd = fixture_dirfd(&fx, d);
                walk(d, fd, 3000, seen, 2000);
                for (unsigned i = 0; i < 2000; i++)
                        assert_int_equal(seen[i], 1);
                struct releasedir_fop_rep rep;
                CALL(&fx, RELEASEDIR, releasedir, &rep, .fd = fd);
        }
        atomic_store(&c.stop, true);
        pthread_join(thread, NULL);
        free(seen);
}

static void filter_directories(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        fixture_file(&fx, d, "f", 0644);
        fixture_dir(&fx, d, "s", 0755);
        int64_t fd = fixture_dirfd(&fx, d);
        struct readdirp_fop_rep rep;
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "readdir-filter-directories", 1), 0);
        assert_int_equal(read_plus(d, fd, 0, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 1);
        assert_string_equal(rep.reply.v[0].name.s, "f");
        assert_int_equal(rep.op_errno, ENOENT);
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "readdir-filter-directories", 0), 0);
        assert_int_equal(read_plus(d, fd, 0, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 4);
}

static void keys_per_entry(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        fixture_file(&fx, d, "plain", 0644);
        fixture_file(&fx, d, "marked", 0644);
        fixture_put(&fx, "d/marked", "trusted.afr.v-client-1", "\0\0\0\1\0\0\0\2\0\0\0\3", 12);
        struct readdirp_fop_rep rep;
        int64_t fd = fixture_dirfd(&fx, d);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "trusted.afr.*", 0), 0);
        assert_int_equal(read_plus(d, fd, 0, BIG, &rep), 0);
        struct slice v;
        assert_null(find(rep.reply, "plain")->dict);
        assert_int_equal(dict_get_bytes(find(rep.reply, "marked")->dict, "trusted.afr.v-client-1", &v), 0);
        assert_int_equal(v.len, 12);
}

static void entries_without_identity(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        make_plain("d", 0, 1, "nm");
        struct readdirp_fop_rep rep;
        assert_int_equal(read_plus(d, fixture_dirfd(&fx, d), 0, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 3);
        const struct dirent_entry *e = find(rep.reply, "nm000000");
        assert_true(gfid_is_null(&e->stat.gfid));
        assert_true(e->ino == UINT64_MAX);
        assert_true(e->stat.ino == UINT64_MAX);
        assert_true(S_ISREG(e->stat.mode));
}

static void refusals(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0700), f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t file = fixture_fd(&fx, f, O_RDONLY), fd = fixture_dirfd(&fx, d);
        struct readdir_fop_rep rep;
        assert_int_equal(read_names(f, file, 0, BIG, &rep), -EINVAL);
        assert_int_equal(read_names(f, FD_ANONYMOUS, 0, BIG, &rep), -EINVAL);
        assert_int_equal(read_names(d, -1, 0, BIG, &rep), -EBADF);
        assert_int_equal(read_names(d, 99, 0, BIG, &rep), -EBADF);
        assert_int_equal(read_names(fixture_new_gfid(), FD_ANONYMOUS, 0, BIG, &rep), -ENOENT);
        assert_int_equal(read_names(d, fd, 1ull << 63, BIG, &rep), -EINVAL);
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(read_names(d, fd, 0, BIG, &rep), -EACCES);
}

/* A directory opened as a file (for a descriptor to sync, say) lists as well. */
static void directory_by_open(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        struct readdir_fop_rep rep;
        assert_int_equal(read_names(d, fixture_fd(&fx, d, O_RDONLY), 0, BIG, &rep), 0);
        assert_int_equal(rep.op_ret, 2);
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(everything_once),
                WITH_BRICK(root_hides_what_is_its_own),
                WITH_BRICK(budget),
                WITH_BRICK(twenty_thousand_entries),
                WITH_BRICK(cookies_are_the_file_systems),
                WITH_BRICK(continues_after_a_removed_entry),
                WITH_BRICK(change_under_the_reader),
                WITH_BRICK(filter_directories),
                WITH_BRICK(keys_per_entry),
                WITH_BRICK(entries_without_identity),
                WITH_BRICK(refusals),
                WITH_BRICK(directory_by_open),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
