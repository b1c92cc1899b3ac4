/* Both walks go over the descriptor only, so a new message or field is covered without a change here, and a new kind
 * makes the compiler ask for its case. */
#include "msg_walk.h"

#include "proto/fop.h"
#include "proto/handshake.h"

/* Tests have the memory they ask for. */
static void must(bool ok)
{
        if (!ok)
                abort();
}

/* ---- changing one leaf ------------------------------------------------------------------------------------------- */

struct walk {
        unsigned k, at;
        bool done;
        struct arena *a;
};

static bool here(struct walk *w)
{
        if (w->done || w->at++ != w->k)
                return false;
        w->done = true;
        return true;
}

static void change_u32(struct walk *w, uint32_t *v)
{
        if (here(w))
                *v ^= 1;
        if (here(w))
                *v ^= 0x80000000u;
}

static void change_u64(struct walk *w, uint64_t *v)
{
        if (here(w))
                *v ^= 1;
        if (here(w))
                *v ^= 1ull << 63;
}

static void change_gfid(struct walk *w, struct gfid *g)
{
        for (size_t i = 0; i < sizeof g->b; i++)
                if (here(w))
                        g->b[i] ^= 0x10;
}

/* A copy of N bytes with room for one more. */
static uint8_t *copy_of(struct walk *w, const void *data, uint32_t n)
{
        uint8_t *copy = arena_alloc(w->a, (size_t)n + 2);
        must(copy);
        if (n > 0)
                memcpy(copy, data, n);
        return copy;
}

static void change_bytes(struct walk *w, struct slice *s)
{
        for (uint32_t i = 0; i < s->len; i++) {
                if (!here(w))
                        continue;
                uint8_t *copy = copy_of(w, s->data, s->len);
                copy[i] ^= 2;
                s->data = copy;
        }
        if (here(w)) {
                s->data = copy_of(w, s->data, s->len);
                s->len++;
        }
        if (s->len > 0 && here(w))
                s->len--;
}

static void change_str(struct walk *w, struct str *s)
{
        for (uint32_t i = 0; i < s->len; i++) {
                if (!here(w))
                        continue;
                uint8_t *copy = copy_of(w, s->s, s->len);
                copy[i] = copy[i] == 'x' ? 'y' : 'x';
                s->s = (const char *)copy;
        }
        if (here(w)) {
                uint8_t *copy = copy_of(w, s->s, s->len);
                copy[s->len++] = 'z';
                s->s = (const char *)copy;
        }
}

static void change_time(struct walk *w, struct iatt_time *t)
{
        change_u64(w, (uint64_t *)&t->sec);
        change_u32(w, &t->nsec);
}

static void change_iatt_common(struct walk *w, struct iatt *i)
{
        change_gfid(w, &i->gfid);
        change_u64(w, &i->ino);
        change_u64(w, &i->dev);
        change_u64(w, &i->rdev);
        change_u64(w, &i->size);
        change_u64(w, &i->blocks);
        change_u32(w, &i->nlink);
        change_u32(w, &i->uid);
        change_u32(w, &i->gid);
        change_u32(w, &i->blksize);
        change_u32(w, &i->mode);
        change_u32(w, &i->atime.nsec);
        change_u32(w, &i->mtime.nsec);
        change_u32(w, &i->ctime.nsec);
}

static void change_iatt(struct walk *w, struct iatt *i)
{
        change_iatt_common(w, i);
        change_u64(w, &i->flags);
        change_u64(w, &i->attributes);
        change_u64(w, &i->attributes_mask);
        change_u64(w, (uint64_t *)&i->atime.sec);
        change_u64(w, (uint64_t *)&i->mtime.sec);
        change_u64(w, (uint64_t *)&i->ctime.sec);
        change_time(w, &i->btime);
}

