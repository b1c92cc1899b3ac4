/* Descriptors and data: open, read, write, sync, truncate, allocation, seek, copy, checksums; every "(observed)" fact
 * of brick.md §8.4, §8.5, §8.11–8.20, §14 that concerns them. */
#include <stdio.h>

#include <openssl/sha.h>
#include <sys/resource.h>

#include "fixture.h"

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

static int open_as(struct gfid g, uint32_t flags)
{
        struct open_fop_rep rep;
        return CALL(&fx, OPEN, open, &rep, .gfid = g, .flags = flags);
}

static void release(int64_t fd)
{
        struct release_fop_rep rep;
        assert_int_equal(CALL(&fx, RELEASE, release, &rep, .fd = fd), 0);
}

static void assert_slice(struct slice s, const char *text)
{
        assert_int_equal(s.len, strlen(text));
        assert_memory_equal(s.data, text, s.len);
}

static int read_result(struct gfid g, int64_t fd, uint64_t offset, uint32_t size, struct read_fop_rep *rep)
{
        return CALL(&fx, READ, read, rep, .gfid = g, .fd = fd, .offset = offset, .size = size);
}

static int write_result(struct gfid g, int64_t fd, uint64_t offset, const char *text, struct write_fop_rep *rep)
{
        return CALL(&fx, WRITE, write, rep, .gfid = g, .fd = fd, .offset = offset, .data = bytes_of(text));
}

/* ---- descriptors ----------------------------------------------------------------------------------------------- */

static void numbers_lowest_first(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        assert_int_equal(fixture_fd(&fx, f, O_RDONLY), 0);
        assert_int_equal(fixture_dirfd(&fx, d), 1);
        assert_int_equal(fixture_fd(&fx, f, O_RDWR), 2);
        release(1);
        release(0);
        assert_int_equal(fixture_fd(&fx, f, O_RDONLY), 0);
        assert_int_equal(fixture_fd(&fx, f, O_RDONLY), 1);
        assert_int_equal(fixture_fd(&fx, f, O_RDONLY), 3);
        for (int i = 4; i < 300; i++)
                assert_int_equal(fixture_fd(&fx, f, O_RDONLY), i);
        release(77);
        assert_int_equal(fixture_fd(&fx, f, O_RDONLY), 77);
        assert_int_equal(fixture_fd(&fx, f, O_RDONLY), 300);
}

static void release_never_fails(void **state)
{
        (void)state;
        release(0);
        release(-1);
        release(-2);
        release(123456789);
        release(INT64_MAX);
        release(INT64_MIN);
        struct releasedir_fop_rep rep;
        assert_int_equal(CALL(&fx, RELEASEDIR, releasedir, &rep, .fd = 5), 0);
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDONLY);
        assert_int_equal(CALL(&fx, RELEASEDIR, releasedir, &rep, .fd = fd), 0); /* one table */
        struct read_fop_rep read;
        assert_int_equal(read_result(f, fd, 0, 10, &read), -EBADF);
}

static void unknown_numbers(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct read_fop_rep read;
        struct write_fop_rep write;
        struct flush_fop_rep flush;
        struct fsync_fop_rep fsync;
        static const int64_t numbers[] = {-1, -3, 0, 7, 64, INT64_MAX, INT64_MIN};
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
                assert_int_equal(read_result(f, numbers[i], 0, 10, &read), -EBADF);
                assert_int_equal(write_result(f, numbers[i], 0, "x", &write), -EBADF);
                assert_int_equal(CALL(&fx, FLUSH, flush, &flush, .gfid = f, .fd = numbers[i]), -EBADF);
                assert_int_equal(CALL(&fx, FSYNC, fsync, &fsync, .gfid = f, .fd = numbers[i]), -EBADF);
        }
        struct gfid stranger = fixture_new_gfid();
        assert_int_equal(read_result(stranger, FD_ANONYMOUS, 0, 10, &read), -ENOENT);
        assert_int_equal(CALL(&fx, FLUSH, flush, &flush, .gfid = stranger, .fd = FD_ANONYMOUS), 0);
}

static void numbers_belong_to_a_session(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDONLY);
        struct session_config config = {.client_uid = "other"};
        struct session *first = fx.session, *second;
        assert_int_equal(session_open(fx.brick, &config, &second), 0);
        fx.session = second;
        struct read_fop_rep read;
        assert_int_equal(read_result(f, fd, 0, 10, &read), -EBADF);
        fx.session = first;
        session_close(second);
        assert_int_equal(read_result(f, fd, 0, 10, &read), 0);
}

