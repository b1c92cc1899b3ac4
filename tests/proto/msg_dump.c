/* Writes every field of every kind: a field that a message has and this file leaves out would be missing in the text,
 * and the comparison with README.md is line by line. */
#include "msg_dump.h"

#include <inttypes.h>

static void dump_hex(struct buf *out, const void *data, size_t len)
{
        const uint8_t *p = data;
        if (len == 0) {
                buf_append_str(out, "empty");
                return;
        }
        buf_append_str(out, "0x");
        for (size_t i = 0; i < len; i++)
                buf_printf(out, "%02x", p[i]);
}

static void dump_quoted(struct buf *out, const void *data, size_t len)
{
        const char *p = data;
        buf_append_str(out, "`");
        for (size_t i = 0; i < len; i++) {
                if (p[i] == 0)
                        buf_append_str(out, "\\0");
                else if (p[i] == '\n')
                        buf_append_str(out, "\\n");
                else
                        buf_append(out, &p[i], 1);
        }
        buf_append_str(out, "`");
}

static void dump_str(struct buf *out, struct str s)
{
        if (s.len == 0)
                buf_append_str(out, "empty");
        else
                dump_quoted(out, s.s, s.len);
}

static void dump_text(struct buf *out, struct str s)
{
        if (s.len < 1000) {
                dump_str(out, s);
                return;
        }
        buf_printf(out, "volfile text, %" PRIu32 " bytes + NUL not counted; begins ", s.len);
        dump_quoted(out, s.s, 40);
}

static bool is_text(struct slice s)
{
        if (s.len == 0 || s.data[0] == 0)
                return false;
        for (uint32_t i = 0; i < s.len; i++)
                if ((s.data[i] < ' ' || s.data[i] > '~') && (s.data[i] != 0 || i + 1 < s.len))
                        return false;
        return true;
}

static void dump_gfid(struct buf *out, const struct gfid *g)
{
        char text[GFID_TEXT_LEN + 1];
        buf_append_str(out, gfid_format(g, text));
}

static void dump_number(struct buf *out, const char *name, uint64_t v)
{
        if (v)
                buf_printf(out, " %s=%" PRIu64, name, v);
}

static void dump_time(struct buf *out, const char *name, struct iatt_time t)
{
        if (t.sec)
                buf_printf(out, " %s=%" PRId64, name, t.sec);
        if (t.nsec)
                buf_printf(out, " %s_nsec=%" PRIu32, name, t.nsec);
}

static bool iatt_is_zero(const struct iatt *i)
{
        return gfid_is_null(&i->gfid) && !i->flags && !i->ino && !i->dev && !i->rdev && !i->size && !i->blocks &&
               !i->attributes && !i->attributes_mask && !i->atime.sec && !i->mtime.sec && !i->ctime.sec &&
               !i->btime.sec && !i->atime.nsec && !i->mtime.nsec && !i->ctime.nsec && !i->btime.nsec && !i->nlink &&
               !i->uid && !i->gid && !i->blksize && !i->mode;
}

static void dump_iatt(struct buf *out, const struct iatt *i)
{
        if (iatt_is_zero(i)) {
                buf_append_str(out, "iatt all zero");
                return;
        }
        buf_append_str(out, "iatt{gfid=");
        dump_gfid(out, &i->gfid);
        if (i->flags)
                buf_printf(out, " flags=0x%" PRIx64, i->flags);
        dump_number(out, "ino", i->ino);
        dump_number(out, "dev", i->dev);
        dump_number(out, "rdev", i->rdev);
        dump_number(out, "size", i->size);
        dump_number(out, "blocks", i->blocks);
        dump_number(out, "attributes", i->attributes);
        dump_number(out, "attributes_mask", i->attributes_mask);
        dump_time(out, "atime", i->atime);
        dump_time(out, "mtime", i->mtime);
        dump_time(out, "ctime", i->ctime);
        dump_time(out, "btime", i->btime);
        dump_number(out, "nlink", i->nlink);
        dump_number(out, "uid", i->uid);
        dump_number(out, "gid", i->gid);
        dump_number(out, "blksize", i->blksize);
        if (i->mode)
                buf_printf(out, " mode=0%o", i->mode);
        buf_append_str(out, "}");
}

static void dump_mdata(struct buf *out, const struct mdata *m)
{
        buf_printf(out, "{ia_atime=%" PRId64 ", ia_mtime=%" PRId64 ", ia_ctime=%" PRId64, m->atime.sec, m->mtime.sec,
                   m->ctime.sec);
        buf_printf(out, ", ia_atime_nsec=%" PRIu32 ", ia_mtime_nsec=%" PRIu32 ", ia_ctime_nsec=%" PRIu32 "}",
                   m->atime.nsec, m->mtime.nsec, m->ctime.nsec);
}

static void dump_bytes(struct buf *out, struct slice s)
{
        if (is_text(s))
                dump_quoted(out, s.data, s.len);
        else
                dump_hex(out, s.data, s.len);
}

