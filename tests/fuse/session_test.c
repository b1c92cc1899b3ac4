/* Requests from the kernel's side: every operation there and back, malformed ones, interrupts, forgets, limits, the
 * end.
 *
 * Above 600 lines: many small scenarios over one fixture. */
#include "device.h"

#include <grp.h>
#include <limits.h>
#include <sys/stat.h>

/* ---- messages by the table ----------------------------------------------------------------------------------------
 */

enum names_kind { NONE, NAME, DOTS, NAMES, LINK, WORD };
enum data_kind { DATA_NONE, DATA_VALUE, DATA_REST };

struct known {
        const char *name;
        uint32_t opcode;
        size_t fixed;
        enum names_kind names;
        enum data_kind data;
};

#define KNOWN(NAME, op, in, op_names, op_data, minor, missing)                                                         \
        {#NAME, FUSE_##NAME, sizeof(struct fuse_##in##_in), op_names, DATA_##op_data},
static const struct known table[] = {FUSE_OPERATIONS(KNOWN)};

#define VALUE "some bytes\0of data"
#define VALUE_SIZE 18u
#define READ_SIZE 4096u

/* The fixed part, each byte different, with sizes that fit. */
static void fill_fixed(const struct known *k, uint8_t fixed[static 128])
{
        for (unsigned i = 0; i < 128; i++)
                fixed[i] = (uint8_t)(i + 1);
        uint32_t value = VALUE_SIZE, read = READ_SIZE;
        if (k->opcode == FUSE_WRITE)
                memcpy(fixed + offsetof(struct fuse_write_in, size), &value, 4);
        if (k->opcode == FUSE_SETXATTR)
                memcpy(fixed + offsetof(struct fuse_setxattr_in, size), &value, 4);
        if (k->opcode == FUSE_READ || k->opcode == FUSE_READDIR || k->opcode == FUSE_READDIRPLUS)
                memcpy(fixed + offsetof(struct fuse_read_in, size), &read, 4);
        if (k->opcode == FUSE_GETXATTR || k->opcode == FUSE_LISTXATTR)
                memcpy(fixed, &read, 4);
}

/* A good message of K without its header; returns the size. */
static size_t make_body(const struct known *k, uint8_t body[static 512])
{
        uint8_t fixed[128];
        fill_fixed(k, fixed);
        memcpy(body, fixed, k->fixed);
        size_t n = k->fixed;
        if (k->names != NONE) {
                memcpy(body + n, "user.one", 9);
                n += 9;
        }
        if (k->names == NAMES || k->names == LINK) {
                memcpy(body + n, "second", 7);
                n += 7;
        }
        if (k->data != DATA_NONE) {
                memcpy(body + n, VALUE, VALUE_SIZE);
                n += VALUE_SIZE;
        }
        return n;
}

static size_t answer_size(uint32_t opcode)
{
        switch (opcode) {
        case FUSE_LOOKUP:
        case FUSE_MKNOD:
        case FUSE_MKDIR:
        case FUSE_SYMLINK:
        case FUSE_LINK:
                return sizeof(struct fuse_entry_out);
        case FUSE_CREATE:
        case FUSE_TMPFILE:
                return sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out);
        case FUSE_GETATTR:
        case FUSE_SETATTR:
                return sizeof(struct fuse_attr_out);
        case FUSE_STATX:
                return sizeof(struct fuse_statx_out);
        case FUSE_OPEN:
        case FUSE_OPENDIR:
                return sizeof(struct fuse_open_out);
        case FUSE_READ:
        case FUSE_READLINK:
        case FUSE_GETXATTR:
        case FUSE_LISTXATTR:
                return 10;
        case FUSE_READDIR:
                return READ_SIZE / 40 * 40;
        case FUSE_READDIRPLUS:
                return READ_SIZE / 168 * 168;
        case FUSE_WRITE:
        case FUSE_COPY_FILE_RANGE:
        case FUSE_COPY_FILE_RANGE_64:
        case FUSE_LSEEK:
        case FUSE_POLL:
        case FUSE_BMAP:
                return 8;
        case FUSE_STATFS:
                return sizeof(struct fuse_statfs_out);
        case FUSE_GETLK:
                return sizeof(struct fuse_lk_out);
        default:
                return 0;
        }
}

