/* Open files and their data.
 *
 * What is written is on its way to the volume when write(2) returns (write_behind.h), and there if the file is opened
 * for synchronous, direct or appending writes; what the kernel keeps in its page cache is a copy. A file that is opened
 * to append is read and written past the page cache: where the end is, only the bricks know, and a page filled at the
 * kernel's idea of it would show wrong contents. Who writes without the right to keep them takes setuid and setgid bits
 * away.
 */
#include "mount/bridge_state.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#define OPEN_FLAGS_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY)

static void answer(struct call *c, int r)
{
        if (r < 0)
                (void)fuse_reply_error(c->rq, r);
        else
                (void)fuse_reply_ok(c->rq);
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

uint32_t bridge_open_flags(const struct bridge *b, uint32_t flags)
{
        uint32_t open_flags = b->config.keep_cache ? FOPEN_KEEP_CACHE : 0;
        bool appends = (flags & O_APPEND) && b->config.direct_io != BRIDGE_DIRECT_NEVER;
        return open_flags | (appends || b->config.direct_io == BRIDGE_DIRECT_ALWAYS ? FOPEN_DIRECT_IO : 0);
}

int bridge_open(struct call *c, struct node *n, uint32_t flags, struct vfile **ret)
{
        struct request r = c->r;
        struct open_fop_req req = {.gfid = n->inode->gfid, .flags = flags};
        struct open_fop_rep rep = {0};
        _cleanup_vfile_ struct vfile *file = vfile_new(n->inode, flags, false);
        if (!file)
                return -ENOMEM;
        r.inode = n->inode;
        r.file = file;
        volume_stamp(c->b->volume, &r.cred, FOP_OPEN);
        int result = subvolume_open(c->self, call_top(c), &r, &req, &rep);
        if (result < 0)
                return call_node_error(result);
        *ret = TAKE_PTR(file);
        return 0;
}

/* Something to be said to the bricks at close(2): data was written, or locks of this owner go. */
static int flush(struct call *c, uint64_t owner)
{
        struct flush_fop_req req = {.gfid = c->node->inode->gfid};
        struct flush_fop_rep rep = {0};
        call_stamp(c, FOP_FLUSH);
        call_set_owner(c, owner);
        return subvolume_flush(c->self, call_top(c), &c->r, &req, &rep);
}

/* The program waits until the bricks have its data. That it has closed they are told afterwards, unless that gives
 * locks back (whoever gets those must not come too early) or everything is to be told at once. */
void bridge_op_flush(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        const struct fuse_flush_in *in = rq->in.flush;
        int r = call_begin_lazily(&c, self, rq, in->fh);
        if (r < 0) {
                answer(&c, r);
                return;
        }
        c.r.cancel = NULL; /* close(2) cannot be undone half-way */
        (void)write_behind_settle(&c, c.node);
        r = write_behind_error(&c);
        bool written = c.of->written;
        c.of->written = false;
        if (c.r.file && (c.node->locked || (written && c.b->behind.file_max == 0))) {
                int told = flush(&c, in->lock_owner);
                answer(&c, r < 0 ? r : told);
                return;
        }
        answer(&c, r); /* the file may be gone from the table from now on */
        if (written && c.r.file)
                (void)flush(&c, in->lock_owner);
}

static void unlock_flock(struct call *c, uint64_t owner)
{
        struct lk_fop_req req = {.gfid = c->node->inode->gfid, .cmd = 1, .type = 2, .flock = {.type = 2}};
        struct lk_fop_rep rep = {0};
        call_set_owner(c, owner);
        c->r.cancel = NULL;
        req.flock.owner = (struct slice){c->r.cred.owner, c->r.cred.owner_len};
        (void)subvolume_lk(c->self, call_top(c), &c->r, &req, &rep);
}

void bridge_op_release(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        const struct fuse_release_in *in = rq->in.release;
        int r = call_begin_lazily(&c, self, rq, in->fh);
        c.r.cancel = NULL;
        if (r == 0)
                (void)write_behind_settle(&c, c.node);
        if (r == 0 && c.r.file && (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK))
                unlock_flock(&c, in->lock_owner);
        if (r == 0)
                file_table_remove(c.b, in->fh);
        answer(&c, r);
}

void bridge_op_fsync(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = call_begin_file(&c, self, rq, rq->in.fsync->fh);
        if (r == 0)
                r = write_behind_settle(&c, c.node);
        if (r == 0)
                r = write_behind_error(&c);
        if (r == 0) {
                struct fsync_fop_req req = {.gfid = c.node->inode->gfid,
                                            .data = rq->in.fsync->fsync_flags & FUSE_FSYNC_FDATASYNC};
                struct fsync_fop_rep rep = {0};
                call_stamp(&c, FOP_FSYNC);
                r = subvolume_fsync(self, call_top(&c), &c.r, &req, &rep);
        }
        answer(&c, r);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static int read_from_volume(struct call *c, const struct fuse_read_in *in, struct slice *ret)
{
        struct read_fop_req req = {
                .gfid = c->node->inode->gfid, .offset = in->offset, .size = in->size, .flag = in->flags};
        struct read_fop_rep rep = {0};
        if (in->read_flags & FUSE_READ_LOCKOWNER)
                call_set_owner(c, in->lock_owner);
        call_stamp(c, FOP_READ);
        int r = subvolume_read(c->self, call_top(c), &c->r, &req, &rep);
        *ret = rep.data;
        return r;
}

void bridge_op_read(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        const struct fuse_read_in *in = rq->in.read;
        struct slice data = {0};
        int r = call_begin_lazily(&c, self, rq, in->fh);
        if (r == 0 && open_content(&c, in->offset, in->size, &data)) {
                (void)fuse_reply_data(rq, data.data, data.len);
                return;
        }
        if (r == 0 && !c.r.file) {
                call_end(&c);
                r = call_begin_file(&c, self, rq, in->fh);
        }
        if (r == -ESTALE && open_content(&c, in->offset, in->size, &data)) { /* what is left of it */
                (void)fuse_reply_data(rq, data.data, data.len);
                return;
        }
        if (r == 0)
                r = write_behind_settle_from(&c, c.node, in->offset);
        if (r == 0)
                r = read_from_volume(&c, in, &data);
        if (r < 0)
                (void)fuse_reply_error(rq, r);
        else
                (void)fuse_reply_data(rq, data.data, MIN(data.len, in->size));
}

/* The kernel put the data where it believes the end of the file to be. */
static bool landed_elsewhere(const struct call *c, const struct fuse_write_in *in, const struct write_fop_rep *rep)
{
        return (c->r.file->flags & O_APPEND) && stat_is_usable(&rep->prestat) && rep->prestat.size != in->offset;
}

void bridge_op_write(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        const struct fuse_write_in *in = rq->in.write;
        struct write_fop_rep rep = {0};
        int r = call_begin_file(&c, self, rq, in->fh);
        if (r == 0 && write_behind_take(&c))
                return;
        if (r == 0)
                r = write_behind_settle(&c, c.node);
        if (r == 0)
                r = write_behind_error(&c);
        if (r == 0) {
                struct write_fop_req req = {.gfid = c.node->inode->gfid,
                                            .offset = in->offset,
                                            .size = (uint32_t)rq->size,
                                            .flag = in->flags,
                                            .data = {rq->data, (uint32_t)rq->size}};
                if (in->write_flags & FUSE_WRITE_LOCKOWNER)
                        call_set_owner(&c, in->lock_owner);
                call_stamp(&c, FOP_WRITE);
                c.of->written = true;
                r = subvolume_write(self, call_top(&c), &c.r, &req, &rep);
                cache_changed(c.b, c.node);
                write_behind_went_through(&c, r);
        }
        if (r < 0) {
                (void)fuse_reply_error(rq, r);
                return;
        }
        if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
                bridge_drop_privileges(&c, c.node, stat_is_usable(&rep.poststat) ? rep.poststat.mode : c.node->mode);
        if (landed_elsewhere(&c, in, &rep))
                cache_drop_pages(c.b, c.node);
        (void)fuse_reply_written(rq, (size_t)r);
}

/* ---- space ------------------------------------------------------------------------------------------------------- */

static int allocate(struct call *c, uint64_t offset, uint64_t size, bool keep_size)
{
        struct fallocate_fop_req req = {
                .gfid = c->node->inode->gfid, .flags = keep_size, .offset = offset, .size = size};
        struct fallocate_fop_rep rep = {0};
        call_stamp(c, FOP_FALLOCATE);
        return subvolume_fallocate(c->self, call_top(c), &c->r, &req, &rep);
}

static int punch(struct call *c, uint64_t offset, uint64_t size)
{
        struct discard_fop_req req = {.gfid = c->node->inode->gfid, .offset = offset, .size = size};
        struct discard_fop_rep rep = {0};
        call_stamp(c, FOP_DISCARD);
        return subvolume_discard(c->self, call_top(c), &c->r, &req, &rep);
}

static int zero(struct call *c, uint64_t offset, uint64_t size)
{
        struct zerofill_fop_req req = {.gfid = c->node->inode->gfid, .offset = offset, .size = size};
        struct zerofill_fop_rep rep = {0};
        call_stamp(c, FOP_ZEROFILL);
        return subvolume_zerofill(c->self, call_top(c), &c->r, &req, &rep);
}

/* Zeros that must not make the file longer: up to its end as zeros, beyond as space. */
static int zero_keeping_size(struct call *c, uint64_t offset, uint64_t size)
{
        struct fstat_fop_req req = {.gfid = c->node->inode->gfid};
        struct fstat_fop_rep rep = {0};
        call_stamp(c, FOP_FSTAT);
        int r = subvolume_fstat(c->self, call_top(c), &c->r, &req, &rep);
        if (r < 0)
                return r;
        uint64_t end = offset + size, inside = MIN(end, rep.stat.size);
        if (offset < inside)
                r = zero(c, offset, inside - offset);
        uint64_t beyond = MAX(offset, rep.stat.size);
        if (r >= 0 && beyond < end)
                r = allocate(c, beyond, end - beyond, true);
        return r;
}

static int change_space(struct call *c, const struct fuse_fallocate_in *in)
{
        if (in->length == 0 || in->offset > INT64_MAX || in->length > INT64_MAX - in->offset)
                return -EINVAL;
        switch (in->mode) {
        case 0:
                return allocate(c, in->offset, in->length, false);
        case FALLOC_FL_KEEP_SIZE:
                return allocate(c, in->offset, in->length, true);
        case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
                return punch(c, in->offset, in->length);
        case FALLOC_FL_ZERO_RANGE:
                return zero(c, in->offset, in->length);
        case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
                return zero_keeping_size(c, in->offset, in->length);
        default:
                return -EOPNOTSUPP;
        }
}

void bridge_op_fallocate(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = call_begin_file(&c, self, rq, rq->in.fallocate->fh);
        if (r == 0)
                r = write_behind_settle(&c, c.node);
        if (r == 0) {
                c.of->written = true;
                r = change_space(&c, rq->in.fallocate);
                cache_changed(c.b, c.node);
        }
        answer(&c, r);
}

void bridge_op_lseek(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        const struct fuse_lseek_in *in = rq->in.lseek;
        struct seek_fop_rep rep = {0};
        int r = call_begin_file(&c, self, rq, in->fh);
        if (r == 0 && in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
                r = -EINVAL;
        if (r == 0)
                r = write_behind_settle(&c, c.node);
        if (r == 0) {
                struct seek_fop_req req = {
                        .gfid = c.node->inode->gfid, .offset = in->offset, .what = in->whence == SEEK_HOLE};
                call_stamp(&c, FOP_SEEK);
                r = subvolume_seek(self, call_top(&c), &c.r, &req, &rep);
        }
        if (r < 0)
                (void)fuse_reply_error(rq, r);
        else
                (void)fuse_reply_offset(rq, rep.offset);
}
