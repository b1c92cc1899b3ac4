/* Writes that are answered before the volume has them: what is answered when, what waits for what, where failures go.
 */
#include "kernel.h"

#include "base/log.h"
#include "mount/write_behind.h"

#define BEHIND(name)                                                                                                   \
        static void name##_behind(struct kernel *k);                                                                   \
        SCENARIO(name)                                                                                                 \
        {                                                                                                              \
                bridge_set_write_behind(k->bridge, MIB);                                                               \
                name##_behind(k);                                                                                      \
        }                                                                                                              \
        static void name##_behind(struct kernel *k)

static uint64_t tell_write(struct kernel *k, uint64_t node, uint64_t fh, uint64_t offset, const void *data,
                           uint32_t size)
{
        struct fuse_write_in in = {.fh = fh, .offset = offset, .size = size};
        const struct iovec parts[] = {PART(in), {(void *)(uintptr_t)data, size}};
        return tell(k, FUSE_WRITE, node, parts, 2);
}

static int put(struct kernel *k, uint64_t node, uint64_t fh, uint64_t offset, const void *data, uint32_t size)
{
        int r = hear(k, tell_write(k, node, fh, offset, data, size), NULL);
        if (r == 0)
                assert_int_equal(((const struct fuse_write_out *)(const void *)k->d->message)->size, size);
        return r;
}

static int sync_file(struct kernel *k, uint64_t node, uint64_t fh)
{
        struct fuse_fsync_in in = {.fh = fh};
        return ASK(k, FUSE_FSYNC, node, PART(in));
}

static void until_held(struct kernel *k, unsigned n)
{
        while (fake_held(k->fake) != n)
                fibre_sleep(k->self, NS_PER_MSEC);
}

/* Nothing is answered although everything that can run has run. */
static void expect_silence(struct kernel *k)
{
        for (int i = 0; i < 20; i++)
                fibre_yield(k->self);
        fibre_sleep(k->self, 2 * NS_PER_MSEC);
        assert_false(kernel_has_answer(k->d));
}

/* ---- what is answered -------------------------------------------------------------------------------------------- */

BEHIND(small)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_getattr_in in = {0};
        fake_hold(k->fake, FOP_WRITE);
        for (unsigned i = 0; i < 1000; i++)
                assert_ok(put(k, node, fh, i * 10, "0123456789", 10));
        until_held(k, 1); /* the first alone; the others became one */
        uint64_t unique = tell(k, FUSE_GETATTR, node, &PART(in), 1);
        until_held(k, 2); /* somebody waits for all */
        fake_release(k->fake);
        assert_ok(hear(k, unique, NULL));
        assert_int_equal(last_attr(k).size, 10000);
        assert_int_equal(fake_count(k->fake, FOP_WRITE), 2);
        for (unsigned i = 0; i < 1000; i++)
                assert_memory_equal(fake_contents(k->fake, "f") + i * 10, "0123456789", 10);
}

/* The last write wins, whatever the order in which the volume is ready. */
BEHIND(overlapping)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(put(k, node, fh, 0, "aaaa", 4));
        assert_ok(put(k, node, fh, 1, "bb", 2));
        assert_ok(put(k, node, fh, 100, "c", 1));
        assert_ok(put(k, node, fh, 200, "d", 1));
        until_held(k, 2); /* the first and the third: the second waits for the first, the last may grow */
        assert_ok(put(k, node, fh, 0, "e", 1));
        assert_ok(put(k, node, fh, 1, "ff", 2));
        fake_release(k->fake);
        assert_ok(flush(k, node, fh, 1));
        assert_memory_equal(fake_contents(k->fake, "f"), "effa\0", 5);
        assert_memory_equal(fake_contents(k->fake, "f") + 200, "d", 2);
}

BEHIND(large)
{
        static uint8_t data[300 * KIB];
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        fake_hold(k->fake, FOP_WRITE);
        for (unsigned i = 0; i < 3; i++) {
                memset(data, 'a' + (int)i, sizeof data);
                assert_ok(put(k, node, fh, i * sizeof data, data, sizeof data));
        }
        until_held(k, 3);
        assert_ok(put(k, node, fh, 100, "x", 1));
        fake_release(k->fake);
        assert_ok(flush(k, node, fh, 1));
        const char *have = fake_contents(k->fake, "f");
        assert_memory_equal(have + 99, "axa", 3);
        assert_int_equal(have[sizeof data], 'b');
        assert_int_equal(have[2 * sizeof data], 'c');
        assert_int_equal(fake_count(k->fake, FOP_WRITE), 4);
}

