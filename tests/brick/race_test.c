/* What another client does between two system calls of an operation: nothing of it may be mixed into the answer. */
#include "interposed_disk.h"

#include "brick/internal.h"

#include <sys/sysmacros.h>

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

/* ---- actors -------------------------------------------------------------------------------------------------------- */

static void write_text(struct client *c, const struct gfid *g, const char *text)
{
        struct write_fop_rep rep;
        const struct write_fop_req req = {.gfid = *g,
                                          .fd = FD_ANONYMOUS,
                                          .size = (uint32_t)strlen(text),
                                          .data = {(const uint8_t *)text, (uint32_t)strlen(text)}};
        assert_int_equal(CALL(c, WRITE, &req, &rep), 0);
}

static int read_text(struct client *c, const struct gfid *g, int64_t fd, struct read_fop_rep *rep)
{
        const struct read_fop_req req = {.gfid = *g, .fd = fd, .size = 100};
        return CALL(c, READ, &req, rep);
}

/* 12 bytes of counters, the first one VALUE; the result is the first counter afterwards. */
static uint32_t add_pending(struct client *c, const struct gfid *g, int64_t fd, uint8_t value)
{
        const uint8_t counters[12] = {[3] = value};
        struct dict d = {0};
        assert_int_equal(dict_add_ptr(&d, &c->arena, "trusted.afr.v-client-1", counters, sizeof counters), 0);
        struct fxattrop_fop_rep rep;
        const struct fxattrop_fop_req req = {.gfid = *g, .fd = fd, .dict = d};
        assert_int_equal(CALL(c, FXATTROP, &req, &rep), 0);
        struct slice v;
        assert_int_equal(dict_get_bytes(&rep.dict, "trusted.afr.v-client-1", &v), 0);
        assert_int_equal(v.len, 12);
        return (uint32_t)v.data[2] << 8 | v.data[3];
}

struct scene {
        struct client *other;
        struct gfid x, z;
};

static struct scene two_files(struct harness *h, const char *in_x, const char *in_z)
{
        struct client *c = client_open(h);
        struct scene s = {.x = make_file(c, &root, "x"), .z = make_file(c, &root, "z")};
        write_text(c, &s.x, in_x);
        write_text(c, &s.z, in_z);
        client_close(c);
        harness_reopen(h); /* nothing is cached */
        s.other = client_open(h);
        return s;
}

static void x_moves_and_z_takes_its_name(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(try_rename(s->other, &root, "x", &root, "y"), 0);
        assert_int_equal(try_rename(s->other, &root, "z", &root, "x"), 0);
}

static void z_replaces_x(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(try_rename(s->other, &root, "z", &root, "x"), 0);
}

/* ---- look-ups ------------------------------------------------------------------------------------------------------ */

static void look_while(struct harness *h, enum interposed_call call, enum interposed_when when,
                       void (*change)(void *arg))
{
        struct scene s = two_files(h, "xx", "zzzz");
        struct client *c = client_open(h);
        struct iatt i;
        interpose(h, call, "x", when, change, &s);
        assert_int_equal(try_lookup(c, &root, "x", &i), 0); /* the name is always there */
        assert_true(interpose_end(h));
        if (gfid_equal(&i.gfid, &s.x))
                assert_int_equal(i.size, 2);
        else
                assert_true(gfid_equal(&i.gfid, &s.z) && i.size == 4);
        assert_int_equal(try_lookup(c, &root, "x", &i), 0);
        assert_true(gfid_equal(&i.gfid, &s.z));
        assert_int_equal(i.size, 4);
        client_close(c);
        client_close(s.other);
}

static void a_lookup_shows_one_object(void **state)
{
        look_while(*state, AT_STAT, AFTER, x_moves_and_z_takes_its_name);
}

static void a_lookup_reads_the_attributes_of_one_object(void **state)
{
        look_while(*state, AT_LISTXATTR, BEFORE, x_moves_and_z_takes_its_name);
}

static void a_replaced_name_is_never_absent(void **state)
{
        look_while(*state, AT_STAT, AFTER, z_replaces_x);
}

