/* The interpreter of message tables: decode and encode.
 *
 * On the path of every request: one switch per field, fixed parts in blocks, room for all of them reserved at once. The
 * struct is decoded beside the caller's and copied when everything was well-formed. Log form: message_format.c.
 * Any thread; reader, arena and buffer belong to the request.
 */
#include "proto/message.h"

#define LIST_FIRST_CAP 8

/* One message being decoded. */
struct decoder {
        struct xdr_reader *r;
        struct arena *a;
        bool exact;       /* a payload follows: dicts must take what they announce */
        uint32_t payload; /* bytes announced */
};

static uint32_t limit_or(uint32_t limit, uint64_t kind_limit)
{
        return limit ? limit : (uint32_t)kind_limit;
}

/* ---- reading: strings and dicts ---------------------------------------------------------------------------------- */

static int name_error(struct slice name)
{
        if (name.len == 0)
                return 0;
        if (memchr(name.data, 0, name.len))
                return -EINVAL;
        if (memchr(name.data, '/', name.len))
                return -EPERM;
        return name.len > NAME_LIMIT ? -ENAMETOOLONG : 0;
}

static bool is_dots(struct str s)
{
        return str_is(s, ".") || str_is(s, "..");
}

/* A path component; "." and ".." are names only in a directory listing. */
static struct str decode_entry_name(struct decoder *d)
{
        struct slice bytes = xdr_read_opaque(d->r, UINT32_MAX);
        int error = name_error(bytes);
        if (bytes.len == 0 || error < 0) {
                if (error < 0)
                        xdr_refuse(d->r, error);
                return STR("");
        }
        const char *s = arena_strndup(d->a, bytes.data, bytes.len);
        if (!s) {
                xdr_fail(d->r, -ENOMEM);
                return STR("");
        }
        return (struct str){.s = s, .len = bytes.len};
}

static struct str decode_name(struct decoder *d)
{
        struct str name = decode_entry_name(d);
        if (is_dots(name))
                xdr_refuse(d->r, -EPERM);
        return name;
}

static struct dict decode_dict(struct decoder *d)
{
        struct dict dict;
        if (d->exact)
                dict_decode_exact(d->r, d->a, &dict);
        else
                dict_decode(d->r, d->a, &dict);
        return dict;
}

static struct dict decode_odict(struct decoder *d)
{
        struct dict dict = DICT_NULL;
        struct slice bytes = xdr_read_opaque(d->r, DICT_BYTES_LIMIT);
        int r = dict_decode_old(bytes, d->a, &dict);
        if (r < 0)
                xdr_fail(d->r, r == -E2BIG ? -EMSGSIZE : r);
        return dict;
}

static struct slice decode_payload(struct decoder *d)
{
        struct slice s = {.data = d->r->p, .len = (uint32_t)xdr_left(d->r)};
        if (xdr_left(d->r) != d->payload) {
                xdr_fail(d->r, -EBADMSG);
                return (struct slice){0};
        }
        d->r->p = d->r->end;
        return s;
}

/* ---- reading: structures ----------------------------------------------------------------------------------------- */

static struct flock_range decode_flock(struct xdr_reader *r)
{
        struct flock_range f;
        f.type = xdr_read_u32(r);
        f.whence = xdr_read_u32(r);
        f.start = xdr_read_u64(r);
        f.len = xdr_read_u64(r);
        f.pid = xdr_read_u32(r);
        f.owner = xdr_read_opaque(r, OWNER_LIMIT);
        return f;
}

static struct lease decode_lease(struct xdr_reader *r)
{
        struct lease l;
        l.cmd = xdr_read_u32(r);
        l.type = xdr_read_u32(r);
        l.id = xdr_read_gfid(r);
        l.flags = xdr_read_u32(r);
        return l;
}

static struct statfs decode_statfs(struct xdr_reader *r)
{
        struct statfs s;
        s.bsize = xdr_read_u64(r);
        s.frsize = xdr_read_u64(r);
        s.blocks = xdr_read_u64(r);
        s.bfree = xdr_read_u64(r);
        s.bavail = xdr_read_u64(r);
        s.files = xdr_read_u64(r);
        s.ffree = xdr_read_u64(r);
        s.favail = xdr_read_u64(r);
        s.fsid = xdr_read_u64(r);
        s.flag = xdr_read_u64(r);
        s.namemax = xdr_read_u64(r);
        return s;
}