static void descriptor_limit(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDONLY), number = 0;
        struct open_fd *of = session_fd_get(fx.session, fd);
        const uint32_t limit = fx.session->fd_max = 1000; /* no power of two */
        int r = 0;
        for (uint32_t n = 1; n <= limit && r == 0; n++) {
                atomic_fetch_add(&of->refs, 1);
                r = session_fd_add(fx.session, of, &number);
        }
        assert_int_equal(r, -EMFILE);
        assert_int_equal(number, limit - 1);
        atomic_fetch_sub(&of->refs, 2);
        release(100);
        atomic_fetch_add(&of->refs, 1);
        assert_int_equal(session_fd_add(fx.session, of, &number), 0);
        assert_int_equal(number, 100);
}

static void half_of_all_descriptors_are_for_others(void **state)
{
        (void)state;
        struct rlimit had, few;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
        few = (struct rlimit){.rlim_cur = 101, .rlim_max = had.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(session_fd_limit(), 50);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
        if (had.rlim_cur >= 2 * SESSION_FDS_MAX)
                assert_int_equal(session_fd_limit(), SESSION_FDS_MAX);
}

static void open_types(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755), l = fixture_symlink(&fx, GFID_ROOT, "l", "d");
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(open_as(l, O_RDONLY), -ELOOP);
        assert_int_equal(open_as(d, O_RDONLY), 0);
        assert_int_equal(open_as(d, O_RDWR), -EISDIR);
        assert_int_equal(open_as(d, O_WRONLY), -EISDIR);
        assert_int_equal(open_as(f, O_ACCMODE), -EINVAL);
        assert_int_equal(open_as(fixture_new_gfid(), O_RDONLY), -ESTALE);
        assert_int_equal(open_as(f, O_RDWR | O_CREAT | O_EXCL), 0); /* it is there: nothing to create */

        struct opendir_fop_rep rep;
        assert_int_equal(CALL(&fx, OPENDIR, opendir, &rep, .gfid = f), -ENOTDIR);
        assert_int_equal(CALL(&fx, OPENDIR, opendir, &rep, .gfid = fixture_new_gfid()), -ESTALE);
}

static struct gfid special_file(const char *name, mode_t mode, uint64_t dev)
{
        struct mknod_fop_rep rep;
        struct gfid g = fixture_new_gfid();
        assert_int_equal(dict_add_gfid(&fx.xdata, &fx.arena, "gfid-req", &g), 0);
        assert_int_equal(
                CALL(&fx, MKNOD, mknod, &rep, .pargfid = GFID_ROOT, .bname = str_of(name), .mode = mode, .dev = dev),
                0);
        return g;
}

static void devices_are_never_opened(void **state)
{
        (void)state;
        struct gfid g[] = {special_file("c", S_IFCHR | 0666, 0x0103), special_file("p", S_IFIFO | 0666, 0),
                           special_file("s", S_IFSOCK | 0666, 0)};
        struct read_fop_rep read;
        struct write_fop_rep write;
        struct truncate_fop_rep truncate;
        for (size_t i = 0; i < ELEMENTSOF(g); i++) {
                assert_int_equal(open_as(g[i], O_RDONLY), -EINVAL);
                assert_int_equal(open_as(g[i], O_RDWR), -EINVAL);
                assert_int_equal(read_result(g[i], FD_ANONYMOUS, 0, 10, &read), -EINVAL);
                assert_int_equal(write_result(g[i], FD_ANONYMOUS, 0, "x", &write), -EINVAL);
                assert_int_equal(CALL(&fx, TRUNCATE, truncate, &truncate, .gfid = g[i]), -EINVAL);
        }
}

static void open_permissions(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), x = fixture_file(&fx, GFID_ROOT, "x", 0711);
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0711);
        struct opendir_fop_rep rep;
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(open_as(f, O_RDONLY), 0);
        assert_int_equal(open_as(f, O_WRONLY), -EACCES);
        assert_int_equal(open_as(f, O_RDWR), -EACCES);
        assert_int_equal(open_as(f, O_RDONLY | O_TRUNC), -EACCES);
        assert_int_equal(open_as(f, O_RDONLY | O_APPEND), -EACCES);
        assert_int_equal(open_as(x, O_RDONLY), -EACCES);
        assert_int_equal(open_as(x, O_RDONLY | 040), 0); /* to execute it */
        assert_int_equal(open_as(f, O_RDONLY | 040), -EACCES);
        assert_int_equal(open_as(x, O_RDWR | 040), -EACCES); /* and not to write it */
        assert_int_equal(open_as(x, O_TRUNC | 040), -EACCES);
        assert_int_equal(CALL(&fx, OPENDIR, opendir, &rep, .gfid = d), -EACCES);
        fx.cred.pid = -6;
        assert_int_equal(open_as(f, O_RDWR), 0);
        fx.cred.pid = 0;
        fx.options.acl = false;
        assert_int_equal(open_as(f, O_RDWR), 0);
}