static void a_directory_is_shown_with_its_own_gfid(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct scene s = {.other = client_open(h), .x = make_dir(c, &root, "x"), .z = make_dir(c, &root, "z")};
        make_dir(c, &s.z, "sub");
        struct iatt i;
        assert_int_equal(try_lookup(c, &root, "z", &i), 0);
        uint32_t links = i.nlink;
        interpose(h, AT_STAT, "x", AFTER, x_moves_and_z_takes_its_name, &s);
        assert_int_equal(try_lookup(c, &root, "x", &i), 0);
        assert_true(interpose_end(h));
        if (gfid_equal(&i.gfid, &s.z))
                assert_int_equal(i.nlink, links);
        client_close(c);
        client_close(s.other);
}

static void content_belongs_to_the_gfid(void **state)
{
        struct harness *h = *state;
        struct scene s = two_files(h, "xxxx", "zzzz");
        struct client *c = client_open(h);
        struct lookup_fop_rep rep;
        for (int round = 0; round < 2; round++) {
                const struct lookup_fop_req req = {
                        .pargfid = root, .bname = STR("x"), .xdata = client_dict(c, "glusterfs.content", 100)};
                if (round == 1) /* all is cached but the content */
                        interpose(h, AT_OPEN, "", BEFORE, x_moves_and_z_takes_its_name, &s);
                assert_int_equal(CALL(c, LOOKUP, &req, &rep), 0);
        }
        assert_true(interpose_end(h));
        struct slice text;
        if (dict_get_bytes(&rep.xdata, "glusterfs.content", &text) == 0)
                assert_memory_equal(text.data, gfid_equal(&rep.prestat.gfid, &s.x) ? "xxxx" : "zzzz", 4);
        client_close(c);
        client_close(s.other);
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

static void x_becomes_a_device(void *arg)
{
        struct scene *s = arg;
        struct mknod_fop_rep rep;
        assert_int_equal(try_unlink(s->other, &root, "x"), 0);
        const struct mknod_fop_req req = {.pargfid = root,
                                          .mode = S_IFCHR | 0644,
                                          .dev = (uint32_t)makedev(1, 5), /* /dev/zero */
                                          .bname = STR("x"),
                                          .xdata = client_gfid_req(s->other, &s->x)};
        assert_int_equal(CALL(s->other, MKNOD, &req, &rep), 0);
}

static const char *handle_end(const struct gfid *g)
{
        static char text[GFID_TEXT_LEN + 1];
        return gfid_format(g, text);
}

static void devices_are_never_opened(struct harness *h, enum interposed_call call, enum interposed_when when)
{
        struct scene s = two_files(h, "xx", "zz");
        struct client *c = client_open(h);
        int64_t fd;
        interpose(h, call, handle_end(&s.x), when, x_becomes_a_device, &s);
        if (try_open(c, &s.x, O_RDWR, &fd) == 0) {
                struct stat st;
                struct open_fd *of = session_fd_get(c->session, fd);
                assert_int_equal(fstat(of->fd, &st), 0);
                assert_true(S_ISREG(st.st_mode));
                open_fd_unref(h->brick, of);
                release(c, fd);
        }
        assert_true(interpose_end(h));
        client_close(c);
        client_close(s.other);
}

static void a_device_in_the_place_of_a_file_seen_is_not_opened(void **state)
{
        devices_are_never_opened(*state, AT_STAT, AFTER);
}

static void a_device_in_the_place_of_a_file_checked_is_not_opened(void **state)
{
        devices_are_never_opened(*state, AT_OPEN, BEFORE);
}

static void an_anonymous_descriptor_is_no_device(void **state)
{
        struct harness *h = *state;
        struct scene s = two_files(h, "xx", "zz");
        struct client *c = client_open(h);
        struct read_fop_rep rep;
        interpose(h, AT_STAT, handle_end(&s.x), AFTER, x_becomes_a_device, &s);
        if (read_text(c, &s.x, FD_ANONYMOUS, &rep) == 0)
                assert_int_equal(rep.size, 2);
        assert_true(interpose_end(h));
        client_close(c);
        client_close(s.other);
}

static void x_is_unlinked(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(try_unlink(s->other, &root, "x"), 0);
}

static void a_file_that_is_being_opened_is_open(void **state)
{
        struct harness *h = *state;
        struct scene s = two_files(h, "xx", "zz");
        struct client *c = client_open(h);
        struct read_fop_rep rep;
        int64_t fd;
        interpose(h, AT_OPEN, handle_end(&s.x), AFTER, x_is_unlinked, &s);
        assert_int_equal(try_open(c, &s.x, O_RDWR, &fd), 0);
        assert_true(interpose_end(h));
        assert_int_equal(try_lookup(c, &root, "x", NULL), -ENOENT);
        assert_int_equal(read_text(c, &s.x, FD_ANONYMOUS, &rep), 0); /* as for every open file without names */
        assert_int_equal(rep.size, 2);
        release(c, fd);
        assert_int_equal(read_text(c, &s.x, FD_ANONYMOUS, &rep), -ENOENT);
        client_close(c);
        client_close(s.other);
}

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

/* Self-heal deletes a file and makes it again with its gfid, while a client has the first one open. */
static void objects_of_one_gfid_have_their_own_attributes(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid x = make_file(c, &root, "x");
        int64_t fd;
        assert_int_equal(try_open(c, &x, O_RDWR, &fd), 0);
        assert_int_equal(add_pending(c, &x, fd, 7), 7);
        assert_int_equal(try_unlink(c, &root, "x"), 0);
        assert_int_equal(try_mknod(c, &root, "x", &x), 0);
        assert_int_equal(add_pending(c, &x, fd, 1), 8);
        assert_int_equal(add_pending(c, &x, FD_ANONYMOUS, 0), 0);
        assert_int_equal(add_pending(c, &x, FD_ANONYMOUS, 1), 1);
        assert_int_equal(add_pending(c, &x, fd, 0), 8);
        assert_int_equal(add_pending(c, &x, fd, 1), 9);
        assert_int_equal(add_pending(c, &x, FD_ANONYMOUS, 1), 2);
        release(c, fd);
        client_close(c);
}

static void n_is_marked(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(add_pending(s->other, &s->x, FD_ANONYMOUS, 1), 1);
}

/* The handle exists before MKNOD is done: from then on others may use the object. */
static void a_new_object_shows_what_others_set(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct scene s = {.other = client_open(h), .x = harness_gfid(h)};
        interpose(h, AT_STAT, "n", AFTER, n_is_marked, &s);
        assert_int_equal(try_mknod(c, &root, "n", &s.x), 0);
        assert_true(interpose_end(h));
        assert_int_equal(add_pending(c, &s.x, FD_ANONYMOUS, 0), 1);
        client_close(c);
        client_close(s.other);
}

/* ---- renaming ------------------------------------------------------------------------------------------------------ */

static void x_is_asked_for(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(try_lookup(s->other, &s->x, "inside", NULL), 0);
}

static void what_is_below_a_moving_directory_is_there(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid a = make_dir(c, &root, "a"), b = make_dir(c, &a, "b");
        struct scene s = {.x = make_dir(c, &b, "x")};
        make_file(c, &s.x, "inside");
        client_close(c);
        harness_reopen(h); /* no directory is open */
        c = client_open(h);
        s.other = client_open(h);
        interpose(h, AT_RENAME, "a", AFTER, x_is_asked_for, &s);
        assert_int_equal(try_rename(c, &root, "a", &root, "moved"), 0);
        assert_true(interpose_end(h));
        client_close(c);
        client_close(s.other);
}

/* ---- the janitor --------------------------------------------------------------------------------------------------- */

static void the_other_name_goes(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(try_unlink(s->other, &root, "live"), 0);
}

static void it_gets_another_name(void *arg)
{
        struct scene *s = arg;
        assert_int_equal(try_link(s->other, &s->x, &root, "saved"), 0);
}

/* A file in a removed subtree is looked at by the janitor, and CHANGE follows. */
static struct gfid purge_while(struct harness *h, bool second_name, void (*change)(void *arg))
{
        struct client *c = client_open(h);
        struct scene s = {.other = client_open(h), .z = make_dir(c, &root, "d")};
        struct rmdir_fop_rep rep;
        const struct rmdir_fop_req req = {.pargfid = root, .bname = STR("d"), .xflags = 1};
        s.x = make_file(c, &s.z, "inner");
        if (second_name)
                assert_int_equal(try_link(c, &s.x, &root, "live"), 0);
        assert_int_equal(CALL(c, RMDIR, &req, &rep), 0);
        interpose(h, AT_STAT, "inner", AFTER, change, &s);
        brick_purge(h->brick, 1000 * NS_PER_SEC);
        assert_true(interpose_end(h));
        brick_purge(h->brick, 2000 * NS_PER_SEC);
        client_close(c);
        client_close(s.other);
        return s.x;
}

static void it_is_purged(void *arg)
{
        static uint64_t now;
        struct harness *h = arg;
        brick_purge(h->brick, now += 1000 * NS_PER_SEC);
}

static void n_is_looked_up(void *arg)
{
        struct scene *s = arg;
        (void)try_lookup(s->other, &s->x, "n", NULL);
}

static void a_look_up_does_not_revive_a_purged_directory(void **state)
{
        struct harness *h = *state;
        struct scene s = {.other = client_open(h)};
        s.x = make_dir(s.other, &root, "d");
        struct gfid n = make_dir(s.other, &s.x, "n");
        const char *removed = on_disk(h, ".glusterfs/landfill/removed");
        assert_int_equal(disk_rename(h->disk, AT_FDCWD, on_disk(h, "d"), AT_FDCWD, removed, 0), 0);
        interpose(h, AT_RENAME, "n", BEFORE, n_is_looked_up, &s);
        it_is_purged(h);
        assert_true(interpose_end(h));
        it_is_purged(h);
        assert_false(exists_on_disk(h, handle_on_disk(h, &n)));
        client_close(s.other);
}

static void n_gets_a_gfid(void *arg)
{
        struct scene *s = arg;
        struct lookup_fop_rep rep;
        const struct lookup_fop_req req = {
                .pargfid = s->x, .bname = STR("n"), .xdata = client_gfid_req(s->other, &s->z)};
        (void)CALL(s->other, LOOKUP, &req, &rep);
}

/* A request that found the directory before its removal completes an object in it. */
static void what_is_made_in_a_removed_directory_leaves_no_handle(void **state)
{
        struct harness *h = *state;
        static const mode_t kinds[] = {S_IFREG, S_IFDIR};
        struct scene s = {.other = client_open(h)};
        for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                s.x = make_dir(s.other, &root, "d");
                s.z = harness_gfid(h);
                assert_int_equal(try_lookup(s.other, &s.x, "absent", NULL), -ENOENT); /* it is open now */
                if (kinds[k] == S_IFDIR)
                        assert_int_equal(disk_mkdir(h->disk, AT_FDCWD, on_disk(h, "d/n"), 0755), 0);
                else
                        assert_int_equal(disk_mknod(h->disk, AT_FDCWD, on_disk(h, "d/n"), S_IFREG | 0644, 0), 0);
                const char *removed = on_disk(h, ".glusterfs/landfill/%zu", k);
                assert_int_equal(disk_rename(h->disk, AT_FDCWD, on_disk(h, "d"), AT_FDCWD, removed, 0), 0);
                interpose(h, AT_GETXATTR, "n", AFTER, n_gets_a_gfid, &s);
                it_is_purged(h);
                assert_true(interpose_end(h));
                it_is_purged(h);
                assert_false(exists_on_disk(h, handle_on_disk(h, &s.z)));
        }
        client_close(s.other);
}

