/* Opening files to read in one round trip.
 *
 * A small file that somebody may read for certain (root, or its owner by the mode) and that nobody here is writing is
 * opened by one READ of all of it, at one brick; the kernel's reads are answered from that. What is still open a moment
 * later is then opened at the bricks, and so it is as soon as an operation needs that: a read of what is not believed
 * any more, a lock, or a removal of its name by this client. If another client has removed it by then, what was read
 * is the file from then on: reads and attributes come from there.
 *
 * Every other open waits for the bricks: a file that is removed elsewhere is there for those who have it open, because
 * the bricks know them. With it goes a STAT if the kernel has pages of the file and bricks do not tell of changes.
 *
 * What a READ or STAT says about size and times decides what the kernel may keep, so that an open sees what another
 * client wrote before it closed the file.
 *
 * Invariants: node.lazy counts the open files without a vfile; each has the whole content. Contents are believed for a
 * second, and not beyond a change, unless the file is gone. Thread: the loop's.
 */
#include "mount/bridge_state.h"

#include <fcntl.h>
#include <sys/stat.h>

#define OPEN_FLAGS_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY)
#define SMALL_FILE (64 * KIB)
#define SMALL_LEAST (4 * KIB) /* asked for even if the file was empty */
#define CONTENT_MAX (16 * MIB)
#define CONTENT_TIME NS_PER_SEC
#define LATE_TIME (5 * NS_PER_MSEC) /* who reads a small file and closes it is done by then */
#define LATE_ARENA_MAX (256 * KIB)

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

static void drop_content(struct bridge *b, struct open_file *of)
{
        if (!of->content)
                return;
        b->content_bytes -= of->content->size;
        free(of->content);
        of->content = NULL;
}

/* The bricks know OF from now on, or say that there is nothing to know any more. */
static void opened_belatedly(struct bridge *b, struct open_file *of, int r, struct vfile **file)
{
        if (r == -ESTALE)
                of->gone = true;
        if (r < 0 || !*file)
                return;
        of->file = TAKE_PTR(*file);
        of->node->lazy--;
        timer_stop(&of->late);
        if (of->content && of->content->seen)
                drop_content(b, of);
}