static void check_one(struct fibre *self, struct device *d, const struct known *k)
{
        uint8_t body[512], fixed[128];
        size_t n = make_body(k, body);
        fill_fixed(k, fixed);
        uint64_t unique = kernel_send(self, d, k->opcode, &(struct iovec){body, n}, 1);
        struct fuse_out_header h;
        size_t got = kernel_receive(self, d, &h);
        const struct record *r = &d->last;
        assert_int_equal(h.unique, unique);
        assert_int_equal(h.error, 0);
        assert_int_equal(got, answer_size(k->opcode));
        assert_int_equal(r->opcode, k->opcode);
        assert_int_equal(r->node, 7);
        assert_int_equal(r->uid, 11);
        assert_int_equal(r->gid, 12);
        assert_int_equal(r->pid, 13);
        assert_memory_equal(r->fixed, fixed, k->fixed);
        assert_string_equal(r->name, k->names == NONE ? "" : "user.one");
        assert_string_equal(r->new_name, k->names == NAMES || k->names == LINK ? "second" : "");
        assert_int_equal(r->size, k->data == DATA_NONE ? 0 : VALUE_SIZE);
        if (k->data != DATA_NONE)
                assert_memory_equal(r->data, VALUE, VALUE_SIZE);
        assert_int_equal(fuse_session_count(d->session, k->opcode), 1);
        assert_string_equal(fuse_operation_name(k->opcode), k->name);
}

static void every_operation(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                check_one(self, d, &table[i]);
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.requests, ELEMENTSOF(table));
        assert_int_equal(st.refused, 0);
        assert_int_equal(st.errors, 0);
        assert_int_equal(st.in_flight, 0);
}

static void test_every_operation(void **state)
{
        device_run(every_operation, NULL);
}

/* What is in the answers. */
static void answers(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_out_header h;
        struct fuse_entry_out e;
        (void)kernel_send(self, d, FUSE_LOOKUP, &TEXT("x"), 1);
        assert_int_equal(kernel_receive(self, d, &h), sizeof e);
        memcpy(&e, d->message, sizeof e);
        assert_int_equal(e.nodeid, 77);
        assert_int_equal(e.generation, 3);
        assert_int_equal(e.entry_valid, 2);
        assert_int_equal(e.entry_valid_nsec, 500000000);
        assert_int_equal(e.attr_valid, 1);
        assert_int_equal(e.attr_valid_nsec, 1);
        assert_int_equal(e.attr.mode, S_IFREG | 0644);

        struct fuse_create_in create = {.mode = S_IFREG};
        struct fuse_open_out o;
        (void)kernel_send(self, d, FUSE_CREATE, (struct iovec[]){PART(create), TEXT("x")}, 2);
        assert_int_equal(kernel_receive(self, d, &h), sizeof e + sizeof o);
        memcpy(&o, d->message + sizeof e, sizeof o);
        assert_int_equal(o.fh, FH);
        assert_int_equal(o.open_flags, FOPEN_KEEP_CACHE);

        struct fuse_copy_file_range_in copy = {.len = 5};
        struct fuse_copy_file_range_out copied;
        (void)kernel_send(self, d, FUSE_COPY_FILE_RANGE_64, &PART(copy), 1);
        assert_int_equal(kernel_receive(self, d, &h), sizeof copied);
        memcpy(&copied, d->message, sizeof copied);
        assert_int_equal(copied.bytes_copied, 11);
}

static void test_answers(void **state)
{
        device_run(answers, NULL);
}

/* ---- directories and xattrs ---------------------------------------------------------------------------------------
 */

static void directories(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        static uint8_t dirt[12000];
        memset(dirt, 0xff, sizeof dirt);
        struct fuse_write_in write = {.size = sizeof dirt};
        struct fuse_read_in in = {.size = 1000};
        struct fuse_out_header h;
        (void)kernel_send(self, d, FUSE_WRITE, (struct iovec[]){PART(write), PART(dirt)}, 2);
        (void)kernel_receive(self, d, &h); /* its memory is used again */
        (void)kernel_send(self, d, FUSE_READDIRPLUS, &PART(in), 1);
        size_t n = kernel_receive(self, d, &h), size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + 9);
        assert_int_equal(n, 1000 / size * size);
        for (size_t i = 0; i < n / size; i++) {
                struct fuse_direntplus p;
                memcpy(&p, d->message + i * size, sizeof p);
                assert_int_equal(p.entry_out.nodeid, 78);
                assert_int_equal(p.dirent.ino, 100 + i);
                assert_int_equal(p.dirent.off, i + 1);
                assert_int_equal(p.dirent.namelen, 9);
                assert_int_equal(p.dirent.type, 8);
                char name[32];
                (void)snprintf(name, sizeof name, "file%05zu", i);
                assert_memory_equal(d->message + i * size + FUSE_NAME_OFFSET_DIRENTPLUS, name, 9);
                assert_memory_equal(d->message + i * size + FUSE_NAME_OFFSET_DIRENTPLUS + 9, "\0\0\0\0\0\0\0",
                                    size - FUSE_NAME_OFFSET_DIRENTPLUS - 9);
        }
        in.size = 0;
        uint64_t unique = kernel_send(self, d, FUSE_READDIR, &PART(in), 1);
        kernel_expect_error(self, d, unique, 0);
        in.size = 39; /* not even one */
        unique = kernel_send(self, d, FUSE_READDIR, &PART(in), 1);
        kernel_expect_error(self, d, unique, 0);
        in.size = UINT32_MAX; /* more than a request may take */
        unique = kernel_send(self, d, FUSE_READDIR, &PART(in), 1);
        kernel_expect_error(self, d, unique, -ENOMEM);
}

