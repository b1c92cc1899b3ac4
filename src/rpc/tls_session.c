/* TLS connections in memory, over OpenSSL. See tls_session.h.
 *
 * The library reads and writes through a BIO of our own: it reads from what was fed and appends to the output buffer. So
 * it never sees a socket, a write always takes everything, and after -EAGAIN it has used up all that was fed.
 *
 * After the handshake a peer may send messages that make us work and answer without ever sending data (key updates). A
 * few are fine; MESSAGES_MAX without a byte of data between them end the connection.
 */
#include "rpc/tls_session.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

#include "rpc/tls_internal.h"

#define MESSAGES_MAX 32
#define TLS_ALERT_BYTE 0x15
#define WORDS_MAX 768

struct tls_session {
        struct tls_context *context;
        SSL *ssl;
        const uint8_t *in;
        size_t in_len;
        struct buf *out;
        bool begun; /* the first byte of the peer was looked at */
        bool done;  /* the handshake is */
        bool broken;
        unsigned messages; /* after the handshake, since the last data */
        /* Texts, made when there is something to say: an idle session is to be small. */
        char *name;     /* of the peer */
        char *distrust; /* why its certificate is not believed */
        char *error;
        char *cipher;
};

/* ---- between the library and memory ------------------------------------------------------------------------------ */

static int bio_read(BIO *b, char *to, int size)
{
        struct tls_session *s = BIO_get_data(b);
        BIO_clear_retry_flags(b);
        if (s->messages > MESSAGES_MAX || size <= 0)
                return -1;
        size_t n = MIN((size_t)size, s->in_len);
        if (n == 0) {
                BIO_set_retry_read(b);
                return -1;
        }
        memcpy(to, s->in, n);
        s->in += n;
        s->in_len -= n;
        return (int)n;
}

static int bio_write(BIO *b, const char *from, int size)
{
        const struct tls_session *s = BIO_get_data(b);
        BIO_clear_retry_flags(b);
        return size >= 0 && buf_append(s->out, from, (size_t)size) == 0 ? size : -1;
}