static void open_truncates_and_appends(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_write(&fx, f, FD_ANONYMOUS, 0, "0123456789", 10);
        int64_t fd = fixture_fd(&fx, f, O_RDWR | O_APPEND);
        struct write_fop_rep rep;
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.write-is-append", 4), 0);
        assert_int_equal(write_result(f, fd, 0, "end", &rep), 0); /* wherever the client says */
        assert_int_equal(reply_int(&fx, "glusterfs.write-is-append"), 1);
        assert_int_equal(rep.poststat.size, 13);
        assert_slice(fixture_read(&fx, f, fd, 0, 100), "0123456789end");
        fixture_fd(&fx, f, O_WRONLY | O_TRUNC);
        assert_int_equal(fixture_stat(&fx, "f").st_size, 0);
}

static void direct_io_needs_no_alignment(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR | O_DIRECT);
        fixture_write(&fx, f, fd, 3, "abc", 3);
        assert_slice(fixture_read(&fx, f, fd, 4, 7), "bc");
}

/* ---- removed while open ---------------------------------------------------------------------------------------- */

static void open_unlinked_files(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_write(&fx, f, FD_ANONYMOUS, 0, "alive", 5);
        int64_t a = fixture_fd(&fx, f, O_RDWR), b = fixture_fd(&fx, f, O_RDONLY);
        assert_int_equal(fixture_unlink(&fx, GFID_ROOT, "f"), 0);

        char parked[HANDLE_PATH_MAX];
        handle_unlink_path(&f, parked);
        assert_int_equal(fixture_stat(&fx, parked).st_nlink, 1);
        assert_int_equal(open_as(f, O_RDONLY), -ENOENT); /* observed */
        struct stat_fop_rep stat;
        struct setattr_fop_rep set; /* fchmod(2) of a stock client; only this one by gfid */
        assert_int_equal(CALL(&fx, STAT, stat, &stat, .gfid = f), -ENOENT); /* observed */
        assert_int_equal(CALL(&fx, SETATTR, setattr, &set, .gfid = f, .valid = SETATTR_MODE, .stbuf = {.mode = 0600}), 0);
        assert_int_equal(set.poststat.mode, S_IFREG | 0600);
        assert_int_equal(set.poststat.nlink, 0);
        assert_int_equal(fixture_stat(&fx, parked).st_mode, S_IFREG | 0600);
        assert_slice(fixture_read(&fx, f, b, 0, 10), "alive");
        assert_slice(fixture_read(&fx, f, FD_ANONYMOUS, 0, 10), "alive"); /* observed */
        fixture_write(&fx, f, FD_ANONYMOUS, 5, "!", 1);
        release(a);
        assert_slice(fixture_read(&fx, f, b, 0, 10), "alive!");
        release(b);
        struct stat st;
        assert_int_equal(disk_stat(fx.disk, fx.brick->root_fd, parked, &st), -ENOENT);
        struct read_fop_rep read;
        assert_int_equal(read_result(f, FD_ANONYMOUS, 0, 10, &read), -ENOENT);
        assert_int_equal(open_as(f, O_RDONLY), -ESTALE);
}

static void disconnect_releases(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_fd(&fx, f, O_RDWR);
        assert_int_equal(fixture_unlink(&fx, GFID_ROOT, "f"), 0);
        fx.session = session_close(fx.session);
        char parked[HANDLE_PATH_MAX];
        struct stat st;
        handle_unlink_path(&f, parked);
        assert_int_equal(disk_stat(fx.disk, fx.brick->root_fd, parked, &st), -ENOENT);
        struct session_config config = {.client_uid = "again"};
        assert_int_equal(session_open(fx.brick, &config, &fx.session), 0);
        struct read_fop_rep read;
        assert_int_equal(read_result(f, 0, 0, 10, &read), -EBADF); /* observed */
}

/* ---- READ ------------------------------------------------------------------------------------------------------ */

static void read_marks_the_end(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        struct read_fop_rep rep;
        assert_int_equal(read_result(f, fd, 0, 10, &rep), 0); /* empty */
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(rep.op_errno, ENOENT);
        fixture_write(&fx, f, fd, 0, "0123456789", 10);
        assert_int_equal(read_result(f, fd, 0, 9, &rep), 0);
        assert_int_equal(rep.op_errno, 0);
        assert_int_equal(rep.size, 9);
        assert_int_equal(rep.stat.size, 10);
        assert_true(gfid_equal(&rep.stat.gfid, &f));
        assert_int_equal(read_result(f, fd, 0, 10, &rep), 0);
        assert_int_equal(rep.op_errno, ENOENT);
        assert_int_equal(read_result(f, fd, 5, 100, &rep), 0);
        assert_int_equal(rep.op_errno, ENOENT);
        assert_slice(rep.data, "56789");
        assert_int_equal(read_result(f, fd, 1000, 100, &rep), 0);
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(rep.op_errno, ENOENT);
}