/* Who asked for it to be on disk, and who writes at an end that only the bricks know, is answered afterwards. */
BEHIND(through)
{
        static const uint32_t flags[] = {O_SYNC, O_DSYNC, O_DIRECT, O_APPEND};
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        for (size_t i = 0; i < ELEMENTSOF(flags); i++) {
                uint64_t other = open_file(k, node, O_WRONLY | flags[i], NULL);
                fake_hold(k->fake, FOP_WRITE);
                assert_ok(put(k, node, fh, 0, "behind", 6));
                uint64_t unique = tell_write(k, node, other, 0, "through", 7);
                expect_silence(k);
                assert_int_equal(fake_held(k->fake), 1); /* in order with what is behind */
                fake_release(k->fake);
                assert_ok(hear(k, unique, NULL));
                assert_ok(release(k, FUSE_RELEASE, node, other));
        }
}

BEHIND(bounds)
{
        static uint8_t data[64 * KIB];
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        fake_hold(k->fake, FOP_WRITE);
        for (unsigned i = 0; i < 16; i++)
                assert_ok(put(k, node, fh, i * sizeof data, data, sizeof data));
        uint64_t unique = tell_write(k, node, fh, 16 * sizeof data, data, sizeof data);
        expect_silence(k);
        struct fuse_interrupt_in in = {.unique = unique};
        (void)tell(k, FUSE_INTERRUPT, node, &PART(in), 1);
        assert_int_equal(hear(k, unique, NULL), -EINTR);
        unique = tell_write(k, node, fh, 16 * sizeof data, data, sizeof data);
        fake_release(k->fake);
        assert_ok(hear(k, unique, NULL));
        assert_ok(flush(k, node, fh, 1));
        struct iatt stat;
        assert_true(fake_stat(k->fake, "f", &stat) && stat.size == 17 * sizeof data);
}

SCENARIO(switched_off)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        fake_hold(k->fake, FOP_WRITE);
        uint64_t unique = tell_write(k, node, fh, 0, "x", 1);
        expect_silence(k);
        fake_release(k->fake);
        assert_ok(hear(k, unique, NULL));
}

/* ---- who waits ----------------------------------------------------------------------------------------------------
 */

struct waiting {
        uint32_t opcode;
        enum fop fop; /* not before the data is there */
        size_t n;
        union {
                struct fuse_getattr_in getattr;
                struct fuse_setattr_in setattr;
                struct fuse_read_in read;
                struct fuse_flush_in flush;
                struct fuse_fsync_in fsync;
                struct fuse_lk_in lk;
                struct fuse_fallocate_in fallocate;
                struct fuse_lseek_in lseek;
                struct fuse_rename_in rename;
                struct fuse_link_in link;
        };
        const char *name, *new_name;
};

static void expect_wait(struct kernel *k, uint64_t node, uint64_t fh, const struct waiting *w)
{
        uint64_t on = w->name ? FUSE_ROOT_ID : node;
        struct iovec parts[3] = {{(void *)(uintptr_t)&w->getattr, w->n}};
        int n = w->n > 0;
        if (w->name)
                parts[n++] = TEXT(w->name);
        if (w->new_name)
                parts[n++] = TEXT(w->new_name);
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(put(k, node, fh, 0, "data", 4));
        until_held(k, 1);
        fake_reset_counts(k->fake);
        uint64_t unique = tell(k, w->opcode, on, parts, n);
        expect_silence(k);
        assert_int_equal(fake_count(k->fake, w->fop), 0);
        fake_release(k->fake);
        assert_ok(hear(k, unique, NULL));
        assert_true(fake_count(k->fake, w->fop) > 0);
}

