/* An operation at a brick (remote.h): waits for the brick and for its turn, names the descriptor, calls, and keeps what
 * the answer says about descriptors and locks.
 *
 * An operation whose answer was lost with the connection is sent again only if that can do no harm, and only by a layer
 * that is patient: what reads, and requests for locks (the brick dropped those of the former connection); what changes
 * something in a fixed place, if another process serves the brick now, so that the lost request cannot run any more;
 * and then changes of names, after it was asked whether they were done (remote_settle.c).
 *
 * Thread: the loop's.
 */
#include "volume/remote.h"

#include <fcntl.h>

#include "volume/leaf_offset.h"
#include "volume/outage.h"

/* ---- what the operations are ----------------------------------------------------------------------------------- */

enum repeat { ONCE, AGAIN, AGAIN_IF_RESTARTED, ASK_IF_RESTARTED };
enum descriptor { NO_FD, FD_OR_ANONYMOUS, FD_ONLY };

struct rule {
        uint8_t repeat;
        uint8_t descriptor;
        uint16_t fd_at; /* in the request */
        bool waits;     /* for other requests, maybe of this client: takes no turn */
        bool reads;     /* leaves nothing behind: whoever gives up need not wait for the answer */
};

#define FD_(name) .fd_at = offsetof(struct name##_fop_req, fd)
static const struct rule rules[FOP_MAX] = {
        [FOP_LOOKUP] = {AGAIN, .reads = true},
        [FOP_STAT] = {AGAIN, .reads = true},
        [FOP_ACCESS] = {AGAIN, .reads = true},
        [FOP_READLINK] = {AGAIN, .reads = true},
        [FOP_STATFS] = {AGAIN, .reads = true},
        [FOP_GETXATTR] = {AGAIN, .reads = true},
        [FOP_OPENDIR] = {AGAIN},
        [FOP_MKNOD] = {ASK_IF_RESTARTED},
        [FOP_MKDIR] = {ASK_IF_RESTARTED},
        [FOP_SYMLINK] = {ASK_IF_RESTARTED},
        [FOP_CREATE] = {ASK_IF_RESTARTED},
        [FOP_LINK] = {ASK_IF_RESTARTED},
        [FOP_UNLINK] = {ASK_IF_RESTARTED},
        [FOP_RMDIR] = {ASK_IF_RESTARTED},
        [FOP_RENAME] = {ASK_IF_RESTARTED},
        [FOP_OPEN] = {AGAIN_IF_RESTARTED},
        [FOP_TRUNCATE] = {AGAIN_IF_RESTARTED},
        [FOP_SETATTR] = {AGAIN_IF_RESTARTED},
        [FOP_FSTAT] = {AGAIN, FD_OR_ANONYMOUS, FD_(fstat), .reads = true},
        [FOP_READ] = {AGAIN, FD_OR_ANONYMOUS, FD_(read), .reads = true},
        [FOP_SEEK] = {AGAIN, FD_OR_ANONYMOUS, FD_(seek), .reads = true},
        [FOP_RCHECKSUM] = {AGAIN, FD_OR_ANONYMOUS, FD_(rchecksum), .reads = true},
        [FOP_FGETXATTR] = {AGAIN, FD_OR_ANONYMOUS, FD_(fgetxattr), .reads = true},
        [FOP_READDIR] = {AGAIN, FD_ONLY, FD_(readdir), .reads = true},
        [FOP_READDIRP] = {AGAIN, FD_ONLY, FD_(readdirp), .reads = true},
        [FOP_WRITE] = {AGAIN_IF_RESTARTED, FD_OR_ANONYMOUS, FD_(write)},
        [FOP_FTRUNCATE] = {AGAIN_IF_RESTARTED, FD_OR_ANONYMOUS, FD_(ftruncate)},
        [FOP_FSETATTR] = {AGAIN_IF_RESTARTED, FD_OR_ANONYMOUS, FD_(fsetattr)},
        [FOP_FALLOCATE] = {AGAIN_IF_RESTARTED, FD_OR_ANONYMOUS, FD_(fallocate)},
        [FOP_DISCARD] = {AGAIN_IF_RESTARTED, FD_OR_ANONYMOUS, FD_(discard)},
        [FOP_ZEROFILL] = {AGAIN_IF_RESTARTED, FD_OR_ANONYMOUS, FD_(zerofill)},
        [FOP_FSYNC] = {ONCE, FD_OR_ANONYMOUS, FD_(fsync)},
        [FOP_FSYNCDIR] = {ONCE, FD_ONLY, FD_(fsyncdir)},
        [FOP_FLUSH] = {AGAIN, FD_ONLY, FD_(flush)},
        [FOP_FSETXATTR] = {ONCE, FD_OR_ANONYMOUS, FD_(fsetxattr)},
        [FOP_FREMOVEXATTR] = {ONCE, FD_OR_ANONYMOUS, FD_(fremovexattr)},
        [FOP_FXATTROP] = {ONCE, FD_OR_ANONYMOUS, FD_(fxattrop)},
        [FOP_LK] = {AGAIN, FD_ONLY, FD_(lk), .waits = true},
        [FOP_INODELK] = {AGAIN, .waits = true},
        [FOP_ENTRYLK] = {AGAIN, .waits = true},
        [FOP_FINODELK] = {AGAIN, FD_OR_ANONYMOUS, FD_(finodelk), .waits = true},
        [FOP_FENTRYLK] = {AGAIN, FD_OR_ANONYMOUS, FD_(fentrylk), .waits = true},
};

