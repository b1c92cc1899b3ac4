/* Open files, their data and their locks (client.h).
 *
 * A write returns when the bricks have its data. Large ones go in pieces, one after the other. Locks belong to the open
 * file: each has an owner of its own, by which the bricks know them.
 */
#include <stdlib.h>

#include "library/client.h"

#define PIECE_MAX MIB
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_DIRECT)

/* LK's `cmd` and `type` (wire.md §3.7) */
enum { CMD_GET = 0, CMD_SET = 1, CMD_SET_WAIT = 2 };
enum { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_UNLOCK = 2 };

static bool may_write(const struct mortar_file *f)
{
        return (f->file->flags & O_ACCMODE) != O_RDONLY;
}

static bool may_read(const struct mortar_file *f)
{
        return (f->file->flags & O_ACCMODE) != O_WRONLY;
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

static ssize_t opened(struct job *j, struct vfile *file)
{
        struct mortar_file **ret = j->ret, *f = calloc(1, sizeof *f);
        if (!f) {
                vfile_unref(file);
                return -ENOMEM;
        }
        *f = (struct mortar_file){.volume = j->volume,
                                  .client = j->client,
                                  .file = file,
                                  .identity = *j->identity,
                                  .owner = ++j->client->owners};
        volume_hold(j->volume);
        *ret = f;
        return 0;
}

static ssize_t create_place(struct job *j, struct place *p)
{
        uint8_t random[16];
        struct dict xdata = {0};
        if (p->slash || !p->parent)
                return -EISDIR;
        loop_random(j->client->loop, random, sizeof random);
        const struct gfid gfid = gfid_from_random(random);
        _cleanup_vnode_ struct vnode *inode = vnode_new(j->client->volume, &gfid, S_IFREG);
        _cleanup_vfile_ struct vfile *file = inode ? vfile_new(inode, j->flags & OPEN_FLAGS, false) : NULL;
        if (!file || dict_add_gfid(&xdata, &j->arena, "gfid-req", &gfid) < 0)
                return -ENOMEM;
        struct create_fop_req req = {.pargfid = p->parent->gfid,
                                     .flags = (j->flags & OPEN_FLAGS) | O_CREAT | O_EXCL,
                                     .mode = S_IFREG | (j->mode & 07777u),
                                     .bname = str_of(p->name),
                                     .xdata = xdata};
        struct create_fop_rep rep = {0};
        j->r.inode = inode;
        j->r.parent = p->parent;
        j->r.file = file;
        int r = subvolume_create(j->self, job_top(j, FOP_CREATE), &j->r, &req, &rep);
        j->r.file = NULL;
        if (r == -EEXIST && !(j->flags & O_EXCL))
                return -ESTALE; /* somebody was faster: what is there is opened */
        if (r < 0)
                return r;
        vnode_unref(vnode_link(inode, &rep.stat));
        return opened(j, TAKE_PTR(file));
}

static int empty(struct job *j, struct vfile *file)
{
        struct ftruncate_fop_req req = {.gfid = file->inode->gfid};
        struct ftruncate_fop_rep rep = {0};
        j->r.file = file;
        int r = subvolume_ftruncate(j->self, job_top(j, FOP_FTRUNCATE), &j->r, &req, &rep);
        j->r.file = NULL;
        if (r >= 0 && j->identity->uid != 0)
                attr_drop_privileges(j, file->inode, &rep.poststat);
        return r < 0 ? r : 0;
}

static ssize_t open_place(struct job *j, struct place *p)
{
        if (!p->inode)
                return j->flags & O_CREAT ? create_place(j, p) : -ENOENT;
        if ((j->flags & O_CREAT) && (j->flags & O_EXCL))
                return -EEXIST;
        if (!S_ISREG(p->stat.mode))
                return S_ISDIR(p->stat.mode) ? -EISDIR : S_ISLNK(p->stat.mode) ? -ELOOP : -ENXIO;
        _cleanup_vfile_ struct vfile *file = vfile_new(p->inode, j->flags & OPEN_FLAGS, false);
        if (!file)
                return -ENOMEM;
        struct open_fop_req req = {.gfid = p->inode->gfid, .flags = j->flags & OPEN_FLAGS};
        struct open_fop_rep rep = {0};
        j->r.inode = p->inode;
        j->r.parent = NULL;
        j->r.file = file;
        int r = subvolume_open(j->self, job_top(j, FOP_OPEN), &j->r, &req, &rep);
        j->r.file = NULL;
        if (r >= 0 && (j->flags & O_TRUNC))
                r = empty(j, file);
        if (r < 0)
                return r == -ENOENT ? -ESTALE : r; /* it went while we looked */
        return opened(j, TAKE_PTR(file));
}

ssize_t op_open(struct job *j)
{
        bool stays = (j->flags & O_NOFOLLOW) || ((j->flags & O_CREAT) && (j->flags & O_EXCL));
        if ((j->flags & O_ACCMODE) == O_ACCMODE || ((j->flags & O_TRUNC) && (j->flags & O_ACCMODE) == O_RDONLY))
                return -EINVAL;
        ssize_t r = place_do(j, !stays, open_place);
        return r == -ESTALE ? -ENOENT : r;
}

ssize_t op_close(struct job *j)
{
        struct mortar_file *f = j->file;
        struct flush_fop_req req = {.gfid = f->file->inode->gfid};
        struct flush_fop_rep rep = {0};
        int r = 0;
        if (f->changed || f->locked)
                r = subvolume_flush(j->self, job_top(j, FOP_FLUSH), &j->r, &req, &rep);
        vfile_unref(f->file);
        volume_release(f->volume);
        free(f);
        return r < 0 ? r : 0;
}

/* ---- data ------------------------------------------------------------------------------------------------------- */

static int read_piece(struct job *j, uint64_t offset, uint8_t *to, size_t size)
{
        struct read_fop_req req = {.gfid = j->r.inode->gfid, .offset = offset, .size = (uint32_t)size};
        struct read_fop_rep rep = {0};
        arena_reset(&j->arena);
        int r = subvolume_read(j->self, job_top(j, FOP_READ), &j->r, &req, &rep);
        if (r < 0)
                return r;
        size_t n = MIN((size_t)rep.data.len, size);
        if (n > 0)
                memcpy(to, rep.data.data, n);
        return (int)n;
}

static ssize_t read_at(struct job *j, uint64_t offset)
{
        size_t done = 0;
        if (!may_read(j->file))
                return -EBADF;
        if (offset > INT64_MAX)
                return -EINVAL;
        while (done < j->size) {
                size_t wanted = MIN(j->size - done, (size_t)PIECE_MAX);
                int r = read_piece(j, offset + done, (uint8_t *)j->buf + done, wanted);
                if (r < 0)
                        return done > 0 ? (ssize_t)done : r;
                done += (size_t)r;
                if ((size_t)r < wanted)
                        break;
        }
        return (ssize_t)done;
}

/* *RET_END: the file's position behind the data. */
static int write_piece(struct job *j, uint64_t offset, const uint8_t *from, size_t size, uint64_t *ret_end)
{
        struct write_fop_req req = {.gfid = j->r.inode->gfid,
                                    .offset = offset,
                                    .size = (uint32_t)size,
                                    .flag = j->file->file->flags & (O_SYNC | O_DSYNC | O_DIRECT),
                                    .data = {from, (uint32_t)size}};
        struct write_fop_rep rep = {0};
        arena_reset(&j->arena);
        j->file->changed = true;
        int r = subvolume_write(j->self, job_top(j, FOP_WRITE), &j->r, &req, &rep);
        if (r < 0)
                return r;
        bool appended = (j->file->file->flags & O_APPEND) && stat_is_usable(&rep.prestat);
        *ret_end = (appended ? rep.prestat.size : offset) + (uint64_t)r;
        if (j->identity->uid != 0)
                attr_drop_privileges(j, j->r.inode, &rep.poststat);
        return r;
}

static ssize_t write_at(struct job *j, uint64_t offset, uint64_t *ret_end)
{
        size_t done = 0;
        if (!may_write(j->file))
                return -EBADF;
        if (offset > INT64_MAX || j->size > INT64_MAX - offset)
                return offset > INT64_MAX ? -EINVAL : -EFBIG;
        *ret_end = offset;
        while (done < j->size) {
                size_t wanted = MIN(j->size - done, (size_t)PIECE_MAX);
                int r = write_piece(j, offset + done, (const uint8_t *)j->data + done, wanted, ret_end);
                if (r <= 0)
                        return done > 0 ? (ssize_t)done : r;
                done += (size_t)r;
                if ((size_t)r < wanted)
                        break;
        }
        return (ssize_t)done;
}

ssize_t op_pread(struct job *j)
{
        return read_at(j, j->offset);
}

ssize_t op_pwrite(struct job *j)
{
        uint64_t end;
        return write_at(j, j->offset, &end);
}

ssize_t op_read(struct job *j)
{
        struct mortar_file *f = j->file;
        fibre_mutex_lock(j->self, &f->moving);
        ssize_t r = read_at(j, f->position);
        if (r > 0)
                f->position += (uint64_t)r;
        fibre_mutex_unlock(j->self, &f->moving);
        return r;
}

ssize_t op_write(struct job *j)
{
        struct mortar_file *f = j->file;
        uint64_t end;
        fibre_mutex_lock(j->self, &f->moving);
        ssize_t r = write_at(j, f->position, &end);
        if (r > 0)
                f->position = end;
        fibre_mutex_unlock(j->self, &f->moving);
        return r;
}

static int file_size(struct job *j, uint64_t *ret)
{
        struct fstat_fop_req req = {.gfid = j->r.inode->gfid};
        struct fstat_fop_rep rep = {0};
        int r = subvolume_fstat(j->self, job_top(j, FOP_FSTAT), &j->r, &req, &rep);
        *ret = rep.stat.size;
        return r < 0 ? r : 0;
}

static int find_data(struct job *j, uint64_t offset, bool hole, uint64_t *ret)
{
        struct seek_fop_req req = {.gfid = j->r.inode->gfid, .offset = offset, .what = hole};
        struct seek_fop_rep rep = {0};
        int r = subvolume_seek(j->self, job_top(j, FOP_SEEK), &j->r, &req, &rep);
        *ret = rep.offset;
        return r < 0 ? r : 0;
}

static int seek(struct job *j)
{
        struct mortar_file *f = j->file;
        int64_t offset = (int64_t)j->offset, *ret = j->ret;
        uint64_t base = 0;
        int r = 0;
        switch (j->flags) {
        case SEEK_SET:
                break;
        case SEEK_CUR:
                base = f->position;
                break;
        case SEEK_END:
                r = file_size(j, &base);
                break;
        case SEEK_DATA:
        case SEEK_HOLE:
                r = offset < 0 ? -ENXIO : find_data(j, (uint64_t)offset, j->flags == SEEK_HOLE, &base);
                offset = 0;
                break;
        default:
                r = -EINVAL;
        }
        if (r < 0)
                return r;
        if (offset < 0 ? base < -(uint64_t)offset : (uint64_t)offset > INT64_MAX - base)
                return offset < 0 ? -EINVAL : -EOVERFLOW;
        f->position = base + (uint64_t)offset;
        *ret = (int64_t)f->position;
        return 0;
}

ssize_t op_seek(struct job *j)
{
        fibre_mutex_lock(j->self, &j->file->moving);
        int r = seek(j);
        fibre_mutex_unlock(j->self, &j->file->moving);
        return r;
}

/* ---- the file as a whole ---------------------------------------------------------------------------------------- */

ssize_t op_fstat(struct job *j)
{
        struct fstat_fop_req req = {.gfid = j->r.inode->gfid};
        struct fstat_fop_rep rep = {0};
        int r = subvolume_fstat(j->self, job_top(j, FOP_FSTAT), &j->r, &req, &rep);
        if (r < 0)
                return r;
        stat_from(&rep.stat, j->ret);
        return 0;
}

ssize_t op_ftruncate(struct job *j)
{
        struct ftruncate_fop_req req = {.gfid = j->r.inode->gfid, .offset = j->offset};
        struct ftruncate_fop_rep rep = {0};
        if (!may_write(j->file) || j->offset > INT64_MAX)
                return -EINVAL;
        j->file->changed = true;
        int r = subvolume_ftruncate(j->self, job_top(j, FOP_FTRUNCATE), &j->r, &req, &rep);
        if (r >= 0 && j->identity->uid != 0)
                attr_drop_privileges(j, j->r.inode, &rep.poststat);
        return r < 0 ? r : 0;
}

ssize_t op_allocate(struct job *j)
{
        struct fallocate_fop_req req = {.gfid = j->r.inode->gfid, .offset = j->offset, .size = j->size};
        struct fallocate_fop_rep rep = {0};
        if (!may_write(j->file))
                return -EBADF;
        if (j->size == 0 || j->offset > INT64_MAX || j->size > INT64_MAX - j->offset)
                return -EINVAL;
        j->file->changed = true;
        int r = subvolume_fallocate(j->self, job_top(j, FOP_FALLOCATE), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_sync(struct job *j)
{
        struct fsync_fop_req req = {.gfid = j->r.inode->gfid, .data = j->flags};
        struct fsync_fop_rep rep = {0};
        int r = subvolume_fsync(j->self, job_top(j, FOP_FSYNC), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

/* ---- locks ------------------------------------------------------------------------------------------------------ */

static int lock_range(struct job *j, struct lk_fop_req *req)
{
        const struct flock *l = j->lock;
        if (l->l_whence != SEEK_SET || l->l_start < 0 || l->l_len < 0 || l->l_len > INT64_MAX - l->l_start)
                return -EINVAL;
        switch (l->l_type) {
        case F_RDLCK:
                req->type = TYPE_READ;
                break;
        case F_WRLCK:
                req->type = TYPE_WRITE;
                break;
        case F_UNLCK:
                req->type = TYPE_UNLOCK;
                break;
        default:
                return -EINVAL;
        }
        req->gfid = j->r.inode->gfid;
        req->flock = (struct flock_range){.type = req->type,
                                          .start = (uint64_t)l->l_start,
                                          .len = (uint64_t)l->l_len,
                                          .pid = (uint32_t)getpid(),
                                          .owner = {j->r.cred.owner, j->r.cred.owner_len}};
        return 0;
}

ssize_t op_lock(struct job *j)
{
        struct lk_fop_req req = {.cmd = j->flags ? CMD_SET_WAIT : CMD_SET};
        struct lk_fop_rep rep = {0};
        int r = lock_range(j, &req);
        if (r < 0)
                return r;
        if ((req.type == TYPE_READ && !may_read(j->file)) || (req.type == TYPE_WRITE && !may_write(j->file)))
                return -EBADF;
        j->file->locked = true;
        r = subvolume_lk(j->self, job_top(j, FOP_LK), &j->r, &req, &rep);
        return r < 0 ? (r == -EACCES ? -EAGAIN : r) : 0;
}

ssize_t op_getlock(struct job *j)
{
        struct lk_fop_req req = {.cmd = CMD_GET};
        struct lk_fop_rep rep = {0};
        int r = lock_range(j, &req);
        if (r == 0 && req.type == TYPE_UNLOCK)
                r = -EINVAL;
        if (r == 0)
                r = subvolume_lk(j->self, job_top(j, FOP_LK), &j->r, &req, &rep);
        if (r < 0)
                return r;
        if (rep.flock.type == TYPE_UNLOCK) {
                j->lock->l_type = F_UNLCK;
                return 0;
        }
        *j->lock = (struct flock){.l_type = rep.flock.type == TYPE_READ ? F_RDLCK : F_WRLCK,
                                  .l_whence = SEEK_SET,
                                  .l_start = (off_t)rep.flock.start,
                                  .l_len = (off_t)rep.flock.len,
                                  .l_pid = (pid_t)rep.flock.pid};
        return 0;
}
