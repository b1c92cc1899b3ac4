/* The log form of messages: one line, every field, long things as sizes.
 *
 * Bytes of others are escaped, so the line stays a line. Writing stops silently at the ceiling of the output. Not on
 * the path of requests.
 */
#include "proto/message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define BYTES_SHOWN 32 /* of a string or opaque; the rest is a size */
#define ENTRIES_SHOWN 16

static void put(struct buf *out, const char *format, ...) _printf_(2, 3);
static void put(struct buf *out, const char *format, ...)
{
        char text[256];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        /* One byte stays free for the NUL of buf_cstr(). */
        size_t room = out->max > out->len ? out->max - out->len - 1 : 0;
        room = MIN(room, sizeof text - 1);
        if (n > 0 && out->error == 0)
                (void)buf_append(out, text, MIN((size_t)n, room));
}

static void put_text(struct buf *out, const void *data, uint32_t len)
{
        const uint8_t *p = data;
        put(out, "'");
        for (uint32_t i = 0; i < MIN(len, (uint32_t)BYTES_SHOWN * 4); i++) {
                if (p[i] >= ' ' && p[i] < 0x7f && p[i] != '\'' && p[i] != '\\')
                        put(out, "%c", p[i]);
                else
                        put(out, "\\x%02x", p[i]);
        }
        put(out, len > BYTES_SHOWN * 4 ? "…' (%" PRIu32 " bytes)" : "'", len);
}

static void put_opaque(struct buf *out, struct slice s)
{
        if (s.len > BYTES_SHOWN) {
                put(out, "%" PRIu32 " bytes", s.len);
                return;
        }
        put(out, "h:");
        for (uint32_t i = 0; i < s.len; i++)
                put(out, "%02x", s.data[i]);
}

static void put_gfid(struct buf *out, const struct gfid *g)
{
        char text[GFID_TEXT_LEN + 1];
        put(out, "%s", gfid_format(g, text));
}

static void put_iatt(struct buf *out, const struct iatt *i)
{
        put(out, "{gfid=");
        put_gfid(out, &i->gfid);
        put(out, " mode=0%o size=%" PRIu64 " nlink=%" PRIu32 " uid=%" PRIu32 " gid=%" PRIu32, i->mode, i->size,
            i->nlink, i->uid, i->gid);
        put(out, " mtime=%" PRId64 ".%09" PRIu32 " ctime=%" PRId64 ".%09" PRIu32 "}", i->mtime.sec, i->mtime.nsec,
            i->ctime.sec, i->ctime.nsec);
}

static void put_value(struct buf *out, const struct dict_value *v)
{
        switch (v->type) {
        case DICT_INT:
                put(out, "%" PRId64, v->i);
                break;
        case DICT_UINT:
                put(out, "%" PRIu64, v->u);
                break;
        case DICT_DOUBLE:
                put(out, "%g", v->d);
                break;
        case DICT_STR:
        case DICT_STR_OLD:
                put_text(out, v->bytes.data, v->bytes.len);
                break;
        case DICT_PTR:
                put_opaque(out, v->bytes);
                break;
        case DICT_GFUUID:
                put_gfid(out, &v->gfid);
                break;
        case DICT_IATT:
                put_iatt(out, v->iatt);
                break;
        case DICT_MDATA:
                put(out, "mtime=%" PRId64 ".%09" PRIu32, v->mdata.mtime.sec, v->mdata.mtime.nsec);
                break;
        default:
                put(out, "?");
        }
}

static void put_dict(struct buf *out, const struct dict *d)
{
        if (d->null) {
                put(out, "NULL");
                return;
        }
        put(out, "{");
        for (uint32_t i = 0; i < MIN(d->count, (uint32_t)ENTRIES_SHOWN); i++) {
                put(out, "%s", i ? ", " : "");
                put_text(out, d->pairs[i].key.s, d->pairs[i].key.len);
                put(out, "=");
                put_value(out, &d->pairs[i].value);
        }
        put(out, d->count > ENTRIES_SHOWN ? ", … (%" PRIu32 " pairs)}" : "}", d->count);
}

