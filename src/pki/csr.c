#include "pki/csr.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pki/pki-private.h"

static void req_freep(X509_REQ **r)
{
    X509_REQ_free(*r);
}

static void exts_freep(STACK_OF(X509_EXTENSION) * *e)
{
    sk_X509_EXTENSION_pop_free(*e, X509_EXTENSION_free);
}

bool pki_csr_write(const struct pki_key *key, const struct pki_names *names, struct buf *b,
                   struct err *err)
{
    if (!pki_key_is_private(key)) {
        return err_set(err, ERR_INVALID, "a request needs the private key");
    }
    CLEANUP(req_freep) X509_REQ *req = X509_REQ_new();
    CLEANUP(pki_name_freep) X509_NAME *name = pki_name_new(names, err);
    if (!req || !name) {
        return false;
    }
    struct err san_err = { 0 };
    X509_EXTENSION *san = pki_san_new(names, false, &san_err);
    if (!san && san_err.code != ERR_NONE) {
        return err_set(err, san_err.code, "%s", san_err.msg);
    }
    bool ok = X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
              X509_REQ_set_subject_name(req, name) == 1 &&
              X509_REQ_set_pubkey(req, pki_key_evp(key)) == 1;
    if (san) {
        CLEANUP(exts_freep) STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
        if (!exts || sk_X509_EXTENSION_push(exts, san) <= 0) {
            X509_EXTENSION_free(san);
            ok = false;
        }
        ok = ok && X509_REQ_add_extensions(req, exts) == 1;
    }
    const EVP_MD *md = pki_key_kind(key) == PKI_KEY_ED25519 ? NULL : EVP_sha256();
    CLEANUP(pki_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    ok = ok && bio && X509_REQ_sign(req, pki_key_evp(key), md) > 0 &&
         PEM_write_bio_X509_REQ(bio, req) == 1 && pki_bio_append(bio, b);
    return ok ? true : pki_fail(err, ERR_INTERNAL, "the certificate request could not be made");
}

bool pki_csr_read(struct str pem, struct arena *a, struct pki_csr *ret, struct err *err)
{
    if (pem.len > PKI_MAX_CSR) {
        return err_set(err, ERR_TOO_LARGE, "a certificate request of %zu bytes, the limit is %u",
                       pem.len, PKI_MAX_CSR);
    }
    CLEANUP(pki_pem_deinit) struct pki_pem p = { 0 };
    if (!pki_pem_next(&pem, &p, err) || (strcmp(p.name, "CERTIFICATE REQUEST") != 0 &&
                                         strcmp(p.name, "NEW CERTIFICATE REQUEST") != 0)) {
        return pki_fail(err, ERR_INVALID, "PEM block type must be CERTIFICATE REQUEST");
    }
    if (str_trim(pem).len != 0) {
        return pki_fail(err, ERR_INVALID,
                        "more than one block, or text, behind the certificate request");
    }
    const unsigned char *der = p.data;
    CLEANUP(req_freep) X509_REQ *req = d2i_X509_REQ(NULL, &der, p.len);
    if (!req || der != p.data + p.len) {
        return pki_fail(err, ERR_INVALID, "the certificate request cannot be read");
    }
    EVP_PKEY *pkey = X509_REQ_get_pubkey(req);
    if (!pkey) {
        return pki_fail(err, ERR_INVALID,
                        "the public key of the certificate request cannot be read");
    }
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_wrap(pkey, false, err);
    if (!key) {
        return false;
    }
    if (X509_REQ_verify(req, pki_key_evp(key)) != 1) {
        return pki_fail(err, ERR_INVALID,
                        "the signature of the certificate request does not verify");
    }
    CLEANUP(exts_freep) STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
    struct pki_names names;
    if (!pki_names_read(X509_REQ_get_subject_name(req), exts, a, &names, err)) {
        return false;
    }
    unsigned char *subject_der = NULL;
    int n = i2d_X509_NAME(X509_REQ_get_subject_name(req), &subject_der);
    struct str subject = n > 0 ? arena_str(a, str_n((const char *)subject_der, (size_t)n)) : STR_NULL;
    OPENSSL_free(subject_der);
    if (!subject.ptr) {
        return pki_fail(err, ERR_INVALID, "the subject of the certificate request cannot be read");
    }
    ERR_clear_error();
    *ret = (struct pki_csr){ .names = names, .subject = subject, .key = TAKE(key) };
    return true;
}

bool pki_csr_check(struct str pem, struct err *err)
{
    if (pem.len > PKI_MAX_CSR) {
        return err_set(err, ERR_TOO_LARGE, "a certificate request of %zu bytes, the limit is %u",
                       pem.len, PKI_MAX_CSR);
    }
    CLEANUP(pki_pem_deinit) struct pki_pem p = { 0 };
    if (!pki_pem_next(&pem, &p, err) || strcmp(p.name, "CERTIFICATE REQUEST") != 0) {
        return pki_fail(err, ERR_INVALID, "PEM block type must be CERTIFICATE REQUEST");
    }
    const unsigned char *der = p.data;
    CLEANUP(req_freep) X509_REQ *req = d2i_X509_REQ(NULL, &der, p.len);
    bool ok = req && der == p.data + p.len;
    ERR_clear_error();
    return ok || err_set(err, ERR_INVALID, "the certificate request cannot be read");
}

void pki_csr_deinit(struct pki_csr *csr)
{
    csr->key = pki_key_unref(csr->key);
}