static void test_directories(void **state)
{
        device_run(directories, NULL);
        uint8_t space[64];
        struct fuse_dir dir = {.data = space, .max = sizeof space};
        assert_int_equal(fuse_dir_add(&dir, "", 0, 1, 0, 1, NULL), -EINVAL);
        assert_int_equal(fuse_dir_add(&dir, "a/b", 3, 1, 0, 1, NULL), -EINVAL);
        assert_int_equal(fuse_dir_add(&dir, "a\0b", 3, 1, 0, 1, NULL), -EINVAL);
        assert_int_equal(fuse_dir_add(&dir, "a", NAME_MAX + 1, 1, 0, 1, NULL), -EINVAL);
        assert_int_equal(dir.len, 0);
        assert_ok(fuse_dir_add(&dir, "a", 1, 1, 0, 1, NULL));
        assert_ok(fuse_dir_add(&dir, "b", 1, 1, 0, 1, NULL));
        assert_int_equal(dir.len, 64);
        assert_int_equal(fuse_dir_add(&dir, "c", 1, 1, 0, 1, NULL), -ENOSPC);
}

static void xattrs(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_getxattr_in in = {.size = 0};
        struct fuse_getxattr_out out;
        struct fuse_out_header h;
        (void)kernel_send(self, d, FUSE_GETXATTR, (struct iovec[]){PART(in), TEXT("user.a")}, 2);
        assert_int_equal(kernel_receive(self, d, &h), sizeof out);
        memcpy(&out, d->message, sizeof out);
        assert_int_equal(out.size, 10);
        in.size = 9;
        uint64_t unique = kernel_send(self, d, FUSE_GETXATTR, (struct iovec[]){PART(in), TEXT("user.a")}, 2);
        kernel_expect_error(self, d, unique, -ERANGE);
        in.size = 10;
        (void)kernel_send(self, d, FUSE_LISTXATTR, &PART(in), 1);
        assert_int_equal(kernel_receive(self, d, &h), 10);
        assert_memory_equal(d->message, "0123456789", 10);
}

static void test_xattrs(void **state)
{
        device_run(xattrs, NULL);
}

/* ---- malformed ----------------------------------------------------------------------------------------------------
 */

/* Every good message cut at every length, and with bytes added: refused, and the file system is not asked. Where less
 * is a message too (IOCTL's data), it is answered. */
static void cut_and_padded(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_out_header h;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const struct known *k = &table[i];
                uint8_t body[512] = {0};
                size_t n = make_body(k, body);
                for (size_t cut = 0; cut < n + 9; cut += cut < n ? 1 : 8) {
                        bool good = cut == n || (k->data == DATA_REST && cut >= k->fixed);
                        unsigned asked = d->asked;
                        uint64_t unique = kernel_send(self, d, k->opcode, &(struct iovec){body, cut}, 1);
                        (void)kernel_receive(self, d, &h);
                        assert_int_equal(h.unique, unique);
                        assert_int_equal(h.error, good ? 0 : -EINVAL);
                        assert_int_equal(d->asked, asked + good);
                }
        }
}

static void test_cut_and_padded(void **state)
{
        device_run(cut_and_padded, NULL);
}

static void expect_name(struct fibre *self, struct device *d, uint32_t opcode, const char *name, int error)
{
        struct fuse_mkdir_in in = {.mode = 0755};
        struct iovec parts[] = {PART(in), TEXT(name)};
        bool mkdir = opcode == FUSE_MKDIR;
        unsigned asked = d->asked;
        uint64_t unique = kernel_send(self, d, opcode, mkdir ? parts : parts + 1, mkdir ? 2 : 1);
        struct fuse_out_header h;
        (void)kernel_receive(self, d, &h);
        assert_int_equal(h.unique, unique);
        assert_int_equal(h.error, error);
        assert_int_equal(d->asked, asked + (error == 0));
}