static void read_errors(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        int64_t fd = fixture_fd(&fx, f, O_RDWR), dirfd = fixture_dirfd(&fx, d), wr = fixture_fd(&fx, f, O_WRONLY);
        struct read_fop_rep rep;
        assert_int_equal(read_result(f, fd, 0, 0, &rep), -EINVAL); /* observed */
        assert_int_equal(read_result(f, fd, 1ull << 63, 1, &rep), -EINVAL);
        assert_int_equal(read_result(f, fd, INT64_MAX, 1, &rep), -EINVAL);
        assert_int_equal(read_result(f, fd, UINT64_MAX, UINT32_MAX, &rep), -EINVAL);
        assert_int_equal(read_result(f, fd, INT64_MAX - 10, 10, &rep), 0);
        assert_int_equal(read_result(d, dirfd, 0, 10, &rep), -EISDIR);
        assert_int_equal(read_result(d, FD_ANONYMOUS, 0, 10, &rep), -EISDIR);
        assert_int_equal(read_result(f, wr, 0, 10, &rep), -EBADF);
}

static void read_is_bounded(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct truncate_fop_rep t;
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &t, .gfid = f, .offset = 1ull << 40), 0);
        struct read_fop_rep rep;
        assert_int_equal(read_result(f, FD_ANONYMOUS, 0, UINT32_MAX, &rep), 0);
        assert_int_equal(rep.op_ret, 16 * MIB);
        assert_int_equal(rep.op_errno, 0);
}

/* ---- WRITE ----------------------------------------------------------------------------------------------------- */

static void write_answers(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        fixture_time(&fx, TIMES_CTIME | TIMES_MTIME, 4000000000, 5);
        struct write_fop_rep rep;
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.write-is-append", 4), 0);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.open-fd-count", 4), 0);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.open-active-fd-count", 4), 0);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.inodelk-count", 0), 0);
        assert_int_equal(write_result(f, fd, 0, "hello", &rep), 0);
        assert_int_equal(rep.op_ret, 5);
        assert_int_equal(rep.prestat.size, 0);
        assert_int_equal(rep.poststat.size, 5);
        assert_int_equal(rep.poststat.mtime.sec, 4000000000);
        assert_int_equal(rep.poststat.ctime.nsec, 5);
        assert_int_equal(reply_int(&fx, "glusterfs.write-is-append"), 1);
        assert_int_equal(reply_int(&fx, "glusterfs.open-fd-count"), 1);
        assert_int_equal(reply_int(&fx, "glusterfs.open-active-fd-count"), 1);
        assert_int_equal(reply_int(&fx, "glusterfs.inodelk-count"), 0);

        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.write-is-append", 4), 0);
        assert_int_equal(write_result(f, fd, 1, "E", &rep), 0);
        assert_int_equal(reply_int(&fx, "glusterfs.write-is-append"), 0);
        assert_slice(fixture_read(&fx, f, fd, 0, 10), "hEllo");
        assert_int_equal(write_result(f, fd, 2, "", &rep), 0); /* nothing is a success */
        assert_int_equal(rep.op_ret, 0);
        assert_true(fx.reply.null);
}

static void write_errors(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        int64_t rd = fixture_fd(&fx, f, O_RDONLY), fd = fixture_fd(&fx, f, O_RDWR);
        struct write_fop_rep rep;
        assert_int_equal(write_result(f, rd, 0, "x", &rep), -EBADF);
        assert_int_equal(write_result(f, fd, 1ull << 63, "x", &rep), -EINVAL);
        assert_int_equal(write_result(f, fd, INT64_MAX, "x", &rep), -EINVAL);
        assert_int_equal(write_result(f, fd, INT64_MAX - 1, "x", &rep), -EFBIG);
        assert_int_equal(write_result(d, FD_ANONYMOUS, 0, "x", &rep), -EISDIR);
        assert_int_equal(fixture_stat(&fx, "f").st_size, 0);
}

/* A descriptor is its own permission (observed). */
static void write_through_anothers_descriptor(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0600);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        fixture_be(&fx, 1000, 1000, 1000);
        fixture_write(&fx, f, fd, 0, "x", 1);
        assert_slice(fixture_read(&fx, f, fd, 0, 10), "x");
}