static void dump_value(struct buf *out, const struct dict_value *v)
{
        switch (v->type) {
        case DICT_INT:
                buf_printf(out, "%" PRId64, v->i);
                break;
        case DICT_UINT:
                buf_printf(out, "%" PRIu64, v->u);
                break;
        case DICT_DOUBLE:
                buf_printf(out, "%a", v->d);
                break;
        case DICT_GFUUID:
                dump_hex(out, v->gfid.b, sizeof v->gfid.b);
                break;
        case DICT_IATT:
                dump_iatt(out, v->iatt);
                break;
        case DICT_MDATA:
                dump_mdata(out, &v->mdata);
                break;
        default:
                dump_bytes(out, v->bytes);
        }
}

static const char *const type_names[DICT_TYPE_MAX] = {"UNKNOWN", "STR_OLD", "INT",    "UINT", "DOUBLE",
                                                      "STR",     "PTR",     "GFUUID", "IATT", "MDATA"};

static void dump_pairs(struct buf *out, const struct dict *d, const char *between, const char *space)
{
        for (uint32_t i = 0; i < d->count; i++) {
                const struct dict_pair *p = &d->pairs[i];
                buf_printf(out, "%s%s%s(%s)%s=%s", i ? between : "", p->key.s, space, type_names[p->value.type], space,
                           space);
                dump_value(out, &p->value);
        }
}

static void dump_dict(struct buf *out, const struct dict *d)
{
        if (d->null)
                buf_append_str(out, "NULL (count -1)");
        else if (d->count == 0)
                buf_append_str(out, "{} (count 0)");
        else
                dump_pairs(out, d, "; ", " ");
}

static void dump_odict(struct buf *out, const struct dict *d)
{
        _cleanup_buf_ struct buf wire = BUF_INIT(MIB);
        if (d->null) {
                buf_append_str(out, "empty (length 0)");
                return;
        }
        dict_encode_old(&wire, d);
        buf_printf(out, "old dict (%zu bytes): ", wire.len);
        for (uint32_t i = 0; i < d->count; i++) {
                struct slice v = d->pairs[i].value.bytes;
                bool nul = v.len > 0 && v.data[v.len - 1] == 0;
                buf_printf(out, "%s%s=", i ? "; " : "", d->pairs[i].key.s);
                dump_quoted(out, v.data, v.len - nul);
        }
}

static void dump_flock(struct buf *out, const struct flock_range *f)
{
        buf_printf(out, "{type=%" PRIu32 ", whence=%" PRIu32 ", start=%" PRIu64 ", len=%" PRIu64 ", pid=%" PRIu32,
                   f->type, f->whence, f->start, f->len, f->pid);
        buf_append_str(out, ", lk_owner=");
        dump_hex(out, f->owner.data, f->owner.len);
        buf_append_str(out, "}");
}

static void dump_lease(struct buf *out, const struct lease *l)
{
        buf_printf(out, "{cmd=%" PRIu32 ", type=%" PRIu32 ", id=", l->cmd, l->type);
        dump_gfid(out, &l->id);
        buf_printf(out, ", flags=%" PRIu32 "}", l->flags);
}

static void dump_statfs(struct buf *out, const struct statfs *s)
{
        buf_printf(out,
                   "{bsize=%" PRIu64 ", frsize=%" PRIu64 ", blocks=%" PRIu64 ", bfree=%" PRIu64 ", bavail=%" PRIu64,
                   s->bsize, s->frsize, s->blocks, s->bfree, s->bavail);
        buf_printf(out, ", files=%" PRIu64 ", ffree=%" PRIu64 ", favail=%" PRIu64, s->files, s->ffree, s->favail);
        buf_printf(out, ", fsid=%" PRIu64 ", flag=%" PRIu64 ", namemax=%" PRIu64 "}", s->fsid, s->flag, s->namemax);
}

static void dump_dirent(struct buf *out, const struct dirent_entry *e, bool plus)
{
        buf_printf(out, "{d_ino=%" PRIu64 ", d_off=%" PRIu64 ", d_len=%" PRIu32 ", d_type=%" PRIu32 ", name=", e->ino,
                   e->off, e->name.len, e->type);
        dump_str(out, e->name);
        if (plus) {
                buf_append_str(out, ", stat=");
                dump_iatt(out, &e->stat);
                buf_append_str(out, e->dict ? ", dict={" : ", dict=NULL");
                if (e->dict) {
                        dump_pairs(out, e->dict, ", ", "");
                        buf_append_str(out, "}");
                }
        }
        buf_append_str(out, "}");
}

static void dump_dirents(struct buf *out, const struct dirent_list *list, bool plus)
{
        for (uint32_t i = 0; i < list->n; i++) {
                buf_append_str(out, i ? "; " : "");
                dump_dirent(out, &list->v[i], plus);
        }
        if (list->n == 0)
                buf_append_str(out, "empty");
}

