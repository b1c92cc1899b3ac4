/* Walks the table of a message and chooses each field by the next bytes of the block (made_call.h). */
#include "made_call.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "brick/xdata.h"

#define RECORDED_MAX 128
#define RECORDED_BIT 0x80

struct recorded {
        char name[64];
        uint32_t proc;
        uint8_t *args;
        uint32_t len;
};
static struct recorded recorded[RECORDED_MAX];
static size_t recorded_count;

/* ---- knowledge --------------------------------------------------------------------------------------------------- */

void knowledge_begin(struct knowledge *k)
{
        *k = (struct knowledge){0};
        knowledge_gfid(k, &GFID_ROOT);
        knowledge_fd(k, 0);
}

void knowledge_gfid(struct knowledge *k, const struct gfid *g)
{
        if (gfid_is_null(g))
                return;
        for (uint32_t i = 0; i < MIN(k->gfid_count, (uint32_t)KNOWN_GFIDS); i++)
                if (gfid_equal(&k->gfids[i], g))
                        return;
        k->gfids[k->gfid_count++ % KNOWN_GFIDS] = *g;
}

void knowledge_fd(struct knowledge *k, int64_t fd)
{
        k->fds[k->fd_count++ % KNOWN_FDS] = fd;
}

/* ---- bytes of the block ------------------------------------------------------------------------------------------ */

struct maker {
        const uint8_t *at, *end;
        const struct knowledge *k;
        struct arena *a;
        bool keep; /* of a recorded call: bytes that are 0 leave the field as it is */
};

static uint8_t take(struct maker *m)
{
        return m->at < m->end ? *m->at++ : 0;
}

static uint64_t take_bytes(struct maker *m, unsigned n)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < n; i++)
                v = v << 8 | take(m);
        return v;
}

static void *memory(struct maker *m, size_t n)
{
        void *p = arena_alloc(m->a, n);
        if (!p)
                abort();
        return p;
}