static void put_flock(struct buf *out, const struct flock_range *f)
{
        put(out, "{type=%" PRIu32 " whence=%" PRIu32, f->type, f->whence);
        put(out, " start=%" PRIu64 " len=%" PRIu64 " pid=%" PRIu32 " owner=", f->start, f->len, f->pid);
        put_opaque(out, f->owner);
        put(out, "}");
}

static void put_lease(struct buf *out, const struct lease *l)
{
        put(out, "{cmd=%" PRIu32 " type=%" PRIu32 " id=", l->cmd, l->type);
        put_gfid(out, &l->id);
        put(out, " flags=%" PRIu32 "}", l->flags);
}

static void put_statfs(struct buf *out, const struct statfs *s)
{
        put(out, "{bsize=%" PRIu64 " blocks=%" PRIu64 " bfree=%" PRIu64 " files=%" PRIu64 " ffree=%" PRIu64 "}",
            s->bsize, s->blocks, s->bfree, s->files, s->ffree);
}

static void put_dirents(struct buf *out, const struct dirent_list *list)
{
        put(out, "[");
        for (uint32_t i = 0; i < MIN(list->n, (uint32_t)ENTRIES_SHOWN); i++) {
                put(out, "%s", i ? ", " : "");
                put_text(out, list->v[i].name.s, list->v[i].name.len);
        }
        put(out, list->n > ENTRIES_SHOWN ? ", … (%" PRIu32 " entries)]" : "]", list->n);
}

static void put_programs(struct buf *out, const struct program_list *list)
{
        put(out, "[");
        for (uint32_t i = 0; i < MIN(list->n, (uint32_t)ENTRIES_SHOWN); i++) {
                const struct program_entry *e = &list->v[i];
                put(out, "%s%" PRIu64 "/%" PRIu64, i ? ", " : "", e->number, e->version);
        }
        put(out, "]");
}

static void put_field(struct buf *out, const struct msg_field *f, const void *at)
{
        switch (f->kind) {
        case MSG_gfid:
                put_gfid(out, at);
                break;
        case MSG_u32:
        case MSG_plen:
                put(out, "%" PRIu32, *(const uint32_t *)at);
                break;
        case MSG_i32:
                put(out, "%" PRId32, *(const int32_t *)at);
                break;
        case MSG_u64:
                put(out, "%" PRIu64, *(const uint64_t *)at);
                break;
        case MSG_i64:
                put(out, "%" PRId64, *(const int64_t *)at);
                break;
        case MSG_name:
        case MSG_text:
                put_text(out, ((const struct str *)at)->s, ((const struct str *)at)->len);
                break;
        case MSG_opaque:
                put_opaque(out, *(const struct slice *)at);
                break;
        case MSG_dict:
        case MSG_odict:
                put_dict(out, at);
                break;
        case MSG_iatt:
        case MSG_oiatt:
                put_iatt(out, at);
                break;
        case MSG_flock:
                put_flock(out, at);
                break;
        case MSG_lease:
                put_lease(out, at);
                break;
        case MSG_statfs:
                put_statfs(out, at);
                break;
        case MSG_dirents:
        case MSG_direntps:
                put_dirents(out, at);
                break;
        case MSG_locks:
                put(out, "%" PRIu32 " locks", ((const struct lock_list *)at)->n);
                break;
        case MSG_programs:
                put_programs(out, at);
                break;
        case MSG_payload:
                put(out, "%" PRIu32 " bytes", ((const struct slice *)at)->len);
                break;
        case MSG_KIND_MAX:
                break;
        }
}

void msg_format(const struct msg_desc *d, const void *msg, struct buf *out)
{
        put(out, "%s{", d->name);
        for (uint32_t i = 0; i < d->field_count; i++) {
                put(out, "%s%s=", i ? ", " : "", d->fields[i].name);
                put_field(out, &d->fields[i], (const uint8_t *)msg + d->fields[i].offset);
        }
        put(out, "}");
}