/* The old form has 32-bit seconds and no flags, attributes or btime. */
static void change_iatt_old(struct walk *w, struct iatt *i)
{
        change_iatt_common(w, i);
        change_u32(w, (uint32_t *)&i->atime.sec);
        change_u32(w, (uint32_t *)&i->mtime.sec);
        change_u32(w, (uint32_t *)&i->ctime.sec);
}

static void change_value(struct walk *w, struct dict_value *v)
{
        switch (v->type) {
        case DICT_INT:
        case DICT_UINT:
        case DICT_DOUBLE:
                change_u64(w, &v->u);
                break;
        case DICT_GFUUID:
                change_gfid(w, &v->gfid);
                break;
        case DICT_IATT: {
                struct iatt *copy = (struct iatt *)(void *)copy_of(w, v->iatt, sizeof *v->iatt);
                change_iatt(w, copy);
                v->iatt = copy;
                break;
        }
        case DICT_MDATA:
                change_time(w, &v->mdata.atime);
                change_time(w, &v->mdata.mtime);
                change_time(w, &v->mdata.ctime);
                break;
        default:
                change_bytes(w, &v->bytes);
        }
}

static void change_type(struct walk *w, struct dict_value *v)
{
        bool number = v->type == DICT_INT || v->type == DICT_UINT;
        bool bytes = v->type == DICT_PTR || v->type == DICT_STR || v->type == DICT_STR_OLD;
        if (number && here(w))
                v->type = v->type == DICT_INT ? DICT_UINT : DICT_INT;
        if (bytes && here(w))
                v->type = v->type == DICT_PTR ? DICT_STR : DICT_PTR;
}

static void change_dict(struct walk *w, struct dict *d, bool typed)
{
        for (uint32_t i = 0; i < d->count; i++) {
                change_str(w, &d->pairs[i].key);
                change_value(w, &d->pairs[i].value);
                if (typed)
                        change_type(w, &d->pairs[i].value);
        }
        if (d->count == 0 && here(w))
                d->null = !d->null;
        if (d->count > 0 && here(w))
                d->count--;
        if (d->count > 1 && !str_is(d->pairs[0].key, d->pairs[1].key.s) && here(w)) {
                struct dict_pair first = d->pairs[0];
                d->pairs[0] = d->pairs[1];
                d->pairs[1] = first;
        }
        if (here(w))
                must(dict_add_uint(d, w->a, "one-more", 1) == 0);
}

static void change_flock(struct walk *w, struct flock_range *f)
{
        change_u32(w, &f->type);
        change_u32(w, &f->whence);
        change_u64(w, &f->start);
        change_u64(w, &f->len);
        change_u32(w, &f->pid);
        change_bytes(w, &f->owner);
}

static void change_lease(struct walk *w, struct lease *l)
{
        change_u32(w, &l->cmd);
        change_u32(w, &l->type);
        change_gfid(w, &l->id);
        change_u32(w, &l->flags);
}

static void change_statfs(struct walk *w, struct statfs *s)
{
        uint64_t *const fields[] = {&s->bsize, &s->frsize, &s->blocks, &s->bfree, &s->bavail, &s->files,
                                    &s->ffree, &s->favail, &s->fsid,   &s->flag,  &s->namemax};
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                change_u64(w, fields[i]);
}

static void change_dirents(struct walk *w, struct dirent_list *list, bool plus)
{
        for (uint32_t i = 0; i < list->n; i++) {
                struct dirent_entry *e = &list->v[i];
                change_u64(w, &e->ino);
                change_u64(w, &e->off);
                change_u32(w, &e->type);
                change_str(w, &e->name);
                if (!plus)
                        continue;
                change_iatt(w, &e->stat);
                struct dict *copy = arena_alloc(w->a, sizeof *copy);
                must(copy);
                *copy = e->dict ? *e->dict : DICT_NULL;
                change_dict(w, copy, true);
                e->dict = copy;
        }
        if (list->n > 0 && here(w))
                list->n--;
}

