/* MKDIR, MKNOD, SYMLINK, CREATE (spec: brick.md §5, §8.2, §8.3). */
#include "brick/creation.h"
#include "brick/io.h"
#include "brick/names.h"

/* ---- MKDIR, SYMLINK ------------------------------------------------------------------------------------------------ */

static int mkdir_make(struct creation *c)
{
        int r = creation_check_preop(c, -ENODATA);
        if (r < 0)
                return r;
        r = disk_mkdir(c->op->brick->disk, c->parent.at.dirfd, c->name, c->perm.mode & 01777);
        return r < 0 ? r : creation_dress(c);
}

int fop_mkdir(struct op *op, const struct mkdir_fop_req *req, struct mkdir_fop_rep *rep)
{
        const struct creation_request want = {&req->pargfid, req->bname.s, S_IFDIR, req->mode, req->umask};
        struct creation c;
        int r = creation_begin(op, &want, &c);
        if (r == 0)
                r = mkdir_make(&c);
        if (r == 0)
                r = creation_answer(&c, &rep->stat, &rep->preparent, &rep->postparent);
        creation_done(&c);
        return r;
}

int fop_symlink(struct op *op, const struct symlink_fop_req *req, struct symlink_fop_rep *rep)
{
        const struct creation_request want = {&req->pargfid, req->bname.s, S_IFLNK, 0777, req->umask};
        struct creation c;
        int r = creation_begin(op, &want, &c);
        if (r == 0)
                r = disk_symlink(op->brick->disk, req->linkname.s, c.parent.at.dirfd, c.name);
        if (r == 0)
                r = creation_dress(&c);
        if (r == 0)
                r = creation_answer(&c, &rep->stat, &rep->preparent, &rep->postparent);
        creation_done(&c);
        return r;
}

/* ---- MKNOD --------------------------------------------------------------------------------------------------------- */

/* Distribute makes a file whose gfid this brick knows already: the name is another link to it, and an open file without
 * names comes back to life (brick.md §5). -ENOENT: the brick does not know it. */
static int mknod_link_known(struct creation *c)
{
        struct op *op = c->op;
        struct object known;
        if (!op->xdata.internal_fop.present)
                return -ENOENT;
        int r = object_by_gfid_any(op, &c->gfid, &known);
        if (r < 0)
                return r == -ESTALE ? -ENOENT : r;
        r = S_ISDIR(known.st.st_mode) ? -EEXIST : entry_link(op, &c->parent, c->name, known.inode, &c->made);
        object_done(op->brick, &known);
        return r;
}

static int mknod_once(struct creation *c, dev_t dev)
{
        mode_t mode = c->type | (c->perm.mode & 07777);
        return disk_mknod(c->op->brick->disk, c->parent.at.dirfd, c->name, mode, dev);
}

static int mknod_make(struct creation *c, dev_t dev)
{
        int r = mknod_link_known(c);
        if (r != -ENOENT)
                return r;
        r = mknod_once(c, dev);
        if (r == -EEXIST) {
                r = entry_replace(c->op, &c->parent, c->name, NULL);
                if (r == 0)
                        r = mknod_once(c, dev);
        }
        return r < 0 ? r : creation_dress(c);
}

int fop_mknod(struct op *op, const struct mknod_fop_req *req, struct mknod_fop_rep *rep)
{
        mode_t type = req->mode & S_IFMT ? req->mode & S_IFMT : S_IFREG;
        const struct creation_request want = {&req->pargfid, req->bname.s, type, req->mode, req->umask};
        struct creation c;
        if (S_ISDIR(type) || S_ISLNK(type))
                return -EINVAL;
        int r = creation_begin(op, &want, &c);
        if (r == 0)
                r = mknod_make(&c, (dev_t)req->dev);
        if (r == 0)
                r = creation_answer(&c, &rep->stat, &rep->preparent, &rep->postparent);
        creation_done(&c);
        return r;
}

/* ---- CREATE -------------------------------------------------------------------------------------------------------- */

/* What of the client's flags reaches the disk; direct I/O would bind clients' buffers to the disk's alignment. */
#define CREATE_FLAGS_PASSED (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)

/* A descriptor with the number the client will use. */
static int give_fd(struct creation *c, int fd, int flags, uint64_t *ret)
{
        struct op *op = c->op;
        struct open_fd *of;
        int64_t number;
        int r = open_fd_new(op->brick, &c->made, fd, flags, &of);
        if (r < 0) {
                disk_close(op->brick->disk, fd);
                return r;
        }
        r = session_fd_add(op->session, of, &number);
        if (r < 0)
                open_fd_unref(op->brick, of);
        else
                *ret = (uint64_t)number;
        return r;
}

/* Attributes are set through the descriptor: there is no other file they could land on. */
static int create_dress(struct creation *c, int fd)
{
        struct place named = c->made.at;
        c->made.at = (struct place){.dirfd = fd};
        int r = creation_dress(c);
        named.ino = c->made.at.ino;
        c->made.at = named;
        return r;
}

static int create_new(struct creation *c, int fd, int flags, struct create_fop_rep *rep)
{
        int r = create_dress(c, fd);
        if (r < 0) {
                disk_close(c->op->brick->disk, fd);
                return r;
        }
        r = give_fd(c, fd, flags, &rep->fd);
        if (r < 0) {
                creation_undo(c);
                inode_forget(c->op->brick, c->made.inode);
        }
        return r;
}