static void write_drops_setid_bits(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 06755), g = fixture_file(&fx, GFID_ROOT, "g", 02745);
        fixture_write(&fx, f, FD_ANONYMOUS, 0, "x", 1);
        assert_int_equal(fixture_stat(&fx, "f").st_mode & 07777, 06755); /* root may */
        struct write_fop_rep rep;
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 0, "x", &rep), 0);
        assert_int_equal(fixture_stat(&fx, "f").st_mode & 07777, 0755);
        assert_int_equal(rep.poststat.mode & 07777, 0755);
        assert_int_equal(write_result(g, FD_ANONYMOUS, 0, "x", &rep),
                         0); /* not executable for the group: a lock mark */
        assert_int_equal(fixture_stat(&fx, "g").st_mode & 07777, 02745);
}

static void write_protection(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct write_fop_rep rep;
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.avoid.overwrite", 1), 0);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 0, "a", &rep), 0);
        assert_int_equal(dict_add_ptr(&fx.xdata, &fx.arena, "trusted.glusterfs.protect.writes", "yes", 3), 0);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 0, "b", &rep), 0);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.avoid.overwrite", 1), 0);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 0, "c", &rep), -EBUSY);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 1, "d", &rep), 0);
        assert_slice(fixture_read(&fx, f, FD_ANONYMOUS, 0, 10), "bd");
}

static void full_and_read_only(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_write(&fx, f, FD_ANONYMOUS, 0, "0123456789", 10);
        struct write_fop_rep rep;
        struct zerofill_fop_rep zero;
        struct discard_fop_rep discard;
        struct truncate_fop_rep truncate;
        atomic_store(&fx.brick->full, true);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 10, "x", &rep), -ENOSPC);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 9, "xy", &rep), -ENOSPC);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 8, "xy", &rep), 0); /* inside (observed) */
        assert_int_equal(CALL(&fx, ZEROFILL, zerofill, &zero, .gfid = f, .fd = -2, .offset = 5, .size = 5), 0);
        assert_int_equal(CALL(&fx, ZEROFILL, zerofill, &zero, .gfid = f, .fd = -2, .offset = 5, .size = 6), -ENOSPC);
        assert_int_equal(CALL(&fx, DISCARD, discard, &discard, .gfid = f, .fd = -2, .size = 5), -ENOSPC);
        assert_int_equal(write_result(f, fixture_fd(&fx, f, O_WRONLY | O_APPEND), 8, "xy", &rep), -ENOSPC);
        assert_int_equal(open_as(f, O_RDWR | O_CREAT), -ENOSPC);
        assert_int_equal(open_as(f, O_RDWR), 0);
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &truncate, .gfid = f, .offset = 100000), 0); /* observed */
        assert_int_equal(write_result(f, FD_ANONYMOUS, 50000, "x", &rep), -ENOSPC); /* inside, but in a hole */
        fx.cred.pid = -3;
        assert_int_equal(write_result(f, FD_ANONYMOUS, 200000, "x", &rep), 0);
        fx.cred.pid = 0;
        assert_int_equal(dict_add_str(&fx.xdata, &fx.arena, "glusterfs-internal-fop", "yes"), 0);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 300000, "x", &rep), 0);
        atomic_store(&fx.brick->full, false);

        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        struct ftruncate_fop_rep ft;
        fx.options.read_only = true;
        assert_int_equal(write_result(f, fd, 0, "x", &rep), -EROFS);
        assert_int_equal(open_as(f, O_RDWR), -EROFS);
        assert_int_equal(open_as(f, O_RDONLY | O_TRUNC), -EROFS);
        assert_int_equal(open_as(f, O_RDONLY), 0);
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &truncate, .gfid = f), -EROFS);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &ft, .gfid = f, .fd = fd), -EROFS);
        assert_int_equal(CALL(&fx, DISCARD, discard, &discard, .gfid = f, .fd = fd, .size = 5), -EROFS);
        assert_int_equal(CALL(&fx, ZEROFILL, zerofill, &zero, .gfid = f, .fd = fd, .size = 5), -EROFS);
        fx.cred.pid = -6;
        assert_int_equal(write_result(f, fd, 0, "x", &rep), 0);
}

static void corrupted_files(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_put(&fx, "f", "trusted.bit-rot.bad-file", "1", 2);
        struct read_fop_rep read;
        struct write_fop_rep write;
        struct truncate_fop_rep truncate;
        assert_int_equal(open_as(f, O_RDONLY), -EIO);
        assert_int_equal(read_result(f, FD_ANONYMOUS, 0, 10, &read), -EIO);
        assert_int_equal(write_result(f, FD_ANONYMOUS, 0, "x", &write), -EIO);
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &truncate, .gfid = f), -EIO);

        struct create_fop_rep create;
        struct copy_file_range_fop_rep copy;
        struct gfid wanted = fixture_new_gfid(), to = fixture_file(&fx, GFID_ROOT, "to", 0644);
        assert_int_equal(dict_add_gfid(&fx.xdata, &fx.arena, "gfid-req", &wanted), 0);
        assert_int_equal(CALL(&fx, CREATE, create, &create, .pargfid = GFID_ROOT, .bname = STR("f"),
                              .flags = O_RDWR | O_CREAT | O_TRUNC, .mode = 0644),
                         -EIO);
        assert_int_equal(CALL(&fx, COPY_FILE_RANGE, copy_file_range, &copy, .gfid1 = f, .gfid2 = to, .fd_in = FD_ANONYMOUS,
                              .fd_out = FD_ANONYMOUS, .size = 10),
                         -EIO);
}

