/* The barrier (barrier.h): what a client was told is done is in the snapshot; what is not, it was not told.
 *
 * Requests are executed as always. Answers that promise durability - names removed or moved, sizes cut, attributes
 * removed, data synced - are kept as encoded records and sent in their order when the barrier goes down. Failures are
 * answered at once. `raised` is read without the mutex; everything else is under it. Answers are sent under it too, which
 * is rare and does not block, so a session cannot end in between. Any thread.
 */
#include "brick/barrier.h"

#include "base/log.h"
#include "brick/cache.h"

#define HELD_BYTES_MAX (64 * MIB) /* then it goes down early, as after its timeout */

struct held {
        struct held *next;
        struct session *session;
        size_t len;
        uint8_t record[];
};

struct barrier {
        atomic_bool raised;
        pthread_mutex_t mutex; /* a leaf */
        bool wanted;           /* by the options, as last looked at */
        uint64_t until;
        struct held *first, **end;
        size_t bytes;
};

int barrier_new(struct barrier **ret)
{
        struct barrier *x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        pthread_mutex_init(&x->mutex, NULL);
        x->end = &x->first;
        *ret = x;
        return 0;
}

struct barrier *barrier_free(struct barrier *x)
{
        if (x) {
                pthread_mutex_destroy(&x->mutex);
                free(x);
        }
        return NULL;
}

/* ---- up and down ------------------------------------------------------------------------------------------------- */

/* Under the mutex. */
static void lower(struct barrier *x)
{
        atomic_store(&x->raised, false);
        while (x->first) {
                struct held *h = x->first;
                x->first = h->next;
                h->session->send(h->session->conn, &(struct iovec){h->record, h->len}, 1);
                free(h);
        }
        x->end = &x->first;
        x->bytes = 0;
}

/* Before whoever put it up wanted it to: a snapshot that is being taken may lack what clients are told from now on. */
static void fall(struct brick *b, const char *why)
{
        log_warning("barrier", "Brick %s: the barrier is down before it was to be, %s. A snapshot that is not complete yet "
                    "may lack changes that clients count on: take it again.", b->path, why);
        lower(b->barrier);
}

void barrier_follow_options(struct brick *b)
{
        const struct brick_options *o = b->options;
        struct barrier *x = b->barrier;
        pthread_mutex_lock(&x->mutex);
        if (o->barrier && !x->wanted) {
                x->until = coarse_now() + o->barrier_timeout * NS_PER_SEC;
                atomic_store(&x->raised, true);
        } else if (!o->barrier) {
                lower(x);
        }
        x->wanted = o->barrier;
        pthread_mutex_unlock(&x->mutex);
}

void barrier_maintain(struct brick *b, uint64_t now)
{
        struct barrier *x = b->barrier;
        if (!atomic_load_explicit(&x->raised, memory_order_relaxed))
                return;
        pthread_mutex_lock(&x->mutex);
        if (atomic_load(&x->raised) && now >= x->until)
                fall(b, "its barrier-timeout has passed");
        pthread_mutex_unlock(&x->mutex);
}

void barrier_session_gone(struct session *s)
{
        struct barrier *x = s->brick->barrier;
        pthread_mutex_lock(&x->mutex);
        for (struct held **at = &x->first; *at;) {
                struct held *h = *at;
                if (h->session != s) {
                        at = &h->next;
                        continue;
                }
                *at = h->next;
                x->bytes -= h->len;
                free(h);
        }
        x->end = &x->first;
        while (*x->end)
                x->end = &(*x->end)->next;
        pthread_mutex_unlock(&x->mutex);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static bool opened_synchronous(const struct op *op, int64_t number)
{
        struct open_fd *of = session_fd_get(op->session, number);
        bool sync = of && (of->flags & (O_SYNC | O_DSYNC));
        open_fd_unref(op->brick, of);
        return sync;
}

static bool promises_durability(const struct op *op, const void *req)
{
        switch (op->fop) {
        case FOP_UNLINK:
        case FOP_RMDIR:
        case FOP_RENAME:
        case FOP_TRUNCATE:
        case FOP_FTRUNCATE:
        case FOP_FSYNC:
        case FOP_REMOVEXATTR:
        case FOP_FREMOVEXATTR:
                return true;
        case FOP_WRITE: {
                const struct write_fop_req *w = req;
                return (w->flag & (O_SYNC | O_DSYNC)) || opened_synchronous(op, w->fd);
        }
        default:
                return false;
        }
}

bool barrier_applies(const struct op *op, const void *req)
{
        return atomic_load_explicit(&op->brick->barrier->raised, memory_order_relaxed) && promises_durability(op, req);
}

/* Under the mutex. */
static void append(struct session *s, struct held *h)
{
        struct barrier *x = s->brick->barrier;
        h->session = s;
        *x->end = h;
        x->end = &h->next;
        x->bytes += h->len;
        if (x->bytes > HELD_BYTES_MAX)
                fall(s->brick, "more answers are held back than there is room for");
}

static struct held *held_new(const struct iovec *iov, int n)
{
        size_t len = 0;
        for (int k = 0; k < n; k++)
                len += iov[k].iov_len;
        struct held *h = malloc(sizeof *h + len);
        if (!h)
                return NULL;
        *h = (struct held){0};
        for (int k = 0; k < n; k++) {
                memcpy(h->record + h->len, iov[k].iov_base, iov[k].iov_len);
                h->len += iov[k].iov_len;
        }
        return h;
}

int barrier_hold(struct session *s, const struct iovec *iov, int n)
{
        struct barrier *x = s->brick->barrier;
        struct held *h = held_new(iov, n);
        if (!h)
                return -ENOMEM;
        pthread_mutex_lock(&x->mutex);
        bool raised = atomic_load(&x->raised);
        if (raised)
                append(s, h);
        pthread_mutex_unlock(&x->mutex);
        if (!raised)
                free(h);
        return raised ? 0 : -EAGAIN;
}
