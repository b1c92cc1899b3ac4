/* Files in memory as the top of a volume (fake_top.h). Objects are few: everything is searched for. Names of one
 * directory keep their order, an entry's offset is its position in all names ever made. */
#include "fake_top.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "volume/state.h"

#define OBJECTS_MAX 4096
#define NAMES_MAX 8192
#define XATTRS_MAX 8
#define LOCKS_MAX 32
#define HELD_MAX 64

struct xattr {
        char name[256];
        uint8_t value[256];
        uint32_t len;
};

struct object {
        struct iatt stat;
        char *data;
        char target[256];
        struct xattr xattrs[XATTRS_MAX];
        unsigned n_xattrs;
        bool used;
};

struct name {
        struct gfid parent, gfid;
        char name[NAME_LIMIT + 1];
        bool used;
};

struct posix_lock {
        struct gfid gfid;
        uint8_t owner[8];
        uint32_t type;
        uint64_t start, end;
        bool used;
};

struct fake_volume {
        struct volume vol;
        struct subvolume top;
        struct subvolume *by_slot[1];
        struct object objects[OBJECTS_MAX];
        struct name names[NAMES_MAX];
        struct posix_lock locks[LOCKS_MAX];
        unsigned counts[FOP_MAX];
        int fail[FOP_MAX];
        enum fop held_fop;
        struct fibre *held[HELD_MAX];
        unsigned n_held;
        struct rpc_cred last;
        uint64_t clock;
};

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static struct fake_volume *fake_of(struct subvolume *v)
{
        return CONTAINER_OF(v, struct fake_volume, top);
}

static struct object *object_find(struct fake_volume *f, const struct gfid *g)
{
        for (unsigned i = 0; i < OBJECTS_MAX; i++)
                if (f->objects[i].used && gfid_equal(&f->objects[i].stat.gfid, g))
                        return &f->objects[i];
        return NULL;
}

static struct name *name_find(struct fake_volume *f, const struct gfid *parent, const char *name)
{
        for (unsigned i = 0; i < NAMES_MAX; i++)
                if (f->names[i].used && gfid_equal(&f->names[i].parent, parent) && streq(f->names[i].name, name))
                        return &f->names[i];
        return NULL;
}

static void touch(struct fake_volume *f, struct object *o)
{
        f->clock++;
        o->stat.mtime = o->stat.ctime = (struct iatt_time){.sec = (int64_t)(1000 + f->clock)};
}

static struct object *object_new(struct fake_volume *f, const struct gfid *g, uint32_t mode)
{
        for (unsigned i = 0; i < OBJECTS_MAX; i++) {
                struct object *o = &f->objects[i];
                if (o->used)
                        continue;
                *o = (struct object){.used = true};
                o->stat = (struct iatt){
                        .gfid = *g, .flags = IATT_BRICK, .ino = gfid_ino(g), .mode = mode, .nlink = 1, .blksize = 4096};
                o->data = calloc(1, 1);
                touch(f, o);
                return o;
        }
        abort();
}

static struct name *name_new(struct fake_volume *f, const struct gfid *parent, const char *name, const struct gfid *g)
{
        for (unsigned i = 0; i < NAMES_MAX; i++) {
                struct name *n = &f->names[i];
                if (n->used || n->name[0]) /* offsets are not used twice */
                        continue;
                *n = (struct name){.parent = *parent, .gfid = *g, .used = true};
                (void)snprintf(n->name, sizeof n->name, "%s", name);
                return n;
        }
        abort();
}

static void object_unlink(struct fake_volume *f, struct name *n)
{
        struct object *o = object_find(f, &n->gfid);
        n->used = false;
        if (o->stat.nlink > 0)
                o->stat.nlink--;
        touch(f, o);
}

/* ---- what all operations do first -------------------------------------------------------------------------------- */

static int enter(struct fibre *self, struct subvolume *v, struct request *r, enum fop fop)
{
        struct fake_volume *f = fake_of(v);
        f->counts[fop]++;
        f->last = r->cred;
        if (f->fail[fop]) {
                int error = f->fail[fop];
                f->fail[fop] = 0;
                return error;
        }
        if (f->held_fop != fop)
                return 0;
        struct fibre_event forever = {0};
        struct fibre_event *e = r->cancel ? r->cancel : &forever;
        f->held[f->n_held++] = self;
        while (f->held_fop == fop && !e->done) {
                if (r->cancel)
                        (void)fibre_event_wait(self, r->cancel, NS_PER_MSEC);
                else
                        fibre_suspend(self);
        }
        f->n_held--;
        return e->done ? -EINTR : 0;
}

