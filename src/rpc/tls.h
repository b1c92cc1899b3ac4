/* What TLS needs from files: own certificate and key, the certificates that are believed, and rules (wire.md §1.7).
 *
 * A context is made once from a set of files and never changes; connections hold a reference, so files that are replaced
 * on the disk matter to later connections only. One context is good for both sides. Its rules: TLS 1.2 or later, both
 * sides show a certificate, no renegotiation, no compression, no tickets, no resumption.
 *
 * Nothing here logs, and no text ever holds anything of a key. Any thread; loading reads files, so it may block.
 */
#pragma once

#include "base/error.h"

#define TLS_TEXT_MAX 1024

/* T(field, "volfile option behind transport.socket.ssl-") */
#define TLS_SETTINGS(T)                                                                                                \
        T(own_cert, "own-cert")                                                                                        \
        T(private_key, "private-key")                                                                                  \
        T(ca_list, "ca-list")                                                                                          \
        T(crl_path, "crl-path")                                                                                        \
        T(cert_depth, "cert-depth")                                                                                    \
        T(cipher_list, "cipher-list")                                                                                  \
        T(dh_param, "dh-param")                                                                                        \
        T(ec_curve, "ec-curve")

#define TLS_OPTION_PREFIX "transport.socket.ssl-"
#define TLS_OPTION_ENABLED TLS_OPTION_PREFIX "enabled"

/* Texts as an operator gave them; empty: the default. Unused bytes are zero, so that settings compare with memcmp. */
#define TLS_SETTINGS_MEMBER_(field, name) char field[TLS_TEXT_MAX];
struct tls_settings {
        TLS_SETTINGS(TLS_SETTINGS_MEMBER_)
};

/* Sets one by its whole option name. -ENOENT: no such setting (callers ignore it), -EINVAL with a sentence. */
int tls_settings_set(struct tls_settings *s, const char *name, const char *value, struct error *e);
static inline bool tls_settings_equal(const struct tls_settings *a, const struct tls_settings *b)
{
        return memcmp(a, b, sizeof *a) == 0;
}

struct tls_context;

/* Reads the files. -errno with a sentence that names the file and says what to do. */
int tls_context_load(const struct tls_settings *s, struct tls_context **ret, struct error *e);
struct tls_context *tls_context_ref(struct tls_context *c);
struct tls_context *tls_context_unref(struct tls_context *c);
DEFINE_CLEANUP(struct tls_context *, tls_context_unref)

/* What an operator should know although it works: "" or sentences. */
const char *tls_context_warning(const struct tls_context *c);
/* Whether one of the files is another one than was read, by inode, size and time of change. */
bool tls_context_changed(const struct tls_context *c);

/* ---- contexts that follow their files ---------------------------------------------------------------------------- */

/* The context in use and what it is made of. One thread at a time. */
struct tls_source {
        struct tls_settings settings;
        struct tls_context *context;
        uint64_t looked;    /* monotonic ns at which the files were last looked at */
        struct error error; /* of the last reading, while the older context stays in use */
};

/* Uses CONTEXT, which was loaded from SETTINGS; takes over the reference. */
void tls_source_set(struct tls_source *s, const struct tls_settings *settings, struct tls_context *context);
void tls_source_done(struct tls_source *s);

enum tls_source_news { TLS_SOURCE_SAME, TLS_SOURCE_READ_AGAIN, TLS_SOURCE_FAILED };
/* Reads the files again if they changed, looking at most once a second of NOW. FAILED, with S->error: they cannot be
 * used and the older ones stay; told once for each reason. */
enum tls_source_news tls_source_refresh(struct tls_source *s, uint64_t now);
