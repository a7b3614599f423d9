/* Shared inside the room: OpenSSL's objects and errors. */
#ifndef PKI_PKI_PRIVATE_H
#define PKI_PKI_PRIVATE_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "pki/key.h"
#include "pki/limits.h"

/* Empties OpenSSL's error queue of this thread and sets our reason. Returns false. */
PRINTF_LIKE(3, 4) bool pki_fail(struct err *err, enum err_code code, const char *fmt, ...);
/* A read-only BIO over the text, or NULL (too long for OpenSSL's int). */
BIO *pki_bio_of(struct str s);
void pki_bio_freep(BIO **b);
/* Everything written to a memory BIO, appended. */
bool pki_bio_append(BIO *bio, struct buf *b);

/* One PEM block, any kind. */
struct pki_pem {
    char *name, *header; /* of OpenSSL's heap */
    unsigned char *data;
    long len;
};
void pki_pem_deinit(struct pki_pem *p);
/* The next block; '*pem' moves behind it. False at the end, ERR_NOT_FOUND, or when a block is broken, ERR_INVALID. */
MUST_CHECK bool pki_pem_next(struct str *pem, struct pki_pem *ret, struct err *err);

/* Wraps an EVP key (takes it, also when it is refused). */
struct pki_key *pki_key_wrap(EVP_PKEY *pkey, bool is_private, struct err *err);

/* Appends the key's SubjectPublicKeyInfo, as i2d_PUBKEY() does. False: it has no public half. */
MUST_CHECK bool pki_spki(const EVP_PKEY *pkey, enum pki_key_kind kind, struct buf *ret);

/* Reads subject and SANs. 'exts' may be NULL. */
struct pki_names;
MUST_CHECK bool pki_names_read(const X509_NAME *subject, const STACK_OF(X509_EXTENSION) *exts, struct arena *a,
                               struct pki_names *ret, struct err *err);
/* An X509_NAME with O (one RDN of several values, as Go writes them) and CN; NULL when a name is unfit. */
X509_NAME *pki_name_new(const struct pki_names *names, struct err *err);
/* The SAN extension, or NULL with err->code ERR_NONE when there are no names. */
X509_EXTENSION *pki_san_new(const struct pki_names *names, bool critical, struct err *err);
void pki_name_freep(X509_NAME **n);
void pki_ext_freep(X509_EXTENSION **e);

#endif
