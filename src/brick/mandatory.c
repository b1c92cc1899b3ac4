/* Mandatory locks (mandatory.h).
 *
 * With locks.mandatory-locking forced or optimal, reads and changes of bytes that somebody else has locked wait, or are
 * refused; in a file that is marked, whoever has no lock is refused. `file` means the mode bits, which the kernel of a
 * client looks at; a brick does nothing for it. The caller's own locks, and internal clients, never count. Any thread.
 */
#include "brick/mandatory.h"

#include "brick/cache.h"
#include "brick/lock_park.h"

#define LOCK_FLAG_MANDATORY 1u /* of glusterfs.lk.lkmode */

/* What is asked of the locks of an object. */
struct access {
        struct inode *inode;
        struct park_reason range; /* also what a parked call waits for */
        bool enforced;
        bool may_wait;
};

static bool is_on(const struct brick_options *o)
{
        return o->mandatory_locking == MANDATORY_FORCED || o->mandatory_locking == MANDATORY_OPTIMAL;
}

/* ---- marked files ------------------------------------------------------------------------------------------------ */

static int is_marked(struct op *op, struct inode *inode, const struct place *at, const struct stat *st)
{
        char value[16];
        ssize_t n = xattr_get(op->brick, inode, at, st, XATTR_ENFORCE_MANDATORY_LOCK, value, sizeof value);
        if (n == -ENODATA)
                return 0;
        return n >= 0 || n == -ERANGE ? 1 : (int)n;
}

static bool may_be_marked(const struct op *op)
{
        const struct brick_options *o = op->brick->options;
        return o->enforce_mandatory_lock && o->mandatory_locking != MANDATORY_OFF && !op_internal(op);
}

static int is_marked_io(struct op *op, const struct io_fd *io)
{
        struct stat st;
        if (!may_be_marked(op))
                return 0;
        const struct place at = io_place(io);
        int r = disk_stat(op->brick->disk, io->fd, "", &st);
        return r < 0 ? r : is_marked(op, io->inode, &at, &st);
}

int mandatory_enforced(struct op *op, struct inode *inode)
{
        struct object o;
        if (!may_be_marked(op))
                return 0;
        int r = object_by_gfid_any(op, &inode->gfid, &o);
        if (r < 0)
                return r;
        r = is_marked(op, o.inode, &o.at, &o.st);
        object_done(op->brick, &o);
        return r;
}

int mandatory_attribute_check(const struct op *op)
{
        const struct brick_options *o = op->brick->options;
        return o->enforce_mandatory_lock && o->mandatory_locking != MANDATORY_OFF ? 0 : -EINVAL;
}

/* ---- access ------------------------------------------------------------------------------------------------------ */

static int access_locked(struct op *op, struct lock_step *st, const struct access *a)
{
        const struct park_reason *w = &a->range;
        const struct lock_set *set = &st->table->set;
        struct lock_session *ls = atomic_load(&op->session->locks);
        struct lock_hold *h = ls ? lock_hold_find(st->table, ls) : NULL;
        const struct lock_client *c = h ? &h->client : NULL;
        struct slice owner = {op->cred->owner, op->cred->owner_len};
        if (a->enforced) {
                bool covered = c && posix_lock_covers(set, c, owner, w->type, w->start, w->end);
                return covered ? 0 : op->fop == FOP_WRITE ? -EBUSY : -EAGAIN;
        }
        if (!posix_lock_blocks_io(set, c, owner, w->type, w->start, w->end, w->flag))
                return 0;
        return a->may_wait && park_possible(op) ? park_add(op, st, w) : -EAGAIN;
}

static int access_check(struct op *op, const struct access *a)
{
        if (!is_on(op->brick->options) && !a->enforced)
                return 0;
        struct lock_table *t = a->enforced ? lock_table_get(a->inode) : lock_table_of(a->inode);
        if (!t)
                return a->enforced ? -ENOMEM : 0;
        struct lock_step st;
        lock_step_begin(&st, op->brick, a->inode, t);
        int r = access_locked(op, &st, a);
        lock_step_end(&st);
        return r;
}

static struct park_reason range_of(const struct op *op, bool change, uint64_t offset, uint64_t len)
{
        bool optimal = op->brick->options->mandatory_locking == MANDATORY_OPTIMAL;
        return (struct park_reason){
                .kind = PARK_IO,
                .type = change ? LOCK_TYPE_WRITE : LOCK_TYPE_READ,
                .start = MIN(offset, LOCK_END_MAX),
                .end = len == 0 || len > LOCK_END_MAX - MIN(offset, LOCK_END_MAX) ? LOCK_END_MAX : offset + len - 1,
                .flag = optimal ? LOCK_FLAG_MANDATORY : 0,
        };
}

int mandatory_check(struct op *op, const struct io_fd *io, bool change, uint64_t offset, uint64_t len)
{
        if (op->brick->options->mandatory_locking == MANDATORY_OFF || op_internal(op))
                return 0;
        int marked = is_marked_io(op, io);
        if (marked < 0)
                return marked;
        return access_check(op, &(struct access){
                                        .inode = io->inode,
                                        .range = range_of(op, change, offset, len),
                                        .enforced = marked,
                                        .may_wait = !io->of || !(io->of->flags & O_NONBLOCK),
                                });
}

int mandatory_check_truncate(struct op *op, struct object *o, uint64_t offset)
{
        if (op->brick->options->mandatory_locking == MANDATORY_OFF || op_internal(op))
                return 0;
        int marked = may_be_marked(op) ? is_marked(op, o->inode, &o->at, &o->st) : 0;
        if (marked < 0)
                return marked;
        return access_check(op, &(struct access){
                                        .inode = o->inode,
                                        .range = range_of(op, true, offset, 0),
                                        .enforced = marked,
                                });
}
