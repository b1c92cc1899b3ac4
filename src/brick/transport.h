/* How a connection's bytes get from and to its socket: as they are, or through TLS (wire.md §1.7).
 *
 * The same for both: one read(2) for what is there, one sendmsg(2) for an answer. With TLS, C->tls and what it appends
 * to C->out are guarded by C->lock, like everything else about output; after a read nothing is left inside the session
 * but an unfinished TLS record, so epoll announces everything that is still to come.
 */
#pragma once

#include "brick/conn.h"
#include "rpc/tls_session.h"

/* One read, with room for WANT bytes at least; what came is in C->in. >0: something came, with TLS perhaps not yet a
 * byte of plain text. 0: the end. -EAGAIN, -EINTR: nothing; other -errno: the connection is of no use. SCRATCH: a buffer
 * of the calling thread for what is to be decrypted. For the owner of C->in; not under the lock. */
ssize_t transport_read(struct conn *c, size_t want, struct buf *scratch);

/* Sends IOV to the socket: bytes taken, 0 when it is full, -errno. Under the lock, and only with nothing unsent. */
ssize_t transport_send(struct conn *c, const struct iovec *iov, int n);

/* TLS only, under the lock: IOV, encrypted, is appended to C->out. 0 or -errno. */
static inline int transport_encrypt(struct conn *c, const struct iovec *iov, int n)
{
        return tls_session_write(c->tls, iov, n);
}

/* TLS only, under the lock: moves what was fed to the session to C->in. -EAGAIN: all of it; 0: the end, and nothing before
 * it; -errno. */
int transport_decrypt(struct conn *c);

/* The common name in the client's certificate; NULL: a plain connection. */
static inline const char *transport_certificate(const struct conn *c)
{
        return c->tls ? tls_session_peer_name(c->tls) : NULL;
}