static void names(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        char longest[300];
        memset(longest, 'n', sizeof longest);
        longest[255] = 0;
        expect_name(self, d, FUSE_MKDIR, longest, 0);
        assert_string_equal(d->last.name, longest);
        longest[255] = 'n';
        longest[256] = 0;
        expect_name(self, d, FUSE_MKDIR, longest, -ENAMETOOLONG);
        expect_name(self, d, FUSE_MKDIR, "", -EINVAL);
        expect_name(self, d, FUSE_MKDIR, ".", -EINVAL);
        expect_name(self, d, FUSE_MKDIR, "..", -EINVAL);
        expect_name(self, d, FUSE_UNLINK, "a/b", -EINVAL);
        expect_name(self, d, FUSE_RMDIR, "..", -EINVAL);
        expect_name(self, d, FUSE_LOOKUP, "..", 0);
        expect_name(self, d, FUSE_LOOKUP, ".", 0);
        expect_name(self, d, FUSE_LOOKUP, "./", -EINVAL);
        expect_name(self, d, FUSE_REMOVEXATTR, "user.a/b", 0);
        expect_name(self, d, FUSE_REMOVEXATTR, "", -EINVAL);
        char target[5000];
        memset(target, '/', sizeof target);
        target[4095] = 0;
        uint64_t unique = kernel_send(self, d, FUSE_SYMLINK, (struct iovec[]){TEXT("link"), TEXT(target)}, 2);
        struct fuse_out_header h;
        (void)kernel_receive(self, d, &h);
        assert_int_equal(h.error, 0);
        assert_string_equal(d->last.new_name, target);
        target[4095] = '/';
        target[4096] = 0;
        unique = kernel_send(self, d, FUSE_SYMLINK, (struct iovec[]){TEXT("link"), TEXT(target)}, 2);
        kernel_expect_error(self, d, unique, -ENAMETOOLONG);
}

static void test_names(void **state)
{
        device_run(names, NULL);
}

static void not_messages(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_in_header h = {.len = 100, .opcode = FUSE_STATFS, .unique = 1000, .nodeid = 1};
        kernel_send_raw(self, d, &h, 10); /* not even a header: nobody to answer */
        kernel_send_raw(self, d, &h, sizeof h);
        kernel_expect_error(self, d, 1000, -EIO);
        h.len = sizeof h;
        h.total_extlen = 1;
        h.unique = 1002;
        kernel_send_raw(self, d, &h, sizeof h);
        kernel_expect_error(self, d, 1002, -EIO);
        uint64_t unique = kernel_send(self, d, 4711, NULL, 0);
        kernel_expect_error(self, d, unique, -ENOSYS);
        unique = kernel_send(self, d, 63, NULL, 0);
        kernel_expect_error(self, d, unique, -ENOSYS);
        static uint8_t larger[200 * KIB]; /* than any buffer: cut by the read */
        struct fuse_in_header big = {.len = sizeof larger, .opcode = FUSE_WRITE, .unique = 1004};
        memcpy(larger, &big, sizeof big);
        kernel_send_raw(self, d, larger, sizeof larger);
        kernel_expect_error(self, d, 1004, -EIO);
        struct fuse_write_in in = {.size = 100 * KIB};
        unique = kernel_send(self, d, FUSE_WRITE, (struct iovec[]){PART(in), {larger, 50 * KIB}}, 2);
        kernel_expect_error(self, d, unique, -EINVAL);
        in.size = UINT32_MAX;
        unique = kernel_send(self, d, FUSE_WRITE, (struct iovec[]){PART(in), {larger, 50 * KIB}}, 2);
        kernel_expect_error(self, d, unique, -EINVAL);
        assert_int_equal(d->asked, 0);
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.large, 0);
        assert_int_equal(st.refused, 8);
}

static void test_not_messages(void **state)
{
        device_run(not_messages, NULL);
}

/* Random messages of every kind: each that asks for an answer gets exactly one. */
static void random_messages(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        uint64_t seed = 88172645463325252ull;
        struct fuse_out_header h;
        for (unsigned round = 0; round < 8000; round++) {
                uint8_t body[512];
                for (size_t i = 0; i < sizeof body; i++) {
                        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
                        body[i] = (uint8_t)(seed % 5 == 0 ? 0 : seed >> 8);
                }
                const struct known *k = &table[seed % ELEMENTSOF(table)];
                size_t n = make_body(k, body);
                for (unsigned i = 0; n > 0 && i < (seed >> 20) % 4; i++)
                        body[(seed >> (8 * i)) % n] = (uint8_t)(seed >> (5 * i));
                if (k->opcode == FUSE_READDIR || k->opcode == FUSE_READDIRPLUS)
                        body[18] = body[19] = 0; /* what is asked for stays small */
                n += (seed >> 30) % 3 == 0 ? (seed >> 33) % 20 : 0;
                uint64_t unique = kernel_send(self, d, k->opcode, &(struct iovec){body, n}, 1);
                (void)kernel_receive(self, d, &h);
                assert_int_equal(h.unique, unique);
                assert_in_range(-h.error, 0, 511);
        }
        assert_false(kernel_has_answer(d));
        assert_in_range(d->asked, 2000, 8000);
}