/* ---- reading: lists ---------------------------------------------------------------------------------------------- */

/* True if another entry follows: V, with N entries of SIZE bytes and room for *CAP, then has room for it. */
static bool list_more(struct decoder *d, void **v, uint32_t n, uint32_t *cap, size_t size, uint32_t limit)
{
        uint32_t more = xdr_read_u32(d->r);
        if (more == 0)
                return false;
        if (more > 1 || n >= limit) {
                xdr_fail(d->r, more > 1 ? -EBADMSG : -EMSGSIZE);
                return false;
        }
        if (n < *cap)
                return true;

        uint32_t wanted = *cap ? *cap * 2 : LIST_FIRST_CAP;
        void *bigger = arena_alloc_array(d->a, wanted, size);
        if (!bigger) {
                xdr_fail(d->r, -ENOMEM);
                return false;
        }
        if (n > 0)
                memcpy(bigger, *v, n * size);
        *v = bigger;
        *cap = wanted;
        return true;
}

static const struct dict *decode_entry_dict(struct decoder *d)
{
        struct dict dict = decode_dict(d);
        if (dict.null)
                return NULL;
        struct dict *copy = arena_alloc(d->a, sizeof *copy);
        if (copy)
                *copy = dict;
        else
                xdr_fail(d->r, -ENOMEM);
        return copy;
}

static void decode_dirent(struct decoder *d, bool plus, struct dirent_entry *e)
{
        e->ino = xdr_read_u64(d->r);
        e->off = xdr_read_u64(d->r);
        (void)xdr_read_u32(d->r); /* d_len repeats the length of the name */
        e->type = xdr_read_u32(d->r);
        e->name = decode_entry_name(d);
        if (!plus)
                return;
        e->stat = xdr_read_iatt(d->r);
        e->dict = decode_entry_dict(d);
}

static struct dirent_list decode_dirents(struct decoder *d, bool plus, uint32_t limit)
{
        void *v = NULL;
        uint32_t n = 0, cap = 0;
        while (list_more(d, &v, n, &cap, sizeof(struct dirent_entry), limit))
                decode_dirent(d, plus, (struct dirent_entry *)v + n++);
        return (struct dirent_list){.v = v, .n = n};
}

static struct lock_list decode_locks(struct decoder *d, uint32_t limit)
{
        void *v = NULL;
        uint32_t n = 0, cap = 0;
        while (list_more(d, &v, n, &cap, sizeof(struct lock_entry), limit)) {
                struct lock_entry *e = (struct lock_entry *)v + n++;
                e->flock = decode_flock(d->r);
                e->client_uid = xdr_read_str(d->r, CLIENT_UID_LIMIT, d->a);
                e->flags = xdr_read_u32(d->r);
        }
        return (struct lock_list){.v = v, .n = n};
}

static struct program_list decode_programs(struct decoder *d, uint32_t limit)
{
        void *v = NULL;
        uint32_t n = 0, cap = 0;
        while (list_more(d, &v, n, &cap, sizeof(struct program_entry), limit)) {
                struct program_entry *e = (struct program_entry *)v + n++;
                e->name = xdr_read_str(d->r, NAME_LIMIT, d->a);
                e->number = xdr_read_u64(d->r);
                e->version = xdr_read_u64(d->r);
        }
        return (struct program_list){.v = v, .n = n};
}

/* ---- reading: the message ---------------------------------------------------------------------------------------- */

