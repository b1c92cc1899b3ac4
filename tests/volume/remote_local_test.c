/* Reading lent files (volume/remote_local.h): the client's side, with this program as the brick at the other end of a real
 * unix socket, and real files. Time is not waited for: what is too old is made so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "proto/disk_attr.h"
#include "proto/local_read.h"
#include "volume/remote.h"

#define ARENA_MAX (16 * MIB)
#define TEXT "what is in the file"
#define TOKEN "0123456789abcdef0123456789abcdef"
#define FILE_SIZE (256 * KIB)

static struct bench {
        char directory[64], socket[96], path[96];
        struct loop *loop;
        struct volume volume;
        struct subvolume *by_slot[1];
        struct remote remote;
        struct vnode *inode;
        struct vfile *file;
        struct gfid gfid;
        struct arena arena;
        struct request request;
        struct read_fop_req req;
        struct read_fop_rep rep;
        int listener, brick; /* the brick's end */
} t;

static const struct subvolume_ops ops = {.release = remote_fd_release};

/* ---- the brick's end --------------------------------------------------------------------------------------------- */

static void listen_here(void)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", t.socket);
        t.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(t.listener, (const struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(listen(t.listener, 4), 0);
}

static void let_in(void)
{
        char token[100];
        t.brick = accept4(t.listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(t.brick >= 0);
        assert_int_equal(recv(t.brick, token, sizeof token, 0), LOCAL_TOKEN_LEN);
        assert_memory_equal(token, TOKEN, LOCAL_TOKEN_LEN);
}

/* N descriptors FD with a message of SIZE bytes. */
static void lend_as(const struct local_loan *loan, size_t size, int fd, unsigned n)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(4 * sizeof(int))];
        } control = {0};
        struct iovec iov = {(void *)(uintptr_t)loan, size};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = n ? control.room : NULL};
        m.msg_controllen = n ? CMSG_SPACE(n * sizeof fd) : 0;
        struct cmsghdr *h = n ? CMSG_FIRSTHDR(&m) : NULL;
        if (h) {
                *h = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof fd)};
                for (unsigned k = 0; k < n; k++)
                        memcpy(CMSG_DATA(h) + k * sizeof fd, &fd, sizeof fd);
        }
        assert_int_equal(sendmsg(t.brick, &m, 0), (ssize_t)size);
}

static int64_t asked_number(void)
{
        int64_t number = 0;
        assert_int_equal(dict_get_int(&t.req.xdata, LOCAL_READ_LEND, &number), 0);
        return number;
}