static void test_random_messages(void **state)
{
        device_run(random_messages, NULL);
}

/* ---- file systems that do wrong -----------------------------------------------------------------------------------
 */

static void misbehaviour(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_read_in in = {.size = 100};
        d->behaviour = FORGETFUL;
        uint64_t unique = kernel_send(self, d, FUSE_READ, &PART(in), 1);
        kernel_expect_error(self, d, unique, -EIO);
        d->behaviour = TOO_LARGE;
        unique = kernel_send(self, d, FUSE_READ, &PART(in), 1);
        kernel_expect_error(self, d, unique, -EIO);
        assert_int_equal(d->last.reply, -EINVAL);
        d->behaviour = TWICE;
        (void)kernel_send(self, d, FUSE_READ, &PART(in), 1);
        struct fuse_out_header h;
        assert_int_equal(kernel_receive(self, d, &h), 10);
        assert_int_equal(d->last.second, -EALREADY);
        static const struct {
                int said, heard;
        } errors[] = {{-ENOSYS, -EOPNOTSUPP}, {-EPERM, -EPERM}, {5, -EIO}, {-512, -EIO}, {-511, -511}, {0, -EIO}};
        d->behaviour = FAIL;
        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                d->error = errors[i].said;
                unique = kernel_send(self, d, FUSE_READ, &PART(in), 1);
                kernel_expect_error(self, d, unique, errors[i].heard);
        }
        assert_false(kernel_has_answer(d));
}

static void test_misbehaviour(void **state)
{
        device_run(misbehaviour, NULL);
}

/* Nothing but one function: what the table says, and never ENOSYS for xattrs. */
static const struct fuse_ops *almost_nothing(void)
{
        static struct fuse_ops ops;
        ops.rename2 = recording_ops.rename2;
        ops.copy_file_range = recording_ops.copy_file_range;
        return &ops;
}

static void use_almost_nothing(struct device *d)
{
        d->config.ops = almost_nothing();
}

static void missing_functions(struct fibre *self, struct device *d)
{
        static const struct {
                uint32_t opcode;
                int error;
        } expected[] = {
#define MISSING(NAME, op, in, names, data, minor, missing) {FUSE_##NAME, -missing},
                FUSE_OPERATIONS(MISSING)};
        kernel_init(self, d);
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                uint8_t body[512];
                size_t n = make_body(&table[i], body);
                bool served = strstr("RENAME2 COPY_FILE_RANGE_64", table[i].name) != NULL;
                uint64_t unique = kernel_send(self, d, expected[i].opcode, &(struct iovec){body, n}, 1);
                struct fuse_out_header h;
                (void)kernel_receive(self, d, &h);
                assert_int_equal(h.unique, unique);
                assert_int_equal(h.error, served ? 0 : expected[i].error);
                if (strstr(table[i].name, "XATTR") || strstr(table[i].name, "OPEN"))
                        assert_int_not_equal(h.error, -ENOSYS);
        }
        struct fuse_rename_in in = {.newdir = 99};
        uint64_t unique = kernel_send(self, d, FUSE_RENAME, (struct iovec[]){PART(in), TEXT("a"), TEXT("b")}, 3);
        kernel_expect_error(self, d, unique, 0);
        struct fuse_rename2_in got;
        memcpy(&got, d->last.fixed, sizeof got);
        assert_int_equal(d->last.opcode, FUSE_RENAME2);
        assert_int_equal(got.newdir, 99);
        assert_int_equal(got.flags, 0);
        assert_string_equal(d->last.new_name, "b");
        (void)kernel_send(self, d, FUSE_FORGET, &(struct iovec){(void *)"\1\0\0\0\0\0\0", 8},
                          1); /* no function: fine */
}

static void test_missing_functions(void **state)
{
        device_run(missing_functions, use_almost_nothing);
}

/* ---- interrupts ---------------------------------------------------------------------------------------------------
 */

static uint64_t send_interrupt(struct fibre *self, struct device *d, uint64_t target)
{
        struct fuse_interrupt_in in = {.unique = target};
        return kernel_send(self, d, FUSE_INTERRUPT, &PART(in), 1);
}

