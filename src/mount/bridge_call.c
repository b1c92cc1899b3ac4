/* How every operation begins and ends, and the conversions between the kernel's structures and the volume's.
 *
 * Relies on: the session answers whatever an operation leaves unanswered. Thread: the loop's.
 */
#include "mount/bridge_state.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"

#define BLOCK_SIZE (128 * KIB) /* what st_blksize says: programs read and write in such pieces */

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

static void set_owner_bytes(struct rpc_cred *cred, uint64_t owner, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                cred->owner[i] = (uint8_t)(owner >> (8 * i));
        cred->owner_len = n;
}

void call_set_owner(struct call *c, uint64_t owner)
{
        set_owner_bytes(&c->r.cred, owner, sizeof owner);
}

static void set_groups(struct call *c)
{
        struct fuse_request *rq = c->rq;
        if (rq->uid == 0)
                return; /* may do everything anyway */
        const uint32_t *groups = NULL;
        size_t n = fuse_request_groups(rq, &groups);
        c->r.cred.group_count = (uint32_t)MIN(n, (size_t)RPC_GROUPS_LIMIT);
        if (n > 0)
                memcpy(c->r.cred.groups, groups, c->r.cred.group_count * sizeof groups[0]);
        if (rq->pid != 0 || c->b->warned_invisible)
                return;
        c->b->warned_invisible = true;
        log_warning("mount",
                    "A process of user %u is in a pid namespace this client does not see: its supplementary groups are "
                    "not known. Run the client in the host's pid namespace.",
                    rq->uid);
}

static void set_cred(struct call *c)
{
        struct rpc_cred *cred = &c->r.cred;
        cred->flavour = RPC_AUTH_GLUSTERFS_V3;
        cred->pid = c->b->config.client_pid ? c->b->config.client_pid : (int32_t)c->rq->pid;
        cred->uid = c->rq->uid;
        cred->gid = c->rq->gid;
        set_groups(c);
        set_owner_bytes(cred, (uint32_t)cred->pid, sizeof cred->pid);
}

void call_stamp(struct call *c, enum fop fop)
{
        c->r.cred.flags = 0;
        volume_stamp(c->b->volume, &c->r.cred, fop);
}

struct request call_as_root(const struct call *c, enum fop fop)
{
        struct request r = c->r;
        r.cred.uid = r.cred.gid = 0;
        r.cred.group_count = 0;
        r.cred.flags = 0;
        r.cancel = NULL;
        volume_stamp(c->b->volume, &r.cred, fop);
        return r;
}

/* ---- begin and end ----------------------------------------------------------------------------------------------- */

static void begin(struct call *c, struct fibre *self, struct fuse_request *rq)
{
        *c = (struct call){.b = rq->arg, .self = self, .rq = rq};
        c->began = c->b->nodes.clock;
        c->r.arena = rq->arena;
        c->r.cancel = &rq->interrupted;
        set_cred(c);
        open_again_step(c->b, rq);
}

int call_begin(struct call *c, struct fibre *self, struct fuse_request *rq)
{
        begin(c, self, rq);
        c->node = node_find(&c->b->nodes, rq->node);
        if (!c->node)
                return -ESTALE;
        node_touch(&c->b->nodes, c->node);
        c->r.inode = c->node->inode;
        return 0;
}

int call_begin_lazily(struct call *c, struct fibre *self, struct fuse_request *rq, uint64_t fh)
{
        begin(c, self, rq);
        c->of = file_table_find(c->b, fh);
        if (!c->of)
                return -EBADF;
        c->node = node_ref(c->of->node);
        c->r.inode = c->node->inode;
        c->r.file = c->of->file ? vfile_ref(c->of->file) : NULL;
        return 0;
}

int call_begin_file(struct call *c, struct fibre *self, struct fuse_request *rq, uint64_t fh)
{
        int r = call_begin_lazily(c, self, rq, fh);
        if (r < 0 || c->r.file)
                return r;
        r = open_belatedly(c, c->of);
        if (r == 0)
                c->r.file = vfile_ref(c->of->file);
        return r;
}

void call_end(struct call *c)
{
        if (!c->b)
                return;
        vfile_unref(c->r.file);
        node_unref(&c->b->nodes, c->node);
        *c = (struct call){0};
}

struct subvolume *call_top(const struct call *c)
{
        return volume_entry(c->b->volume);
}

static void deadline_passed(struct timer *t)
{
        fibre_event_set(&((struct deadline *)t)->passed);
}

struct fibre_event *deadline_start(struct deadline *d, struct loop *loop, uint64_t timeout)
{
        *d = (struct deadline){0};
        timer_start(loop, &d->timer, timeout, deadline_passed);
        return &d->passed;
}

