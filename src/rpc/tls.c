/* Contexts: certificates, keys and rules of TLS connections. See tls.h.
 *
 * Default files are stock's: DIR/glusterfs.{pem,key,ca}, where DIR is OpenSSL's own directory (/usr/lib/ssl on Debian,
 * what Debian's stock programs look at) or, if there is no glusterfs.pem in it, /etc/ssl.
 */
#include "rpc/tls.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "rpc/tls_internal.h"

#define OTHER_DIR "/etc/ssl"
#define CIPHERS_DEFAULT "EECDH:EDH:HIGH:!3DES:!RC4:!DES:!MD5"
#define CIPHERS_NEVER ":!aNULL:!eNULL" /* whatever an operator writes: certificates and encryption are the point */
#define DEPTH_DEFAULT 1
#define DEPTH_MAX 100
#define CERT_LIST_MAX (32 * 1024) /* bytes of certificates a peer may send before it is believed */
#define EXPIRY_WARNING_DAYS 30
#define LOOK_INTERVAL NS_PER_SEC
#define ENTRIES_LOOKED_AT 4096 /* of a directory of revocation lists */

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static int settings_put(char place[static TLS_TEXT_MAX], const char *name, const char *value, struct error *e)
{
        size_t len = strlen(value);
        if (len >= TLS_TEXT_MAX)
                return error_set(e, -EINVAL, "Option %s is longer than %d bytes.", name, TLS_TEXT_MAX - 1);
        memset(place, 0, TLS_TEXT_MAX);
        memcpy(place, value, len);
        return 0;
}

#define SETTINGS_SET_(field, option)                                                                                   \
        if (streq(name, TLS_OPTION_PREFIX option))                                                                     \
                return settings_put(s->field, name, value, e);
int tls_settings_set(struct tls_settings *s, const char *name, const char *value, struct error *e)
{
        TLS_SETTINGS(SETTINGS_SET_)
        return error_set(e, -ENOENT, "There is no TLS option %s.", name);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t sum, uint64_t part)
{
        sum = (sum ^ part) * 0x9e3779b97f4a7c15ull;
        return sum ^ sum >> 29;
}

static uint64_t number_of_entry(int dir, const char *name)
{
        struct stat st;
        if (name[0] == '.' || fstatat(dir, name, &st, 0) < 0)
                return 0;
        uint64_t n = mixed(mixed(mixed(0, st.st_ino), (uint64_t)st.st_size), (uint64_t)st.st_mtim.tv_sec);
        return mixed(mixed(mixed(n, (uint64_t)st.st_mtim.tv_nsec), (uint64_t)st.st_ctim.tv_sec),
                     (uint64_t)st.st_ctim.tv_nsec);
}

/* The same in whatever order they are listed. */
static uint64_t number_of_entries(const char *path)
{
        DIR *d = opendir(path);
        uint64_t sum = 0;
        const struct dirent *e;
        for (unsigned n = 0; d && n < ENTRIES_LOOKED_AT && (e = readdir(d)); n++)
                sum += number_of_entry(dirfd(d), e->d_name);
        if (d)
                (void)closedir(d);
        return sum;
}

static struct tls_stamp stamp_of(const char *path)
{
        struct stat st;
        if (!*path || stat(path, &st) < 0)
                return (struct tls_stamp){0};
        return (struct tls_stamp){.dev = st.st_dev,
                                  .ino = st.st_ino,
                                  .size = st.st_size,
                                  .mtime = st.st_mtim,
                                  .ctime = st.st_ctim,
                                  .entries = S_ISDIR(st.st_mode) ? number_of_entries(path) : 0};
}