static void interrupt_after(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_lk_in in = {0};
        d->behaviour = HOLD;
        uint64_t first = kernel_send(self, d, FUSE_SETLKW, &PART(in), 1);
        uint64_t second = kernel_send(self, d, FUSE_SETLKW, &PART(in), 1);
        wait_until(self, d, &d->n_held, 2);
        (void)send_interrupt(self, d, second);
        kernel_expect_error(self, d, second, -EINTR);
        (void)send_interrupt(self, d, first);
        kernel_expect_error(self, d, first, -EINTR);
        assert_int_equal(d->interrupted, 2);
        (void)send_interrupt(self, d, first); /* answered long ago: nobody cares */
        assert_false(kernel_has_answer(d));
}

static void test_interrupt_after(void **state)
{
        device_run(interrupt_after, NULL);
}

static void interrupt_before(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_lk_in in = {0};
        struct fuse_getattr_in other = {0};
        (void)send_interrupt(self, d, d->unique + 6); /* its own number and one other come between */
        uint64_t unique = kernel_send(self, d, FUSE_GETATTR, &PART(other), 1);
        struct fuse_out_header h;
        (void)kernel_receive(self, d, &h);
        assert_int_equal(h.unique, unique);
        assert_int_equal(h.error, 0);
        d->behaviour = HOLD;
        unique = kernel_send(self, d, FUSE_SETLKW, &PART(in), 1);
        kernel_expect_error(self, d, unique, -EINTR);
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.interrupts, 1);
        assert_int_equal(st.interrupts_early, 1);
}

static void test_interrupt_before(void **state)
{
        device_run(interrupt_before, NULL);
}

/* Interrupts for requests that never come: told to try again, after a while or when there are too many. */
static void interrupt_nobody(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        uint64_t first = 0;
        for (unsigned i = 0; i < 64; i++) {
                uint64_t unique = send_interrupt(self, d, 1000000 + 2 * i);
                first = i == 0 ? unique : first;
        }
        uint64_t unique = send_interrupt(self, d, 2000000);
        kernel_expect_error(self, d, unique, -EAGAIN);
        struct fuse_getattr_in in = {0};
        unsigned again = 0;
        for (unsigned i = 0; i < 32; i++) {
                unique = kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
                struct fuse_out_header h;
                while (kernel_receive(self, d, &h) == 0) {
                        assert_int_equal(h.error, -EAGAIN);
                        assert_int_equal(h.unique, first + 2 * again++);
                }
                assert_int_equal(h.unique, unique);
        }
        assert_int_equal(again, 64);
}

static void test_interrupt_nobody(void **state)
{
        device_run(interrupt_nobody, NULL);
}

/* ---- forgets ------------------------------------------------------------------------------------------------------
 */

static void forget_storm(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        uint64_t sum = 0;
        for (unsigned i = 0; i < 20000; i++) {
                struct fuse_forget_in in = {.nlookup = i};
                (void)kernel_send(self, d, FUSE_FORGET, &PART(in), 1);
                sum += i;
        }
        uint64_t nodes = 0;
        for (unsigned round = 0; round < 50; round++) {
                struct fuse_forget_one one[1000];
                struct fuse_batch_forget_in in = {.count = ELEMENTSOF(one)};
                for (unsigned i = 0; i < ELEMENTSOF(one); i++) {
                        one[i] = (struct fuse_forget_one){.nodeid = i, .nlookup = 2};
                        nodes += 2 * (uint64_t)i;
                }
                (void)kernel_send(self, d, FUSE_BATCH_FORGET, (struct iovec[]){PART(in), PART(one)}, 2);
        }
        struct fuse_batch_forget_in lies = {.count = UINT32_MAX};
        struct fuse_forget_one one = {.nodeid = 1, .nlookup = 1};
        (void)kernel_send(self, d, FUSE_BATCH_FORGET, (struct iovec[]){PART(lies), PART(one)}, 2);
        lies.count = 0;
        (void)kernel_send(self, d, FUSE_BATCH_FORGET, (struct iovec[]){PART(lies), PART(one)}, 2);
        (void)kernel_send(self, d, FUSE_BATCH_FORGET, NULL, 0);
        (void)kernel_send(self, d, FUSE_FORGET, NULL, 0);
        struct fuse_getattr_in in = {0};
        uint64_t unique = kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
        struct fuse_out_header h;
        (void)kernel_receive(self, d, &h);
        assert_int_equal(h.unique, unique); /* and no answer to any forget before it */
        assert_int_equal(d->forgotten, sum + 50 * 1000 * 2);
        assert_int_equal(d->forgotten_sum, 7 * sum + nodes);
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.forgets, 20000 + 50000);
        assert_int_equal(st.refused, 4);
}

static void test_forget_storm(void **state)
{
        device_run(forget_storm, NULL);
}

