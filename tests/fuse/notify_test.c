/* Notifications: what is written, in which order, that a kernel which does not take them holds nothing else up. */
#include "device.h"

static size_t next(struct fibre *self, struct device *d, int code)
{
        struct fuse_out_header h;
        size_t n = kernel_receive(self, d, &h);
        assert_int_equal(h.unique, 0);
        assert_int_equal(h.error, code);
        return n;
}

static void messages(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        assert_ok(fuse_notify_inval_inode(d->session, 42, 4096, 8192));
        struct fuse_notify_inval_inode_out inode;
        assert_int_equal(next(self, d, FUSE_NOTIFY_INVAL_INODE), sizeof inode);
        memcpy(&inode, d->message, sizeof inode);
        assert_int_equal(inode.ino, 42);
        assert_int_equal(inode.off, 4096);
        assert_int_equal(inode.len, 8192);

        assert_ok(fuse_notify_inval_entry(d->session, 42, "name and more", 4, FUSE_EXPIRE_ONLY));
        struct fuse_notify_inval_entry_out entry;
        assert_int_equal(next(self, d, FUSE_NOTIFY_INVAL_ENTRY), sizeof entry + 5);
        memcpy(&entry, d->message, sizeof entry);
        assert_int_equal(entry.parent, 42);
        assert_int_equal(entry.namelen, 4);
        assert_int_equal(entry.flags, FUSE_EXPIRE_ONLY);
        assert_string_equal((char *)d->message + sizeof entry, "name");

        assert_ok(fuse_notify_delete(d->session, 42, 43, "gone", 4));
        struct fuse_notify_delete_out gone;
        assert_int_equal(next(self, d, FUSE_NOTIFY_DELETE), sizeof gone + 5);
        memcpy(&gone, d->message, sizeof gone);
        assert_int_equal(gone.parent, 42);
        assert_int_equal(gone.child, 43);
        assert_int_equal(gone.namelen, 4);

        assert_ok(fuse_notify_store(d->session, 42, 100, "bytes", 5));
        struct fuse_notify_store_out store;
        assert_int_equal(next(self, d, FUSE_NOTIFY_STORE), sizeof store + 5);
        memcpy(&store, d->message, sizeof store);
        assert_int_equal(store.nodeid, 42);
        assert_int_equal(store.offset, 100);
        assert_int_equal(store.size, 5);

        assert_int_equal(fuse_notify_inval_entry(d->session, 1, "", 0, 0), -EINVAL);
        assert_int_equal(fuse_notify_inval_entry(d->session, 1, "a/b", 3, 0), -EINVAL);
        assert_int_equal(fuse_notify_store(d->session, 1, 0, "x", 0), -EINVAL);
        assert_int_equal(fuse_notify_store(d->session, 1, 0, "x", 129 * KIB), -EINVAL);
        struct fuse_stats st;
        do {
                fibre_yield(self);
                fuse_session_stats(d->session, &st);
        } while (st.notifications != 4);
        assert_int_equal(st.notifications_failed, 0);
        assert_int_equal(st.notify_queued, 0);
}

static void test_messages(void **state)
{
        device_run(messages, NULL);
}

static void imitate_old(struct device *d)
{
        d->config.minor_max = 36;
}

static void without_expire(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        assert_ok(fuse_notify_inval_entry(d->session, 42, "name", 4, FUSE_EXPIRE_ONLY));
        struct fuse_notify_inval_entry_out entry;
        (void)next(self, d, FUSE_NOTIFY_INVAL_ENTRY);
        memcpy(&entry, d->message, sizeof entry);
        assert_int_equal(entry.flags, 0);
}

static void test_without_expire(void **state)
{
        device_run(without_expire, imitate_old);
}

static void few(struct device *d)
{
        d->config.notify_max = 100;
}

/* Nobody takes what is written: the queue fills up, then says so; requests are still served, and then all that was
 * queued arrives, once each. */
