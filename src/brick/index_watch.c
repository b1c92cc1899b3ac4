/* Telling clients about the index (index_watch.h).
 *
 * Each watch remembers what its client was told. The list, what was told and the order of messages are under one mutex,
 * a leaf but for the connection's own; sending does not block. Any thread.
 */
#include "brick/index_watch.h"

#include "brick/index.h"
#include "proto/chain.h"
#include "rpc/record.h"

#define MESSAGE_MAX KIB

struct index_watch {
        struct index_watch *next;
        struct session *session;
        bool pending; /* as it was told */
};

static bool is_known(const struct index *x, bool *ret_pending)
{
        enum index_pending state = (enum index_pending)(atomic_load(&x->pending) & 3);
        *ret_pending = state != INDEX_NONE;
        return state != INDEX_UNKNOWN;
}

static void encode(struct buf *b, bool pending)
{
        const struct rpc_call call = {
                .xid = 1, .prog = CHAIN_PROGRAM, .vers = CHAIN_VERSION, .proc = CHAIN_INDEX_CHANGED};
        const struct chain_index_cbk message = {.pending = pending};
        size_t begin = record_begin(b);
        rpc_call_encode(b, &call);
        msg_encode(&chain_index_cbk_desc, &message, b);
        record_end(b, begin, 0);
}

/* Under the mutex. */
static void tell_all(struct index *x, bool pending)
{
        _cleanup_buf_ struct buf b = BUF_INIT(MESSAGE_MAX);
        encode(&b, pending);
        for (struct index_watch *w = x->watches; w && !b.error; w = w->next) {
                struct session *s = w->session;
                if (w->pending == pending)
                        continue;
                w->pending = pending;
                s->send(s->conn, &(struct iovec){b.data, b.len}, 1);
        }
}

void index_watch_tell(struct brick *b)
{
        struct index *x = b->index;
        bool pending;
        pthread_mutex_lock(&x->watch_lock);
        if (x->watches && is_known(x, &pending))
                tell_all(x, pending);
        pthread_mutex_unlock(&x->watch_lock);
}

int index_watch_begin(struct session *s, bool *ret_pending)
{
        struct index *x = s->brick->index;
        struct index_watch *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
                return -ENOMEM;
        (void)index_pending(s->brick); /* looks, if nobody did */
        pthread_mutex_lock(&x->watch_lock);
        if (!s->index_watch) {
                s->index_watch = TAKE_PTR(fresh);
                s->index_watch->session = s;
                s->index_watch->next = x->watches;
                x->watches = s->index_watch;
        }
        (void)is_known(x, &s->index_watch->pending);
        *ret_pending = s->index_watch->pending;
        pthread_mutex_unlock(&x->watch_lock);
        free(fresh);
        return 0;
}

void index_watch_gone(struct session *s)
{
        struct index *x = s->brick->index;
        if (!s->index_watch)
                return;
        pthread_mutex_lock(&x->watch_lock);
        struct index_watch **at = &x->watches;
        while (*at != s->index_watch)
                at = &(*at)->next;
        *at = s->index_watch->next;
        pthread_mutex_unlock(&x->watch_lock);
        free(TAKE_PTR(s->index_watch));
}
