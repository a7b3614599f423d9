#include "net/test-certs.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/rand.h"

static char *pem_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *copy = malloc((size_t)len + 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, data, (size_t)len);
    copy[len] = 0;
    BIO_free(bio);
    return copy;
}

static void extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!e || !X509_add_ext(cert, e, -1)) {
        abort();
    }
    X509_EXTENSION_free(e);
}

void test_cert_make(struct test_cert *c, const struct test_cert_spec *spec, const struct test_cert *issuer)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    if (!key || !cert) {
        abort();
    }
    X509_set_version(cert, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), rand_below(1ULL << 60) + 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), spec->early ? 3600 : -7200);
    X509_gmtime_adj(X509_getm_notAfter(cert), spec->expired ? -3600 : spec->early ? 7200 : 3600);
    X509_NAME *name = X509_get_subject_name(cert);
    if (spec->org) {
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)spec->org, -1, -1, 0);
    }
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)spec->cn, -1, -1, 0);
    X509 *by = issuer ? issuer->x509 : cert;
    X509_set_issuer_name(cert, X509_get_subject_name(by));
    X509_set_pubkey(cert, key);
    extension(cert, by, NID_basic_constraints, spec->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (spec->ca) {
        extension(cert, by, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (spec->eku) {
        extension(cert, by, NID_ext_key_usage, spec->eku);
    }
    if (spec->san) {
        extension(cert, by, NID_subject_alt_name, spec->san);
    }
    if (!X509_sign(cert, issuer ? issuer->pkey : key, EVP_sha256())) {
        abort();
    }
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    c->cert_pem = pem_of(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    c->key_pem = pem_of(bio);
    c->x509 = cert;
    c->pkey = key;
}

void test_cert_free(struct test_cert *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->pkey);
    free(c->cert_pem);
    free(c->key_pem);
    *c = (struct test_cert){ 0 };
}

static struct test_pki pki;

static void free_pki(void)
{
    struct test_cert *all[] = { &pki.ca, &pki.other_ca, &pki.server, &pki.server2, &pki.client, &pki.expired_client,
                                &pki.foreign_client };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        test_cert_free(all[i]);
    }
}

const struct test_pki *test_pki(void)
{
    if (!pki.ca.cert_pem) {
        const char *san = "DNS:localhost,DNS:*.test.example,IP:127.0.0.1,IP:::1";
        test_cert_make(&pki.ca, &(struct test_cert_spec){ .cn = "test-ca", .ca = true }, NULL);
        test_cert_make(&pki.other_ca, &(struct test_cert_spec){ .cn = "other-ca", .ca = true }, NULL);
        test_cert_make(&pki.server, &(struct test_cert_spec){ .cn = "server", .san = san, .eku = "serverAuth" }, &pki.ca);
        test_cert_make(&pki.server2,
                       &(struct test_cert_spec){ .cn = "second", .san = "DNS:second.example,IP:127.0.0.1", .eku = "serverAuth" },
                       &pki.ca);
        test_cert_make(&pki.client, &(struct test_cert_spec){ .cn = "alice", .org = "devs", .eku = "clientAuth" }, &pki.ca);
        test_cert_make(&pki.expired_client,
                       &(struct test_cert_spec){ .cn = "late", .eku = "clientAuth", .expired = true }, &pki.ca);
        test_cert_make(&pki.foreign_client, &(struct test_cert_spec){ .cn = "mallory", .eku = "clientAuth" }, &pki.other_ca);
        (void)atexit(free_pki);
    }
    return &pki;
}
