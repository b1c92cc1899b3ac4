/* Plain and TLS sockets of connections. See transport.h. */
#include "brick/transport.h"

#include <sys/socket.h>

#include "base/log.h"

ssize_t transport_send(struct conn *c, const struct iovec *iov, int n)
{
        struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
        ssize_t r = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r >= 0)
                return r;
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static ssize_t read_plain(struct conn *c, size_t want)
{
        size_t size;
        uint8_t *at = record_reader_space(&c->in, want, &size);
        if (!at)
                return -ENOMEM;
        ssize_t n = read(c->fd, at, size);
        if (n > 0)
                record_reader_filled(&c->in, (size_t)n);
        return n < 0 ? -errno : n;
}

/* The peer has said good-bye. Calls that came before it are still to be served: then the socket tells the end, to whoever
 * reads it next.
 */
static int peer_ended(struct conn *c, bool after_data)
{
        return after_data && shutdown(c->fd, SHUT_RD) == 0 ? -EAGAIN : 0;
}

int transport_decrypt(struct conn *c)
{
        for (bool data = false;; data = true) {
                size_t size;
                uint8_t *at = record_reader_space(&c->in, TLS_RECORD_PLAIN_MAX, &size);
                if (!at)
                        return -ENOMEM;
                ssize_t n = tls_session_read(c->tls, at, size);
                if (n <= 0)
                        return n == 0 ? peer_ended(c, data) : (int)n;
                record_reader_filled(&c->in, (size_t)n);
        }
}

static ssize_t read_encrypted(struct conn *c, size_t want, struct buf *scratch)
{
        if (buf_reserve(scratch, want) < 0)
                return -ENOMEM;
        ssize_t n = read(c->fd, scratch->data, want);
        if (n <= 0)
                return n < 0 ? -errno : 0;
        pthread_mutex_lock(&c->lock);
        size_t before = c->out.len;
        tls_session_feed(c->tls, scratch->data, (size_t)n);
        int r = transport_decrypt(c);
        bool answers = c->out.len > before; /* an alert, or new keys */
        if (r < 0 && r != -EAGAIN)
                log_info("transport", "The TLS connection of the client at %s is given up: %s.", c->peer,
                         r == -ENOMEM ? "out of memory" : tls_session_error(c->tls));
        pthread_mutex_unlock(&c->lock);
        if (answers)
                conn_flush(c);
        return r == -EAGAIN ? n : r;
}

ssize_t transport_read(struct conn *c, size_t want, struct buf *scratch)
{
        return c->tls ? read_encrypted(c, want, scratch) : read_plain(c, want);
}
