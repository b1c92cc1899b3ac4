/* Opening a file whose object was replaced after its name was looked up.
 *
 * The kernel looks a name up and opens what it was. If another client replaces the object in between, the open answers
 * ESTALE, and the kernel tries both once more; a second replacement would fail the program. So the thread that met one
 * is remembered, and its next look-ups that find a file open that as well, trying until they can. The file stays open
 * here until the kernel's open of it comes, which has nothing left to lose.
 *
 * That is for the one system call only: whatever else the thread asks for than an open does ends it. Else a later open would be given a file that was removed in between.
 *
 * Invariant: at most one attempt per thread, RETRIES in all; who finds the place taken goes without.
 * Thread: the loop's.
 */
#include "mount/bridge_state.h"

#include <sys/stat.h>

#define TRIES 20
#define RETRY_TIME (2 * NS_PER_SEC)

static struct open_retry *retry_of(struct bridge *b, uint32_t pid)
{
        struct open_retry *x = &b->retries[pid % RETRIES];
        return pid != 0 && x->pid == pid && x->until > loop_now(b->config.loop) ? x : NULL;
}

static void retry_end(struct open_retry *x)
{
        vfile_unref(x->file);
        *x = (struct open_retry){0};
}

static void end_of_call(struct bridge *b, uint32_t pid)
{
        struct open_retry *x = &b->retries[pid % RETRIES];
        if (pid != 0 && x->pid == pid)
                retry_end(x);
}

void open_again_step(struct bridge *b, const struct fuse_request *rq)
{
        switch (rq->opcode) {
        case FUSE_LOOKUP:
        case FUSE_GETATTR:
        case FUSE_GETXATTR: /* ACLs */
        case FUSE_ACCESS:
        case FUSE_READLINK:
        case FUSE_OPEN:
                return;
        default:
                end_of_call(b, rq->pid);
        }
}

/* Files that nobody came for. */
static void retries_expire(struct timer *t)
{
        struct bridge *b = CONTAINER_OF(t, struct bridge, retry_timer);
        uint64_t next = UINT64_MAX, now = loop_now(b->config.loop);
        for (unsigned i = 0; i < RETRIES; i++) {
                struct open_retry *x = &b->retries[i];
                if (x->pid != 0 && x->until <= now)
                        retry_end(x);
                else if (x->pid != 0)
                        next = MIN(next, x->until);
        }
        if (next != UINT64_MAX)
                timer_start(b->config.loop, t, next - now, retries_expire);
}

void open_again_note(struct call *c, uint32_t flags)
{
        struct bridge *b = c->b;
        struct open_retry *x = &b->retries[c->rq->pid % RETRIES];
        uint64_t now = loop_now(b->config.loop);
        if (c->rq->pid == 0 || (x->pid != 0 && x->pid != c->rq->pid && x->until > now))
                return;
        retry_end(x);
        *x = (struct open_retry){.pid = c->rq->pid, .flags = flags, .until = now + RETRY_TIME};
        if (!timer_running(&b->retry_timer))
                timer_start(b->config.loop, &b->retry_timer, RETRY_TIME, retries_expire);
}

/* Opens N for the attempt of C's caller: -ESTALE if it is gone, 0 in every other case: the open itself will say. */
static int open_found(struct call *c, struct node *n, uint32_t flags)
{
        struct vfile *file;
        int r = bridge_open(c, n, flags, &file);
        if (r < 0)
                return r == -ESTALE ? r : 0;
        struct open_retry *x = retry_of(c->b, c->rq->pid);
        if (!x) {
                vfile_unref(file);
                return 0;
        }
        vfile_unref(x->file);
        x->file = file;
        x->node = n->id;
        return 0;
}

int open_again_look(struct call *c, struct node *parent, const char *name, struct node **n, struct iatt *stat)
{
        const struct open_retry *x = retry_of(c->b, c->rq->pid);
        if (!x || !S_ISREG(stat->mode) || (x->file && x->node == (*n)->id))
                return 0;
        uint32_t flags = x->flags;
        for (unsigned i = 0; i < TRIES && open_found(c, *n, flags) == -ESTALE; i++) {
                struct node *found;
                c->began = c->b->nodes.clock;
                int r = bridge_lookup(c, parent, name, &found, stat);
                node_unref(&c->b->nodes, *n);
                *n = r == 0 ? found : NULL;
                if (r < 0 || !S_ISREG(stat->mode))
                        return r;
        }
        return 0;
}

struct vfile *open_again_take(struct call *c, uint32_t flags)
{
        struct open_retry *x = retry_of(c->b, c->rq->pid);
        if (!x || !x->file || x->node != c->node->id || x->flags != flags)
                return NULL;
        struct vfile *file = TAKE_PTR(x->file);
        retry_end(x);
        return file;
}

void open_again_done(struct bridge *b)
{
        timer_stop(&b->retry_timer);
        for (unsigned i = 0; i < RETRIES; i++)
                retry_end(&b->retries[i]);
}