/* ---- FSYNC, truncation ----------------------------------------------------------------------------------------- */

static void sync_answers(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        int64_t fd = fixture_fd(&fx, f, O_RDWR), dirfd = fixture_dirfd(&fx, d);
        fixture_write(&fx, f, fd, 0, "abc", 3);
        struct fsync_fop_rep rep;
        struct fsyncdir_fop_rep dir;
        for (uint32_t data = 0; data < 2; data++) {
                assert_int_equal(CALL(&fx, FSYNC, fsync, &rep, .gfid = f, .fd = fd, .data = data), 0);
                assert_int_equal(rep.prestat.size, 3);
                assert_int_equal(rep.poststat.size, 3);
        }
        assert_int_equal(CALL(&fx, FSYNC, fsync, &rep, .gfid = f, .fd = FD_ANONYMOUS), 0);
        assert_int_equal(CALL(&fx, FSYNCDIR, fsyncdir, &dir, .gfid = d, .fd = dirfd), 0);
        assert_int_equal(CALL(&fx, FSYNCDIR, fsyncdir, &dir, .gfid = d, .fd = 99), -EBADF);
        struct write_fop_rep write;
        assert_int_equal(
                CALL(&fx, WRITE, write, &write, .gfid = f, .fd = fd, .flag = O_RDWR | O_SYNC, .data = bytes_of("x")),
                0);
        struct flush_fop_rep flush;
        assert_int_equal(CALL(&fx, FLUSH, flush, &flush, .gfid = f, .fd = fd), 0);
}

static void truncation(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0777);
        int64_t fd = fixture_fd(&fx, f, O_RDWR), rd = fixture_fd(&fx, f, O_RDONLY), dirfd = fixture_dirfd(&fx, d);
        fixture_write(&fx, f, fd, 0, "0123456789", 10);
        fixture_time(&fx, TIMES_CTIME | TIMES_MTIME, 4000000001, 6);
        struct truncate_fop_rep rep;
        struct ftruncate_fop_rep frep;
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = f, .offset = 5), 0);
        assert_int_equal(rep.prestat.size, 10);
        assert_int_equal(rep.poststat.size, 5);
        assert_int_equal(rep.poststat.mtime.sec, 4000000001);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &frep, .gfid = f, .fd = fd, .offset = 20), 0);
        assert_int_equal(frep.prestat.size, 5);
        assert_int_equal(frep.poststat.size, 20);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &frep, .gfid = f, .fd = FD_ANONYMOUS, .offset = 3), 0);
        assert_int_equal(fixture_stat(&fx, "f").st_size, 3);

        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = f, .offset = 1ull << 63), -EINVAL);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &frep, .gfid = f, .fd = fd, .offset = UINT64_MAX), -EINVAL);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &frep, .gfid = f, .fd = rd, .offset = 1), -EINVAL);
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = d), -EISDIR);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &frep, .gfid = d, .fd = dirfd), -EISDIR);
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = fixture_new_gfid()), -ESTALE);

        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = f), -EACCES);
        assert_int_equal(CALL(&fx, FTRUNCATE, ftruncate, &frep, .gfid = f, .fd = fd, .offset = 1), 0);
}

static void nfs_owner_may_truncate(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0444);
        char path[128];
        snprintf(path, sizeof path, "%s/f", fx.path);
        assert_int_equal(chown(path, 1000, 1000), 0);
        fixture_be(&fx, 1000, 1000, 1000);
        struct truncate_fop_rep rep;
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = f), -EACCES);
        fx.cred.pid = 1;
        assert_int_equal(CALL(&fx, TRUNCATE, truncate, &rep, .gfid = f), 0);
}

/* ---- allocation ------------------------------------------------------------------------------------------------ */