/* N bytes: the next ones of the block, over and over. */
static struct slice bytes_of_block(struct maker *m, uint32_t n)
{
        uint8_t *data = memory(m, (size_t)n + 1);
        uint32_t left = MIN((uint32_t)(m->end - m->at), 16u), part = MIN(n, left);
        for (uint32_t i = 0; i < n; i++)
                data[i] = part > 0 ? m->at[i % part] : 'x';
        m->at += part;
        return (struct slice){data, n};
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static struct gfid make_gfid(struct maker *m)
{
        uint8_t c = take(m);
        uint32_t known = MIN(m->k->gfid_count, (uint32_t)KNOWN_GFIDS);
        if (c < 0xc0)
                return m->k->gfids[c % known];
        struct gfid g = {.b = {0xaa, c, [6] = 0x40, [8] = 0x80, [15] = c}};
        if (c == 0xff)
                g = (struct gfid){0};
        else if (c >= 0xf0) /* reserved ones */
                g = (struct gfid){.b = {[15] = c & 0xf}};
        return g;
}

static const char *const names[] = {
        "a", "b", "c", "d", "e", "f", "g", "h", "", ".", "..", ".glusterfs", "a/b", "../a", "%n%s%s%n", ".trashcan", "A",
        "\xc3\xa4\xff\x01", "unlink", "landfill", "indices", "00", "xattrop", "health_check"};

static struct str make_name(struct maker *m)
{
        uint8_t c = take(m);
        if (c < 0xa0)
                return str_of(names[c % 8]);
        if (c < 0xe0)
                return str_of(names[c % ELEMENTSOF(names)]);
        if (c < 0xf0) { /* of what is in the index */
                char *text = memory(m, GFID_TEXT_LEN + 1);
                struct gfid g = make_gfid(m);
                gfid_format(&g, text);
                return (struct str){text, GFID_TEXT_LEN};
        }
        struct slice s = bytes_of_block(m, c < 0xf8 ? c & 7 : 200u + 16u * (c & 7));
        return (struct str){(const char *)s.data, s.len};
}

#define XDATA_NAME_(field, kind, key) key,
static const char *const keys[] = {
        XDATA_KEYS(XDATA_NAME_) "trusted.afr.dirty", "trusted.afr.vol-client-0", "trusted.afr.vol-client-1",
        "trusted.ec.dirty", "trusted.ec.version", "trusted.ec.size", "trusted.glusterfs.dht",
        "trusted.glusterfs.dht.linkto", "trusted.glusterfs.mdata", "trusted.gfid", "trusted.glusterfs.volume-id",
        "trusted.gfid2path.0123456789abcdef", "trusted.pgfid.00000000-0000-0000-0000-000000000001", "user.a", "user.b",
        "user.*", "trusted.*", "*", "[a-z", "security.selinux", "security.capability", "system.posix_acl_access",
        "system.posix_acl_default", "glusterfs.posix.acl", "glusterfs.posix.default_acl", "set-ctime-mdata",
        "trusted.glusterfs.pathinfo", "trusted.glusterfs.node-uuid", "glusterfs.get_real_filename:A",
        "glusterfs.gfidtopath", "glusterfs.gfid2path", "glusterfs.ancestry.path", "glusterfs.xattrop_index_gfid",
        "glusterfs.xattrop_dirty_gfid", "glusterfs.xattrop_entry_changes_gfid", "glusterfs.xattrop_index_count",
        "glusterfs.xattrop_dirty_count", "trusted.glusterfs.lockinfo", "glusterfs.clrlk.tinode.kall",
        "glusterfs.clrlk.tentry.kall.a", "glusterfs.clrlk.tposix.kall.0,0-0", "glusterfs.clrlk.tinode.kblocked.0,0-9",
        "glusterfs.intrlk.tposix.kblocked", "trusted.io-stats-dump", "trusted.bit-rot.bad-file",
        "trusted.bit-rot.version", "trusted.glusterfs.enforce-mandatory-lock", "trusted.glusterfs.quota.size",
        "trusted.glusterfs.x.xtime", "trusted.SGI_ACL_FILE", "glusterfs.inodelk-dom-prefix:d", "nonsense", "%n%n%s",
        "trusted.glusterfs.selinux", "glusterfs.lock-migration-meta-lock", "trusted.worm_file"};

static struct str make_key(struct maker *m)
{
        uint8_t c = take(m);
        if (c < 0xf8)
                return str_of(keys[c % ELEMENTSOF(keys)]);
        struct slice s = bytes_of_block(m, 1u + 36u * (c & 7));
        return (struct str){(const char *)s.data, s.len};
}

static struct str make_text(struct maker *m)
{
        static const char *const texts[] = {"", "d", "vol-replicate-0", "d:metadata", "target", "/a/../b", "%s%n"};
        uint8_t c = take(m);
        if (c < 0x60)
                return str_of(texts[c % ELEMENTSOF(texts)]);
        if (c < 0xe0)
                return make_key(m);
        struct slice s = bytes_of_block(m, c < 0xf8 ? c & 15 : 512u * (c & 7));
        return (struct str){(const char *)s.data, s.len};
}

static uint64_t make_number(struct maker *m)
{
        static const uint64_t limits[] = {INT64_MAX,      INT64_MAX - 1, (uint64_t)INT64_MIN, UINT64_MAX, UINT64_MAX - 1, UINT32_MAX,
                                          INT32_MAX,      1ull << 31,    1ull << 32,          4096,       65536,          1 << 20,
                                          1ull << 40,     511,           512,                 513};
        uint8_t c = take(m);
        if (c < 0x80)
                return c;
        if (c < 0xa0)
                return 1ull << (c & 31);
        if (c < 0xc0)
                return limits[c % ELEMENTSOF(limits)];
        return take_bytes(m, c < 0xe0 ? 2 : c < 0xf0 ? 4 : 8);
}

static uint32_t make_u32(struct maker *m, const char *field)
{
        static const uint32_t flags[] = {0, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_RDWR | O_APPEND, O_RDWR | O_EXCL,
                                         O_RDWR | O_SYNC, O_RDWR | O_DIRECT, O_RDWR | O_NONBLOCK, 040};
        static const uint32_t modes[] = {S_IFREG | 0644, S_IFREG | 01000, S_IFDIR | 0755, S_IFIFO | 0600, S_IFSOCK | 0600,
                                         S_IFCHR | 0600, S_IFBLK | 0600, S_IFLNK | 0777, 0, 07777, S_IFREG | 06755};
        uint8_t c = m->at < m->end ? *m->at : 0;
        if (c < 0xc0 && streq(field, "flags"))
                return flags[take(m) % ELEMENTSOF(flags)];
        if (c < 0xc0 && streq(field, "mode"))
                return modes[take(m) % ELEMENTSOF(modes)];
        if (c < 0xc0 && streq(field, "size"))
                return 128u * take(m);
        return (uint32_t)make_number(m);
}

static int64_t make_fd(struct maker *m)
{
        uint8_t c = take(m);
        uint32_t known = MIN(m->k->fd_count, (uint32_t)KNOWN_FDS);
        if (c == 0)
                return m->k->fds[(m->k->fd_count - 1) % KNOWN_FDS];
        if (c < 0x80)
                return m->k->fds[c % known];
        if (c < 0xe0)
                return FD_ANONYMOUS;
        return c < 0xf0 ? (int64_t)(c & 15) - 2 : (int64_t)make_number(m);
}

static struct slice make_bytes(struct maker *m)
{
        static const uint8_t sizes[] = {12, 0, 1, 4, 8, 16, 24, 57, 28, 44, 100, 255};
        uint8_t c = take(m);
        if (c == 0xff)
                return bytes_of_block(m, 70000);
        return bytes_of_block(m, c & 0x80 ? c & 0x7f : sizes[c % ELEMENTSOF(sizes)]);
}

static const struct iatt *make_iatt(struct maker *m)
{
        struct iatt *i = memory(m, sizeof *i);
        i->mode = (uint32_t)take_bytes(m, 2);
        i->uid = (uint32_t)make_number(m);
        i->gid = (uint32_t)make_number(m);
        i->atime = (struct iatt_time){(int64_t)make_number(m), (uint32_t)make_number(m)};
        i->mtime = (struct iatt_time){(int64_t)make_number(m), (uint32_t)make_number(m)};
        i->ctime = i->mtime;
        i->flags = i->blksize = 1;
        return i;
}

static struct dict_value make_value(struct maker *m)
{
        struct dict_value v = {.type = take(m) % DICT_TYPE_MAX};
        switch (v.type) {
        case DICT_INT:
                v.i = (int64_t)make_number(m);
                break;
        case DICT_UINT:
                v.u = make_number(m);
                break;
        case DICT_DOUBLE:
                v.d = (double)take(m);
                break;
        case DICT_STR: {
                struct str s = make_text(m);
                v.bytes = (struct slice){(const uint8_t *)s.s, s.len};
                break;
        }
        case DICT_GFUUID:
                v.gfid = make_gfid(m);
                break;
        case DICT_IATT:
                v.iatt = make_iatt(m);
                break;
        case DICT_MDATA:
                v.mdata = (struct mdata){{(int64_t)make_number(m), 1}, {(int64_t)take(m), 2}, {(int64_t)take(m), 3}};
                break;
        default:
                v.type = DICT_PTR;
                v.bytes = make_bytes(m);
        }
        return v;
}

static void make_dict(struct maker *m, struct dict *d)
{
        uint8_t n = take(m);
        if (m->keep && n == 0)
                return;
        if (!m->keep || n & 0x80)
                *d = (struct dict){.null = n == 0x80};
        for (unsigned i = 0; i < (n & 3u); i++) {
                struct str key = make_key(m);
                if (dict_add(d, m->a, key, make_value(m)) < 0)
                        abort();
        }
        if (n & 4) {
                struct gfid g = {.b = {0xaa, take(m), [6] = 0x40, [8] = 0x80}};
                if (dict_add_gfid(d, m->a, "gfid-req", &g) < 0)
                        abort();
        }
}

static void make_flock(struct maker *m, struct flock_range *f)
{
        *f = (struct flock_range){.type = take(m) & 3, .start = make_number(m), .len = make_number(m), .pid = 1};
        f->owner = bytes_of_block(m, take(m) & 15);
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static bool is_fd(const char *field)
{
        return starts_with(field, "fd");
}

/* A byte that says whether the field of a recorded call is replaced. */
static bool replaced(struct maker *m)
{
        return !m->keep || (take(m) & 1);
}

static void make_payload(struct maker *m, struct slice *ret)
{
        static const uint32_t sizes[] = {1, 0, 5, 100, 512, 4096, 70000, 300000};
        if (replaced(m))
                *ret = bytes_of_block(m, sizes[take(m) % ELEMENTSOF(sizes)]);
}

static void make_field(struct maker *m, const struct msg_field *f, void *at)
{
        switch (f->kind) {
        case MSG_gfid:
                *(struct gfid *)at = make_gfid(m);
                break;
        case MSG_i64:
                *(int64_t *)at = is_fd(f->name) ? make_fd(m) : (int64_t)make_number(m);
                break;
        case MSG_dict:
                make_dict(m, at);
                break;
        case MSG_u32:
        case MSG_i32:
                if (replaced(m))
                        *(uint32_t *)at = make_u32(m, f->name);
                break;
        case MSG_u64:
                if (replaced(m))
                        *(uint64_t *)at = make_number(m);
                break;
        case MSG_name:
                if (replaced(m))
                        *(struct str *)at = make_name(m);
                break;
        case MSG_text:
                if (replaced(m))
                        *(struct str *)at = make_text(m);
                break;
        case MSG_opaque:
                if (replaced(m))
                        *(struct slice *)at = make_bytes(m);
                break;
        case MSG_iatt:
                if (replaced(m))
                        *(struct iatt *)at = *make_iatt(m);
                break;
        case MSG_flock:
                if (replaced(m))
                        make_flock(m, at);
                break;
        case MSG_lease:
                if (replaced(m))
                        *(struct lease *)at = (struct lease){take(m), take(m), make_gfid(m), take(m)};
                break;
        case MSG_payload:
                make_payload(m, at);
                break;
        default: /* lists stay as they are; plen is set with its payload */
                break;
        }
}

static void make_fields(struct maker *m, const struct msg_desc *d, uint8_t *msg)
{
        const struct msg_field *plen = NULL;
        for (uint32_t i = 0; i < d->field_count; i++) {
                const struct msg_field *f = &d->fields[i];
                make_field(m, f, msg + f->offset);
                if (f->kind == MSG_plen)
                        plen = f;
                if (f->kind == MSG_payload && plen)
                        *(uint32_t *)(msg + plen->offset) = ((struct slice *)(msg + f->offset))->len;
        }
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void make_cred(uint8_t who, struct rpc_cred *c)
{
        static const int32_t pids[] = {100, 100, 1, PID_SELF_HEAL, PID_GSYNCD, PID_REBALANCE, PID_TRASH, PID_NO_ROOT_SQUASH};
        *c = (struct rpc_cred){.flavour = RPC_AUTH_GLUSTERFS_V3,
                               .pid = pids[who & 7],
                               .uid = who & 8 ? 1000 : 0,
                               .gid = who & 8 ? 1000 : 0,
                               .flags = who & 16 ? 0x3f : 0,
                               .time = {.sec = 1000 + who, .nsec = 1},
                               .group_count = who & 32 ? 2 : 0,
                               .groups = {0, 1001},
                               .owner_len = who & 64 ? 8 : 4,
                               .owner = {who & 0x80 ? 1 : 2, 1}};
}

static bool base_message(struct maker *m, uint8_t choice, uint32_t *ret_proc, uint8_t *msg)
{
        const struct recorded *r = choice & RECORDED_BIT ? &recorded[(choice & 0x7f) % recorded_count] : NULL;
        m->keep = r != NULL;
        *ret_proc = r ? r->proc : choice % FOP_MAX;
        const struct fop_desc *d = fop_by_number(*ret_proc);
        if (!d || !r)
                return d != NULL;
        struct xdr_reader x = xdr_reader_of(r->args, r->len);
        return msg_decode(d->req, &x, m->a, msg) == 0;
}

bool made_call(const uint8_t block[CALL_BLOCK], const struct knowledge *k, struct arena *a, struct rpc_call *ret)
{
        struct maker m = {.at = block + 3, .end = block + CALL_BLOCK, .k = k, .a = a};
        uint8_t *msg = memory(&m, MSG_SIZE_MAX);
        struct buf *out = memory(&m, sizeof *out);
        *ret = (struct rpc_call){.prog = FOP_PROGRAM, .vers = FOP_VERSION};
        make_cred(block[1], &ret->cred);
        if (!base_message(&m, block[0], &ret->proc, msg))
                return false;
        const struct msg_desc *d = fop_by_number(ret->proc)->req;
        make_fields(&m, d, msg);
        _cleanup_buf_ struct buf b = BUF_INIT(4 * MIB);
        msg_encode(d, msg, &b);
        if (b.error)
                return false;
        uint8_t *args = memory(&m, b.len + 1);
        memcpy(args, b.data, b.len);
        if (block[2] == 0xff && b.len > 0) /* a damaged one */
                args[take(&m) * 4u % b.len] ^= take(&m);
        ret->args = (struct slice){args, (uint32_t)b.len};
        return true;
}

/* ---- recorded calls ---------------------------------------------------------------------------------------------- */

static void load_one(const char *path, const char *name)
{
        uint8_t data[65536];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, data, sizeof data) : -1;
        if (fd >= 0)
                close(fd);
        struct rpc_call call;
        enum rpc_status status;
        if (n < 0 || rpc_direction((struct slice){data, (uint32_t)n}) != (int)RPC_CALL ||
            rpc_call_decode((struct slice){data, (uint32_t)n}, &call, &status) < 0 || call.prog != FOP_PROGRAM ||
            recorded_count == RECORDED_MAX)
                return;
        struct recorded *r = &recorded[recorded_count++];
        (void)snprintf(r->name, sizeof r->name, "%s", name);
        *r = (struct recorded){.proc = call.proc, .len = call.args.len, .args = malloc(call.args.len + 1)};
        if (!r->args)
                abort();
        memcpy(r->args, call.args.data, call.args.len);
}

void recorded_calls_load(const char *directory)
{
        struct dirent **list;
        int n = scandir(directory, &list, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                char path[4096];
                (void)snprintf(path, sizeof path, "%s/%s", directory, list[i]->d_name);
                if (strstr(list[i]->d_name, "-call.bin"))
                        load_one(path, list[i]->d_name);
                free(list[i]);
        }
        if (n >= 0)
                free(list);
        if (recorded_count == 0) {
                (void)fprintf(stderr, "no recorded calls in %s\n", directory);
                abort();
        }
}