static void change_locks(struct walk *w, struct lock_list *list)
{
        for (uint32_t i = 0; i < list->n; i++) {
                change_flock(w, &list->v[i].flock);
                change_str(w, &list->v[i].client_uid);
                change_u32(w, &list->v[i].flags);
        }
        if (list->n > 0 && here(w))
                list->n--;
}

static void change_programs(struct walk *w, struct program_list *list)
{
        for (uint32_t i = 0; i < list->n; i++) {
                change_str(w, &list->v[i].name);
                change_u64(w, &list->v[i].number);
                change_u64(w, &list->v[i].version);
        }
        if (list->n > 0 && here(w))
                list->n--;
}

static void change_field(struct walk *w, enum msg_kind kind, void *at)
{
        switch (kind) {
        case MSG_gfid:
                change_gfid(w, at);
                break;
        case MSG_u32:
        case MSG_i32:
        case MSG_plen:
                change_u32(w, at);
                break;
        case MSG_u64:
        case MSG_i64:
                change_u64(w, at);
                break;
        case MSG_name:
        case MSG_text:
                change_str(w, at);
                break;
        case MSG_opaque:
        case MSG_payload:
                change_bytes(w, at);
                break;
        case MSG_dict:
        case MSG_odict:
                change_dict(w, at, kind == MSG_dict);
                break;
        case MSG_iatt:
                change_iatt(w, at);
                break;
        case MSG_oiatt:
                change_iatt_old(w, at);
                break;
        case MSG_flock:
                change_flock(w, at);
                break;
        case MSG_lease:
                change_lease(w, at);
                break;
        case MSG_statfs:
                change_statfs(w, at);
                break;
        case MSG_dirents:
        case MSG_direntps:
                change_dirents(w, at, kind == MSG_direntps);
                break;
        case MSG_locks:
                change_locks(w, at);
                break;
        case MSG_programs:
                change_programs(w, at);
                break;
        case MSG_KIND_MAX:
                break;
        }
}

const char *walk_change(const struct msg_desc *d, void *msg, unsigned k, struct arena *a)
{
        struct walk w = {.k = k, .a = a};
        for (uint32_t i = 0; i < d->field_count; i++) {
                change_field(&w, d->fields[i].kind, (uint8_t *)msg + d->fields[i].offset);
                if (w.done)
                        return d->fields[i].name;
        }
        return NULL;
}

/* ---- filling ----------------------------------------------------------------------------------------------------- */

struct fill {
        uint64_t *state;
        struct arena *a;
        uint32_t plen;
};

uint64_t walk_random(uint64_t *state, uint64_t bound)
{
        *state = *state * 6364136223846793005ull + 1442695040888963407ull;
        return (*state >> 33) % bound;
}

static uint64_t any(struct fill *f)
{
        return walk_random(f->state, 1ull << 31) << 33 ^ walk_random(f->state, 1ull << 31) << 11 ^
               walk_random(f->state, 1ull << 31);
}

static struct gfid any_gfid(struct fill *f)
{
        struct gfid g;
        for (size_t i = 0; i < sizeof g.b; i++)
                g.b[i] = (uint8_t)any(f);
        return g;
}

static struct slice any_bytes(struct fill *f)
{
        uint32_t len = (uint32_t)walk_random(f->state, 12);
        uint8_t *data = arena_alloc(f->a, len + 1);
        must(data);
        for (uint32_t i = 0; i < len; i++)
                data[i] = (uint8_t)any(f);
        return (struct slice){.data = data, .len = len};
}

static struct str any_str(struct fill *f, uint32_t min)
{
        uint32_t len = min + (uint32_t)walk_random(f->state, 9);
        char *s = arena_alloc(f->a, len + 1);
        must(s);
        for (uint32_t i = 0; i < len; i++)
                s[i] = (char)('a' + walk_random(f->state, 26));
        return (struct str){.s = s, .len = len};
}

static struct iatt_time any_time(struct fill *f)
{
        return (struct iatt_time){.sec = (int64_t)any(f), .nsec = (uint32_t)any(f)};
}

