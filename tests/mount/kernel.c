/* The kernel's side of a bridge (kernel.h). */
#include "kernel.h"

static struct kernel k_; /* of the test that runs */

/* ---- the kernel's side ------------------------------------------------------------------------------------------- */

uint64_t tell(struct kernel *k, uint32_t opcode, uint64_t node, const struct iovec *parts, int n)
{
        static uint8_t message[512 * KIB];
        k->unique += 2;
        struct fuse_in_header h = {.len = sizeof h,
                                   .opcode = opcode,
                                   .unique = k->unique,
                                   .nodeid = node,
                                   .uid = k->uid,
                                   .gid = k->uid,
                                   .pid = (uint32_t)getpid()};
        size_t at = sizeof h;
        for (int i = 0; i < n; i++) {
                memcpy(message + at, parts[i].iov_base, parts[i].iov_len);
                at += parts[i].iov_len;
        }
        h.len = (uint32_t)at;
        memcpy(message, &h, sizeof h);
        kernel_send_raw(k->self, k->d, message, at);
        return h.unique;
}

static void note(struct kernel *k, int code)
{
        assert_true(k->n_notices < NOTICES_MAX);
        struct notice *n = &k->notices[k->n_notices++];
        *n = (struct notice){.code = code};
        if (code == FUSE_NOTIFY_INVAL_INODE) {
                const struct fuse_notify_inval_inode_out *out = (const void *)k->d->message;
                n->node = out->ino;
                n->offset = out->off;
        } else if (code == FUSE_NOTIFY_INVAL_ENTRY) {
                const struct fuse_notify_inval_entry_out *out = (const void *)k->d->message;
                n->node = out->parent;
                (void)snprintf(n->name, sizeof n->name, "%s", (const char *)(out + 1));
        }
}

int hear(struct kernel *k, uint64_t unique, size_t *ret_size)
{
        struct fuse_out_header h;
        for (;;) {
                size_t n = kernel_receive(k->self, k->d, &h);
                if (h.unique == 0) {
                        note(k, h.error);
                        continue;
                }
                assert_int_equal(h.unique, unique);
                if (ret_size)
                        *ret_size = n;
                return h.error;
        }
}

int ask(struct kernel *k, uint32_t opcode, uint64_t node, const struct iovec *parts, int n)
{
        return hear(k, tell(k, opcode, node, parts, n), NULL);
}

void hear_notices(struct kernel *k, unsigned n)
{
        struct fuse_out_header h;
        while (k->n_notices < n) {
                (void)kernel_receive(k->self, k->d, &h);
                assert_int_equal(h.unique, 0);
                note(k, h.error);
        }
}

const struct notice *noticed(const struct kernel *k, int code, uint64_t node, const char *name)
{
        for (unsigned i = 0; i < k->n_notices; i++)
                if (k->notices[i].code == code && k->notices[i].node == node &&
                    (!name || streq(k->notices[i].name, name)))
                        return &k->notices[i];
        return NULL;
}

struct fuse_entry_out last_entry(const struct kernel *k)
{
        struct fuse_entry_out e;
        memcpy(&e, k->d->message, sizeof e);
        return e;
}

struct fuse_attr last_attr(const struct kernel *k)
{
        struct fuse_attr_out a;
        memcpy(&a, k->d->message, sizeof a);
        return a.attr;
}

uint64_t lookup(struct kernel *k, uint64_t parent, const char *name)
{
        assert_int_equal(ASK(k, FUSE_LOOKUP, parent, TEXT(name)), 0);
        return last_entry(k).nodeid;
}

void forget(struct kernel *k, uint64_t node, uint64_t n)
{
        struct fuse_forget_in in = {.nlookup = n};
        (void)tell(k, FUSE_FORGET, node, &PART(in), 1);
}

uint64_t open_file(struct kernel *k, uint64_t node, uint32_t flags, uint32_t *ret_flags)
{
        struct fuse_open_in in = {.flags = flags};
        assert_int_equal(ASK(k, FUSE_OPEN, node, PART(in)), 0);
        struct fuse_open_out out;
        memcpy(&out, k->d->message, sizeof out);
        if (ret_flags)
                *ret_flags = out.open_flags;
        return out.fh;
}

uint64_t create(struct kernel *k, const char *name, uint32_t flags, uint64_t *ret_node)
{
        struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = S_IFREG | 0666, .umask = 022};
        assert_int_equal(ASK(k, FUSE_CREATE, FUSE_ROOT_ID, PART(in), TEXT(name)), 0);
        struct fuse_open_out out;
        memcpy(&out, k->d->message + sizeof(struct fuse_entry_out), sizeof out);
        *ret_node = last_entry(k).nodeid;
        return out.fh;
}

int write_text(struct kernel *k, uint64_t node, uint64_t fh, uint64_t offset, const char *text, uint32_t flags)
{
        struct fuse_write_in in = {.fh = fh, .offset = offset, .size = (uint32_t)strlen(text), .write_flags = flags};
        struct iovec data = {(void *)text, strlen(text)};
        return ASK(k, FUSE_WRITE, node, PART(in), data);
}

int flush(struct kernel *k, uint64_t node, uint64_t fh, uint64_t owner)
{
        struct fuse_flush_in in = {.fh = fh, .lock_owner = owner};
        return ASK(k, FUSE_FLUSH, node, PART(in));
}

int release(struct kernel *k, uint32_t opcode, uint64_t node, uint64_t fh)
{
        struct fuse_release_in in = {.fh = fh};
        return ASK(k, opcode, node, PART(in));
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void on_init(struct fuse_session *s, const struct fuse_protocol *p, void *arg)
{
        k_.d->inits++;
}

static void on_end(struct fuse_session *s, int reason, void *arg)
{
        k_.d->ends++;
}

static void configure(struct device *d)
{
        k_.d = d;
        k_.fake = fake_volume_new(d->loop);
        k_.config.loop = d->loop;
        assert_ok(bridge_new(&k_.config, &k_.bridge));
        d->config.ops = bridge_operations();
        d->config.arg = k_.bridge;
        d->config.choices = bridge_choices(k_.bridge);
        d->config.max_write = MIB;
        d->config.on_init = on_init;
        d->config.on_end = on_end;
}

static void scenario(struct fibre *self, struct device *d)
{
        struct error err;
        k_.self = self;
        assert_ok(bridge_open_root(self, k_.bridge, fake_volume(k_.fake), NS_PER_SEC, &err));
        bridge_serve(k_.bridge, d->session);
        kernel_init(self, d);
        fake_reset_counts(k_.fake);
        k_.scenario(&k_);
        bridge_settle(self, k_.bridge);
        bridge_serve(k_.bridge, NULL);
}

void run(void (*fn)(struct kernel *k), const struct bridge_config *config)
{
        static const struct bridge_config plain = {
                .attribute_timeout = NS_PER_SEC, .entry_timeout = NS_PER_SEC, .negative_timeout = UINT64_MAX};
        k_ = (struct kernel){.config = config ? *config : plain, .scenario = fn, .unique = 1000};
        device_run(scenario, configure);
        bridge_close(k_.bridge);
        bridge_free(k_.bridge);
        fake_volume_free(k_.fake);
}