#define NOT_SENT (-ENOLINK) /* the brick was gone before the request was sent: for this file only */

/* Every reply begins with these. */
struct outcome {
        int32_t op_ret, op_errno;
};

/* ---- turns ----------------------------------------------------------------------------------------------------- */

void remote_turn_take(struct fibre *self, struct remote *m)
{
        if (m->in_flight < REMOTE_IN_FLIGHT_MAX) {
                m->in_flight++;
                return;
        }
        struct remote_turn turn = {0};
        *m->turns_tail = &turn;
        m->turns_tail = &turn.next;
        (void)fibre_event_wait(self, &turn.event, UINT64_MAX); /* who ends hands over, so in_flight stays as it is */
}

void remote_turn_give(struct remote *m)
{
        struct remote_turn *next = m->turns;
        if (!next) {
                m->in_flight--;
                return;
        }
        m->turns = next->next;
        if (!m->turns)
                m->turns_tail = &m->turns;
        fibre_event_set(&next->event);
}

/* ---- the request ----------------------------------------------------------------------------------------------- */

static void filter_direct(enum fop fop, void *req)
{
        if (fop == FOP_OPEN)
                ((struct open_fop_req *)req)->flags &= ~(uint32_t)O_DIRECT;
        else if (fop == FOP_CREATE)
                ((struct create_fop_req *)req)->flags &= ~(uint32_t)O_DIRECT;
        else if (fop == FOP_READ)
                ((struct read_fop_req *)req)->flag &= ~(uint32_t)O_DIRECT;
        else if (fop == FOP_WRITE)
                ((struct write_fop_req *)req)->flag &= ~(uint32_t)O_DIRECT;
}

static unsigned leaves_of(const struct remote *m)
{
        return m->base.volume->top->n_leaves;
}

static void translate_offset(const struct remote *m, enum fop fop, void *req)
{
        if (fop == FOP_READDIR) {
                struct readdir_fop_req *q = req;
                q->offset = leaf_offset_down(q->offset, leaves_of(m));
        } else if (fop == FOP_READDIRP) {
                struct readdirp_fop_req *q = req;
                q->offset = leaf_offset_down(q->offset, leaves_of(m));
        }
}

/* The descriptor's number into REQ. */
static int name_descriptor(struct fibre *self, struct remote *m, const struct rule *rule, struct vfile *f, uint8_t *req)
{
        int64_t number = FD_ANONYMOUS;
        int r = f ? remote_fd_number(self, m, f, &number) : 0;
        if (r < 0)
                return r;
        if (number == FD_ANONYMOUS && rule->descriptor == FD_ONLY)
                return -EBADFD;
        memcpy(req + rule->fd_at, &number, sizeof number);
        return 0;
}

/* The caller as the brick is to see it. ROOM is for a changed copy. */
const struct rpc_cred *remote_cred(const struct remote *m, const struct rpc_cred *cred, struct rpc_cred *room)
{
        if (cred->flavour == RPC_AUTH_GLUSTERFS_V3 && m->options.send_gids)
                return cred;
        *room = *cred;
        room->flavour = RPC_AUTH_GLUSTERFS_V3;
        if (!m->options.send_gids) {
                room->group_count = 1;
                room->groups[0] = cred->gid;
        }
        return room;
}

int remote_send(struct fibre *self, struct remote *m, enum fop fop, const struct rpc_cred *cred, const void *req,
                void *rep, struct arena *arena, const bool *cancelled)
{
        const struct fop_desc *d = fop_by_number(fop);
        struct rpc_cred room;
        if (!m->client)
                return -ENOTCONN;
        return rpc_client_call_cancellable(self, m->client, FOP_PROGRAM, FOP_VERSION, fop, remote_cred(m, cred, &room),
                                           d->req, req, d->rep, rep, arena, cancelled);
}

