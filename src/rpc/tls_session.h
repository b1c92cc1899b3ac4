/* One TLS connection as a pure transformation: bytes of the peer in, plain text out, and the reverse.
 *
 * It owns no descriptor and never waits. What the peer sent is fed with tls_session_feed() and read with
 * tls_session_read() until -EAGAIN; then nothing is left inside but an unfinished TLS record, so a descriptor that is
 * watched for readability announces everything there is to come. What is to be sent is appended to the buffer given at
 * the start. Who moves the bytes: rpc/tls_stream.h on a loop, brick/transport.h on a brick's lanes.
 *
 * Not thread safe: one lock covers reading, writing and the output buffer (reading may answer, writing may not read).
 */
#pragma once

#include <sys/uio.h>

#include "base/buf.h"
#include "rpc/tls.h"

struct tls_session;

enum tls_side { TLS_CLIENT, TLS_SERVER };

/* What the first byte of a TLS connection is. No record of a plain connection begins with it: it would announce a
 * fragment of 369 MiB. */
#define TLS_FIRST_BYTE 0x16
#define TLS_RECORD_PLAIN_MAX 16384
#define TLS_NAME_MAX 256 /* with the NUL; a common name has 64 characters at most */

/* OUT (borrowed) takes what is to be sent. The session holds a reference to CONTEXT. */
int tls_session_new(struct tls_context *context, enum tls_side side, struct buf *out, struct tls_session **ret);
struct tls_session *tls_session_free(struct tls_session *s);
DEFINE_CLEANUP(struct tls_session *, tls_session_free)

/* LEN bytes came from the peer. They are borrowed until a call has answered -EAGAIN. */
void tls_session_feed(struct tls_session *s, const void *data, size_t len);

/* 0: done. -EAGAIN: the peer has to say more. Other -errno: tls_session_error() says why; an alert may be in the output.
 * Signs and verifies, so one call may take some milliseconds of processor time. */
int tls_session_handshake(struct tls_session *s);

/* Plain text: >0 bytes, 0 the peer has ended its side, -EAGAIN everything that was fed is used up, other -errno. */
ssize_t tls_session_read(struct tls_session *s, void *to, size_t size);

/* Encrypts all of IOV into the output, in TLS records as large as they may be: small pieces share one. 0 or -errno. */
int tls_session_write(struct tls_session *s, const struct iovec *iov, int n);

/* Says good-bye into the output. */
void tls_session_end(struct tls_session *s);

/* After the handshake: the common name in the peer's certificate, "" if there is none that can be used. */
const char *tls_session_peer_name(const struct tls_session *s);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", for logs. Valid until the next call on S. */
const char *tls_session_cipher(struct tls_session *s);
/* After a failure: a sentence for an operator, without the full stop. */
const char *tls_session_error(const struct tls_session *s);
