/* The xattr snapshot: never older than the disk, and spared system calls (docs/decisions/003-xattr-snapshot.md). */
#include "counting_disk.h"
#include "harness.h"

#include <sys/xattr.h>

static const struct gfid root = GFID_ROOT;

static int setup(void **state)
{
        struct harness *h = malloc(sizeof *h);
        harness_posix(h);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        harness_close(*state);
        free(*state);
        return 0;
}

/* The value of an attribute as a look-up by name shows it; "" when it is missing. */
static const char *seen(struct client *c, const char *name, const char *attr)
{
        static char text[64];
        struct lookup_fop_rep rep;
        struct slice v;
        const struct lookup_fop_req req = {
                .pargfid = root, .bname = str_of(name), .xdata = client_dict(c, attr, 0)};
        assert_int_equal(CALL(c, LOOKUP, &req, &rep), 0);
        if (dict_get_bytes(&rep.xdata, attr, &v) < 0)
                return "";
        snprintf(text, sizeof text, "%.*s", (int)v.len, (const char *)v.data);
        return text;
}

static void set(struct client *c, const struct gfid *g, const char *name, const char *value)
{
        struct setxattr_fop_rep rep;
        struct setxattr_fop_req req = {.gfid = *g};
        assert_int_equal(dict_add_ptr(&req.dict, &c->arena, name, value, (uint32_t)strlen(value)), 0);
        assert_int_equal(CALL(c, SETXATTR, &req, &rep), 0);
}

static void our_own_changes_are_seen(void **state)
{
        struct client *c = client_open(*state);
        struct gfid f = make_file(c, &root, "f");
        assert_string_equal(seen(c, "f", "user.a"), "");
        for (int k = 0; k < 50; k++) {
                char value[64];
                snprintf(value, sizeof value, "%.*s%d", k % 7, "longer", k);
                set(c, &f, "user.a", value);
                assert_string_equal(seen(c, "f", "user.a"), value);
        }
        struct removexattr_fop_rep rep;
        const struct removexattr_fop_req req = {.gfid = f, .name = STR("user.a")};
        assert_int_equal(CALL(c, REMOVEXATTR, &req, &rep), 0);
        assert_string_equal(seen(c, "f", "user.a"), "");
        client_close(c);
}

/* An operator with setfattr on the brick; the clock of the file system ticks every few milliseconds. */
static void changes_from_outside_are_seen(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        for (int k = 0; k < 5; k++) {
                char value[16], last[16] = "";
                snprintf(value, sizeof value, "%d", k);
                if (k > 0)
                        snprintf(last, sizeof last, "%d", k - 1);
                set(c, &f, "user.mine", value);
                assert_string_equal(seen(c, "f", "user.outside"), last);
                struct stat before, after;
                assert_int_equal(stat(on_disk(h, "f"), &before), 0);
                do {
                        assert_int_equal(setxattr(on_disk(h, "f"), "user.outside", value, strlen(value), 0), 0);
                        assert_int_equal(stat(on_disk(h, "f"), &after), 0);
                } while (memcmp(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim) == 0);
                assert_string_equal(seen(c, "f", "user.outside"), value);
        }
        client_close(c);
}

/* chmod changes the ACL by itself, possibly within one tick of the clock. */
static void acls_are_not_taken_from_memory_too_early(void **state)
{
        static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xe8, 3, 0, 0,
                                      4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255,
                                      32, 0, 0, 0, 255, 255, 255, 255};
        struct harness *h = *state;
        struct client *c = client_open(h);
        make_file(c, &root, "f");
        harness_next_tick();
        if (setxattr(on_disk(h, "f"), "system.posix_acl_access", acl, sizeof acl, 0) < 0) {
                client_close(c);
                skip();
        }
        for (int k = 0; k < 100; k++) {
                struct lookup_fop_rep rep;
                struct slice v;
                assert_int_equal(chmod(on_disk(h, "f"), k % 2 ? 0770 : 0700), 0);
                const struct lookup_fop_req req = {
                        .pargfid = root, .bname = STR("f"), .xdata = client_dict(c, "system.posix_acl_access", 0)};
                assert_int_equal(CALL(c, LOOKUP, &req, &rep), 0);
                assert_int_equal(dict_get_bytes(&rep.xdata, "system.posix_acl_access", &v), 0);
                assert_int_equal(v.data[30], k % 2 ? 7 : 0); /* the mask */
        }
        client_close(c);
}