/* ---- the answer ------------------------------------------------------------------------------------------------ */

static void translate_entries(const struct remote *m, struct dirent_list *list)
{
        for (uint32_t i = 0; i < list->n; i++)
                list->v[i].off = leaf_offset_up(list->v[i].off, m->base.leaf_first, leaves_of(m));
}

static void keep_descriptor(struct remote *m, enum fop fop, struct request *r, const void *req, const void *rep,
                            uint64_t session)
{
        if (fop == FOP_OPEN) {
                const struct open_fop_req *q = req;
                remote_fd_opened(m, r->file, &q->gfid, q->flags, ((const struct open_fop_rep *)rep)->fd, session);
        } else if (fop == FOP_OPENDIR) {
                const struct opendir_fop_req *q = req;
                remote_fd_opened(m, r->file, &q->gfid, O_DIRECTORY, ((const struct opendir_fop_rep *)rep)->fd, session);
        } else if (fop == FOP_CREATE) {
                const struct create_fop_rep *a = rep;
                remote_fd_opened(m, r->file, &a->stat.gfid, ((const struct create_fop_req *)req)->flags, (int64_t)a->fd,
                                 session);
        }
}

void remote_answered(struct remote *m, enum fop fop, struct request *r, const void *req, void *rep, uint64_t session)
{
        keep_descriptor(m, fop, r, req, rep, session);
        if (fop == FOP_READDIR)
                translate_entries(m, &((struct readdir_fop_rep *)rep)->reply);
        else if (fop == FOP_READDIRP)
                translate_entries(m, &((struct readdirp_fop_rep *)rep)->reply);
        else if (fop == FOP_LK && r->file && session == m->session)
                remote_lock_changed(m, r->file, &r->cred, req);
        else if (fop == FOP_FLUSH && r->file)
                remote_locks_flushed(m, r->file, &r->cred);
}

/* No answer: locks that were to be given back went with the connection, and are not to be asked for again. */
static void unanswered(struct remote *m, enum fop fop, struct request *r, const void *req)
{
        if (fop == FOP_LK && r->file && ((const struct lk_fop_req *)req)->type == LK_TYPE_UNLOCK)
                remote_lock_changed(m, r->file, &r->cred, req);
        else if (fop == FOP_FLUSH && r->file)
                remote_locks_flushed(m, r->file, &r->cred);
}

int remote_result(enum fop fop, const void *rep)
{
        const struct outcome *o = rep;
        if (o->op_ret < 0)
                return o->op_errno > 0 && o->op_errno < 4096 ? -o->op_errno : -EIO;
        return fop == FOP_READ || fop == FOP_WRITE ? o->op_ret : 0;
}

/* ---- the call -------------------------------------------------------------------------------------------------- */

bool remote_was_lost(int error)
{
        return error == -ENOTCONN || error == -ETIMEDOUT;
}

static int call_interruptible(struct fibre *self, struct remote *m, struct request *r, const struct lk_fop_req *req,
                              void *rep)
{
        struct remote_interrupt i = {.remote = m, .request = r, .req = req};
        remote_interrupt_begin(self, &i);
        int result = remote_send(self, m, FOP_LK, &r->cred, req, rep, r->arena, NULL);
        remote_interrupt_end(self, &i);
        return result;
}

/* May bring the file itself along, for the next ones. */
static int call_read(struct fibre *self, struct remote *m, struct request *r, struct read_fop_req *req,
                     struct read_fop_rep *rep)
{
        struct remote_asking asking;
        remote_local_ask(m, r, req, &asking);
        int result = remote_send(self, m, FOP_READ, &r->cred, req, rep, r->arena, r->cancel ? &r->cancel->done : NULL);
        remote_local_asked(m, &asking, result == 0 && rep->op_ret >= 0);
        return result;
}

/* On the connection there is. 0: the brick has answered. */
static int call_once(struct fibre *self, struct remote *m, enum fop fop, struct request *r, void *req, void *rep)
{
        const struct rule *rule = &rules[fop];
        int result = rule->descriptor == NO_FD ? 0 : name_descriptor(self, m, rule, r->file, req);
        if (result == -ENOTCONN || (result == 0 && !m->base.up))
                return NOT_SENT;
        if (result < 0)
                return result;
        uint64_t session = m->session;
        if (fop == FOP_LK && r->file)
                remote_lock_asked(m, r->file);
        if (fop == FOP_LK && (r->cancel || r->give_up) && ((struct lk_fop_req *)req)->cmd == LK_COMMAND_WAIT)
                result = call_interruptible(self, m, r, req, rep);
        else if (fop == FOP_READ)
                result = call_read(self, m, r, req, rep);
        else
                result = remote_send(self, m, fop, &r->cred, req, rep, r->arena,
                                     r->cancel && rule->reads ? &r->cancel->done : NULL);
        if (result == 0 && ((struct outcome *)rep)->op_ret >= 0)
                remote_answered(m, fop, r, req, rep, session);
        return result;
}