static struct iatt any_iatt(struct fill *f)
{
        return (struct iatt){
                .gfid = any_gfid(f),
                .flags = any(f),
                .ino = any(f),
                .dev = any(f),
                .rdev = any(f),
                .size = any(f),
                .blocks = any(f),
                .attributes = any(f),
                .attributes_mask = any(f),
                .atime = any_time(f),
                .mtime = any_time(f),
                .ctime = any_time(f),
                .btime = any_time(f),
                .nlink = (uint32_t)any(f),
                .uid = (uint32_t)any(f),
                .gid = (uint32_t)any(f),
                .blksize = (uint32_t)any(f),
                .mode = (uint32_t)any(f),
        };
}

static struct iatt any_iatt_old(struct fill *f)
{
        struct iatt i = any_iatt(f);
        i.flags = i.attributes = i.attributes_mask = 0;
        i.btime = (struct iatt_time){0};
        i.atime.sec = (uint32_t)i.atime.sec;
        i.mtime.sec = (uint32_t)i.mtime.sec;
        i.ctime.sec = (uint32_t)i.ctime.sec;
        return i;
}

static struct dict_value any_value(struct fill *f)
{
        struct dict_value v = {.type = (enum dict_type)(1 + walk_random(f->state, DICT_TYPE_MAX - 1))};
        struct iatt *iatt;
        switch (v.type) {
        case DICT_INT:
        case DICT_UINT:
                v.u = any(f);
                break;
        case DICT_DOUBLE:
                v.d = (double)walk_random(f->state, 1000) / 8;
                break;
        case DICT_GFUUID:
                v.gfid = any_gfid(f);
                break;
        case DICT_IATT:
                iatt = arena_alloc(f->a, sizeof *iatt);
                must(iatt);
                *iatt = any_iatt(f);
                v.iatt = iatt;
                break;
        case DICT_MDATA:
                v.mdata = (struct mdata){.atime = any_time(f), .mtime = any_time(f), .ctime = any_time(f)};
                break;
        default:
                v.bytes = any_bytes(f);
        }
        return v;
}

static struct dict any_dict(struct fill *f, bool typed)
{
        struct dict d = {.null = walk_random(f->state, 4) == 0};
        uint32_t n = d.null ? 0 : (uint32_t)walk_random(f->state, 4);
        for (uint32_t i = 0; i < n; i++) {
                struct dict_value v =
                        typed ? any_value(f) : (struct dict_value){.type = DICT_STR_OLD, .bytes = any_bytes(f)};
                must(dict_add(&d, f->a, any_str(f, 0), v) == 0);
        }
        return d;
}

static struct flock_range any_flock(struct fill *f)
{
        return (struct flock_range){.type = (uint32_t)any(f),
                                    .whence = (uint32_t)any(f),
                                    .start = any(f),
                                    .len = any(f),
                                    .pid = (uint32_t)any(f),
                                    .owner = any_bytes(f)};
}

static struct statfs any_statfs(struct fill *f)
{
        return (struct statfs){any(f), any(f), any(f), any(f), any(f), any(f), any(f), any(f), any(f), any(f), any(f)};
}

static struct dirent_list any_dirents(struct fill *f, bool plus)
{
        struct dirent_list list = {.n = (uint32_t)walk_random(f->state, 4)};
        list.v = arena_alloc_array(f->a, list.n + 1, sizeof *list.v);
        must(list.v);
        for (uint32_t i = 0; i < list.n; i++) {
                struct dirent_entry *e = &list.v[i];
                *e = (struct dirent_entry){
                        .ino = any(f), .off = any(f), .type = (uint32_t)any(f), .name = any_str(f, 1)};
                if (i == 0)
                        e->name = STR("..");
                if (!plus)
                        continue;
                e->stat = any_iatt(f);
                struct dict *d = arena_alloc(f->a, sizeof *d);
                must(d);
                *d = any_dict(f, true);
                e->dict = d->null ? NULL : d;
        }
        return list;
}

