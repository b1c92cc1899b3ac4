/* Certificates made on the spot, for tests of TLS. Everything asserts: a test that cannot make one has failed. */
#pragma once

#include "rpc/tls.h"

struct certs; /* an authority and where it keeps its files */

struct cert {
        const char *name;    /* common name; also DIR/NAME.pem and DIR/NAME.key */
        int days;            /* from yesterday on; negative: it expired that many days ago; 0 = 365 */
        bool other_ca;       /* signed by an authority that is in no CA file */
        bool intermediate;   /* signed by a second authority that the first one signed; NAME.pem holds both */
};

/* In a new directory below /tmp. DIR/ca.pem is the CA file. */
struct certs *certs_new(void);
/* Removes the directory. */
struct certs *certs_free(struct certs *c);
const char *certs_dir(const struct certs *c);

void certs_make(struct certs *c, const struct cert *cert);
/* DIR/crl/ with a list in which CERT (made before) is revoked. */
void certs_revoke(struct certs *c, const char *name);
/* Settings that use NAME's certificate and the CA file. */
void certs_settings(const struct certs *c, const char *name, struct tls_settings *ret);
/* The same loaded. */
struct tls_context *certs_context(const struct certs *c, const char *name);
