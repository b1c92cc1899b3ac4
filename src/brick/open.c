/* OPEN, OPENDIR, RELEASE, RELEASEDIR, FLUSH, FSYNCDIR (spec: brick.md §8.4, §8.5, §15.1).
 *
 * O_DIRECT is accepted and not passed to the disk: clients may send unaligned buffers, offsets and lengths, and
 * everything of a brick goes through this one process, so the page cache is coherent. Devices, sockets and pipes are
 * never opened. Any thread.
 */
#include "brick/index.h"
#include "brick/io.h"
#include "brick/mandatory.h"
#include "brick/names.h"

#define FMODE_EXEC 040u /* wire.md §3.7 */

/* What of a client's flags reaches the disk. Existence has been settled, so O_CREAT and O_EXCL mean nothing any more.
 */
#define OPEN_FLAGS_PASSED ((unsigned)(O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC))

void object_of_io(const struct io_fd *io, const struct stat *st, struct object *ret)
{
        *ret = (struct object){.inode = io->inode, .at = io_place(io), .st = *st};
}

static bool opens_for_change(unsigned flags)
{
        return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | O_APPEND));
}

static int open_check_type(mode_t mode, unsigned flags)
{
        if ((flags & O_ACCMODE) == O_ACCMODE)
                return -EINVAL;
        if (S_ISLNK(mode))
                return -ELOOP;
        if (S_ISDIR(mode))
                return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) ? -EISDIR : 0;
        return S_ISREG(mode) ? 0 : -EINVAL;
}

static unsigned open_wanted_perm(unsigned flags)
{
        unsigned read = flags & FMODE_EXEC ? PERM_EXEC : PERM_READ;
        unsigned want = (flags & O_ACCMODE) == O_WRONLY ? PERM_WRITE : read;
        if ((flags & O_ACCMODE) == O_RDWR || (flags & (O_TRUNC | O_APPEND)))
                want |= PERM_WRITE;
        return want;
}

static int open_check(struct op *op, struct object *o, unsigned flags)
{
        int r = open_check_type(o->st.st_mode, flags);
        if (r == 0 && opens_for_change(flags))
                r = read_only_check(op);
        if (r == 0 && (flags & O_CREAT))
                r = space_check(op);
        if (r == 0)
                r = perm_check(op, o, open_wanted_perm(flags));
        if (r == 0)
                r = bad_file_check(op, o);
        return r;
}

/* The reference OF becomes that of a number; not if anything fails, so it is the last step. */
static int answer_fd(struct op *op, struct open_fd *of, int64_t *ret)
{
        int r = fill_lock_counts(op, of->inode, &op->reply);
        if (r == 0)
                r = session_fd_add(op->session, of, ret);
        if (r < 0)
                open_fd_unref(op->brick, of);
        return r;
}

static int open_object(struct op *op, struct object *o, unsigned flags, struct open_fop_rep *rep)
{
        int r = open_check(op, o, flags);
        if (r == 0 && (flags & O_TRUNC))
                r = mandatory_check_truncate(op, o, 0);
        if (r < 0)
                return r;
        struct open_fd *of;
        r = open_fd_open(op->brick, o, (int)(flags & OPEN_FLAGS_PASSED), (int)flags, &of);
        if (r < 0)
                return r;
        if (flags & O_TRUNC) {
                r = io_drop_privileges(op, &(struct place){.dirfd = of->fd}, o->st.st_mode);
                if (r < 0) {
                        open_fd_unref(op->brick, of);
                        return r;
                }
        }
        uint32_t times = attr_object_times(op) & (flags & O_TRUNC ? UINT32_MAX : TIMES_ATIME);
        if (times)
                (void)attr_touch(op, o->inode, &o->at, times); /* the file is open: its times are not worth failing */
        return answer_fd(op, of, &rep->fd);
}

int fop_open(struct op *op, const struct open_fop_req *req, struct open_fop_rep *rep)
{
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = open_object(op, &o, req->flags, rep);
        object_done(op->brick, &o);
        return r;
}

static int opendir_object(struct op *op, struct object *o, struct opendir_fop_rep *rep)
{
        if (!S_ISDIR(o->st.st_mode))
                return -ENOTDIR;
        int r = perm_check(op, o, PERM_READ);
        if (r < 0)
                return r;
        struct open_fd *of;
        r = open_fd_open(op->brick, o, O_RDONLY | O_DIRECTORY, O_RDONLY | O_DIRECTORY, &of);
        return r < 0 ? r : answer_fd(op, of, &rep->fd);
}

int fop_opendir(struct op *op, const struct opendir_fop_req *req, struct opendir_fop_rep *rep)
{
        struct index_dir dir;
        if (index_find(op, &req->gfid, &dir))
                return index_opendir(op, &dir, rep);
        struct object o;
        int r = object_by_gfid(op, &req->gfid, &o);
        if (r < 0)
                return r;
        r = opendir_object(op, &o, rep);
        object_done(op->brick, &o);
        return r;
}

/* Both procedures act on the one table and never fail. */
static int release_number(struct op *op, int64_t number)
{
        struct open_fd *of = session_fd_take(op->session, number);
        if (!of)
                return 0;
        lock_fd_released(op->session, of);
        open_fd_unref(op->brick, of);
        return 0;
}

int fop_release(struct op *op, const struct release_fop_req *req, struct release_fop_rep *rep)
{
        (void)rep;
        return release_number(op, req->fd);
}

int fop_releasedir(struct op *op, const struct releasedir_fop_req *req, struct releasedir_fop_rep *rep)
{
        (void)rep;
        return release_number(op, req->fd);
}

static int flush_inode(struct op *op, struct inode *inode, struct open_fd *of)
{
        struct slice owner = {op->cred->owner, op->cred->owner_len};
        if (of || owner.len > 0)
                lock_flush(op, inode, of, owner);
        return fill_lock_counts(op, inode, &op->reply);
}

int fop_flush(struct op *op, const struct flush_fop_req *req, struct flush_fop_rep *rep)
{
        (void)rep;
        struct brick *b = op->brick;
        if (req->fd == FD_ANONYMOUS) { /* nobody knows the inode: nobody holds a lock on it */
                struct inode *inode = inode_find(b, &req->gfid);
                int r = inode ? flush_inode(op, inode, NULL) : 0;
                if (inode)
                        inode_unref(b, inode);
                return r;
        }
        struct open_fd *of = session_fd_get(op->session, req->fd);
        if (!of)
                return -EBADF;
        int r = flush_inode(op, of->inode, of);
        open_fd_unref(b, of);
        return r;
}

/* Unlike stock, which answers without doing anything: names that were synced must survive a power cut. */
int fop_fsyncdir(struct op *op, const struct fsyncdir_fop_req *req, struct fsyncdir_fop_rep *rep)
{
        (void)rep;
        struct io_fd io;
        int r = io_fd_get(op, &req->gfid, req->fd, O_RDONLY | O_DIRECTORY, &io);
        if (r < 0)
                return r;
        r = read_only_check(op); /* as stock does */
        if (r == 0)
                r = disk_sync(op->brick->disk, io.fd, req->data != 0);
        if (r == 0)
                r = fill_lock_counts(op, io.inode, &op->reply);
        io_fd_done(op->brick, &io);
        return r;
}
