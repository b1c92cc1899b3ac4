/* Operations on one object (distribute.md §10.1, §12). Those on directories go on in dht_dir.c.
 *
 * A file is on one sub-volume, and its operations go there, unless the file is being moved:
 *
 *      phase 1   it is being copied: its mode says so. What changes it is done at the destination, too, before it is answered;
 *                else the change would be lost. What reads it goes on where it was.
 *      phase 2   it was moved: what is left is a pointer, or nothing. The operation is repeated at the destination.
 *
 * Every answer that has attributes tells the phase; of operations that have none the error tells that the file is gone.
 */
#include "volume/dht.h"

#include <fcntl.h>
#include <sys/stat.h>

#define TARGET_TRUST NS_PER_SEC /* how long a destination is believed: a move may be given up and begun again elsewhere */
#define FOLLOW_MAX 4
#define NONE SIZE_MAX

/* ---- operations as a table ---------------------------------------------------------------------------------------------- */

struct file_op {
        enum fop fop;
        bool mirrored; /* changes the file */
        bool by_fd;
        size_t req_xdata, rep_xdata;
        size_t pre, post; /* where the answer has attributes */
        const char *key;  /* asks for what tells the phase, where there are no attributes */
};

#define AT(name, field) offsetof(struct name##_fop_rep, field)
#define FILE_OP(NAME, name, ...)                                                                                       \
        static const struct file_op op_##name = {.fop = FOP_##NAME,                                                    \
                                                 .req_xdata = offsetof(struct name##_fop_req, xdata),                  \
                                                 .rep_xdata = offsetof(struct name##_fop_rep, xdata),                  \
                                                 .pre = NONE,                                                          \
                                                 .post = NONE,                                                         \
                                                 __VA_ARGS__}
#define KEY_MODE "dht-get-mode-in-xattr"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
FILE_OP(STAT, stat, .post = AT(stat, stat));
FILE_OP(FSTAT, fstat, .post = AT(fstat, stat), .by_fd = true);
FILE_OP(ACCESS, access);
FILE_OP(READLINK, readlink, .post = AT(readlink, buf));
FILE_OP(OPEN, open);
FILE_OP(READ, read, .post = AT(read, stat), .by_fd = true);
FILE_OP(SEEK, seek, .by_fd = true);
FILE_OP(RCHECKSUM, rchecksum, .by_fd = true);
FILE_OP(GETXATTR, getxattr);
FILE_OP(FGETXATTR, fgetxattr, .by_fd = true);
FILE_OP(LK, lk, .by_fd = true);
FILE_OP(INODELK, inodelk);
FILE_OP(FINODELK, finodelk, .by_fd = true);
FILE_OP(ENTRYLK, entrylk);
FILE_OP(FENTRYLK, fentrylk, .by_fd = true);
FILE_OP(FLUSH, flush, .by_fd = true);
FILE_OP(SETATTR, setattr, .pre = AT(setattr, prestat), .post = AT(setattr, poststat));
FILE_OP(FSETATTR, fsetattr, .pre = AT(fsetattr, prestat), .post = AT(fsetattr, poststat), .by_fd = true);
#define CHANGES(name) .pre = AT(name, prestat), .post = AT(name, poststat), .mirrored = true
FILE_OP(WRITE, write, CHANGES(write), .by_fd = true);
FILE_OP(FSYNC, fsync, CHANGES(fsync), .by_fd = true);
FILE_OP(TRUNCATE, truncate, CHANGES(truncate));
FILE_OP(FTRUNCATE, ftruncate, CHANGES(ftruncate), .by_fd = true);
FILE_OP(FALLOCATE, fallocate, CHANGES(fallocate), .by_fd = true);
FILE_OP(DISCARD, discard, CHANGES(discard), .by_fd = true);
FILE_OP(ZEROFILL, zerofill, CHANGES(zerofill), .by_fd = true);
FILE_OP(SETXATTR, setxattr, .mirrored = true, .key = DHT_KEY_IATT);
FILE_OP(FSETXATTR, fsetxattr, .mirrored = true, .key = DHT_KEY_IATT, .by_fd = true);
FILE_OP(REMOVEXATTR, removexattr, .mirrored = true, .key = DHT_KEY_IATT);
FILE_OP(FREMOVEXATTR, fremovexattr, .mirrored = true, .key = DHT_KEY_IATT, .by_fd = true);
FILE_OP(XATTROP, xattrop, .mirrored = true, .key = KEY_MODE);
FILE_OP(FXATTROP, fxattrop, .mirrored = true, .key = KEY_MODE, .by_fd = true);
#pragma GCC diagnostic pop

static struct iatt *stat_at(void *rep, size_t offset)
{
        return offset == NONE ? NULL : (struct iatt *)(void *)((uint8_t *)rep + offset);
}

/* ---- the phase ------------------------------------------------------------------------------------------------------------ */

enum phase { AT_HOME, COPYING, MOVED };

static enum phase phase_of_stat(const struct iatt *stat)
{
        if (dht_is_linkto_mode(stat))
                return MOVED;
        return dht_is_phase1(stat) ? COPYING : AT_HOME;
}

static enum phase phase_of(const struct file_op *op, int result, const void *rep)
{
        const struct dict *xdata = (const struct dict *)(const void *)((const uint8_t *)rep + op->rep_xdata);
        const struct dict_value *value = op->key ? dict_get(xdata, op->key) : NULL;
        int64_t mode;
        if (result < 0)
                return dht_is_absent(result) ? MOVED : AT_HOME;
        if (op->post != NONE)
                return phase_of_stat((const struct iatt *)(const void *)((const uint8_t *)rep + op->post));
        if (value && value->type == DICT_IATT)
                return phase_of_stat(value->iatt);
        if (value && dict_get_int(xdata, op->key, &mode) == 0)
                return phase_of_stat(&(struct iatt){.mode = (uint32_t)mode});
        return AT_HOME;
}

static void strip(const struct file_op *op, void *rep)
{
        struct iatt *pre = stat_at(rep, op->pre), *post = stat_at(rep, op->post);
        if (pre)
                dht_strip_phase1(pre);
        if (post)
                dht_strip_phase1(post);
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------------- */

static int open_on(struct fibre *self, struct dht *d, struct request *r, struct vfile *f, int child)
{
        struct request own = dht_as_root(r, f->inode, NULL);
        struct open_fop_rep rep = {0};
        const struct open_fop_req req = {.gfid = f->inode->gfid,
                                         .flags = f->flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC),
                                         .xdata = DICT_NULL};
        own.file = f;
        int result = subvolume_open(self, dht_child(d, child), &own, &req, &rep);
        if (result >= 0)
                dht_file_set_open(d, f, child, true);
        return MIN(result, 0);
}

static struct vfile *first_not_open(const struct dht *d, struct vnode *i, int child)
{
        for (struct vfile *f = i->files; f; f = f->next_of_inode)
                if (!f->directory && !dht_file_is_open(d, f, child))
                        return vfile_ref(f);
        return NULL;
}

/* Whoever has the file open has it open on CHILD, too. */
static int open_all_on(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, int child)
{
        for (;;) {
                _cleanup_vfile_ struct vfile *f = first_not_open(d, i, child);
                int result = f ? open_on(self, d, r, f, child) : 0;
                if (!f || result < 0)
                        return result;
        }
}

/* ---- where it goes -------------------------------------------------------------------------------------------------------- */

/* What the copy at CHILD says about where it is moved to. */
static int read_target(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, int child)
{
        struct request own = dht_as_root(r, i, NULL);
        const struct getxattr_fop_req req = {.gfid = i->gfid,
                                             .namelen = 1,
                                             .name = STR(DHT_KEY_LINKTO),
                                             .xdata = DICT_NULL};
        struct getxattr_fop_rep rep = {0};
        struct str name;
        int result = subvolume_getxattr(self, dht_child(d, child), &own, &req, &rep);
        if (result < 0)
                return result;
        if (dict_get_str(&rep.dict, r->arena, DHT_KEY_LINKTO, &name) < 0)
                return -ENODATA;
        int target = dht_child_by_name(d, name);
        return target < 0 || target == child ? -ENODATA : target;
}

static int check_target(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, int target)
{
        struct request own = dht_as_root(r, i, NULL);
        const struct lookup_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
        struct lookup_fop_rep rep = {0};
        int result = dht_ask(self, d, target, &own, &req, &rep);
        if (result < 0)
                return dht_is_absent(result) ? -ENODATA : result;
        return gfid_equal(&rep.prestat.gfid, &i->gfid) ? 0 : -EIO;
}

static int follow_copy(struct fibre *self, struct dht *d, struct request *r, struct vnode *i)
{
        struct dht_inode *known = dht_known(d, i);
        uint64_t now = loop_now(fibre_loop(self));
        if (known->target >= 0 && now - known->target_at < TARGET_TRUST)
                return known->target;
        int target = read_target(self, d, r, i, known->cached);
        if (target < 0)
                return target;
        int result = check_target(self, d, r, i, target);
        if (result < 0)
                return result;
        known->target = target;
        known->target_at = now;
        return target;
}

static int follow_move(struct fibre *self, struct dht *d, struct request *r, struct vnode *i)
{
        const struct lookup_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
        struct request own = dht_as_root(r, i, NULL);
        struct dht_found *found = arena_alloc(r->arena, sizeof *found);
        int result = found ? dht_find(self, d, &own, &req, false, found) : -ENOMEM;
        if (result < 0)
                return dht_is_absent(result) ? -ENODATA : result;
        if (found->directory || !gfid_equal(&found->rep.prestat.gfid, &i->gfid))
                return -ENODATA;
        result = dht_remember_file(d, i, &i->gfid, found->cached);
        return result < 0 ? result : found->cached;
}

int dht_follow(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, bool phase2)
{
        int target = phase2 ? follow_move(self, d, r, i) : follow_copy(self, d, r, i);
        if (target < 0)
                return target;
        int result = open_all_on(self, d, r, i, target);
        return result < 0 ? result : target;
}

/* ---- one operation -------------------------------------------------------------------------------------------------------- */

struct call {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        const struct file_op *op;
        const void *req;
        void *rep;
};

static int call_once(struct call *c, struct request *r, int child, const void *req, void *rep)
{
        memset(rep, 0, fop_by_number(c->op->fop)->rep->size);
        return subvolume_call(c->self, dht_child(c->d, child), c->op->fop, r, req, rep);
}

/* At CHILD, with the descriptor open there. */
static int call_at(struct call *c, struct request *r, int child, const void *req, void *rep)
{
        struct vfile *f = c->op->by_fd ? r->file : NULL;
        if (f && !dht_file_is_open(c->d, f, child)) {
                int result = open_on(c->self, c->d, r, f, child);
                if (result < 0)
                        return result;
        }
        int result = call_once(c, r, child, req, rep);
        if (!f || !dht_is_bad_fd(result))
                return result;
        dht_file_set_open(c->d, f, child, false);
        int opened = open_on(c->self, c->d, r, f, child);
        return opened < 0 ? result : call_once(c, r, child, req, rep);
}

/* The request with the key that makes the answer tell the phase, or marks the destination. */
static const void *with_key(struct call *c, const char *key, bool as_uint)
{
        size_t size = fop_by_number(c->op->fop)->req->size;
        uint8_t *own = arena_alloc(c->r->arena, size);
        if (!own)
                return NULL;
        memcpy(own, c->req, size);
        struct dict *xdata = (struct dict *)(void *)(own + c->op->req_xdata);
        struct dht_xdata x = dht_xdata_from(c->r->arena, xdata, NULL);
        if (as_uint)
                dht_xdata_uint(&x, key, 1);
        else
                dht_xdata_int(&x, key, 1);
        *xdata = x.dict;
        return x.error < 0 ? NULL : own;
}

/* What happened to the file where it was, after the destination refused? */
static enum phase phase_now(struct call *c, int child)
{
        struct request own = dht_as_root(c->r, c->r->inode, NULL);
        const struct stat_fop_req req = {.gfid = c->r->inode->gfid, .xdata = DICT_NULL};
        struct stat_fop_rep rep = {0};
        int result = subvolume_stat(c->self, dht_child(c->d, child), &own, &req, &rep);
        return phase_of(&op_stat, result, &rep);
}

/* Repeats at the destination what was done at CHILD with RESULT. The answer stays that of CHILD. */
static int mirror(struct call *c, int child, int result)
{
        struct request own = dht_as_root(c->r, c->r->inode, NULL);
        void *rep = arena_alloc(c->r->arena, fop_by_number(c->op->fop)->rep->size);
        const void *req = c->op->fop == FOP_WRITE ? with_key(c, DHT_KEY_PROTECT, true) : c->req;
        own.cred.flags = c->r->cred.flags;
        own.file = c->r->file;
        if (!rep || !req)
                return -ENOMEM;
        int target = dht_follow(c->self, c->d, c->r, c->r->inode, false);
        if (target == -ENODATA)
                return result; /* its owner set these bits */
        int mirrored = target < 0 ? target : call_at(c, &own, target, req, rep);
        if (mirrored >= 0)
                return result;
        dht_known(c->d, c->r->inode)->target = -1;
        switch (phase_now(c, child)) {
        case AT_HOME:
                return result; /* the move was given up: what was done counts */
        case MOVED:
                target = dht_follow(c->self, c->d, c->r, c->r->inode, true);
                return target < 0 ? mirrored : call_at(c, &own, target, c->req, c->rep);
        default:
                return mirrored;
        }
}

/* Does the operation where the file is, and where it goes. */
static int run(struct call *c)
{
        struct dht_inode *known;
        enum phase phase = AT_HOME;
        int result = dht_resolve(c->self, c->d, c->r, c->r->inode, &known);
        const void *req = c->op->key ? with_key(c, c->op->key, false) : c->req;
        if (result < 0 || !req)
                return result < 0 ? result : -ENOMEM;
        int child = known->cached;
        for (unsigned i = 0; i < FOLLOW_MAX; i++) {
                result = call_at(c, c->r, child, req, c->rep);
                phase = phase_of(c->op, result, c->rep);
                if (phase != MOVED)
                        break;
                int target = dht_follow(c->self, c->d, c->r, c->r->inode, true);
                if (target < 0 || target == child)
                        return result;
                child = target;
        }
        known = dht_known(c->d, c->r->inode);
        known->moving = phase == COPYING;
        if (!known->moving)
                known->target = -1;
        if (phase == COPYING && c->op->mirrored)
                result = mirror(c, child, result);
        return result;
}

static int run_file(struct fibre *self, struct dht *d, struct request *r, const struct file_op *op, const void *req,
                    void *rep)
{
        struct call c = {.self = self, .d = d, .r = r, .op = op, .req = req, .rep = rep};
        int result = run(&c);
        if (result >= 0)
                strip(op, rep);
        return result;
}

/* 1: a directory, 0: something else. */
static int is_directory(struct fibre *self, struct dht *d, struct request *r)
{
        struct dht_inode *known;
        int result = dht_resolve(self, d, r, r->inode, &known);
        return result < 0 ? result : known->directory;
}

/* ---- operations on files only ----------------------------------------------------------------------------------------------- */

#define FILE_FOP(name, directory_error)                                                                                \
        int dht_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep)                                                                     \
        {                                                                                                              \
                int directory = is_directory(self, dht_of(v), r);                                                      \
                int result = directory < 0    ? directory                                                              \
                             : directory == 1 ? (directory_error)                                                      \
                                              : run_file(self, dht_of(v), r, &op_##name, req, rep);                    \
                return result < 0 ? fop_failed(rep, result) : result;                                                  \
        }
FILE_FOP(readlink, -EINVAL)
FILE_FOP(read, -EISDIR)
FILE_FOP(write, -EISDIR)
FILE_FOP(fsync, -EISDIR)
FILE_FOP(truncate, -EISDIR)
FILE_FOP(ftruncate, -EISDIR)
FILE_FOP(fallocate, -EISDIR)
FILE_FOP(discard, -EISDIR)
FILE_FOP(zerofill, -EISDIR)
FILE_FOP(seek, -EISDIR)
FILE_FOP(rchecksum, -EISDIR)

/* ---- on files and directories ------------------------------------------------------------------------------------------------ */

#define EITHER_FOP(name)                                                                                               \
        int dht_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep)                                                                     \
        {                                                                                                              \
                struct dht *d = dht_of(v);                                                                             \
                int directory = is_directory(self, d, r);                                                              \
                int result = directory < 0    ? directory                                                              \
                             : directory == 1 ? dht_dir_##name(self, d, r, req, rep)                                   \
                                              : run_file(self, d, r, &op_##name, req, rep);                            \
                return result < 0 ? fop_failed(rep, result) : result;                                                  \
        }
EITHER_FOP(stat)
EITHER_FOP(fstat)
EITHER_FOP(access)
EITHER_FOP(xattrop)
EITHER_FOP(fxattrop)

/* Locks of a directory are on its first sub-volume: all clients of this kind agree on that. */
#define LOCK_FOP(name)                                                                                                 \
        int dht_##name(struct fibre *self, struct subvolume *v, struct request *r, const struct name##_fop_req *req,   \
                       struct name##_fop_rep *rep)                                                                     \
        {                                                                                                              \
                struct dht *d = dht_of(v);                                                                             \
                int directory = is_directory(self, d, r);                                                              \
                int result = directory < 0    ? directory                                                              \
                             : directory == 1 ? subvolume_##name(self, dht_child(d, 0), r, req, rep)                   \
                                              : run_file(self, d, r, &op_##name, req, rep);                            \
                return result < 0 ? fop_failed(rep, result) : result;                                                  \
        }
LOCK_FOP(lk)
LOCK_FOP(inodelk)
LOCK_FOP(finodelk)
LOCK_FOP(entrylk)
LOCK_FOP(fentrylk)

/* ---- open, flush -------------------------------------------------------------------------------------------------------------- */

/* The truncation of an open that truncates; it has to reach the destination of a move, too. */
static int truncate_opened(struct fibre *self, struct dht *d, struct request *r, const struct open_fop_req *req)
{
        const struct ftruncate_fop_req own = {.gfid = req->gfid, .xdata = DICT_NULL};
        struct ftruncate_fop_rep rep = {0};
        return run_file(self, d, r, &op_ftruncate, &own, &rep);
}

int dht_open(struct fibre *self, struct subvolume *v, struct request *r, const struct open_fop_req *req,
             struct open_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct open_fop_req own = *req;
        int directory = is_directory(self, d, r);
        if (directory != 0)
                return fop_failed(rep, directory < 0 ? directory : -EISDIR);
        bool truncates = (req->flags & O_TRUNC) && (req->flags & O_ACCMODE) != O_RDONLY && r->file;
        if (truncates)
                own.flags &= ~(uint32_t)O_TRUNC;
        int result = run_file(self, d, r, &op_open, &own, rep);
        if (result < 0)
                return fop_failed(rep, result);
        if (r->file)
                dht_file_set_open(d, r->file, dht_known(d, r->inode)->cached, true);
        if (truncates)
                result = truncate_opened(self, d, r, req);
        return result < 0 ? fop_failed(rep, result) : 0;
}

/* Wherever the file is open. */
int dht_flush(struct fibre *self, struct subvolume *v, struct request *r, const struct flush_fop_req *req,
              struct flush_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        int result = is_directory(self, d, r);
        if (result == 0)
                result = run_file(self, d, r, &op_flush, req, rep);
        else if (result == 1)
                result = 0;
        for (unsigned i = 0; result >= 0 && r->file && i < d->n; i++) {
                struct flush_fop_rep other = {0};
                if ((int)i != dht_known(d, r->inode)->cached && dht_file_is_open(d, r->file, (int)i))
                        (void)subvolume_flush(self, dht_child(d, (int)i), r, req, &other);
        }
        return result < 0 ? fop_failed(rep, result) : result;
}

/* ---- attributes ----------------------------------------------------------------------------------------------------------------- */

/* A new mode must not hide that the file is being moved: the others that write to it go by these bits (§12). */
static void keep_marks(struct fibre *self, struct dht *d, struct request *r, int32_t valid, struct iatt *stat)
{
        const struct dht_inode *known = dht_known(d, r->inode);
        struct call c = {.self = self, .d = d, .r = r};
        if (!(valid & SETATTR_MODE) || !known->moving || phase_now(&c, known->cached) != COPYING)
                return;
        if (read_target(self, d, r, r->inode, known->cached) >= 0)
                stat->mode |= S_ISVTX | S_ISGID;
}

int dht_setattr(struct fibre *self, struct subvolume *v, struct request *r, const struct setattr_fop_req *req,
                struct setattr_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct setattr_fop_req own = *req;
        int result = is_directory(self, d, r);
        if (result == 1) {
                result = dht_dir_setattr(self, d, r, req, rep);
        } else if (result == 0) {
                keep_marks(self, d, r, req->valid, &own.stbuf);
                result = run_file(self, d, r, &op_setattr, &own, rep);
        }
        return result < 0 ? fop_failed(rep, result) : result;
}

int dht_fsetattr(struct fibre *self, struct subvolume *v, struct request *r, const struct fsetattr_fop_req *req,
                 struct fsetattr_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct fsetattr_fop_req own = *req;
        int result = is_directory(self, d, r);
        if (result == 1) {
                result = dht_dir_fsetattr(self, d, r, req, rep);
        } else if (result == 0) {
                keep_marks(self, d, r, req->valid, &own.stbuf);
                result = run_file(self, d, r, &op_fsetattr, &own, rep);
        }
        return result < 0 ? fop_failed(rep, result) : result;
}

/* ---- xattrs --------------------------------------------------------------------------------------------------------------------- */

#define GETXATTR_FOP(lower)                                                                                            \
        int dht_##lower(struct fibre *self, struct subvolume *v, struct request *r, const struct lower##_fop_req *req, \
                       struct lower##_fop_rep *rep)                                                                    \
        {                                                                                                              \
                struct dht *d = dht_of(v);                                                                             \
                int result = dht_xattr_get_allowed(r, req->name);                                                      \
                int directory = result < 0 ? result : is_directory(self, d, r);                                        \
                if (directory < 0)                                                                                     \
                        return fop_failed(rep, directory);                                                             \
                if (dht_xattr_virtual(self, d, r, req->name, &rep->dict, &result))                                     \
                        return result < 0 ? fop_failed(rep, result) : result;                                          \
                result = directory == 1 ? dht_dir_##lower(self, d, r, req, rep)                                        \
                                        : run_file(self, d, r, &op_##lower, req, rep);                                 \
                if (result < 0)                                                                                        \
                        return fop_failed(rep, result);                                                                \
                dht_xattr_hide(&rep->dict);                                                                            \
                return result;                                                                                         \
        }
GETXATTR_FOP(getxattr)
GETXATTR_FOP(fgetxattr)

#define SETXATTR_FOP(lower)                                                                                            \
        int dht_##lower(struct fibre *self, struct subvolume *v, struct request *r, const struct lower##_fop_req *req, \
                       struct lower##_fop_rep *rep)                                                                    \
        {                                                                                                              \
                struct dht *d = dht_of(v);                                                                             \
                int result = dht_xattr_set_allowed(r, &req->dict);                                                     \
                int directory = result < 0 ? result : is_directory(self, d, r);                                        \
                if (directory < 0)                                                                                     \
                        return fop_failed(rep, directory);                                                             \
                if (dht_xattr_command(self, d, r, &req->dict, &result))                                                \
                        return result < 0 ? fop_failed(rep, result) : result;                                          \
                result = directory == 1 ? dht_dir_##lower(self, d, r, req, rep)                                        \
                                        : run_file(self, d, r, &op_##lower, req, rep);                                 \
                return result < 0 ? fop_failed(rep, result) : result;                                                  \
        }
SETXATTR_FOP(setxattr)
SETXATTR_FOP(fsetxattr)

#define REMOVEXATTR_FOP(lower)                                                                                         \
        int dht_##lower(struct fibre *self, struct subvolume *v, struct request *r, const struct lower##_fop_req *req, \
                       struct lower##_fop_rep *rep)                                                                    \
        {                                                                                                              \
                struct dht *d = dht_of(v);                                                                             \
                int result = dht_xattr_remove_allowed(r, req->name);                                                   \
                int directory = result < 0 ? result : is_directory(self, d, r);                                        \
                if (directory < 0)                                                                                     \
                        return fop_failed(rep, directory);                                                             \
                result = directory == 1 ? dht_dir_##lower(self, d, r, req, rep)                                        \
                                        : run_file(self, d, r, &op_##lower, req, rep);                                 \
                return result < 0 ? fop_failed(rep, result) : result;                                                  \
        }
REMOVEXATTR_FOP(removexattr)
REMOVEXATTR_FOP(fremovexattr)