static void lend(const char *path, int flags, uint32_t loan_flags)
{
        int fd = open(path, flags | O_CLOEXEC);
        assert_true(fd >= 0);
        lend_as(&(struct local_loan){.number = (uint64_t)asked_number(), .flags = loan_flags}, sizeof(struct local_loan),
                fd, 1);
        close(fd);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static struct remote_fd *fd_of(struct vfile *f)
{
        return *vfile_slot(f, &t.remote.base);
}

static unsigned open_descriptors(void)
{
        unsigned n = 0;
        for (int fd = 0; fd < 512; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static struct vfile *open_file(uint32_t flags, int64_t number)
{
        struct vfile *f = vfile_new(t.inode, flags, false);
        assert_non_null(f);
        remote_fd_opened(&t.remote, f, &t.gfid, flags, number, t.remote.session);
        return f;
}

static void new_request(uint64_t offset, uint32_t size)
{
        t.req = (struct read_fop_req){.gfid = t.gfid, .offset = offset, .size = size, .xdata = DICT_NULL};
        t.request = (struct request){.arena = &t.arena, .inode = t.inode, .file = t.file};
        memset(&t.rep, 0, sizeof t.rep);
}

/* True: answered here. */
static bool read_here(uint64_t offset, uint32_t size, int *ret)
{
        new_request(offset, size);
        return remote_local_read(&t.remote, &t.request, &t.req, &t.rep, ret);
}

/* A READ by way of the brick, which lends PATH if it is asked. True: it was. */
static bool read_there(const char *path, int flags, uint32_t loan_flags)
{
        struct remote_asking asking;
        new_request(0, 10);
        remote_local_ask(&t.remote, &t.request, &t.req, &asking);
        bool asks = dict_has(&t.req.xdata, LOCAL_READ_LEND);
        if (asks && path)
                lend(path, flags, loan_flags);
        remote_local_asked(&t.remote, &asking, true);
        return asks;
}

static void forget_asking(void)
{
        fd_of(t.file)->loan.asked = 0;
}

static void borrow(void)
{
        (void)read_there(NULL, 0, 0);
        forget_asking();
        assert_true(read_there(t.path, O_RDONLY, LOCAL_LOAN_MDATA));
        assert_true(fd_of(t.file)->loan.fd >= 0);
}

static void put_file(const char *path, const struct gfid *gfid)
{
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, TEXT, strlen(TEXT)), strlen(TEXT));
        assert_int_equal(ftruncate(fd, FILE_SIZE), 0);
        assert_int_equal(fsetxattr(fd, "trusted.gfid", gfid->b, sizeof gfid->b, 0), 0);
}

static void begin(void)
{
        remote_local_begin(&t.remote, t.socket, TOKEN);
        assert_true(t.remote.base.near);
        let_in();
}

static int set_up(void **state)
{
        (void)state;
        memset(&t, 0, sizeof t);
        (void)snprintf(t.directory, sizeof t.directory, "/var/tmp/mortar-local-XXXXXX");
        assert_non_null(mkdtemp(t.directory));
        (void)snprintf(t.socket, sizeof t.socket, "%s/socket", t.directory);
        (void)snprintf(t.path, sizeof t.path, "%s/file", t.directory);
        assert_int_equal(loop_epoll_new(&t.loop), 0);
        memset(t.gfid.b, 0x42, sizeof t.gfid.b);
        put_file(t.path, &t.gfid);
        t.arena = ARENA_INIT(ARENA_MAX);
        t.by_slot[0] = &t.remote.base;
        t.volume = (struct volume){
                .config = {.loop = t.loop}, .top = &t.remote.base, .by_slot = t.by_slot, .n_slots = 1};
        assert_int_equal(vnode_table_init(&t.volume.inodes, 16), 0);
        t.remote.base = (struct subvolume){
                .ops = &ops, .name = "v-client-0", .volume = &t.volume, .n_leaves = 1, .up = true};
        t.remote.options = (struct remote_options){
                .host = "host", .path = "/brick", .ping_timeout = 42 * NS_PER_SEC, .local_reads = true};
        t.remote.session = 1;
        remote_local_init(&t.remote);
        t.inode = vnode_new(&t.volume, &t.gfid, S_IFREG);
        t.file = open_file(O_RDWR, 5);
        listen_here();
        begin();
        return 0;
}

static int tear_down(void **state)
{
        char command[128];
        (void)state;
        vfile_unref(t.file);
        assert_int_equal(t.remote.local.n, 0);
        assert_null(t.remote.local.newest);
        assert_null(t.remote.local.oldest);
        assert_null(t.remote.local.asking);
        remote_local_end(&t.remote);
        vnode_unref(t.inode);
        free(t.volume.inodes.buckets);
        arena_done(&t.arena);
        close_fd(t.brick);
        close_fd(t.listener);
        loop_free(t.loop);
        for (unsigned k = 0; k < 3; k++) {
                static const char *const names[] = {"socket", "file", "other"};
                (void)snprintf(command, sizeof command, "%s/%s", t.directory, names[k]);
                (void)unlink(command);
        }
        return rmdir(t.directory);
}

/* ---- getting in -------------------------------------------------------------------------------------------------- */

static void it_tries_once_and_goes_on_without(void **state)
{
        char far[200];
        (void)state;
        remote_local_end(&t.remote);
        memset(far, 'x', sizeof far);
        far[0] = '/';
        far[sizeof far - 1] = '\0';
        const struct {
                const char *path, *token;
        } wrong[] = {{NULL, TOKEN},       {t.socket, NULL},   {"/nowhere/socket", TOKEN}, {t.path, TOKEN},
                     {"relative", TOKEN}, {t.socket, "short"}, {far, TOKEN}};
        unsigned before = open_descriptors();
        for (size_t k = 0; k < ELEMENTSOF(wrong); k++) {
                remote_local_begin(&t.remote, wrong[k].path, wrong[k].token);
                assert_false(t.remote.base.near);
        }
        assert_int_equal(open_descriptors(), before);
        (void)read_there(NULL, 0, 0);
        assert_false(read_there(NULL, 0, 0)); /* nothing to ask for */
}

static void it_is_off_where_it_is_not_wanted(void **state)
{
        (void)state;
        assert_true(remote_local_wanted(&t.remote));
        t.remote.options.tls = true;
        assert_false(remote_local_wanted(&t.remote));
        t.remote.options.tls = false;
        t.remote.options.local_reads = false;
        assert_false(remote_local_wanted(&t.remote));
        remote_local_begin(&t.remote, t.socket, TOKEN);
        assert_false(t.remote.base.near);
        t.remote.options.local_reads = true;
        t.volume.config.no_local_reads = true;
        assert_false(remote_local_wanted(&t.remote));
        t.volume.config.no_local_reads = false;
        t.volume.config.pid = PID_SELF_HEAL;
        assert_false(remote_local_wanted(&t.remote));
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void the_second_of_two_reads_asks(void **state)
{
        int r;
        (void)state;
        assert_false(read_here(0, 10, &r));
        assert_false(read_there(NULL, 0, 0));
        fd_of(t.file)->loan.answered -= MIN(2 * NS_PER_SEC, fd_of(t.file)->loan.answered); /* long ago: as the first */
        assert_false(read_there(NULL, 0, 0));
        assert_true(read_there(NULL, 0, 0));
        assert_false(read_there(t.path, O_RDONLY, 0)); /* not every time */
        forget_asking();
        assert_true(read_there(t.path, O_RDONLY, 0));
        assert_true(read_here(0, 10, &r));
        forget_asking();
        assert_false(read_there(NULL, 0, 0)); /* it has it */
}

static void files_that_are_not_read_are_not_asked_for(void **state)
{
        (void)state;
        struct vfile *mine = t.file;
        t.file = open_file(O_WRONLY, 6);
        (void)read_there(NULL, 0, 0);
        assert_false(read_there(NULL, 0, 0));
        vfile_unref(t.file);
        t.file = NULL; /* anonymous */
        assert_false(read_there(NULL, 0, 0));
        assert_false(read_there(NULL, 0, 0));
        t.file = mine;
        fd_of(t.file)->session = 0; /* of an earlier connection */
        (void)read_there(NULL, 0, 0);
        assert_false(read_there(NULL, 0, 0));
}

static void not_with_other_keys(void **state)
{
        struct remote_asking asking;
        int r;
        (void)state;
        borrow();
        new_request(0, 10);
        t.req.xdata = (struct dict){0};
        assert_int_equal(dict_add_str(&t.req.xdata, &t.arena, "link-count", "x"), 0);
        assert_false(remote_local_read(&t.remote, &t.request, &t.req, &t.rep, &r));
        remote_local_drop(fd_of(t.file));
        (void)read_there(NULL, 0, 0);
        forget_asking();
        new_request(0, 10);
        t.req.xdata = (struct dict){0};
        assert_int_equal(dict_add_str(&t.req.xdata, &t.arena, "link-count", "x"), 0);
        remote_local_ask(&t.remote, &t.request, &t.req, &asking);
        assert_false(dict_has(&t.req.xdata, LOCAL_READ_LEND));
        remote_local_asked(&t.remote, &asking, true);
}

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static void expect_refused(const char *path, int flags)
{
        unsigned before = open_descriptors();
        forget_asking();
        (void)read_there(NULL, 0, 0);
        forget_asking();
        assert_true(read_there(path, flags, 0));
        assert_int_equal(fd_of(t.file)->loan.fd, -EBADF);
        assert_int_equal(open_descriptors(), before);
}

static void only_the_file_itself_is_taken(void **state)
{
        char other[96];
        struct gfid another = t.gfid;
        (void)state;
        (void)snprintf(other, sizeof other, "%s/other", t.directory);
        another.b[15]++;
        put_file(other, &another);
        expect_refused(other, O_RDONLY);
        expect_refused(t.path, O_RDWR);
        expect_refused(t.path, O_WRONLY);
        expect_refused(t.directory, O_RDONLY | O_DIRECTORY);
        expect_refused("/dev/null", O_RDONLY);
        borrow();
}

static void messages_that_are_none_do_no_harm(void **state)
{
        _cleanup_close_ int fd = open(t.path, O_RDONLY | O_CLOEXEC);
        const struct local_loan unknown = {.number = 4711}, none = {0};
        unsigned before = open_descriptors();
        int r;
        (void)state;
        (void)read_there(NULL, 0, 0);
        struct {
                const struct local_loan *loan;
                size_t size;
                unsigned n;
        } odd[] = {{&unknown, sizeof unknown, 1}, {&none, sizeof none, 1},   {&unknown, 3, 1},
                   {&unknown, sizeof unknown, 0}, {&unknown, sizeof unknown, 3}};
        for (size_t k = 0; k < ELEMENTSOF(odd); k++) {
                lend_as(odd[k].loan, odd[k].size, fd, odd[k].n);
                forget_asking();
                (void)read_there(NULL, 0, 0);
        }
        forget_asking();
        (void)read_there(NULL, 0, 0); /* what was behind one that ended the receiving */
        assert_int_equal(open_descriptors(), before);
        assert_false(read_here(0, 10, &r));
        borrow();
}

static void one_that_comes_late_is_not_used(void **state)
{
        struct remote_asking asking;
        unsigned before = open_descriptors();
        (void)state;
        (void)read_there(NULL, 0, 0);
        forget_asking();
        new_request(0, 10);
        remote_local_ask(&t.remote, &t.request, &t.req, &asking);
        lend(t.path, O_RDONLY, 0);
        t.remote.session++; /* it was for the former connection */
        remote_local_asked(&t.remote, &asking, true);
        assert_int_equal(fd_of(t.file)->loan.fd, -EBADF);
        assert_int_equal(open_descriptors(), before);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void it_answers_as_the_brick_does(void **state)
{
        int r;
        struct stat st;
        struct mdata times = {.atime = {1, 2}, .mtime = {3, 4}, .ctime = {5, 6}};
        uint8_t raw[MDATA_SIZE];
        (void)state;
        mdata_format(&times, raw);
        assert_int_equal(setxattr(t.path, MDATA_NAME, raw, sizeof raw, 0), 0);
        borrow();
        assert_true(read_here(5, 2, &r));
        assert_int_equal(r, 2);
        assert_int_equal(t.rep.op_ret, 2);
        assert_int_equal(t.rep.op_errno, 0);
        assert_int_equal(t.rep.size, 2);
        assert_int_equal(t.rep.data.len, 2);
        assert_memory_equal(t.rep.data.data, "is", 2);
        assert_true(t.rep.xdata.null);
        assert_int_equal(stat(t.path, &st), 0);
        assert_true(gfid_equal(&t.rep.stat.gfid, &t.gfid));
        assert_int_equal(t.rep.stat.size, FILE_SIZE);
        assert_int_equal(t.rep.stat.mode, st.st_mode);
        assert_int_equal(t.rep.stat.ino, gfid_ino(&t.gfid));
        assert_int_equal(t.rep.stat.mtime.sec, 3);
        assert_int_equal(t.rep.stat.mtime.nsec, 4);
        assert_int_equal(t.rep.stat.ctime.sec, 5);
        assert_int_equal(t.rep.stat.atime.nsec, 2);
        times.mtime.sec = 99; /* at once */
        mdata_format(&times, raw);
        assert_int_equal(setxattr(t.path, MDATA_NAME, raw, sizeof raw, 0), 0);
        assert_true(read_here(0, 1, &r));
        assert_int_equal(t.rep.stat.mtime.sec, 99);
        assert_int_equal(removexattr(t.path, MDATA_NAME), 0);
        assert_true(read_here(0, 1, &r));
        assert_int_equal(t.rep.stat.mtime.sec, st.st_mtim.tv_sec);
}

static void times_are_the_files_own_if_the_brick_says_so(void **state)
{
        int r;
        struct stat st;
        uint8_t raw[MDATA_SIZE];
        (void)state;
        mdata_format(&(struct mdata){.mtime = {3, 4}}, raw);
        assert_int_equal(setxattr(t.path, MDATA_NAME, raw, sizeof raw, 0), 0);
        (void)read_there(NULL, 0, 0);
        forget_asking();
        assert_true(read_there(t.path, O_RDONLY, 0));
        assert_true(read_here(0, 1, &r));
        assert_int_equal(stat(t.path, &st), 0);
        assert_int_equal(t.rep.stat.mtime.sec, st.st_mtim.tv_sec);
}

static void the_end_of_the_file_is_marked(void **state)
{
        static const struct {
                uint64_t offset;
                uint32_t size;
                int read, error;
        } cases[] = {{FILE_SIZE - 10, 9, 9, 0},       {FILE_SIZE - 10, 10, 10, ENOENT}, {FILE_SIZE - 10, 100, 10, ENOENT},
                     {FILE_SIZE, 100, 0, ENOENT},     {FILE_SIZE + 5000, 1, 0, ENOENT}, {0, FILE_SIZE, FILE_SIZE, ENOENT},
                     {0, 2 * FILE_SIZE, FILE_SIZE, ENOENT}};
        int r;
        (void)state;
        borrow();
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                (void)read_there(NULL, 0, 0); /* holes are in nobody's page cache before they were read */
                _cleanup_close_ int fd = open(t.path, O_RDONLY | O_CLOEXEC);
                static char all[FILE_SIZE];
                assert_int_equal(pread(fd, all, sizeof all, 0), FILE_SIZE);
                assert_true(read_here(cases[k].offset, cases[k].size, &r));
                assert_int_equal(r, cases[k].read);
                assert_int_equal(t.rep.op_ret, cases[k].read);
                assert_int_equal(t.rep.data.len, cases[k].read);
                assert_int_equal(t.rep.op_errno, cases[k].error);
        }
        assert_int_equal(t.remote.local.reads, ELEMENTSOF(cases));
}

static void what_cannot_be_read_so_goes_to_the_brick(void **state)
{
        int r;
        (void)state;
        borrow();
        assert_false(read_here(0, 0, &r));
        assert_false(read_here(INT64_MAX - 5, 10, &r));
        assert_false(read_here(UINT64_MAX, 10, &r));
        assert_false(read_here(0, 64 * MIB, &r));
        new_request(0, 10);
        t.request.cred.flags = TIMES_ATIME; /* reading is to be seen */
        assert_false(remote_local_read(&t.remote, &t.request, &t.req, &t.rep, &r));
        t.remote.base.up = false;
        assert_false(read_here(0, 10, &r));
        t.remote.base.up = true;
        fd_of(t.file)->error = -EIO;
        assert_false(read_here(0, 10, &r));
        fd_of(t.file)->error = 0;
        assert_true(read_here(0, 10, &r));
}

static void what_is_not_in_memory_goes_to_the_brick(void **state)
{
        int r;
        (void)state;
        borrow();
        _cleanup_close_ int fd = open(t.path, O_RDWR | O_CLOEXEC);
        static char all[FILE_SIZE];
        memset(all, 'x', sizeof all);
        assert_int_equal(pwrite(fd, all, sizeof all, 0), FILE_SIZE);
        assert_int_equal(fsync(fd), 0);
        assert_true(read_here(0, FILE_SIZE, &r));
        assert_int_equal(posix_fadvise(fd, FILE_SIZE / 2, 0, POSIX_FADV_DONTNEED), 0);
        assert_false(read_here(0, FILE_SIZE, &r)); /* the first half would be no answer */
        assert_int_equal(pread(fd, all, sizeof all, 0), FILE_SIZE);
        assert_true(read_here(0, FILE_SIZE, &r));
        assert_int_equal(r, FILE_SIZE);
}

/* ---- giving up --------------------------------------------------------------------------------------------------- */

static void it_goes_to_the_brick_once_in_a_while(void **state)
{
        int r;
        (void)state;
        borrow();
        struct remote_loan *x = &fd_of(t.file)->loan;
        assert_true(read_here(0, 10, &r));
        x->answered -= MIN(NS_PER_SEC + NS_PER_MSEC, x->answered);
        assert_false(read_here(0, 10, &r));
        (void)read_there(NULL, 0, 0);
        assert_true(read_here(0, 10, &r));
        t.remote.options.ping_timeout = 2 * NS_PER_SEC; /* others do without a silent brick sooner */
        x->answered -= 600 * NS_PER_MSEC;
        assert_false(read_here(0, 10, &r));
        t.remote.options.ping_timeout = 0;
        assert_true(read_here(0, 10, &r));
}

static void an_unanswered_read_is_no_sign_of_life(void **state)
{
        struct remote_asking asking;
        int r;
        (void)state;
        borrow();
        fd_of(t.file)->loan.known = false;
        new_request(0, 10);
        remote_local_ask(&t.remote, &t.request, &t.req, &asking);
        remote_local_asked(&t.remote, &asking, false);
        assert_false(read_here(0, 10, &r));
}

static void the_end_of_the_brick_is_seen_at_once(void **state)
{
        int r;
        (void)state;
        borrow();
        assert_true(read_here(0, 10, &r));
        t.brick = close_fd(t.brick);
        assert_false(read_here(0, 10, &r)); /* the loop has not run */
        assert_int_equal(fd_of(t.file)->loan.fd, -EBADF);
        remote_local_end(&t.remote);
        assert_false(t.remote.base.near);
}

static void stop(void *arg)
{
        loop_stop(arg);
}

static void stop_later(struct timer *timer)
{
        stop(timer->loop ? timer->loop : t.loop);
}

static void the_loop_sees_it_too(void **state)
{
        struct timer timer = {0};
        (void)state;
        borrow();
        t.brick = close_fd(t.brick);
        timer_start(t.loop, &timer, 20 * NS_PER_MSEC, stop_later);
        assert_int_equal(loop_run(t.loop), 0);
        assert_false(t.remote.base.near);
        assert_int_equal(t.remote.local.fd, -EBADF);
        assert_int_equal(fd_of(t.file)->loan.fd, -EBADF);
}

static void a_new_connection_begins_anew(void **state)
{
        int r;
        (void)state;
        borrow();
        t.remote.session++;
        assert_false(read_here(0, 10, &r)); /* the file is not open in this one */
        close_fd(t.brick);
        begin();
        assert_int_equal(fd_of(t.file)->loan.fd, -EBADF);
        assert_int_equal(t.remote.local.n, 0);
        remote_fd_opened(&t.remote, t.file, &t.gfid, O_RDWR, 9, t.remote.session);
        assert_false(fd_of(t.file)->loan.known); /* and not known to be answered */
        forget_asking();
        borrow();
        assert_true(read_here(0, 10, &r));
}

static void changes_by_others_send_the_next_read_to_the_brick(void **state)
{
        struct gfid other = t.gfid;
        int r;
        (void)state;
        other.b[0]++;
        borrow();
        remote_local_expire(&t.remote, &other);
        assert_true(read_here(0, 10, &r));
        remote_local_expire(&t.remote, &t.gfid);
        assert_false(read_here(0, 10, &r));
        (void)read_there(NULL, 0, 0);
        assert_true(read_here(0, 10, &r));
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

#define FILES 40

static void the_least_used_go(void **state)
{
        struct rlimit before, few;
        struct vfile *first = t.file, *files[FILES];
        int r;
        (void)state;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        few = (struct rlimit){.rlim_cur = 256, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0); /* an eighth of them: 32 */
        borrow();
        for (unsigned k = 0; k < FILES; k++) {
                t.file = files[k] = open_file(O_RDONLY, 100 + k);
                borrow();
                t.file = first;
                assert_true(read_here(0, 1, &r)); /* stays in use */
        }
        assert_int_equal(t.remote.local.n, 32);
        for (unsigned k = 0; k < FILES; k++)
                assert_int_equal(fd_of(files[k])->loan.fd >= 0, k >= FILES - 31);
        for (unsigned k = 0; k < FILES; k++)
                vfile_unref(files[k]);
        assert_int_equal(t.remote.local.n, 1);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static int start(void **state)
{
        char path[] = "/var/tmp/mortar-local-XXXXXX";
        int fd = mkstemp(path);
        bool able = fd >= 0 && fsetxattr(fd, "trusted.gfid", "x", 1, 0) == 0;
        (void)state;
        (void)unlink(path);
        close_fd(fd);
        if (!able)
                exit(77); /* needs root and trusted attributes */
        return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(it_tries_once_and_goes_on_without),
                TEST(it_is_off_where_it_is_not_wanted),
                TEST(the_second_of_two_reads_asks),
                TEST(files_that_are_not_read_are_not_asked_for),
                TEST(not_with_other_keys),
                TEST(only_the_file_itself_is_taken),
                TEST(messages_that_are_none_do_no_harm),
                TEST(one_that_comes_late_is_not_used),
                TEST(it_answers_as_the_brick_does),
                TEST(times_are_the_files_own_if_the_brick_says_so),
                TEST(the_end_of_the_file_is_marked),
                TEST(what_cannot_be_read_so_goes_to_the_brick),
                TEST(what_is_not_in_memory_goes_to_the_brick),
                TEST(it_goes_to_the_brick_once_in_a_while),
                TEST(an_unanswered_read_is_no_sign_of_life),
                TEST(the_end_of_the_brick_is_seen_at_once),
                TEST(the_loop_sees_it_too),
                TEST(a_new_connection_begins_anew),
                TEST(changes_by_others_send_the_next_read_to_the_brick),
                TEST(the_least_used_go),
        };
        return cmocka_run_group_tests(tests, start, NULL);
}