static unsigned wanted_perm(int flags)
{
        unsigned want = (flags & O_ACCMODE) == O_WRONLY ? PERM_WRITE : PERM_READ;
        if ((flags & O_ACCMODE) == O_RDWR || (flags & (O_TRUNC | O_APPEND)))
                want |= PERM_WRITE;
        return want;
}

static int existing_checks(struct creation *c, int flags)
{
        mode_t mode = c->made.st.st_mode;
        if (S_ISDIR(mode))
                return -EISDIR;
        if (S_ISLNK(mode))
                return -ELOOP;
        int r = S_ISREG(mode) ? perm_check(c->op, &c->made, wanted_perm(flags)) : -EINVAL;
        return r < 0 ? r : bad_file_check(c->op, &c->made);
}

/* Not O_EXCL: what is there is opened, and keeps its owner and attributes. */
static int create_open_existing(struct creation *c, int flags, struct create_fop_rep *rep)
{
        struct op *op = c->op;
        int r = object_entry(op, &c->parent, c->name, &c->gfid, &c->made);
        if (r == 0)
                r = existing_checks(c, flags);
        if (r < 0)
                return r;
        int passed = (flags & (CREATE_FLAGS_PASSED | O_TRUNC)) | O_NOFOLLOW | O_NONBLOCK;
        int fd = disk_open(op->brick->disk, c->made.at.dirfd, c->made.at.path, passed, 0);
        if (fd < 0)
                return fd;
        if (flags & O_TRUNC) {
                r = io_drop_privileges(op, &(struct place){.dirfd = fd}, c->made.st.st_mode);
                (void)attr_touch(op, c->made.inode, &c->made.at, attr_object_times(op));
        }
        if (r == 0)
                r = object_restat(op, &c->made);
        if (r < 0) {
                disk_close(op->brick->disk, fd);
                return r;
        }
        return give_fd(c, fd, flags, &rep->fd);
}

/* The layout check concerns new names only, so it needs to know first; without it the disk decides. */
static int create_may_be_new(struct creation *c)
{
        struct stat st;
        if (!c->op->xdata.preop_parent_key.present)
                return 0;
        if (disk_stat(c->op->brick->disk, c->parent.at.dirfd, c->name, &st) == 0)
                return 0;
        return creation_check_preop(c, 0);
}

static int create_make(struct creation *c, int flags, struct create_fop_rep *rep)
{
        if ((flags & O_ACCMODE) == O_ACCMODE)
                return -EINVAL;
        int r = create_may_be_new(c);
        if (r < 0)
                return r;
        int fresh = (flags & CREATE_FLAGS_PASSED) | O_CREAT | O_EXCL | O_NOFOLLOW;
        int fd = disk_open(c->op->brick->disk, c->parent.at.dirfd, c->name, fresh, c->perm.mode & 07777);
        if (fd >= 0)
                return create_new(c, fd, flags, rep);
        return fd == -EEXIST && !(flags & O_EXCL) ? create_open_existing(c, flags, rep) : fd;
}

/* Keys of a request that stock brick does not send back: it has acted on them or answers them in another form. */
static bool is_consumed(const struct creation *c, const char *key)
{
        static const char *const keys[] = {"umask", "mode", "glusterfs.preop.parent.key", "glusterfs.inodelk-dom-count",
                                           "glusterfs.multi-dom-lk-cnt-req"};
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (streq(key, keys[i]))
                        return true;
        return c->preop_key && streq(key, c->preop_key);
}

/* A disperse client leaves out, and has healed, each brick whose answer has other keys than those of most bricks. A stock
 * brick answers CREATE with the request's keys, so in a set of both kinds ours has to as well. */
static int create_echo(struct creation *c, const struct dict *asked)
{
        struct op *op = c->op;
        for (uint32_t i = 0; i < asked->count; i++) {
                const struct dict_pair *p = &asked->pairs[i];
                if (is_consumed(c, p->key.s) || dict_has(&op->reply, p->key.s))
                        continue;
                int r = dict_add(&op->reply, op->arena, p->key, p->value);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Without an answer the client does not learn the number: it is taken back. */
static int create_answer(struct creation *c, const struct dict *asked, struct create_fop_rep *rep)
{
        struct op *op = c->op;
        int r = creation_answer(c, &rep->stat, &rep->preparent, &rep->postparent);
        if (r == 0)
                r = fill_fd_counts(op, c->made.inode, &op->reply);
        if (r == 0)
                r = create_echo(c, asked);
        if (r < 0)
                open_fd_unref(op->brick, session_fd_take(op->session, (int64_t)rep->fd));
        return r;
}

int fop_create(struct op *op, const struct create_fop_req *req, struct create_fop_rep *rep)
{
        const struct creation_request want = {&req->pargfid, req->bname.s, S_IFREG, req->mode, req->umask};
        int flags = req->flags ? (int)req->flags : O_CREAT | O_RDWR | O_EXCL;
        struct creation c;
        int r = creation_begin(op, &want, &c);
        if (r == 0)
                r = create_make(&c, flags, rep);
        if (r == 0)
                r = create_answer(&c, &req->xdata, rep);
        creation_done(&c);
        return r;
}