static void a_purged_file_leaves_no_handle(void **state)
{
        struct harness *h = *state;
        struct gfid x = purge_while(h, true, the_other_name_goes);
        assert_false(exists_on_disk(h, handle_on_disk(h, &x)));
}

static void a_file_that_gets_a_name_is_not_purged(void **state)
{
        struct harness *h = *state;
        struct gfid x = purge_while(h, false, it_gets_another_name);
        assert_true(exists_on_disk(h, handle_on_disk(h, &x)));
        assert_true(exists_on_disk(h, on_disk(h, "saved")));
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(a_lookup_shows_one_object),
                WITH_BRICK(a_lookup_reads_the_attributes_of_one_object),
                WITH_BRICK(a_replaced_name_is_never_absent),
                WITH_BRICK(a_directory_is_shown_with_its_own_gfid),
                WITH_BRICK(content_belongs_to_the_gfid),
                WITH_BRICK(a_device_in_the_place_of_a_file_seen_is_not_opened),
                WITH_BRICK(a_device_in_the_place_of_a_file_checked_is_not_opened),
                WITH_BRICK(an_anonymous_descriptor_is_no_device),
                WITH_BRICK(a_file_that_is_being_opened_is_open),
                WITH_BRICK(objects_of_one_gfid_have_their_own_attributes),
                WITH_BRICK(a_new_object_shows_what_others_set),
                WITH_BRICK(what_is_below_a_moving_directory_is_there),
                WITH_BRICK(what_is_made_in_a_removed_directory_leaves_no_handle),
                WITH_BRICK(a_look_up_does_not_revive_a_purged_directory),
                WITH_BRICK(a_purged_file_leaves_no_handle),
                WITH_BRICK(a_file_that_gets_a_name_is_not_purged),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