static void decode_field(struct decoder *d, const struct msg_field *f, void *at)
{
        struct xdr_reader *r = d->r;
        switch (f->kind) {
        case MSG_gfid:
                *(struct gfid *)at = xdr_read_gfid(r);
                break;
        case MSG_u32:
                *(uint32_t *)at = xdr_read_u32(r);
                break;
        case MSG_i32:
                *(int32_t *)at = (int32_t)xdr_read_u32(r);
                break;
        case MSG_u64:
                *(uint64_t *)at = xdr_read_u64(r);
                break;
        case MSG_i64:
                *(int64_t *)at = (int64_t)xdr_read_u64(r);
                break;
        case MSG_name:
                *(struct str *)at = decode_name(d);
                break;
        case MSG_text:
                *(struct str *)at = xdr_read_str(r, limit_or(f->limit, PATH_LIMIT), d->a);
                break;
        case MSG_opaque:
                *(struct slice *)at = xdr_read_opaque(r, limit_or(f->limit, RECORD_LIMIT));
                break;
        case MSG_dict:
                *(struct dict *)at = decode_dict(d);
                break;
        case MSG_odict:
                *(struct dict *)at = decode_odict(d);
                break;
        case MSG_iatt:
                *(struct iatt *)at = xdr_read_iatt(r);
                break;
        case MSG_oiatt:
                *(struct iatt *)at = xdr_read_iatt_old(r);
                break;
        case MSG_flock:
                *(struct flock_range *)at = decode_flock(r);
                break;
        case MSG_lease:
                *(struct lease *)at = decode_lease(r);
                break;
        case MSG_statfs:
                *(struct statfs *)at = decode_statfs(r);
                break;
        case MSG_dirents:
        case MSG_direntps:
                *(struct dirent_list *)at = decode_dirents(d, f->kind == MSG_direntps, limit_or(f->limit, LIST_LIMIT));
                break;
        case MSG_locks:
                *(struct lock_list *)at = decode_locks(d, limit_or(f->limit, LIST_LIMIT));
                break;
        case MSG_programs:
                *(struct program_list *)at = decode_programs(d, limit_or(f->limit, LIST_LIMIT));
                break;
        case MSG_plen:
                *(uint32_t *)at = d->payload = xdr_read_u32(r);
                break;
        case MSG_payload:
                *(struct slice *)at = decode_payload(d);
                break;
        case MSG_KIND_MAX:
                break;
        }
}

static bool has_payload(const struct msg_desc *d)
{
        return d->field_count > 0 && d->fields[d->field_count - 1].kind == MSG_payload;
}