static void allocation(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        struct fallocate_fop_rep fa;
        struct discard_fop_rep dis;
        struct zerofill_fop_rep zero;
        assert_int_equal(CALL(&fx, FALLOCATE, fallocate, &fa, .gfid = f, .fd = fd, .flags = 1, .size = 65536), 0);
        assert_int_equal(fa.poststat.size, 0); /* kept */
        assert_true(fixture_stat(&fx, "f").st_blocks >= 128);
        assert_int_equal(fa.poststat.blocks, 0); /* never beyond the size */
        assert_int_equal(CALL(&fx, FALLOCATE, fallocate, &fa, .gfid = f, .fd = fd, .size = 8192), 0);
        assert_int_equal(fa.prestat.size, 0);
        assert_int_equal(fa.poststat.size, 8192);
        char *data = malloc(8192);
        assert_non_null(data);
        memset(data, 'x', 8192);
        fixture_write(&fx, f, fd, 0, data, 8192);
        free(data);
        assert_int_equal(CALL(&fx, DISCARD, discard, &dis, .gfid = f, .fd = fd, .offset = 0, .size = 4096), 0);
        assert_int_equal(dis.poststat.size, 8192);
        assert_int_equal(fixture_read(&fx, f, fd, 4095, 2).data[0], 0);
        assert_int_equal(fixture_read(&fx, f, fd, 4095, 2).data[1], 'x');
        assert_int_equal(CALL(&fx, ZEROFILL, zerofill, &zero, .gfid = f, .fd = fd, .offset = 8000, .size = 1000), 0);
        assert_int_equal(zero.prestat.size, 8192);
        assert_int_equal(zero.poststat.size, 9000); /* extended */
        assert_int_equal(fixture_read(&fx, f, fd, 7999, 2).data[0], 'x');
        assert_int_equal(fixture_read(&fx, f, fd, 7999, 2).data[1], 0);

        assert_int_equal(CALL(&fx, FALLOCATE, fallocate, &fa, .gfid = f, .fd = fd, .size = 0), -EINVAL);
        assert_int_equal(CALL(&fx, DISCARD, discard, &dis, .gfid = f, .fd = fd, .offset = 1ull << 63, .size = 1),
                         -EINVAL);
        assert_int_equal(CALL(&fx, ZEROFILL, zerofill, &zero, .gfid = f, .fd = fd, .size = UINT64_MAX), -EINVAL);
        assert_int_equal(CALL(&fx, FALLOCATE, fallocate, &fa, .gfid = f, .fd = 77, .size = 1), -EBADF);
}

static void seeking(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        int64_t fd = fixture_fd(&fx, f, O_RDWR), dirfd = fixture_dirfd(&fx, d);
        fixture_write(&fx, f, fd, 1 * MIB, "data", 4);
        struct seek_fop_rep rep;
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = f, .fd = fd, .offset = 0, .what = 0), 0);
        assert_int_equal(rep.offset, 1 * MIB);
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = f, .fd = fd, .offset = 1 * MIB, .what = 1), 0);
        assert_int_equal(rep.offset, 1 * MIB + 4);
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = f, .fd = fd, .offset = 2 * MIB, .what = 0), -ENXIO);
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = f, .fd = fd, .what = 2), -ENOTSUP);
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = f, .fd = fd, .what = -1), -ENOTSUP);
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = f, .fd = fd, .offset = 1ull << 63), -EINVAL);
        assert_int_equal(CALL(&fx, SEEK, seek, &rep, .gfid = d, .fd = dirfd, .what = 0), -EINVAL);
}

static int copy(struct gfid from, int64_t in, struct gfid to, int64_t out, uint64_t off_in, uint64_t off_out,
                uint32_t size, struct copy_file_range_fop_rep *rep)
{
        return CALL(&fx, COPY_FILE_RANGE, copy_file_range, rep, .gfid1 = from, .gfid2 = to, .fd_in = in, .fd_out = out,
                    .off_in = off_in, .off_out = off_out, .size = size);
}