/* ---- limits -------------------------------------------------------------------------------------------------------
 */

static void small_limits(struct device *d)
{
        d->config.in_flight_max = 8;
        d->config.waiting_max = 4;
        d->config.large_max = 3;
}

static void answers_count(struct fibre *self, struct device *d, unsigned n, int error)
{
        struct fuse_out_header h;
        for (unsigned i = 0; i < n; i++) {
                (void)kernel_receive(self, d, &h);
                assert_int_equal(h.error, error);
        }
        assert_false(kernel_has_answer(d));
}

static void reader_stops(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_getattr_in in = {0};
        struct fuse_stats st;
        d->behaviour = HOLD;
        for (unsigned i = 0; i < 50; i++)
                (void)kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
        wait_until(self, d, &d->n_held, 8);
        do {
                fibre_yield(self);
                fuse_session_stats(d->session, &st);
        } while (st.stops == 0);
        for (unsigned i = 0; i < 100; i++)
                fibre_yield(self);
        assert_int_equal(d->asked, 8);
        release_held(d);
        answers_count(self, d, 50, 0);
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.in_flight_peak, 8);
        assert_int_equal(st.in_flight, 0);
        assert_int_equal(d->asked, 50);
}

static void test_reader_stops(void **state)
{
        device_run(reader_stops, small_limits);
}

/* Who waits for a lock does not keep the unlock from being read. */
static void lock_waiters(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_lk_in in = {0};
        d->behaviour = HOLD;
        d->hold_opcode = FUSE_SETLKW;
        for (unsigned i = 0; i < 4; i++)
                (void)kernel_send(self, d, FUSE_SETLKW, &PART(in), 1);
        wait_until(self, d, &d->n_held, 4);
        uint64_t unique = kernel_send(self, d, FUSE_SETLKW, &PART(in), 1);
        kernel_expect_error(self, d, unique, -ENOLCK);
        for (unsigned i = 0; i < 20; i++) {
                unique = kernel_send(self, d, FUSE_SETLK, &PART(in), 1);
                kernel_expect_error(self, d, unique, 0);
        }
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.waiting, 4);
        assert_int_equal(st.in_flight, 0);
        release_held(d);
        answers_count(self, d, 4, 0);
}

static void test_lock_waiters(void **state)
{
        device_run(lock_waiters, small_limits);
}

/* Large writes keep their buffer, page aligned; only so many are held. */
static void large_writes(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        static uint8_t data[128 * KIB];
        for (size_t i = 0; i < sizeof data; i++)
                data[i] = (uint8_t)(i * 7 + i / 4096);
        struct fuse_write_in in = {.size = sizeof data};
        for (unsigned i = 0; i < 5; i++) {
                (void)kernel_send(self, d, FUSE_WRITE, (struct iovec[]){PART(in), PART(data)}, 2);
                struct fuse_out_header h;
                assert_int_equal(kernel_receive(self, d, &h), 8);
                assert_int_equal(d->last.size, sizeof data);
                assert_memory_equal(d->last.data, data, sizeof data);
                assert_true(d->last.aligned);
        }
        d->behaviour = HOLD;
        for (unsigned i = 0; i < 6; i++)
                (void)kernel_send(self, d, FUSE_WRITE, (struct iovec[]){PART(in), PART(data)}, 2);
        wait_until(self, d, &d->n_held, 3);
        for (unsigned i = 0; i < 100; i++)
                fibre_yield(self);
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.large, 3);
        assert_int_equal(d->n_held, 3);
        release_held(d);
        answers_count(self, d, 6, 0);
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.large, 0);
        assert_memory_equal(d->last.data, data, sizeof data);
}

static void test_large_writes(void **state)
{
        device_run(large_writes, small_limits);
}

/* ---- the end ------------------------------------------------------------------------------------------------------
 */

/* The kernel goes while requests are under way, some beyond the limit: all end. */
static void kernel_goes(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_getattr_in in = {0};
        d->behaviour = HOLD;
        for (unsigned i = 0; i < 20; i++)
                (void)kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
        wait_until(self, d, &d->n_held, 8);
        kernel_close(d);
        wait_until(self, d, &d->ends, 1);
        wait_until(self, d, &d->n_held, 0);
        assert_int_equal(d->end_reason, 0);
        assert_int_equal(d->last.reply, -ENOENT);
        assert_int_equal(fuse_notify_inval_inode(d->session, 1, 0, 0), -ENOTCONN);
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.in_flight, 0);
        assert_true(st.gone >= 8);
}

static void test_kernel_goes(void **state)
{
        device_run(kernel_goes, small_limits);
}