static struct lock_list any_locks(struct fill *f)
{
        struct lock_list list = {.n = (uint32_t)walk_random(f->state, 4)};
        list.v = arena_alloc_array(f->a, list.n + 1, sizeof *list.v);
        must(list.v);
        for (uint32_t i = 0; i < list.n; i++)
                list.v[i] = (struct lock_entry){
                        .flock = any_flock(f), .client_uid = any_str(f, 0), .flags = (uint32_t)any(f)};
        return list;
}

static struct program_list any_programs(struct fill *f)
{
        struct program_list list = {.n = (uint32_t)walk_random(f->state, 12)};
        list.v = arena_alloc_array(f->a, list.n + 1, sizeof *list.v);
        must(list.v);
        for (uint32_t i = 0; i < list.n; i++)
                list.v[i] = (struct program_entry){.name = any_str(f, 0), .number = any(f), .version = any(f)};
        return list;
}

static void fill_payload(struct fill *f, struct slice *at)
{
        uint8_t *data = arena_alloc(f->a, f->plen + 1);
        must(data);
        memset(data, 'p', f->plen);
        *at = (struct slice){.data = data, .len = f->plen};
}

static void fill_field(struct fill *f, enum msg_kind kind, void *at)
{
        switch (kind) {
        case MSG_gfid:
                *(struct gfid *)at = any_gfid(f);
                break;
        case MSG_u32:
        case MSG_i32:
                *(uint32_t *)at = (uint32_t)any(f);
                break;
        case MSG_u64:
        case MSG_i64:
                *(uint64_t *)at = any(f);
                break;
        case MSG_name:
        case MSG_text:
                *(struct str *)at = any_str(f, 0);
                break;
        case MSG_opaque:
                *(struct slice *)at = any_bytes(f);
                break;
        case MSG_dict:
        case MSG_odict:
                *(struct dict *)at = any_dict(f, kind == MSG_dict);
                break;
        case MSG_iatt:
                *(struct iatt *)at = any_iatt(f);
                break;
        case MSG_oiatt:
                *(struct iatt *)at = any_iatt_old(f);
                break;
        case MSG_flock:
                *(struct flock_range *)at = any_flock(f);
                break;
        case MSG_lease:
                *(struct lease *)at = (struct lease){(uint32_t)any(f), (uint32_t)any(f), any_gfid(f), (uint32_t)any(f)};
                break;
        case MSG_statfs:
                *(struct statfs *)at = any_statfs(f);
                break;
        case MSG_dirents:
        case MSG_direntps:
                *(struct dirent_list *)at = any_dirents(f, kind == MSG_direntps);
                break;
        case MSG_locks:
                *(struct lock_list *)at = any_locks(f);
                break;
        case MSG_programs:
                *(struct program_list *)at = any_programs(f);
                break;
        case MSG_plen:
                *(uint32_t *)at = f->plen = (uint32_t)walk_random(f->state, 70);
                break;
        case MSG_payload:
                fill_payload(f, at);
                break;
        case MSG_KIND_MAX:
                break;
        }
}

void walk_fill(const struct msg_desc *d, void *msg, uint64_t *state, struct arena *a)
{
        struct fill f = {.state = state, .a = a};
        for (uint32_t i = 0; i < d->field_count; i++)
                fill_field(&f, d->fields[i].kind, (uint8_t *)msg + d->fields[i].offset);
}

const struct msg_desc *walk_desc(unsigned n)
{
#define FOP_DESCS(number, NAME, name) &name##_fop_req_desc, &name##_fop_rep_desc,
#define HANDSHAKE_DESC(msg, FIELDS) &msg##_desc,
        static const struct msg_desc *const all[] = {FOPS(FOP_DESCS) HANDSHAKE_MESSAGES(HANDSHAKE_DESC)};
        return n < ELEMENTSOF(all) ? all[n] : NULL;
}