static void blocked(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        static uint8_t data[128 * KIB];
        unsigned stored = 0;
        while (fuse_notify_store(d->session, 9, stored * sizeof data, data, sizeof data) == 0) {
                stored++;
                fibre_yield(self);
        }
        struct fuse_stats st;
        fuse_session_stats(d->session, &st);
        assert_int_equal(st.notifications_dropped, 1);
        assert_true(st.notify_queued >= 99);
        assert_int_equal(fuse_notify_inval_inode(d->session, 5, 0, 0), -ENOBUFS);

        struct fuse_getattr_in in = {0};
        unsigned asked = d->asked;
        (void)kernel_send(self, d, FUSE_GETATTR, &PART(in), 1);
        wait_until(self, d, &d->asked, asked + 1);

        struct fuse_out_header h;
        for (unsigned i = 0; i < stored;) {
                (void)kernel_receive(self, d, &h);
                if (h.unique != 0)
                        continue;
                struct fuse_notify_store_out store;
                memcpy(&store, d->message, sizeof store);
                assert_int_equal(store.offset, i++ * sizeof data);
        }
}

static void test_blocked(void **state)
{
        device_run(blocked, few);
}

/* What is queued already is not queued again, but behind data that is to be stored it is. */
static void twice(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        static uint8_t data[128 * KIB];
        struct fuse_stats st;
        unsigned stored = 0;
        do { /* until the socket is full and the thread waits */
                assert_ok(fuse_notify_store(d->session, 9, stored++, data, sizeof data));
                for (unsigned i = 0; i < 50; i++)
                        fibre_yield(self);
                fuse_session_stats(d->session, &st);
        } while (st.notify_queued < 3);
        assert_ok(fuse_notify_inval_inode(d->session, 9, 0, 0));
        assert_ok(fuse_notify_inval_inode(d->session, 9, 0, 0));
        unsigned inodes = 0;
        struct fuse_out_header h;
        for (unsigned i = 0; i < stored + 2; i++) {
                (void)kernel_receive(self, d, &h);
                inodes += h.error == FUSE_NOTIFY_INVAL_INODE;
        }
        assert_int_equal(inodes, 2);
}

static void test_twice(void **state)
{
        device_run(twice, NULL);
}

static void many(struct device *d)
{
        d->config.notify_max = 200000;
}

/* Small ones: fill the socket, then repeat. */
static void repeated(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        struct fuse_stats st;
        uint64_t n = 0;
        do { /* different ones, until the thread of this node waits for us */
                assert_ok(fuse_notify_inval_inode(d->session, 9, (int64_t)++n * 4096, 1));
                if (n % 64 == 0)
                        fibre_yield(self);
                fuse_session_stats(d->session, &st);
        } while (st.notify_queued < 2000);
        uint32_t before = st.notify_queued;
        for (unsigned i = 0; i < 1000; i++)
                assert_ok(fuse_notify_inval_inode(d->session, 9, (int64_t)n * 4096, 1)); /* the last one again */
        fuse_session_stats(d->session, &st);
        assert_true(st.notify_queued <= before);
        for (uint64_t i = 1; i <= n; i++) {
                struct fuse_notify_inval_inode_out inode;
                (void)next(self, d, FUSE_NOTIFY_INVAL_INODE);
                memcpy(&inode, d->message, sizeof inode);
                assert_int_equal(inode.off, i * 4096);
        }
        assert_false(kernel_has_answer(d));
}

static void test_repeated(void **state)
{
        device_run(repeated, many);
}

/* The session ends with notifications queued that nobody takes. */
static void ends_blocked(struct fibre *self, struct device *d)
{
        kernel_init(self, d);
        for (uint64_t i = 0; i < 100; i++)
                assert_ok(fuse_notify_inval_inode(d->session, i, 0, 0));
        kernel_close(d);
        wait_until(self, d, &d->ends, 1);
}

static void test_ends_blocked(void **state)
{
        device_run(ends_blocked, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_messages), cmocka_unit_test(test_without_expire),
                cmocka_unit_test(test_blocked),  cmocka_unit_test(test_twice),
                cmocka_unit_test(test_repeated), cmocka_unit_test(test_ends_blocked),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