static void copying(void **state)
{
        (void)state;
        struct gfid a = fixture_file(&fx, GFID_ROOT, "a", 0644), b = fixture_file(&fx, GFID_ROOT, "b", 0644);
        int64_t in = fixture_fd(&fx, a, O_RDONLY), out = fixture_fd(&fx, b, O_RDWR);
        fixture_time(&fx, TIMES_CTIME | TIMES_MTIME, 4000000000, 0);
        fixture_write(&fx, a, FD_ANONYMOUS, 0, "0123456789", 10);
        fixture_time(&fx, TIMES_CTIME | TIMES_MTIME | TIMES_ATIME, 4100000000, 7);
        struct copy_file_range_fop_rep rep;
        assert_int_equal(copy(a, in, b, out, 2, 1, 5, &rep), 0);
        assert_int_equal(rep.op_ret, 5);
        assert_int_equal(rep.stat.size, 10);
        assert_int_equal(rep.stat.atime.sec, 4100000000);
        assert_int_equal(rep.stat.mtime.sec, 4000000000);
        assert_int_equal(rep.preparent.size, 0);
        assert_int_equal(rep.postparent.size, 6);
        assert_int_equal(rep.postparent.mtime.sec, 4100000000);
        assert_memory_equal(fixture_read(&fx, b, out, 0, 10).data,
                            "\0"
                            "23456",
                            6);
        assert_int_equal(copy(a, in, b, out, 8, 0, 100, &rep), 0); /* short at the end */
        assert_int_equal(rep.op_ret, 2);
        assert_int_equal(copy(a, 55, b, out, 0, 0, 1, &rep), -EBADF);
        assert_int_equal(copy(a, in, b, 55, 0, 0, 1, &rep), -EBADF);
        assert_int_equal(copy(a, in, b, out, 1ull << 63, 0, 1, &rep), -EINVAL);
        assert_int_equal(CALL(&fx, COPY_FILE_RANGE, copy_file_range, &rep, .gfid1 = a, .gfid2 = b, .fd_in = in,
                              .fd_out = out, .size = 1, .flag = 1),
                         -EINVAL);
        atomic_store(&fx.brick->full, true);
        assert_int_equal(copy(a, in, b, out, 0, 0, 1, &rep), -ENOSPC);
        atomic_store(&fx.brick->full, false);
}

static void checksums(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        fixture_write(&fx, f, fd, 0, "abcdefgh", 8);
        struct rchecksum_fop_rep rep;
        static const uint8_t md5_abc[16] = {0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0,
                                            0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72};
        static const uint8_t zeros[16];
        assert_int_equal(CALL(&fx, RCHECKSUM, rchecksum, &rep, .fd = fd, .len = 3), 0); /* stock leaves the gfid zero */
        assert_int_equal(rep.flags, 1);
        assert_int_equal(rep.weak_checksum, (0x061u + 0x0c3u + 0x126u) << 16 | 0x126u);
        assert_int_equal(rep.strong_checksum.len, 32);
        assert_memory_equal(rep.strong_checksum.data, md5_abc, 16);
        assert_memory_equal(rep.strong_checksum.data + 16, zeros, 16);
        assert_false(dict_has(&fx.reply, "fips-mode-rchecksum"));

        fx.options.fips_rchecksum = true;
        uint8_t sha[32];
        SHA256((const uint8_t *)"cdefgh", 6, sha);
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "check-zero-filled", 1), 0);
        assert_int_equal(CALL(&fx, RCHECKSUM, rchecksum, &rep, .gfid = f, .fd = fd, .offset = 2, .len = 100), 0);
        assert_memory_equal(rep.strong_checksum.data, sha, 32);
        assert_int_equal(reply_int(&fx, "fips-mode-rchecksum"), 1);
        assert_int_equal(reply_int(&fx, "buf-has-zeroes"), 0);
        fixture_write(&fx, f, fd, 10000, "x", 1);
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "check-zero-filled", 1), 0);
        assert_int_equal(CALL(&fx, RCHECKSUM, rchecksum, &rep, .gfid = f, .fd = fd, .offset = 100, .len = 1000), 0);
        assert_int_equal(reply_int(&fx, "buf-has-zeroes"), 1);
        assert_int_equal(CALL(&fx, RCHECKSUM, rchecksum, &rep, .gfid = f, .fd = fd, .len = UINT32_MAX), -EINVAL);
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(numbers_lowest_first),
                WITH_BRICK(release_never_fails),
                WITH_BRICK(unknown_numbers),
                WITH_BRICK(numbers_belong_to_a_session),
                WITH_BRICK(descriptor_limit),
                WITH_BRICK(half_of_all_descriptors_are_for_others),
                WITH_BRICK(open_types),
                WITH_BRICK(devices_are_never_opened),
                WITH_BRICK(open_permissions),
                WITH_BRICK(open_truncates_and_appends),
                WITH_BRICK(direct_io_needs_no_alignment),
                WITH_BRICK(open_unlinked_files),
                WITH_BRICK(disconnect_releases),
                WITH_BRICK(read_marks_the_end),
                WITH_BRICK(read_errors),
                WITH_BRICK(read_is_bounded),
                WITH_BRICK(write_answers),
                WITH_BRICK(write_errors),
                WITH_BRICK(write_through_anothers_descriptor),
                WITH_BRICK(write_drops_setid_bits),
                WITH_BRICK(write_protection),
                WITH_BRICK(full_and_read_only),
                WITH_BRICK(corrupted_files),
                WITH_BRICK(sync_answers),
                WITH_BRICK(truncation),
                WITH_BRICK(nfs_owner_may_truncate),
                WITH_BRICK(allocation),
                WITH_BRICK(seeking),
                WITH_BRICK(copying),
                WITH_BRICK(checksums),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
