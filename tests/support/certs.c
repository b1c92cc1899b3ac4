/* Certificates for tests (certs.h), with OpenSSL's own calls. Keys are P-256: quick to make. */
#include "support/certs.h"

#include <fcntl.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

#define DAY 86400L

struct authority {
        EVP_PKEY *key;
        X509 *cert;
};

struct certs {
        char dir[64];
        struct authority ca, other, middle;
        long serial;
};

#define CHECK(x)                                                                                                       \
        do {                                                                                                           \
                if (!(x)) {                                                                                            \
                        (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                  \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

static void add_extension(X509 *cert, int nid, const char *value)
{
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
        CHECK(e && X509_add_ext(cert, e, -1) == 1);
        X509_EXTENSION_free(e);
}

static X509 *make(struct certs *c, const char *name, EVP_PKEY *key, const struct authority *by, int days, bool ca)
{
        X509 *x = X509_new();
        X509_NAME *subject = X509_NAME_new();
        CHECK(x && subject);
        CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1);
        CHECK(X509_set_version(x, X509_VERSION_3) == 1);
        CHECK(ASN1_INTEGER_set(X509_get_serialNumber(x), ++c->serial) == 1);
        CHECK(X509_gmtime_adj(X509_getm_notBefore(x), days < 0 ? days * DAY - DAY : -DAY));
        CHECK(X509_gmtime_adj(X509_getm_notAfter(x), (days ? days : 365) * DAY));
        CHECK(X509_set_subject_name(x, subject) == 1);
        CHECK(X509_set_issuer_name(x, by ? X509_get_subject_name(by->cert) : subject) == 1);
        CHECK(X509_set_pubkey(x, key) == 1);
        add_extension(x, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
        CHECK(X509_sign(x, by ? by->key : key, EVP_sha256()) > 0);
        X509_NAME_free(subject);
        return x;
}

static struct authority make_authority(struct certs *c, const char *name, const struct authority *by)
{
        struct authority a = {.key = EVP_EC_gen("P-256")};
        CHECK(a.key);
        a.cert = make(c, name, a.key, by, 0, true);
        return a;
}

static void authority_done(struct authority *a)
{
        EVP_PKEY_free(a->key);
        X509_free(a->cert);
}

static FILE *create(const struct certs *c, const char *name, const char *suffix)
{
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s%s", c->dir, name, suffix);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
        CHECK(f);
        return f;
}

struct certs *certs_new(void)
{
        struct certs *c = calloc(1, sizeof *c);
        CHECK(c);
        (void)snprintf(c->dir, sizeof c->dir, "/tmp/mortar-certs-XXXXXX");
        CHECK(mkdtemp(c->dir));
        c->ca = make_authority(c, "test authority", NULL);
        c->other = make_authority(c, "other authority", NULL);
        c->middle = make_authority(c, "middle authority", &c->ca);
        FILE *f = create(c, "ca", ".pem");
        CHECK(PEM_write_X509(f, c->ca.cert) == 1 && fclose(f) == 0);
        return c;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
        return remove(path);
}

struct certs *certs_free(struct certs *c)
{
        if (!c)
                return NULL;
        (void)nftw(c->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        authority_done(&c->ca);
        authority_done(&c->other);
        authority_done(&c->middle);
        free(c);
        return NULL;
}

const char *certs_dir(const struct certs *c)
{
        return c->dir;
}

void certs_make(struct certs *c, const struct cert *cert)
{
        const struct authority *by = cert->other_ca ? &c->other : cert->intermediate ? &c->middle : &c->ca;
        EVP_PKEY *key = EVP_EC_gen("P-256");
        CHECK(key);
        X509 *x = make(c, cert->name, key, by, cert->days, false);
        FILE *f = create(c, cert->name, ".pem");
        CHECK(PEM_write_X509(f, x) == 1);
        if (cert->intermediate)
                CHECK(PEM_write_X509(f, c->middle.cert) == 1);
        CHECK(fclose(f) == 0);
        f = create(c, cert->name, ".key");
        CHECK(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0);
        X509_free(x);
        EVP_PKEY_free(key);
}

static X509 *read_cert(const struct certs *c, const char *name)
{
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s.pem", c->dir, name);
        FILE *f = fopen(path, "re");
        X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
        CHECK(x && fclose(f) == 0);
        return x;
}

void certs_revoke(struct certs *c, const char *name)
{
        char path[256], file[64];
        X509 *x = read_cert(c, name);
        X509_CRL *crl = X509_CRL_new();
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_TIME *now = X509_gmtime_adj(NULL, -DAY), *next = X509_gmtime_adj(NULL, DAY);
        CHECK(crl && entry && now && next);
        CHECK(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(x)) == 1);
        CHECK(X509_REVOKED_set_revocationDate(entry, now) == 1);
        CHECK(X509_CRL_set_issuer_name(crl, X509_get_subject_name(c->ca.cert)) == 1);
        CHECK(X509_CRL_set1_lastUpdate(crl, now) == 1 && X509_CRL_set1_nextUpdate(crl, next) == 1);
        CHECK(X509_CRL_add0_revoked(crl, entry) == 1 && X509_CRL_sign(crl, c->ca.key, EVP_sha256()) > 0);
        (void)snprintf(path, sizeof path, "%s/crl", c->dir);
        CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
        (void)snprintf(file, sizeof file, "crl/%08lx", X509_NAME_hash_ex(X509_get_subject_name(c->ca.cert), NULL, NULL, NULL));
        FILE *f = create(c, file, ".r0");
        CHECK(PEM_write_X509_CRL(f, crl) == 1 && fclose(f) == 0);
        ASN1_TIME_free(now);
        ASN1_TIME_free(next);
        X509_CRL_free(crl);
        X509_free(x);
}

void certs_settings(const struct certs *c, const char *name, struct tls_settings *ret)
{
        *ret = (struct tls_settings){0};
        (void)snprintf(ret->own_cert, sizeof ret->own_cert, "%s/%s.pem", c->dir, name);
        (void)snprintf(ret->private_key, sizeof ret->private_key, "%s/%s.key", c->dir, name);
        (void)snprintf(ret->ca_list, sizeof ret->ca_list, "%s/ca.pem", c->dir);
}

struct tls_context *certs_context(const struct certs *c, const char *name)
{
        struct tls_settings s;
        struct tls_context *context = NULL;
        struct error e = {0};
        certs_settings(c, name, &s);
        if (tls_context_load(&s, &context, &e) < 0)
                (void)fprintf(stderr, "%s\n", e.text);
        CHECK(context);
        return context;
}
