/* Directories: a batch of entries with attributes is fetched at a time and handed to the kernel in pieces of its size.
 *
 * The kernel asks for a page or a few, a brick counts 208 bytes and the name for each entry: asked one to one that
 * would be a round trip per handful of names. A batch belongs to an open directory; reading goes on in it while the
 * kernel asks for the offset that comes next, or one of its entries'. Beginning again at 0 always fetches afresh, as
 * rewinddir(3) promises.
 *
 * Attributes of a batch are given along only while they are fresh, only for objects that nobody changed since, and not
 * for "." and "..".
 */
#include "mount/bridge_state.h"

#include <sys/stat.h>

#define BATCH_SIZE (128 * KIB) /* asked of the volume */
#define BATCH_ARENA (8 * MIB)
#define BATCH_FRESH (NS_PER_SEC / 2)
#define OFFSET_NONE UINT64_MAX
#define TYPE_SHIFT 12 /* DT_* to S_IFMT */

struct dir_batch {
        struct arena arena; /* entries, of which names point into it */
        struct dirent_entry *v;
        uint32_t n, at;   /* the next one to hand out */
        uint64_t next;    /* the kernel's offset that comes next */
        uint64_t after;   /* the volume's, to fetch the next batch with */
        bool end;         /* nothing follows */
        uint64_t fetched; /* loop time */
        uint64_t began;   /* nodes.clock */
};