BEHIND(waiting)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node), other = open_file(k, node, O_RDONLY, NULL);
        struct fuse_file_lock read = {.end = INT64_MAX, .type = F_RDLCK}, none = {.end = INT64_MAX, .type = F_UNLCK};
        const struct waiting all[] = {
                {FUSE_GETATTR, FOP_FSTAT, sizeof(struct fuse_getattr_in)},
                {FUSE_SETATTR, FOP_TRUNCATE, sizeof(struct fuse_setattr_in),
                 .setattr = {.valid = FATTR_SIZE, .size = 9}},
                {FUSE_SETATTR, FOP_SETATTR, sizeof(struct fuse_setattr_in), .setattr = {.valid = FATTR_MTIME}},
                {FUSE_READ, FOP_READ, sizeof(struct fuse_read_in), .read = {.fh = other, .offset = 3, .size = 10}},
                {FUSE_FLUSH, FOP_FLUSH, sizeof(struct fuse_flush_in), .flush = {.fh = fh}},
                {FUSE_FSYNC, FOP_FSYNC, sizeof(struct fuse_fsync_in), .fsync = {.fh = other}},
                {FUSE_SETLK, FOP_LK, sizeof(struct fuse_lk_in), .lk = {.fh = fh, .owner = 1, .lk = read}},
                {FUSE_SETLK, FOP_LK, sizeof(struct fuse_lk_in), .lk = {.fh = fh, .owner = 1, .lk = none}},
                {FUSE_SETLKW, FOP_LK, sizeof(struct fuse_lk_in), .lk = {.fh = fh, .owner = 1, .lk = read}},
                {FUSE_FALLOCATE, FOP_FALLOCATE, sizeof(struct fuse_fallocate_in), .fallocate = {.fh = fh, .length = 9}},
                {FUSE_LSEEK, FOP_SEEK, sizeof(struct fuse_lseek_in), .lseek = {.fh = fh, .whence = SEEK_HOLE}},
                {FUSE_LOOKUP, FOP_LOOKUP, 0, .name = "f"},
                {FUSE_LINK, FOP_LINK, sizeof(struct fuse_link_in), .link = {.oldnodeid = node}, .name = "g"},
                {FUSE_RENAME, FOP_RENAME, sizeof(struct fuse_rename_in), .rename = {FUSE_ROOT_ID}, "f", "h"},
        };
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                expect_wait(k, node, fh, &all[i]);
        /* what was looked up under a name not known before */
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(put(k, node, fh, 100, "end", 3));
        until_held(k, 1);
        (void)ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("none"));
        struct fuse_forget_in forget_in = {.nlookup = 0};
        (void)tell(k, FUSE_FORGET, node, &PART(forget_in), 1);
        const struct iovec name = TEXT("g");
        uint64_t unique = tell(k, FUSE_LOOKUP, FUSE_ROOT_ID, &name, 1);
        expect_silence(k);
        fake_release(k->fake);
        assert_ok(hear(k, unique, NULL));
        assert_int_equal(last_entry(k).attr.size, 103);
}

/* What lies before the read, and other files, are nobody's concern. */
BEHIND(not_waiting)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        assert_ok(put(k, node, fh, 0, "0123456789", 10));
        assert_ok(flush(k, node, fh, 1));
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(put(k, node, fh, 0, "abc", 3));
        struct fuse_read_in in = {.fh = fh, .offset = 3, .size = 100};
        assert_ok(ASK(k, FUSE_READ, node, PART(in)));
        assert_memory_equal(k->d->message, "3456789", 7);
        uint64_t second, other = create(k, "g", O_RDWR, &second);
        assert_ok(flush(k, second, other, 1));
        fake_release(k->fake);
}

/* Listings do not tell sizes that are about to change. */
BEHIND(listing)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(put(k, node, fh, 0, "abc", 3));
        struct fuse_open_in open_in = {.flags = O_RDONLY | O_DIRECTORY};
        assert_ok(ASK(k, FUSE_OPENDIR, FUSE_ROOT_ID, PART(open_in)));
        uint64_t directory = ((const struct fuse_open_out *)(const void *)k->d->message)->fh;
        struct fuse_read_in in = {.fh = directory, .size = 4096};
        const struct iovec part = PART(in);
        size_t size;
        assert_ok(hear(k, tell(k, FUSE_READDIRPLUS, FUSE_ROOT_ID, &part, 1), &size));
        for (size_t at = 0; at < size;) {
                const struct fuse_direntplus *plus = (const void *)(k->d->message + at);
                assert_int_equal(plus->entry_out.nodeid, 0);
                at += FUSE_DIRENTPLUS_SIZE(plus);
        }
        fake_release(k->fake);
}

BEHIND(interrupted)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_getattr_in in = {0};
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(put(k, node, fh, 0, "abc", 3));
        uint64_t unique = tell(k, FUSE_GETATTR, node, &PART(in), 1);
        expect_silence(k);
        struct fuse_interrupt_in interrupt = {.unique = unique};
        (void)tell(k, FUSE_INTERRUPT, node, &PART(interrupt), 1);
        assert_int_equal(hear(k, unique, NULL), -EINTR);
        fake_release(k->fake);
}

/* ---- failures -----------------------------------------------------------------------------------------------------
 */

/* Every file that was open learns of it once; after it writes are answered when they are done. */
BEHIND(failures)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node), second = open_file(k, node, O_RDWR, NULL);
        fake_fail_next(k->fake, FOP_WRITE, -ENOSPC);
        assert_ok(put(k, node, fh, 0, "abc", 3));
        assert_int_equal(flush(k, node, fh, 1), -ENOSPC);
        assert_ok(flush(k, node, fh, 1));
        uint64_t third = open_file(k, node, O_RDWR, NULL);
        assert_ok(sync_file(k, node, third));
        assert_int_equal(sync_file(k, node, second), -ENOSPC);
        assert_ok(sync_file(k, node, second));

        fake_fail_next(k->fake, FOP_WRITE, -EDQUOT);
        assert_int_equal(put(k, node, fh, 0, "abc", 3), -EDQUOT); /* careful now */
        assert_ok(put(k, node, fh, 0, "abc", 3));
        fake_fail_next(k->fake, FOP_WRITE, -EIO);
        assert_ok(put(k, node, fh, 0, "abc", 3)); /* not any more */
        struct fuse_getattr_in in = {0};
        assert_ok(ASK(k, FUSE_GETATTR, node, PART(in)));
        assert_int_equal(put(k, node, fh, 0, "xyz", 3), -EIO);
        assert_ok(put(k, node, fh, 0, "xyz", 3));
        assert_string_equal(fake_contents(k->fake, "f"), "xyz");
        assert_int_equal(flush(k, node, second, 1), -EIO);
        assert_ok(flush(k, node, fh, 1));
}