#define OPERATION(NAME, fop)                                                                                           \
        static int op_##fop(struct fibre *self, struct subvolume *v, struct request *r,                                \
                            const struct fop##_fop_req *req, struct fop##_fop_rep *rep)                                \
        {                                                                                                              \
                struct fake_volume *f = fake_of(v);                                                                    \
                int entered = enter(self, v, r, FOP_##NAME);                                                           \
                (void)f;                                                                                               \
                if (entered < 0)                                                                                       \
                        return fop_failed(rep, entered);                                                               \
                int result = do_##fop(f, r, req, rep);                                                                 \
                return result < 0 ? fop_failed(rep, result) : result;                                                  \
        }

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int do_lookup(struct fake_volume *f, struct request *r, const struct lookup_fop_req *req,
                     struct lookup_fop_rep *rep)
{
        struct gfid g = req->gfid;
        if (req->bname.len > 0) {
                if (!object_find(f, &req->pargfid))
                        return -ESTALE;
                struct name *n = name_find(f, &req->pargfid, req->bname.s);
                if (!n)
                        return -ENOENT;
                g = n->gfid;
        }
        struct object *o = object_find(f, &g);
        if (!o)
                return -ENOENT;
        rep->prestat = o->stat;
        return 0;
}
OPERATION(LOOKUP, lookup)

static int make(struct fake_volume *f, const struct gfid *parent, const char *name, const struct dict *xdata,
                uint32_t mode, struct iatt *ret)
{
        struct gfid g;
        struct object *directory = object_find(f, parent);
        if (!directory)
                return -ESTALE;
        if (name_find(f, parent, name))
                return -EEXIST;
        if (dict_get_gfid(xdata, "gfid-req", &g) < 0 || object_find(f, &g))
                return -EINVAL;
        struct object *o = object_new(f, &g, mode);
        o->stat.uid = f->last.uid;
        o->stat.gid = f->last.gid;
        (void)name_new(f, parent, name, &g);
        touch(f, directory);
        *ret = o->stat;
        return 0;
}

static int do_mkdir(struct fake_volume *f, struct request *r, const struct mkdir_fop_req *req,
                    struct mkdir_fop_rep *rep)
{
        return make(f, &req->pargfid, req->bname.s, &req->xdata, S_IFDIR | (req->mode & ~req->umask), &rep->stat);
}
OPERATION(MKDIR, mkdir)

static int do_mknod(struct fake_volume *f, struct request *r, const struct mknod_fop_req *req,
                    struct mknod_fop_rep *rep)
{
        int result = make(f, &req->pargfid, req->bname.s, &req->xdata, req->mode & ~req->umask, &rep->stat);
        if (result == 0) {
                rep->stat.rdev = ((req->dev >> 8 & 0xfff) << 32) | (req->dev & 0xff);
                object_find(f, &rep->stat.gfid)->stat.rdev = rep->stat.rdev;
        }
        return result;
}
OPERATION(MKNOD, mknod)

static int do_create(struct fake_volume *f, struct request *r, const struct create_fop_req *req,
                     struct create_fop_rep *rep)
{
        assert(r->file && (req->flags & O_EXCL));
        const struct object *directory = object_find(f, &req->pargfid);
        if (!directory)
                return -ESTALE;
        rep->preparent = directory->stat;
        int result = make(f, &req->pargfid, req->bname.s, &req->xdata, req->mode & ~req->umask, &rep->stat);
        rep->postparent = directory->stat;
        return result;
}
OPERATION(CREATE, create)

static int do_symlink(struct fake_volume *f, struct request *r, const struct symlink_fop_req *req,
                      struct symlink_fop_rep *rep)
{
        int result = make(f, &req->pargfid, req->bname.s, &req->xdata, S_IFLNK | 0777, &rep->stat);
        if (result == 0)
                (void)snprintf(object_find(f, &rep->stat.gfid)->target, 256, "%s", req->linkname.s);
        return result;
}
OPERATION(SYMLINK, symlink)

static int do_readlink(struct fake_volume *f, struct request *r, const struct readlink_fop_req *req,
                       struct readlink_fop_rep *rep)
{
        struct object *o = object_find(f, &req->gfid);
        if (!o)
                return -ESTALE;
        rep->path = str_of(o->target);
        return (int)rep->path.len;
}
OPERATION(READLINK, readlink)

static int do_unlink(struct fake_volume *f, struct request *r, const struct unlink_fop_req *req,
                     struct unlink_fop_rep *rep)
{
        struct name *n = name_find(f, &req->pargfid, req->bname.s);
        if (!n)
                return -ENOENT;
        if (!gfid_equal(&n->gfid, &r->inode->gfid))
                return -ESTALE; /* as distribute does, which asked the wrong brick */
        struct object *directory = object_find(f, &req->pargfid);
        rep->prestat = directory->stat;
        object_unlink(f, n);
        touch(f, directory);
        rep->poststat = directory->stat;
        return 0;
}
OPERATION(UNLINK, unlink)

static int do_rmdir(struct fake_volume *f, struct request *r, const struct rmdir_fop_req *req,
                    struct rmdir_fop_rep *rep)
{
        struct name *n = name_find(f, &req->pargfid, req->bname.s);
        if (!n)
                return -ENOENT;
        for (unsigned i = 0; i < NAMES_MAX; i++)
                if (f->names[i].used && gfid_equal(&f->names[i].parent, &n->gfid))
                        return -ENOTEMPTY;
        object_find(f, &n->gfid)->used = false;
        n->used = false;
        return 0;
}
OPERATION(RMDIR, rmdir)

static int do_rename(struct fake_volume *f, struct request *r, const struct rename_fop_req *req,
                     struct rename_fop_rep *rep)
{
        struct name *from = name_find(f, &req->oldgfid, req->oldbname.s),
                    *to = name_find(f, &req->newgfid, req->newbname.s);
        if (!from)
                return -ENOENT;
        if (!gfid_equal(&from->gfid, &r->inode->gfid) || (to != NULL) != (r->new_inode != NULL) ||
            (to && !gfid_equal(&to->gfid, &r->new_inode->gfid)))
                return -ESTALE;
        if (to)
                object_unlink(f, to);
        from->used = false;
        (void)name_new(f, &req->newgfid, req->newbname.s, &from->gfid);
        rep->stat = object_find(f, &from->gfid)->stat;
        return 0;
}
OPERATION(RENAME, rename)

static int do_link(struct fake_volume *f, struct request *r, const struct link_fop_req *req, struct link_fop_rep *rep)
{
        struct object *o = object_find(f, &req->oldgfid);
        if (!o)
                return -ESTALE;
        if (name_find(f, &req->newgfid, req->newbname.s))
                return -EEXIST;
        (void)name_new(f, &req->newgfid, req->newbname.s, &req->oldgfid);
        o->stat.nlink++;
        rep->stat = o->stat;
        return 0;
}
OPERATION(LINK, link)

/* ---- attributes -------------------------------------------------------------------------------------------------- */

static int get_stat(struct fake_volume *f, const struct gfid *g, bool by_file, struct iatt *ret)
{
        struct object *o = object_find(f, g);
        if (!o || (o->stat.nlink == 0 && !by_file))
                return o ? -ENOENT : -ESTALE;
        *ret = o->stat;
        return 0;
}

static int do_stat(struct fake_volume *f, struct request *r, const struct stat_fop_req *req, struct stat_fop_rep *rep)
{
        return get_stat(f, &req->gfid, false, &rep->stat);
}
OPERATION(STAT, stat)

static int do_fstat(struct fake_volume *f, struct request *r, const struct fstat_fop_req *req,
                    struct fstat_fop_rep *rep)
{
        assert(r->file);
        return get_stat(f, &req->gfid, true, &rep->stat);
}
OPERATION(FSTAT, fstat)

static int set_stat(struct fake_volume *f, const struct gfid *g, const struct iatt *wanted, int32_t valid,
                    struct iatt *ret)
{
        struct object *o = object_find(f, g);
        if (!o)
                return -ESTALE;
        touch(f, o);
        if (valid & SETATTR_MODE)
                o->stat.mode = (o->stat.mode & S_IFMT) | (wanted->mode & 07777);
        if (valid & SETATTR_UID)
                o->stat.uid = wanted->uid;
        if (valid & SETATTR_GID)
                o->stat.gid = wanted->gid;
        if (valid & SETATTR_ATIME)
                o->stat.atime = wanted->atime;
        if (valid & SETATTR_MTIME)
                o->stat.mtime = wanted->mtime;
        *ret = o->stat;
        return 0;
}

static int do_setattr(struct fake_volume *f, struct request *r, const struct setattr_fop_req *req,
                      struct setattr_fop_rep *rep)
{
        return set_stat(f, &req->gfid, &req->stbuf, req->valid, &rep->poststat);
}
OPERATION(SETATTR, setattr)

static int do_fsetattr(struct fake_volume *f, struct request *r, const struct fsetattr_fop_req *req,
                       struct fsetattr_fop_rep *rep)
{
        return set_stat(f, &req->gfid, &req->stbuf, req->valid, &rep->poststat);
}
OPERATION(FSETATTR, fsetattr)

static int resize(struct fake_volume *f, const struct gfid *g, uint64_t size, struct iatt *ret)
{
        struct object *o = object_find(f, g);
        if (!o)
                return -ESTALE;
        o->data = realloc(o->data, size + 1);
        if (size > o->stat.size)
                memset(o->data + o->stat.size, 0, size - o->stat.size);
        o->data[size] = '\0';
        o->stat.size = size;
        touch(f, o);
        *ret = o->stat;
        return 0;
}

static int do_truncate(struct fake_volume *f, struct request *r, const struct truncate_fop_req *req,
                       struct truncate_fop_rep *rep)
{
        return resize(f, &req->gfid, req->offset, &rep->poststat);
}
OPERATION(TRUNCATE, truncate)

static int do_ftruncate(struct fake_volume *f, struct request *r, const struct ftruncate_fop_req *req,
                        struct ftruncate_fop_rep *rep)
{
        assert(r->file);
        return resize(f, &req->gfid, req->offset, &rep->poststat);
}
OPERATION(FTRUNCATE, ftruncate)

static int do_statfs(struct fake_volume *f, struct request *r, const struct statfs_fop_req *req,
                     struct statfs_fop_rep *rep)
{
        rep->statfs = (struct statfs){.bsize = 4096,
                                      .frsize = 4096,
                                      .blocks = 1000,
                                      .bfree = 500,
                                      .bavail = 400,
                                      .files = 100,
                                      .ffree = 50,
                                      .namemax = 255};
        return 0;
}
OPERATION(STATFS, statfs)

static int do_access(struct fake_volume *f, struct request *r, const struct access_fop_req *req,
                     struct access_fop_rep *rep)
{
        return req->mask & 2 ? -EACCES : 0;
}
OPERATION(ACCESS, access)

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int do_open(struct fake_volume *f, struct request *r, const struct open_fop_req *req, struct open_fop_rep *rep)
{
        assert(r->file && !(req->flags & (O_CREAT | O_EXCL | O_TRUNC)));
        const struct object *o = object_find(f, &req->gfid);
        return o ? o->stat.nlink > 0 ? 0 : -ENOENT : -ESTALE;
}
OPERATION(OPEN, open)

static int do_read(struct fake_volume *f, struct request *r, const struct read_fop_req *req, struct read_fop_rep *rep)
{
        struct object *o = object_find(f, &req->gfid);
        if (!o || (o->stat.nlink == 0 && !r->file))
                return o ? -ENOENT : -ESTALE;
        uint64_t n = req->offset < o->stat.size ? MIN((uint64_t)req->size, o->stat.size - req->offset) : 0;
        char *copy = arena_strndup(r->arena, o->data + (n ? req->offset : 0), n);
        rep->data = (struct slice){(uint8_t *)copy, (uint32_t)n};
        rep->size = (uint32_t)n;
        rep->stat = o->stat;
        rep->stat = o->stat;
        return (int)n;
}
OPERATION(READ, read)

static int do_write(struct fake_volume *f, struct request *r, const struct write_fop_req *req,
                    struct write_fop_rep *rep)
{
        struct object *o = object_find(f, &req->gfid);
        struct iatt ignored;
        if (!o)
                return -ESTALE;
        rep->prestat = o->stat;
        uint64_t offset = r->file->flags & O_APPEND ? o->stat.size : req->offset;
        if (offset + req->size > o->stat.size)
                (void)resize(f, &req->gfid, offset + req->size, &ignored);
        memcpy(o->data + offset, req->data.data, req->size);
        touch(f, o);
        rep->poststat = o->stat;
        return (int)req->size;
}
OPERATION(WRITE, write)

#define NOTHING(NAME, fop)                                                                                             \
        static int do_##fop(struct fake_volume *f, struct request *r, const struct fop##_fop_req *req,                 \
                            struct fop##_fop_rep *rep)                                                                 \
        {                                                                                                              \
                return 0;                                                                                              \
        }                                                                                                              \
        OPERATION(NAME, fop)
NOTHING(FLUSH, flush)
NOTHING(FSYNC, fsync)
NOTHING(FSYNCDIR, fsyncdir)
NOTHING(OPENDIR, opendir)
NOTHING(FALLOCATE, fallocate)
NOTHING(DISCARD, discard)
NOTHING(ZEROFILL, zerofill)

static int do_seek(struct fake_volume *f, struct request *r, const struct seek_fop_req *req, struct seek_fop_rep *rep)
{
        struct object *o = object_find(f, &req->gfid);
        if (req->offset >= o->stat.size)
                return -ENXIO;
        rep->offset = req->what ? o->stat.size : req->offset;
        return 0;
}
OPERATION(SEEK, seek)

/* ---- directories ------------------------------------------------------------------------------------------------- */

static void add_entry(struct dirent_list *l, struct fake_volume *f, const char *name, const struct gfid *g,
                      uint64_t off)
{
        struct object *o = object_find(f, g);
        l->v[l->n++] = (struct dirent_entry){.ino = gfid_ino(g),
                                             .off = off,
                                             .type = o ? o->stat.mode >> 12 : 0,
                                             .name = str_of(name),
                                             .stat = o ? o->stat : (struct iatt){.mode = 0}};
}

static int do_readdirp(struct fake_volume *f, struct request *r, const struct readdirp_fop_req *req,
                       struct readdirp_fop_rep *rep)
{
        uint32_t max = req->size / 220;
        rep->reply.v = arena_alloc_array(r->arena, max + 2, sizeof(struct dirent_entry));
        if (req->offset < 1)
                add_entry(&rep->reply, f, ".", &req->gfid, 1);
        if (req->offset < 2)
                add_entry(&rep->reply, f, "..", &GFID_ROOT, 2);
        unsigned i = req->offset > 2 ? (unsigned)req->offset - 2 : 0;
        for (; i < NAMES_MAX && rep->reply.n < max; i++)
                if (f->names[i].used && gfid_equal(&f->names[i].parent, &req->gfid))
                        add_entry(&rep->reply, f, f->names[i].name, &f->names[i].gfid, i + 3);
        rep->op_errno = i == NAMES_MAX ? ENOENT : 0;
        return (int)rep->reply.n;
}
OPERATION(READDIRP, readdirp)

/* ---- xattrs ------------------------------------------------------------------------------------------------------ */

static struct xattr *xattr_find(struct object *o, const char *name)
{
        for (unsigned i = 0; o && i < o->n_xattrs; i++)
                if (streq(o->xattrs[i].name, name))
                        return &o->xattrs[i];
        return NULL;
}

static int get_xattrs(struct fake_volume *f, struct request *r, const struct gfid *g, struct str name, struct dict *ret)
{
        struct object *o = object_find(f, g);
        if (!o)
                return -ESTALE;
        for (unsigned i = 0; i < o->n_xattrs; i++)
                if (name.len == 0 || str_is(name, o->xattrs[i].name))
                        (void)dict_add_ptr(ret, r->arena, o->xattrs[i].name, o->xattrs[i].value, o->xattrs[i].len);
        return name.len > 0 && ret->count == 0 ? -ENODATA : 0;
}

static int do_getxattr(struct fake_volume *f, struct request *r, const struct getxattr_fop_req *req,
                       struct getxattr_fop_rep *rep)
{
        return get_xattrs(f, r, &req->gfid, req->name, &rep->dict);
}
OPERATION(GETXATTR, getxattr)

static int do_fgetxattr(struct fake_volume *f, struct request *r, const struct fgetxattr_fop_req *req,
                        struct fgetxattr_fop_rep *rep)
{
        return get_xattrs(f, r, &req->gfid, req->name, &rep->dict);
}
OPERATION(FGETXATTR, fgetxattr)

static int set_xattr(struct fake_volume *f, const struct gfid *g, const struct dict *d)
{
        struct object *o = object_find(f, g);
        if (!o)
                return -ESTALE;
        struct xattr *x = xattr_find(o, d->pairs[0].key.s);
        if (!x) {
                x = &o->xattrs[o->n_xattrs++];
                (void)snprintf(x->name, sizeof x->name, "%s", d->pairs[0].key.s);
        }
        x->len = d->pairs[0].value.bytes.len;
        memcpy(x->value, d->pairs[0].value.bytes.data, x->len);
        return 0;
}

static int do_setxattr(struct fake_volume *f, struct request *r, const struct setxattr_fop_req *req,
                       struct setxattr_fop_rep *rep)
{
        return set_xattr(f, &req->gfid, &req->dict);
}
OPERATION(SETXATTR, setxattr)

static int do_fsetxattr(struct fake_volume *f, struct request *r, const struct fsetxattr_fop_req *req,
                        struct fsetxattr_fop_rep *rep)
{
        return set_xattr(f, &req->gfid, &req->dict);
}
OPERATION(FSETXATTR, fsetxattr)

static int remove_xattr(struct fake_volume *f, const struct gfid *g, const char *name)
{
        struct object *o = object_find(f, g);
        struct xattr *x = xattr_find(o, name);
        if (!x)
                return -ENODATA;
        *x = o->xattrs[--o->n_xattrs];
        return 0;
}

static int do_removexattr(struct fake_volume *f, struct request *r, const struct removexattr_fop_req *req,
                          struct removexattr_fop_rep *rep)
{
        return remove_xattr(f, &req->gfid, req->name.s);
}
OPERATION(REMOVEXATTR, removexattr)

static int do_fremovexattr(struct fake_volume *f, struct request *r, const struct fremovexattr_fop_req *req,
                           struct fremovexattr_fop_rep *rep)
{
        return remove_xattr(f, &req->gfid, req->name.s);
}
OPERATION(FREMOVEXATTR, fremovexattr)

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static struct posix_lock *conflict(struct fake_volume *f, const struct lk_fop_req *req, const struct posix_lock *wanted)
{
        for (unsigned i = 0; i < LOCKS_MAX; i++) {
                struct posix_lock *l = &f->locks[i];
                if (l->used && gfid_equal(&l->gfid, &req->gfid) && memcmp(l->owner, wanted->owner, 8) != 0 &&
                    l->start <= wanted->end && wanted->start <= l->end && (l->type == 1 || wanted->type == 1))
                        return l;
        }
        return NULL;
}

static int do_lk(struct fake_volume *f, struct request *r, const struct lk_fop_req *req, struct lk_fop_rep *rep)
{
        struct posix_lock wanted = {
                .gfid = req->gfid, .type = req->flock.type, .start = req->flock.start, .used = true};
        assert(r->cred.owner_len == 8 && req->flock.owner.len == 8);
        memcpy(wanted.owner, r->cred.owner, 8);
        wanted.end = req->flock.len ? wanted.start + req->flock.len - 1 : UINT64_MAX;
        struct posix_lock *other = wanted.type == 2 ? NULL : conflict(f, req, &wanted);
        rep->flock = req->flock;
        if (req->cmd == 0) {
                rep->flock.type = other ? other->type : 2;
                if (other)
                        rep->flock.start = other->start;
                return 0;
        }
        if (other)
                return -EAGAIN;
        for (unsigned i = 0; i < LOCKS_MAX; i++)
                if (f->locks[i].used && memcmp(f->locks[i].owner, wanted.owner, 8) == 0 &&
                    gfid_equal(&f->locks[i].gfid, &req->gfid))
                        f->locks[i].used = false;
        for (unsigned i = 0; wanted.type != 2 && i < LOCKS_MAX; i++) {
                if (f->locks[i].used)
                        continue;
                f->locks[i] = wanted;
                break;
        }
        return 0;
}
OPERATION(LK, lk)

/* ---- the volume -------------------------------------------------------------------------------------------------- */

static const struct subvolume_ops ops = {
        .lookup = op_lookup,
        .stat = op_stat,
        .fstat = op_fstat,
        .access = op_access,
        .readlink = op_readlink,
        .mknod = op_mknod,
        .mkdir = op_mkdir,
        .symlink = op_symlink,
        .create = op_create,
        .link = op_link,
        .unlink = op_unlink,
        .rmdir = op_rmdir,
        .rename = op_rename,
        .open = op_open,
        .opendir = op_opendir,
        .read = op_read,
        .write = op_write,
        .flush = op_flush,
        .fsync = op_fsync,
        .fsyncdir = op_fsyncdir,
        .readdirp = op_readdirp,
        .statfs = op_statfs,
        .truncate = op_truncate,
        .ftruncate = op_ftruncate,
        .fallocate = op_fallocate,
        .discard = op_discard,
        .zerofill = op_zerofill,
        .seek = op_seek,
        .setattr = op_setattr,
        .fsetattr = op_fsetattr,
        .getxattr = op_getxattr,
        .fgetxattr = op_fgetxattr,
        .setxattr = op_setxattr,
        .fsetxattr = op_fsetxattr,
        .removexattr = op_removexattr,
        .fremovexattr = op_fremovexattr,
        .lk = op_lk,
};

struct fake_volume *fake_volume_new(struct loop *loop)
{
        struct fake_volume *f = calloc(1, sizeof *f);
        if (!f)
                abort();
        f->top = (struct subvolume){.ops = &ops, .name = "fake", .volume = &f->vol, .n_leaves = 1, .up = true};
        f->by_slot[0] = &f->top;
        f->vol.config = (struct volume_config){.loop = loop, .name = "fake", .vnodes_max = 128};
        f->vol.top = f->vol.entry = &f->top;
        f->vol.by_slot = f->by_slot;
        f->vol.n_slots = 1;
        f->vol.graph = 1;
        if (vnode_table_init(&f->vol.inodes, 128) < 0)
                abort();
        (void)object_new(f, &GFID_ROOT, S_IFDIR | 0755);
        return f;
}

void fake_volume_free(struct fake_volume *f)
{
        assert(vnode_table_done(&f->vol) == 0);
        for (unsigned i = 0; i < OBJECTS_MAX; i++)
                free(f->objects[i].data);
        free(f);
}

struct volume *fake_volume(struct fake_volume *f)
{
        return &f->vol;
}

unsigned fake_count(const struct fake_volume *f, enum fop fop)
{
        return f->counts[fop];
}

void fake_reset_counts(struct fake_volume *f)
{
        memset(f->counts, 0, sizeof f->counts);
}

void fake_fail_next(struct fake_volume *f, enum fop fop, int error)
{
        f->fail[fop] = error;
}

void fake_hold(struct fake_volume *f, enum fop fop)
{
        f->held_fop = fop;
}

void fake_release(struct fake_volume *f)
{
        f->held_fop = FOP_NULL;
        for (unsigned i = 0; i < f->n_held; i++)
                fibre_wake(f->held[i]);
}

unsigned fake_held(const struct fake_volume *f)
{
        return f->n_held;
}

const struct rpc_cred *fake_last_cred(const struct fake_volume *f)
{
        return &f->last;
}

struct gfid fake_make(struct fake_volume *f, const char *name, uint32_t mode, const char *contents)
{
        struct gfid g = {.b = {0xfa}};
        struct iatt ignored;
        f->clock++;
        memcpy(g.b + 8, &f->clock, sizeof f->clock);
        struct object *o = object_new(f, &g, mode);
        (void)name_new(f, &GFID_ROOT, name, &g);
        touch(f, object_find(f, &GFID_ROOT));
        if (contents) {
                (void)resize(f, &g, strlen(contents), &ignored);
                memcpy(o->data, contents, strlen(contents));
        }
        return g;
}

void fake_write(struct fake_volume *f, const char *name, const char *contents)
{
        struct iatt ignored;
        struct object *o = object_find(f, &name_find(f, &GFID_ROOT, name)->gfid);
        (void)resize(f, &o->stat.gfid, strlen(contents), &ignored);
        memcpy(o->data, contents, strlen(contents));
}

void fake_remove(struct fake_volume *f, const char *name)
{
        object_unlink(f, name_find(f, &GFID_ROOT, name));
}

void fake_chmod(struct fake_volume *f, const char *name, uint32_t mode)
{
        object_find(f, &name_find(f, &GFID_ROOT, name)->gfid)->stat.mode = mode;
}

bool fake_attributes(struct fake_volume *f, const struct gfid *gfid, struct iatt *ret)
{
        return get_stat(f, gfid, false, ret) == 0;
}

bool fake_stat(struct fake_volume *f, const char *name, struct iatt *ret)
{
        struct name *n = name_find(f, &GFID_ROOT, name);
        if (n)
                *ret = object_find(f, &n->gfid)->stat;
        return n != NULL;
}

const char *fake_contents(struct fake_volume *f, const char *name)
{
        struct name *n = name_find(f, &GFID_ROOT, name);
        return n ? object_find(f, &n->gfid)->data : NULL;
}