static void dump_locks(struct buf *out, const struct lock_list *list)
{
        for (uint32_t i = 0; i < list->n; i++) {
                dump_flock(out, &list->v[i].flock);
                dump_str(out, list->v[i].client_uid);
                buf_printf(out, " %" PRIu32 "; ", list->v[i].flags);
        }
}

static void dump_programs(struct buf *out, const struct program_list *list)
{
        for (uint32_t i = 0; i < list->n; i++) {
                const struct program_entry *e = &list->v[i];
                buf_printf(out, "%s(b'%s', %" PRIu64 ", %" PRIu64 ")", i ? "; " : "", e->name.s, e->number, e->version);
        }
}

static void dump_payload(struct buf *out, const struct slice *s)
{
        buf_printf(out, "%" PRIu32 " bytes: ", s->len);
        dump_bytes(out, *s);
}

static void dump_field(struct buf *out, const struct msg_field *f, const void *at)
{
        switch (f->kind) {
        case MSG_gfid:
                dump_gfid(out, at);
                break;
        case MSG_u32:
        case MSG_plen:
                buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
                break;
        case MSG_i32:
                buf_printf(out, "%" PRId32, *(const int32_t *)at);
                break;
        case MSG_u64:
                buf_printf(out, "%" PRIu64, *(const uint64_t *)at);
                break;
        case MSG_i64:
                buf_printf(out, "%" PRId64, *(const int64_t *)at);
                break;
        case MSG_name:
                dump_str(out, *(const struct str *)at);
                break;
        case MSG_text:
                dump_text(out, *(const struct str *)at);
                break;
        case MSG_opaque:
                dump_hex(out, ((const struct slice *)at)->data, ((const struct slice *)at)->len);
                break;
        case MSG_dict:
                dump_dict(out, at);
                break;
        case MSG_odict:
                dump_odict(out, at);
                break;
        case MSG_iatt:
        case MSG_oiatt:
                dump_iatt(out, at);
                break;
        case MSG_flock:
                dump_flock(out, at);
                break;
        case MSG_lease:
                dump_lease(out, at);
                break;
        case MSG_statfs:
                dump_statfs(out, at);
                break;
        case MSG_dirents:
        case MSG_direntps:
                dump_dirents(out, at, f->kind == MSG_direntps);
                break;
        case MSG_locks:
                dump_locks(out, at);
                break;
        case MSG_programs:
                dump_programs(out, at);
                break;
        case MSG_payload:
                dump_payload(out, at);
                break;
        case MSG_KIND_MAX:
                break;
        }
}

/* README.md's name where it differs from the field's. */
static const char *field_title(const struct msg_field *f)
{
        if (f->kind == MSG_payload)
                return "payload after the XDR part";
        return f->kind == MSG_programs ? "prog" : f->name;
}

void dump_message(const struct msg_desc *d, const void *msg, struct buf *out)
{
        for (uint32_t i = 0; i < d->field_count; i++) {
                buf_printf(out, "%s: ", field_title(&d->fields[i]));
                dump_field(out, &d->fields[i], (const uint8_t *)msg + d->fields[i].offset);
                buf_append_str(out, "\n");
        }
}

static void dump_cred(struct buf *out, const struct rpc_cred *c)
{
        buf_printf(out, "; credential flavour %" PRIu32, c->flavour);
        if (c->flavour == RPC_AUTH_NULL)
                return;
        buf_printf(out, " {pid=%" PRId32 ", uid=%" PRIu32 ", gid=%" PRIu32, c->pid, c->uid, c->gid);
        if (c->flavour == RPC_AUTH_GLUSTERFS_V3)
                buf_printf(out, ", flags=%" PRIu32 ", ctime_nsec=%" PRIu32 ", ctime_sec=%" PRId64, c->flags,
                           c->time.nsec, c->time.sec);
        buf_append_str(out, ", groups=[");
        for (uint32_t i = 0; i < c->group_count; i++)
                buf_printf(out, "%s%" PRIu32, i ? ", " : "", c->groups[i]);
        buf_append_str(out, "], lk_owner=");
        dump_hex(out, c->owner, c->owner_len);
        buf_append_str(out, "}");
}

void dump_call(const struct rpc_call *call, struct buf *out)
{
        buf_printf(out, "RPC: CALL, xid %" PRIu32 ", program %" PRIu32 " version %" PRIu32 " procedure %" PRIu32,
                   call->xid, call->prog, call->vers, call->proc);
        dump_cred(out, &call->cred);
        buf_append_str(out, "; verifier AUTH_NULL\n");
}

void dump_reply(const struct rpc_reply *reply, const struct rpc_call *to, struct buf *out)
{
        buf_printf(out, "RPC: REPLY, xid %" PRIu32 ", %s", reply->xid,
                   reply->status == RPC_SUCCESS ? "accepted, SUCCESS" : "refused");
        buf_printf(out, " (to program %" PRIu32 " version %" PRIu32 " procedure %" PRIu32 ")\n", to->prog, to->vers,
                   to->proc);
}
