/* Certificates for tests, made when they run. */
#ifndef NET_TEST_CERTS_H
#define NET_TEST_CERTS_H

#include "base/str.h"
#include "net/tls.h"

struct test_cert {
    char *cert_pem, *key_pem;
    void *x509, *pkey; /* X509, EVP_PKEY */
};

struct test_cert_spec {
    const char *cn, *org;
    const char *san;      /* "DNS:localhost,IP:127.0.0.1", or NULL */
    const char *eku;      /* "serverAuth", "clientAuth", or NULL */
    bool ca;
    bool expired, early; /* ended an hour ago; begins in an hour */
};

/* Signed by 'issuer', or by itself when NULL. */
void test_cert_make(struct test_cert *c, const struct test_cert_spec *spec, const struct test_cert *issuer);
void test_cert_free(struct test_cert *c);
static inline struct net_tls_identity test_identity(const struct test_cert *c)
{
    return (struct net_tls_identity){ .cert_pem = str_c(c->cert_pem), .key_pem = str_c(c->key_pem) };
}

/* One set for all tests of the program. */
struct test_pki {
    struct test_cert ca, other_ca, server, server2, client, expired_client, foreign_client;
};
const struct test_pki *test_pki(void);

#endif