bool call_by_open_file(struct call *c, int r)
{
        struct vfile *open = c->node->inode->files;
        if ((r != -ENOENT && r != -ESTALE) || c->r.file || !open || open->directory)
                return false;
        c->r.file = vfile_ref(open);
        return true;
}

int call_node_error(int r)
{
        return r == -ENOENT ? -ESTALE : r;
}

/* ---- conversions ------------------------------------------------------------------------------------------------- */

bool stat_is_usable(const struct iatt *stat)
{
        return (stat->mode & S_IFMT) != 0 && !gfid_is_null(&stat->gfid);
}

uint64_t bridge_ino(const struct bridge *b, uint64_t ino)
{
        return b->config.ino32 ? (uint32_t)(ino ^ (ino >> 32)) : ino;
}

uint32_t device_from(uint64_t rdev)
{
        uint32_t high = (uint32_t)(rdev >> 32), low = (uint32_t)rdev;
        return (low & 0xffu) | (high << 8) | ((low & ~0xffu) << 12);
}

struct fuse_attr attr_from(const struct bridge *b, const struct iatt *stat)
{
        return (struct fuse_attr){
                .ino = bridge_ino(b, stat->ino ? stat->ino : gfid_ino(&stat->gfid)),
                .size = stat->size,
                .blocks = stat->blocks,
                .atime = (uint64_t)stat->atime.sec,
                .mtime = (uint64_t)stat->mtime.sec,
                .ctime = (uint64_t)stat->ctime.sec,
                .atimensec = stat->atime.nsec,
                .mtimensec = stat->mtime.nsec,
                .ctimensec = stat->ctime.nsec,
                .mode = stat->mode,
                .nlink = stat->nlink,
                .uid = stat->uid,
                .gid = stat->gid,
                .rdev = device_from(stat->rdev),
                .blksize = BLOCK_SIZE,
        };
}

struct gfid bridge_new_gfid(struct bridge *b)
{
        uint8_t random[16];
        loop_random(b->config.loop, random, sizeof random);
        return gfid_from_random(random);
}

/* ---- open files -------------------------------------------------------------------------------------------------- */

#define FILES_MAX (1u << 20)

static int grow_files(struct file_table *t)
{
        if (t->n >= FILES_MAX)
                return -ENFILE;
        if (t->n == t->room) {
                uint32_t room = t->room ? t->room * 2 : 64;
                struct open_file **v = realloc(t->v, room * sizeof *v);
                if (!v)
                        return -ENOMEM;
                t->v = v;
                t->room = room;
        }
        struct open_file *of = calloc(1, sizeof *of);
        if (!of)
                return -ENOMEM;
        t->v[t->n++] = of;
        of->next_free = t->first_free;
        t->first_free = t->n;
        return 0;
}

int file_table_add(struct bridge *b, struct vfile *file, struct node *n, uint64_t *ret_fh)
{
        struct file_table *t = &b->files;
        int r = t->first_free == 0 ? grow_files(t) : 0;
        if (r < 0) {
                vfile_unref(file);
                return r;
        }
        uint32_t index = t->first_free - 1;
        struct open_file *of = t->v[index];
        t->first_free = of->next_free;
        *of = (struct open_file){.file = file, .node = node_ref(n), .generation = of->generation + 1, .used = true};
        of->failures_told = n->writes.failures;
        n->open++;
        n->lazy += !file;
        t->open++;
        *ret_fh = ((uint64_t)of->generation << 32) | index;
        return 0;
}

struct open_file *file_table_find(struct bridge *b, uint64_t fh)
{
        uint32_t index = (uint32_t)fh;
        struct open_file *of = index < b->files.n ? b->files.v[index] : NULL;
        return of && of->used && of->generation == (uint32_t)(fh >> 32) ? of : NULL;
}

static void close_file(struct bridge *b, struct open_file *of)
{
        of->used = false;
        of->batch = dir_batch_free(of->batch);
        open_end(b, of);
        of->node->open--;
        of->node->lazy -= !of->file;
        of->file = vfile_unref(of->file);
        node_unref(&b->nodes, of->node);
        of->node = NULL;
        b->files.open--;
}

void file_table_remove(struct bridge *b, uint64_t fh)
{
        struct open_file *of = file_table_find(b, fh);
        if (!of)
                return;
        close_file(b, of);
        of->next_free = b->files.first_free;
        b->files.first_free = (uint32_t)fh + 1;
}

void file_table_done(struct bridge *b)
{
        struct file_table *t = &b->files;
        for (uint32_t i = 0; i < t->n; i++) {
                if (t->v[i]->used)
                        close_file(b, t->v[i]);
                free(t->v[i]);
        }
        free(t->v);
        *t = (struct file_table){0};
}