int msg_decode(const struct msg_desc *d, struct xdr_reader *r, struct arena *a, void *ret)
{
        _Alignas(max_align_t) uint8_t msg[MSG_SIZE_MAX];
        struct decoder decoder = {.r = r, .a = a, .exact = has_payload(d)};
        for (uint32_t i = 0; i < d->field_count && r->error == 0; i++)
                decode_field(&decoder, &d->fields[i], msg + d->fields[i].offset);
        int error = xdr_result(r);
        if (error < 0)
                return error;
        if (d->size > 0)
                memcpy(ret, msg, d->size);
        return 0;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void encode_str(struct buf *b, struct str s)
{
        xdr_write_opaque(b, s.s, s.len);
}

static void encode_odict(struct buf *b, const struct dict *d)
{
        static const uint8_t zeros[4];
        size_t start = b->len;
        xdr_write_u32(b, 0);
        (void)dict_encode_old(b, d);
        uint32_t len = (uint32_t)(b->len - start - 4);
        xdr_write_fixed(b, zeros, -(size_t)len & 3);
        xdr_patch_u32(b, start, len);
}

static void encode_flock(struct buf *b, const struct flock_range *f)
{
        xdr_write_u32(b, f->type);
        xdr_write_u32(b, f->whence);
        xdr_write_u64(b, f->start);
        xdr_write_u64(b, f->len);
        xdr_write_u32(b, f->pid);
        xdr_write_opaque(b, f->owner.data, f->owner.len);
}

static void encode_lease(struct buf *b, const struct lease *l)
{
        xdr_write_u32(b, l->cmd);
        xdr_write_u32(b, l->type);
        xdr_write_gfid(b, &l->id);
        xdr_write_u32(b, l->flags);
}

static void encode_statfs(struct buf *b, const struct statfs *s)
{
        xdr_write_u64(b, s->bsize);
        xdr_write_u64(b, s->frsize);
        xdr_write_u64(b, s->blocks);
        xdr_write_u64(b, s->bfree);
        xdr_write_u64(b, s->bavail);
        xdr_write_u64(b, s->files);
        xdr_write_u64(b, s->ffree);
        xdr_write_u64(b, s->favail);
        xdr_write_u64(b, s->fsid);
        xdr_write_u64(b, s->flag);
        xdr_write_u64(b, s->namemax);
}

static void encode_dirents(struct buf *b, const struct dirent_list *list, bool plus)
{
        for (uint32_t i = 0; i < list->n && b->error == 0; i++) {
                const struct dirent_entry *e = &list->v[i];
                xdr_write_u32(b, 1);
                xdr_write_u64(b, e->ino);
                xdr_write_u64(b, e->off);
                xdr_write_u32(b, e->name.len);
                xdr_write_u32(b, e->type);
                encode_str(b, e->name);
                if (!plus)
                        continue;
                xdr_write_iatt(b, &e->stat);
                dict_encode(b, e->dict ? e->dict : &DICT_NULL);
        }
        xdr_write_u32(b, 0);
}

static void encode_locks(struct buf *b, const struct lock_list *list)
{
        for (uint32_t i = 0; i < list->n && b->error == 0; i++) {
                const struct lock_entry *e = &list->v[i];
                xdr_write_u32(b, 1);
                encode_flock(b, &e->flock);
                encode_str(b, e->client_uid);
                xdr_write_u32(b, e->flags);
        }
        xdr_write_u32(b, 0);
}

static void encode_programs(struct buf *b, const struct program_list *list)
{
        for (uint32_t i = 0; i < list->n && b->error == 0; i++) {
                const struct program_entry *e = &list->v[i];
                xdr_write_u32(b, 1);
                encode_str(b, e->name);
                xdr_write_u64(b, e->number);
                xdr_write_u64(b, e->version);
        }
        xdr_write_u32(b, 0);
}

static void encode_payload(struct buf *b, const struct slice *payload, uint32_t announced)
{
        if (!payload->data)
                return;
        if (payload->len != announced && b->error == 0)
                b->error = -EINVAL;
        xdr_write_fixed(b, payload->data, payload->len);
}

/* *PLEN carries the length field to the payload. */
static void encode_field(struct buf *b, const struct msg_field *f, const void *at, uint32_t *plen)
{
        switch (f->kind) {
        case MSG_gfid:
                xdr_write_gfid(b, at);
                break;
        case MSG_u32:
        case MSG_i32:
                xdr_write_u32(b, *(const uint32_t *)at);
                break;
        case MSG_u64:
        case MSG_i64:
                xdr_write_u64(b, *(const uint64_t *)at);
                break;
        case MSG_name:
        case MSG_text:
                encode_str(b, *(const struct str *)at);
                break;
        case MSG_opaque:
                xdr_write_opaque(b, ((const struct slice *)at)->data, ((const struct slice *)at)->len);
                break;
        case MSG_dict:
                dict_encode(b, at);
                break;
        case MSG_odict:
                encode_odict(b, at);
                break;
        case MSG_iatt:
                xdr_write_iatt(b, at);
                break;
        case MSG_oiatt:
                xdr_write_iatt_old(b, at);
                break;
        case MSG_flock:
                encode_flock(b, at);
                break;
        case MSG_lease:
                encode_lease(b, at);
                break;
        case MSG_statfs:
                encode_statfs(b, at);
                break;
        case MSG_dirents:
        case MSG_direntps:
                encode_dirents(b, at, f->kind == MSG_direntps);
                break;
        case MSG_locks:
                encode_locks(b, at);
                break;
        case MSG_programs:
                encode_programs(b, at);
                break;
        case MSG_plen:
                *plen = *(const uint32_t *)at;
                xdr_write_u32(b, *plen);
                break;
        case MSG_payload:
                encode_payload(b, at, *plen);
                break;
        case MSG_KIND_MAX:
                break;
        }
}

void msg_encode(const struct msg_desc *d, const void *msg, struct buf *b)
{
        uint32_t plen = 0;
        (void)buf_reserve(b, d->fixed);
        for (uint32_t i = 0; i < d->field_count && b->error == 0; i++)
                encode_field(b, &d->fields[i], (const uint8_t *)msg + d->fields[i].offset, &plen);
}