struct dir_batch *dir_batch_free(struct dir_batch *batch)
{
        if (batch)
                arena_done(&batch->arena);
        free(batch);
        return NULL;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

void bridge_op_opendir(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        uint64_t fh;
        struct vfile *file = NULL;
        int r = call_begin(&c, self, rq);
        if (r == 0 && !(file = vfile_new(c.node->inode, rq->in.opendir->flags, true)))
                r = -ENOMEM;
        if (r == 0) {
                struct opendir_fop_req req = {.gfid = c.node->inode->gfid};
                struct opendir_fop_rep rep = {0};
                call_stamp(&c, FOP_OPENDIR);
                c.r.file = file;
                r = call_node_error(subvolume_opendir(self, call_top(&c), &c.r, &req, &rep));
                c.r.file = NULL;
        }
        if (r < 0) {
                vfile_unref(file);
                (void)fuse_reply_error(rq, r);
                return;
        }
        r = file_table_add(c.b, file, c.node, &fh);
        if (r < 0)
                (void)fuse_reply_error(rq, r);
        else if (fuse_reply_opened(rq, fh, 0) < 0)
                file_table_remove(c.b, fh);
}

void bridge_op_releasedir(struct fibre *self, struct fuse_request *rq)
{
        struct bridge *b = rq->arg;
        file_table_remove(b, rq->in.releasedir->fh);
        (void)fuse_reply_ok(rq);
}

void bridge_op_fsyncdir(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        int r = call_begin_file(&c, self, rq, rq->in.fsyncdir->fh);
        if (r == 0) {
                struct fsyncdir_fop_req req = {.gfid = c.node->inode->gfid,
                                               .data = rq->in.fsyncdir->fsync_flags & FUSE_FSYNC_FDATASYNC};
                struct fsyncdir_fop_rep rep = {0};
                call_stamp(&c, FOP_FSYNCDIR);
                r = subvolume_fsyncdir(self, call_top(&c), &c.r, &req, &rep);
        }
        if (r < 0)
                (void)fuse_reply_error(rq, r);
        else
                (void)fuse_reply_ok(rq);
}

/* ---- fetching ---------------------------------------------------------------------------------------------------- */

static int fetch(struct call *c, uint64_t offset, struct dir_batch **ret)
{
        struct dir_batch *batch = calloc(1, sizeof *batch);
        if (!batch)
                return -ENOMEM;
        batch->arena = ARENA_INIT(BATCH_ARENA);
        batch->began = c->b->nodes.clock;
        batch->fetched = loop_now(c->b->config.loop);
        struct request r = c->r;
        struct readdirp_fop_req req = {.gfid = c->node->inode->gfid, .offset = offset, .size = BATCH_SIZE};
        struct readdirp_fop_rep rep = {0};
        r.arena = &batch->arena;
        volume_stamp(c->b->volume, &r.cred, FOP_READDIRP);
        int result = subvolume_readdirp(c->self, call_top(c), &r, &req, &rep);
        if (result < 0) {
                dir_batch_free(batch);
                return result;
        }
        batch->v = rep.reply.v;
        batch->n = rep.reply.n;
        batch->next = batch->after = offset;
        batch->end = rep.reply.n == 0 || rep.op_errno == ENOENT;
        if (batch->n > 0)
                batch->after = batch->v[batch->n - 1].off;
        *ret = batch;
        return 0;
}

/* The batch that has what comes after OFFSET, its `at` there. */
static int position(struct call *c, uint64_t offset)
{
        struct dir_batch *batch = c->of->batch;
        bool inside = batch && offset != 0 && batch->next == offset && batch->at < batch->n;
        for (uint32_t i = 0; batch && offset != 0 && !inside && i + 1 < batch->n; i++) {
                if (batch->v[i].off != offset)
                        continue;
                batch->at = i + 1;
                inside = true;
        }
        if (inside || (batch && offset != 0 && batch->end && batch->next == offset))
                return 0;
        struct dir_batch *fresh;
        int r = fetch(c, offset, &fresh);
        if (r < 0)
                return r;
        dir_batch_free(batch);
        c->of->batch = fresh;
        return 0;
}

/* ---- handing out ------------------------------------------------------------------------------------------------- */

static bool is_dots(const struct dirent_entry *e)
{
        return str_is(e->name, ".") || str_is(e->name, "..");
}

/* The node and attributes that go along with an entry; NULL: only its name. */
static struct node *describe(struct call *c, const struct dir_batch *batch, const struct dirent_entry *e,
                             struct fuse_entry *ret)
{
        struct bridge *b = c->b;
        if (is_dots(e) || !stat_is_usable(&e->stat) || e->name.len > NAME_LIMIT || gfid_is_root(&e->stat.gfid) ||
            loop_now(b->config.loop) - batch->fetched > BATCH_FRESH)
                return NULL;
        struct vnode *inode = vnode_find(b->volume, &e->stat.gfid);
        if (!inode)
                inode = vnode_new(b->volume, &e->stat.gfid, e->stat.mode & S_IFMT);
        struct node *n = inode ? bridge_node_of(b, inode, &e->stat) : NULL;
        vnode_unref(inode);
        if (!n)
                return NULL;
        if (!write_behind_is_idle(n) || n->changed > batch->began || n->invalidated > batch->began || c->node->changed > batch->began) {
                node_unref(&b->nodes, n);
                return NULL;
        }
        *ret = bridge_entry(b, c->node, n, &e->stat, batch->began);
        return n;
}

static uint32_t entry_type(const struct dirent_entry *e)
{
        return stat_is_usable(&e->stat) ? e->stat.mode & S_IFMT : e->type << TYPE_SHIFT;
}

static uint64_t entry_ino(const struct call *c, const struct dirent_entry *e)
{
        uint64_t ino = stat_is_usable(&e->stat) && e->stat.ino ? e->stat.ino : e->ino;
        if (ino == UINT64_MAX || ino == 0)
                ino = FUSE_ROOT_ID; /* ".." of the root */
        return bridge_ino(c->b, ino);
}

/* Entries of one answer that count as look-ups, to be taken back if the kernel does not take it. */
struct given {
        struct node **v;
        uint32_t n, max;
};

static int give(struct call *c, struct fuse_dir *dir, const struct dir_batch *batch, const struct dirent_entry *e,
                struct given *given)
{
        struct fuse_entry entry;
        struct node *n = dir->plus && given->n < given->max ? describe(c, batch, e, &entry) : NULL;
        int r = fuse_dir_add(dir, e->name.s, e->name.len, entry_ino(c, e), entry_type(e), e->off, n ? &entry : NULL);
        if (r == 0 && n) {
                entry_set(&c->b->nodes, c->node, e->name.s, n);
                node_looked_up(n);
                given->v[given->n++] = n; /* the look-up holds it */
        }
        node_unref(&c->b->nodes, n);
        return r == -EINVAL ? 0 : r; /* not a name: nothing the kernel could use */
}

#define GIVEN_MAX 4096

/* Fills DIR from the batch and those that follow. */
static int fill(struct call *c, struct fuse_dir *dir, uint64_t offset, struct given *given)
{
        int r = position(c, offset);
        while (r == 0) {
                struct dir_batch *batch = c->of->batch;
                if (batch->at < batch->n) {
                        const struct dirent_entry *e = &batch->v[batch->at];
                        r = give(c, dir, batch, e, given);
                        if (r == 0) {
                                batch->at++;
                                batch->next = e->off;
                        }
                } else if (batch->end || dir->len > 0) {
                        break; /* the kernel comes again for more */
                } else {
                        r = position(c, batch->after);
                }
        }
        return r == -ENOSPC || (r < 0 && dir->len > 0) ? 0 : r;
}

static void read_directory(struct fibre *self, struct fuse_request *rq, const struct fuse_read_in *in)
{
        _cleanup_call_ struct call c;
        struct fuse_dir dir;
        int r = call_begin_file(&c, self, rq, in->fh);
        if (r == 0 && !c.r.file->directory)
                r = -ENOTDIR;
        struct given given = {.max = GIVEN_MAX};
        if (r == 0)
                r = fuse_dir_begin(&dir, rq);
        if (r == 0 && !(given.v = arena_alloc_array(rq->arena, given.max, sizeof(struct node *))))
                r = -ENOMEM;
        if (r == 0) {
                fibre_mutex_lock(self, &c.of->reading);
                r = fill(&c, &dir, in->offset, &given);
                fibre_mutex_unlock(self, &c.of->reading);
        }
        if (r < 0)
                (void)fuse_reply_error(rq, r);
        else
                r = fuse_reply_dir(rq, &dir);
        for (uint32_t i = 0; r < 0 && i < given.n; i++)
                node_forget(&c.b->nodes, given.v[i], 1);
        cache_evict(c.b);
}

void bridge_op_readdir(struct fibre *self, struct fuse_request *rq)
{
        read_directory(self, rq, rq->in.readdir);
}

void bridge_op_readdirplus(struct fibre *self, struct fuse_request *rq)
{
        read_directory(self, rq, rq->in.readdirplus);
}