static void many_and_large_attributes(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f");
        _cleanup_free_ char *large = malloc(8001);
        memset(large, 'x', 8000);
        large[8000] = '\0';
        int kept = 0;
        harness_next_tick();
        for (int k = 0; k < 40; k++) { /* tmpfs and ext4 have different limits: as many as go in */
                char name[32];
                snprintf(name, sizeof name, "user.large%02d", k);
                kept += disk_setxattr(h->disk, AT_FDCWD, on_disk(h, "f"), name, large, k < 20 ? 300 : 8000, 0) == 0;
        }
        struct lookup_fop_rep rep;
        for (int k = 0; k < 2; k++) {
                const struct lookup_fop_req req = {
                        .pargfid = root, .bname = STR("f"), .xdata = client_dict(c, "user.large*", 0)};
                assert_int_equal(CALL(c, LOOKUP, &req, &rep), 0);
                assert_int_equal(rep.xdata.count, kept);
        }
        set(c, &f, "user.small", "y");
        assert_string_equal(seen(c, "f", "user.small"), "y");
        client_close(c);
}

/* ---- system calls ---------------------------------------------------------------------------------------------------- */

/* What one call costs; docs/architecture.md has the table. */
static void calls_per_message(void **state)
{
        struct harness *h = *state;
        brick_close(h->brick);
        struct disk *plain = h->disk;
        struct counting_disk count;
        h->disk = counting_disk_init(&count, plain);
        h->brick = NULL;
        harness_reopen(h);
        struct client *c = client_open(h);
        c->cred.flags = 0x1f;
        struct gfid dir = make_dir(c, &root, "d"), f = make_file(c, &dir, "f");
        make_file(c, &dir, "warm");
        assert_int_equal(try_lookup(c, &dir, "f", NULL), 0);

#define COSTS(call, calls)                                                                                             \
        do {                                                                                                           \
                counting_disk_reset(&count);                                                                           \
                assert_int_equal(call, 0);                                                                             \
                if (counting_disk_total(&count) != (calls))                                                            \
                        fail_msg("%s: %s", #call, counting_disk_text(&count));                                         \
        } while (0)
        COSTS(try_lookup(c, &dir, "f", NULL), 2);          /* two stats */
        COSTS(try_lookup(c, &root, "d", NULL), 2);
        COSTS(try_stat(c, &f, NULL), 1);
        int64_t fd;
        struct gfid g = harness_gfid(h);
        /* stat of the parent, open, 3 attributes, link (and twice mkdir and again for a new hash directory), stat, times
         * and stat of the parent */
        assert_int_equal(try_create(c, &dir, "x", O_RDWR, &g, &fd), 0);
        assert_int_equal(try_unlink(c, &dir, "x"), -0);
        release(c, fd);
        COSTS(try_create(c, &dir, "x", O_RDWR, &g, &fd), 9);
        release(c, fd);
        COSTS(try_lookup(c, &dir, "x", NULL), 2);          /* nothing is read back */
        /* stats of parent and entry; handle, name; times and stat of the parent */
        COSTS(try_unlink(c, &dir, "x"), 6);
        client_close(c);
        brick_close(h->brick);
        h->disk = plain;
        h->brick = NULL;
        harness_reopen(h);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(our_own_changes_are_seen),
                TEST(changes_from_outside_are_seen),
                TEST(acls_are_not_taken_from_memory_too_early),
                TEST(many_and_large_attributes),
                TEST(calls_per_message),
        };
        return cmocka_run_group_tests_name("brick/snapshot", tests, NULL, NULL);
}
