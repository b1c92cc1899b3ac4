/* What the files of the TLS transport share: rpc/tls*.c only. */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "rpc/tls.h"

enum tls_file { TLS_FILE_CERT, TLS_FILE_KEY, TLS_FILE_CA, TLS_FILE_CRL, TLS_FILE_DH, TLS_FILE_MAX };

/* What a file was when it was read; all zero: there was none. */
struct tls_stamp {
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec mtime, ctime;
        uint64_t entries; /* of a directory: what all of them are; a file may change without its directory */
};

struct tls_file_state {
        char path[TLS_TEXT_MAX + 32];
        struct tls_stamp stamp;
};

#define TLS_WARNING_MAX (4 * TLS_TEXT_MAX)
struct tls_context {
        atomic_uint refs;
        SSL_CTX *ssl;
        BIO_METHOD *bio; /* of sessions: between the library and memory */
        struct tls_file_state files[TLS_FILE_MAX];
        char warning[TLS_WARNING_MAX];
};

/* tls_session.c: what a context must know for sessions to work. */
void tls_session_rules(SSL_CTX *ssl);
BIO_METHOD *tls_session_bio(void);