int open_belatedly(struct call *c, struct open_file *of)
{
        struct node *n = node_ref(of->node);
        struct vfile *file = NULL;
        uint32_t generation = of->generation;
        int r = 0;
        fibre_mutex_lock(c->self, &n->opening);
        if (is_open(of, generation) && of->gone)
                r = -ESTALE;
        else if (is_open(of, generation) && !of->file)
                r = open_as(c, of, n, &file);
        if (is_open(of, generation))
                opened_belatedly(c->b, of, r, &file);
        else
                r = -EBADF;
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

static void late_fibre(struct fibre *self, void *arg)
{
        struct open_file *of = arg;
        _cleanup_arena_ struct arena arena = ARENA_INIT(LATE_ARENA_MAX);
        if (!of->used || of->file)
                return;
        struct call c = {.b = of->bridge, .self = self, .r = {.arena = &arena}};
        c.r.cred = (struct rpc_cred){.flavour = RPC_AUTH_GLUSTERFS_V3, .pid = c.b->config.client_pid, .owner_len = 4};
        (void)open_belatedly(&c, of); /* else the next operation tries */
}

static void late_timer(struct timer *t)
{
        struct open_file *of = CONTAINER_OF(t, struct open_file, late);
        if (of->bridge->session)
                (void)fibre_group_start(of->bridge->config.loop, &of->bridge->late, "open", late_fibre, of);
}

void open_end(struct bridge *b, struct open_file *of)
{
        timer_stop(&of->late);
        drop_content(b, of);
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

/* All of the file, NULL: it is not all, or too much. */
static struct content *content_new(struct call *c, const struct read_fop_rep *rep)
{
        struct bridge *b = c->b;
        uint32_t size = rep->data.len;
        if (size > SMALL_FILE || size < rep->stat.size || b->content_bytes + size > CONTENT_MAX)
                return NULL;
        struct content *content = malloc(sizeof *content + size);
        if (!content)
                return NULL;
        *content = (struct content){.began = c->began,
                                    .until = loop_now(b->config.loop) + CONTENT_TIME,
                                    .stat = rep->stat,
                                    .size = size};
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

static bool content_holds(const struct bridge *b, const struct node *n, const struct content *content)
{
        return content->until > loop_now(b->config.loop) && n->changed <= content->began &&
               n->invalidated <= content->began && !is_written(n);
}

bool open_content(struct call *c, uint64_t offset, uint32_t size, struct slice *ret)
{
        struct open_file *of = c->of;
        struct content *content = of->content;
        if (!content)
                return false;
        if (!of->gone && !content_holds(c->b, c->node, content)) {
                content->seen = true; /* of no use but as what is left of it */
                if (of->file)
                        drop_content(c->b, of);
                return false;
        }
        uint32_t at = (uint32_t)MIN(offset, (uint64_t)content->size);
        ret->len = MIN(size, content->size - at);
        uint8_t *copy = arena_alloc_uninitialised(c->r.arena, MAX(ret->len, 1u));
        if (!copy)
                return false;
        memcpy(copy, content->data + at, ret->len);
        ret->data = copy;
        content->seen |= at + ret->len == content->size; /* the kernel has it in its pages now */
        if (content->seen && of->file)
                drop_content(c->b, of);
        return true;
}

bool open_content_stat(struct call *c, struct iatt *ret)
{
        const struct file_table *t = &c->b->files;
        for (uint32_t i = 0; i < t->n && c->node->lazy > 0; i++) {
                const struct open_file *of = t->v[i];
                if (!of->used || of->node != c->node || of->file || !of->content)
                        continue;
                *ret = of->content->stat;
                ret->nlink = 0;
                return true;
        }
        return false;
}

/* ---- open -------------------------------------------------------------------------------------------------------- */

/* What was found out about the file beside opening it. */
struct found {
        bool usable; /* it can be opened for the kernel only */
        bool told;   /* size and times of the moment are known */
        bool keep;   /* the kernel's pages */
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
static void take_stat(struct call *c, const struct iatt *stat, struct found *ret)
{
        struct node *n = c->node;
        bool changed = n->changed > c->began || n->invalidated > c->began;
        struct file_state state = cache_state(c->b, stat);
        if (!stat_is_usable(stat) || changed || n->removing > 0 || is_written(n) || !may_read(c, stat->mode, stat->uid))
                return;
        n->mode = stat->mode;
        n->uid = stat->uid;
        ret->usable = ret->told = true;
        ret->keep = cache_pages_hold(c->b, n, &state);
        if (!ret->keep)
                cache_pages_begin(n, state);
        cache_watch(c->b, n, c->began);
        correct_size(c, &state);
}

static void read_small(struct call *c, struct found *ret)
{
        uint32_t size = (uint32_t)MAX(c->node->told.size, (uint64_t)SMALL_LEAST);
        struct read_fop_req req = {.gfid = c->node->inode->gfid, .size = size};
        struct read_fop_rep rep = {0};
        call_stamp(c, FOP_READ);
        if (subvolume_read(c->self, call_top(c), &c->r, &req, &rep) < 0)
                return; /* the open itself says why */
        take_stat(c, &rep.stat, ret);
        if (ret->usable)
                ret->content = content_new(c, &rep);
}

/* A small file, as a whole. */
static void open_small(struct call *c, uint32_t flags, struct found *ret)
{
        if (may_be_lazy(c, flags) && c->node->told.known && c->node->told.size <= SMALL_FILE &&
            c->b->content_bytes < CONTENT_MAX)
                read_small(c, ret);
}

static int begin_lazy(struct call *c, uint32_t flags, struct content *content, uint64_t *ret_fh)
{
        int r = file_table_add(c->b, NULL, c->node, ret_fh);
        if (r < 0) {
                c->b->content_bytes -= content->size;
                free(content);
                return r;
        }
        struct open_file *of = file_table_find(c->b, *ret_fh);
        of->flags = flags;
        of->uid = c->rq->uid;
        of->gid = c->rq->gid;
        of->content = content;
        of->bridge = c->b;
        timer_start(c->b->config.loop, &of->late, LATE_TIME, late_timer);
        return 0;
}

struct stat_beside {
        struct call call;
        struct found *found;
};

static void stat_beside(struct fibre *self, void *arg)
{
        struct stat_beside *s = arg;
        struct call *c = &s->call;
        struct stat_fop_req req = {.gfid = c->node->inode->gfid};
        struct stat_fop_rep rep = {0};
        c->self = self;
        call_stamp(c, FOP_STAT);
        if (subvolume_stat(self, call_top(c), &c->r, &req, &rep) >= 0)
                take_stat(c, &rep.stat, s->found);
}

/* At the bricks. What the kernel has of it is looked at meanwhile, if it may be worth keeping. */
static int open_there(struct call *c, uint32_t flags, struct vfile **ret, struct found *found)
{
        struct node *n = c->node;
        struct fibre_group beside = {0};
        struct stat_beside s = {.call = *c, .found = found};
        bool may_keep = n->pages.known && may_be_lazy(c, flags);
        if (may_keep && cache_is_fresh(c->b, n))
                found->told = found->keep = true;
        else if (may_keep && n->pages.settled)
                (void)fibre_group_start(c->b->config.loop, &beside, "stat", stat_beside, &s);
        int r = bridge_open(c, n, flags, ret);
        fibre_group_wait_all(c->self, &beside);
        return r;
}

static int begin_open(struct call *c, uint32_t flags, struct found *found, uint64_t *ret_fh)
{
        struct vfile *file = open_again_take(c, flags);
        int r = file ? 0 : open_there(c, flags, &file, found);
        if (r == -ESTALE)
                open_again_note(c, flags);
        if (r == 0)
                r = file_table_add(c->b, file, c->node, ret_fh);
        if (r == 0 && !found->told && !c->b->config.keep_cache)
                cache_pages_begin(c->node, c->node->told); /* what it reads now is at least as new as what it was told */
        return r;
}

void bridge_op_open(struct fibre *self, struct fuse_request *rq)
{
        _cleanup_call_ struct call c;
        struct found found = {0};
        uint64_t fh;
        uint32_t flags = rq->in.open->flags & ~(uint32_t)OPEN_FLAGS_ONCE;
        int r = call_begin(&c, self, rq);
        if (r == 0)
                open_small(&c, flags, &found);
        if (r == 0)
                r = found.content ? begin_lazy(&c, flags, found.content, &fh) : begin_open(&c, flags, &found, &fh);
        if (r < 0) {
                (void)fuse_reply_error(rq, r);
                return;
        }
        uint32_t keep = found.keep ? FOPEN_KEEP_CACHE : 0;
        if (fuse_reply_opened(rq, fh, bridge_open_flags(c.b, flags) | keep) < 0)
                file_table_remove(c.b, fh);
}