static bool stamp_equal(const struct tls_stamp *a, const struct tls_stamp *b)
{
        return a->entries == b->entries && a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
               a->mtime.tv_nsec == b->mtime.tv_nsec && a->ctime.tv_sec == b->ctime.tv_sec &&
               a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static const char *default_dir(void)
{
        char path[TLS_TEXT_MAX + 16];
        const char *dir = X509_get_default_cert_area();
        (void)snprintf(path, sizeof path, "%s/glusterfs.pem", dir);
        if (access(path, F_OK) == 0)
                return dir;
        return access(OTHER_DIR "/glusterfs.pem", F_OK) == 0 ? OTHER_DIR : dir;
}

static void name_file(struct tls_context *c, enum tls_file which, const char *given, const char *suffix)
{
        struct tls_file_state *f = &c->files[which];
        if (*given || !suffix)
                (void)snprintf(f->path, sizeof f->path, "%s", given);
        else
                (void)snprintf(f->path, sizeof f->path, "%s/%s", default_dir(), suffix);
        f->stamp = stamp_of(f->path);
}

/* Stamps are taken before anything is read: what changes meanwhile is noticed the next time. */
static void name_files(struct tls_context *c, const struct tls_settings *s)
{
        name_file(c, TLS_FILE_CERT, s->own_cert, "glusterfs.pem");
        name_file(c, TLS_FILE_KEY, s->private_key, "glusterfs.key");
        name_file(c, TLS_FILE_CA, s->ca_list, "glusterfs.ca");
        name_file(c, TLS_FILE_CRL, s->crl_path, NULL);
        name_file(c, TLS_FILE_DH, s->dh_param, "dhparam.pem");
}

static const char *path_of(const struct tls_context *c, enum tls_file which)
{
        return c->files[which].path;
}

static void warn(struct tls_context *c, const char *format, ...) _printf_(2, 3);
static void warn(struct tls_context *c, const char *format, ...)
{
        size_t len = strlen(c->warning);
        int n = snprintf(c->warning + len, sizeof c->warning - len, "%sTLS: ", len > 0 ? " " : "");
        va_list ap;
        va_start(ap, format);
        if (n > 0 && len + (size_t)n < sizeof c->warning)
                (void)vsnprintf(c->warning + len + n, sizeof c->warning - len - (size_t)n, format, ap);
        va_end(ap);
}

/* Says why a file cannot be opened. WHAT: "certificate". */
static int check_file(struct tls_context *c, enum tls_file which, const char *what, const char *option,
                      struct error *e)
{
        const char *path = path_of(c, which);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st;
        if (fd < 0 && errno == ENOENT)
                return error_set(e, -ENOENT, "TLS: there is no %s file %s: put it there, or name another with %s.", what,
                                 path, option);
        if (fd < 0)
                return error_set(e, -errno, "TLS: the %s file %s cannot be read (%s): correct its owner and mode.", what,
                                 path, strerror(errno));
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return error_set(e, -EINVAL, "TLS: %s, which should hold the %s, is not a file.", path, what);
        if (which == TLS_FILE_KEY && (st.st_mode & S_IRWXO) != 0)
                warn(c, "the private key %s can be read by every user of this machine: chmod 600 it.", path);
        return 0;
}

/* The library's own words about the last failure. */
static const char *library_words(void)
{
        const char *words = ERR_reason_error_string(ERR_peek_last_error());
        return words ? words : "unknown failure";
}

/* ---- certificate and key ----------------------------------------------------------------------------------------- */

/* Never asks: there is nobody at a terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
        bool *asked = arg;
        *asked = true;
        return -1;
}

static int load_cert(struct tls_context *c, struct error *e)
{
        const char *path = path_of(c, TLS_FILE_CERT);
        int r = check_file(c, TLS_FILE_CERT, "certificate", "ssl.own-cert", e);
        if (r < 0)
                return r;
        if (SSL_CTX_use_certificate_chain_file(c->ssl, path) == 1)
                return 0;
        return error_set(e, -EINVAL, "TLS: %s holds no certificate that can be used (%s): it must be PEM text, the "
                         "node's own certificate first.", path, library_words());
}

static int load_key(struct tls_context *c, struct error *e)
{
        const char *path = path_of(c, TLS_FILE_KEY);
        bool asked = false;
        int r = check_file(c, TLS_FILE_KEY, "private key", "ssl.private-key", e);
        if (r < 0)
                return r;
        SSL_CTX_set_default_passwd_cb(c->ssl, no_passphrase);
        SSL_CTX_set_default_passwd_cb_userdata(c->ssl, &asked);
        r = SSL_CTX_use_PrivateKey_file(c->ssl, path, SSL_FILETYPE_PEM);
        SSL_CTX_set_default_passwd_cb(c->ssl, NULL);
        SSL_CTX_set_default_passwd_cb_userdata(c->ssl, NULL);
        if (r == 1 && SSL_CTX_check_private_key(c->ssl) == 1)
                return 0;
        if (asked)
                return error_set(e, -EINVAL, "TLS: the private key %s is protected by a passphrase, and nobody can be "
                                 "asked: store it without one.", path);
        if (r == 1 || ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
            ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH)
                return error_set(e, -EINVAL, "TLS: the private key %s does not belong to the certificate %s: replace one "
                                 "of them.", path, path_of(c, TLS_FILE_CERT));
        return error_set(e, -EINVAL, "TLS: %s holds no private key that can be used: it must be PEM text.", path);
}

static void time_text(const ASN1_TIME *at, char *buf, size_t size)
{
        struct tm tm = {0};
        if (ASN1_TIME_to_tm(at, &tm) != 1 || strftime(buf, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
                (void)snprintf(buf, size, "an unknown time");
}

static int check_dates(struct tls_context *c, struct error *e)
{
        const X509 *own = SSL_CTX_get0_certificate(c->ssl);
        const char *path = path_of(c, TLS_FILE_CERT);
        char when[64];
        if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0) {
                time_text(X509_get0_notAfter(own), when, sizeof when);
                return error_set(e, -EKEYEXPIRED, "TLS: the certificate %s expired at %s: replace it.", path, when);
        }
        if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0) {
                time_text(X509_get0_notBefore(own), when, sizeof when);
                return error_set(e, -EKEYREJECTED, "TLS: the certificate %s is valid only from %s on: look at this "
                                 "machine's clock, or replace it.", path, when);
        }
        time_t soon = time(NULL) + EXPIRY_WARNING_DAYS * 86400;
        if (X509_cmp_time(X509_get0_notAfter(own), &soon) < 0) {
                time_text(X509_get0_notAfter(own), when, sizeof when);
                warn(c, "the certificate %s expires at %s: replace it before.", path, when);
        }
        return 0;
}

/* ---- who is believed --------------------------------------------------------------------------------------------- */

static int load_ca(struct tls_context *c, struct error *e)
{
        const char *path = path_of(c, TLS_FILE_CA);
        int r = check_file(c, TLS_FILE_CA, "CA", "ssl.ca-list", e);
        if (r < 0)
                return r;
        if (SSL_CTX_load_verify_file(c->ssl, path) == 1)
                return 0;
        return error_set(e, -EINVAL, "TLS: %s holds no certificates that can be used (%s): it must be PEM text, the "
                         "authorities or the self-signed certificates of all peers.", path, library_words());
}

static int load_crl(struct tls_context *c, struct error *e)
{
        const char *path = path_of(c, TLS_FILE_CRL);
        struct stat st;
        if (!*path)
                return 0;
        if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || access(path, R_OK | X_OK) < 0)
                return error_set(e, -EINVAL, "TLS: ssl.crl-path %s is not a directory that can be read: it must hold "
                                 "revocation lists under their hash names (openssl rehash).", path);
        X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
        if (X509_STORE_load_path(store, path) != 1 || X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1)
                return error_set(e, -ENOMEM, "TLS: the directory of revocation lists %s cannot be used: %s.", path,
                                 library_words());
        return 0;
}