/* A writer without the right to keep them takes setuid bits away, those too that came meanwhile. */
BEHIND(set_id)
{
        struct iatt stat;
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_write_in in = {.fh = fh, .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID};
        const struct iovec parts[] = {PART(in), {(void *)(uintptr_t) "x", 1}};
        k->uid = 1000;
        fake_hold(k->fake, FOP_WRITE);
        assert_ok(ask(k, FUSE_WRITE, node, parts, 2)); /* there are none */
        fake_chmod(k->fake, "f", S_IFREG | 04755);
        fake_release(k->fake);
        assert_ok(flush(k, node, fh, 1));
        assert_true(fake_stat(k->fake, "f", &stat) && (stat.mode & 07777) == 0755);
        k->uid = 0;
        struct fuse_setattr_in chmod_in = {.valid = FATTR_MODE, .mode = 04755};
        assert_ok(ASK(k, FUSE_SETATTR, node, PART(chmod_in)));
        k->uid = 1000;
        fake_hold(k->fake, FOP_WRITE);
        uint64_t unique = tell(k, FUSE_WRITE, node, parts, 2); /* there are some: not answered before they are gone */
        expect_silence(k);
        fake_release(k->fake);
        assert_ok(hear(k, unique, NULL));
        assert_true(fake_stat(k->fake, "f", &stat) && (stat.mode & 07777) == 0755);
}

/* The mount ends with writes on their way: they arrive. */
BEHIND(ending)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        for (unsigned i = 0; i < 100; i++)
                assert_ok(put(k, node, fh, 2 * i, "x", 1));
        bridge_settle(k->self, k->bridge);
        struct iatt stat;
        assert_true(fake_stat(k->fake, "f", &stat) && stat.size == 199);
}

/* ---- anything -----------------------------------------------------------------------------------------------------
 */

#define MODEL_SIZE (64 * KIB)

/* Whatever is written, held up and asked for in between: the file is what the program wrote. */
BEHIND(random)
{
        static uint8_t model[MODEL_SIZE], data[8 * KIB];
        uint64_t node, fh = create(k, "f", O_RDWR, &node), size = 0;
        unsigned seed = 4711;
        memset(model, 0, sizeof model);
        for (unsigned i = 0; i < 3000; i++) {
                uint32_t n = 1 + (uint32_t)rand_r(&seed) % (i % 3 ? 100 : 8000);
                uint64_t at = i % 4 ? (uint64_t)rand_r(&seed) % (MODEL_SIZE - n) : MIN(size, MODEL_SIZE - n);
                memset(data, rand_r(&seed), n);
                if (i % 7 == 0)
                        fake_hold(k->fake, FOP_WRITE);
                assert_ok(put(k, node, fh, at, data, n));
                memcpy(model + at, data, n);
                size = MAX(size, at + n);
                if (i % 7 == 5)
                        fake_release(k->fake);
                if (i % 7 != 5 || i % 5)
                        continue;
                struct fuse_read_in in = {.fh = fh, .offset = at, .size = n};
                assert_ok(ASK(k, FUSE_READ, node, PART(in)));
                assert_memory_equal(k->d->message, data, n);
        }
        fake_release(k->fake);
        assert_ok(flush(k, node, fh, 1));
        struct iatt stat;
        assert_true(fake_stat(k->fake, "f", &stat) && stat.size == size);
        assert_memory_equal(fake_contents(k->fake, "f"), model, size);
        assert_true(fake_count(k->fake, FOP_WRITE) < 3000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_small),    cmocka_unit_test(test_overlapping),
                cmocka_unit_test(test_large),    cmocka_unit_test(test_through),
                cmocka_unit_test(test_bounds),   cmocka_unit_test(test_switched_off),
                cmocka_unit_test(test_waiting),  cmocka_unit_test(test_not_waiting),
                cmocka_unit_test(test_listing),  cmocka_unit_test(test_interrupted),
                cmocka_unit_test(test_failures), cmocka_unit_test(test_set_id),
                cmocka_unit_test(test_ending),   cmocka_unit_test(test_random),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
