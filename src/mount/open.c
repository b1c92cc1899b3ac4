/* Opening files to read without asking bricks more than once.
 *
 * A file that somebody may read for certain (root, or its owner by the mode) and that nobody here is writing is opened
 * for the kernel only:
 *
 *      its pages are cached and bricks tell of changes   no message
 *      it is small                                       one READ of all of it, at one brick; the kernel's reads are then
 *                                                        answered from that
 *      its pages are cached                              one STAT, which decides whether they stay
 *
 * What a READ or STAT says about size and times decides what the kernel may keep, so that an open sees what another
 * client wrote before it closed the file. Bricks open it as soon as an operation needs that: another read, a lock, or a
 * removal of its name by this client, since an open file is there for those who have it open.
 *
 * Invariants: node.lazy counts the open files without a vfile. Contents are believed for a second, and not beyond a
 * change. Thread: the loop's.
 */
#include "mount/bridge_state.h"

#include <fcntl.h>
#include <sys/stat.h>

#define OPEN_FLAGS_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY)
#define SMALL_FILE (64 * KIB)
#define SMALL_LEAST (4 * KIB) /* asked for even if the file was empty */
#define CONTENT_MAX (16 * MIB)
#define CONTENT_TIME NS_PER_SEC

/* ---- belated ----------------------------------------------------------------------------------------------------- */

static bool is_open(const struct open_file *of, uint32_t generation)
{
        return of->used && of->generation == generation;
}

/* As who opened it; who could read it then may still do so. */
static int open_as(struct call *c, const struct open_file *of, struct node *n, struct vfile **ret)
{
        struct call as = *c;
        uint32_t flags = of->flags;
        as.r.file = NULL;
        as.r.cred.uid = of->uid;
        as.r.cred.gid = of->gid;
        as.r.cred.group_count = 0;
        int r = bridge_open(&as, n, flags, ret);
        if (r == -EACCES) {
                as.r = call_as_root(&as, FOP_OPEN);
                r = bridge_open(&as, n, flags, ret);
        }
        return r;
}

int open_belatedly(struct call *c, struct open_file *of)
{
        struct node *n = node_ref(of->node);
        struct vfile *file = NULL;
        uint32_t generation = of->generation;
        int r = 0;
        fibre_mutex_lock(c->self, &n->opening);
        if (is_open(of, generation) && !of->file)
                r = open_as(c, of, n, &file);
        if (r == 0 && !is_open(of, generation))
                r = -EBADF;
        if (r == 0 && file) {
                of->file = TAKE_PTR(file);
                n->lazy--;
        }
        fibre_mutex_unlock(c->self, &n->opening);
        vfile_unref(file);
        node_unref(&c->b->nodes, n);
        return r;
}