static int set_depth(struct tls_context *c, const char *text, struct error *e)
{
        char *end;
        long depth = *text ? strtol(text, &end, 10) : DEPTH_DEFAULT;
        if ((*text && (*end || !isdigit((unsigned char)*text))) || depth > DEPTH_MAX)
                return error_set(e, -EINVAL, "TLS: ssl.certificate-depth is '%.40s', not a number from 0 to %d.", text,
                                 DEPTH_MAX);
        SSL_CTX_set_verify_depth(c->ssl, (int)depth);
        return 0;
}

/* Whether peers with the same CA file would believe this node. */
static void check_own_chain(struct tls_context *c)
{
        STACK_OF(X509) *chain = NULL;
        (void)SSL_CTX_get0_chain_certs(c->ssl, &chain);
        X509_STORE_CTX *check = X509_STORE_CTX_new();
        if (check && X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(c->ssl), SSL_CTX_get0_certificate(c->ssl), chain) == 1 &&
            X509_verify_cert(check) != 1)
                warn(c, "the certificate %s is not accepted by this node's own CA file %s (%s): peers with the same CA "
                     "file will refuse this node.", path_of(c, TLS_FILE_CERT), path_of(c, TLS_FILE_CA),
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)));
        X509_STORE_CTX_free(check);
        ERR_clear_error();
}

/* ---- ciphers ----------------------------------------------------------------------------------------------------- */

static int set_ciphers(struct tls_context *c, const char *text, struct error *e)
{
        char list[TLS_TEXT_MAX + sizeof CIPHERS_NEVER];
        (void)snprintf(list, sizeof list, "%s%s", *text ? text : CIPHERS_DEFAULT, CIPHERS_NEVER);
        if (SSL_CTX_set_cipher_list(c->ssl, list) == 1)
                return 0;
        return error_set(e, -EINVAL, "TLS: ssl.cipher-list '%.200s' names no cipher that can be used.", text);
}

static int set_curve(struct tls_context *c, const char *text, struct error *e)
{
        if (!*text || SSL_CTX_set1_groups_list(c->ssl, text) == 1)
                return 0;
        return error_set(e, -EINVAL, "TLS: ssl.ec-curve '%.200s' is not a curve that can be used.", text);
}