static bool may_repeat(const struct remote *m, enum fop fop, const void *req, uint64_t instances)
{
        if (fop == FOP_WRITE && (((const struct write_fop_req *)req)->flag & O_APPEND))
                return false;
        if (fop == FOP_OPEN && !(((const struct open_fop_req *)req)->flags & O_TRUNC))
                return true;
        return rules[fop].repeat == AGAIN || (rules[fop].repeat != ONCE && m->instances > instances);
}

static int call_in_turn(struct fibre *self, struct remote *m, enum fop fop, struct request *r, void *req, void *rep)
{
        bool takes_turn = !rules[fop].waits;
        if (takes_turn)
                remote_turn_take(self, m);
        int result = call_once(self, m, fop, r, req, rep);
        if (takes_turn)
                remote_turn_give(m);
        return result;
}

int remote_wait(struct fibre *self, struct remote *m, const struct request *r, uint64_t deadline)
{
        if (m->base.up)
                return 0;
        return m->patient ? outage_wait(self, &m->base, r, deadline) : -ENOTCONN;
}

/* After an answer was lost: the brick is there again. Who gave up and has changed nothing learns that. */
static bool can_go_on(struct fibre *self, struct remote *m, enum fop fop, const struct request *r, uint64_t deadline,
                      int *result)
{
        int waited = remote_wait(self, m, r, deadline);
        if (waited == -EINTR && rules[fop].reads)
                *result = waited;
        return waited == 0;
}

static int failure_of(int error)
{
        if (error == -ETIMEDOUT || error == NOT_SENT)
                return -ENOTCONN; /* after the frame-timeout, as stock */
        return error == -EPROTO || error == -EBADMSG ? -EIO : error;
}

/* RESULT of a call says that it was lost. Whether it is to be sent again, as REQ is now; else *RESULT is final. */
static bool goes_again(struct fibre *self, struct remote *m, enum fop fop, struct request *r, void *req, void *rep,
                       uint64_t deadline, uint64_t instances, int *result)
{
        bool again = true;
        if (*result == NOT_SENT)
                return m->patient; /* the loop waits, and ends when it is time */
        if (!m->patient || !remote_was_lost(*result) || rules[fop].repeat == ONCE)
                return false;
        if (!can_go_on(self, m, fop, r, deadline, result) || !may_repeat(m, fop, req, instances))
                return false;
        if (rules[fop].repeat == ASK_IF_RESTARTED)
                *result = remote_settle(self, m, fop, r, req, rep, &again);
        return again;
}

bool remote_fop_waits(enum fop fop)
{
        return rules[fop].waits;
}

int remote_prepare(struct fibre *self, struct remote *m, enum fop fop, const struct request *r, void *req)
{
        const struct rule *rule = &rules[fop];
        if (m->options.filter_direct)
                filter_direct(fop, req);
        return rule->descriptor == NO_FD ? 0 : name_descriptor(self, m, rule, r->file, req);
}

int remote_call(struct fibre *self, struct remote *m, enum fop fop, struct request *r, const void *req, void *rep)
{
        const struct fop_desc *d = fop_by_number(fop);
        _Alignas(max_align_t) uint8_t copy[MSG_SIZE_MAX];
        uint64_t deadline = outage_deadline(&m->base), instances;
        int result;
        if (fop == FOP_READ && remote_local_read(m, r, req, rep, &result))
                return result;
        memcpy(copy, req, d->req->size);
        if (remote_fd_is_carried(m, fop, r, req) || (fop == FOP_FLUSH && remote_flush_is_empty(m, r)))
                return memset(rep, 0, d->rep->size), 0;
        translate_offset(m, fop, copy);
        if (m->options.filter_direct)
                filter_direct(fop, copy);
        do {
                instances = m->instances;
                memset(rep, 0, d->rep->size);
                result = remote_wait(self, m, r, deadline);
                if (result == 0)
                        result = call_in_turn(self, m, fop, r, copy, rep);
                if (result == 0)
                        return remote_result(fop, rep);
        } while (goes_again(self, m, fop, r, copy, rep, deadline, instances, &result));
        if (result == 0 || result == -EEXIST)
                return result; /* settled: REP says it */
        if (remote_was_lost(result) || result == NOT_SENT)
                unanswered(m, fop, r, copy);
        memset(rep, 0, d->rep->size);
        return failure_of(result);
}