static long bio_ctrl(BIO *b, int command, long number, void *arg)
{
        return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_session_bio(void)
{
        BIO_METHOD *m = BIO_meth_new(BIO_TYPE_NONE, "memory of a session");
        if (m && BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
            BIO_meth_set_ctrl(m, bio_ctrl) == 1)
                return m;
        BIO_meth_free(m);
        return NULL;
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static int session_fail(struct tls_session *s, int error, const char *format, ...) _printf_(3, 4);
static int session_fail(struct tls_session *s, int error, const char *format, ...)
{
        char words[WORDS_MAX];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(words, sizeof words, format, ap);
        va_end(ap);
        free(s->error);
        s->error = strdup(words);
        s->broken = true;
        return error;
}

/* What the operator can do about it, where that is known. */
static const struct {
        int reason;
        const char *words;
} known[] = {
        {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the peer does not believe this node's certificate: add it, or its authority, to "
                                       "glusterfs.ca there"},
        {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the peer refuses this node's certificate as bad"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refuses this node's certificate"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer says that this node's certificate has expired: replace it, and "
                                                "look at both clocks"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer says that this node's certificate was revoked: replace it"},
        {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the peer wants a certificate of this node"},
        {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the peer has no certificate: put its own into glusterfs.pem there"},
        {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer speaks no version of TLS that is allowed here (1.2 or later)"},
        {SSL_R_UNSUPPORTED_PROTOCOL, "the peer speaks no version of TLS that is allowed here (1.2 or later)"},
        {SSL_R_VERSION_TOO_LOW, "the peer speaks no version of TLS that is allowed here (1.2 or later)"},
        {SSL_R_NO_SHARED_CIPHER, "the peer has no cipher in common with this node: compare ssl.cipher-list"},
        {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the peer has no cipher in common with this node, or wants a certificate: "
                                              "compare ssl.cipher-list and the certificates"},
        {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "the peer's and this node's certificates have no signature algorithm in "
                                                "common"},
        {SSL_R_EXCESSIVE_MESSAGE_SIZE, "the peer's certificates are too many or too long"},
};

static const char *known_words(int reason)
{
        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (known[i].reason == reason)
                        return known[i].words;
        return NULL;
}

static int library_failed(struct tls_session *s)
{
        unsigned long code = ERR_peek_error();
        const char *words = known_words(ERR_GET_REASON(code)), *reason = ERR_reason_error_string(code);
        if (s->messages > MESSAGES_MAX)
                return session_fail(s, -EPROTO, "the peer sends nothing but protocol messages");
        if (s->distrust)
                return session_fail(s, -EKEYREJECTED, "%s", s->distrust);
        if (s->out->error < 0)
                return session_fail(s, s->out->error, "too much waits to be sent");
        if (words)
                return session_fail(s, -EPROTO, "%s", words);
        return session_fail(s, -EPROTO, "TLS failed: %s", reason ? reason : "the peer broke the protocol");
}

/* What a library call that did not succeed means. */
static int session_result(struct tls_session *s, int r)
{
        int r2 = SSL_get_error(s->ssl, r);
        int result = r2 == SSL_ERROR_WANT_READ ? -EAGAIN : r2 == SSL_ERROR_ZERO_RETURN ? 0 : library_failed(s);
        ERR_clear_error();
        return result;
}

/* ---- the peer's certificate -------------------------------------------------------------------------------------- */

/* The first common name. One that holds a NUL or control bytes is none: it could be read in two ways. */
static void common_name(const X509 *cert, char ret[static TLS_NAME_MAX])
{
        const X509_NAME *subject = X509_get_subject_name(cert);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        unsigned char *text = NULL;
        int len = at < 0 ? -1
                         : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        bool good = len > 0 && len < TLS_NAME_MAX;
        for (int i = 0; good && i < len; i++)
                good = text[i] >= 0x20 && text[i] != 0x7f;
        if (good)
                memcpy(ret, text, (size_t)len);
        ret[good ? len : 0] = '\0';
        OPENSSL_free(text);
}

static const char *advice_for(int verify_error)
{
        switch (verify_error) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
                return "replace it there, and look at both clocks";
        case X509_V_ERR_CERT_NOT_YET_VALID:
                return "look at both clocks";
        case X509_V_ERR_CERT_REVOKED:
                return "it is in a list of ssl.crl-path";
        case X509_V_ERR_UNABLE_TO_GET_CRL:
                return "the directory ssl.crl-path has no list of its issuer";
        case X509_V_ERR_CERT_CHAIN_TOO_LONG:
                return "raise ssl.certificate-depth";
        }
        return "add it, or its authority, to glusterfs.ca here";
}

static int judge_certificate(int good, X509_STORE_CTX *store)
{
        const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        struct tls_session *s = SSL_get_app_data(ssl);
        const X509 *cert = X509_STORE_CTX_get_current_cert(store);
        int error = X509_STORE_CTX_get_error(store);
        char name[TLS_NAME_MAX] = "", words[WORDS_MAX];
        if (good)
                return good;
        if (cert)
                common_name(cert, name);
        (void)snprintf(words, sizeof words, "the peer's certificate%s%s%s is not believed (%s): %s",
                       *name ? " of '" : "", name, *name ? "'" : "", X509_verify_cert_error_string(error),
                       advice_for(error));
        free(s->distrust);
        s->distrust = strdup(words);
        return good;
}

void tls_session_rules(SSL_CTX *ssl)
{
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, judge_certificate);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void count_messages(int write, int version, int type, const void *data, size_t len, SSL *ssl, void *arg)
{
        struct tls_session *s = arg;
        if (!write && type == SSL3_RT_HANDSHAKE && s->done)
                s->messages++;
}

static BIO *session_bio(struct tls_session *s)
{
        BIO *b = BIO_new(s->context->bio);
        if (b) {
                BIO_set_data(b, s);
                BIO_set_init(b, 1);
        }
        return b;
}

int tls_session_new(struct tls_context *context, enum tls_side side, struct buf *out, struct tls_session **ret)
{
        _cleanup_(tls_session_freep) struct tls_session *s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->context = tls_context_ref(context);
        s->out = out;
        s->ssl = SSL_new(context->ssl);
        BIO *b = s->ssl ? session_bio(s) : NULL;
        if (!b)
                return -ENOMEM;
        SSL_set_bio(s->ssl, b, b);
        (void)SSL_set_app_data(s->ssl, s);
        SSL_set_msg_callback(s->ssl, count_messages);
        SSL_set_msg_callback_arg(s->ssl, s);
        if (side == TLS_SERVER)
                SSL_set_accept_state(s->ssl);
        else
                SSL_set_connect_state(s->ssl);
        *ret = TAKE_PTR(s);
        return 0;
}

struct tls_session *tls_session_free(struct tls_session *s)
{
        if (!s)
                return NULL;
        SSL_free(s->ssl);
        (void)tls_context_unref(s->context);
        free(s->name);
        free(s->distrust);
        free(s->error);
        free(s->cipher);
        free(s);
        return NULL;
}

void tls_session_feed(struct tls_session *s, const void *data, size_t len)
{
        s->in = data;
        s->in_len = len;
}

/* ---- use --------------------------------------------------------------------------------------------------------- */

/* -EPROTO: what came is no TLS at all. */
static int check_first_byte(struct tls_session *s)
{
        if (s->begun || s->in_len == 0)
                return 0;
        s->begun = true;
        if (s->in[0] == TLS_FIRST_BYTE || s->in[0] == TLS_ALERT_BYTE)
                return 0;
        return session_fail(s, -EPROTO, "the peer does not speak TLS: switch it on there, or off here");
}

/* A name decides who is let in: without memory for it there is no session. */
static int learn_name(struct tls_session *s, const X509 *peer)
{
        char name[TLS_NAME_MAX];
        common_name(peer, name);
        s->name = strdup(name);
        return s->name ? 0 : session_fail(s, -ENOMEM, "out of memory");
}

int tls_session_handshake(struct tls_session *s)
{
        if (s->broken)
                return -EPROTO;
        if (s->done)
                return 0;
        int r = check_first_byte(s);
        if (r < 0)
                return r;
        ERR_clear_error();
        r = SSL_do_handshake(s->ssl);
        if (r != 1) {
                r = session_result(s, r);
                return r == 0 ? session_fail(s, -ECONNRESET, "the peer ended the connection during the handshake") : r;
        }
        s->done = true;
        X509 *peer = SSL_get0_peer_certificate(s->ssl);
        if (!peer || SSL_get_verify_result(s->ssl) != X509_V_OK)
                return session_fail(s, -EKEYREJECTED, "the peer has no certificate that is believed");
        return learn_name(s, peer);
}

ssize_t tls_session_read(struct tls_session *s, void *to, size_t size)
{
        size_t n;
        if (s->broken || !s->done)
                return s->broken ? -EPROTO : -EAGAIN;
        ERR_clear_error();
        int r = SSL_read_ex(s->ssl, to, size, &n);
        if (r != 1)
                return session_result(s, r);
        s->messages = 0;
        return (ssize_t)n;
}

static int write_record(struct tls_session *s, const void *data, size_t len)
{
        size_t n;
        int r = SSL_write_ex(s->ssl, data, len, &n);
        if (r == 1)
                return 0;
        r = session_result(s, r);
        return r < 0 && r != -EAGAIN ? r : session_fail(s, -EPROTO, "the peer has ended the connection");
}

/* Small pieces are gathered in STAGE; what fills a record by itself goes as it is. */
int tls_session_write(struct tls_session *s, const struct iovec *iov, int n)
{
        uint8_t stage[TLS_RECORD_PLAIN_MAX];
        size_t staged = 0;
        int r = s->broken || !s->done ? -EPROTO : 0;
        ERR_clear_error();
        for (int i = 0; i < n && r == 0; i++) {
                const uint8_t *at = iov[i].iov_base;
                size_t left = iov[i].iov_len;
                while (left > 0 && r == 0) {
                        size_t part = MIN(left, sizeof stage - staged);
                        if (part == sizeof stage) {
                                r = write_record(s, at, part);
                        } else {
                                memcpy(stage + staged, at, part);
                                staged += part;
                        }
                        if (staged == sizeof stage) {
                                r = write_record(s, stage, staged);
                                staged = 0;
                        }
                        at += part;
                        left -= part;
                }
        }
        return r == 0 && staged > 0 ? write_record(s, stage, staged) : r;
}

void tls_session_end(struct tls_session *s)
{
        if (!s->broken && s->done)
                (void)SSL_shutdown(s->ssl);
        ERR_clear_error();
}

const char *tls_session_peer_name(const struct tls_session *s)
{
        return s->name ? s->name : "";
}

const char *tls_session_cipher(struct tls_session *s)
{
        char words[128];
        (void)snprintf(words, sizeof words, "%s %s", SSL_get_version(s->ssl), SSL_get_cipher_name(s->ssl));
        free(s->cipher);
        s->cipher = strdup(words);
        return s->cipher ? s->cipher : "";
}

const char *tls_session_error(const struct tls_session *s)
{
        return s->error ? s->error : "out of memory";
}