/* Own parameters are needed by nobody since TLS 1.3: a missing default file means the library's. */
static int load_dh(struct tls_context *c, const char *given, struct error *e)
{
        const char *path = path_of(c, TLS_FILE_DH);
        if (!*given && access(path, F_OK) < 0)
                return SSL_CTX_set_dh_auto(c->ssl, 1) == 1 ? 0 : error_set(e, -ENOMEM, "TLS: out of memory.");
        int r = check_file(c, TLS_FILE_DH, "Diffie-Hellman parameters", "ssl.dh-param", e);
        if (r < 0)
                return r;
        BIO *file = BIO_new_file(path, "r");
        EVP_PKEY *parameters = file ? PEM_read_bio_Parameters(file, NULL) : NULL;
        BIO_free(file);
        if (parameters && SSL_CTX_set0_tmp_dh_pkey(c->ssl, parameters) == 1)
                return 0;
        EVP_PKEY_free(parameters);
        return error_set(e, -EINVAL, "TLS: %s holds no Diffie-Hellman parameters that can be used (%s): make new ones "
                         "with openssl dhparam, 2048 bits or more.", path, library_words());
}

static void set_rules(SSL_CTX *ssl)
{
        (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
        (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                               SSL_OP_CIPHER_SERVER_PREFERENCE);
        (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
        (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        (void)SSL_CTX_set_num_tickets(ssl, 0);
        SSL_CTX_set_max_cert_list(ssl, CERT_LIST_MAX);
        tls_session_rules(ssl);
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static int context_fill(struct tls_context *c, const struct tls_settings *s, struct error *e)
{
        name_files(c, s);
        set_rules(c->ssl);
        int r = load_cert(c, e);
        if (r == 0)
                r = load_key(c, e);
        if (r == 0)
                r = check_dates(c, e);
        if (r == 0)
                r = load_ca(c, e);
        if (r == 0)
                r = load_crl(c, e);
        if (r == 0)
                r = set_depth(c, s->cert_depth, e);
        if (r == 0)
                r = set_ciphers(c, s->cipher_list, e);
        if (r == 0)
                r = set_curve(c, s->ec_curve, e);
        if (r == 0)
                r = load_dh(c, s->dh_param, e);
        if (r < 0)
                return r;
        check_own_chain(c);
        return 0;
}

int tls_context_load(const struct tls_settings *s, struct tls_context **ret, struct error *e)
{
        _cleanup_(tls_context_unrefp) struct tls_context *c = calloc(1, sizeof *c);
        if (!c)
                return error_set(e, -ENOMEM, "TLS: out of memory.");
        atomic_init(&c->refs, 1);
        c->ssl = SSL_CTX_new(TLS_method());
        c->bio = tls_session_bio();
        if (!c->ssl || !c->bio)
                return error_set(e, -ENOMEM, "TLS: out of memory.");
        ERR_clear_error();
        int r = context_fill(c, s, e);
        OPENSSL_thread_stop(); /* who loads is often a thread that ends with it: what the library keeps for it goes now */
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
        atomic_fetch_add(&c->refs, 1);
        return c;
}

struct tls_context *tls_context_unref(struct tls_context *c)
{
        if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
                return NULL;
        SSL_CTX_free(c->ssl);
        BIO_meth_free(c->bio);
        free(c);
        return NULL;
}

const char *tls_context_warning(const struct tls_context *c)
{
        return c->warning;
}

bool tls_context_changed(const struct tls_context *c)
{
        for (size_t i = 0; i < ELEMENTSOF(c->files); i++) {
                struct tls_stamp now = stamp_of(c->files[i].path);
                if (!stamp_equal(&now, &c->files[i].stamp))
                        return true;
        }
        return false;
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

void tls_source_set(struct tls_source *s, const struct tls_settings *settings, struct tls_context *context)
{
        tls_source_done(s);
        s->settings = *settings;
        s->context = context;
}

void tls_source_done(struct tls_source *s)
{
        s->context = tls_context_unref(s->context);
        *s = (struct tls_source){0};
}

enum tls_source_news tls_source_refresh(struct tls_source *s, uint64_t now)
{
        if (s->looked && now - s->looked < LOOK_INTERVAL)
                return TLS_SOURCE_SAME;
        s->looked = now;
        if (!tls_context_changed(s->context))
                return TLS_SOURCE_SAME;
        struct tls_context *fresh;
        struct error e = {0};
        if (tls_context_load(&s->settings, &fresh, &e) < 0) {
                bool told = streq(e.text, s->error.text);
                s->error = e;
                return told ? TLS_SOURCE_SAME : TLS_SOURCE_FAILED;
        }
        (void)tls_context_unref(s->context);
        s->context = fresh;
        s->error = (struct error){0};
        return TLS_SOURCE_READ_AGAIN;
}