/* The session is freed while requests wait. */
static void freed_early(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_getattr_in in = {0};
        d->behaviour = HOLD;
        for (unsigned i = 0; i < 5; i++)
                (void)kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
        wait_until(self, d, &d->n_held, 5);
        d->session = fuse_session_free(self, d->session);
        assert_int_equal(d->interrupted, 5);
        struct fuse_out_header h;
        for (unsigned i = 0; i < 5; i++) {
                (void)kernel_receive(self, d, &h);
                assert_int_equal(h.error, -EINTR);
        }
}

static void test_freed_early(void **state)
{
        device_run(freed_early, NULL);
}

/* ---- groups and logs ----------------------------------------------------------------------------------------------
 */

static size_t n_seen;
static uint32_t seen[FUSE_GROUPS_MAX];

static void op_groups(struct fibre *self, struct fuse_request *rq)
{
        const uint32_t *groups;
        n_seen = fuse_request_groups(rq, &groups);
        if (n_seen > 0)
                memcpy(seen, groups, n_seen * sizeof *groups);
        char text[FUSE_REQUEST_TEXT_MAX];
        assert_non_null(strstr(fuse_request_format(rq, text), "LOOKUP unique "));
        assert_non_null(strstr(text, " node 7 uid "));
        assert_non_null(strstr(text, " name 'some name'"));
        fuse_reply_ok(rq);
}

static void use_groups(struct device *d)
{
        static struct fuse_ops ops;
        ops.lookup = op_groups;
        d->config.ops = &ops;
        d->config.groups_timeout = 500 * NS_PER_MSEC;
}

static size_t ask_groups(struct fibre *self, struct device *d, uint32_t pid, uint32_t uid)
{
        struct {
                struct fuse_in_header h;
                char name[10];
        } m = {.h = {.len = 50, .opcode = FUSE_LOOKUP, .unique = 5000, .nodeid = 7, .uid = uid, .pid = pid},
               .name = "some name"};
        kernel_send_raw(self, d, &m, 50);
        kernel_expect_error(self, d, 5000, 0);
        return n_seen;
}

static void groups(struct fibre *self, struct device *d)
{
        static gid_t before[65536], mine[FUSE_GROUPS_MAX], others[] = {590, 591, 1000000}, changed[] = {592};
        int n_before = getgroups(ELEMENTSOF(before), before);
        uint32_t me = (uint32_t)getpid(), uid = geteuid();
        bool root = uid == 0 && setgroups(ELEMENTSOF(others), others) == 0;
        kernel_init(self, d);
        int n = getgroups(ELEMENTSOF(mine), mine);
        assert_int_equal(ask_groups(self, d, me, uid + 1), 0); /* the pid is not that user's */
        assert_int_equal(ask_groups(self, d, me, uid), n);
        assert_memory_equal(seen, mine, (size_t)n * sizeof *mine);
        assert_int_equal(ask_groups(self, d, 0, uid), 0);
        assert_int_equal(ask_groups(self, d, 0x7ffffff0, uid), 0);
        assert_int_equal(ask_groups(self, d, me, uid), n);
        assert_int_equal(ask_groups(self, d, me, uid + 1), 0); /* nor is what is remembered */
        if (!root)
                return;
        (void)ask_groups(self, d, me, uid);
        assert_ok(setgroups(ELEMENTSOF(changed), changed));
        assert_int_equal(ask_groups(self, d, me, uid), 3); /* remembered, for its time */
        uint64_t since = loop_now(d->loop);
        while (ask_groups(self, d, me, uid) != 1)
                assert_true(loop_now(d->loop) - since < 5 * NS_PER_SEC);
        assert_int_equal(seen[0], 592);
        assert_ok(setgroups((size_t)n_before, before));
}

static void test_groups(void **state)
{
        device_run(groups, use_groups);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_operation),  cmocka_unit_test(test_answers),
                cmocka_unit_test(test_directories),      cmocka_unit_test(test_xattrs),
                cmocka_unit_test(test_cut_and_padded),   cmocka_unit_test(test_names),
                cmocka_unit_test(test_not_messages),     cmocka_unit_test(test_random_messages),
                cmocka_unit_test(test_misbehaviour),     cmocka_unit_test(test_missing_functions),
                cmocka_unit_test(test_interrupt_after),  cmocka_unit_test(test_interrupt_before),
                cmocka_unit_test(test_interrupt_nobody), cmocka_unit_test(test_forget_storm),
                cmocka_unit_test(test_reader_stops),     cmocka_unit_test(test_lock_waiters),
                cmocka_unit_test(test_large_writes),     cmocka_unit_test(test_kernel_goes),
                cmocka_unit_test(test_freed_early),      cmocka_unit_test(test_groups),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