void open_before_removal(struct call *c, struct node *n)
{
        struct file_table *t = &c->b->files;
        n->removing++;
        for (uint32_t i = 0; i < t->n && n->lazy > 0; i++) {
                struct open_file *of = t->v[i];
                if (of->used && of->node == n && !of->file)
                        (void)open_belatedly(c, of); /* else it goes with its last name */
        }
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

void open_drop_content(struct bridge *b, struct open_file *of)
{
        if (!of->content)
                return;
        b->content_bytes -= of->content->size;
        free(of->content);
        of->content = NULL;
}

static struct content *content_new(struct call *c, const struct read_fop_rep *rep)
{
        struct bridge *b = c->b;
        uint32_t size = rep->data.len;
        if (size > SMALL_FILE || b->content_bytes + size > CONTENT_MAX)
                return NULL;
        struct content *content = malloc(sizeof *content + size);
        if (!content)
                return NULL;
        *content = (struct content){.began = c->began,
                                    .until = loop_now(b->config.loop) + CONTENT_TIME,
                                    .size = size,
                                    .whole = size >= rep->stat.size};
        if (size > 0)
                memcpy(content->data, rep->data.data, size);
        b->content_bytes += size;
        return content;
}

static bool is_written(const struct node *n)
{
        for (const struct vfile *f = n->inode->files; f; f = f->next_of_inode)
                if ((f->flags & O_ACCMODE) != O_RDONLY)
                        return true;
        return false;
}

static bool content_holds(const struct call *c, const struct content *content)
{
        const struct node *n = c->node;
        return content->until > loop_now(c->b->config.loop) && n->changed <= content->began &&
               n->invalidated <= content->began && !is_written(n);
}

bool open_content(struct call *c, uint64_t offset, uint32_t size, struct slice *ret)
{
        struct content *content = c->of->content;
        if (!content)
                return false;
        bool there = content->whole || (offset <= content->size && size <= content->size - offset);
        if (!there || !content_holds(c, content)) {
                open_drop_content(c->b, c->of);
                return false;
        }
        uint32_t at = (uint32_t)MIN(offset, (uint64_t)content->size);
        ret->len = MIN(size, content->size - at);
        uint8_t *copy = arena_alloc_uninitialised(c->r.arena, MAX(ret->len, 1u));
        if (!copy)
                return false;
        memcpy(copy, content->data + at, ret->len);
        ret->data = copy;
        if (at + ret->len == content->size) /* the kernel has it in its pages now */
                open_drop_content(c->b, c->of);
        return true;
}

/* ---- open -------------------------------------------------------------------------------------------------------- */

/* What an open for the kernel only found out. */
struct lazy_open {
        bool possible;
        bool keep; /* the kernel's pages */
        struct content *content;
};

static bool may_read(const struct call *c, uint32_t mode, uint32_t uid)
{
        return c->rq->uid == 0 || (c->rq->uid == uid && (mode & S_IRUSR));
}

static bool may_be_lazy(const struct call *c, uint32_t flags)
{
        const struct node *n = c->node;
        return (flags & (O_ACCMODE | O_DIRECT | O_APPEND)) == O_RDONLY && S_ISREG(n->inode->type) && n->removing == 0 &&
               may_read(c, n->mode, n->uid) && !is_written(n);
}

/* The kernel reads no further than the end it knows. */
static void correct_size(struct call *c, const struct file_state *state)
{
        struct node *n = c->node;
        if (!n->told.known || cache_same(&n->told, state) || !c->b->session)
                return;
        n->told.known = false;
        (void)fuse_notify_inval_inode(c->b->session, n->id, -1, 0);
        (void)fuse_notify_wait(c->self, c->b->session, n->id);
}

/* Attributes that are true at the moment. */
static void take_stat(struct call *c, const struct iatt *stat, struct lazy_open *lazy)
{
        struct node *n = c->node;
        bool changed = n->changed > c->began || n->invalidated > c->began;
        struct file_state state = cache_state(c->b, stat);
        if (!stat_is_usable(stat) || changed || n->removing > 0 || is_written(n) || !may_read(c, stat->mode, stat->uid))
                return;
        n->mode = stat->mode;
        n->uid = stat->uid;
        lazy->possible = true;
        lazy->keep = cache_pages_hold(c->b, n, &state);
        if (!lazy->keep)
                cache_pages_begin(n, state);
        cache_watch(c->b, n, c->began);
        correct_size(c, &state);
}

static int open_small(struct call *c, struct lazy_open *ret)
{
        uint32_t size = (uint32_t)MAX(c->node->told.size, (uint64_t)SMALL_LEAST);
        struct read_fop_req req = {.gfid = c->node->inode->gfid, .size = size};
        struct read_fop_rep rep = {0};
        call_stamp(c, FOP_READ);
        int r = subvolume_read(c->self, call_top(c), &c->r, &req, &rep);
        if (r < 0)
                return r;
        take_stat(c, &rep.stat, ret);
        if (ret->possible && !ret->keep)
                ret->content = content_new(c, &rep);
        return 0;
}

static int open_cached(struct call *c, struct lazy_open *ret)
{
        struct stat_fop_req req = {.gfid = c->node->inode->gfid};
        struct stat_fop_rep rep = {0};
        call_stamp(c, FOP_STAT);
        int r = subvolume_stat(c->self, call_top(c), &c->r, &req, &rep);
        if (r < 0)
                return r;
        take_stat(c, &rep.stat, ret);
        ret->possible = ret->possible && ret->keep;
        return 0;
}

static int open_lazily(struct call *c, uint32_t flags, struct lazy_open *ret)
{
        struct node *n = c->node;
        if (!may_be_lazy(c, flags))
                return 0;
        if (n->pages.known && cache_is_fresh(c->b, n)) {
                ret->possible = ret->keep = true;
                return 0;
        }
        if (n->told.known && n->told.size <= SMALL_FILE && c->b->content_bytes < CONTENT_MAX)
                return open_small(c, ret);
        return n->pages.known && n->pages.settled ? open_cached(c, ret) : 0;
}

static int begin_lazy(struct call *c, uint32_t flags, struct lazy_open *lazy, uint64_t *ret_fh)
{
        int r = file_table_add(c->b, NULL, c->node, ret_fh);
        if (r < 0) {
                c->b->content_bytes -= lazy->content ? lazy->content->size : 0;
                free(lazy->content);
                return r;
        }
        struct open_file *of = file_table_find(c->b, *ret_fh);
        of->flags = flags;
        of->uid = c->rq->uid;
        of->gid = c->rq->gid;
        of->content = lazy->content;
        return 0;
}

/* What the kernel reads from now on is at least as new as what it was told last. */
static int begin_open(struct call *c, uint32_t flags, uint64_t *ret_fh)
{
        struct vfile *file;
        int r = bridge_open(c, c->node, flags, &file);
        if (r == 0)
                r = file_table_add(c->b, file, c->node, ret_fh);
        if (r == 0 && !c->b->config.keep_cache)
                cache_pages_begin(c->node, c->node->told);
        return r;
}

void bridge_op_open(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct lazy_open lazy = {0};
        uint64_t fh;
        uint32_t flags = rq->in.open->flags & ~(uint32_t)OPEN_FLAGS_ONCE;
        int r = call_begin(&c, self, rq);
        if (r == 0 && open_lazily(&c, flags, &lazy) < 0)
                lazy = (struct lazy_open){0}; /* the open itself says why */
        if (r == 0)
                r = lazy.possible ? begin_lazy(&c, flags, &lazy, &fh) : begin_open(&c, flags, &fh);
        if (r < 0) {
                (void)fuse_reply_error(rq, r);
                return;
        }
        uint32_t keep = lazy.keep ? FOPEN_KEEP_CACHE : 0;
        if (fuse_reply_opened(rq, fh, bridge_open_flags(c.b, flags) | keep) < 0)
                file_table_remove(c.b, fh);
}
